//! Rules of operations that move elements: their adjoints move them back, and add up what was copied.

use super::GradientError;
use super::rule::{Made, One, Rule};
use rectify_ir::dim::Dim;
use rectify_ir::graph::Value;
use rectify_ir::op::{DepthMode, Op, PadMode};

pub(super) fn concat(r: &mut Rule<'_>, g: Value, axis: usize) -> Made {
    let mut start = Dim::Const(0);
    let mut made = Vec::with_capacity(r.x.len());
    for operand in 0..r.x.len() {
        let size = r.shape(r.x[operand])[axis].clone();
        let part = if r.wants(operand) { Some(r.part(g, axis, &start, &size)?) } else { None };
        made.push(part);
        start = start.add(&size).map_err(|e| r.fail(e))?;
    }
    Ok(made)
}

/// Parts that nothing depends on have a gradient of zeros.
pub(super) fn split(r: &mut Rule<'_>, axis: usize, incoming: &[Option<Value>]) -> Made {
    let types = r.graph.node(r.node).types.clone();
    let mut parts = Vec::with_capacity(incoming.len());
    for (g, ty) in incoming.iter().zip(types) {
        parts.push(match g {
            Some(g) => *g,
            None => {
                let zero = r.number(0.0);
                r.expand(zero, &ty.shape)?
            }
        });
    }
    Ok(vec![Some(r.push(Op::Concat { axis }, &parts)?)])
}

pub(super) fn slice(r: &mut Rule<'_>, g: Value, axes: &[usize], starts: &[Dim], steps: &[i64]) -> Made {
    let size = r.shape(r.x[0]);
    let mut dx = g;
    for ((axis, start), step) in axes.iter().zip(starts).zip(steps) {
        let count = r.shape(dx)[*axis].clone();
        let mut first = r.known(start)?;
        if *step < 0 {
            let last = r.known(&count)? - 1;
            first += last * step;
            dx = reversed(r, dx, *axis, last)?;
        }
        dx = spaced(r, dx, *axis, step.abs())?;
        // One element every |step|, the last one followed by nothing.
        let end = count.sub(&Dim::Const(1)).and_then(|n| n.mul(&Dim::Const(step.abs())));
        let end = end.and_then(|n| n.add(&Dim::Const(first + 1))).map_err(|e| r.fail(e))?;
        let after = size[*axis].sub(&end).map_err(|e| r.fail(e))?;
        let after = r.known(&after)?;
        dx = r.widen(dx, *axis, first, after)?;
    }
    Ok(vec![Some(dx)])
}

/// Element `last`, `last − 1`, … 0 of an axis.
fn reversed(r: &mut Rule<'_>, x: Value, axis: usize, last: i64) -> One {
    let op = Op::Slice {
        axes: vec![axis],
        starts: vec![Dim::Const(last)],
        ends: vec![Dim::Const(-1)],
        steps: vec![-1],
    };
    r.push(op, &[x])
}

/// `step − 1` zeros between the elements of an axis.
fn spaced(r: &mut Rule<'_>, x: Value, axis: usize, step: i64) -> One {
    if step == 1 {
        return Ok(x);
    }
    let shape = r.shape(x);
    let mut split = shape.clone();
    split.insert(axis + 1, Dim::Const(1));
    let y = r.reshape(x, &split)?;
    let y = r.widen(y, axis + 1, 0, step - 1)?;
    let mut joined = shape.clone();
    joined[axis] = shape[axis].mul(&Dim::Const(step)).map_err(|e| r.fail(e))?;
    let y = r.reshape(y, &joined)?;
    let used = joined[axis].sub(&Dim::Const(step - 1)).map_err(|e| r.fail(e))?;
    r.part(y, axis, &Dim::Const(0), &used)
}

