//! Training steps through the interpreter: what moves, by how much, and that losses fall.

mod support;

use rectify_ir::interp::{Tensor, Tensors, eval};
use rectify_ir::testing::random_param;
use rectify_passes::training::{
    Loss, Optimiser, Recipe, Start, TrainingStep, evaluation, signals, training_step,
};
use support::graph;

const MODEL: &str = "model t(x: f32[6, 1, 5, 5]) {
    x |> conv(4, kernel: 3, pad: 1) as a |> prelu as a |> max_pool(kernel: 2) |> flatten |> dense(3) as b
}";

const PLAIN: Optimiser = Optimiser::Momentum { momentum: 0.0, decay: 0.0 };

fn step(text: &str, loss: Loss, optimiser: Optimiser, frozen: &dyn Fn(&str) -> bool) -> TrainingStep {
    by_recipe(text, &Recipe { loss, optimiser, clip: None, decay_all: false, frozen })
}

fn by_recipe(text: &str, recipe: &Recipe<'_>) -> TrainingStep {
    let step = training_step(&graph(text), recipe).unwrap_or_else(|e| panic!("{e}"));
    rectify_ir::verify::verify(&step.graph).unwrap_or_else(|e| panic!("{e:?}\n{}", step.graph));
    step
}

fn floats(shape: &[usize], f: impl Fn(usize) -> f64) -> Tensor<f64> {
    let values: Vec<f64> = (0..shape.iter().product()).map(f).collect();
    Tensor::new(shape, values).expect("a tensor")
}

/// States as they begin, and the model's inputs.
fn start(model: &str, step: &TrainingStep) -> Tensors<f64> {
    let (model, mut all) = (graph(model), Tensors::new());
    for s in &step.state {
        let shape = s.ty.const_shape().expect("known sizes");
        let id = model.params().into_iter().find(|id| model.node(*id).name.as_deref() == Some(&*s.input));
        let value = match (&s.start, id) {
            (Start::Zeros, _) => floats(&shape, |_| 0.0),
            (Start::Parameter(_), Some(id)) => random_param(&model, id, 3).expect("a value"),
            (Start::Parameter(_), None) => panic!("{} is no parameter", s.input),
        };
        all.insert(s.input.to_string(), value);
    }
    for id in step.graph.inputs() {
        let (name, ty) = (step.graph.node(*id).name.clone().expect("a name"), step.graph.ty((*id).into()));
        let shape = ty.const_shape().expect("known sizes");
        // A class shows in the sign and the frequency of its picture.
        let value = match &*name {
            "labels" => floats(&shape, |i| (i % 3) as f64),
            "rate" => floats(&shape, |_| 0.1),
            _ => floats(&shape, |i| ((i % 25) as f64 * (1.0 + (i / 25 % 3) as f64) + 0.1).sin()),
        };
        all.entry(name.to_string()).or_insert(value);
    }
    all
}

fn run(step: &TrainingStep, inputs: &Tensors<f64>) -> Tensors<f64> {
    let mut known =
        |g: &rectify_ir::Graph, id| rectify_ir::interp::known_param(g, id).ok_or("unknown".to_string());
    eval(&step.graph, inputs, &mut known).unwrap_or_else(|e| panic!("{e}\n{}", step.graph))
}

/// Runs a step and hands its states on; the loss before it.
fn advance(step: &TrainingStep, all: &mut Tensors<f64>) -> f64 {
    let mut outputs = run(step, all);
    for s in &step.state {
        all.insert(s.input.to_string(), outputs.remove(&*s.output).expect("a state"));
    }
    outputs["loss"].to_f64()[0]
}

#[test]
fn a_plain_step_goes_down_the_gradient() {
    for loss in [
        Loss::CrossEntropy { smoothing: 0.0 },
        Loss::CrossEntropy { smoothing: 0.1 },
        Loss::SquaredError,
        Loss::AbsoluteError,
    ] {
        let step = step(MODEL, loss, PLAIN, &|_| false);
        let all = start(MODEL, &step);
        let outputs = run(&step, &all);
        for s in &step.state {
            let at = all[&*s.input].to_f64();
            let moved = outputs[&*s.output].to_f64();
            let h = 1e-6;
            let loss_at = |by: f64| {
                let mut all = all.clone();
                let mut values = at.clone();
                values[0] += by;
                all.insert(s.input.to_string(), Tensor::new(all[&*s.input].shape.clone(), values).unwrap());
                run(&step, &all)["loss"].to_f64()[0]
            };
            let slope = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            assert!((at[0] - 0.1 * slope - moved[0]).abs() < 1e-7, "{loss:?}: {}", s.input);
        }
    }
}

