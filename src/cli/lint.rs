//! `rectify lint`: second moments of signals and gradients, predicted from the initialisation and measured.

use super::args::ModelArgs;
use super::failure::{Failure, note, show};
use super::inputs::InputArgs;
use super::progress::Progress;
use super::table::Table;
use super::{ErrorFormat, Outcome};
use clap::ValueEnum;
use rectify::diag::Severity;
use rectify::init::{Dist, Fan, Form, Init, Scheme};
use rectify::lint::{BatchNorm, Layer, Lint, Measured, Options, svg};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Initialise all weights so: he, he_out, lecun, xavier, torch_default or normal:STD. Several are compared
    #[arg(long, value_name = "SCHEME", value_parser = scheme, value_delimiter = ',')]
    init: Vec<Init>,
    /// Statistics of batch norms: of the batch, or as the parameters have them
    #[arg(long, value_enum, default_value_t = Statistics::Running)]
    batch_norm: Statistics,
    /// Predict only
    #[arg(long)]
    no_probe: bool,
    /// Weight draws to measure on at most; fewer where every layer's interval is ±3 %
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    draws: u16,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Write a picture of the curves over depth
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Statistics {
    Fresh,
    Running,
}

pub fn run(args: &Args, format: ErrorFormat) -> Outcome {
    let opened = args.model.open()?;
    let compiler = args.model.compiler(&opened.model)?;
    compiler.check()?;
    let batches = opened
        .model
        .inputs()
        .iter()
        .filter_map(|p| p.ty.shape.first()?.as_sym().map(str::to_owned))
        .collect::<Vec<_>>();
    let mut sizes = args.model.set.clone();
    // One example is enough for moments over weights.
    for name in batches {
        if name == "N" && !sizes.iter().any(|(n, _)| *n == name) && args.inputs.input.is_empty() {
            sizes.push((name, 1));
        }
    }
    let inputs = args.inputs.load(&opened.model.inputs(), &sizes, args.model.seed, |_| None)?;
    let schemes: Vec<Option<Init>> =
        if args.init.is_empty() { vec![None] } else { args.init.iter().copied().map(Some).collect() };
    let batch_norm = match args.batch_norm {
        Statistics::Fresh => BatchNorm::Fresh,
        Statistics::Running => BatchNorm::Running,
    };
    let draws = if args.no_probe { 0 } else { usize::from(args.draws) };
    let mut reports = Vec::new();
    {
        let _progress = Progress::spinner("measuring");
        for scheme in schemes {
            let options = Options { scheme, batch_norm, draws };
            reports.push(Lint::new(&compiler, &inputs.views(), &options)?);
        }
    }
    let text = if args.json { format!("{:#}\n", as_json(&reports)) } else { human(&reports) };
    std::io::stdout().write_all(text.as_bytes())?;
    if let Some(file) = &args.svg {
        std::fs::write(file, svg(&reports))
            .map_err(|e| Failure::System(format!("cannot write {}: {e}", file.display())))?;
        note(&format!("wrote {}", file.display()));
    }
    for report in &reports {
        if let Some(refused) = &report.refused {
            note(&format!("gradients are not measured: {refused}"));
        }
        for warning in &report.warnings {
            let message =
                if reports.len() > 1 { format!("{}: {warning}", report.scheme) } else { warning.to_string() };
            show(Severity::Warning, &message, Some(warning.help()), format);
        }
    }
    Ok(())
}

fn human(reports: &[Lint]) -> String {
    let mut text = String::new();
    for report in reports {
        if reports.len() > 1 {
            text.push_str(&format!("{}\n", report.scheme));
        }
        text.push_str(&signals(report).render());
        text.push('\n');
        text.push_str(&gradients(report).render());
        if report.draws > 0 {
            text.push_str(&format!("measured on {} draws of the weights\n", report.draws));
        }
    }
    text
}

fn signals(report: &Lint) -> Table {
    let mut table = Table::new(&[
        "signals",
        "op",
        "shape",
        ">fan",
        ">gain",
        ">predicted",
        ">measured",
        ">±",
        ">ratio",
        ">spread",
        ">growth",
    ]);
    let mut before = None;
    for layer in &report.layers {
        let predicted = layer.predicted.as_ref().map(|p| p.rms);
        let init = layer.init.as_ref();
        let [rms, measured, interval, ratio, spread] = compared(predicted, layer.measured.as_ref());
        table.row([
            layer.name.clone(),
            layer.op.to_owned(),
            format!("{:?}", layer.shape),
            text(init.and_then(|i| i.fan.as_ref()).map(|f| f.value.to_string())),
            text(init.and_then(|i| i.gain.as_ref()).map(|g| format!("{:.3}", g.value))),
            rms,
            measured,
            interval,
            ratio,
            spread,
            text(growth(predicted, &mut before)),
        ]);
    }
    table
}

