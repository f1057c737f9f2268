//! Algebraic rewrites by equality saturation.
//!
//! **What.** The graph becomes an e-graph (`term`, `facts`); the `rules` add equal terms until nothing is new or a
//! limit is reached (`saturate`, `search`); the cheapest graph is taken out (`extract`, `cost`).
//! **Before → after.** `batch_norm(conv(x, @w, @b))` → `conv(x, @w · a, @b · a + c)` with a and c derived from the
//! batch norm's parameters.
//! **Requires** the canonical form: sums and products need no associativity, parameters stand second, no epilogues.
//! **Leaves** a graph of the same outputs that costs no more. Derivations are nodes on parameters, not evaluated.

mod cost;
mod extract;
mod factor;
mod facts;
mod origins;
mod ranges;
mod rule;
mod rules;
mod saturate;
mod search;
mod siblings;
mod term;

pub use rule::{Holds, Rule};
pub use rules::all as all_rules;
pub use saturate::Limits;

use crate::edit::sources;
use crate::log::{Reason, Recorder};
use crate::pipeline::{Options, ParamValues};
use egg::{EGraph, Id, Language};
use facts::{Classes, Facts, Model};
use origins::{Origin, Origins};
use rectify_ir::DType;
use rectify_ir::graph::{Graph, Node, Output, Value};
use rectify_ir::init::Dist;
use rectify_ir::op::{Op, Source};
use rectify_ir::types::TensorType;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;
use term::{Kind, Term};

pub(crate) fn algebra(graph: &mut Graph, options: &Options<'_>, recorder: &mut Recorder) {
    let wanted = |name: &str| options.only_rules.is_none_or(|only| only.contains(&name));
    rewrite(graph, options, &wanted, recorder);
    if wanted(siblings::RULE) {
        siblings::merge(graph, recorder);
    }
}

fn rewrite(graph: &mut Graph, options: &Options<'_>, wanted: &dyn Fn(&str) -> bool, recorder: &mut Recorder) {
    let before = recorder.log.rewrites;
    let mut entry = enter(graph, options.values);
    saturate::saturate(&mut entry.classes, &mut entry.origins, options.limits, wanted, recorder);
    if recorder.log.rewrites == before {
        return;
    }
    let Entry { classes, origins, root, original } = entry;
    let original: Vec<Term> = original.into_iter().map(|t| t.map_children(|id| classes.find(id))).collect();
    let mut first: FxHashMap<Id, Term> = FxHashMap::default();
    for term in &original {
        if let Some(class) = classes.lookup(term.clone()) {
            first.entry(class).or_insert_with(|| term.clone());
        }
    }
    let known: FxHashSet<Term> = original.into_iter().collect();
    let Some(selection) = extract::extract(&classes, root, &known) else { return };
    let cost_before = extract::total(&classes, root, &|id| first.get(&id).cloned());
    let cost_after = extract::total(&classes, root, &|id| selection.term(id).cloned());
    if cost_after > cost_before {
        let reason = Reason::NotCheaper { before: cost_before, after: cost_after };
        recorder.refuse("extraction", graph.name.clone(), reason);
        return;
    }
    *graph = leave(graph, &classes, &origins, root, &selection);
}

/// A graph as an e-graph.
struct Entry {
    classes: Classes,
    origins: Origins,
    root: Id,
    /// The terms of the source graph.
    original: Vec<Term>,
}

fn enter(graph: &Graph, values: ParamValues) -> Entry {
    let order = graph.topo_order();
    let mut model = Model { dims: graph.facts.clone(), ..Model::default() };
    for node in &order {
        let n = graph.node(*node);
        if is_leaf(n) {
            model.leaves.insert(*node, leaf_facts(n, values));
        }
    }
    let mut classes: Classes = EGraph::new(model);
    let mut origins = Origins::default();
    let (mut ids, mut original) = (FxHashMap::<Value, Id>::default(), Vec::new());
    for (place, node) in order.iter().enumerate() {
        let n = graph.node(*node);
        let types: Rc<[TensorType]> = n.types.as_slice().into();
        let term = if is_leaf(n) {
            Term::leaf(*node)
        } else {
            let args: Vec<Id> = n.operands.iter().map(|v| ids[v]).collect();
            classes.analysis.ops.apply(&n.op, args)
        };
        if let Some(name) = &n.name {
            origins.places.entry(name.clone()).or_insert(place);
        }
        origins.insert(term.clone(), Origin { name: n.name.clone(), provenance: sources(n) });
        original.push(term.clone());
        let id = add(&mut classes, term, types);
        if n.op.results() == 1 {
            ids.insert((*node).into(), id);
            continue;
        }
        for (result, ty) in n.types.iter().enumerate() {
            let proj = Term { kind: Kind::Proj(result as u32), args: Box::new([id]) };
            original.push(proj.clone());
            let id = add(&mut classes, proj, Rc::from([ty.clone()]));
            ids.insert(Value { node: *node, result: result as u32 }, id);
        }
    }
    for node in &order {
        for operand in &graph.node(*node).operands {
            classes[ids[operand]].data.uses += 1;
        }
    }
    for output in &graph.outputs {
        let facts = &mut classes[ids[&output.value]].data;
        facts.uses += 1;
        facts.is_output = true;
    }
    let outputs: Vec<Id> = graph.outputs.iter().map(|o| ids[&o.value]).collect();
    let root = Term { kind: Kind::Root, args: outputs.into() };
    original.push(root.clone());
    let root = classes.add(root);
    saturate::rebuild(&mut classes);
    Entry { classes, origins, root, original }
}

