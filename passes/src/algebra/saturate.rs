//! Applies rules until nothing new is found: the loop around the e-graph.
//!
//! The loop is our own, on egg's e-graph, because each firing is counted, budgeted (`--max-rewrites`), typed before it
//! is added, and leaves provenance; egg's explanations would exhaust memory at ten residual blocks. It is bounded by
//! nodes and iterations, never by time, so its result is the same everywhere.

use super::facts::{Classes, infer_types};
use super::origins::{Origin, Origins};
use super::rule::{Cx, Expr, Found, Proposal, Rule};
use super::rules;
use super::search::Candidates;
use super::term::Term;
use crate::log::{Reason, Recorder};
use egg::Id;
use rectify_ir::types::TensorType;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Bounds of the search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub iterations: usize,
    /// Terms in the e-graph beyond four times those of the model.
    pub nodes: usize,
}

pub(super) fn saturate(
    classes: &mut Classes,
    origins: &mut Origins,
    limits: Limits,
    wanted: &dyn Fn(&str) -> bool,
    recorder: &mut Recorder,
) {
    let max_nodes = 4 * classes.total_size() + limits.nodes;
    let mut refusals: BTreeSet<(&'static str, String, Reason)> = BTreeSet::new();
    let mut fired: BTreeSet<(&'static str, String)> = BTreeSet::new();
    let mut done = Done::default();
    // False where proposals were dropped: they must be found again.
    let mut complete = false;
    for iteration in 0..limits.iterations {
        let search = match complete {
            true => Candidates::above(classes, iteration),
            false => Candidates::all(classes),
        };
        let mut all: Vec<(&'static Rule, Id, Term, Proposal)> = Vec::new();
        for rule in rules::all().filter(|r| wanted(r.name)) {
            for (root, term) in search.of_rule(rule) {
                let mut found = Found::default();
                (rule.find)(&Cx { classes, root }, term, &mut found);
                if !found.refusals.is_empty() {
                    let at = origins.label(term);
                    refusals.extend(found.refusals.into_iter().map(|r| (rule.name, at.clone(), r)));
                }
                all.extend(found.proposals.into_iter().map(|p| (rule, root, term.clone(), p)));
            }
            if cfg!(debug_assertions) && complete {
                done.assert_has(classes, rule, &Candidates::elsewhere(classes, iteration));
            }
        }
        // A round that finds more than the whole search may add is running away.
        complete = all.len() <= max_nodes;
        all.truncate(max_nodes);
        classes.analysis.round = iteration + 1;
        let mut changed = false;
        for (rule, root, term, proposal) in all {
            if !done.insert(rule, &term, &proposal.expr) {
                continue;
            }
            if !recorder.may_fire() || classes.total_size() > max_nodes {
                complete = false;
                break;
            }
            let matched: Vec<&Term> = proposal.from.iter().chain([&term]).collect();
            let Some(new) = realise(classes, origins, root, &proposal.expr, &matched, rule.name) else {
                continue;
            };
            if classes.union(root, new) {
                recorder.fired(rule.name);
                fired.insert((rule.name, origins.label(&term)));
                changed = true;
            }
        }
        rebuild(classes);
        origins.canonicalise(classes);
        let full = classes.total_size() > max_nodes || iteration + 1 == limits.iterations;
        if changed && full {
            let reason = Reason::Limit { iterations: iteration + 1, nodes: classes.total_size() };
            recorder.refuse("saturation", "the model", reason);
        }
        if !changed || full {
            break;
        }
    }
    // A rule that was refused early and fired later is no refusal.
    for (rule, at, reason) in refusals {
        if !fired.contains(&(rule, at.clone())) {
            recorder.refuse(rule, at, reason);
        }
    }
}

/// Restores the e-graph's invariants. egg asks a clock for how long that takes, which is calibrated for tens of
/// milliseconds when it is first asked: it is given one that stands still.
pub(super) fn rebuild(classes: &mut Classes) {
    quanta::with_clock(&quanta::Clock::mock().0, || classes.rebuild());
}

/// What was proposed before, and is in the e-graph already.
#[derive(Default)]
struct Done {
    by_term: FxHashMap<(&'static str, Term), Vec<Expr>>,
}

impl Done {
    /// Notes a proposal; false if it is known.
    fn insert(&mut self, rule: &Rule, term: &Term, expr: &Expr) -> bool {
        let known = self.by_term.entry((rule.name, term.clone())).or_default();
        let is_new = !known.contains(expr);
        if is_new {
            known.push(expr.clone());
        }
        is_new
    }

    fn assert_has(&self, classes: &Classes, rule: &Rule, candidates: &Candidates<'_>) {
        for (root, term) in candidates.of_rule(rule) {
            let mut found = Found::default();
            (rule.find)(&Cx { classes, root }, term, &mut found);
            let known = self.by_term.get(&(rule.name, term.clone()));
            let is_known = |p: &Proposal| known.is_some_and(|known| known.contains(&p.expr));
            assert!(found.proposals.iter().all(is_known), "{} looks farther down than it may", rule.name);
        }
    }
}

/// Adds the expression, if it has the type of the class that it is to equal.
fn realise(
    classes: &mut Classes,
    origins: &mut Origins,
    root: Id,
    expr: &Expr,
    matched: &[&Term],
    rule: &str,
) -> Option<Id> {
    let types = check(classes, expr)?;
    if types != classes[root].data.types {
        return None;
    }
    let tag = match expr {
        Expr::Class(_) => "",
        Expr::Apply(op, _) => op.name(),
    };
    let origin = origins.join(matched, rule, tag);
    Some(build(classes, origins, expr, &origin))
}

/// The types of an expression's results, if all of its operations take their operands.
fn check(classes: &Classes, expr: &Expr) -> Option<Rc<[TensorType]>> {
    match expr {
        Expr::Class(id) => Some(classes[*id].data.types.clone()),
        Expr::Apply(op, args) => {
            let args = args.iter().map(|a| check(classes, a)).collect::<Option<Vec<_>>>()?;
            let operands: Vec<&TensorType> = args.iter().map(|t| &t[0]).collect();
            infer_types(op, &operands, &classes.analysis.dims)
        }
    }
}

fn build(classes: &mut Classes, origins: &mut Origins, expr: &Expr, origin: &Origin) -> Id {
    match expr {
        Expr::Class(id) => classes.find(*id),
        Expr::Apply(op, args) => {
            let args: Vec<Id> = args.iter().map(|a| build(classes, origins, a, origin)).collect();
            let term = classes.analysis.ops.apply(op, args);
            let known = classes.lookup(term.clone());
            if let Some(id) = known {
                return id;
            }
            origins.insert(term.clone(), origin.clone());
            classes.add(term)
        }
    }
}
