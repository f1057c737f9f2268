//! Plans mean what their graphs mean: verified, executed by the reference and compared with the interpreter.

use rectify_ir::bind::{Bindings, bind};
use rectify_ir::graph::Graph;
use rectify_ir::interp::{Tensors, eval_all};
use rectify_ir::kernel::Descriptor;
use rectify_ir::lang::compile_text;
use rectify_ir::literal::Literal;
use rectify_ir::plan::{Algorithm, Pack, PackSource, Plan, testing::execute, verify};
use rectify_ir::target::{Level, Target};
use rectify_ir::testing::{self, random_bindings, random_graph, random_inputs, random_param};
use rectify_passes::{ConvPolicy, lower_with, optimize};

const SEEDS: u64 = 150;

/// Lowers, verifies, runs and compares; returns the plan.
fn check(graph: &Graph, bindings: &Bindings, seed: u64) -> Plan {
    check_on(&Target::new(Level::X86V3), graph, bindings, seed, |inputs| inputs)
}

fn check_on(
    target: &Target,
    graph: &Graph,
    bindings: &Bindings,
    seed: u64,
    change: impl Fn(Tensors<f64>) -> Tensors<f64>,
) -> Plan {
    check_with(target, ConvPolicy::Cheapest, graph, bindings, seed, change)
}

fn check_with(
    target: &Target,
    policy: ConvPolicy,
    graph: &Graph,
    bindings: &Bindings,
    seed: u64,
    change: impl Fn(Tensors<f64>) -> Tensors<f64>,
) -> Plan {
    let bound = bind(graph, bindings).unwrap_or_else(|e| panic!("{e}"));
    let plan = lower_with(&bound, target, policy).unwrap_or_else(|e| panic!("{e}\n{bound}"));
    verify(&plan).unwrap_or_else(|e| panic!("{e}\n{plan}\n{bound}"));
    let inputs: Tensors<f64> = change(random_inputs(&bound, &Bindings::new(), seed));
    let trace = eval_all(&bound, &inputs, &mut |g, id| random_param(g, id, seed))
        .unwrap_or_else(|e| panic!("{e}\n{bound}"));
    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    let mut values = |pack: &Pack| {
        let values = match &pack.source {
            PackSource::Value(value) => narrow(trace.values[value].to_f64()),
            PackSource::Literal(literal) => narrow(literal.to_f64()),
        };
        assert_eq!(values.len(), pack.format.source_len(), "{pack:?}\n{plan}\n{bound}");
        values
    };
    let given =
        plan.inputs.iter().map(|p| inputs[&p.name].to_literal(p.dtype).expect("its type").bytes.to_vec());
    let got = execute(&plan, &given.collect::<Vec<_>>(), &mut values);
    for (output, got) in bound.outputs.iter().zip(got) {
        let dtype = bound.ty(output.value).dtype;
        let got = Literal { dtype, shape: vec![], bytes: got.into() }.to_f64();
        let want = trace.values[&output.value].to_f64();
        let largest = want.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
        assert_eq!(want.len(), got.len());
        for (i, (w, g)) in want.iter().zip(&got).enumerate() {
            let close =
                (w - g).abs() <= 2e-5 * largest + 1e-4 * w.abs() || (w.is_nan() && g.is_nan()) || w == g;
            assert!(close, "{}[{i}] is {g}, not {w}\n{plan}\n{bound}", output.name);
        }
    }
    let json = plan.to_json().expect("json");
    assert_eq!(Plan::from_json(&json).expect("json"), plan);
    plan
}

/// Checks a model of one result, as it is and optimised.
fn check_text(inputs: &str, body: &str) -> Plan {
    let text = format!("rect 1\nmodel m({inputs}) {{\n{body}\n}}\n");
    let graph = compile_text("test.rect", &text).unwrap_or_else(|e| panic!("{e}"));
    check(&graph, &Bindings::new(), 3);
    let optimized = optimize(&graph, &Default::default()).unwrap_or_else(|e| panic!("{e}")).graph;
    check(&optimized, &Bindings::new(), 3)
}

#[test]
fn random_graphs() {
    for seed in 0..SEEDS {
        let options = testing::Options {
            operations: 1 + (seed % 14) as usize,
            spatial_rank: 1 + (seed % 5 != 0) as usize,
            symbolic: seed % 3 == 0,
            ..testing::Options::default()
        };
        let graph = random_graph(seed, &options);
        check(&graph, &random_bindings(&graph, seed, 6), seed);
        let optimized = optimize(&graph, &Default::default()).unwrap_or_else(|e| panic!("{e}")).graph;
        check(&optimized, &random_bindings(&optimized, seed, 6), seed);
    }
}

/// Blocks of 8 and 16 channels, as wider vectors have them.
#[test]
fn wide_blocks() {
    for seed in 500..560 {
        let graph = random_graph(seed, &testing::Options::default());
        let target = Target { lanes: [8, 16][seed as usize % 2], ..Target::new(Level::X86V4) };
        check_on(&target, &graph, &Bindings::new(), seed, |inputs| inputs);
    }
}

/// Infinities and NaN reach what depends on them and nothing else: padding has no part in any result.
#[test]
fn special_values() {
    for seed in 1000..1060 {
        let options = testing::Options { operations: 1 + (seed % 8) as usize, ..testing::Options::default() };
        let graph = random_graph(seed, &options);
        let target = Target::new(Level::X86V3);
        check_on(&target, &graph, &Bindings::new(), seed, |inputs| {
            testing::with_special_values(inputs, seed, 40)
        });
    }
}

