//! Containers of tensors on disk, read from bytes in memory (often a mapped file): .npy, .npz and gzip.
//!
//! Every size in these files is checked before it is believed: a hostile file gives an error with the offset of the fault
//! and allocates nothing that its own length does not justify.

pub mod gzip;
pub mod npy;
pub mod zip;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {offset})")]
pub struct FormatError {
    pub offset: u64,
    pub message: String,
}

impl FormatError {
    pub fn new(offset: usize, message: impl Into<String>) -> FormatError {
        FormatError { offset: offset as u64, message: message.into() }
    }
}
