//! Each rule of the algebra alone: it fires, it refuses what it must not touch, and it agrees with the interpreter, on
//! NaN, infinities and signed zeros too where it is marked exact.

mod support;

use rectify_passes::algebra::{Holds, all_rules};
use std::collections::BTreeSet;
use support::{assert_close, assert_same, evaluate, firings, graph, run};

struct Case {
    rule: &'static str,
    /// Bodies of models (see `support::graph`) in which the rule fires.
    fires: &'static [&'static str],
    /// Bodies in which it must not, each with words of the reason that the log gives, or nothing.
    refuses: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { rule: "drop-identity",
        fires: &["param p: f32[4, 1, 1] = data([1, 1, 1, 1])\nrelu(x) * p", "param p: f32[1] = data([0])\nabs(x) + p"],
        refuses: &[
            ("param p: f32[4, 1, 1] = data([1, 1, 1, 2])\nrelu(x) * p", ""),
            // A parameter that only starts at 1 keeps its place.
            ("param p: f32[4, 1, 1] = constant(1)\nrelu(x) * p", ""),
            // The number enlarges the result.
            ("param p: f32[5, 2, 4, 6, 6] = constant(0)\nrelu(x) + p", ""),
        ] },
    Case { rule: "rectifier-of-positive",
        fires: &["x |> sigmoid |> prelu", "x |> exp |> relu", "max(x |> relu, y |> abs) |> leaky_relu(0.5)", "x |> softplus |> abs"],
        refuses: &[("x |> tanh |> prelu", ""), ("(relu(x) - relu(y)) |> relu", "")] },
    Case { rule: "clip-within-range",
        fires: &["x |> sigmoid |> clip(min: -1, max: 2)"],
        refuses: &[("x |> sigmoid |> clip(min: 0.25, max: 2)", "")] },
    Case { rule: "clip-of-clip",
        fires: &["x |> relu |> clip(min: -1, max: 0.5)", "x |> clip(min: -0.5, max: 0.5) |> relu", "x |> clip(min: 0, max: 1) |> clip(min: 2, max: 3)"],
        refuses: &[("x |> clip(min: 0, max: 1) |> tanh |> relu", "")] },
    Case { rule: "neg-of-neg", fires: &["x |> neg |> neg"], refuses: &[("x |> neg |> exp |> neg", "")] },

    Case { rule: "prelu-equal-slopes",
        fires: &["param a: f32[4] = data([0.1, 0.1, 0.1, 0.1])\nprelu(x, slope: a)"],
        refuses: &[
            ("param a: f32[4] = data([0.1, 0.1, 0.1, 0.2])\nprelu(x, slope: a)", ""),
            // It costs the same, and may be loaded later.
            ("x |> prelu", ""),
        ] },
    Case { rule: "prelu-slope-zero",
        fires: &["x |> prelu(slope: constant(0))"],
        refuses: &[("x |> prelu(slope: constant(0.1))", ""), ("x |> prelu(slope: normal(std: 0))", "")] },
    Case { rule: "prelu-of-prelu",
        fires: &[
            "x |> prelu |> prelu(slope: normal(std: 1))",
            "x |> prelu(slope: uniform(0.1, 0.5)) |> prelu(slope: normal(std: 1))",
            "x |> leaky_relu(0.5) |> leaky_relu(-0.5)",
            "x |> relu |> prelu(slope: normal(std: 1))",
            // Nothing below 0 is left for the outer one.
            "x |> leaky_relu(-0.5) |> prelu",
        ],
        refuses: &[
            ("x |> prelu(slope: normal(std: 1)) |> prelu", "not known"),
            ("x |> prelu(slope: uniform(-1, 1)) |> prelu", "negative"),
            ("param a: f32[6, 1] = uniform(0.1, 0.2)\nx |> prelu(slope: uniform(0.1, 0.5)) |> prelu(slope: a)", "varies"),
        ] },
    Case { rule: "scale-through-prelu",
        fires: &[
            "param s: f32[6, 1, 1] = uniform(0.5, 2)\nprelu(x |> conv(6, kernel: 3)) * s",
            "relu(x |> conv(6, kernel: 3)) * 3",
        ],
        refuses: &[
            ("param s: f32[6, 1, 1] = normal(std: 1)\nprelu(x |> conv(6, kernel: 3)) * s", "not known"),
            ("relu(x |> conv(6, kernel: 3)) * -1", "negative"),
            ("let c = x |> conv(6, kernel: 3)\n(relu(c) * 2, c)", "output"),
            ("let c = relu(x |> conv(6, kernel: 3))\n(c * 2, c |> tanh)", "read 2 times"),
        ] },
    Case { rule: "max-pool-before-relu",
        fires: &[
            "x |> conv(6, kernel: 3) |> relu |> max_pool(kernel: 2)",
            "x |> clip(min: -0.5, max: 0.5) |> max_pool(kernel: 3, stride: 2, pad: 1)",
            "x |> relu |> global_max_pool",
            "x |> relu |> spp(bins: [2, 1])",
        ],
        refuses: &[("let r = relu(x)\n(r |> max_pool(kernel: 2), r |> tanh)", "read 2 times"), ("x |> relu |> avg_pool(kernel: 2)", "")] },
    Case { rule: "max-pool-before-prelu",
        fires: &[
            "x |> prelu |> max_pool(kernel: 2)",
            "x |> prelu(slope: uniform(0, 2)) |> max_pool(kernel: 3, stride: 2, pad: 1, ceil: true)",
            "x |> prelu(slope: uniform(0, 2)) |> global_max_pool",
            "x |> leaky_relu(0.5) |> spp(bins: [3, 1])",
        ],
        refuses: &[
            ("x |> prelu(slope: constant(-0.1)) |> max_pool(kernel: 2)", "negative"),
            ("x |> prelu(slope: normal(std: 1)) |> max_pool(kernel: 2)", "not known"),
            ("param a: f32[4, 6, 6] = uniform(0, 1)\nprelu(x, slope: a) |> max_pool(kernel: 2)", "varies"),
            ("x |> leaky_relu(0.5) |> reduce_min(axes: [2])", ""),
        ] },

    Case { rule: "prelu-from-parts",
        fires: &[
            "param a: f32[4, 1, 1] = normal(std: 1)\nrelu(x) + a * min(x, 0)",
            "param a: f32[4, 1, 1] = normal(std: 1)\nrelu(x) - a * relu(-x)",
            "param a: f32[1] = normal(std: 1)\n(x - abs(x)) * a * 0.5 + relu(x)",
            "param a: f32[4, 6, 6] = normal(std: 1)\nmax(x, 0) + min(x, 0) * a",
            "relu(x) - 0.2 * relu(-x)",
            "relu(x) + 0.2 * -relu(-x)",
        ],
        refuses: &[
            ("relu(x) + 0.2 * min(y, 0)", ""),
            ("relu(x) + 0.2 * min(x, 1)", ""),
            ("0.2 * relu(-x) - relu(x)", ""),
        ] },
    Case { rule: "prelu-from-max",
        fires: &["param a: f32[4, 1, 1] = uniform(0, 1)\nmax(x, a * x)", "max(0.1 * x, x)"],
        refuses: &[
            ("max(x, 2 * x)", "negative or above 1"),
            ("param a: f32[4, 1, 1] = normal(std: 1)\nmax(x, a * x)", "not known"),
            ("max(x, 0.5 * y)", ""),
        ] },
    Case { rule: "prelu-from-select",
        fires: &[
            "param a: f32[4, 1, 1] = normal(std: 1)\nselect(less(0, x), x, a * x)",
            "param a: f32[4, 1, 1] = normal(std: 1)\nselect(less(x, 0), x * a, x)",
            "select(less_equal(x, 0), 0.1 * x, x)",
            "select(less_equal(0, x), x, 0.1 * x)",
        ],
        refuses: &[
            ("select(less(x, 0), x, 0.1 * x)", ""),
            ("select(less(x, 1), 0.1 * x, x)", ""),
            ("select(less(y, 0), 0.1 * x, x)", ""),
            // A NaN would become 0.
            ("select(less(0, x), x, 0)", ""),
        ] },

    Case { rule: "sigmoid-from-exp",
        fires: &["reciprocal(1 + exp(-x))", "1 / (exp(-x) + 1)", "1 / (exp(x * -1) + 1)"],
        refuses: &[("reciprocal(2 + exp(-x))", ""), ("2 / (1 + exp(-x))", ""), ("1 / (1 + exp(x))", "")] },
    Case { rule: "softplus-from-log",
        fires: &["log(1 + exp(x))"],
        refuses: &[("log(2 + exp(x))", ""), ("log(1 + exp(x) * 2)", "")] },
    Case { rule: "hard-sigmoid-from-clip",
        fires: &["clip(x + 3, min: 0, max: 6) / 6", "relu6(3 + x) * 0.16666667"],
        refuses: &[("clip(x + 3, min: 0, max: 6) / 5", ""), ("clip(x + 2, min: 0, max: 6) / 6", ""), ("clip(x + 3, min: 1, max: 6) / 6", "")] },
    Case { rule: "hard-swish-from-parts",
        fires: &[
            "x * hard_sigmoid(x, alpha: 0.16666667, beta: 0.5)",
            "x * relu6(x + 3) / 6",
            "x * (relu6(x + 3) * 0.16666667)",
            "let c = x |> conv(6, kernel: 3)\nc * relu6(c + 3) / 6",
        ],
        refuses: &[("x * hard_sigmoid(x)", ""), ("y * relu6(x + 3) / 6", ""), ("x * relu6(x + 3) / 3", "")] },
    Case { rule: "silu-from-sigmoid",
        fires: &["x * sigmoid(x)", "sigmoid(x) * x"],
        refuses: &[("x * sigmoid(y)", ""), ("x * sigmoid(x * 1.7)", "")] },
    Case { rule: "gelu-from-erf",
        fires: &[
            "0.5 * x * (1 + erf(x / 1.4142135))",
            "x * (0.5 * (1 + erf(x * 0.70710678)))",
            "let c = x |> conv(6, kernel: 3)\n(c * (1 + erf(c / 1.4142135))) * 0.5",
        ],
        refuses: &[("x * (1 + erf(x / 1.4142135))", ""), ("0.5 * x * (1 + erf(x / 1.5))", ""), ("0.5 * y * (1 + erf(x / 1.4142135))", "")] },
    Case { rule: "gelu-from-tanh",
        fires: &[
            "0.5 * x * (1 + tanh(0.7978846 * (x + 0.044715 * pow(x, 3))))",
            "0.5 * x * (1 + tanh(0.7978846 * (x + 0.044715 * x * x * x)))",
            "0.5 * x * (1 + tanh(0.7978846 * x * (1 + 0.044715 * x * x)))",
        ],
        refuses: &[
            ("0.5 * x * (1 + tanh(0.7978846 * (x + 0.04 * pow(x, 3))))", ""),
            ("0.5 * x * (1 + tanh(0.7978846 * (x + 0.044715 * pow(x, 2))))", ""),
            ("0.5 * x * (1 + tanh(0.7978846 * (y + 0.044715 * pow(y, 3))))", ""),
        ] },
    Case { rule: "layer-norm-from-means",
        fires: &[
            "param g: f32[8] = normal(std: 1)\nlet d = v - reduce_mean(v, axes: [1], keep: true)\nd / sqrt(reduce_mean(d * d, axes: [1], keep: true) + 0.001) * g",
            "param g: f32[6, 6] = normal(std: 1)\nlet d = x - reduce_mean(x, axes: [2, 3], keep: true)\ng * (d / sqrt(reduce_mean(pow(d, 2), axes: [2, 3], keep: true) + 0.001))",
            "param g: f32[8] = normal(std: 1)\nlet d = v - reduce_mean(v, axes: [1], keep: true)\nd * reciprocal(sqrt(reduce_mean(d * d, axes: [1], keep: true) + 0.001)) * g",
        ],
        refuses: &[
            // Not the last axes, one of two means, another tensor's mean, a scale that is one a channel.
            ("param g: f32[4, 1, 1] = normal(std: 1)\nlet d = x - reduce_mean(x, axes: [1], keep: true)\nd / sqrt(reduce_mean(d * d, axes: [1], keep: true) + 0.001) * g", ""),
            ("param g: f32[6] = normal(std: 1)\nlet d = x - reduce_mean(x, axes: [3], keep: true)\nd / sqrt(reduce_mean(d * d, axes: [2, 3], keep: true) + 0.001) * g", ""),
            ("param g: f32[6] = normal(std: 1)\nlet d = x - reduce_mean(y, axes: [3], keep: true)\nd / sqrt(reduce_mean(d * d, axes: [3], keep: true) + 0.001) * g", ""),
            ("param g: f32[4, 1, 1] = normal(std: 1)\nlet d = x - reduce_mean(x, axes: [3], keep: true)\nd / sqrt(reduce_mean(d * d, axes: [3], keep: true) + 0.001) * g", ""),
        ] },
    Case { rule: "layer-norm-absorb-shift",
        fires: &["param b: f32[8] = normal(std: 1)\nlayer_norm(v, shift: none) + b"],
        refuses: &[("param b: f32[1] = normal(std: 1)\nlayer_norm(v, shift: none) + b", ""), ("param b: f32[8] = normal(std: 1)\nlayer_norm(v) + b", "")] },
    Case { rule: "pixel-shuffle-from-moves",
        fires: &[
            "x |> reshape(shape: [2, 1, 2, 2, 6, 6]) |> transpose(perm: [0, 1, 4, 2, 5, 3]) |> reshape(shape: [2, 1, 12, 12])",
            "concat(x, y, axis: 1) |> reshape(shape: [2, 2, 2, 2, 6, 6]) |> transpose(perm: [0, 3, 4, 1, 5, 2]) |> reshape(shape: [2, 2, 12, 12])",
        ],
        refuses: &[
            ("x |> reshape(shape: [2, 1, 2, 2, 6, 6]) |> transpose(perm: [0, 1, 4, 3, 5, 2]) |> reshape(shape: [2, 1, 12, 12])", ""),
            ("x |> reshape(shape: [2, 1, 4, 1, 6, 6]) |> transpose(perm: [0, 1, 4, 2, 5, 3]) |> reshape(shape: [2, 1, 24, 6])", ""),
            ("x |> reshape(shape: [2, 1, 2, 2, 6, 6]) |> transpose(perm: [0, 1, 4, 2, 5, 3]) |> reshape(shape: [2, 1, 6, 24])", ""),
        ] },

    Case { rule: "batch-norm-as-affine",
        fires: &[
            "x |> batch_norm(scale: uniform(-1, 1), shift: normal(std: 1), mean: normal(std: 1), var: uniform(0.5, 2))",
            "v |> batch_norm(scale: uniform(-1, 1), shift: normal(std: 1), mean: normal(std: 1), var: uniform(0.5, 2))",
        ],
        refuses: &[("x |> instance_norm", "")] },
    Case { rule: "conv-absorb-scale",
        fires: &[
            "param s: f32[6, 1, 1] = normal(std: 1)\n(x |> conv(6, kernel: 3, bias: normal(std: 1))) * s",
            "param s: f32[1, 8, 1, 1] = normal(std: 1)\n(x |> conv(8, kernel: 3, groups: 2, bias: none)) * s",
            "param s: f32[6, 1, 1] = normal(std: 1)\n(x |> conv_transpose(6, kernel: 3, stride: 2, bias: normal(std: 1))) * s",
            "param s: f32[6, 1, 1] = normal(std: 1)\n(x |> conv_transpose(6, kernel: 2, stride: 2, groups: 2)) * s",
            "param s: f32[5] = normal(std: 1)\n(v |> dense(5, bias: normal(std: 1))) * s",
            "(x |> conv(6, kernel: 3, bias: normal(std: 1))) * -0.5",
            "param s: f32[] = normal(std: 1)\n(x |> conv(6, kernel: 3, bias: normal(std: 1))) * s",
        ],
        refuses: &[
            ("param s: f32[4] = normal(std: 1)\n(x |> conv(6, kernel: 3)) * s", "varies"),
            ("let c = x |> conv(6, kernel: 3)\n(c * 2, c |> tanh)", "read 2 times"),
            ("(x |> conv(4, kernel: 3, pad: 1)) * y", ""),
        ] },
    Case { rule: "conv-absorb-shift",
        fires: &[
            "param t: f32[6, 1, 1] = normal(std: 1)\n(x |> conv(6, kernel: 3, pad: 1, bias: normal(std: 1))) + t",
            "param t: f32[6, 1, 1] = normal(std: 1)\n(x |> conv(6, kernel: 3, bias: none)) - t",
            "param t: f32[6, 1, 1] = normal(std: 1)\n(x |> conv_transpose(6, kernel: 3, bias: none)) + t",
            "param t: f32[5] = normal(std: 1)\n(v |> dense(5, bias: none)) + t",
            "(x |> conv(6, kernel: 3, bias: normal(std: 1))) + 0.5",
        ],
        refuses: &[
            ("(x |> conv(6, kernel: 3, bias: none)) + 0.5", "no bias"),
            ("param t: f32[4, 4] = normal(std: 1)\n(x |> conv(6, kernel: 3)) + t", "varies"),
            ("let c = x |> conv(6, kernel: 3)\n(c + 1, c)", "output"),
        ] },
    Case { rule: "conv-absorb-input-scale",
        fires: &[
            "param s: f32[4, 1, 1] = normal(std: 1)\n(relu(x) * s) |> conv(6, kernel: 3, pad: 1, bias: normal(std: 1))",
            "param s: f32[4, 1, 1] = normal(std: 1)\n(relu(x) * s) |> conv(6, kernel: 3, groups: 2)",
            "param s: f32[4, 1, 1] = normal(std: 1)\n(relu(x) * s) |> conv_transpose(6, kernel: 3, groups: 2)",
            "param s: f32[8] = normal(std: 1)\n(relu(v) * s) |> dense(5)",
            "(x * 0.5) |> conv(6, kernel: 3)",
        ],
        refuses: &[
            ("param s: f32[6] = normal(std: 1)\n(relu(x) * s) |> conv(6, kernel: 3)", "varies"),
            ("let r = relu(x) * 2\n(r |> conv(6, kernel: 3), tanh(r))", "read 2 times"),
            ("(x * y) |> conv(6, kernel: 3)", ""),
        ] },
    Case { rule: "conv-absorb-input-shift",
        fires: &[
            "param t: f32[4, 1, 1] = normal(std: 1)\n(relu(x) + t) |> conv(6, kernel: 3, bias: normal(std: 1))",
            "param t: f32[4, 1, 1] = normal(std: 1)\n(relu(x) + t) |> conv(6, kernel: 3, stride: 2, groups: 2, bias: none)",
            "param t: f32[8] = normal(std: 1)\n(relu(v) + t) |> dense(5)",
            "(relu(x) + 0.5) |> conv(6, kernel: 3)",
        ],
        refuses: &[
            // The trap: the zeros of the padding stay zeros.
            ("param t: f32[4, 1, 1] = normal(std: 1)\n(relu(x) + t) |> conv(6, kernel: 3, pad: 1)", "pads with zeros"),
            ("param t: f32[4, 1, 1] = normal(std: 1)\n(relu(x) + t) |> conv(6, kernel: 3, pad: same)", "pads with zeros"),
            ("(relu(x) + 0.5) |> conv_transpose(6, kernel: 3)", "fewer taps"),
        ] },
    Case { rule: "drop-zero-bias",
        fires: &["param b: f32[6] = data([0, 0, 0, 0, 0, 0])\nx |> conv(6, kernel: 3, bias: b)"],
        refuses: &[("x |> conv(6, kernel: 3, bias: constant(1))", ""), ("x |> conv(6, kernel: 3)", "")] },
    Case { rule: "scale-of-scale",
        fires: &["relu(x) |> batch_norm(scale: uniform(-1, 1), shift: normal(std: 1), mean: normal(std: 1), var: uniform(0.5, 2)) |> batch_norm(scale: uniform(-1, 1), shift: normal(std: 1), mean: normal(std: 1), var: uniform(0.5, 2))"],
        refuses: &[("param s: f32[4, 1, 1] = normal(std: 1)\nlet a = relu(x) * s\n(a * 2, a)", "output")] },
    Case { rule: "shift-of-shift",
        fires: &["relu(x) |> batch_norm(scale: uniform(-1, 1), shift: normal(std: 1), mean: normal(std: 1), var: uniform(0.5, 2)) |> batch_norm(scale: uniform(-1, 1), shift: normal(std: 1), mean: normal(std: 1), var: uniform(0.5, 2))"],
        refuses: &[("param s: f32[4, 1, 1] = normal(std: 1)\nlet a = relu(x) + s\n(a + 2, tanh(a))", "read 2 times")] },
    Case { rule: "scale-of-shift",
        fires: &["param s: f32[6, 1, 1] = normal(std: 1)\nparam t: f32[6, 1, 1] = normal(std: 1)\n((x |> conv(6, kernel: 3)) + s) * t"],
        refuses: &[("param s: f32[4, 1, 1] = normal(std: 1)\n(relu(x) + s) * 2", "")] },

    Case { rule: "conv-absorb-pad",
        fires: &["x |> pad(pads: [0, 0, 1, 0, 0, 0, 2, 1]) |> conv(6, kernel: 3)", "x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1]) |> conv(6, kernel: 3, pad: 1, stride: 2)"],
        refuses: &[
            ("x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1], value: 1) |> conv(6, kernel: 3)", "the padding is 1"),
            ("x |> pad(pads: [0, 1, 1, 1, 0, 1, 1, 1]) |> conv(6, kernel: 3)", "does not fit"),
            ("x |> pad(pads: [0, 0, -1, -1, 0, 0, 0, 0]) |> conv(6, kernel: 3)", "does not fit"),
            ("x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1], mode: reflect) |> conv(6, kernel: 3)", ""),
        ] },
    Case { rule: "max-pool-absorb-pad",
        fires: &[
            "x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1], value: -inf) |> max_pool(kernel: 3, stride: 2)",
            "x |> relu |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1]) |> max_pool(kernel: 3, stride: 2)",
        ],
        refuses: &[
            // The trap: a zero wins over negative elements.
            ("x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1]) |> max_pool(kernel: 3, stride: 2)", "could win"),
            ("x |> relu |> pad(pads: [0, 0, 2, 2, 0, 0, 2, 2]) |> max_pool(kernel: 2)", "does not fit"),
        ] },
    Case { rule: "avg-pool-absorb-pad",
        fires: &["x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1]) |> avg_pool(kernel: 3, stride: 2)"],
        refuses: &[("x |> pad(pads: [0, 0, 1, 1, 0, 0, 1, 1]) |> avg_pool(kernel: 3, stride: 2, pad: 1)", "does not fit")] },
    Case { rule: "pad-of-pad",
        fires: &["x |> pad(pads: [0, 0, 1, 0, 0, 0, 1, 0]) |> pad(pads: [0, 1, 0, 2, 0, 0, 0, 1])"],
        refuses: &[("x |> pad(pads: [0, 0, 1, 0, 0, 0, 1, 0]) |> pad(pads: [0, 0, -1, 0, 0, 0, 0, 0])", ""),
            ("x |> pad(pads: [0, 0, 1, 0, 0, 0, 1, 0], value: 1) |> pad(pads: [0, 0, 1, 0, 0, 0, 0, 0])", "")] },

    Case { rule: "transpose-of-transpose",
        fires: &["x |> transpose(perm: [0, 2, 3, 1]) |> transpose(perm: [0, 3, 1, 2])", "x |> transpose(perm: [1, 0, 2, 3]) |> transpose(perm: [0, 3, 1, 2])"],
        refuses: &[("x |> transpose(perm: [1, 0, 2, 3]) |> relu |> transpose(perm: [1, 0, 2, 3])", "")] },
    Case { rule: "transpose-as-reshape",
        fires: &["x |> global_avg_pool |> transpose(perm: [0, 2, 3, 1])"],
        refuses: &[("x |> transpose(perm: [0, 2, 3, 1])", "")] },
    Case { rule: "reshape-of-reshape",
        fires: &["x |> reshape(shape: [2, 144]) |> reshape(shape: [8, 36])"],
        refuses: &[("x |> reshape(shape: [2, 144]) |> relu |> reshape(shape: [8, 36])", "")] },
    Case { rule: "concat-of-concat",
        fires: &["concat(concat(x, y, axis: 1), relu(x), axis: 1)"],
        refuses: &[("concat(concat(x, y, axis: 2), concat(y, x, axis: 2), axis: 1)", ""),
            ("let c = concat(x, y, axis: 1)\n(concat(c, x, axis: 1), tanh(c))", "")] },
    Case { rule: "concat-of-split",
        fires: &["let (a, b) = split(tanh(x), axis: 1, sizes: [1, 3])\nconcat(a, b, axis: 1)"],
        refuses: &[("let (a, b) = split(x, axis: 1, sizes: [2, 2])\nconcat(b, a, axis: 1)", "")] },
    Case { rule: "split-of-concat",
        fires: &["let (a, b) = split(concat(tanh(x), y, axis: 1), axis: 1, sizes: [4, 4])\na - b"],
        refuses: &[("let (a, b) = split(concat(x, y, axis: 1), axis: 1, sizes: [3, 5])\n(a, b)", "")] },
    Case { rule: "slice-of-concat",
        fires: &["concat(tanh(x), y, axis: 1) |> slice(axes: [1], starts: [5], ends: [7])"],
        refuses: &[("concat(tanh(x), y, axis: 1) |> slice(axes: [1], starts: [3], ends: [6])", "")] },
];

