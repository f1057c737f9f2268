//! Pack formats: where each source element of a parameter lies in the memory that kernels read.
//!
//! A packed parameter is an array of f32. A format cuts it into *groups* of equal length that depend on disjoint,
//! known source ranges, so that a large weight is generated or read, and packed, group by group and in parallel
//! without a second full copy. Positions that no source element maps to are zero.

use super::{Illegal, WinogradPack, require};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a parameter is laid out for its kernel; part of the key under which packs are shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PackFormat {
    /// As in the source: nests and embedding tables read this.
    Raw {
        elements: u64,
    },
    Channels(ChannelPack),
    Weights(WeightPack),
    Sums(SumPack),
    Winograd(WinogradPack),
}

/// A vector per channel for `contract` and `window`: each group of channels padded with zeros to whole tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelPack {
    pub groups: u32,
    /// Channels of one group; the source holds `groups * channels` values, or one value for all of them.
    pub channels: u32,
    /// `vectors * lanes` of the kernel.
    pub width: u32,
    /// The source is one value, repeated for every channel (a layer-shared slope).
    pub broadcast: bool,
}

/// Weights of `contract` and `window`:
/// `[group][channel group][input vector][tap][input lane][vectors * lanes output channels]`.
///
/// A reduction step is (input vector, tap), taps fastest; its `inner` rows are the lanes of the input vector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightPack {
    pub groups: u32,
    /// Output channels of one group.
    pub out_channels: u32,
    /// Input channels of one group; 1 for depthwise `window` weights.
    pub in_channels: u32,
    /// Taps of the source.
    pub source_taps: u32,
    /// The source tap of each packed tap: all of them in order, or a subset in another order for the sectors of
    /// a transposed convolution.
    pub taps: Vec<u32>,
    pub order: SourceOrder,
    pub lanes: u8,
    pub vectors: u8,
    /// Input channels per step.
    pub inner: u8,
}

/// Weights of `contract` whose source index is the sum of a row's and a column's part:
/// `[channel group][row of the reduction][width output channels]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SumPack {
    /// Elements of the source.
    pub elements: u32,
    pub rows: Vec<u32>,
    /// One per output channel.
    pub columns: Vec<u32>,
    /// `vectors * lanes` of the kernel.
    pub width: u32,
}

/// Axis order of a row-major weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceOrder {
    /// `[groups * out, in, taps]`: convolutions; dense weights with as many taps as pixels were flattened.
    OutInTap,
    /// `[groups * in, out, taps]`: transposed convolutions; the right side of a matrix product.
    InOutTap,
}

