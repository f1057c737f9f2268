//! Machine instructions over registers that are virtual until allocation: the form between selection and encoding.
//!
//! Every instruction becomes one x86 instruction, or one and a move where x86 overwrites an operand. Reads happen
//! before writes, so that a result may take the register of an operand that ends there.

use crate::tile::{Cache, IntCompare, Rounding};

/// A register: virtual up to allocation, then an index into [`Code::kinds`] with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Vector,
    /// A lane mask: an AVX-512 mask register. (AVX2 holds masks in vectors.)
    Mask,
}

/// A jump target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(pub u32);

/// A place on the stack, for a register that got none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u32);

/// `base + index + offset` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub base: Reg,
    pub index: Option<Reg>,
    pub offset: i32,
}

/// A vector operand. An instruction has at most one that is not a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Reg(Reg),
    Memory(Place),
    /// One element in every lane; AVX-512 takes it in any operation, AVX2 in a load alone.
    Broadcast(Place),
    /// The bits in every lane.
    Constant(u32),
    Slot(Slot),
}

/// The right operand of integer arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntSource {
    Reg(Reg),
    Slot(Slot),
    Constant(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    And,
    Or,
    Xor,
    IntAdd,
    IntSub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Sqrt,
    Round(Rounding),
    FromInt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntBinaryOp {
    Add,
    Sub,
    Mul,
    And,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[rustfmt::skip] // A line an instruction.
pub enum Inst {
    // Vectors.
    Load { to: Reg, from: Source },
    LoadOne { to: Reg, from: Place },
    Store { to: Place, value: Reg },
    StoreOne { to: Place, value: Reg },
    Binary { op: BinaryOp, to: Reg, a: Reg, b: Source },
    Unary { op: UnaryOp, to: Reg, a: Source },
    Shift { left: bool, to: Reg, a: Reg, bits: u8 },
    /// `a * b + c`.
    MulAdd { to: Reg, a: Source, b: Source, c: Source },
    /// A mask register on AVX-512, a vector of masks on AVX2. The predicate is `vcmpps`'s.
    Compare { predicate: u8, to: Reg, a: Reg, b: Source },
    /// `mask ? yes : no`.
    Blend { to: Reg, mask: Reg, no: Reg, yes: Source },
    /// `mask ? a op b : keep`; AVX-512 only.
    Masked { op: BinaryOp, to: Reg, mask: Reg, keep: Reg, a: Reg, b: Source },
    /// The address of the table of lane masks among the constants.
    MaskTable { to: Reg },
    LoadMask { to: Reg, from: Place },
    /// Lanes outside of the mask are zero, and not read.
    LoadMasked { to: Reg, mask: Reg, from: Place },
    StoreMasked { to: Place, mask: Reg, value: Reg },
    Prefetch(Cache, Place),
    // Integers.
    /// The kernel's argument of this index. All of them come first, in order.
    Argument { to: Reg, index: u8 },
    Set { to: Reg, value: i64 },
    Copy { to: Reg, from: Reg },
    LoadInt { to: Reg, from: Place },
    StoreInt { to: Place, value: Reg },
    IntBinary { op: IntBinaryOp, to: Reg, a: Reg, b: IntSource },
    MulConst { to: Reg, a: Reg, b: i32 },
    /// Unsigned.
    Divide { to: Reg, a: Reg, b: Reg, remainder: bool },
    ShiftRight { to: Reg, a: Reg, bits: u8 },
    /// `slot += value`.
    AddToSlot { slot: Slot, value: i32 },
    // Registers and their slots, of any kind.
    Spill { to: Slot, value: Reg },
    Reload { to: Reg, from: Slot },
    // Control.
    Label(Label),
    Jump(Label),
    Branch { compare: IntCompare, left: IntSource, right: IntSource, to: Label },
    /// `counter -= 1`, and jumps unless it is zero.
    CountDown { counter: Reg, to: Label },
    CountDownSlot { counter: Slot, to: Label },
    /// The code up to the matching end runs any number of times. The first head of an innermost loop is aligned.
    LoopBegin { innermost: bool },
    LoopEnd,
}

/// What an instruction does with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Both,
}

/// A function before encoding.
#[derive(Debug, Default)]
pub struct Code {
    pub insts: Vec<Inst>,
    /// Of each register.
    pub kinds: Vec<Kind>,
    /// Registers made by spilling, which live across one instruction and must get a place.
    pub tiny: Vec<bool>,
    pub labels: u32,
    /// Kinds of the slots.
    pub slots: Vec<Kind>,
}

impl Code {
    pub fn reg(&mut self, kind: Kind) -> Reg {
        self.kinds.push(kind);
        self.tiny.push(false);
        Reg(self.kinds.len() as u32 - 1)
    }

    pub fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub fn kind(&self, reg: Reg) -> Kind {
        self.kinds[reg.0 as usize]
    }
}

impl Place {
    fn visit(&mut self, visit: &mut dyn FnMut(&mut Reg, Access)) {
        visit(&mut self.base, Access::Read);
        if let Some(index) = &mut self.index {
            visit(index, Access::Read);
        }
    }
}

impl Source {
    fn visit(&mut self, visit: &mut dyn FnMut(&mut Reg, Access)) {
        match self {
            Source::Reg(reg) => visit(reg, Access::Read),
            Source::Memory(place) | Source::Broadcast(place) => place.visit(visit),
            Source::Constant(_) | Source::Slot(_) => {}
        }
    }
}

impl IntSource {
    fn visit(&mut self, visit: &mut dyn FnMut(&mut Reg, Access)) {
        match self {
            IntSource::Reg(reg) => visit(reg, Access::Read),
            IntSource::Slot(_) | IntSource::Constant(_) => {}
        }
    }
}

impl Inst {
    /// Visits every register, reads before writes.
    pub fn visit(&mut self, visit: &mut dyn FnMut(&mut Reg, Access)) {
        use Access::*;
        match self {
            Inst::Load { to, from } => {
                from.visit(visit);
                visit(to, Write);
            }
            Inst::LoadOne { to, from } | Inst::LoadInt { to, from } | Inst::LoadMask { to, from } => {
                from.visit(visit);
                visit(to, Write);
            }
            Inst::Store { to, value } | Inst::StoreOne { to, value } | Inst::StoreInt { to, value } => {
                to.visit(visit);
                visit(value, Read);
            }
            Inst::Binary { to, a, b, .. } | Inst::Compare { to, a, b, .. } => {
                visit(a, Read);
                b.visit(visit);
                visit(to, Write);
            }
            Inst::Unary { to, a, .. } => {
                a.visit(visit);
                visit(to, Write);
            }
            Inst::MulAdd { to, a, b, c } => {
                for source in [a, b, c] {
                    source.visit(visit);
                }
                visit(to, Write);
            }
            Inst::Blend { to, mask, no, yes } => {
                visit(mask, Read);
                visit(no, Read);
                yes.visit(visit);
                visit(to, Write);
            }
            Inst::Masked { to, mask, keep, a, b, .. } => {
                for reg in [mask, keep, a] {
                    visit(reg, Read);
                }
                b.visit(visit);
                visit(to, Write);
            }
            Inst::LoadMasked { to, mask, from } => {
                visit(mask, Read);
                from.visit(visit);
                visit(to, Write);
            }
            Inst::StoreMasked { to, mask, value } => {
                visit(mask, Read);
                to.visit(visit);
                visit(value, Read);
            }
            Inst::Prefetch(_, place) => place.visit(visit),
            Inst::Argument { to, .. }
            | Inst::Set { to, .. }
            | Inst::Reload { to, .. }
            | Inst::MaskTable { to } => visit(to, Write),
            Inst::Copy { to, from: a }
            | Inst::Shift { to, a, .. }
            | Inst::MulConst { to, a, .. }
            | Inst::ShiftRight { to, a, .. } => {
                visit(a, Read);
                visit(to, Write);
            }
            Inst::IntBinary { to, a, b, .. } => {
                visit(a, Read);
                b.visit(visit);
                visit(to, Write);
            }
            Inst::Divide { to, a, b, .. } => {
                visit(a, Read);
                visit(b, Read);
                visit(to, Write);
            }
            Inst::Spill { value, .. } => visit(value, Read),
            Inst::Branch { left, right, .. } => {
                left.visit(visit);
                right.visit(visit);
            }
            Inst::CountDown { counter, .. } => visit(counter, Both),
            Inst::AddToSlot { .. }
            | Inst::CountDownSlot { .. }
            | Inst::Label(_)
            | Inst::Jump(_)
            | Inst::LoopBegin { .. }
            | Inst::LoopEnd => {}
        }
    }

    /// The register that the result had better share.
    pub fn hint(&self) -> [Option<Reg>; 2] {
        let reg = |source: &Source| match source {
            Source::Reg(reg) => Some(*reg),
            Source::Memory(_) | Source::Broadcast(_) | Source::Constant(_) | Source::Slot(_) => None,
        };
        match self {
            Inst::Load { from, .. } => [reg(from), None],
            Inst::MulAdd { a, c, .. } => [reg(c), reg(a)],
            Inst::Masked { keep, .. } => [Some(*keep), None],
            Inst::Copy { from: a, .. } | Inst::ShiftRight { a, .. } => [Some(*a), None],
            Inst::IntBinary { a, b: IntSource::Reg(b), .. } => [Some(*a), Some(*b)],
            Inst::IntBinary { a, .. } => [Some(*a), None],
            _ => [None, None],
        }
    }
}
