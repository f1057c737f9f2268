//! The backward walk: second moments of the gradient, from a gradient of second moment 1 at every output element.
//!
//! Gradients of different elements count as independent of each other and of the signal (He et al. 2015, section 2.2,
//! equation 13).

use super::forward::Walk;
use super::map::{Axis, Map};
use super::{BatchNorm, normalises};
use rectify_ir::graph::{Node, NodeId, Value};
use rectify_ir::interp::{apply_binary, apply_unary, prelu};
use rectify_ir::op::{Binary, Op, ReduceKind};
use rectify_ir::shape::adaptive_bin;
use std::collections::HashMap;

/// Second moments of the gradients of all values that they are known of.
pub(super) fn gradients(walk: &Walk<'_>) -> HashMap<Value, Map> {
    let mut gradients: HashMap<Value, Map> = HashMap::new();
    // Values that also receive a gradient through something without a rule.
    let mut unknown: Vec<Value> = Vec::new();
    for output in &walk.graph.outputs {
        add(&mut gradients, output.value, Map::constant(&walk.dims(output.value), 1.0));
    }
    for id in walk.graph.topo_order().into_iter().rev() {
        let node = walk.graph.node(id);
        let reached =
            (0..node.types.len() as u32).filter_map(|result| gradients.get(&Value { node: id, result }));
        let lost = (0..node.types.len() as u32).any(|result| unknown.contains(&Value { node: id, result }));
        let Some(g) = reached.cloned().reduce(|a, b| a.zip(&b, |a, b| (a + b) / 2.0)) else {
            if lost {
                unknown.extend(node.operands.iter().copied());
            }
            continue;
        };
        if matches!(node.op, Op::Input | Op::Param(_) | Op::Const(_)) {
            continue;
        }
        for (operand, value) in node.operands.iter().enumerate() {
            if !walk.signals.contains_key(value) {
                continue;
            }
            match through(walk, id, node, operand, &g).filter(|_| !lost) {
                Some(map) => {
                    let map = fit(map, &walk.dims(*value));
                    add(&mut gradients, *value, map);
                }
                None => unknown.push(*value),
            }
        }
    }
    gradients.retain(|value, _| !unknown.contains(value));
    gradients
}

fn add(gradients: &mut HashMap<Value, Map>, value: Value, map: Map) {
    match gradients.remove(&value) {
        Some(there) => gradients.insert(value, there.zip(&map, |a, b| a + b)),
        None => gradients.insert(value, map),
    };
}

fn fit(map: Map, dims: &[usize]) -> Map {
    if map.dims == dims { map } else { Map::constant(dims, map.mean()) }
}

