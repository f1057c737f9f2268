//! Flushing of denormal numbers to zero on one thread, for the time a guard lives.
//!
//! Denormals are kept by default, as IEEE 754 has them. Networks whose activations decay into them run many times slower on
//! some CPUs; a user who accepts zeros instead sets this on every thread that computes.

use std::marker::PhantomData;

/// Restores the thread's floating-point mode when dropped. It must be dropped on the thread that made it, so it is not
/// `Send`.
#[must_use = "the mode is restored when the guard is dropped"]
pub struct FlushDenormals {
    saved: Option<mode::Mode>,
    not_send: PhantomData<*const ()>,
}

impl FlushDenormals {
    /// Flushes from now on if `on`; otherwise does nothing.
    pub fn new(on: bool) -> FlushDenormals {
        let saved = on.then(|| {
            let saved = mode::get();
            mode::set(mode::flushing(saved));
            saved
        });
        FlushDenormals { saved, not_send: PhantomData }
    }

    /// Whether this platform can flush at all; elsewhere the guard has no effect.
    pub const fn supported() -> bool {
        cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        if let Some(saved) = self.saved {
            mode::set(saved);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod mode {
    use std::arch::asm;

    pub(super) type Mode = u32;
    const FLUSH_TO_ZERO: u32 = 1 << 15;
    const DENORMALS_ARE_ZERO: u32 = 1 << 6;

    pub(super) fn flushing(mode: Mode) -> Mode {
        mode | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO
    }

    pub(super) fn get() -> Mode {
        let mut mode: u32 = 0;
        // Safety: stores the 32-bit register to a local; every x86-64 CPU has it.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode
    }

    pub(super) fn set(mode: Mode) {
        // Safety: the value is one read from this register plus two defined bits, so no reserved bit is set. Code that the
        // compiler moves across this sees denormals or zeros, which both are within what the guard promises.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod mode {
    use std::arch::asm;

    pub(super) type Mode = u64;
    const FLUSH_TO_ZERO: u64 = 1 << 24;

    pub(super) fn flushing(mode: Mode) -> Mode {
        mode | FLUSH_TO_ZERO
    }

    pub(super) fn get() -> Mode {
        let mode: u64;
        // Safety: reads the floating-point control register.
        unsafe { asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack, preserves_flags)) };
        mode
    }

    pub(super) fn set(mode: Mode) {
        // Safety: the value is one read from this register plus one defined bit.
        unsafe { asm!("msr fpcr, {}", in(reg) mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod mode {
    pub(super) type Mode = ();

    pub(super) fn flushing(mode: Mode) -> Mode {
        mode
    }

    pub(super) fn get() -> Mode {}

    pub(super) fn set(_mode: Mode) {}
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[inline(never)]
    fn halve(x: f32) -> f32 {
        black_box(x) * black_box(0.5)
    }

    #[test]
    fn flushes_inside_the_guard_only() {
        assert!(halve(f32::MIN_POSITIVE) > 0.0);
        {
            let _outer = FlushDenormals::new(true);
            assert_eq!(halve(f32::MIN_POSITIVE) == 0.0, FlushDenormals::supported());
            {
                let _inner = FlushDenormals::new(true);
            }
            assert_eq!(halve(f32::MIN_POSITIVE) == 0.0, FlushDenormals::supported());
        }
        assert!(halve(f32::MIN_POSITIVE) > 0.0);
        let _off = FlushDenormals::new(false);
        assert!(halve(f32::MIN_POSITIVE) > 0.0);
    }
}
