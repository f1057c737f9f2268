//! Text to tokens and comments. Never fails: what cannot be read is reported once and becomes an error token.

use std::ops::Range;

use super::MAX_TOKENS;
use super::ast::Comment;
use super::text::{is_word_byte, is_word_start};
use super::token::{Keyword, PUNCTUATION, Token, TokenKind};
use crate::diag::{Diagnostic, Diagnostics, FileId, Span};

/// What the lexer leaves: tokens, the last of which is `End`, and the comments between them.
pub struct Lexed {
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
}

/// Reads `range` of a file's text; a part of a file is read for expressions inside strings.
pub fn lex(text: &str, file: FileId, range: Range<usize>, diagnostics: &mut Diagnostics) -> Lexed {
    let mut lexer = Lexer {
        bytes: &text.as_bytes()[..range.end],
        text,
        file,
        at: range.start,
        newline: true,
        out: Lexed { tokens: Vec::new(), comments: Vec::new() },
        diagnostics,
    };
    lexer.run();
    lexer.out
}

struct Lexer<'a> {
    bytes: &'a [u8],
    text: &'a str,
    file: FileId,
    at: usize,
    newline: bool,
    out: Lexed,
    diagnostics: &'a mut Diagnostics,
}

impl Lexer<'_> {
    fn run(&mut self) {
        loop {
            self.skip_space();
            let start = self.at;
            if start >= self.bytes.len() {
                return self.push(TokenKind::End, start);
            }
            if self.out.tokens.len() >= MAX_TOKENS {
                self.report(
                    start,
                    start,
                    "E0002-too-many-tokens",
                    "the file is too long",
                    "reading stops here",
                );
                return self.push(TokenKind::End, start);
            }
            let kind = self.token();
            self.push(kind, start);
        }
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        let (start, end) = (start as u32, self.at as u32);
        self.out.tokens.push(Token { kind, newline_before: self.newline, start, end });
        self.newline = false;
    }

    fn skip_space(&mut self) {
        // A byte order mark is white space at the start of a file.
        if self.at == 0 && self.bytes.starts_with("\u{feff}".as_bytes()) {
            self.at = 3;
        }
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => {
                    self.newline = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'/' if self.peek(1) == Some(b'/') => self.comment(),
                _ => return,
            }
        }
    }

    fn comment(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
        let written = self.text[start..self.at].trim_end();
        let doc = written.starts_with("///") && !written.starts_with("////");
        let span = Span::new(self.file, start as u32, (start + written.len()) as u32);
        self.out.comments.push(Comment { span, doc, own_line: self.newline });
    }

    fn token(&mut self) -> TokenKind {
        let byte = self.bytes[self.at];
        match byte {
            b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'@' => self.parameter(),
            b'%' if self.value_follows() => self.value(),
            _ if is_word_start(byte) => {
                let word = self.word();
                Keyword::from_text(word).map_or(TokenKind::Word, TokenKind::Keyword)
            }
            _ => self.punctuation(),
        }
    }

    fn punctuation(&mut self) -> TokenKind {
        let rest = &self.bytes[self.at..];
        let singles = ["!", "."];
        let mut all = PUNCTUATION.iter().chain(&singles);
        if let Some(found) = all.find(|text| rest.starts_with(text.as_bytes())) {
            self.at += found.len();
            return TokenKind::Punct(found);
        }
        let start = self.at;
        let c = self.text[start..].chars().next().unwrap_or('?');
        self.at += c.len_utf8();
        // A run of foreign characters is one error, not one for each.
        while self.peek(0).is_some_and(|byte| !byte.is_ascii()) {
            self.at += 1;
        }
        let what = format!("unexpected character `{}`", c.escape_debug());
        let label =
            if c.is_alphabetic() { "names are ASCII; a label may be a quoted string" } else { "not a token" };
        self.report(start, self.at, "E0003-bad-character", &what, label);
        TokenKind::Error
    }

    fn word(&mut self) -> &str {
        let start = self.at;
        while self.peek(0).is_some_and(is_word_byte) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn number(&mut self) -> TokenKind {
        let start = self.at;
        if self.peek(0) == Some(b'0') && self.peek(1) == Some(b'x') {
            self.at += 2;
            self.word();
            if self.at == start + 2 || !self.bytes[start + 2..self.at].iter().all(|b| b.is_ascii_hexdigit()) {
                return self.bad_number(start);
            }
            return TokenKind::Int;
        }
        let mut kind = TokenKind::Int;
        self.digits();
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            kind = TokenKind::Float;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                kind = TokenKind::Float;
                self.at += 1 + sign;
                self.digits();
            }
        }
        if self.peek(0).is_some_and(is_word_start) { self.bad_number(start) } else { kind }
    }

    fn digits(&mut self) {
        while self.peek(0).is_some_and(|byte| byte.is_ascii_digit() || byte == b'_') {
            self.at += 1;
        }
    }

    fn bad_number(&mut self, start: usize) -> TokenKind {
        self.word();
        let what = format!("`{}` is no number", &self.text[start..self.at]);
        let label = "a name cannot begin with a digit; a label that does needs quotes";
        self.report(start, self.at, "E0004-bad-number", &what, label);
        TokenKind::Error
    }

    fn string(&mut self) -> TokenKind {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                Some(b'"') => {
                    self.at += 1;
                    return TokenKind::Str;
                }
                Some(b'\\') if self.peek(1).is_some_and(|byte| byte != b'\n') => self.at += 2,
                Some(byte) if byte != b'\n' => self.at += 1,
                _ => break,
            }
        }
        // A string ends with its line at the latest, so that a missing quote spoils no more than that.
        let what = "a string is not closed";
        self.report(start, start + 1, "E0005-open-string", what, "no second `\"` on this line");
        TokenKind::Error
    }

    fn parameter(&mut self) -> TokenKind {
        let start = self.at;
        self.at += 1;
        if self.peek(0) == Some(b'"') {
            return if self.string() == TokenKind::Str { TokenKind::Parameter } else { TokenKind::Error };
        }
        loop {
            if self.word().is_empty() {
                let what = "a parameter's name is missing after `@`";
                self.report(start, self.at, "E0006-bad-parameter-name", what, "write `@layer.weight`");
                return TokenKind::Error;
            }
            if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(is_word_byte) {
                self.at += 1;
            } else {
                return TokenKind::Parameter;
            }
        }
    }

    /// `%` is the sigil of a value unless it stands behind an operand on the same line, where it is the remainder.
    fn value_follows(&self) -> bool {
        let operand = self.out.tokens.last().is_some_and(|token| match token.kind {
            TokenKind::Punct(text) => matches!(text, ")" | "]" | "}"),
            TokenKind::Keyword(keyword) => matches!(keyword, Keyword::True | Keyword::False),
            TokenKind::End => false,
            TokenKind::Word | TokenKind::Int | TokenKind::Float | TokenKind::Str => true,
            TokenKind::Value | TokenKind::Parameter | TokenKind::Error => true,
        });
        let named = self.peek(1).is_some_and(|byte| is_word_byte(byte) || byte == b'"');
        named && (self.newline || !operand)
    }

    fn value(&mut self) -> TokenKind {
        self.at += 1;
        if self.peek(0) == Some(b'"') {
            if self.string() == TokenKind::Error {
                return TokenKind::Error;
            }
        } else {
            self.word();
        }
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1;
            }
        }
        TokenKind::Value
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn report(&mut self, start: usize, end: usize, code: &'static str, message: &str, label: &str) {
        let span = Span::new(self.file, start as u32, end as u32);
        self.diagnostics.push(Diagnostic::error(code, message).label(span, label));
    }
}
