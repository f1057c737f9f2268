//! The backward walk: second moments of the gradient, from a gradient of second moment 1 at every output element.
//!
//! Gradients count as independent of the signal (He et al. 2015, section 2.2, equation 13), but for the rectifier that they went
//! through last; what those of two positions have in common is carried along (`gradient`).

use super::correlation::Correlation;
use super::forward::Walk;
use super::gradient::Gradient;
use super::map::Map;
use super::{BatchNorm, normalises};
use rectify_ir::graph::{Node, NodeId, Value};
use rectify_ir::interp::{apply_binary, apply_unary, prelu};
use rectify_ir::op::{Binary, Op, ReduceKind};
use rectify_ir::shape::adaptive_bin;
use std::collections::HashMap;

/// Gradients of all values that they are known of, and the second moments of those of the elements of weights.
pub(super) struct Gradients {
    pub values: HashMap<Value, Gradient>,
    pub weights: HashMap<NodeId, f64>,
}

pub(super) fn gradients(walk: &Walk<'_>) -> Gradients {
    let mut gradients: HashMap<Value, Gradient> = HashMap::new();
    let mut weights: HashMap<NodeId, f64> = HashMap::new();
    // Values that also receive a gradient through something without a rule.
    let mut unknown: Vec<Value> = Vec::new();
    for output in &walk.graph.outputs {
        add(&mut gradients, output.value, Gradient::white(&walk.dims(output.value), 1.0));
    }
    for id in walk.graph.topo_order().into_iter().rev() {
        let node = walk.graph.node(id);
        let reached =
            (0..node.types.len() as u32).filter_map(|result| gradients.get(&Value { node: id, result }));
        let lost = (0..node.types.len() as u32).any(|result| unknown.contains(&Value { node: id, result }));
        let Some(g) = reached.cloned().reduce(|a, b| a.plus(&b).scaled(0.5)) else {
            if lost {
                unknown.extend(node.operands.iter().copied());
            }
            continue;
        };
        if matches!(node.op, Op::Input | Op::Param(_) | Op::Const(_)) {
            continue;
        }
        if let Some((weight, second)) = by_weight(walk, node, &g).filter(|_| !lost) {
            *weights.entry(weight).or_insert(0.0) += second;
        }
        for (operand, value) in node.operands.iter().enumerate() {
            if !walk.signals.contains_key(value) {
                continue;
            }
            match through(walk, id, node, operand, &g).filter(|_| !lost) {
                Some(gradient) => {
                    let gradient = gradient.fit(&walk.dims(*value));
                    add(&mut gradients, *value, gradient);
                }
                None => unknown.push(*value),
            }
        }
    }
    gradients.retain(|value, _| !unknown.contains(value));
    Gradients { values: gradients, weights }
}

fn add(gradients: &mut HashMap<Value, Gradient>, value: Value, gradient: Gradient) {
    match gradients.remove(&value) {
        Some(there) => gradients.insert(value, there.plus(&gradient)),
        None => gradients.insert(value, gradient),
    };
}

/// The second moment of the gradient of an element of a layer's weight: a sum of gradient times signal over positions and images.
fn by_weight(walk: &Walk<'_>, node: &Node, g: &Gradient) -> Option<(NodeId, f64)> {
    let signal = |i: usize| walk.signals.get(node.operands.get(i)?);
    let images = |x: usize| walk.shape(node.operands[x]).first().copied().unwrap_or(1) as f64;
    let taps = |w: usize| walk.shape(node.operands[w]).iter().skip(2).product::<usize>() as f64;
    // Over all pairs of positions, of which both have a correlation and a second moment; by pair.
    let pairs = |a: &Map, b: &Map, r: &Correlation, s: &Correlation| {
        let both = a.zip(b, |a, b| a * b);
        let sizes: Vec<i64> = both.dims.iter().map(|d| *d as i64).collect();
        let alike = Correlation::combined(&both.dims, r, s, |r, s| r * s);
        both.mean() * (both.values.len() as f64).powi(2) * alike.mean_of_pairs(&vec![0; sizes.len()], &sizes)
    };
    let weight = node.operands.get(1)?.node;
    Some(match &node.op {
        Op::Conv(_) => {
            let (x, axes) = (signal(0)?, walk.conv_axes(node)?);
            let (windows, moved) = (x.second.gather(&axes), x.correlation.behind(&axes, &x.second));
            (weight, images(0) / taps(1) * pairs(&g.second, &windows, &g.correlation, &moved))
        }
        Op::ConvTranspose(a) => {
            let (x, axes) = (signal(0)?, walk.transposed_axes(node, a)?);
            let windows = g.gathered(&axes);
            let second = pairs(&x.second, &windows.second, &x.correlation, &windows.correlation);
            (weight, images(0) / taps(1) * second)
        }
        Op::Dense | Op::MatMul => {
            let own = usize::from(!walk.draws.contains_key(&node.operands[0].node));
            let x = signal(1 - own)?;
            let shape = walk.shape(node.operands[own]);
            let data: usize = walk.shape(node.operands[1 - own]).iter().product();
            let inner = match (&node.op, own) {
                (Op::Dense, _) => *shape.get(1)?,
                (_, 1) => *shape.first()?,
                _ => *shape.last()?,
            };
            if shape.len() != 2 {
                return None;
            }
            let rows = data as f64 / inner.max(1) as f64;
            (node.operands[own].node, rows * g.second.mean() * x.second.mean())
        }
        _ => return None,
    })
}

