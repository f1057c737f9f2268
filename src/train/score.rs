//! How good outputs are: of logits cross-entropy, and how often the label is among the greatest; of values their distance from
//! what they should be.

use crate::error::Error;
use rectify_passes::training::Loss;
use rectify_runtime::TensorView;
use serde::{Deserialize, Serialize};

/// Sums over rows; in f64, in the rows' order. A score is one of logits or of values, by what it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub rows: u64,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Sums {
    Classes {
        loss: f64,
        top1: u64,
        top5: u64,
    },
    /// Of means over a row's elements.
    Values {
        squares: f64,
        absolutes: f64,
        loss: Loss,
    },
}

impl Score {
    /// Of the outputs of models that are trained by this loss.
    pub fn new(loss: Loss) -> Score {
        let sums = match loss {
            Loss::CrossEntropy { .. } => Sums::Classes { loss: 0.0, top1: 0, top5: 0 },
            Loss::SquaredError | Loss::AbsoluteError => Sums::Values { squares: 0.0, absolutes: 0.0, loss },
        };
        Score { rows: 0, sums }
    }

    /// Adds rows of logits (or of logarithms of probabilities) with their labels.
    ///
    /// # Errors
    /// Not [N, K] with N labels below K.
    pub fn add(&mut self, logits: TensorView<'_>, labels: &[u32]) -> Result<(), Error> {
        let Sums::Classes { loss, top1, top5 } = &mut self.sums else {
            return Err(Error::tensor("a score of values takes no logits"));
        };
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
            *loss += total.ln() - f64::from(own - greatest);
            // A row that is not a number is no hit. Of equal logits the first is the greatest.
            let before =
                row.iter().enumerate().filter(|(i, v)| **v > own || (**v == own && *i < *label as usize));
            let place = if row.iter().all(|v| v.is_finite()) { before.count() } else { classes };
            *top1 += u64::from(place < 1);
            *top5 += u64::from(place < 5);
            self.rows += 1;
        }
        Ok(())
    }

    /// Adds rows of values with what they should be, both of one shape.
    ///
    /// # Errors
    /// Other shapes, or a score of classes.
    pub fn add_values(&mut self, values: TensorView<'_>, targets: TensorView<'_>) -> Result<(), Error> {
        let Sums::Values { squares, absolutes, .. } = &mut self.sums else {
            return Err(Error::tensor("a score of classes takes no values"));
        };
        if values.shape() != targets.shape() || values.shape().is_empty() {
            let (got, want) = (values.shape(), targets.shape());
            return Err(Error::tensor(format!(
                "values of the shape {got:?} where {want:?} is to be predicted"
            )));
        }
        let each = values.shape()[1..].iter().product::<usize>().max(1);
        let rows =
            values.as_slice::<f32>()?.chunks_exact(each).zip(targets.as_slice::<f32>()?.chunks_exact(each));
        for (row, target) in rows {
            let off = || row.iter().zip(target).map(|(y, t)| f64::from(*y) - f64::from(*t));
            *squares += off().map(|d| d * d).sum::<f64>() / each as f64;
            *absolutes += off().map(f64::abs).sum::<f64>() / each as f64;
            self.rows += 1;
        }
        Ok(())
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.rows.max(1) as f64
    }

    /// Mean over rows of what training minimises, label smoothing aside.
    pub fn loss(&self) -> f64 {
        match self.sums {
            Sums::Classes { loss, .. } => self.mean(loss),
            Sums::Values { squares, loss: Loss::SquaredError, .. } => self.mean(squares),
            Sums::Values { absolutes, .. } => self.mean(absolutes),
        }
    }

    /// Of classes the share of rows whose label does not have the greatest logit; of values the error that the loss says,
    /// the root of the mean square for squared errors, the mean for absolute ones.
    pub fn error(&self) -> f64 {
        match self.sums {
            Sums::Classes { top1, .. } => 1.0 - self.mean(top1 as f64),
            Sums::Values { loss, .. } => error_of(loss, self.loss()).unwrap_or(f64::NAN),
        }
    }

    /// Share of rows whose label is not among the five greatest logits.
    pub fn top5_error(&self) -> Option<f64> {
        match self.sums {
            Sums::Classes { top5, .. } => Some(1.0 - self.mean(top5 as f64)),
            Sums::Values { .. } => None,
        }
    }

    /// Means of the square and of the magnitude of the deviation from what values should be.
    pub fn deviations(&self) -> Option<(f64, f64)> {
        match self.sums {
            Sums::Classes { .. } => None,
            Sums::Values { squares, absolutes, .. } => Some((self.mean(squares), self.mean(absolutes))),
        }
    }
}

/// How far values are off, in their own unit, where the mean loss is this: the root of a mean square, or the mean magnitude itself.
pub fn error_of(loss: Loss, mean: f64) -> Option<f64> {
    match loss {
        Loss::CrossEntropy { .. } => None,
        Loss::SquaredError => Some(mean.sqrt()),
        Loss::AbsoluteError => Some(mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: Loss = Loss::CrossEntropy { smoothing: 0.0 };

    #[test]
    fn values_are_scored_by_their_distance() {
        let (values, targets) = ([1f32, 2.0, 3.0, 4.0], [1f32, 0.0, 3.0, 7.0]);
        let views = |v| TensorView::new(&[2, 2], v).unwrap();
        let of = |loss| {
            let mut score = Score::new(loss);
            score.add_values(views(&values), views(&targets)).unwrap();
            (score.rows, score.loss(), score.error(), score.deviations())
        };
        let both = Some((13.0 / 4.0, 5.0 / 4.0));
        assert_eq!(of(Loss::SquaredError), (2, 3.25, 3.25f64.sqrt(), both));
        assert_eq!(of(Loss::AbsoluteError), (2, 1.25, 1.25, both));
        let mut classes = Score::new(CLASSES);
        assert!(classes.add_values(views(&values), views(&targets)).is_err());
        let flat = TensorView::new(&[4], &targets).unwrap();
        assert!(Score::new(Loss::SquaredError).add_values(views(&values), flat).is_err());
    }

    #[test]
    fn scores_are_means_over_rows() {
        let logits = [0.0, 0.0, 1.0, -1.0, 3.0, 3.0, 0.0, 0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0];
        let mut score = Score::new(CLASSES);
        score.add(TensorView::new(&[2, 8], &logits).unwrap(), &[4, 7]).unwrap();
        let cross = |row: &[f32], label: usize| {
            row.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln() - f64::from(row[label])
        };
        let want = (cross(&logits[..8], 4) + cross(&logits[8..], 7)) / 2.0;
        assert!((score.loss() - want).abs() < 1e-6);
        assert_eq!((score.error(), score.top5_error()), (0.5, Some(0.5)));
        // Equal logits: the first of them wins.
        let mut tie = Score::new(CLASSES);
        tie.add(TensorView::new(&[1, 2], &[1f32, 1.0]).unwrap(), &[1]).unwrap();
        assert_eq!(tie.error(), 1.0);
        let mut nan = Score::new(CLASSES);
        nan.add(TensorView::new(&[1, 2], &[f32::NAN, 1.0]).unwrap(), &[1]).unwrap();
        assert_eq!(nan.error(), 1.0);
        assert!(nan.add(TensorView::new(&[1, 2], &[0f32, 1.0]).unwrap(), &[2]).is_err());
    }
}
