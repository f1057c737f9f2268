//! ONNX's backend tests: folders with `model.onnx` and `test_data_set_N/{input,output}_N.pb`, run through compiled code.

use crate::compare::{Comparison, Tolerance, element};
use crate::error::Error;
use crate::import::onnx::read_tensor;
use crate::model::Model;
use crate::onnx::UNSUPPORTED;
use rectify_ir::target::Level;
use rectify_runtime::{Tensor, TensorView};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A model and the data sets that it must reproduce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The folder that holds `model.onnx`.
    pub folder: PathBuf,
}

/// How the cases are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Code for this CPU level instead of the machine's own.
    pub target: Option<Level>,
    /// Cases at a time; each runs on one thread.
    pub parallel: usize,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Passed,
    Failed(Failure),
    /// The model asks for something that there is not yet; the reason, one line a problem.
    Unsupported(String),
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub message: String,
    /// The output that differs, if one does.
    pub mismatch: Option<Box<Mismatch>>,
}

/// An output that differs from what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    pub output: String,
    /// The operation that makes the output, and its node's name.
    pub op: String,
    pub node: String,
    /// Indices of the worst element, and both values; `None` where type or shape differ.
    pub worst: Option<(Vec<usize>, f64, f64)>,
}

/// Numbers of the outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub passed: usize,
    pub failed: usize,
    pub unsupported: usize,
}

/// Folders within folders are followed this deep.
const MAX_DEPTH: usize = 32;

/// Cases nest models as deeply as they like; the passes recurse.
const STACK_BYTES: usize = 64 << 20;

/// All cases in a folder, at any depth, in order of their names.
pub fn find(folder: &Path) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    walk(folder, 0, &mut cases)?;
    Ok(cases)
}

fn walk(folder: &Path, depth: usize, cases: &mut Vec<Case>) -> io::Result<()> {
    if folder.join("model.onnx").is_file() {
        cases.push(Case { folder: folder.to_owned() });
        return Ok(());
    }
    let mut inner = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Links may lead in circles.
        if entry.file_type()?.is_dir() {
            inner.push(entry.path());
        }
    }
    inner.sort();
    if depth < MAX_DEPTH {
        inner.iter().try_for_each(|folder| walk(folder, depth + 1, cases))?;
    }
    Ok(())
}

/// Runs all cases, several at a time. `done` is told of each that has ended.
pub fn run_all(cases: &[Case], options: &Options, done: &(dyn Fn() + Sync)) -> Result<Vec<Outcome>, Error> {
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Option<Outcome>>> = cases.iter().map(|_| Mutex::default()).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(case), Some(slot)) = (cases.get(at), outcomes.get(at)) else { break };
            let outcome = run(case, options);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            done();
        }
    };
    let started: io::Result<()> = std::thread::scope(|scope| {
        for _ in 0..options.parallel.clamp(1, cases.len().max(1)) {
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?;
        }
        Ok(())
    });
    started.map_err(|e| Error::System { message: format!("cannot start a thread: {e}") })?;
    let missing = || Outcome::Failed(Failure::plain("the case did not end"));
    Ok(outcomes.into_iter().map(|o| o.into_inner().ok().flatten().unwrap_or_else(missing)).collect())
}

impl Totals {
    pub fn of<'o>(outcomes: impl IntoIterator<Item = &'o Outcome>) -> Totals {
        let mut totals = Totals::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Passed => totals.passed += 1,
                Outcome::Failed(_) => totals.failed += 1,
                Outcome::Unsupported(_) => totals.unsupported += 1,
            }
        }
        totals
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} unsupported", self.passed, self.failed, self.unsupported)
    }
}

/// Runs one case: all its data sets, on one thread. A panic is a failure of the case.
pub fn run(case: &Case, options: &Options) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| run_sets(case, options)));
    match outcome {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(outcome)) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Outcome::Failed(Failure::plain(format!("panic: {}", text.unwrap_or("without a message"))))
        }
    }
}

fn run_sets(case: &Case, options: &Options) -> Result<(), Outcome> {
    let model = Model::open(case.folder.join("model.onnx")).map_err(ended)?;
    let sets = data_sets(&case.folder).map_err(|e| Outcome::Failed(Failure::plain(e.to_string())))?;
    if sets.is_empty() {
        return Err(Outcome::Failed(Failure::plain("there is no folder test_data_set_0")));
    }
    let mut compiler = model.compiler().threads(1);
    if let Some(level) = options.target {
        compiler = compiler.target(level);
    }
    let compiled = compiler.compile().map_err(ended)?;
    for set in &sets {
        let given = tensors(set, "input")?;
        let want = tensors(set, "output")?;
        let ports = model.inputs();
        if given.len() != ports.len() {
            let message = format!("the model has {} inputs, the data {}", ports.len(), given.len());
            return Err(Outcome::Failed(Failure::plain(message)));
        }
        // By name where the data have the names, else in order.
        let names: Vec<String> = ports.iter().map(|p| p.name.to_string()).collect();
        let named = names.iter().all(|n| given.iter().filter(|(g, _)| g == n).count() == 1);
        let view = |(at, name): (usize, _)| -> (&str, TensorView<'_>) {
            let own = given.iter().find(|(g, _)| named && g == name);
            (name, own.map_or_else(|| given[at].1.view(), |(_, tensor)| tensor.view()))
        };
        let inputs: Vec<_> = names.iter().map(String::as_str).enumerate().map(view).collect();
        let outputs = compiled.run(&inputs).map_err(ended)?;
        for (at, (_, want)) in want.iter().enumerate() {
            let Some((name, got)) = outputs.iter().nth(at) else {
                return Err(Outcome::Failed(Failure::plain(format!("there is no output {at}"))));
            };
            if let Some(failure) = compare(&model, at, name, got, want.view()) {
                return Err(Outcome::Failed(failure));
            }
        }
    }
    Ok(())
}

