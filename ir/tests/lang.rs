//! The language as a whole: models become graphs, graphs become text that reads back, and errors read well.

mod support;

use std::collections::HashMap;
use std::path::Path;

use rectify_ir::diag::{Diagnostics, SourceMap};
use rectify_ir::graph::Graph;
use rectify_ir::lang::{self, Loader};
use rectify_ir::op::table;
use rectify_ir::print::print;
use rectify_ir::syntax;
use rectify_ir::verify::verify;
use support::check_cases;

/// Files in memory.
struct Files(HashMap<String, String>);

impl Loader for Files {
    fn load(&mut self, path: &str) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }
}

/// Compiles a case: the first file is `net.rect`, others follow behind lines `//// name`.
fn compile(text: &str) -> (Option<Vec<Graph>>, String) {
    let mut parts = text.split("//// ");
    let first = parts.next().unwrap_or("").to_owned();
    let other = |part: &str| {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        (name.trim().to_owned(), text.to_owned())
    };
    let mut files = Files(parts.map(other).collect());
    let (mut sources, file) = SourceMap::single("net.rect", first);
    let mut diagnostics = Diagnostics::new();
    let program = lang::compile(&mut sources, file, &mut files, &mut diagnostics);
    (program.map(|program| program.models), diagnostics.render(&sources))
}

fn graph(text: &str) -> Graph {
    match compile(text) {
        (Some(mut models), _) => models.pop().expect("a model"),
        (None, report) => panic!("{text}\n{report}"),
    }
}

/// The graph is sound; its text form reads back as the same graph and prints as the same text.
fn check_round_trip(graph: &Graph) -> String {
    if let Err(violations) = verify(graph) {
        panic!("{violations:?}\n{}", print(graph));
    }
    let text = print(graph);
    let again = match compile(&text) {
        (Some(mut models), _) => models.pop().expect("a model"),
        (None, report) => panic!("{text}\n{report}"),
    };
    assert_eq!(print(&again), text);
    assert!(*graph == again, "another graph behind the same text:\n{text}");
    text
}

#[test]
fn errors() {
    let count = check_cases("lang/errors.txt", |text| {
        let (models, report) = compile(text);
        assert!(models.is_none(), "no error in:\n{text}");
        report
    });
    assert!(count >= 60, "{count} cases");
}

#[test]
fn dumps() {
    check_cases("lang/dumps.txt", |text| {
        let (models, report) = compile(text);
        let models = models.unwrap_or_else(|| panic!("{text}\n{report}"));
        let dumps: Vec<String> = models.iter().map(check_round_trip).collect();
        format!("{report}{}", dumps.join("\n"))
    });
}

#[test]
fn every_op_compiles_as_its_example_says() {
    for spec in table::OPS {
        let own = ["(a, b", "(c)", "(c, ", "(i, i)", "(boxes"];
        let piped = if own.iter().any(|s| spec.example.contains(s)) { "" } else { "x |> " };
        let model = format!(
            "model m(x: f32[N, 16, 16, 16], a: f32[N, 16, 16, 16], b: f32[N, 16, 16, 16], c: bool[N, 16, 16, 16], \
             d: bool[N, 16, 16, 16], i: i64[N, 16, 16, 16], j: i64[N, 16, 2], \
             u: f32[N, 16, 16, 16], boxes: f32[N, 5, 4], scores: f32[N, 2, 5], order: i64[N, 2, 5], most: i64[1], \
             overlap: f32[1], threshold: f32[1], count: i64[1]) {{ {piped}{} as l }}",
            spec.example
        );
        // `as` stands behind the epilogue of `map`.
        let text = check_round_trip(&graph(&model));
        assert!(text.contains(" as l\n"), "{text}");
    }
}

#[test]
fn the_named_model_or_main_or_the_last_is_taken() {
    let compiled = |text: &str, name| {
        let (models, report) = compile(text);
        lang::Program { models: models.expect(&report) }.select(name).map(|graph| graph.name)
    };
    let text = "model a(x: f32[1]) { x }\nmodel main(x: f32[1]) { x }\nmodel b(x: f32[1]) { x }";
    assert_eq!(compiled(text, None).as_deref(), Ok("main"));
    assert_eq!(compiled(text, Some("a")).as_deref(), Ok("a"));
    assert_eq!(
        compiled(text, Some("c")).unwrap_err(),
        "there is no model `c`; the file has `a`, `main`, `b`"
    );
    assert_eq!(compiled("model a(x: f32[1]) { x }\nmodel b(x: f32[1]) { x }", None).as_deref(), Ok("b"));
}

