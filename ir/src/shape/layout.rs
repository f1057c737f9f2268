//! Shape rules of operations that move elements: concat, split, slice, pad, transpose, reshape, expand, gather,
//! depth_to_space.

use super::{Cx, ShapeError, broadcast};
use crate::dim::{Dim, MAX_DIM};
use crate::op::PadMode;
use crate::types::{ShapeDisplay, TensorType};

pub(crate) fn concat(cx: &Cx<'_>, axis: usize) -> Result<TensorType, ShapeError> {
    cx.same_dtype()?;
    cx.axis(axis)?;
    let mut shape = cx.x().shape.clone();
    for (n, ty) in cx.operands.iter().enumerate().skip(1) {
        if ty.rank() != shape.len() {
            return Err(cx.err(format!(
                "concat joins tensors of one rank, but operand 1 has rank {} and operand {} has {}",
                shape.len(),
                n + 1,
                ty.rank()
            )));
        }
        for (i, (sum, d)) in shape.iter_mut().zip(&ty.shape).enumerate() {
            if i == axis {
                *sum = sum.add(d)?;
            } else if sum != d {
                return Err(cx
                    .err(format!(
                        "concat along axis {axis} needs equal sizes elsewhere, but along axis {i} operand 1 has {sum} \
                         and operand {} has {d}",
                        n + 1
                    ))
                    .help(if axis == 1 && i >= 2 {
                        "bring the tensors to one resolution first (pad, slice or resize), or constrain the input's \
                         sizes so that both paths agree"
                    } else {
                        "check the axis"
                    }));
            }
        }
    }
    Ok(TensorType::new(cx.x().dtype, shape))
}

pub(crate) fn split(cx: &Cx<'_>, axis: usize, sizes: &[Dim]) -> Result<Vec<TensorType>, ShapeError> {
    let x = cx.x();
    let size = &x.shape[cx.axis(axis)?];
    if sizes.is_empty() || sizes.len() > 4096 {
        return Err(cx.err("split needs a list of 1 to 4096 sizes"));
    }
    let total = sizes.iter().try_fold(Dim::Const(0), |sum, d| sum.add(d))?;
    if total != *size {
        return Err(cx
            .err(format!(
                "split: the sizes {} sum to {total}, but axis {axis} has {size}",
                ShapeDisplay(sizes)
            ))
            .help("the sizes must sum to the size of the axis"));
    }
    let part = |d: &Dim| {
        let mut shape = x.shape.clone();
        shape[axis] = d.clone();
        TensorType::new(x.dtype, shape)
    };
    Ok(sizes.iter().map(part).collect())
}

pub(crate) fn slice(
    cx: &Cx<'_>,
    axes: &[usize],
    starts: &[Dim],
    ends: &[Dim],
    steps: &[i64],
) -> Result<TensorType, ShapeError> {
    let mut shape = cx.x().shape.clone();
    if [starts.len(), ends.len(), steps.len()].iter().any(|n| *n != axes.len()) {
        return Err(cx.err("slice: `axes`, `starts`, `ends` and `steps` differ in length"));
    }
    for (n, axis) in axes.iter().enumerate() {
        let size = shape[cx.axis(*axis)?].clone();
        if axes[..n].contains(axis) {
            return Err(cx.err(format!("slice names axis {axis} twice")));
        }
        let (start, end, step) = (&starts[n], &ends[n], steps[n]);
        if step == 0 || step.unsigned_abs() > MAX_DIM as u64 {
            return Err(cx.err(format!("slice: a step cannot be {step}")));
        }
        let never_below = |d: Dim, least: i64| d.bounds(cx.facts).1.is_none_or(|most| most >= least);
        // Upwards: 0 <= start <= size, end <= size. Downwards: 0 <= start < size, end >= -1.
        let end_fits = if step > 0 { never_below(size.sub(end)?, 0) } else { never_below(end.clone(), -1) };
        let room = if step > 0 { 0 } else { 1 };
        if !never_below(start.clone(), 0) || !never_below(size.sub(start)?, room) || !end_fits {
            return Err(
                cx.err(format!("slice {start}..{end} is outside of axis {axis}, which has {size} elements"))
            );
        }
        let span = if step > 0 { end.sub(start)? } else { start.sub(end)? };
        let taken = span.ceil_div(step.abs(), cx.facts)?;
        if !never_below(taken.clone(), 0) {
            return Err(cx
                .err(format!("slice {start}..{end} with step {step} along axis {axis} takes no element"))
                .help("ends are exclusive, and with a negative step lie before the start"));
        }
        shape[*axis] = taken;
    }
    Ok(TensorType::new(cx.x().dtype, shape))
}

