//! Operators whose number of results depends on data, from file to outputs of their real size.

use crate::encode::Attribute::{Int, Ints};
use crate::encode::Graph;
use rectify::{Error, Model, Tensor};

/// Boxes and scores, and a graph that has the constants 2, ½ and -1.
fn detector(most: &str) -> Graph {
    Graph::default()
        .input("boxes", 1, &["1", "B", "4"])
        .input("scores", 1, &["1", "C", "B"])
        .integers("two", &[2])
        .integers("one", &[1])
        .node("Cast", &["one"], "whole", &[("to", Int(1))])
        .node("Cast", &["two"], "twice", &[("to", Int(1))])
        .node("Div", &["whole", "twice"], "half", &[])
        .node("NonMaxSuppression", &["boxes", "scores", most, "half"], "kept", &[])
        .node("Gather", &["kept", "two"], "column", &[("axis", Int(1))])
        .node("Squeeze", &["column", "one"], "place", &[])
        .integers("zero", &[0])
        .node("Squeeze", &["boxes", "zero"], "all", &[])
        .node("Gather", &["all", "place"], "found", &[])
        .node("Shape", &["found"], "shape", &[])
        .output("kept")
        .output("found")
        .output("shape")
}

fn boxes(corners: &[[f32; 4]]) -> Tensor {
    Tensor::new([1, corners.len(), 4], corners.concat()).expect("boxes")
}

/// Two boxes that overlap, the first one with its corners exchanged, and one apart.
const THREE: [[f32; 4]; 3] = [[4.0, 4.0, 0.0, 0.0], [0.0, 1.0, 4.0, 4.0], [8.0, 8.0, 9.0, 9.0]];

#[test]
fn boxes_are_as_many_as_are_left() {
    let model = Model::from_bytes("net.onnx", &detector("two").model()).expect("a model");
    assert_eq!(model.outputs()[0].ty.to_string(), "i64[K1, 3]");
    let compiled = model.compiler().threads(1).compile().expect("code");
    let mut session = compiled.session();
    for (scores, kept) in [
        (vec![0.5f32, 0.75, 0.25], vec![0i64, 0, 1, 0, 0, 2]),
        (vec![0.5, f32::NAN, 0.25], vec![0, 0, 0, 0, 0, 2]),
        (vec![f32::NAN; 3], vec![]),
        (vec![0.5, 0.25, f32::NAN, 0.5, 0.25, 1.0], vec![0, 0, 0, 0, 1, 2, 0, 1, 0]),
    ] {
        let scores = Tensor::new([1, scores.len() / 3, 3], scores).expect("scores");
        let boxes = boxes(&THREE);
        let inputs = [("boxes", boxes.view()), ("scores", scores.view())];
        let outputs = compiled.run(&inputs).expect("a run");
        let rows = kept.len() / 3;
        assert_eq!(outputs["kept"], Tensor::new([rows, 3], kept.clone()).expect("rows"));
        let found: Vec<f32> = kept.chunks(3).flat_map(|row| THREE[row[2] as usize]).collect();
        assert_eq!(outputs["found"], Tensor::new([rows, 4], found).expect("boxes"));
        assert_eq!(outputs["shape"].as_slice::<i64>().expect("a shape"), [rows as i64, 4]);
        assert_eq!(session.run(&inputs).expect("a run"), &outputs);
        assert_eq!(compiled.reference(&inputs).expect("the meaning"), outputs);
    }
}

#[test]
fn dumps_are_models_that_run() {
    let model = Model::from_bytes("net.onnx", &detector("two").model()).expect("a model");
    let compiled = model.compiler().threads(1).compile().expect("code");
    let scores = Tensor::new([1, 1, 3], vec![0.5f32, 0.75, 0.25]).expect("scores");
    let boxes = boxes(&THREE);
    let inputs = [("boxes", boxes.view()), ("scores", scores.view())];
    let outputs = compiled.run(&inputs).expect("a run");
    for graph in [compiled.typed_graph(), compiled.graph()] {
        let text = graph.to_string();
        let read = Model::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read.graph(), graph, "{text}");
        let again = read.compiler().threads(1).compile().unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(again.run(&inputs).expect("a run"), outputs, "{text}");
    }
    let plan = compiled.plan(&[("B", 3), ("C", 1)]).expect("a plan").to_string();
    assert!(plan.contains("size K1 along axis 0") && plan.contains("suppression of corners"), "{plan}");
}

