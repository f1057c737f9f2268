//! From tensors and views to loop nests: common digits, order and merging of loops, vector dim, tasks.
//!
//! A [`NestRequest`] speaks of logical axes: first those of the output, then reduced ones. Each reference says how it
//! moves along every axis, by a view's [`Axis`] or by a table of offsets. The builder cuts the axes into the digits
//! that all references share; a reference whose digits do not fit reads through a table. Padded channel lanes of the
//! output are written as zeros, by a mask where the program would make something else of zeros.

use super::LowerError;
use super::limits::MAX_TABLE;
use super::storage::{Draft, DraftStep, StorageId};
use super::view::{Axis, View};
use rectify_ir::DType;
use rectify_ir::graph::NodeId;
use rectify_ir::kernel::nest::MAX_DIMS;
use rectify_ir::kernel::{
    Access, ChannelPack, Compute, Nest, NestArgs, NestIndirect, NestOperand, NestStream, NestTable,
    PackFormat, Program, Reduce, Vectorise,
};
use rectify_ir::plan::Args;
use rustc_hash::FxHashSet;

/// How an operand or the output is addressed.
#[derive(Clone, Debug)]
pub(crate) struct Ref {
    pub storage: StorageId,
    pub base: i64,
    /// One per axis of the request; those that a table covers do not move here.
    pub axes: Vec<Axis>,
    pub tables: Vec<RefTable>,
    pub indirect: Vec<RefIndirect>,
}

/// An axis of the storage along which operand `operand` of the request holds the places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefIndirect {
    pub operand: usize,
    pub size: i64,
    /// Bytes between neighbours.
    pub stride: i64,
}

/// Byte offsets by the indices of some axes, the last of them fastest.
#[derive(Clone, Debug)]
pub(crate) struct RefTable {
    pub axes: Vec<usize>,
    /// Per axis how many indices the table tells apart: all of them, or those of the axis' finest digit.
    pub digits: Vec<i64>,
    pub offsets: Vec<i64>,
}

impl RefTable {
    /// A table over whole axes of these sizes.
    pub fn new(axes: &[usize], sizes: &[i64], offsets: Vec<i64>) -> RefTable {
        RefTable { axes: axes.to_vec(), digits: sizes.to_vec(), offsets }
    }

    /// Repeats the last entries of the first axis for the padded lanes that are computed as well.
    fn cover(&mut self, size: i64, extent: i64) {
        let chunk = self.digits[1..].iter().product::<i64>() as usize;
        if self.digits[0] == size {
            for _ in size..extent {
                self.offsets.extend_from_within(self.offsets.len() - chunk..);
            }
            self.digits[0] = extent;
        }
    }
}

impl Ref {
    pub fn new(view: &View, axes: Vec<Axis>) -> Ref {
        Ref { storage: view.storage, base: view.base, axes, tables: vec![], indirect: vec![] }
    }

    /// The view as it is.
    pub fn of(view: &View) -> Ref {
        Ref::new(view, view.axes.clone())
    }

    /// The view, repeated along `reduced` further axes.
    pub fn over(view: &View, reduced: &[i64]) -> Ref {
        let mut axes = view.axes.clone();
        axes.extend(reduced.iter().map(|n| Axis::broadcast(*n)));
        Ref::new(view, axes)
    }
}

/// A loop nest over logical axes.
#[derive(Clone, Debug)]
pub(crate) struct NestRequest {
    pub node: NodeId,
    pub label: String,
    pub output: Ref,
    pub operands: Vec<Ref>,
    pub body: Program,
    /// Extents of the reduced axes, which follow the output's.
    pub reduced: Vec<i64>,
    pub reduce: Option<Reduce>,
    pub finals: Vec<Ref>,
    pub finalize: Program,
    /// Operands whose elements are read exactly where the output writes.
    pub in_place: bool,
}

impl NestRequest {
    pub fn map(node: NodeId, label: &str, output: &View, operands: Vec<Ref>, body: Program) -> NestRequest {
        NestRequest {
            node,
            label: label.to_string(),
            output: Ref::of(output),
            operands,
            body,
            reduced: vec![],
            reduce: None,
            finals: vec![],
            finalize: Program::acc(),
            in_place: true,
        }
    }

    pub fn reduce(
        node: NodeId,
        label: &str,
        output: &View,
        operands: Vec<Ref>,
        body: Program,
        reduced: Vec<i64>,
        reduce: Reduce,
    ) -> NestRequest {
        NestRequest {
            reduced,
            reduce: Some(reduce),
            in_place: false,
            ..NestRequest::map(node, label, output, operands, body)
        }
    }

