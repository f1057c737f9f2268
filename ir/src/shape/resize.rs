//! Shape rule of resize: exact for scales that are fractions of small integers.

use super::{Cx, ShapeError};
use crate::dim::Dim;
use crate::op::{ResizeAttrs, ResizeCoords, ResizeTarget};
use crate::types::TensorType;

/// Denominators up to this count as an intended fraction: 1.5 = 3/2, 0.7 = 7/10, 2.2 = 11/5.
const MAX_DENOMINATOR: i64 = 4096;

pub(crate) fn resize(cx: &Cx<'_>, a: &ResizeAttrs) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let (x, rank) = (cx.x(), cx.spatial_rank()?);
    let entries = match &a.target {
        ResizeTarget::Scales(s) => s.len(),
        ResizeTarget::Sizes(s) => s.len(),
        ResizeTarget::Both { sizes, scales } => {
            if let Some(s) = scales.iter().find(|s| !is_scale(s.0)) {
                return Err(cx.err(format!("resize: the scale {s} is outside of 0..=65536")));
            }
            if scales.len() == sizes.len() { sizes.len() } else { usize::MAX }
        }
    };
    if let ResizeCoords::CropAndResize(roi) = &a.coords
        && (roi.len() != 2 * rank || roi.iter().any(|v| !v.0.is_finite()))
    {
        return Err(cx.err(format!("resize: the region must be {} finite numbers", 2 * rank)));
    }
    if entries != rank {
        return Err(cx.err(format!("resize has {entries} sizes or scales for {rank} spatial axes")));
    }
    let mut shape = x.shape[..2].to_vec();
    for i in 0..rank {
        shape.push(match &a.target {
            ResizeTarget::Sizes(sizes) | ResizeTarget::Both { sizes, .. } => sizes[i].clone(),
            ResizeTarget::Scales(scales) => scaled(cx, &x.shape[2 + i], scales[i].0)?,
        });
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// Whether sizes can be multiplied by it.
fn is_scale(scale: f64) -> bool {
    scale > 0.0 && scale <= 65536.0
}

/// floor(size · scale)
fn scaled(cx: &Cx<'_>, size: &Dim, scale: f64) -> Result<Dim, ShapeError> {
    if !is_scale(scale) {
        return Err(cx.err(format!("resize: the scale {scale} is outside of 0..=65536")));
    }
    match (fraction(scale), size.as_const()) {
        (Some((p, q)), _) => Ok(size.mul(&Dim::Const(p))?.floor_div(q, cx.facts)?),
        // The product of a size below 2^40 and a scale up to 2^16 fits.
        (None, Some(n)) => Ok(Dim::Const((n as f64 * scale).floor() as i64)),
        (None, None) => Err(cx
            .err(format!("resize by {scale} has no exact output size for the symbolic size {size}"))
            .help("use a scale that is a fraction of small integers, or give `size`")),
    }
}

/// The fraction p/q with the least q up to the limit whose quotient is exactly the given `f64`.
fn fraction(value: f64) -> Option<(i64, i64)> {
    // Convergents of the continued fraction; any p/q that rounds to `value` with small q is among them.
    let (mut p0, mut q0, mut p1, mut q1) = (0i64, 1i64, 1i64, 0i64);
    let mut rest = value;
    for _ in 0..24 {
        let whole = rest.floor();
        let a = whole as i64;
        (p0, p1) = (p1, a.checked_mul(p1)?.checked_add(p0)?);
        (q0, q1) = (q1, a.checked_mul(q1)?.checked_add(q0)?);
        if q1 > MAX_DENOMINATOR {
            return None;
        }
        if p1 as f64 / q1 as f64 == value {
            return Some((p1, q1));
        }
        rest = 1.0 / (rest - whole);
        if !rest.is_finite() {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::fraction;

    #[test]
    fn fractions_of_scales() {
        for (v, f) in [(2.0, (2, 1)), (1.5, (3, 2)), (0.7, (7, 10)), (1.0 / 3.0, (1, 3)), (0.25, (1, 4))] {
            assert_eq!(fraction(v), Some(f));
        }
        assert_eq!(fraction(2.2), Some((11, 5)));
        assert_eq!(fraction(std::f64::consts::PI), None);
    }
}
