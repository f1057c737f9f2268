//! A self-contained drawing of a graph: no scripts, no fonts, no links.
//!
//! Boxes are operations, coloured by kind; parameters are listed inside of the box that reads them. Pointing at a box
//! shows everything about the node, where it comes from included.

mod layout;
mod style;

pub use style::{escape, shorten_front};

use super::describe::{count, details, elements, param_operands, title, type_text, types};
use crate::graph::{Graph, NodeId, Value};
use crate::op::{Op, Source};
use layout::{Input, Layout, layout};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use style::{Kind, heat_colour, shorten};

/// What a profile says of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// A short text, e.g. `1.3 ms · 61 %`.
    pub text: String,
    /// 0 to 1: how hot the box is coloured.
    pub heat: f64,
}

/// What to draw beside the graph.
#[derive(Clone, Debug, Default)]
pub struct SvgOptions {
    /// By node. Where there is any, boxes are coloured by heat, and by kind at their edge only.
    pub annotations: BTreeMap<NodeId, Annotation>,
    /// What a profile says of the whole, for the header.
    pub remark: String,
}

const MARGIN: f64 = 28.0;
const HEADER: f64 = 76.0;
/// Width over height that long graphs are wrapped to.
const ASPECT: f64 = 1.6;
/// Mean width of a character at the size of the body text (11).
const CHARACTER: f64 = 6.1;
/// The same of text in bold.
const BOLD_CHARACTER: f64 = 7.2;
const LINE: f64 = 14.0;
const MOST_CHARACTERS: usize = 34;

/// One box: lines of text, the first being the heading.
struct Card {
    kind: Kind,
    heading: String,
    label: String,
    lines: Vec<String>,
    tooltip: String,
    annotation: Option<Annotation>,
}

impl Card {
    fn size(&self) -> (f64, f64) {
        let heading = self.heading.chars().count() as f64 * BOLD_CHARACTER * 1.05;
        let label = self.label.chars().count() as f64 * CHARACTER + 8.0;
        let note = self
            .annotation
            .iter()
            .map(|a| a.text.chars().count() as f64 * BOLD_CHARACTER)
            .fold(0.0, f64::max);
        let body = self.lines.iter().map(|l| l.chars().count() as f64 * CHARACTER).fold(note, f64::max);
        let rows = 1 + self.lines.len() + usize::from(self.annotation.is_some());
        ((heading + label).max(body).max(64.0) + 22.0, rows as f64 * LINE + 9.0)
    }
}

/// The graph as SVG.
pub fn to_svg(graph: &Graph, options: &SvgOptions) -> String {
    let (cards, edges) = cards(graph, options);
    let sizes: Vec<_> = cards.iter().map(Card::size).collect();
    let plan = layout(&Input { sizes: sizes.clone(), edges: edges.clone() }, ASPECT);
    let heat = !options.annotations.is_empty();
    let legend: BTreeSet<Kind> = cards.iter().map(|c| c.kind).collect();
    let legend_width = legend.iter().map(|k| legend_step(*k)).sum::<f64>() + if heat { 170.0 } else { 0.0 };
    let width = plan.width.max(legend_width).max(420.0) + 2.0 * MARGIN;
    let height = plan.height + HEADER + 2.0 * MARGIN + 36.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\" font-size=\"11\">\n"
    );
    svg += STYLE;
    let _ = writeln!(svg, "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>");
    header(&mut svg, graph, &cards, &legend, options);
    // Edges that climb to the next band run above the boxes.
    let left = MARGIN + (width - 2.0 * MARGIN - plan.width) / 2.0;
    let _ = writeln!(svg, "<g transform=\"translate({left:.1} {:.1})\">", HEADER + MARGIN + 36.0);
    edges_svg(&mut svg, &plan);
    for (card, (place, size)) in cards.iter().zip(plan.boxes.iter().zip(&sizes)) {
        card_svg(&mut svg, card, place.x - size.0 / 2.0, place.y, *size, heat);
    }
    svg + "</g>\n</svg>\n"
}

