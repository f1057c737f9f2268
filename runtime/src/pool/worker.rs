//! A worker thread with a mailbox for one job, and the latch on which a region's caller waits for its workers.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

use super::barrier::spin_until;

/// One thread's part of a region: pointers to the caller's stack, valid until the latch is counted down.
pub(super) struct Job {
    run: *const (),
    /// Calls the closure behind `run` with a thread number.
    call: unsafe fn(*const (), usize),
    index: usize,
    latch: *const Latch,
}

impl Job {
    pub(super) fn new<F: Fn(usize) + Sync>(run: &F, index: usize, latch: &Latch) -> Job {
        unsafe fn call<F: Fn(usize)>(run: *const (), index: usize) {
            // Safety: `run` was made from a `&F` of this very `F`, and `Worker::start` asks that it still live.
            unsafe { (*run.cast::<F>())(index) }
        }
        Job { run: (run as *const F).cast(), call: call::<F>, index, latch }
    }
}

pub(super) struct Worker {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

const EMPTY: u32 = 0;
const FULL: u32 = 1;
const CLOSED: u32 = 2;

struct Mailbox {
    state: AtomicU32,
    /// Written by the holder of the lease while the state is `EMPTY`, read by the worker while it is `FULL`.
    job: UnsafeCell<Option<Job>>,
    spin_nanos: Arc<AtomicU64>,
}

// Safety: `job` is handed over by the state: only one side may touch it at any time. The pointers inside are to `Sync`
// things (`Job::new` asks it of the closure).
unsafe impl Send for Mailbox {}
// Safety: as above.
unsafe impl Sync for Mailbox {}

impl Worker {
    pub(super) fn spawn(number: usize, spin_nanos: Arc<AtomicU64>) -> std::io::Result<Worker> {
        let mailbox =
            Arc::new(Mailbox { state: AtomicU32::new(EMPTY), job: UnsafeCell::new(None), spin_nanos });
        let theirs = mailbox.clone();
        let thread =
            std::thread::Builder::new().name(format!("rectify-{number}")).spawn(move || theirs.serve())?;
        Ok(Worker { mailbox, thread: Some(thread) })
    }

    /// Hands the job over and wakes the worker.
    ///
    /// # Safety
    /// The worker must be idle and leased to the caller, and everything the job points to must live until its latch has
    /// been counted down by this worker. The job's function must not unwind.
    pub(super) unsafe fn start(&self, job: Job) {
        // Safety: the worker is idle, so the state is `EMPTY` and the lease makes this the only writer.
        unsafe { *self.mailbox.job.get() = Some(job) };
        self.mailbox.state.store(FULL, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.mailbox.state.store(CLOSED, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A pool whose last handle is dropped by one of its own workers cannot join that worker; it ends by itself.
            if thread.thread().id() != std::thread::current().id() {
                // The worker's loop cannot panic, so the result says nothing.
                let _ = thread.join();
            }
        }
    }
}

impl Mailbox {
    fn serve(&self) {
        loop {
            let called = || self.state.load(Ordering::Acquire) != EMPTY;
            if !spin_until(self.spin_nanos.load(Ordering::Relaxed), called) {
                while !called() {
                    std::thread::park();
                }
            }
            if self.state.load(Ordering::Acquire) == CLOSED {
                return;
            }
            // Safety: the state is `FULL`, so the job is this thread's.
            let Some(job) = (unsafe { (*self.job.get()).take() }) else { return };
            // Empty before the latch is counted down: after that the worker may be leased and called again. A pool that
            // is being dropped has no running regions, so `CLOSED` is not overwritten.
            self.state.store(EMPTY, Ordering::Release);
            // Safety: `Worker::start` asks that the closure and the latch live until `count_down`.
            unsafe {
                (job.call)(job.run, job.index);
                Latch::count_down(job.latch);
            }
        }
    }
}

/// Counts the workers of a region that are not done yet; the caller waits for zero.
pub(super) struct Latch {
    running: AtomicUsize,
    caller: Thread,
    spin_nanos: u64,
}

impl Latch {
    pub(super) fn new(workers: usize, spin_nanos: u64) -> Latch {
        Latch { running: AtomicUsize::new(workers), caller: std::thread::current(), spin_nanos }
    }

    /// # Safety
    /// `latch` must be alive; it may be gone once this has counted down.
    unsafe fn count_down(latch: *const Latch) {
        // Safety: alive by contract until the subtraction below, which is its last use.
        unsafe {
            let caller = (*latch).caller.clone();
            if (*latch).running.fetch_sub(1, Ordering::AcqRel) == 1 {
                caller.unpark();
            }
        }
    }

    pub(super) fn wait(&self) {
        let done = || self.running.load(Ordering::Acquire) == 0;
        if !spin_until(self.spin_nanos, done) {
            while !done() {
                std::thread::park();
            }
        }
    }
}
