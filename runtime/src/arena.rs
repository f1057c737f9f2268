//! One zeroed block of memory for all intermediate values of a specialisation.
//!
//! It begins at a 2 MiB boundary and asks for huge pages, as a network's working set otherwise spends its time in TLB
//! misses. The pages go back to the system when the arena is dropped.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// Alignment of every arena: the size of a huge page on x86-64 and of most others.
pub const ALIGN_BYTES: usize = 2 << 20;

/// The system has no such block of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot get {bytes} bytes of memory for the arena")]
pub struct ArenaError {
    pub bytes: usize,
}

/// A zero-initialised, 2 MiB aligned block. Kernels reach it through raw pointers; which bytes a thread may touch at which
/// step is the plan's business.
pub struct Arena {
    base: NonNull<u8>,
    bytes: usize,
    owner: PhantomData<u8>,
}

// Safety: the arena is plain memory that it owns; shared access goes through raw pointers whose users keep the rules.
unsafe impl Send for Arena {}
// Safety: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// A block of at least `bytes` zero bytes; no memory is used until it is touched.
    pub fn new(bytes: usize) -> Result<Arena, ArenaError> {
        if bytes == 0 {
            // Dangling but aligned, so that offset 0 of an empty arena looks like that of any other.
            let dangling = std::ptr::without_provenance_mut(ALIGN_BYTES);
            let base = NonNull::new(dangling).ok_or(ArenaError { bytes })?;
            return Ok(Arena { base, bytes, owner: PhantomData });
        }
        let base = system::allocate(bytes).ok_or(ArenaError { bytes })?;
        Ok(Arena { base, bytes, owner: PhantomData })
    }

    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The first byte.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The byte at `offset_bytes`, which may be the end.
    ///
    /// # Panics
    /// If the offset lies outside: the plan's verifier has checked them all.
    pub fn at(&self, offset_bytes: usize) -> *mut u8 {
        assert!(offset_bytes <= self.bytes, "offset {offset_bytes} of an arena of {} bytes", self.bytes);
        // Safety: within the block or one past its end.
        unsafe { self.base.as_ptr().add(offset_bytes) }
    }

    /// `count` elements at `offset_bytes`, or None if they do not lie inside or are not aligned.
    pub fn slice<T: Plain>(&self, offset_bytes: usize, count: usize) -> Option<&[T]> {
        let pointer = self.checked::<T>(offset_bytes, count)?;
        // Safety: inside the block, aligned, and any bytes are a `T`. Whoever writes through `base` or `at` (which takes
        // unsafe code) has to do so while no slice is alive.
        Some(unsafe { std::slice::from_raw_parts(pointer, count) })
    }

    /// [`slice`](Self::slice), for writing.
    pub fn slice_mut<T: Plain>(&mut self, offset_bytes: usize, count: usize) -> Option<&mut [T]> {
        let pointer = self.checked::<T>(offset_bytes, count)?;
        // Safety: as in `slice`, and `&mut self` makes it the only access.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer, count) })
    }

    fn checked<T: Plain>(&self, offset_bytes: usize, count: usize) -> Option<*mut T> {
        let end = count.checked_mul(size_of::<T>())?.checked_add(offset_bytes)?;
        (end <= self.bytes && offset_bytes.is_multiple_of(align_of::<T>()))
            .then(|| self.at(offset_bytes).cast())
    }

    /// Asks for small pages instead of huge ones where there are none yet.
    pub fn take_small_pages(&self) {
        if self.bytes > 0 {
            system::small_pages(self.base, self.bytes);
        }
    }

    /// Touches the pages of a byte range, so that no page fault falls into the first run. Ranges may be touched by several
    /// threads at once, which also places them near those threads.
    pub fn touch(&self, range: std::ops::Range<usize>) {
        const PAGE: usize = 4096;
        let end = range.end.min(self.bytes);
        let mut offset = range.start;
        while offset < end {
            // Safety: inside the block. An atomic "or" with nothing makes the page present and changes no data.
            unsafe {
                std::sync::atomic::AtomicU8::from_ptr(self.at(offset))
                    .fetch_or(0, std::sync::atomic::Ordering::Relaxed)
            };
            offset = (offset | (PAGE - 1)) + 1;
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // Safety: allocated in `new` with this very size, and nobody can use it any more.
            unsafe { system::free(self.base, self.bytes) };
        }
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("bytes", &self.bytes).finish()
    }
}

/// Types for which any bytes are a value.
///
/// # Safety
/// No padding, no invalid bit patterns, alignment at most [`ALIGN_BYTES`].
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($t:ty)*) => { $(
        // Safety: a primitive number (or a transparent wrapper of one).
        unsafe impl Plain for $t {}
    )* };
}
plain!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 half::f16 half::bf16);

#[cfg(unix)]
mod system {
    use std::ptr::NonNull;

    use super::ALIGN_BYTES;

