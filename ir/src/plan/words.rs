//! Sets of 4-byte words, one bit each: which bytes of an address space were written.
//!
//! Steps touch regular patterns of bytes, up to hundreds of megabytes of them, and every compilation is verified. So a
//! pattern's closest dims become machine words of bits once, which then are combined with the set at every place of
//! the outer dims.

use super::access::Bytes;
use std::fmt;

/// Bytes that a step touches, as bits at places. All numbers are multiples of 4.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
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

const WORD: i64 = 4;

impl Pattern {
    /// The bytes `start..end`.
    pub fn run(start: i64, end: i64) -> Pattern {
        Pattern { base: start, shape: Shape::Run(end - start), dims: vec![] }
    }

    pub fn new(bytes: &Bytes, offset: i64) -> Pattern {
        let dims = bytes.dims.clone();
        let (Some(first), Some(last)) = (bytes.runs.first(), bytes.runs.last()) else {
            return Pattern { base: 0, shape: Shape::Run(0), dims: vec![] };
        };
        let base = offset + first.0;
        if bytes.runs.len() == 1 {
            return Pattern { base, shape: Shape::Run(last.1 - first.0), dims };
        }
        let mut bits = vec![0u64; ((last.1 - first.0) / (64 * WORD) + 1) as usize];
        for (start, end) in &bytes.runs {
            over_run((start - first.0) / WORD, (end - first.0 + WORD - 1) / WORD, |word, mask| {
                bits[word] |= mask;
                true
            });
        }
        Pattern { base, shape: Shape::Bits(bits), dims }
    }

    /// Calls `each` with every machine word of bits and its mask, while it says true.
    fn over(&self, mut each: impl FnMut(usize, u64) -> bool) -> bool {
        let mut index = vec![0i64; self.dims.len()];
        loop {
            let start = self.base + index.iter().zip(&self.dims).map(|(i, (_, s))| i * s).sum::<i64>();
            let done = match &self.shape {
                Shape::Run(bytes) => over_run(start / WORD, (start + bytes + WORD - 1) / WORD, &mut each),
                Shape::Bits(bits) => over_bits(start / WORD, bits, &mut each),
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
fn over_run(first: i64, last: i64, mut each: impl FnMut(usize, u64) -> bool) -> bool {
    let (mut at, last) = (first as usize, last.max(first) as usize);
    while at < last {
        let (word, bit) = (at / 64, at % 64);
        let count = (64 - bit).min(last - at);
        let mask = if count == 64 { u64::MAX } else { ((1u64 << count) - 1) << bit };
        if !each(word, mask) {
            return false;
        }
        at += count;
    }
    true
}

/// Bits from bit `start` on.
fn over_bits(start: i64, bits: &[u64], mut each: impl FnMut(usize, u64) -> bool) -> bool {
    let (word, shift) = ((start / 64) as usize, (start % 64) as u32);
    let mut carry = 0;
    for (i, pattern) in bits.iter().enumerate() {
        let mask = pattern << shift | carry;
        carry = if shift == 0 { 0 } else { pattern >> (64 - shift) };
        if mask != 0 && !each(word + i, mask) {
            return false;
        }
    }
    carry == 0 || each(word + bits.len(), carry)
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
    pub fn set(&mut self, pattern: &Pattern) {
        let bits = &mut self.bits;
        pattern.over(|word, mask| {
            if word >= bits.len() {
                bits.resize(word + 1, 0);
            }
            bits[word] |= mask;
            true
        });
    }

    pub fn clear(&mut self, pattern: &Pattern) {
        pattern.over(|word, mask| {
            if let Some(bits) = self.bits.get_mut(word) {
                *bits &= !mask;
            }
            true
        });
    }

    pub fn has_any(&self, pattern: &Pattern) -> bool {
        !pattern.over(|word, mask| self.bits.get(word).is_none_or(|bits| bits & mask == 0))
    }

    pub fn has_all(&self, pattern: &Pattern) -> bool {
        pattern.over(|word, mask| self.bits.get(word).is_some_and(|bits| bits & mask == mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_exact() {
        let bytes = Bytes { runs: vec![(0, 8), (12, 16), (400, 404)], dims: vec![(3, 1000), (2, 36)] };
        let mut want = std::collections::BTreeSet::new();
        for (i, j) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)] {
            for word in [0, 4, 12, 400] {
                want.insert(20 + word + 1000 * i + 36 * j);
            }
        }
        let pattern = Pattern::new(&bytes, 20);
        let mut words = Words::default();
        assert!(!words.has_any(&pattern));
        words.set(&pattern);
        assert!(words.has_all(&pattern));
        for word in 0..1000 {
            let alone = Pattern::run(4 * word, 4 * word + 4);
            assert_eq!(words.has_any(&alone), want.contains(&(4 * word)), "{word}");
        }
        words.clear(&Pattern::run(20, 24));
        assert!(words.has_any(&pattern) && !words.has_all(&pattern));
        words.clear(&pattern);
        assert!(!words.has_any(&Pattern::run(0, 4000)));
    }
}
