//! A graph as text: the flat form of the language, which reads back as the same graph.
//!
//! Every node is a line: `param @name: type = …` for parameters and what is computed from parameters alone under a
//! name, `let %7: type = op(…)` for the rest. Numbers are positions in topological order, so the text depends on the
//! structure of the graph alone. Epilogues are regions behind the call, provenance is `from(…)`.
//!
//! The text reads back exactly where every step of an epilogue reads the accumulator or an earlier step, and the
//! epilogue's operands stand in order of first use.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::dim::DimFacts;
use crate::dtype::DType;
use crate::graph::{EpArg, Graph, Node, NodeId, NodeSet, Provenance, Value};
use crate::literal::Literal;
use crate::op::{AttrValue, Op, OperandKind, Source};
use crate::scalar::Scalar;
use crate::syntax::{any_name, escape, is_name, is_path, parameter_name, value_name};
use crate::types::TensorType;

/// The text form of a graph.
pub fn print(graph: &Graph) -> String {
    let graph = graph.renumbered();
    let mut printer = Printer::new(&graph);
    printer.model();
    printer.out
}

struct Printer<'g> {
    graph: &'g Graph,
    out: String,
    /// Names of inputs, which numbers must not meet.
    inputs: HashSet<&'g str>,
    /// Nodes that are written as `param @name`.
    params: NodeSet,
    /// Constants that are written where they are used.
    inline: NodeSet,
}

