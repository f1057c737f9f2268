//! Numbers on a grid of integers: `x = (q − zero point) · scale`.
//!
//! Differences of quantized numbers are integers, so their products and sums are exact in i32, and in f64 for convolutions.

use super::super::context::{Cx, Lowered};
use super::super::problem::{ProblemKind, Refusal};
use super::super::tensor::dtype;
use super::conv;
use rectify_ir::op::{Binary, ConvAttrs, Op, ReduceKind, Unary};
use rectify_ir::{DType, Dim, TensorType, Value};

/// (x − zero point) · scale
pub fn dequantize(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, scale) = (cx.value(0)?, cx.value(1)?);
    let ty = cx.type_of(x).clone();
    let to = match output_dtype(cx)? {
        Some(to) => to,
        None => cx.type_of(scale).dtype,
    };
    let spread = Spread::of(cx, &ty, scale)?;
    let difference = match cx.opt_value(2)? {
        Some(zero) => {
            let zero = spread.value(cx, zero)?;
            difference(cx, x, zero, DType::I32)?
        }
        None => x,
    };
    let difference = cx.cast(difference, DType::F32)?;
    let scale = cx.cast(scale, DType::F32)?;
    let scale = spread.value(cx, scale)?;
    let y = cx.binary(Binary::Mul, difference, scale)?;
    let y = cx.cast(y, to)?;
    cx.set(0, y);
    Ok(())
}

/// round(x / scale) + zero point, held to the range of the result's type
pub fn quantize(cx: &mut Cx<'_, '_>) -> Lowered {
    cx.attrs.ignore(&["saturate", "precision"]);
    let (x, scale) = (cx.value(0)?, cx.value(1)?);
    let ty = cx.type_of(x).clone();
    let zero = cx.opt_value(2)?;
    let to = match (zero, output_dtype(cx)?) {
        (Some(zero), _) => cx.type_of(zero).dtype,
        (None, to) => to.unwrap_or(DType::U8),
    };
    let spread = Spread::of(cx, &ty, scale)?;
    let x = cx.cast(x, DType::F32)?;
    let scale = cx.cast(scale, DType::F32)?;
    let scale = spread.value(cx, scale)?;
    let zero = zero.map(|zero| spread.value(cx, zero)).transpose()?;
    let y = onto_grid(cx, x, scale, zero, to)?;
    cx.set(0, y);
    Ok(())
}

/// The grid of u8 that the values span, zero among them: the quantized values, scale and zero point.
pub fn dynamic_quantize(cx: &mut Cx<'_, '_>) -> Lowered {
    let x = cx.value(0)?;
    let axes: Vec<usize> = (0..cx.type_of(x).rank()).collect();
    let least = cx.reduce(ReduceKind::Min, x, &axes, false)?;
    let least = cx.binary_const(Binary::Min, least, 0.0)?;
    let greatest = cx.reduce(ReduceKind::Max, x, &axes, false)?;
    let greatest = cx.binary_const(Binary::Max, greatest, 0.0)?;
    let range = cx.binary(Binary::Sub, greatest, least)?;
    let scale = cx.binary_const(Binary::Div, range, 255.0)?;
    let below = cx.unary(Unary::Neg, least)?;
    let zero = onto_grid(cx, below, scale, None, DType::U8)?;
    let y = onto_grid(cx, x, scale, Some(zero), DType::U8)?;
    for (i, value) in [y, scale, zero].into_iter().enumerate() {
        cx.set(i, value);
    }
    Ok(())
}

/// (a − zero point) · (b − zero point) of integers; `QLinearMatMul` brings the product onto a grid of its own.
pub fn matmul(cx: &mut Cx<'_, '_>) -> Lowered {
    let grids = Grids::of(cx, "QLinearMatMul");
    let (a, b) = (cx.value(grids.x)?, cx.value(grids.w)?);
    let a = match cx.opt_value(grids.x_zero)? {
        // One for each row.
        Some(zero) if cx.type_of(zero).rank() == 1 && cx.type_of(a).rank() > 1 => {
            let shape = vec![cx.type_of(zero).shape[0].clone(), Dim::Const(1)];
            let zero = cx.reshape(zero, shape)?;
            difference(cx, a, zero, DType::I32)?
        }
        Some(zero) => difference(cx, a, zero, DType::I32)?,
        None => cx.cast(a, DType::I32)?,
    };
    let b = match cx.opt_value(grids.w_zero)? {
        Some(zero) => difference(cx, b, zero, DType::I32)?,
        None => cx.cast(b, DType::I32)?,
    };
    let y = cx.push(Op::MatMul, &[a, b])?;
    grids.finish(cx, y, None)
}

