//! The exact bytes that a step touches, as runs of contiguous bytes.
//!
//! [`Args::spans`](super::Args::spans) gives a bounding range per pointer, which is enough to stay inside of a buffer.
//! What was written before it is read, and which steps may run at once, needs the bytes themselves: the halo of a
//! tensor and its inside interleave.

use super::Args;
use super::words::Words;
use crate::kernel::{Descriptor, NestStream, Operand, StepArgs, Store, Stream, TileArgs};

/// Contiguous bytes, relative to a step's pointer.
pub type Run = (i64, i64);

/// The bytes that one pointer reaches: the union of some sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Index into the step's pointers.
    pub pointer: usize,
    pub writes: bool,
    /// Any of the bytes may be touched, but not all of them need be: what is written so is not known to be.
    pub partial: bool,
    pub bytes: Vec<Bytes>,
}

/// A set of bytes: every run at every sum of multiples of the dims' strides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Sorted, not empty, not touching each other.
    pub runs: Vec<Run>,
    /// (extent, byte stride), the closest first.
    pub dims: Vec<(i64, i64)>,
}

/// Beyond this many runs, further dims are kept as dims,
const MAX_RUNS: i64 = 2048;
/// unless the runs lie so far apart that stepping over them at every place costs more; but never beyond these.
const MOST_RUNS: i64 = 1 << 18;

/// All accesses of a call, over-reads excluded.
pub fn accesses(kernel: &Descriptor, args: &Args) -> Vec<Access> {
    match (kernel, args) {
        (Descriptor::Contract(k), Args::Tile(args)) => {
            let read = i64::from(k.shape().read) * 4;
            let weights = Some(k.inner);
            tile(args, k.lanes, k.tile.vectors, read, false, weights, k.bias, k.store, &k.operands)
        }
        (Descriptor::Window(k), Args::Tile(args)) => {
            let weights = (k.op == crate::kernel::WindowOp::MulAdd).then_some(1);
            let (single, read) = (k.single(args), i64::from(k.lanes) * 4);
            tile(&single, k.lanes, 1, read, true, weights, k.bias, k.store, &k.operands)
        }
        (Descriptor::Winograd(k), Args::Winograd(args)) => {
            let (direct, read) = (args.direct(k), i64::from(k.lanes) * 4);
            let weights = Some(k.lanes);
            let mut list = tile(
                &direct,
                k.lanes,
                k.tile.vectors,
                read,
                false,
                weights,
                k.bias,
                Store::Vector,
                &k.operands,
            );
            let packed = Bytes { runs: vec![(0, args.weight_bytes(k))], dims: vec![] };
            for access in list.iter_mut().filter(|access| access.pointer == 2) {
                access.bytes = vec![packed.clone()];
            }
            list
        }
        (Descriptor::WinogradGradient(k), Args::WinogradGradient(args)) => {
            let [input, gradient] = args.reads(k);
            let vectors = |base: i64, dims| expand(vec![(base, base + i64::from(k.lanes) * 4)], dims);
            let written = vec![Bytes { runs: vec![(0, args.output_bytes(k))], dims: vec![] }];
            let access = |(pointer, bytes)| Access { pointer, writes: pointer == 0, partial: false, bytes };
            let read = [vectors(args.input.base, input), vectors(args.gradient.base, gradient)];
            std::iter::once(written).chain(read).enumerate().map(access).collect()
        }
        (Descriptor::Nest(k), Args::Nest(args)) => {
            let outputs = args.output.strides.len();
            let elements = k.elements();
            let stream = |pointer: usize, s: &NestStream, dims: usize| {
                nest_bytes(s, &args.extents[..dims], elements[pointer].size_bytes() as i64)
            };
            let partial = !args.output.indirect.is_empty();
            let written = stream(0, &args.output, outputs);
            let mut list = vec![Access { pointer: 0, writes: true, partial, bytes: written }];
            for (i, s) in args.operands.iter().enumerate() {
                list.push(Access {
                    pointer: 1 + i,
                    writes: false,
                    partial: false,
                    bytes: stream(1 + i, s, args.extents.len()),
                });
            }
            for (i, s) in args.finals.iter().enumerate() {
                let pointer = 1 + args.operands.len() + i;
                list.push(Access {
                    pointer,
                    writes: false,
                    partial: false,
                    bytes: stream(pointer, s, outputs),
                });
            }
            list
        }
        (Descriptor::Sort(k), Args::Sort(args)) => args.spans(k).into_iter().map(whole).collect(),
        (Descriptor::Suppression(_), Args::Suppression(args)) => {
            args.spans().into_iter().map(whole).collect()
        }
        (
            Descriptor::Contract(_)
            | Descriptor::Window(_)
            | Descriptor::Winograd(_)
            | Descriptor::WinogradGradient(_)
            | Descriptor::Nest(_)
            | Descriptor::Sort(_)
            | Descriptor::Suppression(_),
            Args::Tile(_)
            | Args::Winograd(_)
            | Args::WinogradGradient(_)
            | Args::Nest(_)
            | Args::Sort(_)
            | Args::Suppression(_),
        ) => vec![],
    }
}

