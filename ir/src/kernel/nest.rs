//! The `nest` family: affine loop nests, for everything that is not a contraction or a window.
//!
//! ```text
//! for every index (i0 .. i_{n-1}) over the output dims:
//!   acc = identity of the reduction
//!   for every (i_n .. i_{m-1}) over the reduction dims:   acc = acc op body(loads)
//!   output[i0 .. i_{n-1}] = finalize(acc, loads of the final operands)
//! ```
//!
//! Without a reduction, `output = body(loads)`. Elementwise operations, reductions, norms, softmax, transposes,
//! copies with padding, concatenation, layout changes, resize, adaptive pooling and constant fills are one or a
//! few nests. The mean is a sum whose `finalize` multiplies.
//!
//! An operand's address is `pointer + base + sum(i_d * stride_d) + sum of table entries`. A stride is classed in
//! the key, because the class decides the code: zero, one element, or given at run time. A *table* adds byte
//! offsets that are not affine (clamped windows, gathers, nearest resize): entry `sum(i_d * step_d)` of an array
//! in the argument block, over the dims in its mask. An *indirection* adds an offset that is known only at run time:
//! the value of another operand of the body, an integer, is a place along an axis (see [`place`]), times a stride.
//! The output may have indirections too: a scatter, whose points are done one after the other by one task, so that
//! the last of those that meet wins, and an operand with the output's own addresses reads what is there before.
//!
//! Tasks enumerate the leading `task_dims` output dims; the last of these is cut into runs of `block` indices.
//! Pointers: output, the body's operands, the final operands.

use super::{Cost, Illegal, Program, Span, require};
use crate::dtype::DType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Key of a loop nest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nest {
    pub lanes: u8,
    /// What bodies compute in. Elements are converted to it where they are read, and from it where they are written.
    pub compute: Compute,
    /// Element type of the output.
    pub element: DType,
    pub output_dims: u8,
    pub reduce_dims: u8,
    /// Leading output dims that tasks enumerate, 1 to `output_dims`; 0 makes the whole nest one task.
    pub task_dims: u8,
    pub vectorise: Vectorise,
    /// Per output dim; zero is legal where indirections move the output.
    pub output: Vec<Access>,
    /// Indirections of the output, as of operands.
    #[serde(default)]
    pub scatter: Vec<u8>,
    /// Operands of the body: one access for each output and reduction dim.
    pub operands: Vec<NestOperand>,
    pub body: Program,
    pub reduce: Option<Reduce>,
    /// Operands of `finalize`: one access for each output dim.
    pub finals: Vec<NestOperand>,
    /// Over the reduced value as accumulator; `Program::acc()` without a reduction.
    pub finalize: Program,
}

/// The arithmetic of a nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compute {
    /// In vectors of f32; all elements are f32.
    F32,
    /// One element at a time. Conversions to integers cut towards zero, saturate at 64 bits and wrap to the width.
    F64,
    /// Integers of 64 bits, one at a time. Results wrap to the width of the output; a quotient by zero is zero.
    I64,
    U64,
}

impl Compute {
    /// The arithmetic for these operands and this output.
    pub fn of(operands: &[DType], output: DType) -> Compute {
        let wide = |d: &DType| d.is_float() && *d != DType::F32;
        if operands.is_empty() && output.is_int() {
            return Compute::I64;
        }
        if operands.iter().chain([&output]).all(|d| *d == DType::F32) {
            return Compute::F32;
        }
        match operands.iter().chain([&output]).any(wide) {
            false if operands.contains(&DType::U64) => Compute::U64,
            false if operands.iter().any(|d| d.is_int()) => Compute::I64,
            _ => Compute::F64,
        }
    }

    /// A function of the program that there is no code for in this arithmetic.
    pub fn lacks(self, program: &Program) -> Option<String> {
        use super::{Binary, Step, Unary};
        let integer = matches!(self, Compute::I64 | Compute::U64);
        program.steps.iter().find_map(|step| match step {
            Step::Binary(op @ (Binary::ShiftLeft | Binary::ShiftRight), ..) if !integer => {
                Some(op.to_string())
            }
            _ if self == Compute::F32 => None,
            Step::Acc | Step::Load(_) | Step::Const(_) | Step::Select(..) => None,
            Step::Unary(op, _) => match op {
                Unary::Neg | Unary::Abs | Unary::Relu | Unary::Clip { .. } => None,
                Unary::Sqrt
                | Unary::Reciprocal
                | Unary::Floor
                | Unary::Ceil
                | Unary::Round
                | Unary::Leaky { .. }
                | Unary::Exp
                | Unary::Log
                | Unary::Tanh
                | Unary::Sigmoid
                | Unary::Silu
                | Unary::Erf
                | Unary::GeluErf
                | Unary::GeluTanh
                | Unary::HardSigmoid { .. }
                | Unary::HardSwish
                | Unary::Elu { .. }
                | Unary::Softplus
                | Unary::Trig(_)
                    if !integer =>
                {
                    None
                }
                _ => Some(op.to_string()),
            },
            Step::Binary(op, ..) => match op {
                Binary::Prelu if integer => Some(op.to_string()),
                _ => None,
            },
        })
    }
}

