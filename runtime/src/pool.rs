//! The thread pool: one parallel region a run, every thread walks the same step list, barriers stand at true dependencies.
//!
//! Workers and waiting threads spin for a short time and then sleep; nothing idles busily. Concurrent callers share the
//! workers: a region gets those that are idle and runs with fewer threads if others are taken, on the caller's thread alone
//! if need be. So nobody waits for another caller, nested regions cannot deadlock, and results must not depend on the
//! number of threads (work is partitioned by the plan, not by the pool).

mod barrier;
mod worker;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use barrier::Barrier;
use worker::{Job, Latch, Worker};

/// How long a thread spins before it sleeps, unless [`Pool::set_spin`] says otherwise.
const DEFAULT_SPIN: Duration = Duration::from_micros(60);

/// A set of sleeping workers; cheap to clone, the workers end with the last clone.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    workers: Vec<Worker>,
    /// Indices of workers that no region holds.
    idle: Mutex<Vec<usize>>,
    spin_nanos: Arc<AtomicU64>,
}

/// A thread of a region panicked, or threads of a region disagreed on the number of barriers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    #[error("thread {thread} of a parallel region panicked: {message}")]
    Panic { thread: usize, message: String },
    #[error("threads of a parallel region passed different numbers of barriers")]
    Mismatch,
}

/// What the body of a region knows of its place.
pub struct Place<'a> {
    index: usize,
    barrier: &'a Barrier,
}

impl Place<'_> {
    /// This thread's number, below [`threads`](Self::threads); 0 is the caller.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The number of threads that the region really has.
    pub fn threads(&self) -> usize {
        self.barrier.threads()
    }

    /// Waits until every thread of the region is here. What they wrote before is visible after.
    ///
    /// Every thread must call this equally often. If another thread panics, this unwinds, and the region returns the error.
    pub fn wait(&self) {
        self.barrier.wait();
    }

    /// The contiguous part of `0..tasks` that is this thread's: sizes differ by at most one.
    pub fn share(&self, tasks: usize) -> std::ops::Range<usize> {
        let (threads, index) = (self.threads(), self.index);
        let (each, more) = (tasks / threads, tasks % threads);
        let begin = index * each + index.min(more);
        begin..begin + each + usize::from(index < more)
    }
}

impl Pool {
    /// A pool for regions of up to `threads` threads: the caller and `threads - 1` workers. One thread spawns nothing.
    ///
    /// If the system refuses some threads, the pool has fewer.
    pub fn new(threads: usize) -> Pool {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        // With more threads than processors, a spinning thread keeps the one it waits for from running.
        let spin = if threads > available { Duration::ZERO } else { DEFAULT_SPIN };
        let spin_nanos = Arc::new(AtomicU64::new(nanos(spin)));
        let workers: Vec<Worker> =
            (1..threads).map_while(|i| Worker::spawn(i, spin_nanos.clone()).ok()).collect();
        let idle = Mutex::new((0..workers.len()).rev().collect());
        Pool { inner: Arc::new(Inner { workers, idle, spin_nanos }) }
    }