/// The convolution of x − zero point with w − zero point; `QLinearConv` adds a bias and brings the sum onto a grid of its own.
pub fn conv(cx: &mut Cx<'_, '_>) -> Lowered {
    let grids = Grids::of(cx, "QLinearConv");
    let (x, w) = (cx.value(grids.x)?, cx.value(grids.w)?);
    let rank = conv::spatial_rank(cx, cx.type_of(x))?;
    let channels = |cx: &mut Cx<'_, '_>, v: Value| match cx.type_of(v).rank() {
        1 => {
            let mut shape = vec![cx.type_of(v).shape[0].clone()];
            shape.resize(rank + 1, Dim::Const(1));
            cx.reshape(v, shape)
        }
        _ => Ok(v),
    };
    let x = match cx.opt_value(grids.x_zero)? {
        Some(zero) => difference(cx, x, zero, DType::F64)?,
        None => cx.cast(x, DType::F64)?,
    };
    let w = match cx.opt_value(grids.w_zero)? {
        Some(zero) => {
            // One for all, or one for each output channel, the weight's first axis.
            let zero = channels(cx, zero)?;
            let shape = [cx.type_of(zero).shape.as_slice(), &[Dim::Const(1)]].concat();
            let zero = if shape.len() > 1 { cx.reshape(zero, shape)? } else { zero };
            difference(cx, w, zero, DType::F64)?
        }
        None => cx.cast(w, DType::F64)?,
    };
    let attrs = ConvAttrs {
        groups: cx.attrs.int("group", 1)?,
        stride: conv::spatial(cx, "strides", rank, 1)?,
        dilation: conv::spatial(cx, "dilations", rank, 1)?,
        pad: conv::padding(cx, rank)?,
    };
    cx.attrs.ignore(&["kernel_shape"]);
    let mut operands = vec![x, w];
    if grids.own && cx.has(8) {
        let bias = cx.value(8)?;
        operands.push(cx.cast(bias, DType::F64)?);
    }
    let y = cx.push(Op::Conv(attrs), &operands)?;
    grids.finish(cx, y, Some(rank))
}

/// Where a product of quantized tensors has its operands.
struct Grids {
    /// The result has a grid of its own.
    own: bool,
    x: usize,
    x_zero: usize,
    w: usize,
    w_zero: usize,
}

impl Grids {
    fn of(cx: &Cx<'_, '_>, name: &str) -> Grids {
        match cx.op == name {
            true => Grids { own: true, x: 0, x_zero: 2, w: 3, w_zero: 5 },
            false => Grids { own: false, x: 0, x_zero: 2, w: 1, w_zero: 3 },
        }
    }

    /// The sums as i32, or times the scales of both operands on the grid of the result. Scales of several channels run along
    /// the last axis, or along axis 1 before `spatial` others.
    fn finish(&self, cx: &mut Cx<'_, '_>, sum: Value, spatial: Option<usize>) -> Lowered {
        if !self.own {
            let y = cx.cast(sum, DType::I32)?;
            cx.set(0, y);
            return Ok(());
        }
        let [x_scale, w_scale, y_scale, y_zero] = [1, 4, 6, 7].map(|i| cx.value(i));
        let (x_scale, w_scale, y_scale, y_zero) = (x_scale?, w_scale?, y_scale?, y_zero?);
        let to = cx.type_of(y_zero).dtype;
        let mut scales = [x_scale, w_scale, y_scale];
        for scale in &mut scales {
            *scale = cx.cast(*scale, DType::F32)?;
            if let (1, Some(spatial)) = (cx.type_of(*scale).rank(), spatial) {
                let mut shape = vec![cx.type_of(*scale).shape[0].clone()];
                shape.resize(spatial + 1, Dim::Const(1));
                *scale = cx.reshape(*scale, shape)?;
            }
        }
        let [x_scale, w_scale, y_scale] = scales;
        let both = cx.binary(Binary::Mul, x_scale, w_scale)?;
        let factor = cx.binary(Binary::Div, both, y_scale)?;
        let sum = cx.cast(sum, DType::F32)?;
        let scaled = cx.binary(Binary::Mul, sum, factor)?;
        let y = held(cx, scaled, Some(y_zero), to)?;
        cx.set(0, y);
        Ok(())
    }
}

