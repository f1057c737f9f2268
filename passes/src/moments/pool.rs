//! Maxima and means over windows.
//!
//! Windows near the ends of an axis see other energies and correlations than those inside. They have moments of their own;
//! all others share those of one window in the middle.

use super::correlation::Correlation;
use super::forward::{Choice, Walk};
use super::gauss;
use super::map::{Axis, Map};
use super::signal::{Normal, Signal};
use super::window::{self, Greatest, Pairs, Place};
use rectify_ir::graph::NodeId;
use rectify_ir::shape::adaptive_bin;
use std::collections::HashMap;

/// So many windows, or positions of a bin, from either end of an axis count as near it.
const NEAR: usize = 4;

impl Walk<'_> {
    pub fn max_pool(&mut self, id: NodeId, x: &Signal, axes: &[Axis]) -> Signal {
        let normal = x.normal();
        let sizes = &x.second.dims;
        let dims: Vec<usize> = axes.iter().map(|a| a.windows).collect();
        let counts = Map::constant(sizes, 1.0).gather(axes);
        // Energies of windows relative to that which stands for them.
        let around =
            x.second.gather(axes).zip(&counts, |sum, count| if count > 0.0 { sum / count } else { 0.0 });
        let (mut mean, mut second) = (around.clone(), around.clone());
        let mut known: HashMap<Vec<usize>, (Greatest, f64)> = HashMap::new();
        for i in 0..around.values.len() {
            let stands: Vec<usize> =
                position(i, &dims).iter().zip(&dims).map(|(w, count)| representative(*w, *count)).collect();
            let (best, energy) = *known.entry(stands).or_insert_with_key(|stands| {
                let at: Vec<i64> = stands.iter().map(|w| *w as i64).collect();
                (greatest(&normal, &elements(axes, stands, sizes, &normal)), around.at(&at))
            });
            let scale = if energy > 0.0 { around.values[i] / energy } else { 0.0 };
            second.values[i] = best.second * scale;
            mean.values[i] = best.mean * scale.sqrt();
        }
        let middle: Vec<usize> = dims.iter().map(|d| d / 2).collect();
        let (m, s) = normal.usual();
        let slope = gauss::slope(&*normal.function.f, m, s);
        if let (true, Some((best, _))) = (slope > 0.0, known.get(&middle)) {
            let (alone, shared) = (best.alone, best.shared_slope / best.alone / slope);
            self.choices.insert(id, Choice { favour: best.slope / slope, alone, shared_favour: shared });
        }
        Signal::new(mean, second, greatest_of_pairs(&normal, axes))
    }

    pub fn pyramid(&mut self, id: NodeId, x: &Signal, bins: &[usize]) -> Signal {
        let normal = x.normal();
        let (m, s) = normal.usual();
        let usual = gauss::moments(&*normal.function.f, m, s).1.max(f64::MIN_POSITIVE);
        let slope = gauss::slope(&*normal.function.f, m, s);
        let (h, w) = (x.second.dims[0], x.second.dims[1]);
        let mut known: HashMap<Vec<usize>, (Greatest, f64)> = HashMap::new();
        let (mut mean, mut second, mut slopes, mut count) = (0.0, 0.0, [0.0; 3], 0usize);
        for b in bins {
            for bin in 0..b * b {
                let (rows, columns) = (adaptive_bin(bin / b, *b, h), adaptive_bin(bin % b, *b, w));
                let cells = (rows.0..rows.1).flat_map(|r| (columns.0..columns.1).map(move |c| r * w + c));
                let (mut around, mut elements) = (0.0, 0.0);
                for cell in cells {
                    (around, elements) = (around + x.second.values[cell], elements + 1.0);
                }
                around /= f64::max(elements, 1.0);
                // Bins of one size as far from the borders have the same moments.
                let far = |(from, to): (usize, usize), size: usize| {
                    [to - from, from.min(2 * NEAR), (size - to).min(2 * NEAR)]
                };
                let (best, energy) =
                    *known.entry([far(rows, h), far(columns, w)].concat()).or_insert_with(|| {
                        let start = [rows.0 as i64, columns.0 as i64];
                        let extents = [rows.1 - rows.0, columns.1 - columns.0];
                        let places = window::places(&start, &extents, &[1, 1], |p| normal.at(p));
                        (greatest(&normal, &places), around)
                    });
                let scale = if energy > 0.0 { around / energy } else { around / usual };
                second += best.second * scale;
                mean += best.mean * scale.sqrt();
                let own = [best.slope, best.alone, best.shared_slope];
                slopes.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                count += 1;
            }
        }
        let n = count.max(1) as f64;
        if slope > 0.0 {
            let [all, alone, shared] = slopes.map(|sum| sum / n);
            let shared_favour = shared / alone / slope;
            self.choices.insert(id, Choice { favour: all / slope, alone, shared_favour });
        }
        Signal::flat(&[], mean / n, second / n, Correlation::equal)
    }
}

