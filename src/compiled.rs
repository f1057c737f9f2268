//! A compiled model: the optimised graph, and code with packed parameters for each set of sizes it has met.

use crate::compiler::{Compiler, Options, Rewritten, target};
use crate::error::Error;
use crate::idle::Idle;
use crate::meta::{ParameterInfo, PortInfo};
use crate::outputs::Outputs;
use crate::session::Session;
use crate::specialise::{CompileTimes, Specialisation};
use crate::variants::{Variant, Variants};
use rectify_codegen::jit::KernelCache;
use rectify_ir::Graph;
use rectify_ir::bind::{self, Bindings};
use rectify_ir::plan::Plan;
use rectify_passes::Log;
use rectify_runtime::packs::{PackCache, Parameters};
use rectify_runtime::pool::default_threads;
use rectify_runtime::{Pool, Tensor, TensorView, TensorViewMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A model ready to run. Cheap to clone; clones and threads share code and parameters.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub typed: Graph,
    pub graph: Graph,
    pub log: Log,
    pub options: Options,
    pub parameters: Parameters,
    pub pool: Pool,
    pub threads: usize,
    pub kernels: KernelCache,
    pub packs: PackCache,
    pub inputs: Vec<PortInfo>,
    pub output_names: Arc<[Arc<str>]>,
    /// Compilations for values of inputs that shapes depend on. The graph itself then has inputs only, and cannot run.
    pub variants: Option<Variants>,
    pub idle: Idle,
    cache: Mutex<Cache>,
    /// Held while a specialisation is made, so that nobody makes the same twice.
    making: Mutex<()>,
}

/// Specialisations by use, the latest at the end.
#[derive(Default)]
struct Cache {
    entries: Vec<Arc<Specialisation>>,
}

impl Compiled {
    pub(crate) fn new(
        compiler: Compiler<'_>,
        rewritten: Rewritten,
        variants: Option<Variants>,
    ) -> Result<Compiled, Error> {
        let options = compiler.options;
        let Rewritten { typed, graph, log, parameters } = rewritten;
        let pool = match (&options.pool, options.threads) {
            (Some(pool), _) => pool.clone(),
            (None, None) => Pool::global().clone(),
            (None, Some(threads)) if threads > 1 && threads == default_threads() => Pool::global().clone(),
            // Parameters are packed by all threads of a pool, so fewer threads are a pool of their own.
            (None, Some(threads)) => Pool::new(threads),
        };
        let threads = options.threads.unwrap_or_else(|| pool.threads()).min(pool.threads());
        let target = target(options.target)?;
        let inner = Inner {
            inputs: PortInfo::inputs(&graph),
            output_names: graph.outputs.iter().map(|o| o.name.clone()).collect(),
            kernels: KernelCache::new(target),
            packs: PackCache::default(),
            variants,
            idle: Idle::default(),
            cache: Mutex::default(),
            making: Mutex::default(),
            typed,
            graph,
            log,
            options,
            parameters,
            pool,
            threads,
        };
        let compiled = Compiled { inner: Arc::new(inner) };
        let missing = bind::symbols(&compiled.inner.graph)
            .iter()
            .any(|s| !compiled.inner.options.sizes.contains_key(s.as_ref()));
        if !missing && compiled.inner.variants.is_none() {
            // The memory is made when it is used first: many a model is compiled only to look at it.
            compiled.inner.specialisation(&compiled.inner.options.sizes)?;
        }
        Ok(compiled)
    }

    /// Runs the model on inputs by name. Code for sizes that were not met before is made first.
    ///
    /// # Errors
    /// Inputs that are missing, unknown, or of the wrong type or shape.
    pub fn run(&self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let ordered = self.inner.ordered(inputs)?;
        if let Some(variant) = self.variant(&|at| ordered[at])? {
            return variant.compiled.run(&variant.inputs(inputs));
        }
        let specialisation = self.inner.specialisation(&self.inner.solve(&ordered)?)?;
        let mut tensors = specialisation.outputs()?;
        let mut views: Vec<_> = tensors.iter_mut().map(Tensor::view_mut).collect();
        specialisation.run(&self.inner, &ordered, &mut views)?;
        if specialisation.is_cut() {
            let cut = specialisation.cut(&tensors)?;
            tensors.truncate(self.inner.output_names.len());
            tensors = tensors.into_iter().zip(cut).map(|(tensor, cut)| cut.unwrap_or(tensor)).collect();
        }
        Ok(Outputs { names: self.inner.output_names.clone(), tensors })
    }

