//! What each level's code is made of.

use iced_x86::{CpuidFeature, Decoder, DecoderOptions};
use rectify_codegen::emit::{EmitError, listing};
use rectify_codegen::jit::{self, JitError, KernelCache};
use rectify_codegen::kernels;
use rectify_ir::DType;
use rectify_ir::kernel::{
    Access, Binary, Compute, Contract, Descriptor, Nest, NestOperand, Operand, Program, Reduce, Reg, Step,
    Store, Tile, Unary, Vectorise, Window, WindowOp,
};
use rectify_ir::op::Trig;
use rectify_ir::target::{Level, Target};

/// A program of all functions.
fn everything() -> Program {
    let mut program = Program::acc();
    let mut value = Reg(0);
    for op in [
        Unary::Exp,
        Unary::Log,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Erf,
        Unary::GeluErf,
        Unary::GeluTanh,
        Unary::Silu,
        Unary::HardSwish,
        Unary::Elu { alpha: 1.0.into() },
        Unary::Softplus,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sqrt,
    ]
    .into_iter()
    .chain(Trig::ALL.map(Unary::Trig))
    {
        value = program.unary(op, value);
    }
    let load = program.push(Step::Load(0));
    for op in [
        Binary::Pow,
        Binary::Rem,
        Binary::And,
        Binary::Xor,
        Binary::Max,
        Binary::Min,
        Binary::Prelu,
        Binary::Div,
        Binary::Gt,
    ] {
        value = program.binary(op, value, load);
    }
    program
}

fn samples() -> Vec<Descriptor> {
    samples_of(4)
}

fn samples_of(lanes: u8) -> Vec<Descriptor> {
    let contract = |store, tile, table, inner, epilogue| {
        Descriptor::Contract(Contract {
            lanes,
            tile,
            rank: 2,
            table,
            inner,
            dot: false,
            bias: true,
            store,
            operands: vec![Operand::PerChannel],
            epilogue,
        })
    };
    let mut prelu = Program::acc();
    let slope = prelu.push(Step::Load(0));
    prelu.binary(Binary::Prelu, Reg(0), slope);
    let big = Tile { pixels: 6, vectors: 2 };
    let operand = |access: &[Access]| NestOperand {
        element: DType::F32,
        access: access.to_vec(),
        tables: vec![],
        indirect: vec![],
    };
    vec![
        contract(Store::Vector, big, true, 4, prelu.clone()),
        contract(Store::Strided, big, true, 1, everything()),
        contract(Store::Partial, Tile { pixels: 1, vectors: 8 }, false, 4, prelu.clone()),
        Descriptor::Window(Window {
            lanes,
            pixels: 8,
            rank: 2,
            op: WindowOp::Max,
            row: None,
            bias: false,
            store: Store::Vector,
            operands: vec![Operand::PerChannel],
            epilogue: prelu,
        }),
        Descriptor::Nest(Nest {
            lanes,
            compute: Compute::F32,
            element: DType::F32,
            output_dims: 2,
            reduce_dims: 1,
            task_dims: 1,
            vectorise: Vectorise::Reduce,
            output: vec![Access::Var, Access::One],
            scatter: vec![],
            operands: vec![operand(&[Access::Var, Access::Zero, Access::One])],
            body: Program::copy(),
            reduce: Some(Reduce::Max),
            finals: vec![operand(&[Access::Zero, Access::One])],
            finalize: everything(),
        }),
    ]
}

