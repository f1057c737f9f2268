//! Files: the first one, those it uses, and the names that each defines.

use std::collections::HashMap;

use super::{Loader, MAX_FILES};
use crate::diag::{Diagnostic, Diagnostics, FileId, SourceMap, Span, did_you_mean};
use crate::op::table;
use crate::syntax::ast::{self, FunctionKind, Ident, Item};

/// A parsed file.
pub struct Module {
    pub file: FileId,
    pub ast: ast::File,
    pub names: HashMap<String, Def>,
    /// Something of the file is missing: it has syntax errors, or a file it uses could not be read.
    pub broken: bool,
    /// Path from the first file's folder, with `/`; empty for the first file.
    path: String,
}

/// What a name of a file stands for; items by their index.
pub enum Def {
    Const(usize),
    Function(usize),
    /// A constant or block of another file.
    Import {
        module: usize,
        name: String,
    },
    /// Could not be imported; reported.
    Broken,
}

/// Loads a file and all it uses. The first module is the file itself; imports point to loaded modules.
pub fn load(
    sources: &mut SourceMap,
    file: FileId,
    loader: &mut dyn Loader,
    diagnostics: &mut Diagnostics,
) -> Vec<Module> {
    let mut files = Files { sources, loader, diagnostics, modules: Vec::new(), open: Vec::new() };
    files.add(file, String::new());
    let mut modules = files.modules;
    for at in 0..modules.len() {
        let missing = check_imports(&modules, at, diagnostics);
        for name in missing {
            modules[at].names.insert(name, Def::Broken);
        }
    }
    modules
}

struct Files<'s> {
    sources: &'s mut SourceMap,
    loader: &'s mut dyn Loader,
    diagnostics: &'s mut Diagnostics,
    modules: Vec<Module>,
    /// Files being loaded, outermost first.
    open: Vec<usize>,
}

impl Files<'_> {
    fn add(&mut self, file: FileId, path: String) -> usize {
        let errors = self.diagnostics.error_count();
        let ast = crate::syntax::parse(self.sources, file, self.diagnostics);
        self.check_header(&ast, path.is_empty());
        let broken = self.diagnostics.error_count() > errors;
        let at = self.modules.len();
        let mut names = HashMap::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        for (index, item) in ast.items.iter().enumerate() {
            match item {
                Item::Const(item) => {
                    self.define(&mut names, &mut places, &item.name, Def::Const(index), false);
                }
                Item::Function(item) => {
                    // Models are not called, so they may have any name.
                    let model = item.kind == FunctionKind::Model;
                    self.define(&mut names, &mut places, &item.name, Def::Function(index), model);
                }
                Item::Use(_) => {}
            }
        }
        let uses: Vec<ast::Use> = ast
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Use(item) => Some(item.clone()),
                Item::Const(_) | Item::Function(_) => None,
            })
            .collect();
        self.modules.push(Module { file, ast, names: HashMap::new(), broken, path });
        self.open.push(at);
        for item in uses {
            let module = self.used(at, &item);
            self.modules[at].broken |= module.is_none();
            for name in &item.names {
                let def = match module {
                    Some(module) => Def::Import { module, name: name.text.clone() },
                    None => Def::Broken,
                };
                self.define(&mut names, &mut places, name, def, false);
            }
        }
        self.open.pop();
        self.modules[at].names = names;
        at
    }

    fn check_header(&mut self, ast: &ast::File, first: bool) {
        let Some(header) = &ast.header else { return };
        if header.version != 1 {
            self.diagnostics.push(
                Diagnostic::error(
                    "E0206-version",
                    format!("the language version {} is not known", header.version),
                )
                .label(header.span, "this program reads version 1")
                .help("write `rect 1`, or use a newer rectify"),
            );
        }
        let Some(stage) = &header.stage else { return };
        if !first || super::model::stage(&stage.text).is_none() {
            self.diagnostics.push(
                Diagnostic::error("E0207-stage", format!("there is no stage `{}` here", stage.text))
                    .label(stage.span, "not a stage that a model file can be in")
                    .help("a dump says `stage typed` or `stage optimized`; a file that is used says none"),
            );
        }
    }

    fn define(
        &mut self,
        names: &mut HashMap<String, Def>,
        places: &mut HashMap<String, Span>,
        name: &Ident,
        def: Def,
        model: bool,
    ) {
        if let Some(first) = places.get(&name.text) {
            self.diagnostics.push(
                Diagnostic::error("E0202-defined-twice", format!("`{}` is defined twice", name.text))
                    .label(name.span, "second definition")
                    .label(*first, "first definition")
                    .help("rename one of them"),
            );
            return;
        }
        if table::find(&name.text).is_some() && matches!(def, Def::Const(_) | Def::Function(_)) && !model {
            self.diagnostics.push(
                Diagnostic::error("E0203-name-of-an-op", format!("`{}` is the name of an op", name.text))
                    .label(name.span, "cannot be defined again")
                    .help("choose another name"),
            );
        }
        places.insert(name.text.clone(), name.span);
        names.insert(name.text.clone(), def);
    }

    /// The module that a `use` names, loaded if it is not yet.
    fn used(&mut self, from: usize, item: &ast::Use) -> Option<usize> {
        let fail = |files: &mut Self, message: String, label: &str, help: &str| {
            let diagnostic = Diagnostic::error("E0208-use", message).label(item.path.span, label).help(help);
            files.diagnostics.push(diagnostic);
            None
        };
        let written = item.path.plain().unwrap_or("");
        let Some(path) = inside(&self.modules[from].path, written) else {
            let message = format!("`{written}` is not a file inside this file's folder");
            return fail(self, message, "the path leaves the folder", "write a relative path without `..`");
        };
        if let Some(at) = self.modules.iter().position(|module| module.path == path) {
            if self.open.contains(&at) {
                let message = format!("`{written}` uses this file, directly or through others");
                return fail(
                    self,
                    message,
                    "files use each other in a circle",
                    "move shared blocks to a third file",
                );
            }
            return Some(at);
        }
        if self.modules.len() >= MAX_FILES {
            let message = format!("more than {MAX_FILES} files are used");
            return fail(self, message, "one file too many", "merge some files");
        }
        match self.loader.load(&path) {
            Ok(text) => {
                let root = self.sources.name(self.modules[0].file);
                let shown =
                    root.rfind('/').map_or(path.clone(), |slash| format!("{}/{path}", &root[..slash]));
                let file = self.sources.add(shown, text);
                Some(self.add(file, path))
            }
            Err(reason) => {
                let message = format!("`{written}` cannot be read: {reason}");
                fail(self, message, "used here", "check the path; it is relative to this file's folder")
            }
        }
    }
}

