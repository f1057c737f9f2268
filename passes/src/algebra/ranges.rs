//! Values and ranges of results from those of operands.
//!
//! Ranges bound the elements that are not NaN, in exact arithmetic; rules use them for signs and bounds that rounding
//! keeps (0, and numbers that bound both operands).

use super::facts::Facts;
use rectify_ir::interp::{apply_binary, apply_unary, prelu};
use rectify_ir::op::{Binary, BinaryKind, Op, PadMode, ReduceKind, Unary};

/// The value of all elements, if those of the operands are known and equal.
pub(super) fn value(op: &Op, args: &[&Facts]) -> Option<f64> {
    let first = args.first().and_then(|f| f.value);
    match op {
        Op::Const(c) => Some(c.0),
        // A value is a number of the language, which bool has none of.
        Op::Unary(Unary::Not) => None,
        Op::Unary(u) => Some(apply_unary(u, first?)),
        Op::Binary(b) if b.kind() != BinaryKind::Arithmetic => None,
        Op::Binary(b) => Some(apply_binary(*b, first?, args[1].value?)),
        Op::Prelu { .. } => Some(prelu(first?, args[1].value?)),
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::Dropout { .. }
        | Op::Map
        | Op::Reduce { kind: ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min, .. } => first,
        Op::Reduce { kind: ReduceKind::Sum, .. } => first.filter(|v| *v == 0.0),
        Op::Reduce { kind: ReduceKind::Prod, .. } => first.filter(|v| *v == 0.0 || *v == 1.0),
        Op::Select => args[1].value.filter(|v| args[2].value == Some(*v)),
        Op::Concat { .. } => args.iter().all(|f| f.value == first).then_some(first)?,
        Op::Input
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::Param(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::Dense
        | Op::MatMul
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::MaxPool(_)
        | Op::MaxPoolGrad(_)
        | Op::AvgPool { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. }
        | Op::Cast { .. }
        | Op::Split { .. }
        | Op::Pad { .. }
        | Op::DepthToSpace { .. }
        | Op::Resize(_) => None,
    }
}

type Range = (f64, f64);

/// Bounds of the result.
pub(super) fn range(op: &Op, args: &[&Facts]) -> Option<Range> {
    let x = args.first().and_then(|f| f.range);
    let range = match op {
        Op::Const(c) => Some((c.0, c.0)),
        Op::Unary(u) => unary_range(u, x),
        Op::Binary(b) => binary_range(*b, x?, args[1].range?),
        Op::Prelu { .. } => x.filter(|(low, _)| *low >= 0.0),
        Op::Softmax { .. } => Some((0.0, 1.0)),
        Op::MaxPool(_)
        | Op::Spp { .. }
        | Op::Reduce { kind: ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min, .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::DepthToSpace { .. }
        | Op::Resize(_)
        | Op::Dropout { .. }
        | Op::Map => x,
        // Padding may count as zeros.
        Op::AvgPool { .. } => x.map(|r| hull(r, (0.0, 0.0))),
        Op::Pad { mode: PadMode::Constant(c), .. } => x.map(|r| hull(r, (c.0, c.0))),
        Op::Pad { mode: PadMode::Reflect | PadMode::Edge | PadMode::Wrap, .. } => x,
        Op::Reduce { kind: ReduceKind::Sum, .. } => {
            x.filter(|(low, _)| *low >= 0.0).map(|_| (0.0, f64::INFINITY))
        }
        Op::Select => args[1].range.zip(args[2].range).map(|(a, b)| hull(a, b)),
        Op::Concat { .. } => args.iter().try_fold(x?, |hulled, f| f.range.map(|r| hull(hulled, r))),
        Op::Input
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::Param(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::Dense
        | Op::MatMul
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::Cast { .. }
        | Op::MaxPoolGrad(_)
        | Op::Reduce { kind: ReduceKind::Prod, .. } => None,
    };
    range.filter(|(low, high)| low <= high)
}

fn hull(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

fn unary_range(u: &Unary, x: Option<Range>) -> Option<Range> {
    let all = (f64::NEG_INFINITY, f64::INFINITY);
    let (low, high) = x.unwrap_or(all);
    match u {
        Unary::Relu => Some((low.max(0.0), high.max(0.0))),
        Unary::LeakyRelu { .. } => x.filter(|(low, _)| *low >= 0.0),
        Unary::Clip { min, max } if min.0 <= max.0 => {
            Some((low.clamp(min.0, max.0), high.clamp(min.0, max.0)))
        }
        Unary::Clip { .. } => None,
        Unary::Sigmoid | Unary::HardSigmoid { .. } => Some((0.0, 1.0)),
        Unary::Tanh | Unary::Erf => Some((-1.0, 1.0)),
        Unary::Exp | Unary::Softplus | Unary::Sqrt => Some((0.0, f64::INFINITY)),
        Unary::Abs if low >= 0.0 => Some((low, high)),
        Unary::Abs => Some((0.0, low.abs().max(high.abs()))),
        Unary::Neg => x.map(|(l, h)| (-h, -l)),
        Unary::Reciprocal => x.filter(|(l, _)| *l > 0.0).map(|(l, h)| (1.0 / h, 1.0 / l)),
        Unary::Floor => x.map(|(l, h)| (l.floor(), h.floor())),
        Unary::Ceil => x.map(|(l, h)| (l.ceil(), h.ceil())),
        Unary::Round => x.map(|(l, h)| (l.round_ties_even(), h.round_ties_even())),
        Unary::Sign => Some((-1.0, 1.0)),
        Unary::Not => None,
        Unary::Trig(f) => f.range(),
        Unary::Log | Unary::Gelu { .. } | Unary::Silu | Unary::HardSwish | Unary::Elu { .. } => None,
    }
}

fn binary_range(b: Binary, (a, c): Range, (d, e): Range) -> Option<Range> {
    let corners = |all: [f64; 4]| {
        let known = all.iter().all(|v| !v.is_nan());
        known.then(|| {
            (
                all.iter().copied().fold(f64::INFINITY, f64::min),
                all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            )
        })
    };
    match b {
        Binary::Add => corners([a + d, a + d, c + e, c + e]),
        Binary::Sub => corners([a - e, a - e, c - d, c - d]),
        Binary::Mul if a >= 0.0 && d >= 0.0 => {
            // 0 · inf is NaN, which the range leaves out.
            let high = if c == 0.0 || e == 0.0 { f64::INFINITY } else { c * e };
            Some((if a == 0.0 || d == 0.0 { 0.0 } else { a * d }, high))
        }
        Binary::Mul => corners([a * d, a * e, c * d, c * e]),
        Binary::Div if a >= 0.0 && d >= 0.0 => Some((0.0, f64::INFINITY)),
        Binary::Max => Some((a.max(d), c.max(e))),
        Binary::Min => Some((a.min(d), c.min(e))),
        Binary::Div
        | Binary::Pow
        | Binary::Equal
        | Binary::Less
        | Binary::LessEqual
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::Rem
        | Binary::ShiftLeft
        | Binary::ShiftRight => None,
    }
}