impl PackFormat {
    /// Packed length in f32.
    pub fn len(&self) -> usize {
        self.groups() * self.group_len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of independently packed groups.
    pub fn groups(&self) -> usize {
        match self {
            PackFormat::Raw { elements } => (*elements as usize).div_ceil(RAW_GROUP).max(1),
            PackFormat::Channels(pack) => pack.groups as usize,
            PackFormat::Weights(pack) => pack.groups as usize * pack.channel_groups(),
            PackFormat::Sums(pack) => pack.columns.len().div_ceil(pack.width as usize),
            PackFormat::Winograd(pack) => pack.groups(),
        }
    }

    /// Packed f32 of one group. The last group of `Raw` may be shorter: see [`PackFormat::packed_range`].
    pub fn group_len(&self) -> usize {
        match self {
            PackFormat::Raw { elements } => RAW_GROUP.min(*elements as usize),
            PackFormat::Channels(pack) => (pack.channels as usize).next_multiple_of(pack.width as usize),
            PackFormat::Weights(pack) => pack.steps() * pack.inner as usize * pack.width(),
            PackFormat::Sums(pack) => pack.rows.len() * pack.width as usize,
            PackFormat::Winograd(pack) => pack.group_len(),
        }
    }

    /// Where a group lies in the packed array.
    pub fn packed_range(&self, group: usize) -> Range<usize> {
        let start = group * self.group_len();
        match self {
            PackFormat::Raw { elements } => start..(start + RAW_GROUP).min(*elements as usize),
            PackFormat::Channels(_)
            | PackFormat::Weights(_)
            | PackFormat::Sums(_)
            | PackFormat::Winograd(_) => start..start + self.group_len(),
        }
    }

    /// The least contiguous range of source elements that a group depends on.
    pub fn source_range(&self, group: usize) -> Range<usize> {
        match self {
            PackFormat::Raw { .. } => self.packed_range(group),
            PackFormat::Channels(pack) => {
                let channels = pack.channels as usize;
                if pack.broadcast { 0..1 } else { group * channels..(group + 1) * channels }
            }
            PackFormat::Weights(pack) => pack.source_range(group, pack.channels(group).1),
            // All of it: such weights are small.
            PackFormat::Sums(pack) => 0..pack.elements as usize,
            PackFormat::Winograd(pack) => pack.source_range(group),
        }
    }

    /// Number of source elements.
    pub fn source_len(&self) -> usize {
        match self {
            PackFormat::Raw { elements } => *elements as usize,
            PackFormat::Channels(pack) if pack.broadcast => 1,
            PackFormat::Channels(pack) => pack.groups as usize * pack.channels as usize,
            PackFormat::Weights(pack) => [pack.groups, pack.out_channels, pack.in_channels, pack.source_taps]
                .iter()
                .map(|&extent| extent as usize)
                .product(),
            PackFormat::Sums(pack) => pack.elements as usize,
            PackFormat::Winograd(pack) => pack.source_len(),
        }
    }

    /// Parts of a group that depend on disjoint source ranges: large weights are read a few rows at a time, so that what
    /// was read is still in cache when it is packed.
    pub fn pieces(&self, group: usize) -> usize {
        match self {
            PackFormat::Raw { .. }
            | PackFormat::Channels(_)
            | PackFormat::Sums(_)
            | PackFormat::Winograd(_) => 1,
            PackFormat::Weights(pack) => pack.pieces(group),
        }
    }

    /// The source elements of a piece, within those of its group.
    pub fn piece_source(&self, group: usize, piece: usize) -> Range<usize> {
        match self {
            PackFormat::Raw { .. }
            | PackFormat::Channels(_)
            | PackFormat::Sums(_)
            | PackFormat::Winograd(_) => self.source_range(group),
            PackFormat::Weights(pack) => pack.source_range(group, pack.piece_channels(group, piece)),
        }
    }

    /// Packs one piece of a group: `source` is the slice of [`PackFormat::piece_source`], `packed` that of
    /// [`PackFormat::packed_range`]. All pieces together overwrite it whole.
    ///
    /// Inlined with all that it calls, so that callers can build it for the vector widths of their machine.
    #[inline(always)]
    pub fn pack_piece(&self, group: usize, piece: usize, source: &[f32], packed: &mut [f32]) {
        match self {
            PackFormat::Raw { .. } => packed.copy_from_slice(source),
            PackFormat::Channels(pack) => {
                let (values, padding) = packed.split_at_mut(pack.channels as usize);
                if pack.broadcast {
                    values.fill(source[0])
                } else {
                    values.copy_from_slice(source)
                }
                padding.fill(0.0);
            }
            PackFormat::Weights(pack) => pack.pack_piece(group, piece, source, packed),
            PackFormat::Sums(pack) => {
                let width = pack.width as usize;
                let columns = pack.columns.iter().skip(group * width).take(width);
                for (row, target) in pack.rows.iter().zip(packed.chunks_exact_mut(width)) {
                    target.fill(0.0);
                    for (column, value) in columns.clone().zip(target) {
                        *value = source[(row + column) as usize];
                    }
                }
            }
            PackFormat::Winograd(pack) => pack.pack_group(source, packed),
        }
    }

    /// Packs everything at once.
    pub fn pack(&self, source: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.packed_range(self.groups() - 1).end];
        for group in 0..self.groups() {
            for piece in 0..self.pieces(group) {
                let part = &source[self.piece_source(group, piece)];
                self.pack_piece(group, piece, part, &mut packed[self.packed_range(group)]);
            }
        }
        packed
    }

    pub fn validate(&self) -> Result<(), Illegal> {
        match self {
            PackFormat::Raw { .. } => {}
            PackFormat::Channels(pack) => {
                require!(pack.groups > 0 && pack.channels > 0 && pack.width > 0, "an empty channel pack");
            }
            PackFormat::Sums(pack) => {
                require!(
                    !pack.rows.is_empty() && !pack.columns.is_empty() && pack.width > 0,
                    "an empty pack of sums"
                );
                let greatest = |parts: &[u32]| u64::from(parts.iter().copied().max().unwrap_or(0));
                require!(
                    greatest(&pack.rows) + greatest(&pack.columns) < u64::from(pack.elements),
                    "sums beyond the {} elements of the source",
                    pack.elements
                );
            }
            PackFormat::Weights(pack) => {
                require!(
                    pack.groups > 0 && pack.out_channels > 0 && pack.in_channels > 0,
                    "an empty weight pack"
                );
                require!(pack.lanes > 0 && pack.vectors > 0 && pack.inner > 0, "an empty weight tile");
                require!(
                    pack.taps.iter().all(|&tap| tap < pack.source_taps),
                    "a tap beyond the {} of the source",
                    pack.source_taps
                );
            }
            PackFormat::Winograd(pack) => pack.validate()?,
        }
        Ok(())
    }
}