#[test]
fn convolutions() {
    for (x, op) in [
        ("2, 3, 9, 7", "conv(8, kernel: 3, pad: 1) |> prelu"),
        ("1, 8, 9, 7", "conv(10, kernel: 3, pad: 1, stride: 2) |> prelu"),
        ("1, 8, 9, 7", "conv(16, kernel: [3, 2], pad: [1, 0, 2, 1], dilation: [2, 1])"),
        ("2, 10, 6, 6", "conv(6, kernel: 1) |> relu |> conv(3, kernel: 3, pad: 1)"),
        ("1, 8, 6, 6", "conv(8, kernel: 3, pad: 1, groups: 2) |> conv(12, kernel: 1, groups: 4)"),
        ("1, 6, 6, 6", "conv(12, kernel: 3, pad: 1, groups: 6)"),
        ("1, 10, 7, 7", "conv(10, kernel: 3, pad: 1, groups: 10, stride: 2) |> silu"),
        ("2, 4, 11", "conv(8, kernel: 3, pad: same, stride: 2) |> prelu"),
        ("1, 4, 4, 5, 3", "conv(8, kernel: 3, pad: 1)"),
        ("1, 4, 1, 1", "conv(8, kernel: 3, pad: 1) |> conv(4, kernel: 3, pad: 1)"),
        (
            "1, 8, 5, 5",
            "conv(12, kernel: 3, pad: 1) |> sigmoid |> conv(10, kernel: 3) |> sigmoid |> max_pool(kernel: 2, stride: 1)",
        ),
    ] {
        check_text(&format!("x: f32[{x}]"), &format!("x |> {op}"));
    }
}

#[test]
fn choices_and_gathers() {
    for (inputs, body) in [
        // Bool stays between inputs and outputs, in the form that its operands have.
        (
            "x: f32[2, 6, 5, 4], y: f32[6, 1, 1]",
            "let c = x |> conv(10, kernel: 1)\nlet d = y |> reshape(shape: [1, 6, 1, 1]) |> expand(shape: [2, 6, 5, 4]) \
             |> conv(10, kernel: 1)\nselect(less(c, d), sign(c), c * d)",
        ),
        ("x: f32[3, 7], y: f32[7]", "select(and(less_equal(x, y), not(equal(x, 0))), x, y)"),
        ("x: f32[3, 7], y: f32[7]", "select(or(less(x, 0), xor(less(y, 0), less(y, x))), 1.5, y) |> relu"),
        ("x: f32[3, 7]", "cast(cast(x |> round, to: bool), to: f32)"),
        ("x: f32[3, 2, 5]", "x |> reduce_prod(axes: [0, 2])"),
        ("x: f32[3, 1, 5]", "x |> expand(shape: [2, 3, 4, 5]) |> relu"),
        ("x: f32[4, 3, 5]", "param i: i64[2, 3] = data([0, 2, -1, 7, 1, 1])\ngather(x, i, axis: 1) |> relu"),
        (
            "x: f32[1, 8, 5, 5]",
            "param i: i64[5] = data([7, 0, -2, 3, 3])\nx |> conv(8, kernel: 3) |> gather(i, axis: 1)",
        ),
        ("x: f32[4, 3]", "param i: i64[2, 3] = data([0, 3, -1, 2, 2, 1])\ngather_elements(x, i)"),
        // Indices that are known at run time alone: of rows, of single elements, of channels in blocks.
        ("x: f32[4, 3, 5], i: i64[2, 3]", "gather(x, i - 6) |> relu"),
        ("x: f32[4, 3, 5], i: i32[2, 3]", "gather(x, i, axis: 2)"),
        ("x: f32[4, 3], i: i64[1]", "gather(x, i |> reshape(shape: []))"),
        ("x: i64[4, 30], i: i16[7]", "gather(x, i, axis: 1) * 2"),
        ("x: f32[1, 8, 5, 5], i: i64[3]", "x |> conv(10, kernel: 3) |> gather(i, axis: 1)"),
        ("x: f32[4, 3, 6], i: i32[2, 9, 6]", "gather_elements(x, i - 8, axis: 1)"),
        ("x: u8[4, 3], i: i64[4, 3]", "gather_elements(x, i)"),
        ("x: f32[4, 3, 6], i: i64[5, 2]", "gather_nd(x, i - 3) |> relu"),
        ("x: f32[2, 4, 3, 6], i: i64[2, 7, 2]", "gather_nd(x, i - 3, batch: 1)"),
        ("x: i32[4, 3, 6], i: i64[2, 2, 3]", "gather_nd(x, i)"),
        (
            "x: f32[4, 3, 6], i: i32[2, 9, 6], u: f32[2, 9, 6]",
            "scatter_elements(x, i - 8, u, axis: 1, reduction: add)",
        ),
        ("x: f32[4, 9], i: i64[4, 5], u: f32[4, 5]", "scatter_elements(x, i, u, axis: 1)"),
        ("x: i64[4, 9], i: i64[7, 9], u: i64[7, 9]", "scatter_elements(x, i, u, reduction: max)"),
        ("x: f32[4, 9], i: i64[7, 1], u: f32[7, 9]", "scatter_nd(x, i, u, reduction: mul)"),
        ("x: u8[4, 3, 2], i: i32[2, 5, 2], u: u8[2, 5, 2]", "scatter_nd(x, i - 3, u)"),
    ] {
        check_text(inputs, body);
    }
}

