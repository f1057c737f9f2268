//! Binding: a graph with symbolic sizes becomes one with known sizes.
//!
//! [`solve`] finds the values of the dimension names from the shapes of concrete inputs, [`bind`] puts them in.
//! Node ids stay, so that what is known about nodes holds for the bound graph too.

use crate::dim::{Dim, DimError};
use crate::graph::{Graph, NodeId};
use crate::op::{Op, Padding, ResizeTarget};
use crate::shape::{self, ShapeError};
use crate::types::{ShapeDisplay, TensorType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Values of dimension names.
pub type Bindings = BTreeMap<String, i64>;

/// Why sizes do not fit a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("the model has no input `{name}`; its inputs are {}", list(known))]
    UnknownInput { name: String, known: Vec<String> },
    #[error("the input `{name}` is missing: it is {ty}")]
    MissingInput { name: String, ty: TensorType },
    #[error("the input `{name}` is {want}, of rank {}, but the given shape {got:?} has rank {}", want.rank(), got.len())]
    Rank { name: String, want: TensorType, got: Vec<i64> },
    #[error("the input `{name}` is {want}, but the given shape is {got:?}: axis {axis} must be {expected}")]
    Size { name: String, want: TensorType, got: Vec<i64>, axis: usize, expected: String },
    #[error("{symbol} is {first} by {first_place}, but {second} by {second_place}")]
    Conflict { symbol: String, first: i64, first_place: String, second: i64, second_place: String },
    #[error("the model has no dimension {name}; its dimensions are {}", list(known))]
    UnknownSymbol { name: String, known: Vec<String> },
    #[error("no value for {}: give it, for example `--set {}=1`", list(names), names[0])]
    Unbound { names: Vec<String> },
    #[error("{0}")]
    Fact(String),
    #[error(transparent)]
    Dim(#[from] DimError),
    #[error("with these sizes, {node}: {error}")]
    Shape { node: String, error: ShapeError },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The dimension names that the types and attributes of a graph depend on, data dims apart.
pub fn symbols(graph: &Graph) -> BTreeSet<Arc<str>> {
    let mut names = all_symbols(graph);
    for name in data_dims(graph) {
        names.remove(&name);
    }
    names
}

/// The dimension names that data gives a value, when the graph runs: those in the sizes of cuts that no input and no
/// parameter has.
pub fn data_dims(graph: &Graph) -> BTreeSet<Arc<str>> {
    let (mut cuts, mut given) = (BTreeSet::new(), BTreeSet::new());
    for id in graph.node_ids() {
        let node = graph.node(id);
        match &node.op {
            Op::Cut { size, .. } => size.collect_symbols(&mut cuts),
            Op::Input | Op::Param(_) => {
                node.types.iter().flat_map(|t| &t.shape).for_each(|d| d.collect_symbols(&mut given));
            }
            _ => {}
        }
    }
    cuts.difference(&given).cloned().collect()
}

fn all_symbols(graph: &Graph) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        let dims = node.types.iter().flat_map(|t| &t.shape).chain(attr_dims(&node.op));
        dims.for_each(|d| d.collect_symbols(&mut names));
    }
    names
}

/// The graph with every dimension name replaced by its value.
///
/// Types are inferred anew, so a size that leaves no room for a window is an error here. `same` paddings become
/// explicit. The facts are checked and then gone, as no name is left but data dims, which stay with theirs.
pub fn bind(graph: &Graph, bindings: &Bindings) -> Result<Graph, BindError> {
    let names = symbols(graph);
    let known = || names.iter().map(ToString::to_string).collect();
    if let Some(name) =
        bindings.keys().find(|n| !names.contains(n.as_str()) && !graph.facts.symbols.contains_key(n.as_str()))
    {
        return Err(BindError::UnknownSymbol { name: name.clone(), known: known() });
    }
    let unbound: Vec<_> =
        names.iter().filter(|n| !bindings.contains_key(&***n)).map(ToString::to_string).collect();
    if !unbound.is_empty() {
        return Err(BindError::Unbound { names: unbound });
    }
    if let Some(text) = bindings.iter().find_map(|(name, value)| graph.facts.violation(name, *value)) {
        return Err(BindError::Fact(text));
    }
    let mut bound = graph.clone();
    let data = data_dims(graph);
    bound.facts.symbols.retain(|name, _| data.contains(name));
    let facts = bound.facts.clone();
    let value = |d: &Dim| match data.is_empty() {
        true => d.eval(&|name| bindings.get(name).copied()).map(Dim::Const),
        false => d.substitute(&|name| bindings.get(name).map(|v| Dim::Const(*v)), &facts),
    };
    for id in graph.topo_order() {
        let node = bound.node(id);
        let mut op = node.op.clone();
        attr_dims_mut(&mut op).into_iter().try_for_each(|d| value(d).map(|v| *d = v))?;
        let mut types = node.types.clone();
        if matches!(op, Op::Input | Op::Param(_)) {
            for d in types.iter_mut().flat_map(|t| &mut t.shape) {
                *d = value(d)?;
            }
        }
        let operands: Vec<_> = node.operands.iter().map(|v| bound.ty(*v).shape.clone()).collect();
        resolve_same(&mut op, &operands);
        let part = bound.node_mut(id);
        (*part.op, *part.types) = (op, types);
        let types = shape::infer_node(&bound, bound.node(id))
            .map_err(|error| BindError::Shape { node: describe(graph, id), error })?;
        *bound.node_mut(id).types = types;
    }
    Ok(bound)
}