/// An access to all bytes of a span.
fn whole(span: crate::kernel::Span) -> Access {
    let bytes = vec![Bytes { runs: vec![(span.low_bytes, span.high_bytes)], dims: vec![] }];
    Access { pointer: span.pointer, writes: span.writes, partial: false, bytes }
}

#[expect(clippy::too_many_arguments, reason = "what the two families tell apart")]
fn tile(
    args: &TileArgs,
    lanes: u8,
    vectors: u8,
    read: i64,
    input_blocks: bool,
    // Rows of packed weights for each step.
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
    // The channels that exist, one by one; the places of a cut vector are those of its first lanes.
    let alone = |runs: Vec<Run>| vec![Bytes { runs, dims: vec![] }];
    let spread = |s: &Stream, run: i64, channels: &[(i64, i64)], group: i64| {
        let mut dims = pixel(s);
        dims.extend_from_slice(channels);
        dims.push((args.groups, group));
        expand(vec![(s.base, s.base + run)], dims)
    };
    let lane_by_lane = |s: &Stream, lane: i64| {
        if s.block == lanes * lane || real == 1 {
            return spread(s, 4, &[(args.channels, lane)], s.group);
        }
        let tail = Stream { base: s.base + (real - 1) * s.block, ..s.clone() };
        let mut bytes = spread(s, 4, &[(lanes, lane), (real - 1, s.block)], s.group);
        bytes.extend(spread(&tail, 4, &[(args.channels - (real - 1) * lanes, lane)], s.group));
        bytes
    };
    let whole = |s: &Stream| spread(s, 4 * lanes, &[(real, s.block)], s.group);
    let written = match store {
        Store::Vector => whole(&args.output),
        Store::Partial => lane_by_lane(&args.output, 4),
        Store::Strided => lane_by_lane(&args.output, args.output.lane),
    };
    let mut list = vec![Access { pointer: 0, writes: true, partial: false, bytes: written }];
    let offsets: Vec<i64> = match &args.steps {
        StepArgs::Table(offsets) => offsets.clone(),
        StepArgs::Linear { count, stride } => (0..*count).map(|i| i * stride).collect(),
    };
    let start = offsets.iter().map(|o| (args.input.base + o, args.input.base + o + read)).collect();
    let mut push = |bytes: Vec<Bytes>| {
        let pointer = list.len();
        list.push(Access { pointer, writes: false, partial: false, bytes });
    };
    let mut walked = pixel(&args.input);
    walked.extend([(args.groups, args.input.group), (if input_blocks { real } else { 1 }, args.input.block)]);
    push(expand(start, walked));
    if let Some(rows) = weights {
        let rows = offsets.len() as i64 * i64::from(rows);
        push(alone(vec![(0, args.groups * channel_groups * rows * width * 4)]));
    }
    let per_channel = vec![(0, args.groups * channel_groups * width * 4)];
    if bias {
        push(alone(per_channel.clone()));
    }
    for (operand, stream) in operands.iter().zip(&args.operands) {
        push(match operand {
            Operand::PerChannel => alone(per_channel.clone()),
            Operand::Scalar => alone(vec![(0, 4)]),
            Operand::PixelScalar => spread(stream, 4, &[], 0),
            // Lanes behind the last channel are read and ignored, unless results are stored whole.
            Operand::Pixels if store == Store::Vector => whole(stream),
            Operand::Pixels => lane_by_lane(stream, 4),
            Operand::PixelsStrided => lane_by_lane(stream, stream.lane),
        });
    }
    list
}

fn nest_bytes(stream: &NestStream, extents: &[i64], element: i64) -> Vec<Bytes> {
    let mut runs = vec![(stream.base, stream.base + element)];
    let mut dims: Vec<(i64, i64)> = extents.iter().copied().zip(stream.strides.iter().copied()).collect();
    // The whole of an axis along which places are known only at run time.
    dims.extend(stream.indirect.iter().map(|indirect| (indirect.size, indirect.stride)));
    for table in &stream.tables {
        let used: Vec<(i64, i64)> = extents.iter().copied().zip(table.steps.iter().copied()).collect();
        let entries = used.iter().filter(|(_, step)| *step != 0).fold(vec![0], |all: Vec<i64>, (n, step)| {
            all.iter().flat_map(|e| (0..*n).map(move |i| e + i * step)).collect()
        });
        let at = |e: &i64| table.offsets.get(*e as usize).copied();
        let offsets: Vec<i64> = entries.iter().filter_map(at).collect();
        runs = combine(&normalise(runs), offsets);
    }
    // A dim of no extent makes the access empty.
    if extents.contains(&0) {
        return vec![];
    }
    expand(runs, dims)
}

