//! A model at known sizes: plan, machine code and packed parameters.

use crate::compiled::Inner;
use crate::error::Error;
use rectify_ir::Graph;
use rectify_ir::bind::{self, Bindings};
use rectify_ir::plan::{Plan, Port, PortCut};
use rectify_ir::target::Target;
use rectify_passes::lower::{self, ConvPolicy, LowerError};
use rectify_runtime::packs::PackError;
use rectify_runtime::profile::Profile;
use rectify_runtime::session::{Code, Executable, RunError, RunOptions, Session};
use rectify_runtime::{Tensor, TensorView, TensorViewMut};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Everything for one set of sizes.
pub(crate) struct Specialisation {
    sizes: Bindings,
    plan: Arc<Plan>,
    executable: Arc<Executable>,
    code_bytes: usize,
    times: CompileTimes,
}

/// Times of the steps from an optimised graph to something that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileTimes {
    /// Sizes into the graph, layouts, kernels chosen, memory.
    pub plan: Duration,
    /// The proof that the plan's steps fit together, and machine code. Other threads pack already.
    pub code: Duration,
    /// Parameters drawn or read, and brought into the kernels' form: what that takes longer.
    pub pack: Duration,
}

impl Specialisation {
    pub fn new(inner: &Inner, sizes: Bindings) -> Result<Specialisation, Error> {
        let start = Instant::now();
        let (graph, plan) = plan(&inner.graph, inner.kernels.target(), inner.options.convolutions, &sizes)?;
        let plan = Arc::new(plan);
        let planned = Instant::now();
        // Machine code trusts the plan's addresses, so none is made for a plan that was not proven.
        let code = Mutex::new((Ok(Vec::new()), Duration::ZERO));
        let make_code = |threads: usize| {
            let start = Instant::now();
            let kernels = rectify_ir::plan::verify_order(&plan)
                .map_err(|violation| Error::internal("planning", violation))
                .and_then(|()| {
                    let kernels = inner.kernels.get(&plan.kernels, threads.min(inner.threads));
                    kernels.map_err(|e| Error::internal("codegen", e))
                });
            *code.lock().unwrap_or_else(PoisonError::into_inner) = (kernels, start.elapsed());
        };
        let packs = inner.packs.get_all(&graph, &plan.packs, &inner.parameters, &inner.pool, &make_code);
        let (kernels, code_time) = code.into_inner().unwrap_or_else(PoisonError::into_inner);
        let kernels = kernels?;
        let packs = packs.map_err(pack_error)?;
        let packed = Instant::now();
        let code_bytes = kernels.iter().map(|k| k.code_bytes()).sum();
        let entries = kernels.iter().map(|k| k.entry()).collect();
        let keep_alive = kernels.into_iter().map(|k| Arc::new(k) as Arc<dyn Any + Send + Sync>).collect();
        let code = Code { entries, keep_alive };
        let executable =
            Executable::new(plan.clone(), code, packs).map_err(|e| Error::internal("runtime", e))?;
        let pack = (packed - planned).saturating_sub(code_time);
        let times = CompileTimes { plan: planned - start, code: code_time, pack };
        let executable = Arc::new(executable);
        Ok(Specialisation { sizes, plan, executable, code_bytes, times })
    }

