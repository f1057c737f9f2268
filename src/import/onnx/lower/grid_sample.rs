//! Sampling an image of any number of spatial axes at the coordinates of a grid.
//!
//! The image is taken as [N, C, P] and the grid's points as [N, 1, Q]; every tap of the interpolation is then one gather,
//! at the places that arithmetic on the coordinates gives. What padding makes of a place beyond the image is arithmetic
//! too: zeros are chosen, borders clamped, reflections folded back.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Op, Unary};
use rectify_ir::{DType, Dim, Value};

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// One spatial axis.
struct Axis {
    size: i64,
    /// The border that places are reflected at.
    low: f64,
    high: f64,
}

/// A neighbour of all points along one axis.
#[derive(Clone, Copy)]
struct Tap {
    /// Its place, as a float; inside of the image but with zeros for padding.
    place: Value,
    /// Its share; none in nearest mode.
    weight: Option<Value>,
}

pub fn grid_sample(cx: &mut Cx<'_, '_>) -> Lowered {
    let mode = match cx.attrs.text("mode", "linear")? {
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        "nearest" => Mode::Nearest,
        other => return Err(Refusal::attribute(format!("`mode` cannot be {other}"))),
    };
    let padding =
        [("zeros", Padding::Zeros), ("border", Padding::Border), ("reflection", Padding::Reflection)];
    let padding = cx.attrs.word("padding_mode", &padding)?;
    let align = cx.attrs.flag("align_corners", false)?;
    let (x, grid) = (cx.value(0)?, cx.value(1)?);
    let (ty, points) = (cx.type_of(x).clone(), cx.type_of(grid).clone());
    let rank = ty.rank().saturating_sub(2);
    if rank == 0 || points.rank() != rank + 2 || points.shape[rank + 1] != Dim::Const(rank as i64) {
        let message = format!("the grid {points} does not hold {rank} coordinates for points of {ty}");
        return Err(Refusal::malformed(message));
    }
    let axis = |size: &Dim| {
        let size = size.as_const()?;
        let (low, high) = if align { (0.0, (size - 1) as f64) } else { (-0.5, size as f64 - 0.5) };
        Some(Axis { size, low, high })
    };
    let axes = ty.shape[2..].iter().map(axis).collect::<Option<Vec<_>>>().ok_or_else(|| {
        Refusal::form("sampling an image of symbolic size is not supported")
            .help("give the model's symbolic dims fixed sizes when importing")
    })?;
    // Coordinates are computed in f32 at least.
    let wide = if points.dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let grid = cx.cast(grid, wide)?;
    let count = Dim::product(&points.shape[1..=rank])?;
    let flat = cx.reshape(grid, vec![points.shape[0].clone(), count.clone(), Dim::Const(rank as i64)])?;

    let mut taps: Vec<Vec<Tap>> = Vec::with_capacity(rank);
    for (i, axis) in axes.iter().enumerate() {
        // The last coordinate belongs to the first axis.
        let column = (rank - 1 - i) as i64;
        let at = cx.push(
            Op::Slice {
                axes: vec![2],
                starts: vec![Dim::Const(column)],
                ends: vec![Dim::Const(column + 1)],
                steps: vec![1],
            },
            &[flat],
        )?;
        let at = cx.reshape(at, vec![points.shape[0].clone(), Dim::Const(1), count.clone()])?;
        let at = coordinate(cx, at, axis, align)?;
        taps.push(neighbours(cx, at, axis, mode, padding)?);
    }

    let places: i64 = axes.iter().map(|a| a.size).product();
    let image = vec![ty.shape[0].clone(), ty.shape[1].clone(), Dim::Const(places)];
    let image = cx.reshape(x, image)?;
    let sampled = vec![ty.shape[0].clone(), ty.shape[1].clone(), count];
    let mut sum = None;
    let all: usize = taps.iter().map(Vec::len).product();
    for k in 0..all {
        let mut rest = k;
        let chosen: Vec<Tap> = taps
            .iter()
            .map(|taps| {
                let tap = taps[rest % taps.len()];
                rest /= taps.len();
                tap
            })
            .collect();
        let value = tap(cx, image, &sampled, &axes, &chosen, padding)?;
        sum = Some(match sum {
            None => value,
            Some(sum) => cx.binary(Binary::Add, sum, value)?,
        });
    }
    let sum = sum.ok_or_else(|| Refusal::malformed("there are no spatial axes"))?;
    let mut shape = ty.shape[..2].to_vec();
    shape.extend_from_slice(&points.shape[1..=rank]);
    let y = cx.reshape(sum, shape)?;
    cx.set(0, y);
    Ok(())
}

