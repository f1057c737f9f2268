//! A model: inputs with symbolic sizes, facts, the body, outputs.

use std::collections::HashSet;

use super::cx::{Cx, Eval, Frame, Poisoned};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::dim::Dim;
use crate::graph::{Graph, Output, Stage};
use crate::syntax::ast::{Expr, ExprKind, Fact, Function, Param, StmtKind, TypeKind};

/// The stage that a dump's header names.
pub fn stage(name: &str) -> Option<Stage> {
    [Stage::Typed, Stage::Optimized].into_iter().find(|stage| stage.name() == name)
}

impl<'a> Cx<'a, '_> {
    /// Elaborates a model of the first module; `None` after errors. Blocks of the module that were called join `called`.
    pub fn model(mut self, function: &'a Function, called: &mut HashSet<String>) -> Option<Graph> {
        let errors = self.diagnostics.error_count();
        self.graph.name = function.name.text.clone();
        self.graph.doc = function.docs.clone();
        let header = self.modules[0].ast.header.as_ref();
        self.graph.stage = header.and_then(|header| stage(&header.stage.as_ref()?.text)).unwrap_or_default();
        let frame = Frame {
            module: 0,
            function: Some(function),
            scopes: vec![Default::default()],
            path: String::new(),
            ordinal: None,
            fixed: false,
            ordinals: Default::default(),
            site: None,
        };
        self.enter(frame, function.name.span).ok()?;
        for param in &function.params {
            if let Some(TypeKind::Tensor(_, dims)) = param.ty.as_ref().map(|ty| &ty.kind) {
                dims.iter().for_each(|dim| self.declare_symbols(dim));
            }
        }
        self.declare_data_dims(&function.facts);
        self.learn_facts(&function.facts);
        for param in &function.params {
            let value = self.input(param).unwrap_or(Val::Poison);
            self.bind(&param.name.text, value);
        }
        let value = self.body(&function.body, None);
        if self.outputs(function, value).is_ok() {
            self.check_data_dims();
        }
        called.extend(std::mem::take(&mut self.called));
        if self.diagnostics.error_count() > errors {
            return None;
        }
        self.graph.remove_dead();
        Some(self.graph)
    }

    /// Names in the sizes of an input are dimensions, unless they are constants of the file.
    fn declare_symbols(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Name(name) if name == "_" => {
                let diagnostic =
                    Diagnostic::error("E0305-type", "the size of an input needs a name or a number")
                        .label(expr.span, "unknown size")
                        .help("write a name such as `N`");
                self.report(diagnostic);
                self.frame().scopes[0].insert("_", Val::Poison);
            }
            ExprKind::Name(name) if !self.is_constant(name) && self.local(name).is_none() => {
                self.sizes.insert(name.clone());
                self.bind(name, Val::Dim(Dim::sym(name)));
            }
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => self.declare_symbols(inner),
            ExprKind::Chain(first, rest) => {
                self.declare_symbols(first);
                rest.iter().for_each(|(_, operand)| self.declare_symbols(operand));
            }
            ExprKind::Call(call) => {
                call.args.iter().flatten().for_each(|arg| self.declare_symbols(&arg.value));
            }
            _ => {}
        }
    }

    /// Names in the facts that no input has are sizes that data gives.
    fn declare_data_dims(&mut self, facts: &'a [Fact]) {
        for fact in facts {
            let expr = match fact {
                Fact::Holds(Expr { kind: ExprKind::Chain(first, _), .. }) => &**first,
                Fact::Holds(expr) => expr,
                Fact::In(name, _) => name,
            };
            if let ExprKind::Name(name) = &expr.kind
                && !self.is_constant(name)
                && self.local(name).is_none()
            {
                self.data_dims.push((name, expr.span));
                self.sizes.insert(name.clone());
                self.graph.facts.entry(name).min = 0;
                self.bind(name, Val::Dim(Dim::sym(name)));
            }
        }
    }

    /// Every size that no input gives is that of a cut.
    fn check_data_dims(&mut self) {
        let known = crate::bind::data_dims(&self.graph);
        for (name, span) in std::mem::take(&mut self.data_dims) {
            if !known.contains(name) {
                self.unknown_name(name, span);
            }
        }
    }

    /// A size that data gives, under this name where the call stands, and in the graph under this one or one like it.
    pub fn new_data_dim(&mut self, name: &'a str) -> Dim {
        let mut unique = name.to_owned();
        while !self.sizes.insert(unique.clone()) {
            unique.push('_');
        }
        self.graph.facts.entry(&unique).min = 0;
        let dim = Dim::sym(&unique);
        if let Some(scope) = self.frame().scopes.first_mut() {
            scope.insert(name, Val::Dim(dim.clone()));
        }
        dim
    }

    fn input(&mut self, param: &'a Param) -> Eval<Val<'a>> {
        let Some(ty) = &param.ty else {
            let diagnostic =
                Diagnostic::error("E0305-type", format!("the input `{}` needs a type", param.name.text))
                    .label(param.name.span, "no type")
                    .help(format!("write `{}: f32[N, 3, H, W]`", param.name.text));
            return Err(self.report(diagnostic));
        };
        if let Some(default) = &param.default {
            let message = "an input of a model has no default";
            return Err(self.error("E0305-type", message, default.span, "given when the model runs"));
        }
        if self
            .graph
            .inputs()
            .iter()
            .any(|input| self.graph.node(*input).name.as_deref() == Some(&param.name.text))
        {
            let message = format!("two inputs are named `{}`", param.name.text);
            return Err(self.error("E0202-defined-twice", message, param.name.span, "second one"));
        }
        let symbol = matches!(self.local(&param.name.text), Some(Val::Dim(_)));
        if symbol {
            let message = format!("`{}` is an input and a size", param.name.text);
            self.error("E0202-defined-twice", message, param.name.span, "also the name of a size");
        }
        let ty = self.tensor_type(ty)?;
        let value = self.graph.add_input(param.name.text.as_str(), ty);
        Ok(Val::Tensor(value))
    }

    fn outputs(&mut self, function: &'a Function, value: Val<'a>) -> Eval<()> {
        let span = function.body.stmts.last().map_or(function.body.span, |stmt| stmt.span);
        let values: Vec<Val<'a>> = match value {
            Val::Poison => return Err(Poisoned),
            Val::Tuple(items) => items.to_vec(),
            value => vec![value],
        };
        let items: &[Expr] = match function.body.stmts.last().map(|stmt| &stmt.kind) {
            Some(StmtKind::Expr(Expr { kind: ExprKind::Tuple(items), .. })) => items,
            _ => &[],
        };
        let declared = function.results.as_deref();
        if let Some(results) = declared
            && results.len() != values.len()
        {
            let at = results
                .first()
                .map_or(function.name.span, |first| first.span.to(results[results.len() - 1].span));
            let message =
                format!("the model declares {} results, its body gives {}", results.len(), values.len());
            let diagnostic = Diagnostic::error("E0304-results", message)
                .label(span, format!("{} here", count(values.len())))
                .label(at, format!("{} declared", results.len()));
            return Err(self.report(diagnostic));
        }
        let mut ok = Ok(());
        let several = values.len() > 1;
        for (at, value) in values.into_iter().enumerate() {
            let result = declared.map(|results| &results[at]);
            let named = result.and_then(|result| result.name.as_ref());
            let name = match named {
                Some(name) => name.text.clone(),
                None if several => format!("output{at}"),
                None => "output".to_owned(),
            };
            let place = named.map_or(function.name.span, |name| name.span);
            if self.graph.outputs.iter().any(|output| *output.name == *name) {
                ok = Err(self.error(
                    "E0202-defined-twice",
                    format!("two results are named `{name}`"),
                    place,
                    "second one",
                ));
                continue;
            }
            let span = items.get(at).map_or(span, |item| item.span);
            match self.output(value, span, result.and_then(|result| result.ty.as_ref())) {
                Ok(value) => self.graph.outputs.push(Output { name: name.as_str().into(), value }),
                Err(Poisoned) => ok = Err(Poisoned),
            }
        }
        ok
    }

    fn output(
        &mut self,
        value: Val<'a>,
        span: Span,
        ty: Option<&'a crate::syntax::ast::Type>,
    ) -> Eval<crate::graph::Value> {
        let tensor = self.want_tensor(value, span, "the result of a model")?;
        if let Some(ty) = ty {
            self.check_declared(ty, &Val::Tensor(tensor), span)?;
        }
        Ok(tensor)
    }
}

fn count(values: usize) -> String {
    if values == 1 { "one value".to_owned() } else { format!("{values} values") }
}
