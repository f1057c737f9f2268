//! The common frame of the pixel-tile families: tasks, the walk over pixels, the choice of tile heights.
//!
//! Before each tile the addresses of its pixels, for every stream, are written into the scratch: by straight code
//! where the tile stays within a row, by a small loop that carries over rows, planes and images where it does not.
//! So tiles span rows, and the rest of the code needs no notion of the map's shape. The height of a tile comes from a
//! table in the arguments.

use super::epilogue;
use crate::tile::build::{Builder, at, compare, compare_const, slot};
use crate::tile::{ARGUMENTS, Function, I, IntCompare, IntOp, Right, V};
use rectify_ir::kernel::Program;
use rectify_ir::kernel::tiles::{TileShape, slot};
use rectify_ir::kernel::tiling::tile_heights;
use rectify_ir::target::Target;

/// What holds during one task.
pub struct Task {
    pub args: I,
    /// Pointer to the packed weights of the channel group, if the family has any.
    pub weights: Option<I>,
    /// Pointer to the biases of the channel group.
    pub bias: Option<I>,
    /// Byte offset of the channel group in per-channel operands.
    pub channel_bytes: I,
    /// Channels from the first of the channel group to the end of the group.
    pub channels_left: I,
}

impl Task {
    /// Address of pixel `pixel` of the present tile in a stream, from the scratch.
    pub fn pixel(builder: &mut Builder, shape: &TileShape, stream: usize, pixel: usize) -> I {
        builder.int(slot(ARGUMENTS[4], stream * shape.pixels as usize + pixel))
    }
}

/// Accumulators of a tile: `[pixel][vector]`, or, where a pixel is a run of outputs, `[output][vector]`.
pub type Accumulators = Vec<Vec<V>>;

/// The whole kernel, given the code that computes the accumulators of a tile of some height.
pub fn generate(
    target: &Target,
    shape: &TileShape,
    program: &Program,
    reduce: &dyn Fn(&mut Builder, &Task, usize) -> Accumulators,
) -> Function {
    let mut builder = Builder::new(shape.lanes, target.fma);
    let [_, _, begin, end, _] = ARGUMENTS;
    let index = builder.int(IntOp::Copy(begin));
    let count = builder.int(IntOp::Sub(end, begin));
    builder.repeat(count, |builder| {
        let (task, walk, remaining) = start(builder, shape, index);
        builder.while_(compare_const(remaining, IntCompare::Gt, 0), |builder| {
            let last = Right::Constant(shape.tile_table_len() as i64 - 1);
            let entry = builder.least(remaining, last);
            let entry = builder.int(IntOp::MulConst(entry, 8));
            let table = builder.int(IntOp::Add(task.args, entry));
            let height = builder.int(slot(table, shape.tile_table()));
            builder.set(remaining, IntOp::Sub(remaining, height));
            dispatch(builder, height, &tile_heights(shape.pixels), &mut |builder, height| {
                walk.tile(builder, shape, height);
                let accumulators = reduce(builder, &task, height);
                epilogue::emit(builder, shape, program, &task, accumulators);
            });
        });
        builder.bump(index, 1);
    });
    builder.finish()
}

