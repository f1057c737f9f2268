//! `rectify eval`: how good trained weights are on a data set.

use super::Outcome;
use super::args::ModelArgs;
use super::failure::{Failure, note};
use super::progress::Progress;
use clap::ValueEnum;
use rectify::data::sets::{Dataset, Normalise, Sets, Spec};
use rectify::evaluate::{Evaluator, Regression, Views, normalisation};
use rectify::train::Score;
use rectify::{Compiler, Model};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    eval: EvalArgs,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
struct EvalArgs {
    /// The data set: idx:DIR, cifar10:DIR, folder:DIR, npz:FILE, synth:shapes, or a path
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Which part of it
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,
    /// A further member of an ensemble: weights of the same model, or MODEL,WEIGHTS. May be given several times
    #[arg(long, value_name = "[MODEL,]WEIGHTS")]
    member: Vec<String>,
    /// single; ten: corners, middle and their mirror images; dense: every window through spatial pyramid pooling
    #[arg(long, value_enum, default_value_t = ViewName::Single)]
    views: ViewName,
    /// Shorter side of the image that ten views are cut from [default: 8/7 of the model's]
    #[arg(long, value_name = "PIXELS")]
    side: Option<usize>,
    /// Shorter sides of the image for dense views [default: the set's]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    sides: Vec<usize>,
    /// Places of the map between dense windows [default: 1]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Normalise images so instead of as the weights file says; measured on the training set
    #[arg(long, value_enum)]
    normalise: Option<NormaliseName>,
    /// Images that are read at a time
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch: u32,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Test,
    Train,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ViewName {
    Single,
    Ten,
    Dense,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NormaliseName {
    None,
    /// By channel
    Channel,
    /// Means by pixel, deviations by channel
    Pixel,
}

pub fn run(args: &Args) -> Outcome {
    let Args { model: model_args, eval } = args;
    let spec = Spec::parse(&eval.data)?;
    let opened = model_args.open()?;
    let compiler = model_args.compiler(&opened.model)?;
    compiler.check()?;
    eval.check()?;
    let progress = Progress::spinner("reading the data and compiling");
    let sets = spec.load()?;
    let mut evaluator = Judge::new(eval, &opened.model, &sets)?;
    evaluator.add(&compiler, eval.normaliser(model_args.weights.as_deref(), &sets)?)?;
    for member in &eval.member {
        let (model, weights) = match member.split_once(',') {
            Some((model, weights)) => (Some(Model::open(model)?), weights),
            None => (None, member.as_str()),
        };
        let model = model.as_ref().unwrap_or(&opened.model);
        let compiler = model_args.compiler(model)?.weights(weights);
        evaluator.add(&compiler, eval.normaliser(Some(Path::new(weights)), &sets)?)?;
    }
    let set = match (eval.part, sets.test) {
        (Part::Train, _) => sets.train,
        (Part::Test, Some(test)) => test,
        (Part::Test, None) => {
            return Err(Failure::usage(format!("{spec} has no test set"))
                .help("--part train evaluates on the training set"));
        }
    };
    drop(progress);
    let start = Instant::now();
    let score = evaluator.score(&set, eval.batch as usize)?;
    let seconds = start.elapsed().as_secs_f64();
    let members = evaluator.members();
    let text = if eval.json {
        format!("{}\n", as_json(&score, members, seconds))
    } else {
        human(&score, members, seconds)
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Of classes or of values, by the data.
enum Judge {
    Classes(Evaluator),
    Values(Regression),
}

impl Judge {
    fn new(eval: &EvalArgs, model: &Model, sets: &Sets) -> Result<Judge, Failure> {
        let shape = sets.train.shape();
        if sets.train.value_shape().is_none() {
            return Ok(Judge::Classes(Evaluator::new(eval.views(model, shape), shape)));
        }
        if eval.views != ViewName::Single {
            return Err(Failure::usage("values are predicted of whole samples: there is one view of each"));
        }
        Ok(Judge::Values(Regression::new(&sets.train)?))
    }

    fn add(&mut self, compiler: &Compiler<'_>, normalise: Option<Normalise>) -> Result<(), Failure> {
        match self {
            Judge::Classes(evaluator) => evaluator.add(compiler, normalise)?,
            Judge::Values(regression) => regression.add(compiler, normalise)?,
        }
        Ok(())
    }

    fn members(&self) -> usize {
        match self {
            Judge::Classes(evaluator) => evaluator.members(),
            Judge::Values(regression) => regression.members(),
        }
    }

    fn score(&mut self, set: &Dataset, batch: usize) -> Result<Score, Failure> {
        let progress = Progress::bar("evaluating", set.len() as u64);
        let mut before = 0;
        let mut watch = |done| {
            progress.advance(done - before);
            before = done;
        };
        Ok(match self {
            Judge::Classes(evaluator) => evaluator.score(set, batch, &mut watch)?,
            Judge::Values(regression) => regression.score(set, batch, &mut watch)?,
        })
    }
}

impl EvalArgs {
    /// An option that does nothing is likely a mistake.
    fn check(&self) -> Result<(), Failure> {
        let idle = [
            ("--side", self.side.is_some() && self.views != ViewName::Ten),
            ("--sides", !self.sides.is_empty() && self.views != ViewName::Dense),
            ("--stride", self.stride.is_some() && self.views != ViewName::Dense),
        ];
        match idle.iter().find(|(_, idle)| *idle) {
            Some((option, _)) => Err(Failure::usage(format!("{option} does nothing with these views"))),
            None => Ok(()),
        }
    }

    fn views(&self, model: &Model, [_, height, width]: [usize; 3]) -> Views {
        match self.views {
            ViewName::Single => Views::Single,
            ViewName::Ten => {
                // 256 pixels for an input of 224, as is usual.
                let own = model.inputs().first().and_then(|p| p.sizes().get(2).copied().flatten());
                Views::Ten { side: self.side.unwrap_or(own.unwrap_or(height) * 8 / 7) }
            }
            ViewName::Dense => {
                let sides = if self.sides.is_empty() { vec![height.min(width)] } else { self.sides.clone() };
                Views::Dense { sides, stride: self.stride.unwrap_or(1) }
            }
        }
    }

    /// How images are normalised for these weights.
    fn normaliser(&self, weights: Option<&Path>, sets: &Sets) -> Result<Option<Normalise>, Failure> {
        match self.normalise {
            Some(NormaliseName::None) => return Ok(None),
            Some(NormaliseName::Channel) => return Ok(Some(Normalise::per_channel(&sets.train)?)),
            Some(NormaliseName::Pixel) => return Ok(Some(Normalise::per_pixel(&sets.train)?)),
            None => {}
        }
        let found = weights.map(normalisation).transpose()?.flatten();
        if found.is_none() {
            note(
                "images go in as they are: no weights file says how they were normalised (--normalise does)",
            );
        }
        Ok(found)
    }
}

fn human(score: &Score, members: usize, seconds: f64) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    if let Some((square, absolute)) = score.deviations() {
        let models = if members > 1 { format!(", {members} models together") } else { String::new() };
        return format!(
            "error     {:.5} root mean square, {absolute:.5} mean absolute, on {} samples{models}\n\
             loss      {square:.4e}\npsnr      {:.2} dB for values of 0 to 1\ntime      {seconds:.1} s\n",
            square.sqrt(),
            score.rows,
            -10.0 * square.log10(),
        );
    }
    let models = if members > 1 { format!(" of {members} models together") } else { String::new() };
    format!(
        "accuracy  {}{models} on {} images\nerror     {} top-1, {} top-5\nloss      {:.4}\ntime      {seconds:.1} s\n",
        percent(1.0 - score.error()),
        score.rows,
        percent(score.error()),
        percent(score.top5_error().unwrap_or(f64::NAN)),
        score.loss(),
    )
}

fn as_json(score: &Score, members: usize, seconds: f64) -> serde_json::Value {
    if let Some((square, absolute)) = score.deviations() {
        return json!({
            "images": score.rows, "models": members, "mean_square": square, "mean_absolute": absolute, "seconds": seconds,
        });
    }
    json!({
        "images": score.rows,
        "models": members,
        "accuracy": 1.0 - score.error(),
        "error": score.error(),
        "top5_error": score.top5_error(),
        "loss": score.loss(),
        "seconds": seconds,
    })
}
