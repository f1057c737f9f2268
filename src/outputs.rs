//! Results of a run, by name and by place.

use rectify_runtime::{Tensor, TensorView};
use std::ops::Index;
use std::sync::Arc;

/// The outputs of a run in the model's order. `outputs["mask"]` and `outputs[0]` both work.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    pub(crate) names: Arc<[Arc<str>]>,
    pub(crate) tensors: Vec<Tensor>,
}

impl Outputs {
    /// The output of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.names.iter().position(|n| n.as_ref() == name).map(|at| &self.tensors[at])
    }

    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TensorView<'_>)> {
        self.names.iter().map(AsRef::as_ref).zip(self.tensors.iter().map(Tensor::view))
    }

    /// The tensors in order.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }
}

/// Panics if there is no output of this name, as a map does.
impl Index<&str> for Outputs {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        match self.get(name) {
            Some(tensor) => tensor,
            None => panic!("no output `{name}`; the outputs are {:?}", self.names),
        }
    }
}

impl Index<usize> for Outputs {
    type Output = Tensor;

    fn index(&self, place: usize) -> &Tensor {
        &self.tensors[place]
    }
}
