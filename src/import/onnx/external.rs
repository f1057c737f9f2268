//! Weights in files beside the model.
//!
//! A model may come from anywhere, so what it names must lie inside the model's own folder: no absolute paths, no `..`,
//! no symbolic links, and regular files only.

use super::proto::StringStringEntryProto;
use bytes::Bytes;
use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// More files than any model is spread over.
const MAX_FILES: usize = 10_000;

/// Why data in another file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    #[error("the data lies in another file, but the model was not opened from a folder")]
    NoFolder,
    #[error("the data lies in another file, which is not named")]
    NoLocation,
    #[error("the data file `{0}` is refused: only paths inside the model's folder, without `..`, are read")]
    Outside(String),
    #[error("the data file `{0}` is refused: it is a symbolic link or lies behind one")]
    Link(String),
    #[error("the data file `{0}` is not a regular file")]
    NotAFile(String),
    #[error("the data file `{file}` cannot be read: {error}")]
    Io { file: String, error: String },
    #[error("`{key}` of the data file is no size: `{value}`")]
    BadNumber { key: String, value: String },
    #[error("bytes {offset}..{offset}+{length} lie outside of the data file `{file}`, which has {size}")]
    OutOfRange { file: String, offset: u64, length: u64, size: u64 },
    #[error("the model names more than {MAX_FILES} data files")]
    TooMany,
}

/// Opens each data file once.
#[derive(Debug, Default)]
pub struct ExternalFiles {
    folder: Option<PathBuf>,
    open: HashMap<String, Bytes>,
}

impl ExternalFiles {
    /// Files inside `folder`.
    pub fn in_folder(folder: &Path) -> ExternalFiles {
        ExternalFiles { folder: Some(folder.to_path_buf()), open: HashMap::new() }
    }

    /// No files: for models that come as bytes.
    pub fn none() -> ExternalFiles {
        ExternalFiles::default()
    }

    /// The `size` bytes that `entries` (location, offset, length) name. Not copied.
    pub fn read(&mut self, entries: &[StringStringEntryProto], size: usize) -> Result<Bytes, ExternalError> {
        let find = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| match find(key) {
            None => Ok(None),
            Some(v) => v.trim().parse::<u64>().map(Some).map_err(|_| ExternalError::BadNumber {
                key: key.into(),
                value: v.chars().take(40).collect(),
            }),
        };
        let location = find("location").filter(|l| !l.is_empty()).ok_or(ExternalError::NoLocation)?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(size as u64);
        let data = self.open(location)?;
        let range = offset.checked_add(length).filter(|end| *end <= data.len() as u64);
        match range {
            // Within the file, so within `usize`.
            Some(end) => Ok(data.slice(offset as usize..end as usize)),
            None => Err(ExternalError::OutOfRange {
                file: location.into(),
                offset,
                length,
                size: data.len() as u64,
            }),
        }
    }

    fn open(&mut self, location: &str) -> Result<Bytes, ExternalError> {
        if let Some(data) = self.open.get(location) {
            return Ok(data.clone());
        }
        if self.open.len() >= MAX_FILES {
            return Err(ExternalError::TooMany);
        }
        let folder = self.folder.as_deref().ok_or(ExternalError::NoFolder)?;
        let path = resolve(folder, location)?;
        let data =
            map_file(&path).map_err(|e| ExternalError::Io { file: location.into(), error: e.to_string() })?;
        self.open.insert(location.into(), data.clone());
        Ok(data)
    }
}

/// The file `location` inside `folder`, if it is one and no link leads to it.
fn resolve(folder: &Path, location: &str) -> Result<PathBuf, ExternalError> {
    let io = |e: std::io::Error| ExternalError::Io { file: location.into(), error: e.to_string() };
    let relative = Path::new(location);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    // A backslash separates folders elsewhere, so that `..\x` must not pass here either.
    if !plain || location.contains(['\\', '\0']) {
        return Err(ExternalError::Outside(location.into()));
    }
    let root = fs::canonicalize(folder).map_err(io)?;
    let mut path = root.clone();
    for part in relative.components() {
        if let Component::Normal(name) = part {
            path.push(name);
            if fs::symlink_metadata(&path).map_err(io)?.file_type().is_symlink() {
                return Err(ExternalError::Link(location.into()));
            }
        }
    }
    if !fs::canonicalize(&path).map_err(io)?.starts_with(&root) {
        return Err(ExternalError::Outside(location.into()));
    }
    if !fs::metadata(&path).map_err(io)?.is_file() {
        return Err(ExternalError::NotAFile(location.into()));
    }
    Ok(path)
}

/// The contents of a file, mapped. The map lives as long as any slice of it.
pub fn map_file(path: &Path) -> std::io::Result<Bytes> {
    let file = fs::File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if meta.len() == 0 {
        return Ok(Bytes::new());
    }
    // Safety: the map is read-only and private to this process. As with every mapped file, truncating it from outside
    // while it is in use faults; the documentation of `OnnxModel::open` says so.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
        pairs.iter().map(|(k, v)| StringStringEntryProto { key: (*k).into(), value: (*v).into() }).collect()
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rectify-external-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join("w.bin"), [1u8, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        fs::write(folder.join("inner/v.bin"), [9u8; 4]).unwrap();
        folder
    }

    #[test]
    fn reads_ranges_inside_the_folder() {
        let folder = folder("ranges");
        let mut files = ExternalFiles::in_folder(&folder);
        let at = entries(&[("location", "w.bin"), ("offset", "4"), ("length", "4")]);
        assert_eq!(files.read(&at, 4).unwrap(), [5u8, 6, 7, 8].as_slice());
        let at = entries(&[("location", "./inner/v.bin")]);
        assert_eq!(files.read(&at, 4).unwrap(), [9u8; 4].as_slice());
        let at = entries(&[("location", "w.bin"), ("offset", "6"), ("length", "4")]);
        assert!(matches!(files.read(&at, 4), Err(ExternalError::OutOfRange { size: 8, .. })));
        let at = entries(&[("location", "w.bin"), ("offset", "18446744073709551615"), ("length", "2")]);
        assert!(matches!(files.read(&at, 2), Err(ExternalError::OutOfRange { .. })));
        let at = entries(&[("location", "w.bin"), ("offset", "-1")]);
        assert!(matches!(files.read(&at, 2), Err(ExternalError::BadNumber { .. })));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn refuses_what_lies_outside() {
        let folder = folder("outside");
        let mut files = ExternalFiles::in_folder(&folder);
        for location in ["../w.bin", "inner/../../w.bin", "/etc/passwd", "..\\w.bin", "inner/.."] {
            let e = files.read(&entries(&[("location", location)]), 1).unwrap_err();
            assert!(matches!(e, ExternalError::Outside(_)), "{location}: {e}");
        }
        let e = files.read(&entries(&[("location", "inner")]), 1).unwrap_err();
        assert!(matches!(e, ExternalError::NotAFile(_)), "{e}");
        let e = ExternalFiles::none().read(&entries(&[("location", "w.bin")]), 1).unwrap_err();
        assert_eq!(e, ExternalError::NoFolder);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc", folder.join("link")).unwrap();
            std::os::unix::fs::symlink("w.bin", folder.join("alias")).unwrap();
            for location in ["link/passwd", "alias"] {
                let e = files.read(&entries(&[("location", location)]), 1).unwrap_err();
                assert!(matches!(e, ExternalError::Link(_)), "{location}: {e}");
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
