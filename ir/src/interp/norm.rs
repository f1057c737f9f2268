//! Meaning of the normalisations.

use super::float::Float;
use super::tensor::Tensor;
use super::{EvalError, Kernel};

/// (x − mean) / √(var + eps) · scale + shift per channel
pub(super) fn batch_norm<T: Float>(k: &Kernel<'_, T>, eps: f64) -> Result<Tensor<T>, EvalError> {
    let (x, scale, shift) = (k.floats(0)?, k.floats(1)?, k.floats(2)?);
    let (mean, var) = (k.floats(3)?, k.floats(4)?);
    let shape = &k.x[0].shape;
    let plane: usize = shape[2..].iter().product();
    let mut y = Vec::with_capacity(x.len());
    for (nc, plane) in x.chunks_exact(plane).enumerate() {
        let c = nc % shape[1];
        let std = (var[c] + T::from_f64(eps)).sqrt();
        y.extend(plane.iter().map(|x| (*x - mean[c]) / std * scale[c] + shift[c]));
    }
    k.tensor(y)
}

/// Normalises over the axes from `axis` on, then scales and shifts each element.
pub(super) fn layer_norm<T: Float>(k: &Kernel<'_, T>, axis: usize, eps: f64) -> Result<Tensor<T>, EvalError> {
    let (x, scale) = (k.floats(0)?, k.floats(1)?);
    let shift = if k.x.len() > 2 { Some(k.floats(2)?) } else { None };
    let size: usize = k.x[0].shape[axis..].iter().product();
    let mut y = Vec::with_capacity(x.len());
    for group in x.chunks_exact(size) {
        let (mean, std) = moments(group, eps);
        for (i, x) in group.iter().enumerate() {
            let v = (*x - mean) / std * scale[i];
            y.push(shift.map_or(v, |s| v + s[i]));
        }
    }
    k.tensor(y)
}

/// Normalises each channel of each image over its spatial axes.
pub(super) fn instance_norm<T: Float>(k: &Kernel<'_, T>, eps: f64) -> Result<Tensor<T>, EvalError> {
    let (x, scale, shift) = (k.floats(0)?, k.floats(1)?, k.floats(2)?);
    let shape = &k.x[0].shape;
    let plane: usize = shape[2..].iter().product();
    let mut y = Vec::with_capacity(x.len());
    for (nc, plane) in x.chunks_exact(plane).enumerate() {
        let c = nc % shape[1];
        let (mean, std) = moments(plane, eps);
        y.extend(plane.iter().map(|x| (*x - mean) / std * scale[c] + shift[c]));
    }
    k.tensor(y)
}

/// Mean and √(variance + eps), the variance being that of the population.
fn moments<T: Float>(values: &[T], eps: f64) -> (T, T) {
    let n = T::from_f64(values.len() as f64);
    let (mut sum, mut squares) = (T::ZERO, T::ZERO);
    values.iter().for_each(|v| sum += *v);
    let mean = sum / n;
    values.iter().for_each(|v| squares += (*v - mean) * (*v - mean));
    (mean, (squares / n + T::from_f64(eps)).sqrt())
}