/// Decodes a task index; returns the number of its pixels too.
fn start(builder: &mut Builder, shape: &TileShape, index: I) -> (Task, Walk, I) {
    let [pointers, args, ..] = ARGUMENTS;
    let arg = |builder: &mut Builder, position: usize| builder.int(slot(args, position));
    let group_div = arg(builder, slot::GROUP_DIV);
    let group = builder.int(IntOp::Div(index, group_div));
    let part = |builder: &mut Builder, divisor: usize, count: usize| {
        let (divisor, count) = (arg(builder, divisor), arg(builder, count));
        let quotient = builder.int(IntOp::Div(index, divisor));
        builder.int(IntOp::Rem(quotient, count))
    };
    let strip = part(builder, slot::STRIP_DIV, slot::STRIPS);
    let channel_group = part(builder, slot::OC_DIV, slot::OC_GROUPS);

    let channel_groups = builder.int(slot(args, slot::OC_GROUPS));
    let flat_group = builder.int(IntOp::Mul(group, channel_groups));
    builder.advance(flat_group, channel_group);
    let width = i64::from(shape.vectors) * i64::from(shape.lanes);
    let channel_bytes = builder.int(IntOp::MulConst(flat_group, width * 4));
    let first_channel = builder.int(IntOp::MulConst(channel_group, width));
    let channels = builder.int(slot(args, slot::CHANNELS));
    let channels_left = builder.int(IntOp::Sub(channels, first_channel));
    let weights = shape.weights.then(|| {
        let bytes = builder.int(slot(args, slot::WEIGHT_BYTES));
        let offset = builder.int(IntOp::Mul(bytes, flat_group));
        let base = builder.int(slot(pointers, 2));
        builder.int(IntOp::Add(base, offset))
    });
    let bias = shape.bias.then(|| {
        let base = builder.int(slot(pointers, 2 + usize::from(shape.weights)));
        builder.int(IntOp::Add(base, channel_bytes))
    });

    let strip_pixels = builder.int(slot(args, slot::STRIP));
    let first = builder.int(IntOp::Mul(strip, strip_pixels));
    let pixels = builder.int(slot(args, slot::PIXELS));
    let rest = builder.int(IntOp::Sub(pixels, first));
    let remaining = builder.least(rest, Right::Register(strip_pixels));
    let vector = builder.int(IntOp::MulConst(channel_group, i64::from(shape.vectors)));
    let walk = Walk::start(builder, shape, first, group, vector);
    (Task { args, weights, bias, channel_bytes, channels_left }, walk, remaining)
}

/// Runs the code of the tile height that `height` holds.
fn dispatch(builder: &mut Builder, height: I, heights: &[u8], tile: &mut dyn FnMut(&mut Builder, usize)) {
    match heights {
        [] => {}
        [only] => tile(builder, *only as usize),
        [first, others @ ..] => {
            let is_first = compare_const(height, IntCompare::Eq, i64::from(*first));
            // Two closures need `tile` one after the other, so the blocks are built by hand-over.
            let tile = std::cell::RefCell::new(tile);
            builder.if_else(
                is_first,
                |builder| (tile.borrow_mut())(builder, *first as usize),
                |builder| dispatch(builder, height, others, &mut **tile.borrow_mut()),
            );
        }
    }
}

/// The place of the next pixel: an address per stream, an index per pixel dim.
struct Walk {
    /// Present address of each stream.
    cursors: Vec<I>,
    /// Index in each of the dims after the first, the slowest first.
    indices: Vec<I>,
    /// The first of the four dims that is in use.
    lead: usize,
}

impl Walk {
    fn start(builder: &mut Builder, shape: &TileShape, first: I, group: I, vector: I) -> Walk {
        let [pointers, args, ..] = ARGUMENTS;
        let lead = 4 - shape.rank as usize;
        let mut rest = first;
        let mut indices = Vec::new();
        for dim in (lead + 1..4).rev() {
            let extent = builder.int(slot(args, slot::EXTENTS + dim));
            indices.push(builder.int(IntOp::Rem(rest, extent)));
            rest = builder.int(IntOp::Div(rest, extent));
        }
        indices.reverse();
        let mut stream_pointers = vec![(1, true, shape.input_blocks), (0, true, true)];
        for (k, operand) in shape.operands.iter().enumerate().filter(|(_, operand)| operand.is_stream()) {
            let by_channel = *operand != rectify_ir::kernel::Operand::PixelScalar;
            stream_pointers.push((shape.first_operand_pointer() + k, by_channel, by_channel));
        }
        let cursors = stream_pointers
            .into_iter()
            .enumerate()
            .map(|(stream, (pointer, by_group, by_vector))| {
                let at = slot::stream(stream);
                let cursor = builder.int(slot(pointers, pointer));
                let base = builder.int(slot(args, at + slot::BASE));
                builder.advance(cursor, base);
                let scaled = |builder: &mut Builder, count: I, position: usize| {
                    let stride = builder.int(slot(args, at + position));
                    let offset = builder.int(IntOp::Mul(count, stride));
                    builder.advance(cursor, offset);
                };
                if by_group {
                    scaled(builder, group, slot::GROUP);
                }
                if by_vector {
                    scaled(builder, vector, slot::BLOCK);
                }
                scaled(builder, rest, slot::PIXEL + lead);
                for (k, &index) in indices.iter().enumerate() {
                    scaled(builder, index, slot::PIXEL + lead + 1 + k);
                }
                cursor
            })
            .collect();
        Walk { cursors, indices, lead }
    }

