//! Geometry of sliding windows at known sizes: what convolutions and pools read beyond the edges of their input.

use super::storage::Halo;
use rectify_ir::Dim;
use rectify_ir::dim::DimFacts;
use rectify_ir::op::{ConvTransposeAttrs, Padding};
use rectify_ir::shape::resolve_padding;

/// One spatial axis of a window operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub input: i64,
    pub output: i64,
    pub kernel: i64,
    pub stride: i64,
    pub dilation: i64,
    /// Padding before the axis.
    pub before: i64,
    /// Padding after the axis, as the attributes say; windows may reach further (`ceil`) or less far.
    pub after: i64,
}

impl Window {
    /// Input index that a tap of an output element reads; outside of `0..input` for padding.
    pub fn index(&self, output: i64, tap: i64) -> i64 {
        output * self.stride + tap * self.dilation - self.before
    }

    /// Elements read before and after the input.
    pub fn reach(&self) -> (i64, i64) {
        let last = self.index(self.output - 1, self.kernel - 1);
        (self.before, (last - (self.input - 1)).max(0))
    }
}

/// The spatial axes of a convolution or a pool.
pub(crate) fn windows(
    input: &[i64],
    output: &[i64],
    kernel: &[i64],
    stride: &[i64],
    dilation: &[i64],
    pad: &Padding,
) -> Vec<Window> {
    let rank = input.len();
    let sizes: Vec<Dim> = input.iter().map(|n| Dim::Const(*n)).collect();
    // Sizes are constants, so the padding is known.
    let pads = resolve_padding(pad, &sizes, kernel, stride, dilation, &DimFacts::default())
        .unwrap_or_else(|| vec![0; 2 * rank]);
    (0..rank)
        .map(|i| Window {
            input: input[i],
            output: output[i],
            kernel: kernel[i],
            stride: stride[i],
            dilation: dilation[i],
            before: pads[i],
            after: pads[rank + i],
        })
        .collect()
}

/// The halo that windows need.
pub(crate) fn halo(windows: &[Window]) -> Halo {
    let reach: Vec<(i64, i64)> = windows.iter().map(Window::reach).collect();
    Halo { before: reach.iter().map(|r| r.0).collect(), after: reach.iter().map(|r| r.1).collect() }
}

/// The outputs `first`, `first + stride`, … of one axis of a transposed convolution: those whose taps agree modulo
/// the stride. They are a convolution of stride 1.
#[derive(Clone, Debug)]
pub(crate) struct Sector {
    pub first: i64,
    pub count: i64,
    /// Taps of the kernel and, for each, the input index that output `first` reads through it.
    pub taps: Vec<(i64, i64)>,
}

/// Elements that a transposed convolution drops before its result along one axis.
pub(crate) fn cut(a: &ConvTransposeAttrs, axis: usize, kernel: i64, input: i64, output: i64) -> i64 {
    let extent = (kernel - 1) * a.dilation[axis] + 1;
    let whole = (input - 1) * a.stride[axis] + extent + a.output_pad[axis] - output;
    match &a.pad {
        Padding::Explicit(pads) => pads[axis],
        Padding::SameUpper => whole / 2,
        Padding::SameLower => whole - whole / 2,
    }
}

/// The sectors of one spatial axis.
pub(crate) fn sectors(
    a: &ConvTransposeAttrs,
    axis: usize,
    kernel: i64,
    input: i64,
    output: i64,
) -> Vec<Sector> {
    let (stride, dilation) = (a.stride[axis], a.dilation[axis]);
    let rank = a.stride.len();
    let cut = cut(a, axis, kernel, input, output);
    debug_assert!(rank > axis);
    (0..stride.min(output))
        .map(|first| {
            let reads = |tap: i64| {
                let position = first + cut - tap * dilation;
                (position.rem_euclid(stride) == 0).then(|| (tap, position.div_euclid(stride)))
            };
            Sector {
                first,
                count: (output - first + stride - 1) / stride,
                taps: (0..kernel).filter_map(reads).collect(),
            }
        })
        .collect()
}

/// The halo that all sectors of all axes need.
pub(crate) fn sector_halo(axes: &[Vec<Sector>], input: &[i64]) -> Halo {
    let mut halo = Halo { before: vec![], after: vec![] };
    for (sectors, size) in axes.iter().zip(input) {
        let taps = sectors.iter().flat_map(|s| s.taps.iter().map(|(_, index)| (*index, s.count)));
        let before = taps.clone().map(|(index, _)| -index).max().unwrap_or(0).max(0);
        let after = taps.map(|(index, count)| index + count - size).max().unwrap_or(0).max(0);
        halo.before.push(before);
        halo.after.push(after);
    }
    halo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_cover_every_product_once() {
        for (kernel, stride, dilation, cut, output_pad) in [
            (2, 2, 1, 0, 0),
            (3, 2, 1, 1, 1),
            (4, 2, 1, 1, 0),
            (3, 3, 2, 2, 1),
            (2, 3, 1, 0, 0),
            (3, 1, 1, 1, 0),
        ] {
            let input = 5;
            let output = (input - 1) * stride + (kernel - 1) * dilation + 1 + output_pad - 2 * cut;
            let a = ConvTransposeAttrs {
                stride: vec![stride],
                pad: Padding::Explicit(vec![cut, cut]),
                dilation: vec![dilation],
                groups: 1,
                output_pad: vec![output_pad],
            };
            let mut got = vec![];
            for sector in sectors(&a, 0, kernel, input, output) {
                for j in 0..sector.count {
                    for &(tap, index) in sector.taps.iter().filter(|(_, i)| (0..input).contains(&(i + j))) {
                        got.push((sector.first + stride * j, tap, index + j));
                    }
                }
            }
            let mut want = vec![];
            for i in 0..input {
                for tap in 0..kernel {
                    let at = i * stride + tap * dilation - cut;
                    if (0..output).contains(&at) {
                        want.push((at, tap, i));
                    }
                }
            }
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!(got, want);
        }
    }
}
