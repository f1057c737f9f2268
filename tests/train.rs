//! Training by compiled code: the interpreter's values, the same bits for every number of threads, and clear refusals.

use rectify::train::{Loss, Method, Optimiser, Trainer};
use rectify::{Model, Tensor};
use rectify_ir::interp::{self, Tensors};
use rectify_ir::kernel::Descriptor;
use rectify_ir::plan::Algorithm;
use rectify_passes::training::{Recipe, training_step};

/// Convolutions, PReLU of two sharings, a batch norm, both kinds of pooling and a residual add.
const NET: &str = "model net(x: f32[N, 2, 8, 8]) -> (y: f32[N, 3]) {
    let a = x |> conv(5, kernel: 3, pad: 1) as a |> batch_norm as a |> prelu as a
    let b = a |> conv(5, kernel: 3, pad: 1) as b |> prelu(share: layer) as b
    a + b |> max_pool(kernel: 2) |> conv(18, kernel: 3, stride: 2, pad: 1) as c |> prelu as c
      |> global_avg_pool |> flatten |> dense(3) as head
}";

const MOMENTUM: Optimiser = Optimiser::Momentum { momentum: 0.9, decay: 5e-4 };

fn method(loss: Loss, optimiser: Optimiser) -> Method {
    Method::new(loss, optimiser)
}

const CLASSES: Loss = Loss::CrossEntropy { smoothing: 0.1 };

/// Waves whose frequency is the class.
fn batch(shape: [usize; 4], classes: u32) -> (Tensor, Tensor) {
    let each = shape[1..].iter().product::<usize>();
    let class = |row: usize| row as u32 % classes;
    let value = |i: usize| ((i % each) as f32 * 0.2 * (1.0 + class(i / each) as f32) + i as f32 * 0.01).sin();
    let values = (0..shape[0] * each).map(value).collect::<Vec<_>>();
    let labels = (0..shape[0]).map(class).collect::<Vec<_>>();
    (Tensor::new(shape, values).unwrap(), Tensor::new([shape[0]], labels).unwrap())
}

