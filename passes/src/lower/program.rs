//! Elementwise operations of the graph as programs of kernels.

use rectify_ir::DType;
use rectify_ir::graph::{EpArg, Graph, Node, Value};
use rectify_ir::kernel::{Binary as B, Constant, Program, Reg, Step, Unary as U};
use rectify_ir::op::{Binary, Op, Source, Unary};

/// Integers below are floats of f64.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A tensor that a program loads: dim i of `value` runs along axis `places[i]` of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub value: Value,
    pub places: Vec<usize>,
}

/// A program in the making, with what its loads mean.
#[derive(Debug)]
pub(crate) struct Expression {
    pub program: Program,
    pub loads: Vec<Load>,
    /// Index of the first of `loads` among the kernel's operands.
    first: usize,
}

/// An operation that no program can hold: only elementwise ones are asked for, so this is a fault of the compiler.
#[derive(Debug)]
pub(crate) struct NotElementwise;

impl Expression {
    /// A program over the accumulator, which is in the returned register.
    pub fn over_acc() -> (Expression, Reg) {
        (Expression { program: Program::acc(), loads: vec![], first: 0 }, Reg(0))
    }

    /// A program whose loads are the kernel's operands from `first` on.
    pub fn empty(first: usize) -> Expression {
        Expression { program: Program::new(), loads: vec![], first }
    }

    /// A program that goes on after `program`, which reads the operands before `first`.
    pub fn after(program: Program, first: usize) -> Expression {
        Expression { program, loads: vec![], first }
    }

    /// A value of the graph: a constant, or a load that is shared between equal ones.
    pub fn value(&mut self, graph: &Graph, value: Value, places: Vec<usize>) -> Reg {
        // Programs hold constants of f64, which large integers are not.
        let exact = |c: &f64| !graph.ty(value).dtype.is_int() || c.abs() < WHOLE;
        if let Some(constant) = constant(graph, value).filter(exact) {
            return self.constant(constant);
        }
        let load = Load { value, places };
        let index = match self.loads.iter().position(|l| *l == load) {
            Some(index) => index,
            None => {
                self.loads.push(load);
                self.loads.len() - 1
            }
        };
        self.step(Step::Load((self.first + index) as u8))
    }

    pub fn constant(&mut self, value: f64) -> Reg {
        self.step(Step::Const(Constant::new(value)))
    }

    /// The step's register: an earlier one where there is the same step.
    pub fn step(&mut self, step: Step) -> Reg {
        match self.program.steps.iter().position(|s| *s == step) {
            Some(index) => {
                self.program.result = Reg(index as u16);
                self.program.result
            }
            None => self.program.push(step),
        }
    }

    pub fn unary(&mut self, op: U, x: Reg) -> Reg {
        self.step(Step::Unary(op, x))
    }

    pub fn binary(&mut self, op: B, a: Reg, b: Reg) -> Reg {
        self.step(Step::Binary(op, a, b))
    }

    /// Appends an elementwise operation on these registers.
    pub fn apply(&mut self, op: &Op, args: &[Reg]) -> Result<Reg, NotElementwise> {
        Ok(match (op, args) {
            (Op::Unary(Unary::Sign), [x]) => self.sign(*x),
            (Op::Unary(u), [x]) => match unary(u) {
                Some(u) => self.unary(u, *x),
                None => {
                    // `not`: bool is 0 or 1.
                    let zero = self.constant(0.0);
                    self.binary(B::Eq, *x, zero)
                }
            },
            (Op::Binary(b), [x, y]) => self.binary(binary(*b), *x, *y),
            (Op::Select, [c, x, y]) => self.step(Step::Select(*c, *x, *y)),
            (Op::Cast { to: DType::Bool }, [x]) => {
                let [zero, one] = [0.0, 1.0].map(|v| self.constant(v));
                let is_zero = self.binary(B::Eq, *x, zero);
                self.step(Step::Select(is_zero, zero, one))
            }
            // Elements are converted where they are written.
            (Op::Cast { .. }, [x]) => *x,
            (Op::Prelu { .. }, [x, slope]) => match self.program.steps[slope.0 as usize] {
                Step::Const(alpha) => self.unary(U::Leaky { alpha }, *x),
                Step::Acc | Step::Load(_) | Step::Unary(..) | Step::Binary(..) | Step::Select(..) => {
                    self.binary(B::Prelu, *x, *slope)
                }
            },
            (Op::Dropout { .. } | Op::Map, [x]) => *x,
            _ => return Err(NotElementwise),
        })
    }

