//! Emitters: tile IR to machine code.
//!
//! [`cranelift`] serves every level with 128-bit vectors. An emitter with wider vectors has its place beside it:
//! whatever takes a [`crate::tile::Function`] and returns [`Code`].

pub mod cranelift;
pub mod listing;

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
}
