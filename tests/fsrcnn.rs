//! A real pretrained network against another runtime's output, where the test data are present.
//!
//! They are looked for in the folder that RECTIFY_TEST_DATA names, else beside the checkout.

use rectify::data::{self, PictureOptions, Want};
use rectify::{DType, Model, Tensor};
use std::path::{Path, PathBuf};

fn test_data() -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = || checkout.join("../shared/data");
    let folder = std::env::var_os("RECTIFY_TEST_DATA").map_or_else(beside, PathBuf::from);
    let found = folder.join("fsrcnn_x2").is_dir();
    if !found {
        eprintln!("skipped: no test data");
    }
    found.then(|| folder.join("fsrcnn_x2"))
}

fn array(path: &Path) -> Tensor {
    let want = Want { name: "any", dtype: DType::F32, shape: &[Some(1), Some(1), None, None] };
    data::read(path, &want, &PictureOptions::default()).expect("an array")
}

#[test]
fn agrees_with_the_reference_and_takes_other_sizes() {
    let Some(folder) = test_data() else { return };
    let model =
        Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fsrcnn.rect")).expect("the example");
    let compiled =
        model.compiler().weights(folder.join("weights.safetensors")).compile().expect("it compiles");
    let (input, want) = (array(&folder.join("input.npy")), array(&folder.join("expected.npy")));
    let got = compiled.run(&[("y", input.view())]).expect("it runs");
    let (got, want) = (got["image"].as_slice::<f32>().expect("f32"), want.as_slice::<f32>().expect("f32"));
    let greatest = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
    assert!(got.len() == want.len() && greatest <= 1e-4, "{greatest}");

    let odd = Tensor::new([1, 1, 97, 131], vec![0.5f32; 97 * 131]).expect("a tensor");
    let large = compiled.run(&[("y", odd.view())]).expect("it runs at another size");
    assert_eq!(large["image"].shape(), [1, 1, 194, 262]);
}
