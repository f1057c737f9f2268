//! The Cranelift emitter: 128-bit vectors on x86-64 levels v1 to v4 and on aarch64.
//!
//! Code is compiled at `opt_level = none`: there the order of the tile IR is the schedule. At `speed`, loads move up
//! until the register file spills, and compilation takes a hundred times longer. CPU features are set from the
//! target's level alone, never from the CPU that compiles.

mod lower;

use super::{Code, EmitError};
use crate::tile::{self, verify};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, control::ControlPlane, isa};
use rectify_ir::target::{Level, Target};

/// Machine code of a tile function.
pub fn emit(function: &tile::Function, target: &Target) -> Result<Code, EmitError> {
    let isa = isa_for(target)?;
    let mut context = context(function, target, &isa)?;
    let compiled = context
        .compile(&*isa, &mut ControlPlane::default())
        .map_err(|error| EmitError::Cranelift(format!("{:?}", error.inner)))?;
    // Kernels call nothing and hold their constants in their own code, so their bytes need no relocation.
    if let Some(relocation) = compiled.buffer.relocs().first() {
        return Err(EmitError::Cranelift(format!("a relocation: {relocation:?}")));
    }
    Ok(Code {
        bytes: compiled.code_buffer().to_vec(),
        alignment: u64::from(compiled.buffer.alignment.max(64)),
    })
}

/// The Cranelift IR of a tile function, as text.
pub fn clif(function: &tile::Function, target: &Target) -> Result<String, EmitError> {
    let isa = isa_for(target)?;
    Ok(context(function, target, &isa)?.func.display().to_string())
}

fn context(function: &tile::Function, target: &Target, isa: &OwnedTargetIsa) -> Result<Context, EmitError> {
    verify::verify(function)?;
    if function.lanes != 4 {
        return Err(EmitError::Unsupported(format!("{} lanes", function.lanes)));
    }
    if function.fused && !target.fma {
        return Err(EmitError::Unsupported(format!("fused multiply-add at {}", target.level)));
    }
    let native_rounding = target.level != Level::X86V1;
    let avx = !matches!(target.level, Level::X86V1 | Level::X86V2);
    Ok(lower::lower(function, CallConv::SystemV, isa.frontend_config(), native_rounding, avx))
}

pub(crate) fn isa_for(target: &Target) -> Result<OwnedTargetIsa, EmitError> {
    let fault = |error: &dyn std::fmt::Display| EmitError::Cranelift(error.to_string());
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "none"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("unwind_info", "false"),
        ("enable_probestack", "false"),
        ("is_pic", "false"),
    ] {
        flags.set(name, value).map_err(|error| fault(&error))?;
    }
    let (triple, features): (&str, &[&str]) = match target.level {
        Level::X86V1 => ("x86_64", &[]),
        Level::X86V2 => ("x86_64", V2),
        // The AVX-512 instructions that Cranelift knows gain nothing for these kernels.
        Level::X86V3 | Level::X86V4 => ("x86_64", V3),
        Level::Aarch64 => ("aarch64", &[]),
    };
    let triple = format!("{triple}-unknown-linux-gnu");
    let mut builder = isa::lookup_by_name(&triple).map_err(|error| fault(&error))?;
    for feature in features {
        builder.set(feature, "true").map_err(|error| fault(&error))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| fault(&error))
}

const V2: &[&str] = &["has_sse3", "has_ssse3", "has_cmpxchg16b", "has_sse41", "has_sse42", "has_popcnt"];

const V3: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_cmpxchg16b",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];
