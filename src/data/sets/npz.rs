//! Data sets in .npz files: arrays `x` and `y`, and `x_test` and `y_test` if there is a test set. Integers in `y` are classes, floats are
//! values to be predicted.

use super::{DataError, Dataset, MAX_CLASSES, Pixels, Sets, Store, Targets, numbered};
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
    if let Some(test) = &test {
        if test.shape != train.shape {
            let message = format!(
                "images of `{}` are {:?}, but those of `{}` {:?}",
                TEST[0], test.shape, names[0], train.shape
            );
            return Err(DataError::new(path, message));
        }
        same_targets(path, names[1], &train.targets, &test.targets)?;
    }
    let classes = match &train.targets {
        Read::Labels(labels) => 1 + labels.iter().copied().max().unwrap_or(0),
        Read::Values { .. } => 0,
    };
    let test = test.map(|set| set.dataset(path, classes)).transpose()?;
    Ok(Sets { train: train.dataset(path, classes)?, test })
}

/// A test set has no classes that the training set lacks, and values of its shape.
fn same_targets(path: &Path, name: &str, train: &Read, test: &Read) -> Result<(), DataError> {
    let message = match (train, test) {
        (Read::Labels(train), Read::Labels(test)) => {
            let last = train.iter().copied().max().unwrap_or(0);
            let beyond = test.iter().position(|label| *label > last);
            beyond.map(|at| {
                let label = test[at];
                format!(
                    "array `{}`: label {label} at element {at}, but the training set's end at {last}",
                    TEST[1]
                )
            })
        }
        (Read::Values { shape, .. }, Read::Values { shape: other, .. }) => (shape != other)
            .then(|| format!("values of `{}` are {other:?}, but those of `{name}` {shape:?}", TEST[1])),
        (Read::Labels(_), Read::Values { .. }) | (Read::Values { .. }, Read::Labels(_)) => {
            Some(format!("one of `{name}` and `{}` holds integers, the other floats", TEST[1]))
        }
    };
    message.map_or(Ok(()), |message| Err(DataError::new(path, message)))
}

/// What an array `y` holds.
enum Read {
    Labels(Vec<u32>),
    Values { shape: Vec<usize>, values: Vec<f32> },
}

struct Arrays {
    shape: [usize; 3],
    pixels: Pixels,
    targets: Read,
}

impl Arrays {
    fn read(path: &Path, file: &WeightFile, [x, y]: [&str; 2]) -> Result<Arrays, DataError> {
        let images = file.require(x).map_err(|e| DataError::load(path, e))?;
        let targets = file.require(y).map_err(|e| DataError::load(path, e))?;
        let (count, shape) = match *images.shape() {
            [n, f] if images.elements() > 0 => (n, [f, 1, 1]),
            [n, h, w] if images.elements() > 0 => (n, [1, h, w]),
            [n, c, h, w] if images.elements() > 0 => (n, [c, h, w]),
            ref shape => {
                let message = format!("array `{x}` has shape {shape:?}");
                return Err(DataError::new(path, message)
                    .help("images are [N, C, H, W] or [N, H, W], vectors [N, F]"));
            }
        };
        let wrong = || {
            let message =
                format!("array `{y}` has shape {:?}, but `{x}` has {count} images", targets.shape());
            Err(DataError::new(path, message))
        };
        if targets.shape().first() != Some(&count) {
            return wrong();
        }
        let targets = if targets.dtype().is_float() {
            let shape = targets.shape()[1..].to_vec();
            if targets.elements() == 0 {
                return wrong();
            }
            Read::Values { shape, values: floats(path, &targets)? }
        } else if targets.elements() == count {
            Read::Labels(read_labels(path, &targets)?)
        } else {
            return wrong();
        };
        Ok(Arrays { shape, pixels: pixels(path, &images)?, targets })
    }

    fn dataset(self, path: &Path, classes: u32) -> Result<Dataset, DataError> {
        Dataset::new(Store {
            source: path.to_owned(),
            targets: match self.targets {
                Read::Labels(labels) => Targets::Classes { names: numbered(classes as usize), labels },
                Read::Values { shape, values } => Targets::Values { shape, values },
            },
            shape: self.shape,
            pixels: self.pixels,
        })
    }
}

fn pixels(path: &Path, array: &WeightTensor<'_>) -> Result<Pixels, DataError> {
    if array.dtype() == DType::U8 {
        return Ok(Pixels::Bytes(array.bytes().map_err(|e| DataError::load(path, e))?.to_vec()));
    }
    if !array.dtype().is_float() {
        let message = format!("array `{}` holds {}", array.name(), array.dtype());
        return Err(DataError::new(path, message).help("images are u8, of 0 to 255, or floats"));
    }
    Ok(Pixels::Floats(floats(path, array)?))
}

fn floats(path: &Path, array: &WeightTensor<'_>) -> Result<Vec<f32>, DataError> {
    let mut values = vec![0.0; array.elements()];
    array.read_f32(0, &mut values).map_err(|e| DataError::load(path, e))?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let message = format!("array `{}`: {} at element {at}", array.name(), values[at]);
        return Err(DataError::new(path, message).help("training needs finite numbers"));
    }
    Ok(values)
}

fn read_labels(path: &Path, array: &WeightTensor<'_>) -> Result<Vec<u32>, DataError> {
    let name = array.name();
    if array.dtype() == DType::Bool {
        let message = format!("array `{name}` holds {}", array.dtype());
        return Err(
            DataError::new(path, message).help("labels are integers, values to be predicted are floats")
        );
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
