//! `rectify train`: trains a model on a data set, in a run folder.

use super::Outcome;
use super::args::ModelArgs;
use super::failure::{Failure, note};
use super::progress::Progress;
use clap::ValueEnum;
use rectify::data::sets::Spec;
use rectify::train::{
    Amount, Augmentation, EpochRecord, Event, Length, Loss, Method, Normalisation, Optimiser, Quality,
    Record, Run, Schedule, Settings, Summary,
};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    augmentation: AugmentationArgs,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Run")]
struct RunArgs {
    /// The data set: idx:DIR, cifar10:DIR, folder:DIR, npz:FILE, synth:shapes, or a path
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Folder for weights, metrics, checkpoints and the report [default: runs/MODEL]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on with the run in the folder, begun with the same options
    #[arg(long)]
    resume: bool,
    /// Length in passes over the training set [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    epochs: Option<u64>,
    /// Length in steps
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Images in a step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch: u32,
    /// Training images kept apart to choose the best weights by: a number, or a share as in 10%
    #[arg(long, value_name = "N", value_parser = amount, default_value = "10%")]
    validation: Amount,
    /// Test the best weights on the test set at the end
    #[arg(long)]
    test: bool,
    /// Steps between checkpoints, beside those at the ends of epochs
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    checkpoint_every: u64,
    /// Do not measure activations and gradients at the ends of epochs
    #[arg(long)]
    no_signals: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Method", allow_negative_numbers = true)]
struct MethodArgs {
    /// momentum (torch's form), caffe (Caffe's momentum, the paper's) or adamw
    #[arg(long, value_enum, default_value_t = OptimiserName::Momentum, alias = "optimizer")]
    optimiser: OptimiserName,
    /// Learning rate at the beginning [default: 0.05; adamw: 0.001]
    #[arg(long, alias = "lr")]
    rate: Option<f64>,
    /// constant, step:EPOCHS,FACTOR, cosine, cosine:END or plateau:EPOCHS,FACTOR
    #[arg(long, default_value_t = Schedule::Cosine { end: 0.0 }, value_name = "SCHEDULE")]
    schedule: Schedule,
    /// Steps in which the rate grows from nothing
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    warmup: u64,
    /// Share of the last step that goes on [default: 0.9]
    #[arg(long)]
    momentum: Option<f64>,
    /// Shares of the averages of gradients and of their squares, for adamw [default: 0.9,0.999]
    #[arg(long, value_name = "B1,B2", value_parser = pair)]
    betas: Option<(f64, f64)>,
    /// Added to the root of the squares' average, for adamw [default: 1e-8]
    #[arg(long)]
    epsilon: Option<f64>,
    /// Weight decay [default: 0.0005; adamw: 0.01]
    #[arg(long, alias = "weight-decay")]
    decay: Option<f64>,
    /// Let slopes, biases and parameters of normalisations decay too
    #[arg(long)]
    decay_all: bool,
    /// What is minimised: cross-entropy of classes, or the mean squared (mse) or absolute (l1) error of values
    #[arg(long, value_enum, default_value_t = LossName::CrossEntropy)]
    loss: LossName,
    /// Share of the label's weight that is spread over all classes [default: 0]
    #[arg(long, value_name = "SHARE")]
    smoothing: Option<f64>,
    /// Scale gradients down to this norm over all of them
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// Leave parameters of these names as they are; * stands for any text. May be given several times
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Images")]
struct AugmentationArgs {
    /// Mirror half of the training images
    #[arg(long)]
    flip: bool,
    /// Shift training images by up to so many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    crop: usize,
    /// Scale the shorter side of training images to a length between these, and cut a random window
    #[arg(long, value_name = "FROM,TO", value_parser = pair)]
    jitter: Option<(f64, f64)>,
    /// Strengths of random brightness, contrast and saturation, 0 to 1
    #[arg(long, value_name = "B,C,S", value_delimiter = ',', num_args = 1)]
    colour: Vec<f32>,
    /// Subtract the mean and divide by the deviation of the training set
    #[arg(long, value_enum, default_value_t = NormaliseName::Channel)]
    normalise: NormaliseName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OptimiserName {
    Momentum,
    Caffe,
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossName {
    CrossEntropy,
    Mse,
    L1,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NormaliseName {
    None,
    /// By channel
    Channel,
    /// Means by pixel, deviations by channel
    Pixel,
}

pub fn run(args: &Args) -> Outcome {
    let spec = Spec::parse(&args.run.data)?;
    let opened = args.model.open()?;
    let compiler = args.model.compiler(&opened.model)?;
    compiler.check()?;
    let folder = args.run.run.clone().unwrap_or_else(|| Path::new("runs").join(opened.model.name()));
    let progress = Progress::spinner("reading the data and compiling");
    let settings = args.settings()?;
    let run = if args.run.resume {
        Run::resume(&compiler, &spec, settings, &folder)?
    } else {
        Run::start(&compiler, &spec, settings, &folder)?
    };
    drop(progress);
    if args.run.resume {
        note(&format!("going on at step {} of {}", run.steps(), run.total_steps()));
    }
    let total = run.total_steps();
    let progress = Progress::bar("training", total);
    progress.advance(run.steps());
    let summary = run.run(&mut |event| match event {
        Event::Step { epoch, loss, rate, .. } => {
            progress.say(&format!("epoch {epoch}  loss {loss:.3}  rate {rate:.2e}"));
            progress.advance(1);
        }
        Event::Evaluating { images } => progress.say(&format!("evaluating on {images} images")),
        Event::Record(Record::Epoch(record)) => progress.print(&epoch_line(args.method.loss, record)),
        Event::Record(_) => {}
    })?;
    drop(progress);
    let text = if args.run.json {
        format!("{}\n", as_json(&summary, &folder))
    } else {
        human(args.method.loss, &summary, &folder)
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

impl Args {
    fn settings(&self) -> Result<Settings, Failure> {
        let length = match (self.run.epochs, self.run.steps) {
            (_, Some(steps)) => Length::Steps(steps),
            (epochs, None) => Length::Epochs(epochs.unwrap_or(10)),
        };
        let adamw = self.method.optimiser == OptimiserName::Adamw;
        Ok(Settings {
            batch: self.run.batch as usize,
            length,
            validation: self.run.validation,
            method: self.method.method()?,
            rate: self.method.rate.unwrap_or(if adamw { 1e-3 } else { 0.05 }),
            schedule: self.method.schedule,
            warmup: self.method.warmup,
            augmentation: self.augmentation.augmentation()?,
            checkpoint_every: self.run.checkpoint_every,
            signals: !self.run.no_signals,
            test: self.run.test,
        })
    }
}

impl MethodArgs {
    fn method(&self) -> Result<Method, Failure> {
        let adamw = self.optimiser == OptimiserName::Adamw;
        let idle = [
            ("--momentum", self.momentum.is_some() && adamw),
            ("--betas", self.betas.is_some() && !adamw),
            ("--epsilon", self.epsilon.is_some() && !adamw),
        ];
        if let Some((option, _)) = idle.iter().find(|(_, idle)| *idle) {
            let name =
                self.optimiser.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
            return Err(Failure::usage(format!("{option} does nothing with --optimiser {name}")));
        }
        if self.smoothing.is_some() && self.loss != LossName::CrossEntropy {
            return Err(Failure::usage("--smoothing does nothing with this loss: values have no labels"));
        }
        let (momentum, decay) =
            (self.momentum.unwrap_or(0.9), self.decay.unwrap_or(if adamw { 0.01 } else { 5e-4 }));
        let optimiser = match self.optimiser {
            OptimiserName::Momentum => Optimiser::Momentum { momentum, decay },
            OptimiserName::Caffe => Optimiser::CaffeMomentum { momentum, decay },
            OptimiserName::Adamw => {
                let (beta1, beta2) = self.betas.unwrap_or((0.9, 0.999));
                Optimiser::AdamW { beta1, beta2, epsilon: self.epsilon.unwrap_or(1e-8), decay }
            }
        };
        Ok(Method {
            loss: match self.loss {
                LossName::CrossEntropy => Loss::CrossEntropy { smoothing: self.smoothing.unwrap_or(0.0) },
                LossName::Mse => Loss::SquaredError,
                LossName::L1 => Loss::AbsoluteError,
            },
            optimiser,
            clip: self.clip,
            decay_all: self.decay_all,
            freeze: self.freeze.clone(),
        })
    }
}

impl AugmentationArgs {
    fn augmentation(&self) -> Result<Augmentation, Failure> {
        let colour = match self.colour[..] {
            [] => None,
            [brightness, contrast, saturation] => Some([brightness, contrast, saturation]),
            _ => return Err(Failure::usage("--colour takes three strengths, as in 0.2,0.2,0.2")),
        };
        let whole = |v: f64| (v >= 1.0 && v.fract() == 0.0 && v < 1e9).then_some(v as usize);
        let jitter = match self.jitter {
            None => None,
            Some((from, to)) => Some(
                whole(from)
                    .zip(whole(to))
                    .ok_or_else(|| Failure::usage("--jitter takes two lengths in pixels"))?,
            ),
        };
        let normalise = match self.normalise {
            NormaliseName::None => Normalisation::None,
            NormaliseName::Channel => Normalisation::Channel,
            NormaliseName::Pixel => Normalisation::Pixel,
        };
        Ok(Augmentation { flip: self.flip, crop: self.crop, jitter, colour, normalise })
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

impl LossName {
    /// An error as people read it: a share of images, or a number in the unit of the values.
    fn error(self, error: f64) -> String {
        match self {
            LossName::CrossEntropy => percent(error),
            LossName::Mse | LossName::L1 => format!("{error:.5}"),
        }
    }
}

fn epoch_line(loss: LossName, record: &EpochRecord) -> String {
    let of = |what: &str, q: Option<Quality>| {
        q.map(|q| format!("  {what} loss {:.4} error {}", q.loss, loss.error(q.error))).unwrap_or_default()
    };
    format!(
        "epoch {:>3}{}{}{}  {:.1} s",
        record.epoch,
        of("train", record.train),
        of("validation", record.validation),
        if record.best { "  best" } else { "" },
        record.seconds
    )
}

fn human(loss: LossName, summary: &Summary, folder: &Path) -> String {
    let mut text = String::new();
    if let Some(best) = summary.best {
        text += &format!(
            "best    epoch {}: error {}, loss {:.4}\n",
            best.epoch,
            loss.error(best.error),
            best.loss
        );
    }
    if let Some(test) = summary.test {
        text += &match test.top5_error() {
            Some(top5) => format!(
                "test    accuracy {} on {} images (top-5 error {}, loss {:.4})\n",
                percent(1.0 - test.error()),
                test.rows,
                percent(top5),
                test.loss()
            ),
            None => format!(
                "test    error {} on {} samples (loss {:.4})\n",
                loss.error(test.error()),
                test.rows,
                test.loss()
            ),
        };
    }
    text += &format!("time    {:.1} s for {} steps\n", summary.seconds, summary.steps);
    text + &format!("folder  {}: best.safetensors, last.safetensors, report.html\n", folder.display())
}

fn as_json(summary: &Summary, folder: &Path) -> serde_json::Value {
    json!({
        "folder": folder.display().to_string(),
        "steps": summary.steps,
        "seconds": summary.seconds,
        "best": summary.best.map(|b| json!({
            "epoch": b.epoch, "step": b.step, "error": b.error, "loss": b.loss,
        })),
        "test": summary.test.map(|t| json!({
            "images": t.rows, "error": t.error(), "top5_error": t.top5_error(), "loss": t.loss(),
        })),
    })
}

fn amount(text: &str) -> Result<Amount, String> {
    let wrong = || format!("`{text}` is no number of images and no share as in 10%");
    match text.strip_suffix('%') {
        Some(share) => {
            let share = share.parse::<f64>().ok().filter(|s| (0.0..100.0).contains(s));
            share.map(|s| Amount::Share(s / 100.0)).ok_or_else(wrong)
        }
        None => text.parse().map(Amount::Count).map_err(|_| wrong()),
    }
}

fn pair(text: &str) -> Result<(f64, f64), String> {
    let numbers = text.split_once(',').and_then(|(a, b)| a.trim().parse().ok().zip(b.trim().parse().ok()));
    numbers.ok_or_else(|| "takes two numbers, as in 1,2".to_owned())
}