    /// −1, 0 or 1; x itself for zeros and NaN.
    fn sign(&mut self, x: Reg) -> Reg {
        let [zero, one, minus] = [0.0, 1.0, -1.0].map(|v| self.constant(v));
        let below = self.binary(B::Lt, x, zero);
        let rest = self.step(Step::Select(below, minus, x));
        let above = self.binary(B::Gt, x, zero);
        self.step(Step::Select(above, one, rest))
    }

    /// Appends the operation of an elementwise node.
    pub fn node(&mut self, graph: &Graph, node: &Node) -> Result<Reg, NotElementwise> {
        let rank = node.types[0].rank();
        let mut args = Vec::with_capacity(node.arity);
        for (i, value) in node.own_operands().iter().enumerate() {
            args.push(self.value(graph, *value, places(&node.op, i, graph.ty(*value).rank(), rank)));
        }
        self.apply(&node.op, &args)
    }

    /// Appends a node's epilogue to the value in `acc`; does nothing without one.
    pub fn epilogue(&mut self, graph: &Graph, node: &Node, acc: Reg) -> Result<Reg, NotElementwise> {
        let Some(epilogue) = &node.epilogue else {
            self.program.result = acc;
            return Ok(acc);
        };
        let mut results: Vec<Reg> = Vec::with_capacity(epilogue.steps.len());
        for step in &epilogue.steps {
            let mut args = Vec::with_capacity(step.args.len());
            for (i, arg) in step.args.iter().enumerate() {
                args.push(match arg {
                    EpArg::Acc => acc,
                    EpArg::Step(s) => results[*s as usize],
                    EpArg::Scalar(value) => self.constant(value.0),
                    EpArg::Operand(o) => self.epilogue_operand(graph, node, &step.op, i, *o),
                });
            }
            results.push(self.apply(&step.op, &args)?);
        }
        let result = results.last().copied().unwrap_or(acc);
        self.program.result = result;
        Ok(result)
    }

    /// Operand `o` of a node's epilogue as argument `index` of one of its steps.
    fn epilogue_operand(&mut self, graph: &Graph, node: &Node, op: &Op, index: usize, o: u32) -> Reg {
        let value = node.epilogue_operands()[o as usize];
        self.value(graph, value, places(op, index, graph.ty(value).rank(), node.types[0].rank()))
    }

    /// An argument of a step of a node's epilogue, where `computed` says how the accumulator (`None`) and earlier
    /// steps are read.
    pub fn argument(
        &mut self,
        graph: &Graph,
        node: &Node,
        op: &Op,
        index: usize,
        arg: EpArg,
        computed: impl Fn(Option<u32>) -> Step,
    ) -> Reg {
        match arg {
            EpArg::Acc => self.step(computed(None)),
            EpArg::Step(s) => self.step(computed(Some(s))),
            EpArg::Scalar(value) => self.constant(value.0),
            EpArg::Operand(o) => self.epilogue_operand(graph, node, op, index, o),
        }
    }

    /// The finished program, without steps that its result does not need, and its loads.
    pub fn finish(mut self) -> (Program, Vec<Load>) {
        prune(&mut self.program);
        (self.program, self.loads)
    }
}

/// Axes of the result along which the dims of operand `index` run.
pub(crate) fn places(op: &Op, index: usize, operand_rank: usize, rank: usize) -> Vec<usize> {
    if let (Op::Prelu { axes }, 1) = (op, index) {
        return axes.clone();
    }
    (rank - operand_rank..rank).collect()
}

