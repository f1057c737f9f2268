//! Register allocation under pressure: code that must spill computes the same, and tiles do not spill vectors.

use super::machine::Kind;
use super::scan::Pools;
use super::{allocated, encode};
use crate::emit::Code;
use crate::{jit, kernels};
use rectify_ir::DType;
use rectify_ir::kernel::{
    Access, Binary, Compute, Contract, Descriptor, Nest, NestArgs, NestOperand, NestStream, Operand, Program,
    Reg, Step, StepArgs, Store, Stream, TaskOrder, Tile, TileArgs, Unary, Vectorise,
};
use rectify_ir::target::{Level, Target};

fn targets() -> [Target; 2] {
    [Target::wide(Level::X86V3), Target::wide(Level::X86V4)]
}

fn runs_here(target: &Target) -> bool {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
    if target.lanes == 16 { avx512 } else { avx2 }
}

/// Residual and PReLU behind a sum of products.
fn epilogue() -> Program {
    let mut program = Program::acc();
    let skip = program.push(Step::Load(0));
    let sum = program.binary(Binary::Add, Reg(0), skip);
    let slope = program.push(Step::Load(1));
    program.binary(Binary::Prelu, sum, slope);
    program
}

fn contract(target: &Target, pixels: u8, vectors: u8, inner: u8) -> Contract {
    Contract {
        lanes: target.lanes,
        tile: Tile { pixels, vectors },
        rank: 2,
        table: true,
        inner,
        dot: false,
        bias: true,
        store: Store::Vector,
        operands: vec![Operand::Pixels, Operand::PerChannel],
        epilogue: epilogue(),
    }
}

/// The output of a call, run by code that has these registers.
fn run(
    descriptor: &Descriptor,
    target: &Target,
    pools: &Pools,
    args: &[i64],
    inputs: &[Vec<f32>],
) -> Vec<u32> {
    let function = kernels::generate(descriptor, target).expect("a legal kernel");
    let (mut code, places) = allocated(&function, pools).expect("enough registers");
    let bytes = encode::encode(&mut code, &places, target.lanes == 16).expect("encodable");
    let kernel = &jit::link(&[Code { bytes, alignment: 64 }], target).expect("code memory")[0];
    let mut output = vec![0.0f32; 4096];
    let mut pointers: Vec<*mut u8> = vec![output.as_mut_ptr().cast()];
    pointers.extend(inputs.iter().map(|input| input.as_ptr().cast_mut().cast::<u8>()));
    let mut scratch = vec![0u64; descriptor.scratch_bytes() / 8 + 8];
    // Safety: all buffers are larger than what the arguments of these tests reach.
    unsafe { kernel.call(&pointers, args, 0, 1, scratch.as_mut_ptr().cast()) };
    output.iter().map(|value| value.to_bits()).collect()
}

/// Registers as few as can be: both of a division, two for an address, one for a value.
fn few(vectors: u32) -> Pools {
    Pools { ints: 0b0011_1100_1111, vectors: (1 << vectors) - 1, masks: 0b10 }
}

fn inputs(count: usize) -> Vec<Vec<f32>> {
    (0..count)
        .map(|buffer| (0..8192).map(|k| ((k * 37 + buffer * 11) % 101) as f32 / 50.0 - 1.0).collect())
        .collect()
}

#[test]
fn spilled_tiles_compute_the_same() {
    for target in targets().iter().filter(|target| runs_here(target)) {
        let lanes = i64::from(target.lanes);
        let kernel = contract(target, 5, 2, 4);
        let pixel = vec![lanes * 4 * 9, lanes * 4];
        let args = TileArgs {
            groups: 1,
            channels: 2 * lanes,
            extents: vec![3, 7],
            strip: 21,
            order: TaskOrder::StripMajor,
            input: Stream { pixel: pixel.clone(), ..Stream::default() },
            output: Stream { block: lanes * 4 * 40, pixel: pixel.clone(), ..Stream::default() },
            operands: vec![Stream { block: lanes * 4 * 40, pixel, ..Stream::default() }, Stream::default()],
            steps: StepArgs::Table(vec![0, 16, 64, 128, 132]),
        };
        let args = args.build(&kernel.shape()).expect("legal arguments");
        let descriptor = Descriptor::Contract(kernel);
        let inputs = inputs(5);
        let all = Pools::new(if target.lanes == 16 { 32 } else { 16 });
        let want = run(&descriptor, target, &all, &args, &inputs);
        assert!(want.iter().filter(|&&bits| bits != 0).count() as i64 >= 21 * 2 * lanes - 5);
        for vectors in [5, 7, 11] {
            assert!(run(&descriptor, target, &few(vectors), &args, &inputs) == want, "{vectors} vectors");
        }
    }
}

#[test]
fn spilled_programs_compute_the_same() {
    for target in targets().iter().filter(|target| runs_here(target)) {
        let mut program = Program::copy();
        let mut value = Reg(0);
        for op in [Unary::Tanh, Unary::Erf, Unary::Sigmoid, Unary::Log, Unary::Softplus, Unary::Round] {
            let next = program.unary(op, value);
            value = program.binary(Binary::Add, next, Reg(0));
        }
        let other = program.push(Step::Load(1));
        program.binary(Binary::Pow, value, other);
        let nest = Nest {
            lanes: target.lanes,
            compute: Compute::F32,
            element: DType::F32,
            output_dims: 1,
            reduce_dims: 0,
            task_dims: 1,
            vectorise: Vectorise::Output,
            output: vec![Access::One],
            scatter: vec![],
            operands: vec![
                NestOperand {
                    element: DType::F32,
                    access: vec![Access::One],
                    tables: vec![],
                    indirect: vec![]
                };
                2
            ],
            body: program,
            reduce: None,
            finals: vec![],
            finalize: Program::acc(),
        };
        let stream = NestStream { base: 0, strides: vec![4], tables: vec![], indirect: vec![] };
        let args = NestArgs {
            extents: vec![1013],
            block: 1013,
            output: stream.clone(),
            operands: vec![stream.clone(), stream],
            finals: vec![],
        };
        let args = args.build(&nest).expect("legal arguments");
        let descriptor = Descriptor::Nest(nest);
        let all = Pools::new(if target.lanes == 16 { 32 } else { 16 });
        let want = run(&descriptor, target, &all, &args, &inputs(2));
        for vectors in [5, 8] {
            assert!(run(&descriptor, target, &few(vectors), &args, &inputs(2)) == want, "{vectors} vectors");
        }
    }
}

#[test]
fn tiles_keep_their_vectors_in_registers() {
    for (target, tiles) in targets().iter().zip([
        &[(6u8, 2u8), (4, 3), (8, 1), (3, 3), (2, 5), (2, 4), (1, 8)][..],
        &[(14, 2), (9, 3), (6, 4), (14, 1), (4, 6), (3, 7), (2, 10), (1, 16), (1, 8)],
    ]) {
        for &(pixels, vectors) in tiles {
            for inner in [1, target.lanes] {
                let descriptor = Descriptor::Contract(contract(target, pixels, vectors, inner));
                let function = kernels::generate(&descriptor, target).expect("a legal kernel");
                let pools = Pools::new(u32::from(target.vector_registers));
                let (code, _) = allocated(&function, &pools).expect("enough registers");
                assert!(!code.slots.contains(&Kind::Vector), "{pixels}x{vectors} of {} lanes", target.lanes);
            }
        }
    }
}
