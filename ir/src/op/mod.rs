//! The closed set of operations.
//!
//! Attributes mean what ONNX's mean unless a comment says otherwise. Match `Op` exhaustively: a new operation then
//! lists its own places to fill (see `docs/adding-an-op.md`). Names, operands and attributes of each operation stand
//! once, in [`table`]; shape rules in `crate::shape`; meaning in `crate::interp`.

mod attrs;
mod elementwise;
pub mod table;
mod trig;

pub use attrs::{AttrError, AttrValue, Attrs};
pub use elementwise::{Binary, BinaryKind, Unary};
pub use table::{AttrKind, AttrSpec, Category, OpSpec, Operand, OperandKind};
pub use trig::Trig;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::init::Init;
use crate::literal::Literal;
use crate::scalar::Scalar;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An operation with its attributes. Operands are held by the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A model input; its type is the node's.
    Input,
    /// A parameter; its full name is the node's name.
    Param(Source),
    /// A number of rank 0.
    Const(Scalar),

    /// `x [N, C, …], weight [O, C/groups, …kernel], bias [O]? → [N, O, …]`
    Conv(ConvAttrs),
    /// `x [N, C, …], weight [C, O/groups, …kernel], bias [O]? → [N, O, …]`
    ConvTranspose(ConvTransposeAttrs),
    /// The gradient of a convolution's weight: `x [N, C, …], g [N, O, …] → [O, C/groups, …kernel]`, where
    /// `w[o, c, t] = Σ g[n, o, p] · x[n, c, p · stride + t · dilation − pad]` over images n and places p of g.
    ConvWeightGrad {
        conv: ConvAttrs,
        kernel: Vec<i64>,
    },
    /// `x […, I], weight [O, I], bias [O]? → […, O]`
    Dense,
    /// a […, M, K], b […, K, N] → […, M, N], leading dims broadcast; rank-1 operands as in numpy.
    MatMul,

    /// One function on every element.
    Unary(Unary),
    /// One function on pairs of elements, broadcast as in numpy.
    Binary(Binary),
    /// condition of bool, a, b → where the condition holds a, else b; broadcast as in numpy.
    Select,
    /// The elements as another type: to integers cut towards zero and wrapped to the width, to bool `x ≠ 0`.
    Cast {
        to: DType,
    },
    /// `x > 0 ? x : slope · x`; dim i of the slope runs along axis `axes[i]` of x and is 1 or that axis' size.
    Prelu {
        axes: Vec<usize>,
    },

    /// `x [N, C, …], scale, shift, mean, var [C]` → (x - mean) / sqrt(var + eps) · scale + shift
    BatchNorm {
        eps: Scalar,
    },
    /// x, scale, shift? of the shape x[axis..]: normalised over the axes from `axis` on.
    LayerNorm {
        axis: usize,
        eps: Scalar,
    },
    /// `x [N, C, …], scale, shift [C]`: normalised over the spatial axes of each image and channel.
    InstanceNorm {
        eps: Scalar,
    },

    MaxPool(PoolAttrs),
    /// The gradient of a max-pool's operand: x, y = max_pool(x), g of y's shape → x's shape. Each window hands its g to its
    /// first element, in row-major order, that equals its y.
    MaxPoolGrad(PoolAttrs),
    /// Padding counts only with `count_include_pad`.
    AvgPool {
        pool: PoolAttrs,
        count_include_pad: bool,
    },
    /// Spatial pyramid pooling: x [N, C, H, W] → [N, C · Σ bins²]. For each b in bins, max over the b × b adaptive bins
    /// (bin i covers floor(i·H/b) .. ceil((i+1)·H/b)), each level laid out [C, b, b], levels one after another.
    Spp {
        bins: Vec<usize>,
    },
    Softmax {
        axis: usize,
    },
    Reduce {
        kind: ReduceKind,
        axes: Vec<usize>,
        keep: bool,
    },

    /// Any number of operands that agree but along `axis`.
    Concat {
        axis: usize,
    },
    /// As many results as `sizes`.
    Split {
        axis: usize,
        sizes: Vec<Dim>,
    },
    /// Element `starts[i] + k · steps[i]` along `axes[i]`. Starts lie inside the axis; ends are exclusive and for
    /// negative steps may be -1.
    Slice {
        axes: Vec<usize>,
        starts: Vec<Dim>,
        ends: Vec<Dim>,
        steps: Vec<i64>,
    },
    /// `pads` holds the amounts before each axis, then after each axis.
    Pad {
        pads: Vec<i64>,
        mode: PadMode,
    },
    /// Axis i of the result is axis `perm[i]` of x.
    Transpose {
        perm: Vec<usize>,
    },
    /// The same elements in row-major order under another shape.
    Reshape {
        shape: Vec<Dim>,
    },
    /// x repeated along axes of size 1 and along new axes in front, as numpy broadcasts.
    Expand {
        shape: Vec<Dim>,
    },
    /// x, indices of integers → x[..axis] ++ indices ++ x[axis + 1..]: the slices of x at these places of the axis.
    /// Negative indices count from the end; what lies outside is clamped to the axis.
    Gather {
        axis: usize,
    },
    /// x, indices of x's rank → the shape of the indices: element [i, j, …] is x's at [i, j, …] with the index there in
    /// place of the one along the axis. Indices as in `Gather`.
    GatherElements {
        axis: usize,
    },
    /// x, indices […, K] → indices[..-1] ++ x[batch + K..]: the slices of x at the K places along its axes from `batch` on
    /// that each row of the indices holds. The first `batch` axes of both are the same. Indices as in `Gather`.
    GatherNd {
        batch: usize,
    },
    /// x, indices of x's rank, updates of the shape of the indices → x, where the element [i, j, …] with the index in
    /// place of the one along the axis is the update at [i, j, …]: in row-major order, the last one wins, or, with a
    /// reduction, combined with what is there. Indices as in `Gather`.
    ScatterElements {
        axis: usize,
        reduction: ScatterReduction,
    },
    /// x, indices […, K], updates indices[..-1] ++ x[K..] → x, where the slice at the K places along its first axes that a
    /// row of the indices holds is the update of that row. As in `ScatterElements`.
    ScatterNd {
        reduction: ScatterReduction,
    },
    /// The place of the greatest or least element along the axis, i64: the first one, or the last. NaN counts as both.
    ArgReduce {
        kind: ArgKind,
        axis: usize,
        keep: bool,
        last: bool,
    },
    /// The places, i64, of the first `count` elements along the axis if it were sorted: rising or descending; equal ones
    /// stay in order. NaN is greater than all numbers.
    ArgSort {
        axis: usize,
        count: Dim,
        descending: bool,
    },
    /// Sums or products of the elements up to each one along the axis, itself left out if exclusive; from the end if in
    /// reverse.
    Cumulate {
        kind: CumulateKind,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    },
    /// x, y = max_pool(x) → y's shape, i64: the place of each greatest element in x, counted row-major over all of x; the
    /// first one of the window. NaN is greatest.
    MaxPoolIndices(PoolAttrs),
    /// x, count of i64 with one element → the first `count` slices of x along the axis, as many as there are at most.
    /// The size of the axis is then known at run time alone: it has a name that no input gives, a *data dim*.
    Cut {
        axis: usize,
        size: Dim,
    },
    /// x → the places of its elements that are not 0, in row-major order, as columns [rank, elements] of i64 with
    /// zeros behind them, and their number `[1]`.
    NonZero,
    /// boxes [N, B, 4], scores [N, C, B], order [N, C, B] of i64, most `[1]` of i64, overlap `[1]`, threshold `[1]` →
    /// [N, C, limit] of i64. For each image and class, boxes are met in this order and taken unless their score is not
    /// above the threshold or they overlap by more than `overlap` (intersection over union) with one that is taken,
    /// until there are `most` or `limit`. The result holds the places of those that are taken, then −1. What the order
    /// holds beside 0 to B − 1 is skipped.
    NonMaxSuppression {
        /// Boxes are [x, y, width, height] about their centres, not two corners [y, x, y, x].
        centre: bool,
        limit: Dim,
    },
    /// [N, C·b², H, W] → [N, C, H·b, W·b]
    DepthToSpace {
        block: usize,
        mode: DepthMode,
    },
    /// Resamples the axes from 2 on.
    Resize(ResizeAttrs),
    /// Identity at inference; at training drops with probability `p` and scales by 1 / (1 - p).
    Dropout {
        p: Scalar,
    },

    /// x itself. With an epilogue: a fused elementwise expression.
    Map,
}

