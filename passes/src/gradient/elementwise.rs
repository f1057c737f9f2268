//! Rules of functions of one and of two numbers, choices and rectifiers.

use super::rule::{Made, One, Rule};
use rectify_ir::dim::Dim;
use rectify_ir::graph::Value;
use rectify_ir::op::{Binary, Op, Trig, Unary};
use rectify_ir::scalar::Scalar;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

pub(super) fn unary(r: &mut Rule<'_>, g: Value, u: &Unary) -> Made {
    let (x, y) = (r.x[0], r.y());
    let dx = match u {
        Unary::Relu => r.gate(g, x, None)?,
        Unary::LeakyRelu { alpha } => {
            let slope = r.number(alpha.0);
            r.gate(g, x, Some(slope))?
        }
        Unary::Clip { min, max } => inside(r, g, x, min.0, max.0)?,
        Unary::Sigmoid => {
            let rest = r.affine(y, -1.0, 1.0)?;
            let d = r.mul(y, rest)?;
            r.mul(g, d)?
        }
        Unary::Tanh => {
            let square = r.mul(y, y)?;
            let d = r.affine(square, -1.0, 1.0)?;
            r.mul(g, d)?
        }
        Unary::Exp => r.mul(g, y)?,
        Unary::Log => r.div(g, x)?,
        Unary::Sqrt => {
            let half = r.affine(g, 0.5, 0.0)?;
            r.div(half, y)?
        }
        Unary::Abs => {
            let sign = r.unary(Unary::Sign, x)?;
            r.mul(g, sign)?
        }
        Unary::Neg => r.unary(Unary::Neg, g)?,
        Unary::Reciprocal => {
            let square = r.mul(y, y)?;
            let d = r.unary(Unary::Neg, square)?;
            r.mul(g, d)?
        }
        Unary::Erf => {
            let bell = bell(r, x, 1.0, FRAC_2_SQRT_PI)?;
            r.mul(g, bell)?
        }
        Unary::Gelu { tanh: false } => {
            // Φ(x) + x · φ(x)
            let scaled = r.affine(x, FRAC_1_SQRT_2, 0.0)?;
            let erf = r.unary(Unary::Erf, scaled)?;
            let below = r.affine(erf, 0.5, 0.5)?;
            let density = bell(r, x, 0.5, 1.0 / (2.0 * PI).sqrt())?;
            let moved = r.mul(x, density)?;
            let d = r.add(below, moved)?;
            r.mul(g, d)?
        }
        Unary::Gelu { tanh: true } => gelu_tanh(r, g, x)?,
        Unary::Silu => {
            // σ · (1 + x · (1 − σ))
            let s = r.unary(Unary::Sigmoid, x)?;
            let rest = r.affine(s, -1.0, 1.0)?;
            let part = r.mul(x, rest)?;
            let part = r.affine(part, 1.0, 1.0)?;
            let d = r.mul(s, part)?;
            r.mul(g, d)?
        }
        Unary::HardSigmoid { alpha, beta } => {
            let line = r.affine(x, alpha.0, beta.0)?;
            let scaled = r.affine(g, alpha.0, 0.0)?;
            inside(r, scaled, line, 0.0, 1.0)?
        }
        Unary::HardSwish => {
            // h + x/6 where 0 < h < 1, h otherwise.
            let line = r.affine(x, 1.0 / 6.0, 0.5)?;
            let h = r.unary(Unary::Clip { min: Scalar(0.0), max: Scalar(1.0) }, line)?;
            let sixth = r.affine(x, 1.0 / 6.0, 0.0)?;
            let part = inside(r, sixth, line, 0.0, 1.0)?;
            let d = r.add(h, part)?;
            r.mul(g, d)?
        }
        Unary::Elu { alpha } => {
            let zero = r.number(0.0);
            let below = r.binary(Binary::Min, x, zero)?;
            let exp = r.unary(Unary::Exp, below)?;
            let slope = r.affine(exp, alpha.0, 0.0)?;
            r.gate(g, x, Some(slope))?
        }
        Unary::Softplus => {
            let d = r.unary(Unary::Sigmoid, x)?;
            r.mul(g, d)?
        }
        Unary::Trig(f) => trig(r, g, *f)?,
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign | Unary::Not => return Ok(vec![None]),
    };
    Ok(vec![Some(dx)])
}

