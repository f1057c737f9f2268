//! The verifier of plans. Machine code is made and run from verified plans only.
//!
//! Invariants:
//! 1. every kernel is valid, none stands twice, and every id of a buffer, pack or kernel exists;
//! 2. every step has one pointer for each of its kernel's, and its arguments build;
//! 3. every byte that a step may touch, over-reads included, lies in the pointer's buffer;
//! 4. no step writes to an input or a pack;
//! 5. a port's buffer is that port's, of its shape's size; a cut names one of its axes, and an output that is one number of
//!    i64; a pack's buffer has the size of its format;
//! 6. arena buffers are aligned to 64 bytes, lie in the arena, and overlap no other that is alive at the same step
//!    (from the first step that touches it to the last);
//! 7. nothing is read before it is written;
//! 8. every output is written in full;
//! 9. without a barrier, a step touches no byte that a step since the last barrier writes, and writes none that such
//!    a step reads;
//! 10. the scratch suffices for every step, and the lower bound does not exceed the arena;
//! 11. packed weights have the form in which their kernel reads them: transformed ones for Winograd kernels and for no
//!     others, of the kernel's tile and the step's channels.

use super::access::{Access, accesses};
use super::words::{Pattern, Words};
use super::{Args, BufferId, Place, Plan, Pointer, Step};
use crate::dtype::DType;
use crate::kernel::{Descriptor, PackFormat};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::HashSet;

/// A plan that breaks an invariant: always a fault of the planner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", self.place())]
pub struct Violation {
    /// Index of the step at fault, if one is.
    pub step: Option<usize>,
    /// Number in the list of invariants.
    pub invariant: u8,
    pub message: String,
}

impl Violation {
    fn place(&self) -> String {
        match self.step {
            Some(step) => format!("plan, step {step}, invariant {}", self.invariant),
            None => format!("plan, invariant {}", self.invariant),
        }
    }
}

/// Checks all invariants; the first violation is returned.
pub fn verify(plan: &Plan) -> Result<(), Violation> {
    verify_parts(plan)?;
    verify_order(plan)
}

/// Checks the invariants of single steps, buffers and packs: all but 7, 8 and 9. Then packs may be made.
pub fn verify_parts(plan: &Plan) -> Result<(), Violation> {
    check_tables(plan)?;
    for (i, step) in plan.steps.iter().enumerate() {
        check_step(plan, i, step)?;
    }
    check_ports_and_packs(plan)?;
    check_arena(plan)
}

fn fail<T>(step: Option<usize>, invariant: u8, message: String) -> Result<T, Violation> {
    Err(Violation { step, invariant, message })
}

fn check_tables(plan: &Plan) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for (i, kernel) in plan.kernels.iter().enumerate() {
        if let Err(e) = kernel.validate() {
            return fail(None, 1, format!("k{i}: {e}"));
        }
        if !seen.insert(kernel) {
            return fail(None, 1, format!("k{i} stands twice"));
        }
    }
    for (i, buffer) in plan.buffers.iter().enumerate() {
        let exists = match buffer.place {
            Place::Input(index) => (index as usize) < plan.inputs.len(),
            Place::Output(index) => (index as usize) < plan.outputs.len(),
            Place::Pack(pack) => (pack.0 as usize) < plan.packs.len(),
            Place::Arena { .. } => true,
        };
        if !exists {
            return fail(None, 1, format!("b{i} names a port or pack that is not there"));
        }
    }
    if plan.arena_lower_bound_bytes > plan.arena_bytes {
        return fail(None, 10, "the arena's lower bound exceeds it".into());
    }
    Ok(())
}

