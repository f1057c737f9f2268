//! What the operating system tells: affinity, cores behind the logical processors, and caches where the CPU is silent.

use super::Cache;

/// Logical processors that this process may run on.
pub(super) fn allowed_processors() -> Option<usize> {
    affinity().map(|list| list.len())
}

/// Physical cores that this process may run on: two hardware threads of a core count once. None where the system does not
/// tell.
pub fn allowed_cores() -> Option<usize> {
    let mut cores: Vec<(u64, u64)> = affinity()?.into_iter().map(core_of).collect::<Option<_>>()?;
    cores.sort_unstable();
    cores.dedup();
    (!cores.is_empty()).then_some(cores.len())
}

/// Package and core of a logical processor.
fn core_of(processor: usize) -> Option<(u64, u64)> {
    let folder = format!("/sys/devices/system/cpu/cpu{processor}/topology");
    let number =
        |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).ok()?.trim().parse::<u64>().ok();
    Some((number("physical_package_id")?, number("core_id")?))
}

#[cfg(target_os = "linux")]
fn affinity() -> Option<Vec<usize>> {
    // Machines with more processors than the fixed set holds get an error here and fall back to the standard library.
    // Safety: an all-zero set is a value of this plain struct, the call writes at most its size, and the bit test stays
    // below the number of bits.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return None;
        }
        Some((0..8 * size_of::<libc::cpu_set_t>()).filter(|&i| libc::CPU_ISSET(i, &set)).collect())
    }
}

#[cfg(not(target_os = "linux"))]
fn affinity() -> Option<Vec<usize>> {
    None
}

/// The model name in /proc/cpuinfo.
pub(super) fn model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Data and unified caches of the first processor as sysfs has them.
pub(super) fn caches() -> Vec<Cache> {
    const MOST_CACHES: usize = 16;
    let mut caches: Vec<Cache> = (0..MOST_CACHES).filter_map(cache).collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

fn cache(index: usize) -> Option<Cache> {
    let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).ok();
    if read("type")?.trim() == "Instruction" {
        return None;
    }
    let line_bytes = read("coherency_line_size").and_then(|text| text.trim().parse().ok()).unwrap_or(64);
    Some(Cache {
        level: read("level")?.trim().parse().ok()?,
        bytes: size_bytes(read("size")?.trim())?,
        line_bytes,
    })
}

/// Sizes such as `48K` or `2M`.
fn size_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size_bytes("48K"), Some(48 << 10));
        assert_eq!(size_bytes("2M"), Some(2 << 20));
        assert_eq!(size_bytes("512"), Some(512));
        assert_eq!(size_bytes("12Q"), None);
        assert_eq!(size_bytes("K"), None);
    }
}
