//! Building a graph from Rust, beside the language.
//!
//! Layers make their parameters with the language's names and default initialisations: a convolution labelled `conv1`
//! owns `conv1.weight` (He normal, fan in, gain of the rectifier that follows) and `conv1.bias` (zeros).
//!
//! ```
//! use rectify_ir::builder::{ConvSpec, GraphBuilder, PoolSpec};
//!
//! let mut g = GraphBuilder::new("small");
//! let x = g.input("image", "N, 3, H, W");
//! let y = g.conv(x, "conv1", ConvSpec::new(16, 3).pad(1))?;
//! let y = g.prelu(y, "conv1")?;
//! let y = g.max_pool(y, PoolSpec::new(2))?;
//! let y = g.conv(y, "conv2", ConvSpec::new(32, 3).pad(1).stride(2).no_bias())?;
//! let y = g.batch_norm(y, "norm2")?;
//! let y = g.relu(y)?;
//! let y = g.op("reduce_mean", &[y], [("axes", [2, 3].into())])?;
//! let y = g.dense(y, "head", 10)?;
//! g.output("logits", y);
//! let graph = g.finish()?;
//! assert_eq!(graph.ty(graph.outputs[0].value).to_string(), "f32[N, 10]");
//! assert_eq!(graph.params().len(), 10);
//! # Ok::<(), rectify_ir::builder::BuildError>(())
//! ```

mod shape;
mod spec;

pub use shape::IntoShape;
pub use spec::{ConvSpec, PoolSpec, Spatial};

use crate::dim::{Dim, DimError, DimFacts};
use crate::dtype::DType;
use crate::graph::{Graph, Output, Value};
use crate::init::Init;
use crate::op::{AttrError, AttrValue, Attrs, Op, Source, table};
use crate::shape::{ShapeError, operand_types_of};
use crate::types::{MAX_RANK, TensorType};
use crate::verify::{Violation, verify};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Why a graph cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("{call}: {error}")]
    Attr { call: String, error: AttrError },
    #[error("{call}: {error}")]
    Shape { call: String, error: ShapeError },
    #[error("{0}")]
    Dim(#[from] DimError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Violation>),
}

/// A graph in the making. Values belong to the builder that made them.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
    /// Labels of the open scopes.
    path: Vec<String>,
    /// The first error of a call that has no result to carry it; told by `finish`.
    deferred: Option<BuildError>,
}

impl GraphBuilder {
    pub fn new(name: impl Into<String>) -> GraphBuilder {
        GraphBuilder { graph: Graph::new(name), path: Vec::new(), deferred: None }
    }

    /// Adds an `f32` input. The shape is a list of sizes (`[1, 3, 224, 224]`) or text with names (`"N, 3, H, W"`).
    pub fn input(&mut self, name: &str, shape: impl IntoShape) -> Value {
        self.typed_input(name, DType::F32, shape)
    }

    /// Adds an input of any element type.
    pub fn typed_input(&mut self, name: &str, dtype: DType, shape: impl IntoShape) -> Value {
        let shape = shape.into_shape().unwrap_or_else(|e| {
            self.deferred.get_or_insert(e.into());
            vec![]
        });
        self.graph.add_input(name, TensorType::new(dtype, shape))
    }

    /// Adds an `f32` parameter under its full name (below the open scopes).
    pub fn param(&mut self, name: &str, shape: impl IntoShape, init: Init) -> Result<Value, BuildError> {
        let ty = TensorType::f32(shape.into_shape()?);
        Ok(self.graph.add_param(self.full_name(name), ty, Source::Init(init)))
    }

    /// A number; it broadcasts and takes the element type of what it is combined with.
    pub fn constant(&mut self, value: f64) -> Value {
        self.graph.push_const(value)
    }

    /// Adds an output.
    pub fn output(&mut self, name: &str, value: Value) {
        self.graph.outputs.push(Output { name: name.into(), value });
    }

    /// Requires the size `name` to be a multiple of `modulus`, so that halving it is exact.
    pub fn multiple_of(&mut self, name: &str, modulus: i64) {
        let facts = self.graph.facts.entry(name);
        (facts.modulus, facts.remainder) = (modulus, 0);
    }

    /// Requires the size `name` to lie in a range.
    pub fn range(&mut self, name: &str, range: RangeInclusive<i64>) {
        let facts = self.graph.facts.entry(name);
        (facts.min, facts.max) = (*range.start(), Some(*range.end()));
    }

    /// Builds a part of the network under a label: names inside start with it.
    pub fn scope<R>(&mut self, label: &str, build: impl FnOnce(&mut GraphBuilder) -> R) -> R {
        self.path.push(label.to_string());
        let result = build(self);
        self.path.pop();
        result
    }

    /// What is required of the dimension names so far.
    pub fn facts(&self) -> &DimFacts {
        &self.graph.facts
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        self.graph.ty(value)
    }

