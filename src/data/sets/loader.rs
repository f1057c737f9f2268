//! Batches of a data set, made ahead on a thread.

use super::augment::Draw;
use super::{Augment, DataError, Dataset};
use rectify_runtime::Tensor;
use rectify_runtime::rng::{Stream, StreamKey};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How batches are made.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch: usize,
    /// Decides the order and the augmentation.
    pub seed: u64,
    /// A new order in each epoch; otherwise the set's own.
    pub shuffle: bool,
    /// Leaves out the last images of an epoch if they do not fill a batch; otherwise they are a smaller one.
    pub drop_last: bool,
    pub augment: Augment,
    /// Batches made ahead on a thread of their own; with 0, they are made when they are asked for.
    pub prefetch: usize,
}

impl Default for LoaderOptions {
    /// For training: shuffled, full batches of 128, two ahead, no augmentation.
    fn default() -> LoaderOptions {
        LoaderOptions {
            batch: 128,
            seed: 0,
            shuffle: true,
            drop_last: true,
            augment: Augment::default(),
            prefetch: 2,
        }
    }
}

impl LoaderOptions {
    /// For evaluation: the set's own order, every image, no augmentation but what `augment` says.
    pub fn evaluation(batch: usize, augment: Augment) -> LoaderOptions {
        LoaderOptions { batch, shuffle: false, drop_last: false, augment, ..LoaderOptions::default() }
    }
}

/// Some images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub epoch: u64,
    /// In the epoch.
    pub index: usize,
    /// f32 `[N, C, H, W]`.
    pub images: Tensor,
    /// u32 `[N]`, or f32 `[N, …]` where values are to be predicted.
    pub labels: Tensor,
}

/// Makes batches. A batch is a function of the options, its epoch and its index; cheap to clone.
#[derive(Clone, Debug)]
pub struct Loader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    set: Dataset,
    options: LoaderOptions,
    /// The order of the epoch that was asked for last.
    order: Mutex<Option<(u64, Arc<[u32]>)>>,
}

/// Batches ahead take memory.
const MAX_PREFETCH: usize = 64;

impl Loader {
    /// Refuses batches that are empty or never full, and augmentation that does not fit the images.
    pub fn new(set: Dataset, options: LoaderOptions) -> Result<Loader, DataError> {
        let fail = |message: String| DataError::new(set.source(), message);
        if options.batch == 0 || (options.drop_last && options.batch > set.len()) {
            return Err(fail(format!("batches of {} from {} images", options.batch, set.len()))
                .help(format!("a batch has 1 to {} images", set.len())));
        }
        if options.prefetch > MAX_PREFETCH {
            return Err(fail(format!("{} batches ahead are more than {MAX_PREFETCH}", options.prefetch)));
        }
        options.augment.check(set.shape()).map_err(fail)?;
        Ok(Loader { shared: Arc::new(Shared { set, options, order: Mutex::new(None) }) })
    }

    pub fn dataset(&self) -> &Dataset {
        &self.shared.set
    }

    pub fn batches_per_epoch(&self) -> usize {
        let Shared { set, options, .. } = &*self.shared;
        if options.drop_last { set.len() / options.batch } else { set.len().div_ceil(options.batch) }
    }

    /// All batches of an epoch.
    pub fn epoch(&self, epoch: u64) -> Batches {
        Batches::start(self.shared.clone(), epoch, 0, epoch.saturating_add(1), self.batches_per_epoch())
    }

    /// Batches without end, from number `batch` of `epoch` on: where an interrupted run goes on.
    pub fn resume(&self, epoch: u64, batch: usize) -> Batches {
        let per_epoch = self.batches_per_epoch();
        let (epoch, batch) = (epoch.saturating_add((batch / per_epoch) as u64), batch % per_epoch);
        Batches::start(self.shared.clone(), epoch, batch, u64::MAX, per_epoch)
    }

