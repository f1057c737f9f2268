//! What a function of one number does to the moments of a normal variable.
//!
//! With u = μ + σz, z standard normal, `f(u) = Σ c_n h_n(z)` in the normalised Hermite polynomials h_n. So E[f(u)] = c_0,
//! E[f(u)²] = Σ c_n², and for a second normal variable with correlation ρ, E[f(u) f(v)] = Σ c_n² ρⁿ (Mehler's formula).
//! For the rectifier of slope a and μ = 0 this is (1 + a²) / 2 · σ² at ρ = 1, and the arc-cosine kernel (Cho and Saul
//! 2009) in between.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Terms of the expansion. What is beyond them counts as if it were the last term.
const TERMS: usize = 24;
/// Points of the trapezoidal rule and its bounds; even in number, so that zero, where rectifiers have their kink, is one.
const STEPS: usize = 600;
const BOUND: f64 = 8.0;

/// A function of one number.
#[derive(Clone)]
pub struct Function {
    pub f: Arc<dyn Fn(f64) -> f64 + Send + Sync>,
    /// f(c · x) = c · f(x) for positive c, as rectifiers have it.
    pub homogeneous: bool,
}

impl Function {
    pub fn new(homogeneous: bool, f: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Function {
        Function { f: Arc::new(f), homogeneous }
    }

    /// x to `self(inner(x))`.
    pub fn after(&self, inner: &Function) -> Function {
        let (f, g) = (self.f.clone(), inner.f.clone());
        Function::new(self.homogeneous && inner.homogeneous, move |x| f(g(x)))
    }
}

/// Standard normal points with their weights.
fn points() -> &'static [(f64, f64)] {
    static POINTS: OnceLock<Vec<(f64, f64)>> = OnceLock::new();
    POINTS.get_or_init(|| {
        let h = 2.0 * BOUND / STEPS as f64;
        let point = |i| -BOUND + h * f64::from(i);
        let weight = |z: f64| (-0.5 * z * z).exp() * h / (2.0 * std::f64::consts::PI).sqrt();
        (0..=STEPS as i32).map(|i| (point(i), weight(point(i)))).collect()
    })
}

/// E[f(u)] and E[f(u)²], remembered: neighbouring positions of a map seldom differ much.
pub struct Moments<'a> {
    function: &'a Function,
    known: HashMap<(i64, i64), (f64, f64)>,
}

impl<'a> Moments<'a> {
    pub fn new(function: &'a Function) -> Moments<'a> {
        Moments { function, known: HashMap::new() }
    }

    /// Numbers within half a percent of each other share an answer; scale is exact for homogeneous functions.
    pub fn at(&mut self, mean: f64, std: f64) -> (f64, f64) {
        if std <= 0.0 {
            let value = (self.function.f)(mean);
            return (value, value * value);
        }
        let fine = |x: f64| (x * 256.0).round() as i64;
        let scale = if self.function.homogeneous { std } else { 1.0 };
        let (m, s) = (mean / scale, std / scale);
        let f = &self.function.f;
        let (first, second) =
            *self.known.entry((fine(mean / std), fine(s.ln()))).or_insert_with(|| moments(&**f, m, s));
        (first * scale, second * scale * scale)
    }
}

/// E[f'(u)²], the mean of the one-sided derivatives at kinks.
pub fn slope(f: &dyn Fn(f64) -> f64, mean: f64, std: f64) -> f64 {
    expect(|z| square_slope(f, mean + std * z, std))
}

/// f'(u)² at a point of a variable of this standard deviation.
pub fn square_slope(f: &dyn Fn(f64) -> f64, u: f64, std: f64) -> f64 {
    let h = 1e-5 * std.max(f64::MIN_POSITIVE);
    let (left, here, right) = (f(u - h), f(u), f(u + h));
    (((right - here) / h).powi(2) + ((here - left) / h).powi(2)) / 2.0
}

/// f'(u) for a variable of this standard deviation, the mean of both sides at kinks.
pub fn derivative(f: &dyn Fn(f64) -> f64, u: f64, std: f64) -> f64 {
    let h = 1e-5 * std.max(f64::MIN_POSITIVE);
    (f(u + h) - f(u - h)) / (2.0 * h)
}

/// The expansion of f(μ + σz).
#[derive(Clone, Debug)]
pub struct Expansion {
    second: f64,
    /// The squares of the coefficients from c_0 on.
    squares: [f64; TERMS],
}

/// E[g(z)] by the trapezoidal rule.
pub fn expect(mut g: impl FnMut(f64) -> f64) -> f64 {
    points().iter().map(|(z, weight)| weight * g(*z)).sum()
}

/// E[f(u)] and E[f(u)²].
pub fn moments(f: &dyn Fn(f64) -> f64, mean: f64, std: f64) -> (f64, f64) {
    let first = expect(|z| f(mean + std * z));
    (first, expect(|z| f(mean + std * z).powi(2)))
}

impl Expansion {
    pub fn new(f: &dyn Fn(f64) -> f64, mean: f64, std: f64) -> Expansion {
        let (mut c, mut second) = ([0.0; TERMS], 0.0);
        for (z, weight) in points() {
            let value = f(mean + std * z);
            let (mut before, mut h) = (0.0, 1.0);
            for (n, c) in c.iter_mut().enumerate() {
                *c += weight * value * h;
                let next = (z * h - (n as f64).sqrt() * before) / (n as f64 + 1.0).sqrt();
                (before, h) = (h, next);
            }
            second += weight * value * value;
        }
        Expansion { second, squares: c.map(|c| c * c) }
    }

    /// E[f(u)²].
    pub fn second(&self) -> f64 {
        self.second
    }

    /// E[f(u) f(v)] / E[f(u)²] where u and v have correlation `rho`.
    pub fn correlation(&self, rho: f64) -> f64 {
        if self.second <= 0.0 {
            return 1.0;
        }
        let (mut sum, mut power) = (0.0, 1.0);
        for c in &self.squares {
            sum += c * power;
            power *= rho;
        }
        let rest = (self.second - self.squares.iter().sum::<f64>()).max(0.0);
        (sum + rest * power) / self.second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaky(a: f64) -> impl Fn(f64) -> f64 {
        move |x| if x > 0.0 { x } else { a * x }
    }

    #[test]
    fn rectifiers_keep_half_of_one_plus_the_squared_slope() {
        for a in [0.0, 0.25, 1.0, -1.0] {
            let (first, second) = moments(&leaky(a), 0.0, 3.0);
            assert!((second - 9.0 * (1.0 + a * a) / 2.0).abs() < 1e-3, "{second}");
            let mean = 3.0 * (1.0 - a) / (2.0 * std::f64::consts::PI).sqrt();
            assert!((first - mean).abs() < 1e-3, "{first}");
        }
    }

    #[test]
    fn correlations_after_relu_follow_the_arc_cosine_kernel() {
        let e = Expansion::new(&leaky(0.0), 0.0, 1.0);
        for rho in [-1.0f64, -0.5, 0.0, 0.3, 0.9, 1.0] {
            let exact =
                ((1.0 - rho * rho).sqrt() + rho * (std::f64::consts::PI - rho.acos())) / std::f64::consts::PI;
            assert!((e.correlation(rho) - exact).abs() < 4e-3, "{rho}: {} {exact}", e.correlation(rho));
        }
    }
}
