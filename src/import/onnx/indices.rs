//! Index arithmetic of ONNX's tensor operators: axes, slices, broadcasting.

use super::values::count;

/// The index that `i` stands for in `0..n`; negative counts from the end.
pub fn wrap(i: i64, n: usize) -> Option<usize> {
    let n = i64::try_from(n).ok()?;
    (-n..n).contains(&i).then(|| i.rem_euclid(n) as usize)
}

pub fn sizes(values: &[i64]) -> Option<Vec<usize>> {
    values.iter().map(|v| usize::try_from(*v).ok()).collect()
}

/// First element and number of elements that ONNX's `Slice` takes from an axis of `size` elements.
pub fn slice_range(size: i64, start: i64, end: i64, step: i64) -> Option<(i64, i64)> {
    if step == 0 || size < 0 {
        return None;
    }
    let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let start = from_end(start).clamp(low.max(0).min(high), high);
    let end = from_end(end).clamp(low, high);
    let span = if step > 0 { end - start } else { start - end };
    let step = i64::try_from(step.unsigned_abs()).unwrap_or(i64::MAX);
    let taken = if span > 0 { (span - 1) / step + 1 } else { 0 };
    Some((start, taken))
}

/// Sizes of `parts` equal parts; the last is smaller where they cannot be equal.
pub fn split_evenly(size: i64, parts: usize) -> Option<Vec<i64>> {
    let n = i64::try_from(parts).ok().filter(|n| *n > 0)?;
    let each = size.checked_add(n - 1)? / n;
    let last = size - each * (n - 1);
    (last >= 0).then(|| (0..n).map(|i| if i == n - 1 { last } else { each }).collect())
}

/// The shape without the named axes, or without all axes that are `one`.
pub fn squeezed<T: Clone>(shape: &[T], axes: Option<&[i64]>, one: impl Fn(&T) -> bool) -> Option<Vec<T>> {
    let mut gone = vec![false; shape.len()];
    match axes {
        None => gone.iter_mut().zip(shape).for_each(|(g, n)| *g = one(n)),
        Some(axes) => {
            for a in axes {
                let a = wrap(*a, shape.len())?;
                gone[a] = true;
                if !one(&shape[a]) {
                    return None;
                }
            }
        }
    }
    Some(shape.iter().zip(&gone).filter(|(_, g)| !**g).map(|(n, _)| n.clone()).collect())
}

/// The shape with an axis of size `one` at each of the places, which count in the result.
pub fn unsqueezed<T: Clone>(shape: &[T], axes: &[i64], one: T) -> Option<Vec<T>> {
    let rank = shape.len().checked_add(axes.len()).filter(|r| *r <= 64)?;
    let mut new = vec![false; rank];
    for a in axes {
        let a = wrap(*a, rank)?;
        if std::mem::replace(&mut new[a], true) {
            return None;
        }
    }
    let mut old = shape.iter();
    new.into_iter().map(|n| if n { Some(one.clone()) } else { old.next().cloned() }).collect()
}

pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let shape = (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    count(&shape)?;
    Some(shape)
}

pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// All index tuples of a shape that has at most `MAX_KNOWN` elements, in row-major order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let strides = strides(shape);
    let shape = shape.to_vec();
    let n = count(&shape).unwrap_or(0);
    (0..n).map(move |k| shape.iter().zip(&strides).map(|(d, s)| k / s % d).collect())
}

/// For each element of `to`, the element of `from` that broadcasting puts there.
pub fn expanded(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let offset = to.len().checked_sub(from.len())?;
    let strides = strides(from);
    let of = |at: Vec<usize>| {
        at[offset..].iter().zip(from).zip(&strides).map(|((i, n), s)| if *n == 1 { 0 } else { i * s }).sum()
    };
    Some(indices(to).map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_clamp() {
        assert_eq!(slice_range(5, 1, i64::MAX, 1), Some((1, 4)));
        assert_eq!(slice_range(5, -2, i64::MAX, 1), Some((3, 2)));
        assert_eq!(slice_range(5, 10, 20, 1), Some((5, 0)));
        assert_eq!(slice_range(5, -1, i64::MIN, -1), Some((4, 5)));
        assert_eq!(slice_range(5, 10, 0, -2), Some((4, 2)));
        assert_eq!(slice_range(0, 0, 4, 1), Some((0, 0)));
        assert_eq!(slice_range(0, 0, i64::MIN, -1), Some((-1, 0)));
    }

    #[test]
    fn parts_of_a_split() {
        assert_eq!(split_evenly(7, 4), Some(vec![2, 2, 2, 1]));
        assert_eq!(split_evenly(6, 2), Some(vec![3, 3]));
        assert_eq!(split_evenly(1, 3), None);
    }

    #[test]
    fn axes_come_and_go() {
        assert_eq!(unsqueezed(&[3, 4], &[0, -1], 1), Some(vec![1, 3, 4, 1]));
        assert_eq!(unsqueezed(&[3], &[1, 1], 1), None);
        assert_eq!(squeezed(&[1, 3, 1], None, |n| *n == 1), Some(vec![3]));
        assert_eq!(squeezed(&[1, 3, 1], Some(&[1]), |n| *n == 1), None);
    }
}
