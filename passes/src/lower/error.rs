//! Why a graph has no plan.

use super::limits::{MAX_TABLE, MAX_TENSOR_BYTES};
use rectify_ir::DType;

/// A graph that cannot be lowered. `Illegal` is a fault of the compiler; the others name what the model has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    #[error("{node} has the shape {shape}: bind its sizes first")]
    Unbound { node: String, shape: String },
    #[error("{node} has elements of type {dtype}, of which {op} cannot be compiled yet")]
    ElementType { node: String, op: &'static str, dtype: DType },
    #[error("{node}: there is no {function} of {dtype} yet")]
    Function { node: String, function: String, dtype: DType },
    #[error(
        "{node} of shape {shape:?} is too large: a tensor may have {} GiB; make batches or images smaller",
        MAX_TENSOR_BYTES >> 30
    )]
    TooLarge { node: String, shape: Vec<i64> },
    /// Tables of offsets run along it, or each element of the result is a sum of so many.
    #[error("{node} walks along {length} elements, more than {MAX_TABLE}: cut the axis into parts")]
    TooLong { node: String, length: i64 },
    #[error("{node}: {op} of {operands} to {result} cannot be compiled: {reason}")]
    Unsupported { node: String, op: &'static str, operands: String, result: String, reason: String },
    #[error("{node}: the planner made an illegal kernel `{kernel}`: {reason}")]
    Illegal { node: String, kernel: String, reason: String },
}
