//! Generator of `winograd_gradient` kernels: transforms of input and gradient, sums of outer products over tiles, and the
//! transform of the sums to the nine taps.

use super::sides::{Line, Sides, copy_inside};
use super::{arg, lines};
use crate::tile::build::{Builder, at, compare_const, slot as pointer_at};
use crate::tile::{ARGUMENTS, Function, I, IntCompare, IntOp, Right, V, VectorOp, Width};
use rectify_ir::kernel::WinogradGradient;
use rectify_ir::kernel::winograd::gradient_slot as slot;
use rectify_ir::kernel::winograd::slot as stream_slot;
use rectify_ir::target::Target;

/// Rows and columns of a tile of the gradient, of the input and of the transformed domain, and of the weights.
const OUTPUTS: i64 = 4;
const SIZE: i64 = 6;
const TAPS: i64 = 9;

/// Tiles of straight code: the loop's own cost vanishes, and the code stays in the cache of decoded instructions.
const TILES_UNROLLED: usize = 4;

pub fn generate(kernel: &WinogradGradient, target: &Target) -> Function {
    let mut builder = Builder::new(kernel.lanes, target.fma);
    let [_, _, begin, end, _] = ARGUMENTS;
    let index = builder.int(IntOp::Copy(begin));
    let count = builder.int(IntOp::Sub(end, begin));
    builder.repeat(count, |builder| {
        let task = Task::start(builder, index);
        blocks(builder, kernel, &task);
        finish(builder, kernel, &task);
        builder.bump(index, 1);
    });
    builder.finish()
}

/// What holds during one task.
struct Task {
    slice: I,
    first_image: I,
    images: I,
    /// The first block of input channels, and how many there are.
    first_in: I,
    ins: I,
    /// The first group of output channels, and how many there are.
    first_out: I,
    outs: I,
}

impl Task {
    fn start(builder: &mut Builder, index: I) -> Task {
        let out_parts = arg(builder, slot::OUT_PARTS);
        let in_parts = arg(builder, slot::IN_PARTS);
        let out_part = builder.int(IntOp::Rem(index, out_parts));
        let rest = builder.int(IntOp::Div(index, out_parts));
        let in_part = builder.int(IntOp::Rem(rest, in_parts));
        let slice = builder.int(IntOp::Div(rest, in_parts));
        let mut range = |number: I, each: usize, all: usize| {
            let (each, all) = (arg(builder, each), arg(builder, all));
            let first = builder.int(IntOp::Mul(number, each));
            let left = builder.int(IntOp::Sub(all, first));
            (first, builder.least(left, Right::Register(each)))
        };
        let (first_image, images) = range(slice, slot::SLICE, slot::IMAGES);
        let (first_in, ins) = range(in_part, slot::IN_PART, slot::IN_BLOCKS);
        let (first_out, outs) = range(out_part, slot::OUT_PART, slot::OUT_GROUPS);
        Task { slice, first_image, images, first_in, ins, first_out, outs }
    }
}

/// Where V, W and S begin in the scratch.
fn scratch(builder: &mut Builder, kernel: &WinogradGradient) -> [I; 3] {
    let base = ARGUMENTS[4];
    let v = builder.int(IntOp::AddConst(base, kernel.scratch_bytes() as i64));
    let [w, s] = [slot::W_OFFSET, slot::S_OFFSET].map(|offset| {
        let offset = arg(builder, offset);
        builder.int(IntOp::Add(base, offset))
    });
    [v, w, s]
}

/// Adds all tiles of the task's images to S, a block of tiles after the other.
fn blocks(builder: &mut Builder, kernel: &WinogradGradient, task: &Task) {
    let (rows, columns) = (arg(builder, slot::TILE_ROWS), arg(builder, slot::TILE_COLUMNS));
    let of_image = builder.int(IntOp::Mul(rows, columns));
    let left = builder.int(IntOp::Mul(of_image, task.images));
    let tile = builder.int(IntOp::Mul(of_image, task.first_image));
    let first = builder.int(IntOp::Const(1));
    let block = arg(builder, slot::BLOCK);
    let vectors = builder.int(IntOp::MulConst(task.outs, i64::from(kernel.vectors)));
    let first_vector = builder.int(IntOp::MulConst(task.first_out, i64::from(kernel.vectors)));
    let input = Source {
        pointer: 1,
        stream: slot::STREAMS,
        size: SIZE,
        line: lines::input,
        position: slot::V_POSITION,
        first: task.first_in,
        count: task.ins,
    };
    let gradient = Source {
        pointer: 2,
        stream: slot::STREAMS + stream_slot::STREAM_LEN,
        size: OUTPUTS,
        line: lines::gradient,
        position: slot::W_POSITION,
        first: first_vector,
        count: vectors,
    };
    builder.while_(compare_const(left, IntCompare::Gt, 0), |builder| {
        let tiles = builder.least(left, Right::Register(block));
        let [v, w, _] = scratch(builder, kernel);
        input.transform(builder, kernel, tile, tiles, v);
        gradient.transform(builder, kernel, tile, tiles, w);
        multiply(builder, kernel, task, tiles, first);
        builder.set(first, IntOp::Const(0));
        builder.advance(tile, tiles);
        builder.set(left, IntOp::Sub(left, tiles));
    });
}

