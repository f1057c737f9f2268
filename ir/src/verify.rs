//! The verifier of graphs. A graph that it accepts is typed, evaluates and prints.
//!
//! Invariants, in the words that stand beside the fields:
//!
//! | rule | invariant |
//! |---|---|
//! | `limits` | At most `MAX_NODES` nodes. |
//! | `operands` | Every operand is a result of a node of the graph. |
//! | `edges` | For every node, its incoming edges are exactly its operands. |
//! | `acyclic` | No node depends on itself. |
//! | `arity` | `arity` is at most `operands.len()`, and equal to it without an epilogue. |
//! | `epilogue` | An epilogue has at least one step, and its steps read every epilogue operand. |
//! | `types` | The types are those of shape inference; every step of an epilogue has the type of the node's result. |
//! | `sources` | Inputs, parameters and constants have no operands and one type; inputs and parameters have a name. |
//! | `inputs` | `inputs` lists every input node once; names of inputs are unique. |
//! | `params` | Full names of parameters are unique. |
//! | `literals` | A literal has as many bytes as its shape says, and the type of its node. |
//! | `inits` | Numbers of an initialisation are finite. |
//! | `outputs` | There is at least one output; names of outputs are unique; every output is a value of the graph. |
//! | `cuts` | The size of a cut has a name that no input and no parameter has; cuts of one size have one count. |
//! | `facts` | `modulus >= 1`, `0 <= remainder < modulus`, and some value fits all facts of a name. |
//!
//! Shape inference checks attributes too: windows have an entry a spatial axis, axes are in range, axes of a PReLU
//! slope strictly increase and every slope dim is 1 or the axis' size, a permutation names every axis once.

use crate::graph::{EpArg, Graph, MAX_NODES, Node, NodeId};
use crate::init::{Dist, Fan, Gain, Init};
use crate::op::{Op, Source};
use crate::shape;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// A broken invariant: a bug of whoever made the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name in the table of this module.
    pub rule: &'static str,
    /// The node at fault, if it is one.
    pub node: Option<NodeId>,
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{} at {node}: {}", self.rule, self.message),
            None => write!(f, "{}: {}", self.rule, self.message),
        }
    }
}

impl std::error::Error for Violation {}

/// Checks every invariant. All violations are returned, in the order of the rules.
pub fn verify(graph: &Graph) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    for (rule, check) in RULES {
        check(graph, &mut |node, message| violations.push(Violation { rule, node, message }));
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

type Report<'a> = dyn FnMut(Option<NodeId>, String) + 'a;
type Check = fn(&Graph, &mut Report<'_>);

/// The rules by name, in the order of the module's table.
pub const RULES: &[(&str, Check)] = &[
    ("limits", limits),
    ("operands", operands),
    ("edges", edges),
    ("acyclic", acyclic),
    ("arity", arity),
    ("epilogue", epilogue),
    ("types", types),
    ("sources", sources),
    ("inputs", inputs),
    ("params", params),
    ("literals", literals),
    ("inits", inits),
    ("outputs", outputs),
    ("cuts", cuts),
    ("facts", facts),
];

fn nodes(graph: &Graph) -> impl Iterator<Item = (NodeId, &Node)> {
    graph.node_ids().into_iter().map(|id| (id, graph.node(id)))
}

fn limits(graph: &Graph, report: &mut Report<'_>) {
    if graph.len() > MAX_NODES {
        report(None, format!("{} nodes, more than {MAX_NODES}", graph.len()));
    }
}

fn operands(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        for v in &node.operands {
            if graph.get(v.node).is_none_or(|n| v.result as usize >= n.types.len()) {
                report(Some(id), format!("the operand {v} is no value of the graph"));
            }
        }
    }
}

fn edges(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        let want: Vec<_> = node.operands.iter().enumerate().map(|(i, v)| (i, v.node)).collect();
        if graph.incoming(id) != want {
            report(Some(id), "the incoming edges are not the operands".into());
        }
    }
}

