//! Types of whole nodes: the operation, then the epilogue; and building a graph with inference.

use super::{ShapeError, infer};
use crate::dtype::DType;
use crate::graph::{EpArg, Graph, MAX_NODES, Node, Provenance, Value};
use crate::op::Op;
use crate::types::TensorType;
use std::borrow::Cow;
use std::sync::Arc;

/// The types of a node's results, from the types of its operands in `graph`. The node need not be in the graph.
/// Inputs and parameters keep their declared type; so does a constant, whose element type may have been chosen.
pub fn infer_node(graph: &Graph, node: &Node) -> Result<Vec<TensorType>, ShapeError> {
    let types = infer_own(graph, node)?;
    check_epilogue(graph, node, &types)?;
    Ok(types)
}

/// As [`infer_node`] for the operation alone. An epilogue changes no type.
pub fn infer_own(graph: &Graph, node: &Node) -> Result<Vec<TensorType>, ShapeError> {
    match &node.op {
        Op::Input | Op::Param(_) | Op::Const(_) => {
            if node.types.len() != 1 {
                return Err(ShapeError::new(format!("an {} has exactly one type", node.op.name())));
            }
            if matches!(node.op, Op::Const(_)) && node.types[0].rank() != 0 {
                return Err(ShapeError::new("a constant has rank 0").show("constant", &node.types[0]));
            }
            super::check_type(&node.types[0], &graph.facts)?;
            Ok(node.types.clone())
        }
        op => {
            let own = node.operands.get(..node.arity).ok_or_else(|| {
                ShapeError::new(format!("{} has fewer operands than its arity", node.op.name()))
            })?;
            infer_values(graph, op, own)
        }
    }
}

/// The types of the results of `op` on values of `graph`.
pub fn infer_values(graph: &Graph, op: &Op, operands: &[Value]) -> Result<Vec<TensorType>, ShapeError> {
    let types = operand_types_of(graph, op.name(), operands)?;
    infer(op, &types.iter().map(Cow::as_ref).collect::<Vec<_>>(), &graph.facts)
}

/// The types of values as an operation sees them: a constant adopts the element type of the first other operand.
pub fn operand_types<'g>(
    graph: &'g Graph,
    operands: &[Value],
) -> Result<Vec<Cow<'g, TensorType>>, ShapeError> {
    let lookup = |v: &Value| -> Result<(&'g Node, &'g TensorType), ShapeError> {
        let node = graph.get(v.node);
        node.and_then(|n| n.types.get(v.result as usize).map(|t| (n, t)))
            .ok_or_else(|| ShapeError::new(format!("there is no value {v}")))
    };
    let found = operands.iter().map(lookup).collect::<Result<Vec<_>, _>>()?;
    let leading = found.iter().find(|(n, _)| !matches!(n.op, Op::Const(_))).map(|(_, t)| t.dtype);
    let adopt = |(node, ty): (&'g Node, &'g TensorType)| match (&node.op, leading) {
        (Op::Const(c), Some(dtype)) if dtype != ty.dtype => {
            check_scalar(c.0, dtype)?;
            Ok(Cow::Owned(TensorType::new(dtype, ty.shape.clone())))
        }
        _ => Ok(Cow::Borrowed(ty)),
    };
    found.into_iter().map(adopt).collect()
}

/// As [`operand_types`], for the operation named `op`: what selects or points at elements has a type of its own.
pub fn operand_types_of<'g>(
    graph: &'g Graph,
    op: &str,
    operands: &[Value],
) -> Result<Vec<Cow<'g, TensorType>>, ShapeError> {
    let apart = match op {
        "select" => 0,
        "gather" | "gather_elements" | "gather_nd" | "scatter_elements" | "scatter_nd" | "cut" => 1,
        _ => return operand_types(graph, operands),
    };
    let (mut own, mut rest) = (vec![], vec![]);
    for (i, v) in operands.iter().enumerate() {
        if i == apart { own.push(*v) } else { rest.push(*v) }
    }
    let mut types = operand_types(graph, &rest)?;
    for ty in operand_types(graph, &own)? {
        types.insert(apart.min(types.len()), ty);
    }
    Ok(types)
}

/// A number that is used with integers must be one.
fn check_scalar(value: f64, dtype: DType) -> Result<(), ShapeError> {
    if dtype.is_float() || (value == value.trunc() && value.abs() <= 2f64.powi(53)) {
        return Ok(());
    }
    Err(ShapeError::new(format!("the constant {value} is no value of {dtype}"))
        .help(format!("write an integer, or make the tensor f32 instead of {dtype}")))
}

