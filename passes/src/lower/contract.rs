//! Calls of the pixel-tile kernels: epilogue, merged pixel dims, strips and the order of tasks.

use super::algorithms::over;
use super::operands::{Lanes, TileOperand, TileOutput};
use super::program::Expression;
use super::storage::{DraftStep, StorageId};
use super::view::View;
use super::{Lower, LowerError};
use rectify_ir::graph::{NodeId, Value};
use rectify_ir::kernel::{
    Binary, ChannelPack, Contract, Descriptor, Operand, PackFormat, Picked, Program, StepArgs, Store, Stream,
    SumPack, TaskOrder, Tile, TileArgs, Window, WindowOp, WindowRow,
};
use rectify_ir::plan::{Args, Candidate};

/// Which kernel, with what only it has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    Contract {
        tile: Tile,
        inner: i64,
        dot: bool,
    },
    Window {
        op: WindowOp,
        /// Bytes between channel vectors of the input.
        input_block: i64,
    },
}

/// One call of a tile kernel.
#[derive(Clone, Debug)]
pub(crate) struct TileCall {
    pub node: NodeId,
    pub family: Family,
    pub output: TileOutput,
    pub input: (StorageId, i64),
    pub input_group: i64,
    /// Byte strides of the input, one for every axis of the output but the channel's.
    pub input_pixel: Vec<i64>,
    /// Byte offsets of the reduction steps.
    pub steps: Vec<i64>,
    /// Storage and byte offset of the packed weights.
    pub weights: Option<(StorageId, i64)>,
    pub bias: Bias,
    pub multiply_adds: u64,
    /// Algorithms that were compared, this one first.
    pub candidates: Vec<Candidate>,
}

/// What accumulators start from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bias {
    None,
    /// A value per channel: packed if it is a parameter, else added by the program.
    Value(Value),
    /// Some of the channels of a parameter.
    Picked(Value, Picked),
    /// A value along an axis of the output that is not the channels': added by the program.
    Along(Value, usize),
}

impl Bias {
    pub fn of(value: Option<Value>) -> Bias {
        value.map_or(Bias::None, Bias::Value)
    }
}

/// A node's epilogue as a program, with its operands.
#[derive(Clone, Debug)]
pub(crate) struct TileProgram {
    pub program: Program,
    pub operands: Vec<TileOperand>,
}

/// Most operands of a tile kernel; one place is kept for the mask of padded lanes.
const MAX_OPERANDS: usize = 7;

