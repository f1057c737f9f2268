//! Colours and text of the drawing.

use crate::op::{Category, Op};

/// What a box is coloured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Input,
    Output,
    Param,
    Op(Category),
}

impl Kind {
    pub fn of(op: &Op) -> Kind {
        match op {
            Op::Input => Kind::Input,
            Op::Param(_) | Op::Const(_) => Kind::Param,
            op => op.spec().map_or(Kind::Op(Category::Other), |s| Kind::Op(s.category)),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Input => "input",
            Kind::Output => "output",
            Kind::Param => "parameter",
            Kind::Op(Category::Contraction) => "convolution, dense",
            Kind::Op(Category::Rectifier) => "rectifier",
            Kind::Op(Category::Elementwise) => "elementwise",
            Kind::Op(Category::Normalisation) => "normalisation",
            Kind::Op(Category::Pooling) => "pooling",
            Kind::Op(Category::Reduction) => "reduction",
            Kind::Op(Category::Shape) => "layout",
            Kind::Op(Category::Selection) => "selection",
            Kind::Op(Category::Other) => "other",
        }
    }

    /// The strong colour of the stripe. Hues of one family are told apart in the common colour-vision deficiencies.
    pub fn colour(self) -> &'static str {
        match self {
            Kind::Input | Kind::Output => "#475569",
            Kind::Param => "#94a3b8",
            Kind::Op(Category::Contraction) => "#2563eb",
            Kind::Op(Category::Rectifier) => "#ea580c",
            Kind::Op(Category::Elementwise) => "#ca8a04",
            Kind::Op(Category::Normalisation) => "#059669",
            Kind::Op(Category::Pooling) => "#9333ea",
            Kind::Op(Category::Reduction) => "#db2777",
            Kind::Op(Category::Shape) => "#64748b",
            Kind::Op(Category::Selection) => "#0891b2",
            Kind::Op(Category::Other) => "#78716c",
        }
    }

    /// The pale colour of the box.
    pub fn tint(self) -> &'static str {
        match self {
            Kind::Input | Kind::Output => "#e2e8f0",
            Kind::Param => "#f1f5f9",
            Kind::Op(Category::Contraction) => "#dbeafe",
            Kind::Op(Category::Rectifier) => "#ffedd5",
            Kind::Op(Category::Elementwise) => "#fef9c3",
            Kind::Op(Category::Normalisation) => "#d1fae5",
            Kind::Op(Category::Pooling) => "#f3e8ff",
            Kind::Op(Category::Reduction) => "#fce7f3",
            Kind::Op(Category::Shape) => "#f1f5f9",
            Kind::Op(Category::Selection) => "#cffafe",
            Kind::Op(Category::Other) => "#f5f5f4",
        }
    }
}

/// A heat of 0..=1 from white over yellow to red, light enough for dark text.
pub fn heat_colour(heat: f64) -> String {
    let stops = [(255.0, 255.0, 255.0), (254.0, 240.0, 138.0), (253.0, 186.0, 116.0), (248.0, 113.0, 113.0)];
    let at = if heat.is_nan() { 0.0 } else { heat.clamp(0.0, 1.0) * (stops.len() - 1) as f64 };
    let i = (at as usize).min(stops.len() - 2);
    let (a, b, t) = (stops[i], stops[i + 1], at - i as f64);
    let mix = |a: f64, b: f64| (a + (b - a) * t).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Text with the characters that XML reserves written out, and without those it forbids.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// At most `most` characters, the end kept: names differ there.
pub fn shorten_front(text: &str, most: usize) -> String {
    let n = text.chars().count();
    if n <= most {
        text.to_string()
    } else {
        format!("…{}", text.chars().skip(n + 1 - most).collect::<String>())
    }
}

/// At most `most` characters, the beginning kept.
pub fn shorten(text: &str, most: usize) -> String {
    let n = text.chars().count();
    if n <= most {
        text.to_string()
    } else {
        format!("{}…", text.chars().take(most.saturating_sub(1)).collect::<String>())
    }
}
