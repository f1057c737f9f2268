//! The safetensors header, checked by the crate of that name; what it refuses is looked up here once more to name the tensor
//! and the byte.

use rectify_ir::DType;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::{Directory, Fault, Stored, Stowage, tensor_bytes};

/// Headers above this are refused: 40,000 tensors fit, and parsing stays below 100 MB whatever the header holds.
const MOST_HEADER_BYTES: u64 = 4 << 20;
/// No array library writes tensors of a higher rank.
const MOST_DIMS: usize = 32;
/// Bytes of the header's length at the beginning of the file.
const LENGTH_BYTES: usize = 8;

/// The tensors of a whole safetensors file, and the pairs of strings in its header.
pub(super) fn read(bytes: &[u8]) -> Result<Directory, Fault> {
    let header = header(bytes)?;
    let data_start = LENGTH_BYTES + header.len();
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| explain(error, header, bytes.len()))?;
    let pairs = metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let tensors = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let range = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
            let dtype = dtype_of(info.dtype).ok_or_else(|| {
                Fault::tensor(&name, range.start, format!("type {} is not supported", info.dtype))
            })?;
            if info.shape.len() > MOST_DIMS {
                let message = format!("{} dimensions, at most {MOST_DIMS} are accepted", info.shape.len());
                return Err(Fault::tensor(&name, range.start, message));
            }
            let shape = info.shape.clone();
            if tensor_bytes(dtype, &shape) != Some(range.len()) || range.end > bytes.len() {
                return Err(Fault::tensor(&name, range.start, "shape, type and offsets do not agree"));
            }
            Ok((name, Stored { dtype, shape, place: Stowage::Plain(range) }))
        })
        .collect::<Result<_, Fault>>()?;
    Ok(Directory { tensors, metadata: pairs })
}

/// The header's text, if the file is as long as its first bytes say.
fn header(bytes: &[u8]) -> Result<&[u8], Fault> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>().map(|bytes| u64::from_le_bytes(*bytes)) else {
        return Err(Fault::file(
            0,
            format!("not a weight file: {} bytes are less than any header", bytes.len()),
        ));
    };
    let rest = bytes.len() - LENGTH_BYTES;
    if length > rest as u64 {
        return Err(Fault::file(
            0,
            format!(
                "not a safetensors, npz or npy file, or a truncated one: the header should have {length} bytes, {rest} follow"
            ),
        ));
    }
    if length > MOST_HEADER_BYTES {
        return Err(Fault::file(
            0,
            format!("the header has {length} bytes, at most {MOST_HEADER_BYTES} are accepted"),
        ));
    }
    Ok(&bytes[LENGTH_BYTES..LENGTH_BYTES + length as usize])
}

/// The crate's refusal in words that name the place.
fn explain(error: SafeTensorError, header: &[u8], file_bytes: usize) -> Fault {
    match &error {
        SafeTensorError::InvalidHeader(utf8) => {
            Fault::file(LENGTH_BYTES + utf8.valid_up_to(), "the header is not UTF-8 text")
        }
        SafeTensorError::InvalidHeaderDeserialization(json) if json.is_syntax() || json.is_eof() => {
            // Headers are one line, so the column is the offset in the header plus one.
            let offset = if json.line() == 1 { json.column().saturating_sub(1) } else { 0 };
            Fault::file(LENGTH_BYTES + offset, format!("the header is not valid JSON: {json}"))
        }
        _ => wrong_tensor(header, file_bytes).unwrap_or_else(|| Fault::file(LENGTH_BYTES, error.to_string())),
    }
}

/// The first tensor, by offset, whose entry cannot be true.
fn wrong_tensor(header: &[u8], file_bytes: usize) -> Option<Fault> {
    let entries: serde_json::Map<String, Value> = match serde_json::from_slice(header) {
        Ok(Value::Object(entries)) => entries,
        _ => return Some(Fault::file(LENGTH_BYTES, "the header is not a JSON object")),
    };
    let data_start = LENGTH_BYTES + header.len();
    let data_bytes = (file_bytes - data_start) as u64;
    let mut spans = Vec::new();
    for (name, entry) in entries.iter().filter(|(name, _)| *name != "__metadata__") {
        let fault = |message: String| Some(Fault::tensor(name, LENGTH_BYTES, message));
        let Some((dtype, shape, [begin, end])) = fields(entry) else {
            return fault("the entry needs `dtype`, `shape` and two `data_offsets`".into());
        };
        let Ok(dtype) = serde_json::from_value::<Dtype>(Value::String(dtype.to_owned())) else {
            return fault(format!("unknown type `{dtype}`"));
        };
        if begin > end {
            return fault(format!("data offsets {begin} to {end} run backwards"));
        }
        let bits = shape.iter().try_fold(dtype.bitsize() as u64, |n, &d| n.checked_mul(d));
        let Some(bytes) = bits.map(|bits| bits.div_ceil(8)) else {
            return fault(format!("shape {shape:?} overflows"));
        };
        if bytes != end - begin {
            return fault(format!(
                "shape {shape:?} of {dtype} takes {bytes} bytes, offsets {begin} to {end} hold {}",
                end - begin
            ));
        }
        spans.push((begin, end, name));
    }
    spans.sort_unstable();
    let mut expected = 0;
    for (begin, end, name) in spans {
        let place = data_start.saturating_add(usize::try_from(begin).unwrap_or(usize::MAX));
        if begin != expected {
            let what =
                if begin < expected { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Some(Fault::tensor(
                name,
                place,
                format!("{what}: begins at {begin}, expected {expected}"),
            ));
        }
        if end > data_bytes {
            let message = format!("the file is truncated: data ends at {data_bytes}, the tensor at {end}");
            return Some(Fault::tensor(name, place, message));
        }
        expected = end;
    }
    (expected != data_bytes).then(|| {
        let left = data_bytes - expected;
        Fault::file(file_bytes - left as usize, format!("{left} bytes follow the last tensor"))
    })
}

fn fields(entry: &Value) -> Option<(&str, Vec<u64>, [u64; 2])> {
    let numbers =
        |key: &str| entry.get(key)?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>();
    Some((entry.get("dtype")?.as_str()?, numbers("shape")?, numbers("data_offsets")?.try_into().ok()?))
}

/// Element types that the library has.
fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::U8 => DType::U8,
        Dtype::U16 => DType::U16,
        Dtype::U32 => DType::U32,
        Dtype::U64 => DType::U64,
        Dtype::BOOL => DType::Bool,
        // The crate may learn more types; those of eight bits and less are no weights of a rectifier network.
        _ => return None,
    })
}

/// The format's name of an element type.
pub(super) fn dtype_name(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::U16 => Dtype::U16,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::Bool => Dtype::BOOL,
    }
}