    /// Blocks from here on ask for huge pages; smaller ones would mostly waste them.
    const HUGE_FROM_BYTES: usize = ALIGN_BYTES;

    fn mapped_bytes(bytes: usize) -> Option<usize> {
        const PAGE_MULTIPLE: usize = 64 << 10;
        bytes.checked_next_multiple_of(if bytes >= HUGE_FROM_BYTES { ALIGN_BYTES } else { PAGE_MULTIPLE })
    }

    pub(super) fn allocate(bytes: usize) -> Option<NonNull<u8>> {
        let bytes = mapped_bytes(bytes)?;
        let mapped = bytes.checked_add(ALIGN_BYTES)?;
        if mapped > isize::MAX as usize {
            return None;
        }
        // Safety: a fresh private mapping; no existing memory is touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return None;
        }
        let before = address.addr().wrapping_neg() % ALIGN_BYTES;
        let after = ALIGN_BYTES - before;
        // Safety: both ends are whole pages of the mapping just made, outside of the part that is returned. A failure
        // leaves reserved addresses behind, no memory.
        unsafe {
            if before > 0 {
                libc::munmap(address, before);
            }
            if after > 0 {
                libc::munmap(address.byte_add(before + bytes), after);
            }
            let base = address.byte_add(before);
            #[cfg(target_os = "linux")]
            if bytes >= HUGE_FROM_BYTES {
                // Only a hint: without huge pages everything works, slower.
                libc::madvise(base, bytes, libc::MADV_HUGEPAGE);
            }
            NonNull::new(base.cast())
        }
    }

    /// Takes back the hint of `allocate`.
    pub(super) fn small_pages(base: NonNull<u8>, bytes: usize) {
        #[cfg(target_os = "linux")]
        if let Some(bytes) = mapped_bytes(bytes) {
            // Safety: only a hint; it changes no memory.
            unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (base, bytes);
    }

    /// # Safety
    /// `base` must come from `allocate(bytes)` and not be used again.
    pub(super) unsafe fn free(base: NonNull<u8>, bytes: usize) {
        if let Some(bytes) = mapped_bytes(bytes) {
            // Safety: the whole of the mapping that `allocate` left.
            unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::alloc::Layout;
    use std::ptr::NonNull;

    use super::ALIGN_BYTES;

    pub(super) fn allocate(bytes: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, ALIGN_BYTES).ok()?;
        // Safety: the size is not zero, `Arena::new` has seen to that.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
    }

    pub(super) fn small_pages(_: NonNull<u8>, _: usize) {}

    /// # Safety
    /// `base` must come from `allocate(bytes)` and not be used again.
    pub(super) unsafe fn free(base: NonNull<u8>, bytes: usize) {
        if let Ok(layout) = Layout::from_size_align(bytes, ALIGN_BYTES) {
            // Safety: the layout of `allocate`.
            unsafe { std::alloc::dealloc(base.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_zero() {
        for bytes in [1, 4096, ALIGN_BYTES - 1, ALIGN_BYTES, 3 * ALIGN_BYTES + 5] {
            let mut arena = Arena::new(bytes).unwrap();
            assert_eq!(arena.base().addr() % ALIGN_BYTES, 0);
            let all = arena.slice_mut::<u8>(0, bytes).unwrap();
            assert!(all.iter().all(|&b| b == 0));
            all.fill(0xA5);
            arena.touch(0..bytes);
            assert_eq!(arena.slice::<u8>(bytes - 1, 1).unwrap(), [0xA5]);
        }
    }

    #[test]
    fn slices_are_checked() {
        let mut arena = Arena::new(64).unwrap();
        arena.slice_mut::<f32>(16, 2).unwrap().copy_from_slice(&[1.0, 2.0]);
        assert_eq!(arena.slice::<f32>(16, 2).unwrap(), [1.0, 2.0]);
        assert!(arena.slice::<f32>(60, 1).is_some());
        assert!(arena.slice::<f32>(61, 1).is_none());
        assert!(arena.slice::<f32>(64, 1).is_none());
        assert!(arena.slice::<f64>(8, usize::MAX).is_none());
        assert!(arena.slice::<f64>(4, 1).is_none());
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for bytes in [usize::MAX, isize::MAX as usize, 1 << 60] {
            assert_eq!(Arena::new(bytes).unwrap_err(), ArenaError { bytes });
        }
        assert!(Arena::new(0).unwrap().is_empty());
    }

    /// Memory must go back: the blocks together are far more than any machine's address space or memory would hold.
    #[cfg(target_os = "linux")]
    #[test]
    fn dropped_blocks_go_back_to_the_system() {
        let resident = || -> usize {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        for _ in 0..50 {
            let arena = Arena::new(16 << 20).unwrap();
            arena.touch(0..16 << 20);
        }
        assert!(resident() < before + (200 << 20));
    }
}
