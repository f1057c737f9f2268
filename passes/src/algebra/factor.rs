//! Parameters that act on a tensor element by element, seen per channel.

use super::rule::{Cx, Expr, class, number, reshape};
use crate::log::Reason;
use egg::Id;
use rectify_ir::Dim;
use rectify_ir::types::TensorType;

/// A parameter that is broadcast against a tensor and varies along one axis at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor {
    pub class: Id,
    /// It has one element for each channel; else a single element.
    pub per_channel: bool,
    /// The value of all elements.
    pub value: Option<f64>,
    /// Number of channels of the tensor.
    pub channels: i64,
}

impl Factor {
    /// Sees `param` as a factor (or shift) of a tensor of type `x` along `axis`.
    pub fn of(cx: &Cx<'_>, param: Id, x: &TensorType, axis: usize) -> Result<Factor, Reason> {
        let facts = cx.facts(param);
        if !facts.param_only {
            return Err(Reason::UnknownFactor);
        }
        let shape = &facts.types[0].shape;
        let channels = x.shape.get(axis).and_then(Dim::as_const).ok_or(Reason::FactorVaries)?;
        // Aligned at the end, axis i of the parameter is axis i + offset of x.
        let offset = x.rank().checked_sub(shape.len()).ok_or(Reason::FactorVaries)?;
        let mut per_channel = channels == 1;
        for (i, size) in shape.iter().enumerate() {
            if *size != Dim::Const(1) {
                if i + offset != axis {
                    return Err(Reason::FactorVaries);
                }
                per_channel = true;
            }
        }
        Ok(Factor { class: param, per_channel, value: facts.value, channels })
    }

    /// The factor as a tensor of `rank` axes that varies along `axis`.
    pub fn along(&self, axis: usize, rank: usize) -> Expr {
        self.shaped((0..rank).map(|i| if i == axis { self.channels } else { 1 }).collect())
    }

    /// The factor in a shape that has as many elements as there are channels.
    pub fn shaped(&self, shape: Vec<i64>) -> Expr {
        match self.value {
            Some(v) => number(v),
            None if self.per_channel => {
                reshape(class(self.class), shape.into_iter().map(Dim::Const).collect())
            }
            None => reshape(class(self.class), vec![Dim::Const(1); shape.len()]),
        }
    }

    /// The factor as a vector of one element a channel, or something that broadcasts to it.
    pub fn vector(&self) -> Expr {
        self.along(0, 1)
    }

    /// A vector of exactly one element a channel.
    pub fn full_vector(&self) -> Option<Expr> {
        self.per_channel.then(|| reshape(class(self.class), vec![Dim::Const(self.channels)]))
    }
}
