//! Machine instructions with their registers to bytes: the frame of the function, integers and control flow.
//! [`super::encode_vectors`] has the vector instructions.

use super::assembler::{Assembler, Memory, Operand};
use super::codes;
use super::constants::Constant;
use super::machine::{Access, Code, Inst, IntBinaryOp, IntSource, Kind, Place, Reg, Slot};
use super::scan::{ARGUMENTS, RAX, RDX};
use crate::emit::EmitError;
use crate::tile::Cache;
use iced_x86::{Code as X86, Register};

/// Heads of innermost loops start at a multiple of this: a line of the instruction cache.
const LOOP_ALIGNMENT: usize = 64;

/// Frames do not touch page after page as they grow, so they must not step over the guard below a stack.
const MAX_FRAME_BYTES: i32 = 32 << 10;

/// The bytes of a function whose registers have these places.
pub fn encode(code: &mut Code, places: &[u8], wide: bool) -> Result<Vec<u8>, EmitError> {
    let frame = Frame::new(code, places, wide);
    if frame.bytes > MAX_FRAME_BYTES {
        return Err(EmitError::Unsupported(format!("a stack frame of {} bytes", frame.bytes)));
    }
    let insts = std::mem::take(&mut code.insts);
    let assembler = Assembler::new(code.labels);
    let mut encoder = Encoder { places, kinds: &code.kinds, wide, frame, assembler };
    encoder.enter()?;
    for (index, inst) in insts.iter().enumerate() {
        if let (Inst::LoopBegin { innermost: true }, Some(Inst::Label(_))) = (inst, insts.get(index + 1)) {
            encoder.assembler.align(LOOP_ALIGNMENT);
        }
        encoder.inst(inst)?;
    }
    encoder.leave()?;
    encoder.assembler.finish(wide)
}

/// The stack frame: slots from the stack pointer up, vectors first and aligned, then the caller's stack pointer.
struct Frame {
    /// Offset of each slot.
    slots: Vec<i32>,
    bytes: i32,
    /// Where the stack pointer before alignment is kept, if there are vectors.
    saved: Option<i32>,
    /// Callee-saved registers in use.
    pushed: Vec<u32>,
}

/// Encoding numbers of the registers that belong to the caller: rbx, rbp, r12 to r15.
const CALLEE_SAVED: [u32; 6] = [3, 5, 12, 13, 14, 15];

impl Frame {
    fn new(code: &mut Code, places: &[u8], wide: bool) -> Frame {
        let mut used = 0u32;
        for inst in &mut code.insts {
            let kinds = &code.kinds;
            inst.visit(&mut |reg, access| {
                if access != Access::Read && kinds[reg.0 as usize] == Kind::Int {
                    used |= 1 << places[reg.0 as usize];
                }
            });
        }
        let vector_bytes = if wide { 64 } else { 32 };
        let mut next = 0;
        let mut slots = vec![0; code.slots.len()];
        for vectors in [true, false] {
            for (slot, kind) in slots.iter_mut().zip(&code.slots) {
                if (*kind == Kind::Vector) == vectors {
                    *slot = next;
                    next += if vectors { vector_bytes } else { 8 };
                }
            }
        }
        let saved = code.slots.contains(&Kind::Vector).then_some(next);
        if saved.is_some() {
            next = (next + 8 + vector_bytes - 1) / vector_bytes * vector_bytes;
        }
        let pushed = CALLEE_SAVED.into_iter().filter(|register| used >> register & 1 == 1).collect();
        Frame { slots, bytes: next, saved, pushed }
    }
}

pub(super) struct Encoder<'a> {
    places: &'a [u8],
    kinds: &'a [Kind],
    pub wide: bool,
    frame: Frame,
    pub assembler: Assembler,
}

const STACK: Operand = Operand::Register(Register::RSP);

