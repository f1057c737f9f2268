//! The reference interpreter: the meaning of every operation.
//!
//! It is generic over `f32` and `f64` and favours plain loops over speed. All float types of a model are computed in
//! the chosen one; integers wrap to their width. Passes and generated code must agree with it.
//!
//! Sizes: the inputs' shapes give the dimension names their values (see [`crate::bind`]), so any verified graph
//! evaluates as it is. Nothing here panics on wrong inputs: they are [`EvalError`]s.

mod contraction;
mod elementwise;
mod error;
mod float;
mod layout;
mod norm;
mod order;
mod pool;
mod reduce;
mod resize;
mod selection;
mod tensor;
mod window;

pub use elementwise::{apply_binary, apply_unary, prelu};
pub use error::EvalError;
pub use float::{Float, erf, erfc, max, min};
pub use resize::{ResizeTaps, nearest_source, resize_keeps, source_coordinate};
pub use tensor::{Data, Tensor};

use crate::bind::{BindError, Bindings, bind, bind_data, data_dims, solve};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{EpArg, Graph, Node, NodeId, Value};
use crate::op::{Op, Source};
use crate::shape::operand_types_of;
use crate::types::TensorType;
use crate::verify::verify;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Tensors by name.
pub type Tensors<T> = BTreeMap<String, Tensor<T>>;

/// Gives the value of a parameter node of the bound graph, or says why it cannot.
pub type Params<'a, T> = dyn FnMut(&Graph, NodeId) -> Result<Tensor<T>, String> + 'a;

/// Limits of one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Greatest number of bytes in tensors at one time.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_bytes: 8 << 30 }
    }
}

/// The values of all nodes of one evaluation.
#[derive(Clone, Debug)]
pub struct Trace<T> {
    /// The graph with known sizes; node ids are those of the evaluated graph.
    pub graph: Graph,
    pub values: HashMap<Value, Tensor<T>>,
}

/// Evaluates a graph on inputs by name; gives the outputs by name.
pub fn eval<T: Float>(
    graph: &Graph,
    inputs: &Tensors<T>,
    params: &mut Params<'_, T>,
) -> Result<Tensors<T>, EvalError> {
    let trace = run(graph, inputs, params, Options::default(), false)?;
    let get = |v: &Value| trace.values.get(v).cloned().ok_or(EvalError::Kind);
    graph.outputs.iter().map(|o| Ok((o.name.to_string(), get(&o.value)?))).collect()
}

/// As [`eval`], but keeps the value of every node.
pub fn eval_all<T: Float>(
    graph: &Graph,
    inputs: &Tensors<T>,
    params: &mut Params<'_, T>,
) -> Result<Trace<T>, EvalError> {
    run(graph, inputs, params, Options::default(), true)
}

/// Evaluates with limits. Without `keep`, values that no later node and no output reads are dropped on the way.
pub fn run<T: Float>(
    graph: &Graph,
    inputs: &Tensors<T>,
    params: &mut Params<'_, T>,
    options: Options,
    keep: bool,
) -> Result<Trace<T>, EvalError> {
    verify(graph).map_err(EvalError::Invalid)?;
    let shapes =
        inputs.iter().map(|(name, t)| (name.clone(), t.shape.iter().map(|d| *d as i64).collect())).collect();
    let mut graph = bind(graph, &solve(graph, &shapes)?)?;
    // Sizes that are known when what they depend on is computed.
    let mut sizes = Bindings::new();
    let order = graph.topo_order();
    let mut uses: HashMap<Value, usize> = HashMap::new();
    let read = order.iter().flat_map(|id| &graph.node(*id).operands);
    for v in read.chain(graph.outputs.iter().map(|o| &o.value)) {
        *uses.entry(*v).or_default() += 1;
    }

    let mut values: HashMap<Value, Tensor<T>> = HashMap::new();
    let mut live = 0u64;
    let data = data_dims(&graph);
    let (mut pending, mut waiting) = (VecDeque::from(order), 0);
    while let Some(id) = pending.pop_front() {
        // A size may be asked for before the cut that makes it known.
        if waiting <= pending.len() && !is_ready(&graph, id, &values, &data, &sizes) {
            pending.push_back(id);
            waiting += 1;
            continue;
        }
        waiting = 0;
        resolve(&mut graph, id, &values, &mut sizes)?;
        let node = graph.node(id);
        let needed = node.types.iter().try_fold(live, |sum, t| sum.checked_add(bytes_of(t)?));
        live = match needed {
            Some(n) if n <= options.max_bytes => n,
            _ => return Err(EvalError::Memory { node: label(node, id), limit: options.max_bytes }),
        };
        let results = match &node.op {
            Op::Input => vec![input(node, inputs)?],
            Op::Param(_) => vec![param(&graph, id, params)?],
            // Of nothing nothing comes, also where an operation by itself needs elements.
            op if !sizes.is_empty() && !op.takes_empty() && node.types.iter().all(TensorType::is_empty) => {
                node.types.iter().map(empty).collect::<Result<_, _>>()?
            }
            _ => {
                let operands = node.operands.iter().map(|v| values.get(v).ok_or(EvalError::Kind));
                eval_node(&graph, id, &operands.collect::<Result<Vec<_>, _>>()?)?
            }
        };
        for (result, tensor) in results.into_iter().enumerate() {
            let value = Value { node: id, result: result as u32 };
            if keep || uses.contains_key(&value) {
                values.insert(value, tensor);
            }
        }
        for v in node.operands.iter().filter(|_| !keep) {
            let left = uses.entry(*v).or_insert(1);
            *left -= 1;
            if *left == 0 && values.remove(v).is_some() {
                live = live.saturating_sub(bytes_of(graph.ty(*v)).unwrap_or(0));
            }
        }
    }
    Ok(Trace { graph, values })
}

