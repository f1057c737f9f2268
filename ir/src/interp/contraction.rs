//! Meaning of convolutions, dense layers and matrix products: sums of products, accumulated in `T`.

use super::elementwise::{broadcast_strides, wrap};
use super::float::Float;
use super::tensor::{Data, Tensor, for_each_index};
use super::window::{axes, taps};
use super::{EvalError, Kernel};
use crate::op::{ConvAttrs, ConvTransposeAttrs};

/// y[n, o, p] = bias[o] + Σ weight[o, c, t] · x[n, g·C + c, p · stride + t · dilation − pad]
pub(super) fn conv<T: Float>(k: &Kernel<'_, T>, a: &ConvAttrs) -> Result<Tensor<T>, EvalError> {
    let (x, w, shape) = (k.floats(0)?, k.floats(1)?, k.shape(0)?);
    let (xs, ws) = (&k.x[0].shape, &k.x[1].shape);
    let axes =
        axes(&shape[2..], &xs[2..], &ws[2..], &a.stride, &a.dilation, &a.pad).ok_or(EvalError::Kind)?;
    let taps = taps(&axes);
    let (in_plane, out_plane) = (xs[2..].iter().product::<usize>(), shape[2..].iter().product::<usize>());
    let (outputs, per_group) = (shape[1], ws[1]);
    let outputs_per_group = outputs / a.groups as usize;
    let mut y = biased(k, &shape)?;
    for (no, plane) in y.chunks_exact_mut(out_plane).enumerate() {
        let (n, o) = (no / outputs, no % outputs);
        for c in 0..per_group {
            let channel = o / outputs_per_group * per_group + c;
            let image = &x[(n * xs[1] + channel) * in_plane..][..in_plane];
            let weights = &w[(o * per_group + c) * taps.len()..][..taps.len()];
            for (tap, weight) in taps.iter().zip(weights) {
                for (small, large) in &tap.rows {
                    let out = &mut plane[*small..*small + tap.length];
                    if tap.stride == 1 {
                        for (y, x) in out.iter_mut().zip(&image[*large..*large + tap.length]) {
                            *y += *weight * *x;
                        }
                    } else {
                        for (y, x) in out.iter_mut().zip(image[*large..].iter().step_by(tap.stride)) {
                            *y += *weight * *x;
                        }
                    }
                }
            }
        }
    }
    k.tensor(y)
}

/// y[n, o, p · stride + t · dilation − pad] += weight[c, o, t] · x[n, c, p], from bias[o]
pub(super) fn conv_transpose<T: Float>(
    k: &Kernel<'_, T>,
    a: &ConvTransposeAttrs,
) -> Result<Tensor<T>, EvalError> {
    let (x, w, shape) = (k.floats(0)?, k.floats(1)?, k.shape(0)?);
    let (xs, ws) = (&k.x[0].shape, &k.x[1].shape);
    let axes =
        axes(&xs[2..], &shape[2..], &ws[2..], &a.stride, &a.dilation, &a.pad).ok_or(EvalError::Kind)?;
    let taps = taps(&axes);
    let (in_plane, out_plane) = (xs[2..].iter().product::<usize>(), shape[2..].iter().product::<usize>());
    let (inputs, outputs, per_group) = (xs[1], shape[1], ws[1]);
    let inputs_per_group = inputs / a.groups as usize;
    let mut y = biased(k, &shape)?;
    for (no, plane) in y.chunks_exact_mut(out_plane).enumerate() {
        let (n, o) = (no / outputs, no % outputs);
        let (group, o) = (o / per_group, o % per_group);
        for c in group * inputs_per_group..(group + 1) * inputs_per_group {
            let image = &x[(n * inputs + c) * in_plane..][..in_plane];
            let weights = &w[(c * per_group + o) * taps.len()..][..taps.len()];
            for (tap, weight) in taps.iter().zip(weights) {
                for (small, large) in &tap.rows {
                    let out = plane[*large..].iter_mut().step_by(tap.stride);
                    for (y, x) in out.zip(&image[*small..*small + tap.length]) {
                        *y += *weight * *x;
                    }
                }
            }
        }
    }
    k.tensor(y)
}

/// A tensor [N, O, …] filled with the bias, or with zeros.
fn biased<T: Float>(k: &Kernel<'_, T>, shape: &[usize]) -> Result<Vec<T>, EvalError> {
    let plane: usize = shape[2..].iter().product();
    let mut y = vec![T::ZERO; shape.iter().product()];
    if k.x.len() > 2 {
        let bias = k.floats(2)?;
        for (no, plane) in y.chunks_exact_mut(plane).enumerate() {
            plane.fill(bias[no % shape[1]]);
        }
    }
    Ok(y)
}