fn trig(r: &mut Rule<'_>, g: Value, f: Trig) -> One {
    let (x, y) = (r.x[0], r.y());
    // 1 / √(a · x² + b)
    let root = |r: &mut Rule<'_>, a: f64, b: f64| {
        let square = r.mul(x, x)?;
        let sum = r.affine(square, a, b)?;
        let root = r.unary(Unary::Sqrt, sum)?;
        r.div(g, root)
    };
    let negated = |r: &mut Rule<'_>, v: Value| r.unary(Unary::Neg, v);
    match f {
        Trig::Sin => {
            let d = r.unary(Unary::Trig(Trig::Cos), x)?;
            r.mul(g, d)
        }
        Trig::Cos => {
            let d = r.unary(Unary::Trig(Trig::Sin), x)?;
            let part = r.mul(g, d)?;
            negated(r, part)
        }
        Trig::Tan => {
            let square = r.mul(y, y)?;
            let d = r.affine(square, 1.0, 1.0)?;
            r.mul(g, d)
        }
        Trig::Asin => root(r, -1.0, 1.0),
        Trig::Acos => {
            let part = root(r, -1.0, 1.0)?;
            negated(r, part)
        }
        Trig::Sinh => {
            let d = r.unary(Unary::Trig(Trig::Cosh), x)?;
            r.mul(g, d)
        }
        Trig::Cosh => {
            let d = r.unary(Unary::Trig(Trig::Sinh), x)?;
            r.mul(g, d)
        }
        Trig::Asinh => root(r, 1.0, 1.0),
        Trig::Acosh => root(r, 1.0, -1.0),
        Trig::Atan | Trig::Atanh => {
            let square = r.mul(x, x)?;
            let sign = if f == Trig::Atan { 1.0 } else { -1.0 };
            let d = r.affine(square, sign, 1.0)?;
            r.div(g, d)
        }
    }
}

/// g where min < x < max, else 0.
fn inside(r: &mut Rule<'_>, g: Value, x: Value, min: f64, max: f64) -> One {
    let mut result = g;
    if min > f64::NEG_INFINITY {
        let above = r.affine(x, 1.0, -min)?;
        result = r.gate(result, above, None)?;
    }
    if max < f64::INFINITY {
        let below = r.affine(x, -1.0, max)?;
        result = r.gate(result, below, None)?;
    }
    Ok(result)
}

/// height · exp(−rate · x²)
fn bell(r: &mut Rule<'_>, x: Value, rate: f64, height: f64) -> One {
    let square = r.mul(x, x)?;
    let power = r.affine(square, -rate, 0.0)?;
    let exp = r.unary(Unary::Exp, power)?;
    r.affine(exp, height, 0.0)
}

/// With u = c · (x + k · x³) and t = tanh(u): ½ (1 + t) + ½ x (1 − t²) c (1 + 3 k x²)
fn gelu_tanh(r: &mut Rule<'_>, g: Value, x: Value) -> One {
    let (c, k) = ((2.0 / PI).sqrt(), 0.044_715);
    let square = r.mul(x, x)?;
    let inner = r.affine(square, c * k, c)?;
    let u = r.mul(x, inner)?;
    let t = r.unary(Unary::Tanh, u)?;
    let below = r.affine(t, 0.5, 0.5)?;
    let t_square = r.mul(t, t)?;
    let flat = r.affine(t_square, -0.5, 0.5)?;
    let speed = r.affine(square, 3.0 * c * k, c)?;
    let moved = r.mul(x, flat)?;
    let moved = r.mul(moved, speed)?;
    let d = r.add(below, moved)?;
    r.mul(g, d)
}

