//! Layered layout of a directed acyclic graph.
//!
//! 1. Longest-path layers, sources pulled down to their first reader.
//! 2. An edge over several layers gets a *bend* (a narrow dummy box) in each layer between.
//! 3. Barycenter sweeps order each layer; the order with the fewest crossings wins.
//! 4. Boxes move towards the mean of their neighbours as far as the order allows.
//! 5. A long graph is cut into bands of layers, which stand side by side like columns of a newspaper; cuts are where
//!    few edges cross.

/// More bends than a readable drawing has; beyond, long edges go straight.
const MAX_BENDS: usize = 20_000;

/// Distances in user units.
pub const GAP_X: f64 = 18.0;
pub const GAP_Y: f64 = 26.0;
const BEND_WIDTH: f64 = 10.0;
/// Room between bands, where edges climb to the next one.
pub const GUTTER: f64 = 56.0;

/// What is laid out: sizes of boxes, and edges from earlier to later boxes.
pub struct Input {
    pub sizes: Vec<(f64, f64)>,
    pub edges: Vec<(usize, usize)>,
}

/// Where a box stands: centre of its top edge, and its band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub x: f64,
    pub y: f64,
    pub band: usize,
}

pub struct Layout {
    pub boxes: Vec<Place>,
    /// One polyline an edge, from the bottom of the source to the top of the target.
    pub paths: Vec<Vec<(f64, f64)>>,
    pub width: f64,
    pub height: f64,
}

/// Lays the graph out. Edges must lead from lower to higher box numbers.
pub fn layout(input: &Input, aspect: f64) -> Layout {
    let mut work = Work::new(input);
    work.order();
    work.place_x();
    work.finish(input, aspect)
}

/// Boxes and bends by layer. Numbers below `input.sizes.len()` are boxes, the others bends.
struct Work {
    /// Number of boxes.
    boxes: usize,
    sizes: Vec<(f64, f64)>,
    layer_of: Vec<usize>,
    layers: Vec<Vec<usize>>,
    /// Neighbours in the layers above and below.
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    /// For each edge: source, bends, target.
    chains: Vec<Vec<usize>>,
    x: Vec<f64>,
}

/// What the sweeps over the layers do to x.
#[derive(Clone, Copy)]
enum Phase {
    /// Everything towards the mean of its neighbours.
    Balance,
    /// Everything below what it reads.
    Hang,
    /// Bends only, towards the mean of their neighbours.
    Bends,
}

impl Work {
    fn new(input: &Input) -> Work {
        let n = input.sizes.len();
        let mut layer_of = vec![0usize; n];
        // Edges by target in ascending order, so that sources are final before their readers.
        let mut sorted = input.edges.clone();
        sorted.sort_unstable_by_key(|e| (e.1, e.0));
        for (from, to) in &sorted {
            layer_of[*to] = layer_of[*to].max(layer_of[*from] + 1);
        }
        let mut has_source = vec![false; n];
        let mut first_reader = vec![usize::MAX; n];
        for (from, to) in &input.edges {
            has_source[*to] = true;
            first_reader[*from] = first_reader[*from].min(layer_of[*to]);
        }
        for i in (0..n).filter(|i| !has_source[*i] && first_reader[*i] != usize::MAX) {
            layer_of[i] = first_reader[i].saturating_sub(1);
        }
        let mut work = Work {
            boxes: n,
            sizes: input.sizes.clone(),
            layers: vec![Vec::new(); layer_of.iter().max().map_or(0, |m| m + 1)],
            above: vec![Vec::new(); n],
            below: vec![Vec::new(); n],
            chains: Vec::with_capacity(input.edges.len()),
            x: Vec::new(),
            layer_of,
        };
        for i in 0..n {
            work.layers[work.layer_of[i]].push(i);
        }
        for (from, to) in &input.edges {
            work.chain(*from, *to);
        }
        work
    }

