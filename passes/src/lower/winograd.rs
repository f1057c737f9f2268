//! The choice between direct convolution and Winograd's minimal filtering, and calls of the latter.
//!
//! Estimates are of products at a share of the multiply-add peak, transforms, and the weights' way from memory, fitted to
//! the layers of `benches/kernels.rs` at x86-64-v3 and v4 on a Zen 5 core at 4.2 GHz.

use super::algorithms::{KEPT_CYCLES, multiply_adds, over};
use super::contract::{TileCall, TileProgram};
use super::layout::sizes;
use super::storage::DraftStep;
use super::view::View;
use super::{Lower, LowerError};
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::kernel::{
    Descriptor, PackFormat, Picked, Store, Stream, Tile, Winograd, WinogradArgs, WinogradPack,
};
use rectify_ir::op::{ConvAttrs, ConvTransposeAttrs};
use rectify_ir::plan::{Algorithm, Args, Candidate};
use rectify_ir::target::Target;

/// Share of the peak that the products reach.
const WINOGRAD_SHARE: f64 = 0.86;
/// Cycles of a transform for each vector of a tile: loads, stores and arithmetic, there and back to the scratch.
const INPUT_CYCLES: f64 = 4.0;
const OUTPUT_CYCLES: f64 = 5.0;
/// Cycles to find the place of a tile, twice, and to treat its edges.
const TILE_CYCLES: f64 = 400.0;
/// Bytes of U a cycle from beyond the second level of cache. Direct convolutions hide weights behind their products; of
/// U, with fewer products for each byte, about a third is waited for.
const U_BYTES: f64 = 24.0;
/// Cycles for each vector of U that is made in every run.
const MADE_CYCLES: f64 = 24.0;

/// Sizes of a 3x3 convolution of stride 1 in channel blocks.
#[derive(Clone, Copy, Debug)]
struct Problem {
    lanes: i64,
    /// Multiply-adds of vectors a cycle.
    rate: f64,
    in_channels: i64,
    out_channels: i64,
    /// Images, rows and columns of the output.
    extents: [i64; 3],
    /// The weights are no parameter: U is made in every run.
    computed: bool,
}

impl Problem {
    fn tiles(&self, outputs: i64) -> i64 {
        self.extents[0] * over(self.extents[1], outputs) * over(self.extents[2], outputs)
    }

    /// Cycles with tiles of `outputs x outputs` and this register tile.
    fn winograd(&self, outputs: i64, tile: Tile) -> f64 {
        let positions = (outputs + 2) * (outputs + 2);
        let height = i64::from(tile.pixels);
        let width = i64::from(tile.vectors) * self.lanes;
        let (real, tiles) = (self.tiles(outputs), over(self.tiles(outputs), height) * height);
        let ins = over(self.in_channels, self.lanes);
        let outs = over(self.out_channels, width) * i64::from(tile.vectors);
        let steps = positions * tiles * ins * self.lanes * outs;
        let products = steps as f64 / self.rate / WINOGRAD_SHARE;
        let input = (positions * tiles * ins) as f64 * INPUT_CYCLES;
        let output = (positions * real * outs) as f64 * OUTPUT_CYCLES;
        let plain = 4 * ins * self.lanes * outs * self.lanes;
        let made = match self.computed {
            true => (positions * ins * self.lanes * outs) as f64 * MADE_CYCLES,
            false => ((positions - 9) * plain) as f64 * KEPT_CYCLES,
        };
        let weights = (positions * plain) as f64 / U_BYTES + made;
        products + input + output + weights + real as f64 * TILE_CYCLES
    }

    /// The register tile that wastes least for so many tiles.
    fn tile(&self, target: &Target, outputs: i64) -> Tile {
        let candidates: &[(u8, u8)] = match target.vector_registers {
            32.. => &[(14, 2), (13, 2), (12, 2), (11, 2), (10, 2), (9, 2), (8, 2), (8, 3), (14, 1)],
            _ => &[(6, 2), (5, 2), (4, 2), (4, 3), (8, 1)],
        };
        let cost = |&&(height, vectors): &&(u8, u8)| {
            let groups = over(self.tiles(outputs), i64::from(height));
            let rows = over(over(self.out_channels, self.lanes), i64::from(vectors));
            let products = 2 * i64::from(height) * i64::from(vectors);
            // Two loads a cycle, a tenth of a tile's products for its start and end.
            groups * rows * (20 + 10 * products.max(2 * (i64::from(height) + i64::from(vectors))))
        };
        let &(pixels, vectors) = candidates.iter().min_by_key(cost).unwrap_or(&(1, 1));
        Tile { pixels, vectors }
    }
}

/// Tasks that divide evenly enough among a few threads.
const ENOUGH_TASKS: i64 = 16;

