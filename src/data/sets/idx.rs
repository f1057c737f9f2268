//! The idx files of the MNIST family: images of bytes and labels, plain or gzipped.

use super::{DataError, Dataset, Pixels, Sets, Store, Targets, numbered};
use crate::data::bytes;
use rectify_runtime::files::gzip;
use std::path::{Path, PathBuf};

/// How the names of a set's files begin.
const TRAIN: &[&str] = &["train"];
const TEST: &[&str] = &["t10k", "test"];
/// The element type that idx calls so: unsigned bytes.
const UNSIGNED_BYTES: u8 = 8;

/// Whether a folder has a training set of this kind.
pub(super) fn recognised(folder: &Path) -> bool {
    find(folder, TRAIN, "images", 3).is_some()
}

pub(super) fn load(folder: &Path) -> Result<Sets, DataError> {
    let train = Files::find(folder, TRAIN)?.ok_or_else(|| missing(folder, TRAIN, "images", 3))?.read()?;
    let test = Files::find(folder, TEST)?.map(|files| files.read()).transpose()?;
    let classes = 1 + usize::from(train.labels.iter().copied().max().unwrap_or(0));
    if let Some(test) = &test {
        if test.shape != train.shape {
            let of = train.files.images.display();
            let message = format!("images are {:?}, but those of {of} {:?}", test.shape, train.shape);
            return Err(DataError::new(&test.files.images, message).at(4));
        }
        if let Some(at) = test.labels.iter().position(|&l| usize::from(l) >= classes) {
            let message = format!("label {}, but the training set's end at {}", test.labels[at], classes - 1);
            return Err(DataError::new(&test.files.labels, message).at((LABELS_HEADER + at) as u64));
        }
    }
    let test = test.map(|set| set.dataset(classes)).transpose()?;
    Ok(Sets { train: train.dataset(classes)?, test })
}

/// The two files of a set.
struct Files {
    images: PathBuf,
    labels: PathBuf,
}

/// What they hold.
struct Read {
    files: Files,
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// Bytes before the first label.
const LABELS_HEADER: usize = 8;

impl Files {
    /// None without images; images without labels are an error.
    fn find(folder: &Path, prefixes: &[&str]) -> Result<Option<Files>, DataError> {
        let Some(images) = find(folder, prefixes, "images", 3) else { return Ok(None) };
        let labels = find(folder, prefixes, "labels", 1);
        let labels = labels.ok_or_else(|| missing(folder, prefixes, "labels", 1))?;
        Ok(Some(Files { images, labels }))
    }

    fn read(self) -> Result<Read, DataError> {
        let (sizes, pixels) = array(&self.images)?;
        let (counts, labels) = array(&self.labels)?;
        let (count, shape) = match sizes[..] {
            [n, h, w] => (n, [1, h, w]),
            [n, c, h, w] => (n, [c, h, w]),
            _ => {
                let message = format!("holds an array of {} axes; images have 3 or 4", sizes.len());
                return Err(DataError::new(&self.images, message).at(3));
            }
        };
        if counts.len() != 1 {
            let message = format!("holds an array of {} axes; labels have 1", counts.len());
            return Err(DataError::new(&self.labels, message).at(3));
        }
        if counts[0] != count {
            let message = format!("{} labels, but {} has {count} images", counts[0], self.images.display());
            return Err(DataError::new(&self.labels, message).at(4));
        }
        Ok(Read { files: self, shape, pixels, labels })
    }
}

impl Read {
    fn dataset(self, classes: usize) -> Result<Dataset, DataError> {
        Dataset::new(Store {
            source: self.files.images,
            targets: Targets::Classes {
                names: numbered(classes),
                labels: self.labels.into_iter().map(u32::from).collect(),
            },
            shape: self.shape,
            pixels: Pixels::Bytes(self.pixels),
        })
    }
}

/// The file of a set, under any of the names that are in use.
fn find(folder: &Path, prefixes: &[&str], what: &str, rank: usize) -> Option<PathBuf> {
    let names = prefixes
        .iter()
        .flat_map(|prefix| ['-', '.'].map(|dot| format!("{prefix}-{what}{dot}idx{rank}-ubyte")).into_iter());
    names.flat_map(|name| [folder.join(&name), folder.join(name + ".gz")]).find(|path| path.is_file())
}

fn missing(folder: &Path, prefixes: &[&str], what: &str, rank: usize) -> DataError {
    DataError::new(folder, format!("holds no file {}-{what}-idx{rank}-ubyte, plain or .gz", prefixes[0])).help(
        "a set is a folder of train-images-idx3-ubyte and train-labels-idx1-ubyte, and of t10k-… for testing",
    )
}

/// Sizes and elements of an array of bytes. Offsets in errors count unpacked bytes, but for those of gzip itself.
fn array(path: &Path) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let file = bytes(path)?;
    let packed = gzip::is_gzip(&file);
    let fault = |e: rectify_runtime::files::FormatError| DataError::new(path, e.message).at(e.offset);
    let fail = |offset: usize, message: String| Err(DataError::new(path, message).at(offset as u64));
    // Four bytes and as many sizes as the last of them can say.
    let most = 4 + 4 * usize::from(u8::MAX);
    let head =
        if packed { gzip::head(&file, most).map_err(fault)? } else { file[..most.min(file.len())].to_vec() };
    let &[0, 0, dtype, rank, ref sizes @ ..] = &head[..] else {
        return fail(0, "is no idx file: it does not begin with two zero bytes, a type and a rank".into());
    };
    if dtype != UNSIGNED_BYTES {
        return fail(
            2,
            format!("has elements of type {dtype:#04x}, not unsigned bytes, {UNSIGNED_BYTES:#04x}"),
        );
    }
    let start = 4 + 4 * usize::from(rank);
    let sizes: Vec<usize> = sizes.as_chunks().0.iter().map(|b| u32::from_be_bytes(*b) as usize).collect();
    let Some(sizes) = sizes.get(..usize::from(rank)) else {
        return fail(head.len(), format!("ends within the sizes of its {rank} axes"));
    };
    if let Some(axis) = sizes.iter().position(|&s| s == 0) {
        return fail(4 + 4 * axis, "is empty: a size is 0".into());
    }
    let total = sizes.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).and_then(|n| n.checked_add(start));
    let capacity = if packed { file.len().saturating_mul(gzip::MAX_RATIO) } else { file.len() };
    let Some(total) = total.filter(|&total| total <= capacity) else {
        let total = total.map_or("more than memory".into(), |total| format!("{total} bytes"));
        let have = file.len();
        return fail(4, format!("sizes {sizes:?} take {total}, which a file of {have} bytes does not hold"));
    };
    let mut content = if packed { gzip::read(&file, total).map_err(fault)? } else { file };
    if content.len() != total {
        return fail(content.len(), format!("has {} bytes, but sizes {sizes:?} take {total}", content.len()));
    }
    content.drain(..start);
    Ok((sizes.to_vec(), content))
}
