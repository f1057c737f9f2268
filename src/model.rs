//! A model as read from its file: typed, nothing rewritten.

use crate::compiler::Compiler;
use crate::error::{Error, Report};
use crate::meta::{ParameterInfo, PortInfo};
#[cfg(feature = "onnx")]
use crate::onnx::{self, Onnx};
use rectify_ir::diag::{Diagnostic, Diagnostics, SourceMap};
use rectify_ir::export::from_json;
use rectify_ir::graph::Output;
use rectify_ir::lang::{self, Loader, NoFiles, Program};
use rectify_ir::literal::Literal;
use rectify_ir::op::Op;
use rectify_ir::{Graph, Value};
use rectify_runtime::TensorView;
use std::collections::BTreeMap;
#[cfg(feature = "onnx")]
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model, checked and typed. Compile it with [`compiler`](Self::compiler).
#[derive(Clone, Debug)]
pub struct Model {
    graph: Arc<Graph>,
    warnings: Arc<Report>,
    /// Where files that the model names lie; `None` for a model without a place.
    folder: Option<PathBuf>,
    #[cfg(feature = "onnx")]
    onnx: Option<Arc<Onnx>>,
}

/// Texts that this library did not write are read up to this size.
const MAX_MODEL_BYTES: u64 = 1 << 30;

