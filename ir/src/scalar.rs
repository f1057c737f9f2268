//! A float that can be a key: equality, order and hash go by its bits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// An `f64` with total equality (by bits, so `-0.0 != 0.0` and `NaN == NaN`).
#[derive(Clone, Copy, Default)]
pub struct Scalar(pub f64);

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Scalar) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl From<f64> for Scalar {
    fn from(v: f64) -> Scalar {
        Scalar(v)
    }
}

/// Writes the shortest decimal that reads back as the same value; integers without a point, as the language does.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        if v.is_nan() {
            f.write_str("nan")
        } else if v.is_infinite() {
            f.write_str(if v > 0.0 { "inf" } else { "-inf" })
        } else if v == v.trunc() && v.abs() < 1e15 && !(v == 0.0 && v.is_sign_negative()) {
            write!(f, "{v:.0}")
        } else {
            write!(f, "{v:?}")
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// JSON has no infinities or NaN, so values travel as numbers where they are finite and as text elsewhere.
impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { s.serialize_f64(self.0) } else { s.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Scalar, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::Number(v) => Ok(Scalar(v)),
            Form::Text(t) => match t.as_str() {
                "inf" => Ok(Scalar(f64::INFINITY)),
                "-inf" => Ok(Scalar(f64::NEG_INFINITY)),
                "nan" => Ok(Scalar(f64::NAN)),
                _ => Err(serde::de::Error::custom(format!("not a number: {t}"))),
            },
        }
    }
}
