//! Bodies, statements, and the control expressions that run bodies.

use std::rc::Rc;

use super::args::Label;
use super::call::Piped;
use super::cx::{Cx, Eval, Poisoned};
use super::value::{Layer, Val};
use crate::diag::{Diagnostic, Span};
use crate::op::OperandKind;
use crate::op::table;
use crate::syntax::ast::{
    Body, DefaultEntry, Expr, ExprKind, For, If, ParamDecl, Pattern, Repeat, Stmt, StmtKind,
};

/// A value on its way through a pipe, and the expression that made it.
pub type Flow<'a> = (Val<'a>, Span);

impl<'a> Cx<'a, '_> {
    /// Runs a body in a scope of its own. With a piped value, the last expression begins with a call applied to it.
    pub fn body(&mut self, body: &'a Body, piped: Option<Flow<'a>>) -> Val<'a> {
        let defaults = self.defaults.len();
        let value = self.scoped(|cx| cx.statements(body, piped));
        self.defaults.truncate(defaults);
        value
    }

    pub fn statements(&mut self, body: &'a Body, piped: Option<Flow<'a>>) -> Val<'a> {
        let Some((last, before)) = body.stmts.split_last() else {
            let diagnostic = Diagnostic::error("E0408-no-value", "a body without statements has no value")
                .label(body.span, "nothing here")
                .help("the last expression of a body is its value");
            self.report(diagnostic);
            return Val::Poison;
        };
        for stmt in before {
            if self.aborted {
                return Val::Poison;
            }
            self.stmt(stmt);
        }
        match (&last.kind, piped) {
            (StmtKind::Expr(expr), None) => self.eval(expr),
            (StmtKind::Expr(expr), Some(flow)) => self.piped_head(expr, flow),
            (StmtKind::Error, _) => Val::Poison,
            _ => {
                self.stmt(last);
                let diagnostic = Diagnostic::error("E0408-no-value", "this body has no value")
                    .label(last.span, "the last statement is no expression")
                    .help("end the body with the expression that it stands for");
                self.report(diagnostic);
                Val::Poison
            }
        }
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::Let { pattern, ty, value } => {
                let mut result = self.eval(value);
                if let Some(ty) = ty
                    && self.check_declared(ty, &result, value.span).is_err()
                {
                    result = Val::Poison;
                }
                self.bind_pattern(pattern, result, value.span);
            }
            StmtKind::Const(item) => {
                let mut value = self.eval(&item.value);
                if let Val::Tensor(_) | Val::Layer(_) = value {
                    let what = self.describe(&value);
                    let diagnostic =
                        Diagnostic::error("E0402-not-constant", format!("a constant cannot be {what}"))
                            .label(item.value.span, "not a constant")
                            .help("bind tensors with `let`");
                    self.report(diagnostic);
                    value = Val::Poison;
                }
                self.bind(&item.name.text, value);
            }
            StmtKind::Param(param) => {
                let value = self.param_decl(param, stmt.span).unwrap_or(Val::Poison);
                if !param.full {
                    self.bind(&param.name.text, value);
                }
            }
            StmtKind::Layer { name, call } => {
                let value = self.layer(&name.text, call).unwrap_or(Val::Poison);
                self.bind(&name.text, value);
            }
            StmtKind::Defaults(entries) => entries.iter().for_each(|entry| self.default(entry)),
            StmtKind::Expr(expr) => {
                let value = self.eval(expr);
                if !value.is_poison() {
                    let diagnostic =
                        Diagnostic::warning("W0701-unused", "the value of this statement is not used")
                            .label(expr.span, "computed and dropped")
                            .help("bind it with `let`, or delete it");
                    self.report(diagnostic);
                }
            }
            StmtKind::Error => {}
        }
    }

    /// Binds the names of a pattern to the parts of a value.
    pub fn bind_pattern(&mut self, pattern: &'a Pattern, value: Val<'a>, span: Span) {
        match pattern {
            Pattern::Name { name, .. } => self.bind(&name.text, value),
            Pattern::Tuple(parts, place) => match &value {
                Val::Tuple(items) | Val::List(items) if items.len() == parts.len() => {
                    let items = Rc::clone(items);
                    parts
                        .iter()
                        .zip(items.iter())
                        .for_each(|(part, item)| self.bind_pattern(part, item.clone(), span));
                }
                other => {
                    if !other.is_poison() {
                        let what = self.describe(other);
                        let diagnostic = Diagnostic::error(
                            "E0303-destructuring",
                            format!("{} names for {what}", parts.len()),
                        )
                        .label(*place, format!("{} names", parts.len()))
                        .label(span, format!("this is {what}"));
                        self.report(diagnostic);
                    }
                    parts.iter().for_each(|part| self.bind_pattern(part, Val::Poison, span));
                }
            },
        }
    }

    fn param_decl(&mut self, param: &'a ParamDecl, span: Span) -> Eval<Val<'a>> {
        let ty = self.tensor_type(&param.ty);
        let init = self.value(&param.init);
        let label = match &param.label {
            Some(label) => Some(self.label_text(label)?),
            None => None,
        };
        let path = self.frame().path.clone();
        let full = match label {
            Some(label) => super::args::join(&path, &label),
            None if param.full => param.name.text.clone(),
            None => super::args::join(&path, &param.name.text),
        };
        let provenance = self.provenance(param.provenance.as_ref());
        let (ty, init, provenance) = (ty?, init?, provenance?);
        let value = match init {
            // A parameter computed from others: the node itself is what the name stands for.
            Val::Tensor(value) => self.derived_param(full, value, &ty, param, span)?,
            init => self.declare_param(full, ty, init, param.init.span, param.name.span)?,
        };
        if !provenance.is_empty() {
            *self.graph.node_mut(value.node).provenance = provenance;
        }
        Ok(Val::Tensor(value))
    }

    /// `layer name = call`: the arguments are evaluated here, the parameters are made by the first application.
    fn layer(&mut self, name: &'a str, expr: &'a Expr) -> Eval<Val<'a>> {
        let ExprKind::Call(call) = &expr.kind else {
            let bare = match &expr.kind {
                ExprKind::Name(callee) => Some(format!("write `layer {name} = {callee}()`")),
                _ => None,
            };
            let diagnostic = Diagnostic::error("E0209-layer", "a layer stands for a call")
                .label(expr.span, "not a call")
                .maybe_help(bare.or_else(|| Some("write `layer tower = embed(128)`".to_owned())));
            return Err(self.report(diagnostic));
        };
        let label = match &call.label {
            Some(label) => self.label_text(label)?,
            None => name.to_owned(),
        };
        let callee = self.layer_callee(&call.callee)?;
        let args = self.args(call.args.as_deref().unwrap_or_default());
        let path = super::args::join(&self.frame().path, &label);
        Ok(Val::Layer(Rc::new(Layer { callee, args, path, shared: Rc::default(), span: expr.span })))
    }

    fn default(&mut self, entry: &'a DefaultEntry) {
        let Some(spec) = table::find(&entry.op.text) else {
            let known = table::OPS.iter().filter(|spec| has_params(spec)).map(|spec| spec.name);
            let diagnostic =
                Diagnostic::error("E0210-defaults", format!("there is no op `{}`", entry.op.text))
                    .label(entry.op.span, "defaults are given for ops with parameters")
                    .maybe_help(crate::diag::suggest(&entry.op.text, known));
            self.report(diagnostic);
            return;
        };
        let leaves: Vec<&str> = spec
            .operands
            .iter()
            .filter(|operand| is_param(operand.kind))
            .map(|operand| operand.name)
            .collect();
        if !leaves.contains(&entry.leaf.text.as_str()) {
            let help = match leaves.as_slice() {
                [] => "this op has no parameters".to_owned(),
                leaves => format!("`{}` has `{}`", spec.name, leaves.join("`, `")),
            };
            let message = format!("`{}` has no parameter `{}`", spec.name, entry.leaf.text);
            let diagnostic =
                Diagnostic::error("E0210-defaults", message).label(entry.leaf.span, "no such parameter");
            self.report(diagnostic.help(help));
            return;
        }
        let value = self.eval(&entry.value);
        if self.initial_value(value.clone(), entry.value.span).is_ok() {
            self.defaults.push((entry, value));
        }
    }

    /// A stage of a pipe, applied to a value.
    pub fn stage(&mut self, stage: &'a Expr, value: Val<'a>, from: Span) -> Val<'a> {
        let flow = (value, from);
        let span = stage.span;
        let applied = self.deeper(span, |cx| match &stage.kind {
            ExprKind::Call(call) => cx.call_expr(call, span, Some(flow)),
            ExprKind::If(branches) => cx.if_expr(branches, Some(flow)),
            ExprKind::For(each) => cx.for_expr(each, Some(flow)),
            ExprKind::Repeat(repeat) => cx.repeat_expr(repeat, Some(flow)),
            _ => Err(Poisoned),
        });
        applied.unwrap_or(Val::Poison)
    }

    /// The last expression of a body in a pipe: its first call takes the piped value.
    fn piped_head(&mut self, expr: &'a Expr, flow: Flow<'a>) -> Val<'a> {
        match &expr.kind {
            ExprKind::Pipe(head, stages) => {
                let mut from = flow.1;
                let mut value = self.piped_head(head, flow);
                for stage in stages {
                    value = self.stage(stage, value, from);
                    from = stage.span;
                }
                value
            }
            ExprKind::Paren(inner) => self.piped_head(inner, flow),
            ExprKind::Name(name) => {
                let piped = Some(Piped { value: flow.0, span: flow.1 });
                let callee = super::call::Callee { name, span: expr.span };
                let result = self
                    .deeper(expr.span, |cx| cx.call(callee, None, expr.span, piped, Label::Auto, None, None));
                result.unwrap_or(Val::Poison)
            }
            ExprKind::Call(_) | ExprKind::If(_) | ExprKind::For(_) | ExprKind::Repeat(_) => {
                let from = flow.1;
                self.stage(expr, flow.0, from)
            }
            _ => {
                let diagnostic = Diagnostic::error("E0409-pipe-body", "a body in a pipe begins with a call")
                    .label(expr.span, "the piped value has nowhere to go")
                    .help("write `|> repeat 3 { conv(8, kernel: 3) |> relu }`");
                self.report(diagnostic);
                Val::Poison
            }
        }
    }

    pub fn if_expr(&mut self, branches: &'a If, piped: Option<Flow<'a>>) -> Eval<Val<'a>> {
        for (condition, body) in &branches.branches {
            match self.value(condition)? {
                Val::Bool(true) => return Ok(self.body(body, piped)),
                Val::Bool(false) => {}
                other => {
                    let what = self.describe(&other);
                    let diagnostic =
                        Diagnostic::error("E0410-condition", "a condition must be true or false")
                            .label(condition.span, format!("this is {what}"));
                    let help = match other {
                        Val::Tensor(_) => "conditions are decided when the model is compiled, not on tensors",
                        _ => "compare it, as in `n > 0`",
                    };
                    return Err(self.report(diagnostic.help(help)));
                }
            }
        }
        match (&branches.otherwise, piped) {
            (Some(body), piped) => Ok(self.body(body, piped)),
            // In a pipe a condition that fails lets the value pass.
            (None, Some((value, _))) => Ok(value),
            (None, None) => {
                let span = branches.branches[0].0.span;
                let diagnostic =
                    Diagnostic::error("E0408-no-value", "this `if` has no value when its condition fails")
                        .label(span, "this is false here")
                        .help("add `else { … }`; only in a pipe can it be left out");
                Err(self.report(diagnostic))
            }
        }
    }

    pub fn for_expr(&mut self, each: &'a For, piped: Option<Flow<'a>>) -> Eval<Val<'a>> {
        let items = match self.value(&each.list)? {
            Val::List(items) | Val::Tuple(items) => items,
            other => {
                let what = self.describe(&other);
                let diagnostic = Diagnostic::error("E0411-not-a-list", "`for` runs over a range or a list")
                    .label(each.list.span, format!("this is {what}"));
                let help = matches!(other, Val::Int(_)).then(|| "write `for i in 0..n`".to_owned());
                return Err(self.report(diagnostic.maybe_help(help)));
            }
        };
        let counted = counts(&each.pattern, &items);
        let items = items.iter().cloned().enumerate().map(|(i, item)| match counted {
            true => Val::Tuple(vec![Val::Int(i as i64), item].into()),
            false => item,
        });
        self.iterate(&each.body, piped, items.map(|item| Some((&each.pattern, item, each.list.span))))
    }

    pub fn repeat_expr(&mut self, repeat: &'a Repeat, piped: Option<Flow<'a>>) -> Eval<Val<'a>> {
        let count = self.value(&repeat.count)?;
        let count = self.want_int(count, repeat.count.span, "the count of `repeat`")?;
        if count < 0 {
            let message = format!("a body cannot be repeated {count} times");
            return Err(self.error("E0406-not-an-integer", message, repeat.count.span, "less than 0"));
        }
        self.iterate(&repeat.body, piped, (0..count).map(|_| None))
    }

    /// Runs a body again and again: in a pipe each turn takes the value of the one before, else the values are a list.
    fn iterate(
        &mut self,
        body: &'a Body,
        piped: Option<Flow<'a>>,
        turns: impl Iterator<Item = Option<(&'a Pattern, Val<'a>, Span)>>,
    ) -> Eval<Val<'a>> {
        let mut flow = piped;
        let mut list = Vec::new();
        for turn in turns {
            self.step(1, body.span)?;
            let defaults = self.defaults.len();
            let value = self.scoped(|cx| {
                if let Some((pattern, item, span)) = turn {
                    cx.bind_pattern(pattern, item, span);
                }
                cx.statements(body, flow.clone())
            });
            self.defaults.truncate(defaults);
            match &mut flow {
                // Poison would only repeat itself.
                Some(_) if value.is_poison() => return Err(Poisoned),
                Some((flowing, _)) => *flowing = value,
                None => list.push(value),
            }
        }
        match flow {
            Some((value, _)) => Ok(value),
            None => Ok(Val::List(list.into())),
        }
    }
}

