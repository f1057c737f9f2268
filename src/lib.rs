//! Rectify: a graph compiler for rectifier neural networks.
//!
//! A model, written in a small language or dumped from it, becomes a typed graph; the graph is rewritten and fused; its
//! kernels are compiled to machine code for this CPU in milliseconds, and run on parameters that are drawn by He
//! initialisation or loaded.
//!
//! ```
//! use rectify::{Model, Tensor};
//!
//! let model = Model::parse(
//!     "rect 1
//!      model tiny(x: f32[N, 4]) -> (y: f32[N, 2]) {
//!          x |> dense(8) as hidden |> prelu as hidden |> dense(2) as head
//!      }",
//! )?;
//! let compiled = model.compiler().seed(7).threads(1).compile()?;
//! let x = Tensor::new([3, 4], vec![0.5f32; 12])?;
//! let outputs = compiled.run(&[("x", x.view())])?;
//! assert_eq!(outputs["y"].shape(), [3, 2]);
//!
//! println!("{}", compiled.graph()); // the optimised graph, which is a model again
//! # Ok::<(), rectify::Error>(())
//! ```
//!
//! | type | what it is |
//! |---|---|
//! | [`Model`] | a model as read: typed, nothing rewritten |
//! | [`Compiler`] | options: weights, seed, threads, target, sizes |
//! | [`Compiled`] | the optimised graph with code and parameters; `Send + Sync`, cheap to clone |
//! | [`Session`] | repeated runs without allocation |
//! | [`GraphBuilder`] | models from Rust code |
//! | [`Error`] | what went wrong, whose fault it is, and where |

pub mod compare;
mod compiled;
mod compiler;
#[cfg(feature = "onnx")]
pub mod conform;
pub mod cost;
pub mod data;
mod error;
pub mod evaluate;
mod idle;
pub mod import;
pub mod init;
pub mod lint;
pub mod listing;
pub mod machine;
mod meta;
mod model;
#[cfg(feature = "ndarray")]
pub mod nd;
#[cfg(feature = "onnx")]
mod onnx;
mod outputs;
mod reference;
mod session;
mod specialise;
pub mod train;
mod variants;
mod weights;

pub use compiled::Compiled;
pub use compiler::{AfterPass, Compiler, Precision, Rewritten, pass_names};
pub use data::DataError;
pub use error::{Error, Fault, Report};
pub use machine::TargetLevel;
pub use meta::{ParameterInfo, PortInfo};
pub use model::{Model, check_bytes, check_file, format_text};
pub use outputs::Outputs;
pub use rectify_ir::bind::{BindError, Bindings};
pub use rectify_ir::builder::GraphBuilder;
pub use rectify_ir::target::UnknownLevel;
pub use rectify_ir::{DType, Dim, Graph, NodeId, Op, TensorType, Value};
pub use rectify_ir::{builder, diag, dim, export, kernel, plan};
pub use rectify_passes::{Log, PassLog, Refusal};
pub use rectify_runtime::profile::StepTime;
pub use rectify_runtime::{Element, Pool, Tensor, TensorError, TensorView, TensorViewMut};
pub use session::Session;
pub use specialise::CompileTimes;

/// The table of operations: names, operands, attributes, and a line on each.
pub mod ops {
    pub use rectify_ir::op::table::{AttrKind, AttrSpec, Category, OPS, OpSpec, Operand, OperandKind, find};
}

/// The examples of the README run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So does the one of the guide to training.
#[cfg(doctest)]
#[doc = include_str!("../docs/training.md")]
struct TrainingGuide;
