//! Instruction selection: structured tile IR to a line of machine instructions with labels. Integers and control flow
//! are here, vector operations in [`super::vectors`].
//!
//! Integer registers of the tile IR keep their numbers, vector registers follow them, temporaries come last.

use super::fold::{Folds, place};
use super::machine::{Code, Inst, IntBinaryOp, IntSource, Kind, Label, Place, Reg};
use crate::tile::{
    ARGUMENTS, Address, Condition, Function, I, IntCompare, IntOp, Right, Statement, V, VectorOp, Width,
};

pub fn select(function: &Function) -> Code {
    let wide = function.lanes == 16;
    let mut kinds = vec![Kind::Int; function.ints as usize];
    kinds.extend(vec![Kind::Vector; function.vectors as usize]);
    let tiny = vec![false; kinds.len()];
    let mut selector = Selector {
        function,
        wide,
        folds: Folds::new(function, wide),
        code: Code { kinds, tiny, ..Code::default() },
        statement: 0,
        masks: Vec::new(),
    };
    for (index, argument) in ARGUMENTS.into_iter().enumerate() {
        selector.push(Inst::Argument { to: int(argument), index: index as u8 });
    }
    selector.block(&function.body);
    selector.code
}

pub(super) struct Selector<'a> {
    pub function: &'a Function,
    /// AVX-512 rather than AVX2.
    pub wide: bool,
    pub folds: Folds,
    code: Code,
    /// Number of the present vector statement, as [`Folds`] counts.
    pub statement: usize,
    /// Masks of counts of lanes already made in the present straight line of code.
    masks: Vec<(I, Reg)>,
}

pub(super) fn int(register: I) -> Reg {
    Reg(register.0)
}

