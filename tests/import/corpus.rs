//! The corpus that files are mutated from, `tests/corpus`: small files made here, written by `RECTIFY_BLESS=1`, and replayed.

use crate::digest::digest;
use crate::encode::Attribute::{Int, Ints};
use crate::encode::Graph;
use std::path::{Path, PathBuf};

pub fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind)
}

/// Convolutions with PReLU, a residual and a head; one weight is too large to stand in the text.
pub fn network() -> Graph {
    Graph::default()
        .input("image", 1, &["N", "3", "H", "W"])
        .weight("w1", &[48, 3, 3, 3])
        .weight("b1", &[48])
        .weight("slope", &[48, 1, 1])
        .weight("w2", &[48, 1, 3, 3])
        .weight("head", &[48, 5])
        .node("Conv", &["image", "w1", "b1"], "c1", &[("pads", Ints(&[1, 1, 1, 1]))])
        .node("PRelu", &["c1", "slope"], "p1", &[])
        .node("Conv", &["p1", "w2"], "c2", &[("pads", Ints(&[1, 1, 1, 1])), ("group", Int(48))])
        .node("Add", &["p1", "c2"], "sum", &[])
        .node("Relu", &["sum"], "r", &[])
        .node("GlobalAveragePool", &["r"], "g", &[])
        .node("Flatten", &["g"], "flat", &[])
        .node("MatMul", &["flat", "head"], "scores", &[])
        .output("scores")
}

fn onnx() -> Vec<(&'static str, Vec<u8>)> {
    let shapes = Graph::default()
        .input("x", 1, &["N", "4", "H", "W"])
        .integers("zero", &[0])
        .integers("rest", &[-1])
        .node("Shape", &["x"], "shape", &[])
        .node("Gather", &["shape", "zero"], "n", &[])
        .node("Concat", &["n", "rest"], "to", &[("axis", Int(0))])
        .node("Reshape", &["x", "to"], "flat", &[])
        .node("Softmax", &["flat"], "y", &[])
        .output("y");
    let moves = Graph::default()
        .input("x", 1, &["1", "6", "8", "8"])
        .integers("split", &[2, 4])
        .integers("starts", &[1])
        .integers("ends", &[7])
        .integers("axes", &[2])
        .node("Slice", &["x", "starts", "ends", "axes"], "s", &[])
        .node("Transpose", &["s"], "t", &[("perm", Ints(&[0, 2, 3, 1]))])
        .node("MaxPool", &["x"], "m", &[("kernel_shape", Ints(&[2, 2])), ("strides", Ints(&[2, 2]))])
        .output("t")
        .output("m");
    let value = Graph::default()
        .input("x", 1, &["2", "6"])
        .input("shape", 7, &["2"])
        .node("Reshape", &["x", "shape"], "y", &[])
        .output("y");
    let samples = Graph::default()
        .input("x", 1, &["1", "4", "6", "6"])
        .input("grid", 1, &["1", "3", "3", "2"])
        .integers("sizes", &[1, 4, 9, 5])
        .weight("u", &[4, 2, 3, 3])
        .weight("scale", &[4])
        .node("GridSample", &["x", "grid"], "g", &[])
        .node("Resize", &["x", "", "", "sizes"], "r", &[])
        .node("ConvTranspose", &["x", "u"], "t", &[("strides", Ints(&[2, 2])), ("pads", Ints(&[1, 0, 0, 1]))])
        .node("InstanceNormalization", &["x", "scale", "scale"], "n", &[])
        .node("DepthToSpace", &["n"], "d", &[("blocksize", Int(2))])
        .node("AveragePool", &["x"], "a", &[("kernel_shape", Ints(&[3, 2])), ("ceil_mode", Int(1))])
        .output("g")
        .output("r")
        .output("t")
        .output("d")
        .output("a");
    let places = Graph::default()
        .input("x", 1, &["3", "8"])
        .input("i", 7, &["3", "2"])
        .integers("k", &[3])
        .integers("axis", &[1])
        .node("TopK", &["x", "k"], "top", &[])
        .node("GatherElements", &["x", "i"], "e", &[("axis", Int(1))])
        .node("ReduceMean", &["top"], "m", &[("axes", Ints(&[1]))])
        .node("Less", &["top", "m"], "c", &[])
        .node("Where", &["c", "top", "m"], "w", &[])
        .node("CumSum", &["x", "axis"], "s", &[])
        .node("ArgMax", &["s"], "p", &[("axis", Int(1)), ("keepdims", Int(0))])
        .output("e")
        .output("w")
        .output("p");
    let quantized = Graph::default()
        .input("x", 2, &["1", "3", "5", "5"])
        .input("w", 3, &["4", "3", "3", "3"])
        .input("zero", 2, &[])
        .weight("by", &[4])
        .node("ConvInteger", &["x", "w", "zero"], "c", &[("pads", Ints(&[1, 1, 1, 1]))])
        .node("DequantizeLinear", &["c", "by"], "d", &[("axis", Int(1))])
        .node("DynamicQuantizeLinear", &["d"], "y", &[])
        .output("y");
    vec![
        ("samples.onnx", samples.model()),
        ("places.onnx", places.model()),
        ("quantized.onnx", quantized.model()),
        ("network.onnx", network().model()),
        ("shapes.onnx", shapes.model()),
        ("moves.onnx", moves.model()),
        ("value.onnx", value.model()),
    ]
}