#[test]
fn hostile_models_give_errors_quickly() {
    let chain = (0..70).map(|i| format!("block b{}(x) {{ b{i}(x) }}\n", i + 1)).collect::<String>();
    let nested = (0..20).fold("relu".to_owned(), |inner, _| format!("repeat 1000 {{ {inner} }}"));
    let doubling = (0..60).map(|i| format!("const L{} = [L{i}, L{i}]\n", i + 1)).collect::<String>();
    let strings = (0..60).map(|i| format!("const S{} = \"{{S{i}}}{{S{i}}}\"\n", i + 1)).collect::<String>();
    let calls = (0..60).map(|i| format!("block c{}(x) {{ c{i}(c{i}(x)) }}\n", i + 1)).collect::<String>();
    let deep = format!("{}x{}", "relu(".repeat(60), ")".repeat(60));
    let towers = (0..60).map(|i| {
        let inner = format!("{}d{i}(x){}", "relu(".repeat(50), ")".repeat(50));
        format!("block d{}(x) {{ {inner} }}\n", i + 1)
    });
    let towers: String = towers.collect();
    let models = [
        "model m(x: f32[1]) { x |> repeat 1000000000 { relu } }".to_owned(),
        "model m(x: f32[1]) { x |> repeat 1000 { repeat 1000 { relu } } }".to_owned(),
        format!("model m(x: f32[1]) {{ x |> {nested} }}"),
        "model m(x: f32[1]) { x |> for i in 0..9223372036854775807 { relu } }".to_owned(),
        "const A = 0..1000000\nmodel m(x: f32[1]) { for i in A { for j in A { 1 } } }".to_owned(),
        format!("const L0 = [1]\n{doubling}model m(x: f32[1]) {{ x |> reduce_sum(axes: L60) }}"),
        format!("const L0 = [1]\n{doubling}model m(x: f32[1]) {{ param p: f32[1] = data(L60); x }}"),
        format!("const S0 = \"aaaaaaaa\"\n{strings}model m(x: f32[1]) {{ x |> relu as \"{{S60}}\" }}"),
        format!("block b0(x) {{ x }}\n{chain}model m(x: f32[1]) {{ b70(x) }}"),
        format!("block c0(x) {{ relu(x) }}\n{calls}model m(x: f32[1]) {{ c60(x) }}"),
        format!("block d0(x) {{ {deep} }}\n{towers}model m(x: f32[1]) {{ d60(x) }}"),
        "model m(x: f32[1, 4294967296, 4294967296, 4294967296]) { x }".to_owned(),
        "model m(x: f32[1, 3]) { x |> dense(4000000000) as a |> dense(4000000000) as b }".to_owned(),
        "model m(x: f32[N, 3]) { x |> reshape([N*N*N*N*N*N*N*N*N*N*N*N*N*N*N*N*N, 3]) }".to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> conv(8, kernel: 3, pad: 9223372036854775807) as a }".to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> conv(8, kernel: 3, dilation: 9223372036854775807) as a }"
            .to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> pad(pads: [9223372036854775807, 1, 1, 1, 1, 1, 1, 1]) }"
            .to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> resize(scale: 1e300) }".to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> spp(bins: [4000000000]) }".to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> split(sizes: [9223372036854775807, 9223372036854775807]) }"
            .to_owned(),
        "model m(x: f32[1, 3, 8, 8]) { x |> depth_to_space(9223372036854775807) }".to_owned(),
    ];
    for text in models {
        let start = text.chars().rev().take(90).collect::<Vec<_>>().into_iter().rev().collect::<String>();
        let (models, report) = compile(&text);
        assert!(models.is_none(), "no error in …{start}");
        assert!(report.len() < 40_000, "{} bytes of errors for …{start}", report.len());
    }
}

mod random {
    use proptest::prelude::*;

    const MODELS: [&str; 4] = [
        include_str!("../../examples/fsrcnn.rect"),
        include_str!("../../examples/mobilenet_v2.rect"),
        include_str!("../../examples/siamese.rect"),
        include_str!("../../examples/unet.rect"),
    ];

    /// Words and marks of a text, line ends among them.
    fn words(text: &str) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for c in text.chars() {
            match words.last_mut() {
                Some(last) if c.is_alphanumeric() && last.ends_with(char::is_alphanumeric) => last.push(c),
                _ => words.push(c.to_string()),
            }
        }
        words
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Models with words removed, doubled or exchanged: errors or graphs, never a panic; graphs print and read back.
        #[test]
        fn damaged_models_do_not_panic(
            model in prop::sample::select(MODELS.to_vec()),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3), 1..4),
        ) {
            let mut words = words(model);
            for (a, b, kind) in edits {
                let (a, b) = (a.index(words.len()), b.index(words.len()));
                match kind {
                    0 => drop(words.remove(a)),
                    1 => words[a] = words[b].clone(),
                    _ => words.swap(a, b),
                }
            }
            if let (Some(models), _) = super::compile(&words.concat()) {
                models.iter().for_each(|model| drop(super::check_round_trip(model)));
            }
        }
    }
}

/// Reads used files from the folder of examples.
struct Folder(std::path::PathBuf);

impl Loader for Folder {
    fn load(&mut self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }
}

#[test]
fn examples_compile_without_warnings_and_read_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rect") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an example");
        let (mut sources, file) = SourceMap::single(path.display().to_string(), text);
        let mut diagnostics = Diagnostics::new();
        let program = lang::compile(&mut sources, file, &mut Folder(folder.clone()), &mut diagnostics);
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(&sources));
        let program = program.expect("a program");
        program.models.iter().for_each(|model| drop(check_round_trip(model)));
        let formatted = syntax::format(&sources, file, &mut diagnostics).expect("the canonical form");
        let (mut sources, file) = SourceMap::single("formatted", formatted);
        let again = lang::compile(&mut sources, file, &mut Folder(folder.clone()), &mut diagnostics);
        assert!(again.expect("a program").models == program.models, "formatting changed {}", path.display());
        count += 1;
    }
    assert!(count >= 10);
}