/// In the order in which gradients go, from the outputs back.
fn gradients(report: &Lint) -> Table {
    let mut table = Table::new(&[
        "gradients",
        "op",
        ">predicted",
        ">measured",
        ">±",
        ">ratio",
        ">spread",
        ">growth",
        ">weight: predicted",
        ">measured",
        ">±",
        ">ratio",
    ]);
    let mut before = None;
    for layer in report.layers.iter().rev() {
        let predicted = layer.predicted.as_ref().and_then(|p| p.gradient);
        let [rms, measured, interval, ratio, spread] = compared(predicted, layer.measured_gradient.as_ref());
        let [weight, weight_measured, weight_interval, weight_ratio, _] =
            compared(layer.predicted_weight, layer.measured_weight.as_ref());
        table.row([
            layer.name.clone(),
            layer.op.to_owned(),
            rms,
            measured,
            interval,
            ratio,
            spread,
            text(growth(predicted, &mut before)),
            weight,
            weight_measured,
            weight_interval,
            weight_ratio,
        ]);
    }
    table
}

/// Predicted, measured, half the interval, measured by predicted, and the spread of a draw.
fn compared(predicted: Option<f64>, measured: Option<&Measured>) -> [String; 5] {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    [
        text(predicted.map(number)),
        text(measured.map(|m| number(m.rms))),
        text(measured.map(|m| percent((m.high - m.low) / m.rms / 2.0))),
        text(measured.zip(predicted).map(|(m, p)| format!("{:.3}", m.rms / p))),
        text(measured.map(|m| percent(m.spread))),
    ]
}

/// By which factor a size differs from that of the row before.
fn growth(now: Option<f64>, before: &mut Option<f64>) -> Option<String> {
    let growth = now.zip(*before).map(|(now, before)| format!("{:.3}", now / before));
    *before = now.or(*before);
    growth
}

fn text(cell: Option<String>) -> String {
    cell.unwrap_or_default()
}

fn number(v: f64) -> String {
    if v == 0.0 || (1e-3..1e5).contains(&v) { format!("{v:.4}") } else { format!("{v:.3e}") }
}

fn as_json(reports: &[Lint]) -> serde_json::Value {
    let measured = |m: Option<&Measured>| {
        m.map(|m| json!({ "rms": m.rms, "low": m.low, "high": m.high, "spread": m.spread }))
    };
    let layer = |l: &Layer| {
        json!({
            "name": l.name, "op": l.op, "shape": l.shape,
            "fan": l.init.as_ref().and_then(|i| i.fan.as_ref()).map(|f| f.value),
            "gain": l.init.as_ref().and_then(|i| i.gain.as_ref()).map(|g| g.value),
            "std": l.init.as_ref().and_then(|i| i.std),
            "predicted": l.predicted.as_ref().map(|p| json!({
                "rms": p.rms, "mean": p.mean, "least": p.least, "greatest": p.greatest, "gradient": p.gradient,
                "weight_gradient": l.predicted_weight,
            })),
            "measured": measured(l.measured.as_ref()),
            "measured_gradient": measured(l.measured_gradient.as_ref()),
            "measured_weight_gradient": measured(l.measured_weight.as_ref()),
        })
    };
    let report = |r: &Lint| {
        json!({
            "scheme": r.scheme, "draws": r.draws, "refused": r.refused, "layers": r.layers.iter().map(layer).collect::<Vec<_>>(),
            "warnings": r.warnings.iter().map(|w| json!({ "message": w.to_string(), "help": w.help() })).collect::<Vec<_>>(),
        })
    };
    json!({
        "model": reports.first().map(|r| r.model.as_str()),
        "schemes": reports.iter().map(report).collect::<Vec<_>>(),
    })
}

fn scheme(text: &str) -> Result<Init, String> {
    Ok(match text {
        "he" => Init::he_normal(),
        "he_out" => match Init::he_normal().dist {
            Dist::Scaled { scheme, form, gain, .. } => {
                Dist::Scaled { scheme, form, fan: Fan::Out, gain }.into()
            }
            other => other.into(),
        },
        "lecun" => Init::scaled(Scheme::Lecun, Form::Normal),
        "xavier" => Init::scaled(Scheme::Xavier, Form::Normal),
        "torch_default" => Dist::TorchDefault { fan: Fan::In }.into(),
        _ => {
            let std = text.strip_prefix("normal:").and_then(|std| std.parse::<f64>().ok());
            let std = std.filter(|s| s.is_finite() && *s >= 0.0);
            let std = std.ok_or("a scheme is he, he_out, lecun, xavier, torch_default or normal:STD")?;
            Dist::Normal { mean: 0.0.into(), std: std.into() }.into()
        }
    })
}
