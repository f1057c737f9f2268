//! Solving for sizes, and putting them in.

use super::*;
use crate::graph::Output;
use crate::op::{Attrs, PoolAttrs, Source};
use crate::verify::verify;
use crate::{DimFacts, init::Init};

fn input(g: &mut Graph, name: &str, dims: &[&str]) -> crate::Value {
    let shape: Vec<_> = dims.iter().map(|d| Dim::parse(d).unwrap()).collect();
    g.add_input(name, TensorType::f32(shape))
}

fn shapes(list: &[(&str, &[i64])]) -> BTreeMap<String, Vec<i64>> {
    list.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect()
}

fn two_inputs() -> Graph {
    let mut g = Graph::new("t");
    let a = input(&mut g, "a", &["N", "2*H + 1"]);
    input(&mut g, "b", &["N", "H*N"]);
    g.outputs.push(Output { name: "y".into(), value: a });
    g
}

fn solved(a: &[i64], b: &[i64]) -> Result<Bindings, String> {
    solve(&two_inputs(), &shapes(&[("a", a), ("b", b)])).map_err(|e| e.to_string())
}

#[test]
fn sizes_are_solved() {
    let values = solved(&[3, 9], &[3, 12]).unwrap();
    assert_eq!(values, Bindings::from([("N".into(), 3), ("H".into(), 4)]));
}

#[test]
fn disagreements_name_both_places() {
    assert_eq!(
        solved(&[3, 9], &[5, 12]).unwrap_err(),
        "N is 3 by axis 0 of `a` [N, 2*H + 1], but 5 by axis 0 of `b` [N, H*N]"
    );
    assert_eq!(
        solved(&[3, 8], &[3, 12]).unwrap_err(),
        "the input `a` is f32[N, 2*H + 1], but the given shape is [3, 8]: axis 1 must be 2*H + 1, which no H makes 8"
    );
    assert_eq!(
        solved(&[3, 9], &[3, 13]).unwrap_err(),
        "the input `b` is f32[N, H*N], but the given shape is [3, 13]: axis 1 must be H*N = 12"
    );
    assert_eq!(
        solved(&[3], &[3, 12]).unwrap_err(),
        "the input `a` is f32[N, 2*H + 1], of rank 2, but the given shape [3] has rank 1"
    );
    let g = two_inputs();
    assert_eq!(
        solve(&g, &shapes(&[("a", &[1, 3])])).unwrap_err().to_string(),
        "the input `b` is missing: it is f32[N, H*N]"
    );
    assert_eq!(
        solve(&g, &shapes(&[("c", &[1, 3])])).unwrap_err().to_string(),
        "the model has no input `c`; its inputs are a, b"
    );
}

#[test]
fn names_without_a_single_place_are_unbound() {
    let mut g = Graph::new("t");
    let a = input(&mut g, "a", &["N + M"]);
    g.outputs.push(Output { name: "y".into(), value: a });
    let e = solve(&g, &shapes(&[("a", &[4])])).unwrap_err();
    assert!(matches!(e, BindError::Unbound { .. }), "{e}");
}

#[test]
fn attributes_and_padding_are_bound() {
    let mut g = Graph::new("t");
    let x = input(&mut g, "x", &["N", "2", "H"]);
    let weight =
        g.add_param("w", TensorType::f32([4.into(), 2.into(), 3.into()]), Source::Init(Init::he_normal()));
    let conv =
        crate::op::ConvAttrs { stride: vec![2], pad: Padding::SameUpper, dilation: vec![1], groups: 1 };
    let y = g.push(Op::Conv(conv), &[x, weight]).unwrap();
    let pool = PoolAttrs {
        kernel: vec![2],
        stride: vec![2],
        pad: Padding::SameLower,
        dilation: vec![1],
        ceil: true,
    };
    let y = g.push(Op::MaxPool(pool), &[y]).unwrap();
    let flat = Op::build("flatten", &Attrs::new(), &[g.ty(y)], &DimFacts::default()).unwrap();
    let z = g.push(flat, &[y]).unwrap();
    g.outputs.push(Output { name: "z".into(), value: z });

    let bound = bind(&g, &Bindings::from([("N".into(), 1), ("H".into(), 6)])).unwrap();
    verify(&bound).unwrap();
    assert!(symbols(&bound).is_empty());
    assert_eq!(bound.ty(z).to_string(), "f32[1, 8]");
    let conv_pad = match &bound.node(g.node(y.node).operands[0].node).op {
        Op::Conv(a) => a.pad.clone(),
        _ => panic!("no convolution"),
    };
    assert_eq!(conv_pad, Padding::Explicit(vec![0, 1]));
    let pool_pad = match &bound.node(y.node).op {
        Op::MaxPool(a) => (a.pad.clone(), a.ceil),
        _ => panic!("no pool"),
    };
    assert_eq!(pool_pad, (Padding::Explicit(vec![1, 0]), false));
}

#[test]
fn wrong_values_are_errors() {
    let mut g = two_inputs();
    g.facts.entry("H").modulus = 4;
    let bind_text = |pairs: &[(&str, i64)]| {
        let values = pairs.iter().map(|(n, v)| (n.to_string(), *v)).collect();
        bind(&g, &values).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(bind_text(&[("N", 1), ("H", 4)]), Ok(()));
    assert_eq!(bind_text(&[("N", 1)]).unwrap_err(), "no value for H: give it, for example `--set H=1`");
    assert_eq!(
        bind_text(&[("N", 1), ("H", 4), ("Q", 1)]).unwrap_err(),
        "the model has no dimension Q; its dimensions are H, N"
    );
    assert!(bind_text(&[("N", 1), ("H", 6)]).unwrap_err().contains("H % 4 == 0 is required"));
    assert!(bind_text(&[("N", 0), ("H", 4)]).unwrap_err().contains("at least 1"));
}

#[test]
fn a_window_that_no_longer_fits_is_an_error() {
    let mut g = Graph::new("t");
    let x = input(&mut g, "x", &["1", "1", "H"]);
    let pool = PoolAttrs {
        kernel: vec![3],
        stride: vec![1],
        pad: Padding::Explicit(vec![0, 0]),
        dilation: vec![1],
        ceil: false,
    };
    let y = g.push_named(Op::MaxPool(pool), &[x], Some("head".into())).unwrap();
    g.outputs.push(Output { name: "y".into(), value: y });
    let e = bind(&g, &Bindings::from([("H".into(), 2)])).unwrap_err().to_string();
    assert!(e.starts_with("with these sizes, max_pool `head`: the window of max_pool spans 3"), "{e}");
}
