//! Small tensors whose values are part of the model.

use crate::dtype::DType;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A tensor with its values, row-major, little-endian.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Literal {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// `shape` product × element size bytes. A literal has as many bytes as its shape says, and the type of its node.
    #[serde(with = "crate::export::base64")]
    pub bytes: Arc<[u8]>,
}

impl Literal {
    /// An `f32` tensor. `None` if the number of values is not the product of the shape.
    pub fn f32(shape: &[usize], values: &[f32]) -> Option<Literal> {
        let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (elements == values.len()).then(|| Literal { dtype: DType::F32, shape: shape.to_vec(), bytes })
    }

    /// An `i64` tensor. `None` if the number of values is not the product of the shape.
    pub fn i64(shape: &[usize], values: &[i64]) -> Option<Literal> {
        let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (elements == values.len()).then(|| Literal { dtype: DType::I64, shape: shape.to_vec(), bytes })
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size_bytes()
    }

    /// True where the byte count fits the shape.
    pub fn is_consistent(&self) -> bool {
        let elements = self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        elements.and_then(|n| n.checked_mul(self.dtype.size_bytes())) == Some(self.bytes.len())
    }

    /// Element `index` as a float; integers convert, `bool` is 0 or 1. `None` past the end.
    pub fn get_f64(&self, index: usize) -> Option<f64> {
        let size = self.dtype.size_bytes();
        let b = self.bytes.get(index.checked_mul(size)?..index.checked_mul(size)?.checked_add(size)?)?;
        Some(match self.dtype {
            DType::F32 => f32::from_le_bytes(b.try_into().ok()?).into(),
            DType::F64 => f64::from_le_bytes(b.try_into().ok()?),
            DType::F16 => half::f16::from_le_bytes(b.try_into().ok()?).to_f64(),
            DType::BF16 => half::bf16::from_le_bytes(b.try_into().ok()?).to_f64(),
            DType::I8 => i8::from_le_bytes(b.try_into().ok()?).into(),
            DType::I16 => i16::from_le_bytes(b.try_into().ok()?).into(),
            DType::I32 => i32::from_le_bytes(b.try_into().ok()?).into(),
            DType::I64 => i64::from_le_bytes(b.try_into().ok()?) as f64,
            DType::U8 | DType::Bool => b[0].into(),
            DType::U16 => u16::from_le_bytes(b.try_into().ok()?).into(),
            DType::U32 => u32::from_le_bytes(b.try_into().ok()?).into(),
            DType::U64 => u64::from_le_bytes(b.try_into().ok()?) as f64,
        })
    }

    /// Element `index` as [`get_f64`](Self::get_f64), rounded; an `f32` keeps its bits, those of signalling NaNs included. `None` past
    /// the end.
    pub fn get_f32(&self, index: usize) -> Option<f32> {
        if self.dtype != DType::F32 {
            return self.get_f64(index).map(|v| v as f32);
        }
        let bytes = self.bytes.get(index.checked_mul(4)?..)?.first_chunk()?;
        Some(f32::from_le_bytes(*bytes))
    }

    /// All elements as floats.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.as_f32() {
            Some(values) => values.map(f64::from).collect(),
            None => (0..self.elements()).filter_map(|i| self.get_f64(i)).collect(),
        }
    }

    /// All elements, if they are `f32`.
    pub fn as_f32(&self) -> Option<impl ExactSizeIterator<Item = f32>> {
        let (words, _) = self.bytes.as_chunks();
        (self.dtype == DType::F32).then(|| words.iter().map(|word| f32::from_le_bytes(*word)))
    }

    /// The least and the greatest element as floats. `None` without elements or where one is NaN.
    pub fn range(&self) -> Option<(f64, f64)> {
        let wider = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let (range, is_nan) = match self.as_f32() {
            Some(values) => values
                .fold((none, false), |(range, is_nan), v| (wider(range, f64::from(v)), is_nan || v.is_nan())),
            None => {
                let values = (0..self.elements()).filter_map(|i| self.get_f64(i));
                values.fold((none, false), |(range, is_nan), v| (wider(range, v), is_nan || v.is_nan()))
            }
        };
        (!is_nan && self.elements() > 0).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_no_nan_and_no_emptiness() {
        assert_eq!(Literal::f32(&[3], &[2.0, -1.5, 0.0]).unwrap().range(), Some((-1.5, 2.0)));
        assert_eq!(Literal::i64(&[2], &[7, -3]).unwrap().range(), Some((-3.0, 7.0)));
        assert_eq!(Literal::f32(&[2], &[1.0, f32::NAN]).unwrap().range(), None);
        assert_eq!(Literal::f32(&[0], &[]).unwrap().range(), None);
        assert_eq!(Literal::f32(&[2], &[1.0, f32::NAN]).unwrap().to_f64()[0], 1.0);
    }

    #[test]
    fn single_precision_keeps_its_bits() {
        let signalling = f32::from_bits(0x7f80_0001);
        let literal = Literal::f32(&[2], &[1.5, signalling]).unwrap();
        assert_eq!(literal.get_f32(0), Some(1.5));
        assert_eq!(literal.get_f32(1).map(f32::to_bits), Some(0x7f80_0001));
        assert_eq!(literal.get_f32(2), None);
        assert_eq!(Literal::i64(&[1], &[-3]).unwrap().get_f32(0), Some(-3.0));
    }
}
