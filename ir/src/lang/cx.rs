//! The state of an elaboration: frames and scopes, reports, limits.

use std::collections::{HashMap, HashSet};

use super::module::{Def, Module};
use super::value::{Shared, Val};
use super::{MAX_CALL_DEPTH, MAX_STEPS};
use crate::diag::{Diagnostic, Diagnostics, Span};
use crate::graph::{EpStep, Graph, NodeSet, Value};
use crate::syntax::ast::{DefaultEntry, Function};
use crate::types::TensorType;

/// How deeply evaluation may nest over all calls; keeps the recursion within a thread's stack.
const MAX_DEPTH: u32 = 300;

/// The value is poison; a diagnostic has been pushed, or one was before.
pub struct Poisoned;
pub type Eval<T> = Result<T, Poisoned>;

pub struct Cx<'a, 'd> {
    pub modules: &'a [Module],
    pub diagnostics: &'d mut Diagnostics,
    pub graph: Graph,
    pub frames: Vec<Frame<'a>>,
    /// Parameters by full name, with the place that made each.
    pub params: HashMap<String, (Value, Span)>,
    /// Functions of the first module that have been entered.
    pub called: HashSet<String>,
    /// Names of sizes in the graph.
    pub sizes: HashSet<String>,
    /// Those that facts name and no input gives.
    pub data_dims: Vec<(&'a str, Span)>,
    /// Nodes that depend on parameters and numbers only.
    pub param_only: NodeSet,
    /// The layers being applied: their parameters are shared between applications.
    pub sharing: Vec<Shared>,
    /// `defaults` in force, innermost last: the entry and its value.
    pub defaults: Vec<(&'a DefaultEntry, Val<'a>)>,
    /// Constants of files, by module and name; `None` while being computed.
    pub consts: HashMap<(usize, &'a str), Option<Val<'a>>>,
    /// The epilogue being read.
    pub region: Option<RegionState>,
    steps: u64,
    depth: u32,
    /// A limit was passed: everything is poison from here on.
    pub aborted: bool,
    /// Places that have been reported; loops meet the same place again.
    reported: HashSet<(&'static str, Span)>,
}

/// A running model, block or constant.
pub struct Frame<'a> {
    pub module: usize,
    pub function: Option<&'a Function>,
    pub scopes: Vec<HashMap<&'a str, Val<'a>>>,
    /// Label path of the call, empty for a model.
    pub path: String,
    /// The call has no label: the name that it was given.
    pub ordinal: Option<String>,
    /// The path is a layer's, whatever the calls are that led here.
    pub fixed: bool,
    /// How many calls of an op or block have had no label.
    pub ordinals: HashMap<&'a str, u32>,
    /// The place of the call.
    pub site: Option<Span>,
}

/// Steps of an epilogue while they are read.
pub struct RegionState {
    /// Type of the accumulator and of every step.
    pub ty: TensorType,
    pub operands: Vec<Value>,
    pub steps: Vec<EpStep>,
}

impl<'a, 'd> Cx<'a, 'd> {
    pub fn new(modules: &'a [Module], diagnostics: &'d mut Diagnostics) -> Cx<'a, 'd> {
        Cx {
            modules,
            diagnostics,
            graph: Graph::default(),
            frames: Vec::new(),
            params: HashMap::new(),
            called: HashSet::new(),
            sizes: HashSet::new(),
            data_dims: Vec::new(),
            param_only: NodeSet::default(),
            sharing: Vec::new(),
            defaults: Vec::new(),
            consts: HashMap::new(),
            region: None,
            steps: 0,
            depth: 0,
            aborted: false,
            reported: HashSet::new(),
        }
    }

    /// The running function; there is one whenever an expression is evaluated.
    pub fn frame(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("an expression is evaluated within a frame")
    }

    pub fn module(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.module)
    }

    pub fn bind(&mut self, name: &'a str, value: Val<'a>) {
        if name != "_"
            && let Some(scope) = self.frame().scopes.last_mut()
        {
            scope.insert(name, value);
        }
    }

    /// A name of the running function.
    pub fn local(&self, name: &str) -> Option<&Val<'a>> {
        self.frames.last()?.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    /// What the module of the running function defines under a name, through `use` where it does.
    pub fn global(&self, name: &str) -> Option<(usize, &'a Def)> {
        let modules: &'a [Module] = self.modules;
        let module = self.module();
        match modules[module].names.get(name)? {
            Def::Import { module, name } => Some((*module, modules[*module].names.get(name.as_str())?)),
            def => Some((module, def)),
        }
    }

    /// A name of the file that has a value; functions are only called.
    pub fn is_constant(&self, name: &str) -> bool {
        matches!(self.global(name), Some((_, Def::Const(_) | Def::Broken)))
    }

    /// The module has had syntax errors or missing files, so an unknown name in it need not be an error of its own.
    pub fn in_broken_module(&self) -> bool {
        self.modules[self.module()].broken
    }

    /// Reports, with the calls that led here; the same error at the same place is reported once.
    pub fn report(&mut self, mut diagnostic: Diagnostic) -> Poisoned {
        if self.aborted {
            return Poisoned;
        }
        if let Some((span, _)) = diagnostic.labels.first()
            && !self.reported.insert((diagnostic.code, *span))
        {
            return Poisoned;
        }
        const CALLS_SHOWN: usize = 3;
        let primary = diagnostic.labels.first().map(|(span, _)| *span);
        // An error in the call's own arguments shows the call already.
        let elsewhere = |site: &Span| {
            primary
                .is_none_or(|span| span.file != site.file || span.start < site.start || span.end > site.end)
        };
        let calls = self
            .frames
            .iter()
            .rev()
            .filter_map(|frame| Some((frame.function?, frame.site.filter(elsewhere)?)));
        let calls: Vec<(Span, String)> = calls
            .take(CALLS_SHOWN)
            .map(|(f, site)| (site, format!("in this call of `{}`", f.name.text)))
            .collect();
        diagnostic.labels.extend(calls);
        self.diagnostics.push(diagnostic);
        Poisoned
    }

    pub fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: &str,
    ) -> Poisoned {
        self.report(Diagnostic::error(code, message).label(span, label))
    }

