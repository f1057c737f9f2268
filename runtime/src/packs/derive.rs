//! Values of derived parameters, range by range.
//!
//! Elementwise derivations of large parameters are evaluated in tiles of rows (the outermost axis); reshapes pass ranges
//! through; everything else, and whatever is small, is evaluated once as a whole and remembered while packing goes on.

use super::source::{ParamError, Parameters};
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::interp::{self, Data};
use rectify_ir::op::{Binary, Op};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Values up to this many elements are evaluated as a whole.
const WHOLE_ELEMENTS: usize = 1 << 16;

/// The values of all results of a node.
type Results = Arc<Vec<Vec<f32>>>;

/// Reads any value that depends on parameters only.
pub(super) struct Reader<'a> {
    graph: &'a Graph,
    parameters: &'a Parameters,
    whole: Mutex<HashMap<NodeId, Results>>,
}

/// See [`Reader::scaling`].
struct Scaling {
    op: Binary,
    tensor: Value,
    rows: Value,
    tensor_first: bool,
}

impl<'a> Reader<'a> {
    pub fn new(graph: &'a Graph, parameters: &'a Parameters) -> Reader<'a> {
        Reader { graph, parameters, whole: Mutex::default() }
    }

    /// Writes elements `start .. start + out.len()` of the value, row-major, into `out`.
    pub fn read(&self, value: Value, start: usize, out: &mut [f32]) -> Result<(), ParamError> {
        let node = value.node;
        let n = self.graph.node(node);
        match &n.op {
            Op::Param(_) => return self.parameters.read(self.graph, node, start, out),
            Op::Const(value) => {
                out.fill(value.0 as f32);
                return Ok(());
            }
            Op::Reshape { .. } if n.epilogue.is_none() => {
                return self.read(n.operands[0], start, out);
            }
            _ => {}
        }
        let shape = self.shape(value)?;
        let elements: usize = shape.iter().product();
        if let Some(scaling) = self.scaling(node, &shape)? {
            return self.scale(&scaling, elements / shape[0], start, out);
        }
        let by_rows = matches!(n.op, Op::Unary(_) | Op::Binary(_)) && n.epilogue.is_none();
        if elements <= WHOLE_ELEMENTS || !by_rows {
            let whole = self.whole(node)?;
            let part = whole
                .get(value.result as usize)
                .and_then(|values| values.get(start..start + out.len()))
                .ok_or_else(|| self.error(node, format!("fewer than {elements} values")))?;
            out.copy_from_slice(part);
            return Ok(());
        }
        // Whole rows around the range, a tile at a time.
        let row = elements / shape[0].max(1);
        let rows = start / row..(start + out.len()).div_ceil(row);
        let tile = (WHOLE_ELEMENTS / row).max(1);
        let mut first = rows.start;
        while first < rows.end {
            let tile_rows = first..(first + tile).min(rows.end);
            let values = self.rows(node, &shape, tile_rows.clone())?;
            let (from, to) = (tile_rows.start * row, tile_rows.end * row);
            let (low, high) = (from.max(start), to.min(start + out.len()));
            out[low - start..high - start].copy_from_slice(&values[low - from..high - from]);
            first = tile_rows.end;
        }
        Ok(())
    }

    /// The node as arithmetic of a tensor with one value for each of its rows, such as a weight with a folded norm.
    fn scaling(&self, node: NodeId, shape: &[usize]) -> Result<Option<Scaling>, ParamError> {
        let n = self.graph.node(node);
        let (Op::Binary(op), [a, b]) = (&n.op, n.own_operands()) else { return Ok(None) };
        let per_row = |value: Value| -> Result<bool, ParamError> {
            let own = self.shape(value)?;
            Ok(own.len() == shape.len() && own[0] == shape[0] && own[1..].iter().all(|extent| *extent == 1))
        };
        if n.epilogue.is_some() || shape.len() < 2 || shape[1..].iter().product::<usize>() < 2 {
            return Ok(None);
        }
        if self.shape(*a)? == shape && per_row(*b)? {
            return Ok(Some(Scaling { op: *op, tensor: *a, rows: *b, tensor_first: true }));
        }
        if self.shape(*b)? == shape && per_row(*a)? {
            return Ok(Some(Scaling { op: *op, tensor: *b, rows: *a, tensor_first: false }));
        }
        Ok(None)
    }

    /// Reads the tensor into `out` and computes there: nothing is copied besides.
    fn scale(&self, s: &Scaling, row: usize, start: usize, out: &mut [f32]) -> Result<(), ParamError> {
        self.read(s.tensor, start, out)?;
        let rows = start / row..(start + out.len()).div_ceil(row);
        let mut values = vec![0.0; rows.len()];
        self.read(s.rows, rows.start, &mut values)?;
        let mut rest = out;
        for (index, value) in rows.zip(values) {
            let end = (index + 1) * row - start.max(index * row);
            let (part, behind) = rest.split_at_mut(end.min(rest.len()));
            match (s.op, s.tensor_first) {
                (Binary::Mul, _) => part.iter_mut().for_each(|x| *x *= value),
                (op, true) => part.iter_mut().for_each(|x| *x = interp::apply_binary(op, *x, value)),
                (op, false) => part.iter_mut().for_each(|x| *x = interp::apply_binary(op, value, *x)),
            }
            rest = behind;
        }
        Ok(())
    }

    /// Rows of an elementwise node: of each operand the same rows, or all of it where it has one row for all.
    fn rows(&self, node: NodeId, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>, ParamError> {
        let n = self.graph.node(node);
        let mut tile = shape.to_vec();
        tile[0] = rows.len();
        let mut operands = Vec::with_capacity(n.operands.len());
        for value in &n.operands {
            let mut part = self.shape(*value)?;
            let elements: usize = part.iter().product();
            let moves = part.len() == shape.len() && part[0] == shape[0] && shape[0] > 1;
            let range = if moves {
                let row = elements / part[0];
                part[0] = rows.len();
                rows.start * row..rows.end * row
            } else {
                0..elements
            };
            let mut values = vec![0.0; range.len()];
            self.read(*value, range.start, &mut values)?;
            operands.push((part, values));
        }
        match (&n.op, operands.as_slice()) {
            (Op::Unary(f), [(_, x)]) => Ok(x.iter().map(|x| interp::apply_unary(f, *x)).collect()),
            (Op::Binary(f), [a, b]) => Ok(broadcast(&tile, a, b, |a, b| interp::apply_binary(*f, a, b))),
            _ => Err(self.error(node, format!("{} is not evaluated by rows", n.op.name()))),
        }
    }

    fn whole(&self, node: NodeId) -> Result<Results, ParamError> {
        if let Some(values) = self.whole.lock().unwrap_or_else(|e| e.into_inner()).get(&node) {
            return Ok(values.clone());
        }
        let n = self.graph.node(node);
        let mut operands = Vec::with_capacity(n.operands.len());
        for value in &n.operands {
            let shape = self.shape(*value)?;
            let mut values = vec![0.0; shape.iter().product()];
            self.read(*value, 0, &mut values)?;
            operands.push(self.tensor(node, self.graph.ty(*value).dtype, shape, values)?);
        }
        let values = Arc::new(self.apply(node, &operands)?);
        // Two threads may both have made it: the values are the same.
        self.whole.lock().unwrap_or_else(|e| e.into_inner()).insert(node, values.clone());
        Ok(values)
    }

    fn tensor(
        &self,
        node: NodeId,
        dtype: DType,
        shape: Vec<usize>,
        values: Vec<f32>,
    ) -> Result<interp::Tensor<f32>, ParamError> {
        let data = match dtype {
            DType::Bool => Data::Bool(values.iter().map(|v| *v != 0.0).collect()),
            t if t.is_int() => Data::Int(values.iter().map(|v| *v as i64).collect()),
            _ => Data::Float(values),
        };
        let tensor = interp::Tensor { shape, data };
        if tensor.is_consistent() {
            return Ok(tensor);
        }
        Err(self.error(node, "values do not fit the shape".into()))
    }

    /// The node's operation, epilogue included, on given operands.
    fn apply(&self, node: NodeId, operands: &[interp::Tensor<f32>]) -> Result<Vec<Vec<f32>>, ParamError> {
        let operands: Vec<_> = operands.iter().collect();
        let results =
            interp::eval_node(self.graph, node, &operands).map_err(|e| self.error(node, e.to_string()))?;
        // Bool is 0 or 1, as kernels have it.
        let number = |t: &interp::Tensor<f32>| t.to_f64().into_iter().map(|v| v as f32).collect();
        Ok(results.iter().map(number).collect())
    }

    fn shape(&self, value: Value) -> Result<Vec<usize>, ParamError> {
        let ty = self.graph.ty(value);
        ty.const_shape().ok_or_else(|| self.error(value.node, format!("its type {ty} is not bound")))
    }

    fn error(&self, node: NodeId, message: String) -> ParamError {
        let label = self.graph.node(node).name.as_deref().unwrap_or_default();
        ParamError::Derivation { node: format!("{node} {label}"), message }
    }
}

