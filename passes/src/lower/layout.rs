//! Layout: the form of each tensor, whose memory it shares, and the halos that its consumers ask for.
//!
//! Decided for the whole graph before any step is made, because a producer writes into memory that its consumers
//! shape: with the halo they want, inside of a concatenation, or in the caller's output.
//!
//! * Image activations are in channel blocks where contractions and windows produce or read them, else row-major.
//! * The value of a concatenation along the channels *hosts* its operands; parts of a split are *guests* of its source.
//!   Values that share memory so have one *root*, whose storage has the largest halo that any of them is asked for.
//! * A halo holds zeros or, if only max-pools ask, minus infinity. Who cannot have it there gets a padded copy.

use super::demand::{Fill, demand};
use super::held;
use super::reduce::reduced_producer;
use super::shuffle::shuffled_conv;
use super::storage::{Form, Halo};
use rectify_ir::graph::{Graph, Node, NodeId, NodeSet, Value};
use rectify_ir::op::Op;
use rectify_ir::{DType, Dim};
use rustc_hash::{FxHashMap, FxHashSet};

/// All decisions.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    forms: FxHashMap<Value, Form>,
    /// Values that lie in another value's storage at a channel offset.
    hosts: FxHashMap<Value, (Value, i64)>,
    /// Values that have a storage of their own or lie in one: all that steps write.
    owned: FxHashSet<Value>,
    /// By root.
    halos: FxHashMap<Value, (Halo, Fill)>,
    /// Halos of padded or converted copies.
    pub copies: FxHashMap<(Value, Form, Fill), Halo>,
    /// Roots that are written directly to the caller's memory.
    pub outputs: FxHashMap<Value, u32>,
    /// Shuffles that are lowered with the convolution before them, and these.
    shuffles: FxHashMap<NodeId, NodeId>,
    shuffled: NodeSet,
    /// Elementwise nodes that the reduction reading them computes, by that.
    reduced: FxHashMap<NodeId, NodeId>,
    absorbed: NodeSet,
    /// Nodes that depend on parameters only: no step computes them.
    params: NodeSet,
}

impl Layout {
    pub fn form(&self, value: Value) -> Form {
        self.forms.get(&value).copied().unwrap_or(Form::Plain)
    }

    /// The value whose storage this one lies in, and the channel at which it begins there.
    pub fn root(&self, value: Value) -> (Value, i64) {
        let (mut at, mut channel) = (value, 0);
        while let Some((host, offset)) = self.hosts.get(&at) {
            at = *host;
            channel += offset;
        }
        (at, channel)
    }

    /// Whether the value lies in a storage that the plan makes for it or for its host.
    pub fn is_owned(&self, value: Value) -> bool {
        self.owned.contains(&self.root(value).0)
    }

    /// Whether the value depends on parameters only.
    pub fn is_param(&self, value: Value) -> bool {
        self.params.contains(&value.node)
    }

    /// The convolution that is lowered together with this shuffle.
    pub fn shuffled_conv(&self, shuffle: NodeId) -> Option<NodeId> {
        self.shuffles.get(&shuffle).copied()
    }

    /// Whether the node is a convolution whose shuffle computes it.
    pub fn is_shuffled(&self, conv: NodeId) -> bool {
        self.shuffled.contains(&conv)
    }

    /// The elementwise node whose elements this reduction computes while it reads them.
    pub fn reduced(&self, reduce: NodeId) -> Option<NodeId> {
        self.reduced.get(&reduce).copied()
    }

    /// Whether a reduction computes the node.
    pub fn is_absorbed(&self, id: NodeId) -> bool {
        self.absorbed.contains(&id)
    }

    /// Halo of the root's storage.
    pub fn halo(&self, root: Value) -> Option<&(Halo, Fill)> {
        self.halos.get(&root)
    }

