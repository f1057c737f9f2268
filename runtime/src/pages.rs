//! Huge pages, as long as the system has them at hand.
//!
//! In a virtual machine that gives free memory back to its host, blocks of the size of a huge page are what is given back: to
//! have one again takes as many faults of the host as it has small pages, while small pages are taken from memory
//! that was in use just now. So it is seen how long huge pages take, and when they take too long the rest is small ones.

use crate::arena::{ALIGN_BYTES, Arena};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Writing zeros to a huge page takes a quarter of this at most.
const SLOW: Duration = Duration::from_millis(1);

/// Slow pages after which the others are small: one may be slow because the thread was interrupted.
const SLOW_PAGES: usize = 2;

/// The pages of an arena that threads fill.
pub(crate) struct Pages<'a> {
    arena: &'a Arena,
    /// Of each stretch of a huge page's size, whether a thread has begun to fill it.
    begun: Vec<AtomicBool>,
    slow: AtomicUsize,
}

impl<'a> Pages<'a> {
    pub fn new(arena: &'a Arena) -> Pages<'a> {
        let begun = (0..arena.len().div_ceil(ALIGN_BYTES)).map(|_| AtomicBool::new(false)).collect();
        Pages { arena, begun, slow: AtomicUsize::new(0) }
    }

    /// Has the pages of these bytes given to this process.
    pub fn present(&self, bytes: Range<usize>) {
        for page in bytes.start / ALIGN_BYTES..bytes.end.div_ceil(ALIGN_BYTES) {
            let begun = self.begun.get(page).is_none_or(|begun| begun.swap(true, Ordering::Relaxed));
            if begun || self.slow.load(Ordering::Relaxed) >= SLOW_PAGES {
                continue;
            }
            let start = Instant::now();
            let first = page * ALIGN_BYTES;
            self.arena.touch(first..first + 1);
            if start.elapsed() > SLOW && self.slow.fetch_add(1, Ordering::Relaxed) + 1 == SLOW_PAGES {
                self.arena.take_small_pages();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever pages there are, they hold zeros, and the last one may be cut.
    #[test]
    fn all_bytes_are_there() {
        let arena = Arena::new(3 * ALIGN_BYTES + 100).expect("memory");
        let pages = Pages::new(&arena);
        pages.present(0..10);
        arena.take_small_pages();
        pages.present(ALIGN_BYTES - 1..arena.len());
        let all = arena.slice::<u8>(0, arena.len()).expect("the arena");
        assert!(all.iter().all(|byte| *byte == 0));
        assert!(pages.begun.iter().all(|begun| begun.load(Ordering::Relaxed)));
    }
}
