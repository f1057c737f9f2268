//! The graph of a model: typed nodes on petgraph, with named inputs and outputs.
//!
//! The graph is logical. Layouts, algorithms and buffers live in the plan. Parameters are nodes ([`Op::Param`]); a node
//! all of whose operands are parameters is a *derivation*, evaluated when weights are packed and never at run time.

mod node;

pub use node::{EpArg, EpStep, Epilogue, Node, NodeId, Provenance, Value};

use crate::dim::DimFacts;
use crate::op::{Op, Source};
use crate::types::TensorType;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::{EdgeRef, NodeIndexable};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// More nodes than any model needs; a limit against hostile files.
pub const MAX_NODES: usize = 200_000;

/// How far a graph has come. A dump's header names it, so that a re-run dump skips what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// As lowered from the model file: typed, nothing rewritten.
    #[default]
    Typed,
    /// After all passes on the symbolic graph.
    Optimized,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Typed => "typed",
            Stage::Optimized => "optimized",
        }
    }
}

/// Nodes of one graph. Its hashes are quick and no defence: the numbers of nodes are not a stranger's to choose.
pub type NodeSet = FxHashSet<NodeId>;

/// A named result of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Output {
    pub name: Arc<str>,
    pub value: Value,
}

/// Edge from the node that makes a value to a node that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    /// Index into the reader's operands.
    operand: u32,
}

/// A model.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub name: String,
    /// The model's doc comment, without the slashes.
    pub doc: String,
    pub stage: Stage,
    pub facts: DimFacts,
    /// In declared order. `inputs` lists every input node once; names of inputs are unique.
    inputs: Vec<NodeId>,
    /// There is at least one output; names of outputs are unique; every output is a value of the graph.
    pub outputs: Vec<Output>,
    /// At most [`MAX_NODES`] nodes. For every node, its incoming edges are exactly its operands. No node depends on
    /// itself.
    nodes: StableDiGraph<Node, Use>,
}

fn index(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.0 as usize)
}

fn id(i: NodeIndex) -> NodeId {
    NodeId(i.index() as u32)
}

impl Graph {
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Adds an input after those that are there.
    pub fn add_input(&mut self, name: impl Into<Arc<str>>, ty: TensorType) -> Value {
        let node = self.add_node(Node {
            op: Op::Input,
            operands: vec![],
            arity: 0,
            epilogue: None,
            types: vec![ty],
            name: Some(name.into()),
            provenance: Provenance::default(),
        });
        self.inputs.push(node);
        node.into()
    }

    /// Adds a parameter under its full name.
    pub fn add_param(&mut self, name: impl Into<Arc<str>>, ty: TensorType, source: Source) -> Value {
        self.add_node(Node {
            op: Op::Param(source),
            operands: vec![],
            arity: 0,
            epilogue: None,
            types: vec![ty],
            name: Some(name.into()),
            provenance: Provenance::default(),
        })
        .into()
    }

    /// Adds a node as it is. Types are not looked at: see `shape::infer` and `verify`.
    pub fn add_node(&mut self, node: Node) -> NodeId {
        let operands = node.operands.clone();
        let to = self.nodes.add_node(node);
        self.link(to, &operands);
        id(to)
    }

    /// As [`Graph::add_node`]; an input node is listed among the inputs too, after those that are there.
    pub(crate) fn add_raw(&mut self, node: Node) -> NodeId {
        let is_input = matches!(node.op, Op::Input);
        let id = self.add_node(node);
        if is_input {
            self.inputs.push(id);
        }
        id
    }

    fn link(&mut self, to: NodeIndex, operands: &[Value]) {
        for (operand, value) in operands.iter().enumerate() {
            self.nodes.add_edge(index(value.node), to, Use { operand: operand as u32 });
        }
    }

