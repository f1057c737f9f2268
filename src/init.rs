//! Initial parameters: explained, and written to a file.

use crate::compiler::Compiler;
use crate::error::Error;
use rectify_passes as passes;
use rectify_runtime::weights::{SaveEntry, Source as SaveSource, save_safetensors};
use std::io;
use std::path::Path;

pub use rectify_ir::init::{Dist, Fan, Form, Gain, Init, Scheme};
pub use rectify_passes::init_analysis::{FanReport, Feeds, GainReport, GainWhy};
pub use rectify_passes::{InitReport, InitWarning};

/// Fan, gain and std of every drawn parameter, with the reasons, and what its author should look at.
pub fn explain(compiler: &Compiler<'_>) -> Result<(Vec<InitReport>, Vec<InitWarning>), Error> {
    Ok(passes::explain_init(&compiler.source_graph()?.0))
}

/// Writes all parameters of the model, drawn from the seed or loaded, to a safetensors file.
///
/// `progress` is told how many elements were written since it was told last.
pub fn save(compiler: &Compiler<'_>, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
    let (typed, parameters) = compiler.source_graph()?;
    let options = passes::Options { stop_after: Some("fold_init"), ..passes::Options::default() };
    let graph = passes::optimize(&typed, &options).map_err(|e| Error::internal("fold_init", e))?.graph;
    let nodes = graph.params();
    let mut shapes = Vec::new();
    for id in &nodes {
        let ty = graph.ty((*id).into());
        let shape = ty.const_shape();
        shapes.push(shape.ok_or_else(|| Error::option(format!("a parameter has the symbolic shape {ty}")))?);
    }
    let progress = std::cell::RefCell::new(progress);
    let mut fills: Vec<_> = nodes
        .iter()
        .map(|id| {
            let (graph, parameters, progress) = (&graph, &parameters, &progress);
            move |start: u64, out: &mut [f32]| {
                let start = usize::try_from(start).map_err(io::Error::other)?;
                parameters.read(graph, *id, start, out).map_err(io::Error::other)?;
                (progress.borrow_mut())(out.len() as u64);
                Ok(())
            }
        })
        .collect();
    let mut entries: Vec<SaveEntry<'_>> = nodes
        .iter()
        .zip(&shapes)
        .zip(&mut fills)
        .map(|((id, shape), fill)| SaveEntry {
            name: graph.node(*id).name.as_deref().unwrap_or_default(),
            dtype: rectify_ir::DType::F32,
            shape,
            source: SaveSource::F32(fill),
        })
        .collect();
    save_safetensors(path, &mut entries, &[("format", "pt")])
        .map_err(|e| Error::System { message: format!("cannot write {}: {e}", path.display()) })
}
