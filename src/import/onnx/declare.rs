//! The inputs that a model declares: types, symbolic sizes, values given from outside.

use super::import::Importer;
use super::problem::ProblemKind;
use super::proto::{ValueInfoProto, dimension, type_proto};
use super::table::{Slot, Tensor};
use super::tensor::{RawTensor, dtype};
use super::values::Known;
use rectify_ir::dim::MAX_DIM;
use rectify_ir::{Dim, TensorType};
use std::rc::Rc;

impl Importer<'_> {
    pub fn input(&mut self, info: &ValueInfoProto) {
        if self.slots.contains_key(&info.name) {
            return self.malformed(format!("the input `{}` is declared twice", info.name));
        }
        let ty = match self.input_type(info) {
            Ok(ty) => ty,
            Err((kind, message, help)) => {
                self.problem(kind, format!("the input `{}` {message}", info.name), help);
                self.slots.insert(info.name.clone(), Slot::Poisoned);
                return;
            }
        };
        let known = self.options.values.get(&info.name).and_then(|given| {
            let sizes: Option<Vec<i64>> = given.shape.iter().map(|n| i64::try_from(*n).ok()).collect();
            let sizes: Vec<Dim> = sizes?.into_iter().map(Dim::Const).collect();
            let fits = given.dtype == ty.dtype && sizes == ty.shape && given.is_consistent();
            let known = if fits { Known::of_literal(given) } else { None };
            Some((given, Rc::new(Known { derived: true, ..known? })))
        });
        // An input with a value is an input no more.
        if let Some((given, known)) = known {
            let bytes = given.bytes.to_vec().into();
            let raw = RawTensor { dtype: given.dtype, shape: given.shape.clone(), bytes };
            let tensor = Tensor { ty, value: None, raw: Some(raw), known: Some(Some(known)) };
            self.slots.insert(info.name.clone(), Slot::Ready(tensor));
            return;
        }
        if let Some(multiple) = self.options.multiples_of {
            for name in ty.shape.iter().skip(1).filter_map(Dim::as_sym) {
                let facts = self.graph.facts.entry(name);
                (facts.modulus, facts.min) = (multiple, multiple);
            }
        }
        let value = self.graph.add_input(info.name.as_str(), ty.clone());
        self.tensors.push((info.name.as_str().into(), value));
        let tensor = Tensor { ty, value: Some(value), raw: None, known: Some(None) };
        self.slots.insert(info.name.clone(), Slot::Ready(tensor));
    }

    fn input_type(&self, info: &ValueInfoProto) -> Result<TensorType, (ProblemKind, String, Option<String>)> {
        let not_tensor =
            |what: &str| (ProblemKind::UnsupportedType, format!("is {what}, not a tensor"), None);
        let tensor = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
            Some(type_proto::Value::Tensor(t)) => t,
            Some(type_proto::Value::Sequence(_)) => return Err(not_tensor("a sequence")),
            Some(type_proto::Value::Map(_)) => return Err(not_tensor("a map")),
            Some(type_proto::Value::SparseTensor(_)) => return Err(not_tensor("a sparse tensor")),
            Some(type_proto::Value::Optional(_)) => return Err(not_tensor("optional")),
            None => return Err((ProblemKind::Malformed, "has no type".into(), None)),
        };
        let dtype = dtype(tensor.elem_type)
            .map_err(|e| (ProblemKind::UnsupportedType, format!("cannot be read: {e}"), None))?;
        let Some(shape) = &tensor.shape else {
            let help = "export the model with the shapes of its inputs";
            return Err((ProblemKind::UnsupportedForm, "has no known rank".into(), Some(help.into())));
        };
        if shape.dim.len() > rectify_ir::types::MAX_RANK {
            let message = format!("has {} axes", shape.dim.len());
            return Err((ProblemKind::UnsupportedType, message, None));
        }
        let mut dims = Vec::new();
        for (axis, d) in shape.dim.iter().enumerate() {
            let name = match &d.value {
                Some(dimension::Value::Size(n @ 0..=MAX_DIM)) => {
                    dims.push(Dim::Const(*n));
                    continue;
                }
                Some(dimension::Value::Size(n)) if *n > MAX_DIM => {
                    return Err((
                        ProblemKind::Malformed,
                        format!("has the size {n} along axis {axis}"),
                        None,
                    ));
                }
                Some(dimension::Value::Param(p)) if !p.is_empty() => identifier(p),
                // Some writers put -1 for a size that they do not know.
                Some(dimension::Value::Param(_) | dimension::Value::Size(_)) | None => None,
            };
            let name = name.unwrap_or_else(|| {
                format!("{}_{axis}", identifier(&info.name).unwrap_or_else(|| "input".into()))
            });
            dims.push(match self.options.dims.get(&name) {
                Some(n) => Dim::Const(*n),
                None => Dim::sym(&name),
            });
        }
        Ok(TensorType::new(dtype, dims))
    }
}

/// A name as the language has it: letters, digits and underscores. `None` if nothing is left.
pub fn identifier(name: &str) -> Option<String> {
    let mut s: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(200).collect();
    if s.chars().all(|c| c == '_') {
        return None;
    }
    if s.starts_with(|c: char| c.is_ascii_digit()) {
        s.insert(0, 'd');
    }
    Some(s)
}
