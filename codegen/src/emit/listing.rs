//! Human-readable listings of a kernel: tile IR, Cranelift IR, and disassembled machine code.

use super::{Code, EmitError, cranelift};
use crate::kernels;
use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};
use rectify_ir::kernel::Descriptor;
use rectify_ir::target::{Level, Target};
use std::fmt::Write;

/// The tile IR of a kernel.
pub fn tile(descriptor: &Descriptor, target: &Target) -> Result<String, EmitError> {
    Ok(format!("; {descriptor}\n{}", kernels::generate(descriptor, target)?))
}

/// The Cranelift IR of a kernel.
pub fn clif(descriptor: &Descriptor, target: &Target) -> Result<String, EmitError> {
    let function = kernels::generate(descriptor, target)?;
    Ok(format!("; {descriptor}\n{}", cranelift::clif(&function, target)?))
}

/// The machine code of a kernel: disassembled on x86, as words elsewhere.
pub fn asm(descriptor: &Descriptor, target: &Target) -> Result<String, EmitError> {
    let code = kernels::compile(descriptor, target)?;
    let mut text = format!("; {descriptor}\n; {} bytes for {}\n", code.bytes.len(), target.level);
    match target.level {
        Level::X86V1 | Level::X86V2 | Level::X86V3 | Level::X86V4 => disassemble(&code, &mut text),
        Level::Aarch64 => {
            for (index, word) in code.bytes.chunks(4).enumerate() {
                let value = word.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{:06x}  {value:08x}", index * 4);
            }
        }
    }
    Ok(text)
}

fn disassemble(code: &Code, text: &mut String) {
    let mut formatter = NasmFormatter::new();
    let mut line = String::new();
    for instruction in Decoder::with_ip(64, &code.bytes, 0, DecoderOptions::NONE) {
        line.clear();
        formatter.format(&instruction, &mut line);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:06x}  {line}", instruction.ip());
    }
}
