//! Statistics of the generated values and independence from how ranges are cut.

use super::*;

const N: usize = 1_000_000;

fn values(distribution: Distribution, seed: u64, n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    fill(&distribution, seed, "layer.weight", 0, &mut out);
    out
}

/// The first four standardised moments: mean, variance, skewness, excess kurtosis.
fn moments(values: &[f32]) -> [f64; 4] {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let central = |k: i32| values.iter().map(|&v| (f64::from(v) - mean).powi(k)).sum::<f64>() / n;
    let variance = central(2);
    [mean, variance, central(3) / variance.powf(1.5), central(4) / (variance * variance) - 3.0]
}

/// The largest distance of the empirical distribution from `cdf`, times √n: above 1.95 with probability 0.001.
fn kolmogorov(mut values: Vec<f32>, cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f32::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().fold(0.0f64, |worst, (i, &v)| {
        let p = cdf(f64::from(v));
        worst.max((p - i as f64 / n).abs()).max(((i + 1) as f64 / n - p).abs())
    });
    distance * n.sqrt()
}

/// The standard normal distribution function by its power series; enough for |z| ≤ 7.
fn phi(z: f64) -> f64 {
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term.abs() > 1e-18 {
        term *= z * z / (2.0 * k + 1.0);
        sum += term;
        k += 1.0;
    }
    0.5 + sum * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn normals_have_normal_moments_and_distribution() {
    for seed in [0, 1, 0xDEAD_BEEF] {
        let z = values(Distribution::Normal { mean: 0.0, std: 1.0 }, seed, N);
        let [mean, variance, skew, kurtosis] = moments(&z);
        // Five standard errors each: 1, √2, √6 and √24 over √n.
        let e = 5.0 / (N as f64).sqrt();
        assert!(mean.abs() < e, "mean {mean}");
        assert!((variance - 1.0).abs() < 1.5 * e, "variance {variance}");
        assert!(skew.abs() < 2.5 * e, "skewness {skew}");
        assert!(kurtosis.abs() < 5.0 * e, "kurtosis {kurtosis}");
        let neighbours: f64 = z.windows(2).map(|w| f64::from(w[0]) * f64::from(w[1])).sum::<f64>() / N as f64;
        assert!(neighbours.abs() < e, "correlation of neighbours {neighbours}");
        let d = kolmogorov(z, phi);
        assert!(d < 1.95, "Kolmogorov-Smirnov {d}");
    }
}

/// Sampled by squared radius, where rare events are cheap to find: tails must have the right weight beyond 5 deviations.
#[test]
fn tails_have_the_right_weight() {
    let n = 40 * N;
    let (mut beyond4, mut beyond5) = (0u32, 0u32);
    let mut piece = vec![0.0; N];
    for i in 0..40 {
        fill(&Distribution::Normal { mean: 0.0, std: 1.0 }, 5, "tail", (i * N) as u64, &mut piece);
        beyond4 += piece.iter().filter(|v| v.abs() > 4.0).count() as u32;
        beyond5 += piece.iter().filter(|v| v.abs() > 5.0).count() as u32;
    }
    let expected = |p: f64| p * n as f64;
    let (e4, e5) = (expected(6.334e-5), expected(5.733e-7));
    assert!((f64::from(beyond4) - e4).abs() < 5.0 * e4.sqrt(), "{beyond4} beyond 4, expected {e4}");
    assert!((f64::from(beyond5) - e5).abs() < 5.0 * e5.sqrt(), "{beyond5} beyond 5, expected {e5}");
}

#[test]
fn mean_and_deviation_scale() {
    let [mean, variance, ..] = moments(&values(Distribution::Normal { mean: -2.0, std: 0.25 }, 3, N));
    assert!((mean + 2.0).abs() < 0.002);
    assert!((variance.sqrt() - 0.25).abs() < 0.001);
}

#[test]
fn uniforms_are_uniform() {
    let u = values(Distribution::Uniform { lo: -1.0, hi: 3.0 }, 9, N);
    assert!(u.iter().all(|&v| (-1.0..=3.0).contains(&v)));
    let d = kolmogorov(u, |x| (x + 1.0) / 4.0);
    assert!(d < 1.95, "Kolmogorov-Smirnov {d}");
}

#[test]
fn truncated_normals_follow_the_truncated_distribution() {
    for (lo, hi) in [(-2.0f32, 2.0f32), (-0.5, 3.0), (4.0, 6.0)] {
        let z = values(Distribution::TruncNormal { mean: 0.0, std: 1.0, lo, hi }, 4, N / 4);
        assert!(z.iter().all(|&v| v >= lo && v <= hi));
        let std = moments(&z)[1].sqrt();
        assert!((std / f64::from(truncated_std(lo, hi)) - 1.0).abs() < 0.01, "std {std} in [{lo}, {hi}]");
        let (a, b) = (phi(f64::from(lo)), phi(f64::from(hi)));
        let d = kolmogorov(z, |x| (phi(x) - a) / (b - a));
        assert!(d < 1.95, "Kolmogorov-Smirnov {d} in [{lo}, {hi}]");
    }
}

#[test]
fn ranges_alone_give_the_bits_of_the_whole() {
    for distribution in [
        Distribution::Normal { mean: 0.5, std: 2.0 },
        Distribution::TruncNormal { mean: 0.0, std: 1.0, lo: -2.0, hi: 2.0 },
        Distribution::Uniform { lo: 0.0, hi: 1.0 },
        Distribution::Constant(0.25),
    ] {
        let whole = values(distribution, 11, 5000);
        for (start, length) in
            [(0, 1), (1, 1), (1, 2), (2, 1), (3, 5), (1023, 3), (1021, 2050), (4999, 1), (17, 0), (256, 1024)]
        {
            let mut part = vec![f32::NAN; length];
            fill(&distribution, 11, "layer.weight", start as u64, &mut part);
            let same = part.iter().zip(&whole[start..]).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{distribution:?} {start}+{length}");
        }
    }
}

#[test]
fn element_indices_may_exceed_32_bits() {
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    let (mut far, mut near) = ([0.0; 8], [0.0; 8]);
    fill(&distribution, 0, "w", 1 << 40, &mut far);
    fill(&distribution, 0, "w", 0, &mut near);
    assert_ne!(far, near);
    fill(&distribution, 0, "w", u64::MAX - 7, &mut far);
    assert!(far.iter().all(|v| v.is_finite()));
}

/// A seed names weights for ever, so the values themselves are pinned.
#[test]
fn values_are_pinned() {
    let z = values(Distribution::Normal { mean: 0.0, std: 1.0 }, 7, 4);
    let bits: Vec<u32> = z.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [1_057_646_071, 3_187_729_923, 3_201_811_786, 3_176_741_752]);
}