    /// Operands that hold places.
    fn places(&self) -> FxHashSet<usize> {
        let refs = std::iter::once(&self.output).chain(&self.operands);
        refs.flat_map(|r| &r.indirect).map(|indirect| indirect.operand).collect()
    }

    pub fn finish(mut self, finals: Vec<Ref>, finalize: Program) -> NestRequest {
        self.finals = finals;
        self.finalize = finalize;
        self
    }
}

/// One loop: a digit of a logical axis.
#[derive(Clone, Debug)]
struct Loop {
    axis: usize,
    /// Product of the finer digits of the axis.
    inner: i64,
    extent: i64,
    /// Per reference: byte stride, then entries of each of its tables.
    moves: Vec<Move>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    stride: i64,
    tables: Vec<i64>,
}

/// Emits the nest, or several where it has too many loops for one.
pub(crate) fn emit(draft: &mut Draft, mut request: NestRequest) -> Result<(), LowerError> {
    // Nothing to write, or nothing to scatter.
    if request.output.axes.iter().any(|axis| axis.size == 0) {
        return Ok(());
    }
    mask_padded_lanes(draft, &mut request);
    let storages = request.operands.iter().chain(&request.finals).map(|r| draft.storage(r.storage).element);
    let (elements, element) = (storages.collect::<Vec<_>>(), draft.storage(request.output.storage).element);
    // Places alone do not take part in the arithmetic.
    let places = request.places();
    let computed = elements.iter().enumerate();
    let computed = computed.filter(|(k, _)| !places.contains(k) || request.body.loads(*k as u8));
    let compute = Compute::of(&computed.map(|(_, element)| *element).collect::<Vec<_>>(), element);
    if let Some(function) = compute.lacks(&request.body).or(compute.lacks(&request.finalize)) {
        return Err(LowerError::Function { node: request.label, function, dtype: element });
    }
    let outputs = request.output.axes.len();
    let mut refs: Vec<Ref> = Vec::with_capacity(1 + request.operands.len() + request.finals.len());
    refs.push(request.output.clone());
    refs.extend(request.operands.iter().cloned());
    refs.extend(request.finals.iter().cloned());
    let operands = request.operands.len();
    let in_place = in_place(&request);

    // Axes: extents, with padded lanes of the output, and digits that all references share.
    let axes = outputs + request.reduced.len();
    let mut loops = Vec::new();
    for axis in 0..axes {
        let (size, extent, own) = match axis.checked_sub(outputs) {
            None => {
                let own = &refs[0].axes[axis];
                (own.size, own.extent(), boundaries(own))
            }
            Some(r) => (request.reduced[r], request.reduced[r], vec![]),
        };
        let mut chain = own;
        for (k, r) in refs.iter_mut().enumerate().skip(1) {
            for table in r.tables.iter_mut().filter(|t| t.axes[0] == axis) {
                table.cover(size, extent);
            }
            // Final operands have no reduced axes.
            if k > operands && axis >= outputs {
                continue;
            }
            if !join_digits(&mut chain, &r.axes[axis], extent) {
                if extent > MAX_TABLE {
                    return Err(LowerError::TooLong { node: request.label, length: extent });
                }
                let size = r.axes[axis].size;
                let offsets = (0..extent).map(|i| r.axes[axis].offset(i.min(size - 1))).collect();
                r.tables.push(RefTable::new(&[axis], &[extent], offsets));
                r.axes[axis] = Axis::broadcast(extent);
            }
        }
        let mut inner = 1;
        for upper in chain.into_iter().chain([extent]) {
            if upper > inner {
                loops.push(Loop { axis, inner, extent: upper / inner, moves: vec![] });
                inner = upper;
            }
        }
    }
    for l in &mut loops {
        l.moves = refs
            .iter()
            .enumerate()
            .map(|(k, r)| moves(r, l, if k > operands || k == 0 { outputs } else { axes }))
            .collect();
    }
    let (mut outer, mut inner): (Vec<Loop>, Vec<Loop>) = loops.into_iter().partition(|l| l.axis < outputs);
    outer.sort_by_key(|l| std::cmp::Reverse(l.moves[0].stride.abs()));
    if let Some(main) = (request.reduce.is_some() && operands > 0).then_some(1) {
        inner.sort_by_key(|l| std::cmp::Reverse(l.moves[main].stride.abs()));
    }
    merge(&mut outer);
    merge(&mut inner);
    if outer.is_empty() {
        let tables = |r: &Ref| vec![0; r.tables.len()];
        let mut moves: Vec<Move> = refs.iter().map(|r| Move { stride: 0, tables: tables(r) }).collect();
        moves[0].stride = element.size_bytes() as i64;
        outer.push(Loop { axis: 0, inner: 1, extent: 1, moves });
    }
    if request.reduce.is_some() && inner.is_empty() {
        let moves = refs.iter().map(|r| Move { stride: 0, tables: vec![0; r.tables.len()] }).collect();
        inner.push(Loop { axis: outputs, inner: 1, extent: 1, moves });
    }
    let elements = std::iter::once(element).chain(elements).collect();
    let parts = Parts { request: &request, refs, elements, compute, operands, in_place };
    parts.split(draft, outer, &inner)
}

