//! What the tests of the passes share: models from text, evaluation, comparison, cases in files.
#![allow(dead_code, reason = "each test file uses its part")]

use rectify_ir::diag::{Diagnostics, SourceMap};
use rectify_ir::graph::Graph;
use rectify_ir::interp::{self, Tensor, Tensors};
use rectify_ir::lang::{Loader, compile, compile_text};
use rectify_ir::testing::{random_bindings, random_inputs, random_param, with_special_values};
use rectify_passes::{Log, Optimized, Options, optimize};
use std::fmt::Write as _;
use std::path::Path;

/// A graph from a model file, or from the body of a model on x and y: f32[2, 4, 6, 6] and v: f32[3, 8].
pub fn graph(text: &str) -> Graph {
    let text = if text.contains("model ") {
        text.to_string()
    } else {
        let (params, body): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|l| l.trim_start().starts_with("param "));
        let (params, body) = (params.join("\n"), body.join("\n"));
        format!("model t(x: f32[2, 4, 6, 6], y: f32[2, 4, 6, 6], v: f32[3, 8]) {{\n{params}\n{body}\n}}")
    };
    compile_text("test.rect", &text).unwrap_or_else(|report| panic!("{text}\n{report}"))
}

/// Files of the folder of examples.
struct Examples;

impl Loader for Examples {
    fn load(&mut self, path: &str) -> Result<String, String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        std::fs::read_to_string(folder.join(path)).map_err(|e| e.to_string())
    }
}

/// The last model of a file of the folder of examples.
pub fn example(name: &str) -> Graph {
    let text = Examples.load(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (mut sources, file) = SourceMap::single(name, text);
    let mut diagnostics = Diagnostics::new();
    match compile(&mut sources, file, &mut Examples, &mut diagnostics) {
        Some(program) => program.select(None).unwrap_or_else(|e| panic!("{e}")),
        None => panic!("{}", diagnostics.render(&sources)),
    }
}

/// Runs the passes up to `stop_after`, the algebra with `only` if any.
pub fn run(graph: &Graph, stop_after: &str, only: Option<&[&str]>) -> Optimized {
    let options =
        Options { stop_after: Some(stop_after), only_rules: only, verify: true, ..Options::default() };
    optimize(graph, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// How often a rule fired in all passes.
pub fn firings(log: &Log, rule: &str) -> usize {
    log.passes.iter().filter_map(|p| p.firings.get(rule)).sum()
}

/// Outputs for inputs from a seed.
pub fn evaluate(graph: &Graph, seed: u64, special: bool) -> Tensors<f32> {
    let mut inputs = random_inputs(graph, &random_bindings(graph, seed, 6), seed);
    if special {
        inputs = with_special_values(inputs, seed, 3);
    }
    interp::eval(graph, &inputs, &mut |g, id| random_param(g, id, seed)).unwrap_or_else(|e| panic!("{e}"))
}

/// Equal but for the sign of zeros; NaN equals NaN.
pub fn assert_same(want: &Tensors<f32>, got: &Tensors<f32>, what: &str) {
    compare(want, got, what, |w, g, _| w == g || (w.is_nan() && g.is_nan()));
}

/// Within the tolerance that the project promises where results are finite: |got - want| <= 1e-5 · max(1, max |want|)
/// + 1e-3 · |want|. Where `want` is not finite there is no promise for rewrites that hold for finite numbers.
pub fn assert_close(want: &Tensors<f32>, got: &Tensors<f32>, what: &str) {
    compare(want, got, what, |w, g, most| {
        !w.is_finite() || (g - w).abs() <= 1e-5 * most.max(1.0) + 1e-3 * w.abs()
    });
}

fn compare(want: &Tensors<f32>, got: &Tensors<f32>, what: &str, same: impl Fn(f32, f32, f32) -> bool) {
    assert_eq!(want.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>(), "{what}");
    for (name, w) in want {
        let g = &got[name];
        assert_eq!(w.shape, g.shape, "{what}: output {name}");
        let (Some(w), Some(g)) = (values(w), values(g)) else {
            assert_eq!(w, g, "{what}: output {name}");
            continue;
        };
        let most = w.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
        for (i, (w, g)) in w.iter().zip(g).enumerate() {
            assert!(same(*w, *g, most), "{what}: output {name}, element {i}: {g} instead of {w}");
        }
    }
}

fn values(t: &Tensor<f32>) -> Option<&[f32]> {
    t.floats()
}

/// Runs `transform` on each case of `tests/filetests/<file>` and compares. A case is `==== name`, the input, `----`, the
/// output. With RECTIFY_BLESS=1 the present outputs are written into the file.
pub fn check_cases(file: &str, transform: impl Fn(&str, &str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (head, cases) = text.split_once("==== ").unwrap_or_else(|| panic!("{file}: no cases"));
    let (mut blessed, mut failures) = (head.to_string(), String::new());
    for (i, case) in cases.split("\n==== ").enumerate() {
        let (name, body) = case.split_once('\n').unwrap_or_else(|| panic!("{file}: case `{case}` is empty"));
        let (input, want) = body.split_once("\n----").unwrap_or((body, ""));
        let (input, want) = (input.trim_end(), want.trim());
        let got = transform(name, input).trim().to_string();
        if got != want {
            let _ = writeln!(failures, "==== {name}\n{input}\n---- wanted\n{want}\n---- got\n{got}\n");
        }
        let gap = if i == 0 { "" } else { "\n" };
        let _ = writeln!(blessed, "{gap}==== {name}\n{input}\n----\n{got}");
    }
    if std::env::var_os("RECTIFY_BLESS").is_some() {
        std::fs::write(&path, blessed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else {
        assert!(failures.is_empty(), "{file} (RECTIFY_BLESS=1 accepts the new outputs):\n{failures}");
    }
}