#[test]
fn orders_and_running_sums() {
    for (inputs, body) in [
        ("x: f32[3, 7, 4]", "arg_max(x |> round, axis: 1)"),
        ("x: f32[1, 9, 5, 5]", "x |> conv(10, kernel: 3) |> arg_max(axis: 1, keep: true)"),
        ("x: f32[3, 7]", "arg_min(x |> round, axis: 1, last: true)"),
        ("x: f64[3, 7]", "arg_max(x, axis: 0)"),
        ("x: i64[3, 70]", "arg_max(x, axis: 1, last: true)"),
        ("x: u64[30, 2]", "arg_min(x, axis: 0)"),
        ("x: f32[3, 37]", "arg_sort(x |> round, axis: 1)"),
        ("x: f32[20, 3]", "arg_sort(x |> round, axis: 0, count: 7, descending: true)"),
        ("x: f32[1, 9, 5, 5]", "x |> conv(10, kernel: 3) |> arg_sort(axis: 1, count: 2)"),
        ("x: i8[2, 33]", "arg_sort(x, axis: 1, descending: true)"),
        ("x: u64[1]", "arg_sort(x, axis: 0)"),
        ("x: f64[2, 16]", "arg_sort(x, axis: 1)"),
        ("x: f32[2, 13, 3]", "cumsum(x, axis: 1)"),
        ("x: f32[2, 13, 3]", "cumsum(x, axis: 1, exclusive: true, reverse: true)"),
        ("x: i32[16]", "cumsum(x, axis: 0, reverse: true)"),
        ("x: i64[9]", "cumprod(x - 5, axis: 0, exclusive: true)"),
        ("x: f32[4, 1]", "cumsum(x, axis: 1, exclusive: true)"),
        ("x: f32[4, 1]", "cumsum(x, axis: 1)"),
        (
            "x: f32[2, 9, 7, 8]",
            "let y = x |> max_pool(kernel: 3, stride: 2, pad: 1)\nmax_pool_indices(x, y, kernel: 3, stride: 2, pad: 1)",
        ),
        (
            "x: f32[1, 2, 9]",
            "let r = x |> round\nlet y = r |> max_pool(kernel: 3, dilation: 2, pad: 2)\nmax_pool_indices(r, y, kernel: 3, dilation: 2, pad: 2)",
        ),
        (
            "x: u8[1, 2, 5, 5]",
            "let y = x |> max_pool(kernel: 2, stride: 2, ceil: true)\nmax_pool_indices(x, y, kernel: 2, stride: 2, ceil: true)",
        ),
        ("x: u8[1, 2, 5, 5]", "x |> max_pool(kernel: 3, stride: 2, pad: 1)"),
        ("x: u64[5], y: u64[5]", "select(less(x, y), cast(x, to: f32), cast(less_equal(y, 3), to: f32))"),
    ] {
        check_text(inputs, body);
    }
}

#[test]
fn elements_that_are_not_f32() {
    for (inputs, body) in [
        ("x: f64[40]", "exp(x) + tanh(x) - sigmoid(x) * erf(x)"),
        ("x: f64[40]", "(x |> gelu) + (x |> gelu(tanh: true)) + silu(x) + softplus(x)"),
        ("x: f64[40]", "elu(x) + hard_swish(x) + hard_sigmoid(x) + log(abs(x))"),
        ("x: f64[7], y: f64[7]", "pow(x, round(y)) + pow(abs(x), y)"),
        ("x: i32[9], y: i32[9]", "pow(x - 8, y - 3)"),
        ("x: u8[9], y: u8[9]", "pow(x, y)"),
        ("a: f64[3, 4, 5], b: f64[5, 2]", "matmul(a, b) |> relu"),
        ("a: i32[4, 5], b: i32[3, 5, 2]", "matmul(a, b) + 1"),
        ("a: f32[4], b: f32[2, 4, 1]", "matmul(a, b)"),
        ("a: f32[1, 4], b: f32[2, 4, 1]", "matmul(a, b)"),
        ("a: f32[2, 3, 40], b: f32[2, 40, 1]", "matmul(a, b) |> relu"),
        ("a: f32[5], b: f32[3, 2, 5, 7]", "matmul(a, b) |> relu"),
        ("a: f32[3, 2, 5], b: f32[5]", "matmul(a, b) |> relu"),
        ("c: bool[3, 4]", "select(reduce_max(c, axes: [1]), cast(reduce_min(c, axes: [1]), to: f32), 2)"),
        ("x: f32[3]", "param i: i64[3] = data([2, 0, 1])\ngather(x, i * 2 - 1) * cast(i + 1, to: f32)"),
        ("x: f32[2, 3]", "param w: f64[3] = data([1, 2, 0.1])\nx * cast(w * w, to: f32)"),
    ] {
        check_text(inputs, body);
    }
}

#[test]
fn tensors_without_elements() {
    for (inputs, body) in [
        ("x: f32[2, 0, 4]", "relu(x) * 2"),
        ("x: f32[2, 0, 4]", "x |> reduce_sum(axes: [1]) |> sigmoid"),
        ("x: f32[2, 0, 4]", "x |> reduce_max(axes: [1], keep: true)"),
        ("x: f32[2, 0, 4]", "x |> reduce_mean(axes: [2])"),
        ("x: i32[2, 0]", "x |> reduce_min(axes: [1])"),
        ("x: u8[2, 0]", "x |> reduce_min(axes: [1])"),
        ("x: i64[0, 3]", "x |> reduce_max(axes: [0])"),
        ("x: i16[0, 3]", "x |> reduce_prod(axes: [0])"),
        ("a: f32[3, 0], b: f32[0, 5]", "matmul(a, b) + 1"),
        ("a: f32[0, 3], b: f32[3, 5]", "matmul(a, b)"),
        ("x: f32[2, 0], y: f32[2, 3]", "concat(x, y, x, axis: 1)"),
        ("x: f32[2, 3]", "let (a, b, c) = x |> split(sizes: [0, 3, 0])\nconcat(a, b, c, axis: 1)"),
        ("x: f32[2, 3]", "x |> slice(axes: [1], starts: [2], ends: [2])"),
        ("x: f32[0, 3]", "x |> pad(pads: [1, 0, 1, 0], value: 2)"),
        ("x: f32[0, 3, 4]", "x |> transpose(perm: [2, 0, 1]) |> reshape(shape: [3, 4, 0])"),
        ("x: f32[3, 4], i: i64[0]", "gather(x, i)"),
        ("x: f32[3, 4], i: i64[0, 4], u: f32[0, 4]", "scatter_elements(x, i, u)"),
        ("x: f32[3, 0]", "cumsum(x, axis: 1)"),
        ("x: f32[3, 4]", "arg_sort(x, axis: 1, count: 0)"),
    ] {
        check_text(inputs, body);
    }
}

