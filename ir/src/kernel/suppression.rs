//! The `suppression` family: the boxes of each image and class that overlap with none that is taken before them.
//!
//! ```text
//! for every image and class, as one row:
//!   for each place in order[row], as long as fewer than least(most, limit) are taken:
//!     skip it where it is outside of 0 .. boxes, its score is not above the threshold,
//!       or its box overlaps by more than `overlap` with one that is taken; else take it
//!   output[row][0 .. limit] = the places that are taken, then −1
//! ```
//!
//! All arrays are contiguous. Of a threshold of −∞ every score but NaN is above. Tasks are rows; the corners of the boxes
//! that are taken are in the thread's scratch, as five arrays of vectors: least and greatest coordinates, and area.
//! Pointers: output, boxes, scores, order, most, overlap, threshold.

use super::{Cost, Illegal, Span, require};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a suppression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Suppression {
    /// Boxes are centres and extents, not corners.
    pub centre: bool,
}

/// The run-time arguments of a suppression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SuppressionArgs {
    pub images: i64,
    pub classes: i64,
    /// Boxes of an image.
    pub boxes: i64,
    /// Places of a row of the output.
    pub limit: i64,
}

/// Positions in the argument block, counted in i64.
pub mod slot {
    pub const CLASSES: usize = 0;
    pub const BOXES: usize = 1;
    pub const LIMIT: usize = 2;
    pub const SLOTS: usize = 3;
}

/// Most boxes of an image, and most places of a row.
pub const MAX_BOXES: i64 = 1 << 22;

/// Lanes of a vector, and bytes of one in scratch before the arrays.
pub const LANES: i64 = 4;
pub const FLAG_BYTES: i64 = 16;
/// Arrays in scratch.
pub const ARRAYS: usize = 5;

impl Suppression {
    pub fn validate(&self) -> Result<(), Illegal> {
        Ok(())
    }

    pub fn pointers(&self) -> Vec<String> {
        ["output", "boxes", "scores", "order", "most", "overlap", "threshold"].map(str::to_string).into()
    }
}

impl SuppressionArgs {
    pub fn tasks(&self) -> i64 {
        self.images * self.classes
    }

    pub fn scratch_bytes(&self) -> usize {
        let array = 4 * ((self.limit.max(0) + LANES - 1) / LANES * LANES);
        FLAG_BYTES as usize + ARRAYS * array as usize
    }

    pub fn build(&self) -> Result<Vec<i64>, Illegal> {
        let sizes = [self.boxes, self.limit];
        require!(self.images >= 1 && self.classes >= 1, "{self:?}");
        require!(sizes.iter().all(|n| (1..=MAX_BOXES).contains(n)), "{self:?}");
        let mut block = vec![0; slot::SLOTS];
        (block[slot::CLASSES], block[slot::BOXES], block[slot::LIMIT]) =
            (self.classes, self.boxes, self.limit);
        Ok(block)
    }

    /// The bytes that a call over all tasks touches.
    pub fn spans(&self) -> Vec<Span> {
        let rows = self.tasks();
        let bytes = [
            rows * self.limit * 8,
            self.images * self.boxes * 16,
            rows * self.boxes * 4,
            rows * self.boxes * 8,
            8,
            4,
            4,
        ];
        let span = |(pointer, high_bytes)| Span { pointer, low_bytes: 0, high_bytes, writes: pointer == 0 };
        bytes.into_iter().enumerate().map(span).collect()
    }

    /// Every box is compared with some of those that are taken; how many is up to the data.
    pub fn cost(&self) -> Cost {
        let compared = self.limit.min(self.boxes).min(32);
        let flops = self.tasks().saturating_mul(self.boxes).saturating_mul(compared);
        let bytes = self.spans().iter().map(|s| s.high_bytes as u64).sum();
        Cost { flops: flops as u64, bytes }
    }
}

impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "suppression of {}", if self.centre { "centres and extents" } else { "corners" })
    }
}
