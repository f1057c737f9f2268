//! The argument block of Winograd kernels, their scratch, and the bytes that a call touches.

use super::Winograd;
use crate::kernel::tiles::{Operand, StepArgs, Stream, TaskOrder, TileArgs};
use crate::kernel::{Cost, Illegal, Span, require};
use serde::{Deserialize, Serialize};

/// The run-time arguments of a Winograd kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WinogradArgs {
    pub in_channels: i64,
    pub out_channels: i64,
    /// Images, rows and columns of the output.
    pub extents: [i64; 3],
    /// Groups of `tile.pixels` tiles that a task transforms at once, at most: blocks differ by one group.
    pub block: i64,
    /// Groups of `tile.vectors` channel vectors of a task, at most.
    pub part: i64,
    /// `base` is the first tap of the first output; three pixel strides.
    pub input: Stream,
    pub output: Stream,
    /// One per epilogue operand of the descriptor; those of `PerChannel` and `Scalar` are ignored.
    pub operands: Vec<Stream>,
}

/// Positions in the argument block, counted in i64. Streams follow the fixed head.
pub mod slot {
    /// `part = task % PARTS`, `block = task / PARTS`; block `b` has the tile groups from `b * TILE_GROUPS / BLOCKS` on, and
    /// part `p` the channel groups from `p * OC_GROUPS / PARTS` on.
    pub const PARTS: usize = 0;
    pub const BLOCKS: usize = 1;
    pub const TILE_GROUPS: usize = 2;
    pub const TILES: usize = 3;
    pub const OC_GROUPS: usize = 4;
    pub const OUT_CHANNELS: usize = 5;
    /// Rows and columns of tiles of an image.
    pub const TILE_ROWS: usize = 6;
    pub const TILE_COLUMNS: usize = 7;
    /// Rows and columns of the output.
    pub const ROWS: usize = 8;
    pub const COLUMNS: usize = 9;
    /// Channel vectors of the input.
    pub const IN_BLOCKS: usize = 10;
    /// Bytes of V between positions and between tile groups.
    pub const V_POSITION: usize = 11;
    pub const V_GROUP: usize = 12;
    /// Where in the scratch M begins, and its bytes between positions and between tile groups.
    pub const M_OFFSET: usize = 13;
    pub const M_POSITION: usize = 14;
    pub const M_GROUP: usize = 15;
    /// Bytes of U between positions.
    pub const U_POSITION: usize = 16;
    pub const STREAMS: usize = 17;

    /// Slots of a stream, from its start: base, stride of channel vectors, three pixel strides.
    pub const BASE: usize = 0;
    pub const VECTOR: usize = 1;
    pub const PIXEL: usize = 2;
    pub const STREAM_LEN: usize = 5;

    /// Start of a stream: 0 is the input, 1 the output, 2.. the stream operands in order.
    pub const fn stream(index: usize) -> usize {
        STREAMS + index * STREAM_LEN
    }
}

/// What follows from arguments and descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows and columns of tiles of an image; tiles and groups of tiles of all images.
    pub tile_rows: i64,
    pub tile_columns: i64,
    pub tiles: i64,
    pub tile_groups: i64,
    pub in_blocks: i64,
    pub oc_groups: i64,
    pub blocks: i64,
    pub parts: i64,
    pub v_position: i64,
    pub v_group: i64,
    pub m_position: i64,
    pub m_group: i64,
    pub u_position: i64,
}

/// Positions are this much farther apart than their data: at a multiple of the page all would share a cache set.
const LINE: i64 = 64;

impl WinogradArgs {
    pub fn sizes(&self, kernel: &Winograd) -> Sizes {
        let over = |n: i64, by: i64| (n + by - 1) / by;
        let (lanes, m) = (i64::from(kernel.lanes), i64::from(kernel.outputs));
        let (height, vectors) = (i64::from(kernel.tile.pixels), i64::from(kernel.tile.vectors));
        let [images, rows, columns] = self.extents;
        let (tile_rows, tile_columns) = (over(rows, m), over(columns, m));
        let tiles = images * tile_rows * tile_columns;
        let tile_groups = over(tiles, height);
        let in_blocks = over(self.in_channels, lanes);
        let oc_groups = over(self.out_channels, vectors * lanes);
        let (block, part) = (self.block.min(tile_groups).max(1), self.part.min(oc_groups).max(1));
        let v_group = in_blocks * height * lanes * 4;
        let m_group = part * height * vectors * lanes * 4;
        Sizes {
            tile_rows,
            tile_columns,
            tiles,
            tile_groups,
            in_blocks,
            oc_groups,
            blocks: over(tile_groups, block),
            parts: over(oc_groups, part),
            v_position: block * v_group + LINE,
            v_group,
            m_position: block * m_group + LINE,
            m_group,
            u_position: in_blocks * lanes * vectors * lanes * 4,
        }
    }

