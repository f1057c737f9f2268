//! Einstein sums, as products of matrices where there are sums, and elementwise products where there are none.

use super::super::context::{Cx, Lowered};
use super::super::problem::Refusal;
use rectify_ir::op::{Binary, Op, ReduceKind};
use rectify_ir::{DType, Dim, Value};

/// An index of the equation: a letter, or an axis of the ellipsis counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// Greatest first, so that they sort as they stand.
    Ellipsis(std::cmp::Reverse<usize>),
    Letter(char),
}

/// A tensor with the index that each axis runs over.
#[derive(Clone, Debug)]
struct Term {
    value: Value,
    labels: Vec<Label>,
}

/// One side of a comma of the equation: letters, and where the ellipsis stands.
fn letters(text: &str) -> Result<(Vec<char>, Option<usize>), Refusal> {
    let wrong = || Refusal::malformed(format!("`{text}` is no term of an equation"));
    let (before, after) = match text.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    };
    let mut list: Vec<char> = before.chars().collect();
    let ellipsis = after.map(|_| list.len());
    list.extend(after.unwrap_or_default().chars());
    if list.iter().all(char::is_ascii_alphabetic) { Ok((list, ellipsis)) } else { Err(wrong()) }
}

fn labels(text: &str, ellipsis_axes: usize) -> Result<Vec<Label>, Refusal> {
    let (list, ellipsis) = letters(text)?;
    let mut labels: Vec<Label> = list.into_iter().map(Label::Letter).collect();
    if let Some(at) = ellipsis {
        let axes = (0..ellipsis_axes).rev().map(|i| Label::Ellipsis(std::cmp::Reverse(i)));
        labels.splice(at..at, axes);
    }
    Ok(labels)
}

pub fn einsum(cx: &mut Cx<'_, '_>) -> Lowered {
    let equation = cx.attrs.opt_text("equation")?;
    let equation = equation.ok_or_else(|| Refusal::malformed("the equation is missing"))?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (equation.as_str(), None),
    };
    let texts: Vec<&str> = inputs.split(',').collect();
    if texts.len() != cx.input_count() {
        return Err(Refusal::malformed(format!("{} terms for {} inputs", texts.len(), cx.input_count())));
    }
    let mut terms = Vec::new();
    let mut ellipsis_axes = 0;
    for (i, text) in texts.iter().enumerate() {
        let value = cx.value(i)?;
        let ty = cx.type_of(value).clone();
        let (list, ellipsis) = letters(text)?;
        let axes = match (ellipsis, ty.rank().checked_sub(list.len())) {
            (Some(_), Some(axes)) => axes,
            (None, Some(0)) => 0,
            _ => return Err(Refusal::malformed(format!("the term `{text}` does not fit {ty}"))),
        };
        ellipsis_axes = ellipsis_axes.max(axes);
        terms.push(diagonal(cx, Term { value, labels: labels(text, axes)? })?);
    }
    let output = match output {
        Some(text) => labels(text, ellipsis_axes)?,
        None => classical(&texts, ellipsis_axes)?,
    };
    let known = |l: &Label| terms.iter().any(|t| t.labels.contains(l)) || matches!(l, Label::Ellipsis(_));
    let twice = |i: usize| output[..i].contains(&output[i]);
    if !output.iter().all(known) || (0..output.len()).any(twice) {
        return Err(Refusal::malformed(format!("the result of `{equation}` is not defined")));
    }
    let y = sum_of_products(cx, terms, &output)?;
    cx.set(0, y);
    Ok(())
}

/// The result's indices where the equation does not name them: those of the ellipsis, then all that stand once, sorted.
fn classical(texts: &[&str], ellipsis_axes: usize) -> Result<Vec<Label>, Refusal> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(letters(text)?.0);
    }
    let mut once: Vec<char> =
        all.iter().copied().filter(|c| all.iter().filter(|d| *d == c).count() == 1).collect();
    once.sort_unstable();
    let ellipsis = if texts.iter().any(|t| t.contains("...")) { ellipsis_axes } else { 0 };
    let ellipsis = (0..ellipsis).rev().map(|i| Label::Ellipsis(std::cmp::Reverse(i)));
    Ok(ellipsis.chain(once.into_iter().map(Label::Letter)).collect())
}

