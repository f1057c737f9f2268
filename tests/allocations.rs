//! A session's run allocates nothing, on one thread and on several.

use rectify::{Model, Pool, Tensor};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// Safety: hands everything on to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // Safety: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Safety: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // Safety: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test in this program, so that no other allocates meanwhile.
#[test]
fn runs_allocate_nothing() {
    let model = Model::parse(
        "rect 1
        model net(x: f32[N, 3, 40, 40], y: f32[N, 4]) -> (map: f32[N, 8, 40, 40], sum: f32[N, 4]) {
            let map = x |> conv(8, kernel: 3, pad: 1) as a |> prelu as a |> conv(8, kernel: 3, pad: 1) as b |> prelu as b
            (map, (map |> global_avg_pool |> flatten |> dense(4) as c) + y)
        }",
    )
    .unwrap();
    let x = Tensor::new([2, 3, 40, 40], vec![0.5f32; 9600]).unwrap();
    let y = Tensor::new([2, 4], vec![1f32; 8]).unwrap();
    for threads in [1, 3] {
        let compiled = model.compiler().pool(&Pool::new(threads)).compile().unwrap();
        let mut session = compiled.session();
        let inputs = [("x", x.view()), ("y", y.view())];
        let mut runs = |count| {
            for _ in 0..count {
                session.run(&inputs).unwrap();
            }
        };
        runs(3);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        runs(20);
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(after - before, 0, "{threads} threads");
    }
}
