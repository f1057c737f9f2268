//! How far what models predict of samples is from the values that they should have.

use super::member::{Batches, ROWS};
use crate::compiler::Compiler;
use crate::data::sets::{Dataset, Normalise};
use crate::error::Error;
use crate::train::{Loss, Score};
use rectify_ir::bind::{bind, solve};
use rectify_runtime::TensorView;
use std::collections::BTreeMap;

/// Models whose outputs are averaged.
pub struct Regression {
    /// Of the set's samples, and of their values.
    shape: [usize; 3],
    output: Vec<usize>,
    members: Vec<(Batches, Option<Normalise>)>,
}

impl Regression {
    /// For a set of values.
    ///
    /// # Errors
    /// A set of classes.
    pub fn new(set: &Dataset) -> Result<Regression, Error> {
        let output = set.value_shape().ok_or_else(|| Error::option("the set has classes, and no values"))?;
        Ok(Regression { shape: set.shape(), output: output.to_vec(), members: Vec::new() })
    }

    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Adds the compiler's model, with its weights, and how its inputs were normalised.
    ///
    /// # Errors
    /// A model that does not take the set's samples, or gives other values.
    pub fn add(&mut self, compiler: &Compiler<'_>, normalise: Option<Normalise>) -> Result<(), Error> {
        let (graph, parameters) = compiler.source_graph()?;
        let refuse = |message: String| Error::Unsupported { name: graph.name.clone(), message };
        let ([input], [_]) = (graph.inputs(), &graph.outputs[..]) else {
            return Err(refuse("a model that is evaluated has one input and one output".into()));
        };
        if let Some(normalise) = &normalise {
            normalise.check(self.shape).map_err(refuse)?;
        }
        let ty = graph.ty((*input).into());
        let rows = ty.shape.first().and_then(|d| d.as_const()).map_or(ROWS, |n| n.max(1) as usize);
        let [c, h, w] = self.shape;
        let shape = match ty.rank() {
            2 => vec![rows, c * h * w],
            3 if c == 1 => vec![rows, h, w],
            _ => vec![rows, c, h, w],
        };
        let name = graph.node(*input).name.clone().unwrap_or_default();
        let shapes = BTreeMap::from([(name.to_string(), shape.iter().map(|d| *d as i64).collect())]);
        let mut sizes = compiler.options.sizes.clone();
        sizes.extend(solve(&graph, &shapes)?);
        let bound = bind(&graph, &sizes)?;
        let given = bound.ty(bound.outputs[0].value).const_shape().unwrap_or_default();
        let long = |shape: &[usize]| shape.iter().copied().filter(|n| *n != 1).collect::<Vec<_>>();
        if long(given.get(1..).unwrap_or_default()) != long(&self.output) {
            let message = format!("it gives {given:?}, but the set has values of {:?} a sample", self.output);
            return Err(refuse(message));
        }
        let compiled = compiler.compile_graph(bound, parameters)?;
        self.members.push((Batches::new(compiled, &name, &shape)?, normalise));
        Ok(())
    }

    /// The score on a whole set, so many samples at a time; `watch` is told how many are done. Its loss is the mean square.
    ///
    /// # Errors
    /// Samples that cannot be read.
    pub fn score(&mut self, set: &Dataset, batch: usize, watch: &mut dyn FnMut(u64)) -> Result<Score, Error> {
        let each: usize = self.output.iter().product();
        let share = 1.0 / self.members.len().max(1) as f32;
        let mut score = Score::new(Loss::SquaredError);
        for start in (0..set.len()).step_by(batch.max(1)) {
            let chosen = start..set.len().min(start + batch.max(1));
            let images = chosen.clone().map(|i| set.image(i)).collect::<Result<Vec<_>, _>>()?;
            let mut mean = vec![0f32; images.len() * each];
            for (batches, normalise) in &mut self.members {
                let rows = images.iter().cloned().map(|image| match normalise {
                    Some(normalise) => normalise.apply(image).values,
                    None => image.values,
                });
                batches.run(rows, &mut |row, values| {
                    let own = &mut mean[row * each..(row + 1) * each];
                    own.iter_mut().zip(values).for_each(|(mean, value)| *mean += share * value);
                })?;
            }
            let targets = set.values(chosen.clone())?;
            let shape = [chosen.len(), each];
            score.add_values(
                TensorView::new(&shape, &mean)?,
                TensorView::new(&shape, targets.as_slice::<f32>()?)?,
            )?;
            watch(chosen.end as u64);
        }
        Ok(score)
    }
}
