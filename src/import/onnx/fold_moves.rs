//! Folding of operators that move elements or change shapes.

use super::fold::Fold;
use super::indices::{
    broadcast, expanded, indices, sizes, slice_range, split_evenly, squeezed, strides, unsqueezed, wrap,
};
use super::values::{Known, count};

impl Fold<'_> {
    fn axis(&self, name: &'static str, default: i64, rank: usize) -> Option<usize> {
        wrap(self.attrs.int(name, default).ok()?, rank)
    }

    pub(super) fn gather(&self) -> Option<Known> {
        let (x, indices) = (self.at(0)?, self.at(1)?);
        let axis = self.axis("axis", 0, x.shape.len())?;
        let (outer, rest) = x.shape.split_at(axis);
        let (size, inner) = rest.split_first()?;
        let inner_n: usize = inner.iter().product();
        let mut from = Vec::new();
        for o in 0..outer.iter().product::<usize>() {
            for i in indices.as_ints()? {
                let i = wrap(i, *size)?;
                from.extend((0..inner_n).map(|k| (o * size + i) * inner_n + k));
            }
        }
        let mut k = x.pick([outer, &indices.shape, inner].concat(), &from)?;
        k.derived = self.derived();
        Some(k)
    }

    pub(super) fn slice(&self) -> Option<Known> {
        let x = self.at(0)?;
        let read = |name: &'static str, i: usize| -> Option<Vec<i64>> {
            if self.version < 10 {
                return self.attrs.ints(name).ok()?.map(<[i64]>::to_vec);
            }
            self.at(i)?.as_ints()
        };
        let (starts, ends) = (read("starts", 1)?, read("ends", 2)?);
        let given = |i: usize| self.inputs.get(i).is_some_and(Option::is_some);
        let axes = if (self.version < 10 && self.attrs.has("axes")) || given(3) {
            read("axes", 3)?
        } else {
            (0..starts.len() as i64).collect()
        };
        let steps = if given(4) { self.at(4)?.as_ints()? } else { vec![1; starts.len()] };
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return None;
        }
        let mut picked: Vec<Vec<usize>> = x.shape.iter().map(|n| (0..*n).collect()).collect();
        for n in 0..axes.len() {
            let axis = wrap(axes[n], x.shape.len())?;
            let (start, taken) = slice_range(x.shape[axis] as i64, starts[n], ends[n], steps[n])?;
            picked[axis] =
                (0..taken).map(|k| usize::try_from(start + k * steps[n]).ok()).collect::<Option<_>>()?;
        }
        let shape: Vec<usize> = picked.iter().map(Vec::len).collect();
        let strides = strides(&x.shape);
        let from: Vec<usize> = indices(&shape)
            .map(|at| at.iter().zip(&picked).zip(&strides).map(|((i, p), s)| p[*i] * s).sum())
            .collect();
        x.pick(shape, &from)
    }

    pub(super) fn concat(&self) -> Option<Known> {
        let first = self.at(0)?;
        let axis = wrap(self.attrs.need_int("axis").ok()?, first.shape.len())?;
        let parts = self.inputs.iter().copied().collect::<Option<Vec<_>>>()?;
        let outer: usize = first.shape[..axis].iter().product();
        let mut shape = first.shape.clone();
        shape[axis] = 0;
        for p in &parts {
            let same = p.shape.len() == shape.len()
                && p.dtype == first.dtype
                && (0..shape.len()).all(|i| i == axis || p.shape[i] == shape[i]);
            if !same {
                return None;
            }
            shape[axis] = shape[axis].checked_add(p.shape[axis])?;
        }
        count(&shape)?;
        let mut elems = Vec::new();
        for o in 0..outer {
            for p in &parts {
                let n: usize = p.shape[axis..].iter().product();
                elems.extend_from_slice(&p.elems[o * n..(o + 1) * n]);
            }
        }
        self.make(first.dtype, shape, elems)
    }

    pub(super) fn split(&self) -> Option<Vec<Known>> {
        let x = self.at(0)?;
        let axis = self.axis("axis", 0, x.shape.len())?;
        let size = x.shape[axis];
        let given = if self.version < 13 {
            self.attrs.ints("split").ok()?.map(<[i64]>::to_vec)
        } else {
            self.attrs.ignore(&["num_outputs"]);
            match self.inputs.get(1) {
                Some(Some(k)) => Some(k.as_ints()?),
                _ => None,
            }
        };
        let parts = match given {
            Some(parts) => sizes(&parts)?,
            None => split_evenly(size as i64, self.outputs)?.into_iter().map(|n| n as usize).collect(),
        };
        if parts.iter().try_fold(0usize, |n, p| n.checked_add(*p))? != size {
            return None;
        }
        let strides = strides(&x.shape);
        let mut offset = 0;
        let mut results = Vec::new();
        for n in parts {
            let mut shape = x.shape.clone();
            shape[axis] = n;
            let from: Vec<usize> = indices(&shape)
                .map(|at| at.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>() + offset * strides[axis])
                .collect();
            results.push(x.pick(shape, &from)?);
            offset += n;
        }
        Some(results)
    }

    pub(super) fn reshape(&self) -> Option<Known> {
        let x = self.at(0)?;
        let axes = || -> Option<Option<Vec<i64>>> {
            if self.version < 13 {
                return Some(self.attrs.ints("axes").ok()?.map(<[i64]>::to_vec));
            }
            match self.inputs.get(1) {
                Some(Some(k)) => Some(Some(k.as_ints()?)),
                _ => Some(None),
            }
        };
        let shape = match self.op {
            "Squeeze" => squeezed(&x.shape, axes()?.as_deref(), |n| *n == 1)?,
            "Unsqueeze" => unsqueezed(&x.shape, &axes()??, 1)?,
            "Flatten" => {
                let axis = self.attrs.int("axis", 1).ok()?;
                let rank = x.shape.len() as i64;
                let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
                let (outer, inner) = x.shape.split_at_checked(axis)?;
                vec![outer.iter().product(), inner.iter().product()]
            }
            _ => {
                let allow_zero = self.attrs.flag("allowzero", false).ok()?;
                let mut shape = self.at(1)?.as_ints()?;
                for (i, d) in shape.iter_mut().enumerate() {
                    if *d == 0 && !allow_zero {
                        *d = *x.shape.get(i)? as i64;
                    }
                }
                if let Some(at) = shape.iter().position(|d| *d == -1) {
                    shape[at] = 1;
                    let rest = count(&sizes(&shape)?)?;
                    shape[at] = (x.elems.len() / rest.max(1)) as i64;
                }
                sizes(&shape)?
            }
        };
        self.make(x.dtype, shape, x.elems.clone())
    }

    pub(super) fn transpose(&self) -> Option<Known> {
        let x = self.at(0)?;
        let rank = x.shape.len();
        let perm = match self.attrs.ints("perm").ok()? {
            None => (0..rank).rev().collect(),
            Some(p) => sizes(p)?,
        };
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..rank) {
            return None;
        }
        let strides = strides(&x.shape);
        let shape: Vec<usize> = perm.iter().map(|p| x.shape[*p]).collect();
        let from: Vec<usize> =
            indices(&shape).map(|at| at.iter().zip(&perm).map(|(i, p)| i * strides[*p]).sum()).collect();
        x.pick(shape, &from)
    }

    pub(super) fn expand(&self) -> Option<Known> {
        let (x, target) = (self.at(0)?, self.at(1)?);
        let shape = broadcast(&x.shape, &sizes(&target.as_ints()?)?)?;
        let mut k = x.pick(shape.clone(), &expanded(&x.shape, &shape)?)?;
        k.derived = self.derived();
        Some(k)
    }

    pub(super) fn tile(&self) -> Option<Known> {
        let (x, repeats) = (self.at(0)?, sizes(&self.at(1)?.as_ints()?)?);
        if repeats.len() != x.shape.len() {
            return None;
        }
        let shape =
            x.shape.iter().zip(&repeats).map(|(n, r)| n.checked_mul(*r)).collect::<Option<Vec<_>>>()?;
        count(&shape)?;
        let strides = strides(&x.shape);
        let from: Vec<usize> = indices(&shape)
            .map(|at| at.iter().zip(&x.shape).zip(&strides).map(|((i, n), s)| i % n * s).sum())
            .collect();
        x.pick(shape, &from)
    }
}
