//! Matrix products that the kernels of pixels and channels do not take: of integers and f64, and of vectors by batches of
//! matrices. One nest, which adds up the products of an element.

use super::elements::products;
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref};
use super::view::Axis;
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::Reduce;

impl Lower<'_> {
    /// Whether the product is one of these.
    pub(super) fn is_plain_product(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        let [a, b] = [0, 1].map(|i| sizes(self.graph, node.operands[i]));
        let batches = |s: &[i64]| s.len() > 2 && s[..s.len() - 2].iter().any(|n| *n != 1);
        let column = b.len() == 1 || b.last() == Some(&1);
        (batches(&b) && (a.len() == 1 || column)) || self.held(id.into()) != DType::F32
    }

    pub(super) fn plain_product(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let operands = self.graph.node(id).own_operands();
        let (mut a, mut b, mut y) = (self.view(operands[0]), self.view(operands[1]), out.clone());
        // A vector counts as a row on the left and as a column on the right.
        let (row, column) = (a.axes.len() == 1, b.axes.len() == 1);
        let one = || Axis::broadcast(1);
        if column {
            b.axes.push(one());
            y.axes.push(one());
        }
        if row {
            a.axes.insert(0, one());
            y.axes.insert(y.axes.len() - 1, one());
        }
        let rank = y.axes.len();
        let (rows, columns) = (y.axes[rank - 2].size, y.axes[rank - 1].size);
        let depth = a.axes[a.axes.len() - 1].size;
        let batch: Vec<i64> = y.axes[..rank - 2].iter().map(|axis| axis.size).collect();
        let whole = |matrix: [i64; 2]| [&batch[..], &matrix].concat();
        let places = |axes: usize| (rank - axes..rank).collect::<Vec<_>>();
        let left = a.align(&places(a.axes.len()), &whole([rows, depth]));
        let right = b.align(&places(b.axes.len()), &whole([depth, columns]));
        let order = |axes: &[Axis], matrix: [Axis; 3]| [&axes[..rank - 2], &matrix].concat();
        let left = order(&left, [left[rank - 2].clone(), Axis::broadcast(columns), left[rank - 1].clone()]);
        let right = order(&right, [Axis::broadcast(rows), right[rank - 1].clone(), right[rank - 2].clone()]);
        let refs = vec![Ref::new(&a, left), Ref::new(&b, right)];
        let request = NestRequest::reduce(id, &label, &y, refs, products(), vec![depth], Reduce::Sum);
        nest::emit(&mut self.draft, request)?;
        self.epilogue_in_place(id, &out)
    }
}
