//! Bodies and statements, and how reading goes on after an error.

use super::super::ast::{Body, DefaultEntry, ParamDecl, Pattern, Stmt, StmtKind};
use super::super::token::{Keyword, TokenKind};
use super::{Parsed, Parser};
use crate::diag::Diagnostic;

impl Parser<'_> {
    /// `{ statements }`. Errors inside spoil single statements; only a missing brace spoils the body.
    pub(super) fn body(&mut self) -> Parsed<Body> {
        let open = self.expect("{", "and statements")?;
        let brackets = std::mem::take(&mut self.brackets);
        let suffixes = std::mem::replace(&mut self.call_suffixes, true);
        let stmts = self.statements();
        self.close("}", open)?;
        self.brackets = brackets;
        self.call_suffixes = suffixes;
        Ok(Body { stmts, span: self.span_from(open.start) })
    }

    pub(super) fn statements(&mut self) -> Vec<Stmt> {
        let mut stmts = Vec::new();
        loop {
            while self.eat(";") {}
            let token = self.peek();
            if token.kind == TokenKind::End || self.at("}") || self.item_begins() {
                return stmts;
            }
            let first = self.at;
            let kind = match self.statement() {
                Ok(kind) => kind,
                Err(_) => {
                    self.skip_statement(first);
                    StmtKind::Error
                }
            };
            stmts.push(Stmt { kind, span: self.span_from(token.start) });
            self.end_of_statement("statement");
        }
    }

    /// An item's keyword at the beginning of a line, which no statement begins with: a brace is missing before it.
    fn item_begins(&self) -> bool {
        let token = self.peek();
        token.newline_before
            && matches!(token.kind, TokenKind::Keyword(Keyword::Model | Keyword::Block | Keyword::Use))
    }

    fn statement(&mut self) -> Parsed<StmtKind> {
        match self.peek().kind {
            TokenKind::Keyword(Keyword::Let) => self.let_statement(),
            TokenKind::Keyword(Keyword::Const) => self.constant().map(StmtKind::Const),
            TokenKind::Keyword(Keyword::Param) => self.param_statement(),
            TokenKind::Keyword(Keyword::Layer) => {
                self.bump();
                let name = self.name("the name of a layer")?;
                self.expect("=", "and the call that the layer stands for")?;
                Ok(StmtKind::Layer { name, call: self.expr()? })
            }
            TokenKind::Keyword(Keyword::Defaults) => self.defaults(),
            TokenKind::Keyword(Keyword::As) => {
                let span = self.span_of(self.peek());
                let diagnostic =
                    Diagnostic::error("E0106-misplaced-as", "a label stands on the line of its call")
                        .label(span, "nothing to label on this line")
                        .help("a line end ends a statement; write `as …` behind the call");
                Err(self.fail(diagnostic))
            }
            _ => {
                let expr = self.expr()?;
                if self.at("=") && self.continues() {
                    let diagnostic = Diagnostic::error("E0107-assignment", "names are not assigned to")
                        .label(self.span_of(self.peek()), "no assignment in this language")
                        .help("bind a new name with `let … = …`");
                    return Err(self.fail(diagnostic));
                }
                Ok(StmtKind::Expr(expr))
            }
        }
    }

    fn let_statement(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let pattern = self.pattern()?;
        let ty = if self.eat(":") { Some(self.ty()?) } else { None };
        self.expect("=", "and a value")?;
        Ok(StmtKind::Let { pattern, ty, value: self.expr()? })
    }

    /// `x`, `_`, `%3`, `(a, (b, c))`.
    pub(super) fn pattern(&mut self) -> Parsed<Pattern> {
        self.nested(|parser| {
            let token = parser.peek();
            match token.kind {
                TokenKind::Punct("(") => {
                    parser.bump();
                    let parts = parser.list(token, ")", Self::pattern)?;
                    Ok(Pattern::Tuple(parts, parser.span_from(token.start)))
                }
                TokenKind::Value => {
                    let (mut name, result) = parser.value_ref(token)?;
                    if result.is_some() {
                        return Err(parser.unexpected("a name without the number of a result"));
                    }
                    parser.bump();
                    name.span = parser.span_of(token);
                    Ok(Pattern::Name { name, value: true })
                }
                _ => Ok(Pattern::Name { name: parser.name("a name")?, value: false }),
            }
        })
    }

    fn param_statement(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let token = self.peek();
        let full = token.kind == TokenKind::Parameter;
        let name = if full {
            self.bump();
            self.parameter_name(token)?
        } else {
            self.name("the name of a parameter")?
        };
        self.expect(":", "and the type of the parameter")?;
        let ty = self.ty()?;
        self.expect("=", "and the initial value, as in `= he_normal(fan: in)`")?;
        self.call_suffixes = false;
        let init = self.expr();
        self.call_suffixes = true;
        let init = init?;
        let label = if self.at_keyword(Keyword::As) && self.continues() { Some(self.label()?) } else { None };
        let provenance = self.provenance()?;
        Ok(StmtKind::Param(Box::new(ParamDecl { name, full, ty, init, label, provenance })))
    }

    fn defaults(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let open = self.expect("{", "and entries such as `prelu.slope = 0.25`")?;
        self.brackets += 1;
        self.braces += 1;
        let mut entries = Vec::new();
        while !self.at("}") {
            let start = self.peek().start;
            let op = self.name("the name of an op")?;
            self.expect(".", "and the kind of parameter, as in `conv.weight`")?;
            let leaf = self.name("the kind of parameter, as in `conv.weight`")?;
            self.expect("=", "and a default")?;
            // Line ends separate entries, so they count inside this list.
            let brackets = std::mem::take(&mut self.brackets);
            let value = self.expr();
            if value.is_ok() {
                self.brackets = brackets;
            }
            entries.push(DefaultEntry { op, leaf, value: value?, span: self.span_from(start) });
            if !self.eat(",") && !self.eat(";") && !self.peek().newline_before {
                break;
            }
        }
        self.close("}", open)?;
        self.brackets -= 1;
        self.braces -= 1;
        Ok(StmtKind::Defaults(entries))
    }

    /// After a statement there is a line end, `;`, a closing brace or the end of the file.
    pub(super) fn end_of_statement(&mut self, what: &str) {
        let token = self.peek();
        let ended = token.newline_before || token.kind == TokenKind::End || self.at("}");
        if ended || self.eat(";") {
            return;
        }
        let found = self.describe(token);
        let mut diagnostic = Diagnostic::error(
            "E0108-end-of-statement",
            format!("expected the end of the {what}, found {found}"),
        )
        .label(self.span_of(token), "statements are separated by a new line or `;`");
        if let TokenKind::Punct("+" | "-" | "*" | "/" | "%" | "==" | "<" | ">" | "." | "[") = token.kind {
            diagnostic = diagnostic.help("put a pipe into parentheses before computing with its result");
        }
        self.fail(diagnostic);
        self.skip_statement(self.at);
        self.eat(";");
    }

    /// Skips the rest of a broken statement: to a line end outside its brackets, `;`, or the enclosing brace. A
    /// keyword that begins a statement ends it too, since an unclosed bracket may have caused the error.
    fn skip_statement(&mut self, first: usize) {
        let mut brackets = i64::from(std::mem::take(&mut self.brackets));
        let mut braces = std::mem::take(&mut self.braces);
        self.call_suffixes = true;
        loop {
            let token = self.peek();
            let begins =
                matches!(token.kind, TokenKind::Keyword(k) if k.begins_statement() || k.begins_item());
            match token.kind {
                TokenKind::End => return,
                TokenKind::Punct("}") if braces == 0 => return,
                TokenKind::Punct(";") if braces == 0 && brackets <= 0 => return,
                _ if self.at > first && braces == 0 && token.newline_before && (brackets <= 0 || begins) => {
                    return;
                }
                TokenKind::Punct("{") => braces += 1,
                TokenKind::Punct("}") => {
                    braces -= 1;
                    // The brackets of a list in braces end with it.
                    brackets = if braces == 0 { 0 } else { brackets };
                }
                TokenKind::Punct("(" | "[") => brackets += 1,
                TokenKind::Punct(")" | "]") => brackets -= 1,
                _ => {}
            }
            self.bump();
        }
    }
}
