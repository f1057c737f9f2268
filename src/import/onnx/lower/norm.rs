//! Normalisations. Those that the graph has no operation for are spelled out in means and elementwise arithmetic.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::super::tensor::dtype;
use rectify_ir::op::{Binary, Op, Padding, PoolAttrs, ReduceKind, Unary};
use rectify_ir::{Dim, Value};

const EPS: f32 = 1e-5;

/// What normalising over some axes makes.
struct Normalised {
    /// (x − mean) / √(var + eps)
    y: Value,
    /// With the reduced axes kept.
    mean: Value,
    /// 1 / √(var + eps)
    inv_std: Value,
}

fn normalise(cx: &mut Cx<'_, '_>, x: Value, axes: &[usize], eps: f64) -> Result<Normalised, Refusal> {
    let (mean, centred, var) = variance(cx, x, axes)?;
    let var = cx.binary_const(Binary::Add, var, eps)?;
    let std = cx.unary(Unary::Sqrt, var)?;
    let inv_std = cx.unary(Unary::Reciprocal, std)?;
    let y = cx.binary(Binary::Mul, centred, inv_std)?;
    Ok(Normalised { y, mean, inv_std })
}

/// Mean, x − mean, and variance over the axes, which are kept with size 1.
fn variance(cx: &mut Cx<'_, '_>, x: Value, axes: &[usize]) -> Result<(Value, Value, Value), Refusal> {
    let mean = cx.reduce(ReduceKind::Mean, x, axes, true)?;
    let centred = cx.binary(Binary::Sub, x, mean)?;
    let square = cx.binary(Binary::Mul, centred, centred)?;
    let var = cx.reduce(ReduceKind::Mean, square, axes, true)?;
    Ok((mean, centred, var))
}

/// A vector of one element a channel as [C, 1, …], to broadcast over an input of `rank` axes.
fn per_channel(cx: &mut Cx<'_, '_>, v: Value, rank: usize) -> Result<Value, Refusal> {
    let mut shape = cx.type_of(v).shape.clone();
    shape.extend(vec![Dim::Const(1); rank.saturating_sub(2)]);
    cx.reshape(v, shape)
}

pub fn batch(cx: &mut Cx<'_, '_>) -> Lowered {
    let eps = cx.attrs.float("epsilon", EPS)?;
    let momentum = cx.attrs.float("momentum", 0.9)?;
    let training = cx.attrs.flag("training_mode", false)?;
    let x = cx.value(0)?;
    let rank = cx.type_of(x).rank();
    if cx.version < 9 && !cx.attrs.flag("spatial", true)? && rank > 2 {
        return by_element(cx, x, eps);
    }
    let (scale, shift) = (cx.value(1)?, cx.value(2)?);
    let (mut mean, mut var) = (cx.value(3)?, cx.value(4)?);
    if training {
        // The batch's own statistics; the running ones are results.
        let axes: Vec<usize> = (0..rank).filter(|a| *a != 1).collect();
        let (m, _, v) = variance(cx, x, &axes)?;
        let channels = vec![cx.type_of(scale).shape.first().cloned().unwrap_or(Dim::Const(1))];
        let (m, v) = (cx.reshape(m, channels.clone())?, cx.reshape(v, channels)?);
        for (i, running, now) in [(1, mean, m), (2, var, v)] {
            if cx.wants(i) {
                let old = cx.binary_const(Binary::Mul, running, momentum)?;
                let new = cx.binary_const(Binary::Mul, now, 1.0 - momentum)?;
                let sum = cx.binary(Binary::Add, old, new)?;
                cx.set(i, sum);
            }
        }
        (mean, var) = (m, v);
    }
    let y = cx.push(Op::BatchNorm { eps: eps.into() }, &[x, scale, shift, mean, var])?;
    cx.set(0, y);
    Ok(())
}

/// Statistics [C, …] for every element of an image, as the first versions have them.
fn by_element(cx: &mut Cx<'_, '_>, x: Value, eps: f64) -> Lowered {
    let [scale, shift, mean, var] = [cx.value(1)?, cx.value(2)?, cx.value(3)?, cx.value(4)?];
    let var = cx.binary_const(Binary::Add, var, eps)?;
    let std = cx.unary(Unary::Sqrt, var)?;
    let factor = cx.binary(Binary::Div, scale, std)?;
    let centred = cx.binary(Binary::Sub, x, mean)?;
    let y = cx.binary(Binary::Mul, centred, factor)?;
    let y = cx.binary(Binary::Add, y, shift)?;
    cx.set(0, y);
    Ok(())
}

