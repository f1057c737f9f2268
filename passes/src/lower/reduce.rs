//! Reductions, softmax's and norms' building block: one nest each.

use super::layout::{Layout, sizes};
use super::nest::{self, NestRequest, Ref};
use super::program::Expression;
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::kernel::{Binary, Program, Reduce};
use rectify_ir::op::{Op, ReduceKind};

impl Lower<'_> {
    pub(super) fn reduce(
        &mut self,
        id: NodeId,
        kind: ReduceKind,
        axes: &[usize],
        keep: bool,
    ) -> Result<(), LowerError> {
        let (graph, label, out) = (self.graph, self.label(id), self.result(id)?);
        let Elements { like: x, operands, body } = self.elements(id)?;
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
        let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
        let last = |r: Ref| Ref { axes: order.iter().map(|a| r.axes[*a].clone()).collect(), ..r };
        let operands = operands.into_iter().map(last).collect();
        let reduced = axes.iter().map(|a| x.axes[*a].size).collect();
        let request = NestRequest::reduce(id, &label, &narrow, operands, body, reduced, op);
        nest::emit(&mut self.draft, request.finish(finals, finalize))?;
        if fits { Ok(()) } else { self.epilogue_in_place(id, &out) }
    }

    /// What a reduction reads: its operand, or what the elementwise node before it does.
    fn elements(&mut self, reduce: NodeId) -> Result<Elements, LowerError> {
        let graph = self.graph;
        let Some(id) = self.layout.reduced(reduce) else {
            let like = self.view(graph.node(reduce).operands[0]);
            return Ok(Elements { operands: vec![Ref::of(&like)], like, body: Program::copy() });
        };
        let node = graph.node(id);
        let mut e = Expression::empty(0);
        e.node(graph, node).map_err(self.not_elementwise(id))?;
        let acc = e.program.result;
        e.epilogue(graph, node, acc).map_err(self.not_elementwise(id))?;
        let (body, loads) = e.finish();
        let Some(whole) = whole_operand(graph, &self.layout, id) else {
            return Err(self.unsupported(id, "it has no operand of its own shape"));
        };
        let like = self.view(whole);
        let operands = loads.iter().map(|load| self.operand(load, &like)).collect();
        Ok(Elements { like, operands, body })
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
        let (held, halo) = (self.held(id.into()), Halo::none(shape.len()));
        self.draft.typed_tensor(held, Home::Arena, &shape, form, &halo, &label)
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

/// The elements that a reduction reads: as `like` lies, computed by `body` from the operands.
struct Elements {
    like: View,
    operands: Vec<Ref>,
    body: Program,
}

/// Most operands of a node that a reduction computes: its own final ones and a mask have places too.
const MOST_OPERANDS: usize = 4;

/// The elementwise node that the reduction can compute while it reads: no other node does, and it is no result.
pub(super) fn reduced_producer(graph: &Graph, layout: &Layout, reduce: NodeId) -> Option<NodeId> {
    let node = graph.node(reduce);
    let value = *node.operands.first()?;
    let producer = graph.node(value.node);
    let elementwise = match producer.op {
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Prelu { .. } => true,
        Op::Map => producer.epilogue.is_some(),
        _ => false,
    };
    let floats = |v: &Value| graph.ty(*v).dtype == DType::F32;
    let fits = matches!(node.op, Op::Reduce { .. })
        && elementwise
        && !layout.is_param(value)
        && producer.operands.len() <= MOST_OPERANDS
        && floats(&value)
        && producer.operands.iter().all(floats)
        && graph.use_count(value) == 1
        && graph.outputs.iter().all(|o| o.value != value);
    (fits && whole_operand(graph, layout, value.node).is_some()).then_some(value.node)
}

/// An operand of the node that has its shape and form.
fn whole_operand(graph: &Graph, layout: &Layout, id: NodeId) -> Option<Value> {
    let value = Value::from(id);
    let shape = sizes(graph, value);
    let fits = |v: &&Value| {
        !layout.is_param(**v)
            && !layout.is_absorbed(v.node)
            && sizes(graph, **v) == shape
            && layout.form(**v) == layout.form(value)
    };
    graph.node(id).operands.iter().find(fits).copied()
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
        let n = program.constant_reg(count as f64);
        program.binary(Binary::Div, acc, n);
    }
    program
}