    /// How often a value is read so far, as an output too.
    pub fn use_count(&self, value: Value) -> usize {
        self.graph.use_count(value)
    }

    /// The verified graph.
    pub fn finish(self) -> Result<Graph, BuildError> {
        if let Some(e) = self.deferred {
            return Err(e);
        }
        verify(&self.graph).map_err(BuildError::Invalid)?;
        Ok(self.graph)
    }

    /// Any operation of the table with one result, by its name and attributes.
    pub fn op<const N: usize>(
        &mut self,
        name: &str,
        operands: &[Value],
        attrs: [(&str, AttrValue); N],
    ) -> Result<Value, BuildError> {
        let attrs = attrs.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        match self.call(name, None, operands, &attrs)?.as_slice() {
            [value] => Ok(*value),
            several => {
                let error = ShapeError::new(format!("it has {} results: use `multi_op`", several.len()));
                Err(BuildError::Shape { call: name.to_string(), error })
            }
        }
    }

    /// As [`GraphBuilder::op`], for operations with several results.
    pub fn multi_op<const N: usize>(
        &mut self,
        name: &str,
        operands: &[Value],
        attrs: [(&str, AttrValue); N],
    ) -> Result<Vec<Value>, BuildError> {
        let attrs = attrs.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        self.call(name, None, operands, &attrs)
    }

    fn full_name(&self, name: &str) -> Arc<str> {
        let mut path = self.path.clone();
        path.push(name.to_string());
        path.join(".").into()
    }

    fn call(
        &mut self,
        name: &str,
        label: Option<&str>,
        operands: &[Value],
        attrs: &Attrs,
    ) -> Result<Vec<Value>, BuildError> {
        let label = label.map(|l| self.full_name(l));
        let call = match &label {
            Some(l) => format!("{name} `{l}`"),
            None => name.to_string(),
        };
        let shape_error = |error| BuildError::Shape { call: call.clone(), error };
        if let Some(spec) = table::find(name)
            && let Some(unknown) = attrs.keys().find(|k| spec.attr(k).is_none())
        {
            let message = format!("{name} has no attribute `{unknown}`");
            let error = AttrError { attr: Some(unknown.clone()), message, help: None };
            return Err(BuildError::Attr { call, error });
        }
        let types = operand_types_of(&self.graph, name, operands).map_err(shape_error)?;
        let types: Vec<_> = types.iter().map(Cow::as_ref).collect();
        let op = Op::build(name, attrs, &types, &self.graph.facts)
            .map_err(|error| BuildError::Attr { call: call.clone(), error })?;
        self.graph.push_multi(op, operands, label).map_err(shape_error)
    }

    /// A parameter of the layer `label`.
    fn layer_param(&mut self, label: &str, leaf: &str, shape: Vec<Dim>, init: Init) -> Value {
        let name = self.full_name(&format!("{label}.{leaf}"));
        self.graph.add_param(name, TensorType::f32(shape), Source::Init(init))
    }

    /// Number of channels of x: its axis 1.
    fn channels(&self, call: &str, x: Value) -> Result<Dim, BuildError> {
        let ty = self.graph.ty(x);
        ty.shape.get(1).cloned().ok_or_else(|| BuildError::Shape {
            call: call.to_string(),
            error: ShapeError::new(format!("{call} needs an input [N, C, …]")).show("x", ty),
        })
    }

    /// Convolution with parameters `label.weight` and `label.bias`. The spatial rank is that of x.
    pub fn conv(&mut self, x: Value, label: &str, spec: ConvSpec) -> Result<Value, BuildError> {
        let channels = self.channels("conv", x)?;
        let per_group = channels.div_exact(&Dim::Const(spec.groups), &self.graph.facts)?;
        let shape = vec![Dim::Const(spec.channels), per_group];
        self.convolution("conv", x, label, spec, shape)
    }

    /// Transposed convolution with parameters `label.weight` and `label.bias`.
    pub fn conv_transpose(&mut self, x: Value, label: &str, spec: ConvSpec) -> Result<Value, BuildError> {
        let channels = self.channels("conv_transpose", x)?;
        let per_group =
            Dim::Const(spec.channels).div_exact(&Dim::Const(spec.groups), &DimFacts::default())?;
        self.convolution("conv_transpose", x, label, spec, vec![channels, per_group])
    }

    fn convolution(
        &mut self,
        name: &str,
        x: Value,
        label: &str,
        spec: ConvSpec,
        mut shape: Vec<Dim>,
    ) -> Result<Value, BuildError> {
        let spatial = self.graph.ty(x).rank().saturating_sub(2).min(MAX_RANK);
        shape.extend(spec.kernel.expand(spatial).into_iter().map(Dim::Const));
        let mut operands = vec![x, self.layer_param(label, "weight", shape, spec.weight)];
        if let Some(bias) = spec.bias {
            operands.push(self.layer_param(label, "bias", vec![Dim::Const(spec.channels)], bias));
        }
        self.call(name, Some(label), &operands, &spec.attrs()).map(|v| v[0])
    }

