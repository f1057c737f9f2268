//! The `contract` family: sums of products over a register tile of pixels x output-channel vectors.
//!
//! Direct convolution of any rank, stride and dilation, 1x1 convolution, transposed convolution (as stride-many
//! stride-1 ones), dense layers and matrix products: whatever reads `inner` consecutive input floats per pixel and
//! reduction step, and multiplies them with packed weights. The whole reduction stays in registers; the bias is
//! the accumulators' start; the epilogue runs in registers; every output is stored once.
//!
//! ```text
//! for task (group g, strip, channel group c):  for tile of P pixels in strip:
//!   acc[p][v] = bias[v] or 0
//!   for step s, i in 0..inner:  acc[p][v] += input[pixel p + offset[s] + 4 i] * weights[g][c][s][i][v]
//!   output[pixel p][v] = epilogue(acc[p][v])
//! ```
//!
//! Weights are packed by [`super::WeightPack`], per-channel vectors by [`super::ChannelPack`]. Pointers: output,
//! input, weights, then the bias if there is one, then the epilogue's operands. The input stream's `block` is not
//! used: all input channels of a group are reached by the step offsets.
//!
//! Where output channels are few, most lanes of a vector of them would idle. A *dot* kernel takes lanes of input channels
//! instead, and `inner` output channels at most as many as lanes, whose partial sums it folds at the end:
//!
//! ```text
//!   sums[p][o] = 0, a vector
//!   for step s, o in 0..inner:  sums[p][o] += input[pixel p + offset[s]] * weights[g][c][s][o]
//!   output[pixel p][o] = epilogue(fold(sums[p][o]) + bias[o])
//! ```
//!
//! Borders are no concern of the kernel: the input buffer has a halo, or the caller's tables avoid the outside.

use super::tiles::{Operand, Store, TileArgs, TileShape};
use super::tiling::tiling_cost;
use super::{Cost, Illegal, Program, require};
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a contraction kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Contract {
    pub lanes: u8,
    pub tile: Tile,
    /// Pixel dimensions, 1 to 4. Merge dimensions that all streams walk evenly.
    pub rank: u8,
    /// Step offsets come from a table, else they are multiples of a stride.
    pub table: bool,
    /// Consecutive input floats of one step, 1 to 16: `lanes` in blocked layout, 1 for plain stems. Of a dot kernel, the
    /// output channels.
    pub inner: u8,
    /// Lanes are input channels.
    pub dot: bool,
    pub bias: bool,
    pub store: Store,
    pub operands: Vec<Operand>,
    pub epilogue: Program,
}

/// A register tile: `pixels * vectors` accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tile {
    pub pixels: u8,
    pub vectors: u8,
}

impl Contract {
    pub fn validate(&self) -> Result<(), Illegal> {
        let Tile { pixels, vectors } = self.tile;
        let accumulators = pixels as usize * vectors as usize;
        require!(accumulators <= 28, "{accumulators} accumulators");
        if self.dot {
            let sums = pixels as usize * self.inner as usize;
            require!(sums <= 28, "{sums} sums");
            require!(vectors == 1 && self.inner <= self.lanes, "a dot kernel of more than one vector");
        }
        self.shape().validate(&self.epilogue)
    }

    /// The facts that [`TileArgs`] needs.
    pub fn shape(&self) -> TileShape<'_> {
        TileShape {
            lanes: self.lanes,
            pixels: self.tile.pixels,
            vectors: self.tile.vectors,
            rank: self.rank,
            read: if self.dot { self.lanes } else { self.inner },
            run: 1,
            inner: self.inner,
            dot: self.dot,
            input_blocks: false,
            table: self.table,
            bias: self.bias,
            weights: true,
            store: self.store,
            operands: &self.operands,
        }
    }

    pub fn pointers(&self) -> Vec<String> {
        self.shape().pointers()
    }

    pub fn scratch_bytes(&self) -> usize {
        self.shape().scratch_bytes()
    }

    pub fn over_read_bytes(&self) -> usize {
        self.shape().over_read_bytes()
    }

    pub fn cost(&self, args: &TileArgs) -> Cost {
        let shape = self.shape();
        let width = args.oc_groups(&shape) * i64::from(self.tile.vectors) * i64::from(self.lanes);
        let depth = args.steps.count() * i64::from(self.inner);
        let outputs = args.groups * args.pixels() * width;
        let weights = args.groups * width * depth;
        let flops = 2 * outputs * depth + outputs * self.epilogue.weight() as i64;
        let mut bytes = 4 * (weights + 2 * outputs);
        if self.dot {
            // The input is the larger part of a dense layer's bytes.
            let spans = args.spans(&shape);
            let read =
                |span: &super::Span| if span.pointer == 1 { span.high_bytes - span.low_bytes } else { 0 };
            bytes = 4 * weights + spans.iter().map(read).sum::<i64>() + 8 * args.pixels() * args.channels;
        }
        Cost { flops: flops as u64, bytes: bytes as u64 }
    }
}

