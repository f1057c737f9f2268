//! Runs: a model trained on a data set, in a folder that keeps what came of it and what it takes to go on.

mod fit;
mod folder;
mod progress;
mod record;
mod settings;

pub use folder::records;
pub use progress::Best;
pub use record::{EpochRecord, Quality, Record, Slopes};
pub use settings::{Amount, Augmentation, Length, Normalisation, Settings};

use super::schedule::Moment;
use super::{Loss, Method, Score, Trainer};
use crate::compiler::Compiler;
use crate::data::sets::{Augment, Batch, Dataset, Loader, LoaderOptions, Normalise, Spec};
use crate::error::Error;
use fit::Fit;
use folder::Folder;
use progress::Progress;
use rectify_ir::op::Op;
use settings::{Config, Identity};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A training run. It has the same results, to the last bit, for every number of threads, and if it is interrupted at any
/// moment and resumed.
pub struct Run {
    config: Config,
    trainer: Trainer,
    fit: Fit,
    loader: Loader,
    validation: Option<Loader>,
    test: Option<Loader>,
    normalise: Option<Normalise>,
    /// What signals are measured on.
    sample: Batch,
    folder: Folder,
    progress: Progress,
    begun: Instant,
    /// Seconds before `begun`.
    before: f64,
}

/// What a run does just now.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step was taken.
    Step { step: u64, total: u64, epoch: u64, loss: f64, rate: f64 },
    /// A line was added to the metrics.
    Record(&'a Record),
    /// Evaluating on so many images.
    Evaluating { images: usize },
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub steps: u64,
    /// Of the validation set, or of training images where there is none.
    pub best: Option<Best>,
    /// Of the best weights.
    pub test: Option<Score>,
    pub seconds: f64,
}

/// Steps that one line of the metrics sums up.
const LINE: u64 = 10;
/// A loss so many times the first one (or 1, if that is less) has left all bounds.
const DIVERGED: f64 = 1e3;

impl Run {
    /// Begins a run in a folder that has none yet.
    ///
    /// # Errors
    /// Data that cannot be read or does not fit the model, settings without meaning, a folder with a run.
    pub fn start(
        compiler: &Compiler<'_>,
        spec: &Spec,
        settings: Settings,
        folder: &Path,
    ) -> Result<Run, Error> {
        Run::prepare(compiler, spec, settings, |config| Folder::create(folder, config))
    }

    /// Goes on where the run in a folder was interrupted, or from its beginning if it had not come to a checkpoint.
    ///
    /// # Errors
    /// As [`start`](Self::start); no run in the folder, one with other options, or a damaged checkpoint.
    pub fn resume(
        compiler: &Compiler<'_>,
        spec: &Spec,
        settings: Settings,
        folder: &Path,
    ) -> Result<Run, Error> {
        let mut run = Run::prepare(compiler, spec, settings, |config| Folder::existing(folder, config))?;
        let checkpoint = run.folder.checkpoint();
        if checkpoint.exists() {
            let note = run.trainer.load_checkpoint(&checkpoint)?;
            run.progress = serde_json::from_str(&note).map_err(|e| Error::Format {
                name: checkpoint.display().to_string(),
                message: format!("the note on the run's progress cannot be read: {e}"),
            })?;
            run.before = run.progress.seconds;
        }
        run.folder.cut_metrics(run.progress.metrics_bytes)?;
        Ok(run)
    }

