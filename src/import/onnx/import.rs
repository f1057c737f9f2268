//! The walk over a model's nodes: names to values, nodes to graph operations, problems collected.

use super::attrs::Attrs;
use super::context::Cx;
use super::declare::identifier;
use super::fold::Fold;
use super::lower;
use super::opset::{Opsets, domain};
use super::problem::{Problem, ProblemKind, Problems, Refusal};
use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use super::table::{Slot, Tensor};
use super::weights::OnnxWeights;
use rectify_ir::graph::{MAX_NODES, Output, Provenance};
use rectify_ir::literal::Literal;
use rectify_ir::{Dim, Graph, NodeId, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Problems beyond this number are counted, not told.
const MAX_PROBLEMS: usize = 500;

/// Functions calling functions, at most this deep.
pub(super) const MAX_CALLS: u32 = 16;

/// Elements that folding may compute in all; a limit against hostile files.
const FOLD_BUDGET: usize = 4 << 20;

/// Inputs of more elements never decide on shapes.
pub(super) const MAX_VALUE_INPUT: i64 = 512;

/// What is known of a model before it is imported.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values of inputs that shapes or attributes depend on. They are constants of the graph, and inputs no more.
    pub values: BTreeMap<String, Literal>,
    /// Sizes of symbolic dims, by name.
    pub dims: BTreeMap<String, i64>,
    /// Symbolic dims behind the batch are multiples of this, which becomes a fact of the graph.
    pub multiples_of: Option<i64>,
}

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    pub graph: Graph,
    /// Tensors that the graph's sources name.
    pub weights: Arc<OnnxWeights>,
    /// The values that the file's names stand for, in the order in which the file makes them: inputs, then results.
    pub tensors: Vec<(Arc<str>, Value)>,
}

/// Names within a graph or the body of a function.
pub(super) struct Scope<'s> {
    pub opsets: &'s Opsets,
    /// Before all names of the body; empty for the model's graph.
    prefix: String,
    /// Formal names of a function and what they stand for outside; `None` for optional ones that are left out.
    formal: HashMap<&'s str, Option<String>>,
    /// Attributes of the call.
    attrs: HashMap<&'s str, &'s AttributeProto>,
    pub depth: u32,
}

impl<'s> Scope<'s> {
    /// The scope of a branch within this one.
    pub fn inner(&self) -> Scope<'s> {
        Scope {
            opsets: self.opsets,
            prefix: self.prefix.clone(),
            formal: self.formal.clone(),
            attrs: self.attrs.clone(),
            depth: self.depth + 1,
        }
    }

    pub fn key(&self, name: &str) -> Option<String> {
        match self.formal.get(name) {
            _ if name.is_empty() => None,
            Some(outer) => outer.clone(),
            None => Some(format!("{}{name}", self.prefix)),
        }
    }
}

pub(super) struct Importer<'m> {
    pub graph: Graph,
    pub weights: OnnxWeights,
    pub slots: HashMap<String, Slot>,
    pub problems: Vec<Problem>,
    untold: usize,
    functions: HashMap<(&'m str, &'m str, &'m str), &'m FunctionProto>,
    pub options: &'m Options,
    /// Names of nodes and parameters that are taken.
    pub labels: HashSet<Arc<str>>,
    pub tensors: Vec<(Arc<str>, Value)>,
    /// Names of sizes that are known at run time alone, by their number and what bounds it.
    data_dims: HashMap<(Value, Dim), Arc<str>>,
    /// The numbers that sizes are, as i64[1].
    pub size_values: HashMap<Dim, Value>,
    /// Nodes made for the present node of the file.
    pub fresh: Vec<NodeId>,
    fold_budget: usize,
    nodes_seen: usize,
}

