//! Code memory goes away with the last kernel. Alone in its process, since it counts the process's mappings.

#![cfg(target_os = "linux")]

use rectify_codegen::jit;
use rectify_ir::DType;
use rectify_ir::kernel::{Access, Compute, Descriptor, Nest, Program, Vectorise};
use rectify_ir::target::{Level, Target};

/// Anonymous executable mappings, writable and executable ones, and resident pages.
fn mappings() -> (usize, usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the kernel's list of mappings");
    let count = |mode: &str| {
        let fits = |line: &&str| {
            let mut fields = line.split_whitespace();
            fields.nth(1).is_some_and(|flags| flags.starts_with(mode)) && fields.nth(3).is_none()
        };
        maps.lines().filter(fits).count()
    };
    let pages = std::fs::read_to_string("/proc/self/statm").expect("the kernel's count of pages");
    let resident = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    (count("r-x"), count("rwx"), resident.expect("a number of pages"))
}

fn fill(value: f32) -> Descriptor {
    Descriptor::Nest(Nest {
        lanes: 4,
        compute: Compute::F32,
        element: DType::F32,
        output_dims: 1,
        reduce_dims: 0,
        task_dims: 1,
        vectorise: Vectorise::Output,
        output: vec![Access::One],
        scatter: vec![],
        operands: vec![],
        body: Program::constant(value.into()),
        reduce: None,
        finals: vec![],
        finalize: Program::acc(),
    })
}

#[test]
fn dropped_kernels_free_their_code() {
    let target = Target::new(Level::X86V3);
    let (before, _, _) = mappings();
    let kernel = jit::compile(&[&fill(1.0), &fill(2.0)], &target, 1).expect("legal kernels");
    let (alive, writable, _) = mappings();
    assert!(alive > before, "the test does not see code mappings");
    assert_eq!(writable, 0, "memory that is writable and executable");
    let last = kernel[1].clone();
    drop(kernel);
    assert_eq!(mappings().0, alive, "a living clone keeps the batch");
    drop(last);
    assert_eq!(mappings().0, before);
    let mut resident = 0;
    for round in 0..1000 {
        jit::compile(&[&fill(round as f32)], &target, 1).expect("a legal kernel");
        if round == 200 {
            resident = mappings().2;
        }
    }
    assert_eq!(mappings().0, before);
    let growth = mappings().2.saturating_sub(resident);
    assert!(growth < 400, "{growth} more resident pages after 800 more kernels");
}
