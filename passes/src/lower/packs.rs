//! Keys of packed parameters: what identifies values across specialisations.

use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::literal::Literal;
use rectify_ir::op::{Op, Source};
use rustc_hash::FxHashMap;

/// Longer texts are replaced by their hash.
const MAX_TEXT: usize = 160;

/// Texts of derivations over full names, each made once.
#[derive(Debug, Default)]
pub(crate) struct PackKeys {
    texts: FxHashMap<NodeId, String>,
}

impl PackKeys {
    /// The key of a value that depends on parameters only. The full name of a source, else the derivation as text.
    pub fn key(&mut self, graph: &Graph, value: Value) -> String {
        let text = self.node(graph, value.node);
        if graph.node(value.node).types.len() > 1 { format!("{text}.{}", value.result) } else { text }
    }

    fn node(&mut self, graph: &Graph, root: NodeId) -> String {
        // Depth first with a stack of its own, since derivations may be long chains.
        let mut stack = vec![root];
        while let Some(id) = stack.last().copied() {
            let node = graph.node(id);
            let missing = |v: &&Value| !self.texts.contains_key(&v.node);
            if let Some(operand) = node.operands.iter().find(missing) {
                stack.push(operand.node);
                continue;
            }
            stack.pop();
            if self.texts.contains_key(&id) {
                continue;
            }
            let text = match &node.op {
                Op::Param(Source::Data(literal)) => literal_key(literal),
                Op::Param(_) => node.name.as_deref().unwrap_or("unnamed").to_string(),
                Op::Const(value) => value.to_string(),
                op => {
                    let operand = |v: &Value| {
                        let text = &self.texts[&v.node];
                        if v.result == 0 { text.clone() } else { format!("{text}.{}", v.result) }
                    };
                    let operands: Vec<String> = node.operands.iter().map(operand).collect();
                    let attrs = op.attrs();
                    let mut text = format!("{}({}", op.name(), operands.join(", "));
                    if !attrs.is_empty() {
                        text += &format!("; {attrs:?}");
                    }
                    if let Some(epilogue) = &node.epilogue {
                        text += &format!("; {epilogue:?}");
                    }
                    text + ")"
                }
            };
            let long = text.len() > MAX_TEXT;
            self.texts
                .insert(id, if long { format!("derived:{:032x}", hash(text.as_bytes())) } else { text });
        }
        self.texts[&root].clone()
    }
}

/// The key of given values: their hash.
pub(crate) fn literal_key(literal: &Literal) -> String {
    let mut bytes = format!("{}{:?}", literal.dtype, literal.shape).into_bytes();
    bytes.extend_from_slice(&literal.bytes);
    format!("literal:{:032x}", hash(&bytes))
}

/// A hash of 128 bits, after FNV-1a but of words: keys are compared across specialisations of one model, not against an
/// adversary.
fn hash(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000000001000000000000000000013B;
    let mix = |hash: u128, word: u64| (hash.rotate_left(23) ^ u128::from(word)).wrapping_mul(PRIME);
    let (words, rest) = bytes.as_chunks();
    let whole = words
        .iter()
        .fold(0x6c62272e07bb014262b821756295c58d, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(mix(whole, bytes.len() as u64), |hash, byte| mix(hash, u64::from(*byte)))
}
