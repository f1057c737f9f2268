//! Elementwise programs over accumulators, and the stores that end a tile.
//!
//! Short programs are unrolled over the tile's accumulators, which never leave their registers. Long ones, and
//! stores that take vectors apart, run as a loop over accumulators parked in the scratch: the code stays small, and
//! such programs cost more than the trip through the first-level cache.

use super::frame::{Accumulators, Task};
use super::math::Constants;
use super::program::evaluate;
use crate::tile::build::{Builder, at, compare_const, indexed, slot};
use crate::tile::{ARGUMENTS, I, IntCompare, IntOp, Right, V, VectorOp, Width};
use rectify_ir::kernel::Program;
use rectify_ir::kernel::tiles::{Operand, Store, TileShape, slot};

/// Vector instructions of an epilogue that is still unrolled over a tile.
const UNROLLED_WEIGHT: usize = 160;

pub fn emit(builder: &mut Builder, shape: &TileShape, program: &Program, task: &Task, tile: Accumulators) {
    let tallest = shape.pixels as usize * shape.run as usize;
    let weight = program.weight() * tallest * shape.vectors as usize;
    if shape.store == Store::Vector && weight <= UNROLLED_WEIGHT {
        unrolled(builder, shape, program, task, &tile);
    } else {
        looped(builder, shape, program, task, &tile);
    }
}

/// Pointers of the operands that are not streams: to the channel group's part, or to the scalar.
fn fixed_pointers(builder: &mut Builder, shape: &TileShape, task: &Task) -> Vec<Option<I>> {
    let mut pointers = Vec::new();
    for (k, operand) in shape.operands.iter().enumerate() {
        pointers.push(if operand.is_stream() {
            None
        } else {
            let pointer = builder.int(slot(ARGUMENTS[0], shape.first_operand_pointer() + k));
            if *operand == Operand::PerChannel {
                builder.advance(pointer, task.channel_bytes);
            }
            Some(pointer)
        });
    }
    pointers
}

/// Stream index of each operand that is one.
fn stream_indices(shape: &TileShape) -> Vec<Option<usize>> {
    let mut next = 2;
    shape
        .operands
        .iter()
        .map(|operand| {
            operand.is_stream().then(|| {
                next += 1;
                next - 1
            })
        })
        .collect()
}

fn unrolled(builder: &mut Builder, shape: &TileShape, program: &Program, task: &Task, tile: &Accumulators) {
    let fixed = fixed_pointers(builder, shape, task);
    let streams = stream_indices(shape);
    let (lanes, bytes) = (builder.lanes(), builder.vector_bytes());
    let run = shape.run as usize;
    for vector in 0..shape.vectors as usize {
        let body = |builder: &mut Builder| {
            let mut constants = Constants::default();
            let offset_of = |builder: &mut Builder, stream: usize| {
                let block = builder.int(slot(ARGUMENTS[1], slot::stream(stream) + slot::BLOCK));
                builder.int(IntOp::MulConst(block, vector as i64))
            };
            let output_offset = offset_of(builder, 1);
            let mut shared: Vec<Option<V>> = Vec::new();
            let mut offsets: Vec<Option<I>> = Vec::new();
            for (k, operand) in shape.operands.iter().enumerate() {
                shared.push(match (operand, fixed[k]) {
                    (Operand::PerChannel, Some(pointer)) => {
                        Some(builder.vector(VectorOp::Load(at(pointer, vector * bytes), Width::Full)))
                    }
                    (Operand::Scalar, Some(pointer)) => {
                        Some(builder.vector(VectorOp::LoadSplat(at(pointer, 0))))
                    }
                    _ => None,
                });
                offsets.push(match (operand, streams[k]) {
                    (Operand::Pixels, Some(stream)) => Some(offset_of(builder, stream)),
                    _ => None,
                });
            }
            for (output, row) in tile.iter().enumerate() {
                let (pixel, within) = (output / run, output % run * bytes);
                let result =
                    evaluate(builder, &mut constants, program, Some(row[vector]), &mut |builder, k| {
                        let k = k as usize;
                        if let Some(value) = shared[k] {
                            return value;
                        }
                        let place = Task::pixel(builder, shape, streams[k].unwrap_or(1), pixel);
                        builder.vector(match offsets[k] {
                            Some(offset) => VectorOp::Load(indexed(place, offset, 0), Width::Full),
                            None => VectorOp::LoadSplat(at(place, 0)),
                        })
                    });
                let place = Task::pixel(builder, shape, 1, pixel);
                builder.store(indexed(place, output_offset, within), result, Width::Full);
            }
        };
        if vector == 0 {
            body(builder);
        } else {
            let present = compare_const(task.channels_left, IntCompare::Gt, (vector * lanes) as i64);
            builder.if_(present, body);
        }
    }
}

