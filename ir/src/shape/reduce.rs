//! Shape rules of reductions and softmax.

use super::{Cx, ShapeError};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::op::ReduceKind;
use crate::types::TensorType;

pub(crate) fn softmax(cx: &Cx<'_>, axis: usize) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    cx.axis(axis)?;
    Ok(cx.x().clone())
}

pub(crate) fn reduce(
    cx: &Cx<'_>,
    kind: ReduceKind,
    axes: &[usize],
    keep: bool,
) -> Result<TensorType, ShapeError> {
    match kind {
        ReduceKind::Mean => cx.floats()?,
        // Of bool: any, and all.
        ReduceKind::Max | ReduceKind::Min => {}
        ReduceKind::Sum | ReduceKind::Prod => {
            if cx.x().dtype == DType::Bool {
                return Err(cx.err(format!("{} works on numbers, not bool", cx.name())));
            }
        }
    }
    if axes.is_empty() {
        return Err(cx.err(format!("{} needs at least one axis", cx.name())));
    }
    cx.sorted_axes(axes)?;
    let mut shape = Vec::new();
    for (i, d) in cx.x().shape.iter().enumerate() {
        match (axes.contains(&i), keep) {
            (false, _) => shape.push(d.clone()),
            (true, true) => shape.push(Dim::Const(1)),
            (true, false) => {}
        }
    }
    Ok(TensorType::new(cx.x().dtype, shape))
}
