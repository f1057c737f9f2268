//! Generator of `window` kernels: vectors of the input, one accumulator per output.

use super::contract::start;
use super::frame::{self, Accumulators, Task};
use super::program::maximum;
use crate::tile::build::{Builder, at, indexed, slot};
use crate::tile::{Function, I, IntOp, V, VectorOp, Width};
use rectify_ir::kernel::tiles::{TileShape, slot};
use rectify_ir::kernel::{Window, WindowOp, WindowRow};
use rectify_ir::target::Target;

pub fn generate(kernel: &Window, target: &Target) -> Function {
    let shape = kernel.shape();
    frame::generate(target, &shape, &kernel.epilogue, &|builder, task, height| match kernel.row {
        Some(row) => reduce_runs(builder, &shape, kernel.op, row, task, height),
        None => reduce(builder, &shape, kernel.op, task, height),
    })
}

fn first(builder: &mut Builder, op: WindowOp, task: &Task, rows: usize) -> Accumulators {
    match op {
        WindowOp::MulAdd | WindowOp::Add => start(builder, task, rows, 1),
        WindowOp::Max => (0..rows).map(|_| vec![builder.splat(f32::NEG_INFINITY)]).collect(),
    }
}

/// Takes an input into account.
fn accumulate(builder: &mut Builder, op: WindowOp, accumulator: V, input: V, weight: Option<V>) {
    match (op, weight) {
        (WindowOp::MulAdd, Some(weight)) => {
            builder.set_vector(accumulator, VectorOp::MulAdd(input, weight, accumulator));
        }
        (WindowOp::Max, _) => {
            let greater = maximum(builder, accumulator, input);
            builder.set_vector(accumulator, VectorOp::Copy(greater));
        }
        (WindowOp::Add | WindowOp::MulAdd, _) => {
            builder.set_vector(accumulator, VectorOp::Add(accumulator, input));
        }
    }
}

/// Runs of outputs side by side: each input of a row is loaded once, and added wherever it is a tap.
fn reduce_runs(
    builder: &mut Builder,
    shape: &TileShape,
    op: WindowOp,
    row: WindowRow,
    task: &Task,
    height: usize,
) -> Accumulators {
    let bytes = builder.vector_bytes();
    let [outputs, taps, stride, dilation] =
        [row.outputs, row.taps, row.stride, row.dilation].map(usize::from);
    let accumulators = first(builder, op, task, height * outputs);
    let pixels: Vec<I> = (0..height).map(|pixel| Task::pixel(builder, shape, 0, pixel)).collect();
    let offsets = builder.int(IntOp::AddConst(task.args, shape.step_table() as i64 * 8));
    let weights = task.weights.map(|weights| builder.int(IntOp::Copy(weights)));
    let steps = builder.int(slot(task.args, slot::STEPS));
    builder.repeat(steps, |builder| {
        let offset = builder.int(slot(offsets, 0));
        builder.bump(offsets, 8);
        let factors: Option<Vec<V>> = weights.map(|weights| {
            let load = |tap: usize| VectorOp::Load(at(weights, tap * bytes), Width::Full);
            (0..taps).map(|tap| builder.vector(load(tap))).collect()
        });
        for place in 0..=(outputs - 1) * stride + (taps - 1) * dilation {
            let reads = |tap: &usize| {
                let from = place.checked_sub(tap * dilation)?;
                (from % stride == 0 && from / stride < outputs).then_some((from / stride, *tap))
            };
            let readers: Vec<(usize, usize)> = (0..taps).filter_map(|tap| reads(&tap)).collect();
            if readers.is_empty() {
                continue;
            }
            for (pixel, &address) in pixels.iter().enumerate() {
                let load = VectorOp::Load(indexed(address, offset, place * bytes), Width::Full);
                let input = builder.vector(load);
                for (output, tap) in &readers {
                    let weight = factors.as_ref().map(|factors| factors[*tap]);
                    accumulate(builder, op, accumulators[pixel * outputs + output][0], input, weight);
                }
            }
        }
        if let Some(weights) = weights {
            builder.bump(weights, (taps * bytes) as i64);
        }
    });
    accumulators
}

fn reduce(
    builder: &mut Builder,
    shape: &TileShape,
    op: WindowOp,
    task: &Task,
    height: usize,
) -> Accumulators {
    let bytes = builder.vector_bytes();
    let accumulators = first(builder, op, task, height);
    let pixels: Vec<I> = (0..height).map(|pixel| Task::pixel(builder, shape, 0, pixel)).collect();
    let offsets = builder.int(IntOp::AddConst(task.args, shape.step_table() as i64 * 8));
    let weights = task.weights.map(|weights| builder.int(IntOp::Copy(weights)));
    let steps = builder.int(slot(task.args, slot::STEPS));
    builder.repeat(steps, |builder| {
        let offset = builder.int(slot(offsets, 0));
        builder.bump(offsets, 8);
        let weight = weights.map(|weights| {
            let weight = builder.vector(VectorOp::Load(at(weights, 0), Width::Full));
            builder.bump(weights, bytes as i64);
            weight
        });
        for (&pixel, row) in pixels.iter().zip(&accumulators) {
            let input = builder.vector(VectorOp::Load(indexed(pixel, offset, 0), Width::Full));
            accumulate(builder, op, row[0], input, weight);
        }
    });
    accumulators
}
