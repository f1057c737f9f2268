//! Predicts the second moments of signals and gradients from initialisation alone, and measures them.
//!
//! ```
//! use rectify::lint::{Lint, Options};
//! use rectify::{Model, Tensor};
//!
//! let model = Model::parse("model m(x: f32[1, 64]) -> (y: f32[1, 64]) { x |> dense(64) as a |> relu as a |> dense(64) as b }")?;
//! let x = Tensor::new([1, 64], vec![1f32; 64])?;
//! let lint = Lint::new(&model.compiler(), &[("x", x.view())], &Options::default())?;
//! assert!((lint.layers[0].predicted.as_ref().unwrap().rms - 2f64.sqrt()).abs() < 0.01);
//! # Ok::<(), rectify::Error>(())
//! ```

mod graph;
mod probe;
mod svg;
mod warn;

pub use graph::with_scheme;
pub use rectify_passes::moments::BatchNorm;
pub use svg::svg;
pub use warn::Warning;

use crate::compiler::Compiler;
use crate::error::Error;
use graph::Measure;
use rectify_ir::bind::bind;
use rectify_ir::graph::{Graph, Value};
use rectify_ir::init::Init;
use rectify_ir::op::Op;
use rectify_passes::InitReport;
use rectify_passes::moments::{self, Draw, Predicted, Predictions, Seen};
use rectify_runtime::TensorView;
use std::collections::HashMap;

/// How to predict and measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Initialise all weights so instead of as written.
    pub scheme: Option<Init>,
    pub batch_norm: BatchNorm,
    /// Weight draws to measure on at most; 0 measures nothing. Drawing ends where every layer's interval is ±3 %.
    pub draws: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { scheme: None, batch_norm: BatchNorm::Running, draws: 32 }
    }
}

/// What is known of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    pub name: String,
    pub op: &'static str,
    pub shape: Vec<usize>,
    /// Of the layer's weight, where it has one that is drawn.
    pub init: Option<InitReport>,
    /// `None` where an operation before or here has no rule.
    pub predicted: Option<Predicted>,
    pub measured: Option<Measured>,
    /// Of the gradient at the layer's result, where gradients of the outputs' elements are standard normal numbers.
    pub measured_gradient: Option<Measured>,
    /// Of the gradient by the layer's weight, where that is drawn.
    pub predicted_weight: Option<f64>,
    pub measured_weight: Option<Measured>,
}

/// Root mean square over weight draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub rms: f64,
    /// Bootstrap interval of 95 %.
    pub low: f64,
    pub high: f64,
    /// Standard deviation of a single draw's root mean square over `rms`.
    pub spread: f64,
}

/// The report of one model with one initialisation.
#[derive(Clone, Debug)]
pub struct Lint {
    pub model: String,
    pub scheme: String,
    pub layers: Vec<Layer>,
    /// Draws that were measured.
    pub draws: usize,
    /// Why gradients were not measured, though signals were.
    pub refused: Option<String>,
    pub warnings: Vec<Warning>,
}

impl Lint {
    /// Predicts, and measures unless the options say not to.
    ///
    /// # Errors
    /// Inputs or options that do not fit the model; a probe that would take too much memory.
    pub fn new(
        compiler: &Compiler<'_>,
        inputs: &[(&str, TensorView<'_>)],
        options: &Options,
    ) -> Result<Lint, Error> {
        let (typed, parameters) = compiler.source_graph()?;
        let shapes = inputs
            .iter()
            .map(|(name, v)| ((*name).to_owned(), v.shape().iter().map(|d| *d as i64).collect()))
            .collect();
        let mut sizes = compiler.options.sizes.clone();
        sizes.extend(rectify_ir::bind::solve(&typed, &shapes)?);
        let mut graph = bind(&typed, &sizes)?;
        if let Some(scheme) = options.scheme {
            graph = with_scheme(&graph, scheme);
        }
        let loaded = |node| {
            let shape = graph.ty(rectify_ir::graph::NodeId::into(node)).const_shape()?;
            let mut values = vec![0f32; shape.iter().product()];
            parameters.read(&graph, node, 0, &mut values).ok()?;
            Some(Draw::of(values.into_iter().map(f64::from)))
        };
        let places: Vec<(Value, Option<Value>)> =
            layers(&graph, Predictions::default()).into_iter().map(|(place, _)| place).collect();
        if options.draws > 0 {
            graph::check_size(&graph, &places)?;
        }
        let predicted = moments::predict(&graph, seen(&graph, inputs), options.batch_norm, &loaded);
        let mut layers = layers(&graph, predicted);
        let (mut draws, mut refused) = (0, None);
        if options.draws > 0 {
            let probe = graph::probe(&graph, &places, options.batch_norm)?;
            refused = probe.refused.as_ref().map(ToString::to_string);
            let measures = probe.measures.clone();
            let found = probe::measure(compiler, probe, inputs, options.draws)?;
            draws = found.draws;
            for (measure, measured) in measures.into_iter().zip(found.measured) {
                match measure {
                    Measure::Signal(i) => layers[i].1.measured = measured,
                    Measure::Gradient(i) => layers[i].1.measured_gradient = measured,
                    Measure::Weight(i) => layers[i].1.measured_weight = measured,
                }
            }
        }
        let layers: Vec<Layer> = layers.into_iter().map(|(_, layer)| layer).collect();
        let scheme = options.scheme.map_or_else(|| "as written".to_owned(), |s| s.to_string());
        let warnings = warn::warnings(&layers);
        Ok(Lint { model: graph.name.clone(), scheme, layers, draws, refused, warnings })
    }
}

fn seen(graph: &Graph, inputs: &[(&str, TensorView<'_>)]) -> HashMap<Value, Seen> {
    let mut found = HashMap::new();
    for id in graph.inputs() {
        let name = graph.node(*id).name.as_deref();
        if let Some((_, view)) = inputs.iter().find(|(n, _)| Some(*n) == name)
            && view.dtype().is_float()
        {
            let values: Vec<f32> = view.to_f64_vec().into_iter().map(|v| v as f32).collect();
            found.insert((*id).into(), Seen::measure(view.shape(), &values));
        }
    }
    found
}

/// Values that are worth a row, with their weights: everything but parameters, moves of elements, and what is no float.
fn layers(graph: &Graph, mut predicted: Predictions) -> Vec<((Value, Option<Value>), Layer)> {
    let (reports, _) = rectify_passes::explain_init(graph);
    let derived = graph.param_only();
    let mut layers = Vec::new();
    for id in graph.topo_order() {
        let node = graph.node(id);
        let moves = matches!(
            node.op,
            Op::Input | Op::Reshape { .. } | Op::Transpose { .. } | Op::Dropout { .. } | Op::Split { .. }
        );
        if derived.contains(&id) || moves || !node.types[0].dtype.is_float() {
            continue;
        }
        let weight = node.operands.get(1).copied();
        let contraction = matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense | Op::MatMul);
        let init = reports.iter().find(|r| contraction && Some(r.param) == weight.map(|w| w.node)).cloned();
        let weight = weight.filter(|_| init.is_some());
        let layer = Layer {
            name: node.name.as_deref().map_or_else(|| id.to_string(), str::to_owned),
            op: node.op.name(),
            shape: node.types[0].const_shape().unwrap_or_default(),
            init,
            predicted: predicted.values.remove(&id.into()),
            measured: None,
            measured_gradient: None,
            predicted_weight: weight.and_then(|w| predicted.weights.get(&w.node).copied()),
            measured_weight: None,
        };
        layers.push(((id.into(), weight), layer));
    }
    layers
}
