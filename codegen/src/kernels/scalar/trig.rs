//! Trigonometric and hyperbolic functions of single f64 values, and their inverses.
//!
//! Errors stay within a few units in the last place. Angles up to 10⁶ are meant: up to 2³¹ the error grows with the angle,
//! beyond the result is NaN.

use super::Scalars;
use crate::tile::{Conversion, I, IntOp, ScalarOp};
use rectify_ir::kernel::Unary;
use rectify_ir::op::Trig;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, LN_2, SQRT_2};

/// π/2 in three parts; products of the first two with integers of 20 bits are exact.
const HALF_PI: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21];
/// Angles from here on have no sine.
const MOST_TURNS: f64 = 2_147_483_648.0;
/// From here on squares drown the ones beside them, and exponentials their inverses.
const LARGE: f64 = 1e8;
const LARGE_EXPONENT: f64 = 20.0;

impl Scalars<'_> {
    pub(super) fn trig(&mut self, f: Trig, x: I) -> I {
        match f {
            Trig::Sin => self.sine(x, 0),
            Trig::Cos => self.sine(x, 1),
            Trig::Tan => {
                let (sine, cosine) = (self.sine(x, 0), self.sine(x, 1));
                self.div(sine, cosine)
            }
            Trig::Atan => self.atan(x),
            Trig::Asin => {
                // atan(x / √((1 − x)(1 + x)))
                let [below, above] = self.one_minus_and_plus(x);
                let product = self.mul(below, above);
                let root = self.convert(Conversion::Sqrt, product);
                let slope = self.div(x, root);
                self.atan(slope)
            }
            Trig::Acos => {
                // 2 atan(√((1 − x) / (1 + x)))
                let [below, above] = self.one_minus_and_plus(x);
                let quotient = self.div(below, above);
                let root = self.convert(Conversion::Sqrt, quotient);
                let half = self.atan(root);
                self.add(half, half)
            }
            Trig::Sinh => self.sinh(x),
            Trig::Cosh => self.cosh(x),
            Trig::Asinh => self.asinh(x),
            Trig::Acosh => self.acosh(x),
            Trig::Atanh => {
                // ½ ln(1 + 2 |x| / (1 − |x|))
                let (sign, magnitude) = (self.and(x, i64::MIN), self.and(x, i64::MAX));
                let [below, _] = self.one_minus_and_plus(magnitude);
                let twice = self.add(magnitude, magnitude);
                let quotient = self.div(twice, below);
                let log = self.log_1p(quotient);
                let half = self.scaled(log, 0.5);
                self.or(half, sign)
            }
        }
    }

    fn one_minus_and_plus(&mut self, x: I) -> [I; 2] {
        let one = self.float(1.0);
        [self.sub(one, x), self.add(one, x)]
    }

    /// The sine of x plus this many quarter turns.
    fn sine(&mut self, x: I, quarters: i64) -> I {
        let turns = self.scaled(x, FRAC_2_PI);
        let whole = self.round(Unary::Round, turns);
        let mut r = x;
        for part in HALF_PI {
            let turned = self.scaled(whole, part);
            r = self.sub(r, turned);
        }
        let quadrant = self.convert(Conversion::ToSigned, whole);
        let quadrant = self.builder.int(IntOp::AddConst(quadrant, quarters));
        let square = self.mul(r, r);
        let minus = self.scaled(square, -1.0);
        // r (1 − r²/(2·3) (1 − r²/(4·5) (…))) and 1 − r²/(1·2) (1 − r²/(3·4) (…))
        let sine = self.alternating(minus, 2);
        let sine = self.mul(sine, r);
        let cosine = self.alternating(minus, 1);
        let odd = self.and(quadrant, 1);
        let value = self.choose(odd, cosine, sine);
        let negated = self.scaled(value, -1.0);
        let negative = self.and(quadrant, 2);
        let value = self.choose(negative, negated, value);
        let (magnitude, most) = (self.and(x, i64::MAX), self.float(MOST_TURNS));
        let (inside, nan) = (self.op(ScalarOp::LessFloat, magnitude, most), self.float(f64::NAN));
        self.choose(inside, value, nan)
    }

    /// 1 + m/(k(k+1)) (1 + m/((k+2)(k+3)) (…)), to eleven terms.
    fn alternating(&mut self, m: I, k: i32) -> I {
        let mut sum = self.float(1.0);
        for i in (0..10).rev() {
            let n = f64::from(k + 2 * i);
            let next = self.mul(sum, m);
            let next = self.scaled(next, 1.0 / (n * (n + 1.0)));
            sum = self.shifted(next, 1.0);
        }
        sum
    }

    fn atan(&mut self, x: I) -> I {
        let (sign, magnitude) = (self.and(x, i64::MIN), self.and(x, i64::MAX));
        // The arc of 1 / x is the rest of a right angle.
        let one = self.float(1.0);
        let steep = self.op(ScalarOp::LessFloat, one, magnitude);
        let inverse = self.div(one, magnitude);
        let flat = self.choose(steep, inverse, magnitude);
        // Beyond tan(π/8): atan t = π/4 + atan((t − 1) / (t + 1)).
        let eighth = self.float(SQRT_2 - 1.0);
        let far = self.op(ScalarOp::LessFloat, eighth, flat);
        let (below, above) = (self.shifted(flat, -1.0), self.shifted(flat, 1.0));
        let turned = self.div(below, above);
        let t = self.choose(far, turned, flat);
        // t − t³/3 + t⁵/5 − …
        let square = self.mul(t, t);
        let minus = self.scaled(square, -1.0);
        let mut sum = self.float(0.0);
        for n in (1..=22).rev() {
            sum = self.shifted(sum, 1.0 / f64::from(2 * n + 1));
            sum = self.mul(sum, minus);
        }
        let sum = self.mul(sum, t);
        let arc = self.add(sum, t);
        let quarter = self.shifted(arc, FRAC_PI_4);
        let arc = self.choose(far, quarter, arc);
        let right = self.float(FRAC_PI_2);
        let rest = self.sub(right, arc);
        let arc = self.choose(steep, rest, arc);
        let value = self.or(arc, sign);
        self.or_nan(x, value)
    }

    /// Half of e^|x|, from two factors that are finite where it is.
    fn half_exp(&mut self, magnitude: I) -> I {
        let half = self.scaled(magnitude, 0.5);
        let root = self.exp(half);
        let scaled = self.scaled(root, 0.5);
        self.mul(scaled, root)
    }

    fn sinh(&mut self, x: I) -> I {
        let (sign, magnitude) = (self.and(x, i64::MIN), self.and(x, i64::MAX));
        let border = self.float(LARGE_EXPONENT);
        let inner = self.extreme(border, magnitude, true);
        // (e + e / (e + 1)) / 2 with e = e^x − 1
        let e = self.exp_m1(inner);
        let above = self.shifted(e, 1.0);
        let quotient = self.div(e, above);
        let sum = self.add(e, quotient);
        let near = self.scaled(sum, 0.5);
        let far = self.half_exp(magnitude);
        let is_near = self.op(ScalarOp::LessFloat, magnitude, border);
        let value = self.choose(is_near, near, far);
        let value = self.or(value, sign);
        self.or_nan(x, value)
    }

    fn cosh(&mut self, x: I) -> I {
        let magnitude = self.and(x, i64::MAX);
        let border = self.float(LARGE_EXPONENT);
        let inner = self.extreme(border, magnitude, true);
        let (e, one) = (self.exp(inner), self.float(1.0));
        let inverse = self.div(one, e);
        let sum = self.add(e, inverse);
        let near = self.scaled(sum, 0.5);
        let far = self.half_exp(magnitude);
        let is_near = self.op(ScalarOp::LessFloat, magnitude, border);
        let value = self.choose(is_near, near, far);
        self.or_nan(x, value)
    }

    /// ln(1 + x) without cancellation, for x above −1.
    fn log_1p(&mut self, x: I) -> I {
        let one_more = self.shifted(x, 1.0);
        let log = self.log(one_more);
        // What rounding 1 + x lost, in terms of the logarithm.
        let kept = self.shifted(one_more, -1.0);
        let lost = self.sub(x, kept);
        let lost = self.div(lost, one_more);
        let value = self.add(log, lost);
        let infinity = self.float(f64::INFINITY);
        let endless = self.op(ScalarOp::EqualFloat, x, infinity);
        self.choose(endless, infinity, value)
    }

    fn asinh(&mut self, x: I) -> I {
        let (sign, magnitude) = (self.and(x, i64::MIN), self.and(x, i64::MAX));
        let border = self.float(LARGE);
        // ln(1 + x + x² / (1 + √(x² + 1)))
        let inner = self.extreme(border, magnitude, true);
        let square = self.mul(inner, inner);
        let more = self.shifted(square, 1.0);
        let root = self.convert(Conversion::Sqrt, more);
        let below = self.shifted(root, 1.0);
        let part = self.div(square, below);
        let sum = self.add(inner, part);
        let near = self.log_1p(sum);
        let log = self.log(magnitude);
        let far = self.shifted(log, LN_2);
        let is_near = self.op(ScalarOp::LessFloat, magnitude, border);
        let value = self.choose(is_near, near, far);
        let value = self.or(value, sign);
        self.or_nan(x, value)
    }

    fn acosh(&mut self, x: I) -> I {
        let border = self.float(LARGE);
        // ln(1 + t + √(2 t + t²)) with t = x − 1
        let inner = self.extreme(border, x, true);
        let t = self.shifted(inner, -1.0);
        let twice = self.add(t, t);
        let square = self.mul(t, t);
        let sum = self.add(twice, square);
        let root = self.convert(Conversion::Sqrt, sum);
        let sum = self.add(t, root);
        let near = self.log_1p(sum);
        let log = self.log(x);
        let far = self.shifted(log, LN_2);
        let is_near = self.op(ScalarOp::LessFloat, x, border);
        let value = self.choose(is_near, near, far);
        let (one, nan) = (self.float(1.0), self.float(f64::NAN));
        let outside = self.op(ScalarOp::LessFloat, x, one);
        let value = self.choose(outside, nan, value);
        self.or_nan(x, value)
    }
}