impl Model {
    /// Reads a model file: `.rect`, a dump in text or JSON, or ONNX. Files that it uses must lie in its folder.
    ///
    /// An ONNX file is mapped, and its weights stay in its pages. So it must not be changed, neither overwritten nor cut
    /// short, while the model or anything compiled from it lives: results would change with it, or the process be killed
    /// by the system. To replace a file under a running program, write a new one and rename it. The same holds of a
    /// file given to [`Compiler::weights`](crate::Compiler::weights).
    ///
    /// # Errors
    /// The file cannot be read, or is no sound model: all its errors at once.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::open_named(path, None)
    }

    /// As [`open`](Self::open), for a file with several models. Without a name, `main` is taken, or the last.
    pub fn open_named(path: impl AsRef<Path>, name: Option<&str>) -> Result<Model, Error> {
        let path = path.as_ref();
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let file = path.display().to_string();
        #[cfg(feature = "onnx")]
        if onnx::is_onnx(&file, &head(path)?) {
            only_model(&file, name)?;
            return Ok(Model::imported(Onnx::open(path)?, Some(folder)));
        }
        Model::read(&file, &read_model_bytes(path)?, name, Some(folder))
    }

    /// A model from its text, which cannot use other files.
    pub fn parse(text: &str) -> Result<Model, Error> {
        Model::read("model.rect", text.as_bytes(), None, None)
    }

    /// A model in any form from memory; `name` stands for the file in messages.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Model, Error> {
        Model::from_bytes_named(name, bytes, None)
    }

    /// As [`from_bytes`](Self::from_bytes), for a file with several models.
    pub fn from_bytes_named(file: &str, bytes: &[u8], name: Option<&str>) -> Result<Model, Error> {
        #[cfg(feature = "onnx")]
        if onnx::is_onnx(file, bytes) {
            only_model(file, name)?;
            return Ok(Model::imported(Onnx::from_bytes(file, bytes)?, None));
        }
        Model::read(file, bytes, name, None)
    }

    /// A model from a graph, for example of a [`GraphBuilder`](crate::GraphBuilder).
    pub fn from_graph(graph: Graph) -> Result<Model, Error> {
        verified(&graph, "the graph")?;
        Ok(Model::typed(graph, Report::default(), None))
    }

    fn typed(graph: Graph, warnings: Report, folder: Option<PathBuf>) -> Model {
        Model {
            graph: Arc::new(graph),
            warnings: Arc::new(warnings),
            folder,
            #[cfg(feature = "onnx")]
            onnx: None,
        }
    }

    #[cfg(feature = "onnx")]
    fn imported((graph, onnx): (Graph, Onnx), folder: Option<PathBuf>) -> Model {
        Model { onnx: Some(Arc::new(onnx)), ..Model::typed(graph, Report::default(), folder) }
    }

    fn read(file: &str, bytes: &[u8], name: Option<&str>, folder: Option<PathBuf>) -> Result<Model, Error> {
        let (graph, report) = match parse(file, bytes, folder.as_deref())? {
            Parsed::Graph(graph) => (*graph, Report::default()),
            Parsed::Program(program, report) => {
                let fail = |message| Error::Format { name: file.to_owned(), message };
                (program.select(name).map_err(fail)?, report)
            }
            Parsed::Wrong(report) => return Err(Error::Model(Box::new(report))),
        };
        Ok(Model::typed(graph, report, folder))
    }

    /// The typed graph. Its `Display` is the dump, which is a model again.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Inputs whose values decide on shapes: nothing but the inputs is known before these have values, and
    /// [`Compiled::run`](crate::Compiled::run) finds those among its inputs. Empty for most models; only ONNX files have
    /// such inputs, and one more may be found to be needed once others are given.
    pub fn value_inputs(&self) -> Vec<String> {
        #[cfg(feature = "onnx")]
        if let Some(onnx) = &self.onnx {
            return onnx.needs.clone();
        }
        Vec::new()
    }

    /// The model for the values of those of these inputs that shapes depend on. They are its inputs no more.
    ///
    /// # Errors
    /// Such an input is missing, or the model does not go with its values.
    pub fn with_values(&self, inputs: &[(&str, TensorView<'_>)]) -> Result<Model, Error> {
        #[cfg(feature = "onnx")]
        if let Some(onnx) = self.onnx.as_ref().filter(|o| !o.needs.is_empty()) {
            return Ok(Model::imported(onnx.with_values(&self.graph, inputs)?, self.folder.clone()));
        }
        let _ = inputs;
        Ok(self.clone())
    }

    /// Inputs of the file that have become constants, and their values.
    pub(crate) fn values(&self) -> BTreeMap<String, Literal> {
        #[cfg(feature = "onnx")]
        if let Some(onnx) = &self.onnx {
            return onnx.values.clone();
        }
        BTreeMap::new()
    }

    /// An error where the graph is not known yet.
    pub(crate) fn closed(&self) -> Result<(), Error> {
        #[cfg(feature = "onnx")]
        if let Some(onnx) = self.onnx.as_ref().filter(|o| !o.needs.is_empty()) {
            return Err(onnx::open_error(&onnx.needs));
        }
        Ok(())
    }

    /// What an imported model keeps of its file.
    #[cfg(feature = "onnx")]
    pub(crate) fn onnx(&self) -> Option<&Onnx> {
        self.onnx.as_deref()
    }

    /// Of an imported model: the format of its file, the version of its operators, and who wrote it.
    pub fn origin(&self) -> Option<String> {
        #[cfg(feature = "onnx")]
        if let Some(onnx) = &self.onnx {
            return Some(onnx.origin());
        }
        None
    }

    /// What `check` warns of.
    pub fn warnings(&self) -> &Report {
        &self.warnings
    }

    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// The inputs in declared order.
    pub fn inputs(&self) -> Vec<PortInfo> {
        PortInfo::inputs(&self.graph)
    }

    /// The outputs in declared order.
    pub fn outputs(&self) -> Vec<PortInfo> {
        PortInfo::outputs(&self.graph)
    }

    /// The parameters with their full names and where their values come from.
    pub fn parameters(&self) -> Vec<ParameterInfo> {
        ParameterInfo::all(&self.graph)
    }

    /// Options, and then [`compile`](Compiler::compile).
    pub fn compiler(&self) -> Compiler<'_> {
        Compiler::new(self)
    }

    /// The model with inner values as further outputs: of each name that is the label of a layer, or label and operation as
    /// in `conv1.prelu` where several layers have the label; without the operation it is the last of them. Names of inputs
    /// and outputs, and unknown ones, change nothing. Of an ONNX file they are the names of its tensors too.
    pub fn with_outputs(&self, names: &[&str]) -> Result<Model, Error> {
        let mut graph = Graph::clone(&self.graph);
        let order = graph.topo_order();
        for name in names {
            let port = |id: &_| graph.node(*id).name.as_deref() == Some(name);
            if graph.inputs().iter().any(port) || graph.outputs.iter().any(|o| o.name.as_ref() == *name) {
                continue;
            }
            #[cfg(feature = "onnx")]
            if let Some((_, value)) =
                self.onnx().and_then(|o| o.tensors.iter().find(|(n, _)| n.as_ref() == *name))
            {
                graph.outputs.push(Output { name: (*name).into(), value: *value });
                continue;
            }
            let labelled = |id: &&rectify_ir::NodeId| {
                let node = graph.node(**id);
                let label = node.name.as_deref().filter(|_| !matches!(node.op, Op::Param(_) | Op::Input));
                label.is_some_and(|l| {
                    l == *name
                        || name.strip_prefix(l).and_then(|r| r.strip_prefix('.')) == Some(node.op.name())
                })
            };
            if let Some(id) = order.iter().rev().find(labelled).copied() {
                graph.outputs.push(Output { name: (*name).into(), value: id.into() });
            }
        }
        Ok(Model { graph: Arc::new(graph), ..self.clone() })
    }

    /// What the model's file calls a value, if it is imported and its file does.
    pub fn tensor_name(&self, value: Value) -> Option<String> {
        #[cfg(feature = "onnx")]
        if let Some(onnx) = &self.onnx {
            return onnx.tensors.iter().find(|(_, v)| *v == value).map(|(name, _)| name.to_string());
        }
        let _ = value;
        None
    }

    /// The model with the files of another, which it was made from.
    pub(crate) fn beside(self, other: &Model) -> Model {
        Model { graph: self.graph, warnings: self.warnings, ..other.clone() }
    }

    /// The folder for relative names of weights files in the model.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}

/// All errors and warnings of a file; those of initialisation too if there is no error.
pub fn check_file(path: &Path) -> Result<Report, Error> {
    let file = path.display().to_string();
    #[cfg(feature = "onnx")]
    if onnx::is_onnx(&file, &head(path)?) {
        return imported_report(Model::open(path));
    }
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    check(&file, &read_model_bytes(path)?, Some(folder))
}

/// As [`check_file`], for a model in memory.
pub fn check_bytes(name: &str, bytes: &[u8]) -> Result<Report, Error> {
    #[cfg(feature = "onnx")]
    if onnx::is_onnx(name, bytes) {
        return imported_report(Model::from_bytes(name, bytes));
    }
    check(name, bytes, None)
}

/// What stands in the way of an import. Its parameters have values, so there is no initialisation to warn of.
#[cfg(feature = "onnx")]
fn imported_report(model: Result<Model, Error>) -> Result<Report, Error> {
    match model {
        Ok(_) => Ok(Report::default()),
        Err(Error::Model(report)) => Ok(*report),
        Err(error) => Err(error),
    }
}

/// Bytes of a file that tell its format.
#[cfg(feature = "onnx")]
fn head(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(256).read_to_end(&mut bytes));
    read.map_err(|e| Error::Read { path: path.to_owned(), message: crate::data::io_message(&e) })?;
    Ok(bytes)
}

