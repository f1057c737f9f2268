//! Elements that are not f32: every 16-bit float, conversions, integer arithmetic that wraps and never traps.

use rectify_codegen::jit;
use rectify_ir::DType;
use rectify_ir::kernel::{
    Access, Binary, Compute, Descriptor, Nest, NestArgs, NestOperand, NestStream, Program, Reg, Step, Unary,
    Vectorise,
};
use rectify_ir::op::Trig;
use rectify_ir::target::{Level, Target};

/// Bytes before the operands' first elements.
const SKIPPED: usize = 4;

/// Applies `body` to adjacent elements; gives the bytes of the results, the same at each level.
fn run(operands: &[(DType, Vec<u8>)], to: DType, body: Program) -> Vec<u8> {
    let types: Vec<DType> = operands.iter().map(|(element, _)| *element).collect();
    let count = operands[0].1.len() / types[0].size_bytes();
    let compute = Compute::of(&types, to);
    let operand = |element: &DType| NestOperand {
        element: *element,
        access: vec![Access::One],
        tables: vec![],
        indirect: vec![],
    };
    let nest = Nest {
        lanes: 4,
        compute,
        element: to,
        output_dims: 1,
        reduce_dims: 0,
        task_dims: 0,
        vectorise: if compute == Compute::F32 { Vectorise::Output } else { Vectorise::No },
        output: vec![Access::One],
        scatter: vec![],
        operands: types.iter().map(operand).collect(),
        body,
        reduce: None,
        finals: vec![],
        finalize: Program::acc(),
    };
    let stream = |element: &DType| NestStream {
        base: 0,
        strides: vec![element.size_bytes() as i64],
        tables: vec![],
        indirect: vec![],
    };
    let args = NestArgs {
        extents: vec![count as i64],
        block: 1,
        output: stream(&to),
        operands: types.iter().map(stream).collect(),
        finals: vec![],
    };
    let block = args.build(&nest).expect("legal arguments");
    // No address is a multiple of 16, as those of slices of the caller's memory need not be.
    let placed: Vec<Vec<u8>> =
        operands.iter().map(|(_, bytes)| [&[0; SKIPPED], &bytes[..]].concat()).collect();
    let mut results = [Level::X86V1, Level::X86V2, Level::X86V3].map(|level| {
        if level == Level::X86V3 && !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            return vec![];
        }
        let kernel = jit::compile(&[&Descriptor::Nest(nest.clone())], &Target::new(level), 1);
        let kernel = kernel.expect("a legal kernel");
        let mut output = vec![0u8; count * to.size_bytes()];
        let mut pointers = vec![output.as_mut_ptr()];
        pointers.extend(placed.iter().map(|bytes| bytes[SKIPPED..].as_ptr().cast_mut()));
        let mut scratch = [0u64; 8];
        // Safety: all buffers have the elements of the extent.
        unsafe { kernel[0].call(&pointers, &block, 0, args.tasks(&nest), scratch.as_mut_ptr().cast()) };
        output
    });
    assert!(results[1..].iter().all(|r| r.is_empty() || *r == results[0]), "{nest}");
    std::mem::take(&mut results[0])
}

fn binary(op: Binary) -> Program {
    let mut program = Program::copy();
    let right = program.push(Step::Load(1));
    program.binary(op, Reg(0), right);
    program
}

fn bytes<const N: usize, T: Copy>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|v| to_bytes(*v)).collect()
}

#[test]
fn every_16_bit_float_survives() {
    for (dtype, first_nan) in [(DType::F16, 0x7c01), (DType::BF16, 0x7f81)] {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let got = run(&[(dtype, bytes(&all, u16::to_le_bytes))], dtype, Program::copy());
        for (want, got) in all.iter().zip(got.chunks(2)) {
            let got = u16::from_le_bytes([got[0], got[1]]);
            let is_nan = |bits: u16| bits & 0x7fff >= first_nan;
            assert!(got == *want || (is_nan(*want) && is_nan(got)), "{dtype} {want:#x} became {got:#x}");
        }
    }
}

