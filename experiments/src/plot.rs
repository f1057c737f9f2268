//! Line charts as SVG: enough for curves with a band around each.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
/// Okabe and Ito's colours, which colour-blind readers tell apart.
const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];

/// A curve; each point with half the height of its bar.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64, f64)>,
}

pub struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    pub curves: Vec<Curve>,
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        let finite = |v: &f64| v.is_finite();
        let points = || self.curves.iter().flat_map(|c| &c.points);
        let (x0, x1) = bounds(points().map(|p| p.0).filter(finite));
        let (y0, y1) = bounds(points().flat_map(|p| [p.1 - spread(p.2), p.1 + spread(p.2)]).filter(finite));
        let at_x = |v: f64| LEFT + (WIDTH - LEFT - RIGHT) * (v - x0) / (x1 - x0);
        let at_y = |v: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (v - y0) / (y1 - y0);
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             font-family=\"sans-serif\" font-size=\"12\"><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>",
            self.title
        );
        for value in ticks(y0, y1) {
            let at = at_y(value);
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                number(value)
            );
        }
        for value in ticks(x0, x1) {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                at_x(value),
                HEIGHT - BOTTOM + 18.0,
                number(value)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - BOTTOM + 36.0,
            self.x,
            (TOP + HEIGHT - BOTTOM) / 2.0,
            self.y
        );
        for (i, (curve, colour)) in self.curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let mut line = String::new();
            for (x, y, half) in curve.points.iter().filter(|p| p.1.is_finite()) {
                let _ = write!(line, "{:.1},{:.1} ", at_x(*x), at_y(*y));
                if spread(*half) > 0.0 {
                    let _ = writeln!(
                        out,
                        "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\" stroke=\"{colour}\"/>",
                        at_x(*x),
                        at_y(y - half),
                        at_y(y + half)
                    );
                }
            }
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\
                 <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>",
                line.trim_end(),
                LEFT + 130.0 * i as f64,
                HEIGHT - 8.0,
                curve.name
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

fn spread(half: f64) -> f64 {
    if half.is_finite() { half } else { 0.0 }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low < high {
        (low, high)
    } else if low.is_finite() {
        (low - 0.5, low + 0.5)
    } else {
        (0.0, 1.0)
    }
}

/// About five round numbers within bounds.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let raw = (high - low) / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|s| s * power >= raw).unwrap_or(10.0);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high + 1e-9 * step).collect()
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(-3.0, 120.0), [0.0, 50.0, 100.0]);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let points = vec![(0.0, 1.0, f64::NAN), (1.0, f64::INFINITY, 0.0), (2.0, 3.0, 0.5)];
        let curves = vec![Curve { name: "a".into(), points }];
        let svg = Chart { title: "t", x: "x", y: "y", curves }.svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
