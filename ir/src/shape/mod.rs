//! Shape inference: the types of an operation's results from the types of its operands.
//!
//! [`infer`] is the one shape rule of every operation. The parser, graph building, the verifier, binding and the passes
//! all use it. Sizes stay exact where they are symbolic; where a rule cannot be exact it is an error, never a guess.

mod contraction;
mod elementwise;
mod error;
mod layout;
mod node;
mod norm;
mod order;
mod pool;
mod reduce;
mod resize;
mod selection;
mod window;

pub use contraction::same_transposed;
pub use elementwise::broadcast;
pub use error::ShapeError;
pub use node::{infer_node, infer_own, infer_values, operand_types, operand_types_of};
pub use pool::adaptive_bin;
pub use window::{resolve_padding, same_padding};

use crate::dim::{Dim, DimFacts, MAX_DIM};
use crate::op::{Op, Source};
use crate::types::{MAX_RANK, TensorType};

/// More elements than any tensor can have; products of sizes stay far from overflow.
pub const MAX_ELEMENTS: i64 = 1 << 46;

/// The types of the results of `op` on operands of the given types.
///
/// Inputs and parameters have no operands to infer from; their declared type is the node's.
pub fn infer(op: &Op, operands: &[&TensorType], facts: &DimFacts) -> Result<Vec<TensorType>, ShapeError> {
    let cx = Cx { op, operands, facts };
    cx.check_arity()?;
    let types = match op {
        Op::Input => return Err(ShapeError::new("the type of an input is declared, not inferred")),
        Op::Param(Source::Data(literal)) => {
            let shape: Option<Vec<Dim>> =
                literal.shape.iter().map(|n| i64::try_from(*n).ok().map(Dim::Const)).collect();
            let shape = shape.ok_or_else(|| ShapeError::new("a literal's size overflows"))?;
            vec![TensorType::new(literal.dtype, shape)]
        }
        Op::Param(_) => return Err(ShapeError::new("the type of a parameter is declared, not inferred")),
        Op::Const(_) => vec![TensorType::f32([])],
        Op::Conv(a) => vec![contraction::conv(&cx, a)?],
        Op::ConvTranspose(a) => vec![contraction::conv_transpose(&cx, a)?],
        Op::ConvWeightGrad { conv, kernel } => vec![contraction::conv_weight_grad(&cx, conv, kernel)?],
        Op::Dense => vec![contraction::dense(&cx)?],
        Op::MatMul => vec![contraction::matmul(&cx)?],
        Op::Unary(u) => vec![elementwise::unary(&cx, u)?],
        Op::Binary(b) => vec![elementwise::binary(&cx, *b)?],
        Op::Select => vec![elementwise::select(&cx)?],
        Op::Cast { to } => vec![elementwise::cast(&cx, *to)?],
        Op::Prelu { axes } => vec![elementwise::prelu(&cx, axes)?],
        Op::BatchNorm { .. } => vec![norm::batch_norm(&cx)?],
        Op::LayerNorm { axis, .. } => vec![norm::layer_norm(&cx, *axis)?],
        Op::InstanceNorm { .. } => vec![norm::instance_norm(&cx)?],
        Op::MaxPool(a) | Op::AvgPool { pool: a, .. } => vec![pool::pool(&cx, a)?],
        Op::MaxPoolGrad(a) => vec![pool::max_pool_grad(&cx, a)?],
        Op::Spp { bins } => vec![pool::spp(&cx, bins)?],
        Op::Softmax { axis } => vec![reduce::softmax(&cx, *axis)?],
        Op::Reduce { kind, axes, keep } => vec![reduce::reduce(&cx, *kind, axes, *keep)?],
        Op::Concat { axis } => vec![layout::concat(&cx, *axis)?],
        Op::Split { axis, sizes } => layout::split(&cx, *axis, sizes)?,
        Op::Slice { axes, starts, ends, steps } => vec![layout::slice(&cx, axes, starts, ends, steps)?],
        Op::Pad { pads, mode } => vec![layout::pad(&cx, pads, mode)?],
        Op::Transpose { perm } => vec![layout::transpose(&cx, perm)?],
        Op::Reshape { shape } => vec![layout::reshape(&cx, shape)?],
        Op::Expand { shape } => vec![layout::expand(&cx, shape)?],
        Op::Gather { axis } => vec![layout::gather(&cx, *axis)?],
        Op::GatherElements { axis } => vec![layout::gather_elements(&cx, *axis)?],
        Op::GatherNd { batch } => vec![layout::gather_nd(&cx, *batch)?],
        Op::ScatterElements { axis, reduction } => vec![order::scatter_elements(&cx, *axis, *reduction)?],
        Op::ScatterNd { reduction } => vec![order::scatter_nd(&cx, *reduction)?],
        Op::ArgReduce { axis, keep, .. } => vec![order::arg_reduce(&cx, *axis, *keep)?],
        Op::ArgSort { axis, count, .. } => vec![order::arg_sort(&cx, *axis, count)?],
        Op::Cumulate { axis, .. } => vec![order::cumulate(&cx, *axis)?],
        Op::MaxPoolIndices(a) => vec![order::max_pool_indices(&cx, a)?],
        Op::Cut { axis, size } => vec![selection::cut(&cx, *axis, size)?],
        Op::NonZero => selection::nonzero(&cx)?,
        Op::NonMaxSuppression { limit, .. } => vec![selection::non_max_suppression(&cx, limit)?],
        Op::DepthToSpace { block, .. } => vec![layout::depth_to_space(&cx, *block)?],
        Op::Resize(a) => vec![resize::resize(&cx, a)?],
        Op::Dropout { .. } | Op::Map => vec![operands[0].clone()],
    };
    let empty = |ty: &&TensorType| ty.is_empty();
    if !op.takes_empty()
        && let Some(ty) = operands.iter().copied().chain(&types).find(empty)
    {
        return Err(cx.err(format!("{} needs elements, but {ty} has none", op.name())));
    }
    for ty in &types {
        check_type(ty, facts).map_err(|e| cx.err(format!("the result of {}: {}", op.name(), e.message)))?;
    }
    Ok(types)
}

