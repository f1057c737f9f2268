//! What stands at each input and output of a training step.

use super::mask::MaskDraw;
use super::state::States;
use crate::error::Error;
use crate::session::bytes_of;
use rectify_ir::plan::Plan;
use rectify_runtime::Tensor;

/// Where an input's bytes come from.
#[derive(Clone, Copy)]
enum Feed {
    /// The model's input.
    Batch,
    /// Labels or targets.
    Target,
    Number(usize),
    State(usize),
    Mask(usize),
}

/// Where an output's bytes go.
#[derive(Clone, Copy)]
enum Sink {
    Number(usize),
    State(usize),
}

/// A bug: graphs of this module have the outputs that it expects.
pub(super) fn unknown_output(what: &str) -> Error {
    Error::internal("training", format!("outputs that nobody asked for: {what}"))
}

/// The ports of a step in the plan's order, and the numbers at those of rank 0.
pub(super) struct Ports {
    feeds: Vec<Feed>,
    sinks: Vec<Sink>,
    /// By name: the rate and its like, which a step reads.
    given: Vec<(String, Tensor)>,
    /// By name: the loss and its like, which a step writes.
    found: Vec<(String, Tensor)>,
}

const LABELS: &str = "labels";
const TARGET: &str = "target";
pub(super) const RATE: &str = "rate";
/// Inputs of a step beside the model's own.
pub(super) const RESERVED: [&str; 5] = [LABELS, TARGET, RATE, "first_correction", "second_correction"];

impl Ports {
    /// `input` is the name of the model's own input.
    pub fn new(plan: &Plan, input: &str, states: &States, masks: &[MaskDraw]) -> Result<Ports, Error> {
        let (mut given, mut found) = (Vec::new(), Vec::new());
        let number = |list: &mut Vec<(String, Tensor)>, name: &str| {
            list.push((name.to_owned(), Tensor::scalar(0f32)));
            list.len() - 1
        };
        let mut feeds = Vec::with_capacity(plan.inputs.len());
        for port in &plan.inputs {
            let name = port.name.as_str();
            let state = || states.index(|s| &*s.input == name).map(Feed::State);
            let mask = || masks.iter().position(|m| m.input() == name).map(Feed::Mask);
            feeds.push(match name {
                name if name == input => Feed::Batch,
                LABELS | TARGET => Feed::Target,
                _ => state().or_else(mask).unwrap_or_else(|| Feed::Number(number(&mut given, name))),
            });
        }
        let mut sinks = Vec::with_capacity(plan.outputs.len());
        for port in &plan.outputs {
            let state = states.index(|s| *s.output == port.name).map(Sink::State);
            sinks.push(state.unwrap_or_else(|| Sink::Number(number(&mut found, &port.name))));
        }
        let numbers =
            plan.inputs.iter().zip(&feeds).filter(|(_, f)| matches!(f, Feed::Number(_))).map(|(p, _)| p);
        let results =
            plan.outputs.iter().zip(&sinks).filter(|(_, s)| matches!(s, Sink::Number(_))).map(|(p, _)| p);
        match numbers.chain(results).find(|port| !port.shape.is_empty()) {
            Some(port) => Err(unknown_output(&port.name)),
            None => Ok(Ports { feeds, sinks, given, found }),
        }
    }

    /// Sets a number that a step reads; nothing happens where it reads none of this name.
    pub fn set(&mut self, name: &str, value: f64) {
        if let Some((_, tensor)) = self.given.iter_mut().find(|(n, _)| n == name) {
            *tensor = Tensor::scalar(value as f32);
        }
    }

    /// A number that the last step wrote.
    pub fn get(&self, name: &str) -> Option<f64> {
        let (_, tensor) = self.found.iter().find(|(n, _)| n == name)?;
        tensor.as_slice::<f32>().ok()?.first().map(|v| f64::from(*v))
    }

    /// The bytes of all ports in order, for one run.
    pub fn bytes<'a>(
        &'a mut self,
        batch: &'a [u8],
        target: &'a [u8],
        masks: &'a [MaskDraw],
        states: &'a mut States,
    ) -> (Vec<&'a [u8]>, Vec<&'a mut [u8]>) {
        let (now, next) = states.both();
        let inputs = self.feeds.iter().map(|feed| match feed {
            Feed::Batch => batch,
            Feed::Target => target,
            Feed::Number(i) => self.given[*i].1.view().bytes(),
            Feed::State(i) => now[*i].view().bytes(),
            Feed::Mask(i) => masks[*i].bytes(),
        });
        // Each output is a tensor of its own, so that it is lent once.
        let mut next: Vec<Option<&mut Tensor>> = next.iter_mut().map(Some).collect();
        let mut found: Vec<Option<&mut Tensor>> = self.found.iter_mut().map(|(_, t)| Some(t)).collect();
        let outputs = self.sinks.iter().filter_map(|sink| match sink {
            Sink::Number(i) => found[*i].take(),
            Sink::State(i) => next[*i].take(),
        });
        (inputs.collect(), outputs.map(bytes_of).collect())
    }
}
