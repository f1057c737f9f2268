//! `rectify run`: a model on inputs, once.

use super::args::ModelArgs;
use super::failure::{Failure, note};
use super::inputs::InputArgs;
use super::progress::Progress;
use super::table::Table;
use super::{ErrorFormat, Outcome};
use rectify::compare::{Comparison, Tolerance};
use rectify::{Compiled, Outputs, TensorView, data};
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Show and write these outputs only
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    outputs: Vec<String>,
    /// Write each output to DIR/NAME.npy
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the first output as a picture: values 0 to 1 of 1 or 3 channels; of any other number of channels, the colour of
    /// the greatest one, as a segmentation wants it
    #[arg(long, value_name = "FILE")]
    out_image: Option<PathBuf>,
    /// Show the K greatest classes of each row instead of a summary
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// Compare the outputs with the reference interpreter's
    #[arg(long)]
    verify: bool,
}

pub fn run(args: &Args, _format: ErrorFormat) -> Outcome {
    let opened = args.model.open()?;
    let ports = opened.model.inputs();
    let names: Vec<_> = opened.model.outputs().iter().map(|p| p.name.to_string()).collect();
    if let Some(name) = args.outputs.iter().find(|n| !names.contains(n)) {
        let near = rectify::diag::suggest(name, names.iter().map(String::as_str));
        let failure = Failure::usage(format!("the model has no output `{name}`"));
        return Err(failure.help(near.unwrap_or_else(|| format!("its outputs are {}", names.join(", ")))));
    }
    if args.top == Some(0) {
        return Err(Failure::usage("--top takes a number from 1 on"));
    }
    args.model.compiler(&opened.model)?.check()?;
    let inputs = args.inputs.load(&ports, &args.model.set, args.model.seed, |_| None)?;
    let compiled = args.model.compile(&opened.model)?;
    let outputs = {
        let _progress = Progress::spinner("running");
        compiled.run(&inputs.views())?
    };
    let wanted: Vec<_> = outputs
        .iter()
        .filter(|(name, _)| args.outputs.is_empty() || args.outputs.iter().any(|w| w == name))
        .collect();
    write(args, &wanted)?;
    let text = match args.top {
        Some(top) => classes(&wanted, top)?,
        None => summary(&wanted),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    if args.verify { verify(&compiled, &inputs.views(), &outputs) } else { Ok(()) }
}

fn write(args: &Args, outputs: &[(&str, TensorView<'_>)]) -> Outcome {
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|e| Failure::write(folder, &e))?;
        for (name, tensor) in outputs {
            let file = folder.join(format!("{}.npy", file_name(name)));
            data::write_npy(&file, *tensor).map_err(|e| Failure::write(&file, &e))?;
            note(&format!("wrote {}", file.display()));
        }
    }
    if let Some(file) = &args.out_image {
        let (_, tensor) = outputs.first().ok_or_else(|| Failure::usage("the model has no outputs"))?;
        data::write_picture(file, *tensor)?;
        note(&format!("wrote {}", file.display()));
    }
    Ok(())
}

/// An output's name as a file's: a hostile model must not write elsewhere.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let text: String = name.chars().map(safe).collect();
    if text.starts_with('.') || text.is_empty() { format!("_{text}") } else { text }
}

fn summary(outputs: &[(&str, TensorView<'_>)]) -> String {
    let mut table = Table::new(&["output", "type", ">min", ">mean", ">max", "first values"]);
    for (name, tensor) in outputs {
        let values = tensor.to_f64_vec();
        let finite = values.iter().copied().filter(|v| !v.is_nan());
        let (min, max) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let first = values.iter().take(4).map(|v| number(*v)).collect::<Vec<_>>().join(" ");
        let ty = format!("{}{:?}", tensor.dtype(), tensor.shape());
        table.row([(*name).to_owned(), ty, number(min), number(mean), number(max), first]);
    }
    table.render()
}

fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.3e}") } else { format!("{value:.5}") }
}

/// The greatest elements of each row of a [N, classes] output, with their softmax.
fn classes(outputs: &[(&str, TensorView<'_>)], top: usize) -> Result<String, Failure> {
    let scores = outputs.iter().find(|(_, t)| t.shape().len() == 2);
    let Some((name, tensor)) = scores else {
        return Err(Failure::usage("--top wants an output of shape [N, classes]; the model has none"));
    };
    let width = tensor.shape()[1].max(1);
    let mut table = Table::new(&["row", ">class", ">score", ">softmax"]);
    for (row, scores) in tensor.to_f64_vec().chunks(width).enumerate() {
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        for class in order.into_iter().take(top) {
            let share = (scores[class] - max).exp() / sum;
            let row = format!("{name}[{row}]");
            table.row([
                row,
                class.to_string(),
                format!("{:.5}", scores[class]),
                format!("{:.2} %", 100.0 * share),
            ]);
        }
    }
    Ok(table.render())
}

fn verify(compiled: &Compiled, inputs: &[(&str, TensorView<'_>)], outputs: &Outputs) -> Outcome {
    let reference = {
        let _progress = Progress::spinner("interpreting");
        compiled.reference(inputs)?
    };
    let mut differs = false;
    for ((name, got), (_, want)) in outputs.iter().zip(reference.iter()) {
        let comparison = Comparison::new(got, want, Tolerance::default());
        note(&format!("verify {name}: {comparison}"));
        differs |= !comparison.agrees();
    }
    if differs { Err(Failure::Differs) } else { Ok(()) }
}
