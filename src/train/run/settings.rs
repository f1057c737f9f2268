//! What a run is told, and what it is about: together they decide every bit of its results.

use crate::compiler::Compiler;
use crate::data::DataError;
use crate::data::sets::{Augment, ColourJitter, Dataset, Normalise, PaddedCrop, ScaleJitter, Spec};
use crate::error::Error;
use crate::train::{Loss, Method, Optimiser, Schedule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a model is trained on a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Images in a step.
    pub batch: usize,
    pub length: Length,
    /// Images of the training set that are kept apart to choose the best weights by.
    pub validation: Amount,
    pub method: Method,
    /// Learning rate at the beginning, which the schedule scales.
    pub rate: f64,
    pub schedule: Schedule,
    /// Steps in which the rate grows in equal parts from nothing.
    pub warmup: u64,
    pub augmentation: Augmentation,
    /// Steps between checkpoints, beside those at the ends of epochs; 0 for these alone.
    pub checkpoint_every: u64,
    /// Whether standard deviations at the layers are measured at the ends of epochs.
    pub signals: bool,
    /// Whether the best weights are tested on the test set, once, at the end.
    pub test: bool,
}

impl Default for Settings {
    /// Ten epochs of momentum with batches of 128, a cosine from 0.05, and the weight decay of He et al. 2015.
    fn default() -> Settings {
        let optimiser = Optimiser::Momentum { momentum: 0.9, decay: 5e-4 };
        Settings {
            batch: 128,
            length: Length::Epochs(10),
            validation: Amount::Share(0.1),
            method: Method::new(Loss::CrossEntropy { smoothing: 0.0 }, optimiser),
            rate: 0.05,
            schedule: Schedule::Cosine { end: 0.0 },
            warmup: 0,
            augmentation: Augmentation::default(),
            checkpoint_every: 0,
            signals: true,
            test: false,
        }
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Epochs(u64),
    Steps(u64),
}

/// Images of a set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    Count(usize),
    /// Of 1.
    Share(f64),
}

impl Amount {
    pub(super) fn of(self, images: usize) -> usize {
        match self {
            Amount::Count(count) => count,
            Amount::Share(share) => (share * images as f64) as usize,
        }
    }
}

/// What is done to training images; see [`Augment`]. Normalisation holds for all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    pub flip: bool,
    /// Border of a padded crop in pixels; 0 for none.
    pub crop: usize,
    /// Shortest and longest side of a scale jitter.
    pub jitter: Option<(usize, usize)>,
    /// Brightness, contrast and saturation of a colour jitter.
    pub colour: Option<[f32; 3]>,
    pub normalise: Normalisation,
}

/// What is subtracted and divided by, measured on the training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    None,
    /// Mean and deviation of each channel.
    #[default]
    Channel,
    /// Mean of each pixel, deviation of each channel.
    Pixel,
}

impl Augmentation {
    /// Whether images change from epoch to epoch.
    pub(super) fn moves(&self) -> bool {
        self.flip || self.crop > 0 || self.jitter.is_some() || self.colour.is_some()
    }

    /// For training images, and for all others.
    pub(super) fn of(self, train: &Dataset) -> Result<(Augment, Augment), DataError> {
        let normalise = match self.normalise {
            Normalisation::None => None,
            Normalisation::Channel => Some(Normalise::per_channel(train)?),
            Normalisation::Pixel => Some(Normalise::per_pixel(train)?),
        };
        let plain = Augment { normalise, ..Augment::default() };
        let colour =
            |[brightness, contrast, saturation]: [f32; 3]| ColourJitter { brightness, contrast, saturation };
        let augment = Augment {
            jitter: self.jitter.map(|(shortest, longest)| ScaleJitter { shortest, longest }),
            crop: (self.crop > 0).then_some(PaddedCrop { border: self.crop }),
            flip: self.flip,
            colour: self.colour.map(colour),
            normalise: plain.normalise.clone(),
        };
        Ok((augment, plain))
    }
}

impl Settings {
    /// The method in a line.
    pub(super) fn describe(&self) -> String {
        let optimiser = match self.method.optimiser {
            Optimiser::CaffeMomentum { momentum, decay } => {
                format!("momentum {momentum} in Caffe's form, weight decay {decay}")
            }
            Optimiser::Momentum { momentum, decay } => format!("momentum {momentum}, weight decay {decay}"),
            Optimiser::AdamW { beta1, beta2, decay, .. } => {
                format!("AdamW with averages over {beta1} and {beta2}, weight decay {decay}")
            }
        };
        let mut text =
            format!("batches of {}, {optimiser}, rate {} ({})", self.batch, self.rate, self.schedule);
        if self.warmup > 0 {
            text += &format!(" after {} steps of warm-up", self.warmup);
        }
        match self.method.loss {
            Loss::CrossEntropy { smoothing } if smoothing > 0.0 => {
                text += &format!(", label smoothing {smoothing} (in the training loss alone)");
            }
            Loss::CrossEntropy { .. } => {}
            Loss::SquaredError => text += ", mean squared error",
            Loss::AbsoluteError => text += ", mean absolute error",
        }
        if let Some(clip) = self.method.clip {
            text += &format!(", gradients clipped to {clip}");
        }
        text
    }

