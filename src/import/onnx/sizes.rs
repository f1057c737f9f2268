//! Sizes as numbers of the network: those that inputs give are counted, those that data gives are known where it is.

use super::import::Importer;
use super::problem::Refusal;
use super::values::{Elem, Known, encoded};
use rectify_ir::dim::{Dim, Sizes};
use rectify_ir::literal::Literal;
use rectify_ir::op::{Binary, Op, ReduceKind, Source};
use rectify_ir::{DType, TensorType, Value};

impl Importer<'_> {
    /// A known tensor of sizes as a value of the graph.
    pub fn sizes(&mut self, known: &Known) -> Result<Value, Refusal> {
        let parts =
            known.elems.iter().map(|e| self.element(e, known.dtype)).collect::<Result<Vec<_>, _>>()?;
        let all = match parts.as_slice() {
            [one] => *one,
            many => self.add(Op::Concat { axis: 0 }, many)?,
        };
        let shape: Vec<Dim> = known.shape.iter().map(|n| Dim::Const(*n as i64)).collect();
        if self.graph.ty(all).shape == shape { Ok(all) } else { self.add(Op::Reshape { shape }, &[all]) }
    }

    /// One element, as a tensor [1].
    fn element(&mut self, element: &Elem, dtype: DType) -> Result<Value, Refusal> {
        let (num, den) = match (element, element.as_f64()) {
            (_, Some(v)) => return Ok(self.literal(encoded(v, dtype), dtype)),
            (Elem::Exact { num, den }, None) => (num, *den),
            (Elem::Float(_), None) => return Err(Refusal::form("a number that is none")),
        };
        let mut value = self.size(num)?;
        if dtype != DType::I64 {
            value = self.add(Op::Cast { to: dtype }, &[value])?;
        }
        if den == 1 {
            return Ok(value);
        }
        let den = self.graph.push_const(den as f64);
        self.add(Op::Binary(Binary::Div), &[value, den])
    }

    fn literal(&mut self, bytes: Vec<u8>, dtype: DType) -> Value {
        let name = self.unique("size");
        let literal = Literal { dtype, shape: vec![1], bytes: bytes.into() };
        self.graph.add_param(name, TensorType::new(dtype, [Dim::Const(1)]), Source::Data(literal))
    }

    /// Repeats x. Where that makes an axis of a size that data gives and x does not have, there is one as long as it can
    /// be, cut by its number: what the size is, is known from the operands of every node.
    pub fn expand(&mut self, x: Value, mut shape: Vec<Dim>) -> Result<Value, Refusal> {
        let own = self.graph.ty(x).shape.clone();
        let new = shape.len().saturating_sub(own.len());
        let mut cuts = Vec::new();
        for (axis, size) in shape.iter_mut().enumerate() {
            let there = axis.checked_sub(new).and_then(|a| own.get(a));
            if there != Some(size)
                && let Some(all) = size.as_sym().and_then(|name| self.bound(name))
            {
                cuts.push((axis, std::mem::replace(size, all)));
            }
        }
        let mut y = self.add(Op::Expand { shape }, &[x])?;
        for (axis, size) in cuts {
            let count = self.size(&size)?;
            y = self.add(Op::Cut { axis, size }, &[y, count])?;
        }
        Ok(y)
    }

    /// A size as a number i64[1].
    pub fn size(&mut self, dim: &Dim) -> Result<Value, Refusal> {
        if let Some(value) = self.size_values.get(dim) {
            return Ok(*value);
        }
        let value = match (dim.as_const(), dim.as_sym()) {
            (Some(n), _) => self.number(n)?,
            (None, None) => dim.compute(self)?,
            // As many ones as there are.
            (None, Some(_)) => {
                let one = self.number(1)?;
                let ones = self.add(Op::Expand { shape: vec![dim.clone()] }, &[one])?;
                self.add(Op::Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: true }, &[ones])?
            }
        };
        self.size_values.insert(dim.clone(), value);
        Ok(value)
    }

    fn add(&mut self, op: Op, operands: &[Value]) -> Result<Value, Refusal> {
        let value = self.graph.push(op, operands)?;
        self.fresh.push(value.node);
        Ok(value)
    }
}

impl Sizes for Importer<'_> {
    type Value = Value;
    type Error = Refusal;

    fn number(&mut self, n: i64) -> Result<Value, Refusal> {
        Ok(self.literal(n.to_le_bytes().to_vec(), DType::I64))
    }

    fn name(&mut self, name: &str) -> Result<Value, Refusal> {
        self.size(&Dim::sym(name))
    }

    fn sum(&mut self, a: Value, b: Value) -> Result<Value, Refusal> {
        self.add(Op::Binary(Binary::Add), &[a, b])
    }

    fn product(&mut self, a: Value, b: Value) -> Result<Value, Refusal> {
        self.add(Op::Binary(Binary::Mul), &[a, b])
    }

    fn quotient(&mut self, a: Value, b: Value) -> Result<Value, Refusal> {
        self.add(Op::Binary(Binary::Div), &[a, b])
    }
}
