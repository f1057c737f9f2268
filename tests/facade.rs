//! The library as its users see it: names, places, sessions, sizes, threads, errors.

use rectify::builder::ConvSpec;
use rectify::{Compiled, Error, Fault, GraphBuilder, Model, Pool, Tensor, TensorView, TensorViewMut};

const NET: &str = "rect 1
model net(x: f32[N, 3, H, W], y: f32[N, 4]) -> (map: f32[N, 8, H, W], sum: f32[N, 4]) where H % 2 == 0 {
    let map = x |> conv(8, kernel: 3, pad: 1) as a |> prelu as a |> conv(8, kernel: 3, pad: 1) as b |> prelu as b
    (map, (map |> global_avg_pool |> flatten |> dense(4) as c) + y)
}";

fn net(threads: usize) -> Compiled {
    let model = Model::parse(NET).unwrap();
    model.compiler().seed(3).pool(&Pool::new(threads)).compile().unwrap()
}

fn inputs(n: usize, h: usize, w: usize) -> (Tensor, Tensor) {
    let x: Vec<f32> = (0..n * 3 * h * w).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let y: Vec<f32> = (0..n * 4).map(|i| i as f32).collect();
    (Tensor::new([n, 3, h, w], x).unwrap(), Tensor::new([n, 4], y).unwrap())
}

#[test]
fn the_same_bits_at_any_thread_count() {
    let (x, y) = inputs(2, 18, 23);
    let run = |threads| net(threads).run(&[("x", x.view()), ("y", y.view())]).unwrap();
    let want = run(1);
    for threads in [2, 3, 7] {
        assert_eq!(run(threads), want, "{threads} threads");
    }
}

#[test]
fn outputs_by_name_and_place() {
    let (x, y) = inputs(1, 4, 6);
    let outputs = net(1).run(&[("y", y.view()), ("x", x.view())]).unwrap();
    assert_eq!(outputs.len(), 2);
    assert_eq!(outputs["map"].shape(), [1, 8, 4, 6]);
    assert_eq!(outputs[1].shape(), outputs["sum"].shape());
    assert!(outputs.get("none").is_none());
    assert_eq!(outputs.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["map", "sum"]);
}

#[test]
fn sessions_and_run_into_agree_with_run() {
    let compiled = net(2);
    let mut session = compiled.session();
    for (n, h, w) in [(1, 4, 6), (2, 4, 6), (1, 10, 7), (1, 4, 6)] {
        let (x, y) = inputs(n, h, w);
        let given: [(&str, TensorView<'_>); 2] = [("x", x.view()), ("y", y.view())];
        let want = compiled.run(&given).unwrap();
        assert_eq!(session.run(&given).unwrap(), &want);
        let (mut map, mut sum) = (vec![0f32; n * 8 * h * w], vec![0f32; n * 4]);
        let (map_shape, sum_shape) = ([n, 8, h, w], [n, 4]);
        let mut outputs = [
            ("sum", TensorViewMut::new(&sum_shape, &mut sum).unwrap()),
            ("map", TensorViewMut::new(&map_shape, &mut map).unwrap()),
        ];
        compiled.run_into(&given, &mut outputs).unwrap();
        assert_eq!(map, want["map"].as_slice::<f32>().unwrap());
        assert_eq!(sum, want["sum"].as_slice::<f32>().unwrap());
    }
}

/// Sizes take over the memory of those before, whatever lies in it.
#[test]
fn memory_goes_from_size_to_size() {
    let shared = net(2);
    let mut session = shared.session();
    for (n, h, w) in [(1, 4, 6), (2, 30, 31), (1, 4, 6), (1, 10, 7), (2, 30, 31)] {
        let (x, y) = inputs(n, h, w);
        let want = net(2).run(&[("x", x.view()), ("y", y.view())]).unwrap();
        assert_eq!(shared.run(&[("x", x.view()), ("y", y.view())]).unwrap(), want);
        assert_eq!(session.run(&[("x", x.view()), ("y", y.view())]).unwrap(), &want);
        // What stays behind are NaN.
        let x = Tensor::new([n, 3, h, w], vec![f32::NAN; n * 3 * h * w]).unwrap();
        shared.run(&[("x", x.view()), ("y", y.view())]).unwrap();
        session.run(&[("x", x.view()), ("y", y.view())]).unwrap();
    }
}

#[test]
fn callers_on_many_threads_share_a_model() {
    let compiled = net(2);
    let (x, y) = inputs(1, 12, 12);
    let want = compiled.run(&[("x", x.view()), ("y", y.view())]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(compiled.run(&[("x", x.view()), ("y", y.view())]).unwrap(), want);
                }
            });
        }
    });
}

