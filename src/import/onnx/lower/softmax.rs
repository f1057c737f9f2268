//! Softmax and its logarithm.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
use rectify_ir::{Dim, Value};

/// The input and the axis to work along. Before operator set 13 the input counts as a matrix, cut before `axis`; the
/// original shape is then given, to be restored.
pub fn rows(cx: &mut Cx<'_, '_>) -> Result<(Value, usize, Option<Vec<Dim>>), Refusal> {
    let x = cx.value(0)?;
    let shape = cx.type_of(x).shape.clone();
    if cx.version >= 13 {
        return Ok((x, cx.axis(-1, shape.len())?, None));
    }
    // The axis may lie behind the last one: rows of one element.
    let given = cx.attrs.int("axis", 1)?;
    let axis = if given == shape.len() as i64 { shape.len() } else { cx.wrap_axis(given, shape.len())? };
    let (outer, inner) = shape.split_at(axis);
    let one = |d: &Dim| *d == Dim::Const(1);
    if let Some((_, rest)) = inner.split_first()
        && rest.iter().all(one)
    {
        return Ok((x, axis, None));
    }
    let matrix = vec![Dim::product(outer)?, Dim::product(inner)?];
    Ok((cx.reshape(x, matrix)?, 1, Some(shape)))
}

pub fn finish(cx: &mut Cx<'_, '_>, y: Value, shape: Option<Vec<Dim>>) -> Lowered {
    let y = match shape {
        Some(shape) => cx.reshape(y, shape)?,
        None => y,
    };
    cx.set(0, y);
    Ok(())
}

pub fn softmax(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, axis, shape) = rows(cx)?;
    let y = cx.push(Op::Softmax { axis }, &[x])?;
    finish(cx, y, shape)
}

/// x − max − ln Σ exp(x − max): the logarithm of softmax would lose small probabilities.
pub fn log_softmax(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, axis, shape) = rows(cx)?;
    let y = log_softmax_of(cx, x, axis)?;
    finish(cx, y, shape)
}

pub fn log_softmax_of(cx: &mut Cx<'_, '_>, x: Value, axis: usize) -> Result<Value, Refusal> {
    let greatest = cx.reduce(ReduceKind::Max, x, &[axis], true)?;
    let d = cx.binary(Binary::Sub, x, greatest)?;
    let e = cx.unary(Unary::Exp, d)?;
    let s = cx.reduce(ReduceKind::Sum, e, &[axis], true)?;
    let l = cx.unary(Unary::Log, s)?;
    cx.binary(Binary::Sub, d, l)
}