const RECT: [(&str, &str); 3] = [
    (
        "chain.rect",
        "rect 1\n\nmodel chain(x: f32[N, 3, H, W]) -> (y: f32[N, 8, H, W]) {\n    x |> for i in 1..=2 { conv(8, kernel: 3, pad: 1) as \"c{i}\" |> prelu as \"c{i}\" }\n}\n",
    ),
    (
        "blocks.rect",
        "rect 1\n\nconst SIZES = [(1, 4), (2, 8)]\n\nblock pair(x, c: int, s: int) {\n    x |> conv(c, kernel: 3, stride: s, pad: 1, bias: none) as a |> batch_norm as a |> relu\n}\n\nmodel stack(x: f32[1, 3, 16, 16]) -> (y: f32[1, 5]) {\n    x |> for (i, (s, c)) in SIZES { pair(c, s) as \"s{i}\" } |> global_avg_pool |> flatten |> dense(5) as head\n}\n",
    ),
    (
        "flat.rect",
        "rect 1 stage typed\n\nmodel flat(x: f32[N, 4]) -> (y: f32[N, 2]) {\n    param @w: f32[2, 4] = he_normal(fan: in, gain: 1)\n    let %2: f32[N, 2] = dense(%x, weight: @w)\n    let %3: f32[N, 2] = relu(%2)\n    %3\n}\n",
    ),
];

#[test]
fn the_corpus_is_what_is_made_here_and_sound() {
    let bless = std::env::var_os("RECTIFY_BLESS").is_some();
    let rect = RECT.map(|(name, text)| (name, text.as_bytes().to_vec()));
    for (kind, files) in [("onnx", onnx()), ("rect", rect.to_vec())] {
        for (name, bytes) in files {
            let path = folder(kind).join(name);
            if bless {
                std::fs::write(&path, &bytes).unwrap();
            }
            assert!(
                std::fs::read(&path).unwrap() == bytes,
                "{name} is an old one: RECTIFY_BLESS=1 writes it anew"
            );
            rectify::Model::from_bytes(name, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

/// All files of the corpus; a file that once broke something belongs there too.
#[test]
fn the_corpus_is_digested() {
    for kind in ["onnx", "rect"] {
        for entry in std::fs::read_dir(folder(kind)).unwrap() {
            let path = entry.unwrap().path();
            digest(kind, &std::fs::read(path).unwrap());
        }
    }
}