#[test]
fn floats_round_to_nearest_even() {
    let cases: [(f64, u16, u16); 9] = [
        (1.0, 0x3c00, 0x3f80),
        (-65504.0, 0xfbff, 0xc780),
        (65519.0, 0x7bff, 0x4780),
        (65520.0, 0x7c00, 0x4780),
        (2f64.powi(-24), 0x0001, 0x3380),
        (2f64.powi(-25), 0x0000, 0x3300),
        (1.5 * 2f64.powi(-24), 0x0002, 0x33c0),
        (1.0 + 2f64.powi(-11), 0x3c00, 0x3f80),
        (f64::NEG_INFINITY, 0xfc00, 0xff80),
    ];
    let inputs = bytes(&cases.map(|c| c.0), f64::to_le_bytes);
    for (to, want) in [(DType::F16, cases.map(|c| c.1)), (DType::BF16, cases.map(|c| c.2))] {
        let got = run(&[(DType::F64, inputs.clone())], to, Program::copy());
        assert_eq!(got, bytes(&want, u16::to_le_bytes), "{to}");
    }
}

#[test]
fn floats_become_integers_as_casts_do() {
    let values = [0.0, -0.9, 1.9, -1.9, 300.0, -300.0, 1e300, -1e300, f64::NAN, 9.3e18];
    let input = (DType::F64, bytes(&values, f64::to_le_bytes));
    let run = |to| run(std::slice::from_ref(&input), to, Program::copy());
    assert_eq!(run(DType::I64), bytes(&values.map(|v| v as i64), i64::to_le_bytes));
    assert_eq!(run(DType::U8), values.map(|v| v as i64 as u8));
    let unsigned = values.map(|v| if v < 0.0 { v as i64 as u64 } else { v as u64 });
    assert_eq!(run(DType::U64), bytes(&unsigned, u64::to_le_bytes));
    assert_eq!(run(DType::Bool), values.map(|v| u8::from(v != 0.0)));
}

#[test]
fn integers_become_floats_rounded_once() {
    let values = [0, -1, i64::MAX, i64::MIN, (1 << 53) + 1, (1 << 24) + 1, (1 << 60) + (1 << 36) + 1];
    let input = (DType::I64, bytes(&values, i64::to_le_bytes));
    let got = run(&[input], DType::F32, Program::copy());
    assert_eq!(got, bytes(&values.map(|v| v as f32), f32::to_le_bytes));
    let values = values.map(|v| v as u64);
    let input = (DType::U64, bytes(&values, u64::to_le_bytes));
    let got = run(&[input], DType::F32, Program::copy());
    assert_eq!(got, bytes(&values.map(|v| v as f32), f32::to_le_bytes));
}

#[test]
fn integers_wrap_and_divide_without_traps() {
    let (a, b) = ([i32::MIN, 7, -7, 5, i32::MAX], [-1, 2, 2, 0, 1]);
    let operands = [(DType::I32, bytes(&a, i32::to_le_bytes)), (DType::I32, bytes(&b, i32::to_le_bytes))];
    let run32 = |op| run(&operands, DType::I32, binary(op));
    assert_eq!(run32(Binary::Div), bytes(&[i32::MIN, 3, -3, 0, i32::MAX], i32::to_le_bytes));
    assert_eq!(run32(Binary::Add), bytes(&[i32::MAX, 9, -5, 5, i32::MIN], i32::to_le_bytes));
    let wide = [
        (DType::I64, bytes(&[i64::MIN, 9], i64::to_le_bytes)),
        (DType::I64, bytes(&[-1, 0], i64::to_le_bytes)),
    ];
    assert_eq!(run(&wide, DType::I64, binary(Binary::Div)), bytes(&[i64::MIN, 0], i64::to_le_bytes));
    let unsigned = [
        (DType::U64, bytes(&[u64::MAX, 1], u64::to_le_bytes)),
        (DType::U64, bytes(&[2, 0], u64::to_le_bytes)),
    ];
    assert_eq!(run(&unsigned, DType::U64, binary(Binary::Div)), bytes(&[u64::MAX / 2, 0], u64::to_le_bytes));
    assert_eq!(run(&unsigned, DType::U64, binary(Binary::Max)), bytes(&[u64::MAX, 1], u64::to_le_bytes));
}

