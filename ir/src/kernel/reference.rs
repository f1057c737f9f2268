//! The meaning of elementwise programs: a scalar evaluator in f64, and what follows from evaluating them.

use super::program::{Binary, Program, Step, Unary};
use super::special::erf;

impl Program {
    /// Evaluates in f64.
    ///
    /// # Panics
    /// On a program that [`Program::validate`] refuses.
    pub fn evaluate(&self, acc: f64, loads: &[f64]) -> f64 {
        let mut values = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            values.push(match *step {
                Step::Acc => acc,
                Step::Load(k) => loads[k as usize],
                Step::Const(value) => value.value(),
                Step::Unary(op, x) => op.evaluate(values[x.0 as usize]),
                Step::Binary(op, x, y) => op.evaluate(values[x.0 as usize], values[y.0 as usize]),
                Step::Select(c, x, y) => values[if values[c.0 as usize] != 0.0 { x.0 } else { y.0 } as usize],
            });
        }
        values[self.result.0 as usize]
    }

    /// Evaluates on integers; `wrap` takes results of arithmetic to the width. A quotient is cut towards zero, and zero
    /// where the divisor is.
    ///
    /// # Panics
    /// On a program that [`Program::validate`] refuses.
    pub fn evaluate_integers(&self, acc: i128, loads: &[i128], wrap: impl Fn(i128) -> i128) -> i128 {
        let mut values: Vec<i128> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let get = |reg: super::Reg| values[reg.0 as usize];
            values.push(match *step {
                Step::Acc => acc,
                Step::Load(k) => loads[k as usize],
                Step::Const(value) => value.value() as i128,
                Step::Unary(op, x) => op.evaluate_integer(get(x), &wrap),
                Step::Binary(op, x, y) => op.evaluate_integers(get(x), get(y), &wrap),
                Step::Select(c, x, y) => get(if get(c) != 0 { x } else { y }),
            });
        }
        values[self.result.0 as usize]
    }

    /// Whether padded channel lanes stay zero: the accumulator is zero there, and so are the operands that
    /// `zero_when_padded` names (packed per-channel vectors and blocked tensors); the others may hold anything.
    pub fn maps_zero_to_zero(&self, zero_when_padded: impl Fn(u8) -> bool) -> bool {
        let mut values: Vec<Option<f64>> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let get = |reg: super::Reg| values[reg.0 as usize];
            values.push(match *step {
                Step::Acc => Some(0.0),
                Step::Load(k) => zero_when_padded(k).then_some(0.0),
                Step::Const(value) => Some(value.value()),
                Step::Unary(op, x) => get(x).map(|x| op.evaluate(x)),
                Step::Binary(op, x, y) => get(x).zip(get(y)).map(|(x, y)| op.evaluate(x, y)),
                Step::Select(c, x, y) => get(c).and_then(|c| if c != 0.0 { get(x) } else { get(y) }),
            });
        }
        values[self.result.0 as usize] == Some(0.0)
    }
}

impl Unary {
    pub fn evaluate(self, x: f64) -> f64 {
        match self {
            Unary::Neg => -x,
            Unary::Abs => x.abs(),
            Unary::Sqrt => x.sqrt(),
            Unary::Reciprocal => 1.0 / x,
            Unary::Floor => x.floor(),
            Unary::Ceil => x.ceil(),
            Unary::Round => x.round_ties_even(),
            Unary::Exp => x.exp(),
            Unary::Log => x.ln(),
            Unary::Tanh => x.tanh(),
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Erf => erf(x),
            Unary::GeluErf => {
                let tail = super::special::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
                0.5 * x * tail
            }
            Unary::GeluTanh => {
                // x / 2 * (1 + tanh u) is x * sigmoid(2 u), which does not cancel for negative u.
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                x / (1.0 + (-2.0 * u).exp())
            }
            Unary::Silu => x / (1.0 + (-x).exp()),
            Unary::HardSigmoid { alpha, beta } => {
                minimum(1.0, maximum(0.0, alpha.value() * x + beta.value()))
            }
            Unary::HardSwish => x * minimum(1.0, maximum(0.0, x / 6.0 + 0.5)),
            Unary::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    alpha.value() * x.exp_m1()
                }
            }
            Unary::Softplus => {
                // The stable form: max(x, 0) + log1p(exp(-|x|)).
                maximum(x, 0.0) + (-x.abs()).exp().ln_1p()
            }
            Unary::Relu => maximum(x, 0.0),
            Unary::Leaky { alpha } => prelu(x, alpha.value()),
            Unary::Clip { min, max } => minimum(max.value(), maximum(min.value(), x)),
            Unary::Trig(f) => f.evaluate(x),
        }
    }
}

