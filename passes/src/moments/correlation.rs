//! How alike two positions of a signal are.
//!
//! The correlation of positions p and q is `E[x(p) x(q)] / sqrt(E[x(p)²] E[x(q)²])`, a mean over channels. Convolution with fresh
//! weights carries it on: two positions share weights tap by tap, so `E[y(p) y(q)] = Var[w] Σ_t E[x(s p + t) x(s q + t)]`. Far from
//! the borders it depends on the distance alone, and y's at distance d is x's at stride · d. Near them a factor for each axis
//! (`border`) is multiplied to it. Beyond the greatest distance that is kept, the value there stands.

use super::border::{Border, DEPTH};
use super::map::{Axis, Map};

/// Distances are kept up to this along each axis.
pub const REACH: usize = 24;

/// Correlations between positions along the spatial axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// Greatest distance along each axis.
    reach: Vec<usize>,
    /// Far from the borders, over distances `-reach ..= reach` of each axis, row-major.
    values: Vec<f64>,
    /// For each axis.
    borders: Vec<Border>,
}

impl Correlation {
    /// From a function of the distance, for maps of these sizes.
    pub fn from_fn(dims: &[usize], f: impl Fn(&[i64]) -> f64) -> Correlation {
        let reach: Vec<usize> = dims.iter().map(|d| d.saturating_sub(1).min(REACH)).collect();
        let borders = dims.iter().zip(&reach).map(|(size, reach)| Border::plain(*size, *reach)).collect();
        let mut correlation = Correlation { values: Vec::new(), reach, borders };
        let count: usize = correlation.reach.iter().map(|r| 2 * r + 1).product();
        correlation.values = vec![f64::NAN; count];
        // A correlation is the same in both directions.
        for i in 0..count.div_ceil(2) {
            let value = f(&correlation.distance(i)).clamp(-1.0, 1.0);
            correlation.values[i] = value;
            correlation.values[count - 1 - i] = value;
        }
        correlation
    }

    /// With borders: `f` gives, for an axis, the correlation of two positions along it.
    pub fn with_borders(mut self, f: impl Fn(usize, usize, usize) -> f64) -> Correlation {
        for axis in 0..self.borders.len() {
            let (size, reach) = (self.borders[axis].size(), self.reach[axis]);
            let border = Border::from_fn(size, reach, |p, q| {
                let far = self.along(axis, q as i64 - p as i64);
                if far.abs() > 1e-6 { f(axis, p, q) / far } else { 1.0 }
            });
            self.borders[axis] = border;
        }
        self
    }

    /// A function of the correlations of two signals over positions of these sizes; a signal that has no positions is the same at all.
    pub fn combined(
        dims: &[usize],
        a: &Correlation,
        b: &Correlation,
        f: impl Fn(f64, f64) -> f64,
    ) -> Correlation {
        let has = |c: &Correlation| c.reach.len() == dims.len();
        let far = |c: &Correlation, d: &[i64]| if has(c) { c.at(d) } else { 1.0 };
        let near = |c: &Correlation, axis, p: usize, q: usize| {
            if !has(c) {
                return 1.0;
            }
            let (p, q) = (p as i64, q as i64);
            c.along(axis, q - p) * c.borders[axis].factor(p, q)
        };
        let inside = Correlation::from_fn(dims, |d| f(far(a, d), far(b, d)));
        if [a, b].into_iter().all(|c| !has(c) || c.is_plain()) {
            return inside;
        }
        inside.with_borders(|axis, p, q| f(near(a, axis, p, q), near(b, axis, p, q)))
    }

    /// Behind sums over these windows with weights that all of them share, of a signal with these second moments.
    pub fn behind(&self, axes: &[Axis], second: &Map) -> Correlation {
        let dims: Vec<usize> = axes.iter().map(|a| a.windows).collect();
        let roots: Vec<Vec<f64>> =
            (0..axes.len()).map(|i| second.profile(i).into_iter().map(f64::sqrt).collect()).collect();
        let inside = Correlation::from_fn(&dims, |d| {
            let at: Vec<i64> = d.iter().zip(axes).map(|(d, a)| d * a.stride as i64).collect();
            self.at(&at)
        });
        let of = |i: usize, p: usize, q: usize| {
            let (axis, root) = (&axes[i], &roots[i]);
            let (mut both, mut own) = (0.0, [0.0; 2]);
            for tap in 0..axis.kernel {
                let at = [p, q].map(|window| axis.place(window, tap, root.len()));
                for (own, at) in own.iter_mut().zip(at) {
                    *own += at.map_or(0.0, |at| root[at] * root[at]);
                }
                if let [Some(a), Some(b)] = at {
                    both += root[a] * root[b] * self.borders[i].factor(a as i64, b as i64);
                }
            }
            let each = (own[0] * own[1]).sqrt();
            if each > 0.0 { both / each } else { 1.0 }
        };
        let far = inside.clone();
        inside.with_borders(|i, p, q| far.along(i, q as i64 - p as i64) * of(i, p, q))
    }

