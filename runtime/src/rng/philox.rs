//! Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
//!
//! A block of four random words is a pure function of a 64-bit key and a 128-bit counter, so any part of a stream can be
//! generated alone, in any order, by any number of threads.

/// Multipliers and Weyl increments of the published generator.
const M0: u64 = 0xD251_1F53;
const M1: u64 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;
const ROUNDS: usize = 10;
const LOW: u64 = 0xFFFF_FFFF;

/// The key of one stream of random words: 64 bits that depend on a seed and on the name of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey(pub u64);

impl StreamKey {
    /// The key of parameter `name` under `seed`: `mix(mix(seed + φ) ^ fnv1a(name))`.
    ///
    /// `fnv1a` is the 64-bit FNV-1a hash of the name's UTF-8 bytes, `φ` is 0x9E3779B97F4A7C15 and `mix` is the finaliser of
    /// splitmix64. Names that differ in one letter and seeds that differ by one so give unrelated keys.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        StreamKey(mix(mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ hash))
    }
}

/// The finaliser of splitmix64: a bijection in which every input bit changes half of the output bits.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The four words at `counter` (its low 64 bits) of `lane` (its high 64 bits).
///
/// Each of the four state words lives in the low half of a `u64` whose high half may hold rubbish: the multiplications
/// mask their operands, which x86 vector code gets for free, and a round then needs no lane shuffles at all.
#[inline(always)]
pub(super) fn block(key: StreamKey, counter: u64, lane: u64) -> [u32; 4] {
    let (mut k0, mut k1) = (key.0 as u32, (key.0 >> 32) as u32);
    let (mut c0, mut c1, mut c2, mut c3) = (counter, counter >> 32, lane, lane >> 32);
    for _ in 0..ROUNDS {
        let p0 = M0 * (c0 & LOW);
        let p1 = M1 * (c2 & LOW);
        (c0, c1, c2, c3) = ((p1 >> 32) ^ c1 ^ u64::from(k0), p1, (p0 >> 32) ^ c3 ^ u64::from(k1), p0);
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0 as u32, c1 as u32, c2 as u32, c3 as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        block(StreamKey(join(key[0], key[1])), join(counter[0], counter[1]), join(counter[2], counter[3]))
    }

    /// The vectors of Random123's `kat_vectors` for philox4x32 with 10 rounds.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]
        );
        assert_eq!(
            philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0]),
            [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
        );
    }

    #[test]
    fn keys_depend_on_seed_and_name() {
        let keys = [
            StreamKey::new(0, ""),
            StreamKey::new(1, ""),
            StreamKey::new(0, "a"),
            StreamKey::new(1, "a"),
            StreamKey::new(0, "conv1.weight"),
            StreamKey::new(0, "conv2.weight"),
            StreamKey::new(u64::MAX, "a"),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b), "key {i} is not unique");
        }
        // The key is part of the file-free model format: a model with a seed must mean the same weights for ever.
        assert_eq!(StreamKey::new(7, "conv1.weight"), StreamKey(3_153_026_065_295_852_012));
    }
}
