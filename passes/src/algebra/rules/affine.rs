//! Scales and shifts by parameters: batch norm taken apart, and absorbed by the convolution or dense layer beside it.
//!
//! Parameters are never computed here: products and sums of parameters are derivations, evaluated when weights are
//! packed. The trap: a shift before a convolution that pads with zeros does not reach those zeros.

use super::super::factor::Factor;
use super::super::rule::{
    Cx, Expr, Found, Holds::Exact, Holds::Finite, Rule, add, apply, class, mul, number, reshape, unary,
};
use super::super::term::Term;
use super::rule;
use crate::log::Reason;
use egg::Id;
use rectify_ir::Dim;
use rectify_ir::op::{Binary, Op, Padding, ReduceKind, Unary};

const CONTRACTIONS: &[&str] = &["conv", "conv_transpose", "dense"];

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("batch-norm-as-affine",     &["batch_norm"], Finite, batch_norm_as_affine),
    rule("conv-absorb-scale",        &["mul"],        Finite, absorb_scale),
    rule("conv-absorb-shift",        &["add"],        Finite, absorb_shift),
    rule("conv-absorb-input-scale",  CONTRACTIONS,    Finite, absorb_input_scale),
    rule("conv-absorb-input-shift",  CONTRACTIONS,    Finite, absorb_input_shift),
    rule("drop-zero-bias",           CONTRACTIONS,    Exact,  drop_zero_bias),
    rule("scale-of-scale",           &["mul"],        Finite, scale_of_scale),
    rule("shift-of-shift",           &["add"],        Finite, shift_of_shift),
    rule("scale-of-shift",           &["mul"],        Finite, scale_of_shift),
];

/// True where a factor could be merged into what computes the class.
pub(super) fn absorbs(cx: &Cx<'_>, class: Id) -> bool {
    cx.has(class, CONTRACTIONS)
        || ["mul", "add"]
            .iter()
            .flat_map(|tag| cx.terms(class, tag))
            .any(|t| cx.facts(t.args[1]).param_only && cx.ty(t.args[0]) == cx.ty(class))
}

/// True where the class is a contraction behind scales and shifts by parameters, so that these go into it.
fn ends_in_contraction(cx: &Cx<'_>, class: Id, depth: usize) -> bool {
    if cx.single(class).is_err() {
        return false;
    }
    let behind = |t: &Term| {
        depth > 0
            && cx.facts(t.args[1]).param_only
            && cx.ty(t.args[0]) == cx.ty(class)
            && ends_in_contraction(cx, t.args[0], depth - 1)
    };
    cx.has(class, CONTRACTIONS) || ["mul", "add"].iter().flat_map(|tag| cx.terms(class, tag)).any(behind)
}

/// (x - mean) / √(var + eps) · scale + shift → x · a + (shift - mean · a) with a = scale / √(var + eps).
fn batch_norm_as_affine(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::BatchNorm { eps } = cx.op(term) else { return };
    let [x, scale, shift, mean, var] = *term.args else { return };
    if ![scale, shift, mean, var].iter().all(|p| cx.facts(*p).param_only) {
        return found.refuse(Reason::UnknownFactor);
    }
    let Some(channels) = cx.ty(scale).shape.first().cloned() else { return };
    let deviation = unary(Unary::Sqrt, add(class(var), number(eps.0)));
    let a = Expr::Apply(Op::Binary(Binary::Div), vec![class(scale), deviation]);
    let moved = mul(class(mean), a.clone());
    let b = Expr::Apply(Op::Binary(Binary::Sub), vec![class(shift), moved]);
    let mut shape = vec![Dim::Const(1); cx.ty(x).rank() - 1];
    shape[0] = channels;
    let scaled = mul(class(x), reshape(a, shape.clone()));
    found.propose(add(scaled, reshape(b, shape)), &[]);
}

/// The axis of channels in the result of a contraction.
fn channel_axis(cx: &Cx<'_>, contraction: &Term, x: Id) -> usize {
    if matches!(cx.op(contraction), Op::Dense) { cx.ty(x).rank() - 1 } else { 1 }
}

