//! Rectifiers as slopes: equal slopes, slopes of slopes, scales and pools that change places with rectifiers.

use super::super::factor::Factor;
use super::super::rule::{
    Cx, Expr, Found, Holds::Exact, Holds::Finite, Rule, apply, class, mul, number, unary,
};
use super::super::term::Term;
use super::rule;
use crate::log::Reason;
use egg::Id;
use rectify_ir::Dim;
use rectify_ir::op::{Op, ReduceKind, Unary};

const RECTIFIERS: &[&str] = &["relu", "leaky_relu", "prelu"];
const POOLS: &[&str] = &["max_pool", "reduce_max", "spp"];

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("prelu-equal-slopes",       &["prelu"],               Exact,  equal_slopes),
    rule("prelu-slope-zero",         &["prelu", "leaky_relu"], Finite, slope_zero),
    rule("prelu-of-prelu",           RECTIFIERS,               Finite, rectifier_of_rectifier),
    rule("scale-through-prelu",      &["mul"],                 Finite, scale_through_rectifier),
    rule("max-pool-before-relu",     POOLS,                    Exact,  pool_before_clip),
    rule("max-pool-before-prelu",    POOLS,                    Finite, pool_before_prelu),
];

/// The slope of a rectifier.
#[derive(Clone)]
enum Slope {
    Number(f64),
    /// The slope operand and its axes.
    Param(Id, Vec<usize>),
}

impl Slope {
    fn of(cx: &Cx<'_>, term: &Term) -> Option<Slope> {
        let op = cx.op(term);
        if let Op::Prelu { axes } = op {
            return Some(match cx.facts(term.args[1]).value {
                Some(v) => Slope::Number(v),
                None => Slope::Param(term.args[1], axes.clone()),
            });
        }
        if let Op::Unary(Unary::LeakyRelu { alpha }) = op {
            return Some(Slope::Number(alpha.0));
        }
        matches!(op, Op::Unary(Unary::Relu)).then_some(Slope::Number(0.0))
    }

    fn range(&self, cx: &Cx<'_>) -> Option<(f64, f64)> {
        match self {
            Slope::Number(v) => Some((*v, *v)),
            Slope::Param(class, _) => cx.facts(*class).range,
        }
    }
}

/// The rectifier of a constant slope.
fn leaky(alpha: f64, x: Expr) -> Expr {
    if alpha == 0.0 { unary(Unary::Relu, x) } else { unary(Unary::LeakyRelu { alpha: alpha.into() }, x) }
}

/// A slope that the model gives as one number needs no operand. A slope that merely starts as one number stays: it
/// costs the same in registers, and the parameter keeps its place in the graph.
fn equal_slopes(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let slope = cx.facts(term.args[1]);
    if let Some(v) = slope.value.filter(|v| slope.given && *v != 0.0) {
        found.propose(unary(Unary::LeakyRelu { alpha: v.into() }, class(term.args[0])), &[]);
    }
}

fn slope_zero(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    if let Some(Slope::Number(0.0)) = Slope::of(cx, term) {
        found.propose(unary(Unary::Relu, class(term.args[0])), &[]);
    }
}

/// The outer rectifier sees a · x below 0: with a >= 0 that is below 0 too and the slopes multiply, else it is above 0
/// and the outer one does nothing.
fn rectifier_of_rectifier(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Some(outer) = Slope::of(cx, term) else { return };
    for inner in RECTIFIERS.iter().flat_map(|tag| cx.terms(term.args[0], tag)) {
        let Some(slope) = Slope::of(cx, inner) else { continue };
        let x = class(inner.args[0]);
        match slope.range(cx) {
            None => found.refuse(Reason::UnknownFactor),
            Some((_, high)) if high < 0.0 => found.propose(class(term.args[0]), &[inner]),
            Some((low, _)) if low < 0.0 => found.refuse(Reason::NegativeFactor),
            Some(_) => {
                let expr = match (slope, outer.clone()) {
                    (Slope::Number(a), Slope::Number(b)) => leaky(a * b, x),
                    (Slope::Param(a, axes), Slope::Number(b)) | (Slope::Number(b), Slope::Param(a, axes)) => {
                        Expr::Apply(Op::Prelu { axes }, vec![x, mul(class(a), number(b))])
                    }
                    (Slope::Param(a, axes), Slope::Param(b, others)) if axes == others => {
                        Expr::Apply(Op::Prelu { axes }, vec![x, mul(class(a), class(b))])
                    }
                    (Slope::Param(..), Slope::Param(..)) => {
                        found.refuse(Reason::FactorVaries);
                        continue;
                    }
                };
                found.propose(expr, &[inner]);
            }
        }
    }
}