/// Checks a type by itself: rank, sizes that are not provably below 0, number of elements within the limits.
pub fn check_type(ty: &TensorType, facts: &DimFacts) -> Result<(), ShapeError> {
    let fail = |message: String| Err(ShapeError::new(message).show("type", ty));
    if ty.rank() > MAX_RANK {
        return fail(format!("{ty} has {} axes, more than the {MAX_RANK} that are supported", ty.rank()));
    }
    let mut elements = 1i64;
    for (axis, dim) in ty.shape.iter().enumerate() {
        match dim.bounds(facts) {
            (_, Some(most)) if most < 0 => {
                return fail(format!("{ty} has the size {dim} along axis {axis}, which is less than 0"));
            }
            (Some(least), _) if least > MAX_DIM => {
                return fail(format!("{ty} has the size {dim} along axis {axis}, which is beyond 2^40"));
            }
            // The least total: symbolic sizes count with what is known of them.
            (least, _) => match elements.checked_mul(least.unwrap_or(1).max(1)) {
                Some(n) if n <= MAX_ELEMENTS => elements = n,
                _ => return fail(format!("{ty} has more than 2^46 elements")),
            },
        }
    }
    Ok(())
}

/// One application of an operation, as the rules see it.
pub(crate) struct Cx<'a> {
    op: &'a Op,
    operands: &'a [&'a TensorType],
    facts: &'a DimFacts,
}

