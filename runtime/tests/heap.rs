//! What a program with large steps of the heap has freed, it has again without the system's help.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::hint::black_box;

/// Pages that the system gave to this thread so far.
fn faults() -> i64 {
    // Safety: a struct of integers, which the call fills.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_minflt
    }
}

fn use_bytes(bytes: usize) -> i64 {
    let before = faults();
    black_box(vec![1u8; bytes]);
    faults() - before
}

#[test]
fn freed_memory_is_kept() {
    const BYTES: usize = 8 << 20;
    rectify_runtime::heap::grow_in_large_steps();
    use_bytes(BYTES);
    let again = use_bytes(BYTES);
    assert!(again < 64, "{again} faults for {BYTES} bytes that were there before");
}
