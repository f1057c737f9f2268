//! Where a parameter's values come from: drawn from the seed, read from a file, or given in the model.

use crate::rng::{self, Distribution, StreamKey};
use crate::weights::WeightFile;
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId};
use rectify_ir::init::{Dist, Fan, Form, Gain, Init};
use rectify_ir::op::Source;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Tensors by name that can be read in parts: a weights file, or the initialisers of a model file.
pub trait TensorStore: Send + Sync {
    /// What to call it in messages.
    fn describe(&self) -> String;

    /// Element type and shape.
    fn tensor(&self, name: &str) -> Option<(DType, Vec<usize>)>;

    /// Writes elements `start .. start + out.len()` of the tensor, converted to `f32`, into `out`.
    fn read_f32(&self, name: &str, start: usize, out: &mut [f32]) -> Result<(), String>;

    /// The tensor's bytes, row-major and little-endian, of any alignment, if it is of f32 and the store has it so. They
    /// must stay what and where they are as long as the store lives: compiled models read them from there.
    fn lend(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// Why a parameter has no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    #[error("parameter `{name}`: {message}")]
    Read { name: String, message: String },
    #[error("parameter `{name}` is to come from `{file}`, which is not loaded")]
    NoFile { name: String, file: String },
    #[error("parameter `{name}`: the initialisation `{init}` has no resolved fan or gain (run `fold_init`)")]
    Unresolved { name: String, init: String },
    #[error("parameter `{name}`: {message}")]
    Init { name: String, message: String },
    #[error("derived parameter {node}: {message}")]
    Derivation { node: String, message: String },
}

type WholeDraws = HashMap<Arc<str>, Arc<Vec<f32>>>;

/// The values of a model's parameters: the seed, and files that take the place of drawn values.
#[derive(Clone, Default)]
pub struct Parameters {
    seed: u64,
    /// Replaces the sources of parameters with these full names.
    overrides: Option<Arc<dyn TensorStore>>,
    /// Files that `Source::File` names.
    files: HashMap<Arc<str>, Arc<dyn TensorStore>>,
    /// Draws that exist only as a whole (orthogonal matrices), by node name.
    whole: Arc<Mutex<WholeDraws>>,
}

impl Parameters {
    /// Drawn from the seed, where the model says so.
    pub fn new(seed: u64) -> Parameters {
        Parameters { seed, ..Parameters::default() }
    }

    /// Takes parameters that the store names from it.
    pub fn with_overrides(mut self, store: Arc<dyn TensorStore>) -> Parameters {
        self.overrides = Some(store);
        self
    }

    /// Gives the file that `Source::File` calls `name`.
    pub fn with_file(mut self, name: impl Into<Arc<str>>, store: Arc<dyn TensorStore>) -> Parameters {
        self.files.insert(name.into(), store);
        self
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Writes elements `start .. start + out.len()` of the parameter `node`, row-major, into `out`.
    ///
    /// # Errors
    /// The file is missing or unreadable, or the initialisation is not resolved. `node` must be a parameter.
    pub fn read(&self, graph: &Graph, node: NodeId, start: usize, out: &mut [f32]) -> Result<(), ParamError> {
        let n = graph.node(node);
        let name: Arc<str> = n.name.clone().unwrap_or_default();
        let read = |store: &Arc<dyn TensorStore>, tensor: &str, out: &mut [f32]| {
            store
                .read_f32(tensor, start, out)
                .map_err(|message| ParamError::Read { name: name.to_string(), message })
        };
        if let Some(store) = self.overrides.as_ref().filter(|s| s.tensor(&name).is_some()) {
            return read(store, &name, out);
        }
        match n.source() {
            Some(Source::Init(init)) => {
                let shape = n.types.first().and_then(|t| t.const_shape()).unwrap_or_default();
                self.draw(&name, init, &shape, start, out)
            }
            Some(Source::File { file, tensor, .. }) => match self.files.get(file) {
                Some(store) => read(store, tensor, out),
                None => Err(ParamError::NoFile { name: name.to_string(), file: file.to_string() }),
            },
            Some(Source::Data(literal)) => {
                for (i, value) in out.iter_mut().enumerate() {
                    *value = literal.get_f32(start + i).unwrap_or(0.0);
                }
                Ok(())
            }
            None => Err(ParamError::Init { name: name.to_string(), message: "not a parameter".into() }),
        }
    }

    /// The store, and the tensor's name in it, that a parameter's values come from, if they come from one.
    pub(super) fn store<'a>(
        &'a self,
        graph: &Graph,
        node: NodeId,
    ) -> Option<(&'a Arc<dyn TensorStore>, Arc<str>)> {
        let n = graph.node(node);
        let name: Arc<str> = n.name.clone().unwrap_or_default();
        let source = n.source()?;
        if let Some(store) = self.overrides.as_ref().filter(|s| s.tensor(&name).is_some()) {
            return Some((store, name));
        }
        match source {
            Source::File { file, tensor, .. } => Some((self.files.get(file)?, tensor.clone())),
            Source::Init(_) | Source::Data(_) => None,
        }
    }