fn acyclic(graph: &Graph, report: &mut Report<'_>) {
    let mut missing: HashMap<NodeId, usize> = HashMap::with_capacity(graph.len());
    let mut users: HashMap<NodeId, Vec<NodeId>> = HashMap::with_capacity(graph.len());
    for (id, node) in nodes(graph) {
        missing.insert(id, node.operands.len());
        for v in &node.operands {
            users.entry(v.node).or_default().push(id);
        }
    }
    let mut ready: Vec<NodeId> = missing.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    while let Some(id) = ready.pop() {
        missing.remove(&id);
        for user in users.get(&id).into_iter().flatten() {
            if let Some(n) = missing.get_mut(user) {
                *n -= 1;
                if *n == 0 {
                    ready.push(*user);
                }
            }
        }
    }
    if let Some(id) = missing.keys().min() {
        report(Some(*id), format!("{} nodes lie on or behind a cycle", missing.len()));
    }
}

fn arity(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        let (arity, given) = (node.arity, node.operands.len());
        if arity > given || (node.epilogue.is_none() && arity != given) {
            report(Some(id), format!("arity is {arity} with {given} operands"));
        }
    }
}

fn epilogue(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        let Some(epilogue) = &node.epilogue else { continue };
        if epilogue.steps.is_empty() {
            report(Some(id), "the epilogue has no step".into());
        }
        let read: BTreeSet<u32> = epilogue
            .steps
            .iter()
            .flat_map(|s| &s.args)
            .filter_map(|a| match a {
                EpArg::Operand(i) => Some(*i),
                EpArg::Acc | EpArg::Step(_) | EpArg::Scalar(_) => None,
            })
            .collect();
        for i in node.arity..node.operands.len() {
            if !read.contains(&((i - node.arity) as u32)) {
                report(Some(id), format!("no step reads the epilogue operand {}", i - node.arity));
            }
        }
    }
}

fn types(graph: &Graph, report: &mut Report<'_>) {
    let list =
        |types: &[crate::TensorType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (id, node) in nodes(graph) {
        // The other rules tell of operands that do not exist.
        if node.arity > node.operands.len() {
            continue;
        }
        match shape::infer_node(graph, node) {
            Ok(types) if types == node.types => {}
            Ok(types) => report(
                Some(id),
                format!(
                    "{} has the type {}, but {} follows",
                    node.op.name(),
                    list(&node.types),
                    list(&types)
                ),
            ),
            Err(e) => report(Some(id), e.to_string()),
        }
    }
}

fn sources(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        let named = match node.op {
            Op::Input | Op::Param(_) => true,
            Op::Const(_) => false,
            _ => continue,
        };
        if !node.operands.is_empty() || node.types.len() != 1 {
            report(Some(id), format!("an {} has no operands and one type", node.op.name()));
        }
        if named && node.name.as_deref().is_none_or(str::is_empty) {
            report(Some(id), format!("the {} has no name", node.op.name()));
        }
    }
}

fn inputs(graph: &Graph, report: &mut Report<'_>) {
    let listed: Vec<NodeId> = graph.inputs().to_vec();
    let found: BTreeSet<NodeId> =
        nodes(graph).filter(|(_, n)| matches!(n.op, Op::Input)).map(|(id, _)| id).collect();
    if listed.iter().copied().collect::<BTreeSet<_>>() != found || listed.len() != found.len() {
        report(None, "the list of inputs is not the set of input nodes".into());
    }
    unique(graph, found, "input", report);
}

fn params(graph: &Graph, report: &mut Report<'_>) {
    let params = nodes(graph).filter(|(_, n)| matches!(n.op, Op::Param(_))).map(|(id, _)| id);
    unique(graph, params, "parameter", report);
}

fn unique(graph: &Graph, ids: impl IntoIterator<Item = NodeId>, what: &str, report: &mut Report<'_>) {
    let mut seen = BTreeMap::new();
    for id in ids {
        let Some(name) = &graph.node(id).name else { continue };
        if let Some(first) = seen.insert(name, id) {
            report(Some(id), format!("the {what} name `{name}` is already that of {first}"));
        }
    }
}

