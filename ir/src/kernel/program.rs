//! Elementwise programs: straight-line arithmetic over vector registers, fused into kernels.
//!
//! A [`Program`] is a list of steps in SSA form; step `i` defines register `%i`. Leaves are the accumulator that
//! the kernel computed, loads of the kernel's operands, and constants. The arithmetic is ONNX's on f32:
//!
//! * A NaN in any operand that the result depends on gives NaN, for `max`, `min`, `relu`, `clip` and `prelu` too.
//! * `prelu(x, a) = x > 0 ? x : a * x`; `leaky` is the same with a constant slope.
//! * Comparisons give 1.0 or 0.0 (a comparison with NaN gives 0.0); `select(c, a, b) = c != 0 ? a : b`.
//! * `round` goes to even on ties. `pow` follows IEEE 754 for zeros, infinities and negative bases.
//!
//! [`super::reference`] evaluates programs; it is the meaning that machine code is tested against.

use super::{Illegal, require};
use crate::op::Trig;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Straight-line elementwise code with one result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program {
    /// Invariant: a step names only registers of earlier steps.
    pub steps: Vec<Step>,
    pub result: Reg,
}

/// The register defined by the step of the same index; prints as `%3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reg(pub u16);

/// A constant held as the bits of an f64, so that programs can be hashed and compared. Kernels of f32 have those that f32
/// holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Constant(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// What the kernel computed before the program runs: the sum of products, the reduction.
    Acc,
    /// The kernel's operand of this index, at the place that the kernel's addressing gives.
    Load(u8),
    Const(Constant),
    Unary(Unary, Reg),
    Binary(Binary, Reg, Reg),
    /// `select(condition, yes, no)`.
    Select(Reg, Reg, Reg),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unary {
    Neg,
    Abs,
    Sqrt,
    Reciprocal,
    Floor,
    Ceil,
    Round,
    Exp,
    Log,
    Tanh,
    Sigmoid,
    Erf,
    /// `x / 2 * (1 + erf(x / sqrt 2))`.
    GeluErf,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    Silu,
    /// `max(0, min(1, alpha * x + beta))`.
    HardSigmoid {
        alpha: Constant,
        beta: Constant,
    },
    /// `x * hardsigmoid(alpha = 1/6, beta = 1/2)`.
    HardSwish,
    /// `x > 0 ? x : alpha * (exp(x) - 1)`.
    Elu {
        alpha: Constant,
    },
    /// `log(1 + exp(x))`.
    Softplus,
    Relu,
    Leaky {
        alpha: Constant,
    },
    /// `min(max, max(min, x))`.
    Clip {
        min: Constant,
        max: Constant,
    },
    Trig(Trig),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
    /// `prelu(x, slope)`.
    Prelu,
    Gt,
    Lt,
    Ge,
    Le,
    Eq,
    /// `a - trunc(a / b) * b`; of f32 exact while the quotient is below 2^23, beyond it zero.
    Rem,
    // Of integers bit by bit; of floats on 0 and 1.
    And,
    Or,
    Xor,
    // Of integers: by amounts beyond the bits of the type as by all of them.
    ShiftLeft,
    ShiftRight,
}

impl Program {
    /// The program that returns the accumulator.
    pub fn acc() -> Self {
        Program { steps: vec![Step::Acc], result: Reg(0) }
    }

    /// The program that returns operand 0: a copy.
    pub fn copy() -> Self {
        Program { steps: vec![Step::Load(0)], result: Reg(0) }
    }

    /// The program that returns a constant.
    pub fn constant(value: f64) -> Self {
        Program { steps: vec![Step::Const(Constant::new(value))], result: Reg(0) }
    }

    /// A program without steps, to be extended by the methods below; its result is the last step pushed.
    pub fn new() -> Self {
        Program { steps: Vec::new(), result: Reg(0) }
    }

    /// Appends a step, makes it the result and returns its register.
    pub fn push(&mut self, step: Step) -> Reg {
        self.steps.push(step);
        self.result = Reg((self.steps.len() - 1) as u16);
        self.result
    }

    pub fn unary(&mut self, op: Unary, x: Reg) -> Reg {
        self.push(Step::Unary(op, x))
    }

    pub fn binary(&mut self, op: Binary, a: Reg, b: Reg) -> Reg {
        self.push(Step::Binary(op, a, b))
    }

    pub fn constant_reg(&mut self, value: f64) -> Reg {
        self.push(Step::Const(Constant::new(value)))
    }

