//! Expressions: pipes, ranges, operator chains, calls with their suffixes.

use super::super::ast::{
    Arg, BinaryOp, Call, Expr, ExprKind, Ident, Provenance, Range, Region, Str, StrPart, UnaryOp,
};
use super::super::token::{Keyword, TokenKind};
use super::{Parsed, Parser};
use crate::diag::Diagnostic;

/// Operators from the loosest to the tightest; one row is one precedence.
const PRECEDENCE: [&[(&str, BinaryOp)]; 5] = [
    &[("||", BinaryOp::Or)],
    &[("&&", BinaryOp::And)],
    &[
        ("==", BinaryOp::Equal),
        ("!=", BinaryOp::NotEqual),
        ("<=", BinaryOp::LessEqual),
        (">=", BinaryOp::GreaterEqual),
        ("<", BinaryOp::Less),
        (">", BinaryOp::Greater),
    ],
    &[("+", BinaryOp::Add), ("-", BinaryOp::Subtract)],
    &[("*", BinaryOp::Multiply), ("/", BinaryOp::Divide), ("%", BinaryOp::Remainder)],
];
const COMPARISON: usize = 2;
/// Field and index suffixes on one operand; they deepen the tree without nesting in the text.
const MAX_SUFFIXES: usize = 8;

impl Parser<'_> {
    /// Any expression: a range or operator chain, piped through stages.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let start = parser.peek().start;
            let input = parser.range()?;
            let mut stages = Vec::new();
            // A line end before `|>` does not end the statement.
            while parser.eat("|>") {
                stages.push(parser.stage()?);
            }
            if stages.is_empty() {
                return Ok(input);
            }
            Ok(Expr { kind: ExprKind::Pipe(Box::new(input), stages), span: parser.span_from(start) })
        })
    }

    fn stage(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        match token.kind {
            TokenKind::Word => {
                self.bump();
                let call = self.call(token)?;
                Ok(Expr { kind: ExprKind::Call(Box::new(call)), span: self.span_from(token.start) })
            }
            TokenKind::Keyword(Keyword::If | Keyword::For | Keyword::Repeat) => self.control(),
            _ => Err(self.unexpected("a call, `if`, `for` or `repeat` after `|>`")),
        }
    }

    /// `a..b`, `a..=b`, or an operator chain.
    pub(super) fn range(&mut self) -> Parsed<Expr> {
        let start = self.plain_expr()?;
        let inclusive = self.at("..=");
        if !(inclusive || self.at("..")) || !self.continues() {
            return Ok(start);
        }
        self.bump();
        let end = self.plain_expr()?;
        let span = start.span.to(end.span);
        Ok(Expr { kind: ExprKind::Range(Box::new(Range { start, end, inclusive })), span })
    }

    /// An expression without pipe and range.
    pub(super) fn plain_expr(&mut self) -> Parsed<Expr> {
        self.chain(0)
    }

    fn chain(&mut self, level: usize) -> Parsed<Expr> {
        let Some(operators) = PRECEDENCE.get(level) else { return self.unary() };
        let first = self.chain(level + 1)?;
        let mut rest: Vec<(BinaryOp, Expr)> = Vec::new();
        while self.continues() {
            let token = self.peek();
            let found = operators.iter().find(|(symbol, _)| token.kind == TokenKind::Punct(symbol));
            let Some((_, op)) = found else { break };
            if level == COMPARISON && !rest.is_empty() {
                let diagnostic =
                    Diagnostic::error("E0109-chained-comparison", "comparisons cannot be chained")
                        .label(self.span_of(token), "second comparison")
                        .help("write `a < b && b < c`");
                return Err(self.fail(diagnostic));
            }
            self.bump();
            rest.push((*op, self.chain(level + 1)?));
        }
        let Some((_, last)) = rest.last() else { return Ok(first) };
        let span = first.span.to(last.span);
        Ok(Expr { kind: ExprKind::Chain(Box::new(first), rest), span })
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        let op = match token.kind {
            TokenKind::Punct("-") => UnaryOp::Negate,
            TokenKind::Punct("!") => UnaryOp::Not,
            _ => return self.postfix(),
        };
        self.bump();
        if op == UnaryOp::Negate && self.at_number() {
            let kind = self.number(true)?;
            return Ok(Expr { kind, span: self.span_from(token.start) });
        }
        let operand = self.nested(Self::unary)?;
        Ok(Expr { kind: ExprKind::Unary(op, Box::new(operand)), span: self.span_from(token.start) })
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let start = self.peek().start;
        let mut expr = self.primary()?;
        let mut count = 0;
        while self.continues() && (self.at(".") || self.at("[")) {
            count += 1;
            if count > MAX_SUFFIXES {
                let message = format!("more than {MAX_SUFFIXES} fields and indices on one value");
                let diagnostic = Diagnostic::error("E0105-nested-too-deeply", message)
                    .label(self.span_of(self.peek()), "one too many")
                    .help("bind a part with `let`");
                return Err(self.fail(diagnostic));
            }
            let open = self.bump();
            let kind = if self.text_of(open) == "." {
                if matches!(expr.kind, ExprKind::Int(_)) {
                    let diagnostic =
                        Diagnostic::error("E0101-unexpected-token", "a point without digits behind it")
                            .label(self.span_of(open), "a digit belongs here")
                            .help("write `1.0`");
                    return Err(self.fail(diagnostic));
                }
                ExprKind::Field(Box::new(expr), self.name("the name of a field, as in `x.channels`")?)
            } else {
                let index = self.bracketed(|parser| {
                    let index = parser.expr()?;
                    parser.close("]", open)?;
                    Ok(index)
                })?;
                ExprKind::Index(Box::new(expr), Box::new(index))
            };
            expr = Expr { kind, span: self.span_from(start) };
        }
        Ok(expr)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        let kind = match token.kind {
            _ if self.at_number() => self.number(false)?,
            TokenKind::Word => {
                self.bump();
                let call = self.at("(") || self.at_keyword(Keyword::As) && self.call_suffixes;
                if call && self.continues() {
                    ExprKind::Call(Box::new(self.call(token)?))
                } else {
                    ExprKind::Name(self.text_of(token).to_owned())
                }
            }
            TokenKind::Str => {
                self.bump();
                ExprKind::Str(Box::new(self.string(token, self.depth)?))
            }
            TokenKind::Value => {
                let (name, result) = self.value_ref(token)?;
                self.bump();
                ExprKind::Value(name.text, result)
            }
            TokenKind::Parameter => {
                self.bump();
                ExprKind::Parameter(self.parameter_name(token)?.text)
            }
            TokenKind::Punct("(") => self.parenthesised()?,
            TokenKind::Punct("[") => {
                self.bump();
                ExprKind::List(self.list(token, "]", Self::expr)?)
            }
            TokenKind::Keyword(Keyword::True | Keyword::False) => {
                self.bump();
                ExprKind::Bool(token.kind == TokenKind::Keyword(Keyword::True))
            }
            TokenKind::Keyword(Keyword::If | Keyword::For | Keyword::Repeat) => return self.control(),
            // `fan: in`: a keyword alone as the value of an argument is a name.
            TokenKind::Keyword(_) if matches!(self.peek_at(1).kind, TokenKind::Punct("," | ")")) => {
                self.bump();
                ExprKind::Name(self.text_of(token).to_owned())
            }
            _ => return Err(self.unexpected("an expression")),
        };
        let expr = Expr { kind, span: self.span_from(token.start) };
        if self.call_suffixes && self.at_keyword(Keyword::As) && self.continues() {
            return Err(self.label_without_call(&expr));
        }
        Ok(expr)
    }

    pub(super) fn label_without_call(&mut self, expr: &Expr) -> super::Failed {
        let diagnostic = Diagnostic::error("E0106-misplaced-as", "only a call can have a label")
            .label(self.span_of(self.peek()), "this labels nothing")
            .label(expr.span, "not a call")
            .help("write `as …` directly behind a call, as in `conv(8, kernel: 3) as head`");
        self.fail(diagnostic)
    }

    fn parenthesised(&mut self) -> Parsed<ExprKind> {
        let open = self.bump();
        let mut trailing = false;
        let mut parts = self.list(open, ")", |parser| {
            let part = parser.expr()?;
            trailing = parser.at(",");
            Ok(part)
        })?;
        match parts.pop() {
            Some(only) if parts.is_empty() && !trailing => Ok(ExprKind::Paren(Box::new(only))),
            Some(last) => {
                parts.push(last);
                Ok(ExprKind::Tuple(parts))
            }
            None => Ok(ExprKind::Tuple(parts)),
        }
    }

    /// A call from its name on: arguments, epilogue region, label, provenance.
    fn call(&mut self, name: super::Token) -> Parsed<Call> {
        let callee: Ident = self.ident_of(name);
        let mut call = Call { callee, args: None, region: None, label: None, provenance: None };
        if self.at("(") && self.continues() {
            let open = self.bump();
            call.args = Some(self.list(open, ")", Self::arg)?);
        }
        let value_next = self.peek_at(1).kind == TokenKind::Value;
        if self.at("{") && value_next && self.peek_at(2).kind == TokenKind::Punct("=>") {
            call.region = Some(self.region()?);
        }
        if self.call_suffixes {
            if self.at_keyword(Keyword::As) && self.continues() {
                call.label = Some(self.label()?);
            }
            call.provenance = self.provenance()?;
        }
        Ok(call)
    }

    fn arg(&mut self) -> Parsed<Arg> {
        let token = self.peek();
        let word = matches!(token.kind, TokenKind::Word | TokenKind::Keyword(_));
        let name = if word && self.peek_at(1).kind == TokenKind::Punct(":") {
            self.bump();
            self.bump();
            Some(self.ident_of(token))
        } else {
            None
        };
        let value = self.expr()?;
        if self.at("=") {
            let diagnostic = Diagnostic::error("E0110-named-argument", "arguments are named with `:`")
                .label(self.span_of(self.peek()), "not `=`")
                .help("write `kernel: 3`");
            return Err(self.fail(diagnostic));
        }
        Ok(Arg { name, value, span: self.span_from(token.start) })
    }

    /// `{ %acc => statements }`.
    fn region(&mut self) -> Parsed<Region> {
        let open = self.bump();
        let (mut accumulator, _) = self.value_ref(self.peek())?;
        let named = self.bump();
        accumulator.span = self.span_of(named);
        self.expect("=>", "and the steps of the epilogue")?;
        let brackets = std::mem::take(&mut self.brackets);
        let stmts = self.statements();
        self.close("}", open)?;
        self.brackets = brackets;
        let body = super::super::ast::Body { stmts, span: self.span_from(open.start) };
        Ok(Region { accumulator, body })
    }

    /// `as label`, with the label a path of words or a string.
    pub(super) fn label(&mut self) -> Parsed<Str> {
        self.bump();
        let token = self.peek();
        if token.kind == TokenKind::Str {
            self.bump();
            return self.string(token, self.depth);
        }
        if !matches!(token.kind, TokenKind::Word | TokenKind::Keyword(_)) {
            return Err(self.unexpected("a label: a name, a path such as `head.out`, or a string"));
        }
        self.bump();
        while self.at(".") && self.continues() {
            self.bump();
            match self.peek().kind {
                // A float token here is two numbers of a path.
                TokenKind::Word | TokenKind::Keyword(_) | TokenKind::Int | TokenKind::Float => self.bump(),
                _ => return Err(self.unexpected("the next part of the label")),
            };
        }
        let span = self.span_from(token.start);
        let written = &self.text[span.start as usize..span.end as usize];
        let text: String = written.chars().filter(|c| !c.is_whitespace()).collect();
        Ok(Str { parts: vec![StrPart::Text(text)], span })
    }

    /// `from("label", "rule")`, if it follows.
    pub(super) fn provenance(&mut self) -> Parsed<Option<Provenance>> {
        let open = self.peek_at(1);
        if !self.at_word("from") || open.kind != TokenKind::Punct("(") || !self.continues() {
            return Ok(None);
        }
        let start = self.bump().start;
        self.bump();
        let args = self.list(open, ")", Self::arg)?;
        Ok(Some(Provenance { args, span: self.span_from(start) }))
    }
}
