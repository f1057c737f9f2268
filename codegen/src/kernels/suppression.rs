//! Generator of `suppression` kernels: a walk over the boxes in their order; each is compared with those taken before
//! it, a vector at a time, until one overlaps.

use crate::tile::build::{Builder, at, compare, compare_const, indexed, slot};
use crate::tile::{
    ARGUMENTS, Cell, FloatCompare, Function, I, IntCompare, IntOp, ScalarOp, V, VectorOp, Width,
};
use rectify_ir::kernel::Suppression;
use rectify_ir::kernel::suppression::{ARRAYS, FLAG_BYTES, LANES, slot};
use rectify_ir::target::Target;

pub fn generate(kernel: &Suppression, target: &Target) -> Function {
    let mut builder = Builder::new(LANES as u8, target.fma);
    let b = &mut builder;
    let [pointers, args, begin, end, scratch] = ARGUMENTS;
    let [classes, boxes, limit] = [slot::CLASSES, slot::BOXES, slot::LIMIT].map(|at| b.int(slot(args, at)));
    let [output, corners, scores, order, most, overlap, threshold] =
        [0, 1, 2, 3, 4, 5, 6].map(|at| b.int(slot(pointers, at)));
    let most = b.int(slot(most, 0));
    let row = Row {
        boxes,
        most: b.least(most, crate::tile::Right::Register(limit)),
        overlap: b.vector(VectorOp::LoadSplat(at(overlap, 0))),
        threshold: b.int(IntOp::LoadCell(Cell::F32, at(threshold, 0))),
        taken: arrays(b, scratch, limit),
        flags: scratch,
        centre: kernel.centre,
    };
    let number = b.int(IntOp::Copy(begin));
    let rows = b.int(IntOp::Sub(end, begin));
    b.repeat(rows, |b| {
        let image = b.int(IntOp::Div(number, classes));
        let image = b.int(IntOp::Mul(image, boxes));
        let first = b.int(IntOp::Mul(number, boxes));
        let written = b.int(IntOp::Mul(number, limit));
        let behind = |b: &mut Builder, base, index, bytes| {
            let offset = b.int(IntOp::MulConst(index, bytes));
            b.int(IntOp::Add(base, offset))
        };
        let to = behind(b, output, written, 8);
        let [corners, scores] =
            [(corners, image, 16), (scores, first, 4)].map(|(p, i, n)| behind(b, p, i, n));
        let order = behind(b, order, first, 8);
        let kept = row.walk(b, corners, scores, order, to);
        let none = b.int(IntOp::Const(-1));
        let rest = b.int(IntOp::Sub(limit, kept));
        let at_rest = behind(b, to, kept, 8);
        b.repeat(rest, |b| {
            b.store_int(at(at_rest, 0), none);
            b.bump(at_rest, 8);
        });
        b.bump(number, 1);
    });
    builder.finish()
}

/// The arrays in scratch, each a whole number of vectors long.
fn arrays(b: &mut Builder, scratch: I, limit: I) -> [I; ARRAYS] {
    let rounded = b.int(IntOp::AddConst(limit, LANES - 1));
    let rounded = b.int(IntOp::AndConst(rounded, -LANES));
    let bytes = b.int(IntOp::MulConst(rounded, 4));
    let next = b.int(IntOp::AddConst(scratch, FLAG_BYTES));
    [(); ARRAYS].map(|()| {
        let array = b.int(IntOp::Copy(next));
        b.advance(next, bytes);
        array
    })
}

/// What does not change within a call.
struct Row {
    boxes: I,
    most: I,
    overlap: V,
    threshold: I,
    taken: [I; ARRAYS],
    flags: I,
    centre: bool,
}

impl Row {
    /// Takes boxes in their order, writes their places, and gives their number.
    fn walk(&self, b: &mut Builder, corners: I, scores: I, order: I, output: I) -> I {
        let kept = b.int(IntOp::Const(0));
        let left = b.int(IntOp::Copy(self.boxes));
        let going = self.going(b, left, kept);
        b.while_(compare_const(going, IntCompare::Ne, 0), |b| {
            let place = b.int(slot(order, 0));
            b.bump(order, 8);
            b.bump(left, -1);
            let inside = b.int(IntOp::Scalar(ScalarOp::LessUnsigned, place, self.boxes));
            b.if_(compare_const(inside, IntCompare::Ne, 0), |b| {
                let passes = self.passes(b, scores, place);
                b.if_(compare_const(passes, IntCompare::Ne, 0), |b| {
                    let candidate = self.candidate(b, corners, place);
                    let hit = self.overlaps(b, &candidate, kept);
                    b.if_(compare_const(hit, IntCompare::Eq, 0), |b| {
                        self.take(b, &candidate, kept);
                        let offset = b.int(IntOp::MulConst(kept, 8));
                        b.store_int(indexed(output, offset, 0), place);
                        b.bump(kept, 1);
                    });
                });
            });
            let more = self.going(b, left, kept);
            b.set(going, IntOp::Copy(more));
        });
        kept
    }

