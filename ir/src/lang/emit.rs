//! Nodes: an op with its operands and attributes becomes a node of the graph, and errors of op and shape become reports.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::cx::{Cx, Eval, Poisoned};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::graph::{Node, Provenance, Value};
use crate::op::{AttrError, Attrs, Op, table};
use crate::shape::{self, ShapeError};
use crate::syntax::ast::Region;
use crate::types::TensorType;

/// What becomes of a call besides its operation.
#[derive(Default)]
pub struct Extras<'a> {
    pub name: Option<Arc<str>>,
    pub region: Option<&'a Region>,
    pub provenance: Provenance,
}

impl<'a> Cx<'a, '_> {
    /// An op without attributes on values, as operators make it.
    pub fn apply_op(&mut self, name: &'static str, operands: Vec<Val<'a>>, span: Span) -> Eval<Val<'a>> {
        let operands = operands.into_iter().map(|value| (value, span)).collect();
        self.emit(name, &Attrs::new(), &HashMap::new(), operands, Extras::default(), span)
    }

    /// Makes the node, or a step of an epilogue where an operand is a value of one.
    pub fn emit(
        &mut self,
        name: &'static str,
        attrs: &Attrs,
        places: &HashMap<String, Span>,
        operands: Vec<(Val<'a>, Span)>,
        extras: Extras<'a>,
        span: Span,
    ) -> Eval<Val<'a>> {
        self.room(span)?;
        if self.in_region(&operands) {
            return self.emit_step(name, attrs, places, operands, span);
        }
        if !operands.iter().any(|(value, _)| matches!(value, Val::Tensor(_))) {
            let (value, place) = operands.first().cloned().unwrap_or((Val::None, span));
            self.want_tensor(value, place, &format!("an operand of `{name}`"))?;
        }
        let mut values = Vec::with_capacity(operands.len());
        for (value, place) in operands {
            values.push(match value.as_float() {
                Some(number) => self.constant_node(number),
                None => self.want_tensor(value, place, &format!("an operand of `{name}`"))?,
            });
        }
        let types = shape::operand_types_of(&self.graph, name, &values)
            .map(|types| types.into_iter().map(Cow::into_owned).collect::<Vec<TensorType>>());
        let types = types.map_err(|error| self.shape_error(error, span))?;
        let op = self.build(name, attrs, places, &types, span)?;
        let mut node = Node {
            arity: values.len(),
            operands: values,
            epilogue: None,
            types: Vec::new(),
            name: extras.name,
            provenance: extras.provenance,
            op,
        };
        node.types = match shape::infer_own(&self.graph, &node) {
            Ok(types) => types,
            Err(error) => return Err(self.shape_error(error, span)),
        };
        if let Some(region) = extras.region {
            self.read_region(region, &mut node, span)?;
        }
        let several = node.types.len() != 1 || matches!(node.op, Op::Split { .. });
        let results = node.types.len() as u32;
        let param_only = node.operands.iter().all(|value| self.param_only.contains(&value.node));
        let id = match self.graph.push_node(node) {
            Ok(id) => id,
            Err(error) => return Err(self.shape_error(error, span)),
        };
        if param_only {
            self.param_only.insert(id);
        }
        if several {
            return Ok(Val::Tuple(
                (0..results).map(|result| Val::Tensor(Value { node: id, result })).collect(),
            ));
        }
        Ok(Val::Tensor(id.into()))
    }

    pub fn constant_node(&mut self, value: f64) -> Value {
        let node = self.graph.push_const(value);
        self.param_only.insert(node.node);
        node
    }

    pub fn build(
        &mut self,
        name: &'static str,
        attrs: &Attrs,
        places: &HashMap<String, Span>,
        types: &[TensorType],
        span: Span,
    ) -> Eval<Op> {
        let types: Vec<&TensorType> = types.iter().collect();
        Op::build(name, attrs, &types, &self.graph.facts)
            .map_err(|error| self.attr_error(name, error, &types, places, span))
    }

    fn attr_error(
        &mut self,
        name: &str,
        error: AttrError,
        types: &[&TensorType],
        places: &HashMap<String, Span>,
        span: Span,
    ) -> Poisoned {
        let place = error.attr.as_ref().and_then(|attr| places.get(attr)).copied();
        let label = if place.is_some() { "this value" } else { "in this call" };
        let mut diagnostic = Diagnostic::error("E0306-attribute", format!("`{name}`: {}", error.message))
            .label(place.unwrap_or(span), label);
        if let Some(x) = types.first() {
            diagnostic = diagnostic.note(format!("the input is {x}"));
        }
        let example = table::find(name).map(|spec| format!("an example: `{}`", spec.example));
        self.report(diagnostic.maybe_help(example).maybe_help(error.help))
    }

    pub fn shape_error(&mut self, error: ShapeError, span: Span) -> Poisoned {
        let mut diagnostic = Diagnostic::error("E0307-shape", error.message).label(span, "in this call");
        if !error.shapes.is_empty() {
            let shapes: Vec<String> =
                error.shapes.iter().map(|(name, ty)| format!("{name} is {ty}")).collect();
            diagnostic = diagnostic.note(shapes.join(", "));
        }
        self.report(diagnostic.maybe_help(error.help))
    }
}
