//! Functions in tile IR.
//!
//! `exp`, `log` and `erf` reduce their argument and end in a polynomial; the others are built on them in forms that
//! do not cancel. The coefficients interpolate at Chebyshev nodes; their errors are far below half a unit in the
//! last place, so that rounding dominates: 4 ulp at most, over all exponents, on every level. Special values follow
//! IEEE 754. `trig` and `power` hold what needs more than one register of precision on the way.

mod power;
mod trig;

use crate::tile::build::Builder;
use crate::tile::{FloatCompare, V, VectorOp};

/// Splat constants already made at this place of the code, by their bits.
#[derive(Default)]
pub struct Constants(Vec<(u32, V)>);

/// Writes functions at one place of the code.
pub struct Math<'a> {
    pub builder: &'a mut Builder,
    pub constants: &'a mut Constants,
}

const SIGN: u32 = 0x8000_0000;
/// 1.5 * 2^23: adding it rounds a small float to an integer, which then stands in the low bits.
const MAGIC: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has few bits, so that its small multiples are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `(exp(r) - 1 - r) / r^2` for `|r| <= ln 2 / 2`.
const EXP: [f32; 6] = [0.5, 0.166_666_67, 0.041_666_467, 0.008_333_310_5, 0.001_393_365_1, 0.000_198_909_91];

/// `(log(1 + f) - f + f^2 / 2) / f^3` for `sqrt(1/2) <= 1 + f <= sqrt(2)`.
const LOG: [f32; 9] = [
    0.333_333_3,
    -0.24999997,
    0.200_007_16,
    -0.166_678_03,
    0.142_490_58,
    -0.124_256_87,
    0.116_854_2,
    -0.114_797_34,
    0.069_716_11,
];

/// `erf(x) / x - 1` by `x^2`, for `|x| <= 0.93`.
const ERF_SMALL: [f32; 7] =
    [0.128_379_17, -0.376_126_32, 0.11283689, -0.026_858_997, 0.0051999893, -0.000_813_044_5, 8.316_879_4e-5];

/// `-log(1 - erf(x))` for `0.92 <= x <= 4`.
const ERF_TAIL: [f32; 9] = [
    -0.000_320_441_53,
    1.130_237_6,
    0.631_814_54,
    0.11009448,
    -0.026_431_018,
    0.004_763_575_3,
    -0.000_597_743_5,
    4.617_791_3e-5,
    -1.6435697e-06,
];

