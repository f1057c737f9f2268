//! One model of an ensemble, with its weights.

use super::dense::Dense;
use super::views::{Views, add_softmax, ten};
use crate::compiled::Compiled;
use crate::compiler::Compiler;
use crate::data::sets::{Image, Normalise};
use crate::error::Error;
use crate::session::Session;
use rectify_ir::bind::{bind, solve};
use rectify_runtime::{Tensor, TensorView};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Member {
    normalise: Option<Normalise>,
    shape: [usize; 3],
    look: Look,
    classes: usize,
}

enum Look {
    /// Views of the input's size.
    Whole(Box<Batches>),
    Dense(Box<Dense>),
}

/// Runs a graph of a fixed batch size on any number of rows.
pub(super) struct Batches {
    session: Session,
    input: Arc<str>,
    buffer: Tensor,
    each: usize,
}

/// Views, or windows, that run at once.
pub(super) const ROWS: usize = 32;

impl Member {
    pub fn new(
        compiler: &Compiler<'_>,
        views: &Views,
        set: [usize; 3],
        normalise: Option<Normalise>,
    ) -> Result<Member, Error> {
        let (graph, parameters) = compiler.source_graph()?;
        let refuse = |message: String| Error::Unsupported { name: graph.name.clone(), message };
        let ([input], [output]) = (graph.inputs(), &graph.outputs[..]) else {
            return Err(refuse("a classifier has one input and one output".into()));
        };
        let ty = graph.ty((*input).into());
        if ty.rank() != 4 {
            return Err(refuse(format!("it takes {ty}, not images of the shape [N, C, H, W]")));
        }
        // Sizes that the model fixes, else those of the set.
        let size = |axis: usize, own: usize| {
            ty.shape.get(axis).and_then(|d| d.as_const()).and_then(|d| usize::try_from(d).ok()).unwrap_or(own)
        };
        let (rows, shape) = (size(0, ROWS), [size(1, set[0]), size(2, set[1]), size(3, set[2])]);
        if shape[0] != set[0] {
            return Err(refuse(format!(
                "it takes images of {} channels, but the set's have {}",
                shape[0], set[0]
            )));
        }
        if let Some(normalise) = &normalise {
            normalise.check(shape).map_err(refuse)?;
        }
        let name = graph.node(*input).name.clone().unwrap_or_default();
        let input_shape = [rows, shape[0], shape[1], shape[2]];
        let shapes = BTreeMap::from([(name.to_string(), input_shape.map(|d| d as i64).to_vec())]);
        let mut sizes = compiler.options.sizes.clone();
        sizes.extend(solve(&graph, &shapes)?);
        let bound = bind(&graph, &sizes)?;
        let logits = bound.ty(bound.outputs[0].value);
        let Some([_, classes]) = logits.const_shape().as_deref().and_then(|s| <[usize; 2]>::try_from(s).ok())
        else {
            return Err(refuse(format!(
                "it gives {logits} as `{}`, not logits of the shape [N, K]",
                output.name
            )));
        };
        let (smallest, longest) = (shape[1].min(shape[2]), shape[1].max(shape[2]));
        let look = match views {
            Views::Ten { side } if *side < longest => {
                return Err(Error::option(format!("ten views need a side of {longest} or more, not {side}")));
            }
            Views::Dense { sides, stride } => {
                if sides.is_empty() || *stride == 0 || sides.iter().any(|s| *s < smallest) {
                    let message = "dense evaluation needs sides of";
                    return Err(Error::option(format!(
                        "{message} {smallest} or more and a stride of 1 or more"
                    )));
                }
                Look::Dense(Box::new(Dense::new(compiler, &graph, &bound, parameters)?))
            }
            Views::Single | Views::Ten { .. } => {
                let compiled = compiler.compile_graph(bound, parameters)?;
                Look::Whole(Box::new(Batches::new(compiled, &name, &input_shape)?))
            }
        };
        Ok(Member { normalise, shape, look, classes })
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Means over the views of each image, one row after another.
    pub fn probabilities(&mut self, images: &[Image], views: &Views) -> Result<Vec<f64>, Error> {
        let [_, height, width] = self.shape;
        let classes = self.classes;
        let mut out = vec![0.0; images.len() * classes];
        match (&mut self.look, views) {
            (Look::Dense(dense), Views::Dense { sides, stride }) => {
                let normalise = self.normalise.as_ref().map(|n| n.by_channel());
                for (image, row) in images.iter().zip(out.chunks_exact_mut(classes)) {
                    for side in sides {
                        let share = 1.0 / sides.len() as f64;
                        dense.add(image, *side, *stride, normalise.as_ref(), share, row)?;
                    }
                }
            }
            (Look::Whole(batches), views) => {
                let seen = |image: &Image| match views {
                    Views::Ten { side } => ten(image, *side, height, width),
                    Views::Single | Views::Dense { .. } => vec![image.fit(height, width)],
                };
                let normalised = |view: Image| match &self.normalise {
                    Some(normalise) => normalise.apply(view).values,
                    None => view.values,
                };
                let each = if matches!(views, Views::Ten { .. }) { 10 } else { 1 };
                let rows = images.iter().flat_map(seen).map(normalised);
                batches.run(rows, &mut |row, logits| {
                    let place = row / each * classes;
                    add_softmax(logits, 1.0 / f64::from(each as u32), &mut out[place..place + classes]);
                })?;
            }
            (Look::Dense(_), _) => {
                return Err(Error::internal("evaluation", "a model was prepared for other views"));
            }
        }
        Ok(out)
    }
}

impl Batches {
    /// `shape` is that of the graph's input; its first axis is the batch.
    pub fn new(compiled: Compiled, input: &Arc<str>, shape: &[usize]) -> Result<Batches, Error> {
        let buffer = Tensor::zeros(rectify_ir::DType::F32, shape)?;
        let each = shape.iter().skip(1).product();
        Ok(Batches { session: compiled.session(), input: input.clone(), buffer, each })
    }

    /// Calls `see` with the number and the result of each row.
    pub fn run(
        &mut self,
        rows: impl Iterator<Item = Vec<f32>>,
        see: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        let (mut rows, mut done) = (rows.peekable(), 0);
        while rows.peek().is_some() {
            let mut filled = 0;
            for place in self.buffer.as_mut_slice::<f32>()?.chunks_exact_mut(self.each) {
                match rows.next() {
                    Some(row) => {
                        place.copy_from_slice(&row);
                        filled += 1;
                    }
                    None => place.fill(0.0),
                }
            }
            let view: TensorView<'_> = self.buffer.view();
            let outputs = self.session.run(&[(&*self.input, view)])?;
            let each = outputs[0].elements() / self.buffer.shape().first().copied().unwrap_or(1).max(1);
            for (i, row) in outputs[0].as_slice::<f32>()?.chunks_exact(each.max(1)).take(filled).enumerate() {
                see(done + i, row);
            }
            done += filled;
        }
        Ok(())
    }
}
