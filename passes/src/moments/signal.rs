//! What is known of a value: mean and second moment at each position, and correlation by distance.

use super::correlation::Correlation;
use super::gauss::{self, Expansion, Function, Moments};
use super::map::Map;

/// Moments of a value over weights, channels and images.
#[derive(Clone)]
pub struct Signal {
    pub mean: Map,
    pub second: Map,
    pub correlation: Correlation,
    /// The normal signal that this is a function of; without it, the signal itself is taken as normal.
    behind: Option<Box<Normal>>,
}

/// A normal signal and what is applied to it.
#[derive(Clone)]
pub(super) struct Normal {
    pub mean: Map,
    pub std: Map,
    /// About the mean.
    pub correlation: Correlation,
    pub function: Function,
}

impl Normal {
    /// Mean and standard deviation on average.
    pub fn usual(&self) -> (f64, f64) {
        (self.mean.mean(), self.std.map(|s| s * s).mean().sqrt())
    }

    /// Mean and standard deviation at a position.
    pub fn at(&self, position: &[i64]) -> (f64, f64) {
        (self.mean.at(position), self.std.at(position))
    }
}

impl Signal {
    pub fn new(mean: Map, second: Map, correlation: Correlation) -> Signal {
        Signal { mean, second, correlation, behind: None }
    }

    /// The same moments at every position.
    pub fn flat(dims: &[usize], mean: f64, second: f64, correlation: fn(&[usize]) -> Correlation) -> Signal {
        Signal::new(Map::constant(dims, mean), Map::constant(dims, second), correlation(dims))
    }

    /// As the same moments on average at each of other positions.
    pub fn spread(&self, dims: &[usize]) -> Signal {
        let correlation = if self.second.values.len() == 1 { Correlation::equal } else { Correlation::white };
        Signal::flat(dims, self.mean.mean(), self.second.mean(), correlation)
    }

    /// [`spread`](Self::spread) where the positions are others.
    pub fn spread_if(self, dims: &[usize]) -> Signal {
        if self.second.dims == dims { self } else { self.spread(dims) }
    }

    /// The number that every element is, if it is one.
    pub fn number(&self) -> Option<f64> {
        let mean = self.mean.mean();
        let variance = self.second.mean() - mean * mean;
        (variance.abs() <= 1e-12 * mean * mean).then_some(mean)
    }

    pub fn scaled(&self, factor: f64) -> Signal {
        let behind = self.behind.as_ref().map(|normal| {
            let outer = Function::new(true, move |v| factor * v);
            Box::new(Normal { function: outer.after(&normal.function), ..(**normal).clone() })
        });
        Signal {
            mean: self.mean.scaled(factor),
            second: self.second.scaled(factor * factor),
            correlation: self.correlation.clone(),
            behind,
        }
    }

    /// `self + sign · other`, which have nothing in common but their means.
    pub fn plus(&self, other: &Signal, sign: f64) -> Signal {
        if other.second.mean() == 0.0 {
            return self.clone();
        }
        let cross = self.mean.zip(&other.mean, |a, b| 2.0 * sign * a * b);
        let second = self.second.zip(&other.second, |a, b| a + b).zip(&cross, |s, c| s + c);
        let (a, b, c) = (self.second.mean(), other.second.mean(), cross.mean());
        let total = a + b + c;
        let wider = if self.second.values.len() >= other.second.values.len() { self } else { other };
        let correlation =
            Correlation::combined(&wider.second.dims, &self.correlation, &other.correlation, |r, s| {
                if total > 0.0 { (a * r + b * s + c) / total } else { 1.0 }
            });
        Signal::new(self.mean.zip(&other.mean, |a, b| a + sign * b), second, correlation)
    }

