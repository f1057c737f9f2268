//! Calls of ops: their operands, and the parameters that layers make.

use std::sync::Arc;

use super::args::{ArgVal, Label, join};
use super::cx::{Cx, Eval, Poisoned};
use super::emit::Extras;
use super::param::{LayerSizes, Share};
use super::sort::Sorted;
use super::stmt::is_param;
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::graph::Provenance;
use crate::op::{AttrValue, OpSpec, OperandKind};
use crate::syntax::ast::Region;
use crate::types::TensorType;

/// A parameter that the layer makes: its name, its place among the operands, and its initial value if one is given.
type Missing<'a> = (&'static str, usize, Option<(Val<'a>, Span)>);

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
        let mut missing: Vec<Missing<'a>> = Vec::new();
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

    /// Makes the parameters that the call leaves to its layer, and puts them among the operands.
    fn make_params(
        &mut self,
        spec: &'static OpSpec,
        sorted: &Sorted<'a>,
        missing: Vec<Missing<'a>>,
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
                let message = format!("`{}` of {x} needs {rank} kernel sizes, one a spatial axis", spec.name);
                let diagnostic = Diagnostic::error("E0508-layer", message)
                    .label(arg.span, format!("given: {}", sizes.kernel.len()))
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
}
