//! Transforms of both sides of a tile: `M X M'`, columns first, by way of the scratch.

use crate::tile::build::{Builder, at, compare, indexed};
use crate::tile::{ARGUMENTS, Cache, I, IntCompare, IntOp, V, VectorOp, Width};

/// One of the transforms in [`super::lines`].
pub type Line = fn(&mut Builder, &[V]) -> Vec<V>;

pub struct Sides {
    /// Rows and columns of the tile.
    pub size: usize,
    pub line: Line,
    /// Where in the scratch half-transformed tiles lie.
    pub half_offset: usize,
    /// Columns are adjacent, and tiles that follow in memory are read soon.
    pub prefetch: bool,
}

/// Tiles of four columns that are fetched ahead: two hide the way from memory, which the CPU does not foresee.
const COLUMNS_AHEAD: usize = 8;

impl Sides {
    /// Reads the tile at `from`, rows and columns so many bytes apart, and stores the elements of the result one after
    /// the other from `to` on, `step` bytes apart.
    pub fn transform(&self, builder: &mut Builder, from: I, row: I, column: I, to: I, step: I) {
        let lines = self.down_columns(builder, from, row, column);
        self.along_rows(builder, lines, to, step);
    }

    /// `M X` into the scratch; returns its number of rows.
    fn down_columns(&self, builder: &mut Builder, from: I, row: I, column: I) -> usize {
        let bytes = builder.vector_bytes();
        let mut last = from;
        let rows: Vec<I> = (0..self.size)
            .map(|k| {
                last = if k == 0 { from } else { builder.int(IntOp::Add(last, row)) };
                last
            })
            .collect();
        let offset = builder.int(IntOp::Const(0));
        let half = builder.int(IntOp::AddConst(ARGUMENTS[4], self.half_offset as i64));
        let end = builder.int(IntOp::AddConst(half, (self.size * bytes) as i64));
        let mut lines = 0;
        builder.while_(compare(half, IntCompare::Lt, end), |builder| {
            let x: Vec<V> = rows
                .iter()
                .map(|&row| builder.vector(VectorOp::Load(indexed(row, offset, 0), Width::Full)))
                .collect();
            if self.prefetch && builder.lanes() > 4 {
                for &row in &rows {
                    builder.prefetch(Cache::First, indexed(row, offset, COLUMNS_AHEAD * bytes));
                }
            }
            let results = (self.line)(builder, &x);
            lines = results.len();
            for (k, value) in results.into_iter().enumerate() {
                builder.store(at(half, k * self.size * bytes), value, Width::Full);
            }
            builder.advance(offset, column);
            builder.bump(half, bytes as i64);
        });
        lines
    }

    /// `(M X) M'` from the scratch.
    fn along_rows(&self, builder: &mut Builder, lines: usize, to: I, step: I) {
        let bytes = builder.vector_bytes();
        let half = builder.int(IntOp::AddConst(ARGUMENTS[4], self.half_offset as i64));
        let end = builder.int(IntOp::AddConst(half, (lines * self.size * bytes) as i64));
        let to = builder.int(IntOp::Copy(to));
        builder.while_(compare(half, IntCompare::Lt, end), |builder| {
            let x: Vec<V> = (0..self.size)
                .map(|k| builder.vector(VectorOp::Load(at(half, k * bytes), Width::Full)))
                .collect();
            for value in (self.line)(builder, &x) {
                builder.store(at(to, 0), value, Width::Full);
                builder.advance(to, step);
            }
            builder.bump(half, (self.size * bytes) as i64);
        });
    }
}

/// Copies what exists of a tile of `size` rows and columns to the start of the scratch; the rest is zero.
pub fn copy_inside(builder: &mut Builder, size: usize, from: I, row_bytes: I, (rows, columns): (I, I)) {
    let bytes = builder.vector_bytes();
    let zero = builder.splat(0.0);
    let to = builder.int(IntOp::Copy(ARGUMENTS[4]));
    for k in 0..size * size {
        builder.store(at(to, k * bytes), zero, Width::Full);
    }
    let row = builder.int(IntOp::Copy(from));
    builder.repeat(rows, |builder| {
        let (source, target) = (builder.int(IntOp::Copy(row)), builder.int(IntOp::Copy(to)));
        builder.repeat(columns, |builder| {
            let value = builder.vector(VectorOp::Load(at(source, 0), Width::Full));
            builder.store(at(target, 0), value, Width::Full);
            builder.bump(source, bytes as i64);
            builder.bump(target, bytes as i64);
        });
        builder.advance(row, row_bytes);
        builder.bump(to, (size * bytes) as i64);
    });
}