    /// The product with an independent signal.
    pub fn times(&self, other: &Signal) -> Signal {
        if let Some(number) = other.number() {
            return self.scaled(number).spread_up(&other.second.dims);
        }
        let wider = if self.second.values.len() >= other.second.values.len() { self } else { other };
        let (r, s) = (&self.correlation, &other.correlation);
        let correlation = Correlation::combined(&wider.second.dims, r, s, |r, s| r * s);
        Signal::new(
            self.mean.zip(&other.mean, |a, b| a * b),
            self.second.zip(&other.second, |a, b| a * b),
            correlation,
        )
    }

    fn spread_up(self, dims: &[usize]) -> Signal {
        if dims.iter().product::<usize>() > self.second.values.len() { self.spread(dims) } else { self }
    }

    /// A part of a concatenation: moments times its share.
    pub fn weighted(&self, share: f64) -> Signal {
        Signal::new(self.mean.scaled(share), self.second.scaled(share), self.correlation.clone())
    }

    /// Two parts of a concatenation.
    pub fn mixed(a: &Signal, b: &Signal) -> Signal {
        let (qa, qb) = (a.second.mean(), b.second.mean());
        let correlation = Correlation::combined(&a.second.dims, &a.correlation, &b.correlation, |r, s| {
            if qa + qb > 0.0 { (qa * r + qb * s) / (qa + qb) } else { 1.0 }
        });
        Signal::new(a.mean.zip(&b.mean, |a, b| a + b), a.second.zip(&b.second, |a, b| a + b), correlation)
    }

    /// The signal as a function of a normal one.
    pub(super) fn normal(&self) -> Normal {
        if let Some(behind) = &self.behind {
            return (**behind).clone();
        }
        let (q, m) = (self.second.mean(), self.mean.mean());
        let variance = q - m * m;
        let about =
            self.correlation.map(|r| if variance > 1e-12 * q { (r * q - m * m) / variance } else { 1.0 });
        Normal {
            mean: self.mean.clone(),
            std: self.second.zip(&self.mean, |q, m| (q - m * m).max(0.0).sqrt()),
            correlation: about,
            function: Function::new(true, |v| v),
        }
    }

    /// A function of every element.
    pub fn through(&self, function: &Function) -> Signal {
        let normal = self.normal();
        let function = function.after(&normal.function);
        let mut moments = Moments::new(&function);
        let (mut mean, mut second) = (normal.mean.clone(), normal.mean.clone());
        for i in 0..mean.values.len() {
            let std = normal.std.values[i];
            (mean.values[i], second.values[i]) = moments.at(normal.mean.values[i], std);
        }
        let (m, s) = normal.usual();
        let expansion = Expansion::new(&*function.f, m, s);
        let correlation = normal.correlation.map(|rho| expansion.correlation(rho));
        Signal { mean, second, correlation, behind: Some(Box::new(Normal { function, ..normal })) }
    }

    /// E[f'(x)²] where x is this signal.
    pub fn slope(&self, f: &dyn Fn(f64) -> f64) -> f64 {
        let normal = self.normal();
        let ((mean, std), inner) = (normal.usual(), &normal.function.f);
        gauss::expect(|z| gauss::square_slope(f, inner(mean + std * z), std))
    }

    /// Each channel without its mean and with variance 1, as the statistics of `images` images make it.
    pub fn normalised(&self, images: usize) -> Signal {
        let variance = self.variance(images).max(f64::MIN_POSITIVE);
        let q = self.second.mean();
        let between = q - variance;
        let second = self.second.map(|s| (s - between).max(0.0) / variance);
        let correlation = self.correlation.map(|r| (r * q - between) / variance);
        Signal::new(Map::constant(&self.second.dims, 0.0), second, correlation)
    }

    /// The mean variance of a channel about its own mean over positions and images. Images have their mean in common.
    pub fn variance(&self, images: usize) -> f64 {
        let sizes: Vec<i64> = self.second.dims.iter().map(|d| *d as i64).collect();
        let (q, m) = (self.second.mean(), self.mean.mean());
        let inside = q * self.correlation.mean_of_pairs(&vec![0; sizes.len()], &sizes);
        let n = images.max(1) as f64;
        q - (inside + (n - 1.0) * m * m) / n
    }
}
