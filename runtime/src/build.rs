//! Loops that are built for several vector widths: one source, and the widest build that this CPU runs.
//!
//! The base level, AVX2 and AVX-512 are LLVM's vectoriser on the same code. Such loops use only IEEE operations that the
//! compiler neither contracts nor reorders, so that all builds give the same bits.

/// A build of a loop; a value above the base level exists only where the CPU has the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Build(Width);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Base,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// F, DQ, VL and BW.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Build {
    /// Every build this CPU can run, the widest last.
    pub fn available() -> impl Iterator<Item = Build> {
        let mut widths = vec![Width::Base];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                widths.push(Width::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
            {
                widths.push(Width::Avx512);
            }
        }
        widths.into_iter().map(Build)
    }

    /// The widest build this CPU can run.
    pub fn best() -> Build {
        static BEST: std::sync::OnceLock<Build> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Build::available().last().unwrap_or(Build(Width::Base)))
    }

    /// What the CPU was found to have.
    pub fn width(self) -> Width {
        self.0
    }
}
