//! Shape rules of operations whose number of results depends on data.

use super::{Cx, ShapeError};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::types::TensorType;

pub(crate) fn cut(cx: &Cx<'_>, axis: usize, size: &Dim) -> Result<TensorType, ShapeError> {
    cx.axis(axis)?;
    one_number(cx, 1, DType::I64)?;
    let mut shape = cx.x().shape.clone();
    if let (Some(size), Some(all)) = (size.as_const(), shape[axis].as_const())
        && !(0..=all).contains(&size)
    {
        return Err(cx.err(format!("cut: {size} of {all} slices along axis {axis}")));
    }
    shape[axis] = size.clone();
    Ok(TensorType::new(cx.x().dtype, shape))
}

pub(crate) fn nonzero(cx: &Cx<'_>) -> Result<Vec<TensorType>, ShapeError> {
    let (rank, elements) = (cx.x().rank() as i64, cx.x().elements()?);
    let places = TensorType::new(DType::I64, vec![Dim::Const(rank), elements]);
    Ok(vec![places, TensorType::new(DType::I64, vec![Dim::Const(1)])])
}

pub(crate) fn non_max_suppression(cx: &Cx<'_>, limit: &Dim) -> Result<TensorType, ShapeError> {
    let (boxes, scores, order) = (cx.operands[0], cx.operands[1], cx.operands[2]);
    let fits = match (boxes.shape.as_slice(), scores.shape.as_slice()) {
        ([n, b, four], [images, _, each]) => n == images && b == each && *four == Dim::Const(4),
        _ => false,
    };
    if !fits || boxes.dtype != DType::F32 || scores.dtype != DType::F32 {
        return Err(cx
            .err(format!("non_max_suppression: the boxes {boxes} and scores {scores} do not fit"))
            .help("boxes are f32[N, B, 4], scores f32[N, C, B]"));
    }
    if order.dtype != DType::I64 || order.shape != scores.shape {
        return Err(cx
            .err(format!("non_max_suppression: the order is {order}, not one place for each of {scores}"))
            .help("make it by arg_sort(scores, axis: 2, descending: true)"));
    }
    one_number(cx, 3, DType::I64)?;
    one_number(cx, 4, DType::F32)?;
    one_number(cx, 5, DType::F32)?;
    if limit.bounds(cx.facts).1.is_some_and(|most| most < 0) {
        return Err(cx.err(format!("non_max_suppression: a limit of {limit} boxes")));
    }
    let shape = vec![scores.shape[0].clone(), scores.shape[1].clone(), limit.clone()];
    Ok(TensorType::new(DType::I64, shape))
}

/// The operand is one number of this type, of rank 0 or 1.
fn one_number(cx: &Cx<'_>, operand: usize, dtype: DType) -> Result<(), ShapeError> {
    let ty = cx.operands[operand];
    if ty.dtype == dtype && (ty.shape.is_empty() || ty.shape == [Dim::Const(1)]) {
        return Ok(());
    }
    let name = cx.operand_name(operand);
    Err(cx.err(format!("{} needs one number {dtype}[1] as its {name}, not {ty}", cx.name())))
}