#[test]
fn sizes_can_be_fixed_and_prepared() {
    let model = Model::parse(NET).unwrap();
    let compiled = model.compiler().size("N", 1).size("H", 4).size("W", 4).threads(1).compile().unwrap();
    assert_eq!(compiled.plan(&[]).unwrap().outputs[0].shape, [1, 8, 4, 4]);
    let (x, y) = inputs(1, 6, 4);
    let error = compiled.run(&[("x", x.view()), ("y", y.view())]).unwrap_err();
    assert!(matches!(error, Error::Sizes(_)), "{error}");

    let open = net(1);
    open.prepare(&[("N", 1), ("H", 6), ("W", 4)]).unwrap();
    assert!(open.prepare(&[("N", 1)]).is_err());
    let error = open.prepare(&[("N", 1), ("H", 5), ("W", 4)]).unwrap_err();
    assert_eq!(error.fault(), Fault::Model, "{error}");
    assert!(model.compiler().size("M", 1).compile().is_err());
}

#[test]
fn small_caches_make_code_again() {
    let model = Model::parse(NET).unwrap();
    let compiled = model.compiler().threads(1).cache_bytes(0).compile().unwrap();
    let mut first = None;
    for round in 0..3 {
        for h in [2, 4, 6] {
            let (x, y) = inputs(1, h, 4);
            let got = compiled.run(&[("x", x.view()), ("y", y.view())]).unwrap();
            if h == 2 && round == 0 {
                first = Some(got);
            } else if h == 2 {
                assert_eq!(Some(got), first);
            }
        }
    }
}

#[test]
fn wrong_inputs_are_told() {
    let compiled = net(1);
    let (x, y) = inputs(1, 4, 4);
    let ints = Tensor::new([1, 4], vec![0i32; 4]).unwrap();
    let check = |inputs: &[(&str, TensorView<'_>)], want: &str| {
        assert_eq!(compiled.run(inputs).unwrap_err().to_string(), want);
    };
    check(&[("x", x.view())], "the input `y` is missing: it is f32[N, 4]");
    check(
        &[("x", x.view()), ("y", y.view()), ("z", y.view())],
        "the model has no input `z`; its inputs are `x`, `y`",
    );
    check(&[("x", x.view()), ("y", y.view()), ("y", y.view())], "the input `y` is given twice");
    check(&[("x", x.view()), ("y", ints.view())], "the input `y` is f32[N, 4], but i32 is given");
    check(
        &[("x", y.view()), ("y", y.view())],
        "the input `x` is f32[N, 3, H, W], of rank 4, but the given shape [1, 4] has rank 2",
    );
    let (_, two) = inputs(2, 4, 4);
    assert!(compiled.run(&[("x", x.view()), ("y", two.view())]).is_err());
    let (odd, _) = inputs(1, 3, 4);
    assert!(compiled.run(&[("x", odd.view()), ("y", y.view())]).is_err());
}

#[test]
fn compiled_models_can_be_sent_and_shared() {
    fn both<T: Send + Sync>() {}
    both::<Compiled>();
    both::<Model>();
    fn send<T: Send>() {}
    send::<rectify::Session>();
}

#[test]
fn a_level_without_fused_multiply_add_agrees_within_the_tolerance() {
    let model = Model::parse(NET).unwrap();
    let (x, y) = inputs(1, 8, 8);
    let inputs = [("x", x.view()), ("y", y.view())];
    let level = "x86-64-v2".parse().unwrap();
    let Ok(old) = model.compiler().target(level).threads(1).compile() else { return };
    let new = model.compiler().threads(1).compile().unwrap();
    let (old, new) = (old.run(&inputs).unwrap(), new.run(&inputs).unwrap());
    for ((name, a), (_, b)) in old.iter().zip(new.iter()) {
        let comparison = rectify::compare::Comparison::new(a, b, Default::default());
        assert!(comparison.agrees(), "{name}: {comparison}");
    }
}

#[test]
fn graphs_from_rust_run() {
    let mut g = GraphBuilder::new("made");
    let x = g.input("image", "N, 3, 8, 8");
    let y = g.conv(x, "conv1", ConvSpec::new(4, 3).pad(1)).unwrap();
    let y = g.prelu(y, "conv1").unwrap();
    let y = g.flatten(y).unwrap();
    let y = g.dense(y, "head", 5).unwrap();
    g.output("logits", y);
    let model = Model::from_graph(g.finish().unwrap()).unwrap();
    let written = Model::parse(
        "rect 1
        model made(image: f32[N, 3, 8, 8]) -> (logits: f32[N, 5]) {
            image |> conv(4, kernel: 3, pad: 1) as conv1 |> prelu as conv1 |> flatten |> dense(5) as head
        }",
    )
    .unwrap();
    let image = Tensor::new([2, 3, 8, 8], vec![0.5f32; 384]).unwrap();
    let run = |model: &Model| {
        model.compiler().threads(1).compile().unwrap().run(&[("image", image.view())]).unwrap()
    };
    assert_eq!(run(&model), run(&written));
}