/// `f` over two operands of the given shapes, broadcast to `shape` as in numpy.
fn broadcast(
    shape: &[usize],
    (a_shape, a): &(Vec<usize>, Vec<f32>),
    (b_shape, b): &(Vec<usize>, Vec<f32>),
    f: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let (a_strides, b_strides) = (strides(shape, a_shape), strides(shape, b_shape));
    // Trailing axes along which each operand is one run, or one element repeated, are walked as one.
    let mut inner = shape.len();
    let mut run = 1;
    let mut steps: Option<(usize, usize)> = None;
    while inner > 0 {
        let axis = inner - 1;
        let step = |strides: &[usize]| if strides[axis] == 0 { 0 } else { 1 };
        let here = (step(&a_strides), step(&b_strides));
        if shape[axis] != 1 {
            if steps.is_some_and(|before| before != here) {
                break;
            }
            steps = Some(here);
        }
        run *= shape[axis];
        inner = axis;
    }
    let (a_step, b_step) = steps.unwrap_or((0, 0));
    let total = shape.iter().product();
    let mut out = Vec::with_capacity(total);
    let mut index = vec![0; inner];
    while out.len() < total {
        let at = |strides: &[usize]| index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>();
        let (a_start, b_start) = (at(&a_strides), at(&b_strides));
        out.extend((0..run).map(|k| f(a[a_start + k * a_step], b[b_start + k * b_step])));
        let Some(axis) = (0..inner).rev().find(|x| index[*x] + 1 < shape[*x]) else { break };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
    out
}

/// Distances in elements along the axes of `shape` in an operand broadcast to it; 0 where it repeats.
fn strides(shape: &[usize], operand: &[usize]) -> Vec<usize> {
    let lead = shape.len() - operand.len().min(shape.len());
    let mut strides = vec![0; shape.len()];
    let mut distance = 1;
    for (axis, extent) in operand.iter().enumerate().rev() {
        if *extent != 1 {
            strides[lead + axis] = distance;
        }
        distance *= extent;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_ir::TensorType;
    use rectify_ir::graph::{Node, Provenance};
    use rectify_ir::init::{Dist, Init};
    use rectify_ir::op::Source;
    use rectify_ir::scalar::Scalar;

    fn normal() -> Source {
        Source::Init(Init::from(Dist::Normal { mean: Scalar(0.0), std: Scalar(1.0) }))
    }

    fn binary(graph: &mut Graph, op: Binary, a: Value, b: Value, shape: &[i64]) -> Value {
        let shape: Vec<_> = shape.iter().map(|d| (*d).into()).collect();
        let node = Node {
            op: Op::Binary(op),
            operands: vec![a, b],
            arity: 2,
            epilogue: None,
            types: vec![TensorType::f32(shape)],
            name: None,
            provenance: Provenance::default(),
        };
        graph.add_node(node).into()
    }

    /// A scaled and shifted weight, read in pieces, equals the same arithmetic on the whole.
    #[test]
    fn large_derivations_are_read_in_rows() {
        let (rows, inner) = (37, 64 * 64);
        let mut graph = Graph::new("g");
        let dims = |d: &[i64]| d.iter().map(|d| (*d).into()).collect::<Vec<rectify_ir::Dim>>();
        let w = graph.add_param("w", TensorType::f32(dims(&[rows, 64, 8, 8])), normal());
        let s = graph.add_param("s", TensorType::f32(dims(&[rows, 1, 1, 1])), normal());
        let t = graph.add_param("t", TensorType::f32(dims(&[8])), normal());
        let scaled = binary(&mut graph, Binary::Mul, w, s, &[rows, 64, 8, 8]);
        let value = binary(&mut graph, Binary::Add, scaled, t, &[rows, 64, 8, 8]);
        let parameters = Parameters::new(3);
        let reader = Reader::new(&graph, &parameters);
        let source = |v: Value, n: usize| {
            let mut out = vec![0.0; n];
            parameters.read(&graph, v.node, 0, &mut out).expect("a parameter");
            out
        };
        let (w, s, t) = (source(w, rows as usize * inner), source(s, rows as usize), source(t, 8));
        let want: Vec<f32> = w.iter().enumerate().map(|(i, w)| w * s[i / inner] + t[i % 8]).collect();
        for (start, len) in [(0, want.len()), (12_345, 99_999), (want.len() - 7, 7)] {
            let mut got = vec![0.0; len];
            reader.read(value, start, &mut got).expect("a derivation");
            assert_eq!(got, want[start..start + len]);
        }
    }

    /// Arithmetic with a value for each row, in place, equals the same on the whole, wherever the range begins and ends.
    #[test]
    fn rows_are_scaled_in_place() {
        let (rows, inner) = (5, 6);
        let mut graph = Graph::new("g");
        let dims = |d: &[i64]| d.iter().map(|d| (*d).into()).collect::<Vec<rectify_ir::Dim>>();
        let w = graph.add_param("w", TensorType::f32(dims(&[rows, 2, 3])), normal());
        let s = graph.add_param("s", TensorType::f32(dims(&[rows, 1, 1])), normal());
        let parameters = Parameters::new(3);
        let source = |graph: &Graph, v: Value, n: usize| {
            let mut out = vec![0.0; n];
            parameters.read(graph, v.node, 0, &mut out).expect("a parameter");
            out
        };
        let (ws, ss) = (source(&graph, w, rows as usize * inner), source(&graph, s, rows as usize));
        for (op, first) in [(Binary::Mul, true), (Binary::Div, true), (Binary::Sub, false)] {
            let (a, b) = if first { (w, s) } else { (s, w) };
            let value = binary(&mut graph, op, a, b, &[rows, 2, 3]);
            let reader = Reader::new(&graph, &parameters);
            assert!(reader.scaling(value.node, &[rows as usize, 2, 3]).expect("bound").is_some());
            let want: Vec<f32> = ws
                .iter()
                .enumerate()
                .map(|(i, w)| {
                    let (x, y) = if first { (*w, ss[i / inner]) } else { (ss[i / inner], *w) };
                    interp::apply_binary(op, x, y)
                })
                .collect();
            for (start, len) in [(0, want.len()), (7, 4), (5, 8), (11, want.len() - 11), (6, 6)] {
                let mut got = vec![0.0; len];
                reader.read(value, start, &mut got).expect("a derivation");
                assert_eq!(got, want[start..start + len], "{op:?} {start} {len}");
            }
        }
    }

    #[test]
    fn broadcast_walks_any_mix_of_axes() {
        let a = (vec![2, 1, 3], (0..6).map(|v| v as f32).collect::<Vec<_>>());
        let b = (vec![4, 1], vec![10.0, 20.0, 30.0, 40.0]);
        let out = broadcast(&[2, 4, 3], &a, &b, |a, b| a + b);
        assert_eq!(out.len(), 24);
        assert_eq!(out[..6], [10.0, 11.0, 12.0, 20.0, 21.0, 22.0]);
        assert_eq!(out[23], 45.0);
        assert_eq!(broadcast(&[], &(vec![], vec![1.0]), &(vec![], vec![2.0]), |a, b| a - b), [-1.0]);
    }
}
