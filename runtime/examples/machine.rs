//! Prints what is known of this CPU and its measured limits: `cargo run --release -p rectify-runtime --example machine`.

use std::time::{Duration, Instant};

use rectify_runtime::Pool;
use rectify_runtime::cpu::{Cpu, measure};
use rectify_runtime::rng::{Distribution, StreamKey, fill_keyed};

fn main() {
    let cpu = Cpu::detect();
    println!("{cpu:#?}");
    for peak in measure::peaks(Duration::from_millis(100)) {
        println!("{} bit: {:.1} GFLOP/s", peak.vector_bits, peak.gflops);
    }
    for b in measure::bandwidths(&cpu, Duration::from_millis(100)) {
        println!("{} ({} KiB): {:.1} GB/s", b.source, b.working_set_bytes >> 10, b.gigabytes_per_second);
    }
    let pool = Pool::global();
    let threads = pool.threads();
    let barriers = 2000;
    for _ in 0..3 {
        let start = Instant::now();
        let result = pool.region(threads, |place| (0..barriers).for_each(|_| place.wait()));
        let nanos = start.elapsed().as_nanos() / barriers;
        println!("{threads} threads: a barrier takes {nanos} ns ({result:?})");
    }
    let start = Instant::now();
    for _ in 0..barriers {
        pool.region(threads, |_| ()).expect("nothing panics");
    }
    println!("an empty region takes {} ns", start.elapsed().as_nanos() / barriers);
    for threads in 1..=threads {
        let elements = 178_000_000;
        let arena = rectify_runtime::Arena::new(elements * 4).expect("memory for the weights");
        let start = Instant::now();
        let base = arena.base() as usize;
        let key = StreamKey::new(0, "weight");
        pool.region(threads, |place| {
            let share = place.share(elements);
            // Safety: shares are disjoint parts of the arena.
            let part =
                unsafe { std::slice::from_raw_parts_mut((base as *mut f32).add(share.start), share.len()) };
            fill_keyed(&Distribution::Normal { mean: 0.0, std: 0.1 }, key, share.start as u64, part);
        })
        .expect("nothing panics");
        println!("{elements} normals into fresh memory on {threads} threads: {:?}", start.elapsed());
    }
}
