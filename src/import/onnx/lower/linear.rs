//! Matrix products.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Op};
use rectify_ir::{Dim, Value};

pub fn matmul(cx: &mut Cx<'_, '_>) -> Lowered {
    let operands = [cx.value(0)?, cx.value(1)?];
    let y = cx.push(Op::MatMul, &operands)?;
    cx.set(0, y);
    Ok(())
}

/// α · A · B + β · C. With a constant B this is a dense layer, whose weight takes α and whose bias is β · C.
pub fn gemm(cx: &mut Cx<'_, '_>) -> Lowered {
    let (alpha, beta) = (cx.attrs.float("alpha", 1.0)?, cx.attrs.float("beta", 1.0)?);
    let (trans_a, trans_b) = (cx.attrs.flag("transA", false)?, cx.attrs.flag("transB", false)?);
    let (mut a, mut b) = (cx.value(0)?, cx.value(1)?);
    for (v, name) in [(a, "A"), (b, "B")] {
        let ty = cx.type_of(v);
        if ty.rank() != 2 {
            return Err(Refusal::malformed(format!("Gemm multiplies matrices, but {name} is {ty}")));
        }
    }
    if trans_a {
        a = cx.transpose(a, vec![1, 0])?;
    }
    let dense = cx.is_constant(b) && cx.type_of(b).dtype.is_float();
    if dense != trans_b {
        b = cx.transpose(b, vec![1, 0])?;
    }
    if alpha != 1.0 && dense {
        b = cx.binary_const(Binary::Mul, b, alpha)?;
    }
    let c = match cx.opt_value(2)? {
        Some(_) if beta == 0.0 => None,
        Some(c) if beta != 1.0 => Some(cx.binary_const(Binary::Mul, c, beta)?),
        c => c,
    };
    let y = if dense {
        let columns = cx.type_of(b).shape[0].clone();
        match c.map(|c| bias(cx, c, &columns)).transpose()?.flatten() {
            Some(bias) => {
                let y = cx.push(Op::Dense, &[a, b, bias])?;
                cx.set(0, y);
                return Ok(());
            }
            None => cx.push(Op::Dense, &[a, b])?,
        }
    } else {
        let y = cx.push(Op::MatMul, &[a, b])?;
        if alpha == 1.0 { y } else { cx.binary_const(Binary::Mul, y, alpha)? }
    };
    let y = match c {
        None => y,
        Some(c) => {
            let sum = cx.binary(Binary::Add, y, c)?;
            if cx.type_of(sum) != cx.type_of(y) {
                return Err(Refusal::malformed("C does not broadcast to the product"));
            }
            sum
        }
    };
    cx.set(0, y);
    Ok(())
}

/// C as a bias of one element a column, if it is one.
fn bias(cx: &mut Cx<'_, '_>, c: Value, columns: &Dim) -> Result<Option<Value>, Refusal> {
    let shape = cx.type_of(c).shape.as_slice();
    let vector = match shape {
        [n] => n == columns,
        [one, n] => *one == Dim::Const(1) && n == columns,
        _ => false,
    };
    if vector { cx.reshape(c, vec![columns.clone()]).map(Some) } else { Ok(None) }
}
