//! Numbers at the positions of a tensor's spatial axes, and the sums of windows over them.
//!
//! Every tap of a window weighs the same in a second moment, so sums over windows are separable: one axis after another.

/// A window along one axis: `at = window · stride + tap · dilation − before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub before: i64,
    /// Number of windows.
    pub windows: usize,
}

impl Axis {
    /// One window of all elements.
    pub fn whole(size: usize) -> Axis {
        Axis { kernel: size, stride: size, dilation: 1, before: 0, windows: 1 }
    }

    /// The first of a window's places that lies within `size` elements, and how many do.
    pub fn inside(&self, window: usize, size: usize) -> (i64, usize) {
        let mut taps = (0..self.kernel).filter_map(|tap| self.place(window, tap, size));
        let first = taps.next();
        (first.unwrap_or(0) as i64, first.map_or(0, |_| 1 + taps.count()))
    }

    /// The window whose tap lies at a place, if there is one.
    pub fn window(&self, at: usize, tap: usize) -> Option<usize> {
        let start = at as i64 + self.before - (tap * self.dilation) as i64;
        let window = usize::try_from(start).ok().filter(|s| s % self.stride == 0)? / self.stride;
        (window < self.windows).then_some(window)
    }

    /// The place of a window's tap, if it lies within `size` elements.
    pub fn place(&self, window: usize, tap: usize, size: usize) -> Option<usize> {
        let at = (window * self.stride + tap * self.dilation) as i64 - self.before;
        usize::try_from(at).ok().filter(|at| *at < size)
    }
}

/// One number a position. Without axes it is a single number.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    pub dims: Vec<usize>,
    /// Row-major, as many as the product of `dims`.
    pub values: Vec<f64>,
}

impl Map {
    pub fn constant(dims: &[usize], value: f64) -> Map {
        Map { dims: dims.to_vec(), values: vec![value; dims.iter().product()] }
    }

    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }

    /// Means over all other axes.
    pub fn profile(&self, axis: usize) -> Vec<f64> {
        let inner: usize = self.dims[axis + 1..].iter().product();
        let size = self.dims[axis];
        let mut sums = vec![0.0; size];
        for (i, v) in self.values.iter().enumerate() {
            sums[i / inner % size] += v;
        }
        let others = (self.values.len() / size.max(1)).max(1) as f64;
        sums.iter().map(|s| s / others).collect()
    }

    /// The number at a position; beyond an end of an axis, that of the end.
    pub fn at(&self, position: &[i64]) -> f64 {
        let index = position
            .iter()
            .zip(&self.dims)
            .fold(0, |index, (p, size)| index * size + (*p).clamp(0, *size as i64 - 1) as usize);
        self.values[index]
    }

    pub fn scaled(&self, factor: f64) -> Map {
        self.map(|v| v * factor)
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Map {
        Map { dims: self.dims.clone(), values: self.values.iter().map(|v| f(*v)).collect() }
    }

    /// Position by position. A map without axes goes with every other.
    pub fn zip(&self, other: &Map, f: impl Fn(f64, f64) -> f64) -> Map {
        if self.dims == other.dims {
            let values = self.values.iter().zip(&other.values).map(|(a, b)| f(*a, *b)).collect();
            return Map { dims: self.dims.clone(), values };
        }
        if self.values.len() == 1 {
            return other.map(|b| f(self.values[0], b));
        }
        let b = other.mean();
        self.map(|a| f(a, b))
    }

    /// The sum of each window's elements; what lies outside counts as zero.
    pub fn gather(&self, axes: &[Axis]) -> Map {
        let mut map = self.clone();
        for (i, axis) in axes.iter().enumerate() {
            let size = map.dims[i];
            map = map.along(i, axis.windows, |from, to| {
                for (window, out) in to.iter_mut().enumerate() {
                    let places = (0..axis.kernel).filter_map(|tap| axis.place(window, tap, size));
                    *out = places.map(|at| from[at]).sum();
                }
            });
        }
        map
    }

    /// The transpose of [`gather`](Self::gather): each window's number is added to all of its elements, of which there are
    /// `sizes`.
    pub fn scatter(&self, axes: &[Axis], sizes: &[usize]) -> Map {
        let mut map = self.clone();
        for (i, (axis, size)) in axes.iter().zip(sizes).enumerate() {
            map = map.along(i, *size, |from, to| {
                for (window, value) in from.iter().enumerate().take(axis.windows) {
                    for at in (0..axis.kernel).filter_map(|tap| axis.place(window, tap, *size)) {
                        to[at] += value;
                    }
                }
            });
        }
        map
    }

    /// Each line along an axis replaced by one of `size` elements, which begins as zeros.
    pub fn along(&self, axis: usize, size: usize, f: impl Fn(&[f64], &mut [f64])) -> Map {
        let inner: usize = self.dims[axis + 1..].iter().product();
        let outer: usize = self.dims[..axis].iter().product();
        let old = self.dims[axis];
        let mut dims = self.dims.clone();
        dims[axis] = size;
        let mut values = vec![0.0; outer * size * inner];
        let (mut from, mut to) = (vec![0.0; old], vec![0.0; size]);
        for o in 0..outer {
            for i in 0..inner {
                for (k, v) in from.iter_mut().enumerate() {
                    *v = self.values[(o * old + k) * inner + i];
                }
                to.fill(0.0);
                f(&from, &mut to);
                for (k, v) in to.iter().enumerate() {
                    values[(o * size + k) * inner + i] = *v;
                }
            }
        }
        Map { dims, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PADDED: Axis = Axis { kernel: 3, stride: 1, dilation: 1, before: 1, windows: 4 };

    #[test]
    fn borders_have_fewer_taps() {
        let counts = Map::constant(&[4, 4], 1.0).gather(&[PADDED, PADDED]);
        assert_eq!(counts.values[..4], [4.0, 6.0, 6.0, 4.0]);
        assert_eq!(counts.values[4..8], [6.0, 9.0, 9.0, 6.0]);
    }

    #[test]
    fn windows_and_places_are_each_other_s_inverse() {
        let axis = Axis { kernel: 3, stride: 2, dilation: 2, before: 1, windows: 3 };
        for (window, tap) in (0..3).flat_map(|w| (0..3).map(move |t| (w, t))) {
            if let Some(at) = axis.place(window, tap, 7) {
                assert_eq!(axis.window(at, tap), Some(window));
            }
        }
        assert_eq!((axis.window(0, 0), axis.window(6, 0)), (None, None));
    }

    #[test]
    fn profiles_are_means_over_the_other_axes() {
        let x = Map { dims: vec![2, 3], values: vec![1.0, 2.0, 3.0, 5.0, 6.0, 7.0] };
        assert_eq!(x.profile(0), [2.0, 6.0]);
        assert_eq!(x.profile(1), [3.0, 4.0, 5.0]);
        assert_eq!((x.at(&[1, 0]), x.at(&[-1, 9])), (5.0, 3.0));
    }

    #[test]
    fn scatter_is_the_transpose_of_gather() {
        let axis = Axis { kernel: 3, stride: 2, dilation: 2, before: 1, windows: 3 };
        let x = Map { dims: vec![7], values: (0..7).map(|i| f64::from(i * i + 1)).collect() };
        let y = Map { dims: vec![3], values: vec![2.0, -1.0, 5.0] };
        let dot = |a: &Map, b: &Map| a.values.iter().zip(&b.values).map(|(a, b)| a * b).sum::<f64>();
        assert_eq!(dot(&x.gather(&[axis]), &y), dot(&x, &y.scatter(&[axis], &[7])));
    }
}
