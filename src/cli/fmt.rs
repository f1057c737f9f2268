//! `rectify fmt`: model files in their canonical form.

use super::args::stdin;
use super::failure::{Failure, note};
use super::{ErrorFormat, Outcome};
use std::io::Write;
use std::path::Path;

#[derive(clap::Args)]
pub struct Args {
    /// Files to format in place; `-` formats standard input to standard output
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Write nothing; fail if a file is not formatted
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args, format: ErrorFormat) -> Outcome {
    let (mut unformatted, mut failed) = (0, false);
    for name in &args.models {
        match one(name, args.check) {
            Ok(changed) => unformatted += usize::from(changed),
            // One broken file does not keep the others from being formatted.
            Err(failure) => {
                failure.report(format);
                failed = true;
            }
        }
    }
    if failed || args.check && unformatted > 0 { Err(Failure::Told) } else { Ok(()) }
}

/// Formats a file; true if it was not formatted before.
fn one(name: &str, check: bool) -> Result<bool, Failure> {
    let (shown, bytes) = if name == "-" {
        ("<stdin>", stdin()?)
    } else {
        (name, std::fs::read(name).map_err(|e| Failure::System(format!("cannot read {name}: {e}")))?)
    };
    let text = String::from_utf8(bytes).map_err(|e| {
        Failure::System(format!("{shown}: byte {} is not text", e.utf8_error().valid_up_to()))
    })?;
    let formatted = rectify::format_text(shown, &text)?;
    let changed = formatted != text;
    if check {
        if changed {
            note(&format!("{shown} is not formatted"));
        }
    } else if name == "-" {
        std::io::stdout().write_all(formatted.as_bytes())?;
    } else if changed {
        std::fs::write(name, formatted).map_err(|e| Failure::write(Path::new(name), &e))?;
    }
    Ok(changed)
}
