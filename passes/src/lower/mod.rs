//! Lowering: a graph at known sizes becomes a plan for one target.
//!
//! What: layouts, algorithms, memory and the division of work are chosen here, in this order:
//! `layout` decides forms, shared storages and halos for the whole graph; then each node, in topological order, is
//! lowered by its family's file into draft steps over storages; `schedule` lets results take the place of operands
//! that die, orders memory and places barriers.
//! Requires: a graph without symbolic sizes whose activations are f32, or bool between them, which is held as 0 and 1
//! of f32. Leaves: a plan that `plan::verify` accepts.
//! The result depends on the graph and the target alone, never on the machine or the thread count.

mod contract;
mod conv;
mod copies;
mod demand;
mod dense;
mod elementwise;
mod error;
mod gather;
mod layout;
mod memory;
mod moves;
mod nest;
mod norm;
mod operands;
mod packs;
mod pool;
mod pool_grad;
mod program;
mod reduce;
mod resize;
mod schedule;
mod shuffle;
mod storage;
mod transposed;
mod view;
mod weight_grad;
mod window;

pub use error::LowerError;

use layout::{Layout, sizes};
use packs::PackKeys;
use program::NotElementwise;
use rectify_ir::graph::{Graph, Node, NodeId, Value};
use rectify_ir::op::Op;
use rectify_ir::plan::Plan;
use rectify_ir::target::Target;
use rectify_ir::{DType, types::ShapeDisplay};
use std::collections::HashMap;
use storage::{Draft, Form, Halo, Home, StorageId};
use view::View;

/// Lowers a bound graph. The plan's `bindings` are left empty: they are the caller's, who bound the graph.
pub fn lower(graph: &Graph, target: &Target) -> Result<Plan, LowerError> {
    let order = graph.topo_order();
    let params = graph.param_only();
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
        lanes,
        layout,
        draft: Draft::new(lanes),
        views: HashMap::new(),
        roots: HashMap::new(),
        copies: HashMap::new(),
        channels: HashMap::new(),
        keys: PackKeys::default(),
    };
    for (index, id) in graph.inputs().iter().enumerate() {
        let (value, shape) = (Value::from(*id), sizes(graph, (*id).into()));
        let halo = Halo::none(shape.len());
        let view =
            lower.draft.tensor(Home::Input(index as u32), &shape, Form::Plain, &halo, &lower.label(*id))?;
        lower.views.insert(value, view);
    }
    for id in order.iter().filter(|id| !params.contains(id)) {
        lower.node(*id)?;
    }
    let outputs = lower.write_outputs()?;
    schedule::finish(graph, target, lower.draft, &outputs)
}

/// State of a lowering.
struct Lower<'a> {
    graph: &'a Graph,
    target: &'a Target,
    lanes: i64,
    layout: Layout,
    draft: Draft,
    /// Where values lie; values that depend on parameters only are packed where they are used.
    views: HashMap<Value, View>,
    /// Storages of roots, as the view of the root itself.
    roots: HashMap<Value, View>,
    copies: HashMap<(Value, Form, demand::Fill), View>,
    /// Computed vectors of channels in tiles, by groups and width.
    channels: HashMap<(Value, i64, i64), StorageId>,
    keys: PackKeys,
}

impl Lower<'_> {
    fn node(&mut self, id: NodeId) -> Result<(), LowerError> {
        let graph = self.graph;
        let node = graph.node(id);
        match &node.op {
            Op::Input | Op::Param(_) | Op::Const(_) => Ok(()),
            Op::Conv(_) if self.layout.is_shuffled(id) => Ok(()),
            Op::Conv(a) => self.conv(id, a),
            Op::ConvTranspose(a) => self.conv_transpose(id, a),
            Op::ConvWeightGrad { conv, kernel } => self.conv_weight_grad(id, conv, kernel),
            Op::Dense => self.dense(id),
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
        let view = self.draft.tensor(Home::Arena, &shape, form, &Halo::none(shape.len()), &label)?;
        self.views.insert(value, view.clone());
        Ok(view)
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
            let view = self.draft.tensor(home, &shape, form, &halo, &label)?;
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

/// Every size is a constant of at least 1 and every element an f32, or between inputs and outputs a bool.
fn check_types(graph: &Graph, id: NodeId) -> Result<(), LowerError> {
    for ty in &graph.node(id).types {
        let shape = ShapeDisplay(&ty.shape);
        if ty.shape.iter().any(|d| d.as_const().is_none()) {
            return Err(LowerError::Unbound { node: label(graph, id), shape: shape.to_string() });
        }
        if ty.shape.iter().any(|d| d.as_const().is_some_and(|n| n < 1)) {
            return Err(LowerError::Empty { node: label(graph, id), shape: shape.to_string() });
        }
        let edge = matches!(graph.node(id).op, Op::Input) || graph.outputs.iter().any(|o| o.value.node == id);
        if ty.dtype != DType::F32 && (ty.dtype != DType::Bool || edge) {
            return Err(LowerError::ElementType { node: label(graph, id), dtype: ty.dtype });
        }
    }
    Ok(())
}
