//! Meaning of the elementwise operations.

use super::float::{Float, erf, erfc, max, min};
use super::tensor::{Data, Tensor, for_each_index, strides};
use super::{EvalError, Kernel};
use crate::dtype::DType;
use crate::op::{Binary, BinaryKind, Unary};

/// A function of one number. What is a formula of products is computed in `T`; the rest in `f64`, rounded once.
pub fn apply_unary<T: Float>(u: &Unary, x: T) -> T {
    let wide = |f: fn(f64) -> f64| T::from_f64(f(x.to_f64()));
    match u {
        Unary::Relu => max(x, T::ZERO),
        Unary::LeakyRelu { alpha } => prelu(x, T::from_f64(alpha.0)),
        Unary::Clip { min: low, max: high } => min(max(x, T::from_f64(low.0)), T::from_f64(high.0)),
        Unary::Abs => wide(f64::abs),
        Unary::Neg => -x,
        Unary::Reciprocal => T::ONE / x,
        Unary::Sqrt => x.sqrt(),
        Unary::Floor => wide(f64::floor),
        Unary::Ceil => wide(f64::ceil),
        Unary::Round => wide(f64::round_ties_even),
        Unary::Sign if x > T::ZERO => T::ONE,
        Unary::Sign if x < T::ZERO => -T::ONE,
        // Zero and NaN.
        Unary::Sign => x,
        Unary::Not => truth(x == T::ZERO),
        Unary::Trig(f) => T::from_f64(f.evaluate(x.to_f64())),
        Unary::Sigmoid => wide(sigmoid),
        Unary::Tanh => wide(f64::tanh),
        Unary::Exp => wide(f64::exp),
        Unary::Log => wide(f64::ln),
        Unary::Erf => wide(erf),
        Unary::Gelu { tanh: false } => wide(|x| x * 0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)),
        Unary::Gelu { tanh: true } => wide(|x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }),
        Unary::Silu => wide(|x| x * sigmoid(x)),
        Unary::HardSigmoid { alpha, beta } => {
            let line = T::from_f64(alpha.0) * x + T::from_f64(beta.0);
            max(min(line, T::ONE), T::ZERO)
        }
        Unary::HardSwish => wide(|x| x * max(min(x / 6.0 + 0.5, 1.0), 0.0)),
        Unary::Elu { alpha } => {
            let v = x.to_f64();
            if v > 0.0 { x } else { T::from_f64(alpha.0 * v.exp_m1()) }
        }
        // ln(1 + exp(x)) without overflow.
        Unary::Softplus => wide(|x| max(x, 0.0) + (-x.abs()).exp().ln_1p()),
    }
}

