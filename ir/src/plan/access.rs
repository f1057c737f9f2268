//! The exact bytes that a step touches, as runs of contiguous bytes.
//!
//! [`Args::spans`](super::Args::spans) gives a bounding range per pointer, which is enough to stay inside of a buffer.
//! What was written before it is read, and which steps may run at once, needs the bytes themselves: the halo of a
//! tensor and its inside interleave.

use super::Args;
use crate::kernel::{Descriptor, NestStream, Operand, StepArgs, Store, Stream, TileArgs};

/// Contiguous bytes, relative to a step's pointer.
pub type Run = (i64, i64);

/// The bytes that one pointer reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Index into the step's pointers.
    pub pointer: usize,
    pub writes: bool,
    /// Sorted, not empty, not touching each other.
    pub runs: Vec<Run>,
}

/// All accesses of a call, over-reads excluded.
pub fn accesses(kernel: &Descriptor, args: &Args) -> Vec<Access> {
    match (kernel, args) {
        (Descriptor::Contract(k), Args::Tile(args)) => {
            let read = i64::from(k.inner) * 4;
            let weights = Some(k.tile.vectors);
            tile(args, k.lanes, k.tile.vectors, read, false, weights, k.bias, k.store, &k.operands)
        }
        (Descriptor::Window(k), Args::Tile(args)) => {
            let weights = (k.op == crate::kernel::WindowOp::MulAdd).then_some(1);
            let read = i64::from(k.lanes) * 4;
            tile(args, k.lanes, 1, read, true, weights, k.bias, k.store, &k.operands)
        }
        (Descriptor::Nest(_), Args::Nest(args)) => {
            let outputs = args.output.strides.len();
            let stream = |s: &NestStream, dims: usize| nest_runs(s, &args.extents[..dims]);
            let mut list = vec![Access { pointer: 0, writes: true, runs: stream(&args.output, outputs) }];
            for (i, s) in args.operands.iter().enumerate() {
                list.push(Access { pointer: 1 + i, writes: false, runs: stream(s, args.extents.len()) });
            }
            for (i, s) in args.finals.iter().enumerate() {
                let pointer = 1 + args.operands.len() + i;
                list.push(Access { pointer, writes: false, runs: stream(s, outputs) });
            }
            list
        }
        (Descriptor::Contract(_) | Descriptor::Window(_), Args::Nest(_))
        | (Descriptor::Nest(_), Args::Tile(_)) => vec![],
    }
}

#[expect(clippy::too_many_arguments, reason = "what the two families tell apart")]
fn tile(
    args: &TileArgs,
    lanes: u8,
    vectors: u8,
    read: i64,
    input_blocks: bool,
    weights: Option<u8>,
    bias: bool,
    store: Store,
    operands: &[Operand],
) -> Vec<Access> {
    let lanes = i64::from(lanes);
    let width = i64::from(vectors) * lanes;
    let channel_groups = (args.channels + width - 1) / width;
    let real = (args.channels + lanes - 1) / lanes;
    let pixel = |s: &Stream| args.extents.iter().copied().zip(s.pixel.iter().copied()).collect::<Vec<_>>();
    // Lanes of channels that exist; the last vector may be cut.
    let channels = |s: &Stream, lane: i64| -> Vec<Run> {
        let offset = |c: i64| s.base + c / lanes * s.block + c % lanes * lane;
        normalise((0..args.channels).map(|c| (offset(c), offset(c) + 4)).collect())
    };
    let whole = |s: &Stream| -> Vec<Run> {
        normalise((0..real).map(|v| (s.base + v * s.block, s.base + v * s.block + 4 * lanes)).collect())
    };
    let spread = |s: &Stream, start: Vec<Run>, group: i64| {
        let mut dims = pixel(s);
        dims.push((args.groups, group));
        expand(start, dims)
    };
    let written = match store {
        Store::Vector => whole(&args.output),
        Store::Partial => channels(&args.output, 4),
        Store::Strided => channels(&args.output, args.output.lane),
    };
    let mut list =
        vec![Access { pointer: 0, writes: true, runs: spread(&args.output, written, args.output.group) }];
    let offsets: Vec<i64> = match &args.steps {
        StepArgs::Table(offsets) => offsets.clone(),
        StepArgs::Linear { count, stride } => (0..*count).map(|i| i * stride).collect(),
    };
    let mut start: Vec<Run> =
        offsets.iter().map(|o| (args.input.base + o, args.input.base + o + read)).collect();
    if input_blocks {
        start = expand(normalise(start), vec![(real, args.input.block)]);
    }
    let mut push = |runs: Vec<Run>| {
        let pointer = list.len();
        list.push(Access { pointer, writes: false, runs });
    };
    push(spread(&args.input, normalise(start), args.input.group));
    if weights.is_some() {
        let depth = if input_blocks { 4 } else { read };
        push(normalise(vec![(0, args.groups * channel_groups * offsets.len() as i64 * depth * width)]));
    }
    let per_channel = vec![(0, args.groups * channel_groups * width * 4)];
    if bias {
        push(per_channel.clone());
    }
    for (operand, stream) in operands.iter().zip(&args.operands) {
        push(match operand {
            Operand::PerChannel => per_channel.clone(),
            Operand::Scalar => vec![(0, 4)],
            Operand::PixelScalar => spread(stream, vec![(stream.base, stream.base + 4)], 0),
            // Lanes behind the last channel are read and ignored, unless results are stored whole.
            Operand::Pixels if store == Store::Vector => spread(stream, whole(stream), stream.group),
            Operand::Pixels => spread(stream, channels(stream, 4), stream.group),
            Operand::PixelsStrided => spread(stream, channels(stream, stream.lane), stream.group),
        });
    }
    list
}

