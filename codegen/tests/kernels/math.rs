//! Elementwise functions against f64, over all exponents and special values, at every level.

use crate::common::{Call, run_everywhere};
use rectify_ir::DType;
use rectify_ir::kernel::{
    Access, Binary, Compute, Descriptor, Nest, NestArgs, NestOperand, NestStream, Program, Reg, Step, Unary,
    Vectorise,
};
use rectify_ir::op::Trig;

/// Applies a program to columns of operands, everywhere: the same bits with any number of lanes.
fn apply(program: &Program, columns: &[Vec<f32>]) -> Vec<f32> {
    let first = apply_with(4, program, columns);
    for lanes in [8, 16] {
        for (index, (got, want)) in apply_with(lanes, program, columns).iter().zip(&first).enumerate() {
            let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
            assert!(same, "{lanes} lanes: element {index} is {got}, not {want}: {program}");
        }
    }
    first
}

fn apply_with(lanes: u8, program: &Program, columns: &[Vec<f32>]) -> Vec<f32> {
    let count = columns[0].len() as i64;
    let nest = Nest {
        lanes,
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
            columns.len()
        ],
        body: program.clone(),
        reduce: None,
        finals: vec![],
        finalize: Program::acc(),
    };
    let stream = NestStream { base: 0, strides: vec![4], tables: vec![], indirect: vec![] };
    let args = NestArgs {
        extents: vec![count],
        block: 1000,
        output: stream.clone(),
        operands: vec![stream; columns.len()],
        finals: vec![],
    };
    run_everywhere(&Call {
        kernel: &Descriptor::Nest(nest.clone()),
        args: &args.build(&nest).expect("legal arguments"),
        tasks: args.tasks(&nest),
        spans: &args.spans(&nest),
        inputs: columns,
        scratch_bytes: Descriptor::Nest(nest.clone()).scratch_bytes(),
    })
}

/// Every exponent with several mantissas, both signs, and the special values.
fn samples() -> Vec<f32> {
    let mut values = vec![0.0, f32::INFINITY, f32::NAN, f32::from_bits(1), f32::from_bits(0x007f_ffff)];
    for exponent in 0..=254u32 {
        for mantissa in [0, 1, 0x12_3456, 0x35_04f2, 0x35_04f3, 0x35_04f4, 0x40_0000, 0x6b_cdef, 0x7f_ffff] {
            values.push(f32::from_bits(exponent << 23 | mantissa));
        }
    }
    // The interesting middle, densely.
    values.extend((0..4000).map(|k| k as f32 * 0.0271));
    values.extend((0..2000).map(|k| k as f32 * 0.0007));
    let negative: Vec<f32> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    values
}

/// Distance in units in the last place of the true value.
fn error_ulp(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if rounded.is_nan() || got.is_nan() || rounded.is_infinite() || got.is_infinite() {
        let near_overflow = rounded.is_infinite() && got == f32::MAX.copysign(rounded);
        let same = (rounded.is_nan() && got.is_nan()) || rounded == got || near_overflow;
        return if same { 0.0 } else { f64::INFINITY };
    }
    let magnitude = rounded.abs().max(f32::MIN_POSITIVE);
    let ulp = f64::from(f32::from_bits(magnitude.to_bits() + 1)) - f64::from(magnitude);
    (f64::from(got) - want).abs() / ulp
}

fn check(op: Unary, limit_ulp: f64, absolute: f64) {
    let mut program = Program::copy();
    program.unary(op, Reg(0));
    let values = samples();
    let mut worst = (0.0, 0.0, 0.0);
    for (&x, got) in values.iter().zip(apply(&program, std::slice::from_ref(&values))) {
        let want = op.evaluate(f64::from(x));
        let error = error_ulp(got, want);
        let close = (f64::from(got) - want).abs() <= absolute;
        if error > worst.0 && !close {
            worst = (error, x, got);
        }
    }
    let want = op.evaluate(f64::from(worst.1));
    assert!(worst.0 <= limit_ulp, "{op}({}) = {}, not {want}: {} ulp", worst.1, worst.2, worst.0);
}