/// Whether operands and sizes are known. All are, in order, where no size is one that data gives.
fn is_ready<T>(
    graph: &Graph,
    id: NodeId,
    values: &HashMap<Value, Tensor<T>>,
    data: &BTreeSet<Arc<str>>,
    sizes: &Bindings,
) -> bool {
    let node = graph.node(id);
    let mut names = BTreeSet::new();
    node.types.iter().flat_map(|t| &t.shape).for_each(|d| d.collect_symbols(&mut names));
    if let Op::Cut { size, .. } = &node.op {
        let mut made = BTreeSet::new();
        size.collect_symbols(&mut made);
        names.retain(|name| !made.contains(name));
    }
    let known = |name: &Arc<str>| !data.contains(name) || sizes.contains_key(&**name);
    data.is_empty() || (names.iter().all(known) && node.operands.iter().all(|v| values.contains_key(v)))
}

/// Puts the sizes that are known by now into a node. A cut makes a size known.
fn resolve<T: Float>(
    graph: &mut Graph,
    id: NodeId,
    values: &HashMap<Value, Tensor<T>>,
    sizes: &mut Bindings,
) -> Result<(), EvalError> {
    if let Op::Cut { axis, size } = &graph.node(id).op {
        let size = size.clone();
        let [x, count] = graph.node(id).operands[..] else { return Err(EvalError::Kind) };
        let value = |v: Value| values.get(&v).ok_or(EvalError::Kind);
        let found = selection::cut_size(value(count)?, value(x)?.shape[*axis])? as i64;
        let rest = size.substitute(&|n| sizes.get(n).map(|v| Dim::Const(*v)), &graph.facts);
        match rest.map_err(BindError::from)? {
            Dim::Const(known) if known == found => {}
            rest => match rest.linear_root(found) {
                Some((name, Some(value))) => drop(sizes.insert(name.to_string(), value)),
                Some((_, None)) | None => {
                    return Err(EvalError::Size { node: label(graph.node(id), id), size, found });
                }
            },
        }
    }
    if !sizes.is_empty() {
        bind_data(graph, id, sizes)?;
    }
    Ok(())
}

fn empty<T: Float>(ty: &TensorType) -> Result<Tensor<T>, EvalError> {
    let shape = ty.const_shape().ok_or(EvalError::Kind)?;
    Ok(Tensor::scalar(0.0, ty.dtype).gather(shape, 0.0, |_| None))
}

/// Bytes that the interpreter needs for a value.
fn bytes_of(ty: &TensorType) -> Option<u64> {
    ty.const_shape()?.iter().try_fold(8u64, |n, d| n.checked_mul(*d as u64))
}

/// A node as messages name it.
fn label(node: &Node, id: NodeId) -> String {
    match &node.name {
        Some(name) => format!("{} `{name}`", node.op.name()),
        None => format!("{} {id}", node.op.name()),
    }
}

fn input<T: Float>(node: &Node, inputs: &Tensors<T>) -> Result<Tensor<T>, EvalError> {
    let name = node.name.as_deref().unwrap_or_default();
    // Binding has checked presence and shape.
    let tensor = inputs.get(name).ok_or(EvalError::Kind)?;
    if tensor.is_consistent() && tensor.holds(node.types[0].dtype) {
        Ok(tensor.clone())
    } else {
        Err(EvalError::InputData { name: name.to_string(), ty: node.types[0].clone() })
    }
}

