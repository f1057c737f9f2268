//! Elements that are not f32, one at a time: loads and stores of every type, and programs in f64 or 64-bit integers.
//!
//! A value is an integer register: an integer, or the bits of an f64. What kernels of vectors do not need is built from
//! few instructions here: the 16-bit floats, divisions that never trap, rounding without SSE4.1.

mod math;
mod trig;

use crate::tile::build::Builder;
use crate::tile::{Address, Cell, Conversion, I, IntOp, ScalarOp};
use rectify_ir::DType;
use rectify_ir::kernel::{Binary, Compute, Nest, Program, Reduce, Step, Unary};

/// Writes the arithmetic of one nest.
pub struct Scalars<'a> {
    pub builder: &'a mut Builder,
    compute: Compute,
    /// To what results of integer arithmetic wrap.
    wrap: Option<DType>,
}

/// The place along an axis of `size` elements that an index in memory means: negative ones count from the end, and what
/// lies outside is clamped.
pub fn load_place(builder: &mut Builder, element: DType, address: Address, size: I) -> I {
    let mut scalars = Scalars { builder, compute: Compute::I64, wrap: None };
    let index = scalars.load(element, address);
    let zero = scalars.int(0);
    let negative = scalars.less(index, zero);
    let from_end = scalars.builder.int(IntOp::Add(index, size));
    let place = scalars.choose(negative, from_end, index);
    let place = scalars.extreme(zero, place, false);
    let last = scalars.builder.int(IntOp::AddConst(size, -1));
    scalars.extreme(last, place, true)
}

/// An element as an integer whose signed order is the element's: zeros are equal, and NaN is above all numbers.
pub fn load_sort_key(builder: &mut Builder, element: DType, address: Address) -> I {
    let compute = match element {
        DType::U64 => Compute::U64,
        d if d.is_float() => Compute::F64,
        _ => Compute::I64,
    };
    let mut scalars = Scalars { builder, compute, wrap: None };
    let value = scalars.load(element, address);
    match compute {
        Compute::I64 => value,
        Compute::U64 => scalars.builder.int(IntOp::AddConst(value, i64::MIN)),
        Compute::F32 | Compute::F64 => {
            // The bits of positive floats are in order, those of negative ones in reverse.
            let magnitude = scalars.and(value, MAGNITUDE);
            let zero = scalars.int(0);
            let negated = scalars.builder.int(IntOp::Sub(zero, magnitude));
            let negative = scalars.op(ScalarOp::LessSigned, value, zero);
            let key = scalars.choose(negative, negated, magnitude);
            let (number, nan) = (scalars.op(ScalarOp::EqualFloat, value, value), scalars.int(i64::MAX));
            scalars.choose(number, key, nan)
        }
    }
}

/// Greatest magnitude of an f64 that need not be whole.
const WHOLE: f64 = 4_503_599_627_370_496.0;
const MAGNITUDE: i64 = i64::MAX;
/// Bits of the fraction of an f64; the exponent and the sign follow.
const FRACTION: i64 = 52;

