//! Gathers the parameters of a sum (or product) of several terms into one.
//!
//! `((conv + p) + y) + q` becomes `(conv + (p + q)) + y`: the parameter stands at a term that can absorb it, a
//! contraction, else at the end. The order of the other terms stays.

use crate::edit::{provenance, replace};
use crate::log::Recorder;
use rectify_ir::graph::{Graph, Node, NodeId, NodeSet, Value};
use rectify_ir::op::{Binary, Op};
use rectify_ir::shape::{broadcast, infer_values};

pub(super) fn gather(graph: &mut Graph, recorder: &mut Recorder) {
    let params = graph.param_only();
    for node in graph.topo_order() {
        for b in [Binary::Add, Binary::Mul] {
            if graph.node(node).op == Op::Binary(b) && !params.contains(&node) && is_top(graph, node, b) {
                gather_one(graph, node, b, &params, recorder);
            }
        }
    }
}

/// True where no larger sum contains this one.
fn is_top(graph: &Graph, node: NodeId, b: Binary) -> bool {
    match graph.users(node.into()).as_slice() {
        [(user, _)] if graph.use_count(node.into()) == 1 => {
            graph.node(*user).op != Op::Binary(b) || graph.node(*user).types != graph.node(node).types
        }
        _ => true,
    }
}

fn gather_one(graph: &mut Graph, top: NodeId, b: Binary, params: &NodeSet, recorder: &mut Recorder) {
    let ty = graph.node(top).types[0].clone();
    if !ty.dtype.is_float() {
        return;
    }
    let (mut terms, mut nodes) = (Vec::new(), Vec::new());
    let mut pending = vec![Value::from(top)];
    while let Some(value) = pending.pop() {
        let n = graph.node(value.node);
        let inner = value.node == top || graph.use_count(value) == 1;
        if n.op == Op::Binary(b) && n.types[0] == ty && inner && !params.contains(&value.node) {
            nodes.push(value.node);
            pending.extend(n.operands.iter().rev());
        } else {
            terms.push(value);
        }
    }
    let (fixed, moving): (Vec<Value>, Vec<Value>) = terms.iter().partition(|v| params.contains(&v.node));
    if fixed.len() < 2 || moving.is_empty() || !joins(graph, &fixed) {
        return;
    }
    if !recorder.fire("gather-params") {
        return;
    }
    let rule = provenance(graph, &nodes, "gather-params");
    let add = |graph: &mut Graph, x: Value, y: Value| -> Option<Value> {
        let types = infer_values(graph, &Op::Binary(b), &[x, y]).ok()?;
        Some(
            graph
                .add_node(Node {
                    op: Op::Binary(b),
                    operands: vec![x, y],
                    arity: 2,
                    epilogue: None,
                    types,
                    name: None,
                    provenance: rule.clone(),
                })
                .into(),
        )
    };
    let Some(param) = fixed[1..].iter().try_fold(fixed[0], |sum, p| add(graph, sum, *p)) else { return };
    let at = moving.iter().position(|v| absorbs(&graph.node(v.node).op)).unwrap_or(moving.len() - 1);
    let mut terms = moving;
    // Where the parameter would enlarge its term, it goes to the end.
    let host = terms[at];
    let mut last = Some(param);
    if graph.ty(host) == &ty && terms.len() > 1 {
        let Some(joined) = add(graph, host, param) else { return };
        terms[at] = joined;
        last = None;
    }
    let (head, tail) = match last {
        Some(param) => (terms.as_slice(), param),
        None => (&terms[..terms.len() - 1], terms[terms.len() - 1]),
    };
    let Some(sum) = head[1..].iter().try_fold(head[0], |sum, t| add(graph, sum, *t)) else { return };
    replace(graph, top, Op::Binary(b), &[sum, tail], "gather-params");
}

/// True where joining the parameters gives nothing larger than the largest of them.
fn joins(graph: &Graph, fixed: &[Value]) -> bool {
    let mut shape = graph.ty(fixed[0]).shape.clone();
    let mut largest = graph.ty(fixed[0]).elements().ok();
    for p in &fixed[1..] {
        let Ok(joined) = broadcast(&shape, &graph.ty(*p).shape) else { return false };
        let count = graph.ty(*p).elements().ok();
        if count.as_ref().and_then(|d| d.as_const()) > largest.as_ref().and_then(|d| d.as_const()) {
            largest = count;
        }
        shape = joined;
    }
    rectify_ir::Dim::product(&shape).ok() == largest
}

fn absorbs(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense | Op::MatMul)
}
