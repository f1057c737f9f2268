//! Applies rules until nothing new is found: the loop around the e-graph.
//!
//! The loop is our own, on egg's e-graph, because each firing is counted, budgeted (`--max-rewrites`), typed before it
//! is added, and leaves provenance; egg's explanations would exhaust memory at ten residual blocks. It is bounded by
//! nodes and iterations, never by time, so its result is the same everywhere.

use super::facts::{Classes, infer_types};
use super::rule::{Cx, Expr, Found, Proposal, Rule};
use super::rules;
use super::term::Term;
use crate::log::{Reason, Recorder};
use egg::{Id, Language};
use rectify_ir::graph::Provenance;
use rectify_ir::types::TensorType;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// Bounds of the search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub iterations: usize,
    /// Terms in the e-graph beyond four times those of the model.
    pub nodes: usize,
}

/// Name and history of a term.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub name: Option<Arc<str>>,
    pub provenance: Provenance,
}

/// The origins of terms, by their canonical form.
#[derive(Default)]
pub(super) struct Origins {
    all: HashMap<Term, Origin>,
    /// Position of labels in the source graph: sources are listed in this order.
    pub places: HashMap<Arc<str>, usize>,
}

impl Origins {
    pub fn get(&self, term: &Term) -> Option<&Origin> {
        self.all.get(term)
    }

    pub fn insert(&mut self, term: Term, origin: Origin) {
        self.all.entry(term).or_insert(origin);
    }

    /// Terms change form when classes join. Of two that become equal, the one with fewer rules in its history stays.
    fn canonicalise(&mut self, classes: &Classes) {
        let mut old: Vec<(Term, Origin)> = std::mem::take(&mut self.all).into_iter().collect();
        old.sort_by(|(t, a), (u, b)| (a.provenance.rules.len(), t).cmp(&(b.provenance.rules.len(), u)));
        for (term, origin) in old {
            self.insert(term.map_children(|id| classes.find(id)), origin);
        }
    }

    /// What a term that `rule` makes of these terms inherits. The name is that of the term with the same operation, so
    /// that a convolution keeps its label when it takes in a batch norm.
    fn join(&self, terms: &[&Term], rule: &str, tag: &str) -> Origin {
        let mut provenance = Provenance::default();
        for origin in terms.iter().filter_map(|t| self.all.get(*t)) {
            let mut own = origin.provenance.clone();
            if own.sources.is_empty() {
                own.sources.extend(origin.name.clone());
            }
            provenance.absorb(&own);
        }
        provenance.sources.sort_by_key(|s| self.places.get(s).copied().unwrap_or(usize::MAX));
        if !provenance.rules.iter().any(|r| **r == *rule) {
            provenance.rules.push(rule.into());
        }
        let names = || terms.iter().filter_map(|t| Some((t.tag(), self.all.get(*t)?.name.clone()?)));
        let same = names().find(|(t, _)| *t == tag).map(|(_, name)| name);
        Origin { name: same.or_else(|| provenance.sources.first().cloned()), provenance }
    }
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
    // What was proposed before is in the e-graph already. Only asked, never walked.
    let mut done: HashSet<(&'static str, Term, Expr)> = HashSet::new();
    for iteration in 0..limits.iterations {
        let mut all: Vec<(&'static Rule, Id, Term, Proposal)> = Vec::new();
        for rule in rules::all().filter(|r| wanted(r.name)) {
            for (root, term) in candidates(classes, rule) {
                let mut found = Found::default();
                (rule.find)(&Cx { classes, root }, &term, &mut found);
                if !found.refusals.is_empty() {
                    let at = label(origins, &term);
                    refusals.extend(found.refusals.into_iter().map(|r| (rule.name, at.clone(), r)));
                }
                all.extend(found.proposals.into_iter().map(|p| (rule, root, term.clone(), p)));
            }
        }
        // A round that finds more than the whole search may add is running away.
        all.truncate(max_nodes);
        let mut changed = false;
        for (rule, root, term, proposal) in all {
            if !done.insert((rule.name, term.clone(), proposal.expr.clone())) {
                continue;
            }
            if !recorder.may_fire() || classes.total_size() > max_nodes {
                break;
            }
            let matched: Vec<&Term> = proposal.from.iter().chain([&term]).collect();
            let Some(new) = realise(classes, origins, root, &proposal.expr, &matched, rule.name) else {
                continue;
            };
            if classes.union(root, new) {
                recorder.fired(rule.name);
                fired.insert((rule.name, label(origins, &term)));
                changed = true;
            }
        }
        classes.rebuild();
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

/// Terms that the rule may start from, in the order of classes. Rules work on f32.
fn candidates(classes: &Classes, rule: &Rule) -> Vec<(Id, Term)> {
    let mut all = Vec::new();
    for tag in rule.on {
        let mut ids: Vec<Id> = classes.classes_for_op(tag).into_iter().flatten().collect();
        ids.sort_unstable();
        for id in ids {
            let class = &classes[id];
            let is_f32 = |t: &TensorType| t.dtype == rectify_ir::DType::F32;
            if class.data.types.iter().all(is_f32) {
                let reads_itself = |t: &&Term| t.args.contains(&id);
                let terms = class.nodes.iter().filter(|t| t.tag() == *tag && !reads_itself(t));
                all.extend(terms.map(|t| (id, t.clone())));
            }
        }
    }
    all
}

fn label(origins: &Origins, term: &Term) -> String {
    match origins.get(term).and_then(|o| o.name.as_ref().or_else(|| o.provenance.sources.first())) {
        Some(name) => name.to_string(),
        None => term.tag().to_string(),
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
