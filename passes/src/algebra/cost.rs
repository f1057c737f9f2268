//! What a term costs, on no machine in particular: work plus traffic, at hint sizes.
//!
//! The unit is one floating-point operation. A byte of memory traffic counts [`FLOPS_PER_BYTE`]; that is the ratio of
//! common CPU cores within a factor of two. An elementwise consumer that will be fused moves no bytes of its own. What
//! depends on parameters alone is done once, when weights are packed, and counts next to nothing.

use super::facts::Facts;
use rectify_ir::Dim;
use rectify_ir::dim::DimFacts;
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
use rectify_ir::types::TensorType;

/// 64 GFLOP/s against 10 GB/s.
const FLOPS_PER_BYTE: u64 = 6;

/// The size that a symbolic dimension is taken to have, if its facts allow.
const HINT: i64 = 64;

/// A size for every name: [`HINT`], moved to the nearest legal value.
fn hint(name: &str, dims: &DimFacts) -> i64 {
    let facts = dims.get(name);
    let (low, high) = (facts.min, facts.max.unwrap_or(i64::MAX).max(facts.min));
    let size = HINT.clamp(low, high);
    let up = size + (facts.remainder - size).rem_euclid(facts.modulus.max(1));
    if up <= high { up } else { size }
}

/// Number of elements at hint sizes.
fn elements(ty: &TensorType, dims: &DimFacts) -> u64 {
    ty.shape.iter().fold(1, |n: u64, d| n.saturating_mul(size(d, dims)))
}

fn size(dim: &Dim, dims: &DimFacts) -> u64 {
    dim.eval(&|name| Some(hint(name, dims))).ok().and_then(|v| u64::try_from(v).ok()).unwrap_or(1 << 20)
}

/// Bytes at hint sizes.
pub(crate) fn bytes(ty: &TensorType, dims: &DimFacts) -> u64 {
    elements(ty, dims).saturating_mul(ty.dtype.size_bytes() as u64)
}

/// The cost of `op` itself, without its operands.
pub(crate) fn cost(op: &Op, operands: &[&Facts], results: &[TensorType], dims: &DimFacts) -> u64 {
    let out = results.iter().fold(0u64, |n, ty| n.saturating_add(elements(ty, dims)));
    if operands.iter().all(|f| f.param_only) {
        return if matches!(op, Op::Const(_)) { 0 } else { 1u64.saturating_add(out >> 16) };
    }
    let written = results.iter().fold(0u64, |n, ty| n.saturating_add(bytes(ty, dims)));
    let read = operands.iter().fold(0u64, |n, f| n.saturating_add(bytes(&f.types[0], dims)));
    let traffic = written.saturating_add(read).saturating_mul(FLOPS_PER_BYTE);
    // Operands of a fused step beside the accumulator are still read.
    let others = read.saturating_sub(bytes(&operands[0].types[0], dims)).saturating_mul(FLOPS_PER_BYTE);
    let fused = |flops: u64| {
        let moves = if operands[0].uses <= 1 && !operands[0].is_output { others } else { traffic };
        out.saturating_mul(flops).saturating_add(moves)
    };
    let work = |flops_each: u64| out.saturating_mul(flops_each).saturating_add(traffic);
    match op {
        Op::Input | Op::Param(_) | Op::Const(_) => 0,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::ConvWeightGrad { .. } | Op::Dense | Op::MatMul => {
            work(contraction_flops(op, operands, results, dims))
        }
        Op::Unary(u) => fused(unary_flops(u)),
        Op::Binary(Binary::Pow) => fused(40),
        Op::Binary(_) | Op::Cast { .. } => fused(1),
        Op::Prelu { .. } | Op::Select => fused(2),
        Op::BatchNorm { .. } => fused(6),
        Op::LayerNorm { .. } | Op::InstanceNorm { .. } => work(8),
        Op::Softmax { .. } => work(24),
        Op::MaxPool(p) | Op::MaxPoolGrad(p) | Op::MaxPoolIndices(p) | Op::AvgPool { pool: p, .. } => {
            work(p.kernel.iter().fold(1u64, |n, k| n.saturating_mul(u64::try_from(*k).unwrap_or(1))))
        }
        Op::Spp { .. } => traffic.saturating_add(read),
        Op::Reduce {
            kind: ReduceKind::Sum | ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min | ReduceKind::Prod,
            ..
        } => traffic.saturating_add(read / 4),
        Op::Reshape { .. } | Op::Dropout { .. } | Op::Map => 1,
        Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::DepthToSpace { .. } => work(0),
        Op::Resize(_) => work(8),
        Op::ArgReduce { .. } => work(2),
        Op::ArgSort { .. } | Op::Cumulate { .. } | Op::NonZero | Op::NonMaxSuppression { .. } => work(16),
        Op::Cut { .. } => 0,
    }
}

/// Operations for each element of the result.
fn contraction_flops(op: &Op, operands: &[&Facts], results: &[TensorType], dims: &DimFacts) -> u64 {
    let weight = &operands[1].types[0];
    let all = elements(weight, dims);
    let outputs = if let Op::ConvTranspose(a) = op {
        // [C, O/g, k…]: each output element meets about one in stride² of the taps.
        let steps = a.stride.iter().fold(1u64, |n, s| n.saturating_mul(u64::try_from(*s).unwrap_or(1)));
        size(&weight.shape[1], dims).saturating_mul(steps.max(1)).saturating_mul(a.groups.max(1) as u64)
    } else if matches!(op, Op::MatMul) {
        results[0].shape.last().map_or(1, |d| size(d, dims))
    } else {
        weight.shape.first().map_or(1, |d| size(d, dims))
    };
    // A bias is where the accumulators start, so it is free.
    (2 * all.min(1 << 60) / outputs.max(1)).max(2)
}

fn unary_flops(u: &Unary) -> u64 {
    match u {
        Unary::Relu | Unary::Abs | Unary::Neg | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not => 1,
        Unary::LeakyRelu { .. } | Unary::Clip { .. } => 2,
        Unary::Sign => 4,
        Unary::HardSigmoid { .. } | Unary::HardSwish => 4,
        Unary::Sqrt | Unary::Reciprocal => 8,
        Unary::Sigmoid
        | Unary::Tanh
        | Unary::Exp
        | Unary::Log
        | Unary::Erf
        | Unary::Gelu { .. }
        | Unary::Silu
        | Unary::Elu { .. }
        | Unary::Trig(_)
        | Unary::Softplus => 24,
    }
}
