//! Brings a graph into the one form that the later passes expect.
//!
//! **What.** Epilogues become nodes again; operations that do nothing go; differences and quotients by parameters become
//! sums and products; the parameter stands second; parameters of a sum or product are gathered; `max(x, 0)` is a relu
//! and other bounds are a clip.
//! **Before → after.** `(2 + x) - p + 3` → `x + (-p + 5)`; `max(0, x)` → `relu(x)`; `dropout(x)` → `x`.
//! **Requires** inferred types. **Leaves** sums and products in which the algebra needs no associativity or
//! commutativity: with such rules its graph would grow exponentially.

mod gather;
mod unfuse;

use crate::edit::{constant, replace};
use crate::identities::identity;
use crate::log::Recorder;
use rectify_ir::graph::{Graph, NodeId, NodeSet, Value};
use rectify_ir::op::{Binary, Op, Unary};
use rectify_ir::scalar::Scalar;
use rectify_ir::types::TensorType;

pub(crate) fn canonicalise(graph: &mut Graph, recorder: &mut Recorder) {
    unfuse::unfuse(graph);
    let mut params = graph.param_only();
    // Parameters first, so that a rewrite sees the final form of its operands.
    for node in graph.topo_order() {
        one(graph, node, &mut params, recorder);
    }
    // What was replaced still reads its operands; gathering counts readers.
    graph.remove_dead();
    gather::gather(graph, recorder);
    graph.remove_dead();
}

/// Rewrites until the node, or what took its place, is in canonical form.
fn one(graph: &mut Graph, node: NodeId, params: &mut NodeSet, recorder: &mut Recorder) {
    let mut node = node;
    while let Some(Change { op, operands, rule, negate }) = change(graph, node, params) {
        if !recorder.fire(rule) {
            return;
        }
        let Some(op) = op else {
            graph.replace_uses(node.into(), operands[0]);
            return;
        };
        let mut operands = operands;
        if let Some((inverse, at)) = negate {
            let made = match constant(graph, operands[at]) {
                Some(c) if inverse == Unary::Neg => Some(number(graph, operands[at], -c)),
                Some(c) => Some(number(graph, operands[at], 1.0 / c)),
                None => graph.push(Op::Unary(inverse), &[operands[at]]).ok(),
            };
            let Some(made) = made else { return };
            params.insert(made.node);
            operands[at] = made;
        }
        let Some(new) = replace(graph, node, op, &operands, rule) else { return };
        if params.contains(&node) {
            params.insert(new.node);
        }
        node = new.node;
    }
}

/// A number of the same element type as `like`.
fn number(graph: &mut Graph, like: Value, value: f64) -> Value {
    let ty = graph.ty(like).clone();
    let new = graph.push_const(value);
    graph.node_mut(new.node).types[0] = ty;
    new
}

/// What takes a node's place.
struct Change {
    /// `None`: the first of the operands.
    op: Option<Op>,
    operands: Vec<Value>,
    rule: &'static str,
    /// Applied to the operand of this index before.
    negate: Option<(Unary, usize)>,
}

fn change(graph: &Graph, node: NodeId, params: &NodeSet) -> Option<Change> {
    let n = graph.node(node);
    let [result] = n.types.as_slice() else { return None };
    let types: Vec<&TensorType> = n.operands.iter().map(|v| graph.ty(*v)).collect();
    let value = |i: usize| n.operands.get(i).and_then(|v| constant(graph, *v));
    if let Some(index) = identity(&n.op, &types, result, &value) {
        let rule = if matches!(n.op, Op::Dropout { .. }) { "drop-dropout" } else { "drop-identity" };
        return Some(Change { op: None, operands: vec![n.operands[index]], rule, negate: None });
    }
    let to = |op: Op, operands: Vec<Value>, rule| Some(Change { op: Some(op), operands, rule, negate: None });
    let is_param = |i: usize| params.contains(&n.operands[i].node);
    match n.op {
        Op::Unary(Unary::Clip { min, max }) if min.0 == 0.0 && max.0 == f64::INFINITY => {
            to(Op::Unary(Unary::Relu), n.operands.clone(), "relu-from-clip")
        }
        Op::Unary(Unary::LeakyRelu { alpha }) if alpha.0 == 0.0 => {
            to(Op::Unary(Unary::Relu), n.operands.clone(), "relu-from-leaky")
        }
        Op::Binary(b @ (Binary::Add | Binary::Mul | Binary::Max | Binary::Min))
            if is_param(0) && !is_param(1) =>
        {
            to(Op::Binary(b), vec![n.operands[1], n.operands[0]], "param-second")
        }
        Op::Binary(b @ (Binary::Max | Binary::Min)) if types[0] == result => {
            let bound = Scalar(value(1)?);
            let (min, max) = if b == Binary::Max {
                (bound, Scalar(f64::INFINITY))
            } else {
                (Scalar(f64::NEG_INFINITY), bound)
            };
            to(Op::Unary(Unary::Clip { min, max }), vec![n.operands[0]], "clip-from-bounds")
        }
        Op::Binary(b @ (Binary::Sub | Binary::Div))
            if result.dtype.is_float() && is_param(1) && !is_param(0) =>
        {
            let (op, inverse, rule) = if b == Binary::Sub {
                (Binary::Add, Unary::Neg, "add-from-sub")
            } else {
                (Binary::Mul, Unary::Reciprocal, "mul-from-div")
            };
            Some(Change {
                op: Some(Op::Binary(op)),
                operands: n.operands.clone(),
                rule,
                negate: Some((inverse, 1)),
            })
        }
        Op::Unary(_) | Op::Binary(_) => None,
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::Dense
        | Op::MatMul
        | Op::Select
        | Op::Cast { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::Prelu { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::MaxPool(_)
        | Op::MaxPoolGrad(_)
        | Op::AvgPool { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::DepthToSpace { .. }
        | Op::Resize(_)
        | Op::Dropout { .. }
        | Op::Map => None,
    }
}
