//! Graphs for the probe: other initialisations, and what every layer's signal and gradient measure as outputs.

use super::BatchNorm;
use crate::error::Error;
use rectify_ir::graph::{Graph, Output, Value};
use rectify_ir::init::Init;
use rectify_ir::op::{Binary, Op, ReduceKind, Source, Unary};
use rectify_ir::shape::ShapeError;
use rectify_passes::gradient::{GradientError, pullback};
use rectify_passes::training::normalise_batches;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Elements of all layers' values, and of their gradients, at most: 1 GiB of f32.
const MAX_ELEMENTS: usize = 1 << 28;

/// The model with all drawn weights (parameters of two axes or more) initialised by one scheme.
pub fn with_scheme(graph: &Graph, scheme: Init) -> Graph {
    let mut graph = graph.clone();
    for id in graph.params() {
        let node = graph.node(id);
        if node.types[0].rank() >= 2 && matches!(node.source(), Some(Source::Init(_))) {
            *graph.node_mut(id).op = Op::Param(Source::Init(scheme));
        }
    }
    graph
}

/// A graph that measures signals and gradients.
pub(super) struct Probe {
    /// Its outputs are pairs: the greatest magnitude of a tensor, and the mean of its squares over the square of that. So
    /// what is far below the root of the least f32 is measured too.
    pub graph: Graph,
    /// Inputs for the gradients of the model's outputs, with their shapes.
    pub cotangents: Vec<(String, Vec<usize>)>,
    /// What the pairs of outputs measure, in order.
    pub measures: Vec<Measure>,
    /// Why there are no gradients.
    pub refused: Option<GradientError>,
}

/// A tensor that is measured, by the number of its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Signal(usize),
    Gradient(usize),
    /// Of the layer's weight.
    Weight(usize),
}

/// Refuses layers whose values would take too much memory.
pub(super) fn check_size(model: &Graph, layers: &[(Value, Option<Value>)]) -> Result<(), Error> {
    let elements = |v: &Value| model.ty(*v).const_shape().unwrap_or_default().iter().product::<usize>();
    let total = layers.iter().map(|(v, _)| elements(v)).fold(0, usize::saturating_add);
    if total > MAX_ELEMENTS / 2 {
        return Err(Error::Option {
            message: format!(
                "the probe would keep two times {total} numbers at once, more than {MAX_ELEMENTS}"
            ),
            help: Some("give smaller inputs, or `--no-probe`".into()),
        });
    }
    Ok(())
}

/// A probe of these layers: each with its value, and its weight where it has one.
pub(super) fn probe(
    model: &Graph,
    layers: &[(Value, Option<Value>)],
    batch_norm: BatchNorm,
) -> Result<Probe, Error> {
    let broken = |e: ShapeError| Error::internal("lint", e);
    let mut graph = model.clone();
    // Gains are those of the model: what the probe adds reads layers too.
    for report in rectify_passes::explain_init(model).0 {
        *graph.node_mut(report.param).op = Op::Param(Source::Init(report.resolved));
    }
    // As outputs the layers' values are found again after a rewrite.
    let results = graph.outputs.len();
    graph.outputs.extend(layers.iter().map(|(value, _)| Output { name: "layer".into(), value: *value }));
    if batch_norm == BatchNorm::Fresh {
        normalise_batches(&mut graph).map_err(broken)?;
    }
    let outputs = std::mem::take(&mut graph.outputs);
    let (results, values) = outputs.split_at(results);
    let values: Vec<Value> = values.iter().map(|o| o.value).collect();
    let mut probe = Probe { graph, cotangents: Vec::new(), measures: Vec::new(), refused: None };
    for (i, value) in values.iter().enumerate() {
        probe.measure(Measure::Signal(i), *value).map_err(broken)?;
    }
    let weights: Vec<(usize, Value)> =
        layers.iter().enumerate().filter_map(|(i, (_, weight))| Some((i, (*weight)?))).collect();
    let by: Vec<Value> = values.iter().copied().chain(weights.iter().map(|(_, w)| *w)).collect();
    let mut with_gradients = probe.graph.clone();
    let seeds = seeds(&mut with_gradients, results, &mut probe.cotangents).map_err(broken)?;
    match pullback(&mut with_gradients, &seeds, &by) {
        Ok(gradients) => {
            probe.graph = with_gradients;
            let measures = (0..values.len()).map(Measure::Gradient);
            let measures = measures.chain(weights.iter().map(|(i, _)| Measure::Weight(*i)));
            for (measure, gradient) in measures.zip(gradients) {
                // What the outputs do not depend on has no gradient to measure.
                if let Some(gradient) = gradient {
                    probe.measure(measure, gradient).map_err(broken)?;
                }
            }
        }
        Err(error) => {
            probe.cotangents.clear();
            probe.refused = Some(error);
        }
    }
    probe.graph.remove_dead();
    Ok(probe)
}

/// Gradients of the outputs as inputs. A value that is several outputs has the sum of theirs.
fn seeds(
    graph: &mut Graph,
    results: &[Output],
    cotangents: &mut Vec<(String, Vec<usize>)>,
) -> Result<Vec<(Value, Value)>, ShapeError> {
    let mut seeds: BTreeMap<Value, Value> = BTreeMap::new();
    for (i, output) in results.iter().enumerate() {
        let ty = graph.ty(output.value).clone();
        if !ty.dtype.is_float() {
            continue;
        }
        let name = format!("cotangent{i}.{}", output.name);
        cotangents.push((name.clone(), ty.const_shape().unwrap_or_default()));
        let seed = graph.add_input(name, ty);
        let sum = match seeds.get(&output.value) {
            Some(other) => graph.push(Op::Binary(Binary::Add), &[*other, seed])?,
            None => seed,
        };
        seeds.insert(output.value, sum);
    }
    Ok(seeds.into_iter().collect())
}

impl Probe {
    fn measure(&mut self, measure: Measure, x: Value) -> Result<(), ShapeError> {
        let magnitude = self.graph.push(Op::Unary(Unary::Abs), &[x])?;
        let peak = self.reduced(magnitude, ReduceKind::Max)?;
        let relative = self.graph.push(Op::Binary(Binary::Div), &[x, peak])?;
        let square = self.graph.push(Op::Binary(Binary::Mul), &[relative, relative])?;
        let square = self.reduced(square, ReduceKind::Mean)?;
        for (what, value) in [("peak", peak), ("square", square)] {
            let name: Arc<str> = format!("{what}.{}", self.measures.len()).into();
            self.graph.outputs.push(Output { name, value });
        }
        self.measures.push(measure);
        Ok(())
    }

    /// Over the spatial axes first, so that no long sum is taken in single precision.
    fn reduced(&mut self, x: Value, kind: ReduceKind) -> Result<Value, ShapeError> {
        let rank = self.graph.ty(x).rank();
        let by_channel = match rank {
            0..=2 => x,
            _ => self.graph.push(Op::Reduce { kind, axes: (2..rank).collect(), keep: false }, &[x])?,
        };
        let axes = (0..rank.min(2)).collect();
        self.graph.push(Op::Reduce { kind, axes, keep: false }, &[by_channel])
    }
}
