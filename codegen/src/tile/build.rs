//! Writing tile IR: fresh registers, and closures for nested blocks.

use super::*;

/// Builds one function; statements go to the innermost open block.
pub struct Builder {
    function: Function,
    block: Block,
}

/// `base + offset`.
pub fn at(base: I, offset: usize) -> Address {
    Address { base, index: None, offset: offset as i32 }
}

/// `base + index + offset`.
pub fn indexed(base: I, index: I, offset: usize) -> Address {
    Address { base, index: Some(index), offset: offset as i32 }
}

/// The value of the 64-bit slot `index` of the array at `base`.
pub fn slot(base: I, index: usize) -> IntOp {
    IntOp::Load(at(base, index * 8))
}

impl Builder {
    pub fn new(lanes: u8, fused: bool) -> Self {
        let ints = ARGUMENTS.len() as u32;
        Builder { function: Function { lanes, fused, ints, vectors: 0, body: Vec::new() }, block: Vec::new() }
    }

    pub fn finish(mut self) -> Function {
        self.function.body = self.block;
        self.function
    }

    /// Bytes of a vector.
    pub fn vector_bytes(&self) -> usize {
        self.function.lanes as usize * 4
    }

    pub fn lanes(&self) -> usize {
        self.function.lanes as usize
    }

    pub fn int(&mut self, op: IntOp) -> I {
        let register = I(self.function.ints);
        self.function.ints += 1;
        self.set(register, op);
        register
    }

    pub fn set(&mut self, register: I, op: IntOp) {
        self.block.push(Statement::Int(register, op));
    }

    /// `register += other`.
    pub fn advance(&mut self, register: I, other: I) {
        self.set(register, IntOp::Add(register, other));
    }

    /// `register += constant`.
    pub fn bump(&mut self, register: I, constant: i64) {
        self.set(register, IntOp::AddConst(register, constant));
    }

    pub fn vector(&mut self, op: VectorOp) -> V {
        let register = V(self.function.vectors);
        self.function.vectors += 1;
        self.set_vector(register, op);
        register
    }

    pub fn set_vector(&mut self, register: V, op: VectorOp) {
        self.block.push(Statement::Vector(register, op));
    }

    pub fn splat(&mut self, value: f32) -> V {
        self.vector(VectorOp::Splat(value.to_bits()))
    }

    pub fn store(&mut self, address: Address, value: V, width: Width) {
        self.block.push(Statement::Store(address, value, width));
    }

    pub fn prefetch(&mut self, cache: Cache, address: Address) {
        self.block.push(Statement::Prefetch(cache, address));
    }

    pub fn store_int(&mut self, address: Address, value: I) {
        self.block.push(Statement::StoreInt(address, value));
    }

    pub fn store_cell(&mut self, cell: Cell, address: Address, value: I) {
        self.block.push(Statement::StoreCell(cell, address, value));
    }

    pub fn repeat(&mut self, count: I, body: impl FnOnce(&mut Self)) {
        let body = self.nested(body);
        self.block.push(Statement::Loop { count, body });
    }

    pub fn repeat_const(&mut self, count: i64, body: impl FnOnce(&mut Self)) {
        let count = self.int(IntOp::Const(count));
        self.repeat(count, body);
    }

    pub fn while_(&mut self, condition: Condition, body: impl FnOnce(&mut Self)) {
        let body = self.nested(body);
        self.block.push(Statement::While { condition, body });
    }

    pub fn if_(&mut self, condition: Condition, then: impl FnOnce(&mut Self)) {
        self.if_else(condition, then, |_| {});
    }

    pub fn if_else(
        &mut self,
        condition: Condition,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let then = self.nested(then);
        let otherwise = self.nested(otherwise);
        self.block.push(Statement::If { condition, then, otherwise });
    }

    /// The smaller of two integers, or of an integer and a constant.
    pub fn least(&mut self, a: I, b: Right) -> I {
        let result = self.int(IntOp::Copy(a));
        self.if_(Condition { compare: IntCompare::Gt, left: a, right: b }, |builder| {
            builder.set(
                result,
                match b {
                    Right::Register(b) => IntOp::Copy(b),
                    Right::Constant(b) => IntOp::Const(b),
                },
            );
        });
        result
    }

    /// Quotient and remainder of a count that is not negative by a power of two.
    pub fn split(&mut self, count: I, by: usize) -> (I, I) {
        debug_assert!(by.is_power_of_two());
        let quotient = self.int(IntOp::ShiftRight(count, by.trailing_zeros() as u8));
        (quotient, self.int(IntOp::AndConst(count, by as i64 - 1)))
    }

    fn nested(&mut self, body: impl FnOnce(&mut Self)) -> Block {
        let outer = std::mem::take(&mut self.block);
        body(self);
        std::mem::replace(&mut self.block, outer)
    }
}

/// `left compare constant`.
pub fn compare_const(left: I, compare: IntCompare, right: i64) -> Condition {
    Condition { compare, left, right: Right::Constant(right) }
}

/// `left compare right`.
pub fn compare(left: I, compare: IntCompare, right: I) -> Condition {
    Condition { compare, left, right: Right::Register(right) }
}
