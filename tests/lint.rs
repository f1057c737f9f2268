//! Predictions of `lint` against measurement on small networks, and the paper's figure for VGG's model B.

use rectify::lint::{BatchNorm, Layer, Lint, Measured, Options, svg};
use rectify::{Error, Model, Tensor, data};

/// The report on a model with one input `x` of random numbers.
fn lint(text: &str, shape: &[usize], options: &Options) -> Lint {
    let model = Model::parse(text).unwrap();
    let x = data::Generator::Random.make("x", rectify::DType::F32, shape, 1).unwrap();
    Lint::new(&model.compiler().threads(1), &[("x", x.view())], options).unwrap()
}

/// Signals, gradients and the gradients of weights are predicted within these tolerances of what is measured, at every layer.
fn agrees(report: &Lint, [signals, gradients, weights]: [f64; 3]) {
    assert_eq!(report.refused, None);
    let mut wrong = Vec::new();
    for layer in &report.layers {
        let predicted = layer.predicted.as_ref().unwrap();
        let mut compare = |what: &str, tolerance: f64, predicted: f64, measured: Measured| {
            let ratio = measured.rms / predicted;
            if (ratio - 1.0).abs() >= tolerance {
                wrong.push(format!("{} {}: {what}, measured / predicted = {ratio:.3}", layer.name, layer.op));
            }
        };
        compare("signal", signals, predicted.rms, layer.measured.unwrap());
        compare("gradient", gradients, predicted.gradient.unwrap(), layer.measured_gradient.unwrap());
        assert_eq!(layer.predicted_weight.is_some(), layer.init.is_some(), "{}", layer.name);
        // How much of the input's own noise a first layer's weight sees differs from input to input.
        if let Some(weight) = layer.predicted_weight.filter(|_| layer.name != report.layers[0].name) {
            compare("weight", weights, weight, layer.measured_weight.unwrap());
        }
    }
    assert!(wrong.is_empty(), "on {} draws:\n{}", report.draws, wrong.join("\n"));
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
    agrees(&report, [0.1, 0.1, 0.2]);
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
    agrees(&report, [0.06, 0.1, 0.2]);
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
    agrees(&report, [0.1, 0.1, 0.2]);
}

