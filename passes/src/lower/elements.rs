//! Convolutions, average pools and dense layers of elements that the vector kernels do not take: one nest each, which adds
//! up one result at a time.
//!
//! The input of a window is copied to the middle of zeros first, with zeros between its elements too for a transposed
//! convolution. Every tap then lies at an even distance from the next one, in memory that is there.

use super::demand::{conv_windows, pool_windows};
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref};
use super::pool::axis_counts;
use super::storage::{Form, Halo, Home};
use super::view::{Axis, View};
use super::window::{Window, cut};
use super::{Lower, LowerError};
use rectify_ir::DType;
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{Binary, Program, Reduce, Reg, Step};
use rectify_ir::op::{ConvAttrs, ConvTransposeAttrs, PoolAttrs};

/// Places that windows read along one axis: `first + output · step + tap · by`, where element i of the image is at
/// `i · spacing` and between and around them are zeros.
#[derive(Clone, Copy)]
struct Places {
    input: i64,
    outputs: i64,
    taps: i64,
    first: i64,
    step: i64,
    by: i64,
    spacing: i64,
}

impl Places {
    fn of(w: &Window) -> Places {
        let (first, step, by) = (-w.before, w.stride, w.dilation);
        Places { input: w.input, outputs: w.output, taps: w.kernel, first, step, by, spacing: 1 }
    }

    /// The least and the greatest place, those of the image among them.
    fn range(&self) -> (i64, i64) {
        let (outputs, taps) = ((self.outputs - 1) * self.step, (self.taps - 1) * self.by);
        let low = self.first + outputs.min(0) + taps.min(0);
        let high = self.first + outputs.max(0) + taps.max(0);
        (low.min(0), high.max((self.input - 1) * self.spacing))
    }

    fn has_zeros(&self) -> bool {
        self.spacing != 1 || self.range() != (0, self.input - 1)
    }
}

