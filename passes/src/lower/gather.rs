//! Gathers, and broadcasts: one nest each. Constant indices become a table of offsets; others are read at run time,
//! through the indirections of the nest.

use super::layout::sizes;
use super::nest::{Ref, RefIndirect, RefTable};
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::Program;
use rectify_ir::kernel::nest::place;
use rectify_ir::op::{Op, Source};

/// Longest table of offsets.
const MAX_TABLE: i64 = 1 << 12;

impl Lower<'_> {
    /// x repeated along axes of size 1 and along new axes in front.
    pub(super) fn expand(&mut self, id: NodeId) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let source = self.view(self.graph.node(id).operands[0]);
        let shape = out.shape();
        let places: Vec<usize> = (shape.len() - source.axes.len()..shape.len()).collect();
        let from = Ref::new(&source, source.align(&places, &shape));
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    /// The axis becomes the axes of the indices.
    pub(super) fn gather(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let operands = self.graph.node(id).own_operands();
        let index_shape = sizes(self.graph, operands[1]);
        let along: Vec<usize> = (axis..axis + index_shape.len()).collect();
        let Some(indices) = self.constant_indices(operands[1]) else {
            let source = self.strided(operands[0], &[axis])?;
            let axes = replaced(&source, axis, &index_shape);
            let mut from = Ref::new(&source, axes);
            from.indirect.push(RefIndirect::along(&source.axes[axis], 1));
            let indices = self.view(operands[1]);
            let indices = Ref::new(&indices, indices.align(&along, &out.shape()));
            return self.through_epilogue(id, &out, vec![from, indices], Program::copy());
        };
        let source = self.view(operands[0]);
        let gathered = &source.axes[axis];
        let offsets: Vec<i64> = indices.iter().map(|i| gathered.offset(place(*i, gathered.size))).collect();
        let mut from = Ref::new(&source, replaced(&source, axis, &index_shape));
        if index_shape.is_empty() {
            from.base += offsets[0];
        } else {
            from.tables.push(RefTable::new(&along, &index_shape, offsets));
        }
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    /// One place along the axis for each element.
    pub(super) fn gather_elements(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let operands = self.graph.node(id).own_operands();
        let shape = out.shape();
        let Some(indices) = self.constant_indices(operands[1]) else {
            let all: Vec<usize> = (0..shape.len()).collect();
            let source = self.strided(operands[0], &all)?;
            // The indices may cover a part of the other axes.
            let mut axes = source.axes.clone();
            for (a, size) in axes.iter_mut().zip(&shape) {
                *a = Axis::plain(*size, a.stride().unwrap_or(0));
            }
            axes[axis] = Axis::broadcast(shape[axis]);
            let mut from = Ref::new(&source, axes);
            from.indirect.push(RefIndirect::along(&source.axes[axis], 1));
            let indices = Ref::of(&self.view(operands[1]));
            return self.through_epilogue(id, &out, vec![from, indices], Program::copy());
        };
        let source = self.view(operands[0]);
        let mut offsets = Vec::with_capacity(indices.len());
        for (element, index) in indices.iter().enumerate() {
            let (mut rest, mut offset) = (element as i64, 0);
            for (a, from) in source.axes.iter().enumerate().rev() {
                let at = if a == axis { place(*index, from.size) } else { rest % shape[a] };
                offset += from.offset(at);
                rest /= shape[a];
            }
            offsets.push(offset);
        }
        let mut from = Ref::new(&source, shape.iter().map(|n| Axis::broadcast(*n)).collect());
        let all: Vec<usize> = (0..shape.len()).collect();
        from.tables.push(RefTable::new(&all, &shape, offsets));
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    /// The last axis of the indices holds a place along each of the axes of x from `batch` on.
    pub(super) fn gather_nd(&mut self, id: NodeId, batch: usize) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let operands = self.graph.node(id).own_operands();
        let indices = self.view(operands[1]);
        let (outer, depth) = (indices.axes.len() - 1, indices.axes[indices.axes.len() - 1].size as usize);
        let placed: Vec<usize> = (batch..batch + depth).collect();
        let source = self.strided(operands[0], &placed)?;
        let mut axes = source.axes[..batch].to_vec();
        axes.extend(indices.axes[batch..outer].iter().map(|a| Axis::broadcast(a.size)));
        axes.extend_from_slice(&source.axes[batch + depth..]);
        let mut from = Ref::new(&source, axes);
        let along = |(k, axis): (usize, &usize)| RefIndirect::along(&source.axes[*axis], 1 + k);
        from.indirect = placed.iter().enumerate().map(along).collect();
        let mut refs = vec![from];
        refs.extend(self.index_columns(id, &indices, &out.shape())?);
        self.through_epilogue(id, &out, refs, Program::copy())
    }

    /// The columns along the last axis of indices, each repeated along the axes of `shape` behind the others.
    pub(super) fn index_columns(
        &self,
        id: NodeId,
        indices: &View,
        shape: &[i64],
    ) -> Result<Vec<Ref>, LowerError> {
        let outer: Vec<usize> = (0..indices.axes.len() - 1).collect();
        let columns = 0..indices.axes[outer.len()].size;
        let column = |k: i64| {
            let column = indices.slice(outer.len(), k, 1, 1)?;
            let column = column.permute(&outer);
            Some(Ref::new(&column, column.align(&outer, shape)))
        };
        let columns = columns.map(column).collect::<Option<Vec<_>>>();
        columns.ok_or_else(|| self.unsupported(id, "its indices cannot be addressed column by column"))
    }

    /// The value, with one stride along each of these axes: itself, or a copy in row-major order.
    pub(super) fn strided(&mut self, value: Value, axes: &[usize]) -> Result<View, LowerError> {
        let view = self.view(value);
        if axes.iter().all(|a| view.axes[*a].stride().is_some()) {
            return Ok(view);
        }
        let (shape, label) = (view.shape(), format!("{} copy", self.label(value.node)));
        let halo = Halo::none(shape.len());
        let copy =
            self.draft.typed_tensor(self.held(value), Home::Arena, &shape, Form::Plain, &halo, &label)?;
        self.copy(value.node, &label, &view, &copy)?;
        Ok(copy)
    }

    /// The indices, where the model gives them as numbers, and not too many.
    fn constant_indices(&self, value: Value) -> Option<Vec<i64>> {
        let Op::Param(Source::Data(literal)) = &self.graph.node(value.node).op else { return None };
        let n = sizes(self.graph, value).iter().product::<i64>();
        if n > MAX_TABLE {
            return None;
        }
        (0..n as usize).map(|i| literal.get_f64(i).map(|v| v as i64)).collect()
    }
}

impl RefIndirect {
    /// Places along an axis that has one stride, in operand `operand`.
    pub fn along(axis: &Axis, operand: usize) -> RefIndirect {
        RefIndirect { operand, size: axis.size, stride: axis.stride().unwrap_or(0) }
    }
}

/// The axes of a view with axis `axis` replaced by axes that do not move.
fn replaced(view: &View, axis: usize, by: &[i64]) -> Vec<Axis> {
    let mut axes = view.axes[..axis].to_vec();
    axes.extend(by.iter().map(|n| Axis::broadcast(*n)));
    axes.extend_from_slice(&view.axes[axis + 1..]);
    axes
}
