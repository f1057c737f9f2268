//! Which fan and which gain the initialisation of each parameter stands for, and why.
//!
//! Fans come from the weight's own shape and the operation that reads it. The gain `auto` follows the layer's result
//! to the rectifiers that it feeds (see `rectifier`). Both look at the graph as written, before anything is rewritten.

mod fan;
mod rectifier;

pub use fan::FanReport;
pub use rectifier::{Feeds, GainWhy};

use crate::log::label;
use rectify_ir::dim::Dim;
use rectify_ir::graph::{Graph, NodeId};
use rectify_ir::init::{Dist, Fan, Gain, Init};
use rectify_ir::op::{Op, Source};
use rectify_ir::scalar::Scalar;
use std::fmt;
use std::sync::Arc;

/// All that `rectify init --explain` says of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct InitReport {
    pub param: NodeId,
    pub name: Arc<str>,
    pub shape: Vec<Dim>,
    /// As the model has it.
    pub written: Init,
    /// Present where the distribution is scaled by a fan.
    pub fan: Option<FanReport>,
    /// Present where the distribution has a gain.
    pub gain: Option<GainReport>,
    /// Standard deviation of the values, where a formula gives it.
    pub std: Option<f64>,
    /// `written` with fan and gain as numbers.
    pub resolved: Init,
}

/// The factor on 1 / sqrt(fan), and where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct GainReport {
    pub value: f64,
    pub why: GainWhy,
}

/// Something about an initialisation that its author should look at.
#[derive(Clone, Debug, PartialEq)]
pub enum InitWarning {
    /// What the layer feeds asks for different gains. The greatest was taken, which keeps the signal from vanishing.
    GainsDisagree { param: Arc<str>, feeds: Vec<Feeds>, taken: f64 },
    /// Layers that share the weight have different fans. The first layer's was taken.
    FansDisagree { param: Arc<str>, layers: Vec<(String, f64)>, taken: f64 },
    /// The rectifier's slopes are in a file, so the start value of PReLU was taken for them.
    SlopeInFile { param: Arc<str>, rectifier: String },
}

impl fmt::Display for InitWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitWarning::GainsDisagree { param, feeds, taken } => {
                write!(f, "{param} feeds layers that ask for different gains:")?;
                for (i, one) in feeds.iter().enumerate() {
                    write!(f, "{} {:.4} ({one})", if i == 0 { "" } else { "," }, one.gain())?;
                }
                write!(f, "; {taken:.4} is taken. Write the gain that you mean: `gain: {taken:.4}`")
            }
            InitWarning::FansDisagree { param, layers, taken } => {
                write!(f, "{param} is shared by layers with different fans:")?;
                for (i, (layer, fan)) in layers.iter().enumerate() {
                    write!(f, "{} {fan} ({layer})", if i == 0 { "" } else { "," })?;
                }
                write!(f, "; {taken} is taken. Write the fan that you mean: `fan: {taken}`")
            }
            InitWarning::SlopeInFile { param, rectifier } => write!(
                f,
                "{param}: the slopes of {rectifier} are in a file and not read for initialisation; 0.25 is taken"
            ),
        }
    }
}

/// Reports on every parameter that is drawn, in topological order.
pub fn explain_init(graph: &Graph) -> (Vec<InitReport>, Vec<InitWarning>) {
    let mut warnings = Vec::new();
    let reports = graph
        .params()
        .into_iter()
        .filter_map(|param| {
            let Some(Source::Init(init)) = graph.node(param).source() else { return None };
            Some(report(graph, param, *init, &mut warnings))
        })
        .collect();
    (reports, warnings)
}

fn report(graph: &Graph, param: NodeId, written: Init, warnings: &mut Vec<InitWarning>) -> InitReport {
    let node = graph.node(param);
    let name: Arc<str> = node.name.clone().unwrap_or_else(|| label(graph, param).into());
    let ty = graph.ty(param.into());
    let mut resolved = written;
    let (mut fan_report, mut gain_report) = (None, None);
    let mut take_fan = |fan: &mut Fan, warnings: &mut Vec<InitWarning>| {
        let found = fan::find(graph, param, &name, *fan, warnings);
        if let Some(found) = found {
            *fan = Fan::Value(Scalar(found.value));
            fan_report = Some(found);
        }
    };
    let mut take_gain = |gain: &mut Gain, warnings: &mut Vec<InitWarning>| {
        let found = rectifier::find(graph, param, &name, *gain, warnings);
        *gain = Gain::Value(Scalar(found.value));
        gain_report = Some(found);
    };
    match &mut resolved.dist {
        Dist::Scaled { fan, gain, .. } => {
            take_fan(fan, warnings);
            take_gain(gain, warnings);
        }
        Dist::TorchDefault { fan } => take_fan(fan, warnings),
        Dist::Orthogonal { gain } => take_gain(gain, warnings),
        Dist::Normal { .. }
        | Dist::TruncNormal { .. }
        | Dist::Uniform { .. }
        | Dist::Constant(_)
        | Dist::Identity => {}
    }
    InitReport {
        param,
        name,
        shape: ty.shape.clone(),
        written,
        fan: fan_report,
        gain: gain_report,
        std: resolved.std(),
        resolved,
    }
}

/// Layers that read the parameter, directly or through elementwise derivations, with the operand's index.
fn layers(graph: &Graph, param: NodeId) -> Vec<(NodeId, usize)> {
    let ty = graph.ty(param.into());
    let mut found = Vec::new();
    let mut pending = vec![param];
    let mut seen = vec![param];
    while let Some(node) = pending.pop() {
        for (user, operand) in graph.users(node.into()) {
            let n = graph.node(user);
            let derives = n.op.is_elementwise()
                && n.types.len() == 1
                && n.types[0] == *ty
                && n.operands.iter().all(|v| is_param_like(graph, v.node));
            if derives {
                if !seen.contains(&user) {
                    seen.push(user);
                    pending.push(user);
                }
            } else if !found.contains(&(user, operand)) {
                found.push((user, operand));
            }
        }
    }
    found.sort_unstable();
    found
}

/// True for parameters, constants and what is computed from them alone within a few steps.
fn is_param_like(graph: &Graph, node: NodeId) -> bool {
    let mut pending = vec![node];
    for _ in 0..64 {
        let Some(node) = pending.pop() else { return true };
        let n = graph.node(node);
        if matches!(n.op, Op::Input) {
            return false;
        }
        pending.extend(n.operands.iter().map(|v| v.node));
    }
    false
}
