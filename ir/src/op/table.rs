//! The one table of operations: name, operands, attributes with defaults, category and a line of documentation.
//!
//! The parser, the printer, error messages (`did you mean`), `rectify ops` and the documentation's tests read it.
//! Several names may build the same operation (`relu6` is a `clip`): these rows are marked as short forms.

/// Groups of operations, in the order of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    Contraction,
    Rectifier,
    Elementwise,
    Normalisation,
    Pooling,
    Reduction,
    Shape,
    Selection,
    Other,
}

/// How an operand is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperandKind {
    /// A tensor that the call names.
    Data,
    /// A parameter that a layer call makes itself, unless it is given: `weight: @name`, or an initialisation.
    Param,
    /// As `Param`, but the layer may do without it (`bias: none`).
    OptionalParam,
    /// Any number of tensors.
    Variadic,
}

/// One operand of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// The name in calls; for parameters also the last part of the parameter's full name.
    pub name: &'static str,
    pub kind: OperandKind,
}

/// What values an attribute takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    Int,
    Float,
    Bool,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One positive integer for all spatial axes, or a list with one a spatial axis.
    Spatial,
    /// As `Spatial`, or amounts before and after each axis ([before…, after…]), or `same` / `same_lower`.
    Padding,
    /// One axis; negative counts from the end.
    Axis,
    /// Axes; negative count from the end.
    Axes,
    /// A list of integers.
    Ints,
    /// A list of sizes, which may be symbolic.
    Dims,
    /// A size; a name that means nothing yet becomes that of a size that data gives.
    NewDim,
    /// One number for all spatial axes, or a list of numbers.
    Scales,
}

/// One attribute of an operation.
#[derive(Clone, Copy, Debug)]
pub struct AttrSpec {
    pub name: &'static str,
    pub kind: AttrKind,
    /// In the language's syntax; empty for an attribute that must be given.
    pub default: &'static str,
    pub doc: &'static str,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OpSpec {
    pub name: &'static str,
    pub category: Category,
    pub operands: &'static [Operand],
    pub attrs: &'static [AttrSpec],
    /// Attributes of the layer form alone: they size the parameters that the call makes (`conv(64, kernel: 3)`).
    /// The first may be given by position.
    pub layer_attrs: &'static [AttrSpec],
    /// A second name for what another operation does.
    pub short_form: bool,
    /// Shapes and formula in a line.
    pub doc: &'static str,
    /// A call as it stands in a pipe.
    pub example: &'static str,
}

impl OpSpec {
    pub fn attr(&self, name: &str) -> Option<&'static AttrSpec> {
        self.attrs.iter().chain(self.layer_attrs).find(|a| a.name == name)
    }

    /// Least and greatest number of operands; `None` for no limit.
    pub fn arity(&self) -> (usize, Option<usize>) {
        let least = self.operands.iter().filter(|o| o.kind != OperandKind::OptionalParam).count();
        let variadic = self.operands.iter().any(|o| o.kind == OperandKind::Variadic);
        (least, (!variadic).then_some(self.operands.len()))
    }
}

/// The row named `name`.
pub fn find(name: &str) -> Option<&'static OpSpec> {
    OPS.iter().find(|s| s.name == name)
}

const fn data(name: &'static str) -> Operand {
    Operand { name, kind: OperandKind::Data }
}

const fn param(name: &'static str) -> Operand {
    Operand { name, kind: OperandKind::Param }
}

const fn optional(name: &'static str) -> Operand {
    Operand { name, kind: OperandKind::OptionalParam }
}

const fn attr(name: &'static str, kind: AttrKind, default: &'static str, doc: &'static str) -> AttrSpec {
    AttrSpec { name, kind, default, doc }
}

const X: &[Operand] = &[data("x")];
const AB: &[Operand] = &[data("a"), data("b")];
const XG: &[Operand] = &[data("x"), data("g")];
const XI: &[Operand] = &[data("x"), data("indices")];
/// Element types as the language names them.
const DTYPES: &[&str] =
    &["f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool"];
const XIU: &[Operand] = &[data("x"), data("indices"), data("updates")];
const WEIGHTED: &[Operand] = &[data("x"), param("weight"), optional("bias")];

