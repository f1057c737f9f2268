//! Arithmetic on known elements: exact on symbolic sizes, rounded as the file's types are on floats.

use super::values::{Elem, round_to, truncated};
use rectify_ir::{DType, Dim, DimFacts};
use std::cmp::Ordering;

/// Functions of one known number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryFn {
    Neg,
    Abs,
    Floor,
    Ceil,
    Round,
    Sqrt,
    Reciprocal,
    Sign,
    Not,
}

pub fn unary(f: UnaryFn, e: &Elem, dtype: DType, facts: &DimFacts) -> Option<Elem> {
    if let (Elem::Float(v), true) = (e, dtype.is_float()) {
        let r = match f {
            UnaryFn::Neg => -v,
            UnaryFn::Abs => v.abs(),
            UnaryFn::Floor => v.floor(),
            UnaryFn::Ceil => v.ceil(),
            UnaryFn::Round => v.round_ties_even(),
            UnaryFn::Sqrt => v.sqrt(),
            UnaryFn::Reciprocal => 1.0 / v,
            UnaryFn::Sign if *v == 0.0 || v.is_nan() => *v,
            UnaryFn::Sign => v.signum(),
            UnaryFn::Not => return None,
        };
        return Some(Elem::Float(round_to(r, dtype)));
    }
    let Elem::Exact { num, den } = e else { return None };
    let (low, high) = num.bounds(facts);
    let exact = |num: Dim, den| Some(Elem::Exact { num, den });
    let negated = || Dim::Const(0).sub(num).ok();
    match f {
        UnaryFn::Neg => exact(negated()?, *den),
        UnaryFn::Abs if low? >= 0 => exact(num.clone(), *den),
        UnaryFn::Abs if high? <= 0 => exact(negated()?, *den),
        UnaryFn::Floor => exact(num.floor_div(*den, facts).ok()?, 1),
        UnaryFn::Ceil => exact(num.ceil_div(*den, facts).ok()?, 1),
        UnaryFn::Round if *den == 1 => exact(num.clone(), 1),
        UnaryFn::Sign if low? > 0 => exact(Dim::Const(1), 1),
        UnaryFn::Sign if high? < 0 => exact(Dim::Const(-1), 1),
        UnaryFn::Sign if num.as_const()? == 0 => exact(Dim::Const(0), 1),
        UnaryFn::Not if dtype == DType::Bool => Some(Elem::int((num.as_const()? == 0).into())),
        UnaryFn::Abs
        | UnaryFn::Round
        | UnaryFn::Sign
        | UnaryFn::Not
        | UnaryFn::Sqrt
        | UnaryFn::Reciprocal => None,
    }
}

/// Functions of two known numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    /// The sign of the divisor, or of the dividend with `fmod`.
    Mod {
        fmod: bool,
    },
    Max,
    Min,
    Pow,
    And,
    Or,
    Xor,
    Compare(Compare),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl BinaryFn {
    /// The result's type for operands of type `dtype`.
    pub fn result(self, dtype: DType) -> DType {
        match self {
            BinaryFn::Compare(_) => DType::Bool,
            BinaryFn::Add
            | BinaryFn::Sub
            | BinaryFn::Mul
            | BinaryFn::Div
            | BinaryFn::Mod { .. }
            | BinaryFn::Max
            | BinaryFn::Min
            | BinaryFn::Pow
            | BinaryFn::And
            | BinaryFn::Or
            | BinaryFn::Xor => dtype,
        }
    }
}

