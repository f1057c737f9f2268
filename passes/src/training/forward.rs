//! What the forward pass does otherwise in training: dropout by masks, batch normalisation by the batch's statistics.

use super::{Mask, Start, State, TrainingError};
use rectify_ir::graph::{Graph, NodeId, Output, Value};
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
use rectify_ir::shape::ShapeError;
use std::collections::BTreeMap;

/// How far running statistics move towards the batch's in a step.
const MOVE: f64 = 0.1;

/// Multiplies by masks in place of dropping.
pub(super) fn masks(graph: &mut Graph) -> Result<Vec<Mask>, ShapeError> {
    let mut masks = Vec::new();
    for id in graph.topo_order() {
        let Op::Dropout { p } = graph.node(id).op else { continue };
        let x = graph.node(id).operands[0];
        if p.0 == 0.0 {
            graph.replace_uses(id.into(), x);
            continue;
        }
        let input = format!("mask{}.{}", masks.len(), crate::log::label(graph, id));
        let ty = graph.ty(x).clone();
        let mask = graph.add_input(input.as_str(), ty.clone());
        let kept = graph.push(Op::Binary(Binary::Mul), &[x, mask])?;
        graph.replace_uses(id.into(), kept);
        masks.push(Mask { input: input.into(), ty, p: p.0 });
    }
    Ok(masks)
}

/// Normalises by the mean and the variance of the batch, and adds outputs for the running ones, which become states.
/// Where a statistic is frozen or computed, the normalisation stays as it is.
pub(super) fn batch_statistics(
    graph: &mut Graph,
    frozen: &dyn Fn(&str) -> bool,
    state: &mut Vec<State>,
) -> Result<(), TrainingError> {
    // The newest value of each statistic: layers that share parameters move it one after the other.
    let mut newest: BTreeMap<NodeId, Value> = BTreeMap::new();
    for id in graph.topo_order() {
        let Op::BatchNorm { eps } = graph.node(id).op else { continue };
        let [x, _, _, mean, var] = graph.node(id).operands[..] else { continue };
        let moves = |v: &Value| {
            let node = graph.node(v.node);
            node.source().is_some() && !node.name.as_deref().is_some_and(frozen)
        };
        if ![mean, var].iter().all(moves) {
            continue;
        }
        let sizes = graph.ty(x).const_shape().unwrap_or_default();
        let count = sizes.iter().product::<usize>() / sizes.get(1).copied().unwrap_or(1).max(1);
        let [batch_mean, batch_var] = by_the_batch(graph, id, eps.0)?;
        let mut b = Builder(graph);
        for (param, batch, factor) in
            [(mean, batch_mean, 1.0), (var, batch_var, count as f64 / (count - 1).max(1) as f64)]
        {
            let old = newest.get(&param.node).copied().unwrap_or(param);
            let flat = b.0.ty(param).shape.clone();
            let batch = b.0.push(Op::Reshape { shape: flat }, &[batch])?;
            let kept = b.times(old, 1.0 - MOVE)?;
            let added = b.times(batch, MOVE * factor)?;
            newest.insert(param.node, b.binary(Binary::Add, kept, added)?);
        }
    }
    for (param, value) in newest {
        let node = graph.node(param).clone();
        let (Some(name), Some(source)) = (node.name.clone(), node.source().cloned()) else { continue };
        let output = super::update::output_name(&name);
        let ty = node.types[0].clone();
        graph.outputs.push(Output { name: output.clone(), value });
        let input = graph.add_input(name.clone(), ty.clone());
        graph.replace_uses(param.into(), input);
        state.push(State { input: name, output, ty, start: Start::Parameter(source) });
    }
    Ok(())
}

/// Replaces every batch norm that has more than one element a channel by one with the statistics of its own input.
pub fn normalise_batches(graph: &mut Graph) -> Result<(), ShapeError> {
    for id in graph.topo_order() {
        let Op::BatchNorm { eps } = graph.node(id).op else { continue };
        let shape = graph.ty(graph.node(id).operands[0]).const_shape().unwrap_or_default();
        if crate::moments::normalises(&shape) {
            by_the_batch(graph, id, eps.0)?;
        }
    }
    graph.remove_dead();
    Ok(())
}

/// Spells a batch norm out with the mean and the biased variance of its input, which are returned: [1, C, 1, …].
fn by_the_batch(graph: &mut Graph, id: NodeId, eps: f64) -> Result<[Value; 2], ShapeError> {
    let (x, scale, shift) =
        (graph.node(id).operands[0], graph.node(id).operands[1], graph.node(id).operands[2]);
    let rank = graph.ty(x).rank();
    let axes: Vec<usize> = (0..rank).filter(|a| *a != 1).collect();
    let mut b = Builder(graph);
    let mean = b.mean(x, &axes)?;
    let centred = b.binary(Binary::Sub, x, mean)?;
    let square = b.binary(Binary::Mul, centred, centred)?;
    let var = b.mean(square, &axes)?;
    let eps = b.0.push_const(eps);
    let sum = b.binary(Binary::Add, var, eps)?;
    let root = b.0.push(Op::Unary(Unary::Sqrt), &[sum])?;
    let normal = b.binary(Binary::Div, centred, root)?;
    let (scale, shift) = (b.channels(scale, rank)?, b.channels(shift, rank)?);
    let scaled = b.binary(Binary::Mul, normal, scale)?;
    let shifted = b.binary(Binary::Add, scaled, shift)?;
    graph.replace_uses(id.into(), shifted);
    Ok([mean, var])
}

/// Adds nodes.
struct Builder<'a>(&'a mut Graph);

impl Builder<'_> {
    fn binary(&mut self, b: Binary, x: Value, y: Value) -> Result<Value, ShapeError> {
        self.0.push(Op::Binary(b), &[x, y])
    }

    fn times(&mut self, x: Value, factor: f64) -> Result<Value, ShapeError> {
        let factor = self.0.push_const(factor);
        self.binary(Binary::Mul, x, factor)
    }

    fn mean(&mut self, x: Value, axes: &[usize]) -> Result<Value, ShapeError> {
        self.0.push(Op::Reduce { kind: ReduceKind::Mean, axes: axes.to_vec(), keep: true }, &[x])
    }

    fn channels(&mut self, vector: Value, rank: usize) -> Result<Value, ShapeError> {
        let mut shape = vec![1.into(); rank];
        shape[1] = self.0.ty(vector).shape[0].clone();
        self.0.push(Op::Reshape { shape }, &[vector])
    }
}
