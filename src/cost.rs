//! Layers of a model with their parameters and multiply-adds.

use rectify_ir::dim::{Dim, DimError};
use rectify_ir::graph::{Graph, Node, NodeId};
use rectify_ir::op::Op;
use rectify_ir::types::TensorType;
use std::collections::BTreeSet;

/// A node that computes something.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The label path, or the node's number where it has none.
    pub name: String,
    pub op: &'static str,
    /// The type of the first result.
    pub ty: TensorType,
    /// Elements of the parameters that no earlier layer reads.
    pub parameters: u64,
    /// Multiply-adds, symbolic where sizes are.
    pub multiply_adds: Dim,
}

/// The layers in order of computation. Derivations, which run once when parameters are packed, are none.
pub fn layers(graph: &Graph) -> Result<Vec<Layer>, DimError> {
    let derived = graph.param_only();
    let mut counted = BTreeSet::new();
    let mut layers = Vec::new();
    for id in graph.topo_order() {
        let node = graph.node(id);
        if derived.contains(&id) || matches!(node.op, Op::Input) {
            continue;
        }
        let mut parameters = 0u64;
        for value in node.operands.iter().filter(|v| derived.contains(&v.node)) {
            for source in sources(graph, value.node) {
                if counted.insert(source) {
                    let elements = graph.ty(source.into()).elements()?.as_const().unwrap_or(0);
                    parameters = parameters.saturating_add(u64::try_from(elements).unwrap_or(0));
                }
            }
        }
        layers.push(Layer {
            name: node.name.as_deref().map_or_else(|| id.to_string(), str::to_owned),
            op: node.op.name(),
            ty: node.types[0].clone(),
            parameters,
            multiply_adds: multiply_adds(graph, node)?,
        });
    }
    Ok(layers)
}

/// Multiply-adds of a contraction; other operations count none.
pub fn multiply_adds(graph: &Graph, node: &Node) -> Result<Dim, DimError> {
    let shape = |operand: usize| &graph.ty(node.operands[operand]).shape;
    let out = node.types[0].elements()?;
    match &node.op {
        // Each output element sums over the weight's input channels and taps.
        Op::Conv(_) => out.mul(&Dim::product(&shape(1)[1..])?),
        // Each input element meets all of the weight but its own channel's axis.
        Op::ConvTranspose(_) => Dim::product(shape(0))?.mul(&Dim::product(&shape(1)[1..])?),
        // Each element of the gradient meets a group's channels under each element of the kernel.
        Op::ConvWeightGrad { .. } => Dim::product(shape(1))?.mul(&Dim::product(&node.types[0].shape[1..])?),
        Op::Dense => out.mul(&shape(1)[1]),
        Op::MatMul => match shape(0).last() {
            Some(inner) => out.mul(inner),
            None => Ok(Dim::Const(0)),
        },
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Expand { .. }
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
        | Op::Prelu { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::MaxPool(_)
        | Op::MaxPoolGrad(_)
        | Op::AvgPool { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::DepthToSpace { .. }
        | Op::Resize(_)
        | Op::Dropout { .. }
        | Op::Map => Ok(Dim::Const(0)),
    }
}

/// Multiply-adds of all layers.
pub fn total_multiply_adds(layers: &[Layer]) -> Result<Dim, DimError> {
    layers.iter().try_fold(Dim::Const(0), |sum, layer| sum.add(&layer.multiply_adds))
}

/// The parameters that a derivation is computed from.
fn sources(graph: &Graph, node: NodeId) -> Vec<NodeId> {
    let (mut found, mut pending, mut seen) = (Vec::new(), vec![node], BTreeSet::new());
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        let n = graph.node(id);
        if matches!(n.op, Op::Param(_)) {
            found.push(id);
        } else {
            pending.extend(n.operands.iter().map(|v| v.node));
        }
    }
    found
}
