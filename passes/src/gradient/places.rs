//! Rules of operations that choose elements by their places: gathers and scatters, whose places are computed, and resampling and
//! wrapping, whose places are known.

use super::rule::{Made, One, Rule};
use rectify_ir::dim::Dim;
use rectify_ir::graph::Value;
use rectify_ir::interp::{ResizeTaps, resize_keeps};
use rectify_ir::literal::Literal;
use rectify_ir::op::{Binary, CumulateKind, Op, ResizeAttrs, ScatterReduction, Source};
use rectify_ir::{DType, TensorType};
use std::sync::Arc;

/// Numbers of a table of places at most.
const MAX_TABLE: usize = 1 << 24;

const ADD: ScatterReduction = ScatterReduction::Add;

/// Along an axis: for each element of x the elements of the result that it is part of, and how much of them it is.
type Takers = Vec<Vec<(usize, f64)>>;

/// Axis by axis, as the operation itself is.
pub(super) fn resize(r: &mut Rule<'_>, g: Value, a: &ResizeAttrs) -> Made {
    let (from, to) = (r.shape(r.x[0]), r.shape(r.y()));
    let mut dx = r.expand(g, &to)?;
    for axis in 2..from.len() {
        let (input, output) = (r.known(&from[axis])? as usize, r.known(&to[axis])? as usize);
        if resize_keeps(a, axis - 2, input, output) {
            continue;
        }
        let taps = ResizeTaps::new(a, axis - 2, input, output);
        let mut takers: Takers = vec![Vec::new(); input];
        for (i, (place, weight)) in taps.places.iter().zip(&taps.weights).enumerate() {
            let taker = i / taps.width;
            if !taps.outside[taker] {
                takers[*place].push((taker, *weight));
            }
        }
        dx = collect(r, dx, axis, takers)?;
    }
    Ok(vec![Some(dx)])
}

/// The adjoint, along one axis of `size` elements, of wrapping them around.
pub(super) fn unwrap(r: &mut Rule<'_>, g: Value, axis: usize, before: i64, size: i64) -> One {
    let count = r.known(&r.shape(g)[axis])?;
    let mut takers: Takers = vec![Vec::new(); size.max(0) as usize];
    for taker in 0..count {
        takers[(taker - before).rem_euclid(size) as usize].push((taker as usize, 1.0));
    }
    collect(r, g, axis, takers)
}

/// Sums of g's elements along an axis by a table.
fn collect(r: &mut Rule<'_>, g: Value, axis: usize, takers: Takers) -> One {
    let (count, width) = (takers.len(), takers.iter().map(Vec::len).max().unwrap_or(0));
    if count.saturating_mul(width) > MAX_TABLE {
        return Err(r.refusal(&format!("its table of {count} x {width} places is too large")));
    }
    let mut shape = r.shape(g);
    if width == 0 {
        shape[axis] = Dim::Const(count as i64);
        let zero = r.number(0.0);
        return r.expand(zero, &shape);
    }
    // Shorter lists are filled up with a weight of zero.
    let padded: Vec<(usize, f64)> = takers
        .iter()
        .flat_map(|list| list.iter().copied().chain(std::iter::repeat((0, 0.0))).take(width))
        .collect();
    let places: Vec<i64> = padded.iter().map(|(place, _)| *place as i64).collect();
    let table = r.table("places", Literal::i64(&[count, width], &places))?;
    let mut parts = r.push(Op::Gather { axis }, &[g, table])?;
    if padded.iter().any(|(_, weight)| *weight != 1.0) {
        let weights: Vec<f32> = padded.iter().map(|(_, weight)| *weight as f32).collect();
        let mut along = vec![1; shape.len() - axis + 1];
        (along[0], along[1]) = (count, width);
        let weights = r.table("weights", Literal::f32(&along, &weights))?;
        parts = r.mul(parts, weights)?;
    }
    r.sum(parts, vec![axis + 1], false)
}

/// Added up where the elements came from.
pub(super) fn gather(r: &mut Rule<'_>, g: Value, axis: usize) -> Made {
    let (shape, indices) = (r.shape(r.x[0]), r.x[1]);
    let (rank, depth) = (shape.len(), r.shape(indices).len());
    let g = r.whole(g)?;
    let mut first: Vec<usize> = (axis..axis + depth).collect();
    first.extend((0..axis).chain(axis + depth..rank + depth - 1));
    let updates = r.push(Op::Transpose { perm: first }, &[g])?;
    let mut lead = shape.clone();
    lead[..=axis].rotate_right(1);
    let zeros = zeros(r, &lead)?;
    let mut rows = r.shape(indices);
    rows.push(Dim::Const(1));
    let rows = r.reshape(indices, &rows)?;
    let sums = r.push(Op::ScatterNd { reduction: ADD }, &[zeros, rows, updates])?;
    let mut back: Vec<usize> = (1..=axis).chain([0]).collect();
    back.extend(axis + 1..rank);
    Ok(vec![Some(r.push(Op::Transpose { perm: back }, &[sums])?), None])
}

pub(super) fn gather_elements(r: &mut Rule<'_>, g: Value, axis: usize) -> Made {
    let (g, shape) = (r.whole(g)?, r.shape(r.x[0]));
    let zeros = zeros(r, &shape)?;
    let op = Op::ScatterElements { axis, reduction: ADD };
    Ok(vec![Some(r.push(op, &[zeros, r.x[1], g])?), None])
}