impl Lower<'_> {
    pub(super) fn tile(&self, pixels: i64, channels: i64) -> Tile {
        Tile::choose(self.target, pixels, channels)
    }

    /// What the kernel does with its accumulators: `start` first (a factor, a bias that is no parameter), then the
    /// node's epilogue. `None` where the family cannot take it.
    pub(super) fn tile_program(
        &mut self,
        call: &TileCall,
        epilogue: bool,
        start: Option<(Program, Vec<TileOperand>)>,
    ) -> Result<Option<TileProgram>, LowerError> {
        let (graph, id, output) = (self.graph, call.node, &call.output);
        let (program, mut operands) = start.unwrap_or_else(|| (Program::acc(), vec![]));
        let mut acc = program.result;
        let mut e = Expression::after(program, operands.len());
        let added = match call.bias {
            Bias::Value(bias) if !self.layout.is_param(bias) => Some((bias, output.channel)),
            Bias::Along(bias, axis) => Some((bias, axis)),
            Bias::Value(_) | Bias::Picked(..) | Bias::None => None,
        };
        if let Some((bias, axis)) = added {
            let load = e.value(graph, bias, vec![axis]);
            acc = e.binary(Binary::Add, acc, load);
        }
        if epilogue {
            e.epilogue(graph, graph.node(id), acc).map_err(self.not_elementwise(id))?;
        }
        let (program, loads) = e.finish();
        if operands.len() + loads.len() > MAX_OPERANDS {
            return Ok(None);
        }
        let Some((store, _)) = output.store(self.lanes) else {
            return Err(self.unsupported(id, "its result cannot be addressed by pixel and channel"));
        };
        for load in &loads {
            match self.tile_operand(load, output, store)? {
                Some(operand) => operands.push(operand),
                None => return Ok(None),
            }
        }
        let mut result = TileProgram { program, operands };
        let sums = matches!(call.family, Family::Contract { .. });
        self.mask_tile(&mut result, output, store, sums);
        Ok(Some(result))
    }

    /// Keeps padded lanes zero. Sums of products with zero weights are not, where an input is infinite.
    fn mask_tile(&mut self, p: &mut TileProgram, output: &TileOutput, store: Store, sums: bool) {
        let channels = output.channels();
        if store != Store::Vector || channels % self.lanes == 0 {
            return;
        }
        if !sums && p.program.maps_zero_to_zero(|k| p.operands[k as usize].zero_padded) {
            return;
        }
        let format = PackFormat::Channels(ChannelPack {
            groups: output.groups as u32,
            channels: channels as u32,
            width: output.width as u32,
            broadcast: true,
        });
        let storage = self.draft.pack_literal(&[1.0], format);
        let pixels = output.pixel_axes().count();
        p.operands.push(TileOperand {
            kind: Operand::PerChannel,
            storage,
            base: 0,
            lanes: Lanes { group: 0, block: 0, lane: 0, pixel: vec![0; pixels] },
            zero_padded: true,
            in_place: false,
        });
        p.program.mask_with(p.operands.len() as u8 - 1);
    }

    /// Emits the call with the node's epilogue in registers, or behind it where the kernel cannot take it.
    pub(super) fn tile_call(&mut self, call: TileCall) -> Result<(), LowerError> {
        let id = call.node;
        if let Some(program) = self.tile_program(&call, true, None)? {
            return self.emit_tile(&call, program);
        }
        let out = call.output.view.clone();
        self.raw_tile_call(&call, None)?;
        self.epilogue_in_place(id, &out)
    }

    /// Emits the call without the node's epilogue.
    pub(super) fn raw_tile_call(
        &mut self,
        call: &TileCall,
        start: Option<(Program, Vec<TileOperand>)>,
    ) -> Result<(), LowerError> {
        match self.tile_program(call, false, start)? {
            Some(program) => self.emit_tile(call, program),
            None => Err(self.unsupported(call.node, "its bias cannot be addressed by channel")),
        }
    }

    /// Emits the calls that together make a node's result. All take the epilogue in registers, or none does.
    pub(super) fn tile_calls(
        &mut self,
        id: NodeId,
        calls: &[TileCall],
        out: &View,
    ) -> Result<(), LowerError> {
        let mut programs = Vec::with_capacity(calls.len());
        for call in calls {
            programs.extend(self.tile_program(call, true, None)?);
        }
        if programs.len() == calls.len() {
            return calls.iter().zip(programs).try_for_each(|(call, program)| self.emit_tile(call, program));
        }
        calls.iter().try_for_each(|call| self.raw_tile_call(call, None))?;
        self.epilogue_in_place(id, out)
    }

    /// The packed bias that accumulators start from, if it is a parameter.
    pub(super) fn tile_bias(&mut self, call: &TileCall) -> Option<(StorageId, i64)> {
        let TileOutput { groups, width, .. } = call.output;
        match call.bias {
            Bias::Value(bias) if self.layout.is_param(bias) => {
                Some((self.channel_pack(bias, groups, call.output.channels(), width), 0))
            }
            Bias::Picked(value, picked) => {
                let columns = (0..picked.count).map(|k| picked.first + k * picked.step).collect();
                let pack = SumPack { elements: picked.of, rows: vec![0], columns, width: width as u32 };
                Some((self.pack(value, PackFormat::Sums(pack)), 0))
            }
            Bias::Value(_) | Bias::Along(..) | Bias::None => None,
        }
    }

    pub(super) fn emit_tile(&mut self, call: &TileCall, program: TileProgram) -> Result<(), LowerError> {
        let lanes = self.lanes;
        let output = &call.output;
        let Some((store, results)) = output.store(lanes) else {
            return Err(self.unsupported(call.node, "its result cannot be addressed by pixel and channel"));
        };
        let mut extents: Vec<i64> = output.pixel_axes().map(|a| output.view.axes[a].size).collect();
        let mut pixel: Vec<Vec<i64>> = vec![call.input_pixel.clone(), results.pixel.clone()];
        pixel.extend(program.operands.iter().map(|o| o.lanes.pixel.clone()));
        let kinds: Vec<Operand> = program.operands.iter().map(|o| o.kind).collect();
        let runs = match call.family {
            Family::Window { .. } if store == Store::Vector => {
                self.window_runs(&call.steps, &extents, &pixel, &kinds)
            }
            Family::Window { .. } | Family::Contract { .. } => None,
        };
        if let Some(runs) = &runs {
            let last = extents.len() - 1;
            extents[last] /= i64::from(runs.row.outputs);
            pixel.iter_mut().for_each(|strides| strides[last] *= i64::from(runs.row.outputs));
        }
        merge_pixels(&mut extents, &mut pixel);
        if extents.len() > 4 {
            return Err(self.unsupported(call.node, "its pixels have more than four strides"));
        }
        let mut pixel = pixel.into_iter();
        let mut stream = |l: &Lanes| Stream {
            base: 0,
            group: l.group,
            block: l.block,
            lane: l.lane,
            pixel: pixel.next().unwrap_or_default(),
        };
        let input_block = match call.family {
            Family::Contract { .. } => 0,
            Family::Window { input_block, .. } => input_block,
        };
        let input = Lanes { group: call.input_group, block: input_block, lane: 0, pixel: vec![] };
        let input = stream(&input);
        let written = stream(&results);
        let operands: Vec<Stream> = program.operands.iter().map(|o| stream(&o.lanes)).collect();

        let pixels: i64 = extents.iter().product();
        let (channels, groups) = (output.channels(), output.groups);
        let steps = linear(&call.steps);
        let rank = extents.len() as u8;
        let bias = self.tile_bias(call);
        let has_bias = bias.is_some();
        let (kernel, tile_pixels, width, depth) = match call.family {
            Family::Contract { tile, inner, dot } => {
                let kernel = Contract {
                    lanes: lanes as u8,
                    tile,
                    rank,
                    table: matches!(steps, StepArgs::Table(_)),
                    inner: inner as u8,
                    dot,
                    bias: has_bias,
                    store,
                    operands: kinds,
                    epilogue: program.program,
                };
                let width = i64::from(tile.vectors) * lanes;
                (Descriptor::Contract(kernel), i64::from(tile.pixels), width, inner * call.steps.len() as i64)
            }
            Family::Window { op, .. } => {
                let height = pixels.min(runs.as_ref().map_or(WINDOW_PIXELS, |runs| runs.pixels));
                let row = runs.as_ref().map(|runs| runs.row);
                let kernel = Window {
                    lanes: lanes as u8,
                    pixels: height as u8,
                    rank,
                    op,
                    row,
                    bias: has_bias,
                    store,
                    operands: kinds,
                    epilogue: program.program,
                };
                let outputs = row.map_or(1, |row| i64::from(row.outputs));
                (Descriptor::Window(kernel), height, lanes, outputs * call.steps.len() as i64)
            }
        };
        // Windows always look their taps up.
        let steps = match call.family {
            Family::Contract { .. } => steps,
            Family::Window { .. } => {
                let taps = runs.as_ref().map_or(1, |runs| usize::from(runs.row.taps));
                StepArgs::Table(call.steps.iter().step_by(taps).copied().collect())
            }
        };
        let work = Work {
            pixels,
            tile: tile_pixels,
            width,
            depth,
            channel_groups: groups * ((channels + width - 1) / width),
            input_bytes: input_bytes(&extents, &input.pixel, &call.steps),
            weights: matches!(call.family, Family::Contract { .. }),
        };
        let (strip, order) = work.strips(i64::from(self.target.l2_bytes));
        let mut pointers = vec![(output.view.storage, output.view.base), call.input];
        pointers.extend(call.weights);
        pointers.extend(bias);
        let first = pointers.len();
        pointers.extend(program.operands.iter().map(|o| (o.storage, o.base)));
        let in_place = (0..program.operands.len()).filter(|k| program.operands[*k].in_place);
        let args =
            TileArgs { groups, channels, extents, strip, order, input, output: written, operands, steps };
        let cost = match &kernel {
            Descriptor::Contract(k) => k.cost(&args),
            Descriptor::Window(k) => k.cost(&args),
            Descriptor::Winograd(_)
            | Descriptor::WinogradGradient(_)
            | Descriptor::Nest(_)
            | Descriptor::Sort(_)
            | Descriptor::Suppression(_) => Default::default(),
        };
        let step = DraftStep {
            label: self.label(call.node),
            node: call.node,
            pointers,
            args: Args::Tile(args),
            cost,
            multiply_adds: call.multiply_adds,
            candidates: call.candidates.clone(),
            in_place: in_place.map(|k| first + k).collect(),
            fills: None,
            overwrites: false,
            kernel,
        };
        self.draft.push(step)
    }
}

