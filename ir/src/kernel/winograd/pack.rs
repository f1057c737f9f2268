//! Weights in the transformed domain, `U = G g G'`: computed in f64, rounded once.

use super::transform::kernel_row;
use crate::kernel::{Illegal, require};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// `[channel group][position][input channel, padded to lanes][width output channels]` of weights `[out, in, 3, 3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WinogradPack {
    pub out_channels: u32,
    pub in_channels: u32,
    /// As in the kernel: 2 or 4.
    pub outputs: u8,
    pub lanes: u8,
    /// `vectors * lanes` of the kernel.
    pub width: u32,
}

const TAPS: usize = 9;
/// Output channels that are transformed together; their f64 fill a few vector registers of any machine.
const TOGETHER: usize = 8;

impl WinogradPack {
    pub(in crate::kernel) fn validate(&self) -> Result<(), Illegal> {
        require!(self.out_channels > 0 && self.in_channels > 0, "an empty Winograd pack");
        require!(matches!(self.outputs, 2 | 4), "Winograd tiles of {0}x{0}", self.outputs);
        require!(self.lanes > 0 && self.width > 0, "an empty Winograd tile");
        Ok(())
    }

    pub fn groups(&self) -> usize {
        (self.out_channels as usize).div_ceil(self.width as usize)
    }

    pub fn group_len(&self) -> usize {
        let n = self.outputs as usize + 2;
        n * n * self.position_len()
    }

    /// Packed f32 of one position of a channel group.
    fn position_len(&self) -> usize {
        (self.in_channels as usize).next_multiple_of(self.lanes as usize) * self.width as usize
    }

    pub fn source_len(&self) -> usize {
        self.out_channels as usize * self.in_channels as usize * TAPS
    }

    pub fn source_range(&self, group: usize) -> Range<usize> {
        let row = self.in_channels as usize * TAPS;
        let first = group * self.width as usize;
        first * row..(first + self.width as usize).min(self.out_channels as usize) * row
    }

    pub(in crate::kernel) fn pack_group(&self, source: &[f32], packed: &mut [f32]) {
        let (inputs, width) = (self.in_channels as usize, self.width as usize);
        let row = inputs * TAPS;
        let channels = source.len() / row;
        let position_len = self.position_len();
        if channels < width || inputs * width < position_len {
            packed.fill(0.0);
        }
        for input in 0..inputs {
            for first in (0..channels).step_by(TOGETHER) {
                let count = TOGETHER.min(channels - first);
                let mut taps = [[0f64; TOGETHER]; TAPS];
                for k in 0..count {
                    let at = (first + k) * row + input * TAPS;
                    for (tap, value) in taps.iter_mut().zip(&source[at..at + TAPS]) {
                        tap[k] = f64::from(*value);
                    }
                }
                let mut position = input * width + first;
                self.transform(&taps, |values| {
                    for (to, value) in packed[position..position + count].iter_mut().zip(values) {
                        *to = *value as f32;
                    }
                    position += position_len;
                });
            }
        }
    }

    /// Hands over the transformed kernels position by position.
    fn transform(&self, taps: &[[f64; TOGETHER]; TAPS], mut each: impl FnMut(&[f64; TOGETHER])) {
        // Down the columns, then along the rows.
        let columns = [0, 1, 2].map(|c| kernel_row(self.outputs, [&taps[c], &taps[3 + c], &taps[6 + c]]));
        for k in 0..columns[0].1 {
            let (row, count) =
                kernel_row(self.outputs, [&columns[0].0[k], &columns[1].0[k], &columns[2].0[k]]);
            row[..count].iter().for_each(&mut each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::PackFormat;

    /// The positions of the point 0 and of infinity hold corners of the kernel; padding is zero.
    #[test]
    fn corners_and_padding() {
        for (outputs, sign) in [(2u8, -1.0), (4, 1.0)] {
            let pack = WinogradPack { out_channels: 10, in_channels: 5, outputs, lanes: 4, width: 8 };
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
}
