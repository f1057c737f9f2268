//! Reverse-mode gradients: Graph → Graph.
//!
//! What: for a scalar result and some values that it depends on, adds the nodes that compute its derivative by each.
//! Before → after: `loss` → `loss` and a gradient of the type of each value, in the same graph.
//! Requires: a typed graph, nothing fused. Sizes may be symbolic where no rule has to count elements.
//! Leaves: forward nodes as they were; gradient nodes behind them, named `gradient` in their provenance.
//!
//! Conventions where a function has a corner: a rectifier's derivative at 0 is its slope below 0; `clip` and its kin are
//! flat at their bounds; `max` and `min` of equal operands share the gradient equally, and so do equal elements of a
//! reduction and of a pyramid's bin; a max-pool hands it to the first of equal elements. Nothing divides by a slope.
//! Operands that a result depends on in steps only (comparisons, `floor`, `sign`) get none.

mod contraction;
mod elementwise;
mod movement;
mod norm;
mod places;
mod pool;
mod reduce;
mod rule;

use rectify_ir::graph::{Graph, NodeId, NodeSet, Value};
use rectify_ir::op::{Binary, Op};
use rectify_ir::shape::ShapeError;
use rule::Rule;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GradientError {
    #[error("the gradient of {result} is asked for, but only a float of rank 0 has one")]
    NotScalar { result: String },
    #[error("{at}: {op} has no gradient: {reason}")]
    NoRule { at: String, op: &'static str, reason: String },
    #[error("{at}: the gradient of {op}: {error}")]
    Shape { at: String, op: &'static str, error: ShapeError },
}

/// The derivative of `result` by each of `by`; `None` where it does not depend on the value, or in steps only.
pub fn gradient(graph: &mut Graph, result: Value, by: &[Value]) -> Result<Vec<Option<Value>>, GradientError> {
    let ty = graph.ty(result);
    if ty.rank() != 0 || !ty.dtype.is_float() {
        return Err(GradientError::NotScalar { result: ty.to_string() });
    }
    let one = graph.push_const(1.0);
    pullback(graph, &[(result, one)], by)
}

/// As [`gradient`], from values whose derivatives are known: each with its own, of its type.
pub fn pullback(
    graph: &mut Graph,
    from: &[(Value, Value)],
    by: &[Value],
) -> Result<Vec<Option<Value>>, GradientError> {
    let order = graph.topo_order();
    let active = active(graph, &order, by);
    let mut gradients: FxHashMap<Value, Value> = FxHashMap::default();
    gradients.extend(from.iter().copied().filter(|(value, _)| active.contains(&value.node)));
    for node in order.into_iter().rev().filter(|n| active.contains(n)) {
        let results = graph.node(node).types.len() as u32;
        let incoming: Vec<Option<Value>> =
            (0..results).map(|result| gradients.get(&Value { node, result }).copied()).collect();
        if incoming.iter().all(Option::is_none) || graph.node(node).operands.is_empty() {
            continue;
        }
        let wanted: Vec<bool> = graph.node(node).operands.iter().map(|v| active.contains(&v.node)).collect();
        let first = graph.node_ids().last().map_or(0, |id| id.index() + 1);
        let outgoing = Rule::new(graph, node, &wanted).apply(&incoming)?;
        let operands = graph.node(node).operands.clone();
        for ((operand, gradient), wanted) in operands.into_iter().zip(outgoing).zip(wanted) {
            let (Some(gradient), true) = (gradient, wanted) else { continue };
            let sum = match gradients.get(&operand) {
                None => gradient,
                Some(sum) => {
                    let add = graph.push(Op::Binary(Binary::Add), &[*sum, gradient]);
                    add.map_err(|error| GradientError::Shape {
                        at: crate::log::label(graph, node),
                        op: "add",
                        error,
                    })?
                }
            };
            gradients.insert(operand, sum);
        }
        mark(graph, node, first);
    }
    Ok(by.iter().map(|v| gradients.get(v).copied()).collect())
}

/// Nodes that depend on one of the values.
fn active(graph: &Graph, order: &[NodeId], by: &[Value]) -> NodeSet {
    let mut active: NodeSet = by.iter().map(|v| v.node).collect();
    for id in order {
        if graph.node(*id).operands.iter().any(|v| active.contains(&v.node)) {
            active.insert(*id);
        }
    }
    active
}

/// Records where the nodes from number `first` on come from.
fn mark(graph: &mut Graph, node: NodeId, first: usize) {
    let provenance = crate::edit::provenance(graph, &[node], "gradient");
    let name: Option<Arc<str>> = graph.node(node).name.as_ref().map(|n| format!("{n}.gradient").into());
    for id in graph.node_ids().into_iter().filter(|id| id.index() >= first) {
        if matches!(graph.node(id).op, Op::Const(_) | Op::Param(_)) {
            continue;
        }
        let new = graph.node_mut(id);
        *new.provenance = provenance.clone();
        *new.name = name.clone();
    }
}
