//! Operations that give an operand back unchanged. `canonicalise` and the algebra share this table.

use rectify_ir::Dim;
use rectify_ir::op::{Binary, Op, Padding, PoolAttrs, ResizeCoords, ResizeTarget, Unary};
use rectify_ir::types::TensorType;

/// The index of the operand that the (single) result of `op` equals, if there is one. `number` tells the value of an
/// operand all of whose elements are the same known number.
pub(crate) fn identity(
    op: &Op,
    operands: &[&TensorType],
    result: &TensorType,
    number: &dyn Fn(usize) -> Option<f64>,
) -> Option<usize> {
    let x = *operands.first()?;
    let nothing_done = match op {
        Op::Dropout { .. } | Op::Map => true,
        Op::Reshape { shape } => *shape == x.shape,
        Op::Transpose { perm } => perm.iter().enumerate().all(|(i, p)| i == *p),
        Op::Slice { steps, .. } => steps.iter().all(|s| *s == 1) && x == result,
        Op::Pad { pads, .. } => pads.iter().all(|p| *p == 0),
        Op::Concat { .. } => operands.len() == 1,
        Op::Split { sizes, .. } => sizes.len() == 1,
        Op::Resize(a) if matches!(a.coords, ResizeCoords::CropAndResize(_)) => false,
        Op::Resize(a) => match &a.target {
            ResizeTarget::Scales(s) => s.iter().all(|s| s.0 == 1.0),
            ResizeTarget::Sizes(s) => x.shape.get(2..) == Some(s),
            ResizeTarget::Both { sizes, scales } => {
                x.shape.get(2..) == Some(sizes) && scales.iter().all(|s| s.0 == 1.0)
            }
        },
        Op::MaxPool(pool) | Op::AvgPool { pool, .. } => is_pointwise(pool),
        Op::Reduce { axes, keep, .. } => {
            axes.is_empty() || (*keep && axes.iter().all(|a| x.shape.get(*a) == Some(&Dim::Const(1))))
        }
        Op::DepthToSpace { block, .. } => *block == 1,
        // Where the type stays.
        Op::Cast { .. } | Op::Expand { .. } => true,
        Op::Unary(Unary::LeakyRelu { alpha }) => alpha.0 == 1.0,
        Op::Unary(Unary::Clip { min, max }) => min.0 == f64::NEG_INFINITY && max.0 == f64::INFINITY,
        Op::Prelu { .. } => number(1) == Some(1.0),
        Op::Binary(b) => return neutral(*b, operands, result, number),
        Op::Unary(
            Unary::Relu
            | Unary::Sigmoid
            | Unary::Tanh
            | Unary::Exp
            | Unary::Log
            | Unary::Sqrt
            | Unary::Abs
            | Unary::Neg
            | Unary::Reciprocal
            | Unary::Erf
            | Unary::Gelu { .. }
            | Unary::Silu
            | Unary::HardSigmoid { .. }
            | Unary::HardSwish
            | Unary::Elu { .. }
            | Unary::Softplus
            | Unary::Floor
            | Unary::Ceil
            | Unary::Round
            | Unary::Sign
            | Unary::Not
            | Unary::Trig(_),
        )
        | Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::MaxPoolGrad(_)
        | Op::Dense
        | Op::MatMul
        | Op::Select
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. } => false,
    };
    (nothing_done && x == result).then_some(0)
}

/// A pool whose windows are single elements.
fn is_pointwise(pool: &PoolAttrs) -> bool {
    let unpadded = match &pool.pad {
        Padding::Explicit(p) => p.iter().all(|p| *p == 0),
        Padding::SameUpper | Padding::SameLower => true,
    };
    unpadded && pool.kernel.iter().chain(&pool.stride).all(|v| *v == 1)
}

/// x + 0, x - 0, x · 1, x / 1, x to the power of 1, where the number does not enlarge the result.
fn neutral(
    b: Binary,
    operands: &[&TensorType],
    result: &TensorType,
    number: &dyn Fn(usize) -> Option<f64>,
) -> Option<usize> {
    let (of, commutes) = match b {
        Binary::Add => (0.0, true),
        Binary::Sub | Binary::ShiftLeft | Binary::ShiftRight => (0.0, false),
        Binary::Mul => (1.0, true),
        Binary::Div | Binary::Pow => (1.0, false),
        Binary::Max
        | Binary::Min
        | Binary::Equal
        | Binary::Less
        | Binary::LessEqual
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::Rem => return None,
    };
    let keeps = |i: usize| operands.get(i).is_some_and(|t| *t == result);
    if number(1) == Some(of) && keeps(0) {
        return Some(0);
    }
    (commutes && number(0) == Some(of) && keeps(1)).then_some(1)
}
