//! Parameters as inputs, and their new values.

use super::{Optimiser, Recipe, Start, State};
use rectify_ir::TensorType;
use rectify_ir::graph::{Graph, NodeId, Output, Value};
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
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

/// Adds the new values of parameters and of what the optimiser keeps as outputs. A parameter without a gradient keeps its value.
pub(super) fn add(
    graph: &mut Graph,
    recipe: &Recipe<'_>,
    trained: &[Trained],
    mut gradients: Vec<Option<Value>>,
    state: &mut Vec<State>,
) -> Result<(), ShapeError> {
    if let Some(limit) = recipe.clip {
        clip(graph, &mut gradients, limit)?;
    }
    let mut rule = Update { rate: graph.add_input("rate", TensorType::f32([])), graph, state };
    // Made once, for all parameters.
    let mut corrections = None;
    for (p, gradient) in trained.iter().zip(gradients) {
        let decays = |decay: f64| if p.decays || recipe.decay_all { decay } else { 0.0 };
        let value = match (gradient, recipe.optimiser) {
            (None, _) => p.value,
            (Some(g), Optimiser::CaffeMomentum { momentum, decay }) => {
                rule.momentum(p, g, momentum, decays(decay), true)?
            }
            (Some(g), Optimiser::Momentum { momentum, decay }) => {
                rule.momentum(p, g, momentum, decays(decay), false)?
            }
            (Some(g), Optimiser::AdamW { beta1, beta2, epsilon, decay }) => {
                let corrections = *corrections.get_or_insert_with(|| rule.corrections());
                rule.adam(p, g, [beta1, beta2, epsilon, decays(decay)], corrections)?
            }
        };
        rule.graph.outputs.push(Output { name: output_name(&p.name), value });
    }
    Ok(())
}

/// Scales all gradients by min(1, limit / norm), where the norm is that of all of them together.
fn clip(graph: &mut Graph, gradients: &mut [Option<Value>], limit: f64) -> Result<(), ShapeError> {
    let mut total: Option<Value> = None;
    for g in gradients.iter().flatten() {
        let square = binary(graph, Binary::Mul, *g, *g)?;
        let axes = (0..graph.ty(*g).rank()).collect();
        let sum = graph.push(Op::Reduce { kind: ReduceKind::Sum, axes, keep: false }, &[square])?;
        total = Some(match total {
            Some(total) => binary(graph, Binary::Add, total, sum)?,
            None => sum,
        });
    }
    let Some(total) = total else { return Ok(()) };
    let norm = graph.push(Op::Unary(Unary::Sqrt), &[total])?;
    graph.outputs.push(Output { name: "gradient_norm".into(), value: norm });
    let limit = graph.push_const(limit);
    // Never a division by zero, and exactly 1 below the limit.
    let least = binary(graph, Binary::Max, norm, limit)?;
    let factor = binary(graph, Binary::Div, limit, least)?;
    for g in gradients.iter_mut().flatten() {
        *g = binary(graph, Binary::Mul, *g, factor)?;
    }
    Ok(())
}

/// Adds nodes of updates.
struct Update<'a> {
    graph: &'a mut Graph,
    state: &'a mut Vec<State>,
    rate: Value,
}

impl Update<'_> {
    /// Factors that make up for averages that began with zeros.
    fn corrections(&mut self) -> (Value, Value) {
        let mut number = |name: &str| self.graph.add_input(name, TensorType::f32([]));
        (number("first_correction"), number("second_correction"))
    }

    /// The new value of a parameter.
    fn momentum(
        &mut self,
        p: &Trained,
        mut g: Value,
        momentum: f64,
        decay: f64,
        caffe: bool,
    ) -> Result<Value, ShapeError> {
        if decay != 0.0 {
            let pull = times(self.graph, p.value, decay)?;
            g = binary(self.graph, Binary::Add, g, pull)?;
        }
        let mut step = if caffe { binary(self.graph, Binary::Mul, g, self.rate)? } else { g };
        if momentum != 0.0 {
            step = self.kept("velocity", p, |graph, velocity| {
                let kept = times(graph, velocity, momentum)?;
                binary(graph, Binary::Add, kept, step)
            })?;
        }
        if !caffe {
            step = binary(self.graph, Binary::Mul, step, self.rate)?;
        }
        binary(self.graph, Binary::Sub, p.value, step)
    }

    /// The new value of a parameter.
    fn adam(
        &mut self,
        p: &Trained,
        g: Value,
        [beta1, beta2, epsilon, decay]: [f64; 4],
        (first, second): (Value, Value),
    ) -> Result<Value, ShapeError> {
        let mean = self.kept("mean", p, |graph, old| average(graph, old, beta1, g))?;
        let square = binary(self.graph, Binary::Mul, g, g)?;
        let square = self.kept("square", p, |graph, old| average(graph, old, beta2, square))?;
        let graph = &mut *self.graph;
        let mean = binary(graph, Binary::Mul, mean, first)?;
        let square = binary(graph, Binary::Mul, square, second)?;
        let root = graph.push(Op::Unary(Unary::Sqrt), &[square])?;
        let epsilon = graph.push_const(epsilon);
        let root = binary(graph, Binary::Add, root, epsilon)?;
        let mut step = binary(graph, Binary::Div, mean, root)?;
        if decay != 0.0 {
            let pull = times(graph, p.value, decay)?;
            step = binary(graph, Binary::Add, step, pull)?;
        }
        let step = binary(graph, Binary::Mul, step, self.rate)?;
        binary(graph, Binary::Sub, p.value, step)
    }

    /// A state of the parameter's shape that begins with zeros: its new value, made from the old one.
    fn kept(
        &mut self,
        kind: &str,
        p: &Trained,
        new: impl FnOnce(&mut Graph, Value) -> Result<Value, ShapeError>,
    ) -> Result<Value, ShapeError> {
        let input: Arc<str> = format!("{kind}.{}", p.name).into();
        let ty = self.graph.ty(p.value).clone();
        let old = self.graph.add_input(input.clone(), ty.clone());
        let value = new(self.graph, old)?;
        let output = output_name(&input);
        self.graph.outputs.push(Output { name: output.clone(), value });
        self.state.push(State { input, output, ty, start: Start::Zeros });
        Ok(value)
    }
}

/// share · old + (1 − share) · new
fn average(graph: &mut Graph, old: Value, share: f64, new: Value) -> Result<Value, ShapeError> {
    let kept = times(graph, old, share)?;
    let added = times(graph, new, 1.0 - share)?;
    binary(graph, Binary::Add, kept, added)
}

fn binary(graph: &mut Graph, b: Binary, x: Value, y: Value) -> Result<Value, ShapeError> {
    graph.push(Op::Binary(b), &[x, y])
}

fn times(graph: &mut Graph, x: Value, factor: f64) -> Result<Value, ShapeError> {
    let factor = graph.push_const(factor);
    binary(graph, Binary::Mul, x, factor)
}
