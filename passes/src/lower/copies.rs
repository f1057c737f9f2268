//! Copies and packs: values in the form that a consumer reads, halos, and the model's outputs.

use super::demand::Fill;
use super::layout::sizes;
use super::nest::{self, NestRequest, Ref};
use super::storage::{Form, Halo, Home};
use super::view::{Axis, Part, View};
use super::{Lower, LowerError, held};
use rectify_ir::DType;
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::interp::Tensor;
use rectify_ir::kernel::{ChannelPack, PackFormat, Program, SourceOrder, WeightPack};
use rectify_ir::op::Source;

impl Lower<'_> {
    /// The value in this form, with at least this halo of this value. A copy is made once for all consumers.
    pub(super) fn in_form(
        &mut self,
        value: Value,
        form: Form,
        halo: &Halo,
        fill: Fill,
    ) -> Result<View, LowerError> {
        if self.layout.offers(value, form, halo, fill) {
            return Ok(self.view(value));
        }
        if let Some(view) = self.copies.get(&(value, form, fill)) {
            return Ok(view.clone());
        }
        let source = self.view(value);
        let is_form = match form {
            Form::Plain => source.axes.iter().all(|a| a.stride().is_some()),
            Form::Blocked => self.is_blocked(&source),
        };
        if halo.is_none() && is_form {
            return Ok(source);
        }
        let mut whole = halo.clone();
        if let Some(wanted) = self.layout.copies.get(&(value, form, fill)) {
            whole.grow(wanted);
        }
        let shape = sizes(self.graph, value);
        let label = format!("{} copy", self.label(value.node));
        let view = self.draft.tensor(Home::Arena, &shape, form, &whole, &label)?;
        self.fill_halo(value.node, &view, &whole, fill, form)?;
        self.copy(value.node, &label, &source, &view)?;
        self.copies.insert((value, form, fill), view.clone());
        Ok(view)
    }

    /// Whether channels are in full blocks of adjacent lanes and every other axis has one stride.
    pub(super) fn is_blocked(&self, view: &View) -> bool {
        view.axes.len() >= 2
            && matches!(view.axes[1].parts.as_slice(), [.., Part { extent, stride: 4 }] if *extent == self.lanes)
            && view.axes[1].parts.len() <= 2
            && view.axes.iter().enumerate().all(|(i, a)| i == 1 || a.stride().is_some())
    }

    /// Copies all elements.
    pub(super) fn copy(
        &mut self,
        node: NodeId,
        label: &str,
        from: &View,
        to: &View,
    ) -> Result<(), LowerError> {
        let request = NestRequest::map(node, label, to, vec![Ref::of(from)], Program::copy());
        nest::emit(&mut self.draft, request)
    }

    /// Writes `fill` to the halo around a tensor: for each spatial axis the slabs before and after the image, which
    /// span the image along earlier axes and everything along later ones.
    pub(super) fn fill_halo(
        &mut self,
        node: NodeId,
        view: &View,
        halo: &Halo,
        fill: Fill,
        form: Form,
    ) -> Result<(), LowerError> {
        if halo.is_none() {
            return Ok(());
        }
        let label = format!("{} halo", self.label(node));
        // The image as [image, channel block, spatial…, lane], each with one stride.
        let channel = &view.axes[1];
        let (blocks, lane) = match form {
            Form::Plain => (channel.clone(), Axis::broadcast(1)),
            Form::Blocked => match channel.parts.as_slice() {
                [outer, inner] => (Axis::plain(outer.extent, outer.stride), Axis::plain(inner.extent, 4)),
                _ => (Axis::broadcast(1), Axis::plain(self.lanes, 4)),
            },
        };
        let spatial = &view.axes[2..];
        // Strides of spatial axes of size 1 are not in the view.
        let mut strides = vec![0; spatial.len()];
        let mut stride = if form == Form::Blocked { 4 * self.lanes } else { 4 };
        for i in (0..spatial.len()).rev() {
            strides[i] = stride;
            stride *= spatial[i].size + halo.before[i] + halo.after[i];
        }
        for slab in 0..spatial.len() {
            let (before, after) = (halo.before[slab], halo.after[slab]);
            let mut base = view.base;
            let mut axes = vec![view.axes[0].clone(), blocks.clone()];
            for i in 0..spatial.len() {
                if i < slab {
                    axes.push(spatial[i].clone());
                } else if i > slab {
                    base -= halo.before[i] * strides[i];
                    axes.push(Axis::plain(spatial[i].size + halo.before[i] + halo.after[i], strides[i]));
                }
            }
            axes.push(lane.clone());
            let far = strides[slab] * (spatial[slab].size + before);
            let mut slabs = Vec::new();
            let start = base - before * strides[slab];
            if before == after && before > 0 {
                slabs.push((start, before, Axis::plain(2, far)));
            } else {
                slabs.push((start, before, Axis::broadcast(1)));
                slabs.push((start + far, after, Axis::broadcast(1)));
            }
            for (start, thickness, pair) in slabs.into_iter().filter(|s| s.1 > 0) {
                let mut axes = axes.clone();
                axes.push(Axis::plain(thickness, strides[slab]));
                axes.push(pair);
                let to = View { storage: view.storage, base: start, axes };
                let request =
                    NestRequest::map(node, &label, &to, vec![], Program::constant(fill.value().into()));
                nest::emit(&mut self.draft, request)?;
                if let Some(step) = self.draft.steps.last_mut() {
                    step.fills = Some(fill);
                }
            }
        }
        Ok(())
    }

    /// Views of the model's outputs, written by their producers or here by a copy.
    pub(super) fn write_outputs(&mut self) -> Result<Vec<View>, LowerError> {
        let graph = self.graph;
        let mut views = Vec::with_capacity(graph.outputs.len());
        for (index, output) in graph.outputs.iter().enumerate() {
            let (root, _) = self.layout.root(output.value);
            if self.layout.outputs.get(&root) == Some(&(index as u32))
                && self.views.contains_key(&output.value)
            {
                views.push(self.view(output.value));
                continue;
            }
            let shape = sizes(graph, output.value);
            let label = output.name.to_string();
            let home = Home::Output(index as u32);
            let (halo, dtype) = (Halo::none(shape.len()), graph.ty(output.value).dtype);
            let to = self.draft.typed_tensor(dtype, home, &shape, Form::Plain, &halo, &label)?;
            let from = self.view(output.value);
            self.copy(output.value.node, &label, &from, &to)?;
            views.push(to);
        }
        Ok(views)
    }

    /// A parameter as in its source, row-major.
    pub(super) fn raw_pack(&mut self, value: Value) -> View {
        let shape = sizes(self.graph, value);
        let storage = match self.graph.node(value.node).source() {
            Some(Source::Data(literal)) if held(literal.dtype) != DType::F32 => {
                self.draft.pack_elements(literal)
            }
            // One element stands for all.
            Some(Source::Init(init)) if self.held(value) != DType::F32 && init.as_constant().is_some() => {
                let number = Tensor::<f64>::scalar(init.as_constant().unwrap_or(0.0), self.held(value));
                let literal = number.to_literal(self.held(value)).map(|l| self.draft.pack_elements(&l));
                let axes = shape.iter().map(|n| Axis::broadcast(*n)).collect();
                return View { storage: literal.unwrap_or(super::storage::StorageId(0)), base: 0, axes };
            }
            Some(_) | None => {
                self.pack(value, PackFormat::Raw { elements: shape.iter().product::<i64>() as u64 })
            }
        };
        let mut stride = self.draft.storage(storage).element.size_bytes() as i64;
        let mut axes: Vec<Axis> = shape
            .iter()
            .rev()
            .map(|n| {
                let axis = Axis::plain(*n, stride);
                stride *= n;
                axis
            })
            .collect();
        axes.reverse();
        View { storage, base: 0, axes }
    }

    pub(super) fn pack(&mut self, value: Value, format: PackFormat) -> super::storage::StorageId {
        let (keys, graph) = (&mut self.keys, self.graph);
        self.draft.pack_value(value, || keys.key(graph, value), format)
    }

    /// A parameter with a value per channel, padded with zeros to whole vectors.
    pub(super) fn channel_pack(
        &mut self,
        value: Value,
        groups: i64,
        channels: i64,
        width: i64,
    ) -> super::storage::StorageId {
        let broadcast = self.graph.ty(value).elements().is_ok_and(|n| n.as_const() == Some(1));
        let broadcast = broadcast && groups * channels != 1;
        let (groups, channels, width) = (groups as u32, channels as u32, width as u32);
        self.pack(value, PackFormat::Channels(ChannelPack { groups, channels, width, broadcast }))
    }

    /// A parameter of rank 3 to 5, whose axes are those of an image tensor from `first` on, in channel blocks.
    pub(super) fn blocked_pack(&mut self, value: Value, first: usize) -> View {
        let mut shape = vec![1; first];
        shape.extend(sizes(self.graph, value));
        let lanes = self.lanes;
        let taps: i64 = shape[2..].iter().product();
        let format = PackFormat::Weights(WeightPack {
            groups: shape[0] as u32,
            out_channels: shape[1] as u32,
            in_channels: 1,
            source_taps: taps as u32,
            taps: (0..taps as u32).collect(),
            order: SourceOrder::OutInTap,
            lanes: lanes as u8,
            vectors: 1,
            inner: 1,
        });
        let storage = self.pack(value, format);
        let mut axes = vec![Axis::broadcast(1); shape.len()];
        let mut stride = 4 * lanes;
        for i in (0..shape.len()).rev() {
            if i == 1 {
                axes[1] = Axis::blocked(shape[1], lanes, stride);
                stride *= (shape[1] + lanes - 1) / lanes;
            } else {
                axes[i] = Axis::plain(shape[i], stride);
                stride *= shape[i];
            }
        }
        View { storage, base: 0, axes }
    }
}
