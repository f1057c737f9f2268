//! A compiled training step with its state.

use super::glob;
use super::mask::MaskDraw;
use super::measure::{Predictor, SignalProbe};
use super::ports::{Ports, RATE, RESERVED};
use super::program::Program;
use super::state::States;
use super::target::Expected;
use crate::compiler::{Compiler, Options};
use crate::error::Error;
use crate::model::Model;
use crate::specialise::CompileTimes;
use rectify_ir::bind::{bind, solve};
use rectify_ir::graph::Graph;
use rectify_ir::plan::Plan;
use rectify_passes as passes;
use rectify_passes::training::{Loss, Optimiser, Recipe, TrainingError, TrainingStep, training_step};
use rectify_runtime::TensorView;
use rectify_runtime::packs::Parameters;
use rectify_runtime::profile::StepTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is minimised, how, and which parameters keep their values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    pub loss: Loss,
    pub optimiser: Optimiser,
    /// Gradients are scaled down so that the norm over all of them is this at most.
    pub clip: Option<f64>,
    /// Whether slopes, biases and parameters of normalisations decay as weights do.
    pub decay_all: bool,
    /// Parameters whose full names match one of these patterns stay as they are: `*` stands for any text, `?` for one
    /// character.
    pub freeze: Vec<String>,
}

impl Method {
    /// Without clipping, every parameter free, weights alone decaying.
    pub fn new(loss: Loss, optimiser: Optimiser) -> Method {
        Method { loss, optimiser, clip: None, decay_all: false, freeze: Vec::new() }
    }

    pub(super) fn frozen(&self, name: &str) -> bool {
        self.freeze.iter().any(|p| glob::matches(p, name))
    }
}

/// What a step found before it moved the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Mean over the batch.
    pub loss: f64,
    /// Of a cross-entropy: how many rows have their label's logit as the greatest.
    pub correct: Option<f64>,
    /// With clipping: the norm over all gradients before it.
    pub gradient_norm: Option<f64>,
}

/// A model in training at one batch size: forward pass, loss, gradients and update as one compiled graph, and the values
/// that it moves. Results have the same bits for every number of threads.
pub struct Trainer {
    pub(super) method: Method,
    /// The compiler's model and options, for the graphs that are compiled later.
    source: (Model, Options),
    /// At the sizes of the batch, initialisations resolved.
    pub(super) model: Graph,
    pub(super) parameters: Parameters,
    program: Program,
    ports: Ports,
    masks: Vec<MaskDraw>,
    pub(super) states: States,
    /// Name and shape of the model's input.
    pub(super) input: (Arc<str>, Vec<usize>),
    pub(super) expected: Expected,
    pub(super) steps: u64,
    pub(super) predictor: Option<Box<Predictor>>,
    pub(super) probe: Option<Box<SignalProbe>>,
    /// Time before the compilation: gradients, and values of parameters.
    prepared: Duration,
}

impl Trainer {
    /// Compiles the training step of the compiler's model for inputs of this shape, whose first axis is the batch, and draws
    /// or loads the parameters. Of the compiler's options weights, seed, threads and target hold.
    ///
    /// # Errors
    /// A model that cannot be trained, a shape that does not fit it, a pattern that names no parameter.
    pub fn new(compiler: &Compiler<'_>, method: &Method, shape: &[usize]) -> Result<Trainer, Error> {
        let start = Instant::now();
        let (typed, parameters) = compiler.source_graph()?;
        let only = passes::Options { stop_after: Some("fold_init"), ..passes::Options::default() };
        let folded = passes::optimize(&typed, &only).map_err(|e| Error::internal("fold_init", e))?.graph;
        check_patterns(&folded, &method.freeze)?;
        let (input, model) = sized(&folded, compiler, shape)?;
        let output = model.outputs.first().and_then(|o| model.ty(o.value).const_shape()).unwrap_or_default();
        let expected = Expected::new(method.loss, output)?;
        let Method { loss, optimiser, clip, decay_all, .. } = *method;
        let recipe = Recipe { loss, optimiser, clip, decay_all, frozen: &|name| method.frozen(name) };
        let refuse =
            |e: TrainingError| Error::Unsupported { name: model.name.clone(), message: e.to_string() };
        let TrainingStep { graph, state, masks } = training_step(&model, &recipe).map_err(refuse)?;
        let states = States::start(state, &model, &parameters)?;
        let draw = |mask| MaskDraw::new(mask, parameters.seed());
        let masks: Vec<MaskDraw> = masks.into_iter().map(draw).collect::<Result<_, _>>()?;
        let prepared = start.elapsed();
        let program = Program::new(compiler, graph, parameters.clone())?;
        let ports = Ports::new(program.plan(), &input, &states, &masks)?;
        Ok(Trainer {
            method: method.clone(),
            source: (compiler.model().clone(), compiler.options.clone()),
            model,
            parameters,
            program,
            ports,
            masks,
            states,
            input: (input, shape.to_vec()),
            expected,
            steps: 0,
            predictor: None,
            probe: None,
            prepared,
        })
    }

