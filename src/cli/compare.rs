//! `rectify compare`: a model's values against reference values from elsewhere.

use super::Outcome;
use super::args::ModelArgs;
use super::failure::{Failure, note};
use super::inputs::InputArgs;
use super::progress::Progress;
use super::table::Table;
use rectify::compare::{Comparison, Tolerance};
use rectify::{Model, Tensor, data};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Reference values by name: .npz or .safetensors. Inputs that are not given otherwise are taken from it too
    #[arg(long = "ref", value_name = "FILE")]
    reference: PathBuf,
    /// Compare inner values too: every entry of the file that is the label of a layer
    #[arg(long)]
    every_node: bool,
    /// Absolute tolerance, times the greatest reference value where that is above 1
    #[arg(long, default_value_t = Tolerance::default().atol)]
    atol: f64,
    /// Relative tolerance
    #[arg(long, default_value_t = Tolerance::default().rtol)]
    rtol: f64,
}

pub fn run(args: &Args) -> Outcome {
    let mut reference: BTreeMap<String, Tensor> = data::read_all(&args.reference)?.into_iter().collect();
    let opened = args.model.open()?;
    let model = if args.every_node {
        let names: Vec<_> = reference.keys().map(String::as_str).collect();
        opened.model.with_outputs(&names)?
    } else {
        opened.model
    };
    args.model.compiler(&model)?.check()?;
    let ports = model.inputs();
    let inputs =
        args.inputs.load(&ports, &args.model.set, args.model.seed, |name| reference.get(name).cloned())?;
    let outputs = model.outputs();
    rename_single(&mut reference, &model);
    let is_used = |name: &String| {
        ports.iter().any(|p| p.name.as_ref() == name) || outputs.iter().any(|p| p.name.as_ref() == name)
    };
    let unused: Vec<_> = reference.keys().filter(|name| !is_used(name)).map(|n| format!("`{n}`")).collect();
    if !unused.is_empty() {
        let message = format!("{} has values for nothing: {}", args.reference.display(), unused.join(", "));
        let help =
            if args.every_node { "no layer has these labels" } else { "give --every-node to compare layers" };
        return Err(Failure::usage(message).help(help));
    }
    if !outputs.iter().any(|p| reference.contains_key(p.name.as_ref())) {
        let names: Vec<_> = outputs.iter().map(|p| format!("`{}`", p.name)).collect();
        return Err(Failure::usage(format!(
            "{} has none of the outputs {}",
            args.reference.display(),
            names.join(", ")
        )));
    }
    let compiled = args.model.compile(&model)?;
    let results = {
        let _progress = Progress::spinner("running");
        compiled.run(&inputs.views())?
    };
    let tolerance = Tolerance { atol: args.atol, rtol: args.rtol };
    let mut table = Table::new(&["value", "result"]);
    let (mut compared, mut differing) = (0, 0);
    for (name, got) in results.iter() {
        if let Some(want) = reference.get(name) {
            let comparison = Comparison::new(got, want.view(), tolerance);
            compared += 1;
            differing += usize::from(!comparison.agrees());
            table.row([name.to_owned(), comparison.to_string()]);
        }
    }
    std::io::stdout().write_all(table.render().as_bytes())?;
    note(&format!("{compared} compared, {differing} differ"));
    if differing > 0 { Err(Failure::Differs) } else { Ok(()) }
}

/// A file with one value, as .npy files are, is the reference of a model's one output.
fn rename_single(reference: &mut BTreeMap<String, Tensor>, model: &Model) {
    let outputs = model.outputs();
    let known = |name: &str| {
        outputs.iter().any(|p| p.name.as_ref() == name)
            || model.inputs().iter().any(|p| p.name.as_ref() == name)
    };
    if let ([output], Some(name)) = (outputs.as_slice(), reference.keys().next().cloned())
        && reference.len() == 1
        && !known(&name)
        && let Some(tensor) = reference.remove(&name)
    {
        reference.insert(output.name.to_string(), tensor);
    }
}
