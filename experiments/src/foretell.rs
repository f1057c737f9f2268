//! What `lint` says of each arm before any training: how large the gradients of its weights are.
//!
//! In a chain whose layers scale both signals and gradients by s, the gradient of layer l's weights has size s^(l − 1) · s^(L − l):
//! the same at every depth, and s^(L − 1) of what it is at s = 1. So one number an arm tells whether it can start.

use crate::study::Study;
use rectify::data::sets::{Augment, Loader, LoaderOptions, Normalise, Spec};
use rectify::lint::{Lint, Options};
use rectify::{Error, Model};
use std::fmt::Write as _;

/// An arm with less than this share of the first arm's gradients is said to stall.
const STALLS: f64 = 1e-3;

/// A table of the arms' predictions on a batch of the data.
pub fn foretell(study: &Study, spec: &Spec) -> Result<String, Error> {
    let train = spec.load()?.train;
    let batch = study.settings.batch.min(train.len());
    let augment = Augment { normalise: Some(Normalise::per_pixel(&train)?), ..Augment::default() };
    let images = Loader::new(train, LoaderOptions::evaluation(batch, augment))?.batch(0, 0)?.images;
    let mut text = String::from(
        "Predicted before training: root mean square of the logits, and of the signal before a layer times the gradient behind it, \
         the least of all layers, for a gradient of 1 at each logit. Below a thousandth of the first arm's an arm is said to \
         stall.\n\n| arm | logits | weights' gradient | prediction |\n|---|---|---|---|\n",
    );
    let mut first = None;
    for arm in &study.arms {
        let model = Model::parse(&arm.model)?;
        let options = Options { draws: 0, ..Options::default() };
        let report = Lint::new(&model.compiler(), &[("image", images.view())], &options)?;
        let logits = report.layers.last().and_then(|l| l.predicted.as_ref()).map_or(f64::NAN, |p| p.rms);
        let least = least_gradient(&report);
        let verdict = if least < STALLS * *first.get_or_insert(least) { "stalls" } else { "trains" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {logits:.2e} | {least:.2e} | {verdict} |", arm.name);
    }
    Ok(text)
}

/// Over layers with weights behind the first, whose input is given.
fn least_gradient(report: &Lint) -> f64 {
    let pairs = report.layers.windows(2).filter(|pair| pair[1].init.is_some());
    let sizes = pairs.filter_map(|pair| {
        let (before, at) = (pair[0].predicted.as_ref()?, pair[1].predicted.as_ref()?);
        Some(before.rms * at.gradient?)
    });
    sizes.fold(f64::INFINITY, f64::min)
}
