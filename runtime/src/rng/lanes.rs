//! The inner loops: batches of random words turned into uniforms and normals, built for several vector widths.
//!
//! All use only IEEE multiplication, addition, square root and integer operations, so that the builds agree bit for bit.
//! Tests compare them.

use super::philox::{StreamKey, block};
use crate::build::{Build, Width};

/// Counters in one batch: 4 arrays of 256 words and 1024 floats stay in the L1 cache.
const BATCH: usize = 256;
/// Elements drawn from one counter.
pub(super) const PER_COUNTER: usize = 4;

/// What an element-wise loop makes of the random words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// `mean + std * z`, z standard normal.
    Normal { mean: f32, std: f32 },
    /// `lo + (hi - lo) * u`, u uniform in the open interval (0, 1).
    Uniform { lo: f32, span: f32 },
}

impl Build {
    /// Fills `out` with the elements of the counters from `counter` on; element `i` comes from counter `counter + i / 4`.
    pub(super) fn fill(self, shape: Shape, key: StreamKey, counter: u64, out: &mut [f32]) {
        match self.width() {
            Width::Base => fill(shape, key, counter, out),
            #[cfg(target_arch = "x86_64")]
            // Safety: a build of this width exists only where the features were detected.
            Width::Avx2 => unsafe { fill_avx2(shape, key, counter, out) },
            #[cfg(target_arch = "x86_64")]
            // Safety: as above.
            Width::Avx512 => unsafe { fill_avx512(shape, key, counter, out) },
        }
    }

