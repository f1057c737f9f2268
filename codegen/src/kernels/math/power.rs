//! Powers and remainders: what comes out wrong in every place if an intermediate result is rounded to f32.
//!
//! Sums of two floats hold such results. Products are exact where their factors have twelve bits or fewer, which a mask
//! takes care of; so no fused operation is needed, and all levels give the same bits.

use super::Math;
use crate::tile::{FloatCompare, Rounding, V, VectorOp};

/// Keeps the twelve highest bits of a mantissa.
const HIGH: u32 = 0xffff_f000;

/// Centres of the intervals that mantissas are divided by, beside 1, with the bounds of 1's interval.
const CENTRES: [f32; 2] = [0.796_875, 1.25];
const BOUNDS: [f32; 2] = [0.885, 1.118];

/// Their binary logarithms: twelve binary places, and the rest.
const LOG2_HIGH: [f32; 2] = [-0.327_636_72, 0.322_021_48];
const LOG2_LOW: [f32; 2] = [6.206_072e-5, -9.338_949e-5];

/// 2 / ln 2: twelve bits, and the rest.
const SCALE_HIGH: f32 = 2.884_765_6;
const SCALE_LOW: f32 = 0.000_624_456_8;

/// `(log((1 + s) / (1 - s)) - 2 s) / s^3` by `s^2`, for `|s| <= 1/16`.
const TAIL: [f32; 3] = [0.666_666_7, 0.399_997_98, 0.287_052_54];

/// `(2^r - 1) / r` for `|r| <= 1/2`.
const EXP2: [f32; 7] = [
    std::f32::consts::LN_2,
    0.240_226_5,
    0.055_504_11,
    0.009_618_054,
    0.001_333_35,
    0.000_154_626_1,
    1.529_822_1e-5,
];

/// Greatest exponent that is told apart from infinity: 2 to its power over- or underflows.
const MOST_EXPONENT: f32 = 200.0;

