//! Text in, text out: the graph after a pass. A case's name starts with the pass after which the pipeline stops.

mod support;

use rectify_ir::print::print;
use std::fmt::Write as _;
use support::{assert_close, check_cases, evaluate, graph, run};

/// The graph after the pass, and why rewrites were refused.
fn after(name: &str, text: &str) -> String {
    let source = graph(text);
    let pass = name.split(':').next().unwrap_or(name);
    let done = run(&source, pass, None);
    assert_close(&evaluate(&source, 1, false), &evaluate(&done.graph, 1, false), name);
    let mut out = print(&done.graph);
    for refusal in &done.log.refusals {
        let _ = writeln!(out, "refused: {refusal}");
    }
    for warning in &done.log.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    out
}

#[test]
fn canonicalise() {
    check_cases("canonicalise.txt", after);
}

#[test]
fn algebra() {
    check_cases("algebra.txt", after);
}

#[test]
fn fold_constants() {
    check_cases("fold_constants.txt", after);
}

#[test]
fn fuse_epilogues() {
    check_cases("fuse_epilogues.txt", after);
}

#[test]
fn whole_pipeline() {
    check_cases("pipeline.txt", after);
}
