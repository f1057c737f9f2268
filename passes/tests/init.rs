//! Fans, gains and their reasons.

mod support;

use rectify_ir::graph::Graph;
use rectify_passes::{InitReport, InitWarning, explain_init};
use support::{example, graph};

/// The report of one parameter.
fn report(graph: &Graph, name: &str) -> InitReport {
    let (reports, _) = explain_init(graph);
    reports.into_iter().find(|r| *r.name == *name).unwrap_or_else(|| panic!("no parameter {name}"))
}

fn fan(text: &str, name: &str) -> (f64, String) {
    let fan = report(&graph(text), name).fan.expect("a fan");
    (fan.value, fan.formula)
}

/// Gain and reason.
fn gain(text: &str, name: &str) -> (f64, String) {
    let gain = report(&graph(text), name).gain.expect("a gain");
    (gain.value, gain.why.to_string())
}

fn warnings(text: &str) -> Vec<InitWarning> {
    explain_init(&graph(text)).1
}

/// He et al. 2015, section 2.2: standard deviations of 3x3 layers with 64, 128, 256 and 512 inputs.
#[test]
fn figures_of_the_paper() {
    let want = [(64, "0.0589"), (128, "0.0417"), (256, "0.0295"), (512, "0.0208")];
    for name in ["vgg19.rect", "plain30.rect"] {
        let graph = example(name);
        let (reports, warnings) = explain_init(&graph);
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        let mut seen = 0;
        for r in reports.iter().filter(|r| r.shape.len() == 4) {
            let shape: Vec<i64> = r.shape.iter().filter_map(|d| d.as_const()).collect();
            if let [_, inputs, 3, 3] = shape[..]
                && let Some((_, std)) = want.iter().find(|(n, _)| *n == inputs)
            {
                assert_eq!(format!("{:.4}", r.std.expect("a std")), *std, "{name}: {}", r.name);
                seen += 1;
            }
        }
        assert!(seen >= 8, "{name}: {seen} layers");
    }
}

/// The same figures by filters, in the backward form.
#[test]
fn fan_out_by_filters() {
    for (filters, want) in [(64, "0.0589"), (128, "0.0417"), (256, "0.0295"), (512, "0.0208")] {
        let text = format!("x |> conv({filters}, kernel: 3, weight: he_normal(fan: out)) as c |> relu");
        let r = report(&graph(&text), "c.weight");
        assert_eq!(format!("{:.4}", r.std.expect("a std")), want);
    }
}

#[test]
fn fans_of_layers() {
    let he = |layer: &str| fan(&format!("x |> {layer} as c |> relu"), "c.weight");
    assert_eq!(he("conv(6, kernel: 3)"), (36.0, "3·3·4".into()));
    assert_eq!(he("conv(6, kernel: [3, 1], groups: 2)"), (6.0, "3·1·2".into()));
    // Depthwise: each output sums one channel.
    assert_eq!(he("conv(4, kernel: 3, groups: 4)"), (9.0, "3·3·1".into()));
    assert_eq!(he("conv(8, kernel: 3, groups: 4, weight: he_normal(fan: out))"), (18.0, "3·3·8/4".into()));
    // An output element of a transposed convolution meets one in stride² taps.
    assert_eq!(he("conv_transpose(6, kernel: 4, stride: 2)"), (16.0, "4·4·4/(2·2)".into()));
    assert_eq!(he("conv_transpose(6, kernel: 4, stride: 2, groups: 2)"), (8.0, "4·4·4/(2·2·2)".into()));
    assert_eq!(he("conv(6, kernel: 3, weight: xavier_normal())"), (45.0, "(3·3·4 + 3·3·6) / 2".into()));
    assert_eq!(he("conv(6, kernel: 3, weight: he_normal(fan: 7))"), (7.0, "as written".into()));
    assert_eq!(fan("v |> dense(5) as fc", "fc.weight"), (8.0, "8".into()));
    assert_eq!(fan("param w: f32[8, 5] = he_normal()\nmatmul(v, w)", "w"), (8.0, "8".into()));
    assert_eq!(fan("param w: f32[7, 3] = he_normal()\nmatmul(w, v)", "w"), (3.0, "3".into()));
    // A bias that is drawn has its layer's fan.
    assert_eq!(fan("x |> conv(6, kernel: 3, bias: torch_default()) as c", "c.bias"), (36.0, "3·3·4".into()));
    // Through a derivation of the same shape.
    assert_eq!(fan("param w: f32[5, 8] = he_normal()\ndense(v, weight: w * 2)", "w"), (8.0, "8".into()));
}

