//! Small edits of a graph that keep names and provenance.

use rectify_ir::graph::{Graph, Node, NodeId, Provenance, Value};
use rectify_ir::op::Op;
use rectify_ir::shape::infer_node;
use std::sync::Arc;

/// The provenance of a node that `rule` makes from `nodes`, which come in source order.
pub(crate) fn provenance(graph: &Graph, nodes: &[NodeId], rule: &str) -> Provenance {
    let mut all = Provenance::default();
    for node in nodes {
        all.absorb(&sources(graph.node(*node)));
    }
    let rule: Arc<str> = rule.into();
    if !all.rules.contains(&rule) {
        all.rules.push(rule);
    }
    all
}

/// The provenance of a node as others inherit it: a node without sources is its own.
pub(crate) fn sources(node: &Node) -> Provenance {
    let mut own = node.provenance.clone();
    if own.sources.is_empty() && !matches!(node.op, Op::Param(_) | Op::Const(_) | Op::Input) {
        own.sources.extend(node.name.clone());
    }
    own
}

/// Adds `op` on `operands` in place of `node`: with its name, made by `rule`. Users of `node` read the new value.
/// Nothing happens, and the answer is `None`, where the new operation does not have the type of the old.
pub(crate) fn replace(
    graph: &mut Graph,
    node: NodeId,
    op: Op,
    operands: &[Value],
    rule: &str,
) -> Option<Value> {
    let old = graph.node(node);
    let new = Node {
        op,
        operands: operands.to_vec(),
        arity: operands.len(),
        epilogue: None,
        types: old.types.clone(),
        name: old.name.clone(),
        provenance: provenance(graph, &[node], rule),
    };
    if infer_node(graph, &new).ok()? != old.types {
        return None;
    }
    let value: Value = graph.add_node(new).into();
    graph.replace_uses(node.into(), value);
    Some(value)
}

/// The number, where the value is one.
pub(crate) fn constant(graph: &Graph, value: Value) -> Option<f64> {
    if let Op::Const(c) = graph.node(value.node).op { Some(c.0) } else { None }
}
