//! Attributes of operations that order elements, add them up, or scatter them.

use super::*;

const SCATTER: [(&str, ScatterReduction); 5] = [
    ("none", ScatterReduction::None),
    ("add", ScatterReduction::Add),
    ("mul", ScatterReduction::Mul),
    ("max", ScatterReduction::Max),
    ("min", ScatterReduction::Min),
];

pub(super) fn scatter_word(reduction: ScatterReduction) -> &'static str {
    SCATTER.iter().find(|(_, r)| *r == reduction).map_or("none", |(word, _)| word)
}

impl Reader<'_> {
    pub(super) fn scatter_reduction(&self) -> Result<ScatterReduction, AttrError> {
        self.word("reduction", &SCATTER)
    }

    pub(super) fn arg_reduce(&self, kind: ArgKind) -> Result<Op, AttrError> {
        Ok(Op::ArgReduce { kind, axis: self.axis(1)?, keep: self.bool("keep")?, last: self.bool("last")? })
    }

    pub(super) fn arg_sort(&self) -> Result<Op, AttrError> {
        let axis = self.axis(1)?;
        let count = match self.attrs.get("count") {
            None => self.x()?.shape[axis].clone(),
            Some(_) => self.one_dim("count")?,
        };
        Ok(Op::ArgSort { axis, count, descending: self.bool("descending")? })
    }

    pub(super) fn cumulate(&self, kind: CumulateKind) -> Result<Op, AttrError> {
        let (axis, exclusive) = (self.axis(1)?, self.bool("exclusive")?);
        Ok(Op::Cumulate { kind, axis, exclusive, reverse: self.bool("reverse")? })
    }
}
