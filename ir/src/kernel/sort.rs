//! The `sort` family: the order of the elements of each row.
//!
//! ```text
//! for every row:  output[row][0 .. count] = the first places of the row's elements in order, as i64
//! ```
//!
//! Rows are contiguous. The order is stable: equal elements, zeros of both signs among them, keep the order of their
//! places. NaN is greater than all numbers. Tasks are rows; a row is merged bottom-up in the thread's scratch.
//! Pointers: output, x.

use super::{Cost, Illegal, Span, require};
use crate::dtype::DType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a sort.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sort {
    pub element: DType,
    /// The greatest first.
    pub descending: bool,
}

/// The run-time arguments of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SortArgs {
    pub rows: i64,
    /// Elements of a row.
    pub size: i64,
    /// Places that are wanted of each row.
    pub count: i64,
}

/// Positions in the argument block, counted in i64.
pub mod slot {
    pub const SIZE: usize = 0;
    pub const COUNT: usize = 1;
    pub const SLOTS: usize = 2;
}

/// Most elements of a row: its scratch is 24 times as many bytes.
pub const MAX_SIZE: i64 = 1 << 24;

impl Sort {
    pub fn validate(&self) -> Result<(), Illegal> {
        require!(self.element != DType::Bool, "an order of bool");
        Ok(())
    }

    pub fn pointers(&self) -> Vec<String> {
        vec!["output".into(), "x".into()]
    }
}

impl SortArgs {
    pub fn tasks(&self) -> i64 {
        self.rows
    }

    /// A key and two places for each element of a row.
    pub fn scratch_bytes(&self) -> usize {
        24 * self.size.max(0) as usize
    }

    pub fn build(&self) -> Result<Vec<i64>, Illegal> {
        require!(self.rows >= 1 && (1..=MAX_SIZE).contains(&self.size), "{self:?}");
        require!((1..=self.size).contains(&self.count), "{} places of {}", self.count, self.size);
        let mut block = vec![0; slot::SLOTS];
        (block[slot::SIZE], block[slot::COUNT]) = (self.size, self.count);
        Ok(block)
    }

    /// The bytes that a call over all tasks touches.
    pub fn spans(&self, sort: &Sort) -> Vec<Span> {
        let read = self.rows * self.size * sort.element.size_bytes() as i64;
        vec![
            Span { pointer: 0, low_bytes: 0, high_bytes: self.rows * self.count * 8, writes: true },
            Span { pointer: 1, low_bytes: 0, high_bytes: read, writes: false },
        ]
    }

    pub fn cost(&self, sort: &Sort) -> Cost {
        let rounds = 64 - (self.size - 1).leading_zeros();
        let moved = self.rows * (self.size * sort.element.size_bytes() as i64 + self.count * 8);
        Cost { flops: (self.rows * self.size) as u64 * u64::from(rounds), bytes: moved as u64 }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sort {} {}", self.element, if self.descending { "descending" } else { "rising" })
    }
}
