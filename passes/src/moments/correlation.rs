//! How alike two positions of a signal are, by their distance.
//!
//! `at(d) = E[x(p) x(p + d)] / sqrt(E[x(p)²] E[x(p + d)²])`, the mean over positions p and channels. Convolution with fresh
//! weights keeps it: two positions share weights tap by tap, so `E[y(p) y(q)] = Var[w] Σ_t E[x(p + t) x(q + t)]`, and the
//! correlation at distance d is the input's at stride · d. Beyond the greatest distance that is kept, the value there stands.

/// Distances are kept up to this along each axis.
const REACH: usize = 24;

/// Correlations by distance along each of the spatial axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// Greatest distance along each axis.
    reach: Vec<usize>,
    /// Over distances `-reach ..= reach` of each axis, row-major.
    values: Vec<f64>,
}

impl Correlation {
    /// From a function of the distance, for maps of these sizes.
    pub fn from_fn(dims: &[usize], f: impl Fn(&[i64]) -> f64) -> Correlation {
        let reach: Vec<usize> = dims.iter().map(|d| d.saturating_sub(1).min(REACH)).collect();
        let mut correlation = Correlation { values: Vec::new(), reach };
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

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Correlation {
        let values = self.values.iter().map(|v| f(*v).clamp(-1.0, 1.0)).collect();
        Correlation { reach: self.reach.clone(), values }
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
    fn far_distances_take_the_last() {
        let c = Correlation::from_fn(&[100], |d| 1.0 / (1.0 + d[0].abs() as f64));
        assert_eq!(c.at(&[90]), c.at(&[REACH as i64]));
        assert_eq!(c.at(&[-1]), 0.5);
    }
}
