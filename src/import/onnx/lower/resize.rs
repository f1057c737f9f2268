//! Resampling of spatial axes.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::Dim;
use rectify_ir::op::{NearestMode, Op, ResizeAttrs, ResizeCoords, ResizeMode, ResizeTarget};
use rectify_ir::scalar::Scalar;

/// The predecessor of Resize: coordinates x / scale, rounded down in nearest mode.
pub fn upsample(cx: &mut Cx<'_, '_>) -> Lowered {
    let scales = if cx.version < 9 {
        let scales = cx.attrs.floats("scales")?.ok_or_else(|| Refusal::malformed("`scales` is missing"))?;
        scales.iter().map(|s| f64::from(*s)).collect()
    } else {
        cx.floats(1, "scales")?
    };
    let mode = mode(cx, NearestMode::Floor)?;
    push(cx, Target::Scales(scales), None, mode, ResizeCoords::Asymmetric)
}

/// Operator set 10 has scales alone and works as Upsample; later ones have regions, sizes and many modes.
pub fn resize(cx: &mut Cx<'_, '_>) -> Lowered {
    if cx.version < 11 {
        return upsample(cx);
    }
    let a = cx.attrs;
    let coords = a.word(
        "coordinate_transformation_mode",
        &[
            ("half_pixel", ResizeCoords::HalfPixel),
            ("pytorch_half_pixel", ResizeCoords::PytorchHalfPixel),
            ("align_corners", ResizeCoords::AlignCorners),
            ("asymmetric", ResizeCoords::Asymmetric),
        ],
    )?;
    // The region matters to `tf_crop_and_resize` alone, as the value outside does; the cubic coefficient to cubic.
    a.ignore(&["extrapolation_value", "cubic_coeff_a"]);
    if a.flag("exclude_outside", false)? && !matches!(a.opt_text("mode")?, None | Some("nearest" | "linear"))
    {
        return Err(Refusal::attribute("`exclude_outside` is not supported"));
    }
    if a.flag("antialias", false)? {
        return Err(Refusal::attribute("`antialias` is not supported"));
    }
    let rounding = a.word(
        "nearest_mode",
        &[
            ("round_prefer_floor", NearestMode::RoundPreferFloor),
            ("round_prefer_ceil", NearestMode::RoundPreferCeil),
            ("floor", NearestMode::Floor),
            ("ceil", NearestMode::Ceil),
        ],
    )?;
    let mode = mode(cx, rounding)?;
    let axes = a.ints("axes")?;
    if cx.has(1) {
        cx.ty(1)?;
    }
    // Either may be there with no elements, which is as if it were left out.
    let given = |cx: &mut Cx<'_, '_>, i: usize| -> Result<bool, Refusal> {
        Ok(cx.has(i) && cx.ty(i)?.shape.as_slice() != [Dim::Const(0)])
    };
    let target = match (given(cx, 2)?, given(cx, 3)?) {
        (true, false) => {
            if cx.has(3) {
                cx.ty(3)?;
            }
            Target::Scales(cx.floats(2, "scales")?)
        }
        (false, true) => {
            if cx.has(2) {
                cx.ty(2)?;
            }
            Target::Sizes(cx.dims(3, "sizes")?)
        }
        _ => return Err(Refusal::malformed("Resize takes either scales or sizes")),
    };
    match a.text("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => {}
        _ if matches!(target, Target::Scales(_)) => {}
        policy => {
            return Err(Refusal::attribute(format!("`keep_aspect_ratio_policy: {policy}` is not supported")));
        }
    }
    push(cx, target, axes, mode, coords)
}

/// One entry an axis.
enum Target {
    Scales(Vec<f64>),
    Sizes(Vec<Dim>),
}

fn mode(cx: &Cx<'_, '_>, rounding: NearestMode) -> Result<ResizeMode, Refusal> {
    let nearest = ResizeMode::Nearest(rounding);
    cx.attrs.word(
        "mode",
        &[("nearest", nearest), ("linear", ResizeMode::Linear), ("bilinear", ResizeMode::Linear)],
    )
}

fn push(
    cx: &mut Cx<'_, '_>,
    target: Target,
    axes: Option<&[i64]>,
    mode: ResizeMode,
    coords: ResizeCoords,
) -> Lowered {
    let ty = cx.ty(0)?;
    let rank = ty.rank();
    let axes = match axes {
        Some(axes) => axes.iter().map(|a| cx.wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let n = match &target {
        Target::Scales(s) => s.len(),
        Target::Sizes(s) => s.len(),
    };
    if n != axes.len() {
        return Err(Refusal::malformed(format!("{n} scales or sizes for {} axes", axes.len())));
    }
    let untouched = || Refusal::form("resizing the batch or channel axis is not supported");
    let target = match target {
        Target::Scales(given) => {
            let mut scales = vec![Scalar(1.0); rank];
            for (s, axis) in given.into_iter().zip(&axes) {
                scales[*axis] = Scalar(decimal(s));
            }
            if scales.iter().take(2).any(|s| s.0 != 1.0) {
                return Err(untouched());
            }
            ResizeTarget::Scales(scales.split_off(2.min(rank)))
        }
        Target::Sizes(given) => {
            let mut sizes = ty.shape.clone();
            for (s, axis) in given.into_iter().zip(&axes) {
                sizes[*axis] = s;
            }
            if sizes[..2.min(rank)] != ty.shape[..2.min(rank)] {
                return Err(untouched());
            }
            ResizeTarget::Sizes(sizes.split_off(2.min(rank)))
        }
    };
    let same = match &target {
        ResizeTarget::Scales(s) => s.iter().all(|s| s.0 == 1.0),
        ResizeTarget::Sizes(s) => s.as_slice() == &ty.shape[2.min(rank)..],
    };
    if same {
        return cx.set_alias(0, 0);
    }
    let x = cx.value(0)?;
    let y = cx.push(Op::Resize(ResizeAttrs { target, mode, coords }), &[x])?;
    cx.set(0, y);
    Ok(())
}

/// The shortest decimal that the file's float stands for. Sizes are floor(in · scale) in the arithmetic of floats: 2.8 as a
/// float is a little less than 14/5, but five times it rounds to 14.
fn decimal(scale: f64) -> f64 {
    let single = scale as f32;
    if f64::from(single) == scale { single.to_string().parse().unwrap_or(scale) } else { scale }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn scales_are_what_was_written() {
        assert_eq!(decimal(f64::from(2.8f32)), 2.8);
        assert_eq!(decimal(2.0), 2.0);
        assert_eq!(decimal(f64::from(0.6f32)), 0.6);
    }
}
