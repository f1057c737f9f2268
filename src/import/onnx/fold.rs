//! Evaluates operations on known small tensors while importing, so that shape arithmetic never enters the graph.

use super::attrs::Attrs;
use super::tensor;
use super::values::{BinaryFn, Compare, Elem, Known, UnaryFn, binary, count, unary};
use rectify_ir::{DType, Dim, DimFacts};

/// One node whose inputs are known.
pub struct Fold<'a> {
    pub op: &'a str,
    /// Version of ONNX's operator set.
    pub version: i64,
    /// `None` for optional inputs that are left out.
    pub inputs: Vec<Option<&'a Known>>,
    pub attrs: &'a Attrs<'a>,
    pub outputs: usize,
    pub facts: &'a DimFacts,
}

impl Fold<'_> {
    /// The results, if the operation is one that is evaluated here and they can be known.
    pub fn run(&self) -> Option<Vec<Known>> {
        let one = |k: Option<Known>| k.map(|k| vec![k]);
        match self.op {
            "Add" => one(self.binary(BinaryFn::Add)),
            "Sub" => one(self.binary(BinaryFn::Sub)),
            "Mul" => one(self.binary(BinaryFn::Mul)),
            "Div" => one(self.binary(BinaryFn::Div)),
            "Mod" => one(self.binary(BinaryFn::Mod { fmod: self.attrs.flag("fmod", false).ok()? })),
            "Pow" => one(self.binary(BinaryFn::Pow)),
            "Max" => one(self.variadic(BinaryFn::Max)),
            "Min" => one(self.variadic(BinaryFn::Min)),
            "And" => one(self.binary(BinaryFn::And)),
            "Or" => one(self.binary(BinaryFn::Or)),
            "Xor" => one(self.binary(BinaryFn::Xor)),
            "Equal" => one(self.binary(BinaryFn::Compare(Compare::Equal))),
            "Less" => one(self.binary(BinaryFn::Compare(Compare::Less))),
            "LessOrEqual" => one(self.binary(BinaryFn::Compare(Compare::LessOrEqual))),
            "Greater" => one(self.binary(BinaryFn::Compare(Compare::Greater))),
            "GreaterOrEqual" => one(self.binary(BinaryFn::Compare(Compare::GreaterOrEqual))),
            "Neg" => one(self.unary(UnaryFn::Neg)),
            "Abs" => one(self.unary(UnaryFn::Abs)),
            "Floor" => one(self.unary(UnaryFn::Floor)),
            "Ceil" => one(self.unary(UnaryFn::Ceil)),
            "Round" => one(self.unary(UnaryFn::Round)),
            "Sqrt" => one(self.unary(UnaryFn::Sqrt)),
            "Reciprocal" => one(self.unary(UnaryFn::Reciprocal)),
            "Sign" => one(self.unary(UnaryFn::Sign)),
            "Not" => one(self.unary(UnaryFn::Not)),
            "Cast" => {
                self.attrs.ignore(&["saturate", "round_mode"]);
                let to = i32::try_from(self.attrs.need_int("to").ok()?).ok()?;
                one(self.at(0)?.cast(tensor::dtype(to).ok()?, self.facts))
            }
            "CastLike" => {
                self.attrs.ignore(&["saturate", "round_mode"]);
                one(self.at(0)?.cast(self.at(1)?.dtype, self.facts))
            }
            "Where" => one(self.choose()),
            "Range" => one(self.range()),
            "ConstantOfShape" => one(self.constant_of_shape()),
            "Gather" => one(self.gather()),
            "Slice" => one(self.slice()),
            "Concat" => one(self.concat()),
            "Split" => self.split(),
            "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" => one(self.reshape()),
            "Transpose" => one(self.transpose()),
            "Expand" => one(self.expand()),
            "Tile" => one(self.tile()),
            "ReduceProd" => one(self.reduce(BinaryFn::Mul, Some(1))),
            "ReduceSum" => one(self.reduce(BinaryFn::Add, Some(0))),
            "ReduceMax" => one(self.reduce(BinaryFn::Max, None)),
            "ReduceMin" => one(self.reduce(BinaryFn::Min, None)),
            _ => None,
        }
    }

    fn at(&self, i: usize) -> Option<&Known> {
        self.inputs.get(i).copied().flatten()
    }

    /// Anything computed from what is derived is derived.
    fn derived(&self) -> bool {
        self.inputs.iter().flatten().any(|k| k.derived)
    }

    fn make(&self, dtype: DType, shape: Vec<usize>, elems: Vec<Elem>) -> Option<Known> {
        Known::new(dtype, shape, elems, self.derived())
    }

    fn unary(&self, f: UnaryFn) -> Option<Known> {
        let x = self.at(0)?;
        let elems = x.elems.iter().map(|e| unary(f, e, x.dtype, self.facts)).collect::<Option<_>>()?;
        self.make(x.dtype, x.shape.clone(), elems)
    }

    fn binary(&self, f: BinaryFn) -> Option<Known> {
        self.pair(f, self.at(0)?, self.at(1)?)
    }

    fn variadic(&self, f: BinaryFn) -> Option<Known> {
        let mut result = self.at(0)?.clone();
        for i in 1..self.inputs.len() {
            result = self.pair(f, &result, self.at(i)?)?;
        }
        Some(result)
    }

    fn pair(&self, f: BinaryFn, a: &Known, b: &Known) -> Option<Known> {
        if a.dtype != b.dtype {
            return None;
        }
        let shape = broadcast(&a.shape, &b.shape)?;
        let (ia, ib) = (expanded(&a.shape, &shape)?, expanded(&b.shape, &shape)?);
        let elems = ia
            .iter()
            .zip(&ib)
            .map(|(i, j)| binary(f, &a.elems[*i], &b.elems[*j], a.dtype, self.facts))
            .collect::<Option<_>>()?;
        self.make(f.result(a.dtype), shape, elems)
    }

    fn choose(&self) -> Option<Known> {
        let (c, a, b) = (self.at(0)?, self.at(1)?, self.at(2)?);
        let shape = broadcast(&broadcast(&c.shape, &a.shape)?, &b.shape)?;
        let (ic, ia, ib) =
            (expanded(&c.shape, &shape)?, expanded(&a.shape, &shape)?, expanded(&b.shape, &shape)?);
        let elems = (0..ic.len())
            .map(|i| match (&c.elems[ic[i]], &a.elems[ia[i]], &b.elems[ib[i]]) {
                // Both choices may be the same whatever the condition.
                (_, x, y) if x == y => Some(x.clone()),
                (Elem::Exact { num: Dim::Const(c), .. }, x, y) => {
                    Some(if *c != 0 { x.clone() } else { y.clone() })
                }
                _ => None,
            })
            .collect::<Option<_>>()?;
        self.make(a.dtype, shape, elems)
    }

    fn range(&self) -> Option<Known> {
        self.attrs.ignore(&["stash_type"]);
        let (start, limit, delta) = (self.at(0)?, self.at(1)?, self.at(2)?);
        let at = |k: &Known| k.as_ints().and_then(|v| (v.len() == 1).then(|| v[0]));
        let (start, limit, delta, dtype) = (at(start)?, at(limit)?, at(delta)?, start.dtype);
        if delta == 0 {
            return None;
        }
        let span = i128::from(limit) - i128::from(start);
        let d = i128::from(delta);
        let n = if (span > 0) == (d > 0) { (span.abs() + d.abs() - 1) / d.abs() } else { 0 };
        let n = usize::try_from(n).ok()?;
        count(&[n])?;
        let elems = (0..n as i64)
            .map(|i| Some(Elem::int(start.checked_add(i.checked_mul(delta)?)?)))
            .collect::<Option<_>>()?;
        self.make(dtype, vec![n], elems)
    }

    fn constant_of_shape(&self) -> Option<Known> {
        let shape = sizes(&self.at(0)?.as_ints()?)?;
        let n = count(&shape)?;
        let (dtype, value) = match self.attrs.tensor("value").ok()? {
            None => (DType::F32, Elem::Float(0.0)),
            Some(t) => {
                let raw = tensor::RawTensor::read(t, &mut super::external::ExternalFiles::none()).ok()?;
                let known = Known::of_raw(&raw)?;
                (known.dtype, known.single()?.clone())
            }
        };
        self.make(dtype, shape, vec![value; n])
    }

    fn axis(&self, name: &'static str, default: i64, rank: usize) -> Option<usize> {
        wrap(self.attrs.int(name, default).ok()?, rank)
    }

    fn gather(&self) -> Option<Known> {
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

    fn slice(&self) -> Option<Known> {
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

    fn concat(&self) -> Option<Known> {
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

    fn split(&self) -> Option<Vec<Known>> {
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

    fn reshape(&self) -> Option<Known> {
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

    fn transpose(&self) -> Option<Known> {
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

    fn expand(&self) -> Option<Known> {
        let (x, target) = (self.at(0)?, self.at(1)?);
        let shape = broadcast(&x.shape, &sizes(&target.as_ints()?)?)?;
        let mut k = x.pick(shape.clone(), &expanded(&x.shape, &shape)?)?;
        k.derived = self.derived();
        Some(k)
    }

    fn tile(&self) -> Option<Known> {
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

    fn reduce(&self, f: BinaryFn, empty: Option<i64>) -> Option<Known> {
        let x = self.at(0)?;
        let keep = self.attrs.flag("keepdims", true).ok()?;
        let by_input = self.version >= if self.op == "ReduceSum" { 13 } else { 18 };
        let axes = if by_input {
            match self.inputs.get(1) {
                Some(Some(k)) => k.as_ints()?,
                _ => vec![],
            }
        } else {
            self.attrs.ints("axes").ok()?.unwrap_or(&[]).to_vec()
        };
        if axes.is_empty() && by_input && self.attrs.flag("noop_with_empty_axes", false).ok()? {
            return Some(x.clone());
        }
        let rank = x.shape.len();
        let mut reduced = vec![axes.is_empty(); rank];
        for a in axes {
            reduced[wrap(a, rank)?] = true;
        }
        let kept: Vec<usize> = (0..rank).map(|i| if reduced[i] { 1 } else { x.shape[i] }).collect();
        let strides = strides(&kept);
        let mut sums: Vec<Option<Elem>> = vec![None; count(&kept)?];
        for (at, e) in indices(&x.shape).zip(&x.elems) {
            let to: usize =
                at.iter().zip(&strides).zip(&reduced).map(|((i, s), r)| if *r { 0 } else { i * s }).sum();
            sums[to] = Some(match sums[to].take() {
                None => e.clone(),
                Some(sum) => binary(f, &sum, e, x.dtype, self.facts)?,
            });
        }
        let neutral = empty.map(|v| if x.dtype.is_float() { Elem::Float(v as f64) } else { Elem::int(v) });
        let elems = sums.into_iter().map(|s| s.or_else(|| neutral.clone())).collect::<Option<_>>()?;
        let shape = if keep { kept } else { (0..rank).filter(|i| !reduced[*i]).map(|i| kept[i]).collect() };
        self.make(x.dtype, shape, elems)
    }
}

/// The index that `i` stands for in `0..n`; negative counts from the end.
pub fn wrap(i: i64, n: usize) -> Option<usize> {
    let n = i64::try_from(n).ok()?;
    (-n..n).contains(&i).then(|| i.rem_euclid(n) as usize)
}

fn sizes(values: &[i64]) -> Option<Vec<usize>> {
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

fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
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

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// All index tuples of a shape that has at most `MAX_KNOWN` elements, in row-major order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let strides = strides(shape);
    let shape = shape.to_vec();
    let n = count(&shape).unwrap_or(0);
    (0..n).map(move |k| shape.iter().zip(&strides).map(|(d, s)| k / s % d).collect())
}

/// For each element of `to`, the element of `from` that broadcasting puts there.
fn expanded(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
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

    fn run(op: &str, inputs: &[&Known]) -> Option<Vec<Known>> {
        let attrs = Attrs::new(&[]);
        let facts = DimFacts::default();
        Fold {
            op,
            version: 18,
            inputs: inputs.iter().map(|k| Some(*k)).collect(),
            attrs: &attrs,
            outputs: 1,
            facts: &facts,
        }
        .run()
    }

    fn ints(v: &[i64]) -> Known {
        Known::new(DType::I64, vec![v.len()], v.iter().map(|i| Elem::int(*i)).collect(), false).unwrap()
    }

    #[test]
    fn a_flattening_shape() {
        // Concat(Shape(x)[0:1], [-1]) for x of N images.
        let shape = Known::dims(&[Dim::sym("N"), Dim::Const(3), Dim::Const(4)]);
        let first = run("Slice", &[&shape, &ints(&[0]), &ints(&[1])]).unwrap().remove(0);
        assert_eq!(first.as_dims().unwrap(), [Dim::sym("N")]);
        assert!(first.derived);
        let rest = run("Slice", &[&shape, &ints(&[1]), &ints(&[i64::MAX])]).unwrap().remove(0);
        let all = run("ReduceProd", &[&rest]).unwrap().remove(0);
        assert_eq!((all.shape.as_slice(), all.as_ints().unwrap()), ([1].as_slice(), vec![12]));
    }

    #[test]
    fn hostile_sizes_are_not_computed() {
        assert_eq!(run("Range", &[&ints(&[0]), &ints(&[i64::MAX]), &ints(&[1])]), None);
        assert_eq!(run("ConstantOfShape", &[&ints(&[1 << 40, 1 << 40])]), None);
        assert_eq!(run("Tile", &[&ints(&[1, 2]), &ints(&[i64::MAX])]), None);
        assert_eq!(run("Range", &[&ints(&[5]), &ints(&[0]), &ints(&[-2])]).unwrap()[0], { ints(&[5, 3, 1]) });
        assert_eq!(run("Gather", &[&ints(&[1, 2]), &ints(&[7])]), None);
    }
}
