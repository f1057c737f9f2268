//! Circular and hyperbolic functions and their inverses.
//!
//! Angles are reduced by pieces of 2¹² π and of π/2 that have few bits, so that their products with the number of turns
//! are exact without fused operations: 2 ulp up to 6000, an absolute error of 3e-7 up to 2³⁰. Larger angles, whose
//! neighbours are turns apart, give NaN.

use super::Math;
use crate::tile::{FloatCompare, V, VectorOp};
use rectify_ir::op::Trig;
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, LN_2, PI};

/// Angles from here on give NaN.
const MOST_ANGLE: f32 = 1_073_741_824.0;

/// 2¹² π in pieces of at most seven bits, and the rest of it.
const PERIOD: [f32; 6] = [12800.0, 67.0, 0.960_937_5, 0.002_563_476_6, 8.106_232e-6, 2.099_891_5e-8];
const PERIOD_INVERSE: f32 = 7.771_237e-5;

/// π/2 in pieces of at most ten bits, and the rest of it.
const QUARTER: [f32; 3] = [1.570_312_5, 0.000_483_512_88, 3.139_164_7e-7];
const QUARTER_INVERSE: f32 = std::f32::consts::FRAC_2_PI;

/// What f32 lacks of π/2.
const FRAC_PI_2_LOW: f32 = -4.371_139e-8;

/// `(sin(r) - r) / r^3` by `r^2`, for `|r| <= pi / 4`.
const SIN: [f32; 4] = [-0.166_666_67, 0.008_333_332, -0.000_198_400_39, 2.724_381_1e-6];

/// `(cos(r) - 1 + r^2 / 2) / r^4` by `r^2`, for `|r| <= pi / 4`.
const COS: [f32; 4] = [0.041_666_668, -0.001_388_888_8, 2.480_056e-5, -2.729_585_7e-7];

/// `(atan(t) - t) / t^3` by `t^2`, for `|t| <= tan(pi / 8)`.
const ATAN: [f32; 6] =
    [-0.333_333_34, 0.199_999_76, -0.142_840_94, 0.110_703_12, -0.086_168_64, 0.050_280_806];

/// `(asin(s) - s) / s^3` by `s^2`, for `|s| <= 1/2`.
const ASIN: [f32; 6] =
    [0.166_666_66, 0.075_000_95, 0.044_599_32, 0.031_101_728, 0.017_143_717, 0.033_700_727];

/// `(sinh(x) - x) / x^3` by `x^2`, for `|x| <= 1`.
const SINH: [f32; 4] = [0.166_666_67, 0.008_333_339, 0.000_198_381_02, 2.806_280_2e-6];

/// From here on `asinh` and `acosh` are the logarithm of twice their argument, whose square may overflow.
const LARGE: f32 = 1e18;

/// An angle within π/4 of a multiple of π/2.
struct Reduced {
    sin: V,
    cos: V,
    /// The number of quarter turns in the low bits.
    quarters: V,
}

