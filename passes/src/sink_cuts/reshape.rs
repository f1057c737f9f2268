//! Reshapes of sizes that are known at run time alone.
//!
//! Where such a size comes before all others that are joined or cut with it, its elements stay in front: `[K, 4]` and
//! `[4*K]`. Else each element of the result is fetched from where it lies in the whole.

use super::Sink;
use crate::pieces::Made;
use crate::pipeline::PassError;
use rectify_ir::Dim;
use rectify_ir::graph::Value;
use rectify_ir::op::{Binary, Op};

impl Sink<'_> {
    pub(super) fn reshape(&mut self, x: Value, shape: &[Dim]) -> Made {
        let (from, bounds) = (self.pieces.shape(x).to_vec(), self.bounds(shape)?);
        let whole = self.whole(x);
        if self.stays_in_front(&from, shape) {
            return self.pieces.reshape(whole, bounds);
        }
        self.fetch(whole, &from, shape, bounds)
    }

    /// Whether both shapes fall into groups of axes with as many elements, in which a size that depends on data is the
    /// first that is not 1, and the only one.
    fn stays_in_front(&self, from: &[Dim], to: &[Dim]) -> bool {
        let one = Dim::Const(1);
        let [from, to] = [from, to].map(|s| s.iter().filter(|d| **d != one).collect::<Vec<_>>());
        let (mut i, mut j) = (0, 0);
        while i < from.len() || j < to.len() {
            let (first_i, first_j) = (i, j);
            let (Some(mut a), Some(mut b)) =
                (from.get(i).map(|d| (*d).clone()), to.get(j).map(|d| (*d).clone()))
            else {
                return false;
            };
            (i, j) = (i + 1, j + 1);
            // The side with fewer elements takes another axis; which that is need not be known of symbolic sizes.
            while a != b {
                let next = match (from.get(i), to.get(j)) {
                    (Some(d), _) if divides(&a, &b) => (a.mul(d), b.clone(), 1, 0),
                    (_, Some(d)) => (Ok(a.clone()), b.mul(d).unwrap_or(Dim::Const(-1)), 0, 1),
                    (Some(d), None) => (a.mul(d), b.clone(), 1, 0),
                    (None, None) => return false,
                };
                let (Ok(x), y, di, dj) = next else { return false };
                (a, b, i, j) = (x, y, i + di, j + dj);
            }
            let behind = |dims: &[&Dim]| dims.iter().skip(1).any(|d| self.lengths.concerns(d));
            if behind(&from[first_i..i]) || behind(&to[first_j..j]) {
                return false;
            }
        }
        true
    }

    /// Element by element, by row-major numbers among the elements that there are.
    fn fetch(&mut self, whole: Value, from: &[Dim], to: &[Dim], bounds: Vec<Dim>) -> Made {
        let flat = self.elements(&bounds)?;
        let number = self.number(to, &bounds)?;
        let number = self.pieces.reshape(number, vec![flat])?;
        // Its place in the whole: by the axes from the last to the first.
        let (mut rest, mut place, mut stride) = (number, None, None);
        let whole_shape = self.pieces.shape(whole).to_vec();
        for (axis, size) in from.iter().enumerate().rev() {
            let length = self.length(size)?;
            let one = self.pieces.numbers(&[1]);
            let length = self.pieces.binary(Binary::Max, length, one)?;
            let along = if axis == 0 { rest } else { self.pieces.binary(Binary::Rem, rest, length)? };
            rest = self.pieces.binary(Binary::Div, rest, length)?;
            let bound = self.pieces.size(&whole_shape[axis])?;
            (place, stride) = match (place, stride) {
                (Some(place), Some(stride)) => {
                    let moved = self.pieces.binary(Binary::Mul, along, stride)?;
                    let place = self.pieces.binary(Binary::Add, place, moved)?;
                    (Some(place), Some(self.pieces.binary(Binary::Mul, stride, bound)?))
                }
                _ => (Some(along), Some(bound)),
            };
        }
        let Some(place) = place else { return self.pieces.reshape(whole, bounds) };
        let all = self.elements(&whole_shape)?;
        let elements = self.pieces.reshape(whole, vec![all])?;
        let fetched = self.pieces.push(Op::Gather { axis: 0 }, &[elements, place])?;
        self.pieces.reshape(fetched, bounds)
    }

    /// The row-major number of each element of the result.
    fn number(&mut self, to: &[Dim], bounds: &[Dim]) -> Made {
        let (mut number, mut stride): (Option<Value>, Option<Value>) = (None, None);
        for (axis, size) in to.iter().enumerate().rev() {
            let places = self.pieces.places(&bounds[axis], axis, to.len())?;
            let moved = match stride {
                None => places,
                Some(stride) => self.pieces.binary(Binary::Mul, places, stride)?,
            };
            number = Some(match number {
                None => moved,
                Some(number) => self.pieces.binary(Binary::Add, number, moved)?,
            });
            let length = self.length(size)?;
            stride = Some(match stride {
                None => length,
                Some(stride) => self.pieces.binary(Binary::Mul, stride, length)?,
            });
        }
        match number {
            Some(number) => Ok(number),
            None => Ok(self.pieces.numbers(&[0])),
        }
    }

    fn elements(&self, shape: &[Dim]) -> Result<Dim, PassError> {
        Dim::product(shape).map_err(|e| self.pieces.unsupported(e.to_string()))
    }
}

/// Whether the second size is a multiple of the first.
fn divides(a: &Dim, b: &Dim) -> bool {
    b.div_exact(a, &Default::default()).is_ok()
}
