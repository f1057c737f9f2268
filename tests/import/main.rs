//! Imported models as files of the language, and hostile files of both formats.
#![cfg(feature = "onnx")]

mod corpus;
mod digest;
mod documented;
mod encode;
mod mutations;
mod operators;
mod selection;
mod sizes;
mod written;
