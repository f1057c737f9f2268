//! Arithmetic on constants: integers that never wrap, sizes with names, floats, conditions, initial values.

use super::value::{InitVal, Val};
use crate::dim::{Dim, DimError, DimFacts};
use crate::init::Init;
use crate::syntax::ast::BinaryOp;

/// Why an operator has no result; without a message it does not apply to such values at all.
pub struct Problem {
    pub message: Option<String>,
    pub help: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Problem {
        Problem { message: Some(message.into()), help: None }
    }

    fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }
}

const INAPPLICABLE: Problem = Problem { message: None, help: None };

impl From<DimError> for Problem {
    fn from(error: DimError) -> Problem {
        let help = match &error {
            DimError::NotDivisible { numerator, divisor } => Some(format!(
                "write `floor({numerator}/{divisor})` or `ceil({numerator}/{divisor})`, or add a fact: `where {numerator} % {divisor} == 0`"
            )),
            DimError::DivisionByZero
            | DimError::Overflow
            | DimError::TooComplex
            | DimError::Unbound(_)
            | DimError::NotInteger { .. }
            | DimError::Syntax(_) => None,
        };
        Problem { message: Some(error.to_string()), help }
    }
}

/// An operator on two values of which none is a tensor.
pub fn binary<'a>(
    op: BinaryOp,
    left: &Val<'a>,
    right: &Val<'a>,
    facts: &DimFacts,
) -> Result<Val<'a>, Problem> {
    match (left, right) {
        (Val::Int(_) | Val::Dim(_), Val::Int(_) | Val::Dim(_)) => {
            let (Some(a), Some(b)) = (left.as_dim(), right.as_dim()) else { return Err(INAPPLICABLE) };
            sizes(op, &a, &b, facts)
        }
        (Val::Int(_) | Val::Float(_), Val::Int(_) | Val::Float(_)) => {
            let (Some(a), Some(b)) = (left.as_float(), right.as_float()) else { return Err(INAPPLICABLE) };
            floats(op, a, b)
        }
        (Val::Dim(dim), Val::Float(_)) | (Val::Float(_), Val::Dim(dim)) => {
            Err(Problem::new(format!("the size {dim} and a float do not mix")).help("sizes are integers"))
        }
        (Val::Bool(a), Val::Bool(b)) => match op {
            BinaryOp::And => Ok(Val::Bool(*a && *b)),
            BinaryOp::Or => Ok(Val::Bool(*a || *b)),
            BinaryOp::Equal => Ok(Val::Bool(a == b)),
            BinaryOp::NotEqual => Ok(Val::Bool(a != b)),
            _ => Err(INAPPLICABLE),
        },
        (Val::Str(a), Val::Str(b)) => match op {
            BinaryOp::Equal => Ok(Val::Bool(a == b)),
            BinaryOp::NotEqual => Ok(Val::Bool(a != b)),
            _ => Err(INAPPLICABLE.help("strings are joined by interpolation: \"{a}{b}\"")),
        },
        (Val::List(a), Val::List(b)) if op == BinaryOp::Add => {
            if a.len() + b.len() > 1 << 16 {
                return Err(Problem::new("the joined list is too long"));
            }
            Ok(Val::list(a.iter().chain(b.iter()).cloned()))
        }
        (Val::Init(InitVal::Init(init)), number) if number.is_number() => scaled(op, *init, number),
        (number, Val::Init(InitVal::Init(init))) if number.is_number() => match op {
            BinaryOp::Multiply | BinaryOp::Add => scaled(op, *init, number),
            _ => Err(INAPPLICABLE.help("write the initialisation first: `he_normal() * 0.5 - 1`")),
        },
        (Val::Init(InitVal::File { .. } | InitVal::Data(_)), _) => {
            Err(INAPPLICABLE.help("only a drawn initialisation can be scaled; scale the tensor instead"))
        }
        _ => Err(INAPPLICABLE),
    }
}

