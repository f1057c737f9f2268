//! Means, paired differences and rank correlations.

/// A mean with its interval of 95 %, by Student's t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub mean: f64,
    /// Half the interval's width; NaN for fewer than two numbers.
    pub half: f64,
    pub count: usize,
}

impl Interval {
    pub fn of(values: &[f64]) -> Interval {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n.max(1) as f64;
        let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let half = if n < 2 { f64::NAN } else { t(n - 1) * (square / (n - 1) as f64 / n as f64).sqrt() };
        Interval { mean, half, count: n }
    }

    /// Of the differences of two arms seed by seed.
    pub fn paired(a: &[f64], b: &[f64]) -> Interval {
        Interval::of(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
    }

    /// Whether zero lies outside.
    pub fn excludes_zero(self) -> bool {
        self.mean.abs() > self.half
    }
}

/// The 97.5 % quantile of Student's t distribution.
fn t(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    match freedom {
        0 => f64::NAN,
        n => TABLE.get(n - 1).copied().unwrap_or(1.96 + 2.4 / n as f64),
    }
}

/// Spearman's rank correlation: Pearson's of the ranks, ties sharing the mean of theirs.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (ranks(x), ranks(y));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let (mx, my) = (mean(&x), mean(&y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&y).map(|(a, b)| f(a - mx, b - my)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |v: f64| values.iter().filter(|w| **w < v).count();
    let equal = |v: f64| values.iter().filter(|w| **w == v).count();
    values.iter().map(|v| below(*v) as f64 + (equal(*v) as f64 + 1.0) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_by_hand() {
        // Standard deviation 1, n = 3: 4.303 / √3.
        let i = Interval::of(&[1.0, 2.0, 3.0]);
        assert_eq!(i.mean, 2.0);
        assert!((i.half - 2.4843).abs() < 1e-3);
        assert!(!i.excludes_zero());
        assert!(Interval::of(&[1.0]).half.is_nan());
        let pairs = Interval::paired(&[5.0, 7.0, 9.0], &[4.0, 6.0, 8.0]);
        assert_eq!((pairs.mean, pairs.half), (1.0, 0.0));
    }

    #[test]
    fn quantiles_go_on_behind_the_table() {
        assert!((t(60) - 2.000).abs() < 2e-3);
        assert!(t(31) < t(30) && t(1000) > 1.96);
    }

    #[test]
    fn ranks_correlate() {
        assert!((spearman(&[1.0, 2.0, 3.0], &[10.0, 200.0, 201.0]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / √(4.5 · 5).
        assert!(
            (spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]) - 4.5 / 22.5f64.sqrt()).abs() < 1e-12
        );
    }
}