fn nest_runs(stream: &NestStream, extents: &[i64]) -> Vec<Run> {
    let mut runs = vec![(stream.base, stream.base + 4)];
    let mut dims: Vec<(i64, i64)> = extents.iter().copied().zip(stream.strides.iter().copied()).collect();
    for table in &stream.tables {
        let used: Vec<(i64, i64)> = extents.iter().copied().zip(table.steps.iter().copied()).collect();
        let entries = used.iter().filter(|(_, step)| *step != 0).fold(vec![0], |all: Vec<i64>, (n, step)| {
            all.iter().flat_map(|e| (0..*n).map(move |i| e + i * step)).collect()
        });
        let at = |e: &i64| table.offsets.get(*e as usize).copied();
        let offsets: Vec<i64> = entries.iter().filter_map(at).collect();
        runs = runs.iter().flat_map(|(a, b)| offsets.iter().map(move |o| (a + o, b + o))).collect();
        runs = normalise(runs);
    }
    // A dim of no extent makes the access empty.
    if extents.contains(&0) {
        return vec![];
    }
    dims.retain(|(n, stride)| *n > 1 && *stride != 0);
    expand(runs, dims)
}

/// The runs repeated along dims of (extent, byte stride), the closest first.
fn expand(mut runs: Vec<Run>, mut dims: Vec<(i64, i64)>) -> Vec<Run> {
    dims.retain(|(n, stride)| *n > 1 && *stride != 0);
    dims.sort_by_key(|(_, stride)| stride.abs());
    for (extent, stride) in dims {
        let shortest = runs.iter().map(|(a, b)| b - a).min().unwrap_or(0);
        let far = (extent - 1) * stride;
        if stride.abs() <= shortest {
            runs.iter_mut().for_each(|run| *run = (run.0 + far.min(0), run.1 + far.max(0)));
        } else {
            runs = (0..extent)
                .flat_map(|i| runs.iter().map(move |(a, b)| (a + i * stride, b + i * stride)))
                .collect();
        }
        runs = normalise(runs);
    }
    runs
}

/// Sorts runs and joins those that touch.
fn normalise(mut runs: Vec<Run>) -> Vec<Run> {
    if !runs.is_sorted() {
        runs.sort_unstable();
    }
    let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
    for (start, end) in runs {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_gaps_stay_apart_and_full_rows_join() {
        assert_eq!(expand(vec![(0, 4)], vec![(3, 100), (5, 4)]), vec![(0, 20), (100, 120), (200, 220)]);
        assert_eq!(expand(vec![(0, 4)], vec![(3, 20), (5, 4)]), vec![(0, 60)]);
        // Overlapping windows.
        assert_eq!(expand(vec![(0, 12)], vec![(4, 8)]), vec![(0, 36)]);
        assert_eq!(expand(vec![(0, 4)], vec![(3, -8)]), vec![(-16, -12), (-8, -4), (0, 4)]);
    }

    #[test]
    fn tables_are_exact() {
        let table = crate::kernel::NestTable { steps: vec![0, 1], offsets: vec![0, 0, 8] };
        let stream = NestStream { base: 0, strides: vec![100, 0], tables: vec![table] };
        assert_eq!(nest_runs(&stream, &[2, 3]), vec![(0, 4), (8, 12), (100, 104), (108, 112)]);
    }
}
