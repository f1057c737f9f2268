//! Special functions that the standard library lacks, in f64: the reference for kernels and interpreter.

/// The error function, to about 1e-15.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    if a < 2.5 {
        // The Maclaurin series; at 2.5 its largest term is below 60, so cancellation costs two digits at most.
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while f64::abs(term) > 1e-18 * f64::abs(sum) {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
            if n > 200.0 {
                break;
            }
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    (1.0 - erfc_tail(a)).copysign(x)
}

/// The complementary error function for arguments from 2 up, by its continued fraction.
fn erfc_tail(x: f64) -> f64 {
    let mut fraction = 0.0;
    for k in (1..=80).rev() {
        fraction = 0.5 * k as f64 / (x + fraction);
    }
    (-x * x).exp() / ((x + fraction) * std::f64::consts::PI.sqrt())
}

/// The complementary error function, accurate in relative terms for large positive arguments.
pub fn erfc(x: f64) -> f64 {
    if x < 2.5 { 1.0 - erf(x) } else { erfc_tail(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (x, want) in [
            (0.0, 0.0),
            (0.5, 0.5204998778130465),
            (1.0, 0.8427007929497149),
            (2.0, 0.9953222650189527),
            (2.6, 0.9997639655834707),
            (4.0, 0.9999999845827421),
        ] {
            assert!((erf(x) - want).abs() < 3e-15, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + want).abs() < 3e-15);
        }
        assert!((erfc(5.0) / 1.537_459_794_428_035e-12 - 1.0).abs() < 1e-12);
        assert!(erf(f64::NAN).is_nan());
        assert_eq!(erf(f64::INFINITY), 1.0);
    }
}
