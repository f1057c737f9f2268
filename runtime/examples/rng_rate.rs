//! Prints how many random normals a core makes in a second: `cargo run --release -p rectify-runtime --example rng_rate`.

use std::time::Instant;

use rectify_runtime::rng::{Distribution, fill};

fn main() {
    let mut out = vec![0.0f32; 1 << 22];
    for (name, distribution) in [
        ("normal", Distribution::Normal { mean: 0.0, std: 0.05 }),
        ("uniform", Distribution::Uniform { lo: -1.0, hi: 1.0 }),
        ("truncated normal", Distribution::TruncNormal { mean: 0.0, std: 1.0, lo: -2.0, hi: 2.0 }),
    ] {
        let best = (0..10)
            .map(|run| {
                let start = Instant::now();
                fill(&distribution, run, "weight", 0, &mut out);
                start.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        println!("{name}: {:.0} M/s a core", out.len() as f64 / best / 1e6);
    }
}
