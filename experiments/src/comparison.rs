//! A study carried out: every arm at every rate, the best rate of each, and the comparison at these.

use crate::cell::{Bench, Outcome};
use crate::study::Study;
use rectify::Error;

/// An arm's outcomes at one rate, by seed.
#[derive(Clone, Debug)]
pub struct Row {
    pub arm: String,
    pub rate: f64,
    pub outcomes: Vec<Outcome>,
}

impl Row {
    pub fn errors(&self) -> Vec<f64> {
        self.outcomes.iter().map(|o| o.validation.error).collect()
    }

    pub fn losses(&self) -> Vec<f64> {
        self.outcomes.iter().map(|o| o.loss).collect()
    }

    /// Mean validation loss; infinite if any run left all bounds.
    fn mean_loss(&self) -> f64 {
        self.outcomes.iter().map(|o| o.validation.loss).sum::<f64>() / self.outcomes.len().max(1) as f64
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Every arm at every rate, on the search's seeds.
    pub grid: Vec<Row>,
    /// Every arm at its best rate, on the comparison's seeds.
    pub rows: Vec<Row>,
}

/// Carries a study out: first every arm's best rate, then seed by seed, so that what is there at any time is paired. `tell` hears of
/// each run that begins.
pub fn compare(study: &Study, bench: &Bench<'_>, tell: &mut dyn FnMut(&str)) -> Result<Comparison, Error> {
    let mut grid = Vec::new();
    let mut rows = Vec::new();
    for arm in &study.arms {
        let mut best: Option<(f64, f64)> = None;
        for rate in &study.rates {
            let mut outcomes = Vec::new();
            for seed in study.search.clone() {
                tell(&format!("{}: {} at {rate}, seed {seed} (search)", study.name, arm.name));
                outcomes.push(bench.outcome(study, arm, *rate, seed)?);
            }
            let row = Row { arm: arm.name.clone(), rate: *rate, outcomes };
            // Of equal rates the lower: rates are in rising order.
            if best.is_none_or(|(loss, _)| row.mean_loss() < loss) {
                best = Some((row.mean_loss(), *rate));
            }
            grid.push(row);
        }
        let rate = best.map_or(0.0, |(_, rate)| rate);
        rows.push(Row { arm: arm.name.clone(), rate, outcomes: Vec::new() });
    }
    for seed in study.seeds.clone() {
        for (arm, row) in study.arms.iter().zip(&mut rows) {
            tell(&format!("{}: {} at {}, seed {seed}", study.name, arm.name, row.rate));
            row.outcomes.push(bench.outcome(study, arm, row.rate, seed)?);
        }
    }
    Ok(Comparison { grid, rows })
}
