//! Calls: what a name means, and calls of blocks and layers.

use std::rc::Rc;

use super::args::{ArgVal, Label};
use super::arith;
use super::cx::{Cx, Eval, Poisoned};
use super::init;
use super::module::Def;
use super::stmt::Flow;
use super::value::{Layer, LayerCallee, Val};
use crate::diag::{Diagnostic, Span, suggest};
use crate::dtype::DType;
use crate::op::{OpSpec, table};
use crate::syntax::ast::{
    self, Arg, BinaryOp, Call, Expr, ExprKind, Function, FunctionKind, Ident, Item, Region,
};
use crate::types::TensorType;

/// The name that is called.
#[derive(Clone, Copy)]
pub struct Callee<'a> {
    pub name: &'a str,
    pub span: Span,
}

/// The value that a pipe hands to a call.
pub struct Piped<'a> {
    pub value: Val<'a>,
    pub span: Span,
}

/// What a called name means.
enum Target<'a> {
    Layer(Rc<Layer<'a>>),
    Block {
        module: usize,
        function: &'a Function,
    },
    Op(&'static OpSpec),
    Init,
    /// `number(0.5)`: a constant of rank 0 as a node of its own, in dumps.
    Number,
}

impl<'a> Cx<'a, '_> {
    pub fn call_expr(&mut self, call: &'a Call, span: Span, piped: Option<Flow<'a>>) -> Eval<Val<'a>> {
        let callee = Callee { name: &call.callee.text, span: call.callee.span };
        let piped = piped.map(|(value, span)| Piped { value, span });
        let label = call.label.as_ref().map_or(Label::Auto, Label::Given);
        let provenance = call.provenance.as_ref();
        if call.args.is_none() && piped.is_none() {
            let message = format!("`{}` has neither arguments nor a piped value", callee.name);
            let help = format!("write `x |> {}` or `{}(x)`", callee.name, callee.name);
            let diagnostic =
                Diagnostic::error("E0412-bare-call", message).label(callee.span, "nothing to apply it to");
            return Err(self.report(diagnostic.help(help)));
        }
        self.call(callee, call.args.as_deref(), span, piped, label, call.region.as_ref(), provenance)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a call, taken from three syntactic forms")]
    pub fn call(
        &mut self,
        callee: Callee<'a>,
        args: Option<&'a [Arg]>,
        span: Span,
        piped: Option<Piped<'a>>,
        label: Label<'a>,
        region: Option<&'a Region>,
        provenance: Option<&'a ast::Provenance>,
    ) -> Eval<Val<'a>> {
        let target = self.target(callee)?;
        if let (Target::Op(spec), None, Some([arg])) = (&target, &piped, args)
            && matches!(spec.name, "floor" | "ceil")
            && let Some(quotient) = self.quotient(spec.name, arg)
        {
            return quotient;
        }
        let mut values = self.args(args.unwrap_or_default());
        if let Some(piped) = piped {
            values.insert(0, ArgVal::plain(piped.value, piped.span));
        }
        let plain = |cx: &mut Self, what: &str| match (&label, region, provenance) {
            (Label::Auto, None, None) => Ok(()),
            _ => {
                let message = format!("{what} takes no label, epilogue or provenance");
                Err(cx.error("E0106-misplaced-as", message, span, "only ops and blocks do"))
            }
        };
        match target {
            Target::Layer(layer) => {
                plain(self, "a layer")?;
                self.call_layer(&layer, values, span)
            }
            Target::Block { module, function } => {
                if region.is_some() || provenance.is_some() {
                    let message = "a block takes no epilogue or provenance";
                    return Err(self.error("E0106-misplaced-as", message, span, "only ops do"));
                }
                self.call_block(module, function, values, label, span)
            }
            Target::Op(spec) => {
                let number = |arg: &ArgVal<'a>| arg.value.is_number() && arg.name.is_none();
                if arith::is_numeric(spec.name) && !values.is_empty() && values.iter().all(number) {
                    plain(self, "a computation with numbers")?;
                    let numbers: Vec<Val<'a>> = values.into_iter().map(|arg| arg.value).collect();
                    return arith::numeric(spec.name, &numbers, &self.graph.facts)
                        .map_err(|problem| self.numeric_problem(problem, spec.name, span));
                }
                let provenance = self.provenance(provenance)?;
                self.call_op(spec, values, label, region, provenance, callee.span, span)
            }
            Target::Init => {
                plain(self, "an initialisation")?;
                self.init_call(callee, values, span).map(Val::Init)
            }
            Target::Number => self.number_node(&values, label, provenance, span),
        }
    }

    /// `number(0.5)` or `number(0.5, f64)`.
    fn number_node(
        &mut self,
        args: &[ArgVal<'a>],
        label: Label<'a>,
        provenance: Option<&'a ast::Provenance>,
        span: Span,
    ) -> Eval<Val<'a>> {
        let dtype = match args {
            [_] => Some(DType::F32),
            [_, dtype] => dtype.word().and_then(DType::from_name),
            _ => None,
        };
        let value = args.first().filter(|arg| arg.name.is_none()).and_then(|arg| arg.value.as_float());
        let (Some(value), Some(dtype)) = (value, dtype) else {
            let message = "`number` takes a number and, if it is not f32, an element type";
            return Err(self.error("E0413-argument", message, span, "write `number(0.5)`"));
        };
        let node = self.constant_node(value);
        let name = match label {
            Label::Given(label) => Some(self.label_text(label)?.into()),
            Label::Auto | Label::Fixed(_) => None,
        };
        let provenance = self.provenance(provenance)?;
        let made = self.graph.node_mut(node.node);
        *made.types = vec![TensorType::new(dtype, [])];
        *made.name = name;
        *made.provenance = provenance;
        Ok(Val::Tensor(node))
    }

    fn numeric_problem(&mut self, problem: arith::Problem, name: &str, span: Span) -> Poisoned {
        let message = problem.message.unwrap_or_else(|| format!("`{name}` does not apply to these numbers"));
        let diagnostic = Diagnostic::error("E0405-operator", message).label(span, "cannot be computed");
        self.report(diagnostic.maybe_help(problem.help))
    }

    fn target(&mut self, callee: Callee<'a>) -> Eval<Target<'a>> {
        let Callee { name, span } = callee;
        match self.local(name) {
            Some(Val::Layer(layer)) => return Ok(Target::Layer(Rc::clone(layer))),
            Some(Val::Poison) => return Err(Poisoned),
            _ => {}
        }
        match self.global(name) {
            Some((module, Def::Function(item))) => {
                let Item::Function(function) = &self.modules[module].ast.items[*item] else {
                    return Err(Poisoned);
                };
                if let (FunctionKind::Model, Some(spec)) = (function.kind, table::find(name)) {
                    return Ok(Target::Op(spec));
                }
                if function.kind == FunctionKind::Model {
                    let diagnostic = Diagnostic::error("E0211-call-of-a-model", "a model cannot be called")
                        .label(span, "this is a model")
                        .label(function.name.span, "defined here")
                        .help("make it a block, and let the model call that");
                    return Err(self.report(diagnostic));
                }
                return Ok(Target::Block { module, function });
            }
            Some((_, Def::Broken)) => return Err(Poisoned),
            Some((_, Def::Const(_) | Def::Import { .. })) | None => {}
        }
        if let Some(spec) = table::find(name) {
            return Ok(Target::Op(spec));
        }
        if init::is_init(name) {
            return Ok(Target::Init);
        }
        if name == "number" {
            return Ok(Target::Number);
        }
        if let Some(value) = self.local(name) {
            let what = value.describe(&self.graph);
            let message = format!("`{name}` cannot be called");
            return Err(self.error("E0212-not-callable", message, span, &format!("this is {what}")));
        }
        if self.in_broken_module() {
            return Err(Poisoned);
        }
        let ops = table::OPS.iter().map(|spec| spec.name).chain(init::NAMES);
        let near = suggest(name, ops.chain(self.modules[self.module()].names.keys().map(String::as_str)));
        let diagnostic =
            Diagnostic::error("E0201-unknown-name", format!("there is no op, block or layer `{name}`"))
                .label(span, "not defined")
                .help("`rectify ops` lists the ops")
                .maybe_help(near);
        Err(self.report(diagnostic))
    }

    /// What a `layer` statement names.
    pub fn layer_callee(&mut self, callee: &'a Ident) -> Eval<LayerCallee<'a>> {
        match self.target(Callee { name: &callee.text, span: callee.span })? {
            Target::Block { module, function } => Ok(LayerCallee::Block { module, function }),
            Target::Op(spec) => Ok(LayerCallee::Op(spec)),
            Target::Layer(_) | Target::Init | Target::Number => Err(self.error(
                "E0209-layer",
                "a layer stands for an op or a block",
                callee.span,
                "neither of them",
            )),
        }
    }

    /// `floor(a/b)` of sizes, where a plain `a/b` would have to divide. `None` if the argument is no quotient.
    fn quotient(&mut self, name: &'static str, arg: &'a Arg) -> Option<Eval<Val<'a>>> {
        let mut expr: &'a Expr = &arg.value;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        let ExprKind::Chain(first, rest) = &expr.kind else { return None };
        let (last, before) = rest.split_last()?;
        if last.0 != BinaryOp::Divide || before.iter().any(|(op, _)| *op == BinaryOp::Remainder) {
            return None;
        }
        let mut numerator = self.eval(first);
        for (op, operand) in before {
            let right = self.eval(operand);
            numerator =
                self.binary(*op, numerator, right, first.span.to(operand.span)).unwrap_or(Val::Poison);
        }
        let divisor = self.eval(&last.1);
        if numerator.is_poison() || divisor.is_poison() {
            return Some(Err(Poisoned));
        }
        if let (Some(a), Some(b)) = (numerator.as_dim(), divisor.as_dim()) {
            let result = arith::rounded_quotient(name == "ceil", &a, &b, &self.graph.facts);
            return Some(result.map_err(|problem| self.numeric_problem(problem, name, expr.span)));
        }
        let value = match self.binary(BinaryOp::Divide, numerator, divisor, expr.span) {
            Ok(value) => value,
            Err(Poisoned) => return Some(Err(Poisoned)),
        };
        Some(if matches!(value, Val::Tensor(_) | Val::Step(_)) {
            self.apply_op(name, vec![value], expr.span)
        } else {
            arith::numeric(name, &[value], &self.graph.facts)
                .map_err(|problem| self.numeric_problem(problem, name, expr.span))
        })
    }
}
