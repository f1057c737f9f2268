//! How good logits are: cross-entropy, and how often the label is among the greatest.

use crate::error::Error;
use rectify_runtime::TensorView;
use serde::{Deserialize, Serialize};

/// Sums over rows; in f64, in the rows' order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub rows: u64,
    loss: f64,
    top1: u64,
    top5: u64,
}

impl Score {
    /// Adds rows of logits (or of logarithms of probabilities) with their labels.
    ///
    /// # Errors
    /// Not [N, K] with N labels below K.
    pub fn add(&mut self, logits: TensorView<'_>, labels: &[u32]) -> Result<(), Error> {
        let &[rows, classes] = logits.shape() else {
            return Err(Error::tensor(format!("logits have the shape [N, K], not {:?}", logits.shape())));
        };
        if labels.len() != rows {
            return Err(Error::tensor(format!("{} labels for {rows} rows", labels.len())));
        }
        for (row, label) in logits.as_slice::<f32>()?.chunks_exact(classes.max(1)).zip(labels) {
            let Some(own) = row.get(*label as usize).copied() else {
                return Err(Error::tensor(format!("the label {label} is none of {classes} classes")));
            };
            let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = row.iter().map(|v| f64::from(v - greatest).exp()).sum();
            self.loss += total.ln() - f64::from(own - greatest);
            // A row that is not a number is no hit. Of equal logits the first is the greatest.
            let before =
                row.iter().enumerate().filter(|(i, v)| **v > own || (**v == own && *i < *label as usize));
            let place = if row.iter().all(|v| v.is_finite()) { before.count() } else { classes };
            self.top1 += u64::from(place < 1);
            self.top5 += u64::from(place < 5);
            self.rows += 1;
        }
        Ok(())
    }

    /// Mean cross-entropy.
    pub fn loss(&self) -> f64 {
        self.loss / self.rows.max(1) as f64
    }

    /// Share of rows whose label does not have the greatest logit.
    pub fn error(&self) -> f64 {
        1.0 - self.top1 as f64 / self.rows.max(1) as f64
    }

    /// Share of rows whose label is not among the five greatest logits.
    pub fn top5_error(&self) -> f64 {
        1.0 - self.top5 as f64 / self.rows.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_means_over_rows() {
        let logits = [0.0, 0.0, 1.0, -1.0, 3.0, 3.0, 0.0, 0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0];
        let mut score = Score::default();
        score.add(TensorView::new(&[2, 8], &logits).unwrap(), &[4, 7]).unwrap();
        let cross = |row: &[f32], label: usize| {
            row.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln() - f64::from(row[label])
        };
        let want = (cross(&logits[..8], 4) + cross(&logits[8..], 7)) / 2.0;
        assert!((score.loss() - want).abs() < 1e-6);
        assert_eq!((score.error(), score.top5_error()), (0.5, 0.5));
        // Equal logits: the first of them wins.
        let mut tie = Score::default();
        tie.add(TensorView::new(&[1, 2], &[1f32, 1.0]).unwrap(), &[1]).unwrap();
        assert_eq!(tie.error(), 1.0);
        let mut nan = Score::default();
        nan.add(TensorView::new(&[1, 2], &[f32::NAN, 1.0]).unwrap(), &[1]).unwrap();
        assert_eq!(nan.error(), 1.0);
        assert!(nan.add(TensorView::new(&[1, 2], &[0f32, 1.0]).unwrap(), &[2]).is_err());
    }
}
