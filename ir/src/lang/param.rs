//! Parameters: explicit ones, and those that layer calls make, with names, shapes and defaults.

use std::rc::Rc;

use super::cx::{Cx, Eval, Poisoned};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::dim::Dim;
use crate::graph::{MAX_NODES, Value};
use crate::init::Init;
use crate::op::{Op, OpSpec};
use crate::syntax::ast::ParamDecl;
use crate::types::TensorType;

/// Greatest size of one parameter.
const MAX_PARAM_BYTES: u64 = 1 << 40;

/// Sizes that a layer's parameters depend on.
pub struct LayerSizes {
    pub channels: Option<i64>,
    pub kernel: Vec<i64>,
    pub groups: i64,
    /// `prelu`: one slope a channel, layer or element.
    pub share: Share,
    /// `layer_norm`: the first normalised axis.
    pub axis: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Channel,
    Layer,
    Elementwise,
}

impl<'a> Cx<'a, '_> {
    /// Adds a parameter under its full name, or finds it where a layer is applied again.
    pub fn declare_param(
        &mut self,
        full: String,
        ty: TensorType,
        init: Val<'a>,
        at: Span,
        place: Span,
    ) -> Eval<Value> {
        if let Some(dim) = ty.shape.iter().find(|dim| dim.as_const().is_none()) {
            let diagnostic =
                Diagnostic::error("E0504-parameter-size", format!("the parameter `{full}` would be {ty}"))
                    .label(place, format!("its size depends on {dim}"))
                    .help("sizes of parameters are numbers: give that axis of the input as a number");
            return Err(self.report(diagnostic));
        }
        let elements = ty.elements().ok().and_then(|dim| dim.as_const()).and_then(|n| u64::try_from(n).ok());
        let bytes = elements.and_then(|elements| elements.checked_mul(ty.dtype.size_bytes() as u64));
        if bytes.is_none_or(|bytes| bytes > MAX_PARAM_BYTES) {
            let message = format!("the parameter `{full}` would be {ty}");
            return Err(self.error("E0504-parameter-size", message, place, "more than 1 TiB"));
        }
        if let Some(shared) = self.shared_param(&full) {
            return self.same_param(&full, shared, &ty, place);
        }
        self.check_unique(&full, place)?;
        let init = self.initial_value(init, at)?;
        let source = self.source(init, &ty, at)?;
        self.room(place)?;
        let value = self.graph.add_param(full.as_str(), ty, source);
        self.param_only.insert(value.node);
        self.register(full, value, place);
        Ok(value)
    }

    /// `param @c.weight: T = mul(@a, @b)`: a node computed from parameters alone gets the name.
    pub fn derived_param(
        &mut self,
        full: String,
        value: Value,
        ty: &TensorType,
        param: &'a ParamDecl,
        span: Span,
    ) -> Eval<Value> {
        let found = self.graph.ty(value).clone();
        self.check_same(ty, &found, param.ty.span, param.init.span)?;
        let node = self.graph.node(value.node);
        let source = matches!(node.op, Op::Param(_) | Op::Input | Op::Const(_));
        if source {
            let message = format!("`{full}` would only be another name");
            return Err(self.error(
                "E0505-derived-parameter",
                message,
                param.init.span,
                "not an operation on parameters",
            ));
        }
        if !self.param_only.contains(&value.node) {
            let diagnostic = Diagnostic::error(
                "E0505-derived-parameter",
                format!("`{full}` is not computed from parameters alone"),
            )
            .label(param.init.span, "not an operation on parameters")
            .help("bind other tensors with `let`");
            return Err(self.report(diagnostic));
        }
        if let Some(shared) = self.shared_param(&full) {
            return self.same_param(&full, shared, ty, span);
        }
        self.check_unique(&full, param.name.span)?;
        *self.graph.node_mut(value.node).name = Some(full.as_str().into());
        self.register(full, value, param.name.span);
        Ok(value)
    }

    fn shared_param(&self, full: &str) -> Option<Value> {
        self.sharing.iter().find_map(|shared| shared.borrow().get(full).copied())
    }

    fn same_param(&mut self, full: &str, shared: Value, ty: &TensorType, place: Span) -> Eval<Value> {
        let first = self.graph.ty(shared).clone();
        if first == *ty {
            return Ok(shared);
        }
        let message = format!("the shared parameter `{full}` is {first}, but here {ty} is needed");
        let diagnostic = Diagnostic::error("E0506-shared-layer", message)
            .label(place, "another size than in the first application")
            .help("apply a shared layer to inputs of one shape");
        Err(self.report(diagnostic))
    }

    fn check_unique(&mut self, full: &str, place: Span) -> Eval<()> {
        let Some((_, first)) = self.params.get(full) else { return Ok(()) };
        let diagnostic =
            Diagnostic::error("E0507-duplicate-parameter", format!("two parameters are named `{full}`"))
                .label(place, "second parameter of this name")
                .label(*first, "first one")
                .help("label the calls differently; to share parameters, use `layer`");
        Err(self.report(diagnostic))
    }

    fn register(&mut self, full: String, value: Value, place: Span) {
        for shared in &self.sharing {
            Rc::clone(shared).borrow_mut().insert(full.clone(), value);
        }
        self.params.insert(full, (value, place));
    }

    /// Ends the elaboration when the graph is full.
    pub fn room(&mut self, span: Span) -> Eval<()> {
        self.step(4, span)?;
        if self.graph.len() < MAX_NODES {
            return Ok(());
        }
        let diagnostic =
            Diagnostic::error("E0604-too-many-nodes", format!("the model has more than {MAX_NODES} nodes"))
                .label(span, "this node is one too many")
                .help("shorten loops");
        Err(self.abort(diagnostic))
    }

    /// The initial value of a layer's parameter without one of its own: the nearest default, or the op's.
    pub fn default_init(&self, spec: &OpSpec, leaf: &str) -> Val<'a> {
        let found = self
            .defaults
            .iter()
            .rev()
            .find(|(entry, _)| entry.op.text == spec.name && entry.leaf.text == leaf);
        if let Some((_, value)) = found {
            return value.clone();
        }
        let init = match leaf {
            "weight" => Init::he_normal(),
            "slope" => Init::constant(0.25),
            "scale" | "var" => Init::constant(1.0),
            _ => Init::constant(0.0),
        };
        Val::Init(super::value::InitVal::Init(init))
    }

    /// The type of a parameter that a layer makes for an input `x`.
    pub fn layer_param_type(
        &mut self,
        spec: &OpSpec,
        leaf: &str,
        x: &TensorType,
        sizes: &LayerSizes,
        span: Span,
    ) -> Eval<TensorType> {
        let shape = match (spec.name, leaf) {
            ("conv", "weight") => {
                let inputs = self.per_group(spec, x, sizes.groups, span)?;
                let outputs = Dim::Const(self.channels(spec, sizes, span)?);
                self.kernel_shape(spec, outputs, inputs, sizes, span)?
            }
            ("conv_transpose", "weight") => {
                let inputs = self.axis_size(spec, x, 1, span)?;
                let outputs = self.channels(spec, sizes, span)?;
                if outputs % sizes.groups != 0 {
                    let message = format!("{outputs} channels do not divide into {} groups", sizes.groups);
                    return Err(self.error("E0508-layer", message, span, "in this call"));
                }
                self.kernel_shape(spec, inputs, Dim::Const(outputs / sizes.groups), sizes, span)?
            }
            ("dense", "weight") => {
                let inputs = self.axis_size(spec, x, x.rank().wrapping_sub(1), span)?;
                vec![Dim::Const(self.channels(spec, sizes, span)?), inputs]
            }
            ("conv" | "conv_transpose" | "dense", _) => vec![Dim::Const(self.channels(spec, sizes, span)?)],
            ("prelu", _) => match sizes.share {
                Share::Layer => vec![Dim::Const(1)],
                Share::Channel => vec![self.axis_size(spec, x, usize::from(x.rank() > 1), span)?],
                Share::Elementwise => x.shape.iter().skip(usize::from(x.rank() > 1)).cloned().collect(),
            },
            ("layer_norm", _) => x.shape.iter().skip(sizes.axis).cloned().collect(),
            _ => vec![self.axis_size(spec, x, 1, span)?],
        };
        Ok(TensorType::new(x.dtype, shape))
    }

    /// Channels of a convolution's output, which the call must give.
    fn channels(&mut self, spec: &OpSpec, sizes: &LayerSizes, span: Span) -> Eval<i64> {
        if let Some(channels) = sizes.channels {
            return Ok(channels);
        }
        let diagnostic =
            Diagnostic::error("E0508-layer", format!("`{}` needs the number of channels", spec.name))
                .label(span, "no `channels` given")
                .help(format!("write `{}`", spec.example));
        Err(self.report(diagnostic))
    }

    fn per_group(&mut self, spec: &OpSpec, x: &TensorType, groups: i64, span: Span) -> Eval<Dim> {
        let inputs = self.axis_size(spec, x, 1, span)?;
        match inputs.as_const() {
            Some(inputs) if inputs % groups != 0 => {
                let message = format!("{inputs} input channels do not divide into {groups} groups");
                let diagnostic = Diagnostic::error("E0508-layer", message)
                    .label(span, format!("the input is {x}"))
                    .help("the number of groups must divide input and output channels");
                Err(self.report(diagnostic))
            }
            Some(inputs) => Ok(Dim::Const(inputs / groups)),
            None => Ok(inputs),
        }
    }

    fn kernel_shape(
        &mut self,
        spec: &OpSpec,
        first: Dim,
        second: Dim,
        sizes: &LayerSizes,
        span: Span,
    ) -> Eval<Vec<Dim>> {
        if sizes.kernel.is_empty() {
            let diagnostic =
                Diagnostic::error("E0508-layer", format!("`{}` needs the size of its kernel", spec.name))
                    .label(span, "no `kernel` given")
                    .help(format!("write `{}`", spec.example));
            return Err(self.report(diagnostic));
        }
        Ok([first, second].into_iter().chain(sizes.kernel.iter().map(|size| Dim::Const(*size))).collect())
    }

    fn axis_size(&mut self, spec: &OpSpec, x: &TensorType, axis: usize, span: Span) -> Eval<Dim> {
        match x.shape.get(axis) {
            Some(dim) => Ok(dim.clone()),
            None => {
                let message = format!("`{}` does not apply to {x}", spec.name);
                Err(self.error("E0508-layer", message, span, "the input has too few axes"))
            }
        }
    }

    /// Warns of parameters whose names depend on the order of calls.
    pub fn warn_unlabelled(&mut self, own: Option<(Span, String)>) {
        let mut calls: Vec<(Span, String)> = own.into_iter().collect();
        for frame in self.frames.iter().rev() {
            calls.extend(frame.site.zip(frame.ordinal.clone()));
            if frame.fixed {
                break;
            }
        }
        for (span, name) in calls {
            let diagnostic = Diagnostic::warning("W0702-unlabelled", "parameters of a call without a label")
                .label(span, format!("named `{name}` by its order"))
                .help("label it with `as …`; otherwise the names move when layers are added");
            let _: Poisoned = self.report(diagnostic);
        }
    }
}
