//! Rules of operations that move elements along axes whose size is known at run time alone.

use super::Sink;
use super::rules::Fill;
use crate::pieces::Made;
use crate::pipeline::PassError;
use rectify_ir::graph::{Node, Value};
use rectify_ir::op::{Binary, Op};
use rectify_ir::{DType, Dim};

impl Sink<'_> {
    /// The operands one after the other, each as long as it can be; then element i is that of the operand in which it
    /// lies, at its place there.
    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<Vec<Value>, PassError> {
        let own = node.own_operands().to_vec();
        if !own.iter().any(|v| self.concerns(*v, axis)) {
            return self.same(node);
        }
        if node.epilogue.is_some() {
            return Err(self.across(node));
        }
        let joined = self.same(node)?[0];
        let whole = self.pieces.shape(joined)[axis].clone();
        let mut places = self.pieces.places(&whole, 0, 1)?;
        let zero = self.pieces.numbers(&[0]);
        let (mut end, mut bound, element) = (zero, zero, places);
        for (i, operand) in own.iter().enumerate().take(own.len() - 1) {
            let size = self.pieces.shape(*operand)[axis].clone();
            let (length, most) = (self.length(&size)?, self.bound(&size)?);
            let most = self.pieces.size(&most)?;
            (end, bound) = if i == 0 {
                (length, most)
            } else {
                let end = self.pieces.binary(Binary::Add, end, length)?;
                (end, self.pieces.binary(Binary::Add, bound, most)?)
            };
            // Behind this operand, elements lie further on by what it can be longer.
            let gap = self.pieces.binary(Binary::Sub, bound, end)?;
            let moved = self.pieces.binary(Binary::Add, element, gap)?;
            let before = self.pieces.binary(Binary::Less, element, end)?;
            places = self.pieces.select(before, places, moved)?;
        }
        Ok(vec![self.pieces.push(Op::Gather { axis }, &[joined, places])?])
    }

    pub(super) fn slice(
        &mut self,
        node: &Node,
        axes: &[usize],
        starts: &[Dim],
        steps: &[i64],
    ) -> Result<Vec<Value>, PassError> {
        let x = node.operands[0];
        let moves = |sink: &Self, i: usize| {
            sink.concerns(x, axes[i]) && (steps[i] < 0 || sink.lengths.concerns(&starts[i]))
        };
        let moving: Vec<usize> = (0..axes.len()).filter(|i| moves(self, *i)).collect();
        let Op::Slice { ends, .. } = &node.op else { return Err(self.across(node)) };
        for (i, end) in ends.iter().enumerate().filter(|(i, _)| self.concerns(x, axes[*i])) {
            let size = &self.pieces.shape(x)[axes[i]];
            let facts = &self.pieces.graph.facts;
            let behind = end.sub(size)?.bounds(facts).1;
            if behind.is_none_or(|behind| behind > 0) {
                let message = format!("a slice up to {end} may lie outside of the axis of size {size}");
                return Err(self.pieces.unsupported(message));
            }
        }
        if moving.is_empty() {
            return self.same(node);
        }
        if node.epilogue.is_some() {
            return Err(self.across(node));
        }
        let mut y = self.whole(x);
        let result = node.types[0].shape.clone();
        for i in 0..axes.len() {
            let (axis, bound) = (axes[i], self.bound(&result[axes[i]])?);
            let start = self.length_or_number(&starts[i])?;
            let places = self.pieces.places(&bound, 0, 1)?;
            let step = self.pieces.numbers(&[steps[i]]);
            let places = self.pieces.binary(Binary::Mul, places, step)?;
            let places = self.pieces.binary(Binary::Add, places, start)?;
            let zero = self.pieces.numbers(&[0]);
            let places = self.pieces.binary(Binary::Max, places, zero)?;
            y = self.pieces.push(Op::Gather { axis }, &[y, places])?;
        }
        Ok(vec![y])
    }

    /// As [`length`](Self::length), of what is no size and may be negative.
    fn length_or_number(&mut self, place: &Dim) -> Made {
        match place.as_const() {
            Some(n) => Ok(self.pieces.numbers(&[n])),
            None => self.length(place),
        }
    }

    /// Of `gather` and `gather_elements`.
    pub(super) fn gather(&mut self, node: &Node, axis: usize) -> Result<Vec<Value>, PassError> {
        let mut whole = self.wholes(node);
        let x = node.operands[0];
        if self.concerns(x, axis) {
            let size = self.pieces.shape(x)[axis].clone();
            let length = self.length(&size)?;
            whole[1] = self.places_within(whole[1], length)?;
        }
        self.with_operands(node, whole)
    }

    /// Indices by what they mean along axes of these lengths: from the end where they are negative, and clamped.
    fn places_within(&mut self, indices: Value, length: Value) -> Made {
        let rank = self.pieces.shape(indices).len();
        let mut indices = self.pieces.cast(indices, DType::I64)?;
        if rank == 0 {
            indices = self.pieces.reshape(indices, vec![Dim::Const(1)])?;
        }
        let (zero, one) = (self.pieces.numbers(&[0]), self.pieces.numbers(&[1]));
        let negative = self.pieces.binary(Binary::Less, indices, zero)?;
        let from_end = self.pieces.binary(Binary::Add, indices, length)?;
        let places = self.pieces.select(negative, from_end, indices)?;
        let last = self.pieces.binary(Binary::Sub, length, one)?;
        let places = self.pieces.binary(Binary::Min, places, last)?;
        let places = self.pieces.binary(Binary::Max, places, zero)?;
        if rank == 0 { self.pieces.reshape(places, vec![]) } else { Ok(places) }
    }

    pub(super) fn gather_nd(&mut self, node: &Node, batch: usize) -> Result<Vec<Value>, PassError> {
        let mut whole = self.wholes(node);
        whole[1] = self.rows_within(node.operands[0], node.operands[1], batch)?;
        self.with_operands(node, whole)
    }

    /// The whole of rows of places along the axes of x from `batch` on, by what they mean there.
    fn rows_within(&mut self, x: Value, indices: Value, batch: usize) -> Made {
        let (shape, whole) = (self.pieces.shape(x).to_vec(), self.whole(indices));
        let depth = match self.pieces.shape(whole).last().and_then(Dim::as_const) {
            Some(depth) => depth as usize,
            None => return Err(self.pieces.unsupported("the depth of the indices depends on data")),
        };
        let placed = &shape[batch..batch + depth];
        if !placed.iter().any(|d| self.lengths.concerns(d)) {
            return Ok(whole);
        }
        let lengths = placed.iter().map(|d| self.length(d)).collect::<Result<Vec<_>, _>>()?;
        let lengths = match lengths.as_slice() {
            [one] => *one,
            many => self.pieces.push(Op::Concat { axis: 0 }, many)?,
        };
        self.places_within(whole, lengths)
    }

    /// Updates behind an end go to a slice of their own behind x, which is dropped.
    pub(super) fn scatter_elements(&mut self, node: &Node, axis: usize) -> Result<Vec<Value>, PassError> {
        let [x, indices, _] = node.operands[..] else { return Err(self.across(node)) };
        let mut whole = self.wholes(node);
        let size = self.pieces.shape(x)[axis].clone();
        if self.concerns(x, axis) {
            let length = self.length(&size)?;
            whole[1] = self.places_within(whole[1], length)?;
        }
        let axes = self.axes(indices);
        // Where x is as long as the updates, what is behind the end stays behind the end.
        let apart = |a: &usize| *a == axis || self.pieces.shape(x)[*a] != self.pieces.shape(indices)[*a];
        let apart: Vec<usize> = axes.into_iter().filter(apart).collect();
        if apart.is_empty() {
            return self.with_operands(node, whole);
        }
        let inside = self.inside(indices, &apart)?;
        let behind = self.pieces.shape(whole[0])[axis].clone();
        let behind = self.pieces.size(&behind)?;
        if !self.concerns(x, axis) {
            let length = self.pieces.size(&size)?;
            whole[1] = self.places_within(whole[1], length)?;
        }
        whole[1] = self.pieces.select(inside, whole[1], behind)?;
        self.scatter_beside(node, whole, axis)
    }

    pub(super) fn scatter_nd(&mut self, node: &Node) -> Result<Vec<Value>, PassError> {
        let [x, indices, _] = node.operands[..] else { return Err(self.across(node)) };
        let mut whole = self.wholes(node);
        whole[1] = self.rows_within(x, indices, 0)?;
        let axes = self.axes(indices);
        if axes.is_empty() {
            return self.with_operands(node, whole);
        }
        let depth = self.pieces.shape(whole[1]).last().and_then(Dim::as_const).unwrap_or(0) as usize;
        if depth == 0 {
            return Err(self.across(node));
        }
        let inside = self.inside(indices, &axes)?;
        let first = self.pieces.shape(whole[0])[0].clone();
        let lengths = self.pieces.shape(whole[0])[..depth].to_vec();
        let lengths = lengths.iter().map(|d| self.pieces.size(d)).collect::<Result<Vec<_>, _>>()?;
        let all = match lengths.as_slice() {
            [one] => *one,
            many => self.pieces.push(Op::Concat { axis: 0 }, many)?,
        };
        whole[1] = self.places_within(whole[1], all)?;
        let first = self.pieces.size(&first)?;
        let rest = self.pieces.numbers(&vec![0; depth - 1]);
        let behind =
            if depth == 1 { first } else { self.pieces.push(Op::Concat { axis: 0 }, &[first, rest])? };
        whole[1] = self.pieces.select(inside, whole[1], behind)?;
        self.scatter_beside(node, whole, 0)
    }

    /// The scatter to x with one more slice along the axis, which is dropped again.
    fn scatter_beside(
        &mut self,
        node: &Node,
        mut whole: Vec<Value>,
        axis: usize,
    ) -> Result<Vec<Value>, PassError> {
        let mut shape = self.pieces.shape(whole[0]).to_vec();
        let size = std::mem::replace(&mut shape[axis], Dim::Const(1));
        let dtype = self.pieces.dtype(whole[0]);
        let ones = vec![Dim::Const(1); shape.len()];
        let slice = self.fill(dtype, Fill::Number(0));
        let slice = self.pieces.reshape(slice, ones)?;
        let slice = self.pieces.push(Op::Expand { shape }, &[slice])?;
        whole[0] = self.pieces.push(Op::Concat { axis }, &[whole[0], slice])?;
        let y = self.with_operands(node, whole)?[0];
        Ok(vec![self.pieces.part(y, axis, Dim::Const(0), size)?])
    }
}
