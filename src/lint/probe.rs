//! Measures: compiled code over draws of the weights and of the gradients of the outputs.

use super::Measured;
use super::graph::Probe;
use crate::compiler::Compiler;
use crate::error::Error;
use crate::model::Model;
use rectify_ir::DType;
use rectify_runtime::rng::{Distribution, fill};
use rectify_runtime::{Tensor, TensorView};

/// The interval that ends drawing, relative to the root mean square.
const WANTED: f64 = 0.03;
/// Draws before the interval is looked at.
const LEAST: usize = 8;
const RESAMPLES: usize = 400;

/// What the measures of a probe found, in their order; `None` where a tensor is zero or not finite.
pub(super) struct Found {
    pub draws: usize,
    pub measured: Vec<Option<Measured>>,
}

/// Runs the probe on weights, and on gradients of the outputs, of one seed after another.
pub(super) fn measure(
    compiler: &Compiler<'_>,
    probe: Probe,
    inputs: &[(&str, TensorView<'_>)],
    most: usize,
) -> Result<Found, Error> {
    let Probe { graph, cotangents, measures, .. } = probe;
    let model = Model::from_graph(graph)?.beside(compiler.model());
    let mut squares: Vec<Vec<f64>> = vec![Vec::new(); measures.len()];
    let mut found = Found { draws: 0, measured: Vec::new() };
    while found.draws < most {
        let mut options = compiler.options.clone();
        options.seed = options.seed.wrapping_add(found.draws as u64);
        // Sizes are numbers already.
        options.sizes.clear();
        let drawn = cotangents.iter().map(|(name, shape)| normal(name, shape, options.seed));
        let drawn = drawn.collect::<Result<Vec<Tensor>, _>>()?;
        let gradients = cotangents.iter().zip(&drawn).map(|((name, _), tensor)| (&**name, tensor.view()));
        let given: Vec<(&str, TensorView<'_>)> = inputs.iter().copied().chain(gradients).collect();
        let compiled = model.compiler().with_options(options).compile()?;
        let outputs = compiled.run(&given)?;
        for (i, squares) in squares.iter_mut().enumerate() {
            let number = |at: usize| outputs[at].view().to_f64_vec().first().copied().unwrap_or(f64::NAN);
            let (peak, square) = (number(2 * i), number(2 * i + 1));
            squares.push(if peak == 0.0 { 0.0 } else { peak * peak * square });
        }
        found.draws += 1;
        if found.draws >= LEAST || found.draws == most {
            found.measured = squares.iter().map(|q| summary(q)).collect();
            let narrow = |m: &Measured| m.high - m.low <= 2.0 * WANTED * m.rms;
            if found.measured.iter().flatten().all(narrow) {
                break;
            }
        }
    }
    Ok(found)
}

/// Standard normal numbers.
fn normal(name: &str, shape: &[usize], seed: u64) -> Result<Tensor, Error> {
    let mut tensor = Tensor::zeros(DType::F32, shape)?;
    fill(&Distribution::Normal { mean: 0.0, std: 1.0 }, seed, name, 0, tensor.as_mut_slice::<f32>()?);
    Ok(tensor)
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
