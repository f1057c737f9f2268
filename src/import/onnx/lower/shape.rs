//! Operators on shapes: reshape and its special cases, and the sizes of tensors as values.

use super::super::context::{Cx, Lowered};
use super::super::indices::{squeezed, unsqueezed};
use super::super::problem::Refusal;
use super::super::values::{Elem, Known};
use rectify_ir::op::Op;
use rectify_ir::shape::broadcast;
use rectify_ir::{DType, Dim};

/// -1 stands for the rest, 0 for the input's own size at that place (unless `allowzero`).
pub fn reshape(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let allow_zero = cx.attrs.flag("allowzero", false)?;
    let mut shape = cx.dims(1, "sizes")?;
    let mut rest = None;
    for (i, d) in shape.iter_mut().enumerate() {
        match d.as_const() {
            Some(0) if !allow_zero => {
                *d = ty.shape.get(i).cloned().ok_or_else(|| {
                    Refusal::malformed(format!("the size 0 at place {i} stands for an axis that {ty} lacks"))
                })?;
            }
            Some(-1) if rest.replace(i).is_some() => {
                return Err(Refusal::malformed("two sizes are -1"));
            }
            Some(v) if v < -1 => return Err(Refusal::malformed(format!("the size {v} is not possible"))),
            _ => {}
        }
    }
    if let Some(i) = rest {
        let known = Dim::product(shape.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, d)| d))?;
        shape[i] = ty.elements()?.div_exact(&known, cx.facts())?;
    }
    finish(cx, shape)
}

fn finish(cx: &mut Cx<'_, '_>, shape: Vec<Dim>) -> Lowered {
    if cx.ty(0)?.shape == shape {
        return cx.set_alias(0, 0);
    }
    let x = cx.value(0)?;
    let y = cx.push(Op::Reshape { shape }, &[x])?;
    cx.set(0, y);
    Ok(())
}

pub fn flatten(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let axis = cx.attrs.int("axis", 1)?;
    let axis = if axis == ty.rank() as i64 { ty.rank() } else { cx.wrap_axis(axis, ty.rank())? };
    let (outer, inner) = ty.shape.split_at(axis);
    finish(cx, vec![Dim::product(outer)?, Dim::product(inner)?])
}

/// `axes`: an attribute before operator set 13, then an input.
fn axes(cx: &mut Cx<'_, '_>) -> Result<Option<Vec<i64>>, Refusal> {
    if cx.version < 13 {
        return Ok(cx.attrs.ints("axes")?.map(<[i64]>::to_vec));
    }
    if cx.has(1) { cx.ints(1, "axes").map(Some) } else { Ok(None) }
}

pub fn squeeze(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let axes = axes(cx)?;
    let shape = squeezed(&ty.shape, axes.as_deref(), |d| *d == Dim::Const(1)).ok_or_else(|| {
        Refusal::malformed(format!("axes {:?} of {ty} are not all of size 1", axes.unwrap_or_default()))
    })?;
    finish(cx, shape)
}

pub fn unsqueeze(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let axes = axes(cx)?.ok_or_else(|| Refusal::malformed("the axes are missing"))?;
    let shape = unsqueezed(&ty.shape, &axes, Dim::Const(1))
        .ok_or_else(|| Refusal::malformed(format!("axes {axes:?} cannot be added to {ty}")))?;
    finish(cx, shape)
}

/// The sizes of the axes from `start` to `end`, which are clamped to the axes that there are.
pub fn shape(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let rank = ty.rank() as i64;
    let place = |v: i64| if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank) as usize;
    let start = place(cx.attrs.int("start", 0)?);
    let end = place(cx.attrs.int("end", rank)?);
    cx.set_known(0, Known::dims(ty.shape.get(start..end).unwrap_or(&[])));
    Ok(())
}

/// The number of elements.
pub fn size(cx: &mut Cx<'_, '_>) -> Lowered {
    let n = cx.ty(0)?.elements()?;
    let known = Known { dtype: DType::I64, shape: vec![], elems: vec![Elem::dim(n)], derived: true };
    cx.set_known(0, known);
    Ok(())
}

/// Broadcasts to the given shape. A single known number becomes a constant of that shape.
pub fn expand(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let target = cx.dims(1, "sizes")?;
    let shape = broadcast(&ty.shape, &target).map_err(|m| {
        Refusal::malformed(format!("{ty} does not broadcast: {}", m.describe(&ty.shape, &target)))
    })?;
    if shape == ty.shape {
        return cx.set_alias(0, 0);
    }
    if ty.dtype.is_float()
        && shape.iter().all(|d| d.as_const().is_some())
        && let Some(v) = cx.known_number(0)?
    {
        let y = cx.filled(ty.dtype, shape, v);
        cx.set(0, y);
        return Ok(());
    }
    let x = cx.value(0)?;
    let y = cx.push(Op::Expand { shape }, &[x])?;
    cx.set(0, y);
    Ok(())
}

/// Repeats the tensor along each axis: as rows of a new axis before it, which then joins it.
pub fn tile(cx: &mut Cx<'_, '_>) -> Lowered {
    let repeats = cx.ints(1, "repeats")?;
    let mut y = cx.value(0)?;
    if repeats.len() != cx.type_of(y).rank() {
        return Err(Refusal::malformed(format!("{} repeats for {}", repeats.len(), cx.type_of(y))));
    }
    if repeats.iter().all(|r| *r == 1) {
        return cx.set_alias(0, 0);
    }
    for (axis, r) in repeats.into_iter().enumerate() {
        if r == 1 {
            continue;
        }
        let mut shape = cx.type_of(y).shape.clone();
        let repeated = shape[axis].mul(&Dim::Const(r))?;
        shape.insert(axis, Dim::Const(1));
        y = cx.reshape(y, shape.clone())?;
        shape[axis] = Dim::Const(r);
        y = cx.push(Op::Expand { shape: shape.clone() }, &[y])?;
        shape.remove(axis);
        shape[axis] = repeated;
        y = cx.reshape(y, shape)?;
    }
    cx.set(0, y);
    Ok(())
}