impl<'g> Printer<'g> {
    fn new(graph: &'g Graph) -> Printer<'g> {
        let inputs = graph.inputs().iter().filter_map(|input| graph.node(*input).name.as_deref()).collect();
        let mut printer = Printer {
            graph,
            out: String::new(),
            inputs,
            params: NodeSet::default(),
            inline: NodeSet::default(),
        };
        let constant = graph.param_only();
        let mut names = HashSet::new();
        // Sources have the first right to their names.
        let (sources, derived): (Vec<NodeId>, Vec<NodeId>) =
            graph.topo_order().into_iter().partition(|id| matches!(graph.node(*id).op, Op::Param(_)));
        for id in sources.into_iter().chain(derived) {
            let node = graph.node(id);
            let computed = !matches!(node.op, Op::Input | Op::Const(_) | Op::Split { .. });
            if let Some(name) = &node.name
                && computed
                && constant.contains(&id)
                && names.insert(name.clone())
            {
                printer.params.insert(id);
            }
        }
        printer.inline = graph.node_ids().into_iter().filter(|id| printer.can_inline(*id)).collect();
        printer
    }

    /// A constant stands in its one reader's arguments if the reader's other operand gives the shape there.
    fn can_inline(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        let plain = node.name.is_none() && node.provenance.is_empty() && node.types == [TensorType::f32([])];
        if !matches!(node.op, Op::Const(_)) || !plain || self.graph.use_count(id.into()) != 1 {
            return false;
        }
        let [(user, operand)] = self.graph.users(id.into())[..] else { return false };
        let user = self.graph.node(user);
        let data = |at: usize| {
            let operands = user.op.spec().map_or(&[][..], |spec| spec.operands);
            operands.get(at).is_some_and(|operand| operand.kind == OperandKind::Data)
        };
        let tensor = |value: &Value| !matches!(self.graph.node(value.node).op, Op::Const(_));
        operand < user.arity && data(operand) && data(1) && user.own_operands().iter().any(tensor)
    }

    fn model(&mut self) {
        let graph = self.graph;
        self.put(&format!("rect 1 stage {}\n\n", graph.stage.name()));
        for line in graph.doc.lines() {
            self.put(format!("/// {line}").trim_end());
            self.put("\n");
        }
        let typed = |name: &str, ty: &TensorType| format!("{}: {ty}", any_name(name));
        let input = |id: &NodeId| {
            let node = graph.node(*id);
            typed(node.name.as_deref().unwrap_or(""), &node.types[0])
        };
        let inputs: Vec<String> = graph.inputs().iter().map(input).collect();
        let outputs: Vec<String> =
            graph.outputs.iter().map(|output| typed(&output.name, graph.ty(output.value))).collect();
        let name = model_name(&graph.name);
        self.put(&format!("model {name}({}) -> ({})", inputs.join(", "), outputs.join(", ")));
        let facts = facts(&graph.facts);
        if !facts.is_empty() {
            self.put(&format!(" where {}", facts.join(", ")));
        }
        self.put(" {\n");
        for id in graph.topo_order() {
            if !matches!(graph.node(id).op, Op::Input) && !self.inline.contains(&id) {
                self.node(id);
            }
        }
        let values: Vec<String> = graph.outputs.iter().map(|output| self.value(output.value)).collect();
        match values.as_slice() {
            [one] => self.put(&format!("    {one}\n")),
            many => self.put(&format!("    ({})\n", many.join(", "))),
        }
        self.put("}\n");
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let name = node.name.as_deref();
        let types = match (node.types.as_slice(), &node.op) {
            (types, Op::Split { .. }) => {
                format!("({})", types.iter().map(TensorType::to_string).collect::<Vec<_>>().join(", "))
            }
            ([one], _) => one.to_string(),
            (many, _) => {
                format!("({})", many.iter().map(TensorType::to_string).collect::<Vec<_>>().join(", "))
            }
        };
        let work = match &node.op {
            Op::Param(source) => source_text(source),
            Op::Const(value) if node.types == [TensorType::f32([])] => format!("number({value})"),
            Op::Const(value) => format!("number({value}, {})", node.types[0].dtype),
            _ => self.call(node),
        };
        let mut line = match name {
            Some(name) if self.params.contains(&id) => {
                format!("    param {}: {types} = {work}", parameter_name(name))
            }
            _ => format!("    let %{}: {types} = {work}", self.number(id)),
        };
        if let Some(name) = name.filter(|_| !self.params.contains(&id)) {
            let _ = write!(line, " as {}", label(name));
        }
        line.push_str(&provenance(&node.provenance));
        line.push('\n');
        self.put(&line);
    }

    /// The node's number, changed where an input has it for a name.
    fn number(&self, id: NodeId) -> String {
        self.free(id.index().to_string())
    }

    fn free(&self, mut name: String) -> String {
        while self.inputs.contains(name.as_str()) {
            name.push('_');
        }
        name
    }

    fn value(&self, value: Value) -> String {
        let node = self.graph.node(value.node);
        match (&node.op, node.name.as_deref()) {
            (Op::Input, Some(name)) => value_name(name),
            (_, Some(name)) if self.params.contains(&value.node) => parameter_name(name),
            (Op::Const(number), _) if self.inline.contains(&value.node) => number.to_string(),
            (Op::Split { .. }, _) => format!("%{}.{}", self.number(value.node), value.result),
            _ if node.types.len() > 1 => format!("%{}.{}", self.number(value.node), value.result),
            _ => format!("%{}", self.number(value.node)),
        }
    }

    fn call(&self, node: &Node) -> String {
        let operands = node.op.spec().map_or(&[][..], |spec| spec.operands);
        let mut args: Vec<String> = Vec::new();
        for (at, value) in node.own_operands().iter().enumerate() {
            let value = self.value(*value);
            args.push(match operands.get(at) {
                Some(operand) if matches!(operand.kind, OperandKind::Param | OperandKind::OptionalParam) => {
                    format!("{}: {value}", operand.name)
                }
                _ => value,
            });
        }
        args.extend(attrs(&node.op));
        let mut text = format!("{}({})", node.op.name(), args.join(", "));
        if let Some(epilogue) = &node.epilogue {
            let accumulator = self.free("acc".to_owned());
            let step_name = |step: usize| self.free(format!("t{step}"));
            let _ = write!(text, " {{ %{accumulator} =>");
            let last = epilogue.steps.len().saturating_sub(1);
            for (at, step) in epilogue.steps.iter().enumerate() {
                let arg = |arg: &EpArg| match arg {
                    EpArg::Acc => format!("%{accumulator}"),
                    EpArg::Step(step) => format!("%{}", step_name(*step as usize)),
                    EpArg::Scalar(value) => value.to_string(),
                    EpArg::Operand(operand) => {
                        let value = node.epilogue_operands().get(*operand as usize);
                        value.map_or_else(String::new, |value| self.value(*value))
                    }
                };
                let args: Vec<String> = step.args.iter().map(arg).chain(attrs(&step.op)).collect();
                let call = format!("{}({})", step.op.name(), args.join(", "));
                let _ = match at == last {
                    true => write!(text, " {call} }}"),
                    false => write!(text, " let %{} = {call};", step_name(at)),
                };
            }
        }
        text
    }
}

pub(crate) fn attrs(op: &Op) -> impl Iterator<Item = String> {
    op.attrs().into_iter().map(|(name, value)| format!("{name}: {}", attr(&value)))
}

fn attr(value: &AttrValue) -> String {
    match value {
        AttrValue::Int(value) => value.to_string(),
        AttrValue::Float(value) => Scalar(*value).to_string(),
        AttrValue::Bool(value) => value.to_string(),
        AttrValue::Word(word) => word.clone(),
        AttrValue::Dim(dim) => dim.to_string(),
        AttrValue::List(items) => format!("[{}]", items.iter().map(attr).collect::<Vec<_>>().join(", ")),
    }
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Init(init) => init.to_string(),
        Source::File { file, tensor, blake3 } => {
            let hash =
                blake3.as_ref().map_or(String::new(), |hash| format!(", blake3: \"{}\"", escape(hash)));
            format!("file(\"{}\", \"{}\"{hash})", escape(file), escape(tensor))
        }
        Source::Data(literal) => format!("data([{}])", elements(literal)),
    }
}

