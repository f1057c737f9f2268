//! Removes what no output needs and numbers nodes in order.
//!
//! **What.** Dead nodes go; ids become 0, 1, 2, … in topological order.
//! **Requires** nothing. **Leaves** a graph whose text form depends on its structure alone.

use crate::log::Recorder;
use rectify_ir::graph::Graph;

pub(crate) fn cleanup(graph: &mut Graph, _: &mut Recorder) {
    graph.remove_dead();
    *graph = graph.renumbered();
}