fn param<T: Float>(graph: &Graph, id: NodeId, params: &mut Params<'_, T>) -> Result<Tensor<T>, EvalError> {
    let node = graph.node(id);
    let name = node.name.as_deref().unwrap_or_default().to_string();
    let tensor = params(graph, id).map_err(|message| EvalError::Param { name: name.clone(), message })?;
    let ty = &node.types[0];
    let fits = tensor.is_consistent()
        && tensor.holds(ty.dtype)
        && ty.const_shape().as_deref() == Some(tensor.shape.as_slice());
    if fits {
        return Ok(tensor);
    }
    let message = format!("it is {ty}, but the given value has the shape {:?}", tensor.shape);
    Err(EvalError::Param { name, message })
}

/// The value of a parameter whose source says it without any file or random draw: literals and constant initialisers.
pub fn known_param<T: Float>(graph: &Graph, id: NodeId) -> Option<Tensor<T>> {
    let node = graph.node(id);
    match node.source()? {
        Source::Data(literal) => literal.is_consistent().then(|| Tensor::from_literal(literal)),
        Source::Init(init) => {
            let (ty, value) = (&node.types[0], init.as_constant()?);
            let shape = ty.const_shape()?;
            let scalar = Tensor::scalar(value, ty.dtype);
            Some(scalar.gather(shape, 0.0, |_| Some(0)))
        }
        Source::File { .. } => None,
    }
}

/// Evaluates one node of a graph with known sizes on the values of its operands (the epilogue's too): neither an input
/// nor a parameter.
pub fn eval_node<T: Float>(
    graph: &Graph,
    id: NodeId,
    operands: &[&Tensor<T>],
) -> Result<Vec<Tensor<T>>, EvalError> {
    let node = graph.node(id);
    if operands.len() != node.operands.len() || node.arity > operands.len() {
        return Err(EvalError::Kind);
    }
    // A constant takes the element type of what it is combined with.
    let types = operand_types_of(graph, node.op.name(), node.own_operands()).map_err(|_| EvalError::Kind)?;
    let own: Vec<Cow<'_, Tensor<T>>> = types.iter().zip(operands).map(|(ty, t)| adopt(t, ty.dtype)).collect();
    let x: Vec<&Tensor<T>> = own.iter().map(Cow::as_ref).collect();
    let of = types.first().map_or(node.types[0].dtype, |ty| ty.dtype);
    let mut results = eval_op(&node.op, &x, of, &node.types)?;
    if let Some(epilogue) = &node.epilogue {
        let [acc] = results.as_slice() else { return Err(EvalError::Kind) };
        let dtype = node.types[0].dtype;
        let mut steps: Vec<Tensor<T>> = Vec::with_capacity(epilogue.steps.len());
        for step in &epilogue.steps {
            let mut args = Vec::with_capacity(step.args.len());
            for arg in &step.args {
                args.push(match arg {
                    EpArg::Acc => Cow::Borrowed(acc),
                    EpArg::Step(i) => Cow::Borrowed(steps.get(*i as usize).ok_or(EvalError::Kind)?),
                    EpArg::Scalar(c) => Cow::Owned(Tensor::scalar(c.0, dtype)),
                    EpArg::Operand(i) => {
                        let at = node.arity + *i as usize;
                        let tensor = operands.get(at).ok_or(EvalError::Kind)?;
                        match graph.node(node.operands[at].node).op {
                            Op::Const(_) => adopt(tensor, dtype),
                            _ => Cow::Borrowed(*tensor),
                        }
                    }
                });
            }
            let args: Vec<_> = args.iter().map(Cow::as_ref).collect();
            let result = eval_op(&step.op, &args, dtype, &node.types)?.remove(0);
            steps.push(result);
        }
        results = steps.split_off(steps.len() - 1);
    }
    Ok(results)
}

/// A number of rank 0 in the kind of another element type.
fn adopt<'t, T: Float>(t: &'t Tensor<T>, dtype: DType) -> Cow<'t, Tensor<T>> {
    if t.holds(dtype) {
        return Cow::Borrowed(t);
    }
    Cow::Owned(Tensor::scalar(t.to_f64().first().copied().unwrap_or(0.0), dtype))
}

/// An operation on values, and what types its results have.
struct Kernel<'a, T> {
    x: &'a [&'a Tensor<T>],
    /// Element type of the first operand.
    of: DType,
    types: &'a [TensorType],
}

