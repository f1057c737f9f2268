//! One image in memory, and how it is cut and scaled.

use std::ops::Range;

/// Planes of pixels: [C, H, W], row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// `channels · height · width` of them; 0 to 1 before normalisation.
    pub values: Vec<f32>,
}

impl Image {
    /// The window of `height` x `width` pixels whose first pixel is (`top`, `left`); zeros where it lies outside.
    pub fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Image {
        let mut values = vec![0.0; self.channels * height * width];
        // Columns of the window that lie within this image.
        let first = left.saturating_neg().clamp(0, width as isize) as usize;
        let last = (self.width as isize).saturating_sub(left).clamp(first as isize, width as isize) as usize;
        for (row, line) in values.chunks_exact_mut(width.max(1)).enumerate() {
            let (plane, y) = (row / height, (row % height) as isize + top);
            if (0..self.height as isize).contains(&y) && first < last {
                let from = (plane * self.height + y as usize) * self.width;
                let from = from + (first as isize + left) as usize;
                line[first..last].copy_from_slice(&self.values[from..from + last - first]);
            }
        }
        Image { channels: self.channels, height, width, values }
    }

    /// Mirrored: left becomes right.
    #[must_use]
    pub fn flip(mut self) -> Image {
        self.values.chunks_exact_mut(self.width.max(1)).for_each(<[f32]>::reverse);
        self
    }

    /// Scaled to `height` x `width` pixels: linear between pixels when it grows, the mean over a triangle when it shrinks.
    pub fn resize(&self, height: usize, width: usize) -> Image {
        self.resize_window((height, width), 0..height, 0..width)
    }

    /// These rows and columns of the image scaled to (height, width). Nothing outside of them is computed, so that extreme
    /// proportions cost no memory.
    pub fn resize_window(&self, to: (usize, usize), rows: Range<usize>, columns: Range<usize>) -> Image {
        if to == (self.height, self.width) {
            return self.crop(rows.start as isize, columns.start as isize, rows.len(), columns.len());
        }
        let (height, width) = (rows.len(), columns.len());
        let across = Taps::new(self.width, to.1, columns);
        let down = Taps::new(self.height, to.0, rows);
        let mut narrow = vec![0.0; self.channels * self.height * width];
        let lines = self.values.chunks_exact(self.width.max(1));
        for (to, from) in narrow.chunks_exact_mut(width.max(1)).zip(lines) {
            for (x, to) in to.iter_mut().enumerate() {
                let (start, weights) = across.of(x);
                *to = from[start..].iter().zip(weights).map(|(v, w)| v * w).sum();
            }
        }
        let mut values = vec![0.0; self.channels * height * width];
        for (row, to) in values.chunks_exact_mut(width.max(1)).enumerate() {
            let (start, weights) = down.of(row % height);
            let plane = row / height * self.height;
            for (y, weight) in weights.iter().enumerate() {
                let from = &narrow[(plane + start + y) * width..][..width];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
            }
        }
        Image { channels: self.channels, height, width, values }
    }

    /// Height and width with the same proportions and a shorter side of `side` pixels.
    pub fn with_shorter(&self, side: usize) -> (usize, usize) {
        let shorter = self.height.min(self.width).max(1);
        let scaled = |size: usize| ((size * side + shorter / 2) / shorter).max(1);
        (scaled(self.height), scaled(self.width))
    }

    /// Scaled and cut about its middle to `height` x `width` pixels, as little as can be.
    pub fn fit(&self, height: usize, width: usize) -> Image {
        let (own_height, own_width) = (self.height.max(1), self.width.max(1));
        // The side that must be scaled more is scaled exactly; the other is cut.
        let scaled = if height * own_width >= width * own_height {
            (height, ((own_width * height + own_height / 2) / own_height).max(width))
        } else {
            (((own_height * width + own_width / 2) / own_width).max(height), width)
        };
        let (top, left) = ((scaled.0 - height) / 2, (scaled.1 - width) / 2);
        self.resize_window(scaled, top..top + height, left..left + width)
    }
}

/// For each pixel of a scaled line, where its sources begin and how much each counts.
struct Taps {
    starts: Vec<usize>,
    /// `count` for each pixel.
    weights: Vec<f32>,
    count: usize,
}