/// From −1..1 to places along the axis: its ends are the centres of the outermost elements, or their outer edges.
fn coordinate(cx: &mut Cx<'_, '_>, at: Value, axis: &Axis, align: bool) -> Result<Value, Refusal> {
    let at = cx.binary_const(Binary::Add, at, 1.0)?;
    let size = axis.size as f64;
    if align {
        let half = cx.binary_const(Binary::Div, at, 2.0)?;
        return cx.binary_const(Binary::Mul, half, size - 1.0);
    }
    let scaled = cx.binary_const(Binary::Mul, at, size)?;
    let shifted = cx.binary_const(Binary::Sub, scaled, 1.0)?;
    cx.binary_const(Binary::Div, shifted, 2.0)
}

/// The neighbours of the points along one axis, with their shares.
fn neighbours(
    cx: &mut Cx<'_, '_>,
    at: Value,
    axis: &Axis,
    mode: Mode,
    padding: Padding,
) -> Result<Vec<Tap>, Refusal> {
    let at = if mode == Mode::Nearest { cx.unary(Unary::Round, at)? } else { at };
    // Cubic neighbours are those of the point where it is, however far out.
    let at = if mode == Mode::Cubic { at } else { padded(cx, at, axis, padding)? };
    if mode == Mode::Nearest {
        return Ok(vec![Tap { place: padded(cx, at, axis, padding)?, weight: None }]);
    }
    let floor = cx.unary(Unary::Floor, at)?;
    let t = cx.binary(Binary::Sub, at, floor)?;
    let weights = match mode {
        Mode::Cubic => cubic(cx, t)?,
        Mode::Linear | Mode::Nearest => {
            let one = cx.scalar(1.0);
            vec![(0.0, cx.binary(Binary::Sub, one, t)?), (1.0, t)]
        }
    };
    let mut taps = Vec::with_capacity(weights.len());
    for (offset, weight) in weights {
        let place = cx.binary_const(Binary::Add, floor, offset)?;
        taps.push(Tap { place: padded(cx, place, axis, padding)?, weight: Some(weight) });
    }
    Ok(taps)
}

/// Keys' kernel with the coefficient −¾, at the distances of the four neighbours of a point at t behind the second.
fn cubic(cx: &mut Cx<'_, '_>, t: Value) -> Result<Vec<(f64, Value)>, Refusal> {
    const A: f64 = -0.75;
    // ((p · d + q) · d + r) · d + s at the distance d.
    let outer = [A, -5.0 * A, 8.0 * A, -4.0 * A];
    let inner = [A + 2.0, -(A + 3.0), 0.0, 1.0];
    let mut taps = Vec::with_capacity(4);
    for (offset, [p, q, r, s]) in [(-1.0, outer), (0.0, inner), (1.0, inner), (2.0, outer)] {
        let d = cx.binary_const(Binary::Sub, t, offset)?;
        let d = cx.unary(Unary::Abs, d)?;
        let mut y = cx.binary_const(Binary::Mul, d, p)?;
        for c in [q, r] {
            y = cx.binary_const(Binary::Add, y, c)?;
            y = cx.binary(Binary::Mul, y, d)?;
        }
        taps.push((offset, cx.binary_const(Binary::Add, y, s)?));
    }
    Ok(taps)
}

