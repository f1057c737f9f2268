//! Sizes of what a sliding window makes: shared by convolutions and pools.

use super::{Cx, ShapeError};
use crate::dim::{Dim, DimError, DimFacts};
use crate::op::Padding;

/// Kernel, stride and dilation along the spatial axes.
pub(crate) struct Window<'a> {
    pub kernel: &'a [i64],
    pub stride: &'a [i64],
    pub dilation: &'a [i64],
}

impl Window<'_> {
    /// Attributes have one entry an axis and sane values.
    pub fn check(&self, cx: &Cx<'_>, pad: &Padding) -> Result<(), ShapeError> {
        cx.spatial_attr("kernel", self.kernel, 1)?;
        cx.spatial_attr("stride", self.stride, 1)?;
        cx.spatial_attr("dilation", self.dilation, 1)?;
        if let Padding::Explicit(amounts) = pad {
            let rank = self.kernel.len();
            if amounts.len() != 2 * rank {
                return Err(cx.err(format!(
                    "{}: `pad` has {} amounts for {rank} spatial axes; it needs {}",
                    cx.name(),
                    amounts.len(),
                    2 * rank
                )));
            }
            cx.spatial_attr("pad", &amounts[..rank], 0)?;
            cx.spatial_attr("pad", &amounts[rank..], 0)?;
        }
        Ok(())
    }

    /// Elements that the window spans along spatial axis `i`. Kernel and dilation are at most 2^24.
    pub fn extent(&self, i: usize) -> i64 {
        (self.kernel[i] - 1) * self.dilation[i] + 1
    }

    /// Output size along spatial axis `i` with the output size rounded down, or up for `ceil`.
    pub fn output(&self, cx: &Cx<'_>, i: usize, pad: &Padding, ceil: bool) -> Result<Dim, ShapeError> {
        let (size, stride, extent) = (&cx.x().shape[2 + i], self.stride[i], self.extent(i));
        let Padding::Explicit(amounts) = pad else {
            return Ok(size.ceil_div(stride, cx.facts)?);
        };
        let (before, after) = (amounts[i], amounts[self.kernel.len() + i]);
        let room = size.add(&Dim::Const(before + after - extent))?;
        if room.bounds(cx.facts).1.is_some_and(|most| most < 0) {
            let padding = match before + after {
                0 => String::new(),
                p => format!(" + {p} of padding"),
            };
            return Err(cx
                .err(format!(
                    "the window of {} spans {extent} elements along axis {}, but x has only {size}{padding} there",
                    cx.name(),
                    2 + i
                ))
                .help("use a smaller kernel, more padding, or fewer down-sampling layers before"));
        }
        if !ceil {
            return Ok(room.floor_div(stride, cx.facts)?.add(&Dim::Const(1))?);
        }
        // ceil(room / stride) + 1 windows, less those that start at or after size + before, of which
        // ceil((size + before) / stride) start earlier. Which of the two is less does not depend on the size.
        let starts = size.add(&Dim::Const(before))?;
        let rounded_up = starts.add(&Dim::Const((after - extent + stride).min(0)))?;
        Ok(rounded_up.ceil_div(stride, cx.facts)?)
    }
}

/// Padding before and after an axis of `size` elements such that the output size is ceil(size / stride).
pub fn same_padding(size: i64, extent: i64, stride: i64, upper: bool) -> Result<(i64, i64), DimError> {
    if stride < 1 {
        return Err(DimError::DivisionByZero);
    }
    let windows = size.checked_add(stride - 1).ok_or(DimError::Overflow)?.div_euclid(stride);
    let last_end =
        (windows - 1).checked_mul(stride).and_then(|v| v.checked_add(extent)).ok_or(DimError::Overflow)?;
    let total = last_end.checked_sub(size).ok_or(DimError::Overflow)?.max(0);
    let (less, more) = (total / 2, total - total / 2);
    Ok(if upper { (less, more) } else { (more, less) })
}

/// The amounts that `pad` stands for, given the input's spatial sizes; `None` where they depend on a symbolic size.
pub fn resolve_padding(
    pad: &Padding,
    sizes: &[Dim],
    kernel: &[i64],
    stride: &[i64],
    dilation: &[i64],
    facts: &DimFacts,
) -> Option<Vec<i64>> {
    let upper = match pad {
        Padding::Explicit(amounts) => return Some(amounts.clone()),
        Padding::SameUpper => true,
        Padding::SameLower => false,
    };
    let mut amounts = vec![0; 2 * sizes.len()];
    for (i, size) in sizes.iter().enumerate() {
        let (k, s, d) = (*kernel.get(i)?, *stride.get(i)?, *dilation.get(i)?);
        let extent = (k - 1).checked_mul(d)?.checked_add(1)?;
        // Sizes that agree modulo the stride have the same padding, so a symbolic size may do.
        let size = match size.as_const() {
            Some(n) => n,
            None => {
                let rest = size.sub(&size.floor_div(s, facts).ok()?.mul(&Dim::Const(s)).ok()?).ok()?;
                rest.as_const()?.checked_add(s)?
            }
        };
        let (before, after) = same_padding(size, extent, s, upper).ok()?;
        (amounts[i], amounts[sizes.len() + i]) = (before, after);
    }
    Some(amounts)
}
