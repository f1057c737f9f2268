//! Initialisers of whole matrices: orthogonal, identity and Dirac. Their elements depend on each other, so they have no
//! ranges; the result still depends on seed and name alone.

use super::{Distribution, fill};

/// Why a whole-matrix initialiser refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    #[error(
        "an orthogonal matrix of {rows} x {cols} needs more memory than this machine can address or give"
    )]
    TooLarge { rows: usize, cols: usize },
    #[error("a {rows} x {cols} matrix has {want} elements, the buffer has {got}")]
    Length { rows: usize, cols: usize, want: usize, got: usize },
    #[error("{groups} groups do not divide {out_channels} output channels")]
    Groups { groups: usize, out_channels: usize },
}

/// Independent partial sums of a dot product. A fixed number in a fixed order keeps the bits the same on every CPU, and
/// sixteen keep the vector units of all of them busy.
const SUMS: usize = 16;

/// Fills `out`, row-major `rows` x `cols`, with `gain` times a random matrix whose shorter side is orthonormal.
///
/// The matrix is the Q of a Gaussian matrix's QR decomposition with the diagonal of R made positive, hence uniform over
/// all such matrices (Saxe et al. 2014; Mezzadri 2007). Householder reflections in f64 on one thread: the time grows with
/// the square of the shorter side, 512 x 4608 takes about a second.
pub fn orthogonal(
    seed: u64,
    name: &str,
    rows: usize,
    cols: usize,
    gain: f32,
    out: &mut [f32],
) -> Result<(), MatrixError> {
    check_length(rows, cols, out)?;
    if out.is_empty() {
        return Ok(());
    }
    // `count` vectors of `length` ≥ `count` elements each: the rows of a wide matrix, the columns of a tall one.
    let (count, length) = if rows <= cols { (rows, cols) } else { (cols, rows) };
    let too_large = MatrixError::TooLarge { rows, cols };
    let mut vectors = Vec::new();
    vectors.try_reserve_exact(count * length).map_err(|_| too_large)?;
    let mut gaussian = vec![0.0f32; length];
    for i in 0..count {
        fill(&Distribution::Normal { mean: 0.0, std: 1.0 }, seed, name, (i * length) as u64, &mut gaussian);
        vectors.extend(gaussian.iter().map(|&v| f64::from(v)));
    }
    orthonormalise(&mut vectors, count, length);
    let gain = f64::from(gain);
    if rows <= cols {
        for (to, from) in out.iter_mut().zip(&vectors) {
            *to = (gain * from) as f32;
        }
    } else {
        for (row, line) in out.chunks_exact_mut(cols).enumerate() {
            for (column, to) in line.iter_mut().enumerate() {
                *to = (gain * vectors[column * length + row]) as f32;
            }
        }
    }
    Ok(())
}

/// Replaces `count` vectors of `length` elements by the columns of Q.
fn orthonormalise(vectors: &mut [f64], count: usize, length: usize) {
    let mut signs = vec![1.0f64; count];
    // Reflection k maps the tail of vector k onto a multiple of the k-th unit vector; its direction replaces the tail.
    for (k, sign) in signs.iter_mut().enumerate() {
        let (head, rest) = vectors.split_at_mut((k + 1) * length);
        let pivot = &mut head[k * length + k..];
        let norm = dot(pivot, pivot).sqrt();
        *sign = if pivot[0] > 0.0 { -1.0 } else { 1.0 };
        pivot[0] -= *sign * norm;
        let scale = dot(pivot, pivot).sqrt();
        if scale > 0.0 {
            pivot.iter_mut().for_each(|v| *v /= scale);
        }
        for other in rest.chunks_exact_mut(length) {
            reflect(pivot, &mut other[k..]);
        }
    }
    // Q is the product of the reflections applied to the unit vectors, from the last reflection to the first. Column k
    // needs reflections 0..=k only, and the directions of the later ones have been consumed when its turn comes.
    let mut column = vec![0.0f64; length];
    for k in (0..count).rev() {
        column.fill(0.0);
        column[k] = signs[k];
        for i in (0..=k).rev() {
            reflect(&vectors[i * length + i..(i + 1) * length], &mut column[i..]);
        }
        vectors[k * length..(k + 1) * length].copy_from_slice(&column);
    }
}

/// `x -= 2 (v·x) v` for a unit vector v.
fn reflect(v: &[f64], x: &mut [f64]) {
    let factor = 2.0 * dot(v, x);
    for (x, v) in x.iter_mut().zip(v) {
        *x -= factor * v;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; SUMS];
    let (a_blocks, a_rest) = a.as_chunks::<SUMS>();
    let (b_blocks, b_rest) = b.as_chunks::<SUMS>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..SUMS {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut total = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        total += a * b;
    }
    sums.iter().fold(total, |total, sum| total + sum)
}