fn data_sets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut sets = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("test_data_set_") {
            sets.push(entry.path());
        }
    }
    sets.sort();
    Ok(sets)
}

/// `input_0.pb`, `input_1.pb`, … with the names in them; or the outputs.
fn tensors(folder: &Path, kind: &str) -> Result<Vec<(String, Tensor)>, Outcome> {
    let mut list = Vec::new();
    loop {
        let file = folder.join(format!("{kind}_{}.pb", list.len()));
        if !file.exists() {
            return Ok(list);
        }
        let fail = |e: &dyn fmt::Display| Outcome::Failed(Failure::plain(format!("{}: {e}", file.display())));
        let bytes = std::fs::read(&file).map_err(|e| fail(&e))?;
        let (name, raw) = read_tensor(bytes).map_err(|e| fail(&e))?;
        let tensor = Tensor::from_bytes(raw.dtype, raw.shape.clone(), &raw.bytes).map_err(|e| fail(&e))?;
        list.push((name.to_string(), tensor));
    }
}

fn compare(
    model: &Model,
    at: usize,
    name: &str,
    got: TensorView<'_>,
    want: TensorView<'_>,
) -> Option<Failure> {
    let graph = model.graph();
    let (op, node) = match graph.outputs.get(at) {
        Some(output) => {
            let node = graph.node(output.value.node);
            let label = node.name.clone().or_else(|| node.provenance.sources.first().cloned());
            (node.op.name().to_owned(), label.map_or_else(String::new, |l| l.to_string()))
        }
        None => Default::default(),
    };
    let failure = |message: String, worst| {
        // Where shapes depend on values, the model has no graph of its own.
        let place = if op.is_empty() { String::new() } else { format!(" ({op}, node `{node}`)") };
        let message = format!("output `{name}`{place}: {message}");
        let (output, op, node) = (name.to_owned(), op.clone(), node.clone());
        Some(Failure { message, mismatch: Some(Box::new(Mismatch { output, op, node, worst })) })
    };
    if got.dtype() != want.dtype() {
        return failure(format!("elements are {}, not {}", got.dtype(), want.dtype()), None);
    }
    // Whole numbers and truth values are right or wrong.
    let exact = Tolerance { atol: 0.0, rtol: 0.0 };
    let tolerance = if got.dtype().is_float() { Tolerance::default() } else { exact };
    match Comparison::new(got, want, tolerance) {
        Comparison::Values { wrong: 0, .. } => None,
        Comparison::Values { elements, wrong, worst: Some((index, is, wanted)), .. } => {
            let place = element(index, want.shape());
            let ty = (want.dtype(), want.shape());
            let message = format!(
                "{wrong} of {elements} elements of {}{:?} differ; the worst, {place:?}, is {is}, not {wanted}",
                ty.0, ty.1
            );
            failure(message, Some((place, is, wanted)))
        }
        other => failure(other.to_string(), None),
    }
}

/// What an error means for a case.
fn ended(error: Error) -> Outcome {
    match &error {
        Error::Model(report) if report.diagnostics().iter().all(|d| d.code == UNSUPPORTED) => {
            let lines: Vec<_> = report.diagnostics().into_iter().map(|d| d.message).collect();
            Outcome::Unsupported(lines.join("\n"))
        }
        Error::Unsupported { message, .. } => Outcome::Unsupported(message.clone()),
        _ => Outcome::Failed(Failure::plain(error.to_string())),
    }
}

impl Failure {
    fn plain(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), mismatch: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_at_any_depth() {
        let root = std::env::temp_dir().join(format!("rectify-conform-{}", std::process::id()));
        for name in ["b/x/one", "a", "c/empty"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["b/x/one", "a"] {
            std::fs::write(root.join(name).join("model.onnx"), [0x08, 0x07]).unwrap();
        }
        let found: Vec<_> = find(&root).unwrap().into_iter().map(|c| c.folder).collect();
        assert_eq!(found, [root.join("a"), root.join("b/x/one")]);
        // A file without a graph is no model; that is told, and is no panic.
        let options = Options { target: None, parallel: 2 };
        let outcomes = run_all(&find(&root).unwrap(), &options, &|| ()).unwrap();
        assert_eq!(Totals::of(&outcomes), Totals { passed: 0, failed: 2, unsupported: 0 });
        std::fs::remove_dir_all(&root).unwrap();
    }
}
