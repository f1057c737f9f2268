//! What the pixel-tile families ([`Contract`] and [`Window`]) share: operands, tasks and the argument block.
//!
//! A *pixel* is one position of the output over (batch, spatial...), counted flat in row-major order of at most
//! four extents; a pixel has many channels, taken in vectors of `lanes`. A *task* is (group, strip of consecutive
//! pixels, group of `vectors` channel vectors). The kernel walks its strip in tiles of up to `pixels` pixels; tiles
//! may span rows, because every pixel of a tile has an address of its own.
//!
//! A *stream* is a tensor addressed by pixel and channel (input, output, residuals). The byte address of channel
//! vector `v` of group `g` at pixel `(i0, i1, ..)` is
//! `pointer + base + g * group + v * block + sum(i_d * pixel_d)`; lane `l` adds `4 l`, or `l * lane` if strided.

use super::{Illegal, Program, Span, require};
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepArgs {
    Table(Vec<i64>),
    Linear { count: i64, stride: i64 },
}

/// The run-time arguments of a pixel-tile kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Products per output and step: rows of the packed weights.
    pub inner: u8,
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

/// The tile heights that the code of a kernel contains, tallest first. Any count of pixels is a sum of these.
pub fn tile_heights(pixels: u8) -> Vec<u8> {
    match pixels {
        0..=4 => (1..=pixels).rev().collect(),
        _ => vec![pixels, pixels - 1, pixels - 2, 1],
    }
}

/// `table[remaining]` is the height of the next tile; counts past the end take the tallest tile.
pub fn tile_table(pixels: u8, vectors: u8) -> Vec<i64> {
    tilings(pixels, vectors).into_iter().map(|(_, height)| height).collect()
}

/// Estimated cost of all tiles of `count` pixels, in sixths of a cycle per reduction element.
pub fn tiling_cost(pixels: u8, vectors: u8, count: i64) -> i64 {
    let best = tilings(pixels, vectors);
    let tallest = i64::from(pixels);
    let excess = count - (best.len() as i64 - 1);
    let full = (excess + tallest - 1).max(0) / tallest;
    let rest = (count - full * tallest).max(0) as usize;
    full * tile_cost(tallest, i64::from(vectors)) + best.get(rest).map_or(0, |&(cost, _)| cost)
}

/// Two multiply-adds and three loads a cycle; a dependent multiply-add every four cycles; a little for the tile's
/// prologue and epilogue.
fn tile_cost(height: i64, vectors: i64) -> i64 {
    let products = height * vectors;
    (3 * products).max(2 * (products + vectors)).max(24) + 1
}

