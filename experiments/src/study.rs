//! What is compared with what: arms, learning rates, seeds, lengths. `docs/experiments.md` gives the reasons.

use crate::network::{Depth, Init, Rectifier, small14};
use rectify::train::{
    Amount, Augmentation, Length, Loss, Method, Normalisation, Optimiser, Schedule, Settings,
};
use std::ops::Range;

/// One side of a comparison.
#[derive(Clone, Debug)]
pub struct Arm {
    pub name: String,
    /// A text of the language.
    pub model: String,
}

/// A comparison of arms. Each is first trained at every rate on seeds of their own, then at its best rate on the others.
#[derive(Clone, Debug)]
pub struct Study {
    pub name: String,
    /// The first is what the others are compared with.
    pub arms: Vec<Arm>,
    pub rates: Vec<f64>,
    pub search: Range<u64>,
    pub seeds: Range<u64>,
    /// All but the rate.
    pub settings: Settings,
}

/// How much is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    Full,
    /// Fewer seeds and shorter runs: within half an hour on two cores, to see that all is in order.
    Quick,
}

impl Effort {
    fn of<T>(self, full: T, quick: T) -> T {
        match self {
            Effort::Full => full,
            Effort::Quick => quick,
        }
    }

    /// Seeds of the search and of the comparison have nothing in common.
    fn seeds(self) -> (Range<u64>, Range<u64>) {
        (1000..1000 + self.of(3, 1), 0..self.of(10, 3))
    }
}

/// (a) Do plain deep networks leave chance level, by initialisation?
pub fn depth(depth: Depth, effort: Effort) -> Study {
    let (search, seeds) = effort.seeds();
    let arm = |init: Init| Arm { name: init.name().into(), model: depth.model(init) };
    let settings =
        Settings { length: Length::Steps(effort.of(400, 120)), schedule: Schedule::Constant, ..settings() };
    Study {
        name: depth.name().into(),
        arms: Init::ALL.map(arm).into(),
        rates: vec![0.003, 0.01, 0.03],
        search,
        seeds,
        settings,
    }
}

/// (b) Does a learned slope pay? (c) Which slopes are learned, by depth?
pub fn rectifiers(effort: Effort) -> Study {
    let (search, seeds) = effort.seeds();
    let arm = |r: Rectifier| Arm { name: r.name().into(), model: small14(r) };
    let settings = Settings {
        length: Length::Steps(effort.of(1200, 250)),
        schedule: Schedule::Cosine { end: 0.0 },
        warmup: 50,
        augmentation: Augmentation { flip: true, crop: 2, ..settings().augmentation },
        ..settings()
    };
    Study {
        name: "rectifiers".into(),
        arms: Rectifier::ALL.map(arm).into(),
        rates: vec![0.01, 0.03, 0.1],
        search,
        seeds,
        settings,
    }
}

/// The paper's method: batches of 128, momentum 0.9 in Caffe's form, weight decay 0.0005 but not on slopes.
fn settings() -> Settings {
    let optimiser = Optimiser::CaffeMomentum { momentum: 0.9, decay: 5e-4 };
    Settings {
        batch: 128,
        validation: Amount::Count(5000),
        method: Method::new(Loss::CrossEntropy { smoothing: 0.0 }, optimiser),
        augmentation: Augmentation { normalise: Normalisation::Pixel, ..Augmentation::default() },
        signals: false,
        test: false,
        ..Settings::default()
    }
}
