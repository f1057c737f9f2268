//! Gradients of convolution weights: contractions over images and places.
//!
//! Input channels and taps take the part of pixels, and the gradient, packed at run time, that of weights. The images
//! are cut into a number of slices that depends on sizes alone; their sums are added in order. So the bits do not
//! depend on threads, a slice's gradient stays in the cache, and rounding errors do not grow with the batch.

use super::contract::{Bias, Family, TileCall};
use super::demand::{Fill, demand, weight_grad_windows};
use super::dense::RunTimeWeights;
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref};
use super::operands::TileOutput;
use super::storage::{Form, Halo, Home};
use super::view::{Axis, Part, View};
use super::window::Window;
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, Program, Reduce, SourceOrder, Step, WeightPack};
use rectify_ir::op::ConvAttrs;

/// Most places that a slice sums over, if it has more than one image: 512 KiB of gradients in vectors of 16.
pub(super) const SLICE_PLACES: i64 = 8 << 10;

impl Lower<'_> {
    pub(super) fn conv_weight_grad(
        &mut self,
        id: NodeId,
        a: &ConvAttrs,
        kernel: &[i64],
    ) -> Result<(), LowerError> {
        let Some(d) = demand(self.graph, &self.layout, id, self.lanes) else {
            return Err(self.unsupported(id, "it has no input"));
        };
        let x = self.in_form(d.value, d.form, &d.halo, Fill::Zero)?;
        let windows = weight_grad_windows(self.graph, id, a, kernel);
        if a.groups > 1 {
            self.grouped_weight_grad(id, a.groups, &x, &windows)?;
        } else if let Some(sums) = self.winograd_weight_grad(id, &x, &windows)? {
            self.add_slices(id, &sums)?;
        } else {
            self.contract_weight_grad(id, &x, &windows)?;
        }
        let out = self.result(id)?;
        self.epilogue_in_place(id, &out)
    }

    fn contract_weight_grad(&mut self, id: NodeId, x: &View, windows: &[Window]) -> Result<(), LowerError> {
        let (graph, label, out) = (self.graph, self.label(id), self.result(id)?);
        let gradient = graph.node(id).operands[1];
        let shape = sizes(graph, gradient);
        let (images, outputs, places) = (shape[0], shape[1], shape[2..].iter().product::<i64>());
        let slices = slices(images, places);
        let per_slice = images / slices;

        // The gradient as weights: a group a slice, an input channel an image, a tap a place.
        let g = if outputs % self.lanes == 0 {
            self.view(gradient)
        } else {
            self.in_form(gradient, Form::Plain, &Halo::none(shape.len()), Fill::Zero)?
        };
        let (Some(image), Some(tap)) = (g.axes[0].stride(), joined(&g.axes[2..])) else {
            return Err(self.unsupported(id, "its gradient cannot be addressed"));
        };
        let rows: i64 = x.axes[1].size * windows.iter().map(|w| w.kernel).product::<i64>();
        let tile = self.tile(rows, outputs);
        let pack = WeightPack {
            groups: slices as u32,
            out_channels: outputs as u32,
            in_channels: per_slice as u32,
            source_taps: places as u32,
            taps: (0..places as u32).collect(),
            order: SourceOrder::OutInTap,
            lanes: self.lanes as u8,
            vectors: tile.vectors,
            inner: 1,
        };
        let source = RunTimeWeights {
            groups: vec![Axis::plain(slices, per_slice * image)],
            out: g.axes[1].clone(),
            input: Axis::plain(per_slice, image),
            tap,
            view: g,
        };
        let weights = self.pack_at_run_time(id, &source, &pack)?;

        // The sums of each slice: [slice, channel…, taps…, output].
        let Some(x_image) = x.axes[0].stride() else {
            return Err(self.unsupported(id, "its input cannot be addressed"));
        };
        let channel = x.axes[1].simplified();
        let (mut sums_shape, mut pixel) = (vec![slices], vec![]);
        for part in &channel.parts {
            sums_shape.push(part.extent);
            pixel.push(part.stride);
        }
        let (mut corner, mut steps) = (0, vec![0i64]);
        for (w, axis) in windows.iter().zip(&x.axes[2..]) {
            let row = axis.stride().unwrap_or(0);
            sums_shape.push(w.kernel);
            pixel.push(w.dilation * row);
            corner += w.before * row;
            steps = steps.iter().flat_map(|s| (0..w.output).map(move |p| s + p * w.stride * row)).collect();
        }
        sums_shape.push(outputs);
        let steps = (0..per_slice).flat_map(|n| steps.iter().map(move |s| n * x_image + s)).collect();
        let none = Halo::none(sums_shape.len());
        let sums =
            self.draft.tensor(Home::Arena, &sums_shape, Form::Plain, &none, &format!("{label} sums"))?;
        self.raw_tile_call(
            &TileCall {
                node: id,
                family: Family::Contract { tile, inner: 1, dot: false },
                output: TileOutput {
                    channel: sums.axes.len() - 1,
                    view: sums.clone(),
                    group_axis: Some(0),
                    groups: slices,
                    width: i64::from(tile.vectors) * self.lanes,
                    part: None,
                },
                input: (x.storage, x.base - corner),
                input_group: per_slice * x_image,
                input_pixel: pixel,
                steps,
                weights: Some((weights, 0)),
                bias: Bias::None,
                candidates: vec![],
                multiply_adds: (images * places * rows * outputs) as u64,
            },
            None,
        )?;

        let mut whole = vec![slices];
        whole.extend(&out.shape()[1..]);
        whole.push(outputs);
        let Some(sums) = sums.reshape(&whole) else {
            return Err(self.unsupported(id, "its sums cannot be addressed"));
        };
        self.add_slices(id, &sums)
    }

    /// The gradient from the sums of slices, `[slice, in, taps…, out]`.
    fn add_slices(&mut self, id: NodeId, sums: &View) -> Result<(), LowerError> {
        let (label, out) = (self.label(id), self.result(id)?);
        let (slices, last) = (sums.axes[0].size, sums.axes.len() - 1);
        let order: Vec<usize> = std::iter::once(last - 1).chain(0..last - 1).collect();
        if slices == 1 {
            let only = View { axes: sums.axes[1..].to_vec(), ..*sums };
            return self.copy(id, &label, &only.permute(&order), &out);
        }
        // In vectors first, as the sums lie; their transposition goes element by element.
        let shape = &sums.shape()[1..];
        let halo = Halo::none(shape.len());
        let sum = self.draft.tensor(Home::Arena, shape, Form::Plain, &halo, &format!("{label} sum"))?;
        let mut axes = sums.axes[1..].to_vec();
        axes.push(sums.axes[0].clone());
        let from = Ref::new(sums, axes);
        let request =
            NestRequest::reduce(id, &label, &sum, vec![from], Program::copy(), vec![slices], Reduce::Sum);
        nest::emit(&mut self.draft, request)?;
        self.copy(id, &label, &sum.permute(&order), &out)
    }

    /// Few channels meet each other in groups, so a nest a group does.
    fn grouped_weight_grad(
        &mut self,
        id: NodeId,
        groups: i64,
        x: &View,
        windows: &[Window],
    ) -> Result<(), LowerError> {
        let (label, out) = (self.label(id), self.result(id)?);
        let gradient = self.graph.node(id).operands[1];
        let rank = sizes(self.graph, gradient).len();
        let g = self.in_form(gradient, Form::Plain, &Halo::none(rank), Fill::Zero)?;
        let cut = |axis: &Axis| -> Option<Vec<Axis>> {
            let (size, stride) = (axis.size / groups, axis.stride()?);
            Some(vec![Axis::plain(groups, size * stride), Axis::plain(size, stride)])
        };
        let (Some(outs), Some(of_g), Some(ins)) = (cut(&out.axes[0]), cut(&g.axes[1]), cut(&x.axes[1]))
        else {
            return Err(self.unsupported(id, "its groups of channels cannot be addressed"));
        };
        // Axes: group, output, input, taps… | images, places….
        let mut to = out.clone();
        to.axes.splice(0..1, outs);
        let mut from_x = vec![ins[0].clone(), Axis::broadcast(of_g[1].size), ins[1].clone()];
        let mut from_g = of_g;
        from_g.push(Axis::broadcast(ins[1].size));
        let (mut corner, mut places) = (0, vec![x.axes[0].clone()]);
        for (w, axis) in windows.iter().zip(&x.axes[2..]) {
            let row = axis.stride().unwrap_or(0);
            corner += w.before * row;
            from_x.push(Axis::plain(w.kernel, w.dilation * row));
            from_g.push(Axis::broadcast(w.kernel));
            places.push(Axis::plain(w.output, w.stride * row));
        }
        let reduced = places.iter().map(|a| a.size).collect();
        from_x.extend(places);
        from_g.push(g.axes[0].clone());
        from_g.extend_from_slice(&g.axes[2..]);
        let mut x = Ref::new(x, from_x);
        x.base -= corner;
        let mut product = Program::new();
        let (a, b) = (product.push(Step::Load(0)), product.push(Step::Load(1)));
        product.binary(Binary::Mul, a, b);
        let operands = vec![x, Ref::new(&g, from_g)];
        let request = NestRequest::reduce(id, &label, &to, operands, product, reduced, Reduce::Sum);
        nest::emit(&mut self.draft, request)
    }
}

/// The least number of equal slices of the images that keeps a slice small.
fn slices(images: i64, places: i64) -> i64 {
    let fits = |s: &i64| images % s == 0 && images / s * places <= SLICE_PLACES;
    (1..=images).find(fits).unwrap_or(images)
}

/// Spatial axes as one.
fn joined(axes: &[Axis]) -> Option<Axis> {
    let size = axes.iter().map(|a| a.size).product();
    let parts =
        axes.iter().map(|a| Some(Part { extent: a.size, stride: a.stride()? })).collect::<Option<_>>()?;
    Some(Axis { size, parts }.simplified())
}
