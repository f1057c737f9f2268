//! Convolutions: direct contraction over taps and channel blocks; depthwise ones as windows.

use super::algorithms::over;
use super::contract::{Bias, Family, TileCall};
use super::demand::{Fill, conv_windows, demand, is_depthwise};
use super::layout::sizes;
use super::operands::TileOutput;
use super::storage::StorageId;
use super::view::{Axis, View};
use super::window::Window;
use super::winograd::{Chosen, Filter};
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{PackFormat, Picked, SourceOrder, Tile, WeightPack, WindowOp};
use rectify_ir::op::ConvAttrs;
use rectify_ir::plan::Algorithm;

/// How a contraction walks the channels of its input.
pub(crate) struct Channels {
    /// Consecutive floats of a step.
    pub inner: i64,
    /// Byte offsets of the steps over the channels of a group.
    pub offsets: Vec<i64>,
    /// Bytes between groups.
    pub group: i64,
}

impl Lower<'_> {
    pub(super) fn conv(&mut self, id: NodeId, a: &ConvAttrs) -> Result<(), LowerError> {
        let x = self.conv_input(id)?;
        let node = self.graph.node(id);
        let windows = conv_windows(self.graph, id, a);
        let weight = sizes(self.graph, node.operands[1]);
        let Walk { input, taps, pixel } = Walk::new(&windows, &x);
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
            let storage = self.pack(weights, PackFormat::Weights(pack));
            let input_block = block_stride(&x.axes[1]);
            return self.tile_call(TileCall {
                node: id,
                family: Family::Window { op: WindowOp::MulAdd, input_block },
                output,
                input,
                input_group: 0,
                input_pixel: pixel,
                steps: taps,
                weights: Some((storage, 0)),
                bias: Bias::of(bias),
                multiply_adds: products as u64,
                candidates: vec![],
            });
        }
        let channels = self.input_channels(id, &x, a.groups)?;
        let pixels: i64 = out.shape().iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, n)| n).product();
        let tile = self.tile(pixels, weight[0] / a.groups);
        let output = image_output(&out, a.groups, i64::from(tile.vectors) * self.lanes);
        let steps = channels.offsets.iter().flat_map(|c| taps.iter().map(move |t| c + t)).collect();
        let mut call = TileCall {
            node: id,
            family: Family::Contract { tile, inner: channels.inner, dot: false },
            output,
            input,
            input_group: channels.group,
            input_pixel: pixel,
            steps,
            weights: None,
            bias: Bias::of(bias),
            multiply_adds: products as u64,
            candidates: vec![],
        };
        let dot = self.dot_tile(a, &x, weights).map(|tile| TileCall {
            family: Family::Contract { tile, inner: weight[0], dot: true },
            output: image_output(&out, 1, self.lanes),
            input_group: 0,
            steps: whole_blocks(&x, self.lanes).flat_map(|c| taps.iter().map(move |t| c + t)).collect(),
            ..call.clone()
        });
        let others: Vec<_> = dot.iter().map(|dot| (Algorithm::Dot, self.contract_cycles(dot))).collect();
        let filter = Filter::of_conv(self.graph, id, a);
        match self.winograd(filter, &x, &[(&call, Picked::all(weight[0] as u32))], &others)? {
            Chosen::Winograd => return Ok(()),
            Chosen::Contract(candidates) => call.candidates = candidates,
        }
        let chosen = call.candidates.first().map(|c| c.algorithm);
        if let Some(mut dot) = dot.filter(|_| chosen == Some(Algorithm::Dot)) {
            let pack = WeightPack {
                groups: 1,
                out_channels: weight[1] as u32,
                in_channels: weight[0] as u32,
                source_taps: taps.len() as u32,
                taps: (0..taps.len() as u32).collect(),
                order: SourceOrder::InOutTap,
                lanes: self.lanes as u8,
                vectors: 1,
                inner: weight[0] as u8,
            };
            dot.weights = Some((self.pack(weights, PackFormat::Weights(pack)), 0));
            dot.candidates = call.candidates;
            return self.tile_call(dot);
        }
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
        call.weights = Some((self.pack_weights(id, weights, pack)?, 0));
        self.tile_call(call)
    }

    /// The tile of a dot kernel, where lanes of input channels can be taken.
    fn dot_tile(&self, a: &ConvAttrs, x: &View, weights: Value) -> Option<Tile> {
        let outs = sizes(self.graph, weights)[0];
        if !self.is_blocked(x) || a.groups != 1 || outs >= self.lanes || !self.layout.is_param(weights) {
            return None;
        }
        Tile::choose_dot(self.target, outs)
    }

    /// The convolution's input with the halo that it asks for.
    pub(super) fn conv_input(&mut self, id: NodeId) -> Result<View, LowerError> {
        match demand(self.graph, &self.layout, id, self.lanes) {
            Some(d) => self.in_form(d.value, d.form, &d.halo, Fill::Zero),
            None => Err(self.unsupported(id, "it has no input")),
        }
    }

    /// Steps over the input channels of a group.
    pub(super) fn input_channels(&self, id: NodeId, x: &View, groups: i64) -> Result<Channels, LowerError> {
        let axis = &x.axes[1];
        let channels = axis.size / groups;
        if self.is_blocked(x) && (groups == 1 || channels % self.lanes == 0) {
            let block = block_stride(axis);
            let inner = step_width(channels, self.lanes);
            let per_block = if inner > self.lanes / 2 { 1 } else { self.lanes / inner };
            let count = (channels + inner - 1) / inner;
            let offsets = (0..count).map(|i| i / per_block * block + i % per_block * inner * 4).collect();
            return Ok(Channels { inner, offsets, group: channels / self.lanes * block });
        }
        match axis.stride() {
            Some(stride) => {
                let offsets = (0..channels).map(|c| c * stride).collect();
                Ok(Channels { inner: 1, offsets, group: channels * stride })
            }
            None => Err(self.unsupported(id, "its groups of input channels cannot be addressed")),
        }
    }
}