/// Whether `for (i, (a, b)) in LIST` counts: the pattern fits no item itself, and its second part fits them all.
fn counts(pattern: &Pattern, items: &[Val<'_>]) -> bool {
    match pattern {
        Pattern::Tuple(parts, _) => match parts.as_slice() {
            [Pattern::Name { .. }, second @ Pattern::Tuple(..)] => {
                items.iter().all(|item| fits(second, item) && !fits(pattern, item))
            }
            _ => false,
        },
        Pattern::Name { .. } => false,
    }
}

/// Whether a value has the parts that a pattern names.
fn fits(pattern: &Pattern, value: &Val<'_>) -> bool {
    match (pattern, value) {
        (Pattern::Name { .. }, _) => true,
        (Pattern::Tuple(parts, _), Val::Tuple(items) | Val::List(items)) => {
            parts.len() == items.len() && parts.iter().zip(items.iter()).all(|(p, v)| fits(p, v))
        }
        (Pattern::Tuple(..), _) => false,
    }
}

pub fn is_param(kind: OperandKind) -> bool {
    match kind {
        OperandKind::Param | OperandKind::OptionalParam => true,
        OperandKind::Data | OperandKind::Variadic => false,
    }
}

fn has_params(spec: &crate::op::OpSpec) -> bool {
    spec.operands.iter().any(|operand| is_param(operand.kind))
}