    /// The pool of the process, with [`default_threads`] threads, started at its first use.
    pub fn global() -> &'static Pool {
        static GLOBAL: OnceLock<Pool> = OnceLock::new();
        GLOBAL.get_or_init(|| Pool::new(default_threads()))
    }

    /// The largest number of threads that a region can have.
    pub fn threads(&self) -> usize {
        self.inner.workers.len() + 1
    }

    /// How long threads spin before they sleep, at barriers and between regions. Zero sleeps at once.
    pub fn set_spin(&self, spin: Duration) {
        self.inner.spin_nanos.store(nanos(spin), Ordering::Relaxed);
    }

    /// Runs `body` on up to `threads` threads at once and returns when all are done.
    ///
    /// Nothing is allocated (up to 65 threads). The body must give the same results for any number of threads, as there may be fewer.
    pub fn region<F>(&self, threads: usize, body: F) -> Result<(), RegionError>
    where
        F: Fn(&Place<'_>) + Sync,
    {
        let wanted = threads.min(self.threads()).saturating_sub(1);
        let mut lease = Lease::take(&self.inner, wanted);
        let held = lease.count();
        let spin_nanos = self.inner.spin_nanos.load(Ordering::Relaxed);
        let barrier = Barrier::new(held + 1, spin_nanos);
        let failure = Mutex::new(None);
        let run = |index: usize| {
            let place = Place { index, barrier: &barrier };
            match std::panic::catch_unwind(AssertUnwindSafe(|| body(&place))) {
                Ok(()) => barrier.leave(),
                Err(payload) => {
                    barrier.poison();
                    let error = error_of(index, payload);
                    let mut failure = failure.lock().unwrap_or_else(|e| e.into_inner());
                    // The panic that started it says more than the barriers that it broke.
                    if !matches!(*failure, Some(RegionError::Panic { .. })) && error.is_some() {
                        *failure = error;
                    }
                }
            }
        };
        let latch = Latch::new(held, spin_nanos);
        for (i, worker) in lease.workers().enumerate() {
            // Safety: `latch.wait` below returns only after every worker is done with `run` and the latch itself, on all
            // paths, as `run` does not unwind; so both outlive their use.
            unsafe { worker.start(Job::new(&run, i + 1, &latch)) };
        }
        run(0);
        latch.wait();
        drop(lease);
        failure.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// The threads that this process may use: what affinity and the cgroup's quota allow, at most one a physical core.
///
/// Two hardware threads of one core share its vector units, so a second one adds nothing to dense arithmetic.
pub fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    allowed.min(crate::cpu::allowed_cores().unwrap_or(allowed)).max(1)
}

/// The workers of one region, given back when dropped.
struct Lease<'a> {
    inner: &'a Inner,
    taken: TakenSet,
}

/// Indices of workers as a bit set: up to 64 without allocation, beyond that a list.
#[derive(Default)]
struct TakenSet {
    bits: u64,
    more: Vec<usize>,
}

impl<'a> Lease<'a> {
    fn take(inner: &'a Inner, wanted: usize) -> Lease<'a> {
        let mut taken = TakenSet::default();
        if wanted > 0 {
            let mut idle = inner.idle.lock().unwrap_or_else(|e| e.into_inner());
            for _ in 0..wanted {
                match idle.pop() {
                    Some(index) if index < 64 => taken.bits |= 1 << index,
                    Some(index) => taken.more.push(index),
                    None => break,
                }
            }
        }
        Lease { inner, taken }
    }

    fn count(&self) -> usize {
        self.taken.bits.count_ones() as usize + self.taken.more.len()
    }

    fn workers(&mut self) -> impl Iterator<Item = &'a Worker> {
        let inner = self.inner;
        let bits = self.taken.bits;
        let low = (0..64).filter(move |i| bits >> i & 1 == 1);
        low.chain(self.taken.more.iter().copied()).map(move |i| &inner.workers[i])
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.count() == 0 {
            return;
        }
        let mut idle = self.inner.idle.lock().unwrap_or_else(|e| e.into_inner());
        idle.extend(self.taken.more.drain(..));
        // The lowest index comes out first next time, so that a small region always finds the same warm workers.
        idle.extend((0..64).rev().filter(|i| self.taken.bits >> i & 1 == 1));
    }
}

/// None for the unwinding of a broken barrier, whose cause is reported by the thread that broke it.
fn error_of(thread: usize, payload: Box<dyn std::any::Any + Send>) -> Option<RegionError> {
    if let Some(broken) = payload.downcast_ref::<barrier::Broken>() {
        return broken.mismatch.then_some(RegionError::Mismatch);
    }
    let message = payload
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    Some(RegionError::Panic { thread, message })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
