//! Random graphs through the whole compiler: machine code at several feature levels, and after every prefix of the
//! passes, agrees with the reference interpreter on the graph as written.

use rectify::compare::{Comparison, Tolerance};
use rectify::{Bindings, Model, Tensor, pass_names};
use rectify_ir::DType;
use rectify_ir::bind::bind;
use rectify_ir::graph::{Graph, Output, Value};
use rectify_ir::op::{Binary, Op, ReduceKind};
use rectify_ir::plan::Algorithm;
use rectify_ir::testing::{Options, random_bindings, random_graph, random_inputs};
use rectify_passes::gradient::gradient;

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

/// Models of integers, of places that are known at run time alone, and of orders.
const INDEXED: [(&str, &str); 9] = [
    ("x: f32[6, 5, 9], i: i64[2, 3]", "gather(x, i - 8) |> relu"),
    ("x: f32[2, 12, 7, 7], i: i32[5]", "x |> conv(16, kernel: 3) as c |> gather(i, axis: 1) |> tanh"),
    ("x: f32[4, 20], i: i64[4, 9]", "gather_elements(x * 2, i, axis: 1) + 1"),
    ("x: f32[3, 8, 6], i: i64[3, 11, 2]", "gather_nd(x, i - 9, batch: 1)"),
    ("x: f32[20, 6], i: i64[40, 1], u: f32[40, 6]", "scatter_nd(x, i, u, reduction: add) |> relu"),
    ("x: i64[9, 20], i: i32[9, 33], u: i64[9, 33]", "scatter_elements(x, i, u, axis: 1, reduction: max)"),
    (
        "x: f32[5, 70]",
        "let i = arg_sort(x |> round, axis: 1, count: 9, descending: true)\ngather_elements(x, i, axis: 1)",
    ),
    (
        "x: f32[3, 21, 8]",
        "cast(arg_max(x, axis: 1), to: f32) * 2 + cast(arg_min(x, axis: 1, last: true), to: f32)",
    ),
    ("x: i64[4, 25]", "let s = cumsum(x - 8, axis: 1, reverse: true)\nselect(less(s, 0), s / 3, pow(s, 2))"),
];

