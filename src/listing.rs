//! Kernels of a plan as text: Cranelift's IR and machine code, with the steps that call each.

use crate::error::Error;
use rectify_codegen::emit::listing;
use rectify_ir::plan::{KernelId, Plan};
use std::fmt::Write as _;

/// Cranelift's IR of every kernel.
pub fn clif(plan: &Plan) -> Result<String, Error> {
    each(plan, |kernel| listing::clif(plan.kernel(kernel), &plan.target))
}

/// Machine code of every kernel, disassembled.
pub fn asm(plan: &Plan) -> Result<String, Error> {
    each(plan, |kernel| listing::asm(plan.kernel(kernel), &plan.target))
}

fn each<E: std::fmt::Display>(
    plan: &Plan,
    list: impl Fn(KernelId) -> Result<String, E>,
) -> Result<String, Error> {
    let mut text = String::new();
    for index in 0..plan.kernels.len() {
        let id = KernelId(index as u32);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "; kernel k{index}");
        for (number, step) in plan.steps.iter().enumerate().filter(|(_, s)| s.kernel == id) {
            let _ = writeln!(text, ";   step {number}: {}", step.label);
        }
        text.push_str(list(id).map_err(|e| Error::internal("codegen", e))?.trim_end());
        text.push_str("\n\n");
    }
    Ok(text)
}
