//! The algebra of initialisations: number · draw and draw + number are initialisations again.

use crate::edit::{constant, provenance};
use crate::log::{Reason, Recorder, label};
use rectify_ir::graph::{Graph, Node, NodeId, Value};
use rectify_ir::init::Init;
use rectify_ir::op::{Binary, Op, Source, Unary};

/// The pass's name for what it does here.
const RULE: &str = "scale-into-init";

pub(super) fn merge_scales(graph: &mut Graph, recorder: &mut Recorder) {
    for node in graph.topo_order() {
        let Some((param, init)) = graph.get(node).and_then(|_| merged(graph, node)) else { continue };
        // The name stands for one stream of values: another reader would get them unscaled.
        let uses = graph.use_count(param.into());
        if uses > 1 {
            recorder.refuse(RULE, label(graph, param), Reason::UsedElsewhere { uses });
            continue;
        }
        if !recorder.fire(RULE) {
            return;
        }
        let history = provenance(graph, &[param, node], RULE);
        let source = graph.node(param);
        let new = Node {
            op: Op::Param(Source::Init(init)),
            operands: vec![],
            arity: 0,
            epilogue: None,
            types: source.types.clone(),
            name: source.name.clone(),
            provenance: history,
        };
        // The old parameter is dead now; the new one takes its place, so that its name stays unique.
        graph.replace_node(param, new);
        graph.replace_uses(node.into(), param.into());
        // The product still counts as a reader of the parameter while it is there.
        graph.remove_dead();
    }
}

/// The parameter that `node` scales or shifts by a number, and its initialisation after that.
fn merged(graph: &Graph, node: NodeId) -> Option<(NodeId, Init)> {
    let n = graph.node(node);
    let init_of = |v: Value| {
        let Some(Source::Init(init)) = graph.node(v.node).source() else { return None };
        (init.is_resolved() && graph.ty(v) == &n.types[0]).then_some((v.node, *init))
    };
    let number = |i: usize| n.operands.get(i).and_then(|v| constant(graph, *v)).filter(|c| c.is_finite());
    if matches!(n.op, Op::Unary(Unary::Neg)) {
        return init_of(n.operands[0]).map(|(p, i)| (p, i.scaled_by(-1.0)));
    }
    let Op::Binary(b) = n.op else { return None };
    let (param, c, number_first) = match (number(0), number(1)) {
        (None, Some(c)) => (n.operands[0], c, false),
        (Some(c), None) => (n.operands[1], c, true),
        (None, None) | (Some(_), Some(_)) => return None,
    };
    let (param, init) = init_of(param)?;
    let init = match (b, number_first) {
        (Binary::Mul, _) => init.scaled_by(c),
        (Binary::Div, false) if c != 0.0 => init.scaled_by(1.0 / c),
        (Binary::Add, _) => init.shifted_by(c),
        (Binary::Sub, false) => init.shifted_by(-c),
        (Binary::Sub, true) => init.scaled_by(-1.0).shifted_by(c),
        (
            Binary::Div
            | Binary::Max
            | Binary::Min
            | Binary::Pow
            | Binary::Equal
            | Binary::Less
            | Binary::LessEqual
            | Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::Rem
            | Binary::ShiftLeft
            | Binary::ShiftRight,
            _,
        ) => return None,
    };
    Some((param, init))
}
