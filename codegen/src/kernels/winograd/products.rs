//! From V and U to M: for every position a product of matrices, in register tiles of tiles x channel vectors.
//!
//! A tile group of V holds, for each channel vector, its tiles one after the other, so that every broadcast of a
//! register tile is at a constant distance from one pointer.

use super::{Task, arg};
use crate::tile::build::{Builder, at, compare_const, indexed, slot};
use crate::tile::{ARGUMENTS, Cache, I, IntCompare, IntOp, V, VectorOp, Width};
use rectify_ir::kernel::Winograd;
use rectify_ir::kernel::winograd::slot;

/// Channels of straight code: the loop's own cost vanishes, and the code stays in the cache of decoded instructions.
const CHANNELS_UNROLLED: i64 = 4;

/// Weights are fetched this far ahead into the first level of cache. Those of the next position, or of the next channel
/// group, are on their way to the second meanwhile: they come from memory, and the tile groups of a block share them.
const WEIGHTS_AHEAD_BYTES: usize = 2048;

pub fn multiply(builder: &mut Builder, kernel: &Winograd, task: &Task) {
    let [pointers, .., scratch] = ARGUMENTS;
    let positions = kernel.size() * kernel.size();
    let tile_bytes =
        i64::from(kernel.tile.pixels) * i64::from(kernel.tile.vectors) * builder.vector_bytes() as i64;
    let u_position = arg(builder, slot::U_POSITION);
    let u_group = builder.int(IntOp::MulConst(u_position, positions));
    let u = builder.int(slot(pointers, 2));
    let skipped = builder.int(IntOp::Mul(task.first_part, u_group));
    builder.advance(u, skipped);
    let v = builder.int(IntOp::AddConst(scratch, kernel.scratch_bytes() as i64));
    let m = arg(builder, slot::M_OFFSET);
    builder.advance(m, scratch);
    let next = builder.int(IntOp::Copy(u_group));
    builder.if_(compare_const(task.parts, IntCompare::Le, 1), |builder| {
        builder.set(next, IntOp::Copy(u_position));
    });
    builder.repeat_const(positions, |builder| {
        let weights = builder.int(IntOp::Copy(u));
        let sums = builder.int(IntOp::Copy(m));
        builder.repeat(task.parts, |builder| {
            let tiles = builder.int(IntOp::Copy(v));
            let to = builder.int(IntOp::Copy(sums));
            builder.repeat(task.groups, |builder| {
                group(builder, kernel, tiles, weights, next, to);
                let (v_group, m_group) = (arg(builder, slot::V_GROUP), arg(builder, slot::M_GROUP));
                builder.advance(tiles, v_group);
                builder.advance(to, m_group);
            });
            let u_position = arg(builder, slot::U_POSITION);
            let u_group = builder.int(IntOp::MulConst(u_position, positions));
            builder.advance(weights, u_group);
            builder.bump(sums, tile_bytes);
        });
        for (pointer, step) in [(u, slot::U_POSITION), (v, slot::V_POSITION), (m, slot::M_POSITION)] {
            let step = arg(builder, step);
            builder.advance(pointer, step);
        }
    });
}

/// One register tile over all input channels. What is multiplied next begins `next` bytes behind `weights`.
fn group(builder: &mut Builder, kernel: &Winograd, tiles: I, weights: I, next: I, to: I) {
    let (height, vectors) = (kernel.tile.pixels as usize, kernel.tile.vectors as usize);
    let (lanes, bytes) = (builder.lanes() as i64, builder.vector_bytes());
    let row_bytes = vectors * bytes;
    let sums: Vec<Vec<V>> = (0..height).map(|_| (0..vectors).map(|_| builder.splat(0.0)).collect()).collect();
    let tiles = builder.int(IntOp::Copy(tiles));
    let weights = builder.int(IntOp::Copy(weights));
    let blocks = arg(builder, slot::IN_BLOCKS);
    builder.repeat(blocks, |builder| {
        builder.repeat_const(lanes / CHANNELS_UNROLLED, |builder| {
            for channel in 0..CHANNELS_UNROLLED as usize {
                if builder.lanes() > 4 {
                    for line in (0..row_bytes).step_by(64) {
                        let row = channel * row_bytes + line;
                        builder.prefetch(Cache::First, at(weights, row + WEIGHTS_AHEAD_BYTES));
                        builder.prefetch(Cache::Second, indexed(weights, next, row));
                    }
                }
                let load = |vector: usize| {
                    VectorOp::Load(at(weights, channel * row_bytes + vector * bytes), Width::Full)
                };
                let factors: Vec<V> = (0..vectors).map(|vector| builder.vector(load(vector))).collect();
                for (tile, row) in sums.iter().enumerate() {
                    let place = at(tiles, tile * bytes + channel * 4);
                    let input = builder.vector(VectorOp::LoadSplat(place));
                    for (&sum, &factor) in row.iter().zip(&factors) {
                        builder.set_vector(sum, VectorOp::MulAdd(input, factor, sum));
                    }
                }
            }
            builder.bump(weights, CHANNELS_UNROLLED * row_bytes as i64);
            builder.bump(tiles, CHANNELS_UNROLLED * 4);
        });
        // The lanes of this channel vector are done; the same tiles' next vector follows the group's last tile.
        builder.bump(tiles, (height * bytes) as i64 - lanes * 4);
    });
    for (tile, row) in sums.iter().enumerate() {
        for (vector, &sum) in row.iter().enumerate() {
            builder.store(at(to, (tile * vectors + vector) * bytes), sum, Width::Full);
        }
    }
}
