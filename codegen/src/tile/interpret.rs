//! A slow interpreter of tile IR over real memory with bounds checks: the judge of emitters and of addressing.

use super::*;

fn float(bits: i64) -> f64 {
    f64::from_bits(bits as u64)
}

fn scalar(op: ScalarOp, a: i64, b: i64) -> Result<i64, Fault> {
    let (x, y) = (float(a), float(b));
    let bits = |v: f64| v.to_bits() as i64;
    Ok(match op {
        ScalarOp::Or => a | b,
        ScalarOp::ShiftLeft => a << b,
        ScalarOp::ShiftRight => a >> b,
        ScalarOp::DivSigned => a.checked_div(b).ok_or(Fault::DivisionByZero)?,
        ScalarOp::EqualInt => i64::from(a == b),
        ScalarOp::LessSigned => i64::from(a < b),
        ScalarOp::LessUnsigned => i64::from((a as u64) < b as u64),
        ScalarOp::AddFloat => bits(x + y),
        ScalarOp::SubFloat => bits(x - y),
        ScalarOp::MulFloat => bits(x * y),
        ScalarOp::DivFloat => bits(x / y),
        ScalarOp::EqualFloat => i64::from(x == y),
        ScalarOp::LessFloat => i64::from(x < y),
        ScalarOp::LessEqualFloat => i64::from(x <= y),
    })
}

fn convert(op: Conversion, a: i64) -> i64 {
    let bits = |v: f64| v.to_bits() as i64;
    match op {
        Conversion::FromSigned => bits(a as f64),
        Conversion::FromUnsigned => bits(a as u64 as f64),
        Conversion::SingleFromSigned => i64::from((a as f32).to_bits()),
        Conversion::SingleFromUnsigned => i64::from((a as u64 as f32).to_bits()),
        Conversion::ToSingle => i64::from((float(a) as f32).to_bits()),
        Conversion::FromSingle => bits(f64::from(f32::from_bits(a as u32))),
        Conversion::ToSigned => float(a) as i64,
        Conversion::ToUnsigned => float(a) as u64 as i64,
        Conversion::Sqrt => bits(float(a).sqrt()),
    }
}

/// A piece of memory that the function may touch.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    pub start: *mut u8,
    pub bytes: usize,
    pub writable: bool,
}

/// Why the interpreter stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{access} of {bytes} bytes at {address} is outside of every region")]
    OutOfBounds { access: &'static str, address: Address, bytes: usize },
    #[error("division by zero")]
    DivisionByZero,
    #[error("a loop that does not end")]
    Endless,
}

/// Runs the function with these argument registers.
///
/// # Safety
/// Every region is valid for reads, and writes if writable, for the time of the call.
pub unsafe fn interpret(function: &Function, arguments: [i64; 5], regions: &[Region]) -> Result<(), Fault> {
    let mut machine = Machine {
        function,
        regions,
        ints: vec![0; function.ints as usize],
        vectors: vec![[0; 16]; function.vectors as usize],
        fuel: 200_000_000,
    };
    machine.ints[..5].copy_from_slice(&arguments);
    machine.block(&function.body)
}

struct Machine<'a> {
    function: &'a Function,
    regions: &'a [Region],
    ints: Vec<i64>,
    /// Bits of the lanes; those beyond the function's are not used.
    vectors: Vec<[u32; 16]>,
    fuel: u64,
}