pub(super) fn gather_nd(r: &mut Rule<'_>, g: Value, batch: usize) -> Made {
    let (g, shape, mut indices) = (r.whole(g)?, r.shape(r.x[0]), r.x[1]);
    if batch > 0 {
        // A scatter has no batch: its places are spelled out.
        let mut rows = r.shape(indices);
        if let Some(last) = rows.last_mut() {
            *last = Dim::Const(1);
        }
        let mut columns = Vec::with_capacity(batch + 1);
        for axis in 0..batch {
            let size = r.known(&rows[axis])?;
            let mut along = vec![1; rows.len()];
            along[axis] = size as usize;
            let table = r.table("batch", Literal::i64(&along, &(0..size).collect::<Vec<_>>()))?;
            columns.push(r.expand(table, &rows)?);
        }
        if r.graph.ty(indices).dtype != DType::I64 {
            indices = r.push(Op::Cast { to: DType::I64 }, &[indices])?;
        }
        columns.push(indices);
        indices = r.push(Op::Concat { axis: rows.len() - 1 }, &columns)?;
    }
    let zeros = zeros(r, &shape)?;
    Ok(vec![Some(r.push(Op::ScatterNd { reduction: ADD }, &[zeros, indices, g])?), None])
}

/// Of both kinds: `scatter` and `gather` are the operation and the one that reads what it writes.
pub(super) fn scatter(
    r: &mut Rule<'_>,
    g: Value,
    reduction: ScatterReduction,
    scatter: &dyn Fn(ScatterReduction) -> Op,
    gather: &Op,
) -> Made {
    let (indices, updates) = (r.x[1], r.x[2]);
    let g = r.whole(g)?;
    match reduction {
        ScatterReduction::Add => {
            let by_updates = r.push(gather.clone(), &[g, indices])?;
            Ok(vec![Some(g), None, Some(by_updates)])
        }
        ScatterReduction::None => {
            let shape = r.shape(updates);
            let nothing = zeros(r, &shape)?;
            let kept = r.push(scatter(ScatterReduction::None), &[g, indices, nothing])?;
            let mut by_updates = None;
            if r.wants(2) {
                let read = r.push(gather.clone(), &[g, indices])?;
                let last = stayed(r, scatter, gather)?;
                by_updates = Some(r.mul(read, last)?);
            }
            Ok(vec![Some(kept), None, by_updates])
        }
        ScatterReduction::Mul | ScatterReduction::Max | ScatterReduction::Min => {
            r.none("only scatters that replace or add have one")
        }
    }
}

/// 1 for updates that no later one replaced: those that read their own number where they wrote it.
fn stayed(r: &mut Rule<'_>, scatter: &dyn Fn(ScatterReduction) -> Op, gather: &Op) -> One {
    let (shape, indices) = (r.shape(r.x[0]), r.x[1]);
    let sizes =
        r.shape(r.x[2]).iter().map(|d| r.known(d).map(|n| n as usize)).collect::<Result<Vec<_>, _>>()?;
    let count: usize = sizes.iter().product();
    if count >= MAX_TABLE {
        return Err(r.refusal("it has too many updates to be told apart by numbers of single precision"));
    }
    let numbers: Vec<f32> = (0..count).map(|i| i as f32).collect();
    let numbers = r.table("numbers", Literal::f32(&sizes, &numbers))?;
    let zeros = zeros(r, &shape)?;
    let written = r.push(scatter(ScatterReduction::None), &[zeros, indices, numbers])?;
    let read = r.push(gather.clone(), &[written, indices])?;
    let same = r.binary(Binary::Equal, read, numbers)?;
    r.push(Op::Cast { to: DType::F32 }, &[same])
}

/// A running sum the other way round.
pub(super) fn cumulate(
    r: &mut Rule<'_>,
    g: Value,
    kind: CumulateKind,
    axis: usize,
    exclusive: bool,
    reverse: bool,
) -> Made {
    if kind == CumulateKind::Prod {
        return r.none("running products have no rule");
    }
    let g = r.whole(g)?;
    Ok(vec![Some(r.push(Op::Cumulate { kind, axis, exclusive, reverse: !reverse }, &[g])?)])
}

fn zeros(r: &mut Rule<'_>, shape: &[Dim]) -> One {
    let zero = r.number(0.0);
    r.expand(zero, shape)
}

impl Rule<'_> {
    /// The gradient of all elements, where it may be one number that has not been spread yet.
    fn whole(&mut self, g: Value) -> One {
        let shape = self.shape(self.y());
        self.expand(g, &shape)
    }

    /// Numbers that the rule knows, as a parameter with a name of its own.
    fn table(&mut self, what: &str, literal: Option<Literal>) -> One {
        let Some(literal) = literal else { return Err(self.refusal("its table does not have its shape")) };
        let label = crate::log::label(self.graph, self.node);
        let used: Vec<Arc<str>> =
            self.graph.params().into_iter().filter_map(|id| self.graph.node(id).name.clone()).collect();
        let mut names = (0..).map(|i| format!("{label}.gradient.{what}{i}"));
        let name = names.find(|name| !used.iter().any(|u| **u == **name)).unwrap_or_default();
        let shape = literal.shape.iter().map(|n| Dim::Const(*n as i64)).collect::<Vec<_>>();
        let ty = TensorType::new(literal.dtype, shape);
        Ok(self.graph.add_param(name, ty, Source::Data(literal)))
    }
}
