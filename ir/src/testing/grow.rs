//! Growing a random graph one operation at a time.

use super::{Options, Rng};
use crate::builder::{BuildError, ConvSpec, GraphBuilder, PoolSpec};
use crate::dim::Dim;
use crate::graph::{Graph, Value};
use crate::init::{Dist, Init};
use crate::scalar::Scalar;

/// A random verified graph with one to three outputs. Which operations it has depends on the seed alone.
pub fn random_graph(seed: u64, options: &Options) -> Graph {
    let mut g = Grower {
        rng: Rng::new(seed),
        builder: GraphBuilder::new(format!("random{seed}")),
        images: Vec::new(),
        options: options.clone(),
        labels: 0,
    };
    g.inputs();
    let mut made = 0;
    // A step whose operation does not fit the picked operands is no step; most fit.
    for _ in 0..options.operations * 8 {
        if made >= options.operations {
            break;
        }
        if let Ok(value) = g.step() {
            made += 1;
            if g.is_moderate(value) {
                g.images.push(value);
            }
        }
    }
    g.outputs();
    let mut graph = match g.builder.finish() {
        Ok(graph) => graph,
        Err(e) => panic!("the random graph {seed} is not sound: {e}"),
    };
    graph.remove_dead();
    graph
}

struct Grower {
    rng: Rng,
    builder: GraphBuilder,
    /// Values of the shape [N, C, …] that later operations may read.
    images: Vec<Value>,
    options: Options,
    labels: usize,
}

type Made = Result<Value, BuildError>;

impl Grower {
    fn inputs(&mut self) {
        let names = ["H", "W"];
        for input in 0..1 + self.rng.below(2) {
            let channels = 1 + self.rng.below(8) as i64;
            let mut shape = vec![if self.options.symbolic { Dim::sym("N") } else { Dim::Const(2) }];
            shape.push(Dim::Const(channels));
            for (i, name) in names.iter().take(self.options.spatial_rank).enumerate() {
                let constant = [8, 12][i];
                shape.push(if self.options.symbolic { Dim::sym(name) } else { Dim::Const(constant) });
            }
            let value = self.builder.input(&format!("x{input}"), shape);
            self.images.push(value);
        }
        if self.options.symbolic {
            for name in names.iter().take(self.options.spatial_rank) {
                self.builder.multiple_of(name, 4);
                self.builder.range(name, 8..=64);
            }
        }
    }

    /// The last value behind a head; up to two others as they are; and means of all that nothing reads, so that every
    /// operation is needed.
    fn outputs(&mut self) {
        let last = self.images.len() - 1;
        let value = self.images[last];
        let head = self.head(value).unwrap_or(value);
        self.builder.output("y", head);
        for extra in 0..self.rng.below(3) {
            let value = self.image();
            self.builder.output(&format!("extra{extra}"), value);
        }
        let axes: Vec<i64> = (2..2 + self.options.spatial_rank as i64).collect();
        let mut means = Vec::new();
        for value in self.images.clone() {
            if self.builder.use_count(value) == 0 {
                means.extend(self.builder.op("reduce_mean", &[value], [("axes", axes.clone().into())]));
            }
        }
        if let Ok(rest) = self.builder.concat(&means, 1) {
            self.builder.output("rest", rest);
        }
    }

    fn head(&mut self, x: Value) -> Made {
        let label = self.label();
        match self.rng.below(4) {
            0 => Ok(x),
            1 => {
                let x = self.builder.global_avg_pool(x)?;
                let x = self.builder.flatten(x)?;
                self.builder.dense(x, &label, 5)
            }
            2 if self.options.spatial_rank == 2 => {
                let x = self.builder.op("spp", &[x], [("bins", [3, 1].into())])?;
                let x = self.builder.dense(x, &label, 4)?;
                self.builder.op("softmax", &[x], [("axis", (-1).into())])
            }
            _ => {
                let axes: Vec<i64> = (2..2 + self.options.spatial_rank as i64).collect();
                let kind = self.rng.pick(&["reduce_mean", "reduce_max", "reduce_min", "reduce_sum"]);
                self.builder.op(kind, &[x], [("axes", axes.into()), ("keep", self.rng.one_in(2).into())])
            }
        }
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("l{}", self.labels)
    }

    /// A value to read: a late one more often than an early one.
    fn image(&mut self) -> Value {
        let n = self.images.len();
        let back = self.rng.below(n).min(self.rng.below(n));
        self.images[n - 1 - back]
    }

    fn channels(&self, x: Value) -> i64 {
        self.builder.ty(x).shape[1].as_const().unwrap_or(1)
    }

    /// Small enough, of image form, and for all legal sizes large enough for what may follow.
    fn is_moderate(&self, x: Value) -> bool {
        let ty = self.builder.ty(x);
        let facts = self.builder.facts();
        let fits = |d: &Dim| {
            d.bounds(facts).0.is_some_and(|least| least >= 3) && d.as_const().is_none_or(|c| c <= 48)
        };
        ty.rank() == 2 + self.options.spatial_rank
            && self.channels(x) <= self.options.max_channels
            && ty.shape[2..].iter().all(fits)
    }

