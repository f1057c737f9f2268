//! Known answers of every operation.

use super::*;
use crate::graph::{EpStep, Epilogue, Output, Provenance};
use crate::op::table::OPS;
use crate::op::{Binary, Unary};
use crate::scalar::Scalar;
use crate::shape::infer;
use crate::test_util::{facts, op, ty};
use std::collections::BTreeSet;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Values of one operand: a shape, and the elements.
type Given = (&'static [usize], &'static [f64]);

/// One known answer: operation, attributes, operands, elements of all results.
type Case = (&'static str, &'static str, &'static [Given], &'static [f64]);

fn tensor<T: Float>((shape, values): &Given) -> Tensor<T> {
    Tensor::new(*shape, values.iter().map(|v| T::from_f64(*v)).collect::<Vec<_>>()).unwrap()
}

fn result<T: Float>((name, attrs, operands, _): &Case) -> Vec<f64> {
    let tensors: Vec<Tensor<T>> = operands.iter().map(tensor).collect();
    let floats: Vec<_> = tensors.iter().map(|t| TensorType::f32(dims(&t.shape))).collect();
    // Operands that are no floats are given as such and converted.
    let types: Vec<_> = floats
        .iter()
        .enumerate()
        .map(|(i, t)| TensorType::new(operand_dtype(name, i), t.shape.clone()))
        .collect();
    let types: Vec<_> = types.iter().collect();
    let mut g = Graph::new("case");
    let values: Vec<_> =
        floats.iter().enumerate().map(|(i, t)| g.add_input(i.to_string(), t.clone())).collect();
    let values: Vec<_> = std::iter::zip(values, &types)
        .map(|(v, t)| if t.dtype == DType::F32 { v } else { g.push(Op::Cast { to: t.dtype }, &[v]).unwrap() })
        .collect();
    let op = op(name, attrs, &types);
    infer(&op, &types, &facts()).unwrap();
    let results = g.push_multi(op, &values, None).unwrap();
    for (i, value) in results.into_iter().enumerate() {
        g.outputs.push(Output { name: i.to_string().into(), value });
    }
    let inputs = tensors.into_iter().enumerate().map(|(i, t)| (i.to_string(), t)).collect();
    let outputs = eval(&g, &inputs, &mut |_, _| Err("none".into())).unwrap();
    outputs.values().flat_map(|t| t.to_f64()).collect()
}

fn operand_dtype(name: &str, operand: usize) -> DType {
    match (name, operand) {
        ("not" | "and" | "or" | "xor", _) | ("select", 0) => DType::Bool,
        ("gather" | "gather_elements" | "gather_nd" | "scatter_elements" | "scatter_nd" | "cut", 1)
        | ("non_max_suppression", 2 | 3)
        | ("shift_left" | "shift_right", _) => DType::I64,
        _ => DType::F32,
    }
}

fn dims(shape: &[usize]) -> Vec<crate::Dim> {
    shape.iter().map(|d| (*d as i64).into()).collect()
}

fn close(got: &[f64], want: &[f64], tolerance: f64) -> bool {
    got.len() == want.len()
        && got.iter().zip(want).all(|(g, w)| {
            (g.is_nan() && w.is_nan()) || g == w || (g - w).abs() <= tolerance * w.abs().max(1.0)
        })
}

