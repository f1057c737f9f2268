//! The constant tensors of a model by name, for whoever packs weights.

use super::tensor::RawTensor;
use std::collections::HashMap;
use std::sync::Arc;

/// Tensors of an ONNX file, as `Source::File { file, tensor, .. }` of the imported graph names them. The bytes are slices
/// of the mapped file: nothing is copied to the heap.
#[derive(Clone, Debug, Default)]
pub struct OnnxWeights {
    file: Arc<str>,
    tensors: HashMap<Arc<str>, RawTensor>,
}

impl OnnxWeights {
    pub(super) fn new(file: Arc<str>) -> OnnxWeights {
        OnnxWeights { file, tensors: HashMap::new() }
    }

    /// The `file` of the sources that name tensors of this model: the file's name without its folder.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The tensor named `name`: element type, shape, little-endian bytes.
    pub fn get(&self, name: &str) -> Option<&RawTensor> {
        self.tensors.get(name)
    }

    /// All tensors, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawTensor)> {
        self.tensors.iter().map(|(n, t)| (&**n, t))
    }

    /// False if there is a tensor of that name already.
    pub(super) fn insert(&mut self, name: &str, tensor: RawTensor) -> bool {
        self.tensors.insert(name.into(), tensor).is_none()
    }
}