/// What all pieces of a nest share.
struct Parts<'a> {
    request: &'a NestRequest,
    refs: Vec<Ref>,
    /// Of each reference.
    elements: Vec<DType>,
    compute: Compute,
    operands: usize,
    in_place: Vec<usize>,
}

impl Parts<'_> {
    /// Emits one step, or one for every index of the shortest outer loop while there are too many loops.
    fn split(self, draft: &mut Draft, mut outer: Vec<Loop>, inner: &[Loop]) -> Result<(), LowerError> {
        if outer.len() + inner.len() <= MAX_DIMS {
            return self.step(draft, &outer, inner);
        }
        let shortest = (0..outer.len() - 1).min_by_key(|i| outer[*i].extent);
        let Some(shortest) = shortest else {
            return Err(LowerError::Illegal {
                node: self.request.label.clone(),
                kernel: "nest".into(),
                reason: format!("{} reduced loops", inner.len()),
            });
        };
        let peeled = outer.remove(shortest);
        for index in 0..peeled.extent {
            let refs = self.refs.iter().zip(&peeled.moves).map(|(r, m)| {
                let mut r = r.clone();
                r.base += index * m.stride;
                for (table, step) in r.tables.iter_mut().zip(&m.tables) {
                    // Entries of other indices stay behind the ones that are used.
                    table.offsets.rotate_left((index * step) as usize);
                }
                r
            });
            let piece = Parts {
                request: self.request,
                refs: refs.collect(),
                elements: self.elements.clone(),
                compute: self.compute,
                operands: self.operands,
                in_place: vec![],
            };
            piece.split(draft, outer.clone(), inner)?;
        }
        Ok(())
    }

    fn step(&self, draft: &mut Draft, outer: &[Loop], inner: &[Loop]) -> Result<(), LowerError> {
        let request = self.request;
        let places = request.places();
        // Functions of four lanes alone have the instructions for single integers.
        let lanes = if self.compute == Compute::F32 && places.is_empty() { draft.lanes } else { 4 };
        let loops: Vec<&Loop> = outer.iter().chain(inner).collect();
        let extents: Vec<i64> = loops.iter().map(|l| l.extent).collect();
        let stream = |k: usize, count: usize| {
            let strides: Vec<i64> = loops[..count].iter().map(|l| l.moves[k].stride).collect();
            let indirect = self.refs[k].indirect.iter();
            let indirect = indirect.map(|i| NestIndirect { size: i.size, stride: i.stride }).collect();
            let mut stream = NestStream { base: 0, strides, tables: vec![], indirect };
            for (t, table) in self.refs[k].tables.iter().enumerate() {
                let steps: Vec<i64> = loops[..count].iter().map(|l| l.moves[k].tables[t]).collect();
                // A table that no loop moves in is an offset.
                match steps.iter().all(|s| *s == 0) {
                    true => stream.base += table.offsets[0],
                    false => stream.tables.push(NestTable { steps, offsets: table.offsets.clone() }),
                }
            }
            stream
        };
        let (outputs, dims) = (outer.len(), loops.len());
        let output = stream(0, outputs);
        let finals = 1 + self.operands..self.refs.len();
        let operands: Vec<NestStream> = (1..=self.operands).map(|k| stream(k, dims)).collect();
        let finals: Vec<NestStream> = finals.map(|k| stream(k, outputs)).collect();
        let vectorise = match self.compute {
            Compute::F32 => self.vectorise(&places, &output, &operands, &finals, outputs, &extents, lanes),
            Compute::F64 | Compute::I64 | Compute::U64 => Vectorise::No,
        };
        let weight = (request.body.weight() + 2 * self.operands + 1) as i64;
        let (task_dims, block) = match request.output.indirect.is_empty() {
            true => tasks(&extents[..outputs], &extents[outputs..], weight, lanes),
            false => (0, 1),
        };
        let named = |r: &Ref| r.indirect.iter().map(|i| i.operand as u8).collect::<Vec<_>>();
        let operand = |(k, s): (usize, &NestStream)| NestOperand {
            element: self.elements[k],
            access: s.strides.iter().map(|s| access(*s, self.elements[k])).collect(),
            tables: s.tables.iter().map(mask).collect(),
            indirect: named(&self.refs[k]),
        };
        let kernel = Nest {
            lanes: lanes as u8,
            compute: self.compute,
            element: self.elements[0],
            output_dims: outputs as u8,
            reduce_dims: inner.len() as u8,
            task_dims,
            vectorise,
            output: output.strides.iter().map(|s| access(*s, self.elements[0])).collect(),
            scatter: named(&self.refs[0]),
            operands: (1..).zip(&operands).map(operand).collect(),
            body: request.body.clone(),
            reduce: request.reduce,
            finals: (1 + self.operands..).zip(&finals).map(operand).collect(),
            finalize: request.finalize.clone(),
        };
        let args = NestArgs { extents, block, output, operands, finals };
        let cost = kernel.cost(&args);
        draft.push(DraftStep {
            kernel: kernel.into(),
            label: request.label.clone(),
            node: request.node,
            pointers: self.refs.iter().map(|r| (r.storage, r.base)).collect(),
            args: Args::Nest(args),
            cost,
            multiply_adds: 0,
            candidates: vec![],
            in_place: self.in_place.clone(),
            fills: None,
            overwrites: false,
        })
    }

    /// The last output dim if results are adjacent there, else the last reduced one; places stay the same along it.
    #[expect(clippy::too_many_arguments, reason = "the parts of one nest")]
    fn vectorise(
        &self,
        places: &FxHashSet<usize>,
        output: &NestStream,
        operands: &[NestStream],
        finals: &[NestStream],
        outputs: usize,
        extents: &[i64],
        lanes: i64,
    ) -> Vectorise {
        let smooth = |streams: &[NestStream], dim: usize| {
            streams.iter().all(|s| {
                matches!(s.strides.get(dim), Some(0 | 4)) && s.tables.iter().all(|t| t.steps[dim] == 0)
            })
        };
        let still = |dim: usize| places.iter().all(|k| operands[*k].strides[dim] == 0);
        let last = outputs - 1;
        if extents[last] >= lanes
            && still(last)
            && output.strides[last] == 4
            && smooth(operands, last)
            && smooth(finals, last)
        {
            return Vectorise::Output;
        }
        let reduced = extents.len() - 1;
        if reduced > last && extents[reduced] >= 2 * lanes && still(reduced) && smooth(operands, reduced) {
            return Vectorise::Reduce;
        }
        Vectorise::No
    }
}

