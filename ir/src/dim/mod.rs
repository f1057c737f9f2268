//! Symbolic dimensions: integer-valued polynomials over the dimension names of a model.
//!
//! A dimension is kept in one normal form, so that two dimensions are the same function of the names exactly when
//! they compare equal (as far as the facts known of the names can tell). The form is a polynomial with rational
//! coefficients over *atoms*: a name (`H`) or a floored quotient (`floor((H + 1)/2)`). Coefficients may be fractions
//! only where the facts prove the whole to be an integer: with `H % 4 == 0`, `H/2` is the polynomial ½·H.

mod facts;
mod parse;
mod poly;

pub use facts::{DimFacts, SymFacts};
use poly::{Atom, Poly, Ratio};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Largest size that a bound dimension may have. Products of dimensions are checked separately.
pub const MAX_DIM: i64 = 1 << 40;

/// A symbolic dimension. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// A known size.
    Const(i64),
    /// A non-constant polynomial in normal form.
    Expr(Arc<Poly>),
}

/// Arithmetic on numbers that stand for sizes.
pub trait Sizes {
    type Value: Clone;
    type Error: From<DimError>;
    fn number(&mut self, n: i64) -> Result<Self::Value, Self::Error>;
    fn name(&mut self, name: &str) -> Result<Self::Value, Self::Error>;
    fn sum(&mut self, a: Self::Value, b: Self::Value) -> Result<Self::Value, Self::Error>;
    fn product(&mut self, a: Self::Value, b: Self::Value) -> Result<Self::Value, Self::Error>;
    /// Rounded down.
    fn quotient(&mut self, a: Self::Value, b: Self::Value) -> Result<Self::Value, Self::Error>;
}

/// A product of powers with a coefficient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub coefficient: i64,
    pub factors: Vec<(Factor, u32)>,
}

/// What a dimension is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Factor {
    Name(Arc<str>),
    /// The floor of a dimension divided by a constant of at least 2.
    Quotient(Dim, i64),
}

/// Why an operation on dimensions has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    #[error("the size overflows 64-bit arithmetic")]
    Overflow,
    #[error("the size expression has too many terms")]
    TooComplex,
    #[error("division by zero")]
    DivisionByZero,
    #[error("{numerator} is not known to be divisible by {divisor}")]
    NotDivisible { numerator: Dim, divisor: Dim },
    #[error("the dimension {0} has no value")]
    Unbound(String),
    #[error("{dim} has the value {value}, which is not an integer")]
    NotInteger { dim: Dim, value: String },
    #[error("not a dimension: `{0}`")]
    Syntax(String),
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim::Const(value)
    }
}

impl Dim {
    /// The dimension named `name`.
    pub fn sym(name: &str) -> Dim {
        Dim::Expr(Arc::new(Poly::atom(Atom::Sym(name.into()))))
    }

    /// The value, if it depends on no name.
    pub fn as_const(&self) -> Option<i64> {
        match self {
            Dim::Const(c) => Some(*c),
            Dim::Expr(_) => None,
        }
    }

    /// The name, if the dimension is a single name.
    pub fn as_sym(&self) -> Option<&str> {
        match self {
            Dim::Const(_) => None,
            Dim::Expr(p) => p.as_sym(),
        }
    }

    fn poly(&self) -> Poly {
        match self {
            Dim::Const(c) => Poly::constant(Ratio::int(*c)),
            Dim::Expr(p) => (**p).clone(),
        }
    }

    fn from_poly(p: Poly) -> Dim {
        match p.as_int() {
            Some(c) => Dim::Const(c),
            None => Dim::Expr(Arc::new(p)),
        }
    }

