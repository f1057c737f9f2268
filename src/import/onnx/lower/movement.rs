//! Operators that only move elements: concat, split, transpose, depth and space.

use super::super::context::{Cx, Lowered};
use super::super::indices::split_evenly;
use super::super::problem::Refusal;
use rectify_ir::Dim;
use rectify_ir::op::{DepthMode, Op};

pub fn concat(cx: &mut Cx<'_, '_>) -> Lowered {
    let n = cx.input_count();
    if n == 0 {
        return Err(Refusal::malformed("Concat has no inputs"));
    }
    let rank = cx.ty(0)?.rank();
    let axis = cx.attrs.need_int("axis")?;
    let axis = cx.wrap_axis(axis, rank)?;
    let mut parts = Vec::new();
    for i in 0..n {
        // Exporters join with tensors of no elements now and then.
        let empty = cx.ty(i)?.shape.get(axis) == Some(&Dim::Const(0));
        if !empty {
            parts.push((i, cx.value(i)?));
        }
    }
    match parts.as_slice() {
        [] => cx.set_alias(0, 0),
        [(i, _)] => cx.set_alias(0, *i),
        _ => {
            let parts: Vec<_> = parts.into_iter().map(|(_, v)| v).collect();
            let y = cx.push(Op::Concat { axis }, &parts)?;
            cx.set(0, y);
            Ok(())
        }
    }
}

/// The sizes are an attribute before operator set 13, then an input; without them the parts are equal.
pub fn split(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let axis = cx.axis(0, ty.rank())?;
    let size = &ty.shape[axis];
    let given = if cx.version < 13 {
        cx.attrs.ints("split")?.map(|v| v.iter().copied().map(Dim::Const).collect())
    } else if cx.has(1) {
        Some(cx.dims(1, "sizes")?)
    } else {
        None
    };
    let sizes = match given {
        Some(sizes) => sizes,
        None => {
            let n = cx.output_count();
            if let Some(k) = cx.attrs.opt_int("num_outputs")?
                && usize::try_from(k) != Ok(n)
            {
                return Err(Refusal::malformed(format!("`num_outputs` is {k}, but there are {n} results")));
            }
            match size.as_const() {
                Some(size) => {
                    let even = split_evenly(size, n).ok_or_else(|| {
                        Refusal::malformed(format!("{size} elements cannot be cut into {n} parts"))
                    })?;
                    even.into_iter().map(Dim::Const).collect()
                }
                None => vec![size.div_exact(&Dim::Const(n.max(1) as i64), cx.facts())?; n],
            }
        }
    };
    if sizes.len() < cx.output_count() {
        return Err(Refusal::malformed("there are more results than sizes"));
    }
    if sizes.len() == 1 {
        return cx.set_alias(0, 0);
    }
    let x = cx.value(0)?;
    let parts = cx.push_multi(Op::Split { axis, sizes }, &[x])?;
    for (i, part) in parts.into_iter().enumerate() {
        cx.set(i, part);
    }
    Ok(())
}

/// Without `perm` the axes are reversed.
pub fn transpose(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let rank = cx.type_of(x).rank();
    let perm = match cx.attrs.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(p) => p.iter().map(|v| cx.wrap_axis(*v, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    let y = cx.push(Op::Transpose { perm }, &[x])?;
    cx.set(0, y);
    Ok(())
}

fn block(cx: &Cx<'_, '_>) -> Result<usize, Refusal> {
    let b = cx.attrs.need_int("blocksize")?;
    usize::try_from(b)
        .ok()
        .filter(|b| (1..=65536).contains(b))
        .ok_or_else(|| Refusal::malformed(format!("`blocksize` is {b}")))
}

pub fn depth_to_space(cx: &mut Cx<'_, '_>) -> Lowered {
    let block = block(cx)?;
    let mode = cx.attrs.word("mode", &[("DCR", DepthMode::Dcr), ("CRD", DepthMode::Crd)])?;
    let x = cx.value(0)?;
    let y = cx.push(Op::DepthToSpace { block, mode }, &[x])?;
    cx.set(0, y);
    Ok(())
}

/// [N, C, H, W] → [N, C·b², H/b, W/b]: the block's row and column go before the channels, or behind with CRD.
pub fn space_to_depth(cx: &mut Cx<'_, '_>) -> Lowered {
    let b = Dim::Const(block(cx)? as i64);
    let perm = cx.attrs.word("mode", &[("DCR", [0, 3, 5, 1, 2, 4]), ("CRD", [0, 1, 3, 5, 2, 4])])?;
    let x = cx.value(0)?;
    let ty = cx.type_of(x).clone();
    let [n, c, h, w] = ty.shape.as_slice() else {
        return Err(Refusal::malformed(format!("SpaceToDepth needs an input [N, C, H, W], not {ty}")));
    };
    let (rows, columns) = (h.div_exact(&b, cx.facts())?, w.div_exact(&b, cx.facts())?);
    let cut = vec![n.clone(), c.clone(), rows.clone(), b.clone(), columns.clone(), b.clone()];
    let channels = c.mul(&b)?.mul(&b)?;
    let y = cx.reshape(x, cut)?;
    let y = cx.transpose(y, perm.to_vec())?;
    let y = cx.reshape(y, vec![n.clone(), channels, rows, columns])?;
    cx.set(0, y);
    Ok(())
}
