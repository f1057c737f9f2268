//! Calls of ops: operands, attributes and parameters of the call, and the node that it becomes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::args::{ArgVal, Label, join};
use super::cx::{Cx, Eval, Poisoned, RegionState};
use super::param::{LayerSizes, Share};
use super::stmt::is_param;
use super::value::Val;
use crate::diag::{Diagnostic, Span, suggest};
use crate::graph::{EpArg, EpStep, Epilogue, Node, Provenance, Value};
use crate::op::{AttrError, AttrKind, AttrSpec, AttrValue, Attrs, Op, OpSpec, OperandKind, table};
use crate::scalar::Scalar;
use crate::shape::{self, ShapeError};
use crate::syntax::ast::Region;
use crate::types::TensorType;

/// The arguments of a call, sorted.
struct Sorted<'a> {
    /// One entry for each operand of the op; ops of any number of operands have all in `many`.
    operands: Vec<Option<(Val<'a>, Span)>>,
    many: Vec<(Val<'a>, Span)>,
    attrs: Attrs,
    /// Attributes of the layer form.
    layer: HashMap<&'static str, ArgVal<'a>>,
    /// Where each attribute is given.
    places: HashMap<String, Span>,
}

/// What becomes of a call besides its operation.
#[derive(Default)]
struct Extras<'a> {
    name: Option<Arc<str>>,
    region: Option<&'a Region>,
    provenance: Provenance,
}