fn add(classes: &mut Classes, term: Term, types: Rc<[TensorType]>) -> Id {
    classes.analysis.next_types = Some(types);
    let id = classes.add(term);
    classes.analysis.next_types = None;
    id
}

/// Inputs, parameters, and numbers of another type than f32 are leaves: rules write f32 numbers alone.
fn is_leaf(node: &Node) -> bool {
    let foreign = matches!(node.op, Op::Const(_)) && node.types[0].dtype != DType::F32;
    foreign || matches!(node.op, Op::Input | Op::Param(_))
}

fn leaf_facts(node: &Node, values: ParamValues) -> Facts {
    let mut facts = Facts {
        types: node.types.as_slice().into(),
        param_only: !matches!(node.op, Op::Input),
        value: None,
        given: false,
        range: None,
        uses: 0,
        is_output: false,
        changed: 0,
    };
    if let Op::Const(c) = node.op {
        (facts.value, facts.given) = (Some(c.0), true);
    }
    match node.source() {
        Some(Source::Data(literal)) => {
            facts.range = literal.range();
            facts.value = facts.range.filter(|(low, high)| low == high).map(|(low, _)| low);
            facts.given = true;
        }
        Some(Source::Init(init)) if values == ParamValues::FromSources => {
            facts.value = init.as_constant();
            facts.range = if let Dist::Uniform { low, high } = init.dist {
                let ends = [low.0, high.0].map(|v| v * init.scale.0 + init.shift.0);
                Some((ends[0].min(ends[1]), ends[0].max(ends[1])))
            } else {
                facts.value.filter(|v| !v.is_nan()).map(|v| (v, v))
            };
        }
        Some(Source::Init(_) | Source::File { .. }) | None => {}
    }
    facts
}

/// The selected terms as a graph.
fn leave(
    source: &Graph,
    classes: &Classes,
    origins: &Origins,
    root: Id,
    selection: &extract::Selection,
) -> Graph {
    let mut graph = Graph::new(source.name.clone());
    graph.doc = source.doc.clone();
    graph.stage = source.stage;
    graph.facts = source.facts.clone();
    let mut values: FxHashMap<Id, Value> = FxHashMap::default();
    for input in source.inputs() {
        let n = source.node(*input);
        let name = n.name.clone().unwrap_or_default();
        let value = graph.add_input(name, n.types[0].clone());
        if let Some(id) = classes.lookup(Term::leaf(*input)) {
            values.insert(id, value);
        }
    }
    let root = classes.find(root);
    let mut stack = vec![(root, 0)];
    while let Some((id, next)) = stack.pop() {
        let Some(term) = selection.term(id) else { continue };
        if let Some(arg) = term.args.get(next) {
            stack.push((id, next + 1));
            let arg = classes.find(*arg);
            if !values.contains_key(&arg) {
                stack.push((arg, 0));
            }
        } else if id != root && !values.contains_key(&id) {
            let args: Vec<Value> = term.args.iter().map(|a| values[&classes.find(*a)]).collect();
            let value = materialise(&mut graph, source, classes, origins, id, term, args);
            values.insert(id, value);
        }
    }
    let outputs = selection.term(root).map_or(&[][..], |t| &t.args);
    graph.outputs = source
        .outputs
        .iter()
        .zip(outputs)
        .map(|(o, id)| Output { name: o.name.clone(), value: values[&classes.find(*id)] })
        .collect();
    graph
}

fn materialise(
    graph: &mut Graph,
    source: &Graph,
    classes: &Classes,
    origins: &Origins,
    id: Id,
    term: &Term,
    operands: Vec<Value>,
) -> Value {
    match term.kind {
        Kind::Proj(result) => Value { node: operands[0].node, result },
        Kind::Leaf(node) => graph.add_node(source.node(node).clone()).into(),
        Kind::Apply { .. } | Kind::Root => {
            let op = classes.analysis.op(term).expect("the root is not materialised").clone();
            let mut origin = origins.get(term).cloned().unwrap_or_default();
            let is_param = classes[id].data.param_only;
            if matches!(op, Op::Const(_)) {
                origin = Origin::default();
            } else if is_param && !origin.provenance.rules.is_empty() {
                // A derivation stands for no layer; its rules say why it is there.
                origin.name = None;
            } else if origin.provenance.rules.is_empty() {
                origin.provenance.sources.clear();
            }
            graph
                .add_node(Node {
                    arity: operands.len(),
                    op,
                    operands,
                    epilogue: None,
                    types: classes[id].data.types.to_vec(),
                    name: origin.name,
                    provenance: origin.provenance,
                })
                .into()
        }
    }
}
