//! Descriptors of the kernel families: what machine code can be asked for, as plain data.
//!
//! A descriptor holds exactly what the code depends on (tile, element type, which strides are one, the fused
//! elementwise program) and is the cache key of a kernel. Everything that differs between two layers using the
//! same code (extents, strides, offset tables) travels in the argument block at run time, so that a hundred
//! layers share a dozen kernels. `passes` selects and fills arguments with these types, `codegen` implements
//! them, `runtime` calls the result; none of them needs to know the others.
//!
//! # Calling convention
//!
//! ```text
//! extern "sysv64" fn(pointers: *const *mut u8, args: *const i64, begin: i64, end: i64, scratch: *mut u8)
//! ```
//!
//! * `pointers`: one per buffer operand. Pointer 0 is the output; the inputs follow in the order that
//!   [`Descriptor::pointers`] documents. All pointers are aligned to their elements.
//! * `args`: the argument block made by [`TileArgs::build`], [`WinogradArgs::build`],
//!   [`WinogradGradientArgs::build`], [`NestArgs::build`], [`SortArgs::build`] or [`SuppressionArgs::build`] for this
//!   descriptor.
//! * `begin..end`: the flat task range to do. Tasks are independent and write disjoint bytes; their number comes
//!   from the argument builder and never depends on the thread count, hence neither do the results.
//! * `scratch`: [`Args::scratch_bytes`](crate::plan::Args::scratch_bytes) bytes, 64-byte aligned, owned by the calling
//!   thread.
//!
//! Invariant: pure data and arithmetic. Nothing here knows of machine code, files or threads.

pub mod contract;
pub mod nest;
pub mod pack;
pub mod program;
pub mod reference;
pub mod sort;
pub mod special;
pub mod suppression;
mod tile_args;
pub mod tiles;
pub mod tiling;
pub mod window;
pub mod winograd;

pub use contract::{Contract, Tile};
pub use nest::{
    Access, Addressing, Compute, Nest, NestArgs, NestIndirect, NestOperand, NestStream, NestTable, Reduce,
    Vectorise,
};
pub use pack::{ChannelPack, PackFormat, SourceOrder, SumPack, WeightPack};
pub use program::{Binary, Constant, Program, Reg, Step, Unary};
pub use sort::{Sort, SortArgs};
pub use suppression::{Suppression, SuppressionArgs};
pub use tiles::{Operand, StepArgs, Store, Stream, TaskOrder, TileArgs};
pub use window::{Window, WindowOp, WindowRow};
pub use winograd::{Picked, Winograd, WinogradArgs, WinogradGradient, WinogradGradientArgs, WinogradPack};

use serde::{Deserialize, Serialize};
use std::fmt;

/// One kernel: the key under which its machine code is cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Descriptor {
    Contract(Contract),
    Window(Window),
    Winograd(Winograd),
    WinogradGradient(WinogradGradient),
    Nest(Nest),
    Sort(Sort),
    Suppression(Suppression),
}

/// Why a descriptor or an argument block is not legal. Always a fault of the compiler, never of its user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal kernel: {0}")]
pub struct Illegal(pub String);

/// The bytes of one pointer that a call over all tasks may touch, relative to the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index into the pointer array.
    pub pointer: usize,
    /// First byte touched.
    pub low_bytes: i64,
    /// One past the last byte touched, over-reads included.
    pub high_bytes: i64,
    pub writes: bool,
}

/// A rough, machine-free estimate of the work of one call over all tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Executed floating-point operations, padding included; a multiply-add counts two.
    pub flops: u64,
    /// Bytes of distinct operands read and results written.
    pub bytes: u64,
}

impl Descriptor {
    /// Checks every invariant that the generators rely on.
    pub fn validate(&self) -> Result<(), Illegal> {
        match self {
            Descriptor::Contract(kernel) => kernel.validate(),
            Descriptor::Window(kernel) => kernel.validate(),
            Descriptor::Winograd(kernel) => kernel.validate(),
            Descriptor::WinogradGradient(kernel) => kernel.validate(),
            Descriptor::Nest(kernel) => kernel.validate(),
            Descriptor::Sort(kernel) => kernel.validate(),
            Descriptor::Suppression(kernel) => kernel.validate(),
        }
    }