    /// A parameter whose values are no constants, so that no rule may take them for one.
    fn param(&mut self, shape: Vec<Dim>, low: f64, high: f64) -> Made {
        let name = format!("{}.value", self.label());
        let dist = Dist::Uniform { low: Scalar(low), high: Scalar(high) };
        self.builder.param(&name, shape, Init::from(dist))
    }

    /// One more operation.
    fn step(&mut self) -> Made {
        let x = self.image();
        match self.rng.below(20) {
            0..=4 => self.conv(x),
            5 => self.conv_transpose(x),
            6..=8 => self.prelu(x),
            9..=10 => self.unary(x),
            11..=12 => self.binary(x),
            13 => self.norm(x),
            14..=15 => self.pool(x),
            16 => self.residual(x),
            17 => self.concat(x),
            _ => self.layout(x),
        }
    }

    fn conv(&mut self, x: Value) -> Made {
        let channels = self.channels(x);
        let kernel = self.rng.pick(&[1, 1, 2, 3, 3, 5]);
        let depthwise = self.rng.one_in(5);
        let groups = match (depthwise, channels % 2) {
            (true, _) => channels,
            (false, 0) if self.rng.one_in(4) => 2,
            (false, _) => 1,
        };
        let outputs = if depthwise { channels } else { groups * (1 + self.rng.below(8) as i64) };
        let rank = self.options.spatial_rank;
        let mut spec = ConvSpec::new(outputs, kernel).groups(groups);
        spec = match self.rng.below(6) {
            0 => spec.same(),
            1 => spec.pad((0..2 * rank).map(|_| self.rng.below(3) as i64).collect::<Vec<_>>()),
            2 => spec,
            _ => spec.pad(kernel / 2),
        };
        if self.rng.one_in(4) {
            spec = spec.stride(2);
        }
        if self.rng.one_in(6) {
            spec = spec.dilation(2);
        }
        spec = if self.rng.one_in(3) { spec.no_bias() } else { spec.bias(uniform(-0.5, 0.5)) };
        let label = self.label();
        self.builder.conv(x, &label, spec)
    }

    fn conv_transpose(&mut self, x: Value) -> Made {
        let stride = 1 + self.rng.below(2) as i64;
        let kernel = stride + self.rng.below(3) as i64;
        let mut spec = ConvSpec::new(1 + self.rng.below(6) as i64, kernel).stride(stride);
        spec = spec.bias(uniform(-0.5, 0.5));
        if self.rng.one_in(2) {
            spec = spec.pad((kernel - 1) / 2);
        }
        if stride == 2 && self.rng.one_in(2) {
            spec = spec.output_pad(1);
        }
        let label = self.label();
        self.builder.conv_transpose(x, &label, spec)
    }

    fn prelu(&mut self, x: Value) -> Made {
        let shape = self.builder.ty(x).shape.clone();
        match self.rng.below(6) {
            0 => {
                let slope = self.param(vec![1.into()], -0.5, 1.5)?;
                self.builder.op("prelu", &[x, slope], [])
            }
            1 if shape[2..].iter().all(|d| d.as_const().is_some()) => {
                // Elementwise: a slope for each element of an image.
                let slope = self.param(shape[1..].to_vec(), -0.5, 1.5)?;
                self.builder.op("prelu", &[x, slope], [])
            }
            2 => {
                let label = self.label();
                self.builder.prelu(x, &label)
            }
            _ => {
                let slope = self.param(vec![shape[1].clone()], -0.5, 1.5)?;
                self.builder.op("prelu", &[x, slope], [])
            }
        }
    }

    fn unary(&mut self, x: Value) -> Made {
        let names = [
            "relu",
            "relu",
            "relu6",
            "leaky_relu",
            "sigmoid",
            "tanh",
            "gelu",
            "silu",
            "hard_swish",
            "hard_sigmoid",
            "elu",
            "softplus",
            "abs",
            "neg",
            "erf",
            "sin",
            "atan",
            "asinh",
            "dropout",
        ];
        let name = self.rng.pick(&names);
        self.builder.op(name, &[x], [])
    }

    fn binary(&mut self, x: Value) -> Made {
        let name = self.rng.pick(&["add", "sub", "mul", "max", "min"]);
        let channels = self.builder.ty(x).shape[1].clone();
        let other = match self.rng.below(4) {
            0 => {
                let value = self.rng.pick(&[0.5, 2.0, -1.0, 0.0, 1.0]);
                self.builder.constant(value)
            }
            1 => self.param(vec![1.into()], 0.5, 1.5)?,
            2 => self.image(),
            _ => {
                let ones = std::iter::repeat_n(Dim::Const(1), self.options.spatial_rank);
                self.param(std::iter::once(channels).chain(ones).collect(), -1.5, 1.5)?
            }
        };
        let operands = if self.rng.one_in(3) { [other, x] } else { [x, other] };
        self.builder.op(name, &operands, [])
    }

