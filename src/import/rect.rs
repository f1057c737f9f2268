//! An imported model as a file of the language, with its weights in a safetensors file beside it.
//!
//! The text is the flat form of the graph: every value under the label of its node in the ONNX file. Constants that
//! stand in the imported graph itself stand in the text too, since rewrites look at their values; all others become
//! slices of the safetensors file, pinned by its hash. So both files compile to the same code with the same results.

use crate::error::Error;
use crate::model::{Model, format_text};
use crate::onnx::Onnx;
use rectify_ir::Graph;
use rectify_ir::op::{Op, Source};
use rectify_runtime::weights::{SaveEntry, Source as SaveSource, save_safetensors};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub model: PathBuf,
    /// `None` for a model all of whose constants are small.
    pub weights: Option<PathBuf>,
    /// Tensors in the weights file.
    pub tensors: usize,
}

/// Writes an imported model to `path`, whose name ends in `.rect`, and its weights to the file of the same name that
/// ends in `.safetensors`. Files that exist are replaced only where `replace` says so.
///
/// # Errors
/// The model is not imported, its graph depends on values of inputs, or a file cannot be written.
pub fn write(model: &Model, path: &Path, replace: bool) -> Result<Written, Error> {
    let Some(onnx) = model.onnx() else {
        return Err(Error::Option {
            message: format!("{} is no model of another format: there is nothing to import", model.name()),
            help: Some(
                "give an .onnx file; `rectify dump` writes models of the language in other forms".into(),
            ),
        });
    };
    model.closed()?;
    if path.extension().is_none_or(|e| e != "rect") {
        return Err(Error::Option {
            message: format!("{} is no name of a model of the language", path.display()),
            help: Some("give a name that ends in .rect".into()),
        });
    }
    let mut graph = model.graph().clone();
    let tensors = file_tensors(&graph);
    let weights = (!tensors.is_empty()).then(|| path.with_extension("safetensors"));
    if !replace {
        for file in std::iter::once(path).chain(weights.as_deref()) {
            if file.symlink_metadata().is_ok() {
                return Err(Error::Option {
                    message: format!("{} exists already", file.display()),
                    help: Some("choose another name, or replace it with --force".into()),
                });
            }
        }
    }
    if let Some(file) = &weights {
        save(onnx, &tensors, file)?;
        name_file(&mut graph, file)?;
    }
    describe(&mut graph, onnx);
    let text = format_text("the written model", &graph.to_string())
        .map_err(|e| Error::internal("import", format!("the text does not parse: {e}")))?;
    write_text(path, &text).map_err(|e| cannot_write(path, &e))?;
    Ok(Written { model: path.to_owned(), weights, tensors: tensors.len() })
}

/// Names of the tensors that sources of the graph read from the model's file.
fn file_tensors(graph: &Graph) -> BTreeSet<Arc<str>> {
    let tensor = |id| match graph.node(id).source() {
        Some(Source::File { tensor, .. }) => Some(tensor.clone()),
        Some(Source::Init(_) | Source::Data(_)) | None => None,
    };
    graph.params().into_iter().filter_map(tensor).collect()
}

fn save(onnx: &Onnx, tensors: &BTreeSet<Arc<str>>, file: &Path) -> Result<(), Error> {
    let mut entries = Vec::with_capacity(tensors.len());
    for name in tensors {
        let missing = || Error::internal("import", format!("there is no tensor `{name}`"));
        let raw = onnx.weights.get(name).ok_or_else(missing)?;
        let source = SaveSource::Bytes(&raw.bytes);
        entries.push(SaveEntry { name, dtype: raw.dtype, shape: &raw.shape, source });
    }
    save_safetensors(file, &mut entries, &[]).map_err(|e| cannot_write(file, &e))
}

/// Lets the sources name the written file, pinned by what it holds.
fn name_file(graph: &mut Graph, path: &Path) -> Result<(), Error> {
    let read = |e: io::Error| Error::Read { path: path.to_owned(), message: crate::data::io_message(&e) };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(read)?).map_err(read)?;
    let pin: Arc<str> = hasher.finalize().to_hex().as_str().into();
    let name: Arc<str> =
        path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()).into();
    for id in graph.params() {
        if let Op::Param(Source::File { file, blake3, .. }) = &mut *graph.node_mut(id).op {
            file.clone_from(&name);
            *blake3 = Some(pin.clone());
        }
    }
    Ok(())
}

/// Puts the origin before what the file says of itself.
fn describe(graph: &mut Graph, onnx: &Onnx) {
    let doc = format!("Imported from {} ({}).", onnx.file_name(), onnx.origin());
    graph.doc = if graph.doc.is_empty() { doc } else { format!("{doc}\n\n{}", graph.doc) };
    // What moves a terminal's cursor has no place in a text.
    graph.doc = graph.doc.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
}

/// The whole text or nothing: put in place by renaming.
fn write_text(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let unfinished = path.with_file_name(name);
    let mut file = File::options().write(true).create_new(true).open(&unfinished)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        // The error that led here matters more than this one.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::System { message: format!("cannot write {}: {}", path.display(), crate::data::io_message(error)) }
}
