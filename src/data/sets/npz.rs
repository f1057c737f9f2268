//! Data sets in .npz files: arrays `x` and `y`, and `x_test` and `y_test` if there is a test set.

use super::{DataError, Dataset, MAX_CLASSES, Pixels, Sets, Store, numbered};
use rectify_ir::DType;
use rectify_runtime::{WeightFile, WeightTensor};
use std::path::Path;

/// Names that the arrays of the training set may have.
const TRAIN: [[&str; 2]; 2] = [["x", "y"], ["x_train", "y_train"]];
const TEST: [&str; 2] = ["x_test", "y_test"];

pub(super) fn load(path: &Path) -> Result<Sets, DataError> {
    let file = WeightFile::open(path).map_err(|e| DataError::load(path, e))?;
    let names = TRAIN.into_iter().find(|[x, _]| file.get(x).is_some()).ok_or_else(|| {
        let found = file.names().take(8).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        DataError::new(path, "holds no array `x` or `x_train`").help(format!("it has {found}"))
    })?;
    let train = Arrays::read(path, &file, names)?;
    let test = file.get(TEST[0]).map(|_| Arrays::read(path, &file, TEST)).transpose()?;
    let classes = 1 + train.labels.iter().copied().max().unwrap_or(0);
    if let Some(test) = &test {
        if test.shape != train.shape {
            let message = format!(
                "images of `{}` are {:?}, but those of `{}` {:?}",
                TEST[0], test.shape, names[0], train.shape
            );
            return Err(DataError::new(path, message));
        }
        if let Some(at) = test.labels.iter().position(|&l| l >= classes) {
            let message = format!(
                "array `{}`: label {} at element {at}, but the training set's end at {}",
                TEST[1],
                test.labels[at],
                classes - 1
            );
            return Err(DataError::new(path, message));
        }
    }
    let test = test.map(|set| set.dataset(path, classes)).transpose()?;
    Ok(Sets { train: train.dataset(path, classes)?, test })
}

struct Arrays {
    shape: [usize; 3],
    pixels: Pixels,
    labels: Vec<u32>,
}

impl Arrays {
    fn read(path: &Path, file: &WeightFile, [x, y]: [&str; 2]) -> Result<Arrays, DataError> {
        let images = file.require(x).map_err(|e| DataError::load(path, e))?;
        let labels = file.require(y).map_err(|e| DataError::load(path, e))?;
        let (count, shape) = match *images.shape() {
            [n, h, w] if images.elements() > 0 => (n, [1, h, w]),
            [n, c, h, w] if images.elements() > 0 => (n, [c, h, w]),
            ref shape => {
                let message = format!("array `{x}` has shape {shape:?}");
                return Err(DataError::new(path, message).help("images are [N, C, H, W] or [N, H, W]"));
            }
        };
        if labels.elements() != count || labels.shape().first() != Some(&count) {
            let message = format!("array `{y}` has shape {:?}, but `{x}` has {count} images", labels.shape());
            return Err(DataError::new(path, message));
        }
        Ok(Arrays { shape, pixels: pixels(path, &images)?, labels: read_labels(path, &labels)? })
    }

    fn dataset(self, path: &Path, classes: u32) -> Result<Dataset, DataError> {
        Dataset::new(Store {
            source: path.to_owned(),
            classes: numbered(classes as usize),
            labels: self.labels,
            shape: self.shape,
            pixels: self.pixels,
        })
    }
}

fn pixels(path: &Path, array: &WeightTensor<'_>) -> Result<Pixels, DataError> {
    let load = |e| DataError::load(path, e);
    if array.dtype() == DType::U8 {
        return Ok(Pixels::Bytes(array.bytes().map_err(load)?.to_vec()));
    }
    if !array.dtype().is_float() {
        let message = format!("array `{}` holds {}", array.name(), array.dtype());
        return Err(DataError::new(path, message).help("images are u8, of 0 to 255, or floats"));
    }
    let mut values = vec![0.0; array.elements()];
    array.read_f32(0, &mut values).map_err(load)?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let message = format!("array `{}`: {} at element {at}", array.name(), values[at]);
        return Err(DataError::new(path, message).help("training needs finite numbers"));
    }
    Ok(Pixels::Floats(values))
}

fn read_labels(path: &Path, array: &WeightTensor<'_>) -> Result<Vec<u32>, DataError> {
    let name = array.name();
    if array.dtype().is_float() || array.dtype() == DType::Bool {
        let message = format!("array `{name}` holds {}", array.dtype());
        return Err(DataError::new(path, message).help("labels are integers"));
    }
    let tensor = array.to_tensor().map_err(|e| DataError::load(path, e))?;
    let labels = tensor.view().to_f64_vec().into_iter().enumerate().map(|(at, label)| {
        if (0.0..MAX_CLASSES as f64).contains(&label) {
            return Ok(label as u32);
        }
        let message = format!("array `{name}`: label {label} at element {at}");
        Err(DataError::new(path, message).help(format!("labels are 0 to {}", MAX_CLASSES - 1)))
    });
    labels.collect()
}
