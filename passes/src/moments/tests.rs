//! Known answers of the predictions, worked out by hand.

use super::*;
use rectify_ir::lang::compile_text;
use rectify_ir::op::Op;

/// Predictions for inputs of second moment 1 without correlation.
fn predictions(text: &str, batch_norm: BatchNorm) -> (Graph, Predictions) {
    let graph = compile_text("test.rect", text).unwrap_or_else(|report| panic!("{report}"));
    let seen = |id: &rectify_ir::NodeId| {
        let shape = graph.ty((*id).into()).const_shape().unwrap();
        let dims = shape.get(2..).unwrap_or_default();
        let (mean, second) = (Map::constant(dims, 0.0), Map::constant(dims, 1.0));
        ((*id).into(), Seen { mean, second, correlation: Correlation::white(dims) })
    };
    let inputs = graph.inputs().iter().map(seen).collect();
    let predicted = predict(&graph, inputs, batch_norm, &|_| None);
    (graph, predicted)
}

/// Of values, by the label of the node.
fn by_label(text: &str) -> HashMap<String, Predicted> {
    let (graph, predicted) = predictions(text, BatchNorm::Running);
    let named = |(value, p): (Value, Predicted)| {
        let node = graph.node(value.node);
        let name = node.name.as_deref().unwrap_or(node.op.name());
        (format!("{name}.{}", node.op.name()), p)
    };
    predicted.values.into_iter().map(named).collect()
}

/// Of weights, by name.
fn weights(text: &str) -> HashMap<String, f64> {
    let (graph, predicted) = predictions(text, BatchNorm::Running);
    let named =
        |(id, rms): (&NodeId, &f64)| (graph.node(*id).name.as_deref().unwrap_or_default().to_owned(), *rms);
    predicted.weights.iter().map(named).collect()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 2e-3 * b.abs().max(1e-9), "{a} instead of {b}");
}

#[test]
fn a_plain_chain_keeps_its_moments_and_lecun_loses_half_a_layer() {
    let p = by_label(
        "model t(x: f32[1, 400]) -> (y: f32[1, 10]) {
            x |> dense(300, weight: he_normal(fan: in, gain: 1)) as a |> relu as a
              |> dense(200, weight: he_normal(fan: in, gain: auto)) as b |> relu as b
              |> dense(10, weight: lecun_normal()) as c
        }",
    );
    close(p["a.dense"].rms, 1.0);
    close(p["a.relu"].rms, 0.5f64.sqrt());
    close(p["b.dense"].rms, 1.0);
    close(p["c.dense"].rms, 0.5f64.sqrt());
    // Backward: Var[w] times outputs: 10 / 200, then half for relu, then 200 · 2 / 300 and half again.
    close(p["b.relu"].gradient.unwrap(), (10.0f64 / 200.0).sqrt());
    close(p["b.dense"].gradient.unwrap(), (10.0f64 / 400.0).sqrt());
    close(p["a.relu"].gradient.unwrap(), (10.0f64 / 300.0).sqrt());
    close(p["a.dense"].gradient.unwrap(), (10.0f64 / 600.0).sqrt());
}

#[test]
fn padded_borders_have_fewer_taps() {
    let p = by_label(
        "model t(x: f32[1, 8, 6, 6]) -> (y: f32[1, 4, 6, 6]) { x |> conv(4, kernel: 3, pad: 1) as c }",
    );
    // Corners have 4 of 9 taps, edges 6; (4·4 + 16·6 + 16·9) / 36 / 9 on average.
    close(p["c.conv"].least, (4.0f64 / 9.0).sqrt());
    close(p["c.conv"].greatest, 1.0);
    close(p["c.conv"].rms, (256.0f64 / 324.0).sqrt());
}

#[test]
fn residual_branches_add() {
    let p = by_label(
        "model t(x: f32[1, 16, 4, 4]) -> (y: f32[1, 16, 4, 4]) {
            let a = x |> conv(16, kernel: 1, weight: lecun_normal()) as a
            (a + (a |> conv(16, kernel: 1, weight: lecun_normal()) as b)) |> prelu as p
        }",
    );
    close(p["a.conv"].rms, 1.0);
    close(p["p.prelu"].rms, (2.0f64 * (1.0 + 0.0625) / 2.0).sqrt());
    // Both paths carry the gradient back: 0.53125 · (1 + 1).
    close(p["a.conv"].gradient.unwrap(), 1.0625f64.sqrt());
}

