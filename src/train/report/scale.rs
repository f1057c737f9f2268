//! Axes: which part of the numbers is shown, and where the marks stand.

/// A linear or logarithmic axis over a range of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub logarithmic: bool,
}

impl Scale {
    /// A linear axis that shows these numbers between round ones; from 0 on if `zero`.
    pub fn linear(values: impl Iterator<Item = f64>, zero: bool) -> Scale {
        let (mut low, mut high) = range(values, |v| v.is_finite()).unwrap_or((0.0, 1.0));
        if zero {
            low = low.min(0.0);
        }
        if high - low < 1e-12 * (1.0 + high.abs()) {
            let below = if zero && low == 0.0 { 0.0 } else { 0.5 };
            (low, high) = (low - below, high + 0.5);
        }
        let step = round_step(high - low, 5.0);
        Scale { low: (low / step).floor() * step, high: (high / step).ceil() * step, logarithmic: false }
    }

    /// A linear axis from 0 to the greatest of these numbers, which need not be round.
    pub fn up_to(values: impl Iterator<Item = f64>) -> Scale {
        let (_, high) = range(values, |v| v.is_finite()).unwrap_or((0.0, 1.0));
        Scale { low: 0.0, high: if high > 0.0 { high } else { 1.0 }, logarithmic: false }
    }

    /// A logarithmic axis for numbers that span more than a decade, else a linear one from 0 on.
    pub fn fitting(values: impl Iterator<Item = f64> + Clone) -> Scale {
        match range(values.clone(), |v| v.is_finite() && *v > 0.0) {
            Some((low, high)) if high > 10.0 * low => Scale::logarithmic(values),
            Some(_) | None => Scale::linear(values, true),
        }
    }

    /// An axis of powers of ten around these numbers; those that are not positive are not shown.
    pub fn logarithmic(values: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = range(values, |v| v.is_finite() && *v > 0.0).unwrap_or((1.0, 10.0));
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Scale { low: 10f64.powf(low), high: 10f64.powf(high.max(low + 1.0)), logarithmic: true }
    }

    /// The place of a number from 0 to 1, if the axis shows it.
    pub fn place(self, v: f64) -> Option<f64> {
        let place = if self.logarithmic {
            (v.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (v - self.low) / (self.high - self.low)
        };
        (place.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&place)).then_some(place)
    }

    /// Numbers to mark, with their texts.
    pub fn marks(self) -> Vec<(f64, String)> {
        if self.logarithmic {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            let every = ((high - low) / 6).max(1);
            return (low..=high).step_by(every as usize).map(|p| (10f64.powi(p), power(p))).collect();
        }
        let step = round_step(self.high - self.low, 5.0);
        let count = ((self.high - self.low) / step + 1e-9).floor() as i64;
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        (0..=count)
            .map(|i| {
                let v = self.low + i as f64 * step;
                // No minus before a zero that rounding has left.
                let v = if v.abs() < step * 1e-9 { 0.0 } else { v };
                (v, format!("{v:.decimals$}").replace('-', "\u{2212}"))
            })
            .collect()
    }
}

fn range(values: impl Iterator<Item = f64>, usable: impl Fn(&f64) -> bool) -> Option<(f64, f64)> {
    values.filter(usable).fold(None, |range, v| {
        let (low, high) = range.unwrap_or((v, v));
        Some((f64::min(low, v), f64::max(high, v)))
    })
}

/// 1, 2 or 5 times a power of ten, for about so many steps over the span.
fn round_step(span: f64, steps: f64) -> f64 {
    let rough = span / steps;
    let unit = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|t| t * unit >= rough * 0.999).unwrap_or(10.0);
    times * unit
}

/// `1`, `10`, `0.01`, and beyond three places `10` with the exponent raised.
fn power(p: i32) -> String {
    match p {
        -3..=3 => format!("{}", 10f64.powi(p)),
        _ => {
            let raised = |c: char| match c {
                '-' => '⁻',
                '1' => '¹',
                '2' => '²',
                '3' => '³',
                digit => char::from_u32('⁰' as u32 + digit as u32 - '0' as u32).unwrap_or(digit),
            };
            format!("10{}", p.to_string().chars().map(raised).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_numbers() {
        let scale = Scale::linear([0.13, 0.87].into_iter(), true);
        assert_eq!((scale.low, scale.high), (0.0, 1.0));
        let texts: Vec<String> = scale.marks().into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(scale.place(0.5), Some(0.5));
        assert_eq!((scale.place(2.0), scale.place(f64::NAN)), (None, None));
        let signed = Scale::linear([-3.0, 12.0].into_iter(), false);
        assert_eq!((signed.low, signed.high), (-5.0, 15.0));
        assert_eq!(signed.marks()[0].1, "\u{2212}5");
        let exact = Scale::up_to([0.5, 11.0].into_iter());
        assert_eq!(exact.place(11.0), Some(1.0));
        let texts: Vec<String> = exact.marks().into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["0", "5", "10"]);
        assert_eq!(Scale::up_to([0.0].into_iter()).high, 1.0);
        // Nothing to show, or one number, still makes an axis.
        for values in [vec![], vec![0.25], vec![0.0]] {
            let scale = Scale::linear(values.into_iter(), false);
            assert!(scale.high > scale.low && scale.marks().len() > 2, "{scale:?}");
        }
    }

    #[test]
    fn axes_fit_the_span() {
        assert!(Scale::fitting([0.01, 0.5].into_iter()).logarithmic);
        assert!(!Scale::fitting([0.1, 0.5].into_iter()).logarithmic);
        assert!(!Scale::fitting([0.0, 0.0].into_iter()).logarithmic);
    }

    #[test]
    fn logarithmic_axes_are_powers_of_ten() {
        let scale = Scale::logarithmic([3e-6, 0.0, 2e-2, f64::INFINITY].into_iter());
        assert!((scale.low / 1e-6 - 1.0).abs() < 1e-9 && (scale.high / 1e-1 - 1.0).abs() < 1e-9);
        assert!((scale.place(1e-6).unwrap()).abs() < 1e-9);
        assert_eq!(scale.place(0.0), None);
        let texts: Vec<String> = scale.marks().into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1"]);
    }
}
