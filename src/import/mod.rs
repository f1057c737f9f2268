//! Models in other formats: each submodule turns one into a graph.

#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "onnx")]
pub mod rect;
