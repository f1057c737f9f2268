//! What is known of a gradient: second moment at each position, correlation between positions, and the rectifier that let it through last.
//!
//! Layers with weights ask for nothing else than second moments of it. Whatever adds up a gradient over positions does: batch norms,
//! overlapping pools, and the gradients of weights. From a dense layer it comes without correlation, from an average with nothing but.

use super::correlation::{Correlation, REACH};
use super::gauss::{Expansion, derivative};
use super::map::{Axis, Map};
use super::signal::{Normal, Signal};

#[derive(Clone)]
pub(super) struct Gradient {
    pub second: Map,
    pub correlation: Correlation,
    gate: Option<Box<Gate>>,
    /// How much more of it the function passes on that it meets next, since a maximum has chosen where it is.
    favour: f64,
}

/// A function's derivative that a gradient was multiplied by: both depend on the signal u there.
#[derive(Clone)]
struct Gate {
    /// Of the gradient before.
    before: Correlation,
    u: Normal,
    /// Of f'(u), and of f'(u) times u in standard deviations from its mean.
    slope: Expansion,
    moment: Expansion,
}

impl Gradient {
    pub fn new(second: Map, correlation: Correlation) -> Gradient {
        Gradient { second, correlation, gate: None, favour: 1.0 }
    }

    /// One second moment everywhere, and nothing in common between positions.
    pub fn white(dims: &[usize], second: f64) -> Gradient {
        Gradient::new(Map::constant(dims, second), Correlation::white(dims))
    }

    pub fn scaled(&self, factor: f64) -> Gradient {
        Gradient { second: self.second.scaled(factor), ..self.clone() }
    }

    /// At elements that a maximum has chosen: f'² of the function before is on average so many times that of any element.
    pub fn favoured(self, favour: f64) -> Gradient {
        Gradient { favour, ..self }
    }

    /// For a value of other positions: what there is on average.
    pub fn fit(self, dims: &[usize]) -> Gradient {
        if self.second.dims == dims {
            return self;
        }
        Gradient::white(dims, self.second.mean()).favoured(self.favour)
    }

    /// The sum with a gradient that came another way.
    pub fn plus(&self, other: &Gradient) -> Gradient {
        let (a, b) = (self.second.mean(), other.second.mean());
        let correlation =
            Correlation::combined(&self.second.dims, &self.correlation, &other.correlation, |r, s| {
                if a + b > 0.0 { (a * r + b * s) / (a + b) } else { 1.0 }
            });
        let favour = if a + b > 0.0 { (a * self.favour + b * other.favour) / (a + b) } else { 1.0 };
        Gradient::new(self.second.zip(&other.second, |a, b| a + b), correlation).favoured(favour)
    }

    /// Through a function of the signal x.
    pub fn gated(&self, x: &Signal, f: &dyn Fn(f64) -> f64) -> Gradient {
        let u = x.normal();
        let ((mean, std), inner) = (u.usual(), &u.function.f);
        let slope = Expansion::new(&|v| derivative(f, inner(v), std), mean, std);
        let distance = |v: f64| if std > 0.0 { (v - mean) / std } else { 0.0 };
        let moment = Expansion::new(&|v| distance(v) * derivative(f, inner(v), std), mean, std);
        let dims = &self.second.dims;
        let correlation =
            Correlation::combined(dims, &self.correlation, &u.correlation, |r, s| r * slope.correlation(s));
        let gate = Gate { before: self.correlation.clone(), u, slope, moment };
        let second = self.second.scaled(x.slope(f) * self.favour);
        Gradient { second, correlation, gate: Some(Box::new(gate)), favour: 1.0 }
    }