/// For each small count of pixels the cost of its best tiling, and the height of that tiling's first tile.
fn tilings(pixels: u8, vectors: u8) -> Vec<(i64, i64)> {
    let heights = tile_heights(pixels);
    let mut best = vec![(0i64, 0i64)];
    for remaining in 1..4 * i64::from(pixels) {
        let choice = heights
            .iter()
            .map(|&height| i64::from(height))
            .filter(|&height| height <= remaining)
            .map(|height| {
                let rest = best[(remaining - height) as usize].0;
                (rest + tile_cost(height, i64::from(vectors)), height)
            })
            .min_by_key(|&(cost, height)| (cost, -height));
        best.push(choice.unwrap_or((0, 1)));
    }
    best
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
    /// (`[pixel][vector]`), then one vector to take apart.
    pub fn scratch_bytes(&self) -> usize {
        self.temporary_offset() + 64
    }

    /// Where in the scratch the accumulators wait for a looped epilogue.
    pub fn accumulator_offset(&self) -> usize {
        (self.streams() * self.pixels as usize * 8).next_multiple_of(64)
    }

    /// Where in the scratch a vector is taken apart for partial and strided stores.
    pub fn temporary_offset(&self) -> usize {
        let accumulators = self.pixels as usize * self.vectors as usize * self.lanes as usize * 4;
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
    fn range(&self) -> (i64, i64) {
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

impl TileArgs {
    pub fn pixels(&self) -> i64 {
        self.extents.iter().product()
    }

    pub fn strips(&self) -> i64 {
        (self.pixels() + self.strip - 1) / self.strip
    }

    /// Channel groups (of `vectors * lanes` channels) in a group.
    pub fn oc_groups(&self, shape: &TileShape) -> i64 {
        let width = i64::from(shape.vectors) * i64::from(shape.lanes);
        (self.channels + width - 1) / width
    }

    /// Number of tasks; the kernel accepts ranges within `0..tasks`.
    pub fn tasks(&self, shape: &TileShape) -> i64 {
        self.groups * self.strips() * self.oc_groups(shape)
    }

    /// The argument block, after checking it against the descriptor.
    pub fn build(&self, shape: &TileShape) -> Result<Vec<i64>, Illegal> {
        self.check(shape)?;
        let (strips, oc_groups) = (self.strips(), self.oc_groups(shape));
        let mut block = vec![0; slot::STREAMS];
        block[slot::GROUP_DIV] = strips * oc_groups;
        block[slot::STRIPS] = strips;
        block[slot::OC_GROUPS] = oc_groups;
        (block[slot::STRIP_DIV], block[slot::OC_DIV]) = match self.order {
            TaskOrder::StripMajor => (oc_groups, 1),
            TaskOrder::ChannelMajor => (1, strips),
        };
        block[slot::PIXELS] = self.pixels();
        block[slot::STRIP] = self.strip;
        block[slot::CHANNELS] = self.channels;
        block[slot::STEPS] = self.steps.count();
        block[slot::WEIGHT_BYTES] = self.weight_bytes(shape);
        let lead = 4 - self.extents.len();
        for d in 0..4 {
            block[slot::EXTENTS + d] = if d < lead { 1 } else { self.extents[d - lead] };
        }
        self.push_stream(&mut block, &self.input);
        self.push_stream(&mut block, &self.output);
        for (stream, operand) in self.operands.iter().zip(shape.operands) {
            match operand {
                Operand::Pixels | Operand::PixelsStrided => self.push_stream(&mut block, stream),
                // Looped epilogues step every stream from vector to vector; this one stands still.
                Operand::PixelScalar => {
                    let still = Stream { group: 0, block: 0, ..stream.clone() };
                    self.push_stream(&mut block, &still);
                }
                Operand::PerChannel | Operand::Scalar => {}
            }
        }
        block.extend(tile_table(shape.pixels, shape.vectors));
        match &self.steps {
            StepArgs::Table(offsets) => block.extend(offsets),
            StepArgs::Linear { stride, .. } => block[slot::STEP_STRIDE] = *stride,
        }
        Ok(block)
    }

    /// Bytes of packed weights of one channel group.
    pub fn weight_bytes(&self, shape: &TileShape) -> i64 {
        self.steps.count() * i64::from(shape.inner) * i64::from(shape.vectors) * i64::from(shape.lanes) * 4
    }

    /// The bytes that a call over all tasks touches, for the plan's verifier.
    pub fn spans(&self, shape: &TileShape) -> Vec<Span> {
        let lane_bytes = i64::from(shape.lanes) * 4;
        let padded = self.oc_groups(shape) * i64::from(shape.vectors);
        // Vectors that hold at least one real channel; the others are never stored nor loaded from streams.
        let vectors = (self.channels + i64::from(shape.lanes) - 1) / i64::from(shape.lanes);
        let tail = self.channels - (vectors - 1) * i64::from(shape.lanes);
        let mut spans = Vec::new();
        let (low, high) = self.reach(&self.output, vectors);
        let stored = match shape.store {
            Store::Vector => (0, lane_bytes),
            Store::Partial => (0, if vectors == 1 || self.output.block >= 0 { tail * 4 } else { lane_bytes }),
            Store::Strided => {
                let last = (if vectors == 1 { tail } else { i64::from(shape.lanes) } - 1) * self.output.lane;
                (last.min(0), last.max(0) + 4)
            }
        };
        spans.push(Span { pointer: 0, low_bytes: low + stored.0, high_bytes: high + stored.1, writes: true });
        let (low, high) = self.reach(&self.input, if shape.input_blocks { vectors } else { 1 });
        let (first, last) = self.steps.range();
        let read = i64::from(shape.read) * 4;
        let mut pointer = 1;
        spans.push(Span { pointer, low_bytes: low + first, high_bytes: high + last + read, writes: false });
        let per_channel = self.groups * padded * lane_bytes;
        if shape.weights {
            pointer += 1;
            let bytes = self.groups * self.oc_groups(shape) * self.weight_bytes(shape);
            spans.push(Span { pointer, low_bytes: 0, high_bytes: bytes, writes: false });
        }
        if shape.bias {
            pointer += 1;
            spans.push(Span { pointer, low_bytes: 0, high_bytes: per_channel, writes: false });
        }
        for (operand, stream) in shape.operands.iter().zip(&self.operands) {
            pointer += 1;
            let (low_bytes, high_bytes) = match operand {
                Operand::PerChannel => (0, per_channel),
                Operand::Scalar => (0, 4),
                Operand::PixelScalar => {
                    let still = Stream { group: 0, ..stream.clone() };
                    let (low, high) = self.reach(&still, 1);
                    (low, high + 4)
                }
                Operand::Pixels => {
                    let (low, high) = self.reach(stream, vectors);
                    (low, high + lane_bytes)
                }
                Operand::PixelsStrided => {
                    let (low, high) = self.reach(stream, vectors);
                    let lanes = if vectors == 1 { tail } else { i64::from(shape.lanes) };
                    let last = (lanes - 1) * stream.lane;
                    (low + last.min(0), high + last.max(0) + 4)
                }
            };
            spans.push(Span { pointer, low_bytes, high_bytes, writes: false });
        }
        spans
    }

    fn check(&self, shape: &TileShape) -> Result<(), Illegal> {
        require!(self.groups >= 1 && self.channels >= 1 && self.strip >= 1, "an empty tile argument");
        require!(
            self.extents.len() == shape.rank as usize,
            "{} extents for rank {}",
            self.extents.len(),
            shape.rank
        );
        require!(self.extents.iter().all(|&extent| extent >= 1), "an extent below 1 in {:?}", self.extents);
        let pixels = self.extents.iter().try_fold(1i64, |total, &extent| total.checked_mul(extent));
        require!(pixels.is_some_and(|pixels| pixels < 1 << 40), "too many pixels: {:?}", self.extents);
        require!(
            self.operands.len() == shape.operands.len(),
            "{} operand streams for {}",
            self.operands.len(),
            shape.operands.len()
        );
        require!(
            matches!(self.steps, StepArgs::Table(_)) == shape.table,
            "steps given as {:?}, but table is {}",
            self.steps,
            shape.table
        );
        let streams = self.operands.iter().zip(shape.operands).filter(|(_, operand)| operand.is_stream());
        for stream in [&self.input, &self.output].into_iter().chain(streams.map(|(stream, _)| stream)) {
            require!(
                stream.pixel.len() == self.extents.len(),
                "{} pixel strides for {} extents",
                stream.pixel.len(),
                self.extents.len()
            );
        }
        Ok(())
    }

    fn push_stream(&self, block: &mut Vec<i64>, stream: &Stream) {
        let lead = 4 - self.extents.len();
        let stride = |d: usize| if d < lead { 0 } else { stream.pixel[d - lead] };
        block.extend([stream.base, stream.group, stream.block, stream.lane]);
        block.extend((0..4).map(stride));
        // When dimension d wraps, its index has advanced `extent` times since it was 0.
        block.extend((0..4usize).map(|d| match d.checked_sub(1) {
            Some(slower) if d > lead => stride(slower) - stride(d) * self.extents[d - lead],
            Some(_) | None => 0,
        }));
    }

    /// Least and greatest address of a stream over all pixels, groups and `vectors` channel vectors.
    fn reach(&self, stream: &Stream, vectors: i64) -> (i64, i64) {
        let mut low = stream.base;
        let mut high = stream.base;
        let mut span = |extent: i64, stride: i64| {
            let last = (extent - 1) * stride;
            low += last.min(0);
            high += last.max(0);
        };
        span(self.groups, stream.group);
        span(vectors, stream.block);
        for (&extent, &stride) in self.extents.iter().zip(&stream.pixel) {
            span(extent, stride);
        }
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_count_without_tiny_ones() {
        for pixels in 1..=8u8 {
            let (heights, table) = (tile_heights(pixels), tile_table(pixels, 2));
            assert_eq!(table.len(), 4 * pixels as usize);
            for count in 1..200usize {
                let mut remaining = count;
                let mut tiles = Vec::new();
                while remaining > 0 {
                    let height = table.get(remaining).copied().unwrap_or(i64::from(pixels)) as usize;
                    assert!(heights.contains(&(height as u8)) && height <= remaining);
                    tiles.push(height);
                    remaining -= height;
                }
                if pixels == 6 && count >= 8 {
                    assert!(tiles.iter().all(|&tile| tile >= 4), "{count}: {tiles:?}");
                }
            }
        }
    }
}