/// Contractions with parameters as weights that alone compute `x`, for an elementwise parameter operand `p`.
fn absorbing<'a>(cx: &'a Cx<'_>, term: &Term, found: &mut Found) -> Vec<(&'a Term, Factor)> {
    let (x, p) = (term.args[0], term.args[1]);
    if !cx.facts(p).param_only || cx.ty(x) != cx.ty(cx.root) {
        return vec![];
    }
    let mut all = Vec::new();
    for conv in CONTRACTIONS.iter().flat_map(|tag| cx.terms(x, tag)) {
        let factor = Factor::of(cx, p, cx.ty(x), channel_axis(cx, conv, x));
        let weights = conv.args[1..].iter().all(|a| cx.facts(*a).param_only);
        let weights = if weights { Ok(()) } else { Err(Reason::UnknownFactor) };
        if let Some(factor) = found.need(cx.single(x).and(weights).and(factor)) {
            all.push((conv, factor));
        }
    }
    all
}

fn absorb_scale(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (conv, factor) in absorbing(cx, term, found) {
        let Some(weight) = scaled_outputs(cx, conv, &factor) else { continue };
        let mut args = vec![class(conv.args[0]), weight];
        if let Some(bias) = conv.args.get(2) {
            args.push(mul(class(*bias), factor.vector()));
        }
        found.propose(apply(cx.op(conv), args), &[conv]);
    }
}

/// The weight with each output channel scaled.
fn scaled_outputs(cx: &Cx<'_>, conv: &Term, factor: &Factor) -> Option<Expr> {
    let (weight, ty) = (conv.args[1], cx.ty(conv.args[1]));
    if let Op::ConvTranspose(a) = cx.op(conv) {
        return grouped(class(weight), &ty.shape, a.groups, 0, 1, factor);
    }
    Some(mul(class(weight), factor.along(0, ty.rank())))
}

/// Scales the weight along channel axis `inner`, whose channels are those of one group; the group is the slow part of
/// axis `outer`.
fn grouped(
    weight: Expr,
    shape: &[Dim],
    groups: i64,
    outer: usize,
    inner: usize,
    factor: &Factor,
) -> Option<Expr> {
    let rank = shape.len();
    if groups == 1 || !factor.per_channel || factor.value.is_some() {
        return Some(mul(weight, factor.along(inner, rank)));
    }
    // [.., outer, ..] → [.., groups, outer / groups, ..], which moves `inner` by one if it comes later.
    let mut split = shape.to_vec();
    let size = shape[outer].as_const()?;
    split[outer] = Dim::Const(size / groups);
    split.insert(outer, Dim::Const(groups));
    let mut factors = vec![1; rank + 1];
    factors[outer] = groups;
    factors[if inner > outer { inner + 1 } else { inner }] = factor.channels / groups;
    let scaled = mul(reshape(weight, split), factor.shaped(factors));
    Some(reshape(scaled, shape.to_vec()))
}

fn absorb_shift(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (conv, factor) in absorbing(cx, term, found) {
        let mut args: Vec<Expr> = conv.args.iter().map(|a| class(*a)).collect();
        match (args.pop(), conv.args.len(), factor.full_vector()) {
            (Some(bias), 3, _) => args.push(add(bias, factor.vector())),
            (Some(weight), _, Some(shift)) => args.extend([weight, shift]),
            _ => {
                found.refuse(Reason::NoBias);
                continue;
            }
        }
        found.propose(apply(cx.op(conv), args), &[conv]);
    }
}

/// Elementwise parameter operands of what a contraction reads: conv(x · s) or conv(x + t). Where the layer before can
/// take them they go there: both ways at once would only multiply the number of equal terms.
fn inputs<'a>(cx: &'a Cx<'_>, conv: &Term, tag: &'static str, found: &mut Found) -> Vec<(&'a Term, Factor)> {
    let input = conv.args[0];
    let mut all = Vec::new();
    for inner in cx.terms(input, tag) {
        let (x, p) = (inner.args[0], inner.args[1]);
        let params = cx.facts(p).param_only && cx.facts(conv.args[1]).param_only;
        if !params || cx.ty(x) != cx.ty(input) || ends_in_contraction(cx, x, 4) {
            continue;
        }
        let factor = Factor::of(cx, p, cx.ty(x), channel_axis(cx, conv, x));
        if let Some(factor) = found.need(cx.single(input).and(factor)) {
            all.push((inner, factor));
        }
    }
    all
}

