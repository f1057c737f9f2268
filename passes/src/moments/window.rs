//! The greatest of a window's elements: moments by sampling the window from the signal's own correlations.
//!
//! Before the first nonlinearity behind a layer with fresh weights the signal is normal, so a window of it is a normal
//! vector whose correlations are known. There is no closed form for the maximum of more than a few of those; samples from
//! a fixed seed give its moments to about a percent.

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
    /// E[1 / n] where n elements are equal to the greatest: what is left of a gradient's squares where all of these share it.
    pub alone: f64,
    /// E[f'(u)² / n].
    pub shared_slope: f64,
}

/// A normal signal and the function through which the window sees it.
pub struct Signal<'a> {
    /// Of two positions, about the mean.
    pub correlation: &'a dyn Fn(&[i64], &[i64]) -> f64,
    pub function: &'a dyn Fn(f64) -> f64,
}

/// An element of a window.
#[derive(Clone, Debug)]
pub struct Place {
    pub at: Vec<i64>,
    /// Of the normal signal there.
    pub mean: f64,
    pub std: f64,
}

/// The elements of a window: along each axis `counts` from `start` on, `spacing` apart. `normal` gives mean and standard deviation of
/// a position.
pub fn places(
    start: &[i64],
    counts: &[usize],
    spacing: &[usize],
    normal: impl Fn(&[i64]) -> (f64, f64),
) -> Vec<Place> {
    let count: usize = counts.iter().product();
    let all = (0..count).map(|index| {
        let mut rest = index;
        let mut at = start.to_vec();
        for axis in (0..counts.len()).rev() {
            at[axis] += ((rest % counts[axis]) * spacing[axis]) as i64;
            rest /= counts[axis];
        }
        let (mean, std) = normal(&at);
        Place { at, mean, std }
    });
    all.step_by(count.div_ceil(LARGEST).max(1)).collect()
}

/// The greatest of the elements at these places.
pub fn greatest(signal: &Signal<'_>, places: &[Place]) -> Greatest {
    let factor = cholesky(signal, places);
    let mut normals = Normals::new();
    let mut sums = Greatest { mean: 0.0, second: 0.0, slope: 0.0, alone: 0.0, shared_slope: 0.0 };
    let samples = (SAMPLES * 16 / places.len().max(16)).max(1024);
    let mut z = vec![0.0; places.len()];
    for _ in 0..samples {
        z.iter_mut().for_each(|z| *z = normals.next());
        let (mut best, mut equal) = ((0.0, f64::NEG_INFINITY, 0.0), 1.0);
        for (row, place) in factor.iter().zip(places) {
            let u = place.mean + place.std * dot(row, &z);
            let value = (signal.function)(u);
            if value > best.1 {
                (best, equal) = ((u, value, place.std), 1.0);
            } else if value == best.1 {
                equal += 1.0;
            }
        }
        let slope = square_slope(signal.function, best.0, best.2);
        sums.mean += best.1;
        sums.second += best.1 * best.1;
        sums.slope += slope;
        sums.alone += 1.0 / equal;
        sums.shared_slope += slope / equal;
    }
    let n = samples as f64;
    Greatest {
        mean: sums.mean / n,
        second: sums.second / n,
        slope: sums.slope / n,
        alone: sums.alone / n,
        shared_slope: sums.shared_slope / n,
    }
}

/// The numbers that all pairs of windows are sampled with: differences between pairs are then those of the pairs.
pub struct Pairs {
    normals: Vec<f64>,
    elements: usize,
}

impl Pairs {
    /// For pairs of windows of at most so many elements.
    pub fn new(elements: usize) -> Pairs {
        let elements = 2 * elements.min(LARGEST);
        let mut normals = Normals::new();
        Pairs { normals: (0..PAIR_SAMPLES * elements).map(|_| normals.next()).collect(), elements }
    }

    /// E[m m'] / sqrt(E[m²] E[m'²]) of the greatest elements m, m' of two windows.
    pub fn correlation(&self, signal: &Signal<'_>, one: &[Place], other: &[Place]) -> f64 {
        let both: Vec<Place> = one.iter().chain(other).cloned().collect();
        let factor = cholesky(signal, &both);
        let (mut product, mut squares) = (0.0, [0.0; 2]);
        for z in self.normals.chunks_exact(self.elements) {
            let value = |i: usize| (signal.function)(both[i].mean + both[i].std * dot(&factor[i], z));
            let a = (0..one.len()).map(value).fold(f64::NEG_INFINITY, f64::max);
            let b = (one.len()..both.len()).map(value).fold(f64::NEG_INFINITY, f64::max);
            product += a * b;
            squares = [squares[0] + a * a, squares[1] + b * b];
        }
        let each = (squares[0] * squares[1]).sqrt();
        if each > 0.0 { product / each } else { 1.0 }
    }
}

fn dot(row: &[f64], z: &[f64]) -> f64 {
    row.iter().zip(z).map(|(l, z)| l * z).sum()
}

/// The lower triangle L with L Lᵀ = the correlations between these places. Sampling noise may make a matrix of measured
/// correlations slightly indefinite; such a place then follows the others exactly.
fn cholesky(signal: &Signal<'_>, places: &[Place]) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(places.len());
    for (i, p) in places.iter().enumerate() {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for (j, q) in places[..i].iter().enumerate() {
            let known = dot(&row, &rows[j]);
            let pivot = rows[j][j];
            let wanted = (signal.correlation)(&p.at, &q.at);
            row.push(if pivot > 1e-6 { (wanted - known) / pivot } else { 0.0 });
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

    fn alike(same: Vec<i64>) -> impl Fn(&[i64], &[i64]) -> f64 {
        move |p, q| if p == q || (same.contains(&p[1]) && same.contains(&q[1])) { 1.0 } else { 0.0 }
    }

    #[test]
    fn known_maxima_of_normal_variables() {
        let white = alike(Vec::new());
        let identity = |x| x;
        let signal = Signal { correlation: &white, function: &identity };
        let window = |counts: &[usize]| places(&[0, 0], counts, &[1, 1], |_| (0.0, 2.0));
        // E[max] = σ / √π for two, and 1.02938 σ for four; E[max²] = σ² for two.
        let two = greatest(&signal, &window(&[1, 2]));
        assert!((two.mean - 2.0 / std::f64::consts::PI.sqrt()).abs() < 0.04, "{two:?}");
        assert!((two.second - 4.0).abs() < 0.12, "{two:?}");
        let four = greatest(&signal, &window(&[2, 2]));
        assert!((four.mean - 2.0588).abs() < 0.04, "{four:?}");
        assert!((four.slope - 1.0).abs() < 1e-3);
    }

    #[test]
    fn equal_elements_are_their_own_maximum() {
        let equal = alike((0..9).collect());
        let relu = |x: f64| x.max(0.0);
        let signal = Signal { correlation: &equal, function: &relu };
        let window = |at: i64| places(&[0, at], &[3, 3], &[1, 1], |_| (0.0, 1.0));
        let nine = greatest(&signal, &window(0));
        assert!((nine.second - 0.5).abs() < 0.02 && (nine.slope - 0.5).abs() < 0.02, "{nine:?}");
        assert!((Pairs::new(9).correlation(&signal, &window(0), &window(4)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_largest_of_unequal_elements_wins() {
        let white = alike(Vec::new());
        let identity = |x| x;
        let signal = Signal { correlation: &white, function: &identity };
        let window = places(&[0, 0], &[1, 2], &[1, 1], |at| (3.0 * at[1] as f64, 0.1));
        assert!((greatest(&signal, &window).mean - 3.0).abs() < 0.01);
    }
}
