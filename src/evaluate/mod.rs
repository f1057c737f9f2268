//! How good trained models are on a data set: alone or averaged, on one view of each image, on ten, or on every window.
//!
//! ```
//! use rectify::data::sets::Spec;
//! use rectify::evaluate::{Evaluator, Views};
//! use rectify::Model;
//!
//! let model = Model::parse(
//!     "model net(image: f32[N, 1, 12, 12]) -> (logits: f32[N, 10]) { image |> flatten |> dense(10) as a }",
//! )?;
//! let set = Spec::parse("synth:shapes,n=100,size=12")?.load()?.train;
//! let mut evaluator = Evaluator::new(Views::Ten { side: 14 }, set.shape());
//! // An ensemble of two: parameters of different seeds.
//! for seed in [1, 2] {
//!     evaluator.add(&model.compiler().seed(seed).threads(1), None)?;
//! }
//! let score = evaluator.score(&set, 50, &mut |_| {})?;
//! assert_eq!(score.rows, 100);
//! # Ok::<(), rectify::Error>(())
//! ```
//!
//! Probabilities (softmax of the logits, in f64) are averaged over views, and then over models.

mod dense;
mod member;
mod values;
mod views;

pub use values::Regression;
pub use views::Views;

use crate::compiler::Compiler;
use crate::data::sets::{Dataset, Image, Normalise};
use crate::error::Error;
use crate::train::{Loss, Score};
use member::Member;
use rectify_runtime::TensorView;
use rectify_runtime::weights::WeightFile;
use std::path::Path;

/// Models that look at images together.
pub struct Evaluator {
    views: Views,
    /// Channels, height and width of the set's images, where a model leaves its sizes open.
    shape: [usize; 3],
    members: Vec<Member>,
}

impl Evaluator {
    /// For images of a set of this shape.
    pub fn new(views: Views, shape: [usize; 3]) -> Evaluator {
        Evaluator { views, shape, members: Vec::new() }
    }

    /// Adds the compiler's model, with its weights, and how its images were normalised.
    ///
    /// # Errors
    /// A model that takes no such images or gives no logits, views that do not fit it, other classes than the models before.
    pub fn add(&mut self, compiler: &Compiler<'_>, normalise: Option<Normalise>) -> Result<(), Error> {
        let member = Member::new(compiler, &self.views, self.shape, normalise)?;
        if let Some(first) = self.members.first().filter(|m| m.classes() != member.classes()) {
            let message =
                format!("has {} classes, but the model before has {}", member.classes(), first.classes());
            return Err(Error::Unsupported { name: compiler.model().name().to_owned(), message });
        }
        self.members.push(member);
        Ok(())
    }

    /// How many models look at an image.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Classes of the models; `None` before there is one.
    pub fn classes(&self) -> Option<usize> {
        self.members.first().map(Member::classes)
    }

    /// Probabilities of each class for each image, one row after another.
    pub fn probabilities(&mut self, images: &[Image]) -> Result<Vec<f64>, Error> {
        let mut mean = vec![0.0; images.len() * self.classes().unwrap_or(0)];
        let share = 1.0 / self.members.len().max(1) as f64;
        for member in &mut self.members {
            let own = member.probabilities(images, &self.views)?;
            mean.iter_mut().zip(own).for_each(|(mean, p)| *mean += share * p);
        }
        Ok(mean)
    }

    /// The score on a whole set, so many images at a time; `watch` is told how many are done.
    ///
    /// # Errors
    /// Images that cannot be read; a set of other classes than the models.
    pub fn score(&mut self, set: &Dataset, batch: usize, watch: &mut dyn FnMut(u64)) -> Result<Score, Error> {
        let (own, classes) = (self.classes().unwrap_or(0), set.classes().len());
        if own != classes {
            let message = format!("the model has {own} classes, but the data set has {classes}");
            return Err(Error::Tensor { message });
        }
        let mut score = Score::new(Loss::CrossEntropy { smoothing: 0.0 });
        for start in (0..set.len()).step_by(batch.max(1)) {
            let chosen = start..set.len().min(start + batch.max(1));
            let images = chosen.clone().map(|i| set.image(i)).collect::<Result<Vec<_>, _>>()?;
            // The logarithm of a probability is a logit.
            let logits: Vec<f32> =
                self.probabilities(&images)?.into_iter().map(|p| p.max(1e-30).ln() as f32).collect();
            let labels: Vec<u32> = chosen.clone().map(|i| set.label(i)).collect();
            score.add(TensorView::new(&[chosen.len(), classes], &logits)?, &labels)?;
            watch(chosen.end as u64);
        }
        Ok(score)
    }
}

/// How images were normalised when these weights were trained, if the file says so.
pub fn normalisation(weights: &Path) -> Result<Option<Normalise>, Error> {
    let file = WeightFile::open(weights)?;
    let Some(text) = file.metadata().get(crate::train::NORMALISE) else { return Ok(None) };
    let wrong = || Error::Format {
        name: weights.display().to_string(),
        message: format!("`{}` in its header is no mean and deviation", crate::train::NORMALISE),
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|_| wrong())?;
    let list = |name: &str| serde_json::from_value::<Vec<f32>>(value.get(name)?.clone()).ok();
    let (mean, std) = list("mean").zip(list("std")).ok_or_else(wrong)?;
    Ok(Some(Normalise { mean, std }))
}

#[cfg(test)]
mod tests;
