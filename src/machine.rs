//! The machine: what it is, what it reaches, and what this process has taken of it.

use rectify_ir::target::Target;
use std::time::Duration;

pub use crate::compiler::native_level;
pub use rectify_ir::target::Level as TargetLevel;
pub use rectify_runtime::cpu::measure::{Bandwidth, Peak, bandwidths, peaks};
pub use rectify_runtime::cpu::{Cache, Cpu};
pub use rectify_runtime::heap::grow_in_large_steps;

/// What the compiler knows of a level.
pub fn target_of(level: TargetLevel) -> Target {
    Target::wide(level)
}

/// The multiply-add rate of one core at the vector width of this version's kernels, measured for about `time`.
pub fn peak_gflops(time: Duration) -> Option<f64> {
    let bits = 32 * u32::from(Target::wide(native_level()).lanes);
    peaks(time).into_iter().find(|p| p.vector_bits == bits).map(|p| p.gflops)
}

/// The most memory that this process has had resident so far, where the system tells.
pub fn peak_rss_bytes() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
    }
    #[cfg(not(target_os = "linux"))]
    None
}