#[test]
fn exact_functions() {
    for op in [
        Unary::Neg,
        Unary::Abs,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Relu,
        Unary::Leaky { alpha: 0.25.into() },
        Unary::Leaky { alpha: (-3.0).into() },
        Unary::Clip { min: 0.0.into(), max: 6.0.into() },
    ] {
        check(op, 0.5, 0.0);
    }
}

#[test]
fn transcendental_functions() {
    for op in [
        Unary::Exp,
        Unary::Log,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Erf,
        Unary::Softplus,
        Unary::Elu { alpha: 1.0.into() },
        Unary::Elu { alpha: 0.3.into() },
    ] {
        check(op, 4.0, 0.0);
    }
}

/// These end in products or sums that cancel: exact to a few ulp or to a small absolute error.
#[test]
fn composite_functions() {
    for op in [
        Unary::GeluErf,
        Unary::GeluTanh,
        Unary::Silu,
        Unary::HardSwish,
        Unary::HardSigmoid { alpha: 0.2.into(), beta: 0.5.into() },
    ] {
        check(op, 8.0, 3e-7);
    }
}

#[test]
fn binary_functions() {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        3.0,
        -2.5,
        0.3,
        1e-40,
        1e30,
        -1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let (left, right): (Vec<f32>, Vec<f32>) =
        special.iter().flat_map(|&a| special.iter().map(move |&b| (a, b))).unzip();
    for op in [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::Prelu,
        Binary::Gt,
        Binary::Lt,
        Binary::Ge,
        Binary::Le,
        Binary::Eq,
        Binary::Pow,
        Binary::Rem,
    ] {
        let mut program = Program::copy();
        let b = program.push(Step::Load(1));
        program.binary(op, Reg(0), b);
        for ((&a, &b), got) in left.iter().zip(&right).zip(apply(&program, &[left.clone(), right.clone()])) {
            // Remainders of quotients that f32 does not hold are zero.
            let exact = op != Binary::Rem || !((a / b).abs() >= 8_388_608.0 && b != 0.0 && a.is_finite());
            let want = if exact { op.evaluate(f64::from(a), f64::from(b)) } else { 0.0 };
            let limit = if op == Binary::Pow { 2.0 } else { 0.5 };
            assert!(error_ulp(got, want) <= limit, "{op}({a}, {b}) = {got}, not {want}");
        }
    }
}

/// Bases and exponents over all sizes of results, close to 1 and far from it.
#[test]
fn powers() {
    let mut pairs = Vec::new();
    for base in samples().into_iter().filter(|b| *b > 0.0).step_by(7) {
        for exponent in
            [-126.3, -31.7, -3.0, -0.5, 0.1, 0.3, 1.0 / 3.0, 1.0, 1.7, 2.0, 2.2, 3.0, 7.0, 12.9, 88.1, 3e4]
        {
            pairs.push((base, exponent as f32));
        }
    }
    for step in 1..3000 {
        let base = 0.4 + step as f32 * 7.3e-4;
        pairs.push((base, 80.0 / base.ln()));
        pairs.push((1.0 + step as f32 * 1e-6, 4e4));
    }
    let (bases, exponents): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
    let worst = worst_pair(Binary::Pow, &bases, &exponents, 0.0);
    assert!(worst.0 <= 1.5, "pow({}, {}): {} ulp", worst.1, worst.2, worst.0);
}

#[test]
fn remainders() {
    let mut pairs = Vec::new();
    for k in 1..4000 {
        let a = (k as f32 * 0.7919).exp() % 1e6 - 4e5;
        for b in [0.1, 0.3, 1.0, 1.7, 3.0, 7.25, 1e3, -2.3] {
            pairs.push((a, b));
        }
    }
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
    let worst = worst_pair(Binary::Rem, &a, &b, 0.0);
    assert!(worst.0 == 0.0, "rem({}, {}): {} ulp", worst.1, worst.2, worst.0);
}

