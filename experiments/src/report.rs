//! Tables and charts of a comparison, as Markdown and SVG.

use crate::comparison::{Comparison, Row};
use crate::plot::{Chart, Curve};
use crate::statistics::{Interval, spearman};
use crate::study::Study;
use std::fmt::Write as _;

/// The paper's Table 1: mean learned slopes of its 14-layer network, one a layer and one a channel.
const PAPER_SHARED: [f64; 13] =
    [0.681, 0.103, 0.099, 0.228, 0.561, 0.126, 0.089, 0.124, 0.062, 0.008, 0.210, 0.063, 0.031];
const PAPER_CHANNEL: [f64; 13] =
    [0.596, 0.321, 0.204, 0.294, 0.464, 0.196, 0.152, 0.145, 0.124, 0.134, 0.198, 0.074, 0.075];

/// A file of a report: name and content.
pub type File = (String, String);

/// Grid, outcomes and differences of a study.
pub fn outcomes(study: &Study, found: &Comparison) -> Vec<File> {
    let mut text = format!("### {}\n\n", study.name);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "Search for the rate, {} seeds each: validation error (mean training loss at the end).\n",
        study.search.clone().count()
    );
    let _ = writeln!(text, "| arm |{}", study.rates.iter().map(|r| format!(" {r} |")).collect::<String>());
    let _ = writeln!(text, "|---|{}", "---|".repeat(study.rates.len()));
    for arm in &study.arms {
        let cells = found.grid.iter().filter(|row| row.arm == arm.name).map(|row| {
            let diverged = row.outcomes.iter().filter(|o| o.diverged()).count();
            match diverged {
                0 => format!(
                    " {} ({:.3}) |",
                    percent(Interval::of(&row.errors())),
                    Interval::of(&row.losses()).mean
                ),
                n => format!(" {n} of {} diverged |", row.outcomes.len()),
            }
        });
        let _ = writeln!(text, "| {} |{}", arm.name, cells.collect::<String>());
    }
    let _ = writeln!(
        text,
        "\nAt its best rate, {} other seeds: means with intervals of 95 %; differences are paired by seed.\n",
        study.seeds.clone().count()
    );
    let first = found.rows.first();
    let reference = first.map_or("", |r| &r.arm);
    let _ = writeln!(
        text,
        "| arm | rate | training loss | validation error | error − {reference}'s | at chance | diverged | s a run |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for row in &found.rows {
        let difference = match first {
            Some(first) if first.arm != row.arm => {
                let i = Interval::paired(&row.errors(), &first.errors());
                format!("{}{}", percent(i), if i.excludes_zero() { " *" } else { "" })
            }
            _ => String::new(),
        };
        let loss = Interval::of(&row.losses());
        let seconds = row.outcomes.iter().map(|o| o.seconds).sum::<f64>() / row.outcomes.len().max(1) as f64;
        let count = |f: fn(&crate::cell::Outcome) -> bool| row.outcomes.iter().filter(|o| f(o)).count();
        let _ = writeln!(
            text,
            "| {} | {} | {:.4} ± {:.4} | {} | {difference} | {} of {} | {} | {seconds:.0} |",
            row.arm,
            row.rate,
            loss.mean,
            loss.half,
            percent(Interval::of(&row.errors())),
            count(|o| o.at_chance()),
            row.outcomes.len(),
            count(|o| o.diverged()),
        );
    }
    text.push_str(
        "\n`*`: the interval excludes zero. Chance is a training loss within 0.02 of ln 10 = 2.3026.\n",
    );
    let chart = Chart {
        title: &format!("{}: training loss, mean over seeds", study.name),
        x: "step",
        y: "cross-entropy",
        curves: found.rows.iter().map(loss_curve).collect(),
    };
    vec![(format!("{}.md", study.name), text), (format!("{}-loss.svg", study.name), chart.svg())]
}

fn percent(i: Interval) -> String {
    if i.half.is_nan() {
        format!("{:.2} %", 100.0 * i.mean)
    } else {
        format!("{:.2} ± {:.2} %", 100.0 * i.mean, 100.0 * i.half)
    }
}