    fn chain(&mut self, from: usize, to: usize) {
        let mut chain = vec![from];
        let between = self.layer_of[from] + 1..self.layer_of[to];
        if self.sizes.len() - self.boxes + between.len() <= MAX_BENDS {
            for layer in between {
                let bend = self.sizes.len();
                self.sizes.push((BEND_WIDTH, 0.0));
                self.layer_of.push(layer);
                self.above.push(Vec::new());
                self.below.push(Vec::new());
                self.layers[layer].push(bend);
                chain.push(bend);
            }
        }
        chain.push(to);
        for pair in chain.windows(2) {
            self.below[pair[0]].push(pair[1]);
            self.above[pair[1]].push(pair[0]);
        }
        self.chains.push(chain);
    }

    /// Positions within the layers.
    fn positions(&self) -> Vec<usize> {
        let mut position = vec![0; self.sizes.len()];
        for layer in &self.layers {
            for (i, b) in layer.iter().enumerate() {
                position[*b] = i;
            }
        }
        position
    }

    fn order(&mut self) {
        let (mut best, mut fewest) = (self.layers.clone(), self.crossings());
        let mut position = self.positions();
        for sweep in 0..8 {
            let down = sweep % 2 == 0;
            let count = self.layers.len();
            for step in 1..count {
                let layer = if down { step } else { count - 1 - step };
                let near = if down { &self.above } else { &self.below };
                let key = |b: &usize| {
                    let n = &near[*b];
                    let own = position[*b] as f64;
                    if n.is_empty() {
                        own
                    } else {
                        n.iter().map(|m| position[*m] as f64).sum::<f64>() / n.len() as f64
                    }
                };
                let mut keyed: Vec<_> = self.layers[layer].iter().map(|b| (key(b), *b)).collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (i, (_, b)) in keyed.iter().enumerate() {
                    position[*b] = i;
                    self.layers[layer][i] = *b;
                }
            }
            let crossings = self.crossings();
            if crossings < fewest {
                (best, fewest) = (self.layers.clone(), crossings);
            }
        }
        self.layers = best;
    }

    fn crossings(&self) -> usize {
        let position = self.positions();
        let mut total = 0;
        for layer in &self.layers {
            let mut ends: Vec<usize> = Vec::new();
            for b in layer {
                let mut targets: Vec<_> = self.below[*b].iter().map(|t| position[*t]).collect();
                targets.sort_unstable();
                for t in &targets {
                    total += ends.iter().filter(|e| *e > t).count();
                }
                ends.extend(targets);
                // A layer with this many edges is no drawing any more; an estimate will do.
                if ends.len() > 2_000 {
                    return total;
                }
            }
        }
        total
    }

    /// Centres along x: boxes first packed, then drawn to their neighbours.
    fn place_x(&mut self) {
        self.x = vec![0.0; self.sizes.len()];
        for layer in 0..self.layers.len() {
            let wish = vec![0.0; self.layers[layer].len()];
            self.settle(layer, &wish);
        }
        let count = self.layers.len();
        for sweep in 0..24 {
            // First balance, then put every box below what it reads, then straighten long edges around the boxes.
            let (phase, reversed) = match sweep {
                0..12 => (Phase::Balance, sweep % 2 == 1),
                12..14 => (Phase::Hang, false),
                _ => (Phase::Bends, sweep % 2 == 1),
            };
            for step in 0..count {
                let layer = if reversed { count - 1 - step } else { step };
                let wish: Vec<f64> = self.layers[layer].iter().map(|b| self.wish(*b, phase)).collect();
                self.settle(layer, &wish);
            }
        }
    }

    /// Where a box or bend would best stand. Long edges become straight, and boxes are not drawn aside by them.
    fn wish(&self, b: usize, phase: Phase) -> f64 {
        let is_bend = b >= self.boxes;
        let (above, below) = match (phase, is_bend) {
            (Phase::Bends, false) => return self.x[b],
            (Phase::Hang, _) => (&self.above[b][..], &[][..]),
            (Phase::Balance, _) | (Phase::Bends, true) => (&self.above[b][..], &self.below[b][..]),
        };
        let weight = |m: usize| match (is_bend, m >= self.boxes) {
            (true, true) => 4.0,
            (false, false) => 1.0,
            (true, false) | (false, true) => 0.001,
        };
        let (mut sum, mut total) = (0.0, 0.0);
        for m in above.iter().chain(below) {
            sum += weight(*m) * self.x[*m];
            total += weight(*m);
        }
        if total == 0.0 { self.x[b] } else { sum / total }
    }

