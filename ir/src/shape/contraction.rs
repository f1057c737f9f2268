//! Shape rules of convolutions, dense layers and matrix products.

use super::window::Window;
use super::{Cx, ShapeError, broadcast};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::op::{ConvAttrs, ConvTransposeAttrs, Padding};
use crate::types::{ShapeDisplay, TensorType};

pub(crate) fn conv(cx: &Cx<'_>, a: &ConvAttrs) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let kernel = kernel(cx)?;
    let (x, weight) = (cx.x(), cx.operands[1]);
    let (channels, groups) = (&x.shape[1], groups(cx, a.groups)?);
    if weight.shape[1].mul(&groups)? != *channels {
        let e = cx.err(format!(
            "conv expects {} input channels per group (weight {}, groups {groups}) but x has {channels}{}",
            weight.shape[1],
            ShapeDisplay(&weight.shape),
            if a.groups == 1 { String::new() } else { format!(" in {groups} groups") },
        ));
        return Err(match channels.div_exact(&groups, cx.facts) {
            Ok(per_group) => e.help(format!("a weight for x has the shape [O, {per_group}, …]")),
            Err(_) => e.help(format!("choose `groups` so that it divides {channels}")),
        });
    }
    weight.shape[0].div_exact(&groups, cx.facts).map_err(|_| {
        cx.err(format!("conv cannot cut {} output channels into {groups} groups", weight.shape[0]))
            .help("the number of output channels must be a multiple of `groups`")
    })?;
    cx.channel_vector(2, &weight.shape[0])?;
    let window = Window { kernel: &kernel, stride: &a.stride, dilation: &a.dilation };
    window.check(cx, &a.pad)?;
    let mut shape = vec![x.shape[0].clone(), weight.shape[0].clone()];
    for i in 0..kernel.len() {
        shape.push(window.output(cx, i, &a.pad, false)?);
    }
    Ok(TensorType::new(x.dtype, shape))
}

