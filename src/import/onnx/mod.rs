//! ONNX files: from the bytes of a model to a graph.
//!
//! The file is mapped and decoded without copying weights ([`OnnxModel::open`]). [`OnnxModel::import`] walks its nodes in
//! order and lowers each to the operations of the graph: `lower` has a function for every operator, `fold` evaluates
//! shape arithmetic on the way. Problems are collected, not thrown: a node that cannot be lowered poisons its results,
//! and the rest of the model is still checked.
//!
//! Where the values of a small input decide on shapes or attributes (a `Reshape` whose shape is an input), the import
//! says which values it needs, and succeeds when it is called again with them.

mod arithmetic;
mod attrs;
mod branch;
mod context;
mod declare;
mod external;
mod fold;
mod fold_moves;
mod import;
mod indices;
mod lower;
mod model;
mod opset;
mod problem;
mod proto;
mod scan;
mod sizes;
mod table;
mod tensor;
mod values;
mod versions;
mod weights;

pub use import::{Imported, Options};
pub use model::{LoadError, OnnxModel, read_tensor};
pub use problem::{Problem, ProblemKind, Problems};
pub use tensor::{RawTensor, TensorError};
pub use weights::OnnxWeights;

/// The operators of ONNX that are read, sorted by name, each with the operator sets in which its definition changed; 7,
/// the oldest that is read, stands for older ones too.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static [i64])> {
    lower::names().map(|name| (name, versions::versions(name)))
}

#[cfg(test)]
mod tests;
