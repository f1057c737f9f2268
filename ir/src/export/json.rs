//! Versioned JSON. Reading it back gives an equal graph.
//!
//! Nodes stand in topological order, numbered from 0; literals are base64. A file that is not a sound graph is an
//! error: what is read has passed the verifier.

use crate::dim::{DimFacts, SymFacts};
use crate::graph::{Epilogue, Graph, MAX_NODES, Node, Output, Provenance, Stage, Value};
use crate::op::Op;
use crate::types::TensorType;
use crate::verify::{Violation, verify};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version that [`to_json`] writes and [`from_json`] reads.
pub const JSON_VERSION: u32 = 1;

/// What a file's `format` field says.
const FORMAT: &str = "rectify-graph";

/// Why a text is no graph.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("not a graph in JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("this is not a graph in JSON: `format` must be \"{FORMAT}\"")]
    Format,
    #[error("the graph is of version {0}, but this program reads version {JSON_VERSION}")]
    Version(u32),
    #[error("node {0}: ids must count up from 0, and operands come first")]
    Order(usize),
    #[error("the graph has more than {MAX_NODES} nodes")]
    TooLarge,
    #[error("the graph is not sound: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
}

/// The head of a file, read before the rest: a later version may differ in everything else.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: Cow<'a, str>,
    version: u32,
    name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    doc: Cow<'a, str>,
    stage: Stage,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    facts: BTreeMap<Arc<str>, SymFacts>,
    nodes: Vec<Entry<'a>>,
    outputs: Vec<Output>,
}

/// One node.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    id: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    op: Cow<'a, Op>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    operands: Cow<'a, [Value]>,
    /// Operands of the operation itself; given where an epilogue has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arity: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epilogue: Option<Cow<'a, Epilogue>>,
    types: Cow<'a, [TensorType]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<Cow<'a, Provenance>>,
}

