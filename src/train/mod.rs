//! Training: a model's forward pass, loss, gradients and update as one compiled graph.
//!
//! ```
//! use rectify::train::{Loss, Method, Optimiser, Trainer};
//! use rectify::{Model, Tensor};
//!
//! let model = Model::parse(
//!     "model xor(x: f32[N, 2]) -> (y: f32[N, 2]) { x |> dense(8) as a |> prelu as a |> dense(2) as b }",
//! )?;
//! let optimiser = Optimiser::Momentum { momentum: 0.9, decay: 0.0 };
//! let method = Method::new(Loss::CrossEntropy { smoothing: 0.0 }, optimiser);
//! let mut trainer = Trainer::new(&model.compiler().seed(1).threads(1), &method, &[4, 2])?;
//! let x = Tensor::new([4, 2], vec![0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])?;
//! let labels = Tensor::new([4], vec![0u32, 1, 1, 0])?;
//! for _ in 0..200 {
//!     trainer.step(x.view(), labels.view(), 0.1)?;
//! }
//! assert_eq!(trainer.step(x.view(), labels.view(), 0.0)?.correct, Some(4.0));
//! # Ok::<(), rectify::Error>(())
//! ```

mod checkpoint;
mod glob;
mod mask;
mod measure;
mod ports;
mod program;
pub mod report;
mod run;
mod schedule;
mod score;
mod state;
mod target;
mod trainer;

pub use measure::Signal;
pub use rectify_passes::training::{Loss, Optimiser};
pub(crate) use run::NORMALISE;
pub use run::{
    Amount, Augmentation, Best, EpochRecord, Event, Length, Normalisation, Quality, Record, Run, Settings,
    Slopes, Summary, records,
};
pub use schedule::Schedule;
pub use score::Score;
pub use trainer::{Method, Outcome, Trainer};
