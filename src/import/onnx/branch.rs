//! `If`: the branch that the condition chooses stands in the graph, the other one does not.

use super::attrs::Attrs;
use super::context::Cx;
use super::external::ExternalFiles;
use super::import::{Importer, MAX_CALLS, Scope};
use super::model::kind;
use super::problem::Refusal;
use super::tensor::RawTensor;

impl Importer<'_> {
    /// Lowers the nodes of one branch in place of the node. The condition must be known: from sizes, from constants, or
    /// from the values of inputs that the graph is made for.
    pub(super) fn branch(
        &mut self,
        attrs: &Attrs<'_>,
        inputs: &[Option<String>],
        outputs: &[Option<String>],
        scope: &Scope<'_>,
    ) -> Result<(), Refusal> {
        if scope.depth >= MAX_CALLS {
            return Err(Refusal::malformed(format!("branches lie in branches more than {MAX_CALLS} deep")));
        }
        let condition =
            Cx::new(self, attrs, inputs, outputs, scope.opsets.onnx(), "If").floats(0, "condition")?;
        let [condition] = condition[..] else {
            return Err(Refusal::malformed(format!("a condition of {} elements", condition.len())));
        };
        let chosen = if condition != 0.0 { "then_branch" } else { "else_branch" };
        let body = attrs.graph(chosen)?;
        let body = body.ok_or_else(|| Refusal::malformed(format!("the attribute `{chosen}` is missing")))?;
        if body.output.len() != outputs.len() {
            let (n, wanted) = (body.output.len(), outputs.len());
            return Err(Refusal::malformed(format!("`{chosen}` has {n} results, not {wanted}")));
        }
        // Names of a branch are none of the graph around it, but it reads those.
        let scope = scope.inner();
        for tensor in &body.initializer {
            let raw = RawTensor::read(tensor, &mut ExternalFiles::none()).map_err(|e| {
                Refusal::new(kind(&e), format!("the initialiser `{}` cannot be read: {e}", tensor.name))
            })?;
            if let Some(name) = scope.key(&tensor.name) {
                self.set_raw(&name, raw);
            }
        }
        self.nodes(&body.node, &scope);
        for (result, output) in body.output.iter().zip(outputs) {
            if let (Some(result), Some(output)) = (scope.key(&result.name), output) {
                self.set_alias(output, &result)?;
            }
        }
        Ok(())
    }
}
