//! Parameters that kernels read where they lie: large tensors of f32 in a mapped file are not copied.

use super::source::{Parameters, TensorStore};
use rectify_ir::graph::{Graph, Value};
use rectify_ir::op::Op;
use std::ptr::NonNull;
use std::sync::Arc;

/// Smaller tensors are copied, into a block that all of them share.
const LEAST_BYTES: usize = 256 << 10;

/// Bytes of a tensor store, and the store.
#[derive(Clone)]
pub(super) struct Lent {
    bytes: NonNull<[u8]>,
    /// Held for the bytes, which the store keeps in place as long as it lives.
    _store: Arc<dyn TensorStore>,
}

// Safety: bytes that nobody writes, kept by a store that is itself `Send` and `Sync`.
unsafe impl Send for Lent {}
// Safety: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// The elements of a parameter as they are, if a store has them as f32 in this machine's byte order.
    pub fn find(graph: &Graph, value: Value, bytes: usize, parameters: &Parameters) -> Option<Lent> {
        let mut node = value.node;
        while matches!(graph.node(node).op, Op::Reshape { .. }) && graph.node(node).epilogue.is_none() {
            node = graph.node(node).operands.first()?.node;
        }
        let (store, tensor) = parameters.store(graph, node)?;
        let lent = store.lend(&tensor)?;
        let fits = cfg!(target_endian = "little") && lent.len() == bytes && bytes >= LEAST_BYTES;
        fits.then(|| Lent { bytes: NonNull::from(lent), _store: store.clone() })
    }

    pub fn bytes(&self) -> &[u8] {
        // Safety: the store is alive and keeps them where they are: that is what `TensorStore::lend` asks for.
        unsafe { self.bytes.as_ref() }
    }

    /// Brings a part of the bytes into memory and into this process' page tables, so that no fault falls into the first run.
    pub fn make_present(&self, part: std::ops::Range<usize>) {
        const PAGE: usize = 4096;
        let bytes = &self.bytes()[part];
        #[cfg(target_os = "linux")]
        {
            let start = bytes.as_ptr().map_addr(|address| address & !(PAGE - 1));
            let length = bytes.as_ptr().addr() + bytes.len() - start.addr();
            // Safety: pages of a mapping, whole, read and not changed. Where the system does not know the advice, they are
            // touched below.
            let done = unsafe { libc::madvise(start.cast_mut().cast(), length, libc::MADV_POPULATE_READ) };
            if done == 0 {
                return;
            }
        }
        let touched: u64 = bytes.iter().step_by(PAGE).map(|byte| u64::from(*byte)).sum();
        std::hint::black_box(touched);
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").field("bytes", &self.bytes().len()).finish()
    }
}
