//! Numbers, strings with interpolation, and the names behind `%` and `@`.

use super::super::ast::{ExprKind, Ident, Str, StrPart};
use super::super::lexer;
use super::super::token::{Token, TokenKind};
use super::{Failed, Parsed, Parser};
use crate::diag::{Diagnostic, Span};

impl Parser<'_> {
    /// A number, `inf` or `nan` comes next.
    pub(super) fn at_number(&self) -> bool {
        match self.peek().kind {
            TokenKind::Int | TokenKind::Float => true,
            TokenKind::Word => self.at_word("inf") || self.at_word("nan"),
            _ => false,
        }
    }

    /// The number that comes next; with `negative`, a minus has been read before it.
    pub(super) fn number(&mut self, negative: bool) -> Parsed<ExprKind> {
        let token = self.peek();
        let text = self.text_of(token);
        if token.kind == TokenKind::Int {
            let value = self.int(token, negative)?;
            self.bump();
            return Ok(ExprKind::Int(value));
        }
        let value: f64 = match text {
            "inf" => f64::INFINITY,
            "nan" => f64::NAN,
            digits => match digits.replace('_', "").parse() {
                Ok(value) if f64::is_finite(value) => value,
                _ => {
                    return Err(self.bad_value(token, "this float is too large", "write `inf` for infinity"));
                }
            },
        };
        self.bump();
        let sign = if negative { "-" } else { "" };
        Ok(ExprKind::Float(if negative { -value } else { value }, format!("{sign}{text}")))
    }

    /// The value of an integer token, which need not be the next one.
    pub(super) fn int(&mut self, token: Token, negative: bool) -> Parsed<i64> {
        let digits = self.text_of(token).replace('_', "");
        let (digits, radix) = digits.strip_prefix("0x").map_or((digits.as_str(), 10), |hex| (hex, 16));
        // The sign is part of the text, so that the least integer can be written.
        let signed = format!("{}{digits}", if negative { "-" } else { "" });
        i64::from_str_radix(&signed, radix).map_err(|_| {
            let help = "integers have 64 bits; write a float with a point, as in `1.0`";
            self.bad_value(token, "this integer is too large", help)
        })
    }

    fn bad_value(&mut self, token: Token, message: &str, help: &str) -> Failed {
        let diagnostic = Diagnostic::error("E0007-number-range", message);
        self.fail(diagnostic.label(self.span_of(token), "out of range").help(help))
    }

    /// `%3.1` as the name `3` and the result 1.
    pub(super) fn value_ref(&mut self, token: Token) -> Parsed<(Ident, Option<u32>)> {
        let text = &self.text_of(token)[1..];
        let split = if text.starts_with('"') {
            text.rfind('"').map_or(text.len(), |quote| quote + 1)
        } else {
            text.find('.').unwrap_or(text.len())
        };
        let (name, result) = text.split_at(split);
        let result = match result.strip_prefix('.') {
            None => None,
            Some(digits) => {
                let number = digits.parse::<u32>().ok();
                let failed =
                    || self.bad_value(token, "the number of a result is too large", "results count from 0");
                Some(number.ok_or_else(failed)?)
            }
        };
        Ok((self.sigil_name(token, 1, name)?, result))
    }

    /// `@head.weight` or `@"any text"`.
    pub(super) fn parameter_name(&mut self, token: Token) -> Parsed<Ident> {
        let text = &self.text_of(token)[1..];
        self.sigil_name(token, 1, text)
    }

    fn sigil_name(&mut self, token: Token, skip: u32, name: &str) -> Parsed<Ident> {
        let span = self.span_of(token);
        if !name.starts_with('"') {
            return Ok(Ident { text: name.to_owned(), span });
        }
        let start = token.start + skip;
        let quoted = Token { start, end: start + name.len() as u32, ..token };
        let string = self.string(quoted, 0)?;
        match string.plain() {
            Some(text) => Ok(Ident { text: text.to_owned(), span }),
            None => {
                Err(self.bad_value(token, "a name behind `%` or `@` has no `{…}`", "write `\\{` for a brace"))
            }
        }
    }

    /// Decodes a string token: escapes, and expressions in braces. `depth` is the nesting of the place it stands in.
    pub(super) fn string(&mut self, token: Token, depth: u32) -> Parsed<Str> {
        let (start, end) = (token.start as usize + 1, token.end as usize - 1);
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut at = start;
        while let Some(c) = self.text[at..end].chars().next() {
            at += c.len_utf8();
            match c {
                '\\' => at = self.escape(at, end, &mut text)?,
                '{' => {
                    let Some(length) = self.text[at..end].find('}') else {
                        let help = "write `\\{` for a brace in a string";
                        return Err(self.bad_string(
                            at - 1,
                            at,
                            "this `{` is not closed in the string",
                            help,
                        ));
                    };
                    if !text.is_empty() {
                        parts.push(StrPart::Text(std::mem::take(&mut text)));
                    }
                    parts.push(StrPart::Expr(self.interpolated(at, at + length, depth)?));
                    at += length + 1;
                }
                c => text.push(c),
            }
        }
        if !text.is_empty() {
            parts.push(StrPart::Text(text));
        }
        Ok(Str { parts, span: self.span_of(token) })
    }

    /// One escape behind its backslash; returns where reading goes on.
    fn escape(&mut self, at: usize, end: usize, out: &mut String) -> Parsed<usize> {
        let rest = &self.text[at..end];
        let Some(c) = rest.chars().next() else {
            return Err(self.bad_string(
                at - 1,
                at,
                "an escape is not complete",
                "write `\\\\` for a backslash",
            ));
        };
        let next = at + c.len_utf8();
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            '"' | '\\' | '{' | '}' => out.push(c),
            'u' => {
                let code = rest.strip_prefix("u{").and_then(|rest| rest.split_once('}'));
                let decoded = code.and_then(|(hex, _)| char::from_u32(u32::from_str_radix(hex, 16).ok()?));
                let (Some((hex, _)), Some(decoded)) = (code, decoded) else {
                    return Err(self.bad_string(
                        at - 1,
                        next,
                        "no such character",
                        "write `\\u{e9}` for `é`",
                    ));
                };
                out.push(decoded);
                return Ok(at + hex.len() + 3);
            }
            _ => {
                let help = "escapes are `\\n`, `\\t`, `\\\"`, `\\\\`, `\\{`, `\\}` and `\\u{…}`";
                return Err(self.bad_string(at - 1, next, &format!("unknown escape `\\{c}`"), help));
            }
        }
        Ok(next)
    }

    fn interpolated(&mut self, start: usize, end: usize, depth: u32) -> Parsed<super::super::ast::Expr> {
        let errors = self.diagnostics.error_count();
        let lexed = lexer::lex(self.text, self.file, start..end, self.diagnostics);
        let mut inner = Parser::new(self.text, self.file, lexed.tokens, self.diagnostics);
        inner.depth = depth;
        inner.brackets = 1;
        let parsed = inner.expr();
        if parsed.is_ok() && inner.peek().kind != TokenKind::End {
            inner.unexpected("`}`");
        }
        if self.diagnostics.error_count() > errors {
            self.last_error = Some(self.peek().start);
            return Err(Failed);
        }
        parsed
    }

    fn bad_string(&mut self, start: usize, end: usize, message: &str, help: &str) -> Failed {
        let span = Span::new(self.file, start as u32, end as u32);
        self.fail(Diagnostic::error("E0008-bad-string", message).label(span, "in this string").help(help))
    }
}
