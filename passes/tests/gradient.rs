//! Gradients against finite differences in f64, and their conventions at corners and ties.

mod support;

use rectify_ir::bind::bind;
use rectify_ir::graph::{Graph, Output, Value};
use rectify_ir::interp::{Tensor, Tensors, eval};
use rectify_ir::op::{Binary, Op, ReduceKind, Source};
use rectify_ir::testing::{Options, random_bindings, random_graph, random_inputs, random_param};
use rectify_passes::gradient::gradient;
use std::collections::BTreeMap;
use support::graph;

/// Everything that has a value of its own: inputs and parameters, by name.
fn leaves(g: &Graph) -> Vec<(String, Value)> {
    let named = g.inputs().iter().copied().chain(g.params());
    named.map(|id| (g.node(id).name.as_deref().unwrap_or_default().to_string(), id.into())).collect()
}

/// The graph with the loss Σ output · weights as its first output, and then the gradients of the leaves that have one.
fn with_gradients(mut g: Graph) -> (Graph, Vec<String>) {
    let leaves = leaves(&g);
    let outputs = std::mem::take(&mut g.outputs);
    let mut loss: Option<Value> = None;
    for (i, output) in outputs.iter().enumerate() {
        let ty = g.ty(output.value).clone();
        let axes = (0..ty.rank()).collect();
        let weights = g.add_input(format!("weights{i}"), ty);
        let product = g.push(Op::Binary(Binary::Mul), &[output.value, weights]).unwrap();
        let sum = g.push(Op::Reduce { kind: ReduceKind::Sum, axes, keep: false }, &[product]).unwrap();
        loss = Some(loss.map_or(sum, |loss| g.push(Op::Binary(Binary::Add), &[loss, sum]).unwrap()));
    }
    let loss = loss.expect("an output");
    g.outputs.push(Output { name: "loss".into(), value: loss });
    let by: Vec<Value> = leaves.iter().map(|(_, v)| *v).collect();
    let gradients = gradient(&mut g, loss, &by).unwrap_or_else(|e| panic!("{e}\n{g}"));
    let mut names = vec![];
    for ((name, value), gradient) in leaves.into_iter().zip(gradients) {
        let Some(gradient) = gradient else { continue };
        assert_eq!(g.ty(value), g.ty(gradient), "{name}");
        g.outputs.push(Output { name: format!("d/{name}").into(), value: gradient });
        names.push(name);
    }
    g.remove_dead();
    rectify_ir::verify::verify(&g).unwrap_or_else(|e| panic!("{e:?}"));
    (g, names)
}

fn values(g: &Graph, seed: u64) -> Tensors<f64> {
    let bindings = random_bindings(g, seed, 4);
    let mut all = random_inputs::<f64>(g, &bindings, seed);
    for id in g.params() {
        let name = g.node(id).name.as_deref().unwrap_or_default().to_string();
        let value = match g.node(id).source() {
            Some(Source::Data(literal)) => Tensor::from_literal(literal),
            _ => random_param(&bind(g, &bindings).expect("bound"), id, seed).expect("a value"),
        };
        all.insert(name, value);
    }
    all
}

fn evaluate(g: &Graph, all: &Tensors<f64>) -> Tensors<f64> {
    let is_input = |name: &str| g.inputs().iter().any(|id| g.node(*id).name.as_deref() == Some(name));
    let inputs: Tensors<f64> =
        all.iter().filter(|(n, _)| is_input(n)).map(|(n, t)| (n.clone(), t.clone())).collect();
    let mut params = |g: &Graph, id| -> Result<Tensor<f64>, String> {
        Ok(all[g.node(id).name.as_deref().unwrap_or_default()].clone())
    };
    eval(g, &inputs, &mut params).unwrap_or_else(|e| panic!("{e}\n{g}"))
}