impl Cx<'_> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn x(&self) -> &TensorType {
        self.operands[0]
    }

    /// The operand's name in the operation table.
    fn operand_name(&self, index: usize) -> String {
        match self.op.spec().map(|s| s.operands) {
            Some([one]) if one.kind == crate::op::OperandKind::Variadic => format!("operand {}", index + 1),
            Some(names) => {
                names.get(index).map_or_else(|| format!("operand {}", index + 1), |o| o.name.to_string())
            }
            None => format!("operand {}", index + 1),
        }
    }

    /// An error that shows all operands.
    fn err(&self, message: impl Into<String>) -> ShapeError {
        let mut e = ShapeError::new(message);
        for (i, ty) in self.operands.iter().enumerate() {
            e = e.show(self.operand_name(i), ty);
        }
        e
    }

    fn check_arity(&self) -> Result<(), ShapeError> {
        let (least, most) = self.op.spec().map_or((0, Some(0)), |s| s.arity());
        let n = self.operands.len();
        if n >= least && most.is_none_or(|m| n <= m) {
            return Ok(());
        }
        let takes = match most {
            Some(m) if m == least => format!("{least}"),
            Some(m) => format!("{least} to {m}"),
            None => format!("at least {least}"),
        };
        let plural = if takes == "1" { "" } else { "s" };
        Err(self.err(format!("{} takes {takes} operand{plural}, {n} given", self.name())))
    }

    /// All operands are floats of one type.
    fn floats(&self) -> Result<(), ShapeError> {
        self.same_dtype()?;
        if self.x().dtype.is_float() {
            return Ok(());
        }
        Err(self
            .err(format!("{} works on floating-point tensors, not {}", self.name(), self.x().dtype))
            .help("make the input f32"))
    }

    fn same_dtype(&self) -> Result<(), ShapeError> {
        match self.operands.iter().enumerate().find(|(_, t)| t.dtype != self.x().dtype) {
            None => Ok(()),
            Some((i, t)) => Err(self.err(format!(
                "{} needs one element type, but {} is {} and {} is {}",
                self.name(),
                self.operand_name(0),
                self.x().dtype,
                self.operand_name(i),
                t.dtype
            ))),
        }
    }

    /// Number of spatial axes, at least 1.
    fn spatial_rank(&self) -> Result<usize, ShapeError> {
        match self.x().rank() {
            0..=2 => Err(self
                .err(format!(
                    "{} needs an input with spatial axes, but x has rank {}",
                    self.name(),
                    self.x().rank()
                ))
                .help("an image tensor is [N, C, H, W], a sequence [N, C, L]")),
            r => Ok(r - 2),
        }
    }

    fn axis(&self, axis: usize) -> Result<usize, ShapeError> {
        let rank = self.x().rank();
        if axis < rank {
            return Ok(axis);
        }
        Err(self.err(format!("{}: axis {axis} is outside of x, which has {rank} axes", self.name())))
    }

    /// The axes are in range and strictly increasing.
    fn sorted_axes(&self, axes: &[usize]) -> Result<(), ShapeError> {
        for a in axes {
            self.axis(*a)?;
        }
        match axes.windows(2).find(|w| w[0] >= w[1]) {
            None => Ok(()),
            Some(w) => Err(self.err(format!(
                "{}: the axes must strictly increase, but {} comes before {}",
                self.name(),
                w[0],
                w[1]
            ))),
        }
    }

    /// A list attribute has one entry a spatial axis, none below `min`.
    fn spatial_attr(&self, what: &str, values: &[i64], min: i64) -> Result<(), ShapeError> {
        let rank = self.spatial_rank()?;
        if values.len() != rank {
            return Err(self.err(format!(
                "{}: `{what}` has {} entries for {rank} spatial axes",
                self.name(),
                values.len()
            )));
        }
        match values.iter().find(|v| **v < min || **v > 1 << 24) {
            None => Ok(()),
            Some(v) => Err(self.err(format!("{}: `{what}` is {v}, outside of {min}..=2^24", self.name()))),
        }
    }

    /// Operand `index`, if given, is a vector of `size` elements.
    fn channel_vector(&self, index: usize, size: &Dim) -> Result<(), ShapeError> {
        let Some(ty) = self.operands.get(index) else { return Ok(()) };
        if ty.shape.as_slice() == std::slice::from_ref(size) {
            return Ok(());
        }
        let what = self.operand_name(index);
        Err(self
            .err(format!(
                "{} expects a {what} of shape [{size}], one element a channel, but it is {ty}",
                self.name()
            ))
            .help(format!("give {what} the shape [{size}]")))
    }
}

#[cfg(test)]
mod tests;