/// Products of finer digits at which an axis' digits begin, without 1 and without the whole.
fn boundaries(axis: &Axis) -> Vec<i64> {
    let mut product = 1;
    let mut list = Vec::new();
    for part in axis.parts.iter().skip(1).rev() {
        product *= part.extent;
        if product > 1 {
            list.push(product);
        }
    }
    list
}

/// Adds the digits of `axis` to the chain of common ones; false where they do not fit or the axis has fewer places
/// than `extent`.
fn join_digits(chain: &mut Vec<i64>, axis: &Axis, extent: i64) -> bool {
    if axis.parts.is_empty() {
        return true;
    }
    if axis.extent() != extent {
        return false;
    }
    let mut joined = chain.clone();
    joined.extend(boundaries(axis));
    joined.sort_unstable();
    joined.dedup();
    let mut inner = 1;
    for &upper in joined.iter().chain([&extent]) {
        if upper % inner != 0 {
            return false;
        }
        inner = upper;
    }
    *chain = joined;
    true
}

/// How far a reference moves with one step of a loop.
fn moves(r: &Ref, l: &Loop, axes: usize) -> Move {
    let mut stride = 0;
    if l.axis < axes {
        let mut inner = 1;
        for part in r.axes[l.axis].parts.iter().rev() {
            let upper = inner * part.extent;
            if (inner..upper).contains(&l.inner) {
                stride = part.stride * (l.inner / inner);
            }
            inner = upper;
        }
    }
    let tables = r.tables.iter().map(|t| match t.axes.iter().position(|a| *a == l.axis) {
        Some(at) if l.inner < t.digits[at] => l.inner * t.digits[at + 1..].iter().product::<i64>(),
        Some(_) | None => 0,
    });
    Move { stride, tables: tables.collect() }
}

