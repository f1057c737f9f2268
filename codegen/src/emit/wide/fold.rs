//! Which values are read straight from memory by the instruction that uses them.
//!
//! A load with one use becomes that instruction's memory operand (an embedded broadcast for a single element, on
//! AVX-512) if nothing between the two may change what it reads. A constant becomes a memory operand where all its
//! uses allow it, and so takes no register. One operand an instruction can be folded; vector statements are numbered
//! in program order, which selection repeats.

use super::machine::{Place, Reg, Source};
use crate::tile::{Address, Block, Function, Statement, V, VectorOp, Width};

/// Statements that a load may move down over.
const REACH: usize = 64;

/// What is known of a vector register from all of the function.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    writes: u32,
    reads: u32,
    /// The bits of its only write, a splat.
    constant: Option<u32>,
    /// A constant that some use needs in a register.
    resident: bool,
}

pub struct Folds {
    wide: bool,
    facts: Vec<Facts>,
    /// For each vector statement the operand that is folded, and what it becomes.
    operands: Vec<Option<(usize, Source)>>,
    /// For each vector statement whether it is a load that disappears into its use.
    gone: Vec<bool>,
}

impl Folds {
    /// `wide` is AVX-512, which broadcasts in any operation.
    pub fn new(function: &Function, wide: bool) -> Folds {
        let mut folds = Folds {
            wide,
            facts: vec![Facts::default(); function.vectors as usize],
            operands: Vec::new(),
            gone: Vec::new(),
        };
        folds.count(&function.body);
        folds.operands = vec![None; folds.gone.len()];
        folds.loads(&function.body, &mut 0);
        folds.constants(&function.body, &mut 0);
        folds
    }

    /// The operand of a vector statement that is not read from a register.
    pub fn operand(&self, statement: usize) -> Option<(usize, Source)> {
        self.operands[statement]
    }

    /// Whether a vector statement needs no instruction of its own.
    pub fn skips(&self, statement: usize, register: V) -> bool {
        let facts = &self.facts[register.0 as usize];
        self.gone[statement] || facts.reads == 0 || (facts.constant.is_some() && !facts.resident)
    }

    /// Whether folded reads of this register go to memory: constants that need a register are read from there.
    pub fn in_memory(&self, register: V) -> bool {
        !self.facts[register.0 as usize].resident
    }

    /// Whether this is the only write, and there is one read.
    pub fn single(&self, register: V) -> bool {
        let facts = &self.facts[register.0 as usize];
        facts.writes == 1 && facts.reads == 1
    }

    fn count(&mut self, block: &Block) {
        for statement in block {
            match statement {
                Statement::Vector(register, op) => {
                    self.gone.push(false);
                    for read in op.reads() {
                        self.facts[read.0 as usize].reads += 1;
                    }
                    let facts = &mut self.facts[register.0 as usize];
                    facts.writes += 1;
                    facts.constant = match op {
                        VectorOp::Splat(bits) if facts.writes == 1 => Some(*bits),
                        _ => None,
                    };
                }
                Statement::Store(_, value, _) => self.facts[value.0 as usize].reads += 1,
                Statement::Int(..)
                | Statement::StoreInt(..)
                | Statement::StoreCell(..)
                | Statement::Prefetch(..) => {}
                Statement::Loop { body, .. } | Statement::While { body, .. } => self.count(body),
                Statement::If { then, otherwise, .. } => {
                    self.count(then);
                    self.count(otherwise);
                }
            }
        }
    }

    /// Finds loads to fold. `number` counts vector statements.
    fn loads(&mut self, block: &Block, number: &mut usize) {
        for (index, statement) in block.iter().enumerate() {
            match statement {
                Statement::Vector(register, op) => {
                    if let Some(source) = self.as_source(op)
                        && self.single(*register)
                        && let Some((user, operand)) = self.user(*register, &source, &block[index + 1..])
                        && self.operands[*number + user].is_none()
                    {
                        self.operands[*number + user] = Some((operand, source));
                        self.gone[*number] = true;
                    }
                    *number += 1;
                }
                Statement::Int(..)
                | Statement::StoreInt(..)
                | Statement::StoreCell(..)
                | Statement::Store(..)
                | Statement::Prefetch(..) => {}
                Statement::Loop { body, .. } | Statement::While { body, .. } => self.loads(body, number),
                Statement::If { then, otherwise, .. } => {
                    self.loads(then, number);
                    self.loads(otherwise, number);
                }
            }
        }
    }