pub fn binary(f: BinaryFn, a: &Elem, b: &Elem, dtype: DType, facts: &DimFacts) -> Option<Elem> {
    match f {
        BinaryFn::And => return Some(Elem::int((a.truth()? & b.truth()?).into())),
        BinaryFn::Or => return Some(Elem::int((a.truth()? | b.truth()?).into())),
        BinaryFn::Xor => return Some(Elem::int((a.truth()? ^ b.truth()?).into())),
        BinaryFn::Compare(c) => return Some(Elem::int(compare(c, a, b, facts)?.into())),
        BinaryFn::Max | BinaryFn::Min => {
            if let (Elem::Float(a), Elem::Float(b)) = (a, b) {
                let r = if f == BinaryFn::Max { a.max(*b) } else { a.min(*b) };
                return Some(Elem::Float(if a.is_nan() || b.is_nan() { f64::NAN } else { r }));
            }
            let first = compare(Compare::GreaterOrEqual, a, b, facts)? == (f == BinaryFn::Max);
            return Some(if first { a.clone() } else { b.clone() });
        }
        BinaryFn::Add
        | BinaryFn::Sub
        | BinaryFn::Mul
        | BinaryFn::Div
        | BinaryFn::Mod { .. }
        | BinaryFn::Pow => {}
    }
    if dtype.is_float() {
        return float_arithmetic(f, a, b, dtype, facts);
    }
    let (Elem::Exact { num: a, .. }, Elem::Exact { num: b, .. }) = (a, b) else { return None };
    let result = match f {
        BinaryFn::Add => a.add(b).ok()?,
        BinaryFn::Sub => a.sub(b).ok()?,
        BinaryFn::Mul => a.mul(b).ok()?,
        BinaryFn::Div => integer_quotient(a, b, facts)?,
        BinaryFn::Mod { fmod } => match (a.as_const(), b.as_const()) {
            (Some(a), Some(b)) => {
                let r = a.checked_rem(b)?;
                Dim::Const(if !fmod && r != 0 && (r < 0) != (b < 0) { r + b } else { r })
            }
            _ if a.bounds(facts).0? >= 0 && b.bounds(facts).0? > 0 => {
                a.sub(&integer_quotient(a, b, facts)?.mul(b).ok()?).ok()?
            }
            _ => return None,
        },
        BinaryFn::Pow => {
            let exponent = u32::try_from(b.as_const()?).ok().filter(|e| *e <= 64)?;
            (0..exponent).try_fold(Dim::Const(1), |p, _| p.mul(a)).ok()?
        }
        BinaryFn::Max
        | BinaryFn::Min
        | BinaryFn::And
        | BinaryFn::Or
        | BinaryFn::Xor
        | BinaryFn::Compare(_) => return None,
    };
    Some(Elem::dim(result))
}

/// Rounded towards zero, as integer division is.
fn integer_quotient(a: &Dim, b: &Dim, facts: &DimFacts) -> Option<Dim> {
    match b.as_const() {
        Some(0) => None,
        Some(d) => truncated(a, d, facts),
        None => a.div_exact(b, facts).ok(),
    }
}

fn float_arithmetic(f: BinaryFn, a: &Elem, b: &Elem, dtype: DType, facts: &DimFacts) -> Option<Elem> {
    if let (Elem::Float(a), Elem::Float(b)) = (a, b) {
        // Rounding the f64 result to f32 gives the f32 result: the double has more than twice the digits.
        let r = match f {
            BinaryFn::Add => a + b,
            BinaryFn::Sub => a - b,
            BinaryFn::Mul => a * b,
            BinaryFn::Div => a / b,
            BinaryFn::Pow => a.powf(*b),
            BinaryFn::Mod { .. } => a % b,
            _ => return None,
        };
        return Some(Elem::Float(round_to(r, dtype)));
    }
    let ((an, ad), (bn, bd)) = (a.fraction()?, b.fraction()?);
    let scaled = |d: &Dim, by: i64| d.mul(&Dim::Const(by)).ok();
    let (num, den) = match f {
        BinaryFn::Add => (scaled(&an, bd)?.add(&scaled(&bn, ad)?).ok()?, ad.checked_mul(bd)?),
        BinaryFn::Sub => (scaled(&an, bd)?.sub(&scaled(&bn, ad)?).ok()?, ad.checked_mul(bd)?),
        BinaryFn::Mul => (an.mul(&bn).ok()?, ad.checked_mul(bd)?),
        BinaryFn::Div => match bn.as_const() {
            Some(n) if n > 0 => (scaled(&an, bd)?, ad.checked_mul(n)?),
            Some(_) => return None,
            // A quotient of symbolic sizes is known where it is whole: 2·H / H.
            None => (scaled(&an, bd)?.div_exact(&bn, facts).ok()?, ad),
        },
        _ => return None,
    };
    Some(reduced(num, den, dtype, facts))
}

fn reduced(num: Dim, den: i64, dtype: DType, facts: &DimFacts) -> Elem {
    if let Some(n) = num.as_const() {
        return Elem::Float(round_to(n as f64 / den as f64, dtype));
    }
    match num.div_exact(&Dim::Const(den), facts) {
        Ok(whole) => Elem::dim(whole),
        Err(_) => Elem::Exact { num, den },
    }
}