impl<T: Float> Kernel<'_, T> {
    /// The shape of a result.
    fn shape(&self, result: usize) -> Result<Vec<usize>, EvalError> {
        self.types.get(result).and_then(TensorType::const_shape).ok_or(EvalError::Kind)
    }

    fn dtype(&self) -> DType {
        self.types[0].dtype
    }

    /// Elements of an operand that must be floats.
    fn floats(&self, operand: usize) -> Result<&[T], EvalError> {
        self.x.get(operand).and_then(|t| t.floats()).ok_or(EvalError::Kind)
    }

    /// The first result, of floats.
    fn tensor(&self, values: Vec<T>) -> Result<Tensor<T>, EvalError> {
        Tensor::new(self.shape(0)?, values).ok_or(EvalError::Kind)
    }
}

/// The operation by itself, on operands that shape inference has accepted; `types` are the inferred ones.
/// `of` is the element type of the first operand.
fn eval_op<T: Float>(
    op: &Op,
    x: &[&Tensor<T>],
    of: DType,
    types: &[TensorType],
) -> Result<Vec<Tensor<T>>, EvalError> {
    let k = Kernel { x, of, types };
    let one = match op {
        Op::Input | Op::Param(_) => return Err(EvalError::Kind),
        Op::Const(c) => Tensor::scalar(c.0, k.dtype()),
        Op::Conv(a) => contraction::conv(&k, a)?,
        Op::ConvTranspose(a) => contraction::conv_transpose(&k, a)?,
        Op::ConvWeightGrad { conv, .. } => contraction::conv_weight_grad(&k, conv)?,
        Op::Dense => contraction::dense(&k)?,
        Op::MatMul => contraction::matmul(&k)?,
        Op::Unary(u) => elementwise::unary(u, x[0], k.dtype()),
        Op::Binary(b) => elementwise::binary(&k, *b, x[0], x[1])?,
        Op::Select => elementwise::select(&k)?,
        Op::Cast { to } => elementwise::cast(x[0], of, *to),
        Op::Prelu { axes } => elementwise::prelu_tensor(x[0], x[1], axes)?,
        Op::BatchNorm { eps } => norm::batch_norm(&k, eps.0)?,
        Op::LayerNorm { axis, eps } => norm::layer_norm(&k, *axis, eps.0)?,
        Op::InstanceNorm { eps } => norm::instance_norm(&k, eps.0)?,
        Op::MaxPool(a) => pool::max_pool(&k, a)?,
        Op::MaxPoolGrad(a) => pool::max_pool_grad(&k, a)?,
        Op::AvgPool { pool: a, count_include_pad } => pool::avg_pool(&k, a, *count_include_pad)?,
        Op::Spp { bins } => pool::spp(&k, bins)?,
        Op::Softmax { axis } => reduce::softmax(&k, *axis)?,
        Op::Reduce { kind, axes, .. } => reduce::reduce(&k, *kind, axes)?,
        Op::Concat { axis } => layout::concat(&k, *axis)?,
        Op::Split { axis, .. } => return layout::split(&k, *axis),
        Op::Slice { axes, starts, steps, .. } => layout::slice(&k, axes, starts, steps)?,
        Op::Pad { pads, mode } => layout::pad(&k, pads, mode)?,
        Op::Transpose { perm } => layout::transpose(&k, perm)?,
        Op::Reshape { .. } => Tensor { shape: k.shape(0)?, data: x[0].data.clone() },
        Op::Expand { .. } => layout::expand(&k)?,
        Op::Gather { axis } => layout::gather(&k, *axis)?,
        Op::GatherElements { axis } => layout::gather_elements(&k, *axis)?,
        Op::GatherNd { batch } => layout::gather_nd(&k, *batch)?,
        Op::ScatterElements { axis, reduction } => order::scatter_elements(&k, *axis, *reduction)?,
        Op::ScatterNd { reduction } => order::scatter_nd(&k, *reduction)?,
        Op::ArgReduce { kind, axis, last, .. } => order::arg_reduce(&k, *kind, *axis, *last)?,
        Op::ArgSort { axis, descending, .. } => order::arg_sort(&k, *axis, *descending)?,
        Op::Cumulate { kind, axis, exclusive, reverse } => {
            order::cumulate(&k, *kind, *axis, *exclusive, *reverse)?
        }
        Op::MaxPoolIndices(a) => order::max_pool_indices(&k, a)?,
        Op::Cut { axis, .. } => selection::cut(&k, *axis)?,
        Op::NonZero => return selection::nonzero(&k),
        Op::NonMaxSuppression { centre, .. } => selection::non_max_suppression(&k, *centre)?,
        Op::DepthToSpace { block, mode } => layout::depth_to_space(&k, *block, *mode)?,
        Op::Resize(a) => resize::resize(&k, a)?,
        Op::Dropout { .. } | Op::Map => x[0].clone(),
    };
    Ok(vec![one])
}

#[cfg(test)]
mod tests;