pub(crate) fn conv_transpose(cx: &Cx<'_>, a: &ConvTransposeAttrs) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let kernel = kernel(cx)?;
    let (x, weight) = (cx.x(), cx.operands[1]);
    let groups = groups(cx, a.groups)?;
    if weight.shape[0] != x.shape[1] {
        return Err(cx
            .err(format!(
                "conv_transpose expects {} input channels (weight {}) but x has {}",
                weight.shape[0],
                ShapeDisplay(&weight.shape),
                x.shape[1]
            ))
            .help(format!("a weight for x has the shape [{}, O/groups, …]", x.shape[1])));
    }
    x.shape[1].div_exact(&groups, cx.facts).map_err(|_| {
        cx.err(format!("conv_transpose cannot cut {} input channels into {groups} groups", x.shape[1]))
    })?;
    let channels = weight.shape[1].mul(&groups)?;
    cx.channel_vector(2, &channels)?;
    let window = Window { kernel: &kernel, stride: &a.stride, dilation: &a.dilation };
    window.check(cx, &a.pad)?;
    cx.spatial_attr("output_pad", &a.output_pad, 0)?;
    let mut shape = vec![x.shape[0].clone(), channels];
    for i in 0..kernel.len() {
        let (size, stride, extra) = (&x.shape[2 + i], a.stride[i], a.output_pad[i]);
        if extra >= stride.max(a.dilation[i]) {
            return Err(cx.err(format!(
                "conv_transpose: `output_pad` is {extra}, but must be less than the stride or the dilation ({})",
                stride.max(a.dilation[i])
            )));
        }
        let strided = size.mul(&Dim::Const(stride))?;
        // The whole output, before cutting, has (size − 1) · stride + extent + output_pad elements.
        let beyond = window.extent(i) - stride + extra;
        shape.push(match &a.pad {
            Padding::Explicit(p) => strided.add(&Dim::Const(beyond - p[i] - p[kernel.len() + i]))?,
            Padding::SameUpper | Padding::SameLower if beyond < 0 => {
                return Err(cx
                    .err(format!(
                        "conv_transpose with same padding needs a kernel that spans the stride {stride}, \
                         but it spans {} elements along axis {}",
                        window.extent(i),
                        2 + i
                    ))
                    .help("write the padding out, or use a greater kernel"));
            }
            Padding::SameUpper | Padding::SameLower => strided,
        });
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// The amounts that a `same` padding of a transposed convolution cuts: the output then has `stride` times the input's
/// size. They depend on no size. `None` for explicit padding and where the attributes are wrong.
pub fn same_transposed(a: &ConvTransposeAttrs, kernel: &[i64]) -> Option<Vec<i64>> {
    let upper = match a.pad {
        Padding::Explicit(_) => return None,
        Padding::SameUpper => true,
        Padding::SameLower => false,
    };
    let mut amounts = vec![0; 2 * kernel.len()];
    for (i, k) in kernel.iter().enumerate() {
        let extent = (k - 1).checked_mul(*a.dilation.get(i)?)?.checked_add(1)?;
        let total = extent.checked_sub(*a.stride.get(i)?)?.checked_add(*a.output_pad.get(i)?)?;
        if total < 0 {
            return None;
        }
        let (less, more) = (total / 2, total - total / 2);
        (amounts[i], amounts[kernel.len() + i]) = if upper { (less, more) } else { (more, less) };
    }
    Some(amounts)
}

/// Checks the ranks of x and weight; returns the kernel, which must be known.
fn kernel(cx: &Cx<'_>) -> Result<Vec<i64>, ShapeError> {
    let (rank, weight) = (cx.spatial_rank()?, cx.operands[1]);
    if weight.rank() != rank + 2 {
        return Err(cx
            .err(format!(
                "{} on {rank} spatial axes needs a weight of rank {}, not {}",
                cx.name(),
                rank + 2,
                weight.rank()
            ))
            .help("x and weight of a convolution have the same rank"));
    }
    let kernel: Option<Vec<i64>> = weight.shape[2..].iter().map(Dim::as_const).collect();
    kernel.ok_or_else(|| cx.err(format!("{} needs a kernel of known size", cx.name())))
}

fn groups(cx: &Cx<'_>, groups: i64) -> Result<Dim, ShapeError> {
    if (1..=1 << 24).contains(&groups) {
        return Ok(Dim::Const(groups));
    }
    Err(cx.err(format!("{}: `groups` is {groups}, but must be at least 1", cx.name())))
}

pub(crate) fn dense(cx: &Cx<'_>) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let (x, weight) = (cx.x(), cx.operands[1]);
    if weight.rank() != 2 {
        return Err(
            cx.err(format!("dense needs a weight [outputs, inputs], not one of rank {}", weight.rank()))
        );
    }
    let Some((features, outer)) = x.shape.split_last() else {
        return Err(cx.err("dense needs an input of at least one axis"));
    };
    if *features != weight.shape[1] {
        let e = cx.err(format!(
            "dense expects {} input features (weight {}) but x has {features}",
            weight.shape[1],
            ShapeDisplay(&weight.shape)
        ));
        return Err(if x.rank() > 2 {
            e.help("flatten the input first: `flatten |> dense(…)`")
        } else {
            e
        });
    }
    cx.channel_vector(2, &weight.shape[0])?;
    let mut shape = outer.to_vec();
    shape.push(weight.shape[0].clone());
    Ok(TensorType::new(x.dtype, shape))
}

pub(crate) fn matmul(cx: &Cx<'_>) -> Result<TensorType, ShapeError> {
    cx.same_dtype()?;
    if cx.x().dtype == DType::Bool {
        return Err(cx.err("matmul works on numbers, not bool"));
    }
    let (a, b) = (cx.operands[0], cx.operands[1]);
    if a.rank() == 0 || b.rank() == 0 {
        return Err(cx.err("matmul needs operands of at least one axis").help("use `*` for scaling"));
    }
    // A vector counts as a row on the left and as a column on the right; the axis then leaves the result.
    let (a_outer, k) = (&a.shape[..a.rank() - 1], &a.shape[a.rank() - 1]);
    let (a_batch, rows) = a_outer.split_at(a_outer.len().saturating_sub(1));
    let (b_batch, k_of_b, columns) = match b.shape.as_slice() {
        [k] => (&[][..], k, &[][..]),
        [batch @ .., k, _] => (batch, k, &b.shape[b.rank() - 1..]),
        [] => return Err(cx.err("matmul needs operands of at least one axis")),
    };
    if k != k_of_b {
        return Err(cx.err(format!("matmul cannot contract {k} columns of a with {k_of_b} rows of b")));
    }
    let mut shape = broadcast(a_batch, b_batch).map_err(|at| {
        cx.err(format!("matmul: the leading axes do not broadcast: {}", at.describe(a_batch, b_batch)))
    })?;
    shape.extend(rows.iter().chain(columns).cloned());
    Ok(TensorType::new(a.dtype, shape))
}

/// The shape of a convolution's weight, from x, from the gradient of its result, and from the kernel's size.
pub(crate) fn conv_weight_grad(cx: &Cx<'_>, a: &ConvAttrs, kernel: &[i64]) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let groups = groups(cx, a.groups)?;
    let (x, g) = (cx.x(), cx.operands[1]);
    let window = Window { kernel, stride: &a.stride, dilation: &a.dilation };
    window.check(cx, &a.pad)?;
    if g.rank() != x.rank() || g.shape[0] != x.shape[0] {
        return Err(cx.err("conv_weight_grad needs x and g of one rank with as many images"));
    }
    for i in 0..kernel.len() {
        let want = window.output(cx, i, &a.pad, false)?;
        if want != g.shape[2 + i] {
            return Err(cx.err(format!(
                "conv_weight_grad: the convolution of x has {want} places along axis {}, but g has {}",
                2 + i,
                g.shape[2 + i]
            )));
        }
    }
    let cut = |channels: &Dim, what: &str| {
        channels.div_exact(&groups, cx.facts).map_err(|_| {
            cx.err(format!("conv_weight_grad cannot cut {channels} channels of {what} into {groups} groups"))
        })
    };
    cut(&g.shape[1], "g")?;
    let mut shape = vec![g.shape[1].clone(), cut(&x.shape[1], "x")?];
    shape.extend(kernel.iter().map(|k| Dim::Const(*k)));
    Ok(TensorType::new(x.dtype, shape))
}
