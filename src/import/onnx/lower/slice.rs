//! Parts of tensors, and the opposite: padding.

use super::super::context::{Cx, Lowered};
use super::super::indices::slice_range;
use super::super::problem::Refusal;
use super::order::ramp;
use rectify_ir::op::{Binary, Op, PadMode};
use rectify_ir::{DType, Dim, Value};

/// From here on a bound stands for "to the end": exporters write the greatest integer of 32 or 64 bits.
const FAR: i64 = i32::MAX as i64;

/// Along one axis: elements start, start + step, … before end.
struct Cut {
    axis: usize,
    start: Dim,
    end: Dim,
    step: i64,
}

fn push_cuts(cx: &mut Cx<'_, '_>, x: Value, cuts: Vec<Cut>) -> Result<Value, Refusal> {
    let mut op = (vec![], vec![], vec![], vec![]);
    for c in cuts {
        op.0.push(c.axis);
        op.1.push(c.start);
        op.2.push(c.end);
        op.3.push(c.step);
    }
    let (axes, starts, ends, steps) = op;
    cx.push(Op::Slice { axes, starts, ends, steps }, &[x])
}

/// The bounds are attributes before operator set 10, then inputs.
pub fn slice(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let (starts, ends, axes, steps) = if cx.version < 10 {
        let need = |name| {
            let list = cx.attrs.ints(name)?;
            list.ok_or_else(|| Refusal::malformed(format!("the attribute `{name}` is missing")))
        };
        let dims = |v: &[i64]| v.iter().copied().map(Dim::Const).collect::<Vec<_>>();
        (dims(need("starts")?), dims(need("ends")?), cx.attrs.ints("axes")?.map(<[i64]>::to_vec), None)
    } else {
        let starts = cx.dims(1, "starts")?;
        let ends = cx.dims(2, "ends")?;
        let axes = if cx.has(3) { Some(cx.ints(3, "axes")?) } else { None };
        let steps = if cx.has(4) { Some(cx.ints(4, "steps")?) } else { None };
        (starts, ends, axes, steps)
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Refusal::malformed("starts, ends, axes and steps differ in length"));
    }
    let mut cuts: Vec<Cut> = Vec::new();
    let mut moving = Vec::new();
    for i in 0..axes.len() {
        let axis = cx.wrap_axis(axes[i], ty.rank())?;
        let size = &ty.shape[axis];
        if let (Some(start), Some(end)) = (starts[i].as_const(), ends[i].as_const())
            && cx.is_data(size)
            && !is_whole(start, end, steps[i])
        {
            moving.push((axis, start, end, steps[i]));
            continue;
        }
        let (start, end) = bounds(cx, size, &starts[i], &ends[i], steps[i])?;
        if steps[i] == 1 && start == Dim::Const(0) && end == *size {
            continue;
        }
        // Nothing is nothing in every direction.
        let step = if start == end { 1 } else { steps[i] };
        cuts.push(Cut { axis, start, end, step });
    }
    if cuts.is_empty() && moving.is_empty() {
        return cx.set_alias(0, 0);
    }
    let mut y = cx.value(0)?;
    if !cuts.is_empty() {
        y = push_cuts(cx, y, cuts)?;
    }
    for (axis, start, end, step) in moving {
        y = part_at_run_time(cx, y, axis, (start, end, step))?;
    }
    cx.set(0, y);
    Ok(())
}

/// Whether the bounds stand for a whole axis, however long it is, from one end to the other.
fn is_whole(start: i64, end: i64, step: i64) -> bool {
    match step {
        1 => start == 0 && end >= FAR,
        -1 => (start == -1 || start >= FAR) && end <= -FAR,
        _ => false,
    }
}

