//! A whole study on a few drawn figures: search, comparison, tables; begun again, nothing is trained twice.

use rectify::data::sets::Spec;
use rectify::train::{Amount, Length};
use rectify_experiments::cell::Bench;
use rectify_experiments::comparison::{Comparison, compare};
use rectify_experiments::network::Depth;
use rectify_experiments::study::{self, Effort, Study};
use rectify_experiments::{foretell, report};
use std::path::{Path, PathBuf};

fn tiny(mut study: Study) -> Study {
    study.arms.truncate(2);
    study.rates = vec![0.001, 0.01];
    study.seeds = 0..2;
    study.settings.length = Length::Steps(3);
    study.settings.batch = 8;
    study.settings.validation = Amount::Count(20);
    study
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // What an earlier run left would be read instead of trained.
    let _absent = std::fs::remove_dir_all(&folder);
    folder
}

fn carry_out(study: &Study, folder: &Path, spec: &Spec) -> Comparison {
    compare(study, &Bench { spec, folder, threads: 1 }, &mut |_| ()).unwrap()
}

#[test]
fn a_study_is_carried_out_once() {
    let spec = Spec::parse("synth:shapes,n=60").unwrap();
    let study = tiny(study::depth(Depth::Plain22, Effort::Quick));
    let folder = folder("depth");
    let found = carry_out(&study, &folder, &spec);
    assert_eq!((found.grid.len(), found.rows.len()), (4, 2));
    assert!(found.rows.iter().all(|r| r.outcomes.len() == 2));
    let config = folder.join("plain22/he").join(format!("rate-{}-seed-0", found.rows[0].rate));
    let written = |file: &str| config.join(file).metadata().unwrap().modified().unwrap();
    let before = written("metrics.jsonl");
    let again = carry_out(&study, &folder, &spec);
    assert_eq!(before, written("metrics.jsonl"));
    assert_eq!(again.rows[0].losses(), found.rows[0].losses());
    // LeCun's weights draw the same normals: signals are 2^(-21 / 2) of he's.
    let foretold = foretell::foretell(&study, &spec).unwrap();
    assert!(foretold.contains("| he |") && foretold.contains("| lecun |"), "{foretold}");
    let files = report::outcomes(&study, &found);
    assert!(files[0].1.contains("| lecun | 0.0"), "{}", files[0].1);
    assert!(files[1].1.starts_with("<svg") && !files[1].1.contains("NaN"));
}

#[test]
fn learned_slopes_are_told_by_layer() {
    let spec = Spec::parse("synth:shapes,n=60").unwrap();
    let mut study = study::rectifiers(Effort::Quick);
    study.arms = study.arms.split_off(2);
    let study = tiny(study);
    let found = carry_out(&study, &folder("rectifiers"), &spec);
    let files = report::slopes(&found);
    for layer in ["| conv1 |", "| conv2_4 |", "| conv3_6 |", "| fc2 |"] {
        assert!(files[0].1.contains(layer), "{}", files[0].1);
    }
}
