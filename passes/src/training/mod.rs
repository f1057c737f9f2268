//! Training steps: a model becomes one graph of forward pass, loss, gradients and update.
//!
//! What: parameters become inputs, and their new values outputs, beside the loss; the graph is functional, and whoever
//! runs it hands the outputs of a step to the next one. [`TrainingStep::state`] lists these pairs.
//! Before → after: `x → logits` → `x, labels, rate, state → loss, correct, new state`.
//! Requires: a typed graph at known sizes, nothing fused. Leaves: a typed graph that goes through the passes like any other.
//!
//! Batch normalisation takes the statistics of the batch and moves its running ones; dropout multiplies by a mask that is
//! an input, so that its draws are the caller's. Slopes, biases and parameters of normalisations do not decay unless asked to.
//!
//! [`evaluation`] is the model on the same parameters as inputs, and [`signals`] measures what passes through its layers.

mod forward;
mod loss;
mod signals;
mod update;

pub use forward::normalise_batches;
pub use signals::{Signals, signals};

use crate::gradient::{GradientError, pullback};
use rectify_ir::graph::{Graph, Output, Value};
use rectify_ir::op::Source;
use rectify_ir::shape::ShapeError;
use rectify_ir::types::TensorType;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Mean over rows of the cross-entropy of softmax(logits [N, K]) with the input `labels [N]`, which holds class
    /// numbers as floats. `smoothing` of the weight is spread over all classes.
    CrossEntropy { smoothing: f64 },
    /// Mean of (output − target)²; the input `target` has the output's shape.
    SquaredError,
    /// Mean of |output − target|.
    AbsoluteError,
}

/// How parameters move. With momentum, g is the gradient plus `decay` times the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimiser {
    /// v ← momentum · v + rate · g, w ← w − v: steps that were taken at an earlier rate go on at it. The paper's and Caffe's.
    CaffeMomentum { momentum: f64, decay: f64 },
    /// v ← momentum · v + g, w ← w − rate · v: a new rate holds for old steps too. torch's.
    Momentum { momentum: f64, decay: f64 },
    /// m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², w ← w − rate · (m c₁ / (√(v c₂) + ε) + decay · w), with
    /// c₁ = 1 / (1 − β₁ᵗ) and c₂ = 1 / (1 − β₂ᵗ) at step t, counted from 1, as the inputs `first_correction` and
    /// `second_correction` (Loshchilov and Hutter 2019).
    AdamW { beta1: f64, beta2: f64, epsilon: f64, decay: f64 },
}

/// A step's loss, optimiser, and the parameters that keep their values.
pub struct Recipe<'a> {
    pub loss: Loss,
    pub optimiser: Optimiser,
    /// Gradients are scaled down so that the norm over all of them is this at most.
    pub clip: Option<f64>,
    /// Whether slopes, biases and parameters of normalisations decay as weights do.
    pub decay_all: bool,
    pub frozen: &'a dyn Fn(&str) -> bool,
}

/// Where a state begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// With the parameter's own values.
    Parameter(Source),
    Zeros,
}

/// A value that a step reads and makes anew.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub input: Arc<str>,
    pub output: Arc<str>,
    pub ty: TensorType,
    pub start: Start,
}

impl State {
    /// Whether it belongs to the model, as weights and running statistics do, and not to the optimiser.
    pub fn is_parameter(&self) -> bool {
        matches!(self.start, Start::Parameter(_))
    }
}

/// A dropout's mask: an input whose elements are 0 with probability `p`, else 1 / (1 − p).
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    pub input: Arc<str>,
    pub ty: TensorType,
    pub p: f64,
}

/// A training step. Beside the model's inputs the graph has `labels` or `target`, `rate` of rank 0, states and masks;
/// its outputs are `loss`, for a cross-entropy `correct` (rows whose label has the greatest logit), with clipping
/// `gradient_norm` (before it), and the new states.
#[derive(Clone, Debug)]
pub struct TrainingStep {
    pub graph: Graph,
    pub state: Vec<State>,
    pub masks: Vec<Mask>,
}

/// Why a model cannot be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainingError {
    #[error("a model in training has one output, but this one has {0}")]
    Outputs(usize),
    #[error("{0}")]
    Loss(String),
    #[error("no parameter is left to train")]
    NothingToTrain,
    #[error(transparent)]
    Gradient(#[from] GradientError),
    #[error("the training step: {0}")]
    Shape(#[from] ShapeError),
}

/// The training step of a model with one output.
pub fn training_step(model: &Graph, recipe: &Recipe<'_>) -> Result<TrainingStep, TrainingError> {
    if model.outputs.len() != 1 {
        return Err(TrainingError::Outputs(model.outputs.len()));
    }
    let mut graph = model.clone();
    graph.doc = String::new();
    let mut state = Vec::new();
    let masks = forward::masks(&mut graph)?;
    forward::batch_statistics(&mut graph, recipe.frozen, &mut state)?;
    let trained = update::parameters_as_inputs(&mut graph, recipe.frozen, &mut state);
    if trained.is_empty() {
        return Err(TrainingError::NothingToTrain);
    }
    // Behind the model's output stand the new running statistics.
    let mut outputs = std::mem::take(&mut graph.outputs);
    let result: Value = outputs.remove(0).value;
    let loss::Lost { loss, correct, seed } = loss::add(&mut graph, result, recipe.loss)?;
    let by: Vec<Value> = trained.iter().map(|p| p.value).collect();
    let gradients = pullback(&mut graph, &[(result, seed)], &by)?;
    graph.outputs.push(Output { name: "loss".into(), value: loss });
    graph.outputs.extend(correct.map(|value| Output { name: "correct".into(), value }));
    graph.outputs.extend(outputs);
    update::add(&mut graph, recipe, &trained, gradients, &mut state)?;
    graph.remove_dead();
    Ok(TrainingStep { graph, state, masks })
}

/// The model as it is, with the parameters that a training step moves as inputs of their names.
pub fn evaluation(model: &Graph, frozen: &dyn Fn(&str) -> bool) -> Graph {
    let mut graph = model.clone();
    graph.doc = String::new();
    update::parameters_as_inputs(&mut graph, frozen, &mut Vec::new());
    graph
}