    /// Whether the value itself has this form and halo.
    pub fn offers(&self, value: Value, form: Form, halo: &Halo, fill: Fill) -> bool {
        if self.form(value) != form || !self.is_owned(value) {
            return false;
        }
        let covers = |have: &[i64], want: &[i64]| {
            want.iter().enumerate().all(|(i, w)| have.get(i).copied().unwrap_or(0) >= *w)
        };
        halo.is_none()
            || self.halo(self.root(value).0).is_some_and(|(have, filled)| {
                *filled == fill && covers(&have.before, &halo.before) && covers(&have.after, &halo.after)
            })
    }
}

/// Sizes of a value of a bound graph.
pub(crate) fn sizes(graph: &Graph, value: Value) -> Vec<i64> {
    graph.ty(value).shape.iter().map(|d| d.as_const().unwrap_or(0)).collect()
}

/// Decides everything. `params` are the nodes that depend on parameters only.
pub(crate) fn decide(graph: &Graph, order: &[NodeId], params: &NodeSet, lanes: i64) -> Layout {
    let mut layout = Layout { params: params.clone(), ..Layout::default() };
    for id in order.iter().filter(|id| !params.contains(id)) {
        let node = graph.node(*id);
        for result in 0..node.types.len() as u32 {
            let value = Value { node: *id, result };
            let form = Forms { graph, layout: &layout, lanes }.of(node, value);
            layout.forms.insert(value, form);
        }
        share(&mut layout, graph, params, *id, lanes);
        if let Some(conv) = shuffled_conv(graph, &layout, *id, lanes) {
            layout.shuffles.insert(*id, conv);
            layout.shuffled.insert(conv);
        }
        if let Some(producer) = reduced_producer(graph, &layout, *id) {
            layout.reduced.insert(*id, producer);
            layout.absorbed.insert(producer);
        }
    }
    for id in order.iter().filter(|id| !params.contains(id)) {
        host_operands(&mut layout, graph, *id, lanes);
    }
    assign_halos(&mut layout, graph, order, params, lanes);
    for (index, output) in graph.outputs.iter().enumerate() {
        let (root, channel) = layout.root(output.value);
        let whole = channel == 0 && sizes(graph, root) == sizes(graph, output.value);
        let dtype = graph.ty(output.value).dtype;
        let free =
            held(dtype) == dtype && layout.owned.contains(&root) && !layout.outputs.contains_key(&root);
        if whole && free && layout.form(root) == Form::Plain && !layout.halos.contains_key(&root) {
            layout.outputs.insert(root, index as u32);
        }
    }
    layout
}

/// Rules for the form of results.
struct Forms<'a> {
    graph: &'a Graph,
    layout: &'a Layout,
    lanes: i64,
}