    /// Places a layer as near to the wishes as order and gaps allow (least squares, by pooling adjacent violators).
    fn settle(&mut self, layer: usize, wish: &[f64]) {
        let boxes = &self.layers[layer];
        let mut offsets = Vec::with_capacity(boxes.len());
        let mut at = 0.0;
        for (i, b) in boxes.iter().enumerate() {
            if i > 0 {
                at += (self.sizes[boxes[i - 1]].0 + self.sizes[*b].0) / 2.0 + GAP_X;
            }
            offsets.push(at);
        }
        // Blocks of boxes that touch: (weighted sum of targets, weight, count). Bends give way to boxes.
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        for ((w, offset), b) in wish.iter().zip(&offsets).zip(boxes) {
            let weight = if *b < self.boxes { 1e4 } else { 1.0 };
            blocks.push((weight * (w - offset), weight, 1));
            while let [.., a, b] = blocks.as_slice() {
                if a.0 / a.1 <= b.0 / b.1 {
                    break;
                }
                let merged = (a.0 + b.0, a.1 + b.1, a.2 + b.2);
                blocks.truncate(blocks.len() - 2);
                blocks.push(merged);
            }
        }
        let mut i = 0;
        for (sum, weight, count) in blocks {
            for _ in 0..count {
                self.x[boxes[i]] = sum / weight + offsets[i];
                i += 1;
            }
        }
    }

    fn layer_height(&self, layer: usize) -> f64 {
        self.layers[layer].iter().map(|b| self.sizes[*b].1).fold(0.0, f64::max)
    }

