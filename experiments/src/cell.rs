//! One training run: an arm at a rate with a seed, in a folder of its own. What is there is not done again.

use crate::study::{Arm, Study};
use rectify::data::sets::Spec;
use rectify::train::{Length, Quality, Record, Run, Settings, Slopes, records};
use rectify::{Error, Model};
use std::path::{Path, PathBuf};

/// Training losses are averaged over so many last steps.
const LAST: u64 = 50;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Mean training loss over the last steps; infinite if the run left all bounds.
    pub loss: f64,
    pub validation: Quality,
    /// Of the model's PReLUs, in order.
    pub slopes: Vec<Slopes>,
    /// Training losses over the run: steps, and means since the last.
    pub curve: Vec<(u64, f64)>,
    pub seconds: f64,
}

impl Outcome {
    /// The loss of a classifier that knows nothing, within 0.02.
    pub fn at_chance(&self) -> bool {
        (self.loss - 10f64.ln()).abs() <= 0.02
    }

    pub fn diverged(&self) -> bool {
        self.loss.is_infinite()
    }
}

/// Where and on what runs are made.
pub struct Bench<'a> {
    pub spec: &'a Spec,
    pub folder: &'a Path,
    pub threads: usize,
}

impl Bench<'_> {
    /// The outcome of an arm at a rate with a seed: read, resumed or trained.
    pub fn outcome(&self, study: &Study, arm: &Arm, rate: f64, seed: u64) -> Result<Outcome, Error> {
        let folder = self.folder.join(&study.name).join(&arm.name).join(format!("rate-{rate}-seed-{seed}"));
        let settings = Settings { rate, ..study.settings.clone() };
        if let Some(done) = self.read(&folder, &settings)? {
            return Ok(done);
        }
        let model = Model::parse(&arm.model)?;
        let compiler = model.compiler().seed(seed).threads(self.threads);
        let begin = if folder.join("config.json").exists() { Run::resume } else { Run::start };
        match begin(&compiler, self.spec, settings.clone(), &folder)?.run(&mut |_| ()) {
            Ok(_) | Err(Error::Diverged { .. }) => {}
            Err(other) => return Err(other),
        }
        self.read(&folder, &settings)?.ok_or_else(|| unreadable(&folder))
    }

    /// What a finished run left behind.
    fn read(&self, folder: &Path, settings: &Settings) -> Result<Option<Outcome>, Error> {
        if !folder.join("metrics.jsonl").exists() {
            return Ok(None);
        }
        Ok(Outcome::of(&records(folder)?, settings))
    }
}

fn unreadable(folder: &Path) -> Error {
    let path: PathBuf = folder.join("metrics.jsonl");
    Error::Read { path, message: "the run has ended, but its metrics do not say so".into() }
}

impl Outcome {
    /// `None` if the run has not come to its end.
    fn of(records: &[Record], settings: &Settings) -> Option<Outcome> {
        let mut outcome = Outcome {
            loss: f64::INFINITY,
            validation: Quality { loss: f64::INFINITY, error: 1.0 },
            slopes: Vec::new(),
            curve: Vec::new(),
            seconds: 0.0,
        };
        let (mut reached, mut stopped, mut epochs) = (0, false, 0);
        for record in records {
            match record {
                Record::Steps { step, loss, .. } => outcome.curve.push((*step, *loss)),
                Record::Epoch(epoch) => {
                    (reached, epochs) = (epoch.step, epoch.epoch);
                    outcome.seconds = epoch.seconds;
                    outcome.slopes = epoch.slopes.clone();
                    outcome.validation = epoch.validation.unwrap_or(outcome.validation);
                }
                Record::Stopped { .. } => stopped = true,
                Record::Test { .. } => {}
            }
        }
        if stopped {
            outcome.validation = Quality { loss: f64::INFINITY, error: 1.0 };
            return Some(outcome);
        }
        let done = match settings.length {
            Length::Steps(steps) => reached >= steps,
            Length::Epochs(wanted) => epochs >= wanted,
        };
        let last: Vec<f64> =
            outcome.curve.iter().filter(|(step, _)| step + LAST > reached).map(|(_, loss)| *loss).collect();
        if !done || last.is_empty() {
            return None;
        }
        outcome.loss = last.iter().sum::<f64>() / last.len() as f64;
        Some(outcome)
    }
}
