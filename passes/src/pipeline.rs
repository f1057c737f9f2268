//! The passes on the symbolic graph, as one list.

use crate::algebra::Limits;
use crate::log::{Log, Recorder};
use crate::{
    algebra, canonicalise, cleanup, decompose, fold_constants, fold_init, fuse_epilogues, sink_cuts,
};
use rectify_ir::dim::DimError;
use rectify_ir::graph::{Graph, Stage};
use rectify_ir::shape::infer_node;
use std::time::Instant;

/// One pass: its name in options, logs and dumps, and the reason for its place.
pub struct Pass {
    pub name: &'static str,
    pub about: &'static str,
    run: fn(&mut Graph, &Options<'_>, &mut Recorder) -> Result<(), PassError>,
}

/// The pipeline. Each pass stands after those whose result it needs.
#[rustfmt::skip]
pub static PASSES: &[Pass] = &[
    // First, because all later passes trust the types.
    Pass { name: "infer", about: "checks the types of all nodes",
        run: |g, _, _| infer(g) },
    // Before any rewrite: fans and gains are read off the layers and rectifiers as written.
    Pass { name: "fold_init", about: "resolves fans and gains of initialisations",
        run: |g, _, r| { fold_init::fold_init(g, r); Ok(()) } },
    // Before all that takes sizes for known: from here on, only outputs are cut.
    Pass { name: "sink_cuts", about: "computes with all that a size known at run time can be, and cuts the outputs",
        run: |g, _, _| sink_cuts::sink_cuts(g) },
    // After what looks at these operations as a whole, before what rewrites their parts.
    Pass { name: "decompose", about: "writes selections as simpler operations",
        run: |g, _, _| decompose::decompose(g) },
    // Before the algebra, which has no rules of associativity and commutativity.
    Pass { name: "canonicalise", about: "brings sums, products and rectifiers into one form",
        run: |g, _, r| { canonicalise::canonicalise(g, r); Ok(()) } },
    // Before constants are folded, because it makes the derivations that are folded.
    Pass { name: "algebra", about: "rewrites by equality saturation",
        run: |g, o, r| { algebra::algebra(g, o, r); Ok(()) } },
    // Before fusion, so that an epilogue reads finished parameters.
    Pass { name: "fold_constants", about: "computes small derivations, scales initialisations",
        run: |g, o, r| { fold_constants::fold_constants(g, o.values, r); Ok(()) } },
    // After everything that looks at single operations.
    Pass { name: "fuse_epilogues", about: "moves elementwise work into the operation before it",
        run: |g, _, r| { fuse_epilogues::fuse_epilogues(g, r); Ok(()) } },
    // Last: the numbers of nodes in the text follow the final order.
    Pass { name: "cleanup", about: "removes dead nodes, numbers the others in order",
        run: |g, _, _| { cleanup::cleanup(g); Ok(()) } },
];

/// Whether initialisations tell values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParamValues {
    /// Parameters get what their source says: a constant initialisation is a fact, and a scale may be merged into an
    /// initialisation. Whoever loads weights for a parameter puts `Source::File` (or `Data`) in the graph *before*.
    #[default]
    FromSources,
    /// Parameters that are drawn may get other values later, as in training or when weights are swapped: initialisations
    /// say nothing and stay as they are.
    Replaceable,
}

/// Shows the graph after a pass.
pub type PrintAfter<'a> = dyn Fn(&'static str, &Graph) + 'a;

/// How to optimise.
pub struct Options<'a> {
    /// The last pass to run, by name.
    pub stop_after: Option<&'a str>,
    /// Called after each pass.
    pub print_after: Option<&'a PrintAfter<'a>>,
    /// Most rewrites over all passes: to find by bisection the one that breaks a model.
    pub max_rewrites: Option<usize>,
    /// Check the graph after each pass.
    pub verify: bool,
    pub values: ParamValues,
    pub limits: Limits,
    /// The only rules of the algebra to use, by name; all without it.
    pub only_rules: Option<&'a [&'a str]>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            stop_after: None,
            print_after: None,
            max_rewrites: None,
            verify: cfg!(debug_assertions),
            values: ParamValues::default(),
            limits: Limits { iterations: 24, nodes: 4_000 },
            only_rules: None,
        }
    }
}

/// A rewritten graph with the record of how it came about.
#[derive(Clone, Debug)]
pub struct Optimized {
    pub graph: Graph,
    pub log: Log,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    #[error("there is no pass `{name}`; the passes are {}", names())]
    UnknownPass { name: String },
    /// The model is at fault.
    #[error("{at}: {message}")]
    Type { at: String, message: String },
    /// The model needs what the compiler does not do.
    #[error("{at}: {message}")]
    Unsupported { at: String, message: String },
    /// A bug of the pass.
    #[error("after the pass {pass}: {}", violations.join("; "))]
    Broken { pass: &'static str, violations: Vec<String> },
}

impl From<DimError> for PassError {
    fn from(error: DimError) -> PassError {
        PassError::Unsupported { at: "a size".into(), message: error.to_string() }
    }
}

fn names() -> String {
    PASSES.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")
}

/// Runs the pipeline. A graph that says that it is optimised already, as a dump does, comes back as it is.
///
/// The result depends on the graph and the options alone: not on machine, thread, run or hash seeds.
pub fn optimize(graph: &Graph, options: &Options<'_>) -> Result<Optimized, PassError> {
    if let Some(name) = options.stop_after
        && !PASSES.iter().any(|p| p.name == name)
    {
        return Err(PassError::UnknownPass { name: name.into() });
    }
    let mut graph = graph.clone();
    let mut recorder = Recorder::new(options.max_rewrites);
    if graph.stage == Stage::Optimized {
        return Ok(Optimized { graph, log: recorder.log });
    }
    let last = PASSES[PASSES.len() - 1].name;
    for pass in PASSES {
        let (start, before) = (Instant::now(), graph.len());
        recorder.begin(pass.name);
        (pass.run)(&mut graph, options, &mut recorder)?;
        if pass.name == last {
            graph.stage = Stage::Optimized;
        }
        recorder.end(start.elapsed(), before, graph.len());
        if options.verify {
            verify(&graph, pass.name)?;
        }
        if let Some(print) = options.print_after {
            print(pass.name, &graph);
        }
        if options.stop_after == Some(pass.name) {
            break;
        }
    }
    Ok(Optimized { graph, log: recorder.finish() })
}

fn infer(graph: &Graph) -> Result<(), PassError> {
    for node in graph.topo_order() {
        let n = graph.node(node);
        let fail = |message: String| PassError::Type { at: crate::log::label(graph, node), message };
        let types = infer_node(graph, n).map_err(|e| fail(e.to_string()))?;
        if types != n.types {
            return Err(fail("the type of the node is not what its operands give".into()));
        }
    }
    Ok(())
}

fn verify(graph: &Graph, pass: &'static str) -> Result<(), PassError> {
    rectify_ir::verify::verify(graph)
        .map_err(|all| PassError::Broken { pass, violations: all.iter().map(ToString::to_string).collect() })
}