/// Means over windows. `whole` divides by the kernel's size everywhere, else by the elements that lie inside.
pub fn average(x: &Signal, axes: &[Axis], whole: bool) -> Signal {
    let sizes = &x.second.dims;
    let dims: Vec<usize> = axes.iter().map(|a| a.windows).collect();
    let counts = Map::constant(sizes, 1.0).gather(axes);
    let size: f64 = axes.iter().map(|a| a.kernel as f64).product();
    let by = |sum: f64, count: f64| if whole { sum / size } else { sum / count.max(1.0) };
    let mean = x.mean.gather(axes).zip(&counts, by);
    let energy = x.second.gather(axes).zip(&counts, |sum, count| sum / count.max(1.0));
    let one = axes.iter().all(|a| a.windows == 1 && a.kernel >= a.before as usize && a.dilation == 1);
    let own = if one {
        let spans: Vec<(i64, usize)> = axes.iter().zip(sizes).map(|(a, s)| a.inside(0, *s)).collect();
        let starts: Vec<i64> = spans.iter().map(|(from, _)| *from).collect();
        let extents: Vec<i64> = spans.iter().map(|(_, count)| *count as i64).collect();
        x.correlation.mean_of_pairs(&starts, &extents)
    } else {
        between(x, axes, &vec![0; axes.len()])
    };
    let second = energy.zip(&counts, |e, count| {
        let inside = if whole { count / size } else { 1.0 };
        e * own * inside * inside
    });
    let correlation = Correlation::from_fn(&dims, |d| {
        let shift: Vec<i64> = d.iter().zip(axes).map(|(d, a)| d * a.stride as i64).collect();
        if d.iter().any(|d| *d != 0) && own > 0.0 { between(x, axes, &shift) / own } else { 1.0 }
    });
    let ends = x.correlation.behind(axes, &x.second);
    let far = correlation.clone();
    let correlation = correlation.with_borders(|axis, p, q| {
        let (p, q) = (p as i64, q as i64);
        far.along(axis, q - p) * ends.border(axis, p, q)
    });
    Signal::new(mean, second, correlation)
}

/// The mean correlation of the elements of two windows far from the borders, `shift` apart.
fn between(x: &Signal, axes: &[Axis], shift: &[i64]) -> f64 {
    let mut t: Vec<i64> = axes.iter().map(|a| 1 - a.kernel as i64).collect();
    let (mut sum, mut weight) = (0.0, 0.0);
    loop {
        let pairs: f64 = t.iter().zip(axes).map(|(t, a)| (a.kernel as i64 - t.abs()) as f64).product();
        let at: Vec<i64> = (0..t.len()).map(|i| t[i] * axes[i].dilation as i64 + shift[i]).collect();
        sum += pairs * x.correlation.at(&at);
        weight += pairs;
        let Some(axis) = (0..t.len()).rev().find(|i| t[*i] < axes[*i].kernel as i64 - 1) else { break };
        t[axis] += 1;
        for later in axis + 1..t.len() {
            t[later] = 1 - axes[later].kernel as i64;
        }
    }
    if weight > 0.0 { sum / weight } else { 1.0 }
}