fn looped(builder: &mut Builder, shape: &TileShape, program: &Program, task: &Task, tile: &Accumulators) {
    let scratch = ARGUMENTS[4];
    let (lanes, bytes) = (builder.lanes() as i64, builder.vector_bytes());
    let vectors = shape.vectors as usize;
    for (pixel, row) in tile.iter().enumerate() {
        for (vector, &value) in row.iter().enumerate() {
            let place = shape.accumulator_offset() + (pixel * vectors + vector) * bytes;
            builder.store(at(scratch, place), value, Width::Full);
        }
    }
    let fixed = fixed_pointers(builder, shape, task);
    let streams = stream_indices(shape);
    let run = i64::from(shape.run);
    // A pixel's vectors: its run of outputs, or those of the tile that hold at least one real channel.
    let present = if run > 1 {
        builder.int(IntOp::Const(run))
    } else {
        let present = builder.int(IntOp::AddConst(task.channels_left, lanes - 1));
        let (present, _) = builder.split(present, lanes as usize);
        builder.least(present, Right::Constant(vectors as i64))
    };
    let addresses = builder.int(IntOp::Copy(scratch));
    let row = builder.int(IntOp::AddConst(scratch, shape.accumulator_offset() as i64));
    builder.repeat_const(tile.len() as i64 / run, |builder| {
        let cursors: Vec<I> = (0..shape.streams())
            .map(|stream| builder.int(slot(addresses, stream * shape.pixels as usize)))
            .collect();
        let place = builder.int(IntOp::Copy(row));
        let channel = builder.int(IntOp::Const(0));
        let left = builder.int(IntOp::Copy(task.channels_left));
        builder.repeat(present, |builder| {
            let accumulator = builder.vector(VectorOp::Load(at(place, 0), Width::Full));
            let count = builder.least(left, Right::Constant(lanes));
            let mut constants = Constants::default();
            let result = evaluate(builder, &mut constants, program, Some(accumulator), &mut |builder, k| {
                let k = k as usize;
                match (shape.operands[k], fixed[k], streams[k]) {
                    (Operand::PerChannel, Some(pointer), _) => {
                        builder.vector(VectorOp::Load(indexed(pointer, channel, 0), Width::Full))
                    }
                    (Operand::Pixels, _, Some(stream)) => {
                        builder.vector(VectorOp::Load(at(cursors[stream], 0), Width::Full))
                    }
                    (Operand::PixelsStrided, _, Some(stream)) => {
                        gather(builder, shape, stream, cursors[stream], count)
                    }
                    (_, pointer, stream) => {
                        let pointer = pointer.or(stream.map(|stream| cursors[stream])).unwrap_or(cursors[1]);
                        builder.vector(VectorOp::LoadSplat(at(pointer, 0)))
                    }
                }
            });
            store(builder, shape, result, cursors[1], count);
            builder.bump(place, bytes as i64);
            if run > 1 {
                return builder.bump(cursors[1], bytes as i64);
            }
            builder.bump(channel, bytes as i64);
            builder.bump(left, -lanes);
            for (stream, &cursor) in cursors.iter().enumerate().skip(1) {
                let block = builder.int(slot(ARGUMENTS[1], slot::stream(stream) + slot::BLOCK));
                builder.advance(cursor, block);
            }
        });
        builder.bump(addresses, 8);
        builder.bump(row, run * (vectors * bytes) as i64);
    });
}

/// Stores `count` lanes of a result.
fn store(builder: &mut Builder, shape: &TileShape, result: V, place: I, count: I) {
    let lanes = builder.lanes() as i64;
    match shape.store {
        Store::Vector => builder.store(at(place, 0), result, Width::Full),
        Store::Partial => builder.if_else(
            compare_const(count, IntCompare::Eq, lanes),
            |builder| builder.store(at(place, 0), result, Width::Full),
            |builder| {
                if lanes > 4 {
                    return builder.store(at(place, 0), result, Width::First(count));
                }
                let four = builder.int(IntOp::Const(4));
                scatter(builder, shape, result, place, count, four);
            },
        ),
        Store::Strided => {
            let stride = builder.int(slot(ARGUMENTS[1], slot::stream(1) + slot::LANE));
            scatter(builder, shape, result, place, count, stride);
        }
    }
}

/// Stores `count` lanes one by one, `stride` bytes apart.
fn scatter(builder: &mut Builder, shape: &TileShape, result: V, place: I, count: I, stride: I) {
    let source = builder.int(IntOp::AddConst(ARGUMENTS[4], shape.temporary_offset() as i64));
    builder.store(at(source, 0), result, Width::Full);
    let target = builder.int(IntOp::Copy(place));
    builder.repeat(count, |builder| {
        let lane = builder.vector(VectorOp::Load(at(source, 0), Width::One));
        builder.store(at(target, 0), lane, Width::One);
        builder.bump(source, 4);
        builder.advance(target, stride);
    });
}

/// Loads `count` lanes of a strided stream; the others are zero.
fn gather(builder: &mut Builder, shape: &TileShape, stream: usize, place: I, count: I) -> V {
    let target = builder.int(IntOp::AddConst(ARGUMENTS[4], shape.temporary_offset() as i64));
    let start = builder.int(IntOp::Copy(target));
    let zero = builder.splat(0.0);
    builder.store(at(target, 0), zero, Width::Full);
    let source = builder.int(IntOp::Copy(place));
    let stride = builder.int(slot(ARGUMENTS[1], slot::stream(stream) + slot::LANE));
    builder.repeat(count, |builder| {
        let lane = builder.vector(VectorOp::Load(at(source, 0), Width::One));
        builder.store(at(target, 0), lane, Width::One);
        builder.bump(target, 4);
        builder.advance(source, stride);
    });
    builder.vector(VectorOp::Load(at(start, 0), Width::Full))
}
