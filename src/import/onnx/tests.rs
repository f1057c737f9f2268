//! Whole models, built from messages.

use super::proto::*;
use super::*;
use prost::Message;
use rectify_ir::literal::Literal;
use rectify_ir::op::{Op, Source};
use rectify_ir::{DType, Dim};

fn value(name: &str, dims: &[&str]) -> ValueInfoProto {
    typed(name, 1, dims)
}

/// Sizes are numbers, names, or `?` for unknown.
fn typed(name: &str, elem_type: i32, dims: &[&str]) -> ValueInfoProto {
    let dim = |d: &&str| Dimension {
        value: match d.parse() {
            Ok(n) => Some(dimension::Value::Size(n)),
            Err(_) if *d == "?" => None,
            Err(_) => Some(dimension::Value::Param((*d).into())),
        },
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type, shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::Tensor(tensor)) };
    ValueInfoProto { name: name.into(), r#type: Some(r#type) }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let list = |l: &[&str]| l.iter().map(|s| (*s).to_string()).collect();
    NodeProto {
        op_type: op.into(),
        input: list(inputs),
        output: list(outputs),
        attribute,
        ..Default::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type, ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(i), r#type: AttributeType::Int as i32, ..Default::default() }
}

fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let n: i64 = dims.iter().product();
    let raw = (0..n).flat_map(|i| (i as f32 / 8.0).to_le_bytes()).collect::<Vec<u8>>();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        raw_data: Some(raw.into()),
        ..Default::default()
    }
}

fn longs(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 7,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn model(opset: i64, graph: GraphProto) -> ModelProto {
    let set = OperatorSetIdProto { domain: String::new(), version: opset };
    ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![set], ..Default::default() }
}

fn import_with(proto: &ModelProto, options: &Options) -> Result<Imported, Problems> {
    OnnxModel::from_bytes(proto.encode_to_vec(), "net.onnx").unwrap().import(options)
}

fn import(proto: &ModelProto) -> Result<Imported, Problems> {
    import_with(proto, &Options::default())
}

/// Convolution, rectifier, flattening by shape arithmetic, and a dense layer.
fn network() -> ModelProto {
    model(
        13,
        GraphProto {
            name: "net".into(),
            input: vec![value("x", &["N", "3", "8", "8"]), value("w", &["4", "3", "3", "3"])],
            output: vec![value("y", &["N", "10"])],
            initializer: vec![
                floats("w", &[4, 3, 3, 3]),
                floats("slope", &[4]),
                floats("fc", &[10, 256]),
                longs("zero", &[0]),
                longs("one", &[1]),
                longs("rest", &[-1]),
            ],
            node: vec![
                NodeProto {
                    name: "conv1".into(),
                    ..node("Conv", &["x", "w"], &["c"], vec![ints("pads", &[1; 4])])
                },
                node("PRelu", &["c", "slope"], &["r"], vec![]),
                node("Shape", &["r"], &["s"], vec![]),
                node("Slice", &["s", "zero", "one"], &["n"], vec![]),
                node("Concat", &["n", "rest"], &["flat"], vec![int("axis", 0)]),
                node("Reshape", &["r", "flat"], &["f"], vec![]),
                node("Gemm", &["f", "fc"], &["y"], vec![int("transB", 1)]),
            ],
            ..Default::default()
        },
    )
}

#[test]
fn a_network() {
    let imported = import(&network()).unwrap();
    let g = &imported.graph;
    assert_eq!(g.inputs().len(), 1, "a weight that is listed as an input is a parameter");
    assert_eq!(g.ty(g.outputs[0].value).to_string(), "f32[N, 10]");
    let named = |name: &str| {
        let id = g.node_ids().into_iter().find(|n| g.node(*n).name.as_deref() == Some(name));
        &g.node(id.unwrap_or_else(|| panic!("no node {name}"))).op
    };
    assert!(matches!(named("conv1"), Op::Conv(_)));
    assert_eq!(*named("r"), Op::Prelu { axes: vec![1] }, "a legacy slope of one element a channel");
    assert_eq!(*named("f"), Op::Reshape { shape: vec![Dim::sym("N"), Dim::Const(256)] });
    assert!(matches!(named("slope"), Op::Param(Source::Data(_))));
    match named("fc") {
        Op::Param(Source::File { file, tensor, .. }) => {
            assert_eq!((&**file, &**tensor), ("net.onnx", "fc"));
            assert_eq!(imported.weights.get(tensor).unwrap().bytes.len(), 10240);
        }
        op => panic!("{op:?}"),
    }
    // Input, three weights, and four operations: the shape arithmetic is gone.
    assert_eq!(g.len(), 8);
    assert!(rectify_ir::verify::verify(g).is_ok());
    assert_eq!(imported.tensors.iter().filter(|(n, _)| &**n == "c").count(), 1);
}

