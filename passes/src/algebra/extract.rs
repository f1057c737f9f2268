//! Chooses one term of each class: the cheapest graph, in which shared work counts once.
//!
//! Greedy over sets of classes: the cost of a term is the sum over the set of classes below it, so a residual block is
//! not counted twice as a tree would. Totals saturate. Ties go to terms of the source graph, then to the order of
//! terms: the choice depends on nothing but the e-graph. Parameters are left out of the sets and priced as trees, for
//! a derivation's share of the cost is next to nothing.

use super::cost::cost;
use super::facts::{Classes, Facts};
use super::term::{Kind, Term};
use egg::Id;
use rustc_hash::{FxHashMap, FxHashSet};

/// The chosen term of each class that was reached.
pub(super) struct Selection {
    chosen: FxHashMap<Id, Term>,
}

impl Selection {
    pub fn term(&self, class: Id) -> Option<&Term> {
        self.chosen.get(&class)
    }
}

/// One class with its choice so far.
#[derive(Clone, PartialEq)]
struct Choice {
    term: usize,
    total: u64,
    own: u64,
    /// Bit i: the class of rank i is needed.
    set: Vec<u64>,
}

/// Rounds after which the choices of a sound e-graph have long settled.
const MAX_ROUNDS: usize = 64;

/// What stays the same over all rounds.
struct Search<'a> {
    classes: &'a Classes,
    /// Operands before users, but for cycles.
    order: Vec<Id>,
    /// Index of each class in `order`.
    rank: FxHashMap<Id, usize>,
    /// Cost of each term of each class.
    costs: Vec<Vec<u64>>,
}

/// `None` where some class has no term without a cycle, which a sound e-graph does not have.
pub(super) fn extract(classes: &Classes, root: Id, original: &FxHashSet<Term>) -> Option<Selection> {
    let order = post_order(classes, root);
    let rank: FxHashMap<Id, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let costs = order
        .iter()
        .map(|id| classes[*id].nodes.iter().map(|t| term_cost(classes, *id, t)).collect())
        .collect();
    let search = Search { classes, order, rank, costs };
    let mut choices: Vec<Option<Choice>> = vec![None; search.order.len()];
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        for (at, id) in search.order.iter().enumerate() {
            let terms = &classes[*id].nodes;
            let best = (0..terms.len())
                .filter_map(|i| price(&search, &choices, at, i))
                .min_by_key(|c| (c.total, !original.contains(&terms[c.term]), &terms[c.term]));
            if best.is_some() && choices[at] != best {
                choices[at] = best;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let chosen = search
        .order
        .iter()
        .zip(&choices)
        .filter_map(|(id, c)| Some((*id, classes[*id].nodes[c.as_ref()?.term].clone())))
        .collect();
    let selection = Selection { chosen };
    is_complete(classes, &selection, root).then_some(selection)
}

/// The choice of a term, if its operands have choices that do not need this class themselves.
fn price(search: &Search<'_>, choices: &[Option<Choice>], at: usize, index: usize) -> Option<Choice> {
    let (classes, term) = (search.classes, &search.classes[search.order[at]].nodes[index]);
    let mut own = search.costs[at][index];
    let mut args: Vec<&Choice> = Vec::with_capacity(term.args.len());
    for arg in &term.args {
        let arg = classes.find(*arg);
        let choice = choices[search.rank[&arg]].as_ref()?;
        if classes[arg].data.param_only {
            // Parameters need no set: their costs are positive, so a cycle never pays.
            own = own.saturating_add(choice.total);
        } else {
            args.push(choice);
        }
    }
    // The dearest first: the others then add what is new.
    args.sort_by_key(|c| std::cmp::Reverse(c.total));
    let (mut total, mut set) = (own, Vec::new());
    for choice in args {
        if choice.set[at / 64] >> (at % 64) & 1 == 1 {
            return None;
        }
        if set.is_empty() {
            set.clone_from(&choice.set);
            total = total.saturating_add(choice.total);
            continue;
        }
        for (word, below) in choice.set.iter().enumerate() {
            let mut new = below & !set[word];
            set[word] |= new;
            while new != 0 {
                let bit = word * 64 + new.trailing_zeros() as usize;
                new &= new - 1;
                total = total.saturating_add(choices[bit].as_ref().map_or(0, |c| c.own));
            }
        }
    }
    set.resize(search.order.len().div_ceil(64), 0);
    set[at / 64] |= 1 << (at % 64);
    Some(Choice { term: index, total, own, set })
}

fn term_cost(classes: &Classes, id: Id, term: &Term) -> u64 {
    let model = &classes.analysis;
    match model.op(term) {
        None => 0,
        Some(op) => {
            let args: Vec<&Facts> = term.args.iter().map(|a| &classes[*a].data).collect();
            match term.kind {
                Kind::Apply { .. } => cost(op, &args, &classes[id].data.types, &model.dims),
                Kind::Leaf(_) | Kind::Proj(_) | Kind::Root => 0,
            }
        }
    }
}

/// Classes below the root, operands first (but for cycles).
fn post_order(classes: &Classes, root: Id) -> Vec<Id> {
    let children = |id: Id| -> Vec<Id> {
        let mut all = Vec::new();
        for term in &classes[id].nodes {
            all.extend(term.args.iter().map(|a| classes.find(*a)));
        }
        all
    };
    let root = classes.find(root);
    let mut order = Vec::new();
    let mut seen = FxHashSet::from_iter([root]);
    let mut stack = vec![(root, children(root), 0)];
    while let Some((id, below, next)) = stack.last_mut() {
        match below.get(*next).copied() {
            Some(child) => {
                *next += 1;
                if seen.insert(child) {
                    let below = children(child);
                    stack.push((child, below, 0));
                }
            }
            None => {
                order.push(*id);
                stack.pop();
            }
        }
    }
    order
}

/// True where the choices form a graph without cycles from the root down.
fn is_complete(classes: &Classes, selection: &Selection, root: Id) -> bool {
    // 1: being visited, 2: done.
    let mut state: FxHashMap<Id, u8> = FxHashMap::default();
    let mut stack = vec![(classes.find(root), 0)];
    while let Some((id, next)) = stack.pop() {
        let Some(term) = selection.term(id) else { return false };
        if next == 0 && state.insert(id, 1).is_some() {
            continue;
        }
        match term.args.get(next) {
            Some(arg) => {
                stack.push((id, next + 1));
                let arg = classes.find(*arg);
                match state.get(&arg) {
                    Some(1) => return false,
                    Some(_) => {}
                    None => stack.push((arg, 0)),
                }
            }
            None => {
                state.insert(id, 2);
            }
        }
    }
    true
}

/// The cost of the graph that `term_of` selects below the root.
pub(super) fn total(classes: &Classes, root: Id, term_of: &dyn Fn(Id) -> Option<Term>) -> u64 {
    let mut seen = FxHashSet::default();
    let mut pending = vec![classes.find(root)];
    let mut sum = 0u64;
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Some(term) = term_of(id) {
            sum = sum.saturating_add(term_cost(classes, id, &term));
            pending.extend(term.args.iter().map(|a| classes.find(*a)));
        }
    }
    sum
}