const STYLE: &str = "<style>
.edge { fill: none; stroke: #94a3b8; stroke-width: 1.3; }
.h { font-weight: 600; fill: #0f172a; font-size: 12px; }
.l { fill: #475569; font-size: 10.5px; }
.t { fill: #334155; }
.n { fill: #7f1d1d; font-weight: 600; }
g.c:hover rect.b { stroke-width: 2; stroke: #0f172a; }
</style>
<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\">\
<path d=\"M0 0.8 L7.5 4 L0 7.2 z\" fill=\"#94a3b8\"/></marker></defs>
";

/// The boxes in topological order with the edges between them; outputs are boxes of their own.
fn cards(graph: &Graph, options: &SvgOptions) -> (Vec<Card>, Vec<(usize, usize)>) {
    let param_only = graph.param_only();
    let outputs: BTreeSet<NodeId> = graph.outputs.iter().map(|o| o.value.node).collect();
    let mut number: HashMap<NodeId, usize> = HashMap::new();
    let (mut cards, mut edges) = (Vec::new(), Vec::new());
    for id in graph.topo_order() {
        let node = graph.node(id);
        if param_only.contains(&id) && !outputs.contains(&id) {
            continue;
        }
        let mut lines = vec![shorten(&types(node), MOST_CHARACTERS)];
        let params = param_operands(graph, node, &param_only);
        // Parameters of one type share a line: `scale, shift, mean, var [64]`.
        let mut rows: Vec<(String, &crate::TensorType)> = Vec::new();
        for (role, _, ty) in &params {
            match rows.last_mut() {
                Some((roles, last)) if last == ty => *roles = format!("{roles}, {role}"),
                _ => rows.push((role.clone(), ty)),
            }
        }
        for (roles, ty) in rows.iter().take(4) {
            lines.push(shorten(&format!("{roles} {}", type_text(ty)), MOST_CHARACTERS));
        }
        if rows.len() > 4 {
            lines.push(format!("and {} more rows of parameters", rows.len() - 4));
        }
        let total: u64 = params.iter().filter_map(|(_, _, ty)| elements(ty)).sum();
        if total >= 1_000
            && let Some(last) = lines.get_mut(1)
        {
            *last = shorten(&format!("{last} · {}", count(total)), MOST_CHARACTERS + 8);
        }
        let label = match (&node.op, &node.name) {
            (_, Some(name)) => shorten_front(name, 22),
            (_, None) => String::new(),
        };
        for value in node.operands.iter().filter(|v| number.contains_key(&v.node)) {
            edges.push((number[&value.node], cards.len()));
        }
        number.insert(id, cards.len());
        cards.push(Card {
            kind: Kind::of(&node.op),
            heading: shorten(&title(node), MOST_CHARACTERS),
            label,
            lines,
            tooltip: details(graph, id, &param_only),
            annotation: options.annotations.get(&id).cloned(),
        });
    }
    for output in &graph.outputs {
        let Value { node, result } = output.value;
        let ty = &graph.node(node).types[result as usize];
        edges.extend(number.get(&node).map(|n| (*n, cards.len())));
        cards.push(Card {
            kind: Kind::Output,
            heading: "output".to_string(),
            label: shorten_front(&output.name, 22),
            lines: vec![shorten(&type_text(ty), MOST_CHARACTERS)],
            tooltip: format!("output {}\n{ty}", output.name),
            annotation: None,
        });
    }
    // A value that is read twice by one node is one line.
    edges.sort_unstable();
    edges.dedup();
    (cards, edges)
}

/// Width of one entry of the legend.
fn legend_step(kind: Kind) -> f64 {
    30.0 + kind.name().len() as f64 * CHARACTER
}

fn header(svg: &mut String, graph: &Graph, cards: &[Card], legend: &BTreeSet<Kind>, options: &SvgOptions) {
    let params = graph.params();
    let known = |id: &NodeId| match &graph.node(*id).op {
        Op::Param(Source::Init(_) | Source::File { .. } | Source::Data(_)) => {
            elements(&graph.node(*id).types[0])
        }
        _ => None,
    };
    let total: u64 = params.iter().filter_map(known).sum();
    let remark = if options.remark.is_empty() { String::new() } else { format!(" · {}", options.remark) };
    let operations = cards.iter().filter(|c| matches!(c.kind, Kind::Op(_))).count();
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"36\" font-size=\"19\" font-weight=\"700\" fill=\"#0f172a\">{}</text>\
         <text x=\"{MARGIN}\" y=\"55\" class=\"l\">{operations} operations · {} parameters · stage {}{}</text>",
        escape(&shorten(&graph.name, 60)),
        count(total),
        graph.stage.name(),
        escape(&remark)
    );
    let mut x = MARGIN;
    let y = 67.0;
    for kind in legend {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{}\" class=\"l\">{}</text>",
            kind.colour(),
            x + 16.0,
            y + 10.0,
            kind.name()
        );
        x += legend_step(*kind);
    }
    if !options.annotations.is_empty() {
        for i in 0..24 {
            let colour = heat_colour(f64::from(i) / 23.0);
            let at = x + f64::from(i) * 4.0;
            let _ =
                write!(svg, "<rect x=\"{at:.1}\" y=\"{y}\" width=\"4.2\" height=\"12\" fill=\"{colour}\"/>");
        }
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{}\" class=\"l\">cold to hot</text>", x + 102.0, y + 10.0);
    }
}

/// Smooth curves between boxes; right angles where an edge changes the band.
fn edges_svg(svg: &mut String, plan: &Layout) {
    for path in &plan.paths {
        let mut d = String::new();
        for (i, (x, y)) in path.iter().enumerate() {
            let Some((px, py)) = i.checked_sub(1).map(|p| path[p]) else {
                let _ = write!(d, "M{x:.1} {y:.1}");
                continue;
            };
            if (px - x).abs() < 0.5 || (py - y).abs() < 0.5 || *y < py {
                let _ = write!(d, " L{x:.1} {y:.1}");
            } else {
                let bend = (y - py) / 2.0;
                let _ = write!(d, " C{px:.1} {:.1} {x:.1} {:.1} {x:.1} {y:.1}", py + bend, y - bend);
            }
        }
        let _ = writeln!(svg, "<path class=\"edge\" d=\"{d}\" marker-end=\"url(#a)\"/>");
    }
}

fn card_svg(svg: &mut String, card: &Card, x: f64, y: f64, (w, h): (f64, f64), heat: bool) {
    let fill = match (&card.annotation, heat) {
        (Some(a), _) => heat_colour(a.heat),
        (None, true) => "#ffffff".to_string(),
        (None, false) => card.kind.tint().to_string(),
    };
    let colour = card.kind.colour();
    let radius = if matches!(card.kind, Kind::Input | Kind::Output) { 12.0 } else { 4.0 };
    let _ = write!(
        svg,
        "<g class=\"c\"><title>{}</title>\
         <rect class=\"b\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{radius}\" fill=\"{fill}\" \
         stroke=\"{colour}\" stroke-width=\"1\"/>\
         <rect x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"{:.1}\" rx=\"1.5\" fill=\"{colour}\"/>",
        escape(&card.tooltip),
        x + 3.5,
        y + 4.0,
        h - 8.0
    );
    let mut row = y + 15.0;
    let text = x + 13.0;
    let _ = write!(svg, "<text x=\"{text:.1}\" y=\"{row:.1}\" class=\"h\">{}", escape(&card.heading));
    if !card.label.is_empty() {
        let _ =
            write!(svg, "<tspan class=\"l\" font-weight=\"400\" dx=\"6\">{}</tspan>", escape(&card.label));
    }
    *svg += "</text>";
    for line in &card.lines {
        row += LINE;
        let _ = write!(svg, "<text x=\"{text:.1}\" y=\"{row:.1}\" class=\"t\">{}</text>", escape(line));
    }
    if let Some(a) = &card.annotation {
        row += LINE;
        let _ = write!(svg, "<text x=\"{text:.1}\" y=\"{row:.1}\" class=\"n\">{}</text>", escape(&a.text));
    }
    *svg += "</g>\n";
}

#[cfg(test)]
mod tests;
