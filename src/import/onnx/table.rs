//! What the names of a file stand for: values of the graph, constants of the file, known small tensors.

use super::import::Importer;
use super::problem::Refusal;
use super::tensor::RawTensor;
use super::values::Known;
use rectify_ir::op::Source;
use rectify_ir::{DType, Dim, TensorType, Value};
use std::rc::Rc;

/// Constants up to this size stand in the graph itself.
const INLINE_BYTES: usize = 4096;

/// What a name of the file stands for.
pub(super) enum Slot {
    /// Made by a node that has a problem.
    Poisoned,
    Ready(Tensor),
}

/// A tensor while importing. At least one of the three is there.
pub(super) struct Tensor {
    pub ty: TensorType,
    /// The value in the graph; made on first use where it is a constant.
    pub value: Option<Value>,
    pub raw: Option<RawTensor>,
    /// Its elements, if few and known. `Some(None)`: looked at, not known.
    pub known: Option<Option<Rc<Known>>>,
}

impl Importer<'_> {
    fn slot(&mut self, name: &str) -> Result<&mut Tensor, Refusal> {
        match self.slots.get_mut(name) {
            Some(Slot::Ready(t)) => Ok(t),
            Some(Slot::Poisoned) => Err(Refusal::Poisoned),
            None => Err(Refusal::malformed(format!("`{name}` is read, but nothing before makes it"))
                .help("nodes must come in an order in which inputs are made before they are read")),
        }
    }

    pub fn ty(&mut self, name: &str) -> Result<TensorType, Refusal> {
        Ok(self.slot(name)?.ty.clone())
    }

    /// The tensor's elements, if they are known.
    pub fn known(&mut self, name: &str) -> Result<Option<Rc<Known>>, Refusal> {
        let t = self.slot(name)?;
        if t.known.is_none() {
            t.known = Some(t.raw.as_ref().and_then(Known::of_raw).map(Rc::new));
        }
        Ok(t.known.clone().flatten())
    }

    /// The tensor as a value of the graph.
    pub fn value(&mut self, name: &str) -> Result<Value, Refusal> {
        let t = self.slot(name)?;
        if let Some(value) = t.value {
            return Ok(value);
        }
        let ty = t.ty.clone();
        // Weights are read from the file while they are packed; other elements are read as they are.
        let weights = matches!(ty.dtype, DType::F32 | DType::F16 | DType::BF16 | DType::Bool);
        let literal = match (&t.raw, t.known.as_ref().and_then(Option::as_ref)) {
            (Some(raw), _) if raw.bytes.len() <= INLINE_BYTES || !weights => Some(raw.to_literal()),
            (Some(_), _) => None,
            (None, Some(k)) => match k.to_literal() {
                Some(literal) => Some(literal),
                None => {
                    let known = k.clone();
                    let value = self.sizes(&known)?;
                    self.slot(name)?.value = Some(value);
                    return Ok(value);
                }
            },
            (None, None) => None,
        };
        let source = match literal {
            Some(literal) => Source::Data(literal),
            None => Source::File { file: self.weights.file().clone(), tensor: name.into(), blake3: None },
        };
        let value = self.graph.add_param(name, ty, source);
        self.slot(name)?.value = Some(value);
        Ok(value)
    }

    pub fn set_value(&mut self, name: &str, value: Value) {
        let ty = self.graph.ty(value).clone();
        self.set(name, Tensor { ty, value: Some(value), raw: None, known: Some(None) });
    }

    pub fn set_known(&mut self, name: &str, known: Known) {
        let ty = TensorType::new(known.dtype, dims(&known.shape));
        self.set(name, Tensor { ty, value: None, raw: None, known: Some(Some(Rc::new(known))) });
    }

    /// A constant of a node: `name` is then a tensor of the file.
    pub fn set_raw(&mut self, name: &str, raw: RawTensor) {
        if raw.bytes.len() > INLINE_BYTES {
            self.weights.insert(name, raw.clone());
        }
        self.set(name, Tensor::constant(raw));
    }

    /// A constant that no name of the file stands for.
    pub fn constant(&mut self, name: &str, raw: RawTensor) -> Value {
        let ty = TensorType::new(raw.dtype, dims(&raw.shape));
        let source = if raw.bytes.len() > INLINE_BYTES {
            self.weights.insert(name, raw);
            Source::File { file: self.weights.file().clone(), tensor: name.into(), blake3: None }
        } else {
            Source::Data(raw.to_literal())
        };
        self.graph.add_param(name, ty, source)
    }

    /// Lets `name` stand for what `from` stands for.
    pub fn set_alias(&mut self, name: &str, from: &str) -> Result<(), Refusal> {
        // A constant must be a value of the graph before it has two names, or it would be made twice.
        if self.known(from)?.is_none_or(|k| k.to_literal().is_some()) {
            self.value(from)?;
        }
        let shared = self.slot(from)?.share();
        self.set(name, shared);
        Ok(())
    }

    fn set(&mut self, name: &str, t: Tensor) {
        if self.slots.insert(name.into(), Slot::Ready(t)).is_some() {
            self.malformed(format!("`{name}` is made twice"));
        }
    }
}

impl Tensor {
    pub fn constant(raw: RawTensor) -> Tensor {
        let ty = TensorType::new(raw.dtype, dims(&raw.shape));
        Tensor { ty, value: None, raw: Some(raw), known: None }
    }

    pub fn share(&self) -> Tensor {
        Tensor { ty: self.ty.clone(), value: self.value, raw: self.raw.clone(), known: self.known.clone() }
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    // Sizes come from tensors whose bytes are there, or from known tensors of few elements.
    shape.iter().map(|n| Dim::Const(i64::try_from(*n).unwrap_or(i64::MAX))).collect()
}
