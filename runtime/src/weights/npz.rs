//! Arrays of npy and npz files as tensors of a weight file. Stored row-major little-endian arrays are used where they are;
//! others are unpacked as a whole when they are first asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Fault, Stored, Stowage, tensor_bytes};
use crate::files::FormatError;
use crate::files::npy::{HEAD_BYTES, Header};
use crate::files::zip::{Archive, Member};

/// An array that must be inflated, reordered or byte-swapped before use.
pub(super) struct Packed {
    /// None where the file is the array.
    member: Option<Member>,
    header: Header,
    /// Where the (perhaps deflated) bytes begin.
    offset: usize,
}

pub(super) fn is_npz(bytes: &[u8]) -> bool {
    // A member, or the end record of an archive without any.
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x93NUMPY")
}

/// The arrays of an archive.
pub(super) fn read(file: &[u8]) -> Result<BTreeMap<String, Stored>, Fault> {
    let archive = Archive::open(file).map_err(FormatError::of_file)?;
    let mut tensors = BTreeMap::new();
    for member in archive.members() {
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name);
        let fault = |error: FormatError| error.of(name);
        let range = member.range(file).map_err(fault)?;
        if name == member.name {
            let message = "not an npy array, and an npz archive holds nothing else";
            return Err(Fault::tensor(name, range.start, message));
        }
        let head = member.head(file, HEAD_BYTES).map_err(fault)?;
        let stored = array(name, &head, range.start, member.bytes, Some(member))?;
        if tensors.insert(name.to_owned(), stored).is_some() {
            return Err(Fault::tensor(name, range.start, "the archive has two arrays of this name"));
        }
    }
    Ok(tensors)
}

/// The array of an npy file.
pub(super) fn read_single(name: &str, file: &[u8]) -> Result<Stored, Fault> {
    array(name, file, 0, file.len(), None)
}

/// An array of `bytes` bytes, header included, that begins with `head` and lies (perhaps deflated) at `offset`.
fn array(
    name: &str,
    head: &[u8],
    offset: usize,
    bytes: usize,
    member: Option<&Member>,
) -> Result<Stored, Fault> {
    let header = Header::parse(head).map_err(|error| error.of(name))?;
    let Header { dtype, data_offset, .. } = header;
    let shape = header.shape.clone();
    let present = bytes.saturating_sub(data_offset);
    let Some(wanted) = tensor_bytes(dtype, &shape).filter(|&wanted| wanted == present) else {
        let message = format!(
            "the array has {present} bytes, shape {shape:?} of {dtype} takes {}",
            header.data_bytes()
        );
        return Err(Fault::tensor(name, offset, message));
    };
    // The order of axes does not matter with fewer than two of them, nor that of one byte.
    let axes = shape.iter().filter(|&&size| size > 1).count();
    let reordered = (header.fortran && axes > 1) || (header.big_endian && dtype.size_bytes() > 1);
    let place = if !reordered && member.is_none_or(Member::is_stored) {
        Stowage::Plain(offset + data_offset..offset + data_offset + wanted)
    } else {
        let packed = Packed { member: member.cloned(), header, offset };
        Stowage::Packed { packed, unpacked: Default::default() }
    };
    Ok(Stored { dtype, shape, place })
}

impl Packed {
    /// Where the (perhaps deflated) bytes begin in the file.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The elements row-major and little-endian.
    pub(super) fn unpack(&self, file: &[u8]) -> Result<Vec<u8>, FormatError> {
        let content = match &self.member {
            Some(member) => member.read(file, member.bytes)?,
            None => Cow::Borrowed(file),
        };
        if let Cow::Owned(elements) = self.header.row_major(&content)? {
            return Ok(elements);
        }
        // In order as they are: the header is cut off in place rather than the rest copied.
        let mut bytes = content.into_owned();
        bytes.drain(..self.header.data_offset);
        Ok(bytes)
    }
}

impl FormatError {
    fn of_file(self) -> Fault {
        Fault { tensor: None, offset: self.offset, message: self.message }
    }

    pub(super) fn of(self, tensor: &str) -> Fault {
        Fault { tensor: Some(tensor.to_owned()), offset: self.offset, message: self.message }
    }
}