/// The graph as JSON, indented. Equal graphs give equal text.
pub fn to_json(graph: &Graph) -> String {
    let graph = graph.renumbered();
    let entry = |id: crate::NodeId| {
        let node = graph.node(id);
        Entry {
            id: id.index(),
            name: node.name.clone(),
            op: Cow::Borrowed(&node.op),
            operands: Cow::Borrowed(&node.operands),
            arity: node.epilogue.is_some().then_some(node.arity),
            epilogue: node.epilogue.as_ref().map(Cow::Borrowed),
            types: Cow::Borrowed(&node.types),
            provenance: (!node.provenance.is_empty()).then_some(Cow::Borrowed(&node.provenance)),
        }
    };
    let file = File {
        format: FORMAT.into(),
        version: JSON_VERSION,
        name: Cow::Borrowed(&graph.name),
        doc: Cow::Borrowed(&graph.doc),
        stage: graph.stage,
        facts: graph.facts.symbols.clone(),
        nodes: graph.node_ids().into_iter().map(entry).collect(),
        outputs: graph.outputs.clone(),
    };
    // Every map has string keys and no value fails to serialise.
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

/// Reads what [`to_json`] writes, and verifies it.
pub fn from_json(text: &str) -> Result<Graph, JsonError> {
    let head: Head = serde_json::from_str(text)?;
    if head.format != FORMAT {
        return Err(JsonError::Format);
    }
    if head.version != JSON_VERSION {
        return Err(JsonError::Version(head.version));
    }
    let file: File<'_> = serde_json::from_str(text)?;
    if file.nodes.len() > MAX_NODES {
        return Err(JsonError::TooLarge);
    }
    let mut graph = Graph::new(file.name);
    graph.doc = file.doc.into_owned();
    graph.stage = file.stage;
    graph.facts = DimFacts { symbols: file.facts };
    for (at, entry) in file.nodes.into_iter().enumerate() {
        if entry.id != at || entry.operands.iter().any(|v| v.node.index() >= at) {
            return Err(JsonError::Order(at));
        }
        graph.add_raw(Node {
            op: entry.op.into_owned(),
            arity: entry.arity.unwrap_or(entry.operands.len()),
            operands: entry.operands.into_owned(),
            epilogue: entry.epilogue.map(Cow::into_owned),
            types: entry.types.into_owned(),
            name: entry.name,
            provenance: entry.provenance.map(Cow::into_owned).unwrap_or_default(),
        });
    }
    graph.outputs = file.outputs;
    verify(&graph).map_err(JsonError::Invalid)?;
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::GraphBuilder;
    use crate::literal::Literal;
    use crate::op::{PadMode, Source};
    use crate::scalar::Scalar;
    use crate::testing::{Options, random_graph};
    use crate::{DType, Dim};

    fn round_trip(graph: &Graph) -> String {
        let text = to_json(graph);
        let back = from_json(&text).unwrap();
        assert_eq!(back, *graph);
        assert_eq!(to_json(&back), text);
        text
    }

    #[test]
    fn random_graphs_survive() {
        for seed in 0..40 {
            let options = Options { symbolic: seed % 2 == 1, ..Options::default() };
            round_trip(&random_graph(seed, &options));
        }
    }

    /// Numbers that JSON lacks, literals, provenance, an epilogue, facts.
    fn rich() -> Graph {
        let mut g = GraphBuilder::new("rich");
        let x = g.input("x", "N, 2*H");
        g.multiple_of("H", 4);
        let y = g.op("pad", &[x], [("pads", [0, 0, 0, 1].into())]).unwrap();
        g.output("y", y);
        let mut graph = g.finish().unwrap();
        graph.doc = "A \"doc\".".into();
        let pad = Op::Pad { pads: vec![0, 0, 0, 1], mode: PadMode::Constant(Scalar(f64::NEG_INFINITY)) };
        *graph.node_mut(y.node).op = pad;
        graph.node_mut(y.node).provenance.rules.push("some-rule".into());
        let literal = Literal { dtype: DType::U8, shape: vec![3], bytes: vec![1, 2, 255].into() };
        let ty = TensorType::new(DType::U8, [Dim::Const(3)]);
        let table = graph.add_param("table", ty, Source::Data(literal));
        graph.outputs.push(Output { name: "table".into(), value: table });
        let step = crate::graph::EpStep {
            op: Op::Unary(crate::op::Unary::LeakyRelu { alpha: Scalar(0.1) }),
            args: vec![crate::graph::EpArg::Acc],
        };
        let mut node = graph.node(y.node).clone();
        node.epilogue = Some(Epilogue { steps: vec![step] });
        graph.replace_node(y.node, node);
        verify(&graph).unwrap();
        graph
    }

    #[test]
    fn everything_a_node_has_survives() {
        let text = round_trip(&rich());
        for part in ["\"-inf\"", "\"AQL/\"", "some-rule", "\"2*H\"", "\"modulus\": 4", "\"alpha\": 0.1"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn wrong_files_are_errors() {
        let text = to_json(&rich());
        let fails = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            from_json(&text.replacen(from, to, 1)).unwrap_err().to_string()
        };
        assert_eq!(
            fails("\"version\": 1", "\"version\": 7"),
            "the graph is of version 7, but this program reads version 1"
        );
        assert!(fails("rectify-graph", "other").contains("`format` must be"));
        assert!(fails("\"id\": 1", "\"id\": 5").contains("ids must count up"));
        assert!(fails("\"node\": 0", "\"node\": 1").contains("operands come first"));
        assert!(fails("\"AQL/\"", "\"AQL\"").contains("not base64"));
        assert!(fails("\"AQL/\"", "\"AQIB/wAA\"").contains("literals at"));
        assert!(fails("\"2*H\"", "\"3*H\"").contains("types at"));
        assert!(fails("\"name\": \"rich\"", "\"name\": \"rich\", \"extra\": 1").contains("unknown field"));
        assert!(from_json(&text[..text.len() / 2]).is_err());
        assert!(from_json(&"[".repeat(100_000)).is_err());
        assert!(from_json("{}").is_err());
    }
}
