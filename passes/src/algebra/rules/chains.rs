//! Normalisations and shuffles of pixels that exporters spell out, recognised.

use super::super::rule::{Cx, Expr, Found, Holds::Exact, Holds::Finite, Rule, class, reshape};
use super::super::term::Term;
use super::rule;
use egg::Id;
use rectify_ir::Dim;
use rectify_ir::op::{DepthMode, Op, ReduceKind};
use rectify_ir::scalar::Scalar;

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("layer-norm-from-means",    &["mul"],     Finite, layer_norm),
    rule("layer-norm-absorb-shift",  &["add"],     Finite, layer_norm_shift),
    rule("pixel-shuffle-from-moves", &["reshape"], Exact,  pixel_shuffle),
];

/// The axes and the operand of a mean that keeps its axes.
fn means<'b>(cx: &'b Cx<'_>, id: Id) -> impl Iterator<Item = (Id, &'b [usize])> + 'b {
    cx.terms(id, "reduce_mean").filter_map(|t| match cx.op(t) {
        Op::Reduce { kind: ReduceKind::Mean, axes, keep: true } => Some((t.args[0], axes.as_slice())),
        _ => None,
    })
}

/// The number that the model gives for every element of the class.
fn number_of(cx: &Cx<'_>, id: Id) -> Option<f64> {
    cx.facts(id).value.filter(|_| cx.facts(id).given)
}

/// x, the first axis and eps, where the class is (x − mean) / √(mean((x − mean)²) + eps) over the last axes.
fn normalised(cx: &Cx<'_>, id: Id) -> Option<(Id, usize, f64)> {
    let rank = cx.ty(id).rank();
    let quotients = cx.terms(id, "div").map(|t| (t.args[0], t.args[1]));
    // A product with 1 / √…
    let inverse = |t: &'_ Term| {
        let pairs = [(t.args[0], t.args[1]), (t.args[1], t.args[0])];
        pairs.into_iter().find_map(|(a, b)| cx.terms(b, "reciprocal").next().map(|r| (a, r.args[0])))
    };
    let products = cx.terms(id, "mul").filter_map(inverse);
    for (centred, deviation) in quotients.chain(products) {
        let over = |(x, axes): (Id, &[usize])| {
            let first = *axes.first()?;
            axes.iter().copied().eq(first..rank).then_some((x, first))
        };
        let of_mean = |t: &Term| means(cx, t.args[1]).filter(|(x, _)| cx.same(*x, t.args[0])).find_map(over);
        let Some((x, first)) = cx.terms(centred, "sub").find_map(of_mean) else { continue };
        let is_square = |id: Id| {
            let twice = |t: &Term| cx.same(t.args[0], centred) && cx.same(t.args[1], centred);
            let power = |t: &Term| cx.same(t.args[0], centred) && number_of(cx, t.args[1]) == Some(2.0);
            cx.terms(id, "mul").any(twice) || cx.terms(id, "pow").any(power)
        };
        let eps = cx.terms(deviation, "sqrt").find_map(|root| {
            cx.terms(root.args[0], "add").find_map(|sum| {
                let eps = number_of(cx, sum.args[1]).filter(|e| *e >= 0.0)?;
                let variance = means(cx, sum.args[0])
                    .any(|(square, axes)| is_square(square) && axes.iter().copied().eq(first..rank));
                variance.then_some(eps)
            })
        });
        if let Some(eps) = eps {
            return Some((x, first, eps));
        }
    }
    None
}

/// The parameter as one of these sizes, if it broadcasts to them only by axes of size 1 in front.
fn trailing(cx: &Cx<'_>, param: Id, sizes: &[Dim]) -> Option<Expr> {
    let shape = &cx.ty(param).shape;
    let lead = shape.len().checked_sub(sizes.len())?;
    let fits = cx.facts(param).param_only
        && shape[..lead].iter().all(|d| *d == Dim::Const(1))
        && shape[lead..] == *sizes;
    fits.then(|| if lead == 0 { class(param) } else { reshape(class(param), sizes.to_vec()) })
}

/// (x − mean) / √(var + eps) · scale
fn layer_norm(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for (y, scale) in [(term.args[0], term.args[1]), (term.args[1], term.args[0])] {
        if !cx.facts(scale).param_only || cx.facts(y).param_only {
            continue;
        }
        let Some((x, axis, eps)) = normalised(cx, y) else { continue };
        if let Some(scale) = trailing(cx, scale, &cx.ty(x).shape[axis..]) {
            let op = Op::LayerNorm { axis, eps: Scalar(eps) };
            found.propose(Expr::Apply(op, vec![class(x), scale]), &[]);
            return;
        }
    }
}

fn layer_norm_shift(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for norm in cx.terms(term.args[0], "layer_norm").filter(|t| t.args.len() == 2) {
        let Op::LayerNorm { axis, eps } = cx.op(norm) else { continue };
        let free = cx.single(term.args[0]);
        let Some(shift) = trailing(cx, term.args[1], &cx.ty(norm.args[0]).shape[*axis..]) else { continue };
        if found.need(free).is_some() {
            let op = Op::LayerNorm { axis: *axis, eps: *eps };
            found.propose(Expr::Apply(op, vec![class(norm.args[0]), class(norm.args[1]), shift]), &[norm]);
        }
    }
}

/// [N, C·b², H, W] in six axes, transposed, and in four again.
fn pixel_shuffle(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for moved in cx.terms(term.args[0], "transpose") {
        let Op::Transpose { perm } = cx.op(moved) else { continue };
        for split in cx.terms(moved.args[0], "reshape") {
            let (x, y) = (cx.ty(split.args[0]), cx.ty(cx.root));
            let ([n, _, h, w], [a, b, c, d, e, f]) = (&x.shape[..], &cx.ty(moved.args[0]).shape[..]) else {
                continue;
            };
            let (mode, channels, block, other) = match perm.as_slice() {
                [0, 1, 4, 2, 5, 3] => (DepthMode::Crd, b, c, d),
                [0, 3, 4, 1, 5, 2] => (DepthMode::Dcr, d, b, c),
                _ => continue,
            };
            let Some(size) = block.as_const().filter(|b| *b > 0) else { continue };
            let grown = |d: &Dim| d.mul(block).ok();
            let shape = [Some(n.clone()), Some(channels.clone()), grown(h), grown(w)];
            let same = y.shape.iter().cloned().map(Some).eq(shape);
            if block == other && (a, e, f) == (n, h, w) && same {
                let op = Op::DepthToSpace { block: size as usize, mode };
                found.propose(Expr::Apply(op, vec![class(split.args[0])]), &[moved, split]);
            }
        }
    }
}
