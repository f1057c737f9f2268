//! Merges 1x1 convolutions of the same input into one, where that pays.
//!
//! conv(x, @a), conv(x, @b) → split(conv(x, concat(@a, @b))). Two classes change at once, which a choice of one term a
//! class cannot weigh, so this is no rule of the e-graph but a step after it. It pays where the input is large beside
//! the results: it is then read once instead of several times, and the results are copied once more.

use super::cost::bytes;
use crate::edit::provenance;
use crate::log::{Reason, Recorder, label};
use rectify_ir::graph::{Graph, Node, NodeId, NodeSet, Value};
use rectify_ir::op::{ConvAttrs, Op, Padding};
use rectify_ir::{DType, Dim};

/// The name in the log.
pub(crate) const RULE: &str = "merge-sibling-convs";

pub(super) fn merge(graph: &mut Graph, recorder: &mut Recorder) {
    let params = graph.param_only();
    for node in graph.topo_order() {
        for result in 0..graph.node(node).types.len() as u32 {
            let x = Value { node, result };
            for siblings in groups(graph, x, &params) {
                merge_group(graph, x, &siblings, recorder);
            }
        }
    }
    graph.remove_dead();
}

/// Pointwise convolutions of `x` with equal attributes, in order; groups of at least two.
fn groups(graph: &Graph, x: Value, params: &NodeSet) -> Vec<Vec<NodeId>> {
    let mut all: Vec<Vec<NodeId>> = Vec::new();
    for (user, operand) in graph.users(x) {
        let n = graph.node(user);
        let Op::Conv(attrs) = &n.op else { continue };
        let fixed = n.operands[1..].iter().all(|v| params.contains(&v.node));
        if operand != 0 || !fixed || n.epilogue.is_some() || !is_pointwise(graph, n, attrs) {
            continue;
        }
        let alike = |other: &NodeId| {
            let o = graph.node(*other);
            o.op == n.op && o.operands.len() == n.operands.len()
        };
        match all.iter_mut().find(|group| group.iter().all(alike)) {
            Some(group) => group.push(user),
            None => all.push(vec![user]),
        }
    }
    all.retain(|group| group.len() > 1);
    all
}

fn is_pointwise(graph: &Graph, conv: &Node, attrs: &ConvAttrs) -> bool {
    let kernel = &graph.ty(conv.operands[1]).shape[2..];
    attrs.groups == 1
        && conv.types[0].dtype == DType::F32
        && kernel.iter().all(|k| *k == Dim::Const(1))
        && matches!(&attrs.pad, Padding::Explicit(p) if p.iter().all(|p| *p == 0))
}

fn merge_group(graph: &mut Graph, x: Value, siblings: &[NodeId], recorder: &mut Recorder) {
    let first = siblings[0];
    let results =
        siblings.iter().fold(0u64, |n, s| n.saturating_add(bytes(&graph.node(*s).types[0], &graph.facts)));
    let saved = bytes(graph.ty(x), &graph.facts).saturating_mul(siblings.len() as u64 - 1);
    // The split reads and writes each result once.
    let copied = results.saturating_mul(2);
    if saved <= copied {
        let reason = Reason::NotCheaper { before: saved, after: copied };
        return recorder.refuse(RULE, label(graph, first), reason);
    }
    if !recorder.fire(RULE) {
        return;
    }
    let history = provenance(graph, siblings, RULE);
    let sizes: Vec<Dim> = siblings.iter().map(|s| graph.node(*s).types[0].shape[1].clone()).collect();
    let mut operands = vec![x];
    for i in 1..graph.node(first).operands.len() {
        let parts: Vec<Value> = siblings.iter().map(|s| graph.node(*s).operands[i]).collect();
        let Ok(joined) = graph.push(Op::Concat { axis: 0 }, &parts) else { return };
        operands.push(joined);
    }
    let name = graph.node(first).name.clone();
    let Ok(conv) = graph.push_named(graph.node(first).op.clone(), &operands, name.clone()) else { return };
    let Ok(parts) = graph.push_multi(Op::Split { axis: 1, sizes }, &[conv], name) else { return };
    *graph.node_mut(conv.node).provenance = history.clone();
    *graph.node_mut(parts[0].node).provenance = history;
    for (sibling, part) in siblings.iter().zip(parts) {
        graph.replace_uses((*sibling).into(), part);
    }
}