    fn prepare(
        compiler: &Compiler<'_>,
        spec: &Spec,
        settings: Settings,
        open: impl FnOnce(&Config) -> Result<Folder, Error>,
    ) -> Result<Run, Error> {
        settings.check()?;
        let sets = spec.load()?;
        let about = Identity::new(compiler, spec, &sets.train)?;
        let seed = compiler.options.seed;
        let kept = settings.validation.of(sets.train.len());
        let (train, validation) = match kept {
            0 => (sets.train, None),
            kept => sets.train.split(kept, seed).map(|(train, cut)| (train, Some(cut)))?,
        };
        let (augment, plain) = settings.augmentation.of(&train)?;
        let batch = settings.batch;
        let normalise = plain.normalise.clone();
        let evaluation =
            |set: Dataset, plain: &Augment| Loader::new(set, LoaderOptions::evaluation(batch, plain.clone()));
        let test = match (settings.test, sets.test) {
            (false, _) => None,
            (true, Some(set)) => Some(evaluation(set, &plain)?),
            (true, None) => return Err(Error::option(format!("{spec} has no test set"))),
        };
        let validation = validation.map(|set| evaluation(set, &plain)).transpose()?;
        settings.check_with(&train, spec)?;
        let options = LoaderOptions { batch, seed, augment, ..LoaderOptions::default() };
        let loader = Loader::new(train.clone(), options)?;
        let fit = Fit::new(compiler.model().graph(), &train);
        let trainer = Trainer::new(compiler, &settings.method, &fit.input(batch))?;
        let fit = fit.with(&trainer, &train, spec)?;
        let sample = fit.batch(loader.batch(0, 0)?)?;
        let config = Config::new(settings, about);
        let folder = open(&config)?;
        let (progress, begun) = (Progress::default(), Instant::now());
        Ok(Run {
            config,
            trainer,
            fit,
            loader,
            validation,
            test,
            normalise,
            sample,
            folder,
            progress,
            begun,
            before: 0.0,
        })
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        match self.config.settings.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => epochs.saturating_mul(self.steps_per_epoch()),
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.trainer.steps()
    }

    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches_per_epoch() as u64
    }

    fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    fn rate(&self) -> f64 {
        let settings = &self.config.settings;
        let at = Moment {
            step: self.steps(),
            steps_per_epoch: self.steps_per_epoch(),
            total: self.total_steps(),
            warmup: settings.warmup,
            drops: self.progress.plateau.drops,
        };
        settings.rate * settings.schedule.factor(at)
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// Images that cannot be read, files that cannot be written, and a loss that leaves all bounds: then the last checkpoint
    /// stays as it was.
    pub fn run(mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Summary, Error> {
        let (total, per_epoch) = (self.total_steps(), self.steps_per_epoch());
        if self.steps() == 0 {
            self.end_epoch(self.config.settings.rate, watch)?;
        }
        let mut batches = self.loader.resume(0, self.steps() as usize);
        while self.steps() < total {
            let batch =
                batches.next().ok_or_else(|| Error::internal("training", "the batches have ended"))??;
            let batch = self.fit.batch(batch)?;
            let (step, rate) = (self.steps(), self.rate());
            let outcome = self.trainer.step(batch.images.view(), batch.labels.view(), rate)?;
            self.check(&batch, outcome.loss)?;
            self.progress.epoch.add(outcome);
            self.progress.steps.add(outcome);
            let done = step + 1;
            watch(Event::Step { step: done, total, epoch: step / per_epoch + 1, loss: outcome.loss, rate });
            let ends = done % per_epoch == 0 || done == total;
            if done % LINE == 0 || ends {
                self.line(rate, watch)?;
            }
            let every = self.config.settings.checkpoint_every;
            if ends {
                self.end_epoch(rate, watch)?;
                self.save()?;
                self.report()?;
            } else if every > 0 && done % every == 0 {
                self.save()?;
            }
        }
        drop(batches);
        self.finish(watch)
    }

    /// Adds a line on the steps since the last.
    fn line(&mut self, rate: f64, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let (step, seconds) = (self.steps(), self.seconds());
        let epoch = step as f64 / self.steps_per_epoch() as f64;
        let Settings { batch, method: Method { loss, .. }, .. } = self.config.settings;
        match self.progress.steps.take_record(batch, loss, step, epoch, rate, seconds) {
            Some(record) => self.record(&record, watch),
            None => Ok(()),
        }
    }

    fn record(&mut self, record: &Record, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        self.folder.record(record)?;
        watch(Event::Record(record));
        Ok(())
    }

    /// Measures, keeps the best weights, and tells of it. Before the first step nothing is kept.
    fn end_epoch(&mut self, rate: f64, watch: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let validation = match &self.validation {
            Some(loader) => Some(evaluate(&mut self.trainer, &self.fit, loader, watch)?),
            None => None,
        };
        let Settings { batch, method: Method { loss: objective, .. }, .. } = self.config.settings;
        let train = self.progress.epoch.quality(batch, objective);
        let step = self.steps();
        let epoch = step.div_ceil(self.steps_per_epoch());
        let judged = validation.map(Quality::from).or(train);
        let mut best = false;
        if let Some(Quality { loss, error }) = judged.filter(|_| step > 0) {
            // Of equal errors the lower loss counts.
            best = self.progress.best.is_none_or(|b| (error, loss) < (b.error, b.loss));
            if best {
                self.progress.best = Some(Best { epoch, step, loss, error });
            }
            self.progress.plateau.see(self.config.settings.schedule, error);
        }
        let mut signals = Vec::new();
        if self.config.settings.signals {
            signals = self.trainer.signals(self.sample.images.view(), self.sample.labels.view())?;
            let sound = |s: &&super::Signal| s.activation.is_finite() && s.gradient.is_finite();
            if let Some(wrong) = signals.iter().find(|s| !sound(s)) {
                return Err(self.stop(&format!("the signal at layer `{}` is not finite", wrong.layer)));
            }
        }
        let record = EpochRecord {
            epoch,
            step,
            rate,
            train,
            validation: validation.map(Quality::from),
            best,
            slopes: self.slopes(),
            signals,
            seconds: self.seconds(),
        };
        self.record(&Record::Epoch(Box::new(record)), watch)?;
        self.progress.epoch = Default::default();
        if best {
            self.save_weights(&self.folder.best())?;
        }
        if step > 0 { self.save_weights(&self.folder.last()) } else { Ok(()) }
    }

    /// Slopes of the model's PReLUs, those of parameters that move.
    fn slopes(&self) -> Vec<Slopes> {
        let graph = &self.trainer.model;
        let mut names: Vec<Arc<str>> = Vec::new();
        for id in graph.topo_order() {
            let node = graph.node(id);
            if let Op::Prelu { .. } = node.op
                && let Some(name) = node.operands.get(1).and_then(|slope| graph.node(slope.node).name.clone())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        let of = |name: &Arc<str>| {
            let (_, values) = self.trainer.parameters().find(|(n, _)| *n == &**name)?;
            Some(Slopes::of(name, &values.to_f32_vec()))
        };
        names.iter().filter_map(of).collect()
    }

    fn save_weights(&self, path: &Path) -> Result<(), Error> {
        let normalise = self.normalise.as_ref().map(|n| serde_json::json!({ "mean": n.mean, "std": n.std }));
        let text = normalise.map(|n| n.to_string());
        let mut metadata = vec![("format", "pt")];
        metadata.extend(text.as_deref().map(|text| (NORMALISE, text)));
        self.trainer.save_weights(path, &metadata)
    }

    fn save(&mut self) -> Result<(), Error> {
        self.progress.metrics_bytes = self.folder.sync_metrics()?;
        self.progress.seconds = self.seconds();
        let note = serde_json::to_string(&self.progress).map_err(|e| Error::internal("checkpoint", e))?;
        self.trainer.save_checkpoint(&self.folder.checkpoint(), &note)
    }

    /// Draws the page anew from the lines so far.
    fn report(&self) -> Result<(), Error> {
        let Config { settings, about, .. } = &self.config;
        let [c, h, w] = self.loader.dataset().shape();
        let (images, held) =
            (self.loader.dataset().len(), self.validation.as_ref().map_or(0, |l| l.dataset().len()));
        let parameters: usize = self.trainer.parameters().map(|(_, values)| values.elements()).sum();
        let row = |name: &str, text: String| (name.to_owned(), text);
        let rows = [
            row("model", format!("{}, {parameters} parameters in training", about.model)),
            row("data", format!("{}: {images} images of {c} x {h} x {w}, {held} for validation", about.data)),
            row("method", settings.describe()),
        ];
        let records = self.folder.records()?;
        self.folder.write_report(&super::report::report(
            &format!("Training of {}", about.model),
            &rows,
            settings.method.loss,
            &records,
        ))
    }

    /// Stops a run whose loss has left all bounds, and says where that began.
    fn check(&mut self, batch: &Batch, loss: f64) -> Result<(), Error> {
        let first = *self.progress.first_loss.get_or_insert(loss);
        let broken = self.trainer.broken().map(str::to_owned);
        if loss.is_finite() && broken.is_none() && loss <= DIVERGED * first.max(1.0) {
            return Ok(());
        }
        let what = if loss.is_nan() {
            "the loss is not a number".to_owned()
        } else if loss > DIVERGED * first.max(1.0) {
            format!("the loss is {loss:.3e}, and was {first:.3} at first")
        } else {
            "the update is not finite".to_owned()
        };
        let place = self.trainer.blame(batch.images.view(), batch.labels.view())?;
        let place =
            place.or(broken.map(|name| format!("parameter `{name}` is the first that is not finite")));
        Err(self.stop(&match place {
            Some(place) => format!("{what}; {place}"),
            None => what,
        }))
    }

    fn stop(&mut self, message: &str) -> Error {
        let step = self.steps();
        // The message is what matters, even if it cannot be recorded.
        let _recorded = self.folder.record(&Record::Stopped { step, message: message.to_owned() });
        let _drawn = self.report();
        Error::Diverged { step, message: message.to_owned() }
    }

    fn finish(mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Summary, Error> {
        let mut test = None;
        if let Some(loader) = self.test.take() {
            self.trainer.load_weights(&self.folder.best())?;
            let score = evaluate(&mut self.trainer, &self.fit, &loader, watch)?;
            let (loss, error, top5_error) = (score.loss(), score.error(), score.top5_error());
            self.record(&Record::Test { images: score.rows, loss, error, top5_error }, watch)?;
            test = Some(score);
        }
        self.report()?;
        Ok(Summary { steps: self.steps(), best: self.progress.best, test, seconds: self.seconds() })
    }
}

/// The key of mean and deviation in a weights file.
pub(crate) const NORMALISE: &str = "rectify.normalise";

fn evaluate(
    trainer: &mut Trainer,
    fit: &Fit,
    loader: &Loader,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Score, Error> {
    watch(Event::Evaluating { images: loader.dataset().len() });
    let loss = trainer.method.loss;
    let mut score = Score::new(loss);
    for batch in loader.epoch(0) {
        let batch = fit.batch(batch?)?;
        let outputs = trainer.predict(batch.images.view())?;
        match loss {
            Loss::CrossEntropy { .. } => score.add(outputs.view(), batch.labels.as_slice::<u32>()?)?,
            Loss::SquaredError | Loss::AbsoluteError => {
                score.add_values(outputs.view(), batch.labels.view())?
            }
        }
    }
    Ok(score)
}
