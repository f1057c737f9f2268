//! Data sets for training: images with labels or with values to be predicted, from files or drawn by code, in splits, batched in
//! an order that a seed decides.
//!
//! ```
//! use rectify::data::sets::{Augment, Loader, LoaderOptions, Normalise, Spec};
//!
//! let sets = Spec::parse("synth:shapes,n=600,size=20")?.load()?;
//! let (train, validation) = sets.train.split(100, 7)?;
//! let augment = Augment { normalise: Some(Normalise::per_channel(&train)?), ..Augment::default() };
//! let loader = Loader::new(train, LoaderOptions { batch: 50, seed: 7, augment, ..Default::default() })?;
//! for batch in loader.epoch(0) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.shape(), [50, 1, 20, 20]);
//!     assert_eq!(batch.labels.shape(), [50]);
//! }
//! assert_eq!((loader.batches_per_epoch(), validation.len()), (10, 100));
//! # Ok::<(), rectify::DataError>(())
//! ```
//!
//! Every batch is a function of (seed, epoch, index in the epoch) alone: neither threads nor where a run was interrupted
//! have a say. Specs are described in `docs/data.md`.

mod augment;
mod cifar;
mod folder;
mod idx;
mod image;
mod loader;
mod normalise;
mod npz;
mod shapes;
mod spec;
mod targets;

pub use augment::{Augment, ColourJitter, PaddedCrop, ScaleJitter};
pub use folder::Folder;
pub use image::Image;
pub use loader::{Batch, Batches, Loader, LoaderOptions};
pub use normalise::Normalise;
pub use shapes::Shapes;
pub use spec::Spec;

use super::DataError;
use rectify_runtime::Tensor;
use rectify_runtime::rng::{Stream, StreamKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use targets::Targets;

/// What a [`Spec`] gives: both sets have the same classes and the same shape of images.
#[derive(Clone, Debug)]
pub struct Sets {
    pub train: Dataset,
    /// None where the source has no test set.
    pub test: Option<Dataset>,
}

/// Labelled images, cheap to clone. What is small stays in memory; pictures of a folder are decoded when they are read.
#[derive(Clone, Debug)]
pub struct Dataset {
    store: Arc<Store>,
    /// Positions in the store.
    samples: Arc<[u32]>,
}

/// Every sample of a source.
#[derive(Debug)]
struct Store {
    /// What messages call it.
    source: PathBuf,
    targets: Targets,
    /// Channels, height and width.
    shape: [usize; 3],
    pixels: Pixels,
}

/// Where images are; those in memory are [C, H, W], one after another.
#[derive(Debug)]
enum Pixels {
    /// 255 is 1.0.
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    Pictures(folder::Pictures),
}

/// More classes than any data set has: a wrong label must not allocate names without end.
const MAX_CLASSES: usize = 1 << 16;

impl Dataset {
    /// All samples of a store. Labels have been compared with the classes, and the pixels with both.
    fn new(store: Store) -> Result<Dataset, DataError> {
        let count = store.targets.len();
        if count == 0 {
            return Err(DataError::new(&store.source, "holds no images"));
        }
        let count = u32::try_from(count)
            .map_err(|_| DataError::new(&store.source, format!("{count} images are more than 2^32")))?;
        Ok(Dataset { store: Arc::new(store), samples: (0..count).collect() })
    }

    /// Number of images; at least 1 in every set that loads.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Channels, height and width of the images as a [`Loader`] gives them.
    pub fn shape(&self) -> [usize; 3] {
        self.store.shape
    }

    /// Names of the classes; labels count them from 0. Without names, samples have values.
    pub fn classes(&self) -> &[String] {
        match &self.store.targets {
            Targets::Classes { names, .. } => names,
            Targets::Values { .. } => &[],
        }
    }

    /// The shape of a sample's values, where these are to be predicted; `None` of classes.
    pub fn value_shape(&self) -> Option<&[usize]> {
        match &self.store.targets {
            Targets::Classes { .. } => None,
            Targets::Values { shape, .. } => Some(shape),
        }
    }

    /// The label of sample `index`.
    ///
    /// # Panics
    /// If there is no such sample, or samples have values instead.
    pub fn label(&self, index: usize) -> u32 {
        self.labels()[self.samples[index] as usize]
    }

    /// How many samples each class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let (labels, mut counts) = (self.labels(), vec![0; self.classes().len()]);
        if !counts.is_empty() {
            self.samples.iter().for_each(|&s| counts[labels[s as usize] as usize] += 1);
        }
        counts
    }

    /// Of all samples of the store.
    fn labels(&self) -> &[u32] {
        match &self.store.targets {
            Targets::Classes { labels, .. } => labels,
            Targets::Values { .. } => &[],
        }
    }

    /// The values f32 [N, …] of these samples, or their labels u32 [N].
    pub(crate) fn values(&self, samples: std::ops::Range<usize>) -> Result<Tensor, DataError> {
        self.targets(&samples.map(|index| index as u32).collect::<Vec<_>>())
    }

    /// What is to be predicted of these samples: labels u32 [N], or values f32 [N, …].
    fn targets(&self, chosen: &[u32]) -> Result<Tensor, DataError> {
        let places = chosen.iter().map(|index| self.samples[*index as usize] as usize);
        let made = self.store.targets.tensor(places);
        made.map_err(|e| DataError::new(&self.store.source, e.to_string()))
    }

    /// The image of sample `index` as the source has it: pixels of 0 to 1, and for pictures of a folder their own size.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn image(&self, index: usize) -> Result<Image, DataError> {
        let sample = self.samples[index] as usize;
        let [channels, height, width] = self.store.shape;
        let size = channels * height * width;
        let place = sample * size..(sample + 1) * size;
        let values = match &self.store.pixels {
            Pixels::Bytes(bytes) => bytes[place].iter().map(|&b| f32::from(b) / 255.0).collect(),
            Pixels::Floats(values) => values[place].to_vec(),
            Pixels::Pictures(pictures) => return pictures.read(sample, self.store.shape),
        };
        Ok(Image { channels, height, width, values })
    }

    /// Cuts `count` samples off, for validation: (the others, the cut). The seed alone decides which they are.
    pub fn split(&self, count: usize, seed: u64) -> Result<(Dataset, Dataset), DataError> {
        if count == 0 || count >= self.len() {
            let message = format!("cannot cut {count} samples off {}: one must be on each side", self.len());
            return Err(DataError::new(&self.store.source, message));
        }
        let mut order = self.samples.to_vec();
        Stream::new(StreamKey::new(seed, "data split"), 0).shuffle(&mut order);
        let (cut, rest) = order.split_at_mut(count);
        cut.sort_unstable();
        rest.sort_unstable();
        let part = |samples: &[u32]| Dataset { store: Arc::clone(&self.store), samples: samples.into() };
        Ok((part(rest), part(cut)))
    }

    /// What messages call the source.
    fn source(&self) -> &Path {
        &self.store.source
    }
}

/// Names for classes that have none: their numbers.
fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|c| c.to_string()).collect()
}

#[cfg(test)]
mod tests;
