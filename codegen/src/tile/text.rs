//! Text form of tile IR, for dumps and test failures.

use super::*;
use std::fmt::{self, Display, Formatter};

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "tile x{}{} {{", self.lanes, if self.fused { " fused" } else { "" })?;
        block(f, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

fn block(f: &mut Formatter<'_>, statements: &[Statement], depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for statement in statements {
        match statement {
            Statement::Int(register, op) => writeln!(f, "{indent}{register} = {op}")?,
            Statement::Vector(register, op) => writeln!(f, "{indent}{register} = {op}")?,
            Statement::StoreCell(cell, address, value) => {
                writeln!(f, "{indent}store {cell:?} {address}, {value}")?;
            }
            Statement::StoreInt(address, value) => writeln!(f, "{indent}store {address}, {value}")?,
            Statement::Store(address, value, width) => {
                writeln!(f, "{indent}store{} {address}, {value}", suffix(*width))?;
            }
            Statement::Prefetch(Cache::First, address) => writeln!(f, "{indent}prefetch {address}")?,
            Statement::Prefetch(Cache::Second, address) => writeln!(f, "{indent}prefetch second {address}")?,
            Statement::Loop { count, body } => nested(f, &indent, format_args!("loop {count}"), body, depth)?,
            Statement::While { condition, body } => {
                nested(f, &indent, format_args!("while {condition}"), body, depth)?;
            }
            Statement::If { condition, then, otherwise } => {
                nested(f, &indent, format_args!("if {condition}"), then, depth)?;
                if !otherwise.is_empty() {
                    nested(f, &indent, format_args!("else"), otherwise, depth)?;
                }
            }
        }
    }
    Ok(())
}

fn nested(
    f: &mut Formatter<'_>,
    indent: &str,
    head: fmt::Arguments<'_>,
    body: &[Statement],
    depth: usize,
) -> fmt::Result {
    writeln!(f, "{indent}{head} {{")?;
    block(f, body, depth + 1)?;
    writeln!(f, "{indent}}}")
}

fn suffix(width: Width) -> String {
    match width {
        Width::Full => String::new(),
        Width::One => ".1".to_string(),
        Width::First(count) => format!(".{count}"),
    }
}

impl Display for IntOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            IntOp::Const(value) => write!(f, "{value}"),
            IntOp::Copy(a) => write!(f, "{a}"),
            IntOp::Add(a, b) => write!(f, "{a} + {b}"),
            IntOp::AddConst(a, b) => write!(f, "{a} + {b}"),
            IntOp::Sub(a, b) => write!(f, "{a} - {b}"),
            IntOp::Mul(a, b) => write!(f, "{a} * {b}"),
            IntOp::MulConst(a, b) => write!(f, "{a} * {b}"),
            IntOp::Div(a, b) => write!(f, "{a} / {b}"),
            IntOp::Rem(a, b) => write!(f, "{a} % {b}"),
            IntOp::ShiftRight(a, bits) => write!(f, "{a} >> {bits}"),
            IntOp::AndConst(a, mask) => write!(f, "{a} & {mask:#x}"),
            IntOp::Load(address) => write!(f, "load {address}"),
            IntOp::LoadCell(cell, address) => write!(f, "load {cell:?} {address}"),
            IntOp::Scalar(op, a, b) => write!(f, "{op:?}({a}, {b})"),
            IntOp::Convert(op, a) => write!(f, "{op:?}({a})"),
            IntOp::Choose(c, a, b) => write!(f, "{c} ? {a} : {b}"),
        }
    }
}

impl Display for VectorOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use VectorOp::*;
        match self {
            Splat(bits) => write!(f, "splat {bits:#010x} ({})", f32::from_bits(*bits)),
            Copy(a) => write!(f, "{a}"),
            Load(address, width) => write!(f, "load{} {address}", suffix(*width)),
            LoadSplat(address) => write!(f, "load.splat {address}"),
            Add(a, b) => write!(f, "add {a}, {b}"),
            Sub(a, b) => write!(f, "sub {a}, {b}"),
            Mul(a, b) => write!(f, "mul {a}, {b}"),
            Div(a, b) => write!(f, "div {a}, {b}"),
            Max(a, b) => write!(f, "max {a}, {b}"),
            Min(a, b) => write!(f, "min {a}, {b}"),
            MulAdd(a, b, c) => write!(f, "mul_add {a}, {b}, {c}"),
            Sqrt(a) => write!(f, "sqrt {a}"),
            Round(mode, a) => write!(f, "round.{mode:?} {a}"),
            Select(compare, a, b, yes, no) => write!(f, "select.{compare:?} {a}, {b} ? {yes} : {no}"),
            Keep(count, yes, no) => write!(f, "keep.{count} {yes} : {no}"),
            And(a, b) => write!(f, "and {a}, {b}"),
            Or(a, b) => write!(f, "or {a}, {b}"),
            Xor(a, b) => write!(f, "xor {a}, {b}"),
            IntAdd(a, b) => write!(f, "int.add {a}, {b}"),
            IntSub(a, b) => write!(f, "int.sub {a}, {b}"),
            ShiftLeft(a, bits) => write!(f, "shl {a}, {bits}"),
            ShiftRight(a, bits) => write!(f, "shr {a}, {bits}"),
            FromInt(a) => write!(f, "from_int {a}"),
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.base)?;
        if let Some(index) = self.index {
            write!(f, " + {index}")?;
        }
        if self.offset != 0 {
            write!(f, " + {}", self.offset)?;
        }
        write!(f, "]")
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = match self.compare {
            IntCompare::Eq => "==",
            IntCompare::Ne => "!=",
            IntCompare::Lt => "<",
            IntCompare::Ge => ">=",
            IntCompare::Gt => ">",
            IntCompare::Le => "<=",
        };
        match self.right {
            Right::Register(right) => write!(f, "{} {sign} {right}", self.left),
            Right::Constant(right) => write!(f, "{} {sign} {right}", self.left),
        }
    }
}

impl Display for I {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl Display for V {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}
