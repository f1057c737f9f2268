//! From input tiles to V: `B' d B` for every tile of a block and every channel vector.

use super::{Place, Task, arg, lines};
use crate::tile::build::{Builder, at, compare, compare_const, indexed};
use crate::tile::{ARGUMENTS, I, IntCompare, IntOp, Right, V, VectorOp, Width};
use rectify_ir::kernel::Winograd;
use rectify_ir::kernel::winograd::slot;

pub fn transform(builder: &mut Builder, kernel: &Winograd, task: &Task) {
    let height = i64::from(kernel.tile.pixels);
    let scratch = ARGUMENTS[4];
    let group_bytes = arg(builder, slot::V_GROUP);
    let group = builder.int(IntOp::AddConst(scratch, kernel.scratch_bytes() as i64));
    let tile = builder.int(IntOp::MulConst(task.first_group, height));
    let last = arg(builder, slot::TILES);
    builder.bump(last, -1);
    builder.repeat(task.groups, |builder| {
        let target = builder.int(IntOp::Copy(group));
        builder.repeat_const(height, |builder| {
            // The last group is filled up with copies of the last tile.
            let real = builder.least(tile, Right::Register(last));
            one(builder, kernel, real, target);
            builder.bump(target, builder.vector_bytes() as i64);
            builder.bump(tile, 1);
        });
        builder.advance(group, group_bytes);
    });
}

/// All channel vectors of a tile.
fn one(builder: &mut Builder, kernel: &Winograd, tile: I, target: I) {
    let (size, bytes) = (kernel.size(), builder.vector_bytes() as i64);
    let place = Place::of(builder, kernel, tile);
    let source = place.address(builder, 1, 0);
    let (rows, columns) = place.inside(builder, 2, size);
    let row_bytes = arg(builder, slot::stream(0) + slot::PIXEL + 1);
    let block_bytes = arg(builder, slot::stream(0) + slot::VECTOR);
    let channel_bytes = i64::from(kernel.tile.pixels) * bytes;
    let target = builder.int(IntOp::Copy(target));
    let whole = builder.int(IntOp::Mul(rows, columns));
    let blocks = arg(builder, slot::IN_BLOCKS);
    builder.repeat(blocks, |builder| {
        let from = builder.int(IntOp::Copy(source));
        let stride = builder.int(IntOp::Copy(row_bytes));
        builder.if_(compare_const(whole, IntCompare::Ne, size * size), |builder| {
            copy_inside(builder, kernel, from, row_bytes, (rows, columns));
            builder.set(from, IntOp::Copy(ARGUMENTS[4]));
            builder.set(stride, IntOp::Const(size * bytes));
        });
        down_columns(builder, kernel, from, stride);
        along_rows(builder, kernel, target);
        builder.advance(source, block_bytes);
        builder.bump(target, channel_bytes);
    });
}

/// Copies what exists of a tile to the scratch; the rest is zero.
fn copy_inside(builder: &mut Builder, kernel: &Winograd, from: I, row_bytes: I, (rows, columns): (I, I)) {
    let (size, bytes) = (kernel.size(), builder.vector_bytes());
    let zero = builder.splat(0.0);
    let to = builder.int(IntOp::Copy(ARGUMENTS[4]));
    for k in 0..(size * size) as usize {
        builder.store(at(to, k * bytes), zero, Width::Full);
    }
    let row = builder.int(IntOp::Copy(from));
    builder.repeat(rows, |builder| {
        let (source, target) = (builder.int(IntOp::Copy(row)), builder.int(IntOp::Copy(to)));
        builder.repeat(columns, |builder| {
            let value = builder.vector(VectorOp::Load(at(source, 0), Width::Full));
            builder.store(at(target, 0), value, Width::Full);
            builder.bump(source, bytes as i64);
            builder.bump(target, bytes as i64);
        });
        builder.advance(row, row_bytes);
        builder.bump(to, size * bytes as i64);
    });
}

/// `B' d` into the scratch: columns of the tile, one after the other.
fn down_columns(builder: &mut Builder, kernel: &Winograd, from: I, stride: I) {
    let (size, bytes) = (kernel.size() as usize, builder.vector_bytes());
    let mut row = from;
    let rows: Vec<I> = (0..size)
        .map(|k| {
            row = if k == 0 { from } else { builder.int(IntOp::Add(row, stride)) };
            row
        })
        .collect();
    let offset = builder.int(IntOp::Const(0));
    let half = builder.int(IntOp::AddConst(ARGUMENTS[4], kernel.half_offset() as i64));
    let end = (size * bytes) as i64;
    builder.while_(compare_const(offset, IntCompare::Lt, end), |builder| {
        let d: Vec<V> = rows
            .iter()
            .map(|&row| builder.vector(VectorOp::Load(indexed(row, offset, 0), Width::Full)))
            .collect();
        for (k, value) in lines::input(builder, &d).into_iter().enumerate() {
            builder.store(indexed(half, offset, k * size * bytes), value, Width::Full);
        }
        builder.bump(offset, bytes as i64);
    });
}

/// `(B' d) B` from the scratch to the positions of V.
fn along_rows(builder: &mut Builder, kernel: &Winograd, target: I) {
    let (size, bytes) = (kernel.size() as usize, builder.vector_bytes());
    let position = arg(builder, slot::V_POSITION);
    let half = builder.int(IntOp::AddConst(ARGUMENTS[4], kernel.half_offset() as i64));
    let end = builder.int(IntOp::AddConst(half, (size * size * bytes) as i64));
    let to = builder.int(IntOp::Copy(target));
    builder.while_(compare(half, IntCompare::Lt, end), |builder| {
        let d: Vec<V> =
            (0..size).map(|k| builder.vector(VectorOp::Load(at(half, k * bytes), Width::Full))).collect();
        for value in lines::input(builder, &d) {
            builder.store(at(to, 0), value, Width::Full);
            builder.advance(to, position);
        }
        builder.bump(half, (size * bytes) as i64);
    });
}
