//! `where`: facts about dimension names, kept with the graph, or checked where the sizes are known.

use super::cx::{Cx, Eval, Poisoned};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::dim::SymFacts;
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, Fact};

impl<'a> Cx<'a, '_> {
    /// Takes over the facts of a model.
    pub fn learn_facts(&mut self, facts: &'a [Fact]) {
        for fact in facts {
            // Errors are reported where they arise; the other facts still hold.
            let _ = match fact {
                Fact::Holds(expr) => self.learn(expr),
                Fact::In(name, set) => self.learn_range(name, set),
            };
        }
    }

    fn learn(&mut self, expr: &'a Expr) -> Eval<()> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.learn(inner),
            ExprKind::Chain(first, rest) if rest.iter().all(|(op, _)| *op == BinaryOp::And) => {
                self.learn(first)?;
                rest.iter().try_for_each(|(_, operand)| self.learn(operand))
            }
            ExprKind::Chain(first, rest) => match rest.as_slice() {
                [(op, second)] => self.learn_comparison(expr, first, *op, second),
                _ => Err(self.useless(expr.span)),
            },
            _ => self.assert(expr),
        }
    }

    fn learn_comparison(
        &mut self,
        whole: &'a Expr,
        first: &'a Expr,
        op: BinaryOp,
        second: &'a Expr,
    ) -> Eval<()> {
        if let (ExprKind::Chain(name, rest), BinaryOp::Equal) = (&unwrap(first).kind, op)
            && let [(BinaryOp::Remainder, modulus)] = rest.as_slice()
            && let Some(name) = self.symbol(name)
        {
            let (m, r) = (self.value(modulus)?, self.value(second)?);
            let modulus_value = self.want_int(m, modulus.span, "the modulus")?;
            let remainder = self.want_int(r, second.span, "the remainder")?;
            if modulus_value < 1 || !(0..modulus_value).contains(&remainder) {
                let message = format!("no number has the remainder {remainder} modulo {modulus_value}");
                return Err(self.error("E0414-fact", message, whole.span, "never true"));
            }
            let facts = self.graph.facts.entry(&name);
            return match both(facts, modulus_value, remainder) {
                Some((modulus, remainder)) => {
                    (facts.modulus, facts.remainder) = (modulus, remainder);
                    self.possible(&name, whole.span)
                }
                None => Err(self.contradiction(&name, whole.span)),
            };
        }
        let (name, bound, op) = match (self.symbol(first), self.symbol(second)) {
            (Some(name), None) => (name, second, op),
            (None, Some(name)) => (name, first, mirrored(op)),
            (Some(_), Some(_)) => return Err(self.useless(whole.span)),
            (None, None) => return self.assert(whole),
        };
        let value = self.value(bound)?;
        let bound = self.want_int(value, bound.span, "a bound")?;
        let (min, max) = match op {
            BinaryOp::Equal => (Some(bound), Some(bound)),
            BinaryOp::GreaterEqual => (Some(bound), None),
            BinaryOp::Greater => (Some(bound.saturating_add(1)), None),
            BinaryOp::LessEqual => (None, Some(bound)),
            BinaryOp::Less => (None, Some(bound.saturating_sub(1))),
            _ => return Err(self.useless(whole.span)),
        };
        self.narrow(&name, min, max, whole.span)
    }

    fn learn_range(&mut self, expr: &'a Expr, set: &'a Expr) -> Eval<()> {
        let span = expr.span.to(set.span);
        let (min, max) = match &set.kind {
            ExprKind::Range(range) => {
                let (start, end) = (self.value(&range.start)?, self.value(&range.end)?);
                let start = self.want_int(start, range.start.span, "a bound")?;
                let end = self.want_int(end, range.end.span, "a bound")?;
                (start, if range.inclusive { end } else { end.saturating_sub(1) })
            }
            _ => {
                let items = self.value(set)?;
                return self.assert_member(expr, items, set.span);
            }
        };
        match self.symbol(expr) {
            Some(name) => self.narrow(&name, Some(min), Some(max), span),
            None => {
                let value = self.value(expr)?;
                match self.want_int(value, expr.span, "what is compared with a range")? {
                    value if (min..=max).contains(&value) => Ok(()),
                    value => Err(self.violated(span, &format!("it is {value} here"))),
                }
            }
        }
    }

    fn assert_member(&mut self, expr: &'a Expr, items: Val<'a>, span: Span) -> Eval<()> {
        if self.symbol(expr).is_some() {
            return Err(self.useless(expr.span.to(span)));
        }
        let value = self.value(expr)?;
        let (Val::List(items) | Val::Tuple(items)) = items else {
            let what = self.describe(&items);
            let message = "`in` needs a range or a list";
            return Err(self.error("E0414-fact", message, span, &format!("this is {what}")));
        };
        for item in items.iter() {
            if let Val::Bool(true) = self.binary(BinaryOp::Equal, value.clone(), item.clone(), expr.span)? {
                return Ok(());
            }
        }
        let what = self.describe(&value);
        Err(self.violated(expr.span.to(span), &format!("it is {what} here")))
    }

    fn narrow(&mut self, name: &str, min: Option<i64>, max: Option<i64>, span: Span) -> Eval<()> {
        let facts = self.graph.facts.entry(name);
        facts.min = min.map_or(facts.min, |min| min.max(facts.min));
        facts.max = match (facts.max, max) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.possible(name, span)
    }

    /// Some value satisfies all that is known of a name.
    fn possible(&mut self, name: &str, span: Span) -> Eval<()> {
        let facts = self.graph.facts.get(name);
        let first = facts.min.checked_add((facts.remainder - facts.min).rem_euclid(facts.modulus));
        match (first, facts.max) {
            (Some(first), Some(max)) if first > max => Err(self.contradiction(name, span)),
            (None, _) => Err(self.contradiction(name, span)),
            (Some(_), _) => Ok(()),
        }
    }

    fn contradiction(&mut self, name: &str, span: Span) -> Poisoned {
        // The facts are dropped, so that nothing else fails because of them.
        *self.graph.facts.entry(name) = SymFacts::default();
        self.error(
            "E0414-fact",
            format!("no value of `{name}` satisfies all facts"),
            span,
            "contradicts what is before it",
        )
    }

    fn useless(&mut self, span: Span) -> Poisoned {
        let diagnostic = Diagnostic::error("E0414-fact", "this fact has a form that cannot be used")
            .label(span, "not a fact about one name")
            .help("facts are `H % 4 == 0`, `H in 32..=2048`, `H >= 32`; for equal sizes use one name");
        self.report(diagnostic)
    }

    fn violated(&mut self, span: Span, label: &str) -> Poisoned {
        self.error("E0415-requirement", "a requirement does not hold", span, label)
    }

    /// The facts of a block are requirements on its arguments.
    pub fn check_facts(&mut self, facts: &'a [Fact]) {
        for fact in facts {
            let _ = match fact {
                Fact::Holds(expr) => self.assert(expr),
                Fact::In(expr, set) => self.check_range(expr, set),
            };
        }
    }

    fn check_range(&mut self, expr: &'a Expr, set: &'a Expr) -> Eval<()> {
        let ExprKind::Range(range) = &set.kind else {
            let items = self.value(set)?;
            let value = self.value(expr)?;
            return match (value, items) {
                (value, Val::List(items) | Val::Tuple(items)) => {
                    for item in items.iter() {
                        if let Val::Bool(true) =
                            self.binary(BinaryOp::Equal, value.clone(), item.clone(), expr.span)?
                        {
                            return Ok(());
                        }
                    }
                    let what = self.describe(&value);
                    Err(self.violated(expr.span.to(set.span), &format!("it is {what} here")))
                }
                _ => {
                    Err(self.error("E0414-fact", "`in` needs a range or a list", set.span, "neither of them"))
                }
            };
        };
        let value = self.value(expr)?;
        let (start, end) = (self.value(&range.start)?, self.value(&range.end)?);
        let last = if range.inclusive { BinaryOp::LessEqual } else { BinaryOp::Less };
        let above = self.binary(BinaryOp::GreaterEqual, value.clone(), start, expr.span)?;
        let below = self.binary(last, value.clone(), end, expr.span)?;
        match (above, below) {
            (Val::Bool(true), Val::Bool(true)) => Ok(()),
            _ => {
                let what = self.describe(&value);
                Err(self.violated(expr.span.to(set.span), &format!("it is {what} here")))
            }
        }
    }

    fn assert(&mut self, expr: &'a Expr) -> Eval<()> {
        match self.value(expr)? {
            Val::Bool(true) => Ok(()),
            Val::Bool(false) => Err(self.violated(expr.span, "false here")),
            _ => Err(self.useless(expr.span)),
        }
    }

    /// The dimension name that an expression is, if it is one.
    fn symbol(&self, expr: &'a Expr) -> Option<String> {
        match &unwrap(expr).kind {
            ExprKind::Name(name) => match self.local(name)? {
                Val::Dim(dim) => dim.as_sym().map(str::to_owned),
                _ => None,
            },
            _ => None,
        }
    }
}