    fn norm(&mut self, x: Value) -> Made {
        let channels = vec![self.builder.ty(x).shape[1].clone()];
        let scale = self.param(channels.clone(), 0.5, 1.5)?;
        let shift = self.param(channels.clone(), -0.5, 0.5)?;
        if self.rng.one_in(3) {
            // A variance of nearly nothing would magnify rounding.
            return self.builder.op("instance_norm", &[x, scale, shift], [("eps", 0.1.into())]);
        }
        let mean = self.param(channels.clone(), -0.5, 0.5)?;
        let var = self.param(channels, 0.5, 1.5)?;
        self.builder.op("batch_norm", &[x, scale, shift, mean, var], [])
    }

    fn pool(&mut self, x: Value) -> Made {
        let kernel = 2 + self.rng.below(2) as i64;
        let mut spec = PoolSpec::new(kernel);
        if self.rng.one_in(2) {
            spec = spec.stride(1 + self.rng.below(2) as i64);
        }
        if self.rng.one_in(2) {
            spec = spec.pad(1);
        }
        if self.rng.one_in(3) {
            spec = spec.ceil();
        }
        if self.rng.one_in(3) {
            spec = spec.count_include_pad();
        }
        if self.rng.one_in(2) { self.builder.max_pool(x, spec) } else { self.builder.avg_pool(x, spec) }
    }

    /// x + prelu(conv(x))
    fn residual(&mut self, x: Value) -> Made {
        let label = self.label();
        let y = self.builder.conv(x, &label, ConvSpec::new(self.channels(x), 3).pad(1))?;
        let y = self.prelu(y)?;
        self.builder.add(x, y)
    }

    fn concat(&mut self, x: Value) -> Made {
        let spatial = self.builder.ty(x).shape[2..].to_vec();
        let fitting: Vec<_> =
            self.images.iter().copied().filter(|v| self.builder.ty(*v).shape[2..] == spatial).collect();
        let other = self.rng.pick(&fitting);
        self.builder.concat(&[x, other], 1)
    }

    fn layout(&mut self, x: Value) -> Made {
        let rank = self.options.spatial_rank;
        let channels = self.channels(x);
        match self.rng.below(6) {
            0 => {
                let mode = self.rng.pick(&["constant", "edge", "reflect"]);
                let pads: Vec<i64> = (0..2 * (2 + rank))
                    .map(|i| if i % (2 + rank) < 2 { 0 } else { self.rng.below(3) as i64 })
                    .collect();
                self.builder.op("pad", &[x], [("pads", pads.into()), ("mode", mode.into())])
            }
            1 => {
                let start = self.rng.below(2) as i64;
                let attrs = [("axes", [2].into()), ("starts", [start].into()), ("ends", [-1].into())];
                self.builder.op("slice", &[x], attrs)
            }
            2 if channels > 1 => {
                let first = 1 + self.rng.below(channels as usize - 1) as i64;
                let parts =
                    self.builder.multi_op("split", &[x], [("sizes", [first, channels - first].into())])?;
                self.builder.concat(&[parts[1], parts[0]], 1)
            }
            3 if channels % 4 == 0 && rank == 2 => {
                let mode = self.rng.pick(&["dcr", "crd"]);
                self.builder.op("depth_to_space", &[x], [("block", 2.into()), ("mode", mode.into())])
            }
            4 => {
                let mode = self.rng.pick(&["nearest", "linear", "cubic"]);
                let coords = self.rng.pick(&["half_pixel", "align_corners", "asymmetric"]);
                let scale = self.rng.pick(&[2.0, 0.5, 1.5]);
                let attrs = [("scale", scale.into()), ("mode", mode.into()), ("coords", coords.into())];
                self.builder.op("resize", &[x], attrs)
            }
            _ => {
                // To channels last, a layer there, and back.
                let to: Vec<i64> = std::iter::once(0).chain(2..2 + rank as i64).chain([1]).collect();
                let back: Vec<i64> = [0, 1 + rank as i64].into_iter().chain(1..1 + rank as i64).collect();
                let y = self.builder.op("transpose", &[x], [("perm", to.into())])?;
                let label = self.label();
                let y = match self.rng.below(3) {
                    0 => self.builder.dense(y, &label, 3)?,
                    1 => self.builder.layer_norm(y, &label)?,
                    _ => self.builder.op("softmax", &[y], [("axis", (-1).into())])?,
                };
                self.builder.op("transpose", &[y], [("perm", back.into())])
            }
        }
    }
}

fn uniform(low: f64, high: f64) -> Init {
    Init::from(Dist::Uniform { low: Scalar(low), high: Scalar(high) })
}
