//! Small tensors whose elements are known at import: constants and sizes.
//!
//! Exporters spell shapes out as integer arithmetic on tensors (`Shape`, `Gather`, `Mul`, `Concat`, …). The importer
//! carries the elements along as symbolic sizes, so that this arithmetic is gone from the graph.

use super::tensor::RawTensor;
use rectify_ir::literal::Literal;
use rectify_ir::{DType, Dim, DimFacts};

/// Tensors of more elements are not looked into. They are data, not shapes.
pub const MAX_KNOWN: usize = 1024;

/// One known element.
#[derive(Clone, Debug, PartialEq)]
pub enum Elem {
    /// `num / den` with `den >= 1`. In integer and bool tensors `den` is 1. In float tensors `num` is symbolic: plain
    /// numbers are `Float` there.
    Exact { num: Dim, den: i64 },
    /// A number of a float tensor, rounded to its type.
    Float(f64),
}

impl Elem {
    pub fn int(v: i64) -> Elem {
        Elem::Exact { num: Dim::Const(v), den: 1 }
    }

    pub fn dim(num: Dim) -> Elem {
        Elem::Exact { num, den: 1 }
    }

    /// The element as an exact fraction: floats too, where they are one of small numbers.
    pub fn fraction(&self) -> Option<(Dim, i64)> {
        match self {
            Elem::Exact { num, den } => Some((num.clone(), *den)),
            Elem::Float(v) => {
                let den = (0..=20).map(|k| 1i64 << k).find(|d| (v * *d as f64).fract() == 0.0)?;
                let num = v * den as f64;
                (num.abs() < 2f64.powi(40)).then_some((Dim::Const(num as i64), den))
            }
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Elem::Float(v) => Some(*v),
            Elem::Exact { num, den } => num.as_const().map(|n| n as f64 / *den as f64),
        }
    }

    pub fn truth(&self) -> Option<bool> {
        self.as_f64().map(|v| v != 0.0)
    }
}

/// A tensor whose elements are all known.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Row-major; as many as the product of the shape, at most [`MAX_KNOWN`].
    pub elems: Vec<Elem>,
    /// Computed from sizes or from values given for inputs, and so not simply a constant of the file.
    pub derived: bool,
}

/// Number of elements, if few enough to be known.
pub fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_KNOWN)
}

impl Known {
    /// `None` if there are too many elements or the numbers do not fit the shape.
    pub fn new(dtype: DType, shape: Vec<usize>, elems: Vec<Elem>, derived: bool) -> Option<Known> {
        (count(&shape)? == elems.len()).then_some(Known { dtype, shape, elems, derived })
    }

    /// A vector of sizes, as `Shape` makes it.
    pub fn dims(dims: &[Dim]) -> Known {
        let elems = dims.iter().cloned().map(Elem::dim).collect();
        Known { dtype: DType::I64, shape: vec![dims.len()], elems, derived: true }
    }

    pub fn of_raw(t: &RawTensor) -> Option<Known> {
        count(&t.shape)?;
        Known::of_literal(&t.to_literal())
    }

    pub fn of_literal(l: &Literal) -> Option<Known> {
        count(&l.shape)?;
        let elem = |i: usize| -> Option<Elem> {
            Some(match l.dtype {
                DType::I64 => {
                    let b = l.bytes.get(8 * i..8 * i + 8)?.try_into().ok()?;
                    Elem::int(i64::from_le_bytes(b))
                }
                DType::U64 => {
                    let b = l.bytes.get(8 * i..8 * i + 8)?.try_into().ok()?;
                    Elem::int(i64::try_from(u64::from_le_bytes(b)).ok()?)
                }
                DType::Bool => Elem::int((l.get_f64(i)? != 0.0).into()),
                d if d.is_float() => Elem::Float(l.get_f64(i)?),
                _ => Elem::int(l.get_f64(i)? as i64),
            })
        };
        let elems = (0..l.elements()).map(elem).collect::<Option<Vec<_>>>()?;
        Known::new(l.dtype, l.shape.clone(), elems, false)
    }

    /// The tensor as bytes, if no element is symbolic.
    pub fn to_literal(&self) -> Option<Literal> {
        let mut bytes = Vec::with_capacity(self.elems.len() * self.dtype.size_bytes());
        for e in &self.elems {
            let (float, int) = match e {
                Elem::Float(v) => (*v, *v as i64),
                Elem::Exact { num, den } => {
                    let n = num.as_const()?;
                    (n as f64 / *den as f64, n / *den)
                }
            };
            match self.dtype {
                DType::I64 | DType::U64 => bytes.extend(int.to_le_bytes()),
                dtype if dtype.is_float() => bytes.extend(encoded(float, dtype)),
                dtype => bytes.extend(encoded(int as f64, dtype)),
            }
        }
        Some(Literal { dtype: self.dtype, shape: self.shape.clone(), bytes: bytes.into() })
    }

