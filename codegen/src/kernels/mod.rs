//! Kernel generators: descriptors to tile IR, one file a family.

pub mod contract;
mod dot;
pub mod epilogue;
pub mod frame;
pub mod math;
pub mod nest;
pub mod program;
pub mod scalar;
pub mod sort;
pub mod suppression;
pub mod window;
pub mod winograd;

use crate::emit::{self, Code, EmitError};
use crate::tile::Function;
use rectify_ir::kernel::Descriptor;
use rectify_ir::target::Target;

/// The tile IR of a legal descriptor.
pub fn generate(descriptor: &Descriptor, target: &Target) -> Result<Function, EmitError> {
    descriptor.validate().map_err(|illegal| EmitError::Unsupported(illegal.to_string()))?;
    Ok(match descriptor {
        Descriptor::Contract(kernel) => contract::generate(kernel, target),
        Descriptor::Window(kernel) => window::generate(kernel, target),
        Descriptor::Winograd(kernel) => winograd::generate(kernel, target),
        Descriptor::WinogradGradient(kernel) => winograd::gradient::generate(kernel, target),
        Descriptor::Nest(kernel) => nest::generate(kernel, target),
        Descriptor::Sort(kernel) => sort::generate(kernel, target),
        Descriptor::Suppression(kernel) => suppression::generate(kernel, target),
    })
}

/// The machine code of a legal descriptor.
pub fn compile(descriptor: &Descriptor, target: &Target) -> Result<Code, EmitError> {
    emit::emit(&generate(descriptor, target)?, target)
}
