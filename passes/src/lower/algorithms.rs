//! The choice among algorithms: estimates in cycles of one core, compared, and kept in the plan for people to see.
//!
//! Estimates depend on sizes and the target's constants alone, so a plan is the same on every machine of a level. The
//! constants here and in `winograd` are fitted to the layers of `benches/kernels.rs`, which lists every choice that is much
//! slower than the best.

use super::contract::{Family, TileCall};
use super::{ConvPolicy, Lower};
use rectify_ir::kernel::{Store, Tile};
use rectify_ir::plan::{Algorithm, Candidate};
use rectify_ir::target::Target;

/// Cycles a nanosecond, to show estimates as time. The choice does not depend on it.
const CYCLES_PER_NANOSECOND: f64 = 4.2;
/// Multiply-add instructions a cycle; without fused ones, half as many pairs.
const MULTIPLY_ADDS: f64 = 2.0;
/// Share of the peak that the products of a contraction reach.
pub(super) const DIRECT_SHARE: f64 = 0.97;
/// Bytes of weights a cycle from beyond the second level of cache, which hide behind products.
const WEIGHT_BYTES: f64 = 10.0;
/// Cycles for each byte that is packed: a gain must pay for its memory and for packing.
pub(super) const KEPT_CYCLES: f64 = 0.03;
/// Cycles to store a pixel lane by lane, and each of its lanes; of a dot kernel, whose sums are in memory already.
const STRIDED_CYCLES: f64 = 28.0;
const LANE_CYCLES: f64 = 4.0;
const DOT_STRIDED_CYCLES: f64 = 12.0;
/// Cycles to fold the lanes of a sum.
const FOLD_CYCLES: f64 = 12.0;

pub(super) fn over(n: i64, by: i64) -> i64 {
    (n + by - 1) / by
}

/// Multiply-adds of vectors a cycle.
pub(super) fn multiply_adds(target: &Target) -> f64 {
    if target.fma { MULTIPLY_ADDS } else { MULTIPLY_ADDS / 2.0 }
}

impl Lower<'_> {
    /// The algorithms with their cycles as candidates, the one to take first.
    pub(super) fn compare(&self, estimates: &[(Algorithm, f64)]) -> Vec<Candidate> {
        let candidate = |&(algorithm, cycles): &(Algorithm, f64)| Candidate {
            algorithm,
            nanoseconds: (cycles / CYCLES_PER_NANOSECOND) as u64,
            refusal: self.policy.refuses(algorithm).map(str::to_string),
        };
        let mut candidates: Vec<Candidate> = estimates.iter().map(candidate).collect();
        candidates.sort_by_key(|c| (c.refusal.is_some(), c.nanoseconds));
        candidates
    }

    /// Cycles of a contraction with lanes of output channels, or with lanes of input channels.
    pub(super) fn contract_cycles(&self, call: &TileCall) -> f64 {
        let Family::Contract { tile, inner, dot } = call.family else { return 0.0 };
        let view = &call.output.view;
        let pixels: i64 = call.output.pixel_axes().map(|axis| view.axes[axis].size).product();
        let (steps, outs) = (call.steps.len() as i64, call.output.channels());
        let strided = matches!(call.output.store(self.lanes), Some((Store::Strided, _)));
        let (products, store) = match dot {
            true => (self.dot_cycles(pixels, steps, outs, tile), DOT_STRIDED_CYCLES),
            false => (self.direct_cycles(pixels, steps * inner, outs, tile), strided_cycles(outs)),
        };
        call.output.groups as f64 * (products + if strided { pixels as f64 * store } else { 0.0 })
    }

    pub(super) fn direct_cycles(&self, pixels: i64, depth: i64, outs: i64, tile: Tile) -> f64 {
        let width = i64::from(tile.vectors) * self.lanes;
        let outs = over(outs, width) * width;
        let products =
            (pixels * depth * outs / self.lanes) as f64 / multiply_adds(self.target) / DIRECT_SHARE;
        products.max((4 * depth * outs) as f64 / WEIGHT_BYTES)
    }

    /// A step loads `outs` weights and an input for each pixel: two loads a cycle.
    pub(super) fn dot_cycles(&self, pixels: i64, steps: i64, outs: i64, tile: Tile) -> f64 {
        let height = i64::from(tile.pixels) as f64;
        let products = outs as f64 / multiply_adds(self.target);
        let loads = (outs as f64 / height + 1.0) / 2.0;
        let fold = outs as f64 * FOLD_CYCLES * self.lanes as f64 / 16.0;
        pixels as f64 * (steps as f64 * products.max(loads) / DIRECT_SHARE + fold)
    }
}

/// Cycles to store a pixel's channels one by one.
pub(super) fn strided_cycles(channels: i64) -> f64 {
    STRIDED_CYCLES + channels as f64 * LANE_CYCLES
}

impl ConvPolicy {
    pub(super) fn refuses(self, algorithm: Algorithm) -> Option<&'static str> {
        let winograd = matches!(algorithm, Algorithm::WinogradF2 | Algorithm::WinogradF4);
        let allowed = match self {
            ConvPolicy::Cheapest => true,
            ConvPolicy::NoWinograd => !winograd,
            ConvPolicy::Only(only) => only == algorithm,
        };
        (!allowed).then_some("forbidden by an option")
    }
}