#[test]
fn transposed_convolutions() {
    for (x, op) in [
        ("2, 8, 5, 4", "conv_transpose(4, kernel: 2, stride: 2) |> prelu"),
        ("1, 8, 5, 4", "conv_transpose(6, kernel: 3, stride: 2, pad: 1, output_pad: 1)"),
        ("1, 3, 5, 4", "conv_transpose(8, kernel: 4, stride: 2, pad: 1) |> conv(4, kernel: 3, pad: 1)"),
        ("1, 8, 5, 4", "conv_transpose(8, kernel: 3, stride: 3, dilation: 2, groups: 2)"),
        ("1, 6, 5, 4", "conv_transpose(6, kernel: 3, groups: 6, pad: 1)"),
        ("1, 4, 5, 4", "conv_transpose(4, kernel: 2, stride: 3)"),
        ("1, 4, 7", "conv_transpose(8, kernel: 9, stride: 3, pad: 4, output_pad: 2)"),
        ("1, 4, 5, 4", "conv_transpose(4, kernel: 3, stride: 2, pad: same)"),
    ] {
        check_text(&format!("x: f32[{x}]"), &format!("x |> {op}"));
    }
}

#[test]
fn pools() {
    for (x, op) in [
        ("2, 8, 9, 7", "max_pool(kernel: 3, stride: 2, pad: 1)"),
        ("1, 3, 9, 7", "max_pool(kernel: 2, ceil: true)"),
        ("1, 10, 9, 7", "avg_pool(kernel: 3, stride: 2, pad: 1) |> conv(4, kernel: 1)"),
        ("1, 10, 9, 8", "avg_pool(kernel: 3, stride: 2, pad: 1, ceil: true, count_include_pad: true)"),
        ("1, 6, 9, 8", "avg_pool(kernel: 2) |> global_avg_pool |> flatten |> dense(3)"),
        ("1, 6, 13, 9", "conv(6, kernel: 3, pad: 1) |> spp(bins: [6, 3, 2, 1]) |> dense(5)"),
        ("2, 8, 9", "max_pool(kernel: 3, stride: 1, pad: 1, dilation: 1)"),
        ("1, 8, 6, 6", "conv(8, kernel: 1) |> global_max_pool"),
    ] {
        check_text(&format!("x: f32[{x}]"), &format!("x |> {op}"));
    }
    // One value with halos of zeros and of minus infinity.
    check_text(
        "x: f32[1, 4, 6, 6]",
        "let a = x |> conv(8, kernel: 3, pad: 1)\n(a |> conv(8, kernel: 3, pad: 1)) + (a |> max_pool(kernel: 3, stride: 1, pad: 1))",
    );
}

#[test]
fn dense_and_matmul() {
    for (inputs, body) in [
        ("x: f32[1, 10]", "x |> dense(7) |> prelu |> dense(40)"),
        ("x: f32[5, 16]", "x |> dense(13) |> relu"),
        ("x: f32[2, 3, 12]", "x |> dense(6) |> gelu"),
        ("x: f32[12]", "x |> dense(6)"),
        ("x: f32[2, 8, 3, 3]", "x |> conv(8, kernel: 3, pad: 1) |> flatten |> dense(9)"),
        ("x: f32[2, 6, 3, 3]", "x |> conv(6, kernel: 3, pad: 1) |> flatten |> dense(9)"),
        ("a: f32[3, 4, 5], b: f32[3, 5, 9]", "matmul(a, b)"),
        ("a: f32[2, 1, 4, 8], b: f32[3, 8, 6]", "matmul(a, b) |> relu"),
        ("a: f32[2, 3, 4, 8], b: f32[8, 6]", "matmul(a, b)"),
        ("a: f32[8], b: f32[8, 6]", "matmul(a, b)"),
        ("a: f32[3, 4, 8], b: f32[8]", "matmul(a, b)"),
        ("a: f32[8], b: f32[8]", "matmul(a, b)"),
        ("a: f32[6, 5], b: f32[6, 7]", "matmul(a |> transpose(perm: [1, 0]), b)"),
    ] {
        check_text(inputs, body);
    }
}

