//! What is to be predicted of a sample: its class, or numbers.

use rectify_runtime::{Tensor, TensorError};

#[derive(Debug)]
pub(super) enum Targets {
    Classes {
        /// Labels count these.
        names: Vec<String>,
        labels: Vec<u32>,
    },
    Values {
        /// Of a sample.
        shape: Vec<usize>,
        /// One sample after another.
        values: Vec<f32>,
    },
}

impl Targets {
    /// Number of samples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Values { shape, values } => values.len() / shape.iter().product::<usize>().max(1),
        }
    }

    /// Labels u32 [N], or values f32 [N, …], of these samples.
    pub fn tensor(&self, samples: impl ExactSizeIterator<Item = usize>) -> Result<Tensor, TensorError> {
        let count = samples.len();
        match self {
            Targets::Classes { labels, .. } => {
                Tensor::new([count], samples.map(|s| labels[s]).collect::<Vec<u32>>())
            }
            Targets::Values { shape, values } => {
                let each: usize = shape.iter().product();
                let mut chosen = Vec::with_capacity(count * each);
                samples.for_each(|s| chosen.extend_from_slice(&values[s * each..(s + 1) * each]));
                Tensor::new([&[count], &shape[..]].concat(), chosen)
            }
        }
    }
}
