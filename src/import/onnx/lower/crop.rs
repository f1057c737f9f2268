//! Cutting and filling to a size around the centre.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::Dim;
use rectify_ir::op::{Op, PadMode};

pub fn center(cx: &mut Cx<'_, '_>) -> Lowered {
    let mut y = cx.value(0)?;
    let ty = cx.type_of(y).clone();
    let rank = ty.rank();
    let axes = match cx.attrs.ints("axes")? {
        Some(axes) => axes.iter().map(|a| cx.wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let target = cx.dims(1, "sizes")?;
    if target.len() != axes.len() {
        return Err(Refusal::malformed(format!("{} sizes for {} axes", target.len(), axes.len())));
    }
    let mut pads = vec![0; 2 * rank];
    let (mut cut, mut starts, mut ends) = (vec![], vec![], vec![]);
    for (axis, to) in axes.into_iter().zip(&target) {
        let more = to.sub(&ty.shape[axis])?;
        let Some(more) = more.as_const() else {
            let message = format!("{} is cut or filled to {to}, which is not known", ty.shape[axis]);
            let help = "give the model's symbolic dims fixed sizes when importing";
            return Err(Refusal::form(message).help(help));
        };
        if more >= 0 {
            (pads[axis], pads[rank + axis]) = (more / 2, more - more / 2);
        } else {
            let start = Dim::Const(-more / 2);
            ends.push(start.add(to)?);
            starts.push(start);
            cut.push(axis);
        }
    }
    if !cut.is_empty() {
        let steps = vec![1; cut.len()];
        y = cx.push(Op::Slice { axes: cut, starts, ends, steps }, &[y])?;
    }
    if pads.iter().any(|p| *p != 0) {
        y = cx.push(Op::Pad { pads, mode: PadMode::Constant(0.0.into()) }, &[y])?;
    }
    if cx.type_of(y).shape == ty.shape {
        return cx.set_alias(0, 0);
    }
    cx.set(0, y);
    Ok(())
}
