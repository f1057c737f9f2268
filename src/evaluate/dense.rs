//! Every window of an image through a network with spatial pyramid pooling: the layers before the pooling run once on the
//! whole image, of any size; those behind it run on each window of the maps.

use super::member::Batches;
use super::views::{add_softmax, starts};
use crate::compiled::Compiled;
use crate::compiler::Compiler;
use crate::data::sets::{Image, Normalise};
use crate::error::Error;
use rectify_ir::Dim;
use rectify_ir::graph::{Graph, NodeId, Output, Value};
use rectify_ir::op::Op;
use rectify_ir::shape::{ShapeError, infer_node};
use rectify_ir::types::TensorType;
use rectify_runtime::Tensor;
use rectify_runtime::packs::Parameters;
use std::collections::HashSet;
use std::sync::Arc;

pub(super) struct Dense {
    /// From two images, one the mirror image of the other, to maps.
    trunk: Compiled,
    input: Arc<str>,
    /// From windows of the maps to logits.
    head: Batches,
    /// Height and width of such a window.
    window: (usize, usize),
}

impl Dense {
    /// `graph` is the model as written, `bound` the same at the sizes of its input.
    pub fn new(
        compiler: &Compiler<'_>,
        graph: &Graph,
        bound: &Graph,
        parameters: Parameters,
    ) -> Result<Dense, Error> {
        let refuse =
            |message: &str| Error::Unsupported { name: graph.name.clone(), message: message.to_owned() };
        let input = graph.inputs()[0];
        let name = graph.node(input).name.clone().unwrap_or_default();
        let around = || {
            refuse(
                "dense evaluation needs a network with one spatial pyramid pooling (`spp`) and nothing around it",
            )
        };
        let maps = pyramid(graph).ok_or_else(around)?;
        let fixed = |e: ShapeError| refuse(&format!("it does not go with images of any size: {e}"));
        let mut trunk = graph.clone();
        trunk.outputs = vec![Output { name: "maps".into(), value: maps }];
        let mut ty = trunk.ty(input.into()).clone();
        ty.shape[0] = Dim::Const(2);
        for (axis, name) in [(2, "H"), (3, "W")] {
            if ty.shape[axis].as_const().is_some() {
                ty.shape[axis] = Dim::sym(name);
            }
        }
        retype(&mut trunk, input, ty).map_err(fixed)?;

        let mut head = bound.clone();
        let maps = pyramid(&head).ok_or_else(around)?;
        let ty = head.ty(maps).clone();
        let Some([_, _, height, width]) = ty.const_shape().and_then(|s| <[usize; 4]>::try_from(s).ok())
        else {
            return Err(refuse("dense evaluation is for pictures: maps have four axes"));
        };
        head.replace_uses(maps, Value::from(input));
        let shape = ty.const_shape().unwrap_or_default();
        retype(&mut head, input, ty).map_err(fixed)?;
        let head = compiler.compile_graph(head, parameters.clone())?;
        Ok(Dense {
            trunk: compiler.compile_graph(trunk, parameters)?,
            head: Batches::new(head, &name, &shape)?,
            input: name,
            window: (height, width),
        })
    }

    /// Adds the mean over all windows of the image with this shorter side, and their mirror images, times a share.
    pub fn add(
        &mut self,
        image: &Image,
        side: usize,
        stride: usize,
        normalise: Option<&Normalise>,
        share: f64,
        into: &mut [f64],
    ) -> Result<(), Error> {
        let (height, width) = image.with_shorter(side);
        let mut scaled = image.resize(height, width);
        if let Some(normalise) = normalise {
            scaled = normalise.apply(scaled);
        }
        let shape = [2, scaled.channels, height, width];
        let both = [scaled.values.clone(), scaled.flip().values].concat();
        let outputs = self.trunk.run(&[(&*self.input, Tensor::new(shape, both)?.view())])?;
        let maps = &outputs[0];
        let &[_, channels, rows, columns] = maps.shape() else {
            return Err(Error::internal("evaluation", format!("maps of the shape {:?}", maps.shape())));
        };
        let (window_height, window_width) = self.window;
        if rows < window_height || columns < window_width {
            let message = format!(
                "maps of {rows} x {columns} are smaller than the window, {window_height} x {window_width}"
            );
            return Err(Error::Tensor { message });
        }
        let values = maps.as_slice::<f32>()?;
        let (tops, lefts) = (starts(rows, window_height, stride), starts(columns, window_width, stride));
        let share = share / (2 * tops.len() * lefts.len()) as f64;
        let places = (0..2).flat_map(|which| {
            tops.iter().flat_map({
                let lefts = &lefts;
                move |top| lefts.iter().map(move |left| (which, *top, *left))
            })
        });
        let windows = places.map(|(which, top, left)| {
            let mut window = Vec::with_capacity(channels * window_height * window_width);
            for channel in 0..channels {
                for row in top..top + window_height {
                    let at = ((which * channels + channel) * rows + row) * columns + left;
                    window.extend_from_slice(&values[at..at + window_width]);
                }
            }
            window
        });
        self.head.run(windows, &mut |_, logits| add_softmax(logits, share, into))
    }
}

/// What the only pyramid pooling of a network pools, if nothing of the input goes around it.
fn pyramid(graph: &Graph) -> Option<Value> {
    let order = graph.topo_order();
    let pools = |id: &&NodeId| matches!(graph.node(**id).op, Op::Spp { .. });
    let mut pooling = order.iter().filter(pools);
    let (pool, None) = (*pooling.next()?, pooling.next()) else { return None };
    let maps = *graph.node(pool).operands.first()?;
    let mut reached: Vec<NodeId> = graph.outputs.iter().map(|o| o.value.node).collect();
    let mut seen: HashSet<NodeId> = HashSet::from([pool]);
    while let Some(id) = reached.pop() {
        if matches!(graph.node(id).op, Op::Input) {
            return None;
        }
        if seen.insert(id) {
            reached.extend(graph.node(id).operands.iter().map(|v| v.node));
        }
    }
    Some(maps)
}

/// Gives the input another type, and all that follows from it.
fn retype(graph: &mut Graph, input: NodeId, ty: TensorType) -> Result<(), ShapeError> {
    *graph.node_mut(input).types = vec![ty];
    graph.remove_dead();
    for id in graph.topo_order().into_iter().filter(|id| *id != input) {
        let types = infer_node(graph, graph.node(id))?;
        *graph.node_mut(id).types = types;
    }
    Ok(())
}
