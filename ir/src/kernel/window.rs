//! The `window` family: depthwise convolution and pooling in blocked layout.
//!
//! Like [`super::contract`], but output channel vector `c` depends on input channel vector `c` alone, so a step
//! loads a vector of the input instead of broadcasting single floats:
//!
//! ```text
//! for task (group, strip, channel vector c):  for tile of P pixels in strip:
//!   acc[p] = bias[c], or 0, or -inf for max
//!   for tap t:  acc[p] = acc[p] op input[pixel p, vector c, + offset[t]] (* weights[c][t])
//!   output[pixel p][c] = epilogue(acc[p])
//! ```
//!
//! Arguments are a [`TileArgs`] with a step table; the input stream's `block` is the stride between its channel
//! vectors. Pointers: output, input, weights (only `MulAdd`), bias, operands. Weights are packed by
//! [`super::WeightPack`] with one input channel, one vector and `inner` 1. Average pooling is `Add` with a
//! constant factor in the epilogue, or with a `PixelScalar` operand where the count of taps varies.

use super::tiles::{Operand, Store, TileArgs, TileShape};
use super::{Cost, Illegal, Program, require};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a window kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    pub lanes: u8,
    /// Pixels of a tile, 1 to 8: one accumulator each.
    pub pixels: u8,
    /// Pixel dimensions, 1 to 4.
    pub rank: u8,
    pub op: WindowOp,
    /// Start from a per-channel bias; `MulAdd` and `Add` only.
    pub bias: bool,
    pub store: Store,
    pub operands: Vec<Operand>,
    pub epilogue: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WindowOp {
    /// `acc + x * weight`.
    MulAdd,
    /// The greatest; NaN if any is.
    Max,
    Add,
}

impl Window {
    pub fn validate(&self) -> Result<(), Illegal> {
        require!((1..=8).contains(&self.pixels), "a window tile of {} pixels", self.pixels);
        require!(!(self.bias && self.op == WindowOp::Max), "a bias under a maximum");
        self.shape().validate(&self.epilogue)
    }

    /// The facts that [`TileArgs`] needs.
    pub fn shape(&self) -> TileShape<'_> {
        TileShape {
            lanes: self.lanes,
            pixels: self.pixels,
            vectors: 1,
            rank: self.rank,
            read: self.lanes,
            inner: 1,
            dot: false,
            input_blocks: true,
            table: true,
            bias: self.bias,
            weights: self.op == WindowOp::MulAdd,
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
        let width = args.oc_groups(&self.shape()) * i64::from(self.lanes);
        let outputs = args.groups * args.pixels() * width;
        let flops = 2 * outputs * args.steps.count() + outputs * self.epilogue.weight() as i64;
        Cost { flops: flops as u64, bytes: (8 * outputs) as u64 }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window {:?}", self.op)?;
        self.shape().fmt(f, &self.epilogue)
    }
}
