//! The barrier of a region: a count and a generation; waiting threads spin for a short time, then sleep.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

pub(super) struct Barrier {
    threads: u32,
    spin_nanos: u64,
    arrived: AtomicU32,
    /// Completed barriers. Threads wait for it to change.
    generation: AtomicU32,
    /// A thread panicked.
    poisoned: AtomicBool,
    /// A thread returned from the body: it will never arrive again.
    left: AtomicBool,
    sleepers: AtomicU32,
    lock: Mutex<()>,
    wake: Condvar,
}

/// The payload with which waiting threads unwind when the region is beyond repair.
pub(super) struct Broken {
    pub(super) mismatch: bool,
}

impl Barrier {
    pub(super) fn new(threads: usize, spin_nanos: u64) -> Barrier {
        Barrier {
            threads: threads as u32,
            spin_nanos,
            arrived: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            poisoned: AtomicBool::new(false),
            left: AtomicBool::new(false),
            sleepers: AtomicU32::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads as usize
    }

    pub(super) fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            // Reset before the generation moves: nobody arrives for the next barrier until it has.
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(generation.wrapping_add(1), Ordering::SeqCst);
            self.wake_sleepers();
            return;
        }
        let done = || self.generation.load(Ordering::SeqCst) != generation || self.broken();
        if !spin_until(self.spin_nanos, done) {
            let mut guard = self.lock.lock().unwrap_or_else(|e| e.into_inner());
            // Counted before the last look at the generation: either that look sees the change, or the thread that makes
            // the change sees the sleeper and takes the lock to wake it.
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while !done() {
                guard = self.wake.wait(guard).unwrap_or_else(|e| e.into_inner());
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        if self.generation.load(Ordering::SeqCst) == generation {
            let mismatch = !self.poisoned.load(Ordering::SeqCst);
            // Not `panic!`: the cause has been reported already, the hook need not print again.
            std::panic::resume_unwind(Box::new(Broken { mismatch }));
        }
    }

    /// This thread panicked: those who wait for it must not wait for ever.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
        self.wake_sleepers();
    }

    /// This thread has returned: those who still wait for it have passed more barriers than it has.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
        self.wake_sleepers();
    }

    fn broken(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst) || self.left.load(Ordering::SeqCst)
    }

    fn wake_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(|e| e.into_inner()));
            self.wake.notify_all();
        }
    }
}

/// Spins until `done` or until the time is over; whether it is done.
pub(super) fn spin_until(nanos: u64, done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    if nanos == 0 {
        return false;
    }
    let start = Instant::now();
    let limit = Duration::from_nanos(nanos);
    loop {
        // A pause takes 10 to 140 cycles and a look at the clock about 60, so a few pauses a look keep both cheap.
        for _ in 0..8 {
            std::hint::spin_loop();
            if done() {
                return true;
            }
        }
        if start.elapsed() >= limit {
            return false;
        }
    }
}
