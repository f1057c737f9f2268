//! Sizes that are known at run time alone: their bounds, and the numbers that they are then.

use crate::pieces::{Made, Pieces};
use crate::pipeline::PassError;
use rectify_ir::Dim;
use rectify_ir::dim::{DimFacts, Factor, Sizes};
use rectify_ir::graph::Value;
use rectify_ir::op::Binary;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(super) struct Lengths {
    names: BTreeSet<Arc<str>>,
    bounds: BTreeMap<Arc<str>, Dim>,
    /// The numbers that cuts are given.
    counts: BTreeMap<Arc<str>, Value>,
    /// Sizes as numbers that lie within their bounds.
    values: HashMap<Dim, Value>,
}

impl Lengths {
    pub fn new(names: BTreeSet<Arc<str>>) -> Lengths {
        Lengths { names, bounds: BTreeMap::new(), counts: BTreeMap::new(), values: HashMap::new() }
    }

    /// Whether the size depends on data.
    pub fn concerns(&self, size: &Dim) -> bool {
        let mut names = BTreeSet::new();
        size.collect_symbols(&mut names);
        !names.is_disjoint(&self.names)
    }

    /// Whether the name has a bound, or inputs give it.
    pub fn is_known(&self, name: &Arc<str>) -> bool {
        !self.names.contains(name) || self.bounds.contains_key(name)
    }

    /// Takes over the name of a cut of an axis of size `all`. Another cut of the same name has the same count.
    pub fn define(
        &mut self,
        pieces: &mut Pieces<'_>,
        name: &str,
        all: &Dim,
        count: Value,
    ) -> Result<(), PassError> {
        match self.counts.get(name) {
            Some(known) if *known == count => return Ok(()),
            Some(_) => return Err(pieces.unsupported(format!("the size {name} is given by two counts"))),
            None => drop(self.counts.insert(name.into(), count)),
        }
        let count = pieces.reshape(count, vec![Dim::Const(1)])?;
        let zero = pieces.numbers(&[0]);
        let count = pieces.binary(Binary::Max, count, zero)?;
        let most = pieces.size(all)?;
        let count = pieces.binary(Binary::Min, count, most)?;
        self.bounds.insert(name.into(), all.clone());
        self.values.insert(Dim::sym(name), count);
        Ok(())
    }

    /// The greatest that the size can be.
    pub fn bound(&self, size: &Dim, facts: &DimFacts) -> Result<Dim, String> {
        if !self.concerns(size) {
            return Ok(size.clone());
        }
        if !self.grows(size) {
            return Err(format!("the size {size} shrinks where a size that depends on data grows"));
        }
        size.substitute(&|name| self.bounds.get(name).cloned(), facts).map_err(|e| e.to_string())
    }

    /// Whether the size is the greater, the greater the sizes are that depend on data.
    fn grows(&self, size: &Dim) -> bool {
        let Ok((_, terms)) = size.terms() else { return false };
        terms.iter().all(|term| {
            let concerned = |factor: &Factor| match factor {
                Factor::Name(name) => self.names.contains(name),
                Factor::Quotient(dim, _) => self.concerns(dim),
            };
            let grows = |factor: &Factor| match factor {
                Factor::Name(_) => true,
                Factor::Quotient(dim, _) => self.grows(dim),
            };
            !term.factors.iter().any(|(f, _)| concerned(f))
                || (term.coefficient > 0 && term.factors.iter().all(|(f, _)| grows(f)))
        })
    }

    /// The size as a number i64[1].
    pub fn value(&mut self, pieces: &mut Pieces<'_>, size: &Dim) -> Made {
        if let Some(value) = self.values.get(size) {
            return Ok(*value);
        }
        let value = match self.concerns(size) {
            true => size.compute(&mut Computed { lengths: self, pieces })?,
            false => pieces.size(size)?,
        };
        self.values.insert(size.clone(), value);
        Ok(value)
    }
}

/// Sizes computed by nodes of the graph.
struct Computed<'a, 'g> {
    lengths: &'a mut Lengths,
    pieces: &'a mut Pieces<'g>,
}

impl Sizes for Computed<'_, '_> {
    type Value = Value;
    type Error = PassError;

    fn number(&mut self, n: i64) -> Made {
        Ok(self.pieces.numbers(&[n]))
    }

    fn name(&mut self, name: &str) -> Made {
        let size = Dim::sym(name);
        match self.lengths.values.get(&size) {
            Some(value) => Ok(*value),
            None if self.lengths.concerns(&size) => {
                Err(self.pieces.unsupported(format!("nothing before gives the size {name}")))
            }
            None => self.lengths.value(self.pieces, &size),
        }
    }

    fn sum(&mut self, a: Value, b: Value) -> Made {
        self.pieces.binary(Binary::Add, a, b)
    }

    fn product(&mut self, a: Value, b: Value) -> Made {
        self.pieces.binary(Binary::Mul, a, b)
    }

    /// Sizes are not negative, so that cutting towards zero is rounding down.
    fn quotient(&mut self, a: Value, b: Value) -> Made {
        self.pieces.binary(Binary::Div, a, b)
    }
}