    /// One batch, made on this thread.
    ///
    /// # Panics
    /// If the epoch has no such batch.
    pub fn batch(&self, epoch: u64, index: usize) -> Result<Batch, DataError> {
        assert!(index < self.batches_per_epoch(), "batch {index} of {}", self.batches_per_epoch());
        self.shared.batch(epoch, index)
    }
}

impl Shared {
    fn order(&self, epoch: u64) -> Arc<[u32]> {
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, order)) = &*last
            && *known == epoch
        {
            return order.clone();
        }
        let mut order: Vec<u32> = (0..self.set.len() as u32).collect();
        if self.options.shuffle {
            Stream::new(StreamKey::new(self.options.seed, "data order"), epoch).shuffle(&mut order);
        }
        let order: Arc<[u32]> = order.into();
        *last = Some((epoch, order.clone()));
        order
    }

    fn batch(&self, epoch: u64, index: usize) -> Result<Batch, DataError> {
        let Shared { set, options: LoaderOptions { batch, seed, augment, .. }, .. } = self;
        let order = self.order(epoch);
        let chosen = &order[index * batch..order.len().min(index.saturating_add(1).saturating_mul(*batch))];
        let [c, h, w] = set.shape();
        let mut images = Vec::with_capacity(chosen.len() * c * h * w);
        for &sample in chosen {
            let image = set.image(sample as usize)?;
            let draw = Draw { seed: *seed, epoch, sample: set.samples[sample as usize] };
            images.extend_from_slice(&augment.apply(image, set.shape(), draw).values);
        }
        let fail = |e: rectify_runtime::TensorError| DataError::new(set.source(), e.to_string());
        let count = chosen.len();
        Ok(Batch {
            epoch,
            index,
            images: Tensor::new([count, c, h, w], images).map_err(fail)?,
            labels: set.targets(chosen)?,
        })
    }
}

/// Batches in order; ends after an error. Dropping it ends its thread.
#[derive(Debug)]
pub struct Batches {
    walk: Walk,
    /// None where batches are made when they are asked for.
    ahead: Option<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    batches: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes one batch after another.
#[derive(Clone, Debug)]
struct Walk {
    shared: Arc<Shared>,
    epoch: u64,
    index: usize,
    /// The epoch that is not reached.
    end: u64,
    per_epoch: usize,
}

impl Iterator for Walk {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.epoch >= self.end {
            return None;
        }
        let batch = self.shared.batch(self.epoch, self.index);
        self.index += 1;
        if self.index == self.per_epoch {
            (self.epoch, self.index) = (self.epoch + 1, 0);
        }
        if batch.is_err() {
            self.epoch = self.end;
        }
        Some(batch)
    }
}

impl Batches {
    fn start(shared: Arc<Shared>, epoch: u64, index: usize, end: u64, per_epoch: usize) -> Batches {
        let prefetch = shared.options.prefetch;
        let walk = Walk { shared, epoch, index, end, per_epoch };
        // A machine that gives no thread gets the same batches, only later.
        let ahead = if prefetch == 0 { None } else { Ahead::start(walk.clone(), prefetch).ok() };
        Batches { walk, ahead }
    }
}

impl Ahead {
    fn start(walk: Walk, prefetch: usize) -> std::io::Result<Ahead> {
        // The thread holds one more batch while it waits for room.
        let (sender, batches) = sync_channel(prefetch - 1);
        let work = move || {
            for batch in walk {
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("data".into()).spawn(work)?;
        Ok(Ahead { batches: Some(batches), thread: Some(thread) })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(ahead) = &mut self.ahead else { return self.walk.next() };
        if let Some(batch) = ahead.batches.as_ref().and_then(|batches| batches.recv().ok()) {
            return Some(batch);
        }
        // The thread has ended: with its work, or by a panic, which is this thread's too.
        if let Some(Err(panic)) = ahead.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        None
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Without a receiver, the thread ends at its next batch.
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
