//! The sums of dot kernels: vectors of input channels times weights of few output channels, folded at the end.

use super::frame::{Accumulators, Task};
use crate::tile::build::{Builder, at, indexed, slot};
use crate::tile::{ARGUMENTS, Cache, I, IntOp, V, VectorOp, Width};
use rectify_ir::kernel::tiles::{TileShape, slot};

/// Steps of a loop round: with some twenty multiply-adds each, the loop's own cost is small.
const UNROLL: usize = 2;

/// Rows that are read in order come from memory, and are fetched this far ahead: the CPU itself stops at each page's end.
const INPUT_AHEAD_BYTES: usize = 2048;

/// The accumulators of a tile of `height` pixels, one vector for each: its first lanes are the output channels.
pub fn reduce(builder: &mut Builder, shape: &TileShape, task: &Task, height: usize) -> Accumulators {
    let (outs, bytes) = (shape.inner as usize, builder.vector_bytes());
    let sums: Vec<Vec<V>> = (0..height).map(|_| (0..outs).map(|_| builder.splat(0.0)).collect()).collect();
    let pixels: Vec<I> = (0..height).map(|pixel| Task::pixel(builder, shape, 0, pixel)).collect();
    // `weights` is always there in this family.
    let weights = builder.int(IntOp::Copy(task.weights.unwrap_or(ARGUMENTS[0])));
    let offsets = if shape.table {
        builder.int(IntOp::AddConst(task.args, shape.step_table() as i64 * 8))
    } else {
        builder.int(IntOp::Const(0))
    };
    let ahead = builder.lanes() > 4 && !shape.table;
    let run = |builder: &mut Builder, unroll: usize| {
        for step in 0..unroll {
            let place = if shape.table { slot(offsets, step) } else { IntOp::Copy(offsets) };
            let offset = builder.int(place);
            let factors: Vec<V> = (0..outs)
                .map(|out| {
                    let row = (step * outs + out) * bytes;
                    builder.vector(VectorOp::Load(at(weights, row), Width::Full))
                })
                .collect();
            for (&pixel, row) in pixels.iter().zip(&sums) {
                if ahead {
                    builder.prefetch(Cache::First, indexed(pixel, offset, INPUT_AHEAD_BYTES));
                }
                let input = builder.vector(VectorOp::Load(indexed(pixel, offset, 0), Width::Full));
                for (&sum, &factor) in row.iter().zip(&factors) {
                    builder.set_vector(sum, VectorOp::MulAdd(input, factor, sum));
                }
            }
            if !shape.table {
                let stride = builder.int(slot(task.args, slot::STEP_STRIDE));
                builder.advance(offsets, stride);
            }
        }
        builder.bump(weights, (unroll * outs * bytes) as i64);
        if shape.table {
            builder.bump(offsets, unroll as i64 * 8);
        }
    };
    let steps = builder.int(slot(task.args, slot::STEPS));
    let (rounds, rest) = builder.split(steps, UNROLL);
    builder.repeat(rounds, |builder| run(builder, UNROLL));
    builder.repeat(rest, |builder| run(builder, 1));
    fold(builder, shape, task, &sums)
}

/// Sums of all lanes, through the scratch: the vectors are parked, and a loop folds one after the other.
fn fold(builder: &mut Builder, shape: &TileShape, task: &Task, sums: &[Vec<V>]) -> Accumulators {
    let (outs, bytes, scratch) = (shape.inner as usize, builder.vector_bytes(), ARGUMENTS[4]);
    for (k, &sum) in sums.iter().flatten().enumerate() {
        builder.store(at(scratch, shape.sums_offset() + k * bytes), sum, Width::Full);
    }
    let zero = builder.splat(0.0);
    let from = builder.int(IntOp::AddConst(scratch, shape.sums_offset() as i64));
    let row = builder.int(IntOp::AddConst(scratch, shape.accumulator_offset() as i64));
    builder.repeat_const(sums.len() as i64, |builder| {
        builder.store(at(row, 0), zero, Width::Full);
        let to = builder.int(IntOp::Copy(row));
        builder.repeat_const(outs as i64, |builder| {
            let mut lanes: Vec<V> = (0..builder.lanes())
                .map(|lane| builder.vector(VectorOp::Load(at(from, lane * 4), Width::One)))
                .collect();
            while lanes.len() > 1 {
                // Neighbours first.
                lanes = lanes.chunks(2).map(|pair| builder.vector(VectorOp::Add(pair[0], pair[1]))).collect();
            }
            builder.store(at(to, 0), lanes[0], Width::One);
            builder.bump(from, bytes as i64);
            builder.bump(to, 4);
        });
        builder.bump(row, bytes as i64);
    });
    (0..sums.len())
        .map(|pixel| {
            let place = at(scratch, shape.accumulator_offset() + pixel * bytes);
            let folded = builder.vector(VectorOp::Load(place, Width::Full));
            vec![match task.bias {
                Some(bias) => {
                    let bias = builder.vector(VectorOp::Load(at(bias, 0), Width::Full));
                    builder.vector(VectorOp::Add(folded, bias))
                }
                None => folded,
            }]
        })
        .collect()
}
