//! Selection of vector operations: one instruction each, but for selections (a comparison and a blend) and, where a
//! blend takes the result of one operation, that operation under a mask.

use super::fold::place;
use super::machine::{BinaryOp, Inst, Kind, Reg, Source, UnaryOp};
use super::select::Selector;
use crate::tile::{FloatCompare, Statement, V, VectorOp, Width};

impl Selector<'_> {
    /// Selects a vector statement; returns how many of the statements after it are done with it.
    pub fn vector_statement(&mut self, register: V, op: &VectorOp, after: &[Statement]) -> usize {
        let number = self.statement;
        self.statement += 1;
        if self.folds.skips(number, register) {
            return 0;
        }
        if self.masked(number, register, op, after) {
            self.statement += 1;
            return 1;
        }
        self.plain(number, self.vector(register), op);
        0
    }

    fn plain(&mut self, number: usize, to: Reg, op: &VectorOp) {
        if let Some((op, a, b)) = binary(op) {
            let (a, b) = self.pair(number, op, a, b);
            return self.push(Inst::Binary { op, to, a, b });
        }
        let inst = match *op {
            VectorOp::Splat(bits) => Inst::Load { to, from: Source::Constant(bits) },
            VectorOp::Copy(a) => Inst::Load { to, from: Source::Reg(self.vector(a)) },
            VectorOp::Load(address, Width::Full) => Inst::Load { to, from: Source::Memory(place(&address)) },
            VectorOp::Load(address, Width::One) => Inst::LoadOne { to, from: place(&address) },
            VectorOp::Load(address, Width::First(count)) => {
                let mask = self.mask(count);
                Inst::LoadMasked { to, mask, from: place(&address) }
            }
            VectorOp::LoadSplat(address) => Inst::Load { to, from: Source::Broadcast(place(&address)) },
            VectorOp::MulAdd(a, b, c) => {
                let [a, b, c] = [(0, a), (1, b), (2, c)].map(|(k, read)| self.source(number, k, read));
                if !self.function.fused {
                    return self.unfused(to, a, b, c);
                }
                Inst::MulAdd { to, a, b, c }
            }
            VectorOp::Sqrt(a) => Inst::Unary { op: UnaryOp::Sqrt, to, a: self.source(number, 0, a) },
            VectorOp::Round(mode, a) => {
                Inst::Unary { op: UnaryOp::Round(mode), to, a: self.source(number, 0, a) }
            }
            VectorOp::FromInt(a) => Inst::Unary { op: UnaryOp::FromInt, to, a: self.source(number, 0, a) },
            VectorOp::ShiftLeft(a, bits) => Inst::Shift { left: true, to, a: self.vector(a), bits },
            VectorOp::ShiftRight(a, bits) => Inst::Shift { left: false, to, a: self.vector(a), bits },
            VectorOp::Select(compare, a, b, yes, no) => {
                let mask = self.compare(number, predicate(compare), a, b);
                let yes = self.source(number, 2, yes);
                Inst::Blend { to, mask, no: self.vector(no), yes }
            }
            VectorOp::Keep(count, yes, no) => {
                let mask = self.mask(count);
                Inst::Blend { to, mask, no: self.vector(no), yes: Source::Reg(self.vector(yes)) }
            }
            VectorOp::Add(..)
            | VectorOp::Sub(..)
            | VectorOp::Mul(..)
            | VectorOp::Div(..)
            | VectorOp::Max(..)
            | VectorOp::Min(..)
            | VectorOp::And(..)
            | VectorOp::Or(..)
            | VectorOp::Xor(..)
            | VectorOp::IntAdd(..)
            | VectorOp::IntSub(..) => return,
        };
        self.push(inst);
    }

    /// An operation of which only a selection's `no` side makes use becomes a masked one (PReLU: compare, multiply).
    fn masked(&mut self, number: usize, register: V, op: &VectorOp, after: &[Statement]) -> bool {
        let Some((op, a, b)) = binary(op) else { return false };
        let Some((to, &VectorOp::Select(compare, left, right, yes, no))) = Selector::next_vector(after)
        else {
            return false;
        };
        let fits = self.wide
            && no == register
            && self.folds.single(register)
            && ![left, right, yes].contains(&register)
            && !self.folds.skips(number + 1, to)
            && self.folds.operand(number + 1).is_none_or(|(operand, _)| operand == 1);
        if fits {
            let mask = self.compare(number + 1, inverted(compare), left, right);
            let (a, b) = self.pair(number, op, a, b);
            let (to, keep) = (self.vector(to), self.vector(yes));
            self.push(Inst::Masked { op, to, mask, keep, a, b });
        }
        fits
    }

    fn compare(&mut self, number: usize, predicate: u8, a: V, b: V) -> Reg {
        let to = self.fresh(if self.wide { Kind::Mask } else { Kind::Vector });
        let b = self.source(number, 1, b);
        self.push(Inst::Compare { predicate, to, a: self.vector(a), b });
        to
    }

    /// The operands of a binary operation, a folded one at the right.
    fn pair(&self, number: usize, op: BinaryOp, a: V, b: V) -> (Reg, Source) {
        let left = self.source(number, 0, a);
        match left {
            Source::Reg(a) => (a, self.source(number, 1, b)),
            // Only operations that commute have their left side folded.
            folded => {
                debug_assert!(!matches!(
                    op,
                    BinaryOp::Sub | BinaryOp::Div | BinaryOp::Max | BinaryOp::Min | BinaryOp::IntSub
                ));
                (self.vector(b), folded)
            }
        }
    }

    fn unfused(&mut self, to: Reg, a: Source, b: Source, c: Source) {
        let product = self.fresh(Kind::Vector);
        let (a, b) = match (a, b) {
            (Source::Reg(a), b) | (b, Source::Reg(a)) => (a, b),
            (a, b) => {
                let loaded = self.fresh(Kind::Vector);
                self.push(Inst::Load { to: loaded, from: a });
                (loaded, b)
            }
        };
        self.push(Inst::Binary { op: BinaryOp::Mul, to: product, a, b });
        self.push(Inst::Binary { op: BinaryOp::Add, to, a: product, b: c });
    }

    /// What an operand (by its position in `VectorOp::reads`) is read from.
    fn source(&self, number: usize, operand: usize, read: V) -> Source {
        match self.folds.operand(number) {
            Some((folded, source)) if folded == operand && self.folds.in_memory(read) => source,
            _ => Source::Reg(self.vector(read)),
        }
    }
}