impl Forms<'_> {
    fn of(&self, node: &Node, value: Value) -> Form {
        let ty = self.graph.ty(value);
        if held(ty.dtype) != DType::F32 || !(3..=5).contains(&ty.rank()) {
            return Form::Plain;
        }
        // Written to the caller and read by no other step.
        let only_output = self.graph.users(value).is_empty();
        let channels = ty.shape[1].as_const().unwrap_or(0);
        let blocked = |yes: bool| if yes && !only_output { Form::Blocked } else { Form::Plain };
        let first = || node.operands.first().map_or(Form::Plain, |v| self.layout.form(*v));
        let same = || blocked(first() == Form::Blocked);
        let aligned = |n: i64| n % self.lanes == 0;
        match &node.op {
            Op::Input
            | Op::Param(_)
            | Op::Const(_)
            | Op::ConvWeightGrad { .. }
            | Op::Dense
            | Op::MatMul
            | Op::Spp { .. }
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
            | Op::MaxPoolIndices(_) => Form::Plain,
            Op::Conv(a) => {
                // Computed weights make no windows: their groups write single channels.
                let depthwise = self.layout.is_param(node.operands[1])
                    && sizes(self.graph, node.operands[1])[1] == 1
                    && a.groups == channels;
                let groups_fit = a.groups == 1 || aligned(channels / a.groups);
                blocked(depthwise || (2 * channels >= self.lanes && groups_fit))
            }
            Op::ConvTranspose(a) => {
                blocked(2 * channels >= self.lanes && (a.groups == 1 || aligned(channels / a.groups)))
            }
            Op::MaxPool(_) | Op::MaxPoolGrad(_) | Op::AvgPool { .. } => blocked(true),
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast { .. }
            | Op::Prelu { .. }
            | Op::BatchNorm { .. }
            | Op::Map => blocked(self.any_blocked(node, value)),
            Op::Dropout { .. } if node.epilogue.is_some() => blocked(self.any_blocked(node, value)),
            Op::Dropout { .. } => first(),
            Op::InstanceNorm { .. } | Op::Resize(_) => same(),
            Op::Softmax { axis } | Op::LayerNorm { axis, .. } => {
                blocked(first() == Form::Blocked && (aligned(channels) || *axis >= 2))
            }
            Op::Reduce { axes, keep, .. } => blocked(*keep && first() == Form::Blocked && !axes.contains(&1)),
            Op::Concat { axis } => {
                let parts: Vec<i64> = node.own_operands().iter().map(|v| sizes(self.graph, *v)[1]).collect();
                let fits = *axis != 1 || parts[..parts.len() - 1].iter().all(|n| aligned(*n));
                blocked(fits && node.own_operands().iter().any(|v| self.layout.form(*v) == Form::Blocked))
            }
            Op::Split { axis: 1, .. } => {
                let (start, source) =
                    (split_start(self.graph, value), sizes(self.graph, node.operands[0])[1]);
                let fits = aligned(start) && (aligned(channels) || start + channels == source);
                if first() == Form::Blocked && fits { Form::Blocked } else { Form::Plain }
            }
            Op::Split { .. } => same(),
            Op::Slice { axes, starts, steps, .. } => match axes.iter().position(|a| *a == 1) {
                None => same(),
                Some(at) => {
                    let start = starts[at].as_const().unwrap_or(0);
                    let source = sizes(self.graph, node.operands[0])[1];
                    let end = start + channels == source;
                    let fits = steps[at] == 1 && aligned(start) && (aligned(channels) || end);
                    if first() == Form::Blocked && fits { Form::Blocked } else { Form::Plain }
                }
            },
            Op::Pad { pads, .. } => {
                let moves_channels = pads[1] != 0 || pads[pads.len() / 2 + 1] != 0;
                blocked(first() == Form::Blocked && !moves_channels)
            }
            Op::DepthToSpace { .. } => blocked(first() == Form::Blocked && 2 * channels >= self.lanes),
        }
    }

    /// Some operand that has all elements of the result is in blocks; or, without any such, one with all channels.
    fn any_blocked(&self, node: &Node, value: Value) -> bool {
        let shape = sizes(self.graph, value);
        let whole = |v: &&Value| sizes(self.graph, **v) == shape;
        let mut wholes = node.operands.iter().filter(whole).peekable();
        if wholes.peek().is_some() {
            return wholes.any(|v| self.layout.form(*v) == Form::Blocked);
        }
        let channels = |v: &Value| sizes(self.graph, *v).get(1) == Some(&shape[1]);
        node.operands
            .iter()
            .filter(|v| self.graph.ty(**v).rank() == shape.len() && channels(v))
            .any(|v| self.layout.form(*v) == Form::Blocked)
    }
}

/// First element of a part of a split.
pub(crate) fn split_start(graph: &Graph, value: Value) -> i64 {
    let Op::Split { sizes, .. } = &graph.node(value.node).op else { return 0 };
    sizes[..value.result as usize].iter().filter_map(Dim::as_const).sum()
}

