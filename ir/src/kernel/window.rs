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
//!
//! Where outputs of a row lie side by side, and with them what they read, a kernel may take several at once
//! ([`WindowRow`]): a pixel of the call is then a run of outputs, a step a row of taps, and an input vector is loaded once
//! for all outputs of the run that read it. [`Window::single`] says the same with every output as a pixel.

use super::tiles::{Operand, StepArgs, Store, TileArgs, TileShape};
use super::{Cost, Illegal, Program, Span, require};
use crate::target::Target;
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
    /// A pixel is a run of outputs, a step a row of taps.
    pub row: Option<WindowRow>,
    /// Start from a per-channel bias; `MulAdd` and `Add` only.
    pub bias: bool,
    pub store: Store,
    pub operands: Vec<Operand>,
    pub epilogue: Program,
}

/// Outputs of a row that lie side by side, and their taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowRow {
    /// Outputs that a pixel stands for.
    pub outputs: u8,
    /// Taps that a step stands for.
    pub taps: u8,
    /// Vectors between the inputs of neighbouring outputs, and between those of neighbouring taps.
    pub stride: u8,
    pub dilation: u8,
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
        if let Some(row) = self.row {
            let outputs = self.pixels * row.outputs;
            require!((2..=8).contains(&row.outputs) && outputs <= 16, "runs of {} outputs", row.outputs);
            require!((1..=7).contains(&row.taps), "rows of {} taps", row.taps);
            let near = 1..=8;
            require!(
                near.contains(&row.stride) && near.contains(&row.dilation),
                "a step beyond 8 in {row:?}"
            );
            let streams = self.operands.iter().any(|operand| operand.is_stream());
            require!(
                self.store == Store::Vector && !streams,
                "runs of outputs with streams or without blocks"
            );
        }
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
            run: self.row.map_or(1, |row| row.outputs),
            inner: self.row.map_or(1, |row| row.taps),
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

    /// The bytes that a call over all tasks touches, for the plan's verifier.
    pub fn spans(&self, args: &TileArgs) -> Vec<Span> {
        let single = Window { row: None, ..self.clone() };
        self.single(args).spans(&single.shape())
    }

    /// The call with every output as a pixel and every tap as a step.
    pub fn single(&self, args: &TileArgs) -> TileArgs {
        let Some(row) = self.row else { return args.clone() };
        let vector = i64::from(self.lanes) * 4;
        let StepArgs::Table(rows) = &args.steps else { return args.clone() };
        let taps = |row_offset: &i64| {
            let first = *row_offset;
            (0..i64::from(row.taps)).map(move |tap| first + tap * i64::from(row.dilation) * vector)
        };
        let mut single = args.clone();
        single.steps = StepArgs::Table(rows.iter().flat_map(taps).collect());
        single.extents.push(i64::from(row.outputs));
        single.input.pixel.push(i64::from(row.stride) * vector);
        single.output.pixel.push(vector);
        single.strip *= i64::from(row.outputs);
        single
    }

    /// Runs of outputs that registers hold the sums of, together with a row of weights and an input, for rows of
    /// `width` outputs: how many outputs a run has, and how many runs a tile. `None` where no run divides the row.
    pub fn runs(target: &Target, width: i64, taps: usize) -> Option<(u8, u8)> {
        let (runs, most_taps) = if target.vector_registers >= 32 { (2, 7) } else { (1, 5) };
        let outputs = [8u8, 7, 6, 5, 4].into_iter().find(|outputs| width % i64::from(*outputs) == 0)?;
        (taps <= most_taps).then_some((outputs, runs))
    }

    pub fn cost(&self, args: &TileArgs) -> Cost {
        let args = &self.single(args);
        let width = args.oc_groups(&self.shape()) * i64::from(self.lanes);
        let outputs = args.groups * args.pixels() * width;
        let flops = 2 * outputs * args.steps.count() + outputs * self.epilogue.weight() as i64;
        Cost { flops: flops as u64, bytes: (8 * outputs) as u64 }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window {:?}", self.op)?;
        if let Some(row) = self.row {
            write!(f, " runs of {} by {} taps", row.outputs, row.taps)?;
            if row.stride > 1 || row.dilation > 1 {
                write!(f, " step {} {}", row.stride, row.dilation)?;
            }
        }
        self.shape().fmt(f, &self.epilogue)
    }
}
