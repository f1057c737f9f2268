//! Transposed convolutions with few output channels: all places of the stride's block as the channels of one convolution.
//!
//! The sectors of a transposed convolution are convolutions of stride 1, each with few channels: most lanes of a vector
//! would idle. Where the kernel is a multiple of the stride, every sector has equally many taps, and the sectors that
//! begin one input element later do so for one output row more: shifted by that, all read the same inputs. So they
//! are computed at once, `[pixel][place][channel]`, and a nest puts the elements where they belong. No product with zero
//! is added, so infinities stay where they are.

use super::algorithms::strided_cycles;
use super::contract::{Bias, Family, TileCall};
use super::conv::{Channels, image_output, spatial_strides};
use super::demand::transpose_sectors;
use super::layout::sizes;
use super::nest::{Ref, RefTable};
use super::program::Expression;
use super::storage::Home;
use super::view::{Axis, View};
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Binary, PackFormat, Step, SumPack};
use rectify_ir::op::ConvTransposeAttrs;
use rectify_ir::plan::{Algorithm, Candidate};

/// Cycles to put an element where it belongs.
const PLACE_CYCLES: f64 = 2.0;

/// One spatial axis: what its sectors share.
struct FoldedAxis {
    stride: i64,
    kernel: i64,
    /// Input index of the first tap of the first pixel.
    first: i64,
    pixels: i64,
    /// By output element: its pixel, and its place in the block.
    elements: Vec<(i64, i64)>,
}

