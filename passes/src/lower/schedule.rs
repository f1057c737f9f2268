//! From draft steps to the plan: results in place of dying operands, memory, barriers.

use super::LowerError;
use super::memory::{Interval, place};
use super::storage::{Draft, DraftStep, Home, StorageId};
use super::view::View;
use rectify_ir::graph::{Graph, Value};
use rectify_ir::plan::{Buffer, BufferId, KernelId, Place, Plan, Pointer, Port, Step};
use rectify_ir::target::Target;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Assembles the plan. `outputs` are the views of the model's outputs.
pub(crate) fn finish(
    graph: &Graph,
    target: &Target,
    mut draft: Draft,
    outputs: &[View],
) -> Result<Plan, LowerError> {
    reuse_dying_operands(&mut draft);
    let spans = spans(&draft);
    let arena: Vec<usize> = (0..draft.storages.len())
        .filter(|i| draft.storages[*i].place == Home::Arena && spans[*i].is_some())
        .collect();
    let intervals: Vec<Interval> = arena
        .iter()
        .map(|i| {
            let (first, last) = spans[*i].unwrap_or((0, 0));
            Interval { bytes: draft.storages[*i].bytes + draft.storages[*i].slack, first, last }
        })
        .collect();
    let memory = place(&intervals);

    // Buffers: those that steps touch, and the ports.
    let mut buffers = Vec::with_capacity(draft.storages.len());
    let mut ids: Vec<Option<BufferId>> = vec![None; draft.storages.len()];
    let mut offsets: Vec<i64> = vec![0; draft.storages.len()];
    for (at, i) in arena.iter().enumerate() {
        offsets[*i] = memory.offsets[at];
    }
    for (i, storage) in draft.storages.iter().enumerate() {
        let port = matches!(storage.place, Home::Input(_) | Home::Output(_));
        if spans[i].is_none() && !port {
            continue;
        }
        let place = match storage.place {
            Home::Input(index) => Place::Input(index),
            Home::Output(index) => Place::Output(index),
            Home::Pack(pack) => Place::Pack(pack),
            Home::Arena => Place::Arena { offset_bytes: offsets[i] as usize },
        };
        ids[i] = Some(BufferId(buffers.len() as u32));
        let bytes = (storage.bytes + storage.slack) as usize;
        buffers.push(Buffer { place, bytes, about: storage.about.clone() });
    }
    let buffer = |s: StorageId| ids[s.0 as usize].unwrap_or(BufferId(u32::MAX));

    let barriers = barriers(&draft, &offsets);
    let mut kernels = Vec::new();
    let mut kernel_ids = FxHashMap::default();
    let scratch = draft.steps.iter().map(|s| s.args.scratch_bytes(&s.kernel)).max().unwrap_or(0);
    let mut steps = Vec::with_capacity(draft.steps.len());
    for (step, barrier) in draft.steps.into_iter().zip(barriers) {
        let kernel = *kernel_ids.entry(step.kernel).or_insert_with_key(|k| {
            kernels.push(k.clone());
            KernelId(kernels.len() as u32 - 1)
        });
        let pointers =
            step.pointers.iter().map(|(s, offset)| Pointer { buffer: buffer(*s), offset_bytes: *offset });
        steps.push(Step {
            kernel,
            label: step.label,
            node: step.node,
            pointers: pointers.collect(),
            args: step.args,
            barrier,
            cost: step.cost,
            multiply_adds: step.multiply_adds,
            candidates: step.candidates,
        });
    }
    let port = |name: &str, value: Value, buffer: BufferId| {
        let ty = graph.ty(value);
        let shape = ty.const_shape().unwrap_or_default();
        Port { name: name.to_string(), dtype: ty.dtype, shape, buffer, cuts: vec![] }
    };
    // The first storages are those of the inputs, in order.
    let inputs = graph.inputs().iter().enumerate().map(|(i, id)| {
        let name = graph.node(*id).name.as_deref().unwrap_or("input");
        port(name, (*id).into(), buffer(StorageId(i as u32)))
    });
    let outputs =
        graph.outputs.iter().zip(outputs).map(|(o, view)| port(&o.name, o.value, buffer(view.storage)));
    Ok(Plan {
        model: graph.name.clone(),
        target: *target,
        bindings: BTreeMap::new(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        buffers,
        packs: draft.packs,
        scratch_bytes: scratch,
        kernels,
        steps,
        arena_bytes: memory.bytes as usize,
        arena_lower_bound_bytes: memory.lower_bound as usize,
    })
}

/// First and last step that touches each storage.
fn spans(draft: &Draft) -> Vec<Option<(usize, usize)>> {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; draft.storages.len()];
    for (i, step) in draft.steps.iter().enumerate() {
        for (storage, _) in &step.pointers {
            let span = &mut spans[storage.0 as usize];
            *span = Some((span.map_or(i, |s| s.0), i));
        }
    }
    spans
}

