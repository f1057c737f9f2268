//! Recursive-descent parser with recovery: an error spoils its statement, and reading goes on at the next one.

mod control;
mod expr;
mod item;
mod literal;
mod stmt;

use super::MAX_NESTING;
use super::ast::{File, Ident};
use super::lexer::Lexed;
use super::token::{Keyword, Token, TokenKind};
use crate::diag::{Diagnostic, Diagnostics, FileId, Span};

/// Parses the tokens of a whole file.
pub fn parse_file(text: &str, id: FileId, lexed: Lexed, diagnostics: &mut Diagnostics) -> File {
    let mut parser = Parser::new(text, id, lexed.tokens, diagnostics);
    let comments = lexed.comments;
    let (header, items) = parser.file(&comments);
    File { id, header, items, comments }
}

/// The statement cannot be read; a diagnostic has been pushed.
pub(super) struct Failed;
pub(super) type Parsed<T> = Result<T, Failed>;

pub(super) struct Parser<'a> {
    text: &'a str,
    file: FileId,
    tokens: Vec<Token>,
    at: usize,
    diagnostics: &'a mut Diagnostics,
    depth: u32,
    /// Brackets that are open since the statement began; inside them line ends mean nothing.
    brackets: u32,
    /// Braces of a `defaults` list that are open; braces of bodies are not counted, as bodies recover by themselves.
    braces: u32,
    /// `as` and `from` belong to the call before them; not at the top of a `param` statement, which has its own.
    call_suffixes: bool,
    last_error: Option<u32>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, file: FileId, tokens: Vec<Token>, diagnostics: &'a mut Diagnostics) -> Parser<'a> {
        Parser {
            text,
            file,
            tokens,
            at: 0,
            diagnostics,
            depth: 0,
            brackets: 0,
            braces: 0,
            call_suffixes: true,
            last_error: None,
        }
    }

    fn peek(&self) -> Token {
        self.tokens[self.at]
    }

    fn peek_at(&self, ahead: usize) -> Token {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    fn bump(&mut self) -> Token {
        let token = self.peek();
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    fn at(&self, punct: &'static str) -> bool {
        self.peek().kind == TokenKind::Punct(punct)
    }

    fn at_keyword(&self, keyword: Keyword) -> bool {
        self.peek().kind == TokenKind::Keyword(keyword)
    }

    /// A word that has a meaning in this place only, such as `where`.
    fn at_word(&self, word: &str) -> bool {
        self.peek().kind == TokenKind::Word && self.text_of(self.peek()) == word
    }

    fn eat(&mut self, punct: &'static str) -> bool {
        let found = self.at(punct);
        if found {
            self.bump();
        }
        found
    }

    fn eat_keyword(&mut self, keyword: Keyword) -> bool {
        let found = self.at_keyword(keyword);
        if found {
            self.bump();
        }
        found
    }

    /// The next token belongs to the same statement: no line end before it, or inside brackets.
    fn continues(&self) -> bool {
        self.brackets > 0 || !self.peek().newline_before
    }

    fn text_of(&self, token: Token) -> &'a str {
        &self.text[token.start as usize..token.end as usize]
    }

    fn span_of(&self, token: Token) -> Span {
        Span::new(self.file, token.start, token.end)
    }

    /// From `start` to the end of the last token that was read.
    fn span_from(&self, start: u32) -> Span {
        let end = self.at.checked_sub(1).map_or(start, |before| self.tokens[before].end);
        Span::new(self.file, start, end.max(start))
    }

    fn ident_of(&self, token: Token) -> Ident {
        Ident { text: self.text_of(token).to_owned(), span: self.span_of(token) }
    }

    fn expect(&mut self, punct: &'static str, place: &str) -> Parsed<Token> {
        if self.at(punct) {
            return Ok(self.bump());
        }
        Err(self.unexpected(&format!("`{punct}` {place}")))
    }

    /// The closing bracket; its error also shows the opening one.
    fn close(&mut self, punct: &'static str, open: Token) -> Parsed<()> {
        if self.eat(punct) {
            return Ok(());
        }
        let token = self.peek();
        let found = self.describe(token);
        let opened = self.text_of(open);
        let comma = if opened == "{" { "" } else { " or `,`" };
        let diagnostic = Diagnostic::error("E0102-unclosed", format!("expected `{punct}`, found {found}"))
            .label(self.place(token), format!("expected `{punct}`{comma}"))
            .label(self.span_of(open), format!("this `{opened}` is not closed"));
        let failed = self.fail(diagnostic);
        // On a new line the statement has probably ended, unless an argument follows.
        if token.newline_before && self.peek_at(1).kind != TokenKind::Punct(":") {
            self.brackets = 0;
        }
        Err(failed)
    }

    fn name(&mut self, what: &str) -> Parsed<Ident> {
        match self.peek().kind {
            TokenKind::Word => {
                let token = self.bump();
                Ok(self.ident_of(token))
            }
            TokenKind::Keyword(keyword) => {
                let message = format!("`{}` is a keyword and cannot be {what}", keyword.text());
                let span = self.span_of(self.peek());
                Err(self.fail(
                    Diagnostic::error("E0103-keyword-as-name", message).label(span, "choose another name"),
                ))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn unexpected(&mut self, wanted: &str) -> Failed {
        let token = self.peek();
        let found = self.describe(token);
        let diagnostic =
            Diagnostic::error("E0101-unexpected-token", format!("expected {wanted}, found {found}"));
        let diagnostic = diagnostic.label(self.place(token), format!("expected {wanted}"));
        self.fail(diagnostic)
    }

    /// Where something is missing: at the token found instead, or behind the line before it.
    fn place(&self, token: Token) -> Span {
        match self.at.checked_sub(1).map(|before| self.tokens[before]) {
            Some(before) if token.newline_before || token.kind == TokenKind::End => {
                Span::new(self.file, before.end, before.end)
            }
            _ => self.span_of(token),
        }
    }

    /// Reports, unless the lexer has reported this token or this place has had its error.
    fn fail(&mut self, diagnostic: Diagnostic) -> Failed {
        let token = self.peek();
        if token.kind != TokenKind::Error && self.last_error != Some(token.start) {
            self.diagnostics.push(diagnostic);
        }
        self.last_error = Some(token.start);
        Failed
    }

    fn describe(&self, token: Token) -> String {
        match token.kind {
            TokenKind::End if token.end as usize == self.text.len() => "the end of the file".to_owned(),
            TokenKind::End => "`}`".to_owned(),
            TokenKind::Keyword(keyword) => format!("the keyword `{}`", keyword.text()),
            TokenKind::Str => "a string".to_owned(),
            TokenKind::Word | TokenKind::Int | TokenKind::Float | TokenKind::Value => {
                let text: String = self.text_of(token).chars().take(40).collect();
                format!("`{text}`")
            }
            TokenKind::Parameter | TokenKind::Punct(_) | TokenKind::Error => {
                format!("`{}`", self.text_of(token))
            }
        }
    }

    /// Runs `parse` one level deeper, or refuses.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_NESTING {
            let message = format!("this is nested more than {MAX_NESTING} levels deep");
            let diagnostic = Diagnostic::error("E0105-nested-too-deeply", message)
                .label(self.span_of(self.peek()), "the level that is too deep begins here")
                .help("split the expression with `let`, or use a block");
            return Err(self.fail(diagnostic));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// Runs `parse` inside brackets, where line ends mean nothing and `as` belongs to calls.
    fn bracketed<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let suffixes = std::mem::replace(&mut self.call_suffixes, true);
        self.brackets += 1;
        let result = parse(self)?;
        // After a failure the count stays, so that recovery knows how many brackets are open.
        self.brackets -= 1;
        self.call_suffixes = suffixes;
        Ok(result)
    }

    /// Items up to a closing bracket, separated by commas; a last comma is allowed.
    fn list<T>(
        &mut self,
        open: Token,
        close: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.bracketed(|parser| {
            let mut items = Vec::new();
            while !parser.at(close) {
                items.push(item(parser)?);
                if !parser.eat(",") {
                    break;
                }
            }
            parser.close(close, open)?;
            Ok(items)
        })
    }
}
