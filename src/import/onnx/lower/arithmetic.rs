//! Functions of two and of many tensors, broadcast as in numpy.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Unary};
use rectify_ir::{DType, Value};

pub fn binary(cx: &mut Cx<'_, '_>) -> Lowered {
    let b = match cx.op {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        op => return Err(Refusal::form(format!("{op} is no function of two tensors"))),
    };
    let (x, y) = operands(cx)?;
    let y = cx.binary(b, x, y)?;
    cx.set(0, y);
    Ok(())
}

/// Base and exponent. Exponents of another type than the base are converted to it.
pub fn pow(cx: &mut Cx<'_, '_>) -> Lowered {
    let (base, exponent) = (cx.ty(0)?.dtype, cx.ty(1)?.dtype);
    if base.is_int() && exponent.is_float() {
        // A float, cut to the integers of the base.
        let (x, e) = (cx.value(0)?, cx.value(1)?);
        let (x, e) = (cx.cast(x, DType::F64)?, cx.cast(e, DType::F64)?);
        let y = cx.binary(Binary::Pow, x, e)?;
        let y = cx.cast(y, base)?;
        cx.set(0, y);
        return Ok(());
    }
    let same = base == exponent;
    let (x, e) = match cx.known_number(1)? {
        // One exponent for all elements.
        Some(e) if cx.ty(1)?.rank() <= cx.ty(0)?.rank() => {
            let x = cx.value(0)?;
            if e == 1.0 {
                return cx.set_alias(0, 0);
            }
            if e == 2.0 {
                let y = cx.binary(Binary::Mul, x, x)?;
                cx.set(0, y);
                return Ok(());
            }
            if e == 0.5 && base.is_float() {
                let y = cx.unary(Unary::Sqrt, x)?;
                cx.set(0, y);
                return Ok(());
            }
            (x, cx.scalar(e))
        }
        _ if same => operands(cx)?,
        _ => {
            let to = cx.ty(0)?.dtype;
            let exponent = cx.value(1)?;
            (cx.value(0)?, cx.cast(exponent, to)?)
        }
    };
    let y = cx.binary(Binary::Pow, x, e)?;
    cx.set(0, y);
    Ok(())
}

/// Sum, mean, max or min of any number of tensors.
pub fn variadic(cx: &mut Cx<'_, '_>) -> Lowered {
    let b = match cx.op {
        "Sum" | "Mean" => Binary::Add,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        op => return Err(Refusal::form(format!("{op} is no function of many tensors"))),
    };
    let n = cx.input_count();
    if n == 0 {
        return Err(Refusal::malformed(format!("{} has no inputs", cx.op)));
    }
    if n == 1 {
        return cx.set_alias(0, 0);
    }
    let (first, second) = if n == 2 { operands(cx)? } else { (cx.value(0)?, cx.value(1)?) };
    let mut y = cx.binary(b, first, second)?;
    for i in 2..n {
        let x = cx.value(i)?;
        y = cx.binary(b, y, x)?;
    }
    if cx.op == "Mean" {
        y = cx.binary_const(Binary::Div, y, n as f64)?;
    }
    cx.set(0, y);
    Ok(())
}

/// The two operands. A single number that broadcasts over the other becomes a constant of the graph, so that rewrites see
/// its value; those of f64 stay tensors, for rewrites compute with numbers of f32.
pub fn operands(cx: &mut Cx<'_, '_>) -> Result<(Value, Value), Refusal> {
    let (a, b) = (cx.ty(0)?, cx.ty(1)?);
    let folds = |dtype: DType| dtype.is_float() && dtype != DType::F64;
    if folds(b.dtype)
        && b.rank() <= a.rank()
        && cx.known(0)?.is_none_or(|k| k.elems.len() != 1)
        && let Some(v) = cx.known_number(1)?
    {
        return Ok((cx.value(0)?, cx.scalar(v)));
    }
    if folds(a.dtype)
        && a.rank() <= b.rank()
        && cx.known(1)?.is_none_or(|k| k.elems.len() != 1)
        && let Some(v) = cx.known_number(0)?
    {
        return Ok((cx.scalar(v), cx.value(1)?));
    }
    Ok((cx.value(0)?, cx.value(1)?))
}
