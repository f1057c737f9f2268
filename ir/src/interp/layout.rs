//! Meaning of the operations that move elements.

use super::elementwise::broadcast_strides;
use super::float::Float;
use super::tensor::{Data, Tensor, strides};
use super::{EvalError, Kernel};
use crate::dim::Dim;
use crate::kernel::nest::place;
use crate::op::{DepthMode, PadMode};

pub(super) fn concat<T: Float>(k: &Kernel<'_, T>, axis: usize) -> Result<Tensor<T>, EvalError> {
    let shape = k.shape(0)?;
    let outer: usize = shape[..axis].iter().product();
    let data = match &k.x[0].data {
        Data::Float(_) => Data::Float(join(k, axis, outer, |d| match d {
            Data::Float(v) => Some(v),
            Data::Int(_) | Data::Bool(_) => None,
        })?),
        Data::Int(_) => Data::Int(join(k, axis, outer, |d| match d {
            Data::Int(v) => Some(v),
            Data::Float(_) | Data::Bool(_) => None,
        })?),
        Data::Bool(_) => Data::Bool(join(k, axis, outer, |d| match d {
            Data::Bool(v) => Some(v),
            Data::Float(_) | Data::Int(_) => None,
        })?),
    };
    Ok(Tensor { shape, data })
}

/// Alternates runs of all operands: each contributes `shape[axis..]` elements for each of the `outer` indices.
fn join<'t, T, V: Copy + 't>(
    k: &Kernel<'t, T>,
    axis: usize,
    outer: usize,
    elements: impl Fn(&'t Data<T>) -> Option<&'t Vec<V>>,
) -> Result<Vec<V>, EvalError> {
    let mut parts = Vec::with_capacity(k.x.len());
    for t in k.x {
        let v = elements(&t.data).ok_or(EvalError::Kind)?;
        parts.push((v, t.shape[axis..].iter().product::<usize>()));
    }
    let mut joined = Vec::with_capacity(parts.iter().map(|(v, _)| v.len()).sum());
    for i in 0..outer {
        for (v, run) in &parts {
            joined.extend_from_slice(&v[i * run..(i + 1) * run]);
        }
    }
    Ok(joined)
}

pub(super) fn split<T: Float>(k: &Kernel<'_, T>, axis: usize) -> Result<Vec<Tensor<T>>, EvalError> {
    let (x, own) = (k.x[0], strides(&k.x[0].shape));
    let mut start = 0;
    let mut parts = Vec::with_capacity(k.types.len());
    for result in 0..k.types.len() {
        let shape = k.shape(result)?;
        let size = shape[axis];
        parts.push(x.gather(shape, 0.0, |index| Some(start * own[axis] + dot(index, &own))));
        start += size;
    }
    Ok(parts)
}

pub(super) fn dot(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, s)| i * s).sum()
}

pub(super) fn slice<T: Float>(
    k: &Kernel<'_, T>,
    axes: &[usize],
    starts: &[Dim],
    steps: &[i64],
) -> Result<Tensor<T>, EvalError> {
    let (x, own) = (k.x[0], strides(&k.x[0].shape));
    if x.data.is_empty() {
        return nothing(k);
    }
    let mut places: Vec<(i64, i64)> = vec![(0, 1); own.len()];
    for ((axis, start), step) in axes.iter().zip(starts).zip(steps) {
        places[*axis] = (start.as_const().ok_or(EvalError::Kind)?, *step);
    }
    Ok(x.gather(k.shape(0)?, 0.0, |index| {
        let along = |i: usize| (places[i].0 + index[i] as i64 * places[i].1) as usize * own[i];
        Some((0..index.len()).map(along).sum())
    }))
}

pub(super) fn pad<T: Float>(k: &Kernel<'_, T>, pads: &[i64], mode: &PadMode) -> Result<Tensor<T>, EvalError> {
    let (x, own) = (k.x[0], strides(&k.x[0].shape));
    let fill = match mode {
        PadMode::Constant(v) => v.0,
        PadMode::Reflect | PadMode::Edge | PadMode::Wrap => 0.0,
    };
    Ok(x.gather(k.shape(0)?, fill, |index| {
        let mut at = 0;
        for (i, stride) in own.iter().enumerate() {
            let (place, size) = (index[i] as i64 - pads[i], x.shape[i] as i64);
            let place = match mode {
                _ if (0..size).contains(&place) => place,
                PadMode::Constant(_) => return None,
                PadMode::Edge => place.clamp(0, size - 1),
                PadMode::Wrap => place.rem_euclid(size),
                PadMode::Reflect if place < 0 => -place,
                PadMode::Reflect => 2 * (size - 1) - place,
            };
            at += place as usize * stride;
        }
        Some(at)
    }))
}

