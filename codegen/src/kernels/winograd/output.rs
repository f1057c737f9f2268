//! From M to the output: `A' M A`, bias and epilogue in registers, for every tile and channel vector of a task.

use super::{Place, Task, arg, lines};
use crate::kernels::math::Constants;
use crate::kernels::program::evaluate;
use crate::tile::build::{Builder, at, compare, compare_const, slot};
use crate::tile::{ARGUMENTS, I, IntCompare, IntOp, Right, V, VectorOp, Width};
use rectify_ir::kernel::Winograd;
use rectify_ir::kernel::tiles::Operand;
use rectify_ir::kernel::winograd::slot;

/// Vector instructions of an epilogue that is unrolled over a row of a tile.
const UNROLLED_WEIGHT: usize = 80;

/// Indices of the streams that move with the output: the output's own, then those of operands that are streams.
fn streams(kernel: &Winograd) -> Vec<(usize, usize)> {
    let first = kernel.shape().first_operand_pointer();
    let operands = kernel.operands.iter().enumerate().filter(|(_, operand)| operand.is_stream());
    let pointers = operands.map(|(k, _)| first + k);
    std::iter::once(0).chain(pointers).enumerate().map(|(k, pointer)| (k + 1, pointer)).collect()
}

pub fn transform(builder: &mut Builder, kernel: &Winograd, task: &Task) {
    let height = i64::from(kernel.tile.pixels);
    let m = arg(builder, slot::M_OFFSET);
    builder.advance(m, ARGUMENTS[4]);
    let tile = builder.int(IntOp::MulConst(task.first_group, height));
    let end = arg(builder, slot::TILES);
    builder.repeat(task.groups, |builder| {
        let left = builder.int(IntOp::Sub(end, tile));
        let count = builder.least(left, Right::Constant(height));
        let from = builder.int(IntOp::Copy(m));
        builder.repeat(count, |builder| {
            one(builder, kernel, task, tile, from);
            builder.bump(from, i64::from(kernel.tile.vectors) * builder.vector_bytes() as i64);
            builder.bump(tile, 1);
        });
        let group = arg(builder, slot::M_GROUP);
        builder.advance(m, group);
    });
}

/// All channel vectors of a tile in this task.
fn one(builder: &mut Builder, kernel: &Winograd, task: &Task, tile: I, from: I) {
    let (lanes, bytes) = (builder.lanes() as i64, builder.vector_bytes() as i64);
    let vectors = i64::from(kernel.tile.vectors);
    let place = Place::of(builder, kernel, tile);
    let (rows, columns) = place.inside(builder, 0, i64::from(kernel.outputs));
    let first_vector = builder.int(IntOp::MulConst(task.first_part, vectors));
    let cursors: Vec<I> = streams(kernel)
        .into_iter()
        .map(|(stream, pointer)| {
            let address = place.address(builder, pointer, stream);
            let stride = arg(builder, slot::stream(stream) + slot::VECTOR);
            let skipped = builder.int(IntOp::Mul(stride, first_vector));
            builder.advance(address, skipped);
            address
        })
        .collect();
    let channel = builder.int(IntOp::MulConst(first_vector, bytes));
    let left = arg(builder, slot::OUT_CHANNELS);
    let skipped = builder.int(IntOp::MulConst(first_vector, lanes));
    builder.set(left, IntOp::Sub(left, skipped));
    let group = builder.int(IntOp::Copy(from));
    builder.repeat(task.parts, |builder| {
        let sums = builder.int(IntOp::Copy(group));
        let present = builder.int(IntOp::AddConst(left, lanes - 1));
        let (present, _) = builder.split(present, lanes as usize);
        let present = builder.least(present, Right::Constant(vectors));
        builder.repeat(present, |builder| {
            down_columns(builder, kernel, sums);
            along_rows(builder, kernel, &cursors, channel, (rows, columns));
            builder.bump(sums, bytes);
            builder.bump(channel, bytes);
            for (stream, &cursor) in cursors.iter().enumerate() {
                let stride = arg(builder, slot::stream(stream + 1) + slot::VECTOR);
                builder.advance(cursor, stride);
            }
        });
        builder.bump(left, -vectors * lanes);
        builder.bump(group, i64::from(kernel.tile.pixels) * vectors * bytes);
    });
}

/// `A' M` into the scratch: columns of the tile, one after the other.
fn down_columns(builder: &mut Builder, kernel: &Winograd, sums: I) {
    let (size, bytes) = (kernel.size() as usize, builder.vector_bytes());
    let position = arg(builder, slot::M_POSITION);
    let line = builder.int(IntOp::MulConst(position, size as i64));
    let from = builder.int(IntOp::Copy(sums));
    let half = builder.int(IntOp::AddConst(ARGUMENTS[4], kernel.half_offset() as i64));
    let end = builder.int(IntOp::AddConst(half, (size * bytes) as i64));
    builder.while_(compare(half, IntCompare::Lt, end), |builder| {
        let row = builder.int(IntOp::Copy(from));
        let m: Vec<V> = (0..size)
            .map(|k| {
                if k > 0 {
                    builder.advance(row, line);
                }
                builder.vector(VectorOp::Load(at(row, 0), Width::Full))
            })
            .collect();
        for (k, value) in lines::output(builder, &m).into_iter().enumerate() {
            builder.store(at(half, k * size * bytes), value, Width::Full);
        }
        builder.advance(from, position);
        builder.bump(half, bytes as i64);
    });
}