/// Accumulators of a window tile: enough to hide the latency of an addition twice over.
const WINDOW_PIXELS: i64 = 8;

/// How a window kernel takes several outputs of a row at once.
struct Runs {
    row: WindowRow,
    /// Runs of a tile.
    pixels: i64,
}

impl Lower<'_> {
    /// Runs for windows over rows of these extents, the first two streams being input and output. `None` where no run
    /// divides a row, where neighbours do not lie side by side, or where an operand moves with the pixels.
    fn window_runs(
        &self,
        steps: &[i64],
        extents: &[i64],
        pixel: &[Vec<i64>],
        operands: &[Operand],
    ) -> Option<Runs> {
        let vector = 4 * self.lanes;
        let vectors = |bytes: i64| {
            let near = bytes % vector == 0 && (1..=8).contains(&(bytes / vector));
            near.then_some((bytes / vector) as u8)
        };
        let width = *extents.last()?;
        let (input, output) = (*pixel[0].last()?, *pixel[1].last()?);
        let stride = vectors(input).filter(|_| output == vector)?;
        if operands.iter().any(|operand| operand.is_stream()) {
            return None;
        }
        let between = steps.get(1)? - steps[0];
        let dilation = vectors(between)?;
        let taps = 1 + steps.windows(2).take_while(|w| w[1] - w[0] == between).count();
        let even = |row: &[i64]| row.len() == taps && row.windows(2).all(|w| w[1] - w[0] == between);
        let (outputs, pixels) =
            steps.chunks(taps).all(even).then(|| Window::runs(self.target, width, taps)).flatten()?;
        let row = WindowRow { outputs, taps: taps as u8, stride, dilation };
        Some(Runs { row, pixels: i64::from(pixels) })
    }
}

