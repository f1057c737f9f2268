//! Reductions over axes.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::DType;
use rectify_ir::op::{Binary, ReduceKind, Unary};
use rectify_ir::scalar::Scalar;

/// All of ONNX's reductions that are a sum, a product, a mean or an extreme with elementwise work before or after it.
pub fn reduce(cx: &mut Cx<'_, '_>) -> Lowered {
    let keep = cx.attrs.flag("keepdims", true)?;
    let mut x = cx.value(0)?;
    let (rank, own) = (cx.type_of(x).rank(), cx.type_of(x).dtype);
    // Means, roots and logarithms of integers are cut to integers.
    let fractional = matches!(cx.op, "ReduceMean" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp");
    if fractional && !own.is_float() {
        x = cx.cast(x, DType::F64)?;
    }
    let axes = axes(cx, rank)?;
    let y = match cx.op {
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" => {
            let kind = match cx.op {
                "ReduceSum" => ReduceKind::Sum,
                "ReduceMean" => ReduceKind::Mean,
                "ReduceMax" => ReduceKind::Max,
                "ReduceProd" => ReduceKind::Prod,
                _ => ReduceKind::Min,
            };
            if axes.is_empty() {
                return cx.set_alias(0, 0);
            }
            cx.reduce(kind, x, &axes, keep)?
        }
        "ReduceL1" => {
            let a = cx.unary(Unary::Abs, x)?;
            cx.reduce(ReduceKind::Sum, a, &axes, keep)?
        }
        "ReduceL2" | "ReduceSumSquare" => {
            let s = cx.binary(Binary::Mul, x, x)?;
            let s = cx.reduce(ReduceKind::Sum, s, &axes, keep)?;
            if cx.op == "ReduceL2" { cx.unary(Unary::Sqrt, s)? } else { s }
        }
        "ReduceLogSum" => {
            let s = cx.reduce(ReduceKind::Sum, x, &axes, keep)?;
            cx.unary(Unary::Log, s)?
        }
        "ReduceLogSumExp" => {
            // The greatest element is taken out, so that no power overflows; an infinite one would leave no number.
            let greatest = cx.reduce(ReduceKind::Max, x, &axes, true)?;
            let most = Scalar(f64::from(f32::MAX));
            let greatest = cx.unary(Unary::Clip { min: Scalar(-most.0), max: most }, greatest)?;
            let d = cx.binary(Binary::Sub, x, greatest)?;
            let e = cx.unary(Unary::Exp, d)?;
            let s = cx.reduce(ReduceKind::Sum, e, &axes, true)?;
            let l = cx.unary(Unary::Log, s)?;
            let y = cx.binary(Binary::Add, l, greatest)?;
            if keep {
                y
            } else {
                let ty = cx.type_of(y).clone();
                let shape = (0..rank).filter(|a| !axes.contains(a)).map(|a| ty.shape[a].clone()).collect();
                cx.reshape(y, shape)?
            }
        }
        op => return Err(Refusal::form(format!("{op} is no reduction"))),
    };
    let y = cx.cast(y, own)?;
    cx.set(0, y);
    Ok(())
}

/// The reduced axes, sorted: an attribute, or an input from operator set 18 on (13 for ReduceSum). Without any, all axes,
/// or none with `noop_with_empty_axes`.
pub fn axes(cx: &mut Cx<'_, '_>, rank: usize) -> Result<Vec<usize>, Refusal> {
    let by_input = cx.version >= if cx.op == "ReduceSum" { 13 } else { 18 };
    let given = match (by_input, cx.has(1)) {
        (true, true) => cx.ints(1, "axes")?,
        (true, false) => vec![],
        (false, _) => cx.attrs.ints("axes")?.unwrap_or(&[]).to_vec(),
    };
    if given.is_empty() {
        let none = by_input && cx.attrs.flag("noop_with_empty_axes", false)?;
        return Ok(if none { vec![] } else { (0..rank).collect() });
    }
    if by_input {
        cx.attrs.ignore(&["noop_with_empty_axes"]);
    }
    let mut axes = given.iter().map(|a| cx.wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}
