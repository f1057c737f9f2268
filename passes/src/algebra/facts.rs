//! What is known of a class of equal terms: types, and for constants their value or range.

use super::ranges;
use super::term::{Kind, OpTable, Term};
use egg::{Analysis, DidMerge, EGraph, Id};
use rectify_ir::dim::DimFacts;
use rectify_ir::graph::NodeId;
use rectify_ir::op::Op;
use rectify_ir::shape;
use rectify_ir::types::TensorType;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// The e-graph of one model.
pub(crate) type Classes = EGraph<Term, Model>;

/// Facts about a class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// One type a result.
    pub types: Rc<[TensorType]>,
    /// Depends on parameters and constants only.
    pub param_only: bool,
    /// Every element has this value.
    pub value: Option<f64>,
    /// The value is part of the model, not just where a parameter starts.
    pub given: bool,
    /// Least and greatest value of the elements that are not NaN.
    pub range: Option<(f64, f64)>,
    /// How often the source graph reads the value. Classes that rules made have 0.
    pub uses: usize,
    /// An output of the model.
    pub is_output: bool,
    /// The round of the search in which the class last changed: see [`Model::round`].
    pub changed: usize,
}

impl Facts {
    /// True where no element can be below 0.
    pub fn is_non_negative(&self) -> bool {
        self.range.is_some_and(|(low, _)| low >= 0.0)
    }
}

/// The analysis: knows the operations and the leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub ops: OpTable,
    pub dims: DimFacts,
    pub leaves: FxHashMap<NodeId, Facts>,
    /// Types of the term that is about to be added, so that they are not inferred twice.
    pub next_types: Option<Rc<[TensorType]>>,
    /// Counts the rounds of the search.
    pub round: usize,
}

impl Model {
    /// The operation of a term that applies one.
    pub fn op(&self, term: &Term) -> Option<&Op> {
        match term.kind {
            Kind::Apply { op, .. } => Some(self.ops.get(op)),
            Kind::Leaf(_) | Kind::Proj(_) | Kind::Root => None,
        }
    }
}

/// The types of a term's results, where its operands allow it.
pub(crate) fn infer_types(op: &Op, operands: &[&TensorType], dims: &DimFacts) -> Option<Rc<[TensorType]>> {
    shape::infer(op, operands, dims).ok().map(Rc::from)
}

impl Analysis<Term> for Model {
    type Data = Facts;

    fn make(classes: &mut Classes, term: &Term, _: Id) -> Facts {
        let types = classes.analysis.next_types.take();
        facts_of(classes, term, types)
    }

    fn remake(classes: &mut Classes, term: &Term, id: Id) -> Facts {
        let types = match term.kind {
            Kind::Root => None,
            Kind::Leaf(_) | Kind::Apply { .. } | Kind::Proj(_) => Some(classes[id].data.types.clone()),
        };
        facts_of(classes, term, types)
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        debug_assert_eq!(a.types, b.types, "a rewrite must keep the type");
        let known = |f: &Facts| (f.param_only, f.value, f.given, f.range, f.uses, f.is_output);
        let (before, other) = (known(a), known(&b));
        a.param_only |= b.param_only;
        if a.value.is_none() {
            (a.value, a.given) = (b.value, b.given);
        } else {
            a.given |= b.given && b.value.is_some();
        }
        a.range = match (a.range, b.range) {
            (Some((l, h)), Some((m, n))) => Some((l.max(m), h.min(n))),
            (x, y) => x.or(y),
        };
        // Two classes that turn out equal had readers of their own; a remade term brings none.
        a.uses += b.uses;
        a.is_output |= b.is_output;
        a.changed = self.round;
        DidMerge(known(a) != before, known(a) != other)
    }
}

fn facts_of(classes: &Classes, term: &Term, types: Option<Rc<[TensorType]>>) -> Facts {
    let model = &classes.analysis;
    let none = |types: Rc<[TensorType]>| Facts {
        types,
        param_only: false,
        value: None,
        given: false,
        range: None,
        uses: 0,
        is_output: false,
        changed: model.round,
    };
    match term.kind {
        Kind::Root => none(Rc::from([])),
        Kind::Leaf(node) => model.leaves[&node].clone(),
        Kind::Proj(i) => {
            let tuple = &classes[term.args[0]].data;
            let mut facts = none(types.unwrap_or_else(|| Rc::from([tuple.types[i as usize].clone()])));
            facts.param_only = tuple.param_only;
            facts.range = tuple.range;
            facts
        }
        Kind::Apply { op, .. } => {
            let op = model.ops.get(op);
            let args: Vec<&Facts> = term.args.iter().map(|a| &classes[*a].data).collect();
            let types = types.or_else(|| {
                let operands: Vec<_> = args.iter().map(|f| &f.types[0]).collect();
                infer_types(op, &operands, &model.dims)
            });
            let mut facts = none(types.expect("types are inferred before a term is added"));
            facts.param_only = args.iter().all(|f| f.param_only);
            facts.value = if facts.param_only { ranges::value(op, &args) } else { None };
            facts.given = facts.value.is_some() && args.iter().all(|f| f.given);
            facts.range = match facts.value {
                Some(v) if !v.is_nan() => Some((v, v)),
                Some(_) => None,
                None => ranges::range(op, &args),
            };
            facts
        }
    }
}