/// A gap that is cheaper to step over than to begin a set of its own behind.
const NEAR_BYTES: i64 = 1024;

/// The runs repeated along dims of (extent, byte stride). Runs that are farther apart than the dims between them
/// reach, such as the taps of different channel blocks, are sets of their own; those that a few machine words of bits
/// bridge, such as the elements that a table picks one by one, are not.
fn expand(runs: Vec<Run>, mut dims: Vec<(i64, i64)>) -> Vec<Bytes> {
    dims.retain(|(n, stride)| *n > 1 && *stride != 0);
    dims.sort_by_key(|(_, stride)| stride.abs());
    let runs = normalise(runs);
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return vec![] };
    let inner = dims.partition_point(|(_, stride)| stride.abs() < last.1 - first.0);
    let reach: i64 = dims[..inner].iter().map(|(n, stride)| (n - 1) * stride.abs()).sum();
    let clusters = runs.chunk_by(|a, b| b.0 - a.1 <= reach.max(NEAR_BYTES));
    clusters.map(|cluster| repeat(cluster.to_vec(), &dims)).collect()
}

/// As [`expand`], the dims sorted and the closest first, for runs near each other.
fn repeat(mut runs: Vec<Run>, dims: &[(i64, i64)]) -> Bytes {
    for (d, &(extent, stride)) in dims.iter().enumerate() {
        let shortest = runs.iter().map(|(a, b)| b - a).min().unwrap_or(0);
        let far = (extent - 1) * stride;
        if stride.abs() <= shortest {
            runs.iter_mut().for_each(|run| *run = (run.0 + far.min(0), run.1 + far.max(0)));
            runs = join(runs);
        } else if is_cheaper_spread(&runs, extent, far) {
            runs = combine(&runs, (0..extent).map(|i| i * stride).collect());
        } else {
            return Bytes { runs, dims: dims[d..].to_vec() };
        }
    }
    Bytes { runs, dims: vec![] }
}

/// Whether a dim is to become runs: machine words of bits that a pattern takes, kept as a dim and spread out.
fn is_cheaper_spread(runs: &[Run], extent: i64, far: i64) -> bool {
    let words = |bytes: i64| bytes / 256 + 1;
    let count = runs.len() as i64 * extent;
    let span = runs.last().map_or(0, |run| run.1) - runs.first().map_or(0, |run| run.0);
    count <= MAX_RUNS
        || count <= MOST_RUNS && 4 * (words(span + far.abs()) + count) < words(span).saturating_mul(extent)
}

/// Fewer runs than these are sorted.
const MANY_RUNS: usize = 256;

/// Every run at every offset, normalised as the runs are.
fn combine(runs: &[Run], mut offsets: Vec<i64>) -> Vec<Run> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return vec![] };
    offsets.sort_unstable();
    offsets.dedup();
    let (Some(least), Some(most)) = (offsets.first(), offsets.last()) else { return vec![] };
    let count = runs.len() * offsets.len();
    let (start, span) = (first.0 + least, last.1 - first.0 + most - least);
    let all = || offsets.iter().flat_map(|o| runs.iter().map(move |(a, b)| (a + o, b + o)));
    // One after the other they are in order already; else, where they lie densely, they are sorted as bits of a set.
    let apart = offsets.windows(2).all(|pair| pair[1] - pair[0] >= last.1 - first.0);
    let words = runs.iter().all(|(a, b)| (a - first.0) % 4 == 0 && (b - a) % 4 == 0)
        && offsets.iter().all(|o| (o - least) % 4 == 0);
    let word = if words { 4 } else { 1 };
    if apart {
        join(all().collect())
    } else if count < MANY_RUNS || span / word > 64 * count as i64 {
        normalise(all().collect())
    } else {
        let mut set = Words::of((span / word) as usize);
        all().for_each(|(a, b)| set.insert((a - start) / word..(b - start) / word));
        set.runs().map(|(a, b)| (start + a * word, start + b * word)).collect()
    }
}

/// Sorts runs and joins those that touch.
fn normalise(mut runs: Vec<Run>) -> Vec<Run> {
    // Repetitions of sorted runs, which the stable sort merges.
    runs.sort();
    join(runs)
}

