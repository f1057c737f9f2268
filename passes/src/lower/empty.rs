//! Nodes of no elements: results without any need no step, and what is made of no operands' elements is constant.

use super::layout::sizes;
use super::nest::Ref;
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::Program;
use rectify_ir::literal::Literal;
use rectify_ir::op::{Op, ReduceKind};

impl Lower<'_> {
    /// Lowers the node, if none of its results has elements, or if it adds up none; false where it is to be lowered as
    /// any other.
    pub(super) fn without_elements(&mut self, id: NodeId) -> Result<bool, LowerError> {
        let node = self.graph.node(id);
        if node.types.iter().all(|ty| ty.is_empty()) {
            for result in 0..node.types.len() as u32 {
                self.empty(Value { node: id, result })?;
            }
            return Ok(true);
        }
        let adds_none = node.own_operands().iter().any(|v| self.graph.ty(*v).is_empty());
        match node.op {
            Op::Reduce { kind, .. } if adds_none => self.fill(id, kind).map(|()| true),
            Op::MatMul if adds_none => self.fill(id, ReduceKind::Sum).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Gives a value without elements a place.
    pub(super) fn empty(&mut self, value: Value) -> Result<(), LowerError> {
        if self.layout.outputs.contains_key(&value) && self.layout.root(value).0 == value {
            return self.owned_view(value).map(drop);
        }
        let (shape, label) = (sizes(self.graph, value), self.label(value.node));
        let halo = Halo::none(shape.len());
        let view =
            self.draft.typed_tensor(self.held(value), Home::Arena, &shape, Form::Plain, &halo, &label)?;
        self.views.insert(value, view);
        Ok(())
    }

    /// What a reduction of nothing gives, everywhere.
    fn fill(&mut self, id: NodeId, kind: ReduceKind) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let dtype = self.graph.ty(id.into()).dtype;
        let value = match kind {
            ReduceKind::Sum => 0.0,
            ReduceKind::Prod => 1.0,
            ReduceKind::Mean => f64::NAN,
            ReduceKind::Max if dtype.is_int() => return self.fill_with(id, &out, dtype.least_int()),
            ReduceKind::Min if dtype.is_int() => return self.fill_with(id, &out, dtype.greatest_int()),
            // Of bool: nothing is true, and all of nothing are.
            ReduceKind::Max if dtype == DType::Bool => 0.0,
            ReduceKind::Min if dtype == DType::Bool => 1.0,
            ReduceKind::Max => f64::NEG_INFINITY,
            ReduceKind::Min => f64::INFINITY,
        };
        self.through_epilogue(id, &out, vec![], Program::constant(value))
    }

    /// An integer that no constant of a program holds.
    fn fill_with(&mut self, id: NodeId, out: &View, value: i64) -> Result<(), LowerError> {
        let dtype = self.graph.ty(id.into()).dtype;
        let bytes = value.to_le_bytes()[..dtype.size_bytes()].into();
        let storage = self.draft.pack_elements(&Literal { dtype, shape: vec![1], bytes });
        let axes = out.axes.iter().map(|a| Axis::broadcast(a.size)).collect();
        let from = Ref::new(&View { storage, base: 0, axes: vec![] }, axes);
        self.through_epilogue(id, out, vec![from], Program::copy())
    }
}