#[test]
fn weights_are_slices_of_the_file() {
    let file = bytes::Bytes::from(network().encode_to_vec());
    let range = file.as_ptr_range();
    let model = OnnxModel::from_bytes(file, "net.onnx").unwrap();
    assert!(range.contains(&model.weights().get("fc").unwrap().bytes.as_ptr()));
}

#[test]
fn all_problems_at_once() {
    let mut proto = network();
    let graph = proto.graph.as_mut().unwrap();
    graph.node[0].attribute.push(int("magic", 1));
    graph.node.push(node("Frobnicate", &["x"], &["z"], vec![]));
    graph.node.push(node("Relu", &["z"], &["zz"], vec![]));
    graph.node.push(node("Relu", &["nothing"], &["n2"], vec![]));
    graph.node.push(node("Add", &["x", "fc"], &["sum"], vec![]));
    graph.output.push(value("zz", &["N"]));
    let problems = import(&proto).unwrap_err().0;
    let kinds: Vec<_> = problems.iter().map(|p| p.kind.clone()).collect();
    use ProblemKind::{Malformed, Shape, UnsupportedAttribute, UnsupportedOp};
    assert_eq!(kinds, [UnsupportedAttribute, UnsupportedOp, Malformed, Shape], "{problems:#?}");
    let text = problems[3].to_string();
    assert!(text.contains("node `sum` (Add)") && text.contains("fc f32[10, 256]"), "{text}");
    assert!(problems[1].help.is_some());
}

#[test]
fn values_of_inputs_that_shapes_depend_on() {
    let proto = model(
        13,
        GraphProto {
            input: vec![value("x", &["2", "6"]), typed("to", 7, &["2"])],
            output: vec![value("y", &["3", "4"])],
            node: vec![
                node("Identity", &["to"], &["shape"], vec![]),
                node("Reshape", &["x", "shape"], &["y"], vec![]),
            ],
            ..Default::default()
        },
    );
    assert_eq!(import(&proto).unwrap_err().needed_values(), Some(vec!["to".into()]));
    let mut options = Options::default();
    options.values.insert("to".into(), rectify_ir::literal::Literal::i64(&[2], &[3, -1]).unwrap());
    let imported = import_with(&proto, &options).unwrap();
    assert_eq!(imported.graph.ty(imported.graph.outputs[0].value).to_string(), "f32[3, 4]");
    // It is a constant now, so the graph cannot be run with another value.
    assert_eq!(imported.graph.inputs().len(), 1);
}

#[test]
fn inputs_without_elements() {
    let net = |axes: ValueInfoProto, node: NodeProto| {
        let input = vec![value("x", &["2", "6"]), axes];
        model(13, GraphProto { input, output: vec![value("y", &[])], node: vec![node], ..Default::default() })
    };
    // An empty list of axes is a value like any other: all axes.
    let proto = net(typed("axes", 7, &["0"]), node("ReduceSum", &["x", "axes"], &["y"], vec![]));
    assert_eq!(import(&proto).unwrap_err().needed_values(), Some(vec!["axes".into()]));
    let mut options = Options::default();
    options.values.insert("axes".into(), rectify_ir::literal::Literal::i64(&[0], &[]).unwrap());
    let imported = import_with(&proto, &options).unwrap();
    assert_eq!(imported.graph.ty(imported.graph.outputs[0].value).to_string(), "f32[1, 1]");
    // Where nobody asks for the values, and as data, it is an input like any other.
    for (empty, read) in [(typed("e", 7, &["0"]), "x"), (value("e", &["3", "0"]), "e")] {
        let imported = import(&net(empty, node("Relu", &[read], &["y"], vec![]))).unwrap();
        assert_eq!(imported.graph.inputs().len(), 2);
    }
}

#[test]
fn unknown_sizes_get_names() {
    let proto = model(
        13,
        GraphProto {
            input: vec![value("a.b", &["?", "batch size"])],
            output: vec![value("y", &[])],
            node: vec![node("Relu", &["a.b"], &["y"], vec![])],
            ..Default::default()
        },
    );
    let imported = import(&proto).unwrap();
    let y = imported.graph.outputs[0].value;
    assert_eq!(imported.graph.ty(y).to_string(), "f32[a_b_0, batch_size]");
    let mut options = Options::default();
    options.dims.insert("batch_size".into(), 5);
    let imported = import_with(&proto, &options).unwrap();
    assert_eq!(imported.graph.ty(y).to_string(), "f32[a_b_0, 5]");
}