pub(super) fn transpose<T: Float>(k: &Kernel<'_, T>, perm: &[usize]) -> Result<Tensor<T>, EvalError> {
    let (x, own) = (k.x[0], strides(&k.x[0].shape));
    let moved: Vec<usize> = perm.iter().map(|p| own[*p]).collect();
    Ok(x.gather(k.shape(0)?, 0.0, |index| Some(dot(index, &moved))))
}

pub(super) fn expand<T: Float>(k: &Kernel<'_, T>) -> Result<Tensor<T>, EvalError> {
    let (x, shape) = (k.x[0], k.shape(0)?);
    let steps = broadcast_strides(&shape, &x.shape);
    Ok(x.gather(shape, 0.0, |index| Some(dot(index, &steps))))
}

pub(super) fn gather<T: Float>(k: &Kernel<'_, T>, axis: usize) -> Result<Tensor<T>, EvalError> {
    let (x, indices, own) = (k.x[0], k.x[1], strides(&k.x[0].shape));
    if x.data.is_empty() {
        return nothing(k);
    }
    let Data::Int(places) = &indices.data else { return Err(EvalError::Kind) };
    let (steps, rank) = (strides(&indices.shape), indices.shape.len());
    Ok(x.gather(k.shape(0)?, 0.0, |index| {
        let place = places[dot(&index[axis..axis + rank], &steps)];
        let (outer, inner) = (&index[..axis], &index[axis + rank..]);
        Some(dot(outer, &own) + gather_place(place, x.shape[axis]) * own[axis] + dot(inner, &own[axis + 1..]))
    }))
}

pub(super) fn gather_elements<T: Float>(k: &Kernel<'_, T>, axis: usize) -> Result<Tensor<T>, EvalError> {
    let (x, indices, own) = (k.x[0], k.x[1], strides(&k.x[0].shape));
    if x.data.is_empty() {
        return nothing(k);
    }
    let Data::Int(places) = &indices.data else { return Err(EvalError::Kind) };
    let steps = strides(&indices.shape);
    Ok(x.gather(k.shape(0)?, 0.0, |index| {
        let place = gather_place(places[dot(index, &steps)], x.shape[axis]);
        Some(dot(index, &own) - index[axis] * own[axis] + place * own[axis])
    }))
}

pub(super) fn gather_nd<T: Float>(k: &Kernel<'_, T>, batch: usize) -> Result<Tensor<T>, EvalError> {
    let (x, indices, own) = (k.x[0], k.x[1], strides(&k.x[0].shape));
    if x.data.is_empty() {
        return nothing(k);
    }
    let Data::Int(places) = &indices.data else { return Err(EvalError::Kind) };
    let (steps, outer) = (strides(&indices.shape), indices.shape.len() - 1);
    let depth = indices.shape[outer];
    Ok(x.gather(k.shape(0)?, 0.0, |index| {
        let row = dot(&index[..outer], &steps);
        let along = |i: usize| gather_place(places[row + i], x.shape[batch + i]) * own[batch + i];
        let slice = dot(&index[outer..], &own[batch + depth..]);
        Some(dot(&index[..batch], &own) + (0..depth).map(along).sum::<usize>() + slice)
    }))
}

/// Zeros: a part of nothing, where a size that data gives turns out to be 0.
fn nothing<T: Float>(k: &Kernel<'_, T>) -> Result<Tensor<T>, EvalError> {
    Ok(k.x[0].gather(k.shape(0)?, 0.0, |_| None))
}

/// [`place`] of tensors' sizes.
pub(super) fn gather_place(index: i64, size: usize) -> usize {
    place(index, size as i64) as usize
}

pub(super) fn depth_to_space<T: Float>(
    k: &Kernel<'_, T>,
    block: usize,
    mode: DepthMode,
) -> Result<Tensor<T>, EvalError> {
    let (x, shape) = (k.x[0], k.shape(0)?);
    let (own, channels) = (strides(&x.shape), shape[1]);
    Ok(x.gather(shape, 0.0, |index| {
        let (row, column) = (index[2] % block, index[3] % block);
        let channel = match mode {
            DepthMode::Dcr => (row * block + column) * channels + index[1],
            DepthMode::Crd => (index[1] * block + row) * block + column,
        };
        Some(dot(&[index[0], channel, index[2] / block, index[3] / block], &own))
    }))
}
