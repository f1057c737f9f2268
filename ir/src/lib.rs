//! Graph IR, model language, reference interpreter and plan of the Rectify compiler.
//!
//! This crate holds the nouns that the other crates share. It knows nothing of egg, Cranelift, files or threads.

pub mod dim;
pub mod dtype;
pub mod types;
