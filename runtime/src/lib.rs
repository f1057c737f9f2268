//! The machine of the Rectify compiler: parameters, memory, threads, sessions, and what this CPU is.
//!
//! Knows nothing of egg and of Cranelift's types.

pub mod rng;