#[test]
fn x86_levels_use_their_features_only() {
    for (target, allowed) in [
        (Target::new(Level::X86V1), vec![CpuidFeature::SSE, CpuidFeature::SSE2]),
        (
            Target::new(Level::X86V2),
            vec![
                CpuidFeature::SSE,
                CpuidFeature::SSE2,
                CpuidFeature::SSE3,
                CpuidFeature::SSSE3,
                CpuidFeature::SSE4_1,
                CpuidFeature::SSE4_2,
                CpuidFeature::POPCNT,
            ],
        ),
        (
            Target::new(Level::X86V3),
            vec![
                CpuidFeature::SSE,
                CpuidFeature::SSE2,
                CpuidFeature::SSE3,
                CpuidFeature::SSSE3,
                CpuidFeature::SSE4_1,
                CpuidFeature::SSE4_2,
                CpuidFeature::AVX,
                CpuidFeature::AVX2,
                CpuidFeature::FMA,
                CpuidFeature::BMI1,
                CpuidFeature::BMI2,
                CpuidFeature::LZCNT,
            ],
        ),
        (
            Target::wide(Level::X86V3),
            vec![CpuidFeature::SSE, CpuidFeature::AVX, CpuidFeature::AVX2, CpuidFeature::FMA],
        ),
        (
            Target::wide(Level::X86V4),
            vec![
                CpuidFeature::SSE,
                CpuidFeature::AVX,
                CpuidFeature::AVX512F,
                CpuidFeature::AVX512DQ,
                CpuidFeature::AVX512BW,
                CpuidFeature::AVX512VL,
            ],
        ),
    ] {
        let plain = [
            CpuidFeature::INTEL8086,
            CpuidFeature::INTEL186,
            CpuidFeature::INTEL286,
            CpuidFeature::INTEL386,
            CpuidFeature::INTEL486,
            CpuidFeature::X64,
            CpuidFeature::CMOV,
            CpuidFeature::MULTIBYTENOP,
        ];
        for descriptor in samples_of(target.lanes) {
            let code = kernels::compile(&descriptor, &target).expect("a legal kernel");
            for instruction in Decoder::with_ip(64, &code.bytes, 0, DecoderOptions::NONE) {
                // The code ends in a pool of constants, which is not code.
                if instruction.is_invalid() || instruction.mnemonic() == iced_x86::Mnemonic::Ret {
                    break;
                }
                for feature in instruction.cpuid_features() {
                    assert!(
                        allowed.contains(feature) || plain.contains(feature),
                        "{}: `{instruction}` needs {feature:?} in {descriptor}",
                        target.level
                    );
                }
                assert!(
                    !instruction.is_call_near() && !instruction.is_call_near_indirect(),
                    "a call in {descriptor}"
                );
            }
        }
    }
}

#[test]
fn aarch64_compiles_but_is_not_called_here() {
    let target = Target::new(Level::Aarch64);
    for descriptor in samples() {
        let code = kernels::compile(&descriptor, &target).expect("a legal kernel");
        assert!(code.bytes.len() > 100 && code.bytes.len().is_multiple_of(4));
    }
    if cfg!(not(target_arch = "aarch64")) {
        let error = jit::compile(&[&samples()[0]], &target, 1).expect_err("foreign code");
        assert!(matches!(error, JitError::Foreign(Level::Aarch64)));
    }
}

#[test]
fn cache_compiles_each_kernel_once() {
    let cache = KernelCache::new(Target::new(Level::X86V2));
    let mut wanted = samples();
    wanted.extend(samples());
    let first = cache.get(&wanted, 2).expect("legal kernels");
    assert_eq!(first.len(), wanted.len());
    assert_eq!(cache.len(), samples().len());
    let again = cache.get(&wanted[..1], 1).expect("legal kernels");
    assert!(std::ptr::fn_addr_eq(first[0].entry(), again[0].entry()));
    assert!(std::ptr::fn_addr_eq(first[0].entry(), first[samples().len()].entry()));
    cache.clear();
    assert!(cache.is_empty());
}

#[test]
fn illegal_descriptors_are_refused() {
    let Descriptor::Contract(legal) = samples()[0].clone() else { unreachable!("the first sample") };
    let illegal = Descriptor::Contract(Contract { operands: vec![], ..legal });
    let error = kernels::compile(&illegal, &Target::new(Level::X86V3)).expect_err("operand 0 of 0");
    assert!(matches!(&error, EmitError::Unsupported(text) if text.contains("operand 0 of 0")), "{error}");
}

#[test]
fn listings_name_the_kernel() {
    let (descriptor, target) = (&samples()[0], Target::new(Level::X86V3));
    let header = format!("; {descriptor}\n");
    for (text, sign) in [
        (listing::tile(descriptor, &target), "mul_add"),
        (listing::clif(descriptor, &target), "fma"),
        (listing::asm(descriptor, &target), "vfmadd"),
    ] {
        let text = text.expect("a legal kernel");
        assert!(text.starts_with(&header) && text.contains(sign), "{}", &text[..200]);
    }
}