/// Puts the values of data dims into one node, as they become known.
pub fn bind_data(graph: &mut Graph, id: NodeId, sizes: &Bindings) -> Result<(), BindError> {
    let facts = graph.facts.clone();
    let value = |d: &mut Dim| -> Result<(), BindError> {
        *d = d.substitute(&|name| sizes.get(name).map(|v| Dim::Const(*v)), &facts)?;
        Ok(())
    };
    let node = graph.node_mut(id);
    node.types.iter_mut().flat_map(|t| &mut t.shape).try_for_each(&value)?;
    attr_dims_mut(node.op).into_iter().try_for_each(value)
}

/// A node as messages name it: by its label, or by what it is.
fn describe(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    match &node.name {
        Some(name) => format!("{} `{name}`", node.op.name()),
        None => format!("{} {id}", node.op.name()),
    }
}

/// The sizes among an operation's attributes.
fn attr_dims(op: &Op) -> Vec<&Dim> {
    match op {
        Op::Reshape { shape: dims } | Op::Expand { shape: dims } | Op::Split { sizes: dims, .. } => {
            dims.iter().collect()
        }
        Op::Slice { starts, ends, .. } => starts.iter().chain(ends).collect(),
        Op::ArgSort { count: size, .. }
        | Op::Cut { size, .. }
        | Op::NonMaxSuppression { limit: size, .. } => vec![size],
        Op::Resize(a) => match &a.target {
            ResizeTarget::Sizes(sizes) | ResizeTarget::Both { sizes, .. } => sizes.iter().collect(),
            ResizeTarget::Scales(_) => vec![],
        },
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::Dense
        | Op::MatMul
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::Cumulate { .. }
        | Op::MaxPoolIndices(_)
        | Op::NonZero
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
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::DepthToSpace { .. }
        | Op::Dropout { .. }
        | Op::Map => vec![],
    }
}

/// As `attr_dims`, to change them.
pub fn attr_dims_mut(op: &mut Op) -> Vec<&mut Dim> {
    match op {
        Op::Reshape { shape: dims } | Op::Expand { shape: dims } | Op::Split { sizes: dims, .. } => {
            dims.iter_mut().collect()
        }
        Op::Slice { starts, ends, .. } => starts.iter_mut().chain(ends).collect(),
        Op::ArgSort { count: size, .. }
        | Op::Cut { size, .. }
        | Op::NonMaxSuppression { limit: size, .. } => vec![size],
        Op::Resize(a) => match &mut a.target {
            ResizeTarget::Sizes(sizes) | ResizeTarget::Both { sizes, .. } => sizes.iter_mut().collect(),
            ResizeTarget::Scales(_) => vec![],
        },
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::Dense
        | Op::MatMul
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::Cumulate { .. }
        | Op::MaxPoolIndices(_)
        | Op::NonZero
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
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::DepthToSpace { .. }
        | Op::Dropout { .. }
        | Op::Map => vec![],
    }
}