/// `(A' M) A`, bias, epilogue and stores, row by row of the output.
fn along_rows(builder: &mut Builder, kernel: &Winograd, cursors: &[I], channel: I, (rows, columns): (I, I)) {
    let (size, bytes) = (kernel.size() as usize, builder.vector_bytes());
    let half = builder.int(IntOp::AddConst(ARGUMENTS[4], kernel.half_offset() as i64));
    let mut epilogue = Epilogue::start(builder, kernel, channel);
    let starts: Vec<I> = cursors.iter().map(|&cursor| builder.int(IntOp::Copy(cursor))).collect();
    let unrolled = kernel.epilogue.weight() * kernel.outputs as usize <= UNROLLED_WEIGHT;
    builder.repeat(rows, |builder| {
        let places: Vec<I> = starts.iter().map(|&start| builder.int(IntOp::Copy(start))).collect();
        let m: Vec<V> =
            (0..size).map(|k| builder.vector(VectorOp::Load(at(half, k * bytes), Width::Full))).collect();
        let results = lines::output(builder, &m);
        if unrolled {
            for (column, value) in results.into_iter().enumerate() {
                let present = compare_const(columns, IntCompare::Gt, column as i64);
                builder.if_(present, |builder| epilogue.finish(builder, value, &places));
            }
        } else {
            let waiting = builder.int(IntOp::AddConst(ARGUMENTS[4], kernel.result_offset() as i64));
            for (column, value) in results.into_iter().enumerate() {
                builder.store(at(waiting, column * bytes), value, Width::Full);
            }
            builder.repeat(columns, |builder| {
                let value = builder.vector(VectorOp::Load(at(waiting, 0), Width::Full));
                epilogue.finish(builder, value, &places);
                builder.bump(waiting, bytes as i64);
            });
        }
        for (stream, &start) in starts.iter().enumerate() {
            let stride = arg(builder, slot::stream(stream + 1) + slot::PIXEL + 1);
            builder.advance(start, stride);
        }
        builder.bump(half, (size * bytes) as i64);
    });
}

/// The elementwise program with what is the same for all pixels of a channel vector.
struct Epilogue<'a> {
    kernel: &'a Winograd,
    bias: Option<V>,
    /// Of each operand that is no stream its value.
    shared: Vec<Option<V>>,
}

impl Epilogue<'_> {
    fn start<'a>(builder: &mut Builder, kernel: &'a Winograd, channel: I) -> Epilogue<'a> {
        let pointers = ARGUMENTS[0];
        let first = kernel.shape().first_operand_pointer();
        let per_channel = |builder: &mut Builder, pointer: usize| {
            let place = builder.int(slot(pointers, pointer));
            builder.advance(place, channel);
            builder.vector(VectorOp::Load(at(place, 0), Width::Full))
        };
        let bias = kernel.bias.then(|| per_channel(builder, first - 1));
        let mut shared = Vec::new();
        for (k, operand) in kernel.operands.iter().enumerate() {
            shared.push(match operand {
                Operand::PerChannel => Some(per_channel(builder, first + k)),
                Operand::Scalar => {
                    let place = builder.int(slot(pointers, first + k));
                    Some(builder.vector(VectorOp::LoadSplat(at(place, 0))))
                }
                Operand::Pixels | Operand::PixelsStrided | Operand::PixelScalar => None,
            });
        }
        Epilogue { kernel, bias, shared }
    }

    /// Stores the result of a pixel and steps to the next column.
    fn finish(&mut self, builder: &mut Builder, value: V, places: &[I]) {
        let value = match self.bias {
            Some(bias) => builder.vector(VectorOp::Add(value, bias)),
            None => value,
        };
        let (operands, shared) = (&self.kernel.operands, &self.shared);
        let mut constants = Constants::default();
        let result =
            evaluate(builder, &mut constants, &self.kernel.epilogue, Some(value), &mut |builder, k| {
                let k = k as usize;
                if let Some(value) = shared[k] {
                    return value;
                }
                let stream = 1 + operands[..k].iter().filter(|operand| operand.is_stream()).count();
                let place = at(places[stream], 0);
                builder.vector(match operands[k] {
                    Operand::PixelScalar => VectorOp::LoadSplat(place),
                    _ => VectorOp::Load(place, Width::Full),
                })
            });
        builder.store(at(places[0], 0), result, Width::Full);
        for (stream, &place) in places.iter().enumerate() {
            let stride = arg(builder, slot::stream(stream + 1) + slot::PIXEL + 2);
            builder.advance(place, stride);
        }
    }
}
