//! Where rules are tried: everywhere in the first round, and then around what has changed.
//!
//! What a rule finds at a term depends on classes at most [`REACH`] steps below it. Where none of them changed in the
//! last round, the rule would find again what it has found before. Debug builds look there all the same, and assert it.

use super::facts::Classes;
use super::rule::Rule;
use super::term::Term;
use egg::Id;
use rectify_ir::DType;
use rectify_ir::types::TensorType;
use rustc_hash::FxHashMap;

/// Longer than any rule's way down.
const REACH: usize = 16;

/// Terms by the name of their operation, in the order of classes.
pub(super) struct Candidates<'a> {
    by_tag: FxHashMap<&'static str, Vec<(Id, &'a Term)>>,
}

impl<'a> Candidates<'a> {
    /// The terms of all classes.
    pub fn all(classes: &'a Classes) -> Candidates<'a> {
        Candidates::of(classes, classes.classes().map(|class| class.id).collect())
    }

    /// The terms at most [`REACH`] steps above what changed in this round or later.
    pub fn above(classes: &'a Classes, round: usize) -> Candidates<'a> {
        Candidates::of(classes, above(classes, round))
    }

    /// The terms of all other classes.
    pub fn elsewhere(classes: &'a Classes, round: usize) -> Candidates<'a> {
        let above: rustc_hash::FxHashSet<Id> = above(classes, round).into_iter().collect();
        let rest = classes.classes().map(|class| class.id).filter(|id| !above.contains(id));
        Candidates::of(classes, rest.collect())
    }

    fn of(classes: &'a Classes, mut ids: Vec<Id>) -> Candidates<'a> {
        ids.sort_unstable();
        let mut by_tag: FxHashMap<&'static str, Vec<(Id, &Term)>> = FxHashMap::default();
        for id in ids {
            let class = &classes[id];
            // Rules work on f32.
            let is_f32 = |t: &TensorType| t.dtype == DType::F32;
            if class.data.types.iter().all(is_f32) {
                // A term that reads its own class says nothing new.
                for term in class.nodes.iter().filter(|t| !t.args.contains(&id)) {
                    by_tag.entry(term.tag()).or_default().push((id, term));
                }
            }
        }
        Candidates { by_tag }
    }

    /// Terms that the rule may start from.
    pub fn of_rule(&self, rule: &Rule) -> impl Iterator<Item = (Id, &'a Term)> {
        rule.on.iter().filter_map(|tag| self.by_tag.get(tag)).flatten().copied()
    }
}

/// Classes that changed in this round or later, and those at most [`REACH`] steps above.
fn above(classes: &Classes, round: usize) -> Vec<Id> {
    let changed = classes.classes().filter(|class| class.data.changed >= round);
    let mut all: Vec<Id> = changed.map(|class| class.id).collect();
    let mut seen: rustc_hash::FxHashSet<Id> = all.iter().copied().collect();
    let mut first = 0;
    for _ in 0..REACH {
        let level = first..all.len();
        first = all.len();
        for at in level {
            let users: Vec<Id> = classes[all[at]].parents().map(|user| classes.find(user)).collect();
            all.extend(users.into_iter().filter(|user| seen.insert(*user)));
        }
    }
    all
}