    pub(super) fn compiler(&self) -> Compiler<'_> {
        self.source.0.compiler().with_options(self.source.1.clone())
    }

    /// One step at this learning rate, on inputs with the labels of a cross-entropy (`u32`, one a row) or with targets of
    /// the output's shape.
    ///
    /// # Errors
    /// Types or shapes that are not the compiled ones; labels beyond the model's classes. Nothing has moved then.
    pub fn step(
        &mut self,
        inputs: TensorView<'_>,
        target: TensorView<'_>,
        rate: f64,
    ) -> Result<Outcome, Error> {
        self.check_inputs(inputs)?;
        let target = self.expected.bytes(target)?;
        self.ports.set(RATE, rate);
        if let Optimiser::AdamW { beta1, beta2, .. } = self.method.optimiser {
            // Steps beyond the integers of f64 leave the powers at 0, where they are long before.
            let correction = |beta: f64| 1.0 / (1.0 - beta.powf((self.steps + 1) as f64));
            self.ports.set("first_correction", correction(beta1));
            self.ports.set("second_correction", correction(beta2));
        }
        for mask in &mut self.masks {
            mask.draw(self.steps)?;
        }
        let (inputs, outputs) = self.ports.bytes(inputs.bytes(), target, &self.masks, &mut self.states);
        self.program.run(&inputs, outputs)?;
        self.states.swap();
        self.steps += 1;
        let loss = self.ports.get("loss").unwrap_or(f64::NAN);
        let (correct, gradient_norm) = (self.ports.get("correct"), self.ports.get("gradient_norm"));
        Ok(Outcome { loss, correct, gradient_norm })
    }

    pub(super) fn check_inputs(&self, inputs: TensorView<'_>) -> Result<(), Error> {
        if inputs.shape() != self.input.1 {
            let ((name, want), got) = (&self.input, inputs.shape());
            return Err(Error::tensor(format!(
                "the input `{name}` of this training step is {want:?}, not {got:?}"
            )));
        }
        Ok(inputs.as_slice::<f32>().map(|_| ())?)
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Parameters that move, by their full names, in the model's order; running statistics among them.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, TensorView<'_>)> {
        let parameters = self.states.iter().filter(|(s, _)| s.is_parameter());
        parameters.map(|(s, values)| (&*s.input, values))
    }

    /// Classes of the model, if its loss is a cross-entropy.
    pub fn classes(&self) -> Option<usize> {
        self.expected.classes()
    }

    /// Shape of the model's output for a batch.
    pub fn output(&self) -> &[usize] {
        self.expected.output()
    }

    /// Threads that a step takes at most.
    pub fn threads(&self) -> usize {
        self.program.compiled().threads()
    }

    /// Buffers and kernel calls of a step.
    pub fn plan(&self) -> &Arc<Plan> {
        self.program.plan()
    }

    /// Time to derive the step and draw the parameters, in the passes, and from there to something that runs.
    pub fn compile_times(&self) -> (Duration, Duration, CompileTimes) {
        let (passes, rest) = self.program.times();
        (self.prepared, passes, rest)
    }

    /// Measures the time of every kernel call from now on; see [`step_times`](Self::step_times).
    pub fn set_profiling(&mut self, on: bool) {
        self.program.set_profiling(on);
    }

    /// Times of the plan's steps, summed since profiling began.
    pub fn step_times(&self) -> Vec<StepTime> {
        self.program.step_times()
    }
}

/// The name of the only input, and the model at the sizes that its shape tells.
fn sized(model: &Graph, compiler: &Compiler<'_>, shape: &[usize]) -> Result<(Arc<str>, Graph), Error> {
    let refuse = |message: String| Error::Unsupported { name: model.name.clone(), message };
    let [input] = model.inputs() else {
        return Err(refuse(format!(
            "a model in training has one input, but this one has {}",
            model.inputs().len()
        )));
    };
    let name = model.node(*input).name.clone().unwrap_or_default();
    if RESERVED.contains(&&*name) {
        return Err(refuse(format!(
            "an input named `{name}` is the training step's own: give it another name"
        )));
    }
    let shapes = BTreeMap::from([(name.to_string(), shape.iter().map(|d| *d as i64).collect())]);
    let mut sizes = compiler.options.sizes.clone();
    for (symbol, value) in solve(model, &shapes)? {
        let given = sizes.insert(symbol.clone(), value);
        if let Some(given) = given.filter(|given| *given != value) {
            return Err(Error::option(format!(
                "{symbol} is {given} by the options, but {value} by the inputs"
            )));
        }
    }
    Ok((name, bind(model, &sizes)?))
}

/// A pattern that does nothing is likely a mistake.
fn check_patterns(model: &Graph, patterns: &[String]) -> Result<(), Error> {
    let names: Vec<Arc<str>> =
        model.params().into_iter().filter_map(|id| model.node(id).name.clone()).collect();
    match patterns.iter().find(|p| !names.iter().any(|n| glob::matches(p, n))) {
        None => Ok(()),
        Some(pattern) => Err(Error::Option {
            message: format!("no parameter's name matches `{pattern}`"),
            help: rectify_ir::diag::suggest(pattern, names.iter().map(|n| &**n))
                .or_else(|| Some("`rectify info` lists the parameters".into())),
        }),
    }
}
