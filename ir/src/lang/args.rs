//! Arguments and labels of calls.

use super::cx::{Cx, Eval};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::graph::Provenance;
use crate::syntax::ast::{self, Arg, ExprKind, Ident, Str};

/// Longest label and longest full name.
const MAX_NAME: usize = 1024;

/// An evaluated argument.
#[derive(Clone)]
pub struct ArgVal<'a> {
    pub name: Option<&'a Ident>,
    pub value: Val<'a>,
    /// The place of the value.
    pub span: Span,
    /// The argument is this bare name, whatever the name means here.
    pub bare: Option<&'a str>,
}

impl<'a> ArgVal<'a> {
    /// A value that no argument list holds, such as a piped one.
    pub fn plain(value: Val<'a>, span: Span) -> ArgVal<'a> {
        ArgVal { name: None, value, span, bare: None }
    }

    /// The argument as a word: a bare name, or a string.
    pub fn word(&self) -> Option<&str> {
        match (&self.value, self.bare) {
            (Val::Str(text), _) => Some(text),
            (_, bare) => bare,
        }
    }
}

/// How a call is named.
pub enum Label<'a> {
    Given(&'a Str),
    /// Without a label, by op and ordinal.
    Auto,
    /// A layer's full name.
    Fixed(String),
}

/// A full name from a path, which may be empty, and what follows.
pub fn join(path: &str, rest: &str) -> String {
    if path.is_empty() { rest.to_owned() } else { format!("{path}.{rest}") }
}

impl<'a> Cx<'a, '_> {
    /// Evaluates the arguments of a call; wrong ones are poison.
    pub fn args(&mut self, args: &'a [Arg]) -> Vec<ArgVal<'a>> {
        let value = |arg: &'a Arg| {
            let value = self.eval_arg(&arg.value);
            let bare = match &arg.value.kind {
                ExprKind::Name(name) => Some(name.as_str()),
                _ => None,
            };
            ArgVal { name: arg.name.as_ref(), value, span: arg.value.span, bare }
        };
        args.iter().map(value).collect()
    }

    /// The text of a label.
    pub fn label_text(&mut self, label: &'a Str) -> Eval<String> {
        let text = self.string(label)?;
        let problem = if text.is_empty() {
            "a label is not empty"
        } else if text.len() + self.frame().path.len() > MAX_NAME {
            "the name is too long"
        } else if text.chars().any(char::is_control) {
            "a label has no control characters"
        } else if text.split('.').any(str::is_empty) {
            "the parts of a label are not empty"
        } else {
            return Ok(text);
        };
        Err(self.error("E0501-label", problem, label.span, "not a label"))
    }

    /// The next ordinal name of an unlabelled call: `conv1`, `conv2`, …
    pub fn ordinal(&mut self, name: &'a str) -> String {
        let count = self.frame().ordinals.entry(name).or_default();
        *count += 1;
        format!("{name}{count}")
    }

    /// `from("label", …, by: ["rule", …])`.
    pub fn provenance(&mut self, provenance: Option<&'a ast::Provenance>) -> Eval<Provenance> {
        let mut out = Provenance::default();
        let Some(provenance) = provenance else { return Ok(out) };
        for arg in self.args(&provenance.args) {
            let rules = match arg.name.map(|name| name.text.as_str()) {
                None => false,
                Some("by") => true,
                Some(_) => {
                    let diagnostic = Diagnostic::error("E0502-provenance", "`from` takes labels and `by: …`")
                        .label(arg.span, "not a part of a provenance")
                        .help("write `from(\"conv1\", by: \"conv-absorb-prelu\")`");
                    return Err(self.report(diagnostic));
                }
            };
            let items = match arg.value {
                Val::List(items) => items.to_vec(),
                value => vec![value],
            };
            for item in items {
                let Val::Str(text) = item else {
                    let message = "labels and rules are strings";
                    return Err(self.error("E0502-provenance", message, arg.span, "not a string"));
                };
                let text = std::sync::Arc::from(&*text);
                if rules { out.rules.push(text) } else { out.sources.push(text) }
            }
        }
        Ok(out)
    }
}