#[test]
fn strides_spread_gradients_thinly() {
    let p = by_label(
        "model t(x: f32[1, 16, 8, 8]) -> (y: f32[1, 32, 4, 4]) {
            x |> conv(16, kernel: 1) as a |> conv(32, kernel: 2, stride: 2, weight: normal(std: 0.1)) as b
        }",
    );
    // Every input element meets one window and 32 filters.
    close(p["a.conv"].gradient.unwrap(), (32.0f64 * 0.01).sqrt());
}

#[test]
fn averages_of_uncorrelated_signals_shrink() {
    let p = by_label(
        "model t(x: f32[1, 3, 8, 8]) -> (y: f32[1, 4]) {
            x |> conv(4, kernel: 1, weight: lecun_normal()) as c |> global_avg_pool as g |> flatten
        }",
    );
    close(p["g.reduce_mean"].rms, 1.0 / 8.0);
    close(p["c.conv"].gradient.unwrap(), 1.0 / 64.0);
}

#[test]
fn relu_before_global_pooling_leaves_its_mean() {
    let p = by_label(
        "model t(x: f32[1, 3, 8, 8]) -> (y: f32[1, 4]) {
            x |> conv(4, kernel: 1, weight: lecun_normal()) as c |> relu |> global_avg_pool as g |> flatten
        }",
    );
    // E[(mean of n)²] = (q + (n − 1) m²) / n with q = ½ and m² = 1 / 2π.
    let (n, m2) = (64.0, 0.5 / std::f64::consts::PI);
    close(p["g.reduce_mean"].rms, ((0.5 + (n - 1.0) * m2) / n).sqrt());
}

#[test]
fn gradients_of_weights_are_sums_over_positions() {
    let chain = weights(
        "model t(x: f32[3, 100]) -> (y: f32[3, 10]) {
            x |> dense(50, weight: he_normal(fan: in, gain: 1)) as a |> relu as a |> dense(10, weight: lecun_normal()) as b
        }",
    );
    // Three images add up: 3 · ½ · 1, and 3 · 1 · (½ · 10 / 50).
    close(chain["b.weight"], 1.5f64.sqrt());
    close(chain["a.weight"], 0.3f64.sqrt());
    let of = |tail: &str| {
        let text = format!(
            "model t(x: f32[1, 8, 4, 4]) -> (y: f32[1, 16]) {{ x |> conv(16, kernel: 1) as c {tail} }}"
        );
        weights(&text)["c.weight"]
    };
    // An average hands one gradient of 1 / 16 to 16 positions, at which the input has nothing in common.
    close(of("|> global_avg_pool |> flatten"), 0.25);
    close(of("|> flatten |> dense(16, weight: normal(std: 0.5)) as d"), (16.0f64 * 16.0 * 0.25).sqrt());
}

#[test]
fn statistics_of_a_batch_take_away_what_all_positions_share() {
    let text = "model t(x: f32[1, 8, 16, 16]) -> (y: f32[1, 8]) {
        x |> conv(8, kernel: 1) as c |> batch_norm as c |> TAIL
    }";
    let of = |tail: &str| {
        let (graph, p) = predictions(&text.replace("TAIL", tail), BatchNorm::Fresh);
        let conv =
            graph.topo_order().into_iter().find(|id| matches!(graph.node(*id).op, Op::Conv(_))).unwrap();
        p.values[&conv.into()].gradient.unwrap()
    };
    assert!(of("global_avg_pool |> flatten") < 1e-6);
    // Behind a rectifier half of the positions pass, each 1 / 256: of ½ the mean takes (½)² and y takes (1 / √2π)². The variance
    // is a mean of 256 numbers.
    let want = (0.5 - 0.25 - 0.5 / std::f64::consts::PI) / 256.0f64.powi(2) * 256.0 / 254.0 / 2.0;
    let got = of("relu |> global_avg_pool |> flatten");
    assert!((got / want.sqrt() - 1.0).abs() < 0.05, "{got} instead of {}", want.sqrt());
}

#[test]
fn overlapping_windows_that_agree_add_their_gradients() {
    // Windows of two at a step of one: neighbours have one greatest element with probability 1 / 3.
    let p = by_label(
        "model t(x: f32[1, 3, 1, 400]) -> (y: f32[1, 4]) {
            x |> conv(4, kernel: 1, weight: lecun_normal()) as c |> max_pool(kernel: [1, 2], stride: 1) |> global_avg_pool as g |> flatten
        }",
    );
    let (n, windows) = (400.0f64, 399.0f64);
    close(p["c.conv"].gradient.unwrap(), (windows * (1.0 + 2.0 / 3.0) / n).sqrt() / windows);
}