/// Models of sizes that data gives.
const CUT: [(&str, &str); 17] = [
    ("x: f32[3, 5, 4]", "let (p, n) = nonzero(relu(x))\ncut(p, n, axis: 1, size: K)"),
    ("x: bool[4, 70]", "let (p, n) = nonzero(x)\ncut(p, n, axis: 1, size: K) |> transpose(perm: [1, 0]) |> sub(2)"),
    (
        "x: f32[3, 5, 4]",
        "let (p, n) = nonzero(relu(x))\nlet v = gather_nd(x, cut(p, n, axis: 1, size: K) |> transpose(perm: [1, 0]))
        (v * 2, reduce_sum(v, axes: [0]), reduce_max(v, axes: [0], keep: true), reduce_mean(v, axes: [0]),
            reduce_min(v, axes: [0]), reduce_prod(v, axes: [0]), softmax(v, axis: 0), arg_max(v, axis: 0),
            arg_min(v, axis: 0, last: true), arg_sort(v, axis: 0), arg_sort(v, axis: 0, descending: true),
            cumsum(v, axis: 0), cumprod(v, axis: 0, reverse: true))",
    ),
    ("x: f32[4, 9], n: i64[1]", "let k = cut(x, n, axis: 1, size: K)\n(reshape(k, shape: [-1]), reshape(k, shape: [2, 2*K]))"),
    ("x: f32[9, 4], n: i64[1]", "let k = cut(x, n, axis: 0, size: K)\nreshape(k, shape: [1, 4*K]) |> relu"),
    ("x: f32[9, 4], n: i64[1]", "let k = cut(x, n, axis: 0, size: K)\nreshape(k, shape: [2*K, 2]) |> reshape(shape: [K, 2, 2])"),
    (
        "x: i64[3, 9], y: i64[3, 20], n: i64[1], m: i64[1]",
        "let (a, b) = (cut(x, n, axis: 1, size: A), cut(y, m, axis: 1, size: B))
        (concat(a, x, b, a, axis: 1), reshape(concat(a, b, axis: 1), shape: [-1]))",
    ),
    ("x: f32[7, 20], n: i64[1], i: i64[4]", "let k = cut(x, n, axis: 1, size: K) |> concat(x, axis: 1)\ngather(k, i - 9, axis: 1)"),
    ("x: f32[20, 6], n: i64[1]", "let k = cut(x, n, axis: 0, size: K)\nslice(k, axes: [0], starts: [-1], ends: [-9223372036854775807], steps: [-1])"),
    ("x: f32[5, 20], n: i64[1]", "let k = cut(x, n, axis: 1, size: K)\n(matmul(k, transpose(k, perm: [1, 0])), matmul(transpose(k, perm: [1, 0]), x))"),
    (
        "x: f32[4, 6, 5], y: f32[4, 6, 5]",
        "let (p, n) = nonzero(relu(x))\nlet k = cut(p, n, axis: 1, size: K) |> transpose(perm: [1, 0])
        scatter_nd(y, k, gather_nd(x, k), reduction: add)",
    ),
    ("x: f32[30], i: i64[12], u: f32[12], n: i64[1]", "scatter_elements(x, cut(i, n, axis: 0, size: K) - 3, cut(u, n, axis: 0, size: K))"),
    ("x: f32[9, 3, 8, 8], n: i64[1]", "cut(x, n, axis: 0, size: K) |> conv(6, kernel: 3) as c |> relu |> global_avg_pool |> flatten |> dense(5) as d"),
    ("x: f32[9, 12], n: i64[1]", "let k = cut(x, n, axis: 0, size: K)\nlet (p, m) = nonzero(relu(k))\ncut(p, m, axis: 1, size: L)"),
    ("x: f32[9, 12], n: i64[1]", "cut(x, n, axis: 0, size: K) |> layer_norm as l |> expand(shape: [3, K, 12]) |> pad(pads: [0, 0, 1, 0, 0, 1])"),
    (
        "b: f32[2, 30, 4], s: f32[2, 3, 30], most: i64[1], overlap: f32[1], t: f32[1]",
        "let order = arg_sort(s, axis: 2, descending: true)
        (non_max_suppression(abs(b), s, order, most, overlap, t, limit: 11, centre: true),
            non_max_suppression(b, s, order, most, abs(overlap), t))",
    ),
    (
        "b: f32[1, 30, 4], s: f32[1, 2, 30], most: i64[1], overlap: f32[1], t: f32[1]",
        "let k = cut(s, most, axis: 2, size: K)\nlet c = cut(b, most, axis: 1, size: K)
        non_max_suppression(c, k, arg_sort(k, axis: 2, descending: true), most, abs(overlap), t, limit: 8)",
    ),
];

#[test]
fn sizes_that_data_gives_agree_with_the_interpreter_at_every_level() {
    agree_at_every_level(&CUT);
}

#[test]
fn places_and_integers_agree_with_the_interpreter_at_every_level() {
    agree_at_every_level(&INDEXED);
}

