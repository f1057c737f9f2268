//! Shape rules of the normalisations: the result has the type of x.

use super::{Cx, ShapeError};
use crate::types::{ShapeDisplay, TensorType};

pub(crate) fn batch_norm(cx: &Cx<'_>) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    if cx.x().rank() < 2 {
        return Err(cx.err("batch_norm needs an input [N, C, …]"));
    }
    for i in 1..5 {
        cx.channel_vector(i, &cx.x().shape[1])?;
    }
    Ok(cx.x().clone())
}

pub(crate) fn layer_norm(cx: &Cx<'_>, axis: usize) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let normalised = &cx.x().shape[cx.axis(axis)?..];
    for i in 1..cx.operands.len() {
        if cx.operands[i].shape != normalised {
            let what = cx.operand_name(i);
            return Err(cx.err(format!(
                "layer_norm from axis {axis} on expects a {what} of shape {}, but it is {}",
                ShapeDisplay(normalised),
                cx.operands[i]
            )));
        }
    }
    Ok(cx.x().clone())
}

pub(crate) fn instance_norm(cx: &Cx<'_>) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    cx.spatial_rank()?;
    for i in 1..3 {
        cx.channel_vector(i, &cx.x().shape[1])?;
    }
    Ok(cx.x().clone())
}
