//! Gathers at constant indices, and broadcasts: one nest each, which reads through a table of offsets or with stride 0.

use super::layout::sizes;
use super::nest::{Ref, RefTable};
use super::view::Axis;
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::interp::gather_place;
use rectify_ir::kernel::Program;
use rectify_ir::op::{Op, Source};

/// Longest table of offsets.
const MAX_TABLE: i64 = 1 << 16;

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

    /// The axis becomes the axes of the indices, whose offsets are in a table.
    pub(super) fn gather(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let operands = self.graph.node(id).own_operands();
        let (source, indices) = (self.view(operands[0]), self.indices(id, operands[1])?);
        let index_shape = sizes(self.graph, operands[1]);
        let gathered = &source.axes[axis];
        let offset = |i: &i64| gathered.offset(gather_place(*i, gathered.size as usize) as i64);
        let offsets: Vec<i64> = indices.iter().map(offset).collect();

        let mut axes = source.axes[..axis].to_vec();
        axes.extend(index_shape.iter().map(|n| Axis::broadcast(*n)));
        axes.extend_from_slice(&source.axes[axis + 1..]);
        let mut from = Ref::new(&source, axes);
        if index_shape.is_empty() {
            from.base += offsets[0];
        } else {
            let along: Vec<usize> = (axis..axis + index_shape.len()).collect();
            from.tables.push(RefTable::new(&along, &index_shape, offsets));
        }
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    /// One table over all axes.
    pub(super) fn gather_elements(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let operands = self.graph.node(id).own_operands();
        let (source, indices) = (self.view(operands[0]), self.indices(id, operands[1])?);
        let shape = out.shape();
        let mut offsets = Vec::with_capacity(indices.len());
        for (element, index) in indices.iter().enumerate() {
            let (mut rest, mut offset) = (element as i64, 0);
            for (a, from) in source.axes.iter().enumerate().rev() {
                let place =
                    if a == axis { gather_place(*index, from.size as usize) as i64 } else { rest % shape[a] };
                offset += from.offset(place);
                rest /= shape[a];
            }
            offsets.push(offset);
        }
        let mut from = Ref::new(&source, shape.iter().map(|n| Axis::broadcast(*n)).collect());
        let all: Vec<usize> = (0..shape.len()).collect();
        from.tables.push(RefTable::new(&all, &shape, offsets));
        self.through_epilogue(id, &out, vec![from], Program::copy())
    }

    /// The indices, which the model must give as numbers.
    fn indices(&self, id: NodeId, value: Value) -> Result<Vec<i64>, LowerError> {
        let Op::Param(Source::Data(literal)) = &self.graph.node(value.node).op else {
            return Err(self.unsupported(id, "its indices are computed or come from a file"));
        };
        let n = sizes(self.graph, value).iter().product::<i64>();
        if n > MAX_TABLE {
            return Err(self.unsupported(id, "it has more than 65536 indices"));
        }
        let all = (0..n as usize).map(|i| literal.get_f64(i).map(|v| v as i64)).collect::<Option<Vec<_>>>();
        all.ok_or_else(|| self.unsupported(id, "its indices are no numbers"))
    }
}
