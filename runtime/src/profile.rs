//! Times of the steps of a run, collected by each thread for itself.
//!
//! A run without a profile costs one branch a step; with one, two looks at the clock a step. Threads write counters of their
//! own, so nothing is shared while the run goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Accumulated times of every step on every thread.
pub struct Profile {
    steps: usize,
    threads: Vec<Vec<Slot>>,
    runs: AtomicU64,
}

/// Written by one thread only; atomic so that a report may be made at any time.
#[derive(Default)]
struct Slot {
    busy_nanos: AtomicU64,
    wait_nanos: AtomicU64,
    calls: AtomicU64,
}

/// What is known of one step, summed over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTime {
    /// Runs that reached the step.
    pub calls: u64,
    /// From the first thread's start of the step to its end, barrier included: these sum up to the run's time.
    pub wall_nanos: u64,
    /// Time in the kernel, summed over the threads.
    pub busy_nanos: u64,
    /// Time in the kernel of the thread that had most of it; far above the mean means a poor partition.
    pub slowest_nanos: u64,
}

impl Profile {
    pub fn new(steps: usize, threads: usize) -> Profile {
        let threads = (0..threads).map(|_| (0..steps).map(|_| Slot::default()).collect()).collect();
        Profile { steps, threads, runs: AtomicU64::new(0) }
    }

    /// Counts one finished run.
    pub fn finish_run(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs counted so far.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// The times of all steps, in order.
    pub fn steps(&self) -> Vec<StepTime> {
        let mut times = vec![StepTime::default(); self.steps];
        for (number, thread) in self.threads.iter().enumerate() {
            for (time, slot) in times.iter_mut().zip(thread) {
                let busy = slot.busy_nanos.load(Ordering::Relaxed);
                time.busy_nanos += busy;
                time.slowest_nanos = time.slowest_nanos.max(busy);
                if number == 0 {
                    time.calls = slot.calls.load(Ordering::Relaxed);
                    time.wall_nanos = busy + slot.wait_nanos.load(Ordering::Relaxed);
                }
            }
        }
        times
    }

    /// Forgets everything, for instance the warm-up runs.
    pub fn reset(&self) {
        self.runs.store(0, Ordering::Relaxed);
        for slot in self.threads.iter().flatten() {
            slot.busy_nanos.store(0, Ordering::Relaxed);
            slot.wait_nanos.store(0, Ordering::Relaxed);
            slot.calls.store(0, Ordering::Relaxed);
        }
    }
}

/// One thread's watch over one run. Each lap ends where the next begins.
pub struct Stopwatch<'a> {
    /// This thread's counters and the time of the last lap; None if nothing is recorded.
    running: Option<(&'a [Slot], Instant)>,
}

impl<'a> Stopwatch<'a> {
    /// Starts for thread `thread`; without a profile, or for a thread it has no place for, all laps do nothing.
    pub fn start(profile: Option<&'a Profile>, thread: usize) -> Stopwatch<'a> {
        let slots = profile.and_then(|profile| profile.threads.get(thread));
        Stopwatch { running: slots.map(|slots| (slots.as_slice(), Instant::now())) }
    }

    /// The time since the last lap was work on `step`.
    #[inline]
    pub fn worked(&mut self, step: usize) {
        if self.running.is_some() {
            self.lap(step, |slot, nanos| {
                slot.calls.fetch_add(1, Ordering::Relaxed);
                slot.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
            });
        }
    }

    /// The time since the last lap was waiting for the other threads after `step`.
    #[inline]
    pub fn waited(&mut self, step: usize) {
        if self.running.is_some() {
            self.lap(step, |slot, nanos| {
                slot.wait_nanos.fetch_add(nanos, Ordering::Relaxed);
            });
        }
    }

    #[cold]
    fn lap(&mut self, step: usize, record: impl Fn(&Slot, u64)) {
        if let Some((slots, last)) = &mut self.running {
            let now = Instant::now();
            let nanos = u64::try_from((now - *last).as_nanos()).unwrap_or(u64::MAX);
            *last = now;
            if let Some(slot) = slots.get(step) {
                record(slot, nanos);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_add_up() {
        let profile = Profile::new(2, 2);
        let start = Instant::now();
        for thread in 0..2 {
            let mut watch = Stopwatch::start(Some(&profile), thread);
            std::thread::sleep(std::time::Duration::from_millis(2));
            watch.worked(0);
            watch.waited(0);
            watch.worked(1);
            watch.worked(7);
        }
        profile.finish_run();
        let total = start.elapsed().as_nanos() as u64;
        let steps = profile.steps();
        assert_eq!((profile.runs(), steps[0].calls, steps[1].calls), (1, 1, 1));
        assert!(steps[0].busy_nanos >= 4_000_000 && steps[0].slowest_nanos <= steps[0].busy_nanos);
        assert!(steps.iter().map(|s| s.wall_nanos).sum::<u64>() <= total);
        profile.reset();
        assert_eq!(profile.steps(), [StepTime::default(); 2]);
    }

    #[test]
    fn nothing_is_recorded_without_a_profile() {
        let mut watch = Stopwatch::start(None, 0);
        watch.worked(0);
        watch.waited(0);
        let profile = Profile::new(1, 1);
        Stopwatch::start(Some(&profile), 5).worked(0);
        assert_eq!(profile.steps()[0], StepTime::default());
    }
}