impl Machine<'_> {
    fn block(&mut self, statements: &[Statement]) -> Result<(), Fault> {
        for statement in statements {
            self.fuel = self.fuel.checked_sub(1).ok_or(Fault::Endless)?;
            match statement {
                Statement::Int(register, op) => {
                    let value = self.int_op(op)?;
                    self.ints[register.0 as usize] = value;
                }
                Statement::Vector(register, op) => {
                    let value = self.vector_op(op)?;
                    self.vectors[register.0 as usize] = value;
                }
                Statement::StoreInt(address, value) => {
                    let value = self.int(*value);
                    self.write(address, &value.to_le_bytes())?;
                }
                Statement::StoreCell(cell, address, value) => {
                    let value = self.int(*value);
                    let bits = match cell {
                        Cell::F32 => i64::from((float(value) as f32).to_bits()),
                        _ => value,
                    };
                    self.write(address, &bits.to_le_bytes()[..cell.bytes()])?;
                }
                Statement::Store(address, value, width) => {
                    let lanes = self.width(*width);
                    let value = self.vectors[value.0 as usize];
                    let bytes: Vec<u8> = value[..lanes].iter().flat_map(|lane| lane.to_le_bytes()).collect();
                    self.write(address, &bytes)?;
                }
                // It reads nothing, and may name any address.
                Statement::Prefetch(..) => {}
                Statement::Loop { count, body } => {
                    for _ in 0..self.int(*count).max(0) {
                        self.block(body)?;
                    }
                }
                Statement::While { condition, body } => {
                    while self.condition(condition) {
                        self.fuel = self.fuel.checked_sub(1).ok_or(Fault::Endless)?;
                        self.block(body)?;
                    }
                }
                Statement::If { condition, then, otherwise } => {
                    self.block(if self.condition(condition) { then } else { otherwise })?;
                }
            }
        }
        Ok(())
    }

    fn int(&self, register: I) -> i64 {
        self.ints[register.0 as usize]
    }

    fn condition(&self, condition: &Condition) -> bool {
        let right = match condition.right {
            Right::Register(right) => self.int(right),
            Right::Constant(right) => right,
        };
        condition.holds(self.int(condition.left), right)
    }

    fn int_op(&self, op: &IntOp) -> Result<i64, Fault> {
        let divide = |a: I, b: I, operation: fn(u64, u64) -> Option<u64>| {
            operation(self.int(a) as u64, self.int(b) as u64)
                .map(|value| value as i64)
                .ok_or(Fault::DivisionByZero)
        };
        Ok(match *op {
            IntOp::Const(value) => value,
            IntOp::Copy(a) => self.int(a),
            IntOp::Add(a, b) => self.int(a).wrapping_add(self.int(b)),
            IntOp::AddConst(a, b) => self.int(a).wrapping_add(b),
            IntOp::Sub(a, b) => self.int(a).wrapping_sub(self.int(b)),
            IntOp::Mul(a, b) => self.int(a).wrapping_mul(self.int(b)),
            IntOp::MulConst(a, b) => self.int(a).wrapping_mul(b),
            IntOp::Div(a, b) => divide(a, b, u64::checked_div)?,
            IntOp::Rem(a, b) => divide(a, b, u64::checked_rem)?,
            IntOp::ShiftRight(a, bits) => (self.int(a) as u64 >> bits) as i64,
            IntOp::AndConst(a, mask) => self.int(a) & mask,
            IntOp::Load(address) => {
                let mut bytes = [0; 8];
                self.read(&address, &mut bytes)?;
                i64::from_le_bytes(bytes)
            }
            IntOp::LoadCell(cell, address) => {
                let mut bytes = [0; 8];
                self.read(&address, &mut bytes[..cell.bytes()])?;
                let bits = i64::from_le_bytes(bytes);
                match cell {
                    Cell::I8 => i64::from(bits as i8),
                    Cell::I16 => i64::from(bits as i16),
                    Cell::I32 => i64::from(bits as i32),
                    Cell::U8 | Cell::U16 | Cell::U32 => bits,
                    Cell::F32 => f64::from(f32::from_bits(bits as u32)).to_bits() as i64,
                }
            }
            IntOp::Scalar(op, a, b) => scalar(op, self.int(a), self.int(b))?,
            IntOp::Convert(op, a) => convert(op, self.int(a)),
            IntOp::Choose(c, a, b) => self.int(if self.int(c) != 0 { a } else { b }),
        })
    }

    fn vector_op(&self, op: &VectorOp) -> Result<[u32; 16], Fault> {
        use VectorOp::*;
        let bits = |register: V| self.vectors[register.0 as usize];
        let unary = |a: V, f: &dyn Fn(f32) -> f32| bits(a).map(|lane| f(f32::from_bits(lane)).to_bits());
        let binary = |a: V, b: V, f: &dyn Fn(f32, f32) -> f32| {
            std::array::from_fn(|k| f(f32::from_bits(bits(a)[k]), f32::from_bits(bits(b)[k])).to_bits())
        };
        let integer =
            |a: V, b: V, f: &dyn Fn(u32, u32) -> u32| std::array::from_fn(|k| f(bits(a)[k], bits(b)[k]));
        Ok(match *op {
            Splat(value) => [value; 16],
            Copy(a) => bits(a),
            Load(address, width) => {
                // Lanes that a partial load leaves open get a pattern that shows if anything depends on them.
                let open = if width.count().is_some() { 0 } else { 0x7fc1_2345 };
                let mut lanes = [open; 16];
                let mut bytes = [0; 64];
                let count = self.width(width);
                self.read(&address, &mut bytes[..count * 4])?;
                for (lane, chunk) in lanes.iter_mut().zip(bytes[..count * 4].chunks_exact(4)) {
                    *lane = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
                }
                lanes
            }
            LoadSplat(address) => {
                let mut bytes = [0; 4];
                self.read(&address, &mut bytes)?;
                [u32::from_le_bytes(bytes); 16]
            }
            Add(a, b) => binary(a, b, &|a, b| a + b),
            Sub(a, b) => binary(a, b, &|a, b| a - b),
            Mul(a, b) => binary(a, b, &|a, b| a * b),
            Div(a, b) => binary(a, b, &|a, b| a / b),
            Max(a, b) => binary(a, b, &|a, b| if a > b { a } else { b }),
            Min(a, b) => binary(a, b, &|a, b| if a < b { a } else { b }),
            MulAdd(a, b, c) => std::array::from_fn(|k| {
                let [a, b, c] = [a, b, c].map(|register| f32::from_bits(bits(register)[k]));
                (if self.function.fused { a.mul_add(b, c) } else { a * b + c }).to_bits()
            }),
            Sqrt(a) => unary(a, &f32::sqrt),
            Round(mode, a) => unary(a, &|x| match mode {
                Rounding::Floor => x.floor(),
                Rounding::Ceil => x.ceil(),
                Rounding::Nearest => x.round_ties_even(),
            }),
            Select(compare, a, b, yes, no) => std::array::from_fn(|k| {
                let (left, right) = (f32::from_bits(bits(a)[k]), f32::from_bits(bits(b)[k]));
                let holds = match compare {
                    FloatCompare::Eq => left == right,
                    FloatCompare::Ne => left != right,
                    FloatCompare::Lt => left < right,
                    FloatCompare::Le => left <= right,
                    FloatCompare::Gt => left > right,
                    FloatCompare::Ge => left >= right,
                };
                bits(if holds { yes } else { no })[k]
            }),
            Keep(count, yes, no) => {
                let count = self.width(Width::First(count));
                std::array::from_fn(|k| bits(if k < count { yes } else { no })[k])
            }
            And(a, b) => integer(a, b, &|a, b| a & b),
            Or(a, b) => integer(a, b, &|a, b| a | b),
            Xor(a, b) => integer(a, b, &|a, b| a ^ b),
            IntAdd(a, b) => integer(a, b, &u32::wrapping_add),
            IntSub(a, b) => integer(a, b, &u32::wrapping_sub),
            ShiftLeft(a, count) => bits(a).map(|lane| lane << count),
            ShiftRight(a, count) => bits(a).map(|lane| lane >> count),
            FromInt(a) => bits(a).map(|lane| (lane as i32 as f32).to_bits()),
        })
    }

    fn width(&self, width: Width) -> usize {
        match width {
            Width::Full => self.function.lanes as usize,
            Width::One => 1,
            Width::First(count) => self.int(count).clamp(0, i64::from(self.function.lanes)) as usize,
        }
    }

    /// The pointer of an address, if its bytes lie within one region.
    fn locate(&self, address: &Address, bytes: usize, write: bool) -> Result<*mut u8, Fault> {
        let index = address.index.map_or(0, |index| self.int(index));
        let place =
            self.int(address.base).wrapping_add(index).wrapping_add(i64::from(address.offset)) as usize;
        let inside = |region: &&Region| {
            let start = region.start as usize;
            place >= start
                && place.saturating_add(bytes) <= start + region.bytes
                && (region.writable || !write)
        };
        match self.regions.iter().find(inside) {
            Some(region) => Ok(region.start.wrapping_add(place - region.start as usize)),
            None => Err(Fault::OutOfBounds {
                access: if write { "a write" } else { "a read" },
                address: *address,
                bytes,
            }),
        }
    }

    fn read(&self, address: &Address, bytes: &mut [u8]) -> Result<(), Fault> {
        let place = self.locate(address, bytes.len(), false)?;
        // Safety: `locate` proved that the bytes lie in a region, which the caller promised to be readable.
        unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn write(&mut self, address: &Address, bytes: &[u8]) -> Result<(), Fault> {
        let place = self.locate(address, bytes.len(), true)?;
        // Safety: as in `read`, and the region is writable.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }
}
