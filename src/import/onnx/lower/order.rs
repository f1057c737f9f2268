//! Operators that order elements or count along an axis: extremes' places, the greatest ones, running sums, one-hot rows.

use super::super::context::{Cx, Lowered};
use super::super::problem::{ProblemKind, Refusal};
use super::softmax::{finish, rows};
use rectify_ir::op::{ArgKind, Binary, CumulateKind, Op};
use rectify_ir::{DType, Dim, Value};

/// Longest ramp of places.
const MAX_RAMP: i64 = 1 << 20;

pub fn arg_extreme(cx: &mut Cx<'_, '_>) -> Lowered {
    let kind = if cx.op == "ArgMin" { ArgKind::Min } else { ArgKind::Max };
    let x = cx.value(0)?;
    let axis = cx.axis(0, cx.type_of(x).rank())?;
    let keep = cx.attrs.flag("keepdims", true)?;
    let last = cx.attrs.flag("select_last_index", false)?;
    let y = cx.push(Op::ArgReduce { kind, axis, keep, last }, &[x])?;
    cx.set(0, y);
    Ok(())
}

/// 1 at the first greatest element, 0 elsewhere.
pub fn hardmax(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, axis, shape) = rows(cx)?;
    let ty = cx.type_of(x).clone();
    let greatest = Op::ArgReduce { kind: ArgKind::Max, axis, keep: true, last: false };
    let greatest = cx.push(greatest, &[x])?;
    let places = ramp(cx, &ty.shape[axis], axis, ty.rank())?;
    let hit = cx.binary(Binary::Equal, greatest, places)?;
    let y = cx.cast(hit, ty.dtype)?;
    finish(cx, y, shape)
}

/// The greatest or least elements along an axis, in order, and their places.
pub fn top_k(cx: &mut Cx<'_, '_>) -> Lowered {
    let count = if cx.version < 10 {
        Some(Dim::Const(cx.attrs.need_int("k")?))
    } else {
        match cx.dims(1, "count") {
            Ok(counts) => match counts.as_slice() {
                [count] => Some(count.clone()),
                counts => return Err(Refusal::malformed(format!("K holds {} numbers", counts.len()))),
            },
            // What is computed from data is a size that data gives.
            Err(Refusal::Problem { kind: ProblemKind::UnsupportedForm, .. }) if cx.known(1)?.is_none() => {
                None
            }
            Err(refusal) => return Err(refusal),
        }
    };
    let descending = cx.attrs.flag("largest", true)?;
    // An order that nothing asks for is as good as any.
    cx.attrs.ignore(&["sorted"]);
    let x = cx.value(0)?;
    let axis = cx.axis(-1, cx.type_of(x).rank())?;
    let size = cx.type_of(x).shape[axis].clone();
    let places = match count.filter(|_| !cx.is_data(&size)) {
        Some(count) => cx.push(Op::ArgSort { axis, count, descending }, &[x])?,
        None => {
            let places = cx.push(Op::ArgSort { axis, count: size, descending }, &[x])?;
            let count = cx.value(1)?;
            let count = cx.cast(count, DType::I64)?;
            cx.cut(places, count, axis)?
        }
    };
    if cx.wants(0) {
        let values = cx.push(Op::GatherElements { axis }, &[x, places])?;
        cx.set(0, values);
    }
    cx.set(1, places);
    Ok(())
}

pub fn cumulate(cx: &mut Cx<'_, '_>) -> Lowered {
    let kind = if cx.op == "CumProd" { CumulateKind::Prod } else { CumulateKind::Sum };
    let x = cx.value(0)?;
    let rank = cx.type_of(x).rank();
    let axes = cx.ints(1, "axis")?;
    let [axis] = axes.as_slice() else {
        return Err(Refusal::malformed(format!("the axis is given by {} numbers", axes.len())));
    };
    let axis = cx.wrap_axis(*axis, rank)?;
    let (exclusive, reverse) = (cx.attrs.flag("exclusive", false)?, cx.attrs.flag("reverse", false)?);
    let y = cx.push(Op::Cumulate { kind, axis, exclusive, reverse }, &[x])?;
    cx.set(0, y);
    Ok(())
}

