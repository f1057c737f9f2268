//! Vanishing and exploding signals: where, why, and what to do.

use super::Layer;
use std::fmt;

/// Growth from the first layer with weights to the last by more than this, or less than its inverse, is no start.
const LIMIT: f64 = 100.0;

/// A signal that does not reach the end of the network, or bursts there.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// True for gradients.
    pub backward: bool,
    /// Last over first root mean square, in the signal's direction.
    pub growth: f64,
    /// Layers with weights that it went through.
    pub depth: usize,
    /// The layer whose step is the strongest, its initialisation and what that step is.
    pub layer: String,
    pub initialisation: String,
    pub step: f64,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.backward { "the gradient" } else { "the signal" };
        let does = if self.growth < 1.0 { "vanishes" } else { "explodes" };
        let per = self.growth.powf(1.0 / self.depth.max(1) as f64);
        write!(
            f,
            "{what} {does}: {:.2e} of its size is left after {} layers with weights, a factor of {per:.3} each on average; \
             the strongest step, {:.3e}, is at {}, initialised by {}",
            self.growth, self.depth, self.step, self.layer, self.initialisation
        )
    }
}

impl Warning {
    /// What to write instead.
    pub fn help(&self) -> &'static str {
        if self.backward {
            "he_normal(fan: out, gain: auto) keeps gradients at one size, he_normal(fan: in, gain: auto) keeps both within \
             the ratio of the widths"
        } else {
            "he_normal(fan: in, gain: auto) makes up for what the rectifiers take; scale a residual branch's last layer down \
             where sums grow"
        }
    }
}

pub(super) fn warnings(layers: &[Layer]) -> Vec<Warning> {
    let rms = |l: &Layer| l.predicted.as_ref().map(|p| p.rms);
    let gradient = |l: &Layer| l.predicted.as_ref().and_then(|p| p.gradient);
    let weighted: Vec<&Layer> = layers.iter().filter(|l| l.init.is_some()).collect();
    let forward = weighted.iter().filter_map(|l| Some((*l, rms(l)?))).collect();
    let backward = weighted.iter().rev().filter_map(|l| Some((*l, gradient(l)?))).collect();
    [warning(false, forward), warning(true, backward)].into_iter().flatten().collect()
}

/// `sizes` in the direction in which the signal goes.
fn warning<'l>(backward: bool, sizes: Vec<(&'l Layer, f64)>) -> Option<Warning> {
    let (first, last) = (sizes.first()?.1, sizes.last()?.1);
    let growth = last / first;
    if (1.0 / LIMIT..=LIMIT).contains(&growth) {
        return None;
    }
    // Forward the step is the later layer's doing, backward that of the layer nearer to the output.
    let blamed = |w: &[(&'l Layer, f64)]| (if backward { w[0].0 } else { w[1].0 }, w[1].1 / w[0].1);
    let steps: Vec<(&Layer, f64)> = sizes.windows(2).map(blamed).collect();
    let strength = |step: f64| if growth < 1.0 { 1.0 / step } else { step };
    let strongest = steps.iter().map(|(_, step)| strength(*step)).fold(0.0, f64::max);
    // Of steps as strong as that, one in the middle is typical: the ends may be initialised otherwise.
    let equal: Vec<_> = steps.into_iter().filter(|(_, step)| strength(*step) >= 0.999 * strongest).collect();
    let (layer, step) = *equal.get(equal.len() / 2)?;
    let initialisation = layer.init.as_ref().map(|i| i.written.to_string()).unwrap_or_default();
    Some(Warning { backward, growth, depth: sizes.len(), layer: layer.name.clone(), initialisation, step })
}