fn unwrap(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => unwrap(inner),
        _ => expr,
    }
}

/// The comparison read from right to left.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        op => op,
    }
}

/// What two congruences say together: `None` if they contradict each other or the modulus gets too large.
fn both(facts: &SymFacts, modulus: i64, remainder: i64) -> Option<(i64, i64)> {
    let (a, b) = (i128::from(facts.modulus), i128::from(modulus));
    let (r, s) = (i128::from(facts.remainder), i128::from(remainder));
    let g = gcd(a, b);
    if (s - r) % g != 0 {
        return None;
    }
    // The solution is r + a·k with a·k ≡ s − r (mod b); the moduli of models are small, so k is searched for.
    let lcm = a / g * b;
    let k = (0..(b / g).min(1 << 20)).find(|k| (r + a * k - s) % b == 0)?;
    Some((i64::try_from(lcm).ok()?, i64::try_from((r + a * k) % lcm).ok()?))
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congruences_combine() {
        let facts = |modulus, remainder| SymFacts { modulus, remainder, ..SymFacts::default() };
        assert_eq!(both(&facts(4, 0), 6, 0), Some((12, 0)));
        assert_eq!(both(&facts(4, 1), 6, 3), Some((12, 9)));
        assert_eq!(both(&facts(1, 0), 32, 5), Some((32, 5)));
        assert_eq!(both(&facts(4, 1), 6, 2), None);
    }
}
