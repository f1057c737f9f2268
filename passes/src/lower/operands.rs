//! Operands of the pixel-tile kernels' epilogues: how each load of a program is addressed by pixel and channel.

use super::demand::Fill;
use super::layout::sizes;
use super::nest::{self, NestRequest};
use super::program::Load;
use super::storage::{Home, StorageId};
use super::view::{Axis, Part, View};
use super::{Form, Halo, Lower, LowerError};
use rectify_ir::graph::Value;
use rectify_ir::kernel::{Operand, PackFormat, Program, Store};

/// Results of one kernel call: all elements of a view, whose axis `channel` is made of `groups` groups of channels.
#[derive(Clone, Debug)]
pub(crate) struct TileOutput {
    pub view: View,
    pub channel: usize,
    /// The axis of the groups, where it is not the channels that are cut into groups.
    pub group_axis: Option<usize>,
    pub groups: i64,
    /// Channels of a channel group of the tile: its vectors times lanes.
    pub width: i64,
    /// The part of the node's whole result that the view is, if it is not all of it.
    pub part: Option<Lattice>,
}

/// Every `step`-th element from `start` on, along each spatial axis.
#[derive(Clone, Debug)]
pub(crate) struct Lattice {
    pub start: Vec<i64>,
    pub step: Vec<i64>,
}

/// A stream before pixel axes are merged: byte strides.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    pub group: i64,
    pub block: i64,
    pub lane: i64,
    /// Per axis but the channel's.
    pub pixel: Vec<i64>,
}

/// How the lanes of a channel vector lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adjacency {
    /// Padded blocks.
    Block,
    /// Adjacent, without padding at the end.
    Row,
    Strided,
    /// One value for all channels.
    Same,
}

/// An operand of a tile kernel.
#[derive(Clone, Debug)]
pub(crate) struct TileOperand {
    pub kind: Operand,
    pub storage: StorageId,
    pub base: i64,
    pub lanes: Lanes,
    /// Padded lanes hold zeros.
    pub zero_padded: bool,
    /// Elements lie exactly where those of the output do.
    pub in_place: bool,
}

impl TileOutput {
    pub fn channels(&self) -> i64 {
        let size = self.view.axes[self.channel].size;
        if self.group_axis.is_some() { size } else { size / self.groups }
    }

    /// Axes but those of channels and groups, in order.
    pub fn pixel_axes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.view.axes.len()).filter(|a| *a != self.channel && Some(*a) != self.group_axis)
    }

    /// Strides of the results and how they are stored.
    pub fn store(&self, lanes: i64) -> Option<(Store, Lanes)> {
        let (adjacency, strides) = self.lanes(&self.view.axes, lanes)?;
        let store = match adjacency {
            Adjacency::Block => Store::Vector,
            Adjacency::Row => Store::Partial,
            // A single channel, whose place has no stride.
            Adjacency::Strided | Adjacency::Same => Store::Strided,
        };
        Some((store, strides))
    }

    /// Addresses by pixel and channel vector of something with these axes.
    fn lanes(&self, axes: &[Axis], lanes: i64) -> Option<(Adjacency, Lanes)> {
        let pixel = self.pixel_axes().map(|a| axes[a].stride()).collect::<Option<Vec<_>>>()?;
        let channel = &axes[self.channel];
        let channels = self.channels();
        // Bytes between groups: of their axis, or what the channels of a group span.
        let of_axis = match self.group_axis {
            Some(axis) => Some(axes[axis].stride()?),
            None if self.groups == 1 => Some(0),
            None => None,
        };
        let blocked = |block: i64| {
            let fits = self.groups == 1 || channels % lanes == 0;
            let group = of_axis.unwrap_or(channels / lanes * block);
            fits.then(|| (Adjacency::Block, Lanes { group, block, lane: 4, pixel: pixel.clone() }))
        };
        match channel.parts.as_slice() {
            [Part { extent, stride: 4 }] if *extent == lanes && channel.size <= lanes && self.groups == 1 => {
                // One block; whether it is padded does not show, so rows of exactly one vector count as blocks.
                blocked(0)
            }
            // The kernel does not move such an operand between groups.
            [] if of_axis.is_some_and(|s| s != 0) => None,
            [] => Some((Adjacency::Same, Lanes { group: 0, block: 0, lane: 0, pixel })),
            [Part { stride, .. }] => {
                let adjacency = if *stride == 4 { Adjacency::Row } else { Adjacency::Strided };
                let group = of_axis.unwrap_or(channels * stride);
                Some((adjacency, Lanes { group, block: lanes * stride, lane: *stride, pixel }))
            }
            [Part { stride, .. }, Part { extent, stride: 4 }] if *extent == lanes => blocked(*stride),
            _ => None,
        }
    }
}

