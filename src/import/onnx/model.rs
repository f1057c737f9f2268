//! Opens a model: maps the file, checks its form, decodes it, and finds the constant tensors.

use super::external::{ExternalError, ExternalFiles, map_file};
use super::import::{Imported, Importer, Options};
use super::opset::Opsets;
use super::problem::{Problem, ProblemKind, Problems};
use super::proto::{GraphProto, ModelProto, TensorProto};
use super::scan::{ScanError, scan};
use super::tensor::{RawTensor, TensorError};
use super::weights::OnnxWeights;
use bytes::Bytes;
use prost::Message;
use rectify_ir::Graph;
use std::path::Path;
use std::sync::Arc;

/// Strides of whole networks.
const MULTIPLES: [i64; 6] = [2, 4, 8, 16, 32, 64];

/// Why a file is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error("{path} cannot be read: {error}")]
    Io { path: String, error: String },
    #[error(transparent)]
    Form(#[from] ScanError),
    #[error("the file is no ONNX model: {0}")]
    Decode(String),
    #[error("the file holds no graph")]
    NoGraph,
}

/// A decoded model. Its weights stay where they are: in the mapped file.
#[derive(Debug)]
pub struct OnnxModel {
    /// Without the initialisers, which are in `weights`.
    proto: ModelProto,
    weights: OnnxWeights,
    /// Initialisers that cannot be read.
    problems: Vec<Problem>,
}

impl OnnxModel {
    /// Maps and decodes `path`. Files that hold weights beside it must lie in its folder.
    ///
    /// The file must not be cut short while the model, or anything made of its weights, is in use.
    pub fn open(path: &Path) -> Result<OnnxModel, LoadError> {
        let file = map_file(path)
            .map_err(|e| LoadError::Io { path: path.display().to_string(), error: e.to_string() })?;
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        OnnxModel::decode(file, &name, ExternalFiles::in_folder(folder))
    }

    /// Decodes a model from memory. `name` is what its weights' sources call the file. Nothing else is read.
    pub fn from_bytes(bytes: impl Into<Bytes>, name: &str) -> Result<OnnxModel, LoadError> {
        OnnxModel::decode(bytes.into(), name, ExternalFiles::none())
    }

    fn decode(file: Bytes, name: &str, mut external: ExternalFiles) -> Result<OnnxModel, LoadError> {
        scan(&file)?;
        let mut proto = ModelProto::decode(file).map_err(|e| LoadError::Decode(e.to_string()))?;
        let graph = proto.graph.as_mut().ok_or(LoadError::NoGraph)?;
        let mut weights = OnnxWeights::new(name.into());
        let mut problems = Vec::new();
        for t in std::mem::take(&mut graph.initializer) {
            let fail = |kind, message| Problem {
                kind,
                node: None,
                op: None,
                inputs: vec![],
                message: format!("the initialiser `{}`: {message}", t.name),
                help: None,
            };
            match RawTensor::read(&t, &mut external) {
                Ok(raw) => {
                    if !weights.insert(&t.name, raw) {
                        problems.push(fail(ProblemKind::Malformed, "the name is taken twice".into()));
                    }
                }
                Err(e) => problems.push(fail(kind(&e), e.to_string())),
            }
        }
        Ok(OnnxModel { proto, weights, problems })
    }

    /// Lowers the model to a graph, or says all that stands in the way. Where branches of different strides meet, symbolic
    /// shapes fit for sizes that the strides divide alone: the least power of two that makes them fit is a fact then.
    pub fn import(&self, options: &Options) -> Result<Imported, Problems> {
        let first = self.import_once(options);
        let Err(problems) = &first else { return first };
        let symbolic = |p: &Problem| {
            let mut types = p.inputs.iter().filter_map(|(_, ty)| ty.as_ref());
            p.kind == ProblemKind::Shape && types.any(|ty| ty.shape.iter().any(|d| d.as_const().is_none()))
        };
        if !problems.0.iter().all(symbolic) {
            return first;
        }
        for multiple in MULTIPLES {
            let options = Options { multiples_of: Some(multiple), ..options.clone() };
            if let Ok(imported) = self.import_once(&options) {
                return Ok(imported);
            }
        }
        first
    }

    fn import_once(&self, options: &Options) -> Result<Imported, Problems> {
        let opsets = Opsets::read(&self.proto.opset_import).map_err(|p| Problems(vec![*p]))?;
        let mut importer = Importer::new(&self.proto, self.weights.clone(), options, self.problems.clone());
        importer.run(self.graph(), &opsets);
        importer.finish(self.graph())
    }

    /// A graph with the declared inputs and nothing else: what there is to say of a model before it can be imported.
    pub fn declared(&self, options: &Options) -> Result<Graph, Problems> {
        let mut importer = Importer::new(&self.proto, self.weights.clone(), options, self.problems.clone());
        importer.declare(self.graph());
        if importer.problems.is_empty() { Ok(importer.graph) } else { Err(Problems::told(importer.problems)) }
    }

    /// Names of the inputs, weights not among them.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        let names = self.graph().input.iter().map(|i| i.name.as_str());
        names.filter(|n| self.weights.get(n).is_none())
    }

    /// The constant tensors of the file.
    pub fn weights(&self) -> &OnnxWeights {
        &self.weights
    }

    /// Who wrote the file, as it says.
    pub fn producer(&self) -> String {
        format!("{} {}", self.proto.producer_name, self.proto.producer_version).trim().into()
    }

    /// Version of ONNX's operator set that the model uses.
    pub fn opset(&self) -> i64 {
        Opsets::read(&self.proto.opset_import).map_or(0, |o| o.onnx())
    }

    fn graph(&self) -> &GraphProto {
        // `decode` refuses models without a graph.
        static EMPTY: std::sync::LazyLock<GraphProto> = std::sync::LazyLock::new(GraphProto::default);
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }
}

/// What sort of problem a tensor's error is.
pub(super) fn kind(e: &TensorError) -> ProblemKind {
    match e {
        TensorError::UnsupportedType(_) | TensorError::Rank(_) => ProblemKind::UnsupportedType,
        TensorError::BadDim(_) | TensorError::Overflow | TensorError::WrongSize { .. } => {
            ProblemKind::Malformed
        }
        TensorError::External(ExternalError::NoFolder) => ProblemKind::UnsupportedForm,
        TensorError::External(_) => ProblemKind::Malformed,
    }
}

/// Reads a file that holds one tensor (`.pb`, as in ONNX's test data): its name and values.
pub fn read_tensor(bytes: impl Into<Bytes>) -> Result<(Arc<str>, RawTensor), LoadError> {
    let t = TensorProto::decode(bytes.into()).map_err(|e| LoadError::Decode(e.to_string()))?;
    let raw =
        RawTensor::read(&t, &mut ExternalFiles::none()).map_err(|e| LoadError::Decode(e.to_string()))?;
    Ok((t.name.as_str().into(), raw))
}
