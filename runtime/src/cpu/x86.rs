//! Detection by `cpuid`.

use std::arch::x86_64::{__cpuid, __cpuid_count};

use super::{Cache, Level};

/// The brand string, if the CPU has one.
pub(super) fn model() -> Option<String> {
    const FIRST: u32 = 0x8000_0002;
    const LAST: u32 = 0x8000_0004;
    if __cpuid(0x8000_0000).eax < LAST {
        return None;
    }
    let mut bytes = Vec::with_capacity(48);
    for leaf in FIRST..=LAST {
        let r = __cpuid(leaf);
        for register in [r.eax, r.ebx, r.ecx, r.edx] {
            bytes.extend_from_slice(&register.to_le_bytes());
        }
    }
    let text: String = String::from_utf8_lossy(&bytes).trim_matches(['\0', ' ']).to_owned();
    (!text.is_empty()).then_some(text)
}

/// One row a feature, so that a name is spelled once.
macro_rules! features {
    ($($name:tt)*) => {
        /// The extensions that this CPU and its operating system offer.
        pub(super) fn features() -> Vec<&'static str> {
            let mut names = Vec::new();
            $(if is_x86_feature_detected!($name) { names.push($name) })*
            names
        }
    };
}
features! {
    "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "f16c" "fma" "bmi1" "bmi2" "lzcnt" "movbe" "avx2" "avxvnni"
    "avx512f" "avx512cd" "avx512bw" "avx512dq" "avx512vl" "avx512ifma" "avx512vbmi" "avx512vbmi2" "avx512vnni"
    "avx512bitalg" "avx512vpopcntdq" "avx512bf16" "avx512fp16"
}

/// The highest level of the psABI whose features are all there.
pub(super) fn level() -> Level {
    let v2 = is_x86_feature_detected!("sse4.2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("cmpxchg16b");
    let v3 = v2
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("movbe");
    let v4 = v3
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (v4, v3, v2) {
        (true, ..) => Level::V4,
        (_, true, _) => Level::V3,
        (_, _, true) => Level::V2,
        _ => Level::V1,
    }
}

/// Data and unified caches by the deterministic cache parameters: leaf 4 on Intel, 0x8000001D on AMD, the same format.
pub(super) fn caches() -> Vec<Cache> {
    const INTEL: u32 = 4;
    const AMD: u32 = 0x8000_001D;
    const MOST_CACHES: u32 = 16;
    let mut caches = Vec::new();
    for leaf in [INTEL, AMD] {
        let limit = __cpuid(leaf & 0x8000_0000).eax;
        if leaf > limit || !caches.is_empty() {
            continue;
        }
        for index in 0..MOST_CACHES {
            let r = __cpuid_count(leaf, index);
            let (none, instruction) = (r.eax & 31 == 0, r.eax & 31 == 2);
            if none {
                break;
            }
            if instruction {
                continue;
            }
            let line_bytes = (r.ebx & 0xFFF) + 1;
            let partitions = u64::from((r.ebx >> 12) & 0x3FF) + 1;
            let ways = u64::from(r.ebx >> 22) + 1;
            let sets = u64::from(r.ecx) + 1;
            let level = ((r.eax >> 5) & 7) as u8;
            caches.push(Cache { level, bytes: u64::from(line_bytes) * partitions * ways * sets, line_bytes });
        }
    }
    caches.sort_by_key(|cache| cache.level);
    caches
}