/// Writes `same` paddings out. `operands` are the bound shapes; where they are wrong, inference will tell.
fn resolve_same(op: &mut Op, operands: &[Vec<Dim>]) {
    let spatial = |i: usize| operands.get(i).and_then(|s| s.get(2..)).unwrap_or_default();
    let kernel: Vec<i64> = spatial(1).iter().filter_map(Dim::as_const).collect();
    let resolve = |pad: &Padding, kernel: &[i64], stride: &[i64], dilation: &[i64]| {
        shape::resolve_padding(pad, spatial(0), kernel, stride, dilation, &Default::default())
            .map(Padding::Explicit)
    };
    match op {
        Op::Conv(a) => {
            if let Some(pad) = resolve(&a.pad, &kernel, &a.stride, &a.dilation) {
                a.pad = pad;
            }
        }
        Op::MaxPool(a) | Op::MaxPoolGrad(a) | Op::MaxPoolIndices(a) | Op::AvgPool { pool: a, .. } => {
            if let (Padding::SameUpper | Padding::SameLower, Some(pad)) =
                (&a.pad, resolve(&a.pad, &a.kernel, &a.stride, &a.dilation))
            {
                // The amounts make the windows fit, so there is nothing to round.
                (a.pad, a.ceil) = (pad, false);
            }
        }
        Op::ConvTranspose(a) => {
            if let Some(amounts) = shape::same_transposed(a, &kernel) {
                a.pad = Padding::Explicit(amounts);
            }
        }
        Op::ConvWeightGrad { conv: a, kernel } => {
            if let Some(pad) = resolve(&a.pad, kernel, &a.stride, &a.dilation) {
                a.pad = pad;
            }
        }
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Dense
        | Op::MatMul
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
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
        | Op::Prelu { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Expand { .. }
        | Op::DepthToSpace { .. }
        | Op::Resize(_)
        | Op::Dropout { .. }
        | Op::Map => {}
    }
}

/// Values of the dimension names from the shapes of all inputs.
///
/// An input's size may be a number, a name, or an expression that is linear in one name that is not known otherwise
/// (`2*H + 1`). Sizes that disagree are errors which name both places.
pub fn solve(graph: &Graph, shapes: &BTreeMap<String, Vec<i64>>) -> Result<Bindings, BindError> {
    let mut inputs: Vec<(&str, &TensorType, &Vec<i64>)> = Vec::new();
    let name_of = |id: &NodeId| graph.node(*id).name.clone().unwrap_or_default();
    let known: Vec<_> = graph.inputs().iter().map(|id| name_of(id).to_string()).collect();
    if let Some(name) = shapes.keys().find(|n| !known.contains(n)) {
        return Err(BindError::UnknownInput { name: name.clone(), known });
    }
    for (id, name) in graph.inputs().iter().zip(&known) {
        let ty = graph.ty((*id).into());
        let Some(got) = shapes.get(name) else {
            return Err(BindError::MissingInput { name: name.clone(), ty: ty.clone() });
        };
        if got.len() != ty.rank() {
            return Err(BindError::Rank { name: name.clone(), want: ty.clone(), got: got.clone() });
        }
        inputs.push((name, ty, got));
    }

    // Each round solves what is linear in a single unknown; a round without progress is the last.
    let mut found: BTreeMap<Arc<str>, (i64, String)> = BTreeMap::new();
    loop {
        let before = found.len();
        for (name, ty, got) in &inputs {
            for (axis, (dim, size)) in ty.shape.iter().zip(*got).enumerate() {
                let values: BTreeMap<_, _> = found.iter().map(|(k, v)| (k.to_string(), v.0)).collect();
                let rest = dim.substitute(&|n| values.get(n).map(|v| Dim::Const(*v)), &Default::default())?;
                let Some((symbol, value)) = rest.linear_root(*size) else { continue };
                let Some(value) = value else {
                    let expected = format!("{dim}, which no {symbol} makes {size}");
                    return Err(size_error(name, ty, got, axis, expected));
                };
                let place = format!("axis {axis} of `{name}` {}", ShapeDisplay(&ty.shape));
                found.entry(symbol).or_insert((value, place));
            }
        }
        if found.len() == before {
            break;
        }
    }

    for (name, ty, got) in &inputs {
        for (axis, (dim, size)) in ty.shape.iter().zip(*got).enumerate() {
            let expected = match dim.eval(&|n| found.get(n).map(|v| v.0)) {
                Ok(v) if v == *size => continue,
                Ok(v) => v,
                Err(DimError::Unbound(n)) => return Err(BindError::Unbound { names: vec![n] }),
                Err(e) => return Err(e.into()),
            };
            return Err(match dim.as_sym().and_then(|s| found.get_key_value(s)) {
                Some((symbol, (first, place))) => BindError::Conflict {
                    symbol: symbol.to_string(),
                    first: *first,
                    first_place: place.clone(),
                    second: *size,
                    second_place: format!("axis {axis} of `{name}` {}", ShapeDisplay(&ty.shape)),
                },
                None if dim.as_const().is_some() => size_error(name, ty, got, axis, expected.to_string()),
                None => size_error(name, ty, got, axis, format!("{dim} = {expected}")),
            });
        }
    }
    Ok(found.into_iter().map(|(k, (v, _))| (k.to_string(), v)).collect())
}

fn size_error(name: &str, want: &TensorType, got: &[i64], axis: usize, expected: String) -> BindError {
    BindError::Size { name: name.into(), want: want.clone(), got: got.to_vec(), axis, expected }
}

#[cfg(test)]
mod tests;
