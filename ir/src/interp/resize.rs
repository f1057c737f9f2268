//! Meaning of resize, and its coordinate arithmetic, which generated code shares.

use super::float::Float;
use super::tensor::Tensor;
use super::{EvalError, Kernel};
use crate::op::{NearestMode, ResizeAttrs, ResizeCoords, ResizeMode, ResizeTarget};
use std::collections::BTreeMap;

/// Input elements and weights of every output element along one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeTaps {
    /// Elements that each output element mixes; at least 1.
    pub width: usize,
    /// `width` input places an output element.
    pub places: Vec<usize>,
    /// As `places`. None is zero by padding: an infinity in the input must not become a NaN.
    pub weights: Vec<f64>,
    /// Output elements whose coordinate lies outside of the input, with `crop_and_resize`: they are the extrapolation value.
    pub outside: Vec<bool>,
}

impl ResizeTaps {
    /// The taps along spatial axis `i`, of `input` and `output` elements.
    pub fn new(a: &ResizeAttrs, i: usize, input: usize, output: usize) -> ResizeTaps {
        let scale = resize_scale(&a.target, i, input, output);
        let mut rows = Vec::with_capacity(output);
        let mut outside = Vec::with_capacity(output);
        for x in 0..output {
            let c = source_coordinate(a, i, x, input, output);
            outside.push(
                matches!(a.coords, ResizeCoords::CropAndResize(_))
                    && !(0.0..=(input - 1) as f64).contains(&c),
            );
            rows.push(row(a, c, input, scale));
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(1);
        let (mut places, mut weights) = (vec![], vec![]);
        for row in rows {
            let (last, more) = (row.len() - 1, width - row.len());
            for (k, (place, weight)) in row.into_iter().enumerate() {
                // Shorter rows repeat their last place, with its weight in equal parts.
                let times = if k == last { 1 + more } else { 1 };
                for _ in 0..times {
                    places.push(place);
                    weights.push(weight / times as f64);
                }
            }
        }
        ResizeTaps { width, places, weights, outside }
    }
}

/// Places and weights around a coordinate, in ascending order of place; never empty.
fn row(a: &ResizeAttrs, coordinate: f64, input: usize, scale: f64) -> Vec<(usize, f64)> {
    let greatest = (input - 1) as f64;
    // Far outside all elements are the edge.
    let x = coordinate.clamp(-4.0, greatest + 4.0);
    let nearest = |mode| vec![(nearest_source(mode, x, input), 1.0)];
    let support = match a.mode {
        ResizeMode::Nearest(mode) => return nearest(mode),
        ResizeMode::Linear => 1.0,
        ResizeMode::Cubic { .. } => 2.0,
    };
    // An output of one element at least covers the whole input: no smaller scale makes a difference.
    let shrink = if a.antialias { scale.clamp(0.25 / input as f64, 1.0) } else { 1.0 };
    let (first, last) = ((x - support / shrink).ceil() as i64, (x + support / shrink).floor() as i64);
    let mut taps: BTreeMap<usize, f64> = BTreeMap::new();
    let mut sum = 0.0;
    for j in first..=last {
        let distance = ((j as f64 - x) * shrink).abs();
        let weight = match a.mode {
            ResizeMode::Cubic { a } => cubic(distance, a.0),
            ResizeMode::Linear | ResizeMode::Nearest(_) => (1.0 - distance).max(0.0),
        };
        let inside = (0..input as i64).contains(&j);
        if weight == 0.0 || (a.exclude_outside && !inside) {
            continue;
        }
        sum += weight;
        *taps.entry(j.clamp(0, input as i64 - 1) as usize).or_insert(0.0) += weight;
    }
    // Weights of every element sum to one, but for rounding, unless some were left out.
    if sum == 0.0 {
        return nearest(NearestMode::RoundPreferFloor);
    }
    taps.into_iter().map(|(place, weight)| (place, weight / sum)).collect()
}

/// Keys' cubic convolution kernel.
fn cubic(distance: f64, a: f64) -> f64 {
    let d = distance;
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}

/// The factor along spatial axis `i`: as given, or output size / input size.
pub fn resize_scale(target: &ResizeTarget, i: usize, input: usize, output: usize) -> f64 {
    match target {
        ResizeTarget::Scales(scales) | ResizeTarget::Both { scales, .. } => scales[i].0,
        ResizeTarget::Sizes(_) => output as f64 / input as f64,
    }
}

/// The input coordinate of output element `x` along spatial axis `i`, of `input` and `output` elements.
pub fn source_coordinate(a: &ResizeAttrs, i: usize, x: usize, input: usize, output: usize) -> f64 {
    let scale = resize_scale(&a.target, i, input, output);
    let (x, greatest) = (x as f64, (input - 1) as f64);
    // As the specification's reference has it, the length is not rounded where a factor is given.
    let length = scale * input as f64;
    let half_pixel = (x + 0.5) / scale - 0.5;
    match &a.coords {
        ResizeCoords::PytorchHalfPixel if output == 1 => 0.0,
        ResizeCoords::HalfPixel | ResizeCoords::PytorchHalfPixel => half_pixel,
        ResizeCoords::PixelCentre => half_pixel + 0.5,
        ResizeCoords::HalfPixelSymmetric => half_pixel + input as f64 / 2.0 * (1.0 - output as f64 / length),
        ResizeCoords::AlignCorners if output == 1 => 0.0,
        ResizeCoords::AlignCorners => x * greatest / (length - 1.0),
        ResizeCoords::Asymmetric => x / scale,
        ResizeCoords::CropAndResize(roi) => {
            let (start, end) = (roi[i].0, roi[roi.len() / 2 + i].0);
            if output == 1 {
                0.5 * (start + end) * greatest
            } else {
                start * greatest + x * (end - start) * greatest / (length - 1.0)
            }
        }
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

/// True where the axis keeps its elements.
pub fn resize_keeps(a: &ResizeAttrs, i: usize, input: usize, output: usize) -> bool {
    let whole = match &a.coords {
        ResizeCoords::CropAndResize(roi) => roi[i].0 == 0.0 && roi[roi.len() / 2 + i].0 == 1.0,
        _ => true,
    };
    whole && input == output && resize_scale(&a.target, i, input, output) == 1.0
}

/// One spatial axis after the other: all modes are separable.
pub(super) fn resize<T: Float>(k: &Kernel<'_, T>, a: &ResizeAttrs) -> Result<Tensor<T>, EvalError> {
    let target = k.shape(0)?;
    let mut x = k.floats(0)?.to_vec();
    let mut shape = k.x[0].shape.clone();
    for axis in 2..shape.len() {
        let (input, output) = (shape[axis], target[axis]);
        if resize_keeps(a, axis - 2, input, output) {
            continue;
        }
        let taps = ResizeTaps::new(a, axis - 2, input, output);
        let inner: usize = shape[axis + 1..].iter().product();
        let outer: usize = shape[..axis].iter().product();
        let mut y = Vec::with_capacity(outer * output * inner);
        for o in 0..outer {
            for i in 0..output {
                let row = i * taps.width..(i + 1) * taps.width;
                for e in 0..inner {
                    if taps.outside[i] {
                        y.push(T::from_f64(a.extrapolation.0));
                        continue;
                    }
                    let element = |place: usize| x[(o * input + place) * inner + e];
                    let (places, weights) = (&taps.places[row.clone()], &taps.weights[row.clone()]);
                    let terms = places.iter().zip(weights).map(|(p, w)| T::from_f64(*w) * element(*p));
                    y.push(terms.reduce(|a, b| a + b).unwrap_or(T::from_f64(0.0)));
                }
            }
        }
        shape[axis] = output;
        x = y;
    }
    k.tensor(x)
}
