//! Elementwise programs in tile IR: each step of a [`Program`] by the functions of [`super::math`].

use super::math::{Constants, Math};
use crate::tile::build::Builder;
use crate::tile::{FloatCompare, Rounding, V, VectorOp};
use rectify_ir::kernel::{Binary, Program, Reg, Step, Unary};

/// Evaluates a program; `load` gives its operands and is called once for each that is used.
pub fn evaluate(
    builder: &mut Builder,
    constants: &mut Constants,
    program: &Program,
    acc: Option<V>,
    load: &mut dyn FnMut(&mut Builder, u8) -> V,
) -> V {
    let mut math = Math { builder, constants };
    let mut loads: Vec<(u8, V)> = Vec::new();
    let mut values: Vec<V> = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let get = |reg: Reg| values[reg.0 as usize];
        let value = match *step {
            // A legal program names an accumulator only where the kernel has one.
            Step::Acc => acc.unwrap_or(V(0)),
            Step::Load(k) => match loads.iter().find(|(operand, _)| *operand == k) {
                Some(&(_, value)) => value,
                None => {
                    let value = load(math.builder, k);
                    loads.push((k, value));
                    value
                }
            },
            Step::Const(value) => math.bits(value.single().to_bits()),
            Step::Unary(op, x) => math.unary(op, get(x)),
            Step::Binary(op, x, y) => math.binary(op, get(x), get(y)),
            Step::Select(c, yes, no) => match program.steps[c.0 as usize] {
                Step::Binary(op, x, y) if comparison(op).is_some() => {
                    let compare = comparison(op).unwrap_or(FloatCompare::Eq);
                    math.select(compare, get(x), get(y), get(yes), get(no))
                }
                _ => {
                    let zero = math.constant(0.0);
                    math.select(FloatCompare::Ne, get(c), zero, get(yes), get(no))
                }
            },
        };
        values.push(value);
    }
    values[program.result.0 as usize]
}

/// The greater of two vectors; NaN where either is.
pub fn maximum(builder: &mut Builder, a: V, b: V) -> V {
    // Each order keeps the NaN of its second operand; a NaN's bits survive `or` with anything.
    let one = builder.vector(VectorOp::Max(a, b));
    let other = builder.vector(VectorOp::Max(b, a));
    builder.vector(VectorOp::Or(one, other))
}

/// The smaller of two vectors; NaN where either is.
pub fn minimum(builder: &mut Builder, a: V, b: V) -> V {
    let one = builder.vector(VectorOp::Min(a, b));
    let other = builder.vector(VectorOp::Min(b, a));
    builder.vector(VectorOp::Or(one, other))
}

fn comparison(op: Binary) -> Option<FloatCompare> {
    match op {
        Binary::Gt => Some(FloatCompare::Gt),
        Binary::Lt => Some(FloatCompare::Lt),
        Binary::Ge => Some(FloatCompare::Ge),
        Binary::Le => Some(FloatCompare::Le),
        Binary::Eq => Some(FloatCompare::Eq),
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Div
        | Binary::Max
        | Binary::Min
        | Binary::Pow
        | Binary::Prelu
        | Binary::Rem
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::ShiftLeft
        | Binary::ShiftRight => None,
    }
}