impl Math<'_> {
    /// The highest twelve bits of a float, and the others.
    fn halves(&mut self, x: V) -> (V, V) {
        let mask = self.bits(HIGH);
        let high = self.op(VectorOp::And(x, mask));
        (high, self.sub(x, high))
    }

    /// Binary logarithm of a positive finite float in two parts, to about 2^-33 of its value.
    fn log2_pair(&mut self, x: V) -> (V, V) {
        // Subnormals are scaled up by 2^23 first.
        let (least, large) = (self.constant(f32::MIN_POSITIVE), self.constant(8_388_608.0));
        let (zero, one, down) = (self.constant(0.0), self.constant(1.0), self.constant(-23.0));
        let scaled = self.mul(x, large);
        let normal = self.select(FloatCompare::Lt, x, least, scaled, x);
        let offset = self.select(FloatCompare::Lt, x, least, down, zero);
        let (e, m) = self.exponent_and_mantissa(normal);
        let e = self.add(e, offset);
        // log m = log c + log((1 + s) / (1 - s)) with s = (m - c) / (m + c), for the nearest centre c.
        let bounds = BOUNDS.map(|b| self.constant(b));
        let pick = |math: &mut Self, [below, above]: [f32; 2], middle: V| {
            let (below, above) = (math.constant(below), math.constant(above));
            let rest = math.select(FloatCompare::Gt, m, bounds[1], above, middle);
            math.select(FloatCompare::Lt, m, bounds[0], below, rest)
        };
        let c = pick(self, CENTRES, one);
        let numerator = self.sub(m, c);
        let denominator = self.add(m, c);
        // What the sum rounded away, whichever of the two is the greater.
        let c_kept = self.sub(denominator, m);
        let m_kept = self.sub(denominator, c_kept);
        let (m_lost, c_lost) = (self.sub(m, m_kept), self.sub(c, c_kept));
        let lost = self.add(m_lost, c_lost);
        let (denominator_high, denominator_low) = self.halves(denominator);
        let denominator_low = self.add(denominator_low, lost);
        let s = self.div(numerator, denominator);
        let (s_high, _) = self.halves(s);
        let product = self.mul(s_high, denominator_high);
        let rest = self.sub(numerator, product);
        let product = self.mul(s_high, denominator_low);
        let rest = self.sub(rest, product);
        let s_low = self.div(rest, denominator);

        let square = self.mul(s, s);
        let tail = self.polynomial(square, &TAIL);
        let cube = self.mul(square, s);
        let tail = self.mul(tail, cube);
        let (scale_high, scale_low) = (self.constant(SCALE_HIGH), self.constant(SCALE_LOW));
        let scale = self.constant(std::f32::consts::LOG2_E);
        let lead = self.mul(scale_high, s_high);
        let small = self.mul(scale_low, s_high);
        // 1 / ln 2 times what is left: 2 s_low and the tail.
        let doubled = self.add(s_low, s_low);
        let rest = self.add(doubled, tail);
        let part = self.mul(scale, rest);
        let small = self.add(small, part);
        let base_low = pick(self, LOG2_LOW, zero);
        let small = self.add(small, base_low);
        // The base is at least as large as the lead, or zero: the sum's error is exact.
        let base = pick(self, LOG2_HIGH, zero);
        let base = self.add(e, base);
        let high = self.add(base, lead);
        let kept = self.sub(high, base);
        let lost = self.sub(lead, kept);
        (high, self.add(small, lost))
    }

    pub fn pow(&mut self, x: V, y: V) -> V {
        let magnitude = self.abs(x);
        let (zero, one, half) = (self.constant(0.0), self.constant(1.0), self.constant(0.5));
        let (infinity, nan) = (self.constant(f32::INFINITY), self.constant(f32::NAN));
        let (log, log_low) = self.log2_pair(magnitude);
        // y · (log + log_low) as the exact product of the highest bits, and the rest.
        let (log_high, log_rest) = self.halves(log);
        let log_rest = self.add(log_rest, log_low);
        let (y_high, y_low) = self.halves(y);
        let whole_product = self.mul(y, log);
        let lead = self.mul(y_high, log_high);
        let small = self.mul(y_low, log_high);
        let part = self.mul(y, log_rest);
        let small = self.add(small, part);
        let (most, least) = (self.constant(MOST_EXPONENT), self.constant(-MOST_EXPONENT));
        let size = self.abs(whole_product);
        let capped = self.select(FloatCompare::Lt, whole_product, zero, least, most);
        let lead = self.select(FloatCompare::Lt, size, most, lead, capped);
        let small = self.select(FloatCompare::Lt, size, most, small, zero);
        let sum = self.add(lead, small);
        let (n, _) = self.integer(sum);
        let r = self.sub(lead, n);
        let r = self.add(r, small);
        let p = self.polynomial(r, &EXP2);
        let mantissa = self.mul_add(p, r, one);
        let power = self.scale(mantissa, n);
        // Where the base or the exponent has no finite logarithm or value, it is known on which side of 1 the power is.
        let grows = self.select(FloatCompare::Gt, magnitude, one, infinity, zero);
        let shrinks = self.select(FloatCompare::Gt, magnitude, one, zero, infinity);
        let extreme = self.select(FloatCompare::Gt, y, zero, grows, shrinks);
        let y_size = self.abs(y);
        let power = self.select(FloatCompare::Lt, y_size, infinity, power, extreme);
        let power = self.select(FloatCompare::Lt, magnitude, infinity, power, extreme);
        let power = self.select(FloatCompare::Gt, magnitude, zero, power, extreme);
        let power = self.select(FloatCompare::Eq, magnitude, one, one, power);
        let power = self.select(FloatCompare::Ne, y, y, y, power);
        // A negative base: odd exponents give its sign, fractional ones NaN (unless something is infinite).
        let whole = self.op(VectorOp::Round(Rounding::Nearest, y));
        let half_y = self.mul(y, half);
        let half_whole = self.op(VectorOp::Round(Rounding::Nearest, half_y));
        let sign = self.sign(x);
        let odd_sign = self.select(FloatCompare::Eq, half_y, half_whole, zero, sign);
        let signed = self.op(VectorOp::Or(power, odd_sign));
        let fraction = self.select(FloatCompare::Lt, magnitude, infinity, nan, power);
        let fraction = self.select(FloatCompare::Lt, x, zero, fraction, power);
        let result = self.select(FloatCompare::Eq, y, whole, signed, fraction);
        let result = self.select(FloatCompare::Ne, x, x, x, result);
        let result = self.select(FloatCompare::Eq, x, one, one, result);
        self.select(FloatCompare::Eq, y, zero, one, result)
    }

    /// `a - trunc(a / b) * b`, exact for quotients below 2^23 and zero beyond them; a itself where b is infinite.
    pub fn rem(&mut self, a: V, b: V) -> V {
        let (magnitude, divisor) = (self.abs(a), self.abs(b));
        let quotient = self.div(magnitude, divisor);
        let q = self.op(VectorOp::Round(Rounding::Floor, quotient));
        // The products of halves are exact, and so are the differences, in this order.
        let (q_high, q_low) = self.halves(q);
        let (b_high, b_low) = self.halves(divisor);
        let mut rest = magnitude;
        for (x, y) in [(q_high, b_high), (q_high, b_low), (q_low, b_high), (q_low, b_low)] {
            let product = self.mul(x, y);
            rest = self.sub(rest, product);
        }
        // The quotient's rounding may have brought it to the next integer.
        let zero = self.constant(0.0);
        let more = self.add(rest, divisor);
        let rest = self.select(FloatCompare::Lt, rest, zero, more, rest);
        let less = self.sub(rest, divisor);
        let rest = self.select(FloatCompare::Ge, rest, divisor, less, rest);
        // Zero unless the operands make it NaN.
        let nothing = self.mul(magnitude, zero);
        let nothing = self.div(nothing, divisor);
        let border = self.constant(8_388_608.0);
        let rest = self.select(FloatCompare::Ge, quotient, border, nothing, rest);
        let infinity = self.constant(f32::INFINITY);
        let finite = self.select(FloatCompare::Lt, magnitude, infinity, magnitude, rest);
        let rest = self.select(FloatCompare::Eq, divisor, infinity, finite, rest);
        let sign = self.sign(a);
        self.op(VectorOp::Or(rest, sign))
    }
}