impl Lower<'_> {
    /// How a kernel with this output reads a load, or `None` where it cannot.
    pub(super) fn tile_operand(
        &mut self,
        load: &Load,
        out: &TileOutput,
        store: Store,
    ) -> Result<Option<TileOperand>, LowerError> {
        let size = sizes(self.graph, load.value);
        let pixels = out.pixel_axes().count();
        let nowhere = || Lanes { group: 0, block: 0, lane: 0, pixel: vec![0; pixels] };
        if self.layout.is_param(load.value) {
            if size.iter().all(|n| *n == 1) {
                let storage = self.pack(load.value, PackFormat::Raw { elements: 1 });
                return Ok(Some(TileOperand {
                    kind: Operand::Scalar,
                    storage,
                    base: 0,
                    lanes: nowhere(),
                    zero_padded: false,
                    in_place: false,
                }));
            }
            let along = |i: usize| load.places[i] == out.channel;
            let per_group = out.group_axis.is_none() || out.groups == 1;
            if per_group && (0..size.len()).all(|i| size[i] == 1 || along(i)) {
                let storage = self.channel_pack(load.value, out.groups, out.channels(), out.width);
                return Ok(Some(TileOperand {
                    kind: Operand::PerChannel,
                    storage,
                    base: 0,
                    lanes: nowhere(),
                    zero_padded: true,
                    in_place: false,
                }));
            }
        }
        let per_group = out.group_axis.is_none() || out.groups == 1;
        let along = (0..size.len()).find(|i| load.places[*i] == out.channel && size[*i] > 1);
        if let Some(at) =
            along.filter(|_| !self.layout.is_param(load.value) && store != Store::Strided && per_group)
            && (0..size.len()).all(|i| i == at || size[i] == 1)
        {
            let storage = self.channels_at_run_time(load.value, at, out)?;
            return Ok(Some(TileOperand {
                kind: Operand::PerChannel,
                storage,
                base: 0,
                lanes: nowhere(),
                zero_padded: true,
                in_place: false,
            }));
        }
        let Some(view) = self.tile_view(load, out, store)? else { return Ok(None) };
        let shape = match &out.part {
            None => out.view.shape(),
            Some(_) => self.whole_shape(load, out),
        };
        let mut axes = view.align(&load.places, &shape);
        let mut base = view.base;
        if let Some(part) = &out.part {
            for (i, (start, step)) in part.start.iter().zip(&part.step).enumerate() {
                let Some((offset, axis)) = axes[2 + i].slice(*start, *step, out.view.axes[2 + i].size) else {
                    return Ok(None);
                };
                axes[2 + i] = axis;
                base += offset;
            }
        }
        let Some((adjacency, lanes)) = out.lanes(&axes, self.lanes) else { return Ok(None) };
        let tail = out.channels() % self.lanes != 0;
        let kind = match (adjacency, store) {
            (Adjacency::Same, _) => Operand::PixelScalar,
            (Adjacency::Block, _) => Operand::Pixels,
            // Whole vectors are read: at the end of the last row that may be beyond the tensor.
            (Adjacency::Row, Store::Vector) if tail => return Ok(None),
            (Adjacency::Row, Store::Strided) => Operand::PixelsStrided,
            (Adjacency::Row, Store::Vector) => Operand::Pixels,
            (Adjacency::Row, Store::Partial) if !tail => Operand::Pixels,
            (Adjacency::Row, Store::Partial) => {
                let storage = &mut self.draft.storages[view.storage.0 as usize];
                if storage.place != Home::Arena {
                    return Ok(None);
                }
                storage.slack = storage.slack.max(4 * self.lanes);
                Operand::Pixels
            }
            (Adjacency::Strided, Store::Strided) => Operand::PixelsStrided,
            (Adjacency::Strided, Store::Vector | Store::Partial) => return Ok(None),
        };
        let in_place = out.part.is_none() && axes.iter().zip(&out.view.axes).all(|(a, b)| a.moves_like(b));
        let zero_padded = adjacency == Adjacency::Block && axes[out.channel].size > 1;
        Ok(Some(TileOperand { kind, storage: view.storage, base, lanes, zero_padded, in_place }))
    }

    /// A computed vector of channels, axis `at` of the value, as parameters of channels are packed: the channels of each
    /// group and zeros up to whole tiles.
    fn channels_at_run_time(
        &mut self,
        value: Value,
        at: usize,
        out: &TileOutput,
    ) -> Result<StorageId, LowerError> {
        let (groups, channels, width) = (out.groups, out.channels(), out.width);
        if let Some(storage) = self.channels.get(&(value, groups, width)) {
            return Ok(*storage);
        }
        let view = self.view(value);
        let vector = View { axes: vec![view.axes[at].clone()], ..view };
        let Some(from) = vector.reshape(&[groups, channels]) else {
            return Err(self.unsupported(value.node, "its channels cannot be addressed group by group"));
        };
        let padded = (channels + width - 1) / width * width;
        let label = format!("{} channels", self.label(value.node));
        let storage = self.draft.add_storage(Home::Arena, groups * padded * 4, label.clone());
        let part = |start: i64, size: i64| View {
            storage,
            base: 4 * start,
            axes: vec![Axis::plain(groups, 4 * padded), Axis::plain(size, 4)],
        };
        self.copy(value.node, &label, &from, &part(0, channels))?;
        if padded > channels {
            let rest = part(channels, padded - channels);
            let zeros = NestRequest::map(value.node, &label, &rest, vec![], Program::constant(0.0));
            nest::emit(&mut self.draft, zeros)?;
        }
        self.channels.insert((value, groups, width), storage);
        Ok(storage)
    }

    /// The load's value in a form that a kernel with this store can read.
    fn tile_view(&mut self, load: &Load, out: &TileOutput, store: Store) -> Result<Option<View>, LowerError> {
        let size = sizes(self.graph, load.value);
        let along = load.places.iter().position(|p| *p == out.channel).filter(|i| size[*i] > 1);
        let is_param = self.layout.is_param(load.value);
        if store != Store::Vector || along.is_none() {
            return Ok(Some(self.view(load.value)));
        }
        // Blocks are read: the value's axes must be those of an image, in order.
        let first = load.places.first().copied().unwrap_or(0);
        if first > 1 || !load.places.iter().copied().eq(first..out.view.axes.len()) {
            return Ok(None);
        }
        if is_param {
            let view = self.blocked_pack(load.value, first);
            return Ok(Some(View { axes: view.axes[first..].to_vec(), ..view }));
        }
        if first == 0 {
            let halo = Halo::none(size.len());
            return self.in_form(load.value, Form::Blocked, &halo, Fill::Zero).map(Some);
        }
        Ok(Some(self.view(load.value)))
    }

    /// The shape of the node's whole result, of which the output is a part.
    fn whole_shape(&self, load: &Load, out: &TileOutput) -> Vec<i64> {
        let mut shape = out.view.shape();
        let size = sizes(self.graph, load.value);
        for (place, n) in load.places.iter().zip(size) {
            if n != 1 {
                shape[*place] = n;
            }
        }
        shape
    }
}
