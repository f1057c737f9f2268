//! The e-graph's language: operations by number, leaves by the node they stand for.

use egg::{Id, Language};
use rectify_ir::graph::NodeId;
use rectify_ir::op::Op;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// What a term does with its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An input, a parameter, or a constant of another type than f32: that node of the source graph.
    Leaf(NodeId),
    /// The operation of this number in [`OpTable`]; `tag` is its name. An operation of several results is a tuple.
    Apply { op: u32, tag: &'static str },
    /// One result of a tuple.
    Proj(u32),
    /// All outputs of the model.
    Root,
}

/// The number of an operation stands for its name too.
impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Kind::Leaf(node) => node.hash(state),
            Kind::Apply { op, .. } => (1u8, op).hash(state),
            Kind::Proj(result) => (2u8, result).hash(state),
            Kind::Root => 3u8.hash(state),
        }
    }
}

/// A node of the e-graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term {
    pub kind: Kind,
    pub args: Box<[Id]>,
}

impl Term {
    pub fn leaf(node: NodeId) -> Term {
        Term { kind: Kind::Leaf(node), args: Box::new([]) }
    }

    /// The name of the operation; rules and lookups go by it.
    pub fn tag(&self) -> &'static str {
        match self.kind {
            Kind::Leaf(_) => "leaf",
            Kind::Apply { tag, .. } => tag,
            Kind::Proj(_) => "proj",
            Kind::Root => "root",
        }
    }
}

impl Language for Term {
    type Discriminant = &'static str;

    fn discriminant(&self) -> &'static str {
        self.tag()
    }

    fn matches(&self, other: &Term) -> bool {
        self.kind == other.kind && self.args.len() == other.args.len()
    }

    fn children(&self) -> &[Id] {
        &self.args
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.args
    }
}

/// Each operation once. The map is only asked, never walked, so its order does not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpTable {
    ops: Vec<Op>,
    numbers: HashMap<Op, u32>,
}

impl OpTable {
    pub fn get(&self, op: u32) -> &Op {
        &self.ops[op as usize]
    }

    pub fn apply(&mut self, op: &Op, args: impl Into<Box<[Id]>>) -> Term {
        let number = match self.numbers.get(op) {
            Some(n) => *n,
            None => {
                let n = self.ops.len() as u32;
                self.ops.push(op.clone());
                self.numbers.insert(op.clone(), n);
                n
            }
        };
        Term { kind: Kind::Apply { op: number, tag: op.name() }, args: args.into() }
    }
}
