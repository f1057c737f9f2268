//! CIFAR-10 in its binary form: records of a label and 32 x 32 pixels in three planes.

use super::{DataError, Dataset, Pixels, Sets, Store, Targets};
use crate::data::bytes;
use std::path::{Path, PathBuf};

const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD_BYTES: usize = 1 + 3 * 32 * 32;
const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: &str = "test_batch.bin";
/// As unpacked from the published archive.
const SUBFOLDER: &str = "cifar-10-batches-bin";
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Whether a folder has a training set of this kind.
pub(super) fn recognised(folder: &Path) -> bool {
    place(folder).join(TRAIN[0]).is_file()
}

pub(super) fn load(folder: &Path) -> Result<Sets, DataError> {
    let folder = place(folder);
    let test = folder.join(TEST);
    Ok(Sets {
        train: dataset(&folder, &TRAIN.map(|name| folder.join(name)))?,
        test: test.is_file().then(|| dataset(&test, std::slice::from_ref(&test))).transpose()?,
    })
}

fn place(folder: &Path) -> PathBuf {
    let inner = folder.join(SUBFOLDER);
    if inner.is_dir() { inner } else { folder.to_owned() }
}

fn dataset(source: &Path, files: &[PathBuf]) -> Result<Dataset, DataError> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for path in files {
        let file = bytes(path)?;
        let records = file.chunks_exact(RECORD_BYTES);
        if file.is_empty() || !records.remainder().is_empty() {
            let message = format!("has {} bytes, not a number of records of {RECORD_BYTES}", file.len());
            return Err(DataError::new(path, message).at((file.len() - records.remainder().len()) as u64));
        }
        for (i, record) in records.enumerate() {
            if usize::from(record[0]) >= CLASSES.len() {
                let message = format!("label {} of record {i}; CIFAR-10's are 0 to 9", record[0]);
                return Err(DataError::new(path, message).at((i * RECORD_BYTES) as u64));
            }
            labels.push(u32::from(record[0]));
            pixels.extend_from_slice(&record[1..]);
        }
    }
    Dataset::new(Store {
        source: source.to_owned(),
        targets: Targets::Classes { names: CLASSES.map(String::from).to_vec(), labels },
        shape: SHAPE,
        pixels: Pixels::Bytes(pixels),
    })
}
