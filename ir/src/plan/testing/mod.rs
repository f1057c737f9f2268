//! Reference execution of plans: scalar and slow, straight from the documentation of the kernel families.
//!
//! It makes the meaning of a plan testable without machine code: a plan run here must agree with the interpreter on
//! the graph. Not for production use; sums are in f64 like the elementwise programs.

mod memory;
mod number;

use super::{Args, Pack, Plan, Step};
use crate::dtype::DType;
use crate::kernel::nest::place;
use crate::kernel::{
    Compute, Contract, Descriptor, Nest, NestArgs, NestStream, Operand, Program, Sort, SortArgs, StepArgs,
    Store, Stream, Suppression, SuppressionArgs, TileArgs, Window, WindowOp, Winograd, WinogradArgs,
    WinogradGradient, WinogradGradientArgs,
    winograd::transform::{both_sides, input_matrix, output_matrix},
};
use memory::Memory;
use number::Number;

/// Runs the plan on the bytes of row-major inputs. `values` gives the source values of a pack, before packing. Returns
/// the bytes of the outputs.
///
/// # Panics
/// On a plan that `verify` refuses.
pub fn execute(plan: &Plan, inputs: &[Vec<u8>], values: &mut dyn FnMut(&Pack) -> Vec<f32>) -> Vec<Vec<u8>> {
    let packs = plan.packs.iter().map(|p| p.format.pack(&values(p)));
    let packs = packs.map(|values| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let mut memory = Memory::new(plan, inputs, packs);
    for step in &plan.steps {
        match (plan.kernel(step.kernel), &step.args) {
            (Descriptor::Contract(k), Args::Tile(args)) => contract(&mut memory, step, k, args),
            (Descriptor::Window(k), Args::Tile(args)) => window(&mut memory, step, k, args),
            (Descriptor::Nest(k), Args::Nest(args)) => match k.compute {
                Compute::F32 | Compute::F64 => nest::<f64>(&mut memory, step, k, args),
                Compute::I64 | Compute::U64 => nest::<i128>(&mut memory, step, k, args),
            },
            (Descriptor::Sort(k), Args::Sort(args)) => sort(&mut memory, step, k, args),
            (Descriptor::Suppression(k), Args::Suppression(args)) => suppression(&mut memory, step, k, args),
            (Descriptor::Winograd(k), Args::Winograd(args)) => winograd(&mut memory, step, k, args),
            (Descriptor::WinogradGradient(k), Args::WinogradGradient(args)) => {
                winograd_gradient(&mut memory, step, k, args);
            }
            (
                Descriptor::Contract(_)
                | Descriptor::Window(_)
                | Descriptor::Winograd(_)
                | Descriptor::WinogradGradient(_)
                | Descriptor::Sort(_)
                | Descriptor::Suppression(_)
                | Descriptor::Nest(_),
                _,
            ) => {
                panic!("arguments of another family")
            }
        }
    }
    memory.into_outputs()
}

/// What both tile families do with an accumulator.
struct Tile<'a> {
    lanes: i64,
    /// Output channels of a channel group.
    width: i64,
    store: Store,
    operands: &'a [Operand],
    epilogue: &'a Program,
    /// Index of the first operand's pointer.
    first: usize,
    args: &'a TileArgs,
}

impl Tile<'_> {
    /// Byte offset of the packed per-channel value.
    fn per_channel(&self, group: i64, channel: i64) -> i64 {
        let groups = (self.args.channels + self.width - 1) / self.width;
        4 * (group * groups * self.width + channel)
    }

    /// Every (group, pixel indices, channel); padded channels too where vectors are stored whole.
    fn each(&self, mut f: impl FnMut(i64, &[i64], i64)) {
        let whole = (self.args.channels + self.lanes - 1) / self.lanes * self.lanes;
        let channels = if self.store == Store::Vector { whole } else { self.args.channels };
        for group in 0..self.args.groups {
            indices(&self.args.extents, &mut |pixel| {
                (0..channels).for_each(|channel| f(group, pixel, channel));
            });
        }
    }

    fn finish(&self, m: &mut Memory, step: &Step, group: i64, pixel: &[i64], channel: i64, acc: f64) {
        let loads: Vec<f64> = self
            .operands
            .iter()
            .zip(&self.args.operands)
            .enumerate()
            .map(|(k, (operand, stream))| {
                let offset = match operand {
                    Operand::PerChannel => self.per_channel(group, channel),
                    Operand::Scalar => 0,
                    Operand::PixelScalar => stream.base + offset(stream, pixel),
                    Operand::Pixels => self.offset(stream, group, pixel, channel, 4),
                    Operand::PixelsStrided => self.offset(stream, group, pixel, channel, stream.lane),
                };
                m.read(step, self.first + k, offset)
            })
            .collect();
        let value = self.epilogue.evaluate(acc, &loads);
        let lane = if self.store == Store::Strided { self.args.output.lane } else { 4 };
        m.write(step, self.offset(&self.args.output, group, pixel, channel, lane), value);
    }

    fn offset(&self, s: &Stream, group: i64, pixel: &[i64], channel: i64, lane: i64) -> i64 {
        let (vector, l) = (channel / self.lanes, channel % self.lanes);
        s.base + group * s.group + vector * s.block + l * lane + offset(s, pixel)
    }
}

