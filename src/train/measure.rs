//! A trainer's model beside its steps: predictions on the present parameters, and what passes through the layers.
//!
//! Both are graphs of their own, compiled when they are first asked for, that take the parameters as inputs.

use super::mask::MaskDraw;
use super::ports::{Ports, unknown_output};
use super::program::Program;
use super::state::States;
use super::trainer::Trainer;
use crate::error::Error;
use crate::session::bytes_of;
use rectify_passes::training;
use rectify_runtime::{Tensor, TensorView};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Standard deviations at a layer with weights, over all elements of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    pub layer: Arc<str>,
    /// Of the layer's result.
    pub activation: f64,
    /// Of the derivative of the loss by it.
    pub gradient: f64,
}

/// Predictions of one batch size.
pub(super) struct Predictor {
    program: Program,
    /// For each input: a state, or the model's own input.
    feeds: Vec<Option<usize>>,
    rows: usize,
    /// A batch that is not full.
    padded: Tensor,
    logits: Tensor,
}

pub(super) struct SignalProbe {
    program: Program,
    ports: Ports,
    masks: Vec<MaskDraw>,
    layers: Vec<Arc<str>>,
}

impl Predictor {
    fn new(trainer: &Trainer) -> Result<Predictor, Error> {
        let graph = training::evaluation(&trainer.model, &|name| trainer.method.frozen(name));
        let program = Program::new(&trainer.compiler(), graph, trainer.parameters.clone())?;
        let state = |name: &str| trainer.states.index(|s| &*s.input == name);
        let feeds = program.plan().inputs.iter().map(|port| state(&port.name)).collect();
        let padded = Tensor::zeros(rectify_ir::DType::F32, trainer.input.1.as_slice())?;
        let logits = match &program.plan().outputs[..] {
            [port] => Tensor::zeros(port.dtype, port.shape.as_slice())?,
            _ => return Err(unknown_output("of a prediction")),
        };
        let rows = trainer.input.1.first().copied().unwrap_or(0);
        Ok(Predictor { program, feeds, rows, padded, logits })
    }

    /// The model's output, whose first rows are those of the inputs.
    fn run(&mut self, inputs: TensorView<'_>, states: &States) -> Result<(), Error> {
        let values = inputs.as_slice::<f32>()?;
        let padded = self.padded.as_mut_slice::<f32>()?;
        padded[..values.len()].copy_from_slice(values);
        padded[values.len()..].fill(0.0);
        let now = states.now();
        let bytes: Vec<&[u8]> = self
            .feeds
            .iter()
            .map(|feed| feed.map_or(self.padded.view().bytes(), |i| now[i].view().bytes()))
            .collect();
        self.program.run(&bytes, vec![bytes_of(&mut self.logits)])
    }
}

impl SignalProbe {
    fn new(trainer: &Trainer) -> Result<SignalProbe, Error> {
        let frozen = |name: &str| trainer.method.frozen(name);
        let signals = training::signals(&trainer.model, trainer.method.loss, &frozen);
        let signals = signals.map_err(|e| Error::internal("training", e))?;
        let seed = trainer.parameters.seed();
        let draw = |mask| MaskDraw::new(mask, seed);
        let masks: Vec<MaskDraw> = signals.masks.into_iter().map(draw).collect::<Result<_, _>>()?;
        let program = Program::new(&trainer.compiler(), signals.graph, trainer.parameters.clone())?;
        let ports = Ports::new(program.plan(), &trainer.input.0, &trainer.states, &masks)?;
        Ok(SignalProbe { program, ports, masks, layers: signals.layers })
    }
}

impl Trainer {
    /// The model's output on up to a batch of inputs: without dropout, by the running statistics of batch norms.
    ///
    /// # Errors
    /// Inputs of another shape than the compiled one, or of more rows.
    pub fn predict(&mut self, inputs: TensorView<'_>) -> Result<Tensor, Error> {
        let want = &self.input.1;
        let fits = inputs.shape().len() == want.len()
            && inputs.shape().first() <= want.first()
            && inputs.shape().get(1..) == want.get(1..);
        if !fits {
            let (got, name) = (inputs.shape(), &self.input.0);
            return Err(Error::tensor(format!("the input `{name}` is up to {want:?}, not {got:?}")));
        }
        let mut predictor = match self.predictor.take() {
            Some(made) => made,
            None => Box::new(Predictor::new(self)?),
        };
        let done = predictor.run(inputs, &self.states);
        let predictor = self.predictor.insert(predictor);
        done?;
        let rows = inputs.shape().first().copied().unwrap_or(0);
        let mut shape = predictor.logits.shape().to_vec();
        let each = predictor.logits.elements() / predictor.rows.max(1);
        shape[0] = rows;
        let values = predictor.logits.as_slice::<f32>()?[..rows * each].to_vec();
        Ok(Tensor::new(shape, values)?)
    }

    /// What passes through the layers with weights, in their order, in a training step on this batch. Nothing moves.
    pub fn signals(&mut self, inputs: TensorView<'_>, target: TensorView<'_>) -> Result<Vec<Signal>, Error> {
        self.check_inputs(inputs)?;
        let mut probe = match self.probe.take() {
            Some(made) => made,
            None => Box::new(SignalProbe::new(self)?),
        };
        for mask in &mut probe.masks {
            mask.draw(self.steps)?;
        }
        let target = self.expected.bytes(target)?;
        let (given, found) = probe.ports.bytes(inputs.bytes(), target, &probe.masks, &mut self.states);
        let done = probe.program.run(&given, found);
        let probe = self.probe.insert(probe);
        done?;
        let number =
            |kind: &str, layer: &str| probe.ports.get(&format!("{kind}.{layer}")).unwrap_or(f64::NAN);
        let signal = |layer: &Arc<str>| Signal {
            layer: layer.clone(),
            activation: number("activation", layer),
            gradient: number("gradient", layer),
        };
        Ok(probe.layers.iter().map(signal).collect())
    }

    /// The first in the model's order of the values that are not finite.
    pub(super) fn broken(&self) -> Option<&str> {
        self.states.broken()
    }

    /// After a step that went wrong: takes it back, and names the layer where the trouble began.
    pub(super) fn blame(
        &mut self,
        inputs: TensorView<'_>,
        target: TensorView<'_>,
    ) -> Result<Option<String>, Error> {
        self.states.swap();
        self.steps -= 1;
        let signals = self.signals(inputs, target)?;
        self.states.swap();
        self.steps += 1;
        if let Some(forward) = signals.iter().find(|s| !s.activation.is_finite()) {
            return Ok(Some(format!("layer `{}` is the first whose result is not finite", forward.layer)));
        }
        // Gradients go backwards.
        if let Some(backward) = signals.iter().rev().find(|s| !s.gradient.is_finite()) {
            return Ok(Some(format!("layer `{}` is the first whose gradient is not finite", backward.layer)));
        }
        let largest = signals.iter().max_by(|a, b| a.activation.total_cmp(&b.activation));
        Ok(largest.map(|s| {
            format!("the largest signal, of deviation {:.2e}, is at layer `{}`", s.activation, s.layer)
        }))
    }
}