    /// 1 where there are boxes left and more are wanted.
    fn going(&self, b: &mut Builder, left: I, kept: I) -> I {
        let zero = b.int(IntOp::Const(0));
        let left = b.int(IntOp::Scalar(ScalarOp::LessSigned, zero, left));
        let wanted = b.int(IntOp::Scalar(ScalarOp::LessSigned, kept, self.most));
        b.int(IntOp::Mul(left, wanted))
    }

    /// Not zero where the score counts.
    fn passes(&self, b: &mut Builder, scores: I, place: I) -> I {
        let offset = b.int(IntOp::MulConst(place, 4));
        let score = b.int(IntOp::LoadCell(Cell::F32, indexed(scores, offset, 0)));
        let above = b.int(IntOp::Scalar(ScalarOp::LessFloat, self.threshold, score));
        let lowest = b.int(IntOp::Const(f64::NEG_INFINITY.to_bits() as i64));
        let both =
            [score, self.threshold].map(|value| b.int(IntOp::Scalar(ScalarOp::EqualFloat, value, lowest)));
        let both = b.int(IntOp::Mul(both[0], both[1]));
        b.int(IntOp::Scalar(ScalarOp::Or, above, both))
    }

    /// The box at a place in every lane: least coordinates, greatest coordinates, area.
    fn candidate(&self, b: &mut Builder, corners: I, place: I) -> [V; ARRAYS] {
        let offset = b.int(IntOp::MulConst(place, 16));
        let address = b.int(IntOp::Add(corners, offset));
        let [p, q, r, s] = [0, 4, 8, 12].map(|offset| b.vector(VectorOp::LoadSplat(at(address, offset))));
        let [low_x, low_y, high_x, high_y] = if self.centre {
            let half = b.splat(0.5);
            let [w, h] = [r, s].map(|extent| b.vector(VectorOp::Mul(extent, half)));
            let lows = [(p, w), (q, h)].map(|(c, e)| b.vector(VectorOp::Sub(c, e)));
            let highs = [(p, w), (q, h)].map(|(c, e)| b.vector(VectorOp::Add(c, e)));
            [lows[0], lows[1], highs[0], highs[1]]
        } else {
            let lows = [(p, r), (q, s)].map(|(x, y)| b.vector(VectorOp::Min(x, y)));
            let highs = [(p, r), (q, s)].map(|(x, y)| b.vector(VectorOp::Max(x, y)));
            [lows[0], lows[1], highs[0], highs[1]]
        };
        let width = b.vector(VectorOp::Sub(high_x, low_x));
        let height = b.vector(VectorOp::Sub(high_y, low_y));
        [low_x, low_y, high_x, high_y, b.vector(VectorOp::Mul(width, height))]
    }

    /// Not zero where the candidate overlaps with a box that is taken.
    fn overlaps(&self, b: &mut Builder, candidate: &[V; ARRAYS], kept: I) -> I {
        let hit = b.int(IntOp::Const(0));
        let offset = b.int(IntOp::Const(0));
        let end = b.int(IntOp::MulConst(kept, 4));
        let (one, zero) = (b.splat(1.0), b.splat(0.0));
        b.while_(compare(offset, IntCompare::Lt, end), |b| {
            let taken =
                self.taken.map(|array| b.vector(VectorOp::Load(indexed(array, offset, 0), Width::Full)));
            let [across, down] = [0, 1].map(|i| {
                let low = b.vector(VectorOp::Max(candidate[i], taken[i]));
                let high = b.vector(VectorOp::Min(candidate[i + 2], taken[i + 2]));
                b.vector(VectorOp::Sub(high, low))
            });
            let common = b.vector(VectorOp::Mul(across, down));
            let both = b.vector(VectorOp::Add(candidate[4], taken[4]));
            let both = b.vector(VectorOp::Sub(both, common));
            let part = b.vector(VectorOp::Div(common, both));
            let mut flag = b.vector(VectorOp::Select(FloatCompare::Gt, part, self.overlap, one, zero));
            for positive in [across, down, candidate[4], taken[4]] {
                flag = b.vector(VectorOp::Select(FloatCompare::Gt, positive, zero, flag, zero));
            }
            b.store(at(self.flags, 0), flag, Width::Full);
            let halves = [0, 1].map(|i| b.int(slot(self.flags, i)));
            b.set(hit, IntOp::Scalar(ScalarOp::Or, halves[0], halves[1]));
            b.bump(offset, 4 * LANES);
            let next = b.int(IntOp::Choose(hit, end, offset));
            b.set(offset, IntOp::Copy(next));
        });
        hit
    }

    /// Puts the candidate behind the boxes that are taken. Lanes of a vector that is begun have no area.
    fn take(&self, b: &mut Builder, candidate: &[V; ARRAYS], kept: I) {
        let offset = b.int(IntOp::MulConst(kept, 4));
        let lane = b.int(IntOp::AndConst(kept, LANES - 1));
        b.if_(compare_const(lane, IntCompare::Eq, 0), |b| {
            let zero = b.splat(0.0);
            b.store(indexed(self.taken[4], offset, 0), zero, Width::Full);
        });
        for (array, value) in self.taken.iter().zip(candidate) {
            b.store(indexed(*array, offset, 0), *value, Width::One);
        }
    }
}