fn offset(stream: &Stream, pixel: &[i64]) -> i64 {
    pixel.iter().zip(&stream.pixel).map(|(i, s)| i * s).sum()
}

/// Calls `f` with every index tuple, the last dim fastest.
fn indices(extents: &[i64], f: &mut dyn FnMut(&[i64])) {
    let mut index = vec![0; extents.len()];
    if extents.contains(&0) {
        return;
    }
    loop {
        f(&index);
        let Some(d) = (0..extents.len()).rev().find(|d| index[*d] + 1 < extents[*d]) else { return };
        index[d] += 1;
        index[d + 1..].fill(0);
    }
}

fn offsets(steps: &StepArgs) -> Vec<i64> {
    match steps {
        StepArgs::Table(offsets) => offsets.clone(),
        StepArgs::Linear { count, stride } => (0..*count).map(|i| i * stride).collect(),
    }
}

fn contract(m: &mut Memory, step: &Step, k: &Contract, args: &TileArgs) {
    let width = i64::from(k.tile.vectors) * i64::from(k.lanes);
    let first = 3 + usize::from(k.bias);
    let (store, operands, epilogue) = (k.store, &k.operands, &k.epilogue);
    let t = Tile { lanes: i64::from(k.lanes), width, store, operands, epilogue, first, args };
    let (steps, inner) = (offsets(&args.steps), i64::from(k.inner));
    let channel_groups = (args.channels + width - 1) / width;
    t.each(|group, pixel, channel| {
        let mut acc = if k.bias { m.read(step, 3, t.per_channel(group, channel)) } else { 0.0 };
        let from = args.input.base + group * args.input.group + offset(&args.input, pixel);
        let packed = (group * channel_groups + channel / width) * steps.len() as i64 * inner * width;
        for (s, offset) in steps.iter().enumerate() {
            if k.dot {
                for lane in (0..width).filter(|_| channel < inner) {
                    let weight = (s as i64 * inner + channel) * width + lane;
                    acc += m.read(step, 1, from + offset + 4 * lane) * m.read(step, 2, 4 * (packed + weight));
                }
                continue;
            }
            for i in 0..inner {
                let row = (s as i64 * inner + i) * width + channel % width;
                acc += m.read(step, 1, from + offset + 4 * i) * m.read(step, 2, 4 * (packed + row));
            }
        }
        t.finish(m, step, group, pixel, channel, acc);
    });
}

fn window(m: &mut Memory, step: &Step, k: &Window, args: &TileArgs) {
    let args = &k.single(args);
    let lanes = i64::from(k.lanes);
    let weighted = k.op == WindowOp::MulAdd;
    let first = 2 + usize::from(weighted) + usize::from(k.bias);
    let (store, operands, epilogue) = (k.store, &k.operands, &k.epilogue);
    let t = Tile { lanes, width: lanes, store, operands, epilogue, first, args };
    let taps = offsets(&args.steps);
    let vectors = (args.channels + lanes - 1) / lanes;
    t.each(|group, pixel, channel| {
        let start = if k.op == WindowOp::Max { f64::NEG_INFINITY } else { 0.0 };
        let mut acc = if k.bias { m.read(step, first - 1, t.per_channel(group, channel)) } else { start };
        let from = t.offset(&args.input, group, pixel, channel, 4);
        for (tap, offset) in taps.iter().enumerate() {
            let x = m.read(step, 1, from + offset);
            acc = match k.op {
                WindowOp::MulAdd => {
                    let vector = group * vectors + channel / lanes;
                    let row = (vector * taps.len() as i64 + tap as i64) * lanes + channel % lanes;
                    acc + x * m.read(step, 2, 4 * row)
                }
                WindowOp::Max if x.is_nan() || acc.is_nan() => f64::NAN,
                WindowOp::Max => acc.max(x),
                WindowOp::Add => acc + x,
            };
        }
        t.finish(m, step, group, pixel, channel, acc);
    });
}

