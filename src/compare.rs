//! Comparison of a result with its reference.

use rectify_runtime::TensorView;
use std::fmt;

/// `|got − want| ≤ atol · max(1, max|want|) + rtol · |want|`; NaN equals NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
}

impl Default for Tolerance {
    /// What is guaranteed for f32 at the precision `highest`.
    fn default() -> Tolerance {
        Tolerance { atol: 1e-5, rtol: 1e-3 }
    }
}

/// How far a tensor is from its reference.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// Shapes differ: nothing else is compared.
    Shape { got: Vec<usize>, want: Vec<usize> },
    Values {
        elements: usize,
        /// Elements outside of the tolerance.
        wrong: usize,
        /// The greatest absolute difference of finite elements.
        max_difference: f64,
        /// Index of the element that is furthest outside of the tolerance, in row-major order, with both values.
        worst: Option<(usize, f64, f64)>,
        /// Index of the first wrong element, in row-major order, with both values.
        first_wrong: Option<(usize, f64, f64)>,
    },
}

impl Comparison {
    pub fn new(got: TensorView<'_>, want: TensorView<'_>, tolerance: Tolerance) -> Comparison {
        if got.shape() != want.shape() {
            return Comparison::Shape { got: got.shape().to_vec(), want: want.shape().to_vec() };
        }
        let (got, want) = (got.to_f64_vec(), want.to_f64_vec());
        let greatest = want.iter().copied().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
        let floor = tolerance.atol * greatest.max(1.0);
        let (mut wrong, mut max_difference, mut first_wrong) = (0, 0.0f64, None);
        let (mut worst, mut worst_excess) = (None, 0.0f64);
        for (index, (g, w)) in got.iter().zip(&want).enumerate() {
            let difference = (g - w).abs();
            // Infinities must be the same: any distance from one is within a tolerance that grows with it.
            let close = g.is_finite() && w.is_finite() && difference <= floor + tolerance.rtol * w.abs();
            let same = g == w || g.is_nan() && w.is_nan() || close;
            if difference.is_finite() {
                max_difference = max_difference.max(difference);
            }
            if !same {
                wrong += 1;
                first_wrong.get_or_insert((index, *g, *w));
                let excess = difference / (floor + tolerance.rtol * w.abs());
                // What is not finite on one side only is as wrong as can be.
                let excess = if excess.is_nan() { f64::INFINITY } else { excess };
                if excess > worst_excess {
                    (worst, worst_excess) = (Some((index, *g, *w)), excess);
                }
            }
        }
        Comparison::Values { elements: got.len(), wrong, max_difference, worst, first_wrong }
    }

    /// True where all elements are within the tolerance.
    pub fn agrees(&self) -> bool {
        matches!(self, Comparison::Values { wrong: 0, .. })
    }
}

/// The place of an element: its row-major index as one index an axis.
pub fn element(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let at = index % size.max(&1);
            index /= size.max(&1);
            at
        })
        .collect();
    place.reverse();
    place
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Comparison::Shape { got, want } => write!(f, "differs: shape {got:?}, not {want:?}"),
            Comparison::Values { elements, max_difference, first_wrong: None, .. } => {
                write!(f, "agrees, {elements} elements, greatest difference {max_difference:.2e}")
            }
            Comparison::Values {
                elements,
                wrong,
                max_difference,
                first_wrong: Some((at, got, want)),
                ..
            } => {
                write!(
                    f,
                    "differs in {wrong} of {elements} elements, by up to {max_difference:.2e}; element {at} is {got}, not {want}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_runtime::Tensor;

    fn compare(got: &[f32], want: &[f32]) -> Comparison {
        let tensor = |v: &[f32]| Tensor::new([v.len()], v.to_vec()).unwrap();
        Comparison::new(tensor(got).view(), tensor(want).view(), Tolerance::default())
    }

    #[test]
    fn places_of_elements() {
        assert_eq!(element(0, &[]), Vec::<usize>::new());
        assert_eq!(element(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(element(5, &[2, 3]), [1, 2]);
    }

    #[test]
    fn special_values() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(compare(&[nan, inf, -inf, 0.0], &[nan, inf, -inf, -0.0]).agrees());
        for (got, want) in [(nan, 1.0), (1.0, nan), (inf, -inf), (1e30, inf), (inf, 1e30)] {
            assert!(!compare(&[got], &[want]).agrees(), "{got} {want}");
        }
    }

    #[test]
    fn the_tolerance_grows_with_the_greatest_value() {
        assert!(compare(&[1000.0, 0.009], &[1000.0, 0.0]).agrees());
        assert!(!compare(&[1.0, 0.009], &[1.0, 0.0]).agrees());
        assert!(!compare(&[1.0], &[1.0, 2.0]).agrees());
        let text = compare(&[1.0, 2.0], &[1.0, 3.0]).to_string();
        assert_eq!(text, "differs in 1 of 2 elements, by up to 1.00e0; element 1 is 2, not 3");
    }
}
