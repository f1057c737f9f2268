//! Truncated normals by inversion: one random word gives one element, whatever the bounds.
//!
//! The quantile function is Wichura's algorithm AS 241 (PPND16, Applied Statistics 37, 1988) in f64 with an own logarithm,
//! so that the values do not depend on the platform's math library.

#![expect(clippy::excessive_precision, reason = "coefficients stand as published")]

/// A standard normal restricted to [lo, hi], as an interval of probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Truncated {
    lo: f64,
    hi: f64,
    /// Probability below `lo` and the mass between the bounds, of the mirrored distribution if `mirrored`.
    below: f64,
    mass: f64,
    /// Bounds right of zero are mirrored to the left, where small probabilities keep their precision.
    mirrored: bool,
}

impl Truncated {
    /// `lo < hi`, both in standard deviations; infinite bounds are allowed.
    pub(super) fn new(lo: f64, hi: f64) -> Truncated {
        let mirrored = lo > 0.0;
        let (left, right) = if mirrored { (-hi, -lo) } else { (lo, hi) };
        let below = probability_below(left);
        Truncated { lo, hi, below, mass: probability_below(right) - below, mirrored }
    }

    /// The quantile at the middle of the word's cell of [0, 1].
    pub(super) fn sample(&self, word: u32) -> f64 {
        let u = (f64::from(word) + 0.5) * (1.0 / 4_294_967_296.0);
        let z = quantile(self.below + u * self.mass);
        let z = if self.mirrored { -z } else { z };
        z.clamp(self.lo, self.hi)
    }
}

/// Standard deviation of a standard normal restricted to [lo, hi] (`lo < hi`), by Simpson's rule over the density.
///
/// Initialisers that promise a deviation after truncation divide by it.
pub fn truncated_std(lo: f32, hi: f32) -> f32 {
    const STEPS: u32 = 2000;
    // Beyond 12 deviations of the nearest point to zero nothing of the mass is left.
    let nearest = 0f64.clamp(f64::from(lo), f64::from(hi));
    let (lo, hi) = (f64::from(lo).max(nearest - 12.0), f64::from(hi).min(nearest + 12.0));
    let step = (hi - lo) / f64::from(STEPS);
    let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
    for i in 0..=STEPS {
        let z = lo + step * f64::from(i);
        let simpson = if i == 0 || i == STEPS { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
        let weight = simpson * exp(0.5 * (nearest * nearest - z * z));
        let offset = z - nearest;
        mass += weight;
        first += weight * offset;
        second += weight * offset * offset;
    }
    let mean = first / mass;
    (second / mass - mean * mean).sqrt() as f32
}

/// `e^x` for x in [-1000, 0], relative error about 1e-14: a Taylor series at x / 1024, squared ten times.
fn exp(x: f64) -> f64 {
    let y = x / 1024.0;
    let mut power = (0..16).rev().fold(1.0, |sum, k| 1.0 + y * sum / f64::from(k + 1));
    for _ in 0..10 {
        power *= power;
    }
    power
}

/// The probability that a standard normal is below `z`, by bisection of [`quantile`] over the bits of its argument.
///
/// Used for bounds only, so its speed does not matter, and it is consistent with `quantile` by construction.
fn probability_below(z: f64) -> f64 {
    if z > 0.0 {
        return 1.0 - probability_below(-z);
    }
    // The bits of positive floats are ordered as their values are.
    let (mut low, mut high) = (0u64, 0.5f64.to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if quantile(f64::from_bits(middle)) < z { low = middle + 1 } else { high = middle }
    }
    f64::from_bits(low)
}

/// The standard normal quantile of `p` in [0, 1], relative error about 1e-16 by AS 241's own analysis.
fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * horner(&CENTRE_NUM, r) / horner(&CENTRE_DEN, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let r = (-ln(tail)).sqrt();
    let z = if r <= 5.0 {
        horner(&MIDDLE_NUM, r - 1.6) / horner(&MIDDLE_DEN, r - 1.6)
    } else {
        horner(&FAR_NUM, r - 5.0) / horner(&FAR_DEN, r - 5.0)
    };
    if q < 0.0 { -z } else { z }
}

/// Coefficients from the constant term up.
fn horner(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}

/// The natural logarithm of a positive number by the series of 2·artanh((m-1)/(m+1)), m in [√½, √2).
fn ln(x: f64) -> f64 {
    const TWO_54: f64 = 18_014_398_509_481_984.0;
    // Subnormal numbers are scaled up first, as their exponent field says nothing.
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * TWO_54, 54) } else { (x, 0) };
    let bits = x.to_bits();
    let exponent = (bits.wrapping_sub(std::f64::consts::FRAC_1_SQRT_2.to_bits()) as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent << 52) as u64));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    // |s| ≤ 0.1716: the first term left out, s²⁴/25, is below 2^-63.
    let mut sum = 0.0;
    for k in (0..12).rev() {
        sum = sum * s2 + 1.0 / f64::from(2 * k + 1);
    }
    (exponent - shift) as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