fn check_step(plan: &Plan, i: usize, step: &Step) -> Result<(), Violation> {
    let Some(kernel) = plan.kernels.get(step.kernel.0 as usize) else {
        return fail(Some(i), 1, format!("there is no kernel k{}", step.kernel.0));
    };
    let names = kernel.pointers();
    if names.len() != step.pointers.len() {
        return fail(Some(i), 2, format!("{} pointers for {names:?}", step.pointers.len()));
    }
    if let Err(e) = step.args.build(kernel) {
        return fail(Some(i), 2, format!("{} of {kernel}: {e}", step.label));
    }
    check_weights(plan, i, step, kernel)?;
    let scratch_bytes = step.args.scratch_bytes(kernel);
    if scratch_bytes > plan.scratch_bytes {
        return fail(Some(i), 10, format!("{} needs {scratch_bytes} bytes of scratch", step.label));
    }
    for span in step.args.spans(kernel) {
        let pointer = step.pointers[span.pointer];
        let Some(buffer) = plan.buffers.get(pointer.buffer.0 as usize) else {
            return fail(Some(i), 1, format!("there is no buffer b{}", pointer.buffer.0));
        };
        let low = pointer.offset_bytes.checked_add(span.low_bytes);
        let high = pointer.offset_bytes.checked_add(span.high_bytes);
        let inside = low.is_some_and(|low| low >= 0) && high.is_some_and(|high| high <= buffer.bytes as i64);
        if !inside && span.low_bytes < span.high_bytes {
            return fail(
                Some(i),
                3,
                format!(
                    "{}: {} touches bytes {}..{} of b{}, which has {} ({})",
                    step.label,
                    names[span.pointer],
                    pointer.offset_bytes + span.low_bytes,
                    pointer.offset_bytes + span.high_bytes,
                    pointer.buffer.0,
                    buffer.bytes,
                    buffer.about
                ),
            );
        }
        if span.writes && matches!(buffer.place, Place::Input(_) | Place::Pack(_)) {
            return fail(Some(i), 4, format!("{} writes to b{}", step.label, pointer.buffer.0));
        }
    }
    Ok(())
}

/// Sizes alone do not tell forms of packed weights apart.
fn check_weights(plan: &Plan, i: usize, step: &Step, kernel: &Descriptor) -> Result<(), Violation> {
    let format = |pointer: &Pointer| {
        let buffer = plan.buffers.get(pointer.buffer.0 as usize)?;
        let Place::Pack(pack) = buffer.place else { return None };
        plan.packs.get(pack.0 as usize).map(|pack| &pack.format)
    };
    for (number, pointer) in step.pointers.iter().enumerate() {
        let Some(format) = format(pointer) else { continue };
        let fits = match (format, kernel, &step.args) {
            (PackFormat::Winograd(pack), Descriptor::Winograd(k), Args::Winograd(args)) => {
                number == 2
                    && pointer.offset_bytes == 0
                    && (pack.outputs, pack.lanes) == (k.outputs, k.lanes)
                    && pack.width == u32::from(k.tile.vectors) * u32::from(k.lanes)
                    && i64::from(pack.in_channels) == args.in_channels
                    && i64::from(pack.picked.count) == args.out_channels
            }
            (PackFormat::Winograd(_), ..) => false,
            (_, Descriptor::Winograd(_), _) => number != 2,
            (PackFormat::Weights(pack), Descriptor::Contract(k), _) if number == 2 => {
                (pack.lanes, pack.vectors) == (k.lanes, k.tile.vectors)
            }
            (..) => true,
        };
        if !fits {
            let message = format!(
                "{}: {} are packed as {format:?}, which is not how {kernel} reads them",
                step.label,
                kernel.pointers()[number]
            );
            return fail(Some(i), 11, message);
        }
    }
    Ok(())
}

