//! Shape rules of operations that order elements, add them up, or scatter them.

use super::layout::{element_indices, integer_indices, rows_of_places};
use super::pool::pool;
use super::{Cx, ShapeError};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::op::{PoolAttrs, ScatterReduction};
use crate::types::{ShapeDisplay, TensorType};

pub(crate) fn arg_reduce(cx: &Cx<'_>, axis: usize, keep: bool) -> Result<TensorType, ShapeError> {
    numbers(cx)?;
    cx.axis(axis)?;
    let mut shape = cx.x().shape.clone();
    not_empty(cx, &shape[axis])?;
    match keep {
        true => shape[axis] = Dim::Const(1),
        false => drop(shape.remove(axis)),
    }
    Ok(TensorType::new(DType::I64, shape))
}

pub(crate) fn arg_sort(cx: &Cx<'_>, axis: usize, count: &Dim) -> Result<TensorType, ShapeError> {
    numbers(cx)?;
    cx.axis(axis)?;
    let mut shape = cx.x().shape.clone();
    let rest = shape[axis].sub(count)?;
    if rest.bounds(cx.facts).0.is_none_or(|least| least < 0) {
        return Err(cx
            .err(format!("{}: the first {count} of {} elements", cx.name(), shape[axis]))
            .help("`count` is at most the size of the axis"));
    }
    shape[axis] = count.clone();
    Ok(TensorType::new(DType::I64, shape))
}

pub(crate) fn cumulate(cx: &Cx<'_>, axis: usize) -> Result<TensorType, ShapeError> {
    numbers(cx)?;
    cx.axis(axis)?;
    Ok(cx.x().clone())
}

pub(crate) fn scatter_elements(
    cx: &Cx<'_>,
    axis: usize,
    reduction: ScatterReduction,
) -> Result<TensorType, ShapeError> {
    cx.axis(axis)?;
    integer_indices(cx)?;
    element_indices(cx, axis)?;
    let wanted = cx.operands[1].shape.clone();
    updates(cx, &wanted, reduction)
}

pub(crate) fn scatter_nd(cx: &Cx<'_>, reduction: ScatterReduction) -> Result<TensorType, ShapeError> {
    integer_indices(cx)?;
    let depth = rows_of_places(cx, 0)?;
    let indices = cx.operands[1];
    let wanted = [&indices.shape[..indices.rank() - 1], &cx.x().shape[depth..]].concat();
    updates(cx, &wanted, reduction)
}

/// x's type, if the updates have this shape and x's elements.
fn updates(cx: &Cx<'_>, wanted: &[Dim], reduction: ScatterReduction) -> Result<TensorType, ShapeError> {
    if reduction != ScatterReduction::None {
        numbers(cx)?;
    }
    let (x, updates) = (cx.x(), cx.operands[2]);
    if updates.shape != wanted || updates.dtype != x.dtype {
        let wanted = TensorType::new(x.dtype, wanted.to_vec());
        return Err(cx.err(format!("{} needs updates {wanted}, not {updates}", cx.name())));
    }
    Ok(x.clone())
}

/// The shape of y = max_pool(x), which has x's elements.
pub(crate) fn max_pool_indices(cx: &Cx<'_>, a: &PoolAttrs) -> Result<TensorType, ShapeError> {
    let (pooled, y) = (pool(cx, a)?, cx.operands[1]);
    if *y != pooled {
        return Err(cx.err(format!("max_pool_indices: y is {y}, not {pooled}, the pool of x")));
    }
    Ok(TensorType::new(DType::I64, pooled.shape))
}

fn numbers(cx: &Cx<'_>) -> Result<(), ShapeError> {
    match cx.x().dtype {
        DType::Bool => Err(cx.err(format!("{} works on numbers, not bool", cx.name()))),
        _ => Ok(()),
    }
}

fn not_empty(cx: &Cx<'_>, size: &Dim) -> Result<(), ShapeError> {
    match size.as_const() {
        Some(0) => {
            let shape = ShapeDisplay(&cx.x().shape);
            Err(cx.err(format!("{} of no elements, in {shape}", cx.name())))
        }
        _ => Ok(()),
    }
}
