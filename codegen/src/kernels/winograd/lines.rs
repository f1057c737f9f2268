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

/// `A y` for a line of 4 vectors: the polynomial's values at the points.
pub fn gradient(builder: &mut Builder, y: &[V]) -> Vec<V> {
    let mut line = Line { builder };
    let [y0, y1, y2, y3] = *y else { return Vec::new() };
    let near = (line.mul_add(y2, 0.5, y0), line.odd(y1, NEAR, y3, NEAR * 0.5));
    let far = (line.mul_add(y2, 2.0, y0), line.odd(y1, FAR, y3, FAR * 2.0));
    let mut all = vec![y0];
    for (even, odd) in [near, far] {
        all.push(line.add(even, odd));
        all.push(line.sub(even, odd));
    }
    all.push(y3);
    all
}

/// `G' s` for a line of 6 vectors.
pub fn weights(builder: &mut Builder, s: &[V]) -> Vec<V> {
    let mut line = Line { builder };
    let [s0, s1, s2, s3, s4, s5] = *s else { return Vec::new() };
    let (near, near_odd) = (line.add(s1, s2), line.sub(s1, s2));
    let (far, far_odd) = (line.add(s3, s4), line.sub(s3, s4));
    let (near_scale, far_scale) = (-1.0 / 1.5, 1.0 / 6.0);
    let first = line.odd(near, near_scale, far, far_scale);
    let first = line.add(s0, first);
    let second = line.odd(near_odd, NEAR * near_scale, far_odd, FAR * far_scale);
    let third = line.odd(near, 0.5 * near_scale, far, 2.0 * far_scale);
    vec![first, second, line.add(third, s5)]
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