/// What is transformed: the input or the gradient.
struct Source {
    pointer: usize,
    /// Slot of the stream.
    stream: usize,
    /// Rows and columns of a tile.
    size: i64,
    line: Line,
    /// Slot of the bytes between positions of the result.
    position: usize,
    /// The first vector of channels, and how many there are.
    first: I,
    count: I,
}

impl Source {
    /// All vectors of channels of `tiles` tiles from `first` on.
    fn transform(&self, builder: &mut Builder, kernel: &WinogradGradient, first: I, tiles: I, to: I) {
        let (tile, to) = (builder.int(IntOp::Copy(first)), builder.int(IntOp::Copy(to)));
        builder.repeat(tiles, |builder| {
            self.one(builder, kernel, tile, to);
            builder.bump(tile, 1);
            builder.bump(to, builder.vector_bytes() as i64);
        });
    }

    /// All vectors of channels of a tile.
    fn one(&self, builder: &mut Builder, kernel: &WinogradGradient, tile: I, to: I) {
        let (tile_rows, tile_columns) = (arg(builder, slot::TILE_ROWS), arg(builder, slot::TILE_COLUMNS));
        let column = builder.int(IntOp::Rem(tile, tile_columns));
        let line = builder.int(IntOp::Div(tile, tile_columns));
        let row = builder.int(IntOp::Rem(line, tile_rows));
        let image = builder.int(IntOp::Div(line, tile_rows));
        let row = builder.int(IntOp::MulConst(row, OUTPUTS));
        let column = builder.int(IntOp::MulConst(column, OUTPUTS));
        let source = builder.int(pointer_at(ARGUMENTS[0], self.pointer));
        let base = arg(builder, self.stream + stream_slot::BASE);
        builder.advance(source, base);
        let vector = (self.first, stream_slot::VECTOR);
        let pixel = [image, row, column].into_iter().zip(stream_slot::PIXEL..);
        for (index, stride) in std::iter::once(vector).chain(pixel) {
            let stride = arg(builder, self.stream + stride);
            let offset = builder.int(IntOp::Mul(index, stride));
            builder.advance(source, offset);
        }
        // Beyond the last window there is nothing.
        let mut inside = |extent: usize, first: I| {
            let extent = arg(builder, extent);
            let left = builder.int(IntOp::Sub(extent, first));
            let left = builder.int(IntOp::AddConst(left, self.size - OUTPUTS));
            builder.least(left, Right::Constant(self.size))
        };
        let (rows, columns) = (inside(slot::ROWS, row), inside(slot::COLUMNS, column));
        let whole = builder.int(IntOp::Mul(rows, columns));
        let row_bytes = arg(builder, self.stream + stream_slot::PIXEL + 1);
        let vector_bytes = arg(builder, self.stream + stream_slot::VECTOR);
        let stack = arg(builder, slot::STACK);
        let position = arg(builder, self.position);
        let bytes = builder.vector_bytes() as i64;
        let step = builder.int(IntOp::Const(bytes));
        let to = builder.int(IntOp::Copy(to));
        let sides = Sides {
            size: self.size as usize,
            line: self.line,
            half_offset: kernel.half_offset(),
            prefetch: true,
        };
        builder.repeat(self.count, |builder| {
            let from = builder.int(IntOp::Copy(source));
            let stride = builder.int(IntOp::Copy(row_bytes));
            builder.if_(compare_const(whole, IntCompare::Ne, self.size * self.size), |builder| {
                copy_inside(builder, self.size as usize, from, row_bytes, (rows, columns));
                builder.set(from, IntOp::Copy(ARGUMENTS[4]));
                builder.set(stride, IntOp::Const(self.size * bytes));
            });
            sides.transform(builder, from, stride, step, to, position);
            builder.advance(source, vector_bytes);
            builder.advance(to, stack);
        });
    }
}

