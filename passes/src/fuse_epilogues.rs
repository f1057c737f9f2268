//! Moves elementwise work into the operation before it.
//!
//! **What.** The elementwise operations after a root become its epilogue, as long as one value comes out. Contractions
//! take theirs first, then the other roots; what elementwise work remains becomes a `map`.
//! **Before → after.** `prelu(conv(x, @w, @b) + y, @a)` → `conv(x, @w, @b) { %acc => add(%acc, y), prelu(_, @a) }`.
//! **Requires** finished parameters. **Leaves** epilogues of at most [`MAX_STEPS`] steps and [`MAX_OPERANDS`] tensors
//! beside the accumulator, all of the type of the root's result.

use crate::edit::provenance;
use crate::log::{Reason, Recorder, label};
use rectify_ir::DType;
use rectify_ir::graph::{EpArg, EpStep, Epilogue, Graph, Node, NodeId, NodeSet, Value};
use rectify_ir::op::Op;
use rectify_ir::types::TensorType;
use rustc_hash::FxHashMap;

/// Longest epilogue that the kernels take.
pub const MAX_STEPS: usize = 16;

/// Most tensors that an epilogue reads.
pub const MAX_OPERANDS: usize = 8;

pub(crate) fn fuse_epilogues(graph: &mut Graph, recorder: &mut Recorder) {
    let order = graph.topo_order();
    let mut fusion = Fusion {
        place: order.iter().enumerate().map(|(i, n)| (*n, i)).collect(),
        params: graph.param_only(),
        gone: NodeSet::default(),
        absorbed: NodeSet::default(),
        refused: Vec::new(),
        graph,
        recorder,
    };
    for wanted in [Root::Contraction, Root::Other, Root::Elementwise] {
        for node in &order {
            let n = fusion.graph.node(*node);
            let free = !fusion.gone.contains(node) && !fusion.params.contains(node) && n.epilogue.is_none();
            if free && root_kind(&n.op) == wanted {
                fusion.fuse(*node, wanted);
            }
        }
    }
    // What another root took in was not refused in the end.
    for (rule, at, label, reason) in std::mem::take(&mut fusion.refused) {
        if !fusion.absorbed.contains(&at) {
            fusion.recorder.refuse(&rule, label, reason);
        }
    }
    fusion.graph.remove_dead();
}

/// What an operation is to fusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    /// Work enough to hide an epilogue in registers.
    Contraction,
    /// Others whose kernels compute a finished element before they store it.
    Other,
    /// The start of a map.
    Elementwise,
    /// Takes no epilogue: moves elements, has several results, or is none.
    None,
}

fn root_kind(op: &Op) -> Root {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense | Op::MatMul => Root::Contraction,
        Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::MaxPool(_)
        | Op::AvgPool { .. }
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::DepthToSpace { .. }
        | Op::Resize(_) => Root::Other,
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast { .. }
        | Op::Prelu { .. }
        | Op::Dropout { .. } => Root::Elementwise,
        Op::Input
        | Op::Param(_)
        | Op::Const(_)
        | Op::Spp { .. }
        | Op::ConvWeightGrad { .. }
        | Op::MaxPoolGrad(_)
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::ArgReduce { .. }
        | Op::ArgSort { .. }
        | Op::Cumulate { .. }
        | Op::Cut { .. }
        | Op::NonZero
        | Op::NonMaxSuppression { .. }
        | Op::MaxPoolIndices(_)
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Map => Root::None,
    }
}

struct Fusion<'a> {
    graph: &'a mut Graph,
    recorder: &'a mut Recorder,
    /// Position in topological order; stays right, as a fused node takes the place of its last part.
    place: FxHashMap<NodeId, usize>,
    params: NodeSet,
    /// Nodes that are part of a fused one. They are removed at the end.
    gone: NodeSet,
    /// Elementwise nodes that are part of an operation other than a map.
    absorbed: NodeSet,
    /// Rule, node, its label, reason.
    refused: Vec<(String, NodeId, String, Reason)>,
}

/// An epilogue while it grows.
struct Region {
    /// The node that the epilogue joins, or the first step of a map.
    root: NodeId,
    /// What `EpArg::Acc` stands for.
    acc: Value,
    ty: TensorType,
    steps: Vec<NodeId>,
    operands: Vec<Value>,
    /// Length of `steps` and `operands` when last a single value came out.
    whole: (usize, usize),
    /// Nodes known to depend on the root, or not to.
    depends: FxHashMap<NodeId, bool>,
}

