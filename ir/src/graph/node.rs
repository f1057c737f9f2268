//! Nodes of a graph, their values, epilogues and provenance.

use crate::op::{Op, Source};
use crate::scalar::Scalar;
use crate::types::TensorType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A node of one graph. Ids are dense in no way and mean nothing in another graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The number in the text form (`%7`).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// One result of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Value {
    pub node: NodeId,
    /// Which result; 0 unless the operation has several.
    pub result: u32,
}

impl From<NodeId> for Value {
    fn from(node: NodeId) -> Value {
        Value { node, result: 0 }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.result == 0 { write!(f, "{}", self.node) } else { write!(f, "{}.{}", self.node, self.result) }
    }
}

/// An operation applied to values.
///
/// Inputs, parameters and constants have no operands and one type; inputs and parameters have a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub op: Op,
    /// First the operation's own operands, then those of the epilogue. Every operand is a result of a node of the graph.
    pub operands: Vec<Value>,
    /// How many of `operands` belong to the operation. `arity` is at most `operands.len()`, and equal to it without an
    /// epilogue.
    pub arity: usize,
    /// Elementwise work on the single result before it is stored.
    pub epilogue: Option<Epilogue>,
    /// Types of the results. The types are those of shape inference; every step of an epilogue has the type of the
    /// node's result.
    pub types: Vec<TensorType>,
    /// Inputs: the input's name. Parameters: the full name; full names of parameters are unique. Others: the label path of the call, if it has one.
    pub name: Option<Arc<str>>,
    pub provenance: Provenance,
}

impl Node {
    /// Operands of the operation itself.
    pub fn own_operands(&self) -> &[Value] {
        &self.operands[..self.arity]
    }

    /// Operands that only the epilogue reads; `EpArg::Operand(i)` is entry i.
    pub fn epilogue_operands(&self) -> &[Value] {
        &self.operands[self.arity..]
    }

    /// The source, if the node is a parameter.
    pub fn source(&self) -> Option<&Source> {
        match &self.op {
            Op::Param(source) => Some(source),
            _ => None,
        }
    }
}

/// A straight-line elementwise expression over the accumulator: the result of the node's operation.
///
/// The node's result is the last step's. Every step has the type of the node's result; operands broadcast to it as in
/// the operation's own rule. An epilogue has at least one step, and its steps read every epilogue operand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epilogue {
    /// At least one. Only elementwise operations (`Op::is_elementwise`).
    pub steps: Vec<EpStep>,
}

/// One operation of an epilogue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpStep {
    pub op: Op,
    pub args: Vec<EpArg>,
}

/// What a step of an epilogue reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpArg {
    /// The result of the node's operation.
    Acc,
    /// Entry i of [`Node::epilogue_operands`].
    Operand(u32),
    /// An earlier step's result.
    Step(u32),
    Scalar(Scalar),
}

/// Where a node comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Provenance {
    /// Labels of the source nodes it stands for, in source order. Empty for a node that is its own source.
    pub sources: Vec<Arc<str>>,
    /// Rules and passes that made it, in order.
    pub rules: Vec<Arc<str>>,
}

impl Provenance {
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.rules.is_empty()
    }

    /// Adds what `other` has and this has not.
    pub fn absorb(&mut self, other: &Provenance) {
        for s in &other.sources {
            if !self.sources.contains(s) {
                self.sources.push(s.clone());
            }
        }
        for r in &other.rules {
            if !self.rules.contains(r) {
                self.rules.push(r.clone());
            }
        }
    }
}
