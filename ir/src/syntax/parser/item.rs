//! Files: header, `use`, `const`, models and blocks with their signatures.

use super::super::ast::{
    Body, Comment, Const, Fact, Function, FunctionKind, Header, Ident, Item, Param, ResultDecl, Type,
    TypeKind, Use,
};
use super::super::token::{Keyword, TokenKind};
use super::{Parsed, Parser};
use crate::diag::{Diagnostic, did_you_mean};

impl Parser<'_> {
    pub(super) fn file(&mut self, comments: &[Comment]) -> (Option<Header>, Vec<Item>) {
        let header = if self.at_word("rect") {
            let header = self.header();
            self.end_of_statement("header");
            header.ok()
        } else {
            None
        };
        let mut items = Vec::new();
        while self.peek().kind != TokenKind::End {
            if self.eat(";") {
                continue;
            }
            let start = self.at;
            match self.item(comments) {
                Ok(item) => {
                    items.push(item);
                    if !self.continues() || self.peek().kind == TokenKind::End || self.eat(";") {
                        continue;
                    }
                    // Two items on one line: the next turn reads the second, if it is one.
                    if !matches!(self.peek().kind, TokenKind::Keyword(keyword) if keyword.begins_item()) {
                        self.unexpected("a new line");
                        self.skip_to_item(start);
                    }
                }
                Err(_) => self.skip_to_item(start),
            }
        }
        (header, items)
    }

    fn header(&mut self) -> Parsed<Header> {
        let start = self.bump().start;
        let token = self.peek();
        if token.kind != TokenKind::Int {
            return Err(self.unexpected("the language version, as in `rect 1`"));
        }
        self.bump();
        let version = self.int(token, false)?;
        let stage = if self.at_word("stage") && self.continues() {
            self.bump();
            Some(self.name("the name of a stage")?)
        } else {
            None
        };
        Ok(Header { version, stage, span: self.span_from(start) })
    }

    fn item(&mut self, comments: &[Comment]) -> Parsed<Item> {
        match self.peek().kind {
            TokenKind::Keyword(Keyword::Use) => self.use_item().map(Item::Use),
            TokenKind::Keyword(Keyword::Const) => self.constant().map(Item::Const),
            TokenKind::Keyword(Keyword::Model) => {
                self.function(FunctionKind::Model, comments).map(Item::Function)
            }
            TokenKind::Keyword(Keyword::Block) => {
                self.function(FunctionKind::Block, comments).map(Item::Function)
            }
            _ => Err(self.not_an_item()),
        }
    }

    fn not_an_item(&mut self) -> super::Failed {
        let token = self.peek();
        let wanted = "`model`, `block`, `const` or `use`";
        let found = self.describe(token);
        let mut diagnostic =
            Diagnostic::error("E0104-not-an-item", format!("expected {wanted}, found {found}"))
                .label(self.span_of(token), "not the beginning of an item");
        let text = self.text_of(token);
        if token.kind == TokenKind::Word && text == "rect" {
            diagnostic =
                diagnostic.help("the header `rect 1` is the first line of a file and stands there once");
        } else if let Some(near) = did_you_mean(text, ["model", "block", "const", "use"]) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        } else {
            diagnostic = diagnostic.help("statements belong into the braces of a model or a block");
        }
        self.fail(diagnostic)
    }

    fn use_item(&mut self) -> Parsed<Use> {
        let start = self.bump().start;
        if self.peek().kind != TokenKind::Str {
            return Err(self.unexpected("the name of a file in quotes"));
        }
        let token = self.bump();
        let path = self.string(token, 0)?;
        let open = self.expect("{", "and the names to use")?;
        let names = self.list(open, "}", |parser| parser.name("a name to use"))?;
        Ok(Use { path, names, span: self.span_from(start) })
    }

    pub(super) fn constant(&mut self) -> Parsed<Const> {
        let start = self.bump().start;
        let name = self.name("the name of a constant")?;
        self.expect("=", "and the value of the constant")?;
        let value = self.expr()?;
        Ok(Const { name, value, span: self.span_from(start) })
    }

    fn function(&mut self, kind: FunctionKind, comments: &[Comment]) -> Parsed<Function> {
        let docs = self.docs(comments);
        let start = self.bump().start;
        let name = self.name(&format!("the name of a {}", kind.keyword()))?;
        let open = self.expect("(", "and the parameters")?;
        let params = self.list(open, ")", Self::param)?;
        let results = if self.eat("->") { Some(self.results()?) } else { None };
        let facts = if self.at_word("where") { self.facts()? } else { Vec::new() };
        if !self.at("{") {
            return Err(self.unexpected(&format!("`{{` and the body of `{}`", name.text)));
        }
        let body: Body = self.body()?;
        Ok(Function { kind, docs, name, params, results, facts, body, span: self.span_from(start) })
    }

    /// The `///` lines between the previous token and this one.
    fn docs(&self, comments: &[Comment]) -> String {
        let from = self.at.checked_sub(1).map_or(0, |before| self.tokens[before].end);
        let first = comments.partition_point(|comment| comment.span.start < from);
        let here = comments[first..].iter().take_while(|comment| comment.span.start < self.peek().start);
        let line = |comment: &Comment| {
            let text = &self.text[comment.span.start as usize + 3..comment.span.end as usize];
            text.strip_prefix(' ').unwrap_or(text).to_owned()
        };
        here.filter(|comment| comment.doc && comment.own_line).map(line).collect::<Vec<_>>().join("\n")
    }

    fn param(&mut self) -> Parsed<Param> {
        let start = self.peek().start;
        let name = self.any_name("a parameter")?;
        let ty = if self.eat(":") { Some(self.ty()?) } else { None };
        let default = if self.eat("=") { Some(self.expr()?) } else { None };
        Ok(Param { name, ty, default, span: self.span_from(start) })
    }

    /// A name, or any text as in `%"input.1"`, which imported models need.
    fn any_name(&mut self, what: &str) -> Parsed<Ident> {
        let token = self.peek();
        if token.kind != TokenKind::Value {
            return self.name(what);
        }
        let (name, result) = self.value_ref(token)?;
        if result.is_some() {
            return Err(self.unexpected(what));
        }
        self.bump();
        Ok(name)
    }

    fn results(&mut self) -> Parsed<Vec<ResultDecl>> {
        if self.at("(") {
            let open = self.bump();
            return self.list(open, ")", Self::result);
        }
        Ok(vec![self.result()?])
    }

    fn result(&mut self) -> Parsed<ResultDecl> {
        let start = self.peek().start;
        let typed = self.peek_at(1).kind == TokenKind::Punct("[");
        let (name, ty): (Option<Ident>, Option<Type>) = if typed {
            (None, Some(self.ty()?))
        } else {
            let name = self.any_name("the name or the type of a result")?;
            let ty = if self.eat(":") { Some(self.ty()?) } else { None };
            (Some(name), ty)
        };
        Ok(ResultDecl { name, ty, span: self.span_from(start) })
    }

    fn facts(&mut self) -> Parsed<Vec<Fact>> {
        self.bump();
        self.bracketed(|parser| {
            let mut facts = Vec::new();
            while !parser.at("{") {
                let left = parser.plain_expr()?;
                let fact = if parser.eat_keyword(Keyword::In) {
                    Fact::In(left, parser.range()?)
                } else {
                    Fact::Holds(left)
                };
                facts.push(fact);
                if !parser.eat(",") {
                    break;
                }
            }
            Ok(facts)
        })
    }

    pub(super) fn ty(&mut self) -> Parsed<Type> {
        self.nested(|parser| {
            let token = parser.peek();
            let kind = if parser.at("(") {
                parser.bump();
                TypeKind::Tuple(parser.list(token, ")", Self::ty)?)
            } else {
                let name = parser.name("a type such as `f32[N, 3]` or `int`")?;
                if parser.at("[") && parser.continues() {
                    let open = parser.bump();
                    TypeKind::Tensor(name, parser.list(open, "]", Self::expr)?)
                } else {
                    TypeKind::Constant(name)
                }
            };
            Ok(Type { kind, span: parser.span_from(token.start) })
        })
    }

    /// Skips to the next keyword that begins an item on a line of its own. Braces are not counted: a missing one is
    /// the likely reason for the error.
    fn skip_to_item(&mut self, start: usize) {
        self.brackets = 0;
        self.call_suffixes = true;
        if self.at == start {
            self.bump();
        }
        loop {
            let token = self.peek();
            let begins = matches!(token.kind, TokenKind::Keyword(keyword) if keyword.begins_item());
            if token.kind == TokenKind::End || (begins && token.newline_before) {
                return;
            }
            self.bump();
        }
    }
}
