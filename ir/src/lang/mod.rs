//! Elaboration: the tree of a model file becomes a typed graph.
//!
//! Blocks, loops and conditions run here, on constants; what is left are operations on tensors. An expression that is
//! wrong gets a *poison* value, which silences whatever follows from it, so that all independent errors of a file are
//! reported at once. Everything is bounded: steps, nodes, list lengths, call depth.
//!
//! | part | does |
//! |---|---|
//! | `module` | loads files and knows what each defines |
//! | `cx` | holds the state: frames and scopes, reports, limits |
//! | `eval`, `names`, `arith` | compute expressions |
//! | `stmt` | runs bodies, loops and conditions |
//! | `call`, `args`, `block` | find what a call means; call blocks and layers |
//! | `sort`, `op_call`, `emit`, `epilogue` | turn a call of an op into a node |
//! | `param`, `init` | make parameters and their initial values |
//! | `types`, `facts`, `model` | compare types, keep facts, put a model together |

mod args;
mod arith;
mod block;
mod call;
mod cx;
mod emit;
mod epilogue;
mod eval;
mod facts;
mod init;
mod model;
mod module;
mod names;
mod op_call;
mod param;
mod sort;
mod stmt;
mod types;
mod uncalled;
mod value;

use std::collections::HashSet;

use crate::diag::{Diagnostic, Diagnostics, FileId, SourceMap};
use crate::graph::Graph;
use crate::syntax::ast::{Function, FunctionKind, Item};

/// How deeply blocks may call each other.
pub const MAX_CALL_DEPTH: usize = 64;
/// Most evaluation steps of a file; bounds the time.
pub const MAX_STEPS: u64 = 3_000_000;
/// Most files that one model may use.
pub const MAX_FILES: usize = 64;

/// Reads the files that `use` names.
pub trait Loader {
    /// The text of a file. `path` is relative to the folder of the first file, uses `/` and never leaves the folder.
    /// An error is a sentence for the user.
    fn load(&mut self, path: &str) -> Result<String, String>;
}

/// A loader for texts that may use no other files.
pub struct NoFiles;

impl Loader for NoFiles {
    fn load(&mut self, _path: &str) -> Result<String, String> {
        Err("this text cannot use other files".to_owned())
    }
}

/// A file with its models, elaborated.
pub struct Program {
    /// In the order of the file.
    pub models: Vec<Graph>,
}

impl Program {
    /// Picks a model: the named one; without a name `main`, or the last.
    pub fn select(mut self, name: Option<&str>) -> Result<Graph, String> {
        let names: Vec<String> = self.models.iter().map(|model| format!("`{}`", model.name)).collect();
        let wanted = name.unwrap_or("main");
        let found = self.models.iter().position(|model| model.name == wanted);
        match (found, name) {
            (Some(at), _) => Ok(self.models.swap_remove(at)),
            (None, Some(name)) => {
                Err(format!("there is no model `{name}`; the file has {}", names.join(", ")))
            }
            (None, None) => self.models.pop().ok_or_else(|| "the file has no model".to_owned()),
        }
    }
}

/// Elaborates all models of a file of the source map. Errors and warnings go to `diagnostics`; with any error the
/// result is `None`. Used files are added to the source map.
pub fn compile(
    sources: &mut SourceMap,
    file: FileId,
    loader: &mut dyn Loader,
    diagnostics: &mut Diagnostics,
) -> Option<Program> {
    let modules = module::load(sources, file, loader, diagnostics);
    let root = &modules[0];
    // A file of blocks alone is fine to check; whoever wants a model of it is told by `select`.
    if !root.broken && !root.ast.items.iter().any(|item| matches!(item, Item::Function(_))) {
        let file = crate::diag::Span::new(file, 0, 0);
        diagnostics.push(
            Diagnostic::error("E0205-no-model", "the file has neither a model nor a block")
                .label(file, "nothing to compile in this file")
                .help("write `model name(x: f32[N, 3, H, W]) { … }`"),
        );
    }
    let mut models = Vec::new();
    let mut called = HashSet::new();
    for item in &root.ast.items {
        if let Item::Function(function @ Function { kind: FunctionKind::Model, .. }) = item {
            models.push(cx::Cx::new(&modules, diagnostics).model(function, &mut called));
        }
    }
    uncalled::check(root, &called, diagnostics);
    if diagnostics.has_errors() {
        return None;
    }
    models.into_iter().collect::<Option<Vec<Graph>>>().map(|models| Program { models })
}

/// Elaborates one text without `use`, for tests and simple programs. The error is the rendered report.
pub fn compile_text(name: &str, text: &str) -> Result<Graph, String> {
    let (mut sources, file) = SourceMap::single(name, text);
    let mut diagnostics = Diagnostics::new();
    match compile(&mut sources, file, &mut NoFiles, &mut diagnostics) {
        Some(program) => program.select(None),
        None => Err(diagnostics.render(&sources)),
    }
}