/// The truth of `a c b` for every value of the symbolic sizes, if it is the same for all.
fn compare(c: Compare, a: &Elem, b: &Elem, facts: &DimFacts) -> Option<bool> {
    if let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) {
        return Some(match c {
            Compare::Equal => a == b,
            Compare::Less => a < b,
            Compare::LessOrEqual => a <= b,
            Compare::Greater => a > b,
            Compare::GreaterOrEqual => a >= b,
        });
    }
    let ((an, ad), (bn, bd)) = (a.fraction()?, b.fraction()?);
    let difference = an.mul(&Dim::Const(bd)).ok()?.sub(&bn.mul(&Dim::Const(ad)).ok()?).ok()?;
    let (low, high) = difference.bounds(facts);
    let (low, high) = (low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX));
    let sign = match (low.cmp(&0), high.cmp(&0)) {
        (Ordering::Equal, Ordering::Equal) => Some(Ordering::Equal),
        (Ordering::Greater, _) => Some(Ordering::Greater),
        (_, Ordering::Less) => Some(Ordering::Less),
        _ => None,
    };
    match (c, sign) {
        (Compare::Equal, Some(s)) => Some(s == Ordering::Equal),
        (Compare::Less, Some(s)) => Some(s == Ordering::Less),
        (Compare::Greater, Some(s)) => Some(s == Ordering::Greater),
        (Compare::LessOrEqual, Some(s)) => Some(s != Ordering::Greater),
        (Compare::GreaterOrEqual, Some(s)) => Some(s != Ordering::Less),
        (Compare::Less, None) if low >= 0 => Some(false),
        (Compare::GreaterOrEqual, None) if low >= 0 => Some(true),
        (Compare::Greater, None) if high <= 0 => Some(false),
        (Compare::LessOrEqual, None) if high <= 0 => Some(true),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::{Elem, Known, cast};
    use super::*;

    fn h() -> Elem {
        Elem::dim(Dim::sym("H"))
    }

    fn facts() -> DimFacts {
        DimFacts::default()
    }

    #[test]
    fn upsampling_through_floats() {
        // floor(cast(H) · 1.5), as exporters write a size.
        let by = binary(BinaryFn::Mul, &h(), &Elem::Float(1.5), DType::F32, &facts()).unwrap();
        let down = unary(UnaryFn::Floor, &by, DType::F32, &facts()).unwrap();
        let int = cast(&down, DType::I64, &facts()).unwrap();
        assert_eq!(int, Elem::dim(Dim::parse("floor(3*H/2)").unwrap()));
        let back = binary(BinaryFn::Div, &by, &h(), DType::F32, &facts());
        assert_eq!(back, Some(Elem::Float(1.5)));
        let two = binary(BinaryFn::Mul, &h(), &Elem::Float(2.0), DType::F32, &facts()).unwrap();
        assert_eq!(binary(BinaryFn::Div, &two, &h(), DType::F32, &facts()), Some(Elem::Float(2.0)));
    }

    #[test]
    fn comparisons_hold_for_all_sizes_or_are_unknown() {
        let eq = |a: &Elem, b: &Elem| binary(BinaryFn::Compare(Compare::Equal), a, b, DType::I64, &facts());
        assert_eq!(eq(&h(), &Elem::int(-1)), Some(Elem::int(0)));
        assert_eq!(eq(&h(), &h()), Some(Elem::int(1)));
        assert_eq!(eq(&h(), &Elem::int(5)), None);
        let max = binary(BinaryFn::Max, &h(), &Elem::int(1), DType::I64, &facts());
        assert_eq!(max, Some(h()));
    }

    #[test]
    fn integers_divide_towards_zero() {
        let div = |a, b| binary(BinaryFn::Div, &Elem::int(a), &Elem::int(b), DType::I64, &facts());
        assert_eq!(div(-7, 2), Some(Elem::int(-3)));
        assert_eq!(div(7, 0), None);
        assert_eq!(div(i64::MIN, -1), None);
        let m = |fmod| {
            binary(BinaryFn::Mod { fmod }, &Elem::int(-7), &Elem::int(3), DType::I64, &facts()).unwrap()
        };
        assert_eq!((m(false), m(true)), (Elem::int(2), Elem::int(-1)));
    }

    #[test]
    fn casts_wrap_and_truncate() {
        let to = |e: Elem, d| cast(&e, d, &facts());
        assert_eq!(to(Elem::Float(-1.7), DType::I64), Some(Elem::int(-1)));
        assert_eq!(to(Elem::int(300), DType::U8), Some(Elem::int(44)));
        assert_eq!(to(Elem::int(200), DType::I8), Some(Elem::int(-56)));
        assert_eq!(to(Elem::Float(f64::NAN), DType::I64), None);
        assert_eq!(to(Elem::Float(0.5), DType::Bool), Some(Elem::int(1)));
        let k = Known::dims(&[Dim::Const(2), Dim::sym("H")]);
        assert!(k.to_literal().is_none());
        assert_eq!(k.as_dims().unwrap()[1], Dim::sym("H"));
    }
}
