//! Spelling shared by the reader and the writers: words, label paths and string escapes.

use super::token::Keyword;

/// A name: ASCII letters, digits and `_`, not beginning with a digit.
pub fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(is_word_start) && text.bytes().all(is_word_byte)
}

/// A label that needs no quotes: words and whole numbers joined by dots, a word first.
pub fn is_path(text: &str) -> bool {
    let number =
        |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('.');
    parts.next().is_some_and(is_word) && parts.all(|part| is_word(part) || number(part))
}

/// A word that is no keyword, and so can be written as a name.
pub fn is_name(text: &str) -> bool {
    is_word(text) && Keyword::from_text(text).is_none() && !matches!(text, "inf" | "nan")
}

/// The text as it stands between the quotes of a string literal.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' | '{' | '}' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(super) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
