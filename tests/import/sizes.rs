//! Symbolic sizes that fit only where they are multiples of the strides.

use crate::encode::Attribute::Ints;
use crate::encode::Graph;
use rectify::{Model, Tensor};

/// Down by four, up by four, and joined with what went in.
fn joined(up: i64) -> Vec<u8> {
    let half = [("pads", Ints(&[1, 1, 1, 1])), ("strides", Ints(&[2, 2]))];
    let step: &'static [i64] = if up == 4 { &[4, 4] } else { &[3, 3] };
    Graph::default()
        .input("x", 1, &["N", "3", "H", "W"])
        .weight("w", &[3, 3, 3, 3])
        .weight("u", &[3, 3, up, up])
        .node("Conv", &["x", "w"], "a", &half)
        .node("Conv", &["a", "w"], "b", &half)
        .node("ConvTranspose", &["b", "u"], "c", &[("strides", Ints(step))])
        .node("Add", &["x", "c"], "y", &[])
        .output("y")
        .model()
}

#[test]
fn strides_become_facts() {
    let model = Model::from_bytes("joined.onnx", &joined(4)).expect("sizes that four divides");
    let compiled = model.compiler().threads(1).compile().expect("a model");
    let run = |h: usize, w: usize| {
        let x = Tensor::new([1, 3, h, w], vec![0.5f32; 3 * h * w]).expect("an input");
        compiled.run(&[("x", x.view())])
    };
    assert_eq!(run(8, 12).expect("multiples of four")["y"].shape(), [1, 3, 8, 12]);
    let refused = run(10, 12).expect_err("10 is no multiple of four").to_string();
    assert!(refused.contains("H % 4 == 0") && refused.contains("8 or 12"), "{refused}");
}

#[test]
fn what_never_fits_is_told_as_it_is() {
    let error = Model::from_bytes("joined.onnx", &joined(3)).expect_err("shapes do not fit").to_string();
    assert!(error.contains("cannot broadcast") && error.contains("H"), "{error}");
}
