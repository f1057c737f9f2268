//! A chart of lines as SVG.

use super::scale::Scale;
use rectify_ir::export::{escape, shorten_front};
use std::fmt::Write as _;

/// One line: a name and points in the order of x.
pub(super) struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Drawn in its own colour and dash, which readers with any vision can tell apart.
    pub style: Style,
    /// Lowest and highest around the points, as a pale area.
    pub band: Vec<(f64, f64, f64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Style {
    pub colour: String,
    pub dash: &'static str,
    /// Whether each point is marked.
    pub dots: bool,
}

pub(super) struct Chart {
    pub title: String,
    pub x_title: String,
    pub y_title: String,
    pub x: Scale,
    pub y: Scale,
    pub lines: Vec<Line>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 74.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
/// Room for names at the right of the lines.
const RIGHT: f64 = 150.0;
/// Least distance between two names.
const NAME_HEIGHT: f64 = 15.0;

/// The colours of Okabe and Ito (2008) without yellow, which is faint on white: distinct for all kinds of vision.
const DISTINCT: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00"];
const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];

impl Style {
    /// For one of a few lines.
    pub fn distinct(index: usize) -> Style {
        let dash = DASHES[index / DISTINCT.len() % DASHES.len()];
        Style { colour: DISTINCT[index % DISTINCT.len()].to_owned(), dash, dots: false }
    }

    /// For one of many lines in an order: from dark blue to yellow, with lightness growing all the way, so that the order
    /// shows in grey too.
    pub fn ordered(index: usize, count: usize) -> Style {
        // Corners of the map `viridis`, without its palest end.
        const CORNERS: [[f64; 3]; 5] = [
            [68.0, 1.0, 84.0],
            [59.0, 82.0, 139.0],
            [33.0, 145.0, 140.0],
            [94.0, 201.0, 98.0],
            [200.0, 190.0, 20.0],
        ];
        let at = index as f64 / (count.max(2) - 1) as f64 * (CORNERS.len() - 1) as f64;
        let low = (at as usize).min(CORNERS.len() - 2);
        let mix = |c: usize| CORNERS[low][c] + (at - low as f64) * (CORNERS[low + 1][c] - CORNERS[low][c]);
        let colour = format!("#{:02x}{:02x}{:02x}", mix(0) as u8, mix(1) as u8, mix(2) as u8);
        Style { colour, dash: "", dots: false }
    }
}

impl Chart {
    pub fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
             xmlns=\"http://www.w3.org/2000/svg\" aria-label=\"{0}\" font-family=\"sans-serif\" font-size=\"12\">\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{0}</text>",
            escape(&self.title)
        );
        self.axes(&mut out);
        for line in &self.lines {
            self.line(&mut out, line);
        }
        self.names(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn at_x(&self, x: f64) -> Option<f64> {
        self.x.place(x).map(|p| LEFT + p * (WIDTH - LEFT - RIGHT))
    }

    fn at_y(&self, y: f64) -> Option<f64> {
        self.y.place(y).map(|p| TOP + (1.0 - p) * (HEIGHT - TOP - BOTTOM))
    }

    fn axes(&self, out: &mut String) {
        let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (v, text) in self.y.marks() {
            let Some(y) = self.at_y(v) else { continue };
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{text}</text>",
                LEFT - 7.0,
                y + 4.0
            );
        }
        for (v, text) in self.x.marks() {
            let Some(x) = self.at_x(v) else { continue };
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{floor}\" y2=\"{}\" stroke=\"#444\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444\">{text}</text>",
                floor + 4.0,
                floor + 18.0
            );
        }
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {TOP}V{floor}H{right}\" fill=\"none\" stroke=\"#444\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            escape(&self.x_title),
            (TOP + floor) / 2.0,
            escape(&self.y_title)
        );
    }

    fn line(&self, out: &mut String, line: &Line) {
        let Style { colour, dash, dots } = &line.style;
        if line.band.len() > 1 {
            let edge = |x: f64, y: f64| {
                let (low, high) = (self.y.low, self.y.high);
                Some(format!("{:.1},{:.1} ", self.at_x(x)?, self.at_y(y.clamp(low, high))?))
            };
            let there = line.band.iter().filter_map(|(x, low, _)| edge(*x, *low));
            let back = line.band.iter().rev().filter_map(|(x, _, high)| edge(*x, *high));
            let points: String = there.chain(back).collect();
            let _ = writeln!(
                out,
                "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.12\" stroke=\"none\"/>",
                points.trim_end()
            );
        }
        // A line has gaps where a number cannot be shown.
        let mut path = String::new();
        let mut pen_down = false;
        for (x, y) in &line.points {
            match self.at_x(*x).zip(self.at_y(*y)) {
                Some((px, py)) => {
                    let _ = write!(path, "{}{px:.1} {py:.1}", if pen_down { 'L' } else { 'M' });
                    if *dots {
                        let _ = writeln!(
                            out,
                            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"2.6\" fill=\"{colour}\"/>"
                        );
                    }
                    pen_down = true;
                }
                None => pen_down = false,
            }
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-dasharray=\"{dash}\">\
             <title>{}</title></path>",
            escape(&line.name)
        );
    }

    /// The lines' names beside their ends, moved apart where they would overlap.
    fn names(&self, out: &mut String) {
        let mut ends: Vec<(f64, &Line)> = Vec::new();
        for line in &self.lines {
            let end = line.points.iter().rev().find_map(|(x, y)| self.at_x(*x).and(self.at_y(*y)));
            ends.extend(end.map(|y| (y, line)));
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let floor = HEIGHT - BOTTOM;
        let height = NAME_HEIGHT.min((floor - TOP + 20.0) / ends.len().max(1) as f64);
        let mut y = TOP - height;
        let mut places: Vec<f64> = Vec::new();
        for (end, _) in &ends {
            y = end.max(y + height);
            places.push(y);
        }
        // What was pushed below the axis goes up again.
        let mut limit = floor + 6.0;
        for place in places.iter_mut().rev() {
            *place = place.min(limit);
            limit = *place - height;
        }
        let x = WIDTH - RIGHT;
        for ((end, line), place) in ends.iter().zip(places) {
            let size = height.min(12.0);
            let name = escape(&shorten_front(&line.name, 20));
            let _ = writeln!(
                out,
                "<path d=\"M{:.1} {end:.1}L{:.1} {place:.1}\" stroke=\"{2}\" stroke-width=\"0.8\" fill=\"none\"/>\
                 <text x=\"{3}\" y=\"{4:.1}\" fill=\"{2}\" font-size=\"{size:.1}\">{name}</text>",
                x + 2.0,
                x + 12.0,
                line.style.colour,
                x + 15.0,
                place + size / 3.0
            );
        }
    }
}
