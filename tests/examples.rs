//! Every example: it checks without a warning, is formatted, optimises, and its dumps in text and JSON give the same bits.

use rectify::compare::{Comparison, Tolerance};
use rectify::data::Generator;
use rectify::export::to_json;
use rectify::{Compiled, Model, Outputs, Tensor};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The example files, `blocks.rect`, which has no model, among them.
fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the examples");
    let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "rect"));
    files.sort();
    files
}

/// The same networks, narrower and on small images, so that running them is quick: 224 pixels become 64, the large fully
/// connected layers 48 wide.
fn small() -> Vec<Model> {
    // Tests of one process run at once: each has a folder of its own.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let small = std::env::temp_dir().join(format!("rectify-examples-{}-{call}", std::process::id()));
    std::fs::create_dir_all(&small).expect("a folder");
    let mut models = Vec::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("an example");
        let text = text.replace("224, 224", "64, 64").replace("dense(4096)", "dense(48)");
        let text = text.replace("112, 112", "32, 32");
        std::fs::write(small.join(file.file_name().expect("a name")), text).expect("a copy");
    }
    for file in files().iter().filter(|f| !f.ends_with("blocks.rect")) {
        models.push(Model::open(small.join(file.file_name().expect("a name"))).expect("a small example"));
    }
    std::fs::remove_dir_all(&small).expect("the folder can go");
    models
}

const SIZES: [(&str, usize); 3] = [("N", 2), ("H", 16), ("W", 32)];

fn inputs(model: &Model) -> Vec<(String, Tensor)> {
    let lookup = |name: &str| SIZES.iter().find(|(n, _)| *n == name).map(|(_, v)| *v as i64);
    let one = |port: rectify::PortInfo| {
        let shape: Vec<usize> =
            port.ty.shape.iter().map(|d| d.eval(&lookup).expect("a size") as usize).collect();
        let tensor = Generator::Random.make(&port.name, port.ty.dtype, &shape, 11).expect("an input");
        (port.name.to_string(), tensor)
    };
    model.inputs().into_iter().map(one).collect()
}

fn run(compiled: &Compiled, inputs: &[(String, Tensor)]) -> Outputs {
    let views: Vec<_> = inputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    compiled.run(&views).unwrap_or_else(|e| panic!("{}: {e}", compiled.graph().name))
}

fn compile(model: &Model) -> Compiled {
    model.compiler().seed(5).threads(2).compile().unwrap_or_else(|e| panic!("{}: {e}", model.name()))
}

#[test]
fn examples_are_clean() {
    for file in files() {
        let report = rectify::check_file(&file).expect("a readable example");
        assert_eq!((report.error_count(), report.warning_count()), (0, 0), "{report}");
        let text = std::fs::read_to_string(&file).expect("an example");
        assert_eq!(rectify::format_text("example", &text).expect("it parses"), text, "{}", file.display());
        assert!(text.contains("///") && (text.contains("Origin:") || file.ends_with("blocks.rect")));
    }
    let lines =
        std::fs::read_to_string(folder().join("prelu_net_a.rect")).expect("prelu_net_a").lines().count();
    assert!(lines <= 25, "{lines} lines");
}

#[test]
fn parameters_of_the_paper_s_models() {
    for (name, millions) in
        [("prelu_net_a", 178), ("vgg19", 143), ("resnet18", 11), ("resnet50", 25), ("mobilenet_v2", 3)]
    {
        let model = Model::open(folder().join(format!("{name}.rect"))).expect(name);
        let norms = [".mean", ".var"];
        let counted = model.parameters().into_iter().filter(|p| !norms.iter().any(|n| p.name.ends_with(n)));
        let elements: u64 = counted.filter_map(|p| p.elements()).sum();
        assert_eq!(elements / 1_000_000, millions, "{name} has {elements}");
    }
}

#[test]
fn dumps_run_with_the_same_results() {
    for model in small() {
        let name = model.name().to_owned();
        let compiled = compile(&model);
        let inputs = inputs(&model);
        let want = run(&compiled, &inputs);
        assert!(want.iter().all(|(_, t)| t.to_f64_vec().iter().all(|v| v.is_finite())), "{name}");
        let text = compiled.graph().to_string();
        let from_text = Model::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(from_text.graph(), compiled.graph(), "{name}");
        let from_json = Model::from_bytes("dump.json", to_json(compiled.graph()).as_bytes());
        let from_json = from_json.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(from_json.graph(), compiled.graph(), "{name}");
        assert_eq!(run(&compile(&from_text), &inputs), want, "{name} from text");
        assert_eq!(run(&compile(&from_json), &inputs), want, "{name} from JSON");
        let typed = Model::parse(&model.graph().to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(run(&compile(&typed), &inputs), want, "{name} from the typed dump");
    }
}

#[test]
fn results_are_the_interpreter_s() {
    for model in small() {
        // The others have the same operations and take long to interpret.
        if !["mlp", "siamese", "fsrcnn", "unet", "he14", "mobilenet_v2", "iresnet50", "srresnet"]
            .contains(&model.name())
        {
            continue;
        }
        let compiled = compile(&model);
        let mut inputs = inputs(&model);
        inputs.iter_mut().for_each(|(_, tensor)| *tensor = first_of_batch(tensor));
        let views: Vec<_> = inputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
        let (got, want) = (run(&compiled, &inputs), compiled.reference(&views).expect("a reference"));
        for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
            let comparison = Comparison::new(got, want, Tolerance::default());
            assert!(comparison.agrees(), "{} {name}: {comparison}", model.name());
        }
    }
}

fn first_of_batch(tensor: &Tensor) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let values = tensor.as_slice::<f32>().expect("f32");
    let part = values[..values.len() / shape[0]].to_vec();
    shape[0] = 1;
    Tensor::new(shape, part).expect("a tensor")
}

#[cfg(all(feature = "image", feature = "onnx"))]
#[path = "../examples/pyramid/levels.rs"]
mod pyramid;

/// A face detector on a photo in several sizes, some of them prepared: what comes out are the bits of a network compiled
/// for that size alone.
#[cfg(all(feature = "image", feature = "onnx"))]
#[test]
fn a_pyramid_of_sizes() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("RECTIFY_TEST_DATA").map_or(beside, PathBuf::from);
    let model = data.join("conformance/real/mtcnn_pnet/model.onnx");
    if !model.is_file() {
        println!("skipped: no test data");
        return;
    }
    let model = Model::open(model).expect("the detector");
    let pictures = pyramid::pictures(&data.join("images/astronaut.png"), 4, 90).expect("a photo");
    let network = compile(&model);
    pyramid::prepare(&network, &pictures[2..]).expect("sizes that the network takes");
    let levels = pyramid::run(&network, pictures).expect("results");
    assert_eq!(pyramid::table(&levels).lines().count(), 4);
    for level in levels {
        let shape = level.input.shape();
        let alone = model.compiler().seed(5).threads(1).size("N", 1);
        let alone = alone.size("H", shape[2] as i64).size("W", shape[3] as i64).compile().expect("one size");
        let want = alone.run(&[("input", level.input.view())]).expect("results of one size");
        for ((name, got), (_, want)) in level.outputs.iter().zip(want.iter()) {
            assert_eq!((got.shape(), got.bytes()), (want.shape(), want.bytes()), "{name} at {shape:?}");
        }
    }
}