    /// Number of tasks; those of one block of tiles follow each other.
    pub fn tasks(&self, kernel: &Winograd) -> i64 {
        let sizes = self.sizes(kernel);
        sizes.blocks * sizes.parts
    }

    /// Bytes of thread scratch: the kernel's own, V and M.
    pub fn scratch_bytes(&self, kernel: &Winograd) -> usize {
        let sizes = self.sizes(kernel);
        let positions = kernel.size() * kernel.size();
        (self.m_offset(kernel, &sizes) + positions * sizes.m_position) as usize
    }

    /// V begins where the kernel's own scratch ends, M where V ends.
    fn m_offset(&self, kernel: &Winograd, sizes: &Sizes) -> i64 {
        kernel.scratch_bytes() as i64 + kernel.size() * kernel.size() * sizes.v_position
    }

    /// The argument block, after checking it against the descriptor.
    pub fn build(&self, kernel: &Winograd) -> Result<Vec<i64>, Illegal> {
        let lane_bytes = i64::from(kernel.lanes) * 4;
        require!(self.in_channels >= 1 && self.out_channels >= 1, "a Winograd convolution without channels");
        require!(self.block >= 1 && self.part >= 1, "an empty Winograd task");
        require!(
            self.input.pixel.get(2) == Some(&lane_bytes),
            "columns of the input are not adjacent: {:?}",
            self.input
        );
        self.direct(kernel).build(&kernel.shape())?;
        let sizes = self.sizes(kernel);
        let mut block = vec![
            sizes.parts,
            sizes.blocks,
            sizes.tile_groups,
            sizes.tiles,
            sizes.oc_groups,
            self.out_channels,
            sizes.tile_rows,
            sizes.tile_columns,
            self.extents[1],
            self.extents[2],
            sizes.in_blocks,
            sizes.v_position,
            sizes.v_group,
            self.m_offset(kernel, &sizes),
            sizes.m_position,
            sizes.m_group,
            sizes.u_position,
        ];
        let mut push = |stream: &Stream, vector: i64| {
            block.extend([stream.base, vector]);
            block.extend(&stream.pixel);
        };
        push(&self.input, self.input.block);
        push(&self.output, self.output.block);
        for (stream, operand) in self.operands.iter().zip(&kernel.operands) {
            match operand {
                Operand::Pixels | Operand::PixelsStrided => push(stream, stream.block),
                // One value for all channel vectors.
                Operand::PixelScalar => push(stream, 0),
                Operand::PerChannel | Operand::Scalar => {}
            }
        }
        Ok(block)
    }

    /// The direct convolution that touches the same bytes, weights apart.
    pub fn direct(&self, kernel: &Winograd) -> TileArgs {
        let blocks = self.sizes(kernel).in_blocks;
        let row = self.input.pixel.get(1).copied().unwrap_or(0);
        let column = i64::from(kernel.lanes) * 4;
        let taps =
            |block: i64| (0..9).map(move |tap| block * self.input.block + tap / 3 * row + tap % 3 * column);
        TileArgs {
            groups: 1,
            channels: self.out_channels,
            extents: self.extents.to_vec(),
            strip: 1,
            order: TaskOrder::StripMajor,
            input: Stream { block: 0, ..self.input.clone() },
            output: self.output.clone(),
            operands: self.operands.clone(),
            steps: StepArgs::Table((0..blocks).flat_map(taps).collect()),
        }
    }

    /// Bytes of U.
    pub fn weight_bytes(&self, kernel: &Winograd) -> i64 {
        let sizes = self.sizes(kernel);
        sizes.oc_groups * kernel.size() * kernel.size() * sizes.u_position
    }

    /// The bytes that a call over all tasks touches, for the plan's verifier.
    pub fn spans(&self, kernel: &Winograd) -> Vec<Span> {
        let mut spans = self.direct(kernel).spans(&kernel.shape());
        for span in spans.iter_mut().filter(|span| span.pointer == 2) {
            span.high_bytes = self.weight_bytes(kernel);
        }
        spans
    }

    pub fn cost(&self, kernel: &Winograd) -> Cost {
        let sizes = self.sizes(kernel);
        let positions = kernel.size() * kernel.size();
        let (height, lanes) = (i64::from(kernel.tile.pixels), i64::from(kernel.lanes));
        let tiles = sizes.tile_groups * height;
        let outs = sizes.oc_groups * i64::from(kernel.tile.vectors) * lanes;
        let outputs = self.extents.iter().product::<i64>() * outs;
        let flops = 2 * positions * tiles * sizes.in_blocks * lanes * outs
            + outputs * kernel.epilogue.weight() as i64;
        Cost { flops: flops as u64, bytes: (self.weight_bytes(kernel) + 8 * outputs) as u64 }
    }
}