/// Rules that make what others start from, or that let them pay.
const HELPERS: &[&str] = &["conv-absorb-scale", "batch-norm-as-affine", "scale-of-shift", "scale-of-scale"];

/// The rule with its helpers.
fn with_helpers(rule: &'static str) -> Vec<&'static str> {
    [&[rule], HELPERS].concat()
}

#[test]
fn every_rule_has_cases() {
    let tested: BTreeSet<_> = CASES.iter().map(|c| c.rule).collect();
    let rules: BTreeSet<_> = all_rules().map(|r| r.name).collect();
    assert_eq!(tested, rules);
    assert_eq!(tested.len(), CASES.len());
}

#[test]
fn rules_fire() {
    for case in CASES {
        for text in case.fires {
            let source = graph(text);
            let before = run(&source, "canonicalise", None);
            let after = run(&source, "algebra", Some(&with_helpers(case.rule)));
            assert!(firings(&after.log, case.rule) > 0, "{} does not fire in\n{text}", case.rule);
            assert!(before.graph != after.graph, "{} is not chosen in\n{text}", case.rule);
        }
    }
}

#[test]
fn rules_refuse() {
    for case in CASES {
        for (text, reason) in case.refuses {
            let after = run(&graph(text), "algebra", Some(&[case.rule]));
            assert_eq!(firings(&after.log, case.rule), 0, "{} fires in\n{text}", case.rule);
            let reasons: Vec<_> = after.log.refusals.iter().map(ToString::to_string).collect();
            let given = reasons.iter().any(|r| r.contains(case.rule) && r.contains(reason));
            assert!(reason.is_empty() || given, "{} in\n{text}\ngives {reasons:?}", case.rule);
        }
    }
}

#[test]
fn rules_agree_with_the_interpreter() {
    for case in CASES {
        let rule = all_rules().find(|r| r.name == case.rule).expect("a rule");
        for text in case.fires {
            let source = graph(text);
            let before = run(&source, "canonicalise", None).graph;
            let helped = with_helpers(case.rule);
            // Helpers hold for finite numbers alone, and exact rules need none.
            let only = if rule.holds == Holds::Exact { &helped[..1] } else { &helped };
            let after = run(&source, "algebra", Some(only)).graph;
            for seed in 0..3 {
                let what = format!("{}, seed {seed}\n{text}", case.rule);
                assert_close(&evaluate(&source, seed, false), &evaluate(&after, seed, false), &what);
                if rule.holds == Holds::Exact {
                    assert_same(&evaluate(&before, seed, false), &evaluate(&after, seed, false), &what);
                    assert_same(&evaluate(&before, seed, true), &evaluate(&after, seed, true), &what);
                }
            }
        }
    }
}

/// All rules together on the same models: they must not disturb one another.
#[test]
fn all_rules_together_agree() {
    for text in CASES.iter().flat_map(|c| c.fires.iter().chain(c.refuses.iter().map(|(t, _)| t))) {
        let source = graph(text);
        for stop in ["canonicalise", "algebra", "fold_constants", "cleanup"] {
            let after = run(&source, stop, None).graph;
            let what = format!("after {stop}\n{text}");
            assert_close(&evaluate(&source, 7, false), &evaluate(&after, 7, false), &what);
        }
    }
}