const V: Given = (&[4], &[-2.0, 0.0, 0.5, 3.0]);
const X33: Given = (&[1, 1, 3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
const X22: Given = (&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
const X5: Given = (&[1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("conv", "", &[X33, (&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0])], &[5421.0, 6532.0, 8754.0, 9865.0]),
    ("conv", r#""stride": 2, "pad": 1"#, &[X33, (&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]), (&[1], &[0.5])], &[1000.5, 3200.5, 7040.5, 9865.5]),
    ("conv", r#""dilation": 2"#, &[X33, (&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0])], &[9731.0]),
    ("conv", r#""pad": [1, 0]"#, &[X5, (&[1, 1, 2], &[1.0, 10.0])], &[10.0, 21.0, 32.0, 43.0, 54.0]),
    ("conv", r#""pad": "same", "stride": 2"#, &[X5, (&[1, 1, 2], &[1.0, 10.0])], &[21.0, 43.0, 5.0]),
    ("conv", r#""pad": "same_lower", "stride": 2"#, &[X5, (&[1, 1, 2], &[1.0, 10.0])], &[10.0, 32.0, 54.0]),
    ("conv", r#""groups": 2"#, &[(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[4, 1, 1], &[1.0, 10.0, 100.0, 1000.0])],
        &[1.0, 2.0, 10.0, 20.0, 300.0, 400.0, 3000.0, 4000.0]),
    ("conv", r#""groups": 1"#, &[(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0])],
        &[31.0, 42.0, 3100.0, 4200.0]),
    ("conv_transpose", r#""stride": 2"#, &[X22, (&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0])],
        &[1.0, 10.0, 2.0, 20.0, 100.0, 1000.0, 200.0, 2000.0, 3.0, 30.0, 4.0, 40.0, 300.0, 3000.0, 400.0, 4000.0]),
    ("conv_transpose", r#""stride": 2, "pad": 1, "output_pad": 1"#, &[(&[1, 1, 2], &[1.0, 2.0]), (&[1, 1, 3], &[1.0, 10.0, 100.0]), (&[1], &[0.5])],
        &[10.5, 102.5, 20.5, 200.5]),
    ("conv_transpose", r#""groups": 2"#, &[(&[1, 2, 1], &[1.0, 2.0]), (&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0])], &[1.0, 10.0, 200.0, 2000.0]),
    ("conv_transpose", r#""groups": 1"#, &[(&[1, 2, 1], &[1.0, 2.0]), (&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0])], &[201.0, 2010.0]),
    ("conv_transpose", r#""pad": "same", "stride": 2"#, &[(&[1, 1, 2], &[1.0, 2.0]), (&[1, 1, 3], &[1.0, 10.0, 100.0])], &[1.0, 10.0, 102.0, 20.0]),
    ("dense", "", &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[3, 2], &[1.0, 10.0, 1.0, 0.0, 0.0, 1.0]), (&[3], &[0.5, 0.0, 0.0])],
        &[21.5, 1.0, 2.0, 43.5, 3.0, 4.0]),
    ("matmul", "", &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2, 2], &[1.0, 10.0, 100.0, 1000.0])], &[201.0, 2010.0, 403.0, 4030.0]),
    ("matmul", "", &[(&[2], &[1.0, 2.0]), (&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0])], &[21.0, 2100.0]),
    ("matmul", "", &[(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2], &[1.0, 10.0])], &[21.0, 43.0]),
    ("prelu", "", &[(&[1, 2, 2], &[-1.0, 2.0, -3.0, NAN]), (&[2], &[0.5, -2.0])], &[-0.5, 2.0, 6.0, NAN]),
    ("prelu", "", &[(&[2], &[-INF, INF]), (&[1], &[0.5])], &[-INF, INF]),
    ("prelu", r#""axes": [0, 2]"#, &[(&[1, 2, 2], &[-1.0, -1.0, -1.0, -1.0]), (&[1, 2], &[2.0, 3.0])], &[-2.0, -3.0, -2.0, -3.0]),
    ("relu", "", &[(&[4], &[-2.0, 0.0, 3.0, NAN])], &[0.0, 0.0, 3.0, NAN]),
    ("leaky_relu", r#""alpha": 0.5"#, &[V], &[-1.0, 0.0, 0.5, 3.0]),
    ("clip", r#""min": -1, "max": 2"#, &[(&[4], &[-2.0, 0.0, 3.0, NAN])], &[-1.0, 0.0, 2.0, NAN]),
    ("relu6", "", &[(&[3], &[-2.0, 5.0, 7.0])], &[0.0, 5.0, 6.0]),
    ("elu", r#""alpha": 2"#, &[(&[3], &[-1.0, 0.0, 2.0])], &[-1.264_241_117_657_115_4, 0.0, 2.0]),
    ("gelu", "", &[(&[4], &[-1.0, 0.0, 1.0, -10.0])], &[-0.158_655_253_931_457, 0.0, 0.841_344_746_068_543, -7.619_853_024_160_5e-23]),
    ("gelu", r#""tanh": true"#, &[(&[2], &[-1.0, 1.0])], &[-0.158_808_009_391_722_6, 0.841_191_990_608_277_4]),
    ("silu", "", &[(&[2], &[-1.0, 1.0])], &[-0.268_941_421_369_995_1, 0.731_058_578_630_004_9]),
    ("hard_swish", "", &[(&[4], &[-4.0, -1.0, 1.0, 4.0])], &[0.0, -1.0 / 3.0, 2.0 / 3.0, 4.0]),
    ("softplus", "", &[(&[4], &[0.0, 1.0, 800.0, NAN])], &[std::f64::consts::LN_2, 1.313_261_687_518_222_8, 800.0, NAN]),
    ("sigmoid", "", &[(&[3], &[0.0, 2.0, -INF])], &[0.5, 0.880_797_077_977_882_4, 0.0]),
    ("hard_sigmoid", "", &[(&[3], &[-5.0, 1.0, 5.0])], &[0.0, 0.7, 1.0]),
    ("tanh", "", &[(&[2], &[0.5, INF])], &[0.462_117_157_260_009_8, 1.0]),
    ("exp", "", &[(&[2], &[1.0, -INF])], &[std::f64::consts::E, 0.0]),
    ("log", "", &[(&[2], &[2.0, 0.0])], &[std::f64::consts::LN_2, -INF]),
    ("sqrt", "", &[(&[3], &[4.0, 2.0, -1.0])], &[2.0, std::f64::consts::SQRT_2, NAN]),
    ("abs", "", &[V], &[2.0, 0.0, 0.5, 3.0]),
    ("neg", "", &[V], &[2.0, 0.0, -0.5, -3.0]),
    ("reciprocal", "", &[(&[2], &[4.0, 0.0])], &[0.25, INF]),
    ("erf", "", &[(&[2], &[0.5, -1.0])], &[0.520_499_877_813_046_5, -0.842_700_792_949_714_9]),
    ("floor", "", &[(&[2], &[-1.5, 1.5])], &[-2.0, 1.0]),
    ("ceil", "", &[(&[2], &[-1.5, 1.5])], &[-1.0, 2.0]),
    ("round", "", &[(&[4], &[-1.5, 0.5, 1.5, 2.4])], &[-2.0, 0.0, 2.0, 2.0]),
    ("sin", "", &[(&[2], &[0.5, -2.0])], &[0.479425538604203, -0.9092974268256817]),
    ("cos", "", &[(&[2], &[0.5, -2.0])], &[0.8775825618903728, -0.4161468365471424]),
    ("tan", "", &[(&[2], &[0.5, -2.0])], &[0.5463024898437905, 2.185039863261519]),
    ("asin", "", &[(&[2], &[0.5, -1.0])], &[std::f64::consts::FRAC_PI_6, -std::f64::consts::FRAC_PI_2]),
    ("acos", "", &[(&[2], &[0.5, -1.0])], &[std::f64::consts::FRAC_PI_3, std::f64::consts::PI]),
    ("atan", "", &[(&[2], &[0.5, -30.0])], &[0.4636476090008061, -1.5374753309166493]),
    ("sinh", "", &[(&[2], &[0.5, -2.0])], &[0.5210953054937474, -3.626860407847019]),
    ("cosh", "", &[(&[2], &[0.5, -2.0])], &[1.1276259652063807, 3.7621956910836314]),
    ("asinh", "", &[(&[2], &[0.5, -2.0])], &[0.48121182505960347, -1.4436354751788103]),
    ("acosh", "", &[(&[2], &[1.0, 3.0])], &[0.0, 1.762747174039086]),
    ("atanh", "", &[(&[2], &[0.5, -0.9])], &[0.5493061443340548, -1.4722194895832204]),
    ("rem", "", &[(&[5], &[7.5, -7.5, 7.5, 1.0, -0.5]), (&[5], &[2.0, 2.0, -2.0, INF, 0.0])], &[1.5, -1.5, 1.5, 1.0, NAN]),
    ("shift_left", "", &[(&[4], &[1.0, -3.0, 5.0, 1.0]), (&[4], &[4.0, 1.0, 64.0, 63.0])], &[16.0, -6.0, 0.0, -9_223_372_036_854_775_808.0]),
    ("shift_right", "", &[(&[5], &[17.0, -3.0, -5.0, 5.0, 8.0]), (&[5], &[4.0, 1.0, 64.0, 64.0, -1.0])], &[1.0, -2.0, -1.0, 0.0, 0.0]),
    ("add", "", &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2, 1], &[10.0, 20.0])], &[11.0, 12.0, 23.0, 24.0]),
    ("sub", "", &[(&[2], &[10.0, 20.0]), (&[2, 2], &[1.0, 2.0, 3.0, 4.0])], &[9.0, 18.0, 7.0, 16.0]),
    ("mul", "", &[(&[2, 1], &[1.0, 2.0]), (&[1, 2], &[3.0, 4.0])], &[3.0, 4.0, 6.0, 8.0]),
    ("div", "", &[(&[3], &[1.0, -1.0, 0.0]), (&[1], &[0.0])], &[INF, -INF, NAN]),
    ("max", "", &[(&[4], &[1.0, NAN, 3.0, 2.0]), (&[4], &[2.0, 1.0, NAN, 1.0])], &[2.0, NAN, NAN, 2.0]),
    ("min", "", &[(&[4], &[1.0, NAN, 3.0, 2.0]), (&[4], &[2.0, 1.0, NAN, 1.0])], &[1.0, NAN, NAN, 1.0]),
    ("pow", "", &[(&[3], &[2.0, 4.0, -8.0]), (&[3], &[3.0, 0.5, 2.0])], &[8.0, 2.0, 64.0]),
    ("batch_norm", r#""eps": 0"#, &[(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2], &[2.0, 1.0]), (&[2], &[0.5, 0.0]), (&[2], &[1.0, 3.0]), (&[2], &[4.0, 0.25])],
        &[0.5, 1.5, 0.0, 2.0]),
    ("layer_norm", r#""eps": 0, "axis": 1"#, &[(&[1, 2], &[1.0, 3.0]), (&[2], &[1.0, 2.0]), (&[2], &[0.0, 0.5])], &[-1.0, 2.5]),
    ("layer_norm", r#""eps": 3, "axis": 1"#, &[(&[1, 2], &[1.0, 3.0]), (&[2], &[1.0, 2.0])], &[-0.5, 1.0]),
    ("instance_norm", r#""eps": 3"#, &[(&[1, 2, 2], &[1.0, 3.0, 5.0, 5.0]), (&[2], &[2.0, 1.0]), (&[2], &[0.0, 0.5])], &[-1.0, 1.0, 0.5, 0.5]),
    ("max_pool", r#""kernel": 2"#, &[(&[1, 1, 2, 4], &[1.0, 5.0, NAN, 0.0, 2.0, 3.0, 1.0, 0.0])], &[5.0, NAN]),
    ("max_pool", r#""kernel": 3, "stride": 2, "pad": 1"#, &[(&[1, 1, 3], &[-5.0, -4.0, -3.0])], &[-4.0, -3.0]),
    ("max_pool", r#""kernel": 2, "stride": 2, "ceil": true"#, &[X5], &[2.0, 4.0, 5.0]),
    ("max_pool", r#""kernel": 2, "stride": 1, "dilation": 3"#, &[X5], &[4.0, 5.0]),
    // The first of equal elements takes a window's gradient; windows that overlap add theirs up.
    ("max_pool_grad", r#""kernel": 2"#, &[(&[1, 1, 4], &[3.0, 3.0, 1.0, 2.0]), (&[1, 1, 2], &[3.0, 2.0]), (&[1, 1, 2], &[10.0, 20.0])], &[10.0, 0.0, 0.0, 20.0]),
    ("max_pool_grad", r#""kernel": 3, "stride": 2, "pad": 1"#, &[(&[1, 1, 3], &[1.0, 4.0, 3.0]), (&[1, 1, 2], &[4.0, 4.0]), (&[1, 1, 2], &[10.0, 20.0])], &[0.0, 30.0, 0.0]),
    // Taps see x at 0, 2 and 1, 3; padding is zero.
    ("conv_weight_grad", r#""kernel": 2, "stride": 2"#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]), (&[1, 1, 2], &[10.0, 1.0])], &[13.0, 24.0]),
    ("conv_weight_grad", r#""kernel": 3, "pad": 1, "groups": 2"#, &[(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[1, 2, 2], &[1.0, 10.0, 0.0, 1.0])], &[10.0, 21.0, 2.0, 3.0, 4.0, 0.0]),
    ("avg_pool", r#""kernel": 2, "stride": 1"#, &[X33], &[3.0, 4.0, 6.0, 7.0]),
    ("avg_pool", r#""kernel": 3, "stride": 2, "pad": 1"#, &[X5], &[1.5, 3.0, 4.5]),
    ("avg_pool", r#""kernel": 3, "stride": 2, "pad": 1, "count_include_pad": true"#, &[X5], &[1.0, 3.0, 3.0]),
    // The second window takes 4, 5 and one place of padding; what lies beyond does not count.
    ("avg_pool", r#""kernel": 4, "stride": 4, "pad": 1, "ceil": true, "count_include_pad": true"#, &[X5], &[1.5, 3.0]),
    ("global_avg_pool", "", &[X33], &[5.0]),
    ("global_max_pool", "", &[X33], &[9.0]),
    ("spp", r#""bins": [2, 1]"#, &[X33], &[5.0, 6.0, 8.0, 9.0, 9.0]),
    ("spp", r#""bins": [3, 1]"#, &[X22], &[1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 3.0, 4.0, 4.0, 4.0]),
    ("softmax", "", &[(&[1, 3], &[0.0, std::f64::consts::LN_2, 1000.0])], &[0.0, 0.0, 1.0]),
    ("softmax", r#""axis": 0"#, &[(&[2, 1], &[0.0, 1.098_612_288_668_109_8])], &[0.25, 0.75]),
    ("reduce_sum", r#""axes": [1]"#, &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0])], &[3.0, 7.0]),
    ("reduce_mean", r#""axes": [0]"#, &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0])], &[2.0, 3.0]),
    ("reduce_max", r#""axes": [0, 2]"#, &[(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, NAN, 0.0, -1.0])], &[NAN, 4.0]),
    ("reduce_min", r#""axes": [1], "keep": true"#, &[(&[2, 2], &[1.0, 2.0, 4.0, 3.0])], &[1.0, 3.0]),
    ("concat", "", &[(&[2, 1], &[1.0, 2.0]), (&[2, 2], &[3.0, 4.0, 5.0, 6.0])], &[1.0, 3.0, 4.0, 2.0, 5.0, 6.0]),
    ("split", r#""sizes": [1, 2]"#, &[(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], &[1.0, 4.0, 2.0, 3.0, 5.0, 6.0]),
    ("slice", r#""axes": [2], "starts": [1], "ends": [-1], "steps": [2]"#, &[X5], &[2.0, 4.0]),
    ("slice", r#""axes": [2], "starts": [-1], "ends": [-100], "steps": [-2]"#, &[X5], &[5.0, 3.0, 1.0]),
    ("pad", r#""pads": [3, 1], "mode": "wrap""#, &[(&[2], &[1.0, 2.0])], &[2.0, 1.0, 2.0, 1.0, 2.0, 1.0]),
    ("pad", r#""pads": [1, 2], "value": 7"#, &[(&[2], &[1.0, 2.0])], &[7.0, 1.0, 2.0, 7.0, 7.0]),
    ("pad", r#""pads": [2, 1], "mode": "reflect""#, &[(&[3], &[1.0, 2.0, 3.0])], &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
    ("pad", r#""pads": [2, -1], "mode": "edge""#, &[(&[3], &[1.0, 2.0, 3.0])], &[1.0, 1.0, 1.0, 2.0]),
    ("transpose", r#""perm": [2, 0, 1]"#, &[(&[1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
    ("reshape", r#""shape": [2, -1]"#, &[V], &[-2.0, 0.0, 0.5, 3.0]),
    ("flatten", "", &[X22], &[1.0, 2.0, 3.0, 4.0]),
    ("depth_to_space", r#""block": 2"#, &[(&[1, 8, 1, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])], &[0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]),
    ("depth_to_space", r#""block": 2, "mode": "crd""#, &[(&[1, 8, 1, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
    ("resize", r#""scale": 2, "mode": "linear""#, &[(&[1, 1, 2], &[0.0, 4.0])], &[0.0, 1.0, 3.0, 4.0]),
    ("resize", r#""scale": 2, "mode": "linear", "coords": "align_corners""#, &[(&[1, 1, 2], &[0.0, 3.0])], &[0.0, 1.0, 2.0, 3.0]),
    ("resize", r#""scale": 2, "mode": "linear", "coords": "asymmetric""#, &[(&[1, 1, 2], &[0.0, 4.0])], &[0.0, 2.0, 4.0, 4.0]),
    ("resize", r#""size": [1], "mode": "linear", "coords": "pytorch_half_pixel""#, &[(&[1, 1, 3], &[1.0, 2.0, 3.0])], &[1.0]),
    ("resize", r#""size": [1], "mode": "linear""#, &[(&[1, 1, 3], &[1.0, 2.0, 3.0])], &[2.0]),
    ("resize", r#""scale": [2, 1], "mode": "linear""#, &[X22], &[1.0, 2.0, 1.5, 2.5, 2.5, 3.5, 3.0, 4.0]),
    ("resize", r#""scale": 2"#, &[(&[1, 1, 2], &[1.0, 2.0])], &[1.0, 1.0, 2.0, 2.0]),
    ("resize", r#""scale": 0.6"#, &[X5], &[1.0, 3.0, 5.0]),
    // Coordinates ½, 2½, 4½: ties.
    ("resize", r#""size": [2]"#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.0, 3.0]),
    ("resize", r#""size": [2], "nearest": "round_prefer_ceil""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[2.0, 4.0]),
    ("resize", r#""size": [2], "nearest": "floor""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.0, 3.0]),
    ("resize", r#""size": [2], "nearest": "ceil""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[2.0, 4.0]),
    ("resize", r#""size": [8], "coords": "asymmetric", "nearest": "floor""#, &[(&[1, 1, 3], &[1.0, 2.0, 3.0])], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0]),
    // Values of the specification's reference.
    ("resize", r#""scale": 2, "mode": "cubic""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[0.89453125, 1.19140625, 1.66796875, 2.296875, 2.703125, 3.33203125, 3.80859375, 4.10546875]),
    ("resize", r#""scale": 2, "mode": "cubic", "cubic_a": -0.5, "exclude_outside": true"#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])],
        &[0.9117647058823528, 1.167883211678832, 1.7099236641221374, 2.25, 2.75, 3.2900763358778624, 3.832116788321168, 4.088235294117647]),
    ("resize", r#""scale": 0.5, "mode": "linear", "antialias": true"#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.625, 3.375]),
    ("resize", r#""scale": 0.6, "mode": "cubic", "antialias": true"#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.3036144578313238, 3.071428571428573]),
    ("resize", r#""size": [3], "mode": "linear", "coords": "crop_and_resize", "roi": [0.5, 1.25], "extrapolation": 9"#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[2.5, 3.625, 9.0]),
    ("resize", r#""scale": 0.6, "mode": "linear", "coords": "half_pixel_symmetric""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.6666666666666665, 3.333333333333333]),
    ("resize", r#""scale": 0.6, "mode": "linear", "coords": "align_corners""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.0, 3.142857142857143]),
    // Both: coordinates are those of the factor.
    ("resize", r#""size": [3], "scale": 0.5, "coords": "asymmetric""#, &[(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])], &[1.0, 3.0, 4.0]),
    ("sign", "", &[(&[4], &[-2.0, 0.0, INF, NAN])], &[-1.0, 0.0, 1.0, NAN]),
    ("not", "", &[(&[2], &[0.0, 1.0])], &[1.0, 0.0]),
    ("cast", r#""to": "bool""#, &[(&[3], &[0.0, 0.5, NAN])], &[0.0, 1.0, 1.0]),
    ("cast", r#""to": "u8""#, &[(&[4], &[-1.9, 2.9, 257.0, NAN])], &[255.0, 2.0, 1.0, 0.0]),
    ("cast", r#""to": "bf16""#, &[(&[1], &[1.003])], &[1.0]),
    ("equal", "", &[(&[3], &[1.0, 2.0, NAN]), (&[3], &[1.0, 3.0, NAN])], &[1.0, 0.0, 0.0]),
    ("less", "", &[(&[2, 1], &[1.0, 2.0]), (&[3], &[1.0, 2.0, NAN])], &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    ("less_equal", "", &[(&[3], &[1.0, 2.0, 3.0]), (&[1], &[2.0])], &[1.0, 1.0, 0.0]),
    ("and", "", &[(&[2, 1], &[0.0, 1.0]), (&[2], &[0.0, 1.0])], &[0.0, 0.0, 0.0, 1.0]),
    ("or", "", &[(&[2, 1], &[0.0, 1.0]), (&[2], &[0.0, 1.0])], &[0.0, 1.0, 1.0, 1.0]),
    ("xor", "", &[(&[2, 1], &[0.0, 1.0]), (&[2], &[0.0, 1.0])], &[0.0, 1.0, 1.0, 0.0]),
    ("select", "", &[(&[2, 1], &[0.0, 1.0]), (&[2], &[1.0, 2.0]), (&[], &[9.0])], &[9.0, 9.0, 1.0, 2.0]),
    ("reduce_prod", r#""axes": [1]"#, &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0])], &[2.0, 12.0]),
    ("expand", r#""shape": [2, 2, 2]"#, &[(&[2, 1], &[1.0, 2.0])], &[1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]),
    ("gather", "", &[(&[3], &[1.0, 2.0, 3.0]), (&[2, 2], &[0.0, -1.0, 9.0, -9.0])], &[1.0, 3.0, 3.0, 1.0]),
    ("gather", r#""axis": 1"#, &[(&[2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), (&[2], &[2.0, 0.0])], &[3.0, 1.0, 6.0, 4.0]),
    ("gather_nd", "", &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[3, 2], &[0.0, 1.0, -1.0, 0.0, 9.0, 9.0])], &[2.0, 3.0, 4.0]),
    ("gather_nd", r#""batch": 1"#, &[(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), (&[2, 1, 1], &[1.0, 0.0])], &[3.0, 4.0, 5.0, 6.0]),
    ("scatter_elements", "", &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[1, 2], &[1.0, -2.0]), (&[1, 2], &[8.0, 9.0])], &[1.0, 9.0, 8.0, 4.0]),
    ("scatter_elements", r#""axis": 1, "reduction": "add""#, &[(&[1, 3], &[1.0, 2.0, 3.0]), (&[1, 3], &[0.0, 0.0, 7.0]), (&[1, 3], &[10.0, 20.0, 30.0])], &[31.0, 2.0, 33.0]),
    ("scatter_nd", "", &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2, 1], &[0.0, 0.0]), (&[2, 2], &[5.0, 6.0, 7.0, 8.0])], &[7.0, 8.0, 3.0, 4.0]),
    ("scatter_nd", r#""reduction": "max""#, &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[3, 2], &[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]), (&[3], &[5.0, 1.0, NAN])], &[1.0, 5.0, NAN, 4.0]),
    ("arg_max", r#""axis": 1"#, &[(&[2, 4], &[1.0, 5.0, 5.0, 2.0, 7.0, NAN, 9.0, NAN])], &[1.0, 1.0]),
    ("arg_max", r#""axis": 0, "keep": true, "last": true"#, &[(&[3, 1], &[2.0, 2.0, 1.0])], &[1.0]),
    ("arg_min", r#""axis": 1"#, &[(&[2, 3], &[-0.0, 0.0, 1.0, 3.0, -INF, -INF])], &[0.0, 1.0]),
    ("arg_sort", "", &[(&[1, 5], &[3.0, NAN, 0.0, -0.0, -1.0])], &[4.0, 2.0, 3.0, 0.0, 1.0]),
    ("arg_sort", r#""axis": 0, "count": 2, "descending": true"#, &[(&[3, 2], &[1.0, 4.0, 2.0, 4.0, 2.0, 5.0])], &[1.0, 2.0, 2.0, 0.0]),
    ("cumsum", "", &[(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]),
    ("cumsum", r#""axis": 0, "exclusive": true, "reverse": true"#, &[(&[3], &[1.0, 2.0, 3.0])], &[5.0, 3.0, 0.0]),
    ("cumprod", r#""axis": 0, "exclusive": true"#, &[(&[3], &[2.0, 3.0, 4.0])], &[1.0, 2.0, 6.0]),
    ("max_pool_indices", r#""kernel": 2, "stride": 1"#, &[X33, (&[1, 1, 2, 2], &[5.0, 6.0, 8.0, 9.0])], &[4.0, 5.0, 7.0, 8.0]),
    ("max_pool_indices", r#""kernel": 2, "pad": [1, 1]"#, &[(&[1, 2, 3], &[1.0, 1.0, 0.0, -2.0, -3.0, NAN]), (&[1, 2, 2], &[1.0, 1.0, -2.0, NAN])], &[0.0, 1.0, 3.0, 5.0]),
    ("gather_elements", r#""axis": 1"#, &[(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), (&[2, 3], &[0.0, 0.0, -1.0, 1.0, 0.0, 0.0])],
        &[1.0, 1.0, 2.0, 4.0, 3.0, 3.0]),
    ("nonzero", "", &[(&[2, 3], &[0.0, 1.0, NAN, -0.0, 0.0, -3.0])],
        &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 0.0, 0.0, 0.0, 3.0]),
    ("nonzero", "", &[(&[], &[2.0])], &[1.0]),
    ("cut", r#""axis": 1, "size": "=K""#, &[(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), (&[1], &[2.0])], &[1.0, 2.0, 4.0, 5.0]),
    ("cut", r#""size": "=2*K + 1""#, &[(&[3], &[1.0, 2.0, 3.0]), (&[], &[9.0])], &[1.0, 2.0, 3.0]),
    // The third box is the first with its corners exchanged; the last has a score that is no number.
    ("non_max_suppression", r#""limit": 3"#, &[
        (&[1, 4, 4], &[0.0, 0.0, 2.0, 2.0, 0.0, 1.0, 2.0, 3.0, 2.0, 2.0, 0.0, 0.0, 5.0, 5.0, 6.0, 6.0]),
        (&[1, 2, 4], &[0.5, 0.75, 1.0, NAN, 0.5, -INF, 0.25, 0.125]),
        (&[1, 2, 4], &[3.0, 2.0, 1.0, 0.0, 0.0, 2.0, 3.0, 1.0]), (&[1], &[9.0]), (&[1], &[0.5]), (&[], &[0.125])],
        &[2.0, 1.0, -1.0, 0.0, -1.0, -1.0]),
    ("non_max_suppression", r#""centre": true"#, &[
        (&[1, 2, 4], &[1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0]), (&[1, 1, 2], &[-INF, 3.0]),
        (&[1, 1, 2], &[1.0, 0.0]), (&[1], &[2.0]), (&[1], &[0.25]), (&[1], &[-INF])],
        &[1.0, -1.0]),
    ("non_max_suppression", "", &[
        (&[1, 2, 4], &[0.0, 0.0, 1.0, 1.0, 3.0, 3.0, 4.0, 4.0]), (&[1, 1, 2], &[1.0, 2.0]),
        (&[1, 1, 2], &[-1.0, 0.0]), (&[1], &[1.0]), (&[1], &[0.25]), (&[1], &[0.0])],
        &[0.0, -1.0]),
    ("dropout", "", &[V], &[-2.0, 0.0, 0.5, 3.0]),
    ("map", "", &[V], &[-2.0, 0.0, 0.5, 3.0]),
];

#[test]
fn known_answers() {
    let mut wrong = String::new();
    for case in CASES {
        for (got, tolerance) in [(result::<f64>(case), 1e-13), (result::<f32>(case), 1e-6)] {
            if !close(&got, case.3, tolerance) {
                wrong += &format!("{}({}): {got:?}, not {:?}\n", case.0, case.1, case.3);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_operation_has_a_known_answer() {
    let known: BTreeSet<_> = CASES.iter().map(|c| c.0).collect();
    let missing: Vec<_> = OPS.iter().map(|s| s.name).filter(|n| !known.contains(n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// y = relu(x · 2 + side) as one fused node, on symbolic sizes.
fn fused() -> Graph {
    let mut g = Graph::new("fused");
    let x = g.add_input("x", ty("[N, 2]"));
    let side = g.add_param("side", ty("[2]"), Source::Init(crate::init::Init::constant(1.0)));
    let step = |op, args: &[EpArg]| EpStep { op, args: args.to_vec() };
    let y = g
        .push_node(Node {
            op: Op::Map,
            operands: vec![x, side],
            arity: 1,
            epilogue: Some(Epilogue {
                steps: vec![
                    step(Op::Binary(Binary::Mul), &[EpArg::Acc, EpArg::Scalar(Scalar(2.0))]),
                    step(Op::Binary(Binary::Add), &[EpArg::Step(0), EpArg::Operand(0)]),
                    step(Op::Unary(Unary::Relu), &[EpArg::Step(1)]),
                ],
            }),
            types: vec![],
            name: None,
            provenance: Provenance::default(),
        })
        .unwrap();
    g.outputs.push(Output { name: "y".into(), value: y.into() });
    g
}

fn given(shape: &[usize], values: &[f64]) -> Tensors<f64> {
    Tensors::from([("x".into(), Tensor::new(shape, values).unwrap())])
}

#[test]
fn epilogues_and_parameters() {
    let mut params = |g: &Graph, id| known_param(g, id).ok_or_else(|| "unknown".to_string());
    let y = eval(&fused(), &given(&[2, 2], &[-1.0, -0.25, 0.0, 1.0]), &mut params).unwrap();
    assert_eq!(y["y"].floats().unwrap(), [0.0, 0.5, 1.0, 3.0]);
    let trace = eval_all(&fused(), &given(&[1, 2], &[1.0, 2.0]), &mut params).unwrap();
    assert_eq!(trace.values.len(), 3);
    assert_eq!(trace.graph.ty(trace.graph.outputs[0].value).to_string(), "f32[1, 2]");
}

#[test]
fn wrong_inputs_are_errors() {
    let g = fused();
    let ones = |g: &Graph, id| known_param(g, id).ok_or_else(|| "unknown".to_string());
    let text = |inputs: &Tensors<f64>, params: &mut Params<'_, f64>| {
        eval(&g, inputs, params).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(text(&Tensors::new(), &mut { ones }), "the input `x` is missing: it is f32[N, 2]");
    assert!(text(&given(&[4], &[0.0; 4]), &mut { ones }).contains("rank 2"));
    assert!(text(&given(&[1, 4], &[0.0; 4]), &mut { ones }).contains("axis 1 must be 2"));
    let ints = Tensors::from([("x".into(), Tensor::ints([1, 2], [1, 2]).unwrap())]);
    assert_eq!(text(&ints, &mut { ones }), "the data of the input `x` does not fit its type f32[1, 2]");
    let x = given(&[1, 2], &[0.0; 2]);
    assert_eq!(text(&x, &mut |_, _| Err("lost".into())), "the parameter `side`: lost");
    let short = text(&x, &mut |_, _| Ok(Tensor::scalar(1.0, DType::F32)));
    assert_eq!(short, "the parameter `side`: it is f32[2], but the given value has the shape []");
    let limited = run(&g, &x, &mut { ones }, Options { max_bytes: 40 }, false).unwrap_err();
    assert_eq!(limited.to_string(), "map %2 needs more memory than the limit of 40 bytes");
    assert!(matches!(eval(&Graph::new("empty"), &x, &mut { ones }), Err(EvalError::Invalid(_))));
}

#[test]
fn integers_wrap_to_their_width() {
    let mut g = Graph::new("ints");
    let x = g.add_input("x", ty("i8[3]"));
    let two = g.push_const(2.0);
    let double = g.push(Op::Binary(Binary::Mul), &[x, two]).unwrap();
    let sum = g.push(op("reduce_sum", r#""axes": [0]"#, &[g.ty(double)]), &[double]).unwrap();
    let ratio = g.push(Op::Binary(Binary::Div), &[two, x]).unwrap();
    for (name, value) in [("double", double), ("sum", sum), ("ratio", ratio)] {
        g.outputs.push(Output { name: name.into(), value });
    }
    let run = |values: [i64; 3]| {
        let inputs = Tensors::<f32>::from([("x".into(), Tensor::ints([3], values).unwrap())]);
        eval(&g, &inputs, &mut |_, _| Err("none".into()))
    };
    let y = run([100, -3, 7]).unwrap();
    assert_eq!(y["double"].data, Data::Int(vec![-56, -6, 14]));
    assert_eq!(y["sum"].data, Data::Int(vec![-48]));
    assert_eq!(y["ratio"].data, Data::Int(vec![0, 0, 0]));
    assert_eq!(run([0, 1, 2]), Err(EvalError::DivisionByZero));
}

/// The places of what is not 0 in x, cut; then once more as one row.
fn cut_graph() -> Graph {
    let mut g = Graph::new("cut");
    let x = g.add_input("x", ty("[N, 3]"));
    let found = g.push_multi(Op::NonZero, &[x], None).unwrap();
    let places = g.push(Op::Cut { axis: 1, size: Dim::sym("K") }, &[found[0], found[1]]).unwrap();
    let twice = Dim::sym("K").mul(&2.into()).unwrap();
    let row = g.push(Op::Reshape { shape: vec![twice] }, &[places]).unwrap();
    for (name, value) in [("places", places), ("row", row)] {
        g.outputs.push(Output { name: name.into(), value });
    }
    g
}

#[test]
fn sizes_that_data_gives() {
    let g = cut_graph();
    assert_eq!(g.ty(g.outputs[1].value).to_string(), "i64[2*K]");
    assert_eq!(crate::bind::symbols(&g).len(), 1);
    let run = |values: &[f64; 6]| eval(&g, &given(&[2, 3], values), &mut |_, _| Err("none".into())).unwrap();
    let y = run(&[0.0, 1.0, 0.0, 2.0, 0.0, 3.0]);
    assert_eq!(y["places"], Tensor::ints([2, 3], [0, 1, 1, 1, 0, 2]).unwrap());
    assert_eq!(y["row"], Tensor::ints([6], [0, 1, 1, 1, 0, 2]).unwrap());
    let y = run(&[0.0; 6]);
    assert_eq!(y["places"].shape, [2, 0]);
    assert_eq!(y["row"].shape, [0]);
}

#[test]
fn cuts_that_disagree_are_errors() {
    let mut g = Graph::new("cut");
    let x = g.add_input("x", ty("[N]"));
    let k = Dim::sym("K");
    for (name, size) in [("one", k.clone()), ("two", k.mul(&2.into()).unwrap())] {
        let count = g.add_input(name, ty("i64[1]"));
        let y = g.push(Op::Cut { axis: 0, size }, &[x, count]).unwrap();
        g.outputs.push(Output { name: name.into(), value: y });
    }
    let run = |one: i64, two: i64| {
        let mut inputs = given(&[3], &[1.0, 2.0, 3.0]);
        for (name, count) in [("one", one), ("two", two)] {
            inputs.insert(name.into(), Tensor::ints([1], [count]).unwrap());
        }
        eval(&g, &inputs, &mut |_, _| Err("none".into()))
    };
    assert_eq!(run(1, 2).unwrap()["two"].shape, [2]);
    let told = run(1, 3).unwrap_err().to_string();
    assert!(told.ends_with("the size 2*K would be 3, which disagrees with what is known of it"), "{told}");
}

#[test]
fn literals_keep_their_values() {
    let literal = crate::literal::Literal::i64(&[2], &[-1, i64::MAX]).unwrap();
    let t = Tensor::<f32>::from_literal(&literal);
    assert_eq!(t.data, Data::Int(vec![-1, i64::MAX]));
    assert_eq!(t.to_literal(DType::I64), Some(literal));
    assert_eq!(t.to_literal(DType::F32), None);
    let bytes: Vec<u8> = [-2i16, 300].iter().flat_map(|v| v.to_le_bytes()).collect();
    let short = crate::literal::Literal { dtype: DType::I16, shape: vec![2], bytes: bytes.into() };
    assert_eq!(Tensor::<f32>::from_literal(&short).data, Data::Int(vec![-2, 300]));
    let half = Tensor::<f32>::new([2], [1.5, -0.25]).unwrap().to_literal(DType::F16).unwrap();
    assert_eq!(half.to_f64(), [1.5, -0.25]);
}
