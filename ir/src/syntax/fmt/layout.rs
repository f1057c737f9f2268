//! Nodes over several lines, and the places of comments.

use super::super::ast::{
    Arg, Body, Call, Comment, DefaultEntry, Expr, ExprKind, File, Function, Ident, Item, Param, ResultDecl,
    Stmt, StmtKind,
};
use super::flat::{Fits, Flat, forced, unary, value_name, within};
use super::{STEP, WIDTH};
use crate::diag::Span;

pub struct Layout<'a> {
    text: &'a str,
    comments: &'a [Comment],
    /// The first comment that has not been written.
    next: usize,
    out: String,
    indent: usize,
    /// Just behind an opening brace, where no blank line goes.
    fresh: bool,
    /// A blank line goes before the next line in any case.
    blank: bool,
}

/// What a bracketed list holds.
trait Piece {
    fn span(&self) -> Span;
    fn flat(&self, flat: &mut Flat) -> Fits;
    fn broken(&self, layout: &mut Layout<'_>) {
        layout.whole(|flat| self.flat(flat));
    }
    /// Short enough that several share a line of a long list.
    fn fills(&self) -> bool {
        false
    }
}

impl<'a> Layout<'a> {
    pub fn new(text: &'a str, comments: &'a [Comment]) -> Layout<'a> {
        Layout { text, comments, next: 0, out: String::new(), indent: 0, fresh: true, blank: false }
    }

    pub fn file(mut self, file: &File) -> String {
        if let Some(header) = &file.header {
            self.comments_before(header.span.start);
            self.line(header.span.start);
            self.out.push_str(&format!("rect {}", header.version));
            if let Some(stage) = &header.stage {
                self.out.push_str(&format!(" stage {}", stage.text));
            }
            self.trailing(header.span.end);
        }
        for item in &file.items {
            let function = matches!(item, Item::Function(_));
            self.blank |= function;
            self.comments_before(item.span().start);
            self.line(item.span().start);
            self.item(item);
            self.trailing(item.span().end);
            self.blank = function;
        }
        self.blank = false;
        self.comments_before(u32::MAX);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Use(item) => {
                self.whole(|flat| {
                    flat.push("use ")?;
                    flat.string(&item.path)?;
                    flat.push(" ")
                });
                self.group("{", &item.names, "}", item.span.end, 0);
            }
            Item::Const(item) => self.named("const ", &item.name, &item.value),
            Item::Function(function) => self.function(function),
        }
    }

    fn function(&mut self, function: &Function) {
        let head =
            |flat: &mut Flat| flat.push(&format!("{} {}(", function.kind.keyword(), function.name.text));
        let tail = |flat: &mut Flat| {
            if let Some(results) = &function.results {
                flat.push(" -> (")?;
                for (index, result) in results.iter().enumerate() {
                    flat.push(if index > 0 { ", " } else { "" })?;
                    flat.result(result)?;
                }
                flat.push(")")?;
            }
            if function.facts.is_empty() {
                return Ok(());
            }
            flat.push(" where ")?;
            flat.facts(&function.facts)
        };
        let signature = |flat: &mut Flat| {
            head(flat)?;
            for (index, param) in function.params.iter().enumerate() {
                flat.push(if index > 0 { ", " } else { "" })?;
                flat.param(param)?;
            }
            flat.push(")")?;
            tail(flat)
        };
        let body = function.body.span.start;
        let commented = self.has_comments(Span { end: body, ..function.span });
        match within(self.room(2), signature) {
            Some(line) if !commented => self.out.push_str(&line),
            _ => {
                self.out.push_str(&format!("{} {}", function.kind.keyword(), function.name.text));
                let end = function.results.iter().flatten().next().map_or(body, |result| result.span.start);
                self.group_broken("(", &function.params, ")", end);
                match within(self.room(2), tail) {
                    Some(line) if !commented => self.out.push_str(&line),
                    _ => self.broken_results(function),
                }
            }
        }
        self.out.push(' ');
        self.body(&function.body);
    }

    fn broken_results(&mut self, function: &Function) {
        if let Some(results) = &function.results {
            self.out.push_str(" -> ");
            let end = results.last().map_or(function.body.span.start, |result| result.span.end);
            self.group("(", results, ")", end, 2);
        }
        if function.facts.is_empty() {
            return;
        }
        // Inside a signature line ends mean nothing after `where`, so the list may take several lines.
        self.indent += STEP;
        self.plain_line();
        self.out.push_str("where ");
        for (index, fact) in function.facts.iter().enumerate() {
            let text = forced(|flat| flat.fact(fact));
            if index > 0 {
                self.out.push(',');
                if text.len() + 3 > self.room(0) {
                    self.plain_line();
                } else {
                    self.out.push(' ');
                }
            }
            self.out.push_str(&text);
        }
        self.indent -= STEP;
    }

    /// `{`, statements on lines of their own, `}`.
    fn body(&mut self, body: &Body) {
        self.out.push('{');
        self.open_body(body, body.span.start + 1);
    }

    fn open_body(&mut self, body: &Body, inside: u32) {
        let close = body.span.end.saturating_sub(1);
        if body.stmts.is_empty() && !self.has_comments(body.span) {
            self.out.push('}');
            return;
        }
        self.trailing(inside);
        self.indent += STEP;
        self.fresh = true;
        for stmt in &body.stmts {
            self.comments_before(stmt.span.start);
            self.line(stmt.span.start);
            self.stmt(stmt);
            self.trailing(stmt.span.end);
        }
        self.comments_before(close);
        self.indent -= STEP;
        self.fresh = false;
        self.plain_line();
        self.out.push('}');
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let { pattern, ty, value } => {
                self.whole(|flat| flat.let_head(pattern, ty.as_ref()));
                self.expr(value, 0);
            }
            StmtKind::Const(item) => self.named("const ", &item.name, &item.value),
            StmtKind::Layer { name, call } => self.named("layer ", name, call),
            StmtKind::Param(param) => {
                self.whole(|flat| flat.param_head(param));
                let suffix = forced(|flat| flat.param_suffix(param));
                self.expr(&param.init, suffix.len());
                self.out.push_str(&suffix);
            }
            StmtKind::Defaults(entries) => {
                self.out.push_str("defaults ");
                self.group("{", entries, "}", stmt.span.end, 0);
            }
            StmtKind::Expr(expr) => self.expr(expr, 0),
            // A tree with errors is not printed.
            StmtKind::Error => {}
        }
    }

    fn named(&mut self, keyword: &str, name: &Ident, value: &Expr) {
        self.out.push_str(&format!("{keyword}{} = ", name.text));
        self.expr(value, 0);
    }

    /// An expression from the present column on; `tail` bytes must follow it on its last line.
    fn expr(&mut self, expr: &Expr, tail: usize) {
        if !self.has_comments(expr.span)
            && let Some(line) = within(self.room(tail), |flat| flat.expr(expr))
        {
            self.out.push_str(&line);
            return;
        }
        let end = expr.span.end;
        match &expr.kind {
            ExprKind::List(items) => self.group("[", items, "]", end, tail),
            // Without its comma, which is what does not fit, a tuple of one would be no tuple.
            ExprKind::Tuple(items) if items.len() == 1 => self.group_broken("(", items, ")", end),
            ExprKind::Tuple(items) => self.group("(", items, ")", end, tail),
            ExprKind::Paren(inner) => {
                self.out.push('(');
                self.indent += STEP;
                self.fresh = true;
                self.comments_before(inner.span.start);
                self.plain_line();
                self.expr(inner, 0);
                self.trailing(inner.span.end);
                self.comments_before(end - 1);
                self.indent -= STEP;
                self.plain_line();
                self.out.push(')');
            }
            ExprKind::Unary(op, operand) => {
                self.out.push_str(unary(*op));
                self.expr(operand, tail);
            }
            ExprKind::Chain(first, rest) => {
                self.expr(first, 2);
                self.indent += STEP;
                let mut before = first.span.end;
                for (op, operand) in rest {
                    // The operator ends the line: before an operator a line end would end the statement.
                    self.out.push_str(&format!(" {}", op.symbol()));
                    self.trailing(before);
                    self.comments_before(operand.span.start);
                    self.plain_line();
                    self.expr(operand, tail.max(2));
                    before = operand.span.end;
                }
                self.indent -= STEP;
            }
            ExprKind::Range(range) => {
                self.expr(&range.start, 3);
                self.out.push_str(if range.inclusive { "..=" } else { ".." });
                self.expr(&range.end, tail);
            }
            ExprKind::Call(call) => self.call(call, tail),
            ExprKind::Field(base, name) => {
                self.expr(base, tail + name.text.len() + 1);
                self.out.push_str(&format!(".{}", name.text));
            }
            ExprKind::Index(base, index) => {
                self.expr(base, 1);
                self.out.push('[');
                self.expr(index, tail + 1);
                self.out.push(']');
            }
            ExprKind::Pipe(input, stages) => {
                self.expr(input, 0);
                self.indent += STEP;
                let mut before = input.span.end;
                for stage in stages {
                    self.trailing(before);
                    self.comments_before(stage.span.start);
                    self.plain_line();
                    self.out.push_str("|> ");
                    self.expr(stage, tail);
                    before = stage.span.end;
                }
                self.indent -= STEP;
            }
            ExprKind::If(branches) => {
                for (index, (condition, body)) in branches.branches.iter().enumerate() {
                    self.out.push_str(if index == 0 { "if " } else { " else if " });
                    self.whole(|flat| flat.expr(condition));
                    self.out.push(' ');
                    self.body(body);
                }
                if let Some(body) = &branches.otherwise {
                    self.out.push_str(" else ");
                    self.body(body);
                }
            }
            ExprKind::For(each) => {
                self.whole(|flat| {
                    flat.push("for ")?;
                    flat.pattern(&each.pattern)?;
                    flat.push(" in ")
                });
                self.whole(|flat| flat.expr(&each.list));
                self.out.push(' ');
                self.body(&each.body);
            }
            ExprKind::Repeat(repeat) => {
                self.out.push_str("repeat ");
                self.whole(|flat| flat.expr(&repeat.count));
                self.out.push(' ');
                self.body(&repeat.body);
            }
            ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Bool(_) | ExprKind::Str(_) => self.plain(expr),
            ExprKind::Name(_) | ExprKind::Value(..) | ExprKind::Parameter(_) => self.plain(expr),
        }
    }

    fn plain(&mut self, expr: &Expr) {
        self.whole(|flat| flat.expr(expr));
    }

    fn call(&mut self, call: &Call, tail: usize) {
        self.out.push_str(&call.callee.text);
        let suffix = forced(|flat| flat.suffixes(call));
        if let Some(args) = &call.args {
            let end = args.last().map_or(call.callee.span.end, |arg| arg.span.end);
            let behind = call.region.as_ref().map_or(suffix.len() + tail, |_| 8);
            // Comments may stand behind the last argument, before the bracket.
            let close = self.text[end as usize..].find([')', '/']).map_or(end, |at| end + at as u32 + 1);
            self.group("(", args, ")", close, behind);
        }
        if let Some(region) = &call.region {
            self.out.push_str(&format!(" {{ {} =>", value_name(&region.accumulator.text)));
            self.open_body(&region.body, region.accumulator.span.end);
        }
        self.out.push_str(&suffix);
    }

    /// A bracketed list on one line if it fits, else one item a line; `end` is behind the closing bracket.
    fn group<T: Piece>(&mut self, open: &str, items: &[T], close: &str, end: u32, tail: usize) {
        let pad = if open == "{" && !items.is_empty() { " " } else { "" };
        let line = within(self.room(tail), |flat| {
            flat.push(&format!("{open}{pad}"))?;
            for (index, item) in items.iter().enumerate() {
                flat.push(if index > 0 { ", " } else { "" })?;
                item.flat(flat)?;
            }
            flat.push(&format!("{pad}{close}"))
        });
        let start = items.first().map_or(end, |item| item.span().start);
        let commented = self.comments.get(self.next).is_some_and(|comment| comment.span.start < end);
        match line {
            Some(line) if !(commented && (start < end || open != "(")) => self.out.push_str(&line),
            _ => self.group_broken(open, items, close, end),
        }
    }

    fn group_broken<T: Piece>(&mut self, open: &str, items: &[T], close: &str, end: u32) {
        self.out.push_str(open);
        self.indent += STEP;
        self.fresh = true;
        let commented = self.comments.get(self.next).is_some_and(|comment| comment.span.start < end);
        if items.iter().all(Piece::fills) && !commented {
            self.fill(items);
        } else {
            for item in items {
                self.comments_before(item.span().start);
                self.plain_line();
                item.broken(self);
                self.out.push(',');
                self.trailing(item.span().end);
            }
            self.comments_before(end.saturating_sub(1));
        }
        self.indent -= STEP;
        self.plain_line();
        self.out.push_str(close);
    }

    /// Short literals, as many on a line as fit.
    fn fill<T: Piece>(&mut self, items: &[T]) {
        for (index, item) in items.iter().enumerate() {
            let text = forced(|flat| item.flat(flat));
            if index == 0 || text.len() + 2 > self.room(0) {
                self.plain_line();
            } else {
                self.out.push(' ');
            }
            self.out.push_str(&text);
            self.out.push(',');
        }
    }

    /// A piece that is not broken, however long it is.
    fn whole(&mut self, write: impl FnOnce(&mut Flat) -> Fits) {
        self.out.push_str(&forced(write));
    }

    /// Bytes left on the present line when `tail` more must follow.
    fn room(&self, tail: usize) -> usize {
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        WIDTH.saturating_sub(self.out[line..].chars().count() + tail)
    }

    /// Begins a line for what stands at `start` in the source, with a blank line before it if there was one.
    fn line(&mut self, start: u32) {
        let gap = &self.text[..start as usize];
        let space = &gap[gap.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
        let blank = self.blank || (!self.fresh && space.matches('\n').count() > 1);
        if blank && !self.out.is_empty() {
            self.out.push('\n');
        }
        self.blank = false;
        self.fresh = false;
        self.plain_line();
    }

    fn plain_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.fresh = false;
        self.out.extend(std::iter::repeat_n(' ', self.indent));
    }

    fn has_comments(&self, span: Span) -> bool {
        let rest = &self.comments[self.next..];
        let first = rest.partition_point(|comment| comment.span.start < span.start);
        rest.get(first).is_some_and(|comment| comment.span.start < span.end)
    }

    /// Writes the comments that stand before `start`, each on a line of its own.
    fn comments_before(&mut self, start: u32) {
        while let Some(comment) = self.comments.get(self.next).filter(|comment| comment.span.start < start) {
            self.next += 1;
            self.line(comment.span.start);
            self.out.push_str(&self.text[comment.span.start as usize..comment.span.end as usize]);
        }
    }

    /// Writes the comment that follows `end` on the same line, with only separators between.
    fn trailing(&mut self, end: u32) {
        let Some(comment) = self.comments.get(self.next) else { return };
        let Some(between) = self.text.get(end as usize..comment.span.start as usize) else { return };
        let separator = |c: char| c.is_whitespace() || ",;|>+-*/%=&<!".contains(c);
        if comment.own_line || between.contains('\n') || !between.chars().all(separator) {
            return;
        }
        self.next += 1;
        self.out.push(' ');
        self.out.push_str(&self.text[comment.span.start as usize..comment.span.end as usize]);
    }
}