fn agree_at_every_level(models: &[(&str, &str)]) {
    let mut ran = 0;
    for (seed, (inputs, body)) in models.iter().enumerate() {
        let model =
            Model::parse(&format!("model m({inputs}) {{\n{body}\n}}")).unwrap_or_else(|e| panic!("{e}"));
        let graph = model.graph();
        let given = random_inputs::<f32>(graph, &Bindings::new(), seed as u64);
        let tensors: Vec<(String, Tensor)> = graph
            .inputs()
            .iter()
            .map(|id| {
                let (name, dtype) =
                    (graph.node(*id).name.as_deref().unwrap_or_default(), graph.ty((*id).into()).dtype);
                let (t, shape) = (&given[name], given[name].shape.clone());
                let ints = || t.to_f64().into_iter().map(|v| v as i64);
                let tensor = match dtype {
                    DType::F32 => Tensor::new(shape, t.floats().expect("floats").to_vec()),
                    DType::Bool => {
                        Tensor::new(shape, t.to_f64().into_iter().map(|v| v != 0.0).collect::<Vec<_>>())
                    }
                    DType::I32 => Tensor::new(shape, ints().map(|v| v as i32).collect::<Vec<_>>()),
                    _ => Tensor::new(shape, ints().collect::<Vec<_>>()),
                };
                (name.to_string(), tensor.expect("a tensor"))
            })
            .collect();
        let views: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
        for level in LEVELS {
            let compiled = match model.compiler().threads(2).target(level.parse().expect("a level")).compile()
            {
                Ok(compiled) => compiled,
                Err(error) if error.to_string().contains("this machine") => continue,
                Err(error) => panic!("{body}, {level}: {error}"),
            };
            let (got, want) =
                (compiled.run(&views).expect("a run"), compiled.reference(&views).expect("a reference"));
            for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
                assert_eq!(got.shape(), want.shape(), "{body}, {level}, {name}");
                let comparison = Comparison::new(got, want, Default::default());
                assert!(comparison.agrees(), "{body}, {level}, {name}: {comparison}");
            }
            ran += 1;
        }
    }
    assert!(ran >= 2 * models.len() || !cfg!(target_arch = "x86_64"), "{ran}");
}

/// Models of f64, whose results must have more digits than f32 has.
const DOUBLES: [(&str, &str); 16] = [
    (
        "x: f64[2, 6, 9, 7]",
        "x |> conv(8, kernel: 3, pad: [1, 0, 2, 1], stride: 2, groups: 2) as c |> prelu as c",
    ),
    ("x: f64[1, 3, 11]", "x |> conv(5, kernel: 3, dilation: 2, bias: none) as c |> relu"),
    ("x: f64[2, 4, 5, 5, 4]", "x |> conv(4, kernel: [1, 3, 2], groups: 4, pad: same) as c"),
    (
        "x: f64[2, 6, 5, 4]",
        "x |> conv_transpose(4, kernel: 3, stride: 2, pad: 1, output_pad: 1, groups: 2) as c |> tanh",
    ),
    ("x: f64[1, 3, 6]", "x |> conv_transpose(2, kernel: 2, stride: 3, dilation: 2) as c"),
    ("x: f64[3, 4, 10]", "x |> dense(7) as d |> sigmoid"),
    ("x: f64[2, 5, 9, 8]", "x |> avg_pool(kernel: 3, stride: 2, pad: 1, count_include_pad: false)"),
    ("x: f64[2, 5, 9, 8]", "x |> avg_pool(kernel: [2, 3], stride: 2, ceil: true) |> max_pool(kernel: 2)"),
    ("x: f64[2, 5, 4, 3]", "x |> batch_norm as b |> clip(min: -0.7, max: 0.3)"),
    ("x: f64[2, 5, 4, 3]", "x |> instance_norm as n |> layer_norm(axis: 2) as l"),
    ("x: f64[4, 11]", "softmax(x * 0.1, axis: 1) + 0.1"),
    (
        "x: f64[1, 2, 5, 6]",
        "x |> resize(scale: [1.7, 0.6], mode: linear) |> resize(size: [3, 9], mode: cubic)",
    ),
    ("x: f64[2, 8, 3, 3]", "x |> conv(16, kernel: 1) as c |> depth_to_space(2, mode: crd)"),
    (
        "x: f64[2, 3, 6, 7]",
        "x |> pad(pads: [0, 0, 1, 0, 0, 0, 0, 2], value: 0.1) |> transpose(perm: [0, 2, 3, 1]) |> reshape(shape: [2, 9, 21])",
    ),
    ("x: f64[40]", "sin(x * 9) + cos(x) * atan(x) + sinh(x) + asinh(x) + tan(x) - cosh(x)"),
    ("x: f64[2, 5, 8, 8]", "x |> spp(bins: [3, 2, 1])"),
];

