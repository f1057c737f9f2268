//! Tensors that are made from sizes and few numbers: ranges, diagonals, triangles, grids of coordinates.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::super::tensor::dtype;
use super::super::values::round_to;
use rectify_ir::op::{Binary, CumulateKind, Op};
use rectify_ir::{DType, Dim, Value};

/// Most elements of a tensor that is made here.
const MAX_ELEMENTS: usize = 16 << 20;

fn sizes(shape: &[Dim]) -> Result<Vec<usize>, Refusal> {
    let sizes = shape.iter().map(|d| d.as_const().and_then(|n| usize::try_from(n).ok()));
    let sizes = sizes.collect::<Option<Vec<_>>>().ok_or_else(|| {
        Refusal::form("a pattern of symbolic size is not supported")
            .help("give the model's symbolic dims fixed sizes when importing")
    })?;
    match sizes.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) {
        Some(n) if n <= MAX_ELEMENTS => Ok(sizes),
        _ => Err(Refusal::form(format!("a pattern of shape {sizes:?} is too large"))),
    }
}

/// start, start + delta, … before limit. Elements are start + i · delta in the type of the inputs.
pub fn range(cx: &mut Cx<'_, '_>) -> Lowered {
    let stash = cx.attrs.int("stash_type", 1)?;
    let ty = cx.ty(0)?.dtype;
    if let Some((start, limit)) = symbolic_range(cx)? {
        let size = limit.sub(&start)?;
        let one = cx.literal(ty, &[1], &mut std::iter::once(1.0));
        let ones = cx.push(Op::Expand { shape: vec![size] }, &[one])?;
        let count = Op::Cumulate { kind: CumulateKind::Sum, axis: 0, exclusive: true, reverse: false };
        let places = cx.push(count, &[ones])?;
        let start = cx.size(&start)?;
        let start = cx.cast(start, ty)?;
        let y = cx.binary(Binary::Add, places, start)?;
        cx.set(0, y);
        return Ok(());
    }
    let one = |cx: &mut Cx<'_, '_>, i: usize, what: &str| {
        let numbers = cx.floats(i, what)?;
        match numbers.as_slice() {
            [v] => Ok(*v),
            _ => Err(Refusal::malformed(format!("the {what} of a range is one number"))),
        }
    };
    let (start, limit, delta) = (one(cx, 0, "start")?, one(cx, 1, "limit")?, one(cx, 2, "delta")?);
    let n = ((limit - start) / delta).ceil().max(0.0);
    if n.is_nan() || n > MAX_ELEMENTS as f64 {
        return Err(Refusal::form(format!("a range from {start} to {limit} by {delta} is too long")));
    }
    // Halves are computed in f32, where that is asked for.
    let arithmetic = if matches!(ty, DType::F16 | DType::BF16) && stash == 1 { DType::F32 } else { ty };
    let element = |i: usize| round_to(start + round_to(i as f64 * delta, arithmetic), arithmetic);
    let y = cx.literal(ty, &[n as usize], &mut (0..n as usize).map(element));
    cx.set(0, y);
    Ok(())
}

/// A window of samples: a sum of cosines of one and two turns over its length, or over one less if it is not periodic.
pub fn window(cx: &mut Cx<'_, '_>) -> Lowered {
    let [level, once, twice] = match cx.op {
        "HannWindow" => [0.5, 0.5, 0.0],
        "HammingWindow" => [25.0 / 46.0, 21.0 / 46.0, 0.0],
        _ => [0.42, 0.5, 0.08],
    };
    let periodic = cx.attrs.flag("periodic", true)?;
    let to = element_type(cx.attrs.int("output_datatype", 1)?)?;
    let size = match cx.ints(0, "size")?.as_slice() {
        [n] if (0..=MAX_ELEMENTS as i64).contains(n) => *n as usize,
        other => return Err(Refusal::form(format!("a window of {other:?} samples is not supported"))),
    };
    let turn = std::f64::consts::TAU / if periodic { size as f64 } else { (size as f64 - 1.0).max(1.0) };
    let sample = |i: usize| {
        let angle = i as f64 * turn;
        round_to(level - once * angle.cos() + twice * (2.0 * angle).cos(), to)
    };
    let y = cx.literal(to, &[size], &mut (0..size).map(sample));
    cx.set(0, y);
    Ok(())
}

fn element_type(code: i64) -> Result<DType, Refusal> {
    let known = i32::try_from(code).ok().and_then(|code| dtype(code).ok());
    known.ok_or_else(|| Refusal::attribute(format!("the element type {code} is not supported")))
}

/// Start and limit of a range of whole numbers one after the other, where one of them is symbolic.
fn symbolic_range(cx: &mut Cx<'_, '_>) -> Result<Option<(Dim, Dim)>, Refusal> {
    let mut ends = Vec::new();
    for i in 0..3 {
        match cx.known(i)?.and_then(|k| k.as_dims()).as_deref() {
            Some([one]) => ends.push(one.clone()),
            _ => return Ok(None),
        }
    }
    let [start, limit, delta] =
        <[Dim; 3]>::try_from(ends).map_err(|_| Refusal::malformed("a range has three numbers"))?;
    let symbolic = start.as_const().is_none() || limit.as_const().is_none();
    Ok((symbolic && delta == Dim::Const(1)).then_some((start, limit)))
}