/// Elements along an axis whose size data gives: bounds and number are found when it is known.
fn part_at_run_time(
    cx: &mut Cx<'_, '_>,
    x: Value,
    axis: usize,
    (start, end, step): (i64, i64, i64),
) -> Result<Value, Refusal> {
    let size = cx.type_of(x).shape[axis].clone();
    let most = size.bounds(cx.facts()).1;
    let distance = end.min(FAR).saturating_sub(start.min(FAR));
    let most = match most {
        Some(most) if step > 0 && start >= 0 && end >= 0 => most.min(distance.max(0) / step + 1).max(1),
        Some(most) => most.max(1),
        None if step > 0 && start >= 0 && (0..FAR).contains(&end) => distance.max(0) / step + 1,
        None => {
            let message = format!("a part of the axis of {size} elements, whose number has no known bound");
            return Err(
                Refusal::form(message).help("give the model's symbolic dims fixed sizes when importing")
            );
        }
    };
    let length = cx.size(&size)?;
    // Bounds lie within the axis; a negative step ends before its first element.
    let (low, high) = if step > 0 { (0, 0) } else { (-1, -1) };
    let mut bound = |place: i64| -> Result<Value, Refusal> {
        let clamped = place.clamp(-(1 << 30), 1 << 30);
        let from = if place < 0 && !(step < 0 && place <= -FAR) {
            cx.binary_const(Binary::Add, length, clamped as f64)?
        } else {
            let zero = cx.binary(Binary::Sub, length, length)?;
            cx.binary_const(Binary::Add, zero, clamped as f64)?
        };
        let last = cx.binary_const(Binary::Add, length, high as f64)?;
        let within = cx.binary(Binary::Min, from, last)?;
        cx.binary_const(Binary::Max, within, low as f64)
    };
    let (first, behind) = (bound(start)?, bound(end)?);
    let (from, to) = if step > 0 { (first, behind) } else { (behind, first) };
    let distance = cx.binary(Binary::Sub, to, from)?;
    let steps = step.unsigned_abs() as f64;
    let rounded = cx.binary_const(Binary::Add, distance, steps - 1.0)?;
    let count = cx.binary_const(Binary::Div, rounded, steps)?;
    let count = cx.binary_const(Binary::Max, count, 0.0)?;
    let places = ramp(cx, &Dim::Const(most), 0, 1)?;
    let places = cx.binary_const(Binary::Mul, places, step as f64)?;
    let places = cx.binary(Binary::Add, places, first)?;
    let places = cx.binary_const(Binary::Max, places, 0.0)?;
    let y = cx.push(Op::Gather { axis }, &[x, places])?;
    cx.cut(y, count, axis)
}

/// Start and end within an axis of `size` elements. Where sizes are symbolic, bounds that turn out to lie outside are an
/// error once the sizes are known.
fn bounds(cx: &Cx<'_, '_>, size: &Dim, start: &Dim, end: &Dim, step: i64) -> Result<(Dim, Dim), Refusal> {
    if let (Some(n), Some(s), Some(e)) = (size.as_const(), start.as_const(), end.as_const()) {
        let (start, taken) =
            slice_range(n, s, e, step).ok_or_else(|| Refusal::malformed(format!("a step of {step}")))?;
        if taken == 0 {
            return Ok((Dim::Const(0), Dim::Const(0)));
        }
        let end = taken.checked_mul(step).and_then(|v| v.checked_add(start));
        let end = end.ok_or_else(|| Refusal::malformed(format!("a step of {step}")))?;
        // The last step may lead beyond the edge.
        return Ok((Dim::Const(start), Dim::Const(if step > 0 { end.min(n) } else { end.max(-1) })));
    }
    let place = |v: &Dim, is_end: bool| -> Result<Dim, Refusal> {
        let (low, high) = v.bounds(cx.facts());
        if low.is_some_and(|l| l >= FAR) {
            return Ok(if step > 0 { size.clone() } else { size.sub(&Dim::Const(1))? });
        }
        if high.is_some_and(|h| h <= -FAR) {
            return Ok(Dim::Const(if step < 0 && is_end { -1 } else { 0 }));
        }
        Ok(if high.is_some_and(|h| h < 0) { size.add(v)? } else { v.clone() })
    };
    Ok((place(start, false)?, place(end, true)?))
}

/// Elements at places along an axis. Known places at equal distances are a slice.
pub fn gather(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let axis = cx.axis(0, ty.rank())?;
    let index_shape = cx.ty(1)?.shape;
    let Some(places) = cx.known(1)?.and_then(|k| k.as_dims()) else {
        let operands = [cx.value(0)?, cx.value(1)?];
        let y = cx.push(Op::Gather { axis }, &operands)?;
        cx.set(0, y);
        return Ok(());
    };
    let size = ty.shape[axis].clone();
    let from_start = |d: &Dim| match d.bounds(cx.facts()).1 {
        Some(high) if high < 0 => size.add(d),
        _ => Ok(d.clone()),
    };
    let places = places.iter().map(from_start).collect::<Result<Vec<_>, _>>()?;
    let step = match places.as_slice() {
        [] => None,
        [_] => Some(1),
        [a, b, ..] => b.sub(a)?.as_const(),
    };
    let even = |step: i64| -> Result<bool, Refusal> {
        for w in places.windows(2) {
            if w[1].sub(&w[0])? != Dim::Const(step) {
                return Ok(false);
            }
        }
        Ok(step != 0)
    };
    let step = match step {
        Some(s) if even(s)? => s,
        _ => {
            let operands = [cx.value(0)?, cx.value(1)?];
            let y = cx.push(Op::Gather { axis }, &operands)?;
            cx.set(0, y);
            return Ok(());
        }
    };
    let start = places[0].clone();
    let end = places[places.len() - 1].add(&Dim::Const(step.signum()))?;
    let x = cx.value(0)?;
    let y = push_cuts(cx, x, vec![Cut { axis, start, end, step }])?;
    let shape = [&ty.shape[..axis], &index_shape, &ty.shape[axis + 1..]].concat();
    let y = cx.reshape(y, shape)?;
    cx.set(0, y);
    Ok(())
}

