//! Settings of the system's allocator, for programs that compile models.

/// Bytes that the heap grows by, and that a block has at most to come from it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const STEP_BYTES: usize = 32 << 20;

/// Lets the heap of this process grow in large steps of huge pages, and keep what is freed. Compiling allocates and frees many
/// small things: with a page from the system for each few of them, a quarter of the time goes there.
///
/// For the first lines of a program: settings of the whole process are no library's to change, and other threads that
/// allocate already would not be served. Systems other than Linux with glibc keep theirs.
pub fn grow_in_large_steps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use crate::arena::ALIGN_BYTES;
        const BYTES: libc::c_int = STEP_BYTES as libc::c_int;
        // Safety: sets numbers of the allocator. One heap serves all threads: what one frees, another takes without a fault.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_TOP_PAD, BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_MMAP_THRESHOLD, BYTES);
        }
        // Safety: asks for the heap's end and changes nothing.
        let end = || unsafe { libc::sbrk(0) };
        let start = end().map_addr(|address| address.next_multiple_of(ALIGN_BYTES));
        // The first step.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(STEP_BYTES / 8)));
        let bytes = end().addr().saturating_sub(start.addr());
        // Safety: only a hint, on what the heap has grown by; it changes no memory. Refused, everything works, slower.
        unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
    }
}