/// Tile groups and channel groups of a task. V and M fit the second level of cache where that leaves products enough
/// for each weight; where it does not, the weights are read once for all tiles.
fn blocking(kernel: &Winograd, args: &WinogradArgs, target: &Target) -> (i64, i64) {
    let whole = WinogradArgs { block: i64::MAX, part: i64::MAX, ..args.clone() };
    let s = whole.sizes(kernel);
    let positions = kernel.size() * kernel.size();
    let budget = i64::from(target.l2_bytes) * 3 / 4;
    let per_group = positions * (s.v_group + s.m_group);
    // A weight is worth its way from beyond the cache if some fifty tiles use it.
    let least = over(48, i64::from(kernel.tile.pixels));
    let weights = positions * s.oc_groups * s.u_position;
    let cached = weights <= i64::from(target.l2_bytes) / 2;
    let fitting = (budget / per_group).max(if cached { 1 } else { least });
    // Blocks of equal length.
    let blocks = over(s.tile_groups, fitting.min(s.tile_groups).max(1));
    let mut blocks = blocks.max(1);
    if s.tile_groups >= ENOUGH_TASKS && blocks < ENOUGH_TASKS && cached {
        blocks = ENOUGH_TASKS;
    }
    let block = over(s.tile_groups, blocks);
    let blocks = over(s.tile_groups, block);
    let parts = over(ENOUGH_TASKS, blocks).min(s.oc_groups).max(1);
    let part = over(s.oc_groups, parts);
    (block, part)
}

/// The weights of a 3x3 convolution of stride 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    pub weights: Value,
    pub in_channels: i64,
    pub out_channels: i64,
    /// Those of a transposed convolution: `[in, out, 3, 3]`, the last tap first.
    pub turned: bool,
}

impl Filter {
    /// `None` for kernels of other sizes, steps and groups.
    pub fn of_conv(graph: &Graph, id: NodeId, a: &ConvAttrs) -> Option<Filter> {
        Filter::new(graph, id, &a.stride, &a.dilation, a.groups, false)
    }

    /// Transposed convolutions of stride 1 are convolutions with turned weights.
    pub fn of_transposed(graph: &Graph, id: NodeId, a: &ConvTransposeAttrs) -> Option<Filter> {
        Filter::new(graph, id, &a.stride, &a.dilation, a.groups, true)
    }

    fn new(
        graph: &Graph,
        id: NodeId,
        stride: &[i64],
        dilation: &[i64],
        groups: i64,
        turned: bool,
    ) -> Option<Filter> {
        let weights = graph.node(id).operands[1];
        let size = sizes(graph, weights);
        let ones = |v: &[i64]| v.iter().all(|n| *n == 1);
        let fits = size[2..] == [3, 3] && ones(stride) && ones(dilation) && groups == 1;
        let (out_channels, in_channels) = if turned { (size[1], size[0]) } else { (size[0], size[1]) };
        fits.then_some(Filter { weights, in_channels, out_channels, turned })
    }
}

