//! Generator of `winograd` kernels: the walk over tasks, and the walk over tiles that both transforms share.

pub mod gradient;
mod input;
mod lines;
mod output;
mod products;
mod sides;

use crate::tile::build::{Builder, slot};
use crate::tile::{ARGUMENTS, Condition, Function, I, IntCompare, IntOp, Right};
use rectify_ir::kernel::Winograd;
use rectify_ir::kernel::winograd::slot;
use rectify_ir::target::Target;

pub fn generate(kernel: &Winograd, target: &Target) -> Function {
    let mut builder = Builder::new(kernel.lanes, target.fma);
    let [_, _, begin, end, _] = ARGUMENTS;
    let index = builder.int(IntOp::Copy(begin));
    let count = builder.int(IntOp::Sub(end, begin));
    let transformed = builder.int(IntOp::Const(-1));
    builder.repeat(count, |builder| {
        let task = Task::start(builder, index);
        let stale =
            Condition { compare: IntCompare::Ne, left: task.block, right: Right::Register(transformed) };
        builder.if_(stale, |builder| {
            input::transform(builder, kernel, &task);
            builder.set(transformed, IntOp::Copy(task.block));
        });
        products::multiply(builder, kernel, &task);
        output::transform(builder, kernel, &task);
        builder.bump(index, 1);
    });
    builder.finish()
}

/// A value of the argument block.
fn arg(builder: &mut Builder, position: usize) -> I {
    builder.int(slot(ARGUMENTS[1], position))
}

/// What holds during one task.
struct Task {
    block: I,
    /// The first tile group, and how many there are.
    first_group: I,
    groups: I,
    /// The first channel group, and how many there are.
    first_part: I,
    parts: I,
}

impl Task {
    fn start(builder: &mut Builder, index: I) -> Task {
        let parts = arg(builder, slot::PARTS);
        let block = builder.int(IntOp::Div(index, parts));
        let part = builder.int(IntOp::Rem(index, parts));
        let mut range = |number: I, ranges: usize, all: usize| {
            let (ranges, all) = (arg(builder, ranges), arg(builder, all));
            let scaled = builder.int(IntOp::Mul(number, all));
            let first = builder.int(IntOp::Div(scaled, ranges));
            let scaled = builder.int(IntOp::Add(scaled, all));
            let end = builder.int(IntOp::Div(scaled, ranges));
            (first, builder.int(IntOp::Sub(end, first)))
        };
        let (first_group, groups) = range(block, slot::BLOCKS, slot::TILE_GROUPS);
        let (first_part, parts) = range(part, slot::PARTS, slot::OC_GROUPS);
        Task { block, first_group, groups, first_part, parts }
    }
}

/// The place of a tile: image, and the row and column of its first output.
struct Place {
    image: I,
    row: I,
    column: I,
}

impl Place {
    /// Of the tile with this flat index.
    fn of(builder: &mut Builder, kernel: &Winograd, tile: I) -> Place {
        let (rows, columns) = (arg(builder, slot::TILE_ROWS), arg(builder, slot::TILE_COLUMNS));
        let column = builder.int(IntOp::Rem(tile, columns));
        let line = builder.int(IntOp::Div(tile, columns));
        let row = builder.int(IntOp::Rem(line, rows));
        let image = builder.int(IntOp::Div(line, rows));
        let outputs = i64::from(kernel.outputs);
        let row = builder.int(IntOp::MulConst(row, outputs));
        let column = builder.int(IntOp::MulConst(column, outputs));
        Place { image, row, column }
    }

    /// Address of the tile's first pixel in a stream, in the first channel vector.
    fn address(&self, builder: &mut Builder, pointer: usize, stream: usize) -> I {
        let at = slot::stream(stream);
        let address = builder.int(slot(ARGUMENTS[0], pointer));
        let base = arg(builder, at + slot::BASE);
        builder.advance(address, base);
        for (dim, index) in [self.image, self.row, self.column].into_iter().enumerate() {
            let stride = arg(builder, at + slot::PIXEL + dim);
            let offset = builder.int(IntOp::Mul(index, stride));
            builder.advance(address, offset);
        }
        address
    }

    /// Rows and columns from the tile's first on that lie in the output, with `more` behind it, and at most `most`.
    fn inside(&self, builder: &mut Builder, more: i64, most: i64) -> (I, I) {
        let mut left = |extent: usize, first: I| {
            let extent = arg(builder, extent);
            let left = builder.int(IntOp::Sub(extent, first));
            let left = builder.int(IntOp::AddConst(left, more));
            builder.least(left, Right::Constant(most))
        };
        (left(slot::ROWS, self.row), left(slot::COLUMNS, self.column))
    }
}
