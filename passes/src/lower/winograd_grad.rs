//! Gradients of 3x3 weights by minimal filtering, where that is estimated to be faster than the direct sums.
//!
//! The images are cut into slices that depend on sizes alone, whose sums are added in order. Parts of the channels keep
//! the transformed sums of a task within the second level of cache; each is transformed once for every part of the other.

use super::algorithms::{multiply_adds, over};
use super::conv::block_stride;
use super::layout::sizes;
use super::storage::{DraftStep, Home};
use super::view::{Axis, View};
use super::weight_grad::SLICE_PLACES;
use super::window::Window;
use super::{Lower, LowerError};
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::{Descriptor, Stream, WinogradGradient, WinogradGradientArgs};
use rectify_ir::plan::{Algorithm, Args, Candidate};
use rectify_ir::target::Target;

/// Share of the multiply-add peak that the products reach, and that the direct sums reach.
const SHARE: f64 = 0.8;
const DIRECT_SHARE: f64 = 0.7;
/// Cycles of a transform for each vector of a position.
const INPUT_CYCLES: f64 = 5.0;
const GRADIENT_CYCLES: f64 = 4.0;
const SUM_CYCLES: f64 = 4.0;
/// Cycles to find the place of a tile, and to treat its edges.
const TILE_CYCLES: f64 = 350.0;

const POSITIONS: i64 = 36;
/// Rows and columns of a tile.
const OUTPUTS: i64 = 4;
/// Tasks that divide evenly enough among a few threads.
const ENOUGH_TASKS: i64 = 32;

/// A kernel with its arguments and what they cost.
struct Candidates {
    kernel: WinogradGradient,
    args: WinogradGradientArgs,
    list: Vec<Candidate>,
}

impl Lower<'_> {
    /// The sums of each slice, `[slice, in, 3, 3, out]`, if minimal filtering computes such gradients and is chosen.
    pub(super) fn winograd_weight_grad(
        &mut self,
        id: NodeId,
        x: &View,
        windows: &[Window],
    ) -> Result<Option<View>, LowerError> {
        let gradient = self.graph.node(id).operands[1];
        let g = self.view(gradient);
        let Some(Candidates { kernel, args, list }) = self.gradient_candidates(id, x, &g, windows) else {
            return Ok(None);
        };
        if list[0].algorithm == Algorithm::Direct {
            return Ok(None);
        }
        let label = self.label(id);
        let s = args.sizes(&kernel);
        let bytes = args.output_bytes(&kernel);
        let [ins, outs] = [args.in_channels, args.out_channels];
        let storage = self.draft.add_storage(
            Home::Arena,
            bytes,
            format!("{label} sums [{}, {ins}, 9, {outs}]", s.slices),
        );
        let corner: i64 =
            windows.iter().zip(&x.axes[2..]).map(|(w, a)| w.before * a.stride().unwrap_or(0)).sum();
        let [images, rows, columns] = args.extents;
        let step = DraftStep {
            label,
            node: id,
            pointers: vec![(storage, 0), (x.storage, x.base - corner), (g.storage, g.base)],
            cost: args.cost(&kernel),
            multiply_adds: (images * rows * columns * 9 * ins * outs) as u64,
            args: Args::WinogradGradient(args),
            in_place: vec![],
            fills: None,
            overwrites: false,
            kernel: Descriptor::WinogradGradient(kernel),
            candidates: list,
        };
        self.draft.push(step)?;
        let slice = bytes / s.slices;
        let axes = vec![
            Axis::plain(s.slices, slice),
            Axis::plain(ins, 9 * s.tap),
            Axis::plain(3, 3 * s.tap),
            Axis::plain(3, s.tap),
            Axis::plain(outs, 4),
        ];
        Ok(Some(View { storage, base: 0, axes }))
    }

    fn gradient_candidates(&self, id: NodeId, x: &View, g: &View, windows: &[Window]) -> Option<Candidates> {
        let fits = windows.len() == 2
            && windows.iter().all(|w| w.kernel == 3 && w.stride == 1 && w.dilation == 1)
            && self.is_blocked(x)
            && self.is_blocked(g);
        if !fits {
            return None;
        }
        let shape = sizes(self.graph, self.graph.node(id).operands[1]);
        let [images, outs, rows, columns] = shape[..] else { return None };
        let ins = x.axes[1].size;
        let kernel = register_tile(self.target, over(outs, self.lanes));
        let stream = |view: &View| -> Option<Stream> {
            let pixel = [0, 2, 3].map(|a| view.axes[a].stride()).into_iter().collect::<Option<Vec<_>>>()?;
            let adjacent = pixel[2] == 4 * self.lanes;
            adjacent.then(|| Stream { base: 0, group: 0, block: block_stride(&view.axes[1]), lane: 4, pixel })
        };
        let mut args = WinogradGradientArgs {
            in_channels: ins,
            out_channels: outs,
            extents: [images, rows, columns],
            slice: images,
            block: 1,
            in_part: over(ins, self.lanes),
            out_part: over(over(outs, self.lanes), i64::from(kernel.vectors)),
            input: stream(x)?,
            gradient: stream(g)?,
        };
        block(&kernel, &mut args, self.target);
        let rate = multiply_adds(self.target);
        let steps = images * rows * columns * 9 * ins * over(outs, self.lanes);
        let list = self.compare(&[
            (Algorithm::Direct, steps as f64 / rate / DIRECT_SHARE),
            (Algorithm::WinogradF4, cycles(&kernel, &args, rate)),
        ]);
        Some(Candidates { kernel, args, list })
    }
}

