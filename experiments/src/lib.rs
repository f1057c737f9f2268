//! The claims of He et al. 2015 tested on small data sets. The protocol is in `docs/experiments.md`.

pub mod cell;
pub mod comparison;
pub mod foretell;
pub mod network;
pub mod plot;
pub mod report;
pub mod statistics;
pub mod study;
