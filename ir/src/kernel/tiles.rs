//! What the pixel-tile families ([`super::Contract`] and [`super::Window`]) share: operands, tasks and the argument block.
//!
//! A *pixel* is one position of the output over (batch, spatial...), counted flat in row-major order of at most
//! four extents; a pixel has many channels, taken in vectors of `lanes`. A *task* is (group, strip of consecutive
//! pixels, group of `vectors` channel vectors). The kernel walks its strip in tiles of up to `pixels` pixels; tiles
//! may span rows, because every pixel of a tile has an address of its own.
//!
//! A *stream* is a tensor addressed by pixel and channel (input, output, residuals). The byte address of channel
//! vector `v` of group `g` at pixel `(i0, i1, ..)` is
//! `pointer + base + g * group + v * block + sum(i_d * pixel_d)`; lane `l` adds `4 l`, or `l * lane` if strided.

use super::{Illegal, Program, require};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an epilogue operand is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operand {
    /// A vector per channel, packed by [`super::ChannelPack`]: bias, slope, scale, channel mask.
    PerChannel,
    /// A stream whose lanes are adjacent: a residual in the layout of the output, or, with zero pixel strides,
    /// a value per image and channel.
    Pixels,
    /// A stream whose lanes are `lane` bytes apart.
    PixelsStrided,
    /// A stream with one value for all channels of a pixel (`group` and `block` are not used).
    PixelScalar,
    /// One value.
    Scalar,
}

/// How results are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Store {
    /// Whole vectors; the buffer has room for the padded lanes (blocked layout).
    Vector,
    /// Adjacent lanes; the last vector of a group is cut at `channels` (row-major `[pixel][channel]`).
    Partial,
    /// Lane by lane, `lane` bytes apart, cut at `channels` (plain NCHW).
    Strided,
}

/// Which of strips and channel groups varies fastest in the flat task index. Groups vary slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskOrder {
    /// All channel groups of a strip in a row: the strip's input stays in cache, weights stream.
    StripMajor,
    /// All strips of a channel group in a row: the weights stay in cache, input streams.
    ChannelMajor,
}

/// Strides of a stream, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stream {
    pub base: i64,
    /// Between groups.
    pub group: i64,
    /// Between channel vectors.
    pub block: i64,
    /// Between lanes; used by strided stores and operands only.
    pub lane: i64,
    /// Per pixel dimension, as many as extents.
    pub pixel: Vec<i64>,
}

/// Input offsets of the reduction steps, in bytes from a pixel's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepArgs {
    Table(Vec<i64>),
    Linear { count: i64, stride: i64 },
}

/// The run-time arguments of a pixel-tile kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TileArgs {
    pub groups: i64,
    /// Output channels of one group, without padding.
    pub channels: i64,
    /// Pixel extents, the slowest first; as many as the descriptor's `rank`.
    pub extents: Vec<i64>,
    /// Pixels of a task.
    pub strip: i64,
    pub order: TaskOrder,
    pub input: Stream,
    pub output: Stream,
    /// One per epilogue operand of the descriptor; those of `PerChannel` and `Scalar` are ignored.
    pub operands: Vec<Stream>,
    pub steps: StepArgs,
}

/// What [`TileArgs`] needs to know of a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct TileShape<'a> {
    pub lanes: u8,
    pub pixels: u8,
    pub vectors: u8,
    pub rank: u8,
    /// Consecutive input floats that a step reads.
    pub read: u8,
    /// Outputs side by side that a pixel stands for: 1 but for window kernels on runs of a row.
    pub run: u8,
    /// Products per output and step: rows of the packed weights.
    pub inner: u8,
    /// Rows of the weights are output channels, and their sums are folded.
    pub dot: bool,
    /// Whether channel vector `v` of the output reads channel vector `v` of the input.
    pub input_blocks: bool,
    pub table: bool,
    pub bias: bool,
    /// Whether pointer 2 holds packed weights.
    pub weights: bool,
    pub store: Store,
    pub operands: &'a [Operand],
}

/// Positions in the argument block, counted in i64. Streams and tables follow the fixed head.
pub mod slot {
    /// `strip = task / STRIP_DIV % STRIPS`, `channel group = task / OC_DIV % OC_GROUPS`, `group = task / GROUP_DIV`.
    pub const GROUP_DIV: usize = 0;
    pub const STRIPS: usize = 1;
    pub const STRIP_DIV: usize = 2;
    pub const OC_GROUPS: usize = 3;
    pub const OC_DIV: usize = 4;
    /// Number of all pixels, and of those of a strip.
    pub const PIXELS: usize = 5;
    pub const STRIP: usize = 6;
    /// Output channels of a group, without padding.
    pub const CHANNELS: usize = 7;
    /// Number of reduction steps and, for linear ones, the byte stride between them.
    pub const STEPS: usize = 8;
    pub const STEP_STRIDE: usize = 9;
    /// Bytes of packed weights per channel group.
    pub const WEIGHT_BYTES: usize = 10;
    /// Four pixel extents; those beyond the rank are 1 and come first.
    pub const EXTENTS: usize = 11;
    pub const STREAMS: usize = 15;

