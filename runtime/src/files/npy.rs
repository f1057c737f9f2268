//! The .npy format (versions 1 to 3): a header that is a Python dictionary, then the elements.

use super::FormatError;
use rectify_ir::DType;
use std::borrow::Cow;

/// What stands before the elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Column-major order.
    pub fortran: bool,
    pub big_endian: bool,
    /// Where the elements begin.
    pub data_offset: usize,
}

const MAGIC: &[u8] = b"\x93NUMPY";
/// Elements begin at a multiple of this.
const ALIGN: usize = 64;
/// numpy itself refuses to read longer headers unless told otherwise.
const MAX_HEADER: usize = 10_000;
/// The elements of any file that [`Header::parse`] accepts begin within so many bytes.
pub const HEAD_BYTES: usize = MAX_HEADER + 12;
const MAX_RANK: usize = 32;

impl Header {
    /// Reads the header at the beginning of a file.
    pub fn parse(file: &[u8]) -> Result<Header, FormatError> {
        if !file.starts_with(MAGIC) {
            return Err(FormatError::new(0, "not a .npy file: it does not begin with \\x93NUMPY"));
        }
        let truncated = || FormatError::new(file.len(), "the file ends within its .npy header");
        let version = *file.get(6).ok_or_else(truncated)?;
        let (at, length) = match version {
            1 => (10, file.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))),
            2 | 3 => (12, file.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)),
            v => return Err(FormatError::new(6, format!("version {v} of the .npy format is not known"))),
        };
        let length = length.ok_or_else(truncated)?;
        if length > MAX_HEADER {
            return Err(FormatError::new(8, format!("a .npy header of {length} bytes is not believed")));
        }
        let text = file.get(at..at + length).ok_or_else(truncated)?;
        let text = std::str::from_utf8(text)
            .map_err(|e| FormatError::new(at + e.valid_up_to(), "the .npy header is not text"))?;
        Dictionary { text, at: 0, base: at }.header(at + length)
    }

    /// Number of elements; checked against overflow when the header was read.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of all elements.
    pub fn data_bytes(&self) -> usize {
        self.elements() * self.dtype.size_bytes()
    }

    /// The elements as they are in the file.
    pub fn data<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], FormatError> {
        let there = file.len().saturating_sub(self.data_offset);
        file.get(self.data_offset..self.data_offset + self.data_bytes()).ok_or_else(|| {
            let want = self.data_bytes();
            FormatError::new(file.len(), format!("the elements take {want} bytes, {there} are there"))
        })
    }

    /// The elements in row-major order and little-endian bytes; copied only where the file has them otherwise.
    pub fn row_major<'a>(&self, file: &'a [u8]) -> Result<Cow<'a, [u8]>, FormatError> {
        let mut data = Cow::Borrowed(self.data(file)?);
        let size = self.dtype.size_bytes();
        if self.big_endian && size > 1 {
            data.to_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if self.fortran && self.shape.len() > 1 {
            data = Cow::Owned(transposed(&data, &self.shape, size));
        }
        Ok(data)
    }
}

/// The header of a little-endian row-major file; the elements follow it.
pub fn header_bytes(dtype: DType, shape: &[usize]) -> Vec<u8> {
    let mut dims = shape.iter().map(|d| format!("{d}, ")).collect::<String>();
    if shape.len() > 1 {
        dims.truncate(dims.len() - 2);
    } else {
        dims = dims.trim_end().to_owned();
    }
    let mut text =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({dims}), }}", description(dtype));
    let before = MAGIC.len() + 4;
    let padded = (before + text.len() + 1).next_multiple_of(ALIGN) - before;
    text.extend(std::iter::repeat_n(' ', padded - 1 - text.len()));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // Rank and sizes are bounded, so the text is far below 64 KiB.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// numpy's name of an element type. bfloat16 has none; it travels as its bits.
fn description(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::BF16 | DType::U16 => "<u2",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
    }
}

fn element_type(description: &str) -> Option<(DType, bool)> {
    let order = description.chars().next().filter(|c| "<>|=".contains(*c));
    let dtype = match &description[order.map_or(0, char::len_utf8)..] {
        "f4" => DType::F32,
        "f8" => DType::F64,
        "f2" => DType::F16,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "u1" => DType::U8,
        "u2" => DType::U16,
        "u4" => DType::U32,
        "u8" => DType::U64,
        "b1" => DType::Bool,
        _ => return None,
    };
    Some((dtype, order == Some('>')))
}

