//! What a model's output is compared with.

use crate::error::Error;
use rectify_ir::DType;
use rectify_passes::training::Loss;
use rectify_runtime::{Tensor, TensorView};

/// What a training step takes beside inputs.
pub(super) struct Expected {
    loss: Loss,
    /// Shape of the model's output.
    output: Vec<usize>,
    /// Class numbers as the graph takes them: floats.
    labels: Tensor,
}

impl Expected {
    pub fn new(loss: Loss, output: Vec<usize>) -> Result<Expected, Error> {
        let rows = output.first().copied().unwrap_or(0);
        Ok(Expected { loss, output, labels: Tensor::zeros(DType::F32, [rows])? })
    }

    pub fn output(&self) -> &[usize] {
        &self.output
    }

    /// Columns of logits.
    pub fn classes(&self) -> Option<usize> {
        let classifies = matches!(self.loss, Loss::CrossEntropy { .. });
        self.output.get(1).copied().filter(|_| classifies)
    }

    /// The bytes that the graph reads, if labels or targets fit the model.
    pub fn bytes<'a>(&'a mut self, given: TensorView<'a>) -> Result<&'a [u8], Error> {
        match self.loss {
            Loss::CrossEntropy { .. } => {
                let (rows, classes) = match self.output[..] {
                    [rows, classes] => (rows, classes),
                    _ => (0, 0),
                };
                if given.shape() != [rows] {
                    return Err(Error::tensor(format!(
                        "{rows} rows have the labels u32[{rows}], not {:?}",
                        given.shape()
                    )));
                }
                let labels = self.labels.as_mut_slice::<f32>()?;
                for (row, (to, label)) in labels.iter_mut().zip(given.as_slice::<u32>()?).enumerate() {
                    if *label as usize >= classes {
                        let message =
                            format!("the label of row {row} is {label}, but the model has {classes} classes");
                        return Err(Error::tensor(message));
                    }
                    *to = *label as f32;
                }
                Ok(self.labels.view().bytes())
            }
            Loss::SquaredError | Loss::AbsoluteError => {
                if given.shape() != self.output {
                    let (got, want) = (given.shape(), &self.output);
                    return Err(Error::tensor(format!(
                        "targets have the output's shape {want:?}, not {got:?}"
                    )));
                }
                given.as_slice::<f32>()?;
                Ok(given.bytes())
            }
        }
    }
}
