//! Which parameter's values come from where: drawn, from `--weights`, or from files that the model names.
//!
//! A parameter that is loaded becomes [`Source::File`] in the graph before any pass sees it, so that no rewrite takes its
//! initialisation for its values. The file goes by its last name alone: a dump says what it needs, not whose disk it was.

use crate::compiler::Options;
use crate::error::Error;
use crate::model::Model;
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId, Stage};
use rectify_ir::op::{Op, Source};
use rectify_runtime::packs::Parameters;
use rectify_runtime::weights::{Expected, WeightFile, check_names};
use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::sync::Arc;

/// The model's graph with loaded parameters marked, and the values of all.
pub(crate) fn resolve(model: &Model, options: &Options) -> Result<(Graph, Parameters), Error> {
    let mut graph = model.graph().clone();
    let mut parameters = Parameters::new(options.seed);
    let given = options.weights.as_deref().map(WeightFile::open).transpose()?;
    let given_name: Option<Arc<str>> = given.as_ref().map(|f| last_name(f.path()).into());
    if let (Some(file), Some(name)) = (given, &given_name) {
        check_pins(&graph, name, file.path())?;
        adopt(&mut graph, &file, name)?;
        parameters = parameters.with_file(name.clone(), Arc::new(file));
    }
    let named: BTreeSet<Arc<str>> = graph
        .params()
        .into_iter()
        .filter_map(|id| match graph.node(id).source() {
            Some(Source::File { file, .. }) => Some(file.clone()),
            Some(Source::Init(_) | Source::Data(_)) | None => None,
        })
        .filter(|file| Some(file) != given_name.as_ref())
        .collect();
    #[cfg(feature = "onnx")]
    let named = match model.onnx() {
        Some(onnx) => {
            parameters = parameters.with_file(onnx.file_name().clone(), onnx.store());
            named.into_iter().filter(|name| name != onnx.file_name()).collect()
        }
        None => named,
    };
    for name in named {
        let path = beside(model, &name)?;
        let file = WeightFile::open(&path)?;
        check_file(&graph, &name, &file)?;
        check_pins(&graph, &name, &path)?;
        parameters = parameters.with_file(name, Arc::new(file));
    }
    Ok((graph, parameters))
}

/// Makes every drawn parameter one of the file's.
fn adopt(graph: &mut Graph, file: &WeightFile, file_name: &Arc<str>) -> Result<(), Error> {
    let mut expected: Vec<(NodeId, Arc<str>, DType, Vec<usize>)> = Vec::new();
    let mut drawn = false;
    for id in graph.params() {
        let node = graph.node(id);
        let full = node.name.clone().unwrap_or_default();
        let tensor = match node.source() {
            Some(Source::Init(_)) => {
                drawn = true;
                full
            }
            Some(Source::File { file, tensor, .. }) if file == file_name => tensor.clone(),
            // Given values and other files stay, unless this file has the parameter too.
            Some(Source::File { .. } | Source::Data(_)) if file.get(&full).is_some() => full,
            Some(Source::File { .. } | Source::Data(_)) | None => continue,
        };
        let shape = node.types[0].const_shape().ok_or_else(|| {
            Error::option(format!(
                "parameter `{tensor}` has the symbolic shape {}: no file can hold it",
                node.types[0]
            ))
        })?;
        expected.push((id, tensor, node.types[0].dtype, shape));
    }
    if drawn && graph.stage == Stage::Optimized {
        return Err(Error::Option {
            message: "this dump is optimised: its parameters may have been rewritten, so weights for the model do not fit it".into(),
            help: Some("give the weights when dumping: `rectify dump MODEL --weights FILE`".into()),
        });
    }
    if expected.is_empty() {
        return Err(Error::option("the model has no parameters to load"));
    }
    let as_expected = |(_, name, dtype, shape): &'_ (NodeId, Arc<str>, DType, Vec<usize>)| {
        (name.to_string(), *dtype, shape.clone())
    };
    let owned: Vec<_> = expected.iter().map(as_expected).collect();
    let mut list: Vec<_> =
        owned.iter().map(|(name, dtype, shape)| Expected { name, shape, dtype: *dtype }).collect();
    // A layer that is shared appears once in the graph, but two parameters may read one tensor of a file.
    list.sort_by(|a, b| a.name.cmp(b.name));
    list.dedup_by(|a, b| a == b);
    check_names(&list, file)?;
    for (id, tensor, _, _) in expected {
        *graph.node_mut(id).op = Op::Param(Source::File { file: file_name.clone(), tensor, blake3: None });
    }
    Ok(())
}

/// Tensors that the model takes from a file must be there in the right shape; others may be there too.
fn check_file(graph: &Graph, name: &str, file: &WeightFile) -> Result<(), Error> {
    let mut owned = Vec::new();
    for id in graph.params() {
        let node = graph.node(id);
        if let Some(Source::File { file: wanted, tensor, .. }) = node.source()
            && wanted.as_ref() == name
        {
            let shape = node.types[0].const_shape();
            let shape = shape.ok_or_else(|| {
                Error::option(format!("tensor `{tensor}` of `{name}` has a symbolic shape"))
            })?;
            owned.push((tensor.clone(), node.types[0].dtype, shape));
        }
    }
    let listed: BTreeSet<&str> = owned.iter().map(|(t, ..)| t.as_ref()).collect();
    let unused: Vec<_> = file.tensors().filter(|t| !listed.contains(t.name())).collect();
    let extra = unused.iter().map(|t| Expected { name: t.name(), shape: t.shape(), dtype: t.dtype() });
    let list = owned.iter().map(|(name, dtype, shape)| Expected { name, shape, dtype: *dtype });
    Ok(check_names(&list.chain(extra).collect::<Vec<_>>(), file)?)
}

/// Compares the file's contents with the hashes that the model pins them by, if it does.
fn check_pins(graph: &Graph, name: &str, path: &Path) -> Result<(), Error> {
    let pin = |id| match graph.node(id).source() {
        Some(Source::File { file, blake3: Some(pin), .. }) if file.as_ref() == name => Some(pin.clone()),
        Some(Source::File { .. } | Source::Init(_) | Source::Data(_)) | None => None,
    };
    let pins: BTreeSet<Arc<str>> = graph.params().into_iter().filter_map(pin).collect();
    if pins.is_empty() {
        return Ok(());
    }
    let read =
        |e: std::io::Error| Error::Read { path: path.to_owned(), message: crate::data::io_message(&e) };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).map_err(read)?).map_err(read)?;
    let found = hasher.finalize().to_hex();
    match pins.iter().find(|pin| !pin.eq_ignore_ascii_case(&found)) {
        None => Ok(()),
        Some(pin) => Err(Error::Format {
            name: path.display().to_string(),
            message: format!("the contents are not those that the model names: blake3 {found}, not {pin}"),
        }),
    }
}

/// The place of a file that the model names: in the model's folder.
fn beside(model: &Model, name: &str) -> Result<std::path::PathBuf, Error> {
    let refuse = |why: &str| Error::Format { name: name.to_owned(), message: why.to_owned() };
    let relative = Path::new(name);
    if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(refuse("weights that a model names lie in its folder"));
    }
    let folder = model.folder().ok_or_else(|| {
        refuse("the model has no folder to find this file in; give it as the weights to load")
    })?;
    let path = folder.join(relative);
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let outside = || match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => !path.starts_with(folder),
        // Opening it will tell what is wrong.
        (Err(_), _) | (_, Err(_)) => false,
    };
    if outside() {
        return Err(refuse("weights that a model names lie in its folder"));
    }
    Ok(path)
}

fn last_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}