impl Selector<'_> {
    pub fn push(&mut self, inst: Inst) {
        self.code.insts.push(inst);
    }

    pub fn vector(&self, register: V) -> Reg {
        Reg(self.function.ints + register.0)
    }

    pub fn fresh(&mut self, kind: Kind) -> Reg {
        self.code.reg(kind)
    }

    fn block(&mut self, statements: &[Statement]) {
        self.masks.clear();
        let mut rest = statements;
        while let Some((statement, after)) = rest.split_first() {
            rest = match statement {
                Statement::Vector(register, op) => &after[self.vector_statement(*register, op, after)..],
                other => {
                    self.other(other);
                    after
                }
            };
        }
        self.masks.clear();
    }

    /// A statement that is not a vector operation.
    fn other(&mut self, statement: &Statement) {
        match statement {
            Statement::Vector(..) => {}
            Statement::Int(register, op) => {
                self.masks.retain(|(count, _)| count != register);
                self.int_op(int(*register), op);
            }
            Statement::StoreCell(..) => {
                unreachable!("the verifier refuses scalars in functions of vectors")
            }
            Statement::StoreInt(address, value) => {
                self.push(Inst::StoreInt { to: place(address), value: int(*value) });
            }
            Statement::Store(address, value, width) => self.store(address, *value, *width),
            Statement::Prefetch(cache, address) => self.push(Inst::Prefetch(*cache, place(address))),
            Statement::Loop { count, body } => self.counted(*count, body),
            Statement::While { condition, body } => {
                let exit = self.code.label();
                self.branch(condition, true, exit);
                self.looped(body, |selector, head| selector.branch(condition, false, head));
                self.push(Inst::Label(exit));
            }
            Statement::If { condition, then, otherwise } => {
                let (no, exit) = (self.code.label(), self.code.label());
                self.branch(condition, true, no);
                self.block(then);
                if !otherwise.is_empty() {
                    self.push(Inst::Jump(exit));
                }
                self.push(Inst::Label(no));
                if !otherwise.is_empty() {
                    self.block(otherwise);
                    self.push(Inst::Label(exit));
                }
            }
        }
    }

    fn store(&mut self, address: &Address, value: V, width: Width) {
        let (to, value) = (place(address), self.vector(value));
        match width {
            Width::Full => self.push(Inst::Store { to, value }),
            Width::One => self.push(Inst::StoreOne { to, value }),
            Width::First(count) => {
                let mask = self.mask(count);
                self.push(Inst::StoreMasked { to, mask, value });
            }
        }
    }

    /// The mask of the first `count` lanes, from the table among the constants.
    pub fn mask(&mut self, count: I) -> Reg {
        if let Some(&(_, mask)) = self.masks.iter().find(|(known, _)| *known == count) {
            return mask;
        }
        let (table, offset) = (self.fresh(Kind::Int), self.fresh(Kind::Int));
        self.push(Inst::MaskTable { to: table });
        let mask = if self.wide {
            self.push(Inst::MulConst { to: offset, a: int(count), b: 2 });
            let mask = self.fresh(Kind::Mask);
            self.push(Inst::LoadMask {
                to: mask,
                from: Place { base: table, index: Some(offset), offset: 0 },
            });
            mask
        } else {
            // Eight set elements, then eight clear ones: the window starts `count` elements before the border.
            self.push(Inst::MulConst { to: offset, a: int(count), b: -4 });
            let mask = self.fresh(Kind::Vector);
            let from = Place { base: table, index: Some(offset), offset: 32 };
            self.push(Inst::Load { to: mask, from: super::machine::Source::Memory(from) });
            mask
        };
        self.masks.push((count, mask));
        mask
    }

    fn counted(&mut self, count: I, body: &[Statement]) {
        let counter = self.fresh(Kind::Int);
        self.push(Inst::Copy { to: counter, from: int(count) });
        let exit = self.code.label();
        self.push(Inst::Branch {
            compare: IntCompare::Le,
            left: IntSource::Reg(counter),
            right: IntSource::Constant(0),
            to: exit,
        });
        self.looped(body, |selector, head| selector.push(Inst::CountDown { counter, to: head }));
        self.push(Inst::Label(exit));
    }

    /// A loop whose test, at the end, jumps back to the head.
    fn looped(&mut self, body: &[Statement], test: impl FnOnce(&mut Self, Label)) {
        let innermost = !body.iter().any(|statement| {
            matches!(statement, Statement::Loop { .. } | Statement::While { .. } | Statement::If { .. })
        });
        self.push(Inst::LoopBegin { innermost });
        let head = self.code.label();
        self.push(Inst::Label(head));
        self.block(body);
        test(self, head);
        self.push(Inst::LoopEnd);
    }

    /// Jumps if the condition holds, or if it does not.
    fn branch(&mut self, condition: &Condition, inverted: bool, to: Label) {
        let right = match condition.right {
            Right::Register(right) => IntSource::Reg(int(right)),
            Right::Constant(value) => self.constant(value),
        };
        let compare = match (condition.compare, inverted) {
            (compare, false) => compare,
            (IntCompare::Eq, true) => IntCompare::Ne,
            (IntCompare::Ne, true) => IntCompare::Eq,
            (IntCompare::Lt, true) => IntCompare::Ge,
            (IntCompare::Ge, true) => IntCompare::Lt,
            (IntCompare::Gt, true) => IntCompare::Le,
            (IntCompare::Le, true) => IntCompare::Gt,
        };
        self.push(Inst::Branch { compare, left: IntSource::Reg(int(condition.left)), right, to });
    }

    /// A constant operand; one that does not fit an instruction gets a register.
    fn constant(&mut self, value: i64) -> IntSource {
        match i32::try_from(value) {
            Ok(value) => IntSource::Constant(value),
            Err(_) => {
                let to = self.fresh(Kind::Int);
                self.push(Inst::Set { to, value });
                IntSource::Reg(to)
            }
        }
    }

    fn int_op(&mut self, to: Reg, op: &IntOp) {
        let binary = |op: IntBinaryOp, a: I, b: IntSource| Inst::IntBinary { op, to, a: int(a), b };
        let inst = match *op {
            IntOp::Const(value) => Inst::Set { to, value },
            IntOp::Copy(a) => Inst::Copy { to, from: int(a) },
            IntOp::Add(a, b) => binary(IntBinaryOp::Add, a, IntSource::Reg(int(b))),
            IntOp::Sub(a, b) => binary(IntBinaryOp::Sub, a, IntSource::Reg(int(b))),
            IntOp::Mul(a, b) => binary(IntBinaryOp::Mul, a, IntSource::Reg(int(b))),
            IntOp::AddConst(a, b) => {
                let b = self.constant(b);
                binary(IntBinaryOp::Add, a, b)
            }
            IntOp::MulConst(a, b) => match self.constant(b) {
                IntSource::Constant(b) => Inst::MulConst { to, a: int(a), b },
                b => binary(IntBinaryOp::Mul, a, b),
            },
            IntOp::Div(a, b) => Inst::Divide { to, a: int(a), b: int(b), remainder: false },
            IntOp::Rem(a, b) => Inst::Divide { to, a: int(a), b: int(b), remainder: true },
            IntOp::ShiftRight(a, bits) => Inst::ShiftRight { to, a: int(a), bits },
            IntOp::AndConst(a, mask) => {
                let mask = self.constant(mask);
                binary(IntBinaryOp::And, a, mask)
            }
            IntOp::Load(address) => Inst::LoadInt { to, from: place(&address) },
            IntOp::LoadCell(..) | IntOp::Scalar(..) | IntOp::Convert(..) | IntOp::Choose(..) => {
                unreachable!("the verifier refuses scalars in functions of vectors")
            }
        };
        self.push(inst);
    }

    /// The operation of a vector statement that starts the rest of a block, if there is one.
    pub fn next_vector(rest: &[Statement]) -> Option<(V, &VectorOp)> {
        match rest.first() {
            Some(Statement::Vector(register, op)) => Some((*register, op)),
            _ => None,
        }
    }
}