/// Joins those of sorted runs that touch.
fn join(runs: Vec<Run>) -> Vec<Run> {
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

    fn runs(start: Vec<Run>, dims: Vec<(i64, i64)>) -> Vec<Run> {
        let sets = expand(start, dims);
        assert!(sets.iter().all(|bytes| bytes.dims.is_empty()));
        sets.into_iter().flat_map(|bytes| bytes.runs).collect()
    }

    #[test]
    fn rows_with_gaps_stay_apart_and_full_rows_join() {
        assert_eq!(runs(vec![(0, 4)], vec![(3, 100), (5, 4)]), vec![(0, 20), (100, 120), (200, 220)]);
        assert_eq!(runs(vec![(0, 4)], vec![(3, 20), (5, 4)]), vec![(0, 60)]);
        // Overlapping windows.
        assert_eq!(runs(vec![(0, 12)], vec![(4, 8)]), vec![(0, 36)]);
        assert_eq!(runs(vec![(0, 4)], vec![(3, -8)]), vec![(-16, -12), (-8, -4), (0, 4)]);
    }

    #[test]
    fn many_runs_are_kept_as_dims() {
        let sets = expand(vec![(0, 4)], vec![(100, 9000), (1000, 8)]);
        assert_eq!((sets[0].runs.len(), &sets[0].dims), (1000, &vec![(100, 9000)]));
        let far = expand(vec![(0, 4), (1 << 20, (1 << 20) + 4)], vec![(2, 1 << 24), (3, 8)]);
        assert_eq!(far.len(), 2, "{far:?}");
    }

    /// The half block of channels behind whole ones keeps rows from joining; every pixel would step over all blocks.
    #[test]
    fn runs_far_apart_are_spread_out() {
        let block = 700_000;
        let taps =
            (0..3).flat_map(|row| (0..4).map(move |b| (b * block + row * 7000, if b < 3 { 64 } else { 32 })));
        let start = taps.map(|(at, len)| (at, at + len)).collect();
        let sets = expand(start, vec![(100, 64), (100, 7000)]);
        assert!(sets.iter().all(|bytes| bytes.dims.is_empty()), "{:?}", sets[0].dims);
    }

    /// Whichever way runs are put in order, the result is that of sorting.
    #[test]
    fn combinations_are_sorted_and_joined() {
        let check = |runs: &[Run], offsets: &[i64]| {
            let all = runs.iter().flat_map(|(a, b)| offsets.iter().map(move |o| (a + o, b + o)));
            assert_eq!(combine(runs, offsets.to_vec()), normalise(all.collect()));
        };
        let every = |n: i64, step: i64, first: i64| (0..n).map(|i| first + i * step).collect::<Vec<_>>();
        let of_bytes = |starts: Vec<i64>, n: i64| starts.into_iter().map(|s| (s, s + n)).collect::<Vec<_>>();
        check(&of_bytes(every(9, 12, -40), 4), &every(100, 200, 8));
        check(&of_bytes(every(40, 12, 16), 4), &every(40, 4, -160));
        check(&of_bytes(every(40, 12, 16), 4), &[every(40, 480, 0), every(3, 4, 2000)].concat());
        check(&of_bytes(every(40, 3, 1), 1), &every(40, 7, 5));
        check(&of_bytes(every(3, 12, 0), 4), &[8, 0, 4, 4]);
        check(&of_bytes(every(100, 4000, 0), 4), &every(100, 36, 0));
    }

    /// Elements picked along two axes are one set, not one for each.
    #[test]
    fn tables_of_elements_are_one_set() {
        let table = |axis: usize, stride: i64| crate::kernel::NestTable {
            steps: (0..2).map(|d| i64::from(d == axis)).collect(),
            offsets: (0..100).map(|i| i * stride).collect(),
        };
        let stream = NestStream {
            strides: vec![0, 0],
            tables: vec![table(0, 6400), table(1, 64)],
            ..NestStream::default()
        };
        let sets = nest_bytes(&stream, &[100, 100], 4);
        assert_eq!((sets.len(), sets[0].runs.len(), sets[0].dims.len()), (1, 10_000, 0));
    }

    #[test]
    fn tables_are_exact() {
        let table = crate::kernel::NestTable { steps: vec![0, 1], offsets: vec![0, 0, 8] };
        let stream = NestStream { strides: vec![100, 0], tables: vec![table], ..NestStream::default() };
        let sets = nest_bytes(&stream, &[2, 3], 4);
        let mut runs: Vec<Run> = sets.into_iter().flat_map(|bytes| bytes.runs).collect();
        runs.sort_unstable();
        assert_eq!(runs, vec![(0, 4), (8, 12), (100, 104), (108, 112)]);
    }
}
