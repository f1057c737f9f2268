//! Blocks that no model of the file calls: they are never run, so only the names that they call are checked.

use std::collections::HashSet;

use super::init;
use super::module::Module;
use crate::diag::{Diagnostic, Diagnostics, suggest};
use crate::op::table;
use crate::syntax::ast::{Body, Expr, ExprKind, Function, FunctionKind, Ident, Item, StmtKind, Str, StrPart};

/// Reports calls of names that nothing defines, in blocks of the first file that are not in `called`.
pub fn check(module: &Module, called: &HashSet<String>, diagnostics: &mut Diagnostics) {
    if module.broken {
        return;
    }
    for item in &module.ast.items {
        if let Item::Function(function) = item
            && function.kind == FunctionKind::Block
            && !called.contains(&function.name.text)
        {
            let mut names = Names { module, layers: HashSet::new(), diagnostics };
            names.function(function);
        }
    }
}

struct Names<'m> {
    module: &'m Module,
    /// Names that may stand for layers: parameters of the block, and what `layer` binds in it.
    layers: HashSet<&'m str>,
    diagnostics: &'m mut Diagnostics,
}

impl<'m> Names<'m> {
    fn function(&mut self, function: &'m Function) {
        for param in &function.params {
            self.layers.insert(&param.name.text);
            param.default.iter().for_each(|default| self.expr(default));
        }
        self.body(&function.body);
    }

    fn body(&mut self, body: &'m Body) {
        for stmt in &body.stmts {
            match &stmt.kind {
                StmtKind::Let { value, .. } | StmtKind::Expr(value) => self.expr(value),
                StmtKind::Const(item) => self.expr(&item.value),
                StmtKind::Param(param) => self.expr(&param.init),
                StmtKind::Layer { name, call } => {
                    self.expr(call);
                    self.layers.insert(&name.text);
                }
                StmtKind::Defaults(entries) => entries.iter().for_each(|entry| self.expr(&entry.value)),
                StmtKind::Error => {}
            }
        }
    }

    fn expr(&mut self, expr: &'m Expr) {
        match &expr.kind {
            ExprKind::Call(call) => {
                self.callee(&call.callee);
                call.args.iter().flatten().for_each(|arg| self.expr(&arg.value));
                call.region.iter().for_each(|region| self.body(&region.body));
                call.label.iter().for_each(|label| self.string(label));
            }
            ExprKind::Str(string) => self.string(string),
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().for_each(|item| self.expr(item)),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) | ExprKind::Field(inner, _) => {
                self.expr(inner)
            }
            ExprKind::Chain(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, operand)| self.expr(operand));
            }
            ExprKind::Range(range) => {
                self.expr(&range.start);
                self.expr(&range.end);
            }
            ExprKind::Index(base, index) => {
                self.expr(base);
                self.expr(index);
            }
            ExprKind::Pipe(input, stages) => {
                self.expr(input);
                stages.iter().for_each(|stage| self.expr(stage));
            }
            ExprKind::If(branches) => {
                for (condition, body) in &branches.branches {
                    self.expr(condition);
                    self.body(body);
                }
                branches.otherwise.iter().for_each(|body| self.body(body));
            }
            ExprKind::For(each) => {
                self.expr(&each.list);
                self.body(&each.body);
            }
            ExprKind::Repeat(repeat) => {
                self.expr(&repeat.count);
                self.body(&repeat.body);
            }
            ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Bool(_) | ExprKind::Name(_) => {}
            ExprKind::Value(..) | ExprKind::Parameter(_) => {}
        }
    }

    fn string(&mut self, string: &'m Str) {
        for part in &string.parts {
            if let StrPart::Expr(expr) = part {
                self.expr(expr);
            }
        }
    }

    fn callee(&mut self, callee: &Ident) {
        let name = callee.text.as_str();
        let known = table::find(name).is_some() || init::is_init(name) || name == "number";
        if known || self.layers.contains(name) || self.module.names.contains_key(name) {
            return;
        }
        let ops = table::OPS.iter().map(|spec| spec.name).chain(init::NAMES);
        let near = suggest(name, ops.chain(self.module.names.keys().map(String::as_str)));
        self.diagnostics.push(
            Diagnostic::error("E0201-unknown-name", format!("there is no op, block or layer `{name}`"))
                .label(callee.span, "not defined")
                .help("`rectify ops` lists the ops")
                .maybe_help(near),
        );
    }
}
