//! Writing of safetensors files: streamed piece by piece, so that a model larger than memory can be written, and put in place
//! by renaming, so that a reader never sees half a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ::safetensors::tensor::{Metadata, TensorInfo};
use rectify_ir::DType;

use super::{safetensors, tensor_bytes};

/// A tensor to write.
pub struct SaveEntry<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub shape: &'a [usize],
    pub source: Source<'a>,
}

/// Where the elements come from.
pub enum Source<'a> {
    /// Row-major, little-endian.
    Bytes(&'a [u8]),
    /// Fills the buffer with the elements from this index on. Only for tensors of f32.
    F32(&'a mut dyn FnMut(u64, &mut [f32]) -> io::Result<()>),
}

/// Elements asked of a generator at a time: 1 MiB.
const PIECE: usize = 1 << 18;

/// Writes the tensors, in this order, to `path`. Errors leave no file behind and an existing one untouched.
///
/// `metadata` are free pairs of strings for the header. The file is not forced to the disk: this guards against a failing
/// process, not against a failing machine.
pub fn save_safetensors(
    path: &Path,
    entries: &mut [SaveEntry<'_>],
    metadata: &[(&str, &str)],
) -> io::Result<()> {
    write_tensors(path, entries, metadata)?.finish(path)
}

/// As [`save_safetensors`], and on the disk when it returns: after a failure of the machine too, `path` holds the old
/// contents or the new ones.
pub fn save_safetensors_durably(
    path: &Path,
    entries: &mut [SaveEntry<'_>],
    metadata: &[(&str, &str)],
) -> io::Result<()> {
    write_tensors(path, entries, metadata)?.finish_durably(path)
}

/// Puts a file with these contents in place as [`save_safetensors_durably`] does.
pub fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut unfinished = Unfinished::create(path)?;
    unfinished.file.write_all(contents)?;
    unfinished.finish_durably(path)
}

fn write_tensors(
    path: &Path,
    entries: &mut [SaveEntry<'_>],
    metadata: &[(&str, &str)],
) -> io::Result<Unfinished> {
    let header = header(entries, metadata)?;
    let unfinished = Unfinished::create(path)?;
    let mut to = BufWriter::with_capacity(PIECE, &unfinished.file);
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    for entry in entries {
        write_entry(&mut to, entry)?;
    }
    to.flush()?;
    drop(to);
    Ok(unfinished)
}

fn header(entries: &[SaveEntry<'_>], metadata: &[(&str, &str)]) -> io::Result<String> {
    let mut names = std::collections::BTreeSet::new();
    let mut tensors = Vec::with_capacity(entries.len());
    let mut begin = 0usize;
    for entry in entries {
        if !names.insert(entry.name) || entry.name == "__metadata__" {
            return Err(refusal(entry.name, "the name is taken"));
        }
        let size = tensor_bytes(entry.dtype, entry.shape);
        let end = size
            .and_then(|size| begin.checked_add(size))
            .ok_or_else(|| refusal(entry.name, "it is too large"))?;
        match &entry.source {
            Source::Bytes(bytes) if Some(bytes.len()) != size => {
                return Err(refusal(entry.name, "its shape and its data do not agree"));
            }
            Source::F32(_) if entry.dtype != DType::F32 => {
                return Err(refusal(entry.name, "only f32 can be generated"));
            }
            Source::Bytes(_) | Source::F32(_) => {}
        }
        let dtype = safetensors::dtype_name(entry.dtype);
        let info = TensorInfo { dtype, shape: entry.shape.to_vec(), data_offsets: (begin, end) };
        tensors.push((entry.name.to_owned(), info));
        begin = end;
    }
    let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let metadata: std::collections::HashMap<_, _> = metadata.collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let header = Metadata::new(metadata, tensors).map_err(io::Error::other)?;
    // By way of a value, whose keys are sorted: the same tensors make the same file.
    let header = serde_json::to_value(&header).map_err(io::Error::other)?;
    let mut text = header.to_string();
    // Data begins at a multiple of 64 bytes, so that mapped tensors are aligned if their sizes are.
    let end = (8 + text.len()).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', end - 8 - text.len()));
    Ok(text)
}

fn write_entry(to: &mut impl Write, entry: &mut SaveEntry<'_>) -> io::Result<()> {
    match &mut entry.source {
        Source::Bytes(bytes) => to.write_all(bytes),
        Source::F32(generate) => {
            let elements = tensor_bytes(entry.dtype, entry.shape).map_or(0, |bytes| bytes / 4);
            let mut values = vec![0.0f32; elements.min(PIECE)];
            let mut bytes = Vec::with_capacity(values.len() * 4);
            for start in (0..elements).step_by(PIECE) {
                let piece = &mut values[..(elements - start).min(PIECE)];
                generate(start as u64, piece)?;
                bytes.clear();
                bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
                to.write_all(&bytes)?;
            }
            Ok(())
        }
    }
}

fn refusal(name: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("cannot write tensor `{name}`: {why}"))
}

/// A file beside the one to be, removed unless it is finished.
struct Unfinished {
    file: File,
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    fn create(target: &Path) -> io::Result<Unfinished> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let stem = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"))?;
        let mut name = stem.to_owned();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".{}-{number}.tmp", std::process::id()));
        let path = target.with_file_name(name);
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Unfinished { file, path, finished: false })
    }

    fn finish_durably(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        self.finish(target)?;
        // The new name is an entry of the folder, which has to reach the disk too.
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn finish(mut self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // The error that led here matters more than this one.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
