//! Transposed convolutions: one stride-1 contraction for each sector of the output.
//!
//! Output elements whose index agrees modulo the stride read the same taps of the kernel, so each such sector is a
//! convolution of stride 1 with some of the taps, stored with a stride. Kernels may leave sectors without any tap:
//! these hold the bias alone. Where a sector has too few channels for a vector, `folded` takes all of them together.

use super::contract::{Bias, Family, TileCall};
use super::conv::{image_output, spatial_strides};
use super::demand::transpose_sectors;
use super::layout::sizes;
use super::nest::{self, NestRequest};
use super::operands::Lattice;
use super::program::Expression;
use super::view::View;
use super::window::Sector;
use super::winograd::{Chosen, Filter};
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{Picked, SourceOrder, WeightPack};
use rectify_ir::op::ConvTransposeAttrs;

impl Lower<'_> {
    pub(super) fn conv_transpose(&mut self, id: NodeId, a: &ConvTransposeAttrs) -> Result<(), LowerError> {
        let x = self.conv_input(id)?;
        let (graph, out) = (self.graph, self.result(id)?);
        let node = graph.node(id);
        let weight = sizes(graph, node.operands[1]);
        let rows = spatial_strides(&x);
        let channels = self.input_channels(id, &x, a.groups)?;
        let Some(compared) = self.folded_transpose(id, a, &x, &channels, &out)? else {
            return Ok(());
        };
        let kernel: i64 = weight[2..].iter().product();
        let bias = node.own_operands().get(2).copied();
        let (mut calls, mut empty) = (vec![], vec![]);
        for combination in combinations(&transpose_sectors(graph, id, a)) {
            let part =
                Lattice { start: combination.iter().map(|s| s.first).collect(), step: a.stride.clone() };
            let mut view = out.clone();
            for (i, s) in combination.iter().enumerate() {
                view = view
                    .slice(2 + i, s.first, a.stride[i], s.count)
                    .ok_or_else(|| self.unsupported(id, "its result cannot be strided"))?;
            }
            // Taps of all axes: source index and byte offset.
            let mut taps = vec![(0i64, 0i64)];
            for (i, s) in combination.iter().enumerate() {
                let (row, size) = (rows[i], weight[2 + i]);
                let next = |(tap, offset): &(i64, i64)| {
                    let (tap, offset) = (*tap, *offset);
                    s.taps.iter().map(move |(k, index)| (tap * size + k, offset + index * row))
                };
                taps = taps.iter().flat_map(next).collect();
            }
            if taps.is_empty() {
                empty.push(view);
                continue;
            }
            let pixels = view.shape().iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, n)| n).product();
            let tile = self.tile(pixels, weight[1]);
            let mut output = image_output(&view, a.groups, i64::from(tile.vectors) * self.lanes);
            output.part = Some(part);
            let pack = WeightPack {
                groups: a.groups as u32,
                out_channels: weight[1] as u32,
                in_channels: (weight[0] / a.groups) as u32,
                source_taps: kernel as u32,
                taps: taps.iter().map(|(tap, _)| *tap as u32).collect(),
                order: SourceOrder::InOutTap,
                lanes: self.lanes as u8,
                vectors: tile.vectors,
                inner: channels.inner as u8,
            };
            let mut pixel = vec![x.axes[0].stride().unwrap_or(0)];
            pixel.extend(&rows);
            let steps = channels.offsets.iter().flat_map(|c| taps.iter().map(move |(_, t)| c + t));
            let products = view.shape().iter().product::<i64>() * weight[0] / a.groups * taps.len() as i64;
            let first = taps.iter().map(|(_, offset)| *offset).min().unwrap_or(0);
            let mut call = TileCall {
                node: id,
                family: Family::Contract { tile, inner: channels.inner, dot: false },
                output,
                input: (x.storage, x.base),
                input_group: channels.group,
                input_pixel: pixel,
                steps: steps.collect(),
                weights: None,
                bias: Bias::of(bias),
                multiply_adds: products as u64,
                candidates: vec![],
            };
            let turned = TileCall { input: (x.storage, x.base + first), ..call.clone() };
            let filter = Filter::of_transposed(graph, id, a);
            match self.winograd(filter, &x, &[(&turned, Picked::all(weight[1] as u32))], &[])? {
                Chosen::Winograd => return Ok(()),
                Chosen::Contract(candidates) => call.candidates = candidates,
            }
            if call.candidates.is_empty() && calls.is_empty() {
                call.candidates = compared.clone();
            }
            call.weights = Some((self.pack_weights(id, node.operands[1], pack)?, 0));
            calls.push(call);
        }
        if empty.is_empty() {
            return self.tile_calls(id, &calls, &out);
        }
        for call in &calls {
            self.raw_tile_call(call, None)?;
        }
        for view in empty {
            self.bias_alone(id, &view, bias)?;
        }
        self.epilogue_in_place(id, &out)
    }

    /// Output elements that no tap reaches.
    fn bias_alone(&mut self, id: NodeId, out: &View, bias: Option<Value>) -> Result<(), LowerError> {
        let label = self.label(id);
        let mut e = Expression::empty(0);
        match bias {
            Some(bias) => e.value(self.graph, bias, vec![1]),
            None => e.constant(0.0),
        };
        let (body, loads) = e.finish();
        let operands = loads.iter().map(|load| self.operand(load, out)).collect();
        nest::emit(&mut self.draft, NestRequest::map(id, &label, out, operands, body))
    }
}

/// One sector of each axis, in every way.
fn combinations(axes: &[Vec<Sector>]) -> Vec<Vec<&Sector>> {
    let mut all: Vec<Vec<&Sector>> = vec![vec![]];
    for sectors in axes {
        let with = |head: &Vec<_>| {
            let head: Vec<&Sector> = head.clone();
            sectors.iter().map(move |s| [head.clone(), vec![s]].concat())
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}
