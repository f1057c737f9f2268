//! Packed parameters: generated, read or derived, and laid out for kernels, in parallel and piece by piece.
//!
//! A pack is cut into groups with known source ranges (`PackFormat`), so a parameter of any size goes from its
//! source into its packed form through a small buffer per thread: there is never a second full copy. What a kernel reads in
//! the very form that a mapped file has it in is not copied at all.

mod derive;
mod lent;
mod piece;
mod source;

pub use source::{ParamError, Parameters, TensorStore};

use crate::arena::{Arena, ArenaError};
use crate::pool::{Pool, RegionError};
use derive::Reader;
use lent::Lent;
use rectify_ir::graph::Graph;
use rectify_ir::kernel::PackFormat;
use rectify_ir::plan::{Pack, PackSource};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// A parameter in the form that kernels read.
#[derive(Clone, Debug)]
pub struct PackedRef(Held);

#[derive(Clone, Debug)]
enum Held {
    /// Inside of a shared block of memory, 64-byte aligned.
    Packed { arena: Arc<Arena>, offset_bytes: usize, bytes: usize },
    /// In the file, of any alignment.
    Lent(Lent),
}

impl PackedRef {
    /// The first byte.
    pub fn base(&self) -> *const u8 {
        match &self.0 {
            Held::Packed { arena, offset_bytes, .. } => arena.at(*offset_bytes),
            Held::Lent(lent) => lent.bytes().as_ptr(),
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.0 {
            Held::Packed { bytes, .. } => *bytes,
            Held::Lent(lent) => lent.bytes().len(),
        }
    }
}

/// Why parameters could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error(transparent)]
    Memory(#[from] ArenaError),
    #[error(transparent)]
    Region(#[from] RegionError),
}

type Key = (String, PackFormat);

/// Packs that are alive, shared by all specialisations and sessions of a compiled model.
///
/// An entry lives as long as an executable that uses it.
#[derive(Debug, Default)]
pub struct PackCache {
    live: Mutex<HashMap<Key, WeakRef>>,
}

#[derive(Debug)]
struct WeakRef {
    arena: Weak<Arena>,
    offset_bytes: usize,
    bytes: usize,
}

impl PackCache {
    /// The packs of a plan, in its order; those that are not there yet are made on the pool's threads.
    ///
    /// # Errors
    /// Parameters that cannot be read, or no memory.
    pub fn get_all(
        &self,
        graph: &Graph,
        packs: &[Pack],
        parameters: &Parameters,
        pool: &Pool,
    ) -> Result<Vec<PackedRef>, PackError> {
        // Held while packing: a second caller with the same parameters waits for them instead of making them again.
        let mut live = self.live.lock().unwrap_or_else(|e| e.into_inner());
        live.retain(|_, entry| entry.arena.strong_count() > 0);
        let mut found: Vec<Option<PackedRef>> = Vec::with_capacity(packs.len());
        let mut missing = Vec::new();
        let mut total = 0usize;
        for (i, pack) in packs.iter().enumerate() {
            let mut entry = live.get(&(pack.key.clone(), pack.format.clone())).and_then(WeakRef::upgrade);
            if entry.is_none()
                && let Some(lent) = lend(graph, pack, parameters)
            {
                present(&lent, pool)?;
                entry = Some(PackedRef(Held::Lent(lent)));
            }
            if entry.is_none() {
                missing.push((i, total));
                total += pack.bytes.next_multiple_of(64);
            }
            found.push(entry);
        }
        if !missing.is_empty() {
            let arena = Arc::new(Arena::new(total)?);
            fill(graph, packs, &missing, parameters, pool, &arena)?;
            for (i, offset_bytes) in missing {
                let bytes = packs[i].bytes;
                live.insert(
                    (packs[i].key.clone(), packs[i].format.clone()),
                    WeakRef { arena: Arc::downgrade(&arena), offset_bytes, bytes },
                );
                found[i] = Some(PackedRef(Held::Packed { arena: arena.clone(), offset_bytes, bytes }));
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

impl WeakRef {
    fn upgrade(&self) -> Option<PackedRef> {
        let arena = self.arena.upgrade()?;
        Some(PackedRef(Held::Packed { arena, offset_bytes: self.offset_bytes, bytes: self.bytes }))
    }
}

/// The pack as it lies in a file, where that is the form that its kernel reads.
fn lend(graph: &Graph, pack: &Pack, parameters: &Parameters) -> Option<Lent> {
    match (&pack.source, &pack.format) {
        (PackSource::Value(value), PackFormat::Raw { .. }) => {
            Lent::find(graph, *value, pack.bytes, parameters)
        }
        (PackSource::Value(_) | PackSource::Literal(_), _) => None,
    }
}

/// Brings what a file lends into memory, on all threads.
fn present(lent: &Lent, pool: &Pool) -> Result<(), RegionError> {
    const PART: usize = 8 << 20;
    let parts = lent.bytes().len().div_ceil(PART);
    let next = AtomicUsize::new(0);
    pool.region(pool.threads().min(parts), |_| {
        while let Some(part) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|part| *part < parts) {
            lent.make_present(part * PART..((part + 1) * PART).min(lent.bytes().len()));
        }
    })
}

/// Fills the packs `missing` (index and offset in the arena) group by group; threads take groups as they go.
fn fill(
    graph: &Graph,
    packs: &[Pack],
    missing: &[(usize, usize)],
    parameters: &Parameters,
    pool: &Pool,
    arena: &Arena,
) -> Result<(), PackError> {
    let reader = Reader::new(graph, parameters);
    // Large packs first, so that no thread is left alone with one at the end.
    let mut jobs: Vec<(usize, usize, usize)> = Vec::new();
    for (index, offset) in missing {
        jobs.extend((0..packs[*index].format.groups()).map(|group| (*index, *offset, group)));
    }
    jobs.sort_by_key(|(index, _, group)| (std::cmp::Reverse(packs[*index].bytes), *index, *group));
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<ParamError>> = Mutex::new(None);
    pool.region(pool.threads(), |_| {
        let mut buffer = Vec::new();
        while let Some((index, offset, group)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let pack = &packs[*index];
            let range = pack.format.packed_range(*group);
            let at = arena.at(offset + range.start * 4).cast::<f32>();
            // Safety: the range lies inside the pack, whose bytes lie inside the arena; each group is taken by one thread.
            let packed = unsafe { std::slice::from_raw_parts_mut(at, range.len()) };
            let mut pieces =
                (0..pack.format.pieces(*group)).map(|p| (p, pack.format.piece_source(*group, p)));
            let done = match &pack.source {
                // What is copied as it is needs no buffer between.
                PackSource::Value(value) if matches!(pack.format, PackFormat::Raw { .. }) => {
                    reader.read(*value, range.start, packed)
                }
                PackSource::Value(value) => pieces.try_for_each(|(piece, source)| {
                    buffer.resize(source.len(), 0.0);
                    reader.read(*value, source.start, &mut buffer)?;
                    piece::pack(&pack.format, *group, piece, &buffer, packed);
                    Ok(())
                }),
                PackSource::Literal(literal) => {
                    for (piece, source) in pieces {
                        let values: Vec<f32> = source.map(|i| literal.get_f32(i).unwrap_or(0.0)).collect();
                        piece::pack(&pack.format, *group, piece, &values, packed);
                    }
                    Ok(())
                }
            };
            if let Err(error) = done {
                failure.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                next.store(jobs.len(), Ordering::Relaxed);
            }
        }
    })?;
    match failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
