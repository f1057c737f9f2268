//! Options of a compilation, and the way from a model to a [`Compiled`].

use crate::compiled::Compiled;
use crate::error::Error;
use crate::model::Model;
use crate::variants::Variants;
use crate::{specialise, weights};
use rectify_ir::bind::Bindings;
use rectify_ir::graph::{Graph, Stage};
use rectify_ir::plan::{Algorithm, Plan};
use rectify_ir::target::{Level, Target};
use rectify_passes::{self as passes, ConvPolicy};
use rectify_runtime::Pool;
use rectify_runtime::cpu;
use rectify_runtime::packs::Parameters;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How exact products of f32 are, named as PyTorch names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    Highest,
    /// Three bf16 products for one of f32. Needs AMX kernels, which this version does not have.
    High,
    /// bf16 products. Needs AMX kernels, which this version does not have.
    Medium,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        match text {
            "highest" => Ok(Precision::Highest),
            "high" => Ok(Precision::High),
            "medium" => Ok(Precision::Medium),
            _ => Err("a precision is highest, high or medium".into()),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::Highest => "highest",
            Precision::High => "high",
            Precision::Medium => "medium",
        })
    }
}

/// Specialisations that are not running are kept up to this size.
const CACHE_BYTES: usize = 1 << 30;

/// A compilation to be: options by chaining, then [`compile`](Self::compile).
#[derive(Clone)]
pub struct Compiler<'m> {
    model: &'m Model,
    pub(crate) options: Options,
}

#[derive(Clone)]
pub(crate) struct Options {
    pub weights: Option<PathBuf>,
    pub seed: u64,
    pub threads: Option<usize>,
    pub target: Option<Level>,
    pub precision: Precision,
    pub flush_denormals: bool,
    pub convolutions: ConvPolicy,
    pub pool: Option<Pool>,
    pub sizes: Bindings,
    pub cache_bytes: usize,
    pub max_rewrites: Option<usize>,
    pub stop_after: Option<String>,
}

impl<'m> Compiler<'m> {
    pub(crate) fn new(model: &'m Model) -> Compiler<'m> {
        let options = Options {
            weights: None,
            seed: 0,
            threads: None,
            target: None,
            precision: Precision::Highest,
            flush_denormals: false,
            convolutions: ConvPolicy::Cheapest,
            pool: None,
            sizes: Bindings::new(),
            cache_bytes: CACHE_BYTES,
            max_rewrites: None,
            stop_after: None,
        };
        Compiler { model, options }
    }

    /// Takes all drawn parameters from this file (safetensors or npz) instead. It must have each of them, and no others.
    /// A safetensors file is mapped: like that of [`Model::open`], it must not be changed while what is compiled lives.
    #[must_use]
    pub fn weights(mut self, path: impl AsRef<Path>) -> Self {
        self.options.weights = Some(path.as_ref().to_path_buf());
        self
    }

    /// The seed of drawn parameters; 0 if this is not called.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Threads that a run takes at most; what the machine allows if this is not called. One thread spawns nothing.
    /// Results do not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = Some(threads);
        self
    }