fn winograd(m: &mut Memory, step: &Step, k: &Winograd, args: &WinogradArgs) {
    let direct = args.direct(k);
    let (lanes, width) = (i64::from(k.lanes), i64::from(k.tile.vectors) * i64::from(k.lanes));
    let first = 3 + usize::from(k.bias);
    let (store, operands, epilogue) = (Store::Vector, &k.operands, &k.epilogue);
    let t = Tile { lanes, width, store, operands, epilogue, first, args: &direct };
    let (size, outputs, sizes) = (k.size(), i64::from(k.outputs), args.sizes(k));
    let (rows, columns) = (args.extents[1], args.extents[2]);
    let matrices = (input_matrix(k.outputs), output_matrix(k.outputs));
    // What a tile reads behind the last window counts as zero.
    let tile = |m: &Memory, [image, y, x]: [i64; 3], channel: i64| -> Vec<Vec<f64>> {
        let at = |r: i64, c: i64| {
            let (r, c) = (y * outputs + r, x * outputs + c);
            let inside = r < rows + 2 && c < columns + 2;
            let place = t.offset(&args.input, 0, &[image, r, c], channel, 4);
            if inside { m.read(step, 1, place) } else { 0.0 }
        };
        (0..size).map(|r| (0..size).map(|c| at(r, c)).collect()).collect()
    };
    let padded = sizes.in_blocks * lanes;
    indices(&[args.extents[0], sizes.tile_rows, sizes.tile_columns], &mut |place| {
        let [image, y, x] = [place[0], place[1], place[2]];
        let v: Vec<_> = (0..padded).map(|c| both_sides(&matrices.0, &tile(m, [image, y, x], c))).collect();
        for channel in 0..(args.out_channels + lanes - 1) / lanes * lanes {
            let mut sums = vec![vec![0.0; size as usize]; size as usize];
            for position in 0..size * size {
                let (r, c) = ((position / size) as usize, (position % size) as usize);
                let row = (channel / width * size * size + position) * padded;
                for (input, v) in v.iter().enumerate() {
                    let at = (row + input as i64) * width + channel % width;
                    sums[r][c] += v[r][c] * m.read(step, 2, 4 * at);
                }
            }
            let bias = if k.bias { m.read(step, 3, t.per_channel(0, channel)) } else { 0.0 };
            for (r, row) in both_sides(&matrices.1, &sums).into_iter().enumerate() {
                for (c, value) in row.into_iter().enumerate() {
                    let (r, c) = (y * outputs + r as i64, x * outputs + c as i64);
                    if r < rows && c < columns {
                        t.finish(m, step, 0, &[image, r, c], channel, value + bias);
                    }
                }
            }
        }
    });
}

/// By the definition: no transforms.
fn winograd_gradient(m: &mut Memory, step: &Step, k: &WinogradGradient, args: &WinogradGradientArgs) {
    let (lanes, s) = (i64::from(k.lanes), args.sizes(k));
    let at = |stream: &Stream, pixel: &[i64], channel: i64| {
        stream.base + channel / lanes * stream.block + channel % lanes * 4 + offset(stream, pixel)
    };
    let [images, rows, columns] = args.extents;
    let (ins, outs) = (s.in_blocks * lanes, s.tap / 4);
    indices(&[s.slices, ins, 9, outs], &mut |index| {
        let [slice, input, tap, output] = [index[0], index[1], index[2], index[3]];
        let first = slice * args.slice;
        let mut sum = 0.0;
        indices(&[args.slice.min(images - first), rows, columns], &mut |p| {
            let (image, y, x) = (first + p[0], p[1], p[2]);
            let gradient = m.read(step, 2, at(&args.gradient, &[image, y, x], output));
            let pixel = [image, y + tap / 3, x + tap % 3];
            sum += gradient * m.read(step, 1, at(&args.input, &pixel, input));
        });
        m.write(step, ((slice * ins + input) * 9 + tap) * s.tap + output * 4, sum);
    });
}

