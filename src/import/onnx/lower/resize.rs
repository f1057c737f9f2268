//! Resampling of spatial axes.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{NearestMode, Op, ResizeAttrs, ResizeCoords, ResizeMode, ResizeTarget};
use rectify_ir::scalar::Scalar;
use rectify_ir::{DType, Dim};

/// The predecessor of Resize: coordinates x / scale, rounded down in nearest mode.
pub fn upsample(cx: &mut Cx<'_, '_>) -> Lowered {
    let scales = if cx.version < 9 {
        let scales = cx.attrs.floats("scales")?.ok_or_else(|| Refusal::malformed("`scales` is missing"))?;
        scales.iter().map(|s| f64::from(*s)).collect()
    } else {
        cx.floats(1, "scales")?
    };
    let mode = mode(cx, NearestMode::Floor)?;
    let axes: Vec<usize> = (0..cx.ty(0)?.rank()).collect();
    let attrs = ResizeAttrs {
        target: ResizeTarget::Sizes(vec![]),
        mode,
        coords: ResizeCoords::Asymmetric,
        antialias: false,
        exclude_outside: false,
        extrapolation: Scalar(0.0),
    };
    push(cx, Target::Scales(scales), &axes, attrs)
}

/// Operator set 10 has scales alone and works as Upsample; later ones have regions, sizes and many modes.
pub fn resize(cx: &mut Cx<'_, '_>) -> Lowered {
    if cx.version < 11 {
        return upsample(cx);
    }
    let a = cx.attrs;
    let transformation = a.text("coordinate_transformation_mode", "half_pixel")?;
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
    let rank = cx.ty(0)?.rank();
    let axes = match axes {
        Some(axes) => axes.iter().map(|a| cx.wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let coords = match transformation {
        "half_pixel" => ResizeCoords::HalfPixel,
        "pytorch_half_pixel" => ResizeCoords::PytorchHalfPixel,
        "half_pixel_symmetric" => ResizeCoords::HalfPixelSymmetric,
        "tf_half_pixel_for_nn" => ResizeCoords::PixelCentre,
        "align_corners" => ResizeCoords::AlignCorners,
        "asymmetric" => ResizeCoords::Asymmetric,
        "tf_crop_and_resize" => ResizeCoords::CropAndResize(region(cx, &axes)?),
        other => {
            return Err(Refusal::attribute(format!(
                "`coordinate_transformation_mode: {other}` is not supported"
            )));
        }
    };
    if cx.has(1) {
        // The region matters to `tf_crop_and_resize` alone.
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
    let policy = a.text("keep_aspect_ratio_policy", "stretch")?;
    let target = match target {
        Target::Sizes(sizes) if policy != "stretch" => aspect_kept(cx, &sizes, &axes, policy)?,
        target => target,
    };
    let attrs = ResizeAttrs {
        target: ResizeTarget::Sizes(vec![]),
        mode,
        coords,
        antialias: a.flag("antialias", false)? && mode != nearest_of(rounding),
        exclude_outside: a.flag("exclude_outside", false)?,
        extrapolation: a.float("extrapolation_value", 0.0)?.into(),
    };
    push(cx, target, &axes, attrs)
}

/// The region of `tf_crop_and_resize` for all axes: where it starts on each, then where it ends.
fn region(cx: &mut Cx<'_, '_>, axes: &[usize]) -> Result<Vec<Scalar>, Refusal> {
    let rank = cx.ty(0)?.rank();
    let given = cx.floats(1, "region")?;
    // Some writers give the whole region though there are axes.
    let all: Vec<usize> = (0..rank).collect();
    let axes = if given.len() == 2 * rank { &all } else { axes };
    if given.len() != 2 * axes.len() {
        return Err(Refusal::malformed(format!(
            "a region of {} numbers for {} axes",
            given.len(),
            axes.len()
        )));
    }
    let mut roi = [vec![Scalar(0.0); rank], vec![Scalar(1.0); rank]].concat();
    for (i, axis) in axes.iter().enumerate() {
        roi[*axis] = Scalar(given[i]);
        roi[rank + axis] = Scalar(given[axes.len() + i]);
    }
    Ok(roi)
}

/// One scale for all resized axes: the least or the greatest that the sizes ask for.
fn aspect_kept(cx: &mut Cx<'_, '_>, sizes: &[Dim], axes: &[usize], policy: &str) -> Result<Target, Refusal> {
    let ty = cx.ty(0)?;
    if sizes.len() != axes.len() {
        return Err(Refusal::malformed(format!("{} sizes for {} axes", sizes.len(), axes.len())));
    }
    let ratio = |(to, axis): (&Dim, &usize)| Some(to.as_const()? as f64 / ty.shape[*axis].as_const()? as f64);
    let ratios = sizes.iter().zip(axes).map(ratio).collect::<Option<Vec<_>>>().ok_or_else(|| {
        Refusal::form("keeping the aspect ratio of symbolic sizes is not supported")
            .help("give the model's symbolic dims fixed sizes when importing")
    })?;
    let scale = match policy {
        "not_larger" => ratios.iter().copied().reduce(f64::min),
        "not_smaller" => ratios.iter().copied().reduce(f64::max),
        other => {
            return Err(Refusal::attribute(format!("`keep_aspect_ratio_policy: {other}` is not supported")));
        }
    };
    let scale = scale.ok_or_else(|| Refusal::malformed("no axes to resize"))?;
    let size = |axis: &usize| (scale * ty.shape[*axis].as_const().unwrap_or(1) as f64 + 0.5).floor() as i64;
    Ok(Target::Both(axes.iter().map(|a| Dim::Const(size(a))).collect(), scale))
}

/// One entry an axis.
enum Target {
    Scales(Vec<f64>),
    Sizes(Vec<Dim>),
    /// Sizes, and the scale of all of them.
    Both(Vec<Dim>, f64),
}

fn nearest_of(rounding: NearestMode) -> ResizeMode {
    ResizeMode::Nearest(rounding)
}

fn mode(cx: &Cx<'_, '_>, rounding: NearestMode) -> Result<ResizeMode, Refusal> {
    let cubic = ResizeMode::Cubic { a: cx.attrs.float("cubic_coeff_a", -0.75)?.into() };
    cx.attrs.word(
        "mode",
        &[
            ("nearest", nearest_of(rounding)),
            ("linear", ResizeMode::Linear),
            ("bilinear", ResizeMode::Linear),
            ("cubic", cubic),
        ],
    )
}

/// Pushes the resize with the target of `attrs` still to be filled in, and its region over all axes. Where the batch or
/// channels are resampled, all axes count as spatial.
fn push(cx: &mut Cx<'_, '_>, target: Target, axes: &[usize], mut attrs: ResizeAttrs) -> Lowered {
    let ty = cx.ty(0)?;
    let rank = ty.rank();
    let n = match &target {
        Target::Scales(s) => s.len(),
        Target::Sizes(s) | Target::Both(s, _) => s.len(),
    };
    if n != axes.len() {
        return Err(Refusal::malformed(format!("{n} scales or sizes for {} axes", axes.len())));
    }
    let (mut sizes, mut scales) = (ty.shape.clone(), vec![Scalar(1.0); rank]);
    for (i, axis) in axes.iter().enumerate() {
        match &target {
            Target::Scales(given) => scales[*axis] = Scalar(decimal(given[i])),
            Target::Sizes(given) => sizes[*axis] = given[i].clone(),
            Target::Both(given, scale) => {
                (sizes[*axis], scales[*axis]) = (given[i].clone(), Scalar(*scale));
            }
        }
    }
    let unchanged = |axis: usize| {
        let whole = match &attrs.coords {
            ResizeCoords::CropAndResize(roi) => roi[axis].0 == 0.0 && roi[rank + axis].0 == 1.0,
            _ => true,
        };
        whole && sizes[axis] == ty.shape[axis] && scales[axis].0 == 1.0
    };
    if (0..rank).all(unchanged) {
        return cx.set_alias(0, 0);
    }
    // The first axes are left alone, or there are two more before them that are.
    let lead = if rank > 2 && unchanged(0) && unchanged(1) { 2 } else { 0 };
    if let ResizeCoords::CropAndResize(roi) = &mut attrs.coords {
        let (start, end) = roi.split_at(rank);
        *roi = [&start[lead..], &end[lead..]].concat();
    }
    let (sizes, scales) = (sizes.split_off(lead), scales.split_off(lead));
    attrs.target = match target {
        Target::Scales(_) => ResizeTarget::Scales(scales),
        Target::Sizes(_) => ResizeTarget::Sizes(sizes),
        Target::Both(..) => ResizeTarget::Both { sizes, scales },
    };
    let mut x = cx.value(0)?;
    // Integers are resampled as floats that hold them.
    let nearest = matches!(attrs.mode, ResizeMode::Nearest(_));
    if ty.dtype.is_int() {
        let small = nearest && ty.dtype.size_bytes() < 4;
        x = cx.cast(x, if small { DType::F32 } else { DType::F64 })?;
    }
    if lead == 0 {
        x = cx.reshape(x, [&[Dim::Const(1), Dim::Const(1)], ty.shape.as_slice()].concat())?;
    }
    let mut y = cx.push(Op::Resize(attrs), &[x])?;
    if lead == 0 {
        let shape = cx.type_of(y).shape[2..].to_vec();
        y = cx.reshape(y, shape)?;
    }
    if ty.dtype.is_int() && !nearest {
        // Means that are whole but for rounding are not cut to the integer below.
        y = cx.cast(y, DType::F32)?;
    }
    let y = cx.cast(y, ty.dtype)?;
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