    /// Code for this CPU level instead of the machine's own.
    #[must_use]
    pub fn target(mut self, level: Level) -> Self {
        self.options.target = Some(level);
        self
    }

    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.precision = precision;
        self
    }

    /// Treats denormal numbers as zero while computing. Off if this is not called.
    #[must_use]
    pub fn flush_denormals(mut self, flush: bool) -> Self {
        self.options.flush_denormals = flush;
        self
    }

    /// Whether convolutions may be computed by Winograd's minimal filtering, where that is faster. They may if this is
    /// not called. It rounds in another order, with errors of the same size, and spreads an infinity over a tile.
    #[must_use]
    pub fn winograd(mut self, allowed: bool) -> Self {
        self.options.convolutions = if allowed { ConvPolicy::Cheapest } else { ConvPolicy::NoWinograd };
        self
    }

    /// Computes convolutions and dense layers by this algorithm wherever it can, whatever it costs: for measurements
    /// and tests.
    #[must_use]
    pub fn convolutions(mut self, algorithm: Algorithm) -> Self {
        self.options.convolutions = ConvPolicy::Only(algorithm);
        self
    }

    /// Runs on this pool's threads instead of the process' own.
    #[must_use]
    pub fn pool(mut self, pool: &Pool) -> Self {
        self.options.pool = Some(pool.clone());
        self
    }

    /// Fixes a symbolic size of the model.
    #[must_use]
    pub fn size(mut self, name: impl Into<String>, value: i64) -> Self {
        self.options.sizes.insert(name.into(), value);
        self
    }

    /// How many bytes to keep for calls to come, of specialisations for sizes that may come again and of memory of sessions
    /// that no caller uses, each: 1 GiB if this is not called.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.options.cache_bytes = bytes;
        self
    }

    /// Ends rewriting after so many rewrites: to find by bisection the one that breaks a model.
    #[must_use]
    pub fn max_rewrites(mut self, rewrites: usize) -> Self {
        self.options.max_rewrites = Some(rewrites);
        self
    }

    /// Ends rewriting after the pass of this name; [`pass_names`] lists them.
    #[must_use]
    pub fn stop_after(mut self, pass: impl Into<String>) -> Self {
        self.options.stop_after = Some(pass.into());
        self
    }

    /// Rewrites the model, and makes its code and parameters if all sizes are known; else these follow at the first run
    /// of each size, or by [`prepare`](Compiled::prepare).
    ///
    /// # Errors
    /// Weights that do not fit, unknown sizes, options that this machine cannot serve.
    pub fn compile(self) -> Result<Compiled, Error> {
        let Some(variants) = Variants::new(self.model, &self.options) else {
            let rewritten = self.optimize(None)?;
            return Compiled::new(self, rewritten, None);
        };
        self.check_options()?;
        let graph = self.model.graph().clone();
        let (log, parameters) = (passes::Log::default(), Parameters::new(self.options.seed));
        let rewritten = Rewritten { typed: graph.clone(), graph, log, parameters };
        Compiled::new(self, rewritten, Some(variants))
    }

    pub(crate) fn model(&self) -> &'m Model {
        self.model
    }

    pub(crate) fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The optimised graph and the record of how it came about, without code and parameters.
    ///
    /// `after` is shown the graph after each pass.
    pub fn optimize(&self, after: Option<&AfterPass<'_>>) -> Result<Rewritten, Error> {
        self.check_options()?;
        self.model.closed()?;
        let (typed, parameters) = weights::resolve(self.model, &self.options)?;
        self.rewrite(typed, parameters, after)
    }

    /// Compiles a graph of known sizes that was derived from the model, with the model's parameters.
    pub(crate) fn compile_graph(&self, graph: Graph, parameters: Parameters) -> Result<Compiled, Error> {
        let mut compiler = self.clone();
        compiler.options.sizes.clear();
        let rewritten = compiler.rewrite(graph, parameters, None)?;
        Compiled::new(compiler, rewritten, None)
    }

    /// Runs the passes.
    fn rewrite(
        &self,
        typed: Graph,
        parameters: Parameters,
        after: Option<&AfterPass<'_>>,
    ) -> Result<Rewritten, Error> {
        let options = passes::Options {
            stop_after: self.options.stop_after.as_deref(),
            print_after: after,
            max_rewrites: self.options.max_rewrites,
            ..passes::Options::default()
        };
        let optimized = passes::optimize(&typed, &options).map_err(|error| match error {
            passes::PassError::UnknownPass { .. } => Error::option(error.to_string()),
            passes::PassError::Type { .. } => {
                Error::Format { name: self.model.name().to_owned(), message: error.to_string() }
            }
            passes::PassError::Unsupported { .. } => {
                Error::Unsupported { name: self.model.name().to_owned(), message: error.to_string() }
            }
            passes::PassError::Broken { .. } => Error::internal("passes", error),
        })?;
        Ok(Rewritten { typed, graph: optimized.graph, log: optimized.log, parameters })
    }

    /// Checks all options and the names, types and shapes of weights, as compiling does first of all.
    pub fn check(&self) -> Result<(), Error> {
        if !self.model.value_inputs().is_empty() {
            self.check_options()
        } else {
            self.source_graph().map(|_| ())
        }
    }

    /// The graph as written, with the sources of loaded weights, and the values of all parameters.
    pub fn source_graph(&self) -> Result<(Graph, Parameters), Error> {
        self.check_options()?;
        self.model.closed()?;
        weights::resolve(self.model, &self.options)
    }

    /// The graph as written, with the sizes that the options fix put in.
    pub fn sized_graph(&self) -> Result<Graph, Error> {
        let graph = self.source_graph()?.0;
        if self.options.sizes.is_empty() {
            Ok(graph)
        } else {
            Ok(rectify_ir::bind::bind(&graph, &self.options.sizes)?)
        }
    }

    /// Buffers and kernel calls for the sizes that the options fix, without code and parameters.
    pub fn plan(&self) -> Result<Plan, Error> {
        let rewritten = self.optimize(None)?;
        let target = target(self.options.target)?;
        let options = &self.options;
        let plan = specialise::plan(&rewritten.graph, &target, options.convolutions, &options.sizes)?.1;
        rectify_ir::plan::verify_order(&plan).map_err(|violation| Error::internal("planning", violation))?;
        Ok(plan)
    }

    fn check_options(&self) -> Result<(), Error> {
        if self.options.precision != Precision::Highest {
            return Err(Error::Option {
                message: format!("precision {} has no kernels yet", self.options.precision),
                help: Some("use the default, `highest`".into()),
            });
        }
        if self.options.threads == Some(0) {
            return Err(Error::option("at least one thread is needed"));
        }
        let graph = self.model.graph();
        let symbols = rectify_ir::bind::symbols(graph);
        for name in self.options.sizes.keys() {
            if !symbols.contains(name.as_str()) {
                let known = symbols.iter().map(|s| s.as_ref()).collect::<Vec<_>>();
                let help = match known.as_slice() {
                    [] => "all sizes of this model are fixed".to_owned(),
                    known => rectify_ir::diag::suggest(name, known.iter().copied())
                        .unwrap_or_else(|| format!("its dimensions are {}", known.join(", "))),
                };
                return Err(Error::Option {
                    message: format!("the model has no dimension `{name}`"),
                    help: Some(help),
                });
            }
        }
        if graph.stage == Stage::Optimized
            && (self.options.max_rewrites.is_some() || self.options.stop_after.is_some())
        {
            return Err(Error::option("the model is optimised already: there are no passes to stop"));
        }
        target(self.options.target).map(|_| ())
    }
}