#[test]
fn cross_entropy_is_that_of_softmax_and_falls() {
    let optimiser = Optimiser::CaffeMomentum { momentum: 0.9, decay: 5e-4 };
    let step = step(MODEL, Loss::CrossEntropy { smoothing: 0.0 }, optimiser, &|_| false);
    let mut all = start(MODEL, &step);
    for name in ["b.weight", "b.bias"] {
        let shape = all[name].shape.clone();
        all.insert(name.into(), floats(&shape, |_| 0.0));
    }
    let losses: Vec<f64> = (0..40).map(|_| advance(&step, &mut all)).collect();
    assert!((losses[0] - 3f64.ln()).abs() < 1e-6, "{losses:?}");
    assert!(losses[39] < 0.1, "{losses:?}");
    assert_eq!(run(&step, &all)["correct"].to_f64(), [6.0]);
}

/// Both forms of momentum agree while the rate stays; when it drops, Caffe's goes on at the old rate.
#[test]
fn forms_of_momentum_differ_when_the_rate_drops() {
    let after = |optimiser, rates: &[f64]| {
        let step = step(MODEL, Loss::SquaredError, optimiser, &|_| false);
        let mut all = start(MODEL, &step);
        for rate in rates {
            all.insert("rate".into(), floats(&[], |_| *rate));
            advance(&step, &mut all);
        }
        all["a.weight"].to_f64()
    };
    let (caffe, torch) = (
        Optimiser::CaffeMomentum { momentum: 0.9, decay: 0.01 },
        Optimiser::Momentum { momentum: 0.9, decay: 0.01 },
    );
    let distance = |rates: &[f64]| {
        let (a, b) = (after(caffe, rates), after(torch, rates));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    assert!(distance(&[0.1, 0.1, 0.1]) < 1e-12);
    assert!(distance(&[0.1, 0.1, 0.01]) > 1e-4);
}

#[test]
fn weights_alone_decay_and_frozen_parameters_stay() {
    let decay = Optimiser::Momentum { momentum: 0.0, decay: 1.0 };
    let moved = |optimiser| {
        let step = step(MODEL, Loss::SquaredError, optimiser, &|name| name == "b.bias");
        assert!(step.state.iter().all(|s| &*s.input != "b.bias"));
        let step_graph = step.graph.clone();
        assert!(step_graph.params().iter().any(|id| step_graph.node(*id).name.as_deref() == Some("b.bias")));
        let mut all = start(MODEL, &step);
        let model = graph(MODEL);
        let before = all.clone();
        let mut params = |g: &rectify_ir::Graph, id| random_param(g, id, 3);
        let outputs = eval(&step.graph, &all, &mut params).unwrap();
        for s in &step.state {
            all.insert(s.input.to_string(), outputs[&*s.output].clone());
        }
        drop(model);
        (before, all)
    };
    let ((before, with), (_, without)) = (moved(decay), moved(PLAIN));
    for name in ["a.weight", "b.weight", "a.bias", "a.slope"] {
        let pull = if name.ends_with("weight") { 0.1 } else { 0.0 };
        let pairs = with[name].to_f64().into_iter().zip(without[name].to_f64()).zip(before[name].to_f64());
        assert!(pairs.into_iter().all(|((a, b), w)| (b - a - pull * w).abs() < 1e-12), "{name}");
    }
}

#[test]
fn batch_norm_takes_the_statistics_of_the_batch() {
    let text = "model t(x: f32[4, 2, 3]) { x |> batch_norm(eps: 0) as n }";
    let step = step(text, Loss::SquaredError, PLAIN, &|_| false);
    let mut all = start(text, &step);
    let x: Vec<f64> = all["x"].to_f64();
    let of = |c: usize| -> Vec<f64> { (0..24).filter(|i| i / 3 % 2 == c).map(|i| x[i]).collect() };
    let mean = of(0).iter().sum::<f64>() / 12.0;
    let var = of(0).iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 12.0;
    let (old_mean, old_var) = (all["n.mean"].to_f64()[0], all["n.var"].to_f64()[0]);
    all.insert("target".into(), floats(&[4, 2, 3], |_| 0.0));
    let (scale, shift) = (all["n.scale"].to_f64(), all["n.shift"].to_f64());
    let outputs = run(&step, &all);
    assert!((outputs["new.n.mean"].to_f64()[0] - (0.9 * old_mean + 0.1 * mean)).abs() < 1e-12);
    assert!((outputs["new.n.var"].to_f64()[0] - (0.9 * old_var + 0.1 * var * 12.0 / 11.0)).abs() < 1e-12);
    // Normalised values have mean 0 and variance 1, so the squares are those of scale and shift.
    let want = (scale[0].powi(2) + shift[0].powi(2) + scale[1].powi(2) + shift[1].powi(2)) / 2.0;
    assert!((outputs["loss"].to_f64()[0] - want).abs() < 1e-9);
}

#[test]
fn dropout_multiplies_by_its_mask() {
    let text = "model t(x: f32[2, 3]) { x |> dropout(0.25) as d |> dense(2, bias: none) as a }";
    let step = step(text, Loss::SquaredError, PLAIN, &|_| false);
    let [mask] = step.masks.as_slice() else { panic!("{:?}", step.masks) };
    assert_eq!(mask.p, 0.25);
    let mut all = start(text, &step);
    all.insert(mask.input.to_string(), floats(&[2, 3], |_| 0.0));
    let target: f64 = all["target"].to_f64().iter().map(|t| t * t).sum::<f64>() / 4.0;
    assert!((run(&step, &all)["loss"].to_f64()[0] - target).abs() < 1e-12);
}

#[test]
fn what_cannot_be_trained_says_why() {
    let ask = |text: &str, loss, frozen: &dyn Fn(&str) -> bool| {
        training_step(&graph(text), &Recipe { loss, optimiser: PLAIN, clip: None, decay_all: false, frozen })
            .unwrap_err()
            .to_string()
    };
    let two = "model t(x: f32[2, 3]) { (relu(x), x + 1) }";
    assert!(ask(two, Loss::SquaredError, &|_| false).contains("one output, but this one has 2"));
    assert!(ask(MODEL, Loss::SquaredError, &|_| true).contains("no parameter is left"));
    let image = "model t(x: f32[2, 1, 4, 4]) { x |> conv(2, kernel: 1) as a }";
    let message = ask(image, Loss::CrossEntropy { smoothing: 0.0 }, &|_| false);
    assert!(message.contains("logits of the shape [N, K]"), "{message}");
}

/// The squared error of one weight and one bias on three inputs: gradients by hand.
const LINE: &str = "model t(x: f32[3, 1]) { x |> dense(1) as a }";

/// (weight, bias) after steps at these rates, and their gradients at the beginning.
fn along_the_line(recipe: &Recipe<'_>, rates: &[f64]) -> ([f64; 2], [f64; 2], Tensors<f64>) {
    let step = by_recipe(LINE, recipe);
    let mut all = start(LINE, &step);
    all.insert("x".into(), floats(&[3, 1], |i| [1.0, 2.0, -1.0][i]));
    all.insert("target".into(), floats(&[3, 1], |i| [3.0, 0.0, 1.0][i]));
    all.insert("a.weight".into(), floats(&[1, 1], |_| 0.5));
    all.insert("a.bias".into(), floats(&[1], |_| 0.25));
    // Errors are 0.75 - 3, 1.25 - 0 and -0.25 - 1.
    let errors = [-2.25, 1.25, -1.25];
    let by_weight = 2.0 / 3.0 * (errors[0] + 2.0 * errors[1] - errors[2]);
    let by_bias = 2.0 / 3.0 * errors.iter().sum::<f64>();
    let mut outputs = Tensors::new();
    for (t, rate) in (1..).zip(rates) {
        all.insert("rate".into(), floats(&[], |_| *rate));
        if let Optimiser::AdamW { beta1, beta2, .. } = recipe.optimiser {
            all.insert("first_correction".into(), floats(&[], |_| 1.0 / (1.0 - beta1.powi(t))));
            all.insert("second_correction".into(), floats(&[], |_| 1.0 / (1.0 - beta2.powi(t))));
        }
        outputs = run(&step, &all);
        for s in &step.state {
            all.insert(s.input.to_string(), outputs[&*s.output].clone());
        }
    }
    ([all["a.weight"].to_f64()[0], all["a.bias"].to_f64()[0]], [by_weight, by_bias], outputs)
}

#[test]
fn adamw_moves_by_its_corrected_averages_and_decays_apart_from_them() {
    let optimiser = Optimiser::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 0.01, decay: 0.1 };
    let recipe =
        |decay_all| Recipe { loss: Loss::SquaredError, optimiser, clip: None, decay_all, frozen: &|_| false };
    // After one step the corrected averages are the gradient and its square.
    let begun = [0.5, 0.25];
    for decay_all in [false, true] {
        let (got, gradients, _) = along_the_line(&recipe(decay_all), &[0.2]);
        for i in 0..2 {
            let decays = if i == 0 || decay_all { 0.1 * begun[i] } else { 0.0 };
            let g = gradients[i];
            let want = begun[i] - 0.2 * (g / (g.abs() + 0.01) + decays);
            assert!((got[i] - want).abs() < 1e-12, "{i}: {} and {want}", got[i]);
        }
    }
    // The second step, from averages of both gradients.
    let (first, g1, _) = along_the_line(&recipe(false), &[0.2]);
    let (second, ..) = along_the_line(&recipe(false), &[0.2, 0.1]);
    let errors = [first[0] + first[1] - 3.0, 2.0 * first[0] + first[1], -first[0] + first[1] - 1.0];
    let g2 = 2.0 / 3.0 * errors.iter().sum::<f64>();
    let mean = (0.9 * 0.1 * g1[1] + 0.1 * g2) / (1.0 - 0.81);
    let square = (0.99 * 0.01 * g1[1] * g1[1] + 0.01 * g2 * g2) / (1.0 - 0.99 * 0.99);
    let want = first[1] - 0.1 * mean / (square.sqrt() + 0.01);
    assert!((second[1] - want).abs() < 1e-12, "{} and {want}", second[1]);
}

