//! Losses, which models carry that were exported for training.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::softmax::log_softmax_of;
use rectify_ir::op::{Binary, Op, ReduceKind, Unary};
use rectify_ir::{Dim, Value};

/// How the losses of single elements are put together.
#[derive(Clone, Copy)]
enum Reduction {
    None,
    Sum,
    /// By the sum of the weights.
    Mean,
}

pub fn negative_log_likelihood(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let y = loss(cx, x)?;
    cx.set(0, y);
    Ok(())
}

/// The likelihood loss of log-softmax over the classes, which may be asked for too.
pub fn softmax_cross_entropy(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    if cx.type_of(x).rank() < 2 {
        return Err(Refusal::malformed(format!("scores are [N, C, …], not {}", cx.type_of(x))));
    }
    let log = log_softmax_of(cx, x, 1)?;
    let y = loss(cx, log)?;
    cx.set(0, y);
    cx.set(1, log);
    Ok(())
}

/// −weight[target] · x[target] for x [N, C, …] and target [N, …]; 0 where the target is `ignore_index`.
fn loss(cx: &mut Cx<'_, '_>, x: Value) -> Result<Value, Refusal> {
    let reduction = cx.attrs.text("reduction", "mean")?;
    let reduction = match reduction {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        other => return Err(Refusal::attribute(format!("`reduction` cannot be {other}"))),
    };
    let ignored = cx.attrs.opt_int("ignore_index")?;
    let (mut target, weight) = (cx.value(1)?, cx.opt_value(2)?);
    let mask = match ignored {
        Some(index) => {
            let index = cx.scalar(index as f64);
            let mask = cx.binary(Binary::Equal, target, index)?;
            // Any class will do there.
            let zero = cx.scalar(0.0);
            target = cx.select(mask, zero, target)?;
            Some(mask)
        }
        None => None,
    };
    let shape = cx.type_of(target).shape.clone();
    let mut places = shape.clone();
    if places.is_empty() {
        return Err(Refusal::malformed("the targets are no tensor [N, …]"));
    }
    places.insert(1, Dim::Const(1));
    let places = cx.reshape(target, places)?;
    let picked = cx.push(Op::GatherElements { axis: 1 }, &[x, places])?;
    let picked = cx.reshape(picked, shape.clone())?;
    let mut y = cx.unary(Unary::Neg, picked)?;

    let zero = cx.scalar(0.0);
    let weights = match (weight, mask) {
        (None, None) => None,
        (None, Some(mask)) => {
            let one = cx.scalar(1.0);
            let ones = cx.select(mask, zero, one)?;
            let dtype = cx.type_of(y).dtype;
            Some(cx.cast(ones, dtype)?)
        }
        (Some(weight), mask) => {
            let weights = cx.push(Op::Gather { axis: 0 }, &[weight, target])?;
            Some(match mask {
                Some(mask) => cx.select(mask, zero, weights)?,
                None => weights,
            })
        }
    };
    if let Some(weights) = weights {
        y = cx.binary(Binary::Mul, y, weights)?;
    }
    let axes: Vec<usize> = (0..shape.len()).collect();
    match (reduction, weights) {
        (Reduction::None, _) => Ok(y),
        (Reduction::Sum, _) => cx.reduce(ReduceKind::Sum, y, &axes, false),
        (Reduction::Mean, None) => cx.reduce(ReduceKind::Mean, y, &axes, false),
        (Reduction::Mean, Some(weights)) => {
            let total = cx.reduce(ReduceKind::Sum, y, &axes, false)?;
            let count = cx.reduce(ReduceKind::Sum, weights, &axes, false)?;
            cx.binary(Binary::Div, total, count)
        }
    }
}
