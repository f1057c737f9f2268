//! Tensors from and to files: .npy, .npz, .safetensors, ONNX's TensorProto, pictures; and generated ones.
//!
//! Files may be hostile: a size is believed only where the file has the bytes for it, and every error names the file and,
//! where there is one, the byte.

mod generate;
#[cfg(feature = "image")]
mod picture;
mod proto;
pub mod sets;
mod write;

pub use generate::Generator;
#[cfg(feature = "image")]
pub use picture::{Layout, PictureOptions, Resize, write_picture};
pub use write::{write_npy, write_npz};

use rectify_ir::DType;
use rectify_runtime::Tensor;
use rectify_runtime::weights::{LoadError, WeightFile};
use std::fmt;
use std::path::Path;

/// What a file must hold: a model's input.
#[derive(Clone, Debug)]
pub struct Want<'a> {
    /// The tensor's name, which picks one out of files with several.
    pub name: &'a str,
    pub dtype: DType,
    /// `None` for sizes that are not known beforehand.
    pub shape: &'a [Option<usize>],
}

/// Why a file gives no tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    pub file: String,
    /// The byte at fault, if it is one.
    pub offset: Option<u64>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl DataError {
    pub fn new(file: &Path, message: impl Into<String>) -> DataError {
        DataError { file: file.display().to_string(), offset: None, message: message.into(), help: None }
    }

    #[must_use]
    pub fn at(mut self, offset: u64) -> DataError {
        self.offset = Some(offset);
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> DataError {
        self.help = Some(help.into());
        self
    }

    fn load(file: &Path, error: LoadError) -> DataError {
        match error {
            LoadError::Io { source, .. } => DataError::new(file, io_message(&source)),
            LoadError::File { offset, message, .. } => DataError::new(file, message).at(offset),
            LoadError::Tensor { tensor, offset, message, .. } => {
                DataError::new(file, format!("tensor `{tensor}`: {message}")).at(offset)
            }
            LoadError::Missing { tensor, .. } => DataError::new(file, format!("no tensor `{tensor}`")),
            error @ LoadError::Range { .. } => DataError::new(file, error.to_string()),
        }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " (at byte {offset})"))
    }
}

impl std::error::Error for DataError {}

/// Reads a tensor from a file; its name's ending tells the format. Pictures go by `pictures`.
pub fn read(
    path: &Path,
    want: &Want<'_>,
    #[cfg(feature = "image")] pictures: &PictureOptions,
) -> Result<Tensor, DataError> {
    let tensor = match ending(path).as_str() {
        "npy" | "npz" | "safetensors" => {
            let file = WeightFile::open(path).map_err(|e| DataError::load(path, e))?;
            let names: Vec<_> = file.names().collect();
            let name = names[choose(path, &names, want)?];
            let found = file.require(name).map_err(|e| DataError::load(path, e))?;
            // Before anything is unpacked: a compressed file may claim what it does not hold.
            check(path, found.dtype(), found.shape(), want)?;
            found.to_tensor().map_err(|e| DataError::load(path, e))?
        }
        "pb" => proto(path)?,
        #[cfg(feature = "image")]
        "png" | "jpg" | "jpeg" => picture::read(path, &bytes(path)?, want, pictures)?,
        #[cfg(not(feature = "image"))]
        "png" | "jpg" | "jpeg" => {
            let error = DataError::new(path, "this build reads no pictures");
            return Err(error.help("build with the feature `image`"));
        }
        _ => return Err(unknown_ending(path)),
    };
    check(path, tensor.dtype(), tensor.shape(), want)?;
    Ok(tensor)
}

/// All tensors of a .npz or .safetensors file by name; the one of a .npy or .pb file under the file's own.
pub fn read_all(path: &Path) -> Result<Vec<(String, Tensor)>, DataError> {
    match ending(path).as_str() {
        "npy" | "npz" | "safetensors" => {
            let file = WeightFile::open(path).map_err(|e| DataError::load(path, e))?;
            let tensors = file.tensors().map(|t| Ok((t.name().to_owned(), t.to_tensor()?)));
            tensors.collect::<Result<_, LoadError>>().map_err(|e| DataError::load(path, e))
        }
        "pb" => {
            let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(vec![(name, proto(path)?)])
        }
        _ => Err(unknown_ending(path)),
    }
}

fn ending(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|e| DataError::new(path, io_message(&e)))
}

fn proto(path: &Path) -> Result<Tensor, DataError> {
    proto::tensor(&bytes(path)?).map_err(|fault| DataError::new(path, fault.message).at(fault.offset))
}

fn unknown_ending(path: &Path) -> DataError {
    DataError::new(path, "the name's ending tells no format")
        .help("known are .npy, .npz, .safetensors, .pb, .png, .jpg, .jpeg")
}

/// The system's message without its number.
pub(crate) fn io_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn check(path: &Path, dtype: DType, shape: &[usize], want: &Want<'_>) -> Result<(), DataError> {
    if dtype != want.dtype {
        let message = format!("holds {dtype}, but input `{}` is {}", want.name, want.dtype);
        return Err(DataError::new(path, message).help("convert the file: nothing is rounded silently"));
    }
    let fits = shape.len() == want.shape.len()
        && shape.iter().zip(want.shape).all(|(have, want)| want.is_none_or(|want| *have == want));
    if fits {
        return Ok(());
    }
    let sizes =
        want.shape.iter().map(|d| d.map_or("_".into(), |d| d.to_string())).collect::<Vec<_>>().join(", ");
    let error = DataError::new(path, format!("has shape {shape:?}, but input `{}` is [{sizes}]", want.name));
    Err(error.help(match shape.len() == want.shape.len() {
        true => "write the array anew with these sizes; `_` stands for any",
        false => "reshape the array to these axes; `_` stands for any size",
    }))
}

/// The tensor of the wanted name, or the only one.
fn choose(path: &Path, names: &[&str], want: &Want<'_>) -> Result<usize, DataError> {
    if let Some(at) = names.iter().position(|n| *n == want.name) {
        return Ok(at);
    }
    match names {
        [] => Err(DataError::new(path, "holds no tensor")),
        [_] => Ok(0),
        _ => {
            let mut listed = names.iter().take(8).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            if names.len() > 8 {
                listed.push_str(&format!(" and {} more", names.len() - 8));
            }
            Err(DataError::new(path, format!("holds no tensor `{}`", want.name))
                .help(format!("it has {listed}")))
        }
    }
}

#[cfg(test)]
mod tests;