    /// The sum.
    pub fn add(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Dim::Const(a), Dim::Const(b)) = (self, other) {
            return a.checked_add(*b).map(Dim::Const).ok_or(DimError::Overflow);
        }
        Ok(Dim::from_poly(self.poly().add(&other.poly())?))
    }

    /// The difference.
    pub fn sub(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Dim::Const(a), Dim::Const(b)) = (self, other) {
            return a.checked_sub(*b).map(Dim::Const).ok_or(DimError::Overflow);
        }
        Ok(Dim::from_poly(self.poly().sub(&other.poly())?))
    }

    /// The product.
    pub fn mul(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Dim::Const(a), Dim::Const(b)) = (self, other) {
            return a.checked_mul(*b).map(Dim::Const).ok_or(DimError::Overflow);
        }
        Ok(Dim::from_poly(self.poly().mul(&other.poly())?))
    }

    /// The product of many dimensions; 1 for none.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Result<Dim, DimError> {
        dims.into_iter().try_fold(Dim::Const(1), |acc, d| acc.mul(d))
    }

    /// The exact quotient, where the facts prove that it is an integer.
    pub fn div_exact(&self, divisor: &Dim, facts: &DimFacts) -> Result<Dim, DimError> {
        let refuse = || DimError::NotDivisible { numerator: self.clone(), divisor: divisor.clone() };
        match divisor {
            Dim::Const(0) => Err(DimError::DivisionByZero),
            Dim::Const(d) => {
                let q = self.poly().scale(Ratio::new(1, *d)?)?;
                if q.is_integer(facts)? { Ok(Dim::from_poly(q)) } else { Err(refuse()) }
            }
            Dim::Expr(p) => {
                let q = self.poly().div_poly(p)?.ok_or_else(refuse)?;
                if q.is_integer(facts)? { Ok(Dim::from_poly(q)) } else { Err(refuse()) }
            }
        }
    }

    /// `floor(self / divisor)` for a positive constant divisor.
    pub fn floor_div(&self, divisor: i64, facts: &DimFacts) -> Result<Dim, DimError> {
        if divisor <= 0 {
            return Err(DimError::DivisionByZero);
        }
        if let Dim::Const(c) = self {
            return Ok(Dim::Const(c.div_euclid(divisor)));
        }
        Ok(Dim::from_poly(self.poly().floor_div(divisor, facts)?))
    }

    /// `ceil(self / divisor)` for a positive constant divisor.
    pub fn ceil_div(&self, divisor: i64, facts: &DimFacts) -> Result<Dim, DimError> {
        self.add(&Dim::Const(divisor.checked_sub(1).ok_or(DimError::Overflow)?))?.floor_div(divisor, facts)
    }

    /// The value under a binding of the names.
    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> Result<i64, DimError> {
        match self {
            Dim::Const(c) => Ok(*c),
            Dim::Expr(p) => {
                let value = p.eval(lookup)?;
                value
                    .as_int()
                    .ok_or_else(|| DimError::NotInteger { dim: self.clone(), value: value.to_string() })
            }
        }
    }

    /// The dimension with some names replaced; names for which `lookup` has nothing stay.
    pub fn substitute(
        &self,
        lookup: &dyn Fn(&str) -> Option<Dim>,
        facts: &DimFacts,
    ) -> Result<Dim, DimError> {
        match self {
            Dim::Const(_) => Ok(self.clone()),
            Dim::Expr(p) => {
                let q = p.substitute(&|name| lookup(name).map(|d| d.poly()), facts)?;
                Ok(Dim::from_poly(q))
            }
        }
    }

    /// Where the dimension is linear in one name: that name, and the value of it that makes the dimension `value`, if
    /// an integer does.
    pub fn linear_root(&self, value: i64) -> Option<(Arc<str>, Option<i64>)> {
        match self {
            Dim::Const(_) => None,
            Dim::Expr(p) => p.linear_root(value),
        }
    }

    /// The dimension as a sum: its terms, to be added up and divided exactly by the denominator.
    pub fn terms(&self) -> Result<(i64, Vec<Term>), DimError> {
        let poly = self.poly();
        let (denominator, parts) = poly.parts()?;
        let factor = |(atom, power): &(Atom, u32)| {
            let factor = match atom {
                Atom::Sym(name) => Factor::Name(name.clone()),
                Atom::Floor(p, divisor) => Factor::Quotient(Dim::from_poly((**p).clone()), *divisor),
            };
            (factor, *power)
        };
        let term = |(coefficient, atoms): (i64, &[(Atom, u32)])| Term {
            coefficient,
            factors: atoms.iter().map(factor).collect(),
        };
        Ok((denominator, parts.into_iter().map(term).collect()))
    }

    /// The dimension computed from the numbers that its names are.
    pub fn compute<S: Sizes>(&self, sizes: &mut S) -> Result<S::Value, S::Error> {
        let (denominator, terms) = self.terms()?;
        let mut sum: Option<S::Value> = None;
        for term in terms {
            let mut product = sizes.number(term.coefficient)?;
            for (factor, power) in term.factors {
                let value = match factor {
                    Factor::Name(name) => sizes.name(&name)?,
                    Factor::Quotient(dim, divisor) => {
                        let (value, divisor) = (dim.compute(sizes)?, sizes.number(divisor)?);
                        sizes.quotient(value, divisor)?
                    }
                };
                for _ in 0..power {
                    product = sizes.product(product, value.clone())?;
                }
            }
            sum = Some(match sum {
                None => product,
                Some(sum) => sizes.sum(sum, product)?,
            });
        }
        match (sum, denominator) {
            (None, _) => sizes.number(0),
            (Some(sum), 1) => Ok(sum),
            (Some(sum), d) => {
                let d = sizes.number(d)?;
                sizes.quotient(sum, d)
            }
        }
    }

    /// Adds the names that the dimension depends on to `names`.
    pub fn collect_symbols(&self, names: &mut BTreeSet<Arc<str>>) {
        if let Dim::Expr(p) = self {
            p.collect_symbols(names);
        }
    }

    /// Bounds of the value: (least, greatest), `None` where nothing is known. Names are at least 1 unless the facts
    /// say otherwise.
    pub fn bounds(&self, facts: &DimFacts) -> (Option<i64>, Option<i64>) {
        match self {
            Dim::Const(c) => (Some(*c), Some(*c)),
            Dim::Expr(p) => p.bounds(facts),
        }
    }

    /// Reads the form that `Display` writes. Exact quotients are trusted: this reads dumps, whose dims were proven.
    pub fn parse(text: &str) -> Result<Dim, DimError> {
        parse::parse(text)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Const(c) => write!(f, "{c}"),
            Dim::Expr(p) => write!(f, "{p}"),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Const(c) => s.serialize_i64(*c),
            Dim::Expr(_) => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Dim, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Int(i64),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::Int(c) => Ok(Dim::Const(c)),
            Form::Text(t) => Dim::parse(&t).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests;