/// Joins neighbouring pixel dims that all streams walk evenly; one dim of size 1 stays if there is nothing else.
fn merge_pixels(extents: &mut Vec<i64>, streams: &mut [Vec<i64>]) {
    let mut kept: Vec<usize> = (0..extents.len()).filter(|d| extents[*d] != 1).collect();
    if kept.is_empty() {
        *extents = vec![1];
        streams.iter_mut().for_each(|s| *s = vec![0]);
        return;
    }
    let mut d = kept.len() - 1;
    while d > 0 {
        let (outer, inner) = (kept[d - 1], kept[d]);
        if streams.iter().all(|s| s[outer] == s[inner] * extents[inner]) {
            extents[outer] *= extents[inner];
            streams.iter_mut().for_each(|s| s[outer] = s[inner]);
            kept.remove(d);
        }
        d -= 1;
    }
    *extents = kept.iter().map(|d| extents[*d]).collect();
    for s in streams {
        *s = kept.iter().map(|d| s[*d]).collect();
    }
}

/// Offsets with one stride need no table.
fn linear(offsets: &[i64]) -> StepArgs {
    let count = offsets.len() as i64;
    let stride = if count > 1 { offsets[1] - offsets[0] } else { 0 };
    let even = offsets.windows(2).all(|w| w[1] - w[0] == stride);
    if even && offsets.first() == Some(&0) {
        StepArgs::Linear { count, stride }
    } else {
        StepArgs::Table(offsets.to_vec())
    }
}

/// Bytes of the input that the whole call reads, roughly.
fn input_bytes(extents: &[i64], strides: &[i64], steps: &[i64]) -> i64 {
    let reach: i64 = extents.iter().zip(strides).map(|(n, s)| (n - 1) * s.abs()).sum();
    let span = steps.iter().max().unwrap_or(&0) - steps.iter().min().unwrap_or(&0);
    reach + span + 64
}

/// What the division of a call into tasks depends on.
struct Work {
    pixels: i64,
    /// Pixels of a tile, output channels of a channel group, products per pixel and channel.
    tile: i64,
    width: i64,
    depth: i64,
    /// Over all groups.
    channel_groups: i64,
    input_bytes: i64,
    weights: bool,
}

/// Work of a task that makes its overhead small: some 30 µs on a core at 64 GFLOP/s.
const TASK_FLOPS: i64 = 2 << 20;
/// Work below which no task is cut further.
const LEAST_FLOPS: i64 = 1 << 18;
/// Tasks that divide evenly enough among a dozen threads.
const ENOUGH_TASKS: i64 = 48;
/// Lengths of strips among which the one that divides best is looked for.
const STRIPS_TRIED: usize = 16;