    /// Rounds all constants to f32.
    pub fn round_constants(&mut self) {
        for step in &mut self.steps {
            match step {
                Step::Const(c) => c.round(),
                Step::Unary(op, _) => op.constants().into_iter().flatten().for_each(Constant::round),
                Step::Acc | Step::Load(_) | Step::Binary(..) | Step::Select(..) => {}
            }
        }
    }

    /// Appends `select(load(operand), result, 0)`: keeps padded channel lanes zero when the program does not
    /// map zero to zero. The operand is a per-channel vector of ones whose packing pads with zeros.
    pub fn mask_with(&mut self, operand: u8) -> Reg {
        let value = self.result;
        let mask = self.push(Step::Load(operand));
        let zero = self.constant_reg(0.0);
        self.push(Step::Select(mask, value, zero))
    }

    /// Checks the invariants for a kernel that has this many operands and, or not, an accumulator.
    pub fn validate(&self, operands: usize, has_acc: bool) -> Result<(), Illegal> {
        require!(!self.steps.is_empty(), "a program without steps");
        require!(self.steps.len() <= 256, "a program of {} steps, more than 256", self.steps.len());
        require!((self.result.0 as usize) < self.steps.len(), "the result {} is not defined", self.result);
        for (index, step) in self.steps.iter().enumerate() {
            for reg in step.registers() {
                require!((reg.0 as usize) < index, "step %{index} uses {reg} before its definition");
            }
            match step {
                Step::Acc => {
                    require!(has_acc, "step %{index} uses an accumulator that the kernel does not have")
                }
                Step::Load(k) => {
                    require!((*k as usize) < operands, "step %{index} loads operand {k} of {operands}")
                }
                Step::Const(_) | Step::Unary(..) | Step::Binary(..) | Step::Select(..) => {}
            }
        }
        Ok(())
    }

    /// True for a program that hands on the accumulator (or operand 0) untouched.
    pub fn is_identity(&self) -> bool {
        matches!(self.steps[self.result.0 as usize], Step::Acc | Step::Load(0)) && self.steps.len() == 1
    }

    /// Whether the program loads this operand.
    pub fn loads(&self, operand: u8) -> bool {
        self.steps.contains(&Step::Load(operand))
    }

    /// Number of loads that the program names, counted by the highest operand index.
    pub fn operand_count(&self) -> usize {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Load(k) => *k as usize + 1,
                Step::Acc | Step::Const(_) | Step::Unary(..) | Step::Binary(..) | Step::Select(..) => 0,
            })
            .max()
            .unwrap_or(0)
    }

    /// Rough vector instructions of one evaluation; decides between unrolled and looped epilogues.
    pub fn weight(&self) -> usize {
        self.steps.iter().map(Step::weight).sum()
    }
}

impl Default for Program {
    fn default() -> Self {
        Program::new()
    }
}

impl Step {
    /// The registers that the step reads.
    pub fn registers(&self) -> impl Iterator<Item = Reg> {
        let (a, b, c) = match *self {
            Step::Acc | Step::Load(_) | Step::Const(_) => (None, None, None),
            Step::Unary(_, x) => (Some(x), None, None),
            Step::Binary(_, x, y) => (Some(x), Some(y), None),
            Step::Select(x, y, z) => (Some(x), Some(y), Some(z)),
        };
        [a, b, c].into_iter().flatten()
    }

    fn weight(&self) -> usize {
        match self {
            Step::Acc => 0,
            Step::Load(_) | Step::Const(_) => 1,
            Step::Unary(op, _) => match op {
                Unary::Neg | Unary::Abs | Unary::Sqrt | Unary::Reciprocal | Unary::Relu => 1,
                Unary::Floor | Unary::Ceil | Unary::Round | Unary::Clip { .. } => 2,
                Unary::Leaky { .. } | Unary::HardSigmoid { .. } | Unary::HardSwish => 4,
                Unary::Exp | Unary::Sigmoid | Unary::Silu | Unary::Elu { .. } => 20,
                Unary::Log | Unary::Tanh | Unary::GeluTanh => 30,
                Unary::Erf | Unary::GeluErf | Unary::Softplus => 40,
                Unary::Trig(_) => 60,
            },
            Step::Binary(op, ..) => match op {
                Binary::Add | Binary::Sub | Binary::Mul | Binary::Div => 1,
                Binary::Max | Binary::Min | Binary::Prelu => 3,
                Binary::Gt | Binary::Lt | Binary::Ge | Binary::Le | Binary::Eq => 2,
                Binary::Pow => 130,
                Binary::Rem => 25,
                Binary::And | Binary::Or | Binary::Xor => 1,
                Binary::ShiftLeft | Binary::ShiftRight => 6,
            },
            Step::Select(..) => 2,
        }
    }
}

