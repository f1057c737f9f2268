//! Weighs a file before it is decoded, so that a small hostile file cannot become a large heap.
//!
//! An empty node takes two bytes in a file and some two hundred in memory. The scan walks the wire format, skips the
//! weights, and adds up what the decoder would allocate.

use super::proto;
use std::mem::size_of;

/// Deeper nesting than any model has. The decoder has a limit of its own at 100 messages.
const MAX_DEPTH: u32 = 60;

/// Heap bytes that any model may take once decoded, beside twice the file's size (weights in typed fields).
const HEAP_BYTES: u64 = 128 << 20;

/// Why a file is not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("the file is cut short or no ONNX model (at byte {offset})")]
    Malformed { offset: usize },
    #[error("the file nests messages more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("the file would take more than {limit} bytes of memory once decoded, beside its weights")]
    TooLarge { limit: u64 },
}

/// Messages of the format.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    OperatorSet,
    Entry,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    OtherType,
    Shape,
    Dimension,
    Function,
}

/// What a length-delimited field holds.
enum Content {
    Message(Kind),
    Text,
    /// Packed numbers; heap bytes for each byte in the file.
    Packed(u64),
    /// Bytes that stay in the file, or a field that the decoder skips.
    Slice,
}

fn content(kind: Kind, field: u64) -> Content {
    use Content::{Message, Packed, Slice, Text};
    match (kind, field) {
        (Kind::Model, 7) => Message(Kind::Graph),
        (Kind::Model, 8) | (Kind::Function, 9) => Message(Kind::OperatorSet),
        (Kind::Model, 25) => Message(Kind::Function),
        (Kind::Graph, 1) | (Kind::Function, 7) => Message(Kind::Node),
        (Kind::Graph, 5) | (Kind::Attribute, 5) | (Kind::SparseTensor, 1) => Message(Kind::Tensor),
        (Kind::Graph, 11 | 12) => Message(Kind::ValueInfo),
        (Kind::Graph, 15) => Message(Kind::SparseTensor),
        (Kind::Node, 5) | (Kind::Function, 11) => Message(Kind::Attribute),
        (Kind::Attribute, 6) => Message(Kind::Graph),
        (Kind::Tensor, 13) => Message(Kind::Entry),
        (Kind::ValueInfo, 2) => Message(Kind::Type),
        (Kind::Type, 1) => Message(Kind::TensorType),
        (Kind::Type, 4 | 5 | 8 | 9) => Message(Kind::OtherType),
        (Kind::TensorType, 2) => Message(Kind::Shape),
        (Kind::Shape, 1) => Message(Kind::Dimension),
        (Kind::Model, 2 | 3 | 6)
        | (Kind::OperatorSet, 1)
        | (Kind::Entry, 1 | 2)
        | (Kind::Graph, 2 | 10)
        | (Kind::Node, 1 | 2 | 3 | 4 | 7 | 8)
        | (Kind::Attribute, 1 | 9 | 21)
        | (Kind::Tensor, 8)
        | (Kind::ValueInfo, 1)
        | (Kind::Dimension, 2)
        | (Kind::Function, 1 | 4 | 5 | 6 | 10 | 13) => Text,
        (Kind::Tensor, 1 | 7 | 11) | (Kind::Attribute, 8) => Packed(8),
        (Kind::Tensor, 5) => Packed(4),
        (Kind::Tensor, 4 | 10) | (Kind::Attribute, 7) => Packed(1),
        _ => Slice,
    }
}

fn size(kind: Kind) -> u64 {
    let bytes = match kind {
        Kind::Model => size_of::<proto::ModelProto>(),
        Kind::OperatorSet => size_of::<proto::OperatorSetIdProto>(),
        Kind::Entry => size_of::<proto::StringStringEntryProto>(),
        Kind::Graph => size_of::<proto::GraphProto>(),
        Kind::Node => size_of::<proto::NodeProto>(),
        Kind::Attribute => size_of::<proto::AttributeProto>(),
        Kind::Tensor => size_of::<proto::TensorProto>(),
        Kind::SparseTensor => size_of::<proto::SparseTensorProto>(),
        Kind::ValueInfo => size_of::<proto::ValueInfoProto>(),
        Kind::Type | Kind::TensorType | Kind::OtherType | Kind::Shape => size_of::<proto::TypeProto>(),
        Kind::Dimension => size_of::<proto::Dimension>(),
        Kind::Function => size_of::<proto::FunctionProto>(),
    };
    bytes as u64
}