fn nest<N: Number>(m: &mut Memory, step: &Step, k: &Nest, args: &NestArgs) {
    let outputs = k.output_dims as usize;
    let elements = k.elements();
    let direct = |s: &NestStream, index: &[i64]| {
        let strides: i64 = index.iter().zip(&s.strides).map(|(i, s)| i * s).sum();
        let entry = |t: &crate::kernel::NestTable| {
            t.offsets[index.iter().zip(&t.steps).map(|(i, s)| i * s).sum::<i64>() as usize]
        };
        s.base + strides + s.tables.iter().map(entry).sum::<i64>()
    };
    let address = |m: &Memory, s: &NestStream, places: &[u8], index: &[i64]| {
        let offsets = s.indirect.iter().zip(places).map(|(along, operand)| {
            let pointer = 1 + *operand as usize;
            let at = direct(&args.operands[*operand as usize], index);
            let value: i128 = m.number(step, pointer, at, elements[pointer]);
            place(value as i64, along.size) * along.stride
        });
        direct(s, index) + offsets.sum::<i64>()
    };
    let body = |m: &Memory, index: &[i64]| {
        let operands = args.operands.iter().zip(&k.operands).enumerate();
        let loads: Vec<N> = operands
            .map(|(i, (s, o))| m.number(step, 1 + i, address(m, s, &o.indirect, index), elements[1 + i]))
            .collect();
        N::evaluate(&k.body, N::default(), &loads, k)
    };
    let finals = 1 + args.operands.len();
    indices(&args.extents[..outputs], &mut |index| {
        let value = match k.reduce {
            None => body(m, index),
            Some(reduce) => {
                let mut acc = N::identity(reduce);
                indices(&args.extents[outputs..], &mut |rest| {
                    acc = N::combine(reduce, acc, body(m, &[index, rest].concat()), k);
                });
                let load = |(i, s)| m.number(step, finals + i, direct(s, index), elements[finals + i]);
                let loads: Vec<N> = args.finals.iter().enumerate().map(load).collect();
                N::evaluate(&k.finalize, acc, &loads, k)
            }
        };
        m.store(step, address(m, &args.output, &k.scatter, index), k.element, value);
    });
}

fn sort(m: &mut Memory, step: &Step, k: &Sort, args: &SortArgs) {
    let size = k.element.size_bytes() as i64;
    for row in 0..args.rows {
        let at = |place: i64| (row * args.size + place) * size;
        let float = |place: i64| -> f64 { m.number(step, 1, at(place), k.element) };
        let whole = |place: i64| -> i128 { m.number(step, 1, at(place), k.element) };
        let mut places: Vec<i64> = (0..args.size).collect();
        places.sort_by(|a, b| {
            let order = if k.element.is_float() {
                let (a, b) = (float(*a), float(*b));
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            } else {
                whole(*a).cmp(&whole(*b))
            };
            if k.descending { order.reverse() } else { order }
        });
        for (i, place) in places[..args.count as usize].iter().enumerate() {
            let to = (row * args.count + i as i64) * 8;
            m.store(step, to, DType::I64, i128::from(*place));
        }
    }
}

fn suppression(m: &mut Memory, step: &Step, k: &Suppression, args: &SuppressionArgs) {
    let float = |m: &mut Memory, pointer, at| -> f64 { m.number(step, pointer, at, DType::F32) };
    let whole = |m: &mut Memory, pointer, at| -> i128 { m.number(step, pointer, at, DType::I64) };
    let most = whole(m, 4, 0).min(args.limit.into());
    let (overlap, threshold) = (float(m, 5, 0) as f32, float(m, 6, 0));
    for row in 0..args.tasks() {
        let mut taken: Vec<(i64, [f32; 4])> = vec![];
        for i in 0..args.boxes {
            let place = whole(m, 3, (row * args.boxes + i) * 8);
            if taken.len() as i128 >= most || !(0..i128::from(args.boxes)).contains(&place) {
                continue;
            }
            let place = place as i64;
            let score = float(m, 2, (row * args.boxes + place) * 4);
            let at = (row / args.classes * args.boxes + place) * 16;
            let [p, q, r, s] = [0, 4, 8, 12].map(|c| float(m, 1, at + c) as f32);
            let corners = match k.centre {
                true => [p - r * 0.5, q - s * 0.5, p + r * 0.5, q + s * 0.5],
                false => [p.min(r), q.min(s), p.max(r), q.max(s)],
            };
            let passes = score > threshold || (score == threshold && threshold == f64::NEG_INFINITY);
            if passes && !taken.iter().any(|(_, other)| part_of_union(&corners, other) > overlap) {
                taken.push((place, corners));
            }
        }
        for i in 0..args.limit {
            let place = taken.get(i as usize).map_or(-1, |(place, _)| *place);
            m.store(step, (row * args.limit + i) * 8, DType::I64, i128::from(place));
        }
    }
}

/// What part of two boxes' union they have in common; NaN where one has no area, or they do not meet.
fn part_of_union(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |b: &[f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let [across, down] = [0, 1].map(|i| a[i + 2].min(b[i + 2]) - a[i].max(b[i]));
    let positive = [across, down, area(a), area(b)].iter().all(|v| *v > 0.0);
    let common = across * down;
    if positive { common / (area(a) + area(b) - common) } else { f32::NAN }
}
