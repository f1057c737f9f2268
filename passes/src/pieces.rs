//! Small arithmetic on whole numbers, added to a graph: what passes need that write one operation as several.

use crate::edit::sources;
use crate::log::label;
use crate::pipeline::PassError;
use rectify_ir::graph::{Graph, Node, NodeId, Provenance, Value};
use rectify_ir::literal::Literal;
use rectify_ir::op::{Binary, CumulateKind, Op, ReduceKind, Source};
use rectify_ir::shape::infer_values;
use rectify_ir::{DType, Dim, TensorType};
use std::collections::HashSet;
use std::sync::Arc;

/// Longest list of places that stands in the graph as numbers.
const MAX_LITERAL: i64 = 1 << 12;

/// Adds nodes on behalf of one node.
pub(crate) struct Pieces<'g> {
    pub graph: &'g mut Graph,
    names: HashSet<Arc<str>>,
    at: String,
    provenance: Provenance,
    rule: &'static str,
}

pub(crate) type Made = Result<Value, PassError>;

impl<'g> Pieces<'g> {
    pub fn new(graph: &'g mut Graph, rule: &'static str) -> Pieces<'g> {
        let names = graph.node_ids().iter().filter_map(|id| graph.node(*id).name.clone()).collect();
        Pieces { graph, names, at: String::new(), provenance: Provenance::default(), rule }
    }

    /// Nodes from here on are made for this one.
    pub fn on_behalf_of(&mut self, id: NodeId) {
        self.at = label(self.graph, id);
        self.provenance = sources(self.graph.node(id));
        self.provenance.rules.push(self.rule.into());
    }

    /// The model needs what is not there.
    pub fn unsupported(&self, message: impl Into<String>) -> PassError {
        PassError::Unsupported { at: self.at.clone(), message: message.into() }
    }

    pub fn shape(&self, value: Value) -> &[Dim] {
        &self.graph.ty(value).shape
    }

    pub fn dtype(&self, value: Value) -> DType {
        self.graph.ty(value).dtype
    }

    pub fn push(&mut self, op: Op, operands: &[Value]) -> Made {
        let operands = operands.to_vec();
        let node = Node {
            op,
            arity: operands.len(),
            operands,
            epilogue: None,
            types: vec![],
            name: None,
            provenance: self.provenance.clone(),
        };
        self.add(node)
    }

    /// Adds a node whose types follow from its operands; gives its first result.
    pub fn add(&mut self, mut node: Node) -> Made {
        let own = node.own_operands();
        node.types = infer_values(self.graph, &node.op, own)
            .map_err(|e| PassError::Type { at: self.at.clone(), message: e.to_string() })?;
        Ok(self.graph.add_node(node).into())
    }

    pub fn binary(&mut self, b: Binary, x: Value, y: Value) -> Made {
        self.push(Op::Binary(b), &[x, y])
    }

    pub fn select(&mut self, condition: Value, yes: Value, no: Value) -> Made {
        self.push(Op::Select, &[condition, yes, no])
    }

    pub fn cast(&mut self, x: Value, to: DType) -> Made {
        if self.dtype(x) == to { Ok(x) } else { self.push(Op::Cast { to }, &[x]) }
    }

    pub fn reshape(&mut self, x: Value, shape: Vec<Dim>) -> Made {
        if self.shape(x) == shape { Ok(x) } else { self.push(Op::Reshape { shape }, &[x]) }
    }

    /// The elements `start..end` along an axis.
    pub fn part(&mut self, x: Value, axis: usize, start: Dim, end: Dim) -> Made {
        if start == Dim::Const(0) && self.shape(x)[axis] == end {
            return Ok(x);
        }
        let slice = Op::Slice { axes: vec![axis], starts: vec![start], ends: vec![end], steps: vec![1] };
        self.push(slice, &[x])
    }

    /// Numbers of i64 along one axis.
    pub fn numbers(&mut self, numbers: &[i64]) -> Value {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.literal(Literal { dtype: DType::I64, shape: vec![numbers.len()], bytes: bytes.into() })
    }

    pub fn literal(&mut self, literal: Literal) -> Value {
        let shape: Vec<Dim> = literal.shape.iter().map(|n| Dim::Const(*n as i64)).collect();
        let ty = TensorType::new(literal.dtype, shape);
        let mut names = (1..).map(|n| -> Arc<str> { format!("{}.number{n}", self.at).into() });
        let name = names.find(|n| !self.names.contains(n)).unwrap_or_default();
        self.names.insert(name.clone());
        self.graph.add_param(name, ty, Source::Data(literal))
    }

    /// One number of i64 repeated.
    pub fn filled(&mut self, number: i64, shape: Vec<Dim>) -> Made {
        let one = self.numbers(&[number]);
        self.push(Op::Expand { shape }, &[one])
    }

    /// 0, 1, 2, … of i64 along one of `rank` axes.
    pub fn places(&mut self, size: &Dim, axis: usize, rank: usize) -> Made {
        let places = match size.as_const() {
            Some(n) if n <= MAX_LITERAL => self.numbers(&(0..n).collect::<Vec<_>>()),
            _ => {
                let ones = self.filled(1, vec![size.clone()])?;
                let kind = CumulateKind::Sum;
                self.push(Op::Cumulate { kind, axis: 0, exclusive: true, reverse: false }, &[ones])?
            }
        };
        let mut shape = vec![Dim::Const(1); rank];
        shape[axis] = size.clone();
        self.reshape(places, shape)
    }

    /// A size that inputs give, as a number i64[1].
    pub fn size(&mut self, size: &Dim) -> Made {
        match size.as_const() {
            Some(n) => Ok(self.numbers(&[n])),
            None => {
                let ones = self.filled(1, vec![size.clone()])?;
                self.push(Op::Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: true }, &[ones])
            }
        }
    }
}