fn check_ports_and_packs(plan: &Plan) -> Result<(), Violation> {
    let ports = plan.inputs.iter().enumerate().map(|(i, p)| (p, Place::Input(i as u32)));
    let outputs = plan.outputs.iter().enumerate().map(|(i, p)| (p, Place::Output(i as u32)));
    for (port, place) in ports.chain(outputs) {
        let Some(buffer) = plan.buffers.get(port.buffer.0 as usize) else {
            return fail(None, 1, format!("{} has no buffer", port.name));
        };
        let bytes = port.shape.iter().product::<usize>() * port.dtype.size_bytes();
        if buffer.place != place || buffer.bytes != bytes {
            return fail(None, 5, format!("{} needs {bytes} bytes of its own, not {buffer:?}", port.name));
        }
        for cut in &port.cuts {
            let count = plan.outputs.get(cut.count as usize);
            let is_number = |p: &super::Port| p.dtype == DType::I64 && p.shape.iter().all(|n| *n == 1);
            if cut.axis as usize >= port.shape.len() || !count.is_some_and(is_number) {
                return fail(None, 5, format!("{} is cut along axis {} by no number", port.name, cut.axis));
            }
        }
    }
    for (i, pack) in plan.packs.iter().enumerate() {
        if let Err(e) = pack.format.validate() {
            return fail(None, 5, format!("p{i}: {e}"));
        }
        if pack.bytes != packed_bytes(&pack.format) {
            return fail(None, 5, format!("p{i} has {} bytes for {:?}", pack.bytes, pack.format));
        }
    }
    for (i, buffer) in plan.buffers.iter().enumerate() {
        if let Place::Pack(pack) = buffer.place
            && buffer.bytes != plan.packs[pack.0 as usize].bytes
        {
            return fail(None, 5, format!("b{i} is no larger and no smaller than its pack"));
        }
    }
    Ok(())
}

fn packed_bytes(format: &PackFormat) -> usize {
    format.len() * 4
}

fn check_arena(plan: &Plan) -> Result<(), Violation> {
    let mut spans: FxHashMap<BufferId, (usize, usize)> = FxHashMap::default();
    for (i, step) in plan.steps.iter().enumerate() {
        for pointer in &step.pointers {
            spans.entry(pointer.buffer).or_insert((i, i)).1 = i;
        }
    }
    // (buffer, offset, end, first step, last step) by offset.
    let mut placed = Vec::new();
    for (i, buffer) in plan.buffers.iter().enumerate() {
        let Place::Arena { offset_bytes } = buffer.place else { continue };
        let end = offset_bytes.saturating_add(buffer.bytes);
        if offset_bytes % 64 != 0 || end > plan.arena_bytes {
            return fail(None, 6, format!("b{i} at {offset_bytes}..{end} in {} bytes", plan.arena_bytes));
        }
        if let Some((first, last)) = spans.get(&BufferId(i as u32)) {
            placed.push((i, offset_bytes, end, *first, *last));
        }
    }
    placed.sort_unstable_by_key(|p| p.1);
    for (n, a) in placed.iter().enumerate() {
        for b in placed[n + 1..].iter().take_while(|b| b.1 < a.2) {
            if a.3 <= b.4 && b.3 <= a.4 {
                return fail(None, 6, format!("b{} and b{} overlap and are alive together", a.0, b.0));
            }
        }
    }
    Ok(())
}

/// Address spaces: the arena, and each output by itself. Inputs and packs are never written.
fn space(plan: &Plan, buffer: BufferId) -> Option<(usize, i64)> {
    match plan.buffer(buffer).place {
        Place::Arena { offset_bytes } => Some((0, offset_bytes as i64)),
        Place::Output(index) => Some((1 + index as usize, 0)),
        Place::Input(_) | Place::Pack(_) => None,
    }
}

/// Bytes that a step touches, placed in an address space: whether it writes, and whether it is sure to.
struct Touched {
    space: usize,
    writes: bool,
    partial: bool,
    pattern: Pattern,
}

/// What steps touched since the last barrier.
struct Recent {
    /// What was touched last. Most of it lies far from what later steps touch, and is never made a set.
    list: Vec<Touched>,
    /// What was touched before that, and the sets that it makes.
    many: Vec<Touched>,
    read: Vec<Words>,
    written: Vec<Words>,
    /// An empty set.
    one: Words,
}

/// The longest list that every access is compared with, one by one.
const MAX_RECENT: usize = 16;

impl Recent {
    /// Whether the bytes are such as a step wrote, or, if they are written now, such as one read.
    fn meets(&mut self, t: &Touched) -> bool {
        let (space, pattern) = (t.space, &t.pattern);
        let in_sets = !self.many.is_empty()
            && (self.written[space].has_any(pattern) || t.writes && self.read[space].has_any(pattern));
        in_sets
            || self.list.iter().any(|earlier| {
                let ordered = earlier.writes || t.writes;
                if earlier.space != space || !ordered || !earlier.pattern.is_near(pattern) {
                    return false;
                }
                self.one.set(&earlier.pattern);
                let meets = self.one.has_any(pattern);
                self.one.clear(&earlier.pattern);
                meets
            })
    }