/// Ones on a diagonal of a matrix of zeros.
pub fn eye_like(cx: &mut Cx<'_, '_>) -> Lowered {
    let ty = cx.ty(0)?;
    let [rows, columns] = sizes(&ty.shape)?[..] else {
        return Err(Refusal::malformed(format!("EyeLike makes matrices, but its input is {ty}")));
    };
    let to = match cx.attrs.opt_int("dtype")? {
        None => ty.dtype,
        Some(code) => element_type(code)?,
    };
    let k = cx.attrs.int("k", 0)?;
    let y = cx.literal(to, &[rows, columns], &mut places(rows, columns).map(|d| f64::from(u8::from(d == k))));
    cx.set(0, y);
    Ok(())
}

/// The diagonal on which each element of a matrix is, row by row; 0 is the main one.
fn places(rows: usize, columns: usize) -> impl Iterator<Item = i64> {
    (0..rows as i64).flat_map(move |i| (0..columns as i64).map(move |j| j - i))
}

/// The part of matrices on and above a diagonal, or on and below it; zeros elsewhere.
pub fn triangle(cx: &mut Cx<'_, '_>) -> Lowered {
    let upper = cx.attrs.flag("upper", true)?;
    let k = if cx.has(1) {
        match cx.ints(1, "diagonal")?.as_slice() {
            [k] => *k,
            _ => return Err(Refusal::malformed("the diagonal is one number")),
        }
    } else {
        0
    };
    let x = cx.value(0)?;
    let ty = cx.type_of(x).clone();
    let at = ty.rank().checked_sub(2);
    let at = at.ok_or_else(|| Refusal::malformed(format!("Trilu takes matrices, not {ty}")))?;
    let [rows, columns] = sizes(&ty.shape[at..])?[..] else { return Err(Refusal::Poisoned) };
    let inside = |d: i64| f64::from(u8::from(if upper { d >= k } else { d <= k }));
    let mask = cx.literal(DType::Bool, &[rows, columns], &mut places(rows, columns).map(inside));
    let y = if ty.dtype == DType::Bool {
        cx.binary(Binary::And, mask, x)?
    } else {
        let zero = cx.scalar(0.0);
        cx.select(mask, x, zero)?
    };
    cx.set(0, y);
    Ok(())
}

/// Where an affine map takes the pixels of an image: theta [N, 2, 3] → [N, H, W, 2], or [N, 3, 4] → [N, D, H, W, 3].
/// Each coordinate is a sum over the image's axes of a column of theta times the place along the axis.
pub fn affine_grid(cx: &mut Cx<'_, '_>) -> Lowered {
    let align = cx.attrs.flag("align_corners", false)?;
    let size = cx.ints(1, "sizes")?;
    let theta = cx.value(0)?;
    let ty = cx.type_of(theta).clone();
    let rank = size.len().saturating_sub(2);
    let fits =
        matches!(rank, 2 | 3) && ty.shape.get(1..) == Some(&[rank as i64, rank as i64 + 1].map(Dim::Const));
    if !fits || size.iter().any(|n| !(1..=1 << 20).contains(n)) {
        return Err(Refusal::malformed(format!("{ty} is no map of images of the sizes {size:?}")));
    }
    let column = |cx: &mut Cx<'_, '_>, i: usize| -> Result<Value, Refusal> {
        let bounds = |v: usize| vec![Dim::Const(v as i64)];
        let (starts, ends) = (bounds(i), bounds(i + 1));
        let column = cx.push(Op::Slice { axes: vec![2], starts, ends, steps: vec![1] }, &[theta])?;
        let ones = vec![Dim::Const(1); rank];
        let shape = [&ty.shape[..1], &ones, &[Dim::Const(rank as i64)]].concat();
        cx.reshape(column, shape)
    };
    let mut y = column(cx, rank)?;
    for axis in 0..rank {
        let n = size[2 + axis] as usize;
        let step = 2.0 / if align { n as f64 - 1.0 } else { n as f64 };
        let start = if align { -1.0 } else { step / 2.0 - 1.0 };
        let place = |i: usize| if i == 0 { start } else { start + i as f64 * step };
        // Columns stand for x, y, z; axes of images are the other way round.
        let mut shape = vec![1; rank + 1];
        shape[axis] = n;
        let places = cx.literal(ty.dtype, &shape, &mut (0..n).map(place));
        let column = column(cx, rank - 1 - axis)?;
        let part = cx.binary(Binary::Mul, places, column)?;
        y = cx.binary(Binary::Add, y, part)?;
    }
    cx.set(0, y);
    Ok(())
}