    fn draw(
        &self,
        name: &Arc<str>,
        init: &Init,
        shape: &[usize],
        start: usize,
        out: &mut [f32],
    ) -> Result<(), ParamError> {
        if let Some(distribution) = distribution(init) {
            rng::fill_keyed(&distribution, StreamKey::new(self.seed, name), start as u64, out);
            return Ok(());
        }
        let unresolved = || ParamError::Unresolved { name: name.to_string(), init: init.to_string() };
        let rows = shape.first().copied().unwrap_or(1);
        let columns: usize = shape.iter().skip(1).product();
        let make = || {
            let mut values = vec![0.0; rows * columns];
            let filled = match init.dist {
                Dist::Orthogonal { gain: Gain::Value(gain) } => {
                    rng::orthogonal(self.seed, name, rows, columns, gain.0 as f32, &mut values)
                }
                Dist::Identity => {
                    let inputs = shape.get(1).copied().unwrap_or(1);
                    rng::dirac(rows, inputs, shape.get(2..).unwrap_or_default(), 1, 1.0, &mut values)
                }
                Dist::Orthogonal { .. }
                | Dist::Scaled { .. }
                | Dist::Normal { .. }
                | Dist::TruncNormal { .. }
                | Dist::Uniform { .. }
                | Dist::TorchDefault { .. }
                | Dist::Constant(_) => return Err(unresolved()),
            };
            match filled {
                Ok(()) => Ok(values),
                Err(e) => Err(ParamError::Init { name: name.to_string(), message: e.to_string() }),
            }
        };
        let whole = {
            let mut cache = self.whole.lock().unwrap_or_else(|e| e.into_inner());
            match cache.get(name) {
                Some(values) => values.clone(),
                None => {
                    let values = Arc::new(make()?);
                    cache.insert(name.clone(), values.clone());
                    values
                }
            }
        };
        let range: Range<usize> = start..start + out.len();
        let part = whole.get(range).ok_or_else(|| ParamError::Init {
            name: name.to_string(),
            message: format!("{} values for the shape {shape:?}", whole.len()),
        })?;
        for (value, draw) in out.iter_mut().zip(part) {
            *value = (init.scale.0 * f64::from(*draw) + init.shift.0) as f32;
        }
        Ok(())
    }
}

/// The independent draws of an initialisation; `None` if it is not resolved or not independent.
fn distribution(init: &Init) -> Option<Distribution> {
    let (scale, shift) = (init.scale.0, init.shift.0);
    let normal = |std: f64| Distribution::Normal { mean: shift as f32, std: (scale * std) as f32 };
    let uniform = |bound: f64| Distribution::Uniform {
        lo: (shift - scale * bound) as f32,
        hi: (shift + scale * bound) as f32,
    };
    Some(match init.dist {
        Dist::Scaled { form, fan: Fan::Value(fan), gain: Gain::Value(gain), .. } => {
            let std = gain.0 / fan.0.sqrt();
            match form {
                Form::Normal => normal(std),
                Form::Uniform => uniform(3f64.sqrt() * std),
            }
        }
        Dist::TorchDefault { fan: Fan::Value(fan) } => uniform(1.0 / fan.0.sqrt()),
        Dist::Normal { mean, std } => {
            Distribution::Normal { mean: (scale * mean.0 + shift) as f32, std: (scale * std.0) as f32 }
        }
        Dist::TruncNormal { mean, std, low, high } => Distribution::TruncNormal {
            mean: (scale * mean.0 + shift) as f32,
            std: (scale * std.0) as f32,
            lo: low.0 as f32,
            hi: high.0 as f32,
        },
        Dist::Uniform { low, high } => {
            Distribution::Uniform { lo: (scale * low.0 + shift) as f32, hi: (scale * high.0 + shift) as f32 }
        }
        Dist::Constant(c) => Distribution::Constant((scale * c.0 + shift) as f32),
        Dist::Scaled { .. } | Dist::TorchDefault { .. } | Dist::Orthogonal { .. } | Dist::Identity => {
            return None;
        }
    })
}

impl TensorStore for WeightFile {
    fn describe(&self) -> String {
        self.path().display().to_string()
    }

    fn tensor(&self, name: &str) -> Option<(DType, Vec<usize>)> {
        self.get(name).map(|t| (t.dtype(), t.shape().to_vec()))
    }

    fn read_f32(&self, name: &str, start: usize, out: &mut [f32]) -> Result<(), String> {
        self.require(name).and_then(|t| t.read_f32(start as u64, out)).map_err(|e| e.to_string())
    }

    fn lend(&self, name: &str) -> Option<&[u8]> {
        self.get(name).filter(|tensor| tensor.dtype() == DType::F32)?.bytes().ok()
    }
}
