//! Names derivations, removes what no output needs, and numbers nodes in order.
//!
//! **What.** A derivation that a layer reads gets the layer's name and the operand's: `conv1.weight.folded`. Dead nodes
//! go; ids become 0, 1, 2, … in topological order.
//! **Before → after.** `%9 = mul(@conv1.weight, %8)` → `param @conv1.weight.folded = mul(@conv1.weight, %8)`.
//! **Requires** nothing. **Leaves** a graph whose text form depends on its structure alone.

use rectify_ir::graph::{EpArg, Graph, Node, Value};
use rectify_ir::op::{Op, OperandKind};
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) fn cleanup(graph: &mut Graph) {
    graph.remove_dead();
    *graph = graph.renumbered();
    name_derivations(graph);
}

fn name_derivations(graph: &mut Graph) {
    let params = graph.param_only();
    let order = graph.topo_order();
    // Only asked, never walked.
    let mut taken: HashSet<Arc<str>> = order.iter().filter_map(|n| graph.node(*n).name.clone()).collect();
    for node in order.into_iter().filter(|n| !params.contains(n)) {
        for (i, operand) in graph.node(node).operands.clone().into_iter().enumerate() {
            let derived = graph.node(operand.node);
            let nameless = derived.name.is_none() && derived.types.len() == 1;
            if !params.contains(&operand.node)
                || !nameless
                || matches!(derived.op, Op::Param(_) | Op::Const(_))
            {
                continue;
            }
            let n = graph.node(node);
            let layer = n.name.as_deref().unwrap_or(n.op.name());
            let mut name: Arc<str> = format!("{layer}.{}", leaf(n, i, operand)).into();
            for suffix in 1.. {
                if taken.insert(name.clone()) {
                    break;
                }
                let ordinal = if suffix == 1 { String::new() } else { suffix.to_string() };
                name = format!("{layer}.{}.folded{ordinal}", leaf(n, i, operand)).into();
            }
            *graph.node_mut(operand.node).name = Some(name);
        }
    }
}

/// What the node calls operand `index`.
fn leaf(node: &Node, index: usize, value: Value) -> &'static str {
    let of = |op: &Op, i: usize| {
        let operands = op.spec().map_or(&[][..], |s| s.operands);
        operands
            .get(i)
            .filter(|o| o.kind != OperandKind::Variadic && o.kind != OperandKind::Data)
            .map(|o| o.name)
    };
    if index < node.arity {
        return of(&node.op, index).unwrap_or(node.op.name());
    }
    let reads = EpArg::Operand((index - node.arity) as u32);
    debug_assert_eq!(node.operands[index], value);
    let steps = node.epilogue.iter().flat_map(|e| &e.steps);
    for step in steps {
        if let Some(i) = step.args.iter().position(|a| *a == reads) {
            return of(&step.op, i).unwrap_or(step.op.name());
        }
    }
    node.op.name()
}