#[test]
fn moves() {
    for (x, body) in [
        (
            "2, 8, 4, 4",
            "let a = x |> conv(8, kernel: 3, pad: 1)\nlet b = x |> conv(4, kernel: 1)\nconcat(a, b, x, axis: 1) |> conv(5, kernel: 3, pad: 1)",
        ),
        (
            "1, 6, 4, 4",
            "let a = x |> conv(6, kernel: 1)\nlet b = x |> conv(10, kernel: 1)\nconcat(a, b, axis: 1) |> prelu |> conv(4, kernel: 3, pad: 1)",
        ),
        ("1, 8, 4, 4", "let a = x |> conv(8, kernel: 1)\nconcat(a, a, axis: 2) |> relu"),
        (
            "1, 8, 4, 4",
            "let (a, b) = x |> conv(16, kernel: 1) |> split(sizes: [8, 8])\n(a |> conv(8, kernel: 3, pad: 1)) * b",
        ),
        (
            "1, 8, 4, 4",
            "let (a, b) = x |> conv(9, kernel: 1) |> split(sizes: [3, 6])\n(a |> conv(6, kernel: 3, pad: 1)) * b",
        ),
        (
            "1, 8, 6, 6",
            "x |> conv(8, kernel: 1) |> slice(axes: [2, 3], starts: [1, 0], ends: [5, 6], steps: [1, 2]) |> conv(4, kernel: 3, pad: 1)",
        ),
        ("1, 8, 6, 6", "x |> conv(8, kernel: 1) |> slice(axes: [1], starts: [7], ends: [0], steps: [-2])"),
        (
            "1, 6, 4, 4",
            "x |> conv(6, kernel: 1) |> pad(pads: [0, 0, 1, 2, 0, 0, 0, 1], value: 1.5) |> conv(4, kernel: 3)",
        ),
        (
            "1, 6, 4, 4",
            "x |> conv(6, kernel: 1) |> pad(pads: [0, 0, 1, 2, 0, 0, 3, 1], mode: reflect) |> conv(4, kernel: 3)",
        ),
        ("1, 6, 4, 4", "x |> pad(pads: [0, 1, 1, 2, 0, 2, 3, 1], mode: edge) |> relu"),
        ("1, 6, 4, 4", "x |> pad(pads: [0, 1, 5, 2, 0, 2, 3, 1], mode: wrap) |> relu"),
        ("1, 6, 4, 4", "x |> pad(pads: [0, 1, -1, 2, 0, 2, 0, -1])"),
        ("2, 6, 4, 5", "x |> conv(6, kernel: 1) |> transpose(perm: [0, 2, 3, 1]) |> softmax(axis: -1)"),
        ("2, 3, 4", "x |> reshape(shape: [4, 2, 3]) |> relu"),
        (
            "2, 9, 4, 5",
            "x |> conv(9, kernel: 1) |> reshape(shape: [2, 5, 6, 6]) |> conv(4, kernel: 3, pad: 1)",
        ),
        ("2, 6, 4, 5", "x |> conv(6, kernel: 1) |> reshape(shape: [2, 3, 40]) |> conv(4, kernel: 3, pad: 1)"),
        ("1, 16, 4, 5", "x |> conv(16, kernel: 1) |> depth_to_space(2) |> conv(4, kernel: 3, pad: 1)"),
        (
            "1, 16, 4, 5",
            "x |> conv(20, kernel: 1) |> depth_to_space(2, mode: crd) |> prelu |> conv(4, kernel: 3, pad: 1)",
        ),
        ("1, 4, 4, 5", "x |> conv(27, kernel: 1) |> depth_to_space(3)"),
        (
            "2, 3, 4, 5",
            "x |> conv(24, kernel: 3, pad: 1) |> depth_to_space(2) |> prelu |> conv(4, kernel: 3, pad: 1)",
        ),
        (
            "2, 8, 4, 5",
            "x |> conv(24, kernel: 3, pad: 1, bias: none) |> depth_to_space(2, mode: crd) |> prelu |> conv(4, kernel: 1)",
        ),
        (
            "1, 10, 4, 5",
            "x |> conv(10, kernel: 1) |> conv(20, kernel: 3, pad: 1) |> depth_to_space(2, mode: crd)",
        ),
        (
            "1, 6, 4, 5",
            "let s = x |> conv(16, kernel: 1) |> depth_to_space(2)\n(x |> conv_transpose(4, kernel: 2, stride: 2)) + s",
        ),
        ("1, 4, 4, 5", "x |> conv(4, kernel: 1) |> depth_to_space(2) |> relu"),
        ("1, 6, 4, 5", "x |> conv(6, kernel: 1) |> resize(scale: 2) |> conv(4, kernel: 3, pad: 1)"),
        ("1, 6, 4, 5", "x |> conv(6, kernel: 1) |> resize(scale: [1.5, 2], mode: linear) |> relu"),
        ("1, 6, 4, 5", "x |> resize(size: [3, 9], mode: linear, coords: align_corners)"),
        ("1, 6, 4, 5", "x |> conv(6, kernel: 1) |> resize(scale: [1.5, 2], mode: cubic) |> relu"),
        ("1, 6, 9, 5", "x |> resize(size: [4, 3], mode: cubic, antialias: true, exclude_outside: true)"),
        ("1, 6, 9, 5", "x |> conv(6, kernel: 1) |> resize(scale: 0.3, mode: linear, antialias: true)"),
        (
            "1, 6, 4, 5",
            "x |> resize(size: [3, 4], coords: crop_and_resize, roi: [-0.2, 0.1, 1.3, 0.8], extrapolation: 7)",
        ),
        (
            "1, 6, 4, 5",
            "x |> resize(size: [3, 4], mode: linear, coords: crop_and_resize, roi: [0.2, 0.1, 1.3, 0.8], extrapolation: 7)",
        ),
        ("1, 6, 4, 5", "x |> resize(scale: 0.7, mode: linear, coords: half_pixel_symmetric)"),
        ("1, 6, 4, 5", "x |> resize(size: [3, 9], coords: asymmetric, nearest: floor)"),
        ("1, 2, 3, 2, 4", "x |> resize(scale: 2, mode: linear, coords: pytorch_half_pixel)"),
        ("1, 6, 4, 5", "x |> dropout(0.5)"),
    ] {
        check_text(&format!("x: f32[{x}]"), body);
    }
}

/// Values that are outputs and more: inputs, parameters, twice an output, read by other steps.
/// A channel shuffle, as ShuffleNet has it, is one copy between the layers around it, or none.
#[test]
fn channel_shuffles() {
    let work = |plan: &Plan| plan.steps.iter().filter(|s| !s.label.ends_with("halo")).count();
    for (channels, groups) in [(48, 3), (64, 4), (24, 2), (20, 4), (12, 3)] {
        let of_group = channels / groups;
        let shuffle = format!(
            "|> reshape(shape: [2, {groups}, {of_group}, 6, 5]) |> transpose(perm: [0, 2, 1, 3, 4])
             |> reshape(shape: [2, {channels}, 6, 5])"
        );
        let layers = |between: &str| {
            format!(
                "x |> conv({channels}, kernel: 1, groups: {groups}) as a |> relu {between}
                 |> conv({channels}, kernel: 3, pad: 1, groups: {channels}) as b |> conv(8, kernel: 1) as c"
            )
        };
        let inputs = format!("x: f32[2, {channels}, 6, 5]");
        let (with, without) = (check_text(&inputs, &layers(&shuffle)), check_text(&inputs, &layers("")));
        assert!(work(&with) <= work(&without) + 1, "{channels} in {groups}\n{with}");
    }
}

#[test]
fn outputs() {
    let check_all = |text: &str| {
        let graph = compile_text("test.rect", text).unwrap_or_else(|e| panic!("{e}"));
        check(&graph, &Bindings::new(), 3);
    };
    check_all("rect 1\nmodel m(x: f32[1, 8, 4, 4]) -> (a, b, c) {\n(x, x |> relu, x)\n}\n");
    check_all(
        "rect 1\nmodel m(x: f32[1, 8, 4, 4]) -> (a, b, c) {
            let y = x |> conv(8, kernel: 1)
            (y, y, y |> conv(8, kernel: 3, pad: 1))\n}\n",
    );
    check_all(
        "rect 1\nmodel m(x: f32[1, 8, 4, 4]) -> (a, b) {
            param w: f32[2, 3] = uniform(0, 1)
            (w, x |> conv(3, kernel: 3) |> dropout(0.5))\n}\n",
    );
}