impl<'a> Scalars<'a> {
    pub fn new(builder: &'a mut Builder, nest: &Nest) -> Scalars<'a> {
        let wrap = (nest.element.is_int() && nest.element.size_bytes() < 8).then_some(nest.element);
        Scalars { builder, compute: nest.compute, wrap }
    }

    fn op(&mut self, op: ScalarOp, a: I, b: I) -> I {
        self.builder.int(IntOp::Scalar(op, a, b))
    }

    fn convert(&mut self, op: Conversion, a: I) -> I {
        self.builder.int(IntOp::Convert(op, a))
    }

    fn choose(&mut self, condition: I, yes: I, no: I) -> I {
        self.builder.int(IntOp::Choose(condition, yes, no))
    }

    fn int(&mut self, value: i64) -> I {
        self.builder.int(IntOp::Const(value))
    }

    fn float(&mut self, value: f64) -> I {
        self.int(value.to_bits() as i64)
    }

    fn and(&mut self, a: I, mask: i64) -> I {
        self.builder.int(IntOp::AndConst(a, mask))
    }

    fn shift(&mut self, op: ScalarOp, a: I, bits: i64) -> I {
        let bits = self.int(bits);
        self.op(op, a, bits)
    }

    fn or(&mut self, a: I, b: I) -> I {
        self.op(ScalarOp::Or, a, b)
    }

    fn not(&mut self, truth: I) -> I {
        let zero = self.int(0);
        self.op(ScalarOp::EqualInt, truth, zero)
    }

    fn is_float(&self) -> bool {
        self.compute == Compute::F64
    }

    fn less(&mut self, a: I, b: I) -> I {
        let op = match self.compute {
            Compute::F32 | Compute::F64 => ScalarOp::LessFloat,
            Compute::I64 => ScalarOp::LessSigned,
            Compute::U64 => ScalarOp::LessUnsigned,
        };
        self.op(op, a, b)
    }

    fn equal(&mut self, a: I, b: I) -> I {
        let op = if self.is_float() { ScalarOp::EqualFloat } else { ScalarOp::EqualInt };
        self.op(op, a, b)
    }

    /// An element in memory as a value of the nest's arithmetic.
    pub fn load(&mut self, element: DType, address: Address) -> I {
        let cell = |scalars: &mut Self, cell| scalars.builder.int(IntOp::LoadCell(cell, address));
        let value = match element {
            DType::F64 | DType::I64 | DType::U64 => self.builder.int(IntOp::Load(address)),
            DType::F32 => cell(self, Cell::F32),
            DType::F16 | DType::U16 => cell(self, Cell::U16),
            DType::BF16 => {
                let bits = cell(self, Cell::U16);
                let bits = self.shift(ScalarOp::ShiftLeft, bits, 16);
                self.convert(Conversion::FromSingle, bits)
            }
            DType::I8 => cell(self, Cell::I8),
            DType::I16 => cell(self, Cell::I16),
            DType::I32 => cell(self, Cell::I32),
            DType::U8 => cell(self, Cell::U8),
            DType::U32 => cell(self, Cell::U32),
            DType::Bool => {
                let byte = cell(self, Cell::U8);
                let no = self.not(byte);
                self.not(no)
            }
        };
        let value = if element == DType::F16 { self.widen_half(value) } else { value };
        match (element.is_float(), self.is_float()) {
            (true, false) => self.convert(Conversion::ToSigned, value),
            (false, true) if element == DType::U64 => self.convert(Conversion::FromUnsigned, value),
            (false, true) => self.convert(Conversion::FromSigned, value),
            (true, true) | (false, false) => value,
        }
    }

    /// Writes a value of the nest's arithmetic as an element.
    pub fn store(&mut self, element: DType, address: Address, value: I) {
        if element == DType::Bool {
            let zero = self.int(0);
            let is_zero = self.equal(value, zero);
            let truth = self.not(is_zero);
            return self.builder.store_cell(Cell::U8, address, truth);
        }
        let value = match (self.is_float(), element.is_float()) {
            (true, false) => self.cut_to_int(element, value),
            (false, true) if element == DType::F32 => {
                let unsigned = self.compute == Compute::U64;
                let op = if unsigned { Conversion::SingleFromUnsigned } else { Conversion::SingleFromSigned };
                let bits = self.convert(op, value);
                return self.builder.store_cell(Cell::U32, address, bits);
            }
            (false, true) if self.compute == Compute::U64 => self.convert(Conversion::FromUnsigned, value),
            (false, true) => self.convert(Conversion::FromSigned, value),
            (true, true) | (false, false) => value,
        };
        let (cell, value) = match element {
            DType::F64 | DType::I64 | DType::U64 => return self.builder.store_int(address, value),
            DType::F32 => (Cell::F32, value),
            DType::F16 => (Cell::U16, self.narrow_half(value)),
            DType::BF16 => (Cell::U16, self.narrow_brain(value)),
            DType::I8 | DType::U8 | DType::Bool => (Cell::U8, value),
            DType::I16 | DType::U16 => (Cell::U16, value),
            DType::I32 | DType::U32 => (Cell::U32, value),
        };
        self.builder.store_cell(cell, address, value);
    }

    fn cut_to_int(&mut self, element: DType, value: I) -> I {
        let signed = self.convert(Conversion::ToSigned, value);
        if element != DType::U64 {
            return signed;
        }
        let unsigned = self.convert(Conversion::ToUnsigned, value);
        let zero = self.float(0.0);
        let negative = self.op(ScalarOp::LessFloat, value, zero);
        self.choose(negative, signed, unsigned)
    }

    /// An f64 from the bits of an f16.
    fn widen_half(&mut self, bits: I) -> I {
        let magnitude = self.and(bits, 0x7fff);
        let shifted = self.shift(ScalarOp::ShiftLeft, magnitude, FRACTION - 10);
        let normal = self.builder.int(IntOp::AddConst(shifted, (1023 - 15) << FRACTION));
        let special = self.builder.int(IntOp::AddConst(shifted, (2047 - 31) << FRACTION));
        let whole = self.convert(Conversion::FromSigned, magnitude);
        let least = self.float(2f64.powi(-24));
        let subnormal = self.op(ScalarOp::MulFloat, whole, least);
        let (first_normal, first_special) = (self.int(0x400), self.int(0x7c00));
        let is_subnormal = self.op(ScalarOp::LessSigned, magnitude, first_normal);
        let is_normal = self.op(ScalarOp::LessSigned, magnitude, first_special);
        let value = self.choose(is_normal, normal, special);
        let value = self.choose(is_subnormal, subnormal, value);
        let sign = self.and(bits, 0x8000);
        let sign = self.shift(ScalarOp::ShiftLeft, sign, 48);
        self.or(value, sign)
    }

    /// The bits of an f64 rounded to f16, to nearest even.
    fn narrow_half(&mut self, value: I) -> I {
        let magnitude = self.and(value, MAGNITUDE);
        // Adding 2^42 times the power of two below, or the least normal one, leaves ten bits of fraction.
        let exponent = self.shift(ScalarOp::ShiftRight, magnitude, FRACTION);
        let least = self.int(1023 - 14);
        let small = self.op(ScalarOp::LessSigned, exponent, least);
        let exponent = self.choose(small, least, exponent);
        let exponent = self.builder.int(IntOp::AddConst(exponent, FRACTION - 10));
        let magic = self.shift(ScalarOp::ShiftLeft, exponent, FRACTION);
        let rounded = self.op(ScalarOp::AddFloat, magnitude, magic);
        let rounded = self.op(ScalarOp::SubFloat, rounded, magic);
        let normal = self.shift(ScalarOp::ShiftRight, rounded, FRACTION - 10);
        let normal = self.builder.int(IntOp::AddConst(normal, -((1023 - 15) << 10)));
        let scale = self.float(2f64.powi(24));
        let whole = self.op(ScalarOp::MulFloat, rounded, scale);
        let subnormal = self.convert(Conversion::ToSigned, whole);
        let first_normal = self.float(2f64.powi(-14));
        let is_subnormal = self.op(ScalarOp::LessFloat, rounded, first_normal);
        let bits = self.choose(is_subnormal, subnormal, normal);
        let (limit, infinity, nan) = (self.float(65520.0), self.int(0x7c00), self.int(0x7e00));
        let finite = self.op(ScalarOp::LessFloat, magnitude, limit);
        let bits = self.choose(finite, bits, infinity);
        let number = self.op(ScalarOp::EqualFloat, value, value);
        let bits = self.choose(number, bits, nan);
        self.with_sign(bits, value)
    }

    /// The bits of an f64 rounded to f32 and to bf16, to nearest even.
    fn narrow_brain(&mut self, value: I) -> I {
        let bits = self.convert(Conversion::ToSingle, value);
        let magnitude = self.and(bits, 0x7fff_ffff);
        let last = self.builder.int(IntOp::ShiftRight(magnitude, 16));
        let last = self.and(last, 1);
        let raised = self.builder.int(IntOp::Add(magnitude, last));
        let raised = self.builder.int(IntOp::AddConst(raised, 0x7fff));
        let rounded = self.builder.int(IntOp::ShiftRight(raised, 16));
        let nan = self.int(0x7fc0);
        let number = self.op(ScalarOp::EqualFloat, value, value);
        let bits = self.choose(number, rounded, nan);
        self.with_sign(bits, value)
    }

    /// Sixteen bits with the sign of an f64.
    fn with_sign(&mut self, bits: I, value: I) -> I {
        let sign = self.builder.int(IntOp::ShiftRight(value, 48));
        let sign = self.and(sign, 0x8000);
        self.or(bits, sign)
    }

    /// Evaluates a program; `load` gives its operands.
    pub fn evaluate(
        &mut self,
        program: &Program,
        acc: Option<I>,
        load: &mut dyn FnMut(&mut Self, u8) -> I,
    ) -> I {
        let mut values: Vec<I> = Vec::with_capacity(program.steps.len());
        for step in &program.steps {
            let get = |reg: rectify_ir::kernel::Reg| values[reg.0 as usize];
            let value = match *step {
                // A legal program names an accumulator only where the kernel has one.
                Step::Acc => acc.unwrap_or(I(0)),
                Step::Load(k) => load(self, k),
                Step::Const(value) => self.constant(value.value()),
                Step::Unary(op, x) => self.unary(op, get(x)),
                Step::Binary(op, x, y) => self.binary(op, get(x), get(y)),
                Step::Select(c, yes, no) => {
                    let zero = self.int(0);
                    let is_zero = self.equal(get(c), zero);
                    self.choose(is_zero, get(no), get(yes))
                }
            };
            values.push(value);
        }
        values[program.result.0 as usize]
    }

    fn constant(&mut self, value: f64) -> I {
        match self.compute {
            Compute::F32 | Compute::F64 => self.float(value),
            Compute::I64 => self.int(value as i64),
            Compute::U64 => self.int(value as u64 as i64),
        }
    }

    /// The value that an integer is after it was written and read.
    fn wrapped(&mut self, value: I) -> I {
        let Some(element) = self.wrap.filter(|_| !self.is_float()) else { return value };
        let bits = 64 - 8 * element.size_bytes() as i64;
        match element {
            DType::I8 | DType::I16 | DType::I32 => {
                let high = self.shift(ScalarOp::ShiftLeft, value, bits);
                self.shift(ScalarOp::ShiftRight, high, bits)
            }
            _ => self.and(value, (1 << (64 - bits)) - 1),
        }
    }

    fn unary(&mut self, op: Unary, x: I) -> I {
        let float = self.is_float();
        match op {
            Unary::Neg if float => {
                let minus = self.float(-1.0);
                self.op(ScalarOp::MulFloat, x, minus)
            }
            Unary::Neg => {
                let zero = self.int(0);
                let y = self.builder.int(IntOp::Sub(zero, x));
                self.wrapped(y)
            }
            Unary::Abs if float => self.and(x, MAGNITUDE),
            Unary::Abs => {
                let minus = self.unary(Unary::Neg, x);
                let zero = self.int(0);
                let negative = self.less(x, zero);
                self.choose(negative, minus, x)
            }
            Unary::Relu => {
                let zero = self.constant(0.0);
                self.extreme(zero, x, false)
            }
            Unary::Clip { min, max } => {
                // Integers are clipped to the integers within the bounds.
                let (low, high) = (min.value(), max.value());
                let (low, high) = if float { (low, high) } else { (low.ceil(), high.floor()) };
                let (low, high) = (self.constant(low), self.constant(high));
                let y = self.extreme(low, x, false);
                self.extreme(high, y, true)
            }
            Unary::Sqrt => self.convert(Conversion::Sqrt, x),
            Unary::Reciprocal => {
                let one = self.float(1.0);
                self.op(ScalarOp::DivFloat, one, x)
            }
            Unary::Leaky { alpha } => {
                let slope = self.float(alpha.value());
                self.binary(Binary::Prelu, x, slope)
            }
            Unary::Floor | Unary::Ceil | Unary::Round => self.round(op, x),
            // The descriptor's check refuses those that integers have not.
            _ => self.function(op, x),
        }
    }

    fn round(&mut self, op: Unary, x: I) -> I {
        let sign = self.and(x, i64::MIN);
        let magnitude = self.and(x, MAGNITUDE);
        let (border, one) = (self.float(WHOLE), self.float(1.0));
        let whole = self.op(ScalarOp::AddFloat, magnitude, border);
        let whole = self.op(ScalarOp::SubFloat, whole, border);
        let mut whole = self.or(whole, sign);
        if op == Unary::Floor {
            let above = self.op(ScalarOp::LessFloat, x, whole);
            let below = self.op(ScalarOp::SubFloat, whole, one);
            whole = self.choose(above, below, whole);
        }
        if op == Unary::Ceil {
            let below = self.op(ScalarOp::LessFloat, whole, x);
            let above = self.op(ScalarOp::AddFloat, whole, one);
            whole = self.choose(below, above, whole);
            whole = self.or(whole, sign);
        }
        let small = self.op(ScalarOp::LessFloat, magnitude, border);
        self.choose(small, whole, x)
    }

    fn binary(&mut self, op: Binary, a: I, b: I) -> I {
        let float = self.is_float();
        let arithmetic = match op {
            Binary::Add => Some((ScalarOp::AddFloat, IntOp::Add(a, b))),
            Binary::Sub => Some((ScalarOp::SubFloat, IntOp::Sub(a, b))),
            Binary::Mul => Some((ScalarOp::MulFloat, IntOp::Mul(a, b))),
            _ => None,
        };
        match (op, arithmetic) {
            (_, Some((op, _))) if float => self.op(op, a, b),
            (_, Some((_, op))) => {
                let value = self.builder.int(op);
                self.wrapped(value)
            }
            (Binary::Div, _) if float => self.op(ScalarOp::DivFloat, a, b),
            (Binary::Div, _) => self.divide(a, b),
            (Binary::Max, _) => self.extreme(a, b, false),
            (Binary::Min, _) => self.extreme(a, b, true),
            (Binary::Prelu, _) => {
                let zero = self.constant(0.0);
                let scaled = self.op(ScalarOp::MulFloat, a, b);
                let positive = self.less(zero, a);
                self.choose(positive, a, scaled)
            }
            (Binary::Gt, _) => self.truth(ScalarOp::LessFloat, b, a),
            (Binary::Lt, _) => self.truth(ScalarOp::LessFloat, a, b),
            (Binary::Ge, _) => self.truth(ScalarOp::LessEqualFloat, b, a),
            (Binary::Le, _) => self.truth(ScalarOp::LessEqualFloat, a, b),
            (Binary::Eq, _) => self.truth(ScalarOp::EqualFloat, a, b),
            (Binary::Rem, _) if float => self.float_remainder(a, b),
            (Binary::Rem, _) => {
                let quotient = self.divide(a, b);
                let product = self.builder.int(IntOp::Mul(quotient, b));
                let rest = self.builder.int(IntOp::Sub(a, product));
                self.wrapped(rest)
            }
            (Binary::And, _) if float => self.op(ScalarOp::MulFloat, a, b),
            (Binary::Or, _) if float => self.extreme(a, b, false),
            (Binary::Xor, _) if float => {
                let difference = self.op(ScalarOp::SubFloat, a, b);
                self.and(difference, MAGNITUDE)
            }
            (Binary::Or, _) => self.or(a, b),
            (Binary::And, _) => self.both(a, b),
            (Binary::Xor, _) => {
                let (either, both) = (self.or(a, b), self.both(a, b));
                self.builder.int(IntOp::Sub(either, both))
            }
            (Binary::ShiftLeft, _) => self.shift_left(a, b),
            (Binary::ShiftRight, _) => self.shift_right(a, b),
            (Binary::Pow, _) => self.pow(a, b),
            // Above.
            (Binary::Add | Binary::Sub | Binary::Mul, _) => a,
        }
    }

    /// The bits that both have.
    fn both(&mut self, a: I, b: I) -> I {
        // a + b counts them twice and the others once.
        let sum = self.builder.int(IntOp::Add(a, b));
        let either = self.or(a, b);
        self.builder.int(IntOp::Sub(sum, either))
    }

    fn shift_left(&mut self, a: I, b: I) -> I {
        let (bits, zero) = (self.int(64), self.int(0));
        let within = self.op(ScalarOp::LessUnsigned, b, bits);
        let amount = self.choose(within, b, zero);
        let shifted = self.op(ScalarOp::ShiftLeft, a, amount);
        let y = self.choose(within, shifted, zero);
        self.wrapped(y)
    }

    fn shift_right(&mut self, a: I, b: I) -> I {
        let (bits, zero, most) = (self.int(64), self.int(0), self.int(63));
        let within = self.op(ScalarOp::LessUnsigned, b, bits);
        let amount = self.choose(within, b, most);
        if self.compute != Compute::U64 {
            return self.op(ScalarOp::ShiftRight, a, amount);
        }
        // The first step clears the sign, so that the others shift in zeros.
        let first = self.builder.int(IntOp::ShiftRight(a, 1));
        let rest = self.builder.int(IntOp::AddConst(amount, -1));
        let moved = self.choose(amount, rest, zero);
        let shifted = self.op(ScalarOp::ShiftRight, first, moved);
        let y = self.choose(amount, shifted, a);
        self.choose(within, y, zero)
    }

    /// `a - trunc(a / b) * b`; a itself where b is infinite.
    fn float_remainder(&mut self, a: I, b: I) -> I {
        let (magnitude, divisor) = (self.and(a, MAGNITUDE), self.and(b, MAGNITUDE));
        let quotient = self.op(ScalarOp::DivFloat, magnitude, divisor);
        let whole = self.round(Unary::Floor, quotient);
        let product = self.op(ScalarOp::MulFloat, whole, divisor);
        let rest = self.op(ScalarOp::SubFloat, magnitude, product);
        // The quotient's rounding may have brought it to the next integer.
        let zero = self.float(0.0);
        let more = self.op(ScalarOp::AddFloat, rest, divisor);
        let negative = self.op(ScalarOp::LessFloat, rest, zero);
        let rest = self.choose(negative, more, rest);
        let infinity = self.float(f64::INFINITY);
        let finite = self.op(ScalarOp::LessFloat, magnitude, infinity);
        let kept = self.choose(finite, magnitude, rest);
        let endless = self.op(ScalarOp::EqualFloat, divisor, infinity);
        let rest = self.choose(endless, kept, rest);
        let sign = self.and(a, i64::MIN);
        self.or(rest, sign)
    }

    /// A comparison as a number of the nest's arithmetic.
    fn truth(&mut self, op: ScalarOp, a: I, b: I) -> I {
        let holds = match op {
            _ if self.is_float() => self.op(op, a, b),
            ScalarOp::EqualFloat => self.equal(a, b),
            ScalarOp::LessFloat => self.less(a, b),
            _ => {
                let above = self.less(b, a);
                self.not(above)
            }
        };
        if self.is_float() { self.convert(Conversion::FromSigned, holds) } else { holds }
    }

    /// A quotient cut towards zero; zero where the divisor is, wrapped where it is too large.
    fn divide(&mut self, a: I, b: I) -> I {
        let (zero, one) = (self.int(0), self.int(1));
        let by_zero = self.op(ScalarOp::EqualInt, b, zero);
        if self.compute == Compute::U64 {
            let divisor = self.choose(by_zero, one, b);
            let quotient = self.builder.int(IntOp::Div(a, divisor));
            return self.choose(by_zero, zero, quotient);
        }
        let minus = self.int(-1);
        let by_minus = self.op(ScalarOp::EqualInt, b, minus);
        let unusual = self.or(by_zero, by_minus);
        let divisor = self.choose(unusual, one, b);
        let quotient = self.op(ScalarOp::DivSigned, a, divisor);
        let negated = self.builder.int(IntOp::Sub(zero, a));
        let quotient = self.choose(by_minus, negated, quotient);
        let quotient = self.choose(by_zero, zero, quotient);
        self.wrapped(quotient)
    }

    /// The lesser or the greater; NaN where either is.
    fn extreme(&mut self, a: I, b: I, least: bool) -> I {
        let first = if least { self.less(a, b) } else { self.less(b, a) };
        let value = self.choose(first, a, b);
        if !self.is_float() {
            return value;
        }
        // `b` stands where a comparison fails, so only a NaN in `a` is lost.
        let number = self.op(ScalarOp::EqualFloat, a, a);
        self.choose(number, value, a)
    }

    /// A register with the value that a reduction of nothing has.
    pub fn identity(&mut self, reduce: Reduce) -> I {
        let (lowest, highest) = match self.compute {
            Compute::F32 | Compute::F64 => {
                (f64::NEG_INFINITY.to_bits() as i64, f64::INFINITY.to_bits() as i64)
            }
            Compute::I64 => (i64::MIN, i64::MAX),
            Compute::U64 => (0, u64::MAX as i64),
        };
        match reduce {
            Reduce::Sum => self.constant(0.0),
            Reduce::Product => self.constant(1.0),
            Reduce::Max => self.int(lowest),
            Reduce::Min => self.int(highest),
        }
    }

    /// Combines the accumulator with a value.
    pub fn accumulate(&mut self, reduce: Reduce, acc: I, value: I) {
        let op = match reduce {
            Reduce::Sum => Binary::Add,
            Reduce::Product => Binary::Mul,
            Reduce::Max => Binary::Max,
            Reduce::Min => Binary::Min,
        };
        let next = self.binary(op, acc, value);
        self.builder.set(acc, IntOp::Copy(next));
    }
}
