//! Weights in the transformed domain, `U = G g G'`: computed in f64, rounded once.

use super::transform::kernel_row;
use crate::kernel::{Illegal, require};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// `[channel group][position][input channel, padded to lanes][width output channels]` of weights `[out, in, 3, 3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WinogradPack {
    pub picked: Picked,
    pub in_channels: u32,
    /// As in the kernel: 2 or 4.
    pub outputs: u8,
    pub lanes: u8,
    /// `vectors * lanes` of the kernel.
    pub width: u32,
}

/// The output channels that a kernel computes: all of the source's, or evenly spaced ones for a place of a pixel shuffle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Picked {
    /// Output channels of the source.
    pub of: u32,
    pub first: u32,
    pub step: u32,
    pub count: u32,
}

impl Picked {
    pub fn all(channels: u32) -> Picked {
        Picked { of: channels, first: 0, step: 1, count: channels }
    }

    fn channel(self, k: usize) -> usize {
        self.first as usize + k * self.step as usize
    }
}

const TAPS: usize = 9;
/// Output channels that are transformed together; their f64 fill a few vector registers of any machine.
const TOGETHER: usize = 8;
/// Input channels whose results for all positions stay in the first level of cache until they are written.
const CHUNK: usize = 4;

impl WinogradPack {
    pub(in crate::kernel) fn validate(&self) -> Result<(), Illegal> {
        let Picked { of, count, step, .. } = self.picked;
        require!(count > 0 && step > 0 && self.in_channels > 0, "an empty Winograd pack");
        let last = self.picked.channel(count as usize - 1);
        require!(last < of as usize, "output channel {last} of the {of} of the source");
        require!(matches!(self.outputs, 2 | 4), "Winograd tiles of {0}x{0}", self.outputs);
        require!(self.lanes > 0 && self.width > 0, "an empty Winograd tile");
        Ok(())
    }

    pub fn groups(&self) -> usize {
        (self.picked.count as usize).div_ceil(self.width as usize)
    }

    pub fn group_len(&self) -> usize {
        self.positions() * self.position_len()
    }

    fn positions(&self) -> usize {
        let n = self.outputs as usize + 2;
        n * n
    }

    /// Packed f32 of one position of a channel group.
    fn position_len(&self) -> usize {
        (self.in_channels as usize).next_multiple_of(self.lanes as usize) * self.width as usize
    }

    pub fn source_len(&self) -> usize {
        self.picked.of as usize * self.in_channels as usize * TAPS
    }

    pub fn source_range(&self, group: usize) -> Range<usize> {
        let row = self.in_channels as usize * TAPS;
        let channel = |k: usize| self.picked.channel(k);
        let first = group * self.width as usize;
        let end = (first + self.width as usize).min(self.picked.count as usize);
        channel(first) * row..(channel(end - 1) + 1) * row
    }

    /// Inlined with all that it calls, so that callers can build it for the vector widths of their machine.
    #[inline(always)]
    pub(in crate::kernel) fn pack_group(&self, source: &[f32], packed: &mut [f32]) {
        match (self.outputs, (self.width as usize).is_multiple_of(TOGETHER)) {
            (2, true) => self.pack_positions::<4, true>(source, packed),
            (2, false) => self.pack_positions::<4, false>(source, packed),
            (_, true) => self.pack_positions::<6, true>(source, packed),
            (_, false) => self.pack_positions::<6, false>(source, packed),
        }
    }

