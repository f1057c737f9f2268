//! Operators whose number of results depends on data: the results are as long as they can be, and cut.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, CumulateKind, Op, ReduceKind, ScatterReduction, Unary};
use rectify_ir::{DType, Dim, Value};

/// Elements of a slice that slices are ordered by.
const MAX_COLUMNS: i64 = 256;

pub fn nonzero(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let found = cx.push_multi(Op::NonZero, &[x])?;
    let y = cx.cut(found[0], found[1], 1)?;
    cx.set(0, y);
    Ok(())
}

/// The slices of x where the condition holds; where it is too short, it does not.
pub fn compress(cx: &mut Cx<'_, '_>) -> Lowered {
    let (mut x, condition) = (cx.value(0)?, cx.value(1)?);
    let axis = match cx.attrs.opt_int("axis")? {
        Some(axis) => cx.wrap_axis(axis, cx.type_of(x).rank())?,
        None => {
            let all = cx.type_of(x).elements()?;
            x = cx.reshape(x, vec![all])?;
            0
        }
    };
    let (ty, size) = (cx.type_of(condition).clone(), cx.type_of(x).shape[axis].clone());
    let [length] = ty.shape.as_slice() else {
        return Err(Refusal::malformed(format!("the condition is {ty}, not a row of bool")));
    };
    if ty.dtype != DType::Bool {
        return Err(Refusal::malformed(format!("the condition is {ty}, not bool")));
    }
    if size.sub(length)?.bounds(cx.facts()).1.is_some_and(|most| most < 0) {
        let message = format!("the condition has {length} elements for {size} along axis {axis}");
        return Err(Refusal::malformed(message));
    }
    let (places, count) = places(cx, condition)?;
    let y = cx.push(Op::Gather { axis }, &[x, places])?;
    let y = cx.cut(y, count, axis)?;
    cx.set(0, y);
    Ok(())
}

/// The places of what holds in a row of bool, with zeros behind them, and their number.
fn places(cx: &mut Cx<'_, '_>, row: Value) -> Result<(Value, Value), Refusal> {
    let found = cx.push_multi(Op::NonZero, &[row])?;
    let size = cx.type_of(row).shape.clone();
    Ok((cx.reshape(found[0], size)?, found[1]))
}

/// Equal slices stand side by side when they are in order: the first of each group is kept.
pub fn unique(cx: &mut Cx<'_, '_>) -> Lowered {
    let given = cx.value(0)?;
    let sorted = cx.attrs.flag("sorted", true)?;
    let ty = cx.type_of(given).clone();
    let axis = match cx.attrs.opt_int("axis")? {
        Some(axis) => Some(cx.wrap_axis(axis, ty.rank())?),
        None => None,
    };
    let dtype = if ty.dtype == DType::Bool { DType::U8 } else { ty.dtype };
    let x = cx.cast(given, dtype)?;
    let x = match axis {
        Some(_) => x,
        None => cx.reshape(x, vec![ty.elements()?])?,
    };
    let (order, same) = match axis {
        Some(axis) => slices(cx, x, axis)?,
        None => elements(cx, x)?,
    };
    let groups = Groups::new(cx, order, same)?;
    let (firsts, count, inverse, counts) =
        if sorted { groups.in_order() } else { groups.by_first_element(cx)? };
    let along = axis.unwrap_or(0);
    if cx.wants(0) {
        let y = cx.push(Op::Gather { axis: along }, &[x, firsts])?;
        let y = cx.cast(y, ty.dtype)?;
        let y = cx.cut(y, count, along)?;
        cx.set(0, y);
    }
    if cx.wants(1) {
        let y = cx.cut(firsts, count, 0)?;
        cx.set(1, y);
    }
    cx.set(2, inverse);
    if cx.wants(3) {
        let y = cx.cut(counts, count, 0)?;
        cx.set(3, y);
    }
    Ok(())
}

/// The order of elements, and by place in it whether the element is that before it.
fn elements(cx: &mut Cx<'_, '_>, x: Value) -> Result<(Value, Value), Refusal> {
    let order = sort(cx, x)?;
    let rows = cx.push(Op::Gather { axis: 0 }, &[x, order])?;
    let same = same_as_before(cx, rows, order)?;
    Ok((order, same))
}