const STRIDE: AttrSpec = attr("stride", AttrKind::Spatial, "1", "step of the window");
const PAD: AttrSpec = attr("pad", AttrKind::Padding, "0", "zeros around the input");
const DILATION: AttrSpec = attr("dilation", AttrKind::Spatial, "1", "distance of the window's elements");
const GROUPS: AttrSpec = attr("groups", AttrKind::Int, "1", "channel groups that do not mix");
const CHANNELS: AttrSpec = attr("channels", AttrKind::Int, "", "output channels");
const KERNEL: AttrSpec = attr("kernel", AttrKind::Spatial, "", "size of the window");
const AXIS1: AttrSpec = attr("axis", AttrKind::Axis, "1", "the axis");
const AXIS0: AttrSpec = attr("axis", AttrKind::Axis, "0", "the axis");
const AXES: AttrSpec = attr("axes", AttrKind::Axes, "", "the axes");
const KEEP: AttrSpec = attr("keep", AttrKind::Bool, "false", "keep reduced axes with size 1");
const EPS: AttrSpec = attr("eps", AttrKind::Float, "0.00001", "added to the variance");

const CONV_ATTRS: &[AttrSpec] = &[STRIDE, PAD, DILATION, GROUPS];
const CONV_LAYER: &[AttrSpec] = &[CHANNELS, KERNEL];
const POOL_STRIDE: AttrSpec = attr("stride", AttrKind::Spatial, "kernel", "step of the window");
const CEIL: AttrSpec = attr("ceil", AttrKind::Bool, "false", "round the output size up");
const REDUCE: &[AttrSpec] = &[AXES, KEEP];
const ARG: &[AttrSpec] =
    &[AXIS1, KEEP, attr("last", AttrKind::Bool, "false", "the last one of equal elements, not the first")];
const CUMULATE: &[AttrSpec] = &[
    AXIS1,
    attr("exclusive", AttrKind::Bool, "false", "leave the element itself out"),
    attr("reverse", AttrKind::Bool, "false", "from the end"),
];
const SCATTER: AttrSpec = attr(
    "reduction",
    AttrKind::Word(&["none", "add", "mul", "max", "min"]),
    "none",
    "how updates combine with what is there",
);

const fn row(
    category: Category,
    name: &'static str,
    operands: &'static [Operand],
    attrs: &'static [AttrSpec],
    doc: &'static str,
    example: &'static str,
) -> OpSpec {
    OpSpec { name, category, operands, attrs, layer_attrs: &[], short_form: false, doc, example }
}

const fn layer(spec: OpSpec, layer_attrs: &'static [AttrSpec]) -> OpSpec {
    OpSpec { layer_attrs, ..spec }
}

const fn short(spec: OpSpec) -> OpSpec {
    OpSpec { short_form: true, ..spec }
}

use Category as C;