/// The weight with each input channel scaled.
fn scaled_inputs(cx: &Cx<'_>, conv: &Term, factor: &Factor) -> Option<Expr> {
    let (weight, ty) = (conv.args[1], cx.ty(conv.args[1]));
    if let Op::Conv(a) = cx.op(conv) {
        return grouped(class(weight), &ty.shape, a.groups, 0, 1, factor);
    }
    let axis = if matches!(cx.op(conv), Op::ConvTranspose(_)) { 0 } else { 1 };
    Some(mul(class(weight), factor.along(axis, ty.rank())))
}

fn absorb_input_scale(cx: &Cx<'_>, conv: &Term, found: &mut Found) {
    for (inner, factor) in inputs(cx, conv, "mul", found) {
        let Some(weight) = scaled_inputs(cx, conv, &factor) else { continue };
        let mut args: Vec<Expr> = conv.args.iter().map(|a| class(*a)).collect();
        (args[0], args[1]) = (class(inner.args[0]), weight);
        found.propose(apply(cx.op(conv), args), &[inner]);
    }
}

/// conv(x + t) → conv(x) with the bias raised by Σ w · t.
fn absorb_input_shift(cx: &Cx<'_>, conv: &Term, found: &mut Found) {
    for (inner, factor) in inputs(cx, conv, "add", found) {
        let whole = if let Op::Conv(a) = cx.op(conv) {
            if is_unpadded(&a.pad) { Ok(()) } else { Err(Reason::PaddedConvolution) }
        } else if matches!(cx.op(conv), Op::Dense) {
            Ok(())
        } else {
            Err(Reason::TransposedBorder)
        };
        if found.need(whole).is_none() {
            continue;
        }
        let Some(weighted) = scaled_inputs(cx, conv, &factor) else { continue };
        let axes = (1..cx.ty(conv.args[1]).rank()).collect();
        let sum = Expr::Apply(Op::Reduce { kind: ReduceKind::Sum, axes, keep: false }, vec![weighted]);
        let bias = match conv.args.get(2) {
            Some(bias) => add(class(*bias), sum),
            None => sum,
        };
        let args = vec![class(inner.args[0]), class(conv.args[1]), bias];
        found.propose(apply(cx.op(conv), args), &[inner]);
    }
}

fn is_unpadded(pad: &Padding) -> bool {
    matches!(pad, Padding::Explicit(p) if p.iter().all(|p| *p == 0))
}

fn drop_zero_bias(cx: &Cx<'_>, conv: &Term, found: &mut Found) {
    if let [x, weight, bias] = *conv.args
        && cx.facts(bias).value == Some(0.0)
        && !cx.is_start(bias)
    {
        found.propose(apply(cx.op(conv), vec![class(x), class(weight)]), &[]);
    }
}

/// Terms x ∘ p of this tag in the class of the first operand, where x is as large as the result, once only read.
fn chain<'a>(cx: &'a Cx<'_>, term: &Term, tag: &'static str, found: &mut Found) -> Vec<&'a Term> {
    let (x, p) = (term.args[0], term.args[1]);
    if !cx.facts(p).param_only || cx.ty(x) != cx.ty(cx.root) || cx.facts(x).param_only {
        return vec![];
    }
    let inner: Vec<_> =
        cx.terms(x, tag).filter(|t| cx.facts(t.args[1]).param_only && cx.ty(t.args[0]) == cx.ty(x)).collect();
    if inner.is_empty() || found.need(cx.single(x)).is_none() { vec![] } else { inner }
}

fn scale_of_scale(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in chain(cx, term, "mul", found) {
        let factor = mul(class(inner.args[1]), class(term.args[1]));
        found.propose(mul(class(inner.args[0]), factor), &[inner]);
    }
}

fn shift_of_shift(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in chain(cx, term, "add", found) {
        let shift = add(class(inner.args[1]), class(term.args[1]));
        found.propose(add(class(inner.args[0]), shift), &[inner]);
    }
}

/// (x + t) · s → x · s + t · s, where x can absorb the factor.
fn scale_of_shift(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in chain(cx, term, "add", found) {
        if absorbs(cx, inner.args[0]) {
            let s = class(term.args[1]);
            let shift = mul(class(inner.args[1]), s.clone());
            found.propose(add(mul(class(inner.args[0]), s), shift), &[inner]);
        }
    }
}