    /// The elements as sizes, which may be symbolic; `None` for floats.
    pub fn as_dims(&self) -> Option<Vec<Dim>> {
        let dim = |e: &Elem| match e {
            Elem::Exact { num, den: 1 } if !self.dtype.is_float() => Some(num.clone()),
            Elem::Exact { .. } | Elem::Float(_) => None,
        };
        self.elems.iter().map(dim).collect()
    }

    /// The elements as integers; `None` if one is symbolic or a float.
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        self.as_dims()?.iter().map(Dim::as_const).collect()
    }

    /// The elements as numbers; `None` if one is symbolic.
    pub fn as_floats(&self) -> Option<Vec<f64>> {
        self.elems.iter().map(Elem::as_f64).collect()
    }

    /// The element, if it is the only one.
    pub fn single(&self) -> Option<&Elem> {
        match self.elems.as_slice() {
            [e] => Some(e),
            _ => None,
        }
    }

    /// Elements `from` of this tensor under a new shape.
    pub fn pick(&self, shape: Vec<usize>, from: &[usize]) -> Option<Known> {
        let elems = from.iter().map(|i| self.elems.get(*i).cloned()).collect::<Option<Vec<_>>>()?;
        Known::new(self.dtype, shape, elems, self.derived)
    }

    /// The elements as another type.
    pub fn cast(&self, to: DType, facts: &DimFacts) -> Option<Known> {
        let elems = self.elems.iter().map(|e| cast(e, to, facts)).collect::<Option<Vec<_>>>()?;
        Known::new(to, self.shape.clone(), elems, self.derived)
    }
}

/// A number in the bytes of a type; integers wrap.
pub fn encoded(v: f64, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 => (v as f32).to_le_bytes().to_vec(),
        DType::F64 => v.to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f64(v).to_le_bytes().to_vec(),
        DType::BF16 => half::bf16::from_f64(v).to_le_bytes().to_vec(),
        DType::I64 | DType::U64 => (v as i64).to_le_bytes().to_vec(),
        DType::I32 | DType::U32 => (v as i64 as i32).to_le_bytes().to_vec(),
        DType::I16 | DType::U16 => (v as i64 as i16).to_le_bytes().to_vec(),
        DType::I8 | DType::U8 => vec![v as i64 as u8],
        DType::Bool => vec![u8::from(v != 0.0)],
    }
}

/// A float as the type `dtype` holds it.
pub fn round_to(v: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from(v as f32),
        DType::F16 => half::f16::from_f64(v).to_f64(),
        DType::BF16 => half::bf16::from_f64(v).to_f64(),
        _ => v,
    }
}

pub fn cast(e: &Elem, to: DType, facts: &DimFacts) -> Option<Elem> {
    if to == DType::Bool {
        return Some(Elem::int(e.truth()?.into()));
    }
    if to.is_float() {
        return Some(match e.as_f64() {
            Some(v) => Elem::Float(round_to(v, to)),
            None => e.clone(),
        });
    }
    let int = match e {
        Elem::Float(v) if v.is_finite() && v.abs() < 2f64.powi(63) => Dim::Const(v.trunc() as i64),
        Elem::Float(_) => return None,
        Elem::Exact { num, den } => truncated(num, *den, facts)?,
    };
    let bits = 8 * to.size_bytes() as u32;
    Some(Elem::dim(match int.as_const() {
        // Narrow types wrap as the conversions of the hardware do.
        Some(v) if bits < 64 => {
            let low = v & ((1 << bits) - 1);
            let signed = matches!(to, DType::I8 | DType::I16 | DType::I32);
            Dim::Const(if signed && low >> (bits - 1) != 0 { low - (1 << bits) } else { low })
        }
        Some(_) | None => int,
    }))
}

/// num / den, rounded towards zero.
pub fn truncated(num: &Dim, den: i64, facts: &DimFacts) -> Option<Dim> {
    if let Some(n) = num.as_const() {
        return n.checked_div(den).map(Dim::Const);
    }
    if let Ok(q) = num.div_exact(&Dim::Const(den), facts) {
        return Some(q);
    }
    // Rounding down is rounding to zero where nothing is negative.
    (num.bounds(facts).0? >= 0 && den > 0).then(|| num.floor_div(den, facts).ok())?
}
