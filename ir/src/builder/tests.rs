//! Graphs from Rust: names, defaults, errors.

use super::*;
use crate::types::ShapeDisplay;

fn names(graph: &Graph) -> Vec<String> {
    let describe = |id| {
        let node = graph.node(id);
        format!("{}: {}", node.name.as_deref().unwrap_or("?"), ShapeDisplay(&node.types[0].shape))
    };
    graph.params().into_iter().map(describe).collect()
}

#[test]
fn layers_make_their_parameters() {
    let mut g = GraphBuilder::new("t");
    let x = g.input("x", "N, 4, L");
    let y = g.conv(x, "a", ConvSpec::new(6, 3).groups(2).same()).unwrap();
    let y = g.scope("up", |g| g.conv_transpose(y, "b", ConvSpec::new(2, 2).stride(2).no_bias())).unwrap();
    let y = g.prelu_shared(y, "b").unwrap();
    let y = g.instance_norm(y, "n").unwrap();
    let two = g.constant(2.0);
    let y = g.mul(y, two).unwrap();
    g.output("y", y);
    let graph = g.finish().unwrap();
    let want = [
        "a.weight: [6, 2, 3]",
        "a.bias: [6]",
        "up.b.weight: [6, 2, 2]",
        "b.slope: [1]",
        "n.scale: [2]",
        "n.shift: [2]",
    ];
    assert_eq!(names(&graph), want);
    assert_eq!(graph.ty(graph.outputs[0].value).to_string(), "f32[N, 2, 2*L]");
}

#[test]
fn errors_name_the_call() {
    let mut g = GraphBuilder::new("t");
    let x = g.input("x", [1, 3, 8, 8]);
    let text = |r: Result<Value, BuildError>| r.unwrap_err().to_string();
    let e = text(g.conv(x, "stem", ConvSpec::new(8, 9)));
    assert!(e.starts_with("conv `stem`: the window of conv spans 9 elements along axis 2"), "{e}");
    assert_eq!(text(g.op("relu", &[x], [("alpha", 1.0.into())])), "relu: relu has no attribute `alpha`");
    assert_eq!(text(g.op("sinc", &[x], [])), "sinc: there is no operation `sinc`");
    assert!(text(g.max_pool(x, PoolSpec::new([2, 2, 2]))).contains("3 entries for 2 spatial axes"));
    assert!(text(g.conv(x, "g", ConvSpec::new(8, 1).groups(2))).contains("not known to be divisible"));
    assert!(text(g.conv(x, "g", ConvSpec::new(8, 1).groups(0))).contains("zero"));

    let mut g = GraphBuilder::new("t");
    let x = g.input("x", "N, (");
    g.output("y", x);
    assert!(matches!(g.finish(), Err(BuildError::Dim(_))));

    let mut g = GraphBuilder::new("t");
    let x = g.input("x", [2]);
    let a = g.param("a", [2], Init::constant(0.0)).unwrap();
    let b = g.param("a", [2], Init::constant(0.0)).unwrap();
    let y = g.add(a, b).unwrap();
    let y = g.add(x, y).unwrap();
    g.output("y", y);
    assert!(matches!(g.finish(), Err(BuildError::Invalid(_))));
}
