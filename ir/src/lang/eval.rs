//! Evaluation of expressions.

use std::rc::Rc;

use super::arith;
use super::cx::{Cx, Eval, Poisoned};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::dim::Dim;
use crate::graph::Value;
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, Range, Str, StrPart, UnaryOp};

/// Longest string that interpolation may build.
const MAX_STRING: usize = 1 << 12;
/// Longest list; a model's tables are short, and literal tensors stay below this.
const MAX_LIST: i64 = 1 << 20;

impl<'a> Cx<'a, '_> {
    /// The value of an expression; poison after an error.
    pub fn eval(&mut self, expr: &'a Expr) -> Val<'a> {
        match self.eval_arg(expr) {
            Val::Word(name, span) => {
                self.unknown_name(name, span);
                Val::Poison
            }
            value => value,
        }
    }

    /// As `eval`, but a name that is not defined may be a word, such as `same`.
    pub fn eval_arg(&mut self, expr: &'a Expr) -> Val<'a> {
        self.deeper(expr.span, |cx| cx.eval_kind(expr)).unwrap_or(Val::Poison)
    }

    /// As `eval`, with poison as an error, for use with `?`.
    pub fn value(&mut self, expr: &'a Expr) -> Eval<Val<'a>> {
        match self.eval(expr) {
            Val::Poison => Err(Poisoned),
            value => Ok(value),
        }
    }

    fn eval_kind(&mut self, expr: &'a Expr) -> Eval<Val<'a>> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Int(value) => Ok(Val::Int(*value)),
            ExprKind::Float(value, _) => Ok(Val::Float(*value)),
            ExprKind::Bool(value) => Ok(Val::Bool(*value)),
            ExprKind::Str(string) => Ok(Val::Str(self.string(string)?.into())),
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::Value(name, result) => self.value_ref(name, *result, span),
            ExprKind::Parameter(name) => self.parameter(name, span),
            ExprKind::List(items) => Ok(Val::List(self.items(items, span)?)),
            ExprKind::Tuple(items) => Ok(Val::Tuple(self.items(items, span)?)),
            ExprKind::Paren(inner) => self.value(inner),
            ExprKind::Unary(op, operand) => self.unary(*op, operand, span),
            ExprKind::Chain(first, rest) => self.chain(first, rest),
            ExprKind::Range(range) => self.range(range, span),
            ExprKind::Call(call) => self.call_expr(call, span, None),
            ExprKind::Field(base, name) => self.field(base, name),
            ExprKind::Index(base, index) => self.index(base, index),
            ExprKind::Pipe(input, stages) => {
                let mut value = self.eval(input);
                let mut from = input.span;
                for stage in stages {
                    value = self.stage(stage, value, from);
                    from = from.to(stage.span);
                }
                Ok(value)
            }
            ExprKind::If(branches) => self.if_expr(branches, None),
            ExprKind::For(each) => self.for_expr(each, None),
            ExprKind::Repeat(repeat) => self.repeat_expr(repeat, None),
        }
    }

    fn items(&mut self, items: &'a [Expr], span: Span) -> Eval<Rc<[Val<'a>]>> {
        self.step(items.len() as u64, span)?;
        let values: Vec<Val<'a>> = items.iter().map(|item| self.eval(item)).collect();
        // A list with a wrong item is wrong as a whole for constants; tuples keep their good parts.
        Ok(values.into())
    }

    /// The text of a string, with its expressions in place.
    pub fn string(&mut self, string: &'a Str) -> Eval<String> {
        let mut out = String::new();
        for part in &string.parts {
            match part {
                StrPart::Text(text) => out.push_str(text),
                StrPart::Expr(expr) => match self.value(expr)? {
                    Val::Int(value) => out.push_str(&value.to_string()),
                    Val::Float(value) => out.push_str(&crate::scalar::Scalar(value).to_string()),
                    Val::Bool(value) => out.push_str(&value.to_string()),
                    Val::Str(text) => out.push_str(&text),
                    Val::Dim(dim) => out.push_str(&dim.to_string()),
                    other => {
                        let what = self.describe(&other);
                        let message = format!("{what} cannot be part of a string");
                        return Err(self.error(
                            "E0404-string",
                            message,
                            expr.span,
                            "numbers and strings can",
                        ));
                    }
                },
            }
            if out.len() > MAX_STRING {
                let message = format!("a string longer than {MAX_STRING} bytes");
                return Err(self.error("E0404-string", message, string.span, "too long"));
            }
        }
        self.step(out.len() as u64 / 64, string.span)?;
        Ok(out)
    }

    fn unary(&mut self, op: UnaryOp, operand: &'a Expr, span: Span) -> Eval<Val<'a>> {
        let value = self.value(operand)?;
        match (op, &value) {
            (UnaryOp::Not, Val::Bool(value)) => Ok(Val::Bool(!value)),
            (UnaryOp::Not, _) => {
                let what = self.describe(&value);
                Err(self.error(
                    "E0405-operator",
                    format!("`!` does not apply to {what}"),
                    span,
                    "not a condition",
                ))
            }
            (UnaryOp::Negate, Val::Tensor(_) | Val::Step(_)) => self.apply_op("neg", vec![value], span),
            (UnaryOp::Negate, _) => {
                let zero = if matches!(value, Val::Float(_)) { Val::Float(-0.0) } else { Val::Int(0) };
                match value {
                    Val::Init(_) => self.binary(BinaryOp::Multiply, value, Val::Int(-1), span),
                    value => self.binary(BinaryOp::Subtract, zero, value, span),
                }
            }
        }
    }

    fn chain(&mut self, first: &'a Expr, rest: &'a [(BinaryOp, Expr)]) -> Eval<Val<'a>> {
        let mut left = self.eval(first);
        let mut span = first.span;
        for (op, operand) in rest {
            self.step(1, operand.span)?;
            span = span.to(operand.span);
            // Conditions stop early, so that the right side may rely on the left.
            if let (BinaryOp::And, Val::Bool(false)) | (BinaryOp::Or, Val::Bool(true)) = (op, &left) {
                continue;
            }
            let right = self.eval(operand);
            left = match self.binary(*op, left, right, span) {
                Ok(value) => value,
                Err(Poisoned) => Val::Poison,
            };
        }
        Ok(left)
    }

    /// An operator on two values: constants are computed, tensors become nodes.
    pub fn binary(&mut self, op: BinaryOp, left: Val<'a>, right: Val<'a>, span: Span) -> Eval<Val<'a>> {
        if left.is_poison() || right.is_poison() {
            return Err(Poisoned);
        }
        let tensor = |value: &Val<'a>| matches!(value, Val::Tensor(_) | Val::Step(_));
        if tensor(&left) || tensor(&right) {
            let name = match op {
                BinaryOp::Add => "add",
                BinaryOp::Subtract => "sub",
                BinaryOp::Multiply => "mul",
                BinaryOp::Divide => "div",
                BinaryOp::Or | BinaryOp::And | BinaryOp::Remainder | BinaryOp::Equal | BinaryOp::NotEqual => {
                    ""
                }
                BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => "",
            };
            if name.is_empty() {
                let message = format!("`{}` does not apply to tensors", op.symbol());
                let (a, b) = (self.describe(&left), self.describe(&right));
                return Err(self.error("E0405-operator", message, span, &format!("this is {a} and {b}")));
            }
            return self.apply_op(name, vec![left, right], span);
        }
        arith::binary(op, &left, &right, &self.graph.facts).map_err(|problem| {
            let (a, b) = (self.describe(&left), self.describe(&right));
            let message =
                problem.message.unwrap_or_else(|| format!("`{}` does not apply to {a} and {b}", op.symbol()));
            let diagnostic = Diagnostic::error("E0405-operator", message);
            self.report(
                diagnostic.label(span, format!("here: {a} {} {b}", op.symbol())).maybe_help(problem.help),
            )
        })
    }

    fn range(&mut self, range: &'a Range, span: Span) -> Eval<Val<'a>> {
        let (start, end) = (self.value(&range.start), self.value(&range.end));
        let start = self.want_int(start?, range.start.span, "the beginning of a range")?;
        let end = self.want_int(end?, range.end.span, "the end of a range")?;
        let end = if range.inclusive { end.checked_add(1) } else { Some(end) };
        let length = end.and_then(|end| end.checked_sub(start)).map_or(i64::MAX, |length| length.max(0));
        if length > MAX_LIST {
            let message = format!("a range of more than {MAX_LIST} numbers");
            return Err(self.error("E0601-too-much-work", message, span, "too long"));
        }
        self.step(length as u64, span)?;
        Ok(Val::list((start..start + length).map(Val::Int)))
    }

    /// The integer that a value must be.
    pub fn want_int(&mut self, value: Val<'a>, span: Span, what: &str) -> Eval<i64> {
        match value {
            Val::Int(value) => Ok(value),
            Val::Poison => Err(Poisoned),
            Val::Dim(dim) => {
                let diagnostic =
                    Diagnostic::error("E0402-not-constant", format!("{what} must be known here"))
                        .label(span, format!("the size {dim} is not known until the model runs"))
                        .help("give the size as a number in the input's type");
                Err(self.report(diagnostic))
            }
            other => {
                let found = self.describe(&other);
                Err(self.error(
                    "E0406-not-an-integer",
                    format!("{what} must be an integer"),
                    span,
                    &format!("this is {found}"),
                ))
            }
        }
    }

    /// The tensor that a value must be.
    pub fn want_tensor(&mut self, value: Val<'a>, span: Span, what: &str) -> Eval<Value> {
        match value {
            Val::Tensor(value) => Ok(value),
            Val::Poison => Err(Poisoned),
            Val::Word(name, span) => Err(self.unknown_name(name, span)),
            other => {
                let found = self.describe(&other);
                let diagnostic = Diagnostic::error("E0302-not-a-tensor", format!("{what} must be a tensor"))
                    .label(span, format!("this is {found}"));
                let tuple =
                    matches!(other, Val::Tuple(_)).then(|| "take it apart with `let (a, b) = …`".to_owned());
                Err(self.report(diagnostic.maybe_help(tuple)))
            }
        }
    }

    /// The size that a value must be.
    pub fn want_dim(&mut self, value: Val<'a>, span: Span) -> Eval<Dim> {
        match value.as_dim() {
            Some(dim) => Ok(dim),
            None if value.is_poison() => Err(Poisoned),
            None => {
                let found = self.describe(&value);
                Err(self.error(
                    "E0406-not-an-integer",
                    "a size must be an integer",
                    span,
                    &format!("this is {found}"),
                ))
            }
        }
    }
}
