//! Constants, and operators that do nothing at inference.

use super::super::context::{Cx, Lowered};
use super::super::external::ExternalFiles;
use super::super::model::kind;
use super::super::problem::{ProblemKind, Refusal};
use super::super::proto::TensorProto;
use super::super::tensor::{RawTensor, dtype};
use super::super::values::{Elem, Known};
use rectify_ir::DType;
use rectify_ir::op::Op;

pub fn constant(cx: &mut Cx<'_, '_>) -> Lowered {
    let a = cx.attrs;
    if let Some(t) = a.tensor("value")? {
        let raw = read(t)?;
        cx.set_raw(0, raw);
        return Ok(());
    }
    let float = |v: f32| Elem::Float(f64::from(v));
    let (dtype, shape, elems) = if let Some(v) = a.opt_float("value_float")? {
        (DType::F32, vec![], vec![Elem::Float(v)])
    } else if let Some(v) = a.floats("value_floats")? {
        (DType::F32, vec![v.len()], v.iter().copied().map(float).collect())
    } else if let Some(v) = a.opt_int("value_int")? {
        (DType::I64, vec![], vec![Elem::int(v)])
    } else if let Some(v) = a.ints("value_ints")? {
        (DType::I64, vec![v.len()], v.iter().copied().map(Elem::int).collect())
    } else {
        let form = ["sparse_value", "value_string", "value_strings"].into_iter().find(|n| a.has(n));
        return Err(match form {
            Some(name) => Refusal::attribute(format!("a constant given by `{name}` is not supported")),
            None => Refusal::malformed("the constant has no value"),
        });
    };
    let n = elems.len();
    let known = Known::new(dtype, shape, elems, false)
        .ok_or_else(|| Refusal::form(format!("the constant lists {n} numbers; give it as a tensor")))?;
    cx.set_known(0, known);
    Ok(())
}

fn read(t: &TensorProto) -> Result<RawTensor, Refusal> {
    RawTensor::read(t, &mut ExternalFiles::none())
        .map_err(|e| Refusal::new(kind(&e), format!("the constant cannot be read: {e}")))
}

/// A tensor of one value. Small ones are folded before they come here.
pub fn constant_of_shape(cx: &mut Cx<'_, '_>) -> Lowered {
    let shape = cx.dims(0, "sizes")?;
    let (dtype, value) = match cx.attrs.tensor("value")? {
        None => (DType::F32, 0.0),
        Some(t) => {
            let raw = read(t)?;
            let literal = raw.to_literal();
            let value = literal.get_f64(0).filter(|_| raw.elements() == 1);
            (raw.dtype, value.ok_or_else(|| Refusal::malformed("`value` must hold one element"))?)
        }
    };
    let y = match shape.iter().all(|d| d.as_const().is_some()) {
        true => cx.filled(dtype, shape, value),
        false => {
            let one = cx.literal(dtype, &[1], &mut std::iter::once(value));
            cx.push(Op::Expand { shape }, &[one])?
        }
    };
    cx.set(0, y);
    Ok(())
}

pub fn identity(cx: &mut Cx<'_, '_>) -> Lowered {
    cx.set_alias(0, 0)
}

/// The identity at inference; the mask, if asked for, keeps everything.
pub fn dropout(cx: &mut Cx<'_, '_>) -> Lowered {
    let ratio = if cx.version < 12 {
        cx.attrs.float("ratio", 0.5)?
    } else {
        cx.attrs.ignore(&["seed"]);
        let training = cx.has(2) && cx.ints(2, "training mode")?.first().is_some_and(|v| *v != 0);
        let given = match (cx.has(1), training) {
            (false, _) => Some(0.5),
            (true, false) => cx.known_number(1)?,
            (true, true) => cx.floats(1, "ratio")?.first().copied(),
        };
        if training && given != Some(0.0) {
            return Err(Refusal::form("dropout in training mode is random")
                .help("export the model in inference mode"));
        }
        given.unwrap_or(0.5)
    };
    if cx.wants(1) {
        let ty = cx.ty(0)?;
        let dtype = if cx.version < 10 { ty.dtype } else { DType::Bool };
        let mask = cx.filled(dtype, ty.shape, 1.0);
        cx.set(1, mask);
    }
    if !(0.0..1.0).contains(&ratio) || ratio == 0.0 {
        return cx.set_alias(0, 0);
    }
    let x = cx.value(0)?;
    let y = cx.push(Op::Dropout { p: ratio.into() }, &[x])?;
    cx.set(0, y);
    Ok(())
}

/// A conversion to the type that an attribute or, for `CastLike`, the second input names.
pub fn cast(cx: &mut Cx<'_, '_>) -> Lowered {
    cx.attrs.ignore(&["saturate", "round_mode"]);
    let to = if cx.op == "CastLike" {
        cx.ty(1)?.dtype
    } else {
        let code = cx.attrs.need_int("to")?;
        let code = i32::try_from(code).map_err(|_| Refusal::malformed(format!("`to` is {code}")))?;
        dtype(code).map_err(|e| Refusal::new(ProblemKind::UnsupportedType, e.to_string()))?
    };
    let from = cx.ty(0)?.dtype;
    if from == to {
        return cx.set_alias(0, 0);
    }
    let x = cx.value(0)?;
    let y = cx.cast(x, to)?;
    cx.set(0, y);
    Ok(())
}
