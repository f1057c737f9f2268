//! Operations that move elements: composed, or undone by each other. All are exact.

use super::super::rule::{Cx, Expr, Found, Holds::Exact, Rule, apply, class, reshape};
use super::super::term::{Kind, Term};
use super::rule;
use egg::Id;
use rectify_ir::Dim;
use rectify_ir::op::Op;

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("transpose-of-transpose", &["transpose"], Exact, transpose_of_transpose),
    rule("transpose-as-reshape",   &["transpose"], Exact, transpose_as_reshape),
    rule("reshape-of-reshape",     &["reshape"],   Exact, reshape_of_reshape),
    rule("concat-of-concat",       &["concat"],    Exact, concat_of_concat),
    rule("concat-of-split",        &["concat"],    Exact, concat_of_split),
    rule("split-of-concat",        &["proj"],      Exact, split_of_concat),
    rule("slice-of-concat",        &["slice"],     Exact, slice_of_concat),
];

fn transpose_of_transpose(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::Transpose { perm } = cx.op(term) else { return };
    for inner in cx.terms(term.args[0], "transpose") {
        if let Op::Transpose { perm: first } = cx.op(inner) {
            let perm = perm.iter().map(|i| first[*i]).collect();
            found.propose(apply(&Op::Transpose { perm }, vec![class(inner.args[0])]), &[inner]);
        }
    }
}

/// A transpose that moves axes of size 1 alone keeps the order of elements.
fn transpose_as_reshape(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::Transpose { perm } = cx.op(term) else { return };
    let x = cx.ty(term.args[0]);
    let long: Vec<usize> = perm.iter().copied().filter(|a| x.shape[*a] != Dim::Const(1)).collect();
    if long.is_sorted() && !perm.is_sorted() {
        found.propose(reshape(class(term.args[0]), cx.ty(cx.root).shape.clone()), &[]);
    }
}

fn reshape_of_reshape(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    for inner in cx.terms(term.args[0], "reshape") {
        found.propose(apply(cx.op(term), vec![class(inner.args[0])]), &[inner]);
    }
}

fn concat_of_concat(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::Concat { axis } = cx.op(term) else { return };
    for (i, arg) in term.args.iter().enumerate() {
        for inner in cx.terms(*arg, "concat") {
            let same_axis = matches!(cx.op(inner), Op::Concat { axis: other } if other == axis);
            if same_axis && inner.args.len() > 1 && cx.single(*arg).is_ok() {
                let (head, tail) = (&term.args[..i], &term.args[i + 1..]);
                let args = head.iter().chain(&inner.args).chain(tail).map(|a| class(*a)).collect();
                found.propose(apply(cx.op(term), args), &[inner]);
            }
        }
    }
}

/// concat(x.0, x.1, …) of all parts of a split, in order → x.
fn concat_of_split(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::Concat { axis } = cx.op(term) else { return };
    let Some(first) = term.args.first() else { return };
    let part = |class: Id, i: usize| {
        cx.terms(class, "proj").find(|t| t.kind == Kind::Proj(i as u32)).map(|t| t.args[0])
    };
    let Some(tuple) = part(*first, 0) else { return };
    let all = term.args.iter().enumerate().all(|(i, a)| part(*a, i).is_some_and(|t| cx.same(t, tuple)));
    if !all {
        return;
    }
    for split in cx.terms(tuple, "split") {
        if let Op::Split { axis: other, sizes } = cx.op(split)
            && other == axis
            && sizes.len() == term.args.len()
        {
            found.propose(class(split.args[0]), &[split]);
        }
    }
}

/// Part i of split(concat(a, b, …)) with the parts' own sizes → the part; of a split into one → the whole.
fn split_of_concat(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Kind::Proj(i) = term.kind else { return };
    for split in cx.terms(term.args[0], "split") {
        let Op::Split { axis, sizes } = cx.op(split) else { continue };
        if sizes.len() == 1 {
            found.propose(class(split.args[0]), &[split]);
        }
        for inner in cx.terms(split.args[0], "concat") {
            let Op::Concat { axis: other } = cx.op(inner) else { continue };
            let fits = other == axis
                && sizes.len() == inner.args.len()
                && inner.args.iter().zip(sizes).all(|(a, s)| cx.ty(*a).shape[*axis] == *s);
            if fits {
                found.propose(class(inner.args[i as usize]), &[split, inner]);
            }
        }
    }
}

/// A slice with steps of 1 that lies in one part of a concatenation.
fn slice_of_concat(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::Slice { axes, starts, ends, steps } = cx.op(term) else { return };
    for inner in cx.terms(term.args[0], "concat") {
        let Op::Concat { axis } = cx.op(inner) else { continue };
        let Some(at) = axes.iter().position(|a| a == axis).filter(|at| steps[*at] == 1) else { continue };
        let (Some(start), Some(end)) = (starts[at].as_const(), ends[at].as_const()) else { continue };
        let mut offset = 0;
        for part in &inner.args {
            let Some(size) = cx.ty(*part).shape[*axis].as_const() else { break };
            if offset <= start && end <= offset + size {
                let (mut starts, mut ends) = (starts.clone(), ends.clone());
                (starts[at], ends[at]) = (Dim::Const(start - offset), Dim::Const(end - offset));
                let op = Op::Slice { axes: axes.clone(), starts, ends, steps: steps.clone() };
                found.propose(Expr::Apply(op, vec![class(*part)]), &[inner]);
                break;
            }
            offset += size;
        }
    }
}