/// Class of a stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Does not move along this dim.
    Zero,
    /// Adjacent elements.
    One,
    /// A byte stride from the arguments.
    Var,
}

/// Addressing of one operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NestOperand {
    pub element: DType,
    pub access: Vec<Access>,
    /// For each offset table the dims that index it, as a bit mask: bit `d` is dim `d`.
    pub tables: Vec<u8>,
    /// For each indirection the operand of the body whose value is the place.
    #[serde(default)]
    pub indirect: Vec<u8>,
}

/// How the code finds the addresses of one pointer.
#[derive(Clone, Copy, Debug)]
pub struct Addressing<'a> {
    pub access: &'a [Access],
    pub tables: &'a [u8],
    pub indirect: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reduce {
    Sum,
    /// NaN if any value is.
    Max,
    Min,
    Product,
}

/// Which dim is walked in vectors. It must be `Zero` or `One` for every operand and used by no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Vectorise {
    /// Element by element.
    No,
    /// The last output dim; the output's access to it is `One`.
    Output,
    /// The last reduction dim; lanes are folded in a fixed order.
    Reduce,
}

/// The run-time arguments of a nest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NestArgs {
    /// Output extents, then reduction extents.
    pub extents: Vec<i64>,
    /// Indices of the last task dim that one task does.
    pub block: i64,
    pub output: NestStream,
    pub operands: Vec<NestStream>,
    pub finals: Vec<NestStream>,
}

/// Addresses of one operand, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NestStream {
    pub base: i64,
    /// Per dim; what the class says for `Zero` and `One`.
    pub strides: Vec<i64>,
    pub tables: Vec<NestTable>,
    #[serde(default)]
    pub indirect: Vec<NestIndirect>,
}

/// An axis along which an operand's value is a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NestIndirect {
    /// Elements of the axis.
    pub size: i64,
    /// Bytes between them.
    pub stride: i64,
}

