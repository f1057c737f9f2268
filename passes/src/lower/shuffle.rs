//! A convolution before a pixel shuffle: one contraction for each place in the shuffle's block, which writes its pixels
//! directly to where the shuffle puts them.
//!
//! The channels that go to one place of the block are gathered when weights are packed: every `b²`-th one, or one of
//! `b²` ranges, after the shuffle's mode. So the shuffle costs nothing, and its epilogue runs in registers.

use super::contract::{Bias, Family, TileCall};
use super::conv::{Walk, image_output, step_width};
use super::demand::conv_windows;
use super::layout::{Layout, sizes};
use super::operands::Lattice;
use super::winograd::{Chosen, Filter};
use super::{Lower, LowerError, held};
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId};
use rectify_ir::kernel::{PackFormat, Picked, SourceOrder, WeightPack};
use rectify_ir::op::{DepthMode, Op};

/// The convolution whose only reader is this shuffle and that can write its result; `None` where they stay apart.
pub(crate) fn shuffled_conv(graph: &Graph, layout: &Layout, shuffle: NodeId, lanes: i64) -> Option<NodeId> {
    let node = graph.node(shuffle);
    let Op::DepthToSpace { .. } = node.op else { return None };
    let source = node.operands[0];
    let conv = graph.node(source.node);
    let Op::Conv(a) = &conv.op else { return None };
    let params = conv.own_operands()[1..].iter().all(|v| layout.is_param(*v));
    let alone = graph.use_count(source) == 1 && conv.epilogue.is_none();
    let channels = sizes(graph, shuffle.into())[1];
    // Rows of weights are listed one by one, so there are none for padded lanes.
    let ins = sizes(graph, conv.operands[0])[1];
    let whole = ins % step_width(ins, lanes) == 0;
    let vectors = held(graph.ty(source).dtype) == DType::F32;
    (vectors && params && alone && whole && a.groups == 1 && 2 * channels >= lanes).then_some(source.node)
}

impl Lower<'_> {
    /// Lowers the shuffle `id` together with the convolution before it.
    pub(super) fn shuffled(
        &mut self,
        id: NodeId,
        conv: NodeId,
        block: i64,
        mode: DepthMode,
    ) -> Result<(), LowerError> {
        let (graph, x) = (self.graph, self.conv_input(conv)?);
        let Op::Conv(a) = &graph.node(conv).op else {
            return Err(self.unsupported(id, "its operand is no convolution"));
        };
        let out = self.result(id)?;
        let operands = graph.node(conv).own_operands();
        let weight = sizes(graph, operands[1]);
        let windows = conv_windows(graph, conv, a);
        let Walk { input, taps, pixel } = Walk::new(&windows, &x);
        let channels = self.input_channels(conv, &x, 1)?;
        let steps: Vec<i64> = channels.offsets.iter().flat_map(|c| taps.iter().map(move |t| c + t)).collect();
        let pixels = windows.iter().map(|w| w.output).product::<i64>() * out.axes[0].size;
        let outs = out.axes[1].size;
        let tile = self.tile(pixels, outs);
        let width = i64::from(tile.vectors) * self.lanes;
        let packer = Packer {
            outs,
            ins: weight[1],
            taps: taps.len() as i64,
            inner: channels.inner,
            lanes: self.lanes as u8,
            vectors: tile.vectors,
            places: block * block,
            mode,
        };
        let (mut calls, mut picks) = (Vec::new(), Vec::new());
        for place in 0..block * block {
            let (row, column) = (place / block, place % block);
            let view = out
                .slice(2, row, block, windows[0].output)
                .and_then(|v| v.slice(3, column, block, windows[1].output))
                .ok_or_else(|| self.unsupported(id, "its result cannot be strided"))?;
            let mut output = image_output(&view, 1, width);
            output.part = Some(Lattice { start: vec![row, column], step: vec![block, block] });
            let picked = packer.picked(place);
            let bias = operands.get(2).map_or(Bias::None, |bias| Bias::Picked(*bias, picked));
            let products = view.shape().iter().product::<i64>() * weight[1..].iter().product::<i64>();
            calls.push(TileCall {
                node: id,
                family: Family::Contract { tile, inner: channels.inner, dot: false },
                output,
                input,
                input_group: 0,
                input_pixel: pixel.clone(),
                steps: steps.clone(),
                weights: None,
                bias,
                multiply_adds: products as u64,
                candidates: vec![],
            });
            picks.push(picked);
        }
        let pairs: Vec<_> = calls.iter().zip(picks).collect();
        match self.winograd(Filter::of_conv(self.graph, conv, a), &x, &pairs, &[])? {
            Chosen::Winograd => return Ok(()),
            Chosen::Contract(candidates) => calls[0].candidates = candidates,
        }
        for (place, call) in (0..).zip(&mut calls) {
            let (format, offset) = packer.weights(place);
            call.weights = Some((self.pack(operands[1], format), offset));
        }
        self.tile_calls(id, &calls, &out)
    }
}

/// Formats that pick the channels of one place of the block.
struct Packer {
    /// Output channels of a place; input channels; taps of the kernel.
    outs: i64,
    ins: i64,
    taps: i64,
    /// Input channels of a step.
    inner: i64,
    lanes: u8,
    vectors: u8,
    places: i64,
    mode: DepthMode,
}

impl Packer {
    /// The channels of a place: adjacent, or as many apart as there are places.
    fn picked(&self, place: i64) -> Picked {
        let (first, step) = match self.mode {
            DepthMode::Dcr => (place * self.outs, 1),
            DepthMode::Crd => (place, self.places),
        };
        let of = self.places * self.outs;
        Picked { of: of as u32, first: first as u32, step: step as u32, count: self.outs as u32 }
    }

    /// The format of the weights, and the byte offset of the place in the pack.
    fn weights(&self, place: i64) -> (PackFormat, i64) {
        let length = self.ins * self.taps;
        // Channels that are apart: the places are told apart as if they were taps.
        let (groups, source, start) = match self.mode {
            DepthMode::Dcr => (self.places, length, 0),
            DepthMode::Crd => (1, self.places * length, place * length),
        };
        let pack = WeightPack {
            groups: groups as u32,
            out_channels: self.outs as u32,
            in_channels: 1,
            source_taps: source as u32,
            taps: self.rows().iter().map(|r| (start + r) as u32).collect(),
            order: SourceOrder::OutInTap,
            lanes: self.lanes,
            vectors: self.vectors,
            inner: 1,
        };
        let group_bytes = 4 * pack.channel_groups() * pack.steps() * pack.width();
        let offset = if groups > 1 { place * group_bytes as i64 } else { 0 };
        (PackFormat::Weights(pack), offset)
    }

    /// Source index within an output channel of each row: steps over channels, taps, then the channels of a step.
    fn rows(&self) -> Vec<i64> {
        let chunks = self.ins / self.inner;
        let steps = (0..chunks).flat_map(|c| (0..self.taps).map(move |t| (c, t)));
        steps.flat_map(|(c, t)| (0..self.inner).map(move |l| (c * self.inner + l) * self.taps + t)).collect()
    }
}
