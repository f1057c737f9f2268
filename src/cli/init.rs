//! `rectify init`: a model's initial parameters, explained or written to a file.

use super::args::ModelArgs;
use super::failure::{Failure, note, show};
use super::progress::Progress;
use super::table::{Table, count};
use super::{ErrorFormat, Outcome};
use rectify::diag::Severity;
use rectify::init::{self, InitReport};
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Show fan, gain and std of each parameter, and why
    #[arg(long)]
    explain: bool,
    /// Write the parameters to a safetensors file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(args: &Args, format: ErrorFormat) -> Outcome {
    if !args.explain && args.output.is_none() {
        return Err(Failure::usage("nothing to do").help("give --explain, or -o FILE"));
    }
    let opened = args.model.open()?;
    let compiler = args.model.compiler(&opened.model)?;
    if args.explain {
        let (reports, warnings) = init::explain(&compiler)?;
        std::io::stdout().write_all(explain(&reports).as_bytes())?;
        for warning in warnings {
            show(Severity::Warning, &warning.to_string(), None, format);
        }
    }
    if let Some(file) = &args.output {
        let total = opened.model.parameters().iter().filter_map(rectify::ParameterInfo::elements).sum();
        let progress = Progress::bar("drawing parameters", total);
        init::save(&compiler, file, &mut |elements| progress.advance(elements))?;
        drop(progress);
        note(&format!("wrote {} parameters to {}", count(total as f64), file.display()));
    }
    Ok(())
}

fn explain(reports: &[InitReport]) -> String {
    let mut table = Table::new(&["parameter", "shape", "initialisation", ">fan", ">gain", ">std", "why"]);
    for report in reports {
        let fan = report.fan.as_ref();
        let gain = report.gain.as_ref();
        let mut why = Vec::new();
        if let Some(fan) = fan {
            why.push(format!("fan {} = {}", fan.kind, fan.formula));
        }
        if let Some(gain) = gain {
            why.push(format!("gain: {}", gain.why));
        }
        let shape: Vec<_> = report.shape.iter().map(ToString::to_string).collect();
        table.row([
            report.name.to_string(),
            format!("[{}]", shape.join(", ")),
            report.written.to_string(),
            fan.map_or_else(String::new, |f| f.value.to_string()),
            gain.map_or_else(String::new, |g| format!("{:.4}", g.value)),
            report.std.map_or_else(String::new, |s| format!("{s:.4}")),
            why.join("; "),
        ]);
    }
    table.render()
}
