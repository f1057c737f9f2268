//! Regions under stress: results, concurrent and nested callers, panics, mismatched barriers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A prefix-sum-like computation in which every step needs all of the step before.
fn steps(pool: &Pool, threads: usize, n: usize, rounds: usize) -> Vec<u64> {
    let buffers: [Vec<AtomicU64>; 2] =
        std::array::from_fn(|_| (0..n).map(|i| AtomicU64::new(i as u64)).collect());
    pool.region(threads, |place| {
        for round in 0..rounds {
            let (from, to) = (&buffers[round % 2], &buffers[(round + 1) % 2]);
            for i in place.share(n) {
                let sum = from[i].load(Ordering::Relaxed).wrapping_mul(3)
                    ^ from[(i * 7 + round) % n].load(Ordering::Relaxed);
                to[i].store(sum, Ordering::Relaxed);
            }
            place.wait();
        }
    })
    .unwrap();
    buffers[rounds % 2].iter().map(|v| v.load(Ordering::Relaxed)).collect()
}

#[test]
fn same_results_for_every_thread_count() {
    let want = steps(&Pool::new(1), 1, 101, 50);
    for threads in [2, 3, 7] {
        assert_eq!(steps(&Pool::new(threads), threads, 101, 50), want, "{threads} threads");
    }
}

#[test]
fn one_thread_spawns_nothing() {
    let pool = Pool::new(1);
    assert_eq!(pool.threads(), 1);
    let here = std::thread::current().id();
    pool.region(8, |place| {
        assert_eq!((place.index(), place.threads()), (0, 1));
        assert_eq!(std::thread::current().id(), here);
        place.wait();
    })
    .unwrap();
}

#[test]
fn shares_cover_the_tasks_once() {
    let pool = Pool::new(3);
    for tasks in [0, 1, 2, 3, 10] {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.region(3, |place| {
            for i in place.share(tasks) {
                counts[i].fetch_add(1, Ordering::Relaxed);
            }
        })
        .unwrap();
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    }
}

#[test]
fn many_short_regions_with_and_without_spinning() {
    for spin in [Duration::ZERO, Duration::from_micros(50)] {
        let pool = Pool::new(2);
        pool.set_spin(spin);
        let total = AtomicUsize::new(0);
        for _ in 0..2000 {
            pool.region(2, |place| {
                total.fetch_add(1, Ordering::Relaxed);
                place.wait();
                place.wait();
            })
            .unwrap();
        }
        assert_eq!(total.into_inner(), 4000);
    }
}

#[test]
fn concurrent_callers_all_finish_with_the_same_results() {
    let pool = Pool::new(3);
    let want = steps(&pool, 3, 64, 20);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(steps(&pool, 3, 64, 20), want);
                }
            });
        }
    });
    assert_eq!(pool.inner.idle.lock().unwrap().len(), 2, "all workers came back");
}

#[test]
fn nested_regions_run() {
    let pool = Pool::new(2);
    let total = AtomicUsize::new(0);
    pool.region(2, |place| {
        pool.region(2, |inner| {
            total.fetch_add(10 / inner.threads(), Ordering::Relaxed);
        })
        .unwrap();
        place.wait();
    })
    .unwrap();
    assert_eq!(total.into_inner(), 20);
}

#[test]
fn a_panic_ends_the_region_with_an_error_and_the_pool_lives_on() {
    let pool = Pool::new(3);
    for culprit in 0..3 {
        let error = pool
            .region(3, |place| {
                place.wait();
                if place.index() == culprit {
                    std::panic::panic_any(format!("thread {culprit} fails"));
                }
                place.wait();
                place.wait();
            })
            .unwrap_err();
        assert_eq!(error, RegionError::Panic { thread: culprit, message: format!("thread {culprit} fails") });
    }
    assert_eq!(steps(&pool, 3, 10, 3), steps(&Pool::new(1), 1, 10, 3));
}

#[test]
fn a_thread_that_skips_a_barrier_is_an_error_not_a_hang() {
    let pool = Pool::new(2);
    let error = pool.region(2, |place| {
        if place.index() == 1 {
            place.wait();
        }
    });
    assert_eq!(error, Err(RegionError::Mismatch));
}

#[test]
fn dropping_a_pool_ends_its_workers() {
    let flag = Arc::new(());
    for _ in 0..50 {
        let pool = Pool::new(4);
        let held = flag.clone();
        pool.region(4, move |_| assert!(Arc::strong_count(&held) > 1)).unwrap();
    }
    assert_eq!(Arc::strong_count(&flag), 1);
}
