//! Writes selections as operations that have kernels.
//!
//! **What.** `nonzero`: the place of each element among those that are not 0 is a running sum over them; their row-major
//! numbers are scattered to these places, those of the others behind the end, and divided by the strides of the axes.
//! **Before → after.** `nonzero(x)` → `cumsum`, `scatter_elements`, `div`, `rem`, `concat`.
//! **Requires** types. **Leaves** no `nonzero`.

use crate::pieces::{Made, Pieces};
use crate::pipeline::PassError;
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::literal::Literal;
use rectify_ir::op::{Binary, CumulateKind, Op, ReduceKind, ScatterReduction};
use rectify_ir::{DType, Dim};

pub(crate) fn decompose(graph: &mut Graph) -> Result<(), PassError> {
    let order = graph.topo_order();
    let found: Vec<NodeId> = order.into_iter().filter(|id| graph.node(*id).op == Op::NonZero).collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut pieces = Pieces::new(graph, "decompose");
    for id in found {
        pieces.on_behalf_of(id);
        let (places, count) = nonzero(&mut pieces, id)?;
        pieces.graph.replace_uses(Value { node: id, result: 0 }, places);
        pieces.graph.replace_uses(Value { node: id, result: 1 }, count);
    }
    graph.remove_dead();
    Ok(())
}

fn nonzero(p: &mut Pieces<'_>, id: NodeId) -> Result<(Value, Value), PassError> {
    let x = p.graph.node(id).operands[0];
    let (dtype, shape) = (p.dtype(x), p.shape(x).to_vec());
    let elements = p.graph.node(id).types[0].shape[1].clone();
    let flat = p.reshape(x, vec![elements.clone()])?;
    let set = match dtype {
        DType::Bool => flat,
        _ => p.cast(flat, DType::Bool)?,
    };
    let ones = p.cast(set, DType::I64)?;
    let count = p.push(Op::Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: true }, &[ones])?;
    let before = Op::Cumulate { kind: CumulateKind::Sum, axis: 0, exclusive: true, reverse: false };
    let before = p.push(before, &[ones])?;
    let behind = p.size(&elements)?;
    let to = p.select(set, before, behind)?;
    let room = elements.add(&Dim::Const(1)).map_err(|e| p.unsupported(e.to_string()))?;
    let empty = p.filled(0, vec![room])?;
    let from = p.places(&elements, 0, 1)?;
    let scatter = Op::ScatterElements { axis: 0, reduction: ScatterReduction::None };
    let found = p.push(scatter, &[empty, to, from])?;
    let found = p.part(found, 0, Dim::Const(0), elements.clone())?;
    let places = columns(p, found, &shape, elements)?;
    Ok((places, count))
}

/// The places along each axis of these row-major numbers of elements.
fn columns(p: &mut Pieces<'_>, found: Value, shape: &[Dim], elements: Dim) -> Made {
    let row = |p: &mut Pieces<'_>, v: Value| p.reshape(v, vec![Dim::Const(1), elements.clone()]);
    let mut rest = row(p, found)?;
    let mut rows = Vec::with_capacity(shape.len());
    for (axis, size) in shape.iter().enumerate().rev() {
        if axis == 0 {
            rows.push(rest);
            break;
        }
        let size = p.size(size)?;
        rows.push(p.binary(Binary::Rem, rest, size)?);
        rest = p.binary(Binary::Div, rest, size)?;
    }
    rows.reverse();
    match rows.as_slice() {
        [] => {
            let size = elements.as_const().unwrap_or(1) as usize;
            Ok(p.literal(Literal { dtype: DType::I64, shape: vec![0, size], bytes: vec![].into() }))
        }
        [one] => Ok(*one),
        many => p.push(Op::Concat { axis: 0 }, many),
    }
}
