//! Work that changes nothing.

use super::super::rule::{Cx, Found, Holds::Exact, Rule, class};
use super::super::term::Term;
use super::rule;
use crate::identities::identity;
use rectify_ir::op::{Op, Unary};
use rectify_ir::types::TensorType;

const SOMETIMES_IDENTITY: &[&str] = &[
    "reshape",
    "transpose",
    "slice",
    "pad",
    "concat",
    "resize",
    "max_pool",
    "avg_pool",
    "reduce_sum",
    "reduce_mean",
    "reduce_max",
    "reduce_min",
    "depth_to_space",
    "leaky_relu",
    "clip",
    "prelu",
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "dropout",
    "map",
];

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("drop-identity",         SOMETIMES_IDENTITY,              Exact, drop_identity),
    rule("rectifier-of-positive", &["relu", "leaky_relu", "prelu", "abs"], Exact, rectifier_of_positive),
    rule("clip-within-range",     &["clip"],                       Exact, clip_within_range),
    rule("clip-of-clip",          &["clip", "relu"],               Exact, clip_of_clip),
    rule("neg-of-neg",            &["neg"],                        Exact, neg_of_neg),
];

fn drop_identity(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let types: Vec<&TensorType> = term.args.iter().map(|a| cx.ty(*a)).collect();
    let number = |i: usize| term.args.get(i).filter(|a| !cx.is_start(**a)).and_then(|a| cx.facts(*a).value);
    if let Some(i) = identity(cx.op(term), &types, cx.ty(cx.root), &number) {
        found.propose(class(term.args[i]), &[]);
    }
}

/// relu(x), prelu(x), |x| → x where x has no element below 0.
fn rectifier_of_positive(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    // At 0 a slope of inf would give NaN, so the operand's own zeros must not meet it.
    let plain = if let Op::Unary(Unary::LeakyRelu { alpha }) = cx.op(term) {
        alpha.0.is_finite()
    } else {
        let slope = term.args.get(1).map(|slope| cx.facts(*slope).range);
        slope.is_none_or(|range| range.is_some_and(|(l, h)| l.is_finite() && h.is_finite()))
    };
    if plain && cx.facts(term.args[0]).is_non_negative() {
        found.propose(class(term.args[0]), &[]);
    }
}

fn clip_within_range(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    if let (Op::Unary(Unary::Clip { min, max }), Some((low, high))) =
        (cx.op(term), cx.facts(term.args[0]).range)
        && min.0 <= low
        && high <= max.0
    {
        found.propose(class(term.args[0]), &[]);
    }
}

/// The bounds of a clip or relu.
fn bounds(op: &Op) -> Option<(f64, f64)> {
    if let Op::Unary(Unary::Clip { min, max }) = op {
        return (min.0 <= max.0).then_some((min.0, max.0));
    }
    matches!(op, Op::Unary(Unary::Relu)).then_some((0.0, f64::INFINITY))
}

fn clip_of_clip(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Some((low, high)) = bounds(cx.op(term)) else { return };
    for inner in cx.terms(term.args[0], "clip").chain(cx.terms(term.args[0], "relu")) {
        let Some((a, b)) = bounds(cx.op(inner)) else { continue };
        let (min, max) = (a.clamp(low, high), b.clamp(low, high));
        let op = if (min, max) == (0.0, f64::INFINITY) {
            Unary::Relu
        } else {
            Unary::Clip { min: min.into(), max: max.into() }
        };
        found.propose(super::super::rule::unary(op, class(inner.args[0])), &[inner]);
    }
}

fn neg_of_neg(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in cx.terms(term.args[0], "neg") {
        found.propose(class(inner.args[0]), &[inner]);
    }
}
