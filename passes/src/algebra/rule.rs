//! How rules are written: a name, the operation at the root of what they match, and a function that proposes equals.

use super::facts::{Classes, Facts};
use super::term::Term;
use crate::log::Reason;
use egg::Id;
use rectify_ir::Dim;
use rectify_ir::op::{Binary, Op, Unary};
use rectify_ir::scalar::Scalar;
use rectify_ir::types::TensorType;

/// How close both sides of a rule are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The same values for every input: NaN stays NaN, infinities stay. Only the sign of a zero may differ.
    Exact,
    /// Equal in exact arithmetic on finite numbers; rounding, overflow and 0 · inf may differ.
    Finite,
}

/// One rewrite rule. Both sides stay in the e-graph; the extractor chooses.
#[derive(Clone, Copy)]
pub struct Rule {
    pub name: &'static str,
    /// Names of the operations that the matched term may have.
    pub on: &'static [&'static str],
    pub holds: Holds,
    pub(crate) find: fn(&Cx<'_>, &Term, &mut Found),
}

/// What a rule sees: the e-graph at rest.
pub(crate) struct Cx<'a> {
    pub classes: &'a Classes,
    /// The class of the matched term.
    pub root: Id,
}

/// What a rule found at one term.
#[derive(Default)]
pub(crate) struct Found {
    pub proposals: Vec<Proposal>,
    pub refusals: Vec<Reason>,
}

/// A term that equals the matched one.
pub(crate) struct Proposal {
    pub expr: Expr,
    /// The other terms that were matched, beside the root: their provenance joins.
    pub from: Vec<Term>,
}

/// A term to build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expr {
    Class(Id),
    Apply(Op, Vec<Expr>),
}

impl Found {
    pub fn propose(&mut self, expr: Expr, from: &[&Term]) {
        self.proposals.push(Proposal { expr, from: from.iter().map(|t| (*t).clone()).collect() });
    }

    pub fn refuse(&mut self, reason: Reason) {
        if !self.refusals.contains(&reason) {
            self.refusals.push(reason);
        }
    }

    /// The value, or a note of why there is none.
    pub fn need<T>(&mut self, result: Result<T, Reason>) -> Option<T> {
        result.map_err(|reason| self.refuse(reason)).ok()
    }
}

impl<'a> Cx<'a> {
    /// The operation of a term. Panics for leaves and projections, which have none: rules match on operations.
    pub fn op(&self, term: &Term) -> &'a Op {
        self.classes.analysis.op(term).expect("rules are tried on operations")
    }

    pub fn facts(&self, class: Id) -> &'a Facts {
        &self.classes[class].data
    }

    /// The type of a class of one result.
    pub fn ty(&self, class: Id) -> &'a TensorType {
        &self.facts(class).types[0]
    }

    /// The terms of a class whose operation has this name, but for those that read the class itself: once x = f(x) is
    /// known, such a term says nothing new, and unrolling it would never end.
    pub fn terms<'b>(&'b self, class: Id, tag: &'b str) -> impl Iterator<Item = &'a Term> + 'b {
        let own = self.classes.find(class);
        self.classes[class].nodes.iter().filter(move |t| t.tag() == tag && !t.args.contains(&own))
    }

    pub fn has(&self, class: Id, tags: &[&str]) -> bool {
        self.classes[class].nodes.iter().any(|t| tags.contains(&t.tag()))
    }

    /// True for a parameter of the model whose value is merely where it starts. Where nothing is gained it keeps its
    /// place, so that an untrained network shows the layers that it will have.
    pub fn is_start(&self, class: Id) -> bool {
        !self.facts(class).given && self.has(class, &["leaf"])
    }

    pub fn same(&self, a: Id, b: Id) -> bool {
        self.classes.find(a) == self.classes.find(b)
    }

    /// Fine where the model reads the class at most once, so that its work can move.
    pub fn single(&self, class: Id) -> Result<(), Reason> {
        let facts = self.facts(class);
        if facts.is_output {
            return Err(Reason::IsOutput);
        }
        if facts.uses > 1 { Err(Reason::UsedElsewhere { uses: facts.uses }) } else { Ok(()) }
    }
}

pub(crate) fn class(id: Id) -> Expr {
    Expr::Class(id)
}

pub(crate) fn number(value: f64) -> Expr {
    Expr::Apply(Op::Const(Scalar(value)), vec![])
}

pub(crate) fn apply(op: &Op, args: Vec<Expr>) -> Expr {
    Expr::Apply(op.clone(), args)
}

pub(crate) fn unary(u: Unary, x: Expr) -> Expr {
    Expr::Apply(Op::Unary(u), vec![x])
}

pub(crate) fn add(x: Expr, y: Expr) -> Expr {
    Expr::Apply(Op::Binary(Binary::Add), vec![x, y])
}

pub(crate) fn mul(x: Expr, y: Expr) -> Expr {
    Expr::Apply(Op::Binary(Binary::Mul), vec![x, y])
}

pub(crate) fn reshape(x: Expr, shape: Vec<Dim>) -> Expr {
    Expr::Apply(Op::Reshape { shape }, vec![x])
}
