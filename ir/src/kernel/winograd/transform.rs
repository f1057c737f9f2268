//! The matrices of minimal filtering: `y = A' [(G g G') * (B' d B)] A` for 3x3 kernels.
//!
//! By Toom and Cook: `d` and `g` are read as polynomials, multiplied at points of evaluation, and `y` is found by
//! transposition. F(2x2) takes the points 0, ±1, ∞. F(4x4) takes 0, ±√2/2, ±√2, ∞, whose rounding errors are about half
//! of those of the customary 0, ±1, ±2, ∞.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// The positive points of F(4x4); their product is 1, and the sum of their squares 5/2.
pub const NEAR: f64 = FRAC_1_SQRT_2;
pub const FAR: f64 = SQRT_2;

/// `B'`: n rows of n.
pub fn input_matrix(outputs: u8) -> Vec<Vec<f64>> {
    match outputs {
        2 => vec![
            vec![-1.0, 0.0, 1.0, 0.0],
            vec![0.0, 1.0, 1.0, 0.0],
            vec![0.0, -1.0, 1.0, 0.0],
            vec![0.0, -1.0, 0.0, 1.0],
        ],
        _ => vec![
            vec![1.0, 0.0, -2.5, 0.0, 1.0, 0.0],
            vec![0.0, -FAR, -2.0, NEAR, 1.0, 0.0],
            vec![0.0, FAR, -2.0, -NEAR, 1.0, 0.0],
            vec![0.0, -NEAR, -0.5, FAR, 1.0, 0.0],
            vec![0.0, NEAR, -0.5, -FAR, 1.0, 0.0],
            vec![0.0, 1.0, 0.0, -2.5, 0.0, 1.0],
        ],
    }
}

/// `A'`: m rows of n, the powers of the points.
pub fn output_matrix(outputs: u8) -> Vec<Vec<f64>> {
    let points: &[f64] = match outputs {
        2 => &[0.0, 1.0, -1.0],
        _ => &[0.0, NEAR, -NEAR, FAR, -FAR],
    };
    let row = |power: i32| {
        let last = if power + 1 == i32::from(outputs) { 1.0 } else { 0.0 };
        points.iter().map(|p| p.powi(power)).chain([last]).collect()
    };
    (0..i32::from(outputs)).map(row).collect()
}

/// `G` along one axis of a kernel, for `W` kernels at once and `N` positions, 4 or 6: 1, p, p² over the product of p's
/// distances from the other finite points.
///
/// Plain loops over whole arrays: every array becomes a few vector registers.
#[inline(always)]
pub(super) fn kernel_row<const N: usize, const W: usize>(g: [&[f64; W]; 3]) -> [[f64; W]; N] {
    let mut rows = [[0.0; W]; N];
    let [g0, g1, g2] = g;
    // Pairs of points ±p.
    let pairs: &[(f64, f64)] = match N {
        4 => &[(1.0, 0.5)],
        _ => &[(NEAR, -1.0 / 1.5), (FAR, 1.0 / 6.0)],
    };
    for i in 0..W {
        rows[0][i] = if N == 4 { -g0[i] } else { g0[i] };
    }
    for (k, &(point, scale)) in pairs.iter().enumerate() {
        // Squares of the points are exact.
        let square = (point * point * 2.0).round() * 0.5;
        for i in 0..W {
            let even = (g0[i] + square * g2[i]) * scale;
            let odd = point * scale * g1[i];
            rows[1 + 2 * k][i] = even + odd;
            rows[2 + 2 * k][i] = even - odd;
        }
    }
    rows[N - 1] = *g2;
    rows
}

/// `G`: n rows of 3.
pub fn kernel_matrix(outputs: u8) -> Vec<[f64; 3]> {
    match outputs {
        2 => matrix::<4>(),
        _ => matrix::<6>(),
    }
}

fn matrix<const N: usize>() -> Vec<[f64; 3]> {
    // Three kernels of one tap each.
    let [a, b, c] = [0, 1, 2].map(|tap| [0, 1, 2].map(|k| f64::from(u8::from(k == tap))));
    kernel_row::<N, 3>([&a, &b, &c]).to_vec()
}

/// `M X M'`, for the reference.
pub fn both_sides(matrix: &[Vec<f64>], x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &mut dyn Iterator<Item = f64>| {
        // A zero stands for no dependence, so infinities do not spread by it.
        a.iter().zip(b).filter(|(a, _)| **a != 0.0).map(|(a, b)| a * b).sum::<f64>()
    };
    let half: Vec<Vec<f64>> = matrix
        .iter()
        .map(|row| (0..x[0].len()).map(|c| dot(row, &mut x.iter().map(|r| r[c]))).collect())
        .collect();
    half.iter().map(|h| matrix.iter().map(|row| dot(row, &mut h.iter().copied())).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three transforms together are the convolution, up to the rounding of f64.
    #[test]
    fn transforms_convolve() {
        for outputs in [2u8, 4] {
            let n = usize::from(outputs) + 2;
            let value = |seed: usize| ((seed * 2654435761) % 1009) as f64 / 500.0 - 1.0;
            let d: Vec<Vec<f64>> = (0..n).map(|r| (0..n).map(|c| value(r * 17 + c + 3)).collect()).collect();
            let g: Vec<Vec<f64>> = (0..3).map(|r| (0..3).map(|c| value(r * 31 + c + 99)).collect()).collect();
            let matrix = kernel_matrix(outputs);
            let columns = |row: [f64; 3]| {
                matrix.iter().map(|g| g.iter().zip(row).map(|(g, x)| g * x).sum::<f64>()).collect::<Vec<_>>()
            };
            // G g, then (G g) G'.
            let half: Vec<Vec<f64>> = (0..3).map(|c| columns([g[0][c], g[1][c], g[2][c]])).collect();
            let u: Vec<Vec<f64>> = (0..n).map(|k| columns([half[0][k], half[1][k], half[2][k]])).collect();
            let v = both_sides(&input_matrix(outputs), &d);
            let products: Vec<Vec<f64>> =
                (0..n).map(|r| (0..n).map(|c| u[r][c] * v[r][c]).collect()).collect();
            let y = both_sides(&output_matrix(outputs), &products);
            for (r, row) in y.iter().enumerate() {
                for (c, got) in row.iter().enumerate() {
                    let want: f64 = (0..9).map(|t| g[t / 3][t % 3] * d[r + t / 3][c + t % 3]).sum();
                    assert!((got - want).abs() < 1e-13, "F{outputs} {r},{c}: {got} instead of {want}");
                }
            }
        }
    }
}