#[test]
fn residual_blocks_with_either_statistics() {
    let text = "model t(x: f32[2, 24, 16, 16]) -> (y: f32[2, 96, 16, 16]) {
        let s = x |> conv(96, kernel: 3, pad: 1, bias: none) as stem |> batch_norm as stem |> relu as stem
        s |> for i in 1..=3 { residual as \"r{i}\" }
    }
    block residual(x) {
        (x |> conv(96, kernel: 3, pad: 1, bias: none) as a |> batch_norm as a |> relu as a
           |> conv(96, kernel: 3, pad: 1, bias: none) as b |> batch_norm as b) + x |> relu as out
    }";
    for (batch_norm, tolerances) in
        [(BatchNorm::Running, [0.1, 0.1, 0.2]), (BatchNorm::Fresh, [0.1, 0.25, 0.25])]
    {
        let options = Options { draws: 32, batch_norm, ..Options::default() };
        agrees(&lint(text, &[2, 24, 16, 16], &options), tolerances);
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

/// How many times smaller the gradient is before conv2 with std 0.01 than by fan out, where it is the same behind conv10. `side` is
/// that of the image.
fn vgg_b(model: &Model, side: usize, draws: usize, gradient: impl Fn(&Layer) -> f64) -> f64 {
    let x = data::Generator::Random.make("x", rectify::DType::F32, &[1, 3, side, side], 1).unwrap();
    let ratio = |scheme| {
        let options = Options { scheme, draws, ..Options::default() };
        let report = Lint::new(&model.compiler().threads(1), &[("image", x.view())], &options).unwrap();
        let at =
            |name: &str, op: &str| report.layers.iter().position(|l| l.name == name && l.op == op).unwrap();
        // From the result of conv10, which is 5.2, back through the weights of conv2, which is 1.2, to what conv2 reads.
        gradient(&report.layers[at("conv1.2", "conv") - 1]) / gradient(&report.layers[at("conv5.2", "conv")])
    };
    let small = rectify::init::Dist::Normal { mean: 0.0.into(), std: 0.01.into() };
    ratio(None) / ratio(Some(small.into()))
}

/// He et al. 2015, section 2.2: with std 0.01 the gradient from conv10 reaches conv2 1.7e4 times too small.
#[test]
fn gradients_of_vgg_b_are_as_the_paper_says() {
    // 5.9 · 4.2² · 2.9² · 2.1⁴ in the paper's rounded numbers: the stds of conv2 to conv10 over 0.01.
    let close = |factor: f64| assert!((factor / 1.7e4 - 1.0).abs() < 0.03, "{factor}");
    let predicted = |layer: &Layer| layer.predicted.as_ref().unwrap().gradient.unwrap();
    close(vgg_b(&Model::open("examples/vgg_b.rect").unwrap(), 224, 0, predicted));
    // On a smaller image, as all that differs are sizes of maps. Both schemes draw the same normals, so one draw tells.
    let folder = std::env::temp_dir().join(format!("rectify-vgg-b-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy("examples/blocks.rect", folder.join("blocks.rect")).unwrap();
    let text = std::fs::read_to_string("examples/vgg_b.rect").unwrap().replace("224", "32");
    std::fs::write(folder.join("vgg_b.rect"), text).unwrap();
    let small = Model::open(folder.join("vgg_b.rect")).unwrap();
    close(vgg_b(&small, 32, 1, |layer| layer.measured_gradient.unwrap().rms));
    std::fs::remove_dir_all(folder).unwrap();
}

/// A gradient that all positions share, back through a residual sum and a stride.
#[test]
fn gradients_through_averages_sums_and_strides() {
    let text = "model t(x: f32[2, 24, 16, 16]) -> (y: f32[2, 40]) {
        let s = x |> conv(96, kernel: 3, pad: 1) as stem |> batch_norm as stem |> relu as stem
        let r = (s |> conv(96, kernel: 3, pad: 1) as a |> batch_norm as a |> relu as a
            |> conv(96, kernel: 3, pad: 1) as b |> batch_norm as b) + s |> relu as out
        r |> conv(96, kernel: 3, stride: 2, pad: 1) as c |> batch_norm as c |> relu as c
          |> global_avg_pool |> flatten |> dense(40) as head
    }";
    agrees(&lint(text, &[2, 24, 16, 16], &Options { draws: 64, ..Options::default() }), [0.1, 0.1, 0.2]);
}

/// As the maximum of overlapping windows, and as what averages hand on, gradients of neighbours have much in common.
#[test]
fn gradients_through_overlapping_pools() {
    let report = lint(
        "model t(x: f32[1, 3, 24, 24]) -> (y: f32[1, 40]) {
            x |> conv(96, kernel: 3, pad: 1) as a |> prelu as a |> avg_pool(kernel: 3, stride: 2, pad: 1)
              |> conv(96, kernel: 3, pad: 1) as b |> relu as b |> max_pool(kernel: 3, stride: 2, pad: 1)
              |> conv(96, kernel: 3, pad: 1) as c |> relu as c |> global_avg_pool |> flatten |> dense(40) as head
        }",
        &[1, 3, 24, 24],
        &Options { draws: 96, ..Options::default() },
    );
    agrees(&report, [0.1, 0.1, 0.2]);
}

#[test]
fn a_picture_of_both_curves() {
    let text = "model t(x: f32[1, 8]) -> (y: f32[1, 8]) { x |> dense(8) as a |> relu as a |> dense(8) as b }";
    let picture = svg(&[lint(text, &[1, 8], &Options { draws: 8, ..Options::default() })]);
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    assert_eq!(picture.matches("<polyline").count(), 2);
    assert_eq!(picture.matches("<circle").count(), 6);
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
