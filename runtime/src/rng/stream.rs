//! Random numbers one after another, for draws whose number is not known beforehand.

use super::lanes::{normal_pair, sin_cos_turn, unit};
use super::philox::{StreamKey, block};

/// The words of one lane under a key, in order. Streams of different lanes are independent; the same lane gives the same
/// bits on every machine, so work that is keyed by lane may be done in any order by any number of threads.
#[derive(Clone, Debug)]
pub struct Stream {
    key: StreamKey,
    lane: u64,
    counter: u64,
    words: [u32; 4],
}

impl Stream {
    pub fn new(key: StreamKey, lane: u64) -> Stream {
        Stream { key, lane, counter: 0, words: [0; 4] }
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        let place = (self.counter % 4) as usize;
        if place == 0 {
            self.words = block(self.key, self.counter / 4, self.lane);
        }
        self.counter += 1;
        self.words[place]
    }

    /// Uniform between the bounds, which it never reaches unless rounding does.
    pub fn range(&mut self, lo: f32, hi: f32) -> f32 {
        lo + (hi - lo) * unit(self.word())
    }

    /// One of `0..count`, each equally likely; `count` is not zero.
    pub fn below(&mut self, count: u32) -> u32 {
        // Lemire's method: the high word of a product, but for the few low words that would favour some results.
        let least = count.wrapping_neg() % count;
        loop {
            let product = u64::from(self.word()) * u64::from(count);
            if product as u32 >= least {
                return (product >> 32) as u32;
            }
        }
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.word() >> 31 == 1
    }

    /// Sine and cosine of a uniform angle.
    pub fn direction(&mut self) -> (f32, f32) {
        sin_cos_turn(self.word())
    }

    /// Two independent standard normals.
    pub fn normals(&mut self) -> (f32, f32) {
        let radius = self.word();
        normal_pair(radius, self.word())
    }

    /// Puts the items into a random order, each equally likely (Fisher and Yates). Takes at most 2³² items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(lane: u64) -> Stream {
        Stream::new(StreamKey::new(5, "stream"), lane)
    }

    #[test]
    fn a_stream_is_its_lane_of_blocks() {
        let (key, mut words) = (StreamKey::new(5, "stream"), stream(3));
        let got: Vec<u32> = (0..8).map(|_| words.word()).collect();
        assert_eq!(got, [block(key, 0, 3), block(key, 1, 3)].concat());
        assert_ne!(got[0], stream(4).word());
    }

    #[test]
    fn draws_are_uniform() {
        let mut draws = stream(0);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[draws.below(7) as usize] += 1);
        // Five standard deviations of a binomial count.
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 470), "{counts:?}");
        let heads = (0..10_000).filter(|_| draws.coin()).count();
        assert!(heads.abs_diff(5_000) < 250, "{heads}");
        let mean = (0..10_000).map(|_| draws.range(2.0, 4.0)).sum::<f32>() / 10_000.0;
        assert!((mean - 3.0).abs() < 0.03, "{mean}");
        let squares = (0..10_000).map(|_| draws.normals()).map(|(a, b)| a * a + b * b).sum::<f32>();
        assert!((squares / 20_000.0 - 1.0).abs() < 0.05, "{squares}");
        let (sin, cos) = draws.direction();
        assert!((sin * sin + cos * cos - 1.0).abs() < 1e-6);
        assert_eq!(draws.below(1), 0);
    }

    #[test]
    fn every_order_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for lane in 0..12_000 {
            let mut items = [0, 1, 2];
            stream(lane).shuffle(&mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert!(counts.len() == 6 && counts.values().all(|c| c.abs_diff(2_000) < 205), "{counts:?}");
    }
}