impl Taps {
    /// For the pixels `window` of a line of `from` pixels scaled to `to`.
    fn new(from: usize, to: usize, window: Range<usize>) -> Taps {
        let scale = from as f32 / to as f32;
        let radius = scale.max(1.0);
        let count = ((2.0 * radius).ceil() as usize + 1).min(from);
        let (mut starts, mut weights) = (Vec::new(), Vec::new());
        for pixel in window {
            let centre = (pixel as f32 + 0.5) * scale - 0.5;
            let start = ((centre - radius).ceil().max(0.0) as usize).min(from - count);
            let begin = weights.len();
            let sources = start..start + count;
            weights.extend(sources.map(|source| (1.0 - (source as f32 - centre).abs() / radius).max(0.0)));
            let sum: f32 = weights[begin..].iter().sum();
            weights[begin..].iter_mut().for_each(|w| *w /= sum);
            starts.push(start);
        }
        Taps { starts, weights, count }
    }

    fn of(&self, pixel: usize) -> (usize, &[f32]) {
        let start = self.starts[pixel];
        (start, &self.weights[pixel * self.count..(pixel + 1) * self.count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(height: usize, width: usize, value: impl Fn(usize, usize) -> f32) -> Image {
        let values = (0..height * width).map(|i| value(i / width, i % width)).collect();
        Image { channels: 1, height, width, values }
    }

    #[test]
    fn windows_may_lie_outside() {
        let two = image(2, 3, |y, x| (10 * y + x) as f32);
        let planes = Image { channels: 2, values: [two.values.clone(), two.values.clone()].concat(), ..two };
        let cut = planes.crop(-1, 1, 3, 3);
        let plane = [0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 11.0, 12.0, 0.0];
        assert_eq!(cut.values, [plane, plane].concat());
        assert_eq!(planes.crop(0, 0, 2, 3), planes);
        for (top, left) in [(9, 0), (0, 9), (-9, 0), (0, -9), (isize::MAX, isize::MIN + 1)] {
            assert!(planes.crop(top.min(isize::MAX - 8), left, 2, 2).values.iter().all(|v| *v == 0.0));
        }
        assert_eq!(planes.clone().flip().values[..6], [2.0, 1.0, 0.0, 12.0, 11.0, 10.0]);
        assert_eq!(planes.clone().flip().flip(), planes);
    }

    #[test]
    fn scaling_keeps_constants_ramps_and_means() {
        let flat = image(7, 5, |_, _| 0.25);
        for (height, width) in [(3, 11), (14, 2), (1, 1), (29, 31)] {
            let scaled = flat.resize(height, width);
            assert_eq!(scaled.values.len(), height * width);
            assert!(scaled.values.iter().all(|v| (v - 0.25).abs() < 1e-6));
        }
        // A ramp stays the same ramp away from the borders.
        let ramp = image(1, 16, |_, x| x as f32);
        for width in [8, 32] {
            let scale = 16.0 / width as f32;
            let scaled = ramp.resize(1, width);
            for x in width / 4..3 * width / 4 {
                let want = (x as f32 + 0.5) * scale - 0.5;
                assert!((scaled.values[x] - want).abs() < 1e-4, "{width}: {x}");
            }
        }
        let stripes = image(8, 8, |_, x| (x % 2) as f32);
        assert!(stripes.resize(2, 2).values.iter().all(|v| (v - 0.5).abs() < 0.07));
    }

    #[test]
    fn fitting_cuts_the_longer_side_about_the_middle() {
        let wide = image(4, 8, |_, x| x as f32);
        assert_eq!(wide.fit(4, 4).values[..4], [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(wide.fit(4, 8), wide);
        for (height, width) in [(3, 3), (9, 2), (2, 9), (1, 1), (5, 11)] {
            let fit = wide.fit(height, width);
            assert_eq!((fit.height, fit.width), (height, width));
        }
        assert_eq!(wide.with_shorter(6), (6, 12));
        // A window is that part of the whole, and of a long strip only the window is made.
        let whole = wide.resize(7, 13);
        assert_eq!(wide.resize_window((7, 13), 2..5, 3..13), whole.crop(2, 3, 3, 10));
        let strip = image(1, 16_384, |_, _| 0.5).fit(2_048, 4);
        assert!(strip.values.iter().all(|v| (v - 0.5).abs() < 1e-6));
    }
}
