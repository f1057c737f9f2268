//! Epilogues: `{ %acc => … }` behind a call becomes the steps of its node.

use std::collections::HashMap;

use super::cx::{Cx, Eval, Poisoned, RegionState};
use super::value::Val;
use crate::diag::{Diagnostic, Span};
use crate::graph::{EpArg, EpStep, Epilogue, Node};
use crate::op::Attrs;
use crate::scalar::Scalar;
use crate::syntax::ast::Region;
use crate::types::TensorType;

impl<'a> Cx<'a, '_> {
    /// Reads `{ %acc => … }` into the node.
    pub fn read_region(&mut self, region: &'a Region, node: &mut Node, span: Span) -> Eval<()> {
        let [ty] = node.types.as_slice() else {
            let message = "an op with several results has no epilogue";
            return Err(self.error("E0309-epilogue", message, region.body.span, "not possible here"));
        };
        if self.region.is_some() {
            let message = "an epilogue within an epilogue";
            return Err(self.error("E0309-epilogue", message, region.body.span, "not possible here"));
        }
        self.region = Some(RegionState { ty: ty.clone(), operands: Vec::new(), steps: Vec::new() });
        let value = self.scoped(|cx| {
            cx.bind(&region.accumulator.text, Val::Step(EpArg::Acc));
            cx.body(&region.body, None)
        });
        let Some(state) = self.region.take() else { return Err(Poisoned) };
        match value {
            Val::Step(EpArg::Step(last)) if last as usize + 1 == state.steps.len() => {
                node.operands.extend(state.operands);
                node.epilogue = Some(Epilogue { steps: state.steps });
                Ok(())
            }
            Val::Poison => Err(Poisoned),
            other => {
                let what = self.describe(&other);
                let at = region.body.stmts.last().map_or(span, |stmt| stmt.span);
                let diagnostic = Diagnostic::error("E0309-epilogue", "an epilogue ends with its last step")
                    .label(at, format!("this is {what}"))
                    .help(
                        "each step reads the accumulator or an earlier step, as in `{ %acc => relu(%acc) }`",
                    );
                Err(self.report(diagnostic))
            }
        }
    }

    pub fn emit_step(
        &mut self,
        name: &'static str,
        attrs: &Attrs,
        places: &HashMap<String, Span>,
        operands: Vec<(Val<'a>, Span)>,
        span: Span,
    ) -> Eval<Val<'a>> {
        let Some(ty) = self.region.as_ref().map(|region| region.ty.clone()) else { return Err(Poisoned) };
        let mut args = Vec::new();
        let mut types = Vec::new();
        for (value, place) in operands {
            if let Some(number) = value.as_float() {
                args.push(EpArg::Scalar(Scalar(number)));
                types.push(TensorType::new(ty.dtype, []));
                continue;
            }
            if let Val::Step(arg) = value {
                args.push(arg);
                types.push(ty.clone());
                continue;
            }
            let value = self.want_tensor(value, place, &format!("an operand of `{name}`"))?;
            types.push(self.graph.ty(value).clone());
            let Some(region) = &mut self.region else { return Err(Poisoned) };
            let at = region.operands.iter().position(|operand| *operand == value).unwrap_or_else(|| {
                region.operands.push(value);
                region.operands.len() - 1
            });
            args.push(EpArg::Operand(at as u32));
        }
        let op = self.build(name, attrs, places, &types, span)?;
        if !op.is_elementwise() {
            let message = format!("`{name}` is not elementwise");
            return Err(self.error(
                "E0309-epilogue",
                message,
                span,
                "only elementwise ops can be steps of an epilogue",
            ));
        }
        let Some(region) = &mut self.region else { return Err(Poisoned) };
        region.steps.push(EpStep { op, args });
        Ok(Val::Step(EpArg::Step(region.steps.len() as u32 - 1)))
    }
}
