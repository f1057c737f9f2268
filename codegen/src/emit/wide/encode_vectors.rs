//! Vector and mask instructions to bytes.

use super::assembler::Operand;
use super::codes::{self, MulAddForm};
use super::constants::Constant;
use super::encode::Encoder;
use super::machine::{BinaryOp, Inst, Kind, Reg, Source};
use crate::emit::EmitError;
use iced_x86::{Code as X86, Register};

impl Encoder<'_> {
    pub fn vector_inst(&mut self, inst: &Inst) -> Result<(), EmitError> {
        let wide = self.wide;
        match *inst {
            Inst::Load { to, from } => self.load(to, from),
            Inst::LoadOne { to, from } => {
                let code =
                    if self.number(to) < 16 { X86::VEX_Vmovss_xmm_m32 } else { X86::EVEX_Vmovss_xmm_k1z_m32 };
                let from = self.memory(&from, false);
                self.assembler.emit(code, &[self.scalar(to), from])
            }
            Inst::Store { to, value } => {
                let to = self.memory(&to, false);
                self.assembler.emit(store_code(wide), &[to, self.vector(value)])
            }
            Inst::StoreOne { to, value } => {
                let code = if self.number(value) < 16 {
                    X86::VEX_Vmovss_m32_xmm
                } else {
                    X86::EVEX_Vmovss_m32_k1_xmm
                };
                let to = self.memory(&to, false);
                self.assembler.emit(code, &[to, self.scalar(value)])
            }
            Inst::Binary { op, to, a, b } => {
                let operands = [self.vector(to), self.vector(a), self.source(b)];
                self.assembler.emit(codes::binary(op, wide), &operands)
            }
            Inst::Unary { op, to, a } => {
                let (code, immediate) = codes::unary(op, wide);
                let (to, a) = (self.vector(to), self.source(a));
                match immediate {
                    Some(immediate) => self.assembler.emit(code, &[to, a, Operand::Byte(immediate as u8)]),
                    None => self.assembler.emit(code, &[to, a]),
                }
            }
            Inst::Shift { left, to, a, bits } => {
                let operands = [self.vector(to), self.vector(a), Operand::Byte(bits)];
                self.assembler.emit(codes::shift(left, wide), &operands)
            }
            Inst::MulAdd { to, a, b, c } => self.mul_add(to, a, b, c),
            Inst::Compare { predicate, to, a, b } => {
                let (a, b) = (self.vector(a), self.source(b));
                let (code, to) = if wide {
                    (X86::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, self.mask_operand(to))
                } else {
                    (X86::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, self.vector(to))
                };
                self.assembler.emit(code, &[to, a, b, Operand::Byte(predicate)])
            }
            Inst::Blend { to, mask, no, yes } => {
                let (to, no, yes) = (self.vector(to), self.vector(no), self.source(yes));
                if wide {
                    let mask = Some((self.mask(mask), false));
                    return self.assembler.emit_masked(
                        X86::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32,
                        &[to, no, yes],
                        mask,
                    );
                }
                let mask = self.vector(mask);
                self.assembler.emit(X86::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, &[to, no, yes, mask])
            }
            Inst::Masked { op, to, mask, keep, a, b } => self.masked(op, to, mask, keep, a, b),
            Inst::LoadMask { to, from } => {
                let from = self.memory(&from, false);
                self.assembler.emit(X86::VEX_Kmovw_kr_km16, &[self.mask_operand(to), from])
            }
            Inst::LoadMasked { to, mask, from } => {
                let (to, from) = (self.vector(to), self.memory(&from, false));
                if wide {
                    let mask = Some((self.mask(mask), true));
                    return self.assembler.emit_masked(load_code(true), &[to, from], mask);
                }
                let mask = self.vector(mask);
                self.assembler.emit(X86::VEX_Vmaskmovps_ymm_ymm_m256, &[to, mask, from])
            }
            Inst::StoreMasked { to, mask, value } => {
                let (to, value) = (self.memory(&to, false), self.vector(value));
                if wide {
                    let mask = Some((self.mask(mask), false));
                    return self.assembler.emit_masked(store_code(true), &[to, value], mask);
                }
                let mask = self.vector(mask);
                self.assembler.emit(X86::VEX_Vmaskmovps_m256_ymm_ymm, &[to, mask, value])
            }
            Inst::Spill { to, value } if self.kind(value) == Kind::Mask => {
                self.assembler.emit(X86::VEX_Kmovw_m16_kr, &[self.slot(to), self.mask_operand(value)])
            }
            Inst::Reload { to, from } if self.kind(to) == Kind::Mask => {
                self.assembler.emit(X86::VEX_Kmovw_kr_km16, &[self.mask_operand(to), self.slot(from)])
            }
            Inst::Spill { to, value } => {
                self.assembler.emit(store_code(wide), &[self.slot(to), self.vector(value)])
            }
            Inst::Reload { to, from } => self.load(to, Source::Slot(from)),
            _ => Err(EmitError::Encoding(format!("not a vector instruction: {inst:?}"))),
        }
    }

    fn load(&mut self, to: Reg, from: Source) -> Result<(), EmitError> {
        let wide = self.wide;
        match from {
            Source::Reg(from) if self.number(from) == self.number(to) => Ok(()),
            Source::Reg(_) => {
                let code =
                    if wide { X86::EVEX_Vmovaps_zmm_k1z_zmmm512 } else { X86::VEX_Vmovaps_ymm_ymmm256 };
                self.assembler.emit(code, &[self.vector(to), self.source(from)])
            }
            Source::Memory(_) | Source::Slot(_) => {
                self.assembler.emit(load_code(wide), &[self.vector(to), self.source(from)])
            }
            Source::Constant(0) => {
                let to = self.vector(to);
                self.assembler.emit(codes::binary(BinaryOp::Xor, wide), &[to, to, to])
            }
            Source::Constant(bits) => {
                let from = Operand::Constant { constant: Constant::Element(bits), broadcast: false };
                self.assembler.emit(splat_code(wide), &[self.vector(to), from])
            }
            Source::Broadcast(place) => {
                let from = self.memory(&place, false);
                self.assembler.emit(splat_code(wide), &[self.vector(to), from])
            }
        }
    }

    /// `to = a * b + c`, in the form that overwrites the operand whose register `to` has, or a copy of one.
    fn mul_add(&mut self, to: Reg, a: Source, b: Source, c: Source) -> Result<(), EmitError> {
        let is_to =
            |source: Source| matches!(source, Source::Reg(reg) if self.number(reg) == self.number(to));
        let in_register = |source: Source| matches!(source, Source::Reg(_));
        // The factor that may be memory comes last.
        let (x, y) = if in_register(a) { (a, b) } else { (b, a) };
        let (form, second, third) = if is_to(c) {
            (MulAddForm::F231, x, y)
        } else if is_to(x) && in_register(c) {
            (MulAddForm::F132, c, y)
        } else if is_to(x) {
            (MulAddForm::F213, y, c)
        } else if is_to(y) {
            (MulAddForm::F213, x, c)
        } else if in_register(c) {
            self.load(to, c)?;
            (MulAddForm::F231, x, y)
        } else {
            self.load(to, x)?;
            (MulAddForm::F213, y, c)
        };
        let operands = [self.vector(to), self.source(second), self.source(third)];
        self.assembler.emit(codes::mul_add(form, self.wide), &operands)
    }

    fn masked(
        &mut self,
        op: BinaryOp,
        to: Reg,
        mask: Reg,
        keep: Reg,
        a: Reg,
        b: Source,
    ) -> Result<(), EmitError> {
        let code = codes::binary(op, true);
        let clobbers = |reg: Reg| self.number(reg) == self.number(to);
        let mask = Some((self.mask(mask), false));
        let operands = [self.vector(to), self.vector(a), self.source(b)];
        if clobbers(keep) {
            return self.assembler.emit_masked(code, &operands, mask);
        }
        if clobbers(a) || matches!(b, Source::Reg(b) if clobbers(b)) {
            // `to` cannot take what is kept before the operands are read.
            self.assembler.emit(code, &operands)?;
            let operands = [self.vector(to), self.vector(keep), self.vector(to)];
            return self.assembler.emit_masked(X86::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, &operands, mask);
        }
        self.load(to, Source::Reg(keep))?;
        self.assembler.emit_masked(code, &operands, mask)
    }

    fn vector(&self, reg: Reg) -> Operand {
        let first = if self.wide { Register::ZMM0 } else { Register::YMM0 };
        Operand::Register(first + self.number(reg))
    }

    fn scalar(&self, reg: Reg) -> Operand {
        Operand::Register(Register::XMM0 + self.number(reg))
    }

    fn mask(&self, reg: Reg) -> Register {
        Register::K0 + self.number(reg)
    }

    fn mask_operand(&self, reg: Reg) -> Operand {
        Operand::Register(self.mask(reg))
    }

    /// An operand of an operation.
    fn source(&self, source: Source) -> Operand {
        match source {
            Source::Reg(reg) => self.vector(reg),
            Source::Memory(place) => self.memory(&place, false),
            Source::Broadcast(place) => self.memory(&place, true),
            Source::Slot(slot) => self.slot(slot),
            Source::Constant(bits) if self.wide => {
                Operand::Constant { constant: Constant::Element(bits), broadcast: true }
            }
            Source::Constant(bits) => {
                Operand::Constant { constant: Constant::Vector(bits), broadcast: false }
            }
        }
    }
}

fn load_code(wide: bool) -> X86 {
    if wide { X86::EVEX_Vmovups_zmm_k1z_zmmm512 } else { X86::VEX_Vmovups_ymm_ymmm256 }
}

fn store_code(wide: bool) -> X86 {
    if wide { X86::EVEX_Vmovups_zmmm512_k1z_zmm } else { X86::VEX_Vmovups_ymmm256_ymm }
}

fn splat_code(wide: bool) -> X86 {
    if wide { X86::EVEX_Vbroadcastss_zmm_k1z_xmmm32 } else { X86::VEX_Vbroadcastss_ymm_m32 }
}
