//! The tile IR: structured loops and straight-line vector code over virtual registers.
//!
//! Kernel generators write it once; emitters turn it into machine code; [`interpret`] runs it for tests. The order
//! of statements is the schedule: emitters do not move vector code.
//!
//! There are two kinds of registers, both mutable. `i3` is a 64-bit integer or address. `v7` is a vector of
//! [`Function::lanes`] 32-bit elements, which operations read as f32 or as integers; a scalar is a vector of which
//! only lane 0 counts. Registers `i0`..`i4` hold the arguments: pointers, args, begin, end, scratch.
//!
//! Elements other than f32 are computed one by one in integer registers: integers extended to 64 bits, floats as the bits
//! of an f64. These [`ScalarOp`]s are in functions of four lanes alone, which the Cranelift emitter takes at every level.
//!
//! Floating-point meaning, the same on every emitter: add, sub, mul, div, sqrt and conversions round once to
//! nearest even; `MulAdd` rounds once if [`Function::fused`], else twice; `Max(a, b)` is `a > b ? a : b` and
//! `Min(a, b)` is `a < b ? a : b`, so that the second operand wins when either is NaN.

pub mod build;
pub mod interpret;
mod text;
pub mod verify;

pub use build::Builder;

/// A kernel in tile IR.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub lanes: u8,
    /// Whether `MulAdd` rounds once.
    pub fused: bool,
    /// Number of integer registers, the five arguments included.
    pub ints: u32,
    /// Number of vector registers.
    pub vectors: u32,
    pub body: Block,
}

pub type Block = Vec<Statement>;

/// An integer register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct I(pub u32);

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V(pub u32);

/// The arguments of every kernel, in order.
pub const ARGUMENTS: [I; 5] = [I(0), I(1), I(2), I(3), I(4)];

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Int(I, IntOp),
    Vector(V, VectorOp),
    StoreInt(Address, I),
    /// The low bits of an integer, or an f64 rounded to the cell's f32.
    StoreCell(Cell, Address, I),
    Store(Address, V, Width),
    /// A hint that the cache line of this address will be read; emitters may ignore it. It never faults.
    Prefetch(Cache, Address),
    /// Runs the body `count` times; not at all for counts below 1. The count is read once.
    Loop {
        count: I,
        body: Block,
    },
    /// Runs the body as long as the condition holds before it.
    While {
        condition: Condition,
        body: Block,
    },
    If {
        condition: Condition,
        then: Block,
        otherwise: Block,
    },
}

/// How near a prefetched line is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// In the first level: it is read within some hundred cycles.
    First,
    /// In the second level, where lines that are read later do not drive out what is read now.
    Second,
}

/// `base + index + offset` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub base: I,
    pub index: Option<I>,
    pub offset: i32,
}

/// How much of a vector a memory operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Full,
    /// Element 0 alone; after a load the others hold anything.
    One,
    /// The first so many lanes, none to all; after a load the others are zero. Not in functions of four lanes.
    First(I),
}

/// Signed comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub compare: IntCompare,
    pub left: I,
    pub right: Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Register(I),
    Constant(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntCompare {
    Eq,
    Ne,
    Lt,
    Ge,
    Gt,
    Le,
}

/// Wrapping 64-bit arithmetic; division is unsigned and never by zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOp {
    Const(i64),
    Copy(I),
    Add(I, I),
    AddConst(I, i64),
    Sub(I, I),
    Mul(I, I),
    MulConst(I, i64),
    Div(I, I),
    Rem(I, I),
    /// Logical.
    ShiftRight(I, u8),
    AndConst(I, i64),
    Load(Address),
    /// An integer, extended to 64 bits, or an f32 as the bits of the same f64.
    LoadCell(Cell, Address),
    Scalar(ScalarOp, I, I),
    Convert(Conversion, I),
    /// The second operand where the first is not zero, else the third.
    Choose(I, I, I),
}

/// What a scalar of fewer than 64 bits is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    I8,
    I16,
    I32,
    U8,
    U16,
    U32,
    F32,
}

/// Functions of two scalars. Comparisons give 1 or 0; those of floats are 0 on NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarOp {
    Or,
    /// Shifts by 0 to 63 bits.
    ShiftLeft,
    ShiftRight,
    /// Neither by zero nor the least integer by -1.
    DivSigned,
    EqualInt,
    LessSigned,
    LessUnsigned,
    // Of f64.
    AddFloat,
    SubFloat,
    MulFloat,
    DivFloat,
    EqualFloat,
    LessFloat,
    LessEqualFloat,
}

