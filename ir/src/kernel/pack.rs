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
            PackFormat::Winograd(pack) => pack.groups(),
        }
    }

    /// Packed f32 of one group. The last group of `Raw` may be shorter: see [`PackFormat::packed_range`].
    pub fn group_len(&self) -> usize {
        match self {
            PackFormat::Raw { elements } => RAW_GROUP.min(*elements as usize),
            PackFormat::Channels(pack) => (pack.channels as usize).next_multiple_of(pack.width as usize),
            PackFormat::Weights(pack) => pack.steps() * pack.inner as usize * pack.width(),
            PackFormat::Winograd(pack) => pack.group_len(),
        }
    }

    /// Where a group lies in the packed array.
    pub fn packed_range(&self, group: usize) -> Range<usize> {
        let start = group * self.group_len();
        match self {
            PackFormat::Raw { elements } => start..(start + RAW_GROUP).min(*elements as usize),
            PackFormat::Channels(_) | PackFormat::Weights(_) | PackFormat::Winograd(_) => {
                start..start + self.group_len()
            }
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
            PackFormat::Weights(pack) => pack.source_range(group),
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
            PackFormat::Winograd(pack) => pack.source_len(),
        }
    }

    /// Packs one group: `source` is the slice of [`PackFormat::source_range`], `packed` that of
    /// [`PackFormat::packed_range`], overwritten whole.
    pub fn pack_group(&self, group: usize, source: &[f32], packed: &mut [f32]) {
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
            PackFormat::Weights(pack) => pack.pack_group(group, source, packed),
            PackFormat::Winograd(pack) => pack.pack_group(source, packed),
        }
    }

    /// Packs everything at once.
    pub fn pack(&self, source: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.packed_range(self.groups() - 1).end];
        for group in 0..self.groups() {
            self.pack_group(group, &source[self.source_range(group)], &mut packed[self.packed_range(group)]);
        }
        packed
    }

    pub fn validate(&self) -> Result<(), Illegal> {
        match self {
            PackFormat::Raw { .. } => {}
            PackFormat::Channels(pack) => {
                require!(pack.groups > 0 && pack.channels > 0 && pack.width > 0, "an empty channel pack");
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

    fn source_range(&self, group: usize) -> Range<usize> {
        let (outer, channels) = self.channels(group);
        let (last_in, last_tap) = (self.in_channels as usize - 1, self.source_taps as usize - 1);
        self.source(outer, channels.start, 0, 0)..self.source(outer, channels.end - 1, last_in, last_tap) + 1
    }

    fn pack_group(&self, group: usize, source: &[f32], packed: &mut [f32]) {
        let (outer, channels) = self.channels(group);
        let start = self.source_range(group).start;
        let (width, inner) = (self.width(), self.inner as usize);
        let mut rows = packed.chunks_exact_mut(width);
        for vector in 0..(self.in_channels as usize).div_ceil(inner) {
            for &tap in &self.taps {
                for lane in 0..inner {
                    // The packed group has exactly steps * inner rows.
                    let Some(row) = rows.next() else { return };
                    let input = vector * inner + lane;
                    if input >= self.in_channels as usize {
                        row.fill(0.0);
                        continue;
                    }
                    let first = self.source(outer, channels.start, input, tap as usize) - start;
                    let stride = self.source(0, 1, 0, 0);
                    let (values, padding) = row.split_at_mut(channels.len());
                    for (k, value) in values.iter_mut().enumerate() {
                        *value = source[first + k * stride];
                    }
                    padding.fill(0.0);
                }
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

    #[test]
    fn channels_pad_each_group() {
        let pack = ChannelPack { groups: 2, channels: 3, width: 4, broadcast: false };
        let packed = PackFormat::Channels(pack).pack(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(packed, [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
        let shared = PackFormat::Channels(ChannelPack { broadcast: true, ..pack }).pack(&[7.0]);
        assert_eq!(shared, [7.0, 7.0, 7.0, 0.0, 7.0, 7.0, 7.0, 0.0]);
    }

    #[test]
    fn raw_splits_into_groups() {
        let source: Vec<f32> = (0..RAW_GROUP + 5).map(|v| v as f32).collect();
        let format = PackFormat::Raw { elements: source.len() as u64 };
        assert_eq!(format.groups(), 2);
        assert_eq!(format.pack(&source), source);
    }
}