#[test]
fn gains_follow_the_rectifier() {
    let root2 = 2f64.sqrt();
    let after = |tail: &str| gain(&format!("x |> conv(4, kernel: 3, pad: 1) as c {tail}"), "c.weight");
    assert_eq!(after("|> relu as r"), (root2, "relu r, slope 0".into()));
    assert_eq!(after("|> prelu as p"), ((2f64 / 1.0625).sqrt(), "prelu p, slope 0.25".into()));
    assert_eq!(after("|> leaky_relu(0.5) as l"), ((2f64 / 1.25).sqrt(), "leaky_relu l, slope 0.5".into()));
    assert_eq!(after("|> abs as a").0, 1.0);
    for smooth in ["gelu", "silu", "elu", "hard_swish", "softplus", "relu6"] {
        assert_eq!(after(&format!("|> {smooth} as s")).0, root2, "{smooth}");
    }
    assert_eq!(after(""), (1.0, "feeds no rectifier".into()));
    assert_eq!(after("|> sigmoid").0, 1.0);
    assert_eq!(after("|> conv(4, kernel: 1) |> relu").0, 1.0);
    // Through batch norm, pooling, a residual addition, reshape and dropout.
    let far = "|> batch_norm |> max_pool(kernel: 2) |> dropout(0.5) |> flatten |> relu as r";
    assert_eq!(after(far), (root2, "relu r, slope 0".into()));
    let sum = "let c = x |> conv(4, kernel: 3, pad: 1) as c\n(c + y) |> relu as r";
    assert_eq!(gain(sum, "c.weight").0, root2);
    assert_eq!(after("|> depth_to_space(2) |> prelu(slope: constant(1)) as p").0, 1.0);
    // Root mean square of the slopes of data and of a distribution.
    let slopes = "param a: f32[4] = data([0, 0, 1, 1])\nprelu(x |> conv(4, kernel: 1) as c, slope: a) as p";
    assert!((gain(slopes, "c.weight").0 - (2f64 / 1.5).sqrt()).abs() < 1e-12);
    assert!((after("|> prelu(slope: uniform(0, 1)) as p").0 - (2f64 / (4.0 / 3.0)).sqrt()).abs() < 1e-9);
    assert_eq!(gain("max(x |> conv(4, kernel: 1) as c, 0)", "c.weight").0, root2);
    assert_eq!(
        gain("x |> conv(4, kernel: 3, weight: he_normal(gain: 2)) as c |> relu", "c.weight").1,
        "as written"
    );
}

#[test]
fn disagreements_are_warned_of() {
    let text = "let c = x |> conv(4, kernel: 1) as c\n(c |> relu as r, c)";
    assert_eq!(gain(text, "c.weight").0, 2f64.sqrt());
    let all = warnings(text);
    assert!(
        matches!(&all[..], [InitWarning::GainsDisagree { taken, .. }] if *taken == 2f64.sqrt()),
        "{all:?}"
    );
    assert!(all[0].to_string().contains("output1"), "{}", all[0]);
    // Both ends ask for the same.
    assert!(warnings("let c = x |> conv(4, kernel: 1) as c\n(c |> relu, c |> relu6)").is_empty());
    // An explicit gain settles it.
    let settled = "let c = x |> conv(4, kernel: 1, weight: he_normal(gain: 1)) as c\n(c |> relu, c)";
    assert!(warnings(settled).is_empty());
    let file = "param a: f32[4] = file(\"w.safetensors\", \"a\")\nprelu(x |> conv(4, kernel: 1) as c, slope: a) as p";
    assert!(matches!(&warnings(file)[..], [InitWarning::SlopeInFile { .. }]));
}

/// A shared layer counts all of its uses.
#[test]
fn shared_layers() {
    let text = "layer tower = conv(4, kernel: 3)\nlet (a, b) = (x |> tower, y |> tower)\n(a |> relu, b |> leaky_relu(0.5))";
    let (reports, warnings) = explain_init(&graph(text));
    assert_eq!(reports.iter().filter(|r| r.shape.len() == 4).count(), 1);
    assert!(matches!(&warnings[..], [InitWarning::GainsDisagree { .. }]), "{warnings:?}");
}