/// What kernels cannot take at once is done in steps after them.
#[test]
fn many_operands() {
    let names: Vec<String> = (0..13).map(|i| format!("r{i}")).collect();
    let inputs: Vec<String> = names.iter().map(|n| format!("{n}: f32[1, 6, 4, 4]")).collect();
    let sum = format!("(x |> conv(6, kernel: 3, pad: 1)) + {}", names.join(" + "));
    check_text(&format!("x: f32[1, 4, 4, 4], {}", inputs.join(", ")), &sum);
    let product = format!("(x |> sigmoid) * {}", names.join(" * "));
    check_text(&format!("x: f32[1, 6, 4, 4], {}", inputs.join(", ")), &product);
}

/// Weights that the model computes are packed by steps.
#[test]
fn computed_weights() {
    for (inputs, body) in [
        ("x: f32[1, 8, 5, 5], w: f32[6, 8, 3, 3]", "conv(x, weight: w, bias: none, pad: 1)"),
        ("x: f32[1, 6, 5, 5], w: f32[6, 6, 3, 3]", "conv(x |> conv(6, kernel: 1), weight: w, bias: none)"),
        ("x: f32[1, 6, 5, 5], w: f32[6, 1, 3, 3]", "conv(x, weight: w, bias: none, groups: 6)"),
        ("x: f32[1, 8, 5, 5], w: f32[8, 6, 3, 3]", "conv_transpose(x, weight: w, bias: none, stride: 2)"),
        ("x: f32[3, 10], w: f32[7, 10]", "dense(x, weight: w, bias: none)"),
    ] {
        check_text(inputs, body);
    }
}

/// More loops than a nest has: some become steps.
#[test]
fn many_axes() {
    check_text(
        "x: f32[2, 8, 4, 6]",
        "x |> conv(8, kernel: 1) |> reshape(shape: [2, 2, 2, 2, 2, 2, 2, 3]) |> transpose(perm: [7, 2, 5, 0, 3, 6, 1, 4]) |> relu",
    );
    check_text(
        "x: f32[2, 8, 4, 6]",
        "x |> conv(8, kernel: 1) |> reshape(shape: [2, 2, 2, 2, 2, 2, 2, 3]) |> reduce_max(axes: [1, 4, 6])",
    );
}

#[test]
fn dense_blocks() {
    check_text(
        "x: f32[1, 8, 4, 4]",
        "let a = x |> conv(8, kernel: 1)
        let b = concat(a, a |> conv(4, kernel: 3, pad: 1), axis: 1)
        let c = concat(b, b |> conv(4, kernel: 3, pad: 1), axis: 1)
        concat(c, c |> conv(4, kernel: 3, pad: 1), axis: 1) |> avg_pool(kernel: 2)",
    );
}

#[test]
fn elementwise_and_norms() {
    for (x, body) in [
        ("1, 6, 4, 4", "let a = x |> conv(6, kernel: 1)\n(a |> conv(6, kernel: 3, pad: 1)) + a |> prelu"),
        (
            "1, 6, 4, 4",
            "let a = x |> conv(6, kernel: 3, pad: 1)\na * (a |> global_avg_pool |> conv(2, kernel: 1) |> relu |> conv(6, kernel: 1) |> sigmoid)",
        ),
        ("2, 6, 4, 4", "x |> conv(6, kernel: 1) |> prelu(share: elementwise)"),
        ("2, 6, 4, 4", "x |> conv(6, kernel: 1) |> prelu(share: layer) |> exp"),
        ("2, 6, 4, 4", "(x |> conv(6, kernel: 1)) + x"),
        (
            "2, 6, 4, 4",
            "(x |> conv(8, kernel: 1) |> reduce_mean(axes: [1], keep: true)) * (x |> conv(8, kernel: 1))",
        ),
        ("2, 6, 4, 4", "x |> batch_norm |> conv(4, kernel: 3, pad: 1) |> relu |> batch_norm"),
        ("2, 6, 4, 4", "x |> conv(6, kernel: 1) |> instance_norm |> relu |> conv(4, kernel: 3, pad: 1)"),
        ("2, 6, 4, 4", "x |> conv(6, kernel: 1) |> layer_norm(axis: 1)"),
        ("2, 5, 12", "x |> layer_norm |> dense(12) |> softmax(axis: 2)"),
        ("2, 6, 4, 4", "x |> conv(6, kernel: 1) |> softmax(axis: 1)"),
        ("2, 8, 4, 4", "x |> conv(8, kernel: 1) |> softmax(axis: 1) |> conv(4, kernel: 1)"),
        ("2, 8, 4, 4", "x |> conv(8, kernel: 1) |> reduce_max(axes: [1, 3])"),
        ("2, 8, 4, 4", "x |> reduce_sum(axes: [0, 1, 2, 3])"),
        ("2, 6, 4, 4", "x |> conv(6, kernel: 3, pad: 1) |> reduce_min(axes: [2], keep: true) |> softplus"),
    ] {
        check_text(&format!("x: f32[{x}]"), body);
    }
    check_text("x: f32[3, 1], y: f32[1, 4]", "x * y + 2");
    check_text("x: f32[2, 4, 3, 3], y: f32[3]", "(x |> conv(4, kernel: 1)) - y");
}

