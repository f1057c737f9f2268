//! Predictions of `lint` against measurement on small networks, and the paper's figure for VGG's model B.

use rectify::lint::{BatchNorm, Lint, Options, svg};
use rectify::{Error, Model, Tensor, data};

/// The report on a model with one input `x` of random numbers.
fn lint(text: &str, shape: &[usize], options: &Options) -> Lint {
    let model = Model::parse(text).unwrap();
    let x = data::Generator::Random.make("x", rectify::DType::F32, shape, 1).unwrap();
    Lint::new(&model.compiler().threads(1), &[("x", x.view())], options).unwrap()
}

/// Every layer is predicted within `tolerance` of what is measured.
fn agrees(report: &Lint, tolerance: f64) {
    for layer in &report.layers {
        let (p, m) = (layer.predicted.as_ref().unwrap(), layer.measured.unwrap());
        let ratio = m.rms / p.rms;
        assert!(
            (ratio - 1.0).abs() < tolerance,
            "{} {}: measured / predicted = {ratio}",
            layer.name,
            layer.op
        );
    }
}

#[test]
fn padded_convolutions_with_pools() {
    let report = lint(
        "model t(x: f32[1, 3, 24, 24]) -> (y: f32[1, 10]) {
            x |> for i in 1..=3 { conv(96, kernel: 3, pad: 1) as \"c{i}\" |> relu as \"c{i}\" |> max_pool(kernel: 2) }
              |> flatten |> dense(64) as fc |> prelu as fc |> dense(10) as out
        }",
        &[1, 3, 24, 24],
        &Options { draws: 120, ..Options::default() },
    );
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    agrees(&report, 0.1);
}

/// Every window of the last pool touches a border or lies next to one that does.
#[test]
fn small_maps_behind_many_padded_convolutions() {
    let report = lint(
        "model t(x: f32[1, 3, 8, 8]) -> (y: f32[1, 10]) {
            x |> for i in 1..=6 { conv(96, kernel: 3, pad: 1) as \"c{i}\" |> relu as \"c{i}\" } |> max_pool(kernel: 2) |> flatten |> dense(10) as out
        }",
        &[1, 3, 8, 8],
        &Options { draws: 200, ..Options::default() },
    );
    agrees(&report, 0.06);
}

#[test]
fn pyramids_overlapping_pools_and_averages() {
    let report = lint(
        "model t(x: f32[1, 3, 20, 20]) -> (y: f32[1, 16], z: f32[1, 96]) {
            let a = x |> conv(96, kernel: 3) as a |> prelu as a |> max_pool(kernel: 3, stride: 2, pad: 1) |> conv(96, kernel: 3) as b |> relu as b
            (a |> spp(bins: [3, 2, 1]) |> dense(16) as fc, a |> global_avg_pool |> flatten)
        }",
        &[1, 3, 20, 20],
        &Options { draws: 24, ..Options::default() },
    );
    agrees(&report, 0.1);
}

#[test]
fn residual_blocks_with_either_statistics() {
    let text = "model t(x: f32[2, 3, 16, 16]) -> (y: f32[2, 96, 16, 16]) {
        let s = x |> conv(96, kernel: 3, pad: 1, bias: none) as stem |> batch_norm as stem |> relu as stem
        s |> for i in 1..=3 { residual as \"r{i}\" }
    }
    block residual(x) {
        (x |> conv(96, kernel: 3, pad: 1, bias: none) as a |> batch_norm as a |> relu as a
           |> conv(96, kernel: 3, pad: 1, bias: none) as b |> batch_norm as b) + x |> relu as out
    }";
    for batch_norm in [BatchNorm::Running, BatchNorm::Fresh] {
        agrees(&lint(text, &[2, 3, 16, 16], &Options { draws: 16, batch_norm, ..Options::default() }), 0.1);
    }
}

#[test]
fn lecun_before_rectifiers_vanishes_and_the_warning_names_it() {
    let text = "model t(x: f32[1, 64]) -> (y: f32[1, 64]) {
        x |> for i in 1..=20 { dense(64, weight: lecun_normal()) as \"l{i}\" |> relu as \"l{i}\" }
    }";
    let report = lint(text, &[1, 64], &Options { draws: 0, ..Options::default() });
    let forward = report.warnings.iter().find(|w| !w.backward).expect("a warning");
    // 2^(-1/2) a layer over the 19 steps from the first layer to the last.
    assert!((forward.growth - 2f64.powf(-9.5)).abs() < 1e-5, "{forward}");
    assert!(forward.initialisation.starts_with("lecun_normal"), "{forward}");
    assert!(report.layers.iter().all(|l| l.measured.is_none()));
}

/// He et al. 2015, section 2.2: with std 0.01 the gradient from conv10 reaches conv2 1.7e4 times too small.
#[test]
fn gradients_of_vgg_b_are_as_the_paper_says() {
    let model = Model::open("examples/vgg_b.rect").unwrap();
    let x = Tensor::zeros(rectify::DType::F32, [1, 3, 224, 224]).unwrap();
    let ratio = |scheme| {
        let options = Options { scheme, draws: 0, ..Options::default() };
        let report = Lint::new(&model.compiler().threads(1), &[("image", x.view())], &options).unwrap();
        let at =
            |name: &str, op: &str| report.layers.iter().position(|l| l.name == name && l.op == op).unwrap();
        let gradient = |i: usize| report.layers[i].predicted.as_ref().unwrap().gradient.unwrap();
        // From the result of conv10, which is 5.2, back through the weights of conv2, which is 1.2, to what conv2 reads.
        gradient(at("conv1.2", "conv") - 1) / gradient(at("conv5.2", "conv"))
    };
    let small = rectify::init::Dist::Normal { mean: 0.0.into(), std: 0.01.into() };
    let factor = ratio(None) / ratio(Some(small.into()));
    // 5.9 · 4.2² · 2.9² · 2.1⁴ in the paper's rounded numbers: the stds of conv2 to conv10 over 0.01.
    assert!((factor / 1.7e4 - 1.0).abs() < 0.03, "{factor}");
}

#[test]
fn a_picture_of_both_curves() {
    let text = "model t(x: f32[1, 8]) -> (y: f32[1, 8]) { x |> dense(8) as a |> relu as a |> dense(8) as b }";
    let picture = svg(&[lint(text, &[1, 8], &Options { draws: 8, ..Options::default() })]);
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    assert_eq!(picture.matches("<polyline").count(), 2);
    assert_eq!(picture.matches("<circle").count(), 3);
    assert!(picture.contains(">a</text>") && picture.contains(">b</text>"));
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
}

#[test]
fn a_probe_that_is_too_large_is_refused() {
    let model = Model::parse(
        "model t(x: f32[N, 1, 8192, 8192]) -> (y: f32[N, 8, 8192, 8192]) { x |> conv(8, kernel: 1) as c }",
    )
    .unwrap();
    let x = Tensor::zeros(rectify::DType::F32, [1, 1, 8192, 8192]).unwrap();
    let error = Lint::new(&model.compiler(), &[("x", x.view())], &Options { draws: 1, ..Options::default() });
    assert!(matches!(error, Err(Error::Option { .. })), "{error:?}");
}
