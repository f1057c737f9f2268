//! `rectify import`: an ONNX model as a model of the language, with its weights beside it.

use super::Outcome;
use super::failure::{Failure, note};
use rectify::Model;
use rectify::import::rect;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// An ONNX file
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The file to write; weights go into NAME.safetensors beside it
    #[arg(short, long, value_name = "NAME.rect")]
    output: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args) -> Outcome {
    let model = Model::open(&args.model)?;
    let needs = model.value_inputs();
    if !needs.is_empty() {
        let names: Vec<_> = needs.iter().map(|n| format!("`{n}`")).collect();
        let message = format!(
            "shapes of {} depend on the values of its inputs {}, so it is not one model of the language",
            args.model.display(),
            names.join(", ")
        );
        return Err(Failure::usage(message).help("run the .onnx file itself, or export it with fixed shapes"));
    }
    let written = rect::write(&model, &args.output, args.force)?;
    note(&format!("wrote {}", written.model.display()));
    if let Some(weights) = written.weights {
        note(&format!("wrote {} tensors to {}", written.tensors, weights.display()));
    }
    Ok(())
}