/// Convolutions to few channels take lanes of input channels, where that is less work.
#[test]
fn dot_products() {
    for (body, lanes, expected) in [
        ("conv(32, kernel: 1) |> conv(1, kernel: 5, pad: 2) |> relu", [4, 8, 16], 1),
        ("conv(32, kernel: 1) |> conv(3, kernel: 3, pad: 1, stride: 2) |> prelu", [8, 16, 16], 1),
        ("conv(30, kernel: 1) |> conv(2, kernel: [3, 5], bias: none)", [8, 16, 16], 1),
        ("conv(32, kernel: 1) |> conv(3, kernel: 1)", [8, 16, 16], 1),
        // Four input channels; few products for each sum; groups; enough output channels.
        ("conv(1, kernel: 5, pad: 2)", [8, 8, 16], 0),
        ("conv(32, kernel: 1) |> conv(12, kernel: 1)", [8, 16, 16], 0),
        ("conv(32, kernel: 1) |> conv(2, kernel: 5, groups: 2)", [8, 16, 16], 0),
        ("conv(32, kernel: 1) |> conv(8, kernel: 5)", [4, 8, 16], 0),
    ] {
        for lanes in lanes {
            let text = format!("rect 1\nmodel m(x: f32[2, 4, 9, 7]) {{\nx |> {body}\n}}\n");
            let graph = compile_text("test.rect", &text).unwrap_or_else(|e| panic!("{e}"));
            let target = Target { lanes, ..Target::new(Level::X86V4) };
            let plan = check_on(&target, &graph, &Bindings::new(), 3, |inputs| inputs);
            let dots = plan.kernels.iter().filter(|k| matches!(k, Descriptor::Contract(k) if k.dot));
            assert_eq!(dots.count(), expected, "{body} in {lanes} lanes");
        }
    }
}

/// A reduction computes the elementwise node before it, if nobody else reads that.
#[test]
fn reductions_compute_what_they_read() {
    for (inputs, body, steps) in [
        ("x: f32[2, 6, 4, 5], y: f32[2, 6, 4, 5]", "x * y |> reduce_sum(axes: [0, 2, 3])", 1),
        ("x: f32[2, 6, 4, 5], y: f32[1, 6, 1, 1]", "min(x, 0) * y |> reduce_mean(axes: [1], keep: true)", 1),
        ("x: f32[3, 40], y: f32[3, 1]", "exp(x - y) |> reduce_sum(axes: [1]) |> log", 1),
        ("x: f32[3, 7], y: f32[3, 7]", "let a = x * y\na - (a |> reduce_max(axes: [1], keep: true))", 3),
        ("x: f32[3, 1], y: f32[1, 7]", "x * y |> reduce_sum(axes: [1])", 2),
    ] {
        assert_eq!(check_text(inputs, body).steps.len(), steps, "{body}");
    }
    check_text(
        "x: f32[2, 6, 5, 4]",
        "let a = x |> conv(6, kernel: 1)\n(sigmoid(a) * a |> reduce_sum(axes: [0, 2, 3])) + (exp(a) |> reduce_sum(axes: [0, 2, 3]))",
    );
}

/// Windows side by side, with a rest of the input and without, channels that fill no block.
#[test]
fn gradients_of_max_pools() {
    for (x, g, attrs) in [
        ("2, 6, 6, 8", "2, 6, 3, 4", "kernel: 2"),
        ("2, 6, 7, 9", "2, 6, 3, 4", "kernel: 2"),
        ("2, 6, 7, 9", "2, 6, 2, 3", "kernel: 2, stride: 3"),
        ("2, 6, 6, 9", "2, 6, 2, 3", "kernel: 3"),
        ("1, 4, 9", "1, 4, 3", "kernel: 3"),
        ("2, 6, 5, 5", "2, 6, 3, 3", "kernel: 2, ceil: true"),
        ("2, 6, 5, 5", "2, 6, 3, 3", "kernel: 3, stride: 2, pad: 1"),
    ] {
        // Few values, so that there are ties.
        let body = format!("let a = round(x)\nmax_pool_grad(a, a |> max_pool({attrs}), g, {attrs})");
        check_text(&format!("x: f32[{x}], g: f32[{g}]"), &body);
    }
}

/// Lowers a model of one result with F2 and with F4 and checks both; says how many steps are Winograd's.
fn winograd_steps(inputs: &str, body: &str) -> usize {
    let text = format!("rect 1\nmodel m({inputs}) {{\n{body}\n}}\n");
    let graph = compile_text("test.rect", &text).unwrap_or_else(|e| panic!("{e}"));
    let graph = optimize(&graph, &Default::default()).unwrap_or_else(|e| panic!("{e}")).graph;
    let mut counts = vec![];
    for lanes in [4, 8, 16] {
        for algorithm in [Algorithm::WinogradF2, Algorithm::WinogradF4] {
            let target = Target { lanes, ..Target::new(Level::X86V4) };
            let policy = ConvPolicy::Only(algorithm);
            let plan = check_with(&target, policy, &graph, &Bindings::new(), 3, |inputs| inputs);
            let kernels = plan.steps.iter().map(|s| plan.kernel(s.kernel));
            let is_winograd =
                |k: &&Descriptor| matches!(k, Descriptor::Winograd(_) | Descriptor::WinogradGradient(_));
            counts.push(kernels.filter(is_winograd).count());
        }
    }
    assert!(counts.iter().all(|n| *n == counts[0]), "{counts:?}");
    counts[0]
}

#[test]
fn winograd_fires() {
    for (x, op) in [
        ("2, 16, 9, 7", "conv(16, kernel: 1) |> conv(20, kernel: 3, pad: 1) |> prelu |> conv(8, kernel: 1)"),
        ("1, 16, 4, 4", "conv(16, kernel: 1) |> conv(16, kernel: 3) |> sigmoid |> conv(8, kernel: 1)"),
        (
            "1, 16, 3, 11",
            "conv(16, kernel: 1) |> conv(16, kernel: 3, pad: [2, 0, 1, 1]) |> conv(8, kernel: 1)",
        ),
        ("1, 32, 1, 1", "conv(32, kernel: 1) |> conv(16, kernel: 3, pad: 1) |> conv(8, kernel: 1)"),
    ] {
        assert_eq!(winograd_steps(&format!("x: f32[{x}]"), &format!("x |> {op}")), 1, "{op}");
    }
    // One for each place of the block, whose epilogue has an operand of the shuffled size.
    for mode in ["dcr", "crd"] {
        let body = format!(
            "let a = x |> conv(16, kernel: 1)\nlet b = a |> conv(80, kernel: 3, pad: 1) |> depth_to_space(2, mode: {mode}) |> prelu\n\
             (b + (x |> conv(80, kernel: 1) |> depth_to_space(2))) |> conv(4, kernel: 1)"
        );
        assert_eq!(winograd_steps("x: f32[2, 16, 6, 5]", &body), 4, "{mode}");
    }
    let residual = "let a = x |> conv(16, kernel: 1)\n((a |> conv(16, kernel: 3, pad: 1)) + a) |> relu |> conv(4, kernel: 1)";
    assert_eq!(winograd_steps("x: f32[2, 16, 6, 5]", residual), 1);
}

