//! Evaluates operations on known small tensors while importing, so that shape arithmetic never enters the graph.

use super::arithmetic::{BinaryFn, Compare, UnaryFn, binary, unary};
use super::attrs::Attrs;
use super::indices::{broadcast, expanded, indices, sizes, strides, wrap};
use super::tensor;
use super::values::{Elem, Known, count};
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

    pub(super) fn at(&self, i: usize) -> Option<&Known> {
        self.inputs.get(i).copied().flatten()
    }

    /// Anything computed from what is derived is derived.
    pub(super) fn derived(&self) -> bool {
        self.inputs.iter().flatten().any(|k| k.derived)
    }

    pub(super) fn make(&self, dtype: DType, shape: Vec<usize>, elems: Vec<Elem>) -> Option<Known> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