/// The gradient at an operand.
fn through(walk: &Walk<'_>, id: NodeId, node: &Node, operand: usize, g: &Gradient) -> Option<Gradient> {
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
            g.scattered(&axes, &dims).scaled(filters * walk.draws.get(&node.operands[1].node)?.second)
        }
        Op::ConvTranspose(a) if operand == 0 => {
            let axes = walk.transposed_axes(node, a)?;
            let filters = *walk.shape(node.operands[1]).get(1)? as f64;
            g.gathered(&axes).scaled(filters * walk.draws.get(&node.operands[1].node)?.second)
        }
        Op::Dense if operand == 0 => {
            let outputs = *walk.shape(node.operands[1]).first()? as f64;
            g.scaled(outputs * walk.draws.get(&node.operands[1].node)?.second)
        }
        Op::Unary(u) => g.gated(x, &|v| apply_unary(u, v)),
        Op::Prelu { .. } if operand == 0 => {
            let slope = walk.slope(node)?;
            g.gated(x, &|v| prelu(v, slope))
        }
        Op::Binary(Binary::Add | Binary::Sub) => {
            // The gradients of both operands are the same where these are one value, so their squares add with a cross term.
            let twice = if node.operands[0] == node.operands[1] { 2.0 } else { 1.0 };
            g.scaled(twice)
        }
        Op::Binary(Binary::Mul) if node.operands[0] != node.operands[1] => g.scaled(second(1 - operand)?),
        Op::Binary(op @ (Binary::Div | Binary::Max | Binary::Min | Binary::Pow)) if operand == 0 => {
            let number = walk.signal(node.operands[1])?.number()?;
            g.gated(x, &|v| apply_binary(*op, v, number))
        }
        Op::BatchNorm { eps } if operand == 0 => {
            let shape = walk.shape(value);
            if walk.batch_norm == BatchNorm::Fresh && normalises(&shape) {
                g.normalised(x, walk.signals.get(&id.into())?, shape[0]).scaled(second(1)?)
            } else {
                g.scaled(second(1)? / (walk.signal(node.operands[4])?.mean.mean() + eps.0))
            }
        }
        Op::InstanceNorm { .. } if operand == 0 => {
            g.normalised(x, walk.signals.get(&id.into())?, 1).scaled(second(1)?)
        }
        Op::LayerNorm { .. } if operand == 0 => g.scaled(second(1)? / x.second.mean()),
        Op::MaxPool(a) => {
            let axes = walk.pool_axes(node, a)?;
            let favour = walk.choices.get(&id).map_or(1.0, |c| c.favour);
            g.to_greatest(&axes, &dims).favoured(favour)
        }
        Op::AvgPool { pool, .. } => {
            let axes = walk.pool_axes(node, pool)?;
            g.averaged(&axes, &dims)
        }
        Op::Spp { bins } => {
            let mut map = Map::constant(&dims, 0.0);
            for b in bins {
                for bin in 0..b * b {
                    let (rows, columns) =
                        (adaptive_bin(bin / b, *b, dims[0]), adaptive_bin(bin % b, *b, dims[1]));
                    let share = g.second.mean() / ((rows.1 - rows.0) * (columns.1 - columns.0)) as f64;
                    for row in rows.0..rows.1 {
                        for column in columns.0..columns.1 {
                            map.values[row * dims[1] + column] += share;
                        }
                    }
                }
            }
            shared(walk, id, Gradient::new(map, Correlation::white(&dims)))
        }
        Op::Reduce { kind, .. } => {
            let n = elements(value) / elements(id.into());
            let factor = match kind {
                ReduceKind::Mean => 1.0 / (n * n),
                ReduceKind::Sum => 1.0,
                ReduceKind::Max => 1.0 / n,
                ReduceKind::Min | ReduceKind::Prod => return None,
            };
            let same = matches!(kind, ReduceKind::Mean | ReduceKind::Sum);
            let correlation = if same { Correlation::equal(&dims) } else { Correlation::white(&dims) };
            shared(walk, id, Gradient::new(Map::constant(&dims, g.second.mean() * factor), correlation))
        }
        Op::Concat { .. } | Op::Dropout { .. } | Op::Map => g.clone(),
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Split { .. } | Op::DepthToSpace { .. } => g.clone(),
        Op::Expand { .. } | Op::Slice { .. } => {
            Gradient::white(&dims, g.second.mean() * elements(id.into()) / elements(value))
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
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::ConvWeightGrad { .. }
        | Op::MaxPoolGrad(_)
        | Op::Resize(_) => return None,
    })
}

/// A gradient that a maximum's equal elements share, where the operation is one.
fn shared(walk: &Walk<'_>, id: NodeId, gradient: Gradient) -> Gradient {
    match walk.choices.get(&id) {
        Some(choice) => gradient.scaled(choice.alone).favoured(choice.shared_favour),
        None => gradient,
    }
}
