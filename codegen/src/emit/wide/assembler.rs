//! A thin assembler over iced-x86's encoder: labels, constants behind the code, operands of any kind.

use super::constants::{Constant, Constants};
use super::machine::Label;
use crate::emit::EmitError;
use iced_x86::{Code, Encoder, Instruction, OpKind, Register};

/// `[base + index + offset]`.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub base: Register,
    pub index: Option<Register>,
    pub offset: i32,
    /// One element for every lane; EVEX only.
    pub broadcast: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Operand {
    Register(Register),
    Memory(Memory),
    Constant {
        constant: Constant,
        broadcast: bool,
    },
    /// Eight bits, for vector instructions.
    Byte(u8),
    /// A constant of integer arithmetic, sign-extended, in the length that fits.
    Integer(i32),
}

pub struct Assembler {
    encoder: Encoder,
    length: usize,
    /// Offset of each label that is placed.
    labels: Vec<Option<usize>>,
    /// Ends of jumps, whose last four bytes are the distance to their label.
    jumps: Vec<(usize, Label)>,
    constants: Constants,
}

impl Assembler {
    pub fn new(labels: u32) -> Assembler {
        Assembler {
            encoder: Encoder::new(64),
            length: 0,
            labels: vec![None; labels as usize],
            jumps: Vec::new(),
            constants: Constants::default(),
        }
    }

    pub fn emit(&mut self, code: Code, operands: &[Operand]) -> Result<(), EmitError> {
        self.emit_masked(code, operands, None)
    }

    /// With lanes outside of `mask` unchanged (zero, for loads).
    pub fn emit_masked(
        &mut self,
        code: Code,
        operands: &[Operand],
        mask: Option<(Register, bool)>,
    ) -> Result<(), EmitError> {
        let mut instruction = Instruction::default();
        instruction.set_code(code);
        let mut referred = None;
        for (index, operand) in operands.iter().enumerate() {
            let index = index as u32;
            match *operand {
                Operand::Register(register) => {
                    instruction.set_op_kind(index, OpKind::Register);
                    instruction.set_op_register(index, register);
                }
                Operand::Memory(memory) => {
                    instruction.set_op_kind(index, OpKind::Memory);
                    instruction.set_memory_base(memory.base);
                    instruction.set_memory_index(memory.index.unwrap_or(Register::None));
                    // One byte, scaled for EVEX, or four if the offset does not fit.
                    instruction.set_memory_displ_size(u32::from(memory.offset != 0));
                    instruction.set_memory_displacement64(i64::from(memory.offset) as u64);
                    instruction.set_is_broadcast(memory.broadcast);
                }
                Operand::Constant { constant, broadcast } => {
                    instruction.set_op_kind(index, OpKind::Memory);
                    instruction.set_memory_base(Register::RIP);
                    instruction.set_memory_displ_size(8);
                    instruction.set_is_broadcast(broadcast);
                    referred = Some(constant);
                }
                Operand::Byte(value) => {
                    instruction.set_op_kind(index, OpKind::Immediate8);
                    instruction.set_immediate8(value);
                }
                Operand::Integer(value) => match i8::try_from(value) {
                    Ok(value) if short(code) != code => {
                        instruction.set_code(short(code));
                        instruction.set_op_kind(index, OpKind::Immediate8to64);
                        instruction.set_immediate8to64(i64::from(value));
                    }
                    Ok(_) | Err(_) => {
                        instruction.set_op_kind(index, OpKind::Immediate32to64);
                        instruction.set_immediate32to64(i64::from(value));
                    }
                },
            }
        }
        if let Some((mask, zeroing)) = mask {
            instruction.set_op_mask(mask);
            instruction.set_zeroing_masking(zeroing);
        }
        let start = self.length;
        self.encode(&instruction)?;
        if let Some(constant) = referred {
            let at = start + self.encoder.get_constant_offsets().displacement_offset();
            self.constants.refer(constant, at, self.length);
        }
        Ok(())
    }

    /// `register = value`.
    pub fn set(&mut self, register: Register, low: Register, value: i64) -> Result<(), EmitError> {
        let instruction = if value == 0 {
            return self.emit(Code::Xor_r32_rm32, &[Operand::Register(low), Operand::Register(low)]);
        } else if let Ok(value) = u32::try_from(value) {
            Instruction::with2(Code::Mov_r32_imm32, low, value)
        } else if let Ok(value) = i32::try_from(value) {
            Instruction::with2(Code::Mov_rm64_imm32, register, value)
        } else {
            Instruction::with2(Code::Mov_r64_imm64, register, value)
        };
        self.encode(&instruction.map_err(fault)?)
    }

    pub fn jump(&mut self, code: Code, to: Label) -> Result<(), EmitError> {
        // The distance is filled in at the end.
        self.encode(&Instruction::with_branch(code, self.length as u64).map_err(fault)?)?;
        self.jumps.push((self.length, to));
        Ok(())
    }

    pub fn label(&mut self, label: Label) {
        self.labels[label.0 as usize] = Some(self.length);
    }

    /// Pads with instructions that do nothing.
    pub fn align(&mut self, alignment: usize) {
        let mut missing = self.length.next_multiple_of(alignment) - self.length;
        while missing > 0 {
            let count = missing.min(NOPS.len());
            for &byte in NOPS[count - 1] {
                self.encoder.write_u8(byte);
            }
            self.length += count;
            missing -= count;
        }
    }

    pub fn finish(mut self, wide: bool) -> Result<Vec<u8>, EmitError> {
        let mut code = self.encoder.take_buffer();
        debug_assert_eq!(code.len(), self.length);
        for (end, label) in self.jumps {
            let Some(place) = self.labels[label.0 as usize] else {
                return Err(EmitError::Encoding(format!("a jump to nowhere: {label:?}")));
            };
            let distance = place as i64 - end as i64;
            code[end - 4..end].copy_from_slice(&(distance as i32).to_le_bytes());
        }
        self.constants.place(&mut code, wide);
        Ok(code)
    }

    fn encode(&mut self, instruction: &Instruction) -> Result<(), EmitError> {
        self.length += self.encoder.encode(instruction, self.length as u64).map_err(fault)?;
        Ok(())
    }
}

fn fault(error: iced_x86::IcedError) -> EmitError {
    EmitError::Encoding(error.to_string())
}

/// The form of an instruction with an 8-bit constant.
fn short(code: Code) -> Code {
    match code {
        Code::Add_rm64_imm32 => Code::Add_rm64_imm8,
        Code::And_rm64_imm32 => Code::And_rm64_imm8,
        Code::Cmp_rm64_imm32 => Code::Cmp_rm64_imm8,
        Code::Imul_r64_rm64_imm32 => Code::Imul_r64_rm64_imm8,
        Code::Sub_rm64_imm32 => Code::Sub_rm64_imm8,
        other => other,
    }
}

const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];