/// Fills `out`, a convolution weight [out_channels, in_channels / groups, spatial], with `gain` at the centre tap that maps
/// input channel i of a group to output channel i of the group, and zero elsewhere; with one tap this is the identity
/// matrix. `spatial` are the kernel's extents.
pub fn dirac(
    out_channels: usize,
    group_inputs: usize,
    spatial: &[usize],
    groups: usize,
    gain: f32,
    out: &mut [f32],
) -> Result<(), MatrixError> {
    if groups == 0 || !out_channels.is_multiple_of(groups) {
        return Err(MatrixError::Groups { groups, out_channels });
    }
    let row = spatial.iter().try_fold(group_inputs, |n, &k| n.checked_mul(k));
    let row = row.ok_or(MatrixError::TooLarge { rows: out_channels, cols: group_inputs })?;
    check_length(out_channels, row, out)?;
    out.fill(0.0);
    if out.is_empty() {
        return Ok(());
    }
    let taps: usize = spatial.iter().product();
    let centre = spatial.iter().fold(0, |offset, &k| offset * k + k / 2);
    let group_outputs = out_channels / groups;
    for (channel, weights) in out.chunks_exact_mut(row).enumerate() {
        let input = channel % group_outputs;
        if input < group_inputs {
            weights[input * taps + centre] = gain;
        }
    }
    Ok(())
}

fn check_length(rows: usize, cols: usize, out: &[f32]) -> Result<(), MatrixError> {
    let want = rows.checked_mul(cols).ok_or(MatrixError::TooLarge { rows, cols })?;
    if want != out.len() {
        return Err(MatrixError::Length { rows, cols, want, got: out.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product_error(
        m: &[f32],
        count: usize,
        length: usize,
        at: impl Fn(usize, usize) -> usize,
        gain: f64,
    ) -> f64 {
        let mut worst = 0.0f64;
        for i in 0..count {
            for j in 0..count {
                let sum: f64 = (0..length).map(|k| f64::from(m[at(i, k)]) * f64::from(m[at(j, k)])).sum();
                let want = if i == j { gain * gain } else { 0.0 };
                worst = worst.max((sum - want).abs());
            }
        }
        worst
    }

    #[test]
    fn orthogonal_both_ways() {
        for (rows, cols) in [(1, 1), (5, 5), (7, 33), (40, 9), (64, 64)] {
            let mut m = vec![0.0; rows * cols];
            orthogonal(1, "w", rows, cols, 1.5, &mut m).unwrap();
            let error = if rows <= cols {
                product_error(&m, rows, cols, |i, k| i * cols + k, 1.5)
            } else {
                product_error(&m, cols, rows, |i, k| k * cols + i, 1.5)
            };
            assert!(error < 1e-6, "{rows} x {cols}: {error}");
        }
    }

    /// The first element of a uniform 2x2 rotation-reflection is cos of a uniform angle: its mean is 0, its mean square ½.
    #[test]
    fn orthogonal_is_uniform() {
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        let n = 4000;
        for seed in 0..n {
            let mut m = [0.0; 4];
            orthogonal(seed, "w", 2, 2, 1.0, &mut m).unwrap();
            sum += f64::from(m[0]);
            squares += f64::from(m[0]).powi(2);
        }
        assert!((sum / n as f64).abs() < 0.05);
        assert!((squares / n as f64 - 0.5).abs() < 0.03);
    }

    #[test]
    fn wrong_lengths_are_errors() {
        assert!(matches!(
            orthogonal(0, "w", 2, 3, 1.0, &mut [0.0; 5]),
            Err(MatrixError::Length { want: 6, got: 5, .. })
        ));
        assert!(matches!(orthogonal(0, "w", usize::MAX, 3, 1.0, &mut []), Err(MatrixError::TooLarge { .. })));
        assert!(matches!(dirac(4, 1, &[3], 3, 1.0, &mut [0.0; 12]), Err(MatrixError::Groups { .. })));
    }

    #[test]
    fn dirac_marks_the_centre_taps() {
        let mut m = [9.0; 2 * 2 * 9];
        dirac(2, 2, &[3, 3], 1, 2.0, &mut m).unwrap();
        let marked: Vec<_> = (0..m.len()).filter(|&i| m[i] != 0.0).collect();
        assert_eq!(marked, [4, 18 + 9 + 4]);
        let mut grouped = [9.0; 4 * 2];
        dirac(4, 2, &[], 2, 1.0, &mut grouped).unwrap();
        assert_eq!(grouped, [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    }
}
