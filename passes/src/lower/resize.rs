//! Resizing: each output index along an axis reads one input index (nearest) or two with weights (linear).

use super::layout::sizes;
use super::nest::{self, NestRequest, Ref, RefTable};
use super::storage::{Halo, Home};
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, PackFormat, Program, Step};
use rectify_ir::op::{NearestMode, ResizeAttrs, ResizeCoords, ResizeMode, ResizeTarget};

impl Lower<'_> {
    pub(super) fn resize(&mut self, id: NodeId, a: &ResizeAttrs) -> Result<(), LowerError> {
        let (graph, out) = (self.graph, self.result(id)?);
        let source = self.view(graph.node(id).operands[0]);
        let (input, output) = (source.shape(), sizes(graph, id.into()));
        let coordinate = |axis: usize, index: i64| coordinate(a, axis - 2, index, input[axis], output[axis]);
        let moving: Vec<usize> = (2..input.len()).filter(|axis| changes(a, *axis, &input, &output)).collect();
        match a.mode {
            ResizeMode::Nearest(mode) => {
                let mut from = Ref::of(&source);
                for &axis in &moving {
                    let index = |i| round(mode, coordinate(axis, i)).clamp(0, input[axis] - 1);
                    table(&mut from, &source.axes[axis], axis, (0..output[axis]).map(index));
                }
                self.through_epilogue(id, &out, vec![from], Program::copy())
            }
            ResizeMode::Linear => {
                // One axis after the other, the last one first, since that one is read most.
                let mut at = source.clone();
                if moving.is_empty() {
                    return self.through_epilogue(id, &out, vec![Ref::of(&at)], Program::copy());
                }
                for (done, &axis) in moving.iter().enumerate() {
                    let last = done + 1 == moving.len();
                    let to =
                        if last { out.clone() } else { self.resized(id, &at, &out, axis, output[axis])? };
                    let points: Vec<(i64, i64, f32)> =
                        (0..output[axis]).map(|i| blend(coordinate(axis, i), input[axis])).collect();
                    let mut refs = Vec::with_capacity(3);
                    for side in 0..2 {
                        let mut r = Ref::of(&at);
                        let index = |p: &(i64, i64, f32)| if side == 0 { p.0 } else { p.1 };
                        table(&mut r, &at.axes[axis], axis, points.iter().map(index));
                        refs.push(r);
                    }
                    refs.push(self.weights(&points, axis, &to));
                    if last {
                        self.through_epilogue(id, &to, refs, interpolation())?;
                    } else {
                        let label = format!("{} axis {axis}", self.label(id));
                        nest::emit(
                            &mut self.draft,
                            NestRequest::map(id, &label, &to, refs, interpolation()),
                        )?;
                    }
                    at = to;
                }
                Ok(())
            }
        }
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
        self.draft.tensor(Home::Arena, &shape, form, &Halo::none(shape.len()), &label)
    }

    /// The weight of the second point for every index of the axis.
    fn weights(&mut self, points: &[(i64, i64, f32)], axis: usize, to: &View) -> Ref {
        let values: Vec<f32> = points.iter().map(|p| p.2).collect();
        let storage = self.draft.pack_literal(&values, PackFormat::Raw { elements: values.len() as u64 });
        let mut axes: Vec<Axis> = to.axes.iter().map(|a| Axis::broadcast(a.size)).collect();
        axes[axis] = Axis::plain(values.len() as i64, 4);
        Ref { storage, base: 0, axes, tables: vec![] }
    }
}

/// a · (1 − w) + b · w
fn interpolation() -> Program {
    let mut p = Program::new();
    let [a, b, w] = [0, 1, 2].map(|k| p.push(Step::Load(k)));
    let one = p.constant_reg(1.0);
    let rest = p.binary(Binary::Sub, one, w);
    let first = p.binary(Binary::Mul, a, rest);
    let second = p.binary(Binary::Mul, b, w);
    p.binary(Binary::Add, first, second);
    p
}

/// Whether the axis is resampled at all.
fn changes(a: &ResizeAttrs, axis: usize, input: &[i64], output: &[i64]) -> bool {
    let unit = match &a.target {
        ResizeTarget::Scales(scales) => scales[axis - 2].0 == 1.0,
        ResizeTarget::Sizes(_) => true,
    };
    !(unit && input[axis] == output[axis])
}

/// The input coordinate of an output index.
fn coordinate(a: &ResizeAttrs, spatial: usize, index: i64, input: i64, output: i64) -> f64 {
    let scale = match &a.target {
        ResizeTarget::Scales(scales) => scales[spatial].0,
        ResizeTarget::Sizes(_) => output as f64 / input as f64,
    };
    let x = index as f64;
    match a.coords {
        ResizeCoords::HalfPixel => (x + 0.5) / scale - 0.5,
        ResizeCoords::PytorchHalfPixel if output == 1 => 0.0,
        ResizeCoords::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
        ResizeCoords::AlignCorners if output == 1 => 0.0,
        ResizeCoords::AlignCorners => x * (input - 1) as f64 / (output - 1) as f64,
        ResizeCoords::Asymmetric => x / scale,
    }
}

fn round(mode: NearestMode, x: f64) -> i64 {
    let rounded = match mode {
        NearestMode::RoundPreferFloor => (x - 0.5).ceil(),
        NearestMode::RoundPreferCeil => (x + 0.5).floor(),
        NearestMode::Floor => x.floor(),
        NearestMode::Ceil => x.ceil(),
    };
    rounded as i64
}

/// The two input indices around a coordinate and the weight of the second.
fn blend(x: f64, size: i64) -> (i64, i64, f32) {
    let x = x.clamp(0.0, (size - 1) as f64);
    let low = x.floor();
    let index = low as i64;
    (index, (index + 1).min(size - 1), (x - low) as f32)
}

/// Lets a reference read these indices of an axis.
fn table(r: &mut Ref, source: &Axis, axis: usize, indices: impl Iterator<Item = i64>) {
    let offsets: Vec<i64> = indices.map(|i| source.offset(i)).collect();
    r.axes[axis] = Axis::broadcast(offsets.len() as i64);
    r.tables.push(RefTable::new(&[axis], &[offsets.len() as i64], offsets));
}
