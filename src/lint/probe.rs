//! Measures: compiled code with every layer as an output, over draws of the weights.

use super::Measured;
use crate::compiler::Compiler;
use crate::error::Error;
use crate::model::Model;
use rectify_ir::Graph;
use rectify_runtime::TensorView;

/// The interval that ends drawing, relative to the root mean square.
const WANTED: f64 = 0.03;
/// Draws before the interval is looked at.
const LEAST: usize = 8;
const RESAMPLES: usize = 400;

pub(super) struct Probe {
    pub draws: usize,
    /// `None` where a layer's signal is zero or not finite.
    pub layers: Vec<Option<Measured>>,
}

/// Runs the graph, whose outputs are the layers, on weights of one seed after another.
pub(super) fn measure(
    compiler: &Compiler<'_>,
    graph: Graph,
    inputs: &[(&str, TensorView<'_>)],
    layers: usize,
    most: usize,
) -> Result<Probe, Error> {
    let model = Model::from_graph(graph)?.beside(compiler.model());
    let mut squares: Vec<Vec<f64>> = vec![Vec::new(); layers];
    let mut found = Vec::new();
    let mut draws = 0;
    while draws < most {
        let mut options = compiler.options.clone();
        options.seed = options.seed.wrapping_add(draws as u64);
        // Sizes are numbers already.
        options.sizes.clear();
        let compiled = model.compiler().with_options(options).compile()?;
        let outputs = compiled.run(inputs)?;
        for (squares, (_, view)) in squares.iter_mut().zip(outputs.iter()) {
            let values = view.to_f64_vec();
            squares.push(values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64);
        }
        draws += 1;
        if draws >= LEAST || draws == most {
            found = squares.iter().map(|q| summary(q)).collect();
            let narrow = |m: &Measured| m.high - m.low <= 2.0 * WANTED * m.rms;
            if found.iter().flatten().all(narrow) {
                break;
            }
        }
    }
    Ok(Probe { draws, layers: found })
}

/// Root mean square over draws with its bootstrap interval, always the same for the same draws.
fn summary(squares: &[f64]) -> Option<Measured> {
    let n = squares.len() as f64;
    let mean = squares.iter().sum::<f64>() / n;
    if !mean.is_finite() || mean <= 0.0 {
        return None;
    }
    let mut state = 1u64;
    let mut pick = || {
        // A linear congruential generator (Knuth's constants) is random enough for indices.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        squares[((state >> 33) % squares.len() as u64) as usize]
    };
    let mut resampled: Vec<f64> =
        (0..RESAMPLES).map(|_| (squares.iter().map(|_| pick()).sum::<f64>() / n).sqrt()).collect();
    resampled.sort_by(f64::total_cmp);
    let rms = mean.sqrt();
    let roots: Vec<f64> = squares.iter().map(|q| q.sqrt()).collect();
    let level = roots.iter().sum::<f64>() / n;
    let variance = roots.iter().map(|r| (r - level).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Some(Measured {
        rms,
        low: resampled[RESAMPLES / 40],
        high: resampled[RESAMPLES - 1 - RESAMPLES / 40],
        spread: variance.sqrt() / rms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_root_mean_square() {
        let m = summary(&[1.0, 4.0, 1.0, 4.0]).unwrap();
        assert!((m.rms - 2.5f64.sqrt()).abs() < 1e-12);
        assert!(m.low < m.rms && m.rms < m.high && m.low >= 1.0 && m.high <= 2.0);
        assert!((m.spread - (1.0f64 / 3.0).sqrt() / 2.5f64.sqrt()).abs() < 1e-9);
        assert_eq!(summary(&[0.0, 0.0]), None);
        assert_eq!(summary(&[1.0, f64::NAN]), None);
    }
}
