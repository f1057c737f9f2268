//! Both curves over depth as a picture: root mean square of signals above, of gradients below, on logarithmic axes.

use super::{Layer, Lint, Measured};
use rectify_ir::export::escape;
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
/// Room for the layers' names under the lower panel, and the width that each takes.
const NAMES: f64 = 96.0;
const NAME: f64 = 14.0;
const COLOURS: [&str; 6] = ["#1f6fb4", "#d1622b", "#2c8f57", "#8a4fbf", "#b03a5b", "#6b6b2a"];

/// What is predicted and what is measured of a layer.
type Compared = (Option<f64>, Option<Measured>);

/// A self-contained picture of these reports of one model.
pub fn svg(reports: &[Lint]) -> String {
    let height = 2.0 * (PANEL + TOP) + NAMES + 40.0 + 20.0 * reports.len() as f64;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         font-family=\"sans-serif\" font-size=\"13\"><rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"
    );
    let signal = |l: &Layer| (l.predicted.as_ref().map(|p| p.rms), l.measured);
    panel(
        &mut out,
        TOP,
        "signal: root mean square by layer (line: predicted; bars: measured, 95 %)",
        reports,
        &signal,
    );
    let gradient = |l: &Layer| (l.predicted.as_ref().and_then(|p| p.gradient), l.measured_gradient);
    let below = 2.0 * TOP + PANEL;
    panel(&mut out, below, "gradient: root mean square by layer, of 1 at each output", reports, &gradient);
    names(&mut out, below + PANEL + 10.0, reports);
    for (i, report) in reports.iter().enumerate() {
        let y = 2.0 * (PANEL + TOP) + NAMES + 34.0 + 20.0 * i as f64;
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\">{}: {}</text>",
            LEFT + 28.0,
            COLOURS[i % COLOURS.len()],
            LEFT + 36.0,
            y + 4.0,
            escape(&report.model),
            escape(&report.scheme)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: f64, title: &str, reports: &[Lint], of: &dyn Fn(&Layer) -> Compared) {
    let usable = |v: &f64| v.is_finite() && *v > 0.0;
    let both = |l: &Layer| {
        let (predicted, measured) = of(l);
        predicted.into_iter().chain(measured.map(|m| m.rms))
    };
    let all: Vec<f64> = reports.iter().flat_map(|r| &r.layers).flat_map(both).filter(usable).collect();
    let least = all.iter().copied().fold(f64::INFINITY, f64::min).min(1.0);
    let greatest = all.iter().copied().fold(0.0, f64::max).max(1.0);
    let (low, high) = ((least.log10() - 0.1).floor(), (greatest.log10() + 0.1).ceil());
    let y = |v: f64| top + PANEL * (high - v.log10()) / (high - low);
    let x = across(reports);
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 12.0);
    let every = ((high - low) / 8.0).ceil().max(1.0) as i64;
    for power in (low as i64..=high as i64).filter(|p| p % every == 0) {
        let at = y(10f64.powi(power as i32));
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">1e{power}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (report, colour) in reports.iter().zip(COLOURS.iter().cycle()) {
        let mut points = String::new();
        for (i, layer) in report.layers.iter().enumerate() {
            let (predicted, measured) = of(layer);
            if let Some(v) = predicted.filter(usable) {
                let _ = write!(points, "{:.1},{:.1} ", x(i), y(v));
            }
            if let Some(m) = measured {
                let _ = writeln!(
                    out,
                    "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\" stroke=\"{colour}\"/>\
                     <circle cx=\"{0:.1}\" cy=\"{3:.1}\" r=\"2.5\" fill=\"{colour}\"><title>{4}</title></circle>",
                    x(i),
                    y(m.low),
                    y(m.high),
                    y(m.rms),
                    escape(&format!("{} {}", layer.name, layer.op))
                );
            }
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.trim_end()
        );
    }
}

/// The place of a layer.
fn across(reports: &[Lint]) -> impl Fn(usize) -> f64 {
    let count = reports.iter().map(|r| r.layers.len()).max().unwrap_or(1).max(2) as f64;
    move |i| LEFT + (WIDTH - LEFT - RIGHT) * i as f64 / (count - 1.0)
}

/// Names of the layers with weights, as many as there is room for.
fn names(out: &mut String, top: f64, reports: &[Lint]) {
    let Some(longest) = reports.iter().max_by_key(|r| r.layers.len()) else { return };
    let x = across(reports);
    let mut free = 0.0;
    for (i, layer) in longest.layers.iter().enumerate().filter(|(_, l)| l.init.is_some()) {
        if x(i) < free {
            continue;
        }
        free = x(i) + NAME;
        let _ = writeln!(
            out,
            "<text transform=\"translate({:.1} {top}) rotate(-60)\" text-anchor=\"end\" font-size=\"11\" \
             fill=\"#555\">{}</text>",
            x(i) + 4.0,
            escape(&layer.name)
        );
    }
}
