//! Initialisation as metadata: how the values of a parameter are drawn, without drawing them.
//!
//! A parameter is `scale · draw + shift`, where the draw follows a [`Dist`]. Rewrites that multiply or shift a freshly
//! initialised parameter change `scale` and `shift` and never touch values.

use crate::scalar::Scalar;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Number of inputs or outputs that a weight is scaled by: the `n` of `std = gain / sqrt(n)`.
///
/// For a convolution with kernel k and g groups, fan in = k² · c_in / g and fan out = k² · c_out / g
/// (He et al. 2015, section 2.2). A transposed convolution's fan in is c_in · k² / (g · stride²).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fan {
    In,
    Out,
    /// (in + out) / 2
    Avg,
    /// Resolved by `fold_init`.
    Value(Scalar),
}

/// The factor on `1 / sqrt(fan)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// sqrt(2 / (1 + a²)) with the slope a of the rectifier that the layer feeds; 1 where it feeds none.
    Auto,
    Value(Scalar),
}

/// Families of fan-scaled initialisation. They differ in their defaults only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// He et al. 2015. Fan in, gain of the rectifier.
    He,
    /// Glorot and Bengio 2010: fan (in + out) / 2, gain 1.
    Xavier,
    /// LeCun 1998; what He et al. compare with as "Xavier": fan in, gain 1.
    Lecun,
}

/// Shape of a fan-scaled draw; all have the same variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    Normal,
    /// U(-b, b) with b = sqrt(3) · std.
    Uniform,
}

/// The distribution of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dist {
    /// Mean 0, std = gain / sqrt(fan).
    Scaled {
        scheme: Scheme,
        form: Form,
        fan: Fan,
        gain: Gain,
    },
    Normal {
        mean: Scalar,
        std: Scalar,
    },
    /// A normal cut at mean + low · std and mean + high · std (redrawn by inversion, not clamped).
    TruncNormal {
        mean: Scalar,
        std: Scalar,
        low: Scalar,
        high: Scalar,
    },
    Uniform {
        low: Scalar,
        high: Scalar,
    },
    /// What `torch.nn` layers draw by default: U(-b, b) with b = 1 / sqrt(fan in), weights and biases alike.
    TorchDefault {
        fan: Fan,
    },
    Constant(Scalar),
    /// A (semi-)orthogonal matrix of shape [dim 0, rest], times the gain.
    Orthogonal {
        gain: Gain,
    },
    /// Ones on the diagonal; for convolutions at the kernel's centre.
    Identity,
}

/// Initialisation of one parameter: `scale · draw + shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Init {
    pub dist: Dist,
    pub scale: Scalar,
    pub shift: Scalar,
}

impl From<Dist> for Init {
    fn from(dist: Dist) -> Init {
        Init { dist, scale: Scalar(1.0), shift: Scalar(0.0) }
    }
}

impl Init {
    /// The default of a family: `he_normal()` and so on.
    pub fn scaled(scheme: Scheme, form: Form) -> Init {
        let (fan, gain) = match scheme {
            Scheme::He => (Fan::In, Gain::Auto),
            Scheme::Xavier => (Fan::Avg, Gain::Value(Scalar(1.0))),
            Scheme::Lecun => (Fan::In, Gain::Value(Scalar(1.0))),
        };
        Dist::Scaled { scheme, form, fan, gain }.into()
    }

    /// He-normal with fan in and the gain of the rectifier that follows: the default of weights.
    pub fn he_normal() -> Init {
        Init::scaled(Scheme::He, Form::Normal)
    }

    /// Every element `value`.
    pub fn constant(value: f64) -> Init {
        Dist::Constant(Scalar(value)).into()
    }

    /// The value of every element, if the initialisation is a constant one.
    pub fn as_constant(&self) -> Option<f64> {
        match self.dist {
            Dist::Constant(c) => Some(self.scale.0 * c.0 + self.shift.0),
            _ => None,
        }
    }

    /// The initialisation of `factor · parameter`.
    pub fn scaled_by(self, factor: f64) -> Init {
        Init { dist: self.dist, scale: Scalar(self.scale.0 * factor), shift: Scalar(self.shift.0 * factor) }
    }

    /// The initialisation of `parameter + offset`.
    pub fn shifted_by(self, offset: f64) -> Init {
        Init { shift: Scalar(self.shift.0 + offset), ..self }
    }

    /// True where fan and gain are numbers, so that mean and std are known.
    pub fn is_resolved(&self) -> bool {
        match self.dist {
            Dist::Scaled { fan, gain, .. } => matches!((fan, gain), (Fan::Value(_), Gain::Value(_))),
            Dist::TorchDefault { fan } => matches!(fan, Fan::Value(_)),
            Dist::Orthogonal { gain } => matches!(gain, Gain::Value(_)),
            Dist::Normal { .. }
            | Dist::TruncNormal { .. }
            | Dist::Uniform { .. }
            | Dist::Constant(_)
            | Dist::Identity => true,
        }
    }

