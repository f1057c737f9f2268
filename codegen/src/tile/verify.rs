//! The verifier of tile IR. What holds of every function:
//!
//! 1. Every register read is below the function's count of registers of its kind.
//! 2. Every register is set on each path before it is read; what only a loop's body sets is unset after the loop.
//! 3. Shift counts are below the width of what they shift, lanes are a power of two from 4 to 16.
//! 4. Functions of four lanes count none: their vectors are whole or one element.
//! 5. Scalars other than integers of 64 bits are in functions of four lanes alone.

use super::*;

/// What is wrong, with the statement in text form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tile IR: {0}")]
pub struct Violation(pub String);

pub fn verify(function: &Function) -> Result<(), Violation> {
    if !function.lanes.is_power_of_two() || !(4..=16).contains(&function.lanes) {
        return Err(Violation(format!("{} lanes", function.lanes)));
    }
    let mut set = Set {
        function,
        ints: vec![false; function.ints as usize],
        vectors: vec![false; function.vectors as usize],
    };
    for argument in ARGUMENTS {
        set.define_int(argument)?;
    }
    set.block(&function.body)
}

/// The registers that are set on every path to the present place.
#[derive(Clone)]
struct Set<'a> {
    function: &'a Function,
    ints: Vec<bool>,
    vectors: Vec<bool>,
}

impl Set<'_> {
    fn block(&mut self, statements: &[Statement]) -> Result<(), Violation> {
        for statement in statements {
            match statement {
                Statement::Int(register, op) => {
                    self.read(&op.reads(), &[], op)?;
                    if let IntOp::ShiftRight(_, bits) = op
                        && *bits >= 64
                    {
                        return Err(Violation(format!("{register} = {op}: shift beyond the register")));
                    }
                    if let IntOp::LoadCell(..) | IntOp::Scalar(..) | IntOp::Convert(..) | IntOp::Choose(..) =
                        op
                        && self.function.lanes != 4
                    {
                        return Err(Violation(format!(
                            "{register} = {op}: a scalar in a function of vectors"
                        )));
                    }
                    self.define_int(*register)?;
                }
                Statement::Vector(register, op) => {
                    self.read(&op.int_reads(), &op.reads(), op)?;
                    if let VectorOp::Load(_, Width::First(_)) | VectorOp::Keep(..) = op {
                        self.counted(op)?;
                    }
                    if let VectorOp::ShiftLeft(_, bits) | VectorOp::ShiftRight(_, bits) = op
                        && *bits >= 32
                    {
                        return Err(Violation(format!("{register} = {op}: shift beyond the lane")));
                    }
                    self.define_vector(*register)?;
                }
                Statement::StoreCell(_, address, value) => {
                    self.read(&address.reads(), &[], address)?;
                    self.read(&[*value], &[], address)?;
                    if self.function.lanes != 4 {
                        return Err(Violation(format!("{address}: a scalar in a function of vectors")));
                    }
                }
                Statement::StoreInt(address, value) => {
                    self.read(&address.reads(), &[], address)?;
                    self.read(&[*value], &[], address)?;
                }
                Statement::Store(address, value, width) => {
                    self.read(&address.reads(), &[*value], address)?;
                    if let Some(count) = width.count() {
                        self.read(&[count], &[], address)?;
                        self.counted(address)?;
                    }
                }
                Statement::Prefetch(_, address) => self.read(&address.reads(), &[], address)?,
                Statement::Loop { count, body } => {
                    self.read(&[*count], &[], count)?;
                    self.clone().block(body)?;
                }
                Statement::While { condition, body } => {
                    self.condition(condition)?;
                    self.clone().block(body)?;
                }
                Statement::If { condition, then, otherwise } => {
                    self.condition(condition)?;
                    let (mut yes, mut no) = (self.clone(), self.clone());
                    yes.block(then)?;
                    no.block(otherwise)?;
                    self.ints = both(&yes.ints, &no.ints);
                    self.vectors = both(&yes.vectors, &no.vectors);
                }
            }
        }
        Ok(())
    }

    fn counted(&self, what: &dyn std::fmt::Display) -> Result<(), Violation> {
        match self.function.lanes {
            4 => Err(Violation(format!("`{what}` counts lanes, of which there are but four"))),
            _ => Ok(()),
        }
    }

    fn condition(&self, condition: &Condition) -> Result<(), Violation> {
        let right = match condition.right {
            Right::Register(right) => Some(right),
            Right::Constant(_) => None,
        };
        let ints: Vec<I> = std::iter::once(condition.left).chain(right).collect();
        self.read(&ints, &[], condition)
    }

    fn read(&self, ints: &[I], vectors: &[V], what: &dyn std::fmt::Display) -> Result<(), Violation> {
        for register in ints {
            if !self.ints.get(register.0 as usize).is_some_and(|set| *set) {
                return Err(Violation(format!("`{what}` reads {register} before it is set")));
            }
        }
        for register in vectors {
            if !self.vectors.get(register.0 as usize).is_some_and(|set| *set) {
                return Err(Violation(format!("`{what}` reads {register} before it is set")));
            }
        }
        Ok(())
    }

    fn define_int(&mut self, register: I) -> Result<(), Violation> {
        match self.ints.get_mut(register.0 as usize) {
            Some(set) => *set = true,
            None => return Err(Violation(format!("{register} of {} integer registers", self.function.ints))),
        }
        Ok(())
    }

    fn define_vector(&mut self, register: V) -> Result<(), Violation> {
        match self.vectors.get_mut(register.0 as usize) {
            Some(set) => *set = true,
            None => {
                return Err(Violation(format!("{register} of {} vector registers", self.function.vectors)));
            }
        }
        Ok(())
    }
}

fn both(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| *a && *b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_registers_set_in_a_loop_only() {
        let mut builder = Builder::new(4, true);
        let count = builder.int(IntOp::Const(3));
        let mut inner = None;
        builder.repeat(count, |builder| inner = Some(builder.int(IntOp::Const(1))));
        let read = inner.expect("the body ran");
        builder.int(IntOp::Copy(read));
        let violation = verify(&builder.finish()).expect_err("must refuse");
        assert_eq!(violation.to_string(), "tile IR: `i6` reads i6 before it is set");
    }

    #[test]
    fn accepts_registers_set_on_both_sides() {
        let mut builder = Builder::new(4, true);
        let result = builder.int(IntOp::Const(0));
        builder.if_else(
            build::compare_const(ARGUMENTS[2], IntCompare::Eq, 0),
            |builder| builder.set(result, IntOp::Const(1)),
            |builder| builder.set(result, IntOp::Const(2)),
        );
        builder.int(IntOp::Copy(result));
        assert_eq!(verify(&builder.finish()), Ok(()));
    }
}