impl<'a> Cx<'a, '_> {
    #[allow(clippy::too_many_arguments, reason = "the parts of a call")]
    pub fn call_op(
        &mut self,
        spec: &'static OpSpec,
        args: Vec<ArgVal<'a>>,
        label: Label<'a>,
        region: Option<&'a Region>,
        provenance: Provenance,
        callee: Span,
        span: Span,
    ) -> Eval<Val<'a>> {
        let own_label = match &label {
            Label::Given(text) => Some(self.label_text(text)?),
            Label::Auto | Label::Fixed(_) => None,
        };
        let sorted = self.sort(spec, args, span)?;
        let mut operands = Vec::new();
        let mut missing = Vec::new();
        let mut poisoned = false;
        for (operand, given) in spec.operands.iter().zip(&sorted.operands) {
            match (operand.kind, given) {
                (OperandKind::Data, None) => {
                    let diagnostic = Diagnostic::error(
                        "E0413-argument",
                        format!("`{}` needs the tensor `{}`", spec.name, operand.name),
                    )
                    .label(callee, "no tensor given")
                    .help(format!("pipe one in: `x |> {}`", spec.example));
                    return Err(self.report(diagnostic));
                }
                (OperandKind::Data, Some((value, place))) => operands.push((value.clone(), *place)),
                (OperandKind::Variadic, _) => operands.extend(sorted.many.iter().cloned()),
                (OperandKind::Param | OperandKind::OptionalParam, _) => {}
            }
        }
        for (value, _) in operands.iter().chain(sorted.operands.iter().flatten()) {
            poisoned |= value.is_poison();
        }
        if poisoned {
            return Err(Poisoned);
        }
        for (operand, given) in spec.operands.iter().zip(&sorted.operands) {
            if !is_param(operand.kind) {
                continue;
            }
            match given {
                Some((value @ (Val::Tensor(_) | Val::Step(_)), place)) => {
                    operands.push((value.clone(), *place))
                }
                Some((value, place))
                    if matches!(operand.kind, OperandKind::Param) && matches!(value, Val::None) =>
                {
                    let message = format!("`{}` cannot do without its {}", spec.name, operand.name);
                    return Err(self.error("E0413-argument", message, *place, "not optional"));
                }
                Some((Val::None, _)) => {}
                // In a region numbers are operands like any other.
                Some((value, place)) if self.in_region(&operands) && value.is_number() => {
                    operands.push((value.clone(), *place));
                }
                // With an explicit weight the call is explicit: what is not given is not there.
                None if matches!(operand.kind, OperandKind::OptionalParam)
                    && operands.len() > 1
                    && missing.is_empty() => {}
                given => {
                    missing.push((operand.name, operands.len(), given.clone()));
                    operands.push((Val::None, span));
                }
            }
        }
        let auto = matches!(label, Label::Auto) && !missing.is_empty();
        let name = match (label, own_label) {
            (Label::Fixed(path), _) => Some(path),
            (_, Some(label)) => Some(join(&self.frame().path, &label)),
            (_, None) if auto => {
                let name = self.ordinal(spec.name);
                self.warn_unlabelled(Some((span, name.clone())));
                Some(join(&self.frame().path, &name))
            }
            (_, None) => None,
        };
        if !missing.is_empty() && !auto {
            self.warn_unlabelled(None);
        }
        self.make_params(spec, &sorted, missing, &mut operands, name.as_deref().unwrap_or(""), span)?;
        let extras = Extras { name: name.map(Arc::from), region, provenance };
        self.emit(spec.name, &sorted.attrs, &sorted.places, operands, extras, span)
    }

    fn in_region(&self, operands: &[(Val<'a>, Span)]) -> bool {
        self.region.is_some() && operands.iter().any(|(value, _)| matches!(value, Val::Step(_)))
    }

    /// Gives each argument its place.
    fn sort(&mut self, spec: &'static OpSpec, args: Vec<ArgVal<'a>>, span: Span) -> Eval<Sorted<'a>> {
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
            _ => {
                if arg.value.is_poison() {
                    return Err(Poisoned);
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
            AttrKind::Axes | AttrKind::Ints | AttrKind::Dims | AttrKind::Scales => &[],
        };
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
        self.step(1, span)?;
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

    /// Makes the parameters that the call leaves to its layer, and puts them among the operands.
    fn make_params(
        &mut self,
        spec: &'static OpSpec,
        sorted: &Sorted<'a>,
        missing: Vec<(&'static str, usize, Option<(Val<'a>, Span)>)>,
        operands: &mut [(Val<'a>, Span)],
        path: &str,
        span: Span,
    ) -> Eval<()> {
        if missing.is_empty() {
            return self.check_layer_sizes(spec, sorted, operands, span);
        }
        let x = match &operands[0] {
            (Val::Tensor(value), _) => self.graph.ty(*value).clone(),
            (value, place) => {
                let value = value.clone();
                let what = format!("the input of `{}`", spec.name);
                let value = self.want_tensor(value, *place, &what)?;
                self.graph.ty(value).clone()
            }
        };
        let sizes = self.layer_sizes(spec, sorted, &x, span)?;
        for (leaf, at, given) in missing {
            let ty = self.layer_param_type(spec, leaf, &x, &sizes, span)?;
            let (init, place) = given.unwrap_or_else(|| (self.default_init(spec, leaf), span));
            let value = self.declare_param(join(path, leaf), ty, init, place, span)?;
            operands[at] = (Val::Tensor(value), span);
        }
        Ok(())
    }

    /// Sizes that an explicit weight makes superfluous must agree with it.
    fn check_layer_sizes(
        &mut self,
        spec: &'static OpSpec,
        sorted: &Sorted<'a>,
        operands: &[(Val<'a>, Span)],
        span: Span,
    ) -> Eval<()> {
        if sorted.layer.is_empty() {
            return Ok(());
        }
        let [(Val::Tensor(x), _), (Val::Tensor(weight), place), ..] = operands else { return Ok(()) };
        let (x, weight) = (self.graph.ty(*x).clone(), self.graph.ty(*weight).clone());
        let sizes = self.layer_sizes(spec, sorted, &x, span)?;
        let leaf = spec.operands.get(1).map_or("weight", |operand| operand.name);
        let wanted = self.layer_param_type(spec, leaf, &x, &sizes, span)?;
        if wanted == weight {
            return Ok(());
        }
        let message = format!("the given {leaf} is {weight}, but the sizes of the call make it {wanted}");
        Err(self.error("E0508-layer", message, *place, "leave the sizes out, or correct them"))
    }

    fn layer_sizes(
        &mut self,
        spec: &'static OpSpec,
        sorted: &Sorted<'a>,
        x: &TensorType,
        span: Span,
    ) -> Eval<LayerSizes> {
        let mut sizes =
            LayerSizes { channels: None, kernel: Vec::new(), groups: 1, share: Share::Channel, axis: 0 };
        if let Some(arg) = sorted.layer.get("channels") {
            sizes.channels = Some(self.positive(arg.value.clone(), arg.span, "the number of channels")?);
        }
        if let Some(arg) = sorted.layer.get("kernel") {
            let rank = x.rank().saturating_sub(2);
            sizes.kernel = match &arg.value {
                Val::List(items) | Val::Tuple(items) => {
                    let items: Vec<Val<'a>> = items.to_vec();
                    let sizes =
                        items.into_iter().map(|item| self.positive(item, arg.span, "the size of a kernel"));
                    sizes.collect::<Eval<Vec<i64>>>()?
                }
                value => vec![self.positive(value.clone(), arg.span, "the size of a kernel")?; rank.max(1)],
            };
            if sizes.kernel.len() != rank {
                let message = format!("`{}` of {x} needs a kernel with {rank} sizes", spec.name);
                let diagnostic = Diagnostic::error("E0508-layer", message)
                    .label(arg.span, format!("{} sizes", sizes.kernel.len()))
                    .help("an image tensor is [N, C, H, W], a sequence [N, C, L]");
                return Err(self.report(diagnostic));
            }
        }
        match sorted.attrs.get("groups") {
            Some(AttrValue::Int(groups)) if *groups > 0 => sizes.groups = *groups,
            None => {}
            Some(_) => {
                let place = sorted.places.get("groups").copied().unwrap_or(span);
                return Err(self.error(
                    "E0508-layer",
                    "`groups` must be a positive integer",
                    place,
                    "not a number of groups",
                ));
            }
        }
        if let Some(arg) = sorted.layer.get("share") {
            sizes.share = match arg.word() {
                Some("channel") => Share::Channel,
                Some("layer") => Share::Layer,
                Some("elementwise") => Share::Elementwise,
                _ => {
                    let message = "`share` is `channel`, `layer` or `elementwise`";
                    return Err(self.error("E0413-argument", message, arg.span, "none of them"));
                }
            };
        }
        if spec.name == "layer_norm" {
            let axis = match sorted.attrs.get("axis") {
                Some(AttrValue::Int(axis)) => *axis,
                _ => -1,
            };
            let rank = x.rank() as i64;
            sizes.axis = usize::try_from(if axis < 0 { axis.saturating_add(rank) } else { axis })
                .unwrap_or(usize::MAX);
        }
        Ok(sizes)
    }

    fn positive(&mut self, value: Val<'a>, span: Span, what: &str) -> Eval<i64> {
        let value = match value {
            Val::Word(name, span) => return Err(self.unknown_name(name, span)),
            value => self.want_int(value, span, what)?,
        };
        if (1..=1 << 32).contains(&value) {
            return Ok(value);
        }
        Err(self.error("E0508-layer", format!("{what} cannot be {value}"), span, "must be positive"))
    }

    /// An op without attributes on values, as operators make it.
    pub fn apply_op(&mut self, name: &'static str, operands: Vec<Val<'a>>, span: Span) -> Eval<Val<'a>> {
        let operands = operands.into_iter().map(|value| (value, span)).collect();
        self.emit(name, &Attrs::new(), &HashMap::new(), operands, Extras::default(), span)
    }

    /// Makes the node, or a step of an epilogue where an operand is a value of one.
    fn emit(
        &mut self,
        name: &'static str,
        attrs: &Attrs,
        places: &HashMap<String, Span>,
        operands: Vec<(Val<'a>, Span)>,
        extras: Extras<'a>,
        span: Span,
    ) -> Eval<Val<'a>> {
        self.room(span)?;
        if self.in_region(&operands) {
            return self.emit_step(name, attrs, places, operands, span);
        }
        if !operands.iter().any(|(value, _)| matches!(value, Val::Tensor(_))) {
            let (value, place) = operands.first().cloned().unwrap_or((Val::None, span));
            self.want_tensor(value, place, &format!("an operand of `{name}`"))?;
        }
        let mut values = Vec::with_capacity(operands.len());
        for (value, place) in operands {
            values.push(match value.as_float() {
                Some(number) => self.constant_node(number),
                None => self.want_tensor(value, place, &format!("an operand of `{name}`"))?,
            });
        }
        let types = shape::operand_types(&self.graph, &values)
            .map(|types| types.into_iter().map(Cow::into_owned).collect::<Vec<TensorType>>());
        let types = types.map_err(|error| self.shape_error(error, span))?;
        let op = self.build(name, attrs, places, &types, span)?;
        let mut node = Node {
            arity: values.len(),
            operands: values,
            epilogue: None,
            types: Vec::new(),
            name: extras.name,
            provenance: extras.provenance,
            op,
        };
        node.types = match shape::infer_own(&self.graph, &node) {
            Ok(types) => types,
            Err(error) => return Err(self.shape_error(error, span)),
        };
        if let Some(region) = extras.region {
            self.read_region(region, &mut node, span)?;
        }
        let several = node.types.len() != 1 || matches!(node.op, Op::Split { .. });
        let results = node.types.len() as u32;
        let param_only = node.operands.iter().all(|value| self.param_only.contains(&value.node));
        let id = match self.graph.push_node(node) {
            Ok(id) => id,
            Err(error) => return Err(self.shape_error(error, span)),
        };
        if param_only {
            self.param_only.insert(id);
        }
        if several {
            return Ok(Val::Tuple(
                (0..results).map(|result| Val::Tensor(Value { node: id, result })).collect(),
            ));
        }
        Ok(Val::Tensor(id.into()))
    }

    pub fn constant_node(&mut self, value: f64) -> Value {
        let node = self.graph.push_const(value);
        self.param_only.insert(node.node);
        node
    }

    fn build(
        &mut self,
        name: &'static str,
        attrs: &Attrs,
        places: &HashMap<String, Span>,
        types: &[TensorType],
        span: Span,
    ) -> Eval<Op> {
        let types: Vec<&TensorType> = types.iter().collect();
        Op::build(name, attrs, &types, &self.graph.facts)
            .map_err(|error| self.attr_error(name, error, &types, places, span))
    }

    fn attr_error(
        &mut self,
        name: &str,
        error: AttrError,
        types: &[&TensorType],
        places: &HashMap<String, Span>,
        span: Span,
    ) -> Poisoned {
        let place = error.attr.as_ref().and_then(|attr| places.get(attr)).copied();
        let label = if place.is_some() { "this value" } else { "in this call" };
        let mut diagnostic = Diagnostic::error("E0306-attribute", format!("`{name}`: {}", error.message))
            .label(place.unwrap_or(span), label);
        if let Some(x) = types.first() {
            diagnostic = diagnostic.note(format!("the input is {x}"));
        }
        let example = table::find(name).map(|spec| format!("an example: `{}`", spec.example));
        self.report(diagnostic.maybe_help(example).maybe_help(error.help))
    }

    pub fn shape_error(&mut self, error: ShapeError, span: Span) -> Poisoned {
        let mut diagnostic = Diagnostic::error("E0307-shape", error.message).label(span, "in this call");
        if !error.shapes.is_empty() {
            let shapes: Vec<String> =
                error.shapes.iter().map(|(name, ty)| format!("{name} is {ty}")).collect();
            diagnostic = diagnostic.note(shapes.join(", "));
        }
        self.report(diagnostic.maybe_help(error.help))
    }

    /// Reads `{ %acc => … }` into the node.
    fn read_region(&mut self, region: &'a Region, node: &mut Node, span: Span) -> Eval<()> {
        let [ty] = node.types.as_slice() else {
            let message = "an op with several results has no epilogue";
            return Err(self.error("E0309-epilogue", message, region.body.span, "not possible here"));
        };
        if self.region.is_some() {
            let message = "an epilogue within an epilogue";
            return Err(self.error("E0309-epilogue", message, region.body.span, "not possible here"));
        }
        self.region = Some(RegionState { ty: ty.clone(), operands: Vec::new(), steps: Vec::new() });
        let value = self.scoped(|cx| {
            cx.bind(&region.accumulator.text, Val::Step(EpArg::Acc));
            cx.body(&region.body, None)
        });
        let Some(state) = self.region.take() else { return Err(Poisoned) };
        match value {
            Val::Step(EpArg::Step(last)) if last as usize + 1 == state.steps.len() => {
                node.operands.extend(state.operands);
                node.epilogue = Some(Epilogue { steps: state.steps });
                Ok(())
            }
            Val::Poison => Err(Poisoned),
            other => {
                let what = self.describe(&other);
                let at = region.body.stmts.last().map_or(span, |stmt| stmt.span);
                let diagnostic = Diagnostic::error("E0309-epilogue", "an epilogue ends with its last step")
                    .label(at, format!("this is {what}"))
                    .help(
                        "each step reads the accumulator or an earlier step, as in `{ %acc => relu(%acc) }`",
                    );
                Err(self.report(diagnostic))
            }
        }
    }

    fn emit_step(
        &mut self,
        name: &'static str,
        attrs: &Attrs,
        places: &HashMap<String, Span>,
        operands: Vec<(Val<'a>, Span)>,
        span: Span,
    ) -> Eval<Val<'a>> {
        let Some(ty) = self.region.as_ref().map(|region| region.ty.clone()) else { return Err(Poisoned) };
        let mut args = Vec::new();
        let mut types = Vec::new();
        for (value, place) in operands {
            if let Some(number) = value.as_float() {
                args.push(EpArg::Scalar(Scalar(number)));
                types.push(TensorType::new(ty.dtype, []));
                continue;
            }
            if let Val::Step(arg) = value {
                args.push(arg);
                types.push(ty.clone());
                continue;
            }
            let value = self.want_tensor(value, place, &format!("an operand of `{name}`"))?;
            types.push(self.graph.ty(value).clone());
            let Some(region) = &mut self.region else { return Err(Poisoned) };
            let at = region.operands.iter().position(|operand| *operand == value).unwrap_or_else(|| {
                region.operands.push(value);
                region.operands.len() - 1
            });
            args.push(EpArg::Operand(at as u32));
        }
        let op = self.build(name, attrs, places, &types, span)?;
        if !op.is_elementwise() {
            let message = format!("`{name}` is not elementwise");
            return Err(self.error(
                "E0309-epilogue",
                message,
                span,
                "only elementwise ops can be steps of an epilogue",
            ));
        }
        let Some(region) = &mut self.region else { return Err(Poisoned) };
        region.steps.push(EpStep { op, args });
        Ok(Val::Step(EpArg::Step(region.steps.len() as u32 - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Category;

    #[test]
    fn numbers_stand_for_tensors_in_binary_ops_only() {
        for spec in table::OPS {
            let data = spec.operands.iter().filter(|operand| operand.kind == OperandKind::Data).count();
            assert!(
                data <= 1 || spec.category == Category::Elementwise || spec.name == "matmul",
                "{}",
                spec.name
            );
        }
    }
}
