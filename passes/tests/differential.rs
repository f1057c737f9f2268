//! Random graphs: the interpreter gives the same before and after every prefix of the pipeline.

mod support;

use rectify_ir::graph::{Graph, Stage};
use rectify_ir::print::print;
use rectify_ir::testing::{self, random_graph};
use rectify_passes::{Options, PASSES, ParamValues, optimize};
use std::cell::RefCell;
use support::{assert_close, evaluate, example};

/// The graph after each pass, by the pass's name.
fn prefixes(graph: &Graph, options: Options<'_>) -> Vec<(&'static str, Graph)> {
    let all = RefCell::new(Vec::new());
    let print = |name, graph: &Graph| all.borrow_mut().push((name, graph.clone()));
    optimize(graph, &Options { print_after: Some(&print), verify: true, ..options })
        .unwrap_or_else(|e| panic!("{e}\n{}", rectify_ir::print::print(graph)));
    all.into_inner()
}

fn check(graph: &Graph, seed: u64, values: ParamValues) {
    let want = evaluate(graph, seed, false);
    let all = prefixes(graph, Options { values, ..Options::default() });
    assert_eq!(all.len(), PASSES.len());
    for (name, after) in &all {
        let what = format!("seed {seed}, after {name}, {values:?}:\n{}\n{}", print(graph), print(after));
        assert_close(&want, &evaluate(after, seed, false), &what);
    }
    let (_, last) = all.last().expect("passes");
    assert_eq!(last.stage, Stage::Optimized);
    // A dump reads back, and optimising it again changes nothing.
    let again = rectify_ir::lang::compile_text("dump", &print(last)).unwrap_or_else(|e| panic!("{e}"));
    assert!(again == *last, "seed {seed}: another graph behind\n{}", print(last));
    let twice = optimize(&again, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(twice.graph == *last && twice.log.rewrites == 0);
}

#[test]
fn every_prefix_agrees() {
    for seed in 0..300 {
        let options = testing::Options {
            operations: 4 + (seed as usize * 7) % 24,
            symbolic: seed % 3 == 0,
            spatial_rank: if seed % 5 == 0 { 1 } else { 2 },
            max_channels: 12,
        };
        let values = if seed % 4 == 1 { ParamValues::Replaceable } else { ParamValues::FromSources };
        check(&random_graph(seed, &options), seed, values);
    }
}

/// Bisecting works: any number of rewrites gives a graph that means the same.
#[test]
fn any_number_of_rewrites_agrees() {
    for seed in 100..106 {
        let graph =
            random_graph(seed, &testing::Options { operations: 14, max_channels: 8, ..Default::default() });
        let want = evaluate(&graph, seed, false);
        let all = optimize(&graph, &Options::default()).unwrap_or_else(|e| panic!("{e}")).log.rewrites;
        for max in 0..=all {
            let options = Options { max_rewrites: Some(max), verify: true, ..Options::default() };
            let done = optimize(&graph, &options).unwrap_or_else(|e| panic!("{e}"));
            assert!(done.log.rewrites <= max);
            assert_eq!(done.log.out_of_rewrites, max < all, "{max} of {all}");
            assert_close(&want, &evaluate(&done.graph, seed, false), &format!("seed {seed}, {max} rewrites"));
        }
    }
}

/// The result depends on the graph alone: other threads have other hash seeds.
#[test]
fn every_run_gives_the_same_text() {
    let graph = random_graph(11, &testing::Options { operations: 30, ..Default::default() });
    let text =
        |graph: &Graph| print(&optimize(graph, &Options::default()).unwrap_or_else(|e| panic!("{e}")).graph);
    let want = text(&graph);
    for _ in 0..4 {
        let graph = graph.clone();
        let got = std::thread::spawn(move || text(&graph)).join().expect("the thread ends");
        assert_eq!(got, want);
    }
}

/// The networks that ship with the project pass verified, and their dumps read back and stay.
#[test]
fn examples_pass() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder).expect("the folder of examples");
    let mut names: Vec<String> = files
        .filter_map(|f| f.ok()?.file_name().into_string().ok())
        .filter(|n| n.ends_with(".rect"))
        .collect();
    names.sort();
    names.retain(|n| n != "blocks.rect");
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let graph = example(&name);
        let done = optimize(&graph, &Options { verify: true, ..Options::default() });
        let done = done.unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = print(&done.graph);
        let again = rectify_ir::lang::compile_text(&name, &text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(again == done.graph, "{name}: another graph behind the dump");
        let convolution = |g: &Graph| g.node_ids().iter().filter(|n| g.node(**n).op.name() == "conv").count();
        assert_eq!(convolution(&graph), convolution(&done.graph), "{name}: a convolution is done twice");
        assert!(!text.contains("= batch_norm("), "{name}");
    }
}