/// Joins neighbours that every reference walks evenly.
fn merge(loops: &mut Vec<Loop>) {
    let mut merged: Vec<Loop> = Vec::with_capacity(loops.len());
    for l in loops.drain(..).filter(|l| l.extent != 1) {
        let even = |outer: &Loop| {
            outer.moves.iter().zip(&l.moves).all(|(o, i)| {
                o.stride == i.stride * l.extent
                    && o.tables.iter().zip(&i.tables).all(|(o, i)| *o == i * l.extent)
            })
        };
        match merged.last_mut() {
            Some(outer) if even(outer) => {
                outer.extent *= l.extent;
                outer.moves = l.moves;
            }
            _ => merged.push(l),
        }
    }
    *loops = merged;
}

fn access(stride: i64, element: DType) -> Access {
    match stride {
        0 => Access::Zero,
        _ if stride == element.size_bytes() as i64 => Access::One,
        _ => Access::Var,
    }
}

fn mask(table: &NestTable) -> u8 {
    table.steps.iter().enumerate().filter(|(_, s)| **s != 0).fold(0, |mask, (d, _)| mask | 1 << d)
}

/// Elements of work below which a task is not worth its overhead, weighted by the program.
const TASK_WORK: i64 = 16 << 10;
/// Tasks that suffice for an even division among a few dozen threads.
const ENOUGH_TASKS: i64 = 64;

/// Task dims and the block of the last: few enough tasks that each is worth it, from sizes alone.
fn tasks(outputs: &[i64], reduced: &[i64], weight: i64, lanes: i64) -> (u8, i64) {
    let whole = outputs.iter().chain(reduced).fold(weight.max(1), |n, e| n.saturating_mul(*e));
    let wanted = (whole / TASK_WORK).clamp(1, ENOUGH_TASKS);
    if wanted == 1 {
        return (0, 1);
    }
    let mut tasks = 1;
    for (d, &extent) in outputs.iter().enumerate() {
        let last = d + 1 == outputs.len();
        if tasks * extent >= wanted || last {
            // Runs of this dim such that there are about as many tasks as wanted.
            let runs = ((wanted + tasks - 1) / tasks).clamp(1, extent);
            let mut block = (extent + runs - 1) / runs;
            if last {
                block = (block + 4 * lanes - 1) / (4 * lanes) * (4 * lanes);
            }
            return (d as u8 + 1, block);
        }
        tasks *= extent;
    }
    (0, 1)
}

/// Operands that lie exactly where the output does.
fn in_place(request: &NestRequest) -> Vec<usize> {
    if !request.in_place || !request.output.indirect.is_empty() {
        return vec![];
    }
    let axes = &request.output.axes;
    let same = |r: &Ref| {
        r.tables.is_empty() && r.indirect.is_empty() && r.axes.iter().zip(axes).all(|(a, b)| a.moves_like(b))
    };
    (0..request.operands.len()).filter(|k| same(&request.operands[*k])).map(|k| k + 1).collect()
}

/// Lets the program write zeros to the lanes beyond the last channel, if it would not.
fn mask_padded_lanes(draft: &mut Draft, request: &mut NestRequest) {
    let padded = |axis: &Axis| !axis.parts.is_empty() && !axis.is_exact();
    let Some(axis) = request.output.axes.iter().position(padded) else { return };
    let channels = request.output.axes[axis].clone();
    let zero = |r: &Ref| padded(&r.axes[axis]) && r.axes[axis].extent() == channels.extent();
    let (refs, program) = match request.reduce {
        None => (&request.operands, &request.body),
        Some(_) => (&request.finals, &request.finalize),
    };
    // A reduction of zero lanes is zero where the body keeps zeros; a maximum is, since every window has an element.
    let acc_is_zero =
        request.reduce.is_none() || request.body.maps_zero_to_zero(|k| zero(&request.operands[k as usize]));
    if acc_is_zero && program.maps_zero_to_zero(|k| zero(&refs[k as usize])) {
        return;
    }
    let format = PackFormat::Channels(ChannelPack {
        groups: 1,
        channels: channels.size as u32,
        width: draft.lanes as u32,
        broadcast: true,
    });
    let storage = draft.pack_literal(&[1.0], format);
    let lanes = draft.lanes;
    let mut axes: Vec<Axis> = request.output.axes.iter().map(|a| Axis::broadcast(a.size)).collect();
    axes[axis] = Axis::blocked(channels.size, lanes, 4 * lanes);
    let mut ones = Ref { storage, base: 0, axes, tables: vec![], indirect: vec![] };
    match request.reduce {
        None => {
            request.operands.push(ones);
            request.body.mask_with(request.operands.len() as u8 - 1);
        }
        Some(_) => {
            ones.axes.truncate(request.output.axes.len());
            request.finals.push(ones);
            request.finalize.mask_with(request.finals.len() as u8 - 1);
        }
    }
}