    /// As `pack_group`, for `N * N` positions; `WHOLE` where the width is a multiple of [`TOGETHER`].
    #[inline(always)]
    fn pack_positions<const N: usize, const WHOLE: bool>(&self, source: &[f32], packed: &mut [f32]) {
        let (inputs, width) = (self.in_channels as usize, self.width as usize);
        let (row, step) = (inputs * TAPS, self.picked.step as usize);
        // Of the picked channels, the source begins with the first and ends with the last.
        let channels = (source.len() / row).div_ceil(step);
        let (position_len, chunk_len) = (self.position_len(), CHUNK * width);
        let mut chunk = vec![0.0f32; N * N * chunk_len];
        for start in (0..position_len / width).step_by(CHUNK) {
            let present = CHUNK.min(position_len / width - start);
            for first in (0..width).step_by(TOGETHER) {
                let kernels: [&[[f32; TAPS]]; TOGETHER] = std::array::from_fn(|out| {
                    let at = (first + out) * step * row;
                    let real = first + out < channels.min(width);
                    if real { source[at..at + row].as_chunks().0 } else { &[] }
                });
                for (k, input) in (start..start + present).enumerate() {
                    let taps = taps(&kernels, input);
                    // Down the columns, then along the rows.
                    let columns: [[[f64; TOGETHER]; N]; 3] =
                        [0, 1, 2].map(|c| kernel_row([&taps[c], &taps[3 + c], &taps[6 + c]]));
                    let mut at = k * width + first;
                    let [left, middle, right] = &columns;
                    for ((left, middle), right) in left.iter().zip(middle).zip(right) {
                        let positions: [[f64; TOGETHER]; N] = kernel_row([left, middle, right]);
                        for values in &positions {
                            let count = if WHOLE { TOGETHER } else { TOGETHER.min(width - first) };
                            for (to, value) in chunk[at..at + count].iter_mut().zip(values) {
                                *to = *value as f32;
                            }
                            at += chunk_len;
                        }
                    }
                }
            }
            // Positions are far apart, often in the same set of the cache: each is written a run of lines at a time.
            let (from, len) = (start * width, present * width);
            for (position, values) in chunk.chunks_exact(chunk_len).enumerate() {
                let at = position * position_len + from;
                packed[at..at + len].copy_from_slice(&values[..len]);
            }
        }
    }
}

/// The taps of an input channel in the rows of some output channels; zeros where a row has no such channel.
#[inline(always)]
fn taps(kernels: &[&[[f32; TAPS]]; TOGETHER], input: usize) -> [[f64; TOGETHER]; TAPS] {
    const ABSENT: &[f32; TAPS] = &[0.0; TAPS];
    let mut all = [[0.0f32; TOGETHER]; TAPS];
    for (out, kernel) in kernels.iter().enumerate() {
        let kernel = kernel.get(input).unwrap_or(ABSENT);
        for (tap, value) in kernel.iter().enumerate() {
            all[tap][out] = *value;
        }
    }
    let mut wide = [[0.0f64; TOGETHER]; TAPS];
    for (wide, values) in wide.iter_mut().zip(&all) {
        for (wide, value) in wide.iter_mut().zip(values) {
            *wide = f64::from(*value);
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::PackFormat;

    /// The positions of the point 0 and of infinity hold corners of the kernel; padding is zero.
    #[test]
    fn corners_and_padding() {
        for (outputs, sign) in [(2u8, -1.0), (4, 1.0)] {
            let pack = WinogradPack { picked: Picked::all(10), in_channels: 5, outputs, lanes: 4, width: 8 };
            let format = PackFormat::Winograd(pack);
            format.validate().expect("legal");
            let source: Vec<f32> = (1..=format.source_len()).map(|v| v as f32).collect();
            let packed = format.pack(&source);
            assert_eq!(packed.len(), format.len());
            let n = usize::from(outputs) + 2;
            let at = |out: usize, position: usize, input: usize| {
                packed[((out / 8 * n * n + position) * 8 + input) * 8 + out % 8]
            };
            for out in 0..16 {
                for input in 0..8 {
                    let value = |tap: usize| match (out, input) {
                        (0..10, 0..5) => source[(out * 5 + input) * 9 + tap],
                        _ => 0.0,
                    };
                    assert_eq!(at(out, 0, input), value(0));
                    assert_eq!(at(out, n * n - 1, input), value(8));
                    assert_eq!(at(out, n - 1, input), sign * value(2));
                }
            }
        }
    }
    /// Every third channel, from the second one on, packs as a source of these channels alone.
    #[test]
    fn picked_channels_pack_alone() {
        let picked = Picked { of: 12, first: 1, step: 3, count: 4 };
        let pack = WinogradPack { picked, in_channels: 3, outputs: 4, lanes: 4, width: 4 };
        let format = PackFormat::Winograd(pack);
        format.validate().expect("legal");
        let source: Vec<f32> = (0..format.source_len()).map(|v| (v as f32).sin()).collect();
        let alone: Vec<f32> =
            [1, 4, 7, 10].iter().flat_map(|c| source[c * 27..(c + 1) * 27].to_vec()).collect();
        let of_alone = PackFormat::Winograd(WinogradPack { picked: Picked::all(4), ..pack });
        assert_eq!(format.pack(&source), of_alone.pack(&alone));
        let beyond = WinogradPack { picked: Picked { first: 3, ..picked }, ..pack };
        assert!(PackFormat::Winograd(beyond).validate().is_err());
    }
}