/// Bool as a number.
fn truth<T: Float>(v: bool) -> T {
    if v { T::ONE } else { T::ZERO }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x > 0 ? x : slope · x`
pub fn prelu<T: Float>(x: T, slope: T) -> T {
    if x > T::ZERO { x } else { slope * x }
}

/// A function of two numbers.
pub fn apply_binary<T: Float>(op: Binary, a: T, b: T) -> T {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => max(a, b),
        Binary::Min => min(a, b),
        Binary::Pow => T::from_f64(a.to_f64().powf(b.to_f64())),
        Binary::Equal => truth(a == b),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::And => truth(a != T::ZERO && b != T::ZERO),
        Binary::Or => truth(a != T::ZERO || b != T::ZERO),
        Binary::Xor => truth((a != T::ZERO) != (b != T::ZERO)),
        Binary::Rem => T::from_f64(a.to_f64() % b.to_f64()),
        // The shape rules admit integers only.
        Binary::ShiftLeft | Binary::ShiftRight => a,
    }
}

pub(super) fn unary<T: Float>(u: &Unary, x: &Tensor<T>, dtype: DType) -> Tensor<T> {
    let data = match &x.data {
        Data::Float(v) => Data::Float(v.iter().map(|x| apply_unary(u, *x)).collect()),
        Data::Int(v) => Data::Int(v.iter().map(|x| unary_int(u, *x, dtype)).collect()),
        // `not` is the only function of bool.
        Data::Bool(v) => Data::Bool(v.iter().map(|v| !v).collect()),
    };
    Tensor { shape: x.shape.clone(), data }
}

/// The functions that integers have; the shape rules admit no other.
fn unary_int(u: &Unary, x: i64, dtype: DType) -> i64 {
    let v = widen(x, dtype);
    let result = match u {
        Unary::Relu => v.max(0),
        Unary::Abs => v.abs(),
        Unary::Neg => -v,
        Unary::Sign => v.signum(),
        // Comparing as numbers leaves an integer where the bounds are integers or do not bind.
        Unary::Clip { min, max } => {
            let low = if (v as f64) < min.0 { min.0.ceil() as i128 } else { v };
            if (low as f64) > max.0 { max.0.floor() as i128 } else { low }
        }
        Unary::LeakyRelu { .. }
        | Unary::Sigmoid
        | Unary::Tanh
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Reciprocal
        | Unary::Erf
        | Unary::Gelu { .. }
        | Unary::Silu
        | Unary::HardSigmoid { .. }
        | Unary::HardSwish
        | Unary::Elu { .. }
        | Unary::Softplus
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Not
        | Unary::Trig(_) => v,
    };
    narrow(result, dtype)
}

/// The number that a 64-bit pattern stands for.
fn widen(x: i64, dtype: DType) -> i128 {
    if dtype == DType::U64 { (x as u64).into() } else { x.into() }
}

/// A sum of 64 bits, wrapped to the type's width.
pub(super) fn wrap(v: i64, dtype: DType) -> i64 {
    narrow(v.into(), dtype)
}

/// The pattern of a number, wrapped to the type's width.
fn narrow(v: i128, dtype: DType) -> i64 {
    match dtype {
        DType::I8 => v as i8 as i64,
        DType::I16 => v as i16 as i64,
        DType::I32 => v as i32 as i64,
        DType::U8 => v as u8 as i64,
        DType::U16 => v as u16 as i64,
        DType::U32 => v as u32 as i64,
        DType::I64 | DType::U64 => v as i64,
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::Bool => v as i64,
    }
}

/// Sums of integers wrap as additions do.
pub(super) fn binary_int(op: Binary, a: i64, b: i64, dtype: DType) -> Result<i64, EvalError> {
    let (a, b) = (widen(a, dtype), widen(b, dtype));
    let v = match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => a.checked_div(b).ok_or(EvalError::DivisionByZero)?,
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Pow => power(a, b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Rem => a.checked_rem(b).ok_or(EvalError::DivisionByZero)?,
        Binary::ShiftLeft | Binary::ShiftRight if !(0..64).contains(&b) => {
            if a < 0 && op == Binary::ShiftRight { -1 } else { 0 }
        }
        Binary::ShiftLeft => a << b,
        Binary::ShiftRight => a >> b,
        Binary::Equal => i128::from(a == b),
        Binary::Less => i128::from(a < b),
        Binary::LessEqual => i128::from(a <= b),
    };
    Ok(narrow(v, dtype))
}

/// By squares, wrapping. A negative exponent leaves 1 of 1, ±1 of −1, and 0 of the others.
fn power(a: i128, b: i128) -> i128 {
    if b < 0 {
        return match a {
            1 => 1,
            -1 if b % 2 != 0 => -1,
            -1 => 1,
            _ => 0,
        };
    }
    // The low 64 bits of products are those of their factors.
    let (mut result, mut base, mut rest) = (1i64, a as i64, b as u64);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        rest >>= 1;
    }
    result.into()
}

pub(super) fn binary<T: Float>(
    k: &Kernel<'_, T>,
    op: Binary,
    a: &Tensor<T>,
    b: &Tensor<T>,
) -> Result<Tensor<T>, EvalError> {
    let shape = k.shape(0)?;
    let data = match (&a.data, &b.data) {
        (Data::Float(x), Data::Float(y)) => {
            let mut out = Vec::with_capacity(shape.iter().product());
            zip(&shape, &a.shape, &b.shape, |i, j| out.push(apply_binary(op, x[i], y[j])));
            Data::Float(out)
        }
        (Data::Int(x), Data::Int(y)) => {
            let mut out = Ok(Vec::with_capacity(shape.iter().product()));
            zip(&shape, &a.shape, &b.shape, |i, j| match (&mut out, binary_int(op, x[i], y[j], k.of)) {
                (Ok(v), Ok(r)) => v.push(r),
                (Ok(_), Err(e)) => out = Err(e),
                (Err(_), _) => {}
            });
            Data::Int(out?)
        }
        (Data::Bool(x), Data::Bool(y)) => {
            let mut out = Vec::with_capacity(shape.iter().product());
            let number = |v: bool| if v { T::ONE } else { T::ZERO };
            zip(&shape, &a.shape, &b.shape, |i, j| out.push(apply_binary(op, number(x[i]), number(y[j]))));
            Data::Float(out)
        }
        _ => return Err(EvalError::Kind),
    };
    let tensor = Tensor { shape, data };
    Ok(match op.kind() {
        BinaryKind::Arithmetic => tensor,
        BinaryKind::Comparison | BinaryKind::Logic => cast(&tensor, k.of, DType::Bool),
    })
}

/// condition, a, b
pub(super) fn select<T: Float>(k: &Kernel<'_, T>) -> Result<Tensor<T>, EvalError> {
    let [condition, a, b] = k.x else { return Err(EvalError::Kind) };
    let Data::Bool(c) = &condition.data else { return Err(EvalError::Kind) };
    let shape = k.shape(0)?;
    let steps = [&condition.shape, &a.shape, &b.shape].map(|s| broadcast_strides(&shape, s));
    let mut places = Vec::with_capacity(shape.iter().product());
    for_each_index(&shape, |index| {
        let at = |s: &[usize]| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
        places.push((c[at(&steps[0])], at(&steps[1]), at(&steps[2])));
    });
    let data = match (&a.data, &b.data) {
        (Data::Float(x), Data::Float(y)) => Data::Float(choose(&places, x, y)),
        (Data::Int(x), Data::Int(y)) => Data::Int(choose(&places, x, y)),
        (Data::Bool(x), Data::Bool(y)) => Data::Bool(choose(&places, x, y)),
        _ => return Err(EvalError::Kind),
    };
    Ok(Tensor { shape, data })
}

fn choose<V: Copy>(places: &[(bool, usize, usize)], a: &[V], b: &[V]) -> Vec<V> {
    places.iter().map(|(c, i, j)| if *c { a[*i] } else { b[*j] }).collect()
}

/// The elements as another type. Integers wrap to the width; floats to integers are cut towards zero and saturate at
/// the 64 bits in between; the narrow float types are rounded to, f32 and f64 are what the interpreter computes in.
pub(super) fn cast<T: Float>(x: &Tensor<T>, from: DType, to: DType) -> Tensor<T> {
    let narrow_float = |v: f64| match to {
        DType::F16 => half::f16::from_f64(v).to_f64(),
        DType::BF16 => half::bf16::from_f64(v).to_f64(),
        _ => v,
    };
    let data = match &x.data {
        Data::Float(v) if to == DType::Bool => Data::Bool(v.iter().map(|v| *v != T::ZERO).collect()),
        Data::Int(v) if to == DType::Bool => Data::Bool(v.iter().map(|v| *v != 0).collect()),
        Data::Bool(v) if to == DType::Bool => Data::Bool(v.clone()),
        Data::Float(v) if to.is_int() => {
            let greatest = if to == DType::U64 { i128::from(u64::MAX) } else { i128::from(i64::MAX) };
            let whole = |v: &T| (v.to_f64() as i128).clamp(i64::MIN.into(), greatest);
            Data::Int(v.iter().map(|v| narrow(whole(v), to)).collect())
        }
        Data::Int(v) if to.is_int() => Data::Int(v.iter().map(|v| narrow(i128::from(*v), to)).collect()),
        Data::Bool(v) if to.is_int() => Data::Int(v.iter().map(|v| i64::from(*v)).collect()),
        Data::Int(v) if from == DType::U64 => {
            Data::Float(v.iter().map(|v| T::from_f64(narrow_float(*v as u64 as f64))).collect())
        }
        Data::Float(_) | Data::Int(_) | Data::Bool(_) => {
            Data::Float(x.to_f64().into_iter().map(|v| T::from_f64(narrow_float(v))).collect())
        }
    };
    Tensor { shape: x.shape.clone(), data }
}

pub(super) fn prelu_tensor<T: Float>(
    x: &Tensor<T>,
    slope: &Tensor<T>,
    axes: &[usize],
) -> Result<Tensor<T>, EvalError> {
    let (Some(v), Some(s)) = (x.floats(), slope.floats()) else { return Err(EvalError::Kind) };
    // The slope as a tensor of x's rank.
    let mut placed = vec![1; x.shape.len()];
    for (d, axis) in slope.shape.iter().zip(axes) {
        placed[*axis] = *d;
    }
    let mut out = Vec::with_capacity(v.len());
    zip(&x.shape, &x.shape, &placed, |i, j| out.push(prelu(v[i], s[j])));
    Ok(Tensor { shape: x.shape.clone(), data: Data::Float(out) })
}

/// Calls `f` with the places of both operands for every element of `shape`, to which they broadcast.
fn zip(shape: &[usize], a: &[usize], b: &[usize], mut f: impl FnMut(usize, usize)) {
    let n: usize = shape.iter().product();
    if a == shape && b == shape {
        (0..n).for_each(|i| f(i, i));
        return;
    }
    let (sa, sb) = (broadcast_strides(shape, a), broadcast_strides(shape, b));
    let dot = |index: &[usize], s: &[usize]| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
    for_each_index(shape, |index| f(dot(index, &sa), dot(index, &sb)));
}

/// Strides of `from` as seen from `shape`, to which it broadcasts: 0 along repeated axes.
pub(super) fn broadcast_strides(shape: &[usize], from: &[usize]) -> Vec<usize> {
    let offset = shape.len() - from.len();
    let own = strides(from);
    (0..shape.len())
        .map(|i| match i.checked_sub(offset) {
            Some(j) if from[j] != 1 => own[j],
            _ => 0,
        })
        .collect()
}