#[test]
fn clipping_scales_all_gradients_alike_and_leaves_short_ones() {
    let after = |clip| {
        let recipe =
            Recipe { loss: Loss::SquaredError, optimiser: PLAIN, clip, decay_all: false, frozen: &|_| false };
        along_the_line(&recipe, &[0.1])
    };
    let (_, [a, b], outputs) = after(Some(0.5));
    let norm = a.hypot(b);
    assert!(norm > 0.5 && (outputs["gradient_norm"].to_f64()[0] - norm).abs() < 1e-12);
    let (got, ..) = after(Some(0.5));
    assert!((got[0] - (0.5 - 0.1 * a * 0.5 / norm)).abs() < 1e-12);
    assert!((got[1] - (0.25 - 0.1 * b * 0.5 / norm)).abs() < 1e-12);
    let ((long, ..), (free, _, without)) = (after(Some(100.0)), after(None));
    assert_eq!(long, free);
    assert!(!without.contains_key("gradient_norm"));
}

#[test]
fn signals_are_deviations_of_results_and_of_their_gradients() {
    let found = signals(&graph(LINE), Loss::SquaredError, &|_| false).unwrap();
    rectify_ir::verify::verify(&found.graph).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(found.layers.iter().map(|l| &**l).collect::<Vec<_>>(), ["a"]);
    let inputs: Tensors<f64> = [
        ("x", floats(&[3, 1], |i| [1.0, 2.0, -1.0][i])),
        ("target", floats(&[3, 1], |i| [3.0, 0.0, 1.0][i])),
        ("a.weight", floats(&[1, 1], |_| 0.5)),
        ("a.bias", floats(&[1], |_| 0.25)),
    ]
    .into_iter()
    .map(|(name, t)| (name.to_owned(), t))
    .collect();
    let mut none = |_: &rectify_ir::Graph, _| Err("no parameters".to_owned());
    let got = eval(&found.graph, &inputs, &mut none).unwrap();
    let deviation = |v: [f64; 3]| {
        let mean = v.iter().sum::<f64>() / 3.0;
        (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0).sqrt()
    };
    assert!((got["activation.a"].to_f64()[0] - deviation([0.75, 1.25, -0.25])).abs() < 1e-12);
    let gradient = deviation([-2.25, 1.25, -1.25].map(|e| 2.0 / 3.0 * e));
    assert!((got["gradient.a"].to_f64()[0] - gradient).abs() < 1e-12);
}

/// Dropout does nothing, batch norms take their running statistics, and every parameter is an input.
#[test]
fn evaluation_is_the_model_on_given_parameters() {
    let text = "model t(x: f32[2, 3]) { x |> batch_norm as n |> dropout(0.5) |> dense(2) as a }";
    let evaluated = evaluation(&graph(text), &|name| name == "a.bias");
    rectify_ir::verify::verify(&evaluated).unwrap_or_else(|e| panic!("{e:?}"));
    let names: Vec<_> = evaluated.inputs().iter().filter_map(|id| evaluated.node(*id).name.clone()).collect();
    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
    assert_eq!(names, ["x", "n.scale", "n.shift", "n.mean", "n.var", "a.weight"]);
    assert_eq!(evaluated.outputs.len(), 1);
}
