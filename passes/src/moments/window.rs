//! The greatest of a window's elements: moments by sampling the window from the signal's own correlations.
//!
//! Before the first nonlinearity behind a layer with fresh weights the signal is normal, so a window of it is a normal
//! vector whose correlations are known. There is no closed form for the maximum of more than a few of those; samples from
//! a fixed seed give its moments to about a percent. Windows of one size are sampled once.

use super::correlation::Correlation;
use super::gauss::square_slope;

/// Samples for the moments of a window, and for each pair of windows.
const SAMPLES: usize = 8192;
const PAIR_SAMPLES: usize = 768;
/// Larger windows are thinned to about as many elements.
const LARGEST: usize = 400;

/// Moments of the greatest of a window's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Greatest {
    pub mean: f64,
    pub second: f64,
    /// E[f'(u)²] at the greatest element: what of a gradient's second moment passes on to u.
    pub slope: f64,
}

/// A normal signal and the function through which the window sees it.
pub struct Signal<'a> {
    pub mean: f64,
    pub std: f64,
    /// Of the normal signal about its mean.
    pub correlation: &'a Correlation,
    pub function: &'a dyn Fn(f64) -> f64,
}

/// Places in a window with these elements along each axis, `spacing` apart.
pub fn places(extents: &[usize], spacing: &[usize]) -> Vec<Vec<i64>> {
    let count: usize = extents.iter().product();
    let all = (0..count).map(|index| {
        let mut rest = index;
        let mut at = vec![0; extents.len()];
        for axis in (0..extents.len()).rev() {
            at[axis] = ((rest % extents[axis]) * spacing[axis]) as i64;
            rest /= extents[axis];
        }
        at
    });
    all.step_by(count.div_ceil(LARGEST).max(1)).collect()
}

/// The greatest of the elements at these places.
pub fn greatest(signal: &Signal<'_>, places: &[Vec<i64>]) -> Greatest {
    let factor = cholesky(signal.correlation, places);
    let mut normals = Normals::new();
    let (mut mean, mut second, mut slope) = (0.0, 0.0, 0.0);
    let samples = (SAMPLES * 16 / places.len().max(16)).max(1024);
    for _ in 0..samples {
        let (u, best) = best_of(signal, &factor, &mut normals, 0..places.len());
        mean += best;
        second += best * best;
        slope += square_slope(signal.function, u, signal.std);
    }
    let n = samples as f64;
    Greatest { mean: mean / n, second: second / n, slope: slope / n }
}

/// E[m m'] / E[m²] of the greatest elements m, m' of two windows `distance` apart.
pub fn pair(signal: &Signal<'_>, places: &[Vec<i64>], distance: &[i64]) -> f64 {
    let moved = places.iter().map(|p| p.iter().zip(distance).map(|(p, d)| p + d).collect());
    let both: Vec<Vec<i64>> = places.iter().cloned().chain(moved).collect();
    let factor = cholesky(signal.correlation, &both);
    let mut normals = Normals::new();
    let (mut product, mut squares) = (0.0, 0.0);
    let mut z = vec![0.0; both.len()];
    for _ in 0..PAIR_SAMPLES {
        z.iter_mut().for_each(|z| *z = normals.next());
        let value = |i: usize| {
            let u: f64 = factor[i].iter().zip(&z).map(|(l, z)| l * z).sum();
            (signal.function)(signal.mean + signal.std * u)
        };
        let a = (0..places.len()).map(value).fold(f64::NEG_INFINITY, f64::max);
        let b = (places.len()..both.len()).map(value).fold(f64::NEG_INFINITY, f64::max);
        product += a * b;
        squares += (a * a + b * b) / 2.0;
    }
    if squares > 0.0 { product / squares } else { 1.0 }
}

fn best_of(
    signal: &Signal<'_>,
    factor: &[Vec<f64>],
    normals: &mut Normals,
    range: std::ops::Range<usize>,
) -> (f64, f64) {
    let z: Vec<f64> = factor.iter().map(|_| normals.next()).collect();
    let mut best = (0.0, f64::NEG_INFINITY);
    for row in &factor[range] {
        let u = signal.mean + signal.std * row.iter().zip(&z).map(|(l, z)| l * z).sum::<f64>();
        let value = (signal.function)(u);
        if value > best.1 {
            best = (u, value);
        }
    }
    best
}

/// The lower triangle L with L Lᵀ = the correlations between these places. Sampling noise may make a matrix of measured
/// correlations slightly indefinite; such a place then follows the others exactly.
fn cholesky(correlation: &Correlation, places: &[Vec<i64>]) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(places.len());
    for (i, p) in places.iter().enumerate() {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for (j, q) in places[..i].iter().enumerate() {
            let d: Vec<i64> = p.iter().zip(q).map(|(p, q)| p - q).collect();
            let known: f64 = row.iter().zip(&rows[j]).map(|(a, b)| a * b).sum();
            let pivot = rows[j][j];
            row.push(if pivot > 1e-6 { (correlation.at(&d) - known) / pivot } else { 0.0 });
        }
        let used: f64 = row.iter().map(|v| v * v).sum();
        if used > 1.0 {
            row.iter_mut().for_each(|v| *v /= used.sqrt());
        }
        row.push((1.0 - used).max(0.0).sqrt());
        rows.push(row);
    }
    rows
}

/// Standard normal numbers, always the same: SplitMix64 through Box and Muller's transform.
struct Normals {
    state: u64,
    spare: Option<f64>,
}

impl Normals {
    fn new() -> Normals {
        Normals { state: 0, spare: None }
    }

    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (2.0 * std::f64::consts::PI * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_maxima_of_normal_variables() {
        let white = Correlation::white(&[8, 8]);
        let identity = |x: f64| x;
        let signal = Signal { mean: 0.0, std: 2.0, correlation: &white, function: &identity };
        // E[max] = σ / √π for two, and 1.02938 σ for four; E[max²] = σ² for two.
        let two = greatest(&signal, &places(&[1, 2], &[1, 1]));
        assert!((two.mean - 2.0 / std::f64::consts::PI.sqrt()).abs() < 0.04, "{two:?}");
        assert!((two.second - 4.0).abs() < 0.12, "{two:?}");
        let four = greatest(&signal, &places(&[2, 2], &[1, 1]));
        assert!((four.mean - 2.0588).abs() < 0.04, "{four:?}");
        assert!((four.slope - 1.0).abs() < 1e-3);
    }

    #[test]
    fn equal_elements_are_their_own_maximum() {
        let equal = Correlation::equal(&[8, 8]);
        let relu = |x: f64| x.max(0.0);
        let signal = Signal { mean: 0.0, std: 1.0, correlation: &equal, function: &relu };
        let nine = greatest(&signal, &places(&[3, 3], &[1, 1]));
        assert!((nine.second - 0.5).abs() < 0.02 && (nine.slope - 0.5).abs() < 0.02, "{nine:?}");
        assert!((pair(&signal, &places(&[2, 2], &[1, 1]), &[4, 0]) - 1.0).abs() < 1e-9);
    }
}