fn greatest(normal: &Normal, places: &[Place]) -> Greatest {
    let correlation = |p: &[i64], q: &[i64]| normal.correlation.between(p, q);
    window::greatest(&window::Signal { correlation: &correlation, function: &*normal.function.f }, places)
}

/// How alike the maxima of two windows are: far from the borders by their distance, and along each axis near its ends.
fn greatest_of_pairs(normal: &Normal, axes: &[Axis]) -> Correlation {
    let dims: Vec<usize> = axes.iter().map(|a| a.windows).collect();
    let sizes = &normal.mean.dims;
    let kernel: Vec<usize> = axes.iter().zip(sizes).map(|(a, size)| a.kernel.min(*size)).collect();
    let spacing: Vec<usize> = axes.iter().map(|a| a.dilation).collect();
    let (mean, std) = normal.usual();
    let pairs = Pairs::new(kernel.iter().product());
    let function = &*normal.function.f;
    let inside = {
        let far = |p: &[i64], q: &[i64]| {
            let d: Vec<i64> = p.iter().zip(q).map(|(p, q)| q - p).collect();
            normal.correlation.at(&d)
        };
        let signal = window::Signal { correlation: &far, function };
        let one = window::places(&vec![0; dims.len()], &kernel, &spacing, |_| (mean, std));
        Correlation::from_fn(&dims, |d| {
            if d.iter().all(|d| *d == 0) {
                return 1.0;
            }
            let moved: Vec<i64> = d.iter().zip(axes).map(|(d, a)| d * a.stride as i64).collect();
            let other = window::places(&moved, &kernel, &spacing, |_| (mean, std));
            pairs.correlation(&signal, &one, &other)
        })
    };
    let profiles: Vec<Vec<(f64, f64)>> = (0..dims.len())
        .map(|axis| {
            let squares = normal.std.map(|s| s * s).profile(axis);
            normal.mean.profile(axis).into_iter().zip(squares.into_iter().map(f64::sqrt)).collect()
        })
        .collect();
    inside.with_borders(|axis, p, q| {
        let near = |p: &[i64], q: &[i64]| {
            let d: Vec<i64> = p.iter().zip(q).map(|(p, q)| q - p).collect();
            normal.correlation.at(&d) * normal.correlation.border(axis, p[axis], q[axis])
        };
        let signal = window::Signal { correlation: &near, function };
        let [one, other] = [p, q].map(|window| {
            let (first, count) = axes[axis].inside(window, sizes[axis]);
            let (mut start, mut extents) = (vec![0; dims.len()], kernel.clone());
            (start[axis], extents[axis]) = (first, count);
            let profile = &profiles[axis];
            window::places(&start, &extents, &spacing, |at| {
                profile[at[axis].clamp(0, profile.len() as i64 - 1) as usize]
            })
        });
        if p == q { 1.0 } else { pairs.correlation(&signal, &one, &other) }
    })
}

/// The elements of a window that lie inside.
fn elements(axes: &[Axis], window: &[usize], sizes: &[usize], normal: &Normal) -> Vec<Place> {
    let spans: Vec<(i64, usize)> = (0..axes.len()).map(|i| axes[i].inside(window[i], sizes[i])).collect();
    let start: Vec<i64> = spans.iter().map(|(from, _)| *from).collect();
    let counts: Vec<usize> = spans.iter().map(|(_, count)| *count).collect();
    let spacing: Vec<usize> = axes.iter().map(|a| a.dilation).collect();
    window::places(&start, &counts, &spacing, |p| normal.at(p))
}

/// The window that stands for another one along an axis.
fn representative(window: usize, count: usize) -> usize {
    if window < NEAR || window + NEAR >= count { window } else { count / 2 }
}

fn position(mut index: usize, dims: &[usize]) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        (at[axis], index) = (index % dims[axis], index / dims[axis]);
    }
    at
}