/// prelu(x) · s → prelu(x · s) for s >= 0, where the operation before can absorb the factor.
fn scale_through_rectifier(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let (x, s) = (term.args[0], term.args[1]);
    if !cx.facts(s).param_only || cx.ty(x) != cx.ty(cx.root) {
        return;
    }
    for rectifier in RECTIFIERS.iter().flat_map(|tag| cx.terms(x, tag)) {
        if !super::affine::absorbs(cx, rectifier.args[0]) {
            continue;
        }
        let sign = match cx.facts(s).range {
            None => Err(Reason::UnknownFactor),
            Some((low, _)) if low < 0.0 => Err(Reason::NegativeFactor),
            Some(_) => Ok(()),
        };
        let free = sign.and_then(|()| cx.single(x)).and_then(|()| cx.single(rectifier.args[0]));
        if found.need(free).is_some() {
            let mut args: Vec<Expr> = rectifier.args.iter().map(|a| class(*a)).collect();
            args[0] = mul(class(rectifier.args[0]), class(s));
            found.propose(apply(cx.op(rectifier), args), &[rectifier]);
        }
    }
}

/// max over windows of a rising function → the function of the max: fewer elements to compute.
fn pool_before_clip(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in cx.terms(term.args[0], "relu").chain(cx.terms(term.args[0], "clip")) {
        if found.need(cx.single(term.args[0])).is_some() {
            let pooled = apply(cx.op(term), vec![class(inner.args[0])]);
            found.propose(apply(cx.op(inner), vec![pooled]), &[inner]);
        }
    }
}

fn pool_before_prelu(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in cx.terms(term.args[0], "leaky_relu").chain(cx.terms(term.args[0], "prelu")) {
        let Some(slope) = Slope::of(cx, inner) else { continue };
        let rising = match slope.range(cx) {
            None => Err(Reason::UnknownFactor),
            Some((low, _)) if low < 0.0 => Err(Reason::NegativeFactor),
            Some(_) => cx.single(term.args[0]),
        };
        if found.need(rising).is_none() {
            continue;
        }
        let pooled = apply(cx.op(term), vec![class(inner.args[0])]);
        match slope {
            // The parameter keeps its place where it is one number for all elements of the pooled tensor too.
            Slope::Number(_) if inner.tag() == "leaky_relu" => {
                found.propose(apply(cx.op(inner), vec![pooled]), &[inner]);
            }
            Slope::Number(v) => match spatially_constant(cx, term, inner) {
                Ok(slope) => found.propose(apply(cx.op(inner), vec![pooled, slope]), &[inner]),
                Err(_) => found.propose(leaky(v, pooled), &[inner]),
            },
            Slope::Param(..) => {
                if let Some(slope) = found.need(spatially_constant(cx, term, inner)) {
                    found.propose(apply(cx.op(inner), vec![pooled, slope]), &[inner]);
                }
            }
        }
    }
}

/// The slope operand of `prelu`, where it fits the pooled tensor in the same axes: it varies along no pooled axis.
fn spatially_constant(cx: &Cx<'_>, pool: &Term, prelu: &Term) -> Result<Expr, Reason> {
    let (Op::Prelu { axes }, slope) = (cx.op(prelu), prelu.args[1]) else { return Err(Reason::FactorVaries) };
    let pooled: Vec<usize> = if let Op::MaxPool(_) = cx.op(pool) {
        (2..cx.ty(pool.args[0]).rank()).collect()
    } else if let Op::Reduce { kind: ReduceKind::Max, axes, keep: true } = cx.op(pool) {
        axes.clone()
    } else {
        return Err(Reason::FactorVaries);
    };
    let fits = axes
        .iter()
        .zip(&cx.ty(slope).shape)
        .all(|(axis, size)| *size == Dim::Const(1) || !pooled.contains(axis));
    if fits { Ok(class(slope)) } else { Err(Reason::FactorVaries) }
}

/// A parameter that multiplies elementwise, as the slope of a PReLU on a tensor like `x`.
pub(super) fn as_slope(cx: &Cx<'_>, param: Id, x: Id) -> Option<(Expr, Vec<usize>)> {
    let (ty, shape) = (cx.ty(x), &cx.ty(param).shape);
    if ty.rank() > 1
        && let Ok(factor) = Factor::of(cx, param, ty, 1)
    {
        let slope = factor
            .full_vector()
            .unwrap_or_else(|| super::super::rule::reshape(class(param), vec![Dim::Const(1)]));
        return Some((slope, vec![1]));
    }
    let offset = ty.rank().checked_sub(shape.len())?;
    Some((class(param), (offset..ty.rank()).collect()))
}
