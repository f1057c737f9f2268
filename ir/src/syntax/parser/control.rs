//! `if`, `for` and `repeat`, which are expressions and pipe stages alike.

use super::super::ast::{Expr, ExprKind, For, If, Repeat};
use super::super::token::{Keyword, TokenKind};
use super::{Parsed, Parser};

impl Parser<'_> {
    /// The parser stands on one of the three keywords.
    pub(super) fn control(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        let kind = match token.kind {
            TokenKind::Keyword(Keyword::If) => self.if_expr()?,
            TokenKind::Keyword(Keyword::For) => self.for_expr()?,
            _ => self.repeat_expr()?,
        };
        let expr = Expr { kind, span: self.span_from(token.start) };
        if self.at_keyword(Keyword::As) && self.continues() {
            return Err(self.label_without_call(&expr));
        }
        Ok(expr)
    }

    fn if_expr(&mut self) -> Parsed<ExprKind> {
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            self.bump();
            let condition = self.plain_expr()?;
            branches.push((condition, self.body()?));
            // `else` begins no statement, so it may stand on the next line.
            if !self.eat_keyword(Keyword::Else) {
                break;
            }
            if !self.at_keyword(Keyword::If) {
                otherwise = Some(self.body()?);
                break;
            }
        }
        Ok(ExprKind::If(Box::new(If { branches, otherwise })))
    }

    fn for_expr(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let pattern = self.pattern()?;
        if !self.eat_keyword(Keyword::In) {
            return Err(self.unexpected("`in` and a range or list"));
        }
        let list = self.range()?;
        let body = self.body()?;
        Ok(ExprKind::For(Box::new(For { pattern, list, body })))
    }

    fn repeat_expr(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let count = self.plain_expr()?;
        let body = self.body()?;
        Ok(ExprKind::Repeat(Box::new(Repeat { count, body })))
    }
}
