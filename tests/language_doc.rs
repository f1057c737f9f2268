//! `docs/language.md` is true: its models compile, and its operation tables are those of the compiler.

use rectify_ir::lang::compile_text;
use rectify_ir::op::table::OPS;
use rectify_ir::op::{AttrKind, Category, OperandKind};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- operations: written by the tests from the table in ir/src/op/table.rs -->\n";
const END: &str = "<!-- end of operations -->";

fn page() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md");
    let text = std::fs::read_to_string(&path).expect("docs/language.md");
    (path, text)
}

#[test]
fn every_model_of_the_page_compiles() {
    let (_, text) = page();
    let blocks: Vec<&str> =
        text.split("```rect\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 8, "{} blocks", blocks.len());
    for (i, block) in blocks.iter().enumerate() {
        if let Err(report) = compile_text(&format!("block {i}"), block) {
            panic!("{report}");
        }
    }
}

#[test]
fn the_operations_are_those_of_the_table() {
    let (path, text) = page();
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the operations");
    let (section, after) = rest.split_once(END).expect("the mark after the operations");
    let wanted = operations();
    if std::env::var_os("RECTIFY_BLESS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("write the page");
    } else {
        assert_eq!(section, wanted, "run the test with RECTIFY_BLESS=1 to write the page anew");
    }
}

/// Every example of the table is a call that compiles after an image, or on operands of its own.
#[test]
fn examples_of_the_table_compile() {
    for spec in OPS {
        let stage = match spec.name {
            "matmul" => "reshape(shape: [N * 16, 64]) |> matmul(x |> reshape(shape: [64, N * 16]))".into(),
            "concat" => "concat(x, axis: 1)".to_string(),
            "conv_weight_grad" => spec.example.replace("(b", "(x"),
            "map" => continue,
            "cut" => spec.example.replace("(count", "(n"),
            // Its operands are of several types.
            "non_max_suppression" => continue,
            "select" => spec.example.replace("a, b", "x, x"),
            "max_pool_grad" => spec.example.replace("b, a", "x, x"),
            _ if spec.operands.get(1).is_some_and(|o| o.kind == OperandKind::Data) => {
                spec.example.replace("(b)", "(x)")
            }
            "expand" => spec.example.replace("16, 16, 16", "16, 8, 8"),
            "reshape" => spec.example.replace("N", "1"),
            _ => spec.example.to_string(),
        };
        let n = if matches!(spec.name, "reshape" | "matmul") { "1" } else { "N" };
        let stage = stage.replace('N', n);
        let piped =
            if ["(c)", "(c, ", "(i, i)"].iter().any(|own| stage.contains(own)) { "" } else { "x |> " };
        let of = format!("[{n}, 16, 8, 8]");
        let inputs = format!(
            "x: f32{of}, c: bool{of}, d: bool{of}, i: i64{of}, j: i64[{n}, 2], n: i64[1], u: f32[{n}, 8, 8]"
        );
        let text = format!("model m({inputs}) {{\n    {piped}{stage} as l\n}}\n");
        if let Err(report) = compile_text(spec.name, &text) {
            panic!("{report}");
        }
    }
}

fn operations() -> String {
    let titles = [
        (Category::Contraction, "Contractions"),
        (Category::Rectifier, "Rectifiers"),
        (Category::Elementwise, "Elementwise"),
        (Category::Normalisation, "Normalisation"),
        (Category::Pooling, "Pooling"),
        (Category::Reduction, "Reductions"),
        (Category::Shape, "Shapes"),
        (Category::Selection, "Selections"),
        (Category::Other, "Others"),
    ];
    let mut out = String::new();
    for (category, title) in titles {
        let rows: Vec<_> = OPS.iter().filter(|s| s.category == category).collect();
        let _ =
            write!(out, "\n### {title}\n\n| operation | attributes (default) | meaning |\n|---|---|---|\n");
        for spec in rows {
            let attrs: Vec<String> = spec
                .layer_attrs
                .iter()
                .chain(spec.attrs)
                .map(|a| match (a.default, a.kind) {
                    ("", AttrKind::Word(words)) => format!("`{}`: {}", a.name, words.join(", ")),
                    ("", _) => format!("`{}`", a.name),
                    (d, AttrKind::Word(words)) => format!("`{}` ({d}; {})", a.name, words.join(", ")),
                    (d, _) => format!("`{}` ({d})", a.name),
                })
                .collect();
            let _ = writeln!(
                out,
                "| `{}` | {} | {} |",
                spec.example.replace('|', "\\|"),
                attrs.join(", "),
                spec.doc.replace('|', "\\|")
            );
        }
    }
    out.push('\n');
    out
}