#[cfg(feature = "onnx")]
fn only_model(file: &str, name: Option<&str>) -> Result<(), Error> {
    let Some(name) = name else { return Ok(()) };
    Err(Error::Option { message: format!("{file} has one model, so `{name}` names nothing"), help: None })
}

fn check(file: &str, bytes: &[u8], folder: Option<PathBuf>) -> Result<Report, Error> {
    match parse(file, bytes, folder.as_deref())? {
        Parsed::Wrong(report) => Ok(report),
        Parsed::Graph(graph) => Ok(with_init_warnings(Report::default(), &[*graph])),
        Parsed::Program(program, report) => Ok(with_init_warnings(report, &program.models)),
    }
}

fn with_init_warnings(mut report: Report, graphs: &[Graph]) -> Report {
    for warning in graphs.iter().flat_map(|graph| rectify_passes::explain_init(graph).1) {
        report.push(Diagnostic::warning("W0601-init", warning.to_string()));
    }
    report
}

/// What the bytes of a model file are.
enum Parsed {
    /// A dump in JSON.
    Graph(Box<Graph>),
    /// A file in the language, with its warnings. It may hold blocks alone.
    Program(Program, Report),
    Wrong(Report),
}

fn parse(file: &str, bytes: &[u8], folder: Option<&Path>) -> Result<Parsed, Error> {
    let format = |message: String| Error::Format { name: file.to_owned(), message };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        format(format!("neither a model in the language nor JSON: byte {} is not text", e.valid_up_to()))
    })?;
    if text.trim_start().starts_with('{') {
        let graph = from_json(text).map_err(|e| format(e.to_string()))?;
        verified(&graph, file)?;
        return Ok(Parsed::Graph(Box::new(graph)));
    }
    let (mut sources, id) = SourceMap::single(file, text);
    let mut diagnostics = Diagnostics::new();
    let program = match folder {
        Some(folder) => lang::compile(&mut sources, id, &mut Folder(folder), &mut diagnostics),
        None => lang::compile(&mut sources, id, &mut NoFiles, &mut diagnostics),
    };
    let report = Report { sources, diagnostics };
    Ok(match program {
        Some(program) => Parsed::Program(program, report),
        None => Parsed::Wrong(report),
    })
}