/// Elements of a group of raw copies: a megabyte, a good grain for parallel generation.
const RAW_GROUP: usize = 1 << 18;

impl WeightPack {
    /// Output channels of a channel group.
    pub fn width(&self) -> usize {
        self.vectors as usize * self.lanes as usize
    }

    pub fn channel_groups(&self) -> usize {
        (self.out_channels as usize).div_ceil(self.width())
    }

    /// Reduction steps: input vectors times taps.
    pub fn steps(&self) -> usize {
        (self.in_channels as usize).div_ceil(self.inner as usize) * self.taps.len()
    }

    /// Source index of an element.
    fn source(&self, group: usize, out: usize, input: usize, tap: usize) -> usize {
        let (outs, ins, taps) =
            (self.out_channels as usize, self.in_channels as usize, self.source_taps as usize);
        match self.order {
            SourceOrder::OutInTap => ((group * outs + out) * ins + input) * taps + tap,
            SourceOrder::InOutTap => ((group * ins + input) * outs + out) * taps + tap,
        }
    }

    /// Output channels (within their group) of a channel group, and that group.
    fn channels(&self, group: usize) -> (usize, Range<usize>) {
        let (outer, channel_group) = (group / self.channel_groups(), group % self.channel_groups());
        let first = channel_group * self.width();
        (outer, first..(first + self.width()).min(self.out_channels as usize))
    }

    /// The least contiguous range of source elements with all of these channels of a group.
    fn source_range(&self, group: usize, channels: Range<usize>) -> Range<usize> {
        let outer = group / self.channel_groups();
        let (last_in, last_tap) = (self.in_channels as usize - 1, self.source_taps as usize - 1);
        self.source(outer, channels.start, 0, 0)..self.source(outer, channels.end - 1, last_in, last_tap) + 1
    }

    /// Rows of the source are output channels, read a square's worth at a time; columns are interleaved and read at once.
    fn pieces(&self, group: usize) -> usize {
        match self.order {
            SourceOrder::OutInTap => self.channels(group).1.len().div_ceil(SQUARE),
            SourceOrder::InOutTap => 1,
        }
    }

    /// Output channels of a piece, within their group.
    fn piece_channels(&self, group: usize, piece: usize) -> Range<usize> {
        let channels = self.channels(group).1;
        match self.order {
            SourceOrder::OutInTap => {
                let first = channels.start + piece * SQUARE;
                first..(first + SQUARE).min(channels.end)
            }
            SourceOrder::InOutTap => channels,
        }
    }

    /// Source column of each packed row of a group (`input * taps + tap`); `None` for padded input lanes.
    fn columns(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        let (inner, ins) = (self.inner as usize, self.in_channels as usize);
        (0..ins.div_ceil(inner)).flat_map(move |vector| {
            self.taps.iter().flat_map(move |&tap| {
                (vector * inner..(vector + 1) * inner)
                    .map(move |input| (input < ins).then(|| input * self.source_taps as usize + tap as usize))
            })
        })
    }

    #[inline(always)]
    fn pack_piece(&self, group: usize, piece: usize, source: &[f32], packed: &mut [f32]) {
        let (channels, all) = (self.piece_channels(group, piece), self.channels(group).1);
        let (width, first) = (self.width(), channels.start - all.start);
        // The last piece of a group fills up what lies behind its channels.
        let end = if channels.end == all.end { width } else { first + channels.len() };
        match self.order {
            SourceOrder::OutInTap => {
                let length = self.in_channels as usize * self.source_taps as usize;
                let lines = Lines { source, length, count: channels.len() };
                let place = Place { width, first, end };
                let done = if self.taps.iter().copied().eq(0..self.source_taps) {
                    match (self.inner, self.source_taps) {
                        (16, 1) => lines.transpose_vectors::<16, 1, 16>(place, packed),
                        (16, 9) => lines.transpose_vectors::<16, 9, 144>(place, packed),
                        (8, 1) => lines.transpose_vectors::<8, 1, 8>(place, packed),
                        (8, 9) => lines.transpose_vectors::<8, 9, 72>(place, packed),
                        (4, 1) => lines.transpose_vectors::<4, 1, 4>(place, packed),
                        (4, 9) => lines.transpose_vectors::<4, 9, 36>(place, packed),
                        _ => 0,
                    }
                } else {
                    0
                };
                let rest = &mut packed[done * width..];
                if !rest.is_empty() {
                    lines.transpose(self.columns().skip(done), place.rows(rest));
                }
            }
            SourceOrder::InOutTap => {
                let (outs, taps) = (self.out_channels as usize, self.source_taps as usize);
                let rows = Place { width, first, end }.rows(packed);
                for (row, column) in rows.zip(self.columns()) {
                    let (values, padding) = row.split_at_mut(channels.len());
                    match column {
                        Some(column) => {
                            let first = column / taps * outs * taps + column % taps;
                            let step = source[first..].iter().step_by(taps);
                            values.iter_mut().zip(step).for_each(|(value, from)| *value = *from);
                        }
                        None => values.fill(0.0),
                    }
                    padding.fill(0.0);
                }
            }
        }
    }
}