impl Math<'_> {
    fn truth(&mut self, compare: FloatCompare, a: V, b: V) -> V {
        let (one, zero) = (self.constant(1.0), self.constant(0.0));
        self.select(compare, a, b, one, zero)
    }

    fn unary(&mut self, op: Unary, x: V) -> V {
        match op {
            Unary::Neg => self.neg(x),
            Unary::Abs => self.abs(x),
            Unary::Sqrt => self.op(VectorOp::Sqrt(x)),
            Unary::Reciprocal => {
                let one = self.constant(1.0);
                self.div(one, x)
            }
            Unary::Floor => self.op(VectorOp::Round(Rounding::Floor, x)),
            Unary::Ceil => self.op(VectorOp::Round(Rounding::Ceil, x)),
            Unary::Round => self.op(VectorOp::Round(Rounding::Nearest, x)),
            Unary::Exp => self.exp(x),
            Unary::Log => self.log(x),
            Unary::Tanh => self.tanh(x),
            Unary::Sigmoid => {
                let (numerator, denominator) = self.sigmoid_parts(x);
                self.div(numerator, denominator)
            }
            Unary::Erf => self.erf(x),
            Unary::GeluErf => {
                let scale = self.constant(std::f32::consts::FRAC_1_SQRT_2);
                let (half, one) = (self.constant(0.5), self.constant(1.0));
                let scaled = self.mul(x, scale);
                let erf = self.erf(scaled);
                let factor = self.add(erf, one);
                let halved = self.mul(x, half);
                self.mul(halved, factor)
            }
            Unary::GeluTanh => {
                // x / 2 * (1 + tanh u) = x * sigmoid(2 u).
                let (one, cubic) = (self.constant(1.0), self.constant(0.044715));
                let outer = self.constant(2.0 * (2.0 / std::f64::consts::PI).sqrt() as f32);
                let square = self.mul(x, x);
                let inner = self.mul_add(square, cubic, one);
                let u = self.mul(x, inner);
                let u = self.mul(u, outer);
                let (numerator, denominator) = self.sigmoid_parts(u);
                let product = self.mul(x, numerator);
                self.div(product, denominator)
            }
            Unary::Silu => {
                let (numerator, denominator) = self.sigmoid_parts(x);
                let product = self.mul(x, numerator);
                self.div(product, denominator)
            }
            Unary::HardSigmoid { alpha, beta } => self.hard_sigmoid(x, alpha.single(), beta.single()),
            Unary::HardSwish => {
                let factor = self.hard_sigmoid(x, 1.0 / 6.0, 0.5);
                self.mul(x, factor)
            }
            Unary::Elu { alpha } => {
                let (alpha, zero) = (self.bits(alpha.single().to_bits()), self.constant(0.0));
                let falling = self.at_most(x, 0.0);
                let e = self.exp_m1(falling);
                let scaled = self.mul(alpha, e);
                self.select(FloatCompare::Gt, x, zero, x, scaled)
            }
            Unary::Softplus => self.softplus(x),
            Unary::Relu => self.at_least(x, 0.0),
            Unary::Leaky { alpha } => {
                let alpha = self.bits(alpha.single().to_bits());
                self.prelu(x, alpha)
            }
            Unary::Trig(f) => self.trig(f, x),
            Unary::Clip { min, max } => {
                let x = self.at_least(x, min.single());
                self.at_most(x, max.single())
            }
        }
    }

    fn binary(&mut self, op: Binary, a: V, b: V) -> V {
        match op {
            Binary::Add => self.add(a, b),
            Binary::Sub => self.sub(a, b),
            Binary::Mul => self.mul(a, b),
            Binary::Div => self.div(a, b),
            Binary::Max => maximum(self.builder, a, b),
            Binary::Min => minimum(self.builder, a, b),
            Binary::Pow => self.pow(a, b),
            Binary::Prelu => self.prelu(a, b),
            Binary::Gt => self.truth(FloatCompare::Gt, a, b),
            Binary::Lt => self.truth(FloatCompare::Lt, a, b),
            Binary::Ge => self.truth(FloatCompare::Ge, a, b),
            Binary::Le => self.truth(FloatCompare::Le, a, b),
            Binary::Eq => self.truth(FloatCompare::Eq, a, b),
            Binary::Rem => self.rem(a, b),
            Binary::And => self.mul(a, b),
            Binary::Or => maximum(self.builder, a, b),
            Binary::Xor => {
                let difference = self.sub(a, b);
                self.abs(difference)
            }
            // The descriptor's check refuses shifts of floats.
            Binary::ShiftLeft | Binary::ShiftRight => a,
        }
    }
}
