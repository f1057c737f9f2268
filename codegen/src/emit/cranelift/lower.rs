//! Tile IR to Cranelift IR, statement by statement.
//!
//! Registers become frontend variables, which are put into SSA form on the way. Memory accesses are declared not to
//! trap: the plan's verifier has proved their ranges. Loops are tested at their head.

use crate::tile::{
    self, ARGUMENTS, Address, Cell, Condition, Conversion, FloatCompare, I, IntCompare, IntOp, Right,
    Rounding, ScalarOp, Statement, V, VectorOp, Width,
};
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, I32, I32X4, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, ConstantData, Endianness, InstBuilder, MemFlagsData, Signature, Type, Value,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

pub(super) fn lower(
    function: &tile::Function,
    convention: CallConv,
    frontend: TargetFrontendConfig,
    native_rounding: bool,
    avx: bool,
) -> Context {
    let mut context = Context::new();
    let mut signature = Signature::new(convention);
    signature.params = vec![AbiParam::new(I64); ARGUMENTS.len()];
    context.func.signature = signature;
    let mut frontend_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend_context);
    let ints = (0..function.ints).map(|_| builder.declare_var(I64)).collect();
    let vectors = (0..function.vectors).map(|_| builder.declare_var(F32X4)).collect();
    let mut lowering = Lowering { builder, ints, vectors, fused: function.fused, native_rounding, avx };
    let entry = lowering.builder.create_block();
    lowering.builder.append_block_params_for_function_params(entry);
    lowering.builder.switch_to_block(entry);
    lowering.builder.seal_block(entry);
    for (register, value) in ARGUMENTS.into_iter().zip(lowering.builder.block_params(entry).to_vec()) {
        lowering.set_int(register, value);
    }
    lowering.block(&function.body);
    lowering.builder.ins().return_(&[]);
    lowering.builder.finalize(frontend);
    context
}

struct Lowering<'a> {
    builder: FunctionBuilder<'a>,
    ints: Vec<Variable>,
    vectors: Vec<Variable>,
    fused: bool,
    /// Whether the target rounds vectors in one instruction.
    native_rounding: bool,
    /// Whether vector instructions read memory at any address.
    avx: bool,
}

