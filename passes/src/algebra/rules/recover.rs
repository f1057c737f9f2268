//! PReLU spelled out with other operations, recognised.
//!
//! `canonicalise` has turned `max(x, 0)` into a relu and `min(x, 0)` into a clip before.

use super::super::rule::{Cx, Expr, Found, Holds::Finite, Rule, class, mul, number, unary};
use super::super::term::Term;
use super::rule;
use super::slopes::as_slope;
use crate::log::Reason;
use egg::Id;
use rectify_ir::op::{Op, Unary};

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("prelu-from-parts",  &["add", "sub"], Finite, from_parts),
    rule("prelu-from-max",    &["max"],        Finite, from_max),
    rule("prelu-from-select", &["select"],     Finite, from_select),
];

/// relu(x) + a · min(x, 0), relu(x) - a · relu(-x), relu(x) + a · (x - |x|) and their relatives.
fn from_parts(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let negate = term.tag() == "sub";
    for (positive, rest) in [(term.args[0], term.args[1]), (term.args[1], term.args[0])] {
        for relu in cx.terms(positive, "relu") {
            let x = relu.args[0];
            for (part, factor) in products(cx, rest) {
                let Some(below) = negative_part(cx, part, x) else { continue };
                let sign = if negate { -below } else { below };
                if let Some(expr) = prelu(cx, x, factor, sign) {
                    found.propose(expr, &[relu]);
                }
            }
        }
        if negate {
            break;
        }
    }
}

/// Ways to see a class as part · factor, the factor a parameter.
fn products(cx: &Cx<'_>, of: Id) -> Vec<(Id, Option<Id>)> {
    let mut all = vec![(of, None)];
    for product in cx.terms(of, "mul") {
        if cx.facts(product.args[1]).param_only && cx.ty(product.args[0]) == cx.ty(of) {
            all.push((product.args[0], Some(product.args[1])));
        }
    }
    all
}

/// c such that the class is c · min(x, 0).
fn negative_part(cx: &Cx<'_>, class: Id, x: Id) -> Option<f64> {
    let clips = cx.terms(class, "clip").any(|t| {
        matches!(cx.op(t), Op::Unary(Unary::Clip { min, max }) if min.0 == f64::NEG_INFINITY && max.0 == 0.0)
            && cx.same(t.args[0], x)
    });
    if clips {
        return Some(1.0);
    }
    // relu(-x) = -min(x, 0)
    let is_negated = |id: Id| cx.terms(id, "neg").any(|n| cx.same(n.args[0], x));
    if cx.terms(class, "relu").any(|t| is_negated(t.args[0])) {
        return Some(-1.0);
    }
    // -relu(-x)
    let twice = |id: Id| cx.terms(id, "relu").any(|t| is_negated(t.args[0]));
    if cx.terms(class, "neg").any(|t| twice(t.args[0])) {
        return Some(1.0);
    }
    // x - |x| = 2 · min(x, 0)
    let is_abs = |id: Id| cx.terms(id, "abs").any(|a| cx.same(a.args[0], x));
    if cx.terms(class, "sub").any(|t| cx.same(t.args[0], x) && is_abs(t.args[1])) {
        return Some(2.0);
    }
    None
}

/// The rectifier with slope `scale · factor`.
fn prelu(cx: &Cx<'_>, x: Id, factor: Option<Id>, scale: f64) -> Option<Expr> {
    let alpha = match factor {
        None => Some(scale),
        Some(f) => cx.facts(f).value.filter(|_| cx.facts(f).given).map(|v| v * scale),
    };
    if let Some(alpha) = alpha {
        return Some(unary(Unary::LeakyRelu { alpha: alpha.into() }, class(x)));
    }
    let (slope, axes) = as_slope(cx, factor?, x)?;
    let slope = if scale == 1.0 { slope } else { mul(slope, number(scale)) };
    Some(Expr::Apply(Op::Prelu { axes }, vec![class(x), slope]))
}

/// max(x, a · x) → prelu(x, a) for 0 <= a <= 1.
fn from_max(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (x, scaled) in [(term.args[0], term.args[1]), (term.args[1], term.args[0])] {
        for product in cx.terms(scaled, "mul") {
            if !cx.same(product.args[0], x) || !cx.facts(product.args[1]).param_only {
                continue;
            }
            match cx.facts(product.args[1]).range {
                None => found.refuse(Reason::UnknownFactor),
                Some((low, high)) if low < 0.0 || high > 1.0 => found.refuse(Reason::FactorOutside),
                Some(_) => {
                    if let Some(expr) = prelu(cx, x, Some(product.args[1]), 1.0) {
                        found.propose(expr, &[product]);
                    }
                }
            }
        }
    }
}

/// x > 0 ? x : a · x, with the condition either way round.
fn from_select(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let [condition, yes, no] = *term.args else { return };
    let zero = |id: Id| cx.facts(id).value == Some(0.0) && cx.facts(id).given;
    let above = |x: Id, t: &Term| zero(t.args[0]) && cx.same(t.args[1], x);
    let below = |x: Id, t: &Term| zero(t.args[1]) && cx.same(t.args[0], x);
    let holds = |test: &dyn Fn(&Term) -> bool| {
        ["less", "less_equal"].iter().any(|tag| cx.terms(condition, tag).any(test))
    };
    for (x, scaled, of_x) in [(yes, no, &above as &dyn Fn(Id, &Term) -> bool), (no, yes, &below)] {
        if cx.ty(x) != cx.ty(cx.root) || !holds(&|t| of_x(x, t)) {
            continue;
        }
        for (part, factor) in products(cx, scaled) {
            if factor.is_some()
                && cx.same(part, x)
                && let Some(expr) = prelu(cx, x, factor, 1.0)
            {
                found.propose(expr, &[]);
            }
        }
    }
}