fn binary(op: &VectorOp) -> Option<(BinaryOp, V, V)> {
    Some(match *op {
        VectorOp::Add(a, b) => (BinaryOp::Add, a, b),
        VectorOp::Sub(a, b) => (BinaryOp::Sub, a, b),
        VectorOp::Mul(a, b) => (BinaryOp::Mul, a, b),
        VectorOp::Div(a, b) => (BinaryOp::Div, a, b),
        VectorOp::Max(a, b) => (BinaryOp::Max, a, b),
        VectorOp::Min(a, b) => (BinaryOp::Min, a, b),
        VectorOp::And(a, b) => (BinaryOp::And, a, b),
        VectorOp::Or(a, b) => (BinaryOp::Or, a, b),
        VectorOp::Xor(a, b) => (BinaryOp::Xor, a, b),
        VectorOp::IntAdd(a, b) => (BinaryOp::IntAdd, a, b),
        VectorOp::IntSub(a, b) => (BinaryOp::IntSub, a, b),
        VectorOp::Splat(_)
        | VectorOp::Copy(_)
        | VectorOp::Load(..)
        | VectorOp::LoadSplat(_)
        | VectorOp::MulAdd(..)
        | VectorOp::Sqrt(_)
        | VectorOp::Round(..)
        | VectorOp::Select(..)
        | VectorOp::Keep(..)
        | VectorOp::ShiftLeft(..)
        | VectorOp::ShiftRight(..)
        | VectorOp::FromInt(_) => return None,
    })
}

/// The predicate of `vcmpps`: none traps on a quiet NaN but signals as the ordered forms do; the flags are masked.
fn predicate(compare: FloatCompare) -> u8 {
    match compare {
        FloatCompare::Eq => 0x00,
        FloatCompare::Ne => 0x04,
        FloatCompare::Lt => 0x11,
        FloatCompare::Le => 0x12,
        FloatCompare::Gt => 0x1e,
        FloatCompare::Ge => 0x1d,
    }
}

/// The predicate that holds exactly where the comparison does not.
fn inverted(compare: FloatCompare) -> u8 {
    match compare {
        FloatCompare::Eq => 0x04,
        FloatCompare::Ne => 0x00,
        FloatCompare::Lt => 0x15,
        FloatCompare::Le => 0x16,
        FloatCompare::Gt => 0x1a,
        FloatCompare::Ge => 0x19,
    }
}