/// Some directional derivatives and single elements of each leaf by central differences.
fn check(g: Graph, seed: u64) {
    let all_leaves = leaves(&g).len();
    let (g, names) = with_gradients(g);
    assert!(!names.is_empty() && names.len() <= all_leaves);
    let base = values(&g, seed);
    let got = evaluate(&g, &base);
    let loss = |all: &Tensors<f64>| evaluate(&g, all)["loss"].to_f64()[0];
    for name in names {
        let gradient = got[&format!("d/{name}")].to_f64();
        let at = base[&name].to_f64();
        let picks: Vec<usize> = (0..at.len()).step_by((at.len() / 6).max(1)).collect();
        for i in picks {
            let h = 1e-6;
            let moved = |by: f64| {
                let (mut all, mut values) = (base.clone(), at.clone());
                values[i] += by;
                all.insert(name.clone(), Tensor::new(base[&name].shape.clone(), values).unwrap());
                loss(&all)
            };
            let want = (moved(h) - moved(-h)) / (2.0 * h);
            let error = (gradient[i] - want).abs();
            let scale = want.abs().max(gradient[i].abs()).max(1.0);
            assert!(error < 2e-5 * scale, "seed {seed}, d/{name}[{i}] is {}, not {want}\n{g}", gradient[i]);
        }
    }
}