    /// Refuses numbers that have no meaning.
    pub(super) fn check(&self) -> Result<(), Error> {
        let fail = |message: &str| Err(Error::option(message));
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !positive(self.rate) {
            return fail("the learning rate is a positive number");
        }
        if self.method.clip.is_some_and(|c| !positive(c)) {
            return fail("gradients are clipped to a positive norm");
        }
        if matches!(self.length, Length::Epochs(0) | Length::Steps(0)) {
            return fail("a run has at least one step");
        }
        let share = |v: f64| (0.0..1.0).contains(&v);
        let sound = match self.method.optimiser {
            Optimiser::CaffeMomentum { momentum, decay } | Optimiser::Momentum { momentum, decay } => {
                share(momentum) && decay.is_finite() && decay >= 0.0
            }
            Optimiser::AdamW { beta1, beta2, epsilon, decay } => {
                share(beta1) && share(beta2) && positive(epsilon) && decay.is_finite() && decay >= 0.0
            }
        };
        if !sound {
            return fail("momentum and betas lie in 0..1, weight decay is not negative");
        }
        Ok(())
    }
}

/// What a run is about. Its results are the same only where all of this is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub model: String,
    /// Hash of the typed graph.
    pub graph: String,
    /// Hash of the file that parameters were loaded from.
    weights: Option<String>,
    seed: u64,
    pub data: String,
    classes: usize,
    images: usize,
    /// CPU level that code is made for: others round otherwise.
    target: String,
    flush_denormals: bool,
    convolutions: String,
}

impl Identity {
    pub fn new(compiler: &Compiler<'_>, spec: &Spec, train: &Dataset) -> Result<Identity, Error> {
        let options = &compiler.options;
        let graph = compiler.model().graph();
        let weights = options.weights.as_ref().map(|path| {
            let read =
                |e: std::io::Error| Error::Read { path: path.clone(), message: crate::data::io_message(&e) };
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(std::fs::File::open(path).map_err(read)?).map_err(read)?;
            Ok::<_, Error>(hasher.finalize().to_hex().to_string())
        });
        Ok(Identity {
            model: graph.name.clone(),
            graph: blake3::hash(graph.to_string().as_bytes()).to_hex().to_string(),
            weights: weights.transpose()?,
            seed: options.seed,
            data: spec.to_string(),
            classes: train.classes().len(),
            images: train.len(),
            target: options.target.unwrap_or_else(crate::compiler::native_level).to_string(),
            flush_denormals: options.flush_denormals,
            convolutions: format!("{:?}", options.convolutions),
        })
    }
}

/// What a run folder says of its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Config {
    /// Of this file.
    version: u32,
    pub settings: Settings,
    pub about: Identity,
}

/// Of the run folder's files.
const VERSION: u32 = 1;

impl Config {
    pub fn new(settings: Settings, about: Identity) -> Config {
        Config { version: VERSION, settings, about }
    }

    /// Names of what differs, with both values. How often checkpoints are written may differ.
    pub fn differences(&self, other: &Config) -> Vec<String> {
        let flat = |config: &Config| {
            let mut list = Vec::new();
            // Plain data always has a value.
            flatten("", &serde_json::to_value(config).unwrap_or_default(), &mut list);
            list.retain(|(name, _)| name != "settings.checkpoint_every");
            list
        };
        let (own, others) = (flat(self), flat(other));
        let find = |list: &[(String, String)], name: &str| {
            list.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
        };
        let names = own.iter().chain(others.iter().filter(|(n, _)| find(&own, n).is_none())).map(|(n, _)| n);
        names
            .filter_map(|name| {
                let (before, now) = (find(&own, name), find(&others, name));
                let short = name.trim_start_matches("settings.").trim_start_matches("about.");
                let text = |v: Option<String>| v.unwrap_or_else(|| "absent".to_owned());
                (before != now).then(|| format!("{short} was {}, now {}", text(before), text(now)))
            })
            .collect()
    }
}

/// Leaves of a value with their paths.
fn flatten(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, into);
            }
        }
        leaf => into.push((path.to_owned(), leaf.to_string())),
    }
}
