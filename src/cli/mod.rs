//! The command line: one file a subcommand, and what they share.
//!
//! Data goes to stdout, all else to stderr. Exit codes: 0 for success, 1 where the model or an input is at fault, 2 for
//! wrong usage, 3 for a bug of ours (a panic too), 4 for a comparison that failed.

mod args;
mod bench;
mod check;
mod compare;
mod completions;
#[cfg(feature = "onnx")]
mod conform;
mod doctor;
mod dump;
mod eval;
mod failure;
mod fmt;
#[cfg(feature = "onnx")]
mod import;
mod info;
mod init;
mod inputs;
mod lint;
mod ops;
mod profile;
mod progress;
mod run;
mod table;
mod train;

use clap::{Parser, Subcommand, ValueEnum};
use failure::Failure;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;

/// Compiles rectifier networks to machine code, runs them, and shows what it did.
#[derive(Parser)]
#[command(name = "rectify", version, max_term_width = 110, disable_help_subcommand = true)]
struct Cli {
    /// How errors are written
    #[arg(long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    error_format: ErrorFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ErrorFormat {
    /// For people, with the source line underlined
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run a model on inputs
    Run(run::Args),
    /// Measure compile time and run time
    Bench(bench::Args),
    /// Print the model at a stage of compilation
    Dump(dump::Args),
    /// Show inputs, outputs, layers, parameters and multiply-adds
    Info(info::Args),
    /// Report all errors and warnings of model files
    Check(check::Args),
    /// Format model files
    Fmt(fmt::Args),
    /// Explain or write a model's initial parameters
    Init(init::Args),
    /// Predict and measure the size of signals and gradients, layer by layer
    Lint(lint::Args),
    /// Train a model on a data set
    Train(train::Args),
    /// Evaluate trained weights on a data set
    Eval(eval::Args),
    /// List the operations of the language
    Ops(ops::Args),
    /// Show what this machine has and how fast it is
    Doctor(doctor::Args),
    /// Compare a model's outputs with reference values
    Compare(compare::Args),
    /// Run ONNX's backend tests
    #[cfg(feature = "onnx")]
    Conform(conform::Args),
    /// Write an ONNX model as a model of the language
    #[cfg(feature = "onnx")]
    Import(import::Args),
    /// Write a completion script for a shell
    Completions(completions::Args),
}

type Outcome = Result<(), Failure>;

/// Room for models that nest as deeply as the language allows, whatever the main thread has.
const STACK_BYTES: usize = 64 << 20;

/// What the panic hook saw: message and place.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let format = cli.error_format;
    failure::set_format(format);
    panic::set_hook(Box::new(|info| {
        let mut seen = PANIC.lock().unwrap_or_else(|e| e.into_inner());
        // The first panic is the cause; others follow from it.
        seen.get_or_insert_with(|| info.to_string());
    }));
    let worker = std::thread::Builder::new().name("rectify".into()).stack_size(STACK_BYTES);
    let outcome = match worker.spawn(move || dispatch(cli.command, format)).map(std::thread::JoinHandle::join)
    {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            let seen = PANIC.lock().unwrap_or_else(|e| e.into_inner()).take();
            Err(Failure::Bug(seen.unwrap_or_else(|| "a panic without a message".into())))
        }
        Err(error) => Err(Failure::System(format!("cannot start a thread: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(format);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(command: Command, format: ErrorFormat) -> Outcome {
    match command {
        Command::Run(args) => run::run(&args, format),
        Command::Bench(args) => bench::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Check(args) => check::run(&args, format),
        Command::Fmt(args) => fmt::run(&args, format),
        Command::Init(args) => init::run(&args, format),
        Command::Lint(args) => lint::run(&args, format),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Ops(args) => ops::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Compare(args) => compare::run(&args),
        #[cfg(feature = "onnx")]
        Command::Conform(args) => conform::run(&args),
        #[cfg(feature = "onnx")]
        Command::Import(args) => import::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Help and version are answers, anything else is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    let json = args.iter().any(|a| a == "--error-format=json")
        || args.windows(2).any(|a| a[0] == "--error-format" && a[1] == "json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        Failure::usage(message).report(ErrorFormat::Json);
    } else {
        // Nothing can be done about a terminal that takes no text.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
