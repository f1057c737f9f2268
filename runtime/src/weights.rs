//! Weight files: tensors by name out of safetensors, npz and npy, checked before anything is believed or allocated.
//!
//! Files are mapped, not read: opening costs the header, and a range of a tensor costs its own bytes. Whatever a file
//! claims is compared with what it could hold first, so a hostile one yields an error that names the file, the offset and
//! the tensor.

mod check;
mod decode;
mod npz;
mod safetensors;
mod save;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rectify_ir::DType;

pub use check::{Expected, Mismatch, WeightsError, check_names, nearest};
pub use decode::to_f32 as decode_f32;
pub use save::{SaveEntry, Source, save_safetensors, save_safetensors_durably, write_durably};

use crate::tensor::{Tensor, element_count};

/// An open weight file. The file must not be changed or shortened while it is open, as its pages are mapped.
pub struct WeightFile {
    path: PathBuf,
    content: Content,
    directory: Directory,
}

/// What a file has, and where.
struct Directory {
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
}

impl Directory {
    /// Of formats that have nothing but tensors.
    fn of(tensors: BTreeMap<String, Stored>) -> Directory {
        Directory { tensors, metadata: BTreeMap::new() }
    }
}

/// The bytes of a file.
enum Content {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

/// What the file says of one tensor, checked against the file's size.
struct Stored {
    dtype: DType,
    shape: Vec<usize>,
    place: Stowage,
}

/// Where the elements are.
enum Stowage {
    /// Row-major and little-endian in the file as it is.
    Plain(Range<usize>),
    /// Anything else: brought into that form as a whole at the first use.
    Packed { packed: npz::Packed, unpacked: OnceLock<Vec<u8>> },
}

/// Why a weight file, or a tensor of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The file as a whole is wrong.
    #[error("{}: {message} (at byte {offset})", path.display())]
    File { path: PathBuf, offset: u64, message: String },
    /// One of its tensors is wrong.
    #[error("{}: tensor `{tensor}`: {message} (at byte {offset})", path.display())]
    Tensor { path: PathBuf, tensor: String, offset: u64, message: String },
    #[error("{} has no tensor `{tensor}`", path.display())]
    Missing { path: PathBuf, tensor: String },
    #[error("{}: tensor `{tensor}` has {elements} elements, {start} to {end} were asked for", path.display())]
    Range { path: PathBuf, tensor: String, elements: u64, start: u64, end: u64 },
}

/// What a format's reader finds wrong, before the file's path is known.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    tensor: Option<String>,
    offset: u64,
    message: String,
}

impl Fault {
    fn file(offset: usize, message: impl Into<String>) -> Fault {
        Fault { tensor: None, offset: offset as u64, message: message.into() }
    }

    fn tensor(tensor: impl Into<String>, offset: usize, message: impl Into<String>) -> Fault {
        Fault { tensor: Some(tensor.into()), offset: offset as u64, message: message.into() }
    }

    fn at(self, path: &Path) -> LoadError {
        let (path, Fault { tensor, offset, message }) = (path.to_owned(), self);
        match tensor {
            Some(tensor) => LoadError::Tensor { path, tensor, offset, message },
            None => LoadError::File { path, offset, message },
        }
    }
}

impl WeightFile {
    /// Opens a file of any of the formats; its first bytes tell which. The one tensor of an npy file is named by the file.
    pub fn open(path: impl AsRef<Path>) -> Result<WeightFile, LoadError> {
        let path = path.as_ref();
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let content = if length == 0 {
            // An empty file cannot be mapped.
            Content::Owned(Vec::new())
        } else {
            // Safety: the mapping is private and read-only. Whoever shortens the file meanwhile kills the process by a
            // signal, which the type's documentation rules out; no bounds depend on the file's size after this.
            Content::Mapped(unsafe { memmap2::Mmap::map(&file) }.map_err(io)?)
        };
        WeightFile::read(path, content)
    }

    /// A file that is in memory already; `label` stands for its path in messages.
    pub fn from_bytes(label: impl AsRef<Path>, bytes: Vec<u8>) -> Result<WeightFile, LoadError> {
        WeightFile::read(label.as_ref(), Content::Owned(bytes))
    }

    fn read(path: &Path, content: Content) -> Result<WeightFile, LoadError> {
        let bytes = content.bytes();
        let read = if npz::is_npz(bytes) {
            npz::read(bytes).map(Directory::of)
        } else if npz::is_npy(bytes) {
            let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            npz::read_single(&name, bytes).map(|tensor| Directory::of(BTreeMap::from([(name, tensor)])))
        } else {
            safetensors::read(bytes)
        };
        let directory = read.map_err(|fault| fault.at(path))?;
        Ok(WeightFile { path: path.to_owned(), content, directory })
    }