/// Checks that `file` has the form of a model and decodes into a bounded heap.
pub fn scan(file: &[u8]) -> Result<(), ScanError> {
    let limit = HEAP_BYTES.saturating_add((file.len() as u64).saturating_mul(2));
    let mut scan = Scan { file, at: 0, heap: 0, limit };
    scan.message(Kind::Model, file.len(), 0)
}

struct Scan<'a> {
    file: &'a [u8],
    at: usize,
    heap: u64,
    limit: u64,
}

impl Scan<'_> {
    fn malformed(&self) -> ScanError {
        ScanError::Malformed { offset: self.at }
    }

    fn charge(&mut self, bytes: u64) -> Result<(), ScanError> {
        self.heap = self.heap.saturating_add(bytes);
        if self.heap > self.limit { Err(ScanError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    fn varint(&mut self, end: usize) -> Result<u64, ScanError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.file[..end].get(self.at).ok_or_else(|| self.malformed())?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }

    fn skip(&mut self, bytes: u64, end: usize) -> Result<usize, ScanError> {
        let bytes = usize::try_from(bytes).map_err(|_| self.malformed())?;
        let to = self.at.checked_add(bytes).filter(|to| *to <= end).ok_or_else(|| self.malformed())?;
        Ok(std::mem::replace(&mut self.at, to))
    }

    fn message(&mut self, kind: Kind, end: usize, depth: u32) -> Result<(), ScanError> {
        if depth > MAX_DEPTH {
            return Err(ScanError::TooDeep);
        }
        self.charge(size(kind))?;
        while self.at < end {
            let tag = self.varint(end)?;
            match tag & 7 {
                0 => {
                    self.varint(end)?;
                    self.charge(8)?;
                }
                1 => {
                    self.skip(8, end)?;
                    self.charge(8)?;
                }
                5 => {
                    self.skip(4, end)?;
                    self.charge(8)?;
                }
                2 => {
                    let bytes = self.varint(end)?;
                    match content(kind, tag >> 3) {
                        Content::Message(child) => {
                            let start = self.at;
                            self.skip(bytes, end)?;
                            let child_end = std::mem::replace(&mut self.at, start);
                            self.message(child, child_end, depth + 1)?;
                        }
                        Content::Text => {
                            self.skip(bytes, end)?;
                            self.charge(bytes.saturating_add(size_of::<String>() as u64))?;
                        }
                        Content::Packed(each) => {
                            self.skip(bytes, end)?;
                            self.charge(bytes.saturating_mul(each))?;
                        }
                        Content::Slice => {
                            self.skip(bytes, end)?;
                        }
                    }
                }
                // Groups, which the format does not use, and wire types that do not exist.
                _ => return Err(self.malformed()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of `count` times the field `tag` with an empty body.
    fn empties(tag: u8, count: usize) -> Vec<u8> {
        [tag << 3 | 2, 0].repeat(count)
    }

    fn nested(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag << 3 | 2];
        let mut n = body.len();
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out.extend(body);
        out
    }

    #[test]
    fn small_graphs_pass() {
        assert_eq!(scan(&nested(7, &empties(1, 1000))), Ok(()));
        assert_eq!(scan(&[]), Ok(()));
    }

    #[test]
    fn amplification_is_refused() {
        let file = nested(7, &empties(1, 2 << 20));
        assert!(matches!(scan(&file), Err(ScanError::TooLarge { .. })));
    }

    #[test]
    fn deep_nesting_is_refused() {
        // Node, attribute, graph, node, …
        let mut body = vec![];
        for _ in 0..40 {
            body = nested(1, &nested(5, &nested(6, &body)));
        }
        assert_eq!(scan(&nested(7, &body)), Err(ScanError::TooDeep));
    }

    #[test]
    fn cut_files_are_refused() {
        let file = nested(7, &nested(1, &nested(4, b"Relu")));
        for end in 1..file.len() {
            assert!(matches!(scan(&file[..end]), Err(ScanError::Malformed { .. })), "{end}");
        }
        assert!(scan(&[0xff; 20]).is_err());
        assert!(scan(&[0x0b]).is_err());
    }
}
