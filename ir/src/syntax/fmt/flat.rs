//! Nodes on one line, within a budget of bytes.

use super::super::ast::{
    Arg, BinaryOp, Body, Call, DefaultEntry, Expr, ExprKind, Fact, Ident, Param, ParamDecl, Pattern,
    Provenance, ResultDecl, Stmt, StmtKind, Str, StrPart, Type, TypeKind, UnaryOp,
};
use super::super::text::{escape, is_name, is_path, is_word_byte};

/// The node does not fit or needs several lines.
pub struct Broken;
pub type Fits = Result<(), Broken>;

/// A line under construction.
pub struct Flat {
    pub out: String,
    pub limit: usize,
    /// Bodies with several statements are written on the line too, where the text has no other place for them.
    pub force: bool,
    /// Inside a type, where products stand without spaces: `2*H`.
    dim: bool,
}

/// A node on one line, if that has at most `limit` bytes.
pub fn within(limit: usize, write: impl FnOnce(&mut Flat) -> Fits) -> Option<String> {
    let mut flat = Flat { out: String::new(), limit, force: false, dim: false };
    write(&mut flat).ok().map(|()| flat.out)
}

/// A node on one line in any case.
pub fn forced(write: impl FnOnce(&mut Flat) -> Fits) -> String {
    let mut flat = Flat { out: String::new(), limit: usize::MAX, force: true, dim: false };
    let written = write(&mut flat);
    debug_assert!(written.is_ok(), "nothing is too long without a limit");
    flat.out
}

impl Flat {
    pub fn push(&mut self, text: &str) -> Fits {
        self.out.push_str(text);
        if self.out.len() > self.limit { Err(Broken) } else { Ok(()) }
    }

