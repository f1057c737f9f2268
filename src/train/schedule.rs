//! How the learning rate goes over a run.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The rate as a factor on the one that a run begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    #[default]
    Constant,
    /// `factor` times what it was, every so many epochs.
    Step { epochs: u64, factor: f64 },
    /// From 1 to `end` along half a cosine (Loshchilov and Hutter 2017).
    Cosine { end: f64 },
    /// `factor` times what it was, whenever the validation error has not fallen for `patience` epochs (the paper's way).
    Plateau { patience: u64, factor: f64 },
}

/// Where in a run a rate is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub step: u64,
    pub steps_per_epoch: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// Steps in which the rate grows in equal parts from nothing.
    pub warmup: u64,
    /// How often a plateau was met.
    pub drops: u32,
}

impl Schedule {
    pub fn factor(self, at: Moment) -> f64 {
        let warm = if at.step < at.warmup { (at.step + 1) as f64 / at.warmup as f64 } else { 1.0 };
        let power = |factor: f64, times: u64| factor.powi(i32::try_from(times).unwrap_or(i32::MAX));
        warm * match self {
            Schedule::Constant => 1.0,
            Schedule::Step { epochs, factor } => {
                power(factor, at.step / at.steps_per_epoch.max(1) / epochs.max(1))
            }
            Schedule::Cosine { end } => {
                let length = at.total.saturating_sub(at.warmup).max(1) as f64;
                let done = at.step.saturating_sub(at.warmup) as f64 / length;
                end + (1.0 - end) * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
            }
            Schedule::Plateau { factor, .. } => power(factor, u64::from(at.drops)),
        }
    }
}

/// Epochs without progress, for [`Schedule::Plateau`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plateau {
    least: Option<f64>,
    waited: u64,
    pub drops: u32,
}

impl Plateau {
    /// Takes an epoch's error; a plateau ends the waiting and begins a new one.
    pub fn see(&mut self, schedule: Schedule, error: f64) {
        let Schedule::Plateau { patience, .. } = schedule else { return };
        if self.least.is_none_or(|least| error < least) {
            (self.least, self.waited) = (Some(error), 0);
            return;
        }
        self.waited += 1;
        if self.waited >= patience {
            (self.waited, self.drops) = (0, self.drops + 1);
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        const KNOWN: &str =
            "a schedule is constant, step:EPOCHS,FACTOR, cosine, cosine:END or plateau:EPOCHS,FACTOR";
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let pair = || {
            let (epochs, factor) = rest.split_once(',').ok_or(KNOWN)?;
            let epochs = epochs.parse::<u64>().ok().filter(|e| *e > 0);
            let factor = factor.parse::<f64>().ok().filter(|f| *f > 0.0 && *f < 1.0);
            epochs
                .zip(factor)
                .ok_or_else(|| format!("`{rest}` is not a number of epochs and a factor between 0 and 1"))
        };
        match kind {
            "constant" if rest.is_empty() => Ok(Schedule::Constant),
            "step" => pair().map(|(epochs, factor)| Schedule::Step { epochs, factor }),
            "plateau" => pair().map(|(patience, factor)| Schedule::Plateau { patience, factor }),
            "cosine" if text == kind => Ok(Schedule::Cosine { end: 0.0 }),
            "cosine" => {
                let end = rest.parse::<f64>().ok().filter(|end| (0.0..=1.0).contains(end));
                end.map(|end| Schedule::Cosine { end })
                    .ok_or_else(|| format!("`{rest}` is not a factor from 0 to 1"))
            }
            _ => Err(KNOWN.into()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Step { epochs, factor } => write!(f, "step:{epochs},{factor}"),
            Schedule::Cosine { end: 0.0 } => f.write_str("cosine"),
            Schedule::Cosine { end } => write!(f, "cosine:{end}"),
            Schedule::Plateau { patience, factor } => write!(f, "plateau:{patience},{factor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(text: &str, warmup: u64, steps: &[u64]) -> Vec<f64> {
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.to_string(), text);
        let at = |step| Moment { step, steps_per_epoch: 10, total: 100, warmup, drops: 2 };
        steps.iter().map(|step| (schedule.factor(at(*step)) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn rates_go_as_named() {
        assert_eq!(factors("constant", 4, &[0, 1, 3, 4, 99]), [0.25, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!(factors("step:3,0.1", 0, &[0, 29, 30, 59, 60]), [1.0, 1.0, 0.1, 0.1, 0.01]);
        assert_eq!(factors("cosine", 0, &[0, 50, 100]), [1.0, 0.5, 0.0]);
        assert_eq!(factors("cosine:0.2", 20, &[19, 20, 60, 100]), [1.0, 1.0, 0.6, 0.2]);
        assert_eq!(factors("plateau:2,0.5", 0, &[0, 9]), [0.25, 0.25]);
    }

    #[test]
    fn plateaus_are_met_after_waiting() {
        let schedule = Schedule::Plateau { patience: 2, factor: 0.1 };
        let mut plateau = Plateau::default();
        let drops: Vec<u32> = [0.5, 0.4, 0.4, 0.45, 0.42, 0.39, 0.4, 0.4]
            .iter()
            .map(|error| {
                plateau.see(schedule, *error);
                plateau.drops
            })
            .collect();
        assert_eq!(drops, [0, 0, 0, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in
            ["linear", "step", "step:0,0.1", "step:3,2", "cosine:2", "cosine:", "plateau:x,0.1", "constant:1"]
        {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