#[test]
fn bits_and_remainders_of_integers() {
    let (a, b) = ([i32::MIN, 7, -7, 12, -1], [-1, 3, 3, 10, 0]);
    let operands = [(DType::I32, bytes(&a, i32::to_le_bytes)), (DType::I32, bytes(&b, i32::to_le_bytes))];
    let check = |op, want: [i32; 5]| {
        assert_eq!(run(&operands, DType::I32, binary(op)), bytes(&want, i32::to_le_bytes), "{op}");
    };
    check(Binary::Rem, [0, 1, -1, 2, -1]);
    check(Binary::And, [i32::MIN, 3, 1, 8, 0]);
    check(Binary::Or, [-1, 7, -5, 14, -1]);
    check(Binary::Xor, [i32::MAX, 4, -6, 6, -1]);
    check(Binary::ShiftLeft, [0, 56, -56, 12 << 10, -1]);
    check(Binary::ShiftRight, [-1, 0, -1, 0, -1]);
    let wide = [
        (DType::U64, bytes(&[u64::MAX, u64::MAX, u64::MAX, 1, 9], u64::to_le_bytes)),
        (DType::U64, bytes(&[1, 63, 64, 0, 5], u64::to_le_bytes)),
    ];
    let check = |op, want: [u64; 5]| {
        assert_eq!(run(&wide, DType::U64, binary(op)), bytes(&want, u64::to_le_bytes), "{op}");
    };
    check(Binary::ShiftRight, [u64::MAX / 2, 1, 0, 1, 0]);
    check(Binary::ShiftLeft, [u64::MAX - 1, 1 << 63, 0, 1, 9 << 5]);
    check(Binary::And, [1, 63, 64, 0, 1]);
    check(Binary::Rem, [0, u64::MAX % 63, u64::MAX % 64, 1, 4]);
}

#[test]
fn remainders_of_doubles() {
    let (a, b) = ([7.5, -7.5, 1e15 + 0.5, 1.0, f64::INFINITY, 3.0], [2.0, 2.0, 3.0, f64::INFINITY, 2.0, 0.0]);
    let operands = [(DType::F64, bytes(&a, f64::to_le_bytes)), (DType::F64, bytes(&b, f64::to_le_bytes))];
    let got = run(&operands, DType::F64, binary(Binary::Rem));
    for (i, got) in got.chunks(8).enumerate() {
        let (got, want) = (f64::from_le_bytes(got.try_into().unwrap()), a[i] % b[i]);
        assert!(got == want || (got.is_nan() && want.is_nan()), "{} rem {}: {got}, not {want}", a[i], b[i]);
    }
}

#[test]
fn trigonometry_of_doubles() {
    let mut values: Vec<f64> = (0..400).map(|k| f64::from(k - 200) * 0.37).collect();
    values.extend((0..201).map(|k| f64::from(k - 100) / 100.0));
    values.extend((-300..300).step_by(7).flat_map(|k| [10f64.powi(k), -1.7 * 10f64.powi(k)]));
    values.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 709.9, -710.3]);
    let input = [(DType::F64, bytes(&values, f64::to_le_bytes))];
    for f in Trig::ALL {
        let mut program = Program::copy();
        program.unary(Unary::Trig(f), Reg(0));
        let got = run(&input, DType::F64, program);
        for (x, got) in values.iter().zip(got.chunks(8)) {
            // Angles beyond are not meant.
            if matches!(f, Trig::Sin | Trig::Cos | Trig::Tan) && x.abs() > 1e6 {
                continue;
            }
            let (got, want) = (f64::from_le_bytes(got.try_into().unwrap()), f.evaluate(*x));
            let close = (got - want).abs() <= 8.0 * f64::EPSILON * want.abs().max(f64::MIN_POSITIVE);
            let same = got == want || (got.is_nan() && want.is_nan());
            assert!(close || same, "{} of {x:e}: {got:e}, not {want:e}", f.name());
        }
    }
}

/// Without AVX, instructions that read memory themselves ask for alignment.
#[test]
fn comparisons_read_any_address() {
    let ramp: Vec<f32> = (0..67).map(|k| k as f32).collect();
    let falling: Vec<f32> = ramp.iter().rev().copied().collect();
    let operands = [&ramp, &falling].map(|values| (DType::F32, bytes(values, f32::to_le_bytes)));
    let got = run(&operands, DType::F32, binary(Binary::Lt));
    let want: Vec<f32> = (0..67).map(|k| if k < 33 { 1.0 } else { 0.0 }).collect();
    assert_eq!(got, bytes(&want, f32::to_le_bytes));
}
