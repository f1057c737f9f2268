//! Scatters: x is copied, and the updates are written to it, one after the other, at addresses known at run time.

use super::nest::{self, NestRequest, Ref, RefIndirect};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, Program, Reg, Step};
use rectify_ir::op::ScatterReduction;

impl Lower<'_> {
    pub(super) fn scatter_elements(
        &mut self,
        id: NodeId,
        axis: usize,
        reduction: ScatterReduction,
    ) -> Result<(), LowerError> {
        let out = self.scattered(id)?;
        let operands = self.graph.node(id).own_operands();
        let (indices, updates) = (self.view(operands[1]), self.view(operands[2]));
        let moves = |(i, size): (usize, i64)| match i == axis {
            true => Axis::broadcast(size),
            false => Axis::plain(size, out.axes[i].stride().unwrap_or(0)),
        };
        let axes = updates.shape().into_iter().enumerate().map(moves).collect();
        self.scatter(id, &out, axes, &[axis], vec![Ref::of(&indices)], &updates, reduction)
    }

    pub(super) fn scatter_nd(&mut self, id: NodeId, reduction: ScatterReduction) -> Result<(), LowerError> {
        let out = self.scattered(id)?;
        let operands = self.graph.node(id).own_operands();
        let (indices, updates) = (self.view(operands[1]), self.view(operands[2]));
        let (rows, depth) = (indices.axes.len() - 1, indices.axes[indices.axes.len() - 1].size as usize);
        let mut axes: Vec<Axis> = indices.axes[..rows].iter().map(|a| Axis::broadcast(a.size)).collect();
        axes.extend_from_slice(&out.axes[depth..]);
        let columns = self.index_columns(id, &indices, &updates.shape())?;
        self.scatter(id, &out, axes, &(0..depth).collect::<Vec<_>>(), columns, &updates, reduction)
    }

    /// The result, which holds x.
    fn scattered(&mut self, id: NodeId) -> Result<View, LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let x = self.view(self.graph.node(id).operands[0]);
        self.copy(id, &label, &x, &out)?;
        Ok(out)
    }

    /// Writes the updates, whose axes move the output as `axes` say and its axes `placed` by the places in `indices`.
    #[expect(clippy::too_many_arguments, reason = "the parts of one nest")]
    fn scatter(
        &mut self,
        id: NodeId,
        out: &View,
        axes: Vec<Axis>,
        placed: &[usize],
        indices: Vec<Ref>,
        updates: &View,
        reduction: ScatterReduction,
    ) -> Result<(), LowerError> {
        let op = match reduction {
            ScatterReduction::None => None,
            ScatterReduction::Add => Some(Binary::Add),
            ScatterReduction::Mul => Some(Binary::Mul),
            ScatterReduction::Max => Some(Binary::Max),
            ScatterReduction::Min => Some(Binary::Min),
        };
        let first = if op.is_some() { 2 } else { 1 };
        let mut to = Ref::new(out, axes);
        let along = |(k, axis): (usize, &usize)| RefIndirect::along(&out.axes[*axis], first + k);
        to.indirect = placed.iter().enumerate().map(along).collect();
        let (mut operands, mut body) = (vec![Ref::of(updates)], Program::copy());
        if let Some(op) = op {
            operands.push(to.clone());
            let there = body.push(Step::Load(1));
            body.binary(op, there, Reg(0));
        }
        operands.extend(indices);
        let request = NestRequest::map(id, &self.label(id), out, operands, body);
        let start = self.draft.steps.len();
        nest::emit(&mut self.draft, NestRequest { output: to, in_place: false, ..request })?;
        self.draft.steps[start..].iter_mut().for_each(|step| step.overwrites = true);
        Ok(())
    }
}
