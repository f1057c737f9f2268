//! What a model says of its inputs, outputs and parameters.

use rectify_ir::op::Source;
use rectify_ir::{Graph, TensorType};
use std::sync::Arc;

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    pub name: Arc<str>,
    /// Element type and sizes; a size may be symbolic, such as `2*H`.
    pub ty: TensorType,
}

impl PortInfo {
    pub(crate) fn inputs(graph: &Graph) -> Vec<PortInfo> {
        let port = |id| {
            let node = graph.node(id);
            PortInfo { name: node.name.clone().unwrap_or_default(), ty: node.types[0].clone() }
        };
        graph.inputs().iter().copied().map(port).collect()
    }

    pub(crate) fn outputs(graph: &Graph) -> Vec<PortInfo> {
        graph
            .outputs
            .iter()
            .map(|o| PortInfo { name: o.name.clone(), ty: graph.ty(o.value).clone() })
            .collect()
    }

    /// The sizes, `None` for symbolic ones.
    pub fn sizes(&self) -> Vec<Option<usize>> {
        self.ty.shape.iter().map(|d| d.as_const().and_then(|c| usize::try_from(c).ok())).collect()
    }
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// The full name, which weights files and seeds go by.
    pub name: Arc<str>,
    pub ty: TensorType,
    /// Drawn, from a file, or given.
    pub source: Source,
}

impl ParameterInfo {
    pub(crate) fn all(graph: &Graph) -> Vec<ParameterInfo> {
        let info = |id| {
            let node = graph.node(id);
            let source = node.source()?.clone();
            Some(ParameterInfo {
                name: node.name.clone().unwrap_or_default(),
                ty: node.types[0].clone(),
                source,
            })
        };
        graph.params().into_iter().filter_map(info).collect()
    }

    /// Number of elements, if the shape is not symbolic.
    pub fn elements(&self) -> Option<u64> {
        self.ty.elements().ok()?.as_const().and_then(|c| u64::try_from(c).ok())
    }
}
