//! What a run tells of itself: the lines of `metrics.jsonl`.

use crate::train::{Score, Signal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A line. Errors are shares of images, or, where values are predicted, how far these are off: the root of the mean square, or
/// the mean magnitude, by the loss. Losses are means over images; seconds are those of computing since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// Means over the steps since the last such line.
    Steps {
        step: u64,
        epoch: f64,
        rate: f64,
        loss: f64,
        error: f64,
        gradient_norm: Option<f64>,
        seconds: f64,
    },
    /// At the end of an epoch (or of the run), and, as number 0, before the first step.
    Epoch(Box<EpochRecord>),
    /// The best weights on the test set.
    Test {
        images: u64,
        loss: f64,
        error: f64,
        /// Of classes alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top5_error: Option<f64>,
    },
    /// The run ended before its time.
    Stopped { step: u64, message: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    pub epoch: u64,
    pub step: u64,
    /// Of the last step.
    pub rate: f64,
    /// Over the epoch's steps, each before its update and on augmented images; `None` before the first.
    pub train: Option<Quality>,
    /// `None` without a validation set.
    pub validation: Option<Quality>,
    /// Whether these are the best weights so far.
    pub best: bool,
    pub slopes: Vec<Slopes>,
    pub signals: Vec<Signal>,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    pub loss: f64,
    pub error: f64,
}

impl From<Score> for Quality {
    fn from(score: Score) -> Quality {
        Quality { loss: score.loss(), error: score.error() }
    }
}

/// Slopes of a PReLU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slopes {
    /// The parameter's full name.
    pub parameter: Arc<str>,
    pub mean: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Slopes {
    pub(super) fn of(parameter: &str, values: &[f32]) -> Slopes {
        let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
        let fold = |start: f32, f: fn(f32, f32) -> f32| f64::from(values.iter().copied().fold(start, f));
        Slopes {
            parameter: parameter.into(),
            mean: sum / values.len().max(1) as f64,
            least: fold(f32::INFINITY, f32::min),
            greatest: fold(f32::NEG_INFINITY, f32::max),
        }
    }
}
