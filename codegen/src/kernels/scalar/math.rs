//! Functions of single f64 values beyond arithmetic, and powers of integers.
//!
//! Errors stay within a few units in the last place, those of `pow` grow with the logarithm of the result. Loops of a
//! fixed number of rounds stand for series: nests of f64 are no place where speed counts.

use super::Scalars;
use crate::tile::{Conversion, I, IntOp, ScalarOp};
use rectify_ir::kernel::{Compute, Unary};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E, PI, SQRT_2};

/// ln 2 in two parts; products of the first with exponents are exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Beyond these, exp is infinite or zero.
const MOST: f64 = 709.782_712_893_384;
const LEAST: f64 = -745.133_219_101_941_2;
const FRACTION_MASK: i64 = (1 << 52) - 1;
/// Ten squares reach exponents below this.
const MOST_SQUARES: f64 = 1024.0;
/// Where the series of erf and the continued fraction of erfc meet.
const ERF_BORDER: f64 = 2.5;

impl Scalars<'_> {
    fn f(&mut self, op: ScalarOp, a: I, b: I) -> I {
        self.op(op, a, b)
    }

    pub(super) fn mul(&mut self, a: I, b: I) -> I {
        self.f(ScalarOp::MulFloat, a, b)
    }

    pub(super) fn add(&mut self, a: I, b: I) -> I {
        self.f(ScalarOp::AddFloat, a, b)
    }

    pub(super) fn sub(&mut self, a: I, b: I) -> I {
        self.f(ScalarOp::SubFloat, a, b)
    }

    pub(super) fn div(&mut self, a: I, b: I) -> I {
        self.f(ScalarOp::DivFloat, a, b)
    }

    pub(super) fn scaled(&mut self, x: I, by: f64) -> I {
        let by = self.float(by);
        self.mul(x, by)
    }

    pub(super) fn shifted(&mut self, x: I, by: f64) -> I {
        let by = self.float(by);
        self.add(x, by)
    }

    /// 2^k for an integer k of -1022 to 1023.
    fn power_of_two(&mut self, k: I) -> I {
        let exponent = self.builder.int(IntOp::AddConst(k, 1023));
        self.shift(ScalarOp::ShiftLeft, exponent, 52)
    }

    /// x = k ln 2 + r with |r| up to half of ln 2: the integer k, and e^r − 1.
    fn exp_parts(&mut self, x: I) -> (I, I) {
        let (low, high) = (self.float(LEAST), self.float(MOST));
        let inside = self.extreme(low, x, false);
        let inside = self.extreme(high, inside, true);
        let turns = self.scaled(inside, LOG2_E);
        let whole = self.round(Unary::Round, turns);
        let high = self.scaled(whole, LN2_HIGH);
        let low = self.scaled(whole, LN2_LOW);
        let r = self.sub(inside, high);
        let r = self.sub(r, low);
        // r + r²/2! + … + r¹⁴/14!
        let mut sum = self.float(1.0);
        for n in (2..=14).rev() {
            let next = self.mul(sum, r);
            let next = self.scaled(next, 1.0 / f64::from(n));
            sum = self.shifted(next, 1.0);
        }
        (self.convert(Conversion::ToSigned, whole), self.mul(sum, r))
    }

    pub(super) fn exp(&mut self, x: I) -> I {
        let (k, fraction) = self.exp_parts(x);
        let value = self.shifted(fraction, 1.0);
        // In two steps, for results beyond the range of one power of two.
        let half = self.shift(ScalarOp::ShiftRight, k, 1);
        let rest = self.builder.int(IntOp::Sub(k, half));
        let (half, rest) = (self.power_of_two(half), self.power_of_two(rest));
        let value = self.mul(value, half);
        let value = self.mul(value, rest);
        let (most, least) = (self.float(MOST), self.float(LEAST));
        let (infinity, zero) = (self.float(f64::INFINITY), self.float(0.0));
        let above = self.f(ScalarOp::LessFloat, most, x);
        let value = self.choose(above, infinity, value);
        let below = self.f(ScalarOp::LessFloat, x, least);
        let value = self.choose(below, zero, value);
        self.or_nan(x, value)
    }

    /// e^x − 1 without cancellation.
    pub(super) fn exp_m1(&mut self, x: I) -> I {
        let (k, fraction) = self.exp_parts(x);
        let whole = self.exp(x);
        let distant = self.shifted(whole, -1.0);
        let zero = self.int(0);
        let near = self.f(ScalarOp::EqualInt, k, zero);
        let value = self.choose(near, fraction, distant);
        self.or_nan(x, value)
    }

    /// The value, or x where x is no number.
    pub(super) fn or_nan(&mut self, x: I, value: I) -> I {
        let number = self.f(ScalarOp::EqualFloat, x, x);
        self.choose(number, value, x)
    }

    pub(super) fn log(&mut self, x: I) -> I {
        // Subnormal numbers are raised first.
        let least = self.float(f64::MIN_POSITIVE);
        let small = self.f(ScalarOp::LessFloat, x, least);
        let raised = self.scaled(x, 2f64.powi(54));
        let normal = self.choose(small, raised, x);
        let exponent = self.shift(ScalarOp::ShiftRight, normal, 52);
        let fraction = self.and(normal, FRACTION_MASK);
        let one = self.int(1.0f64.to_bits() as i64);
        let m = self.or(fraction, one);
        let (fifty_four, zero) = (self.int(54), self.int(0));
        let lowered = self.choose(small, fifty_four, zero);
        let exponent = self.builder.int(IntOp::AddConst(exponent, -1023));
        let exponent = self.builder.int(IntOp::Sub(exponent, lowered));
        // m in √½ .. √2.
        let root = self.float(SQRT_2);
        let large = self.f(ScalarOp::LessFloat, root, m);
        let halved = self.scaled(m, 0.5);
        let m = self.choose(large, halved, m);
        let exponent = self.builder.int(IntOp::Add(exponent, large));
        let k = self.convert(Conversion::FromSigned, exponent);
        // ln m = 2 (s + s³/3 + s⁵/5 + …) with s = (m − 1) / (m + 1).
        let (below, above) = (self.shifted(m, -1.0), self.shifted(m, 1.0));
        let s = self.div(below, above);
        let square = self.mul(s, s);
        let mut sum = self.float(0.0);
        for n in (1..=12).rev() {
            sum = self.shifted(sum, 1.0 / f64::from(2 * n + 1));
            sum = self.mul(sum, square);
        }
        sum = self.mul(sum, s);
        sum = self.add(sum, s);
        let doubled = self.add(sum, sum);
        let low = self.scaled(k, LN2_LOW);
        let low = self.add(doubled, low);
        let high = self.scaled(k, LN2_HIGH);
        let value = self.add(high, low);
        let (zero, nan) = (self.float(0.0), self.float(f64::NAN));
        let (infinity, lowest) = (self.float(f64::INFINITY), self.float(f64::NEG_INFINITY));
        let negative = self.f(ScalarOp::LessFloat, x, zero);
        let value = self.choose(negative, nan, value);
        let is_zero = self.f(ScalarOp::EqualFloat, x, zero);
        let value = self.choose(is_zero, lowest, value);
        let endless = self.f(ScalarOp::EqualFloat, x, infinity);
        let value = self.choose(endless, infinity, value);
        self.or_nan(x, value)
    }

    fn tanh(&mut self, x: I) -> I {
        let (sign, magnitude) = (self.and(x, i64::MIN), self.and(x, i64::MAX));
        // Beyond 20 the result is 1, and an infinite quotient would be none.
        let most = self.float(20.0);
        let magnitude = self.extreme(most, magnitude, true);
        let doubled = self.add(magnitude, magnitude);
        let above = self.exp_m1(doubled);
        let below = self.shifted(above, 2.0);
        let value = self.div(above, below);
        let value = self.or(value, sign);
        self.or_nan(x, value)
    }

    fn sigmoid(&mut self, x: I) -> I {
        let minus = self.scaled(x, -1.0);
        let e = self.exp(minus);
        let below = self.shifted(e, 1.0);
        let one = self.float(1.0);
        self.div(one, below)
    }

    /// erf of |x| below the border, by a series of positive terms.
    fn erf_near(&mut self, magnitude: I) -> I {
        let square = self.mul(magnitude, magnitude);
        let doubled = self.add(square, square);
        let (term, sum) = (self.copy(magnitude), self.copy(magnitude));
        let divisor = self.float(3.0);
        self.rounds(60, &mut |s| {
            let next = s.mul(term, doubled);
            let next = s.div(next, divisor);
            s.builder.set(term, IntOp::Copy(next));
            let next = s.add(sum, term);
            s.builder.set(sum, IntOp::Copy(next));
            let next = s.shifted(divisor, 2.0);
            s.builder.set(divisor, IntOp::Copy(next));
        });
        let minus = self.scaled(square, -1.0);
        let e = self.exp(minus);
        let value = self.mul(e, sum);
        self.scaled(value, FRAC_2_SQRT_PI)
    }

    /// erfc of x beyond the border, by a continued fraction from the back.
    fn erfc_far(&mut self, x: I) -> I {
        let (tail, numerator) = (self.copy(x), self.float(30.0));
        self.rounds(60, &mut |s| {
            let part = s.div(numerator, tail);
            let next = s.add(x, part);
            s.builder.set(tail, IntOp::Copy(next));
            let next = s.shifted(numerator, -0.5);
            s.builder.set(numerator, IntOp::Copy(next));
        });
        let square = self.mul(x, x);
        let minus = self.scaled(square, -1.0);
        let e = self.exp(minus);
        let below = self.scaled(tail, PI.sqrt());
        self.div(e, below)
    }

    fn copy(&mut self, x: I) -> I {
        self.builder.int(IntOp::Copy(x))
    }

    fn rounds(&mut self, count: i64, body: &mut dyn FnMut(&mut Scalars<'_>)) {
        let (compute, wrap) = (self.compute, self.wrap);
        self.builder.repeat_const(count, |builder| body(&mut Scalars { builder, compute, wrap }));
    }

    fn erf(&mut self, x: I) -> I {
        let (sign, magnitude) = (self.and(x, i64::MIN), self.and(x, i64::MAX));
        let (border, most) = (self.float(ERF_BORDER), self.float(27.0));
        let inner = self.extreme(border, magnitude, true);
        let near = self.erf_near(inner);
        let outer = self.extreme(border, magnitude, false);
        let outer = self.extreme(most, outer, true);
        let far = self.erfc_far(outer);
        let one = self.float(1.0);
        let far = self.sub(one, far);
        let is_near = self.f(ScalarOp::LessFloat, magnitude, border);
        let value = self.choose(is_near, near, far);
        let value = self.or(value, sign);
        self.or_nan(x, value)
    }

    /// 1 − erf x.
    fn erfc(&mut self, x: I) -> I {
        let erf = self.erf(x);
        let one = self.float(1.0);
        let near = self.sub(one, erf);
        let (border, most) = (self.float(ERF_BORDER), self.float(27.0));
        let outer = self.extreme(border, x, false);
        let outer = self.extreme(most, outer, true);
        let far = self.erfc_far(outer);
        let is_near = self.f(ScalarOp::LessFloat, x, border);
        let value = self.choose(is_near, near, far);
        self.or_nan(x, value)
    }

    /// As IEEE 754 has it: e^(b ln |a|), with the sign of odd powers, and what zeros, ones and infinities ask for.
    pub(super) fn pow(&mut self, a: I, b: I) -> I {
        if !self.is_float() {
            return self.pow_integer(a, b);
        }
        let (zero, one, nan) = (self.float(0.0), self.float(1.0), self.float(f64::NAN));
        let magnitude = self.and(a, i64::MAX);
        let log = self.log(magnitude);
        let exponent = self.mul(b, log);
        let value = self.exp(exponent);
        // Whole and odd exponents.
        let whole = self.round(Unary::Floor, b);
        let is_whole = self.f(ScalarOp::EqualFloat, whole, b);
        let by_squares = self.pow_whole(magnitude, b);
        let power = self.and(b, i64::MAX);
        let most = self.float(MOST_SQUARES);
        let few = self.f(ScalarOp::LessFloat, power, most);
        let zero_int = self.int(0);
        let exact = self.choose(is_whole, few, zero_int);
        let value = self.choose(exact, by_squares, value);
        let half = self.scaled(b, 0.5);
        let half_whole = self.round(Unary::Floor, half);
        let even = self.f(ScalarOp::EqualFloat, half_whole, half);
        let odd = self.not(even);
        let odd = self.choose(is_whole, odd, zero_int);
        let sign = self.and(a, i64::MIN);
        let sign = self.choose(odd, sign, zero_int);
        let signed = self.or(value, sign);
        let negative = self.f(ScalarOp::LessFloat, a, zero);
        let of_negative = self.choose(is_whole, signed, nan);
        // A zero keeps its sign in odd powers; an infinite base has a power of any exponent.
        let infinity = self.float(f64::INFINITY);
        let finite = self.f(ScalarOp::LessFloat, magnitude, infinity);
        let of_negative = self.choose(finite, of_negative, signed);
        let value = self.choose(negative, of_negative, signed);
        // 1 to any power and anything to the power 0 are 1; so is -1 to an infinite power.
        let is_one = self.f(ScalarOp::EqualFloat, a, one);
        let no_power = self.f(ScalarOp::EqualFloat, b, zero);
        let unit = self.f(ScalarOp::EqualFloat, magnitude, one);
        let endless = self.f(ScalarOp::EqualFloat, power, infinity);
        let unit_endless = self.choose(endless, unit, zero_int);
        let trivial = self.or(is_one, no_power);
        let trivial = self.or(trivial, unit_endless);
        self.choose(trivial, one, value)
    }

    /// a to a whole power of less than the most that squares reach: exact where the result is.
    fn pow_whole(&mut self, a: I, b: I) -> I {
        let magnitude = self.and(b, i64::MAX);
        let count = self.convert(Conversion::ToSigned, magnitude);
        let one = self.float(1.0);
        let (result, base, rest) = (self.copy(one), self.copy(a), self.copy(count));
        self.rounds(10, &mut |s| {
            let odd = s.and(rest, 1);
            let product = s.mul(result, base);
            let next = s.choose(odd, product, result);
            s.builder.set(result, IntOp::Copy(next));
            let square = s.mul(base, base);
            s.builder.set(base, IntOp::Copy(square));
            s.builder.set(rest, IntOp::ShiftRight(rest, 1));
        });
        let inverse = self.div(one, result);
        let zero = self.float(0.0);
        let negative = self.f(ScalarOp::LessFloat, b, zero);
        self.choose(negative, inverse, result)
    }

    /// By squares, wrapping. A negative exponent leaves 1 of 1, ±1 of −1, and 0 of the others.
    fn pow_integer(&mut self, a: I, b: I) -> I {
        let one = self.int(1);
        let (result, base, rest) = (self.copy(one), self.copy(a), self.copy(b));
        self.rounds(64, &mut |s| {
            let odd = s.and(rest, 1);
            let product = s.builder.int(IntOp::Mul(result, base));
            let next = s.choose(odd, product, result);
            s.builder.set(result, IntOp::Copy(next));
            let square = s.builder.int(IntOp::Mul(base, base));
            s.builder.set(base, IntOp::Copy(square));
            s.builder.set(rest, IntOp::ShiftRight(rest, 1));
        });
        let power = self.wrapped(result);
        if self.compute == Compute::U64 {
            return power;
        }
        let (zero, minus) = (self.int(0), self.int(-1));
        let is_one = self.f(ScalarOp::EqualInt, a, one);
        let is_minus = self.f(ScalarOp::EqualInt, a, minus);
        let odd = self.and(b, 1);
        let of_minus = self.choose(odd, minus, one);
        let inverse = self.choose(is_minus, of_minus, zero);
        let inverse = self.choose(is_one, one, inverse);
        let negative = self.f(ScalarOp::LessSigned, b, zero);
        self.choose(negative, inverse, power)
    }

    /// The functions that are more than arithmetic.
    pub(super) fn function(&mut self, op: Unary, x: I) -> I {
        match op {
            Unary::Trig(f) => self.trig(f, x),
            Unary::Exp => self.exp(x),
            Unary::Log => self.log(x),
            Unary::Tanh => self.tanh(x),
            Unary::Sigmoid => self.sigmoid(x),
            Unary::Silu => {
                let sigmoid = self.sigmoid(x);
                self.mul(x, sigmoid)
            }
            Unary::Erf => self.erf(x),
            Unary::GeluErf => {
                let scaled = self.scaled(x, -FRAC_1_SQRT_2);
                let tail = self.erfc(scaled);
                let half = self.scaled(x, 0.5);
                self.mul(half, tail)
            }
            Unary::GeluTanh => {
                // x / 2 (1 + tanh u) is x sigmoid(2 u).
                let square = self.mul(x, x);
                let inner = self.scaled(square, 0.044715);
                let inner = self.shifted(inner, 1.0);
                let u = self.mul(x, inner);
                let u = self.scaled(u, 2.0 * (2.0 / PI).sqrt());
                let sigmoid = self.sigmoid(u);
                self.mul(x, sigmoid)
            }
            Unary::HardSigmoid { alpha, beta } => {
                let line = self.scaled(x, alpha.value());
                let line = self.shifted(line, beta.value());
                self.unit(line)
            }
            Unary::HardSwish => {
                let line = self.scaled(x, 1.0 / 6.0);
                let line = self.shifted(line, 0.5);
                let share = self.unit(line);
                self.mul(x, share)
            }
            Unary::Elu { alpha } => {
                let zero = self.float(0.0);
                let falling = self.extreme(zero, x, true);
                let value = self.exp_m1(falling);
                let value = self.scaled(value, alpha.value());
                let positive = self.f(ScalarOp::LessFloat, zero, x);
                self.choose(positive, x, value)
            }
            Unary::Softplus => {
                // max(x, 0) + ln(1 + e^-|x|)
                let zero = self.float(0.0);
                let above = self.extreme(zero, x, false);
                let magnitude = self.and(x, i64::MAX);
                let minus = self.scaled(magnitude, -1.0);
                let e = self.exp(minus);
                let one = self.shifted(e, 1.0);
                let log = self.log(one);
                let value = self.add(above, log);
                self.or_nan(x, value)
            }
            // Arithmetic, which is elsewhere.
            _ => x,
        }
    }

    /// Clipped to 0 to 1.
    fn unit(&mut self, x: I) -> I {
        let (zero, one) = (self.float(0.0), self.float(1.0));
        let x = self.extreme(zero, x, false);
        self.extreme(one, x, true)
    }
}
