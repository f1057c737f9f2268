//! The syntax of `.rect` files: text to tree and back. Knows nothing of ops, shapes or graphs.
//!
//! `lexer` cuts the text into tokens, `parser` builds the tree of `ast` and recovers after errors, so that one run
//! reports all of them, and `fmt` writes a tree as canonical text with its comments kept.

pub mod ast;
pub mod fmt;
mod lexer;
mod parser;
mod text;
mod token;

use crate::diag::{Diagnostic, Diagnostics, FileId, SourceMap, Span};

/// Longest source text that is read. Positions fit `u32`, and the tree stays below 200 MB.
pub const MAX_SOURCE_BYTES: usize = 8 << 20;
/// Most tokens in a file, which bounds the tree.
pub const MAX_TOKENS: usize = 2_000_000;
/// How deeply expressions and braces may nest; keeps every recursion over the tree within the stack.
pub const MAX_NESTING: u32 = 64;

/// Parses one file of the source map. Errors go to `diagnostics`; the tree holds whatever could be read.
pub fn parse(sources: &SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> ast::File {
    let text = sources.text(file);
    if text.len() > MAX_SOURCE_BYTES {
        diagnostics.push(
            Diagnostic::error("E0001-file-too-large", format!("the file has {} bytes", text.len()))
                .label(Span::new(file, 0, 0), format!("at most {MAX_SOURCE_BYTES} bytes are read"))
                .help("keep weights in a safetensors file and name it with `file(…)`"),
        );
        return ast::File::empty(file);
    }
    let lexed = lexer::lex(text, file, 0..text.len(), diagnostics);
    parser::parse_file(text, file, lexed, diagnostics)
}

pub use fmt::{any_name, format, parameter_name, value_name};
pub use text::{escape, is_name, is_path, is_word};
