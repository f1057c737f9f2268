//! The order of nodes: the graph's own, or one that holds less memory at once.
//!
//! A graph's order visits its outputs one after the other. In a training step that is the whole way back for the first
//! parameter, with all gradients of activations alive until the other parameters' turn comes. The frugal order runs a
//! node as soon as it can, if what it reads is large and its result is not, or dies with it.

use super::layout::sizes;
use rectify_ir::graph::{Graph, NodeId, NodeSet, Value};
use rectify_ir::op::Op;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// A result is small beside an operand of this many times its bytes.
const SMALL: i64 = 16;
/// What depends on inputs alone may come first if all memory is this many times its bytes: others wait for it.
const TINY: i64 = 1024;

/// The nodes in the order in which they are lowered; `params` depend on parameters only.
pub(super) fn order(graph: &Graph, params: &NodeSet) -> Vec<NodeId> {
    let plain = graph.topo_order();
    let memory = Memory::new(graph, params, &plain);
    let frugal = memory.frugal(&plain);
    // A tenth is worth the change of what people read off a plan.
    if 10 * memory.peak(&frugal) < 9 * memory.peak(&plain) { frugal } else { plain }
}

/// Bytes that nodes make and read. Views count as what they are views of.
struct Memory<'a> {
    graph: &'a Graph,
    /// Bytes of what a node makes in the arena: none for inputs, outputs, parameters and views.
    made: FxHashMap<NodeId, i64>,
    /// Nodes whose results a node reads, once each.
    reads: FxHashMap<NodeId, Vec<NodeId>>,
    /// How many nodes read each.
    readers: FxHashMap<NodeId, usize>,
}

impl Memory<'_> {
    fn new<'a>(graph: &'a Graph, params: &NodeSet, order: &[NodeId]) -> Memory<'a> {
        let mut roots: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        let mut m = Memory {
            graph,
            made: FxHashMap::default(),
            reads: FxHashMap::default(),
            readers: FxHashMap::default(),
        };
        for &id in order {
            let node = graph.node(id);
            let is_view = matches!(
                node.op,
                Op::Reshape { .. } | Op::Transpose { .. } | Op::Split { .. } | Op::Slice { .. }
            ) && node.epilogue.is_none();
            let root = match node.operands.first() {
                Some(operand) if is_view => roots[&operand.node],
                Some(_) | None => id,
            };
            roots.insert(id, root);
            let given = matches!(node.op, Op::Input) || params.contains(&id);
            let returned = graph.outputs.iter().any(|o| o.value.node == id);
            let bytes = match given || returned || is_view {
                true => 0,
                false => 4 * sizes(graph, Value::from(id)).iter().product::<i64>(),
            };
            m.made.insert(id, bytes);
            let mut reads: Vec<NodeId> = node.operands.iter().map(|v| roots[&v.node]).collect();
            reads.sort_unstable();
            reads.dedup();
            for read in &reads {
                *m.readers.entry(*read).or_default() += 1;
            }
            m.reads.insert(id, reads);
        }
        m
    }

    /// Runs what is worth it at once, and else the next node of `plain` that can run.
    fn frugal(&self, plain: &[NodeId]) -> Vec<NodeId> {
        let place: FxHashMap<NodeId, usize> = plain.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let mut users: FxHashMap<NodeId, Vec<NodeId>> = FxHashMap::default();
        let mut missing: FxHashMap<NodeId, usize> = FxHashMap::default();
        for &id in plain {
            let operands: NodeSet = self.graph.node(id).operands.iter().map(|v| v.node).collect();
            missing.insert(id, operands.len());
            for operand in operands {
                users.entry(operand).or_default().push(id);
            }
        }
        let mut left = self.readers.clone();
        let mut ready: BTreeSet<usize> =
            plain.iter().filter(|id| missing[id] == 0).map(|id| place[id]).collect();
        let mut order = Vec::with_capacity(plain.len());
        let tiny = self.peak(plain) / TINY;
        loop {
            let worth = ready.iter().find(|i| self.is_worth_it(plain[**i], &left, tiny));
            let Some(&next) = worth.or(ready.first()) else { return order };
            ready.remove(&next);
            let id = plain[next];
            order.push(id);
            for read in &self.reads[&id] {
                left.entry(*read).and_modify(|n| *n -= 1);
            }
            for user in users.get(&id).into_iter().flatten() {
                let count = missing.entry(*user).or_default();
                *count -= 1;
                if *count == 0 {
                    ready.insert(place[user]);
                }
            }
        }
    }

    fn is_worth_it(&self, id: NodeId, left: &FxHashMap<NodeId, usize>, tiny: i64) -> bool {
        let (made, reads) = (self.made[&id], &self.reads[&id]);
        let freed: i64 = reads.iter().filter(|r| left[r] == 1).map(|r| self.made[r]).sum();
        let largest = reads.iter().map(|r| self.made[r]).max().unwrap_or(0);
        match largest {
            0 => made <= tiny,
            _ => made <= freed || made * SMALL <= largest,
        }
    }

    /// Most bytes alive at once.
    fn peak(&self, order: &[NodeId]) -> i64 {
        let mut left = self.readers.clone();
        let (mut alive, mut peak) = (0, 0);
        for id in order {
            alive += self.made[id];
            peak = peak.max(alive);
            for read in &self.reads[id] {
                left.entry(*read).and_modify(|n| *n -= 1);
                if left[read] == 0 {
                    alive -= self.made[read];
                }
            }
        }
        peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_ir::lang::compile_text;

    fn graph(body: &str) -> Graph {
        let text = format!("model m(x: f32[1, 64, 16, 16]) {{ {body} }}");
        compile_text("test.rect", &text).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Each `tanh` is read by the next and by a mean that is wanted at the end.
    #[test]
    fn small_results_of_large_operands_come_at_once() {
        let chain = "let a = tanh(x) let b = tanh(a) let c = tanh(b) let d = tanh(c)";
        let means = "mean(d) + (mean(c) + (mean(b) + mean(a)))".replace("mean", "global_avg_pool");
        let g = graph(&format!("{} {means}", chain.replace(" let", "\nlet")).replace(") gl", ")\ngl"));
        let params = g.param_only();
        let (plain, frugal) = (g.topo_order(), order(&g, &params));
        assert_ne!(plain, frugal);
        let memory = Memory::new(&g, &params, &plain);
        assert!(4 * memory.peak(&frugal) < 3 * memory.peak(&plain));
        let place = |id: NodeId| frugal.iter().position(|n| *n == id);
        for id in &frugal {
            assert!(g.node(*id).operands.iter().all(|v| place(v.node) < place(*id)));
        }
    }

    #[test]
    fn chains_keep_their_order() {
        let g = graph("x |> relu |> tanh |> exp");
        assert_eq!(order(&g, &g.param_only()), g.topo_order());
    }
}
