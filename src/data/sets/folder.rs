//! Folders of pictures, a folder a class. Only names are read beforehand; a picture is decoded when it is asked for.

use super::{DataError, Dataset, Image, Pixels, Sets, Store, Targets};
use crate::data::{ending, io_message};
use std::path::{Path, PathBuf};

/// A folder of pictures, and what they become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Holds a folder for each class; or `train` with those, and `test` or `val` if there is a test set.
    pub path: PathBuf,
    /// Height and width that pictures are scaled and cut to; without it, all must have the size of the first.
    pub size: Option<usize>,
    /// 3 or, for grey, 1.
    pub channels: usize,
}

/// The files of a set.
#[derive(Debug)]
pub(super) struct Pictures {
    files: Vec<PathBuf>,
    /// Whether every picture must have the set's own size.
    exact: bool,
}

const TRAIN: &str = "train";
const TEST: [&str; 2] = ["test", "val"];

/// Whether a folder has a class with a picture in it.
pub(super) fn recognised(folder: &Path) -> bool {
    let train = folder.join(TRAIN);
    let classes = folders(if train.is_dir() { &train } else { folder }).unwrap_or_default();
    classes.iter().any(|class| pictures(class).is_ok_and(|files| !files.is_empty()))
}

pub(super) fn load(spec: &Folder) -> Result<Sets, DataError> {
    let train = spec.path.join(TRAIN);
    let root = if train.is_dir() { &train } else { &spec.path };
    let classes: Vec<String> = folders(root)?.iter().map(|path| name(path)).collect();
    if classes.is_empty() {
        return Err(DataError::new(root, "holds no folders").help("a class of pictures is a folder"));
    }
    let train = dataset(root, spec, &classes, None)?;
    // Beside classes, a folder of such a name is a class.
    let test = TEST.iter().map(|name| spec.path.join(name)).find(|path| *root != spec.path && path.is_dir());
    let test = test.map(|path| dataset(&path, spec, &classes, Some(train.shape()))).transpose()?;
    Ok(Sets { train, test })
}

/// The set in a folder of classes; its pictures have the size of the spec, else `shape`, else that of the first.
fn dataset(
    root: &Path,
    spec: &Folder,
    classes: &[String],
    shape: Option<[usize; 3]>,
) -> Result<Dataset, DataError> {
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for class in folders(root)? {
        let label = classes.iter().position(|c| *c == name(&class));
        let label = label.ok_or_else(|| DataError::new(&class, "is no class of the training set"))?;
        let found = pictures(&class)?;
        if found.is_empty() {
            return Err(DataError::new(&class, "holds no .png, .jpg or .jpeg"));
        }
        labels.resize(labels.len() + found.len(), label as u32);
        files.extend(found);
    }
    let Some(first) = files.first() else { return Err(DataError::new(root, "holds no folders of classes")) };
    let shape = match (spec.size, shape) {
        (Some(size), _) => [spec.channels, size, size],
        (None, Some(shape)) => shape,
        (None, None) => {
            let first = decode(first, spec.channels)?;
            [first.channels, first.height, first.width]
        }
    };
    let pixels = Pixels::Pictures(Pictures { files, exact: spec.size.is_none() });
    let targets = Targets::Classes { names: classes.to_vec(), labels };
    Dataset::new(Store { source: root.to_owned(), targets, shape, pixels })
}

impl Pictures {
    pub(super) fn read(&self, sample: usize, shape: [usize; 3]) -> Result<Image, DataError> {
        let path = &self.files[sample];
        let image = decode(path, shape[0])?;
        if self.exact && (image.height, image.width) != (shape[1], shape[2]) {
            let message = format!(
                "is {} x {} pixels, but the first picture of the set {} x {}",
                image.width, image.height, shape[2], shape[1]
            );
            return Err(DataError::new(path, message).help("give a size, as in folder:DIR,size=224"));
        }
        Ok(image)
    }
}

#[cfg(feature = "image")]
fn decode(path: &Path, channels: usize) -> Result<Image, DataError> {
    let picture = crate::data::picture::decode(path, &crate::data::bytes(path)?)?;
    let planes = crate::data::picture::planes(&picture, channels);
    let values = planes.into_iter().flatten().map(|v| v / 255.0).collect();
    Ok(Image { channels, height: picture.height() as usize, width: picture.width() as usize, values })
}

#[cfg(not(feature = "image"))]
fn decode(path: &Path, _channels: usize) -> Result<Image, DataError> {
    Err(DataError::new(path, "this build reads no pictures").help("build with the feature `image`"))
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    entries(folder, |path| path.is_dir())
}

/// The pictures in a folder, by name.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    entries(folder, |path| matches!(ending(path).as_str(), "png" | "jpg" | "jpeg"))
}

/// Hidden entries are left out. Sorted, as a folder's own order differs between machines.
fn entries(folder: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let fail = |e: std::io::Error| DataError::new(folder, io_message(&e));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if !name(&path).starts_with('.') && keep(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
