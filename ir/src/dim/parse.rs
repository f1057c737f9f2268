//! Reads the printed form of a dimension, as found in JSON.

use super::poly::{Poly, Ratio};
use super::{Dim, DimError, DimFacts};

/// Deeper nesting than any printed dimension has.
const MAX_DEPTH: u32 = 32;

pub fn parse(text: &str) -> Result<Dim, DimError> {
    if text.len() > 1 << 16 {
        return Err(DimError::TooComplex);
    }
    let mut p = Parser { text, rest: text };
    let dim = p.sum(0)?;
    p.skip_space();
    if p.rest.is_empty() { Ok(Dim::from_poly(dim)) } else { Err(p.error()) }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn error(&self) -> DimError {
        DimError::Syntax(self.text.chars().take(80).collect())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn sum(&mut self, depth: u32) -> Result<Poly, DimError> {
        if depth > MAX_DEPTH {
            return Err(DimError::TooComplex);
        }
        let mut sum =
            if self.eat("-") { self.product(depth)?.scale(Ratio::int(-1))? } else { self.product(depth)? };
        loop {
            if self.eat("+") {
                sum = sum.add(&self.product(depth)?)?;
            } else if self.eat("-") {
                sum = sum.sub(&self.product(depth)?)?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn product(&mut self, depth: u32) -> Result<Poly, DimError> {
        let mut product = self.factor(depth)?;
        loop {
            if self.eat("*") {
                product = product.mul(&self.factor(depth)?)?;
            } else if self.eat("/") {
                let d = self.factor(depth)?.as_int().ok_or_else(|| self.error())?;
                product = product.scale(Ratio::new(1, d)?)?;
            } else {
                return Ok(product);
            }
        }
    }

    fn factor(&mut self, depth: u32) -> Result<Poly, DimError> {
        if self.eat("floor(") {
            // `/` at the top of a floor is the floored division itself, so read the numerator as a factor or product.
            let mut numerator = self.factor(depth + 1)?;
            while self.eat("*") {
                numerator = numerator.mul(&self.factor(depth + 1)?)?;
            }
            if !self.eat("/") {
                return Err(self.error());
            }
            let d = self.factor(depth + 1)?.as_int().filter(|d| *d > 0).ok_or_else(|| self.error())?;
            if !self.eat(")") {
                return Err(self.error());
            }
            return numerator.floor_div(d, &DimFacts::default());
        }
        if self.eat("(") {
            let inner = self.sum(depth + 1)?;
            return if self.eat(")") { Ok(inner) } else { Err(self.error()) };
        }
        self.skip_space();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let Some(first) = word.chars().next() else { return Err(self.error()) };
        self.rest = rest;
        if first.is_ascii_digit() {
            let value = word.parse().map_err(|_| self.error())?;
            return Ok(Poly::constant(Ratio::int(value)));
        }
        Ok(Dim::sym(word).poly())
    }
}
