//! Orders and running sums: places of extremes, sorts, scans.

use super::nest::{self, NestRequest, Ref};
use super::storage::{DraftStep, Form, Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, PackFormat, Program, Reduce, Sort, SortArgs, Step, sort::MAX_SIZE};
use rectify_ir::literal::Literal;
use rectify_ir::op::{ArgKind, CumulateKind};
use rectify_ir::plan::Args;

/// Integers below are floats of f32.
const WHOLE: i64 = 1 << 24;

impl Lower<'_> {
    /// The extreme along the axis, then the least (or greatest) of the places that have it.
    pub(super) fn arg_reduce(
        &mut self,
        id: NodeId,
        kind: ArgKind,
        axis: usize,
        keep: bool,
        last: bool,
    ) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let value = self.graph.node(id).operands[0];
        let (x, held) = (self.view(value), self.held(value));
        let size = x.axes[axis].size;
        let mut shape = x.shape();
        shape[axis] = 1;
        let label = self.label(id);
        let temporary = |lower: &mut Self, dtype, name: &str| {
            let (halo, label) = (Halo::none(shape.len()), format!("{label} {name}"));
            lower.draft.typed_tensor(dtype, Home::Arena, &shape, Form::Plain, &halo, &label)
        };
        let extreme = temporary(self, held, "extreme")?;
        let reduce = if kind == ArgKind::Max { Reduce::Max } else { Reduce::Min };
        self.reduce_into(id, &extreme, &[axis], &[&x], Program::copy(), reduce, Program::acc())?;

        // Places take part in the arithmetic of the elements.
        let counted = match held {
            DType::F32 if size <= WHOLE => DType::F32,
            d if d.is_float() => DType::F64,
            _ => DType::I64,
        };
        let places = self.ramp(size, counted, axis, shape.len());
        let reduce = if last { Reduce::Max } else { Reduce::Min };
        let body = place_of_equal(if last { 0.0 } else { 2f64.powi(62) });
        let mut result = out.clone();
        if !keep {
            result.axes.insert(axis, Axis::broadcast(1));
        }
        let to = if counted == DType::I64 { result.clone() } else { temporary(self, counted, "place")? };
        self.reduce_into(id, &to, &[axis], &[&x, &extreme, &places], body, reduce, Program::acc())?;
        if counted != DType::I64 {
            self.copy(id, &label, &to, &result)?;
        }
        Ok(())
    }

    /// 0, 1, 2, … along one of `rank` axes.
    pub(super) fn ramp(&mut self, size: i64, dtype: DType, axis: usize, rank: usize) -> View {
        let storage = match dtype {
            DType::F32 => {
                let values: Vec<f32> = (0..size).map(|i| i as f32).collect();
                self.draft.pack_literal(&values, PackFormat::Raw { elements: size as u64 })
            }
            _ => {
                let bytes = (0..size).flat_map(|i| match dtype {
                    DType::F64 => (i as f64).to_le_bytes(),
                    _ => i.to_le_bytes(),
                });
                let bytes = bytes.collect();
                self.draft.pack_elements(&Literal { dtype, shape: vec![size as usize], bytes })
            }
        };
        let mut axes = vec![Axis::broadcast(1); rank];
        axes[axis] = Axis::plain(size, dtype.size_bytes() as i64);
        View { storage, base: 0, axes }
    }

    /// Rows along the axis are made contiguous, and sorted by the kernel of sorts.
    pub(super) fn arg_sort(&mut self, id: NodeId, axis: usize, descending: bool) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let value = self.graph.node(id).operands[0];
        let (x, element, label) = (self.view(value), self.held(value), self.label(id));
        let (size, count) = (x.axes[axis].size, out.axes[axis].size);
        if size > MAX_SIZE {
            return Err(self.unsupported(id, "it sorts more than 2^24 elements"));
        }
        let mut order: Vec<usize> = (0..x.axes.len()).filter(|a| *a != axis).collect();
        order.push(axis);
        let (from, to) = (x.permute(&order), out.permute(&order));
        let rows = self.contiguous(element, &from.shape(), &format!("{label} rows"))?;
        self.copy(id, &label, &from, &rows)?;
        let sorted = self.contiguous(DType::I64, &to.shape(), &format!("{label} places"))?;
        let kernel = Sort { element, descending };
        let args = SortArgs { rows: from.shape()[..order.len() - 1].iter().product(), size, count };
        let cost = args.cost(&kernel);
        self.draft.push(DraftStep {
            kernel: kernel.into(),
            label: label.clone(),
            node: id,
            pointers: vec![(sorted.storage, sorted.base), (rows.storage, rows.base)],
            args: Args::Sort(args),
            cost,
            multiply_adds: 0,
            candidates: vec![],
            in_place: vec![],
            fills: None,
            overwrites: false,
        })?;
        self.copy(id, &label, &sorted, &to)
    }

    pub(super) fn contiguous(
        &mut self,
        element: DType,
        shape: &[i64],
        label: &str,
    ) -> Result<View, LowerError> {
        self.draft.typed_tensor(element, Home::Arena, shape, Form::Plain, &Halo::none(shape.len()), label)
    }

    /// Each round adds the sum that ends 1, 2, 4, … elements before: as many rounds as the size has binary digits.
    pub(super) fn cumulate(
        &mut self,
        id: NodeId,
        kind: CumulateKind,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    ) -> Result<(), LowerError> {
        let out = self.result(id)?;
        let value = self.graph.node(id).operands[0];
        let (x, element, label) = (self.strided(value, &[axis])?, self.held(value), self.label(id));
        let (shape, size) = (x.shape(), x.axes[axis].size);
        let (op, neutral) = match kind {
            CumulateKind::Sum => (Binary::Add, 0.0),
            CumulateKind::Prod => (Binary::Mul, 1.0),
        };
        let mut spare = Vec::new();
        for name in ["one", "other"] {
            let (halo, label) = (Halo::none(shape.len()), format!("{label} {name}"));
            let home = Home::Arena;
            spare.push(self.draft.typed_tensor(element, home, &shape, Form::Plain, &halo, &label)?);
        }
        let none = self.unsupported(id, "its elements cannot be addressed one after the other");
        // Part of the axis, seen from the end in reverse.
        let part = |view: &View, start: i64, count: i64| match reverse {
            false => view.slice(axis, start, 1, count),
            true => view.slice(axis, size - 1 - start, -1, count),
        };
        let part = |view: &View, start, count| part(view, start, count).ok_or_else(|| none.clone());
        let mut body = Program::copy();
        let before = body.push(Step::Load(1));
        body.binary(op, rectify_ir::kernel::Reg(0), before);
        let mut requests = Vec::new();
        let map = |to: &View, from: &[View], body: &Program| {
            let refs = from.iter().map(Ref::of).collect();
            NestRequest { in_place: false, ..NestRequest::map(id, &label, to, refs, body.clone()) }
        };
        let rounds = (64 - (size - 1).leading_zeros()) as usize;
        let (mut now, mut written) = (x, 0);
        if exclusive {
            let to = if rounds == 0 { out.clone() } else { spare[0].clone() };
            requests.push(map(&part(&to, 0, 1)?, &[], &Program::constant(neutral)));
            if size > 1 {
                let from = part(&now, 0, size - 1)?;
                requests.push(map(&part(&to, 1, size - 1)?, &[from], &Program::copy()));
            }
            (now, written) = (to, 1);
        }
        for round in 0..rounds {
            let to = if round + 1 == rounds { out.clone() } else { spare[written % 2].clone() };
            let shift = 1 << round;
            let first = part(&now, 0, shift)?;
            requests.push(map(&part(&to, 0, shift)?, std::slice::from_ref(&first), &Program::copy()));
            let operands = [part(&now, shift, size - shift)?, part(&now, 0, size - shift)?];
            requests.push(map(&part(&to, shift, size - shift)?, &operands, &body));
            (now, written) = (to, written + 1);
        }
        if rounds == 0 && !exclusive {
            requests.push(map(&out, &[now], &Program::copy()));
        }
        requests.into_iter().try_for_each(|request| nest::emit(&mut self.draft, request))
    }
}

/// x, extreme, place → the place where x is the extreme or NaN, else `otherwise`.
fn place_of_equal(otherwise: f64) -> Program {
    let mut p = Program::new();
    let [x, extreme, place] = [0, 1, 2].map(|i| p.push(Step::Load(i)));
    let other = p.constant_reg(otherwise);
    let number = p.binary(Binary::Eq, x, x);
    let rest = p.push(Step::Select(number, other, place));
    let equal = p.binary(Binary::Eq, x, extreme);
    p.push(Step::Select(equal, place, rest));
    p
}
