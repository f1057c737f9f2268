//! Functions that exporters spell out with other operations, recognised.
//!
//! `canonicalise` has brought numbers to the right side of sums and products before; where they stand in a product of
//! several factors depends on what else is there, so they are looked for at each of them.

use super::super::rule::{Cx, Found, Holds::Finite, Rule, class, unary};
use super::super::term::Term;
use super::rule;
use egg::Id;
use rectify_ir::op::{Op, Unary};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("sigmoid-from-exp",       &["reciprocal", "div"], Finite, sigmoid),
    rule("softplus-from-log",      &["log"],               Finite, softplus),
    rule("hard-sigmoid-from-clip", &["mul"],               Finite, hard_sigmoid),
    rule("hard-swish-from-parts",  &["mul"],               Finite, hard_swish),
    rule("silu-from-sigmoid",      &["mul"],               Finite, silu),
    rule("gelu-from-erf",          &["mul"],               Finite, gelu_erf),
    rule("gelu-from-tanh",         &["mul"],               Finite, gelu_tanh),
];

/// Numbers are those of a file in f32, or quotients of such.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs()
}

/// The number that the model gives for every element of the class.
fn number_of(cx: &Cx<'_>, id: Id) -> Option<f64> {
    cx.facts(id).value.filter(|_| cx.facts(id).given)
}

