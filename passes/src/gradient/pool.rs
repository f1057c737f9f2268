//! Rules of pooling.

use super::rule::{Made, One, Rule};
use rectify_ir::DType;
use rectify_ir::dim::Dim;
use rectify_ir::graph::Value;
use rectify_ir::op::{Binary, ConvAttrs, ConvTransposeAttrs, Op, Padding, PoolAttrs, ReduceKind};
use rectify_ir::shape::{adaptive_bin, resolve_padding};

pub(super) fn max_pool(r: &mut Rule<'_>, g: Value, a: &PoolAttrs) -> Made {
    let (x, y) = (r.x[0], r.y());
    Ok(vec![Some(r.push(Op::MaxPoolGrad(a.clone()), &[x, y, g])?)])
}

/// Every element of a window gets g by the number of elements: a transposed convolution with ones.
pub(super) fn avg_pool(r: &mut Rule<'_>, g: Value, a: &PoolAttrs, pads_count: bool) -> Made {
    let (size, places, rank) = (r.shape(r.x[0]), r.shape(g), a.kernel.len());
    let Some(pads) = resolve_padding(&a.pad, &size[2..], &a.kernel, &a.stride, &a.dilation, &r.graph.facts)
    else {
        return r.none("its padding depends on a size that is not known");
    };
    // How far windows reach beyond the end of x, and what they leave over.
    let mut reach = pads.clone();
    let mut output_pad = vec![0; rank];
    for i in 0..rank {
        let extent = (a.kernel[i] - 1) * a.dilation[i] + 1;
        let end = (r.known(&places[2 + i])? - 1) * a.stride[i] + extent - pads[i];
        let over = end - r.known(&size[2 + i])?;
        (reach[rank + i], output_pad[i]) = (over.max(0), (-over).max(0));
    }
    // Elements that count in each window: a convolution of ones with ones.
    let one = r.number(1.0);
    let whole: Vec<Dim> = [1, 1].iter().chain(&a.kernel).map(|n| Dim::Const(*n)).collect();
    let ones = r.expand(one, &whole)?;
    let mut plane = size.clone();
    (plane[0], plane[1]) = (Dim::Const(1), Dim::Const(1));
    let mut room = reach.clone();
    if pads_count {
        for i in 0..rank {
            let Dim::Const(n) = plane[2 + i] else { return r.none("its sizes are not known") };
            plane[2 + i] = Dim::Const(n + pads[i] + pads[rank + i]);
            room[i] = 0;
            room[rank + i] = (reach[rank + i] - pads[rank + i]).max(0);
        }
    }
    let image = r.expand(one, &plane)?;
    let mut cut = image;
    for i in 0..rank {
        // Padding that no window reaches.
        if pads_count && reach[rank + i] < pads[rank + i] {
            let Dim::Const(n) = plane[2 + i] else { return r.none("its sizes are not known") };
            let used = n - (pads[rank + i] - reach[rank + i]);
            cut = r.part(cut, 2 + i, &Dim::Const(0), &Dim::Const(used))?;
        }
    }
    let counts = r.push(
        Op::Conv(ConvAttrs {
            stride: a.stride.clone(),
            pad: Padding::Explicit(room),
            dilation: a.dilation.clone(),
            groups: 1,
        }),
        &[cut, ones],
    )?;
    let each = r.div(g, counts)?;
    // Channels as images, so that one weight does for all.
    let merged = Dim::product(&places[..2]).map_err(|e| r.fail(e))?;
    let mut flat = vec![merged, Dim::Const(1)];
    flat.extend_from_slice(&places[2..]);
    let each = r.reshape(each, &flat)?;
    let back = ConvTransposeAttrs {
        stride: a.stride.clone(),
        pad: Padding::Explicit(reach),
        dilation: a.dilation.clone(),
        groups: 1,
        output_pad: vec![0; rank],
    };
    let mut spread = r.push(Op::ConvTranspose(back), &[each, ones])?;
    for (i, left) in output_pad.iter().enumerate() {
        spread = r.widen(spread, 2 + i, 0, *left)?;
    }
    Ok(vec![Some(r.reshape(spread, &size)?)])
}

/// Bin by bin: the greatest elements of the bin share its g, and the bins that cover an element add up.
pub(super) fn spp(r: &mut Rule<'_>, g: Value, bins: &[usize]) -> Made {
    let (x, shape) = (r.x[0], r.shape(r.x[0]));
    let (height, width) = (r.known(&shape[2])?, r.known(&shape[3])?);
    let channels = r.known(&shape[1])?;
    let mut total: Option<Value> = None;
    let mut start = 0;
    for &b in bins {
        let cells = channels * (b * b) as i64;
        let level = r.part(g, 1, &Dim::Const(start), &Dim::Const(cells))?;
        start += cells;
        let mut square = shape[..2].to_vec();
        square.extend([Dim::Const(b as i64), Dim::Const(b as i64)]);
        let level = r.reshape(level, &square)?;
        for row in 0..b {
            for column in 0..b {
                let rows = adaptive_bin(row, b, height as usize);
                let columns = adaptive_bin(column, b, width as usize);
                let cell = window(r, level, (row, row + 1), (column, column + 1))?;
                let part = window(r, x, rows, columns)?;
                let best =
                    r.push(Op::Reduce { kind: ReduceKind::Max, axes: vec![2, 3], keep: true }, &[part])?;
                let same = r.binary(Binary::Equal, part, best)?;
                let same = r.push(Op::Cast { to: DType::F32 }, &[same])?;
                let count = r.sum(same, vec![2, 3], true)?;
                let share = r.div(cell, count)?;
                let each = r.mul(share, same)?;
                let each = r.widen(each, 2, rows.0 as i64, height - rows.1 as i64)?;
                let each = r.widen(each, 3, columns.0 as i64, width - columns.1 as i64)?;
                total = Some(match total {
                    Some(sum) => r.add(sum, each)?,
                    None => each,
                });
            }
        }
    }
    Ok(vec![total])
}

/// Rows and columns of images.
fn window(r: &mut Rule<'_>, x: Value, rows: (usize, usize), columns: (usize, usize)) -> One {
    let dim = |n: usize| Dim::Const(n as i64);
    let part = r.part(x, 2, &dim(rows.0), &dim(rows.1 - rows.0))?;
    r.part(part, 3, &dim(columns.0), &dim(columns.1 - columns.0))
}
