//! Text in, text out: a file of cases, each an input and what must come out.
//!
//! A case is `==== name`, the input, `----`, the output. `RECTIFY_BLESS=1 cargo test` writes the present outputs into the
//! file; a new case needs no output at first.

use std::fmt::Write as _;
use std::path::Path;

/// Runs `transform` on each case of `tests/filetests/<file>` and compares.
pub fn check_cases(file: &str, transform: impl Fn(&str) -> String) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut blessed = String::new();
    let mut failures = String::new();
    let mut count = 0;
    let (head, cases) = text.split_once("==== ").unwrap_or_else(|| panic!("{file}: no cases"));
    blessed.push_str(head);
    for case in cases.split("\n==== ") {
        let (name, body) = case.split_once('\n').unwrap_or_else(|| panic!("{file}: case `{case}` is empty"));
        let (input, want) = body.split_once("\n----").unwrap_or((body, ""));
        let input = input.trim_end();
        let got = transform(input);
        let (got, want) = (got.trim_end(), want.trim());
        if got.trim() != want {
            let _ = writeln!(failures, "==== {name}\n{input}\n---- wanted\n{want}\n---- got\n{got}\n");
        }
        let separator = if count == 0 { "" } else { "\n" };
        let _ = writeln!(blessed, "{separator}==== {name}\n{input}\n----\n{got}");
        count += 1;
    }
    if std::env::var_os("RECTIFY_BLESS").is_some() {
        std::fs::write(&path, blessed).expect("the file of cases can be written");
    } else {
        assert!(failures.is_empty(), "{file}:\n{failures}");
    }
    count
}