impl Tile {
    /// The tile with the least padded work for a layer of this many pixels and channels per group.
    ///
    /// The registers hold accumulators, a row of weights and a broadcast input: `P * V + V + 1 <= 16` or 32, one less
    /// without fused multiply-add. Weights that are used by one pixel alone come straight from memory, which leaves
    /// `P = 1` up to 12 accumulators, or 16.
    pub fn choose(target: &Target, pixels: i64, channels: i64) -> Tile {
        let lanes = i64::from(target.lanes);
        let vectors = ((channels + lanes - 1) / lanes).max(1);
        let candidates: &[(u8, u8)] = match (target.vector_registers, target.fma) {
            (32.., _) => &[(14, 2), (9, 3), (6, 4), (14, 1), (4, 6), (3, 7), (2, 10), (1, 16), (1, 8)],
            (_, true) => &[(6, 2), (4, 3), (8, 1), (3, 3), (2, 5), (2, 4), (1, 8)],
            (_, false) => &[(6, 2), (4, 2), (8, 1), (3, 3), (2, 4), (1, 8)],
        };
        let cost = |&&(p, v): &&(u8, u8)| {
            let groups = (vectors + i64::from(v) - 1) / i64::from(v);
            groups * tiling_cost(p, v, pixels)
        };
        let &(pixels, vectors) = candidates.iter().min_by_key(cost).unwrap_or(&(1, 1));
        Tile { pixels, vectors }
    }

    /// The tile of a dot kernel of so many output channels: registers hold its sums, a vector of weights for each channel
    /// and an input. `None` where these leave too few sums to overlap their latencies.
    pub fn choose_dot(target: &Target, outs: i64) -> Option<Tile> {
        let registers = i64::from(target.vector_registers) - if target.fma { 1 } else { 2 };
        let pixels = ((registers - outs) / outs.max(1)).min(28 / outs.max(1)).min(14);
        (outs >= 1 && pixels * outs >= 8).then_some(Tile { pixels: pixels as u8, vectors: 1 })
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let products = if self.dot { "dot" } else { "contract" };
        write!(f, "{products} inner {} {}", self.inner, if self.table { "table" } else { "linear" })?;
        self.shape().fmt(f, &self.epilogue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Level;

    #[test]
    fn tiles_follow_the_layer() {
        let target = Target::new(Level::X86V3);
        let choose = |pixels, channels| {
            let tile = Tile::choose(&target, pixels, channels);
            (tile.pixels, tile.vectors)
        };
        assert_eq!(choose(3136, 256), (6, 2));
        assert_eq!(choose(3136, 12), (4, 3));
        assert_eq!(choose(1, 4096), (1, 8));
        assert_eq!(choose(49, 512), (6, 2));
        assert_eq!(choose(3136, 3).1, 1);
    }

    #[test]
    fn wide_tiles_follow_the_layer() {
        let choose = |level, pixels, channels| {
            let tile = Tile::choose(&Target::wide(level), pixels, channels);
            (tile.pixels, tile.vectors)
        };
        for pixels in [3136, 784, 196, 49] {
            assert_eq!(choose(Level::X86V4, pixels, 512), (14, 2));
            assert_eq!(choose(Level::X86V3, pixels, 512), (6, 2));
        }
        assert_eq!(choose(Level::X86V4, 3136, 48), (9, 3));
        assert_eq!(choose(Level::X86V4, 3136, 12), (14, 1));
        assert_eq!(choose(Level::X86V3, 3136, 24), (4, 3));
        assert_eq!(choose(Level::X86V4, 1, 4096), (1, 16));
        assert_eq!(choose(Level::X86V3, 1, 4096), (1, 8));
    }

    #[test]
    fn tiles_fit_the_registers() {
        for target in [Target::new(Level::X86V3), Target::wide(Level::X86V3), Target::wide(Level::X86V4)] {
            for pixels in [1, 2, 3, 5, 16, 49, 196, 3136] {
                for channels in (1..300).step_by(7) {
                    let Tile { pixels, vectors } = Tile::choose(&target, pixels, channels);
                    let weights = if pixels == 1 { 0 } else { vectors };
                    assert!(pixels * vectors + weights < target.vector_registers, "{pixels}x{vectors}");
                }
            }
        }
    }
}