pub(crate) fn pad(cx: &Cx<'_>, pads: &[i64], mode: &PadMode) -> Result<TensorType, ShapeError> {
    let rank = cx.x().rank();
    if pads.len() != 2 * rank || pads.iter().any(|p| p.unsigned_abs() > MAX_DIM as u64) {
        return Err(cx
            .err(format!("pad: `pads` has {} amounts for {rank} axes", pads.len()))
            .help(format!("give {}: before each axis, then after each axis", 2 * rank)));
    }
    let mut shape = cx.x().shape.clone();
    for (axis, d) in shape.iter_mut().enumerate() {
        let (before, after) = (pads[axis], pads[rank + axis]);
        match mode {
            PadMode::Reflect if d.bounds(cx.facts).1.is_some_and(|most| before.max(after) >= most) => {
                return Err(cx
                    .err(format!(
                        "pad cannot reflect {} elements along axis {axis}, which has {d}",
                        before.max(after)
                    ))
                    .help("the edge is not repeated, so at most one element less than the size"));
            }
            PadMode::Reflect | PadMode::Edge | PadMode::Wrap | PadMode::Constant(_) => {}
        }
        *d = d.add(&Dim::Const(before + after))?;
    }
    Ok(TensorType::new(cx.x().dtype, shape))
}

pub(crate) fn transpose(cx: &Cx<'_>, perm: &[usize]) -> Result<TensorType, ShapeError> {
    let x = cx.x();
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return Err(cx
            .err(format!("transpose: {perm:?} is no permutation of the {} axes of x", x.rank()))
            .help("name every axis once"));
    }
    Ok(TensorType::new(x.dtype, perm.iter().map(|p| x.shape[*p].clone()).collect::<Vec<_>>()))
}

pub(crate) fn reshape(cx: &Cx<'_>, shape: &[Dim]) -> Result<TensorType, ShapeError> {
    let x = cx.x();
    let (before, after) = (x.elements()?, Dim::product(shape)?);
    if before != after {
        return Err(cx
            .err(format!("reshape to {} needs {after} elements, but x has {before}", ShapeDisplay(shape)))
            .help("one size may be -1, which stands for the rest"));
    }
    Ok(TensorType::new(x.dtype, shape.to_vec()))
}

pub(crate) fn expand(cx: &Cx<'_>, shape: &[Dim]) -> Result<TensorType, ShapeError> {
    let x = cx.x();
    match broadcast(&x.shape, shape) {
        Ok(common) if common == shape => Ok(TensorType::new(x.dtype, common)),
        _ => Err(cx
            .err(format!(
                "expand: x {} does not broadcast to {}",
                ShapeDisplay(&x.shape),
                ShapeDisplay(shape)
            ))
            .help("sizes, aligned at the end, must agree or be 1 in x")),
    }
}

pub(crate) fn gather(cx: &Cx<'_>, axis: usize) -> Result<TensorType, ShapeError> {
    let (x, indices) = (cx.x(), cx.operands[1]);
    cx.axis(axis)?;
    integer_indices(cx)?;
    let shape = [&x.shape[..axis], &indices.shape, &x.shape[axis + 1..]].concat();
    chosen(cx, TensorType::new(x.dtype, shape), &x.shape[axis..=axis])
}

pub(crate) fn gather_elements(cx: &Cx<'_>, axis: usize) -> Result<TensorType, ShapeError> {
    let (x, indices) = (cx.x(), cx.operands[1]);
    cx.axis(axis)?;
    integer_indices(cx)?;
    element_indices(cx, axis)?;
    chosen(cx, TensorType::new(x.dtype, indices.shape.clone()), &x.shape[axis..=axis])
}

