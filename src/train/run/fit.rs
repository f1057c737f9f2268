//! How a data set's samples go into a model, and what they are compared with.

use super::super::{Loss, Trainer};
use crate::data::sets::{Batch, Dataset, Spec};
use crate::error::Error;
use rectify_ir::graph::Graph;
use rectify_runtime::Tensor;

/// Shapes of one sample, as the model takes and gives them.
pub(super) struct Fit {
    input: Vec<usize>,
    /// Of what is to be predicted; labels have none.
    output: Vec<usize>,
}

impl Fit {
    /// A model of vectors takes images as vectors of all their pixels.
    pub fn new(model: &Graph, train: &Dataset) -> Fit {
        let rank = model.inputs().first().map(|input| model.ty((*input).into()).rank());
        let shape = train.shape();
        let input = match rank {
            Some(2) => vec![shape.iter().product()],
            Some(3) if shape[0] == 1 => shape[1..].to_vec(),
            _ => shape.to_vec(),
        };
        Fit { input, output: Vec::new() }
    }

    /// The shape of a batch.
    pub fn input(&self, rows: usize) -> Vec<usize> {
        [&[rows], &self.input[..]].concat()
    }

    /// With what the trainer's model gives: classes as many as there are, or values of the set's shape, axes of size 1 aside.
    pub fn with(mut self, trainer: &Trainer, train: &Dataset, spec: &Spec) -> Result<Fit, Error> {
        let refuse = |message: String| Err(Error::Unsupported { name: trainer.model.name.clone(), message });
        if let Some(own) = trainer.classes().filter(|own| *own != train.classes().len()) {
            return refuse(format!("the model has {own} classes, but {spec} has {}", train.classes().len()));
        }
        if let Some(shape) = train.value_shape() {
            let long = |shape: &[usize]| shape.iter().copied().filter(|n| *n != 1).collect::<Vec<_>>();
            let own = trainer.output().get(1..).unwrap_or_default();
            if long(own) != long(shape) {
                return refuse(format!(
                    "the model gives {own:?} a sample, but {spec} has values of {shape:?}"
                ));
            }
            self.output = own.to_vec();
        }
        Ok(self)
    }

    /// The batch in the model's shapes.
    pub fn batch(&self, batch: Batch) -> Result<Batch, Error> {
        let rows = batch.labels.shape().first().copied().unwrap_or(0);
        let Batch { epoch, index, images, labels } = batch;
        let images = shaped(images, &self.input(rows))?;
        let labels = match labels.dtype().is_float() {
            true => shaped(labels, &[&[rows], &self.output[..]].concat())?,
            false => labels,
        };
        Ok(Batch { epoch, index, images, labels })
    }
}

fn shaped(tensor: Tensor, shape: &[usize]) -> Result<Tensor, Error> {
    if tensor.shape() == shape {
        return Ok(tensor);
    }
    Ok(Tensor::new(shape, tensor.into_vec::<f32>()?)?)
}

impl super::Settings {
    /// Whether the loss is one of what the set says of its samples, and nothing moves an image but not what is predicted of it.
    pub(super) fn check_with(&self, train: &Dataset, spec: &Spec) -> Result<(), Error> {
        let fail = |message: String, help: &str| Err(Error::Option { message, help: Some(help.into()) });
        let classifies = matches!(self.method.loss, Loss::CrossEntropy { .. });
        match (classifies, train.value_shape().is_some()) {
            (true, true) => fail(
                format!("{spec} has values to be predicted, and no classes"),
                "their loss is --loss mse or --loss l1",
            ),
            (false, false) => fail(
                format!("{spec} has classes, and no values to be predicted"),
                "their loss is --loss cross-entropy",
            ),
            (false, true) if self.augmentation.moves() => fail(
                "values that are predicted of an image do not follow its augmentation".into(),
                "leave --flip, --crop, --jitter and --colour out",
            ),
            _ => Ok(()),
        }
    }
}
