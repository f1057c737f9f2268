//! The table of rules, and what they are written with.

use super::{GradientError, contraction, elementwise, movement, norm, places, pool, reduce};
use rectify_ir::dim::Dim;
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
use rectify_ir::scalar::Scalar;
use rectify_ir::shape::ShapeError;

/// One node whose operands' gradients are made from those of its results.
pub(super) struct Rule<'a> {
    pub graph: &'a mut Graph,
    pub node: NodeId,
    /// The node's operands, and which of them need a gradient.
    pub x: Vec<Value>,
    pub wanted: &'a [bool],
}

/// Gradients of the operands.
pub(super) type Made = Result<Vec<Option<Value>>, GradientError>;
pub(super) type One = Result<Value, GradientError>;

impl Rule<'_> {
    pub fn new<'a>(graph: &'a mut Graph, node: NodeId, wanted: &'a [bool]) -> Rule<'a> {
        let x = graph.node(node).operands.clone();
        Rule { graph, node, x, wanted }
    }

    /// The table: one rule an operation.
    pub fn apply(&mut self, incoming: &[Option<Value>]) -> Made {
        let node = self.graph.node(self.node);
        if node.epilogue.is_some() {
            return self.none("it is fused; take gradients before the passes");
        }
        let op = node.op.clone();
        if let Op::Split { axis, .. } = op {
            return movement::split(self, axis, incoming);
        }
        let Some(g) = incoming.first().copied().flatten() else { return Ok(vec![None; self.x.len()]) };
        match &op {
            Op::Input | Op::Param(_) | Op::Const(_) => Ok(vec![]),
            Op::Conv(a) => contraction::conv(self, g, a),
            Op::ConvTranspose(a) => contraction::conv_transpose(self, g, a),
            Op::Dense => contraction::dense(self, g),
            Op::MatMul => contraction::matmul(self, g),
            Op::Unary(u) => elementwise::unary(self, g, u),
            Op::Binary(b) => elementwise::binary(self, g, *b),
            Op::Select => elementwise::select(self, g),
            Op::Cast { .. } => elementwise::cast(self, g),
            Op::Prelu { axes } => elementwise::prelu(self, g, axes),
            Op::BatchNorm { eps } => norm::batch_norm(self, g, eps.0),
            Op::LayerNorm { axis, eps } => norm::layer_norm(self, g, *axis, eps.0),
            Op::InstanceNorm { eps } => norm::instance_norm(self, g, eps.0),
            Op::MaxPool(a) => pool::max_pool(self, g, a),
            Op::AvgPool { pool, count_include_pad } => pool::avg_pool(self, g, pool, *count_include_pad),
            Op::Spp { bins } => pool::spp(self, g, bins),
            Op::Softmax { axis } => reduce::softmax(self, g, *axis),
            Op::Reduce { kind, axes, keep } => reduce::reduce(self, g, *kind, axes, *keep),
            Op::Concat { axis } => movement::concat(self, g, *axis),
            Op::Split { .. } => Ok(vec![None]),
            Op::Slice { axes, starts, steps, .. } => movement::slice(self, g, axes, starts, steps),
            Op::Pad { pads, mode } => movement::pad(self, g, pads, *mode),
            Op::Transpose { perm } => movement::transpose(self, g, perm),
            Op::Reshape { .. } => movement::reshape(self, g),
            Op::Expand { .. } => movement::expand(self, g),
            Op::DepthToSpace { block, mode } => movement::depth_to_space(self, g, *block, *mode),
            Op::Dropout { .. } | Op::Map => Ok(vec![Some(g)]),
            Op::Gather { axis } => places::gather(self, g, *axis),
            Op::GatherElements { axis } => places::gather_elements(self, g, *axis),
            Op::GatherNd { batch } => places::gather_nd(self, g, *batch),
            Op::ScatterElements { axis, reduction } => {
                let axis = *axis;
                let scatter = |reduction| Op::ScatterElements { axis, reduction };
                places::scatter(self, g, *reduction, &scatter, &Op::GatherElements { axis })
            }
            Op::ScatterNd { reduction } => {
                let scatter = |reduction| Op::ScatterNd { reduction };
                places::scatter(self, g, *reduction, &scatter, &Op::GatherNd { batch: 0 })
            }
            Op::Cumulate { kind, axis, exclusive, reverse } => {
                places::cumulate(self, g, *kind, *axis, *exclusive, *reverse)
            }
            // Indices do not move with what they point at.
            Op::ArgReduce { .. } | Op::ArgSort { .. } | Op::NonZero => Ok(vec![None]),
            Op::NonMaxSuppression { .. } => Ok(vec![None; 6]),
            Op::Cut { .. } => self.none("sizes that are known at run time alone have no rule"),
            Op::MaxPoolIndices(_) => Ok(vec![None, None]),
            Op::Resize(a) => places::resize(self, g, a),
            Op::ConvWeightGrad { .. } | Op::MaxPoolGrad(_) => {
                self.none("second derivatives are not supported")
            }
        }
    }

    pub fn none(&self, reason: &str) -> Made {
        Err(self.refusal(reason))
    }

    pub fn refusal(&self, reason: &str) -> GradientError {
        let op = self.graph.node(self.node).op.name();
        GradientError::NoRule { at: crate::log::label(self.graph, self.node), op, reason: reason.into() }
    }

    pub fn fail(&self, error: impl Into<ShapeError>) -> GradientError {
        let op = self.graph.node(self.node).op.name();
        GradientError::Shape { at: crate::log::label(self.graph, self.node), op, error: error.into() }
    }

    pub fn wants(&self, operand: usize) -> bool {
        self.wanted.get(operand).copied().unwrap_or(false)
    }

    pub fn y(&self) -> Value {
        self.node.into()
    }

    pub fn shape(&self, value: Value) -> Vec<Dim> {
        self.graph.ty(value).shape.clone()
    }

    pub fn push(&mut self, op: Op, operands: &[Value]) -> One {
        self.graph.push(op, operands).map_err(|e| self.fail(e))
    }

    pub fn number(&mut self, value: f64) -> Value {
        self.graph.push_const(value)
    }

    pub fn unary(&mut self, u: Unary, x: Value) -> One {
        self.push(Op::Unary(u), &[x])
    }

    pub fn binary(&mut self, b: Binary, x: Value, y: Value) -> One {
        self.push(Op::Binary(b), &[x, y])
    }

    pub fn add(&mut self, x: Value, y: Value) -> One {
        self.binary(Binary::Add, x, y)
    }

    pub fn sub(&mut self, x: Value, y: Value) -> One {
        self.binary(Binary::Sub, x, y)
    }

    pub fn mul(&mut self, x: Value, y: Value) -> One {
        self.binary(Binary::Mul, x, y)
    }

    pub fn div(&mut self, x: Value, y: Value) -> One {
        self.binary(Binary::Div, x, y)
    }

    /// factor · x + offset
    pub fn affine(&mut self, x: Value, factor: f64, offset: f64) -> One {
        let mut y = x;
        if factor != 1.0 {
            let factor = self.number(factor);
            y = self.mul(y, factor)?;
        }
        if offset != 0.0 {
            let offset = self.number(offset);
            y = self.add(y, offset)?;
        }
        Ok(y)
    }

    /// 1 where x > 0, else 0. Floats throughout, so that it fuses with what it gates.
    pub fn positive(&mut self, x: Value) -> One {
        let part = self.unary(Unary::Relu, x)?;
        self.unary(Unary::Sign, part)
    }

    /// g where x > 0, else g · slope. The factor depends on x at every step, so that all of it fuses.
    pub fn gate(&mut self, g: Value, x: Value, slope: Option<Value>) -> One {
        let on = self.positive(x)?;
        let Some(slope) = slope else { return self.mul(g, on) };
        let off = self.affine(on, -1.0, 1.0)?;
        let below = self.mul(off, slope)?;
        let factor = self.add(on, below)?;
        self.mul(g, factor)
    }

    pub fn sum(&mut self, x: Value, axes: Vec<usize>, keep: bool) -> One {
        if axes.is_empty() {
            return Ok(x);
        }
        self.push(Op::Reduce { kind: ReduceKind::Sum, axes, keep }, &[x])
    }

    pub fn mean(&mut self, x: Value, axes: &[usize]) -> One {
        self.push(Op::Reduce { kind: ReduceKind::Mean, axes: axes.to_vec(), keep: true }, &[x])
    }

    pub fn reshape(&mut self, x: Value, shape: &[Dim]) -> One {
        if self.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.push(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    pub fn expand(&mut self, x: Value, shape: &[Dim]) -> One {
        if self.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.push(Op::Expand { shape: shape.to_vec() }, &[x])
    }

    /// Undoes a broadcast: sums over the axes that `shape` does not have, or has with size 1.
    pub fn sum_to(&mut self, x: Value, shape: &[Dim]) -> One {
        let from = self.shape(x);
        let lead = from.len() - shape.len();
        let repeated = |i: &usize| {
            i.checked_sub(lead).is_none_or(|at| shape[at] == Dim::Const(1) && from[*i] != Dim::Const(1))
        };
        let axes = (0..from.len()).filter(repeated).collect();
        let summed = self.sum(x, axes, false)?;
        self.reshape(summed, shape)
    }

    /// A vector of channels as it broadcasts against images of this rank.
    pub fn channels(&mut self, vector: Value, rank: usize) -> One {
        let mut shape = vec![Dim::Const(1); rank];
        shape[1] = self.shape(vector)[0].clone();
        self.reshape(vector, &shape)
    }

    /// Elements `start..start + size` of an axis.
    pub fn part(&mut self, x: Value, axis: usize, start: &Dim, size: &Dim) -> One {
        let end = start.add(size).map_err(|e| self.fail(e))?;
        let op = Op::Slice { axes: vec![axis], starts: vec![start.clone()], ends: vec![end], steps: vec![1] };
        self.push(op, &[x])
    }

    /// Zeros before and after an axis.
    pub fn widen(&mut self, x: Value, axis: usize, before: i64, after: i64) -> One {
        if (before, after) == (0, 0) {
            return Ok(x);
        }
        let rank = self.shape(x).len();
        let mut pads = vec![0; 2 * rank];
        (pads[axis], pads[rank + axis]) = (before, after);
        self.push(Op::Pad { pads, mode: rectify_ir::op::PadMode::Constant(Scalar(0.0)) }, &[x])
    }

    /// A size as a number, where the rule has to know it.
    pub fn known(&self, dim: &Dim) -> Result<i64, GradientError> {
        dim.as_const().ok_or_else(|| {
            self.fail(ShapeError::new(format!("the size {dim} must be known")).help("bind the sizes first"))
        })
    }
}
