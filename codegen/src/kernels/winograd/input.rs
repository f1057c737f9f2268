//! From input tiles to V: `B' d B` for every tile of a block and every channel vector.

use super::sides::{Sides, copy_inside};
use super::{Place, Task, arg, lines};
use crate::tile::build::{Builder, compare_const};
use crate::tile::{ARGUMENTS, I, IntCompare, IntOp, Right};
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
    let position = arg(builder, slot::V_POSITION);
    let step = builder.int(IntOp::Const(bytes));
    let sides =
        Sides { size: size as usize, line: lines::input, half_offset: kernel.half_offset(), prefetch: true };
    let blocks = arg(builder, slot::IN_BLOCKS);
    builder.repeat(blocks, |builder| {
        let from = builder.int(IntOp::Copy(source));
        let stride = builder.int(IntOp::Copy(row_bytes));
        builder.if_(compare_const(whole, IntCompare::Ne, size * size), |builder| {
            copy_inside(builder, size as usize, from, row_bytes, (rows, columns));
            builder.set(from, IntOp::Copy(ARGUMENTS[4]));
            builder.set(stride, IntOp::Const(size * bytes));
        });
        sides.transform(builder, from, stride, step, target, position);
        builder.advance(source, block_bytes);
        builder.bump(target, channel_bytes);
    });
}