/// Weights that a step computes, of convolutions and of their gradients.
#[test]
fn winograd_of_computed_weights() {
    let narrow = "|> conv(8, kernel: 1)";
    for (weights, op) in [
        ("20, 16, 3, 3", "conv(a, weight: w, bias: none, pad: 1) |> prelu"),
        ("16, 16, 3, 3", "conv(a, weight: w) |> sigmoid"),
        ("16, 20, 3, 3", "conv_transpose(a, weight: w, bias: none, pad: 1) |> prelu"),
        ("16, 16, 3, 3", "conv_transpose(a, weight: w, pad: [0, 2, 1, 2])"),
        ("16, 48, 3, 3", "conv_transpose(a, weight: w, bias: none)"),
    ] {
        let body = format!("let a = x |> conv(16, kernel: 1)\n{op} {narrow}");
        let inputs = format!("x: f32[2, 16, 9, 7], w: f32[{weights}]");
        assert_eq!(winograd_steps(&inputs, &body), 1, "{op}");
    }
    for (weights, op) in [
        ("16, 6, 3, 3", "conv(x |> conv(6, kernel: 1), weight: w, bias: none)"),
        ("16, 16, 3, 3", "conv_transpose(x |> conv(16, kernel: 1), weight: w, stride: 2)"),
        ("16, 16, 2, 3", "conv_transpose(x |> conv(16, kernel: 1), weight: w)"),
        ("16, 8, 3, 3", "conv_transpose(x |> conv(16, kernel: 1), weight: w, groups: 2)"),
    ] {
        let inputs = format!("x: f32[2, 16, 9, 7], w: f32[{weights}]");
        assert_eq!(winograd_steps(&inputs, &format!("{op} {narrow}")), 0, "{op}");
    }
}

/// Gradients of weights, by F4 alone.
#[test]
fn winograd_of_weight_gradients() {
    let steps = |x: &str, g: &str, op: &str, algorithm| {
        let body = format!("let a = x |> conv({x}, kernel: 1)\nlet b = y |> conv({g}, kernel: 1)\n{op}");
        let text = format!("rect 1\nmodel m(x: f32[4, 3, 9, 7], y: f32[4, 3, 9, 7]) {{\n{body}\n}}\n");
        let graph = compile_text("test.rect", &text).unwrap_or_else(|e| panic!("{e}"));
        let policy = ConvPolicy::Only(algorithm);
        let count = [4, 8, 16].map(|lanes| {
            let target = Target { lanes, ..Target::new(Level::X86V4) };
            let plan = check_with(&target, policy, &graph, &Bindings::new(), 3, |inputs| inputs);
            let kernels = plan.steps.iter().map(|s| plan.kernel(s.kernel));
            kernels.filter(|k| matches!(k, Descriptor::WinogradGradient(_))).count()
        });
        assert!(count.iter().all(|n| *n == count[0]), "{count:?}");
        count[0]
    };
    let op = "conv_weight_grad(a, b, kernel: 3, pad: 1)";
    for (x, g) in [("16", "16"), ("32", "48"), ("16", "20"), ("48", "80")] {
        assert_eq!(steps(x, g, op, Algorithm::WinogradF4), 1, "{x} {g}");
    }
    assert_eq!(steps("16", "16", op, Algorithm::WinogradF2), 0);
    assert_eq!(steps("16", "16", op, Algorithm::Direct), 0);
    for (g, op) in [
        ("16, stride: 2", "conv_weight_grad(a, b, kernel: 3, stride: 2, pad: 1)"),
        ("16", "conv_weight_grad(a, b, kernel: [1, 3], pad: [0, 1, 0, 1])"),
        ("16", "conv_weight_grad(a, b, kernel: 3, pad: 1, groups: 4)"),
        ("16", "conv_weight_grad(a, b, kernel: 3, pad: 2, dilation: 2)"),
    ] {
        assert_eq!(steps("16", g, op, Algorithm::WinogradF4), 0, "{op}");
    }
}

#[test]
fn winograd_refuses() {
    for op in [
        "conv(16, kernel: 3, pad: 1, stride: 2)",
        "conv(16, kernel: 3, pad: 2, dilation: 2)",
        "conv(16, kernel: 3, pad: 1, groups: 2)",
        "conv(16, kernel: 3, pad: 1, groups: 16)",
        "conv(16, kernel: [3, 1], pad: [1, 0, 1, 0])",
        "conv(16, kernel: 5, pad: 2)",
    ] {
        let body = format!("x |> conv(16, kernel: 1) |> {op} |> conv(8, kernel: 1)");
        assert_eq!(winograd_steps("x: f32[1, 16, 9, 7]", &body), 0, "{op}");
    }
}

#[test]
fn winograd_in_random_graphs() {
    let mut winograds = 0;
    for seed in 2000..2060 {
        let graph = random_graph(seed, &testing::Options::default());
        let graph = optimize(&graph, &Default::default()).unwrap_or_else(|e| panic!("{e}")).graph;
        let algorithm = [Algorithm::WinogradF2, Algorithm::WinogradF4][seed as usize % 2];
        let target = Target::new(Level::X86V4);
        let policy = ConvPolicy::Only(algorithm);
        let plan = check_with(&target, policy, &graph, &Bindings::new(), seed, |inputs| inputs);
        winograds += plan.kernels.iter().filter(|k| matches!(k, Descriptor::Winograd(_))).count();
    }
    assert!(winograds >= 10, "only {winograds} kernels");
}