#[test]
fn doubles_agree_with_the_interpreter_at_every_level() {
    let tolerance = Tolerance { atol: 1e-13, rtol: 1e-12 };
    for (seed, (inputs, body)) in DOUBLES.iter().enumerate() {
        let text = format!("model m({inputs}) {{\n{body}\n}}");
        let model = Model::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let given = random_inputs::<f64>(model.graph(), &Bindings::new(), seed as u64);
        let x = Tensor::new(given["x"].shape.clone(), given["x"].to_f64()).expect("a tensor");
        for level in LEVELS {
            let compiler = model.compiler().threads(2).seed(7).target(level.parse().expect("a level"));
            let compiled = match compiler.compile() {
                Ok(compiled) => compiled,
                Err(error) if error.to_string().contains("this machine") => continue,
                Err(error) => panic!("{body}, {level}: {error}"),
            };
            let views = [("x", x.view())];
            let (got, want) =
                (compiled.run(&views).expect("a run"), compiled.reference(&views).expect("a reference"));
            assert_eq!(got[0].dtype(), DType::F64);
            let comparison = Comparison::new(got[0].view(), want[0].view(), tolerance);
            assert!(comparison.agrees(), "{body}, {level}: {comparison}");
        }
    }
}

/// The graph with the gradients of the sum of its first output as further outputs.
fn with_gradients(mut graph: Graph) -> Option<Graph> {
    let result = graph.outputs[0].value;
    let axes = (0..graph.ty(result).rank()).collect();
    let square = graph.push(Op::Binary(Binary::Mul), &[result, result]).ok()?;
    let loss = graph.push(Op::Reduce { kind: ReduceKind::Sum, axes, keep: false }, &[square]).ok()?;
    // Parameters become inputs, as in a training step: what depends on them is computed at run time.
    let mut by: Vec<Value> = graph.inputs().iter().map(|id| (*id).into()).collect();
    for id in graph.params() {
        let (name, ty) = (graph.node(id).name.clone()?, graph.ty(id.into()).clone());
        let input = graph.add_input(name, ty);
        graph.replace_uses(id.into(), input);
        by.push(input);
    }
    let gradients = gradient(&mut graph, loss, &by).ok()?;
    for (i, gradient) in gradients.into_iter().flatten().enumerate() {
        graph.outputs.push(Output { name: format!("gradient{i}").into(), value: gradient });
    }
    graph.remove_dead();
    Some(graph)
}

fn check_gradients(graph: Graph, seed: u64, level: &str, by: Option<Algorithm>) -> bool {
    let bound = bind(&graph, &random_bindings(&graph, seed, 6)).expect("bound");
    let Some(graph) = with_gradients(bound) else { return false };
    let inputs = random_inputs::<f32>(&graph, &Bindings::new(), seed);
    let tensor = |t: &rectify_ir::interp::Tensor<f32>| {
        let values = t.floats().expect("floats").iter().map(|v| v * 0.5).collect::<Vec<_>>();
        Tensor::new(t.shape.clone(), values).expect("a tensor")
    };
    let inputs: Vec<_> = inputs.iter().map(|(name, t)| (name.clone(), tensor(t))).collect();
    let model = Model::from_graph(graph).expect("a sound graph");
    let mut compiler = model.compiler().threads(2).target(level.parse().expect("a level"));
    if let Some(algorithm) = by {
        compiler = compiler.convolutions(algorithm);
    }
    let compiled = match compiler.compile() {
        Ok(compiled) => compiled,
        Err(error) if error.to_string().contains("this machine") => return false,
        Err(error) => panic!("seed {seed}, {level}: {error}\n{}", model.graph()),
    };
    let views: Vec<_> = inputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    let (got, want) =
        (compiled.run(&views).expect("a run"), compiled.reference(&views).expect("a reference"));
    for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
        let comparison = Comparison::new(got, want, Default::default());
        assert!(comparison.agrees(), "seed {seed}, {level}, {name}: {comparison}\n{}", compiled.graph());
    }
    true
}