pub fn instance(cx: &mut Cx<'_, '_>) -> Lowered {
    let eps = cx.attrs.float("epsilon", EPS)?;
    let operands = [cx.value(0)?, cx.value(1)?, cx.value(2)?];
    let y = cx.push(Op::InstanceNorm { eps: eps.into() }, &operands)?;
    cx.set(0, y);
    Ok(())
}

/// Over the axes from `axis` on. Scale and bias of another shape than these axes are applied after it.
pub fn layer(cx: &mut Cx<'_, '_>) -> Lowered {
    let stash = cx.attrs.int("stash_type", 1)?;
    let eps = cx.attrs.float("epsilon", EPS)?;
    let (x, scale) = (cx.value(0)?, cx.value(1)?);
    let bias = cx.opt_value(2)?;
    let ty = cx.type_of(x).clone();
    let axis = cx.axis(-1, ty.rank())?;
    let fits = |cx: &Cx<'_, '_>, v: Value| cx.type_of(v).shape == ty.shape[axis..];
    let plain = fits(cx, scale) && bias.is_none_or(|b| fits(cx, b));
    if plain && !cx.wants(1) && !cx.wants(2) {
        let operands: Vec<_> = [x, scale].into_iter().chain(bias).collect();
        let y = cx.push(Op::LayerNorm { axis, eps: eps.into() }, &operands)?;
        cx.set(0, y);
        return Ok(());
    }
    let axes: Vec<usize> = (axis..ty.rank()).collect();
    let n = normalise(cx, x, &axes, eps)?;
    let mut y = cx.binary(Binary::Mul, n.y, scale)?;
    if let Some(bias) = bias {
        y = cx.binary(Binary::Add, y, bias)?;
    }
    cx.set(0, y);
    // The statistics have a type of their own.
    let stash = i32::try_from(stash).ok().and_then(|code| dtype(code).ok()).filter(|d| d.is_float());
    let stash = stash.ok_or_else(|| Refusal::attribute("`stash_type` is no type of floats"))?;
    for (i, statistic) in [(1, n.mean), (2, n.inv_std)] {
        let statistic = cx.cast(statistic, stash)?;
        cx.set(i, statistic);
    }
    Ok(())
}

/// An instance normalisation of groups of channels. Scale and bias are one a group before operator set 21, then one a
/// channel.
pub fn group(cx: &mut Cx<'_, '_>) -> Lowered {
    cx.attrs.ignore(&["stash_type"]);
    let eps = cx.attrs.float("epsilon", EPS)?;
    let groups = cx.attrs.need_int("num_groups")?;
    let (x, scale, bias) = (cx.value(0)?, cx.value(1)?, cx.value(2)?);
    let ty = cx.type_of(x).clone();
    if ty.rank() < 2 || groups < 1 {
        return Err(Refusal::malformed(format!("{groups} groups of the channels of {ty}")));
    }
    let g = Dim::Const(groups);
    let rest = ty.shape[1].div_exact(&g, cx.facts())?.mul(&Dim::product(&ty.shape[2..])?)?;
    let grouped = cx.reshape(x, vec![ty.shape[0].clone(), g.clone(), rest])?;
    let by_group = cx.version < 21;
    let (s, b) = if by_group {
        (scale, bias)
    } else {
        (cx.filled(ty.dtype, vec![g.clone()], 1.0), cx.filled(ty.dtype, vec![g], 0.0))
    };
    let y = cx.push(Op::InstanceNorm { eps: eps.into() }, &[grouped, s, b])?;
    let mut y = cx.reshape(y, ty.shape.clone())?;
    if !by_group {
        let scale = per_channel(cx, scale, ty.rank())?;
        let bias = per_channel(cx, bias, ty.rank())?;
        y = cx.binary(Binary::Mul, y, scale)?;
        y = cx.binary(Binary::Add, y, bias)?;
    }
    cx.set(0, y);
    Ok(())
}