/// The path of a used file from the first file's folder, if it stays inside the using file's folder.
fn inside(from: &str, written: &str) -> Option<String> {
    let folder = from.rfind('/').map_or("", |slash| &from[..slash]);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let bad = |c: char| c.is_control() || matches!(c, '\\' | ':' | '\0');
    if written.is_empty() || written.starts_with('/') || written.contains(bad) || written.len() > 1024 {
        return None;
    }
    for part in written.split('/') {
        match part {
            "." => {}
            "" | ".." => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Imported names must be constants or blocks that the other file itself defines. Returns those that are not.
fn check_imports(modules: &[Module], at: usize, diagnostics: &mut Diagnostics) -> Vec<String> {
    let mut missing = Vec::new();
    for item in &modules[at].ast.items {
        let Item::Use(item) = item else { continue };
        for name in &item.names {
            let Some(Def::Import { module, name: wanted }) = modules[at].names.get(&name.text) else {
                continue;
            };
            let other = &modules[*module];
            let problem = match other.names.get(wanted) {
                Some(Def::Const(_)) => continue,
                Some(Def::Function(index)) => match &other.ast.items[*index] {
                    Item::Function(f) if f.kind == FunctionKind::Model => "is a model, which cannot be used",
                    Item::Function(_) | Item::Use(_) | Item::Const(_) => continue,
                },
                Some(Def::Import { .. } | Def::Broken) => "is only used there, not defined",
                None if other.broken => {
                    missing.push(name.text.clone());
                    continue;
                }
                None => "is not defined there",
            };
            let near = did_you_mean(wanted, other.names.keys().map(String::as_str));
            diagnostics.push(
                Diagnostic::error("E0208-use", format!("`{wanted}` {problem}"))
                    .label(name.span, "cannot be used from that file")
                    .maybe_help(near.map(|near| format!("did you mean `{near}`?"))),
            );
            missing.push(name.text.clone());
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(inside("", "blocks.rect").as_deref(), Some("blocks.rect"));
        assert_eq!(inside("sub/a.rect", "./deep/b.rect").as_deref(), Some("sub/deep/b.rect"));
        for bad in ["", "/etc/passwd", "../a.rect", "a/../../b", "a//b", "C:\\x", "a\\..\\b", "a\0b"] {
            assert_eq!(inside("sub/a.rect", bad), None, "{bad}");
        }
    }
}
