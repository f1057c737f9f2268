//! The syntax of `.rect` files: what parses, how errors read, and what the printer makes of it.

mod support;

use rectify_ir::diag::{Diagnostics, SourceMap};
use rectify_ir::syntax;
use support::check_cases;

/// The errors of a text, rendered; an empty string if there are none.
fn errors(text: &str) -> String {
    let (sources, file) = SourceMap::single("net.rect", text);
    let mut diagnostics = Diagnostics::new();
    syntax::parse(&sources, file, &mut diagnostics);
    diagnostics.render(&sources)
}

fn format(text: &str) -> String {
    let (sources, file) = SourceMap::single("net.rect", text);
    let mut diagnostics = Diagnostics::new();
    syntax::format(&sources, file, &mut diagnostics)
        .unwrap_or_else(|| panic!("{}", diagnostics.render(&sources)))
}

/// The tree without its places and comments.
fn tree(text: &str) -> String {
    let (sources, file) = SourceMap::single("net.rect", text);
    let mut diagnostics = Diagnostics::new();
    let tree = syntax::parse(&sources, file, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{text}\n{}", diagnostics.render(&sources));
    let shown = format!("{:?} {:?}", tree.header, tree.items);
    let mut out = String::with_capacity(shown.len());
    let mut rest = shown.as_str();
    while let Some((before, after)) = rest.split_once('«') {
        out.push_str(before);
        rest = after.split_once('»').map_or("", |(_, after)| after);
    }
    out + rest
}

/// Formatting keeps the tree and the comments, and formatting twice is formatting once.
fn check_format(text: &str) {
    let once = format(text);
    assert_eq!(tree(text), tree(&once), "the tree changed:\n{text}\n-->\n{once}");
    assert_eq!(once, format(&once), "not idempotent:\n{text}\n-->\n{once}");
    assert_eq!(comments(text), comments(&once), "comments changed:\n{text}\n-->\n{once}");
}

fn comments(text: &str) -> Vec<String> {
    let (sources, file) = SourceMap::single("net.rect", text);
    let tree = syntax::parse(&sources, file, &mut Diagnostics::new());
    tree.comments.iter().map(|comment| sources.slice(comment.span).to_owned()).collect()
}

#[test]
fn parse_errors() {
    let count = check_cases("syntax/errors.txt", |text| {
        let shown = errors(text);
        assert!(!shown.is_empty(), "no error in:\n{text}");
        shown
    });
    assert!(count >= 25);
}

#[test]
fn formatting() {
    check_cases("syntax/format.txt", |text| {
        check_format(text);
        format(text)
    });
}

#[test]
fn the_whole_grammar_parses_as_written() {
    for text in [include_str!("filetests/syntax/human.rect"), include_str!("filetests/syntax/dump.rect")] {
        assert_eq!(errors(text), "");
        check_format(text);
    }
}

#[test]
fn docs_are_kept_with_their_function() {
    let text = "const A = 1\n/// One.\n/// Two.\nmodel m(x: f32[1]) { x }\n// no doc\nblock b(x) { x }";
    let (sources, file) = SourceMap::single("net.rect", text);
    let tree = syntax::parse(&sources, file, &mut Diagnostics::new());
    let docs: Vec<&str> = tree
        .items
        .iter()
        .filter_map(|item| match item {
            syntax::ast::Item::Function(function) => Some(function.docs.as_str()),
            syntax::ast::Item::Use(_) | syntax::ast::Item::Const(_) => None,
        })
        .collect();
    assert_eq!(docs, ["One.\nTwo.", ""]);
}

#[test]
fn hostile_texts_give_errors_quickly() {
    let deep = |open: &str, close: &str| {
        format!("model m(x) {{ let y = {}1{} }}", open.repeat(100_000), close.repeat(100_000))
    };
    let texts = [
        deep("(", ")"),
        deep("[", "]"),
        deep("-", ""),
        deep("!", ""),
        deep("f(", ")"),
        deep("if a { ", "}"),
        deep("x |> repeat 2 { ", "}"),
        deep("f(x) { %a => ", "}"),
        format!("model m(x) {{ x{} }}", "[0]".repeat(100_000)),
        format!("model m(x) {{ x{} }}", ".a".repeat(100_000)),
        format!("model m(x: {}f32[1]) {{ x }}", "(".repeat(100_000)),
        format!("model m(x) {{ let {}a = 1 }}", "(".repeat(100_000)),
        "{".repeat(200_000),
        "\"".repeat(200_000),
        "\0".repeat(200_000),
        "a ".repeat(3_000_000),
        "x".repeat(9 << 20),
    ];
    for text in texts {
        let shown = errors(&text);
        assert!(!shown.is_empty(), "no error in {}…", &text[..40]);
        assert!(shown.len() < 200_000, "{} bytes of errors for {}…", shown.len(), &text[..40]);
    }
}

#[test]
fn tuples_of_one_stay_tuples_at_every_width() {
    for length in 40..110 {
        let name = "a".repeat(length);
        check_format(&format!("model m(x) {{\n let y = ({name},)\n f(({name},), ({name}))\n}}"));
        check_format(&format!("model m(x) {{\n let y = (f({name}) {{ %acc => relu(%acc) }}, )\n y\n}}"));
    }
}

#[test]
fn long_chains_are_no_nesting() {
    let many = 20_000;
    for text in [
        format!("const A = 1{}", " + 1".repeat(many)),
        format!("model m(x) {{ x{} }}", " |> relu".repeat(many)),
        format!("model m(x) {{ if a {{ 1 }}{} }}", " else if b { 2 }".repeat(many)),
        format!("const A = [1{}]", ", 1".repeat(many)),
    ] {
        check_format(&text);
    }
}

mod random {
    use super::check_format;
    use proptest::prelude::*;

    /// Names, numbers and strings.
    fn atom() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "x",
                "channels",
                "1",
                "-3",
                "1e-5",
                "2.50",
                "-inf",
                "nan",
                "true",
                "\"a{i}.b\"",
                "\"q\\\"\\{\"",
                "%3",
                "%3.1",
                "%\"a b\"",
                "@head.weight",
                "@\"/a:b\"",
                "x.shape[2]",
                "0x1f",
                "1_000",
            ])
            .prop_map(str::to_owned),
            "[a-z]{1,30}".prop_map(|name| format!("n{name}")),
        ]
    }

    /// White space that may stand inside brackets, comments included.
    fn gap() -> impl Strategy<Value = &'static str> + Clone {
        prop::sample::select(vec![
            "",
            "",
            "",
            "",
            " ",
            "\n",
            "\n\n\n",
            " // note\n",
            "\n// line\n",
            "\n\n  /// doc\n\n",
        ])
    }

    fn expr() -> impl Strategy<Value = String> {
        atom().prop_recursive(4, 24, 4, |inner| {
            let list = prop::collection::vec((gap(), inner.clone(), gap()), 0..5).boxed();
            let args = list
                .clone()
                .prop_map(|items| {
                    let arg = |(i, (a, e, b)): (usize, &(&str, String, &str))| {
                        let name = if i % 2 == 1 { "kernel: " } else { "" };
                        format!("{a}{name}{e}{b}")
                    };
                    items.iter().enumerate().map(arg).collect::<Vec<_>>().join(",")
                })
                .boxed();
            let joined = list
                .prop_map(|items| {
                    items.iter().map(|(a, e, b)| format!("{a}{e}{b}")).collect::<Vec<_>>().join(",")
                })
                .boxed();
            let call = (
                args,
                prop::sample::select(vec!["", " as head.0.out", " as \"map{i}\"", " from(\"a\", \"b\")"]),
            )
                .prop_map(|(args, suffix)| format!("conv({args}){suffix}"))
                .boxed();
            prop_oneof![
                joined.clone().prop_map(|items| format!("[{items}]")),
                (gap(), inner.clone(), gap()).prop_map(|(a, e, b)| format!("({a}{e}{b})")),
                (inner.clone(), joined).prop_map(|(e, items)| format!("({e}, {items})")),
                (inner.clone(), gap(), inner.clone())
                    .prop_map(|(a, gap, b)| format!("({a}) + {gap}({b}) - 1")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("!({a}) && ({b})")),
                call.clone(),
                (inner.clone(), gap(), call.clone(), gap(), call.clone())
                    .prop_map(|(x, a, f, b, g)| format!("({x}{a}\n|> {f}{b}\n|> prelu as a |> {g})")),
                (inner.clone(), inner.clone(), inner.clone())
                    .prop_map(|(c, a, b)| format!("if ({c}) {{ {a} }} else {{\n let q = {b}; q\n }}")),
                (inner.clone(), inner.clone())
                    .prop_map(|(l, b)| format!("for (i, (c, _)) in [{l}] {{ // open\n {b} // close\n }}")),
                (call, inner.clone()).prop_map(|(f, e)| format!("(x |> repeat 3 {{ {f} |> g({e}) }})")),
                (inner.clone(), inner)
                    .prop_map(|(a, b)| format!("add({a}) {{ %acc => let %t = {b}; prelu(%t) }}")),
            ]
        })
    }

    fn statement() -> impl Strategy<Value = String> {
        prop_oneof![
            expr(),
            expr().prop_map(|e| format!("let (a, (%4, _)): (f32[N, 2*H], f32[]) = {e}")),
            expr().prop_map(|e| format!("const K = {e}")),
            expr().prop_map(|e| format!("param b: f32[1] = ({e}) as out.bias")),
            expr().prop_map(|e| format!("layer tower = f({e})")),
            expr().prop_map(|e| format!(
                "defaults {{ conv.weight = {e}, prelu.slope = 0.25\n conv.bias = 1 }}"
            )),
        ]
    }

    fn separator() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "\n",
            "; ",
            "\n\n\n",
            " // note\n",
            "\n// line\n\n// line\n",
            ";\n\n// line\n",
        ])
    }

    /// More cases where PROPTEST_CASES asks for them.
    fn config() -> ProptestConfig {
        let default = ProptestConfig::default();
        ProptestConfig { cases: default.cases.max(400), failure_persistence: None, ..default }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn format_keeps_tree_and_comments(parts in prop::collection::vec((statement(), separator()), 1..5)) {
            let body: String = parts.iter().map(|(stmt, end)| format!("{stmt}{end}")).collect();
            check_format(&format!("model m(x: f32[N]) -> (y: f32[N]) where N % 4 == 0 {{\n{body}\n}}"));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            super::errors(&text);
        }

        #[test]
        fn any_tokens_are_read_without_panic(
            words in prop::collection::vec(prop::sample::select(vec![
                "model", "block", "let", "param", "layer", "defaults", "if", "else", "for", "in", "repeat", "as", "use", "rect",
                "x", "1", "1.5", "\"s{i}\"", "\"", "%3", "@a.b", "(", ")", "[", "]", "{", "}", ",", ";", ":", "=", "=>",
                "|>", "..", "+", "-", "%", ".", "\n", "where", "from", "// c\n",
            ]), 0..60)
        ) {
            super::errors(&words.join(" "));
        }
    }
}
