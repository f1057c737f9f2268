//! Convolutions: direct contraction over taps and channel blocks; depthwise ones as windows; transposed ones as one
//! stride-1 contraction for each sector of the output.

use super::contract::{Family, TileCall};
use super::demand::{Fill, conv_windows, demand, is_depthwise, transpose_sectors};
use super::layout::sizes;
use super::nest::{self, NestRequest};
use super::operands::{Lattice, TileOutput};
use super::program::Expression;
use super::view::{Axis, View};
use super::window::Sector;
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{SourceOrder, WeightPack, WindowOp};
use rectify_ir::op::{ConvAttrs, ConvTransposeAttrs};

/// How a contraction walks the channels of its input.
struct Channels {
    /// Consecutive floats of a step, steps over the channels of a group, bytes between those and between groups.
    inner: i64,
    count: i64,
    stride: i64,
    group: i64,
}

impl Lower<'_> {
    pub(super) fn conv(&mut self, id: NodeId, a: &ConvAttrs) -> Result<(), LowerError> {
        let x = self.conv_input(id)?;
        let node = self.graph.node(id);
        let windows = conv_windows(self.graph, id, a);
        let weight = sizes(self.graph, node.operands[1]);
        let rows = spatial_strides(&x);
        let mut taps = vec![0i64];
        for (w, row) in windows.iter().zip(&rows) {
            taps = taps.iter().flat_map(|t| (0..w.kernel).map(move |k| t + k * w.dilation * row)).collect();
        }
        let corner: i64 = windows.iter().zip(&rows).map(|(w, row)| w.before * row).sum();
        let input = (x.storage, x.base - corner);
        let mut pixel = vec![x.axes[0].stride().unwrap_or(0)];
        pixel.extend(windows.iter().zip(&rows).map(|(w, row)| w.stride * row));
        let out = self.result(id)?;
        let products = out.shape().iter().product::<i64>() * weight[1..].iter().product::<i64>();
        let bias = node.own_operands().get(2).copied();
        let weights = node.operands[1];
        if is_depthwise(self.graph, &self.layout, id, a.groups) {
            let output = image_output(&out, 1, self.lanes);
            let pack = WeightPack {
                groups: 1,
                out_channels: weight[0] as u32,
                in_channels: 1,
                source_taps: taps.len() as u32,
                taps: (0..taps.len() as u32).collect(),
                order: SourceOrder::OutInTap,
                lanes: self.lanes as u8,
                vectors: 1,
                inner: 1,
            };
            let storage = self.pack(weights, rectify_ir::kernel::PackFormat::Weights(pack));
            let input_block = block_stride(&x.axes[1]);
            return self.tile_call(TileCall {
                node: id,
                family: Family::Window { op: WindowOp::MulAdd, input_block },
                output,
                input,
                input_group: 0,
                input_pixel: pixel,
                steps: taps,
                weights: Some(storage),
                bias,
                multiply_adds: products as u64,
            });
        }
        let channels = self.input_channels(id, &x, a.groups)?;
        let pixels: i64 = out.shape().iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, n)| n).product();
        let tile = self.tile(pixels, weight[0] / a.groups);
        let output = image_output(&out, a.groups, i64::from(tile.vectors) * self.lanes);
        let pack = WeightPack {
            groups: a.groups as u32,
            out_channels: (weight[0] / a.groups) as u32,
            in_channels: weight[1] as u32,
            source_taps: taps.len() as u32,
            taps: (0..taps.len() as u32).collect(),
            order: SourceOrder::OutInTap,
            lanes: self.lanes as u8,
            vectors: tile.vectors,
            inner: channels.inner as u8,
        };
        let storage = self.pack_weights(id, weights, pack)?;
        let steps =
            (0..channels.count).flat_map(|c| taps.iter().map(move |t| c * channels.stride + t)).collect();
        self.tile_call(TileCall {
            node: id,
            family: Family::Contract { tile, inner: channels.inner },
            output,
            input,
            input_group: channels.group,
            input_pixel: pixel,
            steps,
            weights: Some(storage),
            bias,
            multiply_adds: products as u64,
        })
    }

    pub(super) fn conv_transpose(&mut self, id: NodeId, a: &ConvTransposeAttrs) -> Result<(), LowerError> {
        let x = self.conv_input(id)?;
        let (graph, out) = (self.graph, self.result(id)?);
        let node = graph.node(id);
        let weight = sizes(graph, node.operands[1]);
        let rows = spatial_strides(&x);
        let channels = self.input_channels(id, &x, a.groups)?;
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
            let storage = self.pack_weights(id, node.operands[1], pack)?;
            let mut pixel = vec![x.axes[0].stride().unwrap_or(0)];
            pixel.extend(&rows);
            let steps =
                (0..channels.count).flat_map(|c| taps.iter().map(move |(_, t)| c * channels.stride + t));
            let products = view.shape().iter().product::<i64>() * weight[0] / a.groups * taps.len() as i64;
            calls.push(TileCall {
                node: id,
                family: Family::Contract { tile, inner: channels.inner },
                output,
                input: (x.storage, x.base),
                input_group: channels.group,
                input_pixel: pixel,
                steps: steps.collect(),
                weights: Some(storage),
                bias,
                multiply_adds: products as u64,
            });
        }
        // All sectors take the epilogue, or none.
        let mut programs = Vec::with_capacity(calls.len());
        if empty.is_empty() {
            for call in &calls {
                programs.extend(self.tile_program(call, true, None)?);
            }
        }
        let fused = programs.len() == calls.len();
        for (i, call) in calls.iter().enumerate() {
            match fused {
                true => self.emit_tile(call, programs[i].clone())?,
                false => self.raw_tile_call(call, None)?,
            }
        }
        for view in empty {
            self.bias_alone(id, &view, bias)?;
        }
        if fused { Ok(()) } else { self.epilogue_in_place(id, &out) }
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

    /// The convolution's input with the halo that it asks for.
    fn conv_input(&mut self, id: NodeId) -> Result<View, LowerError> {
        match demand(self.graph, &self.layout, id, self.lanes) {
            Some(d) => self.in_form(d.value, d.form, &d.halo, Fill::Zero),
            None => Err(self.unsupported(id, "it has no input")),
        }
    }

    /// Steps over the input channels of a group.
    fn input_channels(&self, id: NodeId, x: &View, groups: i64) -> Result<Channels, LowerError> {
        let axis = &x.axes[1];
        let channels = axis.size / groups;
        if self.is_blocked(x) && (groups == 1 || channels % self.lanes == 0) {
            let stride = block_stride(axis);
            let count = (channels + self.lanes - 1) / self.lanes;
            return Ok(Channels { inner: self.lanes, count, stride, group: count * stride });
        }
        match axis.stride() {
            Some(stride) => Ok(Channels { inner: 1, count: channels, stride, group: channels * stride }),
            None => Err(self.unsupported(id, "its groups of input channels cannot be addressed")),
        }
    }
}

/// Byte strides of the spatial axes.
pub(super) fn spatial_strides(x: &View) -> Vec<i64> {
    x.axes[2..].iter().map(|a| a.stride().unwrap_or(0)).collect()
}

/// An image tensor as the result of a tile kernel.
pub(super) fn image_output(view: &View, groups: i64, width: i64) -> TileOutput {
    TileOutput { view: view.clone(), channel: 1, group_axis: None, groups, width, part: None }
}

/// Bytes between blocks of channels.
pub(super) fn block_stride(axis: &Axis) -> i64 {
    if axis.parts.len() > 1 { axis.parts[0].stride } else { 0 }
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
