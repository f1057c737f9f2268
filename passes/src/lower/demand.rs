//! What consumers ask of their input's memory: a form, and elements around the image.

use super::held;
use super::layout::{Layout, sizes};
use super::storage::{Form, Halo};
use super::window::{Sector, Window, halo, sector_halo, sectors, windows};
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId, Value};
use rectify_ir::op::{ConvAttrs, ConvTransposeAttrs, Op, PoolAttrs};

/// The value in a halo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fill {
    Zero,
    /// Minus infinity: never the greatest.
    Lowest,
}

impl Fill {
    pub fn value(self) -> f32 {
        match self {
            Fill::Zero => 0.0,
            Fill::Lowest => f32::NEG_INFINITY,
        }
    }
}

/// What one node asks of one operand.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub value: Value,
    pub form: Form,
    pub halo: Halo,
    pub fill: Fill,
}

/// What the node asks of its input, if it reads beyond edges or in channel blocks.
pub(crate) fn demand(graph: &Graph, layout: &Layout, id: NodeId, lanes: i64) -> Option<Demand> {
    let node = graph.node(id);
    let x = *node.operands.first()?;
    // Other elements are read where they are.
    if held(graph.ty(x).dtype) != DType::F32 {
        return None;
    }
    if let Op::Conv(a) = &node.op {
        let form = conv_input_form(graph, layout, id, a.groups, lanes);
        return Some(Demand { value: x, form, halo: halo(&conv_windows(graph, id, a)), fill: Fill::Zero });
    }
    if let Op::ConvTranspose(a) = &node.op {
        let form = conv_input_form(graph, layout, id, a.groups, lanes);
        let halo = sector_halo(&transpose_sectors(graph, id, a), &sizes(graph, x)[2..]);
        return Some(Demand { value: x, form, halo, fill: Fill::Zero });
    }
    let pool = |pool, fill| {
        Some(Demand { value: x, form: Form::Blocked, halo: halo(&pool_windows(graph, id, pool)), fill })
    };
    if let Op::MaxPool(a) = &node.op {
        return pool(a, Fill::Lowest);
    }
    if let Op::MaxPoolGrad(a) = &node.op {
        let windows = pool_grad_windows(graph, id, a);
        return Some(Demand { value: x, form: Form::Blocked, halo: halo(&windows), fill: Fill::Lowest });
    }
    if let Op::ConvWeightGrad { conv, kernel } = &node.op {
        let form = weight_grad_form(graph, layout, id, conv.groups, lanes);
        let windows = weight_grad_windows(graph, id, conv, kernel);
        return Some(Demand { value: x, form, halo: halo(&windows), fill: Fill::Zero });
    }
    if let Op::AvgPool { pool: a, .. } = &node.op {
        return pool(a, Fill::Zero);
    }
    None
}

/// Whether a convolution of one channel in, one channel out per group is a window over channel blocks. Computed
/// weights are packed for contractions only.
pub(crate) fn is_depthwise(graph: &Graph, layout: &Layout, id: NodeId, groups: i64) -> bool {
    let node = graph.node(id);
    let weight = sizes(graph, node.operands[1]);
    matches!(node.op, Op::Conv(_))
        && weight[1] == 1
        && weight[0] == groups
        && layout.is_param(node.operands[1])
}

/// The form in which a convolution reads its input.
fn conv_input_form(graph: &Graph, layout: &Layout, id: NodeId, groups: i64, lanes: i64) -> Form {
    let x = graph.node(id).operands[0];
    if is_depthwise(graph, layout, id, groups) {
        return Form::Blocked;
    }
    let channels = sizes(graph, x)[1] / groups;
    // Rows of weights that a node computes are not padded, so their blocks must be full.
    let packed = layout.is_param(graph.node(id).operands[1]);
    let any_count = groups == 1 && packed && layout.form(x) == Form::Blocked;
    if channels % lanes == 0 || any_count { Form::Blocked } else { Form::Plain }
}

pub(crate) fn conv_windows(graph: &Graph, id: NodeId, a: &ConvAttrs) -> Vec<Window> {
    let node = graph.node(id);
    let (x, weight, y) =
        (sizes(graph, node.operands[0]), sizes(graph, node.operands[1]), sizes(graph, id.into()));
    windows(&x[2..], &y[2..], &weight[2..], &a.stride, &a.dilation, &a.pad)
}

pub(crate) fn transpose_sectors(graph: &Graph, id: NodeId, a: &ConvTransposeAttrs) -> Vec<Vec<Sector>> {
    let node = graph.node(id);
    let (x, weight, y) =
        (sizes(graph, node.operands[0]), sizes(graph, node.operands[1]), sizes(graph, id.into()));
    (0..a.stride.len()).map(|i| sectors(a, i, weight[2 + i], x[2 + i], y[2 + i])).collect()
}

pub(crate) fn pool_windows(graph: &Graph, id: NodeId, a: &PoolAttrs) -> Vec<Window> {
    let node = graph.node(id);
    let (x, y) = (sizes(graph, node.operands[0]), sizes(graph, id.into()));
    windows(&x[2..], &y[2..], &a.kernel, &a.stride, &a.dilation, &a.pad)
}

pub(crate) fn pool_grad_windows(graph: &Graph, id: NodeId, a: &PoolAttrs) -> Vec<Window> {
    let node = graph.node(id);
    let (x, y) = (sizes(graph, node.operands[0]), sizes(graph, node.operands[1]));
    windows(&x[2..], &y[2..], &a.kernel, &a.stride, &a.dilation, &a.pad)
}

pub(crate) fn weight_grad_windows(graph: &Graph, id: NodeId, a: &ConvAttrs, kernel: &[i64]) -> Vec<Window> {
    let node = graph.node(id);
    let (x, g) = (sizes(graph, node.operands[0]), sizes(graph, node.operands[1]));
    windows(&x[2..], &g[2..], kernel, &a.stride, &a.dilation, &a.pad)
}

/// The form in which the gradient of a weight reads x: full blocks, whose lanes are addressed one by one, or rows.
fn weight_grad_form(graph: &Graph, layout: &Layout, id: NodeId, groups: i64, lanes: i64) -> Form {
    let x = graph.node(id).operands[0];
    let blocks = groups == 1 && sizes(graph, x)[1] % lanes == 0 && sizes(graph, x).len() <= 4;
    if blocks && layout.form(x) == Form::Blocked { Form::Blocked } else { Form::Plain }
}
