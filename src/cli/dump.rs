//! `rectify dump`: a model at any stage of its compilation.

use super::args::ModelArgs;
use super::failure::{Failure, note};
use super::inputs::InputArgs;
use super::profile::step_medians;
use super::progress::Progress;
use super::{Outcome, args};
use clap::ValueEnum;
use rectify::export::{Annotation, SvgOptions, to_dot, to_json, to_svg};
use rectify::listing;
use rectify::{Compiled, Graph, Model, NodeId, pass_names};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    stage: Stage,
    /// Print the graph after this pass to stderr, or after all
    #[arg(long, value_name = "PASS|all")]
    print_after: Option<String>,
    /// End the rewriting after this pass
    #[arg(long, value_name = "PASS")]
    stop_after: Option<String>,
    /// End the rewriting after so many rewrites
    #[arg(long, value_name = "N")]
    max_rewrites: Option<usize>,
    /// Run the model and add the time of each node
    #[arg(long)]
    with_profile: bool,
    /// How to print it [default: text]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Print here instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The text of the file
    Source,
    /// The graph as written, with types
    Typed,
    /// The graph after all passes
    #[default]
    Optimized,
    /// Buffers and kernel calls at known sizes
    Plan,
    /// Cranelift's IR of each kernel
    Clif,
    /// Machine code of each kernel
    Asm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; of a graph it is a model that runs
    Text,
    Json,
    /// For Graphviz
    Dot,
    /// A drawing
    Svg,
}

pub fn run(args: &Args) -> Outcome {
    check_options(args)?;
    let text = match args.stage {
        Stage::Source => source(&args.model)?,
        Stage::Typed => {
            let opened = args.model.open()?;
            let graph = args.model.compiler(&opened.model)?.source_graph()?.0;
            show(&graph, args.format, &BTreeMap::new(), "")
        }
        Stage::Optimized => optimized(args)?,
        Stage::Plan | Stage::Clif | Stage::Asm => planned(args)?,
    };
    match &args.output {
        Some(file) => std::fs::write(file, text).map_err(|e| Failure::write(file, &e)),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

/// Options that would do nothing at this stage are mistakes.
fn check_options(args: &Args) -> Outcome {
    let passes = args.print_after.is_some() || args.stop_after.is_some() || args.max_rewrites.is_some();
    if passes && matches!(args.stage, Stage::Source | Stage::Typed) {
        return Err(
            Failure::usage("no pass runs before this stage").help("give --stage optimized or a later one")
        );
    }
    let known = |name: &str| pass_names().any(|(pass, _)| pass == name);
    let after = args.print_after.as_deref().filter(|name| *name != "all");
    if let Some(name) = after.into_iter().chain(args.stop_after.as_deref()).find(|name| !known(name)) {
        let near = rectify::diag::suggest(name, pass_names().map(|(pass, _)| pass));
        let all: Vec<_> = pass_names().map(|(pass, _)| pass).collect();
        let failure = Failure::usage(format!("there is no pass `{name}`"));
        return Err(failure.help(near.unwrap_or_else(|| format!("the passes are {}", all.join(", ")))));
    }
    let formats: &[Format] = match args.stage {
        Stage::Typed | Stage::Optimized => &[Format::Text, Format::Json, Format::Dot, Format::Svg],
        Stage::Plan => &[Format::Text, Format::Json],
        Stage::Source | Stage::Clif | Stage::Asm => &[Format::Text],
    };
    if args.format.is_some_and(|format| !formats.contains(&format)) {
        let names: Vec<_> = formats.iter().map(|f| format!("{f:?}").to_lowercase()).collect();
        let failure = Failure::usage("this stage has no such format");
        return Err(failure.help(format!("it has {}", names.join(", "))));
    }
    let profiled = matches!(args.stage, Stage::Optimized | Stage::Plan);
    if args.with_profile && (!profiled || matches!(args.format, Some(Format::Json))) {
        return Err(Failure::usage("times stand in the text of stages optimized and plan, and in drawings"));
    }
    if !args.inputs.input.is_empty() && !args.with_profile {
        return Err(Failure::usage("--input does nothing without --with-profile"));
    }
    Ok(())
}

fn source(model: &ModelArgs) -> Result<String, Failure> {
    let bytes = if model.model == "-" {
        args::stdin()?
    } else {
        std::fs::read(&model.model)
            .map_err(|e| Failure::System(format!("cannot read {}: {e}", model.model)))?
    };
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format!("{} is not text", model.shown()))
            .help("give --stage typed: an ONNX file as a model in the language")
    })
}

fn optimized(args: &Args) -> Result<String, Failure> {
    let opened = args.model.open()?;
    let compiler = compiler(args, &opened.model)?;
    let wanted = args.print_after.as_deref();
    let print = |pass: &'static str, graph: &Graph| {
        if wanted == Some("all") || wanted == Some(pass) {
            note(&format!("// after {pass}\n{graph}"));
        }
    };
    let rewritten = compiler.optimize(Some(&print))?;
    if !args.with_profile {
        return Ok(show(&rewritten.graph, args.format, &BTreeMap::new(), ""));
    }
    let compiled = compiler.compile()?;
    let profile = profile(args, &opened.model, &compiled)?;
    let threads = compiled.threads();
    let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let remark = format!("{:.3} ms on {threads}", profile.total_ms);
    Ok(show(compiled.graph(), args.format, &profile.by_node, &remark))
}