    /// Standard deviation of the values, where it is known without the shape.
    pub fn std(&self) -> Option<f64> {
        let draw = match self.dist {
            Dist::Scaled { fan: Fan::Value(n), gain: Gain::Value(g), .. } => g.0 / n.0.sqrt(),
            Dist::TorchDefault { fan: Fan::Value(n) } => 1.0 / (3.0 * n.0).sqrt(),
            Dist::Normal { std, .. } => std.0,
            Dist::Uniform { low, high } => (high.0 - low.0) / 12f64.sqrt(),
            Dist::Constant(_) => 0.0,
            Dist::TruncNormal { std, low, high, .. } => std.0 * truncated_std(low.0, high.0),
            Dist::Scaled { .. } | Dist::TorchDefault { .. } | Dist::Orthogonal { .. } | Dist::Identity => {
                return None;
            }
        };
        Some(self.scale.0.abs() * draw)
    }
}

/// Standard deviation of a standard normal cut at `low` and `high`, by Simpson's rule on density and second moment.
fn truncated_std(low: f64, high: f64) -> f64 {
    let (low, high) = (low.max(-12.0), high.min(12.0));
    if low >= high {
        return 0.0;
    }
    let steps = 2000;
    let h = (high - low) / f64::from(steps);
    let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
    for i in 0..=steps {
        let x = low + h * f64::from(i);
        let w = if i == 0 || i == steps { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
        let p = w * (-0.5 * x * x).exp();
        mass += p;
        first += p * x;
        second += p * x * x;
    }
    let mean = first / mass;
    (second / mass - mean * mean).max(0.0).sqrt()
}

impl fmt::Display for Fan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fan::In => f.write_str("in"),
            Fan::Out => f.write_str("out"),
            Fan::Avg => f.write_str("avg"),
            Fan::Value(v) => write!(f, "{v}"),
        }
    }
}

impl fmt::Display for Gain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gain::Auto => f.write_str("auto"),
            Gain::Value(v) => write!(f, "{v}"),
        }
    }
}

/// Writes the language's form: `he_normal(fan: in, gain: auto) * 0.98 + 0.1`.
impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dist {
            Dist::Scaled { scheme, form, fan, gain } => {
                let scheme = match scheme {
                    Scheme::He => "he",
                    Scheme::Xavier => "xavier",
                    Scheme::Lecun => "lecun",
                };
                let form = match form {
                    Form::Normal => "normal",
                    Form::Uniform => "uniform",
                };
                write!(f, "{scheme}_{form}(fan: {fan}, gain: {gain})")?;
            }
            Dist::Normal { mean, std } => write!(f, "normal(std: {std}, mean: {mean})")?,
            Dist::TruncNormal { mean, std, low, high } => {
                write!(f, "trunc_normal(std: {std}, mean: {mean}, low: {low}, high: {high})")?;
            }
            Dist::Uniform { low, high } => write!(f, "uniform({low}, {high})")?,
            Dist::TorchDefault { fan } => write!(f, "torch_default(fan: {fan})")?,
            Dist::Constant(c) => write!(f, "constant({c})")?,
            Dist::Orthogonal { gain } => write!(f, "orthogonal(gain: {gain})")?,
            Dist::Identity => f.write_str("identity()")?,
        }
        if self.scale != Scalar(1.0) {
            write!(f, " * {}", self.scale)?;
        }
        if self.shift != Scalar(0.0) {
            write!(f, " + {}", self.shift)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn std_of_resolved_schemes() {
        let he = Init::from(Dist::Scaled {
            scheme: Scheme::He,
            form: Form::Normal,
            fan: Fan::Value(Scalar(576.0)),
            gain: Gain::Value(Scalar(2f64.sqrt())),
        });
        assert!((he.std().unwrap() - 0.058926).abs() < 1e-6);
        assert!((he.scaled_by(-0.5).std().unwrap() - 0.029463).abs() < 1e-6);
        assert_eq!(Init::he_normal().std(), None);
        let cut = Init::from(Dist::TruncNormal {
            mean: Scalar(0.0),
            std: Scalar(1.0),
            low: Scalar(-2.0),
            high: Scalar(2.0),
        });
        assert!((cut.std().unwrap() - 0.879_626).abs() < 1e-4);
    }

    #[test]
    fn constants_stay_constants() {
        assert_eq!(Init::constant(2.0).scaled_by(3.0).shifted_by(1.0).as_constant(), Some(7.0));
        assert_eq!(Init::he_normal().as_constant(), None);
    }
}
