//! Short ways to write types and operations in unit tests.

use crate::op::{Attrs, Op};
use crate::{DType, Dim, DimFacts, TensorType};

/// H is a positive multiple of 4.
pub fn facts() -> DimFacts {
    let mut f = DimFacts::default();
    f.entry("H").modulus = 4;
    f.entry("H").min = 4;
    f
}

/// Reads `f32[N, 3, H, W]`; the element type may be left out.
pub fn ty(text: &str) -> TensorType {
    let (dtype, dims) = text.split_once('[').unwrap();
    let dtype = if dtype.is_empty() { DType::F32 } else { DType::from_name(dtype).unwrap() };
    let dims = dims.trim_end_matches(']').split(',').map(str::trim).filter(|d| !d.is_empty());
    TensorType::new(dtype, dims.map(|d| Dim::parse(d).unwrap()).collect::<Vec<_>>())
}

/// An operation from `"name": value` pairs; a string that starts with `=` is a size.
pub fn op(name: &str, attrs: &str, operands: &[&TensorType]) -> Op {
    use crate::op::AttrValue as V;
    fn value(v: &serde_json::Value) -> V {
        match v {
            serde_json::Value::Number(n) => n.as_i64().map_or_else(|| V::Float(n.as_f64().unwrap()), V::Int),
            serde_json::Value::Bool(b) => V::Bool(*b),
            serde_json::Value::String(s) => match s.strip_prefix('=') {
                Some(dim) => V::Dim(Dim::parse(dim).unwrap()),
                None => V::Word(s.clone()),
            },
            serde_json::Value::Array(a) => V::List(a.iter().map(value).collect()),
            _ => panic!("no attribute: {v}"),
        }
    }
    let json: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&format!("{{{attrs}}}")).unwrap();
    let attrs: Attrs = json.iter().map(|(k, v)| (k.clone(), value(v))).collect();
    Op::build(name, &attrs, operands, &facts()).unwrap()
}