/// `init * number`, `init / number`, `init + number`, `init - number`.
fn scaled<'a>(op: BinaryOp, init: Init, number: &Val<'a>) -> Result<Val<'a>, Problem> {
    let Some(value) = number.as_float() else {
        return Err(Problem::new("an initialisation is scaled by a number, not by a size"));
    };
    let init = match op {
        BinaryOp::Multiply => init.scaled_by(value),
        BinaryOp::Divide => init.scaled_by(1.0 / value),
        BinaryOp::Add => init.shifted_by(value),
        BinaryOp::Subtract => init.shifted_by(-value),
        _ => return Err(INAPPLICABLE),
    };
    Ok(Val::Init(InitVal::Init(init)))
}

fn sizes<'a>(op: BinaryOp, a: &Dim, b: &Dim, facts: &DimFacts) -> Result<Val<'a>, Problem> {
    let dim = match op {
        BinaryOp::Add => a.add(b)?,
        BinaryOp::Subtract => a.sub(b)?,
        BinaryOp::Multiply => a.mul(b)?,
        BinaryOp::Divide => a.div_exact(b, facts).map_err(|error| match (a, b) {
            (Dim::Const(x), Dim::Const(y)) if *y != 0 => Problem::new(format!("{x} / {y} is not an integer"))
                .help(format!("write `floor({x}/{y})`, `ceil({x}/{y})` or, for a float, `{x}.0/{y}`")),
            _ => error.into(),
        })?,
        BinaryOp::Remainder => remainder(a, b, facts)?,
        BinaryOp::Equal => return Ok(Val::Bool(equal(a, b, facts)?)),
        BinaryOp::NotEqual => return Ok(Val::Bool(!equal(a, b, facts)?)),
        BinaryOp::Less => return Ok(Val::Bool(less(a, b, facts)?)),
        BinaryOp::Greater => return Ok(Val::Bool(less(b, a, facts)?)),
        BinaryOp::LessEqual => return Ok(Val::Bool(!less(b, a, facts)?)),
        BinaryOp::GreaterEqual => return Ok(Val::Bool(!less(a, b, facts)?)),
        BinaryOp::And | BinaryOp::Or => {
            return Err(INAPPLICABLE.help("conditions are joined, numbers are not"));
        }
    };
    Ok(Val::dim(dim))
}

/// The remainder that is never negative, as the facts of a model use it.
fn remainder(a: &Dim, b: &Dim, facts: &DimFacts) -> Result<Dim, Problem> {
    let Some(divisor) = b.as_const().filter(|divisor| *divisor > 0) else {
        return Err(Problem::new(format!("the divisor {b} of `%` is not a positive number")));
    };
    let rest = a.sub(&a.floor_div(divisor, facts)?.mul(b)?)?;
    match rest.as_const() {
        Some(_) => Ok(rest),
        None => Err(Problem::new(format!("{a} % {divisor} is not known here"))
            .help(format!("add a fact to the model: `where {a} % {divisor} == 0`"))),
    }
}

fn equal(a: &Dim, b: &Dim, facts: &DimFacts) -> Result<bool, Problem> {
    let difference = a.sub(b)?;
    match (difference.as_const(), difference.bounds(facts)) {
        (Some(value), _) => Ok(value == 0),
        (None, (Some(low), _)) if low > 0 => Ok(false),
        (None, (_, Some(high))) if high < 0 => Ok(false),
        _ => Err(unknown(a, "==", b)),
    }
}

fn less(a: &Dim, b: &Dim, facts: &DimFacts) -> Result<bool, Problem> {
    match a.sub(b)?.bounds(facts) {
        (_, Some(high)) if high < 0 => Ok(true),
        (Some(low), _) if low >= 0 => Ok(false),
        _ => Err(unknown(a, "<", b)),
    }
}

fn unknown(a: &Dim, op: &str, b: &Dim) -> Problem {
    Problem::new(format!("whether {a} {op} {b} is not known until the model runs"))
        .help("give the sizes as numbers, or add a fact such as `where H in 32..=2048`")
}

