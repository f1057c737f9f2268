//! Generator of `nest` kernels: affine loops with moving addresses.
//!
//! Each operand has an address that moves with the loops; a table has one of its own, and what it holds is added
//! where the deepest of its dims is entered. Indirections are added where an element, or a row of vectors, is read:
//! the places do not move along the dim that is walked in vectors. That dim that is walked in vectors is split in whole vectors and a rest,
//! both done by the same code at two widths: the rest is single elements where vectors have four lanes, else one vector
//! of which only the first lanes count.

use super::math::Constants;
use super::program::{evaluate, maximum, minimum};
use super::scalar::{self, Scalars};
use crate::tile::build::{Builder, at, compare_const, indexed, slot};
use crate::tile::{ARGUMENTS, Function, I, IntCompare, IntOp, Right, V, VectorOp, Width};
use rectify_ir::kernel::nest::{self, slot};
use rectify_ir::kernel::{Access, Addressing, Compute, Nest, Reduce, Vectorise};
use rectify_ir::target::Target;

/// Reductions with bodies up to this weight keep four accumulators, to overlap their latencies.
const UNROLLED_WEIGHT: usize = 8;
/// Accumulators of an unrolled reduction, and vectors of an unrolled elementwise loop.
const UNROLL: usize = 4;

pub fn generate(nest: &Nest, target: &Target) -> Function {
    let mut builder = Builder::new(nest.lanes, target.fma);
    let [_, _, begin, end, _] = ARGUMENTS;
    let task = builder.int(IntOp::Copy(begin));
    let count = builder.int(IntOp::Sub(end, begin));
    let generator = Generator { nest, streams: nest.streams().collect() };
    builder.repeat(count, |builder| {
        generator.task(builder, task);
        builder.bump(task, 1);
    });
    builder.finish()
}

struct Generator<'a> {
    nest: &'a Nest,
    /// Of the output, the body's operands, the final operands.
    streams: Vec<Addressing<'a>>,
}

/// Addresses at some depth of the nest.
#[derive(Clone)]
struct Place {
    /// Of each stream.
    cursors: Vec<I>,
    /// Of the entry of each table of each stream.
    tables: Vec<Vec<I>>,
}