/// Checks the epilogue of `node`, whose operation's results are `types`: every step is elementwise, reads what is
/// there, and has the type of the node's result.
fn check_epilogue(graph: &Graph, node: &Node, types: &[TensorType]) -> Result<(), ShapeError> {
    let Some(epilogue) = &node.epilogue else { return Ok(()) };
    let fail = |message: String| Err(ShapeError::new(format!("epilogue of {}: {message}", node.op.name())));
    if matches!(node.op, Op::Input | Op::Param(_) | Op::Const(_)) {
        return fail("inputs, parameters and constants have none".into());
    }
    let [ty] = types else { return fail("the operation must have a single result".into()) };
    if epilogue.steps.is_empty() {
        return fail("it has no step".into());
    }
    let operands = node.epilogue_operands();
    let scalar = TensorType::new(ty.dtype, []);
    for (i, step) in epilogue.steps.iter().enumerate() {
        if !step.op.is_elementwise() {
            return fail(format!("step {i}: {} is not elementwise", step.op.name()));
        }
        let mut args = Vec::with_capacity(step.args.len());
        for arg in &step.args {
            args.push(match arg {
                EpArg::Acc => Cow::Borrowed(ty),
                EpArg::Step(s) if (*s as usize) < i => Cow::Borrowed(ty),
                EpArg::Step(s) => return fail(format!("step {i} reads step {s}, which is not earlier")),
                EpArg::Scalar(c) => {
                    check_scalar(c.0, ty.dtype)?;
                    Cow::Borrowed(&scalar)
                }
                EpArg::Operand(o) => match operands.get(*o as usize) {
                    None => return fail(format!("step {i} reads operand {o}, of {}", operands.len())),
                    Some(v) => match graph.get(v.node).map(|n| &n.op) {
                        Some(Op::Const(c)) => {
                            check_scalar(c.0, ty.dtype)?;
                            Cow::Borrowed(&scalar)
                        }
                        _ => operand_types(graph, &[*v])?.remove(0),
                    },
                },
            });
        }
        let result = infer(&step.op, &args.iter().map(Cow::as_ref).collect::<Vec<_>>(), &graph.facts)?;
        if result[0] != *ty {
            return Err(ShapeError::new(format!(
                "epilogue of {}: step {i} ({}) has the type {}, but the node's result is {ty}",
                node.op.name(),
                step.op.name(),
                result[0]
            )));
        }
    }
    Ok(())
}

impl Graph {
    /// Adds an operation of one result, typed by inference.
    pub fn push(&mut self, op: Op, operands: &[Value]) -> Result<Value, ShapeError> {
        self.push_named(op, operands, None)
    }

    /// As [`Graph::push`], with the label path of the call.
    pub fn push_named(
        &mut self,
        op: Op,
        operands: &[Value],
        name: Option<Arc<str>>,
    ) -> Result<Value, ShapeError> {
        let results = op.results();
        match self.push_multi(op, operands, name)?.as_slice() {
            [value] => Ok(*value),
            _ => Err(ShapeError::new(format!("one result is asked for, but the operation has {results}"))),
        }
    }

    /// Adds an operation of any number of results, typed by inference.
    pub fn push_multi(
        &mut self,
        op: Op,
        operands: &[Value],
        name: Option<Arc<str>>,
    ) -> Result<Vec<Value>, ShapeError> {
        let types = infer_values(self, &op, operands)?;
        let results = types.len();
        let node = self.push_node(Node {
            op,
            operands: operands.to_vec(),
            arity: operands.len(),
            epilogue: None,
            types,
            name,
            provenance: Provenance::default(),
        })?;
        Ok((0..results as u32).map(|result| Value { node, result }).collect())
    }

    /// Adds a node after inferring its types anew, the epilogue included.
    pub fn push_node(&mut self, mut node: Node) -> Result<crate::graph::NodeId, ShapeError> {
        if self.len() >= MAX_NODES {
            return Err(ShapeError::new(format!("the graph has more than {MAX_NODES} nodes")));
        }
        node.types = infer_node(self, &node)?;
        Ok(self.add_node(node))
    }

    /// Adds the number `value` as a node of rank 0.
    pub fn push_const(&mut self, value: f64) -> Value {
        self.add_node(Node {
            op: Op::Const(value.into()),
            operands: vec![],
            arity: 0,
            epilogue: None,
            types: vec![TensorType::f32([])],
            name: None,
            provenance: Provenance::default(),
        })
        .into()
    }
}