/// Elements at the index along the axis and the same place elsewhere.
pub fn gather_elements(cx: &mut Cx<'_, '_>) -> Lowered {
    let rank = cx.ty(0)?.rank();
    let axis = cx.axis(0, rank)?;
    let operands = [cx.value(0)?, cx.value(1)?];
    let y = cx.push(Op::GatherElements { axis }, &operands)?;
    cx.set(0, y);
    Ok(())
}

/// Slices at the places along several axes that each row of the indices holds.
pub fn gather_nd(cx: &mut Cx<'_, '_>) -> Lowered {
    let rank = cx.ty(0)?.rank();
    let batch = cx.attrs.int("batch_dims", 0)?;
    let batch = usize::try_from(batch)
        .ok()
        .filter(|b| *b < rank)
        .ok_or_else(|| Refusal::malformed(format!("`batch_dims` is {batch} for an input of {rank} axes")))?;
    let operands = [cx.value(0)?, cx.value(1)?];
    let y = cx.push(Op::GatherNd { batch }, &operands)?;
    cx.set(0, y);
    Ok(())
}

/// Amounts are an attribute before operator set 11, then an input, from 18 on for some axes only. Negative amounts cut.
pub fn pad(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let rank = ty.rank();
    // A value that is computed is chosen where there is padding.
    let mut computed = false;
    let (amounts, value) = if cx.version < 11 {
        let amounts = cx.attrs.ints("pads")?.ok_or_else(|| Refusal::malformed("`pads` is missing"))?;
        (amounts.to_vec(), cx.attrs.float("value", 0.0)?)
    } else {
        let amounts = cx.ints(1, "pads")?;
        let value = if cx.has(2) { cx.known_number(2)? } else { Some(0.0) };
        computed = value.is_none();
        (amounts, value.unwrap_or(0.0))
    };
    let axes = if cx.has(3) { cx.ints(3, "axes")? } else { (0..rank as i64).collect() };
    if amounts.len() != 2 * axes.len() {
        return Err(Refusal::malformed(format!("{} amounts for {} axes", amounts.len(), axes.len())));
    }
    let mode = cx.attrs.word(
        "mode",
        &[
            ("constant", PadMode::Constant(value.into())),
            ("reflect", PadMode::Reflect),
            ("edge", PadMode::Edge),
            ("wrap", PadMode::Wrap),
        ],
    )?;
    let mut pads = vec![0; 2 * rank];
    let mut cuts = Vec::new();
    for (i, axis) in axes.iter().enumerate() {
        let axis = cx.wrap_axis(*axis, rank)?;
        let (before, after) = (amounts[i], amounts[axes.len() + i]);
        (pads[axis], pads[rank + axis]) = (before.max(0), after.max(0));
        if before < 0 || after < 0 {
            let start = Dim::Const(0).sub(&Dim::Const(before.min(0)))?;
            let end = ty.shape[axis].add(&Dim::Const(after.min(0)))?;
            cuts.push(Cut { axis, start, end, step: 1 });
        }
    }
    if cuts.is_empty() && pads.iter().all(|p| *p == 0) {
        return cx.set_alias(0, 0);
    }
    let mut y = cx.value(0)?;
    if !cuts.is_empty() {
        y = push_cuts(cx, y, cuts)?;
    }
    if pads.iter().any(|p| *p != 0) {
        let inner = cx.type_of(y).shape.clone();
        y = cx.push(Op::Pad { pads: pads.clone(), mode }, &[y])?;
        if computed && matches!(mode, PadMode::Constant(_)) {
            y = with_value(cx, y, inner, pads)?;
        }
    }
    cx.set(0, y);
    Ok(())
}

/// Puts input 2 where a padded tensor is padding; `inner` is the shape before padding.
fn with_value(cx: &mut Cx<'_, '_>, padded: Value, inner: Vec<Dim>, pads: Vec<i64>) -> Result<Value, Refusal> {
    let one = cx.scalar(1.0);
    let ones = cx.push(Op::Expand { shape: inner }, &[one])?;
    let mask = cx.push(Op::Pad { pads, mode: PadMode::Constant(0.0.into()) }, &[ones])?;
    let mask = cx.cast(mask, DType::Bool)?;
    let value = cx.value(2)?;
    let value = cx.reshape(value, vec![])?;
    cx.select(mask, padded, value)
}
