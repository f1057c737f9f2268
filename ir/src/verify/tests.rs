//! Each rule finds its violation.

use super::*;
use crate::dim::SymFacts;
use crate::graph::{EpStep, Epilogue, Output, Provenance, Value};
use crate::literal::Literal;
use crate::op::{Binary, Unary};
use crate::scalar::Scalar;
use crate::{Dim, TensorType};

/// x + b, then relu; the sum has a scaling epilogue.
fn sound() -> (Graph, Value, Value, NodeId) {
    let mut g = Graph::new("t");
    let x = g.add_input("x", TensorType::f32([Dim::sym("N"), 4.into()]));
    let b = g.add_param("b", TensorType::f32([4.into()]), Source::Init(Init::constant(1.0)));
    let sum = g.push_node(Node {
        op: Op::Binary(Binary::Add),
        operands: vec![x, b, b],
        arity: 2,
        epilogue: Some(Epilogue {
            steps: vec![EpStep { op: Op::Binary(Binary::Mul), args: vec![EpArg::Acc, EpArg::Operand(0)] }],
        }),
        types: vec![],
        name: None,
        provenance: Provenance::default(),
    });
    let sum = sum.unwrap();
    let y = g.push(Op::Unary(Unary::Relu), &[sum.into()]).unwrap();
    g.outputs.push(Output { name: "y".into(), value: y });
    assert_eq!(verify(&g), Ok(()));
    (g, x, b, sum)
}

/// Breaks a sound graph and expects the named rules to tell, at least.
fn broken(rules: &[&str], breaking: impl FnOnce(&mut Graph, Value, Value, NodeId)) {
    let (mut g, x, b, sum) = sound();
    breaking(&mut g, x, b, sum);
    let told: BTreeSet<_> = verify(&g).unwrap_err().iter().map(|v| v.rule).collect();
    for rule in rules {
        assert!(told.contains(rule), "{rule} is silent; told: {told:?}");
    }
}

#[test]
fn every_rule_is_in_the_table() {
    let text = include_str!("../verify.rs");
    for (rule, _) in RULES {
        assert!(text.contains(&format!("//! | `{rule}` |")), "{rule}");
    }
}

#[test]
fn operands_must_exist() {
    broken(&["operands", "types"], |g, x, _, sum| {
        g.node_raw(sum).operands[1] = Value { node: x.node, result: 3 };
    });
}

#[test]
fn edges_must_be_operands() {
    broken(&["edges"], |g, x, _, sum| g.node_raw(sum).operands[1] = x);
}

#[test]
fn cycles_are_found() {
    broken(&["acyclic"], |g, _, _, sum| {
        let y = g.outputs[0].value;
        let mut node = g.node(sum).clone();
        node.operands[0] = y;
        g.replace_node(sum, node);
    });
}

#[test]
fn arity_counts_own_operands() {
    broken(&["arity"], |g, _, _, sum| g.node_raw(sum).arity = 4);
    broken(&["arity"], |g, _, _, sum| g.node_raw(sum).epilogue = None);
}

#[test]
fn epilogues_have_steps_that_read_their_operands() {
    broken(&["epilogue"], |g, _, _, sum| g.node_raw(sum).epilogue = Some(Epilogue::default()));
    broken(&["epilogue"], |g, _, _, sum| {
        let step = EpStep { op: Op::Unary(Unary::Relu), args: vec![EpArg::Acc] };
        g.node_raw(sum).epilogue = Some(Epilogue { steps: vec![step] });
    });
    broken(&["types"], |g, _, _, sum| {
        let step = EpStep { op: Op::Softmax { axis: 0 }, args: vec![EpArg::Acc] };
        g.node_raw(sum).epilogue.as_mut().unwrap().steps.push(step);
    });
    broken(&["types"], |g, _, _, sum| {
        let step = EpStep { op: Op::Unary(Unary::Relu), args: vec![EpArg::Step(1)] };
        g.node_raw(sum).epilogue.as_mut().unwrap().steps.push(step);
    });
}

#[test]
fn types_are_inferred_ones() {
    broken(&["types"], |g, _, _, sum| g.node_raw(sum).types[0] = TensorType::f32([4.into()]));
    broken(&["types"], |g, x, b, _| {
        let axes = vec![1, 0];
        let op = Op::Prelu { axes };
        g.add_node(Node {
            op,
            operands: vec![x, b],
            arity: 2,
            epilogue: None,
            types: vec![g.ty(x).clone()],
            name: None,
            provenance: Provenance::default(),
        });
    });
}

#[test]
fn sources_stand_alone() {
    broken(&["sources", "edges"], |g, x, b, _| g.node_raw(b.node).operands.push(x));
    broken(&["sources"], |g, _, b, _| g.node_raw(b.node).name = None);
}

#[test]
fn names_are_unique() {
    broken(&["inputs"], |g, _, _, _| {
        g.add_input("x", TensorType::f32([]));
    });
    broken(&["inputs"], |g, _, _, _| {
        let node = g.node(g.inputs()[0]).clone();
        g.add_node(Node { name: Some("other".into()), ..node });
    });
    broken(&["params"], |g, _, _, _| {
        g.add_param("b", TensorType::f32([]), Source::Init(Init::constant(0.0)));
    });
}

#[test]
fn literals_fill_their_shape() {
    broken(&["literals"], |g, _, b, _| {
        let mut literal = Literal::f32(&[4], &[0.0; 4]).unwrap();
        literal.shape[0] = 5;
        g.node_raw(b.node).op = Op::Param(Source::Data(literal));
    });
    broken(&["literals"], |g, _, b, _| {
        let literal = Literal::f32(&[2, 2], &[0.0; 4]).unwrap();
        g.node_raw(b.node).op = Op::Param(Source::Data(literal));
    });
}

#[test]
fn inits_are_finite() {
    broken(&["inits"], |g, _, b, _| {
        let init = Init { scale: Scalar(f64::NAN), ..Init::he_normal() };
        g.node_raw(b.node).op = Op::Param(Source::Init(init));
    });
}

#[test]
fn outputs_are_values() {
    broken(&["outputs"], |g, _, _, _| g.outputs.clear());
    broken(&["outputs"], |g, _, _, _| g.outputs[0].value.result = 1);
    broken(&["outputs"], |g, _, _, _| {
        let again = g.outputs[0].clone();
        g.outputs.push(again);
    });
}

#[test]
fn a_size_has_one_count() {
    broken(&["cuts"], |g, x, _, _| {
        for count in ["m", "n"] {
            let count = g.add_input(count, TensorType::new(crate::DType::I64, [1.into()]));
            g.push(Op::Cut { axis: 0, size: Dim::sym("K") }, &[x, count]).unwrap();
        }
    });
}

#[test]
fn facts_can_be_met() {
    let facts = |modulus, remainder, min, max| SymFacts { modulus, remainder, min, max };
    for bad in [facts(0, 0, 1, None), facts(4, 4, 1, None), facts(4, 0, 1, Some(3)), facts(1, 0, 5, Some(4))]
    {
        broken(&["facts"], |g, _, _, _| *g.facts.entry("N") = bad);
    }
}

#[test]
fn limits_hold() {
    broken(&["limits"], |g, x, _, _| {
        let node = Node {
            op: Op::Const(Scalar(0.0)),
            operands: vec![],
            arity: 0,
            epilogue: None,
            types: vec![TensorType::f32([])],
            name: None,
            provenance: Provenance::default(),
        };
        assert!(g.get(x.node).is_some());
        for _ in 0..MAX_NODES {
            g.add_node(node.clone());
        }
    });
}
