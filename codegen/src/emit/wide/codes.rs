//! Which x86 instruction does what, with 256-bit (VEX) and 512-bit (EVEX) vectors.

use super::machine::{BinaryOp, UnaryOp};
use crate::tile::{IntCompare, Rounding};
use iced_x86::Code;

pub fn binary(op: BinaryOp, wide: bool) -> Code {
    let (narrow, broad) = match op {
        BinaryOp::Add => (Code::VEX_Vaddps_ymm_ymm_ymmm256, Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er),
        BinaryOp::Sub => (Code::VEX_Vsubps_ymm_ymm_ymmm256, Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er),
        BinaryOp::Mul => (Code::VEX_Vmulps_ymm_ymm_ymmm256, Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er),
        BinaryOp::Div => (Code::VEX_Vdivps_ymm_ymm_ymmm256, Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er),
        BinaryOp::Max => (Code::VEX_Vmaxps_ymm_ymm_ymmm256, Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae),
        BinaryOp::Min => (Code::VEX_Vminps_ymm_ymm_ymmm256, Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae),
        BinaryOp::And => (Code::VEX_Vandps_ymm_ymm_ymmm256, Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32),
        BinaryOp::Or => (Code::VEX_Vorps_ymm_ymm_ymmm256, Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32),
        BinaryOp::Xor => (Code::VEX_Vxorps_ymm_ymm_ymmm256, Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32),
        BinaryOp::IntAdd => (Code::VEX_Vpaddd_ymm_ymm_ymmm256, Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32),
        BinaryOp::IntSub => (Code::VEX_Vpsubd_ymm_ymm_ymmm256, Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32),
    };
    if wide { broad } else { narrow }
}

/// The instruction, and its immediate if it has one.
pub fn unary(op: UnaryOp, wide: bool) -> (Code, Option<u32>) {
    // Bit 3 of both roundings' immediates keeps the inexact flag clear; the scale of `vrndscaleps` is zero.
    match op {
        UnaryOp::Sqrt if wide => (Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, None),
        UnaryOp::Sqrt => (Code::VEX_Vsqrtps_ymm_ymmm256, None),
        UnaryOp::FromInt if wide => (Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er, None),
        UnaryOp::FromInt => (Code::VEX_Vcvtdq2ps_ymm_ymmm256, None),
        UnaryOp::Round(mode) => {
            let mode = match mode {
                Rounding::Nearest => 0,
                Rounding::Floor => 1,
                Rounding::Ceil => 2,
            };
            let code = if wide {
                Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae
            } else {
                Code::VEX_Vroundps_ymm_ymmm256_imm8
            };
            (code, Some(8 | mode))
        }
    }
}

pub fn shift(left: bool, wide: bool) -> Code {
    match (left, wide) {
        (true, true) => Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
        (true, false) => Code::VEX_Vpslld_ymm_ymm_imm8,
        (false, true) => Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8,
        (false, false) => Code::VEX_Vpsrld_ymm_ymm_imm8,
    }
}

/// The three forms of multiply-add; the digits name the operands that are multiplied and the one that is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MulAddForm {
    /// `first = first * third + second`.
    F132,
    /// `first = second * first + third`.
    F213,
    /// `first = second * third + first`.
    F231,
}

pub fn mul_add(form: MulAddForm, wide: bool) -> Code {
    match (form, wide) {
        (MulAddForm::F132, true) => Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
        (MulAddForm::F132, false) => Code::VEX_Vfmadd132ps_ymm_ymm_ymmm256,
        (MulAddForm::F213, true) => Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
        (MulAddForm::F213, false) => Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256,
        (MulAddForm::F231, true) => Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
        (MulAddForm::F231, false) => Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
    }
}

pub fn jump_if(compare: IntCompare) -> Code {
    match compare {
        IntCompare::Eq => Code::Je_rel32_64,
        IntCompare::Ne => Code::Jne_rel32_64,
        IntCompare::Lt => Code::Jl_rel32_64,
        IntCompare::Ge => Code::Jge_rel32_64,
        IntCompare::Gt => Code::Jg_rel32_64,
        IntCompare::Le => Code::Jle_rel32_64,
    }
}
