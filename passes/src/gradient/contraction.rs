//! Rules of convolutions, dense layers and matrix products.

use super::rule::{Made, One, Rule};
use rectify_ir::dim::Dim;
use rectify_ir::graph::Value;
use rectify_ir::op::{ConvAttrs, ConvTransposeAttrs, Op, Padding};
use rectify_ir::shape::{resolve_padding, same_transposed};

pub(super) fn conv(r: &mut Rule<'_>, g: Value, a: &ConvAttrs) -> Made {
    let (x, weight) = (r.x[0], r.x[1]);
    let (size, kernel, places) = (r.shape(x), kernel(r, weight)?, r.shape(g));
    let Some(pads) = resolve_padding(&a.pad, &size[2..], &kernel, &a.stride, &a.dilation, &r.graph.facts)
    else {
        return r.none("its padding depends on a size that is not known");
    };
    let mut made = vec![None; r.x.len()];
    if r.wants(0) {
        let rank = kernel.len();
        let mut output_pad = Vec::with_capacity(rank);
        for i in 0..rank {
            // What windows leave over at the end of the axis.
            let reach = (kernel[i] - 1) * a.dilation[i] + 1 - pads[i] - pads[rank + i] - a.stride[i];
            let covered = places[2 + i].mul(&Dim::Const(a.stride[i])).and_then(|p| p.add(&Dim::Const(reach)));
            let left = covered.and_then(|c| size[2 + i].sub(&c)).map_err(|e| r.fail(e))?;
            output_pad.push(r.known(&left)?);
        }
        let back = ConvTransposeAttrs {
            stride: a.stride.clone(),
            pad: Padding::Explicit(pads.clone()),
            dilation: a.dilation.clone(),
            groups: a.groups,
            output_pad,
        };
        made[0] = Some(r.push(Op::ConvTranspose(back), &[g, weight])?);
    }
    if r.wants(1) {
        let conv = ConvAttrs { pad: Padding::Explicit(pads), ..a.clone() };
        made[1] = Some(r.push(Op::ConvWeightGrad { conv, kernel }, &[x, g])?);
    }
    bias(r, g, 2, &mut made)?;
    Ok(made)
}

/// The transposed convolution is the gradient of a convolution, so its own gradients are that convolution and the same
/// sums with x and g in each other's place.
pub(super) fn conv_transpose(r: &mut Rule<'_>, g: Value, a: &ConvTransposeAttrs) -> Made {
    let (x, weight) = (r.x[0], r.x[1]);
    let kernel = kernel(r, weight)?;
    let pads = match &a.pad {
        Padding::Explicit(pads) => pads.clone(),
        Padding::SameUpper | Padding::SameLower => match same_transposed(a, &kernel) {
            Some(pads) => pads,
            None => return r.none("its padding is not known"),
        },
    };
    let conv = ConvAttrs {
        stride: a.stride.clone(),
        pad: Padding::Explicit(pads),
        dilation: a.dilation.clone(),
        groups: a.groups,
    };
    // A dilation beyond the stride lets `output_pad` add whole windows at the end: they meet none of x.
    let size = r.shape(x);
    let mut read = g;
    for i in 0..kernel.len() {
        let most = (a.output_pad[i] - (a.stride[i] - 1)).max(0);
        if most > 0 {
            let whole = r.shape(read)[2 + i].clone();
            let used = whole.sub(&Dim::Const(most)).map_err(|e| r.fail(e))?;
            read = r.part(read, 2 + i, &Dim::Const(0), &used)?;
        }
    }
    let mut made = vec![None; r.x.len()];
    if r.wants(0) {
        let dx = r.push(Op::Conv(conv.clone()), &[read, weight])?;
        debug_assert_eq!(r.shape(dx), size);
        made[0] = Some(dx);
    }
    if r.wants(1) {
        made[1] = Some(r.push(Op::ConvWeightGrad { conv, kernel }, &[read, x])?);
    }
    bias(r, g, 2, &mut made)?;
    Ok(made)
}

fn kernel(r: &Rule<'_>, weight: Value) -> Result<Vec<i64>, super::GradientError> {
    r.graph.ty(weight).shape[2..].iter().map(|d| r.known(d)).collect()
}

/// The gradient of a value a channel: the sum over all else.
fn bias(
    r: &mut Rule<'_>,
    g: Value,
    operand: usize,
    made: &mut [Option<Value>],
) -> Result<(), super::GradientError> {
    if r.wants(operand) {
        let axes = (0..r.shape(g).len()).filter(|a| *a != 1).collect();
        made[operand] = Some(r.sum(g, axes, false)?);
    }
    Ok(())
}

pub(super) fn dense(r: &mut Rule<'_>, g: Value) -> Made {
    let (x, weight) = (r.x[0], r.x[1]);
    let mut made = vec![None; r.x.len()];
    if r.wants(0) {
        // A row times a matrix, whatever the rank of x.
        made[0] = Some(r.push(Op::MatMul, &[g, weight])?);
    }
    if r.wants(1) {
        let (rows_of_g, rows_of_x) = (rows(r, g)?, rows(r, x)?);
        let columns = r.push(Op::Transpose { perm: vec![1, 0] }, &[rows_of_g])?;
        made[1] = Some(r.push(Op::MatMul, &[columns, rows_of_x])?);
    }
    if r.wants(2) {
        let axes = (0..r.shape(g).len() - 1).collect();
        made[2] = Some(r.sum(g, axes, false)?);
    }
    Ok(made)
}

/// The tensor as a matrix of its last axis.
fn rows(r: &mut Rule<'_>, x: Value) -> One {
    let shape = r.shape(x);
    let (last, outer) = shape.split_last().map_or((Dim::Const(1), &[][..]), |(l, o)| (l.clone(), o));
    let count = Dim::product(outer).map_err(|e| r.fail(e))?;
    r.reshape(x, &[count, last])
}

pub(super) fn matmul(r: &mut Rule<'_>, g: Value) -> Made {
    let (a, b) = (r.x[0], r.x[1]);
    let (a_shape, b_shape) = (r.shape(a), r.shape(b));
    let matrix = |shape: &[Dim], row: bool| match shape {
        [n] if row => vec![Dim::Const(1), n.clone()],
        [n] => vec![n.clone(), Dim::Const(1)],
        _ => shape.to_vec(),
    };
    let (a_full, b_full) = (matrix(&a_shape, true), matrix(&b_shape, false));
    let (left, right) = (r.reshape(a, &a_full)?, r.reshape(b, &b_full)?);
    let mut g_full = r.shape(g);
    if b_shape.len() == 1 {
        g_full.push(Dim::Const(1));
    }
    if a_shape.len() == 1 {
        g_full.insert(g_full.len() - 1, Dim::Const(1));
    }
    let g = r.reshape(g, &g_full)?;
    let mut made = vec![None, None];
    if r.wants(0) {
        let turned = turn(r, right)?;
        let whole = r.push(Op::MatMul, &[g, turned])?;
        let own = r.sum_to(whole, &a_full)?;
        made[0] = Some(r.reshape(own, &a_shape)?);
    }
    if r.wants(1) {
        let turned = turn(r, left)?;
        let whole = r.push(Op::MatMul, &[turned, g])?;
        let own = r.sum_to(whole, &b_full)?;
        made[1] = Some(r.reshape(own, &b_shape)?);
    }
    Ok(made)
}

/// Swaps the last two axes.
fn turn(r: &mut Rule<'_>, x: Value) -> One {
    let rank = r.shape(x).len();
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    r.push(Op::Transpose { perm }, &[x])
}