/// a − b in a type that holds it.
fn difference(cx: &mut Cx<'_, '_>, a: Value, b: Value, wide: DType) -> Result<Value, Refusal> {
    let (a, b) = (cx.cast(a, wide)?, cx.cast(b, wide)?);
    cx.binary(Binary::Sub, a, b)
}

fn onto_grid(
    cx: &mut Cx<'_, '_>,
    x: Value,
    scale: Value,
    zero: Option<Value>,
    to: DType,
) -> Result<Value, Refusal> {
    let scaled = cx.binary(Binary::Div, x, scale)?;
    held(cx, scaled, zero, to)
}

/// Rounded, with the zero point added, and held to the range of the type.
fn held(cx: &mut Cx<'_, '_>, x: Value, zero: Option<Value>, to: DType) -> Result<Value, Refusal> {
    if !to.is_int() || to.size_bytes() > 2 {
        return Err(Refusal::new(
            ProblemKind::UnsupportedType,
            format!("quantizing to {to} is not supported"),
        ));
    }
    let mut y = cx.unary(Unary::Round, x)?;
    if let Some(zero) = zero {
        let zero = cx.cast(zero, DType::F32)?;
        y = cx.binary(Binary::Add, y, zero)?;
    }
    let (min, max) = ((to.least_int() as f64).into(), (to.greatest_int() as f64).into());
    let y = cx.unary(Unary::Clip { min, max }, y)?;
    cx.cast(y, to)
}

fn output_dtype(cx: &Cx<'_, '_>) -> Result<Option<DType>, Refusal> {
    match cx.attrs.int("output_dtype", 0)? {
        0 => Ok(None),
        code => {
            let code = i32::try_from(code);
            let code = code.map_err(|_| Refusal::malformed("`output_dtype` is no element type"))?;
            let refuse = |e: super::super::tensor::TensorError| {
                Refusal::new(ProblemKind::UnsupportedType, e.to_string())
            };
            dtype(code).map(Some).map_err(refuse)
        }
    }
}

/// How scales and zero points run along the tensor: one for all, one for each place of an axis, or one for each block of it.
struct Spread {
    shape: Vec<Dim>,
    axis: usize,
    block: i64,
}

impl Spread {
    fn of(cx: &mut Cx<'_, '_>, ty: &TensorType, scale: Value) -> Result<Spread, Refusal> {
        let block = cx.attrs.int("block_size", 0)?;
        let axis = cx.attrs.int("axis", 1)?;
        // Of a vector, and where there is one scale for all, the axis says nothing.
        let one = cx.type_of(scale).rank() == 0 || cx.type_of(scale).shape == [Dim::Const(1)];
        let axis = if one { 0 } else { cx.wrap_axis(axis, ty.rank())? };
        Ok(Spread { shape: ty.shape.clone(), axis, block })
    }

    fn value(&self, cx: &mut Cx<'_, '_>, v: Value) -> Result<Value, Refusal> {
        let shape = cx.type_of(v).shape.clone();
        if self.block > 0 && shape.len() == self.shape.len() {
            return self.blocks(cx, v, &shape);
        }
        match shape.as_slice() {
            [n] if *n != Dim::Const(1) => {
                let mut shape = vec![n.clone()];
                shape.resize(self.shape.len() - self.axis, Dim::Const(1));
                cx.reshape(v, shape)
            }
            [_] => cx.reshape(v, vec![]),
            _ => Ok(v),
        }
    }

    /// Each element for the whole of its block; the last block may be cut.
    fn blocks(&self, cx: &mut Cx<'_, '_>, v: Value, shape: &[Dim]) -> Result<Value, Refusal> {
        let (before, after) = (&shape[..self.axis], &shape[self.axis + 1..]);
        let (count, size) = (&shape[self.axis], Dim::Const(self.block));
        let narrow = [before, &[count.clone(), Dim::Const(1)], after].concat();
        let wide = [before, &[count.clone(), size.clone()], after].concat();
        let flat = [before, &[count.mul(&size)?], after].concat();
        let v = cx.reshape(v, narrow)?;
        let v = cx.push(Op::Expand { shape: wide }, &[v])?;
        let v = cx.reshape(v, flat)?;
        if cx.type_of(v).shape[self.axis] == self.shape[self.axis] {
            return Ok(v);
        }
        let (starts, ends) = (vec![Dim::Const(0)], vec![self.shape[self.axis].clone()]);
        cx.push(Op::Slice { axes: vec![self.axis], starts, ends, steps: vec![1] }, &[v])
    }
}
