//! Meaning of pooling.

use super::float::{Float, max};
use super::order::greatest_places;
use super::tensor::{Data, Tensor, for_each_index, strides};
use super::window::{Axis, axes};
use super::{EvalError, Kernel};
use crate::op::{Padding, PoolAttrs};
use crate::shape::adaptive_bin;

/// Greatest element of each window; padding never wins, NaN does.
pub(super) fn max_pool<T: Float>(k: &Kernel<'_, T>, a: &PoolAttrs) -> Result<Tensor<T>, EvalError> {
    if let Data::Int(x) = &k.x[0].data {
        let greatest = greatest_places(k, a)?.into_iter().map(|at| x[at]).collect::<Vec<_>>();
        return Tensor::ints(k.shape(0)?, greatest).ok_or(EvalError::Kind);
    }
    pool(k, a, |axes, window, image, strides| {
        let mut best = T::NEG_INFINITY;
        each_tap(axes, window, |taps| {
            if let Some(at) = place(axes, window, taps, strides) {
                best = max(best, image[at]);
            }
        });
        best
    })
}

/// Mean of each window. Padding counts as zeros with `include_pad`; what lies beyond the padding (in ceil mode) never
/// counts.
pub(super) fn avg_pool<T: Float>(
    k: &Kernel<'_, T>,
    a: &PoolAttrs,
    include_pad: bool,
) -> Result<Tensor<T>, EvalError> {
    let rank = a.kernel.len();
    let after = match &a.pad {
        Padding::Explicit(p) => p[rank..].to_vec(),
        Padding::SameUpper | Padding::SameLower => return Err(EvalError::Kind),
    };
    pool(k, a, |axes, window, image, strides| {
        let (mut sum, mut count) = (T::ZERO, 0u32);
        each_tap(axes, window, |taps| {
            let inside = place(axes, window, taps, strides);
            if let Some(at) = inside {
                sum += image[at];
            }
            let padded = || {
                axes.iter()
                    .enumerate()
                    .all(|(i, axis)| axis.position(window[i], taps[i]) < axis.large as i64 + after[i])
            };
            count += u32::from(inside.is_some() || (include_pad && padded()));
        });
        // A dilated window on a small image may see padding alone.
        sum / T::from_f64(f64::from(count.max(1)))
    })
}

/// Applies `f` to every window of every channel.
fn pool<T: Float>(
    k: &Kernel<'_, T>,
    a: &PoolAttrs,
    f: impl Fn(&[Axis], &[usize], &[T], &[usize]) -> T,
) -> Result<Tensor<T>, EvalError> {
    let (x, shape) = (k.floats(0)?, k.shape(0)?);
    let image = &k.x[0].shape[2..];
    let kernel: Vec<usize> = a.kernel.iter().map(|v| *v as usize).collect();
    let axes = axes(&shape[2..], image, &kernel, &a.stride, &a.dilation, &a.pad).ok_or(EvalError::Kind)?;
    let strides = strides(image);
    let mut y = Vec::with_capacity(shape.iter().product());
    for plane in x.chunks_exact(image.iter().product()) {
        for_each_index(&shape[2..], |window| y.push(f(&axes, window, plane, &strides)));
    }
    k.tensor(y)
}

fn each_tap(axes: &[Axis], window: &[usize], f: impl FnMut(&[usize])) {
    // Windows have as many axes as the image, at most six.
    let mut kernel = [0; crate::types::MAX_RANK];
    for (k, a) in kernel.iter_mut().zip(axes) {
        *k = a.kernel;
    }
    for_each_index(&kernel[..window.len()], f);
}

/// Offset in the image of one element of a window, unless it lies outside.
fn place(axes: &[Axis], window: &[usize], taps: &[usize], strides: &[usize]) -> Option<usize> {
    let mut at = 0;
    for (i, axis) in axes.iter().enumerate() {
        at += axis.place(window[i], taps[i])? * strides[i];
    }
    Some(at)
}

/// Max over the b × b adaptive bins of each level; each level is laid out [C, b, b].
pub(super) fn spp<T: Float>(k: &Kernel<'_, T>, bins: &[usize]) -> Result<Tensor<T>, EvalError> {
    let x = k.floats(0)?;
    let [n, c, h, w] = k.x[0].shape[..] else { return Err(EvalError::Kind) };
    let mut y = Vec::with_capacity(k.shape(0)?.iter().product());
    for image in 0..n {
        for b in bins {
            for channel in 0..c {
                let plane = &x[(image * c + channel) * h * w..][..h * w];
                for_each_index(&[*b, *b], |bin| {
                    let (rows, columns) = (adaptive_bin(bin[0], *b, h), adaptive_bin(bin[1], *b, w));
                    let mut best = T::NEG_INFINITY;
                    for row in rows.0..rows.1 {
                        for v in &plane[row * w + columns.0..row * w + columns.1] {
                            best = max(best, *v);
                        }
                    }
                    y.push(best);
                });
            }
        }
    }
    k.tensor(y)
}

/// Each window hands its gradient to its first element that equals its maximum.
pub(super) fn max_pool_grad<T: Float>(k: &Kernel<'_, T>, a: &PoolAttrs) -> Result<Tensor<T>, EvalError> {
    let (x, y, g) = (k.floats(0)?, k.floats(1)?, k.floats(2)?);
    let (image, windows) = (&k.x[0].shape[2..], &k.x[1].shape[2..]);
    let kernel: Vec<usize> = a.kernel.iter().map(|v| *v as usize).collect();
    let axes = axes(windows, image, &kernel, &a.stride, &a.dilation, &a.pad).ok_or(EvalError::Kind)?;
    let strides = strides(image);
    let (plane, pooled) = (image.iter().product::<usize>(), windows.iter().product::<usize>());
    let mut dx = vec![T::ZERO; x.len()];
    for (i, (x, dx)) in x.chunks_exact(plane).zip(dx.chunks_exact_mut(plane)).enumerate() {
        let mut at = i * pooled;
        for_each_index(windows, |window| {
            let mut first = None;
            each_tap(&axes, window, |taps| {
                let inside = place(&axes, window, taps, &strides);
                first = first.or(inside.filter(|p| x[*p] == y[at]));
            });
            if let Some(place) = first {
                dx[place] += g[at];
            }
            at += 1;
        });
    }
    k.tensor(dx)
}
