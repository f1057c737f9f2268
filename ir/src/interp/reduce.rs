//! Meaning of reductions and softmax.

use super::elementwise::binary_int;
use super::float::{Float, max, min};
use super::tensor::{Data, Tensor, for_each_index, strides};
use super::{EvalError, Kernel};
use crate::op::{Binary, ReduceKind};

/// exp(x − max) / Σ exp(x − max) along the axis
pub(super) fn softmax<T: Float>(k: &Kernel<'_, T>, axis: usize) -> Result<Tensor<T>, EvalError> {
    let (x, shape) = (k.floats(0)?, &k.x[0].shape);
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut y = vec![T::ZERO; x.len()];
    for outer in 0..x.len() / (size * inner) {
        for i in 0..inner {
            let at = |j: usize| (outer * size + j) * inner + i;
            let greatest = (0..size).fold(T::NEG_INFINITY, |m, j| max(m, x[at(j)]));
            let mut sum = T::ZERO;
            for j in 0..size {
                let e = T::from_f64((x[at(j)] - greatest).to_f64().exp());
                y[at(j)] = e;
                sum += e;
            }
            for j in 0..size {
                y[at(j)] = y[at(j)] / sum;
            }
        }
    }
    k.tensor(y)
}

/// One value for all elements that differ along `axes` alone.
pub(super) fn reduce<T: Float>(
    k: &Kernel<'_, T>,
    kind: ReduceKind,
    axes: &[usize],
) -> Result<Tensor<T>, EvalError> {
    let (x, shape) = (k.x[0], k.shape(0)?);
    // The result's strides as seen from x: 0 along reduced axes.
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(i, d)| if axes.contains(&i) { 1 } else { *d }).collect();
    let kept_strides = strides(&kept);
    let step: Vec<usize> =
        (0..kept.len()).map(|i| if axes.contains(&i) { 0 } else { kept_strides[i] }).collect();
    let total: usize = kept.iter().product();
    let count: usize = axes.iter().map(|a| x.shape[*a]).product();
    let mut targets = Vec::with_capacity(x.data.len());
    for_each_index(&x.shape, |index| {
        targets.push(index.iter().zip(&step).map(|(i, s)| i * s).sum::<usize>());
    });
    match &x.data {
        Data::Float(v) => {
            let mut y: Vec<Option<T>> = vec![None; total];
            for (v, at) in v.iter().zip(&targets) {
                y[*at] = Some(match (y[*at], kind) {
                    (None, _) => *v,
                    (Some(a), ReduceKind::Sum | ReduceKind::Mean) => a + *v,
                    (Some(a), ReduceKind::Max) => max(a, *v),
                    (Some(a), ReduceKind::Min) => min(a, *v),
                    (Some(a), ReduceKind::Prod) => a * *v,
                });
            }
            let n = T::from_f64(count as f64);
            let finish = |v: Option<T>| match kind {
                ReduceKind::Mean => v.unwrap_or(T::ZERO) / n,
                ReduceKind::Sum => v.unwrap_or(T::ZERO),
                ReduceKind::Max => v.unwrap_or(T::NEG_INFINITY),
                ReduceKind::Min => v.unwrap_or(-T::NEG_INFINITY),
                ReduceKind::Prod => v.unwrap_or(T::ONE),
            };
            k.tensor(y.into_iter().map(finish).collect())
        }
        Data::Int(v) => {
            let op = match kind {
                ReduceKind::Sum => Binary::Add,
                ReduceKind::Max => Binary::Max,
                ReduceKind::Min => Binary::Min,
                ReduceKind::Prod => Binary::Mul,
                ReduceKind::Mean => return Err(EvalError::Kind),
            };
            let mut y: Vec<Option<i64>> = vec![None; total];
            for (v, at) in v.iter().zip(&targets) {
                y[*at] = Some(match y[*at] {
                    None => *v,
                    Some(a) => binary_int(op, a, *v, k.dtype())?,
                });
            }
            let none = match kind {
                ReduceKind::Prod => 1,
                ReduceKind::Max => k.dtype().least_int(),
                ReduceKind::Min => k.dtype().greatest_int(),
                ReduceKind::Sum | ReduceKind::Mean => 0,
            };
            let y = y.into_iter().map(|v| v.unwrap_or(none)).collect::<Vec<_>>();
            Tensor::ints(shape, y).ok_or(EvalError::Kind)
        }
        Data::Bool(v) => {
            let start = kind == ReduceKind::Min;
            let mut y = vec![start; total];
            v.iter().zip(&targets).filter(|(v, _)| **v != start).for_each(|(v, at)| y[*at] = *v);
            Ok(Tensor { shape, data: Data::Bool(y) })
        }
    }
}