impl Unary {
    fn constants(&mut self) -> [Option<&mut Constant>; 2] {
        match self {
            Unary::HardSigmoid { alpha: a, beta: b } | Unary::Clip { min: a, max: b } => [Some(a), Some(b)],
            Unary::Elu { alpha } | Unary::Leaky { alpha } => [Some(alpha), None],
            Unary::Neg
            | Unary::Abs
            | Unary::Sqrt
            | Unary::Reciprocal
            | Unary::Floor
            | Unary::Ceil
            | Unary::Round
            | Unary::Exp
            | Unary::Log
            | Unary::Tanh
            | Unary::Sigmoid
            | Unary::Erf
            | Unary::GeluErf
            | Unary::GeluTanh
            | Unary::Silu
            | Unary::HardSwish
            | Unary::Softplus
            | Unary::Relu
            | Unary::Trig(_) => [None, None],
        }
    }
}

impl Constant {
    pub fn new(value: f64) -> Self {
        Constant(value.to_bits())
    }

    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// The value in kernels of f32.
    pub fn single(self) -> f32 {
        self.value() as f32
    }

    fn round(&mut self) {
        *self = Constant::new(f64::from(self.single()));
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Self {
        Constant::new(value.into())
    }
}

/// Numbers of f32 with as few digits as tell them from others of f32.
impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f64::from(self.single()) == self.value() || self.value().is_nan() {
            true => write!(f, "{:?}", self.single()),
            false => write!(f, "{:?}", self.value()),
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f64::from(self.single()) == self.value() || self.value().is_nan() {
            true => write!(f, "{}", self.single()),
            false => write!(f, "{}", self.value()),
        }
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for Unary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unary::Neg => write!(f, "neg"),
            Unary::Abs => write!(f, "abs"),
            Unary::Sqrt => write!(f, "sqrt"),
            Unary::Reciprocal => write!(f, "reciprocal"),
            Unary::Floor => write!(f, "floor"),
            Unary::Ceil => write!(f, "ceil"),
            Unary::Round => write!(f, "round"),
            Unary::Exp => write!(f, "exp"),
            Unary::Log => write!(f, "log"),
            Unary::Tanh => write!(f, "tanh"),
            Unary::Sigmoid => write!(f, "sigmoid"),
            Unary::Erf => write!(f, "erf"),
            Unary::GeluErf => write!(f, "gelu"),
            Unary::GeluTanh => write!(f, "gelu_tanh"),
            Unary::Silu => write!(f, "silu"),
            Unary::HardSigmoid { alpha, beta } => write!(f, "hard_sigmoid[{alpha}, {beta}]"),
            Unary::HardSwish => write!(f, "hard_swish"),
            Unary::Elu { alpha } => write!(f, "elu[{alpha}]"),
            Unary::Softplus => write!(f, "softplus"),
            Unary::Relu => write!(f, "relu"),
            Unary::Leaky { alpha } => write!(f, "leaky[{alpha}]"),
            Unary::Clip { min, max } => write!(f, "clip[{min}, {max}]"),
            Unary::Trig(function) => f.write_str(function.name()),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Max => "max",
            Binary::Min => "min",
            Binary::Pow => "pow",
            Binary::Prelu => "prelu",
            Binary::Gt => "gt",
            Binary::Lt => "lt",
            Binary::Ge => "ge",
            Binary::Le => "le",
            Binary::Eq => "eq",
            Binary::Rem => "rem",
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Xor => "xor",
            Binary::ShiftLeft => "shift_left",
            Binary::ShiftRight => "shift_right",
        })
    }
}

/// Prints as one line: `{ %0 = acc; %1 = load 0; %2 = prelu(%0, %1) }`, the result last or named.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{")?;
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, " %{index} = ")?;
            match step {
                Step::Acc => write!(f, "acc")?,
                Step::Load(k) => write!(f, "load {k}")?,
                Step::Const(value) => write!(f, "{value}")?,
                Step::Unary(op, x) => write!(f, "{op}({x})")?,
                Step::Binary(op, x, y) => write!(f, "{op}({x}, {y})")?,
                Step::Select(c, x, y) => write!(f, "select({c}, {x}, {y})")?,
            }
            if index + 1 < self.steps.len() {
                write!(f, ";")?;
            }
        }
        if self.result.0 as usize + 1 != self.steps.len() {
            write!(f, "; yield {}", self.result)?;
        }
        write!(f, " }}")
    }
}
