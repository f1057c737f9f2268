//! Convolutions and transposed convolutions of any rank.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{ConvAttrs, ConvTransposeAttrs, Op, Padding};
use rectify_ir::{Dim, TensorType, Value};

pub fn conv(cx: &mut Cx<'_, '_>) -> Lowered {
    let (operands, rank, kernel) = operands(cx)?;
    let groups = cx.attrs.int("group", 1)?;
    let stride = spatial(cx, "strides", rank, 1)?;
    let dilation = spatial(cx, "dilations", rank, 1)?;
    kernel_shape(cx, &kernel)?;
    let pad = padding(cx, rank)?;
    let y = cx.push(Op::Conv(ConvAttrs { stride, pad, dilation, groups }), &operands)?;
    cx.set(0, y);
    Ok(())
}

/// `output_shape` and `auto_pad` are turned into amounts: out = stride · (in − 1) + output_padding + extent − total.
pub fn conv_transpose(cx: &mut Cx<'_, '_>) -> Lowered {
    let (operands, rank, kernel) = operands(cx)?;
    let groups = cx.attrs.int("group", 1)?;
    let stride = spatial(cx, "strides", rank, 1)?;
    let dilation = spatial(cx, "dilations", rank, 1)?;
    let mut output_pad = spatial(cx, "output_padding", rank, 0)?;
    kernel_shape(cx, &kernel)?;
    let auto = auto_pad(cx)?;
    let pads = explicit_pads(cx, rank)?;
    let output_shape = cx.attrs.ints("output_shape")?;
    let sizes = cx.type_of(operands[0]).shape[2..].to_vec();
    let mut pad = vec![0; 2 * rank];
    for i in 0..rank {
        let full = extent(&kernel, &dilation, i)?
            .checked_add(output_pad[i])
            .ok_or_else(|| Refusal::malformed("the kernel is too large"))?;
        let total = match (output_shape, auto) {
            (Some(shape), _) => {
                // Some exporters give the whole shape, with batch and channels.
                let at = match shape.len() {
                    n if n == rank => shape[i],
                    n if n == rank + 2 => shape[2 + i],
                    n => return Err(Refusal::malformed(format!("`output_shape` has {n} entries"))),
                };
                let n = sizes[i].as_const().ok_or_else(|| {
                    Refusal::form("`output_shape` of an input of symbolic size is not supported")
                })?;
                n.checked_sub(1)
                    .and_then(|n| n.checked_mul(stride[i])?.checked_add(full)?.checked_sub(at))
                    .ok_or_else(|| Refusal::malformed("`output_shape` is too large"))?
            }
            (None, Auto::Upper | Auto::Lower) => full - stride[i],
            (None, Auto::Explicit) => {
                (pad[i], pad[rank + i]) = (pads[i], pads[rank + i]);
                continue;
            }
            (None, Auto::Valid) => continue,
        };
        if total < 0 {
            // The output reaches beyond what the kernel covers: more output padding.
            output_pad[i] =
                output_pad[i].checked_sub(total).ok_or_else(|| Refusal::malformed("a pad is too large"))?;
            continue;
        }
        let (less, more) = (total / 2, total - total / 2);
        (pad[i], pad[rank + i]) = if auto == Auto::Upper { (less, more) } else { (more, less) };
    }
    let attrs = ConvTransposeAttrs { stride, pad: Padding::Explicit(pad), dilation, groups, output_pad };
    let y = cx.push(Op::ConvTranspose(attrs), &operands)?;
    cx.set(0, y);
    Ok(())
}

/// x, weight and bias; the number of spatial axes; the kernel's sizes.
fn operands(cx: &mut Cx<'_, '_>) -> Result<(Vec<Value>, usize, Vec<Dim>), Refusal> {
    let mut operands = vec![cx.value(0)?, cx.value(1)?];
    operands.extend(cx.opt_value(2)?);
    let rank = spatial_rank(cx, cx.type_of(operands[0]))?;
    let weight = cx.type_of(operands[1]);
    if weight.rank() != rank + 2 {
        return Err(Refusal::malformed(format!("the weight {weight} has not the input's {} axes", rank + 2)));
    }
    let kernel = weight.shape[2..].to_vec();
    Ok((operands, rank, kernel))
}

/// Number of spatial axes, at least 1.
pub fn spatial_rank(cx: &Cx<'_, '_>, x: &TensorType) -> Result<usize, Refusal> {
    x.rank().checked_sub(2).filter(|r| *r > 0).ok_or_else(|| {
        Refusal::malformed(format!("{} needs an input [N, C, …] with spatial axes, not {x}", cx.op))
    })
}

/// A list with one entry a spatial axis.
pub fn spatial(cx: &Cx<'_, '_>, name: &'static str, rank: usize, default: i64) -> Result<Vec<i64>, Refusal> {
    match cx.attrs.ints(name)? {
        None => Ok(vec![default; rank]),
        Some(v) if v.len() == rank => Ok(v.to_vec()),
        Some(v) => {
            Err(Refusal::malformed(format!("`{name}` has {} entries for {rank} spatial axes", v.len())))
        }
    }
}

/// The attribute repeats what the weight says.
fn kernel_shape(cx: &Cx<'_, '_>, kernel: &[Dim]) -> Lowered {
    match cx.attrs.ints("kernel_shape")? {
        Some(given) if given.iter().map(|n| Dim::Const(*n)).ne(kernel.iter().cloned()) => {
            Err(Refusal::malformed(format!("`kernel_shape` is {given:?}, but the weight has {kernel:?}")))
        }
        _ => Ok(()),
    }
}

/// The attribute `auto_pad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// `pads` holds the amounts.
    Explicit,
    Upper,
    Lower,
    Valid,
}

pub fn auto_pad(cx: &Cx<'_, '_>) -> Result<Auto, Refusal> {
    cx.attrs.word(
        "auto_pad",
        &[
            ("NOTSET", Auto::Explicit),
            ("SAME_UPPER", Auto::Upper),
            ("SAME_LOWER", Auto::Lower),
            ("VALID", Auto::Valid),
        ],
    )
}

/// The attribute `pads`; zeros where it is absent.
pub fn explicit_pads(cx: &Cx<'_, '_>, rank: usize) -> Result<Vec<i64>, Refusal> {
    match cx.attrs.ints("pads")? {
        None => Ok(vec![0; 2 * rank]),
        Some(v) if v.len() == 2 * rank => Ok(v.to_vec()),
        Some(v) => Err(Refusal::malformed(format!("`pads` has {} entries for {rank} spatial axes", v.len()))),
    }
}

/// `pads` and `auto_pad` together.
pub fn padding(cx: &Cx<'_, '_>, rank: usize) -> Result<Padding, Refusal> {
    let pads = explicit_pads(cx, rank)?;
    Ok(match auto_pad(cx)? {
        Auto::Explicit => Padding::Explicit(pads),
        Auto::Valid => Padding::Explicit(vec![0; 2 * rank]),
        Auto::Upper => Padding::SameUpper,
        Auto::Lower => Padding::SameLower,
    })
}

/// Elements that the kernel spans along spatial axis `i`.
fn extent(kernel: &[Dim], dilation: &[i64], i: usize) -> Result<i64, Refusal> {
    kernel[i]
        .as_const()
        .and_then(|k| k.checked_sub(1)?.checked_mul(dilation[i])?.checked_add(1))
        .ok_or_else(|| Refusal::form("a kernel of symbolic size is not supported"))
}
