//! Known answers of operators, and of element types of operators, that conformance cases lack.

use crate::encode::Attribute::{self, Int, Ints};
use crate::encode::Graph;
use rectify::{Model, Tensor};

/// ONNX's numbers of element types.
const CODES: [(&str, i64); 5] = [("f32", 1), ("u8", 2), ("i8", 3), ("i32", 6), ("i64", 7)];

/// The operator on these inputs, through compiled code. Inputs that shapes depend on are values of the compilation.
fn run(op: &str, inputs: &[Tensor], attributes: &[(&str, Attribute<'_>)]) -> Tensor {
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let mut graph = Graph::default();
    for (name, tensor) in names.iter().zip(inputs) {
        let dtype = tensor.dtype().to_string();
        let (_, code) = CODES.iter().find(|(n, _)| *n == dtype).expect("an element type");
        let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
        graph = graph.input(name, *code, &sizes.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bytes = graph.node(op, &names, "y", attributes).output("y").model();
    let model = Model::from_bytes("one.onnx", &bytes).unwrap_or_else(|e| panic!("{op}: {e}"));
    let compiled = model.compiler().threads(1).compile().unwrap_or_else(|e| panic!("{op}: {e}"));
    let given: Vec<_> = names.iter().copied().zip(inputs.iter().map(Tensor::view)).collect();
    let outputs = compiled.run(&given).unwrap_or_else(|e| panic!("{op}: {e}"));
    outputs["y"].clone()
}

fn tensor<T: rectify::Element>(shape: &[usize], values: &[T]) -> Tensor {
    Tensor::new(shape, values.to_vec()).expect("a tensor")
}

fn scalar<T: rectify::Element>(value: T) -> Tensor {
    tensor(&[], &[value])
}

#[test]
fn numbers_on_grids_of_integers() {
    let x = tensor(&[6], &[0f32, 2.0, 3.0, 1000.0, -254.0, -1000.0]);
    let y = run("QuantizeLinear", &[x, scalar(2f32), scalar(128u8)], &[]);
    assert_eq!(y, tensor(&[6], &[128u8, 129, 130, 255, 1, 0]));
    let x = tensor(&[1, 2, 2], &[0u8, 3, 128, 255]);
    let (scales, zeros) = (tensor(&[2], &[2f32, 0.5]), tensor(&[2], &[128u8, 0]));
    let y = run("DequantizeLinear", &[x, scales, zeros], &[("axis", Int(1))]);
    assert_eq!(y, tensor(&[1, 2, 2], &[-256f32, -250.0, 64.0, 127.5]));
    let x = tensor(&[6], &[0f32, 2.0, -3.0, -2.5, 1.34, 0.5]);
    assert_eq!(run("DynamicQuantizeLinear", &[x], &[]), tensor(&[6], &[153u8, 255, 0, 26, 221, 179]));
}

#[test]
fn products_of_quantized_tensors() {
    let (a, b) = (tensor(&[2, 2], &[1u8, 2, 3, 4]), tensor(&[2, 2], &[5i8, 6, 7, 8]));
    let y = run("MatMulInteger", &[a, b, scalar(1u8), scalar(0i8)], &[]);
    assert_eq!(y, tensor(&[2, 2], &[7i32, 8, 31, 36]));
    let (x, w) = (tensor(&[1, 1, 3, 3], &[2u8, 3, 4, 5, 6, 7, 8, 9, 10]), tensor(&[1, 1, 2, 2], &[1u8; 4]));
    let y = run("ConvInteger", &[x, w, scalar(1u8)], &[]);
    assert_eq!(y, tensor(&[1, 1, 2, 2], &[12i32, 16, 24, 28]));
    // (3 − 1) / 2 · (5 − 1) / 4 is one, ten steps of a tenth above the zero point.
    let grids = |a: &[usize], b: &[usize]| {
        let (x, w) = (tensor(a, &[3u8]), tensor(b, &[5u8]));
        let (of_x, of_w) = ([scalar(0.5f32), scalar(1u8)], [scalar(0.25f32), scalar(1u8)]);
        [vec![x], of_x.to_vec(), vec![w], of_w.to_vec(), vec![scalar(0.1f32), scalar(10u8)]].concat()
    };
    assert_eq!(run("QLinearMatMul", &grids(&[1, 1], &[1, 1]), &[]), tensor(&[1, 1], &[20u8]));
    let mut operands = grids(&[1, 1, 1, 1], &[1, 1, 1, 1]);
    operands.push(tensor(&[1], &[8i32]));
    assert_eq!(run("QLinearConv", &operands, &[]), tensor(&[1, 1, 1, 1], &[30u8]));
}

#[test]
fn columns_sequences_and_windows() {
    let columns = tensor(&[1, 2, 2], &[1f32, 2.0, 3.0, 4.0]);
    let y = run("Col2Im", &[columns.clone(), tensor(&[1], &[3i64]), tensor(&[1], &[2i64])], &[]);
    assert_eq!(y, tensor(&[1, 1, 3], &[1f32, 5.0, 4.0]));
    let strided = [("strides", Ints(&[2]))];
    let y = run("Col2Im", &[columns, tensor(&[1], &[5i64]), tensor(&[1], &[2i64])], &strided);
    assert_eq!(y, tensor(&[1, 1, 5], &[1f32, 3.0, 2.0, 4.0, 0.0]));
    let x = tensor(&[4, 2], &[0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let y = run("ReverseSequence", &[x, tensor(&[2], &[3i64, 1])], &[]);
    assert_eq!(y, tensor(&[4, 2], &[4f32, 1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 7.0]));
    assert_eq!(run("HannWindow", &[scalar(4i64)], &[]), tensor(&[4], &[0f32, 0.5, 1.0, 0.5]));
    assert_eq!(run("Range", &[scalar(5i64), scalar(2i64), scalar(1i64)], &[]).shape(), [0]);
}

#[test]
fn integers_where_floats_are_usual() {
    let x = || tensor(&[1, 3], &[1i32, 2, 4]);
    assert_eq!(run("ReduceMean", &[x()], &[]), tensor(&[1, 1], &[2i32]));
    assert_eq!(run("ReduceL2", &[x()], &[]), tensor(&[1, 1], &[4i32]));
    assert_eq!(run("Shrink", &[tensor(&[3], &[-2i8, 0, 3])], &[]), tensor(&[3], &[-2i8, 0, 3]));
    let (a, b) = (tensor(&[1, 2], &[1i32, 2]), tensor(&[2, 1], &[3i32, 4]));
    assert_eq!(run("Gemm", &[a, b, tensor(&[1], &[5i32])], &[]), tensor(&[1, 1], &[16i32]));
    let image = tensor(&[1, 1, 1, 2], &[0u8, 200]);
    let (scales, mode) = (tensor(&[4], &[1f32, 1.0, 1.0, 2.0]), []);
    let y = run("Resize", &[image, tensor::<f32>(&[0], &[]), scales], &mode);
    assert_eq!(y, tensor(&[1, 1, 1, 4], &[0u8, 0, 200, 200]));
}