/// Adds the products of `tiles` tiles to S, or begins it.
fn multiply(builder: &mut Builder, kernel: &WinogradGradient, task: &Task, tiles: I, first: I) {
    let (rows, vectors) = (i64::from(kernel.rows), i64::from(kernel.vectors));
    let (lanes, bytes) = (builder.lanes() as i64, builder.vector_bytes() as i64);
    let [v, w, s] = scratch(builder, kernel);
    let stack = arg(builder, slot::STACK);
    builder.repeat_const(SIZE * SIZE, |builder| {
        let input = builder.int(IntOp::Copy(v));
        let sums = builder.int(IntOp::Copy(s));
        builder.repeat(task.ins, |builder| {
            let part = builder.int(IntOp::Copy(input));
            builder.repeat_const(lanes / rows, |builder| {
                let gradient = builder.int(IntOp::Copy(w));
                builder.repeat(task.outs, |builder| {
                    let columns: Vec<I> = (0..vectors)
                        .map(|_| {
                            let column = builder.int(IntOp::Copy(gradient));
                            builder.advance(gradient, stack);
                            column
                        })
                        .collect();
                    register_tile(builder, kernel, part, &columns, sums, tiles, first);
                    builder.bump(sums, rows * vectors * bytes);
                });
                builder.bump(part, rows * 4);
            });
            builder.advance(input, stack);
        });
        for (pointer, step) in [(v, slot::V_POSITION), (w, slot::W_POSITION), (s, slot::S_POSITION)] {
            let step = arg(builder, step);
            builder.advance(pointer, step);
        }
    });
}

/// Some input channels times some vectors of output channels, over all tiles.
fn register_tile(
    builder: &mut Builder,
    kernel: &WinogradGradient,
    input: I,
    columns: &[I],
    to: I,
    tiles: I,
    first: I,
) {
    let bytes = builder.vector_bytes();
    let places: Vec<usize> =
        (0..usize::from(kernel.rows) * columns.len()).map(|accumulator| accumulator * bytes).collect();
    let sums: Vec<V> = places.iter().map(|_| builder.splat(0.0)).collect();
    builder.if_(compare_const(first, IntCompare::Eq, 0), |builder| {
        for (&sum, &place) in sums.iter().zip(&places) {
            builder.set_vector(sum, VectorOp::Load(at(to, place), Width::Full));
        }
    });
    let input = builder.int(IntOp::Copy(input));
    let run = |builder: &mut Builder, count: usize| {
        for tile in 0..count {
            let factors: Vec<V> = columns
                .iter()
                .map(|&column| builder.vector(VectorOp::Load(at(column, tile * bytes), Width::Full)))
                .collect();
            for (row, sums) in sums.chunks(columns.len()).enumerate() {
                let channel = builder.vector(VectorOp::LoadSplat(at(input, tile * bytes + row * 4)));
                for (&sum, &factor) in sums.iter().zip(&factors) {
                    builder.set_vector(sum, VectorOp::MulAdd(channel, factor, sum));
                }
            }
        }
        for &pointer in columns.iter().chain([&input]) {
            builder.bump(pointer, (count * bytes) as i64);
        }
    };
    let (rounds, rest) = builder.split(tiles, TILES_UNROLLED);
    builder.repeat(rounds, |builder| run(builder, TILES_UNROLLED));
    builder.repeat(rest, |builder| run(builder, 1));
    for (&sum, &place) in sums.iter().zip(&places) {
        builder.store(at(to, place), sum, Width::Full);
    }
}

/// From S to the output.
fn finish(builder: &mut Builder, kernel: &WinogradGradient, task: &Task) {
    let (rows, vectors) = (i64::from(kernel.rows), i64::from(kernel.vectors));
    let (lanes, bytes) = (builder.lanes() as i64, builder.vector_bytes() as i64);
    let [_, _, from] = scratch(builder, kernel);
    let tap = arg(builder, slot::TAP);
    let channel = builder.int(IntOp::MulConst(tap, TAPS));
    // The output of the task's first channels.
    let to = builder.int(pointer_at(ARGUMENTS[0], 0));
    let in_blocks = arg(builder, slot::IN_BLOCKS);
    let blocks = builder.int(IntOp::Mul(task.slice, in_blocks));
    builder.advance(blocks, task.first_in);
    let channels = builder.int(IntOp::MulConst(blocks, lanes));
    let offset = builder.int(IntOp::Mul(channels, channel));
    builder.advance(to, offset);
    let offset = builder.int(IntOp::MulConst(task.first_out, vectors * bytes));
    builder.advance(to, offset);

    let column = arg(builder, slot::S_POSITION);
    let row = builder.int(IntOp::MulConst(column, SIZE));
    let sides = Sides {
        size: SIZE as usize,
        line: lines::weights,
        half_offset: kernel.half_offset(),
        prefetch: false,
    };
    let parts = builder.int(IntOp::MulConst(task.ins, lanes / rows));
    builder.repeat(parts, |builder| {
        let group = builder.int(IntOp::Copy(to));
        builder.repeat(task.outs, |builder| {
            let input = builder.int(IntOp::Copy(group));
            builder.repeat_const(rows, |builder| {
                let target = builder.int(IntOp::Copy(input));
                builder.repeat_const(vectors, |builder| {
                    sides.transform(builder, from, row, column, target, tap);
                    builder.bump(from, bytes);
                    builder.bump(target, bytes);
                });
                builder.advance(input, channel);
            });
            builder.bump(group, vectors * bytes);
        });
        let step = builder.int(IntOp::MulConst(channel, rows));
        builder.advance(to, step);
    });
}
