//! Functions of single elements: rectifiers and their kin.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Op, Trig, Unary};
use rectify_ir::scalar::Scalar;
use rectify_ir::{Dim, TensorType, Value};

/// Operators that are one operation of the graph.
pub fn unary(cx: &mut Cx<'_, '_>) -> Lowered {
    let a = cx.attrs;
    let u = match cx.op {
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::LeakyRelu { alpha: a.float("alpha", 0.01)?.into() },
        "Elu" => Unary::Elu { alpha: a.float("alpha", 1.0)?.into() },
        "Sigmoid" => Unary::Sigmoid,
        "HardSigmoid" => {
            Unary::HardSigmoid { alpha: a.float("alpha", 0.2)?.into(), beta: a.float("beta", 0.5)?.into() }
        }
        "HardSwish" => Unary::HardSwish,
        "Gelu" => Unary::Gelu { tanh: a.word("approximate", &[("none", false), ("tanh", true)])? },
        "Softplus" => Unary::Softplus,
        "Tanh" => Unary::Tanh,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Abs" => Unary::Abs,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        "Erf" => Unary::Erf,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        op => return Err(Refusal::form(format!("{op} is no function of one tensor"))),
    };
    let x = cx.value(0)?;
    let y = cx.unary(u, x)?;
    cx.set(0, y);
    Ok(())
}

/// Circular and hyperbolic functions, which the graph has under the same names.
pub fn trig(cx: &mut Cx<'_, '_>) -> Lowered {
    let f = Trig::find(&cx.op.to_ascii_lowercase());
    let f = f.ok_or_else(|| Refusal::form(format!("{} is no function of an angle", cx.op)))?;
    let x = cx.value(0)?;
    let y = cx.unary(Unary::Trig(f), x)?;
    cx.set(0, y);
    Ok(())
}

/// Bounds are attributes before operator set 11, then inputs. Bounds that are computed make a max and a min.
pub fn clip(cx: &mut Cx<'_, '_>) -> Lowered {
    let mut y = cx.value(0)?;
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    if cx.version < 11 {
        low = cx.attrs.opt_float("min")?.unwrap_or(low);
        high = cx.attrs.opt_float("max")?.unwrap_or(high);
    } else {
        let float = cx.ty(0)?.dtype.is_float();
        let known = [1, 2].map(|i| if cx.has(i) { cx.known_number(i).map(Some) } else { Ok(None) });
        let [min, max] = known;
        match (min?, max?) {
            // Both are numbers or absent.
            (None | Some(Some(_)), None | Some(Some(_))) if float => {
                low = if cx.has(1) { cx.known_number(1)?.unwrap_or(low) } else { low };
                high = if cx.has(2) { cx.known_number(2)?.unwrap_or(high) } else { high };
            }
            _ => {
                for (i, b) in [(1, Binary::Max), (2, Binary::Min)] {
                    if let Some(bound) = cx.opt_value(i)? {
                        y = cx.binary(b, y, bound)?;
                    }
                }
                if !cx.has(1) && !cx.has(2) {
                    return cx.set_alias(0, 0);
                }
                cx.set(0, y);
                return Ok(());
            }
        }
    }
    if low == f64::NEG_INFINITY && high == f64::INFINITY {
        return cx.set_alias(0, 0);
    }
    let y = cx.unary(Unary::Clip { min: low.into(), max: high.into() }, y)?;
    cx.set(0, y);
    Ok(())
}

/// The slope broadcasts to x from the end. Where it does not, a vector of one element a channel is meant, as the first
/// versions and many exporters have it.
pub fn prelu(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, mut slope) = (cx.value(0)?, cx.value(1)?);
    let x_ty = cx.type_of(x).clone();
    let mut shape = cx.type_of(slope).shape.clone();
    while shape.len() > x_ty.rank() && shape[0] == Dim::Const(1) {
        shape.remove(0);
    }
    slope = cx.reshape(slope, shape.clone())?;
    let axes = prelu_axes(&x_ty, &shape)
        .ok_or_else(|| Refusal::malformed("the slope does not broadcast to the input".to_string()))
        .map_err(|r| r.help("a slope a channel has the shape [C, 1, 1] or [C]"))?;
    let y = cx.push(Op::Prelu { axes }, &[x, slope])?;
    cx.set(0, y);
    Ok(())
}

