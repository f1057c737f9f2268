//! Moves cuts behind what reads them, to the outputs.
//!
//! **What.** A size that is known at run time alone has a bound: the axis before its cut. Every operation on cut values is
//! computed on the whole, with what lies behind the cut masked where it would count, and its result is cut instead. A
//! size that follows from others (`4*K`) is bounded by the same expression of their bounds.
//! **Before → after.** `reduce_sum(cut(x, n))` → `reduce_sum(select(places < n, x, 0))`; `relu(cut(x, n))` →
//! `cut(relu(x), n)`.
//! **Requires** types. **Leaves** cuts that outputs alone read, or cuts before outputs.

mod lengths;
mod movement;
mod reshape;
mod rules;
#[cfg(test)]
mod tests;

use crate::pieces::{Made, Pieces};
use crate::pipeline::PassError;
use lengths::Lengths;
use rectify_ir::bind;
use rectify_ir::graph::{Graph, Node, NodeId, Value};
use rectify_ir::op::Op;
use rectify_ir::{Dim, TensorType};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub(crate) fn sink_cuts(graph: &mut Graph) -> Result<(), PassError> {
    let data = bind::data_dims(graph);
    if data.is_empty() || is_sunk(graph) {
        return Ok(());
    }
    let order = graph.topo_order();
    let mut sink =
        Sink { lengths: Lengths::new(data), pieces: Pieces::new(graph, "sink-cuts"), whole: HashMap::new() };
    let (mut pending, mut waiting) = (VecDeque::from(order), 0);
    while let Some(id) = pending.pop_front() {
        // A size may be asked for before the cut that makes it known.
        if waiting <= pending.len() && !sink.is_ready(id) {
            pending.push_back(id);
            waiting += 1;
            continue;
        }
        waiting = 0;
        sink.pieces.on_behalf_of(id);
        sink.node(id)?;
    }
    sink.outputs()?;
    graph.remove_dead();
    Ok(())
}

/// Whether outputs and cuts alone read cuts.
fn is_sunk(graph: &Graph) -> bool {
    let is_cut = |id: NodeId| matches!(graph.node(id).op, Op::Cut { .. });
    let cuts = graph.node_ids().into_iter().filter(|id| is_cut(*id));
    cuts.flat_map(|id| graph.users(id.into())).all(|(user, operand)| is_cut(user) && operand == 0)
}

struct Sink<'g> {
    pieces: Pieces<'g>,
    lengths: Lengths,
    /// The whole of each value that has an axis whose size is known at run time alone.
    whole: HashMap<Value, Value>,
}

impl Sink<'_> {
    /// Whether the wholes of the operands and the bounds of all sizes are known.
    fn is_ready(&self, id: NodeId) -> bool {
        let node = self.pieces.graph.node(id);
        let of_cut = match &node.op {
            Op::Cut { size, .. } => size.as_sym(),
            _ => None,
        };
        let mut names = BTreeSet::new();
        node.types.iter().flat_map(|t| &t.shape).for_each(|d| d.collect_symbols(&mut names));
        let known = |name: &Arc<str>| of_cut == Some(&**name) || self.lengths.is_known(name);
        let whole = |v: &Value| self.whole.contains_key(v) || self.axes(*v).is_empty();
        names.iter().all(known) && node.operands.iter().all(whole)
    }

    fn node(&mut self, id: NodeId) -> Result<(), PassError> {
        let node = self.pieces.graph.node(id).clone();
        let concerned =
            |sink: &Self, v: &Value| sink.pieces.shape(*v).iter().any(|d| sink.lengths.concerns(d));
        let results: Vec<Value> =
            (0..node.types.len()).map(|i| Value { node: id, result: i as u32 }).collect();
        if !node.operands.iter().chain(&results).any(|v| concerned(self, v)) {
            return Ok(());
        }
        if let Op::Cut { axis, size } = &node.op {
            let whole = self.cut(&node, *axis, size)?;
            self.whole.insert(id.into(), whole);
            return Ok(());
        }
        let wholes = self.rule(id, &node)?;
        for (result, whole) in results.into_iter().zip(wholes) {
            if concerned(self, &result) {
                self.whole.insert(result, whole);
            } else {
                self.pieces.graph.replace_uses(result, whole);
            }
        }
        Ok(())
    }

    /// The whole of what is cut, as long as the size can be.
    fn cut(&mut self, node: &Node, axis: usize, size: &Dim) -> Made {
        let (x, count) = (self.whole(node.operands[0]), node.operands[1]);
        let all = self.pieces.shape(x)[axis].clone();
        if let Some(name) = size.as_sym() {
            self.lengths.define(&mut self.pieces, name, &all, count)?;
        }
        let bound = self.bound(size)?;
        if all == bound {
            return Ok(x);
        }
        match (all.as_const(), bound.as_const()) {
            (Some(all), Some(bound)) if bound < all => self.pieces.part(x, axis, Dim::Const(0), Dim::Const(bound)),
            _ => Err(self.pieces.unsupported(format!(
                "the size {size} has two bounds, {bound} and {all}: give cuts of different tensors different names"
            ))),
        }
    }

    /// The value without cuts.
    fn whole(&self, value: Value) -> Value {
        self.whole.get(&value).copied().unwrap_or(value)
    }

    /// The greatest size.
    fn bound(&self, size: &Dim) -> Result<Dim, PassError> {
        let facts = &self.pieces.graph.facts;
        self.lengths.bound(size, facts).map_err(|message| self.pieces.unsupported(message))
    }

    fn bounds(&self, sizes: &[Dim]) -> Result<Vec<Dim>, PassError> {
        sizes.iter().map(|d| self.bound(d)).collect()
    }

    /// Axes of a value whose size is known at run time alone.
    fn axes(&self, value: Value) -> Vec<usize> {
        let shape = self.pieces.shape(value);
        (0..shape.len()).filter(|a| self.lengths.concerns(&shape[*a])).collect()
    }

    fn concerns(&self, value: Value, axis: usize) -> bool {
        self.lengths.concerns(&self.pieces.shape(value)[axis])
    }

    /// A size as a number i64[1], known when the model runs.
    fn length(&mut self, size: &Dim) -> Made {
        self.lengths.value(&mut self.pieces, size)
    }

    /// Cuts the outputs.
    fn outputs(&mut self) -> Result<(), PassError> {
        for at in 0..self.pieces.graph.outputs.len() {
            let value = self.pieces.graph.outputs[at].value;
            let Some(mut whole) = self.whole.get(&value).copied() else { continue };
            self.pieces.on_behalf_of(value.node);
            let TensorType { shape, .. } = self.pieces.graph.ty(value).clone();
            for axis in self.axes(value) {
                let count = self.length(&shape[axis])?;
                whole = self.pieces.push(Op::Cut { axis, size: shape[axis].clone() }, &[whole, count])?;
            }
            self.pieces.graph.outputs[at].value = whole;
        }
        Ok(())
    }
}
