//! Reductions, softmax's and norms' building block: one nest each.

use super::layout::sizes;
use super::nest::{self, NestRequest, Ref};
use super::program::Expression;
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, Program, Reduce};
use rectify_ir::op::ReduceKind;

impl Lower<'_> {
    pub(super) fn reduce(
        &mut self,
        id: NodeId,
        kind: ReduceKind,
        axes: &[usize],
        keep: bool,
    ) -> Result<(), LowerError> {
        let (graph, label, out) = (self.graph, self.label(id), self.result(id)?);
        let x = self.view(graph.node(id).operands[0]);
        // The result without the reduced axes, which have size 1 or are not there.
        let kept: Vec<usize> = (0..x.axes.len()).filter(|a| !axes.contains(a)).collect();
        let narrow = if keep { out.permute(&kept) } else { out.clone() };
        let count: i64 = axes.iter().map(|a| x.axes[*a].size).product();
        let (mut e, mut acc) = Expression::over_acc();
        if kind == ReduceKind::Mean {
            let n = e.constant(count as f64);
            acc = e.binary(Binary::Div, acc, n);
        }
        e.epilogue(graph, graph.node(id), acc).map_err(self.not_elementwise(id))?;
        let (fused, loads) = e.finish();
        let fits = loads.len() < 8;
        let finals: Vec<Ref> = if fits {
            loads
                .iter()
                .map(|load| {
                    let mut r = self.operand(load, &out);
                    if keep {
                        r.axes = kept.iter().map(|k| r.axes[*k].clone()).collect();
                    }
                    r
                })
                .collect()
        } else {
            vec![]
        };
        let finalize = if fits { fused } else { mean_of(kind, count) };
        let op = match kind {
            ReduceKind::Sum | ReduceKind::Mean => Reduce::Sum,
            ReduceKind::Max => Reduce::Max,
            ReduceKind::Min => Reduce::Min,
            ReduceKind::Prod => Reduce::Product,
        };
        let (operand, reduced) = reduced_last(&x, &kept, axes);
        let request = NestRequest::reduce(id, &label, &narrow, vec![operand], Program::copy(), reduced, op);
        nest::emit(&mut self.draft, request.finish(finals, finalize))?;
        if fits { Ok(()) } else { self.epilogue_in_place(id, &out) }
    }

    /// A temporary of the node without the reduced axes, in blocks where `like` is.
    pub(super) fn statistic(
        &mut self,
        id: NodeId,
        name: &str,
        like: &View,
        axes: &[usize],
    ) -> Result<View, LowerError> {
        let shape: Vec<i64> =
            like.axes.iter().enumerate().map(|(i, a)| if axes.contains(&i) { 1 } else { a.size }).collect();
        let blocked = self.is_blocked(like) && !axes.contains(&1);
        let form = if blocked { Form::Blocked } else { Form::Plain };
        let label = format!("{} {name}", self.label(id));
        self.draft.tensor(Home::Arena, &shape, form, &Halo::none(shape.len()), &label)
    }

    /// Reduces `body` over `axes` of the operands, all of which have the axes of `out` (size 1 where reduced).
    #[expect(clippy::too_many_arguments, reason = "the parts of one nest")]
    pub(super) fn reduce_into(
        &mut self,
        id: NodeId,
        out: &View,
        axes: &[usize],
        operands: &[&View],
        body: Program,
        op: Reduce,
        finalize: Program,
    ) -> Result<(), LowerError> {
        let rank = out.axes.len();
        let shape: Vec<i64> = operands[0].shape();
        let kept: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).collect();
        let places: Vec<usize> = (0..rank).collect();
        let mut reduced = vec![];
        let refs = operands
            .iter()
            .map(|view| {
                let whole = View { axes: view.align(&places, &shape), ..(*view).clone() };
                let (r, sizes) = reduced_last(&whole, &kept, axes);
                reduced = sizes;
                r
            })
            .collect();
        let label = self.label(id);
        let narrow = out.permute(&kept);
        let request = NestRequest::reduce(id, &label, &narrow, refs, body, reduced, op);
        nest::emit(&mut self.draft, request.finish(vec![], finalize))
    }

    /// The sizes of the node's first operand.
    pub(super) fn operand_sizes(&self, id: NodeId) -> Vec<i64> {
        sizes(self.graph, self.graph.node(id).operands[0])
    }
}

/// A reference to all of `x`, with the reduced axes last, and their sizes.
fn reduced_last(x: &View, kept: &[usize], axes: &[usize]) -> (Ref, Vec<i64>) {
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let places: Vec<Axis> = order.iter().map(|a| x.axes[*a].clone()).collect();
    (Ref::new(x, places), axes.iter().map(|a| x.axes[*a].size).collect())
}

/// Finishes a reduction of `count` elements.
fn mean_of(kind: ReduceKind, count: i64) -> Program {
    let mut program = Program::acc();
    if kind == ReduceKind::Mean {
        let acc = program.result;
        let n = program.constant_reg(count as f32);
        program.binary(Binary::Div, acc, n);
    }
    program
}
