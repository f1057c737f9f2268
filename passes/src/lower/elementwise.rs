//! Elementwise nodes and epilogues as loop nests.

use super::layout::sizes;
use super::nest::{self, NestRequest, Ref};
use super::program::{Expression, Load};
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::{Epilogue, Node, NodeId, Value};
use rectify_ir::kernel::{Binary, Program, Step, Unary};
use rectify_ir::op::Op;

/// Most operands of a nest; one place is kept for the mask of padded lanes.
const MAX_LOADS: usize = 11;

impl Lower<'_> {
    /// The operand itself.
    pub(super) fn identity(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (value, source) = (Value::from(id), self.graph.node(id).operands[0]);
        let view = self.view(source);
        self.views.insert(value, view);
        Ok(())
    }

    pub(super) fn elementwise(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let node = graph.node(id);
        let mut e = Expression::empty(0);
        e.node(graph, node).map_err(self.not_elementwise(id))?;
        let (body, loads) = e.finish();
        if loads.is_empty() {
            return self.through_epilogue(id, &out, vec![], body);
        }
        let operands = loads.iter().map(|load| self.operand(load, &out)).collect();
        if let Op::Cast { to: to @ (DType::F16 | DType::BF16) } = node.op {
            // Held as f32, but of the values that the narrow type has.
            let (shape, label) = (out.shape(), self.label(id));
            let halo = Halo::none(shape.len());
            let narrow = self.draft.typed_tensor(to, Home::Arena, &shape, Form::Plain, &halo, &label)?;
            nest::emit(&mut self.draft, NestRequest::map(id, &label, &narrow, operands, body))?;
            return self.through_epilogue(id, &out, vec![Ref::of(&narrow)], Program::copy());
        }
        self.through_epilogue(id, &out, operands, body)
    }

    pub(super) fn batch_norm(&mut self, id: NodeId, eps: f64) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let operands = graph.node(id).own_operands();
        let rank = graph.ty(id.into()).rank();
        let mut e = Expression::empty(0);
        let x = e.value(graph, operands[0], (0..rank).collect());
        let [scale, shift, mean, var] = [1, 2, 3, 4].map(|i| e.value(graph, operands[i], vec![1]));
        let centred = e.binary(Binary::Sub, x, mean);
        let eps = e.constant(eps);
        let var = e.binary(Binary::Add, var, eps);
        let deviation = e.unary(Unary::Sqrt, var);
        let normal = e.binary(Binary::Div, centred, deviation);
        let scaled = e.binary(Binary::Mul, normal, scale);
        e.binary(Binary::Add, scaled, shift);
        let (body, loads) = e.finish();
        let operands = loads.iter().map(|load| self.operand(load, &out)).collect();
        self.through_epilogue(id, &out, operands, body)
    }

    /// Computes `body` over the operands and the node's epilogue over its result: in one nest if it can hold all.
    pub(super) fn through_epilogue(
        &mut self,
        id: NodeId,
        out: &View,
        mut operands: Vec<Ref>,
        body: Program,
    ) -> Result<(), LowerError> {
        let (graph, label) = (self.graph, self.label(id));
        let mut e = Expression::after(body.clone(), operands.len());
        let acc = e.program.result;
        e.epilogue(graph, graph.node(id), acc).map_err(self.not_elementwise(id))?;
        let (fused, loads) = e.finish();
        if operands.len() + loads.len() > MAX_LOADS {
            nest::emit(&mut self.draft, NestRequest::map(id, &label, out, operands, body))?;
            return self.epilogue_in_place(id, out);
        }
        for load in &loads {
            operands.push(self.operand(load, out));
        }
        nest::emit(&mut self.draft, NestRequest::map(id, &label, out, operands, fused))
    }

    /// Applies the node's epilogue to what its steps have written.
    pub(super) fn epilogue_in_place(&mut self, id: NodeId, out: &View) -> Result<(), LowerError> {
        let graph = self.graph;
        let node = graph.node(id);
        let Some(epilogue) = &node.epilogue else { return Ok(()) };
        let mut e = Expression::empty(1);
        let acc = e.step(Step::Load(0));
        e.epilogue(graph, node, acc).map_err(self.not_elementwise(id))?;
        let (body, loads) = e.finish();
        if loads.len() < MAX_LOADS {
            let mut operands = vec![Ref::of(out)];
            for load in &loads {
                operands.push(self.operand(load, out));
            }
            let label = format!("{} epilogue", self.label(id));
            return nest::emit(&mut self.draft, NestRequest::map(id, &label, out, operands, body));
        }
        self.step_by_step(id, node, epilogue, out)
    }

    /// An epilogue with more operands than any kernel takes: a nest for every step.
    fn step_by_step(
        &mut self,
        id: NodeId,
        node: &Node,
        epilogue: &Epilogue,
        out: &View,
    ) -> Result<(), LowerError> {
        let shape = out.shape();
        let form = if self.is_blocked(out) { Form::Blocked } else { Form::Plain };
        let mut results: Vec<View> = Vec::with_capacity(epilogue.steps.len());
        for (index, step) in epilogue.steps.iter().enumerate() {
            let label = format!("{} epilogue {index}", self.label(id));
            let to = if index + 1 == epilogue.steps.len() {
                out.clone()
            } else {
                let (held, halo) = (self.held(id.into()), Halo::none(shape.len()));
                self.draft.typed_tensor(held, Home::Arena, &shape, form, &halo, &label)?
            };
            // The step alone, over loads of the accumulator and of earlier steps.
            let mut e = Expression::empty(1 + results.len());
            let mut args = Vec::with_capacity(step.args.len());
            for (i, arg) in step.args.iter().enumerate() {
                args.push(e.argument(self.graph, node, &step.op, i, *arg, |s| {
                    Step::Load(s.map_or(0, |s| s as u8 + 1))
                }));
            }
            e.apply(&step.op, &args).map_err(self.not_elementwise(id))?;
            let (body, loads) = e.finish();
            // Only what the step reads becomes an operand.
            let mut operands = vec![Ref::of(out)];
            operands.extend(results.iter().map(Ref::of));
            operands.extend(loads.iter().map(|load| self.operand(load, out)).collect::<Vec<_>>());
            let (body, operands) = only_used(body, operands);
            nest::emit(&mut self.draft, NestRequest::map(id, &label, &to, operands, body))?;
            results.push(to);
        }
        Ok(())
    }

    /// What a load reads for a result that lies as `out` does.
    pub(super) fn operand(&mut self, load: &Load, out: &View) -> Ref {
        let shape = out.shape();
        let size = sizes(self.graph, load.value);
        let known = self.views.contains_key(&load.value) && !self.layout.is_param(load.value);
        if !known && self.is_blocked(out) {
            let channel = load.places.iter().position(|p| *p == 1).filter(|i| size[*i] > 1);
            let only_channel =
                channel.is_some_and(|c| size.iter().enumerate().all(|(i, n)| i == c || *n == 1));
            let trailing = load.places.first().copied().unwrap_or(2);
            let in_order = load.places.iter().copied().eq(trailing..shape.len());
            if only_channel {
                let storage = self.channel_pack(load.value, 1, shape[1], self.lanes);
                let mut axes: Vec<Axis> = shape.iter().map(|n| Axis::broadcast(*n)).collect();
                axes[1] = Axis::blocked(shape[1], self.lanes, 4 * self.lanes);
                return Ref { storage, base: 0, axes, tables: vec![], indirect: vec![] };
            }
            if channel.is_some() && in_order && trailing <= 1 {
                let view = self.blocked_pack(load.value, trailing);
                let places: Vec<usize> = (0..shape.len()).collect();
                return Ref::new(&view, view.align(&places, &shape));
            }
        }
        let view = self.view(load.value);
        Ref::new(&view, view.align(&load.places, &shape))
    }
}

/// The program and its operands without those that no step loads.
fn only_used(mut body: Program, operands: Vec<Ref>) -> (Program, Vec<Ref>) {
    let mut used: Vec<u8> = Vec::new();
    for step in &mut body.steps {
        if let Step::Load(k) = step {
            let at = used.iter().position(|u| u == k).unwrap_or_else(|| {
                used.push(*k);
                used.len() - 1
            });
            *k = at as u8;
        }
    }
    let kept = used.iter().map(|k| operands[*k as usize].clone()).collect();
    (body, kept)
}