impl Fusion<'_> {
    fn fuse(&mut self, root: NodeId, kind: Root) {
        let n = self.graph.node(root);
        let [ty] = n.types.as_slice() else { return };
        if ty.dtype != DType::F32 {
            return;
        }
        let ty = ty.clone();
        let acc = if kind == Root::Elementwise {
            // The accumulator of a map has the type of the result; a broadcast of all operands has none.
            let fits = |v: &&Value| !self.params.contains(&v.node) && *self.graph.ty(**v) == ty;
            match n.operands.iter().find(fits) {
                Some(v) => *v,
                None => return,
            }
        } else {
            root.into()
        };
        let mut region = Region {
            root,
            acc,
            ty,
            steps: vec![],
            operands: vec![],
            whole: (0, 0),
            depends: FxHashMap::default(),
        };
        if kind == Root::Elementwise {
            if let Err(reason) = self.join(&mut region, root) {
                return self.refuse(&region, root, reason);
            }
            if self.open(&region) == vec![Value::from(root)] {
                region.whole = (1, region.operands.len());
            }
        }
        let stopped = self.grow(&mut region);
        region.steps.truncate(region.whole.0);
        region.operands.truncate(region.whole.1);
        if let Some((at, reason)) = stopped {
            self.refuse(&region, at, reason);
        }
        // A single elementwise operation is as good as a map of one step.
        let least = if kind == Root::Elementwise { 2 } else { 1 };
        if region.steps.len() >= least {
            self.replace(&region, kind);
        }
    }

    /// Notes a refusal, which counts unless another root takes the node in.
    fn refuse(&mut self, region: &Region, at: NodeId, reason: Reason) {
        let rule = rule(self.graph, region.root, at);
        self.refused.push((rule, at, label(self.graph, at), reason));
    }

    /// Takes in elementwise users until none fits; says what stopped it at the first that does not.
    fn grow(&mut self, region: &mut Region) -> Option<(NodeId, Reason)> {
        let mut stopped: Option<(NodeId, Reason)> = None;
        loop {
            let mut users: Vec<NodeId> = Vec::new();
            for value in values(region) {
                users.extend(self.users(value));
            }
            users.retain(|u| !region.steps.contains(u) && *u != region.root);
            users.sort_by_key(|u| self.place[u]);
            users.dedup();
            let mut joined = false;
            for user in users {
                // For a map the accumulator's other users are no continuation.
                let reads_step = self.graph.node(user).operands.iter().any(|v| {
                    Value::from(v.node) == *v && (region.steps.contains(&v.node) || v.node == region.root)
                });
                if !reads_step {
                    continue;
                }
                match self.join(region, user) {
                    Ok(()) => joined = true,
                    Err(reason) => {
                        if stopped.is_none() && root_kind(&self.graph.node(user).op) == Root::Elementwise {
                            stopped = Some((user, reason));
                        }
                        continue;
                    }
                }
                break;
            }
            if !joined {
                break;
            }
            if let ([_], Some(last)) = (self.open(region).as_slice(), region.steps.last())
                && self.open(region)[0] == Value::from(*last)
            {
                region.whole = (region.steps.len(), region.operands.len());
                stopped = None;
            }
        }
        if region.whole.0 < region.steps.len() && stopped.is_none() {
            let value = region.steps.get(region.whole.0.wrapping_sub(1)).map_or(region.acc, |n| (*n).into());
            let uses = self.graph.use_count(value);
            let is_output = self.graph.outputs.iter().any(|o| o.value == value);
            let reason = if is_output { Reason::IsOutput } else { Reason::UsedElsewhere { uses } };
            return Some((region.steps[region.whole.0], reason));
        }
        stopped
    }

    /// Takes one elementwise node into the region.
    fn join(&mut self, region: &mut Region, node: NodeId) -> Result<(), Reason> {
        let n = self.graph.node(node);
        if root_kind(&n.op) != Root::Elementwise || n.epilogue.is_some() {
            return Err(Reason::NoEpilogue);
        }
        // Epilogues compute in f32; bool is 0 or 1 there.
        let foreign = |v: &Value| !matches!(self.graph.ty(*v).dtype, DType::F32 | DType::Bool);
        if n.types[0].dtype != DType::F32 || n.operands.iter().any(foreign) {
            return Err(Reason::ElementType);
        }
        if n.types[0] != region.ty {
            return Err(Reason::ShapeChanges);
        }
        if region.steps.len() == MAX_STEPS {
            return Err(Reason::TooManySteps { limit: MAX_STEPS });
        }
        let mut new: Vec<Value> = Vec::new();
        for operand in n.operands.clone() {
            let inside = operand == region.acc || region.steps.iter().any(|s| Value::from(*s) == operand);
            let known = inside || region.operands.contains(&operand) || new.contains(&operand);
            let number = matches!(self.graph.node(operand.node).op, Op::Const(_));
            if known || number {
                continue;
            }
            if self.depends(region, operand.node) {
                return Err(Reason::Cycle);
            }
            new.push(operand);
        }
        if region.operands.len() + new.len() > MAX_OPERANDS {
            return Err(Reason::TooManyOperands { limit: MAX_OPERANDS });
        }
        region.operands.extend(new);
        region.steps.push(node);
        Ok(())
    }

    /// True where the node needs the root's result.
    fn depends(&self, region: &mut Region, node: NodeId) -> bool {
        let start = self.place[&region.root];
        let mut stack = vec![(node, false)];
        while let Some((at, visited)) = stack.pop() {
            if region.depends.contains_key(&at) {
                continue;
            }
            if at == region.root || self.place[&at] < start {
                region.depends.insert(at, at == region.root);
                continue;
            }
            let below = self.graph.node(at).operands.iter().map(|v| v.node);
            if visited {
                let any = below.clone().any(|b| region.depends.get(&b) == Some(&true));
                region.depends.insert(at, any);
            } else {
                stack.push((at, true));
                stack.extend(below.map(|b| (b, false)));
            }
        }
        region.depends.get(&node) == Some(&true)
    }

    /// Values of the region that something outside of it reads.
    fn open(&self, region: &Region) -> Vec<Value> {
        let computed =
            values(region).into_iter().filter(|v| *v != region.acc || region.acc.node == region.root);
        computed
            .filter(|v| {
                self.graph.outputs.iter().any(|o| o.value == *v)
                    || self.users(*v).iter().any(|u| !region.steps.contains(u))
            })
            .collect()
    }

    fn users(&self, value: Value) -> Vec<NodeId> {
        let all = self.graph.users(value).into_iter().map(|(user, _)| user);
        all.filter(|u| !self.gone.contains(u)).collect()
    }

    fn replace(&mut self, region: &Region, kind: Root) {
        let Some(last) = region.steps.last().copied() else { return };
        let rules: Vec<String> = region.steps.iter().map(|s| rule(self.graph, region.root, *s)).collect();
        if !self.recorder.may_fire() {
            return;
        }
        let mut nodes = vec![region.root];
        nodes.extend(region.steps.iter().copied().filter(|s| *s != region.root));
        let mut history = provenance(self.graph, &nodes, &rules[rules.len() - 1]);
        history.rules.pop();
        // A map's own first step is no rule of its own.
        let rules = &rules[usize::from(kind == Root::Elementwise)..];
        for rule in rules {
            if !history.rules.iter().any(|r| **r == **rule) {
                history.rules.push(rule.as_str().into());
            }
        }
        self.recorder.fired_together(rules.iter().map(String::as_str));
        let root = self.graph.node(region.root);
        let (op, mut operands, name) = match kind {
            Root::Elementwise => (Op::Map, vec![region.acc], self.graph.node(last).name.clone()),
            Root::Contraction | Root::Other | Root::None => {
                (root.op.clone(), root.own_operands().to_vec(), root.name.clone())
            }
        };
        let arity = operands.len();
        operands.extend(&region.operands);
        let fused = Node {
            op,
            operands,
            arity,
            epilogue: Some(self.epilogue(region)),
            types: vec![region.ty.clone()],
            name: name.or_else(|| history.sources.first().cloned()),
            provenance: history,
        };
        self.graph.replace_node(last, fused);
        if kind != Root::Elementwise {
            self.absorbed.extend(&region.steps);
        }
        self.gone.extend(nodes.into_iter().filter(|n| *n != last));
    }

    fn epilogue(&self, region: &Region) -> Epilogue {
        let argument = |v: &Value| {
            if *v == region.acc {
                return EpArg::Acc;
            }
            if let Some(i) = region.steps.iter().position(|s| Value::from(*s) == *v) {
                return EpArg::Step(i as u32);
            }
            if let Op::Const(c) = self.graph.node(v.node).op {
                return EpArg::Scalar(c);
            }
            let i = region.operands.iter().position(|o| o == v);
            EpArg::Operand(i.expect("the operand was taken in with its step") as u32)
        };
        let step = |s: &NodeId| {
            let n = self.graph.node(*s);
            EpStep { op: n.op.clone(), args: n.operands.iter().map(argument).collect() }
        };
        Epilogue { steps: region.steps.iter().map(step).collect() }
    }
}

fn values(region: &Region) -> Vec<Value> {
    std::iter::once(region.acc).chain(region.steps.iter().map(|s| (*s).into())).collect()
}

/// The rule's name: what took in what.
fn rule(graph: &Graph, root: NodeId, step: NodeId) -> String {
    let root = &graph.node(root).op;
    let taker = if root_kind(root) == Root::Elementwise { "map" } else { root.name() };
    format!("{}-absorb-{}", taker.replace('_', "-"), graph.node(step).op.name().replace('_', "-"))
}