/// Side of the squares in which weights are transposed: a cache line of packed channels.
const SQUARE: usize = 16;
/// Source rows are often a power of two apart, so that their lines share one set of the cache: eight at a time fit any.
const HALF: usize = SQUARE / 2;

/// `count <= SQUARE` source rows of some length.
#[derive(Clone, Copy)]
struct Lines<'a> {
    source: &'a [f32],
    length: usize,
    count: usize,
}

/// The part of each packed row that a piece fills.
#[derive(Clone, Copy)]
struct Place {
    width: usize,
    first: usize,
    end: usize,
}

impl Place {
    fn rows(self, packed: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        packed.chunks_exact_mut(self.width).map(move |row| &mut row[self.first..self.end])
    }
}

impl<'a> Lines<'a> {
    /// Half a square's lines from this one on. Lines that are not there repeat the last one: their values are not used.
    fn half(self, first: usize) -> [&'a [f32]; HALF] {
        std::array::from_fn(|k| {
            let line = (first + k).min(self.count - 1);
            &self.source[line * self.length..(line + 1) * self.length]
        })
    }

    /// Packs whole input vectors with all taps in order, and returns how many rows that were. `READ = INNER * TAPS`: with
    /// constant places the compiler needs no check of them.
    #[inline(always)]
    fn transpose_vectors<const INNER: usize, const TAPS: usize, const READ: usize>(
        self,
        place: Place,
        packed: &mut [f32],
    ) -> usize {
        let vectors = self.length / READ;
        for first in (0..self.count).step_by(HALF) {
            let lines = self.half(first);
            let count = HALF.min(self.count - first);
            for (vector, rows) in packed.chunks_exact_mut(READ * place.width).take(vectors).enumerate() {
                let rows = &mut rows[place.first + first..];
                for column in (0..READ).step_by(HALF) {
                    let columns = if READ.is_multiple_of(HALF) { HALF } else { HALF.min(READ - column) };
                    let at = vector * READ + column;
                    let mut square = [[0.0f32; HALF]; HALF];
                    for (k, line) in lines.iter().enumerate() {
                        for (values, value) in square.iter_mut().zip(&line[at..at + columns]) {
                            values[k] = *value;
                        }
                    }
                    for (column, values) in (column..column + columns).zip(&square) {
                        let row = (column % TAPS * INNER + column / TAPS) * place.width;
                        match rows[row..].first_chunk_mut() {
                            Some(whole) if count == HALF => *whole = *values,
                            _ => rows[row..row + count].copy_from_slice(&values[..count]),
                        }
                    }
                }
            }
        }
        if place.first + self.count < place.end {
            place.rows(packed).take(vectors * READ).for_each(|row| row[self.count..].fill(0.0));
        }
        vectors * READ
    }

