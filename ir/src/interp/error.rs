//! Why a graph cannot be evaluated on given inputs.

use crate::bind::BindError;
use crate::dim::Dim;
use crate::types::TensorType;
use crate::verify::Violation;

/// An evaluation that has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    #[error("the graph is not sound: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Invalid(Vec<Violation>),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the data of the input `{name}` does not fit its type {ty}")]
    InputData { name: String, ty: TensorType },
    #[error("the parameter `{name}`: {message}")]
    Param { name: String, message: String },
    #[error("{node} needs more memory than the limit of {limit} bytes")]
    Memory { node: String, limit: u64 },
    #[error("{node}: the size {size} would be {found}, which disagrees with what is known of it")]
    Size { node: String, size: Dim, found: i64 },
    #[error("division of an integer by zero")]
    DivisionByZero,
    /// Single nodes only: whole graphs are verified first.
    #[error("the operands do not fit the operation")]
    Kind,
}
