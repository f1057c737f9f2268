//! Meaning of operations whose number of results depends on data.

use super::float::Float;
use super::layout::dot;
use super::tensor::{Data, Tensor, for_each_index, strides};
use super::{EvalError, Kernel, max, min};

/// The number of slices that `cut` leaves of an axis of this size.
pub(super) fn cut_size<T>(count: &Tensor<T>, size: usize) -> Result<usize, EvalError> {
    match &count.data {
        Data::Int(v) if v.len() == 1 => Ok(usize::try_from(v[0]).unwrap_or(0).min(size)),
        Data::Int(_) | Data::Float(_) | Data::Bool(_) => Err(EvalError::Kind),
    }
}

pub(super) fn cut<T: Float>(k: &Kernel<'_, T>, axis: usize) -> Result<Tensor<T>, EvalError> {
    let (x, shape) = (k.x[0], k.shape(0)?);
    let own = strides(&x.shape);
    if cut_size(k.x[1], x.shape[axis])? != shape[axis] {
        return Err(EvalError::Kind);
    }
    Ok(x.gather(shape, 0.0, |index| Some(dot(index, &own))))
}

pub(super) fn nonzero<T: Float>(k: &Kernel<'_, T>) -> Result<Vec<Tensor<T>>, EvalError> {
    let x = k.x[0];
    let is_set = |at: usize| match &x.data {
        Data::Float(v) => v[at] != T::ZERO,
        Data::Int(v) => v[at] != 0,
        Data::Bool(v) => v[at],
    };
    let (elements, rank) = (x.data.len(), x.shape.len());
    let mut places = vec![0; rank * elements];
    let (mut at, mut found) = (0, 0);
    for_each_index(&x.shape, |index| {
        if is_set(at) {
            index.iter().enumerate().for_each(|(axis, i)| places[axis * elements + found] = *i as i64);
            found += 1;
        }
        at += 1;
    });
    let places = Tensor::ints(k.shape(0)?, places).ok_or(EvalError::Kind)?;
    Ok(vec![places, Tensor::ints(k.shape(1)?, vec![found as i64]).ok_or(EvalError::Kind)?])
}

pub(super) fn non_max_suppression<T: Float>(k: &Kernel<'_, T>, centre: bool) -> Result<Tensor<T>, EvalError> {
    let (boxes, scores) = (k.floats(0)?, k.floats(1)?);
    let (Data::Int(order), Data::Int(most)) = (&k.x[2].data, &k.x[3].data) else {
        return Err(EvalError::Kind);
    };
    let [overlap, threshold] = [k.floats(4)?[0], k.floats(5)?[0]];
    let shape = k.shape(0)?;
    let [_, classes, limit] = shape[..] else { return Err(EvalError::Kind) };
    let each = k.x[1].shape[2];
    let most = usize::try_from(most[0]).unwrap_or(0).min(limit);
    let mut taken = Vec::with_capacity(shape.iter().product());
    for row in 0..shape[0] * classes {
        let corners = |place: usize| corners(&boxes[(row / classes * each + place) * 4..][..4], centre);
        let mut kept: Vec<usize> = Vec::new();
        for place in &order[row * each..][..each] {
            let Some(place) = usize::try_from(*place).ok().filter(|p| *p < each) else { continue };
            let fits = passes(scores[row * each + place], threshold)
                && !kept.iter().any(|other| overlaps(corners(place), corners(*other), overlap));
            if kept.len() < most && fits {
                kept.push(place);
            }
        }
        let rest = limit - kept.len();
        taken.extend(kept.into_iter().map(|place| place as i64).chain(std::iter::repeat_n(-1, rest)));
    }
    Tensor::ints(shape, taken).ok_or(EvalError::Kind)
}

/// Whether a score counts. Everything but NaN is above a threshold of minus infinity.
fn passes<T: Float>(score: T, threshold: T) -> bool {
    score > threshold || (threshold == T::NEG_INFINITY && score == T::NEG_INFINITY)
}

/// The least coordinates of a box, then the greatest.
fn corners<T: Float>(b: &[T], centre: bool) -> [T; 4] {
    if centre {
        let half = T::from_f64(0.5);
        let (w, h) = (b[2] * half, b[3] * half);
        [b[0] - w, b[1] - h, b[0] + w, b[1] + h]
    } else {
        [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
    }
}

/// Whether the intersection of two boxes is more than this part of their union. Boxes without an area overlap nothing.
fn overlaps<T: Float>(a: [T; 4], b: [T; 4], part: T) -> bool {
    let [across, down] = [0, 1].map(|i| min(a[i + 2], b[i + 2]) - max(a[i], b[i]));
    let area = |b: [T; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let (one, other) = (area(a), area(b));
    let positive = across > T::ZERO && down > T::ZERO && one > T::ZERO && other > T::ZERO;
    let common = across * down;
    positive && common / (one + other - common) > part
}
