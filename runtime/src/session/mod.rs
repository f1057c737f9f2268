//! Execution of a plan: an [`Executable`] is immutable and shared, a [`Session`] owns the memory of one run at a time.

mod executable;
mod pointers;

pub use executable::{BuildError, Code, Executable, KernelFn};

use crate::arena::{Arena, ArenaError};
use crate::denormals::FlushDenormals;
use crate::pages::Pages;
use crate::pool::{Place, Pool, RegionError};
use crate::profile::{Profile, Stopwatch};
use pointers::Pointers;
use std::sync::Arc;

/// Why a run did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("{given} {what} for a model with {wanted}")]
    Count { what: &'static str, given: usize, wanted: usize },
    #[error("{what} `{name}` has {given} bytes, not {wanted}")]
    Size { what: &'static str, name: String, given: usize, wanted: usize },
    #[error(transparent)]
    Memory(#[from] ArenaError),
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// The memory of one run: arena, scratch of each thread, resolved pointers. Running allocates nothing. The memory can serve
/// one executable after another.
pub struct Session {
    executable: Arc<Executable>,
    /// Held for its memory: `pointers` points into it.
    arena: Arena,
    scratch: Arena,
    threads: usize,
    pointers: Pointers,
}

/// How to run.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    pub pool: &'a Pool,
    /// Treat denormal numbers as zero while computing.
    pub flush_denormals: bool,
    /// Collects the time of every step.
    pub profile: Option<&'a Profile>,
}

impl Session {
    /// Memory for runs on up to `threads` threads.
    pub fn new(executable: Arc<Executable>, threads: usize) -> Result<Session, RunError> {
        let threads = threads.max(1);
        let arena = Arena::new(executable.plan().arena_bytes)?;
        let scratch = Arena::new(executable.scratch_stride() * threads)?;
        let pointers = Pointers::new(&executable, &arena);
        Ok(Session { executable, arena, scratch, threads, pointers })
    }

    /// The session as one for another executable. Its memory is kept where that suffices; what is left in it does not
    /// matter, as no plan reads what it has not written.
    pub fn turned_to(self, executable: Arc<Executable>) -> Result<Session, RunError> {
        if Arc::ptr_eq(&self.executable, &executable) {
            return Ok(self);
        }
        let arena = grown(self.arena, executable.plan().arena_bytes)?;
        let scratch = grown(self.scratch, executable.scratch_stride() * self.threads)?;
        let pointers = Pointers::new(&executable, &arena);
        Ok(Session { executable, arena, scratch, threads: self.threads, pointers })
    }

    /// Touches all memory that a run uses, so that the first does not wait for the system to hand out pages.
    pub fn touch(&self) {
        let scratch_bytes = self.executable.scratch_stride() * self.threads;
        for (arena, bytes) in
            [(&self.arena, self.executable.plan().arena_bytes), (&self.scratch, scratch_bytes)]
        {
            Pages::new(arena).present(0..bytes);
            arena.touch(0..bytes);
        }
    }

    pub fn executable(&self) -> &Arc<Executable> {
        &self.executable
    }

    /// Bytes of the arena and of the threads' scratch.
    pub fn memory_bytes(&self) -> usize {
        self.arena.len() + self.scratch.len()
    }

    /// Runs the plan. `inputs` and `outputs` are the bytes of the tensors in the plan's order, aligned for their type.
    ///
    /// # Errors
    /// A wrong number or size of tensors; a panic in a thread of the region (a bug).
    pub fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        options: RunOptions<'_>,
    ) -> Result<(), RunError> {
        let plan = self.executable.plan();
        check("inputs", "input", &plan.inputs, inputs.iter().map(|b| b.len()))?;
        check("outputs", "output", &plan.outputs, outputs.iter().map(|b| b.len()))?;
        for (i, bytes) in inputs.iter().enumerate() {
            self.pointers.set_input(i, bytes.as_ptr());
        }
        for (i, bytes) in outputs.iter_mut().enumerate() {
            self.pointers.set_output(i, bytes.as_mut_ptr());
        }
        let (executable, pointers, scratch) = (&*self.executable, &self.pointers, &self.scratch);
        let body = |place: &Place<'_>| {
            let _denormals = FlushDenormals::new(options.flush_denormals);
            let mut watch = Stopwatch::start(options.profile, place.index());
            let scratch = scratch.at(executable.scratch_stride() * place.index());
            // Safety: the pointers were resolved for this executable's plan, whose verifier proved every access of every step
            // to lie inside its buffer; caller's buffers have the plan's sizes (checked above) and are borrowed for the run;
            // scratch is this thread's own; barriers stand where the plan demands them.
            unsafe { execute(executable, pointers, scratch, place, &mut watch) };
        };
        options.pool.region(self.threads, body)?;
        if let Some(profile) = options.profile {
            profile.finish_run();
        }
        Ok(())
    }
}

/// A block of at least `bytes` bytes: this one, or one in its place.
fn grown(arena: Arena, bytes: usize) -> Result<Arena, ArenaError> {
    if arena.len() >= bytes {
        return Ok(arena);
    }
    drop(arena);
    Arena::new(bytes)
}

/// Walks the plan's steps as one thread of the region.
///
/// # Safety
/// See the caller.
unsafe fn execute(
    executable: &Executable,
    pointers: &Pointers,
    scratch: *mut u8,
    place: &Place<'_>,
    watch: &mut Stopwatch<'_>,
) {
    let alone = place.threads() == 1;
    for (i, step) in executable.steps().iter().enumerate() {
        if step.barrier && !alone {
            place.wait();
            watch.waited(i.saturating_sub(1));
        }
        let share = if step.serial || alone {
            if place.index() == 0 { 0..step.tasks } else { 0..0 }
        } else {
            place.share(step.tasks)
        };
        if !share.is_empty() {
            // Safety: by the caller's promise.
            unsafe {
                (step.entry)(
                    pointers.of_step(i),
                    step.args.as_ptr(),
                    share.start as i64,
                    share.end as i64,
                    scratch,
                );
            }
        }
        watch.worked(i);
    }
}

fn check(
    many: &'static str,
    one: &'static str,
    ports: &[rectify_ir::plan::Port],
    given: impl ExactSizeIterator<Item = usize>,
) -> Result<(), RunError> {
    if given.len() != ports.len() {
        return Err(RunError::Count { what: many, given: given.len(), wanted: ports.len() });
    }
    for (port, given) in ports.iter().zip(given) {
        let wanted = port.shape.iter().product::<usize>() * port.dtype.size_bytes();
        if given != wanted {
            return Err(RunError::Size { what: one, name: port.name.clone(), given, wanted });
        }
    }
    Ok(())
}
