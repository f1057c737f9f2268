//! The page is well-formed, shows every line that there is data for, and escapes what it is told.

use super::*;
use crate::train::{Quality, Signal, Slopes};

const CLASSES: Loss = Loss::CrossEntropy { smoothing: 0.0 };

fn epoch(epoch: u64, layers: usize) -> Record {
    let x = epoch as f64;
    let slope = |i: usize| Slopes {
        parameter: format!("conv{i}.slope").into(),
        mean: 0.25 - 0.01 * x * i as f64,
        least: -0.1,
        greatest: 0.6,
    };
    let signal =
        |i: usize| Signal { layer: format!("conv{i}").into(), activation: 1.0 / (1.0 + x), gradient: 1e-5 };
    let quality = Quality { loss: 2.0 / (1.0 + x), error: 0.9 / (1.0 + x) };
    Record::Epoch(Box::new(EpochRecord {
        epoch,
        step: 10 * epoch,
        rate: 0.1,
        train: (epoch > 0).then_some(quality),
        validation: Some(quality),
        best: epoch > 0,
        slopes: (0..layers).map(slope).collect(),
        signals: (0..layers).map(signal).collect(),
        seconds: x,
    }))
}

fn records(layers: usize) -> Vec<Record> {
    let steps = |i: u64| Record::Steps {
        step: i,
        epoch: i as f64 / 10.0,
        rate: 0.1,
        loss: 2.3 - 0.1 * i as f64,
        error: 0.5,
        gradient_norm: Some(3.0),
        seconds: 0.0,
    };
    let mut all = vec![epoch(0, layers)];
    all.extend((1..=10).map(steps));
    all.extend([epoch(1, layers), epoch(2, layers)]);
    all.push(Record::Test { images: 40, loss: 0.1, error: 0.05, top5_error: Some(0.0) });
    all
}

/// Every tag that is opened is closed in order.
fn balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = &page[page.find("<body>").unwrap()..page.find("</body>").unwrap() + 7];
    for tag in body.split('<').skip(1).map(|t| t.split('>').next().unwrap()) {
        let name = tag.split_whitespace().next().unwrap();
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_shows_every_curve() {
    for (layers, charts) in [(0, 4), (3, 7), (30, 7)] {
        let page = report("shapes & <more>", &[("data".into(), "a<b".into())], CLASSES, &records(layers));
        balanced(&page);
        assert_eq!(page.matches("<figure>").count(), charts, "{layers}");
        assert!(
            page.contains("shapes &amp; &lt;more&gt;") && page.contains("a&lt;b") && !page.contains("a<b")
        );
        assert!(page.contains("error 5.00 %, top-5 error 0.00 %"));
        for name in ["Loss", "Error", "Learning rate"] {
            assert!(page.contains(&format!(">{name}</text>")), "{name}");
        }
        assert_eq!(
            page.matches(&format!(">conv{}</text>", layers.saturating_sub(1))).count(),
            if layers > 0 { 3 } else { 0 }
        );
        // Nothing from elsewhere, and no number that is none.
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count()
        );
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }
}

#[test]
fn a_run_that_stopped_says_so() {
    let page = report(
        "run",
        &[],
        CLASSES,
        &[Record::Stopped { step: 7, message: "the loss is not a number".into() }],
    );
    balanced(&page);
    assert!(page.contains("Stopped at step 7: the loss is not a number"));
}
