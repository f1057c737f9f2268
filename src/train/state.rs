//! What a training step hands to the next one: parameters, velocities, running statistics.

use crate::error::Error;
use rectify_ir::DType;
use rectify_ir::graph::Graph;
use rectify_passes::training::{Start, State};
use rectify_runtime::packs::Parameters;
use rectify_runtime::{Tensor, TensorView};

/// All states twice: a step reads one set and writes the other, and then they change places, so that nothing is copied.
pub(super) struct States {
    list: Vec<State>,
    now: Vec<Tensor>,
    /// Of the step before, once there was one.
    before: Vec<Tensor>,
}

impl States {
    /// As they begin: parameters by the sources that `folded`, a graph with their resolved initialisations, has.
    pub fn start(list: Vec<State>, folded: &Graph, parameters: &Parameters) -> Result<States, Error> {
        let mut now = Vec::with_capacity(list.len());
        let sources = folded.params();
        for state in &list {
            let shape = state.ty.const_shape().unwrap_or_default();
            if state.ty.dtype != DType::F32 {
                let message = format!("training is in f32, but `{}` is {}", state.input, state.ty.dtype);
                return Err(Error::Unsupported { name: folded.name.clone(), message });
            }
            let mut values = vec![0f32; shape.iter().product()];
            if let Start::Parameter(_) = state.start {
                let named =
                    |id: &&rectify_ir::NodeId| folded.node(**id).name.as_deref() == Some(&*state.input);
                let source = sources.iter().find(named);
                let source =
                    source.ok_or_else(|| Error::internal("training", format!("{} is lost", state.input)))?;
                parameters.read(folded, *source, 0, &mut values)?;
            }
            now.push(Tensor::new(shape, values)?);
        }
        let before = now.clone();
        Ok(States { list, now, before })
    }

    pub fn index(&self, matches: impl Fn(&State) -> bool) -> Option<usize> {
        self.list.iter().position(matches)
    }

    pub fn now(&self) -> &[Tensor] {
        &self.now
    }

    /// To fill with other values of the same shapes.
    pub fn now_mut(&mut self) -> &mut [Tensor] {
        &mut self.now
    }

    pub fn list(&self) -> &[State] {
        &self.list
    }

    /// The first in the model's order of the present values that are not finite.
    pub fn broken(&self) -> Option<&str> {
        let finite = |t: &Tensor| t.as_slice::<f32>().is_ok_and(|v| v.iter().all(|v| v.is_finite()));
        let at = self.now.iter().position(|t| !finite(t))?;
        Some(&self.list[at].input)
    }

    /// What a step reads, and where it writes.
    pub fn both(&mut self) -> (&[Tensor], &mut [Tensor]) {
        (&self.now, &mut self.before)
    }

    /// Makes what was written the present state.
    pub fn swap(&mut self) {
        std::mem::swap(&mut self.now, &mut self.before);
    }

    /// Names and present values, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&State, TensorView<'_>)> {
        self.list.iter().zip(self.now.iter().map(Tensor::view))
    }
}
