//! `rectify check`: all errors and warnings of model files, without compiling them.

use super::args::stdin;
use super::failure::{Failure, note, show_report};
use super::{ErrorFormat, Outcome};
use std::path::Path;

#[derive(clap::Args)]
pub struct Args {
    /// Files to check; `-` is standard input
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Fail on warnings too
    #[arg(long)]
    deny_warnings: bool,
}

pub fn run(args: &Args, format: ErrorFormat) -> Outcome {
    let (mut errors, mut warnings) = (0, 0);
    for name in &args.models {
        let report = if name == "-" {
            rectify::check_bytes("<stdin>", &stdin()?)
        } else {
            rectify::check_file(Path::new(name))
        };
        match report {
            Ok(report) => {
                show_report(&report, format);
                errors += report.error_count();
                warnings += report.warning_count();
            }
            // The other files are looked at all the same.
            Err(error) => {
                Failure::Library(error).report(format);
                errors += 1;
            }
        }
    }
    if errors + warnings > 0 && format == ErrorFormat::Human {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        note(&format!("{}, {}", count(errors, "error"), count(warnings, "warning")));
    }
    if errors > 0 || args.deny_warnings && warnings > 0 { Err(Failure::Told) } else { Ok(()) }
}