impl Math<'_> {
    pub fn bits(&mut self, bits: u32) -> V {
        if let Some(&(_, value)) = self.constants.0.iter().find(|(known, _)| *known == bits) {
            return value;
        }
        let value = self.builder.vector(VectorOp::Splat(bits));
        self.constants.0.push((bits, value));
        value
    }

    pub fn constant(&mut self, value: f32) -> V {
        self.bits(value.to_bits())
    }

    pub fn op(&mut self, op: VectorOp) -> V {
        self.builder.vector(op)
    }

    pub fn add(&mut self, a: V, b: V) -> V {
        self.op(VectorOp::Add(a, b))
    }

    pub fn sub(&mut self, a: V, b: V) -> V {
        self.op(VectorOp::Sub(a, b))
    }

    pub fn mul(&mut self, a: V, b: V) -> V {
        self.op(VectorOp::Mul(a, b))
    }

    pub fn div(&mut self, a: V, b: V) -> V {
        self.op(VectorOp::Div(a, b))
    }

    pub fn mul_add(&mut self, a: V, b: V, c: V) -> V {
        self.op(VectorOp::MulAdd(a, b, c))
    }

    pub fn select(&mut self, compare: FloatCompare, a: V, b: V, yes: V, no: V) -> V {
        self.op(VectorOp::Select(compare, a, b, yes, no))
    }

    /// `max(limit, x)` that keeps a NaN in `x`.
    pub fn at_least(&mut self, x: V, limit: f32) -> V {
        let limit = self.constant(limit);
        self.op(VectorOp::Max(limit, x))
    }

    /// `min(limit, x)` that keeps a NaN in `x`.
    pub fn at_most(&mut self, x: V, limit: f32) -> V {
        let limit = self.constant(limit);
        self.op(VectorOp::Min(limit, x))
    }

    fn sign(&mut self, x: V) -> V {
        let mask = self.bits(SIGN);
        self.op(VectorOp::And(x, mask))
    }

    pub fn abs(&mut self, x: V) -> V {
        let mask = self.bits(!SIGN);
        self.op(VectorOp::And(x, mask))
    }

    pub fn neg(&mut self, x: V) -> V {
        let mask = self.bits(SIGN);
        self.op(VectorOp::Xor(x, mask))
    }

    /// `c[0] + x * (c[1] + x * ...)`.
    fn polynomial(&mut self, x: V, coefficients: &[f32]) -> V {
        let mut highest_first = coefficients.iter().rev();
        let first = highest_first.next().copied().unwrap_or(0.0);
        let mut sum = self.constant(first);
        for &coefficient in highest_first {
            let coefficient = self.constant(coefficient);
            sum = self.mul_add(sum, x, coefficient);
        }
        sum
    }

    /// Rounds `x` (of small magnitude) to an integer; returns it as float and with `MAGIC` still added.
    fn integer(&mut self, x: V) -> (V, V) {
        let magic = self.constant(MAGIC);
        let shifted = self.add(x, magic);
        (self.sub(shifted, magic), shifted)
    }

    /// `2^n` from `n + MAGIC`, for n from -126 to 127.
    fn power_of_two(&mut self, shifted: V) -> V {
        let exponent = self.op(VectorOp::ShiftLeft(shifted, 23));
        let one = self.constant(1.0);
        self.op(VectorOp::IntAdd(exponent, one))
    }

    /// Splits `x` into `n ln 2 + r` with `|r| <= ln 2 / 2`; returns `n`, `n + MAGIC` and `exp(r) - 1`.
    fn exp_parts(&mut self, x: V) -> (V, V, V) {
        let log2_e = self.constant(LOG2_E);
        let scaled = self.mul(x, log2_e);
        let (n, shifted) = self.integer(scaled);
        let (high, low) = (self.constant(-LN2_HIGH), self.constant(-LN2_LOW));
        let r = self.mul_add(n, high, x);
        let r = self.mul_add(n, low, r);
        let p = self.polynomial(r, &EXP);
        let square = self.mul(r, r);
        (n, shifted, self.mul_add(p, square, r))
    }

    pub fn exp(&mut self, x: V) -> V {
        // Beyond these the result is infinite or zero, and the scale is still in range.
        let x = self.at_most(x, 89.5);
        let x = self.at_least(x, -105.0);
        let (n, _, p) = self.exp_parts(x);
        let one = self.constant(1.0);
        let mantissa = self.add(p, one);
        self.scale(mantissa, n)
    }

    /// `x * 2^n` for whole n of magnitude up to 250, by two factors: 2^n itself leaves the range of normal floats.
    fn scale(&mut self, x: V, n: V) -> V {
        let half = self.constant(0.5);
        let half_n = self.mul(n, half);
        let (n1, shifted1) = self.integer(half_n);
        let n2 = self.sub(n, n1);
        let magic = self.constant(MAGIC);
        let shifted2 = self.add(n2, magic);
        let (scale1, scale2) = (self.power_of_two(shifted1), self.power_of_two(shifted2));
        let scaled = self.mul(x, scale1);
        self.mul(scaled, scale2)
    }

    /// `exp(x) - 1` for `x <= 0`, without cancellation near zero.
    pub fn exp_m1(&mut self, x: V) -> V {
        let x = self.at_least(x, -25.0);
        let (_, shifted, p) = self.exp_parts(x);
        let scale = self.power_of_two(shifted);
        let one = self.constant(1.0);
        let rest = self.sub(scale, one);
        self.mul_add(p, scale, rest)
    }

    /// Splits positive normal floats into a power of two, as a float, and a mantissa from `sqrt(1/2)` to `sqrt(2)`.
    fn exponent_and_mantissa(&mut self, x: V) -> (V, V) {
        let root_half = std::f32::consts::FRAC_1_SQRT_2.to_bits();
        let shift = self.bits(1f32.to_bits() - root_half);
        let shifted = self.op(VectorOp::IntAdd(x, shift));
        let exponent = self.op(VectorOp::ShiftRight(shifted, 23));
        let bias = self.bits(127);
        let exponent = self.op(VectorOp::IntSub(exponent, bias));
        let mask = self.bits(0x007f_ffff);
        let mantissa = self.op(VectorOp::And(shifted, mask));
        let base = self.bits(root_half);
        (self.op(VectorOp::FromInt(exponent)), self.op(VectorOp::IntAdd(mantissa, base)))
    }

    /// The logarithm of positive normal floats and of 1.
    fn log_normal(&mut self, x: V, exponent_offset: Option<V>) -> V {
        let (mut e, mantissa) = self.exponent_and_mantissa(x);
        if let Some(offset) = exponent_offset {
            e = self.add(e, offset);
        }
        let one = self.constant(1.0);
        let f = self.sub(mantissa, one);
        let square = self.mul(f, f);
        let cube = self.mul(square, f);
        let p = self.polynomial(f, &LOG);
        let (low, high, minus_half) = (self.constant(LN2_LOW), self.constant(LN2_HIGH), self.constant(-0.5));
        let y = self.mul(p, cube);
        let y = self.mul_add(e, low, y);
        let y = self.mul_add(square, minus_half, y);
        let y = self.add(f, y);
        self.mul_add(e, high, y)
    }

    pub fn log(&mut self, x: V) -> V {
        // Subnormals are scaled up by 2^23 first.
        let (least, scale) = (self.constant(f32::MIN_POSITIVE), self.constant(8_388_608.0));
        let (zero, down) = (self.constant(0.0), self.constant(-23.0));
        let large = self.mul(x, scale);
        let normal = self.select(FloatCompare::Lt, x, least, large, x);
        let offset = self.select(FloatCompare::Lt, x, least, down, zero);
        let y = self.log_normal(normal, Some(offset));
        let (infinity, minus_infinity, nan) =
            (self.constant(f32::INFINITY), self.constant(f32::NEG_INFINITY), self.constant(f32::NAN));
        // Infinity and NaN are their own logarithms: both fail `x < inf`.
        let y = self.select(FloatCompare::Lt, x, infinity, y, x);
        let y = self.select(FloatCompare::Eq, x, zero, minus_infinity, y);
        self.select(FloatCompare::Lt, x, zero, nan, y)
    }

    /// `1 + t`, and to first order what its rounding takes from the logarithm; for `t >= 0`.
    fn one_plus(&mut self, t: V) -> (V, V) {
        let one = self.constant(1.0);
        let u = self.add(one, t);
        let kept = self.sub(u, one);
        let lost = self.sub(t, kept);
        (u, self.div(lost, u))
    }

    /// `log(1 + t)` for finite `t >= 0`.
    fn log_1p(&mut self, t: V) -> V {
        let (u, correction) = self.one_plus(t);
        let y = self.log_normal(u, None);
        self.add(y, correction)
    }

    /// `max(x, 0) + log(1 + exp(-|x|))`.
    pub fn softplus(&mut self, x: V) -> V {
        let sign = self.bits(SIGN);
        let falling = self.op(VectorOp::Or(x, sign));
        let t = self.exp(falling);
        let tail = self.log_1p(t);
        let positive = self.at_least(x, 0.0);
        self.add(positive, tail)
    }

    pub fn tanh(&mut self, x: V) -> V {
        // tanh a = -e / (e + 2) with e = exp(-2a) - 1, for a = |x|.
        let sign = self.sign(x);
        let magnitude = self.abs(x);
        let (minus_two, two) = (self.constant(-2.0), self.constant(2.0));
        let doubled = self.mul(magnitude, minus_two);
        let e = self.exp_m1(doubled);
        let denominator = self.add(e, two);
        let numerator = self.neg(e);
        let y = self.div(numerator, denominator);
        // The magnitude is not negative, so `or` sets the sign; a NaN stays one.
        self.op(VectorOp::Or(y, sign))
    }

    /// Numerator and denominator of the sigmoid; neither overflows.
    pub fn sigmoid_parts(&mut self, x: V) -> (V, V) {
        let sign = self.bits(SIGN);
        let falling = self.op(VectorOp::Or(x, sign));
        let e = self.exp(falling);
        let (one, zero) = (self.constant(1.0), self.constant(0.0));
        let numerator = self.select(FloatCompare::Ge, x, zero, one, e);
        (numerator, self.add(one, e))
    }

    pub fn erf(&mut self, x: V) -> V {
        let magnitude = self.abs(x);
        let sign = self.sign(x);
        let square = self.mul(x, x);
        let p = self.polynomial(square, &ERF_SMALL);
        let small = self.mul_add(p, x, x);
        // erf is 1 from 4 on.
        let clamped = self.at_most(magnitude, 4.0);
        let decay = self.polynomial(clamped, &ERF_TAIL);
        let exponent = self.neg(decay);
        let rest = self.exp_m1(exponent);
        let tail = self.neg(rest);
        let tail = self.op(VectorOp::Or(tail, sign));
        let border = self.constant(0.925);
        self.select(FloatCompare::Lt, magnitude, border, small, tail)
    }

    pub fn prelu(&mut self, x: V, slope: V) -> V {
        let zero = self.constant(0.0);
        let scaled = self.mul(x, slope);
        self.select(FloatCompare::Gt, x, zero, x, scaled)
    }

    pub fn hard_sigmoid(&mut self, x: V, alpha: f32, beta: f32) -> V {
        let (alpha, beta) = (self.constant(alpha), self.constant(beta));
        let y = self.mul_add(x, alpha, beta);
        let y = self.at_least(y, 0.0);
        self.at_most(y, 1.0)
    }
}