/// Functions of one scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Integers to f64.
    FromSigned,
    FromUnsigned,
    /// Integers to the bits of an f32, rounded once.
    SingleFromSigned,
    SingleFromUnsigned,
    /// The bits of an f32, which is rounded to or widened from.
    ToSingle,
    FromSingle,
    /// f64 to integers: cut towards zero, saturated; NaN is zero.
    ToSigned,
    ToUnsigned,
    Sqrt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorOp {
    /// The bits in every lane.
    Splat(u32),
    Copy(V),
    Load(Address, Width),
    /// One element in every lane.
    LoadSplat(Address),
    Add(V, V),
    Sub(V, V),
    Mul(V, V),
    Div(V, V),
    Max(V, V),
    Min(V, V),
    /// `a * b + c`.
    MulAdd(V, V, V),
    Sqrt(V),
    Round(Rounding, V),
    /// `compare(a, b) ? yes : no`, by lane.
    Select(FloatCompare, V, V, V, V),
    /// The first operand in the first so many lanes, the second in the others. Not in functions of four lanes.
    Keep(I, V, V),
    And(V, V),
    Or(V, V),
    Xor(V, V),
    IntAdd(V, V),
    IntSub(V, V),
    ShiftLeft(V, u8),
    /// Logical.
    ShiftRight(V, u8),
    /// Signed integers to f32.
    FromInt(V),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Floor,
    Ceil,
    /// To nearest, ties to even.
    Nearest,
}

/// Comparisons that are false on NaN, except `Ne`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatCompare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl IntOp {
    /// Registers read.
    pub fn reads(&self) -> Vec<I> {
        match *self {
            IntOp::Const(_) => vec![],
            IntOp::Copy(a)
            | IntOp::AddConst(a, _)
            | IntOp::MulConst(a, _)
            | IntOp::ShiftRight(a, _)
            | IntOp::AndConst(a, _)
            | IntOp::Convert(_, a) => vec![a],
            IntOp::Add(a, b)
            | IntOp::Sub(a, b)
            | IntOp::Mul(a, b)
            | IntOp::Div(a, b)
            | IntOp::Rem(a, b)
            | IntOp::Scalar(_, a, b) => vec![a, b],
            IntOp::Choose(a, b, c) => vec![a, b, c],
            IntOp::Load(address) | IntOp::LoadCell(_, address) => address.reads(),
        }
    }
}

impl VectorOp {
    /// Vector registers read.
    pub fn reads(&self) -> Vec<V> {
        use VectorOp::*;
        match *self {
            Splat(_) | Load(..) | LoadSplat(_) => vec![],
            Copy(a) | Sqrt(a) | Round(_, a) | ShiftLeft(a, _) | ShiftRight(a, _) | FromInt(a) => vec![a],
            Add(a, b)
            | Sub(a, b)
            | Mul(a, b)
            | Div(a, b)
            | Max(a, b)
            | Min(a, b)
            | And(a, b)
            | Or(a, b)
            | Xor(a, b)
            | IntAdd(a, b)
            | IntSub(a, b)
            | Keep(_, a, b) => vec![a, b],
            MulAdd(a, b, c) => vec![a, b, c],
            Select(_, a, b, yes, no) => vec![a, b, yes, no],
        }
    }

    /// Integer registers read: those of the address, and counts of lanes.
    pub fn int_reads(&self) -> Vec<I> {
        match self {
            VectorOp::Load(address, width) => address.reads().into_iter().chain(width.count()).collect(),
            VectorOp::LoadSplat(address) => address.reads(),
            VectorOp::Keep(count, ..) => vec![*count],
            _ => Vec::new(),
        }
    }
}

impl Width {
    /// The register that counts the lanes.
    pub fn count(self) -> Option<I> {
        match self {
            Width::Full | Width::One => None,
            Width::First(count) => Some(count),
        }
    }
}

impl Address {
    pub fn reads(&self) -> Vec<I> {
        std::iter::once(self.base).chain(self.index).collect()
    }
}

impl Cell {
    pub fn bytes(self) -> usize {
        match self {
            Cell::I8 | Cell::U8 => 1,
            Cell::I16 | Cell::U16 => 2,
            Cell::I32 | Cell::U32 | Cell::F32 => 4,
        }
    }
}

impl Condition {
    pub fn holds(&self, left: i64, right: i64) -> bool {
        match self.compare {
            IntCompare::Eq => left == right,
            IntCompare::Ne => left != right,
            IntCompare::Lt => left < right,
            IntCompare::Ge => left >= right,
            IntCompare::Gt => left > right,
            IntCompare::Le => left <= right,
        }
    }
}
