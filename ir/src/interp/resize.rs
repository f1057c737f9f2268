//! Meaning of resize, and its coordinate arithmetic, which generated code shares.

use super::float::Float;
use super::tensor::Tensor;
use super::{EvalError, Kernel};
use crate::op::{NearestMode, ResizeAttrs, ResizeCoords, ResizeMode, ResizeTarget};

/// The factor along spatial axis `i`: as given, or output size / input size.
pub fn resize_scale(target: &ResizeTarget, i: usize, input: usize, output: usize) -> f64 {
    match target {
        ResizeTarget::Scales(scales) => scales[i].0,
        ResizeTarget::Sizes(_) => output as f64 / input as f64,
    }
}

/// The input coordinate of output element `x`, along an axis of `input` and `output` elements.
pub fn source_coordinate(coords: ResizeCoords, x: usize, input: usize, output: usize, scale: f64) -> f64 {
    let x = x as f64;
    match coords {
        ResizeCoords::PytorchHalfPixel if output == 1 => 0.0,
        ResizeCoords::HalfPixel | ResizeCoords::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
        ResizeCoords::AlignCorners if output == 1 => 0.0,
        ResizeCoords::AlignCorners => x * (input - 1) as f64 / (output - 1) as f64,
        ResizeCoords::Asymmetric => x / scale,
    }
}

/// The input element that nearest mode takes for a coordinate.
pub fn nearest_source(mode: NearestMode, coordinate: f64, input: usize) -> usize {
    let rounded = match mode {
        NearestMode::RoundPreferFloor => (coordinate - 0.5).ceil(),
        NearestMode::RoundPreferCeil => (coordinate + 0.5).floor(),
        NearestMode::Floor => coordinate.floor(),
        NearestMode::Ceil => coordinate.ceil(),
    };
    rounded.clamp(0.0, (input - 1) as f64) as usize
}

/// The two input elements that linear mode mixes for a coordinate, and the share of the second.
pub fn linear_source(coordinate: f64, input: usize) -> (usize, usize, f64) {
    let c = coordinate.clamp(0.0, (input - 1) as f64);
    let first = c.floor() as usize;
    (first, (first + 1).min(input - 1), c - c.floor())
}

/// One spatial axis after the other; linear interpolation is separable.
pub(super) fn resize<T: Float>(k: &Kernel<'_, T>, a: &ResizeAttrs) -> Result<Tensor<T>, EvalError> {
    let target = k.shape(0)?;
    let mut x = k.floats(0)?.to_vec();
    let mut shape = k.x[0].shape.clone();
    for axis in 2..shape.len() {
        let (input, output) = (shape[axis], target[axis]);
        let scale = resize_scale(&a.target, axis - 2, input, output);
        let inner: usize = shape[axis + 1..].iter().product();
        let outer: usize = shape[..axis].iter().product();
        let mut y = Vec::with_capacity(outer * output * inner);
        for o in 0..outer {
            let row = |i: usize| &x[(o * input + i) * inner..][..inner];
            for i in 0..output {
                let coordinate = source_coordinate(a.coords, i, input, output, scale);
                match a.mode {
                    ResizeMode::Nearest(mode) => {
                        y.extend_from_slice(row(nearest_source(mode, coordinate, input)));
                    }
                    ResizeMode::Linear => {
                        let (first, second, share) = linear_source(coordinate, input);
                        let (p, q) = (T::from_f64(1.0 - share), T::from_f64(share));
                        y.extend(row(first).iter().zip(row(second)).map(|(a, b)| p * *a + q * *b));
                    }
                }
            }
        }
        shape[axis] = output;
        x = y;
    }
    k.tensor(x)
}
