//! Views: where the elements of a tensor lie in a storage.
//!
//! A view has one [`Axis`] for each logical axis; an axis is a mixed-radix number whose digits ([`Part`]) each have a
//! byte stride. Row-major tensors, channel blocks, halos, slices, transposes, pixel shuffles and flattened images are
//! all views of this form, so most operations that only move elements cost nothing.

use super::storage::StorageId;

/// `extent` steps of `stride` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub extent: i64,
    pub stride: i64,
}

/// How one logical axis moves through memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub size: i64,
    /// The most significant part first. The product of the extents is `size`, or more for channels in blocks whose
    /// last block is not full; then only the first part is cut. No parts: the axis does not move (size 1, broadcast).
    pub parts: Vec<Part>,
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub storage: StorageId,
    /// Byte offset of element 0 in the storage.
    pub base: i64,
    pub axes: Vec<Axis>,
}

impl Axis {
    /// One stride for all steps. An axis of size 1 has its stride too, for the halo around it.
    pub fn plain(size: i64, stride: i64) -> Axis {
        Axis { size, parts: vec![Part { extent: size, stride }] }
    }

    /// The same element for every index.
    pub fn broadcast(size: i64) -> Axis {
        Axis { size, parts: vec![] }
    }

    /// Blocks of `lanes` adjacent channels, `block` bytes apart.
    pub fn blocked(size: i64, lanes: i64, block: i64) -> Axis {
        let blocks = (size + lanes - 1) / lanes;
        let mut parts = vec![Part { extent: blocks, stride: block }, Part { extent: lanes, stride: 4 }];
        if blocks == 1 {
            parts.remove(0);
        }
        Axis { size, parts }
    }

    /// Number of indices that have a place: `size`, or more with padded lanes.
    pub fn extent(&self) -> i64 {
        if self.parts.is_empty() { self.size } else { self.parts.iter().map(|p| p.extent).product() }
    }

    /// Every place belongs to an index.
    pub fn is_exact(&self) -> bool {
        self.extent() == self.size
    }

    /// Byte offset of an index.
    pub fn offset(&self, mut index: i64) -> i64 {
        let mut offset = 0;
        for part in self.parts.iter().rev() {
            offset += index % part.extent * part.stride;
            index /= part.extent;
        }
        offset
    }

    /// The stride, if there is only one (0 for an axis that does not move).
    pub fn stride(&self) -> Option<i64> {
        match self.parts.as_slice() {
            [] => Some(0),
            [part] if part.extent >= self.size => Some(part.stride),
            _ => None,
        }
    }

    /// The same places with the fewest parts.
    pub fn simplified(&self) -> Axis {
        let mut parts: Vec<Part> = Vec::with_capacity(self.parts.len());
        for part in self.parts.iter().filter(|p| p.extent != 1) {
            match parts.last_mut() {
                Some(outer) if outer.stride == part.extent * part.stride => {
                    *outer = Part { extent: outer.extent * part.extent, stride: part.stride };
                }
                _ => parts.push(*part),
            }
        }
        if let [only] = parts.as_mut_slice() {
            only.extent = self.size;
        }
        if self.size == 1 {
            parts.clear();
        }
        Axis { size: self.size, parts }
    }

    /// Whether both axes move in the same way. A single index does not move, whatever its stride.
    pub fn moves_like(&self, other: &Axis) -> bool {
        self == other || (self.size == 1 && other.size == 1 && self.extent() == 1 && other.extent() == 1)
    }

    /// Indices `start`, `start + step`, …: the byte offset of the first and the axis, or `None` if that is no
    /// mixed-radix number.
    pub fn slice(&self, start: i64, step: i64, size: i64) -> Option<(i64, Axis)> {
        if start == 0 && step == 1 && size == self.size {
            return Some((0, self.clone()));
        }
        // Padded lanes must stay in sight: whoever writes the last block writes them.
        let flat = if self.is_exact() { self.simplified() } else { self.clone() };
        match flat.parts.as_slice() {
            [] => Some((0, Axis::broadcast(size))),
            [part] => Some((start * part.stride, Axis::plain(size, step * part.stride))),
            [outer, inner @ ..] => {
                // Whole blocks, or the last one with its padded lanes; or a single index.
                let block: i64 = inner.iter().map(|p| p.extent).product();
                let last = start + size == self.size;
                if step != 1 || start % block != 0 || (size % block != 0 && !last) {
                    return (size == 1).then(|| (self.offset(start), Axis::broadcast(1)));
                }
                let blocks = (size + block - 1) / block;
                let mut parts = vec![Part { extent: blocks, stride: outer.stride }];
                parts.extend_from_slice(inner);
                if blocks == 1 {
                    parts.remove(0);
                }
                Some((start / block * outer.stride, Axis { size, parts }))
            }
        }
    }
}

