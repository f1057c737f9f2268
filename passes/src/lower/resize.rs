//! Resizing: each output index along an axis reads one input index (nearest) or several with weights.

use super::layout::sizes;
use super::nest::{self, NestRequest, Ref, RefTable};
use super::storage::{Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::interp::{ResizeTaps, nearest_source, resize_keeps, source_coordinate};
use rectify_ir::kernel::{Binary, Program, Reduce, Step};
use rectify_ir::op::{ResizeAttrs, ResizeCoords, ResizeMode};

impl Lower<'_> {
    pub(super) fn resize(&mut self, id: NodeId, a: &ResizeAttrs) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let source = self.view(graph.node(id).operands[0]);
        let (input, output) = (source.shape(), sizes(graph, id.into()));
        let keeps = |axis: usize| resize_keeps(a, axis - 2, input[axis] as usize, output[axis] as usize);
        let moving: Vec<usize> = (2..input.len()).filter(|axis| !keeps(*axis)).collect();
        if moving.is_empty() {
            return self.through_epilogue(id, &out, vec![Ref::of(&source)], Program::copy());
        }
        if let ResizeMode::Nearest(mode) = a.mode
            && !matches!(a.coords, ResizeCoords::CropAndResize(_))
        {
            let mut from = Ref::of(&source);
            for &axis in &moving {
                let (spatial, from_size, to_size) = (axis - 2, input[axis] as usize, output[axis] as usize);
                let coordinate = |i: i64| source_coordinate(a, spatial, i as usize, from_size, to_size);
                let index = |i| nearest_source(mode, coordinate(i), from_size) as i64;
                table(&mut from, &source.axes[axis], axis, (0..output[axis]).map(index));
            }
            return self.through_epilogue(id, &out, vec![from], Program::copy());
        }
        // One axis after the other: all modes are separable.
        let mut at = source;
        for (done, &axis) in moving.iter().enumerate() {
            let last = done + 1 == moving.len();
            let to = if last { out.clone() } else { self.resized(id, &at, &out, axis, output[axis])? };
            let taps = ResizeTaps::new(a, axis - 2, input[axis] as usize, output[axis] as usize);
            if taps.width == 2 && !taps.outside.contains(&true) {
                let mut refs: Vec<Ref> = (0..2).map(|k| tap(&at, axis, &taps, k)).collect();
                refs.extend((0..2).map(|k| self.along(id, axis, &to, every(&taps.weights, 2, k))));
                if last {
                    return self.through_epilogue(id, &to, refs, two_taps());
                }
                let label = format!("{} axis {axis}", self.label(id));
                nest::emit(&mut self.draft, NestRequest::map(id, &label, &to, refs, two_taps()))?;
            } else {
                self.many_taps(id, a, &at, &to, axis, &taps)?;
            }
            at = to;
        }
        self.epilogue_in_place(id, &out)
    }

    /// Sums over the taps of each place, as the reduced axis of a nest.
    fn many_taps(
        &mut self,
        id: NodeId,
        a: &ResizeAttrs,
        at: &View,
        to: &View,
        axis: usize,
        taps: &ResizeTaps,
    ) -> Result<(), LowerError> {
        let (rank, width) = (to.axes.len(), taps.width as i64);
        let size = to.axes[axis].size;
        let mut from = Ref::over(at, &[width]);
        let offsets = taps.places.iter().map(|p| at.axes[axis].offset(*p as i64)).collect();
        from.axes[axis] = Axis::broadcast(size);
        from.tables.push(RefTable::new(&[axis, rank], &[size, width], offsets));
        let element = self.held(id.into()).size_bytes() as i64;
        let mut weights = self.along(id, axis, to, taps.weights.iter().copied());
        weights.axes[axis] = Axis::plain(size, element * width);
        weights.axes.push(Axis::plain(width, element));
        let mut body = Program::new();
        let [x, w] = [0, 1].map(|k| body.push(Step::Load(k)));
        body.binary(Binary::Mul, x, w);
        let label = format!("{} axis {axis}", self.label(id));
        let request =
            NestRequest::reduce(id, &label, to, vec![from, weights], body, vec![width], Reduce::Sum);
        if !taps.outside.contains(&true) {
            return nest::emit(&mut self.draft, request);
        }
        let outside = self.along(id, axis, to, taps.outside.iter().map(|o| f64::from(u8::from(*o))));
        let mut finalize = Program::acc();
        let acc = finalize.result;
        let mask = finalize.push(Step::Load(0));
        let value = finalize.constant_reg(a.extrapolation.0);
        finalize.push(Step::Select(mask, value, acc));
        nest::emit(&mut self.draft, request.finish(vec![outside], finalize))
    }

    /// A temporary: `at` with another size along `axis`, in the form of the result.
    fn resized(
        &mut self,
        id: NodeId,
        at: &View,
        out: &View,
        axis: usize,
        size: i64,
    ) -> Result<View, LowerError> {
        let mut shape = at.shape();
        shape[axis] = size;
        let form = if self.is_blocked(out) { super::Form::Blocked } else { super::Form::Plain };
        let label = format!("{} axis {axis}", self.label(id));
        let (held, halo) = (self.held(id.into()), Halo::none(shape.len()));
        self.draft.typed_tensor(held, Home::Arena, &shape, form, &halo, &label)
    }

    /// Numbers along one axis of `to`, the same everywhere else.
    fn along(&mut self, id: NodeId, axis: usize, to: &View, values: impl Iterator<Item = f64>) -> Ref {
        let (values, held): (Vec<f64>, _) = (values.collect(), self.held(id.into()));
        let storage = self.draft.pack_numbers(&values, held);
        let mut axes: Vec<Axis> = to.axes.iter().map(|a| Axis::broadcast(a.size)).collect();
        axes[axis] = Axis::plain(values.len() as i64, held.size_bytes() as i64);
        Ref { storage, base: 0, axes, tables: vec![], indirect: vec![] }
    }
}

/// x · v + y · w
fn two_taps() -> Program {
    let mut p = Program::new();
    let [x, y, v, w] = [0, 1, 2, 3].map(|k| p.push(Step::Load(k)));
    let first = p.binary(Binary::Mul, x, v);
    let second = p.binary(Binary::Mul, y, w);
    p.binary(Binary::Add, first, second);
    p
}

/// The k-th of every `width` values.
fn every(values: &[f64], width: usize, k: usize) -> impl Iterator<Item = f64> {
    values.iter().skip(k).step_by(width).copied()
}

/// `at` read at the k-th tap of every place of the axis.
fn tap(at: &View, axis: usize, taps: &ResizeTaps, k: usize) -> Ref {
    let mut r = Ref::of(at);
    let places = taps.places.iter().skip(k).step_by(taps.width);
    table(&mut r, &at.axes[axis], axis, places.map(|p| *p as i64));
    r
}

/// Lets a reference read these indices of an axis.
fn table(r: &mut Ref, source: &Axis, axis: usize, indices: impl Iterator<Item = i64>) {
    let offsets: Vec<i64> = indices.map(|i| source.offset(i)).collect();
    r.axes[axis] = Axis::broadcast(offsets.len() as i64);
    r.tables.push(RefTable::new(&[axis], &[offsets.len() as i64], offsets));
}