/// Lets the result of a step take the storage of an operand that nothing reads later, where each element is read just
/// where it is written: elementwise chains, residuals.
fn reuse_dying_operands(draft: &mut Draft) {
    let mut spans = spans(draft);
    // The storage that took another's place, by index.
    let mut taken: Vec<StorageId> = (0..draft.storages.len() as u32).map(StorageId).collect();
    let mut dropped = vec![false; draft.steps.len()];
    for i in 0..draft.steps.len() {
        let step = &draft.steps[i];
        let (result, offset) = step.pointers[0];
        let current = |s: StorageId| taken[s.0 as usize];
        let candidate = step.in_place.iter().find_map(|k| {
            let (operand, operand_offset) = step.pointers[*k];
            let operand = current(operand);
            let (a, r) = (draft.storage(operand), draft.storage(result));
            let once = step.pointers.iter().filter(|(s, _)| current(*s) == operand).count() == 1;
            let fits = a.place == Home::Arena
                && r.place == Home::Arena
                && current(result) == result
                && operand != result
                && a.bytes == r.bytes
                && operand_offset == offset;
            let dies = spans[operand.0 as usize].is_some_and(|s| s.1 == i);
            (once && fits && dies && fills_agree(draft, i, operand, result, &taken)).then_some(operand)
        });
        let Some(operand) = candidate else { continue };
        // The result's halo is there already.
        for (j, earlier) in draft.steps[..i].iter().enumerate() {
            dropped[j] |= earlier.pointers[0].0 == result;
        }
        taken[result.0 as usize] = operand;
        let last = spans[result.0 as usize].map_or(i, |s| s.1);
        if let Some(span) = &mut spans[operand.0 as usize] {
            span.1 = last;
        }
        let slack = draft.storage(result).slack;
        let kept = &mut draft.storages[operand.0 as usize];
        kept.slack = kept.slack.max(slack);
    }
    for step in &mut draft.steps {
        for (storage, _) in &mut step.pointers {
            // Chains are followed to their first storage.
            while taken[storage.0 as usize] != *storage {
                *storage = taken[storage.0 as usize];
            }
        }
    }
    let mut index = 0;
    draft.steps.retain(|_| {
        index += 1;
        !dropped[index - 1]
    });
}

/// Whether all that was written to `result` before step `i` is its halo, and the halo of `operand` is the same.
fn fills_agree(draft: &Draft, i: usize, operand: StorageId, result: StorageId, taken: &[StorageId]) -> bool {
    let fill = |storage: StorageId| {
        draft.steps[..i]
            .iter()
            .filter(move |s| taken[s.pointers[0].0.0 as usize] == storage && s.fills.is_some())
            .map(|s| s.fills)
            .next()
            .flatten()
    };
    let touched = |s: &DraftStep| s.pointers.iter().any(|(p, _)| *p == result);
    draft.steps[..i].iter().filter(|s| touched(s)).all(|s| s.fills.is_some()) && fill(operand) == fill(result)
}

/// Which steps need all earlier ones to have finished. Steps that write parts of one storage write different parts,
/// unless the later one says that it overwrites.
fn barriers(draft: &Draft, offsets: &[i64]) -> Vec<bool> {
    let mut since = 0;
    let mut barriers = Vec::with_capacity(draft.steps.len());
    for (i, step) in draft.steps.iter().enumerate() {
        let needed = draft.steps[since..i].iter().any(|earlier| conflict(draft, offsets, earlier, step));
        if needed {
            since = i;
        }
        barriers.push(needed);
    }
    barriers
}

fn conflict(draft: &Draft, offsets: &[i64], earlier: &DraftStep, later: &DraftStep) -> bool {
    earlier.pointers.iter().enumerate().any(|(i, (a, _))| {
        later.pointers.iter().enumerate().any(|(j, (b, _))| match (i, j) {
            (0, 0) if a == b => later.overwrites,
            (0, _) | (_, 0) => overlap(draft, offsets, *a, *b),
            _ => false,
        })
    })
}

/// Whether two storages share bytes.
fn overlap(draft: &Draft, offsets: &[i64], a: StorageId, b: StorageId) -> bool {
    if a == b {
        return true;
    }
    let (x, y) = (draft.storage(a), draft.storage(b));
    if x.place != Home::Arena || y.place != Home::Arena {
        return false;
    }
    let (p, q) = (offsets[a.0 as usize], offsets[b.0 as usize]);
    p < q + y.bytes + y.slack && q < p + x.bytes + x.slack
}