/// The second moment of the gradient at an operand.
fn through(walk: &Walk<'_>, id: NodeId, node: &Node, operand: usize, g: &Map) -> Option<Map> {
    let value = node.operands[operand];
    let dims = walk.dims(value);
    let x = walk.signals.get(&value)?;
    let second = |i: usize| node.operands.get(i).and_then(|v| walk.signal(*v)).map(|s| s.second.mean());
    // Gradients of a reshape and the like keep their sum of squares.
    let elements = |v: Value| walk.shape(v).iter().product::<usize>() as f64;
    Some(match &node.op {
        Op::Conv(a) if operand == 0 => {
            let axes = walk.conv_axes(node)?;
            let weight = walk.shape(node.operands[1]);
            let filters = *weight.first()? as f64 / a.groups as f64;
            g.scatter(&axes, &dims).scaled(filters * walk.draws.get(&node.operands[1].node)?.second)
        }
        Op::ConvTranspose(a) if operand == 0 => {
            let axes = walk.transposed_axes(node, a)?;
            let filters = *walk.shape(node.operands[1]).get(1)? as f64;
            g.gather(&axes).scaled(filters * walk.draws.get(&node.operands[1].node)?.second)
        }
        Op::Dense if operand == 0 => {
            let outputs = *walk.shape(node.operands[1]).first()? as f64;
            g.scaled(outputs * walk.draws.get(&node.operands[1].node)?.second)
        }
        Op::Unary(u) => g.scaled(x.slope(&|v| apply_unary(u, v))),
        Op::Prelu { .. } if operand == 0 => {
            let slope = walk.slope(node)?;
            g.scaled(x.slope(&|v| prelu(v, slope)))
        }
        Op::Binary(Binary::Add | Binary::Sub) => {
            // The gradients of both operands are the same where these are one value, so their squares add with a cross term.
            let twice = if node.operands[0] == node.operands[1] { 2.0 } else { 1.0 };
            g.scaled(twice)
        }
        Op::Binary(Binary::Mul) if node.operands[0] != node.operands[1] => g.scaled(second(1 - operand)?),
        Op::Binary(op @ (Binary::Div | Binary::Max | Binary::Min | Binary::Pow)) if operand == 0 => {
            let number = walk.signal(node.operands[1])?.number()?;
            g.scaled(x.slope(&|v| apply_binary(*op, v, number)))
        }
        Op::BatchNorm { eps } if operand == 0 => {
            let shape = walk.shape(value);
            let variance = if walk.batch_norm == BatchNorm::Fresh && normalises(&shape) {
                x.variance(shape[0])
            } else {
                walk.signal(node.operands[4])?.mean.mean() + eps.0
            };
            g.scaled(second(1)? / variance)
        }
        Op::InstanceNorm { .. } if operand == 0 => g.scaled(second(1)? / x.variance(1)),
        Op::LayerNorm { .. } if operand == 0 => g.scaled(second(1)? / x.second.mean()),
        Op::MaxPool(a) => {
            let axes = walk.pool_axes(node, a)?;
            to_greatest(g, &axes, &dims).scaled(walk.favoured.get(&id).copied().unwrap_or(1.0))
        }
        Op::AvgPool { pool, .. } => {
            let axes = walk.pool_axes(node, pool)?;
            let size: f64 = axes.iter().map(|a| a.kernel as f64).product();
            g.scatter(&axes, &dims).scaled(1.0 / (size * size))
        }
        Op::Spp { bins } => {
            let mut map = Map::constant(&dims, 0.0);
            for b in bins {
                for bin in 0..b * b {
                    let (rows, columns) =
                        (adaptive_bin(bin / b, *b, dims[0]), adaptive_bin(bin % b, *b, dims[1]));
                    let share = g.mean() / ((rows.1 - rows.0) * (columns.1 - columns.0)) as f64;
                    for row in rows.0..rows.1 {
                        for column in columns.0..columns.1 {
                            map.values[row * dims[1] + column] += share;
                        }
                    }
                }
            }
            map.scaled(walk.favoured.get(&id).copied().unwrap_or(1.0))
        }
        Op::Reduce { kind, .. } => {
            let n = elements(value) / elements(id.into());
            let factor = match kind {
                ReduceKind::Mean => 1.0 / (n * n),
                ReduceKind::Sum => 1.0,
                ReduceKind::Max => walk.favoured.get(&id).copied().unwrap_or(1.0) / n,
                ReduceKind::Min | ReduceKind::Prod => return None,
            };
            Map::constant(&dims, g.mean() * factor)
        }
        Op::Concat { .. } | Op::Dropout { .. } | Op::Map => g.clone(),
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Split { .. } | Op::DepthToSpace { .. } => g.clone(),
        Op::Expand { .. } | Op::Slice { .. } => {
            Map::constant(&dims, g.mean() * elements(id.into()) / elements(value))
        }
        // Parameters among the operands are no signals; the others have no rule.
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::Dense
        | Op::MatMul
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Prelu { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::Softmax { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::MaxPoolIndices(_)
        | Op::ConvWeightGrad { .. }
        | Op::MaxPoolGrad(_)
        | Op::Resize(_) => return None,
    })
}

/// Each window's gradient goes to one of its elements, all of which are as likely.
fn to_greatest(g: &Map, axes: &[Axis], dims: &[usize]) -> Map {
    let counts = Map::constant(dims, 1.0).gather(axes);
    g.zip(&counts, |g, count| g / count.max(1.0)).scatter(axes, dims)
}
