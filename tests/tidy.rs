//! What the parts of this project must not know of each other, and the size of their files.

use std::path::{Path, PathBuf};

/// A crate's folder, with what neither its manifest nor its sources may name.
const ABSENT: [(&str, &[&str]); 4] = [
    (
        "ir",
        &["egg", "cranelift", "iced_x86", "memmap2", "rectify_passes", "rectify_codegen", "rectify_runtime"],
    ),
    ("passes", &["cranelift", "iced_x86", "memmap2", "petgraph", "rectify_codegen", "rectify_runtime"]),
    ("codegen", &["egg", "memmap2", "petgraph", "rectify_passes", "rectify_runtime"]),
    ("runtime", &["egg", "cranelift", "iced_x86", "petgraph", "rectify_passes", "rectify_codegen"]),
];
const MAX_LINES: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "ir", "passes", "codegen", "runtime"] {
        sources(&root().join(folder), &mut files);
    }
    files.retain(|f| !f.components().any(|c| c.as_os_str() == "target"));
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of the crates in a manifest's `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|l| !l.starts_with('['));
    let names = lines.filter_map(|l| l.split(['.', ' ', '=']).next()).filter(|n| !n.is_empty());
    names.map(|n| n.replace('-', "_")).collect()
}

#[test]
fn crates_know_nothing_of_what_they_must_not() {
    for (folder, absent) in ABSENT {
        let manifest = dependencies(&read(&root().join(folder).join("Cargo.toml")));
        assert!(manifest.contains(&"rectify_ir".to_owned()) || folder == "ir", "{folder}: {manifest:?}");
        for name in absent {
            let found = manifest.iter().find(|d| d.starts_with(name));
            assert!(found.is_none(), "{folder}/Cargo.toml depends on {found:?}");
        }
        let mut files = Vec::new();
        sources(&root().join(folder).join("src"), &mut files);
        for file in files {
            for line in read(&file).lines() {
                let code = line.split("//").next().unwrap_or_default();
                let names = |name: &&&str| {
                    code.trim_start().starts_with(&format!("use {name}"))
                        || code.contains(&format!("{name}::"))
                };
                let bad = absent.iter().find(names);
                // `egg::` must not be found in a longer word.
                let word = |name: &str| {
                    code.match_indices(name)
                        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                };
                assert!(!bad.is_some_and(|name| word(name)), "{}: {line}", file.display());
            }
        }
    }
}

/// No type of these crates stands in the signature of anything public.
#[test]
fn public_signatures_are_our_own() {
    for file in all_sources().iter().filter(|f| f.starts_with(root().join("src"))) {
        for line in read(file).lines().filter(|l| l.trim_start().starts_with("pub ")) {
            for foreign in ["petgraph", "egg::", "cranelift"] {
                assert!(!line.contains(foreign), "{}: {line}", file.display());
            }
        }
    }
}

/// `ir` has no files and no threads.
#[test]
fn ir_is_pure() {
    let mut files = Vec::new();
    sources(&root().join("ir/src"), &mut files);
    for file in files {
        for line in read(&file).lines() {
            let code = line.split("//").next().unwrap_or_default();
            for foreign in ["std::fs", "std::thread", "std::net", "std::process"] {
                assert!(!code.contains(foreign), "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for file in all_sources() {
        let text = read(&file);
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
        assert!(text.starts_with("//!"), "{} does not begin with what it is for", file.display());
    }
}

#[test]
fn nothing_is_left_undone() {
    // Put together here, so that this file does not name them itself.
    let marks = [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]].map(|parts| parts.concat());
    for file in all_sources() {
        let text = read(&file);
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} has {mark}", file.display());
        }
    }
}
