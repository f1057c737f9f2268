//! Graph IR, model language, reference interpreter and plan of the Rectify compiler.
//!
//! This crate holds the nouns that the other crates share. It knows nothing of egg, Cranelift, files or threads.

pub mod bind;
pub mod builder;
pub mod diag;
pub mod dim;
pub mod dtype;
pub mod export;
pub mod graph;
pub mod init;
pub mod interp;
pub mod kernel;
pub mod lang;
pub mod literal;
pub mod op;
pub mod plan;
pub mod print;
pub mod scalar;
pub mod shape;
pub mod syntax;
pub mod target;
#[cfg(test)]
mod test_util;
#[doc(hidden)]
pub mod testing;
pub mod types;
pub mod verify;
pub use dim::{Dim, DimFacts};
pub use dtype::DType;
pub use graph::{Graph, NodeId, Value};
pub use op::Op;
pub use types::TensorType;
