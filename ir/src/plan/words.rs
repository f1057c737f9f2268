//! Sets of words of 4 bytes, or of 1 where elements are narrower, one bit each: which bytes of an address space were
//! written.
//!
//! Steps touch regular patterns of bytes, up to hundreds of megabytes of them, and every compilation is verified. So a
//! pattern's closest dims become machine words of bits once, which then are combined with the set at every place of
//! the outer dims.

use super::access::Bytes;
use std::fmt;
use std::ops::Range;

/// Bytes that a step touches, as bits at places. All numbers are multiples of a word.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Bytes of a word.
    word: i64,
    /// First byte of bit 0.
    base: i64,
    shape: Shape,
    /// (extent, byte stride)
    dims: Vec<(i64, i64)>,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Bytes from 0 to here.
    Run(i64),
    Bits(Vec<u64>),
}

/// A piece of a pattern, in machine words of a set.
enum Piece {
    /// Some bits of one.
    Bits(usize, u64),
    /// All bits of many.
    Whole(Range<usize>),
}

impl Pattern {
    /// The bytes `start..end`.
    pub fn run(start: i64, end: i64, word: i64) -> Pattern {
        Pattern { word, base: start, shape: Shape::Run(end - start), dims: vec![] }
    }

    pub fn new(bytes: &Bytes, offset: i64, word: i64) -> Pattern {
        let dims = bytes.dims.clone();
        let (Some(first), Some(last)) = (bytes.runs.first(), bytes.runs.last()) else {
            return Pattern { word, base: 0, shape: Shape::Run(0), dims: vec![] };
        };
        let base = offset + first.0;
        if bytes.runs.len() == 1 {
            return Pattern { word, base, shape: Shape::Run(last.1 - first.0), dims };
        }
        let mut bits = vec![0u64; ((last.1 - first.0) / (64 * word) + 1) as usize];
        for (start, end) in &bytes.runs {
            over_run((start - first.0) / word, (end - first.0 + word - 1) / word, |piece| {
                match piece {
                    Piece::Bits(at, mask) => bits[at] |= mask,
                    Piece::Whole(words) => bits[words].fill(u64::MAX),
                }
                true
            });
        }
        Pattern { word, base, shape: Shape::Bits(bits), dims }
    }

    /// Whether the bytes from the first to the last overlap those of another pattern.
    pub fn is_near(&self, other: &Pattern) -> bool {
        let ((a, b), (c, d)) = (self.reach(), other.reach());
        a < d && c < b
    }

    /// From the first byte to behind the last one.
    fn reach(&self) -> (i64, i64) {
        let bytes = match &self.shape {
            Shape::Run(bytes) => *bytes,
            Shape::Bits(bits) => bits.len() as i64 * 64 * self.word,
        };
        let far = self.dims.iter().map(|(extent, stride)| (extent - 1) * stride);
        far.fold((self.base, self.base + bytes), |(low, high), far| (low + far.min(0), high + far.max(0)))
    }

    /// Calls `each` with every piece, while it says true.
    fn over(&self, mut each: impl FnMut(Piece) -> bool) -> bool {
        let mut index = vec![0i64; self.dims.len()];
        let word = self.word;
        loop {
            let start = self.base + index.iter().zip(&self.dims).map(|(i, (_, s))| i * s).sum::<i64>();
            let done = match &self.shape {
                Shape::Run(bytes) => over_run(start / word, (start + bytes + word - 1) / word, &mut each),
                Shape::Bits(bits) => over_bits(start / word, bits, &mut each),
            };
            if !done {
                return false;
            }
            let Some(d) = (0..index.len()).find(|d| index[*d] + 1 < self.dims[*d].0) else { return true };
            index[d] += 1;
            index[..d].fill(0);
        }
    }
}

/// The bits `first..last`.
fn over_run(first: i64, last: i64, mut each: impl FnMut(Piece) -> bool) -> bool {
    let (first, last) = (first as usize, last.max(first) as usize);
    let (head, tail) = (first.div_ceil(64), last / 64);
    let below = |bit: usize| (1u64 << (bit % 64)) - 1;
    if head > tail {
        return each(Piece::Bits(tail, below(last) & !below(first)));
    }
    (first % 64 == 0 || each(Piece::Bits(head - 1, !below(first))))
        && (head == tail || each(Piece::Whole(head..tail)))
        && (last % 64 == 0 || each(Piece::Bits(tail, below(last))))
}

/// Bits from bit `start` on.
fn over_bits(start: i64, bits: &[u64], mut each: impl FnMut(Piece) -> bool) -> bool {
    let (word, shift) = ((start / 64) as usize, (start % 64) as u32);
    let mut carry = 0;
    for (i, pattern) in bits.iter().enumerate() {
        let mask = pattern << shift | carry;
        carry = if shift == 0 { 0 } else { pattern >> (64 - shift) };
        if mask != 0 && !each(Piece::Bits(word + i, mask)) {
            return false;
        }
    }
    carry == 0 || each(Piece::Bits(word + bits.len(), carry))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes from {}", self.base)
    }
}

