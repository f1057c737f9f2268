//! Turns fans and gains of initialisations into numbers.
//!
//! **What.** Each `Init` gets the fan and gain that [`init_analysis`](crate::init_analysis) finds.
//! **Before → after.** `he_normal(fan: in, gain: auto)` → `he_normal(fan: 576, gain: 1.414…)`.
//! **Requires** the graph as written: rewrites would hide layers and rectifiers.
//! **Leaves** initialisations that no longer depend on the graph, so that rewrites may scale them.

use crate::init_analysis::explain_init;
use crate::log::Recorder;
use rectify_ir::graph::Graph;
use rectify_ir::op::{Op, Source};

pub(crate) fn fold_init(graph: &mut Graph, recorder: &mut Recorder) {
    let (reports, warnings) = explain_init(graph);
    for report in reports {
        if report.resolved != report.written && recorder.fire("resolve-init") {
            *graph.node_mut(report.param).op = Op::Param(Source::Init(report.resolved));
        }
    }
    recorder.log.warnings.extend(warnings);
}
