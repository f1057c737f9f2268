//! Shape rules of pooling.

use super::window::Window;
use super::{Cx, ShapeError};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::op::{Op, Padding, PoolAttrs};
use crate::types::TensorType;

pub(crate) fn pool(cx: &Cx<'_>, a: &PoolAttrs) -> Result<TensorType, ShapeError> {
    match cx.op {
        // The greatest of any numbers.
        Op::MaxPool(_) | Op::MaxPoolIndices(_) if cx.x().dtype != DType::Bool => cx.same_dtype()?,
        _ => cx.floats()?,
    }
    let x = cx.x();
    let window = Window { kernel: &a.kernel, stride: &a.stride, dilation: &a.dilation };
    window.check(cx, &a.pad)?;
    let rank = a.kernel.len();
    let mut shape = x.shape[..2].to_vec();
    for i in 0..rank {
        if let Padding::Explicit(p) = &a.pad
            && let Some(p) = [p[i], p[rank + i]].into_iter().find(|p| *p >= window.extent(i))
        {
            return Err(cx
                .err(format!(
                    "{}: the padding {p} along axis {} is not less than the window's {} elements, \
                     so a window would see nothing but padding",
                    cx.name(),
                    2 + i,
                    window.extent(i)
                ))
                .help("use a padding of at most half of the kernel"));
        }
        shape.push(window.output(cx, i, &a.pad, a.ceil)?);
    }
    Ok(TensorType::new(x.dtype, shape))
}

pub(crate) fn spp(cx: &Cx<'_>, bins: &[usize]) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let x = cx.x();
    if x.rank() != 4 {
        return Err(cx.err(format!("spp needs an input [N, C, H, W], not one of rank {}", x.rank())));
    }
    if bins.is_empty() || bins.len() > 64 || bins.iter().any(|b| !(1..=4096).contains(b)) {
        return Err(cx.err("spp: `bins` must be a list of positive integers"));
    }
    let cells: usize = bins.iter().map(|b| b * b).sum();
    let cells = i64::try_from(cells).map_err(|_| cx.err("spp: too many bins"))?;
    Ok(TensorType::new(x.dtype, [x.shape[0].clone(), x.shape[1].mul(&Dim::Const(cells))?]))
}

/// First element and end of adaptive bin `i` of `bins` along an axis of `size` elements:
/// floor(i · size / bins) .. ceil((i + 1) · size / bins). Never empty.
pub fn adaptive_bin(i: usize, bins: usize, size: usize) -> (usize, usize) {
    (i * size / bins, ((i + 1) * size).div_ceil(bins))
}

/// The shape of x. y and g have the shape of its pool.
pub(crate) fn max_pool_grad(cx: &Cx<'_>, a: &PoolAttrs) -> Result<TensorType, ShapeError> {
    let pooled = pool(cx, a)?;
    match cx.operands[1..].iter().position(|ty| **ty != pooled) {
        None => Ok(cx.x().clone()),
        Some(i) => {
            Err(cx.err(format!("max_pool_grad: {} is not {pooled}, the pool of x", cx.operand_name(1 + i))))
        }
    }
}