    /// Each window's number to all of its elements, every tap by a weight of its own.
    pub fn scattered(&self, axes: &[Axis], dims: &[usize]) -> Gradient {
        let second = self.second.scatter(axes, dims);
        // Elements whose distance is no multiple of the stride meet no tap in common. The greatest distance that is kept stands for
        // multiples and others.
        let inside = Correlation::from_fn(dims, |d| {
            let mut meet = 1.0;
            for ((d, axis), size) in d.iter().zip(axes).zip(dims) {
                if d.unsigned_abs() as usize == REACH && *size > REACH + 1 {
                    meet /= axis.stride as f64;
                } else if d % axis.stride as i64 != 0 {
                    meet = 0.0;
                }
            }
            let at: Vec<i64> = d.iter().zip(axes).map(|(d, a)| d / a.stride as i64).collect();
            meet * self.correlation.at(&at)
        });
        // At the ends of an axis some windows that would hold an element do not exist.
        let roots: Vec<Vec<f64>> =
            (0..axes.len()).map(|i| self.second.profile(i).into_iter().map(f64::sqrt).collect()).collect();
        let common = |i: usize, p: usize, q: usize| {
            let (mut both, mut own) = (0.0, [0.0; 2]);
            for tap in 0..axes[i].kernel {
                let windows = [p, q].map(|at| axes[i].window(at, tap));
                for (own, window) in own.iter_mut().zip(windows) {
                    *own += window.map_or(0.0, |w| roots[i][w] * roots[i][w]);
                }
                if let [Some(v), Some(w)] = windows {
                    both += roots[i][v] * roots[i][w] * self.correlation.border(i, v as i64, w as i64);
                }
            }
            let each = (own[0] * own[1]).sqrt();
            if each > 0.0 { both / each } else { 1.0 }
        };
        let far = inside.clone();
        let correlation = inside.with_borders(|i, p, q| far.along(i, q as i64 - p as i64) * common(i, p, q));
        Gradient::new(second, correlation)
    }

    /// The sum of each window's elements, every tap by a weight of its own.
    pub fn gathered(&self, axes: &[Axis]) -> Gradient {
        Gradient::new(self.second.gather(axes), self.correlation.behind(axes, &self.second))
    }

    /// Each window's number to one of its elements, all of which are as likely.
    pub fn to_greatest(&self, axes: &[Axis], dims: &[usize]) -> Gradient {
        let counts = Map::constant(dims, 1.0).gather(axes);
        let once = self.second.zip(&counts, |g, count| g / count.max(1.0)).scatter(axes, dims);
        // Two windows have one greatest element where that of both together lies in both of them.
        let size: f64 = axes.iter().map(|a| a.kernel as f64).product();
        let mut twice = 0.0;
        offsets(&axes.iter().map(|a| (a.kernel as i64 - 1) / a.stride as i64).collect::<Vec<_>>(), |d| {
            let common: f64 = d
                .iter()
                .zip(axes)
                .map(|(d, a)| (a.kernel as f64 - (d.abs() * a.stride as i64) as f64).max(0.0))
                .product();
            if d.iter().any(|d| *d != 0) && axes.iter().all(|a| a.dilation == 1) {
                twice += self.correlation.at(d) * common / (2.0 * size - common);
            }
        });
        let strides: f64 = axes.iter().map(|a| a.stride as f64).product();
        let share = 1.0 / (strides * (1.0 + twice).max(f64::MIN_POSITIVE));
        let correlation = Correlation::from_fn(dims, |d| {
            if d.iter().all(|d| *d == 0) { 1.0 } else { share * self.between_windows(axes, d) }
        });
        Gradient::new(once.scaled(1.0 + twice), correlation)
    }

    /// The correlation of the numbers of two windows with elements at a distance, on average over where these lie; a window with
    /// itself counts as nothing.
    fn between_windows(&self, axes: &[Axis], distance: &[i64]) -> f64 {
        let mut sum = 0.0;
        for corner in 0..1usize << axes.len() {
            let (mut share, mut at) = (1.0, Vec::with_capacity(axes.len()));
            for (i, axis) in axes.iter().enumerate() {
                let stride = axis.stride as i64;
                let (below, rest) = (distance[i].div_euclid(stride), distance[i].rem_euclid(stride));
                let above = rest as f64 / stride as f64;
                let up = (corner >> i) & 1 == 1;
                share *= if up { above } else { 1.0 - above };
                at.push(below + i64::from(up));
            }
            if share > 0.0 && at.iter().any(|d| *d != 0) {
                sum += share * self.correlation.at(&at);
            }
        }
        sum
    }