impl<'m> Importer<'m> {
    pub fn new(
        proto: &'m ModelProto,
        weights: OnnxWeights,
        options: &'m Options,
        problems: Vec<Problem>,
    ) -> Importer<'m> {
        let functions = proto
            .functions
            .iter()
            .map(|f| ((domain(&f.domain), f.name.as_str(), f.overload.as_str()), f))
            .collect();
        Importer {
            graph: Graph::default(),
            weights,
            slots: HashMap::new(),
            problems,
            untold: 0,
            functions,
            options,
            labels: HashSet::new(),
            tensors: Vec::new(),
            data_dims: HashMap::new(),
            size_values: HashMap::new(),
            fresh: Vec::new(),
            fold_budget: FOLD_BUDGET,
            nodes_seen: 0,
        }
    }

    pub fn run(&mut self, graph: &GraphProto, opsets: &Opsets) {
        for s in &graph.sparse_initializer {
            let name = s.values.as_ref().map_or("", |v| &v.name);
            self.problem(
                ProblemKind::UnsupportedType,
                format!("the initialiser `{name}` is sparse"),
                Some("store it as a dense tensor".into()),
            );
            self.slots.insert(name.into(), Slot::Poisoned);
        }
        self.labels.extend(self.weights.iter().map(|(n, _)| Arc::from(n)));
        let initialisers: Vec<_> = self.weights.iter().map(|(n, t)| (n.to_string(), t.clone())).collect();
        for (name, raw) in initialisers {
            self.slots.insert(name, Slot::Ready(Tensor::constant(raw)));
        }
        self.declare(graph);
        let scope =
            Scope { opsets, prefix: String::new(), formal: HashMap::new(), attrs: HashMap::new(), depth: 0 };
        self.nodes(&graph.node, &scope);
    }

    /// The inputs. Old files list their weights as inputs too; those are parameters.
    pub fn declare(&mut self, graph: &GraphProto) {
        self.graph.name = identifier(&graph.name).unwrap_or_else(|| "model".into());
        self.graph.doc = graph.doc_string.clone();
        for input in &graph.input {
            if self.weights.get(&input.name).is_none() {
                self.input(input);
            }
        }
    }

    /// The graph, if there were no problems.
    pub fn finish(mut self, graph: &GraphProto) -> Result<Imported, Problems> {
        let mut names = HashSet::new();
        for output in &graph.output {
            if !names.insert(&output.name) {
                self.malformed(format!("the output `{}` is declared twice", output.name));
                continue;
            }
            match self.value(&output.name) {
                Ok(value) => self.graph.outputs.push(Output { name: output.name.as_str().into(), value }),
                Err(Refusal::Poisoned) => {}
                Err(Refusal::Problem { kind, message, help }) => {
                    self.problem(kind, format!("the output `{}`: {message}", output.name), help);
                }
            }
        }
        if graph.output.is_empty() {
            self.malformed("the graph has no outputs".into());
        }
        if self.untold > 0 {
            let message = format!("and {} more problems", self.untold);
            self.problems.push(plain(ProblemKind::Malformed, message, None));
        }
        if !self.problems.is_empty() {
            return Err(Problems::told(self.problems));
        }
        self.graph.remove_dead();
        let live = |v: &Value| self.graph.get(v.node).is_some();
        self.tensors.retain(|(_, v)| live(v));
        Ok(Imported { graph: self.graph, weights: Arc::new(self.weights), tensors: self.tensors })
    }

    fn tell(&mut self, p: Problem) {
        if self.problems.len() < MAX_PROBLEMS { self.problems.push(p) } else { self.untold += 1 }
    }

    pub fn problem(&mut self, kind: ProblemKind, message: String, help: Option<String>) {
        self.tell(plain(kind, message, help));
    }

    pub fn malformed(&mut self, message: String) {
        self.problem(ProblemKind::Malformed, message, None);
    }

    pub(super) fn nodes(&mut self, nodes: &[NodeProto], scope: &Scope<'_>) {
        for node in nodes {
            self.nodes_seen += 1;
            if self.nodes_seen > MAX_NODES {
                return self.malformed(format!("the model has more than {MAX_NODES} nodes"));
            }
            self.node(node, scope);
        }
    }

    fn node(&mut self, node: &NodeProto, scope: &Scope<'_>) {
        let attrs: Cow<'_, [AttributeProto]> = if node.attribute.iter().any(|a| !a.ref_attr_name.is_empty()) {
            Cow::Owned(bind_attributes(&node.attribute, scope))
        } else {
            Cow::Borrowed(&node.attribute)
        };
        let attrs = Attrs::new(&attrs);
        let inputs: Vec<_> = node.input.iter().map(|n| scope.key(n)).collect();
        let outputs: Vec<_> = node.output.iter().map(|n| scope.key(n)).collect();
        let label = self.label(node, scope, &outputs);
        self.fresh.clear();
        let own = domain(&node.domain);
        let lower = if own.is_empty() { lower::find(&node.op_type) } else { None };
        let function = self.functions.get(&(own, node.op_type.as_str(), node.overload.as_str())).copied();
        let result = match (lower, function) {
            (_, Some(function)) => self.call(function, &attrs, &inputs, &outputs, scope),
            _ if self.fold(node, &attrs, &inputs, &outputs, scope) => Ok(()),
            (Some(lower), None) => {
                let mut cx = Cx::new(self, &attrs, &inputs, &outputs, scope.opsets.onnx(), &node.op_type);
                lower(&mut cx).and_then(|()| cx.finish())
            }
            (None, None) if own.is_empty() && node.op_type == "If" => {
                self.branch(&attrs, &inputs, &outputs, scope)
            }
            (None, None) => Err(unsupported(own, node, scope.opsets)),
        };
        if let Err(refusal) = result {
            self.refuse(refusal, node, &inputs, &label);
            for name in outputs.iter().flatten() {
                self.slots.insert(name.clone(), Slot::Poisoned);
            }
        }
        self.name_new_nodes(&label, &outputs);
    }

    /// Gives the nodes that the lowering made the label, other outputs' names, or their provenance.
    fn name_new_nodes(&mut self, label: &Arc<str>, outputs: &[Option<String>]) {
        let ids = std::mem::take(&mut self.fresh);
        for (i, output) in outputs.iter().enumerate() {
            let Some(Slot::Ready(t)) = output.as_ref().and_then(|o| self.slots.get(o)) else { continue };
            let (Some(value), Some(name)) = (t.value, output) else { continue };
            self.tensors.push((name.as_str().into(), value));
            if ids.contains(&value.node) && self.graph.node(value.node).name.is_none() {
                let name = if i == 0 { label.clone() } else { self.unique(name) };
                *self.graph.node_mut(value.node).name = Some(name);
            }
        }
        for id in ids {
            if self.graph.node(id).name.is_none() {
                let provenance = Provenance { sources: vec![label.clone()], rules: vec![] };
                *self.graph.node_mut(id).provenance = provenance;
            }
        }
    }

    /// The node's name, or its first output's; not taken by another node.
    fn label(&mut self, node: &NodeProto, scope: &Scope<'_>, outputs: &[Option<String>]) -> Arc<str> {
        let own = if node.name.is_empty() { None } else { Some(format!("{}{}", scope.prefix, node.name)) };
        let output = outputs.iter().flatten().next().cloned();
        match (own, output) {
            (Some(own), Some(output)) if self.labels.contains(own.as_str()) => self.unique(&output),
            (Some(own), _) => self.unique(&own),
            (None, Some(output)) => self.unique(&output),
            (None, None) => self.unique(&node.op_type),
        }
    }

    /// `name`, or with a number behind it if it is taken. Takes it.
    pub fn unique(&mut self, name: &str) -> Arc<str> {
        let mut candidate: Arc<str> = name.into();
        let mut n = 2;
        while !self.labels.insert(candidate.clone()) {
            candidate = format!("{name}_{n}").into();
            n += 1;
        }
        candidate
    }

    /// The name of the size `count`, which is known at run time alone and at most `all`.
    pub fn data_dim(&mut self, count: Value, all: &Dim) -> Arc<str> {
        if let Some(name) = self.data_dims.get(&(count, all.clone())) {
            return name.clone();
        }
        let mut taken: BTreeSet<Arc<str>> = self.graph.facts.symbols.keys().cloned().collect();
        for input in self.graph.inputs() {
            self.graph.ty((*input).into()).shape.iter().for_each(|d| d.collect_symbols(&mut taken));
        }
        let mut names = (1..).map(|n| -> Arc<str> { format!("K{n}").into() });
        let name = names.find(|n| !taken.contains(n)).unwrap_or_default();
        let facts = self.graph.facts.entry(&name);
        (facts.min, facts.max) = (0, all.as_const());
        self.data_dims.insert((count, all.clone()), name.clone());
        self.size_values.insert(Dim::sym(&name), count);
        name
    }

    /// The greatest that a size can be that data gives under this name, where that is no such size itself.
    pub fn bound(&self, name: &str) -> Option<Dim> {
        let (_, all) = self.data_dims.iter().find(|(_, n)| n.as_ref() == name)?.0;
        (!self.is_data(all)).then(|| all.clone())
    }

    /// Whether the size depends on one that data gives.
    pub fn is_data(&self, size: &Dim) -> bool {
        let mut names = BTreeSet::new();
        size.collect_symbols(&mut names);
        self.data_dims.values().any(|name| names.contains(name))
    }

    fn refuse(&mut self, refusal: Refusal, node: &NodeProto, inputs: &[Option<String>], label: &str) {
        let Refusal::Problem { kind, message, help } = refusal else { return };
        let described = inputs
            .iter()
            .flatten()
            .map(|name| {
                let ty = match self.slots.get(name) {
                    Some(Slot::Ready(t)) => Some(t.ty.clone()),
                    Some(Slot::Poisoned) | None => None,
                };
                (name.clone(), ty)
            })
            .collect();
        let op = match domain(&node.domain) {
            "" => node.op_type.clone(),
            d => format!("{d}.{}", node.op_type),
        };
        self.tell(Problem { kind, node: Some(label.into()), op: Some(op), inputs: described, message, help });
    }

    /// Lowers the body of a function in place of a call.
    fn call(
        &mut self,
        function: &FunctionProto,
        attrs: &Attrs<'_>,
        inputs: &[Option<String>],
        outputs: &[Option<String>],
        outer: &Scope<'_>,
    ) -> Result<(), Refusal> {
        if outer.depth >= MAX_CALLS {
            return Err(Refusal::malformed(format!("functions call each other more than {MAX_CALLS} deep")));
        }
        if inputs.len() > function.input.len() || outputs.len() > function.output.len() {
            return Err(Refusal::malformed(format!("the function `{}` has fewer operands", function.name)));
        }
        let opsets = if function.opset_import.is_empty() {
            outer.opsets.clone()
        } else {
            Opsets::read(&function.opset_import).map_err(|p| Refusal::Problem {
                kind: p.kind,
                message: p.message,
                help: p.help,
            })?
        };
        let prefix =
            format!("{}{}.", outer.prefix, self.unique(&format!("{}_{}", function.name, self.nodes_seen)));
        let padded = |i: usize| inputs.get(i).cloned().flatten();
        let formal = function.input.iter().enumerate().map(|(i, n)| (n.as_str(), padded(i))).collect();
        let defaults = function.attribute_proto.iter().map(|a| (a.name.as_str(), a));
        let scope = Scope {
            opsets: &opsets,
            prefix,
            formal,
            attrs: defaults.chain(attrs.all().iter().map(|a| (a.name.as_str(), a))).collect(),
            depth: outer.depth + 1,
        };
        self.nodes(&function.node, &scope);
        for (formal, actual) in function.output.iter().zip(outputs) {
            let (Some(inner), Some(actual)) = (scope.key(formal), actual) else { continue };
            let slot = match self.slots.get(&inner) {
                Some(Slot::Ready(t)) => Slot::Ready(t.share()),
                // A node of the body has told its problem.
                Some(Slot::Poisoned) => Slot::Poisoned,
                None => return Err(Refusal::malformed(format!("nothing makes the result `{formal}`"))),
            };
            self.slots.insert(actual.clone(), slot);
        }
        Ok(())
    }

    /// Evaluates the node if it works on known values; true if that gave its results.
    fn fold(
        &mut self,
        node: &NodeProto,
        attrs: &Attrs<'_>,
        inputs: &[Option<String>],
        outputs: &[Option<String>],
        scope: &Scope<'_>,
    ) -> bool {
        if !domain(&node.domain).is_empty() || inputs.is_empty() {
            return false;
        }
        let mut known = Vec::new();
        for name in inputs {
            match name.as_ref().map(|n| self.known(n)) {
                None => known.push(None),
                Some(Ok(Some(k))) => known.push(Some(k)),
                Some(_) => return false,
            }
        }
        // Arithmetic on the floats of a file is left to the passes, so that parameters keep their names; scalars aside.
        let worth = known.iter().flatten().any(|k| !k.dtype.is_float() || k.derived)
            || known.iter().flatten().all(|k| k.elems.len() <= 8);
        let cost: usize = known.iter().flatten().map(|k| k.elems.len().max(1)).sum();
        if !worth || cost > self.fold_budget {
            return false;
        }
        self.fold_budget -= cost;
        let fold = Fold {
            op: &node.op_type,
            version: scope.opsets.onnx(),
            inputs: known.iter().map(Option::as_deref).collect(),
            attrs,
            outputs: outputs.len(),
            facts: &self.graph.facts,
        };
        match fold.run() {
            Some(results) if results.len() >= outputs.len() && attrs.unread().is_empty() => {
                for (name, known) in outputs.iter().zip(results) {
                    if let Some(name) = name {
                        self.set_known(name, known);
                    }
                }
                true
            }
            _ => false,
        }
    }
}