/// The place along an axis of `size` elements, at least one, that an index means: negative ones count from the end, and
/// what lies outside is clamped.
pub fn place(index: i64, size: i64) -> i64 {
    let place = if index < 0 { index.saturating_add(size) } else { index };
    place.clamp(0, size - 1)
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NestTable {
    /// Entries to advance per dim; zero outside of the table's mask.
    pub steps: Vec<i64>,
    /// Byte offsets.
    pub offsets: Vec<i64>,
}

/// Positions in the argument block, counted in i64.
pub mod slot {
    /// Eight extents; those that a nest lacks are 1.
    pub const EXTENTS: usize = 0;
    pub const BLOCK: usize = 8;
    /// Number of runs of `BLOCK` indices in the last task dim.
    pub const BLOCKS: usize = 9;
    pub const STREAMS: usize = 10;

    /// Slots of a stream (output, operands, final operands in this order) from its start:
    /// the base, eight strides, for each table its start (as bytes from the block's start) and eight byte strides
    /// within the table, then size and byte stride of each indirection.
    pub const BASE: usize = 0;
    pub const STRIDES: usize = 1;
    pub const TABLES: usize = 9;
    pub const TABLE_LEN: usize = 9;
    pub const INDIRECT_LEN: usize = 2;
}

/// Most dims of a nest.
pub const MAX_DIMS: usize = 8;

impl Nest {
    pub fn dims(&self) -> usize {
        self.output_dims as usize + self.reduce_dims as usize
    }

    /// The dim that is walked in vectors.
    pub fn vector_dim(&self) -> Option<usize> {
        match self.vectorise {
            Vectorise::No => None,
            Vectorise::Output => Some(self.output_dims as usize - 1),
            Vectorise::Reduce => Some(self.dims() - 1),
        }
    }

    pub fn validate(&self) -> Result<(), Illegal> {
        let (outputs, dims) = (self.output_dims as usize, self.dims());
        require!(self.lanes.is_power_of_two() && (4..=16).contains(&self.lanes), "{} lanes", self.lanes);
        require!((1..=MAX_DIMS).contains(&dims) && outputs >= 1, "{outputs} output dims of {dims}");
        require!(self.task_dims <= self.output_dims, "{} task dims of {outputs}", self.task_dims);
        require!(self.output.len() == outputs, "{} output accesses for {outputs} dims", self.output.len());
        require!(
            !self.output.contains(&Access::Zero) || !self.scatter.is_empty(),
            "an output that does not move along a dim"
        );
        require!(self.operands.len() + self.finals.len() <= 12, "more than 12 operands");
        for (operand, count) in
            self.operands.iter().map(|o| (o, dims)).chain(self.finals.iter().map(|o| (o, outputs)))
        {
            require!(operand.access.len() == count, "{} accesses for {count} dims", operand.access.len());
            require!(operand.tables.len() <= 4, "{} tables of one operand", operand.tables.len());
            for &mask in &operand.tables {
                require!(
                    mask != 0 && u32::from(mask) >> count == 0,
                    "table mask {mask:#b} over {count} dims"
                );
            }
            if let Some(vector) = self.vector_dim().filter(|&vector| vector < count) {
                require!(operand.access[vector] != Access::Var, "a strided operand on the vector dim");
                require!(
                    operand.tables.iter().all(|mask| mask >> vector & 1 == 0),
                    "a table on the vector dim"
                );
            }
        }
        match self.vectorise {
            Vectorise::No => {}
            Vectorise::Output => {
                require!(
                    self.output[outputs - 1] == Access::One,
                    "a vector of outputs that are not adjacent"
                );
            }
            Vectorise::Reduce => {
                require!(self.reduce_dims > 0, "a vector of reductions without any")
            }
        }
        self.validate_indirections()?;
        require!(self.reduce.is_some() == (self.reduce_dims > 0), "reduction dims and reduction disagree");
        self.body.validate(self.operands.len(), false)?;
        self.finalize.validate(self.finals.len(), true)?;
        require!(
            self.reduce.is_some() || (self.finals.is_empty() && self.finalize.is_identity()),
            "a finalize program without a reduction"
        );
        let elements = self.computed_elements();
        match self.compute {
            Compute::F32 => require!(elements.iter().all(|e| *e == DType::F32), "vectors of {elements:?}"),
            Compute::F64 | Compute::I64 | Compute::U64 => {
                require!(self.vectorise == Vectorise::No && self.lanes == 4, "vectors of {elements:?}");
                let lacking = self.compute.lacks(&self.body).or(self.compute.lacks(&self.finalize));
                require!(lacking.is_none(), "{lacking:?} in {:?}", self.compute);
            }
        }
        Ok(())
    }

    /// Places are integers with addresses of their own; they stay the same along the vector dim; scatters are done in
    /// order, so by one task and without reductions.
    fn validate_indirections(&self) -> Result<(), Illegal> {
        require!(
            self.scatter.is_empty() || (self.task_dims == 0 && self.reduce.is_none()),
            "a scatter in several tasks or with a reduction"
        );
        require!(self.finals.iter().all(|operand| operand.indirect.is_empty()), "an indirect final operand");
        for k in self.operands.iter().flat_map(|operand| &operand.indirect).chain(&self.scatter) {
            let Some(place) = self.operands.get(*k as usize) else {
                return Err(Illegal(format!("places from operand {k} of {}", self.operands.len())));
            };
            require!(place.element.is_int(), "places of {}", place.element);
            require!(place.indirect.is_empty(), "places that are read at places");
            if let Some(vector) = self.vector_dim() {
                require!(place.access[vector] == Access::Zero, "places that move along the vector dim");
            }
        }
        if !self.is_direct() {
            require!(self.lanes == 4, "places are read by functions of four lanes");
        }
        Ok(())
    }

    /// No pointer has an indirection.
    pub fn is_direct(&self) -> bool {
        self.scatter.is_empty() && self.operands.iter().all(|operand| operand.indirect.is_empty())
    }

    /// Element types of the output and of the operands that programs load: those that are places alone left out.
    fn computed_elements(&self) -> Vec<DType> {
        let operands = self.operands.iter().enumerate().filter(|(k, operand)| {
            let k = *k as u8;
            let loaded = self.body.loads(k);
            let is_place = self.scatter.contains(&k) || self.operands.iter().any(|o| o.indirect.contains(&k));
            loaded || !is_place || operand.element == DType::F32
        });
        let operands = operands.map(|(_, operand)| operand).chain(&self.finals);
        std::iter::once(self.element).chain(operands.map(|operand| operand.element)).collect()
    }

    pub fn pointers(&self) -> Vec<String> {
        let mut names = vec!["output".to_string()];
        names.extend((0..self.operands.len()).map(|k| format!("operand {k}")));
        names.extend((0..self.finals.len()).map(|k| format!("final operand {k}")));
        names
    }

    /// Room to fold the lanes of an accumulator.
    pub fn scratch_bytes(&self) -> usize {
        64
    }

    pub fn over_read_bytes(&self) -> usize {
        0
    }

    /// Streams in the order of the pointers.
    pub fn streams(&self) -> impl Iterator<Item = Addressing<'_>> {
        let operands = self.operands.iter().chain(&self.finals);
        let output = Addressing { access: &self.output, tables: &[], indirect: &self.scatter };
        std::iter::once(output).chain(operands.map(|operand| Addressing {
            access: &operand.access,
            tables: &operand.tables,
            indirect: &operand.indirect,
        }))
    }

    /// Element types in the order of the pointers.
    pub fn elements(&self) -> Vec<DType> {
        let operands = self.operands.iter().chain(&self.finals).map(|operand| operand.element);
        std::iter::once(self.element).chain(operands).collect()
    }

    /// Slot at which the stream of a pointer starts.
    pub fn stream_slot(&self, pointer: usize) -> usize {
        let before = self.streams().take(pointer);
        let slots = |s: Addressing<'_>| {
            slot::TABLES + s.tables.len() * slot::TABLE_LEN + s.indirect.len() * slot::INDIRECT_LEN
        };
        slot::STREAMS + before.map(slots).sum::<usize>()
    }

    pub fn cost(&self, args: &NestArgs) -> Cost {
        let points: i64 = args.extents.iter().product();
        let outputs: i64 = args.extents[..self.output_dims as usize].iter().product();
        let flops = points * self.body.weight() as i64 + outputs * self.finalize.weight() as i64;
        let read: usize = self.operands.iter().map(|operand| operand.element.size_bytes()).sum();
        let bytes = outputs * self.element.size_bytes() as i64 + points * read as i64;
        Cost { flops: flops as u64, bytes: bytes as u64 }
    }
}