fn planned(args: &Args) -> Result<String, Failure> {
    let opened = args.model.open()?;
    let compiler = compiler(args, &opened.model)?;
    if let Some(wanted) = args.print_after.as_deref() {
        let print = |pass: &'static str, graph: &Graph| {
            if wanted == "all" || wanted == pass {
                note(&format!("// after {pass}\n{graph}"));
            }
        };
        compiler.optimize(Some(&print))?;
    }
    if args.with_profile {
        let compiled = compiler.compile()?;
        let profile = profile(args, &opened.model, &compiled)?;
        return Ok(with_step_remarks(&profile.plan.to_string(), &profile.remarks));
    }
    let plan = compiler.plan()?;
    match (args.stage, args.format) {
        (Stage::Plan, Some(Format::Json)) => {
            Ok(plan.to_json().map_err(|e| Failure::Bug(e.to_string()))? + "\n")
        }
        (Stage::Clif, _) => Ok(listing::clif(&plan)?),
        (Stage::Asm, _) => Ok(listing::asm(&plan)?),
        (Stage::Source | Stage::Typed | Stage::Optimized | Stage::Plan, _) => Ok(plan.to_string()),
    }
}

fn compiler<'m>(args: &Args, model: &'m Model) -> Result<rectify::Compiler<'m>, Failure> {
    let mut compiler = args.model.compiler(model)?;
    if let Some(pass) = &args.stop_after {
        compiler = compiler.stop_after(pass);
    }
    if let Some(rewrites) = args.max_rewrites {
        compiler = compiler.max_rewrites(rewrites);
    }
    Ok(compiler)
}

/// The graph with what a profile says of its nodes and of it as a whole.
fn show(graph: &Graph, format: Option<Format>, notes: &BTreeMap<NodeId, Annotation>, remark: &str) -> String {
    match format.unwrap_or(Format::Text) {
        Format::Text => with_remarks(graph, notes),
        Format::Json => to_json(graph) + "\n",
        Format::Dot => to_dot(graph),
        Format::Svg => to_svg(graph, &SvgOptions { annotations: notes.clone(), remark: remark.to_owned() }),
    }
}

/// The text with a comment behind the line of each node that has a note.
fn with_remarks(graph: &Graph, notes: &BTreeMap<NodeId, Annotation>) -> String {
    let text = graph.to_string();
    if notes.is_empty() {
        return text;
    }
    // Dumps number nodes in topological order.
    let numbers: BTreeMap<String, &Annotation> = graph
        .topo_order()
        .into_iter()
        .enumerate()
        .filter_map(|(number, id)| notes.get(&id).map(|note| (format!("let %{number}: "), note)))
        .collect();
    let mut out = String::new();
    for line in text.lines() {
        let start = line.trim_start();
        let key = start.find(": ").map(|at| &start[..at + 2]);
        out.push_str(line);
        if let Some(note) = key.and_then(|key| numbers.get(key)) {
            out.push_str("  // ");
            out.push_str(&note.text);
        }
        out.push('\n');
    }
    out
}

/// The text of a plan with a comment behind each of its steps, which are its last lines.
fn with_step_remarks(text: &str, remarks: &[String]) -> String {
    let mut remarks = remarks.iter();
    let mut steps = false;
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(line);
        if let Some(remark) = steps.then(|| remarks.next()).flatten() {
            out.push_str("  // ");
            out.push_str(remark);
        }
        out.push('\n');
        steps |= line == "steps:";
    }
    out
}

struct Profiled {
    plan: std::sync::Arc<rectify::plan::Plan>,
    /// By step.
    remarks: Vec<String>,
    by_node: BTreeMap<NodeId, Annotation>,
    /// All steps together.
    total_ms: f64,
}

/// Runs before the measured ones, and those of which the medians are shown.
const WARMUP: usize = 3;
const RUNS: usize = 15;

fn profile(args: &Args, model: &Model, compiled: &Compiled) -> Result<Profiled, Failure> {
    let inputs = args.inputs.load(&model.inputs(), &args.model.set, args.model.seed, |_| None)?;
    let sizes = compiled.sizes_of(&inputs.views())?;
    let sizes: Vec<_> = sizes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let plan = compiled.plan(&sizes)?;
    let _progress = Progress::spinner("profiling");
    let mut session = compiled.session();
    for _ in 0..WARMUP {
        session.run(&inputs.views())?;
    }
    let times = step_medians(RUNS, || {
        session.set_profiling(true);
        session.run(&inputs.views())?;
        Ok(session.step_times())
    })?;
    let total: f64 = times.iter().sum::<f64>().max(1e-9);
    let text = |ms: f64, adds: u64| {
        let rate = if adds > 0 {
            format!(", {:.1} GFLOP/s", 2.0 * adds as f64 / ms.max(1e-9) / 1e6)
        } else {
            String::new()
        };
        format!("{ms:.3} ms, {:.1} %{rate}", 100.0 * ms / total)
    };
    let remarks = times.iter().zip(&plan.steps).map(|(ms, s)| text(*ms, s.multiply_adds)).collect();
    let mut nodes: BTreeMap<NodeId, (f64, u64)> = BTreeMap::new();
    for (ms, step) in times.iter().zip(&plan.steps) {
        let entry = nodes.entry(step.node).or_default();
        entry.0 += ms;
        entry.1 += step.multiply_adds;
    }
    let hottest = nodes.values().map(|(ms, _)| *ms).fold(1e-9, f64::max);
    let by_node = nodes
        .into_iter()
        .map(|(node, (ms, adds))| (node, Annotation { text: text(ms, adds), heat: ms / hottest }))
        .collect();
    Ok(Profiled { plan, remarks, by_node, total_ms: total })
}