/// From column-major to row-major.
fn transposed(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut strides = vec![1usize; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut index = vec![0usize; shape.len()];
    for _ in 0..data.len() / size {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.extend_from_slice(&data[at * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// The subset of Python's dictionaries that numpy writes.
struct Dictionary<'a> {
    text: &'a str,
    at: usize,
    /// Offset of the text in the file.
    base: usize,
}

impl<'a> Dictionary<'a> {
    fn header(&mut self, data_offset: usize) -> Result<Header, FormatError> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.eat('}') {
            let key = self.string()?;
            self.expect(':')?;
            match key {
                "descr" => {
                    let at = self.at;
                    let text = self.string()?;
                    descr = Some(element_type(text).ok_or_else(|| {
                        FormatError::new(self.base + at, format!("element type '{text}' is not supported"))
                    })?);
                }
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                key => return Err(self.error(format!("unknown key '{key}' in the .npy header"))),
            }
            if !self.eat(',') {
                self.expect('}')?;
                break;
            }
        }
        let (Some((dtype, big_endian)), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
            return Err(self.error("the .npy header lacks 'descr', 'fortran_order' or 'shape'"));
        };
        let bytes = shape.iter().try_fold(dtype.size_bytes(), |n: usize, d: &usize| n.checked_mul(*d));
        let total = bytes.and_then(|b| b.checked_add(data_offset));
        // A zero size does not excuse others whose product alone overflows.
        let nonzero = shape.iter().filter(|d| **d > 0).try_fold(1usize, |n, d| n.checked_mul(*d));
        if total.is_none() || nonzero.is_none() {
            return Err(self.error(format!("shape {shape:?} is larger than memory")));
        }
        Ok(Header { dtype, shape, fortran, big_endian, data_offset })
    }

    fn error(&self, message: impl Into<String>) -> FormatError {
        FormatError::new(self.base + self.at, message)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, c: char) -> Result<(), FormatError> {
        if self.eat(c) { Ok(()) } else { Err(self.error(format!("the .npy header has no `{c}` here"))) }
    }

    fn string(&mut self) -> Result<&'a str, FormatError> {
        let quote = if self.eat('"') { '"' } else { '\'' };
        if quote == '\'' {
            self.expect('\'')?;
        }
        let rest = self.rest();
        let end = rest.find(quote).ok_or_else(|| self.error("a string in the .npy header does not end"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn boolean(&mut self) -> Result<bool, FormatError> {
        self.skip_space();
        for (word, value) in [("True", true), ("False", false)] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("expected True or False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, FormatError> {
        self.expect('(')?;
        let mut shape = Vec::new();
        while !self.eat(')') {
            self.skip_space();
            let rest = self.rest();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let size = rest[..digits].parse::<usize>();
            shape.push(size.map_err(|_| self.error("expected a size that fits 64 bits"))?);
            self.at += digits;
            // Python 2 wrote long integers with an L.
            self.eat('L');
            if shape.len() > MAX_RANK {
                return Err(self.error(format!("more than {MAX_RANK} axes")));
            }
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn headers_round_trip() {
        for shape in [&[][..], &[3], &[2, 3], &[1, 3, 224, 224], &[0, 4]] {
            for dtype in DType::ALL {
                let bytes = header_bytes(dtype, shape);
                assert_eq!(bytes.len() % ALIGN, 0);
                let header = Header::parse(&bytes).unwrap();
                let want = if dtype == DType::BF16 { DType::U16 } else { dtype };
                assert_eq!((header.dtype, header.shape.as_slice()), (want, shape));
                assert_eq!(header.data_offset, bytes.len());
            }
        }
    }

    #[test]
    fn other_orders_become_row_major() {
        let data: Vec<u8> = [0u16, 3, 1, 4, 2, 5].iter().flat_map(|v| v.to_be_bytes()).collect();
        let bytes = file("{'descr': '>u2', 'fortran_order': True, 'shape': (2, 3)}", &data);
        let header = Header::parse(&bytes).unwrap();
        let want: Vec<u8> = [0u16, 1, 2, 3, 4, 5].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(header.row_major(&bytes).unwrap().as_ref(), want);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let check = |bytes: &[u8], want: &str| {
            let error = Header::parse(bytes).and_then(|h| h.data(bytes).map(|_| ())).unwrap_err();
            assert_eq!(error.to_string(), want);
        };
        check(b"PK", "not a .npy file: it does not begin with \\x93NUMPY (at byte 0)");
        check(&MAGIC[..6], "the file ends within its .npy header (at byte 6)");
        check(
            &file("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", &[]),
            "element type '<c8' is not supported (at byte 19)",
        );
        check(
            &file("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4)}", &[]),
            "shape [9223372036854775807, 4] is larger than memory (at byte 85)",
        );
        check(
            &file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", &[]),
            "expected a size that fits 64 bits (at byte 61)",
        );
        check(
            &file("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", &[0; 8]),
            "the elements take 12 bytes, 8 are there (at byte 73)",
        );
        check(
            &file("{'descr': '<f4', 'shape': (3,)}", &[]),
            "the .npy header lacks 'descr', 'fortran_order' or 'shape' (at byte 41)",
        );
    }
}