#[test]
fn every_rule_agrees_with_finite_differences() {
    let bodies = [
        "x |> conv(6, kernel: 3, pad: 1) as a",
        "x |> conv(6, kernel: 3, stride: 2) as a",
        "x |> conv(6, kernel: 2, stride: 3, pad: [1, 0, 0, 1], groups: 2) as a",
        "x |> conv(4, kernel: 3, pad: same, stride: 2, groups: 4) as a",
        "x |> conv(3, kernel: 2, dilation: 2, pad: 3, bias: none) as a",
        "x |> conv_transpose(6, kernel: 3, stride: 2, pad: 1, output_pad: 1) as a",
        "x |> conv_transpose(6, kernel: 2, stride: 3, groups: 2) as a",
        "x |> conv_transpose(2, kernel: 3, dilation: 3, output_pad: 2) as a",
        "v |> dense(5) as a",
        "x |> dense(5) as a",
        "matmul(x, transpose(y, perm: [0, 1, 3, 2]))",
        "matmul(x, slice(y, axes: [0, 1], starts: [0, 0], ends: [1, 1]))",
        "matmul(reshape(v, shape: [24]), reshape(concat(v, v, v, v, axis: 0), shape: [24, 4]))",
        "matmul(reshape(concat(v, v, v, v, axis: 0), shape: [4, 24]), reshape(v, shape: [24]))",
        "x |> prelu as a",
        "x |> prelu(share: layer) as a",
        "x |> prelu(share: elementwise) as a",
        "v |> prelu as a",
        "param s: f32[6, 1] = normal(std: 1)\nx |> prelu(slope: s)",
        "relu(x)",
        "leaky_relu(x, alpha: -0.5)",
        "clip(x, min: -0.5, max: 1)",
        "clip(x, max: 0.5)",
        "relu6(x)",
        "elu(x, alpha: 0.7)",
        "gelu(x)",
        "gelu(x, tanh: true)",
        "silu(x)",
        "hard_swish(4 * x)",
        "softplus(x)",
        "sigmoid(x)",
        "hard_sigmoid(3 * x)",
        "tanh(x)",
        "exp(x)",
        "log(x * x + 0.1)",
        "sqrt(x * x + 0.1)",
        "abs(x)",
        "neg(x)",
        "reciprocal(x * x + 0.5)",
        "erf(x)",
        "floor(x) * y + ceil(y) * x + round(x) * sign(y) * x",
        "x + y",
        "x - y",
        "x * y",
        "x / (y * y + 1)",
        "max(x, y)",
        "min(x, y)",
        "pow(x * x + 0.5, y)",
        "pow(x, 3)",
        "rem(x, y * y + 0.5)",
        "sin(x)",
        "cos(x)",
        "tan(x * 0.3)",
        "asin(x * 0.2)",
        "acos(x * 0.2)",
        "atan(x)",
        "sinh(x)",
        "cosh(x)",
        "asinh(x)",
        "acosh(x * x + 1.5)",
        "atanh(x * 0.2)",
        "x * reduce_mean(y, axes: [0, 2], keep: true)",
        "x - reduce_sum(y, axes: [0, 1])",
        "select(less(x, y), x * x, y)",
        "select(less(x, 0), reduce_sum(x, axes: [1], keep: true), y)",
        "x * cast(less(x, y), to: f32)",
        "x |> batch_norm(eps: 0.1) as a",
        "x |> layer_norm(axis: 2) as a",
        "v |> layer_norm as a",
        "x |> instance_norm as a",
        "max_pool(x, kernel: 2)",
        "max_pool(x, kernel: 3, stride: 2, pad: 1)",
        "max_pool(x, kernel: 2, stride: 3, ceil: true)",
        "max_pool(x, kernel: 2, dilation: 3, stride: 1)",
        "avg_pool(x, kernel: 2)",
        "avg_pool(x, kernel: 3, stride: 2, pad: 1)",
        "avg_pool(x, kernel: 4, stride: 4, ceil: true)",
        "avg_pool(x, kernel: 3, stride: 2, pad: 1, count_include_pad: true)",
        "avg_pool(x, kernel: 4, stride: 3)",
        "avg_pool(x, kernel: 3, stride: 2, pad: 1, count_include_pad: true, ceil: true)",
        "avg_pool(x, kernel: 2, stride: 2, pad: [0, 0, 1, 1], count_include_pad: true)",
        "spp(x, bins: [4, 2, 1])",
        "global_avg_pool(x)",
        "global_max_pool(x)",
        "softmax(x, axis: 1)",
        "softmax(x, axis: 3)",
        "reduce_mean(x, axes: [1, 3])",
        "reduce_sum(x, axes: [0], keep: true)",
        "reduce_max(x, axes: [1, 2])",
        "reduce_min(x, axes: [3], keep: true)",
        "reduce_prod(x, axes: [1])",
        "concat(x, y, x, axis: 2)",
        "let (a, b, c) = split(x, axis: 1, sizes: [1, 2, 1])\na * c",
        "slice(x, axes: [2, 3], starts: [1, 5], ends: [5, -1], steps: [2, -2])",
        "slice(x, axes: [0, 2], starts: [1, 2], ends: [2, 4])",
        "pad(x, pads: [0, 1, 2, 0, 1, 0, 0, 3])",
        "pad(x, pads: [0, 0, -1, 0, 0, 0, 2, -2])",
        "pad(x, pads: [0, 0, 2, 0, 0, 0, 3, 1], mode: reflect)",
        "pad(x, pads: [0, 0, 1, 2, 0, 0, 0, 2], mode: edge)",
        "pad(x, pads: [0, 0, 2, 5, 0, 0, 3, 1], mode: wrap)",
        "pad(x, pads: [0, 0, -1, 4, 0, 0, 9, -2], mode: wrap)",
        "resize(x, scale: 2)",
        "resize(x, size: [4, 9])",
        "resize(x, scale: 2, mode: linear)",
        "resize(x, size: [9, 4], mode: linear, coords: align_corners)",
        "resize(x, size: [3, 13], mode: linear, antialias: true)",
        "resize(x, size: [11, 4], mode: cubic)",
        "resize(x, size: [5, 7], mode: linear, coords: crop_and_resize, roi: [-0.2, 0.1, 0.7, 1.3], extrapolation: 3)",
        "gather(x, cast(y * 2, to: i64) - 1, axis: 2)",
        "gather(x, reshape(cast(v, to: i64), shape: [-1]), axis: 0)",
        "gather_elements(x, cast(y * 2, to: i64), axis: 3)",
        "gather_nd(x, cast(slice(y, axes: [3], starts: [0], ends: [2]), to: i64))",
        "gather_nd(x, cast(slice(y, axes: [3], starts: [0], ends: [1]), to: i32), batch: 2)",
        "scatter_elements(x, cast(y * 2, to: i64), y * y, axis: 2)",
        "scatter_elements(x, cast(y * 2, to: i64), y * y, axis: 1, reduction: add)",
        "scatter_nd(x, cast(slice(y, axes: [3], starts: [0], ends: [3]), to: i64), slice(y, axes: [3], starts: [0], ends: [6]))",
        "scatter_nd(x, cast(slice(y, axes: [3], starts: [0], ends: [3]), to: i64), slice(y, axes: [3], starts: [0], ends: [6]), reduction: add)",
        "cumsum(x, axis: 1)",
        "cumsum(x, axis: 3, exclusive: true)",
        "cumsum(x, axis: 2, reverse: true)",
        "transpose(x, perm: [2, 0, 3, 1])",
        "reshape(x, shape: [4, -1])",
        "flatten(x)",
        "expand(reduce_sum(x, axes: [1], keep: true), shape: [3, 2, 4, 6, 6])",
        "depth_to_space(x, block: 2)",
        "depth_to_space(x, block: 2, mode: crd)",
        "dropout(x)",
        "let a = x * y\nlet b = a + x\nmax(b, a * b) - y",
    ];
    for (i, body) in bodies.iter().enumerate() {
        check(graph(body), i as u64);
    }
}

