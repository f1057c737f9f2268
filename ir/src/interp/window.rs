//! Geometry of sliding windows: which elements of an image meet which elements of the window's output.

use super::tensor::{for_each_index, strides};
use crate::op::Padding;

/// Along one axis: `large = small · stride + tap · dilation − before`, where `small` counts windows and `large` is
/// a place in the image. A convolution reads the large side and writes the small one, a transposed one the other way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub small: usize,
    pub large: usize,
    pub kernel: usize,
    pub stride: i64,
    pub dilation: i64,
    pub before: i64,
}

/// The axes of a window; `None` if the padding is not written out.
pub(super) fn axes(
    small: &[usize],
    large: &[usize],
    kernel: &[usize],
    stride: &[i64],
    dilation: &[i64],
    pad: &Padding,
) -> Option<Vec<Axis>> {
    let before = match pad {
        Padding::Explicit(amounts) => amounts,
        Padding::SameUpper | Padding::SameLower => return None,
    };
    let axis = |i: usize| {
        Some(Axis {
            small: small[i],
            large: *large.get(i)?,
            kernel: *kernel.get(i)?,
            stride: *stride.get(i)?,
            dilation: *dilation.get(i)?,
            before: *before.get(i)?,
        })
    };
    (0..small.len()).map(axis).collect()
}

impl Axis {
    /// The place that element `tap` of window `small` has, if it lies in the image.
    pub fn place(&self, small: usize, tap: usize) -> Option<usize> {
        let at = self.position(small, tap);
        usize::try_from(at).ok().filter(|p| *p < self.large)
    }

    /// As `place`, in the padding too.
    pub fn position(&self, small: usize, tap: usize) -> i64 {
        small as i64 * self.stride + tap as i64 * self.dilation - self.before
    }
}

/// All pairs that one element of the kernel connects, as rows along the last axis.
pub(super) struct Tap {
    /// First elements: of the small side and of the large side, offset within one channel.
    pub rows: Vec<(usize, usize)>,
    /// Elements in each row.
    pub length: usize,
    /// Distance on the large side; 1 on the small side.
    pub stride: usize,
}

/// One entry for each element of the kernel, in row-major order. At least one axis.
pub(super) fn taps(axes: &[Axis]) -> Vec<Tap> {
    let kernel: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
    let small: Vec<usize> = axes.iter().map(|a| a.small).collect();
    let large: Vec<usize> = axes.iter().map(|a| a.large).collect();
    let (small_strides, large_strides) = (strides(&small), strides(&large));
    let (last, outer) = (axes[axes.len() - 1], &axes[..axes.len() - 1]);
    let mut taps = Vec::new();
    for_each_index(&kernel, |tap| {
        let last_tap = tap[outer.len()];
        let inside = |s: &usize| last.place(*s, last_tap).is_some();
        let first = (0..last.small).find(inside);
        let end = (0..last.small).rev().find(inside).map_or(0, |s| s + 1);
        let mut rows = Vec::new();
        if let Some(first) = first {
            let start = last.place(first, last_tap).unwrap_or(0);
            for_each_index(&small[..outer.len()], |index| {
                let mut row = (first, start);
                for (i, axis) in outer.iter().enumerate() {
                    let Some(place) = axis.place(index[i], tap[i]) else { return };
                    row.0 += index[i] * small_strides[i];
                    row.1 += place * large_strides[i];
                }
                rows.push(row);
            });
        }
        let length = end.saturating_sub(first.unwrap_or(end));
        taps.push(Tap { rows, length, stride: last.stride as usize });
    });
    taps
}