    /// An equal part of each window's number to all of its elements.
    pub fn averaged(&self, axes: &[Axis], dims: &[usize]) -> Gradient {
        let size: f64 = axes.iter().map(|a| a.kernel as f64).product();
        // Over windows and taps with which two elements at this distance are met: the sum of the windows' correlations.
        let met = |d: &[i64]| {
            let lists: Vec<Vec<(i64, f64)>> = axes.iter().zip(d).map(|(a, d)| meetings(a, *d)).collect();
            let mut sum = 0.0;
            let mut pick = vec![0; lists.len()];
            'all: loop {
                let at: Vec<i64> = pick.iter().zip(&lists).map(|(i, list)| list[*i].0).collect();
                let count: f64 = pick.iter().zip(&lists).map(|(i, list)| list[*i].1).product();
                sum += count * self.correlation.at(&at);
                for axis in (0..pick.len()).rev() {
                    pick[axis] += 1;
                    if pick[axis] < lists[axis].len() {
                        continue 'all;
                    }
                    pick[axis] = 0;
                }
                break sum;
            }
        };
        let own = met(&vec![0; axes.len()]);
        let alone: f64 = axes.iter().map(|a| a.kernel as f64 / a.stride as f64).product();
        let second = self.second.scatter(axes, dims).scaled(own / alone / (size * size));
        let correlation = Correlation::from_fn(dims, |d| if own > 0.0 { met(d) / own } else { 1.0 });
        Gradient::new(second, correlation)
    }

    /// What a norm of each channel over `images` images leaves of a gradient at its result y: what the statistics answer for is
    /// taken away. `x` is what was normalised; unscaled.
    pub fn normalised(&self, x: &Signal, y: &Signal, images: usize) -> Gradient {
        let n = images.max(1) as f64;
        let sizes: Vec<i64> = self.second.dims.iter().map(|d| *d as i64).collect();
        let over_pairs = |c: &Correlation| c.mean_of_pairs(&vec![0; sizes.len()], &sizes) / n;
        let own = y.normal();
        // The mean of the gradient, and of the gradient times y.
        let level = over_pairs(&self.correlation);
        let along = over_pairs(&self.with_signal(&own));
        let left = (1.0 - level - along).max(0.0);
        let correlation =
            Correlation::combined(&self.second.dims, &self.correlation, &own.correlation, |r, s| {
                if left > 1e-9 { (r - level - s * along) / left } else { 1.0 }
            });
        // Channels differ in their variance the more, the fewer independent numbers it is a mean of.
        let alike = x.normalised(images).correlation.map(|r| r * r);
        let numbers = (1.0 / over_pairs(&alike).max(f64::MIN_POSITIVE)).max(4.0);
        let inverse = numbers / (numbers - 2.0) / x.variance(images).max(f64::MIN_POSITIVE);
        Gradient::new(self.second.scaled(left * inverse), correlation)
    }

    /// The correlation of the gradient times a signal y of variance 1, relative to the gradient's own second moment. Where a gate
    /// stands behind y, that looks at y, or at a sum of y and others.
    fn with_signal(&self, y: &Normal) -> Correlation {
        let dims = &self.second.dims;
        let Some(gate) = &self.gate else {
            return Correlation::combined(dims, &self.correlation, &y.correlation, |r, s| r * s);
        };
        let (own, all) = (y.usual().1, gate.u.usual().1);
        let part = if all > 0.0 { (own / all).powi(2).min(1.0) } else { 0.0 };
        let moment = gate.moment.second() / gate.slope.second().max(f64::MIN_POSITIVE);
        let (before, u) = (&gate.before, &gate.u.correlation);
        let through = Correlation::combined(dims, before, u, |r, s| r * moment * gate.moment.correlation(s));
        let beside = Correlation::combined(dims, &self.correlation, &y.correlation, |r, s| r * s);
        Correlation::combined(dims, &through, &beside, |a, b| part * a + (1.0 - part) * b)
    }
}

/// For two elements `distance` apart along an axis: how far apart windows are that hold one each, and how many pairs of these there
/// are on average over where the elements lie.
fn meetings(axis: &Axis, distance: i64) -> Vec<(i64, f64)> {
    let stride = axis.stride as i64;
    let mut found: Vec<(i64, f64)> = Vec::new();
    for (one, other) in (0..axis.kernel).flat_map(|t| (0..axis.kernel).map(move |u| (t, u))) {
        // Windows w and w' with w · stride + one · dilation + distance = w' · stride + other · dilation.
        let apart = distance + (one as i64 - other as i64) * axis.dilation as i64;
        if apart % stride != 0 {
            continue;
        }
        let (apart, count) = (apart / stride, 1.0 / stride as f64);
        match found.iter_mut().find(|(at, _)| *at == apart) {
            Some((_, total)) => *total += count,
            None => found.push((apart, count)),
        }
    }
    if found.is_empty() { vec![(0, 0.0)] } else { found }
}

/// All offsets up to a reach along each axis.
fn offsets(reach: &[i64], mut f: impl FnMut(&[i64])) {
    let mut d: Vec<i64> = reach.iter().map(|r| -r).collect();
    loop {
        f(&d);
        let Some(axis) = (0..d.len()).rev().find(|i| d[*i] < reach[*i]) else { break };
        d[axis] += 1;
        for later in axis + 1..d.len() {
            d[later] = -reach[later];
        }
    }
}