/// Is shown a pass' name and the graph that it left.
pub type AfterPass<'a> = dyn Fn(&'static str, &Graph) + 'a;

/// A graph after the passes.
#[derive(Clone)]
pub struct Rewritten {
    /// As it went in: typed, with the sources of loaded weights.
    pub typed: Graph,
    pub graph: Graph,
    /// What each pass did, and what was refused and why.
    pub log: passes::Log,
    pub(crate) parameters: Parameters,
}

/// Names of the passes on the graph, in order, with a line on each.
pub fn pass_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    passes::PASSES.iter().map(|p| (p.name, p.about))
}

/// The best level that this CPU runs.
pub fn native_level() -> Level {
    if cfg!(target_arch = "aarch64") {
        return Level::Aarch64;
    }
    match cpu::Cpu::detect().level {
        Some(cpu::Level::V4) => Level::X86V4,
        Some(cpu::Level::V3) => Level::X86V3,
        Some(cpu::Level::V2) => Level::X86V2,
        Some(cpu::Level::V1) | None => Level::X86V1,
    }
}

/// The target of a level, if this CPU runs it.
pub(crate) fn target(level: Option<Level>) -> Result<Target, Error> {
    let native = native_level();
    let level = level.unwrap_or(native);
    let foreign = (level == Level::Aarch64) != (native == Level::Aarch64);
    if foreign || level > native {
        return Err(Error::Option {
            message: format!("this machine does not run code for {level}"),
            help: Some(format!("it runs {native} and what is below")),
        });
    }
    Ok(Target::wide(level))
}
