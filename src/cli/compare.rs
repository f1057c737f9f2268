//! `rectify compare`: a model's values against reference values from elsewhere, or against the interpreter's.

use super::Outcome;
use super::args::ModelArgs;
use super::failure::{Failure, note};
use super::inputs::InputArgs;
use super::progress::Progress;
use super::table::Table;
use rectify::compare::{Comparison, Tolerance, element};
use rectify::{Model, Op, Outputs, Tensor, TensorView, data};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Reference values by name: .npz or .safetensors. Inputs that are not given otherwise are taken from it too. Without
    /// it, the interpreter's results are what to agree with
    #[arg(long = "ref", value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Compare inner values too, in the order in which they are computed: every entry of the file that is the label of a
    /// layer, or a tensor's name of an ONNX file. The first that differs is shown with what made it
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
    match &args.reference {
        Some(file) => against_file(args, file),
        None => against_interpreter(args),
    }
}

fn against_file(args: &Args, file: &Path) -> Outcome {
    let mut reference: BTreeMap<String, Tensor> = data::read_all(file)?.into_iter().collect();
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
    let inner = outputs.iter().any(|p| reference.contains_key(p.name.as_ref()));
    if !unused.is_empty() && args.every_node && inner {
        // Tensors of shapes are gone from the graph, and those of weights are no results.
        let few = unused.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        note(&format!("{} entries are no computed values of the model: {few}", unused.len()));
    } else if !unused.is_empty() {
        let message = format!("{} has values for nothing: {}", file.display(), unused.join(", "));
        let help =
            if args.every_node { "no layer has these labels" } else { "give --every-node to compare layers" };
        return Err(Failure::usage(message).help(help));
    }
    if !outputs.iter().any(|p| reference.contains_key(p.name.as_ref())) {
        let names: Vec<_> = outputs.iter().map(|p| format!("`{}`", p.name)).collect();
        return Err(Failure::usage(format!(
            "{} has none of the outputs {}",
            file.display(),
            names.join(", ")
        )));
    }
    let compiled = args.model.compile(&model)?;
    let results = {
        let _progress = Progress::spinner("running");
        compiled.run(&inputs.views())?
    };
    report(args, &model, &results, |name| reference.get(name).map(Tensor::view))
}

/// The model as written, evaluated in f64, is the reference.
fn against_interpreter(args: &Args) -> Outcome {
    let opened = args.model.open()?;
    let model =
        if args.every_node { opened.model.with_outputs(&labels(&opened.model))? } else { opened.model };
    args.model.compiler(&model)?.check()?;
    let inputs = args.inputs.load(&model.inputs(), &args.model.set, args.model.seed, |_| None)?;
    let compiled = args.model.compile(&model)?;
    let (results, wanted) = {
        let _progress = Progress::spinner("running");
        (compiled.run(&inputs.views())?, compiled.reference(&inputs.views())?)
    };
    report(args, &model, &results, |name| wanted.get(name).map(Tensor::view))
}

/// The labels of all layers.
fn labels(model: &Model) -> Vec<&str> {
    let graph = model.graph();
    let made = |id| {
        let node = graph.node(id);
        node.name.as_deref().filter(|_| !matches!(node.op, Op::Input | Op::Param(_)))
    };
    let mut seen = HashSet::new();
    graph.topo_order().into_iter().filter_map(made).filter(|label| seen.insert(*label)).collect()
}

/// Compares in the order of execution and prints a line a value.
fn report<'r>(
    args: &Args,
    model: &Model,
    results: &Outputs,
    reference: impl Fn(&str) -> Option<TensorView<'r>>,
) -> Outcome {
    let tolerance = Tolerance { atol: args.atol, rtol: args.rtol };
    let mut table = Table::new(&["value", "result"]);
    let (mut compared, mut differing, mut first) = (0, 0, None);
    for at in execution_order(model) {
        let Some((name, got)) = results.iter().nth(at) else { continue };
        if let Some(want) = reference(name) {
            let shape = want.shape().to_vec();
            let comparison = Comparison::new(got, want, tolerance);
            compared += 1;
            if !comparison.agrees() {
                differing += 1;
                first.get_or_insert_with(|| describe(model, at, &comparison, &shape, compared - 1));
            }
            table.row([name.to_owned(), comparison.to_string()]);
        }
    }
    let mut text = table.render();
    if let Some(first) = first.filter(|_| args.every_node) {
        text.push('\n');
        text.push_str(&first);
    }
    std::io::stdout().write_all(text.as_bytes())?;
    note(&format!("{compared} compared, {differing} differ"));
    if differing > 0 { Err(Failure::Differs) } else { Ok(()) }
}

/// Places of the outputs in the order in which they are computed; their own where the graph is not known yet.
fn execution_order(model: &Model) -> Vec<usize> {
    let graph = model.graph();
    let place: HashMap<_, _> = graph.topo_order().into_iter().enumerate().map(|(at, id)| (id, at)).collect();
    let mut order: Vec<usize> = (0..model.outputs().len()).collect();
    order.sort_by_key(|at| graph.outputs.get(*at).and_then(|o| place.get(&o.value.node)));
    order
}

/// The first value that differs: the operation that makes it, what that reads, and the worst element.
fn describe(model: &Model, at: usize, comparison: &Comparison, shape: &[usize], agreed: usize) -> String {
    let graph = model.graph();
    let mut text = format!("the {agreed} values before it agree; the first that differs is ");
    let Some(output) = graph.outputs.get(at) else { return format!("output {at}\n") };
    let node = graph.node(output.value.node);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "`{}`: {}, a result of {}", output.name, graph.ty(output.value), node.op.name());
    for operand in &node.operands {
        let (ty, from) = (graph.ty(*operand), graph.node(operand.node));
        let name = model.tensor_name(*operand).or_else(|| from.name.as_deref().map(str::to_owned));
        let name = name.unwrap_or_else(|| operand.to_string());
        let _ = writeln!(text, "  its input `{name}`: {ty}, from {}", from.op.name());
    }
    if let Comparison::Values { elements, wrong, worst: Some((index, got, want)), .. } = comparison {
        let place = element(*index, shape);
        let _ = writeln!(
            text,
            "  {wrong} of {elements} elements differ; the worst, {place:?}, is {got}, not {want}"
        );
    } else {
        let _ = writeln!(text, "  {comparison}");
    }
    text.replace(|c: char| c.is_control() && c != '\n', " ")
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
