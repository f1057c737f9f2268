//! Names and histories of terms.

use super::facts::Classes;
use super::term::Term;
use egg::Language;
use rectify_ir::graph::Provenance;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Name and history of a term.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub name: Option<Arc<str>>,
    pub provenance: Provenance,
}

/// The origins of terms, by their canonical form.
#[derive(Default)]
pub(super) struct Origins {
    all: FxHashMap<Term, Origin>,
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

    /// Terms change form when classes join. Of those that become equal, the one with fewest rules in its history stays;
    /// of several such, the least.
    pub fn canonicalise(&mut self, classes: &Classes) {
        let is_old = |term: &Term| term.args.iter().any(|arg| classes.find(*arg) != *arg);
        let mut old: Vec<(Term, Origin)> = self.all.extract_if(|term, _| is_old(term)).collect();
        old.sort_by(|(t, a), (u, b)| (a.provenance.rules.len(), t).cmp(&(b.provenance.rules.len(), u)));
        // Terms that have their origin from here: what comes later is no better.
        let mut settled: FxHashSet<Term> = FxHashSet::default();
        for (term, origin) in old {
            let new = term.clone().map_children(|id| classes.find(id));
            match self.all.entry(new) {
                Entry::Vacant(place) => {
                    settled.insert(place.key().clone());
                    place.insert(origin);
                }
                Entry::Occupied(mut place) => {
                    let rank = |term: &Term, origin: &Origin| (origin.provenance.rules.len(), term.clone());
                    let better = rank(&term, &origin) < rank(place.key(), place.get());
                    if better && settled.insert(place.key().clone()) {
                        place.insert(origin);
                    }
                }
            }
        }
    }

    /// What a term that `rule` makes of these terms inherits. The name is that of the term with the same operation, so
    /// that a convolution keeps its label when it takes in a batch norm.
    pub fn join(&self, terms: &[&Term], rule: &str, tag: &str) -> Origin {
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

    /// How messages call a term.
    pub fn label(&self, term: &Term) -> String {
        match self.get(term).and_then(|o| o.name.as_ref().or_else(|| o.provenance.sources.first())) {
            Some(name) => name.to_string(),
            None => term.tag().to_string(),
        }
    }
}
