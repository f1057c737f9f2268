//! One node while it is lowered: its inputs, attributes and results.

use super::attrs::Attrs;
use super::import::{Importer, MAX_VALUE_INPUT};
use super::problem::{ProblemKind, Refusal};
use super::tensor::RawTensor;
use super::values::{Known, encoded};
use rectify_ir::init::Init;
use rectify_ir::op::{Binary, Op, ReduceKind, Source, Unary};
use rectify_ir::{DType, Dim, DimFacts, TensorType, Value};
use std::collections::HashSet;
use std::rc::Rc;

/// What a lowering returns: nothing, for results are set on the way.
pub type Lowered = Result<(), Refusal>;

pub struct Cx<'a, 'm> {
    im: &'a mut Importer<'m>,
    pub attrs: &'a Attrs<'a>,
    inputs: &'a [Option<String>],
    outputs: &'a [Option<String>],
    /// Version of ONNX's operator set.
    pub version: i64,
    pub op: &'a str,
    /// Which inputs were looked at: what a node reads beside them is not understood.
    seen: Vec<bool>,
    set: Vec<bool>,
}

impl<'a, 'm> Cx<'a, 'm> {
    pub fn new(
        im: &'a mut Importer<'m>,
        attrs: &'a Attrs<'a>,
        inputs: &'a [Option<String>],
        outputs: &'a [Option<String>],
        version: i64,
        op: &'a str,
    ) -> Cx<'a, 'm> {
        let (seen, set) = (vec![false; inputs.len()], vec![false; outputs.len()]);
        Cx { im, attrs, inputs, outputs, version, op, seen, set }
    }

    /// Checks that all of the node was understood and all its results made.
    pub fn finish(self) -> Lowered {
        if let Some(name) = self.attrs.unread().first() {
            let message = format!("the attribute `{name}` is not known for {}", self.op);
            return Err(Refusal::attribute(message).help("remove it if it has no effect"));
        }
        if let Some(i) = self.seen.iter().zip(self.inputs).position(|(seen, name)| !seen && name.is_some()) {
            return Err(Refusal::malformed(format!("{} has no input {i}", self.op)));
        }
        match self.set.iter().zip(self.outputs).position(|(set, name)| !set && name.is_some()) {
            None => Ok(()),
            Some(i) => Err(Refusal::form(format!("result {i} of {} is not supported", self.op))),
        }
    }

