//! The `winograd_gradient` family: gradients of the weights of 3x3 convolutions of stride 1 by minimal filtering.
//!
//! `y = A' [(G g G') * (B' d B)] A` is linear in `g`, so with the transforms of F(4x4, 3x3) its gradient is
//! `G' [(A y A') * (B' d B)] G` for a tile `y` of the output's gradient, and sums over tiles come before the last transform:
//!
//! ```text
//! for task (slice of the images, part of the input channels, part of the output channels):
//!   for block of tiles of the slice:
//!     V[position][input block][tile][lane] = B' d B,  W[position][output vector][tile][lane] = A y A'
//!     S[position][channel][v] += sum over tiles V[position][tile][channel] * W[position][tile][v]
//!   output[slice][channel][tap][v] = G' S G
//! ```
//!
//! V, W and S stay in the scratch. Pointers: output, input, gradient. Input and gradient are in channel blocks, columns
//! adjacent; the output is row-major, its channels padded to whole blocks and groups. What tiles read beyond the edges
//! counts as zero and is not touched. Tiles are added in order, slice by slice; so sums depend on sizes alone.

use crate::kernel::tiles::Stream;
use crate::kernel::{Cost, Illegal, Span, require};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a kernel of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WinogradGradient {
    pub lanes: u8,
    /// Register tile of the products: input channels, which divide the lanes, x vectors of output channels.
    pub rows: u8,
    pub vectors: u8,
}

/// The run-time arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WinogradGradientArgs {
    pub in_channels: i64,
    /// Whole groups of `vectors` blocks, the last block filled or not.
    pub out_channels: i64,
    /// Images, rows and columns of the gradient.
    pub extents: [i64; 3],
    /// Images of a slice.
    pub slice: i64,
    /// Tiles that are transformed at once.
    pub block: i64,
    /// Blocks of input channels and groups of output channels of a task.
    pub in_part: i64,
    pub out_part: i64,
    /// `base` is the first tap of the first output; three pixel strides.
    pub input: Stream,
    pub gradient: Stream,
}

/// Positions in the argument block, counted in i64. The streams of input and gradient follow, as in
/// [`slot`](super::slot).
pub mod gradient_slot {
    pub const IN_PARTS: usize = 0;
    pub const OUT_PARTS: usize = 1;
    pub const SLICE: usize = 2;
    pub const IMAGES: usize = 3;
    pub const IN_PART: usize = 4;
    pub const IN_BLOCKS: usize = 5;
    pub const OUT_PART: usize = 6;
    pub const OUT_GROUPS: usize = 7;
    pub const BLOCK: usize = 8;
    pub const TILE_ROWS: usize = 9;
    pub const TILE_COLUMNS: usize = 10;
    pub const ROWS: usize = 11;
    pub const COLUMNS: usize = 12;
    /// Bytes of the tiles of one vector of channels at one position.
    pub const STACK: usize = 13;
    pub const V_POSITION: usize = 14;
    pub const W_OFFSET: usize = 15;
    pub const W_POSITION: usize = 16;
    pub const S_OFFSET: usize = 17;
    pub const S_POSITION: usize = 18;
    /// Bytes of the output between taps.
    pub const TAP: usize = 19;
    pub const STREAMS: usize = 20;
}

/// What follows from arguments and descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GradientSizes {
    pub tile_rows: i64,
    pub tile_columns: i64,
    pub slices: i64,
    pub in_blocks: i64,
    pub in_parts: i64,
    pub out_groups: i64,
    pub out_parts: i64,
    pub stack: i64,
    pub v_position: i64,
    pub w_position: i64,
    pub s_position: i64,
    /// Bytes of the output between taps.
    pub tap: i64,
}

/// Rows and columns of the gradient, and of the input, that a tile has.
const OUTPUTS: i64 = 4;
const SIZE: i64 = 6;
const POSITIONS: i64 = SIZE * SIZE;
const TAPS: i64 = 9;
/// Positions are this much farther apart than their data: at a multiple of the page all would share a cache set.
const LINE: i64 = 64;

impl WinogradGradient {
    pub fn validate(&self) -> Result<(), Illegal> {
        require!(self.lanes.is_power_of_two() && (4..=16).contains(&self.lanes), "{} lanes", self.lanes);
        require!(
            self.rows > 0 && self.vectors > 0 && self.lanes.is_multiple_of(self.rows),
            "{} input channels at once of {} lanes",
            self.rows,
            self.lanes
        );
        let accumulators = self.rows as usize * self.vectors as usize;
        require!(accumulators <= 28, "{accumulators} accumulators");
        Ok(())
    }

    pub fn pointers(&self) -> Vec<String> {
        ["output", "input", "gradient"].map(String::from).to_vec()
    }

    /// Scratch that does not depend on the arguments: a tile whose outside is zero, and one between the transforms of
    /// rows and columns.
    pub fn scratch_bytes(&self) -> usize {
        2 * self.half_offset()
    }

    /// Where in the scratch half-transformed tiles lie. Copied tiles are at its start.
    pub fn half_offset(&self) -> usize {
        POSITIONS as usize * self.lanes as usize * 4
    }
}

