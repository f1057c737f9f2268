//! Attributes as data: what the parser hands to an operation, and what the printer writes of it.

mod order;
mod resize;
mod selection;

use super::*;
use crate::dim::{DimError, DimFacts};
use crate::dtype::DType;
use crate::types::TensorType;
use std::collections::BTreeMap;

/// The value of an attribute as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AttrValue {
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A bare word such as `same` or `dcr`.
    Word(String),
    /// A symbolic size.
    Dim(Dim),
    List(Vec<AttrValue>),
}

/// Attributes by name.
pub type Attrs = BTreeMap<String, AttrValue>;

/// Why attributes do not make an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AttrError {
    /// The attribute at fault, if it is one.
    pub attr: Option<String>,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl AttrError {
    fn at(attr: &str, message: impl Into<String>) -> AttrError {
        AttrError { attr: Some(attr.into()), message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> AttrError {
        self.help = Some(help.into());
        self
    }
}

impl From<DimError> for AttrError {
    fn from(e: DimError) -> AttrError {
        AttrError { attr: None, message: e.to_string(), help: None }
    }
}

impl AttrValue {
    fn describe(&self) -> String {
        match self {
            AttrValue::Int(v) => v.to_string(),
            AttrValue::Float(v) => Scalar(*v).to_string(),
            AttrValue::Bool(v) => v.to_string(),
            AttrValue::Word(w) => w.clone(),
            AttrValue::Dim(d) => d.to_string(),
            AttrValue::List(l) => {
                format!("[{}]", l.iter().map(AttrValue::describe).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Reads attributes of one call; defaults stand in the code that asks.
struct Reader<'a> {
    attrs: &'a Attrs,
    /// Types of the operands that are there, data first.
    operands: &'a [&'a TensorType],
    facts: &'a DimFacts,
}

impl Reader<'_> {
    fn need(&self, name: &str) -> Result<&AttrValue, AttrError> {
        self.attrs.get(name).ok_or_else(|| {
            AttrError::at(name, format!("`{name}` is missing")).help(format!("give it: `{name}: …`"))
        })
    }

    fn x(&self) -> Result<&TensorType, AttrError> {
        self.operands.first().copied().ok_or_else(|| AttrError {
            attr: None,
            message: "the operand is missing".into(),
            help: None,
        })
    }

    fn spatial_rank(&self) -> Result<usize, AttrError> {
        let x = self.x()?;
        x.rank().checked_sub(2).filter(|r| *r > 0).ok_or_else(|| AttrError {
            attr: None,
            message: format!("the input {x} has no spatial axes"),
            help: Some("an image tensor is [N, C, H, W], a sequence [N, C, L]".into()),
        })
    }

    fn int(&self, name: &str, v: &AttrValue) -> Result<i64, AttrError> {
        match v {
            AttrValue::Int(i) => Ok(*i),
            AttrValue::Dim(Dim::Const(c)) => Ok(*c),
            _ => Err(AttrError::at(name, format!("`{name}` must be an integer, not {}", v.describe()))),
        }
    }

    fn float(&self, name: &str, default: f64) -> Result<Scalar, AttrError> {
        match self.attrs.get(name) {
            None => Ok(Scalar(default)),
            Some(AttrValue::Float(v)) => Ok(Scalar(*v)),
            Some(AttrValue::Int(v)) => Ok(Scalar(*v as f64)),
            Some(v) => Err(AttrError::at(name, format!("`{name}` must be a number, not {}", v.describe()))),
        }
    }

    fn bool(&self, name: &str) -> Result<bool, AttrError> {
        match self.attrs.get(name) {
            None => Ok(false),
            Some(AttrValue::Bool(b)) => Ok(*b),
            Some(v) => {
                Err(AttrError::at(name, format!("`{name}` must be true or false, not {}", v.describe())))
            }
        }
    }

    fn word<T: Clone>(&self, name: &str, words: &[(&str, T)]) -> Result<T, AttrError> {
        let choices = || words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
        match self.attrs.get(name) {
            None => Ok(words[0].1.clone()),
            Some(AttrValue::Word(w)) => words
                .iter()
                .find(|(n, _)| n == w)
                .map(|(_, v)| v.clone())
                .ok_or_else(|| AttrError::at(name, format!("`{name}` is one of {}, not {w}", choices()))),
            Some(v) => {
                Err(AttrError::at(name, format!("`{name}` is one of {}, not {}", choices(), v.describe())))
            }
        }
    }

    fn dtype(&self, name: &str) -> Result<DType, AttrError> {
        let v = self.need(name)?;
        let AttrValue::Word(w) = v else {
            return Err(AttrError::at(
                name,
                format!("`{name}` must be an element type, not {}", v.describe()),
            ));
        };
        let error =
            || AttrError::at(name, format!("there is no element type {w}")).help("for example f32 or bool");
        DType::from_name(w).ok_or_else(error)
    }

    fn ints(&self, name: &str) -> Result<Vec<i64>, AttrError> {
        match self.need(name)? {
            AttrValue::List(l) => l.iter().map(|v| self.int(name, v)).collect(),
            v => Ok(vec![self.int(name, v)?]),
        }
    }

    fn dims(&self, name: &str) -> Result<Vec<Dim>, AttrError> {
        let dim = |v: &AttrValue| match v {
            AttrValue::Dim(d) => Ok(d.clone()),
            v => self.int(name, v).map(Dim::Const),
        };
        match self.need(name)? {
            AttrValue::List(l) => l.iter().map(dim).collect(),
            v => Ok(vec![dim(v)?]),
        }
    }

    /// One value for all spatial axes, or one each; at least `min`.
    fn spatial(&self, name: &str, default: i64, min: i64) -> Result<Vec<i64>, AttrError> {
        let rank = self.spatial_rank()?;
        let values = match self.attrs.get(name) {
            None => vec![default; rank],
            Some(AttrValue::List(_)) => self.ints(name)?,
            Some(v) => vec![self.int(name, v)?; rank],
        };
        if values.len() != rank {
            return Err(AttrError::at(
                name,
                format!("`{name}` has {} entries for {rank} spatial axes", values.len()),
            ));
        }
        match values.iter().find(|v| **v < min || **v > 1 << 24) {
            Some(v) => Err(AttrError::at(name, format!("`{name}` must be at least {min}, not {v}"))),
            None => Ok(values),
        }
    }

    fn padding(&self) -> Result<Padding, AttrError> {
        let rank = self.spatial_rank()?;
        let amounts = match self.attrs.get("pad") {
            None => vec![0; 2 * rank],
            Some(AttrValue::Word(w)) => {
                return match w.as_str() {
                    "same" => Ok(Padding::SameUpper),
                    "same_lower" => Ok(Padding::SameLower),
                    _ => Err(AttrError::at("pad", format!("`pad` cannot be {w}"))
                        .help("write amounts, `same` or `same_lower`")),
                };
            }
            Some(AttrValue::List(_)) => {
                let amounts = self.ints("pad")?;
                if amounts.len() == rank { [amounts.clone(), amounts].concat() } else { amounts }
            }
            Some(v) => vec![self.int("pad", v)?; 2 * rank],
        };
        if amounts.len() != 2 * rank {
            return Err(AttrError::at("pad", format!("`pad` has {} amounts", amounts.len())).help(format!(
                "one for all, {rank} (an axis each), or {} (before each, after each)",
                2 * rank
            )));
        }
        match amounts.iter().find(|v| **v < 0 || **v > 1 << 24) {
            Some(v) => Err(AttrError::at("pad", format!("`pad` must not be negative or huge: {v}"))),
            None => Ok(Padding::Explicit(amounts)),
        }
    }

    fn one_axis(&self, name: &str, v: i64) -> Result<usize, AttrError> {
        let x = self.x()?;
        let rank = x.rank() as i64;
        if !(-rank..rank).contains(&v) {
            return Err(AttrError::at(name, format!("axis {v} is outside of {x}, which has {rank} axes")));
        }
        Ok(v.rem_euclid(rank) as usize)
    }

    fn axis(&self, default: i64) -> Result<usize, AttrError> {
        let v = self.attrs.get("axis").map_or(Ok(default), |v| self.int("axis", v))?;
        self.one_axis("axis", v)
    }

    fn axes(&self, name: &str) -> Result<Vec<usize>, AttrError> {
        let axes =
            self.ints(name)?.into_iter().map(|v| self.one_axis(name, v)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != axes.len() {
            return Err(AttrError::at(name, format!("`{name}` names an axis twice")));
        }
        Ok(axes)
    }

    fn sorted_axes(&self) -> Result<Vec<usize>, AttrError> {
        let mut axes = self.axes("axes")?;
        axes.sort_unstable();
        Ok(axes)
    }

    fn conv(&self) -> Result<ConvAttrs, AttrError> {
        Ok(ConvAttrs {
            stride: self.spatial("stride", 1, 1)?,
            pad: self.padding()?,
            dilation: self.spatial("dilation", 1, 1)?,
            groups: self.groups()?,
        })
    }

    fn groups(&self) -> Result<i64, AttrError> {
        let groups = self.attrs.get("groups").map_or(Ok(1), |v| self.int("groups", v))?;
        if groups < 1 {
            return Err(AttrError::at("groups", format!("`groups` must be at least 1, not {groups}")));
        }
        Ok(groups)
    }

    fn pool(&self) -> Result<PoolAttrs, AttrError> {
        self.need("kernel")?;
        let kernel = self.spatial("kernel", 1, 1)?;
        let stride =
            if self.attrs.contains_key("stride") { self.spatial("stride", 1, 1)? } else { kernel.clone() };
        Ok(PoolAttrs {
            kernel,
            stride,
            pad: self.padding()?,
            dilation: self.spatial("dilation", 1, 1)?,
            ceil: self.bool("ceil")?,
        })
    }

    fn reduce(&self, kind: ReduceKind) -> Result<Op, AttrError> {
        Ok(Op::Reduce { kind, axes: self.sorted_axes()?, keep: self.bool("keep")? })
    }

    fn global(&self, kind: ReduceKind) -> Result<Op, AttrError> {
        Ok(Op::Reduce { kind, axes: (2..2 + self.spatial_rank()?).collect(), keep: true })
    }

    fn reshape(&self) -> Result<Op, AttrError> {
        let mut shape = self.dims("shape")?;
        let unknown: Vec<_> = (0..shape.len()).filter(|i| shape[*i] == Dim::Const(-1)).collect();
        match unknown.as_slice() {
            [] => {}
            [at] => {
                let known = Dim::product(shape.iter().filter(|d| **d != Dim::Const(-1)))?;
                let x = self.x()?;
                shape[*at] = x.elements()?.div_exact(&known, self.facts).map_err(|e| {
                    AttrError::at("shape", format!("the size -1 cannot be found for {x}: {e}"))
                })?;
            }
            _ => return Err(AttrError::at("shape", "only one size may be -1")),
        }
        Ok(Op::Reshape { shape })
    }

    fn slice(&self) -> Result<Op, AttrError> {
        let axes = self.axes("axes")?;
        let (starts, ends) = (self.dims("starts")?, self.dims("ends")?);
        let steps = if self.attrs.contains_key("steps") { self.ints("steps")? } else { vec![1; axes.len()] };
        if starts.len() != axes.len() || ends.len() != axes.len() || steps.len() != axes.len() {
            return Err(AttrError::at("axes", "`axes`, `starts`, `ends` and `steps` differ in length"));
        }
        if let Some(s) = steps.iter().find(|s| **s == 0 || s.unsigned_abs() > 1 << 40) {
            return Err(AttrError::at("steps", format!("a step cannot be {s}")));
        }
        // A negative constant counts from the end; what lies outside of the axis is clamped to it.
        let x = self.x()?;
        let place = |d: Dim, axis: usize, step: i64, is_end: bool| -> Result<Dim, AttrError> {
            let size = &x.shape[axis];
            let from_end = match d.as_const() {
                Some(c) if c < 0 && !(is_end && step < 0 && c == -1) => Dim::Const(c).add(size)?,
                _ => d.clone(),
            };
            let (low, high) = match (step > 0, is_end) {
                (true, _) => (Dim::Const(0), size.clone()),
                (false, true) => (Dim::Const(-1), size.sub(&Dim::Const(1))?),
                (false, false) => (Dim::Const(0), size.sub(&Dim::Const(1))?),
            };
            // What exporters write for "to the end" and, with a negative step, for "to the beginning".
            match d.as_const() {
                Some(c) if c >= i64::from(i32::MAX) => return Ok(high),
                Some(c) if c <= i64::from(i32::MIN) => return Ok(low),
                Some(_) | None => {}
            }
            let below = low.sub(&from_end)?.bounds(self.facts);
            let above = from_end.sub(&high)?.bounds(self.facts);
            match (below, above) {
                // In the axis for every legal size; at an end that lies before its start, the slice is empty.
                ((_, Some(..=0)), (_, Some(..=0))) => Ok(from_end),
                ((Some(0..), _), _) => Ok(low),
                (_, (Some(0..), _)) => Ok(high),
                _ => {
                    let name = if is_end { "ends" } else { "starts" };
                    let message = format!("{from_end} may lie outside of the axis of size {size}");
                    let help =
                        format!("say in the `where` clause how large {size} is, for example `{size} >= 8`");
                    Err(AttrError::at(name, message).help(help))
                }
            }
        };
        let zip = |dims: Vec<Dim>, is_end| -> Result<Vec<Dim>, AttrError> {
            dims.into_iter().zip(&axes).zip(&steps).map(|((d, a), s)| place(d, *a, *s, is_end)).collect()
        };
        Ok(Op::Slice { starts: zip(starts, false)?, ends: zip(ends, true)?, axes: axes.clone(), steps })
    }

    fn pad(&self) -> Result<Op, AttrError> {
        let rank = self.x()?.rank();
        let pads = self.ints("pads")?;
        if pads.len() != 2 * rank {
            return Err(AttrError::at("pads", format!("`pads` has {} amounts for {rank} axes", pads.len()))
                .help(format!("give {}: before each axis, then after each axis", 2 * rank)));
        }
        if let Some(p) = pads.iter().find(|p| p.unsigned_abs() > 1 << 40) {
            return Err(AttrError::at("pads", format!("a pad cannot be {p}")));
        }
        let value = self.float("value", 0.0)?;
        let mode = self.word(
            "mode",
            &[
                ("constant", PadMode::Constant(value)),
                ("reflect", PadMode::Reflect),
                ("edge", PadMode::Edge),
                ("wrap", PadMode::Wrap),
            ],
        )?;
        Ok(Op::Pad { pads, mode })
    }

    fn positive(&self, name: &str) -> Result<usize, AttrError> {
        let v = self.int(name, self.need(name)?)?;
        usize::try_from(v)
            .ok()
            .filter(|v| (1..=1 << 16).contains(v))
            .ok_or_else(|| AttrError::at(name, format!("`{name}` must be at least 1, not {v}")))
    }

    /// A small number that is not negative.
    fn count(&self, name: &str, default: usize) -> Result<usize, AttrError> {
        let Some(v) = self.attrs.get(name) else { return Ok(default) };
        let v = self.int(name, v)?;
        usize::try_from(v).ok().filter(|v| *v <= 1 << 16).ok_or_else(|| {
            AttrError::at(name, format!("`{name}` must not be negative or above 65536, as {v} is"))
        })
    }

    fn prelu(&self) -> Result<Op, AttrError> {
        if self.attrs.contains_key("axes") {
            return Ok(Op::Prelu { axes: self.axes("axes")? });
        }
        let (x, slope) = (self.x()?, self.operands.get(1));
        let axes = match slope.map_or(1, |s| s.rank()) {
            // A vector runs along the channels, as everywhere in the field; other ranks align at the end.
            1 if x.rank() > 1 => vec![1],
            r if r <= x.rank() => (x.rank() - r..x.rank()).collect(),
            r => {
                return Err(AttrError::at(
                    "slope",
                    format!("the slope has {r} axes, more than the input {x}"),
                ));
            }
        };
        Ok(Op::Prelu { axes })
    }
}

impl Op {
    /// Builds the operation named `name` from attributes, for operands of the given types (those that are there).
    /// Defaults stand in [`table::OPS`]. Attributes that the operation does not have are not looked at: whoever reads
    /// them from a file compares them with [`OpSpec::attrs`] first.
    pub fn build(
        name: &str,
        attrs: &Attrs,
        operands: &[&TensorType],
        facts: &DimFacts,
    ) -> Result<Op, AttrError> {
        let r = Reader { attrs, operands, facts };
        let unary = |u| Ok(Op::Unary(u));
        match name {
            "conv" => Ok(Op::Conv(r.conv()?)),
            "conv_weight_grad" => {
                r.need("kernel")?;
                Ok(Op::ConvWeightGrad { conv: r.conv()?, kernel: r.spatial("kernel", 1, 1)? })
            }
            "conv_transpose" => {
                let ConvAttrs { stride, pad, dilation, groups } = r.conv()?;
                let output_pad = r.spatial("output_pad", 0, 0)?;
                Ok(Op::ConvTranspose(ConvTransposeAttrs { stride, pad, dilation, groups, output_pad }))
            }
            "dense" => Ok(Op::Dense),
            "matmul" => Ok(Op::MatMul),
            "prelu" => r.prelu(),
            "relu" => unary(Unary::Relu),
            "leaky_relu" => unary(Unary::LeakyRelu { alpha: r.float("alpha", 0.01)? }),
            "clip" => unary(Unary::Clip {
                min: r.float("min", f64::NEG_INFINITY)?,
                max: r.float("max", f64::INFINITY)?,
            }),
            "relu6" => unary(Unary::Clip { min: Scalar(0.0), max: Scalar(6.0) }),
            "elu" => unary(Unary::Elu { alpha: r.float("alpha", 1.0)? }),
            "gelu" => unary(Unary::Gelu { tanh: r.bool("tanh")? }),
            "silu" => unary(Unary::Silu),
            "hard_swish" => unary(Unary::HardSwish),
            "softplus" => unary(Unary::Softplus),
            "sigmoid" => unary(Unary::Sigmoid),
            "hard_sigmoid" => {
                unary(Unary::HardSigmoid { alpha: r.float("alpha", 0.2)?, beta: r.float("beta", 0.5)? })
            }
            "tanh" => unary(Unary::Tanh),
            "exp" => unary(Unary::Exp),
            "log" => unary(Unary::Log),
            "sqrt" => unary(Unary::Sqrt),
            "abs" => unary(Unary::Abs),
            "neg" => unary(Unary::Neg),
            "reciprocal" => unary(Unary::Reciprocal),
            "erf" => unary(Unary::Erf),
            "floor" => unary(Unary::Floor),
            "ceil" => unary(Unary::Ceil),
            "round" => unary(Unary::Round),
            "sign" => unary(Unary::Sign),
            "not" => unary(Unary::Not),
            "sin" | "cos" | "tan" | "asin" | "acos" | "atan" | "sinh" | "cosh" | "asinh" | "acosh"
            | "atanh" => match Trig::find(name) {
                Some(f) => unary(Unary::Trig(f)),
                None => Err(AttrError::at("", format!("there is no `{name}`"))),
            },
            "select" => Ok(Op::Select),
            "cast" => Ok(Op::Cast { to: r.dtype("to")? }),
            "batch_norm" => Ok(Op::BatchNorm { eps: r.float("eps", 1e-5)? }),
            "layer_norm" => Ok(Op::LayerNorm { axis: r.axis(-1)?, eps: r.float("eps", 1e-5)? }),
            "instance_norm" => Ok(Op::InstanceNorm { eps: r.float("eps", 1e-5)? }),
            "max_pool" => Ok(Op::MaxPool(r.pool()?)),
            "max_pool_grad" => Ok(Op::MaxPoolGrad(r.pool()?)),
            "avg_pool" => {
                Ok(Op::AvgPool { pool: r.pool()?, count_include_pad: r.bool("count_include_pad")? })
            }
            "global_avg_pool" => r.global(ReduceKind::Mean),
            "global_max_pool" => r.global(ReduceKind::Max),
            "spp" => {
                let bins = r.ints("bins")?.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
                match bins {
                    Ok(bins) if !bins.is_empty() && bins.iter().all(|b| (1..=4096).contains(b)) => {
                        Ok(Op::Spp { bins })
                    }
                    _ => Err(AttrError::at("bins", "`bins` must be a list of positive integers")
                        .help("for example `spp(bins: [7, 3, 2, 1])`")),
                }
            }
            "softmax" => Ok(Op::Softmax { axis: r.axis(1)? }),
            "reduce_sum" => r.reduce(ReduceKind::Sum),
            "reduce_mean" => r.reduce(ReduceKind::Mean),
            "reduce_max" => r.reduce(ReduceKind::Max),
            "reduce_min" => r.reduce(ReduceKind::Min),
            "reduce_prod" => r.reduce(ReduceKind::Prod),
            "expand" => Ok(Op::Expand { shape: r.dims("shape")? }),
            "gather" => Ok(Op::Gather { axis: r.axis(0)? }),
            "gather_elements" => Ok(Op::GatherElements { axis: r.axis(0)? }),
            "gather_nd" => Ok(Op::GatherNd { batch: r.count("batch", 0)? }),
            "scatter_elements" => {
                Ok(Op::ScatterElements { axis: r.axis(0)?, reduction: r.scatter_reduction()? })
            }
            "scatter_nd" => Ok(Op::ScatterNd { reduction: r.scatter_reduction()? }),
            "arg_max" => r.arg_reduce(ArgKind::Max),
            "arg_min" => r.arg_reduce(ArgKind::Min),
            "arg_sort" => r.arg_sort(),
            "cumsum" => r.cumulate(CumulateKind::Sum),
            "cumprod" => r.cumulate(CumulateKind::Prod),
            "max_pool_indices" => Ok(Op::MaxPoolIndices(r.pool()?)),
            "cut" => r.cut(),
            "nonzero" => Ok(Op::NonZero),
            "non_max_suppression" => r.non_max_suppression(),
            "concat" => Ok(Op::Concat { axis: r.axis(1)? }),
            "split" => Ok(Op::Split { axis: r.axis(1)?, sizes: r.dims("sizes")? }),
            "slice" => r.slice(),
            "pad" => r.pad(),
            "transpose" => Ok(Op::Transpose { perm: r.axes("perm")? }),
            "reshape" => r.reshape(),
            "flatten" => {
                let (x, axis) = (r.x()?, r.axis(1)?);
                let (outer, inner) = x.shape.split_at(axis);
                Ok(Op::Reshape { shape: vec![Dim::product(outer)?, Dim::product(inner)?] })
            }
            "depth_to_space" => Ok(Op::DepthToSpace {
                block: r.positive("block")?,
                mode: r.word("mode", &[("dcr", DepthMode::Dcr), ("crd", DepthMode::Crd)])?,
            }),
            "resize" => r.resize(),
            "dropout" => {
                let p = r.float("p", 0.5)?;
                if (0.0..1.0).contains(&p.0) {
                    Ok(Op::Dropout { p })
                } else {
                    Err(AttrError::at("p", format!("`p` must be in 0..1, not {p}")))
                }
            }
            "map" => Ok(Op::Map),
            _ => match Binary::ALL.into_iter().find(|b| b.name() == name) {
                Some(b) => Ok(Op::Binary(b)),
                None => Err(AttrError {
                    attr: None,
                    message: format!("there is no operation `{name}`"),
                    help: None,
                }),
            },
        }
    }

    /// The attributes that, with the same operand types, [`Op::build`] turns into this operation. All of them,
    /// explicit: what a dump shows.
    pub fn attrs(&self) -> Vec<(&'static str, AttrValue)> {
        use AttrValue::{Bool, Float, Int, List};
        let ints = |v: &[i64]| List(v.iter().map(|i| Int(*i)).collect());
        let usizes = |v: &[usize]| List(v.iter().map(|i| Int(*i as i64)).collect());
        let dims = |v: &[Dim]| List(v.iter().map(|d| AttrValue::Dim(d.clone())).collect());
        let word = |w: &str| AttrValue::Word(w.to_string());
        let pad = |p: &Padding| match p {
            Padding::Explicit(v) => ints(v),
            Padding::SameUpper => word("same"),
            Padding::SameLower => word("same_lower"),
        };
        let conv = |c: &ConvAttrs| {
            vec![
                ("stride", ints(&c.stride)),
                ("pad", pad(&c.pad)),
                ("dilation", ints(&c.dilation)),
                ("groups", Int(c.groups)),
            ]
        };
        let pool = |p: &PoolAttrs| {
            vec![
                ("kernel", ints(&p.kernel)),
                ("stride", ints(&p.stride)),
                ("pad", pad(&p.pad)),
                ("dilation", ints(&p.dilation)),
                ("ceil", Bool(p.ceil)),
            ]
        };
        match self {
            Op::Input
            | Op::Param(_)
            | Op::Const(_)
            | Op::Dense
            | Op::MatMul
            | Op::Binary(_)
            | Op::Select
            | Op::NonZero
            | Op::Map => vec![],
            Op::Cast { to } => vec![("to", word(&to.to_string()))],
            Op::Conv(c) => conv(c),
            Op::ConvWeightGrad { conv: c, kernel } => {
                let mut attrs = vec![("kernel", ints(kernel))];
                attrs.extend(conv(c));
                attrs
            }
            Op::ConvTranspose(c) => vec![
                ("stride", ints(&c.stride)),
                ("pad", pad(&c.pad)),
                ("dilation", ints(&c.dilation)),
                ("groups", Int(c.groups)),
                ("output_pad", ints(&c.output_pad)),
            ],
            Op::Unary(u) => match u {
                Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![("alpha", Float(alpha.0))],
                Unary::Clip { min, max } => vec![("min", Float(min.0)), ("max", Float(max.0))],
                Unary::Gelu { tanh } => vec![("tanh", Bool(*tanh))],
                Unary::HardSigmoid { alpha, beta } => {
                    vec![("alpha", Float(alpha.0)), ("beta", Float(beta.0))]
                }
                Unary::Relu
                | Unary::Sigmoid
                | Unary::Tanh
                | Unary::Exp
                | Unary::Log
                | Unary::Sqrt
                | Unary::Abs
                | Unary::Neg
                | Unary::Reciprocal
                | Unary::Erf
                | Unary::Silu
                | Unary::HardSwish
                | Unary::Softplus
                | Unary::Floor
                | Unary::Ceil
                | Unary::Round
                | Unary::Sign
                | Unary::Not
                | Unary::Trig(_) => vec![],
            },
            Op::Prelu { axes } => vec![("axes", usizes(axes))],
            Op::BatchNorm { eps } | Op::InstanceNorm { eps } => vec![("eps", Float(eps.0))],
            Op::LayerNorm { axis, eps } => vec![("axis", Int(*axis as i64)), ("eps", Float(eps.0))],
            Op::MaxPool(p) | Op::MaxPoolGrad(p) | Op::MaxPoolIndices(p) => pool(p),
            Op::AvgPool { pool: p, count_include_pad } => {
                let mut attrs = pool(p);
                attrs.push(("count_include_pad", Bool(*count_include_pad)));
                attrs
            }
            Op::Spp { bins } => vec![("bins", usizes(bins))],
            Op::Softmax { axis }
            | Op::Concat { axis }
            | Op::Gather { axis }
            | Op::GatherElements { axis } => vec![("axis", Int(*axis as i64))],
            Op::ScatterElements { axis, reduction } => {
                vec![("axis", Int(*axis as i64)), ("reduction", word(order::scatter_word(*reduction)))]
            }
            Op::ScatterNd { reduction } => vec![("reduction", word(order::scatter_word(*reduction)))],
            Op::ArgReduce { kind: _, axis, keep, last } => {
                vec![("axis", Int(*axis as i64)), ("keep", Bool(*keep)), ("last", Bool(*last))]
            }
            Op::ArgSort { axis, count, descending } => vec![
                ("axis", Int(*axis as i64)),
                ("count", AttrValue::Dim(count.clone())),
                ("descending", Bool(*descending)),
            ],
            Op::Cumulate { kind: _, axis, exclusive, reverse } => vec![
                ("axis", Int(*axis as i64)),
                ("exclusive", Bool(*exclusive)),
                ("reverse", Bool(*reverse)),
            ],
            Op::Cut { axis, size } => {
                vec![("axis", Int(*axis as i64)), ("size", AttrValue::Dim(size.clone()))]
            }
            Op::NonMaxSuppression { centre, limit } => {
                vec![("limit", AttrValue::Dim(limit.clone())), ("centre", Bool(*centre))]
            }
            Op::GatherNd { batch } => vec![("batch", Int(*batch as i64))],
            Op::Reduce { kind: _, axes, keep } => vec![("axes", usizes(axes)), ("keep", Bool(*keep))],
            Op::Split { axis, sizes } => vec![("axis", Int(*axis as i64)), ("sizes", dims(sizes))],
            Op::Slice { axes, starts, ends, steps } => vec![
                ("axes", usizes(axes)),
                ("starts", dims(starts)),
                ("ends", dims(ends)),
                ("steps", ints(steps)),
            ],
            Op::Pad { pads, mode } => {
                let mut attrs = vec![("pads", ints(pads))];
                match mode {
                    PadMode::Constant(v) => {
                        attrs.extend([("mode", word("constant")), ("value", Float(v.0))]);
                    }
                    PadMode::Reflect => attrs.push(("mode", word("reflect"))),
                    PadMode::Edge => attrs.push(("mode", word("edge"))),
                    PadMode::Wrap => attrs.push(("mode", word("wrap"))),
                }
                attrs
            }
            Op::Transpose { perm } => vec![("perm", usizes(perm))],
            Op::Reshape { shape } | Op::Expand { shape } => vec![("shape", dims(shape))],
            Op::DepthToSpace { block, mode } => {
                let mode = match mode {
                    DepthMode::Dcr => "dcr",
                    DepthMode::Crd => "crd",
                };
                vec![("block", Int(*block as i64)), ("mode", word(mode))]
            }
            Op::Resize(a) => resize::resize_attrs(a),
            Op::Dropout { p } => vec![("p", Float(p.0))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slices axis 1 of [1, W] with W >= 4.
    fn slice(starts: i64, ends: i64, step: i64) -> Result<(String, String), String> {
        let mut facts = DimFacts::default();
        facts.entry("W").min = 4;
        let x = TensorType::f32([Dim::Const(1), Dim::sym("W")]);
        let int = |v| AttrValue::List(vec![AttrValue::Int(v)]);
        let attrs = [("axes", int(1)), ("starts", int(starts)), ("ends", int(ends)), ("steps", int(step))];
        let attrs = attrs.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        match Op::build("slice", &attrs, &[&x], &facts) {
            Ok(Op::Slice { starts, ends, .. }) => Ok((starts[0].to_string(), ends[0].to_string())),
            Ok(op) => Err(op.name().into()),
            Err(e) => Err(e.message),
        }
    }

    #[test]
    fn slices_of_symbolic_axes_stay_inside() {
        let ok = |a: &str, b: &str| Ok((a.to_string(), b.to_string()));
        assert_eq!(slice(1, -1, 1), ok("1", "W - 1"));
        assert_eq!(slice(-4, i64::MAX, 1), ok("W - 4", "W"));
        assert_eq!(slice(-1, i64::MIN / 4, -1), ok("W - 1", "-1"));
        assert!(slice(0, 1000, 1).unwrap_err().contains("may lie outside"));
        assert!(slice(-5, i64::MAX, 1).unwrap_err().contains("may lie outside"));
    }
}
