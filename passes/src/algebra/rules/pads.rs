//! Padding as part of the window that reads it.

use super::super::rule::{Cx, Expr, Found, Holds::Exact, Holds::Finite, Rule, apply, class};
use super::super::term::Term;
use super::rule;
use crate::log::Reason;
use rectify_ir::op::{ConvAttrs, Op, PadMode, Padding, PoolAttrs};

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("conv-absorb-pad",     &["conv"],     Finite, conv_absorb_pad),
    rule("max-pool-absorb-pad", &["max_pool"], Exact,  max_pool_absorb_pad),
    rule("avg-pool-absorb-pad", &["avg_pool"], Finite, avg_pool_absorb_pad),
    rule("pad-of-pad",          &["pad"],      Exact,  pad_of_pad),
];

/// The amounts of a pad that touches spatial axes alone, added to the window's own.
fn joined(pads: &[i64], own: &Padding) -> Result<Padding, Reason> {
    let rank = pads.len() / 2;
    let Padding::Explicit(own) = own else { return Err(Reason::PadShape) };
    let (before, after) = pads.split_at(rank);
    let outer = [&before[..2], &after[..2]].concat();
    let spatial = [&before[2..], &after[2..]].concat();
    if outer.iter().any(|p| *p != 0) || spatial.iter().any(|p| *p < 0) || spatial.len() != own.len() {
        return Err(Reason::PadShape);
    }
    let sums: Option<Vec<i64>> = spatial.iter().zip(own).map(|(a, b)| a.checked_add(*b)).collect();
    sums.filter(|s| s.iter().all(|p| *p < 1 << 24)).map(Padding::Explicit).ok_or(Reason::PadShape)
}

/// Pads by a constant in the class of the window's input.
fn constant_pads<'a>(cx: &'a Cx<'_>, window: &Term) -> Vec<(&'a Term, &'a [i64], f64)> {
    let constant = |t: &'a Term| {
        let Op::Pad { pads, mode: PadMode::Constant(c) } = cx.op(t) else { return None };
        (pads.len() >= 6).then_some((t, pads.as_slice(), c.0))
    };
    cx.terms(window.args[0], "pad").filter_map(constant).collect()
}

fn conv_absorb_pad(cx: &Cx<'_>, conv: &Term, found: &mut Found) {
    let Op::Conv(attrs) = cx.op(conv) else { return };
    for (inner, pads, value) in constant_pads(cx, conv) {
        if value != 0.0 {
            found.refuse(Reason::PadValue { value: value.to_string() });
            continue;
        }
        if let Some(pad) = found.need(joined(pads, &attrs.pad)) {
            let mut args: Vec<Expr> = conv.args.iter().map(|a| class(*a)).collect();
            args[0] = class(inner.args[0]);
            found.propose(apply(&Op::Conv(ConvAttrs { pad, ..attrs.clone() }), args), &[inner]);
        }
    }
}

/// Pool padding must leave each window an element of the input, and rounding up must not have cut a window.
fn pool_padding(pads: &[i64], pool: &PoolAttrs) -> Result<PoolAttrs, Reason> {
    let pad = joined(pads, &pool.pad)?;
    let Padding::Explicit(amounts) = &pad else { return Err(Reason::PadShape) };
    let rank = pool.kernel.len();
    let fits = (0..2 * rank).all(|i| amounts[i] < pool.kernel[i % rank]);
    let plain = pool.dilation.iter().all(|d| *d == 1);
    if fits && plain && !pool.ceil { Ok(PoolAttrs { pad, ..pool.clone() }) } else { Err(Reason::PadShape) }
}

/// Zeros in front of a max-pool may win, unless no element is below 0; -inf never wins.
fn max_pool_absorb_pad(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::MaxPool(pool) = cx.op(term) else { return };
    for (inner, pads, value) in constant_pads(cx, term) {
        let loses =
            value == f64::NEG_INFINITY || cx.facts(inner.args[0]).range.is_some_and(|(low, _)| value <= low);
        if !loses {
            found.refuse(Reason::PadValue { value: value.to_string() });
            continue;
        }
        if let Some(pool) = found.need(pool_padding(pads, pool)) {
            found.propose(apply(&Op::MaxPool(pool), vec![class(inner.args[0])]), &[inner]);
        }
    }
}

fn avg_pool_absorb_pad(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::AvgPool { pool, count_include_pad } = cx.op(term) else { return };
    let own = matches!(&pool.pad, Padding::Explicit(p) if p.iter().all(|p| *p == 0));
    for (inner, pads, value) in constant_pads(cx, term) {
        if value != 0.0 {
            found.refuse(Reason::PadValue { value: value.to_string() });
        } else if !*count_include_pad && !own {
            found.refuse(Reason::PadShape);
        } else if let Some(pool) = found.need(pool_padding(pads, pool)) {
            let op = Op::AvgPool { pool, count_include_pad: true };
            found.propose(apply(&op, vec![class(inner.args[0])]), &[inner]);
        }
    }
}

fn pad_of_pad(cx: &Cx<'_>, term: &Term, found: &mut Found) {
    let Op::Pad { pads, mode: PadMode::Constant(value) } = cx.op(term) else { return };
    for inner in cx.terms(term.args[0], "pad") {
        let Op::Pad { pads: first, mode: PadMode::Constant(other) } = cx.op(inner) else { continue };
        // A cut after an enlargement may cut what was added: only enlargements join.
        if value != other || first.iter().chain(pads).any(|p| *p < 0) {
            continue;
        }
        let sums: Option<Vec<i64>> = first.iter().zip(pads).map(|(a, b)| a.checked_add(*b)).collect();
        if let Some(pads) = sums {
            let op = Op::Pad { pads, mode: PadMode::Constant(*value) };
            found.propose(apply(&op, vec![class(inner.args[0])]), &[inner]);
        }
    }
}
