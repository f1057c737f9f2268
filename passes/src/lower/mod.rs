//! Lowering: a graph at known sizes becomes a plan for one target.
//!
//! What: layouts, algorithms, memory and the division of work are chosen here, in this order:
//! `layout` decides forms, shared storages and halos for the whole graph; then each node, in topological order, is
//! lowered by its family's file into draft steps over storages; `schedule` lets results take the place of operands
//! that die, orders memory and places barriers.
//! Requires: a graph without symbolic sizes. Leaves: a plan that `plan::verify` accepts.
//! Between inputs and outputs f16 and bf16 are held as f32, and bool as 0 and 1 of f32, so that all kernels of vectors
//! serve them; the other types are held as they are and computed one by one, in f64 or integers of 64 bits.
//! The result depends on the graph and the target alone, never on the machine or the thread count.

mod algorithms;
mod contract;
mod conv;
mod copies;
mod cuts;
mod demand;
mod dense;
mod elements;
mod elementwise;
mod empty;
mod error;
mod folded;
mod gather;
mod layout;
mod limits;
mod memory;
mod moves;
mod nest;
mod norm;
mod operands;
mod order;
mod packs;
mod pool;
mod pool_grad;
mod pool_indices;
mod product;
mod program;
mod reduce;
mod resize;
mod rows;
mod scatter;
mod schedule;
mod shuffle;
mod sorted;
mod storage;
mod suppression;
mod transposed;
mod view;
mod weight_grad;
mod window;
mod winograd;
mod winograd_grad;
mod winograd_weights;

pub use error::LowerError;

use layout::{Layout, sizes};
use packs::PackKeys;
use program::NotElementwise;
use rectify_ir::graph::{Graph, Node, NodeId, NodeSet, Value};
use rectify_ir::op::Op;
use rectify_ir::plan::{Algorithm, Plan};
use rectify_ir::target::Target;
use rectify_ir::{DType, types::ShapeDisplay};
use rustc_hash::FxHashMap;
use storage::{Draft, Form, Halo, Home, StorageId};
use view::View;

/// Which algorithm computes convolutions that several could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConvPolicy {
    /// The one that the cost model finds cheapest.
    #[default]
    Cheapest,
    /// The cheapest but for Winograd's.
    NoWinograd,
    /// This one wherever it can.
    Only(Algorithm),
}

/// Lowers a bound graph. The plan's `bindings` are left empty: they are the caller's, who bound the graph.
pub fn lower(graph: &Graph, target: &Target) -> Result<Plan, LowerError> {
    lower_with(graph, target, ConvPolicy::Cheapest)
}

/// As [`lower`], with a say in the algorithms.
pub fn lower_with(graph: &Graph, target: &Target, policy: ConvPolicy) -> Result<Plan, LowerError> {
    let (whole, cuts) = cuts::uncut(graph);
    let graph = &*whole;
    let params = packed_parameters(graph);
    let order = order::order(graph, &params);
    for id in order.iter().filter(|id| !params.contains(id)) {
        check_types(graph, *id)?;
    }
    // Parameters may be outputs too.
    for output in &graph.outputs {
        check_types(graph, output.value.node)?;
    }
    let lanes = i64::from(target.lanes);
    let layout = layout::decide(graph, &order, &params, lanes);
    let mut lower = Lower {
        graph,
        target,
        policy,
        lanes,
        layout,
        draft: Draft::new(lanes),
        inputs: Vec::new(),
        views: FxHashMap::default(),
        roots: FxHashMap::default(),
        copies: FxHashMap::default(),
        channels: FxHashMap::default(),
        keys: PackKeys::default(),
    };
    for (index, id) in graph.inputs().iter().enumerate() {
        let (value, shape) = (Value::from(*id), sizes(graph, (*id).into()));
        let (halo, label, dtype) = (Halo::none(shape.len()), lower.label(*id), graph.ty(value).dtype);
        let view =
            lower.draft.typed_tensor(dtype, Home::Input(index as u32), &shape, Form::Plain, &halo, &label)?;
        lower.inputs.push((value, view));
    }
    lower.read_inputs()?;
    for id in order.iter().filter(|id| !params.contains(id)) {
        lower.node(*id)?;
    }
    let outputs = lower.write_outputs()?;
    let mut plan = schedule::finish(graph, target, lower.draft, &outputs)?;
    for (port, cuts) in plan.outputs.iter_mut().zip(cuts) {
        port.cuts = cuts;
    }
    Ok(plan)
}

