//! Weights that a step computes, in the transformed domain of minimal filtering.
//!
//! Two steps: a copy with output channels adjacent, and the sums `U = G g G'`, a row of coefficients for each position.

use super::nest::{self, NestRequest, Ref};
use super::storage::{Home, StorageId};
use super::view::{Axis, View};
use super::winograd::Filter;
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::winograd::transform::kernel_matrix;
use rectify_ir::kernel::{
    Binary, PackFormat, Program, Reduce, SourceOrder, Step, Tile, WeightPack, WinogradPack,
};

const TAPS: i64 = 9;

impl Lower<'_> {
    /// U of all channels as `pack` says.
    pub(super) fn winograd_weights(
        &mut self,
        id: NodeId,
        filter: &Filter,
        pack: &WinogradPack,
        tile: Tile,
    ) -> Result<StorageId, LowerError> {
        let taps: Vec<u32> = (0..TAPS as u32).collect();
        let (order, taps) = match filter.turned {
            true => (SourceOrder::InOutTap, taps.into_iter().rev().collect()),
            false => (SourceOrder::OutInTap, taps),
        };
        // [channel group][input channel][tap][width]
        let adjacent = WeightPack {
            groups: 1,
            out_channels: filter.out_channels as u32,
            in_channels: filter.in_channels as u32,
            source_taps: TAPS as u32,
            taps,
            order,
            lanes: self.lanes as u8,
            vectors: tile.vectors,
            inner: 1,
        };
        let g = self.pack_weights(id, filter.weights, adjacent)?;

        let coefficients = coefficients(pack.outputs);
        let (groups, ins) = (pack.groups() as i64, filter.in_channels);
        let (width, positions) = (i64::from(pack.width), coefficients.len() as i64 / TAPS);
        let row = 4 * width;
        let label = format!("{} transformed weights", self.label(id));
        let bytes = groups * positions * ins * row;
        let about = format!("{label} [{groups}, {positions}, {ins}, {width}]");
        let u = self.draft.add_storage(Home::Arena, bytes, about);
        let axes = |group: i64, position: Axis, input: i64| {
            vec![Axis::plain(groups, group), position, Axis::plain(ins, input), Axis::plain(width, 4)]
        };
        let to = View {
            storage: u,
            base: 0,
            axes: axes(positions * ins * row, Axis::plain(positions, ins * row), row),
        };
        let mut from = axes(ins * TAPS * row, Axis::broadcast(positions), TAPS * row);
        from.push(Axis::plain(TAPS, row));
        let g = Ref { storage: g, base: 0, axes: from, tables: vec![], indirect: vec![] };
        let elements = coefficients.len() as u64;
        let table = self.draft.pack_literal(&coefficients, PackFormat::Raw { elements });
        let of_position = vec![
            Axis::broadcast(groups),
            Axis::plain(positions, 4 * TAPS),
            Axis::broadcast(ins),
            Axis::broadcast(width),
            Axis::plain(TAPS, 4),
        ];
        let table = Ref { storage: table, base: 0, axes: of_position, tables: vec![], indirect: vec![] };
        let mut product = Program::new();
        let (a, b) = (product.push(Step::Load(0)), product.push(Step::Load(1)));
        product.binary(Binary::Mul, a, b);
        let request = NestRequest::reduce(id, &label, &to, vec![g, table], product, vec![TAPS], Reduce::Sum);
        nest::emit(&mut self.draft, request)?;
        Ok(u)
    }
}

/// For each position the factors of the nine taps.
fn coefficients(outputs: u8) -> Vec<f32> {
    let rows = kernel_matrix(outputs);
    let products = |y: &[f64; 3], x: &[f64; 3]| -> Vec<f32> {
        y.iter().flat_map(|a| x.iter().map(move |b| (a * b) as f32)).collect()
    };
    rows.iter().flat_map(|y| rows.iter().flat_map(move |x| products(y, x))).collect()
}