    /// A load as an operand, if the level has such operands.
    fn as_source(&self, op: &VectorOp) -> Option<Source> {
        match op {
            VectorOp::Load(address, Width::Full) => Some(Source::Memory(place(address))),
            VectorOp::LoadSplat(address) if self.wide => Some(Source::Broadcast(place(address))),
            _ => None,
        }
    }

    /// The statement that uses a register, as a count of vector statements from the register's own, and the operand.
    fn user(&self, register: V, source: &Source, rest: &[Statement]) -> Option<(usize, usize)> {
        let mut count = 0;
        for statement in rest.iter().take(REACH) {
            match statement {
                Statement::Vector(_, op) => {
                    count += 1;
                    if let Some(operand) = op.reads().iter().position(|&read| read == register) {
                        return self.foldable(op, operand).then_some((count, operand));
                    }
                }
                Statement::Int(written, _) => {
                    let (Source::Memory(place) | Source::Broadcast(place)) = source else { return None };
                    let written = Reg(written.0);
                    if place.base == written || place.index == Some(written) {
                        return None;
                    }
                }
                Statement::Prefetch(..) => {}
                Statement::Store(..)
                | Statement::StoreInt(..)
                | Statement::StoreCell(..)
                | Statement::Loop { .. }
                | Statement::While { .. }
                | Statement::If { .. } => return None,
            }
        }
        None
    }

    /// Finds constants to fold, and those that must be in registers.
    fn constants(&mut self, block: &Block, number: &mut usize) {
        for statement in block {
            match statement {
                Statement::Vector(_, op) => {
                    for (operand, read) in op.reads().into_iter().enumerate() {
                        let Some(bits) = self.facts[read.0 as usize].constant else { continue };
                        // Zero is made without a load, so it may as well have a register.
                        let fits = self.foldable(op, operand) && bits != 0;
                        if fits && self.operands[*number].is_none() {
                            self.operands[*number] = Some((operand, Source::Constant(bits)));
                        } else {
                            self.facts[read.0 as usize].resident = true;
                        }
                    }
                    *number += 1;
                }
                Statement::Store(_, value, _) => self.facts[value.0 as usize].resident = true,
                Statement::Int(..)
                | Statement::StoreInt(..)
                | Statement::StoreCell(..)
                | Statement::Prefetch(..) => {}
                Statement::Loop { body, .. } | Statement::While { body, .. } => self.constants(body, number),
                Statement::If { then, otherwise, .. } => {
                    self.constants(then, number);
                    self.constants(otherwise, number);
                }
            }
        }
    }

    /// Whether an operand (by its position in `VectorOp::reads`) may be memory.
    fn foldable(&self, op: &VectorOp, operand: usize) -> bool {
        use VectorOp::*;
        match op {
            Add(a, b) | Mul(a, b) | And(a, b) | Or(a, b) | Xor(a, b) | IntAdd(a, b) => a != b,
            Sub(a, b) | Div(a, b) | Max(a, b) | Min(a, b) | IntSub(a, b) => operand == 1 && a != b,
            MulAdd(a, b, c) => a != b && b != c && a != c,
            Sqrt(_) | Round(..) | FromInt(_) => true,
            // The comparison's right side; the blend's sides.
            Select(_, a, b, yes, no) => match operand {
                1 => a != b && b != yes && b != no,
                2 => yes != a && yes != b && yes != no,
                _ => false,
            },
            Splat(_) | Copy(_) | Load(..) | LoadSplat(_) | Keep(..) | ShiftLeft(..) | ShiftRight(..) => false,
        }
    }
}

/// Integer registers keep their numbers.
pub fn place(address: &Address) -> Place {
    Place {
        base: Reg(address.base.0),
        index: address.index.map(|index| Reg(index.0)),
        offset: address.offset,
    }
}