/// A term in which an index stands twice is the diagonal of these axes: every n + 1-th element of both as one.
fn diagonal(cx: &mut Cx<'_, '_>, mut term: Term) -> Result<Term, Refusal> {
    loop {
        let repeated = (0..term.labels.len())
            .find_map(|j| Some((term.labels[..j].iter().position(|l| *l == term.labels[j])?, j)));
        let Some((i, j)) = repeated else { return Ok(term) };
        let shape = cx.type_of(term.value).shape.clone();
        let (Some(n), Some(m)) = (shape[i].as_const(), shape[j].as_const()) else {
            return Err(Refusal::form("the diagonal of axes of symbolic size is not supported")
                .help("give the model's symbolic dims fixed sizes when importing"));
        };
        if n != m {
            return Err(Refusal::malformed(format!("an index runs over {n} and over {m} elements")));
        }
        let mut order: Vec<usize> = (0..shape.len()).filter(|a| *a != i && *a != j).collect();
        let label = term.labels[i];
        let rest: Vec<Label> = order.iter().map(|a| term.labels[*a]).collect();
        let mut flat: Vec<Dim> = order.iter().map(|a| shape[*a].clone()).collect();
        order.extend([i, j]);
        let square = n.checked_mul(n).ok_or_else(|| Refusal::malformed("an axis is too long"))?;
        flat.push(Dim::Const(square));
        let y = cx.transpose(term.value, order)?;
        let y = cx.reshape(y, flat)?;
        let (axes, starts, ends) = (vec![rest.len()], vec![Dim::Const(0)], vec![Dim::Const(square)]);
        let value = cx.push(Op::Slice { axes, starts, ends, steps: vec![n + 1] }, &[y])?;
        term = Term { value, labels: rest.into_iter().chain([label]).collect() };
    }
}

fn sum_of_products(cx: &mut Cx<'_, '_>, terms: Vec<Term>, output: &[Label]) -> Result<Value, Refusal> {
    let mut rest = terms.into_iter();
    let mut product = rest.next().ok_or_else(|| Refusal::malformed("no terms"))?;
    while let Some(next) = rest.next() {
        let needed = |l: &Label| output.contains(l) || rest.as_slice().iter().any(|t| t.labels.contains(l));
        let a = reduced(cx, product, |l| next.labels.contains(l) || needed(l))?;
        let b = reduced(cx, next, |l| a.labels.contains(l) || needed(l))?;
        product = contract(cx, a, b, needed)?;
    }
    let product = reduced(cx, product, |l| output.contains(l))?;
    // An ellipsis may have axes that no term before has.
    arranged(cx, &product, output)
}

/// Sums over the indices that nobody needs.
fn reduced(cx: &mut Cx<'_, '_>, term: Term, needed: impl Fn(&Label) -> bool) -> Result<Term, Refusal> {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|i| !needed(&term.labels[*i])).collect();
    let value = cx.reduce(ReduceKind::Sum, term.value, &axes, false)?;
    Ok(Term { value, labels: term.labels.into_iter().filter(needed).collect() })
}

/// The term's axes in this order, with size 1 for indices that it lacks.
fn arranged(cx: &mut Cx<'_, '_>, term: &Term, order: &[Label]) -> Result<Value, Refusal> {
    let place = |l: &Label| term.labels.iter().position(|own| own == l);
    let perm: Vec<usize> = order.iter().filter_map(place).collect();
    let shape = cx.type_of(term.value).shape.clone();
    let wanted = order.iter().map(|l| place(l).map_or(Dim::Const(1), |i| shape[i].clone())).collect();
    let y = cx.transpose(term.value, perm)?;
    cx.reshape(y, wanted)
}