/// Every operation of the language.
#[rustfmt::skip]
pub static OPS: &[OpSpec] = &[
    layer(row(C::Contraction, "conv", WEIGHTED, CONV_ATTRS,
        "Convolution over 1 to 3 spatial axes: x [N, C, …], weight [O, C/groups, …kernel] → [N, O, …]",
        "conv(64, kernel: 3, pad: 1)"), CONV_LAYER),
    layer(row(C::Contraction, "conv_transpose", WEIGHTED,
        &[STRIDE, PAD, DILATION, GROUPS, attr("output_pad", AttrKind::Spatial, "0", "added to the end of each axis")],
        "Transposed convolution: x [N, C, …], weight [C, O/groups, …kernel] → [N, O, …]",
        "conv_transpose(32, kernel: 2, stride: 2)"), CONV_LAYER),
    layer(row(C::Contraction, "dense", WEIGHTED, &[],
        "Fully connected layer: x […, I], weight [O, I] → […, O]", "dense(1000)"), &[CHANNELS]),
    row(C::Contraction, "conv_weight_grad", XG, &[KERNEL, STRIDE, PAD, DILATION, GROUPS],
        "Gradient of a convolution's weight: x [N, C, …], g [N, O, …] → [O, C/groups, …kernel]", "conv_weight_grad(b, kernel: 3, pad: 1)"),
    row(C::Contraction, "matmul", AB, &[], "Matrix product, leading axes broadcast: […, M, K], […, K, N] → […, M, N]", "matmul(a, b)"),

    layer(row(C::Rectifier, "prelu", &[data("x"), param("slope")],
        &[attr("axes", AttrKind::Axes, "by share", "axes of x along which the slope's dims run")],
        "x > 0 ? x : slope · x with learned slopes", "prelu"),
        &[attr("share", AttrKind::Word(&["channel", "layer", "elementwise"]), "channel", "one slope a channel, a layer or an element")]),
    row(C::Rectifier, "relu", X, &[], "x > 0 ? x : 0", "relu"),
    row(C::Rectifier, "leaky_relu", X, &[attr("alpha", AttrKind::Float, "0.01", "slope below 0")], "x > 0 ? x : alpha · x", "leaky_relu(0.1)"),
    row(C::Rectifier, "clip", X, &[attr("min", AttrKind::Float, "-inf", "least value"), attr("max", AttrKind::Float, "inf", "greatest value")],
        "min(max(x, min), max)", "clip(min: 0, max: 1)"),
    short(row(C::Rectifier, "relu6", X, &[], "clip(min: 0, max: 6)", "relu6")),
    row(C::Rectifier, "elu", X, &[attr("alpha", AttrKind::Float, "1", "saturation below 0")], "x > 0 ? x : alpha · (exp(x) − 1)", "elu"),
    row(C::Rectifier, "gelu", X, &[attr("tanh", AttrKind::Bool, "false", "the approximation by tanh")], "½ x (1 + erf(x / √2))", "gelu"),
    row(C::Rectifier, "silu", X, &[], "x · sigmoid(x)", "silu"),
    row(C::Rectifier, "hard_swish", X, &[], "x · max(0, min(1, x/6 + ½))", "hard_swish"),
    row(C::Rectifier, "softplus", X, &[], "ln(1 + exp(x))", "softplus"),

    row(C::Elementwise, "sigmoid", X, &[], "1 / (1 + exp(−x))", "sigmoid"),
    row(C::Elementwise, "hard_sigmoid", X, &[attr("alpha", AttrKind::Float, "0.2", "slope"), attr("beta", AttrKind::Float, "0.5", "offset")],
        "max(0, min(1, alpha · x + beta))", "hard_sigmoid"),
    row(C::Elementwise, "tanh", X, &[], "hyperbolic tangent", "tanh"),
    row(C::Elementwise, "exp", X, &[], "e to the power of x", "exp"),
    row(C::Elementwise, "log", X, &[], "natural logarithm", "log"),
    row(C::Elementwise, "sqrt", X, &[], "square root", "sqrt"),
    row(C::Elementwise, "abs", X, &[], "absolute value", "abs"),
    row(C::Elementwise, "neg", X, &[], "−x", "neg"),
    row(C::Elementwise, "reciprocal", X, &[], "1 / x", "reciprocal"),
    row(C::Elementwise, "erf", X, &[], "error function", "erf"),
    row(C::Elementwise, "floor", X, &[], "greatest integer not above x", "floor"),
    row(C::Elementwise, "ceil", X, &[], "least integer not below x", "ceil"),
    row(C::Elementwise, "round", X, &[], "nearest integer, ties to even", "round"),
    row(C::Elementwise, "sign", X, &[], "−1, 0 or 1", "sign"),
    row(C::Elementwise, "sin", X, &[], "sine; angles are in radians", "sin"),
    row(C::Elementwise, "cos", X, &[], "cosine", "cos"),
    row(C::Elementwise, "tan", X, &[], "tangent", "tan"),
    row(C::Elementwise, "asin", X, &[], "inverse of sin on −1 to 1", "asin"),
    row(C::Elementwise, "acos", X, &[], "inverse of cos on −1 to 1", "acos"),
    row(C::Elementwise, "atan", X, &[], "inverse of tan", "atan"),
    row(C::Elementwise, "sinh", X, &[], "hyperbolic sine", "sinh"),
    row(C::Elementwise, "cosh", X, &[], "hyperbolic cosine", "cosh"),
    row(C::Elementwise, "asinh", X, &[], "inverse of sinh", "asinh"),
    row(C::Elementwise, "acosh", X, &[], "inverse of cosh, from 1 on", "acosh"),
    row(C::Elementwise, "atanh", X, &[], "inverse of tanh on −1 to 1", "atanh"),
    row(C::Elementwise, "not", X, &[], "of bool: true where x is false", "not(c)"),
    row(C::Elementwise, "cast", X, &[attr("to", AttrKind::Word(DTYPES), "", "element type")],
        "the elements as another type; to integers cut towards zero, to bool x ≠ 0", "cast(to: bool)"),
    row(C::Elementwise, "add", AB, &[], "a + b, broadcast", "add(b)"),
    row(C::Elementwise, "sub", AB, &[], "a − b, broadcast", "sub(b)"),
    row(C::Elementwise, "mul", AB, &[], "a · b, broadcast", "mul(b)"),
    row(C::Elementwise, "div", AB, &[], "a / b, broadcast", "div(b)"),
    row(C::Elementwise, "max", AB, &[], "the greater of a and b, broadcast", "max(b)"),
    row(C::Elementwise, "min", AB, &[], "the lesser of a and b, broadcast", "min(b)"),
    row(C::Elementwise, "pow", AB, &[], "a to the power of b, broadcast", "pow(2)"),
    row(C::Elementwise, "equal", AB, &[], "bool: a = b, broadcast", "equal(b)"),
    row(C::Elementwise, "less", AB, &[], "bool: a < b, broadcast", "less(b)"),
    row(C::Elementwise, "less_equal", AB, &[], "bool: a ≤ b, broadcast", "less_equal(b)"),
    row(C::Elementwise, "and", AB, &[], "of bool: both; of integers bit by bit; broadcast", "and(c, d)"),
    row(C::Elementwise, "or", AB, &[], "of bool: either or both; of integers bit by bit; broadcast", "or(c, d)"),
    row(C::Elementwise, "xor", AB, &[], "of bool: exactly one; of integers bit by bit; broadcast", "xor(c, d)"),
    row(C::Elementwise, "rem", AB, &[], "a − trunc(a / b) · b, with the sign of a, broadcast", "rem(b)"),
    row(C::Elementwise, "shift_left", AB, &[], "of integers: a · 2ᵇ, wrapped, broadcast", "shift_left(i, i)"),
    row(C::Elementwise, "shift_right", AB, &[], "of integers: floor(a / 2ᵇ), broadcast", "shift_right(i, i)"),
    row(C::Elementwise, "select", &[data("condition"), data("a"), data("b")], &[],
        "a where the bool condition holds, else b, broadcast", "select(c, a, b)"),

    layer(row(C::Normalisation, "batch_norm", &[data("x"), param("scale"), param("shift"), param("mean"), param("var")], &[EPS],
        "(x − mean) / √(var + eps) · scale + shift per channel", "batch_norm"), &[]),
    layer(row(C::Normalisation, "layer_norm", &[data("x"), param("scale"), optional("shift")],
        &[attr("axis", AttrKind::Axis, "-1", "first normalised axis"), EPS],
        "normalises over the axes from `axis` on, then scales and shifts", "layer_norm"), &[]),
    layer(row(C::Normalisation, "instance_norm", &[data("x"), param("scale"), param("shift")], &[EPS],
        "normalises each channel of each image over its spatial axes", "instance_norm"), &[]),

    row(C::Pooling, "max_pool", X, &[KERNEL, POOL_STRIDE, PAD, DILATION, CEIL], "greatest element of each window; padding never wins",
        "max_pool(kernel: 2)"),
    row(C::Pooling, "max_pool_grad", &[data("x"), data("y"), data("g")], &[KERNEL, POOL_STRIDE, PAD, DILATION, CEIL],
        "gradient of max_pool's x: each window hands its g to its first element that equals y", "max_pool_grad(b, a, kernel: 3, stride: 1, pad: 1)"),
    row(C::Pooling, "max_pool_indices", &[data("x"), data("y")], &[KERNEL, POOL_STRIDE, PAD, DILATION, CEIL],
        "i64: places in x of the elements of y = max_pool(x)", "max_pool_indices(x, kernel: 1)"),
    row(C::Pooling, "avg_pool", X, &[KERNEL, POOL_STRIDE, PAD, DILATION, CEIL,
        attr("count_include_pad", AttrKind::Bool, "false", "divide by the whole window")], "mean of each window", "avg_pool(kernel: 2)"),
    short(row(C::Pooling, "global_avg_pool", X, &[], "reduce_mean over the spatial axes, kept with size 1", "global_avg_pool")),
    short(row(C::Pooling, "global_max_pool", X, &[], "reduce_max over the spatial axes, kept with size 1", "global_max_pool")),
    row(C::Pooling, "spp", X, &[attr("bins", AttrKind::Ints, "", "bins an axis, level by level")],
        "spatial pyramid pooling: max over b × b adaptive bins for each level → [N, C · Σ b²]", "spp(bins: [7, 3, 2, 1])"),

    row(C::Reduction, "softmax", X, &[AXIS1], "exp(x) / Σ exp(x) along the axis", "softmax(axis: 1)"),
    row(C::Reduction, "reduce_mean", X, REDUCE, "mean over the axes", "reduce_mean(axes: [2, 3])"),
    row(C::Reduction, "reduce_sum", X, REDUCE, "sum over the axes", "reduce_sum(axes: [1])"),
    row(C::Reduction, "reduce_max", X, REDUCE, "greatest element over the axes", "reduce_max(axes: [1])"),
    row(C::Reduction, "reduce_min", X, REDUCE, "least element over the axes", "reduce_min(axes: [1])"),
    row(C::Reduction, "reduce_prod", X, REDUCE, "product over the axes", "reduce_prod(axes: [1])"),

    row(C::Reduction, "arg_max", X, ARG, "i64: place of the greatest element along the axis", "arg_max(axis: 1)"),
    row(C::Reduction, "arg_min", X, ARG, "i64: place of the least element along the axis", "arg_min(axis: 1)"),
    row(C::Reduction, "arg_sort", X, &[AXIS1, attr("count", AttrKind::Dims, "all", "how many of the first places"),
        attr("descending", AttrKind::Bool, "false", "the greatest first")],
        "i64: places of the elements along the axis in their order; equal ones stay in order", "arg_sort(axis: 1, count: 3, descending: true)"),
    row(C::Reduction, "cumsum", X, CUMULATE, "sum of the elements up to each one", "cumsum(axis: 1)"),
    row(C::Reduction, "cumprod", X, CUMULATE, "product of the elements up to each one", "cumprod(axis: 1)"),

    row(C::Shape, "concat", &[Operand { name: "xs", kind: OperandKind::Variadic }], &[AXIS1], "joins tensors along the axis", "concat(a, b, axis: 1)"),
    row(C::Shape, "split", X, &[AXIS1, attr("sizes", AttrKind::Dims, "", "sizes of the parts")], "cuts along the axis into parts", "split(sizes: [8, 8])"),
    row(C::Shape, "slice", X, &[AXES, attr("starts", AttrKind::Dims, "", "first elements"), attr("ends", AttrKind::Dims, "", "ends, exclusive"),
        attr("steps", AttrKind::Ints, "1", "steps")], "elements starts, starts + steps, … before ends", "slice(axes: [2], starts: [1], ends: [-1])"),
    row(C::Shape, "pad", X, &[attr("pads", AttrKind::Ints, "", "amounts before each axis, then after each axis"),
        attr("mode", AttrKind::Word(&["constant", "reflect", "edge", "wrap"]), "constant", "where the new elements come from"),
        attr("value", AttrKind::Float, "0", "the constant")], "enlarges a tensor at its edges", "pad(pads: [0, 0, 1, 1, 0, 0, 1, 1])"),
    row(C::Shape, "transpose", X, &[attr("perm", AttrKind::Ints, "", "axis i of the result is axis perm[i] of x")], "permutes axes", "transpose(perm: [0, 2, 3, 1])"),
    row(C::Shape, "reshape", X, &[attr("shape", AttrKind::Dims, "", "the new shape; one size may be -1")], "the same elements, row-major, in another shape",
        "reshape(shape: [N, -1])"),
    row(C::Shape, "expand", X, &[attr("shape", AttrKind::Dims, "", "the new shape")],
        "repeats x along axes of size 1 and new axes in front", "expand(shape: [4, N, 16, 16, 16])"),
    row(C::Shape, "gather", XI, &[AXIS0], "slices of x at the places along the axis; negative ones count from the end",
        "gather(i)"),
    row(C::Shape, "gather_elements", XI, &[AXIS0], "elements of x, at the index along the axis and the same place elsewhere",
        "gather_elements(i, axis: 1)"),
    row(C::Shape, "gather_nd", XI, &[attr("batch", AttrKind::Int, "0", "leading axes that x and the indices share")],
        "slices of x at the places along several axes that each row of the indices holds", "gather_nd(j)"),
    row(C::Shape, "scatter_elements", XIU, &[AXIS0, SCATTER], "x with the updates at the index along the axis and the same place elsewhere",
        "scatter_elements(i, x, axis: 1)"),
    row(C::Shape, "scatter_nd", XIU, &[SCATTER], "x with the updates at the places along its first axes that each row of the indices holds",
        "scatter_nd(j, u)"),
    short(row(C::Shape, "flatten", X, &[AXIS1], "reshape to two axes, cut before `axis`", "flatten")),
    row(C::Shape, "depth_to_space", X, &[attr("block", AttrKind::Int, "", "upscaling factor"),
        attr("mode", AttrKind::Word(&["dcr", "crd"]), "dcr", "order within the channels; crd is torch's pixel shuffle")],
        "[N, C·b², H, W] → [N, C, H·b, W·b]", "depth_to_space(2)"),
    row(C::Shape, "resize", X, &[attr("scale", AttrKind::Scales, "", "factor; or give `size`, or both: coordinates then use the factor"), attr("size", AttrKind::Dims, "", "spatial output size"),
        attr("mode", AttrKind::Word(&["nearest", "linear", "cubic"]), "nearest", "interpolation"),
        attr("coords", AttrKind::Word(&["half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "pixel_centre", "align_corners", "asymmetric", "crop_and_resize"]), "half_pixel", "input coordinate of an output element"),
        attr("roi", AttrKind::Scales, "the whole", "crop_and_resize: where the region starts on each spatial axis, then where it ends, in parts of the size − 1"),
        attr("extrapolation", AttrKind::Float, "0", "crop_and_resize: the result outside of the input"),
        attr("cubic_a", AttrKind::Float, "-0.75", "coefficient of cubic mode"),
        attr("antialias", AttrKind::Bool, "false", "stretch the kernel where an axis shrinks"),
        attr("exclude_outside", AttrKind::Bool, "false", "leave out weights outside of the input"),
        attr("nearest", AttrKind::Word(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]), "round_prefer_floor", "rounding in nearest mode")],
        "resamples the spatial axes", "resize(scale: 2, mode: linear)"),

    row(C::Selection, "nonzero", X, &[], "places [rank, elements] of the elements that are not 0, then zeros; and their number", "nonzero"),
    row(C::Selection, "non_max_suppression",
        &[data("boxes"), data("scores"), data("order"), data("most"), data("overlap"), data("threshold")],
        &[attr("limit", AttrKind::Dims, "all boxes", "most boxes of an image and class"),
            attr("centre", AttrKind::Bool, "false", "boxes are [x, y, width, height], not two corners [y, x, y, x]")],
        "places of the boxes that overlap with none before them in the order, by image and class; then −1",
        "non_max_suppression(boxes, scores, order, most, overlap, threshold, limit: 3)"),
    row(C::Selection, "cut", &[data("x"), data("count")], &[AXIS0, attr("size", AttrKind::NewDim, "", "name of the size")],
        "the first `count` slices along the axis, whose size is known at run time alone", "cut(count, axis: 0, size: K)"),

    row(C::Other, "dropout", X, &[attr("p", AttrKind::Float, "0.5", "probability of dropping")], "identity at inference", "dropout(0.5)"),
    row(C::Other, "map", X, &[], "x itself; carries an epilogue in dumps", "map { %acc => relu(%acc) }"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = OPS.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), OPS.len());
    }

    #[test]
    fn arity_counts_optional_operands() {
        assert_eq!(find("conv").unwrap().arity(), (2, Some(3)));
        assert_eq!(find("concat").unwrap().arity(), (1, None));
        assert!(find("convolution").is_none());
    }
}
