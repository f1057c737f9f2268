//! What the passes did, how long it took, and why a rewrite that looked possible was refused.

use crate::init_analysis::InitWarning;
use rectify_ir::graph::{Graph, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The record of one run of the pipeline.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In order of execution.
    pub passes: Vec<PassLog>,
    pub refusals: Vec<Refusal>,
    /// Found while initialisations were resolved.
    pub warnings: Vec<InitWarning>,
    /// Rewrites done, over all passes.
    pub rewrites: usize,
    /// True where `max_rewrites` ended the run early.
    pub out_of_rewrites: bool,
}

/// The record of one pass.
#[derive(Clone, Debug)]
pub struct PassLog {
    pub name: &'static str,
    pub time: Duration,
    pub nodes_before: usize,
    pub nodes_after: usize,
    /// How often each rule fired, by name.
    pub firings: BTreeMap<String, usize>,
}

/// A rewrite that was considered and not done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub pass: &'static str,
    pub rule: String,
    /// Label of the node it would have changed.
    pub at: String,
    pub reason: Reason,
}

/// Why a rewrite was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The value is read elsewhere, so the work would be done twice.
    UsedElsewhere { uses: usize },
    /// The value is an output of the model.
    IsOutput,
    /// A shift of the input does not reach the zeros that padding puts around it.
    PaddedConvolution,
    /// A transposed convolution's border elements have fewer taps than its inner ones.
    TransposedBorder,
    /// Zeros could win over negative elements; only -inf never wins.
    PadValue { value: String },
    /// The padding does not fit the window's own.
    PadShape,
    /// A negative slope or factor turns the order of elements round.
    NegativeFactor,
    /// The form takes slopes of 0 to 1 alone.
    FactorOutside,
    /// Sign or size of a slope or factor is not known before parameters are loaded.
    UnknownFactor,
    /// The factor differs along axes that the operation mixes.
    FactorVaries,
    /// A number would have to become a vector without a parameter to add it to.
    NoBias,
    /// The consumer changes the shape, so it is no work on the finished element.
    ShapeChanges,
    /// The element type is not f32.
    ElementType,
    /// The program would be longer than the kernels take.
    TooManySteps { limit: usize },
    /// More tensors than the kernels take.
    TooManyOperands { limit: usize },
    /// The other operand depends on the result itself.
    Cycle,
    /// The operation takes no epilogue.
    NoEpilogue,
    /// The result of the algebra was not cheaper than what was there.
    NotCheaper { before: u64, after: u64 },
    /// The result would be larger than is kept as values.
    TooLarge { bytes: usize, limit: usize },
    /// The values are in a file or drawn later.
    ValuesUnknown,
    /// Limits on nodes or iterations ended the search before it was complete.
    Limit { iterations: usize, nodes: usize },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::UsedElsewhere { uses } => write!(f, "the value is read {uses} times"),
            Reason::IsOutput => f.write_str("the value is an output of the model"),
            Reason::PaddedConvolution => {
                f.write_str("the convolution pads with zeros, which the shift would not reach")
            }
            Reason::TransposedBorder => {
                f.write_str("border elements of a transposed convolution have fewer taps than inner ones")
            }
            Reason::PadValue { value } => write!(f, "the padding is {value}, which could win over elements"),
            Reason::PadShape => f.write_str("the padding does not fit the window's own"),
            Reason::NegativeFactor => f.write_str("a factor is negative"),
            Reason::FactorOutside => f.write_str("a slope is negative or above 1"),
            Reason::UnknownFactor => f.write_str("the factor is not known before parameters are loaded"),
            Reason::FactorVaries => f.write_str("the factor varies along an axis that the operation mixes"),
            Reason::NoBias => f.write_str("there is no bias to add the number to"),
            Reason::ShapeChanges => f.write_str("the consumer changes the shape"),
            Reason::ElementType => f.write_str("the element type is not f32"),
            Reason::TooManySteps { limit } => write!(f, "more than {limit} steps"),
            Reason::TooManyOperands { limit } => write!(f, "more than {limit} tensors"),
            Reason::Cycle => f.write_str("the other operand depends on the result"),
            Reason::NoEpilogue => f.write_str("the operation takes no epilogue"),
            Reason::NotCheaper { before, after } => {
                write!(f, "the cost would go from {before} to {after}")
            }
            Reason::TooLarge { bytes, limit } => write!(f, "{bytes} bytes, more than {limit}"),
            Reason::ValuesUnknown => f.write_str("the values are not known yet"),
            Reason::Limit { iterations, nodes } => {
                write!(f, "stopped after {iterations} iterations at {nodes} nodes")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.rule, self.at, self.reason)
    }
}

/// The log while it is written, with the count of rewrites that may still be done.
pub(crate) struct Recorder {
    pub log: Log,
    max_rewrites: Option<usize>,
    pass: &'static str,
    firings: BTreeMap<String, usize>,
    refusals: BTreeSet<Refusal>,
}

impl Recorder {
    pub fn new(max_rewrites: Option<usize>) -> Recorder {
        Recorder {
            log: Log::default(),
            max_rewrites,
            pass: "",
            firings: BTreeMap::new(),
            refusals: BTreeSet::new(),
        }
    }

    pub fn begin(&mut self, pass: &'static str) {
        self.pass = pass;
        self.firings.clear();
    }

    pub fn end(&mut self, time: Duration, nodes_before: usize, nodes_after: usize) {
        let firings = std::mem::take(&mut self.firings);
        self.log.passes.push(PassLog { name: self.pass, time, nodes_before, nodes_after, firings });
    }

    /// True where one more rewrite may be done.
    pub fn may_fire(&mut self) -> bool {
        let may = self.max_rewrites.is_none_or(|max| self.log.rewrites < max);
        self.log.out_of_rewrites |= !may;
        may
    }

    /// Counts a rewrite that was done.
    pub fn fired(&mut self, rule: &str) {
        self.fired_together([rule]);
    }

    /// Counts one rewrite that several rules made together.
    pub fn fired_together<'r>(&mut self, rules: impl IntoIterator<Item = &'r str>) {
        self.log.rewrites += 1;
        for rule in rules {
            match self.firings.get_mut(rule) {
                Some(n) => *n += 1,
                None => {
                    self.firings.insert(rule.to_string(), 1);
                }
            }
        }
    }

    /// Asks for one rewrite and counts it: false where no more are allowed.
    pub fn fire(&mut self, rule: &str) -> bool {
        let may = self.may_fire();
        if may {
            self.fired(rule);
        }
        may
    }

    pub fn refuse(&mut self, rule: &str, at: impl Into<String>, reason: Reason) {
        self.refusals.insert(Refusal { pass: self.pass, rule: rule.to_string(), at: at.into(), reason });
    }

    /// The finished log.
    pub fn finish(mut self) -> Log {
        self.log.refusals = self.refusals.into_iter().collect();
        self.log
    }
}

/// How messages call a node: its label, else its operation and number.
pub fn label(graph: &Graph, node: NodeId) -> String {
    let n = graph.node(node);
    match &n.name {
        Some(name) => name.to_string(),
        None => format!("{} {node}", n.op.name()),
    }
}
