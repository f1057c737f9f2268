//! Result types, and what is refused.

use super::*;
use crate::graph::{EpArg, EpStep, Epilogue, Graph, Node, Provenance};
use crate::op::{Binary, Op, Unary};
use crate::scalar::Scalar;
use crate::test_util::{facts, op, ty};
use crate::types::{ShapeDisplay, TensorType};

fn check(name: &str, attrs: &str, operands: &[&str], expect: &str) {
    let types: Vec<_> = operands.iter().map(|t| ty(t)).collect();
    let op = op(name, attrs, &types.iter().collect::<Vec<_>>());
    let got = match infer(&op, &types.iter().collect::<Vec<_>>(), &facts()) {
        Ok(results) => {
            results.iter().map(|t| ShapeDisplay(&t.shape).to_string()).collect::<Vec<_>>().join(" ")
        }
        Err(e) => format!("error: {}", e.message),
    };
    assert_eq!(got, expect, "{name}({attrs}) of {operands:?}");
}

#[test]
fn convolutions() {
    let c = |attrs, operands: &[&str], expect| check("conv", attrs, operands, expect);
    c("", &["[1, 3, 8, 9]", "[5, 3, 3, 3]", "[5]"], "[1, 5, 6, 7]");
    c(r#""stride": 2, "pad": 1"#, &["[N, 3, H, W]", "[8, 3, 3, 3]"], "[N, 8, H/2, floor((W + 1)/2)]");
    c(r#""pad": [0, 1, 2, 3]"#, &["[1, 3, 8, 8]", "[5, 3, 3, 3]"], "[1, 5, 8, 10]");
    c(r#""dilation": 2"#, &["[1, 3, 8]", "[5, 3, 3]"], "[1, 5, 4]");
    c(r#""pad": "same", "stride": 2"#, &["[1, 3, 7, H]", "[5, 3, 3, 3]"], "[1, 5, 4, H/2]");
    c(r#""groups": 6, "pad": 1"#, &["[N, 6, H, W]", "[12, 1, 3, 3]", "[12]"], "[N, 12, H, W]");
    c(
        "",
        &["[N, 32, 56, 56]", "[128, 64, 3, 3]"],
        "error: conv expects 64 input channels per group (weight [128, 64, 3, 3], groups 1) but x has 32",
    );
    c(
        r#""groups": 3"#,
        &["[N, 6, 8, 8]", "[4, 2, 1, 1]"],
        "error: conv cannot cut 4 output channels into 3 groups",
    );
    c(
        "",
        &["[N, 6, 5, 8]", "[4, 6, 7, 7]"],
        "error: the window of conv spans 7 elements along axis 2, but x has only 5 there",
    );
    c(
        "",
        &["[N, 6, 5, 8]", "[4, 6, 1, 1]", "[3]"],
        "error: conv expects a bias of shape [4], one element a channel, but it is f32[3]",
    );
    c("", &["i32[N, 6, 5, 8]", "i32[4, 6, 1, 1]"], "error: conv works on floating-point tensors, not i32");
    c("", &["[N, 6, 5, 8]", "[4, 6, 1]"], "error: conv on 2 spatial axes needs a weight of rank 4, not 3");
}

#[test]
fn transposed_convolutions() {
    let c = |attrs, operands: &[&str], expect| check("conv_transpose", attrs, operands, expect);
    c(r#""stride": 2"#, &["[N, 8, H, W]", "[8, 4, 2, 2]", "[4]"], "[N, 4, 2*H, 2*W]");
    c(r#""stride": 2, "pad": 1, "output_pad": 1"#, &["[1, 8, 5]", "[8, 4, 3]"], "[1, 4, 10]");
}

#[test]
fn pools() {
    let c = |attrs, operands: &[&str], expect| check("max_pool", attrs, operands, expect);
    c(r#""kernel": 2"#, &["[N, 8, H, W]"], "[N, 8, H/2, floor(W/2)]");
    c(r#""kernel": 3, "stride": 2, "ceil": true"#, &["[1, 8, 6, 7]"], "[1, 8, 3, 3]");
    c(r#""kernel": 3, "stride": 2, "pad": 1, "ceil": true"#, &["[1, 8, W]"], "[1, 8, floor(W/2) + 1]");
    // The fourth window would start at 7, in the padding at the end.
    c(r#""kernel": 2, "stride": 3, "pad": 1, "ceil": true"#, &["[1, 8, 5]"], "[1, 8, 2]");
    c(r#""kernel": 3, "pad": "same", "stride": 2"#, &["[1, 8, 5]"], "[1, 8, 3]");
    check(
        "avg_pool",
        r#""kernel": 2, "pad": 2"#,
        &["[1, 8, 5]"],
        "error: avg_pool: the padding 2 along axis 2 is not less than the window's 2 elements, so a window would see \
         nothing but padding",
    );
    check("spp", r#""bins": [6, 3, 2, 1]"#, &["[N, 512, H, W]"], "[N, 25600]");
    check("global_avg_pool", "", &["[N, 8, H, W]"], "[N, 8, 1, 1]");
}

/// The closed form of ceil mode against the definition, by enumeration.
#[test]
fn ceil_mode_counts_windows() {
    for size in 1..12i64 {
        for (k, s, d) in [(1, 1, 1), (2, 2, 1), (3, 2, 1), (2, 3, 1), (3, 4, 2), (5, 3, 1), (1, 3, 1)] {
            let extent = (k - 1) * d + 1;
            for before in 0..extent.min(3) {
                for after in 0..extent.min(3) {
                    let room = size + before + after - extent;
                    if room < 0 {
                        continue;
                    }
                    let mut want = room / s + i64::from(room % s > 0) + 1;
                    if (want - 1) * s >= size + before {
                        want -= 1;
                    }
                    let a = crate::op::PoolAttrs {
                        kernel: vec![k],
                        stride: vec![s],
                        dilation: vec![d],
                        pad: crate::op::Padding::Explicit(vec![before, after]),
                        ceil: true,
                    };
                    let x = TensorType::f32([1.into(), 1.into(), Dim::sym("W")]);
                    let y = infer(&Op::MaxPool(a), &[&x], &facts()).unwrap();
                    let got = y[0].shape[2].eval(&|_| Some(size)).unwrap();
                    assert_eq!(got, want, "size {size}, k {k}, s {s}, d {d}, pads {before}, {after}");
                }
            }
        }
    }
}

#[test]
fn elementwise_broadcasts() {
    check("add", "", &["[N, 3, H, W]", "[3, 1, 1]"], "[N, 3, H, W]");
    check("mul", "", &["[N, 1]", "[1, K]"], "[N, K]");
    check("mul", "", &["[]", "[1, K]"], "[1, K]");
    check(
        "add",
        "",
        &["[N, 3, H, W]", "[N, 3, W, W]"],
        "error: add cannot broadcast [N, 3, H, W] with [N, 3, W, W]: H and W along axis 2 from the end",
    );
    check("add", "", &["[3]", "i64[3]"], "error: add needs one element type, but a is f32 and b is i64");
    check("relu", "", &["i8[3]"], "[3]");
    check("exp", "", &["i8[3]"], "error: exp works on floating-point tensors, not i8");
    check("prelu", "", &["[N, 3, H, W]", "[3]"], "[N, 3, H, W]");
    check("prelu", "", &["[N, 3, H, W]", "[1]"], "[N, 3, H, W]");
    check("prelu", r#""axes": [1, 3]"#, &["[N, 3, H, W]", "[3, W]"], "[N, 3, H, W]");
    check(
        "prelu",
        "",
        &["[N, 3, H, W]", "[4]"],
        "error: prelu: the slope [4] has 4 elements along axis 1 of x, which has 3",
    );
    check(
        "prelu",
        r#""axes": [3, 1]"#,
        &["[N, 3, H, W]", "[W, 3]"],
        "error: prelu: the axes must strictly increase, but 3 comes before 1",
    );
}

#[test]
fn products_norms_reductions() {
    check("dense", "", &["[N, 7, 64]", "[10, 64]", "[10]"], "[N, 7, 10]");
    check(
        "dense",
        "",
        &["[N, 32]", "[10, 64]"],
        "error: dense expects 64 input features (weight [10, 64]) but x has 32",
    );
    check("matmul", "", &["[B, 1, 5, K]", "[7, K, 3]"], "[B, 7, 5, 3]");
    check("matmul", "", &["[K]", "[7, K, 3]"], "[7, 3]");
    check("matmul", "", &["[7, 3, K]", "[K]"], "[7, 3]");
    check("matmul", "", &["[K]", "[K]"], "[]");
    check(
        "matmul",
        "",
        &["[2, 3]", "[4, 5]"],
        "error: matmul cannot contract 3 columns of a with 4 rows of b",
    );
    check("batch_norm", "", &["[N, 8, H]", "[8]", "[8]", "[8]", "[8]"], "[N, 8, H]");
    check("layer_norm", r#""axis": 1"#, &["[N, 8, H]", "[8, H]"], "[N, 8, H]");
    check("instance_norm", "", &["[N, 8, H]", "[8]", "[8]"], "[N, 8, H]");
    check("softmax", r#""axis": -1"#, &["[N, 8]"], "[N, 8]");
    check("reduce_mean", r#""axes": [3, 2], "keep": true"#, &["[N, 8, H, W]"], "[N, 8, 1, 1]");
    check("reduce_sum", r#""axes": [1]"#, &["[N, 8, H]"], "[N, H]");
}

#[test]
fn moves() {
    check("concat", "", &["[N, 3, H]", "[N, 5, H]"], "[N, 8, H]");
    check(
        "concat",
        "",
        &["[N, 3, H]", "[N, 5, W]"],
        "error: concat along axis 1 needs equal sizes elsewhere, but along axis 2 operand 1 has H and operand 2 has W",
    );
    check("split", r#""sizes": [3, 5]"#, &["[N, 8]"], "[N, 3] [N, 5]");
    check(
        "split",
        r#""sizes": [3, 4]"#,
        &["[N, 8]"],
        "error: split: the sizes [3, 4] sum to 7, but axis 1 has 8",
    );
    check("slice", r#""axes": [1], "starts": [1], "ends": [-1]"#, &["[N, W]"], "[N, W - 2]");
    check("slice", r#""axes": [1], "starts": [-1], "ends": [-1], "steps": [-2]"#, &["[N, 5]"], "[N, 3]");
    check(
        "slice",
        r#""axes": [1], "starts": [3], "ends": [2]"#,
        &["[N, 5]"],
        "error: slice 3..2 with step 1 along axis 1 takes no element",
    );
    check("slice", r#""axes": [1], "starts": [3], "ends": [3]"#, &["[N, 5]"], "[N, 0]");
    check("relu", "", &["[N, 0]"], "[N, 0]");
    check("softmax", "", &["[N, 0]"], "error: softmax needs elements, but f32[N, 0] has none");
    check("pad", r#""pads": [0, 1, 0, 2]"#, &["[N, 5]"], "[N, 8]");
    check(
        "pad",
        r#""pads": [0, 1, 0, 5], "mode": "reflect""#,
        &["[N, 5]"],
        "error: pad cannot reflect 5 elements along axis 1, which has 5",
    );
    check("transpose", r#""perm": [0, 2, 1]"#, &["[N, 5, H]"], "[N, H, 5]");
    check("reshape", r#""shape": ["=N", -1]"#, &["[N, 5, H]"], "[N, 5*H]");
    check("flatten", "", &["[N, 5, 2]"], "[N, 10]");
    check(
        "reshape",
        r#""shape": [3, 4]"#,
        &["[N, 5]"],
        "error: reshape to [3, 4] needs 12 elements, but x has 5*N",
    );
    check("depth_to_space", r#""block": 2"#, &["[N, 12, H, W]"], "[N, 3, 2*H, 2*W]");
    check("resize", r#""scale": 2"#, &["[N, 12, H, W]"], "[N, 12, 2*H, 2*W]");
    check("resize", r#""scale": 0.5"#, &["[N, 12, H, W]"], "[N, 12, H/2, floor(W/2)]");
    check("resize", r#""scale": 1.5"#, &["[N, 12, 5]"], "[N, 12, 7]");
    check("resize", r#""size": ["=W", 7]"#, &["[N, 12, H, W]"], "[N, 12, W, 7]");
}

#[test]
fn limits() {
    let facts = facts();
    assert!(check_type(&ty("[1, 1, 1, 1, 1, 1, 1, 1]"), &facts).is_ok());
    for bad in ["[1, 1, 1, 1, 1, 1, 1, 1, 1]", "[-1]", "[1099511627777]", "[1099511627776, 1099511627776]"] {
        assert!(check_type(&ty(bad), &facts).is_err(), "{bad}");
    }
    let e = infer(&Op::Dense, &[&ty("[3]")], &facts).unwrap_err();
    assert_eq!(e.to_string(), "dense takes 2 to 3 operands, 1 given: x is f32[3]");
    // Wherever attributes come from, a rule must not index outside of them.
    let x = ty("[N, 3, H, W]");
    let pool = |kernel: Vec<i64>| crate::op::PoolAttrs {
        kernel,
        stride: vec![1],
        pad: crate::op::Padding::Explicit(vec![0]),
        dilation: vec![],
        ceil: false,
    };
    for op in [
        Op::MaxPool(pool(vec![1, 1])),
        Op::MaxPool(pool(vec![])),
        Op::Pad { pads: vec![1], mode: crate::op::PadMode::Edge },
        Op::Transpose { perm: vec![9, 9, 9, 9] },
        Op::Softmax { axis: 4 },
        Op::LayerNorm { axis: 4, eps: Scalar(0.0) },
        Op::Split { axis: 7, sizes: vec![] },
        Op::Slice { axes: vec![1], starts: vec![], ends: vec![], steps: vec![1] },
        Op::DepthToSpace { block: 0, mode: crate::op::DepthMode::Dcr },
        Op::DepthToSpace { block: usize::MAX, mode: crate::op::DepthMode::Dcr },
    ] {
        let many = vec![&x; op.spec().unwrap().arity().0];
        assert!(infer(&op, &many, &facts).is_err(), "{op:?}");
    }
}

#[test]
fn constants_adopt_the_other_type() {
    let mut g = Graph::new("t");
    let x = g.add_input("x", ty("i64[4]"));
    let two = g.push_const(2.0);
    let y = g.push(Op::Binary(Binary::Mul), &[two, x]).unwrap();
    assert_eq!(*g.ty(y), ty("i64[4]"));
    let half = g.push_const(0.5);
    let e = g.push(Op::Binary(Binary::Mul), &[x, half]).unwrap_err();
    assert_eq!(e.message, "the constant 0.5 is no value of i64");
}

#[test]
fn epilogues_keep_the_type() {
    let mut g = Graph::new("t");
    let x = g.add_input("x", ty("[N, 4]"));
    let wide = g.add_input("wide", ty("[M, N, 4]"));
    let mut node = Node {
        op: Op::Map,
        operands: vec![x, x],
        arity: 1,
        epilogue: Some(Epilogue {
            steps: vec![
                EpStep { op: Op::Unary(Unary::Relu), args: vec![EpArg::Acc] },
                EpStep { op: Op::Binary(Binary::Add), args: vec![EpArg::Step(0), EpArg::Operand(0)] },
                EpStep {
                    op: Op::Binary(Binary::Mul),
                    args: vec![EpArg::Scalar(Scalar(2.0)), EpArg::Step(1)],
                },
            ],
        }),
        types: vec![],
        name: None,
        provenance: Provenance::default(),
    };
    assert_eq!(infer_node(&g, &node).unwrap(), [ty("[N, 4]")]);
    node.operands[1] = wide;
    let e = infer_node(&g, &node).unwrap_err();
    assert!(e.message.contains("step 1 (add) has the type f32[M, N, 4]"), "{e}");
}