impl Unary {
    /// The functions that kernels of integers have; the others give x.
    fn evaluate_integer(self, x: i128, wrap: impl Fn(i128) -> i128) -> i128 {
        match self {
            Unary::Neg => wrap(-x),
            Unary::Abs => wrap(x.abs()),
            Unary::Relu => x.max(0),
            // Integers are clipped to the integers within the bounds.
            Unary::Clip { min, max } => x.max(min.value().ceil() as i128).min(max.value().floor() as i128),
            _ => x,
        }
    }
}

impl Binary {
    /// On integers.
    fn evaluate_integers(self, a: i128, b: i128, wrap: impl Fn(i128) -> i128) -> i128 {
        match self {
            Binary::Add => wrap(a + b),
            Binary::Sub => wrap(a - b),
            Binary::Mul => wrap(a.wrapping_mul(b)),
            Binary::Div => wrap(a.checked_div(b).unwrap_or(0)),
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
            Binary::Gt => i128::from(a > b),
            Binary::Lt => i128::from(a < b),
            Binary::Ge => i128::from(a >= b),
            Binary::Le => i128::from(a <= b),
            Binary::Eq => i128::from(a == b),
            Binary::Rem => wrap(a.checked_rem(b).unwrap_or(a)),
            Binary::And => a & b,
            Binary::Or => a | b,
            Binary::Xor => a ^ b,
            Binary::ShiftLeft => wrap(if (0..64).contains(&b) { a << b } else { 0 }),
            Binary::ShiftRight => a >> if (0..64).contains(&b) { b } else { 64 },
            Binary::Pow => wrap(power(a, b)),
            // Kernels of integers have none.
            Binary::Prelu => a,
        }
    }

    pub fn evaluate(self, a: f64, b: f64) -> f64 {
        let truth = |condition: bool| if condition { 1.0 } else { 0.0 };
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Max => maximum(a, b),
            Binary::Min => minimum(a, b),
            Binary::Pow => a.powf(b),
            Binary::Prelu => prelu(a, b),
            Binary::Gt => truth(a > b),
            Binary::Lt => truth(a < b),
            Binary::Ge => truth(a >= b),
            Binary::Le => truth(a <= b),
            Binary::Eq => truth(a == b),
            Binary::Rem => a % b,
            Binary::And => a * b,
            Binary::Or => maximum(a, b),
            Binary::Xor => (a - b).abs(),
            // Kernels of floats have neither.
            Binary::ShiftLeft | Binary::ShiftRight => a,
        }
    }
}

/// By squares of the low 64 bits. A negative exponent leaves 1 of 1, ±1 of −1, and 0 of the others.
fn power(a: i128, b: i128) -> i128 {
    match a {
        1 if b < 0 => 1,
        -1 if b < 0 => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        _ if b < 0 => 0,
        _ => (0..64).rev().fold(1i128, |result, bit| {
            let square = i128::from((result as i64).wrapping_mul(result as i64));
            if b >> bit & 1 == 1 { i128::from((square as i64).wrapping_mul(a as i64)) } else { square }
        }),
    }
}

fn prelu(x: f64, slope: f64) -> f64 {
    if x > 0.0 { x } else { slope * x }
}

fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

#[cfg(test)]
mod tests {
    use super::super::{Constant, Reg};
    use super::*;

    #[test]
    fn nan_propagates_through_rectifiers() {
        let half = Constant::new(0.5);
        for op in [Unary::Relu, Unary::Leaky { alpha: half }, Unary::Clip { min: half, max: half }] {
            assert!(op.evaluate(f64::NAN).is_nan(), "{op}");
        }
        assert!(Binary::Max.evaluate(f64::NAN, 1.0).is_nan());
        assert!(Binary::Min.evaluate(1.0, f64::NAN).is_nan());
        assert!(Binary::Prelu.evaluate(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn padded_lanes() {
        let mut prelu = Program::acc();
        let slope = prelu.push(Step::Load(0));
        prelu.binary(Binary::Prelu, Reg(0), slope);
        assert!(prelu.maps_zero_to_zero(|_| true));
        assert!(!prelu.maps_zero_to_zero(|_| false), "an unknown slope could be infinite");
        let mut sigmoid = Program::acc();
        sigmoid.unary(Unary::Sigmoid, Reg(0));
        assert!(!sigmoid.maps_zero_to_zero(|_| true));
        sigmoid.mask_with(0);
        assert!(sigmoid.maps_zero_to_zero(|_| true));
        assert_eq!(sigmoid.evaluate(0.0, &[1.0]), 0.5);
    }

    #[test]
    fn prints_as_one_line() {
        let mut program = Program::acc();
        let slope = program.push(Step::Load(0));
        program.binary(Binary::Prelu, Reg(0), slope);
        assert_eq!(program.to_string(), "{ %0 = acc; %1 = load 0; %2 = prelu(%0, %1) }");
    }
}
