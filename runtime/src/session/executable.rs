//! A plan with its machine code and its packed parameters: everything of a specialisation that sessions share.

use crate::packs::PackedRef;
use rectify_ir::kernel::Illegal;
use rectify_ir::plan::{PackId, Plan};
use std::any::Any;
use std::sync::Arc;

/// The entry of a kernel; see `rectify_ir::kernel` for the meaning of the arguments.
#[cfg(target_arch = "x86_64")]
pub type KernelFn = unsafe extern "sysv64" fn(*const *mut u8, *const i64, i64, i64, *mut u8);
/// The entry of a kernel; see `rectify_ir::kernel` for the meaning of the arguments.
#[cfg(not(target_arch = "x86_64"))]
pub type KernelFn = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8);

/// Machine code of a plan's kernels.
pub struct Code {
    /// One entry per kernel of the plan, in its order.
    pub entries: Vec<KernelFn>,
    /// Whatever owns the code's memory.
    pub keep_alive: Vec<Arc<dyn Any + Send + Sync>>,
}

/// Why a plan, code and packs do not make an executable. Always a bug of the compiler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Illegal(#[from] Illegal),
    #[error("{given} {what} for a plan with {wanted}")]
    Count { what: &'static str, given: usize, wanted: usize },
    #[error("pack {pack} has {given} bytes, not {wanted}")]
    PackSize { pack: u32, given: usize, wanted: usize },
}

/// A specialisation, ready to run. Immutable; sessions share it.
pub struct Executable {
    plan: Arc<Plan>,
    steps: Vec<ExecStep>,
    packs: Vec<PackedRef>,
    scratch_stride: usize,
    /// Owns the memory that the entries point into.
    _keep_alive: Vec<Arc<dyn Any + Send + Sync>>,
}

/// A step as the threads see it.
pub(super) struct ExecStep {
    pub entry: KernelFn,
    pub args: Box<[i64]>,
    pub tasks: usize,
    /// Threads meet before this step.
    pub barrier: bool,
    /// Too little work to share: the first thread does it alone.
    pub serial: bool,
}

/// Below these amounts of work, handing out parts costs more than it gains (some 10 to 20 µs on one core).
const SERIAL_FLOPS: u64 = 200_000;
const SERIAL_BYTES: u64 = 64 << 10;

impl Executable {
    /// Joins a verified plan with its code and packs, both in the plan's order.
    pub fn new(plan: Arc<Plan>, code: Code, packs: Vec<PackedRef>) -> Result<Executable, BuildError> {
        let count = |what, given, wanted| {
            if given == wanted { Ok(()) } else { Err(BuildError::Count { what, given, wanted }) }
        };
        count("kernels", code.entries.len(), plan.kernels.len())?;
        count("packs", packs.len(), plan.packs.len())?;
        for (i, (pack, packed)) in plan.packs.iter().zip(&packs).enumerate() {
            if packed.bytes() < pack.bytes {
                return Err(BuildError::PackSize {
                    pack: i as u32,
                    given: packed.bytes(),
                    wanted: pack.bytes,
                });
            }
        }
        let mut steps = Vec::with_capacity(plan.steps.len());
        let mut phase = Phase::default();
        for step in &plan.steps {
            let kernel = plan.kernel(step.kernel);
            let tasks = step.args.tasks(kernel).max(0) as usize;
            let serial = tasks <= 1 || (step.cost.flops < SERIAL_FLOPS && step.cost.bytes < SERIAL_BYTES);
            steps.push(ExecStep {
                entry: code.entries[step.kernel.0 as usize],
                args: step.args.build(kernel)?.into(),
                tasks,
                barrier: phase.barrier(step.barrier, serial),
                serial,
            });
        }
        // A line between the scratch of two threads, so that they never share one.
        let scratch_stride = plan.scratch_bytes.next_multiple_of(64) + 64;
        Ok(Executable { plan, steps, packs, scratch_stride, _keep_alive: code.keep_alive })
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Bytes of the steps' arguments, most of which are tables of offsets.
    pub fn memory_bytes(&self) -> usize {
        self.steps.iter().map(|step| size_of_val(&*step.args)).sum()
    }

    pub(super) fn steps(&self) -> &[ExecStep] {
        &self.steps
    }

    /// Bytes from one thread's scratch to the next one's.
    pub(super) fn scratch_stride(&self) -> usize {
        self.scratch_stride
    }

    pub(super) fn pack_base(&self, pack: PackId) -> *const u8 {
        self.packs[pack.0 as usize].base()
    }

    /// Barriers that a run with several threads passes.
    pub fn barriers(&self) -> usize {
        self.steps.iter().filter(|s| s.barrier).count()
    }
}

/// Finds the barriers that are needed once some steps run on the first thread alone: between two such steps there is
/// nothing to wait for.
#[derive(Default)]
struct Phase {
    /// A dependency was passed over since the last barrier, because both sides ran on the first thread.
    pending: bool,
    /// A shared step ran since the last barrier.
    shared: bool,
}

impl Phase {
    /// Whether a step needs a barrier, given what the plan says.
    fn barrier(&mut self, planned: bool, serial: bool) -> bool {
        let wanted = planned || self.pending;
        let needed = if serial { planned && self.shared } else { wanted };
        if needed {
            *self = Phase::default();
        } else if planned {
            self.pending = true;
        }
        self.shared |= !serial;
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plan barriers and serial flags in, executed barriers out.
    fn barriers(steps: &[(bool, bool)]) -> Vec<bool> {
        let mut phase = Phase::default();
        steps.iter().map(|(planned, serial)| phase.barrier(*planned, *serial)).collect()
    }

    #[test]
    fn chains_of_serial_steps_need_no_barrier() {
        assert_eq!(barriers(&[(false, true), (true, true), (true, true)]), [false, false, false]);
    }

    #[test]
    fn shared_after_serial_waits_for_it() {
        assert_eq!(barriers(&[(false, true), (true, false), (true, true)]), [false, true, true]);
        // The dependency between the serial steps also orders the shared one after both.
        assert_eq!(barriers(&[(false, true), (true, true), (false, false)]), [false, false, true]);
    }

    #[test]
    fn shared_steps_keep_their_barriers() {
        assert_eq!(barriers(&[(false, false), (false, false), (true, false)]), [false, false, true]);
    }
}