impl Piece for Expr {
    fn span(&self) -> Span {
        self.span
    }
    fn flat(&self, flat: &mut Flat) -> Fits {
        flat.expr(self)
    }
    fn broken(&self, layout: &mut Layout<'_>) {
        layout.expr(self, 1);
    }
    fn fills(&self) -> bool {
        let plain = matches!(self.kind, ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Bool(_));
        plain || matches!(self.kind, ExprKind::Name(_) | ExprKind::Value(..) | ExprKind::Parameter(_))
    }
}

impl Piece for Arg {
    fn span(&self) -> Span {
        self.span
    }
    fn flat(&self, flat: &mut Flat) -> Fits {
        flat.arg(self)
    }
    fn broken(&self, layout: &mut Layout<'_>) {
        if let Some(name) = &self.name {
            layout.out.push_str(&format!("{}: ", name.text));
        }
        layout.expr(&self.value, 1);
    }
}

impl Piece for Param {
    fn span(&self) -> Span {
        self.span
    }
    fn flat(&self, flat: &mut Flat) -> Fits {
        flat.param(self)
    }
}

impl Piece for ResultDecl {
    fn span(&self) -> Span {
        self.span
    }
    fn flat(&self, flat: &mut Flat) -> Fits {
        flat.result(self)
    }
}

impl Piece for DefaultEntry {
    fn span(&self) -> Span {
        self.span
    }
    fn flat(&self, flat: &mut Flat) -> Fits {
        flat.default_entry(self)
    }
}

impl Piece for Ident {
    fn span(&self) -> Span {
        self.span
    }
    fn flat(&self, flat: &mut Flat) -> Fits {
        flat.ident(self)
    }
    fn fills(&self) -> bool {
        true
    }
}
