//! Shape rules of elementwise operations, and broadcasting.

use super::{Cx, ShapeError};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::op::{Binary, BinaryKind, Unary};
use crate::types::{ShapeDisplay, TensorType};

/// Where two shapes do not broadcast: the axis, counted from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    from_end: usize,
}

impl Mismatch {
    /// The sizes that disagree, in words.
    pub fn describe(self, a: &[Dim], b: &[Dim]) -> String {
        let size = |s: &[Dim]| s[s.len() - self.from_end].clone();
        let which = match self.from_end {
            1 => "the last axis".to_string(),
            n => format!("axis {n} from the end"),
        };
        format!("{} and {} along {which}", size(a), size(b))
    }
}

/// The shape that both broadcast to, aligned at the end as in numpy: sizes agree or one of them is 1. Symbolic sizes
/// agree where they are the same expression.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Mismatch> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut shape = long.to_vec();
    let offset = long.len() - short.len();
    for (i, s) in short.iter().enumerate() {
        let l = &mut shape[offset + i];
        if *l == Dim::Const(1) {
            *l = s.clone();
        } else if *s != Dim::Const(1) && s != l {
            return Err(Mismatch { from_end: short.len() - i });
        }
    }
    Ok(shape)
}

pub(crate) fn unary(cx: &Cx<'_>, u: &Unary) -> Result<TensorType, ShapeError> {
    match u {
        Unary::Relu | Unary::Clip { .. } | Unary::Abs | Unary::Neg | Unary::Sign => {
            if cx.x().dtype == DType::Bool {
                return Err(cx.err(format!("{} works on numbers, not bool", cx.name())));
            }
        }
        Unary::LeakyRelu { .. }
        | Unary::Sigmoid
        | Unary::Tanh
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Reciprocal
        | Unary::Erf
        | Unary::Gelu { .. }
        | Unary::Silu
        | Unary::HardSigmoid { .. }
        | Unary::HardSwish
        | Unary::Elu { .. }
        | Unary::Softplus
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Trig(_) => cx.floats()?,
        Unary::Not if cx.x().dtype != DType::Bool => {
            return Err(cx.err(format!("not works on bool, not {}", cx.x().dtype)));
        }
        Unary::Not => {}
    }
    Ok(cx.x().clone())
}

pub(crate) fn binary(cx: &Cx<'_>, b: Binary) -> Result<TensorType, ShapeError> {
    cx.same_dtype()?;
    let (l, r) = (cx.operands[0], cx.operands[1]);
    match b {
        Binary::Pow
        | Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Div
        | Binary::Max
        | Binary::Min
        | Binary::Rem
        | Binary::Less
        | Binary::LessEqual => {
            if l.dtype == DType::Bool {
                return Err(cx.err(format!("{} works on numbers, not bool", cx.name())));
            }
        }
        Binary::Equal => {}
        Binary::And | Binary::Or | Binary::Xor => {
            if l.dtype.is_float() {
                return Err(cx
                    .err(format!("{} works on bool and integers, not {}", cx.name(), l.dtype))
                    .help("compare or `cast(to: bool)` first"));
            }
        }
        Binary::ShiftLeft | Binary::ShiftRight => {
            if !l.dtype.is_int() {
                return Err(cx.err(format!("{} works on integers, not {}", cx.name(), l.dtype)));
            }
        }
    }
    let dtype = match b.kind() {
        BinaryKind::Arithmetic | BinaryKind::Logic => l.dtype,
        BinaryKind::Comparison => DType::Bool,
    };
    Ok(TensorType::new(dtype, broadcast_all(cx, &[l, r])?))
}

/// condition, a, b
pub(crate) fn select(cx: &Cx<'_>) -> Result<TensorType, ShapeError> {
    let (condition, a, b) = (cx.operands[0], cx.operands[1], cx.operands[2]);
    if condition.dtype != DType::Bool {
        return Err(cx
            .err(format!("select needs a condition of bool, not {}", condition.dtype))
            .help("compare, for example `less(a, b)`"));
    }
    if a.dtype != b.dtype {
        return Err(
            cx.err(format!("select needs one element type, but a is {} and b is {}", a.dtype, b.dtype))
        );
    }
    Ok(TensorType::new(a.dtype, broadcast_all(cx, &[condition, a, b])?))
}

pub(crate) fn cast(cx: &Cx<'_>, to: DType) -> Result<TensorType, ShapeError> {
    Ok(TensorType::new(to, cx.x().shape.clone()))
}

/// The shape that all operands broadcast to.
fn broadcast_all(cx: &Cx<'_>, operands: &[&TensorType]) -> Result<Vec<Dim>, ShapeError> {
    let (first, rest) = operands.split_first().ok_or_else(|| cx.err("no operands"))?;
    let mut shape = first.shape.clone();
    for ty in rest {
        shape = broadcast_pair(cx, &shape, &ty.shape)?;
    }
    Ok(shape)
}

fn broadcast_pair(cx: &Cx<'_>, l: &[Dim], r: &[Dim]) -> Result<Vec<Dim>, ShapeError> {
    broadcast(l, r).map_err(|at| {
        let e = cx.err(format!(
            "{} cannot broadcast {} with {}: {}",
            cx.name(),
            ShapeDisplay(l),
            ShapeDisplay(r),
            at.describe(l, r)
        ));
        match (l, r) {
            ([_, c, _, ..], [v]) | ([v], [_, c, _, ..]) if c == v => {
                e.help(format!("shapes align at the end; a value a channel has the shape [{c}, 1, 1]"))
            }
            _ => e.help("sizes must agree or be 1"),
        }
    })
}

pub(crate) fn prelu(cx: &Cx<'_>, axes: &[usize]) -> Result<TensorType, ShapeError> {
    cx.floats()?;
    let (x, slope) = (cx.x(), cx.operands[1]);
    cx.sorted_axes(axes)?;
    if axes.len() != slope.rank() {
        return Err(cx.err(format!(
            "prelu: the slope has {} axes, but `axes` places {}",
            slope.rank(),
            axes.len()
        )));
    }
    for (s, axis) in slope.shape.iter().zip(axes) {
        if *s != Dim::Const(1) && *s != x.shape[*axis] {
            return Err(cx
                .err(format!(
                    "prelu: the slope {} has {s} elements along axis {axis} of x, which has {}",
                    ShapeDisplay(&slope.shape),
                    x.shape[*axis]
                ))
                .help(format!("a slope dimension is 1 or the size of its axis, here {}", x.shape[*axis])));
        }
    }
    Ok(x.clone())
}