const CENTRE_NUM: [f64; 8] = [
    3.3871328727963666080,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
];
const CENTRE_DEN: [f64; 8] = [
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
];
const MIDDLE_NUM: [f64; 8] = [
    1.42343711074968357734,
    4.63033784615654529590,
    5.76949722146069140550,
    3.64784832476320460504,
    1.27045825245236838258,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
];
const MIDDLE_DEN: [f64; 8] = [
    1.0,
    2.05319162663775882187,
    1.67638483018380384940,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
];
const FAR_NUM: [f64; 8] = [
    6.65790464350110377720,
    5.46378491116411436990,
    1.78482653991729133580,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
];
const FAR_DEN: [f64; 8] = [
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_meets_published_values() {
        for (p, want) in [
            (0.25, -0.6744897501960817),
            (0.001, -3.090232306167814),
            (1e-20, -9.262340089798408),
            (0.5, 0.0),
            (0.975, 1.959963984540054),
        ] {
            assert!(
                (quantile(p) - want).abs() < 1e-14 * want.abs().max(1.0),
                "quantile({p}) = {}",
                quantile(p)
            );
        }
    }

    #[test]
    fn logarithm_is_accurate() {
        for i in 0..4000 {
            let x = 1.7e-308 * 1.42f64.powi(i) + 1e-310;
            if x.is_finite() {
                assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(0.01), "ln({x})");
            }
        }
        assert!((ln(f64::from_bits(1)) - f64::from_bits(1).ln()).abs() < 1e-12);
    }

    #[test]
    fn probabilities_of_bounds() {
        assert_eq!(probability_below(f64::NEG_INFINITY), 0.0);
        assert_eq!(probability_below(f64::INFINITY), 1.0);
        assert!((probability_below(0.0) - 0.5).abs() < 1e-15);
        assert!((probability_below(-2.0) - 0.022750131948179212).abs() < 1e-15);
        assert!((probability_below(3.0) - 0.9986501019683699).abs() < 1e-14);
    }

    #[test]
    fn samples_stay_in_bounds_however_far_out() {
        for (lo, hi) in [(-2.0, 2.0), (5.0, 5.5), (-40.0, -30.0), (0.0, f64::INFINITY), (8.0, 9.0)] {
            let truncated = Truncated::new(lo, hi);
            let mut last = if truncated.mirrored { hi } else { lo };
            for word in [0, 1, 1 << 20, 1 << 31, u32::MAX - 1, u32::MAX] {
                let z = truncated.sample(word);
                assert!(z >= lo && z <= hi && z.is_finite(), "{z} outside [{lo}, {hi}]");
                assert!(
                    if truncated.mirrored { z <= last } else { z >= last },
                    "not monotone at word {word}"
                );
                last = z;
            }
        }
    }
}
