//! The reference interpreter on a compiled model's parameters: what the results should be.

use crate::compiled::{Compiled, Inner};
use crate::error::Error;
use crate::outputs::Outputs;
use rectify_ir::DType;
use rectify_ir::graph::{Graph, NodeId};
use rectify_ir::interp::{self, Tensors};
use rectify_passes as passes;
use rectify_runtime::{Tensor, TensorView};

impl Compiled {
    /// The outputs as the interpreter computes them in f64 from the model as written. Slow; for checking.
    ///
    /// # Errors
    /// Inputs that do not fit.
    pub fn reference(&self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let inner = &self.inner;
        let ordered = inner.ordered(inputs)?;
        if let Some(variant) = self.variant(&|at| ordered[at])? {
            return variant.compiled.reference(&variant.inputs(inputs));
        }
        let graph = resolved(inner)?;
        // Inputs that contradict sizes fixed by options are refused here as they are in a run.
        inner.solve(&ordered)?;
        let mut given = Tensors::<f64>::new();
        for (port, view) in inner.inputs.iter().zip(&ordered) {
            given.insert(port.name.to_string(), to_interpreter(view)?);
        }
        let mut parameter = |graph: &Graph, node: NodeId| {
            if let Some(known) =
                interp::known_param(graph, node).filter(|_| !graph.ty(node.into()).dtype.is_float())
            {
                return Ok(known);
            }
            let shape = graph.ty(node.into()).const_shape().ok_or("its shape is not known")?;
            let mut values = vec![0f32; shape.iter().product()];
            inner.parameters.read(graph, node, 0, &mut values).map_err(|e| e.to_string())?;
            let wide: Vec<f64> = values.into_iter().map(f64::from).collect();
            interp::Tensor::new(shape, wide).ok_or_else(|| "its values do not fit its shape".to_owned())
        };
        let results =
            interp::eval(&graph, &given, &mut parameter).map_err(|e| Error::tensor(e.to_string()))?;
        let mut tensors = Vec::new();
        for (name, port) in inner.output_names.iter().zip(crate::PortInfo::outputs(&inner.graph)) {
            let result = results
                .get(name.as_ref())
                .ok_or_else(|| Error::internal("interpreter", "an output is missing"))?;
            tensors.push(from_interpreter(result)?.convert(port.ty.dtype)?);
        }
        Ok(Outputs { names: inner.output_names.clone(), tensors })
    }
}

/// The graph as written, with fans and gains as numbers, which drawing needs.
fn resolved(inner: &Inner) -> Result<Graph, Error> {
    let options = passes::Options { stop_after: Some("fold_init"), ..passes::Options::default() };
    let optimized = passes::optimize(&inner.typed, &options).map_err(|e| Error::internal("fold_init", e))?;
    Ok(optimized.graph)
}

fn to_interpreter(view: &TensorView<'_>) -> Result<interp::Tensor<f64>, Error> {
    let dtype = view.dtype();
    let data = if dtype.is_float() {
        interp::Data::Float(view.to_f64_vec())
    } else if dtype == DType::Bool {
        interp::Data::Bool(view.as_slice::<bool>()?.to_vec())
    } else {
        interp::Data::Int(view.convert(DType::I64)?.into_vec::<i64>()?)
    };
    Ok(interp::Tensor { shape: view.shape().to_vec(), data })
}

fn from_interpreter(tensor: &interp::Tensor<f64>) -> Result<Tensor, Error> {
    let shape = tensor.shape.clone();
    Ok(match &tensor.data {
        interp::Data::Float(values) => Tensor::new(shape, values.clone())?,
        interp::Data::Int(values) => Tensor::new(shape, values.clone())?,
        interp::Data::Bool(values) => Tensor::new(shape, values.clone())?,
    })
}
