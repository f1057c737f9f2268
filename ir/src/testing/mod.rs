//! Random graphs, sizes, inputs and parameters for differential tests of all crates. Not part of the public API.
//!
//! Everything is a function of a seed and the same on every machine. Values stay moderate, so that tolerances on
//! results make sense, and are exact in `f32`, so that an evaluation in `f64` starts from the same numbers.

mod grow;

pub use grow::random_graph;

use crate::bind::{Bindings, symbols};
use crate::graph::{Graph, NodeId};
use crate::init::Dist;
use crate::interp::{Data, Float, Tensor, Tensors, known_param};
use crate::op::Source;
use crate::types::TensorType;

/// What random graphs look like.
#[derive(Clone, Debug)]
pub struct Options {
    /// About how many operations.
    pub operations: usize,
    /// Sizes are names (N, H, W) rather than numbers.
    pub symbolic: bool,
    /// 1 for sequences [N, C, L], 2 for images [N, C, H, W].
    pub spatial_rank: usize,
    /// Greatest number of channels; also what constant spatial sizes stay below.
    pub max_channels: i64,
}

impl Default for Options {
    fn default() -> Options {
        Options { operations: 12, symbolic: false, spatial_rank: 2, max_channels: 24 }
    }
}

/// A small generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A generator that depends on a name too.
    pub fn named(seed: u64, name: &str) -> Rng {
        // FNV-1a
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Rng(seed ^ hash)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in 0..n; n is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// True once in n.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<V: Copy>(&mut self, from: &[V]) -> V {
        from[self.below(from.len())]
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 40) as f64 / (1u64 << 24) as f64
    }

    /// Roughly normal with mean 0 and variance 1: a sum of uniforms, within ±6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Legal values of all dimension names, each near its least one and at most about `spread` above it.
pub fn random_bindings(graph: &Graph, seed: u64, spread: i64) -> Bindings {
    let value = |name: &str| {
        let (f, mut rng) = (graph.facts.get(name), Rng::named(seed, name));
        let least = f.min + (f.remainder - f.min).rem_euclid(f.modulus);
        let steps = f.max.map_or(spread, |max| spread.min(max - least)).max(0) / f.modulus;
        least + f.modulus * rng.below(steps as usize + 1) as i64
    };
    symbols(graph).iter().map(|name| (name.to_string(), value(name))).collect()
}

/// Inputs for the given sizes.
pub fn random_inputs<T: Float>(graph: &Graph, bindings: &Bindings, seed: u64) -> Tensors<T> {
    let mut inputs = Tensors::new();
    for id in graph.inputs() {
        let (node, ty) = (graph.node(*id), graph.ty((*id).into()));
        let name = node.name.as_deref().unwrap_or_default();
        let mut rng = Rng::named(seed, name);
        let size = |d: &crate::Dim| d.eval(&|n| bindings.get(n).copied()).unwrap_or(1).max(0);
        let shape: Vec<usize> = ty.shape.iter().map(|d| size(d) as usize).collect();
        let n: usize = shape.iter().product();
        let data = match ty.dtype {
            crate::DType::Bool => Data::Bool((0..n).map(|_| rng.one_in(2)).collect()),
            t if t.is_float() => Data::Float((0..n).map(|_| narrow(rng.normal())).collect()),
            _ => Data::Int((0..n).map(|_| rng.below(17) as i64).collect()),
        };
        inputs.insert(name.to_string(), Tensor { shape, data });
    }
    inputs
}

/// Puts NaN, infinities and signed zeros in place of about one element in `one_in`.
pub fn with_special_values<T: Float>(mut inputs: Tensors<T>, seed: u64, one_in: usize) -> Tensors<T> {
    for (name, tensor) in &mut inputs {
        let mut rng = Rng::named(seed ^ 1, name);
        if let Data::Float(values) = &mut tensor.data {
            for v in values.iter_mut().filter(|_| rng.one_in(one_in)).collect::<Vec<_>>() {
                let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0];
                *v = T::from_f64(special[(v.to_f64().to_bits() >> 32) as usize % special.len()]);
            }
        }
    }
    inputs
}

fn narrow<T: Float>(v: f64) -> T {
    T::from_f64(f64::from(v as f32))
}

/// The value of a parameter: what its source says where that is a constant, otherwise a draw that depends on seed, name
/// and shape. Fan and gain play no role, so resolving them changes nothing; the affine part of an `Init` is applied.
/// Use it as the interpreter's callback: `&mut |g, id| random_param(g, id, seed)`.
pub fn random_param<T: Float>(graph: &Graph, id: NodeId, seed: u64) -> Result<Tensor<T>, String> {
    if let Some(known) = known_param(graph, id) {
        return Ok(known);
    }
    let node = graph.node(id);
    let ty: &TensorType = &node.types[0];
    let shape = ty.const_shape().ok_or("the shape is not known")?;
    let mut rng = Rng::named(seed, node.name.as_deref().unwrap_or_default());
    let fan: usize = shape.iter().skip(1).product();
    let std = (2.0 / fan.max(1) as f64).sqrt();
    let mut draw = || match node.source() {
        Some(Source::Init(init)) => {
            let v = match init.dist {
                Dist::Normal { mean, std } | Dist::TruncNormal { mean, std, .. } => {
                    mean.0 + std.0 * rng.normal()
                }
                Dist::Uniform { low, high } => low.0 + (high.0 - low.0) * rng.unit(),
                Dist::Scaled { .. }
                | Dist::TorchDefault { .. }
                | Dist::Orthogonal { .. }
                | Dist::Identity
                | Dist::Constant(_) => std * rng.normal(),
            };
            narrow(init.scale.0 * f64::from(v as f32) + init.shift.0)
        }
        Some(Source::File { .. } | Source::Data(_)) | None => narrow(std * rng.normal()),
    };
    let values: Vec<T> = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::new(shape, values).ok_or_else(|| "the size overflows".to_string())
}

#[cfg(test)]
mod tests;