/// A set of words.
#[derive(Debug, Default)]
pub(super) struct Words {
    bits: Vec<u64>,
}

impl Words {
    /// A set with room for so many words, and none of them.
    pub fn of(words: usize) -> Words {
        Words { bits: vec![0; words / 64 + 1] }
    }

    /// Adds words, within the room that there is.
    pub fn insert(&mut self, words: Range<i64>) {
        let bits = &mut self.bits;
        if words.end - words.start == 1 {
            bits[words.start as usize / 64] |= 1 << (words.start % 64);
            return;
        }
        over_run(words.start, words.end, |piece| {
            match piece {
                Piece::Bits(at, mask) => bits[at] |= mask,
                Piece::Whole(words) => bits[words].fill(u64::MAX),
            }
            true
        });
    }

    pub fn set(&mut self, pattern: &Pattern) {
        let bits = &mut self.bits;
        pattern.over(|piece| {
            let end = match &piece {
                Piece::Bits(word, _) => word + 1,
                Piece::Whole(words) => words.end,
            };
            if end > bits.len() {
                bits.resize(end, 0);
            }
            match piece {
                Piece::Bits(word, mask) => bits[word] |= mask,
                Piece::Whole(words) => bits[words].fill(u64::MAX),
            }
            true
        });
    }

    pub fn clear(&mut self, pattern: &Pattern) {
        let bits = &mut self.bits;
        pattern.over(|piece| {
            match piece {
                Piece::Bits(word, mask) => bits.get_mut(word).into_iter().for_each(|w| *w &= !mask),
                Piece::Whole(words) => {
                    let end = words.end.min(bits.len());
                    bits[words.start.min(end)..end].fill(0);
                }
            }
            true
        });
    }

    /// The words of the set, as runs from a word to behind another that do not touch.
    pub fn runs(&self) -> impl Iterator<Item = (i64, i64)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, 0)?;
            let end = self.next(start, u64::MAX).unwrap_or(64 * self.bits.len());
            at = end;
            Some((start as i64, end as i64))
        })
    }

    /// The first bit from here on that is set; with `flip` all ones, that is not.
    fn next(&self, from: usize, flip: u64) -> Option<usize> {
        let mut keep = u64::MAX << (from % 64);
        for (i, word) in self.bits.iter().enumerate().skip(from / 64) {
            let word = (word ^ flip) & keep;
            if word != 0 {
                return Some(64 * i + word.trailing_zeros() as usize);
            }
            keep = u64::MAX;
        }
        None
    }

    pub fn has_any(&self, pattern: &Pattern) -> bool {
        let bits = &self.bits;
        !pattern.over(|piece| match piece {
            Piece::Bits(word, mask) => bits.get(word).is_none_or(|w| w & mask == 0),
            Piece::Whole(words) => {
                let end = words.end.min(bits.len());
                bits[words.start.min(end)..end].iter().all(|w| *w == 0)
            }
        })
    }

    pub fn has_all(&self, pattern: &Pattern) -> bool {
        let bits = &self.bits;
        pattern.over(|piece| match piece {
            Piece::Bits(word, mask) => bits.get(word).is_some_and(|w| w & mask == mask),
            Piece::Whole(words) => bits.get(words).is_some_and(|list| list.iter().all(|w| *w == u64::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_exact() {
        check(&[(0, 8), (12, 16), (400, 404)], &[(3, 1000), (2, 36)]);
        check(&[(0, 600)], &[(3, 1000)]);
        check(&[(0, 256), (512, 1280)], &[]);
    }

    fn check(runs: &[(i64, i64)], dims: &[(i64, i64)]) {
        let mut want: std::collections::BTreeSet<i64> =
            runs.iter().flat_map(|(start, end)| (20 + start..20 + end).step_by(4)).collect();
        for (extent, stride) in dims {
            want = want.iter().flat_map(|w| (0..*extent).map(move |i| w + i * stride)).collect();
        }
        let pattern = Pattern::new(&Bytes { runs: runs.to_vec(), dims: dims.to_vec() }, 20, 4);
        let mut words = Words::default();
        assert!(!words.has_any(&pattern));
        words.set(&pattern);
        assert!(words.has_all(&pattern));
        for word in 0..1000 {
            let alone = Pattern::run(4 * word, 4 * word + 4, 4);
            assert_eq!(words.has_any(&alone), want.contains(&(4 * word)), "{word}");
        }
        words.clear(&Pattern::run(20, 24, 4));
        assert!(words.has_any(&pattern) && !words.has_all(&pattern));
        words.clear(&pattern);
        assert!(!words.has_any(&Pattern::run(0, 4000, 4)));
    }
}
