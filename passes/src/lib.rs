//! Rewrites, fusion, layout, scheduling and memory planning of the Rectify compiler.
//!
//! [`pipeline`] is the one list of passes on the symbolic graph; each pass is a file of the same name. `passes` knows
//! nothing of machine code or threads; it meets `codegen` in the plan and in the kernel descriptors.

pub mod algebra;
mod canonicalise;
mod cleanup;
mod decompose;
mod edit;
mod fold_constants;
mod fold_init;
mod fuse_epilogues;
pub mod gradient;
mod identities;
pub mod init_analysis;
pub mod log;
pub mod lower;
pub mod moments;
mod pieces;
pub mod pipeline;
mod sink_cuts;
pub mod training;

pub use init_analysis::{InitReport, InitWarning, explain_init};
pub use log::{Log, PassLog, Reason, Refusal};
pub use lower::{ConvPolicy, LowerError, lower, lower_with};
pub use pipeline::{Optimized, Options, PASSES, ParamValues, PassError, optimize};
