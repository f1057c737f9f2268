//! Sizes beyond which nothing is planned: a small hostile file must not ask for tables that fill the memory.

use super::layout::sizes;
use super::{LowerError, label};
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::op::Op;
use rectify_ir::types::ShapeDisplay;

/// Bytes of one tensor, a parameter too. All intermediate values together are bounded far below by who runs the plan.
pub const MAX_TENSOR_BYTES: i64 = 16 << 30;

/// Elements of an axis that a table of offsets may run along, and products of one element of a contraction.
pub const MAX_TABLE: i64 = 1 << 24;

/// Refuses the node if its operands, its results or the tables of its kernels are too large.
pub(super) fn check(graph: &Graph, id: NodeId) -> Result<(), LowerError> {
    let node = graph.node(id);
    let results = (0..node.types.len()).map(|i| Value { node: id, result: i as u32 });
    for value in results.chain(node.operands.iter().copied()) {
        let Some(shape) = graph.ty(value).shape.iter().map(|d| d.as_const()).collect::<Option<Vec<i64>>>()
        else {
            let shape = ShapeDisplay(&graph.ty(value).shape).to_string();
            return Err(LowerError::Unbound { node: label(graph, value.node), shape });
        };
        let bytes = graph.ty(value).dtype.size_bytes() as i64;
        let bytes = shape.iter().try_fold(bytes, |b, n| b.checked_mul(*n));
        if bytes.is_none_or(|b| b > MAX_TENSOR_BYTES) {
            return Err(LowerError::TooLarge { node: label(graph, value.node), shape });
        }
    }
    match longest_table(graph, id) {
        length if length > MAX_TABLE => Err(LowerError::TooLong { node: label(graph, id), length }),
        _ => Ok(()),
    }
}

/// Elements of the longest table that the node's kernels may read; 1 where they have none.
fn longest_table(graph: &Graph, id: NodeId) -> i64 {
    let node = graph.node(id);
    let shape = |i: usize| sizes(graph, node.operands[i]);
    let product = |sizes: &[i64]| sizes.iter().fold(1i64, |product, n| product.saturating_mul(*n));
    let axis = |shape: Vec<i64>| shape.into_iter().max().unwrap_or(1);
    match &node.op {
        // The products of an element are those of its row of weights.
        Op::Conv(_) | Op::Dense => product(&shape(1)[1..]),
        Op::ConvTranspose(_) => {
            let weight = shape(1);
            weight[0].saturating_mul(product(&weight[2..]))
        }
        Op::MatMul => shape(0).last().copied().unwrap_or(1),
        Op::ConvWeightGrad { kernel, .. } => product(kernel),
        Op::MaxPool(a) | Op::MaxPoolGrad(a) | Op::MaxPoolIndices(a) | Op::AvgPool { pool: a, .. } => {
            product(&a.kernel)
        }
        Op::Spp { .. } | Op::Resize(_) | Op::Pad { .. } | Op::DepthToSpace { .. } => {
            axis(shape(0)).max(axis(sizes(graph, id.into())))
        }
        // Tables of indices have a limit of their own.
        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => 1,
        Op::ScatterElements { .. } | Op::ScatterNd { .. } | Op::Cumulate { .. } => 1,
        Op::Cut { .. } | Op::NonZero | Op::NonMaxSuppression { .. } => 1,
        Op::ArgReduce { axis, .. } | Op::ArgSort { axis, .. } => shape(0)[*axis],
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Prelu { .. }
        | Op::Map
        | Op::Dropout { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Expand { .. } => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lower;
    use super::*;
    use rectify_ir::lang::compile_text;
    use rectify_ir::target::{Level, Target};

    fn error(input: &str, result: &str, body: &str) -> LowerError {
        let text = format!("model m(x: f32[{input}]) -> (y: f32[{result}]) {{ x |> {body} }}");
        let graph = compile_text("m.rect", &text).unwrap_or_else(|report| panic!("{report}"));
        lower(&graph, &Target::new(Level::X86V3)).unwrap_err()
    }

    #[test]
    fn tensors_beyond_memory_are_refused() {
        let e = error("1, 2147483648, 4, 4", "1, 8, 4, 4", "conv(8, kernel: 3, pad: 1) as c");
        assert!(matches!(&e, LowerError::TooLarge { shape, .. } if shape[1] == 1 << 31), "{e}");
        let e = error("4, 1, 100000, 1000000", "4, 1, 100000, 1000000", "relu");
        assert!(e.to_string().contains("16 GiB"), "{e}");
    }

    #[test]
    fn tables_beyond_memory_are_refused() {
        let long = |e: &LowerError| matches!(e, LowerError::TooLong { length, .. } if *length > MAX_TABLE);
        for (input, result, body) in [
            ("1, 200000000", "1, 1", "dense(1) as d"),
            ("1, 20000000, 2, 2", "1, 1, 2, 2", "conv(1, kernel: 1) as c"),
            ("1, 20000000, 2, 2", "1, 1, 4, 4", "conv_transpose(1, kernel: 2, stride: 2) as c"),
            ("1, 1, 1, 20000000", "1, 1, 1, 20000002", "pad(pads: [0, 0, 0, 1, 0, 0, 0, 1], mode: edge)"),
            ("1, 1, 5000, 5000", "1, 1, 1, 1", "max_pool(kernel: 5000)"),
        ] {
            let e = error(input, result, body);
            assert!(long(&e), "{body}: {e}");
        }
    }
}