    /// Rounds the constants of kernels of f32 to what these compute with, so that equal code has equal keys.
    pub fn round_constants(&mut self) {
        match self {
            Descriptor::Contract(kernel) => kernel.epilogue.round_constants(),
            Descriptor::Window(kernel) => kernel.epilogue.round_constants(),
            Descriptor::Winograd(kernel) => kernel.epilogue.round_constants(),
            Descriptor::Nest(kernel) if kernel.compute == Compute::F32 => {
                kernel.body.round_constants();
                kernel.finalize.round_constants();
            }
            Descriptor::Nest(_)
            | Descriptor::WinogradGradient(_)
            | Descriptor::Sort(_)
            | Descriptor::Suppression(_) => {}
        }
    }

    /// Names of the entries of the pointer array, in order.
    pub fn pointers(&self) -> Vec<String> {
        match self {
            Descriptor::Contract(kernel) => kernel.pointers(),
            Descriptor::Window(kernel) => kernel.pointers(),
            Descriptor::Winograd(kernel) => kernel.pointers(),
            Descriptor::WinogradGradient(kernel) => kernel.pointers(),
            Descriptor::Nest(kernel) => kernel.pointers(),
            Descriptor::Sort(kernel) => kernel.pointers(),
            Descriptor::Suppression(kernel) => kernel.pointers(),
        }
    }

    /// Bytes of thread scratch that a call needs, those that depend on arguments apart.
    pub fn scratch_bytes(&self) -> usize {
        match self {
            Descriptor::Contract(kernel) => kernel.scratch_bytes(),
            Descriptor::Window(kernel) => kernel.scratch_bytes(),
            Descriptor::Winograd(kernel) => kernel.scratch_bytes(),
            Descriptor::WinogradGradient(kernel) => kernel.scratch_bytes(),
            Descriptor::Nest(kernel) => kernel.scratch_bytes(),
            Descriptor::Sort(_) | Descriptor::Suppression(_) => 0,
        }
    }

    /// Bytes past the last element of an input that a call may read (never write).
    /// The values read there never reach a stored result.
    pub fn over_read_bytes(&self) -> usize {
        match self {
            Descriptor::Contract(kernel) => kernel.over_read_bytes(),
            Descriptor::Window(kernel) => kernel.over_read_bytes(),
            Descriptor::Winograd(kernel) => kernel.over_read_bytes(),
            Descriptor::WinogradGradient(_) => 0,
            Descriptor::Nest(kernel) => kernel.over_read_bytes(),
            Descriptor::Sort(_) | Descriptor::Suppression(_) => 0,
        }
    }

    /// Vector lanes the code is made for.
    pub fn lanes(&self) -> u8 {
        match self {
            Descriptor::Contract(kernel) => kernel.lanes,
            Descriptor::Window(kernel) => kernel.lanes,
            Descriptor::Winograd(kernel) => kernel.lanes,
            Descriptor::WinogradGradient(kernel) => kernel.lanes,
            Descriptor::Nest(kernel) => kernel.lanes,
            Descriptor::Sort(_) | Descriptor::Suppression(_) => 4,
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Descriptor::Contract(kernel) => kernel.fmt(f),
            Descriptor::Window(kernel) => kernel.fmt(f),
            Descriptor::Winograd(kernel) => kernel.fmt(f),
            Descriptor::WinogradGradient(kernel) => kernel.fmt(f),
            Descriptor::Nest(kernel) => kernel.fmt(f),
            Descriptor::Sort(kernel) => kernel.fmt(f),
            Descriptor::Suppression(kernel) => kernel.fmt(f),
        }
    }
}

impl From<Contract> for Descriptor {
    fn from(kernel: Contract) -> Self {
        Descriptor::Contract(kernel)
    }
}

impl From<Window> for Descriptor {
    fn from(kernel: Window) -> Self {
        Descriptor::Window(kernel)
    }
}

impl From<Winograd> for Descriptor {
    fn from(kernel: Winograd) -> Self {
        Descriptor::Winograd(kernel)
    }
}

impl From<WinogradGradient> for Descriptor {
    fn from(kernel: WinogradGradient) -> Self {
        Descriptor::WinogradGradient(kernel)
    }
}

impl From<Sort> for Descriptor {
    fn from(kernel: Sort) -> Self {
        Descriptor::Sort(kernel)
    }
}

impl From<Suppression> for Descriptor {
    fn from(kernel: Suppression) -> Self {
        Descriptor::Suppression(kernel)
    }
}

impl From<Nest> for Descriptor {
    fn from(kernel: Nest) -> Self {
        Descriptor::Nest(kernel)
    }
}

/// Returns `Err(Illegal)` with a formatted message unless the condition holds.
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::kernel::Illegal(format!($($message)+)));
        }
    };
}
pub(crate) use require;
