//! `rectify doctor`: what this machine has, and what it reaches.

use super::Outcome;
use super::progress::Progress;
use super::table::{Table, bytes};
use rectify::machine::{Cpu, bandwidths, native_level, peaks};
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Long enough to be past the clock's start-up, short enough not to bore.
const MEASURE: Duration = Duration::from_millis(150);

pub fn run(args: &Args) -> Outcome {
    let cpu = Cpu::detect();
    let (peaks, bandwidths) = {
        let _progress = Progress::spinner("measuring");
        (peaks(MEASURE), bandwidths(&cpu, MEASURE))
    };
    if args.json {
        let text = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cpu": cpu.model,
            "level": native_level().to_string(),
            "features": cpu.features,
            "caches": cpu.caches.iter().map(|c| serde_json::json!({ "level": c.level, "bytes": c.bytes })).collect::<Vec<_>>(),
            "processors": cpu.processors,
            "cores": cpu.cores,
            "threads": cpu.threads,
            "peaks": peaks.iter().map(|p| serde_json::json!({ "vector_bits": p.vector_bits, "gflops": p.gflops })).collect::<Vec<_>>(),
            "bandwidths": bandwidths.iter().map(|b| serde_json::json!({ "source": b.source, "gb_per_s": b.gigabytes_per_second })).collect::<Vec<_>>(),
        });
        return Ok(std::io::stdout().write_all(format!("{text:#}\n").as_bytes())?);
    }
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("rectify", env!("CARGO_PKG_VERSION").into());
    line("cpu", cpu.model.clone());
    line("target", format!("{} (128-bit kernels)", native_level()));
    line("features", cpu.features.join(" "));
    line(
        "cores",
        format!("{}, {} processors, {} threads by default", cpu.cores, cpu.processors, cpu.threads),
    );
    let caches: Vec<_> = cpu.caches.iter().map(|c| format!("L{} {}", c.level, bytes(c.bytes))).collect();
    line("caches", caches.join(", "));
    let mut table = Table::new(&["one core, measured", ">rate"]);
    for peak in &peaks {
        table.row([
            format!("f32 multiply-add, {} bits", peak.vector_bits),
            format!("{:.1} GFLOP/s", peak.gflops),
        ]);
    }
    for b in &bandwidths {
        table.row([format!("read from {}", b.source), format!("{:.1} GB/s", b.gigabytes_per_second)]);
    }
    text.push('\n');
    text.push_str(&table.render());
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
