//! The plan: a graph at known sizes on a known machine, as buffers and ordered kernel calls.
//!
//! The second IR, after [`Graph`](crate::graph::Graph). `passes` makes it, `codegen` turns its kernels into machine
//! code, `runtime` executes its steps. Layouts, algorithms, memory and the division of work live here and nowhere else.
//! A plan depends on the graph, the specialisation key and the target's name and tables, never on the thread count.

mod access;
mod display;
mod json;
pub mod testing;
mod verify;
mod words;

pub use access::{Access, Bytes, Run, accesses};
pub use json::{JsonError, VERSION};
pub use verify::{Violation, verify, verify_order, verify_parts};

use crate::dtype::DType;
use crate::graph::{NodeId, Value};
use crate::kernel::{
    Cost, Descriptor, Illegal, NestArgs, PackFormat, SortArgs, Span, SuppressionArgs, TileArgs, WinogradArgs,
    WinogradGradientArgs,
};
use crate::literal::Literal;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Index of a buffer in [`Plan::buffers`]; prints as `b7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BufferId(pub u32);

/// Index of a pack in [`Plan::packs`]; prints as `p7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackId(pub u32);

/// Index of a kernel in [`Plan::kernels`]; prints as `k7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelId(pub u32);

/// A model at one specialisation key for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub model: String,
    pub target: Target,
    /// Values of the dimension names: the specialisation key.
    pub bindings: BTreeMap<String, i64>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub buffers: Vec<Buffer>,
    pub packs: Vec<Pack>,
    /// Each descriptor once.
    pub kernels: Vec<Descriptor>,
    pub steps: Vec<Step>,
    /// Bytes of the arena: the end of its last buffer.
    pub arena_bytes: usize,
    /// Most bytes alive at one step: no plan with these steps has a smaller arena.
    pub arena_lower_bound_bytes: usize,
    /// Scratch bytes that each thread needs: the most over all steps.
    pub scratch_bytes: usize,
}

/// An input or an output of the model, row-major in the caller's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub buffer: BufferId,
    /// Of an output: the axes along which only a part counts, known when the plan has run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<PortCut>,
}

/// An axis of which only the first elements count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCut {
    pub axis: u32,
    /// Index into [`Plan::outputs`]: one number of i64, how many elements count. It is one of those behind the model's own.
    pub count: u32,
}

/// A range of bytes that steps read and write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    pub place: Place,
    pub bytes: usize,
    /// What it holds, for people: the value's label, shape and layout.
    pub about: String,
}

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The caller's memory of input i of [`Plan::inputs`]. Read only.
    Input(u32),
    /// The caller's memory of output i of [`Plan::outputs`].
    Output(u32),
    /// At this offset in the session's arena, a multiple of 64. Buffers that are never alive together may overlap.
    Arena { offset_bytes: usize },
    /// A packed parameter, shared between sessions and specialisations. Read only.
    Pack(PackId),
}

/// A parameter, or a value derived from parameters, in the form that kernels read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    pub source: PackSource,
    pub format: PackFormat,
    /// Identifies the values before packing: equal keys are equal values whatever the specialisation.
    /// A source's full name, a derivation's text over full names, or a literal's hash.
    pub key: String,
    pub bytes: usize,
}

/// What is packed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackSource {
    /// A value of the bound graph that depends on parameters only.
    Value(Value),
    /// A table that the planner made.
    Literal(Literal),
}

/// One kernel call over all its tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub kernel: KernelId,
    /// Label of the node that the step works for, e.g. `enc1.body.a`.
    pub label: String,
    /// The node in the bound graph.
    pub node: NodeId,
    /// One per pointer of the kernel.
    pub pointers: Vec<Pointer>,
    pub args: Args,
    /// All earlier steps must have finished. Without it, the step touches no byte that a step since the last barrier
    /// writes, and writes none that such a step reads.
    pub barrier: bool,
    pub cost: Cost,
    /// Multiply-adds of the operation itself, without padding: what "effective" GFLOP/s count.
    pub multiply_adds: u64,
    /// Where there was a choice of algorithms: all of them, the chosen one first.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

/// An algorithm that could compute a convolution or a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Sums over taps and input channels, lanes being output channels.
    Direct,
    /// The same sums with lanes of input channels, folded at the end.
    Dot,
    /// A transposed convolution as one convolution whose channels are all places of the stride's block.
    Folded,
    /// Winograd's F(2x2, 3x3).
    WinogradF2,
    /// Winograd's F(4x4, 3x3).
    WinogradF4,
}

/// An algorithm with what the cost model says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub algorithm: Algorithm,
    /// Estimated time on one core of the target.
    pub nanoseconds: u64,
    /// Why it is out of the question whatever it costs.
    pub refusal: Option<String>,
}

/// A kernel's pointer argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    pub buffer: BufferId,
    pub offset_bytes: i64,
}

