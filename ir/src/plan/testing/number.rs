//! The arithmetics of a reference execution: f64 for kernels of floats, integers that nothing overflows for the others.

use crate::dtype::DType;
use crate::kernel::{Nest, Program, Reduce};
use crate::literal::Literal;

pub trait Number: Copy + Default {
    /// An element from its bytes.
    fn read(element: DType, bytes: &[u8]) -> Self;
    /// The bytes of the value as an element.
    fn bytes(self, element: DType) -> Vec<u8>;
    fn evaluate(program: &Program, acc: Self, loads: &[Self], nest: &Nest) -> Self;
    /// What a reduction of nothing gives.
    fn identity(reduce: Reduce) -> Self;
    fn combine(reduce: Reduce, acc: Self, value: Self, nest: &Nest) -> Self;
}

impl Number for f64 {
    fn read(element: DType, bytes: &[u8]) -> f64 {
        Literal { dtype: element, shape: vec![], bytes: bytes.into() }.get_f64(0).unwrap_or(f64::NAN)
    }

    fn bytes(self, element: DType) -> Vec<u8> {
        match element {
            DType::F32 => (self as f32).to_le_bytes().to_vec(),
            DType::F64 => self.to_le_bytes().to_vec(),
            DType::F16 => half::f16::from_f64(self).to_le_bytes().to_vec(),
            DType::BF16 => half::bf16::from_f64(self).to_le_bytes().to_vec(),
            DType::Bool => vec![u8::from(self != 0.0)],
            DType::U64 if self >= 0.0 => (self as u64).to_le_bytes().to_vec(),
            _ => (self as i64).to_le_bytes()[..element.size_bytes()].to_vec(),
        }
    }

    fn evaluate(program: &Program, acc: f64, loads: &[f64], _: &Nest) -> f64 {
        program.evaluate(acc, loads)
    }

    fn identity(reduce: Reduce) -> f64 {
        match reduce {
            Reduce::Sum => 0.0,
            Reduce::Product => 1.0,
            Reduce::Max => f64::NEG_INFINITY,
            Reduce::Min => f64::INFINITY,
        }
    }

    fn combine(reduce: Reduce, acc: f64, value: f64, _: &Nest) -> f64 {
        match reduce {
            Reduce::Sum => acc + value,
            Reduce::Product => acc * value,
            Reduce::Max | Reduce::Min if value.is_nan() || acc.is_nan() => f64::NAN,
            Reduce::Max => acc.max(value),
            Reduce::Min => acc.min(value),
        }
    }
}

impl Number for i128 {
    fn read(element: DType, bytes: &[u8]) -> i128 {
        if element.is_float() {
            return (f64::read(element, bytes) as i64).into();
        }
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        wrapped(u64::from_le_bytes(word).into(), element)
    }

    fn bytes(self, element: DType) -> Vec<u8> {
        match element {
            DType::Bool => vec![u8::from(self != 0)],
            DType::F32 => (self as f32).to_le_bytes().to_vec(),
            _ if element.is_float() => (self as f64).bytes(element),
            _ => (self as u64).to_le_bytes()[..element.size_bytes()].to_vec(),
        }
    }

    fn evaluate(program: &Program, acc: i128, loads: &[i128], nest: &Nest) -> i128 {
        program.evaluate_integers(acc, loads, |v| wrapped(v, arithmetic(nest)))
    }

    fn identity(reduce: Reduce) -> i128 {
        match reduce {
            Reduce::Sum => 0,
            Reduce::Product => 1,
            Reduce::Max => i128::MIN,
            Reduce::Min => i128::MAX,
        }
    }

    fn combine(reduce: Reduce, acc: i128, value: i128, nest: &Nest) -> i128 {
        match reduce {
            Reduce::Sum => wrapped(acc + value, arithmetic(nest)),
            Reduce::Product => wrapped(acc * value, arithmetic(nest)),
            Reduce::Max => acc.max(value),
            Reduce::Min => acc.min(value),
        }
    }
}

/// The type to whose width results wrap.
fn arithmetic(nest: &Nest) -> DType {
    match nest.compute {
        _ if nest.element.is_int() && nest.element.size_bytes() < 8 => nest.element,
        crate::kernel::Compute::U64 => DType::U64,
        _ => DType::I64,
    }
}

fn wrapped(v: i128, to: DType) -> i128 {
    match to {
        DType::I8 => (v as i8).into(),
        DType::I16 => (v as i16).into(),
        DType::I32 => (v as i32).into(),
        DType::U8 | DType::Bool => (v as u8).into(),
        DType::U16 => (v as u16).into(),
        DType::U32 => (v as u32).into(),
        DType::U64 => (v as u64).into(),
        DType::I64 | DType::F32 | DType::F64 | DType::F16 | DType::BF16 => (v as i64).into(),
    }
}
