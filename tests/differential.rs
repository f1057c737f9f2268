//! Random graphs through the whole compiler: machine code at several feature levels, and after every prefix of the
//! passes, agrees with the reference interpreter on the graph as written.

use rectify::compare::Comparison;
use rectify::{Model, Tensor, pass_names};
use rectify_ir::testing::{Options, random_bindings, random_graph, random_inputs};

/// Levels from plain SSE2 to fused multiply-add; those that this machine lacks are left out.
const LEVELS: [&str; 4] = ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"];

/// A random model and inputs for it.
fn case(seed: u64) -> (Model, Vec<(String, Tensor)>) {
    let options = Options {
        operations: 1 + (seed % 14) as usize,
        spatial_rank: 1 + usize::from(!seed.is_multiple_of(5)),
        symbolic: seed.is_multiple_of(3),
        ..Options::default()
    };
    let graph = random_graph(seed, &options);
    let inputs = random_inputs::<f32>(&graph, &random_bindings(&graph, seed, 6), seed);
    let tensor = |t: &rectify_ir::interp::Tensor<f32>| {
        Tensor::new(t.shape.clone(), t.floats().expect("floats").to_vec()).expect("a tensor")
    };
    let inputs = inputs.iter().map(|(name, t)| (name.clone(), tensor(t))).collect();
    (Model::from_graph(graph).expect("a sound graph"), inputs)
}

/// Compiles as told and compares all outputs; says whether this machine could run it.
fn check(seed: u64, level: Option<&str>, stop_after: Option<&str>) -> bool {
    let (model, inputs) = case(seed);
    let mut compiler = model.compiler().threads(2).seed(seed);
    if let Some(level) = level {
        compiler = compiler.target(level.parse().expect("a level"));
    }
    if let Some(pass) = stop_after {
        compiler = compiler.stop_after(pass);
    }
    let compiled = match compiler.compile() {
        Ok(compiled) => compiled,
        Err(error) if level.is_some() && error.to_string().contains("this machine") => return false,
        Err(error) => panic!("seed {seed}, {level:?}, {stop_after:?}: {error}"),
    };
    let views: Vec<_> = inputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    let (got, want) =
        (compiled.run(&views).expect("a run"), compiled.reference(&views).expect("a reference"));
    for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
        let comparison = Comparison::new(got, want, Default::default());
        let place = format!("seed {seed}, level {level:?}, after {stop_after:?}, output {name}");
        assert!(comparison.agrees(), "{place}: {comparison}\n{}", compiled.graph());
    }
    true
}

#[test]
fn every_level_agrees_with_the_interpreter() {
    let mut levels = 0;
    for level in LEVELS {
        let ran = (0..40).filter(|seed| check(*seed, Some(level), None)).count();
        assert!(ran == 0 || ran == 40, "{level} ran {ran} of 40");
        levels += usize::from(ran > 0);
    }
    assert!(levels >= 2 || !cfg!(target_arch = "x86_64"), "only {levels} levels ran");
}

#[test]
fn every_prefix_of_the_passes_agrees_with_the_interpreter() {
    for seed in 100..125 {
        // Parameters cannot be drawn before `fold_init` has resolved fans and gains.
        for (pass, _) in pass_names().skip_while(|(pass, _)| *pass != "fold_init") {
            check(seed, None, Some(pass));
        }
    }
}