    fn extend(&mut self, touched: Vec<Touched>) {
        self.list.extend(touched);
        if self.list.len() > MAX_RECENT {
            for t in self.list.drain(..) {
                let sets = if t.writes { &mut self.written } else { &mut self.read };
                sets[t.space].set(&t.pattern);
                self.many.push(t);
            }
        }
    }

    fn forget(&mut self) {
        self.list.clear();
        for t in self.many.drain(..) {
            let sets = if t.writes { &mut self.written } else { &mut self.read };
            sets[t.space].clear(&t.pattern);
        }
    }
}

/// The unit in which bytes are told apart: 4 unless there are narrower elements.
fn word_bytes(plan: &Plan) -> i64 {
    let narrow = plan.kernels.iter().any(|kernel| match kernel {
        Descriptor::Nest(nest) => nest.elements().iter().any(|element| element.size_bytes() < 4),
        Descriptor::Sort(sort) => sort.element.size_bytes() < 4,
        Descriptor::Contract(_)
        | Descriptor::Window(_)
        | Descriptor::Winograd(_)
        | Descriptor::WinogradGradient(_)
        | Descriptor::Suppression(_) => false,
    });
    if narrow { 1 } else { 4 }
}

/// Checks invariants 7, 8 and 9, which depend on the order of steps, of a plan whose parts are verified.
pub fn verify_order(plan: &Plan) -> Result<(), Violation> {
    let word = word_bytes(plan);
    let spaces = 1 + plan.outputs.len();
    let sets = || (0..spaces).map(|_| Words::default()).collect::<Vec<_>>();
    // Bytes that hold what their buffer's tensor holds.
    let mut valid = sets();
    let mut recent =
        Recent { list: vec![], many: vec![], read: sets(), written: sets(), one: Words::default() };
    let mut born: FxHashSet<BufferId> = FxHashSet::default();
    // Calls with the same arguments recur; what they touch is found once.
    let mut made: FxHashMap<(u32, &Args), Vec<Access>> = FxHashMap::default();
    for (i, step) in plan.steps.iter().enumerate() {
        let kernel = plan.kernel(step.kernel);
        let list = made.entry((step.kernel.0, &step.args)).or_insert_with(|| accesses(kernel, &step.args));
        if step.barrier {
            recent.forget();
        }
        let mut here: Vec<Touched> = vec![];
        for access in list.iter() {
            let pointer = step.pointers[access.pointer];
            let Some((space, base)) = space(plan, pointer.buffer) else { continue };
            if born.insert(pointer.buffer) {
                // A new buffer: whatever its bytes held before is another tensor's.
                let bytes = plan.buffer(pointer.buffer).bytes as i64;
                valid[space].clear(&Pattern::run(base, base + bytes, word));
            }
            for bytes in &access.bytes {
                let pattern = Pattern::new(bytes, base + pointer.offset_bytes, word);
                here.push(Touched { space, writes: access.writes, partial: access.partial, pattern });
            }
        }
        for touched in &here {
            let Touched { space, writes, pattern, .. } = touched;
            if !writes && !valid[*space].has_all(pattern) {
                return fail(Some(i), 7, format!("{} reads {pattern} before it is written", step.label));
            }
            if recent.meets(touched) {
                let message = format!("{} meets a step since the last barrier in {pattern}", step.label);
                return fail(Some(i), 9, message);
            }
        }
        for Touched { space, pattern, .. } in here.iter().filter(|t| t.writes && !t.partial) {
            valid[*space].set(pattern);
        }
        recent.extend(here);
    }
    for (i, port) in plan.outputs.iter().enumerate() {
        if !valid[1 + i].has_all(&Pattern::run(0, plan.buffer(port.buffer).bytes as i64, word)) {
            return fail(None, 8, format!("the output {} is not written in full", port.name));
        }
    }
    Ok(())
}
