//! Tensors with values, as the interpreter reads and makes them.

use super::Float;
use crate::dtype::DType;
use crate::literal::Literal;

/// A row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    pub shape: Vec<usize>,
    /// As many elements as the product of `shape`.
    pub data: Data<T>,
}

/// Elements of a tensor. All float types are computed in `T`, all integer types as their 64-bit pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<T> {
    Float(Vec<T>),
    /// Sign-extended; `u64` as the same bits.
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl<T> Data<T> {
    pub fn len(&self) -> usize {
        match self {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Float> Tensor<T> {
    /// A float tensor. `None` if the number of values is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, values: impl Into<Vec<T>>) -> Option<Tensor<T>> {
        let t = Tensor { shape: shape.into(), data: Data::Float(values.into()) };
        t.is_consistent().then_some(t)
    }

    /// An integer tensor. `None` if the number of values is not the product of the shape.
    pub fn ints(shape: impl Into<Vec<usize>>, values: impl Into<Vec<i64>>) -> Option<Tensor<T>> {
        let t = Tensor { shape: shape.into(), data: Data::Int(values.into()) };
        t.is_consistent().then_some(t)
    }

    /// A number of rank 0, of the kind that holds `dtype`.
    pub fn scalar(value: f64, dtype: DType) -> Tensor<T> {
        let data = match dtype {
            DType::Bool => Data::Bool(vec![value != 0.0]),
            t if t.is_float() => Data::Float(vec![T::from_f64(value)]),
            _ => Data::Int(vec![value as i64]),
        };
        Tensor { shape: vec![], data }
    }

    /// The values of a literal.
    pub fn from_literal(literal: &Literal) -> Tensor<T> {
        let bits = |i: usize| {
            let size = literal.dtype.size_bytes();
            let mut word = [0u8; 8];
            word[..size].copy_from_slice(&literal.bytes[i * size..(i + 1) * size]);
            // Sign extension of the narrower signed types.
            let shift = 64 - 8 * size as u32;
            match literal.dtype {
                DType::I8 | DType::I16 | DType::I32 => (i64::from_le_bytes(word) << shift) >> shift,
                _ => i64::from_le_bytes(word),
            }
        };
        let n = literal.elements();
        let data = match literal.dtype {
            DType::Bool => Data::Bool((0..n).map(|i| bits(i) != 0).collect()),
            t if t.is_float() => Data::Float(match literal.as_f32() {
                Some(values) => values.map(|v| T::from_f64(f64::from(v))).collect(),
                None => literal.to_f64().into_iter().map(T::from_f64).collect(),
            }),
            _ => Data::Int((0..n).map(bits).collect()),
        };
        Tensor { shape: literal.shape.clone(), data }
    }

    /// The values as a literal of type `dtype`. `None` if the elements are of another kind.
    pub fn to_literal(&self, dtype: DType) -> Option<Literal> {
        let mut bytes = Vec::with_capacity(self.data.len() * dtype.size_bytes());
        match &self.data {
            Data::Float(v) => {
                for x in v.iter().map(|x| x.to_f64()) {
                    match dtype {
                        DType::F32 => bytes.extend_from_slice(&(x as f32).to_le_bytes()),
                        DType::F64 => bytes.extend_from_slice(&x.to_le_bytes()),
                        DType::F16 => bytes.extend_from_slice(&half::f16::from_f64(x).to_le_bytes()),
                        _ => bytes.extend_from_slice(&half::bf16::from_f64(x).to_le_bytes()),
                    }
                }
            }
            Data::Int(v) => {
                v.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()[..dtype.size_bytes()]))
            }
            Data::Bool(v) => bytes.extend(v.iter().map(|b| u8::from(*b))),
        }
        self.holds(dtype).then(|| Literal { dtype, shape: self.shape.clone(), bytes: bytes.into() })
    }

    /// The elements, if they are floats.
    pub fn floats(&self) -> Option<&[T]> {
        match &self.data {
            Data::Float(v) => Some(v),
            Data::Int(_) | Data::Bool(_) => None,
        }
    }

    /// The elements as `f64`; integers convert, `bool` is 0 or 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::Float(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::Int(v) => v.iter().map(|x| *x as f64).collect(),
            Data::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
        }
    }

    /// The same tensor computed in another float type.
    pub fn cast<U: Float>(&self) -> Tensor<U> {
        let data = match &self.data {
            Data::Float(v) => Data::Float(v.iter().map(|x| U::from_f64(x.to_f64())).collect()),
            Data::Int(v) => Data::Int(v.clone()),
            Data::Bool(v) => Data::Bool(v.clone()),
        };
        Tensor { shape: self.shape.clone(), data }
    }

    /// True where the number of elements is the product of the shape.
    pub fn is_consistent(&self) -> bool {
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) == Some(self.data.len())
    }

    /// True where the elements are of the kind that holds `dtype`.
    pub fn holds(&self, dtype: DType) -> bool {
        match self.data {
            Data::Float(_) => dtype.is_float(),
            Data::Int(_) => dtype.is_int(),
            Data::Bool(_) => dtype == DType::Bool,
        }
    }

    /// A tensor of the given shape; element `[i, j, …]` is element `source([i, j, …])` of this one, or `fill`.
    pub(super) fn gather(
        &self,
        shape: Vec<usize>,
        fill: f64,
        mut source: impl FnMut(&[usize]) -> Option<usize>,
    ) -> Tensor<T> {
        let fill = Tensor::<T>::scalar(fill, self.kind());
        let mut places = Vec::with_capacity(shape.iter().product());
        for_each_index(&shape, |index| places.push(source(index)));
        let data = match (&self.data, &fill.data) {
            (Data::Float(v), Data::Float(f)) => Data::Float(pick(v, &places, f[0])),
            (Data::Int(v), Data::Int(f)) => Data::Int(pick(v, &places, f[0])),
            (Data::Bool(v), Data::Bool(f)) => Data::Bool(pick(v, &places, f[0])),
            _ => unreachable!("the fill has the kind of the tensor"),
        };
        Tensor { shape, data }
    }

    /// An element type of the tensor's kind.
    fn kind(&self) -> DType {
        match self.data {
            Data::Float(_) => DType::F64,
            Data::Int(_) => DType::I64,
            Data::Bool(_) => DType::Bool,
        }
    }
}

fn pick<V: Copy>(from: &[V], places: &[Option<usize>], fill: V) -> Vec<V> {
    places.iter().map(|p| p.map_or(fill, |i| from[i])).collect()
}

/// Distances in elements between neighbours along each axis of a row-major tensor.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Calls `f` with every index of a tensor, the last axis fastest.
pub(super) fn for_each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        f(&index);
        let Some(axis) = (0..shape.len()).rev().find(|a| index[*a] + 1 < shape[*a]) else { return };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}
