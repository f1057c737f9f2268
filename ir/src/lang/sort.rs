//! Arguments of an op's call, each in its place: operand, attribute, or size of the layer form.

use std::collections::HashMap;

use super::args::ArgVal;
use super::cx::{Cx, Eval, Poisoned};
use super::stmt::is_param;
use super::value::Val;
use crate::diag::{Diagnostic, Span, suggest};
use crate::op::{AttrKind, AttrSpec, AttrValue, Attrs, OpSpec, OperandKind};

/// The arguments of a call, sorted.
pub struct Sorted<'a> {
    /// One entry for each operand of the op; ops of any number of operands have all in `many`.
    pub operands: Vec<Option<(Val<'a>, Span)>>,
    pub many: Vec<(Val<'a>, Span)>,
    pub attrs: Attrs,
    /// Attributes of the layer form.
    pub layer: HashMap<&'static str, ArgVal<'a>>,
    /// Where each attribute is given.
    pub places: HashMap<String, Span>,
}

impl<'a> Cx<'a, '_> {
    pub fn in_region(&self, operands: &[(Val<'a>, Span)]) -> bool {
        self.region.is_some() && operands.iter().any(|(value, _)| matches!(value, Val::Step(_)))
    }

    /// Gives each argument its place.
    pub fn sort(&mut self, spec: &'static OpSpec, args: Vec<ArgVal<'a>>, span: Span) -> Eval<Sorted<'a>> {
        let variadic = spec.operands.iter().any(|operand| operand.kind == OperandKind::Variadic);
        let mut sorted = Sorted {
            operands: spec.operands.iter().map(|_| None).collect(),
            many: Vec::new(),
            attrs: Attrs::new(),
            layer: HashMap::new(),
            places: HashMap::new(),
        };
        let mut ok = Ok(());
        for arg in args {
            let placed = match arg.name {
                Some(_) => self.named(spec, arg, &mut sorted),
                None if variadic => self.variadic(arg, &mut sorted),
                None => self.positional(spec, arg, &mut sorted),
            };
            ok = ok.and(placed);
        }
        if variadic && sorted.many.is_empty() && ok.is_ok() {
            let message = format!("`{}` needs tensors", spec.name);
            return Err(self.error("E0413-argument", message, span, "no tensor given"));
        }
        ok.map(|()| sorted)
    }

    fn variadic(&mut self, arg: ArgVal<'a>, sorted: &mut Sorted<'a>) -> Eval<()> {
        match arg.value {
            Val::List(items) | Val::Tuple(items) => {
                self.step(items.len() as u64, arg.span)?;
                sorted.many.extend(items.iter().map(|item| (item.clone(), arg.span)));
            }
            value => sorted.many.push((value, arg.span)),
        }
        Ok(())
    }

    fn positional(&mut self, spec: &'static OpSpec, arg: ArgVal<'a>, sorted: &mut Sorted<'a>) -> Eval<()> {
        let tensor = matches!(arg.value, Val::Tensor(_) | Val::Step(_));
        // Numbers can stand for tensors where another operand gives the shape.
        let number =
            arg.value.is_number() && spec.operands.iter().filter(|o| o.kind == OperandKind::Data).count() > 1;
        let free = |wanted: fn(OperandKind) -> bool, sorted: &Sorted<'a>| {
            (0..spec.operands.len())
                .find(|at| wanted(spec.operands[*at].kind) && sorted.operands[*at].is_none())
        };
        let data = free(|kind| kind == OperandKind::Data, sorted);
        if let Some(at) = data
            && (tensor || number || arg.value.is_poison())
        {
            sorted.operands[at] = Some((arg.value, arg.span));
            return Ok(());
        }
        let param = free(is_param, sorted);
        let given = tensor || matches!(arg.value, Val::Init(_));
        if let Some(at) = param
            && (given || self.in_region(&sorted.operands.iter().flatten().cloned().collect::<Vec<_>>()))
        {
            sorted.operands[at] = Some((arg.value, arg.span));
            return Ok(());
        }
        let taken = |attr: &&'static AttrSpec, sorted: &Sorted<'a>| {
            !sorted.places.contains_key(attr.name) && !sorted.layer.contains_key(attr.name)
        };
        let attr = match spec.layer_attrs {
            [first, ..] => Some(first).filter(|attr| taken(attr, sorted)),
            [] => spec.attrs.iter().find(|attr| taken(attr, sorted)),
        };
        match attr {
            Some(attr) if !tensor => self.attribute(spec, attr, arg, sorted),
            _ if data.is_some() => {
                let what = format!("the input of `{}`", spec.name);
                self.want_tensor(arg.value, arg.span, &what).map(|_| ())
            }
            _ => {
                match arg.value {
                    Val::Poison => return Err(Poisoned),
                    Val::Word(name, span) => return Err(self.unknown_name(name, span)),
                    _ => {}
                }
                let what = self.describe(&arg.value);
                let message = format!("`{}` has no place for {what}", spec.name);
                let diagnostic = Diagnostic::error("E0413-argument", message)
                    .label(arg.span, "one argument too many")
                    .help(format!("write `{}`", spec.example));
                Err(self.report(diagnostic))
            }
        }
    }

    fn named(&mut self, spec: &'static OpSpec, arg: ArgVal<'a>, sorted: &mut Sorted<'a>) -> Eval<()> {
        let Some(name) = arg.name else { return Ok(()) };
        let twice = |cx: &mut Self| {
            let message = format!("`{}` is given twice", name.text);
            Err(cx.error("E0413-argument", message, name.span, "second value"))
        };
        let operand = spec.operands.iter().position(|operand| operand.name == name.text);
        if let Some(at) = operand.filter(|at| spec.operands[*at].kind != OperandKind::Variadic) {
            if sorted.operands[at].is_some() {
                return twice(self);
            }
            let value = match arg.value {
                Val::Word(word, span) => {
                    self.unknown_name(word, span);
                    Val::Poison
                }
                value => value,
            };
            sorted.operands[at] = Some((value, arg.span));
            return Ok(());
        }
        let Some(attr) = spec.attr(&name.text) else {
            let attrs = spec.attrs.iter().chain(spec.layer_attrs).map(|attr| attr.name);
            let known: Vec<&str> = attrs.chain(spec.operands.iter().map(|operand| operand.name)).collect();
            let diagnostic = Diagnostic::error(
                "E0413-argument",
                format!("`{}` has no argument `{}`", spec.name, name.text),
            )
            .label(name.span, "no such argument")
            .help(format!("it takes `{}`", known.join("`, `")))
            .maybe_help(suggest(&name.text, known.iter().copied()));
            return Err(self.report(diagnostic));
        };
        if sorted.places.contains_key(attr.name) || sorted.layer.contains_key(attr.name) {
            return twice(self);
        }
        self.attribute(spec, attr, arg, sorted)
    }

    fn attribute(
        &mut self,
        spec: &OpSpec,
        attr: &'static AttrSpec,
        arg: ArgVal<'a>,
        sorted: &mut Sorted<'a>,
    ) -> Eval<()> {
        if arg.value.is_poison() {
            return Err(Poisoned);
        }
        if spec.layer_attrs.iter().any(|layer| layer.name == attr.name) {
            sorted.layer.insert(attr.name, arg);
            return Ok(());
        }
        sorted.places.insert(attr.name.to_owned(), arg.span);
        let value = self.attr_value(attr, &arg)?;
        sorted.attrs.insert(attr.name.to_owned(), value);
        Ok(())
    }

    fn attr_value(&mut self, attr: &AttrSpec, arg: &ArgVal<'a>) -> Eval<AttrValue> {
        let words: &[&str] = match attr.kind {
            AttrKind::Word(words) => words,
            AttrKind::Padding => &["same", "same_lower"],
            AttrKind::Int | AttrKind::Float | AttrKind::Bool | AttrKind::Spatial | AttrKind::Axis => &[],
            AttrKind::Axes | AttrKind::Ints | AttrKind::Dims | AttrKind::NewDim | AttrKind::Scales => &[],
        };
        if let (AttrKind::NewDim, Val::Word(name, _)) = (attr.kind, &arg.value) {
            return Ok(AttrValue::Dim(self.new_data_dim(name)));
        }
        match arg.word() {
            Some(word) if words.contains(&word) => return Ok(AttrValue::Word(word.to_owned())),
            // A wrong word is the op's to report, with the words it knows.
            Some(word) if !words.is_empty() && !matches!(arg.value, Val::Int(_) | Val::List(_)) => {
                return Ok(AttrValue::Word(word.to_owned()));
            }
            _ => {}
        }
        self.plain_attr(attr, &arg.value, arg.span)
    }

    fn plain_attr(&mut self, attr: &AttrSpec, value: &Val<'a>, span: Span) -> Eval<AttrValue> {
        // Attributes are short; shared lists that unfold to huge ones end here.
        self.step(16, span)?;
        match value {
            Val::Int(value) => Ok(AttrValue::Int(*value)),
            Val::Float(value) => Ok(AttrValue::Float(*value)),
            Val::Bool(value) => Ok(AttrValue::Bool(*value)),
            Val::Dim(dim) => Ok(AttrValue::Dim(dim.clone())),
            Val::List(items) | Val::Tuple(items) => {
                let items = items.iter().map(|item| self.plain_attr(attr, item, span));
                items.collect::<Eval<Vec<AttrValue>>>().map(AttrValue::List)
            }
            Val::Poison => Err(Poisoned),
            Val::Word(name, span) => Err(self.unknown_name(name, *span)),
            other => {
                let what = self.describe(other);
                let message = format!("`{}` cannot be {what}", attr.name);
                let diagnostic = Diagnostic::error("E0413-argument", message).label(span, attr.doc);
                Err(self.report(diagnostic))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Category;
    use crate::op::table;

    #[test]
    fn numbers_stand_for_tensors_in_binary_ops_only() {
        for spec in table::OPS {
            let data = spec.operands.iter().filter(|operand| operand.kind == OperandKind::Data).count();
            assert!(
                data <= 1
                    || spec.category == Category::Elementwise
                    || matches!(
                        spec.name,
                        "matmul"
                            | "gather"
                            | "gather_elements"
                            | "gather_nd"
                            | "scatter_elements"
                            | "scatter_nd"
                            | "max_pool_indices"
                            | "conv_weight_grad"
                            | "max_pool_grad"
                            | "non_max_suppression"
                            | "cut"
                    ),
                "{}",
                spec.name
            );
        }
    }
}