impl Generator<'_> {
    fn outputs(&self) -> usize {
        self.nest.output_dims as usize
    }

    /// Streams of the body's operands, and of the final ones.
    fn operand_stream(&self, operand: usize) -> usize {
        1 + operand
    }

    fn final_stream(&self, operand: usize) -> usize {
        1 + self.nest.operands.len() + operand
    }

    fn access(&self, stream: usize, dim: usize) -> Access {
        self.streams[stream].access.get(dim).copied().unwrap_or(Access::Zero)
    }

    /// Decodes a task, and does it.
    fn task(&self, builder: &mut Builder, task: I) {
        let [pointers, args, ..] = ARGUMENTS;
        let mut place = Place { cursors: Vec::new(), tables: Vec::new() };
        for stream in 0..self.streams.len() {
            let start = self.nest.stream_slot(stream);
            let cursor = builder.int(slot(pointers, stream));
            let base = builder.int(slot(args, start + slot::BASE));
            builder.advance(cursor, base);
            place.cursors.push(cursor);
            let tables = (0..self.streams[stream].tables.len()).map(|table| {
                let offset = builder.int(slot(args, start + slot::TABLES + table * slot::TABLE_LEN));
                builder.int(IntOp::Add(args, offset))
            });
            place.tables.push(tables.collect());
        }
        let Some(last) = (self.nest.task_dims as usize).checked_sub(1) else {
            return self.output_dim(builder, place, 0, None);
        };
        let blocks = builder.int(slot(args, slot::BLOCKS));
        let block = builder.int(slot(args, slot::BLOCK));
        let run = builder.int(IntOp::Rem(task, blocks));
        let mut rest = builder.int(IntOp::Div(task, blocks));
        let mut indices = vec![builder.int(IntOp::Mul(run, block))];
        for dim in (0..last).rev() {
            let extent = builder.int(slot(args, slot::EXTENTS + dim));
            indices.push(builder.int(IntOp::Rem(rest, extent)));
            rest = builder.int(IntOp::Div(rest, extent));
        }
        indices.reverse();
        for (dim, &index) in indices.iter().enumerate() {
            self.step(builder, &place, dim, &mut |builder, register, stride| {
                let offset = builder.int(IntOp::Mul(index, stride));
                builder.advance(register, offset);
            });
            if dim < last {
                place = self.enter(builder, &place, dim);
            }
        }
        let extent = builder.int(slot(args, slot::EXTENTS + last));
        let left = builder.int(IntOp::Sub(extent, indices[last]));
        let count = builder.least(left, Right::Register(block));
        self.output_dim(builder, place, last, Some(count));
    }

    /// Calls `apply` for every address that moves along `dim`, with a register that holds its byte stride.
    fn step(
        &self,
        builder: &mut Builder,
        place: &Place,
        dim: usize,
        apply: &mut dyn FnMut(&mut Builder, I, I),
    ) {
        let args = ARGUMENTS[1];
        for (stream, addressing) in self.streams.iter().enumerate() {
            let start = self.nest.stream_slot(stream);
            if self.access(stream, dim) != Access::Zero {
                let stride = builder.int(slot(args, start + slot::STRIDES + dim));
                apply(builder, place.cursors[stream], stride);
            }
            for (table, mask) in addressing.tables.iter().enumerate() {
                if mask >> dim & 1 == 1 {
                    let strides = start + slot::TABLES + table * slot::TABLE_LEN + 1;
                    let stride = builder.int(slot(args, strides + dim));
                    apply(builder, place.tables[stream][table], stride);
                }
            }
        }
    }

    /// Advances by `count` indices of a dim.
    fn advance(&self, builder: &mut Builder, place: &Place, dim: usize, count: i64) {
        self.step(builder, place, dim, &mut |builder, register, stride| {
            let offset = if count == 1 { stride } else { builder.int(IntOp::MulConst(stride, count)) };
            builder.advance(register, offset);
        });
    }

    /// Fresh addresses for what lies inside of one index of `dim`, with the tables added that end here.
    fn enter(&self, builder: &mut Builder, place: &Place, dim: usize) -> Place {
        let mut inner = place.clone();
        for (stream, Addressing { access, tables, .. }) in self.streams.iter().enumerate() {
            let moves_later = access.iter().skip(dim + 1).any(|class| *class != Access::Zero);
            let table_later = tables.iter().any(|mask| u32::from(*mask) >> (dim + 1) != 0);
            let ending: Vec<usize> =
                (0..tables.len()).filter(|&table| u32::from(tables[table]) >> dim == 1).collect();
            if moves_later || table_later || !ending.is_empty() {
                inner.cursors[stream] = builder.int(IntOp::Copy(place.cursors[stream]));
            }
            for table in ending {
                let offset = builder.int(slot(place.tables[stream][table], 0));
                builder.advance(inner.cursors[stream], offset);
            }
            for (table, mask) in tables.iter().enumerate() {
                if u32::from(*mask) >> (dim + 1) != 0 {
                    inner.tables[stream][table] = builder.int(IntOp::Copy(place.tables[stream][table]));
                }
            }
        }
        inner
    }

    /// The addresses with indirections added, as the values at the present ones say.
    fn resolved(&self, builder: &mut Builder, place: &Place) -> Place {
        let mut resolved = place.clone();
        for (stream, addressing) in self.streams.iter().enumerate() {
            for (k, operand) in addressing.indirect.iter().enumerate() {
                let start = self.nest.stream_slot(stream) + slot::TABLES;
                let at_size = start + addressing.tables.len() * slot::TABLE_LEN + k * slot::INDIRECT_LEN;
                let size = builder.int(slot(ARGUMENTS[1], at_size));
                let stride = builder.int(slot(ARGUMENTS[1], at_size + 1));
                let element = self.nest.operands[*operand as usize].element;
                let index = place.cursors[self.operand_stream(*operand as usize)];
                let index = scalar::load_place(builder, element, at(index, 0), size);
                let offset = builder.int(IntOp::Mul(index, stride));
                resolved.cursors[stream] = builder.int(IntOp::Add(resolved.cursors[stream], offset));
            }
        }
        resolved
    }

    fn extent(&self, builder: &mut Builder, dim: usize) -> I {
        builder.int(slot(ARGUMENTS[1], slot::EXTENTS + dim))
    }

    /// Loops over an output dim; `count` replaces its extent, from the present address on.
    fn output_dim(&self, builder: &mut Builder, place: Place, dim: usize, count: Option<I>) {
        let count = count.unwrap_or_else(|| self.extent(builder, dim));
        if dim + 1 < self.outputs() {
            builder.repeat(count, |builder| {
                let inner = self.enter(builder, &place, dim);
                self.output_dim(builder, inner, dim + 1, None);
                self.advance(builder, &place, dim, 1);
            });
        } else if self.nest.vectorise != Vectorise::Output {
            builder.repeat(count, |builder| {
                let inner = self.enter(builder, &place, dim);
                self.element(builder, &inner, Width::One);
                self.advance(builder, &place, dim, 1);
            });
        } else if self.nest.reduce.is_none() {
            self.elementwise(builder, &place, dim, count);
        } else {
            let lanes = builder.lanes();
            let (vectors, rest) = builder.split(count, lanes);
            builder.repeat(vectors, |builder| {
                let inner = self.enter(builder, &place, dim);
                self.element(builder, &inner, Width::Full);
                self.advance(builder, &place, dim, lanes as i64);
            });
            self.rest(builder, rest, &mut |builder, width| {
                let inner = self.enter(builder, &place, dim);
                self.element(builder, &inner, width);
                self.advance(builder, &place, dim, 1);
            });
        }
    }

    /// The innermost loop of a vectorised nest without reduction: one shared index, loop invariants outside.
    fn elementwise(&self, builder: &mut Builder, place: &Place, dim: usize, count: I) {
        let place = &self.resolved(builder, place);
        let bytes = builder.vector_bytes();
        let fixed: Vec<Option<V>> = (0..self.nest.operands.len())
            .map(|operand| {
                let stream = self.operand_stream(operand);
                (self.access(stream, dim) == Access::Zero)
                    .then(|| builder.vector(VectorOp::LoadSplat(at(place.cursors[stream], 0))))
            })
            .collect();
        let index = builder.int(IntOp::Const(0));
        let value = |builder: &mut Builder, width: Width, offset: usize| {
            let mut constants = Constants::default();
            let result = evaluate(builder, &mut constants, &self.nest.body, None, &mut |builder, operand| {
                fixed[operand as usize].unwrap_or_else(|| {
                    let cursor = place.cursors[self.operand_stream(operand as usize)];
                    builder.vector(VectorOp::Load(indexed(cursor, index, offset), width))
                })
            });
            builder.store(indexed(place.cursors[0], index, offset), result, width);
        };
        let lanes = builder.lanes();
        let unroll = if self.nest.body.weight() <= UNROLLED_WEIGHT { UNROLL } else { 1 };
        let (rounds, rest) = builder.split(count, lanes * unroll);
        builder.repeat(rounds, |builder| {
            for vector in 0..unroll {
                value(builder, Width::Full, vector * bytes);
            }
            builder.bump(index, (unroll * bytes) as i64);
        });
        let (vectors, rest) =
            if unroll > 1 { builder.split(rest, lanes) } else { (builder.int(IntOp::Const(0)), rest) };
        if unroll > 1 {
            builder.repeat(vectors, |builder| {
                value(builder, Width::Full, 0);
                builder.bump(index, bytes as i64);
            });
        }
        self.rest(builder, rest, &mut |builder, width| {
            value(builder, width, 0);
            builder.bump(index, 4);
        });
    }

    /// The elements that fill no vector: one by one, or the first lanes of one vector.
    fn rest(&self, builder: &mut Builder, count: I, body: &mut dyn FnMut(&mut Builder, Width)) {
        if builder.lanes() == 4 {
            builder.repeat(count, |builder| body(builder, Width::One));
        } else {
            builder
                .if_(compare_const(count, IntCompare::Gt, 0), |builder| body(builder, Width::First(count)));
        }
    }

    /// Computes and stores the output at an address, or a vector of them.
    fn element(&self, builder: &mut Builder, place: &Place, width: Width) {
        if self.nest.compute != Compute::F32 {
            return self.scalar(builder, place);
        }
        let place = &if self.nest.reduce.is_none() { self.resolved(builder, place) } else { place.clone() };
        let result = match self.nest.reduce {
            None => self.body(builder, place, width),
            Some(reduce) => {
                let reduced = self.reduced(builder, place, reduce, width);
                let last = self.outputs() - 1;
                let mut constants = Constants::default();
                evaluate(builder, &mut constants, &self.nest.finalize, Some(reduced), &mut |builder, k| {
                    let stream = self.final_stream(k as usize);
                    self.load(builder, place, stream, last, width)
                })
            }
        };
        builder.store(at(place.cursors[0], 0), result, width);
    }

    /// The body's value at an address.
    fn body(&self, builder: &mut Builder, place: &Place, width: Width) -> V {
        let dim = self.nest.vector_dim().unwrap_or(self.nest.dims() - 1);
        let mut constants = Constants::default();
        evaluate(builder, &mut constants, &self.nest.body, None, &mut |builder, operand| {
            self.load(builder, place, self.operand_stream(operand as usize), dim, width)
        })
    }

    fn load(
        &self,
        builder: &mut Builder,
        place: &Place,
        stream: usize,
        vector_dim: usize,
        width: Width,
    ) -> V {
        let address = at(place.cursors[stream], 0);
        builder.vector(match (width, self.access(stream, vector_dim)) {
            (Width::Full | Width::First(_), Access::Zero) => VectorOp::LoadSplat(address),
            (width, _) => VectorOp::Load(address, width),
        })
    }

    /// Reduces over all reduction dims. The order of additions depends on extents alone.
    fn reduced(&self, builder: &mut Builder, place: &Place, reduce: Reduce, width: Width) -> V {
        let identity = match reduce {
            Reduce::Sum => 0.0,
            Reduce::Max => f32::NEG_INFINITY,
            Reduce::Min => f32::INFINITY,
            Reduce::Product => 1.0,
        };
        let count = if self.nest.body.weight() <= UNROLLED_WEIGHT { UNROLL } else { 1 };
        let across = self.nest.vectorise == Vectorise::Reduce;
        let accumulators: Vec<V> = (0..count).map(|_| builder.splat(identity)).collect();
        let tail = across.then(|| builder.splat(identity));
        let width = if across { Width::Full } else { width };
        self.reduce_dim(builder, place.clone(), self.outputs(), reduce, &accumulators, tail, width);
        let mut values = accumulators;
        while let [first, .., last] = values[..] {
            // Pairs from both ends: ((a0 + a3) + (a1 + a2)) for four.
            let folded = combine(builder, reduce, first, last);
            values.pop();
            values.remove(0);
            values.push(folded);
        }
        match tail {
            None => values[0],
            Some(tail) => {
                let lanes = self.fold_lanes(builder, values[0], reduce);
                combine(builder, reduce, lanes, tail)
            }
        }
    }

    /// One value from the lanes of a vector, neighbours first.
    fn fold_lanes(&self, builder: &mut Builder, value: V, reduce: Reduce) -> V {
        let scratch = ARGUMENTS[4];
        builder.store(at(scratch, 0), value, Width::Full);
        let mut lanes: Vec<V> = (0..builder.lanes())
            .map(|lane| builder.vector(VectorOp::Load(at(scratch, lane * 4), Width::One)))
            .collect();
        while lanes.len() > 1 {
            lanes = lanes.chunks(2).map(|pair| combine(builder, reduce, pair[0], pair[1])).collect();
        }
        lanes[0]
    }

    #[expect(clippy::too_many_arguments, reason = "the place of one loop within the nest")]
    fn reduce_dim(
        &self,
        builder: &mut Builder,
        place: Place,
        dim: usize,
        reduce: Reduce,
        accumulators: &[V],
        tail: Option<V>,
        width: Width,
    ) {
        let count = self.extent(builder, dim);
        if dim + 1 < self.nest.dims() {
            // A reduction dim may be the first to move an address that outer code still needs.
            let place = self.fresh(builder, &place);
            builder.repeat(count, |builder| {
                let inner = self.enter(builder, &place, dim);
                self.reduce_dim(builder, inner, dim + 1, reduce, accumulators, tail, width);
                self.advance(builder, &place, dim, 1);
            });
            return;
        }
        let place = self.fresh(builder, &place);
        let step = if tail.is_some() { builder.lanes() } else { 1 };
        let accumulate = |builder: &mut Builder, accumulator: V, width: Width, step: i64| {
            let inner = self.enter(builder, &place, dim);
            let inner = self.resolved(builder, &inner);
            let value = self.body(builder, &inner, width);
            let sum = combine(builder, reduce, accumulator, value);
            builder.set_vector(accumulator, VectorOp::Copy(sum));
            self.advance(builder, &place, dim, step);
        };
        let (rounds, rest) = builder.split(count, step * accumulators.len());
        builder.repeat(rounds, |builder| {
            for &accumulator in accumulators {
                accumulate(builder, accumulator, width, step as i64);
            }
        });
        let rest = if accumulators.len() > 1 {
            let (vectors, rest) = builder.split(rest, step);
            builder.repeat(vectors, |builder| accumulate(builder, accumulators[0], width, step as i64));
            rest
        } else {
            rest
        };
        if let Some(tail) = tail {
            self.rest(builder, rest, &mut |builder, width| match width {
                Width::First(count) => {
                    let inner = self.enter(builder, &place, dim);
                    let value = self.body(builder, &inner, width);
                    let sum = combine(builder, reduce, accumulators[0], value);
                    builder.set_vector(accumulators[0], VectorOp::Keep(count, sum, accumulators[0]));
                }
                Width::Full | Width::One => accumulate(builder, tail, width, 1),
            });
        }
    }

    /// Computes and stores one output of a nest whose arithmetic is not that of vectors.
    fn scalar(&self, builder: &mut Builder, place: &Place) {
        let mut scalars = Scalars::new(builder, self.nest);
        let elements = self.nest.elements();
        let place =
            &if self.nest.reduce.is_none() { self.resolved(scalars.builder, place) } else { place.clone() };
        let result = match self.nest.reduce {
            None => scalars.evaluate(&self.nest.body, None, &mut |scalars, operand| {
                let stream = self.operand_stream(operand as usize);
                scalars.load(elements[stream], at(place.cursors[stream], 0))
            }),
            Some(reduce) => {
                let acc = scalars.identity(reduce);
                let place = self.fresh(scalars.builder, place);
                self.scalar_reduction(scalars.builder, place.clone(), self.outputs(), acc, reduce);
                scalars.evaluate(&self.nest.finalize, Some(acc), &mut |scalars, operand| {
                    let stream = self.final_stream(operand as usize);
                    scalars.load(elements[stream], at(place.cursors[stream], 0))
                })
            }
        };
        scalars.store(self.nest.element, at(place.cursors[0], 0), result);
    }

    fn scalar_reduction(&self, builder: &mut Builder, place: Place, dim: usize, acc: I, reduce: Reduce) {
        let count = self.extent(builder, dim);
        let place = self.fresh(builder, &place);
        builder.repeat(count, |builder| {
            let inner = self.enter(builder, &place, dim);
            if dim + 1 < self.nest.dims() {
                self.scalar_reduction(builder, inner, dim + 1, acc, reduce);
            } else {
                let elements = self.nest.elements();
                let inner = self.resolved(builder, &inner);
                let mut scalars = Scalars::new(builder, self.nest);
                let value = scalars.evaluate(&self.nest.body, None, &mut |scalars, operand| {
                    let stream = self.operand_stream(operand as usize);
                    scalars.load(elements[stream], at(inner.cursors[stream], 0))
                });
                scalars.accumulate(reduce, acc, value);
            }
            self.advance(builder, &place, dim, 1);
        });
    }

    /// Copies of all addresses.
    fn fresh(&self, builder: &mut Builder, place: &Place) -> Place {
        Place {
            cursors: place.cursors.iter().map(|&cursor| builder.int(IntOp::Copy(cursor))).collect(),
            tables: place
                .tables
                .iter()
                .map(|tables| tables.iter().map(|&table| builder.int(IntOp::Copy(table))).collect())
                .collect(),
        }
    }
}

fn combine(builder: &mut Builder, reduce: Reduce, a: V, b: V) -> V {
    match reduce {
        Reduce::Sum => builder.vector(VectorOp::Add(a, b)),
        Reduce::Product => builder.vector(VectorOp::Mul(a, b)),
        Reduce::Max => maximum(builder, a, b),
        Reduce::Min => minimum(builder, a, b),
    }
}

// Slots hold eight extents and strides: a nest has no more dims.
const _: () = assert!(nest::MAX_DIMS == slot::BLOCK - slot::EXTENTS);