/// State of a lowering.
struct Lower<'a> {
    graph: &'a Graph,
    target: &'a Target,
    policy: ConvPolicy,
    lanes: i64,
    layout: Layout,
    draft: Draft,
    /// The model's inputs in the caller's memory.
    inputs: Vec<(Value, View)>,
    /// Where values lie; values that depend on parameters only are packed where they are used.
    views: FxHashMap<Value, View>,
    /// Storages of roots, as the view of the root itself.
    roots: FxHashMap<Value, View>,
    copies: FxHashMap<(Value, Form, demand::Fill), View>,
    /// Computed vectors of channels in tiles, by groups and width.
    channels: FxHashMap<(Value, i64, i64), StorageId>,
    keys: PackKeys,
}

impl Lower<'_> {
    fn node(&mut self, id: NodeId) -> Result<(), LowerError> {
        let graph = self.graph;
        let node = graph.node(id);
        if matches!(node.op, Op::Input | Op::Param(_) | Op::Const(_)) || self.without_elements(id)? {
            return Ok(());
        }
        match &node.op {
            Op::Input | Op::Param(_) | Op::Const(_) => Ok(()),
            Op::Conv(_) if self.layout.is_shuffled(id) => Ok(()),
            _ if self.layout.is_absorbed(id) => Ok(()),
            Op::Conv(a) if self.computes_elements(id) => self.conv_elements(id, a),
            Op::ConvTranspose(a) if self.computes_elements(id) => self.conv_transpose_elements(id, a),
            Op::Dense if self.computes_elements(id) => self.dense_elements(id),
            Op::AvgPool { pool, count_include_pad } if self.computes_elements(id) => {
                self.avg_pool_elements(id, pool, *count_include_pad)
            }
            Op::Conv(a) => self.conv(id, a),
            Op::ConvTranspose(a) => self.conv_transpose(id, a),
            Op::ConvWeightGrad { conv, kernel } => self.conv_weight_grad(id, conv, kernel),
            Op::Dense => self.dense(id),
            Op::MatMul if self.is_plain_product(id) => self.plain_product(id),
            Op::MatMul => self.matmul(id),
            Op::Dropout { .. } | Op::Map if node.epilogue.is_none() => self.identity(id),
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast { .. }
            | Op::Prelu { .. }
            | Op::Map
            | Op::Dropout { .. } => self.elementwise(id),
            Op::BatchNorm { eps } => self.batch_norm(id, eps.0),
            Op::LayerNorm { axis, eps } => self.layer_norm(id, *axis, eps.0),
            Op::InstanceNorm { eps } => self.instance_norm(id, eps.0),
            Op::MaxPool(a) => self.max_pool(id, a),
            Op::MaxPoolGrad(a) => self.max_pool_grad(id, a),
            Op::AvgPool { pool, count_include_pad } => self.avg_pool(id, pool, *count_include_pad),
            Op::Spp { bins } => self.spp(id, bins),
            Op::Softmax { axis } => self.softmax(id, *axis),
            Op::Reduce { kind, axes, keep } => self.reduce(id, *kind, axes, *keep),
            Op::Concat { axis } => self.concat(id, *axis),
            Op::Split { axis, .. } => self.split(id, *axis),
            Op::Slice { axes, starts, steps, .. } => self.slice(id, axes, starts, steps),
            Op::Pad { pads, mode } => self.pad(id, pads, *mode),
            Op::Transpose { perm } => self.transpose(id, perm),
            Op::Reshape { .. } => self.reshape(id),
            Op::Expand { .. } => self.expand(id),
            Op::Gather { axis } => self.gather(id, *axis),
            Op::GatherElements { axis } => self.gather_elements(id, *axis),
            Op::GatherNd { batch } => self.gather_nd(id, *batch),
            Op::ScatterElements { axis, reduction } => self.scatter_elements(id, *axis, *reduction),
            Op::ScatterNd { reduction } => self.scatter_nd(id, *reduction),
            Op::ArgReduce { kind, axis, keep, last } => self.arg_reduce(id, *kind, *axis, *keep, *last),
            Op::ArgSort { axis, descending, .. } => self.arg_sort(id, *axis, *descending),
            Op::Cumulate { kind, axis, exclusive, reverse } => {
                self.cumulate(id, *kind, *axis, *exclusive, *reverse)
            }
            Op::MaxPoolIndices(a) => self.max_pool_indices(id, a),
            Op::NonMaxSuppression { centre, .. } => self.non_max_suppression(id, *centre),
            Op::NonZero => Err(self.unsupported(id, "it was not written as other operations before")),
            Op::Cut { .. } => Err(self.unsupported(id, "its size is known at run time alone")),
            Op::DepthToSpace { block, mode } => self.depth_to_space(id, *block as i64, *mode),
            Op::Resize(a) => self.resize(id, a),
        }
    }

    /// The name of a node in steps and errors.
    fn label(&self, id: NodeId) -> String {
        label(self.graph, id)
    }

    /// Where the node's result is to be written, at most once per value.
    fn result(&mut self, id: NodeId) -> Result<View, LowerError> {
        let value = Value::from(id);
        if self.layout.is_owned(value) {
            return self.owned_view(value);
        }
        // A value that is a view where possible, but here is not.
        let shape = sizes(self.graph, value);
        let (form, label) = (self.layout.form(value), self.label(id));
        let halo = Halo::none(shape.len());
        let view = self.draft.typed_tensor(self.held(value), Home::Arena, &shape, form, &halo, &label)?;
        self.views.insert(value, view.clone());
        Ok(view)
    }

    /// The element type in which steps hold the value.
    fn held(&self, value: Value) -> DType {
        held(self.graph.ty(value).dtype)
    }

    /// Inputs as the steps hold them.
    fn read_inputs(&mut self) -> Result<(), LowerError> {
        for (value, given) in std::mem::take(&mut self.inputs) {
            let held = self.held(value);
            let mut view = given.clone();
            if held != self.graph.ty(value).dtype {
                let (shape, label) = (given.shape(), self.label(value.node));
                let halo = Halo::none(shape.len());
                view = self.draft.typed_tensor(held, Home::Arena, &shape, Form::Plain, &halo, &label)?;
                self.copy(value.node, &label, &given, &view)?;
            }
            self.views.insert(value, view);
        }
        Ok(())
    }

    /// The value's place in its root's storage, which is made, with its halo filled, when first asked for.
    fn owned_view(&mut self, value: Value) -> Result<View, LowerError> {
        if let Some(view) = self.views.get(&value) {
            return Ok(view.clone());
        }
        let (root, channel) = self.layout.root(value);
        if !self.roots.contains_key(&root) {
            let shape = sizes(self.graph, root);
            let form = self.layout.form(root);
            let home = self.layout.outputs.get(&root).map_or(Home::Arena, |i| Home::Output(*i));
            let (halo, fill) = match self.layout.halo(root) {
                Some((halo, fill)) => (halo.clone(), *fill),
                None => (Halo::none(shape.len()), demand::Fill::Zero),
            };
            let label = self.label(root.node);
            let view = self.draft.typed_tensor(self.held(root), home, &shape, form, &halo, &label)?;
            self.fill_halo(root.node, &view, &halo, fill, form)?;
            self.roots.insert(root, view);
        }
        let whole = self.roots[&root].clone();
        let channels = sizes(self.graph, value).get(1).copied();
        let view = match channels {
            Some(channels) if root != value => whole.slice(1, channel, 1, channels),
            _ => Some(whole),
        };
        let view = view.ok_or_else(|| self.unsupported(value.node, "its channels are not aligned"))?;
        self.views.insert(value, view.clone());
        Ok(view)
    }

    /// The view of a value that a step computed, or of a parameter as it is in its source.
    fn view(&mut self, value: Value) -> View {
        if let Some(view) = self.views.get(&value) {
            return view.clone();
        }
        let view = self.raw_pack(value);
        self.views.insert(value, view.clone());
        view
    }

    fn unsupported(&self, id: NodeId, reason: &str) -> LowerError {
        let node = self.graph.node(id);
        let types: Vec<String> = node.operands.iter().map(|v| self.graph.ty(*v).to_string()).collect();
        LowerError::Unsupported {
            node: self.label(id),
            op: node.op.name(),
            operands: types.join(", "),
            result: self.graph.ty(id.into()).to_string(),
            reason: reason.to_string(),
        }
    }

    fn not_elementwise(&self, id: NodeId) -> impl Fn(NotElementwise) -> LowerError {
        let error = self.unsupported(id, "its epilogue is not elementwise");
        move |_| error.clone()
    }
}