    /// Values without anything in common, but for each position with itself.
    pub fn white(dims: &[usize]) -> Correlation {
        Correlation::from_fn(dims, |d| if d.iter().all(|d| *d == 0) { 1.0 } else { 0.0 })
    }

    /// The same value everywhere.
    pub fn equal(dims: &[usize]) -> Correlation {
        Correlation::from_fn(dims, |_| 1.0)
    }

    /// Measured on channels of these spatial sizes, one after another.
    pub fn measured(dims: &[usize], channels: &[&[f32]]) -> Correlation {
        let energy: f64 = channels.iter().flat_map(|c| c.iter()).map(|v| f64::from(*v).powi(2)).sum();
        let elements: usize = dims.iter().product();
        let mean = energy / elements.max(1) as f64;
        Correlation::from_fn(dims, |d| {
            if mean == 0.0 {
                return 1.0;
            }
            let (mut sum, mut pairs) = (0.0, 0usize);
            for channel in channels {
                let (s, n) = overlap(channel, dims, d);
                sum += s;
                pairs = n;
            }
            if pairs == 0 { 0.0 } else { sum / pairs as f64 / mean }
        })
    }

    pub fn at(&self, d: &[i64]) -> f64 {
        let mut index = 0;
        for (d, reach) in d.iter().zip(&self.reach) {
            let r = *reach as i64;
            index = index * (2 * reach + 1) + (d.clamp(&-r, &r) + r) as usize;
        }
        self.values[index]
    }

    /// At a distance along one axis, far from the borders.
    pub fn along(&self, axis: usize, distance: i64) -> f64 {
        let mut d = vec![0; self.reach.len()];
        d[axis] = distance;
        self.at(&d)
    }

    /// Of two positions.
    pub fn between(&self, p: &[i64], q: &[i64]) -> f64 {
        let d: Vec<i64> = p.iter().zip(q).map(|(p, q)| q - p).collect();
        let near: f64 = (0..d.len()).map(|i| self.borders[i].factor(p[i], q[i])).product();
        (self.at(&d) * near).clamp(-1.0, 1.0)
    }