/// As [`elements`], of slices along an axis: by their first elements, then the second ones, and so on. Orders are stable, so
/// that they are found from the last elements to the first.
fn slices(cx: &mut Cx<'_, '_>, x: Value, axis: usize) -> Result<(Value, Value), Refusal> {
    let shape = cx.type_of(x).shape.clone();
    let mut perm: Vec<usize> = (0..shape.len()).filter(|a| *a != axis).collect();
    perm.insert(0, axis);
    let columns = Dim::product(perm[1..].iter().map(|a| &shape[*a]))?;
    let Some(count) = columns.as_const().filter(|n| (0..=MAX_COLUMNS).contains(n)) else {
        let message = format!("slices of {columns} elements cannot be ordered; up to {MAX_COLUMNS} can");
        return Err(Refusal::form(message));
    };
    let x = cx.transpose(x, perm)?;
    let rows = cx.reshape(x, vec![shape[axis].clone(), columns])?;
    let mut order: Option<Value> = None;
    for column in (0..count).rev() {
        let part = Op::Slice {
            axes: vec![1],
            starts: vec![Dim::Const(column)],
            ends: vec![Dim::Const(column + 1)],
            steps: vec![1],
        };
        let keys = cx.push(part, &[rows])?;
        let keys = cx.reshape(keys, vec![shape[axis].clone()])?;
        order = Some(match order {
            None => sort(cx, keys)?,
            Some(order) => {
                let keys = cx.push(Op::Gather { axis: 0 }, &[keys, order])?;
                let next = sort(cx, keys)?;
                cx.push(Op::Gather { axis: 0 }, &[order, next])?
            }
        });
    }
    let order = order.ok_or_else(|| Refusal::form("slices without elements cannot be ordered"))?;
    let ordered = cx.push(Op::Gather { axis: 0 }, &[rows, order])?;
    let same = same_as_before(cx, ordered, order)?;
    let same = cx.reduce(ReduceKind::Min, same, &[1], false)?;
    Ok((order, same))
}

fn sort(cx: &mut Cx<'_, '_>, row: Value) -> Result<Value, Refusal> {
    let count = cx.type_of(row).shape[0].clone();
    cx.push(Op::ArgSort { axis: 0, count, descending: false }, &[row])
}

/// By row, whether each element is that in the row before. The first row is as it is. NaN is the same as NaN.
fn same_as_before(cx: &mut Cx<'_, '_>, rows: Value, order: Value) -> Result<Value, Refusal> {
    let before = counted(cx, order)?;
    let before = cx.binary_const(Binary::Sub, before, 1.0)?;
    let before = cx.binary_const(Binary::Max, before, 0.0)?;
    let before = cx.push(Op::Gather { axis: 0 }, &[rows, before])?;
    let same = cx.binary(Binary::Equal, rows, before)?;
    if !cx.type_of(rows).dtype.is_float() {
        return Ok(same);
    }
    let mut is_nan = |x: Value| {
        let number = cx.binary(Binary::Equal, x, x)?;
        cx.unary(Unary::Not, number)
    };
    let both = [is_nan(rows)?, is_nan(before)?];
    let both = cx.binary(Binary::And, both[0], both[1])?;
    cx.binary(Binary::Or, same, both)
}

/// Ones, as many as there are elements in a row of i64.
fn ones(cx: &mut Cx<'_, '_>, row: Value) -> Result<Value, Refusal> {
    let is = cx.binary(Binary::Equal, row, row)?;
    cx.cast(is, DType::I64)
}

/// 0, 1, 2, …, as many as there are elements in a row of i64.
fn counted(cx: &mut Cx<'_, '_>, row: Value) -> Result<Value, Refusal> {
    let ones = ones(cx, row)?;
    running(cx, ones, true)
}

fn running(cx: &mut Cx<'_, '_>, row: Value, exclusive: bool) -> Result<Value, Refusal> {
    let op = Op::Cumulate { kind: CumulateKind::Sum, axis: 0, exclusive, reverse: false };
    cx.push(op, &[row])
}

/// Elements in order, in groups of equal ones.
struct Groups {
    /// By group: the place of its first element, and how many it has.
    firsts: Value,
    counts: Value,
    number: Value,
    /// By element: its group.
    inverse: Value,
}

/// By group the place of its first element; the number of groups; by element its group; by group its size.
type Grouped = (Value, Value, Value, Value);

impl Groups {
    fn new(cx: &mut Cx<'_, '_>, order: Value, same: Value) -> Result<Groups, Refusal> {
        let at = counted(cx, order)?;
        let zero = cx.scalar(0.0);
        let is_first = cx.binary(Binary::Equal, at, zero)?;
        let differs = cx.unary(Unary::Not, same)?;
        let begins = cx.binary(Binary::Or, is_first, differs)?;
        let (starts, number) = places(cx, begins)?;
        let firsts = cx.push(Op::Gather { axis: 0 }, &[order, starts])?;
        let begins = cx.cast(begins, DType::I64)?;
        let group = running(cx, begins, false)?;
        let group = cx.binary_const(Binary::Sub, group, 1.0)?;
        let set = Op::ScatterElements { axis: 0, reduction: ScatterReduction::None };
        let inverse = cx.push(set, &[order, order, group])?;
        let ones = ones(cx, order)?;
        let zeros = cx.binary(Binary::Sub, ones, ones)?;
        let add = Op::ScatterElements { axis: 0, reduction: ScatterReduction::Add };
        let counts = cx.push(add, &[zeros, group, ones])?;
        Ok(Groups { firsts, counts, number, inverse })
    }

    fn in_order(self) -> Grouped {
        (self.firsts, self.number, self.inverse, self.counts)
    }