impl WinogradGradientArgs {
    pub fn sizes(&self, kernel: &WinogradGradient) -> GradientSizes {
        let over = |n: i64, by: i64| (n + by - 1) / by;
        let (lanes, vectors) = (i64::from(kernel.lanes), i64::from(kernel.vectors));
        let [images, rows, columns] = self.extents;
        let in_blocks = over(self.in_channels, lanes);
        let out_groups = over(self.out_channels, vectors * lanes);
        let in_part = self.in_part.clamp(1, in_blocks);
        let out_part = self.out_part.clamp(1, out_groups);
        let stack = self.block * lanes * 4;
        GradientSizes {
            tile_rows: over(rows, OUTPUTS),
            tile_columns: over(columns, OUTPUTS),
            slices: over(images, self.slice),
            in_blocks,
            in_parts: over(in_blocks, in_part),
            out_groups,
            out_parts: over(out_groups, out_part),
            stack,
            v_position: in_part * stack + LINE,
            w_position: out_part * vectors * stack + LINE,
            s_position: in_part * lanes * out_part * vectors * lanes * 4 + LINE,
            tap: out_groups * vectors * lanes * 4,
        }
    }

    pub fn tasks(&self, kernel: &WinogradGradient) -> i64 {
        let s = self.sizes(kernel);
        s.slices * s.in_parts * s.out_parts
    }

    /// Bytes of thread scratch: the kernel's own, V, W and S.
    pub fn scratch_bytes(&self, kernel: &WinogradGradient) -> usize {
        let s = self.sizes(kernel);
        kernel.scratch_bytes() + (POSITIONS * (s.v_position + s.w_position + s.s_position)) as usize
    }

    /// Bytes of the output: `[slice][input channel][tap][output channel]`, channels padded.
    pub fn output_bytes(&self, kernel: &WinogradGradient) -> i64 {
        let s = self.sizes(kernel);
        s.slices * s.in_blocks * i64::from(kernel.lanes) * TAPS * s.tap
    }

    /// The argument block, after checking it against the descriptor.
    pub fn build(&self, kernel: &WinogradGradient) -> Result<Vec<i64>, Illegal> {
        let lanes = i64::from(kernel.lanes);
        require!(self.in_channels >= 1 && self.out_channels >= 1, "a gradient without channels");
        require!(self.extents.iter().all(|n| *n >= 1), "an extent below 1 in {:?}", self.extents);
        require!(
            self.slice >= 1 && self.block >= 1 && self.in_part >= 1 && self.out_part >= 1,
            "an empty task"
        );
        let blocks = (self.out_channels + lanes - 1) / lanes;
        require!(blocks % i64::from(kernel.vectors) == 0, "a cut group of {blocks} blocks of channels");
        for stream in [&self.input, &self.gradient] {
            require!(
                stream.pixel.len() == 3 && stream.pixel[2] == 4 * lanes,
                "columns are not adjacent: {stream:?}"
            );
        }
        let s = self.sizes(kernel);
        let w_offset = kernel.scratch_bytes() as i64 + POSITIONS * s.v_position;
        let mut block = vec![
            s.in_parts,
            s.out_parts,
            self.slice,
            self.extents[0],
            self.in_part,
            s.in_blocks,
            self.out_part,
            s.out_groups,
            self.block,
            s.tile_rows,
            s.tile_columns,
            self.extents[1],
            self.extents[2],
            s.stack,
            s.v_position,
            w_offset,
            s.w_position,
            w_offset + POSITIONS * s.w_position,
            s.s_position,
            s.tap,
        ];
        for stream in [&self.input, &self.gradient] {
            block.extend([stream.base, stream.block]);
            block.extend(&stream.pixel);
        }
        Ok(block)
    }

    /// Extents and strides that the input and the gradient are read at, vectors of channels first.
    pub fn reads(&self, kernel: &WinogradGradient) -> [Vec<(i64, i64)>; 2] {
        let s = self.sizes(kernel);
        let [images, rows, columns] = self.extents;
        let dims = |stream: &Stream, blocks: i64, more: i64| {
            let extents = [blocks, images, rows + more, columns + more];
            let strides = std::iter::once(stream.block).chain(stream.pixel.iter().copied());
            extents.into_iter().zip(strides).collect()
        };
        [dims(&self.input, s.in_blocks, 2), dims(&self.gradient, s.out_groups * i64::from(kernel.vectors), 0)]
    }

    /// The bytes that a call over all tasks touches, for the plan's verifier.
    pub fn spans(&self, kernel: &WinogradGradient) -> Vec<Span> {
        let mut spans =
            vec![Span { pointer: 0, low_bytes: 0, high_bytes: self.output_bytes(kernel), writes: true }];
        let bases = [self.input.base, self.gradient.base];
        for (k, (dims, base)) in self.reads(kernel).iter().zip(bases).enumerate() {
            let ends = dims.iter().map(|(n, stride)| (n - 1) * stride);
            let low = base + ends.clone().map(|end| end.min(0)).sum::<i64>();
            let high = base + ends.map(|end| end.max(0)).sum::<i64>() + i64::from(kernel.lanes) * 4;
            spans.push(Span { pointer: 1 + k, low_bytes: low, high_bytes: high, writes: false });
        }
        spans
    }

    pub fn cost(&self, kernel: &WinogradGradient) -> Cost {
        let s = self.sizes(kernel);
        let lanes = i64::from(kernel.lanes);
        let tiles = self.extents[0] * s.tile_rows * s.tile_columns;
        let (ins, outs) = (s.in_blocks * lanes, s.tap / 4);
        let places: i64 = self.extents.iter().product();
        let bytes = 4 * places * (ins + outs) + self.output_bytes(kernel);
        Cost { flops: (2 * POSITIONS * tiles * ins * outs) as u64, bytes: bytes as u64 }
    }
}

impl fmt::Display for WinogradGradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "winograd gradient F4 {}x{}x{}", self.rows, self.vectors, self.lanes)
    }
}