impl Work {
    /// Pixels of a task, and which tasks follow each other. From sizes and cache sizes alone.
    fn strips(&self, l2_bytes: i64) -> (i64, TaskOrder) {
        let flops = 2 * self.width * self.depth.max(1);
        let by_flops = |budget: i64| (budget / flops).max(4 * self.tile).min(self.pixels);
        let per_pixel = (self.input_bytes / self.pixels).max(1);
        let mut strip = by_flops(TASK_FLOPS).min((l2_bytes / 4 / per_pixel).max(4 * self.tile));
        if self.channel_groups * self.pixels.div_euclid(strip.max(1)) < ENOUGH_TASKS {
            let wanted = (ENOUGH_TASKS + self.channel_groups - 1) / self.channel_groups;
            strip = strip.min((self.pixels / wanted).max(by_flops(LEAST_FLOPS)));
        }
        if !self.weights {
            // Nothing is read again, and a thread finds most of its pixels where it wrote them in the step before.
            strip = strip.min(over(self.pixels, 2).max(4 * self.tile));
        }
        // Whole tiles, of which so many that a few threads have equal shares.
        let tiles = over(strip, self.tile).max(1);
        let even = over(over(self.pixels, over(self.pixels, strip)), self.tile);
        let least = over(LEAST_FLOPS / flops, self.tile).min(even).clamp(1, tiles);
        let candidates = (least.max(tiles / 2)..=tiles).rev().take(STRIPS_TRIED).map(|tiles| {
            let strip = (tiles * self.tile).min(self.pixels);
            (strip, self.order(strip, l2_bytes))
        });
        let share = |&(strip, order): &(i64, TaskOrder)| self.greatest_share(strip, order);
        candidates.min_by_key(share).unwrap_or((self.pixels, TaskOrder::StripMajor))
    }

    /// Pixels of the thread that has most, for two and for four threads: what the slowest takes.
    fn greatest_share(&self, strip: i64, order: TaskOrder) -> i64 {
        let strips = over(self.pixels, strip);
        let tasks = strips * self.channel_groups;
        // Pixels of the first tasks, the last strip being what is left.
        let before = |count: i64| match order {
            TaskOrder::StripMajor => {
                let (whole, rest) = (count / self.channel_groups, count % self.channel_groups);
                let done = (whole * strip).min(self.pixels);
                done * self.channel_groups + rest * strip.min(self.pixels - done)
            }
            TaskOrder::ChannelMajor => {
                count / strips * self.pixels + (count % strips * strip).min(self.pixels)
            }
        };
        let of = |threads: i64| {
            let end = |thread: i64| thread * (tasks / threads) + thread.min(tasks % threads);
            let shares = (0..threads).map(|thread| before(end(thread + 1)) - before(end(thread)));
            threads * shares.max().unwrap_or(0)
        };
        of(2) + of(4)
    }

    /// Which tasks follow each other.
    fn order(&self, strip: i64, l2_bytes: i64) -> TaskOrder {
        let strips = over(self.pixels, strip);
        let weights = if self.weights { self.channel_groups * self.width * self.depth * 4 } else { 0 };
        let cached = |bytes: i64| bytes <= l2_bytes / 2;
        let strip_major = self.input_bytes + if cached(weights) { weights } else { weights * strips };
        let rereads = if cached(self.input_bytes) { 1 } else { self.channel_groups };
        let channel_major = weights + self.input_bytes * rereads;
        if strip_major <= channel_major { TaskOrder::StripMajor } else { TaskOrder::ChannelMajor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_merge_where_all_streams_walk_evenly() {
        let mut extents = vec![2, 1, 5, 6];
        let mut streams = vec![vec![480, 7, 96, 16], vec![960, 3, 96, 16]];
        merge_pixels(&mut extents, &mut streams);
        assert_eq!((extents, streams), (vec![2, 30], vec![vec![480, 16], vec![960, 16]]));
        let mut extents = vec![1, 1];
        let mut streams = vec![vec![5, 6]];
        merge_pixels(&mut extents, &mut streams);
        assert_eq!((extents, streams), (vec![1], vec![vec![0]]));
    }

    #[test]
    fn work_is_cut_into_enough_tasks() {
        let conv = Work {
            pixels: 3136,
            tile: 6,
            width: 8,
            depth: 2304,
            channel_groups: 32,
            input_bytes: 3 << 20,
            weights: true,
        };
        let (strip, _) = conv.strips(1 << 20);
        let tasks = (3136 + strip - 1) / strip * 32;
        assert!(strip % 6 == 0 && (64..2000).contains(&tasks), "{strip}");
        let row = Work { pixels: 1, tile: 1, width: 32, depth: 4096, channel_groups: 128, ..conv };
        assert_eq!(row.strips(1 << 20).0, 1);
    }
}