fn parameters(trainer: &Trainer) -> Vec<(String, Vec<f32>)> {
    let own = |(name, view): (&str, rectify::TensorView<'_>)| (name.to_owned(), view.to_f32_vec());
    trainer.parameters().map(own).collect()
}

fn numbers(shape: &[usize], values: impl IntoIterator<Item = f32>) -> interp::Tensor<f64> {
    interp::Tensor::new(shape, values.into_iter().map(f64::from).collect::<Vec<_>>()).unwrap()
}

/// Three steps by compiled code and by the interpreter; `shape` is that of the inputs.
fn agrees(text: &str, shape: [usize; 4], classes: u32, method: &Method) {
    let model = Model::parse(text).unwrap();
    let (x, labels) = batch(shape, classes);
    let compiler = model.compiler().seed(5).threads(1);
    let mut trainer = Trainer::new(&compiler, method, x.shape()).unwrap_or_else(|e| panic!("{e} of\n{text}"));

    let sizes = [("N".to_owned(), shape[0] as i64)].into_iter().collect();
    let bound = rectify_ir::bind::bind(model.graph(), &sizes).unwrap();
    let Method { loss, optimiser, clip, decay_all, .. } = *method;
    let step =
        training_step(&bound, &Recipe { loss, optimiser, clip, decay_all, frozen: &|_| false }).unwrap();
    let mut all = Tensors::new();
    for state in &step.state {
        let shape = state.ty.const_shape().unwrap();
        let begun = trainer.parameters().find(|(name, _)| *name == &*state.input);
        let values = begun.map_or_else(|| vec![0.0; shape.iter().product()], |(_, v)| v.to_f32_vec());
        all.insert(state.input.to_string(), numbers(&shape, values));
    }
    all.insert("x".into(), numbers(x.shape(), x.view().to_f32_vec()));
    all.insert("labels".into(), numbers(&[shape[0]], labels.view().to_f32_vec()));
    for (t, rate) in [(1, 0.1), (2, 0.1), (3, 0.02)] {
        if let Optimiser::AdamW { beta1, beta2, .. } = optimiser {
            for (name, beta) in [("first_correction", beta1), ("second_correction", beta2)] {
                all.insert(name.into(), numbers(&[], [(1.0 / (1.0 - beta.powi(t))) as f32]));
            }
        }
        all.insert("rate".into(), numbers(&[], [rate as f32]));
        let mut known =
            |g: &rectify::Graph, id| interp::known_param(g, id).ok_or_else(|| "unknown".to_owned());
        let mut want = interp::eval(&step.graph, &all, &mut known).unwrap();
        let got = trainer.step(x.view(), labels.view(), rate).unwrap();
        assert!((got.loss - want["loss"].to_f64()[0]).abs() < 1e-5, "{got:?} of\n{text}");
        assert_eq!(got.correct, Some(want["correct"].to_f64()[0]));
        let norm = want.get("gradient_norm").map(|norm| norm.to_f64()[0]);
        assert!(got.gradient_norm.is_some() == clip.is_some() && norm.is_none_or(|n| n > 0.5), "{norm:?}");
        assert!((got.gradient_norm.unwrap_or(0.0) - norm.unwrap_or(0.0)).abs() < 1e-4);
        for state in &step.state {
            all.insert(state.input.to_string(), want.remove(&*state.output).unwrap());
        }
    }
    for (name, values) in parameters(&trainer) {
        for (got, want) in values.iter().zip(all[&name].to_f64()) {
            let close = (f64::from(*got) - want).abs() < 1e-5 + 1e-4 * want.abs();
            assert!(close, "{name}: {got}, not {want}, of\n{text}");
        }
    }
}

#[test]
fn steps_are_those_of_the_interpreter() {
    let adamw = Optimiser::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-3, decay: 0.01 };
    let caffe = Optimiser::CaffeMomentum { momentum: 0.9, decay: 5e-4 };
    for (optimiser, clip, decay_all) in
        [(MOMENTUM, Some(0.5), false), (caffe, None, false), (adamw, None, true)]
    {
        agrees(NET, [6, 2, 8, 8], 3, &Method { clip, decay_all, ..method(CLASSES, optimiser) });
    }
}

/// Every kind of layer between sizes that fit no block of lanes.
#[test]
fn networks_of_all_kinds_train() {
    let method = method(CLASSES, MOMENTUM);
    for body in [
        "x |> conv(8, kernel: 3, stride: 2) as a |> prelu as a |> flatten |> dense(5) as head",
        "x |> conv(7, kernel: 2) as a |> prelu as a |> flatten |> dense(9) as b |> prelu(share: layer) as b |> dense(5) as head",
        "x |> conv(18, kernel: 3, pad: same) as a |> relu6 |> conv(18, kernel: 3, pad: 1, groups: 18) as b |> prelu as b
           |> conv(20, kernel: 1, bias: none) as c |> leaky_relu(0.1) |> global_avg_pool |> flatten |> dense(5) as head",
        "x |> conv(6, kernel: 3, dilation: 2, pad: 2) as a |> prelu(share: elementwise) as a |> avg_pool(kernel: 2)
           |> conv_transpose(5, kernel: 2, stride: 2) as b |> prelu as b |> max_pool(kernel: 3, stride: 2, pad: 1)
           |> spp(bins: [2, 1]) |> flatten |> dense(5) as head",
        "let a = x |> conv(5, kernel: 1) as a |> batch_norm as a |> prelu as a
         let b = x |> conv(3, kernel: 5, pad: 2, groups: 1) as b |> prelu as b
         concat(a, b, x) |> conv(17, kernel: 3, stride: 2, pad: 1) as c |> prelu as c |> flatten
           |> layer_norm as n |> dense(5) as head",
        "x |> pad(pads: [0, 0, 1, 2, 0, 0, 1, 2], mode: wrap) |> conv(6, kernel: 3) as a |> prelu as a
           |> resize(scale: 2, mode: linear) |> conv(7, kernel: 3, stride: 2) as b |> prelu as b
           |> resize(size: [5, 3], mode: cubic) |> resize(scale: 2) |> flatten |> dense(5) as head",
        "let a = x |> conv(3, kernel: 1) as a
         gather_elements(a, cast(x * 4, to: i64), axis: 2) |> cumsum(axis: 3) |> flatten |> dense(5) as head",
        "x |> flatten |> dense(33) as a |> prelu as a |> dropout(0) |> dense(17) as b |> gelu |> dense(5) as head",
    ] {
        let text = format!("model net(x: f32[N, 3, 9, 7]) -> (y: f32[N, 5]) {{\n{body}\n}}");
        agrees(&text, [6, 3, 9, 7], 5, &method);
    }
    // A flattened map whose places are no multiple of a group of channels.
    let text = "model net(x: f32[N, 1, 12, 12]) -> (y: f32[N, 10]) {
        x |> conv(8, kernel: 3, stride: 2) as a |> prelu as a |> flatten |> dense(10) as head
    }";
    agrees(text, [20, 1, 12, 12], 10, &method);
}