    /// As [`run`](Self::run), into the caller's memory: every output by name, in any order.
    pub fn run_into(
        &self,
        inputs: &[(&str, TensorView<'_>)],
        outputs: &mut [(&str, TensorViewMut<'_>)],
    ) -> Result<(), Error> {
        let ordered = self.inner.ordered(inputs)?;
        if let Some(variant) = self.variant(&|at| ordered[at])? {
            return variant.compiled.run_into(&variant.inputs(inputs), outputs);
        }
        let specialisation = self.inner.specialisation(&self.inner.solve(&ordered)?)?;
        let mut views = self.inner.ordered_outputs(&specialisation, outputs)?;
        specialisation.run(&self.inner, &ordered, &mut views)
    }

    /// A place to run again and again without allocating; one run at a time.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// Makes code, parameters and memory for these sizes now instead of at the first run.
    pub fn prepare(&self, sizes: &[(&str, i64)]) -> Result<(), Error> {
        let session = self.inner.specialisation(&self.inner.sizes(sizes)?)?.session(&self.inner)?;
        session.touch();
        self.inner.idle.put(session, self.inner.options.cache_bytes);
        Ok(())
    }

    /// The optimised graph. Its `Display` is a model that runs, with the same results.
    pub fn graph(&self) -> &Graph {
        &self.inner.graph
    }

    /// The graph before the passes, with the sources of loaded weights.
    pub fn typed_graph(&self) -> &Graph {
        &self.inner.typed
    }

    /// What the passes did, and what they refused to do and why.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Buffers and steps for these sizes; none are needed where the model's are fixed.
    pub fn plan(&self, sizes: &[(&str, i64)]) -> Result<Arc<Plan>, Error> {
        Ok(self.inner.specialisation(&self.inner.sizes(sizes)?)?.plan().clone())
    }

    /// Where the time went when these sizes were prepared.
    pub fn compile_times(&self, sizes: &[(&str, i64)]) -> Result<CompileTimes, Error> {
        Ok(self.inner.specialisation(&self.inner.sizes(sizes)?)?.times())
    }

    /// The values that inputs give to the model's symbolic sizes.
    pub fn sizes_of(&self, inputs: &[(&str, TensorView<'_>)]) -> Result<Bindings, Error> {
        let ordered = self.inner.ordered(inputs)?;
        match self.variant(&|at| ordered[at])? {
            Some(variant) => variant.compiled.sizes_of(&variant.inputs(inputs)),
            None => self.inner.solve(&ordered),
        }
    }

    /// The compilation for the values of these inputs, where shapes depend on values.
    pub(crate) fn variant<'v>(
        &self,
        input: &dyn Fn(usize) -> TensorView<'v>,
    ) -> Result<Option<Variant>, Error> {
        self.inner.variants.as_ref().map(|variants| variants.find(input)).transpose()
    }

    pub fn inputs(&self) -> &[PortInfo] {
        &self.inner.inputs
    }

    pub fn outputs(&self) -> Vec<PortInfo> {
        PortInfo::outputs(&self.inner.graph)
    }

    /// The parameters of the optimised graph.
    pub fn parameters(&self) -> Vec<ParameterInfo> {
        ParameterInfo::all(&self.inner.graph)
    }

    /// Threads that a run takes at most.
    pub fn threads(&self) -> usize {
        self.inner.threads
    }
}

impl Inner {
    /// The inputs in the model's order.
    pub fn ordered<'v>(&self, inputs: &[(&str, TensorView<'v>)]) -> Result<Vec<TensorView<'v>>, Error> {
        if let Some((name, _)) =
            inputs.iter().find(|(name, _)| !self.inputs.iter().any(|p| p.name.as_ref() == *name))
        {
            let known: Vec<_> = self.inputs.iter().map(|p| format!("`{}`", p.name)).collect();
            return Err(Error::tensor(format!(
                "the model has no input `{name}`; its inputs are {}",
                known.join(", ")
            )));
        }
        self.inputs
            .iter()
            .map(|port| {
                let mut given = inputs.iter().filter(|(name, _)| *name == port.name.as_ref());
                let (_, view) = given.next().ok_or_else(|| {
                    Error::tensor(format!("the input `{}` is missing: it is {}", port.name, port.ty))
                })?;
                if given.next().is_some() {
                    return Err(Error::tensor(format!("the input `{}` is given twice", port.name)));
                }
                if view.dtype() != port.ty.dtype {
                    let (have, want) = (view.dtype(), &port.ty);
                    return Err(Error::tensor(format!(
                        "the input `{}` is {want}, but {have} is given",
                        port.name
                    )));
                }
                Ok(*view)
            })
            .collect()
    }

    /// The outputs in the model's order, each of the plan's shape.
    pub fn ordered_outputs<'v>(
        &self,
        specialisation: &Specialisation,
        outputs: &'v mut [(&str, TensorViewMut<'_>)],
    ) -> Result<Vec<TensorViewMut<'v>>, Error> {
        if specialisation.is_cut() {
            return Err(Error::option("sizes of outputs are known after a run alone: call `run` instead"));
        }
        let ports = &specialisation.plan().outputs;
        let mut slots: Vec<Option<TensorViewMut<'v>>> = ports.iter().map(|_| None).collect();
        for (name, view) in outputs {
            let Some(at) = ports.iter().position(|p| p.name == *name) else {
                let known: Vec<_> = ports.iter().map(|p| format!("`{}`", p.name)).collect();
                let known = known.join(", ");
                return Err(Error::tensor(format!(
                    "the model has no output `{name}`; its outputs are {known}"
                )));
            };
            let (port, view) = (&ports[at], view.reborrow());
            if view.dtype() != port.dtype || view.shape() != port.shape {
                let (have, shape) = (view.dtype(), view.shape());
                let want = format!("{}{:?}", port.dtype, port.shape);
                return Err(Error::tensor(format!(
                    "the output `{name}` is {want}, but {have}{shape:?} is given"
                )));
            }
            if slots[at].replace(view).is_some() {
                return Err(Error::tensor(format!("the output `{name}` is given twice")));
            }
        }
        match slots.iter().position(Option::is_none) {
            Some(at) => Err(Error::tensor(format!("the output `{}` is missing", ports[at].name))),
            None => Ok(slots.into_iter().flatten().collect()),
        }
    }

    /// The sizes that inputs in the model's order imply.
    pub fn solve(&self, inputs: &[TensorView<'_>]) -> Result<Bindings, Error> {
        let shape = |v: &TensorView<'_>| v.shape().iter().map(|d| *d as i64).collect();
        let shapes = self.inputs.iter().zip(inputs).map(|(p, v)| (p.name.to_string(), shape(v))).collect();
        let mut sizes = bind::solve(&self.graph, &shapes)?;
        for (name, value) in &self.options.sizes {
            match sizes.insert(name.clone(), *value) {
                Some(found) if found != *value => {
                    return Err(Error::Sizes(bind::BindError::Conflict {
                        symbol: name.clone(),
                        first: *value,
                        first_place: "the options".into(),
                        second: found,
                        second_place: "the inputs".into(),
                    }));
                }
                Some(_) | None => {}
            }
        }
        Ok(sizes)
    }

    /// The sizes that were fixed when compiling, and these.
    fn sizes(&self, sizes: &[(&str, i64)]) -> Result<Bindings, Error> {
        let mut all = self.options.sizes.clone();
        all.extend(sizes.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        Ok(all)
    }

    /// The code for these sizes, from the cache or made now.
    pub fn specialisation(&self, sizes: &Bindings) -> Result<Arc<Specialisation>, Error> {
        if self.variants.is_some() {
            let message = "shapes of this model depend on values of inputs: nothing is known without them";
            return Err(Error::option(message));
        }
        if let Some(found) = self.cached(sizes) {
            return Ok(found);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.cached(sizes) {
            return Ok(found);
        }
        let made = Arc::new(Specialisation::new(self, sizes.clone())?);
        let mut cache = self.cache();
        cache.entries.push(made.clone());
        // The newest stays, however large it is.
        let mut bytes: usize = cache.entries.iter().map(|e| e.memory_bytes()).sum();
        while bytes > self.options.cache_bytes && cache.entries.len() > 1 {
            bytes -= cache.entries.remove(0).memory_bytes();
        }
        Ok(made)
    }

    fn cached(&self, sizes: &Bindings) -> Option<Arc<Specialisation>> {
        let mut cache = self.cache();
        let at = cache.entries.iter().position(|e| e.sizes() == sizes)?;
        let entry = cache.entries.remove(at);
        cache.entries.push(entry.clone());
        Some(entry)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Entries are whole at any time, so a panic elsewhere leaves nothing broken.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compiled({}, {} threads)", self.inner.graph.name, self.inner.threads)
    }
}
