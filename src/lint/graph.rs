//! Graphs for the probe: other initialisations, every layer as an output, batch norms with the statistics of the batch.

use crate::error::Error;
use rectify_ir::dim::Dim;
use rectify_ir::graph::{Graph, Node, Output, Provenance, Value};
use rectify_ir::init::Init;
use rectify_ir::op::{Binary, Op, ReduceKind, Source, Unary};
use rectify_ir::scalar::Scalar;
use rectify_ir::shape::infer_node;
use rectify_ir::types::TensorType;
use rectify_passes::moments::normalises;

/// Values of the probe's outputs at most: 1 GiB of f32.
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

/// The graph with these values as its outputs.
pub(super) fn probe(graph: &Graph, values: &[Value]) -> Result<Graph, Error> {
    let mut probe = graph.clone();
    let elements = |v: &Value| graph.ty(*v).const_shape().unwrap_or_default().iter().product::<usize>();
    let total: usize = values.iter().map(elements).fold(0, usize::saturating_add);
    if total > MAX_ELEMENTS {
        return Err(Error::Option {
            message: format!("the probe would keep {total} numbers at once, more than {MAX_ELEMENTS}"),
            help: Some("give smaller inputs, or `--no-probe`".into()),
        });
    }
    probe.outputs = values
        .iter()
        .enumerate()
        .map(|(i, value)| Output { name: format!("probe {i}").into(), value: *value })
        .collect();
    Ok(probe)
}

/// Spells every batch norm out with the mean and variance of its own input.
pub(super) fn normalise_batches(graph: &mut Graph) -> Result<(), Error> {
    for id in graph.topo_order() {
        let node = graph.node(id).clone();
        let Op::BatchNorm { eps } = node.op else { continue };
        let x = node.operands[0];
        let shape = graph.ty(x).const_shape().unwrap_or_default();
        if !normalises(&shape) {
            continue;
        }
        let axes: Vec<usize> = (0..shape.len()).filter(|axis| *axis != 1).collect();
        let mean = || Op::Reduce { kind: ReduceKind::Mean, axes: axes.clone(), keep: true };
        let by_channel: Vec<Dim> =
            (0..shape.len()).map(|i| Dim::Const(if i == 1 { shape[1] as i64 } else { 1 })).collect();
        let level = add(graph, mean(), &[x])?;
        let centred = add(graph, Op::Binary(Binary::Sub), &[x, level])?;
        let squares = add(graph, Op::Binary(Binary::Mul), &[centred, centred])?;
        let variance = add(graph, mean(), &[squares])?;
        let eps = add(graph, Op::Const(Scalar(eps.0)), &[])?;
        let variance = add(graph, Op::Binary(Binary::Add), &[variance, eps])?;
        let std = add(graph, Op::Unary(Unary::Sqrt), &[variance])?;
        let normal = add(graph, Op::Binary(Binary::Div), &[centred, std])?;
        let scale = add(graph, Op::Reshape { shape: by_channel.clone() }, &[node.operands[1]])?;
        let shift = add(graph, Op::Reshape { shape: by_channel }, &[node.operands[2]])?;
        let scaled = add(graph, Op::Binary(Binary::Mul), &[normal, scale])?;
        let shifted = add(graph, Op::Binary(Binary::Add), &[scaled, shift])?;
        graph.replace_uses(id.into(), shifted);
    }
    graph.remove_dead();
    Ok(())
}

fn add(graph: &mut Graph, op: Op, operands: &[Value]) -> Result<Value, Error> {
    // Numbers have no operands to infer a type from.
    let number = matches!(op, Op::Const(_)).then(|| TensorType::f32([]));
    let mut node = Node {
        op,
        operands: operands.to_vec(),
        arity: operands.len(),
        epilogue: None,
        types: vec![],
        name: None,
        provenance: Provenance::default(),
    };
    node.types = match number {
        Some(ty) => vec![ty],
        None => infer_node(graph, &node).map_err(|e| Error::internal("lint", e))?,
    };
    Ok(graph.add_node(node).into())
}