/// Where a parameter's values come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Drawn from the model's seed and the parameter's name.
    Init(Init),
    /// Tensor `tensor` of the weights file `file`, whose contents may be pinned by hash.
    File { file: Arc<str>, tensor: Arc<str>, blake3: Option<Arc<str>> },
    /// Given values.
    Data(Literal),
}

/// Spatial padding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Amounts before each spatial axis, then after each.
    Explicit(Vec<i64>),
    /// Output size ceil(in / stride); an odd amount puts the extra element at the end.
    SameUpper,
    /// As `SameUpper`, with the extra element at the beginning.
    SameLower,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConvAttrs {
    /// One entry a spatial axis.
    pub stride: Vec<i64>,
    pub pad: Padding,
    pub dilation: Vec<i64>,
    pub groups: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConvTransposeAttrs {
    pub stride: Vec<i64>,
    /// Cut from the full output.
    pub pad: Padding,
    pub dilation: Vec<i64>,
    pub groups: i64,
    /// Added to the end of each output axis.
    pub output_pad: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolAttrs {
    pub kernel: Vec<i64>,
    pub stride: Vec<i64>,
    pub pad: Padding,
    pub dilation: Vec<i64>,
    /// Round the output size up; a last window that would start in the padding at the end is dropped.
    pub ceil: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
}

/// What becomes of an element that is scattered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScatterReduction {
    /// It is replaced.
    None,
    Add,
    Mul,
    Max,
    Min,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgKind {
    Max,
    Min,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CumulateKind {
    Sum,
    Prod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    Constant(Scalar),
    /// Mirrored about the edge element, which is not repeated.
    Reflect,
    /// The edge element repeated.
    Edge,
    /// The tensor repeated.
    Wrap,
}

/// Order of the block's elements within the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthMode {
    /// Channel = (row in block, column in block, output channel). ONNX's default.
    Dcr,
    /// Channel = (output channel, row in block, column in block). torch's pixel shuffle.
    Crd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResizeAttrs {
    pub target: ResizeTarget,
    pub mode: ResizeMode,
    pub coords: ResizeCoords,
    /// Linear and cubic: where an axis shrinks, the kernel is stretched, so that every element of the input counts.
    pub antialias: bool,
    /// Linear and cubic: weights outside of the input are left out, and the others sum to 1.
    pub exclude_outside: bool,
    /// The result where the coordinate lies outside of the input, with `CropAndResize`.
    pub extrapolation: Scalar,
}

/// Output size of the axes from 2 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeTarget {
    /// Output size floor(in · scale); coordinates use the given scale.
    Scales(Vec<Scalar>),
    Sizes(Vec<Dim>),
    /// These sizes, and coordinates by these scales.
    Both {
        sizes: Vec<Dim>,
        scales: Vec<Scalar>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    Nearest(NearestMode),
    Linear,
    /// Keys' kernel over four elements an axis, with its coefficient.
    Cubic {
        a: Scalar,
    },
}

/// Rounding of the coordinate in nearest mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearestMode {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Input coordinate of an output element.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeCoords {
    /// (x + ½) / scale − ½
    HalfPixel,
    /// (x + ½) / scale
    PixelCentre,
    /// As `HalfPixel`, but 0 where the output size is 1.
    PytorchHalfPixel,
    /// As `HalfPixel` with the centres of input and output on each other, where in · scale is no integer.
    HalfPixelSymmetric,
    /// x · (in − 1) / (length − 1), where the length is in · scale, or the size that is given.
    AlignCorners,
    /// x / scale
    Asymmetric,
    /// As `AlignCorners` from a region: where it starts on each spatial axis, then where it ends, in parts of in − 1.
    CropAndResize(Vec<Scalar>),
}

impl Op {
    /// The name in the language, e.g. `conv`, `reduce_mean`.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Param(_) => "param",
            Op::Const(_) => "const",
            Op::Conv(_) => "conv",
            Op::ConvTranspose(_) => "conv_transpose",
            Op::ConvWeightGrad { .. } => "conv_weight_grad",
            Op::Dense => "dense",
            Op::MatMul => "matmul",
            Op::Unary(u) => u.name(),
            Op::Binary(b) => b.name(),
            Op::Select => "select",
            Op::Cast { .. } => "cast",
            Op::Prelu { .. } => "prelu",
            Op::BatchNorm { .. } => "batch_norm",
            Op::LayerNorm { .. } => "layer_norm",
            Op::InstanceNorm { .. } => "instance_norm",
            Op::MaxPool(_) => "max_pool",
            Op::MaxPoolGrad(_) => "max_pool_grad",
            Op::AvgPool { .. } => "avg_pool",
            Op::Spp { .. } => "spp",
            Op::Softmax { .. } => "softmax",
            Op::Reduce { kind: ReduceKind::Sum, .. } => "reduce_sum",
            Op::Reduce { kind: ReduceKind::Mean, .. } => "reduce_mean",
            Op::Reduce { kind: ReduceKind::Max, .. } => "reduce_max",
            Op::Reduce { kind: ReduceKind::Min, .. } => "reduce_min",
            Op::Reduce { kind: ReduceKind::Prod, .. } => "reduce_prod",
            Op::Concat { .. } => "concat",
            Op::Split { .. } => "split",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Transpose { .. } => "transpose",
            Op::Reshape { .. } => "reshape",
            Op::Expand { .. } => "expand",
            Op::Gather { .. } => "gather",
            Op::GatherElements { .. } => "gather_elements",
            Op::GatherNd { .. } => "gather_nd",
            Op::ScatterElements { .. } => "scatter_elements",
            Op::ScatterNd { .. } => "scatter_nd",
            Op::ArgReduce { kind: ArgKind::Max, .. } => "arg_max",
            Op::ArgReduce { kind: ArgKind::Min, .. } => "arg_min",
            Op::ArgSort { .. } => "arg_sort",
            Op::Cumulate { kind: CumulateKind::Sum, .. } => "cumsum",
            Op::Cumulate { kind: CumulateKind::Prod, .. } => "cumprod",
            Op::MaxPoolIndices(_) => "max_pool_indices",
            Op::Cut { .. } => "cut",
            Op::NonZero => "nonzero",
            Op::NonMaxSuppression { .. } => "non_max_suppression",
            Op::DepthToSpace { .. } => "depth_to_space",
            Op::Resize(_) => "resize",
            Op::Dropout { .. } => "dropout",
            Op::Map => "map",
        }
    }

    /// The row of the operation table. `Input`, `Param` and `Const` have none: they are no calls.
    pub fn spec(&self) -> Option<&'static OpSpec> {
        table::find(self.name())
    }

    /// True where element i of the result depends on element i of the (broadcast) operands alone.
    pub fn is_elementwise(&self) -> bool {
        matches!(
            self,
            Op::Unary(_)
                | Op::Binary(_)
                | Op::Select
                | Op::Cast { .. }
                | Op::Prelu { .. }
                | Op::Dropout { .. }
        )
    }

    /// True where operands and results may have no elements: what moves, combines or adds up elements means something
    /// without any, windows and statistics do not.
    pub fn takes_empty(&self) -> bool {
        match self {
            Op::Input
            | Op::Param(_)
            | Op::Const(_)
            | Op::MatMul
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast { .. }
            | Op::Prelu { .. }
            | Op::Reduce { .. }
            | Op::Concat { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::Pad { mode: PadMode::Constant(_), .. }
            | Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Expand { .. }
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
            | Op::Dropout { .. }
            | Op::Map => true,
            Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::ConvWeightGrad { .. }
            | Op::Dense
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::InstanceNorm { .. }
            | Op::MaxPool(_)
            | Op::MaxPoolGrad(_)
            | Op::MaxPoolIndices(_)
            | Op::AvgPool { .. }
            | Op::Spp { .. }
            | Op::Softmax { .. }
            | Op::Pad { mode: PadMode::Reflect | PadMode::Edge | PadMode::Wrap, .. }
            | Op::DepthToSpace { .. }
            | Op::Resize(_) => false,
        }
    }

    /// Number of results.
    pub fn results(&self) -> usize {
        match self {
            Op::Split { sizes, .. } => sizes.len(),
            Op::NonZero => 2,
            _ => 1,
        }
    }
}
