//! The transforms of one line of a tile, as straight code. Pairs of points ±p share an even and an odd part.

use crate::tile::build::Builder;
use crate::tile::{V, VectorOp};
use rectify_ir::kernel::winograd::transform::{FAR, NEAR};

/// `B' d` for a line of n vectors.
pub fn input(builder: &mut Builder, d: &[V]) -> Vec<V> {
    let mut line = Line { builder };
    match *d {
        [d0, d1, d2, d3] => {
            let first = line.sub(d2, d0);
            let (plus, minus) = (line.add(d2, d1), line.sub(d2, d1));
            let last = line.sub(d3, d1);
            vec![first, plus, minus, last]
        }
        [d0, d1, d2, d3, d4, d5] => {
            let first = line.mul_add(d2, -2.5, d4);
            let first = line.add(first, d0);
            let near = (line.mul_add(d2, -2.0, d4), line.odd(d1, -FAR, d3, NEAR));
            let far = (line.mul_add(d2, -0.5, d4), line.odd(d1, -NEAR, d3, FAR));
            let last = line.mul_add(d3, -2.5, d5);
            let last = line.add(last, d1);
            let mut all = vec![first];
            for (even, odd) in [near, far] {
                all.push(line.add(even, odd));
                all.push(line.sub(even, odd));
            }
            all.push(last);
            all
        }
        // Descriptors have tiles of 4 or 6 alone.
        _ => Vec::new(),
    }
}

/// `A' m` for a line of n vectors.
pub fn output(builder: &mut Builder, m: &[V]) -> Vec<V> {
    let mut line = Line { builder };
    match *m {
        [m0, m1, m2, m3] => {
            let (sum, difference) = (line.add(m1, m2), line.sub(m1, m2));
            vec![line.add(m0, sum), line.add(difference, m3)]
        }
        [m0, m1, m2, m3, m4, m5] => {
            let (near, near_odd) = (line.add(m1, m2), line.sub(m1, m2));
            let (far, far_odd) = (line.add(m3, m4), line.sub(m3, m4));
            let sum = line.add(near, far);
            let first = line.add(m0, sum);
            let second = line.odd(near_odd, NEAR, far_odd, FAR);
            let third = line.odd(near, 0.5, far, 2.0);
            let cubes = line.odd(near_odd, NEAR * 0.5, far_odd, FAR * 2.0);
            vec![first, second, third, line.add(cubes, m5)]
        }
        _ => Vec::new(),
    }
}

struct Line<'a> {
    builder: &'a mut Builder,
}

impl Line<'_> {
    fn add(&mut self, a: V, b: V) -> V {
        self.builder.vector(VectorOp::Add(a, b))
    }

    fn sub(&mut self, a: V, b: V) -> V {
        self.builder.vector(VectorOp::Sub(a, b))
    }

    /// `a * factor + b`.
    fn mul_add(&mut self, a: V, factor: f64, b: V) -> V {
        let factor = self.builder.splat(factor as f32);
        self.builder.vector(VectorOp::MulAdd(a, factor, b))
    }

    /// `a * x + b * y`.
    fn odd(&mut self, a: V, x: f64, b: V, y: f64) -> V {
        let y = self.builder.splat(y as f32);
        let product = self.builder.vector(VectorOp::Mul(b, y));
        self.mul_add(a, x, product)
    }
}