    /// Packed rows from any columns, zeros behind them.
    #[inline(always)]
    fn transpose<'p>(
        self,
        columns: impl Iterator<Item = Option<usize>>,
        mut rows: impl Iterator<Item = &'p mut [f32]>,
    ) {
        let mut columns = columns.fuse();
        let mut square = [[0.0f32; SQUARE]; SQUARE];
        loop {
            let mut taken = [None; SQUARE];
            let height = columns.by_ref().take(SQUARE).zip(&mut taken).map(|(c, place)| *place = c).count();
            if height == 0 {
                return;
            }
            for first in (0..self.count).step_by(HALF) {
                let lines = self.half(first);
                for (target, column) in square.iter_mut().zip(&taken[..height]) {
                    for (value, line) in target[first..first + HALF].iter_mut().zip(&lines) {
                        *value = column.map_or(0.0, |column| line[column]);
                    }
                }
            }
            for (values, row) in square[..height].iter().zip(rows.by_ref()) {
                let (real, padding) = row.split_at_mut(self.count);
                real.copy_from_slice(&values[..self.count]);
                padding.fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_trip() {
        for (order, groups, outs, ins, inner, vectors) in [
            (SourceOrder::OutInTap, 1, 10, 5, 4, 2),
            (SourceOrder::InOutTap, 1, 10, 5, 4, 2),
            (SourceOrder::OutInTap, 2, 8, 3, 1, 1),
            (SourceOrder::InOutTap, 3, 4, 4, 4, 1),
        ] {
            let pack = WeightPack {
                groups,
                out_channels: outs,
                in_channels: ins,
                source_taps: 3,
                taps: vec![2, 0],
                order,
                lanes: 4,
                vectors,
                inner,
            };
            let format = PackFormat::Weights(pack.clone());
            format.validate().expect("legal");
            let source: Vec<f32> = (1..=format.source_len()).map(|v| v as f32).collect();
            let packed = format.pack(&source);
            assert_eq!(packed.len(), format.len());
            let mut seen = 0;
            for (position, &value) in packed.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                let width = pack.width();
                let (row, column) = (position / width, position % width);
                let (step, lane) = (row / inner as usize, row % inner as usize);
                let (group, step) = (step / pack.steps(), step % pack.steps());
                let (outer, channel_group) = (group / pack.channel_groups(), group % pack.channel_groups());
                let input = step / 2 * inner as usize + lane;
                let out = channel_group * width + column;
                assert_eq!(value, source[pack.source(outer, out, input, [2, 0][step % 2])]);
                seen += 1;
            }
            assert_eq!(seen, (groups * outs * ins * 2) as usize);
        }
    }

    /// Whole vectors of input channels are transposed in squares; the result is that of picking column by column.
    #[test]
    fn squares_are_columns_one_by_one() {
        for (lanes, taps) in [(16u8, 1u32), (16, 9), (8, 1), (8, 9), (4, 1), (4, 9)] {
            for (outs, vectors) in [(48, 3), (29, 2), (3, 1)] {
                let pack = WeightPack {
                    groups: 1,
                    out_channels: outs,
                    in_channels: u32::from(lanes) * 2 + 3,
                    source_taps: taps,
                    taps: (0..taps).collect(),
                    order: SourceOrder::OutInTap,
                    lanes,
                    vectors,
                    inner: lanes,
                };
                let format = PackFormat::Weights(pack.clone());
                let source: Vec<f32> = (1..=format.source_len()).map(|v| v as f32).collect();
                let columns: Vec<_> = pack.columns().collect();
                let mut want = vec![0.0; format.len()];
                for (row, target) in want.chunks_exact_mut(pack.width()).enumerate() {
                    let (group, column) = (row / columns.len(), columns[row % columns.len()]);
                    for (out, value) in pack.channels(group).1.zip(target) {
                        let length = (pack.in_channels * taps) as usize;
                        *value = column.map_or(0.0, |column| source[out * length + column]);
                    }
                }
                assert_eq!(format.pack(&source), want, "{lanes} lanes, {taps} taps, {outs} outputs");
            }
        }
    }

    #[test]
    fn channels_pad_each_group() {
        let pack = ChannelPack { groups: 2, channels: 3, width: 4, broadcast: false };
        let packed = PackFormat::Channels(pack).pack(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(packed, [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
        let shared = PackFormat::Channels(ChannelPack { broadcast: true, ..pack }).pack(&[7.0]);
        assert_eq!(shared, [7.0, 7.0, 7.0, 0.0, 7.0, 7.0, 7.0, 0.0]);
    }

    #[test]
    fn sums_pad_the_last_group() {
        let pack = SumPack { elements: 7, rows: vec![0, 3], columns: vec![0, 1, 3], width: 2 };
        let format = PackFormat::Sums(pack.clone());
        format.validate().expect("legal");
        let source: Vec<f32> = (0..7).map(|v| v as f32).collect();
        assert_eq!(format.pack(&source), [0.0, 1.0, 3.0, 4.0, 3.0, 0.0, 6.0, 0.0]);
        assert!(PackFormat::Sums(SumPack { elements: 6, ..pack }).validate().is_err());
    }

    #[test]
    fn raw_splits_into_groups() {
        let source: Vec<f32> = (0..RAW_GROUP + 5).map(|v| v as f32).collect();
        let format = PackFormat::Raw { elements: source.len() as u64 };
        assert_eq!(format.groups(), 2);
        assert_eq!(format.pack(&source), source);
    }
}