/// x / √(mean(x²) + eps) · scale over the axes from `axis` on.
pub fn rms(cx: &mut Cx<'_, '_>) -> Lowered {
    cx.attrs.ignore(&["stash_type"]);
    let eps = cx.attrs.float("epsilon", EPS)?;
    let (x, scale) = (cx.value(0)?, cx.value(1)?);
    let rank = cx.type_of(x).rank();
    let axis = cx.axis(-1, rank)?;
    let axes: Vec<usize> = (axis..rank).collect();
    let square = cx.binary(Binary::Mul, x, x)?;
    let mean = cx.reduce(ReduceKind::Mean, square, &axes, true)?;
    let mean = cx.binary_const(Binary::Add, mean, eps)?;
    let rms = cx.unary(Unary::Sqrt, mean)?;
    let inv = cx.unary(Unary::Reciprocal, rms)?;
    let y = cx.binary(Binary::Mul, x, inv)?;
    let y = cx.binary(Binary::Mul, y, scale)?;
    cx.set(0, y);
    Ok(())
}

/// (x − mean) / (std + 1e-9) over the axes, as the specification's function has it.
pub fn mean_variance(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let rank = cx.type_of(x).rank();
    let axes = cx.attrs.ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = axes.iter().map(|a| cx.wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    let (_, centred, var) = variance(cx, x, &axes)?;
    let std = cx.unary(Unary::Sqrt, var)?;
    let std = cx.binary_const(Binary::Add, std, 1e-9)?;
    let y = cx.binary(Binary::Div, centred, std)?;
    cx.set(0, y);
    Ok(())
}

/// x / ‖x‖ along an axis; 0 where the norm is 0.
pub fn lp(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let rank = cx.type_of(x).rank();
    let axis = cx.axis(-1, rank)?;
    let norm = match cx.attrs.int("p", 2)? {
        1 => {
            let a = cx.unary(Unary::Abs, x)?;
            cx.reduce(ReduceKind::Sum, a, &[axis], true)?
        }
        2 => {
            let s = cx.binary(Binary::Mul, x, x)?;
            let s = cx.reduce(ReduceKind::Sum, s, &[axis], true)?;
            cx.unary(Unary::Sqrt, s)?
        }
        p => return Err(Refusal::attribute(format!("`p` is {p}; 1 and 2 are defined"))),
    };
    let norm = cx.binary_const(Binary::Max, norm, f64::from(f32::MIN_POSITIVE))?;
    let y = cx.binary(Binary::Div, x, norm)?;
    cx.set(0, y);
    Ok(())
}

/// x / (bias + alpha · mean of x² over `size` neighbouring channels)^beta. The mean is an average pool along the channels.
pub fn local_response(cx: &mut Cx<'_, '_>) -> Lowered {
    let alpha = cx.attrs.float("alpha", 1e-4)?;
    let beta = cx.attrs.float("beta", 0.75)?;
    let bias = cx.attrs.float("bias", 1.0)?;
    let size = cx.attrs.need_int("size")?;
    if !(1..=1 << 20).contains(&size) {
        return Err(Refusal::malformed(format!("`size` is {size}")));
    }
    let x = cx.value(0)?;
    let ty = cx.type_of(x).clone();
    if ty.rank() < 3 {
        return Err(Refusal::malformed(format!("LRN needs an input [N, C, …], not {ty}")));
    }
    let square = cx.binary(Binary::Mul, x, x)?;
    let positions = Dim::product(&ty.shape[2..])?;
    let columns = vec![ty.shape[0].clone(), Dim::Const(1), ty.shape[1].clone(), positions];
    let square = cx.reshape(square, columns)?;
    let before = (size - 1) / 2;
    let pool = PoolAttrs {
        kernel: vec![size, 1],
        stride: vec![1, 1],
        pad: Padding::Explicit(vec![before, 0, size - 1 - before, 0]),
        dilation: vec![1, 1],
        ceil: false,
    };
    let mean = cx.push(Op::AvgPool { pool, count_include_pad: true }, &[square])?;
    let mean = cx.reshape(mean, ty.shape)?;
    let d = cx.binary_const(Binary::Mul, mean, alpha)?;
    let d = cx.binary_const(Binary::Add, d, bias)?;
    let d = cx.binary_const(Binary::Pow, d, beta)?;
    let y = cx.binary(Binary::Div, x, d)?;
    cx.set(0, y);
    Ok(())
}
