//! Parameters as inputs, and their new values.

use super::{Optimiser, Start, State};
use rectify_ir::TensorType;
use rectify_ir::graph::{Graph, NodeId, Output, Value};
use rectify_ir::op::{Binary, Op};
use rectify_ir::shape::ShapeError;
use std::sync::Arc;

/// A parameter that a step moves.
pub(super) struct Trained {
    pub name: Arc<str>,
    pub value: Value,
    pub decays: bool,
}

/// The name of the output that a state's new value is.
pub(super) fn output_name(input: &str) -> Arc<str> {
    format!("new.{input}").into()
}

/// Replaces float parameters that are drawn or loaded, and not frozen, by inputs of their names.
pub(super) fn parameters_as_inputs(
    graph: &mut Graph,
    frozen: &dyn Fn(&str) -> bool,
    state: &mut Vec<State>,
) -> Vec<Trained> {
    graph.remove_dead();
    let mut trained = Vec::new();
    for id in graph.params() {
        let node = graph.node(id).clone();
        let (Some(name), Some(source)) = (node.name.clone(), node.source().cloned()) else { continue };
        let ty = node.types[0].clone();
        if frozen(&name) || !ty.dtype.is_float() {
            continue;
        }
        let decays = decays(graph, id);
        let value = graph.add_input(name.clone(), ty.clone());
        graph.replace_uses(id.into(), value);
        let output = output_name(&name);
        state.push(State { input: name.clone(), output, ty, start: Start::Parameter(source) });
        trained.push(Trained { name, value, decays });
    }
    graph.remove_dead();
    trained
}

/// Weights of contractions decay: what multiplies signals. Slopes, biases, scales and shifts do not.
fn decays(graph: &Graph, param: NodeId) -> bool {
    graph.users(param.into()).iter().any(|(user, operand)| {
        let contracts =
            matches!(graph.node(*user).op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense | Op::MatMul);
        contracts && *operand < 2
    })
}

/// Adds the new values of parameters and velocities as outputs. A parameter without a gradient keeps its value.
pub(super) fn add(
    graph: &mut Graph,
    optimiser: Optimiser,
    trained: &[Trained],
    gradients: &[Option<Value>],
    state: &mut Vec<State>,
) -> Result<(), ShapeError> {
    let rate = graph.add_input("rate", TensorType::f32([]));
    let (Optimiser::CaffeMomentum { momentum, decay } | Optimiser::Momentum { momentum, decay }) = optimiser;
    for (p, gradient) in trained.iter().zip(gradients) {
        let Some(mut g) = *gradient else {
            graph.outputs.push(Output { name: output_name(&p.name), value: p.value });
            continue;
        };
        if p.decays && decay != 0.0 {
            let pull = times(graph, p.value, decay)?;
            g = binary(graph, Binary::Add, g, pull)?;
        }
        let caffe = matches!(optimiser, Optimiser::CaffeMomentum { .. });
        let mut step = if caffe { binary(graph, Binary::Mul, g, rate)? } else { g };
        if momentum != 0.0 {
            let input: Arc<str> = format!("velocity.{}", p.name).into();
            let ty = graph.ty(p.value).clone();
            let velocity = graph.add_input(input.clone(), ty.clone());
            let kept = times(graph, velocity, momentum)?;
            step = binary(graph, Binary::Add, kept, step)?;
            let output = output_name(&input);
            graph.outputs.push(Output { name: output.clone(), value: step });
            state.push(State { input, output, ty, start: Start::Zeros });
        }
        if !caffe {
            step = binary(graph, Binary::Mul, step, rate)?;
        }
        let value = binary(graph, Binary::Sub, p.value, step)?;
        graph.outputs.push(Output { name: output_name(&p.name), value });
    }
    Ok(())
}

fn binary(graph: &mut Graph, b: Binary, x: Value, y: Value) -> Result<Value, ShapeError> {
    graph.push(Op::Binary(b), &[x, y])
}

fn times(graph: &mut Graph, x: Value, factor: f64) -> Result<Value, ShapeError> {
    let factor = graph.push_const(factor);
    binary(graph, Binary::Mul, x, factor)
}
