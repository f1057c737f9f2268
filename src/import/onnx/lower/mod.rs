//! ONNX operators to operations of the graph: one file a family.
//!
//! Each function reads what its operator has in every supported version of the operator set, from the specification. What
//! it does not read is reported as not understood, so that nothing is ignored silently.

mod activation;
mod arithmetic;
mod bits;
mod columns;
mod constant;
mod conv;
mod crop;
mod einsum;
mod generate;
mod grid_sample;
mod linear;
mod logic;
mod loss;
mod movement;
mod norm;
mod order;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod scatter;
mod selection;
mod shape;
mod slice;
mod softmax;

use super::context::{Cx, Lowered};

/// Lowers one node.
pub type Lower = fn(&mut Cx<'_, '_>) -> Lowered;

/// The function for ONNX's operator `op`, if it is supported.
pub fn find(op: &str) -> Option<Lower> {
    TABLE.binary_search_by(|(name, _)| (*name).cmp(op)).ok().map(|i| TABLE[i].1)
}

/// The operators that are lowered, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Sorted by name.
#[rustfmt::skip]
const TABLE: &[(&str, Lower)] = &[
    ("Abs", activation::unary),
    ("Acos", activation::trig),
    ("Acosh", activation::trig),
    ("Add", arithmetic::binary),
    ("AffineGrid", generate::affine_grid),
    ("And", logic::binary),
    ("ArgMax", order::arg_extreme),
    ("ArgMin", order::arg_extreme),
    ("Asin", activation::trig),
    ("Asinh", activation::trig),
    ("Atan", activation::trig),
    ("Atanh", activation::trig),
    ("AveragePool", pool::average),
    ("BatchNormalization", norm::batch),
    ("BitShift", bits::binary),
    ("BitwiseAnd", bits::binary),
    ("BitwiseNot", bits::not),
    ("BitwiseOr", bits::binary),
    ("BitwiseXor", bits::binary),
    ("BlackmanWindow", generate::window),
    ("Cast", constant::cast),
    ("CastLike", constant::cast),
    ("Ceil", activation::unary),
    ("Celu", activation::celu),
    ("CenterCropPad", crop::center),
    ("Clip", activation::clip),
    ("Col2Im", columns::col2im),
    ("Compress", selection::compress),
    ("Concat", movement::concat),
    ("Constant", constant::constant),
    ("ConstantOfShape", constant::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvInteger", quantize::conv),
    ("ConvTranspose", conv::conv_transpose),
    ("Cos", activation::trig),
    ("Cosh", activation::trig),
    ("CumProd", order::cumulate),
    ("CumSum", order::cumulate),
    ("DepthToSpace", movement::depth_to_space),
    ("DequantizeLinear", quantize::dequantize),
    ("Div", arithmetic::binary),
    ("Dropout", constant::dropout),
    ("DynamicQuantizeLinear", quantize::dynamic_quantize),
    ("Einsum", einsum::einsum),
    ("Elu", activation::unary),
    ("Equal", logic::binary),
    ("Erf", activation::unary),
    ("Exp", activation::unary),
    ("Expand", shape::expand),
    ("EyeLike", generate::eye_like),
    ("Flatten", shape::flatten),
    ("Floor", activation::unary),
    ("Gather", slice::gather),
    ("GatherElements", slice::gather_elements),
    ("GatherND", slice::gather_nd),
    ("Gelu", activation::unary),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", pool::global),
    ("GlobalLpPool", pool::global_lp),
    ("GlobalMaxPool", pool::global),
    ("Greater", logic::binary),
    ("GreaterOrEqual", logic::binary),
    ("GridSample", grid_sample::grid_sample),
    ("GroupNormalization", norm::group),
    ("HammingWindow", generate::window),
    ("HannWindow", generate::window),
    ("HardSigmoid", activation::unary),
    ("HardSwish", activation::unary),
    ("Hardmax", order::hardmax),
    ("Identity", constant::identity),
    ("InstanceNormalization", norm::instance),
    ("IsInf", logic::is_inf),
    ("IsNaN", logic::is_nan),
    ("LRN", norm::local_response),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", activation::unary),
    ("Less", logic::binary),
    ("LessOrEqual", logic::binary),
    ("Log", activation::unary),
    ("LogSoftmax", softmax::log_softmax),
    ("LpNormalization", norm::lp),
    ("LpPool", pool::lp),
    ("MatMul", linear::matmul),
    ("MatMulInteger", quantize::matmul),
    ("Max", arithmetic::variadic),
    ("MaxPool", pool::max),
    ("MaxUnpool", scatter::max_unpool),
    ("Mean", arithmetic::variadic),
    ("MeanVarianceNormalization", norm::mean_variance),
    ("Min", arithmetic::variadic),
    ("Mish", activation::mish),
    ("Mod", bits::modulo),
    ("Mul", arithmetic::binary),
    ("Neg", activation::unary),
    ("NegativeLogLikelihoodLoss", loss::negative_log_likelihood),
    ("NonMaxSuppression", selection::non_max_suppression),
    ("NonZero", selection::nonzero),
    ("Not", logic::not),
    ("OneHot", order::one_hot),
    ("Or", logic::binary),
    ("PRelu", activation::prelu),
    ("Pad", slice::pad),
    ("Pow", arithmetic::pow),
    ("QLinearConv", quantize::conv),
    ("QLinearMatMul", quantize::matmul),
    ("QuantizeLinear", quantize::quantize),
    ("RMSNormalization", norm::rms),
    ("Range", generate::range),
    ("Reciprocal", activation::unary),
    ("ReduceL1", reduce::reduce),
    ("ReduceL2", reduce::reduce),
    ("ReduceLogSum", reduce::reduce),
    ("ReduceLogSumExp", reduce::reduce),
    ("ReduceMax", reduce::reduce),
    ("ReduceMean", reduce::reduce),
    ("ReduceMin", reduce::reduce),
    ("ReduceProd", reduce::reduce),
    ("ReduceSum", reduce::reduce),
    ("ReduceSumSquare", reduce::reduce),
    ("Relu", activation::unary),
    ("Reshape", shape::reshape),
    ("Resize", resize::resize),
    ("ReverseSequence", order::reverse_sequence),
    ("Round", activation::unary),
    ("Scatter", scatter::scatter_elements),
    ("ScatterElements", scatter::scatter_elements),
    ("ScatterND", scatter::scatter_nd),
    ("Selu", activation::selu),
    ("Shape", shape::shape),
    ("Shrink", logic::shrink),
    ("Sigmoid", activation::unary),
    ("Sign", activation::unary),
    ("Sin", activation::trig),
    ("Sinh", activation::trig),
    ("Size", shape::size),
    ("Slice", slice::slice),
    ("Softmax", softmax::softmax),
    ("SoftmaxCrossEntropyLoss", loss::softmax_cross_entropy),
    ("Softplus", activation::unary),
    ("Softsign", activation::softsign),
    ("SpaceToDepth", movement::space_to_depth),
    ("Split", movement::split),
    ("Sqrt", activation::unary),
    ("Squeeze", shape::squeeze),
    ("Sub", arithmetic::binary),
    ("Sum", arithmetic::variadic),
    ("SwiGLU", activation::swiglu),
    ("Swish", activation::swish),
    ("Tan", activation::trig),
    ("Tanh", activation::unary),
    ("ThresholdedRelu", logic::thresholded_relu),
    ("Tile", shape::tile),
    ("TopK", order::top_k),
    ("Transpose", movement::transpose),
    ("Trilu", generate::triangle),
    ("Unique", selection::unique),
    ("Unsqueeze", shape::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", logic::choose),
    ("Xor", logic::binary),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(find("Conv").is_some() && find("conv").is_none());
    }
}
