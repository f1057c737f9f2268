//! What the ends of an axis do to correlations, position by position.
//!
//! A padded convolution sees fewer taps at the ends, and two neighbours there share fewer of them: they are less alike than two
//! positions inside. Layer by layer this moves inwards. In maps of 14 or 7 positions most windows of a pool are concerned, and a
//! mean over all positions would make those inside too little alike.

/// So many positions from either end have factors of their own.
pub const DEPTH: usize = 8;

/// For pairs of positions along one axis, one of them at least near an end: their correlation as a multiple of that of two
/// positions as far from each other, but far from the ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Border {
    size: usize,
    reach: usize,
    /// Over the near positions, then over distances `-reach ..= reach`. Empty where all factors are 1.
    factors: Vec<f64>,
}

impl Border {
    /// An axis whose ends change nothing.
    pub fn plain(size: usize, reach: usize) -> Border {
        Border { size, reach, factors: Vec::new() }
    }

    /// `factor` of every pair of a near position and another within reach.
    pub fn from_fn(size: usize, reach: usize, mut factor: impl FnMut(usize, usize) -> f64) -> Border {
        let mut border = Border::plain(size, reach);
        for p in 0..size {
            if border.index(p).is_none() {
                continue;
            }
            for d in -(reach as i64)..=reach as i64 {
                let q = usize::try_from(p as i64 + d).ok().filter(|q| *q < size);
                // Twice or nothing is the most that a border does; more is a quotient of two noises.
                border.factors.push(q.map_or(1.0, |q| factor(p, q).clamp(0.0, 2.0)));
            }
        }
        border
    }

    pub fn is_plain(&self) -> bool {
        self.factors.is_empty()
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Of two positions; what lies outside of the axis counts as inside of it.
    pub fn factor(&self, p: i64, q: i64) -> f64 {
        if self.factors.is_empty() {
            return 1.0;
        }
        let edge = |p: i64| p.min(self.size as i64 - 1 - p);
        let (near, other) = if edge(p) <= edge(q) { (p, q) } else { (q, p) };
        let Some(index) = usize::try_from(near).ok().and_then(|p| self.index(p)) else { return 1.0 };
        let r = self.reach as i64;
        self.factors[index * (2 * self.reach + 1) + ((other - near).clamp(-r, r) + r) as usize]
    }

    /// The number of a near position among these.
    fn index(&self, p: usize) -> Option<usize> {
        let count = self.size.min(2 * DEPTH);
        let start = count.div_ceil(2);
        match p {
            p if p < start => Some(p),
            p if p >= self.size => None,
            p => (p + count).checked_sub(self.size).filter(|index| *index >= start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_have_factors_and_the_middle_has_none() {
        let border = Border::from_fn(40, 3, |p, q| 0.5 + (p + q) as f64 / 100.0);
        assert_eq!(border.factor(0, 2), 0.52);
        assert_eq!(border.factor(2, 0), 0.52);
        assert_eq!(border.factor(39, 38), 0.5 + 77.0 / 100.0);
        assert_eq!(border.factor(20, 21), 1.0);
        assert_eq!(border.factor(20, 50), 1.0);
        // The nearer one's row: the other lies beyond the depth.
        assert_eq!(border.factor(9, 7), 0.5 + 16.0 / 100.0);
    }

    #[test]
    fn every_position_of_a_short_axis_is_near() {
        for size in [1, 2, 7, 15, 16, 17] {
            let near = (0..size).filter(|p| Border::plain(size, 1).index(*p).is_some()).count();
            assert_eq!(near, size.min(16));
        }
    }
}
