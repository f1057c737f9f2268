//! Attributes of operations whose number of results depends on data.

use super::*;

impl Reader<'_> {
    pub(super) fn cut(&self) -> Result<Op, AttrError> {
        Ok(Op::Cut { axis: self.axis(0)?, size: self.one_dim("size")? })
    }

    pub(super) fn non_max_suppression(&self) -> Result<Op, AttrError> {
        let limit = match self.attrs.get("limit") {
            None => self.x()?.shape.get(1).cloned().ok_or_else(|| AttrError {
                attr: None,
                message: "the boxes have no axis of boxes".into(),
                help: Some("boxes are [N, B, 4]".into()),
            })?,
            Some(_) => self.one_dim("limit")?,
        };
        Ok(Op::NonMaxSuppression { centre: self.bool("centre")?, limit })
    }

    pub(super) fn one_dim(&self, name: &str) -> Result<Dim, AttrError> {
        match self.dims(name)?.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(AttrError::at(name, format!("`{name}` is one size"))),
        }
    }
}