    /// Slots of a stream, from its start.
    pub const BASE: usize = 0;
    pub const GROUP: usize = 1;
    pub const BLOCK: usize = 2;
    pub const LANE: usize = 3;
    /// Four pixel strides, aligned with the extents.
    pub const PIXEL: usize = 4;
    /// Four carries: what to add to the offset when this dimension wraps to 0 and the next slower one advances.
    pub const CARRY: usize = 8;
    pub const STREAM_LEN: usize = 12;

    /// Start of a stream: 0 is the input, 1 the output, 2.. the stream operands in order.
    pub const fn stream(index: usize) -> usize {
        STREAMS + index * STREAM_LEN
    }
}

impl TileShape<'_> {
    /// Number of streams: input, output, and the operands that are streams.
    pub fn streams(&self) -> usize {
        2 + self.operands.iter().filter(|operand| operand.is_stream()).count()
    }

    /// Slot of the table of tile heights.
    pub fn tile_table(&self) -> usize {
        slot::stream(self.streams())
    }

    pub fn tile_table_len(&self) -> usize {
        4 * self.pixels as usize
    }

    /// Slot of the table of step offsets.
    pub fn step_table(&self) -> usize {
        self.tile_table() + self.tile_table_len()
    }

    /// Index of the first pointer of an epilogue operand; all operands have one each.
    pub fn first_operand_pointer(&self) -> usize {
        2 + usize::from(self.weights) + usize::from(self.bias)
    }

    pub(super) fn pointers(&self) -> Vec<String> {
        let mut names = vec!["output".to_string(), "input".to_string()];
        if self.weights {
            names.push("weights".to_string());
        }
        if self.bias {
            names.push("bias".to_string());
        }
        names.extend((0..self.operands.len()).map(|k| format!("operand {k}")));
        names
    }

    /// Scratch: addresses of a tile's pixels (`[stream][pixel]`, 8 bytes each), then room for the accumulators
    /// (`[pixel][vector]`), then one vector to take apart, then the sums of a dot kernel.
    pub fn scratch_bytes(&self) -> usize {
        let sums = self.pixels as usize * self.inner as usize * self.lanes as usize * 4;
        self.sums_offset() + if self.dot { sums } else { 0 }
    }

    /// Where in the scratch the sums of a dot kernel (`[pixel][output channel]`, vectors) are folded.
    pub fn sums_offset(&self) -> usize {
        self.temporary_offset() + 64
    }

    /// Where in the scratch the accumulators wait for a looped epilogue.
    pub fn accumulator_offset(&self) -> usize {
        (self.streams() * self.pixels as usize * 8).next_multiple_of(64)
    }

    /// Where in the scratch a vector is taken apart for partial and strided stores.
    pub fn temporary_offset(&self) -> usize {
        let rows = self.pixels as usize * self.run as usize;
        let accumulators = rows * self.vectors as usize * self.lanes as usize * 4;
        (self.accumulator_offset() + accumulators).next_multiple_of(64)
    }

    pub(super) fn over_read_bytes(&self) -> usize {
        let adjacent = self.operands.contains(&Operand::Pixels) && self.store != Store::Vector;
        if adjacent { (self.lanes as usize - 1) * 4 } else { 0 }
    }

    pub(super) fn validate(&self, epilogue: &Program) -> Result<(), Illegal> {
        require!(self.lanes.is_power_of_two() && (4..=16).contains(&self.lanes), "{} lanes", self.lanes);
        require!((1..=14).contains(&self.pixels), "a tile of {} pixels", self.pixels);
        require!((1..=16).contains(&self.vectors), "a tile of {} vectors", self.vectors);
        require!((1..=4).contains(&self.rank), "pixels of rank {}", self.rank);
        require!((1..=16).contains(&self.read), "{} floats in a step", self.read);
        require!(self.operands.len() <= 8, "{} operands, more than 8", self.operands.len());
        let strided = self.store == Store::Strided;
        require!(
            strided || !self.operands.contains(&Operand::PixelsStrided),
            "a strided operand under a store that is not"
        );
        epilogue.validate(self.operands.len(), true)
    }

    pub(super) fn fmt(&self, f: &mut fmt::Formatter<'_>, epilogue: &Program) -> fmt::Result {
        write!(f, " rank {} {}x{}x{}", self.rank, self.pixels, self.vectors, self.lanes)?;
        if self.bias {
            write!(f, " bias")?;
        }
        write!(f, " {:?}", self.store)?;
        if !self.operands.is_empty() {
            write!(f, " {:?}", self.operands)?;
        }
        write!(f, " {epilogue}")
    }
}

impl Operand {
    pub fn is_stream(self) -> bool {
        match self {
            Operand::Pixels | Operand::PixelsStrided | Operand::PixelScalar => true,
            Operand::PerChannel | Operand::Scalar => false,
        }
    }
}

impl StepArgs {
    pub fn count(&self) -> i64 {
        match self {
            StepArgs::Table(offsets) => offsets.len() as i64,
            StepArgs::Linear { count, .. } => *count,
        }
    }

    /// Least and greatest offset.
    pub(super) fn range(&self) -> (i64, i64) {
        match self {
            StepArgs::Table(offsets) => {
                (offsets.iter().copied().min().unwrap_or(0), offsets.iter().copied().max().unwrap_or(0))
            }
            StepArgs::Linear { count, stride } => {
                let last = (count - 1).max(0) * stride;
                (last.min(0), last.max(0))
            }
        }
    }
}
