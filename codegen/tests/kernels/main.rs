//! Kernels of every family: the tile interpreter, machine code at each level, and naive references must agree.

mod common;
mod levels;
mod math;
mod nests;
mod scalars;
mod tiles;
mod winograd;
mod winograd_gradient;
