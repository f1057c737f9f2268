//! The gradient of a max-pool: element by element of the window, so that the first greatest one takes it.
//!
//! Windows that overlap add up in a sum, and a flag a window says whether its gradient is taken. Those that do not
//! need neither.

use super::demand::{demand, pool_grad_windows};
use super::nest::{self, NestRequest, Ref};
use super::storage::{Form, Home};
use super::view::{Axis, View};
use super::window::{Window, halo};
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, Program, Reg, Step};
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
        let taps = taps(&windows);
        if is_partition(&windows) && taps.len() <= MOST_TAPS {
            self.partition_grad(id, &windows, &taps, &x, [&y, &g, &out])?;
            return self.epilogue_in_place(id, &out);
        }

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

        let last = taps.len() - 1;
        for (i, tap) in taps.iter().enumerate() {
            let (from, to) = (under(&x, &windows, tap), under(&sum, &windows, tap));
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

    /// Windows that share no element: each element of the result is written once, from the window's own.
    fn partition_grad(
        &mut self,
        id: NodeId,
        windows: &[Window],
        taps: &[Vec<i64>],
        x: &View,
        [y, g, out]: [&View; 3],
    ) -> Result<(), LowerError> {
        let label = self.label(id);
        let covered = windows.iter().all(|w| w.output * w.stride == w.input);
        if !covered {
            let zero = NestRequest::map(id, &label, out, vec![], Program::constant(0.0));
            nest::emit(&mut self.draft, zero)?;
        }
        for (i, tap) in taps.iter().enumerate() {
            let first = self.draft.steps.len();
            let mut operands = vec![Ref::of(y), Ref::of(g)];
            operands.extend(taps[..=i].iter().map(|tap| Ref::of(&under(x, windows, tap))));
            let to = under(out, windows, tap);
            let request = NestRequest::map(id, &label, &to, operands, first_greatest(i as u8));
            nest::emit(&mut self.draft, request)?;
            self.draft.steps[first..].iter_mut().for_each(|s| s.overwrites = !covered);
        }
        Ok(())
    }
}

/// Most taps of windows whose elements one nest compares: they are operands, beside maximum, gradient and mask.
const MOST_TAPS: usize = 8;

/// Offsets of a window's elements along each axis, the last axis fastest.
fn taps(windows: &[Window]) -> Vec<Vec<i64>> {
    windows.iter().fold(vec![vec![]], |all: Vec<Vec<i64>>, w| {
        let longer = |t: &Vec<i64>, k: i64| t.iter().copied().chain([k]).collect();
        all.iter().flat_map(|t| (0..w.kernel).map(move |k| longer(t, k))).collect()
    })
}

/// Whether no two windows share an element and none reaches beyond the input.
fn is_partition(windows: &[Window]) -> bool {
    windows.iter().all(|w| {
        let last = w.index(w.output - 1, w.kernel - 1);
        w.before == 0 && last < w.input && (w.kernel - 1) * w.dilation < w.stride
    })
}

/// The element that each window has at this tap.
fn under(view: &View, windows: &[Window], tap: &[i64]) -> View {
    let mut part = view.clone();
    for ((axis, w), k) in part.axes[2..].iter_mut().zip(windows).zip(tap) {
        let stride = axis.stride().unwrap_or(0);
        part.base += w.index(0, *k) * stride;
        *axis = Axis::plain(w.output, w.stride * stride);
    }
    part
}

/// y, g, x₀ … xₖ → g where xₖ is the first that equals y.
fn first_greatest(k: u8) -> Program {
    let mut p = Program::new();
    let (y, g) = (p.push(Step::Load(0)), p.push(Step::Load(1)));
    let zero = p.constant_reg(0.0);
    let equal = |p: &mut Program, i: u8| {
        let x = p.push(Step::Load(2 + i));
        p.binary(Binary::Eq, x, y)
    };
    let earlier = (0..k).fold(None, |earlier: Option<Reg>, i| {
        let here = equal(&mut p, i);
        Some(earlier.map_or(here, |earlier| p.binary(Binary::Max, earlier, here)))
    });
    let here = equal(&mut p, k);
    let mut part = p.push(Step::Select(here, g, zero));
    if let Some(earlier) = earlier {
        part = p.push(Step::Select(earlier, zero, part));
    }
    p.result = part;
    p
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