    /// Writes the addresses of the next `height` pixels into the scratch and steps over them.
    fn tile(&self, builder: &mut Builder, shape: &TileShape, height: usize) {
        let [_, args, _, _, scratch] = ARGUMENTS;
        let Some(&index) = self.indices.last() else {
            return self.row(builder, shape, height);
        };
        let extent = builder.int(slot(args, slot::EXTENTS + 3));
        let end = builder.int(IntOp::AddConst(index, height as i64));
        builder.if_else(
            compare(end, IntCompare::Le, extent),
            |builder| {
                self.row(builder, shape, height);
                builder.set(index, IntOp::Copy(end));
                self.wrap(builder, 3);
            },
            |builder| {
                let place = builder.int(IntOp::Copy(scratch));
                let left = builder.int(IntOp::Const(height as i64));
                builder.while_(compare_const(left, IntCompare::Gt, 0), |builder| {
                    let to_end = builder.int(IntOp::Sub(extent, index));
                    let count = builder.least(left, Right::Register(to_end));
                    self.part(builder, shape, place, count);
                    builder.advance(index, count);
                    builder.set(left, IntOp::Sub(left, count));
                    self.wrap(builder, 3);
                });
            },
        );
    }

    /// As `tile`, for pixels of one row.
    fn row(&self, builder: &mut Builder, shape: &TileShape, height: usize) {
        let [_, args, _, _, scratch] = ARGUMENTS;
        // Copies: the originals live for the whole task, and are spilled where registers are few.
        let base = builder.int(IntOp::Copy(scratch));
        for (stream, &cursor) in self.cursors.iter().enumerate() {
            let stride = builder.int(slot(args, Walk::stride(stream)));
            let place = builder.int(IntOp::Copy(cursor));
            for pixel in 0..height {
                builder.store_int(at(base, (stream * shape.pixels as usize + pixel) * 8), place);
                builder.advance(place, stride);
            }
            builder.set(cursor, IntOp::Copy(place));
        }
    }

    /// Writes the addresses of `count` pixels of one row, and moves `place` over them.
    fn part(&self, builder: &mut Builder, shape: &TileShape, place: I, count: I) {
        let args = ARGUMENTS[1];
        let target = builder.int(IntOp::Copy(place));
        let strides: Vec<I> =
            (0..self.cursors.len()).map(|stream| builder.int(slot(args, Walk::stride(stream)))).collect();
        let places: Vec<I> = self.cursors.iter().map(|&cursor| builder.int(IntOp::Copy(cursor))).collect();
        builder.repeat(count, |builder| {
            for (stream, (&place, &stride)) in places.iter().zip(&strides).enumerate() {
                builder.store_int(at(target, stream * shape.pixels as usize * 8), place);
                builder.advance(place, stride);
            }
            builder.bump(target, 8);
        });
        builder.set(place, IntOp::Copy(target));
        for (&cursor, &place) in self.cursors.iter().zip(&places) {
            builder.set(cursor, IntOp::Copy(place));
        }
    }

    /// Slot of a stream's stride along the innermost pixel dim.
    fn stride(stream: usize) -> usize {
        slot::stream(stream) + slot::PIXEL + 3
    }

    /// Wraps the index of a dim if it has reached its extent, and advances the next slower one.
    fn wrap(&self, builder: &mut Builder, dim: usize) {
        let args = ARGUMENTS[1];
        if dim == self.lead {
            return;
        }
        let index = self.indices[dim - self.lead - 1];
        let extent = builder.int(slot(args, slot::EXTENTS + dim));
        builder.if_(compare(index, IntCompare::Eq, extent), |builder| {
            builder.set(index, IntOp::Const(0));
            for (stream, &cursor) in self.cursors.iter().enumerate() {
                let carry = builder.int(slot(args, slot::stream(stream) + slot::CARRY + dim));
                builder.advance(cursor, carry);
            }
            if let Some(slower) = (dim - self.lead - 1).checked_sub(1) {
                builder.bump(self.indices[slower], 1);
            }
            self.wrap(builder, dim - 1);
        });
    }
}
