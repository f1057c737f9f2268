//! Dense layers on a single row: products with the rows of the weights as their source has them.
//!
//! One row uses every weight once, so all that counts is the weights' way from memory; and weights that are not packed
//! can be read where they lie, in a mapped file. A dot kernel takes the outputs for pixels: their input is a row of
//! weights, and what it multiplies with is the layer's input, the same for all.

use super::contract::{Bias, Family, TileCall};
use super::demand::Fill;
use super::layout::sizes;
use super::operands::TileOutput;
use super::view::{Axis, View};
use super::{Form, Halo, Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::Tile;
use rectify_ir::plan::Candidate;

/// Bytes a cycle of several rows at once, and without prefetching, which kernels of four lanes do not have.
const ROW_BYTES: f64 = 8.5;
const PLAIN_ROW_BYTES: f64 = 5.5;
/// Cycles to begin and end a row of weights.
const ROW_CYCLES: f64 = 75.0;
/// Rows that are read at once: enough to keep several lines on their way, few enough for the CPU to foresee each.
const ROWS: u8 = 8;

impl Lower<'_> {
    /// Estimated cycles, if the dense layer computes a single row from whole vectors of parameters.
    pub(super) fn rows_cycles(&self, id: NodeId, out: &View) -> Option<f64> {
        let weights = self.graph.node(id).own_operands()[1];
        let [outs, features] = sizes(self.graph, weights)[..] else { return None };
        let single = out.axes.len() == 2 && out.axes[0].size == 1 && out.axes[1].stride() == Some(4);
        let fits = single && features % self.lanes == 0 && self.layout.is_param(weights);
        let tile = Tile { pixels: ROWS, vectors: 1 };
        let rate = if self.lanes > 4 { ROW_BYTES } else { PLAIN_ROW_BYTES };
        let memory = (4 * outs * features) as f64 / rate;
        fits.then(|| {
            self.dot_cycles(outs, features / self.lanes, 1, tile).max(memory) + outs as f64 * ROW_CYCLES
        })
    }

    /// Lowers such a dense layer.
    pub(super) fn dense_by_rows(
        &mut self,
        id: NodeId,
        out: &View,
        candidates: Vec<Candidate>,
    ) -> Result<(), LowerError> {
        let (graph, lanes) = (self.graph, self.lanes);
        let operands = graph.node(id).own_operands();
        let [outs, features] = sizes(graph, operands[1])[..] else {
            return Err(self.unsupported(id, "its weights are no matrix"));
        };
        let mut x = self.view(operands[0]);
        if x.axes.last().and_then(Axis::stride) != Some(4) {
            x = self.in_form(operands[0], Form::Plain, &Halo::none(x.axes.len()), Fill::Zero)?;
        }
        let weights = self.raw_pack(operands[1]);
        let call = TileCall {
            node: id,
            family: Family::Contract { tile: Tile { pixels: ROWS, vectors: 1 }, inner: 1, dot: true },
            output: TileOutput {
                view: out.clone(),
                channel: 0,
                group_axis: None,
                groups: 1,
                width: lanes,
                part: None,
            },
            input: (weights.storage, weights.base),
            input_group: 0,
            input_pixel: vec![4 * features],
            steps: (0..features / lanes).map(|step| 4 * lanes * step).collect(),
            weights: Some((x.storage, x.base)),
            bias: operands.get(2).map_or(Bias::None, |bias| Bias::Along(*bias, 1)),
            multiply_adds: (outs * features) as u64,
            candidates,
        };
        self.tile_call(call)
    }
}
