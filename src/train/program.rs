//! A compiled graph that runs on the bytes of the caller's tensors, in the order of its ports.

use crate::compiled::Compiled;
use crate::compiler::Compiler;
use crate::error::Error;
use crate::specialise::{self, CompileTimes, Specialisation};
use rectify_ir::bind::Bindings;
use rectify_ir::graph::Graph;
use rectify_ir::plan::Plan;
use rectify_runtime::packs::Parameters;
use rectify_runtime::profile::{Profile, StepTime};
use rectify_runtime::session;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Program {
    compiled: Compiled,
    specialisation: Arc<Specialisation>,
    session: session::Session,
    /// Time in the passes on the graph.
    passes: Duration,
    profile: Option<Profile>,
}

impl Program {
    /// Compiles a graph of known sizes with the compiler's options.
    pub fn new(compiler: &Compiler<'_>, graph: Graph, parameters: Parameters) -> Result<Program, Error> {
        let start = Instant::now();
        let compiled = compiler.compile_graph(graph, parameters)?;
        let specialisation = compiled.inner.specialisation(&Bindings::new())?;
        let times = specialisation.times();
        let passes = start.elapsed().saturating_sub(times.plan + times.code + times.pack);
        let session = specialisation.session(&compiled.inner)?;
        Ok(Program { compiled, specialisation, session, passes, profile: None })
    }

    pub fn plan(&self) -> &Arc<Plan> {
        self.specialisation.plan()
    }

    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    pub fn times(&self) -> (Duration, CompileTimes) {
        (self.passes, self.specialisation.times())
    }

    /// Runs on inputs and outputs in the plan's order.
    pub fn run(&mut self, inputs: &[&[u8]], outputs: Vec<&mut [u8]>) -> Result<(), Error> {
        let inner = &self.compiled.inner;
        let (inputs, outputs) = (inputs.iter().copied(), outputs.into_iter());
        specialise::run(&mut self.session, inner, inputs, outputs, self.profile.as_ref())
    }

    pub fn set_profiling(&mut self, on: bool) {
        let steps = self.plan().steps.len();
        self.profile = on.then(|| Profile::new(steps, self.compiled.inner.threads));
    }

    pub fn step_times(&self) -> Vec<StepTime> {
        self.profile.as_ref().map(Profile::steps).unwrap_or_default()
    }
}