/// A place as padding takes it: clamped to the axis, or folded back at its border; as it is with zeros.
fn padded(cx: &mut Cx<'_, '_>, at: Value, axis: &Axis, padding: Padding) -> Result<Value, Refusal> {
    let last = (axis.size - 1) as f64;
    let clamp = |cx: &mut Cx<'_, '_>, v| cx.unary(Unary::Clip { min: 0.0.into(), max: last.into() }, v);
    let range = axis.high - axis.low;
    match padding {
        Padding::Zeros => Ok(at),
        Padding::Border => clamp(cx, at),
        // A single element, aligned: everything is reflected to it.
        Padding::Reflection if range <= 0.0 => clamp(cx, at),
        Padding::Reflection => {
            // Back and forth with the period of two ranges.
            let from = cx.binary_const(Binary::Sub, at, axis.low)?;
            let from = cx.unary(Unary::Abs, from)?;
            let turns = cx.binary_const(Binary::Div, from, 2.0 * range)?;
            let turns = cx.unary(Unary::Floor, turns)?;
            let turns = cx.binary_const(Binary::Mul, turns, 2.0 * range)?;
            let phase = cx.binary(Binary::Sub, from, turns)?;
            let whole = cx.scalar(2.0 * range);
            let back = cx.binary(Binary::Sub, whole, phase)?;
            let folded = cx.binary(Binary::Min, phase, back)?;
            cx.binary_const(Binary::Add, folded, axis.low)
        }
    }
}

/// The elements of the image [N, C, P] at one neighbour of each point along every axis, times their shares.
fn tap(
    cx: &mut Cx<'_, '_>,
    image: Value,
    sampled: &[Dim],
    axes: &[Axis],
    chosen: &[Tap],
    padding: Padding,
) -> Result<Value, Refusal> {
    let dtype = cx.type_of(image).dtype;
    let (mut flat, mut inside, mut share): (Option<Value>, Option<Value>, Option<Value>) = (None, None, None);
    for (axis, tap) in axes.iter().zip(chosen) {
        let last = (axis.size - 1) as f64;
        if padding == Padding::Zeros {
            let zero = cx.scalar(0.0);
            let above = cx.binary(Binary::LessEqual, zero, tap.place)?;
            let last = cx.scalar(last);
            let below = cx.binary(Binary::LessEqual, tap.place, last)?;
            let mut within = cx.binary(Binary::And, above, below)?;
            if let Some(others) = inside {
                within = cx.binary(Binary::And, others, within)?;
            }
            inside = Some(within);
        }
        let place = cx.unary(Unary::Clip { min: 0.0.into(), max: last.into() }, tap.place)?;
        let place = cx.cast(place, DType::I64)?;
        flat = Some(match flat {
            None => place,
            Some(outer) => {
                let outer = cx.binary_const(Binary::Mul, outer, axis.size as f64)?;
                cx.binary(Binary::Add, outer, place)?
            }
        });
        share = match (share, tap.weight) {
            (Some(a), Some(b)) => Some(cx.binary(Binary::Mul, a, b)?),
            (a, b) => a.or(b),
        };
    }
    let flat = flat.ok_or_else(|| Refusal::malformed("there are no spatial axes"))?;
    let indices = cx.push(Op::Expand { shape: sampled.to_vec() }, &[flat])?;
    let mut value = cx.push(Op::GatherElements { axis: 2 }, &[image, indices])?;
    if let Some(inside) = inside {
        let zero = cx.scalar(0.0);
        value = cx.select(inside, value, zero)?;
    }
    match share {
        None => Ok(value),
        Some(share) => {
            let share = cx.cast(share, dtype)?;
            cx.binary(Binary::Mul, value, share)
        }
    }
}