impl NestArgs {
    /// Number of tasks; the kernel accepts ranges within `0..tasks`.
    pub fn tasks(&self, nest: &Nest) -> i64 {
        match (nest.task_dims as usize).checked_sub(1) {
            None => 1,
            Some(last) => self.extents[..last].iter().product::<i64>() * self.blocks(nest),
        }
    }

    /// The argument block, after checking it against the descriptor.
    pub fn build(&self, nest: &Nest) -> Result<Vec<i64>, Illegal> {
        self.check(nest)?;
        let mut block = vec![1; slot::STREAMS];
        block[slot::EXTENTS..slot::EXTENTS + self.extents.len()].copy_from_slice(&self.extents);
        block[slot::BLOCK] = self.block;
        block[slot::BLOCKS] = self.blocks(nest);
        let mut next_table = nest.stream_slot(nest.streams().count());
        for stream in self.streams() {
            block.push(stream.base);
            block.extend((0..MAX_DIMS).map(|d| stream.strides.get(d).copied().unwrap_or(0)));
            for table in &stream.tables {
                block.push(next_table as i64 * 8);
                block.extend((0..MAX_DIMS).map(|d| table.steps.get(d).copied().unwrap_or(0) * 8));
                next_table += table.offsets.len();
            }
            block.extend(stream.indirect.iter().flat_map(|indirect| [indirect.size, indirect.stride]));
        }
        for stream in self.streams() {
            for table in &stream.tables {
                block.extend(&table.offsets);
            }
        }
        Ok(block)
    }

    /// The bytes that a call over all tasks touches, for the plan's verifier.
    pub fn spans(&self, nest: &Nest) -> Vec<Span> {
        self.streams()
            .zip(nest.streams().zip(nest.elements()))
            .enumerate()
            .map(|(pointer, (stream, (addressing, element)))| {
                let (mut low, mut high) = (stream.base, stream.base);
                for indirect in &stream.indirect {
                    let last = (indirect.size - 1) * indirect.stride;
                    low += last.min(0);
                    high += last.max(0);
                }
                for ((&extent, &stride), _) in self.extents.iter().zip(&stream.strides).zip(addressing.access)
                {
                    let last = (extent - 1) * stride;
                    low += last.min(0);
                    high += last.max(0);
                }
                for table in &stream.tables {
                    low += table.offsets.iter().copied().min().unwrap_or(0);
                    high += table.offsets.iter().copied().max().unwrap_or(0);
                }
                Span {
                    pointer,
                    low_bytes: low,
                    high_bytes: high + element.size_bytes() as i64,
                    writes: pointer == 0,
                }
            })
            .collect()
    }

