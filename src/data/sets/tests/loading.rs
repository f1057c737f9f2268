//! Drawn shapes, splits, order, augmentation and prefetch.

use super::super::*;
#[cfg(feature = "image")]
use super::{folder, picture};

fn shapes(text: &str) -> Sets {
    Spec::parse(text).unwrap().load().unwrap()
}

fn hash(values: impl IntoIterator<Item = u8>) -> u64 {
    values.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

fn bytes_of(set: &Dataset, index: usize) -> impl Iterator<Item = u8> {
    set.image(index).unwrap().values.into_iter().map(|v| (v * 255.0).round() as u8)
}

#[test]
fn shapes_are_balanced_and_the_same_everywhere() {
    let sets = shapes("synth:shapes,n=200");
    let test = sets.test.unwrap();
    assert_eq!((sets.train.class_counts(), test.class_counts()), (vec![20; 10], vec![4; 10]));
    let images =
        (0..20).flat_map(|i| bytes_of(&sets.train, i)).chain((0..10).flat_map(|i| bytes_of(&test, i)));
    // A change of this number changes the meaning of every figure that was measured on the set.
    assert_eq!(hash(images), 5_792_291_738_869_667_897);
    // More images and another seed.
    let more = shapes("synth:shapes,n=300").train;
    assert!((0..200).all(|i| more.image(i).unwrap() == sets.train.image(i).unwrap()));
    let other = shapes("synth:shapes,n=200,seed=1").train;
    assert!((0..200).all(|i| other.image(i).unwrap() != sets.train.image(i).unwrap()));
    assert_eq!(shapes("synth:shapes,n=20,size=48,noise=0").train.shape(), [1, 48, 48]);
}

/// Label by the greatest of ten weighted sums of pixels, trained by gradient descent: place, angle and contrast leave it
/// little to go by.
#[test]
fn a_linear_classifier_does_poorly_on_shapes() {
    let sets = shapes("synth:shapes,n=2000");
    let input = |set: &Dataset, i| -> Vec<f64> {
        let values = set.image(i).unwrap().values;
        values.into_iter().map(|v| f64::from(v) - 0.5).chain([1.0]).collect()
    };
    let mut weights = vec![vec![0f64; 785]; 10];
    let scores = |weights: &[Vec<f64>], x: &[f64]| -> Vec<f64> {
        weights.iter().map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    };
    let accuracy = |weights: &[Vec<f64>], set: &Dataset| {
        let right = (0..set.len()).filter(|&i| {
            let scores = scores(weights, &input(set, i));
            (0..10).max_by(|&a, &b| scores[a].total_cmp(&scores[b])) == Some(set.label(i) as usize)
        });
        right.count() as f64 / set.len() as f64
    };
    for step in 0..20_000 {
        let i = step * 7 % sets.train.len();
        let x = input(&sets.train, i);
        let powers: Vec<f64> = scores(&weights, &x).into_iter().map(f64::exp).collect();
        let sum: f64 = powers.iter().sum();
        for (class, w) in weights.iter_mut().enumerate() {
            let error = powers[class] / sum - f64::from(class == sets.train.label(i) as usize);
            w.iter_mut().zip(&x).for_each(|(w, x)| *w -= 0.003 * error * x);
        }
    }
    let (train, test) = (accuracy(&weights, &sets.train), accuracy(&weights, &sets.test.unwrap()));
    // It has learned something, if mostly by heart.
    assert!(train > 0.2 && test < 0.4, "{train} of the training images and {test} of the others");
}

#[test]
fn splits_depend_on_the_seed_alone() {
    let set = shapes("synth:shapes,n=100").train;
    let (rest, cut) = set.split(30, 5).unwrap();
    assert_eq!((rest.len(), cut.len()), (70, 30));
    let mut all = [&rest.samples[..], &cut.samples[..]].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(set.split(30, 5).unwrap().1.samples, cut.samples);
    assert_ne!(set.split(30, 6).unwrap().1.samples, cut.samples);
    assert_eq!(cut.label(3), cut.samples[3] % 10);
    // A part of a part keeps its images.
    let (_, part) = cut.split(10, 1).unwrap();
    assert!(part.samples.iter().all(|s| cut.samples.contains(s)));
    let message = set.split(100, 5).unwrap_err().message;
    assert_eq!(message, "cannot cut 100 samples off 100: one must be on each side");
    assert!(set.split(0, 5).is_err());
}

fn everything(set: &Dataset) -> Augment {
    Augment {
        jitter: Some(ScaleJitter { shortest: 28, longest: 40 }),
        crop: Some(PaddedCrop { border: 3 }),
        flip: true,
        colour: Some(ColourJitter { brightness: 0.2, contrast: 0.2, saturation: 0.2 }),
        normalise: Some(Normalise::per_pixel(set).unwrap()),
    }
}

#[test]
fn batches_depend_on_seed_epoch_and_index_alone() {
    let set = shapes("synth:shapes,n=100").train;
    let options = LoaderOptions { batch: 16, seed: 3, augment: everything(&set), ..LoaderOptions::default() };
    let loader = |prefetch| Loader::new(set.clone(), LoaderOptions { prefetch, ..options.clone() }).unwrap();
    let per_epoch = loader(0).batches_per_epoch();
    assert_eq!(per_epoch, 6);
    let plain: Vec<Batch> = loader(0).resume(0, 0).take(14).map(Result::unwrap).collect();
    for (i, batch) in plain.iter().enumerate() {
        assert_eq!((batch.epoch, batch.index), ((i / 6) as u64, i % 6));
    }
    for prefetch in [1, 2, 5] {
        let ahead: Vec<Batch> = loader(prefetch).resume(0, 0).take(14).map(Result::unwrap).collect();
        assert!(ahead == plain, "{prefetch} ahead");
        let resumed: Vec<Batch> = loader(prefetch).resume(1, 4).take(4).map(Result::unwrap).collect();
        assert!(resumed == plain[10..], "resumed, {prefetch} ahead");
        let second: Vec<Batch> = loader(prefetch).epoch(1).map(Result::unwrap).collect();
        assert!(second == plain[6..12], "one epoch, {prefetch} ahead");
    }
    // From four threads at once, backwards.
    let shared = loader(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (shared, plain) = (&shared, &plain);
            scope.spawn(move || {
                for i in (thread..14).step_by(4).rev() {
                    assert!(shared.batch((i / 6) as u64, i % 6).unwrap() == plain[i]);
                }
            });
        }
    });
    assert_ne!(plain[0].labels, plain[6].labels);
    let other = Loader::new(set.clone(), LoaderOptions { seed: 4, ..options.clone() }).unwrap();
    assert_ne!(other.batch(0, 0).unwrap().labels, plain[0].labels);
    // Augmentation belongs to the sample, not to its place in the order.
    let ordered = Loader::new(set.clone(), LoaderOptions { shuffle: false, batch: 100, ..options }).unwrap();
    let all = ordered.batch(0, 0).unwrap();
    let (all, first) = (all.images.as_slice::<f32>().unwrap(), plain[0].images.as_slice::<f32>().unwrap());
    assert!(first.chunks(784).all(|image| all.chunks(784).any(|other| other == image)));
}