    /// Pairs of strings that a safetensors file has beside its tensors; other formats have none.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.directory.metadata
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.directory.tensors.keys().map(String::as_str)
    }

    /// All tensors in alphabetical order.
    pub fn tensors(&self) -> impl Iterator<Item = WeightTensor<'_>> {
        self.directory.tensors.iter().map(|(name, stored)| WeightTensor { file: self, name, stored })
    }

    /// The tensor of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<WeightTensor<'_>> {
        self.directory.tensors.get_key_value(name).map(|(name, stored)| WeightTensor {
            file: self,
            name,
            stored,
        })
    }

    /// The tensor of this name, or an error that says it is missing.
    pub fn require(&self, name: &str) -> Result<WeightTensor<'_>, LoadError> {
        self.get(name).ok_or_else(|| LoadError::Missing { path: self.path.clone(), tensor: name.to_owned() })
    }
}

/// A tensor of a weight file.
#[derive(Clone, Copy)]
pub struct WeightTensor<'a> {
    file: &'a WeightFile,
    name: &'a str,
    stored: &'a Stored,
}

impl<'a> WeightTensor<'a> {
    pub fn name(&self) -> &'a str {
        self.name
    }

    pub fn dtype(&self) -> DType {
        self.stored.dtype
    }

    pub fn shape(&self) -> &'a [usize] {
        &self.stored.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        // The readers have multiplied it before, so the shape has a product.
        element_count(&self.stored.shape).unwrap_or(0)
    }

    /// The elements row-major and little-endian, of any alignment. Unpacks the tensor if the file has it in another form.
    pub fn bytes(&self) -> Result<&'a [u8], LoadError> {
        let content = self.file.content.bytes();
        match &self.stored.place {
            Stowage::Plain(range) => Ok(&content[range.clone()]),
            Stowage::Packed { packed, unpacked } => {
                if let Some(bytes) = unpacked.get() {
                    return Ok(bytes);
                }
                let bytes =
                    packed.unpack(content).map_err(|error| error.of(self.name).at(&self.file.path))?;
                Ok(unpacked.get_or_init(|| bytes))
            }
        }
    }

    /// Writes elements `start .. start + out.len()`, row-major, into `out` as the nearest f32.
    pub fn read_f32(&self, start: u64, out: &mut [f32]) -> Result<(), LoadError> {
        let bytes = self.range(start, out.len())?;
        decode::to_f32(self.dtype(), bytes, out);
        Ok(())
    }

    /// The whole tensor, copied, in its own type.
    pub fn to_tensor(&self) -> Result<Tensor, LoadError> {
        let bytes = self.bytes()?;
        decode::to_tensor(self.dtype(), self.shape(), bytes)
            .map_err(|error| Fault::tensor(self.name, self.offset(), error.to_string()).at(&self.file.path))
    }

    fn range(&self, start: u64, count: usize) -> Result<&'a [u8], LoadError> {
        let bytes = self.bytes()?;
        let size = self.dtype().size_bytes();
        let from = usize::try_from(start).ok().and_then(|start| start.checked_mul(size));
        let to = from.and_then(|from| count.checked_mul(size)?.checked_add(from));
        let part = from.zip(to).and_then(|(from, to)| bytes.get(from..to));
        part.ok_or_else(|| LoadError::Range {
            path: self.file.path.clone(),
            tensor: self.name.to_owned(),
            elements: self.elements() as u64,
            start,
            end: start.saturating_add(count as u64),
        })
    }

    /// Where the tensor begins in the file.
    fn offset(&self) -> usize {
        match &self.stored.place {
            Stowage::Plain(range) => range.start,
            Stowage::Packed { packed, .. } => packed.offset(),
        }
    }
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Mapped(map) => map,
            Content::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightFile")
            .field("path", &self.path)
            .field("tensors", &self.directory.tensors.len())
            .finish()
    }
}

/// Bytes that a tensor takes, or None if memory could not hold it.
fn tensor_bytes(dtype: DType, shape: &[usize]) -> Option<usize> {
    element_count(shape).ok()?.checked_mul(dtype.size_bytes()).filter(|&bytes| bytes <= isize::MAX as usize)
}

#[cfg(test)]
mod tests;
