//! Rules of reductions and of softmax.

use super::rule::{Made, One, Rule};
use rectify_ir::DType;
use rectify_ir::dim::Dim;
use rectify_ir::graph::Value;
use rectify_ir::op::{Binary, Op, ReduceKind};

pub(super) fn reduce(r: &mut Rule<'_>, g: Value, kind: ReduceKind, axes: &[usize], keep: bool) -> Made {
    let x = r.x[0];
    let shape = r.shape(x);
    let mut kept = shape.clone();
    axes.iter().for_each(|a| kept[*a] = Dim::Const(1));
    let g = r.reshape(g, &kept)?;
    let dx = match kind {
        ReduceKind::Sum => r.expand(g, &shape)?,
        ReduceKind::Mean => {
            let count = Dim::product(axes.iter().map(|a| &shape[*a])).map_err(|e| r.fail(e))?;
            let each = r.affine(g, 1.0 / r.known(&count)? as f64, 0.0)?;
            r.expand(each, &shape)?
        }
        ReduceKind::Max | ReduceKind::Min => {
            let y = if keep { r.y() } else { r.reshape(r.y(), &kept)? };
            let best = equal(r, x, y)?;
            let count = r.sum(best, axes.to_vec(), true)?;
            let share = r.div(g, count)?;
            r.mul(share, best)?
        }
        ReduceKind::Prod => product(r, g, axes)?,
    };
    Ok(vec![Some(dx)])
}

/// 1 where the elements are equal, else 0.
fn equal(r: &mut Rule<'_>, x: Value, y: Value) -> One {
    let same = r.binary(Binary::Equal, x, y)?;
    r.push(Op::Cast { to: DType::F32 }, &[same])
}

/// Each element's factor is the product of the others: with the zeros left out, and 0 where another one is zero.
fn product(r: &mut Rule<'_>, g: Value, axes: &[usize]) -> One {
    let (x, zero, one) = (r.x[0], r.number(0.0), r.number(1.0));
    let is_zero = equal(r, x, zero)?;
    let zeros = r.sum(is_zero, axes.to_vec(), true)?;
    let filled = r.add(x, is_zero)?;
    let whole = r.push(Op::Reduce { kind: ReduceKind::Prod, axes: axes.to_vec(), keep: true }, &[filled])?;
    let others = r.div(whole, filled)?;
    // Zeros among the others.
    let rest = r.sub(zeros, is_zero)?;
    let any = r.binary(Binary::Min, rest, one)?;
    let none = r.affine(any, -1.0, 1.0)?;
    let slope = r.mul(others, none)?;
    r.mul(g, slope)
}

/// y · (g − Σ g · y)
pub(super) fn softmax(r: &mut Rule<'_>, g: Value, axis: usize) -> Made {
    let y = r.y();
    let product = r.mul(g, y)?;
    let total = r.sum(product, vec![axis], true)?;
    let centred = r.sub(g, total)?;
    Ok(vec![Some(r.mul(y, centred)?)])
}
