//! The forward walk: each operation's rule for mean, second moment and correlation.

use super::correlation::Correlation;
use super::gauss::Function;
use super::map::{Axis, Map};
use super::pool::average;
use super::signal::Signal;
use super::weights::Draw;
use super::{BatchNorm, Seen};
use rectify_ir::dim::{Dim, DimFacts};
use rectify_ir::graph::{Graph, Node, NodeId, Value};
use rectify_ir::interp::{apply_binary, apply_unary, prelu};
use rectify_ir::op::{Binary, ConvTransposeAttrs, Op, Padding, PoolAttrs, ReduceKind, Unary};
use rectify_ir::shape::resolve_padding;
use std::collections::HashMap;

/// What the walk knows of a graph of known sizes.
pub(super) struct Walk<'a> {
    pub graph: &'a Graph,
    pub draws: HashMap<NodeId, Draw>,
    pub signals: HashMap<Value, Signal>,
    /// Of each maximum.
    pub choices: HashMap<NodeId, Choice>,
    pub batch_norm: BatchNorm,
}

/// What a maximum does to a gradient, on average over windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// How much more of a gradient's second moment the function of the greatest element passes on than that of any element.
    pub favour: f64,
    /// What is left of the squares where equal elements share the gradient, and `favour` then.
    pub alone: f64,
    pub shared_favour: f64,
}

impl<'a> Walk<'a> {
    pub fn shape(&self, value: Value) -> Vec<usize> {
        self.graph.ty(value).const_shape().unwrap_or_default()
    }

    /// Sizes of the spatial axes.
    pub fn dims(&self, value: Value) -> Vec<usize> {
        self.shape(value).get(2..).unwrap_or_default().to_vec()
    }

    /// The signal of a value that is known: computed, a parameter's, or a number's.
    pub fn signal(&self, value: Value) -> Option<Signal> {
        if let Some(found) = self.signals.get(&value) {
            return Some(found.clone());
        }
        let draw = self.draws.get(&value.node)?;
        Some(Signal::flat(&self.dims(value), draw.mean, draw.second, Correlation::equal))
    }

    pub fn run(&mut self, inputs: HashMap<Value, Seen>) {
        for (value, seen) in inputs {
            self.signals.insert(value, Signal::new(seen.mean, seen.second, seen.correlation));
        }
        for id in self.graph.topo_order() {
            let node = self.graph.node(id);
            if matches!(node.op, Op::Input | Op::Param(_) | Op::Const(_)) || node.epilogue.is_some() {
                continue;
            }
            if let Some(signal) = self.rule(id, node) {
                for result in 0..node.types.len() as u32 {
                    let value = Value { node: id, result };
                    let dims = self.dims(value);
                    let fits = if signal.second.dims == dims { signal.clone() } else { signal.spread(&dims) };
                    self.signals.insert(value, fits);
                }
            }
        }
    }

