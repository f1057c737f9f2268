//! Generator of `sort` kernels: a stable merge sort of places, bottom-up, by keys that are compared as integers.

use super::scalar::load_sort_key;
use crate::tile::build::{Builder, at, compare, slot};
use crate::tile::{ARGUMENTS, Function, I, IntCompare, IntOp, ScalarOp};
use rectify_ir::kernel::Sort;
use rectify_ir::kernel::sort::slot;
use rectify_ir::target::Target;

pub fn generate(sort: &Sort, target: &Target) -> Function {
    let mut builder = Builder::new(4, target.fma);
    let [pointers, args, begin, end, scratch] = ARGUMENTS;
    let size = builder.int(slot(args, slot::SIZE));
    let count = builder.int(slot(args, slot::COUNT));
    let bytes = builder.int(IntOp::MulConst(size, 8));
    let keys = scratch;
    let places = builder.int(IntOp::Add(keys, bytes));
    let other = builder.int(IntOp::Add(places, bytes));
    let element = sort.element.size_bytes() as i64;

    let row_bytes = builder.int(IntOp::MulConst(size, element));
    let skipped = builder.int(IntOp::Mul(begin, row_bytes));
    let x = builder.int(slot(pointers, 1));
    builder.advance(x, skipped);
    let result_bytes = builder.int(IntOp::MulConst(count, 8));
    let skipped = builder.int(IntOp::Mul(begin, result_bytes));
    let output = builder.int(slot(pointers, 0));
    builder.advance(output, skipped);

    let rows = builder.int(IntOp::Sub(end, begin));
    builder.repeat(rows, |builder| {
        read_keys(builder, sort, x, size, keys, places);
        let sorted = merge_runs(builder, size, keys, places, other);
        let index = builder.int(IntOp::Copy(sorted));
        builder.repeat(count, |builder| {
            let place = builder.int(slot(index, 0));
            builder.store_int(at(output, 0), place);
            builder.bump(index, 8);
            builder.bump(output, 8);
        });
        builder.advance(x, row_bytes);
    });
    builder.finish()
}

/// The keys of a row, and its places in order.
fn read_keys(builder: &mut Builder, sort: &Sort, x: I, size: I, keys: I, places: I) {
    let [from, key_at, place_at] = [x, keys, places].map(|base| builder.int(IntOp::Copy(base)));
    let place = builder.int(IntOp::Const(0));
    builder.repeat(size, |builder| {
        let key = load_sort_key(builder, sort.element, at(from, 0));
        let key = match sort.descending {
            true => {
                let ones = builder.int(IntOp::Const(-1));
                builder.int(IntOp::Sub(ones, key))
            }
            false => key,
        };
        builder.store_int(at(key_at, 0), key);
        builder.store_int(at(place_at, 0), place);
        builder.bump(from, sort.element.size_bytes() as i64);
        builder.bump(key_at, 8);
        builder.bump(place_at, 8);
        builder.bump(place, 1);
    });
}

/// Merges runs of 1, 2, 4, … places from one array to the other and back; gives the one that holds all in order.
fn merge_runs(builder: &mut Builder, size: I, keys: I, places: I, other: I) -> I {
    let [from, to] = [places, other].map(|base| builder.int(IntOp::Copy(base)));
    let width = builder.int(IntOp::Const(1));
    builder.while_(compare(width, IntCompare::Lt, size), |builder| {
        let low = builder.int(IntOp::Const(0));
        let target = builder.int(IntOp::Copy(to));
        builder.while_(compare(low, IntCompare::Lt, size), |builder| {
            let middle = end_of_run(builder, low, width, size);
            let high = end_of_run(builder, middle, width, size);
            merge(builder, Runs { from, keys, low, middle, high }, target);
            builder.set(low, IntOp::Copy(high));
        });
        let swapped = builder.int(IntOp::Copy(from));
        builder.set(from, IntOp::Copy(to));
        builder.set(to, IntOp::Copy(swapped));
        builder.set(width, IntOp::Add(width, width));
    });
    from
}

fn end_of_run(builder: &mut Builder, start: I, width: I, size: I) -> I {
    let end = builder.int(IntOp::Add(start, width));
    builder.least(end, crate::tile::Right::Register(size))
}

/// Two neighbouring runs of sorted places.
#[derive(Clone, Copy)]
struct Runs {
    from: I,
    keys: I,
    low: I,
    middle: I,
    high: I,
}

/// Merges two runs, and moves `target` behind what it writes there.
fn merge(builder: &mut Builder, runs: Runs, target: I) {
    let [left, right] = [runs.low, runs.middle].map(|start| builder.int(IntOp::Copy(start)));
    let count = builder.int(IntOp::Sub(runs.high, runs.low));
    builder.repeat(count, |builder| {
        let less = |builder: &mut Builder, a, b| builder.int(IntOp::Scalar(ScalarOp::LessSigned, a, b));
        let (has_left, has_right) = (less(builder, left, runs.middle), less(builder, right, runs.high));
        // Of a run that is used up, any place: it is not taken.
        let head = |builder: &mut Builder, has, index| {
            let index = builder.int(IntOp::Choose(has, index, runs.low));
            let place = load_indexed(builder, runs.from, index);
            (place, load_indexed(builder, runs.keys, place))
        };
        let (left_place, left_key) = head(builder, has_left, left);
        let (right_place, right_key) = head(builder, has_right, right);
        let before = less(builder, right_key, left_key);
        let one = builder.int(IntOp::Const(1));
        let from_right = builder.int(IntOp::Choose(has_left, before, one));
        let zero = builder.int(IntOp::Const(0));
        let from_right = builder.int(IntOp::Choose(has_right, from_right, zero));
        let place = builder.int(IntOp::Choose(from_right, right_place, left_place));
        builder.store_int(at(target, 0), place);
        builder.bump(target, 8);
        builder.advance(right, from_right);
        let from_left = builder.int(IntOp::Sub(one, from_right));
        builder.advance(left, from_left);
    });
}

fn load_indexed(builder: &mut Builder, base: I, index: I) -> I {
    let offset = builder.int(IntOp::MulConst(index, 8));
    let address = builder.int(IntOp::Add(base, offset));
    builder.int(slot(address, 0))
}
