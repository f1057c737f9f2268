//! Inputs without a file: random, ramp and zeros.

use rectify_ir::DType;
use rectify_runtime::rng::{Distribution, fill};
use rectify_runtime::{Tensor, TensorError};
use std::str::FromStr;

/// How to make an input of given type and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Uniform from the seed: floats in -1..1, integers in 0..128, booleans. The same on every machine.
    Random,
    /// From 0 to 1 in even steps over all elements; integers count 0..128 again and again.
    Ramp,
    Zeros,
}

impl FromStr for Generator {
    type Err = ();

    fn from_str(text: &str) -> Result<Generator, ()> {
        match text {
            "random" => Ok(Generator::Random),
            "ramp" => Ok(Generator::Ramp),
            "zeros" => Ok(Generator::Zeros),
            _ => Err(()),
        }
    }
}

/// Integers stay below this, so that every integer type holds them.
const INTEGERS: f32 = 128.0;

impl Generator {
    /// The tensor for the input `name`.
    pub fn make(self, name: &str, dtype: DType, shape: &[usize], seed: u64) -> Result<Tensor, TensorError> {
        let zeros = Tensor::zeros(DType::F32, shape)?;
        let count = zeros.elements();
        let mut values = zeros.into_vec::<f32>()?;
        match self {
            Generator::Zeros => {}
            Generator::Random => {
                let (lo, hi) = if dtype.is_float() { (-1.0, 1.0) } else { (0.0, INTEGERS) };
                // Inputs and parameters of one name must not be the same numbers.
                fill(&Distribution::Uniform { lo, hi }, seed, &format!("input {name}"), 0, &mut values);
            }
            Generator::Ramp => {
                let last = count.saturating_sub(1).max(1) as f64;
                for (i, v) in values.iter_mut().enumerate() {
                    *v = if dtype.is_float() {
                        (i as f64 / last) as f32
                    } else {
                        (i % INTEGERS as usize) as f32
                    };
                }
            }
        }
        if dtype == DType::Bool {
            values.iter_mut().for_each(|v| *v = (*v as u32 % 2) as f32);
        } else if !dtype.is_float() {
            values.iter_mut().for_each(|v| *v = v.floor().min(INTEGERS - 1.0));
        }
        Tensor::new(shape, values)?.convert(dtype)
    }
}
