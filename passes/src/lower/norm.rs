//! Softmax and norms: statistics by reductions, then one elementwise nest.

use super::nest::Ref;
use super::program::Expression;
use super::view::View;
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{Binary, Program, Reduce, Step, Unary};

impl Lower<'_> {
    /// The greatest, the sum of exp(x − greatest), then exp(x − greatest) / sum.
    pub(super) fn softmax(&mut self, id: NodeId, axis: usize) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let x = self.view(graph.node(id).operands[0]);
        let greatest = self.statistic(id, "max", &x, &[axis])?;
        self.reduce_into(id, &greatest, &[axis], &[&x], Program::copy(), Reduce::Max, Program::acc())?;
        let mut e = Expression::empty(2);
        let (value, max) = (e.step(Step::Load(0)), e.step(Step::Load(1)));
        let shifted = e.binary(Binary::Sub, value, max);
        let exp = e.unary(Unary::Exp, shifted);
        let (body, _) = e.finish();
        let sum = self.statistic(id, "sum", &x, &[axis])?;
        self.reduce_into(id, &sum, &[axis], &[&x, &greatest], body.clone(), Reduce::Sum, Program::acc())?;
        let mut e = Expression::after(body, 3);
        let sum_of = e.step(Step::Load(2));
        e.binary(Binary::Div, exp, sum_of);
        let (body, _) = e.finish();
        let operands = self.spread(&[&x, &greatest, &sum], &out);
        self.through_epilogue(id, &out, operands, body)
    }

    pub(super) fn layer_norm(&mut self, id: NodeId, axis: usize, eps: f64) -> Result<(), LowerError> {
        let rank = self.operand_sizes(id).len();
        let axes: Vec<usize> = (axis..rank).collect();
        self.normalise(id, &axes, eps, &axes)
    }

    pub(super) fn instance_norm(&mut self, id: NodeId, eps: f64) -> Result<(), LowerError> {
        let rank = self.operand_sizes(id).len();
        self.normalise(id, &(2..rank).collect::<Vec<_>>(), eps, &[1])
    }

    /// (x − mean) / √(variance + eps) · scale + shift over `axes`; scale and shift run along `places`.
    fn normalise(
        &mut self,
        id: NodeId,
        axes: &[usize],
        eps: f64,
        places: &[usize],
    ) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let operands = graph.node(id).own_operands();
        let x = self.view(operands[0]);
        let count: i64 = axes.iter().map(|a| x.axes[*a].size).product();

        let mean = self.statistic(id, "mean", &x, axes)?;
        let mut divide = Program::acc();
        let acc = divide.result;
        let n = divide.constant_reg(count as f64);
        divide.binary(Binary::Div, acc, n);
        self.reduce_into(id, &mean, axes, &[&x], Program::copy(), Reduce::Sum, divide.clone())?;

        // 1 / √(mean of squared differences + eps)
        let mut body = Program::new();
        let (value, centre) = (body.push(Step::Load(0)), body.push(Step::Load(1)));
        let difference = body.binary(Binary::Sub, value, centre);
        body.binary(Binary::Mul, difference, difference);
        let mut finish = divide;
        let variance = finish.result;
        let eps = finish.constant_reg(eps);
        let variance = finish.binary(Binary::Add, variance, eps);
        let deviation = finish.unary(Unary::Sqrt, variance);
        finish.unary(Unary::Reciprocal, deviation);
        let scale = self.statistic(id, "scale", &x, axes)?;
        self.reduce_into(id, &scale, axes, &[&x, &mean], body, Reduce::Sum, finish)?;

        let mut e = Expression::empty(3);
        let [value, centre, factor] = [0, 1, 2].map(|k| e.step(Step::Load(k)));
        let difference = e.binary(Binary::Sub, value, centre);
        let mut result = e.binary(Binary::Mul, difference, factor);
        let affine: Vec<Value> = operands[1..].to_vec();
        for (value, op) in affine.iter().zip([Binary::Mul, Binary::Add]) {
            let load = e.value(graph, *value, places.to_vec());
            result = e.binary(op, result, load);
        }
        e.program.result = result;
        let (body, loads) = e.finish();
        let mut refs = self.spread(&[&x, &mean, &scale], &out);
        for load in &loads {
            refs.push(self.operand(load, &out));
        }
        self.through_epilogue(id, &out, refs, body)
    }

    /// Views with the axes of `out`, repeated along those of size 1.
    fn spread(&self, views: &[&View], out: &View) -> Vec<Ref> {
        let (shape, places) = (out.shape(), (0..out.axes.len()).collect::<Vec<_>>());
        views.iter().map(|v| Ref::new(v, v.align(&places, &shape))).collect()
    }
}
