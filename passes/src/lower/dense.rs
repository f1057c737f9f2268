//! Dense layers and matrix products, and weights that are packed at run time because a step computes them.

use super::algorithms::KEPT_CYCLES;
use super::contract::{Bias, Family, TileCall};
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref, RefTable};
use super::operands::TileOutput;
use super::storage::{Form, Halo, Home, StorageId};
use super::view::{Axis, Part, View};
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{PackFormat, Program, SourceOrder, WeightPack};
use rectify_ir::plan::Algorithm;

/// How a contraction walks the features of a row.
struct Features {
    inner: i64,
    /// Input channels and taps as which the weights are packed.
    channels: i64,
    taps: i64,
    steps: Vec<i64>,
}

impl Lower<'_> {
    pub(super) fn dense(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let operands = graph.node(id).own_operands();
        let weight = sizes(graph, operands[1]);
        let x = self.rows(operands[0])?;
        let (features, rows) = (x.axes.len() - 1, x.axes.len() - 1);
        let f = self.features(&x.axes[features], self.layout.is_param(operands[1]));
        let pixels: i64 = x.axes[..rows].iter().map(|a| a.size).product();
        let tile = self.tile(pixels, weight[0]);
        let mut candidates = vec![];
        if let Some(rows) = self.rows_cycles(id, &out) {
            let depth = f.steps.len() as i64 * f.inner;
            let packed = (4 * weight[0] * weight[1]) as f64 * KEPT_CYCLES;
            let direct = self.direct_cycles(pixels, depth, weight[0], tile) + packed;
            candidates = self.compare(&[(Algorithm::Dot, rows), (Algorithm::Direct, direct)]);
            if candidates[0].algorithm == Algorithm::Dot {
                return self.dense_by_rows(id, &out, candidates);
            }
        }
        let pack = WeightPack {
            groups: 1,
            out_channels: weight[0] as u32,
            in_channels: f.channels as u32,
            source_taps: f.taps as u32,
            taps: (0..f.taps as u32).collect(),
            order: SourceOrder::OutInTap,
            lanes: self.lanes as u8,
            vectors: tile.vectors,
            inner: f.inner as u8,
        };
        let storage = self.pack_weights(id, operands[1], pack)?;
        let width = i64::from(tile.vectors) * self.lanes;
        self.tile_call(TileCall {
            node: id,
            family: Family::Contract { tile, inner: f.inner, dot: false },
            output: TileOutput {
                channel: out.axes.len() - 1,
                view: out,
                group_axis: None,
                groups: 1,
                width,
                part: None,
            },
            input: (x.storage, x.base),
            input_group: 0,
            input_pixel: x.axes[..rows].iter().map(|a| a.stride().unwrap_or(0)).collect(),
            steps: f.steps,
            weights: Some((storage, 0)),
            bias: Bias::of(operands.get(2).copied()),
            multiply_adds: (pixels * weight[0] * weight[1]) as u64,
            candidates,
        })
    }

    /// The operand with one stride along every axis but the last.
    fn rows(&mut self, value: Value) -> Result<View, LowerError> {
        let view = self.view(value);
        let rows = view.axes.len() - 1;
        if view.axes[..rows].iter().all(|a| a.stride().is_some()) {
            return Ok(view);
        }
        let shape = view.shape();
        self.in_form(value, Form::Plain, &Halo::none(shape.len()), super::demand::Fill::Zero)
    }

    /// Steps over a row's features. A flattened image in channel blocks is read as it is: its weights are packed as
    /// those of a convolution with a tap per pixel.
    fn features(&self, axis: &Axis, is_param: bool) -> Features {
        let lanes = self.lanes;
        let flat = axis.simplified();
        let offsets = |parts: &[Part]| -> Vec<i64> {
            parts.iter().fold(vec![0], |all, p| {
                all.iter().flat_map(|o| (0..p.extent).map(move |i| o + i * p.stride)).collect()
            })
        };
        let at = flat.parts.iter().position(|p| *p == Part { extent: lanes, stride: 4 });
        // Rows of weights for padded lanes are zeros; only packs of parameters have them.
        if let Some(at) = at.filter(|_| is_param || flat.is_exact()) {
            let (blocks, taps) = (offsets(&flat.parts[..at]), offsets(&flat.parts[at + 1..]));
            let steps = blocks.iter().flat_map(|b| taps.iter().map(move |t| b + t)).collect();
            let channels = if flat.is_exact() { blocks.len() as i64 * lanes } else { axis.size };
            return Features { inner: lanes, channels, taps: taps.len() as i64, steps };
        }
        if let Some(4) = flat.stride() {
            // The widest step that cuts the row into equal parts.
            let inner = (1..=lanes).rev().find(|width| axis.size % width == 0).unwrap_or(1);
            let steps = (0..axis.size / inner).map(|i| 4 * inner * i).collect();
            return Features { inner, channels: axis.size, taps: 1, steps };
        }
        let steps = (0..axis.size).map(|i| axis.offset(i)).collect();
        Features { inner: 1, channels: axis.size, taps: 1, steps }
    }

    pub(super) fn matmul(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let operands = graph.node(id).own_operands();
        let (left, right) = (self.rows(operands[0])?, sizes(graph, operands[1]));
        // A vector counts as a row on the left and as a column on the right.
        let mut a = left;
        let mut y = out.clone();
        let (row, column) = (a.axes.len() == 1, right.len() == 1);
        if column {
            y.axes.push(Axis::broadcast(1));
        }
        if row {
            a.axes.insert(0, Axis::broadcast(1));
            y.axes.insert(y.axes.len() - 1, Axis::broadcast(1));
        }
        let rank = y.axes.len();
        let b_shape = if column { vec![right[0], 1] } else { right };
        let (b_batch, b_matrix) = b_shape.split_at(b_shape.len() - 2);
        let (k, n, rows) = (b_matrix[0], b_matrix[1], y.axes[rank - 2].size);
        let batch: Vec<i64> = y.axes[..rank - 2].iter().map(|x| x.size).collect();
        let shared = b_batch.iter().all(|n| *n == 1);
        let products = (batch.iter().product::<i64>() * rows * k * n) as u64;

        // Batches of the left side as the result has them.
        let lead = rank - a.axes.len();
        let mut whole: Vec<i64> = batch.clone();
        whole.extend([rows, k]);
        a.axes = a.align(&(lead..rank).collect::<Vec<_>>(), &whole);
        // Groups have one stride on the left, or the left side is copied.
        let mut input_group = 0;
        if !shared {
            let outer = View { axes: a.axes[..rank - 2].to_vec(), ..a.clone() };
            let groups = batch.iter().product();
            input_group = match outer.reshape(&[groups]).and_then(|v| v.axes[0].stride()) {
                Some(stride) => stride,
                None => {
                    let label = format!("{} copy", self.label(id));
                    let halo = Halo::none(rank);
                    let to = self.draft.tensor(Home::Arena, &whole, Form::Plain, &halo, &label)?;
                    self.copy(id, &label, &a, &to)?;
                    a = to;
                    rows * k * 4
                }
            };
        }
        let groups = if shared { 1 } else { batch.iter().product() };
        // A parameter whose batches are those of the result is packed once.
        let packed = self.layout.is_param(operands[1]) && b_shape.iter().product::<i64>() == groups * k * n;
        let mut f = self.features(&a.axes[rank - 1], packed);
        if f.taps > 1 {
            let steps = (0..k).map(|i| a.axes[rank - 1].offset(i)).collect();
            f = Features { inner: 1, channels: k, taps: 1, steps };
        }
        let pixels = if shared { batch.iter().product::<i64>() * rows } else { rows };
        let tile = self.tile(pixels, n);
        let pack = WeightPack {
            groups: groups as u32,
            out_channels: n as u32,
            in_channels: k as u32,
            source_taps: 1,
            taps: vec![0],
            order: SourceOrder::InOutTap,
            lanes: self.lanes as u8,
            vectors: tile.vectors,
            inner: f.inner as u8,
        };
        let storage = if packed {
            self.pack(operands[1], PackFormat::Weights(pack))
        } else {
            let mut b = self.view(operands[1]);
            if column {
                b.axes.push(Axis::broadcast(1));
            } else if b.axes.last().is_some_and(|axis| !in_groups(axis, n, &pack)) {
                let halo = Halo::none(b.axes.len());
                b = self.in_form(operands[1], Form::Plain, &halo, super::demand::Fill::Zero)?;
            }
            let lead = rank - b.axes.len();
            let mut shape = if shared { vec![1; rank - 2] } else { batch.clone() };
            shape.extend([k, n]);
            let axes = b.align(&(lead..rank).collect::<Vec<_>>(), &shape);
            let (matrix, outer) = (axes[rank - 2..].to_vec(), axes[..rank - 2].to_vec());
            let source = RunTimeWeights {
                view: b,
                groups: outer,
                out: matrix[1].clone(),
                input: matrix[0].clone(),
                tap: Axis::broadcast(1),
            };
            self.pack_at_run_time(id, &source, &pack)?
        };

        let mut view = y;
        let mut group_axis = None;
        let mut input_pixel: Vec<i64> = a.axes[..rank - 1].iter().map(|x| x.stride().unwrap_or(0)).collect();
        if !shared {
            view = view
                .reshape(&[groups, rows, n])
                .ok_or_else(|| self.unsupported(id, "its batches have no common stride"))?;
            group_axis = Some(0);
            input_pixel = vec![a.axes[rank - 2].stride().unwrap_or(0)];
        }
        let same_axes = view.axes == out.axes;
        let call = TileCall {
            node: id,
            family: Family::Contract { tile, inner: f.inner, dot: false },
            output: TileOutput {
                channel: view.axes.len() - 1,
                view,
                group_axis,
                groups,
                width: i64::from(tile.vectors) * self.lanes,
                part: None,
            },
            input: (a.storage, a.base),
            input_group,
            input_pixel,
            steps: f.steps,
            weights: Some((storage, 0)),
            bias: Bias::None,
            multiply_adds: products,
            candidates: vec![],
        };
        if same_axes {
            return self.tile_call(call);
        }
        self.raw_tile_call(&call, None)?;
        self.epilogue_in_place(id, &out)
    }

    /// Weights in the kernel's format: packed once from a parameter, or by steps from what the model computes.
    pub(super) fn pack_weights(
        &mut self,
        id: NodeId,
        value: Value,
        pack: WeightPack,
    ) -> Result<StorageId, LowerError> {
        if self.layout.is_param(value) {
            return Ok(self.pack(value, PackFormat::Weights(pack)));
        }
        let view = self.view(value);
        let [groups, outs, ins, taps] =
            [pack.groups, pack.out_channels, pack.in_channels, pack.source_taps].map(i64::from);
        let (shape, out, input) = match pack.order {
            SourceOrder::OutInTap => ([groups, outs, ins, taps], 1, 2),
            SourceOrder::InOutTap => ([groups, ins, outs, taps], 2, 1),
        };
        let view = match view.reshape(&shape).filter(|view| in_groups(&view.axes[out], outs, &pack)) {
            Some(view) => view,
            None => {
                let rank = view.axes.len();
                let plain = self.in_form(value, Form::Plain, &Halo::none(rank), super::demand::Fill::Zero)?;
                plain
                    .reshape(&shape)
                    .ok_or_else(|| self.unsupported(id, "its weights cannot be addressed"))?
            }
        };
        let axes = view.axes.clone();
        let source = RunTimeWeights {
            view,
            groups: vec![axes[0].clone()],
            out: axes[out].clone(),
            input: axes[input].clone(),
            tap: axes[3].clone(),
        };
        self.pack_at_run_time(id, &source, &pack)
    }

    /// Packs by nests: whole channel groups, the last one if it is not whole, and zeros behind it.
    pub(super) fn pack_at_run_time(
        &mut self,
        id: NodeId,
        source: &RunTimeWeights,
        pack: &WeightPack,
    ) -> Result<StorageId, LowerError> {
        let (inner, width) = (i64::from(pack.inner), pack.width() as i64);
        let (outs, ins, taps) =
            (i64::from(pack.out_channels), i64::from(pack.in_channels), pack.taps.len() as i64);
        if ins % inner != 0 {
            return Err(self.unsupported(id, "its computed weights have a cut block of input channels"));
        }
        let row = width * 4;
        let group = ins * taps * row;
        let channel_groups = (outs + width - 1) / width;
        let label = format!("{} weights", self.label(id));
        let groups: i64 = source.groups.iter().map(|a| a.size).product();
        let bytes = groups * channel_groups * group;
        let about = format!("{label} [{groups}, {outs}, {ins}, {taps}] packed");
        let storage = self.draft.add_storage(Home::Arena, bytes, about);
        let mut outer = Vec::with_capacity(source.groups.len());
        let mut stride = channel_groups * group;
        for axis in source.groups.iter().rev() {
            outer.push(Axis::plain(axis.size, stride));
            stride *= axis.size;
        }
        outer.reverse();
        let input = Axis {
            size: ins,
            parts: vec![
                Part { extent: ins / inner, stride: taps * inner * row },
                Part { extent: inner, stride: row },
            ],
        };
        let tap = Axis::plain(taps, inner * row);
        let whole = outs / width * width;
        let full = Axis {
            size: whole,
            parts: vec![Part { extent: outs / width, stride: group }, Part { extent: width, stride: 4 }],
        };
        let last = outs / width * group;
        let rest = outs - whole;
        // First channel, byte offset, channels to copy or, without a source, to clear.
        let mut pieces = vec![(0, full, true), (last, Axis::plain(rest, 4), true)];
        pieces.push((last + 4 * rest, Axis::plain(if rest == 0 { 0 } else { width - rest }, 4), false));
        let mut start = 0;
        for (base, channels, copied) in pieces.into_iter().filter(|p| p.1.size > 0) {
            let size = channels.size;
            let mut axes = outer.clone();
            axes.extend([input.clone(), tap.clone(), channels]);
            let to = View { storage, base, axes };
            let request = if copied {
                let Some((offset, out)) = source.out.slice(start, 1, size) else {
                    return Err(self.unsupported(id, "its computed weights have channels in blocks"));
                };
                let mut axes = source.groups.clone();
                axes.extend([source.input.clone(), Axis::broadcast(taps), out]);
                let at = axes.len() - 2;
                let mut from = Ref::new(&source.view, axes);
                from.base += offset;
                let offsets: Vec<i64> = pack.taps.iter().map(|t| source.tap.offset(i64::from(*t))).collect();
                if pack.taps.iter().copied().eq(0..pack.source_taps) {
                    from.axes[at] = source.tap.clone();
                } else {
                    from.tables.push(RefTable::new(&[at], &[taps], offsets));
                }
                start += size;
                NestRequest::map(id, &label, &to, vec![from], Program::copy())
            } else {
                NestRequest::map(id, &label, &to, vec![], Program::constant(0.0))
            };
            nest::emit(&mut self.draft, request)?;
        }
        Ok(storage)
    }
}

/// Whether output channels can be packed as whole groups and a rest: both are parts of their axis.
fn in_groups(axis: &Axis, outs: i64, pack: &WeightPack) -> bool {
    let whole = outs - outs % pack.width() as i64;
    let part = |at: i64, size: i64| size == 0 || axis.slice(at, 1, size).is_some();
    part(0, whole) && part(whole, outs - whole)
}

/// Where the elements of computed weights lie.
pub(super) struct RunTimeWeights {
    pub view: View,
    pub groups: Vec<Axis>,
    pub out: Axis,
    pub input: Axis,
    pub tap: Axis,
}