impl Lower<'_> {
    /// Lowers the node so if that is possible and chosen. Else returns what was compared, if anything was.
    pub(super) fn folded_transpose(
        &mut self,
        id: NodeId,
        a: &ConvTransposeAttrs,
        x: &View,
        channels: &Channels,
        out: &View,
    ) -> Result<Option<Vec<Candidate>>, LowerError> {
        let (graph, lanes) = (self.graph, self.lanes);
        let operands = graph.node(id).own_operands();
        let weight = sizes(graph, operands[1]);
        let (ins, outs) = (weight[0], weight[1]);
        let places: i64 = a.stride.iter().product();
        let vectors = |channels: i64| (channels + lanes - 1) / lanes;
        let plain = out.axes.iter().all(|axis| axis.stride().is_some());
        let whole = ins % channels.inner == 0;
        let more = places > 1 && outs < lanes;
        if a.groups != 1 || !more || !plain || !whole || !self.layout.is_param(operands[1]) {
            return Ok(Some(vec![]));
        }
        let sectors = transpose_sectors(graph, id, a);
        let axes: Option<Vec<FoldedAxis>> = (0..a.stride.len())
            .map(|i| FoldedAxis::new(&sectors[i], a, i, weight[2 + i], out.axes[2 + i].size))
            .collect();
        let Some(axes) = axes else { return Ok(Some(vec![])) };

        // Strides of a place along each axis among the channels, and of a tap in the source.
        let mut place_strides = vec![outs; axes.len()];
        let mut tap_strides = vec![1; axes.len()];
        for i in (0..axes.len() - 1).rev() {
            place_strides[i] = place_strides[i + 1] * axes[i + 1].stride;
            tap_strides[i] = tap_strides[i + 1] * axes[i + 1].kernel;
        }
        let rows = spatial_strides(x);
        let kernel: i64 = weight[2..].iter().product();
        // Taps: byte offset in the input, and source element at the first place.
        let mut taps = vec![(0i64, 0i64)];
        let mut columns = vec![0i64];
        for (i, axis) in axes.iter().enumerate() {
            let (count, tap_stride) = (axis.kernel / axis.stride, tap_strides[i]);
            let tap =
                |t: i64| ((axis.first + t) * rows[i], (axis.kernel - axis.stride * (t + 1)) * tap_stride);
            taps = taps
                .iter()
                .flat_map(|(at, from)| {
                    (0..count).map(tap).map(move |(offset, source)| (at + offset, from + source))
                })
                .collect();
            columns = columns
                .iter()
                .flat_map(|c| (0..axis.stride).map(move |place| c + place * tap_stride))
                .collect();
        }
        let columns: Vec<i64> =
            columns.iter().flat_map(|c| (0..outs).map(move |channel| c + channel * kernel)).collect();
        let inner = channels.inner;
        let element = |input: i64, from: i64| (input * outs * kernel + from) as u32;
        let pack_rows = (0..ins / inner)
            .flat_map(|chunk| taps.iter().map(move |(_, from)| (chunk * inner, *from)))
            .flat_map(|(first, from)| (first..first + inner).map(move |input| element(input, from)))
            .collect();
        let steps = channels.offsets.iter().flat_map(|c| taps.iter().map(move |(at, _)| c + at)).collect();

        let batch = out.axes[0].size;
        let pixels = batch * axes.iter().map(|axis| axis.pixels).product::<i64>();
        let all = places * outs;
        let tile = self.tile(pixels, all);
        let depth = ins * kernel / places;
        let elements =
            (batch * axes.iter().map(|axis| axis.elements.len() as i64).product::<i64>() * outs) as f64;
        let sectors = places as f64 * self.direct_cycles(pixels, depth, outs, self.tile(pixels, outs));
        let candidates = self.compare(&[
            (Algorithm::Direct, sectors + elements / outs as f64 * strided_cycles(outs)),
            (Algorithm::Folded, self.direct_cycles(pixels, depth, all, tile) + elements * PLACE_CYCLES),
        ]);
        if candidates[0].algorithm == Algorithm::Direct {
            return Ok(Some(candidates));
        }
        let width = i64::from(tile.vectors) * lanes;
        let format = PackFormat::Sums(SumPack {
            elements: (ins * outs * kernel) as u32,
            rows: pack_rows,
            columns: columns.iter().map(|c| *c as u32).collect(),
            width: width as u32,
        });
        let weights = self.pack(operands[1], format);

        // Rows of whole vectors, one for each pixel.
        let mut stride = 4 * vectors(all) * lanes;
        let mut view_axes = vec![Axis::plain(all, 4); 2 + axes.len()];
        for (i, axis) in axes.iter().enumerate().rev() {
            view_axes[2 + i] = Axis::plain(axis.pixels, stride);
            stride *= axis.pixels;
        }
        view_axes[0] = Axis::plain(batch, stride);
        let about = format!("{} places {pixels}x{all}", self.label(id));
        let storage = self.draft.add_storage(Home::Arena, batch * stride, about);
        let folded = View { storage, base: 0, axes: view_axes };
        let mut input_pixel = vec![x.axes[0].stride().unwrap_or(0)];
        input_pixel.extend(&rows);
        let call = TileCall {
            node: id,
            family: Family::Contract { tile, inner, dot: false },
            output: image_output(&folded, 1, width),
            input: (x.storage, x.base),
            input_group: 0,
            input_pixel,
            steps,
            weights: Some((weights, 0)),
            bias: Bias::None,
            candidates,
            multiply_adds: (out.shape().iter().product::<i64>() * ins * kernel / places) as u64,
        };
        self.raw_tile_call(&call, None)?;

        let mut from = Ref::of(&folded);
        from.axes[1] = Axis::plain(outs, 4);
        for (i, axis) in axes.iter().enumerate() {
            let pixel = folded.axes[2 + i].stride().unwrap_or(0);
            let offset = |(at, place): &(i64, i64)| at * pixel + place * place_strides[i] * 4;
            let size = axis.elements.len() as i64;
            from.axes[2 + i] = Axis::broadcast(size);
            from.tables.push(RefTable::new(&[2 + i], &[size], axis.elements.iter().map(offset).collect()));
        }
        let mut e = Expression::empty(1);
        let sum = e.step(Step::Load(0));
        if let Some(bias) = operands.get(2) {
            let bias = e.value(graph, *bias, vec![1]);
            e.binary(Binary::Add, sum, bias);
        }
        let (body, loads) = e.finish();
        let mut refs = vec![from];
        refs.extend(loads.iter().map(|load| self.operand(load, out)).collect::<Vec<_>>());
        self.through_epilogue(id, out, refs, body)?;
        Ok(None)
    }
}

impl FoldedAxis {
    /// `None` where the sectors do not read the same inputs.
    fn new(
        sectors: &[super::window::Sector],
        a: &ConvTransposeAttrs,
        axis: usize,
        kernel: i64,
        output: i64,
    ) -> Option<FoldedAxis> {
        let stride = a.stride[axis];
        if a.dilation[axis] != 1 || kernel % stride != 0 || sectors.len() as i64 != stride {
            return None;
        }
        // First input index and, by its last tap, place of each sector.
        let begin = |s: &super::window::Sector| s.taps.iter().map(|(_, index)| *index).min();
        let begins = sectors.iter().map(begin).collect::<Option<Vec<_>>>()?;
        let places = sectors
            .iter()
            .map(|s| s.taps.iter().map(|(tap, _)| tap - (kernel - stride)).max())
            .collect::<Option<Vec<_>>>()?;
        let first = *begins.iter().min()?;
        let pixels = sectors.iter().zip(&begins).map(|(s, begin)| s.count + begin - first).max()?;
        let elements = (0..output)
            .map(|o| {
                let sector = (o % stride) as usize;
                (o / stride + begins[sector] - first, places[sector])
            })
            .collect();
        Some(FoldedAxis { stride, kernel, first, pixels, elements })
    }
}
