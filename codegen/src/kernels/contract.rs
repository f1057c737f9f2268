//! Generator of `contract` kernels: broadcast input floats times vectors of packed weights.

use super::dot;
use super::frame::{self, Accumulators, Task};
use crate::tile::build::{Builder, at, indexed, slot};
use crate::tile::{Cache, Function, I, IntOp, V, VectorOp, Width};
use rectify_ir::kernel::Contract;
use rectify_ir::kernel::tiles::{TileShape, slot};
use rectify_ir::target::Target;

pub fn generate(kernel: &Contract, target: &Target) -> Function {
    let shape = kernel.shape();
    frame::generate(target, &shape, &kernel.epilogue, &|builder, task, height| {
        if shape.dot {
            dot::reduce(builder, &shape, task, height)
        } else {
            reduce(builder, &shape, task, height)
        }
    })
}

/// Accumulates a tile of `height` pixels over all steps.
fn reduce(builder: &mut Builder, shape: &TileShape, task: &Task, height: usize) -> Accumulators {
    let (vectors, bytes) = (shape.vectors as usize, builder.vector_bytes());
    let accumulators = start(builder, task, height, vectors);
    let pixels: Vec<I> = (0..height).map(|pixel| Task::pixel(builder, shape, 0, pixel)).collect();
    // `weights` is always there in this family.
    let Some(weights) = task.weights else { return accumulators };
    let weights = builder.int(IntOp::Copy(weights));
    let offsets = if shape.table {
        builder.int(IntOp::AddConst(task.args, shape.step_table() as i64 * 8))
    } else {
        builder.int(IntOp::Const(0))
    };
    let steps = builder.int(slot(task.args, slot::STEPS));
    let Unroll { steps: unroll, rows } = Unroll::new(shape, height);
    let (inner, row_bytes) = (shape.inner as usize, vectors * bytes);
    // Tiles of one pixel are bound by memory anyway; weights of plain inputs are few and stay in the first level.
    let ahead = builder.lanes() > 4 && height > 1 && inner > 1;
    let part = |builder: &mut Builder, offset: I, at_weights: usize| {
        if ahead {
            for line in (0..rows * row_bytes).step_by(64) {
                builder.prefetch(Cache::First, at(weights, at_weights + WEIGHTS_AHEAD_BYTES + line));
            }
        }
        for row in 0..rows {
            let at_row = at_weights + row * row_bytes;
            products(builder, &accumulators, &pixels, offset, row * 4, weights, at_row);
        }
    };
    let run = |builder: &mut Builder, unroll: usize| {
        for step in 0..unroll {
            let place = if shape.table { slot(offsets, step) } else { IntOp::Copy(offsets) };
            let offset = builder.int(place);
            if ahead && !shape.table {
                prefetch_input(builder, task, &pixels, offset);
            }
            if rows < inner {
                builder.repeat_const((inner / rows) as i64, |builder| {
                    part(builder, offset, 0);
                    builder.bump(weights, (rows * row_bytes) as i64);
                    builder.bump(offset, rows as i64 * 4);
                });
            } else {
                part(builder, offset, step * inner * row_bytes);
            }
            if !shape.table {
                let stride = builder.int(slot(task.args, slot::STEP_STRIDE));
                builder.advance(offsets, stride);
            }
        }
        if rows == inner {
            builder.bump(weights, (unroll * inner * row_bytes) as i64);
        }
        if shape.table {
            builder.bump(offsets, unroll as i64 * 8);
        }
    };
    let (rounds, rest) = builder.split(steps, unroll);
    builder.repeat(rounds, |builder| run(builder, unroll));
    if unroll > 1 {
        builder.repeat(rest, |builder| run(builder, 1));
    }
    accumulators
}

/// Weights are fetched this far ahead: they stream from the second or third level of cache.
const WEIGHTS_AHEAD_BYTES: usize = 4096;

/// Fetches the input of the next of linear steps: these jump by whole planes, which the CPU does not foresee.
fn prefetch_input(builder: &mut Builder, task: &Task, pixels: &[I], offset: I) {
    let stride = builder.int(slot(task.args, slot::STEP_STRIDE));
    let next = builder.int(IntOp::Add(offset, stride));
    for &pixel in pixels {
        builder.prefetch(Cache::First, indexed(pixel, next, 0));
    }
}

/// The size of a loop round.
struct Unroll {
    /// Steps of a round, a power of two.
    steps: usize,
    /// Rows (of `inner`) of a step that are straight code; the rows of a step are a loop if that is not all.
    rows: usize,
}

impl Unroll {
    /// About a hundred multiply-adds: the loop's own cost vanishes, and the code stays in the cache of decoded
    /// instructions. The lowest tiles run once per strip at most and are not worth the code.
    fn new(shape: &TileShape, height: usize) -> Unroll {
        let elements = match height * shape.vectors as usize {
            24.. => 4,
            8.. => 8,
            _ => 4,
        };
        let inner = shape.inner as usize;
        let rows = if inner.is_multiple_of(elements) { elements } else { inner };
        Unroll { steps: (elements / inner).max(1).next_power_of_two(), rows: rows.min(inner) }
    }
}

/// Accumulators set to the bias or to zero.
pub fn start(builder: &mut Builder, task: &Task, height: usize, vectors: usize) -> Accumulators {
    let bytes = builder.vector_bytes();
    let first: Vec<V> = (0..vectors)
        .map(|vector| match task.bias {
            Some(bias) => builder.vector(VectorOp::Load(at(bias, vector * bytes), Width::Full)),
            None => builder.splat(0.0),
        })
        .collect();
    (0..height).map(|_| first.iter().map(|&value| builder.vector(VectorOp::Copy(value))).collect()).collect()
}

/// One reduction element: `acc[p][v] += splat(input[p]) * weights[v]`.
///
/// The broadcast is the first factor, because Cranelift's multiply-add overwrites that one: a broadcast has fewer
/// uses (one per vector) than a weight (one per pixel), hence fewer copies.
fn products(
    builder: &mut Builder,
    accumulators: &Accumulators,
    pixels: &[I],
    offset: I,
    input_offset: usize,
    weights: I,
    weight_offset: usize,
) {
    let bytes = builder.vector_bytes();
    let vectors = accumulators.first().map_or(0, Vec::len);
    let load = |builder: &mut Builder, vector: usize| {
        builder.vector(VectorOp::Load(at(weights, weight_offset + vector * bytes), Width::Full))
    };
    if let ([pixel], [row]) = (pixels, &accumulators[..]) {
        // A weight has one use: loaded right there it becomes a memory operand and takes no register.
        let input = builder.vector(VectorOp::LoadSplat(indexed(*pixel, offset, input_offset)));
        for (vector, &accumulator) in row.iter().enumerate() {
            let weight = load(builder, vector);
            builder.set_vector(accumulator, VectorOp::MulAdd(weight, input, accumulator));
        }
        return;
    }
    let factors: Vec<V> = (0..vectors).map(|vector| load(builder, vector)).collect();
    for (&pixel, row) in pixels.iter().zip(accumulators) {
        let input = builder.vector(VectorOp::LoadSplat(indexed(pixel, offset, input_offset)));
        for (&accumulator, &weight) in row.iter().zip(&factors) {
            builder.set_vector(accumulator, VectorOp::MulAdd(input, weight, accumulator));
        }
    }
}