    /// Number of inputs, those left out at the end not counted.
    pub fn input_count(&self) -> usize {
        self.inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1)
    }

    pub fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// True where somebody may read result `i`.
    pub fn wants(&self, i: usize) -> bool {
        self.outputs.get(i).is_some_and(Option::is_some)
    }

    pub fn has(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(Option::is_some)
    }

    fn name(&mut self, i: usize) -> Result<&'a str, Refusal> {
        let missing = || Refusal::malformed(format!("input {i} of {} is missing", self.op));
        let name = self.inputs.get(i).and_then(Option::as_deref).ok_or_else(missing)?;
        self.seen[i] = true;
        Ok(name)
    }

    /// Input `i` as a value of the graph.
    pub fn value(&mut self, i: usize) -> Result<Value, Refusal> {
        let name = self.name(i)?;
        self.im.value(name)
    }

    pub fn opt_value(&mut self, i: usize) -> Result<Option<Value>, Refusal> {
        if self.has(i) { self.value(i).map(Some) } else { Ok(None) }
    }

    pub fn ty(&mut self, i: usize) -> Result<TensorType, Refusal> {
        let name = self.name(i)?;
        self.im.ty(name)
    }

    /// The elements of input `i`, if they are known.
    pub fn known(&mut self, i: usize) -> Result<Option<Rc<Known>>, Refusal> {
        let name = self.name(i)?;
        self.im.known(name)
    }

    /// The elements of input `i`, which decide on what the node is.
    fn need(&mut self, i: usize, what: &str) -> Result<Rc<Known>, Refusal> {
        if let Some(known) = self.known(i)? {
            return Ok(known);
        }
        let name = self.name(i)?;
        let value = self.im.value(name)?;
        let help = "give the values of the inputs that it depends on";
        match self.value_inputs(value) {
            Some(mut inputs) => {
                // The node's other operands of this kind are asked for at the same time.
                for other in self.inputs[i + 1..].iter().flatten() {
                    let small = self.im.ty(other).is_ok_and(|t| t.dtype.is_int() && t.rank() <= 1);
                    if small && self.im.known(other)?.is_none() {
                        let value = self.im.value(other)?;
                        inputs.extend(self.value_inputs(value).unwrap_or_default());
                    }
                }
                inputs.sort();
                inputs.dedup();
                let list = inputs.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
                let message = format!("the {what} in `{name}` depend on the values of {list}");
                Err(Refusal::new(ProblemKind::NeedsValue(inputs), message).help(help))
            }
            None => Err(Refusal::form(format!("the {what} in `{name}` are computed from data"))
                .help("export the model with fixed shapes, so that they become constants")),
        }
    }

    /// Names of the small inputs that `value` is computed from; `None` if it depends on others too.
    fn value_inputs(&self, value: Value) -> Option<Vec<String>> {
        let graph = &self.im.graph;
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![value.node];
        while let Some(id) = stack.pop() {
            let node = graph.node(id);
            if matches!(node.op, Op::Input) {
                let small = node.types[0].elements().ok()?.as_const().is_none_or(|n| n <= MAX_VALUE_INPUT);
                if !small || node.types[0].rank() > 1 {
                    return None;
                }
                names.push(node.name.as_deref().unwrap_or_default().to_string());
            }
            stack.extend(node.operands.iter().map(|v| v.node).filter(|n| seen.insert(*n)));
        }
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(names)
    }

    /// The integers of input `i`, which are called `what` in messages.
    pub fn ints(&mut self, i: usize, what: &str) -> Result<Vec<i64>, Refusal> {
        self.need(i, what)?.as_ints().ok_or_else(|| {
            Refusal::form(format!("the {what} depend on symbolic sizes"))
                .help("give the model's symbolic dims fixed sizes when importing")
        })
    }

    /// The integers of input `i`; they may be symbolic.
    pub fn dims(&mut self, i: usize, what: &str) -> Result<Vec<Dim>, Refusal> {
        let known = self.need(i, what)?;
        known.as_dims().ok_or_else(|| Refusal::malformed(format!("the {what} are no integers")))
    }

    /// The numbers of input `i`.
    pub fn floats(&mut self, i: usize, what: &str) -> Result<Vec<f64>, Refusal> {
        self.need(i, what)?.as_floats().ok_or_else(|| {
            Refusal::form(format!("the {what} depend on symbolic sizes"))
                .help("give the model's symbolic dims fixed sizes when importing")
        })
    }

    /// The only element of input `i`, if it is a known number.
    pub fn known_number(&mut self, i: usize) -> Result<Option<f64>, Refusal> {
        Ok(self.known(i)?.and_then(|k| match k.as_floats()?.as_slice() {
            [v] => Some(*v),
            _ => None,
        }))
    }

    pub fn facts(&self) -> &DimFacts {
        &self.im.graph.facts
    }

    pub fn type_of(&self, v: Value) -> &TensorType {
        self.im.graph.ty(v)
    }

    /// True where the value depends on constants only, so that work on it is done when weights are packed.
    pub fn is_constant(&self, v: Value) -> bool {
        let node = self.im.graph.node(v.node);
        match node.op {
            Op::Param(_) | Op::Const(_) => true,
            Op::Input => false,
            _ => !node.operands.is_empty() && node.operands.iter().all(|o| self.is_constant_leaf(*o)),
        }
    }

    fn is_constant_leaf(&self, v: Value) -> bool {
        matches!(self.im.graph.node(v.node).op, Op::Param(_) | Op::Const(_))
    }

    pub fn push(&mut self, op: Op, operands: &[Value]) -> Result<Value, Refusal> {
        if let (Op::Expand { shape }, [x]) = (&op, operands)
            && shape.iter().any(|d| self.im.is_data(d))
        {
            return self.im.expand(*x, shape.clone());
        }
        let value = self.im.graph.push(op, operands)?;
        self.im.fresh.push(value.node);
        Ok(value)
    }

    pub fn push_multi(&mut self, op: Op, operands: &[Value]) -> Result<Vec<Value>, Refusal> {
        let values = self.im.graph.push_multi(op, operands, None)?;
        self.im.fresh.extend(values.first().map(|v| v.node));
        Ok(values)
    }

    /// The first `count` slices of x along the axis, whose size gets a name of its own; the same one for the same count of
    /// as many slices.
    pub fn cut(&mut self, x: Value, count: Value, axis: usize) -> Result<Value, Refusal> {
        let all = self.im.graph.ty(x).shape[axis].clone();
        let name = self.im.data_dim(count, &all);
        self.push(Op::Cut { axis, size: Dim::sym(&name) }, &[x, count])
    }

    /// Whether the size depends on one that data gives.
    pub fn is_data(&self, size: &Dim) -> bool {
        self.im.is_data(size)
    }

    /// The size as a number i64[1].
    pub fn size(&mut self, size: &Dim) -> Result<Value, Refusal> {
        self.im.size(size)
    }

    pub fn unary(&mut self, u: Unary, x: Value) -> Result<Value, Refusal> {
        self.push(Op::Unary(u), &[x])
    }

    pub fn binary(&mut self, b: Binary, x: Value, y: Value) -> Result<Value, Refusal> {
        self.push(Op::Binary(b), &[x, y])
    }

    /// The number `c` on the right side.
    pub fn binary_const(&mut self, b: Binary, x: Value, c: f64) -> Result<Value, Refusal> {
        let c = self.scalar(c);
        self.binary(b, x, c)
    }

    pub fn scalar(&mut self, v: f64) -> Value {
        self.im.graph.push_const(v)
    }

    pub fn reduce(
        &mut self,
        kind: ReduceKind,
        x: Value,
        axes: &[usize],
        keep: bool,
    ) -> Result<Value, Refusal> {
        if axes.is_empty() {
            return Ok(x);
        }
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.push(Op::Reduce { kind, axes, keep }, &[x])
    }

    /// The value as another type; the value itself if it has that type.
    pub fn cast(&mut self, x: Value, to: DType) -> Result<Value, Refusal> {
        if self.type_of(x).dtype == to { Ok(x) } else { self.push(Op::Cast { to }, &[x]) }
    }

    /// condition ? a : b
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Result<Value, Refusal> {
        self.push(Op::Select, &[condition, a, b])
    }

    /// The value in another shape; the value itself if it has that shape.
    pub fn reshape(&mut self, x: Value, shape: Vec<Dim>) -> Result<Value, Refusal> {
        if self.type_of(x).shape == shape { Ok(x) } else { self.push(Op::Reshape { shape }, &[x]) }
    }

    /// The value with permuted axes; the value itself if the order stays.
    pub fn transpose(&mut self, x: Value, perm: Vec<usize>) -> Result<Value, Refusal> {
        if perm.iter().copied().eq(0..perm.len()) && perm.len() == self.type_of(x).rank() {
            Ok(x)
        } else {
            self.push(Op::Transpose { perm }, &[x])
        }
    }

    /// A constant tensor of one value, under a name of its own.
    pub fn filled(&mut self, dtype: DType, shape: Vec<Dim>, value: f64) -> Value {
        let base = self.outputs.iter().flatten().next().map_or("constant", String::as_str);
        let name = self.im.unique(&format!("{base}.{}", if value == 0.0 { "zeros" } else { "filled" }));
        let source = Source::Init(Init::constant(value));
        self.im.graph.add_param(name, TensorType::new(dtype, shape), source)
    }

    /// A constant tensor of these numbers, under a name of its own.
    pub fn literal(&mut self, dtype: DType, shape: &[usize], values: &mut dyn Iterator<Item = f64>) -> Value {
        let base = self.outputs.iter().flatten().next().map_or("constant", String::as_str);
        let name = self.im.unique(&format!("{base}.pattern"));
        let bytes: Vec<u8> = values.flat_map(|v| encoded(v, dtype)).collect();
        self.im.constant(&name, RawTensor { dtype, shape: shape.to_vec(), bytes: bytes.into() })
    }

    /// Axis `v` of a tensor of `rank` axes; negative counts from the end.
    pub fn wrap_axis(&self, v: i64, rank: usize) -> Result<usize, Refusal> {
        super::indices::wrap(v, rank)
            .ok_or_else(|| Refusal::malformed(format!("axis {v} is outside of a tensor of {rank} axes")))
    }

    /// The attribute `axis` of a tensor of `rank` axes.
    pub fn axis(&self, default: i64, rank: usize) -> Result<usize, Refusal> {
        let v = self.attrs.int("axis", default)?;
        self.wrap_axis(v, rank)
    }

    pub fn set(&mut self, i: usize, value: Value) {
        if let Some(Some(name)) = self.outputs.get(i) {
            self.im.set_value(name, value);
            self.set[i] = true;
        }
    }

    pub fn set_known(&mut self, i: usize, known: Known) {
        if let Some(Some(name)) = self.outputs.get(i) {
            self.im.set_known(name, known);
            self.set[i] = true;
        }
    }

    pub fn set_raw(&mut self, i: usize, raw: RawTensor) {
        if let Some(Some(name)) = self.outputs.get(i) {
            self.im.set_raw(name, raw);
            self.set[i] = true;
        }
    }

    /// Lets result `i` be input `from`.
    pub fn set_alias(&mut self, i: usize, from: usize) -> Lowered {
        let from = self.name(from)?;
        if let Some(Some(name)) = self.outputs.get(i) {
            self.im.set_alias(name, from)?;
            self.set[i] = true;
        }
        Ok(())
    }
}