/// The axes of x along which the slope's dims run.
fn prelu_axes(x: &TensorType, slope: &[Dim]) -> Option<Vec<usize>> {
    let offset = x.rank().checked_sub(slope.len())?;
    let fits = |axis: usize, d: &Dim| *d == Dim::Const(1) || *d == x.shape[axis];
    if slope.iter().enumerate().all(|(i, d)| fits(offset + i, d)) {
        return Some((offset..x.rank()).collect());
    }
    match slope {
        [c] if x.rank() > 1 && *c == x.shape[1] => Some(vec![1]),
        _ => None,
    }
}

/// γ · elu(x; α)
pub fn selu(cx: &mut Cx<'_, '_>) -> Lowered {
    let alpha = cx.attrs.float("alpha", 1.673_263_2)?;
    let gamma = cx.attrs.float("gamma", 1.050_701)?;
    let x = cx.value(0)?;
    let y = cx.unary(Unary::Elu { alpha: alpha.into() }, x)?;
    let y = cx.binary_const(Binary::Mul, y, gamma)?;
    cx.set(0, y);
    Ok(())
}

/// x > 0 ? x : α · (exp(x / α) − 1) = α · elu(x / α), for positive α.
pub fn celu(cx: &mut Cx<'_, '_>) -> Lowered {
    let alpha = cx.attrs.float("alpha", 1.0)?;
    if alpha <= 0.0 || alpha.is_nan() {
        return Err(Refusal::attribute(format!("`alpha` is {alpha}, but must be positive")));
    }
    let mut x = cx.value(0)?;
    if alpha != 1.0 {
        x = cx.binary_const(Binary::Div, x, alpha)?;
    }
    let mut y = cx.unary(Unary::Elu { alpha: Scalar(1.0) }, x)?;
    if alpha != 1.0 {
        y = cx.binary_const(Binary::Mul, y, alpha)?;
    }
    cx.set(0, y);
    Ok(())
}

/// x · tanh(softplus(x))
pub fn mish(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let s = cx.unary(Unary::Softplus, x)?;
    let t = cx.unary(Unary::Tanh, s)?;
    let y = cx.binary(Binary::Mul, x, t)?;
    cx.set(0, y);
    Ok(())
}

/// x · sigmoid(α · x)
pub fn swish(cx: &mut Cx<'_, '_>) -> Lowered {
    let y = swished(cx)?;
    cx.set(0, y);
    Ok(())
}

/// The second input times the swish of the first.
pub fn swiglu(cx: &mut Cx<'_, '_>) -> Lowered {
    let (gate, linear) = (swished(cx)?, cx.value(1)?);
    let y = cx.binary(Binary::Mul, gate, linear)?;
    cx.set(0, y);
    Ok(())
}

fn swished(cx: &mut Cx<'_, '_>) -> Result<Value, Refusal> {
    let alpha = cx.attrs.float("alpha", 1.0)?;
    let x = cx.value(0)?;
    if alpha == 1.0 {
        return cx.unary(Unary::Silu, x);
    }
    let scaled = cx.binary_const(Binary::Mul, x, alpha)?;
    let gate = cx.unary(Unary::Sigmoid, scaled)?;
    cx.binary(Binary::Mul, x, gate)
}

/// x / (1 + |x|)
pub fn softsign(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let a = cx.unary(Unary::Abs, x)?;
    let d = cx.binary_const(Binary::Add, a, 1.0)?;
    let y = cx.binary(Binary::Div, x, d)?;
    cx.set(0, y);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(x: &[i64], slope: &[i64]) -> Option<Vec<usize>> {
        let dims = |s: &[i64]| s.iter().map(|d| Dim::Const(*d)).collect::<Vec<_>>();
        prelu_axes(&TensorType::f32(dims(x)), &dims(slope))
    }

    #[test]
    fn every_legal_slope() {
        assert_eq!(axes(&[2, 3, 4, 5], &[3, 1, 1]), Some(vec![1, 2, 3]));
        assert_eq!(axes(&[2, 3, 4, 5], &[5]), Some(vec![3]));
        assert_eq!(axes(&[2, 3, 4, 5], &[3]), Some(vec![1]));
        assert_eq!(axes(&[2, 5, 4, 5], &[5]), Some(vec![3]), "the specification's broadcasting comes first");
        assert_eq!(axes(&[2, 3, 4, 5], &[]), Some(vec![]));
        assert_eq!(axes(&[2, 3, 4, 5], &[4, 1]), Some(vec![2, 3]));
        assert_eq!(axes(&[2, 3, 4, 5], &[7]), None);
        assert_eq!(axes(&[3], &[1, 3]), None);
    }
}