    /// Counts work; beyond the limit the elaboration ends with one error.
    pub fn step(&mut self, count: u64, span: Span) -> Eval<()> {
        self.steps = self.steps.saturating_add(count);
        if self.steps <= MAX_STEPS {
            return if self.aborted { Err(Poisoned) } else { Ok(()) };
        }
        let diagnostic =
            Diagnostic::error("E0601-too-much-work", format!("the model takes more than {MAX_STEPS} steps"))
                .label(span, "evaluation stops here")
                .help("shorten loops and lists");
        Err(self.abort(diagnostic))
    }

    pub fn abort(&mut self, diagnostic: Diagnostic) -> Poisoned {
        self.report(diagnostic);
        self.aborted = true;
        Poisoned
    }

    /// Runs `work` one level deeper.
    pub fn deeper<T>(&mut self, span: Span, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        self.step(1, span)?;
        if self.depth >= MAX_DEPTH {
            let diagnostic = Diagnostic::error("E0602-too-deep", "blocks and expressions nest too deeply")
                .label(span, format!("more than {MAX_DEPTH} levels, counted over all calls"))
                .help("use loops for repetition");
            return Err(self.abort(diagnostic));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Enters a frame unless it would recurse or nest too deeply.
    pub fn enter(&mut self, frame: Frame<'a>, site: Span) -> Eval<()> {
        let name = frame.function.map_or("a constant", |function| &function.name.text);
        let same = |other: &Frame<'a>| match (frame.function, other.function) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            _ => false,
        };
        if self.frames.iter().any(same) {
            let diagnostic = Diagnostic::error("E0603-recursion", format!("`{name}` calls itself"))
                .label(site, "this call leads back to it")
                .help("blocks cannot recurse; use `for` or `repeat`");
            return Err(self.report(diagnostic));
        }
        if self.frames.len() > MAX_CALL_DEPTH {
            let message = format!("calls nest more than {MAX_CALL_DEPTH} levels deep");
            return Err(self.error("E0602-too-deep", message, site, "one call too many"));
        }
        if let (0, Some(function)) = (frame.module, frame.function)
            && !self.called.contains(&function.name.text)
        {
            self.called.insert(function.name.text.clone());
        }
        self.frames.push(frame);
        Ok(())
    }

    pub fn scoped<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.frame().scopes.push(HashMap::new());
        let result = work(self);
        self.frame().scopes.pop();
        result
    }

    pub fn describe(&self, value: &Val<'a>) -> String {
        value.describe(&self.graph)
    }
}
