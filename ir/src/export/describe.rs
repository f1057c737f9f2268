//! Words for nodes, shared by the drawings.

use crate::graph::{EpArg, Graph, Node, NodeId, NodeSet};
use crate::op::Op;
use crate::types::TensorType;
use std::fmt::Write;

/// The operation with what its epilogue adds: `conv + prelu`.
pub fn title(node: &Node) -> String {
    let mut title = node.op.name().to_string();
    let steps = node.epilogue.iter().flat_map(|e| &e.steps).map(|s| s.op.name());
    let mut fused: Vec<_> = steps.collect();
    if node.op == Op::Map && !fused.is_empty() {
        title = fused.remove(0).to_string();
    }
    for step in fused {
        let _ = write!(title, " + {step}");
    }
    title
}

/// The shape alone for `f32`, the whole type otherwise. Several results are separated by semicolons.
pub fn types(node: &Node) -> String {
    node.types.iter().map(type_text).collect::<Vec<_>>().join("; ")
}

pub fn type_text(ty: &TensorType) -> String {
    let text = ty.to_string();
    text.strip_prefix("f32").map_or(text.clone(), str::to_string)
}

/// Number of elements, if it is known.
pub fn elements(ty: &TensorType) -> Option<u64> {
    ty.const_shape()?.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64))
}

/// 1234567 as `1.23 M`.
pub fn count(n: u64) -> String {
    let (value, unit) = match n {
        0..1_000 => return n.to_string(),
        1_000..1_000_000 => (n as f64 / 1e3, "k"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "M"),
        _ => (n as f64 / 1e9, "G"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// Operands of a node that depend on parameters alone: the operand's name, its value's name and its type.
pub fn param_operands<'g>(
    graph: &'g Graph,
    node: &Node,
    param_only: &NodeSet,
) -> Vec<(String, String, &'g TensorType)> {
    let mut list = Vec::new();
    for (i, value) in node.operands.iter().enumerate() {
        let source = graph.node(value.node);
        if !param_only.contains(&value.node) || matches!(source.op, Op::Const(_)) {
            continue;
        }
        let known = node.op.spec().and_then(|s| s.operands.get(i)).filter(|_| i < node.arity);
        let full = source.name.as_deref().map_or_else(|| value.to_string(), str::to_string);
        let role = match known {
            Some(operand) => operand.name.to_string(),
            None => full.rsplit('.').next().unwrap_or(&full).to_string(),
        };
        list.push((role, full, graph.ty(*value)));
    }
    list
}

/// Everything there is to say of a node, line by line.
pub fn details(graph: &Graph, id: NodeId, param_only: &NodeSet) -> String {
    let node = graph.node(id);
    let mut text = format!("{id}");
    if let Some(name) = &node.name {
        let _ = write!(text, " {name}");
    }
    let attrs: Vec<_> = crate::print::attrs(&node.op).collect();
    let all: Vec<_> = node.types.iter().map(ToString::to_string).collect();
    let _ = write!(text, "\n{}({}) → {}", node.op.name(), attrs.join(", "), all.join(", "));
    for (role, name, ty) in param_operands(graph, node, param_only) {
        let _ = write!(text, "\n{role}: {name} {ty}");
    }
    for (i, step) in node.epilogue.iter().flat_map(|e| &e.steps).enumerate() {
        let args: Vec<_> = step
            .args
            .iter()
            .map(|a| match a {
                EpArg::Acc => "acc".to_string(),
                EpArg::Step(s) => format!("step {s}"),
                EpArg::Scalar(c) => c.to_string(),
                EpArg::Operand(o) => {
                    let value = node.epilogue_operands().get(*o as usize);
                    value.map_or("?".to_string(), ToString::to_string)
                }
            })
            .collect();
        let _ = write!(text, "\nstep {i}: {}({})", step.op.name(), args.join(", "));
    }
    if !node.provenance.sources.is_empty() {
        let _ = write!(text, "\nfrom {}", node.provenance.sources.join(", "));
    }
    if !node.provenance.rules.is_empty() {
        let _ = write!(text, "\nby {}", node.provenance.rules.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts() {
        let texts = [999, 1_000, 36_928, 178_000_000, 1_500_000_000].map(count);
        assert_eq!(texts, ["999", "1.00 k", "36.9 k", "178 M", "1.50 G"]);
    }
}