/// The elements of a literal, each in the shortest form that reads back as the same value.
fn elements(literal: &Literal) -> String {
    let element = |at: usize| {
        let value = literal.get_f64(at).unwrap_or_default();
        match literal.dtype {
            DType::Bool => (value != 0.0).to_string(),
            DType::F32 => short_f32(value as f32),
            DType::I64 | DType::U64 => {
                let bytes = literal.bytes.get(at * 8..at * 8 + 8).and_then(|bytes| bytes.try_into().ok());
                let bytes: [u8; 8] = bytes.unwrap_or_default();
                if literal.dtype == DType::I64 {
                    i64::from_le_bytes(bytes).to_string()
                } else {
                    u64::from_le_bytes(bytes).to_string()
                }
            }
            _ => Scalar(value).to_string(),
        }
    };
    (0..literal.elements()).map(element).collect::<Vec<_>>().join(", ")
}

/// Readers go through `f64`, so the short decimal of an `f32` is taken only if that leads back to it.
fn short_f32(value: f32) -> String {
    let short = format!("{value:?}");
    match short.parse::<f64>() {
        Ok(read) if value.is_finite() && (read as f32).to_bits() == value.to_bits() => short,
        _ => Scalar(f64::from(value)).to_string(),
    }
}

fn facts(facts: &DimFacts) -> Vec<String> {
    let mut out = Vec::new();
    for (name, fact) in &facts.symbols {
        if fact.modulus != 1 {
            out.push(format!("{name} % {} == {}", fact.modulus, fact.remainder));
        }
        match (fact.min, fact.max) {
            (1, None) => {}
            (min, None) => out.push(format!("{name} >= {min}")),
            (min, Some(max)) => out.push(format!("{name} in {min}..={max}")),
        }
    }
    out
}

fn provenance(provenance: &Provenance) -> String {
    if provenance.is_empty() {
        return String::new();
    }
    let quoted = |texts: &[std::sync::Arc<str>]| -> Vec<String> {
        texts.iter().map(|text| format!("\"{}\"", escape(text))).collect()
    };
    let mut args = quoted(&provenance.sources);
    match quoted(&provenance.rules).as_slice() {
        [] => {}
        [one] => args.push(format!("by: {one}")),
        many => args.push(format!("by: [{}]", many.join(", "))),
    }
    format!(" from({})", args.join(", "))
}

fn label(name: &str) -> String {
    if is_path(name) { name.to_owned() } else { format!("\"{}\"", escape(name)) }
}

/// Models have plain names; other characters, which only a program can put there, become `_`.
fn model_name(name: &str) -> String {
    if is_name(name) {
        return name.to_owned();
    }
    let word: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("model_{word}")
}

impl std::fmt::Display for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&print(self))
    }
}