    pub fn sizes(&self) -> &Bindings {
        &self.sizes
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn times(&self) -> CompileTimes {
        self.times
    }

    /// Memory that goes with this specialisation; packed parameters and memory of sessions are shared and not counted.
    pub fn memory_bytes(&self) -> usize {
        self.code_bytes + self.executable.memory_bytes()
    }

    /// Runs on inputs and outputs in the plan's order.
    pub fn run(
        &self,
        inner: &Inner,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorViewMut<'_>],
    ) -> Result<(), Error> {
        let mut session = self.session(inner)?;
        let outputs = outputs.iter_mut().map(bytes_mut);
        run(&mut session, inner, inputs.iter().map(TensorView::bytes), outputs, None)?;
        inner.idle.put(session, inner.options.cache_bytes);
        Ok(())
    }

    /// A session for the caller alone, of memory that is there already where possible.
    pub fn session(&self, inner: &Inner) -> Result<Session, Error> {
        inner.idle.take(&self.executable, inner.threads).map_err(run_error)
    }

    /// The caller's session for other sizes, as one for these.
    pub fn take_over(&self, session: Session) -> Result<Session, Error> {
        session.turned_to(self.executable.clone()).map_err(run_error)
    }

    /// Memory for the outputs of a run: of the model's, with all elements that they can have, then of the plan's own.
    pub fn outputs(&self) -> Result<Vec<Tensor>, Error> {
        let port = |port: &Port| Ok(Tensor::zeros(port.dtype, port.shape.as_slice())?);
        self.plan.outputs.iter().map(port).collect()
    }

    /// Whether sizes of outputs are known after a run alone.
    pub fn is_cut(&self) -> bool {
        self.plan.outputs.iter().any(|port| !port.cuts.is_empty())
    }

    /// The model's outputs of a run: those that are cut as long as they are, `None` for the others.
    pub fn cut(&self, outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>, Error> {
        let one = |(port, tensor): (&Port, &Tensor)| {
            let mut cut = None;
            for PortCut { axis, count } in &port.cuts {
                let count = outputs[*count as usize].as_slice::<i64>()?.first().copied().unwrap_or(0);
                let size = usize::try_from(count).unwrap_or(0);
                cut = Some(cut.as_ref().unwrap_or(tensor).first(*axis as usize, size)?);
            }
            Ok(cut)
        };
        self.plan.outputs.iter().zip(outputs).map(one).collect()
    }
}

/// Memory of intermediate values at most. Proving a plan takes memory and time that grow with it: a small hostile file
/// must not take a program's last megabyte before it is refused.
const MAX_ARENA_BYTES: u64 = 4 << 30;

/// The graph at known sizes, and its plan, whose parts are verified, but not their order.
pub(crate) fn plan(
    graph: &Graph,
    target: &Target,
    convolutions: ConvPolicy,
    sizes: &Bindings,
) -> Result<(Graph, Plan), Error> {
    let graph = bind::bind(graph, sizes)?;
    let mut plan = lower::lower_with(&graph, target, convolutions).map_err(|error| match error {
        LowerError::Illegal { .. } | LowerError::Unbound { .. } => Error::internal("lowering", error),
        LowerError::ElementType { .. } | LowerError::Function { .. } | LowerError::Unsupported { .. } => {
            Error::Unsupported { name: graph.name.clone(), message: error.to_string() }
        }
        LowerError::TooLarge { .. } | LowerError::TooLong { .. } => {
            Error::Format { name: graph.name.clone(), message: error.to_string() }
        }
    })?;
    if plan.arena_bytes as u64 > MAX_ARENA_BYTES {
        let message = format!(
            "intermediate values take {} MB at these sizes, more than the {} MB that a plan may have: make batches smaller",
            plan.arena_bytes as u64 >> 20,
            MAX_ARENA_BYTES >> 20
        );
        return Err(Error::Unsupported { name: graph.name.clone(), message });
    }
    rectify_ir::plan::verify_parts(&plan).map_err(|violation| Error::internal("planning", violation))?;
    plan.model.clone_from(&graph.name);
    plan.bindings.clone_from(sizes);
    Ok((graph, plan))
}

/// Inputs and outputs up to this number are handed over without allocating.
const PORTS: usize = 16;

/// Runs a session on the bytes of tensors in the plan's order.
pub(crate) fn run<'i, 'o>(
    session: &mut Session,
    inner: &Inner,
    inputs: impl ExactSizeIterator<Item = &'i [u8]>,
    outputs: impl ExactSizeIterator<Item = &'o mut [u8]>,
    profile: Option<&Profile>,
) -> Result<(), Error> {
    let options = RunOptions { pool: &inner.pool, flush_denormals: inner.options.flush_denormals, profile };
    let (input_count, output_count) = (inputs.len(), outputs.len());
    if input_count > PORTS || output_count > PORTS {
        let inputs: Vec<_> = inputs.collect();
        let mut outputs: Vec<_> = outputs.collect();
        return session.run(&inputs, &mut outputs, options).map_err(run_error);
    }
    let mut few_inputs: [&[u8]; PORTS] = [&[]; PORTS];
    let mut few_outputs: [&mut [u8]; PORTS] = std::array::from_fn(|_| Default::default());
    few_inputs.iter_mut().zip(inputs).for_each(|(slot, bytes)| *slot = bytes);
    few_outputs.iter_mut().zip(outputs).for_each(|(slot, bytes)| *slot = bytes);
    session.run(&few_inputs[..input_count], &mut few_outputs[..output_count], options).map_err(run_error)
}

/// The memory of an output.
pub(crate) fn bytes_mut<'a>(view: &'a mut TensorViewMut<'_>) -> &'a mut [u8] {
    // Safety: kernels write numbers of the output's own type; for bools these are 0 and 1.
    unsafe { view.bytes_mut() }
}

fn pack_error(error: PackError) -> Error {
    match error {
        PackError::Param(error) => Error::Parameter(error),
        PackError::Memory(error) => Error::System { message: error.to_string() },
        PackError::Region(error) => Error::internal("packing", error),
    }
}

fn run_error(error: RunError) -> Error {
    match error {
        RunError::Memory(error) => Error::System { message: error.to_string() },
        error @ (RunError::Count { .. } | RunError::Size { .. } | RunError::Region(_)) => {
            Error::internal("running", error)
        }
    }
}
