//! Computes small derivations and merges scales into initialisations.
//!
//! **What.** A weight that is drawn and only read by a product with a number (or a sum) takes the number into its
//! initialisation. Parameters computed from known values alone are computed, up to 64 KiB.
//! **Before → after.** `mul(@w, 0.98)` with `@w = he_normal(…)` → `@w = he_normal(…) * 0.98`.
//! **Requires** resolved initialisations. **Leaves** larger derivations, and those on files, as nodes: they are
//! evaluated when weights are packed.

mod evaluate;
mod init_algebra;

use crate::log::Recorder;
use crate::pipeline::ParamValues;
use rectify_ir::graph::Graph;

pub(crate) fn fold_constants(graph: &mut Graph, values: ParamValues, recorder: &mut Recorder) {
    if values == ParamValues::FromSources {
        init_algebra::merge_scales(graph, recorder);
    }
    evaluate::evaluate(graph, values, recorder);
}
