//! Operators that write elements at places known at run time.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use super::conv::spatial;
use rectify_ir::Dim;
use rectify_ir::op::{Op, PadMode, ScatterReduction};

fn reduction(cx: &Cx<'_, '_>) -> Result<ScatterReduction, Refusal> {
    cx.attrs.word(
        "reduction",
        &[
            ("none", ScatterReduction::None),
            ("add", ScatterReduction::Add),
            ("mul", ScatterReduction::Mul),
            ("max", ScatterReduction::Max),
            ("min", ScatterReduction::Min),
        ],
    )
}

/// `Scatter` is the name of operator set 9 and 10.
pub fn scatter_elements(cx: &mut Cx<'_, '_>) -> Lowered {
    let reduction = reduction(cx)?;
    let operands = [cx.value(0)?, cx.value(1)?, cx.value(2)?];
    let axis = cx.axis(0, cx.type_of(operands[0]).rank())?;
    let y = cx.push(Op::ScatterElements { axis, reduction }, &operands)?;
    cx.set(0, y);
    Ok(())
}

pub fn scatter_nd(cx: &mut Cx<'_, '_>) -> Lowered {
    let reduction = reduction(cx)?;
    let operands = [cx.value(0)?, cx.value(1)?, cx.value(2)?];
    let y = cx.push(Op::ScatterNd { reduction }, &operands)?;
    cx.set(0, y);
    Ok(())
}

/// The elements at their places in a tensor of zeros of the size that the pool's attributes say, which is then cut or
/// extended to `output_shape`.
pub fn max_unpool(cx: &mut Cx<'_, '_>) -> Lowered {
    let (x, indices) = (cx.value(0)?, cx.value(1)?);
    let ty = cx.type_of(x).clone();
    let rank = ty.rank().saturating_sub(2);
    if rank == 0 || !cx.attrs.has("kernel_shape") {
        return Err(Refusal::malformed(format!("MaxUnpool needs `kernel_shape` and spatial axes, not {ty}")));
    }
    let (kernel, stride) = (spatial(cx, "kernel_shape", rank, 1)?, spatial(cx, "strides", rank, 1)?);
    let pads = cx.attrs.ints("pads")?.map_or(vec![0; 2 * rank], <[i64]>::to_vec);
    if pads.len() != 2 * rank {
        return Err(Refusal::malformed(format!("`pads` has {} entries for {rank} axes", pads.len())));
    }
    let mut whole = ty.shape[..2].to_vec();
    for i in 0..rank {
        let steps = ty.shape[2 + i].sub(&Dim::Const(1))?.mul(&Dim::Const(stride[i]))?;
        whole.push(steps.add(&Dim::Const(kernel[i] - pads[i] - pads[rank + i]))?);
    }
    if whole.iter().any(|d| d.as_const().is_none_or(|n| n < 1)) {
        return Err(Refusal::form("unpooling to a symbolic size is not supported")
            .help("give the model's symbolic dims fixed sizes when importing"));
    }
    let count = vec![Dim::product(&ty.shape)?];
    let (x, indices) = (cx.reshape(x, count.clone())?, cx.reshape(indices, count)?);
    let zeros = cx.filled(ty.dtype, vec![Dim::product(&whole)?], 0.0);
    let scatter = Op::ScatterElements { axis: 0, reduction: ScatterReduction::None };
    let y = cx.push(scatter, &[zeros, indices, x])?;
    let mut y = cx.reshape(y, whole.clone())?;
    if cx.has(2) {
        let wanted = cx.ints(2, "output sizes")?;
        if wanted.len() != whole.len() {
            return Err(Refusal::malformed(format!("{} output sizes for {ty}", wanted.len())));
        }
        let more = |(d, n): (&Dim, &i64)| n - d.as_const().unwrap_or(*n);
        let after: Vec<i64> = whole.iter().zip(&wanted).map(more).collect();
        if after.iter().any(|n| *n != 0) {
            let pads = [vec![0; whole.len()], after].concat();
            y = cx.push(Op::Pad { pads, mode: PadMode::Constant(0.0.into()) }, &[y])?;
        }
    }
    cx.set(0, y);
    Ok(())
}
