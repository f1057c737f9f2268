//! Views of known images, and windows that agree with crops.

use super::views::{starts, ten};
use super::*;
use crate::Model;
use crate::data::sets::Spec;

/// Pooling of maps without padding before it, so that a window of the maps is the maps of a window.
const PYRAMID: &str = "model net(image: f32[N, 1, 12, 12]) -> (logits: f32[N, 10]) {
    image |> conv(6, kernel: 2, stride: 2) as a |> prelu as a |> spp(bins: [3, 1]) |> flatten |> dense(10) as head
}";

fn numbered(height: usize, width: usize) -> Image {
    let values = (0..height * width).map(|i| i as f32).collect();
    Image { channels: 1, height, width, values }
}

fn probabilities(text: &str, views: Views, image: &Image) -> Vec<f64> {
    let model = Model::parse(text).unwrap();
    let mut evaluator = Evaluator::new(views, [1, 12, 12]);
    evaluator.add(&model.compiler().seed(3).threads(1), None).unwrap();
    evaluator.probabilities(std::slice::from_ref(image)).unwrap()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?}\n{b:?}");
}

#[test]
fn ten_views_are_corners_middle_and_mirror_images() {
    let views = ten(&numbered(4, 6), 4, 2, 2);
    let firsts: Vec<f32> = views.iter().skip(1).step_by(2).map(|v| v.values[0]).collect();
    assert_eq!(firsts, [0.0, 4.0, 12.0, 16.0, 8.0]);
    assert!(views.chunks(2).all(|pair| pair[0] == pair[1].clone().flip()));
    assert_eq!(starts(10, 4, 4), [0, 4, 6]);
    assert_eq!((starts(4, 4, 1), starts(7, 4, 1)), (vec![0], vec![0, 1, 2, 3]));
}

#[test]
fn windows_of_maps_are_maps_of_windows() {
    let image = Spec::parse("synth:shapes,n=10,size=16").unwrap().load().unwrap().train.image(3).unwrap();
    let single = |top: isize, left: isize, mirrored: bool| {
        let cut = if mirrored { image.clone().flip() } else { image.clone() };
        probabilities(PYRAMID, Views::Single, &cut.crop(top, left, 12, 12))
    };
    // Maps of 8 x 8 have windows of 6 x 6 at 0, 1 and 2, which are 0, 2 and 4 pixels in the image.
    let mut want = vec![0.0; 10];
    for mirrored in [false, true] {
        for (top, left) in (0..9).map(|i| (i / 3 * 2, i % 3 * 2)) {
            want.iter_mut().zip(single(top, left, mirrored)).for_each(|(w, p)| *w += p / 18.0);
        }
    }
    close(&probabilities(PYRAMID, Views::Dense { sides: vec![16], stride: 1 }, &image), &want);
    // Several sizes count alike.
    let dense =
        |sides: &[usize]| probabilities(PYRAMID, Views::Dense { sides: sides.to_vec(), stride: 1 }, &image);
    let (small, large, both) = (dense(&[16]), dense(&[24]), dense(&[16, 24]));
    let mean: Vec<f64> = small.iter().zip(&large).map(|(a, b)| (a + b) / 2.0).collect();
    close(&both, &mean);
    assert!((both.iter().sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn an_ensemble_is_the_mean_of_its_models() {
    let model = Model::parse(PYRAMID).unwrap();
    let image = numbered(12, 12);
    let of = |seeds: &[u64]| {
        let mut evaluator = Evaluator::new(Views::Single, [1, 12, 12]);
        for seed in seeds {
            let normalise = Normalise { mean: vec![70.0], std: vec![40.0] };
            evaluator.add(&model.compiler().seed(*seed).threads(1), Some(normalise)).unwrap();
        }
        assert_eq!(evaluator.members(), seeds.len());
        evaluator.probabilities(std::slice::from_ref(&image)).unwrap()
    };
    let (one, two, both) = (of(&[1]), of(&[2]), of(&[1, 2]));
    let mean: Vec<f64> = one.iter().zip(&two).map(|(a, b)| (a + b) / 2.0).collect();
    close(&both, &mean);
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |text: &str, views: Views, shape: [usize; 3]| {
        let model = Model::parse(text).unwrap();
        let mut evaluator = Evaluator::new(views, shape);
        evaluator.add(&model.compiler(), None).unwrap_err().to_string()
    };
    let case = |got: String, want: &str| assert!(got.contains(want), "{got}\ndoes not say\n{want}");
    case(refused(PYRAMID, Views::Single, [3, 12, 12]), "takes images of 1 channels, but the set's have 3");
    case(refused(PYRAMID, Views::Ten { side: 11 }, [1, 12, 12]), "a side of 12 or more, not 11");
    let dense = Views::Dense { sides: vec![16], stride: 1 };
    let flat = PYRAMID.replace("|> spp(bins: [3, 1])", "");
    case(refused(&flat, dense.clone(), [1, 12, 12]), "one spatial pyramid pooling");
    let around = "model net(image: f32[N, 1, 12, 12]) -> (logits: f32[N, 10]) {
        let maps = image |> conv(6, kernel: 3, pad: 1) as a
        (maps |> spp(bins: [2]) |> flatten |> dense(10) as b) + (maps |> global_avg_pool |> flatten |> dense(10) as c)
    }";
    case(refused(around, dense, [1, 12, 12]), "nothing around it");
    case(
        refused(
            "model m(x: f32[N, 4]) -> (y: f32[N, 10]) { x |> dense(10) as a }",
            Views::Single,
            [1, 12, 12],
        ),
        "not images",
    );
    let map = "model m(x: f32[N, 1, 12, 12]) -> (y: f32[N, 1, 12, 12]) { x |> relu }";
    case(refused(map, Views::Single, [1, 12, 12]), "not logits of the shape [N, K]");
    let set = Spec::parse("synth:shapes,n=20,size=12").unwrap().load().unwrap().train;
    let seven = Model::parse(&PYRAMID.replace("dense(10)", "dense(7)").replace("N, 10]", "N, 7]")).unwrap();
    let mut evaluator = Evaluator::new(Views::Single, [1, 12, 12]);
    evaluator.add(&seven.compiler(), None).unwrap();
    case(
        evaluator.score(&set, 10, &mut |_| {}).unwrap_err().to_string(),
        "the model has 7 classes, but the data set has 10",
    );
    let ten = Model::parse(PYRAMID).unwrap();
    case(
        evaluator.add(&ten.compiler(), None).unwrap_err().to_string(),
        "has 10 classes, but the model before has 7",
    );
}
