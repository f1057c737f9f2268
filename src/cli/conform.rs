//! `rectify conform`: ONNX's backend tests through compiled code.

use super::Outcome as Ended;
use super::args::TargetChoice;
use super::failure::Failure;
use super::progress::Progress;
use rectify::Pool;
use rectify::conform::{self, Case, Options, Outcome, Totals};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Folders, at any depth, with model.onnx and test_data_set_N beside it
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// CPU level to compile for: x86-64-v1 to -v4, aarch64 or native
    #[arg(long, value_name = "LEVEL", value_parser = super::args::level)]
    target: Option<TargetChoice>,
    /// Cases to run at a time [default: the threads that this process may use]
    #[arg(long)]
    threads: Option<usize>,
}

pub fn run(args: &Args) -> Ended {
    let mut cases = Vec::new();
    for folder in &args.folders {
        let error = |e| Failure::System(format!("cannot read {}: {e}", folder.display()));
        cases.extend(conform::find(folder).map_err(error)?);
    }
    if cases.is_empty() {
        return Err(Failure::usage("there is no model.onnx in these folders"));
    }
    let target = match args.target {
        Some(TargetChoice::Level(level)) => Some(level),
        Some(TargetChoice::Native) | None => None,
    };
    let options = Options { target, parallel: args.threads.unwrap_or_else(|| Pool::global().threads()) };
    let progress = Progress::bar("running cases", cases.len() as u64);
    let outcomes = conform::run_all(&cases, &options, &|| progress.advance(1))?;
    drop(progress);
    let totals = Totals::of(&outcomes);
    let text = if args.json { report(&cases, &outcomes, totals) } else { lines(&cases, &outcomes, totals) };
    std::io::stdout().write_all(text.as_bytes())?;
    if totals.failed > 0 { Err(Failure::Differs) } else { Ok(()) }
}

/// A line a case that did not pass, and the sum.
fn lines(cases: &[Case], outcomes: &[Outcome], totals: Totals) -> String {
    let mut text = String::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        let (what, why) = match outcome {
            Outcome::Passed => continue,
            Outcome::Failed(failure) => ("failed", &failure.message),
            Outcome::Unsupported(reason) => ("unsupported", reason),
        };
        // Names out of a file may hold what moves a terminal's cursor.
        let why: String = why.replace('\n', "; ").chars().filter(|c| !c.is_control()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{what} {}: {why}", case.folder.display());
    }
    text + &format!("{totals}\n")
}

fn report(cases: &[Case], outcomes: &[Outcome], totals: Totals) -> String {
    let all: Vec<Value> = cases.iter().zip(outcomes).map(|(case, outcome)| entry(case, outcome)).collect();
    let object = json!({
        "passed": totals.passed,
        "failed": totals.failed,
        "unsupported": totals.unsupported,
        "cases": all,
    });
    format!("{object:#}\n")
}

fn entry(case: &Case, outcome: &Outcome) -> Value {
    let folder = case.folder.display().to_string();
    match outcome {
        Outcome::Passed => json!({ "case": folder, "result": "passed" }),
        Outcome::Unsupported(reason) => {
            let reasons: Vec<_> = reason.lines().collect();
            json!({ "case": folder, "result": "unsupported", "reasons": reasons })
        }
        Outcome::Failed(failure) => {
            let mut entry = json!({ "case": folder, "result": "failed", "message": failure.message });
            if let Some(mismatch) = &failure.mismatch {
                entry["output"] = json!(mismatch.output);
                entry["op"] = json!(mismatch.op);
                entry["node"] = json!(mismatch.node);
                if let Some((place, got, want)) = &mismatch.worst {
                    // JSON has no NaN and no infinities: those are strings.
                    entry["worst"] = json!({ "index": place, "got": number(*got), "want": number(*want) });
                }
            }
            entry
        }
    }
}

fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}