/// The number that a value is, if it is one that the model gives.
pub(crate) fn constant(graph: &Graph, value: Value) -> Option<f64> {
    let op = &graph.node(value.node).op;
    if let Op::Const(c) = op {
        return Some(c.0);
    }
    if let Op::Param(Source::Data(literal)) = op
        && literal.elements() == 1
    {
        return literal.get_f64(0);
    }
    None
}

/// Drops steps that the result does not depend on and numbers the others anew.
fn prune(program: &mut Program) {
    let mut needed = vec![false; program.steps.len()];
    needed[program.result.0 as usize] = true;
    for i in (0..program.steps.len()).rev() {
        if needed[i] {
            program.steps[i].registers().for_each(|r| needed[r.0 as usize] = true);
        }
    }
    let mut renamed = vec![Reg(0); program.steps.len()];
    let mut steps = Vec::with_capacity(program.steps.len());
    for (i, step) in program.steps.iter().enumerate().filter(|(i, _)| needed[*i]) {
        renamed[i] = Reg(steps.len() as u16);
        let at = |r: Reg| renamed[r.0 as usize];
        steps.push(match *step {
            Step::Acc | Step::Load(_) | Step::Const(_) => *step,
            Step::Unary(op, x) => Step::Unary(op, at(x)),
            Step::Binary(op, x, y) => Step::Binary(op, at(x), at(y)),
            Step::Select(c, x, y) => Step::Select(at(c), at(x), at(y)),
        });
    }
    program.result = renamed[program.result.0 as usize];
    program.steps = steps;
}

fn binary(op: Binary) -> B {
    match op {
        Binary::Add => B::Add,
        Binary::Sub => B::Sub,
        Binary::Mul => B::Mul,
        Binary::Div => B::Div,
        Binary::Max => B::Max,
        Binary::Min => B::Min,
        Binary::Pow => B::Pow,
        Binary::Equal => B::Eq,
        Binary::Less => B::Lt,
        Binary::LessEqual => B::Le,
        Binary::And => B::And,
        Binary::Or => B::Or,
        Binary::Xor => B::Xor,
        Binary::Rem => B::Rem,
        Binary::ShiftLeft => B::ShiftLeft,
        Binary::ShiftRight => B::ShiftRight,
    }
}

/// The kernels' function; `None` for those that are made of others.
fn unary(op: &Unary) -> Option<U> {
    let constant = |s: &rectify_ir::scalar::Scalar| Constant::new(s.0);
    Some(match op {
        Unary::Relu => U::Relu,
        Unary::LeakyRelu { alpha } => U::Leaky { alpha: constant(alpha) },
        Unary::Clip { min, max } => U::Clip { min: constant(min), max: constant(max) },
        Unary::Sigmoid => U::Sigmoid,
        Unary::Tanh => U::Tanh,
        Unary::Exp => U::Exp,
        Unary::Log => U::Log,
        Unary::Sqrt => U::Sqrt,
        Unary::Abs => U::Abs,
        Unary::Neg => U::Neg,
        Unary::Reciprocal => U::Reciprocal,
        Unary::Erf => U::Erf,
        Unary::Gelu { tanh: false } => U::GeluErf,
        Unary::Gelu { tanh: true } => U::GeluTanh,
        Unary::Silu => U::Silu,
        Unary::HardSigmoid { alpha, beta } => U::HardSigmoid { alpha: constant(alpha), beta: constant(beta) },
        Unary::HardSwish => U::HardSwish,
        Unary::Elu { alpha } => U::Elu { alpha: constant(alpha) },
        Unary::Softplus => U::Softplus,
        Unary::Floor => U::Floor,
        Unary::Ceil => U::Ceil,
        Unary::Round => U::Round,
        Unary::Trig(f) => U::Trig(*f),
        Unary::Sign | Unary::Not => return None,
    })
}
