//! Names and what is reached through them: locals, constants of files, values, parameters, fields, elements.

use super::cx::{Cx, Eval, Frame, Poisoned};
use super::module::Def;
use super::value::Val;
use crate::diag::{Diagnostic, Span, suggest};
use crate::op::table;
use crate::syntax::ast::{Expr, Ident, Item};

impl<'a> Cx<'a, '_> {
    pub fn name(&mut self, name: &'a str, span: Span) -> Eval<Val<'a>> {
        if let Some(value) = self.local(name) {
            return Ok(value.clone());
        }
        match self.global(name) {
            Some((module, Def::Const(item))) => self.constant(module, *item, span),
            Some((module, Def::Function(item))) => {
                let Item::Function(function) = &self.modules[module].ast.items[*item] else {
                    return Err(Poisoned);
                };
                let kind = function.kind.keyword();
                let diagnostic =
                    Diagnostic::error("E0204-not-a-value", format!("`{name}` is a {kind}, not a value"))
                        .label(span, "only a call of it has a value")
                        .label(function.name.span, "defined here")
                        .help(format!("call it: `{name}(…)`"));
                Err(self.report(diagnostic))
            }
            Some((_, Def::Broken | Def::Import { .. })) => Err(Poisoned),
            None if name == "none" => Ok(Val::None),
            None => Ok(Val::Word(name, span)),
        }
    }

    /// Reports a name that nothing defines.
    pub fn unknown_name(&mut self, name: &str, span: Span) -> Poisoned {
        if self.in_broken_module() {
            return Poisoned;
        }
        let mut diagnostic = Diagnostic::error("E0201-unknown-name", format!("nothing is named `{name}`"))
            .label(span, "not defined here");
        if table::find(name).is_some() {
            diagnostic =
                diagnostic.help(format!("`{name}` is an op: call it with a tensor, as in `x |> {name}`"));
        } else {
            let known = self.known_names();
            diagnostic = diagnostic.maybe_help(suggest(name, known.iter().map(String::as_str)));
        }
        self.report(diagnostic)
    }

    /// Names that an expression may use here.
    fn known_names(&self) -> Vec<String> {
        let locals =
            self.frames.last().into_iter().flat_map(|frame| &frame.scopes).flat_map(|scope| scope.keys());
        let globals = self.modules[self.module()].names.keys();
        locals.map(|name| (*name).to_owned()).chain(globals.cloned()).collect()
    }

    /// A constant of a file, computed on first use.
    fn constant(&mut self, module: usize, item: usize, span: Span) -> Eval<Val<'a>> {
        let modules = self.modules;
        let Item::Const(constant) = &modules[module].ast.items[item] else { return Err(Poisoned) };
        let key = (module, constant.name.text.as_str());
        match self.consts.get(&key) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => {
                let message = format!("the constant `{}` depends on itself", key.1);
                return Err(self.error(
                    "E0401-circular-constant",
                    message,
                    span,
                    "used in its own definition",
                ));
            }
            None => {}
        }
        self.consts.insert(key, None);
        let frame = Frame {
            module,
            function: None,
            scopes: vec![Default::default()],
            path: String::new(),
            ordinal: None,
            fixed: false,
            ordinals: Default::default(),
            site: None,
        };
        let value = match self.enter(frame, span) {
            Ok(()) => {
                let value = self.eval(&constant.value);
                self.frames.pop();
                value
            }
            Err(Poisoned) => Val::Poison,
        };
        let value = match value {
            Val::Tensor(_) | Val::Layer(_) => {
                let what = self.describe(&value);
                let message = format!("a constant cannot be {what}");
                self.error("E0402-not-constant", message, constant.value.span, "not a constant");
                Val::Poison
            }
            value => value,
        };
        self.consts.insert(key, Some(value.clone()));
        Ok(value)
    }

    pub fn value_ref(&mut self, name: &'a str, result: Option<u32>, span: Span) -> Eval<Val<'a>> {
        let Some(value) = self.local(name).cloned() else {
            if self.in_broken_module() {
                return Err(Poisoned);
            }
            return Err(self.error(
                "E0201-unknown-name",
                format!("there is no value `%{name}`"),
                span,
                "not defined",
            ));
        };
        let (Some(result), Val::Tuple(items)) = (result, &value) else {
            return match (result, &value) {
                (Some(0) | None, _) | (_, Val::Poison) => Ok(value),
                (Some(_), _) => {
                    let what = self.describe(&value);
                    let message = format!("`%{name}` has one result");
                    Err(self.error("E0403-index", message, span, &format!("`%{name}` is {what}")))
                }
            };
        };
        match items.get(result as usize) {
            Some(item) => Ok(item.clone()),
            None => {
                let message = format!("`%{name}` has {} results", items.len());
                Err(self.error("E0403-index", message, span, "results count from 0"))
            }
        }
    }

    pub fn parameter(&mut self, name: &'a str, span: Span) -> Eval<Val<'a>> {
        if let Some((value, _)) = self.params.get(name) {
            return Ok(Val::Tensor(*value));
        }
        if self.in_broken_module() {
            return Err(Poisoned);
        }
        let near =
            suggest(name, self.params.keys().map(String::as_str)).map(|text| text.replacen('`', "`@", 1));
        let diagnostic = Diagnostic::error("E0201-unknown-name", format!("there is no parameter `@{name}`"))
            .label(span, "not defined above this line")
            .maybe_help(near);
        Err(self.report(diagnostic))
    }

    pub fn field(&mut self, base: &'a Expr, name: &'a Ident) -> Eval<Val<'a>> {
        let value = self.value(base)?;
        let fields: &[&str] = match &value {
            Val::Tensor(tensor) => {
                let ty = self.graph.ty(*tensor).clone();
                match name.text.as_str() {
                    "shape" => return Ok(Val::list(ty.shape.into_iter().map(Val::dim))),
                    "rank" => return Ok(Val::Int(ty.rank() as i64)),
                    "dtype" => return Ok(Val::Str(ty.dtype.name().into())),
                    "channels" => {
                        if let Some(channels) = ty.shape.get(1) {
                            return Ok(Val::dim(channels.clone()));
                        }
                        let message = format!("{ty} has no channels");
                        return Err(self.error("E0407-field", message, name.span, "channels are axis 1"));
                    }
                    _ => &["channels", "shape", "rank", "dtype"],
                }
            }
            Val::List(items) | Val::Tuple(items) if name.text == "len" => {
                return Ok(Val::Int(items.len() as i64));
            }
            Val::List(_) | Val::Tuple(_) => &["len"],
            _ => &[],
        };
        let what = self.describe(&value);
        let mut diagnostic = Diagnostic::error("E0407-field", format!("{what} has no field `{}`", name.text))
            .label(name.span, "no such field");
        if !fields.is_empty() {
            diagnostic = diagnostic.help(format!("there is `.{}`", fields.join("`, `.")));
        }
        Err(self.report(diagnostic))
    }

    pub fn index(&mut self, base: &'a Expr, index: &'a Expr) -> Eval<Val<'a>> {
        let (value, at) = (self.value(base), self.value(index));
        let (value, at) = (value?, at?);
        let at = self.want_int(at, index.span, "an index")?;
        let (Val::List(items) | Val::Tuple(items)) = &value else {
            let what = self.describe(&value);
            let mut diagnostic = Diagnostic::error("E0403-index", format!("{what} has no elements to pick"))
                .label(base.span, "not a list");
            if matches!(value, Val::Tensor(_)) {
                diagnostic = diagnostic.help("take a part of a tensor with `slice`");
            }
            return Err(self.report(diagnostic));
        };
        let place = if at < 0 { at.checked_add(items.len() as i64) } else { Some(at) };
        match place.and_then(|place| usize::try_from(place).ok()).and_then(|place| items.get(place)) {
            Some(Val::Poison) => Err(Poisoned),
            Some(item) => Ok(item.clone()),
            None => {
                let message = format!("there is no element {at} in a list of {}", items.len());
                Err(self.error("E0403-index", message, index.span, "elements count from 0"))
            }
        }
    }
}
