//! Circular and hyperbolic functions and their inverses: one family, because all that passes do with them is the same.

use serde::{Deserialize, Serialize};

/// A function of an angle, in radians, or the inverse of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trig {
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
}

impl Trig {
    pub const ALL: [Trig; 11] = [
        Trig::Sin,
        Trig::Cos,
        Trig::Tan,
        Trig::Asin,
        Trig::Acos,
        Trig::Atan,
        Trig::Sinh,
        Trig::Cosh,
        Trig::Asinh,
        Trig::Acosh,
        Trig::Atanh,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Trig::Sin => "sin",
            Trig::Cos => "cos",
            Trig::Tan => "tan",
            Trig::Asin => "asin",
            Trig::Acos => "acos",
            Trig::Atan => "atan",
            Trig::Sinh => "sinh",
            Trig::Cosh => "cosh",
            Trig::Asinh => "asinh",
            Trig::Acosh => "acosh",
            Trig::Atanh => "atanh",
        }
    }

    /// The function of this name.
    pub fn find(name: &str) -> Option<Trig> {
        Trig::ALL.into_iter().find(|f| f.name() == name)
    }

    /// The function's value: NaN outside its domain.
    pub fn evaluate(self, x: f64) -> f64 {
        match self {
            Trig::Sin => x.sin(),
            Trig::Cos => x.cos(),
            Trig::Tan => x.tan(),
            Trig::Asin => x.asin(),
            Trig::Acos => x.acos(),
            Trig::Atan => x.atan(),
            Trig::Sinh => x.sinh(),
            Trig::Cosh => x.cosh(),
            Trig::Asinh => x.asinh(),
            Trig::Acosh => x.acosh(),
            Trig::Atanh => x.atanh(),
        }
    }

    /// Where the function's values lie for arguments of any value.
    pub fn range(self) -> Option<(f64, f64)> {
        use std::f64::consts::{FRAC_PI_2, PI};
        match self {
            Trig::Sin | Trig::Cos => Some((-1.0, 1.0)),
            // Rounding to f32 may pass the bounds, which are no f32.
            Trig::Asin | Trig::Atan => Some((-FRAC_PI_2 - 1e-6, FRAC_PI_2 + 1e-6)),
            Trig::Acos => Some((0.0, PI + 1e-6)),
            Trig::Cosh => Some((1.0, f64::INFINITY)),
            Trig::Acosh => Some((0.0, f64::INFINITY)),
            Trig::Tan | Trig::Sinh | Trig::Asinh | Trig::Atanh => None,
        }
    }
}
