//! Outputs that are cut: what is computed is the whole, and the count becomes an output behind the model's own.

use rectify_ir::graph::{Graph, Output};
use rectify_ir::op::Op;
use rectify_ir::plan::PortCut;
use std::borrow::Cow;

/// The graph with uncut outputs and counts behind them; and for each output of the model its cuts.
pub(super) fn uncut(graph: &Graph) -> (Cow<'_, Graph>, Vec<Vec<PortCut>>) {
    let is_cut = |o: &Output| matches!(graph.node(o.value.node).op, Op::Cut { .. });
    if !graph.outputs.iter().any(is_cut) {
        return (Cow::Borrowed(graph), vec![]);
    }
    let mut whole = graph.clone();
    let own = graph.outputs.len();
    let mut cuts = vec![vec![]; own];
    for (i, cuts) in cuts.iter_mut().enumerate() {
        while let Op::Cut { axis, size } = &graph.node(whole.outputs[i].value.node).op {
            let operands = &graph.node(whole.outputs[i].value.node).operands;
            let (x, count) = (operands[0], operands[1]);
            let known = whole.outputs[own..].iter().position(|o| o.value == count);
            let at = known.map_or(whole.outputs.len(), |at| own + at);
            if at == whole.outputs.len() {
                whole.outputs.push(Output { name: format!("size {size}").into(), value: count });
            }
            cuts.push(PortCut { axis: *axis as u32, count: at as u32 });
            whole.outputs[i].value = x;
        }
    }
    whole.remove_dead();
    (Cow::Owned(whole), cuts)
}
