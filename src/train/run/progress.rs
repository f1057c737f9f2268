//! How far a run has come: everything beside the trainer's values that the next step depends on.

use super::record::{Quality, Record};
use crate::train::schedule::Plateau;
use crate::train::score::error_of;
use crate::train::{Loss, Outcome};
use serde::{Deserialize, Serialize};

/// Kept in checkpoints, so that a resumed run writes the same lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Of the epoch.
    pub epoch: Sums,
    /// Since the last line of steps.
    pub steps: Sums,
    pub plateau: Plateau,
    /// The least error of an epoch's end.
    pub best: Option<Best>,
    /// The loss of the first step, by which later ones are judged.
    pub first_loss: Option<f64>,
    /// Of `metrics.jsonl` when the checkpoint was written.
    pub metrics_bytes: u64,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub epoch: u64,
    pub step: u64,
    pub loss: f64,
    pub error: f64,
}

/// Sums over steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    steps: u64,
    loss: f64,
    correct: f64,
    norm: Option<f64>,
}

impl Sums {
    pub fn add(&mut self, outcome: Outcome) {
        self.steps += 1;
        self.loss += outcome.loss;
        self.correct += outcome.correct.unwrap_or(0.0);
        self.norm = outcome.gradient_norm.map(|norm| self.norm.unwrap_or(0.0) + norm);
    }

    /// Means, where a step has so many rows.
    pub fn quality(&self, batch: usize, objective: Loss) -> Option<Quality> {
        let steps = self.steps as f64;
        let (loss, wrong) = (self.loss / steps, 1.0 - self.correct / (steps * batch as f64));
        (self.steps > 0).then(|| Quality { loss, error: error_of(objective, loss).unwrap_or(wrong) })
    }

    /// A line of these means, which are forgotten.
    pub fn take_record(
        &mut self,
        batch: usize,
        objective: Loss,
        step: u64,
        epoch: f64,
        rate: f64,
        seconds: f64,
    ) -> Option<Record> {
        let Quality { loss, error } = self.quality(batch, objective)?;
        let gradient_norm = self.norm.map(|norm| norm / self.steps as f64);
        *self = Sums::default();
        Some(Record::Steps { step, epoch, rate, loss, error, gradient_norm, seconds })
    }
}
