//! The gain of a layer: which rectifiers its result feeds, and what they do to its second moment.
//!
//! A rectifier with slope a keeps (1 + a²) / 2 of the second moment of a symmetric input, so the layer before it makes
//! up with the gain sqrt(2 / (1 + a²)) (He et al. 2015, equation 15). The walk goes forward from the layer through
//! operations that pass a signal on: bias and residual additions, products, batch norm and other norms, pooling,
//! dropout, reshapes, concatenations, resizing. It ends at
//!
//! - relu, leaky_relu, prelu, and `max(x, 0)`: slope a;
//! - abs: a rectifier of slope -1, gain 1;
//! - smooth relatives of ReLU (elu, gelu, silu, hard_swish, softplus) and clips from 0 on (relu6): taken as ReLU, slope
//!   0. Their exact second moment depends on the scale of the input; practice is He's initialisation for ReLU (Clevert
//!   et al. 2016 for ELU; Howard et al. 2017 and torchvision for ReLU6, hard-swish and SiLU networks);
//! - anything else (another layer, sigmoid, softmax, an output): no rectifier, gain 1.

use super::{GainReport, InitWarning, layers};
use crate::log::label;
use rectify_ir::graph::{Graph, Node, NodeId, Value};
use rectify_ir::init::{Dist, Gain};
use rectify_ir::op::{Binary, Op, Source, Unary};
use std::fmt;
use std::sync::Arc;

/// The slope that PReLU starts from in the paper; stands for slopes that are not known.
const PRELU_START: f64 = 0.25;

/// What a layer's result reaches.
#[derive(Clone, Debug, PartialEq)]
pub enum Feeds {
    /// A rectifier with the root mean square of its slopes.
    Rectifier { label: String, kind: &'static str, slope: f64 },
    /// An operation, or an output, that is no rectifier.
    Other { label: String },
}

impl Feeds {
    /// The gain that this alone asks for.
    pub fn gain(&self) -> f64 {
        match self {
            Feeds::Rectifier { slope, .. } => (2.0 / (1.0 + slope * slope)).sqrt(),
            Feeds::Other { .. } => 1.0,
        }
    }
}

impl fmt::Display for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Feeds::Rectifier { label, kind, slope } => write!(f, "{kind} {label}, slope {slope}"),
            Feeds::Other { label } => write!(f, "{label}, no rectifier"),
        }
    }
}

/// Where a gain is from.
#[derive(Clone, Debug, PartialEq)]
pub enum GainWhy {
    /// The model gives it.
    Written,
    /// From the rectifier; the first of several that agree.
    Rectifier(Feeds),
    /// The layer feeds no rectifier.
    NoRectifier,
    /// What it feeds disagrees; the greatest gain was taken.
    Disagree(Vec<Feeds>),
}

