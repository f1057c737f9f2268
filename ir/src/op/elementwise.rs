//! Functions of one and of two numbers.

use super::Trig;
use crate::scalar::Scalar;
use serde::{Deserialize, Serialize};

/// A function of one number. Formulas hold with NaN in, NaN out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    /// x > 0 ? x : 0
    Relu,
    /// x > 0 ? x : alpha · x
    LeakyRelu {
        alpha: Scalar,
    },
    /// min(max(x, min), max)
    Clip {
        min: Scalar,
        max: Scalar,
    },
    /// 1 / (1 + exp(-x))
    Sigmoid,
    Tanh,
    Exp,
    Log,
    Sqrt,
    Abs,
    Neg,
    /// 1 / x
    Reciprocal,
    Erf,
    /// x · ½ (1 + erf(x / √2)); with `tanh`: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))
    Gelu {
        tanh: bool,
    },
    /// x · sigmoid(x)
    Silu,
    /// max(0, min(1, alpha · x + beta))
    HardSigmoid {
        alpha: Scalar,
        beta: Scalar,
    },
    /// x · max(0, min(1, x/6 + ½))
    HardSwish,
    /// x > 0 ? x : alpha · (exp(x) − 1)
    Elu {
        alpha: Scalar,
    },
    /// ln(1 + exp(x))
    Softplus,
    Floor,
    Ceil,
    /// To the nearest integer, ties to even.
    Round,
    /// -1, 0 or 1
    Sign,
    /// Of bool: true where x is false.
    Not,
    Trig(Trig),
}

impl Unary {
    pub fn name(&self) -> &'static str {
        match self {
            Unary::Relu => "relu",
            Unary::LeakyRelu { .. } => "leaky_relu",
            Unary::Clip { .. } => "clip",
            Unary::Sigmoid => "sigmoid",
            Unary::Tanh => "tanh",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Sqrt => "sqrt",
            Unary::Abs => "abs",
            Unary::Neg => "neg",
            Unary::Reciprocal => "reciprocal",
            Unary::Erf => "erf",
            Unary::Gelu { .. } => "gelu",
            Unary::Silu => "silu",
            Unary::HardSigmoid { .. } => "hard_sigmoid",
            Unary::HardSwish => "hard_swish",
            Unary::Elu { .. } => "elu",
            Unary::Softplus => "softplus",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Round => "round",
            Unary::Sign => "sign",
            Unary::Not => "not",
            Unary::Trig(f) => f.name(),
        }
    }
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// NaN if either is NaN.
    Max,
    /// NaN if either is NaN.
    Min,
    Pow,
    /// To bool: a = b; false if either is NaN. Of bool too.
    Equal,
    /// To bool: a < b
    Less,
    /// To bool: a ≤ b
    LessEqual,
    /// Of bool; of integers bit by bit.
    And,
    /// Of bool; of integers bit by bit.
    Or,
    /// Of bool: exactly one of them; of integers bit by bit.
    Xor,
    /// a − trunc(a / b) · b: zero or of a's sign.
    Rem,
    /// Of integers: a · 2ᵇ, wrapped; 0 for b beyond the bits of the type.
    ShiftLeft,
    /// Of integers: floor(a / 2ᵇ); for b beyond the bits of the type as for all of them.
    ShiftRight,
}

impl Binary {
    pub const ALL: [Binary; 16] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::Pow,
        Binary::Equal,
        Binary::Less,
        Binary::LessEqual,
        Binary::And,
        Binary::Or,
        Binary::Xor,
        Binary::Rem,
        Binary::ShiftLeft,
        Binary::ShiftRight,
    ];

    pub fn name(&self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Max => "max",
            Binary::Min => "min",
            Binary::Pow => "pow",
            Binary::Equal => "equal",
            Binary::Less => "less",
            Binary::LessEqual => "less_equal",
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Xor => "xor",
            Binary::Rem => "rem",
            Binary::ShiftLeft => "shift_left",
            Binary::ShiftRight => "shift_right",
        }
    }

    /// What kind of elements go in and come out.
    pub fn kind(&self) -> BinaryKind {
        match self {
            Binary::Add
            | Binary::Sub
            | Binary::Mul
            | Binary::Div
            | Binary::Max
            | Binary::Min
            | Binary::Pow
            | Binary::Rem
            | Binary::ShiftLeft
            | Binary::ShiftRight => BinaryKind::Arithmetic,
            Binary::Equal | Binary::Less | Binary::LessEqual => BinaryKind::Comparison,
            Binary::And | Binary::Or | Binary::Xor => BinaryKind::Logic,
        }
    }
}

/// Kinds of functions of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryKind {
    /// Numbers to numbers of their type.
    Arithmetic,
    /// Elements of one type to bool.
    Comparison,
    /// Bool to bool, integers to integers of their type.
    Logic,
}