/// Arguments of a step's kernel, before they become a block of integers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Args {
    /// Of a `Contract` or a `Window`.
    Tile(TileArgs),
    Winograd(WinogradArgs),
    WinogradGradient(WinogradGradientArgs),
    Nest(NestArgs),
    Sort(SortArgs),
    Suppression(SuppressionArgs),
}

impl Args {
    /// The argument block for a kernel of this descriptor.
    pub fn build(&self, kernel: &Descriptor) -> Result<Vec<i64>, Illegal> {
        match (self, kernel) {
            (Args::Tile(args), Descriptor::Contract(k)) => args.build(&k.shape()),
            (Args::Tile(args), Descriptor::Window(k)) => args.build(&k.shape()),
            (Args::Winograd(args), Descriptor::Winograd(k)) => args.build(k),
            (Args::WinogradGradient(args), Descriptor::WinogradGradient(k)) => args.build(k),
            (Args::Nest(args), Descriptor::Nest(k)) => args.build(k),
            (Args::Sort(args), Descriptor::Sort(_)) => args.build(),
            (Args::Suppression(args), Descriptor::Suppression(_)) => args.build(),
            (
                Args::Tile(_)
                | Args::Winograd(_)
                | Args::WinogradGradient(_)
                | Args::Nest(_)
                | Args::Sort(_)
                | Args::Suppression(_),
                _,
            ) => Err(Illegal(format!("arguments of another family for {kernel}"))),
        }
    }

    /// Number of independent tasks of the call.
    pub fn tasks(&self, kernel: &Descriptor) -> i64 {
        match (self, kernel) {
            (Args::Tile(args), Descriptor::Contract(k)) => args.tasks(&k.shape()),
            (Args::Tile(args), Descriptor::Window(k)) => args.tasks(&k.shape()),
            (Args::Winograd(args), Descriptor::Winograd(k)) => args.tasks(k),
            (Args::WinogradGradient(args), Descriptor::WinogradGradient(k)) => args.tasks(k),
            (Args::Nest(args), Descriptor::Nest(k)) => args.tasks(k),
            (Args::Sort(args), Descriptor::Sort(_)) => args.tasks(),
            (Args::Suppression(args), Descriptor::Suppression(_)) => args.tasks(),
            (
                Args::Tile(_)
                | Args::Winograd(_)
                | Args::WinogradGradient(_)
                | Args::Nest(_)
                | Args::Sort(_)
                | Args::Suppression(_),
                _,
            ) => 0,
        }
    }

    /// Bytes of thread scratch that the call needs.
    pub fn scratch_bytes(&self, kernel: &Descriptor) -> usize {
        match (self, kernel) {
            (Args::Winograd(args), Descriptor::Winograd(k)) => args.scratch_bytes(k),
            (Args::WinogradGradient(args), Descriptor::WinogradGradient(k)) => args.scratch_bytes(k),
            (Args::Sort(args), Descriptor::Sort(_)) => args.scratch_bytes(),
            (Args::Suppression(args), Descriptor::Suppression(_)) => args.scratch_bytes(),
            (
                Args::Tile(_)
                | Args::Winograd(_)
                | Args::WinogradGradient(_)
                | Args::Nest(_)
                | Args::Sort(_)
                | Args::Suppression(_),
                _,
            ) => kernel.scratch_bytes(),
        }
    }

    /// The bytes that the call touches, relative to its pointers.
    pub fn spans(&self, kernel: &Descriptor) -> Vec<Span> {
        match (self, kernel) {
            (Args::Tile(args), Descriptor::Contract(k)) => args.spans(&k.shape()),
            (Args::Tile(args), Descriptor::Window(k)) => k.spans(args),
            (Args::Winograd(args), Descriptor::Winograd(k)) => args.spans(k),
            (Args::WinogradGradient(args), Descriptor::WinogradGradient(k)) => args.spans(k),
            (Args::Nest(args), Descriptor::Nest(k)) => args.spans(k),
            (Args::Sort(args), Descriptor::Sort(k)) => args.spans(k),
            (Args::Suppression(args), Descriptor::Suppression(_)) => args.spans(),
            (
                Args::Tile(_)
                | Args::Winograd(_)
                | Args::WinogradGradient(_)
                | Args::Nest(_)
                | Args::Sort(_)
                | Args::Suppression(_),
                _,
            ) => vec![],
        }
    }
}

impl Plan {
    /// The buffer. Panics for an id of another plan: a bug of the caller.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0 as usize]
    }

    pub fn kernel(&self, id: KernelId) -> &Descriptor {
        &self.kernels[id.0 as usize]
    }

    pub fn pack(&self, id: PackId) -> &Pack {
        &self.packs[id.0 as usize]
    }

    /// Bytes of all packed parameters.
    pub fn weight_bytes(&self) -> usize {
        self.packs.iter().map(|p| p.bytes).sum()
    }
}
