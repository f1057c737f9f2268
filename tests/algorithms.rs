//! Algorithms that only some layers take: each gives what the interpreter gives, at every level and thread count.

use rectify::compare::Comparison;
use rectify::plan::{Algorithm, Plan};
use rectify::{Compiled, Compiler, Model, Pool, Tensor};

const LEVELS: [&str; 4] = ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"];
const WINOGRAD: [Algorithm; 2] = [Algorithm::WinogradF2, Algorithm::WinogradF4];

fn tensor(shape: &[usize]) -> Tensor {
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Tensor::new(shape.to_vec(), values).expect("a tensor")
}

fn model(shape: &[usize], body: &str) -> Model {
    Model::parse(&format!("rect 1\nmodel m(x: f32{shape:?}) {{\n{body}\n}}\n")).expect("a model")
}

/// Compiles at each level that this machine runs, for two threads, and compares with the interpreter.
fn agrees(
    shape: &[usize],
    body: &str,
    with: impl Fn(Compiler<'_>) -> Compiler<'_>,
    plan: impl Fn(&Plan) -> bool,
) {
    let (model, x) = (model(shape, body), tensor(shape));
    for level in LEVELS {
        let compiler = with(model.compiler().threads(2).seed(5).target(level.parse().expect("a level")));
        let compiled: Compiled = match compiler.compile() {
            Ok(compiled) => compiled,
            Err(error) if error.to_string().contains("this machine") => continue,
            Err(error) => panic!("{body} at {level}: {error}"),
        };
        assert!(plan(&compiled.plan(&[]).expect("a plan")), "{body} at {level} is computed in another way");
        let inputs = [("x", x.view())];
        let (got, want) =
            (compiled.run(&inputs).expect("a run"), compiled.reference(&inputs).expect("a reference"));
        for ((_, got), (_, want)) in got.iter().zip(want.iter()) {
            let comparison = Comparison::new(got, want, Default::default());
            assert!(comparison.agrees(), "{body} at {level}: {comparison}");
        }
    }
}

fn has_kernel(plan: &Plan, text: &str) -> bool {
    plan.kernels.iter().any(|kernel| kernel.to_string().starts_with(text))
}

/// Images of any size, cut blocks of channels, epilogues with residuals, pixel shuffles.
#[test]
fn minimal_filtering_agrees() {
    let residual = "let a = x |> conv(20, kernel: 1)\n((a |> conv(20, kernel: 3, pad: 1)) + a) |> prelu |> conv(4, kernel: 1)";
    let shuffle = "x |> conv(16, kernel: 1) |> conv(80, kernel: 3, pad: 1) |> depth_to_space(2, mode: crd) |> prelu |> conv(4, kernel: 1)";
    for algorithm in WINOGRAD {
        for shape in [[1, 3, 13, 10], [3, 3, 4, 5], [2, 3, 1, 17]] {
            for body in [residual, shuffle] {
                agrees(&shape, body, |c| c.convolutions(algorithm), |plan| has_kernel(plan, "winograd"));
            }
        }
    }
}

#[test]
fn minimal_filtering_gives_the_same_bits_at_any_thread_count() {
    let shape = [2, 3, 31, 22];
    let body = "x |> conv(48, kernel: 1) |> conv(64, kernel: 3, pad: 1) |> prelu |> conv(33, kernel: 3, pad: 1) |> conv(4, kernel: 1)";
    let (model, x) = (model(&shape, body), tensor(&shape));
    for algorithm in WINOGRAD {
        let run = |threads| {
            let compiler = model.compiler().seed(3).convolutions(algorithm).pool(&Pool::new(threads));
            let compiled = compiler.compile().expect("it compiles");
            assert!(has_kernel(&compiled.plan(&[]).expect("a plan"), "winograd"));
            compiled.run(&[("x", x.view())]).expect("a run")
        };
        let want = run(1);
        for threads in [2, 3, 7] {
            assert_eq!(run(threads), want, "{algorithm:?} on {threads} threads");
        }
    }
}

#[test]
fn dot_products_agree() {
    for body in [
        "x |> conv(64, kernel: 1) |> conv(1, kernel: 5, pad: 2) |> sigmoid",
        "x |> conv(32, kernel: 1) |> conv(1, kernel: 7, pad: 3, stride: 2)",
    ] {
        agrees(&[2, 3, 9, 14], body, |c| c.convolutions(Algorithm::Dot), |plan| has_kernel(plan, "dot"));
    }
    let dense = "x |> dense(37) |> prelu |> dense(5)";
    agrees(&[1, 512], dense, |c| c.convolutions(Algorithm::Dot), |plan| has_kernel(plan, "dot"));
    agrees(
        &[1, 16, 6, 8],
        &format!("x |> conv(16, kernel: 1) |> flatten |> {}", &dense[5..]),
        |c| c.convolutions(Algorithm::Dot),
        |plan| has_kernel(plan, "dot"),
    );
}

/// A large weight is read where it lies in the file, at any alignment, with the same bits as drawn into memory.
#[test]
fn weights_in_a_file_are_read_in_place() {
    let shape = [1, 1024];
    let (model, x) = (model(&shape, "x |> dense(400) as a |> prelu as a |> dense(9) as b"), tensor(&shape));
    let path = std::env::temp_dir().join(format!("rectify-in-place-{}.safetensors", std::process::id()));
    rectify::init::save(&model.compiler().seed(8), &path, &mut |_| {}).expect("saved");
    let want =
        model.compiler().seed(8).compile().expect("it compiles").run(&[("x", x.view())]).expect("a run");
    for shift in 0..4 {
        // The header is text of any length: each blank in it moves the tensors by a byte.
        let bytes = std::fs::read(&path).expect("the file");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let mut shifted = ((length + shift) as u64).to_le_bytes().to_vec();
        shifted.extend(&bytes[8..8 + length]);
        shifted.extend(vec![b' '; shift]);
        shifted.extend(&bytes[8 + length..]);
        let other = path.with_extension(format!("{shift}.safetensors"));
        std::fs::write(&other, shifted).expect("written");
        let compiled = model.compiler().weights(&other).compile().expect("it compiles");
        assert_eq!(compiled.run(&[("x", x.view())]).expect("a run"), want, "shifted by {shift}");
        std::fs::remove_file(other).expect("removed");
    }
    std::fs::remove_file(path).expect("removed");
}
