//! Measured limits of one core: f32 multiply-add rate and read bandwidth. They stand in reports only; no decision of the
//! compiler depends on them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Cpu;
use crate::arena::Arena;

/// The multiply-add rate at one vector width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    pub vector_bits: u32,
    /// A multiply-add counts as two.
    pub gflops: f64,
}

/// The read bandwidth of one core from a working set of a certain size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bandwidth {
    /// What the working set was meant to come from.
    pub source: &'static str,
    pub working_set_bytes: usize,
    pub gigabytes_per_second: f64,
}

/// The peak at each vector width that the CPU has, narrowest first, each measured for about `time`.
///
/// Empty where no loop is written for the architecture or the CPU has no fused multiply-add.
pub fn peaks(time: Duration) -> Vec<Peak> {
    #[cfg(target_arch = "x86_64")]
    {
        x86::multiply_add_loops()
            .map(|(vector_bits, flops_per_round, run)| {
                let rounds_per_second = best_rate(time, 20_000, run);
                Peak { vector_bits, gflops: rounds_per_second * flops_per_round / 1e9 }
            })
            .collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = time;
        Vec::new()
    }
}

/// Read bandwidth from each cache level and from memory, each measured for about `time`. The memory set is the last one.
///
/// A memory set needs up to 512 MiB for the moment; if the system has no such block it is left out.
pub fn bandwidths(cpu: &Cpu, time: Duration) -> Vec<Bandwidth> {
    const MEMORY_SET: usize = 512 << 20;
    let bytes = |level| cpu.cache_bytes(level).and_then(|bytes| usize::try_from(bytes).ok());
    let (l1, l2, l3) = (bytes(1).unwrap_or(32 << 10), bytes(2).unwrap_or(512 << 10), bytes(3));
    let mut sets = vec![("L1", l1 / 2), ("L2", l2 / 2)];
    if let Some(l3) = l3.filter(|&l3| l3 >= 4 * l2) {
        // Large enough to miss L2, small enough to be kept in a cache that other cores share.
        sets.push(("L3", (l3 / 2).min(8 * l2)));
    }
    sets.push(("memory", MEMORY_SET.min(l3.unwrap_or(l2).saturating_mul(8)).max(64 << 20)));
    sets.into_iter()
        .filter_map(|(source, set_bytes)| {
            let set_bytes = set_bytes / 4096 * 4096;
            let arena = Arena::new(set_bytes).ok()?;
            arena.touch(0..set_bytes);
            let words = arena.slice::<u64>(0, set_bytes / 8)?;
            let reads_per_second = best_rate(time, 1, |rounds| {
                for _ in 0..rounds {
                    black_box(sum(black_box(words)));
                }
            });
            let gigabytes_per_second = reads_per_second * set_bytes as f64 / 1e9;
            Some(Bandwidth { source, working_set_bytes: set_bytes, gigabytes_per_second })
        })
        .collect()
}

/// Rounds a second of the fastest of several equal parts of `time`: the others were disturbed.
fn best_rate(time: Duration, first_rounds: u64, run: impl Fn(u64)) -> f64 {
    const PARTS: u32 = 8;
    let part = time / PARTS;
    let measure = |rounds: u64| {
        let start = Instant::now();
        run(rounds);
        start.elapsed().max(Duration::from_nanos(1))
    };
    let mut rounds = first_rounds.max(1);
    let mut taken = measure(rounds);
    while taken < part && rounds < u64::MAX / 2 {
        rounds *= 2;
        taken = measure(rounds);
    }
    let fastest = (1..PARTS).map(|_| measure(rounds)).fold(taken, Duration::min);
    rounds as f64 / fastest.as_secs_f64()
}

/// Reads every word once, with the widest vectors of the CPU.
fn sum(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // Safety: detected.
            return unsafe { x86::sum_512(words) };
        }
        if is_x86_feature_detected!("avx2") {
            // Safety: detected.
            return unsafe { x86::sum_256(words) };
        }
    }
    sum_lanes(words)
}

/// Eight vectors' worth of independent sums, so that neither latency nor the adders are the limit.
#[inline(always)]
fn sum_lanes(words: &[u64]) -> u64 {
    const LANES: usize = 64;
    let mut sums = [0u64; LANES];
    for block in words.as_chunks::<LANES>().0 {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |total, sum| total.wrapping_add(*sum))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_512(words: &[u64]) -> u64 {
        super::sum_lanes(words)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn sum_256(words: &[u64]) -> u64 {
        super::sum_lanes(words)
    }

    /// Vector bits, floating-point operations a round, and the loop, for each width that the CPU has.
    pub(super) fn multiply_add_loops() -> impl Iterator<Item = (u32, f64, fn(u64))> {
        let fma = is_x86_feature_detected!("fma");
        let wide = is_x86_feature_detected!("avx512f");
        let flops = |bits: u32| f64::from(bits / 32) * 2.0 * CHAINS as f64;
        [
            // Safety (all three): the entry is kept only if the feature was detected.
            (fma, 128, (|n| unsafe { run_128(n) }) as fn(u64)),
            (fma, 256, |n| unsafe { run_256(n) }),
            (wide, 512, |n| unsafe { run_512(n) }),
        ]
        .into_iter()
        .filter(|entry| entry.0)
        .map(move |(_, bits, run)| (bits, flops(bits), run))
    }

    /// Independent accumulators: two units times a latency of four or five need ten; sixteen registers minus two
    /// constants hold twelve with room to spare.
    const CHAINS: usize = 12;

    macro_rules! multiply_add_loop {
        ($name:ident, $features:literal, $set:ident, $fma:ident, $add:ident) => {
            #[target_feature(enable = $features)]
            fn $name(rounds: u64) {
                // A fixed point near one, so that the values stay ordinary numbers for ever.
                let (scale, step) = ($set(black_box(0.5)), $set(black_box(0.5)));
                let mut sums = [$set(black_box(1.0)); CHAINS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $fma(*sum, scale, step);
                    }
                }
                black_box(sums.into_iter().fold(step, |total, sum| $add(total, sum)));
            }
        };
    }
    multiply_add_loop!(run_128, "avx,fma", _mm_set1_ps, _mm_fmadd_ps, _mm_add_ps);
    multiply_add_loop!(run_256, "avx,fma", _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps);
    multiply_add_loop!(run_512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_read_every_whole_block() {
        let words: Vec<u64> = (0..640).collect();
        assert_eq!(sum(&words), 640 * 639 / 2);
        assert_eq!(sum_lanes(&words), sum(&words));
    }

    #[test]
    fn measurements_are_numbers() {
        for peak in peaks(Duration::from_micros(200)) {
            assert!(peak.gflops.is_finite() && peak.gflops > 0.0, "{peak:?}");
        }
        let mut cpu = Cpu::detect();
        cpu.caches.clear();
        for bandwidth in bandwidths(&cpu, Duration::from_micros(200)) {
            assert!(bandwidth.gigabytes_per_second.is_finite() && bandwidth.gigabytes_per_second > 0.0);
        }
    }
}