/// The first elements of each sequence of a batch in reverse, as many as the second input says; the others stay.
pub fn reverse_sequence(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, lengths) = (cx.value(0)?, cx.value(1)?);
    let ty = cx.type_of(x).clone();
    let (time, batch) = (cx.attrs.int("time_axis", 0)?, cx.attrs.int("batch_axis", 1)?);
    let (time, batch) = (cx.wrap_axis(time, ty.rank())?, cx.wrap_axis(batch, ty.rank())?);
    if cx.type_of(lengths).rank() != 1 || time == batch {
        return Err(Refusal::malformed(
            "a length for each sequence, and an axis of time beside that of the batch",
        ));
    }
    let mut shape = vec![Dim::Const(1); ty.rank()];
    shape[batch] = cx.type_of(lengths).shape[0].clone();
    let lengths = cx.cast(lengths, DType::I64)?;
    let lengths = cx.reshape(lengths, shape)?;
    let places = ramp(cx, &ty.shape[time], time, ty.rank())?;
    let back = cx.binary(Binary::Sub, lengths, places)?;
    let back = cx.binary_const(Binary::Sub, back, 1.0)?;
    let zero = cx.scalar(0.0);
    let beyond = cx.binary(Binary::Less, back, zero)?;
    let places = cx.select(beyond, places, back)?;
    let places = cx.push(Op::Expand { shape: ty.shape }, &[places])?;
    let y = cx.push(Op::GatherElements { axis: time }, &[x, places])?;
    cx.set(0, y);
    Ok(())
}

/// `values` = [off, on]: on at the places that the indices name along a new axis, negative ones from its end.
pub fn one_hot(cx: &mut Cx<'_, '_>) -> Lowered {
    let depth = match cx.floats(1, "depth")?.as_slice() {
        [depth] if *depth >= 1.0 && *depth <= MAX_RAMP as f64 => *depth as i64,
        other => return Err(Refusal::form(format!("a depth of {other:?} is not supported"))),
    };
    let (indices, values) = (cx.value(0)?, cx.value(2)?);
    let indices = cx.cast(indices, DType::I64)?;
    let mut shape = cx.type_of(indices).shape.clone();
    let axis = cx.axis(-1, shape.len() + 1)?;
    shape.insert(axis, Dim::Const(1));
    let zero = cx.scalar(0.0);
    let negative = cx.binary(Binary::Less, indices, zero)?;
    let from_end = cx.binary_const(Binary::Add, indices, depth as f64)?;
    let indices = cx.select(negative, from_end, indices)?;
    let rank = shape.len();
    let indices = cx.reshape(indices, shape)?;
    let places = ramp(cx, &Dim::Const(depth), axis, rank)?;
    let hit = cx.binary(Binary::Equal, indices, places)?;
    let mut one = |i: i64| {
        let part = Op::Slice {
            axes: vec![0],
            starts: vec![Dim::Const(i)],
            ends: vec![Dim::Const(i + 1)],
            steps: vec![1],
        };
        cx.push(part, &[values])
    };
    let (off, on) = (one(0)?, one(1)?);
    let y = cx.select(hit, on, off)?;
    cx.set(0, y);
    Ok(())
}

/// 0, 1, 2, … of i64 along one of `rank` axes.
pub(super) fn ramp(cx: &mut Cx<'_, '_>, size: &Dim, axis: usize, rank: usize) -> Result<Value, Refusal> {
    let Some(size) = size.as_const() else {
        return Err(Refusal::form("places along an axis of symbolic size are not supported")
            .help("give the model's symbolic dims fixed sizes when importing"));
    };
    if !(0..=MAX_RAMP).contains(&size) {
        return Err(Refusal::form(format!("places along an axis of {size} elements are not supported")));
    }
    let mut shape = vec![1; rank];
    shape[axis] = size as usize;
    Ok(cx.literal(DType::I64, &shape, &mut (0..size).map(|i| i as f64)))
}
