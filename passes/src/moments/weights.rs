//! Mean and second moment of a parameter's elements, from its initialisation or its values.

use crate::init_analysis::explain_init;
use rectify_ir::graph::{Graph, NodeId};
use rectify_ir::init::{Dist, Gain, Init};
use rectify_ir::op::{Op, Source};
use std::collections::HashMap;

/// Moments of the elements of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    pub mean: f64,
    pub second: f64,
}

impl Draw {
    pub fn of(values: impl Iterator<Item = f64>) -> Draw {
        let (mut mean, mut second, mut count) = (0.0, 0.0, 0usize);
        for v in values {
            mean += v;
            second += v * v;
            count += 1;
        }
        let n = count.max(1) as f64;
        Draw { mean: mean / n, second: second / n }
    }

    pub fn variance(self) -> f64 {
        (self.second - self.mean * self.mean).max(0.0)
    }
}

/// Moments of the values of parameters that are in files; `None` if they cannot be read.
pub type Loaded<'a> = dyn Fn(NodeId) -> Option<Draw> + 'a;

/// All parameters whose moments are known.
pub(super) fn draws(graph: &Graph, loaded: &Loaded<'_>) -> HashMap<NodeId, Draw> {
    let mut draws = HashMap::new();
    for report in explain_init(graph).0 {
        let shape = graph.ty(report.param.into()).const_shape().unwrap_or_default();
        if let Some(draw) = from_init(&report.resolved, &shape) {
            draws.insert(report.param, draw);
        }
    }
    for param in graph.params() {
        let draw = match graph.node(param).source() {
            Some(Source::Data(literal)) => Some(Draw::of(literal.to_f64().into_iter())),
            Some(Source::File { .. }) => loaded(param),
            Some(Source::Init(_)) | None => None,
        };
        draws.extend(draw.map(|draw| (param, draw)));
    }
    for id in graph.node_ids() {
        if let Op::Const(c) = graph.node(id).op {
            draws.insert(id, Draw { mean: c.0, second: c.0 * c.0 });
        }
    }
    draws
}

fn from_init(init: &Init, shape: &[usize]) -> Option<Draw> {
    let (scale, shift) = (init.scale.0, init.shift.0);
    let rows = shape.first().copied().unwrap_or(1).max(1);
    let columns: usize = shape.iter().skip(1).product::<usize>().max(1);
    let (mean, variance) = match init.dist {
        Dist::Constant(c) => (c.0, 0.0),
        Dist::Normal { mean, std } => (mean.0, std.0 * std.0),
        Dist::Uniform { low, high } => ((low.0 + high.0) / 2.0, (high.0 - low.0).powi(2) / 12.0),
        // Cut evenly on both sides, as all in use are; else the mean is a little off.
        Dist::TruncNormal { mean, .. } => (mean.0, (init.std()? / scale.abs()).powi(2)),
        // Orthonormal rows or columns: the squares of the lesser number of them sum to one each.
        Dist::Orthogonal { gain: Gain::Value(gain) } => (0.0, gain.0 * gain.0 / rows.max(columns) as f64),
        Dist::Identity => {
            let ones = rows.min(shape.get(1).copied().unwrap_or(1)) as f64;
            let mean = ones / (rows * columns) as f64;
            (mean, mean - mean * mean)
        }
        Dist::Scaled { .. } | Dist::TorchDefault { .. } | Dist::Orthogonal { .. } => {
            (0.0, (init.std()? / scale.abs()).powi(2))
        }
    };
    let mean = scale * mean + shift;
    let variance = if variance.is_finite() { scale * scale * variance } else { 0.0 };
    Some(Draw { mean, second: mean * mean + variance })
}
