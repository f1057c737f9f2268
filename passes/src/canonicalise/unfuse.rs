//! Epilogues back to nodes, so that a partly optimised dump can be optimised further.

use crate::edit::sources;
use rectify_ir::graph::{EpArg, Graph, Node, NodeId, Value};
use rectify_ir::op::Op;
use rectify_ir::types::TensorType;

pub(super) fn unfuse(graph: &mut Graph) {
    for node in graph.topo_order() {
        if graph.node(node).epilogue.is_some() {
            unfuse_node(graph, node);
        }
    }
}

fn unfuse_node(graph: &mut Graph, node: NodeId) {
    let mut own = graph.node(node).clone();
    let Some(epilogue) = own.epilogue.take() else { return };
    let (extra, ty) = (own.epilogue_operands().to_vec(), own.types[0].clone());
    own.operands.truncate(own.arity);
    let (name, provenance) = (own.name.clone(), sources(&own));
    // `map` computes nothing itself: its operand is the accumulator.
    let acc = if matches!(own.op, Op::Map) { own.operands[0] } else { graph.add_node(own).into() };
    let mut steps: Vec<Value> = Vec::with_capacity(epilogue.steps.len());
    for step in &epilogue.steps {
        let mut operands = Vec::with_capacity(step.args.len());
        for arg in &step.args {
            operands.push(match arg {
                EpArg::Acc => acc,
                EpArg::Operand(i) => extra[*i as usize],
                EpArg::Step(i) => steps[*i as usize],
                EpArg::Scalar(c) => {
                    let number = graph.push_const(c.0);
                    graph.node_mut(number.node).types[0] = TensorType::new(ty.dtype, []);
                    number
                }
            });
        }
        let arity = operands.len();
        steps.push(
            graph
                .add_node(Node {
                    op: step.op.clone(),
                    operands,
                    arity,
                    epilogue: None,
                    types: vec![ty.clone()],
                    name: name.clone(),
                    provenance: provenance.clone(),
                })
                .into(),
        );
    }
    if let Some(last) = steps.last() {
        graph.replace_uses(node.into(), *last);
    }
}
