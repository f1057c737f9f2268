//! The gradient of a max-pool: element by element of the window, so that the first greatest one takes it.

use super::demand::{demand, pool_grad_windows};
use super::nest::{self, NestRequest, Ref};
use super::storage::{Form, Home};
use super::view::{Axis, View};
use super::window::halo;
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, Program, Step};
use rectify_ir::op::PoolAttrs;

impl Lower<'_> {
    pub(super) fn max_pool_grad(&mut self, id: NodeId, a: &PoolAttrs) -> Result<(), LowerError> {
        let (graph, label) = (self.graph, self.label(id));
        let Some(d) = demand(graph, &self.layout, id, self.lanes) else {
            return Err(self.unsupported(id, "it has no input"));
        };
        let x = self.in_form(d.value, d.form, &d.halo, d.fill)?;
        let operands = graph.node(id).own_operands();
        let (y, g, out) = (self.view(operands[1]), self.view(operands[2]), self.result(id)?);
        let windows = pool_grad_windows(graph, id, a);

        // Windows hand gradients to padding too, if it has their maximum, so padding has a place in the sum.
        let around = halo(&windows);
        let sum =
            self.draft.tensor(Home::Arena, &out.shape(), Form::Blocked, &around, &format!("{label} sum"))?;
        let mut whole = sum.clone();
        for (i, axis) in whole.axes[2..].iter_mut().enumerate() {
            let stride = axis.stride().unwrap_or(0);
            whole.base -= around.before[i] * stride;
            *axis = Axis::plain(axis.size + around.before[i] + around.after[i], stride);
        }
        let zero = |view: &View| NestRequest::map(id, &label, view, vec![], Program::constant(0.0));
        nest::emit(&mut self.draft, zero(&whole))?;
        let taken = self.draft.tensor(
            Home::Arena,
            &y.shape(),
            Form::Blocked,
            &super::storage::Halo::none(y.axes.len()),
            &format!("{label} taken"),
        )?;
        nest::emit(&mut self.draft, zero(&taken))?;

        let taps = windows.iter().fold(vec![vec![]], |all: Vec<Vec<i64>>, w| {
            let longer = |t: &Vec<i64>, k: i64| t.iter().copied().chain([k]).collect();
            all.iter().flat_map(|t| (0..w.kernel).map(move |k| longer(t, k))).collect()
        });
        let last = taps.len() - 1;
        for (i, tap) in taps.iter().enumerate() {
            // The element that each window has at this tap.
            let under = |view: &View| {
                let mut part = view.clone();
                for ((axis, w), k) in part.axes[2..].iter_mut().zip(&windows).zip(tap) {
                    let stride = axis.stride().unwrap_or(0);
                    part.base += w.index(0, *k) * stride;
                    *axis = Axis::plain(w.output, w.stride * stride);
                }
                part
            };
            let (from, to) = (under(&x), under(&sum));
            let refs = [&from, &y, &taken, &g, &to].map(Ref::of);
            nest::emit(&mut self.draft, NestRequest::map(id, &label, &to, refs.to_vec(), hand_over()))?;
            if i < last {
                let refs = [&from, &y, &taken].map(Ref::of);
                nest::emit(&mut self.draft, NestRequest::map(id, &label, &taken, refs.to_vec(), take()))?;
            }
        }
        self.copy(id, &label, &sum, &out)?;
        self.epilogue_in_place(id, &out)
    }
}

/// x, y, taken, g, sum → sum + g where x = y and the window is not taken.
fn hand_over() -> Program {
    let mut p = Program::new();
    let [x, y, taken, g, sum] = [0, 1, 2, 3, 4].map(|i| p.push(Step::Load(i)));
    let greatest = p.binary(Binary::Eq, x, y);
    let zero = p.constant_reg(0.0);
    let part = p.push(Step::Select(greatest, g, zero));
    let part = p.push(Step::Select(taken, zero, part));
    p.binary(Binary::Add, sum, part);
    p
}

/// x, y, taken → whether the window is taken after this element.
fn take() -> Program {
    let mut p = Program::new();
    let [x, y, taken] = [0, 1, 2].map(|i| p.push(Step::Load(i)));
    let greatest = p.binary(Binary::Eq, x, y);
    p.binary(Binary::Max, taken, greatest);
    p
}