    /// Groups in the order of their first elements.
    fn by_first_element(self, cx: &mut Cx<'_, '_>) -> Result<Grouped, Refusal> {
        let by = |cx: &mut Cx<'_, '_>, x, places| cx.push(Op::Gather { axis: 0 }, &[x, places]);
        let leader = by(cx, self.firsts, self.inverse)?;
        let at = counted(cx, leader)?;
        let leads = cx.binary(Binary::Equal, leader, at)?;
        let (firsts, number) = places(cx, leads)?;
        let leads = cx.cast(leads, DType::I64)?;
        let rank = running(cx, leads, true)?;
        let inverse = by(cx, rank, leader)?;
        let group = by(cx, self.inverse, firsts)?;
        Ok((firsts, number, inverse, by(cx, self.counts, group)?))
    }
}

/// Boxes in the order of their scores, without those that overlap with a better one, as rows [image, class, box].
pub fn non_max_suppression(cx: &mut Cx<'_, '_>) -> Lowered {
    let (boxes, scores) = (cx.value(0)?, cx.value(1)?);
    let centre = match cx.attrs.int("center_point_box", 0)? {
        0 => false,
        1 => true,
        other => return Err(Refusal::attribute(format!("center_point_box is 0 or 1, not {other}"))),
    };
    let Some(all) = cx.type_of(boxes).shape.get(1).cloned() else {
        let ty = cx.type_of(boxes);
        return Err(Refusal::malformed(format!("the boxes are {ty}, not f32[N, B, 4]")));
    };
    let [_, _, each] = &cx.type_of(scores).shape[..] else {
        let ty = cx.type_of(scores);
        return Err(Refusal::malformed(format!("the scores are {ty}, not f32[N, C, B]")));
    };
    let each = each.clone();
    let wanted = if cx.has(2) { cx.known_number(2)? } else { Some(0.0) };
    let overlap = threshold(cx, 3, 0.0, "IoU threshold")?;
    if let Threshold::Known(v) = overlap
        && !(0.0..=1.0).contains(&v)
    {
        return Err(Refusal::malformed(format!("an IoU threshold of {v} is not between 0 and 1")));
    }
    let least = threshold(cx, 4, f64::NEG_INFINITY, "score threshold")?;
    let (most, limit) = match wanted {
        Some(n) if n < 1.0 => {
            let nothing = cx.literal(DType::I64, &[0, 3], &mut std::iter::empty());
            cx.set(0, nothing);
            return Ok(());
        }
        Some(n) => {
            let n = n.min((1i64 << 53) as f64) as i64;
            let limit = match all.as_const() {
                Some(all) => Dim::Const(n.min(all)),
                None if n <= 1 << 16 => Dim::Const(n),
                None => all.clone(),
            };
            (cx.literal(DType::I64, &[1], &mut std::iter::once(n as f64)), limit)
        }
        None => {
            let most = cx.value(2)?;
            let most = cx.cast(most, DType::I64)?;
            (cx.reshape(most, vec![Dim::Const(1)])?, all.clone())
        }
    };
    let (overlap, least) = (overlap.value(cx)?, least.value(cx)?);
    let order = cx.push(Op::ArgSort { axis: 2, count: each, descending: true }, &[scores])?;
    let suppress = Op::NonMaxSuppression { centre, limit };
    let taken = cx.push(suppress, &[boxes, scores, order, most, overlap, least])?;
    let zero = cx.scalar(0.0);
    let none = cx.binary(Binary::Less, taken, zero)?;
    let is_taken = cx.unary(Unary::Not, none)?;
    let found = cx.push_multi(Op::NonZero, &[is_taken])?;
    let rows = cx.transpose(found[0], vec![1, 0])?;
    let places = cx.push(Op::GatherNd { batch: 0 }, &[taken, rows])?;
    let length = cx.type_of(places).shape[0].clone();
    let places = cx.reshape(places, vec![length, Dim::Const(1)])?;
    let classes =
        Op::Slice { axes: vec![1], starts: vec![Dim::Const(0)], ends: vec![Dim::Const(2)], steps: vec![1] };
    let classes = cx.push(classes, &[rows])?;
    let rows = cx.push(Op::Concat { axis: 1 }, &[classes, places])?;
    let rows = cx.cut(rows, found[1], 0)?;
    cx.set(0, rows);
    Ok(())
}

/// A number that the file gives, or that is computed.
enum Threshold {
    Known(f64),
    Computed(Value),
}

fn threshold(cx: &mut Cx<'_, '_>, input: usize, default: f64, what: &str) -> Result<Threshold, Refusal> {
    if !cx.has(input) {
        return Ok(Threshold::Known(default));
    }
    match cx.known_number(input)? {
        Some(v) if v.is_nan() => Err(Refusal::malformed(format!("the {what} is NaN"))),
        Some(v) => Ok(Threshold::Known(v)),
        None => cx.value(input).map(Threshold::Computed),
    }
}

impl Threshold {
    fn value(self, cx: &mut Cx<'_, '_>) -> Result<Value, Refusal> {
        match self {
            Threshold::Known(v) => Ok(cx.literal(DType::F32, &[1], &mut std::iter::once(v))),
            Threshold::Computed(v) => cx.reshape(v, vec![Dim::Const(1)]),
        }
    }
}