    fn joined<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Flat, &T) -> Fits) -> Fits {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.push(", ")?;
            }
            write(self, item)?;
        }
        Ok(())
    }

    pub fn expr(&mut self, expr: &Expr) -> Fits {
        match &expr.kind {
            ExprKind::Int(value) => self.push(&value.to_string()),
            ExprKind::Float(_, text) => self.push(text),
            ExprKind::Bool(value) => self.push(if *value { "true" } else { "false" }),
            ExprKind::Str(text) => self.string(text),
            ExprKind::Name(name) => self.push(name),
            ExprKind::Value(name, None) => self.push(&value_name(name)),
            ExprKind::Value(name, Some(result)) => self.push(&format!("{}.{result}", value_name(name))),
            ExprKind::Parameter(name) => self.push(&parameter_name(name)),
            ExprKind::List(items) => {
                self.push("[")?;
                self.joined(items, Flat::expr)?;
                self.push("]")
            }
            ExprKind::Tuple(items) => {
                self.push("(")?;
                self.joined(items, Flat::expr)?;
                self.push(if items.len() == 1 { ",)" } else { ")" })
            }
            ExprKind::Paren(inner) => {
                self.push("(")?;
                self.expr(inner)?;
                self.push(")")
            }
            ExprKind::Unary(op, operand) => {
                self.push(unary(*op))?;
                self.expr(operand)
            }
            ExprKind::Chain(first, rest) => {
                self.expr(first)?;
                for (op, operand) in rest {
                    let tight = self.dim && matches!(op, BinaryOp::Multiply | BinaryOp::Divide);
                    let space = if tight { "" } else { " " };
                    self.push(&format!("{space}{}{space}", op.symbol()))?;
                    self.expr(operand)?;
                }
                Ok(())
            }
            ExprKind::Range(range) => {
                self.expr(&range.start)?;
                self.push(if range.inclusive { "..=" } else { ".." })?;
                self.expr(&range.end)
            }
            ExprKind::Call(call) => self.call(call),
            ExprKind::Field(base, name) => {
                self.expr(base)?;
                self.push(".")?;
                self.push(&name.text)
            }
            ExprKind::Index(base, index) => {
                self.expr(base)?;
                self.push("[")?;
                self.expr(index)?;
                self.push("]")
            }
            ExprKind::Pipe(input, stages) => {
                self.expr(input)?;
                for stage in stages {
                    self.push(" |> ")?;
                    self.expr(stage)?;
                }
                Ok(())
            }
            ExprKind::If(branches) => {
                for (index, (condition, body)) in branches.branches.iter().enumerate() {
                    self.push(if index == 0 { "if " } else { " else if " })?;
                    self.expr(condition)?;
                    self.short_body(body)?;
                }
                match &branches.otherwise {
                    None => Ok(()),
                    Some(body) => {
                        self.push(" else")?;
                        self.short_body(body)
                    }
                }
            }
            ExprKind::For(each) => {
                self.push("for ")?;
                self.pattern(&each.pattern)?;
                self.push(" in ")?;
                self.expr(&each.list)?;
                self.short_body(&each.body)
            }
            ExprKind::Repeat(repeat) => {
                self.push("repeat ")?;
                self.expr(&repeat.count)?;
                self.short_body(&repeat.body)
            }
        }
    }

    /// A body of one expression stays on the line; statements get lines of their own.
    fn short_body(&mut self, body: &Body) -> Fits {
        match body.stmts.as_slice() {
            [] => self.push(" {}"),
            [Stmt { kind: StmtKind::Expr(expr), .. }] => {
                self.push(" { ")?;
                self.expr(expr)?;
                self.push(" }")
            }
            stmts if self.force => {
                self.push(" {")?;
                self.stmts(stmts)?;
                self.push(" }")
            }
            _ => Err(Broken),
        }
    }

    fn stmts(&mut self, stmts: &[Stmt]) -> Fits {
        for (index, stmt) in stmts.iter().enumerate() {
            self.push(if index == 0 { " " } else { "; " })?;
            self.stmt(stmt)?;
        }
        Ok(())
    }

    pub fn call(&mut self, call: &Call) -> Fits {
        self.push(&call.callee.text)?;
        if let Some(args) = &call.args {
            self.args(args)?;
        }
        if let Some(region) = &call.region {
            self.push(&format!(" {{ {} =>", value_name(&region.accumulator.text)))?;
            self.stmts(&region.body.stmts)?;
            self.push(" }")?;
        }
        self.suffixes(call)
    }

    pub fn args(&mut self, args: &[Arg]) -> Fits {
        self.push("(")?;
        self.joined(args, Flat::arg)?;
        self.push(")")
    }

    /// Label and provenance of a call.
    pub fn suffixes(&mut self, call: &Call) -> Fits {
        if let Some(label) = &call.label {
            self.push(" as ")?;
            self.label(label)?;
        }
        call.provenance.as_ref().map_or(Ok(()), |provenance| self.provenance(provenance))
    }

    pub fn provenance(&mut self, provenance: &Provenance) -> Fits {
        self.push(" from")?;
        self.args(&provenance.args)
    }

    pub fn arg(&mut self, arg: &Arg) -> Fits {
        if let Some(name) = &arg.name {
            self.push(&format!("{}: ", name.text))?;
        }
        self.expr(&arg.value)
    }

    /// A statement in a body that stands on one line.
    fn stmt(&mut self, stmt: &Stmt) -> Fits {
        match &stmt.kind {
            StmtKind::Expr(expr) => self.expr(expr),
            StmtKind::Let { pattern, ty, value } => {
                self.let_head(pattern, ty.as_ref())?;
                self.expr(value)
            }
            StmtKind::Const(item) => self.named("const ", &item.name, &item.value),
            StmtKind::Layer { name, call } => self.named("layer ", name, call),
            StmtKind::Param(param) => {
                self.param_head(param)?;
                self.expr(&param.init)?;
                self.param_suffix(param)
            }
            StmtKind::Defaults(entries) => {
                self.push("defaults { ")?;
                self.joined(entries, Flat::default_entry)?;
                self.push(" }")
            }
            // A tree with errors is not printed.
            StmtKind::Error => Ok(()),
        }
    }

    fn named(&mut self, keyword: &str, name: &Ident, value: &Expr) -> Fits {
        self.push(&format!("{keyword}{} = ", name.text))?;
        self.expr(value)
    }

    pub fn param_head(&mut self, param: &ParamDecl) -> Fits {
        let name = if param.full { parameter_name(&param.name.text) } else { param.name.text.clone() };
        self.push(&format!("param {name}: "))?;
        self.ty(&param.ty)?;
        self.push(" = ")
    }

    pub fn param_suffix(&mut self, param: &ParamDecl) -> Fits {
        if let Some(label) = &param.label {
            self.push(" as ")?;
            self.label(label)?;
        }
        param.provenance.as_ref().map_or(Ok(()), |provenance| self.provenance(provenance))
    }

    pub fn let_head(&mut self, pattern: &Pattern, ty: Option<&Type>) -> Fits {
        self.push("let ")?;
        self.pattern(pattern)?;
        if let Some(ty) = ty {
            self.push(": ")?;
            self.ty(ty)?;
        }
        self.push(" = ")
    }

    pub fn pattern(&mut self, pattern: &Pattern) -> Fits {
        match pattern {
            Pattern::Name { name, value: true } => self.push(&value_name(&name.text)),
            Pattern::Name { name, value: false } => self.push(&name.text),
            Pattern::Tuple(parts, _) => {
                self.push("(")?;
                self.joined(parts, Flat::pattern)?;
                self.push(if parts.len() == 1 { ",)" } else { ")" })
            }
        }
    }

    pub fn ty(&mut self, ty: &Type) -> Fits {
        match &ty.kind {
            TypeKind::Constant(name) => self.push(&name.text),
            TypeKind::Tensor(name, dims) => {
                self.push(&format!("{}[", name.text))?;
                let outer = std::mem::replace(&mut self.dim, true);
                let written = self.joined(dims, Flat::expr);
                self.dim = outer;
                written?;
                self.push("]")
            }
            TypeKind::Tuple(types) => {
                self.push("(")?;
                self.joined(types, Flat::ty)?;
                self.push(")")
            }
        }
    }

    pub fn param(&mut self, param: &Param) -> Fits {
        self.push(&any_name(&param.name.text))?;
        if let Some(ty) = &param.ty {
            self.push(": ")?;
            self.ty(ty)?;
        }
        if let Some(default) = &param.default {
            self.push(" = ")?;
            self.expr(default)?;
        }
        Ok(())
    }

    pub fn result(&mut self, result: &ResultDecl) -> Fits {
        if let Some(name) = &result.name {
            self.push(&any_name(&name.text))?;
        }
        if result.name.is_some() && result.ty.is_some() {
            self.push(": ")?;
        }
        result.ty.as_ref().map_or(Ok(()), |ty| self.ty(ty))
    }

    pub fn fact(&mut self, fact: &Fact) -> Fits {
        match fact {
            Fact::Holds(expr) => self.expr(expr),
            Fact::In(expr, set) => {
                self.expr(expr)?;
                self.push(" in ")?;
                self.expr(set)
            }
        }
    }

    pub fn facts(&mut self, facts: &[Fact]) -> Fits {
        self.joined(facts, Flat::fact)
    }

    pub fn default_entry(&mut self, entry: &DefaultEntry) -> Fits {
        self.push(&format!("{}.{} = ", entry.op.text, entry.leaf.text))?;
        self.expr(&entry.value)
    }

    pub fn ident(&mut self, ident: &Ident) -> Fits {
        self.push(&ident.text)
    }

    /// A label without quotes where it needs none.
    pub fn label(&mut self, label: &Str) -> Fits {
        match label.plain() {
            Some(text) if is_path(text) => self.push(text),
            _ => self.string(label),
        }
    }

    pub fn string(&mut self, string: &Str) -> Fits {
        self.push("\"")?;
        for part in &string.parts {
            match part {
                StrPart::Text(text) => self.push(&escape(text))?,
                StrPart::Expr(expr) => {
                    self.push("{")?;
                    self.expr(expr)?;
                    self.push("}")?;
                }
            }
        }
        self.push("\"")
    }
}

pub fn unary(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Negate => "-",
        UnaryOp::Not => "!",
    }
}

/// A name of an input or result: bare where it can be.
pub fn any_name(name: &str) -> String {
    if is_name(name) { name.to_owned() } else { value_name(name) }
}

/// `%name`, quoted if need be.
pub fn value_name(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(is_word_byte);
    if bare { format!("%{name}") } else { format!("%\"{}\"", escape(name)) }
}

/// `@full.name`, quoted if need be.
pub fn parameter_name(name: &str) -> String {
    let bare = name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_word_byte));
    if bare { format!("@{name}") } else { format!("@\"{}\"", escape(name)) }
}
