//! Places of tensors in the arena.
//!
//! Offline dynamic storage allocation: every tensor is alive over an interval of steps; tensors that are alive
//! together must not overlap. Three greedy orders are tried and the smallest arena kept: by size, by breadth (tensors
//! of the fullest steps first) and in program order. Each tensor goes into the tightest gap that holds it.

/// A tensor to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub bytes: i64,
    /// First and last step that touches it.
    pub first: usize,
    pub last: usize,
}

/// The arena's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arena {
    /// Multiples of 64, one per tensor.
    pub offsets: Vec<i64>,
    pub bytes: i64,
    /// Most bytes alive at one step.
    pub lower_bound: i64,
}

const LINE: i64 = 64;
const PAGE: i64 = 4096;

/// Places all tensors.
pub(crate) fn place(tensors: &[Interval]) -> Arena {
    let lines = |bytes: i64| (bytes + LINE - 1) / LINE * LINE;
    let steps = tensors.iter().map(|t| t.last + 1).max().unwrap_or(0);
    let mut alive = vec![0i64; steps];
    for t in tensors {
        alive[t.first..=t.last].iter_mut().for_each(|sum| *sum += lines(t.bytes));
    }
    let lower_bound = alive.iter().copied().max().unwrap_or(0);
    // Tensors that follow each other a multiple of the page apart would fight for the same cache sets.
    let sizes: Vec<i64> = tensors
        .iter()
        .map(|t| lines(t.bytes))
        .map(|bytes| if bytes >= 4 * PAGE && bytes % PAGE == 0 { bytes + LINE } else { bytes })
        .collect();

    let program: Vec<usize> = (0..tensors.len()).collect();
    let mut by_size = program.clone();
    by_size.sort_by_key(|i| (std::cmp::Reverse(sizes[*i]), tensors[*i].first, *i));
    let mut by_breadth = Vec::with_capacity(tensors.len());
    let mut fullest: Vec<usize> = (0..steps).collect();
    fullest.sort_by_key(|s| (std::cmp::Reverse(alive[*s]), *s));
    let mut seen = vec![false; tensors.len()];
    for step in fullest {
        for &i in &by_size {
            if !seen[i] && (tensors[i].first..=tensors[i].last).contains(&step) {
                seen[i] = true;
                by_breadth.push(i);
            }
        }
    }
    let best = [by_size, by_breadth, program]
        .iter()
        .map(|order| greedy(tensors, &sizes, order))
        .min_by_key(|(_, bytes)| *bytes);
    let (offsets, bytes) = best.unwrap_or_default();
    Arena { offsets, bytes, lower_bound }
}

/// Places tensors in this order, each in the tightest gap between those that are alive with it.
fn greedy(tensors: &[Interval], sizes: &[i64], order: &[usize]) -> (Vec<i64>, i64) {
    let mut offsets = vec![0; tensors.len()];
    // Placed tensors by ascending offset.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    let mut bytes = 0;
    for &i in order {
        let t = tensors[i];
        let mut tightest: Option<(i64, i64)> = None;
        let mut end = 0;
        for &j in &placed {
            let other = tensors[j];
            if other.last < t.first || t.last < other.first {
                continue;
            }
            let gap = offsets[j] - end;
            if gap >= sizes[i] && tightest.is_none_or(|(best, _)| gap < best) {
                tightest = Some((gap, end));
            }
            end = end.max(offsets[j] + sizes[j]);
        }
        offsets[i] = tightest.map_or(end, |(_, offset)| offset);
        bytes = bytes.max(offsets[i] + sizes[i]);
        let at = placed.partition_point(|j| offsets[*j] <= offsets[i]);
        placed.insert(at, i);
    }
    (offsets, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tensors: &[(i64, usize, usize)]) -> Arena {
        let tensors: Vec<Interval> = tensors
            .iter()
            .map(|(bytes, first, last)| Interval { bytes: *bytes, first: *first, last: *last })
            .collect();
        let arena = place(&tensors);
        for (i, a) in tensors.iter().enumerate() {
            assert_eq!(arena.offsets[i] % LINE, 0);
            assert!(arena.offsets[i] + a.bytes <= arena.bytes);
            for (j, b) in tensors.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let apart = arena.offsets[i] + a.bytes <= arena.offsets[j]
                    || arena.offsets[j] + b.bytes <= arena.offsets[i];
                assert!(!together || apart, "{i} and {j} overlap");
            }
        }
        assert!(arena.lower_bound <= arena.bytes);
        arena
    }

    #[test]
    fn a_chain_needs_two_tensors() {
        let chain: Vec<_> = (0..10).map(|i| (1000, i, i + 1)).collect();
        let arena = check(&chain);
        assert_eq!((arena.bytes, arena.lower_bound), (2048, 2048));
    }

    #[test]
    fn long_lived_tensors_do_not_fragment() {
        let arena = check(&[(640, 0, 9), (128, 0, 1), (128, 1, 2), (1280, 2, 3), (64, 3, 9), (1280, 4, 5)]);
        assert_eq!(arena.bytes, arena.lower_bound);
        assert_eq!(check(&[]).bytes, 0);
    }

    #[test]
    fn big_tensors_are_not_a_page_apart() {
        let arena = check(&[(1 << 16, 0, 1), (1 << 16, 1, 2)]);
        assert_ne!((arena.offsets[0] - arena.offsets[1]) % PAGE, 0);
    }
}