impl View {
    pub fn shape(&self) -> Vec<i64> {
        self.axes.iter().map(|a| a.size).collect()
    }

    /// The view under other sizes of the same number of elements in row-major order; `None` where places of an axis
    /// would have to be cut in a way that no parts describe.
    pub fn reshape(&self, shape: &[i64]) -> Option<View> {
        let mut digits: Vec<Part> = Vec::new();
        for axis in &self.axes {
            let axis = axis.simplified();
            if !axis.is_exact() {
                return None;
            }
            if axis.parts.is_empty() && axis.size != 1 {
                digits.push(Part { extent: axis.size, stride: 0 });
            }
            digits.extend(axis.parts);
        }
        // Digits that follow each other in memory are one, which can be cut anywhere.
        digits.dedup_by(|fine, coarse| {
            let joined = coarse.stride == fine.stride * fine.extent;
            if joined {
                *coarse = Part { extent: coarse.extent * fine.extent, stride: fine.stride };
            }
            joined
        });
        let mut axes = Vec::with_capacity(shape.len());
        for &size in shape.iter().rev() {
            let mut rest = size;
            let mut parts = Vec::new();
            while rest > 1 {
                let last = digits.pop()?;
                if rest % last.extent == 0 {
                    rest /= last.extent;
                    parts.push(last);
                } else if last.extent % rest == 0 {
                    digits.push(Part { extent: last.extent / rest, stride: last.stride * rest });
                    parts.push(Part { extent: rest, stride: last.stride });
                    rest = 1;
                } else {
                    return None;
                }
            }
            parts.reverse();
            axes.push(Axis { size, parts }.simplified());
        }
        axes.reverse();
        Some(View { storage: self.storage, base: self.base, axes })
    }

    /// Part of the view along one axis.
    pub fn slice(&self, axis: usize, start: i64, step: i64, size: i64) -> Option<View> {
        let (offset, sliced) = self.axes[axis].slice(start, step, size)?;
        let mut view = self.clone();
        view.base += offset;
        view.axes[axis] = sliced;
        Some(view)
    }

    /// Axis i of the result is axis `perm[i]`.
    pub fn permute(&self, perm: &[usize]) -> View {
        View { axes: perm.iter().map(|p| self.axes[*p].clone()).collect(), ..*self }
    }

    /// Axes as seen from a tensor of `shape`: axis i of the view runs along `places[i]`, and repeats where its size
    /// is 1.
    pub fn align(&self, places: &[usize], shape: &[i64]) -> Vec<Axis> {
        let mut axes: Vec<Axis> = shape.iter().map(|n| Axis::broadcast(*n)).collect();
        for (axis, place) in self.axes.iter().zip(places) {
            if axis.size != 1 {
                axes[*place] = axis.clone();
            }
        }
        axes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(axes: Vec<Axis>) -> View {
        View { storage: StorageId(0), base: 0, axes }
    }

    fn offsets(view: &View) -> Vec<i64> {
        let mut offsets = vec![view.base];
        for axis in &view.axes {
            offsets = offsets.iter().flat_map(|o| (0..axis.size).map(move |i| o + axis.offset(i))).collect();
        }
        offsets
    }

    #[test]
    fn reshapes_keep_the_order_of_elements() {
        let x =
            view(vec![Axis::plain(2, 960), Axis::blocked(8, 4, 480), Axis::plain(5, 96), Axis::plain(6, 16)]);
        for shape in [&[2, 240][..], &[16, 30], &[2, 8, 30], &[4, 4, 5, 2, 3], &[480]] {
            assert_eq!(offsets(&x.reshape(shape).expect("a view")), offsets(&x), "{shape:?}");
        }
        let cut = view(vec![Axis::blocked(6, 4, 96), Axis::plain(3, 32)]);
        assert!(cut.reshape(&[18]).is_none());
        // One pixel: the blocks of channels are adjacent, so padded lanes are simply behind the end.
        let pixel = view(vec![Axis::plain(1, 48), Axis::blocked(10, 4, 16), Axis::plain(1, 16)]);
        assert_eq!(
            offsets(&pixel.reshape(&[10]).expect("a view")),
            (0..10).map(|i| 4 * i).collect::<Vec<_>>()
        );
    }

    #[test]
    fn slices_of_blocks_are_views_where_they_are_aligned() {
        let x = view(vec![Axis::blocked(10, 4, 100)]);
        let places = |start, size| x.slice(0, start, 1, size).map(|v| offsets(&v));
        assert_eq!(places(4, 4), Some(vec![100, 104, 108, 112]));
        assert_eq!(places(8, 2), Some(vec![200, 204]));
        assert_eq!(places(4, 2), None);
        assert_eq!(places(2, 4), None);
        assert_eq!(places(5, 1), Some(vec![104]));
    }
}