    /// Left and right end of some layers.
    fn extent(&self, layers: std::ops::Range<usize>) -> (f64, f64) {
        let boxes = self.layers[layers].iter().flatten();
        let (low, high) = boxes.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), b| {
            let half = self.sizes[*b].0 / 2.0;
            (low.min(self.x[*b] - half), high.max(self.x[*b] + half))
        });
        if low <= high { (low, high) } else { (0.0, 0.0) }
    }

    /// First layers of the bands, for a target number of bands. Each cut is near the even place, where few edges cross.
    fn cuts(&self, bands: usize) -> Vec<usize> {
        let n = self.layers.len();
        let mut cuts = vec![0];
        for band in 1..bands {
            let even = band * n / bands;
            let slack = (n / bands / 4).max(1);
            let range =
                even.saturating_sub(slack).max(cuts[cuts.len() - 1] + 1)..(even + slack).min(n - 1) + 1;
            let edges = |l: &usize| self.layers[*l - 1].iter().map(|b| self.below[*b].len()).sum::<usize>();
            if let Some(cut) = range.min_by_key(|l| (edges(l), l.abs_diff(even))) {
                cuts.push(cut);
            }
        }
        cuts
    }

    /// Width and height of the drawing that the cuts give.
    fn size(&self, cuts: &[usize]) -> (f64, f64) {
        let (mut width, mut height) = (0.0, 0.0f64);
        for (i, first) in cuts.iter().enumerate() {
            let end = cuts.get(i + 1).copied().unwrap_or(self.layers.len());
            let (low, high) = self.extent(*first..end);
            width += high - low + if i > 0 { GUTTER } else { 0.0 };
            height = height.max((*first..end).map(|l| self.layer_height(l) + GAP_Y).sum());
        }
        (width, height)
    }

    fn finish(&self, input: &Input, aspect: f64) -> Layout {
        let most = (self.layers.len() / 6).clamp(1, 40);
        let score = |cuts: &Vec<usize>| {
            let (w, h) = self.size(cuts);
            (w / h.max(1.0) / aspect).ln().abs()
        };
        let choices = (1..=most).map(|bands| self.cuts(bands));
        let cuts = choices.min_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_else(|| vec![0]);

        // Shift of each band, and the top of each layer within its band.
        let mut top = vec![0.0; self.layers.len()];
        let mut band_of = vec![0; self.layers.len()];
        let mut shift = Vec::new();
        let mut right = Vec::new();
        let (mut width, mut height) = (0.0, 0.0f64);
        for (band, first) in cuts.iter().enumerate() {
            let end = cuts.get(band + 1).copied().unwrap_or(self.layers.len());
            let (low, high) = self.extent(*first..end);
            shift.push(width - low);
            width += high - low;
            right.push(width);
            width += GUTTER;
            let mut y = 0.0;
            for layer in *first..end {
                (top[layer], band_of[layer]) = (y, band);
                y += self.layer_height(layer) + GAP_Y;
            }
            height = height.max(y - GAP_Y);
        }
        let place = |b: usize| {
            let layer = self.layer_of[b];
            let band = band_of[layer];
            // A bend runs along the whole layer, so that its edge passes beside the boxes.
            let slack = if b < self.boxes { (self.layer_height(layer) - self.sizes[b].1) / 2.0 } else { 0.0 };
            Place { x: self.x[b] + shift[band], y: top[layer] + slack, band }
        };
        let height_of = |b: usize| {
            if b < self.boxes { self.sizes[b].1 } else { self.layer_height(self.layer_of[b]) }
        };
        let mut lanes = vec![0usize; cuts.len()];
        let paths = self
            .chains
            .iter()
            .map(|chain| {
                let mut path = Vec::new();
                for pair in chain.windows(2) {
                    let (a, b) = (place(pair[0]), place(pair[1]));
                    let bottom = (a.x, a.y + height_of(pair[0]));
                    path.push(bottom);
                    if a.band != b.band {
                        // Down below the box, into the gutter, up above all boxes, and down to the target.
                        let lane = lanes[a.band];
                        lanes[a.band] += 1;
                        let offset = 4.0 * (lane % 8) as f64;
                        let (x, low, high) =
                            (right[a.band] + 10.0 + offset, bottom.1 + 8.0 + offset / 4.0, -8.0 - offset);
                        path.extend([(a.x, low), (x, low), (x, high), (b.x, high)]);
                    }
                    path.push((b.x, b.y));
                }
                path
            })
            .collect();
        let boxes = (0..input.sizes.len()).map(place).collect();
        Layout { boxes, paths, width: width - GUTTER, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(n: usize, edges: &[(usize, usize)]) -> Layout {
        layout(&Input { sizes: vec![(100.0, 40.0); n], edges: edges.to_vec() }, 1.5)
    }

    #[test]
    fn boxes_do_not_overlap_and_edges_lead_down() {
        // A ladder with skips: every box feeds the next three.
        let edges: Vec<_> =
            (0..60).flat_map(|i| [1, 2, 3].map(|d| (i, i + d))).filter(|e| e.1 < 60).collect();
        let l = boxes(60, &edges);
        for (i, a) in l.boxes.iter().enumerate() {
            for b in &l.boxes[i + 1..] {
                assert!((a.x - b.x).abs() >= 100.0 || (a.y - b.y).abs() >= 40.0, "{a:?} {b:?}");
            }
        }
        for (from, to) in edges {
            let (a, b) = (l.boxes[from], l.boxes[to]);
            assert!((a.band, a.y) < (b.band, b.y));
        }
    }

    #[test]
    fn branches_stay_uncrossed() {
        // Two chains from one source to one sink.
        let l = boxes(6, &[(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)]);
        let left_first = l.boxes[1].x < l.boxes[2].x;
        assert_eq!(left_first, l.boxes[3].x < l.boxes[4].x);
        assert!((l.boxes[0].x - l.boxes[5].x).abs() < 1.0);
    }

    #[test]
    fn long_chains_wrap() {
        let edges: Vec<_> = (1..200).map(|i| (i - 1, i)).collect();
        let l = boxes(200, &edges);
        let ratio = l.width / l.height;
        assert!((0.7..3.0).contains(&ratio), "{} x {}", l.width, l.height);
        assert_eq!(l.paths.len(), 199);
        assert_eq!(boxes(1, &[]).boxes.len(), 1);
        assert_eq!(boxes(0, &[]).boxes.len(), 0);
    }
}
