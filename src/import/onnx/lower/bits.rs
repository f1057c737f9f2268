//! Remainders, and functions of the bits of integers.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::arithmetic::operands;
use rectify_ir::DType;
use rectify_ir::op::{Binary, Unary};

/// The remainder with the sign of the dividend (`fmod`), or with that of the divisor.
pub fn modulo(cx: &mut Cx<'_, '_>) -> Lowered {
    let truncated = cx.attrs.flag("fmod", false)?;
    let dtype = cx.ty(0)?.dtype;
    if dtype.is_float() && !truncated && cx.version < 28 {
        return Err(Refusal::malformed("Mod of floats needs `fmod: 1` before operator set 28"));
    }
    let (a, b) = operands(cx)?;
    let mut y = cx.binary(Binary::Rem, a, b)?;
    let unsigned = matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64);
    if !truncated && !unsigned {
        let zero = cx.scalar(0.0);
        let negative = cx.binary(Binary::Less, y, zero)?;
        let divisor_negative = cx.binary(Binary::Less, b, zero)?;
        let differ = cx.binary(Binary::Xor, negative, divisor_negative)?;
        let whole = cx.binary(Binary::Equal, y, zero)?;
        let rest = cx.unary(Unary::Not, whole)?;
        let other_side = cx.binary(Binary::And, differ, rest)?;
        let moved = cx.binary(Binary::Add, y, b)?;
        y = cx.select(other_side, moved, y)?;
    }
    cx.set(0, y);
    Ok(())
}

pub fn binary(cx: &mut Cx<'_, '_>) -> Lowered {
    let b = match cx.op {
        "BitwiseAnd" => Binary::And,
        "BitwiseOr" => Binary::Or,
        "BitwiseXor" => Binary::Xor,
        "BitShift" => match cx.attrs.opt_text("direction")? {
            Some("LEFT") => Binary::ShiftLeft,
            Some("RIGHT") => Binary::ShiftRight,
            _ => return Err(Refusal::attribute("`direction` is LEFT or RIGHT")),
        },
        op => return Err(Refusal::form(format!("{op} is no function of bits"))),
    };
    let (x, y) = operands(cx)?;
    let y = cx.binary(b, x, y)?;
    cx.set(0, y);
    Ok(())
}

/// −x − 1 has every bit the other way.
pub fn not(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let y = cx.unary(Unary::Neg, x)?;
    let y = cx.binary_const(Binary::Sub, y, 1.0)?;
    cx.set(0, y);
    Ok(())
}
