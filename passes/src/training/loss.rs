//! Losses: their value, and their derivative by the model's output, which the gradients start from.

use super::{Loss, TrainingError};
use rectify_ir::dim::Dim;
use rectify_ir::graph::{Graph, Value};
use rectify_ir::literal::Literal;
use rectify_ir::op::{Binary, Op, ReduceKind, Source, Unary};
use rectify_ir::shape::ShapeError;
use rectify_ir::{DType, TensorType};

/// Values of a loss.
pub(super) struct Lost {
    pub loss: Value,
    /// How many rows are classified correctly, as a float.
    pub correct: Option<Value>,
    /// The derivative of the loss by the output.
    pub seed: Value,
}

pub(super) fn add(graph: &mut Graph, y: Value, loss: Loss) -> Result<Lost, TrainingError> {
    let ty = graph.ty(y).clone();
    let Some(sizes) = ty.const_shape() else {
        return Err(TrainingError::Loss(format!("the sizes of the output {ty} must be known")));
    };
    match loss {
        Loss::CrossEntropy { smoothing } => {
            let [rows, classes] = sizes[..] else {
                let message = format!("a cross-entropy needs logits of the shape [N, K], not {ty}");
                return Err(TrainingError::Loss(message));
            };
            if !(0.0..1.0).contains(&smoothing) {
                return Err(TrainingError::Loss(format!(
                    "label smoothing lies in 0..1, so it cannot be {smoothing}"
                )));
            }
            Ok(cross_entropy(graph, y, rows, classes, smoothing)?)
        }
        Loss::SquaredError | Loss::AbsoluteError => {
            let target = graph.add_input("target", ty.clone());
            let count = sizes.iter().product::<usize>() as f64;
            let error = binary(graph, Binary::Sub, y, target)?;
            let (each, seed) = if loss == Loss::SquaredError {
                (binary(graph, Binary::Mul, error, error)?, times(graph, error, 2.0 / count)?)
            } else {
                let sign = graph.push(Op::Unary(Unary::Sign), &[error])?;
                (graph.push(Op::Unary(Unary::Abs), &[error])?, times(graph, sign, 1.0 / count)?)
            };
            let axes = (0..sizes.len()).collect();
            let loss = graph.push(Op::Reduce { kind: ReduceKind::Mean, axes, keep: false }, &[each])?;
            Ok(Lost { loss, correct: None, seed })
        }
    }
}

/// −Σ t · log softmax(y) / rows, whose derivative is (softmax(y) − t) / rows.
fn cross_entropy(
    graph: &mut Graph,
    y: Value,
    rows: usize,
    classes: usize,
    smoothing: f64,
) -> Result<Lost, ShapeError> {
    let labels = graph.add_input("labels", TensorType::f32([Dim::Const(rows as i64)]));
    let numbers: Vec<u8> = (0..classes).flat_map(|k| (k as f32).to_le_bytes()).collect();
    let literal = Literal { dtype: DType::F32, shape: vec![1, classes], bytes: numbers.into() };
    let ty = TensorType::f32([Dim::Const(1), Dim::Const(classes as i64)]);
    let classes_row = graph.add_param("loss.classes", ty, Source::Data(literal));
    let column =
        graph.push(Op::Reshape { shape: vec![Dim::Const(rows as i64), Dim::Const(1)] }, &[labels])?;
    let is_label = binary(graph, Binary::Equal, column, classes_row)?;
    let one_hot = graph.push(Op::Cast { to: DType::F32 }, &[is_label])?;
    let mut target = one_hot;
    if smoothing > 0.0 {
        let sharp = times(graph, one_hot, 1.0 - smoothing)?;
        let spread = graph.push_const(smoothing / classes as f64);
        target = binary(graph, Binary::Add, sharp, spread)?;
    }
    let greatest = reduce(graph, y, ReduceKind::Max)?;
    let low = binary(graph, Binary::Sub, y, greatest)?;
    let exp = graph.push(Op::Unary(Unary::Exp), &[low])?;
    let total = reduce(graph, exp, ReduceKind::Sum)?;
    let log = graph.push(Op::Unary(Unary::Log), &[total])?;
    let log_p = binary(graph, Binary::Sub, low, log)?;
    let each = binary(graph, Binary::Mul, target, log_p)?;
    let sum = graph.push(Op::Reduce { kind: ReduceKind::Sum, axes: vec![0, 1], keep: false }, &[each])?;
    let loss = times(graph, sum, -1.0 / rows as f64)?;
    let p = binary(graph, Binary::Div, exp, total)?;
    let off = binary(graph, Binary::Sub, p, target)?;
    let seed = times(graph, off, 1.0 / rows as f64)?;
    let is_greatest = binary(graph, Binary::Equal, y, greatest)?;
    let is_greatest = graph.push(Op::Cast { to: DType::F32 }, &[is_greatest])?;
    let hits = binary(graph, Binary::Mul, one_hot, is_greatest)?;
    let correct = graph.push(Op::Reduce { kind: ReduceKind::Sum, axes: vec![0, 1], keep: false }, &[hits])?;
    Ok(Lost { loss, correct: Some(correct), seed })
}

fn binary(graph: &mut Graph, b: Binary, x: Value, y: Value) -> Result<Value, ShapeError> {
    graph.push(Op::Binary(b), &[x, y])
}

fn times(graph: &mut Graph, x: Value, factor: f64) -> Result<Value, ShapeError> {
    let factor = graph.push_const(factor);
    binary(graph, Binary::Mul, x, factor)
}

fn reduce(graph: &mut Graph, x: Value, kind: ReduceKind) -> Result<Value, ShapeError> {
    graph.push(Op::Reduce { kind, axes: vec![1], keep: true }, &[x])
}