/// y[…, o] = bias[o] + Σ weight[o, i] · x[…, i]
pub(super) fn dense<T: Float>(k: &Kernel<'_, T>) -> Result<Tensor<T>, EvalError> {
    let (x, w) = (k.floats(0)?, k.floats(1)?);
    let inputs = k.x[1].shape[1];
    let bias = if k.x.len() > 2 { Some(k.floats(2)?) } else { None };
    let mut y = Vec::with_capacity(k.shape(0)?.iter().product());
    for row in x.chunks_exact(inputs) {
        for (o, weights) in w.chunks_exact(inputs).enumerate() {
            let mut sum = bias.map_or(T::ZERO, |b| b[o]);
            for (x, w) in row.iter().zip(weights) {
                sum += *x * *w;
            }
            y.push(sum);
        }
    }
    k.tensor(y)
}

/// c[…, m, n] = Σ a[…, m, k] · b[…, k, n]; a vector is a row on the left and a column on the right.
pub(super) fn matmul<T: Float>(k: &Kernel<'_, T>) -> Result<Tensor<T>, EvalError> {
    match (&k.x[0].data, &k.x[1].data) {
        (Data::Float(a), Data::Float(b)) => k.tensor(products(k, a, b, |sum, a, b| sum + a * b)?),
        (Data::Int(a), Data::Int(b)) => {
            let add = |sum: i64, a: i64, b: i64| sum.wrapping_add(a.wrapping_mul(b));
            let sums: Vec<i64> = products(k, a, b, add)?.into_iter().map(|v| wrap(v, k.dtype())).collect();
            Tensor::ints(k.shape(0)?, sums).ok_or(EvalError::Kind)
        }
        _ => Err(EvalError::Kind),
    }
}

fn products<T: Float, V: Copy + Default>(
    k: &Kernel<'_, T>,
    a: &[V],
    b: &[V],
    add: impl Fn(V, V, V) -> V,
) -> Result<Vec<V>, EvalError> {
    let matrix = |shape: &[usize], row: bool| match shape {
        [n] if row => (vec![], 1, *n),
        [n] => (vec![], *n, 1),
        [batch @ .., m, n] => (batch.to_vec(), *m, *n),
        [] => (vec![], 1, 1),
    };
    let (a_batch, m, inner) = matrix(&k.x[0].shape, true);
    let (b_batch, _, n) = matrix(&k.x[1].shape, false);
    let shape = k.shape(0)?;
    // Axes that a vector adds are not in the result.
    let batch = &shape[..a_batch.len().max(b_batch.len())];
    let (sa, sb) = (broadcast_strides(batch, &a_batch), broadcast_strides(batch, &b_batch));
    let mut y = vec![V::default(); shape.iter().product()];
    if y.is_empty() || inner == 0 {
        return Ok(y);
    }
    let mut out = y.chunks_exact_mut(m * n);
    for_each_index(batch, |index| {
        let at = |s: &[usize]| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
        let (a, b) = (&a[at(&sa) * m * inner..], &b[at(&sb) * inner * n..]);
        let Some(y) = out.next() else { return };
        for (row, a) in y.chunks_exact_mut(n).zip(a.chunks_exact(inner)) {
            for (a, b) in a.iter().zip(b.chunks_exact(n)) {
                for (y, b) in row.iter_mut().zip(b) {
                    *y = add(*y, *a, *b);
                }
            }
        }
    });
    Ok(y)
}

/// w[o, c, t] = Σ g[n, o, p] · x[n, c, p · stride + t · dilation − pad] over n and p
pub(super) fn conv_weight_grad<T: Float>(k: &Kernel<'_, T>, a: &ConvAttrs) -> Result<Tensor<T>, EvalError> {
    let (x, g, shape) = (k.floats(0)?, k.floats(1)?, k.shape(0)?);
    let (xs, gs) = (&k.x[0].shape, &k.x[1].shape);
    let axes =
        axes(&gs[2..], &xs[2..], &shape[2..], &a.stride, &a.dilation, &a.pad).ok_or(EvalError::Kind)?;
    let taps = taps(&axes);
    let (x_plane, g_plane) = (xs[2..].iter().product::<usize>(), gs[2..].iter().product::<usize>());
    let (outputs, per_group) = (shape[0], shape[1]);
    let outputs_per_group = outputs / a.groups as usize;
    let mut w = vec![T::ZERO; shape.iter().product()];
    for (oc, weights) in w.chunks_exact_mut(taps.len()).enumerate() {
        let (o, c) = (oc / per_group, oc % per_group);
        let channel = o / outputs_per_group * per_group + c;
        for n in 0..xs[0] {
            let image = &x[(n * xs[1] + channel) * x_plane..][..x_plane];
            let gradient = &g[(n * outputs + o) * g_plane..][..g_plane];
            for (weight, tap) in weights.iter_mut().zip(&taps) {
                for (small, large) in &tap.rows {
                    let places = image[*large..].iter().step_by(tap.stride);
                    for (g, x) in gradient[*small..*small + tap.length].iter().zip(places) {
                        *weight += *g * *x;
                    }
                }
            }
        }
    }
    k.tensor(w)
}