#[test]
fn evaluation_sees_every_image_once() {
    let set = shapes("synth:shapes,n=50").train;
    let loader = Loader::new(set.clone(), LoaderOptions::evaluation(16, Augment::default())).unwrap();
    let batches: Vec<Batch> = loader.epoch(0).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|b| b.images.shape()[0]).collect::<Vec<_>>(), [16, 16, 16, 2]);
    let values: Vec<f32> =
        batches.iter().flat_map(|b| b.images.as_slice::<f32>().unwrap().to_vec()).collect();
    let want: Vec<f32> = (0..50).flat_map(|i| set.image(i).unwrap().values).collect();
    assert_eq!(values, want);
    let labels: Vec<u32> =
        batches.iter().flat_map(|b| b.labels.as_slice::<u32>().unwrap().to_vec()).collect();
    assert_eq!(labels, (0..50).map(|i| i % 10).collect::<Vec<_>>());
}

#[test]
fn loaders_refuse_what_cannot_work() {
    let set = shapes("synth:shapes,n=50").train;
    let check = |options: LoaderOptions, want: &str| {
        assert_eq!(Loader::new(set.clone(), options).unwrap_err().message, want);
    };
    let plain = LoaderOptions { batch: 10, ..LoaderOptions::default() };
    check(LoaderOptions { batch: 0, ..plain.clone() }, "batches of 0 from 50 images");
    check(LoaderOptions { batch: 51, ..plain.clone() }, "batches of 51 from 50 images");
    check(LoaderOptions { prefetch: 65, ..plain.clone() }, "65 batches ahead are more than 64");
    let augment = |augment| LoaderOptions { augment, ..plain.clone() };
    let none = Augment::default;
    check(
        augment(Augment { jitter: Some(ScaleJitter { shortest: 20, longest: 40 }), ..none() }),
        "scale jitter of 20 to 40 pixels: it begins at 28 or later, and ends before 4096",
    );
    check(
        augment(Augment { crop: Some(PaddedCrop { border: 28 }), ..none() }),
        "a border of 28 pixels is as large as the image, 28 x 28",
    );
    let colour = ColourJitter { brightness: 0.0, contrast: 1.5, saturation: 0.0 };
    check(augment(Augment { colour: Some(colour), ..none() }), "colour jitter has strengths of 0 to 1");
    let normalise = |mean, std| augment(Augment { normalise: Some(Normalise { mean, std }), ..none() });
    check(
        normalise(vec![0.0; 3], vec![1.0]),
        "normalisation has 3 means and 1 deviations; images of 1 x 28 x 28 take 1 or 784 and 1",
    );
    check(normalise(vec![0.0], vec![0.0]), "normalisation needs finite means and positive deviations");
}

/// Values that are read only when a batch is made fail there, in order, and end the batches.
#[cfg(feature = "image")]
#[test]
fn errors_come_through_the_thread() {
    let folder = folder("late");
    for name in ["a/1.png", "a/2.png", "b/1.png"] {
        picture(&folder.join(name), 4, 4, 0.5);
    }
    let set = Spec::parse(&format!("folder:{}", folder.display())).unwrap().load().unwrap().train;
    std::fs::write(folder.join("b/1.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    for prefetch in [0, 2] {
        let options = LoaderOptions { prefetch, ..LoaderOptions::evaluation(1, Augment::default()) };
        let mut batches = Loader::new(set.clone(), options).unwrap().resume(0, 0);
        assert!(batches.next().unwrap().is_ok() && batches.next().unwrap().is_ok());
        let error = batches.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("1.png: not a readable picture"), "{error}");
        assert!(batches.next().is_none());
    }
}
