//! Computes parameters that follow from known values.

use crate::edit::provenance;
use crate::log::{Reason, Recorder, label};
use crate::pipeline::ParamValues;
use rectify_ir::DType;
use rectify_ir::graph::{Graph, Node, NodeId, NodeSet};
use rectify_ir::init::Init;
use rectify_ir::interp::{Tensor, eval_node, known_param};
use rectify_ir::op::{Op, Source};
use rustc_hash::FxHashMap;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Larger results stay derivations: a model's text holds no weights.
const MAX_BYTES: usize = 64 << 10;

const RULE: &str = "compute-constant";

pub(super) fn evaluate(graph: &mut Graph, values: ParamValues, recorder: &mut Recorder) {
    let params = graph.param_only();
    let mut known: FxHashMap<NodeId, Tensor<f32>> = FxHashMap::default();
    let mut large = BTreeSet::new();
    for node in graph.topo_order().into_iter().filter(|n| params.contains(n)) {
        match compute(graph, node, values, &known) {
            Ok(Some(tensor)) => {
                known.insert(node, tensor);
            }
            Ok(None) => {}
            Err(reason) => {
                large.insert((label(graph, node), reason));
            }
        }
    }
    for (at, reason) in large {
        recorder.refuse(RULE, at, reason);
    }
    let mut names: HashSet<Arc<str>> =
        graph.params().into_iter().filter_map(|p| graph.node(p).name.clone()).collect();
    for node in graph.topo_order() {
        let Some(tensor) = known.get(&node) else { continue };
        let n = graph.node(node);
        let needed = graph.outputs.iter().any(|o| o.value.node == node)
            || graph.users(node.into()).iter().any(|(user, _)| !known.contains_key(user));
        if matches!(n.op, Op::Param(_) | Op::Const(_)) || !needed {
            continue;
        }
        let Some(op) = constant(tensor, n, values) else { continue };
        if !recorder.fire(RULE) {
            return;
        }
        let is_number = matches!(op, Op::Const(_));
        let name = (!is_number).then(|| unique(source_name(graph, node), &mut names));
        let new = Node {
            op,
            operands: vec![],
            arity: 0,
            epilogue: None,
            types: n.types.clone(),
            name,
            provenance: provenance(graph, &[node], RULE),
        };
        graph.replace_node(node, new);
    }
    graph.remove_dead();
}

/// The node's value, if it is known.
fn compute(
    graph: &Graph,
    node: NodeId,
    values: ParamValues,
    known: &FxHashMap<NodeId, Tensor<f32>>,
) -> Result<Option<Tensor<f32>>, Reason> {
    let n = graph.node(node);
    let [ty] = n.types.as_slice() else { return Ok(None) };
    let Some(bytes) = ty.const_shape().map(|s| s.iter().fold(4usize, |n, d| n.saturating_mul(*d))) else {
        return Ok(None);
    };
    if ty.dtype != DType::F32 {
        return Ok(None);
    }
    if let Op::Const(c) = n.op {
        return Ok(Some(Tensor::scalar(c.0, ty.dtype)));
    }
    if let Some(source) = n.source() {
        let hidden = matches!(source, Source::Init(_)) && values == ParamValues::Replaceable;
        return Ok(if hidden || bytes > MAX_BYTES { None } else { known_param(graph, node) });
    }
    let operands: Option<Vec<_>> = n.operands.iter().map(|v| known.get(&v.node)).collect();
    let Some(operands) = operands.filter(|o| !o.is_empty()) else { return Ok(None) };
    if bytes > MAX_BYTES {
        return Err(Reason::TooLarge { bytes, limit: MAX_BYTES });
    }
    Ok(eval_node(graph, node, &operands).ok().and_then(|mut r| r.pop()))
}

/// The value as a source: a number if all elements are one.
fn constant(tensor: &Tensor<f32>, node: &Node, values: ParamValues) -> Option<Op> {
    let all = tensor.floats()?;
    let first = *all.first()?;
    let uniform = all.iter().all(|v| v.to_bits() == first.to_bits());
    let ty = &node.types[0];
    if uniform && ty.rank() == 0 {
        return Some(Op::Const(f64::from(first).into()));
    }
    if uniform && first.is_finite() && values == ParamValues::FromSources {
        return Some(Op::Param(Source::Init(Init::constant(first.into()))));
    }
    Some(Op::Param(Source::Data(tensor.to_literal(ty.dtype)?)))
}

/// The name of the first parameter that the node is computed from.
fn source_name(graph: &Graph, node: NodeId) -> Arc<str> {
    let mut pending = vec![node];
    let mut seen = NodeSet::default();
    while let Some(at) = pending.pop() {
        let n = graph.node(at);
        if let (Op::Param(_), Some(name)) = (&n.op, &n.name) {
            return name.clone();
        }
        pending.extend(n.operands.iter().rev().map(|v| v.node).filter(|v| seen.insert(*v)));
    }
    "constant".into()
}

fn unique(base: Arc<str>, names: &mut HashSet<Arc<str>>) -> Arc<str> {
    let mut name: Arc<str> = format!("{base}.folded").into();
    let mut next = 2;
    while !names.insert(name.clone()) {
        name = format!("{base}.folded{next}").into();
        next += 1;
    }
    name
}
