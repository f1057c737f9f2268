//! The machine of the Rectify compiler: parameters, memory, threads, sessions, and what this CPU is.
//!
//! Knows nothing of egg and of Cranelift's types.

pub mod arena;
mod build;
pub mod cpu;
pub mod denormals;
pub mod files;
pub mod heap;
pub mod packs;
mod pages;
pub mod pool;
pub mod profile;
pub mod rng;
pub mod session;
pub mod tensor;
pub mod weights;

pub use arena::{Arena, ArenaError};
pub use denormals::FlushDenormals;
pub use pool::{Place, Pool, RegionError};
pub use tensor::{Element, Tensor, TensorError, TensorView, TensorViewMut};
pub use weights::{LoadError, WeightFile, WeightTensor, WeightsError};