    /// Fills `words` with the raw words of the counters from `counter` on, four a counter.
    pub(super) fn words(self, key: StreamKey, counter: u64, words: &mut [u32]) {
        for (i, group) in words.chunks_mut(PER_COUNTER).enumerate() {
            group.copy_from_slice(&block(key, counter.wrapping_add(i as u64), 0)[..group.len()]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_avx2(shape: Shape, key: StreamKey, counter: u64, out: &mut [f32]) {
    fill(shape, key, counter, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn fill_avx512(shape: Shape, key: StreamKey, counter: u64, out: &mut [f32]) {
    fill(shape, key, counter, out);
}

#[inline(always)]
fn fill(shape: Shape, key: StreamKey, counter: u64, out: &mut [f32]) {
    let mut words = Words { w0: [0; BATCH], w1: [0; BATCH], w2: [0; BATCH], w3: [0; BATCH] };
    let mut counter = counter;
    let mut batches = out.chunks_exact_mut(BATCH * PER_COUNTER);
    for batch in &mut batches {
        words.draw(key, counter, BATCH);
        shape.apply(&words, batch);
        counter = counter.wrapping_add(BATCH as u64);
    }
    let rest = batches.into_remainder();
    if !rest.is_empty() {
        let counters = rest.len().div_ceil(PER_COUNTER);
        words.draw(key, counter, counters);
        let mut values = [0.0; BATCH * PER_COUNTER];
        shape.apply(&words, &mut values[..counters * PER_COUNTER]);
        rest.copy_from_slice(&values[..rest.len()]);
    }
}

/// One batch of words, one array for each of the four words of a counter.
struct Words {
    w0: [u32; BATCH],
    w1: [u32; BATCH],
    w2: [u32; BATCH],
    w3: [u32; BATCH],
}

impl Words {
    #[inline(always)]
    fn draw(&mut self, key: StreamKey, counter: u64, counters: usize) {
        for i in 0..counters.min(BATCH) {
            let words = block(key, counter.wrapping_add(i as u64), 0);
            self.w0[i] = words[0];
            self.w1[i] = words[1];
            self.w2[i] = words[2];
            self.w3[i] = words[3];
        }
    }
}

impl Shape {
    /// `out` has four elements for each counter of `words`.
    #[inline(always)]
    fn apply(self, words: &Words, out: &mut [f32]) {
        let groups = out.as_chunks_mut::<PER_COUNTER>().0;
        let rows = groups.iter_mut().zip(&words.w0).zip(&words.w1).zip(&words.w2).zip(&words.w3);
        match self {
            Shape::Normal { mean, std } => {
                for ((((group, &w0), &w1), &w2), &w3) in rows {
                    let (a, b) = normal_pair(w0, w1);
                    let (c, d) = normal_pair(w2, w3);
                    *group = [mean + std * a, mean + std * b, mean + std * c, mean + std * d];
                }
            }
            Shape::Uniform { lo, span } => {
                for ((((group, &w0), &w1), &w2), &w3) in rows {
                    *group = [w0, w1, w2, w3].map(|w| lo + span * unit(w));
                }
            }
        }
    }
}

/// A uniform float in (0, 1): the middle of one of 2^23 equal cells, so the mean is exactly one half.
#[inline(always)]
pub(super) fn unit(word: u32) -> f32 {
    ((word >> 9) as i32 as f32 + 0.5) * (1.0 / 8_388_608.0)
}

/// Two independent standard normals by Box and Muller's method: `sqrt(-2 ln u) · (cos θ, sin θ)`.
///
/// `u` has 31 bits, so tails reach 6.66 standard deviations; both ends of its range keep their full relative precision.
#[inline(always)]
pub(super) fn normal_pair(radius: u32, angle: u32) -> (f32, f32) {
    let r = (-2.0 * ln_unit(radius)).sqrt();
    let (sin, cos) = sin_cos_turn(angle);
    (r * cos, r * sin)
}

/// `ln((t + 1/2) / 2^31)` for the high 31 bits `t` of the word; always negative, relative error below 3e-7.
#[inline(always)]
fn ln_unit(word: u32) -> f32 {
    const SQRT_HALF_BITS: u32 = 0x3F35_04F3;
    let t = word >> 1;
    let a = t as i32 as f32 + 0.5;
    // a = 2^exponent · m with m in [√½, √2).
    let exponent = (a.to_bits().wrapping_sub(SQRT_HALF_BITS) as i32) >> 23;
    let m = f32::from_bits(a.to_bits().wrapping_sub((exponent as u32) << 23));
    // Near u = 1 the sum above has lost the low bits of t; t - 2^31 has them.
    let near_one = ((t | 0x8000_0000) as i32 as f32 + 0.5) * (1.0 / 2_147_483_648.0);
    let f = if exponent == 31 { near_one } else { m - 1.0 };
    (exponent - 31) as f32 * std::f32::consts::LN_2 + ln_1p(f)
}

/// `ln(1 + f)` for f in [√½ - 1, √2 - 1]: Chebyshev interpolation of (ln(1+f) - f + f²/2) / f³, relative error 1.3e-7.
#[inline(always)]
fn ln_1p(f: f32) -> f32 {
    let f2 = f * f;
    let mut p = 0.090_487_845;
    p = p * f - 0.140_308_92;
    p = p * f + 0.147_039;
    p = p * f - 0.166_027_19;
    p = p * f + 0.199_842_23;
    p = p * f - 0.250_007_03;
    p = p * f + 0.333_334_15;
    f + (f2 * f * p - 0.5 * f2)
}

/// Sine and cosine of a uniform angle: the top two bits of the word are the quadrant, the others an angle in (-π/4, π/4).
#[inline(always)]
pub(super) fn sin_cos_turn(word: u32) -> (f32, f32) {
    // The bit set below makes the angles symmetric about zero.
    let x = (word << 2 | 2) as i32 as f32 * (std::f32::consts::FRAC_PI_4 / 2_147_483_648.0);
    let y = x * x;
    let sin = x + x * y * (-0.166_666_64 + y * (0.008_332_748 + y * -0.000_195_878_9));
    let cos = 1.0 - 0.5 * y + y * y * (0.041_666_664 + y * (-0.001_388_830_2 + y * 2.454_794_2e-5));
    let quadrant = word >> 30;
    let (sin, cos) = if quadrant & 1 == 1 { (cos, sin) } else { (sin, cos) };
    let sin_sign = (quadrant >> 1) << 31;
    let cos_sign = (quadrant ^ (quadrant >> 1)) << 31;
    (f32::from_bits(sin.to_bits() ^ sin_sign), f32::from_bits(cos.to_bits() ^ cos_sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_build_gives_the_same_bits() {
        let key = StreamKey::new(3, "w");
        for shape in [Shape::Normal { mean: 0.1, std: 1.7 }, Shape::Uniform { lo: -0.3, span: 0.9 }] {
            let mut want = vec![0.0; 5003];
            fill(shape, key, u64::MAX - 400, &mut want);
            for build in Build::available() {
                let mut got = vec![0.0; 5003];
                build.fill(shape, key, u64::MAX - 400, &mut got);
                let same = want.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{build:?} differs for {shape:?}");
            }
        }
    }

    #[test]
    fn ln_unit_is_accurate_over_its_whole_range() {
        let edges = [
            0,
            1,
            2,
            3,
            1 << 23,
            (1 << 24) + 1,
            3_037_000_499,
            3_037_000_501,
            u32::MAX,
            u32::MAX - 2,
            u32::MAX - 5000,
        ];
        for word in edges.into_iter().chain((0..200_000u32).map(|i| i.wrapping_mul(21_474))) {
            let want = ((f64::from(word >> 1) + 0.5) / 2_147_483_648.0).ln();
            let got = f64::from(ln_unit(word));
            assert!(got < 0.0 && ((got - want) / want).abs() < 3e-7, "ln_unit({word}) = {got}, want {want}");
        }
    }

    #[test]
    fn sin_cos_is_accurate() {
        for word in (0..200_000u32).map(|i| i.wrapping_mul(21_475)).chain([0, u32::MAX, 1 << 29, 1 << 30]) {
            let centred = f64::from((word << 2 | 2) as i32) / 4_294_967_296.0 * std::f64::consts::FRAC_PI_2;
            let theta = f64::from(word >> 30) * std::f64::consts::FRAC_PI_2 + centred;
            let (sin, cos) = sin_cos_turn(word);
            assert!((f64::from(sin) - theta.sin()).abs() < 2e-7, "sin of word {word}");
            assert!((f64::from(cos) - theta.cos()).abs() < 2e-7, "cos of word {word}");
        }
    }
}
