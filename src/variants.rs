//! Models whose shapes depend on the values of inputs: one compilation for each set of values.

use crate::compiled::Compiled;
use crate::compiler::Options;
use crate::error::Error;
use crate::model::Model;
use rectify_ir::literal::Literal;
use rectify_runtime::TensorView;
use std::sync::{Arc, Mutex, PoisonError};

/// The compilations of a model for the values it has met, the latest at the end.
pub(crate) struct Variants {
    model: Model,
    options: Options,
    made: Mutex<Vec<Variant>>,
}

/// A compilation in which some inputs are constants.
#[derive(Clone)]
pub(crate) struct Variant {
    pub compiled: Compiled,
    /// These inputs, by place and name, with the values that they must have.
    constants: Arc<Vec<(usize, Arc<str>, Literal)>>,
}

/// Compilations that are kept for values that may come again.
const MAX_KEPT: usize = 8;

impl Variants {
    /// `None` for models that do not depend on values.
    pub fn new(model: &Model, options: &Options) -> Option<Variants> {
        let depends = !model.value_inputs().is_empty();
        depends.then(|| Variants { model: model.clone(), options: options.clone(), made: Mutex::default() })
    }

    /// The compilation for the values among these inputs, which stand in the model's order.
    pub fn find<'v>(&self, input: &dyn Fn(usize) -> TensorView<'v>) -> Result<Variant, Error> {
        // Held while compiling, so that nobody compiles for the same values twice.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = made.iter().position(|variant| variant.fits(input)) {
            let found = made.remove(at);
            made.push(found.clone());
            return Ok(found);
        }
        let ports = self.model.inputs();
        let inputs: Vec<_> = ports.iter().enumerate().map(|(at, p)| (p.name.as_ref(), input(at))).collect();
        let model = self.model.with_values(&inputs)?;
        let values = model.values();
        let constant = |(at, port): (usize, &crate::PortInfo)| {
            Some((at, port.name.clone(), values.get(port.name.as_ref())?.clone()))
        };
        let constants = Arc::new(ports.iter().enumerate().filter_map(constant).collect());
        // Sizes of inputs that have become constants are numbers now.
        let mut options = self.options.clone();
        let symbols = rectify_ir::bind::symbols(model.graph());
        options.sizes.retain(|name, _| symbols.contains(name.as_str()));
        let variant = Variant { compiled: model.compiler().with_options(options).compile()?, constants };
        made.push(variant.clone());
        if made.len() > MAX_KEPT {
            made.remove(0);
        }
        Ok(variant)
    }
}

impl Variant {
    fn fits<'v>(&self, input: &dyn Fn(usize) -> TensorView<'v>) -> bool {
        self.constants.iter().all(|(at, _, value)| same(value, &input(*at)))
    }

    /// The inputs that are still inputs.
    pub fn inputs<'n, 'v>(&self, inputs: &[(&'n str, TensorView<'v>)]) -> Vec<(&'n str, TensorView<'v>)> {
        let constant = |name: &str| self.constants.iter().any(|(_, n, _)| n.as_ref() == name);
        inputs.iter().filter(|(name, _)| !constant(name)).copied().collect()
    }

    /// True for two names of one compilation.
    pub fn is(&self, other: &Variant) -> bool {
        Arc::ptr_eq(&self.constants, &other.constants)
    }
}

fn same(value: &Literal, view: &TensorView<'_>) -> bool {
    value.dtype == view.dtype() && value.shape == view.shape() && *value.bytes == *view.bytes()
}
