//! What this CPU is: name, instruction set level, caches, cores, and what may be used of them.

pub mod measure;
mod topology;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

pub use topology::allowed_cores;

/// Facts about this machine, for `doctor` and for reports of benchmarks.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// The marketing name, or the architecture's name if the CPU does not tell.
    pub model: String,
    /// The x86-64 level; None on other architectures.
    pub level: Option<Level>,
    /// Names of the instruction set extensions that matter here, as the compiler spells them.
    pub features: Vec<&'static str>,
    /// Data and unified caches, from the first level on.
    pub caches: Vec<Cache>,
    /// Logical processors that affinity allows to this process.
    pub processors: usize,
    /// Physical cores among them.
    pub cores: usize,
    /// Threads that compute by default: what affinity and the cgroup's quota allow.
    pub threads: usize,
}

/// A data or unified cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// 1 is the nearest.
    pub level: u8,
    pub bytes: u64,
    pub line_bytes: u32,
}

/// The micro-architecture levels of the x86-64 psABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    V1,
    V2,
    V3,
    V4,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::V1 => "x86-64-v1",
            Level::V2 => "x86-64-v2",
            Level::V3 => "x86-64-v3",
            Level::V4 => "x86-64-v4",
        })
    }
}

impl Cpu {
    /// Asks the CPU and the system.
    pub fn detect() -> Cpu {
        let processors = topology::allowed_processors().unwrap_or_else(|| {
            // Without an affinity mask to read, the standard library's answer is the best there is.
            std::thread::available_parallelism().map_or(1, usize::from)
        });
        #[cfg(target_arch = "x86_64")]
        let (model, level, features, caches) =
            (x86::model(), Some(x86::level()), x86::features(), x86::caches());
        #[cfg(not(target_arch = "x86_64"))]
        let (model, level, features, caches) = (None, None, Vec::new(), Vec::new());
        Cpu {
            model: model.or_else(topology::model).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            level,
            features,
            caches: if caches.is_empty() { topology::caches() } else { caches },
            processors,
            cores: allowed_cores().unwrap_or(processors),
            threads: crate::pool::default_threads(),
        }
    }

    /// The size of the data cache of this level, if there is one.
    pub fn cache_bytes(&self, level: u8) -> Option<u64> {
        self.caches.iter().find(|cache| cache.level == level).map(|cache| cache.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_consistent() {
        let cpu = Cpu::detect();
        assert!(!cpu.model.trim().is_empty());
        assert!(1 <= cpu.cores && cpu.cores <= cpu.processors);
        assert!(1 <= cpu.threads && cpu.threads <= cpu.processors);
        assert!(
            cpu.caches.windows(2).all(|pair| pair[0].level < pair[1].level && pair[0].bytes < pair[1].bytes)
        );
        if let Some(level) = cpu.level {
            assert_eq!(
                cpu.features.contains(&"avx512f"),
                level == Level::V4 || !cpu.features.contains(&"avx512vl")
            );
            assert!(level < Level::V3 || (cpu.features.contains(&"avx2") && cpu.features.contains(&"fma")));
        }
    }

    #[test]
    fn levels_print_as_options_spell_them() {
        let names: Vec<_> = [Level::V1, Level::V2, Level::V3, Level::V4].map(|l| l.to_string()).into();
        assert_eq!(names, ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"]);
    }
}
