//! Random graphs are sound and reach every operation.

use super::*;
use crate::bind::bind;
use crate::interp::eval_all;
use crate::verify::verify;
use std::collections::BTreeSet;

fn options(seed: u64) -> Options {
    Options { symbolic: seed % 2 == 1, spatial_rank: 1 + (seed as usize / 2) % 2, ..Options::default() }
}

#[test]
fn graphs_are_varied_and_reproducible() {
    let mut ops = BTreeSet::new();
    for seed in 0..200 {
        let graph = random_graph(seed, &options(seed));
        verify(&graph).unwrap();
        assert_eq!(graph, random_graph(seed, &options(seed)));
        ops.extend(graph.node_ids().into_iter().map(|id| graph.node(id).op.name()));
    }
    for name in
        ["conv", "conv_transpose", "prelu", "concat", "split", "spp", "resize", "softmax", "batch_norm"]
    {
        assert!(ops.contains(name), "{name}");
    }
    assert!(ops.len() >= 40, "{ops:?}");
}

#[test]
fn bound_graphs_are_sound_and_have_the_same_shapes() {
    for seed in (1..80).step_by(2) {
        let graph = random_graph(seed, &options(seed));
        let bindings = random_bindings(&graph, seed, 20);
        let bound = bind(&graph, &bindings).unwrap();
        verify(&bound).unwrap();
        for id in graph.node_ids() {
            let at = |d: &crate::Dim| d.eval(&|n| bindings.get(n).copied()).unwrap();
            let want: Vec<Vec<i64>> =
                graph.node(id).types.iter().map(|t| t.shape.iter().map(at).collect()).collect();
            let got: Vec<Vec<i64>> =
                bound.node(id).types.iter().map(|t| t.shape.iter().map(at).collect()).collect();
            assert_eq!(got, want, "seed {seed}, {id}");
        }
    }
}

/// Both precisions agree on every node, so no formula is unstable where it need not be.
#[test]
fn f32_agrees_with_f64() {
    for seed in 0..60 {
        let graph = random_graph(seed, &options(seed));
        let bindings = random_bindings(&graph, seed, 8);
        let narrow = random_inputs::<f32>(&graph, &bindings, seed);
        let wide = random_inputs::<f64>(&graph, &bindings, seed);
        let narrow = eval_all(&graph, &narrow, &mut |g, id| random_param(g, id, seed)).unwrap();
        let wide = eval_all(&graph, &wide, &mut |g, id| random_param(g, id, seed)).unwrap();
        for (value, want) in &wide.values {
            let (got, want) = (narrow.values[value].to_f64(), want.to_f64());
            let scale = want.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() <= 2e-4 * scale, "seed {seed}, {value}: {g}, not {w}");
            }
        }
    }
}

#[test]
fn special_values_reach_the_inputs() {
    let graph = random_graph(1, &options(0));
    let inputs = random_inputs::<f32>(&graph, &Default::default(), 1);
    let special = with_special_values(inputs, 1, 4);
    let values = special["x0"].floats().unwrap();
    assert!(values.iter().any(|v| v.is_nan()) && values.iter().any(|v| v.is_infinite()));
    assert!(values.iter().any(|v| v.is_finite() && *v != 0.0));
}
