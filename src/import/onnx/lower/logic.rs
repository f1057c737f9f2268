//! Comparisons, functions of bool, and what chooses between tensors.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::arithmetic::operands;
use rectify_ir::DType;
use rectify_ir::op::{Binary, Unary};

/// Comparisons and functions of two bools. What is greater is less the other way round.
pub fn binary(cx: &mut Cx<'_, '_>) -> Lowered {
    let (b, swapped) = match cx.op {
        "Equal" => (Binary::Equal, false),
        "Less" => (Binary::Less, false),
        "LessOrEqual" => (Binary::LessEqual, false),
        "Greater" => (Binary::Less, true),
        "GreaterOrEqual" => (Binary::LessEqual, true),
        "And" => (Binary::And, false),
        "Or" => (Binary::Or, false),
        "Xor" => (Binary::Xor, false),
        op => return Err(Refusal::form(format!("{op} is no comparison"))),
    };
    let (x, y) = operands(cx)?;
    let (x, y) = if swapped { (y, x) } else { (x, y) };
    let y = cx.binary(b, x, y)?;
    cx.set(0, y);
    Ok(())
}

pub fn not(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let y = cx.unary(Unary::Not, x)?;
    cx.set(0, y);
    Ok(())
}

/// Only a NaN differs from itself.
pub fn is_nan(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let same = cx.binary(Binary::Equal, x, x)?;
    let y = cx.unary(Unary::Not, same)?;
    cx.set(0, y);
    Ok(())
}

pub fn is_inf(cx: &mut Cx<'_, '_>) -> Lowered {
    let (negative, positive) =
        (cx.attrs.flag("detect_negative", true)?, cx.attrs.flag("detect_positive", true)?);
    let mut x = cx.value(0)?;
    let sought = match (negative, positive) {
        (true, true) => {
            x = cx.unary(Unary::Abs, x)?;
            f64::INFINITY
        }
        (false, true) => f64::INFINITY,
        (true, false) => f64::NEG_INFINITY,
        // Nothing is sought, and no number is less than itself.
        (false, false) => {
            let y = cx.binary(Binary::Less, x, x)?;
            cx.set(0, y);
            return Ok(());
        }
    };
    let sought = cx.scalar(sought);
    let y = cx.binary(Binary::Equal, x, sought)?;
    cx.set(0, y);
    Ok(())
}

pub fn choose(cx: &mut Cx<'_, '_>) -> Lowered {
    let (condition, a, b) = (cx.value(0)?, cx.value(1)?, cx.value(2)?);
    let y = cx.select(condition, a, b)?;
    cx.set(0, y);
    Ok(())
}

/// x > alpha ? x : 0
pub fn thresholded_relu(cx: &mut Cx<'_, '_>) -> Lowered {
    let alpha = cx.attrs.float("alpha", 1.0)?;
    let x = cx.value(0)?;
    let (alpha, zero) = (cx.scalar(alpha), cx.scalar(0.0));
    let above = cx.binary(Binary::Less, alpha, x)?;
    let y = cx.select(above, x, zero)?;
    cx.set(0, y);
    Ok(())
}

/// x < −lambd ? x + bias : x > lambd ? x − bias : 0
pub fn shrink(cx: &mut Cx<'_, '_>) -> Lowered {
    let bias = cx.attrs.float("bias", 0.0)?;
    let lambda = cx.attrs.float("lambd", 0.5)?;
    let x = cx.value(0)?;
    // Integers are shrunk by fractions too, and cut.
    let own = cx.type_of(x).dtype;
    let x = if own.is_float() { x } else { cx.cast(x, DType::F64)? };
    let (low, high, zero) = (cx.scalar(-lambda), cx.scalar(lambda), cx.scalar(0.0));
    let below = cx.binary(Binary::Less, x, low)?;
    let above = cx.binary(Binary::Less, high, x)?;
    let raised = cx.binary_const(Binary::Add, x, bias)?;
    let lowered = cx.binary_const(Binary::Sub, x, bias)?;
    let rest = cx.select(above, lowered, zero)?;
    let y = cx.select(below, raised, rest)?;
    let y = cx.cast(y, own)?;
    cx.set(0, y);
    Ok(())
}
