//! The fan of a weight: how many inputs an output element sums, or how many outputs an input element reaches.
//!
//! | layer | weight | fan in | fan out |
//! |---|---|---|---|
//! | conv | [O, I/g, k…] | k² · I/g | k² · O/g |
//! | conv_transpose, stride s | [C, O/g, k…] | k² · C / (g · s²) | k² · O/g |
//! | dense | [O, I] | I | O |
//! | matmul, weight on the right | […, K, N] | K | N |
//! | matmul, weight on the left | […, M, K] | K | M |
//! | none of these | [a, b, rest…] | b · rest | a · rest |
//!
//! A bias that is drawn (`torch_default`) takes the fan of its layer's weight. He et al. 2015, section 2.2; for the
//! transposed form, an output element meets one in s² of the kernel's taps.

use super::{InitWarning, layers};
use crate::log::label;
use rectify_ir::graph::{Graph, NodeId};
use rectify_ir::init::Fan;
use rectify_ir::op::Op;
use std::sync::Arc;

/// A fan and the arithmetic that gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct FanReport {
    /// As written: in, out, avg, or a number.
    pub kind: Fan,
    pub value: f64,
    /// For example `3·3·64`.
    pub formula: String,
}

/// Both fans of one weight in one layer.
#[derive(Clone, Debug, PartialEq)]
struct Both {
    fan_in: (f64, String),
    fan_out: (f64, String),
}

/// The fan of `param`, unless its shape is not known.
pub(super) fn find(
    graph: &Graph,
    param: NodeId,
    name: &Arc<str>,
    kind: Fan,
    warnings: &mut Vec<InitWarning>,
) -> Option<FanReport> {
    if let Fan::Value(v) = kind {
        return Some(FanReport { kind, value: v.0, formula: "as written".into() });
    }
    let mut found: Vec<(String, FanReport)> = Vec::new();
    for (layer, operand) in layers(graph, param) {
        if let Some(both) = in_layer(graph, layer, operand) {
            found.push((label(graph, layer), choose(kind, both)?));
        }
    }
    if found.is_empty() {
        let shape = graph.ty(param.into()).const_shape()?;
        return choose(kind, by_shape(&shape));
    }
    let first = found[0].1.clone();
    if found.iter().any(|(_, f)| f.value != first.value) {
        warnings.push(InitWarning::FansDisagree {
            param: name.clone(),
            layers: found.iter().map(|(l, f)| (l.clone(), f.value)).collect(),
            taken: first.value,
        });
    }
    Some(first)
}

fn choose(kind: Fan, both: Both) -> Option<FanReport> {
    let (value, formula) = match kind {
        Fan::In => both.fan_in,
        Fan::Out => both.fan_out,
        Fan::Avg => {
            let ((a, x), (b, y)) = (both.fan_in, both.fan_out);
            ((a + b) / 2.0, format!("({x} + {y}) / 2"))
        }
        Fan::Value(_) => return None,
    };
    // An empty weight has no fan; 1 keeps its (absent) values finite.
    let value = if value > 0.0 { value } else { 1.0 };
    Some(FanReport { kind, value, formula })
}

fn in_layer(graph: &Graph, layer: NodeId, operand: usize) -> Option<Both> {
    let node = graph.node(layer);
    if operand >= node.arity {
        return None;
    }
    if let Op::MatMul = node.op {
        return match (graph.ty(node.operands[operand]).const_shape()?.as_slice(), operand) {
            ([.., k, n], 1) => Some(Both { fan_in: plain(*k), fan_out: plain(*n) }),
            ([.., m, k], 0) => Some(Both { fan_in: plain(*k), fan_out: plain(*m) }),
            _ => None,
        };
    }
    let has_weight = matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense);
    if !has_weight || operand == 0 {
        return None;
    }
    // A bias shares the fan of the weight beside it.
    let shape = graph.ty(node.operands[1]).const_shape()?;
    let (first, second, kernel) = match shape.as_slice() {
        [first, second, kernel @ ..] => (*first, *second, kernel),
        _ => return None,
    };
    Some(if let Op::Conv(attrs) = &node.op {
        Both {
            fan_in: terms(kernel, second, 1, &[]),
            fan_out: terms(kernel, first, attrs.groups as usize, &[]),
        }
    } else if let Op::ConvTranspose(attrs) = &node.op {
        Both {
            fan_in: terms(kernel, first, attrs.groups as usize, &attrs.stride),
            fan_out: terms(kernel, second, 1, &[]),
        }
    } else {
        Both { fan_in: plain(second), fan_out: plain(first) }
    })
}

fn by_shape(shape: &[usize]) -> Both {
    match shape {
        [] => Both { fan_in: plain(1), fan_out: plain(1) },
        [n] => Both { fan_in: plain(*n), fan_out: plain(*n) },
        [a, b, rest @ ..] => Both { fan_in: terms(rest, *b, 1, &[]), fan_out: terms(rest, *a, 1, &[]) },
    }
}

fn plain(n: usize) -> (f64, String) {
    (n as f64, n.to_string())
}

/// kernel product · channels / (groups · stride product), and how it reads.
fn terms(kernel: &[usize], channels: usize, groups: usize, stride: &[i64]) -> (f64, String) {
    let mut value = channels as f64;
    let mut text = String::new();
    for k in kernel {
        value *= *k as f64;
        text.push_str(&format!("{k}·"));
    }
    text.push_str(&channels.to_string());
    let mut divisors = Vec::new();
    if groups > 1 {
        value /= groups as f64;
        divisors.push(groups.to_string());
    }
    for s in stride.iter().filter(|s| **s > 1) {
        value /= *s as f64;
        divisors.push(s.to_string());
    }
    match divisors.as_slice() {
        [] => {}
        [one] => text.push_str(&format!("/{one}")),
        many => text.push_str(&format!("/({})", many.join("·"))),
    }
    (value, text)
}
