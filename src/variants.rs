//! Models whose shapes depend on the values of inputs: one compilation for each set of values.

use crate::compiled::Compiled;
use crate::compiler::Options;
use crate::error::Error;
use crate::model::Model;
use rectify_ir::literal::Literal;
use rectify_runtime::TensorView;
use std::sync::{Mutex, PoisonError};

/// The compilations of a model for the values it has met, the latest at the end.
pub(crate) struct Variants {
    model: Model,
    options: Options,
    /// The values that the owner was compiled for; `None` if it was compiled before any were known.
    own: Option<Key>,
    made: Mutex<Vec<(Key, Compiled)>>,
}

/// Inputs by place, and the values they must have.
type Key = Vec<(usize, Literal)>;

/// Compilations that are kept for values that may come again.
const MAX_KEPT: usize = 8;

impl Variants {
    /// `None` for models that do not depend on values.
    pub fn new(model: &Model, options: &Options) -> Option<Variants> {
        if model.value_inputs().is_empty() {
            return None;
        }
        let own = (!model.is_open()).then(|| key(model));
        Some(Variants { model: model.clone(), options: options.clone(), own, made: Mutex::default() })
    }

    /// The compilation for the values among these inputs, which stand in the model's order: `None` for the owner's own.
    pub fn find<'v>(&self, input: &dyn Fn(usize) -> TensorView<'v>) -> Result<Option<Compiled>, Error> {
        let fits = |key: &Key| key.iter().all(|(at, value)| same(value, &input(*at)));
        if self.own.as_ref().is_some_and(fits) {
            return Ok(None);
        }
        // Held while compiling, so that nobody compiles for the same values twice.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = made.iter().position(|(key, _)| fits(key)) {
            let found = made.remove(at);
            let compiled = found.1.clone();
            made.push(found);
            return Ok(Some(compiled));
        }
        let ports = self.model.inputs();
        let inputs: Vec<_> = ports.iter().enumerate().map(|(at, p)| (p.name.as_ref(), input(at))).collect();
        let model = self.model.with_values(&inputs)?;
        let mut options = self.options.clone();
        let symbols = rectify_ir::bind::symbols(model.graph());
        options.sizes.retain(|name, _| symbols.contains(name.as_str()));
        let compiled = model.compiler().with_options(options).compile_alone()?;
        made.push((key(&model), compiled.clone()));
        if made.len() > MAX_KEPT {
            made.remove(0);
        }
        Ok(Some(compiled))
    }
}

fn key(model: &Model) -> Key {
    let values = model.values();
    let ports = model.inputs();
    ports.iter().enumerate().filter_map(|(at, p)| Some((at, values.get(p.name.as_ref())?.clone()))).collect()
}

fn same(value: &Literal, view: &TensorView<'_>) -> bool {
    value.dtype == view.dtype() && value.shape == view.shape() && *value.bytes == *view.bytes()
}
