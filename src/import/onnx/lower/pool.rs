//! Pooling.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::conv::{padding, spatial, spatial_rank};
use rectify_ir::op::{Binary, Op, Padding, PoolAttrs, ReduceKind, Unary};
use rectify_ir::{Dim, Value};

fn attrs(cx: &mut Cx<'_, '_>, x: Value) -> Result<PoolAttrs, Refusal> {
    let rank = spatial_rank(cx, cx.type_of(x))?;
    if !cx.attrs.has("kernel_shape") {
        return Err(Refusal::malformed("the attribute `kernel_shape` is missing"));
    }
    Ok(PoolAttrs {
        kernel: spatial(cx, "kernel_shape", rank, 1)?,
        stride: spatial(cx, "strides", rank, 1)?,
        pad: padding(cx, rank)?,
        dilation: spatial(cx, "dilations", rank, 1)?,
        ceil: cx.attrs.flag("ceil_mode", false)?,
    })
}

/// The greatest element of each window and, if asked for, its place in the whole tensor.
pub fn max(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let attrs = attrs(cx, x)?;
    let y = cx.push(Op::MaxPool(attrs.clone()), &[x])?;
    cx.set(0, y);
    // The order in which places are counted.
    let by_columns = cx.attrs.flag("storage_order", false)?;
    if cx.wants(1) {
        let places = cx.push(Op::MaxPoolIndices(attrs), &[x, y])?;
        let places = if by_columns { counted_by_columns(cx, x, places)? } else { places };
        cx.set(1, places);
    }
    Ok(())
}

/// Places in x that count the first spatial axis fastest, from those that count the last one fastest.
fn counted_by_columns(cx: &mut Cx<'_, '_>, x: Value, places: Value) -> Result<Value, Refusal> {
    let sizes = cx.type_of(x).shape[2..].iter().map(Dim::as_const).collect::<Option<Vec<_>>>();
    let sizes = sizes.ok_or_else(|| {
        Refusal::form("places by columns of symbolic size are not supported")
            .help("give the model's symbolic dims fixed sizes when importing")
    })?;
    let mut distance: i64 = sizes.iter().product();
    let mut rest = places;
    let mut sum: Option<Value> = None;
    for size in sizes.into_iter().rev() {
        // The place along this axis, and what is left of the count.
        let above = cx.binary_const(Binary::Div, rest, size as f64)?;
        let below = cx.binary_const(Binary::Mul, above, size as f64)?;
        let place = cx.binary(Binary::Sub, rest, below)?;
        distance /= size;
        let place = cx.binary_const(Binary::Mul, place, distance as f64)?;
        sum = Some(match sum {
            None => place,
            Some(sum) => cx.binary(Binary::Add, sum, place)?,
        });
        rest = above;
    }
    let plane: i64 = cx.type_of(x).shape[2..].iter().filter_map(Dim::as_const).product();
    let start = cx.binary_const(Binary::Mul, rest, plane as f64)?;
    match sum {
        Some(sum) => cx.binary(Binary::Add, start, sum),
        None => Ok(places),
    }
}

pub fn average(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let pool = attrs(cx, x)?;
    let count_include_pad = cx.attrs.flag("count_include_pad", false)?;
    let y = cx.push(Op::AvgPool { pool, count_include_pad }, &[x])?;
    cx.set(0, y);
    Ok(())
}

/// (Σ |x|^p)^(1/p) over windows: the sum is the average times the window's size.
pub fn lp(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let mut pool = attrs(cx, x)?;
    if pool.ceil {
        pool = rounded_up(cx, x, pool)?;
    }
    let p = cx.attrs.int("p", 2)?;
    let window: i64 = pool
        .kernel
        .iter()
        .try_fold(1i64, |n, k| n.checked_mul(*k))
        .ok_or_else(|| Refusal::malformed("the window is too large"))?;
    let y = power(cx, x, p)?;
    let y = cx.push(Op::AvgPool { pool, count_include_pad: true }, &[y])?;
    let y = cx.binary_const(Binary::Mul, y, window as f64)?;
    let y = root(cx, y, p)?;
    cx.set(0, y);
    Ok(())
}

/// The pool with padding in place of `ceil`: an average over a window that reaches beyond the padding would not be a sum
/// over the whole window.
fn rounded_up(cx: &mut Cx<'_, '_>, x: Value, mut pool: PoolAttrs) -> Result<PoolAttrs, Refusal> {
    let y = cx.push(Op::MaxPool(pool.clone()), &[x])?;
    pool.ceil = false;
    let Padding::Explicit(pads) = &mut pool.pad else {
        // Sizes do not depend on the window then.
        return Ok(pool);
    };
    let (from, to) = (cx.type_of(x).shape.clone(), cx.type_of(y).shape.clone());
    let rank = pool.kernel.len();
    for i in 0..rank {
        let span = pool.dilation[i].checked_mul(pool.kernel[i] - 1).and_then(|n| n.checked_add(1));
        let reach = to[2 + i]
            .as_const()
            .zip(span)
            .and_then(|(n, span)| (n - 1).checked_mul(pool.stride[i])?.checked_add(span));
        let (Some(reach), Some(n)) = (reach, from[2 + i].as_const()) else {
            return Err(Refusal::form("`ceil_mode` of LpPool along axes of symbolic size is not supported")
                .help("give the model's symbolic dims fixed sizes when importing"));
        };
        pads[rank + i] = pads[rank + i].max(reach - n - pads[i]);
    }
    Ok(pool)
}

/// |x|^p
pub fn power(cx: &mut Cx<'_, '_>, x: Value, p: i64) -> Result<Value, Refusal> {
    match p {
        1 => cx.unary(Unary::Abs, x),
        2 => cx.binary(Binary::Mul, x, x),
        p if p > 0 => {
            let a = cx.unary(Unary::Abs, x)?;
            cx.binary_const(Binary::Pow, a, p as f64)
        }
        p => Err(Refusal::attribute(format!("`p` is {p}, but must be positive"))),
    }
}

/// x^(1/p) of a positive x
pub fn root(cx: &mut Cx<'_, '_>, x: Value, p: i64) -> Result<Value, Refusal> {
    match p {
        1 => Ok(x),
        2 => cx.unary(Unary::Sqrt, x),
        p => cx.binary_const(Binary::Pow, x, 1.0 / p as f64),
    }
}

/// Pooling over all spatial axes, which are kept with size 1.
pub fn global(cx: &mut Cx<'_, '_>) -> Lowered {
    let kind = if cx.op == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
    let x = cx.value(0)?;
    let axes: Vec<usize> = (2..cx.type_of(x).rank()).collect();
    if axes.is_empty() {
        return cx.set_alias(0, 0);
    }
    let y = cx.reduce(kind, x, &axes, true)?;
    cx.set(0, y);
    Ok(())
}

pub fn global_lp(cx: &mut Cx<'_, '_>) -> Lowered {
    let p = cx.attrs.int("p", 2)?;
    let x = cx.value(0)?;
    let axes: Vec<usize> = (2..cx.type_of(x).rank()).collect();
    let y = power(cx, x, p)?;
    let y = cx.reduce(ReduceKind::Sum, y, &axes, true)?;
    let y = root(cx, y, p)?;
    cx.set(0, y);
    Ok(())
}