    fn rule(&mut self, id: NodeId, node: &Node) -> Option<Signal> {
        let x = self.signal(*node.operands.first()?)?;
        let operand = |walk: &Walk<'_>, i: usize| node.operands.get(i).and_then(|v| walk.signal(*v));
        let dims = self.dims(id.into());
        Some(match &node.op {
            Op::Conv(_) => {
                let axes = self.conv_axes(node)?;
                let weight = self.shape(node.operands[1]);
                let y = self.weighted(&x, node, *weight.get(1)? as f64, |map| map.gather(&axes))?;
                let moved = x.correlation.behind(&axes, &x.second);
                self.biased(Signal::new(y.mean, y.second, moved), operand(self, 2), node)?
            }
            Op::ConvTranspose(a) => {
                let axes = self.transposed_axes(node, a)?;
                let weight = self.shape(node.operands[1]);
                let channels = *weight.first()? as f64 / a.groups as f64;
                let y = self.weighted(&x, node, channels, |map| map.scatter(&axes, &dims))?;
                let strides: Vec<i64> = axes.iter().map(|a| a.stride as i64).collect();
                // Outputs that no tap of the kernel joins to one input position have taps of their own.
                let moved = Correlation::from_fn(&dims, |d| {
                    let meet = d.iter().zip(&strides).all(|(d, s)| d % s == 0);
                    let at: Vec<i64> = d.iter().zip(&strides).map(|(d, s)| d / s).collect();
                    if meet { x.correlation.at(&at) } else { 0.0 }
                });
                self.biased(Signal::new(y.mean, y.second, moved), operand(self, 2), node)?
            }
            Op::Dense => {
                let inputs = *self.shape(node.operands[1]).get(1)? as f64;
                let y = self.weighted(&x, node, inputs, Map::clone)?;
                self.biased(y, operand(self, 2), node)?
            }
            Op::MatMul => {
                let weight = usize::from(!self.draws.contains_key(&node.operands[0].node));
                let draw = *self.draws.get(&node.operands[weight].node)?;
                let data = self.signal(node.operands[1 - weight])?;
                let shape = self.shape(node.operands[weight]);
                let inner = *shape.iter().rev().nth(usize::from(weight == 1 && shape.len() > 1))? as f64;
                sum_of(&data, draw, inner, Map::clone)
            }
            Op::Unary(u) => {
                let u = *u;
                let homogeneous =
                    matches!(u, Unary::Relu | Unary::LeakyRelu { .. } | Unary::Abs | Unary::Neg);
                x.through(&Function::new(homogeneous, move |v| apply_unary(&u, v)))
            }
            Op::Prelu { .. } => {
                let slope = self.slope(node)?;
                x.through(&Function::new(true, move |v| prelu(v, slope)))
            }
            Op::Binary(op) => self.binary(*op, node, &x, &operand(self, 1)?)?,
            Op::BatchNorm { eps } => {
                let fresh = self.batch_norm == BatchNorm::Fresh && self.can_normalise(node);
                let (scale, shift) = (operand(self, 1)?, operand(self, 2)?);
                let normal = if fresh {
                    x.normalised(self.shape(node.operands[0]).first().copied().unwrap_or(1))
                } else {
                    let (mean, var) = (operand(self, 3)?, operand(self, 4)?);
                    x.plus(&mean, -1.0).scaled(1.0 / (var.mean.mean() + eps.0).sqrt())
                };
                normal.times(&scale).plus(&shift, 1.0)
            }
            Op::InstanceNorm { .. } => {
                x.normalised(1).times(&operand(self, 1)?).plus(&operand(self, 2)?, 1.0)
            }
            Op::LayerNorm { .. } => {
                let unit =
                    x.scaled(1.0 / x.second.mean().sqrt().max(f64::MIN_POSITIVE)).times(&operand(self, 1)?);
                operand(self, 2).map_or_else(|| unit.clone(), |shift| unit.plus(&shift, 1.0))
            }
            Op::MaxPool(a) => {
                let axes = self.pool_axes(node, a)?;
                self.max_pool(id, &x, &axes)
            }
            Op::AvgPool { pool, count_include_pad } => {
                let axes = self.pool_axes(node, pool)?;
                average(&x, &axes, *count_include_pad)
            }
            Op::Spp { bins } => self.pyramid(id, &x, bins),
            Op::Reduce { kind, axes, .. } => {
                let rank = self.shape(node.operands[0]).len();
                if rank < 3 || *axes != (2..rank).collect::<Vec<_>>() {
                    return None;
                }
                let whole: Vec<Axis> = x.second.dims.iter().map(|size| Axis::whole(*size)).collect();
                match kind {
                    ReduceKind::Mean => average(&x, &whole, true),
                    ReduceKind::Sum => {
                        let count = x.second.values.len() as f64;
                        average(&x, &whole, true).scaled(count)
                    }
                    ReduceKind::Max => self.max_pool(id, &x, &whole),
                    ReduceKind::Min | ReduceKind::Prod => return None,
                }
            }
            Op::Concat { .. } => self.concat(node)?,
            Op::Dropout { .. } | Op::Map => x,
            // Elements in other places: their moments stay on average.
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Expand { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::DepthToSpace { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. } => x,
            Op::ScatterElements { .. }
            | Op::ScatterNd { .. }
            | Op::ArgReduce { .. }
            | Op::ArgSort { .. }
            | Op::Cumulate { .. }
            | Op::Cut { .. }
            | Op::NonZero
            | Op::NonMaxSuppression { .. }
            | Op::MaxPoolIndices(_)
            | Op::Input
            | Op::Param(_)
            | Op::Const(_)
            | Op::Select
            | Op::Cast { .. }
            | Op::Softmax { .. }
            | Op::Pad { .. }
            | Op::ConvWeightGrad { .. }
            | Op::MaxPoolGrad(_)
            | Op::Resize(_) => return None,
        })
    }

    /// Root mean square of a PReLU's slopes.
    pub fn slope(&self, node: &Node) -> Option<f64> {
        let slope = self.signal(*node.operands.get(1)?)?;
        let rms = slope.second.mean().sqrt();
        Some(if slope.mean.mean() < 0.0 { -rms } else { rms })
    }

    /// The weighted sum of a layer, without its bias.
    fn weighted(&self, x: &Signal, node: &Node, channels: f64, taps: impl Fn(&Map) -> Map) -> Option<Signal> {
        let draw = *self.draws.get(&node.operands.get(1)?.node)?;
        Some(sum_of(x, draw, channels, taps))
    }

    fn biased(&self, y: Signal, bias: Option<Signal>, node: &Node) -> Option<Signal> {
        if node.arity < 3 {
            return Some(y);
        }
        Some(y.plus(&bias?.spread(&y.second.dims), 1.0))
    }

    fn binary(&self, op: Binary, node: &Node, x: &Signal, y: &Signal) -> Option<Signal> {
        let same = node.operands[0] == node.operands[1];
        Some(match op {
            Binary::Add if same => x.scaled(2.0),
            Binary::Add => x.plus(y, 1.0),
            Binary::Sub => x.plus(y, -1.0),
            Binary::Mul if same => x.through(&Function::new(false, |v| v * v)),
            Binary::Mul => x.times(y),
            Binary::Div | Binary::Max | Binary::Min | Binary::Pow | Binary::Rem => {
                // One of them is a number.
                if let Some(number) = y.number() {
                    let zero = number == 0.0 && op != Binary::Pow;
                    x.through(&Function::new(zero, move |v| apply_binary(op, v, number)))
                } else {
                    let number = x.number()?;
                    y.through(&Function::new(false, move |v| apply_binary(op, number, v)))
                }
            }
            Binary::Equal
            | Binary::Less
            | Binary::LessEqual
            | Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::ShiftLeft
            | Binary::ShiftRight => return None,
        })
    }

    fn concat(&self, node: &Node) -> Option<Signal> {
        let mut parts = Vec::new();
        for value in &node.operands {
            let weight = self.shape(*value).iter().product::<usize>() as f64;
            parts.push((self.signal(*value)?, weight));
        }
        let total: f64 = parts.iter().map(|(_, w)| w).sum();
        let (mut all, first) = (None, parts[0].0.second.dims.clone());
        for (part, weight) in parts {
            let part = part.spread_if(&first).weighted(weight / total);
            all = Some(match all {
                None => part,
                Some(sum) => Signal::mixed(&sum, &part),
            });
        }
        all
    }

    /// Statistics of a batch exist where a channel has more than one element.
    pub fn can_normalise(&self, node: &Node) -> bool {
        super::normalises(&self.shape(node.operands[0]))
    }

    pub fn conv_axes(&self, node: &Node) -> Option<Vec<Axis>> {
        let Op::Conv(a) = &node.op else { return None };
        let kernel: Vec<i64> = self.shape(node.operands[1]).iter().skip(2).map(|k| *k as i64).collect();
        let (x, y) = (self.dims(node.operands[0]), node.types[0].const_shape()?);
        window_axes(&x, y.get(2..)?, &kernel, &a.stride, &a.dilation, &a.pad)
    }

    /// Windows of a transposed convolution: one an input element, over the output.
    pub fn transposed_axes(&self, node: &Node, a: &ConvTransposeAttrs) -> Option<Vec<Axis>> {
        let kernel: Vec<i64> = self.shape(node.operands[1]).iter().skip(2).map(|k| *k as i64).collect();
        let Padding::Explicit(_) = a.pad else { return None };
        let (x, y) = (self.dims(node.operands[0]), node.types[0].const_shape()?);
        window_axes(y.get(2..)?, &x, &kernel, &a.stride, &a.dilation, &a.pad)
    }

    pub fn pool_axes(&self, node: &Node, a: &PoolAttrs) -> Option<Vec<Axis>> {
        let (x, y) = (self.dims(node.operands[0]), node.types[0].const_shape()?);
        window_axes(&x, y.get(2..)?, &a.kernel, &a.stride, &a.dilation, &a.pad)
    }
}

/// Σ over `channels` and taps of weight · x, for independent weights of one distribution. Where these have a mean, channels
/// count as independent and the taps of one channel too.
fn sum_of(x: &Signal, draw: Draw, channels: f64, taps: impl Fn(&Map) -> Map) -> Signal {
    let energy = taps(&x.second).scaled(channels);
    let total = taps(&x.mean).scaled(channels);
    let scatter = taps(&x.second.zip(&x.mean, |q, m| (q - m * m).max(0.0))).scaled(channels);
    let square = scatter.zip(&total, |s, t| s + t * t);
    let second = energy.zip(&square, |e, s| draw.variance() * e + draw.mean * draw.mean * s);
    Signal::new(total.scaled(draw.mean), second, x.correlation.clone())
}

fn window_axes(
    image: &[usize],
    windows: &[usize],
    kernel: &[i64],
    stride: &[i64],
    dilation: &[i64],
    pad: &Padding,
) -> Option<Vec<Axis>> {
    let sizes: Vec<Dim> = image.iter().map(|n| Dim::Const(*n as i64)).collect();
    let pads = resolve_padding(pad, &sizes, kernel, stride, dilation, &DimFacts::default())?;
    let axis = |i: usize| {
        Some(Axis {
            kernel: usize::try_from(*kernel.get(i)?).ok()?,
            stride: usize::try_from(*stride.get(i)?).ok()?,
            dilation: usize::try_from(*dilation.get(i)?).ok()?,
            before: *pads.get(i)?,
            windows: *windows.get(i)?,
        })
    };
    (0..image.len()).map(axis).collect()
}
