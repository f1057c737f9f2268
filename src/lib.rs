//! Rectify: a graph compiler for rectifier neural networks.

pub mod data;
pub mod import;