impl Lower<'_> {
    /// Whether the node is one for these nests.
    pub(super) fn computes_elements(&self, id: NodeId) -> bool {
        self.held(id.into()) != DType::F32
    }

    /// x [..., I], weight [O, I], bias [O]? → [..., O]
    pub(super) fn dense_elements(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let operands = self.graph.node(id).own_operands();
        let (x, weight) = (self.view(operands[0]), self.view(operands[1]));
        let rows = x.axes.len() - 1;
        let mut left = x.axes[..rows].to_vec();
        left.extend([Axis::broadcast(weight.axes[0].size), x.axes[rows].clone()]);
        let mut right: Vec<Axis> = x.axes[..rows].iter().map(|a| Axis::broadcast(a.size)).collect();
        right.extend(weight.axes.iter().cloned());
        let refs = vec![Ref::new(&x, left), Ref::new(&weight, right)];
        let depth = vec![x.axes[rows].size];
        let request = NestRequest::reduce(id, &label, &out, refs, products(), depth, Reduce::Sum);
        let request = match operands.get(2) {
            None => request,
            Some(bias) => {
                let bias = self.view(*bias);
                let places = Ref::new(&bias, bias.align(&[rows], &out.shape()));
                request.finish(vec![places], with_bias())
            }
        };
        nest::emit(&mut self.draft, request)?;
        self.epilogue_in_place(id, &out)
    }

    pub(super) fn conv_elements(&mut self, id: NodeId, a: &ConvAttrs) -> Result<(), LowerError> {
        let places: Vec<Places> = conv_windows(self.graph, id, a).iter().map(Places::of).collect();
        let weight = self.view(self.graph.node(id).operands[1]);
        // [O, C/groups, …] → [groups, O/groups, C/groups, …]
        let mut axes = self.in_groups(id, &weight.axes[0], a.groups)?.to_vec();
        axes.extend_from_slice(&weight.axes[1..]);
        self.window_products(id, a.groups, &places, &View { axes, ..weight })
    }

    pub(super) fn conv_transpose_elements(
        &mut self,
        id: NodeId,
        a: &ConvTransposeAttrs,
    ) -> Result<(), LowerError> {
        let operands = self.graph.node(id).own_operands();
        let [x, w, y] = [operands[0], operands[1], id.into()].map(|v| sizes(self.graph, v));
        let places: Vec<Places> = (0..a.stride.len())
            .map(|i| Places {
                input: x[2 + i],
                outputs: y[2 + i],
                taps: w[2 + i],
                first: cut(a, i, w[2 + i], x[2 + i], y[2 + i]),
                step: 1,
                by: -a.dilation[i],
                spacing: a.stride[i],
            })
            .collect();
        let weight = self.view(operands[1]);
        // [C, O/groups, …] → [groups, O/groups, C/groups, …]
        let [groups, ins] = self.in_groups(id, &weight.axes[0], a.groups)?;
        let mut axes = vec![groups, weight.axes[1].clone(), ins];
        axes.extend_from_slice(&weight.axes[2..]);
        self.window_products(id, a.groups, &places, &View { axes, ..weight })
    }

    /// Sums of products of the places under a window with weights [groups, O/groups, C/groups, taps…].
    fn window_products(
        &mut self,
        id: NodeId,
        groups: i64,
        places: &[Places],
        weight: &View,
    ) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let operands = self.graph.node(id).own_operands();
        let source = self.view(operands[0]);
        let image = self.among_zeros(id, &source, places)?;
        let ins = self.in_groups(id, &image.axes[1], groups)?;
        let outs = self.in_groups(id, &out.axes[1], groups)?;
        let per_group = outs[1].size;
        let (base, moves) = steps(&image, places);

        let mut from = vec![image.axes[0].clone(), ins[0].clone(), Axis::broadcast(per_group)];
        from.extend(moves.iter().map(|m| m.0.clone()));
        from.push(ins[1].clone());
        from.extend(moves.into_iter().map(|m| m.1));
        let image = Ref::new(&View { base, ..image.clone() }, from);

        let mut by = vec![Axis::broadcast(out.axes[0].size), weight.axes[0].clone(), weight.axes[1].clone()];
        by.extend(places.iter().map(|p| Axis::broadcast(p.outputs)));
        by.extend_from_slice(&weight.axes[2..]);
        let weights = Ref::new(weight, by);

        let mut to = vec![out.axes[0].clone()];
        to.extend(outs);
        to.extend_from_slice(&out.axes[2..]);
        let to = View { axes: to, ..out.clone() };
        let reduced = [&[ins[1].size], &places.iter().map(|p| p.taps).collect::<Vec<_>>()[..]].concat();
        let request =
            NestRequest::reduce(id, &label, &to, vec![image, weights], products(), reduced, Reduce::Sum);
        let request = match operands.get(2) {
            None => request,
            Some(bias) => request.finish(vec![self.group_bias(id, *bias, groups, &to)?], with_bias()),
        };
        nest::emit(&mut self.draft, request)?;
        self.epilogue_in_place(id, &out)
    }

    /// A bias of all channels, as an operand of a result [N, groups, O/groups, …].
    fn group_bias(&mut self, id: NodeId, bias: Value, groups: i64, to: &View) -> Result<Ref, LowerError> {
        let bias = self.view(bias);
        let mut axes: Vec<Axis> = to.axes.iter().map(|a| Axis::broadcast(a.size)).collect();
        let [group, channel] = self.in_groups(id, &bias.axes[0], groups)?;
        (axes[1], axes[2]) = (group, channel);
        Ok(Ref::new(&bias, axes))
    }

    /// The sum of each window over the number of its elements, which may depend on the place.
    pub(super) fn avg_pool_elements(
        &mut self,
        id: NodeId,
        a: &PoolAttrs,
        pads_count: bool,
    ) -> Result<(), LowerError> {
        let (out, label) = (self.result(id)?, self.label(id));
        let source = self.view(self.graph.node(id).operands[0]);
        let windows = pool_windows(self.graph, id, a);
        let places: Vec<Places> = windows.iter().map(Places::of).collect();
        let image = self.among_zeros(id, &source, &places)?;
        let (base, moves) = steps(&image, &places);
        let mut from = image.axes[..2].to_vec();
        from.extend(moves.iter().map(|m| m.0.clone()));
        from.extend(moves.into_iter().map(|m| m.1));
        let image = Ref::new(&View { base, ..image.clone() }, from);
        let reduced = places.iter().map(|p| p.taps).collect();
        let request =
            NestRequest::reduce(id, &label, &out, vec![image], Program::copy(), reduced, Reduce::Sum);

        let (mut program, mut counts) = (Program::new(), Vec::with_capacity(windows.len()));
        let sum = program.push(Step::Acc);
        let mut count: Option<Reg> = None;
        for (i, window) in windows.iter().enumerate() {
            let numbers: Vec<f64> = axis_counts(window, pads_count).iter().map(|n| *n as f64).collect();
            let storage = self.draft.pack_numbers(&numbers, DType::F64);
            let mut axes: Vec<Axis> = out.axes.iter().map(|a| Axis::broadcast(a.size)).collect();
            axes[2 + i] = Axis::plain(window.output, 8);
            counts.push(Ref { storage, base: 0, axes, tables: vec![], indirect: vec![] });
            let along = program.push(Step::Load(i as u8));
            count = Some(count.map_or(along, |count| program.binary(Binary::Mul, count, along)));
        }
        match count {
            Some(count) => program.binary(Binary::Div, sum, count),
            None => sum,
        };
        nest::emit(&mut self.draft, request.finish(counts, program))?;
        self.epilogue_in_place(id, &out)
    }

    /// The image where windows can read all of their places; the axes from 2 on are those of the zeros around it too.
    fn among_zeros(&mut self, id: NodeId, image: &View, places: &[Places]) -> Result<View, LowerError> {
        let even = image.axes.iter().all(|a| a.stride().is_some());
        if even && !places.iter().any(Places::has_zeros) {
            return Ok(image.clone());
        }
        let label = format!("{} input", self.label(id));
        let mut shape: Vec<i64> = image.axes[..2].iter().map(|a| a.size).collect();
        shape.extend(places.iter().map(|p| p.range().1 - p.range().0 + 1));
        let (held, halo) = (self.held(id.into()), Halo::none(shape.len()));
        let whole = self.draft.typed_tensor(held, Home::Arena, &shape, Form::Plain, &halo, &label)?;
        if places.iter().any(Places::has_zeros) {
            let zeros = NestRequest::map(id, &label, &whole, vec![], Program::constant(0.0));
            nest::emit(&mut self.draft, zeros)?;
        }
        let mut inner = Some(whole.clone());
        for (i, p) in places.iter().enumerate() {
            inner = inner.and_then(|v| v.slice(2 + i, -p.range().0, p.spacing, p.input));
        }
        let inner = inner.ok_or_else(|| self.unsupported(id, "its input cannot be addressed"))?;
        let first = self.draft.steps.len();
        self.copy(id, &label, image, &inner)?;
        self.draft.steps[first..].iter_mut().for_each(|s| s.overwrites = true);
        Ok(whole)
    }

    /// An axis of channels as groups and the channels of each.
    fn in_groups(&self, id: NodeId, axis: &Axis, groups: i64) -> Result<[Axis; 2], LowerError> {
        let alone = View { storage: super::storage::StorageId(0), base: 0, axes: vec![axis.clone()] };
        let cut = alone.reshape(&[groups, axis.size / groups]);
        let [group, channel] = cut.as_ref().map_or(&[][..], |v| v.axes.as_slice()) else {
            return Err(self.unsupported(id, "its channels cannot be addressed group by group"));
        };
        Ok([group.clone(), channel.clone()])
    }
}

/// Where the first tap of the first window lies, and for each spatial axis how windows and taps move.
fn steps(image: &View, places: &[Places]) -> (i64, Vec<(Axis, Axis)>) {
    let mut base = image.base;
    let moves = places.iter().zip(&image.axes[2..]).map(|(p, axis)| {
        let stride = axis.stride().unwrap_or(0);
        base += (p.first - p.range().0) * stride;
        (Axis::plain(p.outputs, p.step * stride), Axis::plain(p.taps, p.by * stride))
    });
    let moves = moves.collect();
    (base, moves)
}

/// The product of two operands.
pub(super) fn products() -> Program {
    let mut body = Program::copy();
    let other = body.push(Step::Load(1));
    body.binary(Binary::Mul, Reg(0), other);
    body
}

fn with_bias() -> Program {
    let mut finish = Program::acc();
    let bias = finish.push(Step::Load(0));
    finish.binary(Binary::Add, Reg(0), bias);
    finish
}
