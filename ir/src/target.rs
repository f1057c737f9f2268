//! `Target`: what the compiler may know of a CPU, as plain data from a table.
//!
//! Nothing here is measured and nothing depends on the thread count, so that plans are reproducible: two machines
//! of one level compile the same code. Detection of the level that the running CPU supports belongs to `runtime`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A CPU level and the constants that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    pub level: Level,
    /// f32 lanes of the kernels' vectors, and channels of a block in blocked layouts.
    pub lanes: u8,
    /// Vector registers that a tile may fill.
    pub vector_registers: u8,
    /// Fused multiply-add is one instruction; else kernels multiply, round, and add.
    pub fma: bool,
    pub l1_bytes: u32,
    pub l2_bytes: u32,
    pub l3_bytes: u32,
}

/// Feature levels: the x86-64 psABI's, and 64-bit ARM with NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// SSE2.
    X86V1,
    /// SSE4.2, SSSE3, POPCNT.
    X86V2,
    /// AVX2, FMA, BMI.
    X86V3,
    /// AVX-512 F, BW, CD, DQ, VL.
    X86V4,
    Aarch64,
}

impl Target {
    /// The target of a level, for kernels of 128-bit vectors.
    pub fn new(level: Level) -> Target {
        let (vector_registers, fma) = match level {
            Level::X86V1 | Level::X86V2 => (16, false),
            // The 128-bit emitter encodes 16 registers even where AVX-512 has 32.
            Level::X86V3 | Level::X86V4 => (16, true),
            Level::Aarch64 => (32, true),
        };
        Target {
            level,
            lanes: 4,
            vector_registers,
            fma,
            l1_bytes: 32 << 10,
            l2_bytes: 1 << 20,
            l3_bytes: 16 << 20,
        }
    }

    /// The target of a level, for kernels of its widest vectors: 256 bits at v3, 512 at v4, else as `new`.
    pub fn wide(level: Level) -> Target {
        let target = Target::new(level);
        match level {
            Level::X86V3 => Target { lanes: 8, ..target },
            Level::X86V4 => Target { lanes: 16, vector_registers: 32, l1_bytes: 48 << 10, ..target },
            Level::X86V1 | Level::X86V2 | Level::Aarch64 => target,
        }
    }
}

impl Level {
    pub const ALL: [Level; 5] = [Level::X86V1, Level::X86V2, Level::X86V3, Level::X86V4, Level::Aarch64];

    /// The name that `--target` takes.
    pub fn name(self) -> &'static str {
        match self {
            Level::X86V1 => "x86-64-v1",
            Level::X86V2 => "x86-64-v2",
            Level::X86V3 => "x86-64-v3",
            Level::X86V4 => "x86-64-v4",
            Level::Aarch64 => "aarch64",
        }
    }
}

/// A target level that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown target level `{0}`; known are x86-64-v1, x86-64-v2, x86-64-v3, x86-64-v4, aarch64")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        Level::ALL
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| UnknownLevel(name.to_string()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert!("x86-64-v5".parse::<Level>().is_err());
    }
}