fn loss_curve(row: &Row) -> Curve {
    let steps: Vec<u64> =
        row.outcomes.first().map(|o| o.curve.iter().map(|c| c.0).collect()).unwrap_or_default();
    let at = |step: u64| {
        let of = |o: &crate::cell::Outcome| o.curve.iter().find(|c| c.0 == step).map_or(f64::NAN, |c| c.1);
        let i = Interval::of(&row.outcomes.iter().map(of).collect::<Vec<_>>());
        (step as f64, i.mean, i.half)
    };
    Curve { name: format!("{} ({})", row.arm, row.rate), points: steps.into_iter().map(at).collect() }
}

/// Learned slopes against depth, beside the paper's.
pub fn slopes(found: &Comparison) -> Vec<File> {
    let mut text = String::from("### Learned slopes by depth\n\n");
    let mut curves = Vec::new();
    let mut columns: Vec<(String, Vec<String>, Vec<Interval>)> = Vec::new();
    for row in found.rows.iter().filter(|r| r.outcomes.iter().all(|o| !o.slopes.is_empty())) {
        let Some(one) = row.outcomes.first() else { continue };
        let names: Vec<String> =
            one.slopes.iter().map(|s| s.parameter.trim_end_matches(".slope").to_owned()).collect();
        let layer =
            |i: usize| Interval::of(&row.outcomes.iter().map(|o| o.slopes[i].mean).collect::<Vec<_>>());
        let means: Vec<Interval> = (0..names.len()).map(layer).collect();
        let depth: Vec<f64> = (0..names.len()).map(|i| i as f64).collect();
        let each: Vec<f64> = row
            .outcomes
            .iter()
            .map(|o| spearman(&depth, &o.slopes.iter().map(|s| s.mean).collect::<Vec<_>>()))
            .collect();
        let i = Interval::of(&each);
        let _ = writeln!(
            text,
            "* {}: Spearman's correlation of slope and depth {:.3} ± {:.3} over {} seeds.",
            row.arm, i.mean, i.half, i.count
        );
        let points = means.iter().enumerate().map(|(i, m)| (i as f64 + 1.0, m.mean, m.half)).collect();
        curves.push(Curve { name: row.arm.clone(), points });
        columns.push((row.arm.clone(), names, means));
    }
    let depth: Vec<f64> = (0..PAPER_SHARED.len()).map(|i| i as f64).collect();
    let _ = writeln!(
        text,
        "* The paper's Table 1: {:.3} (one slope a layer), {:.3} (one a channel).\n",
        spearman(&depth, &PAPER_SHARED),
        spearman(&depth, &PAPER_CHANNEL)
    );
    for (name, values) in [("paper, shared", PAPER_SHARED), ("paper, channel", PAPER_CHANNEL)] {
        let points = values.iter().enumerate().map(|(i, v)| (i as f64 + 1.0, *v, 0.0)).collect();
        curves.push(Curve { name: name.into(), points });
    }
    if let Some((_, names, _)) = columns.first() {
        let heads: String = columns.iter().map(|(arm, ..)| format!(" {arm} |")).collect();
        let _ = writeln!(text, "| layer |{heads} paper, shared | paper, channel-wise |");
        let _ = writeln!(text, "|---|{}---|---|", "---|".repeat(columns.len()));
        for (i, name) in names.iter().enumerate() {
            let cells: String = columns
                .iter()
                .map(|(_, _, m)| {
                    m.get(i).map_or(" |".into(), |m| format!(" {:.3} ± {:.3} |", m.mean, m.half))
                })
                .collect();
            let paper = |values: &[f64]| values.get(i).map_or(String::new(), |v| format!("{v:.3}"));
            let _ =
                writeln!(text, "| {name} |{cells} {} | {} |", paper(&PAPER_SHARED), paper(&PAPER_CHANNEL));
        }
    }
    let chart = Chart { title: "Mean learned slope by layer", x: "layer", y: "slope", curves };
    vec![("slopes.md".into(), text), ("slopes.svg".into(), chart.svg())]
}