    fn streams(&self) -> impl Iterator<Item = &NestStream> {
        std::iter::once(&self.output).chain(&self.operands).chain(&self.finals)
    }

    fn blocks(&self, nest: &Nest) -> i64 {
        match (nest.task_dims as usize).checked_sub(1) {
            None => 1,
            Some(last) => (self.extents[last] + self.block - 1) / self.block,
        }
    }

    fn check(&self, nest: &Nest) -> Result<(), Illegal> {
        require!(
            self.extents.len() == nest.dims(),
            "{} extents for {} dims",
            self.extents.len(),
            nest.dims()
        );
        let outputs = &self.extents[..nest.output_dims as usize];
        require!(outputs.iter().all(|&extent| extent >= 1), "an output extent below 1 in {:?}", self.extents);
        require!(self.extents.iter().all(|&extent| extent >= 0), "a negative extent in {:?}", self.extents);
        require!(self.block >= 1, "an empty block");
        require!(
            self.operands.len() == nest.operands.len() && self.finals.len() == nest.finals.len(),
            "{} and {} streams for {} and {} operands",
            self.operands.len(),
            self.finals.len(),
            nest.operands.len(),
            nest.finals.len()
        );
        for ((stream, addressing), element) in self.streams().zip(nest.streams()).zip(nest.elements()) {
            let Addressing { access, tables, indirect } = addressing;
            require!(
                stream.indirect.len() == indirect.len() && stream.indirect.iter().all(|i| i.size >= 1),
                "{:?} for the places {indirect:?}",
                stream.indirect
            );
            require!(stream.strides.len() == access.len(), "{:?} for {access:?}", stream.strides);
            for (&stride, class) in stream.strides.iter().zip(access) {
                let fits = match class {
                    Access::Zero => stride == 0,
                    Access::One => stride == element.size_bytes() as i64,
                    Access::Var => true,
                };
                require!(fits, "stride {stride} of class {class:?}");
            }
            require!(stream.tables.len() == tables.len(), "{} tables for {tables:?}", stream.tables.len());
            for (table, mask) in stream.tables.iter().zip(tables) {
                let mut reach = (0i64, 0i64);
                for (d, &step) in table.steps.iter().enumerate() {
                    require!(step == 0 || mask >> d & 1 == 1, "a table step outside of its mask");
                    let last = (self.extents[d].max(1) - 1) * step;
                    reach = (reach.0 + last.min(0), reach.1 + last.max(0));
                }
                require!(
                    reach.0 >= 0 && reach.1 < table.offsets.len() as i64,
                    "table entries {reach:?} of {}",
                    table.offsets.len()
                );
            }
        }
        Ok(())
    }
}

impl fmt::Display for Nest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nest {:?} {}+{} dims, {} of tasks",
            self.compute, self.output_dims, self.reduce_dims, self.task_dims
        )?;
        if self.compute != Compute::F32 {
            write!(f, " to {}", self.element)?;
        }
        write!(f, " x{} {:?} out {}", self.lanes, self.vectorise, classes(&self.output))?;
        for place in &self.scatter {
            write!(f, "@{place}")?;
        }
        for operand in &self.operands {
            write!(f, " in {operand}")?;
        }
        write!(f, " {}", self.body)?;
        if let Some(reduce) = self.reduce {
            write!(f, " {reduce:?}")?;
            for operand in &self.finals {
                write!(f, " in {operand}")?;
            }
            write!(f, " {}", self.finalize)?;
        }
        Ok(())
    }
}

impl fmt::Display for NestOperand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.element != DType::F32 {
            write!(f, "{} ", self.element)?;
        }
        write!(f, "{}", classes(&self.access))?;
        for mask in &self.tables {
            write!(f, "+table{mask:#b}")?;
        }
        for place in &self.indirect {
            write!(f, "@{place}")?;
        }
        Ok(())
    }
}

/// `0` for zero, `1` for one, `s` for a stride from the arguments; one letter a dim.
fn classes(access: &[Access]) -> String {
    access
        .iter()
        .map(|class| match class {
            Access::Zero => '0',
            Access::One => '1',
            Access::Var => 's',
        })
        .collect()
}
