//! Options that every command on a model takes.

use super::failure::Failure;
use rectify::plan::Algorithm;
use rectify::{Compiled, Compiler, Model, Precision, TargetLevel};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
#[command(next_help_heading = "Model options")]
pub struct ModelArgs {
    /// A model file or a dump of one; `-` is standard input
    #[arg(help_heading = None)]
    pub model: String,
    /// Take this model of a file with several
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Fix a symbolic size, as in `--set N=4`
    #[arg(long, value_name = "NAME=SIZE", value_parser = size)]
    pub set: Vec<(String, i64)>,
    /// Load the parameters from a safetensors or npz file
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Seed of drawn parameters and random inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads to compute with [default: what this process may use]
    #[arg(long)]
    pub threads: Option<usize>,
    /// CPU level to compile for: x86-64-v1 to -v4, aarch64 or native
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub target: Option<TargetChoice>,
    /// Precision of f32 products: highest, high or medium
    #[arg(long, default_value_t)]
    pub precision: Precision,
    /// Forbid Winograd convolutions
    #[arg(long)]
    pub no_winograd: bool,
    /// Compute convolutions and dense layers by this algorithm wherever it can: direct, dot, folded, winograd-f2 or
    /// winograd-f4
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm, conflicts_with = "no_winograd")]
    pub convolutions: Option<Algorithm>,
    /// Treat denormal numbers as zero
    #[arg(long)]
    pub flush_denormals: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum TargetChoice {
    Native,
    Level(TargetLevel),
}

/// A model with the time that reading it took.
pub struct Opened {
    pub model: Model,
    pub parse: Duration,
}

impl ModelArgs {
    pub fn open(&self) -> Result<Opened, Failure> {
        let start = Instant::now();
        let model = if self.model == "-" {
            Model::from_bytes_named("<stdin>", &stdin()?, self.name.as_deref())?
        } else {
            Model::open_named(&self.model, self.name.as_deref())?
        };
        Ok(Opened { model, parse: start.elapsed() })
    }

    /// The model's compiler with these options.
    pub fn compiler<'m>(&self, model: &'m Model) -> Result<Compiler<'m>, Failure> {
        let mut compiler =
            model.compiler().seed(self.seed).precision(self.precision).flush_denormals(self.flush_denormals);
        for (index, (name, value)) in self.set.iter().enumerate() {
            if self.set[..index].iter().any(|(n, v)| n == name && v != value) {
                return Err(Failure::usage(format!("--set gives {name} two values")));
            }
            compiler = compiler.size(name, *value);
        }
        if let Some(threads) = self.threads {
            compiler = compiler.threads(threads);
        }
        if let Some(TargetChoice::Level(level)) = self.target {
            compiler = compiler.target(level);
        }
        if self.no_winograd {
            compiler = compiler.winograd(false);
        }
        if let Some(algorithm) = self.convolutions {
            compiler = compiler.convolutions(algorithm);
        }
        if let Some(weights) = &self.weights {
            compiler = compiler.weights(weights);
        }
        Ok(compiler)
    }

    /// Compiles with a spinner, for commands without options of their own.
    pub fn compile(&self, model: &Model) -> Result<Compiled, Failure> {
        let compiler = self.compiler(model)?;
        let _progress = super::progress::Progress::spinner("compiling");
        Ok(compiler.compile()?)
    }

    /// The model's name for messages.
    pub fn shown(&self) -> &str {
        if self.model == "-" { "<stdin>" } else { &self.model }
    }
}

/// Everything that stands at standard input.
pub fn stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|e| Failure::System(format!("cannot read standard input: {e}")))?;
    Ok(bytes)
}

fn size(text: &str) -> Result<(String, i64), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=SIZE, as in N=4")?;
    let value: i64 = value.parse().map_err(|_| format!("`{value}` is not a size"))?;
    if name.is_empty() || value < 1 {
        return Err("a size is a name and a number from 1 on, as in N=4".into());
    }
    Ok((name.to_owned(), value))
}

pub fn level(text: &str) -> Result<TargetChoice, String> {
    if text == "native" {
        return Ok(TargetChoice::Native);
    }
    text.parse().map(TargetChoice::Level).map_err(|e: rectify::UnknownLevel| format!("{e}, native"))
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "direct" => Ok(Algorithm::Direct),
        "dot" => Ok(Algorithm::Dot),
        "folded" => Ok(Algorithm::Folded),
        "winograd-f2" => Ok(Algorithm::WinogradF2),
        "winograd-f4" => Ok(Algorithm::WinogradF4),
        _ => Err("an algorithm is direct, dot, folded, winograd-f2 or winograd-f4".into()),
    }
}
