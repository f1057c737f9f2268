//! Polynomials with rational coefficients over atoms: the arithmetic behind [`Dim`](super::Dim).

use super::{DimError, DimFacts};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// More terms than any sensible size expression has; a limit against hostile models.
const MAX_TERMS: usize = 256;

/// A reduced fraction; the denominator is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ratio {
    num: i64,
    den: i64,
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

fn mul(a: i64, b: i64) -> Result<i64, DimError> {
    a.checked_mul(b).ok_or(DimError::Overflow)
}

fn lcm(a: i64, b: i64) -> Result<i64, DimError> {
    mul(a / gcd(a, b).max(1), b)
}

impl Ratio {
    pub fn int(num: i64) -> Ratio {
        Ratio { num, den: 1 }
    }

    pub fn new(num: i64, den: i64) -> Result<Ratio, DimError> {
        if den == 0 {
            return Err(DimError::DivisionByZero);
        }
        if num == i64::MIN || den == i64::MIN {
            return Err(DimError::Overflow);
        }
        let g = gcd(num, den).max(1) * den.signum();
        Ok(Ratio { num: num / g, den: den / g })
    }

    fn add(self, o: Ratio) -> Result<Ratio, DimError> {
        let num = mul(self.num, o.den)?.checked_add(mul(o.num, self.den)?).ok_or(DimError::Overflow)?;
        Ratio::new(num, mul(self.den, o.den)?)
    }

    fn mul(self, o: Ratio) -> Result<Ratio, DimError> {
        Ratio::new(mul(self.num, o.num)?, mul(self.den, o.den)?)
    }

    pub fn as_int(self) -> Option<i64> {
        (self.den == 1).then_some(self.num)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{}/{}", self.num, self.den) }
    }
}

/// An indivisible factor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// A dimension name.
    Sym(Arc<str>),
    /// `floor(p / d)` with `d >= 2` and integer coefficients in `p`.
    Floor(Box<Poly>, i64),
}

/// Atoms with their powers (at least 1), sorted.
type Monomial = Vec<(Atom, u32)>;

/// A coefficient with its atoms and their powers.
pub type Part<'p> = (i64, &'p [(Atom, u32)]);

/// A sum of monomials with coefficients other than 0. Invariant: the value is an integer wherever the facts hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Poly {
    terms: BTreeMap<Monomial, Ratio>,
}

impl Poly {
    pub fn constant(c: Ratio) -> Poly {
        let mut p = Poly::default();
        if c.num != 0 {
            p.terms.insert(Vec::new(), c);
        }
        p
    }