/// The label path of a node, else its operation and number.
fn label(graph: &Graph, id: NodeId) -> String {
    let node: &Node = graph.node(id);
    match &node.name {
        Some(name) => name.to_string(),
        None => format!("{}.{}", node.op.name(), id.index()),
    }
}

/// The element type in which steps hold values of this one.
fn held(dtype: DType) -> DType {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::Bool => DType::F32,
        DType::F64
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64 => dtype,
    }
}

/// The nodes that depend on parameters only and are evaluated while parameters are packed. Packs hold f32: what is
/// computed from or to other elements is computed at run time, from parameters as they are.
fn packed_parameters(graph: &Graph) -> NodeSet {
    let of_f32 = |v: &Value| held(graph.ty(*v).dtype) == DType::F32;
    let mut packed = NodeSet::default();
    for id in graph.topo_order() {
        let node = graph.node(id);
        let derived = !node.operands.is_empty()
            && node.operands.iter().all(|v| of_f32(v) && packed.contains(&v.node))
            && node.types.iter().all(|ty| held(ty.dtype) == DType::F32);
        if derived || matches!(node.op, Op::Param(_) | Op::Const(_)) {
            packed.insert(id);
        }
    }
    packed
}

/// Every size is a constant of at least 1 and within limits, and there are kernels for the elements.
fn check_types(graph: &Graph, id: NodeId) -> Result<(), LowerError> {
    let node = graph.node(id);
    for ty in &node.types {
        let shape = ShapeDisplay(&ty.shape);
        if ty.shape.iter().any(|d| d.as_const().is_none()) {
            return Err(LowerError::Unbound { node: label(graph, id), shape: shape.to_string() });
        }
    }
    limits::check(graph, id)?;
    let operands = node.operands.iter().map(|v| graph.ty(*v).dtype);
    let foreign = node.types.iter().map(|t| t.dtype).chain(operands).find(|d| held(*d) != DType::F32);
    match foreign {
        Some(dtype) if !takes_any_element(&node.op) => {
            Err(LowerError::ElementType { node: label(graph, id), op: node.op.name(), dtype })
        }
        Some(_) | None => Ok(()),
    }
}

/// Operations whose kernels are nests of any element type; the others compute in vectors of f32.
fn takes_any_element(op: &Op) -> bool {
    match op {
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Prelu { .. }
        | Op::MatMul
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::MaxPool(_)
        | Op::DepthToSpace { .. }
        | Op::Dropout { .. }
        | Op::Map
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::Dense
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::AvgPool { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. }
        | Op::Resize(_) => true,
        Op::ConvWeightGrad { .. } | Op::MaxPoolGrad(_) => false,
    }
}