fn floats<'a>(op: BinaryOp, a: f64, b: f64) -> Result<Val<'a>, Problem> {
    Ok(match op {
        BinaryOp::Add => Val::Float(a + b),
        BinaryOp::Subtract => Val::Float(a - b),
        BinaryOp::Multiply => Val::Float(a * b),
        BinaryOp::Divide => Val::Float(a / b),
        BinaryOp::Remainder => Val::Float(a.rem_euclid(b)),
        BinaryOp::Equal => Val::Bool(a == b),
        BinaryOp::NotEqual => Val::Bool(a != b),
        BinaryOp::Less => Val::Bool(a < b),
        BinaryOp::LessEqual => Val::Bool(a <= b),
        BinaryOp::Greater => Val::Bool(a > b),
        BinaryOp::GreaterEqual => Val::Bool(a >= b),
        BinaryOp::And | BinaryOp::Or => return Err(INAPPLICABLE),
    })
}

/// Ops that also compute with plain numbers.
pub fn is_numeric(name: &str) -> bool {
    let names = ["floor", "ceil", "round", "abs", "sqrt", "exp", "log", "min", "max", "pow"];
    names.contains(&name)
}

/// `floor(a / b)`, or `ceil`, for sizes.
pub fn rounded_quotient<'a>(up: bool, a: &Dim, b: &Dim, facts: &DimFacts) -> Result<Val<'a>, Problem> {
    let Some(divisor) = b.as_const().filter(|divisor| *divisor > 0) else {
        return Err(Problem::new(format!("the divisor {b} is not a positive number")));
    };
    Ok(Val::dim(if up { a.ceil_div(divisor, facts)? } else { a.floor_div(divisor, facts)? }))
}

/// A numeric op on constants.
pub fn numeric<'a>(name: &str, args: &[Val<'a>], facts: &DimFacts) -> Result<Val<'a>, Problem> {
    let wanted = if matches!(name, "min" | "max" | "pow") { 2 } else { 1 };
    if args.len() != wanted {
        return Err(Problem::new(format!(
            "`{name}` takes {wanted} number{}",
            if wanted == 1 { "" } else { "s" }
        )));
    }
    match (name, args) {
        ("floor" | "ceil" | "round", [Val::Int(_) | Val::Dim(_)]) => return Ok(args[0].clone()),
        ("floor" | "ceil" | "round", [Val::Float(value)]) => {
            let rounded = match name {
                "floor" => value.floor(),
                "ceil" => value.ceil(),
                _ => value.round_ties_even(),
            };
            // Integers beyond 2^53 are not exact in a float, so the result would be a guess.
            return if rounded.abs() <= 2f64.powi(53) {
                Ok(Val::Int(rounded as i64))
            } else {
                Err(Problem::new(format!("{value} is too large to become an integer")))
            };
        }
        ("abs", [Val::Int(value)]) => {
            return value.checked_abs().map(Val::Int).ok_or_else(|| DimError::Overflow.into());
        }
        ("min" | "max", [Val::Int(_) | Val::Dim(_), Val::Int(_) | Val::Dim(_)]) => {
            let (Some(a), Some(b)) = (args[0].as_dim(), args[1].as_dim()) else { return Err(INAPPLICABLE) };
            let first = if name == "min" { less(&a, &b, facts)? } else { less(&b, &a, facts)? };
            return Ok(args[usize::from(!first)].clone());
        }
        ("pow", [Val::Int(base), Val::Int(exponent)]) if *exponent >= 0 => {
            let power = u32::try_from(*exponent).ok().and_then(|exponent| base.checked_pow(exponent));
            return power.map(Val::Int).ok_or_else(|| DimError::Overflow.into());
        }
        _ => {}
    }
    let floats: Option<Vec<f64>> = args.iter().map(Val::as_float).collect();
    let Some(floats) = floats else {
        return Err(Problem::new(format!("`{name}` of a size that is not known here")));
    };
    Ok(Val::Float(match (name, floats.as_slice()) {
        ("abs", [x]) => x.abs(),
        ("sqrt", [x]) => x.sqrt(),
        ("exp", [x]) => x.exp(),
        ("log", [x]) => x.ln(),
        ("min", [a, b]) => a.min(*b),
        ("max", [a, b]) => a.max(*b),
        ("pow", [a, b]) => a.powf(*b),
        _ => return Err(INAPPLICABLE),
    }))
}
