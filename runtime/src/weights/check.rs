//! Comparison of a weight file with what a model needs: everything that is wrong in one error, with the likely remedy.

use std::fmt;
use std::path::PathBuf;

use rectify_ir::DType;

use super::WeightFile;

/// A tensor that a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected<'a> {
    pub name: &'a str,
    pub shape: &'a [usize],
    /// Any float type in the file serves a float type; other types must be the same.
    pub dtype: DType,
}

/// All differences between a model and a weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsError {
    pub path: PathBuf,
    pub mismatches: Vec<Mismatch>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The model needs it, the file lacks it; perhaps the file calls it `similar`.
    Missing {
        name: String,
        shape: Vec<usize>,
        similar: Option<String>,
    },
    /// The file has it, the model does not; perhaps the model calls it `similar`.
    Unknown {
        name: String,
        shape: Vec<usize>,
        similar: Option<String>,
    },
    WrongShape {
        name: String,
        want: Vec<usize>,
        got: Vec<usize>,
    },
    WrongDType {
        name: String,
        want: DType,
        got: DType,
    },
}

/// Compares the file with what is expected, in both directions.
pub fn check_names(expected: &[Expected<'_>], file: &WeightFile) -> Result<(), WeightsError> {
    let known: std::collections::BTreeSet<&str> = expected.iter().map(|tensor| tensor.name).collect();
    let unknown: Vec<&str> = file.names().filter(|name| !known.contains(name)).collect();
    let missing: Vec<&str> =
        expected.iter().map(|tensor| tensor.name).filter(|name| file.get(name).is_none()).collect();
    let mut mismatches = Vec::new();
    for tensor in expected {
        let name = tensor.name.to_owned();
        let Some(found) = file.get(tensor.name) else {
            // Only names that the model cannot use otherwise are worth suggesting.
            let similar = nearest(tensor.name, unknown.iter().copied()).map(str::to_owned);
            mismatches.push(Mismatch::Missing { name, shape: tensor.shape.to_vec(), similar });
            continue;
        };
        if found.shape() != tensor.shape {
            let (want, got) = (tensor.shape.to_vec(), found.shape().to_vec());
            mismatches.push(Mismatch::WrongShape { name: name.clone(), want, got });
        }
        let (want, got) = (tensor.dtype, found.dtype());
        if want != got && !(want.is_float() && got.is_float()) {
            mismatches.push(Mismatch::WrongDType { name, want, got });
        }
    }
    for name in &unknown {
        let similar = nearest(name, missing.iter().copied()).map(str::to_owned);
        let shape = file.get(name).map_or_else(Vec::new, |tensor| tensor.shape().to_vec());
        mismatches.push(Mismatch::Unknown { name: (*name).to_owned(), shape, similar });
    }
    if mismatches.is_empty() {
        return Ok(());
    }
    // Missing, shapes, types, unknown: the order in which one mends them.
    mismatches.sort_by_key(Mismatch::rank);
    Err(WeightsError { path: file.path().to_owned(), mismatches })
}

impl Mismatch {
    fn rank(&self) -> u8 {
        match self {
            Mismatch::Missing { .. } => 0,
            Mismatch::WrongShape { .. } => 1,
            Mismatch::WrongDType { .. } => 2,
            Mismatch::Unknown { .. } => 3,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = |f: &mut fmt::Formatter<'_>, similar: &Option<String>| match similar {
            Some(similar) => write!(f, "; did you mean `{similar}`?"),
            None => Ok(()),
        };
        match self {
            Mismatch::Missing { name, shape, similar } => {
                write!(f, "missing `{name}` {shape:?}")?;
                hint(f, similar)
            }
            Mismatch::Unknown { name, shape, similar } => {
                write!(f, "unknown `{name}` {shape:?}")?;
                hint(f, similar)
            }
            Mismatch::WrongShape { name, want, got } => {
                write!(f, "`{name}` has shape {got:?}, the model needs {want:?}")
            }
            Mismatch::WrongDType { name, want, got } => {
                write!(f, "`{name}` holds {got}, the model needs {want}")
            }
        }
    }
}

/// A line each, as many as help.
impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST_LINES: usize = 40;
        let count = self.mismatches.len();
        let noun = if count == 1 { "tensor does" } else { "tensors do" };
        write!(f, "{}: {count} {noun} not fit the model:", self.path.display())?;
        for mismatch in self.mismatches.iter().take(MOST_LINES) {
            write!(f, "\n  {mismatch}")?;
        }
        if count > MOST_LINES {
            write!(f, "\n  and {} more", count - MOST_LINES)?;
        }
        Ok(())
    }
}

impl std::error::Error for WeightsError {}

/// The candidate that `name` most likely stands for: one that differs in a leading path (`module.conv1.weight`), or else in
/// few letters. Ties go to the first.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A hostile file may have many long names; suggestions are not worth their squares.
    const MOST_CANDIDATES: usize = 2000;
    const LONGEST: usize = 128;
    if name.len() > LONGEST {
        return None;
    }
    let most_edits = (name.chars().count() / 3).max(1);
    candidates
        .take(MOST_CANDIDATES)
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let edits = if path_suffix(name, candidate) || path_suffix(candidate, name) {
                0
            } else {
                edit_distance(name, candidate)
            };
            (edits <= most_edits).then_some((edits, candidate))
        })
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// Whether `short` is `long` without some leading labels.
fn path_suffix(short: &str, long: &str) -> bool {
    !short.is_empty() && long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'))
}

/// Insertions, deletions and replacements of letters that lead from one to the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