/// Dropout included, whose masks are drawn outside of the graph.
#[test]
fn threads_and_seeds() {
    let text = NET.replace("|> dense(3)", "|> dropout(0.3) |> dense(3)");
    let model = Model::parse(&text).unwrap();
    let (x, labels) = batch([20, 2, 8, 8], 3);
    let after = |threads, seed| {
        let compiler = model.compiler().seed(seed).threads(threads);
        let mut trainer = Trainer::new(&compiler, &method(CLASSES, MOMENTUM), x.shape()).unwrap();
        let losses: Vec<f64> =
            (0..12).map(|_| trainer.step(x.view(), labels.view(), 0.05).unwrap().loss).collect();
        assert!(losses[11] < losses[0], "{losses:?}");
        assert_eq!(trainer.steps(), 12);
        parameters(&trainer)
    };
    let one = after(1, 3);
    assert!(one == after(2, 3) && one == after(3, 3));
    assert!(one != after(1, 4));
}

/// Products in the transformed domain are summed slice by slice, whoever computes them.
#[test]
fn minimal_filtering_has_the_same_bits_for_every_number_of_threads() {
    let text = "model net(x: f32[N, 3, 24, 20]) -> (y: f32[N, 4]) {
        x |> conv(32, kernel: 3, pad: 1) as a |> prelu as a |> conv(32, kernel: 3, pad: 1) as b |> prelu as b
          |> max_pool(kernel: 2) |> conv(64, kernel: 3, pad: 1) as c |> prelu as c
          |> global_avg_pool |> flatten |> dense(4) as head
    }";
    let model = Model::parse(text).unwrap();
    let (x, labels) = batch([8, 3, 24, 20], 4);
    let after = |threads| {
        let compiler = model.compiler().seed(2).threads(threads).convolutions(Algorithm::WinogradF4);
        let mut trainer = Trainer::new(&compiler, &method(CLASSES, MOMENTUM), x.shape()).unwrap();
        let is_gradient = |k: &&Descriptor| matches!(k, Descriptor::WinogradGradient(_));
        assert!(trainer.plan().kernels.iter().any(|k| is_gradient(&k)));
        for _ in 0..3 {
            trainer.step(x.view(), labels.view(), 0.05).unwrap();
        }
        parameters(&trainer)
    };
    let one = after(1);
    assert!(one == after(2) && one == after(3));
}

