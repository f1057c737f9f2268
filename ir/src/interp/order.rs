//! Meaning of operations that order elements, add them up, or scatter them.

use super::elementwise::{apply_binary, binary_int};
use super::float::Float;
use super::layout::{dot, gather_place};
use super::tensor::{Data, Tensor, for_each_index, strides};
use super::window::{Axis, axes};
use super::{EvalError, Kernel};
use crate::dtype::DType;
use crate::op::{ArgKind, Binary, CumulateKind, PoolAttrs, ScatterReduction};
use std::cmp::Ordering;

/// The order of two elements: NaN is above all numbers, zeros of both signs are equal.
fn compare<T: Float>(data: &Data<T>, dtype: DType, a: usize, b: usize) -> Ordering {
    match data {
        Data::Float(v) => {
            let (a, b) = (v[a], v[b]);
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        Data::Int(v) if dtype == DType::U64 => (v[a] as u64).cmp(&(v[b] as u64)),
        Data::Int(v) => v[a].cmp(&v[b]),
        Data::Bool(v) => v[a].cmp(&v[b]),
    }
}

fn is_nan<T: Float>(data: &Data<T>, i: usize) -> bool {
    matches!(data, Data::Float(v) if v[i].is_nan())
}

/// For every line along an axis the places of its elements, the line's first place in a tensor of the other axes apart.
fn lines(shape: &[usize], axis: usize) -> impl Iterator<Item = Vec<usize>> {
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    (0..outer * inner)
        .map(move |k| (0..size).map(|j| (k / inner * size + j) * inner + k % inner).collect::<Vec<usize>>())
}

pub(super) fn arg_reduce<T: Float>(
    k: &Kernel<'_, T>,
    kind: ArgKind,
    axis: usize,
    last: bool,
) -> Result<Tensor<T>, EvalError> {
    let (x, dtype) = (k.x[0], k.of);
    let better = |a: usize, b: usize| {
        let order = match (is_nan(&x.data, a), is_nan(&x.data, b)) {
            (false, false) => compare(&x.data, dtype, a, b),
            (a, b) => return a && (!b || last),
        };
        let order = if kind == ArgKind::Min { order.reverse() } else { order };
        order == Ordering::Greater || (last && order == Ordering::Equal)
    };
    let best = |line: Vec<usize>| {
        (1..line.len()).fold(0, |best, j| if better(line[j], line[best]) { j } else { best }) as i64
    };
    Tensor::ints(k.shape(0)?, lines(&x.shape, axis).map(best).collect::<Vec<_>>()).ok_or(EvalError::Kind)
}

pub(super) fn arg_sort<T: Float>(
    k: &Kernel<'_, T>,
    axis: usize,
    descending: bool,
) -> Result<Tensor<T>, EvalError> {
    let (x, shape, dtype) = (k.x[0], k.shape(0)?, k.of);
    let mut places = vec![0; shape.iter().product()];
    for (from, to) in lines(&x.shape, axis).zip(lines(&shape, axis)) {
        let mut order: Vec<usize> = (0..from.len()).collect();
        order.sort_by(|a, b| {
            let order = compare(&x.data, dtype, from[*a], from[*b]);
            if descending { order.reverse() } else { order }
        });
        to.iter().zip(order).for_each(|(to, place)| places[*to] = place as i64);
    }
    Tensor::ints(shape, places).ok_or(EvalError::Kind)
}

pub(super) fn cumulate<T: Float>(
    k: &Kernel<'_, T>,
    kind: CumulateKind,
    axis: usize,
    exclusive: bool,
    reverse: bool,
) -> Result<Tensor<T>, EvalError> {
    let op = match kind {
        CumulateKind::Sum => Binary::Add,
        CumulateKind::Prod => Binary::Mul,
    };
    let (x, first) = (k.x[0], i64::from(kind == CumulateKind::Prod));
    let mut y = x.clone();
    for mut line in lines(&x.shape, axis) {
        if reverse {
            line.reverse();
        }
        match (&x.data, &mut y.data) {
            (Data::Float(x), Data::Float(y)) => {
                let mut acc = T::from_f64(first as f64);
                for at in line {
                    let next = apply_binary(op, acc, x[at]);
                    y[at] = if exclusive { acc } else { next };
                    acc = next;
                }
            }
            (Data::Int(x), Data::Int(y)) => {
                let mut acc = first;
                for at in line {
                    let next = binary_int(op, acc, x[at], k.dtype())?;
                    y[at] = if exclusive { acc } else { next };
                    acc = next;
                }
            }
            _ => return Err(EvalError::Kind),
        }
    }
    Ok(y)
}

pub(super) fn scatter_elements<T: Float>(
    k: &Kernel<'_, T>,
    axis: usize,
    reduction: ScatterReduction,
) -> Result<Tensor<T>, EvalError> {
    let [x, indices, _] = k.x else { return Err(EvalError::Kind) };
    if x.data.is_empty() {
        return Ok(Tensor::clone(x));
    }
    let Data::Int(places) = &indices.data else { return Err(EvalError::Kind) };
    let own = strides(&x.shape);
    let mut targets = Vec::with_capacity(places.len());
    for_each_index(&indices.shape, |index| {
        let place = gather_place(places[targets.len()], x.shape[axis]);
        targets.push(dot(index, &own) - index[axis] * own[axis] + place * own[axis]);
    });
    scatter(k, &targets, reduction)
}

pub(super) fn scatter_nd<T: Float>(
    k: &Kernel<'_, T>,
    reduction: ScatterReduction,
) -> Result<Tensor<T>, EvalError> {
    let [x, indices, _] = k.x else { return Err(EvalError::Kind) };
    if x.data.is_empty() {
        return Ok(Tensor::clone(x));
    }
    let Data::Int(places) = &indices.data else { return Err(EvalError::Kind) };
    let (own, depth) = (strides(&x.shape), indices.shape[indices.shape.len() - 1]);
    let slice: usize = x.shape[depth..].iter().product();
    let row = |row: &[i64]| {
        let along = |(i, place): (usize, &i64)| gather_place(*place, x.shape[i]) * own[i];
        row.iter().enumerate().map(along).sum::<usize>()
    };
    let starts = places.chunks_exact(depth).map(row);
    let targets: Vec<usize> = starts.flat_map(|start| start..start + slice).collect();
    scatter(k, &targets, reduction)
}

/// x with the updates, one after the other, at these places.
fn scatter<T: Float>(
    k: &Kernel<'_, T>,
    targets: &[usize],
    reduction: ScatterReduction,
) -> Result<Tensor<T>, EvalError> {
    let op = match reduction {
        ScatterReduction::None => None,
        ScatterReduction::Add => Some(Binary::Add),
        ScatterReduction::Mul => Some(Binary::Mul),
        ScatterReduction::Max => Some(Binary::Max),
        ScatterReduction::Min => Some(Binary::Min),
    };
    let mut y = k.x[0].clone();
    match (&mut y.data, &k.x[2].data) {
        (Data::Float(y), Data::Float(updates)) => {
            for (at, update) in targets.iter().zip(updates) {
                y[*at] = op.map_or(*update, |op| apply_binary(op, y[*at], *update));
            }
        }
        (Data::Int(y), Data::Int(updates)) => {
            for (at, update) in targets.iter().zip(updates) {
                y[*at] = match op {
                    None => *update,
                    Some(op) => binary_int(op, y[*at], *update, k.dtype())?,
                };
            }
        }
        (Data::Bool(y), Data::Bool(updates)) => {
            targets.iter().zip(updates).for_each(|(at, update)| y[*at] = *update);
        }
        _ => return Err(EvalError::Kind),
    }
    Ok(y)
}

pub(super) fn max_pool_indices<T: Float>(k: &Kernel<'_, T>, a: &PoolAttrs) -> Result<Tensor<T>, EvalError> {
    let places = greatest_places(k, a)?.into_iter().map(|at| at as i64).collect::<Vec<_>>();
    Tensor::ints(k.shape(0)?, places).ok_or(EvalError::Kind)
}

/// The first greatest element of each window, counted over all of x; any element of the plane for a window of padding.
pub(super) fn greatest_places<T: Float>(k: &Kernel<'_, T>, a: &PoolAttrs) -> Result<Vec<usize>, EvalError> {
    let (x, shape, dtype) = (k.x[0], k.shape(0)?, k.of);
    let (image, kernel) = (&x.shape[2..], a.kernel.iter().map(|v| *v as usize).collect::<Vec<_>>());
    let windows = axes(&shape[2..], image, &kernel, &a.stride, &a.dilation, &a.pad).ok_or(EvalError::Kind)?;
    let (own, plane) = (strides(image), image.iter().product::<usize>());
    let mut places = Vec::with_capacity(shape.iter().product());
    for start in (0..shape[0] * shape[1]).map(|p| p * plane) {
        for_each_index(&shape[2..], |window| {
            let mut best: Option<usize> = None;
            for_each_index(&kernel, |taps| {
                let along = |(i, axis): (usize, &Axis)| Some(axis.place(window[i], taps[i])? * own[i]);
                let Some(at) = windows.iter().enumerate().map(along).sum::<Option<usize>>() else { return };
                let at = start + at;
                let wins = best.is_none_or(|b| compare(&x.data, dtype, at, b) == Ordering::Greater);
                best = if wins { Some(at) } else { best };
            });
            places.push(best.unwrap_or(start));
        });
    }
    Ok(places)
}
