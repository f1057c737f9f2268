//! Predicts the second moments of signals and gradients of a freshly initialised network, layer by layer.
//!
//! **Forward.** With independent weights of mean zero, `E[y²] = Var[w] Σ E[x²]` over the taps that lie inside the image
//! (He et al. 2015, equation 7, for each position by itself: padded borders have fewer taps). This holds for any
//! input, so the first layer takes the given input's own squares. Behind such a layer a signal is normal in the limit of
//! many channels, which gives rectifiers (`gauss`), and with the correlations between positions (`correlation`) also
//! max-pooling (`window`) and averages.
//!
//! **Backward.** The same sums over the transposed windows, with E[f'(x)²] for rectifiers, from independent gradients of second
//! moment 1 at each element of the outputs (`backward`). Their correlations between positions say what batch norms take away and how large
//! gradients of weights are.
//!
//! **What is taken for granted.** Channels of a value are alike; the branches of a sum or product have nothing in common but
//! their means; sums and pools are normal before the next function; correlations depend on the distance and, at borders, on each axis by itself. A value
//! behind an operation without a rule (softmax, a product of two activations' matrices, resampling) has no prediction.

mod backward;
mod border;
mod correlation;
mod forward;
mod gauss;
mod gradient;
mod map;
mod pool;
mod signal;
mod weights;
mod window;

pub use correlation::Correlation;
pub use map::Map;
pub use weights::{Draw, Loaded};

use forward::Walk;
use rectify_ir::graph::{Graph, NodeId, Value};
use std::collections::HashMap;

/// What batch norms do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchNorm {
    /// Statistics of the batch, as training begins.
    Fresh,
    /// The running statistics that the parameters hold, as inference has it.
    #[default]
    Running,
}

/// Moments of an input as it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub mean: Map,
    pub second: Map,
    pub correlation: Correlation,
}

impl Seen {
    /// Measured on a tensor of shape [N, C, …] or of lower rank.
    pub fn measure(shape: &[usize], values: &[f32]) -> Seen {
        let dims = shape.get(2..).unwrap_or_default();
        let size: usize = dims.iter().product();
        let channels: Vec<&[f32]> = values.chunks_exact(size.max(1)).collect();
        let n = channels.len().max(1) as f64;
        let (mut mean, mut second) = (Map::constant(dims, 0.0), Map::constant(dims, 0.0));
        for channel in &channels {
            for (i, v) in channel.iter().enumerate() {
                mean.values[i] += f64::from(*v) / n;
                second.values[i] += f64::from(*v).powi(2) / n;
            }
        }
        // A mean over the channels at one place is no constant of the network: the mean over all places is.
        let level = mean.mean();
        mean.values.fill(level);
        Seen { mean, second, correlation: Correlation::measured(dims, &channels) }
    }
}

/// Predicted moments of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// Root mean square over all positions.
    pub rms: f64,
    pub mean: f64,
    /// Least and greatest root mean square at a position: borders against the middle.
    pub least: f64,
    pub greatest: f64,
    /// Root mean square of the gradient, where that of each output element is 1.
    pub gradient: Option<f64>,
}

/// What is predicted of a graph; what has no rule is left out.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    pub values: HashMap<Value, Predicted>,
    /// Root mean squares of the gradients by the weights of layers, where gradients are as in [`Predicted`].
    pub weights: HashMap<NodeId, f64>,
}

/// Predicts all values of a graph whose sizes are known.
pub fn predict(
    graph: &Graph,
    inputs: HashMap<Value, Seen>,
    batch_norm: BatchNorm,
    loaded: &Loaded<'_>,
) -> Predictions {
    let mut walk = Walk {
        graph,
        draws: weights::draws(graph, loaded),
        signals: HashMap::new(),
        choices: HashMap::new(),
        batch_norm,
    };
    walk.run(inputs);
    let gradients = backward::gradients(&walk);
    let predicted = |value: &Value| {
        let signal = &walk.signals[value];
        let bound = |pick: fn(f64, f64) -> f64, from| signal.second.values.iter().copied().fold(from, pick);
        Predicted {
            rms: signal.second.mean().sqrt(),
            mean: signal.mean.mean(),
            least: bound(f64::min, f64::INFINITY).sqrt(),
            greatest: bound(f64::max, 0.0).sqrt(),
            gradient: gradients.values.get(value).map(|g| g.second.mean().sqrt()),
        }
    };
    Predictions {
        values: walk.signals.keys().map(|value| (*value, predicted(value))).collect(),
        weights: gradients.weights.iter().map(|(weight, second)| (*weight, second.sqrt())).collect(),
    }
}

/// True where a batch norm of x of this shape has statistics to compute: more than one element a channel.
pub fn normalises(shape: &[usize]) -> bool {
    let channels = shape.get(1).copied().unwrap_or(1);
    shape.iter().product::<usize>() > channels
}

#[cfg(test)]
mod tests;
