//! ONNX's backend tests through compiled code, and models whose shapes depend on values of inputs.
//!
//! The cases lie outside of the repository: in `$RECTIFY_TEST_DATA`, or in `../shared/data` beside the checkout. Without
//! them the tests say so and pass.
#![cfg(feature = "onnx")]

use rectify::conform::{self, Options, Outcome, Totals};
use rectify::{Error, Model, Tensor};
use std::path::{Path, PathBuf};

fn data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let root = std::env::var_os("RECTIFY_TEST_DATA").map_or(beside, PathBuf::from);
    let folder = root.join("conformance").join(folder);
    if !folder.is_dir() {
        println!("skipped: no test data");
        return None;
    }
    Some(folder)
}

/// None may fail; at most `unsupported` may ask for something that there is not.
fn check(folder: &str, unsupported: usize) {
    let Some(folder) = data(folder) else { return };
    let cases = conform::find(&folder).unwrap();
    assert!(!cases.is_empty());
    let outcomes = conform::run_all(&cases, &Options { target: None, parallel: 2 }, &|| ()).unwrap();
    for (case, outcome) in cases.iter().zip(&outcomes) {
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed(failure) => println!("failed {}: {}", case.folder.display(), failure.message),
            Outcome::Unsupported(reason) => println!("unsupported {}: {reason}", case.folder.display()),
        }
    }
    let totals = Totals::of(&outcomes);
    println!("{}: {totals}", folder.display());
    assert_eq!(totals.failed, 0);
    assert!(totals.unsupported <= unsupported);
}

#[test]
fn operators() {
    check("onnx-node", 135);
}

#[test]
fn more_operators() {
    check("onnx-extra", 1);
}

#[test]
fn exported_layers() {
    check("pytorch", 7);
}

#[test]
fn real_networks() {
    check("real", 0);
}

/// A `Reshape` whose shape is an input: every shape is a compilation of its own, and a session may change between them.
#[test]
fn shapes_from_values() {
    let Some(folder) = data("onnx-node/test_reshape_zero_dim") else { return };
    let model = Model::open(folder.join("model.onnx")).unwrap();
    assert_eq!(model.value_inputs(), ["shape"]);
    let x = Tensor::new([2, 3, 4], (0..24).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let shapes = [[2i64, 3, 2, 2], [6, 1, 2, 2], [1, 1, 1, 24]];
    let compiled = model.compiler().threads(1).compile().unwrap();
    let mut session = compiled.session();
    for sizes in shapes.iter().chain(&shapes[..1]) {
        let shape = Tensor::new([4], sizes.to_vec()).unwrap();
        let inputs = [("shape", shape.view()), ("data", x.view())];
        let want: Vec<usize> = sizes.iter().map(|s| *s as usize).collect();
        let outputs = compiled.run(&inputs).unwrap();
        assert_eq!(outputs[0].shape(), want);
        assert_eq!(outputs[0].as_slice::<f32>().unwrap(), x.as_slice::<f32>().unwrap());
        assert_eq!(session.run(&inputs).unwrap(), &outputs);
        // Put into the model, the value is no input any more.
        let bound = model.with_values(&inputs).unwrap();
        assert_eq!(bound.inputs().len(), 1);
        assert_eq!(bound.outputs()[0].sizes(), want.iter().map(|n| Some(*n)).collect::<Vec<_>>());
    }
    let wrong = Tensor::new([4], vec![5i64, 1, 1, 1]).unwrap();
    assert!(compiled.run(&[("shape", wrong.view()), ("data", x.view())]).is_err());
    let error = model.compiler().optimize(None).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Option { .. }), "{error}");
}

/// A parameter of another type that is an output keeps its type.
#[test]
fn outputs_have_their_own_types() {
    let x = Tensor::new([3], vec![0.5f32; 3]).unwrap();
    let run = |dtype: &str| {
        let text = format!(
            "rect 1\nmodel m(x: f32[3]) -> (y: f32[3], z: {dtype}[3]) {{\n    param p: {dtype}[3] = constant(1)\n    (x, p)\n}}"
        );
        let model = Model::parse(&text).unwrap();
        model.compiler().threads(1).compile().and_then(|compiled| compiled.run(&[("x", x.view())]))
    };
    let outputs = run("bool").unwrap();
    assert_eq!(outputs["z"].as_slice::<bool>().unwrap(), [true; 3]);
    assert_eq!(outputs["y"].as_slice::<f32>().unwrap(), [0.5; 3]);
    let outputs = run("i64").unwrap();
    assert_eq!(outputs["z"].as_slice::<i64>().unwrap(), [1; 3]);
    assert_eq!(outputs["y"].as_slice::<f32>().unwrap(), [0.5; 3]);
}
