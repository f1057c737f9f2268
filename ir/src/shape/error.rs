//! Why an operation does not apply to its operands.

use crate::dim::DimError;
use crate::types::TensorType;
use std::fmt;

/// An operation that cannot take its operands. Says what was expected, shows the shapes, offers a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// A sentence without the final stop; names the operation and the sizes that disagree.
    pub message: String,
    /// The tensors involved, under the names of the operation table.
    pub shapes: Vec<(String, TensorType)>,
    /// What to write instead.
    pub help: Option<String>,
}

impl ShapeError {
    pub fn new(message: impl Into<String>) -> ShapeError {
        ShapeError { message: message.into(), shapes: Vec::new(), help: None }
    }

    /// Shows one more tensor.
    pub fn show(mut self, name: impl Into<String>, ty: &TensorType) -> ShapeError {
        self.shapes.push((name.into(), ty.clone()));
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> ShapeError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (i, (name, ty)) in self.shapes.iter().enumerate() {
            write!(f, "{} {name} is {ty}", if i == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for ShapeError {}

impl From<DimError> for ShapeError {
    fn from(e: DimError) -> ShapeError {
        ShapeError::new(e.to_string())
    }
}
