//! The table of operators in docs/onnx.md is the importer's.

use rectify::import::onnx::operators;
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "from the importer's table -->\n";
const END: &str = "<!-- end of operators -->";

/// Operators that share their versions stand in one row.
fn table() -> String {
    let mut rows: Vec<(&[i64], Vec<&str>)> = Vec::new();
    for (name, versions) in operators() {
        match rows.iter_mut().find(|(of, _)| *of == versions) {
            Some((_, names)) => names.push(name),
            None => rows.push((versions, vec![name])),
        }
    }
    rows.sort();
    let mut text = "\n| operator sets | operators |\n|---|---|\n".to_string();
    for (versions, names) in rows {
        let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
        let names: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} |", versions.join(", "), names.join(" "));
    }
    text + "\n"
}

#[test]
fn the_table_of_operators() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/onnx.md");
    let text = std::fs::read_to_string(&path).expect("docs/onnx.md");
    let (head, rest) = text.split_once(BEGIN).expect("the begin of the table");
    let (present, tail) = rest.split_once(END).expect("the end of the table");
    let want = table();
    if std::env::var_os("RECTIFY_BLESS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{want}{END}{tail}")).expect("docs/onnx.md is written");
    } else {
        assert!(present == want, "docs/onnx.md is old: bless it with RECTIFY_BLESS=1");
    }
}