impl Lower<'_> {
    /// Emits the calls, which together are the convolution, by Winograd's algorithm if that is chosen. Else returns what
    /// was compared, if anything was, with `others` than the calls as they are. All calls have the same sizes; each
    /// computes the picked channels.
    pub(super) fn winograd(
        &mut self,
        filter: Option<Filter>,
        x: &View,
        calls: &[(&TileCall, Picked)],
        others: &[(Algorithm, f64)],
    ) -> Result<Chosen, LowerError> {
        let direct: f64 = calls.iter().map(|(call, _)| self.contract_cycles(call)).sum();
        let mut estimates = vec![(Algorithm::Direct, direct)];
        estimates.extend(others);
        let fits = filter.and_then(|f| Some((f, self.winograd_problem(&f, x, calls)?)));
        let Some((filter, problem)) = fits else {
            let compared = if others.is_empty() { vec![] } else { self.compare(&estimates) };
            return Ok(Chosen::Contract(compared));
        };
        let tile = |outputs| problem.tile(self.target, outputs);
        for (algorithm, outputs) in [(Algorithm::WinogradF2, 2), (Algorithm::WinogradF4, 4)] {
            let cycles = calls.len() as f64 * problem.winograd(outputs, tile(outputs));
            estimates.push((algorithm, cycles));
        }
        let mut candidates = self.compare(&estimates);
        let outputs = match candidates[0].algorithm {
            Algorithm::Direct | Algorithm::Dot | Algorithm::Folded => {
                return Ok(Chosen::Contract(candidates));
            }
            Algorithm::WinogradF2 => 2u8,
            Algorithm::WinogradF4 => 4,
        };
        let tile = tile(i64::from(outputs));
        let mut programs = Vec::with_capacity(calls.len());
        for (call, picked) in calls {
            // The program's per-channel operands are packed for this kernel's tile.
            let mut call = (*call).clone();
            call.output.width = i64::from(tile.vectors) * self.lanes;
            if let Some(program) = self.tile_program(&call, true, None)? {
                programs.push((call, *picked, program));
            }
        }
        if programs.len() < calls.len() {
            let refusal = "its epilogue has operands that cannot be addressed by pixel and channel";
            let winograd = [Algorithm::WinogradF2, Algorithm::WinogradF4];
            for c in candidates.iter_mut().filter(|c| winograd.contains(&c.algorithm)) {
                c.refusal = Some(refusal.to_string());
            }
            candidates.sort_by_key(|c| (c.refusal.is_some(), c.nanoseconds));
            return Ok(Chosen::Contract(candidates));
        }
        let kernel = Kernel { filter, input: x, problem, outputs, tile, candidates };
        for (call, picked, program) in programs {
            self.emit_winograd(&kernel, &call, picked, program)?;
        }
        Ok(Chosen::Winograd)
    }

    /// The sizes of each call, if minimal filtering computes such ones.
    fn winograd_problem(&self, filter: &Filter, x: &View, calls: &[(&TileCall, Picked)]) -> Option<Problem> {
        let (call, picked) = calls.first()?;
        let computed = !self.layout.is_param(filter.weights);
        let writes_blocks =
            |call: &TileCall| matches!(call.output.store(self.lanes), Some((Store::Vector, _)));
        // Parameters are packed as those of a convolution; what packs computed ones takes whole blocks and channels.
        let packs = match computed {
            true => {
                filter.in_channels % self.lanes == 0 && *picked == Picked::all(filter.out_channels as u32)
            }
            false => !filter.turned,
        };
        let fits = packs
            && self.is_blocked(x)
            && call.input_pixel.get(2) == Some(&(4 * self.lanes))
            && calls.iter().all(|(call, _)| writes_blocks(call));
        let [images, _, rows, columns] = call.output.view.shape()[..] else { return None };
        let problem = Problem {
            lanes: self.lanes,
            rate: multiply_adds(self.target),
            in_channels: filter.in_channels,
            out_channels: i64::from(picked.count),
            extents: [images, rows, columns],
            computed,
        };
        fits.then_some(problem)
    }

    fn emit_winograd(
        &mut self,
        chosen: &Kernel<'_>,
        call: &TileCall,
        picked: Picked,
        program: TileProgram,
    ) -> Result<(), LowerError> {
        let Kernel { input: x, problem, outputs, tile, .. } = *chosen;
        let Some((_, results)) = call.output.store(self.lanes) else {
            return Err(self.unsupported(call.node, "its result cannot be addressed by pixel and channel"));
        };
        let pack = WinogradPack {
            picked,
            in_channels: problem.in_channels as u32,
            outputs,
            lanes: self.lanes as u8,
            width: call.output.width as u32,
        };
        let weights = match problem.computed {
            true => self.winograd_weights(call.node, &chosen.filter, &pack, tile)?,
            false => self.pack(chosen.filter.weights, PackFormat::Winograd(pack)),
        };
        let mut pointers = vec![(call.output.view.storage, call.output.view.base), call.input, (weights, 0)];
        pointers.extend(self.tile_bias(call));
        let kernel = Winograd {
            lanes: self.lanes as u8,
            outputs,
            tile,
            bias: pointers.len() > 3,
            operands: program.operands.iter().map(|o| o.kind).collect(),
            epilogue: program.program,
        };
        let stream =
            |block: i64, pixel: &[i64]| Stream { base: 0, group: 0, block, lane: 4, pixel: pixel.to_vec() };
        let mut args = WinogradArgs {
            in_channels: problem.in_channels,
            out_channels: problem.out_channels,
            extents: problem.extents,
            block: 1,
            part: 1,
            input: stream(super::conv::block_stride(&x.axes[1]), &call.input_pixel),
            output: stream(results.block, &results.pixel),
            operands: program.operands.iter().map(|o| stream(o.lanes.block, &o.lanes.pixel)).collect(),
        };
        (args.block, args.part) = blocking(&kernel, &args, self.target);
        let first = pointers.len();
        pointers.extend(program.operands.iter().map(|o| (o.storage, o.base)));
        let in_place = (0..program.operands.len()).filter(|k| program.operands[*k].in_place);
        let step = DraftStep {
            label: self.label(call.node),
            node: call.node,
            pointers,
            cost: args.cost(&kernel),
            args: Args::Winograd(args),
            multiply_adds: call.multiply_adds,
            in_place: in_place.map(|k| first + k).collect(),
            fills: None,
            overwrites: false,
            kernel: Descriptor::Winograd(kernel),
            candidates: chosen.candidates.clone(),
        };
        self.draft.push(step)
    }
}

/// What all calls of a convolution share.
struct Kernel<'a> {
    filter: Filter,
    input: &'a View,
    problem: Problem,
    outputs: u8,
    tile: Tile,
    candidates: Vec<Candidate>,
}

/// What became of a convolution.
pub(super) enum Chosen {
    /// Its step is emitted.
    Winograd,
    /// It is to be computed by a contraction, the first of what was compared, or directly if nothing was.
    Contract(Vec<Candidate>),
}
