//! Emitters: tile IR to machine code.
//!
//! [`cranelift`] serves every level with 128-bit vectors, [`wide`] AVX2 and AVX-512 with whole ones; which of them is
//! told by the function's lanes. Both take a [`crate::tile::Function`] and return [`Code`].

pub mod cranelift;
pub mod listing;
pub mod wide;

use crate::tile::Function;
use rectify_ir::target::Target;

/// Machine code of a tile function, by the emitter for its lanes.
pub fn emit(function: &Function, target: &Target) -> Result<Code, EmitError> {
    match function.lanes {
        4 => cranelift::emit(function, target),
        _ => wide::emit(function, target),
    }
}

/// Position-independent machine code of one function, entered at its first byte.
#[derive(Clone, Debug)]
pub struct Code {
    pub bytes: Vec<u8>,
    /// Power of two.
    pub alignment: u64,
}

/// An emitter's refusal; always a fault of the compiler.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EmitError {
    #[error("no code for {0}")]
    Unsupported(String),
    #[error("{0}")]
    Violation(#[from] crate::tile::verify::Violation),
    #[error("Cranelift: {0}")]
    Cranelift(String),
    #[error("encoding: {0}")]
    Encoding(String),
}