impl fmt::Display for GainWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GainWhy::Written => f.write_str("as written"),
            GainWhy::Rectifier(feeds) => write!(f, "{feeds}"),
            GainWhy::NoRectifier => f.write_str("feeds no rectifier"),
            GainWhy::Disagree(feeds) => {
                f.write_str("the greatest of: ")?;
                for (i, one) in feeds.iter().enumerate() {
                    write!(f, "{}{one}", if i == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

pub(super) fn find(
    graph: &Graph,
    param: NodeId,
    name: &Arc<str>,
    gain: Gain,
    warnings: &mut Vec<InitWarning>,
) -> GainReport {
    if let Gain::Value(v) = gain {
        return GainReport { value: v.0, why: GainWhy::Written };
    }
    let mut walk = Walk { graph, name, warnings, seen: Vec::new(), found: Vec::new() };
    for (layer, _) in layers(graph, param) {
        for result in 0..graph.node(layer).types.len() as u32 {
            walk.follow(Value { node: layer, result });
        }
    }
    let found = walk.found;
    let greatest = found.iter().map(Feeds::gain).fold(f64::NEG_INFINITY, f64::max);
    let Some(first) = found.first() else {
        return GainReport { value: 1.0, why: GainWhy::NoRectifier };
    };
    if found.iter().any(|f| (f.gain() - first.gain()).abs() > 1e-9) {
        warnings.push(InitWarning::GainsDisagree {
            param: name.clone(),
            feeds: found.clone(),
            taken: greatest,
        });
        return GainReport { value: greatest, why: GainWhy::Disagree(found) };
    }
    // Other ends may ask for the same gain (a slope of 1, say); a rectifier explains it better.
    match found.iter().find(|f| matches!(f, Feeds::Rectifier { .. })) {
        Some(rectifier) => GainReport { value: greatest, why: GainWhy::Rectifier(rectifier.clone()) },
        None => GainReport { value: 1.0, why: GainWhy::NoRectifier },
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    name: &'a Arc<str>,
    warnings: &'a mut Vec<InitWarning>,
    seen: Vec<Value>,
    found: Vec<Feeds>,
}

enum Step {
    /// The signal goes through.
    Through,
    Rectifier(&'static str, f64),
    End,
}

impl Walk<'_> {
    fn follow(&mut self, from: Value) {
        let mut pending = vec![from];
        while let Some(value) = pending.pop() {
            if self.seen.contains(&value) {
                continue;
            }
            self.seen.push(value);
            for output in self.graph.outputs.iter().filter(|o| o.value == value) {
                self.add(Feeds::Other { label: format!("output {}", output.name) });
            }
            for (user, operand) in self.graph.users(value) {
                match self.step(user, operand) {
                    Step::Through => {
                        let results = self.graph.node(user).types.len() as u32;
                        pending.extend((0..results).map(|result| Value { node: user, result }));
                    }
                    Step::Rectifier(kind, slope) => {
                        self.add(Feeds::Rectifier { label: label(self.graph, user), kind, slope });
                    }
                    Step::End => self.add(Feeds::Other { label: label(self.graph, user) }),
                }
            }
        }
    }

    fn add(&mut self, feeds: Feeds) {
        if !self.found.contains(&feeds) {
            self.found.push(feeds);
        }
    }

    fn step(&mut self, user: NodeId, operand: usize) -> Step {
        let node = self.graph.node(user);
        match &node.op {
            Op::Unary(u) => unary(u),
            Op::Prelu { .. } if operand == 0 => Step::Rectifier("prelu", self.slope(user, node)),
            Op::Binary(Binary::Max) if self.constant(node, 1 - operand.min(1)) == Some(0.0) => {
                Step::Rectifier("max", 0.0)
            }
            Op::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Max | Binary::Min) => Step::Through,
            Op::Binary(Binary::Div) if operand == 0 => Step::Through,
            Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::InstanceNorm { .. } if operand == 0 => {
                Step::Through
            }
            Op::MaxPool(_)
            | Op::AvgPool { .. }
            | Op::Spp { .. }
            | Op::Reduce { .. }
            | Op::Concat { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Expand { .. }
            | Op::DepthToSpace { .. }
            | Op::Resize(_)
            | Op::Dropout { .. }
            | Op::Map => Step::Through,
            Op::Select if operand > 0 => Step::Through,
            Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } if operand == 0 => {
                Step::Through
            }
            Op::Prelu { .. }
            | Op::Select
            | Op::Cast { .. }
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
            | Op::Binary(
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
                | Binary::ShiftRight,
            )
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::InstanceNorm { .. }
            | Op::Input
            | Op::Param(_)
            | Op::Const(_)
            | Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::ConvWeightGrad { .. }
            | Op::MaxPoolGrad(_)
            | Op::Dense
            | Op::MatMul
            | Op::Softmax { .. } => Step::End,
        }
    }

    /// The value of operand `index`, where it is a number.
    fn constant(&self, node: &Node, index: usize) -> Option<f64> {
        crate::edit::constant(self.graph, *node.operands.get(index)?)
    }

    /// Root mean square of the slopes that a PReLU starts with.
    fn slope(&mut self, user: NodeId, node: &Node) -> f64 {
        let Some(source) = node.operands.get(1).map(|v| self.graph.node(v.node)) else { return PRELU_START };
        if let Op::Const(c) = source.op {
            return c.0.abs();
        }
        match source.source() {
            Some(Source::Init(init)) => {
                let (scale, shift) = (init.scale.0, init.shift.0);
                let mean = match init.dist {
                    Dist::Constant(c) => return (scale * c.0 + shift).abs(),
                    Dist::Normal { mean, .. } => mean.0,
                    Dist::Uniform { low, high } => (low.0 + high.0) / 2.0,
                    Dist::TruncNormal { mean, .. } => mean.0,
                    Dist::Scaled { .. }
                    | Dist::TorchDefault { .. }
                    | Dist::Orthogonal { .. }
                    | Dist::Identity => 0.0,
                };
                let std = init.std().unwrap_or(0.0);
                ((scale * mean + shift).powi(2) + std * std).sqrt()
            }
            Some(Source::Data(literal)) => {
                let values = literal.to_f64();
                let sum: f64 = values.iter().map(|v| v * v).sum();
                (sum / values.len().max(1) as f64).sqrt()
            }
            Some(Source::File { .. }) | None => {
                let warning =
                    InitWarning::SlopeInFile { param: self.name.clone(), rectifier: label(self.graph, user) };
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
                PRELU_START
            }
        }
    }
}

fn unary(u: &Unary) -> Step {
    match u {
        Unary::Relu => Step::Rectifier("relu", 0.0),
        Unary::LeakyRelu { alpha } => Step::Rectifier("leaky_relu", alpha.0),
        Unary::Clip { min, .. } if min.0 == 0.0 => Step::Rectifier("clip", 0.0),
        Unary::Abs => Step::Rectifier("abs", -1.0),
        Unary::Elu { .. } => Step::Rectifier("elu", 0.0),
        Unary::Gelu { .. } => Step::Rectifier("gelu", 0.0),
        Unary::Silu => Step::Rectifier("silu", 0.0),
        Unary::HardSwish => Step::Rectifier("hard_swish", 0.0),
        Unary::Softplus => Step::Rectifier("softplus", 0.0),
        Unary::Neg | Unary::Floor | Unary::Ceil | Unary::Round => Step::Through,
        Unary::Clip { .. }
        | Unary::Sigmoid
        | Unary::HardSigmoid { .. }
        | Unary::Tanh
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Reciprocal
        | Unary::Sign
        | Unary::Not
        | Unary::Trig(_)
        | Unary::Erf => Step::End,
    }
}