/// The greatest error among pairs, with the pair.
fn worst_pair(op: Binary, left: &[f32], right: &[f32], absolute: f64) -> (f64, f32, f32) {
    let mut program = Program::copy();
    let b = program.push(Step::Load(1));
    program.binary(op, Reg(0), b);
    let got = apply(&program, &[left.to_vec(), right.to_vec()]);
    let mut worst = (0.0, 0.0, 0.0);
    for ((&a, &b), got) in left.iter().zip(right).zip(got) {
        let want = op.evaluate(f64::from(a), f64::from(b));
        let error = error_ulp(got, want);
        if error > worst.0 && (f64::from(got) - want).abs() > absolute {
            worst = (error, a, b);
        }
    }
    worst
}

/// The greatest error of a function among these arguments, with the argument.
fn worst_of(op: Unary, values: &[f32], absolute: f64) -> (f64, f32) {
    let mut program = Program::copy();
    program.unary(op, Reg(0));
    let mut worst = (0.0, 0.0);
    for (&x, got) in values.iter().zip(apply(&program, &[values.to_vec()])) {
        let want = op.evaluate(f64::from(x));
        let error = error_ulp(got, want);
        if error > worst.0 && (f64::from(got) - want).abs() > absolute {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn circular_and_hyperbolic_functions() {
    for f in Trig::ALL {
        let circular = matches!(f, Trig::Sin | Trig::Cos | Trig::Tan);
        // Beyond, neighbours are turns apart, or the error is absolute.
        let values: Vec<f32> = samples().into_iter().filter(|v| !circular || v.abs() <= 6000.0).collect();
        let worst = worst_of(Unary::Trig(f), &values, 0.0);
        assert!(worst.0 <= 3.5, "{}({}): {} ulp", f.name(), worst.1, worst.0);
    }
    let large: Vec<f32> = samples().into_iter().filter(|v| (6000.0..1e9).contains(&v.abs())).collect();
    for f in [Trig::Sin, Trig::Cos] {
        let worst = worst_of(Unary::Trig(f), &large, 3e-7);
        assert!(worst.0 == 0.0, "{}({}): {} ulp", f.name(), worst.1, worst.0);
    }
    let beyond = worst_of(Unary::Trig(Trig::Sin), &[f32::INFINITY, f32::NAN], 0.0);
    assert!(beyond.0 == 0.0);
}

/// Prints the greatest errors, for the documentation: `cargo test -p rectify-codegen -- --nocapture measured`.
#[test]
fn measured_errors() {
    let mut values = samples();
    values.extend((0..200_000).map(|k| (k as f32 - 1e5) * 1.3e-4));
    for op in [
        Unary::Exp,
        Unary::Log,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Erf,
        Unary::Softplus,
        Unary::Silu,
        Unary::GeluErf,
        Unary::GeluTanh,
    ]
    .into_iter()
    .chain(Trig::ALL.map(Unary::Trig))
    {
        let circular = matches!(op, Unary::Trig(Trig::Sin | Trig::Cos | Trig::Tan));
        let values: Vec<f32> = values.iter().copied().filter(|v| !circular || v.abs() <= 6000.0).collect();
        let (ulp, at) = worst_of(op, &values, 0.0);
        println!("{op}: {ulp:.2} ulp at {at}");
        assert!(ulp.is_finite());
    }
}

#[test]
fn selection() {
    // A comparison that is also used as a number, and a condition that is none.
    let mut program = Program::copy();
    let b = program.push(Step::Load(1));
    let greater = program.binary(Binary::Gt, Reg(0), b);
    let chosen = program.push(Step::Select(greater, Reg(0), b));
    let other = program.push(Step::Select(b, chosen, Reg(0)));
    program.binary(Binary::Add, other, greater);
    let left = vec![1.0, 5.0, f32::NAN, -2.0, 3.0];
    let right = vec![2.0, 4.0, 1.0, 0.0, f32::NAN];
    let got = apply(&program, &[left.clone(), right.clone()]);
    for ((&a, &b), got) in left.iter().zip(&right).zip(got) {
        let want = program.evaluate(f64::NAN, &[f64::from(a), f64::from(b)]);
        assert!(error_ulp(got, want) == 0.0, "({a}, {b}) -> {got}, not {want}");
    }
}
