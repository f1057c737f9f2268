//! Cuts sink where they can, are refused where they cannot, and leave graphs that mean the same.

use crate::pipeline::{Options, PASSES, optimize};
use rectify_ir::bind::Bindings;
use rectify_ir::graph::Graph;
use rectify_ir::interp::{Tensor, eval, known_param};
use rectify_ir::lang::compile_text;
use rectify_ir::op::Op;
use rectify_ir::testing::random_inputs;

fn graph(inputs: &str, body: &str) -> Graph {
    let text = format!("model m({inputs}) {{\n{body}\n}}");
    compile_text("m.rect", &text).unwrap_or_else(|report| panic!("{report}"))
}

fn values(graph: &Graph, seed: u64, count: i64) -> Vec<Tensor<f64>> {
    let mut inputs = random_inputs::<f64>(graph, &Bindings::new(), seed);
    if inputs.contains_key("n") {
        inputs.insert("n".into(), Tensor::ints([1], [count]).unwrap());
    }
    let mut params = |g: &Graph, id| known_param(g, id).ok_or_else(|| "unknown".to_string());
    eval(graph, &inputs, &mut params).unwrap_or_else(|e| panic!("{e}\n{graph}")).into_values().collect()
}

/// Only outputs are cut when the pass is through, and every count gives what it gave before, in each pass' graph.
fn check(inputs: &str, body: &str) {
    let typed = graph(inputs, body);
    for pass in PASSES {
        let options = Options { stop_after: Some(pass.name), verify: true, ..Options::default() };
        let made = optimize(&typed, &options).unwrap_or_else(|e| panic!("{body}, {}: {e}", pass.name)).graph;
        let sunk = !["infer", "fold_init"].contains(&pass.name);
        for id in made.node_ids().into_iter().filter(|id| sunk && is_cut(&made, *id)) {
            assert!(made.users(id.into()).iter().all(|(user, _)| is_cut(&made, *user)), "{body}\n{made}");
        }
        for count in [0, 1, 3, 4] {
            let (want, got) = (values(&typed, 5, count), values(&made, 5, count));
            for (want, got) in want.iter().zip(&got) {
                assert_eq!(want.shape, got.shape, "{body}, {}, {count}\n{made}", pass.name);
                let close = |(a, b): (f64, f64)| (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() < 1e-9;
                let same = want.to_f64().into_iter().zip(got.to_f64()).all(close);
                assert!(same, "{body}, {}, {count}: {got:?}, not {want:?}\n{made}", pass.name);
            }
        }
    }
}

fn is_cut(graph: &Graph, id: rectify_ir::NodeId) -> bool {
    matches!(graph.node(id).op, Op::Cut { .. })
}

fn refused(inputs: &str, body: &str) -> String {
    optimize(&graph(inputs, body), &Options::default()).unwrap_err().to_string()
}

#[test]
fn elements_and_axes_beside() {
    check("x: f32[4, 6], n: i64[1]", "cut(x, n, axis: 0, size: K) |> relu |> reduce_sum(axes: [1])");
    check(
        "x: f32[4, 6], n: i64[1]",
        "let k = cut(x, n, axis: 0, size: K)\nk + k * 2 |> transpose(perm: [1, 0])",
    );
    check(
        "x: f32[2, 4], y: f32[9, 4], n: i64[1]",
        "gather(y, cut(x, n, axis: 1, size: K) |> abs |> cast(to: i64))",
    );
}

#[test]
fn reductions_leave_out_what_is_behind() {
    for op in ["reduce_sum", "reduce_max", "reduce_min", "reduce_prod"] {
        check("x: f32[4, 6], n: i64[1]", &format!("cut(x, n, axis: 0, size: K) |> {op}(axes: [0, 1])"));
        check(
            "x: i64[4, 6], n: i64[1]",
            &format!("cut(x, n, axis: 0, size: K) |> {op}(axes: [0], keep: true)"),
        );
    }
    check("x: f32[4, 6], n: i64[1]", "cut(x, n, axis: 1, size: K) |> reduce_mean(axes: [0, 1])");
}

#[test]
fn orders_leave_out_what_is_behind() {
    check(
        "x: f32[9, 2], n: i64[1]",
        "let k = cut(x, n, axis: 0, size: K)
        (arg_sort(k, axis: 0), arg_sort(k, axis: 0, descending: true), cumsum(k, axis: 0, reverse: true))",
    );
}

#[test]
fn shapes_follow() {
    check("x: f32[4, 6], n: i64[1]", "cut(x, n, axis: 0, size: K) |> reshape(shape: [6*K])");
    check("x: f32[6, 4], n: i64[1]", "cut(x, n, axis: 1, size: K) |> reshape(shape: [3, 2*K])");
    check("x: f32[6, 4], n: i64[1]", "cut(x, n, axis: 1, size: K) |> reshape(shape: [2, 3, K, 1])");
    check(
        "x: f32[2, 4], y: f32[2, 3], n: i64[1]",
        "let k = cut(x, n, axis: 1, size: K)\nconcat(k, y, k, axis: 1) |> relu",
    );
}

#[test]
fn selections_of_selections() {
    check(
        "x: f32[4, 6], n: i64[1]",
        "let (p, m) = nonzero(cut(x, n, axis: 0, size: K) |> relu)\ncut(p, m, axis: 1, size: L)",
    );
    check(
        "x: f32[2, 3, 2]",
        "let (p, m) = nonzero(relu(x))\ngather_nd(x, cut(p, m, axis: 1, size: K) |> transpose(perm: [1, 0]))",
    );
}

#[test]
fn what_mixes_elements_is_refused() {
    let along = "along a size that is known at run time alone";
    for (inputs, body) in [
        ("x: f32[1, 3, 8], n: i64[1]", "cut(x, n, axis: 2, size: K) |> max_pool(kernel: 1)"),
        ("x: f32[4, 6], n: i64[1]", "cut(x, n, axis: 0, size: K) |> pad(pads: [1, 0, 0, 0])"),
        ("x: f32[4, 6], n: i64[1]", "cut(x, n, axis: 1, size: K) |> split(axis: 1, sizes: [0, K])"),
    ] {
        let told = refused(inputs, body);
        assert!(told.contains(along), "{body}: {told}");
    }
    let told = refused(
        "x: f32[4], y: f32[9], n: i64[1]",
        "(cut(y, n, axis: 0, size: K) |> relu, cut(x, n, axis: 0, size: K) |> relu)",
    );
    assert!(told.contains("two bounds"), "{told}");
}
