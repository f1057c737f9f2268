//! Repeated runs without allocation.

use crate::compiled::Compiled;
use crate::error::Error;
use crate::meta::PortInfo;
use crate::outputs::Outputs;
use crate::specialise::{Specialisation, run};
use crate::variants::Variant;
use rectify_runtime::profile::{Profile, StepTime};
use rectify_runtime::{Tensor, TensorView, session};
use std::sync::Arc;

/// A place to run a compiled model one call after another. As long as the shapes of the inputs stay, a run allocates
/// nothing, but outputs whose sizes depend on data; other shapes make or fetch the code for them, and take over the memory.
pub struct Session {
    compiled: Compiled,
    /// Where shapes depend on values: the compilation for those of the last run, and its session.
    variant: Option<(Variant, Box<Session>)>,
    current: Option<Current>,
    profiling: bool,
}

/// What belongs to the shapes of the last run.
struct Current {
    specialisation: Arc<Specialisation>,
    session: session::Session,
    input_shapes: Vec<Vec<usize>>,
    outputs: Outputs,
    /// Where sizes of outputs are known after a run alone: all that they can have, then the counts.
    whole: Vec<Tensor>,
    profile: Option<Profile>,
}

impl Session {
    pub(crate) fn new(compiled: Compiled) -> Session {
        Session { compiled, variant: None, current: None, profiling: false }
    }

    /// Runs the model. The outputs are the session's own memory, overwritten by the next run.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<&Outputs, Error> {
        if self.compiled.inner.variants.is_some() {
            return self.run_variant(inputs);
        }
        let inner = &self.compiled.inner;
        let sorted;
        let inputs = if in_order(inputs, &inner.inputs) {
            inputs
        } else {
            sorted = inner.ordered(inputs)?.into_iter().map(|view| ("", view)).collect::<Vec<_>>();
            &sorted
        };
        let current = Current::fit(&self.compiled, &mut self.current, inputs, self.profiling)?;
        let bytes = inputs.iter().map(|(_, view)| view.bytes());
        let cut = !current.whole.is_empty();
        let outputs = if cut { &mut current.whole } else { &mut current.outputs.tensors };
        let outputs = outputs.iter_mut().map(bytes_of);
        run(&mut current.session, inner, bytes, outputs, current.profile.as_ref())?;
        if cut {
            let cut = current.specialisation.cut(&current.whole)?;
            let whole = current.whole.iter().take(inner.output_names.len());
            let parts = whole.zip(cut).map(|(whole, cut)| cut.unwrap_or_else(|| whole.clone()));
            current.outputs.tensors = parts.collect();
        }
        Ok(&current.outputs)
    }

    /// Runs the compilation for the values of these inputs.
    fn run_variant(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<&Outputs, Error> {
        let ordered = self.compiled.inner.ordered(inputs)?;
        if let Some(found) = self.compiled.variant(&|at| ordered[at])?
            && !self.variant.as_ref().is_some_and(|(current, _)| current.is(&found))
        {
            let mut session = found.compiled.session();
            session.set_profiling(self.profiling);
            self.variant = Some((found, Box::new(session)));
        }
        match &mut self.variant {
            Some((variant, session)) => session.run(&variant.inputs(inputs)),
            None => Err(Error::internal("session", "no compilation for these values")),
        }
    }

    /// Measures the time of every step from now on; see [`step_times`](Self::step_times).
    pub fn set_profiling(&mut self, on: bool) {
        self.profiling = on;
        if let Some((_, session)) = &mut self.variant {
            session.set_profiling(on);
        }
        if let Some(current) = &mut self.current {
            current.profile = profile(on, &self.compiled, &current.specialisation);
        }
    }

    /// The times of the plan's steps, summed over the runs since profiling began or the shapes changed.
    pub fn step_times(&self) -> Vec<StepTime> {
        if let Some((_, session)) = &self.variant {
            return session.step_times();
        }
        self.current.as_ref().and_then(|c| c.profile.as_ref()).map(Profile::steps).unwrap_or_default()
    }

    /// Forgets the times so far.
    pub fn reset_times(&self) {
        if let Some((_, session)) = &self.variant {
            session.reset_times();
        }
        if let Some(profile) = self.current.as_ref().and_then(|c| c.profile.as_ref()) {
            profile.reset();
        }
    }
}

impl Current {
    /// The current one if it has the shapes of these inputs, else one made for them.
    fn fit<'c>(
        compiled: &Compiled,
        current: &'c mut Option<Current>,
        inputs: &[(&str, TensorView<'_>)],
        profiling: bool,
    ) -> Result<&'c mut Current, Error> {
        let fits =
            |c: &Current| c.input_shapes.iter().zip(inputs).all(|(shape, (_, view))| shape == view.shape());
        if !current.as_ref().is_some_and(fits) {
            let inner = &compiled.inner;
            let views: Vec<_> = inputs.iter().map(|(_, view)| *view).collect();
            let specialisation = inner.specialisation(&inner.solve(&views)?)?;
            let session = match current.take() {
                Some(previous) => specialisation.take_over(previous.session)?,
                None => specialisation.session(inner)?,
            };
            let outputs = specialisation.outputs()?;
            let (tensors, whole) =
                if specialisation.is_cut() { (vec![], outputs) } else { (outputs, vec![]) };
            *current = Some(Current {
                session,
                input_shapes: views.iter().map(|v| v.shape().to_vec()).collect(),
                outputs: Outputs { names: inner.output_names.clone(), tensors },
                whole,
                profile: profile(profiling, compiled, &specialisation),
                specialisation,
            });
        }
        current.as_mut().ok_or_else(|| Error::internal("session", "no current specialisation"))
    }
}

fn profile(on: bool, compiled: &Compiled, specialisation: &Specialisation) -> Option<Profile> {
    on.then(|| Profile::new(specialisation.plan().steps.len(), compiled.inner.threads))
}

/// The usual case, which allocates nothing: all inputs are there in the model's own order.
fn in_order(inputs: &[(&str, TensorView<'_>)], ports: &[PortInfo]) -> bool {
    let same = |((name, view), port): (&(&str, TensorView<'_>), &PortInfo)| {
        *name == port.name.as_ref() && view.dtype() == port.ty.dtype
    };
    inputs.len() == ports.len() && inputs.iter().zip(ports).all(same)
}

/// The memory of an output.
pub(crate) fn bytes_of(tensor: &mut Tensor) -> &mut [u8] {
    // Safety: kernels write numbers of the output's own type; for bools these are 0 and 1.
    unsafe { tensor.view_mut().into_bytes() }
}