fn read_model_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let error = |message: String| Error::Read { path: path.to_owned(), message };
    let length = std::fs::metadata(path).map_err(|e| error(crate::data::io_message(&e)))?.len();
    if length > MAX_MODEL_BYTES {
        return Err(error(format!("{length} bytes are more than a model has")));
    }
    std::fs::read(path).map_err(|e| error(crate::data::io_message(&e)))
}

fn verified(graph: &Graph, name: &str) -> Result<(), Error> {
    rectify_ir::verify::verify(graph).map_err(|violations| {
        let lines: Vec<_> = violations.iter().take(20).map(ToString::to_string).collect();
        Error::Format {
            name: name.to_owned(),
            message: format!("not a sound model:\n  {}", lines.join("\n  ")),
        }
    })
}

/// Reads used files from a folder and nowhere else.
struct Folder<'a>(&'a Path);

impl Loader for Folder<'_> {
    fn load(&mut self, path: &str) -> Result<String, String> {
        let inside = |p: &Path| p.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        let relative = Path::new(path);
        if !inside(relative) {
            return Err("used files lie in the folder of the model".into());
        }
        let folder = if self.0.as_os_str().is_empty() { Path::new(".") } else { self.0 };
        let file = folder.join(relative);
        // A link may lead out of the folder though its name does not.
        let io = |e: std::io::Error| crate::data::io_message(&e);
        if !file.canonicalize().map_err(io)?.starts_with(folder.canonicalize().map_err(io)?) {
            return Err("used files lie in the folder of the model".into());
        }
        std::fs::read_to_string(&file).map_err(io)
    }
}

/// The canonical text of a model file, comments kept.
///
/// # Errors
/// The text does not parse.
pub fn format_text(name: &str, text: &str) -> Result<String, Error> {
    let (sources, id) = SourceMap::single(name, text);
    let mut diagnostics = Diagnostics::new();
    rectify_ir::syntax::format(&sources, id, &mut diagnostics)
        .ok_or_else(|| Error::Model(Box::new(Report { sources, diagnostics })))
}