    pub fn atom(a: Atom) -> Poly {
        Poly { terms: BTreeMap::from([(vec![(a, 1)], Ratio::int(1))]) }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).and_then(|c| c.as_int()),
            _ => None,
        }
    }

    pub fn as_sym(&self) -> Option<&str> {
        let (m, c) = self.terms.first_key_value()?;
        match (m.as_slice(), self.terms.len(), *c) {
            ([(Atom::Sym(s), 1)], 1, Ratio { num: 1, den: 1 }) => Some(s),
            _ => None,
        }
    }

    fn add_term(&mut self, m: Monomial, c: Ratio) -> Result<(), DimError> {
        let sum = match self.terms.get(&m) {
            Some(old) => old.add(c)?,
            None => c,
        };
        if sum.num == 0 {
            self.terms.remove(&m);
        } else {
            self.terms.insert(m, sum);
            if self.terms.len() > MAX_TERMS {
                return Err(DimError::TooComplex);
            }
        }
        Ok(())
    }

    pub fn add(&self, o: &Poly) -> Result<Poly, DimError> {
        let mut sum = self.clone();
        for (m, c) in &o.terms {
            sum.add_term(m.clone(), *c)?;
        }
        Ok(sum)
    }

    pub fn sub(&self, o: &Poly) -> Result<Poly, DimError> {
        self.add(&o.scale(Ratio::int(-1))?)
    }

    pub fn scale(&self, by: Ratio) -> Result<Poly, DimError> {
        let mut p = Poly::default();
        for (m, c) in &self.terms {
            p.add_term(m.clone(), c.mul(by)?)?;
        }
        Ok(p)
    }

    pub fn mul(&self, o: &Poly) -> Result<Poly, DimError> {
        let mut p = Poly::default();
        for (m, c) in &self.terms {
            for (n, d) in &o.terms {
                p.add_term(mul_monomials(m, n)?, c.mul(*d)?)?;
            }
        }
        Ok(p)
    }

    /// The quotient by long division on leading terms, if there is no remainder.
    pub fn div_poly(&self, o: &Poly) -> Result<Option<Poly>, DimError> {
        let Some((lead, lead_c)) = o.leading() else { return Err(DimError::DivisionByZero) };
        let (mut rest, mut quotient) = (self.clone(), Poly::default());
        let inverse = Ratio::new(lead_c.den, lead_c.num)?;
        for _ in 0..=MAX_TERMS {
            let Some((m, c)) = rest.leading() else { return Ok(Some(quotient)) };
            let Some(q) = div_monomials(m, lead) else { return Ok(None) };
            let mut step = Poly::default();
            step.add_term(q, c.mul(inverse)?)?;
            quotient = quotient.add(&step)?;
            rest = rest.sub(&step.mul(o)?)?;
        }
        Ok(None)
    }

    /// The term of highest total degree; ties by the order of monomials.
    fn leading(&self) -> Option<(&Monomial, Ratio)> {
        let degree = |m: &Monomial| m.iter().map(|(_, k)| *k).sum::<u32>();
        self.terms.iter().max_by_key(|(m, _)| (degree(m), *m)).map(|(m, c)| (m, *c))
    }

    fn common_denominator(&self) -> Result<i64, DimError> {
        self.terms.values().try_fold(1, |l, c| lcm(l, c.den))
    }

    /// True where the facts prove that the value is an integer.
    pub fn is_integer(&self, facts: &DimFacts) -> Result<bool, DimError> {
        let den = self.common_denominator()?;
        if den == 1 {
            return Ok(true);
        }
        // den * self has integer coefficients and must vanish modulo den.
        let mut remainder = 0i64;
        for (m, c) in &self.terms {
            match term_residue(m, mul(c.num, den / c.den)?, den, facts)? {
                Some(r) => remainder = (remainder + r).rem_euclid(den),
                None => return Ok(false),
            }
        }
        Ok(remainder == 0)
    }

    pub fn floor_div(&self, d: i64, facts: &DimFacts) -> Result<Poly, DimError> {
        // floor((p/l)/d) = floor(p/(l*d)) clears fractions.
        let l = self.common_denominator()?;
        let (p, mut d) = (self.scale(Ratio::int(l))?, mul(d, l)?);
        // Whatever is a multiple of d leaves the floor; the constant leaves up to its remainder.
        let (mut whole, mut rest) = (Poly::default(), Poly::default());
        for (m, c) in &p.terms {
            if m.is_empty() {
                whole.add_term(Vec::new(), Ratio::int(c.num.div_euclid(d)))?;
                rest.add_term(Vec::new(), Ratio::int(c.num.rem_euclid(d)))?;
            } else if term_residue(m, c.num, d, facts)? == Some(0) {
                whole.add_term(m.clone(), c.mul(Ratio::new(1, d)?)?)?;
            } else {
                rest.add_term(m.clone(), *c)?;
            }
        }
        whole.terms.retain(|_, c| c.num != 0);
        rest.terms.retain(|_, c| c.num != 0);
        // The rest may be exact as a whole, e.g. (H - 1)/4 where H % 4 == 1.
        let exact = rest.scale(Ratio::new(1, d)?)?;
        if exact.is_integer(facts)? {
            return whole.add(&exact);
        }
        // With every variable term a multiple of g, floor((g·q + c)/(g·e)) = floor((q + floor(c/g))/e).
        let g = rest.terms.iter().filter(|(m, _)| !m.is_empty()).fold(d, |g, (_, c)| gcd(g, c.num));
        if g > 1 {
            let mut reduced = Poly::default();
            for (m, c) in &rest.terms {
                reduced.add_term(m.clone(), Ratio::int(c.num.div_euclid(g)))?;
            }
            d /= g;
            let c = reduced.terms.get(&Vec::new()).map_or(0, |c| c.num);
            whole.add_term(Vec::new(), Ratio::int(c.div_euclid(d)))?;
            reduced.terms.insert(Vec::new(), Ratio::int(c.rem_euclid(d)));
            reduced.terms.retain(|_, c| c.num != 0);
            whole.terms.retain(|_, c| c.num != 0);
            rest = reduced;
        }
        if let Some(c) = rest.as_int() {
            return whole.add(&Poly::constant(Ratio::int(c.div_euclid(d))));
        }
        // floor((floor(q/e) + c)/d) = floor((q + c·e)/(d·e)).
        let c = rest.terms.get(&Vec::new()).copied().unwrap_or(Ratio::int(0));
        let variable: Vec<_> = rest.terms.iter().filter(|(m, _)| !m.is_empty()).collect();
        if let [(m, Ratio { num: 1, den: 1 })] = variable.as_slice()
            && let [(Atom::Floor(q, e), 1)] = m.as_slice()
        {
            let inner = q.add(&Poly::constant(c.mul(Ratio::int(*e))?))?;
            return whole.add(&inner.floor_div(mul(d, *e)?, facts)?);
        }
        whole.add(&Poly::atom(Atom::Floor(Box::new(rest), d)))
    }

    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> Result<Ratio, DimError> {
        let mut sum = Ratio::int(0);
        for (m, c) in &self.terms {
            let mut product = *c;
            for (a, k) in m {
                let v = match a {
                    Atom::Sym(s) => lookup(s).ok_or_else(|| DimError::Unbound(s.to_string()))?,
                    Atom::Floor(p, d) => {
                        let v = p.eval(lookup)?;
                        v.num.div_euclid(mul(v.den, *d)?)
                    }
                };
                for _ in 0..*k {
                    product = product.mul(Ratio::int(v))?;
                }
            }
            sum = sum.add(product)?;
        }
        Ok(sum)
    }

    pub fn substitute(
        &self,
        lookup: &dyn Fn(&str) -> Option<Poly>,
        facts: &DimFacts,
    ) -> Result<Poly, DimError> {
        let mut sum = Poly::default();
        for (m, c) in &self.terms {
            let mut product = Poly::constant(*c);
            for (a, k) in m {
                let v = match a {
                    Atom::Sym(s) => lookup(s).unwrap_or_else(|| Poly::atom(a.clone())),
                    Atom::Floor(p, d) => p.substitute(lookup, facts)?.floor_div(*d, facts)?,
                };
                for _ in 0..*k {
                    product = product.mul(&v)?;
                }
            }
            sum = sum.add(&product)?;
        }
        Ok(sum)
    }

    /// The name x of a polynomial a·x + b, and the integer x for which it is `value`.
    pub fn linear_root(&self, value: i64) -> Option<(Arc<str>, Option<i64>)> {
        let mut variable = self.terms.iter().filter(|(m, _)| !m.is_empty());
        let (m, a) = variable.next()?;
        let [(Atom::Sym(name), 1)] = m.as_slice() else { return None };
        if variable.next().is_some() {
            return None;
        }
        let b = self.terms.get(&Vec::new()).copied().unwrap_or(Ratio::int(0));
        let negated = b.mul(Ratio::int(-1)).ok()?;
        let root = Ratio::int(value).add(negated).and_then(|rest| rest.mul(Ratio::new(a.den, a.num)?)).ok();
        Some((name.clone(), root.and_then(Ratio::as_int)))
    }

    /// The common denominator, and the numerators with their atoms.
    pub fn parts(&self) -> Result<(i64, Vec<Part<'_>>), DimError> {
        let den = self.common_denominator()?;
        let mut parts = Vec::with_capacity(self.terms.len());
        for (m, c) in &self.terms {
            parts.push((mul(c.num, den / c.den)?, m.as_slice()));
        }
        Ok((den, parts))
    }

    pub fn collect_symbols(&self, names: &mut BTreeSet<Arc<str>>) {
        for (a, _) in self.terms.keys().flatten() {
            match a {
                Atom::Sym(s) => {
                    names.insert(s.clone());
                }
                Atom::Floor(p, _) => p.collect_symbols(names),
            }
        }
    }

    /// Interval arithmetic in i128, saturating to "unknown".
    pub fn bounds(&self, facts: &DimFacts) -> (Option<i64>, Option<i64>) {
        let (mut low, mut high) = (Some(0i128), Some(0i128));
        let den = match self.common_denominator() {
            Ok(d) => d,
            Err(_) => return (None, None),
        };
        for (m, c) in &self.terms {
            let (mut a, mut b) = (Some(1i128), Some(1i128));
            for (atom, k) in m {
                let (l, h) = match atom {
                    Atom::Sym(s) => {
                        let f = facts.get(s);
                        (Some(f.min), f.max)
                    }
                    Atom::Floor(p, d) => {
                        let (l, h) = p.bounds(facts);
                        (l.map(|v| v.div_euclid(*d)), h.map(|v| v.div_euclid(*d)))
                    }
                };
                // Sizes are products of non-negative factors; a factor that may be negative leaves both ends open.
                let Some(l) = l.filter(|l| *l >= 0) else { return (None, None) };
                for _ in 0..*k {
                    a = a.and_then(|v| v.checked_mul(l.into()));
                    b = b.and_then(|v| v.checked_mul(h?.into()));
                }
            }
            let coefficient = i128::from(c.num) * i128::from(den / c.den);
            let (x, y) = if coefficient >= 0 { (a, b) } else { (b, a) };
            low = low.and_then(|s| s.checked_add(x?.checked_mul(coefficient)?));
            high = high.and_then(|s| s.checked_add(y?.checked_mul(coefficient)?));
        }
        let narrow = |v: Option<i128>| v.and_then(|v| i64::try_from(v.div_euclid(den.into())).ok());
        (narrow(low), narrow(high))
    }
}