#[test]
fn functions_are_inlined() {
    let reference = AttributeProto {
        name: "alpha".into(),
        ref_attr_name: "slope".into(),
        r#type: AttributeType::Float as i32,
        ..Default::default()
    };
    let function = FunctionProto {
        name: "Leaky".into(),
        domain: "local".into(),
        input: vec!["in".into(), "unused".into()],
        output: vec!["out".into()],
        attribute: vec!["slope".into()],
        node: vec![
            node("LeakyRelu", &["in"], &["mid"], vec![reference]),
            node("Relu", &["mid"], &["out"], vec![]),
        ],
        ..Default::default()
    };
    let slope = AttributeProto {
        name: "slope".into(),
        f: Some(0.5),
        r#type: AttributeType::Float as i32,
        ..Default::default()
    };
    let call = |x: &str, y: &str| NodeProto {
        domain: "local".into(),
        ..node("Leaky", &[x], &[y], vec![slope.clone()])
    };
    let mut proto = model(
        13,
        GraphProto {
            input: vec![value("x", &["4"])],
            output: vec![value("z", &["4"])],
            node: vec![call("x", "y"), call("y", "z")],
            ..Default::default()
        },
    );
    proto.functions = vec![function.clone()];
    let imported = import(&proto).unwrap();
    assert_eq!(imported.graph.len(), 5);
    // A function that calls itself ends in a problem, not in an endless loop.
    let mut own = function;
    own.node = vec![call("in", "a"), call("a", "out")];
    proto.functions = vec![own];
    assert!(import(&proto).is_err());
}

/// Changed bytes of a sound file: no panic, whatever they make of it.
#[test]
fn hostile_bytes() {
    let seed = network().encode_to_vec();
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let (mut opened, mut imported) = (0, 0);
    for _ in 0..3000 {
        let mut file = seed.clone();
        for _ in 0..=random(4) {
            // The weights make most of the file; what lies before them is worth changing.
            let at = if random(2) == 0 { random(400) } else { random(file.len()) };
            match random(4) {
                0 => file[at] = random(256) as u8,
                1 => file[at] ^= 1 << random(8),
                2 => drop(file.drain(at..(at + 1 + random(8)).min(file.len()))),
                _ => file.insert(at, random(256) as u8),
            }
            if file.len() < 500 {
                break;
            }
        }
        if let Ok(model) = OnnxModel::from_bytes(file, "net.onnx") {
            opened += 1;
            imported += usize::from(model.import(&Options::default()).is_ok());
        }
    }
    assert!(opened > 100 && imported > 10 && imported < opened, "{opened} {imported}");
}

/// `x` through one branch or the other, after a condition on its rank or on an input.
fn branching(condition: Vec<NodeProto>) -> ModelProto {
    let branch = |name: &str, op: &str| {
        let body = GraphProto {
            node: vec![node(op, &["x"], &[op], vec![]), node("Mul", &[op, "half"], &["t"], vec![])],
            initializer: vec![TensorProto { name: "half".into(), ..floats("half", &[3]) }],
            output: vec![value("t", &["N", "3"])],
            ..Default::default()
        };
        let r#type = AttributeType::Graph as i32;
        AttributeProto { name: name.into(), g: Some(Box::new(body)), r#type, ..Default::default() }
    };
    let mut nodes = condition;
    nodes.push(node(
        "If",
        &["c"],
        &["y"],
        vec![branch("then_branch", "Relu"), branch("else_branch", "Sigmoid")],
    ));
    model(
        13,
        GraphProto {
            name: "net".into(),
            input: vec![value("x", &["N", "3"]), typed("flag", 9, &[])],
            output: vec![value("y", &["N", "3"])],
            initializer: vec![longs("two", &[2])],
            node: nodes,
            ..Default::default()
        },
    )
}

#[test]
fn a_known_condition_chooses_its_branch() {
    let ops = |imported: &Imported| {
        let g = &imported.graph;
        g.node_ids()
            .into_iter()
            .map(|id| g.node(id).op.name())
            .filter(|n| ["relu", "sigmoid"].contains(n))
            .collect::<Vec<_>>()
    };
    let of_rank = |compare: &str| {
        let rank = node("Shape", &["x"], &["s"], vec![]);
        let count = node("Size", &["s"], &["n"], vec![]);
        branching(vec![rank, count, node(compare, &["n", "two"], &["c"], vec![])])
    };
    assert_eq!(ops(&import(&of_rank("Equal")).unwrap()), ["relu"]);
    assert_eq!(ops(&import(&of_rank("Greater")).unwrap()), ["sigmoid"]);

    let of_input = branching(vec![node("Not", &["flag"], &["c"], vec![])]);
    let problems = import(&of_input).unwrap_err();
    assert_eq!(problems.needed_values(), Some(vec!["flag".to_string()]));
    let flag = Literal { dtype: DType::Bool, shape: vec![], bytes: [1].into() };
    let options = Options { values: [("flag".to_string(), flag)].into(), ..Options::default() };
    assert_eq!(ops(&import_with(&of_input, &options).unwrap()), ["sigmoid"]);

    let of_data = branching(vec![
        node("ReduceMax", &["x"], &["m"], vec![int("keepdims", 0)]),
        node("Greater", &["m", "m"], &["c"], vec![]),
    ]);
    let problems = import(&of_data).unwrap_err().to_string();
    assert!(problems.contains("condition"), "{problems}");
}
