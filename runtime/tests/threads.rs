//! Parameters and their reading do not depend on how many threads share the work.

use rectify_runtime::rng::{Distribution, fill};
use rectify_runtime::{Arena, Pool};

/// Generates a parameter with each thread filling its contiguous share, as sessions do.
fn generate(distribution: Distribution, elements: usize, threads: usize) -> Vec<u32> {
    let arena = Arena::new(elements * 4).unwrap();
    let base = arena.base().expose_provenance();
    let pool = Pool::new(threads);
    pool.region(threads, |place| {
        let share = place.share(elements);
        let start = std::ptr::with_exposed_provenance_mut::<f32>(base).wrapping_add(share.start);
        // Safety: the shares are disjoint ranges of the arena, which lives until the region is over.
        let part = unsafe { std::slice::from_raw_parts_mut(start, share.len()) };
        fill(&distribution, 42, "features.0.weight", share.start as u64, part);
    })
    .unwrap();
    arena.slice::<f32>(0, elements).unwrap().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn generated_parameters_have_the_same_bits_for_1_2_3_and_7_threads() {
    for distribution in [
        Distribution::Normal { mean: 0.0, std: 0.06 },
        Distribution::Uniform { lo: -0.1, hi: 0.1 },
        Distribution::TruncNormal { mean: 0.0, std: 0.02, lo: -2.0, hi: 2.0 },
    ] {
        let want = generate(distribution, 100_003, 1);
        for threads in [2, 3, 7] {
            assert_eq!(
                generate(distribution, 100_003, threads),
                want,
                "{distribution:?} on {threads} threads"
            );
        }
    }
}