/// Input channels of one step in blocked layout: all lanes of a block, or a part of it where padding the last block
/// would cost more than an eighth of the products.
pub(super) fn step_width(channels: i64, lanes: i64) -> i64 {
    let padded = (channels + lanes - 1) / lanes * lanes;
    if 8 * padded <= 9 * channels {
        return lanes;
    }
    if channels < lanes {
        return channels;
    }
    let mut part = lanes;
    while channels % part != 0 {
        part /= 2;
    }
    if part >= 4 { part } else { lanes }
}

/// How windows move over their input.
pub(super) struct Walk {
    /// Storage and offset of the first window's first tap.
    pub input: (StorageId, i64),
    /// Byte offsets of the taps.
    pub taps: Vec<i64>,
    /// Byte strides of the batch and the spatial axes.
    pub pixel: Vec<i64>,
}

impl Walk {
    pub fn new(windows: &[Window], x: &View) -> Walk {
        let rows = spatial_strides(x);
        let (mut taps, mut corner) = (vec![0i64], 0);
        let mut pixel = vec![x.axes[0].stride().unwrap_or(0)];
        for (w, row) in windows.iter().zip(&rows) {
            taps = taps.iter().flat_map(|t| (0..w.kernel).map(move |k| t + k * w.dilation * row)).collect();
            corner += w.before * row;
            pixel.push(w.stride * row);
        }
        Walk { input: (x.storage, x.base - corner), taps, pixel }
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

/// Offsets of all blocks of channels, the last of which may have lanes of zeros.
fn whole_blocks(x: &View, lanes: i64) -> impl Iterator<Item = i64> + use<> {
    let (count, block) = (over(x.axes[1].size, lanes), block_stride(&x.axes[1]));
    (0..count).map(move |i| i * block)
}

/// Bytes between blocks of channels.
pub(super) fn block_stride(axis: &Axis) -> i64 {
    if axis.parts.len() > 1 { axis.parts[0].stride } else { 0 }
}