#[test]
fn frozen_parameters_stay() {
    let model = Model::parse(NET).unwrap();
    let (x, labels) = batch([6, 2, 8, 8], 3);
    let freeze = vec!["a.*".to_owned(), "b.slope".to_owned()];
    let method = Method { freeze, ..method(CLASSES, MOMENTUM) };
    let mut trainer = Trainer::new(&model.compiler(), &method, x.shape()).unwrap();
    let names: Vec<String> = parameters(&trainer).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b.weight", "b.bias", "c.weight", "c.bias", "c.slope", "head.weight", "head.bias"]);
    let losses: Vec<f64> =
        (0..30).map(|_| trainer.step(x.view(), labels.view(), 0.05).unwrap().loss).collect();
    assert!(losses[29] < losses[0], "{losses:?}");
}

#[test]
fn regressions_learn_their_targets() {
    let model = Model::parse(
        "model up(x: f32[N, 1, 6, 6]) -> (y: f32[N, 1, 12, 12]) {
            x |> conv(4, kernel: 3, pad: 1) as a |> prelu as a |> conv_transpose(1, kernel: 2, stride: 2) as b
        }",
    )
    .unwrap();
    let (x, _) = batch([3, 1, 6, 6], 2);
    let (target, _) = batch([3, 1, 12, 12], 2);
    for loss in [Loss::SquaredError, Loss::AbsoluteError] {
        let mut trainer = Trainer::new(&model.compiler(), &method(loss, MOMENTUM), x.shape()).unwrap();
        let mut step = || trainer.step(x.view(), target.view(), 0.02).unwrap();
        let first = step();
        assert_eq!(first.correct, None);
        let last = (0..40).map(|_| step().loss).last().unwrap();
        assert!(last < 0.9 * first.loss, "{} to {last}", first.loss);
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let refused = |text: &str, method: &Method, shape: &[usize]| {
        let model = Model::parse(text).unwrap();
        Trainer::new(&model.compiler(), method, shape).map(|_| ()).unwrap_err().to_string()
    };
    let plain = method(CLASSES, MOMENTUM);
    let case = |got: String, want: &str| assert!(got.contains(want), "{got}\ndoes not say\n{want}");
    case(refused(NET, &plain, &[6, 3, 8, 8]), "axis 1 must be 2");
    let freeze = Method { freeze: vec!["d.*".into()], ..plain.clone() };
    case(refused(NET, &freeze, &[6, 2, 8, 8]), "no parameter's name matches `d.*`");
    let all = Method { freeze: vec!["*".into()], ..plain.clone() };
    case(refused(NET, &all, &[6, 2, 8, 8]), "no parameter is left to train");
    let two = "model m(x: f32[N, 2], y: f32[N, 2]) -> (z: f32[N, 2]) { x + y |> dense(2) as a }";
    case(refused(two, &plain, &[6, 2]), "has one input, but this one has 2");
    let reserved = "model m(rate: f32[N, 2]) -> (z: f32[N, 2]) { rate |> dense(2) as a }";
    case(refused(reserved, &plain, &[6, 2]), "give it another name");
    let map = "model m(x: f32[N, 2, 4, 4]) -> (y: f32[N, 2, 4, 4]) { x |> conv(2, kernel: 1) as a }";
    case(refused(map, &plain, &[6, 2, 4, 4]), "logits of the shape [N, K]");

    let model = Model::parse(NET).unwrap();
    let (x, labels) = batch([6, 2, 8, 8], 3);
    let mut trainer = Trainer::new(&model.compiler(), &plain, x.shape()).unwrap();
    let mut step = |x: &Tensor, y: &Tensor| trainer.step(x.view(), y.view(), 0.1).unwrap_err().to_string();
    let (fewer, _) = batch([5, 2, 8, 8], 3);
    case(step(&fewer, &labels), "is [6, 2, 8, 8], not [5, 2, 8, 8]");
    case(
        step(&x, &Tensor::new([6], vec![0u32, 1, 2, 3, 0, 1]).unwrap()),
        "the label of row 3 is 3, but the model has 3 classes",
    );
    case(step(&x, &Tensor::new([2], vec![0u32; 2]).unwrap()), "6 rows have the labels u32[6], not [2]");
    assert_eq!(trainer.steps(), 0);
}
