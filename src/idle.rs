//! Sessions that no caller uses at present.
//!
//! They belong to the compiled model and not to one set of sizes: a caller with other sizes takes over the memory of the
//! last one, whose pages are there already, and many sizes take no more memory than the largest.

use rectify_runtime::session::{Executable, RunError, Session};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions kept for the next caller; more callers than this at once allocate.
const MAX_IDLE: usize = 4;

#[derive(Default)]
pub(crate) struct Idle {
    sessions: Mutex<Vec<Session>>,
}

impl Idle {
    /// A session for the executable: one that was its before, else the one with the most memory, else a new one.
    pub fn take(&self, executable: &Arc<Executable>, threads: usize) -> Result<Session, RunError> {
        let found = {
            let mut idle = self.lock();
            let same = idle.iter().position(|s| Arc::ptr_eq(s.executable(), executable));
            let largest = || (0..idle.len()).max_by_key(|i| idle[*i].memory_bytes());
            same.or_else(largest).map(|at| idle.swap_remove(at))
        };
        match found {
            Some(session) => session.turned_to(executable.clone()),
            None => Session::new(executable.clone(), threads),
        }
    }

    /// Keeps the session for the next caller, and of all together no more than `limit` bytes; one stays however large.
    pub fn put(&self, session: Session, limit: usize) {
        let mut idle = self.lock();
        let others: usize = idle.iter().map(Session::memory_bytes).sum();
        let fits = others.saturating_add(session.memory_bytes()) <= limit;
        if idle.is_empty() || (idle.len() < MAX_IDLE && fits) {
            idle.push(session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        // The list is whole at any time, so a panic elsewhere leaves nothing broken.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
