//! ONNX's backend tests through the importer and the reference interpreter.
//!
//! The cases lie outside of the repository: in `$RECTIFY_TEST_DATA`, or in `../shared/data` beside the checkout. Without
//! them the tests say so and pass.
#![cfg(feature = "onnx")]

use rectify::import::onnx::{Imported, OnnxModel, Options, Problems, read_tensor};
use rectify_ir::DType;
use rectify_ir::interp::{self, Float, Tensor, Tensors};
use rectify_ir::literal::Literal;
use rectify_ir::op::Source;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("RECTIFY_TEST_DATA").map_or(beside, PathBuf::from);
    folder.join("conformance").is_dir().then(|| folder.join("conformance"))
}

enum Outcome {
    Passed,
    Failed(String),
    Unsupported(String),
}

/// `input_0.pb, input_1.pb, …` or the outputs, in order.
fn tensors(folder: &Path, kind: &str) -> Result<Vec<Literal>, String> {
    let mut list = Vec::new();
    for i in 0.. {
        let file = folder.join(format!("{kind}_{i}.pb"));
        let Ok(bytes) = std::fs::read(&file) else { break };
        let (_, raw) = read_tensor(bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        list.push(raw.to_literal());
    }
    Ok(list)
}

/// Imports the model, with the values of inputs on which shapes depend where that is needed.
fn import(model: &OnnxModel, inputs: &[Literal]) -> Result<Imported, Problems> {
    let mut options = Options::default();
    loop {
        let problems = match model.import(&options) {
            Ok(imported) => return Ok(imported),
            Err(problems) => problems,
        };
        let before = options.values.len();
        for (name, value) in model.input_names().zip(inputs) {
            if problems.needed_values().is_some_and(|needed| needed.iter().any(|n| n == name)) {
                options.values.insert(name.into(), value.clone());
            }
        }
        if options.values.len() == before {
            return Err(problems);
        }
    }
}

fn run(model: &OnnxModel, folder: &Path) -> Outcome {
    let (inputs, outputs) = match (tensors(folder, "input"), tensors(folder, "output")) {
        (Ok(i), Ok(o)) => (i, o),
        (Err(e), _) | (_, Err(e)) => return Outcome::Failed(e),
    };
    let imported = match import(model, &inputs) {
        Ok(i) => i,
        Err(problems) => return Outcome::Unsupported(problems.to_string()),
    };
    // Models of doubles may leave the range of floats.
    if inputs.iter().any(|t| t.dtype == DType::F64) {
        evaluate::<f64>(model, &imported, &inputs, &outputs)
    } else {
        evaluate::<f32>(model, &imported, &inputs, &outputs)
    }
}

fn evaluate<T: Float>(
    model: &OnnxModel,
    imported: &Imported,
    inputs: &[Literal],
    outputs: &[Literal],
) -> Outcome {
    let graph = &imported.graph;
    let mut given: Tensors<T> = Tensors::new();
    for (name, value) in model.input_names().zip(inputs) {
        // Inputs that shapes depend on have become constants.
        if graph.inputs().iter().any(|id| graph.node(*id).name.as_deref() == Some(name)) {
            given.insert(name.into(), Tensor::from_literal(value));
        }
    }
    let mut params = |g: &rectify_ir::Graph, id| {
        let node = g.node(id);
        match node.source() {
            Some(Source::File { tensor, .. }) => {
                let raw = imported.weights.get(tensor).ok_or("no such tensor")?;
                Ok(Tensor::from_literal(&raw.to_literal()))
            }
            _ => interp::known_param(g, id).ok_or_else(|| "no value".to_string()),
        }
    };
    let got = match interp::eval(graph, &given, &mut params) {
        Ok(got) => got,
        Err(e) => return Outcome::Unsupported(format!("does not run: {e}")),
    };
    for (output, want) in graph.outputs.iter().zip(outputs) {
        if let Some(difference) = compare(&got[&*output.name], graph.ty(output.value).dtype, want) {
            return Outcome::Failed(format!("output `{}`: {difference}", output.name));
        }
    }
    Outcome::Passed
}

/// Where the tensors differ by more than |got − want| ≤ 1e-5 · max(1, max|want|) + 1e-3 · |want|.
fn compare<T: Float>(got: &Tensor<T>, dtype: DType, want: &Literal) -> Option<String> {
    if got.shape != want.shape || dtype != want.dtype {
        return Some(format!("is {dtype}{:?}, not {}{:?}", got.shape, want.dtype, want.shape));
    }
    let (got, want) = (got.to_f64(), want.to_f64());
    let largest = want.iter().filter(|w| w.is_finite()).fold(1f64, |m, w| m.max(w.abs()));
    let wrong = |(g, w): (&f64, &f64)| {
        let same = g == w || g.is_nan() && w.is_nan();
        !same && (!g.is_finite() || !w.is_finite() || (g - w).abs() > 1e-5 * largest + 1e-3 * w.abs())
    };
    let at = got.iter().zip(&want).position(wrong)?;
    Some(format!("element {at} is {}, not {}", got[at], want[at]))
}

/// The outcomes of all cases, run by as many threads as there are.
fn outcomes(cases: &[PathBuf]) -> Vec<Outcome> {
    let outcome = |case: &PathBuf| match OnnxModel::open(&case.join("model.onnx")) {
        Ok(model) => run(&model, &case.join("test_data_set_0")),
        Err(e) => Outcome::Failed(e.to_string()),
    };
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = vec![];
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((case, outcome(case)));
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().expect("no panic")).collect()
    });
    all.sort_by_key(|(case, _)| *case);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Runs all cases of a folder. None may fail; at most `unsupported` may be unsupported.
fn conformance(folder: &str, unsupported: usize) {
    let Some(root) = data() else {
        println!("skipped: no test data");
        return;
    };
    let only = std::env::var("RECTIFY_TEST_ONLY").unwrap_or_default();
    let mut cases: Vec<_> =
        std::fs::read_dir(root.join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    cases.retain(|c| c.to_string_lossy().contains(&only));
    let (mut passed, mut failed, mut refused) = (0, vec![], vec![]);
    for (case, outcome) in cases.iter().zip(outcomes(&cases)) {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Failed(why) => failed.push(format!("{name}: {why}")),
            Outcome::Unsupported(why) => refused.push(format!("{name}: {why}")),
        }
    }
    for line in refused.iter().chain(&failed) {
        println!("{line}");
    }
    println!("{folder}: {passed} passed, {} failed, {} unsupported", failed.len(), refused.len());
    assert!(failed.is_empty());
    assert!(refused.len() <= unsupported);
}

#[test]
fn operators() {
    conformance("onnx-node", 58);
}

#[test]
fn more_operators() {
    conformance("onnx-extra", 1);
}

#[test]
fn exported_layers() {
    conformance("pytorch", 0);
}

#[test]
fn real_networks() {
    conformance("real", 1);
}
