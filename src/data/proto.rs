//! ONNX's TensorProto, decoded by hand: a few fields of the protobuf wire format.

use rectify_ir::DType;
use rectify_runtime::Tensor;

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub offset: u64,
    pub message: String,
}

impl Fault {
    fn new(offset: usize, message: impl Into<String>) -> Fault {
        Fault { offset: offset as u64, message: message.into() }
    }
}

const MAX_RANK: usize = 32;

/// Reads a serialised TensorProto.
pub(super) fn tensor(bytes: &[u8]) -> Result<Tensor, Fault> {
    let mut reader = Reader { bytes, at: 0 };
    let mut proto = Proto::default();
    while reader.at < bytes.len() {
        proto.field(&mut reader)?;
    }
    let dtype = proto.dtype.ok_or_else(|| Fault::new(bytes.len(), "the TensorProto has no data_type"))?;
    if let Some(at) = proto.external {
        return Err(Fault::new(at, "the tensor's data lie in another file, which is not read here"));
    }
    let shape = proto.shape;
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let want = elements.and_then(|n| n.checked_mul(dtype.size_bytes()));
    let want = want.ok_or_else(|| Fault::new(0, format!("shape {shape:?} is larger than memory")))?;
    if proto.data.len() != want {
        let message =
            format!("{dtype} of shape {shape:?} takes {want} bytes, the tensor has {}", proto.data.len());
        return Err(Fault::new(proto.data_at, message));
    }
    if cfg!(target_endian = "big") {
        proto.data.chunks_exact_mut(dtype.size_bytes()).for_each(<[u8]>::reverse);
    }
    Tensor::from_bytes(dtype, shape, &proto.data).map_err(|e| Fault::new(proto.data_at, e.to_string()))
}

#[derive(Default)]
struct Proto {
    shape: Vec<usize>,
    dtype: Option<DType>,
    /// Little-endian elements, from whichever field has them.
    data: Vec<u8>,
    data_at: usize,
    external: Option<usize>,
}

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Proto {
    fn field(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let at = reader.at;
        let key = reader.varint()?;
        let (field, wire) = (key >> 3, key & 7);
        match (field, wire) {
            (1, VARINT) => self.dim(reader)?,
            (1, BYTES) => reader.packed(|r| self.dim(r))?,
            (2, VARINT) => {
                let code = reader.varint()?;
                self.dtype = Some(element_type(code).ok_or_else(|| {
                    Fault::new(at, format!("element type {code} of ONNX is not supported"))
                })?);
            }
            (4, BYTES) | (9, BYTES) | (10, BYTES) => {
                let part = reader.length_delimited()?;
                self.data_at = reader.at - part.len();
                self.data.extend_from_slice(part);
            }
            (4, FIXED32) => self.data.extend_from_slice(reader.take(4)?),
            (10, FIXED64) => self.data.extend_from_slice(reader.take(8)?),
            (5 | 7 | 11, VARINT) => self.integer(reader)?,
            (5 | 7 | 11, BYTES) => reader.packed(|r| self.integer(r))?,
            (13, BYTES) => {
                self.external = Some(at);
                reader.length_delimited()?;
            }
            (14, VARINT) => {
                if reader.varint()? == 1 {
                    self.external = Some(at);
                }
            }
            (_, VARINT) => drop(reader.varint()?),
            (_, FIXED64) => drop(reader.take(8)?),
            (_, BYTES) => drop(reader.length_delimited()?),
            (_, FIXED32) => drop(reader.take(4)?),
            (_, wire) => return Err(Fault::new(at, format!("not a TensorProto: wire type {wire}"))),
        }
        Ok(())
    }

    fn dim(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let at = reader.at;
        let value = reader.varint()? as i64;
        let size = usize::try_from(value).map_err(|_| Fault::new(at, format!("size {value} is negative")))?;
        if self.shape.len() == MAX_RANK {
            return Err(Fault::new(at, format!("more than {MAX_RANK} axes")));
        }
        self.shape.push(size);
        Ok(())
    }

    /// An element of int32_data, int64_data or uint64_data, narrowed to the element type.
    fn integer(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let at = reader.at;
        let value = reader.varint()?;
        let dtype = self.dtype.ok_or_else(|| Fault::new(at, "data come before the data_type"))?;
        self.data_at = at;
        self.data.extend_from_slice(&value.to_le_bytes()[..dtype.size_bytes()]);
        Ok(())
    }
}

/// Codes of TensorProto.DataType.
fn element_type(code: u64) -> Option<DType> {
    Some(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        _ => return None,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count);
        let part = end.and_then(|end| self.bytes.get(self.at..end));
        let part = part.ok_or_else(|| Fault::new(self.at, "the file ends within a field"))?;
        self.at += count;
        Ok(part)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::new(start, "a number of more than 64 bits"))
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], Fault> {
        let at = self.at;
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| Fault::new(at, "a field larger than memory"))?;
        self.take(length)
    }

    /// Reads elements to the end of a packed field.
    fn packed(&mut self, mut element: impl FnMut(&mut Reader<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
        let length = self.length_delimited()?.len();
        let mut inner = Reader { bytes: &self.bytes[..self.at], at: self.at - length };
        while inner.at < self.at {
            element(&mut inner)?;
        }
        Ok(())
    }
}