fn plain(kind: ProblemKind, message: String, help: Option<String>) -> Problem {
    Problem { kind, node: None, op: None, inputs: vec![], message, help }
}

fn unsupported(domain: &str, node: &NodeProto, opsets: &Opsets) -> Refusal {
    let op = &node.op_type;
    let known = domain.is_empty();
    let message = match domain {
        "" => format!("the operation {op} (operator set {}) is not supported", opsets.onnx()),
        d => format!("the operation {op} of the domain `{d}` is not supported"),
    };
    let help = match op.as_str() {
        "Loop" | "Scan" if known => {
            "export the model without control flow, for example by tracing it with fixed choices"
        }
        _ if known => "export the model with operations that are supported, or cut it before this node",
        _ => "export the model with ONNX's own operations only",
    };
    Refusal::new(ProblemKind::UnsupportedOp, message).help(help)
}

/// Attributes of a node in a function's body, with those of the call in place of references.
fn bind_attributes(list: &[AttributeProto], scope: &Scope<'_>) -> Vec<AttributeProto> {
    list.iter()
        .filter_map(|a| {
            if a.ref_attr_name.is_empty() {
                return Some(a.clone());
            }
            // An attribute that the call leaves out is absent in the body too.
            let given = scope.attrs.get(a.ref_attr_name.as_str())?;
            Some(AttributeProto { name: a.name.clone(), ..(*given).clone() })
        })
        .collect()
}