impl Encoder<'_> {
    fn enter(&mut self) -> Result<(), EmitError> {
        for &register in &self.frame.pushed {
            self.assembler.emit(X86::Push_r64, &[Operand::Register(Register::RAX + register)])?;
        }
        let bytes = Operand::Integer(self.frame.bytes);
        match self.frame.saved {
            Some(saved) => {
                // No argument is in rax.
                let rax = Operand::Register(Register::RAX);
                self.assembler.emit(X86::Mov_r64_rm64, &[rax, STACK])?;
                self.assembler.emit(X86::Sub_rm64_imm32, &[STACK, bytes])?;
                let alignment = if self.wide { -64 } else { -32 };
                self.assembler.emit(X86::And_rm64_imm32, &[STACK, Operand::Integer(alignment)])?;
                self.assembler.emit(X86::Mov_rm64_r64, &[on_stack(saved), rax])
            }
            None if self.frame.bytes > 0 => self.assembler.emit(X86::Sub_rm64_imm32, &[STACK, bytes]),
            None => Ok(()),
        }
    }

    fn leave(&mut self) -> Result<(), EmitError> {
        match self.frame.saved {
            Some(saved) => self.assembler.emit(X86::Mov_r64_rm64, &[STACK, on_stack(saved)])?,
            None if self.frame.bytes > 0 => {
                self.assembler.emit(X86::Add_rm64_imm32, &[STACK, Operand::Integer(self.frame.bytes)])?;
            }
            None => {}
        }
        for &register in self.frame.pushed.iter().rev() {
            self.assembler.emit(X86::Pop_r64, &[Operand::Register(Register::RAX + register)])?;
        }
        // The caller's code is not to pay for the upper halves that this code leaves dirty.
        self.assembler.emit(X86::VEX_Vzeroupper, &[])?;
        self.assembler.emit(X86::Retnq, &[])
    }

    pub fn kind(&self, reg: Reg) -> Kind {
        self.kinds[reg.0 as usize]
    }

    pub fn number(&self, reg: Reg) -> u32 {
        u32::from(self.places[reg.0 as usize])
    }

    fn register(&self, reg: Reg) -> Operand {
        Operand::Register(Register::RAX + self.number(reg))
    }

    fn low(&self, reg: Reg) -> Register {
        Register::EAX + self.number(reg)
    }

    fn same(&self, a: Reg, b: Reg) -> bool {
        self.number(a) == self.number(b)
    }

    pub fn slot(&self, slot: Slot) -> Operand {
        on_stack(self.frame.slots[slot.0 as usize])
    }

    pub fn memory(&self, place: &Place, broadcast: bool) -> Operand {
        Operand::Memory(Memory {
            base: Register::RAX + self.number(place.base),
            index: place.index.map(|index| Register::RAX + self.number(index)),
            offset: place.offset,
            broadcast,
        })
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), EmitError> {
        match *inst {
            Inst::Argument { to, index } => {
                let from = Register::RAX + u32::from(ARGUMENTS[index as usize]);
                self.copy(self.register(to), Operand::Register(from))
            }
            Inst::Set { to, value } => {
                let register = Register::RAX + self.number(to);
                self.assembler.set(register, self.low(to), value)
            }
            Inst::Copy { to, from } => self.copy(self.register(to), self.register(from)),
            Inst::LoadInt { to, from } => {
                self.assembler.emit(X86::Mov_r64_rm64, &[self.register(to), self.memory(&from, false)])
            }
            Inst::StoreInt { to, value } => {
                self.assembler.emit(X86::Mov_rm64_r64, &[self.memory(&to, false), self.register(value)])
            }
            Inst::MaskTable { to } => {
                let table = Operand::Constant { constant: Constant::MaskTable, broadcast: false };
                self.assembler.emit(X86::Lea_r64_m, &[self.register(to), table])
            }
            Inst::IntBinary { op: IntBinaryOp::Add, to, a, b } => self.add(to, a, b),
            Inst::IntBinary { op: IntBinaryOp::Sub, to, a, b } => self.subtract(to, a, b),
            Inst::IntBinary { op: IntBinaryOp::Mul, to, a, b } => {
                self.commuting(X86::Imul_r64_rm64, to, a, b)
            }
            Inst::IntBinary { op: IntBinaryOp::And, to, a, b: IntSource::Constant(bits) } => {
                self.copy(self.register(to), self.register(a))?;
                self.assembler.emit(X86::And_rm64_imm32, &[self.register(to), Operand::Integer(bits)])
            }
            Inst::IntBinary { op: IntBinaryOp::And, to, a, b } => self.commuting(X86::And_r64_rm64, to, a, b),
            Inst::MulConst { to, a, b } => self.multiply(to, a, b),
            Inst::Divide { to, a, b, remainder } => {
                // Allocation keeps both operands out of these two registers.
                let (rax, edx) = (Operand::Register(Register::RAX), Operand::Register(Register::EDX));
                self.copy(rax, self.register(a))?;
                self.assembler.emit(X86::Xor_r32_rm32, &[edx, edx])?;
                self.assembler.emit(X86::Div_rm64, &[self.register(b)])?;
                let result = if remainder { RDX } else { RAX };
                self.copy(self.register(to), Operand::Register(Register::RAX + u32::from(result)))
            }
            Inst::ShiftRight { to, a, bits } => {
                self.copy(self.register(to), self.register(a))?;
                self.assembler.emit(X86::Shr_rm64_imm8, &[self.register(to), Operand::Byte(bits)])
            }
            Inst::AddToSlot { slot, value } => {
                self.assembler.emit(X86::Add_rm64_imm32, &[self.slot(slot), Operand::Integer(value)])
            }
            Inst::Label(label) => {
                self.assembler.label(label);
                Ok(())
            }
            Inst::Jump(label) => self.assembler.jump(X86::Jmp_rel32_64, label),
            Inst::Branch { compare, left, right, to } => {
                self.compare_ints(left, right)?;
                self.assembler.jump(codes::jump_if(compare), to)
            }
            Inst::CountDown { counter, to } => {
                self.assembler.emit(X86::Dec_rm64, &[self.register(counter)])?;
                self.assembler.jump(X86::Jne_rel32_64, to)
            }
            Inst::CountDownSlot { counter, to } => {
                self.assembler.emit(X86::Dec_rm64, &[self.slot(counter)])?;
                self.assembler.jump(X86::Jne_rel32_64, to)
            }
            Inst::LoopBegin { .. } | Inst::LoopEnd => Ok(()),
            Inst::Spill { to, value } if self.kind(value) == Kind::Int => {
                self.assembler.emit(X86::Mov_rm64_r64, &[self.slot(to), self.register(value)])
            }
            Inst::Reload { to, from } if self.kind(to) == Kind::Int => {
                self.assembler.emit(X86::Mov_r64_rm64, &[self.register(to), self.slot(from)])
            }
            Inst::Prefetch(cache, place) => {
                let code = match cache {
                    Cache::First => X86::Prefetcht0_m8,
                    Cache::Second => X86::Prefetcht1_m8,
                };
                self.assembler.emit(code, &[self.memory(&place, false)])
            }
            Inst::Spill { .. }
            | Inst::Reload { .. }
            | Inst::Load { .. }
            | Inst::LoadOne { .. }
            | Inst::Store { .. }
            | Inst::StoreOne { .. }
            | Inst::Binary { .. }
            | Inst::Unary { .. }
            | Inst::Shift { .. }
            | Inst::MulAdd { .. }
            | Inst::Compare { .. }
            | Inst::Blend { .. }
            | Inst::Masked { .. }
            | Inst::LoadMask { .. }
            | Inst::LoadMasked { .. }
            | Inst::StoreMasked { .. } => self.vector_inst(inst),
        }
    }

    fn copy(&mut self, to: Operand, from: Operand) -> Result<(), EmitError> {
        match (to, from) {
            (Operand::Register(to), Operand::Register(from)) if to == from => Ok(()),
            _ => self.assembler.emit(X86::Mov_r64_rm64, &[to, from]),
        }
    }

    fn add(&mut self, to: Reg, a: Reg, b: IntSource) -> Result<(), EmitError> {
        match b {
            IntSource::Constant(value) if self.same(to, a) => {
                self.assembler.emit(X86::Add_rm64_imm32, &[self.register(to), Operand::Integer(value)])
            }
            IntSource::Constant(offset) => {
                let sum = self.memory(&Place { base: a, index: None, offset }, false);
                self.assembler.emit(X86::Lea_r64_m, &[self.register(to), sum])
            }
            IntSource::Reg(b) if !self.same(to, a) && !self.same(to, b) => {
                let sum = self.memory(&Place { base: a, index: Some(b), offset: 0 }, false);
                self.assembler.emit(X86::Lea_r64_m, &[self.register(to), sum])
            }
            IntSource::Reg(_) | IntSource::Slot(_) => self.commuting(X86::Add_r64_rm64, to, a, b),
        }
    }

    fn subtract(&mut self, to: Reg, a: Reg, b: IntSource) -> Result<(), EmitError> {
        if let IntSource::Reg(b) = b
            && self.same(to, b)
            && !self.same(to, a)
        {
            self.assembler.emit(X86::Neg_rm64, &[self.register(to)])?;
            return self.assembler.emit(X86::Add_r64_rm64, &[self.register(to), self.register(a)]);
        }
        self.copy(self.register(to), self.register(a))?;
        self.assembler.emit(X86::Sub_r64_rm64, &[self.register(to), self.right(b)])
    }

    fn commuting(&mut self, code: X86, to: Reg, a: Reg, b: IntSource) -> Result<(), EmitError> {
        match b {
            IntSource::Reg(b) if self.same(to, b) => {
                self.assembler.emit(code, &[self.register(to), self.register(a)])
            }
            IntSource::Reg(_) | IntSource::Slot(_) | IntSource::Constant(_) => {
                self.copy(self.register(to), self.register(a))?;
                self.assembler.emit(code, &[self.register(to), self.right(b)])
            }
        }
    }

    fn multiply(&mut self, to: Reg, a: Reg, b: i32) -> Result<(), EmitError> {
        match b {
            0 => {
                let register = Register::RAX + self.number(to);
                self.assembler.set(register, self.low(to), 0)
            }
            1 => self.copy(self.register(to), self.register(a)),
            _ if b > 0 && (b as u32).is_power_of_two() => {
                self.copy(self.register(to), self.register(a))?;
                let bits = Operand::Byte(b.trailing_zeros() as u8);
                self.assembler.emit(X86::Shl_rm64_imm8, &[self.register(to), bits])
            }
            _ => self
                .assembler
                .emit(X86::Imul_r64_rm64_imm32, &[self.register(to), self.register(a), Operand::Integer(b)]),
        }
    }

    fn compare_ints(&mut self, left: IntSource, right: IntSource) -> Result<(), EmitError> {
        let (left_operand, right_operand) = (self.right(left), self.right(right));
        match (left, right) {
            (IntSource::Reg(_), IntSource::Constant(0)) => {
                self.assembler.emit(X86::Test_rm64_r64, &[left_operand, left_operand])
            }
            (_, IntSource::Constant(_)) => {
                self.assembler.emit(X86::Cmp_rm64_imm32, &[left_operand, right_operand])
            }
            (_, IntSource::Slot(_)) => self.assembler.emit(X86::Cmp_r64_rm64, &[left_operand, right_operand]),
            (_, IntSource::Reg(_)) => self.assembler.emit(X86::Cmp_rm64_r64, &[left_operand, right_operand]),
        }
    }

    fn right(&self, source: IntSource) -> Operand {
        match source {
            IntSource::Reg(reg) => self.register(reg),
            IntSource::Slot(slot) => self.slot(slot),
            IntSource::Constant(value) => Operand::Integer(value),
        }
    }
}

fn on_stack(offset: i32) -> Operand {
    Operand::Memory(Memory { base: Register::RSP, index: None, offset, broadcast: false })
}