pub(super) fn binary(r: &mut Rule<'_>, g: Value, b: Binary) -> Made {
    let (x, y) = ([r.x[0], r.x[1]], r.y());
    let mut made = vec![None, None];
    for side in 0..2 {
        if !r.wants(side) {
            continue;
        }
        let (own, other) = (x[side], x[1 - side]);
        let full = match b {
            Binary::Add => g,
            Binary::Sub if side == 0 => g,
            Binary::Sub => r.unary(Unary::Neg, g)?,
            Binary::Mul => r.mul(g, other)?,
            Binary::Div if side == 0 => r.div(g, other)?,
            Binary::Div => {
                let ratio = r.div(y, own)?;
                let part = r.mul(g, ratio)?;
                r.unary(Unary::Neg, part)?
            }
            Binary::Max | Binary::Min => {
                // ½ (1 + sign(own − other)): 1 for the greater, ½ for equals.
                let ahead = if b == Binary::Max { r.sub(own, other)? } else { r.sub(other, own)? };
                let sign = r.unary(Unary::Sign, ahead)?;
                let share = r.affine(sign, 0.5, 0.5)?;
                r.mul(g, share)?
            }
            Binary::Pow if side == 0 => {
                let less = r.affine(other, 1.0, -1.0)?;
                let power = r.binary(Binary::Pow, own, less)?;
                let slope = r.mul(other, power)?;
                r.mul(g, slope)?
            }
            Binary::Pow => {
                let log = r.unary(Unary::Log, other)?;
                let slope = r.mul(y, log)?;
                r.mul(g, slope)?
            }
            // Constant steps of the divisor between its jumps.
            Binary::Rem if side == 0 => g,
            Binary::Rem => {
                let rest = r.sub(other, y)?;
                let steps = r.div(rest, own)?;
                let part = r.mul(g, steps)?;
                r.unary(Unary::Neg, part)?
            }
            Binary::Equal
            | Binary::Less
            | Binary::LessEqual
            | Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::ShiftLeft
            | Binary::ShiftRight => return Ok(made),
        };
        made[side] = Some(back(r, full, own)?);
    }
    Ok(made)
}

/// Undoes the broadcast of `operand` to the node's result; g itself may be a number.
fn back(r: &mut Rule<'_>, g: Value, operand: Value) -> One {
    let (whole, own) = (r.shape(r.y()), r.shape(operand));
    let full = r.expand(g, &whole)?;
    r.sum_to(full, &own)
}

pub(super) fn select(r: &mut Rule<'_>, g: Value) -> Made {
    let (condition, zero) = (r.x[0], r.number(0.0));
    let mut made = vec![None; 3];
    for (operand, pair) in [(1, [g, zero]), (2, [zero, g])] {
        if r.wants(operand) {
            let part = r.push(Op::Select, &[condition, pair[0], pair[1]])?;
            made[operand] = Some(back(r, part, r.x[operand])?);
        }
    }
    Ok(made)
}

/// Between floats; other types hold steps.
pub(super) fn cast(r: &mut Rule<'_>, g: Value) -> Made {
    let (from, to) = (r.graph.ty(r.x[0]).dtype, r.graph.ty(r.y()).dtype);
    if !from.is_float() || !to.is_float() {
        return Ok(vec![None]);
    }
    Ok(vec![Some(r.push(Op::Cast { to: from }, &[g])?)])
}

/// dx = g · (x > 0 ? 1 : slope); dslope = Σ g · min(x, 0) over the elements that share a slope.
pub(super) fn prelu(r: &mut Rule<'_>, g: Value, axes: &[usize]) -> Made {
    let (x, slope) = (r.x[0], r.x[1]);
    let (shape, own) = (r.shape(x), r.shape(slope));
    let mut spread = vec![Dim::Const(1); shape.len()];
    for (axis, size) in axes.iter().zip(&own) {
        spread[*axis] = size.clone();
    }
    let mut made = vec![None, None];
    if r.wants(0) {
        let slope = r.reshape(slope, &spread)?;
        made[0] = Some(r.gate(g, x, Some(slope))?);
    }
    if r.wants(1) {
        let zero = r.number(0.0);
        let below = r.binary(Binary::Min, x, zero)?;
        let each = r.mul(g, below)?;
        let each = r.expand(each, &shape)?;
        let summed = r.sum_to(each, &spread)?;
        made[1] = Some(r.reshape(summed, &own)?);
    }
    Ok(made)
}