impl Lowering<'_> {
    fn block(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Int(register, op) => {
                let value = self.int_op(op);
                self.set_int(*register, value);
            }
            Statement::Vector(register, op) => {
                let value = self.vector_op(op);
                self.builder.def_var(self.vectors[register.0 as usize], value);
            }
            Statement::StoreInt(address, value) => {
                let (place, value) = (self.address(address), self.int(*value));
                self.builder.ins().store(flags(), value, place, address.offset);
            }
            Statement::StoreCell(cell, address, value) => {
                let (place, value) = (self.address(address), self.int(*value));
                let ins = self.builder.ins();
                match cell {
                    Cell::I8 | Cell::U8 => ins.istore8(flags(), value, place, address.offset),
                    Cell::I16 | Cell::U16 => ins.istore16(flags(), value, place, address.offset),
                    Cell::I32 | Cell::U32 => ins.istore32(flags(), value, place, address.offset),
                    Cell::F32 => {
                        let wide = self.cast(F64, value);
                        let narrow = self.builder.ins().fdemote(F32, wide);
                        self.builder.ins().store(flags(), narrow, place, address.offset)
                    }
                };
            }
            Statement::Store(address, value, width) => {
                let (place, mut value) = (self.address(address), self.vector(*value));
                if *width == Width::One {
                    value = self.builder.ins().extractlane(value, 0);
                }
                self.builder.ins().store(flags(), value, place, address.offset);
            }
            // Cranelift has no such instruction.
            Statement::Prefetch(..) => {}
            Statement::Loop { count, body } => self.counted(*count, body),
            Statement::While { condition, body } => {
                let (head, inside, exit) = self.loop_blocks();
                let holds = self.condition(condition);
                self.builder.ins().brif(holds, inside, &[], exit, &[]);
                self.enter(inside);
                self.block(body);
                self.close_loop(head, exit);
            }
            Statement::If { condition, then, otherwise } => {
                let (yes, exit) = (self.builder.create_block(), self.builder.create_block());
                let no = if otherwise.is_empty() { exit } else { self.builder.create_block() };
                let holds = self.condition(condition);
                self.builder.ins().brif(holds, yes, &[], no, &[]);
                self.enter(yes);
                self.block(then);
                self.builder.ins().jump(exit, &[]);
                if !otherwise.is_empty() {
                    self.enter(no);
                    self.block(otherwise);
                    self.builder.ins().jump(exit, &[]);
                }
                self.enter(exit);
            }
        }
    }

    fn counted(&mut self, count: I, body: &[Statement]) {
        let left = self.builder.declare_var(I64);
        let count = self.int(count);
        self.builder.def_var(left, count);
        let (head, inside, exit) = self.loop_blocks();
        let now = self.builder.use_var(left);
        let any = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, now, 0);
        self.builder.ins().brif(any, inside, &[], exit, &[]);
        self.enter(inside);
        self.block(body);
        let now = self.builder.use_var(left);
        let next = self.builder.ins().iadd_imm_s(now, -1);
        self.builder.def_var(left, next);
        self.close_loop(head, exit);
    }

    /// Head, body and exit of a loop that is tested at the head.
    ///
    /// A test at the end would pass the accumulators to two blocks. Cranelift then counts them, and all that they
    /// are computed from, as used twice, and no longer folds loads into memory operands.
    fn loop_blocks(&mut self) -> (Block, Block, Block) {
        let [head, inside, exit] = std::array::from_fn(|_| self.builder.create_block());
        self.builder.ins().jump(head, &[]);
        self.builder.switch_to_block(head);
        (head, inside, exit)
    }

    fn close_loop(&mut self, head: Block, exit: Block) {
        self.builder.ins().jump(head, &[]);
        self.builder.seal_block(head);
        self.enter(exit);
    }

    /// Continues in a block whose predecessors are all known.
    fn enter(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
    }

    fn int(&mut self, register: I) -> Value {
        self.builder.use_var(self.ints[register.0 as usize])
    }

    fn set_int(&mut self, register: I, value: Value) {
        self.builder.def_var(self.ints[register.0 as usize], value);
    }

    fn vector(&mut self, register: V) -> Value {
        self.builder.use_var(self.vectors[register.0 as usize])
    }

    /// The address without its constant offset, which loads and stores hold themselves.
    fn address(&mut self, address: &Address) -> Value {
        let base = self.int(address.base);
        match address.index {
            Some(index) => {
                let index = self.int(index);
                self.builder.ins().iadd(base, index)
            }
            None => base,
        }
    }

    fn condition(&mut self, condition: &Condition) -> Value {
        let code = match condition.compare {
            IntCompare::Eq => IntCC::Equal,
            IntCompare::Ne => IntCC::NotEqual,
            IntCompare::Lt => IntCC::SignedLessThan,
            IntCompare::Ge => IntCC::SignedGreaterThanOrEqual,
            IntCompare::Gt => IntCC::SignedGreaterThan,
            IntCompare::Le => IntCC::SignedLessThanOrEqual,
        };
        let left = self.int(condition.left);
        match condition.right {
            Right::Register(right) => {
                let right = self.int(right);
                self.builder.ins().icmp(code, left, right)
            }
            Right::Constant(right) => self.builder.ins().icmp_imm_s(code, left, right),
        }
    }

    fn int_op(&mut self, op: &IntOp) -> Value {
        let mut read = |register: I| self.builder.use_var(self.ints[register.0 as usize]);
        match *op {
            IntOp::Const(value) => self.builder.ins().iconst(I64, value),
            IntOp::Copy(a) => read(a),
            IntOp::Add(a, b) => {
                let (a, b) = (read(a), read(b));
                self.builder.ins().iadd(a, b)
            }
            IntOp::AddConst(a, b) => {
                let a = read(a);
                self.builder.ins().iadd_imm_s(a, b)
            }
            IntOp::Sub(a, b) => {
                let (a, b) = (read(a), read(b));
                self.builder.ins().isub(a, b)
            }
            IntOp::Mul(a, b) => {
                let (a, b) = (read(a), read(b));
                self.builder.ins().imul(a, b)
            }
            IntOp::MulConst(a, b) => {
                let a = read(a);
                self.builder.ins().imul_imm_s(a, b)
            }
            IntOp::Div(a, b) => {
                let (a, b) = (read(a), read(b));
                self.builder.ins().udiv(a, b)
            }
            IntOp::Rem(a, b) => {
                let (a, b) = (read(a), read(b));
                self.builder.ins().urem(a, b)
            }
            IntOp::ShiftRight(a, bits) => {
                let a = read(a);
                self.builder.ins().ushr_imm_u(a, i64::from(bits))
            }
            IntOp::AndConst(a, mask) => {
                let a = read(a);
                self.builder.ins().band_imm_s(a, mask)
            }
            IntOp::Load(address) => {
                let place = self.address(&address);
                self.builder.ins().load(I64, flags(), place, address.offset)
            }
            IntOp::LoadCell(cell, address) => {
                let place = self.address(&address);
                let ins = self.builder.ins();
                match cell {
                    Cell::I8 => ins.sload8(I64, flags(), place, address.offset),
                    Cell::I16 => ins.sload16(I64, flags(), place, address.offset),
                    Cell::I32 => ins.sload32(flags(), place, address.offset),
                    Cell::U8 => ins.uload8(I64, flags(), place, address.offset),
                    Cell::U16 => ins.uload16(I64, flags(), place, address.offset),
                    Cell::U32 => ins.uload32(flags(), place, address.offset),
                    Cell::F32 => {
                        let narrow = ins.load(F32, flags(), place, address.offset);
                        let wide = self.builder.ins().fpromote(F64, narrow);
                        self.cast(I64, wide)
                    }
                }
            }
            IntOp::Scalar(op, a, b) => {
                let (a, b) = (read(a), read(b));
                self.scalar(op, a, b)
            }
            IntOp::Convert(op, a) => {
                let a = read(a);
                self.convert(op, a)
            }
            IntOp::Choose(c, a, b) => {
                let (c, a, b) = (read(c), read(a), read(b));
                self.builder.ins().select(c, a, b)
            }
        }
    }

    fn scalar(&mut self, op: ScalarOp, a: Value, b: Value) -> Value {
        let truth = |lowering: &mut Self, value| lowering.builder.ins().uextend(I64, value);
        let compare = |lowering: &mut Self, code| {
            let holds = lowering.builder.ins().icmp(code, a, b);
            truth(lowering, holds)
        };
        let compare_floats = |lowering: &mut Self, code| {
            let (a, b) = (lowering.cast(F64, a), lowering.cast(F64, b));
            let holds = lowering.builder.ins().fcmp(code, a, b);
            truth(lowering, holds)
        };
        match op {
            ScalarOp::Or => self.builder.ins().bor(a, b),
            ScalarOp::ShiftLeft => self.builder.ins().ishl(a, b),
            ScalarOp::ShiftRight => self.builder.ins().sshr(a, b),
            ScalarOp::DivSigned => self.builder.ins().sdiv(a, b),
            ScalarOp::EqualInt => compare(self, IntCC::Equal),
            ScalarOp::LessSigned => compare(self, IntCC::SignedLessThan),
            ScalarOp::LessUnsigned => compare(self, IntCC::UnsignedLessThan),
            ScalarOp::EqualFloat => compare_floats(self, FloatCC::Equal),
            ScalarOp::LessFloat => compare_floats(self, FloatCC::LessThan),
            ScalarOp::LessEqualFloat => compare_floats(self, FloatCC::LessThanOrEqual),
            ScalarOp::AddFloat | ScalarOp::SubFloat | ScalarOp::MulFloat | ScalarOp::DivFloat => {
                let (a, b) = (self.cast(F64, a), self.cast(F64, b));
                let ins = self.builder.ins();
                let value = match op {
                    ScalarOp::AddFloat => ins.fadd(a, b),
                    ScalarOp::SubFloat => ins.fsub(a, b),
                    ScalarOp::MulFloat => ins.fmul(a, b),
                    _ => ins.fdiv(a, b),
                };
                self.cast(I64, value)
            }
        }
    }

    fn convert(&mut self, op: Conversion, a: Value) -> Value {
        match op {
            Conversion::FromSigned => {
                let value = self.builder.ins().fcvt_from_sint(F64, a);
                self.cast(I64, value)
            }
            Conversion::FromUnsigned => {
                let value = self.builder.ins().fcvt_from_uint(F64, a);
                self.cast(I64, value)
            }
            Conversion::SingleFromSigned => {
                let value = self.builder.ins().fcvt_from_sint(F32, a);
                self.single_bits(value)
            }
            Conversion::SingleFromUnsigned => {
                let value = self.builder.ins().fcvt_from_uint(F32, a);
                self.single_bits(value)
            }
            Conversion::ToSingle => {
                let wide = self.cast(F64, a);
                let value = self.builder.ins().fdemote(F32, wide);
                self.single_bits(value)
            }
            Conversion::FromSingle => {
                let bits = self.builder.ins().ireduce(I32, a);
                let narrow = self.cast(F32, bits);
                let value = self.builder.ins().fpromote(F64, narrow);
                self.cast(I64, value)
            }
            Conversion::ToSigned => {
                let value = self.cast(F64, a);
                self.builder.ins().fcvt_to_sint_sat(I64, value)
            }
            Conversion::ToUnsigned => {
                let value = self.cast(F64, a);
                self.builder.ins().fcvt_to_uint_sat(I64, value)
            }
            Conversion::Sqrt => {
                let value = self.cast(F64, a);
                let root = self.builder.ins().sqrt(value);
                self.cast(I64, root)
            }
        }
    }

    fn single_bits(&mut self, value: Value) -> Value {
        let bits = self.cast(I32, value);
        self.builder.ins().uextend(I64, bits)
    }

    fn vector_op(&mut self, op: &VectorOp) -> Value {
        let operands: Vec<Value> = op.reads().into_iter().map(|register| self.vector(register)).collect();
        match *op {
            VectorOp::Splat(bits) => self.splat(bits),
            VectorOp::Copy(_) => operands[0],
            VectorOp::Load(address, Width::Full) => {
                let place = self.address(&address);
                self.builder.ins().load(F32X4, flags(), place, address.offset)
            }
            VectorOp::Load(address, Width::One) => {
                let place = self.address(&address);
                let lane = self.builder.ins().load(F32, flags(), place, address.offset);
                self.builder.ins().scalar_to_vector(F32X4, lane)
            }
            VectorOp::Load(_, Width::First(_)) | VectorOp::Keep(..) => {
                unreachable!("the verifier refuses counts of lanes in functions of four")
            }
            VectorOp::LoadSplat(address) => {
                let place = self.address(&address);
                let lane = self.builder.ins().load(F32, flags(), place, address.offset);
                self.builder.ins().splat(F32X4, lane)
            }
            VectorOp::Add(..) => self.builder.ins().fadd(operands[0], operands[1]),
            VectorOp::Sub(..) => self.builder.ins().fsub(operands[0], operands[1]),
            VectorOp::Mul(..) => self.builder.ins().fmul(operands[0], operands[1]),
            VectorOp::Div(..) => self.builder.ins().fdiv(operands[0], operands[1]),
            // These two shapes are single instructions on x86 (`fmax` and `fmin` are long sequences there).
            VectorOp::Max(..) => {
                let (a, b) = (operands[0], operands[1]);
                self.select(FloatCC::LessThan, b, a, a, b)
            }
            VectorOp::Min(..) => {
                let (a, b) = (operands[0], operands[1]);
                self.select(FloatCC::LessThan, a, b, a, b)
            }
            VectorOp::MulAdd(..) if self.fused => {
                self.builder.ins().fma(operands[0], operands[1], operands[2])
            }
            VectorOp::MulAdd(..) => {
                let product = self.builder.ins().fmul(operands[0], operands[1]);
                self.builder.ins().fadd(product, operands[2])
            }
            VectorOp::Sqrt(_) => self.builder.ins().sqrt(operands[0]),
            VectorOp::Round(mode, _) => self.round(mode, operands[0]),
            VectorOp::Select(compare, ..) => {
                let code = match compare {
                    FloatCompare::Eq => FloatCC::Equal,
                    FloatCompare::Ne => FloatCC::NotEqual,
                    FloatCompare::Lt => FloatCC::LessThan,
                    FloatCompare::Le => FloatCC::LessThanOrEqual,
                    FloatCompare::Gt => FloatCC::GreaterThan,
                    FloatCompare::Ge => FloatCC::GreaterThanOrEqual,
                };
                self.select(code, operands[0], operands[1], operands[2], operands[3])
            }
            VectorOp::And(..) => self.builder.ins().band(operands[0], operands[1]),
            VectorOp::Or(..) => self.builder.ins().bor(operands[0], operands[1]),
            VectorOp::Xor(..) => self.builder.ins().bxor(operands[0], operands[1]),
            VectorOp::IntAdd(..) => {
                let (a, b) = (self.cast(I32X4, operands[0]), self.cast(I32X4, operands[1]));
                let sum = self.builder.ins().iadd(a, b);
                self.cast(F32X4, sum)
            }
            VectorOp::IntSub(..) => {
                let (a, b) = (self.cast(I32X4, operands[0]), self.cast(I32X4, operands[1]));
                let difference = self.builder.ins().isub(a, b);
                self.cast(F32X4, difference)
            }
            VectorOp::ShiftLeft(_, bits) => {
                let a = self.cast(I32X4, operands[0]);
                let bits = self.builder.ins().iconst(I32, i64::from(bits));
                let shifted = self.builder.ins().ishl(a, bits);
                self.cast(F32X4, shifted)
            }
            VectorOp::ShiftRight(_, bits) => {
                let a = self.cast(I32X4, operands[0]);
                let bits = self.builder.ins().iconst(I32, i64::from(bits));
                let shifted = self.builder.ins().ushr(a, bits);
                self.cast(F32X4, shifted)
            }
            VectorOp::FromInt(_) => {
                let a = self.cast(I32X4, operands[0]);
                self.builder.ins().fcvt_from_sint(F32X4, a)
            }
        }
    }

    fn select(&mut self, code: FloatCC, a: Value, b: Value, yes: Value, no: Value) -> Value {
        let (a, b) = (self.apart(a), self.apart(b));
        let mask = self.builder.ins().fcmp(code, a, b);
        let mask = self.cast(F32X4, mask);
        self.builder.ins().bitselect(mask, yes, no)
    }

    /// The value, not as the result of a load. Without AVX, Cranelift would let a comparison read memory itself, and
    /// that faults unless the address is a multiple of 16.
    fn apart(&mut self, value: Value) -> Value {
        if self.avx {
            return value;
        }
        let bits = self.cast(I32X4, value);
        self.cast(F32X4, bits)
    }

    fn cast(&mut self, ty: Type, value: Value) -> Value {
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(ty, flags, value)
    }

    fn splat(&mut self, bits: u32) -> Value {
        let bytes: Vec<u8> = std::iter::repeat_n(bits.to_le_bytes(), 4).flatten().collect();
        let constant = self.builder.func.dfg.constants.insert(ConstantData::from(&bytes[..]));
        self.builder.ins().vconst(F32X4, constant)
    }

    fn round(&mut self, mode: Rounding, x: Value) -> Value {
        if self.native_rounding {
            return match mode {
                Rounding::Floor => self.builder.ins().floor(x),
                Rounding::Ceil => self.builder.ins().ceil(x),
                Rounding::Nearest => self.builder.ins().nearest(x),
            };
        }
        // Adding 2^23 to a smaller magnitude rounds it to an integer; larger ones and NaN are their own result.
        let (sign_mask, big) = (self.splat(0x8000_0000), self.splat(8_388_608f32.to_bits()));
        let sign = self.builder.ins().band(x, sign_mask);
        let magnitude = self.builder.ins().bxor(x, sign);
        let shifted = self.builder.ins().fadd(magnitude, big);
        let mut whole = self.builder.ins().fsub(shifted, big);
        whole = self.builder.ins().bor(whole, sign);
        let one = self.splat(1f32.to_bits());
        match mode {
            Rounding::Nearest => {}
            Rounding::Floor => {
                let below = self.builder.ins().fsub(whole, one);
                whole = self.select(FloatCC::LessThan, x, whole, below, whole);
            }
            Rounding::Ceil => {
                let above = self.builder.ins().fadd(whole, one);
                whole = self.select(FloatCC::LessThan, whole, x, above, whole);
                whole = self.builder.ins().bor(whole, sign);
            }
        }
        self.select(FloatCC::LessThan, magnitude, big, whole, x)
    }
}

/// No trap, no alignment promised.
fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}