    /// What the borders of an axis make of the correlation of two positions along it.
    pub fn border(&self, axis: usize, p: i64, q: i64) -> f64 {
        self.borders[axis].factor(p, q)
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Correlation {
        let dims: Vec<usize> = self.borders.iter().map(Border::size).collect();
        Correlation::combined(&dims, self, self, |r, _| f(r))
    }

    /// The mean over all pairs of positions of a box: from `starts`, of `sizes`.
    pub fn mean_of_pairs(&self, starts: &[i64], sizes: &[i64]) -> f64 {
        // The number of pairs of a distance, borders counted, axis by axis; of what is beyond the greatest distance all together.
        let weights: Vec<Vec<f64>> = (0..sizes.len())
            .map(|i| {
                let r = self.reach[i] as i64;
                let mut weights = vec![0.0; 2 * self.reach[i] + 1];
                for d in 1 - sizes[i]..sizes[i] {
                    weights[(d.clamp(-r, r) + r) as usize] +=
                        self.pairs(i, starts[i], starts[i] + sizes[i], d);
                }
                weights
            })
            .collect();
        let mut sum = 0.0;
        for index in 0..self.values.len() {
            let d = self.distance(index);
            let weight: f64 = d
                .iter()
                .zip(&weights)
                .zip(&self.reach)
                .map(|((d, w), r)| w[(d + *r as i64) as usize])
                .product();
            sum += weight * self.values[index];
        }
        let pairs: f64 = sizes.iter().map(|s| (s * s) as f64).product();
        if pairs > 0.0 { sum / pairs } else { 1.0 }
    }

    /// The sum of an axis' border factors over all pairs of positions in `from..to` that are `d` apart.
    fn pairs(&self, axis: usize, from: i64, to: i64, d: i64) -> f64 {
        let (first, end) = (from.max(from - d), to.min(to - d));
        if end <= first {
            return 0.0;
        }
        // Between these both are far from the ends.
        let (size, depth) = (self.borders[axis].size() as i64, DEPTH as i64);
        let inside = (depth - d.min(0)).clamp(first, end);
        let outside = (size - depth - d.max(0)).clamp(inside, end);
        let near = (first..inside).chain(outside..end).map(|p| self.border(axis, p, p + d));
        near.sum::<f64>() + (outside - inside) as f64
    }

    fn is_plain(&self) -> bool {
        self.borders.iter().all(Border::is_plain)
    }

    fn distance(&self, mut index: usize) -> Vec<i64> {
        let mut d = vec![0; self.reach.len()];
        for (d, reach) in d.iter_mut().zip(&self.reach).rev() {
            *d = (index % (2 * reach + 1)) as i64 - *reach as i64;
            index /= 2 * reach + 1;
        }
        d
    }
}

/// Σ x(p) x(p + d) over the positions where both lie inside, and how many there are.
fn overlap(x: &[f32], dims: &[usize], d: &[i64]) -> (f64, usize) {
    let Some((size, rest)) = dims.split_first() else {
        return (x.iter().map(|v| f64::from(*v).powi(2)).sum(), x.len());
    };
    let inner: usize = rest.iter().product();
    let (from, to) = ((-d[0]).max(0) as usize, (*size as i64 - d[0].max(0)).max(0) as usize);
    if rest.is_empty() {
        if from >= to {
            return (0.0, 0);
        }
        let shifted = (from as i64 + d[0]) as usize;
        let pairs = x[from..to].iter().zip(&x[shifted..]);
        return (pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum(), to - from);
    }
    let mut total = (0.0, 0);
    for row in from..to {
        let other = (row as i64 + d[0]) as usize;
        let (s, n) = cross(&x[row * inner..][..inner], &x[other * inner..][..inner], rest, &d[1..]);
        total = (total.0 + s, total.1 + n);
    }
    total
}

/// As [`overlap`], between two tensors of the same sizes.
fn cross(a: &[f32], b: &[f32], dims: &[usize], d: &[i64]) -> (f64, usize) {
    let Some((size, rest)) = dims.split_first() else { return (0.0, 0) };
    let inner: usize = rest.iter().product();
    let (from, to) = ((-d[0]).max(0) as usize, (*size as i64 - d[0].max(0)).max(0) as usize);
    if from >= to {
        return (0.0, 0);
    }
    if rest.is_empty() {
        let shifted = (from as i64 + d[0]) as usize;
        // Sums of their own, which vector units take at once.
        let (a, b) = (&a[from..to], &b[shifted..][..to - from]);
        let mut sums = [0f32; 8];
        for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += a * b;
            }
        }
        let tail = (to - from) / 8 * 8;
        let rest: f32 = a[tail..].iter().zip(&b[tail..]).map(|(a, b)| a * b).sum();
        return (sums.iter().map(|s| f64::from(*s)).sum::<f64>() + f64::from(rest), to - from);
    }
    let mut total = (0.0, 0);
    for row in from..to {
        let other = (row as i64 + d[0]) as usize;
        let (s, n) = cross(&a[row * inner..][..inner], &b[other * inner..][..inner], rest, &d[1..]);
        total = (total.0 + s, total.1 + n);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_on_stripes() {
        let x: Vec<f32> = (0..36).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let c = Correlation::measured(&[6, 6], &[&x]);
        assert!((c.at(&[0, 0]) - 1.0).abs() < 1e-9);
        assert!((c.at(&[0, 1]) + 1.0).abs() < 1e-9);
        assert!((c.at(&[1, -2]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn neighbours_at_a_border_are_less_alike() {
        let axis = Axis { kernel: 3, stride: 1, dilation: 1, before: 1, windows: 40 };
        let second = Map::constant(&[40], 1.0);
        let once = Correlation::equal(&[40]).behind(&[axis], &second);
        // Windows of 2 and 3 taps share 2.
        assert!((once.between(&[0], &[1]) - 2.0 / 6f64.sqrt()).abs() < 1e-12);
        assert!((once.between(&[38], &[39]) - 2.0 / 6f64.sqrt()).abs() < 1e-12);
        assert_eq!((once.between(&[1], &[2]), once.between(&[20], &[22])), (1.0, 1.0));
        // A second layer moves it inwards.
        let twice = once.behind(&[axis], &second);
        let want = (2.0 / 6f64.sqrt() + 2.0) / 3.0;
        assert!((twice.between(&[1], &[2]) - want).abs() < 1e-12);
        assert_eq!(twice.between(&[20], &[21]), 1.0);
    }

    #[test]
    fn pairs_of_a_box_count_its_borders() {
        let axis = Axis { kernel: 3, stride: 1, dilation: 1, before: 1, windows: 4 };
        let c = Correlation::from_fn(&[4], |d| 0.9f64.powi(d[0].abs() as i32));
        let c = c.behind(&[axis], &Map::constant(&[4], 1.0));
        let all: f64 = (0..16).map(|i| c.between(&[i / 4], &[i % 4])).sum();
        assert!((c.mean_of_pairs(&[0], &[4]) - all / 16.0).abs() < 1e-12);
    }

    #[test]
    fn far_distances_take_the_last() {
        let c = Correlation::from_fn(&[100], |d| 1.0 / (1.0 + d[0].abs() as f64));
        assert_eq!(c.at(&[90]), c.at(&[REACH as i64]));
        assert_eq!(c.at(&[-1]), 0.5);
    }
}
