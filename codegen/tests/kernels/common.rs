//! Runs a kernel everywhere: by the tile interpreter with bounds checks, and by machine code at each level.

use rectify_codegen::jit;
use rectify_codegen::kernels;
use rectify_codegen::tile::interpret::{Region, interpret};
use rectify_ir::kernel::{Descriptor, Span};
use rectify_ir::target::{Level, Target};

/// Small reproducible random numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    pub fn float(&mut self) -> f32 {
        self.below(2001) as f32 / 1000.0 - 1.0
    }
}

/// What the output holds before the kernel runs; bytes that it does not store must keep it.
pub const UNTOUCHED: f32 = -777.0;

/// A call: buffers of exactly the bytes that the spans allow, in pointer order, the output first.
pub struct Call<'a> {
    pub kernel: &'a Descriptor,
    pub args: &'a [i64],
    pub tasks: i64,
    pub spans: &'a [Span],
    /// The inputs from pointer 1 on, as long as their spans or shorter.
    pub inputs: &'a [Vec<f32>],
    pub scratch_bytes: usize,
}

/// The targets that run kernels of so many lanes.
pub fn targets(lanes: u8) -> Vec<Target> {
    match lanes {
        4 => [Level::X86V1, Level::X86V2, Level::X86V3].map(Target::new).to_vec(),
        8 => vec![Target::wide(Level::X86V3)],
        _ => vec![Target::wide(Level::X86V4)],
    }
}

/// Whether this machine runs code of a target.
pub fn runs_here(target: &Target) -> bool {
    match target.level {
        Level::X86V1 | Level::X86V2 => true,
        Level::X86V3 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        Level::X86V4 => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
        }
        Level::Aarch64 => false,
    }
}

/// The output after running everywhere that the kernel's lanes and this machine allow; all ways must agree bit for
/// bit (any NaN equals any other), among those that fuse multiply-adds and among those that do not. The fused result
/// is returned.
pub fn run_everywhere(call: &Call) -> Vec<f32> {
    let mut fused = None;
    let mut separate = None;
    for target in targets(call.kernel.lanes()) {
        let judge = if target.fma { &mut fused } else { &mut separate };
        let expected = judge.get_or_insert_with(|| run(call, &target, None));
        let kernel = &jit::compile(&[call.kernel], &target, 1).expect("a legal kernel")[0];
        if !runs_here(&target) {
            continue;
        }
        let got = run(call, &target, Some(kernel));
        for (index, (got, want)) in got.iter().zip(expected.iter()).enumerate() {
            assert!(
                got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                "{}, {} lanes: element {index} is {got}, but the tile interpreter says {want}\n{}",
                target.level,
                target.lanes,
                call.kernel
            );
        }
    }
    fused.expect("a level with fused multiply-add")
}

/// Runs the two halves of the task range one after the other, in reverse.
fn run(call: &Call, target: &Target, kernel: Option<&jit::Kernel>) -> Vec<f32> {
    let floats = |span: &Span| {
        assert!(span.low_bytes >= 0, "{span:?}: these tests place everything after the pointer");
        (span.high_bytes as usize).div_ceil(4)
    };
    let over_read = call.kernel.over_read_bytes() / 4;
    let mut buffers = vec![vec![UNTOUCHED; floats(&call.spans[0])]];
    for (input, span) in call.inputs.iter().zip(&call.spans[1..]) {
        let mut buffer = input.clone();
        assert!(buffer.len() <= floats(span), "an input of {} floats for {span:?}", buffer.len());
        buffer.resize(floats(span) + over_read, f32::NAN);
        buffers.push(buffer);
    }
    assert_eq!(buffers.len(), call.spans.len(), "an input per span");
    assert_eq!(buffers.len(), call.kernel.pointers().len(), "a pointer per buffer");
    let pointers: Vec<*mut u8> = buffers.iter_mut().map(|buffer| buffer.as_mut_ptr().cast()).collect();
    let mut scratch = vec![f32::NAN; call.scratch_bytes.div_ceil(4)];
    let function = kernels::generate(call.kernel, target).expect("a legal kernel");
    let region =
        |start: *const u8, bytes: usize, writable: bool| Region { start: start.cast_mut(), bytes, writable };
    let mut regions: Vec<Region> = buffers
        .iter()
        .enumerate()
        .map(|(index, buffer)| region(buffer.as_ptr().cast(), buffer.len() * 4, index == 0))
        .collect();
    regions.push(region(pointers.as_ptr().cast(), pointers.len() * 8, false));
    regions.push(region(call.args.as_ptr().cast(), call.args.len() * 8, false));
    regions.push(region(scratch.as_ptr().cast(), scratch.len() * 4, true));
    let middle = call.tasks / 2;
    for (begin, end) in [(middle, call.tasks), (0, middle)] {
        let scratch = scratch.as_mut_ptr().cast::<u8>();
        match kernel {
            // Safety: the interpreter has run the same call with bounds checks before.
            Some(kernel) => unsafe { kernel.call(&pointers, call.args, begin, end, scratch) },
            None => {
                let arguments =
                    [pointers.as_ptr() as i64, call.args.as_ptr() as i64, begin, end, scratch as i64];
                // Safety: the regions are the buffers above, alive until the end of this function.
                if let Err(fault) = unsafe { interpret(&function, arguments, &regions) } {
                    panic!("{fault}\n{}\n{function}", call.kernel);
                }
            }
        }
    }
    buffers.swap_remove(0)
}

/// Asserts that two results agree as floats of a long sum do.
pub fn assert_close(got: f32, want: f64, what: &dyn Fn() -> String) {
    let tolerance = 1e-5 * want.abs().max(1.0);
    let same = (f64::from(got) - want).abs() <= tolerance
        || (got.is_nan() && want.is_nan())
        || f64::from(got) == want;
    assert!(same, "{got} instead of {want}: {}", what());
}
