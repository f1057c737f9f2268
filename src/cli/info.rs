//! `rectify info`: what a model has and what it costs.

use super::Outcome;
use super::args::ModelArgs;
use super::failure::Failure;
use super::table::{Table, bytes, count};
use rectify::cost::{Layer, layers, total_multiply_adds};
use rectify::kernel::Descriptor;
use rectify::plan::{Args as PlanArgs, Step};
use rectify::{Error, Model, PortInfo};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let opened = args.model.open()?;
    let model = &opened.model;
    // Sizes and weights are checked here as anywhere; so an option that does nothing is an error.
    let graph = args.model.compiler(model)?.sized_graph()?;
    let model = if args.model.set.is_empty() { model.clone() } else { Model::from_graph(graph)? };
    let rows = layers(model.graph()).map_err(too_large)?;
    let total = total_multiply_adds(&rows).map_err(too_large)?;
    let parameters: u64 = model.parameters().iter().filter_map(rectify::ParameterInfo::elements).sum();
    let winograd = winograd_layers(args, &opened.model, &model)?;
    let text = if args.json {
        let text = json!({
            "model": model.name(),
            "doc": model.graph().doc,
            "origin": opened.model.origin(),
            "inputs": model.inputs().iter().map(port).collect::<Vec<_>>(),
            "outputs": model.outputs().iter().map(port).collect::<Vec<_>>(),
            "layers": rows.iter().map(layer).collect::<Vec<_>>(),
            "parameters": parameters,
            "multiply_adds": total.to_string(),
            "precision": args.model.precision.to_string(),
            "winograd": winograd.as_ref().map(|layers| layers.iter().map(WinogradLayer::json).collect::<Vec<_>>()),
        });
        format!("{text:#}\n")
    } else {
        let origin = opened.model.origin();
        let text = human(&model, origin, &rows, &total.to_string(), total.as_const(), parameters);
        text + &winograd_text(args, winograd.as_deref())
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn human(
    model: &Model,
    origin: Option<String>,
    rows: &[Layer],
    total: &str,
    total_const: Option<i64>,
    parameters: u64,
) -> String {
    let mut text = format!("model {}\n", model.name());
    if let Some(origin) = origin {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", origin.replace(char::is_control, " "));
    }
    for line in model.graph().doc.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    for (kind, ports) in [("input", model.inputs()), ("output", model.outputs())] {
        for port in ports {
            let _ = writeln!(text, "{kind:7} {}: {}", port.name, port.ty);
        }
    }
    let mut table = Table::new(&["layer", "op", "result", ">parameters", ">multiply-adds"]);
    for layer in rows {
        let adds = match layer.multiply_adds.as_const() {
            Some(0) => String::new(),
            Some(n) => count(n as f64),
            None => layer.multiply_adds.to_string(),
        };
        let own = if layer.parameters == 0 { String::new() } else { layer.parameters.to_string() };
        table.row([layer.name.clone(), layer.op.to_owned(), layer.ty.to_string(), own, adds]);
    }
    let total = total_const.map_or_else(|| total.to_owned(), |n| count(n as f64));
    let _ = write!(
        text,
        "\n{}\n{} parameters ({} MB in f32), {total} multiply-adds\n\
         precision highest: f32 throughout; ",
        table.render(),
        count(parameters as f64),
        parameters.saturating_mul(4) / 1_000_000,
    );
    text
}

/// A convolution by minimal filtering, with the bytes of its transformed weights and of the plain ones.
struct WinogradLayer {
    name: String,
    outputs: u8,
    transformed: u64,
    plain: u64,
}

impl WinogradLayer {
    fn json(&self) -> serde_json::Value {
        json!({
            "layer": self.name, "algorithm": format!("winograd-f{}", self.outputs),
            "transformed_bytes": self.transformed, "weight_bytes": self.plain,
        })
    }
}

/// Those of the plan; `None` where sizes are not known or nothing can be planned, which `info` does not ask for.
fn winograd_layers(args: &Args, model: &Model, sized: &Model) -> Result<Option<Vec<WinogradLayer>>, Failure> {
    let known = sized.inputs().iter().all(|p| p.ty.shape.iter().all(|d| d.as_const().is_some()));
    if !known {
        return Ok(None);
    }
    let Ok(plan) = args.model.compiler(model)?.plan() else { return Ok(None) };
    let layer = |step: &Step| match (plan.kernel(step.kernel), &step.args) {
        (Descriptor::Winograd(kernel), PlanArgs::Winograd(a)) => Some(WinogradLayer {
            name: step.label.clone(),
            outputs: kernel.outputs,
            transformed: a.weight_bytes(kernel).unsigned_abs(),
            plain: (a.in_channels * a.out_channels * 9 * 4).unsigned_abs(),
        }),
        _ => None,
    };
    Ok(Some(plan.steps.iter().filter_map(layer).collect()))
}

fn winograd_text(args: &Args, layers: Option<&[WinogradLayer]>) -> String {
    let layers = match layers {
        _ if args.model.no_winograd => return "no Winograd convolutions\n".to_owned(),
        None => return "Winograd convolutions where they are faster; sizes decide\n".to_owned(),
        Some([]) => return "no Winograd convolutions: none is faster\n".to_owned(),
        Some(layers) => layers,
    };
    let mut table = Table::new(&["layer", "algorithm", ">transformed weights", ">plain"]);
    for l in layers {
        let algorithm = format!("winograd F{}", l.outputs);
        table.row([l.name.clone(), algorithm, bytes(l.transformed), bytes(l.plain)]);
    }
    let sum = |of: fn(&WinogradLayer) -> u64| bytes(layers.iter().map(of).sum());
    format!(
        "{} Winograd convolutions, whose transformed weights take {} instead of {}\n\n{}",
        layers.len(),
        sum(|l| l.transformed),
        sum(|l| l.plain),
        table.render()
    )
}

fn port(port: &PortInfo) -> serde_json::Value {
    let shape: Vec<_> = port.ty.shape.iter().map(ToString::to_string).collect();
    json!({ "name": port.name.as_ref(), "dtype": port.ty.dtype.name(), "shape": shape })
}

fn layer(layer: &Layer) -> serde_json::Value {
    json!({
        "name": layer.name, "op": layer.op, "type": layer.ty.to_string(),
        "parameters": layer.parameters, "multiply_adds": layer.multiply_adds.to_string(),
    })
}

fn too_large(error: rectify::dim::DimError) -> Failure {
    Failure::Library(Error::from(rectify::BindError::from(error)))
}
