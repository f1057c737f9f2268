//! Types of tensors: an element type and a shape of symbolic dimensions.

use crate::dim::{Dim, DimError, DimFacts};
use crate::dtype::DType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// More dimensions than any supported operation takes.
pub const MAX_RANK: usize = 8;

/// The type of a tensor value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorType {
    pub dtype: DType,
    /// Row-major; outermost first. At most [`MAX_RANK`] entries.
    pub shape: Vec<Dim>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: impl Into<Vec<Dim>>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }

    /// An `f32` tensor.
    pub fn f32(shape: impl Into<Vec<Dim>>) -> TensorType {
        TensorType::new(DType::F32, shape)
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> Result<Dim, DimError> {
        Dim::product(&self.shape)
    }

    /// True where some size is known to be 0.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&Dim::Const(0))
    }

    /// The shape as plain sizes, if no dimension is symbolic.
    pub fn const_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|d| d.as_const().and_then(|c| usize::try_from(c).ok())).collect()
    }

    /// The type with names replaced by values.
    pub fn substitute(
        &self,
        lookup: &dyn Fn(&str) -> Option<Dim>,
        facts: &DimFacts,
    ) -> Result<TensorType, DimError> {
        let shape = self.shape.iter().map(|d| d.substitute(lookup, facts)).collect::<Result<_, _>>()?;
        Ok(TensorType { dtype: self.dtype, shape })
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, ShapeDisplay(&self.shape))
    }
}

/// Prints a shape as `[N, 3, H, W]`.
pub struct ShapeDisplay<'a>(pub &'a [Dim]);

impl fmt::Display for ShapeDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}
