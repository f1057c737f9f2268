//! `Col2Im`: the columns that windows over an image were cut into, added up to the image again.
//!
//! That is a transposed convolution whose weight has, for each place of the block, a one there.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::conv::{explicit_pads, spatial};
use rectify_ir::op::{ConvTransposeAttrs, Op, Padding};
use rectify_ir::{DType, Dim};

/// Most places of a block.
const MAX_BLOCK: i64 = 1 << 12;

pub fn col2im(cx: &mut Cx<'_, '_>) -> Lowered {
    let (image, block) = (cx.ints(1, "image's sizes")?, cx.ints(2, "block's sizes")?);
    let rank = image.len();
    let x = cx.value(0)?;
    let ty = cx.type_of(x).clone();
    let places: i64 = block.iter().fold(1i64, |n, b| n.saturating_mul(*b));
    let possible = rank > 0
        && block.len() == rank
        && block.iter().chain(&image).all(|n| (1..=1 << 20).contains(n))
        && places <= MAX_BLOCK
        && ty.rank() == 3;
    if !possible {
        return Err(Refusal::malformed(format!(
            "{ty} is no columns of blocks {block:?} of images {image:?}"
        )));
    }
    let channels = ty.shape[1].div_exact(&Dim::Const(places), cx.facts())?;
    let channels = channels.as_const().ok_or_else(|| {
        Refusal::form("columns of a symbolic number of channels are not supported")
            .help("give the model's symbolic dims fixed sizes when importing")
    })?;
    let (stride, dilation) = (spatial(cx, "strides", rank, 1)?, spatial(cx, "dilations", rank, 1)?);
    let pads = explicit_pads(cx, rank)?;
    let (mut columns, mut output_pad) = (Vec::with_capacity(rank), Vec::with_capacity(rank));
    for i in 0..rank {
        let span = dilation[i].saturating_mul(block[i] - 1).saturating_add(1);
        let room = image[i].saturating_add(pads[i]).saturating_add(pads[rank + i]).saturating_sub(span);
        if room < 0 || stride[i] < 1 {
            return Err(Refusal::malformed(format!("a block of {block:?} does not fit the image {image:?}")));
        }
        columns.push(Dim::Const(room / stride[i] + 1));
        // What the last window leaves over.
        output_pad.push(room % stride[i]);
    }
    let mut shape = ty.shape[..2].to_vec();
    shape.extend(columns);
    let x = cx.reshape(x, shape)?;
    // Rows are channels of the columns, each a block of zeros but for the row's own place.
    let (rows, places) = ((channels * places) as usize, places as usize);
    let mut weight = vec![rows, 1];
    weight.extend(block.iter().map(|b| *b as usize));
    let mut ones = (0..rows * places).map(|i| f64::from(u8::from(i / places % places == i % places)));
    let dtype = if ty.dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = cx.cast(x, dtype)?;
    let weight = cx.literal(dtype, &weight, &mut ones);
    let attrs =
        ConvTransposeAttrs { stride, pad: Padding::Explicit(pads), dilation, groups: channels, output_pad };
    let y = cx.push(Op::ConvTranspose(attrs), &[x, weight])?;
    let y = cx.cast(y, ty.dtype)?;
    cx.set(0, y);
    Ok(())
}
