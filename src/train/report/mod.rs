//! What a run's metrics look like: one HTML page with charts, which needs nothing beside itself.

mod chart;
mod scale;

use super::Loss;
use super::run::{EpochRecord, Record};
use chart::{Chart, Line, Style};
use rectify_ir::export::escape;
use scale::Scale;
use std::fmt::Write as _;

/// The page on the records of a run that minimised this loss. `about` are rows of a table on top: names and texts.
pub fn report(title: &str, about: &[(String, String)], loss: Loss, records: &[Record]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", HEAD.replace("TITLE", &escape(title)));
    out.push_str("<table>\n");
    for (name, text) in about.iter().chain(&results(loss, records)) {
        let _ = writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(text));
    }
    out.push_str("</table>\n");
    for record in records {
        if let Record::Stopped { step, message } = record {
            let _ = writeln!(out, "<p class=\"stopped\">Stopped at step {step}: {}</p>", escape(message));
        }
    }
    out.push_str("<div class=\"charts\">\n");
    for chart in charts(loss, records) {
        let _ = writeln!(out, "<figure>{}</figure>", chart.svg());
    }
    out.push_str("</div>\n</body>\n</html>\n");
    out
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>TITLE</title>
<style>
body { font: 14px/1.5 sans-serif; margin: 2em auto; max-width: 1500px; padding: 0 1em; color: #111; background: #fff; }
h1 { font-size: 1.5em; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.1em 1.2em 0.1em 0; vertical-align: top; font-weight: normal; }
th { color: #555; }
.stopped { color: #a00; font-weight: bold; }
.charts { display: flex; flex-wrap: wrap; gap: 1em; margin-top: 1em; }
figure { margin: 0; border: 1px solid #ddd; }
svg { max-width: 100%; height: auto; display: block; }
</style>
</head>
<body>
<h1>TITLE</h1>
";

fn epochs(records: &[Record]) -> impl Iterator<Item = &EpochRecord> {
    records.iter().filter_map(|r| match r {
        Record::Epoch(record) => Some(&**record),
        Record::Steps { .. } | Record::Test { .. } | Record::Stopped { .. } => None,
    })
}

/// An error as people read it: a share of images, or a number in the unit of the values.
fn error_text(loss: Loss, error: f64) -> String {
    match loss {
        Loss::CrossEntropy { .. } => format!("{:.2} %", 100.0 * error),
        Loss::SquaredError | Loss::AbsoluteError => format!("{error:.5}"),
    }
}

/// Rows on what came of it.
fn results(objective: Loss, records: &[Record]) -> Vec<(String, String)> {
    let text = |error| error_text(objective, error);
    let mut rows = Vec::new();
    if let Some(last) = epochs(records).last() {
        rows.push((
            "length".into(),
            format!("{} epochs, {} steps, {:.1} s", last.epoch, last.step, last.seconds),
        ));
        if let Some(train) = last.train {
            let line = format!("loss {:.4}, error {} in the last epoch", train.loss, text(train.error));
            rows.push(("training".into(), line));
        }
    }
    if let Some(best) = epochs(records).filter(|e| e.best).last()
        && let Some(validation) = best.validation
    {
        let (loss, error) = (validation.loss, text(validation.error));
        rows.push((
            "best on validation".into(),
            format!("loss {loss:.4}, error {error} in epoch {}", best.epoch),
        ));
    }
    for record in records {
        if let Record::Test { images, loss, error, top5_error } = record {
            let top5 = top5_error.map(|e| format!("top-5 error {}, ", text(e))).unwrap_or_default();
            let line = format!("error {}, {top5}loss {loss:.4} on {images} samples", text(*error));
            rows.push(("test".into(), line));
        }
    }
    rows
}

fn charts(objective: Loss, records: &[Record]) -> Vec<Chart> {
    let steps = |y: &dyn Fn(&Record) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |r: &Record| match r {
            Record::Steps { epoch, .. } => Some((*epoch, y(r)?)),
            Record::Epoch(_) | Record::Test { .. } | Record::Stopped { .. } => None,
        };
        records.iter().filter_map(point).collect()
    };
    let (loss_title, error_title, scale) = match objective {
        Loss::CrossEntropy { .. } => ("mean cross-entropy (nats)", "images classified wrongly (%)", 100.0),
        Loss::SquaredError => ("mean squared error", "root of the mean squared error", 1.0),
        Loss::AbsoluteError => ("mean absolute error", "mean absolute error", 1.0),
    };
    let losses = steps(&|r| if let Record::Steps { loss, .. } = r { Some(*loss) } else { None });
    let errors = steps(&|r| if let Record::Steps { error, .. } = r { Some(scale * error) } else { None });
    let rates = steps(&|r| if let Record::Steps { rate, .. } = r { Some(*rate) } else { None });
    let norms = steps(&|r| if let Record::Steps { gradient_norm, .. } = r { *gradient_norm } else { None });
    let validation = |y: &dyn Fn(f64, f64) -> f64| -> Vec<(f64, f64)> {
        let point = |e: &EpochRecord| e.validation.map(|v| (e.epoch as f64, y(v.loss, v.error)));
        epochs(records).filter_map(point).collect()
    };
    let pair = |train: Vec<(f64, f64)>, held: Vec<(f64, f64)>| {
        let mut lines = vec![single("training", train, 0, false)];
        if !held.is_empty() {
            lines.push(single("validation", held, 1, true));
        }
        lines
    };
    let mut charts = vec![
        plot("Loss", loss_title, pair(losses, validation(&|loss, _| loss)), Axis::Fitting),
        plot("Error", error_title, pair(errors, validation(&|_, e| scale * e)), Axis::Linear),
    ];
    charts.extend(slopes(records));
    let signal = |title: &str, what: &str, of: &dyn Fn(&super::Signal) -> f64| {
        by_layer(records, title, what, &|e| {
            e.signals.iter().map(|s| (s.layer.to_string(), of(s), None)).collect()
        })
    };
    let deviation = "standard deviation over a batch";
    charts.extend(signal("Activations of layers with weights", deviation, &|s| s.activation));
    charts.extend(signal(
        "Gradients at layers with weights",
        "standard deviation of ∂loss/∂activation",
        &|s| s.gradient,
    ));
    charts.push(plot("Learning rate", "rate", vec![single("rate", rates, 0, false)], Axis::Linear));
    if !norms.is_empty() {
        let lines = vec![single("gradient norm", norms, 0, false)];
        charts.push(plot("Norm of all gradients before clipping", "Euclidean norm", lines, Axis::Fitting));
    }
    charts
}

fn single(name: &str, points: Vec<(f64, f64)>, colour: usize, dots: bool) -> Line {
    let style = Style { dots, ..Style::distinct(colour) };
    Line { name: name.to_owned(), points, style, band: Vec::new() }
}

#[derive(Clone, Copy, PartialEq)]
enum Axis {
    Linear,
    /// Logarithmic where the numbers span more than a decade.
    Fitting,
}

/// A chart over epochs.
fn plot(title: &str, y_title: &str, lines: Vec<Line>, axis: Axis) -> Chart {
    let points = || lines.iter().flat_map(|l| &l.points);
    let x = Scale::up_to(points().map(|(x, _)| *x));
    let y = match axis {
        Axis::Linear => Scale::linear(points().map(|(_, y)| *y), true),
        Axis::Fitting => Scale::fitting(points().map(|(_, y)| *y)),
    };
    Chart { title: title.to_owned(), x_title: "epoch".into(), y_title: y_title.to_owned(), x, y, lines }
}

/// A value of a layer, and the least and greatest that it stands for.
type LayerValue = (String, f64, Option<(f64, f64)>);

/// As many lines can be told apart by colour and dash; more are coloured by their order.
const FEW: usize = 10;

/// One line a layer over epochs, coloured by depth; `None` without a layer.
fn by_layer(
    records: &[Record],
    title: &str,
    y_title: &str,
    values: &dyn Fn(&EpochRecord) -> Vec<LayerValue>,
) -> Option<Chart> {
    let lines = layer_lines(records, values);
    (!lines.is_empty()).then(|| plot(title, y_title, lines, Axis::Fitting))
}

fn layer_lines(records: &[Record], values: &dyn Fn(&EpochRecord) -> Vec<LayerValue>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for epoch in epochs(records) {
        for (name, value, band) in values(epoch) {
            let at = lines.iter().position(|l| l.name == name).unwrap_or_else(|| {
                let style = Style::distinct(0);
                lines.push(Line { name, points: Vec::new(), style, band: Vec::new() });
                lines.len() - 1
            });
            let x = epoch.epoch as f64;
            lines[at].points.push((x, value));
            lines[at].band.extend(band.map(|(low, high)| (x, low, high)));
        }
    }
    let count = lines.len();
    for (i, line) in lines.iter_mut().enumerate() {
        line.style = if count <= FEW { Style::distinct(i) } else { Style::ordered(i, count) };
        line.style.dots = count <= FEW;
    }
    lines
}

/// Slopes over epochs. With few layers the range over channels is shown too.
fn slopes(records: &[Record]) -> Option<Chart> {
    let short = |name: &str| name.strip_suffix(".slope").unwrap_or(name).to_owned();
    let mut lines = layer_lines(records, &|e| {
        e.slopes.iter().map(|s| (short(&s.parameter), s.mean, Some((s.least, s.greatest)))).collect()
    });
    if lines.len() > 3 {
        lines.iter_mut().for_each(|l| l.band.clear());
    }
    if lines.is_empty() {
        return None;
    }
    let bands = || lines.iter().flat_map(|l| l.band.iter().flat_map(|(_, low, high)| [*low, *high]));
    let all: Vec<f64> = lines.iter().flat_map(|l| l.points.iter().map(|(_, y)| *y)).chain(bands()).collect();
    let mut chart = plot("Slopes of the PReLUs", "mean slope over channels", lines, Axis::Linear);
    chart.y = Scale::linear(all.into_iter(), true);
    Some(chart)
}

#[cfg(test)]
mod tests;
