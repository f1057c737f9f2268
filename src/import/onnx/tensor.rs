//! Constant tensors of a file: element type, shape, and the bytes where they lie.

use super::external::{ExternalError, ExternalFiles};
use super::proto::TensorProto;
use bytes::Bytes;
use half::{bf16, f16};
use rectify_ir::DType;
use rectify_ir::literal::Literal;

/// A constant tensor, row-major and little-endian. The bytes are a slice of the model's file, or of a file beside it,
/// unless the file spells the values out as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Product of the shape × element size bytes.
    pub bytes: Bytes,
}

/// Why a constant tensor cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error("the element type {0} is not supported")]
    UnsupportedType(String),
    #[error("the size {0} along an axis is not possible")]
    BadDim(i64),
    #[error("the tensor has {0} axes, more than {max}", max = rectify_ir::types::MAX_RANK)]
    Rank(usize),
    #[error("the shape holds more elements than can be addressed")]
    Overflow,
    #[error("the shape asks for {expected} {unit}, but the file holds {found}")]
    WrongSize { expected: usize, found: usize, unit: &'static str },
    #[error(transparent)]
    External(#[from] ExternalError),
}

/// The element type with ONNX's number `code`.
pub fn dtype(code: i32) -> Result<DType, TensorError> {
    let other = match code {
        1 => return Ok(DType::F32),
        2 => return Ok(DType::U8),
        3 => return Ok(DType::I8),
        4 => return Ok(DType::U16),
        5 => return Ok(DType::I16),
        6 => return Ok(DType::I32),
        7 => return Ok(DType::I64),
        9 => return Ok(DType::Bool),
        10 => return Ok(DType::F16),
        11 => return Ok(DType::F64),
        12 => return Ok(DType::U32),
        13 => return Ok(DType::U64),
        16 => return Ok(DType::BF16),
        0 => "undefined",
        8 => "string",
        14 => "complex64",
        15 => "complex128",
        17 => "float8e4m3fn",
        18 => "float8e4m3fnuz",
        19 => "float8e5m2",
        20 => "float8e5m2fnuz",
        21 => "uint4",
        22 => "int4",
        23 => "float4e2m1",
        24 => "float8e8m0",
        25 => "uint2",
        26 => "int2",
        n => return Err(TensorError::UnsupportedType(format!("number {n}"))),
    };
    Err(TensorError::UnsupportedType(other.into()))
}

impl RawTensor {
    /// Reads `t`; data in other files through `external`.
    pub fn read(t: &TensorProto, external: &mut ExternalFiles) -> Result<RawTensor, TensorError> {
        let dtype = dtype(t.data_type)?;
        if t.dims.len() > rectify_ir::types::MAX_RANK {
            return Err(TensorError::Rank(t.dims.len()));
        }
        let shape = t
            .dims
            .iter()
            .map(|d| usize::try_from(*d).map_err(|_| TensorError::BadDim(*d)))
            .collect::<Result<Vec<_>, _>>()?;
        let elements =
            shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or(TensorError::Overflow)?;
        let size = elements.checked_mul(dtype.size_bytes()).ok_or(TensorError::Overflow)?;
        let bytes = if t.data_location == 1 {
            external.read(&t.external_data, size)?
        } else if let Some(raw) = &t.raw_data {
            raw.clone()
        } else {
            typed(t, dtype, elements)?
        };
        if bytes.len() != size {
            return Err(TensorError::WrongSize { expected: size, found: bytes.len(), unit: "bytes" });
        }
        Ok(RawTensor { dtype, shape, bytes })
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size_bytes()
    }

    /// A copy that the graph holds.
    pub fn to_literal(&self) -> Literal {
        Literal { dtype: self.dtype, shape: self.shape.clone(), bytes: self.bytes[..].into() }
    }
}

/// Values from the fields for numbers, as little-endian bytes.
fn typed(t: &TensorProto, dtype: DType, elements: usize) -> Result<Bytes, TensorError> {
    fn pack<T: Copy, const N: usize>(
        values: &[T],
        elements: usize,
        to: impl Fn(T) -> [u8; N],
    ) -> Result<Bytes, TensorError> {
        if values.len() != elements {
            return Err(TensorError::WrongSize { expected: elements, found: values.len(), unit: "numbers" });
        }
        Ok(values.iter().flat_map(|v| to(*v)).collect::<Vec<u8>>().into())
    }
    // Narrow types stand in wider fields; the specification has them in range, and the low bits are what counts.
    match dtype {
        DType::F32 => pack(&t.float_data, elements, f32::to_le_bytes),
        DType::F64 => pack(&t.double_data, elements, f64::to_le_bytes),
        DType::I64 => pack(&t.int64_data, elements, i64::to_le_bytes),
        DType::U64 => pack(&t.uint64_data, elements, u64::to_le_bytes),
        DType::U32 => pack(&t.uint64_data, elements, |v| (v as u32).to_le_bytes()),
        DType::I32 => pack(&t.int32_data, elements, i32::to_le_bytes),
        DType::I16 => pack(&t.int32_data, elements, |v| (v as i16).to_le_bytes()),
        DType::U16 => pack(&t.int32_data, elements, |v| (v as u16).to_le_bytes()),
        DType::I8 => pack(&t.int32_data, elements, |v| (v as i8).to_le_bytes()),
        DType::U8 => pack(&t.int32_data, elements, |v| [v as u8]),
        DType::Bool => pack(&t.int32_data, elements, |v| [u8::from(v != 0)]),
        DType::F16 => pack(&t.int32_data, elements, |v| f16::from_bits(v as u16).to_le_bytes()),
        DType::BF16 => pack(&t.int32_data, elements, |v| bf16::from_bits(v as u16).to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(t: &TensorProto) -> Result<RawTensor, TensorError> {
        RawTensor::read(t, &mut ExternalFiles::none())
    }

    #[test]
    fn raw_data_is_not_copied() {
        let raw = Bytes::from(vec![0u8; 12]);
        let t =
            TensorProto { dims: vec![3], data_type: 1, raw_data: Some(raw.clone()), ..Default::default() };
        assert_eq!(read(&t).unwrap().bytes.as_ptr(), raw.as_ptr());
    }

    #[test]
    fn typed_fields_of_every_type() {
        for (code, bytes) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 4), (9, 1), (10, 2), (16, 2)] {
            let t = TensorProto {
                dims: vec![2],
                data_type: code,
                int32_data: vec![1, 0x3c00],
                ..Default::default()
            };
            assert_eq!(read(&t).unwrap().bytes.len(), 2 * bytes, "type {code}");
        }
        let t = TensorProto { dims: vec![], data_type: 11, double_data: vec![2.5], ..Default::default() };
        assert_eq!(read(&t).unwrap().to_literal().to_f64(), [2.5]);
        let t = TensorProto { dims: vec![1], data_type: 12, uint64_data: vec![7], ..Default::default() };
        assert_eq!(read(&t).unwrap().to_literal().to_f64(), [7.0]);
    }

    #[test]
    fn sizes_are_checked() {
        let t = |dims: Vec<i64>, raw: usize| TensorProto {
            dims,
            data_type: 1,
            raw_data: Some(vec![0; raw].into()),
            ..Default::default()
        };
        assert!(matches!(read(&t(vec![2], 12)), Err(TensorError::WrongSize { expected: 8, found: 12, .. })));
        assert!(matches!(read(&t(vec![-1], 4)), Err(TensorError::BadDim(-1))));
        assert!(matches!(read(&t(vec![i64::MAX, 16], 4)), Err(TensorError::Overflow)));
        assert!(matches!(read(&t(vec![1; 9], 4)), Err(TensorError::Rank(9))));
        assert_eq!(read(&t(vec![0, 5], 0)).unwrap().elements(), 0);
        let text = TensorProto { data_type: 8, ..Default::default() };
        assert_eq!(read(&text), Err(TensorError::UnsupportedType("string".into())));
    }
}