fn literals(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        let Some(Source::Data(literal)) = node.source() else { continue };
        if !literal.is_consistent() {
            let (shape, bytes) = (&literal.shape, literal.bytes.len());
            report(Some(id), format!("the literal of shape {shape:?} has {bytes} bytes"));
        } else if node
            .types
            .iter()
            .any(|t| t.dtype != literal.dtype || t.const_shape().as_deref() != Some(literal.shape.as_slice()))
        {
            report(Some(id), format!("the literal {}{:?} has another type", literal.dtype, literal.shape));
        }
    }
}

fn inits(graph: &Graph, report: &mut Report<'_>) {
    for (id, node) in nodes(graph) {
        if let Some(Source::Init(init)) = node.source()
            && !numbers(init).iter().all(|n| n.is_finite())
        {
            report(Some(id), format!("the initialisation {init} has numbers that are not finite"));
        }
    }
}

fn numbers(init: &Init) -> Vec<f64> {
    let fan = |f: Fan| match f {
        Fan::Value(v) => v.0,
        Fan::In | Fan::Out | Fan::Avg => 1.0,
    };
    let gain = |g: Gain| match g {
        Gain::Value(v) => v.0,
        Gain::Auto => 1.0,
    };
    let mut numbers = match init.dist {
        Dist::Scaled { fan: f, gain: g, .. } => vec![fan(f), gain(g)],
        Dist::Normal { mean, std } => vec![mean.0, std.0],
        // A cut may be one-sided.
        Dist::TruncNormal { mean, std, .. } => vec![mean.0, std.0],
        Dist::Uniform { low, high } => vec![low.0, high.0],
        Dist::TorchDefault { fan: f } => vec![fan(f)],
        Dist::Orthogonal { gain: g } => vec![gain(g)],
        // A constant may be anything, infinity too.
        Dist::Constant(_) | Dist::Identity => vec![],
    };
    numbers.extend([init.scale.0, init.shift.0]);
    numbers
}

fn outputs(graph: &Graph, report: &mut Report<'_>) {
    if graph.outputs.is_empty() {
        report(None, "there is no output".into());
    }
    let mut seen = BTreeSet::new();
    for output in &graph.outputs {
        if !seen.insert(&output.name) {
            report(None, format!("the output name `{}` is given twice", output.name));
        }
        let value = output.value;
        if graph.get(value.node).is_none_or(|n| value.result as usize >= n.types.len()) {
            report(None, format!("the output `{}` is {value}, which is no value of the graph", output.name));
        }
    }
}

fn cuts(graph: &Graph, report: &mut Report<'_>) {
    let data = crate::bind::data_dims(graph);
    let mut counts = BTreeMap::new();
    for (id, node) in nodes(graph) {
        if let (Op::Cut { size, .. }, [_, count]) = (&node.op, node.operands.as_slice()) {
            let mut names = BTreeSet::new();
            size.collect_symbols(&mut names);
            if names.is_disjoint(&data) {
                report(Some(id), format!("the size {size} is known without the cut"));
            }
            let first = counts.entry(size).or_insert(*count);
            if first != count {
                report(Some(id), format!("the size {size} is {count} here and {first} elsewhere"));
            }
        }
    }
}

fn facts(graph: &Graph, report: &mut Report<'_>) {
    for (name, f) in &graph.facts.symbols {
        if f.modulus < 1 || !(0..f.modulus).contains(&f.remainder) {
            report(None, format!("{name} % {} == {} cannot be", f.modulus, f.remainder));
            continue;
        }
        let up = (i128::from(f.remainder) - i128::from(f.min)).rem_euclid(f.modulus.into());
        if f.max.is_some_and(|max| i128::from(f.min) + up > max.into()) {
            report(None, format!("no value of {name} fits its facts"));
        }
    }
}

#[cfg(test)]
mod tests;
