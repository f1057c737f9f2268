//! What an operation becomes on the whole of its operands.

use super::Sink;
use crate::pieces::Made;
use crate::pipeline::PassError;
use rectify_ir::graph::{Node, NodeId, Value};
use rectify_ir::literal::Literal;
use rectify_ir::op::{ArgKind, Binary, CumulateKind, Op, PadMode, ReduceKind};
use rectify_ir::{DType, Dim};

/// What stands behind the end of a size, where an operation reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Number(i64),
    Least,
    Greatest,
    NaN,
}

impl Sink<'_> {
    /// The results on the whole of the operands.
    pub(super) fn rule(&mut self, id: NodeId, node: &Node) -> Result<Vec<Value>, PassError> {
        let x = node.operands.first().copied();
        let own = node.own_operands().to_vec();
        let axes = x.map_or_else(Vec::new, |x| self.axes(x));
        let only_first = |sink: &Self, allowed: &dyn Fn(usize) -> bool| {
            let others = own[1..].iter().all(|v| sink.axes(*v).is_empty());
            if others && axes.iter().all(|a| allowed(*a)) { Ok(()) } else { Err(sink.across(node)) }
        };
        match &node.op {
            Op::Input | Op::Param(_) | Op::Const(_) => {
                Err(self.pieces.unsupported("a size that depends on data is that of a parameter"))
            }
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast { .. }
            | Op::Prelu { .. }
            | Op::Dropout { .. }
            | Op::Map
            | Op::Transpose { .. }
            | Op::Expand { .. } => self.same(node),
            // Images do not mix.
            Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::BatchNorm { .. }
            | Op::InstanceNorm { .. }
            | Op::MaxPool(_)
            | Op::AvgPool { .. }
            | Op::Spp { .. }
            | Op::DepthToSpace { .. }
            | Op::Resize(_) => {
                only_first(self, &|a| a == 0)?;
                self.same(node)
            }
            Op::MaxPoolIndices(_) if axes.iter().all(|a| *a == 0) => self.same(node),
            Op::Dense => {
                let last = self.pieces.shape(own[0]).len() - 1;
                only_first(self, &|a| a != last)?;
                self.same(node)
            }
            Op::LayerNorm { axis, .. } => {
                only_first(self, &|a| a < *axis)?;
                self.same(node)
            }
            Op::MatMul => self.matmul(node),
            Op::Softmax { axis } => self.masked(node, &[*axis], Fill::Least),
            Op::Reduce { kind, axes, .. } => self.reduce(node, *kind, axes),
            Op::Cumulate { kind, axis, reverse, .. } => {
                let neutral = i64::from(*kind == CumulateKind::Prod);
                let masked = if *reverse { vec![*axis] } else { vec![] };
                self.masked(node, &masked, Fill::Number(neutral))
            }
            Op::ArgReduce { kind, axis, keep, .. } => self.arg_reduce(node, *kind, *axis, *keep),
            // NaN is greatest: behind the end of a rising order nothing comes after it.
            Op::ArgSort { axis, descending, .. } => {
                let float = self.pieces.dtype(own[0]).is_float();
                let fill = match (descending, float) {
                    (true, _) => Fill::Least,
                    (false, true) => Fill::NaN,
                    (false, false) => Fill::Greatest,
                };
                self.masked(node, &[*axis], fill)
            }
            Op::NonZero => self.masked(node, &axes, Fill::Number(0)),
            Op::NonMaxSuppression { .. } => {
                // Places behind the end are none.
                let mut whole = self.wholes(node);
                whole[2] = self.mask(own[2], &[2], Fill::Number(-1))?;
                self.with_operands(node, whole)
            }
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Split { axis, .. } if !axes.contains(axis) => self.same(node),
            Op::Slice { axes: along, starts, steps, .. } => self.slice(node, along, starts, steps),
            Op::Pad { pads, mode } => {
                let rank = pads.len() / 2;
                let kept = |a: &usize| pads[*a] == 0 && pads[rank + a] == 0;
                let alone = matches!(mode, PadMode::Constant(_)) || axes.is_empty() || axes == [0];
                if alone && axes.iter().all(kept) { self.same(node) } else { Err(self.across(node)) }
            }
            Op::Reshape { shape } => self.reshape(own[0], shape).map(|y| vec![y]),
            Op::Gather { axis } => self.gather(node, *axis),
            Op::GatherElements { axis } => self.gather(node, *axis),
            Op::GatherNd { batch } => self.gather_nd(node, *batch),
            Op::ScatterElements { axis, .. } => self.scatter_elements(node, *axis),
            Op::ScatterNd { .. } => self.scatter_nd(node),
            Op::Split { .. } | Op::MaxPoolIndices(_) | Op::ConvWeightGrad { .. } | Op::MaxPoolGrad(_) => {
                Err(self.across(node))
            }
            Op::Cut { .. } => Err(self.pieces.unsupported(format!("{id} is cut twice"))),
        }
    }

    /// The operation mixes elements along an axis that is cut, in a way that is not supported.
    pub(super) fn across(&self, node: &Node) -> PassError {
        let types: Vec<String> = node.operands.iter().map(|v| self.pieces.graph.ty(*v).to_string()).collect();
        self.pieces.unsupported(format!(
            "{} of {} works along a size that is known at run time alone, which is not supported",
            node.op.name(),
            types.join(", ")
        ))
    }

    pub(super) fn wholes(&self, node: &Node) -> Vec<Value> {
        node.operands.iter().map(|v| self.whole(*v)).collect()
    }

    /// The same operation on the whole.
    pub(super) fn same(&mut self, node: &Node) -> Result<Vec<Value>, PassError> {
        let whole = self.wholes(node);
        self.with_operands(node, whole)
    }

    /// The operation on these operands, its own sizes as large as they can be.
    pub(super) fn with_operands(&mut self, node: &Node, whole: Vec<Value>) -> Result<Vec<Value>, PassError> {
        let mut new = node.clone();
        new.operands = whole;
        for dim in rectify_ir::bind::attr_dims_mut(&mut new.op) {
            *dim = self.bound(dim)?;
        }
        let results = node.types.len();
        // The name goes with the work.
        new.name = node.name.clone();
        let first = self.pieces.add(new)?;
        Ok((0..results).map(|i| Value { node: first.node, result: i as u32 }).collect())
    }

    /// The operation on its first operand with `fill` behind the ends along these axes.
    pub(super) fn masked(
        &mut self,
        node: &Node,
        axes: &[usize],
        fill: Fill,
    ) -> Result<Vec<Value>, PassError> {
        let mut whole = self.wholes(node);
        whole[0] = self.mask(node.operands[0], axes, fill)?;
        self.with_operands(node, whole)
    }

    /// The whole of a value, with `fill` behind the ends of those of the axes whose size is known at run time alone.
    pub(super) fn mask(&mut self, value: Value, axes: &[usize], fill: Fill) -> Made {
        let whole = self.whole(value);
        let axes: Vec<usize> = axes.iter().copied().filter(|a| self.concerns(value, *a)).collect();
        if axes.is_empty() {
            return Ok(whole);
        }
        let inside = self.inside(value, &axes)?;
        let other = self.fill(self.pieces.dtype(whole), fill);
        self.pieces.select(inside, whole, other)
    }

    /// True before the ends along these axes, with size 1 along the others.
    pub(super) fn inside(&mut self, value: Value, axes: &[usize]) -> Made {
        let shape = self.pieces.shape(value).to_vec();
        let mut all: Option<Value> = None;
        for axis in axes {
            let (bound, length) = (self.bound(&shape[*axis])?, self.length(&shape[*axis])?);
            let places = self.pieces.places(&bound, *axis, shape.len())?;
            let inside = self.pieces.binary(Binary::Less, places, length)?;
            all = Some(match all {
                None => inside,
                Some(all) => self.pieces.binary(Binary::And, all, inside)?,
            });
        }
        all.ok_or_else(|| self.pieces.unsupported("no axis is cut"))
    }

    pub(super) fn fill(&mut self, dtype: DType, fill: Fill) -> Value {
        let float = |v: f64| match dtype {
            DType::F64 => v.to_le_bytes().to_vec(),
            DType::F16 => vec![
                0,
                if v.is_nan() {
                    0x7e
                } else if v > 0.0 {
                    0x7c
                } else {
                    0xfc
                },
            ],
            DType::BF16 => ((v as f32).to_bits() >> 16).to_le_bytes()[..2].to_vec(),
            _ => (v as f32).to_le_bytes().to_vec(),
        };
        let whole = |v: i64| v.to_le_bytes()[..dtype.size_bytes()].to_vec();
        let bytes = match fill {
            Fill::Number(n) if dtype.is_float() && n == 0 => vec![0; dtype.size_bytes()],
            Fill::Number(n) if !dtype.is_float() => whole(n),
            Fill::Number(n) => match dtype {
                DType::F16 => vec![0, if n > 0 { 0x3c } else { 0xbc }],
                _ => float(n as f64),
            },
            Fill::Least if dtype.is_float() => float(f64::NEG_INFINITY),
            Fill::Greatest if dtype.is_float() => float(f64::INFINITY),
            Fill::NaN => float(f64::NAN),
            Fill::Least if dtype == DType::Bool => vec![0],
            Fill::Greatest if dtype == DType::Bool => vec![1],
            Fill::Least => whole(dtype.least_int()),
            Fill::Greatest => whole(dtype.greatest_int()),
        };
        self.pieces.literal(Literal { dtype, shape: vec![1], bytes: bytes.into() })
    }

    fn matmul(&mut self, node: &Node) -> Result<Vec<Value>, PassError> {
        let (a, b) = (node.operands[0], node.operands[1]);
        let (rank_a, rank_b) = (self.pieces.shape(a).len(), self.pieces.shape(b).len());
        let mut whole = self.wholes(node);
        whole[0] = self.mask(a, &[rank_a - 1], Fill::Number(0))?;
        whole[1] = self.mask(b, &[rank_b.saturating_sub(2)], Fill::Number(0))?;
        self.with_operands(node, whole)
    }

    fn reduce(&mut self, node: &Node, kind: ReduceKind, axes: &[usize]) -> Result<Vec<Value>, PassError> {
        let x = node.operands[0];
        let fill = match kind {
            ReduceKind::Sum | ReduceKind::Mean => Fill::Number(0),
            ReduceKind::Prod => Fill::Number(1),
            ReduceKind::Max => Fill::Least,
            ReduceKind::Min => Fill::Greatest,
        };
        let concerned: Vec<usize> = axes.iter().copied().filter(|a| self.concerns(x, *a)).collect();
        if kind != ReduceKind::Mean || concerned.is_empty() {
            return self.masked(node, axes, fill);
        }
        if node.epilogue.is_some() || !self.pieces.dtype(x).is_float() {
            return Err(self.across(node));
        }
        let mut sum = node.clone();
        if let Op::Reduce { kind, .. } = &mut sum.op {
            *kind = ReduceKind::Sum;
        }
        let sum = self.masked(&sum, axes, fill)?[0];
        let sizes: Vec<Dim> = axes.iter().map(|a| self.pieces.shape(x)[*a].clone()).collect();
        let number = Dim::product(&sizes).map_err(|e| self.pieces.unsupported(e.to_string()))?;
        let number = self.length(&number)?;
        let number = self.pieces.cast(number, self.pieces.dtype(x))?;
        let number = self.pieces.reshape(number, vec![])?;
        Ok(vec![self.pieces.binary(Binary::Div, sum, number)?])
    }

    /// What stands behind the end is met last: where it is as good as all before it, the place of the last element is meant.
    fn arg_reduce(
        &mut self,
        node: &Node,
        kind: ArgKind,
        axis: usize,
        keep: bool,
    ) -> Result<Vec<Value>, PassError> {
        let x = node.operands[0];
        if !self.concerns(x, axis) {
            return self.same(node);
        }
        let fill = if kind == ArgKind::Max { Fill::Least } else { Fill::Greatest };
        let place = self.masked(node, &[axis], fill)?[0];
        let size = self.pieces.shape(x)[axis].clone();
        let last = self.length(&size)?;
        let one = self.pieces.numbers(&[1]);
        let last = self.pieces.binary(Binary::Sub, last, one)?;
        let last = if keep { last } else { self.pieces.reshape(last, vec![])? };
        Ok(vec![self.pieces.binary(Binary::Min, place, last)?])
    }
}
