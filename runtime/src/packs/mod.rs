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
use crate::pages::Pages;
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
    /// `beside` is other work, and called once, with the number of threads that it may use. Where there is much to pack the
    /// caller's thread does it first, while the others pack already.
    ///
    /// # Errors
    /// Parameters that cannot be read, or no memory.
    pub fn get_all(
        &self,
        graph: &Graph,
        packs: &[Pack],
        parameters: &Parameters,
        pool: &Pool,
        beside: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<PackedRef>, PackError> {
        // Held while packing: a second caller with the same parameters waits for them instead of making them again.
        let mut live = self.live.lock().unwrap_or_else(|e| e.into_inner());
        live.retain(|_, entry| entry.arena.strong_count() > 0);
        let mut found: Vec<Option<PackedRef>> = Vec::with_capacity(packs.len());
        let (mut missing, mut lent) = (Vec::new(), Vec::new());
        let mut total = 0usize;
        for (i, pack) in packs.iter().enumerate() {
            let mut entry = live.get(&(pack.key.clone(), pack.format.clone())).and_then(WeakRef::upgrade);
            if entry.is_none()
                && let Some(found) = lend(graph, pack, parameters)
            {
                lent.push(found.clone());
                entry = Some(PackedRef(Held::Lent(found)));
            }
            if entry.is_none() {
                missing.push((i, total));
                total += pack.bytes.next_multiple_of(64);
            }
            found.push(entry);
        }
        let arena = Arc::new(Arena::new(total)?);
        let filling = Filling { graph, packs, parameters, arena: &arena, lent: &lent };
        let much = total + lent.iter().map(|l| l.bytes().len()).sum::<usize>() >= MUCH_BYTES;
        if !much {
            beside(pool.threads());
        }
        filling.run(&missing, pool, if much { beside } else { &|_| () })?;
        for (i, offset_bytes) in missing {
            let bytes = packs[i].bytes;
            live.insert(
                (packs[i].key.clone(), packs[i].format.clone()),
                WeakRef { arena: Arc::downgrade(&arena), offset_bytes, bytes },
            );
            found[i] = Some(PackedRef(Held::Packed { arena: arena.clone(), offset_bytes, bytes }));
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

/// Packing of less than this takes less time than other work does.
const MUCH_BYTES: usize = 1 << 20;

/// Bytes of what is lent that a thread brings into memory at a time.
const PART_BYTES: usize = 8 << 20;

/// What threads fill together.
struct Filling<'a> {
    graph: &'a Graph,
    packs: &'a [Pack],
    parameters: &'a Parameters,
    arena: &'a Arena,
    lent: &'a [Lent],
}

impl Filling<'_> {
    /// Fills the packs `missing` (index and offset in the arena) group by group, and brings what files lend into memory;
    /// threads take groups as they go. The caller's thread does `beside` first.
    fn run(
        &self,
        missing: &[(usize, usize)],
        pool: &Pool,
        beside: &(dyn Fn(usize) + Sync),
    ) -> Result<(), PackError> {
        let packs = self.packs;
        let reader = Reader::new(self.graph, self.parameters);
        let pages = Pages::new(self.arena);
        // Large packs first, so that no thread is left alone with one at the end.
        let mut jobs: Vec<(usize, usize, usize)> = Vec::new();
        for (index, offset) in missing {
            jobs.extend((0..packs[*index].format.groups()).map(|group| (*index, *offset, group)));
        }
        jobs.sort_by_key(|(index, _, group)| (std::cmp::Reverse(packs[*index].bytes), *index, *group));
        let parts = |lent: &Lent| lent.bytes().len().div_ceil(PART_BYTES);
        let lent: Vec<(&Lent, usize)> =
            self.lent.iter().flat_map(|l| (0..parts(l)).map(move |part| (l, part))).collect();
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<ParamError>> = Mutex::new(None);
        pool.region(pool.threads(), |place| {
            if place.index() == 0 {
                beside(1);
            }
            let mut buffer = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((index, offset, group)) = jobs.get(at) else {
                    // Last, as other threads' requests for memory, such as those of code, wait for it.
                    let Some((lent, part)) = lent.get(at - jobs.len()) else { break };
                    let end = ((part + 1) * PART_BYTES).min(lent.bytes().len());
                    lent.make_present(part * PART_BYTES..end);
                    continue;
                };
                let range = packs[*index].format.packed_range(*group);
                pages.present(offset + range.start * 4..offset + range.end * 4);
                if let Err(error) = self.group(&reader, &packs[*index], *offset, *group, &mut buffer) {
                    failure.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                    next.store(lent.len() + jobs.len(), Ordering::Relaxed);
                }
            }
        })?;
        match failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Fills one group of the pack at `offset` in the arena, through `buffer`. No two threads may fill the same group.
    fn group(
        &self,
        reader: &Reader<'_>,
        pack: &Pack,
        offset: usize,
        group: usize,
        buffer: &mut Vec<f32>,
    ) -> Result<(), ParamError> {
        let range = pack.format.packed_range(group);
        let at = self.arena.at(offset + range.start * 4).cast::<f32>();
        // Safety: the range lies inside the pack, whose bytes lie inside the arena; each group is taken by one thread.
        let packed = unsafe { std::slice::from_raw_parts_mut(at, range.len()) };
        let mut pieces = (0..pack.format.pieces(group)).map(|p| (p, pack.format.piece_source(group, p)));
        match &pack.source {
            // What is copied as it is needs no buffer between.
            PackSource::Value(value) if matches!(pack.format, PackFormat::Raw { .. }) => {
                reader.read(*value, range.start, packed)
            }
            PackSource::Value(value) => pieces.try_for_each(|(piece, source)| {
                buffer.resize(source.len(), 0.0);
                reader.read(*value, source.start, buffer)?;
                piece::pack(&pack.format, group, piece, buffer, packed);
                Ok(())
            }),
            PackSource::Literal(literal) => {
                for (piece, source) in pieces {
                    let values: Vec<f32> = source.map(|i| literal.get_f32(i).unwrap_or(0.0)).collect();
                    piece::pack(&pack.format, group, piece, &values, packed);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_ir::TensorType;
    use rectify_ir::init::{Dist, Init};
    use rectify_ir::op::Source;
    use rectify_ir::scalar::Scalar;

    /// The bytes of a pack of `elements` numbers, and what the other work was told.
    fn packed(cache: &PackCache, elements: usize) -> (Vec<PackedRef>, Vec<usize>) {
        let mut graph = Graph::new("g");
        let dist = Dist::Normal { mean: Scalar(0.0), std: Scalar(1.0) };
        let ty = TensorType::f32([(elements as i64).into()]);
        let value = graph.add_param("w", ty, Source::Init(Init::from(dist)));
        let pack = Pack {
            key: "w".into(),
            source: PackSource::Value(value),
            format: PackFormat::Raw { elements: elements as u64 },
            bytes: 4 * elements,
        };
        let told = Mutex::new(Vec::new());
        let beside = |threads: usize| told.lock().expect("no panic").push(threads);
        let packs = cache.get_all(&graph, &[pack], &Parameters::new(3), &Pool::new(2), &beside);
        (packs.expect("packs"), told.into_inner().expect("no panic"))
    }

    #[test]
    fn other_work_is_done_once() {
        let cache = PackCache::default();
        let (small, told) = packed(&cache, 100);
        assert_eq!((small[0].bytes(), told), (400, vec![2]));
        let (large, told) = packed(&cache, MUCH_BYTES);
        assert_eq!((large[0].bytes(), told), (4 * MUCH_BYTES, vec![1]));
        // Nothing is left to pack.
        let (again, told) = packed(&cache, MUCH_BYTES);
        assert_eq!((again[0].base(), told), (large[0].base(), vec![2]));
    }
}
