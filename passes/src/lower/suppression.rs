//! Non-maximum suppression: its operands are made contiguous for the kernel of its family.

use super::layout::sizes;
use super::nest::{self, NestRequest};
use super::storage::DraftStep;
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::suppression::MAX_BOXES;
use rectify_ir::kernel::{Program, Suppression, SuppressionArgs};
use rectify_ir::plan::Args;

impl Lower<'_> {
    pub(super) fn non_max_suppression(&mut self, id: NodeId, centre: bool) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let operands = self.graph.node(id).operands.clone();
        let (scores, shape) = (sizes(self.graph, operands[1]), out.shape());
        let args =
            SuppressionArgs { images: scores[0], classes: scores[1], boxes: scores[2], limit: shape[2] };
        if args.boxes == 0 {
            let nothing = NestRequest::map(id, &label, &out, vec![], Program::constant(-1.0));
            return nest::emit(&mut self.draft, nothing);
        }
        if args.boxes > MAX_BOXES || args.limit > MAX_BOXES {
            return Err(self.unsupported(id, "it has more than 2^22 boxes an image"));
        }
        let taken = self.contiguous(DType::I64, &shape, &format!("{label} places"))?;
        let mut pointers = vec![(taken.storage, taken.base)];
        let names = ["boxes", "scores", "order", "most", "overlap", "threshold"];
        for (value, name) in operands.into_iter().zip(names) {
            let from = self.view(value);
            let to = self.contiguous(self.held(value), &from.shape(), &format!("{label} {name}"))?;
            self.copy(id, &label, &from, &to)?;
            pointers.push((to.storage, to.base));
        }
        self.draft.push(DraftStep {
            kernel: Suppression { centre }.into(),
            label: label.clone(),
            node: id,
            pointers,
            cost: args.cost(),
            args: Args::Suppression(args),
            multiply_adds: 0,
            candidates: vec![],
            in_place: vec![],
            fills: None,
            overwrites: false,
        })?;
        self.copy(id, &label, &taken, &out)
    }
}