#[test]
fn the_number_of_boxes_may_be_an_input() {
    let graph = detector("most").input("most", 7, &["1"]);
    let compiled =
        Model::from_bytes("net.onnx", &graph.model()).expect("a model").compiler().compile().expect("code");
    let (boxes, scores) = (boxes(&THREE), Tensor::new([1, 1, 3], vec![0.5f32, 0.75, 0.25]).expect("scores"));
    for (most, rows) in [(-3i64, 0), (0, 0), (1, 1), (2, 2), (i64::MAX, 2)] {
        let most = Tensor::new([1], vec![most]).expect("a number");
        let inputs = [("boxes", boxes.view()), ("scores", scores.view()), ("most", most.view())];
        assert_eq!(compiled.run(&inputs).expect("a run")["kept"].shape(), [rows, 3]);
    }
}

#[test]
fn memory_of_the_caller_has_no_size() {
    let graph = Graph::default().input("x", 1, &["2", "3"]).node("NonZero", &["x"], "y", &[]).output("y");
    let compiled =
        Model::from_bytes("net.onnx", &graph.model()).expect("a model").compiler().compile().expect("code");
    let x = Tensor::new([2, 3], vec![0.0f32, 1.0, f32::NAN, -0.0, 0.0, 2.0]).expect("x");
    let y = compiled.run(&[("x", x.view())]).expect("a run");
    assert_eq!(y["y"], Tensor::new([2, 3], vec![0i64, 0, 1, 1, 2, 2]).expect("y"));
    let nothing = Tensor::new([2, 3], vec![0.0f32; 6]).expect("x");
    assert_eq!(compiled.run(&[("x", nothing.view())]).expect("a run")["y"].shape(), [2, 0]);
    let mut room = Tensor::new([2, 6], vec![0i64; 12]).expect("room");
    let told = compiled.run_into(&[("x", x.view())], &mut [("y", room.view_mut())]).expect_err("no size");
    assert!(told.to_string().contains("call `run` instead"), "{told}");
}

#[test]
fn wrong_numbers_and_uses_are_told() {
    let error = |graph: Graph| match Model::from_bytes("net.onnx", &graph.model()) {
        Err(error) => error.to_string(),
        Ok(model) => match model.compiler().size("B", 3).size("C", 1).compile() {
            Err(error @ Error::Unsupported { .. }) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it compiles"),
        },
    };
    let base = || {
        Graph::default()
            .input("boxes", 1, &["1", "B", "4"])
            .input("scores", 1, &["1", "C", "B"])
            .integers("two", &[2])
            .node("Cast", &["two"], "twice", &[("to", Int(1))])
    };
    let nms = |attributes: &[(&str, crate::encode::Attribute<'_>)], inputs: &[&str]| {
        base().node("NonMaxSuppression", inputs, "y", attributes).output("y")
    };
    let told = error(nms(&[], &["boxes", "scores", "two", "twice"]));
    assert!(told.contains("an IoU threshold of 2 is not between 0 and 1"), "{told}");
    let told = error(nms(&[("center_point_box", Int(2))], &["boxes", "scores", "two"]));
    assert!(told.contains("center_point_box is 0 or 1, not 2"), "{told}");
    let told = error(nms(&[], &["scores", "boxes", "two"]));
    assert!(told.contains("do not fit"), "{told}");
    let graph = base().node("NonZero", &["scores"], "places", &[]);
    let windows = graph
        .integers("zero", &[0])
        .node("Unsqueeze", &["places", "zero"], "image", &[])
        .node("MaxPool", &["image"], "y", &[("kernel_shape", Ints(&[1]))])
        .output("y");
    let told = error(windows);
    assert!(told.contains("the_y") && told.contains("known at run time alone"), "{told}");
    let sorted = Graph::default()
        .input("x", 1, &["4", "300"])
        .node("Unique", &["x"], "y", &[("axis", Int(0))])
        .output("y");
    let told = error(sorted);
    assert!(told.contains("slices of 300 elements cannot be ordered; up to 256 can"), "{told}");
    let long = Graph::default()
        .input("x", 1, &["4"])
        .input("c", 9, &["5"])
        .node("Compress", &["x", "c"], "y", &[("axis", Int(0))])
        .output("y");
    let told = error(long);
    assert!(told.contains("the condition has 5 elements for 4 along axis 0"), "{told}");
}
