//! Calls of blocks and layers: arguments become the parameters of a frame of its own.

use std::rc::Rc;

use super::args::{ArgVal, Label, join};
use super::cx::{Cx, Eval, Frame, Poisoned};
use super::value::{Layer, LayerCallee, Val};
use crate::diag::{Diagnostic, Span, suggest};
use crate::syntax::ast::Function;

impl<'a> Cx<'a, '_> {
    pub fn call_layer(&mut self, layer: &Layer<'a>, args: Vec<ArgVal<'a>>, span: Span) -> Eval<Val<'a>> {
        let mut all = args;
        all.extend(layer.args.iter().cloned());
        self.sharing.push(Rc::clone(&layer.shared));
        let label = Label::Fixed(layer.path.clone());
        let result = match &layer.callee {
            LayerCallee::Block { module, function } => self.call_block(*module, function, all, label, span),
            LayerCallee::Op(spec) => {
                self.call_op(spec, all, label, None, Default::default(), layer.span, span)
            }
        };
        self.sharing.pop();
        result
    }

    pub fn call_block(
        &mut self,
        module: usize,
        function: &'a Function,
        args: Vec<ArgVal<'a>>,
        label: Label<'a>,
        span: Span,
    ) -> Eval<Val<'a>> {
        let outer = self.frame().path.clone();
        self.step(8, span)?;
        let fixed = matches!(label, Label::Fixed(_));
        let mut ordinal = None;
        let path = match label {
            Label::Given(label) => join(&outer, &self.label_text(label)?),
            Label::Fixed(path) => path,
            Label::Auto => {
                let name = self.ordinal(&function.name.text);
                let path = join(&outer, &name);
                ordinal = Some(name);
                path
            }
        };
        // Unknown words are errors of the caller, so they are found before its frame is left.
        let args: Vec<ArgVal<'a>> = args.into_iter().map(|arg| self.known(arg)).collect();
        let frame = Frame {
            module,
            function: Some(function),
            scopes: vec![Default::default()],
            path,
            ordinal,
            fixed,
            ordinals: Default::default(),
            site: Some(span),
        };
        let defaults = self.defaults.len();
        self.enter(frame, span)?;
        let result = self.deeper(span, |cx| {
            cx.bind_args(function, args, span)?;
            cx.check_facts(&function.facts);
            let value = cx.body(&function.body, None);
            cx.block_results(function, value)
        });
        self.frames.pop();
        self.defaults.truncate(defaults);
        result
    }

    fn known(&mut self, arg: ArgVal<'a>) -> ArgVal<'a> {
        match arg.value {
            Val::Word(word, span) => {
                self.unknown_name(word, span);
                ArgVal { value: Val::Poison, ..arg }
            }
            _ => arg,
        }
    }

    /// Gives the parameters of a block their values, in the block's own frame.
    fn bind_args(&mut self, function: &'a Function, args: Vec<ArgVal<'a>>, span: Span) -> Eval<()> {
        let count = function.params.len();
        let mut given: Vec<Option<ArgVal<'a>>> = (0..count).map(|_| None).collect();
        let name = &function.name.text;
        let mut ok = Ok(());
        for arg in args {
            let at = match arg.name {
                Some(wanted) => function.params.iter().position(|param| param.name.text == wanted.text),
                None => given.iter().position(Option::is_none),
            };
            let place = arg.name.map_or(arg.span, |name| name.span);
            let Some(at) = at else {
                let diagnostic = match arg.name {
                    Some(wanted) => Diagnostic::error(
                        "E0413-argument",
                        format!("`{name}` has no parameter `{}`", wanted.text),
                    )
                    .label(place, "no such parameter")
                    .maybe_help(suggest(&wanted.text, function.params.iter().map(|p| p.name.text.as_str()))),
                    None => Diagnostic::error("E0413-argument", format!("`{name}` takes {count} arguments"))
                        .label(place, "one too many"),
                };
                ok = Err(self.report(diagnostic.label(function.name.span, "defined here")));
                continue;
            };
            if given[at].is_some() {
                let message = format!("the parameter `{}` is given twice", function.params[at].name.text);
                ok = Err(self.error("E0413-argument", message, place, "second value"));
                continue;
            }
            given[at] = Some(arg);
        }
        let mut missing = Vec::new();
        for (param, arg) in function.params.iter().zip(given) {
            let (value, place) = match (arg, &param.default) {
                (Some(arg), _) => (arg.value, arg.span),
                (None, Some(default)) => (self.eval(default), default.span),
                (None, None) => {
                    missing.push(format!("`{}`", param.name.text));
                    (Val::Poison, span)
                }
            };
            let value = match &param.ty {
                Some(ty) => self.unify(ty, value, place, &param.name).unwrap_or(Val::Poison),
                None => value,
            };
            self.bind(&param.name.text, value);
        }
        if !missing.is_empty() && ok.is_ok() {
            let message = format!("`{name}` needs {}", missing.join(" and "));
            let diagnostic = Diagnostic::error("E0413-argument", message)
                .label(span, "not given in this call")
                .label(function.name.span, "defined here");
            ok = Err(self.report(diagnostic));
        }
        ok
    }

    fn block_results(&mut self, function: &'a Function, value: Val<'a>) -> Eval<Val<'a>> {
        let Some(results) = &function.results else { return Ok(value) };
        let span = function.body.stmts.last().map_or(function.span, |stmt| stmt.span);
        match &value {
            Val::Poison => Err(Poisoned),
            Val::Tuple(items) if items.len() == results.len() && results.len() > 1 => {
                for (result, item) in results.iter().zip(items.iter()) {
                    if let Some(ty) = &result.ty {
                        self.check_declared(ty, item, span)?;
                    }
                }
                Ok(value)
            }
            _ if results.len() == 1 => {
                if let Some(ty) = &results[0].ty {
                    self.check_declared(ty, &value, span)?;
                }
                Ok(value)
            }
            other => {
                let what = self.describe(other);
                let message = format!("`{}` declares {} results", function.name.text, results.len());
                let diagnostic = Diagnostic::error("E0304-results", message)
                    .label(span, format!("the value is {what}"))
                    .help("end the block with a tuple, as in `(a, b)`");
                Err(self.report(diagnostic))
            }
        }
    }
}