#[test]
fn random_graphs_agree_with_finite_differences() {
    for seed in 0..60 {
        let options = Options { operations: 1 + (seed % 8) as usize, ..Options::default() };
        let graph = random_graph(seed, &options);
        let graph = bind(&graph, &random_bindings(&graph, seed, 4)).expect("bound");
        check(graph, seed);
    }
}

/// The gradients of the sum of the first output by x and by the parameters, at these values of x.
fn at(text: &str, x: &[f64]) -> BTreeMap<String, Vec<f64>> {
    let (g, _) = with_gradients(graph(&format!("model t(x: f32[1, 1, {}]) {{\n{text}\n}}", x.len())));
    let mut all = values(&g, 1);
    all.insert("x".into(), Tensor::new(vec![1, 1, x.len()], x.to_vec()).unwrap());
    let ones = all["weights0"].to_f64().len();
    all.insert("weights0".into(), Tensor::new(all["weights0"].shape.clone(), vec![1.0; ones]).unwrap());
    evaluate(&g, &all).into_iter().map(|(name, t)| (name, t.to_f64())).collect()
}

#[test]
fn corners_and_ties_are_as_documented() {
    assert_eq!(at("relu(x)", &[-1.0, 0.0, -0.0, 2.0])["d/x"], [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(at("leaky_relu(x, alpha: 0.25)", &[0.0, 1.0])["d/x"], [0.25, 1.0]);
    let prelu = at("x |> prelu(slope: constant(0)) as a", &[-3.0, 0.0, 2.0]);
    assert_eq!((&prelu["d/x"][..], &prelu["d/a.slope"][..]), (&[0.0, 0.0, 1.0][..], &[-3.0][..]));
    assert_eq!(at("clip(x, min: 0, max: 1)", &[0.0, 0.5, 1.0])["d/x"], [0.0, 1.0, 0.0]);
    assert_eq!(at("max(x, 1)", &[1.0, 2.0, 0.0])["d/x"], [0.5, 1.0, 0.0]);
    assert_eq!(at("abs(x)", &[0.0, -2.0])["d/x"], [0.0, -1.0]);
    assert_eq!(at("max_pool(x, kernel: 2)", &[1.0, 1.0, 0.0, 3.0])["d/x"], [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(at("reduce_max(x, axes: [2])", &[3.0, 1.0, 3.0])["d/x"], [0.5, 0.0, 0.5]);
    assert_eq!(at("reduce_prod(x, axes: [2])", &[2.0, 0.0, 5.0])["d/x"], [0.0, 10.0, 0.0]);
    assert_eq!(at("reduce_prod(x, axes: [2])", &[0.0, 0.0, 5.0])["d/x"], [0.0, 0.0, 0.0]);
}

#[test]
fn what_has_no_gradient_says_so() {
    let ask = |text: &str| {
        let mut g = graph(text);
        let (out, x) = (g.outputs[0].value, Value::from(g.inputs()[0]));
        let axes = (0..g.ty(out).rank()).collect();
        let loss = g.push(Op::Reduce { kind: ReduceKind::Sum, axes, keep: false }, &[out]).unwrap();
        (gradient(&mut g, loss, &[x]), gradient(&mut g.clone(), out, &[x]))
    };
    let (found, whole) = ask("sign(x)");
    assert_eq!(found, Ok(vec![None]));
    assert!(whole.unwrap_err().to_string().contains("only a float of rank 0"));
    assert_eq!(ask("relu(y)").0, Ok(vec![None]));
    let message = ask("cumprod(x, axis: 1)").0.unwrap_err().to_string();
    assert!(message.contains("cumprod has no gradient: running products have no rule"), "{message}");
}
