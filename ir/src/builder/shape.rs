//! Shapes as Rust code writes them.

use crate::dim::{Dim, DimError};
use crate::op::AttrValue;

/// What can be given as a shape.
pub trait IntoShape {
    fn into_shape(self) -> Result<Vec<Dim>, DimError>;
}

/// Sizes separated by commas: `"N, 3, H, 2*W"`. Nothing for a number of rank 0.
impl IntoShape for &str {
    fn into_shape(self) -> Result<Vec<Dim>, DimError> {
        if self.trim().is_empty() {
            return Ok(vec![]);
        }
        self.split(',').map(|d| Dim::parse(d.trim())).collect()
    }
}

impl<const N: usize> IntoShape for [i64; N] {
    fn into_shape(self) -> Result<Vec<Dim>, DimError> {
        Ok(self.into_iter().map(Dim::Const).collect())
    }
}

impl<const N: usize> IntoShape for [Dim; N] {
    fn into_shape(self) -> Result<Vec<Dim>, DimError> {
        Ok(self.into())
    }
}

impl IntoShape for Vec<Dim> {
    fn into_shape(self) -> Result<Vec<Dim>, DimError> {
        Ok(self)
    }
}

impl IntoShape for &[Dim] {
    fn into_shape(self) -> Result<Vec<Dim>, DimError> {
        Ok(self.to_vec())
    }
}

impl From<i64> for AttrValue {
    fn from(v: i64) -> AttrValue {
        AttrValue::Int(v)
    }
}

impl From<f64> for AttrValue {
    fn from(v: f64) -> AttrValue {
        AttrValue::Float(v)
    }
}

impl From<bool> for AttrValue {
    fn from(v: bool) -> AttrValue {
        AttrValue::Bool(v)
    }
}

/// A word such as `same` or `linear`.
impl From<&str> for AttrValue {
    fn from(v: &str) -> AttrValue {
        AttrValue::Word(v.to_string())
    }
}

impl From<Dim> for AttrValue {
    fn from(v: Dim) -> AttrValue {
        AttrValue::Dim(v)
    }
}

impl<V: Into<AttrValue>, const N: usize> From<[V; N]> for AttrValue {
    fn from(v: [V; N]) -> AttrValue {
        AttrValue::List(v.into_iter().map(Into::into).collect())
    }
}

impl<V: Into<AttrValue>> From<Vec<V>> for AttrValue {
    fn from(v: Vec<V>) -> AttrValue {
        AttrValue::List(v.into_iter().map(Into::into).collect())
    }
}