/// The indices have x's rank, and sizes up to x's but along the axis.
pub(super) fn element_indices(cx: &Cx<'_>, axis: usize) -> Result<(), ShapeError> {
    let (x, indices) = (cx.x(), cx.operands[1]);
    let fits = |(i, (d, n)): (usize, (&Dim, &Dim))| {
        i == axis || n.sub(d).is_ok_and(|rest| rest.bounds(cx.facts).0.is_some_and(|least| least >= 0))
    };
    if indices.rank() != x.rank() || !indices.shape.iter().zip(&x.shape).enumerate().all(fits) {
        return Err(cx
            .err(format!(
                "{}: indices {} do not fit x {}",
                cx.name(),
                ShapeDisplay(&indices.shape),
                ShapeDisplay(&x.shape)
            ))
            .help(format!("they have x's rank, and sizes up to x's but along axis {axis}")));
    }
    Ok(())
}

pub(crate) fn gather_nd(cx: &Cx<'_>, batch: usize) -> Result<TensorType, ShapeError> {
    let (x, indices) = (cx.x(), cx.operands[1]);
    integer_indices(cx)?;
    let depth = rows_of_places(cx, batch)?;
    let shape = [&indices.shape[..indices.rank() - 1], &x.shape[batch + depth..]].concat();
    chosen(cx, TensorType::new(x.dtype, shape), &x.shape[batch..batch + depth])
}

/// The result, if there are places along the axes that its elements are chosen from.
fn chosen(cx: &Cx<'_>, result: TensorType, axes: &[Dim]) -> Result<TensorType, ShapeError> {
    if axes.contains(&Dim::Const(0)) && !result.is_empty() {
        return Err(cx.err(format!("{} has no elements to choose from", cx.name())));
    }
    Ok(result)
}

/// The length of the rows of the indices: places along the axes of x from `batch` on.
pub(super) fn rows_of_places(cx: &Cx<'_>, batch: usize) -> Result<usize, ShapeError> {
    let (x, indices) = (cx.x(), cx.operands[1]);
    let depth = indices.shape.last().and_then(Dim::as_const).and_then(|n| usize::try_from(n).ok());
    let Some(depth) = depth.filter(|n| *n >= 1 && n.checked_add(batch).is_some_and(|n| n <= x.rank())) else {
        return Err(cx
            .err(format!("{}: the rows of indices {} do not fit x", cx.name(), ShapeDisplay(&indices.shape)))
            .help(format!("the last axis holds 1 to {} places", x.rank().saturating_sub(batch))));
    };
    if indices.rank() <= batch || indices.shape[..batch] != x.shape[..batch] {
        return Err(cx.err(format!("{}: x and the indices do not share {batch} leading axes", cx.name())));
    }
    Ok(depth)
}

pub(super) fn integer_indices(cx: &Cx<'_>) -> Result<(), ShapeError> {
    let dtype = cx.operands[1].dtype;
    if dtype.is_int() {
        return Ok(());
    }
    Err(cx.err(format!("{} needs indices of integers, not {dtype}", cx.name())).help("`cast(to: i64)`"))
}

pub(crate) fn depth_to_space(cx: &Cx<'_>, block: usize) -> Result<TensorType, ShapeError> {
    let x = cx.x();
    let [n, c, h, w] = x.shape.as_slice() else {
        return Err(
            cx.err(format!("depth_to_space needs an input [N, C, H, W], not one of rank {}", x.rank()))
        );
    };
    let b = match i64::try_from(block) {
        Ok(b @ 1..=65536) => b,
        _ => return Err(cx.err(format!("depth_to_space: `block` is {block}, outside of 1..=65536"))),
    };
    let channels = c.div_exact(&Dim::Const(b * b), cx.facts).map_err(|_| {
        cx.err(format!("depth_to_space by {b} needs a multiple of {} channels, but x has {c}", b * b))
    })?;
    let b = Dim::Const(b);
    Ok(TensorType::new(x.dtype, [n.clone(), channels, h.mul(&b)?, w.mul(&b)?]))
}
