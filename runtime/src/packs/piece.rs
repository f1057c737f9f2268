//! Packing of one piece, built for several vector widths.

use crate::build::{Build, Width};
use rectify_ir::kernel::PackFormat;

/// [`PackFormat::pack_piece`] in the widest build that this CPU runs.
pub(super) fn pack(format: &PackFormat, group: usize, piece: usize, source: &[f32], packed: &mut [f32]) {
    pack_with(Build::best(), format, group, piece, source, packed);
}

fn pack_with(
    build: Build,
    format: &PackFormat,
    group: usize,
    piece: usize,
    source: &[f32],
    packed: &mut [f32],
) {
    match build.width() {
        Width::Base => format.pack_piece(group, piece, source, packed),
        #[cfg(target_arch = "x86_64")]
        // Safety: a build of this width exists only where the features were detected.
        Width::Avx2 => unsafe { pack_avx2(format, group, piece, source, packed) },
        #[cfg(target_arch = "x86_64")]
        // Safety: as above.
        Width::Avx512 => unsafe { pack_avx512(format, group, piece, source, packed) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pack_avx2(format: &PackFormat, group: usize, piece: usize, source: &[f32], packed: &mut [f32]) {
    format.pack_piece(group, piece, source, packed);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn pack_avx512(format: &PackFormat, group: usize, piece: usize, source: &[f32], packed: &mut [f32]) {
    format.pack_piece(group, piece, source, packed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_ir::kernel::{Picked, SourceOrder, WeightPack, WinogradPack};

    /// Weights with a block of input channels and a group of output channels that are cut, in several pieces.
    fn weights(lanes: u8, taps: u32) -> PackFormat {
        PackFormat::Weights(WeightPack {
            groups: 2,
            out_channels: 45,
            in_channels: u32::from(lanes) * 2 + 3,
            source_taps: taps,
            taps: (0..taps).collect(),
            order: SourceOrder::OutInTap,
            lanes,
            vectors: (48 / lanes).min(3),
            inner: lanes,
        })
    }

    #[test]
    fn every_build_gives_the_same_bits() {
        let mut formats: Vec<PackFormat> =
            [4, 8, 16].into_iter().flat_map(|lanes| [1, 4, 9].map(|taps| weights(lanes, taps))).collect();
        for (outputs, lanes) in [(2, 16u8), (4, 16), (4, 8), (4, 4)] {
            let width = 3 * u32::from(lanes);
            let pack = WinogradPack { picked: Picked::all(40), in_channels: 21, outputs, lanes, width };
            formats.push(PackFormat::Winograd(pack));
        }
        for format in formats {
            let source: Vec<f32> = (0..format.source_len()).map(|k| (k as f32 * 0.37).sin()).collect();
            let want = format.pack(&source);
            for build in Build::available() {
                let mut got = vec![f32::NAN; want.len()];
                for group in 0..format.groups() {
                    for piece in 0..format.pieces(group) {
                        let part = &source[format.piece_source(group, piece)];
                        let packed = &mut got[format.packed_range(group)];
                        pack_with(build, &format, group, piece, part, packed);
                    }
                }
                let same = want.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{build:?} differs for {format:?}");
            }
        }
    }
}
