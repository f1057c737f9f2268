//! The `winograd` family: 3x3 convolutions of stride 1 with fewer products, by minimal filtering F(2x2, 3x3) and
//! F(4x4, 3x3), from transformed input tiles to the epilogue in one kernel.
//!
//! The output is cut into *tiles* of `m x m` pixels, counted flat over (image, row of tiles, column of tiles). A tile
//! reads `n x n` pixels, `n = m + 2`, and has `n * n` *positions* in the transformed domain:
//!
//! ```text
//! for task (block of tile groups, part of the channel groups):
//!   V[position][tile][input channel] = B' d B            unless the call's last task had the same block
//!   for position, channel group, tile group of P tiles:
//!     M[position][tile][v] = sum over channels V[position][tile][channel] * U[channel group][position][channel][v]
//!   for tile, channel vector:  output = epilogue(A' M A + bias)
//! ```
//!
//! V and M stay in the scratch. U is packed by [`super::WinogradPack`], per-channel vectors by [`super::ChannelPack`].
//! Pointers as in [`super::Contract`]: output, input, U, then the bias if there is one, then the operands. Input and
//! output are in channel blocks, columns adjacent. The last tiles of a row or column may stick out of the output: what
//! they would read beyond the last window counts as zero and is not touched, what they would write is not stored. So a
//! call touches the bytes of the direct convolution, weights apart.
//!
//! Numerics: sums are rounded in another order than by the direct convolution, with an error of the same size
//! ([`transform`] has the points). A NaN reaches every output that depends on it; an infinity may turn the whole tile
//! into NaN.

mod args;
mod gradient;
mod pack;
pub mod transform;

pub use args::{Sizes, WinogradArgs, slot};
pub use gradient::{GradientSizes, WinogradGradient, WinogradGradientArgs, gradient_slot};
pub use pack::{Picked, WinogradPack};

use super::tiles::{Operand, Store, TileShape};
use super::{Illegal, Program, Tile, require};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a Winograd kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Winograd {
    pub lanes: u8,
    /// Rows and columns of the output that a tile has: 2 or 4.
    pub outputs: u8,
    /// Register tile of the products: tiles x channel vectors.
    pub tile: Tile,
    pub bias: bool,
    /// All but `PixelsStrided`.
    pub operands: Vec<Operand>,
    pub epilogue: Program,
}

impl Winograd {
    pub fn validate(&self) -> Result<(), Illegal> {
        require!(matches!(self.outputs, 2 | 4), "Winograd tiles of {0}x{0}", self.outputs);
        let accumulators = self.tile.pixels as usize * self.tile.vectors as usize;
        require!(accumulators <= 28, "{accumulators} accumulators");
        self.shape().validate(&self.epilogue)
    }

    /// Rows and columns of the input that a tile reads.
    pub fn size(&self) -> i64 {
        i64::from(self.outputs) + 2
    }

    /// The direct convolution that touches the same bytes, weights apart.
    pub fn shape(&self) -> TileShape<'_> {
        TileShape {
            lanes: self.lanes,
            pixels: self.tile.pixels,
            vectors: self.tile.vectors,
            rank: 3,
            read: self.lanes,
            run: 1,
            inner: self.lanes,
            dot: false,
            input_blocks: false,
            table: true,
            bias: self.bias,
            weights: true,
            store: Store::Vector,
            operands: &self.operands,
        }
    }

    pub fn pointers(&self) -> Vec<String> {
        self.shape().pointers()
    }

    /// Bytes of an `n x n` tile of vectors.
    pub fn tile_bytes(&self) -> usize {
        (self.size() * self.size()) as usize * self.lanes as usize * 4
    }

    /// Scratch that does not depend on the arguments: a tile whose outside is zero, a tile between the transforms of
    /// rows and columns, a row of results.
    pub fn scratch_bytes(&self) -> usize {
        (self.result_offset() + self.outputs as usize * self.lanes as usize * 4).next_multiple_of(64)
    }

    /// Where in the scratch half-transformed tiles lie. Copied tiles are at its start.
    pub fn half_offset(&self) -> usize {
        self.tile_bytes()
    }

    /// Where in the scratch a row of results waits for a long epilogue.
    pub fn result_offset(&self) -> usize {
        2 * self.tile_bytes()
    }

    pub fn over_read_bytes(&self) -> usize {
        0
    }
}

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "winograd F{}", self.outputs)?;
        self.shape().fmt(f, &self.epilogue)
    }
}