fn mul_monomials(a: &Monomial, b: &Monomial) -> Result<Monomial, DimError> {
    let mut powers: BTreeMap<Atom, u32> = a.iter().cloned().collect();
    for (atom, k) in b {
        let p = powers.entry(atom.clone()).or_insert(0);
        *p = p.checked_add(*k).filter(|p| *p <= 64).ok_or(DimError::TooComplex)?;
    }
    Ok(powers.into_iter().collect())
}

fn div_monomials(a: &Monomial, b: &Monomial) -> Option<Monomial> {
    let mut powers: BTreeMap<Atom, u32> = a.iter().cloned().collect();
    for (atom, k) in b {
        let p = powers.get_mut(atom)?;
        *p = p.checked_sub(*k)?;
    }
    powers.retain(|_, k| *k > 0);
    Some(powers.into_iter().collect())
}

/// `c · m` modulo `d`, if the facts determine it.
fn term_residue(m: &Monomial, c: i64, d: i64, facts: &DimFacts) -> Result<Option<i64>, DimError> {
    let c = c.rem_euclid(d);
    if c == 0 {
        return Ok(Some(0));
    }
    // Each name with remainder 0 contributes its modulus as a factor.
    let mut factor = c;
    let mut determined = Some(c);
    for (atom, k) in m {
        let f = match atom {
            Atom::Sym(s) => facts.get(s),
            Atom::Floor(..) => Default::default(),
        };
        for _ in 0..*k {
            if f.remainder == 0 {
                factor = (i128::from(factor) * i128::from(f.modulus) % i128::from(d)) as i64;
            }
            determined = match determined {
                // c · x with x = r (mod m) is c·r modulo d where d divides c·m.
                Some(v) if i128::from(v) * i128::from(f.modulus) % i128::from(d) == 0 => {
                    Some((i128::from(v) * i128::from(f.remainder) % i128::from(d)) as i64)
                }
                _ => None,
            };
        }
    }
    Ok(if factor == 0 { Some(0) } else { determined })
}

