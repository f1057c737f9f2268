//! What a program does with a model file that it was given; what is fuzzed, and what the corpora are replayed with.

use rectify::Model;

/// Reads, plans and, if that is little work, compiles: up to the first run. Returns how far it came.
pub fn digest(kind: &str, bytes: &[u8]) -> &'static str {
    let Ok(model) = Model::from_bytes(&format!("hostile.{kind}"), bytes) else { return "refused" };
    let names: Vec<String> = model
        .inputs()
        .iter()
        .flat_map(|port| port.ty.shape.iter())
        .filter(|dim| dim.as_const().is_none())
        .map(ToString::to_string)
        .collect();
    // Sizes of inputs are names, and some of these names alone decide on all others.
    let compiler = names.iter().fold(model.compiler().threads(1), |c, name| c.size(name, 4));
    let Ok(plan) = compiler.plan() else { return "not planned" };
    if plan.arena_bytes > 4 << 20 || plan.weight_bytes() > 4 << 20 || plan.steps.len() > 200 {
        return "planned";
    }
    match compiler.compile() {
        Ok(_) => "compiled",
        Err(_) => "not compiled",
    }
}