/// The product of two terms, summed over the indices that both have and nobody needs.
fn contract(cx: &mut Cx<'_, '_>, a: Term, b: Term, needed: impl Fn(&Label) -> bool) -> Result<Term, Refusal> {
    let shared = |l: &Label| b.labels.contains(l);
    let batch: Vec<Label> = a.labels.iter().copied().filter(|l| shared(l) && needed(l)).collect();
    let summed: Vec<Label> = a.labels.iter().copied().filter(|l| shared(l) && !needed(l)).collect();
    let rows: Vec<Label> = a.labels.iter().copied().filter(|l| !shared(l)).collect();
    let columns: Vec<Label> = b.labels.iter().copied().filter(|l| !a.labels.contains(l)).collect();
    let all: Vec<Label> = batch.iter().chain(&rows).chain(&columns).copied().collect();
    let by_matrices = matches!(cx.type_of(a.value).dtype, DType::F32 | DType::F16 | DType::BF16);
    if summed.is_empty() || !by_matrices {
        let order: Vec<Label> = all.iter().chain(&summed).copied().collect();
        let (x, y) = (arranged(cx, &a, &order)?, arranged(cx, &b, &order)?);
        let product = cx.binary(Binary::Mul, x, y)?;
        let axes: Vec<usize> = (all.len()..order.len()).collect();
        return Ok(Term { value: cx.reduce(ReduceKind::Sum, product, &axes, false)?, labels: all });
    }
    let size = |cx: &Cx<'_, '_>, term: &Term, l: &Label| {
        let at = term.labels.iter().position(|own| own == l);
        at.map_or(Dim::Const(1), |i| cx.type_of(term.value).shape[i].clone())
    };
    // A size of 1 meets any other.
    let either = |cx: &Cx<'_, '_>, l: &Label| match size(cx, &a, l) {
        Dim::Const(1) => size(cx, &b, l),
        n => n,
    };
    let sums: Vec<Dim> = summed.iter().map(|l| either(cx, l)).collect();
    let matrix = |cx: &mut Cx<'_, '_>, term: &Term, own: &[Label], last: bool| -> Result<Value, Refusal> {
        let (first, second) = if last { (own, summed.as_slice()) } else { (summed.as_slice(), own) };
        let order = [batch.as_slice(), first, second].concat();
        let mut y = arranged(cx, term, &order)?;
        let mut shape = cx.type_of(y).shape.clone();
        let at = batch.len() + if last { own.len() } else { 0 };
        if shape[at..at + sums.len()] != sums[..] {
            shape.splice(at..at + sums.len(), sums.iter().cloned());
            y = cx.push(Op::Expand { shape: shape.clone() }, &[y])?;
        }
        let border = batch.len() + first.len();
        let flat = [Dim::product(&shape[batch.len()..border])?, Dim::product(&shape[border..])?];
        cx.reshape(y, [&shape[..batch.len()], &flat].concat())
    };
    let (x, y) = (matrix(cx, &a, &rows, true)?, matrix(cx, &b, &columns, false)?);
    let product = cx.push(Op::MatMul, &[x, y])?;
    let sizes = |term: &Term, list: &[Label]| list.iter().map(|l| size(cx, term, l)).collect::<Vec<_>>();
    let batches = cx.type_of(product).shape[..batch.len()].to_vec();
    let shape = [batches, sizes(&a, &rows), sizes(&b, &columns)].concat();
    Ok(Term { value: cx.reshape(product, shape)?, labels: all })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &[Label]) -> String {
        let one = |l: &Label| match l {
            Label::Letter(c) => c.to_string(),
            Label::Ellipsis(i) => i.0.to_string(),
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn terms_of_equations() {
        assert_eq!(shown(&labels("a...b", 2).unwrap()), "a10b");
        assert_eq!(shown(&labels("...", 3).unwrap()), "210");
        assert_eq!(shown(&labels("", 0).unwrap()), "");
        assert!(labels("a.b", 0).is_err() && labels("......", 1).is_err() && labels("i-", 0).is_err());
    }

    #[test]
    fn results_that_are_not_named() {
        assert_eq!(shown(&classical(&["bj", "jA"], 0).unwrap()), "Ab");
        assert_eq!(shown(&classical(&["...ij", "...jk"], 2).unwrap()), "10ik");
        assert_eq!(shown(&classical(&["ii"], 0).unwrap()), "");
    }
}
