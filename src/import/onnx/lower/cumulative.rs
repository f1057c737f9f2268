//! Sums of all elements up to each one.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Op, PadMode};
use rectify_ir::{Dim, Value};

/// Adds the tensor moved by 1, 2, 4, … places along the axis: after k rounds each element is a sum of 2ᵏ. So many
/// additions an element keep the rounding small, and an infinity reaches only what comes after it.
pub fn sum(cx: &mut Cx<'_, '_>) -> Lowered {
    let (exclusive, reverse) = (cx.attrs.flag("exclusive", false)?, cx.attrs.flag("reverse", false)?);
    let x = cx.value(0)?;
    let ty = cx.type_of(x).clone();
    let axis = match cx.ints(1, "axis")?.as_slice() {
        [axis] => cx.wrap_axis(*axis, ty.rank())?,
        _ => return Err(Refusal::malformed("the axis is one number")),
    };
    let n = ty.shape[axis].as_const().ok_or_else(|| {
        Refusal::form(format!("a cumulative sum along an axis of symbolic size {}", ty.shape[axis]))
            .help("give the model's symbolic dims fixed sizes when importing")
    })?;
    let mut y = x;
    let mut step = 1;
    while step < n {
        let moved = moved(cx, y, axis, step, reverse)?;
        y = cx.binary(Binary::Add, y, moved)?;
        step *= 2;
    }
    if exclusive {
        y = if n == 1 { cx.binary(Binary::Sub, y, y)? } else { moved(cx, y, axis, 1, reverse)? };
    }
    if y == x {
        return cx.set_alias(0, 0);
    }
    cx.set(0, y);
    Ok(())
}

/// The tensor moved by `step` places towards the end of the axis, or towards its begin; zeros come in.
fn moved(cx: &mut Cx<'_, '_>, x: Value, axis: usize, step: i64, back: bool) -> Result<Value, Refusal> {
    let ty = cx.type_of(x).clone();
    let (rank, n) = (ty.rank(), ty.shape[axis].clone());
    let step_dim = Dim::Const(step);
    let (start, end) = if back { (step_dim, n) } else { (Dim::Const(0), n.sub(&step_dim)?) };
    let cut = Op::Slice { axes: vec![axis], starts: vec![start], ends: vec![end], steps: vec![1] };
    let part = cx.push(cut, &[x])?;
    let mut pads = vec![0; 2 * rank];
    pads[if back { rank + axis } else { axis }] = step;
    cx.push(Op::Pad { pads, mode: PadMode::Constant(0.0.into()) }, &[part])
}