impl Math<'_> {
    pub fn trig(&mut self, f: Trig, x: V) -> V {
        match f {
            Trig::Sin => self.sine(x, 0),
            Trig::Cos => self.sine(x, 1),
            Trig::Tan => self.tangent(x),
            Trig::Asin => self.arc_sine(x),
            Trig::Acos => self.arc_cosine(x),
            Trig::Atan => self.arc_tangent(x),
            Trig::Sinh => self.hyperbolic_sine(x),
            Trig::Cosh => {
                let (half, quarter) = self.half_exponential(x);
                self.add(half, quarter)
            }
            Trig::Asinh => self.area_sine(x),
            Trig::Acosh => self.area_cosine(x),
            Trig::Atanh => self.area_tangent(x),
        }
    }

    /// `x + x^3 * p(x^2)`.
    fn odd(&mut self, x: V, square: V, coefficients: &[f32]) -> V {
        let p = self.polynomial(square, coefficients);
        let cube = self.mul(x, square);
        self.mul_add(cube, p, x)
    }

    fn reduce(&mut self, x: V) -> Reduced {
        let inverse = self.constant(PERIOD_INVERSE);
        let periods = self.mul(x, inverse);
        let (periods, _) = self.integer(periods);
        let piece = |math: &mut Self, count: V, piece: f32| {
            let piece = math.constant(piece);
            math.mul(count, piece)
        };
        // The three differences are exact. What follows of the period is kept apart, for the sum would be rounded.
        let mut angle = x;
        for part in &PERIOD[..3] {
            let part = piece(self, periods, *part);
            angle = self.sub(angle, part);
        }
        let fourth = piece(self, periods, PERIOD[3]);
        let fifth = piece(self, periods, PERIOD[4]);
        let sixth = piece(self, periods, PERIOD[5]);
        let rest = self.add(fifth, sixth);
        let near = self.sub(angle, fourth);
        let inverse = self.constant(QUARTER_INVERSE);
        let quarters = self.mul(near, inverse);
        let (count, quarters) = self.integer(quarters);
        let first = piece(self, count, QUARTER[0]);
        let second = piece(self, count, QUARTER[1]);
        let third = piece(self, count, QUARTER[2]);
        for part in [first, fourth, second, rest, third] {
            angle = self.sub(angle, part);
        }
        let square = self.mul(angle, angle);
        let sin = self.odd(angle, square, &SIN);
        let p = self.polynomial(square, &COS);
        let (one, half) = (self.constant(1.0), self.constant(-0.5));
        let fourth_power = self.mul(square, square);
        let cos = self.mul_add(square, half, one);
        let cos = self.mul_add(fourth_power, p, cos);
        Reduced { sin, cos, quarters }
    }

    /// Chooses `yes` where the lowest bit of `bits` is set.
    fn by_lowest_bit(&mut self, bits: V, yes: V, no: V) -> V {
        let sign = self.op(VectorOp::ShiftLeft(bits, 31));
        let (one, zero) = (self.constant(1.0), self.constant(0.0));
        let signed = self.op(VectorOp::Or(sign, one));
        self.select(FloatCompare::Lt, signed, zero, yes, no)
    }

    fn within_range(&mut self, x: V, y: V) -> V {
        let magnitude = self.abs(x);
        let (most, nan) = (self.constant(MOST_ANGLE), self.constant(f32::NAN));
        self.select(FloatCompare::Le, magnitude, most, y, nan)
    }

    /// The sine of x and so many quarter turns.
    fn sine(&mut self, x: V, ahead: u32) -> V {
        let Reduced { sin, cos, quarters } = self.reduce(x);
        let ahead = self.bits(ahead);
        let quarters = self.op(VectorOp::IntAdd(quarters, ahead));
        let y = self.by_lowest_bit(quarters, cos, sin);
        let two = self.bits(2);
        let second_half = self.op(VectorOp::And(quarters, two));
        let sign = self.op(VectorOp::ShiftLeft(second_half, 30));
        let y = self.op(VectorOp::Xor(y, sign));
        self.within_range(x, y)
    }

    fn tangent(&mut self, x: V) -> V {
        let Reduced { sin, cos, quarters } = self.reduce(x);
        let minus = self.neg(cos);
        let numerator = self.by_lowest_bit(quarters, minus, sin);
        let denominator = self.by_lowest_bit(quarters, sin, cos);
        let y = self.div(numerator, denominator);
        self.within_range(x, y)
    }

    fn arc_tangent(&mut self, x: V) -> V {
        let (magnitude, sign) = (self.abs(x), self.sign(x));
        // atan a = atan((a - 1) / (a + 1)) + pi / 4 = atan(-1 / a) + pi / 2.
        let (zero, one, minus) = (self.constant(0.0), self.constant(1.0), self.constant(-1.0));
        let (first, second) = (self.constant(0.414_213_57), self.constant(2.414_213_7));
        let pick = |math: &mut Self, small: V, middle: V, large: V| {
            let rest = math.select(FloatCompare::Lt, magnitude, second, middle, large);
            math.select(FloatCompare::Lt, magnitude, first, small, rest)
        };
        let (below, above) = (self.sub(magnitude, one), self.add(magnitude, one));
        let numerator = pick(self, magnitude, below, minus);
        let denominator = pick(self, one, above, magnitude);
        let t = self.div(numerator, denominator);
        let (eighth, quarter) = (self.constant(FRAC_PI_4), self.constant(FRAC_PI_2));
        let base = pick(self, zero, eighth, quarter);
        let (eighth, quarter) = (self.constant(FRAC_PI_2_LOW / 2.0), self.constant(FRAC_PI_2_LOW));
        let base_low = pick(self, zero, eighth, quarter);
        let square = self.mul(t, t);
        let y = self.odd(t, square, &ATAN);
        let y = self.add(y, base_low);
        let y = self.add(base, y);
        self.op(VectorOp::Or(y, sign))
    }

    /// `asin(m)` for magnitudes m up to 1/2, and for larger ones `asin(sqrt((1 - m) / 2))`.
    fn half_arc(&mut self, magnitude: V) -> V {
        let (half, one) = (self.constant(0.5), self.constant(1.0));
        let rest = self.sub(one, magnitude);
        let halved = self.mul(rest, half);
        let root = self.op(VectorOp::Sqrt(halved));
        let square = self.mul(magnitude, magnitude);
        let square = self.select(FloatCompare::Le, magnitude, half, square, halved);
        let s = self.select(FloatCompare::Le, magnitude, half, magnitude, root);
        self.odd(s, square, &ASIN)
    }

    /// `high + low - x`.
    fn below(&mut self, high: f32, low: f32, x: V) -> V {
        let (high, low) = (self.constant(high), self.constant(low));
        let rest = self.sub(low, x);
        self.add(high, rest)
    }

    fn arc_sine(&mut self, x: V) -> V {
        let (magnitude, sign) = (self.abs(x), self.sign(x));
        let arc = self.half_arc(magnitude);
        let doubled = self.add(arc, arc);
        let large = self.below(FRAC_PI_2, FRAC_PI_2_LOW, doubled);
        let half = self.constant(0.5);
        let y = self.select(FloatCompare::Le, magnitude, half, arc, large);
        self.op(VectorOp::Or(y, sign))
    }

    fn arc_cosine(&mut self, x: V) -> V {
        let (magnitude, sign) = (self.abs(x), self.sign(x));
        let arc = self.half_arc(magnitude);
        let doubled = self.add(arc, arc);
        let signed = self.op(VectorOp::Xor(arc, sign));
        let middle = self.below(FRAC_PI_2, FRAC_PI_2_LOW, signed);
        let behind = self.below(PI, 2.0 * FRAC_PI_2_LOW, doubled);
        let (half, zero) = (self.constant(0.5), self.constant(0.0));
        let large = self.select(FloatCompare::Lt, x, zero, behind, doubled);
        self.select(FloatCompare::Le, magnitude, half, middle, large)
    }

    /// `exp(|x|) / 2` and `exp(-|x|) / 2`; the first overflows where the hyperbolic functions do.
    fn half_exponential(&mut self, x: V) -> (V, V) {
        let magnitude = self.abs(x);
        let magnitude = self.at_most(magnitude, 90.0);
        let (n, _, p) = self.exp_parts(magnitude);
        let (one, quarter) = (self.constant(1.0), self.constant(0.25));
        let mantissa = self.add(p, one);
        let n = self.sub(n, one);
        let half = self.scale(mantissa, n);
        (half, self.div(quarter, half))
    }

    fn hyperbolic_sine(&mut self, x: V) -> V {
        let (magnitude, sign) = (self.abs(x), self.sign(x));
        let square = self.mul(magnitude, magnitude);
        let small = self.odd(magnitude, square, &SINH);
        let (half, quarter) = self.half_exponential(x);
        let large = self.sub(half, quarter);
        let one = self.constant(1.0);
        let y = self.select(FloatCompare::Lt, magnitude, one, small, large);
        self.op(VectorOp::Or(y, sign))
    }

    /// `log(1 + t)`, or `log(2 a)` where `a` is large; infinity for infinity.
    fn area(&mut self, t: V, a: V) -> V {
        let (u, correction) = self.one_plus(t);
        let (large, infinity) = (self.constant(LARGE), self.constant(f32::INFINITY));
        let ln_2 = self.constant(LN_2);
        let argument = self.select(FloatCompare::Lt, a, large, u, a);
        let more = self.select(FloatCompare::Lt, a, large, correction, ln_2);
        let y = self.log_normal(argument, None);
        let y = self.add(y, more);
        self.select(FloatCompare::Lt, a, infinity, y, a)
    }

    fn area_sine(&mut self, x: V) -> V {
        let (a, sign) = (self.abs(x), self.sign(x));
        // log(a + sqrt(a^2 + 1)) = log(1 + a + a^2 / (1 + sqrt(a^2 + 1))).
        let one = self.constant(1.0);
        let square = self.mul(a, a);
        let more = self.add(square, one);
        let root = self.op(VectorOp::Sqrt(more));
        let denominator = self.add(root, one);
        let rest = self.div(square, denominator);
        let t = self.add(a, rest);
        let y = self.area(t, a);
        self.op(VectorOp::Or(y, sign))
    }

    fn area_cosine(&mut self, x: V) -> V {
        // log(x + sqrt(x^2 - 1)) with x = 1 + d.
        let (one, two) = (self.constant(1.0), self.constant(2.0));
        let d = self.sub(x, one);
        let more = self.add(d, two);
        let square = self.mul(d, more);
        let root = self.op(VectorOp::Sqrt(square));
        let t = self.add(d, root);
        let y = self.area(t, x);
        let nan = self.constant(f32::NAN);
        self.select(FloatCompare::Ge, x, one, y, nan)
    }

    fn area_tangent(&mut self, x: V) -> V {
        let (a, sign) = (self.abs(x), self.sign(x));
        // log((1 + a) / (1 - a)) / 2, with the quotient as 1 + t.
        let (one, half) = (self.constant(1.0), self.constant(0.5));
        let rest = self.sub(one, a);
        let doubled = self.add(a, a);
        let t = self.div(doubled, rest);
        let y = self.log_1p(t);
        let y = self.mul(y, half);
        let (infinity, nan) = (self.constant(f32::INFINITY), self.constant(f32::NAN));
        let border = self.select(FloatCompare::Eq, a, one, infinity, nan);
        let y = self.select(FloatCompare::Lt, a, one, y, border);
        self.op(VectorOp::Or(y, sign))
    }
}