/// The middle, and at the edges what was repeated or mirrored there. Negative pads have cut elements off.
pub(super) fn pad(r: &mut Rule<'_>, g: Value, pads: &[i64], mode: PadMode) -> Made {
    let size = r.shape(r.x[0]);
    let rank = size.len();
    let mut dx = g;
    for axis in 0..rank {
        let (before, after) = (pads[axis], pads[rank + axis]);
        if (before, after) == (0, 0) {
            continue;
        }
        if mode == PadMode::Wrap {
            let around = r.known(&size[axis])?;
            dx = super::places::unwrap(r, dx, axis, before, around)?;
            continue;
        }
        let whole = dx;
        let kept = size[axis].add(&Dim::Const(before.min(0) + after.min(0))).map_err(|e| r.fail(e))?;
        dx = r.part(whole, axis, &Dim::Const(before.max(0)), &kept)?;
        dx = r.widen(dx, axis, (-before).max(0), (-after).max(0))?;
        if !matches!(mode, PadMode::Constant(_)) {
            dx = edges(r, whole, dx, axis, before, after, mode == PadMode::Reflect)?;
        }
    }
    Ok(vec![Some(dx)])
}

/// Adds the gradient of the elements before and after an axis to the elements that they are copies of.
fn edges(
    r: &mut Rule<'_>,
    whole: Value,
    middle: Value,
    axis: usize,
    before: i64,
    after: i64,
    reflect: bool,
) -> Result<Value, GradientError> {
    let size = r.known(&r.shape(middle)[axis])?;
    let mut dx = middle;
    for (amount, start, at_end) in [(before, 0, false), (after, before.max(0) + size, true)] {
        if amount <= 0 {
            continue;
        }
        let part = r.part(whole, axis, &Dim::Const(start), &Dim::Const(amount))?;
        let (part, first, count) = match (reflect, at_end) {
            (false, false) => (r.sum(part, vec![axis], true)?, 0, 1),
            (false, true) => (r.sum(part, vec![axis], true)?, size - 1, 1),
            (true, false) => (reversed(r, part, axis, amount - 1)?, 1, amount),
            (true, true) => (reversed(r, part, axis, amount - 1)?, size - 1 - amount, amount),
        };
        let placed = r.widen(part, axis, first, size - first - count)?;
        dx = r.add(dx, placed)?;
    }
    Ok(dx)
}

pub(super) fn transpose(r: &mut Rule<'_>, g: Value, perm: &[usize]) -> Made {
    let mut inverse = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(i, p)| inverse[*p] = i);
    Ok(vec![Some(r.push(Op::Transpose { perm: inverse }, &[g])?)])
}

pub(super) fn reshape(r: &mut Rule<'_>, g: Value) -> Made {
    let shape = r.shape(r.x[0]);
    // A gradient that is one number for all elements has not been spread yet.
    let whole = r.shape(r.y());
    let g = r.expand(g, &whole)?;
    Ok(vec![Some(r.reshape(g, &shape)?)])
}

pub(super) fn expand(r: &mut Rule<'_>, g: Value) -> Made {
    let shape = r.shape(r.x[0]);
    Ok(vec![Some(r.sum_to(g, &shape)?)])
}

/// [N, C, H·b, W·b] → [N, C·b², H, W]
pub(super) fn depth_to_space(r: &mut Rule<'_>, g: Value, block: usize, mode: DepthMode) -> Made {
    let x = r.shape(r.x[0]);
    let b = Dim::Const(block as i64);
    let channels = r.shape(g)[1].clone();
    let cut = [x[0].clone(), channels, x[2].clone(), b.clone(), x[3].clone(), b];
    let cut = r.reshape(g, &cut)?;
    let perm = match mode {
        DepthMode::Dcr => vec![0, 3, 5, 1, 2, 4],
        DepthMode::Crd => vec![0, 1, 3, 5, 2, 4],
    };
    let moved = r.push(Op::Transpose { perm }, &[cut])?;
    Ok(vec![Some(r.reshape(moved, &x)?)])
}