#[test]
fn gradients_of_layers_agree_with_the_interpreter() {
    let layers = [
        (
            "3, 16, 9, 9",
            "conv(32, kernel: 3, pad: 1) as a |> prelu as a |> conv(16, kernel: 3, stride: 2) as b",
        ),
        ("2, 5, 12, 7", "conv(6, kernel: [3, 2], stride: [1, 2], pad: 1) as a |> prelu as a"),
        ("4, 8, 40, 40", "conv(8, kernel: 3, pad: 1) as a"),
        ("40, 1, 28, 28", "conv(20, kernel: 5) as a |> max_pool(kernel: 2) |> prelu(share: layer) as a"),
        ("2, 8, 6, 6", "conv(8, kernel: 3, pad: 1, groups: 4) as a |> conv(8, kernel: 3, groups: 8) as b"),
        ("2, 16, 5, 5", "conv_transpose(8, kernel: 3, stride: 2, pad: 1) as a"),
        ("2, 3, 20", "conv(17, kernel: 3, dilation: 2) as a |> max_pool(kernel: 3, stride: 2, pad: 1)"),
        ("2, 16, 7, 7", "max_pool(kernel: 3, stride: 2, pad: 1) |> conv(4, kernel: 1) as a"),
        ("2, 3, 8, 8", "max_pool(kernel: 2, ceil: true, stride: 3) |> avg_pool(kernel: 2)"),
        ("5, 4, 4, 4", "flatten |> dense(33) as a |> prelu as a |> dense(10) as b"),
    ];
    for (i, (shape, layer)) in layers.iter().enumerate() {
        let text = format!("model t(x: f32[{shape}]) {{ x |> {layer} }}");
        let model = Model::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let graph = || model.graph().clone();
        let ran = LEVELS.iter().filter(|level| check_gradients(graph(), i as u64, level, None)).count();
        assert!(ran > 0 || !cfg!(target_arch = "x86_64"), "{text} has no gradient");
    }
}

/// Convolutions, gradients of inputs and of weights by every algorithm, maps that its tiles cut.
#[test]
fn gradients_by_minimal_filtering_agree_with_the_interpreter() {
    let text = "model t(x: f32[6, 16, 13, 11]) {
        x |> conv(32, kernel: 3, pad: 1) as a |> prelu as a |> max_pool(kernel: 2)
            |> conv(16, kernel: 3, pad: [1, 0, 0, 1]) as b |> prelu as b |> conv(48, kernel: 3) as c
    }";
    let model = Model::parse(text).unwrap_or_else(|e| panic!("{e}"));
    for algorithm in [Algorithm::Direct, Algorithm::WinogradF2, Algorithm::WinogradF4] {
        let check = |level: &&&str| check_gradients(model.graph().clone(), 7, level, Some(algorithm));
        assert!(LEVELS.iter().filter(check).count() > 0 || !cfg!(target_arch = "x86_64"), "{algorithm}");
    }
}

#[test]
fn gradients_of_random_graphs_agree_with_the_interpreter() {
    let checked = (200..230).filter(|seed| {
        let graph =
            random_graph(*seed, &Options { operations: 1 + (seed % 6) as usize, ..Options::default() });
        check_gradients(graph, *seed, LEVELS[(seed % 4) as usize], None)
    });
    let checked = checked.count();
    assert!(checked > 8 || !cfg!(target_arch = "x86_64"), "{checked}");
}