/// Accumulators, a row of the gradient's vectors and a broadcast fill no more than the registers.
fn register_tile(target: &Target, out_blocks: i64) -> WinogradGradient {
    let lanes = target.lanes;
    let candidates: &[(u8, u8)] = match (target.vector_registers, target.fma) {
        (32.., _) => &[(8, 2), (8, 3), (16, 1)],
        (_, true) => &[(4, 3), (4, 2), (8, 1)],
        (_, false) => &[(4, 2), (4, 1)],
    };
    let fits = |&&(_, vectors): &&(u8, u8)| out_blocks % i64::from(vectors) == 0;
    let &(rows, vectors) = candidates.iter().find(fits).unwrap_or(&(4, 1));
    WinogradGradient { lanes, rows: rows.min(lanes), vectors }
}

/// Sets slices, parts and blocks: tasks enough, and V, W and S of a task in the second level of cache.
fn block(kernel: &WinogradGradient, args: &mut WinogradGradientArgs, target: &Target) {
    let budget = i64::from(target.l2_bytes) * 3 / 4;
    let (lanes, vectors) = (i64::from(kernel.lanes), i64::from(kernel.vectors));
    let floats = |args: &WinogradGradientArgs| [args.in_part * lanes, args.out_part * vectors * lanes];
    // The input is dearer to transform, so its parts grow less.
    loop {
        let [ins, outs] = floats(args);
        if 4 * POSITIONS * ins * outs <= budget * 2 / 5 || args.in_part * args.out_part == 1 {
            break;
        }
        if ins >= outs && args.in_part > 1 || args.out_part == 1 {
            args.in_part = over(args.in_part, 2);
        } else {
            args.out_part = over(args.out_part, 2);
        }
    }
    let [images, rows, columns] = args.extents;
    let s = args.sizes(kernel);
    let parts = s.in_parts * s.out_parts;
    let enough = |slices: &i64| {
        images % slices == 0
            && slices * parts >= ENOUGH_TASKS
            && images / slices * rows * columns <= SLICE_PLACES
    };
    let slices = (1..=images).find(enough).unwrap_or(images);
    args.slice = images / slices;
    let [ins, outs] = floats(args);
    let fitting = ((budget - 4 * POSITIONS * ins * outs) / (4 * POSITIONS * (ins + outs))).max(8);
    let tiles = args.slice * over(rows, OUTPUTS) * over(columns, OUTPUTS);
    // Blocks of equal length.
    args.block = over(tiles, over(tiles, fitting));
}

/// Estimated cycles of one core.
fn cycles(kernel: &WinogradGradient, args: &WinogradGradientArgs, rate: f64) -> f64 {
    let s = args.sizes(kernel);
    let (lanes, vectors) = (i64::from(kernel.lanes), i64::from(kernel.vectors));
    let tiles = args.extents[0] * s.tile_rows * s.tile_columns;
    let (ins, outs) = (s.in_blocks, s.out_groups * vectors);
    let products = (POSITIONS * tiles * ins * lanes * outs) as f64 / rate / SHARE;
    let input = (POSITIONS * tiles * ins * s.out_parts) as f64 * INPUT_CYCLES;
    let gradient = (POSITIONS * tiles * outs * s.in_parts) as f64 * GRADIENT_CYCLES;
    let places = (2 * tiles * s.in_parts * s.out_parts) as f64 * TILE_CYCLES;
    let sums = (POSITIONS * s.slices * ins * lanes * outs) as f64 * SUM_CYCLES;
    products + input + gradient + places + sums
}
