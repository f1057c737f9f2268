//! Generator of `window` kernels: vectors of the input, one accumulator per pixel.

use super::contract::start;
use super::frame::{self, Accumulators, Task};
use super::program::maximum;
use crate::tile::build::{Builder, at, indexed, slot};
use crate::tile::{Function, I, IntOp, VectorOp, Width};
use rectify_ir::kernel::tiles::{TileShape, slot};
use rectify_ir::kernel::{Window, WindowOp};
use rectify_ir::target::Target;

pub fn generate(kernel: &Window, target: &Target) -> Function {
    let shape = kernel.shape();
    frame::generate(target, &shape, &kernel.epilogue, &|builder, task, height| {
        reduce(builder, &shape, kernel.op, task, height)
    })
}

fn reduce(
    builder: &mut Builder,
    shape: &TileShape,
    op: WindowOp,
    task: &Task,
    height: usize,
) -> Accumulators {
    let bytes = builder.vector_bytes();
    let accumulators = match op {
        WindowOp::MulAdd | WindowOp::Add => start(builder, task, height, 1),
        WindowOp::Max => (0..height).map(|_| vec![builder.splat(f32::NEG_INFINITY)]).collect(),
    };
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
            let accumulator = row[0];
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
    });
    accumulators
}