/// Terms of the class that apply `tag` to something and a number: what, and the number. The type must stay, so that the
/// number broadcasts nothing.
fn with_number<'b>(
    cx: &'b Cx<'_>,
    id: Id,
    tag: &'static str,
) -> impl Iterator<Item = (Id, f64, &'b Term)> + 'b {
    cx.terms(id, tag)
        .filter(move |t| cx.ty(t.args[0]) == cx.ty(id))
        .filter_map(|t| Some((t.args[0], number_of(cx, t.args[1])?, t)))
}

/// Ways to see the class as something times a number; itself times 1 first.
fn scaled(cx: &Cx<'_>, id: Id) -> Vec<(Id, f64)> {
    let mut all = vec![(id, 1.0)];
    all.extend(with_number(cx, id, "mul").map(|(x, c, _)| (x, c)));
    // A division by a number stays where the number is no parameter of the model.
    all.extend(with_number(cx, id, "div").filter(|(_, c, _)| *c != 0.0).map(|(x, c, _)| (x, 1.0 / c)));
    all
}

/// Ways to see a product as two factors and a number, in both orders.
fn products(cx: &Cx<'_>, root: &Term) -> Vec<(Id, Id, f64)> {
    let mut all = Vec::new();
    let mut pair = |t: &Term, outer: f64| {
        for (a, c) in scaled(cx, t.args[0]) {
            for (b, d) in scaled(cx, t.args[1]) {
                all.push((a, b, outer * c * d));
                all.push((b, a, outer * c * d));
            }
        }
    };
    pair(root, 1.0);
    if let Some(c) = number_of(cx, root.args[1]) {
        for inner in cx.terms(root.args[0], "mul") {
            pair(inner, c);
        }
    }
    all
}

/// x such that the class is x + c.
fn plus(cx: &Cx<'_>, id: Id, c: f64) -> Vec<Id> {
    with_number(cx, id, "add").filter(|(_, v, _)| close(*v, c)).map(|(x, _, _)| x).collect()
}

/// Proposes the function of `x` once.
fn propose(cx: &Cx<'_>, found: &mut Found, u: Unary, x: Id) {
    if found.proposals.is_empty() && cx.ty(x) == cx.ty(cx.root) {
        found.propose(unary(u, class(x)), &[]);
    }
}

/// 1 / (1 + exp(−x))
fn sigmoid(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let below = match &term.args[..] {
        [below] => *below,
        [one, below] if number_of(cx, *one) == Some(1.0) => *below,
        _ => return,
    };
    for exp in plus(cx, below, 1.0).into_iter().flat_map(|sum| cx.terms(sum, "exp").collect::<Vec<_>>()) {
        for negated in cx.terms(exp.args[0], "neg") {
            propose(cx, found, Unary::Sigmoid, negated.args[0]);
        }
        for (x, c) in scaled(cx, exp.args[0]) {
            if c == -1.0 {
                propose(cx, found, Unary::Sigmoid, x);
            }
        }
    }
}

/// ln(1 + exp(x))
fn softplus(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for sum in plus(cx, term.args[0], 1.0) {
        for exp in cx.terms(sum, "exp") {
            propose(cx, found, Unary::Softplus, exp.args[0]);
        }
    }
}

/// x such that the class is clip(x + 3, 0, 6).
fn clipped(cx: &Cx<'_>, id: Id) -> Vec<Id> {
    let is_six =
        |t: &&Term| matches!(cx.op(t), Op::Unary(Unary::Clip { min, max }) if min.0 == 0.0 && max.0 == 6.0);
    cx.terms(id, "clip").filter(is_six).flat_map(|t| plus(cx, t.args[0], 3.0)).collect()
}

/// clip(x + 3, 0, 6) / 6
fn hard_sigmoid(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    if number_of(cx, term.args[1]).is_some_and(|c| close(c, 1.0 / 6.0)) {
        for x in clipped(cx, term.args[0]) {
            propose(cx, found, Unary::HardSigmoid { alpha: (1.0 / 6.0).into(), beta: 0.5.into() }, x);
        }
    }
}

/// x · clip(x + 3, 0, 6) / 6, or x · hard_sigmoid(x) with the slope of 1/6.
fn hard_swish(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let is_gate = |t: &&Term| matches!(cx.op(t), Op::Unary(Unary::HardSigmoid { alpha, beta }) if close(alpha.0, 1.0 / 6.0) && close(beta.0, 0.5));
    for (x, gate, c) in products(cx, term) {
        let six = close(c, 1.0 / 6.0) && clipped(cx, gate).iter().any(|y| cx.same(*y, x));
        let one = c == 1.0 && cx.terms(gate, "hard_sigmoid").filter(is_gate).any(|t| cx.same(t.args[0], x));
        if six || one {
            propose(cx, found, Unary::HardSwish, x);
        }
    }
}

/// x · sigmoid(x)
fn silu(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (x, gate, c) in products(cx, term) {
        if c == 1.0 && cx.terms(gate, "sigmoid").any(|t| cx.same(t.args[0], x)) {
            propose(cx, found, Unary::Silu, x);
        }
    }
}

/// ½ x (1 + erf(x / √2))
fn gelu_erf(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (x, factor, c) in products(cx, term) {
        if !close(c, 0.5) {
            continue;
        }
        for erf in plus(cx, factor, 1.0).into_iter().flat_map(|sum| cx.terms(sum, "erf").collect::<Vec<_>>())
        {
            let own = |(y, c): (Id, f64)| cx.same(y, x) && close(c, FRAC_1_SQRT_2);
            if scaled(cx, erf.args[0]).into_iter().any(own) {
                propose(cx, found, Unary::Gelu { tanh: false }, x);
            }
        }
    }
}

/// ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))
fn gelu_tanh(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (x, factor, c) in products(cx, term) {
        if !close(c, 0.5) {
            continue;
        }
        for tanh in
            plus(cx, factor, 1.0).into_iter().flat_map(|sum| cx.terms(sum, "tanh").collect::<Vec<_>>())
        {
            if is_cubic(cx, tanh.args[0], x) {
                propose(cx, found, Unary::Gelu { tanh: true }, x);
            }
        }
    }
}

/// True where the class is √(2/π) (x + 0.044715 x³), or √(2/π) x (1 + 0.044715 x²).
fn is_cubic(cx: &Cx<'_>, id: Id, x: Id) -> bool {
    let outer = (2.0 / PI).sqrt();
    let small = |id: Id, n: u32| coefficient(cx, id, x, n).is_some_and(|c| close(c, 0.044_715));
    let sum = |id: Id| {
        cx.terms(id, "add").any(|t| {
            let pairs = [(t.args[0], t.args[1]), (t.args[1], t.args[0])];
            pairs.into_iter().any(|(a, b)| cx.same(a, x) && small(b, 3))
        })
    };
    let stretched = |t: &Term| {
        let is_stretch = |y: Id| plus(cx, y, 1.0).into_iter().any(|part| small(part, 2));
        products(cx, t).into_iter().any(|(a, b, c)| close(c, outer) && cx.same(a, x) && is_stretch(b))
    };
    cx.terms(id, "mul").any(stretched) || scaled(cx, id).into_iter().any(|(y, c)| close(c, outer) && sum(y))
}

/// c such that the class is c · xⁿ, as a power or as products.
fn coefficient(cx: &Cx<'_>, id: Id, x: Id, n: u32) -> Option<f64> {
    scaled(cx, id).into_iter().find_map(|(y, c)| {
        if n == 1 {
            return cx.same(y, x).then_some(c);
        }
        let power = |t: &Term| cx.same(t.args[0], x) && number_of(cx, t.args[1]) == Some(n.into());
        if cx.terms(y, "pow").any(power) {
            return Some(c);
        }
        let product = |t: &Term| {
            let pairs = [(t.args[0], t.args[1]), (t.args[1], t.args[0])];
            pairs
                .into_iter()
                .find_map(|(a, b)| Some(coefficient(cx, a, x, 1)? * coefficient(cx, b, x, n - 1)?))
        };
        cx.terms(y, "mul").find_map(product).map(|d| c * d)
    })
}