    /// Fully connected layer with parameters `label.weight` and `label.bias`, over the last axis of x.
    pub fn dense(&mut self, x: Value, label: &str, outputs: i64) -> Result<Value, BuildError> {
        let inputs = self.graph.ty(x).shape.last().cloned().unwrap_or(Dim::Const(1));
        let weight = self.layer_param(label, "weight", vec![outputs.into(), inputs], Init::he_normal());
        let bias = self.layer_param(label, "bias", vec![outputs.into()], Init::constant(0.0));
        self.call("dense", Some(label), &[x, weight, bias], &Attrs::new()).map(|v| v[0])
    }

    /// PReLU with a slope a channel: parameter `label.slope`, 0.25.
    pub fn prelu(&mut self, x: Value, label: &str) -> Result<Value, BuildError> {
        let channels = self.channels("prelu", x)?;
        self.prelu_of(x, label, vec![channels])
    }

    /// PReLU with one slope for the whole layer: parameter `label.slope`, 0.25.
    pub fn prelu_shared(&mut self, x: Value, label: &str) -> Result<Value, BuildError> {
        self.prelu_of(x, label, vec![Dim::Const(1)])
    }

    fn prelu_of(&mut self, x: Value, label: &str, shape: Vec<Dim>) -> Result<Value, BuildError> {
        let slope = self.layer_param(label, "slope", shape, Init::constant(0.25));
        self.call("prelu", Some(label), &[x, slope], &Attrs::new()).map(|v| v[0])
    }

    /// Batch normalisation with parameters `scale` (1), `shift` (0), `mean` (0) and `var` (1).
    pub fn batch_norm(&mut self, x: Value, label: &str) -> Result<Value, BuildError> {
        let shape = vec![self.channels("batch_norm", x)?];
        self.norm(
            "batch_norm",
            x,
            label,
            shape,
            &[("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("var", 1.0)],
        )
    }

    /// Instance normalisation with parameters `scale` (1) and `shift` (0).
    pub fn instance_norm(&mut self, x: Value, label: &str) -> Result<Value, BuildError> {
        let shape = vec![self.channels("instance_norm", x)?];
        self.norm("instance_norm", x, label, shape, &[("scale", 1.0), ("shift", 0.0)])
    }

    /// Layer normalisation over the last axis with parameters `scale` (1) and `shift` (0).
    pub fn layer_norm(&mut self, x: Value, label: &str) -> Result<Value, BuildError> {
        let last = self.graph.ty(x).shape.last().cloned().unwrap_or(Dim::Const(1));
        self.norm("layer_norm", x, label, vec![last], &[("scale", 1.0), ("shift", 0.0)])
    }

    fn norm(
        &mut self,
        name: &str,
        x: Value,
        label: &str,
        shape: Vec<Dim>,
        params: &[(&str, f64)],
    ) -> Result<Value, BuildError> {
        let mut operands = vec![x];
        for (leaf, value) in params {
            operands.push(self.layer_param(label, leaf, shape.clone(), Init::constant(*value)));
        }
        self.call(name, Some(label), &operands, &Attrs::new()).map(|v| v[0])
    }

    pub fn max_pool(&mut self, x: Value, spec: PoolSpec) -> Result<Value, BuildError> {
        self.call("max_pool", None, &[x], &spec.attrs(false)).map(|v| v[0])
    }

    pub fn avg_pool(&mut self, x: Value, spec: PoolSpec) -> Result<Value, BuildError> {
        self.call("avg_pool", None, &[x], &spec.attrs(true)).map(|v| v[0])
    }

    /// Mean over the spatial axes, which stay with size 1.
    pub fn global_avg_pool(&mut self, x: Value) -> Result<Value, BuildError> {
        self.op("global_avg_pool", &[x], [])
    }

    pub fn relu(&mut self, x: Value) -> Result<Value, BuildError> {
        self.op("relu", &[x], [])
    }

    pub fn add(&mut self, a: Value, b: Value) -> Result<Value, BuildError> {
        self.op("add", &[a, b], [])
    }

    pub fn mul(&mut self, a: Value, b: Value) -> Result<Value, BuildError> {
        self.op("mul", &[a, b], [])
    }

    /// Joins tensors along an axis.
    pub fn concat(&mut self, xs: &[Value], axis: i64) -> Result<Value, BuildError> {
        self.op("concat", xs, [("axis", axis.into())])
    }

    /// [N, …] → [N, product of the rest]
    pub fn flatten(&mut self, x: Value) -> Result<Value, BuildError> {
        self.op("flatten", &[x], [])
    }
}

#[cfg(test)]
mod tests;
