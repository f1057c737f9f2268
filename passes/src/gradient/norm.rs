//! Rules of normalisations.

use super::GradientError;
use super::rule::{Made, One, Rule};
use rectify_ir::graph::Value;
use rectify_ir::op::Unary;

/// Mean and variance are operands like the others.
pub(super) fn batch_norm(r: &mut Rule<'_>, g: Value, eps: f64) -> Made {
    let x = r.x[0];
    let rank = r.shape(x).len();
    let axes: Vec<usize> = (0..rank).filter(|a| *a != 1).collect();
    let [scale, mean, var] = [r.x[1], r.x[3], r.x[4]];
    let (scale, mean, var) = (r.channels(scale, rank)?, r.channels(mean, rank)?, r.channels(var, rank)?);
    let rate = rate(r, var, eps)?;
    let factor = r.mul(scale, rate)?;
    let mut made = vec![None; 5];
    if r.wants(0) {
        made[0] = Some(r.mul(g, factor)?);
    }
    if r.wants(1) || r.wants(4) {
        let centred = r.sub(x, mean)?;
        let normal = r.mul(centred, rate)?;
        let product = r.mul(g, normal)?;
        let sum = r.sum(product, axes.clone(), true)?;
        let own = r.shape(r.x[1]);
        if r.wants(1) {
            made[1] = Some(r.reshape(sum, &own)?);
        }
        if r.wants(4) {
            // −½ · scale · rate² · Σ g · normal
            let square = r.mul(factor, rate)?;
            let part = r.mul(sum, square)?;
            let part = r.affine(part, -0.5, 0.0)?;
            made[4] = Some(r.reshape(part, &own)?);
        }
    }
    if r.wants(2) || r.wants(3) {
        let sum = r.sum(g, axes, true)?;
        let own = r.shape(r.x[2]);
        if r.wants(2) {
            made[2] = Some(r.reshape(sum, &own)?);
        }
        if r.wants(3) {
            let part = r.mul(sum, factor)?;
            let part = r.unary(Unary::Neg, part)?;
            made[3] = Some(r.reshape(part, &own)?);
        }
    }
    Ok(made)
}

/// 1 / √(var + eps)
fn rate(r: &mut Rule<'_>, var: Value, eps: f64) -> One {
    let sum = r.affine(var, 1.0, eps)?;
    let root = r.unary(Unary::Sqrt, sum)?;
    r.unary(Unary::Reciprocal, root)
}

pub(super) fn layer_norm(r: &mut Rule<'_>, g: Value, axis: usize, eps: f64) -> Made {
    let rank = r.shape(r.x[0]).len();
    let normalised: Vec<usize> = (axis..rank).collect();
    let (dx, normal) = normalise(r, g, r.x[1], &normalised, eps)?;
    let mut made = vec![None; r.x.len()];
    made[0] = dx;
    let summed: Vec<usize> = (0..axis).collect();
    if r.wants(1) {
        let product = r.mul(g, normal)?;
        made[1] = Some(r.sum(product, summed.clone(), false)?);
    }
    if r.wants(2) {
        made[2] = Some(r.sum(g, summed, false)?);
    }
    Ok(made)
}

pub(super) fn instance_norm(r: &mut Rule<'_>, g: Value, eps: f64) -> Made {
    let rank = r.shape(r.x[0]).len();
    let normalised: Vec<usize> = (2..rank).collect();
    let scale = r.channels(r.x[1], rank)?;
    let (dx, normal) = normalise(r, g, scale, &normalised, eps)?;
    let mut made = vec![None; 3];
    made[0] = dx;
    let summed: Vec<usize> = (0..rank).filter(|a| *a != 1).collect();
    if r.wants(1) {
        let product = r.mul(g, normal)?;
        made[1] = Some(r.sum(product, summed.clone(), false)?);
    }
    if r.wants(2) {
        made[2] = Some(r.sum(g, summed, false)?);
    }
    Ok(made)
}

/// x normalised over the axes, computed again, and the gradient of x through it:
/// rate · (d − mean(d) − normal · mean(d · normal)) with d = g · scale.
fn normalise(
    r: &mut Rule<'_>,
    g: Value,
    scale: Value,
    axes: &[usize],
    eps: f64,
) -> Result<(Option<Value>, Value), GradientError> {
    let x = r.x[0];
    let mean = r.mean(x, axes)?;
    let centred = r.sub(x, mean)?;
    let square = r.mul(centred, centred)?;
    let var = r.mean(square, axes)?;
    let rate = rate(r, var, eps)?;
    let normal = r.mul(centred, rate)?;
    if !r.wants(0) {
        return Ok((None, normal));
    }
    let d = r.mul(g, scale)?;
    let level = r.mean(d, axes)?;
    let product = r.mul(d, normal)?;
    let tilt = r.mean(product, axes)?;
    let part = r.mul(normal, tilt)?;
    let flat = r.sub(d, level)?;
    let flat = r.sub(flat, part)?;
    Ok((Some(r.mul(flat, rate)?), normal))
}