    /// The node. Panics for an id of another graph or of a removed node: a bug of the caller.
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[index(node)]
    }

    /// The node, if it is there.
    pub fn get(&self, node: NodeId) -> Option<&Node> {
        self.nodes.node_weight(index(node))
    }

    /// Changes everything of a node but its operands.
    pub fn node_mut(&mut self, node: NodeId) -> NodeMut<'_> {
        let n = &mut self.nodes[index(node)];
        NodeMut { op: &mut n.op, types: &mut n.types, name: &mut n.name, provenance: &mut n.provenance }
    }

    /// Replaces a node in place; its users then read the new one.
    pub fn replace_node(&mut self, node: NodeId, new: Node) {
        let at = index(node);
        let old: Vec<_> = self.nodes.edges_directed(at, Direction::Incoming).map(|e| e.id()).collect();
        for e in old {
            self.nodes.remove_edge(e);
        }
        let operands = new.operands.clone();
        self.nodes[at] = new;
        self.link(at, &operands);
    }

    /// Lets all users of `from`, outputs too, read `to` instead.
    pub fn replace_uses(&mut self, from: Value, to: Value) {
        for (user, operand) in self.users(from) {
            let edges: Vec<_> = self
                .nodes
                .edges_connecting(index(from.node), index(user))
                .filter(|e| e.weight().operand as usize == operand)
                .map(|e| e.id())
                .collect();
            for e in edges {
                self.nodes.remove_edge(e);
            }
            self.nodes[index(user)].operands[operand] = to;
            self.nodes.add_edge(index(to.node), index(user), Use { operand: operand as u32 });
        }
        for output in &mut self.outputs {
            if output.value == from {
                output.value = to;
            }
        }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.node(value.node).types[value.result as usize]
    }

    /// Nodes that read the value, with the index among their operands; sorted. Outputs are not among them.
    pub fn users(&self, value: Value) -> Vec<(NodeId, usize)> {
        let mut users: Vec<_> = self
            .nodes
            .edges_directed(index(value.node), Direction::Outgoing)
            .map(|e| (id(e.target()), e.weight().operand as usize))
            .filter(|(user, operand)| self.node(*user).operands[*operand] == value)
            .collect();
        users.sort_unstable();
        users
    }

    /// How often the value is read, by nodes and as an output.
    pub fn use_count(&self, value: Value) -> usize {
        self.users(value).len() + self.outputs.iter().filter(|o| o.value == value).count()
    }

    /// Inputs in declared order.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// All nodes, by ascending id.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.nodes.node_indices().map(id).collect()
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The incoming edges of a node: which operand, and from where; by operand.
    pub(crate) fn incoming(&self, node: NodeId) -> Vec<(usize, NodeId)> {
        let edges = self.nodes.edges_directed(index(node), Direction::Incoming);
        let mut list: Vec<_> = edges.map(|e| (e.weight().operand as usize, id(e.source()))).collect();
        list.sort_unstable();
        list
    }

    /// A node without any protection, so that tests of the verifier can break it.
    #[cfg(test)]
    pub(crate) fn node_raw(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[index(node)]
    }

    /// Nodes in an order in which operands come first: inputs as declared, then depth first from the outputs in their
    /// order, then what no output needs. Depends on the structure of the graph alone where all nodes are needed.
    /// In a cyclic graph (which `verify` refuses) nodes of a cycle come in some order.
    pub fn topo_order(&self) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.len());
        let mut seen = vec![false; self.nodes.node_bound()];
        let mut first_visit = |node: NodeId| !std::mem::replace(&mut seen[node.index()], true);
        let roots = self.inputs.iter().copied().chain(self.outputs.iter().map(|o| o.value.node));
        for root in roots.chain(self.node_ids()) {
            // Each entry: a node and how many of its operands were visited.
            let mut stack = vec![(root, 0)];
            if !first_visit(root) {
                continue;
            }
            while let Some((node, next)) = stack.pop() {
                match self.node(node).operands.get(next) {
                    Some(operand) => {
                        stack.push((node, next + 1));
                        if first_visit(operand.node) {
                            stack.push((operand.node, 0));
                        }
                    }
                    None => order.push(node),
                }
            }
        }
        order
    }

    /// Removes nodes that no output needs; inputs stay. Returns how many went.
    pub fn remove_dead(&mut self) -> usize {
        let mut live = vec![false; self.nodes.node_bound()];
        let mut stack: Vec<_> = self.outputs.iter().map(|o| o.value.node).collect();
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut live[node.index()], true) {
                stack.extend(self.node(node).operands.iter().map(|v| v.node));
            }
        }
        self.inputs.iter().for_each(|input| live[input.index()] = true);
        let before = self.len();
        self.nodes.retain_nodes(|_, i| live[i.index()]);
        before - self.len()
    }

    /// Nodes whose value depends on parameters and constants only (parameters and constants themselves too).
    pub fn param_only(&self) -> NodeSet {
        let mut set = NodeSet::default();
        for node in self.topo_order() {
            let n = self.node(node);
            let constant = match n.op {
                // Whose size is known at run time is computed then.
                Op::Input | Op::Cut { .. } => false,
                Op::Param(_) | Op::Const(_) => true,
                _ => n.operands.iter().all(|v| set.contains(&v.node)),
            };
            if constant {
                set.insert(node);
            }
        }
        set
    }

    /// Parameters in topological order.
    pub fn params(&self) -> Vec<NodeId> {
        self.topo_order().into_iter().filter(|n| matches!(self.node(*n).op, Op::Param(_))).collect()
    }

    /// Renumbers nodes 0, 1, 2, … in topological order. The text form then has dense numbers.
    pub fn renumbered(&self) -> Graph {
        let mut graph = Graph {
            name: self.name.clone(),
            doc: self.doc.clone(),
            stage: self.stage,
            facts: self.facts.clone(),
            ..Graph::default()
        };
        let mut map = rustc_hash::FxHashMap::default();
        for old in self.topo_order() {
            let mut node = self.node(old).clone();
            for v in &mut node.operands {
                v.node = map[&v.node];
            }
            map.insert(old, graph.add_node(node));
        }
        graph.inputs = self.inputs.iter().map(|n| map[n]).collect();
        graph.outputs = self
            .outputs
            .iter()
            .map(|o| Output {
                name: o.name.clone(),
                value: Value { node: map[&o.value.node], result: o.value.result },
            })
            .collect();
        graph
    }
}

/// The parts of a node that may change in place.
pub struct NodeMut<'a> {
    pub op: &'a mut Op,
    pub types: &'a mut Vec<TensorType>,
    pub name: &'a mut Option<Arc<str>>,
    pub provenance: &'a mut Provenance,
}

/// Two graphs are equal where they are the same but for the numbers of nodes.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        let (a, b) = (self.renumbered(), other.renumbered());
        let nodes = |g: &Graph| g.nodes.node_weights().cloned().collect::<Vec<_>>();
        a.name == b.name
            && a.doc == b.doc
            && a.stage == b.stage
            && a.facts == b.facts
            && a.inputs == b.inputs
            && a.outputs == b.outputs
            && nodes(&a) == nodes(&b)
    }
}
