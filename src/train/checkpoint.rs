//! A trainer's values to files and back: checkpoints with everything that a step reads, and weights for the model.

use super::trainer::Trainer;
use crate::error::Error;
use rectify_ir::DType;
use rectify_runtime::weights::{SaveEntry, Source, WeightFile, save_safetensors_durably};
use rectify_runtime::{Tensor, TensorView};
use std::io;
use std::path::Path;

/// The key of a checkpoint's number of steps, of the hash of its tensors, and of the caller's note.
const STEPS: &str = "rectify.steps";
const HASH: &str = "rectify.blake3";
const NOTE: &str = "rectify.note";

impl Trainer {
    /// Writes all states and the number of steps. The file is whole at any time, also if the machine fails meanwhile.
    /// `note` is handed back when it is read.
    pub fn save_checkpoint(&self, path: &Path, note: &str) -> Result<(), Error> {
        let hash = hash(self.states.iter().map(|(state, values)| (&*state.input, values)));
        let mut entries: Vec<SaveEntry<'_>> = self
            .states
            .iter()
            .map(|(state, values)| SaveEntry {
                name: &state.input,
                dtype: DType::F32,
                shape: values.shape(),
                source: Source::Bytes(values.bytes()),
            })
            .collect();
        let steps = self.steps.to_string();
        let metadata = [(STEPS, steps.as_str()), (HASH, hash.as_str()), (NOTE, note)];
        save_safetensors_durably(path, &mut entries, &metadata).map_err(|e| cannot_write(path, &e))
    }

    /// Goes on from a checkpoint of the same model and method; the note that was written with it.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is that of another training. Nothing has changed then.
    pub fn load_checkpoint(&mut self, path: &Path) -> Result<String, Error> {
        let file = WeightFile::open(path)?;
        let wrong = |message: String| Error::Format { name: path.display().to_string(), message };
        let get = |key: &str| {
            file.metadata()
                .get(key)
                .ok_or_else(|| wrong(format!("not a checkpoint: its header has no `{key}`")))
        };
        let (steps, expected, note) = (get(STEPS)?, get(HASH)?, get(NOTE)?);
        let steps = steps.parse::<u64>().map_err(|_| wrong(format!("`{steps}` is no number of steps")))?;
        let tensors = self.read_states(&file, true)?;
        let names = self.states.list().iter().map(|s| &*s.input);
        if hash(names.zip(tensors.iter().map(Tensor::view))) != *expected {
            return Err(wrong(
                "the checkpoint is damaged: its tensors are not those that were written".into(),
            ));
        }
        self.states.now_mut().iter_mut().zip(tensors).for_each(|(now, read)| *now = read);
        self.steps = steps;
        Ok(note.clone())
    }

    /// Writes the model's parameters, frozen ones included, for `--weights` and
    /// [`Compiler::weights`](crate::Compiler::weights).
    pub fn save_weights(&self, path: &Path, metadata: &[(&str, &str)]) -> Result<(), Error> {
        let nodes = self.model.params();
        let shapes: Vec<Vec<usize>> =
            nodes.iter().map(|id| self.model.ty((*id).into()).const_shape().unwrap_or_default()).collect();
        let frozen = |id| {
            move |start: u64, out: &mut [f32]| {
                let start = usize::try_from(start).map_err(io::Error::other)?;
                self.parameters.read(&self.model, id, start, out).map_err(io::Error::other)
            }
        };
        let mut fills: Vec<_> = nodes.iter().map(|id| frozen(*id)).collect();
        let mut entries: Vec<SaveEntry<'_>> = Vec::new();
        for ((id, shape), fill) in nodes.iter().zip(&shapes).zip(&mut fills) {
            let name = self.model.node(*id).name.as_deref().unwrap_or_default();
            let source = match self.states.index(|s| &*s.input == name) {
                Some(i) => Source::Bytes(self.states.now()[i].view().bytes()),
                None => Source::F32(fill),
            };
            entries.push(SaveEntry { name, dtype: DType::F32, shape, source });
        }
        save_safetensors_durably(path, &mut entries, metadata).map_err(|e| cannot_write(path, &e))
    }

    /// Takes the parameters from a file of [`save_weights`](Self::save_weights); velocities and the like stay.
    pub fn load_weights(&mut self, path: &Path) -> Result<(), Error> {
        let file = WeightFile::open(path)?;
        let tensors = self.read_states(&file, false)?;
        self.states.now_mut().iter_mut().zip(tensors).for_each(|(now, read)| *now = read);
        Ok(())
    }

    /// All states from a file, or parameters alone and the others as they are.
    fn read_states(&self, file: &WeightFile, all: bool) -> Result<Vec<Tensor>, Error> {
        let wrong = |message: String| Error::Format { name: file.path().display().to_string(), message };
        let mut tensors = Vec::with_capacity(self.states.list().len());
        for (state, now) in self.states.iter() {
            let Some(tensor) = file.get(&state.input) else {
                if all || state.is_parameter() {
                    return Err(wrong(format!(
                        "holds no tensor `{}`: it is that of another training",
                        state.input
                    )));
                }
                tensors.push(now.to_tensor());
                continue;
            };
            if tensor.dtype() != DType::F32 || tensor.shape() != now.shape() {
                let (got, want) = (tensor.shape(), now.shape());
                let message =
                    format!("tensor `{}` is {}{got:?}, not f32{want:?}", state.input, tensor.dtype());
                return Err(wrong(message));
            }
            tensors.push(tensor.to_tensor()?);
        }
        if let Some(name) =
            file.names().find(|name| all && self.states.index(|s| &*s.input == *name).is_none())
        {
            return Err(wrong(format!("holds a tensor `{name}`, which this training does not have")));
        }
        Ok(tensors)
    }
}

fn hash<'a>(tensors: impl Iterator<Item = (&'a str, TensorView<'a>)>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, values) in tensors {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(values.bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// A file of a run that the system does not take.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::System { message: format!("cannot write {}: {}", path.display(), crate::data::io_message(error)) }
}
