//! Operations that move elements: concat, split, slice, pad, transpose, reshape, depth_to_space.
//!
//! Most are views. Where a view cannot be had, or the layout gave the result memory of its own, they copy.

use super::layout::{sizes, split_start};
use super::nest::{self, NestRequest, Ref, RefTable};
use super::view::{Axis, Part, View};
use super::{Lower, LowerError};
use rectify_ir::Dim;
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::Program;
use rectify_ir::op::{DepthMode, PadMode};

impl Lower<'_> {
    pub(super) fn concat(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let (graph, out, label) = (self.graph, self.result(id)?, self.label(id));
        let mut start = 0;
        for operand in graph.node(id).own_operands() {
            let size = sizes(graph, *operand)[axis];
            if size == 0 {
                continue;
            }
            // An operand whose root this value hosts is there already, and so is one that is this place anyway.
            let from = self.view(*operand);
            match out.slice(axis, start, 1, size) {
                Some(to) if to == from => {}
                Some(to) => self.copy(id, &label, &from, &to)?,
                None => self.copy_channels(id, &label, &from, &out, start)?,
            }
            start += size;
        }
        self.epilogue_in_place(id, &out)
    }

    /// Copies to channels that are no whole blocks of the result, one channel at a time.
    fn copy_channels(
        &mut self,
        id: NodeId,
        label: &str,
        from: &View,
        out: &View,
        start: i64,
    ) -> Result<(), LowerError> {
        for channel in 0..from.axes[1].size {
            let (Some(source), Some(to)) =
                (from.slice(1, channel, 1, 1), out.slice(1, start + channel, 1, 1))
            else {
                return Err(self.unsupported(id, "its channels cannot be addressed"));
            };
            self.copy(id, label, &source, &to)?;
        }
        Ok(())
    }

    pub(super) fn split(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let source = self.view(self.graph.node(id).operands[0]);
        for result in 0..self.graph.node(id).types.len() as u32 {
            let value = Value { node: id, result };
            let start = split_start(self.graph, value);
            let size = sizes(self.graph, value)[axis];
            if size == 0 {
                self.empty(value)?;
                continue;
            }
            self.part(value, &source, axis, start, 1, size)?;
        }
        Ok(())
    }

    /// Makes `value` the given part of `source`: a view, or a copy where channels would begin within a block.
    fn part(
        &mut self,
        value: Value,
        source: &View,
        axis: usize,
        start: i64,
        step: i64,
        size: i64,
    ) -> Result<(), LowerError> {
        let view = match source.slice(axis, start, step, size) {
            Some(view) => view,
            None => {
                let shape = sizes(self.graph, value);
                let halo = super::Halo::none(shape.len());
                let (form, label) = (self.layout.form(value), self.label(value.node));
                let held = self.held(value);
                let to = self.draft.typed_tensor(held, super::Home::Arena, &shape, form, &halo, &label)?;
                let mut from = Ref::of(source);
                gather(&mut from, &source.axes[axis], axis, (0..size).map(|i| start + i * step));
                let request = NestRequest::map(value.node, &label, &to, vec![from], Program::copy());
                nest::emit(&mut self.draft, request)?;
                to
            }
        };
        self.views.insert(value, view);
        Ok(())
    }

    pub(super) fn slice(
        &mut self,
        id: NodeId,
        axes: &[usize],
        starts: &[Dim],
        steps: &[i64],
    ) -> Result<(), LowerError> {
        let (graph, value) = (self.graph, Value::from(id));
        let shape = sizes(graph, value);
        let source = self.view(graph.node(id).operands[0]);
        let start = |i: usize| starts[i].as_const().unwrap_or(0);
        let mut view = Some(source.clone());
        for (i, axis) in axes.iter().enumerate() {
            view = view.and_then(|v| v.slice(*axis, start(i), steps[i], shape[*axis]));
        }
        if let (Some(view), None) = (&view, &graph.node(id).epilogue) {
            self.views.insert(value, view.clone());
            return Ok(());
        }
        let out = self.result(id)?;
        let mut from = Ref::of(&source);
        for (i, axis) in axes.iter().enumerate() {
            match source.axes[*axis].slice(start(i), steps[i], shape[*axis]) {
                Some((offset, sliced)) => {
                    from.base += offset;
                    from.axes[*axis] = sliced;
                }
                None => {
                    let indices = (0..shape[*axis]).map(|k| start(i) + k * steps[i]);
                    gather(&mut from, &source.axes[*axis], *axis, indices);
                }
            }
        }
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    pub(super) fn pad(&mut self, id: NodeId, pads: &[i64], mode: PadMode) -> Result<(), LowerError> {
        let (graph, out, label) = (self.graph, self.result(id)?, self.label(id));
        let source = self.view(graph.node(id).operands[0]);
        let shape = out.shape();
        let (before, after) = pads.split_at(shape.len());
        if let PadMode::Constant(value) = mode {
            if pads.iter().any(|p| *p > 0) {
                let body = Program::constant(value.0);
                nest::emit(&mut self.draft, NestRequest::map(id, &label, &out, vec![], body))?;
            }
            // The elements that stay; negative amounts cut.
            let (mut from, mut to) = (Some(source.clone()), Some(out.clone()));
            for axis in 0..shape.len() {
                let cut = (-before[axis]).max(0);
                let size = source.axes[axis].size - cut - (-after[axis]).max(0);
                if size < 1 {
                    return self.epilogue_in_place(id, &out);
                }
                from = from.and_then(|v| v.slice(axis, cut, 1, size));
                to = to.and_then(|v| v.slice(axis, before[axis].max(0), 1, size));
            }
            let (Some(from), Some(to)) = (from, to) else {
                return Err(self.unsupported(id, "its channels are not aligned"));
            };
            let first = self.draft.steps.len();
            self.copy(id, &label, &from, &to)?;
            self.draft.steps[first..].iter_mut().for_each(|s| s.overwrites = true);
            return self.epilogue_in_place(id, &out);
        }
        let mut from = Ref::of(&source);
        for axis in 0..shape.len() {
            let size = source.axes[axis].size;
            if before[axis] == 0 && after[axis] == 0 {
                continue;
            }
            let index = |i: i64| {
                let i = i - before[axis];
                match mode {
                    PadMode::Wrap => i.rem_euclid(size),
                    PadMode::Reflect if i < 0 => -i,
                    PadMode::Reflect if i >= size => 2 * (size - 1) - i,
                    PadMode::Reflect | PadMode::Edge | PadMode::Constant(_) => i.clamp(0, size - 1),
                }
            };
            gather(&mut from, &source.axes[axis], axis, (0..shape[axis]).map(index));
        }
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    pub(super) fn transpose(&mut self, id: NodeId, perm: &[usize]) -> Result<(), LowerError> {
        let graph = self.graph;
        let view = self.view(graph.node(id).operands[0]).permute(perm);
        self.moved(id, Some(view), |_| None)
    }

    pub(super) fn reshape(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (graph, value) = (self.graph, Value::from(id));
        let operand = graph.node(id).operands[0];
        let source = self.view(operand);
        let view = source.reshape(&sizes(graph, value));
        self.moved(id, view, |lower| {
            // The operand's elements in row-major order, then under the new shape.
            let out = lower.result(id).ok()?;
            let (label, shape) = (lower.label(id), source.shape());
            if let Some(target) = out.reshape(&shape) {
                return lower.copy(id, &label, &source, &target).ok();
            }
            // Neither has places that the other's axes describe: by way of memory in plain order.
            let (halo, form) = (super::Halo::none(shape.len()), super::Form::Plain);
            let (held, home) = (lower.held(value), super::Home::Arena);
            let plain = lower.draft.typed_tensor(held, home, &shape, form, &halo, &label).ok()?;
            lower.copy(id, &label, &source, &plain).ok()?;
            lower.copy(id, &label, &plain.reshape(&out.shape())?, &out).ok()
        })
    }

    /// The view itself; a copy of it where the result has an epilogue or memory of its own. `copy` writes the result
    /// where there is no view.
    fn moved(
        &mut self,
        id: NodeId,
        view: Option<View>,
        copy: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Result<(), LowerError> {
        let value = Value::from(id);
        let epilogue = self.graph.node(id).epilogue.is_some();
        match view {
            Some(view) if !epilogue => {
                self.views.insert(value, view);
                Ok(())
            }
            Some(view) => {
                let out = self.result(id)?;
                self.through_epilogue(id, &out, vec![Ref::of(&view)], Program::copy())
            }
            None => {
                if copy(self).is_none() {
                    return Err(self.unsupported(id, "its elements cannot be addressed"));
                }
                let out = self.view(value);
                self.epilogue_in_place(id, &out)
            }
        }
    }

    /// [N, C·b², H, W] → [N, C, H·b, W·b]: the channel digits become the fine digits of rows and columns.
    pub(super) fn depth_to_space(
        &mut self,
        id: NodeId,
        block: i64,
        mode: DepthMode,
    ) -> Result<(), LowerError> {
        if let Some(conv) = self.layout.shuffled_conv(id) {
            return self.shuffled(id, conv, block, mode);
        }
        let (graph, out) = (self.graph, self.result(id)?);
        let source = self.view(graph.node(id).operands[0]);
        let [n, c, h, w] = source.axes.as_slice() else {
            return Err(self.unsupported(id, "it has not four axes"));
        };
        let channels = out.axes[1].size;
        let split = match mode {
            DepthMode::Dcr => [block, block, channels],
            DepthMode::Crd => [channels, block, block],
        };
        let alone = View { storage: source.storage, base: 0, axes: vec![c.clone()] };
        let fine = |outer: &Axis, inner: &Axis| -> Option<Axis> {
            let mut parts = outer.simplified().parts;
            parts.extend(inner.parts.iter().copied());
            let size = outer.size * inner.size;
            if parts.is_empty() {
                return Some(Axis::broadcast(size));
            }
            if outer.size > 1 && outer.parts.is_empty() {
                parts.insert(0, Part { extent: outer.size, stride: 0 });
            }
            Some(Axis { size, parts })
        };
        let digits = alone.reshape(&split).map(|v| v.axes);
        let from = match digits.as_deref() {
            Some([a, b, d]) => {
                let (row, column, channel) = match mode {
                    DepthMode::Dcr => (a, b, d),
                    DepthMode::Crd => (b, d, a),
                };
                let axes = [Some(n.clone()), Some(channel.clone()), fine(h, row), fine(w, column)];
                axes.into_iter().collect::<Option<Vec<_>>>().map(|axes| Ref::new(&source, axes))
            }
            _ => None,
        };
        let from = from.unwrap_or_else(|| {
            // Channel blocks that the digits cut: rows and columns keep their strides, and the channel's offset is
            // looked up by channel, row in block and column in block.
            shuffle_table(&source, block, mode, channels)
        });
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }
}

/// The pixel shuffle by one table over the result's channels, rows and columns.
fn shuffle_table(source: &View, block: i64, mode: DepthMode, channels: i64) -> Ref {
    let [n, c, h, w] = [0, 1, 2, 3].map(|i| &source.axes[i]);
    let (rows, columns) = (h.size * block, w.size * block);
    let mut offsets = Vec::with_capacity((channels * block * block) as usize);
    for channel in 0..channels {
        for row in 0..block {
            for column in 0..block {
                let index = match mode {
                    DepthMode::Dcr => (row * block + column) * channels + channel,
                    DepthMode::Crd => (channel * block + row) * block + column,
                };
                offsets.push(c.offset(index));
            }
        }
    }
    // Rows of the result: coarse digit from the image, fine digit from the table.
    let whole = |coarse: &Axis, size: i64| Axis {
        size,
        parts: vec![
            Part { extent: coarse.size, stride: coarse.stride().unwrap_or(0) },
            Part { extent: block, stride: 0 },
        ],
    };
    Ref {
        storage: source.storage,
        base: source.base,
        axes: vec![n.clone(), Axis::broadcast(channels), whole(h, rows), whole(w, columns)],
        tables: vec![RefTable::new(&[1, 2, 3], &[channels, block, block], offsets)],
        indirect: vec![],
    }
}

/// Lets a reference read these indices of an axis through a table.
fn gather(r: &mut Ref, source: &Axis, axis: usize, indices: impl Iterator<Item = i64>) {
    let offsets: Vec<i64> = indices.map(|i| source.offset(i)).collect();
    r.axes[axis] = Axis::broadcast(offsets.len() as i64);
    r.tables.push(RefTable::new(&[axis], &[offsets.len() as i64], offsets));
}
