//! Tile IR, kernel generators and the Cranelift JIT of the Rectify compiler.
//!
//! The way of a kernel: a descriptor (`rectify_ir::kernel`) goes through its generator in [`kernels`] to [`tile`]
//! IR, through an emitter in [`emit`] to machine code, and [`jit`] makes it callable.
//!
//! Knows nothing of graphs, plans, sessions, files or egg. No type of Cranelift appears in a public signature.

pub mod emit;
pub mod jit;
pub mod kernels;
pub mod tile;