/// Records which results own memory, and which are guests of their operand.
fn share(layout: &mut Layout, graph: &Graph, params: &NodeSet, id: NodeId, lanes: i64) {
    let node = graph.node(id);
    let result = |result: usize| Value { node: id, result: result as u32 };
    // Guests: the same elements of the operand's storage, at a channel offset.
    let source = node.operands.first().copied();
    let guest = |layout: &mut Layout, value: Value, channel: i64| {
        let Some(source) = source.filter(|s| !params.contains(&s.node)) else { return };
        let block = if layout.form(source) == Form::Blocked { lanes } else { 1 };
        let channels = |v: Value| sizes(graph, v).get(1).copied().unwrap_or(1);
        let fits = channel % block == 0
            && (channels(value) % block == 0 || channel + channels(value) == channels(source));
        if layout.owned.contains(&source) && layout.form(value) == layout.form(source) && fits {
            layout.hosts.insert(value, (source, channel));
            layout.owned.insert(value);
        }
    };
    match &node.op {
        Op::Input | Op::Reshape { .. } | Op::Transpose { .. } => {}
        Op::Dropout { .. } | Op::Map if node.epilogue.is_none() => guest(layout, result(0), 0),
        Op::Split { axis: 1, sizes } => {
            for i in 0..sizes.len() {
                guest(layout, result(i), split_start(graph, result(i)));
            }
        }
        Op::Slice { axes, starts, steps, .. } if axes == &[1] && steps == &[1] && node.epilogue.is_none() => {
            guest(layout, result(0), starts[0].as_const().unwrap_or(0));
        }
        Op::Split { .. } | Op::Slice { .. } => {}
        Op::Param(_)
        | Op::Const(_)
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvWeightGrad { .. }
        | Op::Dense
        | Op::MatMul
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Prelu { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::MaxPool(_)
        | Op::MaxPoolGrad(_)
        | Op::AvgPool { .. }
        | Op::Spp { .. }
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Pad { .. }
        | Op::Select
        | Op::Cast { .. }
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
        | Op::DepthToSpace { .. }
        | Op::Resize(_)
        | Op::Dropout { .. }
        | Op::Map => {
            layout.owned.insert(result(0));
        }
    }
}

/// Lets producers of a concatenation's operands write into its storage.
fn host_operands(layout: &mut Layout, graph: &Graph, id: NodeId, lanes: i64) {
    let node = graph.node(id);
    let Op::Concat { axis: 1 } = node.op else { return };
    let host = Value::from(id);
    let block = if layout.form(host) == Form::Blocked { lanes } else { 1 };
    let mut channel = 0;
    for (index, operand) in node.own_operands().iter().enumerate() {
        let channels = sizes(graph, *operand)[1];
        let (root, offset) = layout.root(*operand);
        let last = index + 1 == node.own_operands().len();
        let whole = offset == 0 && sizes(graph, root) == sizes(graph, *operand);
        let fits = channel % block == 0 && (last || channels % block == 0);
        if whole
            && fits
            && root != host
            && layout.owned.contains(&root)
            && layout.form(root) == layout.form(host)
        {
            layout.hosts.insert(root, (host, channel));
        }
        channel += channels;
    }
}

/// Gives roots the halos that can be there and lists copies for the other demands.
fn assign_halos(layout: &mut Layout, graph: &Graph, order: &[NodeId], params: &NodeSet, lanes: i64) {
    let mut demands = Vec::new();
    for id in order.iter().filter(|id| !params.contains(id)) {
        demands.extend(demand(graph, layout, *id, lanes));
    }
    // Zeros win over minus infinity where both are asked for: convolutions are the bigger work.
    let fits = |layout: &Layout, d: &super::demand::Demand| {
        layout.form(d.value) == d.form && layout.is_owned(d.value)
    };
    for fill in [Fill::Zero, Fill::Lowest] {
        for d in demands.iter().filter(|d| d.fill == fill && !d.halo.is_none()) {
            if !fits(layout, d) {
                continue;
            }
            let root = layout.root(d.value).0;
            let entry = layout.halos.entry(root).or_insert_with(|| (Halo::default(), fill));
            if entry.1 == fill {
                entry.0.grow(&d.halo);
            }
        }
    }
    for d in demands {
        if !layout.offers(d.value, d.form, &d.halo, d.fill) {
            layout.copies.entry((d.value, d.form, d.fill)).or_default().grow(&d.halo);
        }
    }
}