impl fmt::Display for Poly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let den = self.common_denominator().map_err(|_| fmt::Error)?;
        let many = self.terms.len() > 1;
        if den > 1 && many {
            f.write_str("(")?;
        }
        // Constant last, names first: `2*H + 1`.
        let (constants, variables): (Vec<_>, Vec<_>) = self.terms.iter().partition(|(m, _)| m.is_empty());
        for (i, (m, c)) in variables.into_iter().chain(constants).enumerate() {
            let n = c.num.checked_mul(den / c.den).ok_or(fmt::Error)?;
            let magnitude = n.unsigned_abs();
            match (i, n < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            let mut first = true;
            if magnitude != 1 || m.is_empty() {
                write!(f, "{magnitude}")?;
                first = false;
            }
            for (atom, k) in m {
                for _ in 0..*k {
                    if !first {
                        f.write_str("*")?;
                    }
                    first = false;
                    match atom {
                        Atom::Sym(s) => f.write_str(s)?,
                        Atom::Floor(p, d) if p.terms.len() > 1 => write!(f, "floor(({p})/{d})")?,
                        Atom::Floor(p, d) => write!(f, "floor({p}/{d})")?,
                    }
                }
            }
        }
        if self.terms.is_empty() {
            f.write_str("0")?;
        }
        match (den > 1, many) {
            (true, true) => write!(f, ")/{den}"),
            (true, false) => write!(f, "/{den}"),
            _ => Ok(()),
        }
    }
}
