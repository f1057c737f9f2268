//! How large what passes through a model in training is: standard deviations of the layers' results and of their gradients.

use super::{Loss, Mask, TrainingError, forward, loss, update};
use crate::gradient::pullback;
use rectify_ir::graph::{Graph, NodeId, Output, Value};
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
use rectify_ir::shape::ShapeError;
use std::sync::Arc;

/// A graph with the inputs of a training step but for the rate and the optimiser's states. Of each layer it has the outputs
/// `activation.NAME` and `gradient.NAME`, both of rank 0.
#[derive(Clone, Debug)]
pub struct Signals {
    pub graph: Graph,
    /// In the order of the forward pass.
    pub layers: Vec<Arc<str>>,
    pub masks: Vec<Mask>,
}

/// Measures every convolution and product with a weight: its result, bias added, and the derivative of the loss by it.
pub fn signals(
    model: &Graph,
    objective: Loss,
    frozen: &dyn Fn(&str) -> bool,
) -> Result<Signals, TrainingError> {
    if model.outputs.len() != 1 {
        return Err(TrainingError::Outputs(model.outputs.len()));
    }
    let mut graph = model.clone();
    graph.doc = String::new();
    let masks = forward::masks(&mut graph)?;
    forward::batch_statistics(&mut graph, frozen, &mut Vec::new())?;
    update::parameters_as_inputs(&mut graph, frozen, &mut Vec::new());
    let result = graph.outputs.remove(0).value;
    graph.outputs.clear();
    let layers: Vec<NodeId> = graph.topo_order().into_iter().filter(|id| has_weight(&graph, *id)).collect();
    let names: Vec<Arc<str>> = layers.iter().map(|id| crate::log::label(&graph, *id).into()).collect();
    let seed = loss::add(&mut graph, result, objective)?.seed;
    let values: Vec<Value> = layers.iter().map(|id| (*id).into()).collect();
    let gradients = pullback(&mut graph, &[(result, seed)], &values)?;
    for ((name, value), gradient) in names.iter().zip(values).zip(gradients) {
        // A layer that the loss does not depend on has the gradient zero.
        let gradient = match gradient {
            Some(g) => deviation(&mut graph, g)?,
            None => graph.push_const(0.0),
        };
        let activation = deviation(&mut graph, value)?;
        graph.outputs.push(Output { name: format!("activation.{name}").into(), value: activation });
        graph.outputs.push(Output { name: format!("gradient.{name}").into(), value: gradient });
    }
    graph.remove_dead();
    Ok(Signals { graph, layers: names, masks })
}

fn has_weight(graph: &Graph, id: NodeId) -> bool {
    let contracts = matches!(graph.node(id).op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense | Op::MatMul);
    contracts
        && graph.node(id).operands.get(1).is_some_and(|w| {
            let weight = graph.node(w.node);
            matches!(weight.op, Op::Param(_) | Op::Input)
        })
}

/// √(mean (x − mean x)²) over all elements.
fn deviation(graph: &mut Graph, x: Value) -> Result<Value, ShapeError> {
    let axes: Vec<usize> = (0..graph.ty(x).rank()).collect();
    let mean = |graph: &mut Graph, x: Value, keep| {
        graph.push(Op::Reduce { kind: ReduceKind::Mean, axes: axes.clone(), keep }, &[x])
    };
    let level = mean(graph, x, true)?;
    let centred = graph.push(Op::Binary(Binary::Sub), &[x, level])?;
    let square = graph.push(Op::Binary(Binary::Mul), &[centred, centred])?;
    let variance = mean(graph, square, false)?;
    graph.push(Op::Unary(Unary::Sqrt), &[variance])
}
